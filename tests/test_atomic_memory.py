"""Records that are changed as a whole: through the Python face, and with the memory itself at hand.

What a stopped, a killed and a torn writer leave is in tests/test_atomic_stops.py.
"""

from __future__ import annotations

import gc
import mmap
import struct
import threading
import time
from array import array
from collections.abc import Callable
from typing import Any

import pytest
import wrt_platform.atomic_memory
from page_backends import BACKENDS
from support.guest import last_error, new_config
from wrt_platform import CustomProvider, PoolAllocatorBuilder, VerificationLevel
from wrt_platform._native import ffi, lib
from wrt_platform.atomic_memory import AtomicMemoryOps, AtomicRecord
from wrt_platform.errors import InvalidArgumentError, NotFoundError, StateError

KEY = bytes(range(16))


def crc32c(start: int, content: bytes) -> int:
    """By the definition, bit by bit: nothing of the library is in it."""
    state = start
    for byte in content:
        state ^= byte
        for _ in range(8):
            state = (state >> 1) ^ (0x82F63B78 if state & 1 else 0)
    return state ^ 0xFFFFFFFF


def seal(offset: int, sequence: int, data: bytes) -> bytes:
    """The checksum of a copy, as an adversary would compute it who has read the source."""
    start = 0xFFFFFFFF ^ offset // 4 ^ len(data) * 0x9E3779B1 % 2**32
    return struct.pack("=I", crc32c(start, struct.pack("=I", sequence) + data))


# AM-1: any memory can be wrapped.


@pytest.mark.row("AM-1")
@pytest.mark.parametrize("backend", BACKENDS)
def test_pages_of_every_allocator_hold_records(backend: str) -> None:
    allocator = BACKENDS[backend](VerificationLevel.FULL, 0)
    with allocator.allocate(2, 4) as pages:
        with CustomProvider(pages).into_atomic_ops() as atomic_ops:
            last = len(pages.memory) - atomic_ops.layout(4).bytes
            for offset in (0, 65536 - 4, last):
                atomic_ops.atomic_write_with_checksum(offset, bytes([1, 2, 3, 4]))
                assert atomic_ops.atomic_read_with_checksum(offset, 4) == bytes([1, 2, 3, 4])
            with pytest.raises(InvalidArgumentError, match="beyond the memory of 131072 bytes"):
                atomic_ops.atomic_write_with_checksum(last + 4, bytes(4))
        assert bytes(pages.memory[8:12]) == bytes([1, 2, 3, 4])  # it is this memory
    allocator.close()  # no canary was touched


def mapped() -> mmap.mmap:
    return mmap.mmap(-1, 4096)


@pytest.mark.row("AM-1")
@pytest.mark.parametrize(
    "make",
    [lambda: bytearray(256), lambda: array("Q", [7] * 32), mapped],
    ids=["own", "array", "mmap"],
)
def test_memory_of_python_holds_records(make: Callable[[], Any]) -> None:
    memory = make()
    atomic_ops = CustomProvider(memory).into_atomic_ops()
    atomic_ops.atomic_write_with_checksum(100, b"payload")
    again = CustomProvider(memory).into_atomic_ops()
    assert again.atomic_read_with_checksum(100, 7) == b"payload"
    assert b"payload" in bytes(memory)


@pytest.mark.row("AM-1")
def test_block_of_a_pool_holds_records_and_cannot_be_released_meanwhile() -> None:
    pool = PoolAllocatorBuilder().add_pool(64, 2).build()
    block = pool.allocate(64)
    atomic_ops = CustomProvider(block).into_atomic_ops()
    atomic_ops.atomic_write_with_checksum(0, b"block")
    with pytest.raises(BufferError):
        block.release()
    atomic_ops.close()
    block.release()
    with pytest.raises(StateError, match="closed"):
        atomic_ops.atomic_read_with_checksum(0, 5)
    with pytest.raises(StateError, match="released"):
        CustomProvider(block)


