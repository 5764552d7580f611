"""Which pages of a memory have been written since a mark: what a snapshot that follows another has
to save. Mirrors wrt_platform/linux/write_tracker.h.

    tracker = WriteTrackerBuilder().with_pages(instance.memory).build()  # the first mark
    instance.exports.run()
    for offset, size in tracker.take().runs():  # and the next one
        save(offset, instance.memory.read(offset, size))
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, NamedTuple

from wrt_platform._enums import LinuxTracking as TrackingMethod
from wrt_platform._native import ffi, lib
from wrt_platform.enforcement import Enforcement, enforcement_of
from wrt_platform.errors import check
from wrt_platform.memory import Memory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Self

    from wrt_platform.linux.lazy_memory import LazyMemory
    from wrt_platform.page_allocator import Pages

__all__ = [
    "TrackingMethod",
    "WriteTracker",
    "WriteTrackerBuilder",
    "WriteTrackerReport",
    "WrittenPages",
]


class WrittenPages(NamedTuple):
    """Which pages of the system, counted from the memory's start, were written."""

    page_bytes: int
    pages: tuple[int, ...]  # in ascending order

    def runs(self) -> Iterator[tuple[int, int]]:
        """Pages that lie side by side, as offset and size in bytes."""
        start = end = -1
        for page in self.pages:
            if page != end:
                if end > start:
                    yield start * self.page_bytes, (end - start) * self.page_bytes
                start = page
            end = page + 1
        if end > start:
            yield start * self.page_bytes, (end - start) * self.page_bytes


class WriteTrackerReport(NamedTuple):
    """What is known, and by what."""

    method: TrackingMethod
    page_bytes: int  # of the system's page
    page_count: int  # of them, in the memory now
    tracking: Enforcement  # PARTIAL: SOFT_DIRTY or COMPARE


class WriteTracker:
    """Knows which pages of a memory were written; made by WriteTrackerBuilder. It keeps the memory
    alive. Any thread may use it; a forked child can't (StateError)."""

    def __init__(self, config: Any, kept: Any) -> None:
        self._lock = threading.Lock()
        self._kept = kept  # C borrows the pages
        self._raw = ffi.new("wrt_linux_write_tracker *")
        check(lib.wrt_linux_write_tracker_init(self._raw, config))

    @property
    def report(self) -> WriteTrackerReport:
        """What is known, and by what. Raises StateError if the memory has gone back."""
        raw = ffi.new("wrt_linux_write_tracker_report *")
        with self._lock:
            check(lib.wrt_linux_write_tracker_query(self._raw, raw))
        method = TrackingMethod(raw.method)
        return WriteTrackerReport(
            method, raw.page_bytes, raw.page_count, enforcement_of(raw.tracking)
        )

    def mark(self) -> None:
        """Forgets what was written so far."""
        with self._lock:
            check(lib.wrt_linux_write_tracker_mark(self._raw))

    def read(self) -> WrittenPages:
        """What was written since the last mark, which stays."""
        return self._tell(lib.wrt_linux_write_tracker_read)

    def take(self) -> WrittenPages:
        """What was written since the last mark, and the next mark."""
        return self._tell(lib.wrt_linux_write_tracker_take)

    def _tell(self, function: Any) -> WrittenPages:
        report = self.report
        words = ffi.new("uint32_t[]", (report.page_count + 31) // 32 + 1)
        count = ffi.new("uint32_t *")
        with self._lock:
            check(function(self._raw, words, len(words), count))
        bits = int.from_bytes(ffi.buffer(words), "little")
        return WrittenPages(report.page_bytes, tuple(_places(bits)))

    def close(self) -> None:
        """Ends it; again does nothing."""
        with self._lock:
            check(lib.wrt_linux_write_tracker_deinit(self._raw))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        raw = getattr(self, "_raw", None)
        if raw is not None:
            lib.wrt_linux_write_tracker_deinit(raw)


def _places(bits: int) -> Iterator[int]:
    """The places of the bits that are set."""
    text = bin(bits)[:1:-1]
    place = text.find("1")
    while place >= 0:
        yield place
        place = text.find("1", place + 1)


class WriteTrackerBuilder:
    """Collects settings; the rules of linux/write_tracker.h are checked by build()."""

    def __init__(self) -> None:
        size = ffi.sizeof("wrt_linux_write_tracker_config")
        self._config = ffi.new("wrt_linux_write_tracker_config *", {"struct_size": size})
        self._kept: list[Any] = []

    def with_pages(self, pages: Pages | Memory) -> Self:
        """The memory that is tracked: pages of an allocator, or a guest's memory."""
        self._kept.append(pages)
        if isinstance(pages, Memory):
            self._config.pages = ffi.addressof(pages._pointer, "pages")
        else:
            self._config.pages = pages._raw
        return self

    def with_lazy_memory(self, lazy: LazyMemory | None) -> Self:
        """The lazy memory that the pages come from, if it is one: what is loaded does not count
        as written then."""
        self._kept.append(lazy)
        self._config.lazy_memory = ffi.NULL if lazy is None else lazy._raw
        return self

    def with_method(self, method: TrackingMethod) -> Self:
        """By what it is to be known; DEFAULT takes the best that this system has."""
        self._config.method = method
        return self

    def build(self) -> WriteTracker:
        """Begins to track, with a first mark. Raises UnsupportedError where this system has not
        the method, BusyError if another tracks the same pages."""
        return WriteTracker(self._config, tuple(self._kept))
