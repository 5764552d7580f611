"""Linear memory from Linux: reserved at once, never moved. Mirrors wrt_platform/linux/memory.h.

allocator = (
    LinuxAllocatorBuilder()
    .with_maximum_pages(4096)
    .with_guard_pages()
    .with_name("wasm_heap")
    .build()
)
print(allocator.report.name)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from wrt_platform._enums import LinuxNameSource
from wrt_platform._native import ffi, lib
from wrt_platform.enforcement import Enforcement, enforcement_of
from wrt_platform.errors import check
from wrt_platform.page_allocator import PageAllocator, VerificationLevel, _within, _word

if TYPE_CHECKING:
    from typing import Self

__all__ = ["LinuxAllocator", "LinuxAllocatorBuilder", "LinuxAllocatorReport", "LinuxNameSource"]


class LinuxAllocatorReport(NamedTuple):
    """What is out, and what holds of what was asked for."""

    allocation_count: int  # out now
    page_count: int  # accessible now, summed over all allocations
    peak_pages: int  # the most that ever were
    name_source: LinuxNameSource
    reserved_bytes: int  # of address space, now, guards and canaries included
    guard_pages: Enforcement
    canaries: Enforcement
    populate: Enforcement
    mlock: Enforcement
    name: Enforcement


class LinuxAllocator(PageAllocator):
    """Serves any number of allocations at a time; made by LinuxAllocatorBuilder.

    A forked child can't use it (StateError); it makes its own.
    """

    def __init__(self, config: Any) -> None:
        raw = ffi.new("wrt_linux_allocator *")
        check(lib.wrt_linux_allocator_init(raw, config))
        interface = lib.wrt_linux_allocator_interface(raw)
        super().__init__(raw, interface, lib.wrt_linux_allocator_deinit)
        self._maximum_pages = config.maximum_pages or lib.WRT_PAGE_COUNT_MAX

    @property
    def report(self) -> LinuxAllocatorReport:
        """What is out, and what holds of what was asked for."""
        raw = ffi.new("wrt_linux_allocator_report *")
        self._query(lib.wrt_linux_allocator_query, raw)
        return LinuxAllocatorReport(
            raw.allocation_count,
            raw.page_count,
            raw.peak_pages,
            LinuxNameSource(raw.name_source),
            raw.reserved_bytes,
            enforcement_of(raw.guard_pages),
            enforcement_of(raw.canaries),
            enforcement_of(raw.populate),
            enforcement_of(raw.mlock),
            enforcement_of(raw.name),
        )


class LinuxAllocatorBuilder:
    """Collects settings; the rules of linux/memory.h are checked by build()."""

    def __init__(self) -> None:
        size = ffi.sizeof("wrt_linux_allocator_config")
        self._config = ffi.new("wrt_linux_allocator_config *", {"struct_size": size})
        self._name: Any = None  # C borrows it while build() runs

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

    def with_populate(self, enabled: bool = True) -> Self:
        """Gives accessible pages their memory at once; a shortage raises OutOfMemoryError."""
        self._config.populate = enabled
        return self

    def with_mlock(self, enabled: bool = True) -> Self:
        """Keeps accessible pages in RAM. What RLIMIT_MEMLOCK forbids raises OutOfMemoryError or
        PermissionDeniedError."""
        self._config.mlock = enabled
        return self

    def with_name(self, name: str) -> Self:
        """Shows in /proc/<pid>/maps as far as the system can; the report says how. 1 to 79
        printable ASCII characters without [ ] \\ $ `"""
        self._name = ffi.new("char[]", name.encode())
        self._config.name = self._name
        return self

    def build(self) -> LinuxAllocator:
        """Makes the allocator. Raises InvalidArgumentError naming the broken rule."""
        return LinuxAllocator(self._config)
