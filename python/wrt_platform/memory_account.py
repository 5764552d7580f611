"""Memory accounts: a tree of budgets, and page allocators that are charged to them. Mirrors
wrt_platform/memory_account.h.

    machine = MemoryAccountBuilder().with_maximum(64 << 20).build()
    tenant = MemoryAccountBuilder().with_parent(machine).with_minimum(1 << 20).build()
    allocator = CountedAllocatorBuilder().with_inner(pages).with_account(tenant).build()
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple

from wrt_platform._native import ffi, lib
from wrt_platform.errors import InvalidArgumentError, check
from wrt_platform.page_allocator import PageAllocator, _within
from wrt_platform.system_below import system_interface

if TYPE_CHECKING:
    from typing import Self

    from wrt_platform.thread_system import ThreadSystem

__all__ = [
    "CountedAllocator",
    "CountedAllocatorBuilder",
    "CountedAllocatorReport",
    "MemoryAccount",
    "MemoryAccountBuilder",
    "MemoryAccountUsage",
]


class MemoryAccountUsage(NamedTuple):
    """How an account has been used; in bytes, where nothing else is said."""

    used: int  # charged, kept for its children, and used by them beyond that
    charged: int  # of that, to this very account
    peak: int  # the most that `used` ever was
    minimum: int
    maximum: int  # 0: none
    available: int  # a charge could have this much now
    refusals: int  # charges to this very account that were refused
    children: int  # accounts just below it
    views: int  # counted allocators that charge it


class MemoryAccount:
    """A budget; made by MemoryAccountBuilder. Any thread may use it.

    An account that nobody refers to any more ends, and what is charged to it goes back.
    """

    def __init__(self, config: Any, parent: MemoryAccount | None) -> None:
        self._raw = ffi.new("wrt_memory_account *")
        self._parent = parent  # C borrows it
        self._ended: SimpleQueue[Callable[[], None]] = (
            SimpleQueue() if parent is None else parent._ended
        )
        self._settle()
        check(lib.wrt_memory_account_init(self._raw, config))
        finaliser = weakref.finalize(self, self._ended.put, partial(_end, self._raw, parent))
        finaliser.atexit = False

    def charge(self, size: int) -> None:
        """Takes `size` bytes from the account. Raises OutOfMemoryError, with the numbers, if it or
        one above has not that much left; then nothing has changed."""
        self._settle()
        check(lib.wrt_memory_account_charge(self._raw, _bytes(size, "size")))

    def refund(self, size: int) -> None:
        """Gives back `size` bytes of what was charged to this very account. Raises StateError if
        that is less."""
        self._settle()
        check(lib.wrt_memory_account_refund(self._raw, _bytes(size, "size")))

    @property
    def name(self) -> str:
        """As it was given, cut to 31 bytes."""
        raw = self._query()  # its memory has to live until the text was read
        return str(ffi.string(raw.name).decode())

    @property
    def usage(self) -> MemoryAccountUsage:
        """How it has been used, all numbers of one moment."""
        raw = self._query()
        return MemoryAccountUsage(*(getattr(raw, field) for field in MemoryAccountUsage._fields))

    def reset_peak(self) -> None:
        """Lets `peak` begin again, at what is used now."""
        self._settle()
        check(lib.wrt_memory_account_reset_peak(self._raw))

    def close(self) -> None:
        """Ends the account; again does nothing. Raises BusyError while something is charged to it,
        or something below it is still there."""
        self._settle()
        check(lib.wrt_memory_account_deinit(self._raw))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _query(self) -> Any:
        usage = ffi.new("wrt_memory_account_usage *")
        self._settle()
        check(lib.wrt_memory_account_query(self._raw, usage))
        return usage

    def _settle(self) -> None:
        """Tells C of the accounts and views of this tree that nobody refers to any more."""
        while True:
            try:
                end = self._ended.get_nowait()
            except Empty:
                return
            end()
            del end  # what it kept may end now, too


def _end(raw: Any, parent: MemoryAccount | None) -> None:
    """Ends an account; `parent` was kept for this."""
    usage = ffi.new("wrt_memory_account_usage *")
    if lib.wrt_memory_account_query(raw, usage) == lib.WRT_OK:  # else it was closed
        check(lib.wrt_memory_account_refund(raw, usage.charged))
        check(lib.wrt_memory_account_deinit(raw))


class MemoryAccountBuilder:
    """Collects settings; the rules of memory_account.h are checked by build()."""

    def __init__(self) -> None:
        size = ffi.sizeof("wrt_memory_account_config")
        self._config = ffi.new("wrt_memory_account_config *", {"struct_size": size})
        self._parent: MemoryAccount | None = None
        self._system: Any = None
        self._name: Any = ffi.NULL

    def with_minimum(self, size: int) -> Self:
        """Bytes that are kept for the account: taken from all accounts above when it is made."""
        self._config.minimum = _bytes(size, "minimum")
        return self

    def with_maximum(self, size: int) -> Self:
        """Bytes that the account may have; 0: it has no limit of its own."""
        self._config.maximum = _bytes(size, "maximum")
        return self

    def with_parent(self, parent: MemoryAccount) -> Self:
        """The account above; without it, the account is a root."""
        self._parent = parent
        return self

    def with_name(self, name: str) -> Self:
        """For people; 31 bytes are kept."""
        self._name = ffi.new("char[]", name.encode())
        return self

    def with_system(self, system: ThreadSystem) -> Self:
        """The thread system of a root, for its lock; by default this process's own. An account with
        a parent uses its root's."""
        self._system = system
        return self

    def build(self) -> MemoryAccount:
        """Makes the account. Raises InvalidArgumentError, LimitError, OutOfMemoryError if an
        account above has not the minimum left."""
        config = ffi.new("wrt_memory_account_config *", self._config[0])
        config.name = self._name
        if self._parent is not None:
            config.parent = self._parent._raw
        if self._parent is None or self._system is not None:
            config.system = system_interface(self._system)
        return MemoryAccount(config, self._parent)