@pytest.mark.row("AM-1")
def test_borrowed_memory_can_neither_move_nor_go() -> None:
    memory = bytearray(64)
    atomic_ops = CustomProvider(memory).into_atomic_ops()
    with pytest.raises(BufferError):
        memory.append(0)
    with pytest.raises(TypeError, match="not a view"):
        CustomProvider(memoryview(memory))  # type: ignore[arg-type]
    with pytest.raises(BufferError):
        CustomProvider(b"constant")  # type: ignore[arg-type]
    atomic_ops.close()
    gc.collect()
    memory.append(0)


@pytest.mark.row("AM-1")
def test_what_is_out_of_range_is_refused_and_changes_nothing() -> None:
    memory = bytearray(b"\xa5" * 100)
    atomic_ops = CustomProvider(memory, 96).into_atomic_ops()
    assert atomic_ops.layout(4) == (28, 4)  # bytes, alignment
    beyond = [(72, 4), (96, 1), (92, 1), (100, 4), (2**64 - 4, 4), (0, 39), (0, 2**27)]
    for offset, size in beyond:
        with pytest.raises(InvalidArgumentError, match="beyond the memory of 96 bytes"):
            atomic_ops.atomic_write_with_checksum(offset, bytes(size))
        with pytest.raises(InvalidArgumentError, match="beyond the memory"):
            atomic_ops.atomic_read_with_checksum(offset, size)
    with pytest.raises(InvalidArgumentError, match="offset 2 is not a multiple of 4"):
        atomic_ops.atomic_write_with_checksum(2, b"data")
    with pytest.raises(InvalidArgumentError, match="0 bytes: it can have 1 to 134217728"):
        atomic_ops.atomic_write_with_checksum(0, b"")
    for offset in (-4, 2**64):
        with pytest.raises(InvalidArgumentError):
            atomic_ops.atomic_write_with_checksum(offset, b"data")
    with pytest.raises(InvalidArgumentError):
        atomic_ops.atomic_read_with_checksum(0, 2**64 - 1)
    with pytest.raises(InvalidArgumentError, match="offset 96 is beyond"):
        atomic_ops.record(96)
    with pytest.raises(InvalidArgumentError, match="the memory has 100 bytes"):
        CustomProvider(memory, 101)
    assert memory == b"\xa5" * 100
    atomic_ops.atomic_write_with_checksum(68, b"fits")  # to the last byte
    assert memory[96:] == b"\xa5" * 4 and memory[:68] == b"\xa5" * 68


@pytest.mark.row("AM-1")
def test_memory_that_no_word_can_lie_in_is_refused() -> None:
    shifted = bytearray(64)
    del shifted[:1]  # its start moves by a byte
    if int(ffi.cast("uintptr_t", ffi.from_buffer(shifted))) % 4:
        with pytest.raises(InvalidArgumentError, match="not 4-byte aligned"):
            CustomProvider(shifted).into_atomic_ops()
    for provider in (
        CustomProvider(),
        CustomProvider(bytearray(64), 0),
        CustomProvider(bytearray()),
    ):
        with pytest.raises(InvalidArgumentError, match="NULL, empty or not"):
            provider.into_atomic_ops()


# AM-2: what a record is.


@pytest.fixture
def memory() -> bytearray:
    return bytearray(256)


@pytest.fixture
def atomic_ops(memory: bytearray) -> AtomicMemoryOps:
    return CustomProvider(memory).into_atomic_ops()


@pytest.mark.row("AM-2")
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 31, 118])
@pytest.mark.parametrize("key", [None, KEY], ids=["crc", "keyed"])
def test_records_of_any_size_are_read_as_written(size: int, key: bytes | None) -> None:
    provider = CustomProvider() if key is None else CustomProvider().with_key(key)
    taken = provider.layout(size).bytes
    memory = bytearray(b"\xff" * (taken + 8))
    atomic_ops = provider.with_memory(memory, taken).into_atomic_ops()
    for number in range(5):
        data = bytes((number * 31 + i) % 256 for i in range(size))
        atomic_ops.atomic_write_with_checksum(0, data)
        assert atomic_ops.atomic_read_with_checksum(0, size) == data
        expected = AtomicRecord(size, 2 * (number + 1), 1 if number == 0 else 2)
        assert atomic_ops.record(0) == expected
    assert memory[taken:] == b"\xff" * 8
    assert atomic_ops.layout(size) == (taken, 4)
    assert taken == (20 if key is None else 28) + 2 * (size + 3 & ~3)


