"""Atomic memory: records that are changed as a whole or not at all.

Mirrors wrt_platform/atomic_memory.h.

    with allocator.allocate(2, 4) as pages:
        with CustomProvider(pages).into_atomic_ops() as atomic_ops:
            atomic_ops.atomic_write_with_checksum(0, bytes([1, 2, 3, 4]))
            atomic_ops.atomic_read_with_checksum(0, 4)
"""

from __future__ import annotations

import threading
from mmap import mmap
from typing import TYPE_CHECKING, Any, NamedTuple, Union

from wrt_platform._native import ffi, lib
from wrt_platform.errors import InvalidArgumentError, StateError, check
from wrt_platform.layout import Layout
from wrt_platform.page_allocator import Pages, _size
from wrt_platform.pool import Block

if TYPE_CHECKING:
    from array import array
    from typing import Self

    Memory = Union[Pages, Block, bytearray, mmap, array[Any]]

__all__ = ["AtomicMemoryOps", "AtomicRecord", "CustomProvider"]


class AtomicRecord(NamedTuple):
    """What is known of a record."""

    size: int  # bytes of its data
    sequence: int  # of the copy that is read; each write adds 2, and it wraps to 0
    whole_count: int  # copies that are whole: 1 or 2


class AtomicMemoryOps:
    """Writes and reads records; made by CustomProvider.

    Any thread may use it. Reading never waits, neither for writers of this process nor for one of
    another process that shares the memory; of those, only one may write a record.
    """

    def __init__(self, config: Any, owner: Any) -> None:
        raw = ffi.new("wrt_atomic_memory *")
        check(lib.wrt_atomic_memory_init(raw, config))
        # C borrows the owner's memory; whoever is inside a call holds both.
        self._held: Any = (ffi.gc(raw, lib.wrt_atomic_memory_deinit), owner)
        self._config = config
        self._writing = threading.Lock()  # cffi lets other threads run

    def atomic_write_with_checksum(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Makes `data` the record at `offset`, a multiple of 4: the first one there, or in place of
        one of the same size.

        Raises InvalidArgumentError (empty, misaligned, beyond the memory), StateError (a record of
        another size begins here); nothing has changed then.
        """
        place = _size(offset, "offset")
        content = ffi.from_buffer("uint8_t[]", data)
        raw, _owner = self._borrowed()
        with self._writing:
            status = lib.wrt_atomic_memory_write(raw, place, content, len(content))
        check(status)

    def atomic_read_with_checksum(self, offset: int, size: int) -> bytes:
        """The record of `size` bytes at `offset`, as it was after the last finished write.

        Raises NotFoundError (no record of this size is here), StateError (neither copy is whole),
        InvalidArgumentError (misaligned, beyond the memory).
        """
        place, length = _size(offset, "offset"), _size(size, "size")
        raw, _owner = self._borrowed()
        room = min(length, raw.memory_size)  # what is longer is refused before it is filled
        data = ffi.new("uint8_t[]", room or 1)
        check(lib.wrt_atomic_memory_read(raw, place, data, length))
        return bytes(ffi.buffer(data, length))

    def record(self, offset: int) -> AtomicRecord:
        """Checks both copies of the record at `offset`.

        Raises NotFoundError (no record begins here), StateError (neither copy is whole).
        """
        place = _size(offset, "offset")
        raw, _owner = self._borrowed()
        record = ffi.new("wrt_atomic_record *")
        with self._writing:
            status = lib.wrt_atomic_memory_query(raw, place, record)
        check(status)
        return AtomicRecord(record.size, record.sequence, record.whole_count)

    def layout(self, size: int) -> Layout:
        """The bytes that a record of `size` bytes takes: the next one begins behind them."""
        return _layout(self._config, size)

    def close(self) -> None:
        """Lets go of the memory, which keeps its records; again does nothing."""
        self._held = None

    def _borrowed(self) -> Any:
        held = self._held
        if held is None:
            raise StateError("the atomic operations are closed")
        return held

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class CustomProvider:
    """Anybody's memory, to hold records. The rules of atomic_memory.h are checked by
    into_atomic_ops()."""

    def __init__(self, memory: Memory | None = None, size: int | None = None) -> None:
        name = "wrt_atomic_memory_config"
        self._config = ffi.new(f"{name} *", {"struct_size": ffi.sizeof(name)})
        self._owner: Any = None
        self._key: Any = None
        if memory is not None:
            self.with_memory(memory, size)

    def with_memory(self, memory: Memory, size: int | None = None) -> Self:
        """Wraps the first `size` bytes (None: all) of pages or a block of any allocator, or of a
        bytearray, mmap, array, ... It is borrowed until close(): meanwhile it can be neither
        released nor resized. What it holds stays.
        """
        owner, length = _borrow(memory)
        wanted = length if size is None else _size(size, "size")
        if wanted > length:
            raise InvalidArgumentError(f"size is {wanted}, but the memory has {length} bytes")
        self._owner = owner
        self._config.memory = ffi.cast("void *", owner)
        self._config.memory_size = wanted
        return self

    def with_key(self, key: bytes) -> Self:
        """Makes the checksum SipHash-2-4 under this secret key of 16 bytes, against hostile
        changes; a CRC is no protection from them."""
        self._key = ffi.new("uint8_t[]", key)
        self._config.key = self._key
        self._config.key_size = len(key)
        return self

    def layout(self, size: int) -> Layout:
        """The bytes that a record of `size` bytes takes, and what its offset is a multiple of."""
        return _layout(self._config, size)

    def into_atomic_ops(self) -> AtomicMemoryOps:
        """Makes the operations. Raises InvalidArgumentError naming the broken rule."""
        config = ffi.new("wrt_atomic_memory_config *", self._config[0])
        return AtomicMemoryOps(config, (self._owner, self._key))


def _borrow(memory: Any) -> tuple[Any, int]:
    """A pointer that keeps the memory where it is for as long as it lives, and the bytes there."""
    if isinstance(memory, memoryview):  # CPython crashes when a lent view dies in a cycle
        raise TypeError("pass the object that owns the memory, not a view of it")
    if not isinstance(memory, (Pages, Block)):
        owner = ffi.from_buffer("uint8_t[]", memory, require_writable=True)
        return owner, ffi.sizeof(owner)
    loan = memory._loan()
    if loan is None:
        raise StateError("the memory has been released")
    return loan, len(memory.memory)


def _layout(config: Any, size: int) -> Layout:
    layout = ffi.new("wrt_layout *")
    check(lib.wrt_atomic_memory_layout(config, _size(size, "size"), layout))
    return Layout(layout.bytes, layout.alignment)
