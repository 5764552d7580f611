"""Futexes, locks and wake hooks of Linux. Mirrors wrt_platform/linux/sync.h."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from wrt_platform._native import ffi, lib
from wrt_platform.errors import InvalidArgumentError, check
from wrt_platform.lock import Lock, LockProtocol
from wrt_platform.page_allocator import _word
from wrt_platform.sync import FutexLike
from wrt_platform.waits import wait_until_in_slices

if TYPE_CHECKING:
    from typing import Self

    from wrt_platform.cancel import CancelToken

__all__ = [
    "SHARED_SIZE",
    "LinuxFutex",
    "LinuxFutexBuilder",
    "LinuxFutexUsage",
    "LinuxLock",
    "LinuxLockBuilder",
    "LinuxWake",
]

SHARED_SIZE = ffi.sizeof("wrt_linux_shared")


class LinuxFutexUsage(NamedTuple):
    """How a futex has been used; the counters wrap at 2**32."""

    waiting: int  # threads in a wait now
    wait_calls: int  # of the system
    wake_calls: int  # of the system: none is made while nobody waits
    spins: int  # waits that looked at the word for a while first
    spin_hits: int  # of these, those that needed no call of the system


class LinuxFutex(FutexLike):
    """A word with FUTEX_WAIT and FUTEX_WAKE; made by LinuxFutexBuilder. A forked child can't use
    it (StateError)."""

    def __init__(self, config: Any) -> None:
        raw = ffi.new("wrt_linux_futex *")
        check(lib.wrt_linux_futex_init(raw, config))
        is_lock = config.priority_inheritance or config.robust
        lock = lib.wrt_linux_futex_lock_interface(raw) if is_lock else None
        self._memory: Any = None
        super().__init__(raw, lib.wrt_linux_futex_interface(raw), lib.wrt_linux_futex_deinit, lock)

    @property
    def usage(self) -> LinuxFutexUsage:
        """How the futex has been used so far."""
        raw = ffi.new("wrt_linux_futex_usage *")
        check(lib.wrt_linux_futex_query(self._raw, raw))
        calls = (raw.waiting, raw.wait_calls, raw.wake_calls)
        return LinuxFutexUsage(*calls, raw.spins, raw.spin_hits)

    def wait_until(
        self, expected: int, deadline_ns: int | None, cancel: CancelToken | None = None
    ) -> None:
        """Waits like wait(), until a point in time: of time.monotonic_ns(), or time.time_ns() when
        made with with_realtime_clock(); None: without limit. Raises what wait() raises."""
        word, token = _word(expected, "expected"), ffi.NULL if cancel is None else cancel._raw
        call = lib.wrt_linux_futex_wait_until
        wait_until_in_slices(
            deadline_ns, self._clock_ns, lambda end: call(self._raw, word, end, token)
        )

    def _clock_ns(self) -> int:
        return time.time_ns() if self._raw.realtime else time.monotonic_ns()

    @property
    def memory(self) -> Any:
        """What a shared futex has in common with others, as a buffer: a forked child makes its own
        futex over it. Raises StateError if it is not shared."""
        return shared_buffer(lib.wrt_linux_futex_shared, self._raw)


def shared_buffer(call: Any, raw: Any) -> Any:
    memory = ffi.new("wrt_linux_shared **")
    check(call(raw, memory))
    return ffi.buffer(memory[0])


def shared_memory(buffer: Any) -> Any:
    """The buffer as C takes it, held while it is used."""
    memory = ffi.from_buffer(buffer, require_writable=True)
    if len(memory) < SHARED_SIZE:
        text = f"memory has {len(memory)} bytes, what is shared needs {SHARED_SIZE}"
        raise InvalidArgumentError(text)
    return memory


class LinuxFutexBuilder:
    """Collects settings; the rules of linux/sync.h are checked by build()."""

    def __init__(self) -> None:
        size = ffi.sizeof("wrt_linux_futex_config")
        self._config = ffi.new("wrt_linux_futex_config *", {"struct_size": size})
        self._memory: Any = None

    def with_initial_value(self, value: int) -> Self:
        """Of the word."""
        self._config.initial_value = _word(value, "initial_value")
        return self

    def with_spin(self, looks: int) -> Self:
        """How often a waiter looks at the word before it asks the system to wait."""
        self._config.spin = _word(looks, "spin")
        return self

    def with_spin_count(self, looks: int) -> Self:
        """The same as with_spin()."""
        return self.with_spin(looks)

    def with_backoff_ns(self, nanoseconds: int) -> Self:
        """Between two looks: at most 10,000; without it, one pause of the processor."""
        self._config.backoff_ns = _word(nanoseconds, "backoff_ns")
        return self

    def with_priority_inheritance(self, enabled: bool = True) -> Self:
        """Makes a lock instead of a word: `lock` of what build() makes."""
        self._config.priority_inheritance = enabled
        return self

    def with_robust(self, enabled: bool = True) -> Self:
        """Makes a lock instead of a word, which notices an owner that ended."""
        self._config.robust = enabled
        return self

    def with_shared(self, enabled: bool = True) -> Self:
        """Between processes: those that this one forks, or with_memory(), those that map it."""
        self._config.shared = enabled
        return self

    def with_realtime_clock(self, enabled: bool = True) -> Self:
        """Deadlines are those of time.time_ns(), and move when that clock is set."""
        self._config.realtime_clock = enabled
        return self

    def with_memory(self, buffer: Any) -> Self:
        """What processes share: SHARED_SIZE bytes of a writable buffer over a shared mapping, all
        zero before the first comes, at a multiple of 8. Together with with_shared()."""
        self._memory = shared_memory(buffer)
        self._config.memory = ffi.cast("wrt_linux_shared *", self._memory)
        return self

    def build(self) -> LinuxFutex:
        """Makes the futex. Raises InvalidArgumentError naming the broken rule."""
        futex = LinuxFutex(self._config)
        futex._memory = self._memory
        return futex


class LinuxLock(Lock):
    """A mutex that notices misuse; made by LinuxLockBuilder. A forked child can't use it
    (StateError)."""

    def __init__(self, config: Any) -> None:
        raw = ffi.new("wrt_linux_lock *")
        check(lib.wrt_linux_lock_init(raw, config))
        super().__init__(raw, lib.wrt_linux_lock_interface(raw), lib.wrt_linux_lock_deinit)
        self._memory: Any = None

    @property
    def memory(self) -> Any:
        """What a shared lock has in common with others, as a buffer: a forked child makes its own
        lock over it. Raises StateError if it is not shared."""
        return shared_buffer(lib.wrt_linux_lock_shared, self._raw)


class LinuxLockBuilder:
    """Collects settings; the rules of linux/sync.h are checked by build()."""

    def __init__(self) -> None:
        size = ffi.sizeof("wrt_linux_lock_config")
        self._config = ffi.new("wrt_linux_lock_config *", {"struct_size": size})
        self._memory: Any = None

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

    def with_shared(self, enabled: bool = True) -> Self:
        """Between processes: those that this one forks, or with_memory(), those that map it."""
        self._config.shared = enabled
        return self

    def with_memory(self, buffer: Any) -> Self:
        """As LinuxFutexBuilder.with_memory()."""
        self._memory = shared_memory(buffer)
        self._config.memory = ffi.cast("wrt_linux_shared *", self._memory)
        return self

    def build(self) -> LinuxLock:
        """Makes the lock. Raises InvalidArgumentError or UnsupportedError naming the rule."""
        lock = LinuxLock(self._config)
        lock._memory = self._memory
        return lock


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