@pytest.mark.row("AM-2")
def test_record_lies_in_memory_as_the_header_says(
    memory: bytearray, atomic_ops: AtomicMemoryOps
) -> None:
    """Judged by a CRC of our own test's: size, then twice sequence, data, checksum."""
    for data in (b"first", b"again", b"third"):
        atomic_ops.atomic_write_with_checksum(40, data)
    newer = struct.pack("=I", 6) + b"third\0\0\0" + seal(40, 6, b"third")
    older = struct.pack("=I", 4) + b"again\0\0\0" + seal(40, 4, b"again")
    assert memory[40:76] == struct.pack("=I", 5) + newer + older
    assert set(memory[:40] + memory[76:]) == {0}


@pytest.mark.row("AM-2")
def test_a_write_leaves_the_copy_that_readers_have(
    memory: bytearray, atomic_ops: AtomicMemoryOps
) -> None:
    copies = [slice(4, 16), slice(16, 28)]
    atomic_ops.atomic_write_with_checksum(0, b"data")
    for number in range(1, 6):
        kept, replaced = copies[(number + 1) % 2], copies[number % 2]
        before = bytes(memory)
        atomic_ops.atomic_write_with_checksum(0, struct.pack("=I", number))
        assert memory[kept] == before[kept] and memory[replaced] != before[replaced]


@pytest.mark.row("AM-2")
def test_sequence_wraps(memory: bytearray, atomic_ops: AtomicMemoryOps) -> None:
    data, sequence = b"data", 2**32 - 4
    memory[:16] = struct.pack("=II", 4, sequence) + data + seal(0, sequence, data)
    seen = []
    for number in range(4):
        atomic_ops.atomic_write_with_checksum(0, bytes([number] * 4))
        assert atomic_ops.atomic_read_with_checksum(0, 4) == bytes([number] * 4)
        seen.append(atomic_ops.record(0).sequence)
    assert seen == [2**32 - 2, 0, 2, 4]


@pytest.mark.row("AM-2")
def test_nothing_written_is_not_found(memory: bytearray, atomic_ops: AtomicMemoryOps) -> None:
    for content in (bytes(256), b"\xff" * 256, bytes(range(256))):
        memory[:] = content
        with pytest.raises(NotFoundError, match="no record of 8 bytes is at offset 16"):
            atomic_ops.atomic_read_with_checksum(16, 8)
        with pytest.raises((NotFoundError, StateError)):
            atomic_ops.record(16)


@pytest.mark.row("AM-2")
def test_another_size_neither_reads_nor_destroys_a_record(atomic_ops: AtomicMemoryOps) -> None:
    atomic_ops.atomic_write_with_checksum(0, b"eight by")
    with pytest.raises(NotFoundError, match="no record of 4 bytes is at offset 0"):
        atomic_ops.atomic_read_with_checksum(0, 4)
    for size in (4, 12):
        with pytest.raises(StateError, match=f"a record of 8 bytes begins here, not of {size}"):
            atomic_ops.atomic_write_with_checksum(0, bytes(size))
    assert atomic_ops.atomic_read_with_checksum(0, 8) == b"eight by"


@pytest.mark.row("AM-2")
def test_cleared_memory_takes_a_record_of_another_size(
    memory: bytearray, atomic_ops: AtomicMemoryOps
) -> None:
    atomic_ops.atomic_write_with_checksum(0, b"eight by")
    memory[: atomic_ops.layout(8).bytes] = bytes(atomic_ops.layout(8).bytes)
    atomic_ops.atomic_write_with_checksum(0, b"four")
    assert atomic_ops.record(0) == (4, 2, 1)


@pytest.mark.row("AM-2")
def test_damaged_copy_is_not_read_and_two_writes_repair_it(
    memory: bytearray, atomic_ops: AtomicMemoryOps
) -> None:
    for data in (b"older", b"newer"):
        atomic_ops.atomic_write_with_checksum(0, data)
    memory[24] ^= 1  # data of the newer
    assert atomic_ops.atomic_read_with_checksum(0, 5) == b"older"
    assert atomic_ops.record(0) == (5, 2, 1)
    memory[8] ^= 1  # and of the older
    with pytest.raises(StateError, match="neither copy of the record at offset 0 is whole"):
        atomic_ops.atomic_read_with_checksum(0, 5)
    with pytest.raises(StateError, match="neither copy"):
        atomic_ops.record(0)
    for _ in range(2):
        atomic_ops.atomic_write_with_checksum(0, b"fresh")
    assert atomic_ops.record(0) == (5, 4, 2)