class CountedAllocatorReport(NamedTuple):
    """What a counted allocator has out."""

    allocation_count: int
    page_count: int  # accessible now, all allocations together
    refused: int  # allocations and growths that the account refused


class CountedAllocator(PageAllocator):
    """A view of another allocator whose pages are charged to an account; made by
    CountedAllocatorBuilder. Any thread may use it."""

    def __init__(self, config: Any, inner: PageAllocator, account: MemoryAccount) -> None:
        raw = ffi.new("wrt_counted_allocator *")
        account._settle()
        check(lib.wrt_counted_allocator_init(raw, config))
        interface = lib.wrt_counted_allocator_interface(raw)
        super().__init__(raw, interface, lib.wrt_counted_allocator_deinit)
        self._lock = inner._lock  # both end in the inner allocator, which serves one caller
        self._maximum_pages = inner._maximum_pages
        self._inner, self._account = inner, account  # C borrows both
        end = partial(_end_view, raw, self._returned, inner, account)
        finaliser = weakref.finalize(self, account._ended.put, end)
        finaliser.atexit = False

    @property
    def report(self) -> CountedAllocatorReport:
        """What is out."""
        raw = ffi.new("wrt_counted_allocator_report *")
        self._query(lib.wrt_counted_allocator_query, raw)
        return CountedAllocatorReport(raw.allocation_count, raw.page_count, raw.refused)


def _end_view(
    raw: Any, returned: SimpleQueue[Any], inner: PageAllocator, account: MemoryAccount
) -> None:
    """Ends a view, with the pages that came back and of which C was not told yet; `account` was
    kept for this."""
    interface = ffi.new("wrt_page_allocator *", lib.wrt_counted_allocator_interface(raw))
    with inner._lock:
        while not returned.empty():
            lib.wrt_page_allocator_deallocate(interface, returned.get())
    lib.wrt_counted_allocator_deinit(raw)


class CountedAllocatorBuilder:
    """Collects settings; the rules of memory_account.h are checked by build()."""

    def __init__(self) -> None:
        size = ffi.sizeof("wrt_counted_allocator_config")
        self._config = ffi.new("wrt_counted_allocator_config *", {"struct_size": size})
        self._inner: PageAllocator | None = None
        self._account: MemoryAccount | None = None

    def with_inner(self, allocator: PageAllocator) -> Self:
        """Where the pages come from."""
        self._inner = allocator
        self._config.inner = allocator._interface
        return self

    def with_account(self, account: MemoryAccount) -> Self:
        """What they are charged to."""
        self._account = account
        self._config.account = account._raw
        return self

    def build(self) -> CountedAllocator:
        """Makes the view. Raises InvalidArgumentError where one of the two is missing."""
        if self._inner is None or self._account is None:
            raise InvalidArgumentError("a counted allocator needs with_inner() and with_account()")
        return CountedAllocator(self._config, self._inner, self._account)


def _bytes(size: int, name: str) -> int:
    return _within(size, name, 2**64)
