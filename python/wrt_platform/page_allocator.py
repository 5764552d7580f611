"""Page allocators: where linear memory comes from. Mirrors wrt_platform/page_allocator.h.

    allocator = LinuxAllocatorBuilder().with_maximum_pages(256).with_guard_pages().build()
    with allocator.allocate(1, 16) as pages:
        pages.memory[:5] = b"hello"
        pages.grow(2)

An allocator can also be given to an instance, whose memory then comes from it.
"""

from __future__ import annotations

import functools
import threading
import weakref
from enum import IntFlag
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from wrt_platform._enums import VerificationLevel
from wrt_platform._native import ffi, lib
from wrt_platform.errors import InvalidArgumentError, WrtError, check, error_of

if TYPE_CHECKING:
    from typing import Self

__all__ = ["PAGE_SIZE", "PageAllocator", "Pages", "Protection", "VerificationLevel"]

PAGE_SIZE: int = lib.WRT_PAGE_SIZE  # bytes


class Protection(IntFlag):
    """What may be done with a range of pages."""

    NONE = lib.WRT_PROTECTION_NONE
    READ = lib.WRT_PROTECTION_READ
    WRITE = lib.WRT_PROTECTION_WRITE


class Pages:
    """Linear memory on loan from a PageAllocator.

    The loan ends with the last view of the memory, slices included, so no view can ever show
    what comes to lie there later; release() asks for that end now. Growth leaves the memory
    where it is: views taken before stay valid and show what they showed.
    """

    def __init__(self, allocator: PageAllocator, raw: Any, loan: Any) -> None:
        self._allocator = allocator
        self._raw = raw
        self._loan = weakref.ref(loan)  # dies with the last view
        self.memory = memoryview(ffi.buffer(loan, raw.page_count * PAGE_SIZE))

    @property
    def page_count(self) -> int:
        """Pages of 64 KiB that are accessible; 0 after release()."""
        return int(self._raw.page_count)

    @property
    def maximum_pages(self) -> int:
        """Pages that are reserved; 0 after release()."""
        return int(self._raw.maximum_pages)

    def grow(self, additional_pages: int) -> None:
        """Adds pages, zero, at the end; `memory` covers them from then on.

        Raises LimitError beyond `maximum_pages`, OutOfMemoryError if the system refuses; nothing
        has changed then.
        """
        count = _word(additional_pages, "additional_pages")
        self._allocator._call(lib.wrt_page_allocator_grow, self._raw, count)
        self._view_again()

    def protect(self, offset: int, size: int, protection: Protection) -> None:
        """Sets what may be done with `size` bytes from `offset`, whole pages of the system.

        It binds Python as well: touching a view against it ends the process. Raises
        InvalidArgumentError (range, alignment), UnsupportedError (nothing can enforce it).
        """
        bounds = _size(offset, "offset"), _size(size, "size")
        self._allocator._call(lib.wrt_page_allocator_protect, self._raw, *bounds, int(protection))

    def release(self) -> None:
        """Gives the pages back; again does nothing.

        Raises BufferError while a view is in use, StateError if verification finds that somebody
        wrote beside them.
        """
        self.memory.release()
        if self._loan() is not None:
            self._view_again()
            raise BufferError("another view of the pages is still in use")
        self._allocator._settle()

    def _view_again(self) -> None:
        loan = self._loan()
        if loan is not None:
            self.memory = memoryview(ffi.buffer(loan, self._raw.page_count * PAGE_SIZE))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class PageAllocator:
    """What all page allocators can do; builders of the backends make them.

    Any thread may use it. It stays alive as long as memory that came from it.
    """

    _maximum_pages: int  # what allocate() reserves if it is not told
    _kind: type[Pages] = Pages  # what allocate() returns

    def __init__(self, raw: Any, interface: Any, deinit: Any) -> None:
        self._raw = raw  # the C allocator
        self._deinit = deinit
        self._interface = interface  # wrt_page_allocator: what instances take
        self._lock = threading.RLock()  # round each C call: cffi lets other threads run
        self._returned: SimpleQueue[Any] = SimpleQueue()
        self._damage: list[WrtError] = []  # what C had against pages that came back

    def allocate(self, initial_pages: int, maximum_pages: int | None = None) -> Pages:
        """Reserves `maximum_pages` of 64 KiB (None: as many as the allocator grants) and makes
        the first `initial_pages` accessible, zero.

        Raises LimitError beyond the allocator's own maximum, OutOfMemoryError if the system
        refuses, BusyError from an allocator that serves one at a time.
        """
        maximum = self._maximum_pages if maximum_pages is None else maximum_pages
        counts = _word(initial_pages, "initial_pages"), _word(maximum, "maximum_pages")
        raw = ffi.new("wrt_pages *")
        self._settle()
        with self._lock:
            status = lib.wrt_page_allocator_allocate(ffi.addressof(self._interface), *counts, raw)
        check(status)
        return self._kind(self, raw, ffi.gc(raw.base, functools.partial(self._give_back, raw)))

    def close(self) -> None:
        """Ends the allocator; again does nothing. Raises StateError while memory is out."""
        self._settle()
        with self._lock:
            status = self._deinit(self._raw)
        check(status)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _call(self, function: Any, raw: Any, *arguments: int) -> None:
        """A call on pages of this allocator."""
        self._settle()
        with self._lock:
            status = function(ffi.addressof(self._interface), raw, *arguments)
        check(status)

    def _query(self, function: Any, report: Any) -> Any:
        """Fills in the report of the backend."""
        self._settle()
        with self._lock:
            status = function(self._raw, report)
        check(status)
        return report

    def _give_back(self, raw: Any, _: Any) -> None:
        """Ends a loan. Runs whenever Python drops the last view, maybe while another thread is
        inside a locked call: so it never waits, and if need be the next call tells C."""
        self._returned.put(raw)
        if self._lock.acquire(blocking=False):
            try:
                self._free_returned()
            finally:
                self._lock.release()

    def _free_returned(self) -> None:
        """Frees what came back, and keeps for later what C had against it."""
        while not self._returned.empty():
            raw = self._returned.get()  # only with the lock: nobody was faster
            status = lib.wrt_page_allocator_deallocate(ffi.addressof(self._interface), raw)
            if status != lib.WRT_OK:
                self._damage.append(error_of(status))

    def _settle(self) -> None:
        """Tells C of the loans that have ended meanwhile. Raises what C found wrong with one of
        them; its memory stays where it is then."""
        if self._returned.empty() and not self._damage:
            return
        with self._lock:
            self._free_returned()
            damage = self._damage.pop(0) if self._damage else None
        if damage is not None:
            raise damage


def _word(value: int, name: str) -> int:
    """Refuses what C's uint32_t can't hold, in the words of this library."""
    return _within(value, name, 2**32)


def _size(value: int, name: str) -> int:
    return _within(value, name, 2 ** (8 * ffi.sizeof("size_t")))


def _within(value: int, name: str, limit: int) -> int:
    if not 0 <= value < limit:
        raise InvalidArgumentError(f"{name} is {value}, not 0 to {limit - 1}")
    return value