@pytest.mark.row("AM-2")
def test_damaged_size_hides_nothing_and_is_repaired(
    memory: bytearray, atomic_ops: AtomicMemoryOps
) -> None:
    atomic_ops.atomic_write_with_checksum(0, b"kept")
    for bit in (0x40, 0x80000000):
        memory[:4] = struct.pack("=I", 4 ^ bit)
        with pytest.raises((NotFoundError, StateError)):
            atomic_ops.record(0)
    assert atomic_ops.atomic_read_with_checksum(0, 4) == b"kept"
    atomic_ops.atomic_write_with_checksum(0, b"next")
    assert atomic_ops.record(0) == (4, 4, 2)


@pytest.mark.row("AM-2")
def test_whole_record_at_another_place_is_none(
    memory: bytearray, atomic_ops: AtomicMemoryOps
) -> None:
    atomic_ops.atomic_write_with_checksum(0, b"data")
    memory[100:128] = memory[:28]
    with pytest.raises(StateError, match="neither copy of the record at offset 100"):
        atomic_ops.atomic_read_with_checksum(100, 4)


# AM-2: hostile changes.


def forge(memory: bytearray, offset: int, data: bytes) -> None:
    """What an adversary does to the first copy: new data, and their CRC computed anew."""
    (sequence,) = struct.unpack_from("=I", memory, offset + 4)
    rounded = len(data) + 3 & ~3
    memory[offset + 8 : offset + 8 + len(data)] = data
    check_at = offset + 8 + rounded
    memory[check_at : check_at + 4] = seal(offset, sequence, data)


@pytest.mark.row("AM-2")
def test_adversary_who_computes_the_crc_is_believed_without_a_key_alone(memory: bytearray) -> None:
    """The documentation says so; the same change under a key is found."""
    plain = CustomProvider(memory).into_atomic_ops()
    plain.atomic_write_with_checksum(0, b"pay 1")
    forge(memory, 0, b"pay 9")
    assert plain.atomic_read_with_checksum(0, 5) == b"pay 9"

    memory[:] = bytes(256)
    keyed = CustomProvider(memory).with_key(KEY).into_atomic_ops()
    keyed.atomic_write_with_checksum(0, b"pay 1")
    forge(memory, 0, b"pay 9")
    with pytest.raises(StateError, match="neither copy"):
        keyed.atomic_read_with_checksum(0, 5)


@pytest.mark.row("AM-2")
def test_key_finds_every_changed_byte(memory: bytearray) -> None:
    keyed = CustomProvider(memory).with_key(KEY).into_atomic_ops()
    keyed.atomic_write_with_checksum(0, b"twelve bytes")
    for place in range(4, 28):  # sequence, data, checksum of the only copy
        for change in range(1, 256):
            memory[place] ^= change
            with pytest.raises(StateError):
                keyed.atomic_read_with_checksum(0, 12)
            memory[place] ^= change
    assert keyed.atomic_read_with_checksum(0, 12) == b"twelve bytes"


