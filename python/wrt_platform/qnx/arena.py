"""QNX's arena allocator: settings of the process's heap, small blocks, and pages. Mirrors
wrt_platform/qnx/arena.h.

allocator = (
    QnxArenaAllocatorBuilder()
    .with_arena_size(64 * 1024)
    .with_arena_cache_max_blocks(8)
    .with_guard_pages(True)
    .build()
)
pages = allocator.allocate(2, 4)
with allocator.allocate_block(256) as memory:
    memory[:5] = b"hello"
"""

from __future__ import annotations

import weakref
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple

from wrt_platform._native import ffi, lib
from wrt_platform.enforcement import Enforcement, enforcement_of
from wrt_platform.errors import check
from wrt_platform.page_allocator import PageAllocator, VerificationLevel, _size, _within, _word
from wrt_platform.qnx.memory import CURRENT, QnxProtFlags, _Current, chosen, end_allocator
from wrt_platform.qnx.partition import QnxMemoryPartition, end_later, settle

if TYPE_CHECKING:
    from typing import Self

__all__ = [
    "QnxArenaAllocator",
    "QnxArenaAllocatorBuilder",
    "QnxArenaAllocatorReport",
    "QnxArenaBlock",
]


class QnxArenaAllocatorReport(NamedTuple):
    """What is out, what the process's heap holds, and what holds of what was asked for."""

    allocation_count: int  # of pages, out now
    page_count: int  # accessible now, summed over all allocations
    peak_pages: int  # the most that ever were
    block_count: int  # small blocks out now
    block_bytes: int  # that were asked for, of the blocks that are out
    peak_block_bytes: int  # the most that ever were
    refusal_count: int  # small blocks that were asked for and not had
    reserved_bytes: int  # of address space for pages, guards and canaries included
    arena_size: int  # bytes, in force in the process; 0: its malloc has none
    heap_bytes: int  # that the process's malloc has from the system
    heap_used_bytes: int  # of those, in blocks that are out, of the whole process
    heap_free_bytes: int  # of those, free, cached arenas among them
    arena_size_key: Enforcement
    arena_cache_max_blocks_key: Enforcement
    arena_cache_max_size_key: Enforcement
    memory_hold_key: Enforcement
    lifo_free: Enforcement
    guard_pages: Enforcement
    canaries: Enforcement
    partition: Enforcement
    isolation: Enforcement


class QnxArenaBlock:
    """A small block on loan.

    The loan ends with the last view of the memory, slices included; release() asks for that end
    now.
    """

    def __init__(self, arena: QnxArenaAllocator, loan: Any, size: int) -> None:
        self._arena = arena
        self._loan = weakref.ref(loan)  # dies with the last view
        self._size = size
        self.memory = memoryview(ffi.buffer(loan, size))

    def release(self) -> None:
        """Gives the block back; again does nothing. Raises BufferError while it is in use,
        StateError if verification finds that somebody wrote behind it."""
        self.memory.release()
        loan = self._loan()
        if loan is not None:
            self.memory = memoryview(ffi.buffer(loan, self._size))
            raise BufferError("another view of the block is still in use")
        self._arena._settle_blocks()

    def __enter__(self) -> memoryview:
        return self.memory

    def __exit__(self, *_: object) -> None:
        self.release()


class QnxArenaAllocator(PageAllocator):
    """Serves pages and small blocks; made by QnxArenaAllocatorBuilder."""

    def __init__(self, config: Any, partition: QnxMemoryPartition | None) -> None:
        raw = ffi.new("wrt_qnx_arena_allocator *")
        settle()
        check(lib.wrt_qnx_arena_allocator_init(raw, config))
        interface = lib.wrt_qnx_arena_allocator_interface(raw)
        super().__init__(raw, interface, lib.wrt_qnx_arena_allocator_deinit)
        self._maximum_pages = config.maximum_pages or lib.WRT_PAGE_COUNT_MAX
        self._partition = partition  # C borrows it
        self._blocks: SimpleQueue[Any] = SimpleQueue()  # that came back
        end = partial(_end, self._deinit, raw, interface, self._returned, self._blocks, partition)
        end_later(self, end)

    def allocate_block(self, size: int, alignment: int = 0) -> QnxArenaBlock:
        """Takes a small block from the process's heap, zeroed. alignment: a power of two from 16
        to 4096; 0: 16. Raises OutOfMemoryError if the heap or the partition has not that much."""
        out = ffi.new("void **")
        wanted = _size(size, "size"), _size(alignment, "alignment")
        self._settle_blocks()
        with self._lock:
            status = lib.wrt_qnx_arena_allocate_block(self._raw, *wanted, out)
        check(status)
        loan = ffi.gc(out[0], partial(_come_back, self, self._blocks))
        return QnxArenaBlock(self, loan, size)

    def close(self) -> None:
        """Ends the allocator, and gives its keys back; again does nothing. Raises StateError while
        pages or blocks are out."""
        self._settle_blocks()
        super().close()

    @property
    def report(self) -> QnxArenaAllocatorReport:
        """What is out, what the heap holds, and what holds of what was asked for."""
        raw = ffi.new("wrt_qnx_arena_allocator_report *")
        self._settle_blocks()
        self._query(lib.wrt_qnx_arena_allocator_query, raw)
        numbers = [getattr(raw, name) for name in QnxArenaAllocatorReport._fields[:12]]
        held = [enforcement_of(getattr(raw, name)) for name in QnxArenaAllocatorReport._fields[12:]]
        return QnxArenaAllocatorReport(*numbers, *held)

    def _settle_blocks(self) -> None:
        """Tells C of the loans that have ended meanwhile."""
        while not self._blocks.empty():
            with self._lock:
                if self._blocks.empty():  # another thread was faster
                    return
                status = lib.wrt_qnx_arena_release_block(self._raw, self._blocks.get())
            check(status)


