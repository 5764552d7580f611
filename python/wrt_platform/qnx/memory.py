"""Linear memory from QNX: reserved at once, never moved. Mirrors wrt_platform/qnx/memory.h.

allocator = (
    QnxAllocatorBuilder()
    .with_guard_pages(True)
    .with_data_protection(QnxProtFlags.READ_WRITE)
    .build()
)
pages = allocator.allocate(64, 256)
"""

from __future__ import annotations

from enum import IntEnum
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from wrt_platform._native import ffi, lib
from wrt_platform.enforcement import Enforcement, enforcement_of
from wrt_platform.errors import check
from wrt_platform.page_allocator import PageAllocator, VerificationLevel, _within, _word
from wrt_platform.qnx.partition import (
    QnxMemoryPartition,
    current_partition,
    end_later,
    end_or_keep,
    settle,
)

if TYPE_CHECKING:
    from typing import Self

__all__ = ["QnxAllocator", "QnxAllocatorBuilder", "QnxAllocatorReport", "QnxProtFlags"]


class QnxProtFlags(IntEnum):
    """What may be done with pages that have just become accessible."""

    NONE = lib.WRT_QNX_PROTECTION_NONE
    READ = lib.WRT_QNX_PROTECTION_READ
    READ_WRITE = lib.WRT_QNX_PROTECTION_READ_WRITE


class QnxAllocatorReport(NamedTuple):
    """What is out, and what holds of what was asked for."""

    allocation_count: int  # out now
    page_count: int  # accessible now, summed over all allocations
    peak_pages: int  # the most that ever were
    reserved_bytes: int  # of address space, now, guards and canaries included
    guard_pages: Enforcement
    canaries: Enforcement
    commitment: Enforcement
    partition: Enforcement
    isolation: Enforcement


class QnxAllocator(PageAllocator):
    """Serves any number of allocations at a time; made by QnxAllocatorBuilder."""

    def __init__(self, config: Any, partition: QnxMemoryPartition | None) -> None:
        raw = ffi.new("wrt_qnx_allocator *")
        settle()
        check(lib.wrt_qnx_allocator_init(raw, config))
        interface = lib.wrt_qnx_allocator_interface(raw)
        super().__init__(raw, interface, lib.wrt_qnx_allocator_deinit)
        self._maximum_pages = config.maximum_pages or lib.WRT_PAGE_COUNT_MAX
        self._partition = partition  # C borrows it
        end = partial(end_allocator, self._deinit, raw, interface, self._returned, partition)
        end_later(self, end)

    @property
    def report(self) -> QnxAllocatorReport:
        """What is out, and what holds of what was asked for."""
        raw = ffi.new("wrt_qnx_allocator_report *")
        self._query(lib.wrt_qnx_allocator_query, raw)
        return QnxAllocatorReport(
            raw.allocation_count,
            raw.page_count,
            raw.peak_pages,
            raw.reserved_bytes,
            enforcement_of(raw.guard_pages),
            enforcement_of(raw.canaries),
            enforcement_of(raw.commitment),
            enforcement_of(raw.partition),
            enforcement_of(raw.isolation),
        )


def end_allocator(deinit: Any, raw: Any, interface: Any, returned: Any, partition: Any) -> None:
    """Ends an allocator that nobody refers to any more, and pages that came back but of which C
    has not heard. `partition` is there only to outlive this."""
    while not returned.empty():
        pages = returned.get()
        if lib.wrt_page_allocator_deallocate(ffi.addressof(interface), pages) != lib.WRT_OK:
            break  # damaged: C refuses to end the allocator as well, so it stays where it is
    end_or_keep(deinit, raw)


class _Current:
    """Stands for the partition that is current when an allocator is built."""


CURRENT = _Current()


def chosen(choice: QnxMemoryPartition | _Current | None) -> QnxMemoryPartition | None:
    """The partition that a builder means."""
    return current_partition() if isinstance(choice, _Current) else choice


class QnxAllocatorBuilder:
    """Collects settings; the rules of qnx/memory.h are checked by build()."""

    def __init__(self) -> None:
        size = ffi.sizeof("wrt_qnx_allocator_config")
        self._config = ffi.new("wrt_qnx_allocator_config *", {"struct_size": size})
        self._choice: QnxMemoryPartition | _Current | None = CURRENT

    def with_maximum_pages(self, pages: int) -> Self:
        """One allocation reserves no more than this; 0: 65536 pages, 4 GiB."""
        self._config.maximum_pages = _word(pages, "maximum_pages")
        return self

    def with_verification_level(self, level: VerificationLevel) -> Self:
        """How much is checked; without guard pages, SAMPLING and FULL keep canaries."""
        self._config.verification_level = level
        return self

    def with_sampling_interval(self, calls: int) -> Self:
        """SAMPLING checks one call in so many; 0: 16."""
        self._config.sampling_interval = _word(calls, "sampling_interval")
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
        """What may be done with pages that have just become accessible; instances need
        READ_WRITE. It binds Python as well: touching a view against it ends the process."""
        self._config.data_protection = protection
        return self

    def with_lazy(self, enabled: bool = True) -> Self:
        """Takes memory when it is first touched, instead of at once: a shortage ends the process
        then, and is no error."""
        self._config.lazy = enabled
        return self

    def with_partition(self, partition: QnxMemoryPartition | None) -> Self:
        """Charges this partition instead of the current one; None: none."""
        self._choice = partition
        return self

    def build(self) -> QnxAllocator:
        """Makes the allocator, charged to the current partition unless with_partition() said
        otherwise. Raises InvalidArgumentError naming the broken rule."""
        partition = chosen(self._choice)
        self._config.partition = ffi.NULL if partition is None else partition._raw
        return QnxAllocator(self._config, partition)