@pytest.mark.row("AM-2")
def test_another_key_and_no_key_read_nothing(memory: bytearray) -> None:
    keyed = CustomProvider(memory).with_key(KEY).into_atomic_ops()
    keyed.atomic_write_with_checksum(0, b"data")
    keyed.atomic_write_with_checksum(0, b"data")
    for bit in range(128):
        other = bytearray(KEY)
        other[bit // 8] ^= 1 << bit % 8
        with pytest.raises(StateError):
            read_with = CustomProvider(memory).with_key(bytes(other)).into_atomic_ops()
            read_with.atomic_read_with_checksum(0, 4)
    with pytest.raises(StateError):
        CustomProvider(memory).into_atomic_ops().atomic_read_with_checksum(0, 4)
    memory[100:136] = memory[:36]  # nor can it be moved
    with pytest.raises(StateError):
        keyed.atomic_read_with_checksum(100, 4)


@pytest.mark.row("AM-2")
@pytest.mark.parametrize("size", [0, 15, 17, 32])
def test_key_of_another_size_is_refused(memory: bytearray, size: int) -> None:
    provider = CustomProvider(memory).with_key(bytes(size))
    with pytest.raises(InvalidArgumentError, match=f"key_size is {size}: a key has 16 bytes"):
        provider.into_atomic_ops()


# Threads of Python.


@pytest.mark.row("AM-2")
def test_writers_and_readers_of_many_threads(
    memory: bytearray, atomic_ops: AtomicMemoryOps
) -> None:
    atomic_ops.atomic_write_with_checksum(0, bytes(100))
    torn: list[bytes] = []

    def write(number: int) -> None:
        for _ in range(500):
            atomic_ops.atomic_write_with_checksum(0, bytes([number] * 100))

    def read() -> None:
        for _ in range(1000):
            data = atomic_ops.atomic_read_with_checksum(0, 100)
            if len(set(data)) != 1:
                torn.append(data)

    threads = [threading.Thread(target=write, args=(number,)) for number in (1, 2)]
    threads += [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert torn == []
    assert atomic_ops.record(0) == (100, 2 * 1001, 2)  # no write was lost


class OneWriterAtATime:
    """Stands before `lib`, makes each call slow, and notices a second one that may not be inside;
    and whether a reader was, which may."""

    def __init__(self) -> None:
        self.writers = 0
        self.overlaps = 0
        self.reads_beside = 0

    def __getattr__(self, name: str) -> Any:
        takes_turns = name in ("wrt_atomic_memory_write", "wrt_atomic_memory_query")
        is_read = name == "wrt_atomic_memory_read"

        def call(*arguments: Any) -> Any:
            self.writers += takes_turns
            self.overlaps += takes_turns and self.writers > 1
            self.reads_beside += is_read and self.writers > 0
            time.sleep(0.0005)
            try:
                return getattr(lib, name)(*arguments)
            finally:
                self.writers -= takes_turns

        return call if callable(getattr(lib, name)) else getattr(lib, name)


@pytest.mark.row("AM-2")
def test_writers_take_turns_and_readers_do_not_wait(
    atomic_ops: AtomicMemoryOps, monkeypatch: pytest.MonkeyPatch
) -> None:
    atomic_ops.atomic_write_with_checksum(0, b"data")
    spy = OneWriterAtATime()
    monkeypatch.setattr(wrt_platform.atomic_memory, "lib", spy)

    def write() -> None:
        for _ in range(20):
            atomic_ops.atomic_write_with_checksum(0, b"data")
            atomic_ops.record(0)

    def read() -> None:
        for _ in range(40):
            atomic_ops.atomic_read_with_checksum(0, 4)

    threads = [threading.Thread(target=work) for work in (write, write, read)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert spy.overlaps == 0
    assert spy.reads_beside > 0


# Rules that no safe face can break: on the raw library.


def raw_memory(size: int = 256, **settings: Any) -> tuple[Any, Any]:
    """An initialised wrt_atomic_memory, and its memory."""
    words = ffi.new("uint32_t[]", size // 4)
    config = new_config(
        "wrt_atomic_memory_config", memory=ffi.cast("void *", words), memory_size=size, **settings
    )
    raw = ffi.new("wrt_atomic_memory *")
    assert lib.wrt_atomic_memory_init(raw, config) == lib.WRT_OK, last_error()
    return raw, words


@pytest.mark.row("AM-2")
def test_data_in_the_record_itself_are_refused() -> None:
    raw, words = raw_memory()
    memory = ffi.cast("uint8_t *", words)
    for place in (37, 40, 41, 67):
        status = lib.wrt_atomic_memory_write(raw, 40, memory + place, 4)
        assert status == lib.WRT_ERR_INVALID_ARGUMENT
        assert "data lies in the record itself" in last_error()
    for place in (36, 68):
        assert lib.wrt_atomic_memory_write(raw, 40, memory + place, 4) == lib.WRT_OK


@pytest.mark.row("AM-2")
def test_failed_read_shows_nothing_of_what_is_there() -> None:
    raw, words = raw_memory()
    for secret in (b"secret", b"hidden"):
        assert lib.wrt_atomic_memory_write(raw, 0, secret, 6) == lib.WRT_OK
    for data_of_copy in (3, 7):
        words[data_of_copy] ^= 1
    data = ffi.new("uint8_t[]", b"\xff" * 6)
    assert lib.wrt_atomic_memory_read(raw, 0, data, 6) == lib.WRT_ERR_STATE
    assert bytes(data[0:6]) == bytes(6)
    data = ffi.new("uint8_t[]", b"\xff" * 6)
    assert lib.wrt_atomic_memory_read(raw, 2, data, 6) == lib.WRT_ERR_INVALID_ARGUMENT
    assert bytes(data[0:6]) == b"\xff" * 6


@pytest.mark.row("AM-2")
def test_key_is_copied_and_wiped() -> None:
    key = ffi.new("uint8_t[16]", KEY)
    raw, _ = raw_memory(key=key, key_size=16)
    ffi.memmove(key, bytes(16), 16)
    assert KEY in bytes(ffi.buffer(raw))
    assert lib.wrt_atomic_memory_write(raw, 0, b"data", 4) == lib.WRT_OK
    assert lib.wrt_atomic_memory_deinit(raw) == lib.WRT_OK
    assert set(bytes(ffi.buffer(raw))) == {0}
    assert lib.wrt_atomic_memory_deinit(raw) == lib.WRT_OK  # twice is harmless


@pytest.mark.row("AM-2")
def test_calls_on_an_object_that_is_not_initialised_are_refused() -> None:
    raw = ffi.new("wrt_atomic_memory *")
    data, record = ffi.new("uint8_t[4]"), ffi.new("wrt_atomic_record *")
    assert lib.wrt_atomic_memory_write(raw, 0, data, 4) == lib.WRT_ERR_STATE
    assert lib.wrt_atomic_memory_read(raw, 0, data, 4) == lib.WRT_ERR_STATE
    assert lib.wrt_atomic_memory_query(raw, 0, record) == lib.WRT_ERR_STATE


@pytest.mark.row("AM-2")
def test_object_may_be_moved() -> None:
    raw, words = raw_memory()
    moved = ffi.new("wrt_atomic_memory *", raw[0])
    ffi.memmove(raw, bytes(ffi.sizeof("wrt_atomic_memory")), ffi.sizeof("wrt_atomic_memory"))
    assert lib.wrt_atomic_memory_write(moved, 0, b"data", 4) == lib.WRT_OK
    assert words[0] == 4


@pytest.mark.row("AM-2")
def test_bad_configs_are_refused() -> None:
    words, key = ffi.new("uint32_t[8]"), ffi.new("uint8_t[16]")
    raw, layout = ffi.new("wrt_atomic_memory *"), ffi.new("wrt_layout *", (1, 1))
    good = {"memory": words, "memory_size": 32}

    def config(**settings: Any) -> Any:
        return new_config("wrt_atomic_memory_config", **{**good, **settings})

    for bad in (
        config(memory=ffi.NULL),
        config(memory_size=0),
        config(memory=ffi.cast("uint8_t *", words) + 2),
        config(key_size=16),
        config(key=key),
        config(key=key, key_size=8),
        config(struct_size=0),
    ):
        assert lib.wrt_atomic_memory_init(raw, bad) == lib.WRT_ERR_INVALID_ARGUMENT
    for place in range(4):
        bad = config()
        bad.reserved[place] = 1
        assert lib.wrt_atomic_memory_init(raw, bad) == lib.WRT_ERR_UNSUPPORTED
    assert raw.memory == ffi.NULL
    for size in (0, lib.WRT_ATOMIC_SIZE_MAX + 1, 2**64 - 1):
        assert lib.wrt_atomic_memory_layout(config(), size, layout) == lib.WRT_ERR_INVALID_ARGUMENT
        assert (layout.bytes, layout.alignment) == (0, 0)
    largest = lib.WRT_ATOMIC_SIZE_MAX
    assert lib.wrt_atomic_memory_layout(config(), largest, layout) == lib.WRT_OK
    assert layout.bytes == lib.WRT_ATOMIC_OVERHEAD + 2 * largest