def _come_back(arena: QnxArenaAllocator, blocks: SimpleQueue[Any], block: Any) -> None:
    """Ends a loan. It runs whenever Python drops the last view, so it takes no lock; `arena` is
    there only to outlive the loan."""
    blocks.put(block)


def _end(
    deinit: Any, raw: Any, interface: Any, returned: Any, blocks: SimpleQueue[Any], partition: Any
) -> None:
    """Ends an arena that nobody refers to any more, after the blocks that came back."""
    while not blocks.empty():
        if lib.wrt_qnx_arena_release_block(raw, blocks.get()) != lib.WRT_OK:
            break  # damaged: C refuses to end the arena as well, so it stays where it is
    end_allocator(deinit, raw, interface, returned, partition)


class QnxArenaAllocatorBuilder:
    """Collects settings; the rules of qnx/arena.h are checked by build()."""

    def __init__(self) -> None:
        size = ffi.sizeof("wrt_qnx_arena_allocator_config")
        self._config = ffi.new("wrt_qnx_arena_allocator_config *", {"struct_size": size})
        self._choice: QnxMemoryPartition | _Current | None = CURRENT

    def with_maximum_pages(self, pages: int) -> Self:
        """One allocation of pages reserves no more than this; 0: 65536 pages, 4 GiB."""
        self._config.maximum_pages = _word(pages, "maximum_pages")
        return self

    def with_verification_level(self, level: VerificationLevel) -> Self:
        """How much is checked, of pages and of blocks."""
        self._config.verification_level = level
        return self

    def with_sampling_interval(self, calls: int) -> Self:
        """SAMPLING checks one call in so many; 0: 16."""
        self._config.sampling_interval = _word(calls, "sampling_interval")
        return self

    def with_arena_size(self, size: int) -> Self:
        """Bytes that malloc takes from the system at a time: a multiple of 4096 up to 262144; 0: as
        it is. For the whole process, like the three settings below."""
        self._config.arena_size = _word(size, "arena_size")
        return self

    def with_arena_cache_max_blocks(self, count: int) -> Self:
        """Free arenas that are kept; 0: as it is."""
        self._config.arena_cache_max_blocks = _word(count, "arena_cache_max_blocks")
        return self

    def with_arena_cache_max_size(self, size: int) -> Self:
        """Bytes of free arenas that are kept; 0: as it is."""
        self._config.arena_cache_max_size = _within(size, "arena_cache_max_size", 2**64)
        return self

    def with_memory_hold(self, enabled: bool = True) -> Self:
        """Never gives free arenas back to the system."""
        self._config.memory_hold = enabled
        return self

    def with_lifo_free(self, enabled: bool = True) -> Self:
        """Freed blocks are used again last in, first out. Needs MALLOC_FREE_LIFO=1 in the
        environment when the process starts, else UnsupportedError."""
        self._config.lifo_free = enabled
        return self

    def with_guard_pages(self, enabled: bool = True) -> Self:
        """Keeps pages without access before the memory and behind what is reserved."""
        self._config.guard_pages = enabled
        return self

    def with_guard_bytes(self, size: int) -> Self:
        """Size of each guard: whole pages of the system, at most 4 GiB; 0: 64 KiB."""
        self._config.guard_bytes = _within(size, "guard_bytes", 2**64)
        return self

    def with_data_protection(self, protection: QnxProtFlags) -> Self:
        """What may be done with pages that have just become accessible. It binds Python as well:
        touching a view against it ends the process."""
        self._config.data_protection = protection
        return self

    def with_partition(self, partition: QnxMemoryPartition | None) -> Self:
        """Charges this partition instead of the current one; None: none."""
        self._choice = partition
        return self

    def build(self) -> QnxArenaAllocator:
        """Makes the allocator, charged to the current partition unless with_partition() said
        otherwise. Raises BusyError (a live allocator has set a key otherwise), UnsupportedError (a
        key that this system's malloc does not take)."""
        partition = chosen(self._choice)
        self._config.partition = ffi.NULL if partition is None else partition._raw
        return QnxArenaAllocator(self._config, partition)
