"""Memory pools, driven through the Python face into the C library."""

from __future__ import annotations

import ctypes
import gc
import platform
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import wrt_platform.pool
from wrt_platform._native import ffi, lib
from wrt_platform.errors import InvalidArgumentError, OutOfMemoryError, StateError, check
from wrt_platform.pool import PoolAllocator, PoolAllocatorBuilder


@pytest.fixture
def pool() -> PoolAllocator:
    """Two blocks of 64 bytes, one of 256."""
    return PoolAllocatorBuilder().add_pool(64, 2).add_pool(256, 1).build()


@pytest.mark.row("EM-2")
@pytest.mark.parametrize("size", [1, 63, 64, 65, 256])
def test_block_is_as_large_as_asked(pool: PoolAllocator, size: int) -> None:
    with pool.allocate(size) as memory:
        memory[:] = bytes(size)
        assert pool.usage.used == 1
    assert pool.usage.used == 0


@pytest.mark.row("EM-2")
def test_full_class_spills_into_the_next(pool: PoolAllocator) -> None:
    blocks = [pool.allocate(64) for _ in range(3)]
    with pytest.raises(OutOfMemoryError, match="no free block holds 1 bytes; 3 blocks are out"):
        pool.allocate(1)
    blocks[0].release()
    assert pool.usage == (3, 2, 3, 1)  # capacity, used, peak, refusals
    pool.allocate(64)


@pytest.mark.row("EM-2")
def test_small_requests_leave_the_large_block_alone(pool: PoolAllocator) -> None:
    blocks = [pool.allocate(1), pool.allocate(64)]
    blocks.append(pool.allocate(256))
    with pytest.raises(OutOfMemoryError):
        pool.allocate(257)
    with pytest.raises(InvalidArgumentError, match="size is 0"):
        pool.allocate(0)


@pytest.mark.row("EM-2")
def test_every_byte_of_the_buffer_is_served_once() -> None:
    builder = PoolAllocatorBuilder().add_pool(8, 32).add_pool(8, 32).add_pool(1024, 3)
    assert builder.layout() == (2 * 32 * 8 + 3 * 1024, 8)  # bytes, alignment
    buffer = bytearray(builder.layout().bytes)
    pool = builder.with_buffer(buffer).build()
    blocks = [pool.allocate(8) for _ in range(64)] + [pool.allocate(1024) for _ in range(3)]
    for number, block in enumerate(blocks):
        block.memory[:] = bytes([number + 1]) * len(block.memory)
    for number, block in enumerate(blocks):
        assert set(block.memory) == {number + 1}
    assert 0 not in buffer


@pytest.mark.row("EM-2")
def test_zero_released_hides_the_previous_owner() -> None:
    pool = PoolAllocatorBuilder().add_pool(64, 1).with_zero_released().build()
    with pool.allocate(64) as memory:
        memory[:] = b"s" * 64
    with pool.allocate(64) as memory:
        assert bytes(memory) == bytes(64)


@pytest.mark.row("EM-2")
@pytest.mark.parametrize(
    "classes",
    [[], [(0, 1)], [(4, 1)], [(24, 1)], [(1 << 24, 1)], [(64, 0)], [(64, 33)], [(64, 1), (8, 1)]],
)
def test_bad_classes_are_refused(classes: list[tuple[int, int]]) -> None:
    builder = PoolAllocatorBuilder()
    for block_size, block_count in classes:
        builder.add_pool(block_size, block_count)
    with pytest.raises(InvalidArgumentError, match="class"):
        builder.build()


@pytest.mark.row("EM-2")
def test_largest_pool_fits_32_bits() -> None:
    config = raw_config([(lib.WRT_POOL_BLOCK_SIZE_MAX, 32)] * lib.WRT_POOL_CLASS_MAX)
    layout = ffi.new("wrt_layout *")
    assert lib.wrt_pool_layout(config, layout) == lib.WRT_OK
    assert (layout.bytes, layout.alignment) == (2**31, lib.WRT_POOL_ALIGNMENT)


@pytest.mark.row("EM-2")
def test_ninth_class_is_refused() -> None:
    builder = PoolAllocatorBuilder()
    for _ in range(lib.WRT_POOL_CLASS_MAX):
        builder.add_pool(64, 1)
    with pytest.raises(InvalidArgumentError, match="at most 8"):
        builder.add_pool(64, 1)
    assert builder.build().usage.capacity == 8
    config = raw_config([(64, 1)] * 8)
    config.class_count = 9
    with pytest.raises(InvalidArgumentError, match="class_count is 9, not 1 to 8"):
        check(lib.wrt_pool_layout(config, ffi.new("wrt_layout *")))


