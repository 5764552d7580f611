"""Memory pools: fixed-size blocks cut from one buffer. Mirrors wrt_platform/pool.h."""

from __future__ import annotations

import threading
import weakref
from mmap import mmap
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple

from wrt_platform._native import ffi, lib
from wrt_platform.errors import InvalidArgumentError, check
from wrt_platform.layout import Layout

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Block", "PoolAllocator", "PoolAllocatorBuilder", "PoolUsage"]


class PoolUsage(NamedTuple):
    """Blocks, summed over all size classes."""

    capacity: int
    used: int  # out now
    peak: int  # the most that were ever out at once
    refusals: int  # requests that found no block


class Block:
    """A block on loan.

    The loan ends with the last view of the memory, slices included, so no view can
    ever show the next owner's data; release() asks for that end now.
    """

    def __init__(self, pool: PoolAllocator, loan: Any, size: int) -> None:
        self._pool = pool
        self._loan = weakref.ref(loan)  # dies with the last view
        self._size = size
        self.memory = memoryview(ffi.buffer(loan, size))

    def release(self) -> None:
        """Gives the block back; again does nothing. Raises BufferError while it is in use."""
        self.memory.release()
        loan = self._loan()
        if loan is not None:
            self.memory = memoryview(ffi.buffer(loan, self._size))
            raise BufferError("another view of the block is still in use")
        self._pool._settle()

    def __enter__(self) -> memoryview:
        return self.memory

    def __exit__(self, *_: object) -> None:
        self.release()


class PoolAllocator:
    """Serves blocks from size classes, to any thread; made by PoolAllocatorBuilder."""

    def __init__(self, config: Any, buffer: Any) -> None:
        self._buffer = buffer  # C borrows it
        self._pool = ffi.new("wrt_pool *")
        self._lock = threading.Lock()  # round each C call: cffi lets other threads run
        self._returned: SimpleQueue[Any] = SimpleQueue()
        check(lib.wrt_pool_init(self._pool, config))

    def allocate(self, size: int) -> Block:
        """Takes a block of at least `size` bytes. Raises OutOfMemoryError when none is left."""
        out = ffi.new("void **")
        self._settle()
        with self._lock:
            status = lib.wrt_pool_allocate(self._pool, size, out)
        check(status)
        return Block(self, ffi.gc(out[0], self._give_back), size)

    @property
    def usage(self) -> PoolUsage:
        """How the pool has been used so far."""
        usage = ffi.new("wrt_pool_usage *")
        self._settle()
        with self._lock:
            status = lib.wrt_pool_query(self._pool, usage)
        check(status)
        return PoolUsage(usage.capacity, usage.used, usage.peak, usage.refusals)

    def close(self) -> None:
        """Lets go of the buffer; again does nothing. Raises StateError while blocks are out."""
        self._settle()
        with self._lock:
            status = lib.wrt_pool_deinit(self._pool)
        check(status)
        self._buffer = None

    def _give_back(self, pointer: Any) -> None:
        """Ends a loan. Runs whenever Python drops the last view, even inside a locked call
        of this very thread: so it takes no lock, and the next call tells C."""
        self._returned.put(pointer)

    def _settle(self) -> None:
        """Tells C of the loans that have ended."""
        while not self._returned.empty():
            with self._lock:
                if self._returned.empty():  # another thread was faster
                    return
                status = lib.wrt_pool_release(self._pool, self._returned.get())
            check(status)


class PoolAllocatorBuilder:
    """Collects settings; the rules of pool.h are checked by build()."""

    def __init__(self) -> None:
        self._config = ffi.new("wrt_pool_config *", {"struct_size": ffi.sizeof("wrt_pool_config")})
        self._buffer: Any = None

    def add_pool(self, block_size: int, block_count: int) -> Self:
        """Adds a size class. Sizes are bytes, powers of two, and never fall.

        The documents' name; it stands for the field `classes`. Raises InvalidArgumentError
        when there are WRT_POOL_CLASS_MAX already.
        """
        if self._config.class_count == lib.WRT_POOL_CLASS_MAX:
            raise InvalidArgumentError(f"a pool has at most {lib.WRT_POOL_CLASS_MAX} size classes")
        self._config.classes[self._config.class_count] = (block_size, block_count)
        self._config.class_count += 1
        return self

    def with_buffer(self, buffer: bytearray | mmap) -> Self:
        """Serves blocks from this memory, 8-byte aligned. Without it, build() makes a buffer."""
        if isinstance(buffer, memoryview):  # CPython crashes when a lent view dies in a cycle
            raise TypeError("pass the object that owns the memory, not a view of it")
        self._buffer = ffi.from_buffer("uint8_t[]", buffer, require_writable=True)
        return self

    def with_zero_released(self, enabled: bool = True) -> Self:
        """Clears blocks on release, so that the next owner cannot read old contents."""
        self._config.zero_released = enabled
        return self

    def layout(self) -> Layout:
        """What buffer the size classes need."""
        layout = ffi.new("wrt_layout *")
        check(lib.wrt_pool_layout(self._config, layout))
        return Layout(layout.bytes, layout.alignment)

    def build(self) -> PoolAllocator:
        """Makes the allocator. Raises InvalidArgumentError naming the broken rule."""
        buffer = self._buffer
        if buffer is None:
            buffer = ffi.new("uint64_t[]", self.layout().bytes // 8)
        config = ffi.new("wrt_pool_config *", self._config[0])
        config.buffer = ffi.cast("void *", buffer)
        config.buffer_size = ffi.sizeof(buffer)
        pool = PoolAllocator(config, buffer)
        self._buffer = None  # one buffer serves one pool
        return pool
