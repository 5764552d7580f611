"""Futexes, locks and wake hooks of Linux. Mirrors wrt_platform/linux/sync.h."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from wrt_platform._native import ffi, lib
from wrt_platform.errors import check
from wrt_platform.lock import Lock, LockProtocol
from wrt_platform.page_allocator import _word
from wrt_platform.sync import FutexLike

if TYPE_CHECKING:
    from typing import Self

__all__ = [
    "LinuxFutex",
    "LinuxFutexBuilder",
    "LinuxFutexUsage",
    "LinuxLock",
    "LinuxLockBuilder",
    "LinuxWake",
]


class LinuxFutexUsage(NamedTuple):
    """How a futex has been used; the counters wrap at 2**32."""

    waiting: int  # threads in a wait now
    wait_calls: int  # of the system
    wake_calls: int  # of the system: none is made while nobody waits


class LinuxFutex(FutexLike):
    """A word with FUTEX_WAIT and FUTEX_WAKE; made by LinuxFutexBuilder. A forked child can't use
    it (StateError)."""

    def __init__(self, config: Any) -> None:
        raw = ffi.new("wrt_linux_futex *")
        check(lib.wrt_linux_futex_init(raw, config))
        lock = lib.wrt_linux_futex_lock_interface(raw) if config.priority_inheritance else None
        super().__init__(raw, lib.wrt_linux_futex_interface(raw), lib.wrt_linux_futex_deinit, lock)

    @property
    def usage(self) -> LinuxFutexUsage:
        """How the futex has been used so far."""
        raw = ffi.new("wrt_linux_futex_usage *")
        check(lib.wrt_linux_futex_query(self._raw, raw))
        return LinuxFutexUsage(raw.waiting, raw.wait_calls, raw.wake_calls)


class LinuxFutexBuilder:
    """Collects settings; the rules of linux/sync.h are checked by build()."""

    def __init__(self) -> None:
        size = ffi.sizeof("wrt_linux_futex_config")
        self._config = ffi.new("wrt_linux_futex_config *", {"struct_size": size})

    def with_initial_value(self, value: int) -> Self:
        """Of the word."""
        self._config.initial_value = _word(value, "initial_value")
        return self

    def with_spin(self, looks: int) -> Self:
        """How often a waiter looks at the word before it asks the system to wait."""
        self._config.spin = _word(looks, "spin")
        return self

    def with_priority_inheritance(self, enabled: bool = True) -> Self:
        """Makes a lock instead of a word: `lock` of what build() makes."""
        self._config.priority_inheritance = enabled
        return self

    def build(self) -> LinuxFutex:
        """Makes the futex. Raises InvalidArgumentError naming the broken rule."""
        return LinuxFutex(self._config)


class LinuxLock(Lock):
    """A mutex that notices misuse; made by LinuxLockBuilder. A forked child can't use it
    (StateError)."""

    def __init__(self, config: Any) -> None:
        raw = ffi.new("wrt_linux_lock *")
        check(lib.wrt_linux_lock_init(raw, config))
        super().__init__(raw, lib.wrt_linux_lock_interface(raw), lib.wrt_linux_lock_deinit)


class LinuxLockBuilder:
    """Collects settings; the rules of linux/sync.h are checked by build()."""

    def __init__(self) -> None:
        size = ffi.sizeof("wrt_linux_lock_config")
        self._config = ffi.new("wrt_linux_lock_config *", {"struct_size": size})

    def with_protocol(self, protocol: LockProtocol) -> Self:
        """What the lock does while a more urgent thread waits; without it, INHERIT."""
        self._config.protocol = protocol
        return self

    def with_ceiling(self, priority: int) -> Self:
        """At which owners run, with the protocol CEILING: 1 to 99. Only threads of SCHED_FIFO or
        SCHED_RR at most as urgent may take the lock."""
        self._config.ceiling = _word(priority, "ceiling")
        return self

    def with_robust(self, enabled: bool = True) -> Self:
        """Notices an owner that ended while it held the lock."""
        self._config.robust = enabled
        return self

    def build(self) -> LinuxLock:
        """Makes the lock. Raises InvalidArgumentError or UnsupportedError naming the rule."""
        return LinuxLock(self._config)


class LinuxWake:
    """A descriptor that gets readable when call() was called, by any thread."""

    def __init__(self) -> None:
        raw = ffi.new("wrt_linux_wake *")
        check(lib.wrt_linux_wake_init(raw))
        self._raw = ffi.gc(raw, lib.wrt_linux_wake_deinit)

    def call(self) -> None:
        """Makes the descriptor readable."""
        lib.wrt_linux_wake_call(self._raw)

    def take(self) -> int:
        """Makes it unreadable again; returns how often call() was called since."""
        count = ffi.new("uint64_t *")
        check(lib.wrt_linux_wake_take(self._raw, count))
        return int(count[0])

    def fileno(self) -> int:
        """The descriptor, for select, poll, epoll or asyncio."""
        descriptor = ffi.new("int32_t *")
        check(lib.wrt_linux_wake_descriptor(self._raw, descriptor))
        return int(descriptor[0])

    def close(self) -> None:
        """Closes the descriptor; again does nothing."""
        check(lib.wrt_linux_wake_deinit(self._raw))