@pytest.mark.row("EM-2")
def test_bad_buffers_are_refused() -> None:
    builder = PoolAllocatorBuilder().add_pool(64, 1)
    with pytest.raises(OutOfMemoryError, match="buffer has 63 bytes, the pool needs 64"):
        builder.with_buffer(bytearray(63)).build()
    with pytest.raises(TypeError, match="not a view"):
        builder.with_buffer(memoryview(bytearray(64)))  # type: ignore[arg-type]
    assert builder.with_buffer(bytearray(64)).build().usage.capacity == 1


@pytest.mark.row("EM-2")
def test_one_buffer_serves_one_pool_until_it_is_closed() -> None:
    buffer = bytearray(64)
    builder = PoolAllocatorBuilder().add_pool(64, 1).with_buffer(buffer)
    first, second = builder.build(), builder.build()
    second.allocate(64).memory[:] = b"x" * 64
    assert buffer == bytes(64)
    with pytest.raises(BufferError):
        buffer.append(0)
    first.close()
    buffer.append(0)


# Lifetimes: what Python adds.


@pytest.mark.row("EM-2")
def test_slice_outlives_release_and_keeps_the_block(pool: PoolAllocator) -> None:
    block = pool.allocate(64)
    part = block.memory[:6]
    part[:] = b"secret"
    with pytest.raises(BufferError, match="still in use"):
        block.release()
    assert bytes(block.memory[:6]) == b"secret"  # a refused release changes nothing
    pool.allocate(64).memory[:6] = b"others"
    assert bytes(part) == b"secret"
    del part
    block.release()
    block.release()
    assert pool.usage.used == 0
    with pytest.raises(ValueError, match="released"):
        block.memory[0]


@pytest.mark.row("EM-2")
def test_forgotten_block_goes_back_with_its_last_view(pool: PoolAllocator) -> None:
    view = pool.allocate(64).memory[1:2]
    gc.collect()
    assert pool.usage.used == 1
    del view
    assert pool.usage.used == 0


@pytest.mark.row("EM-2")
def test_view_keeps_its_pool_alive_and_nothing_else_does() -> None:
    pool = PoolAllocatorBuilder().add_pool(64, 1).build()
    alive = weakref.ref(pool)
    view = pool.allocate(64).memory
    del pool
    gc.collect()
    assert alive() is not None
    del view
    gc.collect()
    assert alive() is None


@pytest.mark.row("EM-2")
def test_close_waits_for_the_last_block(pool: PoolAllocator) -> None:
    block = pool.allocate(1)
    with pytest.raises(StateError, match="1 blocks are still allocated"):
        pool.close()
    block.release()
    pool.close()
    pool.close()
    with pytest.raises(StateError, match="not initialised"):
        pool.allocate(1)


class OneCallAtATime:
    """Stands before `lib`, makes each call slow, and notices a second caller inside."""

    def __init__(self) -> None:
        self.inside = 0
        self.overlaps = 0

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> Any:
            self.inside += 1
            self.overlaps += self.inside > 1
            time.sleep(0.0002)
            try:
                return getattr(lib, name)(*arguments)
            finally:
                self.inside -= 1

        return call


@pytest.mark.row("EM-2")
def test_no_two_threads_are_inside_one_pool(
    pool: PoolAllocator, monkeypatch: pytest.MonkeyPatch
) -> None:
    spy = OneCallAtATime()
    monkeypatch.setattr(wrt_platform.pool, "lib", spy)

    def work() -> None:
        for _ in range(20):
            with pool.allocate(1):
                assert pool.usage.used >= 1

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert spy.overlaps == 0
    assert pool.usage[:2] == (3, 0)


# Rules that no safe face can break: on the raw library.


def raw_config(classes: list[tuple[int, int]], extra_bytes: int = 0) -> Any:
    """A config that `extra_bytes` zeros follow, as in a caller's newer header."""
    size = ffi.sizeof("wrt_pool_config")
    storage = ffi.new("uint8_t[]", size + extra_bytes)
    config = ffi.gc(ffi.cast("wrt_pool_config *", storage), lambda _, owner=storage: None)
    config.struct_size, config.class_count = size + extra_bytes, len(classes)
    config.classes[0 : len(classes)] = classes
    return config


