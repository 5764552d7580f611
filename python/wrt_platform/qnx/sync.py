"""Futexes, locks and wake hooks of QNX. Mirrors wrt_platform/qnx/sync.h."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from wrt_platform._enums import QnxSyncPriority
from wrt_platform._native import ffi, lib
from wrt_platform.errors import check
from wrt_platform.lock import Lock, LockProtocol
from wrt_platform.page_allocator import _word
from wrt_platform.sync import FutexLike

if TYPE_CHECKING:
    from typing import Self

__all__ = [
    "QnxFutex",
    "QnxFutexBuilder",
    "QnxFutexUsage",
    "QnxLock",
    "QnxLockBuilder",
    "QnxSyncPriority",
    "QnxWake",
    "QnxWakeBuilder",
]


class QnxFutexUsage(NamedTuple):
    """How a futex has been used; the counters wrap at 2**32."""

    waiting: int  # threads in a wait now
    wait_calls: int  # of the kernel: one a park
    wake_calls: int  # of the kernel: none is made while nobody waits


class QnxFutex(FutexLike):
    """A word whose waiters are woken by pulses, the most urgent first; made by QnxFutexBuilder. A
    forked child can't use it (StateError)."""

    def __init__(self, config: Any) -> None:
        raw = ffi.new("wrt_qnx_futex *")
        check(lib.wrt_qnx_futex_init(raw, config))
        lock = lib.wrt_qnx_futex_lock_interface(raw) if config.priority_inheritance else None
        super().__init__(raw, lib.wrt_qnx_futex_interface(raw), lib.wrt_qnx_futex_deinit, lock)

    @property
    def usage(self) -> QnxFutexUsage:
        """How the futex has been used so far."""
        raw = ffi.new("wrt_qnx_futex_usage *")
        check(lib.wrt_qnx_futex_query(self._raw, raw))
        return QnxFutexUsage(raw.waiting, raw.wait_calls, raw.wake_calls)


class QnxFutexBuilder:
    """Collects settings; the rules of qnx/sync.h are checked by build()."""

    def __init__(self) -> None:
        size = ffi.sizeof("wrt_qnx_futex_config")
        self._config = ffi.new("wrt_qnx_futex_config *", {"struct_size": size})

    def with_initial_value(self, value: int) -> Self:
        """Of the word."""
        self._config.initial_value = _word(value, "initial_value")
        return self

    def with_priority(self, priority: QnxSyncPriority) -> Self:
        """At which a woken thread returns from its wait; without it, at its own."""
        self._config.priority = priority
        return self

    def with_maximum_waiters(self, count: int) -> Self:
        """At a time, 1 to 16; 0: 8. One more raises LimitError."""
        self._config.maximum_waiters = _word(count, "maximum_waiters")
        return self

    def with_priority_inheritance(self, enabled: bool = True) -> Self:
        """Makes a lock instead of a word: `lock` of what build() makes."""
        self._config.priority_inheritance = enabled
        return self

    def build(self) -> QnxFutex:
        """Makes the futex. Raises InvalidArgumentError naming the broken rule."""
        return QnxFutex(self._config)


class QnxLock(Lock):
    """A mutex that notices misuse; made by QnxLockBuilder. A forked child can't use it
    (StateError)."""

    def __init__(self, config: Any) -> None:
        raw = ffi.new("wrt_qnx_lock *")
        check(lib.wrt_qnx_lock_init(raw, config))
        super().__init__(raw, lib.wrt_qnx_lock_interface(raw), lib.wrt_qnx_lock_deinit)


class QnxLockBuilder:
    """Collects settings; the rules of qnx/sync.h are checked by build()."""

    def __init__(self) -> None:
        size = ffi.sizeof("wrt_qnx_lock_config")
        self._config = ffi.new("wrt_qnx_lock_config *", {"struct_size": size})

    def with_protocol(self, protocol: LockProtocol) -> Self:
        """What the lock does while a more urgent thread waits; without it, INHERIT."""
        self._config.protocol = protocol
        return self

    def with_ceiling(self, priority: int) -> Self:
        """At which owners run, with the protocol CEILING: 1 to 255. More urgent threads may not
        take the lock."""
        self._config.ceiling = _word(priority, "ceiling")
        return self

    def with_robust(self, enabled: bool = True) -> Self:
        """Notices an owner that ended while it held the lock."""
        self._config.robust = enabled
        return self

    def build(self) -> QnxLock:
        """Makes the lock. Raises InvalidArgumentError naming the broken rule."""
        return QnxLock(self._config)


class QnxWake:
    """A pulse to a channel of yours, when call() is called; made by QnxWakeBuilder."""

    def __init__(self, config: Any) -> None:
        raw = ffi.new("wrt_qnx_wake *")
        check(lib.wrt_qnx_wake_init(raw, config))
        self._raw = ffi.gc(raw, lib.wrt_qnx_wake_deinit)

    def call(self) -> None:
        """Sends the pulse."""
        lib.wrt_qnx_wake_call(self._raw)

    def close(self) -> None:
        """Ends the hook; again does nothing."""
        check(lib.wrt_qnx_wake_deinit(self._raw))


class QnxWakeBuilder:
    """Collects settings; the rules of qnx/sync.h are checked by build()."""

    def __init__(self) -> None:
        size = ffi.sizeof("wrt_qnx_wake_config")
        self._config = ffi.new("wrt_qnx_wake_config *", {"struct_size": size})

    def with_connection(self, connection: int) -> Self:
        """To the channel; it stays yours."""
        self._config.connection = connection
        return self

    def with_priority(self, priority: int) -> Self:
        """Of the pulse, 1 to 255; 0: that of whoever calls the hook."""
        self._config.priority = priority
        return self

    def with_code(self, code: int) -> Self:
        """Of the pulse, 0 to 127."""
        self._config.code = code
        return self

    def with_value(self, value: int) -> Self:
        """Of the pulse."""
        self._config.value = value
        return self

    def build(self) -> QnxWake:
        """Makes the hook. Raises InvalidArgumentError naming the broken rule."""
        return QnxWake(self._config)
