"""The arena allocator: what it sets in the process's heap is read from the simulated kernel."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import pytest
from qnx_world import (
    EIO,
    ENOMEM,
    KIB,
    MIB,
    PAGE,
    calls_of,
    census,
    fail_at,
    holdings,
    must,
    new_world,
)
from wrt_platform._native import ffi, lib
from wrt_platform.enforcement import EnforcementState
from wrt_platform.errors import (
    BusyError,
    InvalidArgumentError,
    OutOfMemoryError,
    StateError,
    SystemCallError,
    UnsupportedError,
    WrtError,
)
from wrt_platform.page_allocator import Protection, VerificationLevel
from wrt_platform.qnx.arena import QnxArenaAllocatorBuilder
from wrt_platform.qnx.partition import QnxMemoryPartitionBuilder

Configure = Callable[[QnxArenaAllocatorBuilder], Any]


pytestmark = pytest.mark.usefixtures("world")


def builder() -> QnxArenaAllocatorBuilder:
    return QnxArenaAllocatorBuilder().with_maximum_pages(16)


def heap() -> Any:
    view = ffi.new("wrt_sim_qnx_arena_view *")
    must(lib.wrt_sim_qnx_arena_query(view))
    return view


def settings() -> tuple[int, int, int]:
    return heap().arena_size, heap().cache_arenas_limit, heap().cache_bytes_limit


# Row QA-1: the keys of mallopt.

KEYS: dict[str, tuple[Configure, Configure, Callable[[], int], int]] = {
    "MALLOC_ARENA_SIZE": (
        lambda b: b.with_arena_size(64 * KIB),
        lambda b: b.with_arena_size(128 * KIB),
        lambda: int(heap().arena_size),
        64 * KIB,
    ),
    "MALLOC_ARENA_CACHE_MAXBLK": (
        lambda b: b.with_arena_cache_max_blocks(3),
        lambda b: b.with_arena_cache_max_blocks(4),
        lambda: int(heap().cache_arenas_limit),
        3,
    ),
    "MALLOC_ARENA_CACHE_MAXSZ": (
        lambda b: b.with_arena_cache_max_size(256 * KIB),
        lambda b: b.with_arena_cache_max_size(8 * KIB),
        lambda: int(heap().cache_bytes_limit),
        256 * KIB,
    ),
    "MALLOC_MEMORY_HOLD": (
        lambda b: b.with_memory_hold(),
        lambda b: b.with_arena_cache_max_blocks(4),
        lambda: int(heap().cache_arenas_limit),
        2**32 - 1,
    ),
}


@pytest.mark.row("QA-1", proof="sim")
@pytest.mark.parametrize("key", KEYS)
def test_key_reaches_the_heap_and_goes_back_with_the_last_that_holds_it(key: str) -> None:
    configure, _, read, expected = KEYS[key]
    before = settings()
    first = configure(builder()).build()
    assert read() == expected
    second = configure(builder()).build()  # the same value: no conflict
    builder().build().close()  # asks for nothing, so it changes nothing
    first.close()
    assert read() == expected
    second.close()
    assert settings() == before


@pytest.mark.row("QA-1", proof="sim")
@pytest.mark.parametrize("key", KEYS)
def test_other_value_of_a_held_key_is_busy_and_changes_nothing(key: str) -> None:
    configure, otherwise, _, _ = KEYS[key]
    first = configure(builder()).build()
    before = settings()
    with pytest.raises(BusyError, match=f"has set {key} to"):
        otherwise(builder()).build()
    assert settings() == before
    first.close()
    second = otherwise(builder()).build()
    with pytest.raises(BusyError):
        configure(builder()).build()
    second.close()


@pytest.mark.row("QA-1", proof="sim")
def test_conflict_at_the_last_key_gives_the_earlier_ones_back() -> None:
    before = settings()
    holder = builder().with_arena_cache_max_size(64 * KIB).build()
    several = builder().with_arena_size(64 * KIB).with_arena_cache_max_blocks(2)
    with pytest.raises(BusyError, match="MALLOC_ARENA_CACHE_MAXSZ to 65536, here it is 4096"):
        several.with_arena_cache_max_size(4096).build()
    assert settings() == (before[0], before[1], 64 * KIB)
    holder.close()
    assert settings() == before


@pytest.mark.row("QA-1", proof="sim")
@pytest.mark.parametrize("key", KEYS)
def test_qnx_8_refuses_each_key_by_its_name(key: str) -> None:
    with new_world(version=lib.WRT_SIM_QNX_8_0):
        configure = KEYS[key][0]
        refused = "MALLOC_ARENA_CACHE_MAXBLK|MALLOC_MEMORY_HOLD" if "HOLD" in key else key
        with pytest.raises(UnsupportedError, match=f"({refused}).*no arenas .QNX 8.0"):
            configure(builder()).build()


@pytest.mark.row("QA-1", proof="sim")
def test_qnx_8_serves_pages_and_blocks_without_keys() -> None:
    with new_world(version=lib.WRT_SIM_QNX_8_0):
        arena = builder().with_guard_pages().build()
        assert arena.report.arena_size == 0
        with arena.allocate_block(100) as memory:
            memory[:] = b"x" * 100
        with arena.allocate(1, 4) as pages:
            pages.grow(3)
        with pytest.raises(UnsupportedError, match="MALLOC_FREE_LIFO"):
            builder().with_lifo_free().build()
        arena.close()


@pytest.mark.row("QA-1", proof="sim")
def test_lifo_needs_the_environment_at_the_start_and_is_seen_in_the_order_of_blocks() -> None:
    def order() -> list[bool]:
        """Whether the block that was freed last, or first, is the one that comes next."""
        arena = builder().build()
        blocks = [arena.allocate_block(1000) for _ in range(4)]
        places = [int(ffi.cast("uintptr_t", ffi.from_buffer(b.memory))) for b in blocks]
        blocks[0].release()
        blocks[2].release()
        again = arena.allocate_block(1000)
        place = int(ffi.cast("uintptr_t", ffi.from_buffer(again.memory)))
        return [place == places[2], place == places[0]]

    with pytest.raises(UnsupportedError, match="set MALLOC_FREE_LIFO=1 in its environment"):
        builder().with_lifo_free().build()
    assert builder().build().report.lifo_free.state == EnforcementState.NOT_ASKED
    assert order() == [False, True]
    with new_world(lifo=True):
        arena = builder().with_lifo_free().build()
        assert arena.report.lifo_free.state == EnforcementState.ENFORCED
        assert order() == [True, False]
        arena.close()


@pytest.mark.row("QA-1", proof="sim")
@pytest.mark.parametrize(
    ("configure", "reason"),
    [
        (lambda b: b.with_arena_size(4095), "arena_size is 4095, not a multiple of 4096"),
        (lambda b: b.with_arena_size(256 * KIB + 4096), "up to 262144 bytes"),
        (lambda b: b.with_arena_cache_max_blocks(2**31), "more than 2147483647"),
        (lambda b: b.with_arena_cache_max_size(2**31), "more than 2147483647"),
        (lambda b: b.with_memory_hold().with_arena_cache_max_size(1), "beside it"),
        (lambda b: b.with_maximum_pages(65537), "at most 65536"),
        (lambda b: b.with_guard_bytes(7), "guard_bytes is 7"),
        (lambda b: b.with_verification_level(9), "verification is 9"),
        (lambda b: b.with_data_protection(9), "data_protection is 9"),
    ],
)
def test_config_out_of_range_is_refused_before_any_key_is_set(
    configure: Configure, reason: str
) -> None:
    before = settings()
    with pytest.raises(InvalidArgumentError, match=reason):
        configure(builder().with_arena_cache_max_blocks(0)).build()
    assert settings() == before


@pytest.mark.row("QA-1", proof="sim")
def test_largest_and_smallest_arena_are_taken() -> None:
    for size in (4 * KIB, 256 * KIB):
        arena = builder().with_arena_size(size).build()
        assert arena.report.arena_size == heap().arena_size == size
        arena.close()
    assert builder().build().report.arena_size == 32 * KIB


@pytest.mark.row("QA-1", proof="sim")
def test_cache_counters_move() -> None:
    arena = builder().with_arena_size(4 * KIB).with_arena_cache_max_blocks(2).build()
    blocks = [arena.allocate_block(3000) for _ in range(8)]
    full = arena.report
    assert full.block_count == 8
    assert full.block_bytes == full.peak_block_bytes == 24000
    assert full.heap_used_bytes >= 24000
    assert full.heap_bytes == heap().heap_bytes
    for block in blocks:
        block.release()
    empty = arena.report
    assert (empty.block_count, empty.block_bytes, empty.peak_block_bytes) == (0, 0, 24000)
    assert heap().cached_arenas == 2  # the limit: the other six went back to the system
    assert empty.heap_bytes == heap().heap_bytes < full.heap_bytes
    assert empty.heap_free_bytes >= heap().cached_bytes > 0
    assert empty.heap_used_bytes < full.heap_used_bytes


@pytest.mark.row("QA-1", proof="sim")
def test_held_memory_never_goes_back_to_the_system() -> None:
    arena = builder().with_memory_hold().with_arena_size(4 * KIB).build()
    blocks = [arena.allocate_block(3000) for _ in range(40)]
    most = heap().heap_bytes
    blocks.clear()
    assert arena.report.block_count == 0
    assert (heap().heap_bytes, heap().arenas_given_back) == (most, 0)


@pytest.mark.row("QA-1", proof="sim")
def test_growth_of_pages_keeps_data_and_guards_and_never_uses_realloc() -> None:
    arena = builder().with_guard_pages().with_arena_size(64 * KIB).build()
    pages = arena.allocate(1, 8)
    pages.memory[:] = b"x" * PAGE
    base = int(ffi.cast("uintptr_t", pages._raw.base))
    pages.grow(5)
    assert int(ffi.cast("uintptr_t", pages._raw.base)) == base
    assert bytes(pages.memory) == b"x" * PAGE + bytes(5 * PAGE)
    view = ffi.new("wrt_sim_qnx_memory_view *")
    must(lib.wrt_sim_qnx_memory_query(view))
    assert (heap().reallocations, view.protected_copies, view.bad_frees) == (0, 0, 0)


@pytest.mark.row("QA-2", proof="sim")
def test_protect_is_bounds_checked_and_exact() -> None:
    arena = builder().build()
    pages = arena.allocate(2, 4)
    for offset, size in ((2 * PAGE, 4096), (0, 2 * PAGE + 4096), (PAGE, 2**64 - 4096)):
        with pytest.raises(InvalidArgumentError, match="beyond the 131072 accessible bytes"):
            pages.protect(offset, size, Protection.READ)
    with pytest.raises(InvalidArgumentError, match="the system's page, 4096 bytes"):
        pages.protect(1, 4096, Protection.READ)
    pages.protect(PAGE, PAGE, Protection.READ)
    view, found = ffi.new("wrt_sim_qnx_mapping_view *"), []
    for index in range(100):
        if lib.wrt_sim_qnx_mapping_query(index, view) != lib.WRT_OK:
            break
        if view.flags & lib.WRT_SIM_QNX_HEAP == 0:
            found.append((view.size, view.access))
    assert found == [(PAGE, 3), (PAGE, 1), (2 * PAGE, 0)]
    pages.protect(PAGE, PAGE, Protection.READ | Protection.WRITE)


# Small blocks.


@pytest.mark.row("QA-1", proof="sim")
@pytest.mark.parametrize("alignment", [0, 16, 64, 512, 4096])
def test_blocks_are_aligned_zero_and_apart(alignment: int) -> None:
    arena = builder().build()
    blocks = [arena.allocate_block(size, alignment) for size in (1, 100, 5000, 1, 70000)]
    for number, block in enumerate(blocks):
        place = int(ffi.cast("uintptr_t", ffi.from_buffer(block.memory)))
        assert place % max(alignment, 16) == 0
        assert bytes(block.memory) == bytes(len(block.memory))
        block.memory[:] = bytes([number + 1]) * len(block.memory)
    for number, block in enumerate(blocks):
        assert bytes(block.memory) == bytes([number + 1]) * len(block.memory)


@pytest.mark.row("QA-1", proof="sim")
@pytest.mark.parametrize(
    ("size", "alignment", "reason"),
    [
        (0, 16, "size is 0"),
        ((1 << 30) + 1, 16, "size is 1073741825"),
        (1, 8, "alignment is 8"),
        (1, 48, "alignment is 48"),
        (1, 8192, "alignment is 8192"),
    ],
)
def test_block_out_of_range_is_refused(size: int, alignment: int, reason: str) -> None:
    with pytest.raises(InvalidArgumentError, match=reason):
        builder().build().allocate_block(size, alignment)


@pytest.mark.row("QA-1", proof="sim")
def test_exhausted_heap_is_an_error_that_is_counted() -> None:
    view = ffi.new("wrt_sim_qnx_memory_view *")
    must(lib.wrt_sim_qnx_memory_query(view))
    total = view.system_bytes
    must(lib.wrt_sim_qnx_set_system_memory(total - view.system_free_bytes + MIB))
    arena, blocks = builder().build(), []
    try:
        with pytest.raises(OutOfMemoryError, match=r"the heap has no \d+ bytes for a block"):
            while True:
                blocks.append(arena.allocate_block(64 * KIB))
        assert 8 <= len(blocks) <= 16
        assert arena.report.refusal_count == 1
        blocks.pop().release()
        blocks.append(arena.allocate_block(64 * KIB))  # there is room again
    finally:
        must(lib.wrt_sim_qnx_set_system_memory(total))


class Blocks:
    """Blocks as C has them: statuses, no exceptions."""

    def __init__(self, level: int, interval: int = 0) -> None:
        self.raw = ffi.new("wrt_qnx_arena_allocator *")
        size = ffi.sizeof("wrt_qnx_arena_allocator_config")
        given = {"struct_size": size, "verification_level": level, "sampling_interval": interval}
        config = ffi.new("wrt_qnx_arena_allocator_config *", given)
        must(lib.wrt_qnx_arena_allocator_init(self.raw, config))

    def allocate(self, size: int = 64) -> Any:
        out = ffi.new("void **")
        must(lib.wrt_qnx_arena_allocate_block(self.raw, size, 0, out))
        return ffi.cast("uint8_t *", out[0])

    def release(self, block: Any) -> int:
        return int(lib.wrt_qnx_arena_release_block(self.raw, block))

    def close(self) -> None:
        must(lib.wrt_qnx_arena_allocator_deinit(self.raw))


@pytest.mark.row("QA-1", proof="sim")
@pytest.mark.parametrize("level", [VerificationLevel.STANDARD, VerificationLevel.FULL])
def test_foreign_block_and_second_release_are_refused(level: VerificationLevel) -> None:
    ours, other = Blocks(level), Blocks(level)
    block, foreign, kept = ours.allocate(), other.allocate(), ours.allocate()
    assert ours.release(foreign) == lib.WRT_ERR_STATE
    assert ours.release(block + 16) == lib.WRT_ERR_STATE
    must(ours.release(block))
    assert ours.release(block) == lib.WRT_ERR_STATE
    assert ours.release(ffi.NULL) == lib.WRT_ERR_INVALID_ARGUMENT
    assert lib.wrt_qnx_arena_allocator_deinit(ours.raw) == lib.WRT_ERR_STATE  # `kept` is out
    must(ours.release(kept))
    must(other.release(foreign))
    ours.close()
    other.close()


@pytest.mark.row("QA-1", proof="sim")
@pytest.mark.parametrize("size", [1, 7, 64, 100])
def test_write_behind_a_block_is_noticed_at_full_and_not_at_standard(size: int) -> None:
    full, standard = Blocks(VerificationLevel.FULL), Blocks(VerificationLevel.STANDARD)
    for arena, expected in ((full, lib.WRT_ERR_STATE), (standard, lib.WRT_OK)):
        block = arena.allocate(size)
        block[size] ^= 1
        assert arena.release(block) == expected
        if expected != lib.WRT_OK:
            block[size] ^= 1  # nothing was freed, so the repaired block works
            must(arena.release(block))
        arena.close()


@pytest.mark.row("QA-1", proof="sim")
def test_sampling_checks_exactly_each_kth_release() -> None:
    arena = Blocks(VerificationLevel.SAMPLING, 3)
    noticed = []
    for number in range(1, 10):
        block = arena.allocate(32)
        block[32] ^= 1
        if arena.release(block) != lib.WRT_OK:
            noticed.append(number)
            block[32] ^= 1
            must(arena.release(block))  # counts as a call as well
            noticed.append(-number)
    assert [number for number in noticed if number > 0] == [3, 5, 7, 9]
    arena.close()


@pytest.mark.row("QA-1", proof="sim")
def test_block_is_charged_to_its_partition_with_what_stands_beside_it() -> None:
    partition = QnxMemoryPartitionBuilder().with_memory_size(0, 8 * KIB).build()
    arena = builder().with_partition(partition).build()
    small, aligned = arena.allocate_block(100), arena.allocate_block(100, 512)
    assert partition.report.used_bytes == (100 + 64 + 8) + (100 + 512 + 8)
    with pytest.raises(OutOfMemoryError, match="8264 bytes are asked for, the account has 7400"):
        arena.allocate_block(8 * KIB)
    assert arena.report.refusal_count == 1
    assert census()["heap block"] == 2
    small.release()
    aligned.release()
    assert partition.report.used_bytes == 0
    arena.close()
    partition.close()


@pytest.mark.row("QA-1", proof="sim")
def test_forgotten_arena_gives_its_keys_and_blocks_back() -> None:
    before = settings()
    arena = builder().with_arena_size(64 * KIB).build()
    view = arena.allocate_block(10).memory[2:]
    del arena
    gc.collect()
    view[:3] = b"abc"  # the block's view keeps the arena
    assert builder().with_arena_size(64 * KIB).build() is not None
    del view
    gc.collect()
    builder().with_arena_size(128 * KIB).build().close()
    assert settings() == before


# Each call of the kernel fails once.


@pytest.mark.row("QA-1", proof="sim")
@pytest.mark.parametrize("code", [ENOMEM, EIO])
@pytest.mark.parametrize(
    "configure",
    [
        lambda b: b.with_arena_size(64 * KIB).with_arena_cache_max_blocks(3),
        lambda b: b.with_memory_hold().with_arena_size(4 * KIB),
    ],
    ids=["limits", "hold"],
)
def test_making_and_ending_that_fail_anywhere_can_be_tried_again(
    configure: Configure, code: int
) -> None:
    before = settings()
    calls = calls_of(lambda: configure(builder()).build().close())
    made = ended = 0
    for use in range(1, calls + 1):
        fail_at(use, code)
        try:
            arena = configure(builder()).build()
        except WrtError as error:
            made += 1
            assert "mallopt" in str(error) or "pthread_mutex_lock" in str(error)
            assert settings() == before
            continue
        try:
            arena.close()
        except WrtError as error:
            ended += 1
            assert isinstance(error, (SystemCallError, StateError))
            arena.close()
        assert settings() == before
    assert made >= 2
    assert ended >= 1


@pytest.mark.row("QA-1", proof="sim")
def test_block_that_fails_anywhere_leaves_nothing() -> None:
    partition = QnxMemoryPartitionBuilder().with_memory_size(0, MIB).build()
    arena = builder().with_partition(partition).build()
    arena.allocate_block(200).release()
    calls = calls_of(lambda: arena.allocate_block(200).release())
    before = holdings()
    for use in range(1, calls + 1):
        fail_at(use, ENOMEM)
        try:
            block = arena.allocate_block(200)
        except WrtError:
            assert holdings() == before
            assert partition.report.used_bytes == 0
            continue
        try:
            block.release()
        except WrtError:
            assert arena.report.block_count == 1
            must(lib.wrt_qnx_arena_release_block(arena._raw, arena._raw.blocks + 64))
        assert holdings() == before
        assert partition.report.used_bytes == 0