@pytest.fixture
def raw() -> Iterator[Any]:
    """An initialised wrt_pool: two blocks of 64 bytes, one of 256, and room behind."""
    buffer = ffi.new("uint64_t[]", 64)
    config = raw_config([(64, 2), (256, 1)])
    config.buffer, config.buffer_size = buffer, ffi.sizeof(buffer)
    pool = ffi.new("wrt_pool *")
    assert lib.wrt_pool_init(pool, config) == lib.WRT_OK
    yield pool


def allocate(raw: Any, size: int) -> Any:
    out = ffi.new("void **")
    assert lib.wrt_pool_allocate(raw, size, out) == lib.WRT_OK
    return ffi.cast("uint8_t *", out[0])


@pytest.mark.row("EM-2")
def test_foreign_misaligned_and_double_release_are_refused(raw: Any) -> None:
    first, large = allocate(raw, 64), allocate(raw, 256)
    outside = [ffi.NULL, raw.buffer - 64, raw.buffer + 384, ffi.new("uint8_t[64]")]
    inside = [first + 1, first + 8, first + 63, large + 64, large + 128]
    for pointer in outside + inside:
        assert lib.wrt_pool_release(raw, pointer) == lib.WRT_ERR_INVALID_ARGUMENT
    assert raw.usage.used == 2
    assert lib.wrt_pool_release(raw, first + 64) == lib.WRT_ERR_STATE  # a block, never out
    assert lib.wrt_pool_release(raw, first) == lib.WRT_OK
    assert lib.wrt_pool_release(raw, first) == lib.WRT_ERR_STATE
    assert lib.wrt_pool_release(raw, large) == lib.WRT_OK
    assert raw.usage.used == 0


@pytest.mark.row("EM-2")
def test_pool_may_be_moved(raw: Any) -> None:
    block = allocate(raw, 64)
    moved = ffi.new("wrt_pool *", raw[0])
    ffi.memmove(raw, bytes(ffi.sizeof("wrt_pool")), ffi.sizeof("wrt_pool"))
    assert lib.wrt_pool_release(moved, block) == lib.WRT_OK


@pytest.mark.row("EM-2")
def test_null_is_refused_and_outputs_are_written(raw: Any) -> None:
    out = ffi.new("void **", ffi.cast("void *", 1))
    layout = ffi.new("wrt_layout *", (1, 1))
    misaligned = raw_config([(64, 1)])
    misaligned.buffer, misaligned.buffer_size = raw.buffer + 4, 64
    refused = [
        lib.wrt_pool_layout(ffi.NULL, layout),
        lib.wrt_pool_layout(raw_config([(64, 1)]), ffi.NULL),
        lib.wrt_pool_init(ffi.NULL, raw_config([(64, 1)])),
        lib.wrt_pool_init(raw, ffi.NULL),
        lib.wrt_pool_init(raw, raw_config([(64, 1)])),  # no buffer
        lib.wrt_pool_init(raw, misaligned),
        lib.wrt_pool_allocate(ffi.NULL, 1, out),
        lib.wrt_pool_allocate(raw, 1, ffi.NULL),
        lib.wrt_pool_allocate(raw, 0, out),
        lib.wrt_pool_release(ffi.NULL, ffi.NULL),
        lib.wrt_pool_query(raw, ffi.NULL),
        lib.wrt_pool_query(ffi.NULL, ffi.new("wrt_pool_usage *")),
        lib.wrt_pool_deinit(ffi.NULL),
    ]
    assert set(refused) == {lib.WRT_ERR_INVALID_ARGUMENT}
    assert out[0] == ffi.NULL
    assert (layout.bytes, layout.alignment) == (0, 0)
    assert raw.usage.capacity == 3  # a failed init left the pool as it was


# Cost: instructions, counted one by one by the kernel.

Count = Callable[[str, Any, int, int], int]


@pytest.fixture
def count(support: Callable[[str], Path]) -> Count:
    """Counts the instructions of a call that is expected to return WRT_OK."""
    if platform.machine() != "x86_64":
        pytest.skip("the published bound is for x86-64")
    counter = ctypes.CDLL(str(support("steps"))).count_instructions
    counter.restype = ctypes.c_long
    counter.argtypes = [ctypes.c_void_p] * 4 + [ctypes.c_int32]

    def count(name: str, pool: Any, second: int, third: int) -> int:
        function = address(ffi.addressof(lib, name))
        steps = int(counter(function, address(pool), second, third, lib.WRT_OK))
        assert steps > 0, f"{name} failed while it was counted"
        return steps

    return count


def address(pointer: Any) -> int:
    return int(ffi.cast("uintptr_t", pointer))


