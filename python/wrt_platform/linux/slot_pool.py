"""Slots of linear memory that are kept from one tenant to the next, so that an instance starts
without asking the kernel for memory. Mirrors wrt_platform/linux/slot_pool.h.

    pool = SlotPoolBuilder().with_slot_count(64).with_maximum_pages(256).build()
    with pool.allocate(1) as pages:
        pages.memory[:5] = b"hello"
    assert bytes(pool.allocate(1).memory[:5]) == bytes(5)  # the same slot, clean

A pool can be given to instances like any other allocator.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from wrt_platform._native import ffi, lib
from wrt_platform.enforcement import Enforcement, enforcement_of
from wrt_platform.errors import check
from wrt_platform.memory import finish
from wrt_platform.page_allocator import PageAllocator, VerificationLevel, _within, _word

if TYPE_CHECKING:
    from typing import Self

__all__ = ["LinuxSlotPoolBuilder", "SlotPool", "SlotPoolBuilder", "SlotPoolReport"]


class SlotPoolReport(NamedTuple):
    """What is out, what the pool has done, and what holds."""

    slot_count: int  # there are
    allocation_count: int  # out now
    page_count: int  # accessible now, summed over all that are out
    peak_pages: int  # the most that ever were
    reserved_bytes: int  # of address space, by the whole pool
    cleaned_bytes: int  # written by tenants and cleaned in place, so far
    dropped_bytes: int  # given back to the kernel, so far
    slots: Enforcement  # PARTIAL: fewer than were asked for
    cleaning: Enforcement  # PARTIAL: each page that is kept is compared


class SlotPool(PageAllocator):
    """Serves as many allocations at a time as it has slots; made by LinuxSlotPoolBuilder.

    BusyError says that all are out. A forked child can't use it (StateError).
    """

    _live = False

    def __init__(self, config: Any) -> None:
        raw = ffi.new("wrt_linux_slot_pool *")
        check(lib.wrt_linux_slot_pool_init(raw, config))
        interface = lib.wrt_linux_slot_pool_interface(raw)
        super().__init__(raw, interface, lib.wrt_linux_slot_pool_deinit)
        self._maximum_pages = config.maximum_pages or lib.WRT_LINUX_SLOT_PAGES_DEFAULT
        self._live = True

    @property
    def report(self) -> SlotPoolReport:
        """What is out, what the pool has done, and what holds."""
        raw = ffi.new("wrt_linux_slot_pool_report *")
        self._query(lib.wrt_linux_slot_pool_query, raw)
        counts = [getattr(raw, name) for name in SlotPoolReport._fields[:-2]]
        holds = enforcement_of(raw.slots), enforcement_of(raw.cleaning)
        return SlotPoolReport._make([*counts, *holds])

    def __del__(self) -> None:
        if self._live:
            finish(lib.wrt_linux_slot_pool_deinit, self._raw, self._lock, None)


class LinuxSlotPoolBuilder:
    """Collects settings; the rules of linux/slot_pool.h are checked by build()."""

    def __init__(self) -> None:
        size = ffi.sizeof("wrt_linux_slot_pool_config")
        self._config = ffi.new("wrt_linux_slot_pool_config *", {"struct_size": size})
        self._image: Any = None  # C borrows it while build() runs

    def with_slot_count(self, count: int) -> Self:
        """How many slots, up to 65536; fewer where addresses are short, see the report; 0: 64."""
        self._config.slot_count = _word(count, "slot_count")
        return self

    def with_maximum_pages(self, pages: int) -> Self:
        """Each slot has room for this many pages; 0: 4096, 256 MiB."""
        self._config.maximum_pages = _word(pages, "maximum_pages")
        return self

    def with_verification_level(self, level: VerificationLevel) -> Self:
        """How much is checked of what comes back."""
        self._config.verification_level = level
        return self

    def with_sampling_interval(self, calls: int) -> Self:
        """SAMPLING checks one call in so many; 0: 16."""
        self._config.sampling_interval = _word(calls, "sampling_interval")
        return self

    def with_guard_bytes(self, size: int) -> Self:
        """Between two slots: whole pages of the system, at most 4 GiB; 0: 64 KiB."""
        self._config.guard_bytes = _within(size, "guard_bytes", 2**64)
        return self

    def with_keep_bytes(self, size: int) -> Self:
        """So much of each slot stays in RAM, in whole pages of the system; 0: 1 MiB."""
        self._config.keep_bytes = _within(size, "keep_bytes", 2**64)
        return self

    def with_image(self, image: bytes) -> Self:
        """Each memory begins with these bytes, copied by build(), in place of zeros."""
        self._image = ffi.from_buffer("uint8_t[]", image)
        self._config.image = ffi.cast("uint8_t *", self._image)
        self._config.image_size = len(image)
        return self

    def build(self) -> SlotPool:
        """Makes the pool. Raises InvalidArgumentError naming the broken rule."""
        return SlotPool(self._config)


SlotPoolBuilder = LinuxSlotPoolBuilder
