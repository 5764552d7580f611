"""Static memory: a page allocator over one buffer. Mirrors wrt_platform/static_memory.h."""

from __future__ import annotations

from mmap import mmap
from typing import TYPE_CHECKING, Any, NamedTuple

from wrt_platform._enums import GuardRegions
from wrt_platform._native import ffi, lib
from wrt_platform.enforcement import Enforcement, enforcement_of
from wrt_platform.errors import check
from wrt_platform.layout import Layout
from wrt_platform.page_allocator import PageAllocator, VerificationLevel, _size, _word

if TYPE_CHECKING:
    from typing import Self

__all__ = ["GuardRegions", "StaticAllocator", "StaticAllocatorBuilder", "StaticAllocatorReport"]


class StaticAllocatorReport(NamedTuple):
    """What there is, what is out, and what protects it."""

    maximum_pages: int  # that the buffer and the settings grant
    allocation_count: int  # out now: 0 or 1
    page_count: int  # accessible now
    peak_pages: int  # the most that ever were
    guard_regions: Enforcement
    canaries: Enforcement


class StaticAllocator(PageAllocator):
    """Serves one allocation at a time from its buffer; made by StaticAllocatorBuilder."""

    def __init__(self, config: Any, buffer: Any) -> None:
        raw = ffi.new("wrt_static_allocator *")
        check(lib.wrt_static_allocator_init(raw, config))
        interface = lib.wrt_static_allocator_interface(raw)
        super().__init__(raw, interface, lib.wrt_static_allocator_deinit)
        self._buffer = buffer  # C borrows it
        self._maximum_pages = self.report.maximum_pages

    @property
    def report(self) -> StaticAllocatorReport:
        """What there is, what is out, and what protects it."""
        raw = ffi.new("wrt_static_allocator_report *")
        self._query(lib.wrt_static_allocator_query, raw)
        return StaticAllocatorReport(
            raw.maximum_pages,
            raw.allocation_count,
            raw.page_count,
            raw.peak_pages,
            enforcement_of(raw.guard_regions),
            enforcement_of(raw.canaries),
        )

    def close(self) -> None:
        """Lets go of the buffer; again does nothing. Raises StateError while memory is out."""
        super().close()
        self._buffer = None


class StaticAllocatorBuilder:
    """Collects settings; the rules of static_memory.h are checked by build()."""

    def __init__(self) -> None:
        size = ffi.sizeof("wrt_static_allocator_config")
        self._config = ffi.new("wrt_static_allocator_config *", {"struct_size": size})
        self._buffer: Any = None

    def with_maximum_pages(self, pages: int) -> Self:
        """An allocation reserves no more than this; 0: what the buffer holds."""
        self._config.maximum_pages = _word(pages, "maximum_pages")
        return self

    def with_verification_level(self, level: VerificationLevel) -> Self:
        """How much is checked; SAMPLING and FULL lay canaries round the memory."""
        self._config.verification_level = level
        return self

    def with_sampling_interval(self, calls: int) -> Self:
        """SAMPLING checks one call in so many; 0: 16."""
        self._config.sampling_interval = _word(calls, "sampling_interval")
        return self

    def with_guard_regions(
        self, enabled: bool | GuardRegions = True, *, required: bool = False
    ) -> Self:
        """Asks for regions without access round the memory, where there is hardware for it; if
        they are required, build() raises UnsupportedError where there is none."""
        self._config.guard_regions = GuardRegions.REQUIRED if required else int(enabled)
        return self

    def with_alignment(self, alignment: int) -> Self:
        """Of the memory's first byte: bytes, a power of two, 8 to 1 MiB; 0: 16."""
        self._config.alignment = _size(alignment, "alignment")
        return self

    def with_buffer(self, buffer: bytearray | mmap) -> Self:
        """Serves pages from this memory. Without it, build() makes a buffer for maximum_pages."""
        if isinstance(buffer, memoryview):  # CPython crashes when a lent view dies in a cycle
            raise TypeError("pass the object that owns the memory, not a view of it")
        self._buffer = ffi.from_buffer("uint8_t[]", buffer, require_writable=True)
        return self

    def layout(self) -> Layout:
        """What buffer maximum_pages need; one of that alignment loses no byte."""
        layout = ffi.new("wrt_layout *")
        check(lib.wrt_static_allocator_layout(self._config, layout))
        return Layout(layout.bytes, layout.alignment)

    def build(self) -> StaticAllocator:
        """Makes the allocator. Raises InvalidArgumentError, OutOfMemoryError, UnsupportedError."""
        buffer = self._buffer
        if buffer is None:
            layout = self.layout()
            buffer = ffi.new("uint8_t[]", layout.bytes + layout.alignment)  # of any alignment
        config = ffi.new("wrt_static_allocator_config *", self._config[0])
        config.buffer = ffi.cast("void *", buffer)
        config.buffer_size = ffi.sizeof(buffer)
        allocator = StaticAllocator(config, buffer)
        self._buffer = None  # one buffer serves one allocator
        return allocator