def costs(count: Count, classes: list[tuple[int, int]], size: int) -> tuple[set[int], set[int]]:
    """What each allocate and each release takes, from the empty pool to the full one and back."""
    config = raw_config(classes)
    buffer = ffi.new("uint64_t[]", sum(size * number for size, number in classes) // 8)
    config.buffer, config.buffer_size = buffer, ffi.sizeof(buffer)
    pool, out = ffi.new("wrt_pool *"), ffi.new("void **")
    assert lib.wrt_pool_init(pool, config) == lib.WRT_OK
    taken, given_back = set(), set()
    blocks = []
    while lib.wrt_pool_allocate(ffi.new("wrt_pool *", pool[0]), size, out) == lib.WRT_OK:
        taken.add(count("wrt_pool_allocate", pool, size, address(out)))
        blocks.append(allocate(pool, size))
        given_back.add(count("wrt_pool_release", pool, address(blocks[-1]), 0))
    for block in blocks[::2]:  # holes, and a peak that stays where it was
        assert lib.wrt_pool_release(pool, block) == lib.WRT_OK
        taken.add(count("wrt_pool_allocate", pool, size, address(out)))
    return taken, given_back


@pytest.mark.whole_process  # sanitizers add instructions of their own
@pytest.mark.row("EM-2")
@pytest.mark.parametrize("class_count", [1, 3, lib.WRT_POOL_CLASS_MAX])
def test_cost_is_the_same_for_every_block_and_within_the_published_bound(
    count: Count, class_count: int
) -> None:
    classes = [(8 << index, 5) for index in range(class_count)]
    taken, given_back = costs(count, classes, 1)
    assert len(taken) == len(given_back) == 1  # served from all classes, one after another
    bound = lib.WRT_POOL_COST_FIXED + class_count * lib.WRT_POOL_COST_PER_CLASS
    assert max(taken | given_back) <= bound


@pytest.mark.whole_process
@pytest.mark.row("EM-2")
def test_init_does_not_look_at_the_blocks(count: Count) -> None:
    taken = set()
    for block_size, block_count in [(8, 1), (8, 32), (lib.WRT_POOL_BLOCK_SIZE_MAX, 1)]:
        config = raw_config([(block_size, block_count)])
        buffer = ffi.cast("uint64_t *", 8)  # init does not touch it
        config.buffer, config.buffer_size = buffer, block_size * block_count
        taken.add(count("wrt_pool_init", ffi.new("wrt_pool *"), address(config), 0))
    assert len(taken) == 1


@pytest.mark.whole_process
@pytest.mark.row("EM-2")
def test_cost_grows_with_what_is_cleared_and_nothing_else(count: Count, raw: Any) -> None:
    block = address(allocate(raw, 64))
    plain = count("wrt_pool_release", raw, block, 0)
    raw.zero_released = True
    assert count("wrt_pool_release", raw, block, 0) > plain  # the counter does see a difference


# Growth of the config (struct_size).


def layout_of(config: Any) -> int:
    layout = ffi.new("wrt_layout *")
    status: int = lib.wrt_pool_layout(config, layout)
    return int(layout.bytes) if status == lib.WRT_OK else -status


def test_shorter_config_reads_as_zero_beyond_its_end() -> None:
    config = raw_config([(64, 1), (128, 1)])
    config.reserved[0] = 1
    assert layout_of(config) == -lib.WRT_ERR_UNSUPPORTED
    config.struct_size = ffi.offsetof("wrt_pool_config", "zero_released")  # before `reserved`
    assert layout_of(config) == 64 + 128
    config.struct_size = ffi.offsetof("wrt_pool_config", "classes") + 8  # one class: the next is 0
    assert layout_of(config) == -lib.WRT_ERR_INVALID_ARGUMENT
    config.class_count = 1
    assert layout_of(config) == 64


def test_longer_config_is_taken_if_its_unknown_tail_is_zero() -> None:
    config = raw_config([(64, 1)], extra_bytes=16)
    assert layout_of(config) == 64
    ffi.cast("uint8_t *", config)[config.struct_size - 1] = 1
    assert layout_of(config) == -lib.WRT_ERR_UNSUPPORTED


@pytest.mark.parametrize("struct_size", [0, 3, 4097, 2**32 - 1])
def test_unset_struct_size_is_refused(struct_size: int) -> None:
    config = raw_config([(64, 1)])
    config.struct_size = struct_size
    assert layout_of(config) == -lib.WRT_ERR_INVALID_ARGUMENT
