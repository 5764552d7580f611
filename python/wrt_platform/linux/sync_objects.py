"""Semaphores, mutexes and conditions of Linux, waits on several futexes, and what it all costs.
Mirrors wrt_platform/linux/sync_objects.h.

semaphore = LinuxSemaphore(LinuxFutexBuilder().with_initial_value(3))
with semaphore:
    use_one_of_three()
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from wrt_platform._native import ffi, lib
from wrt_platform.errors import check
from wrt_platform.linux.sync import LinuxFutex, LinuxFutexBuilder, shared_buffer
from wrt_platform.lock import Lock
from wrt_platform.page_allocator import _word
from wrt_platform.system_below import nanoseconds
from wrt_platform.waits import SLICE_NS, wait_in_slices, wait_until_in_slices

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Self

    from wrt_platform.cancel import CancelToken

__all__ = [
    "FutexStrategies",
    "FutexStrategy",
    "LinuxCondition",
    "LinuxMutex",
    "LinuxSemaphore",
    "benchmark_futex_strategies",
    "wait_any",
    "wait_any_reason",
]

_ALL = 2**32 - 1


class _OnFutex:
    """What is made of a futex's settings; any thread may call any of it."""

    _NAME = ""

    def __init__(self, settings: LinuxFutexBuilder | None = None) -> None:
        builder = settings if settings is not None else LinuxFutexBuilder()
        raw = ffi.new(f"wrt_linux_{self._NAME} *")
        check(self._call("init")(raw, builder._config))
        self._memory = builder._memory
        self._raw = ffi.gc(raw, self._call("deinit"))

    def _call(self, name: str) -> Any:
        return getattr(lib, f"wrt_linux_{self._NAME}_{name}")

    def _clock_ns(self) -> int:
        return time.time_ns() if self._raw.futex.realtime else time.monotonic_ns()

    @property
    def memory(self) -> Any:
        """What a shared one has in common with others, as a buffer: a forked child makes its own
        over it. Raises StateError if it is not shared."""
        return shared_buffer(lib.wrt_linux_futex_shared, ffi.addressof(self._raw, "futex"))

    def close(self) -> None:
        """Ends it, for this process; again does nothing."""
        check(self._call("deinit")(self._raw))


class LinuxSemaphore(_OnFutex):
    """Counts from the builder's initial value; acquire() takes one, and waits while there is none.
    A forked child can't use it (StateError)."""

    _NAME = "semaphore"

    def acquire(
        self, timeout: float | str | None = None, cancel: CancelToken | None = None
    ) -> None:
        """Takes one. timeout: seconds, or text like "5s"; None: without limit.

        Raises TimedOutError, InterruptedCallError (`cancel` was requested), StateError (closed).
        """
        token, call = ffi.NULL if cancel is None else cancel._raw, lib.wrt_linux_semaphore_acquire
        wait_in_slices(timeout, lambda rest: call(self._raw, rest, token))

    def acquire_until(self, deadline_ns: int | None, cancel: CancelToken | None = None) -> None:
        """The same, until a point in time: of time.monotonic_ns(), or time.time_ns() when made with
        with_realtime_clock()."""
        token = ffi.NULL if cancel is None else cancel._raw
        call = lib.wrt_linux_semaphore_acquire_until
        wait_until_in_slices(deadline_ns, self._clock_ns, lambda end: call(self._raw, end, token))

    def try_acquire(self) -> bool:
        """Takes one if there is one."""
        status = lib.wrt_linux_semaphore_acquire(self._raw, 0, ffi.NULL)
        if status != lib.WRT_ERR_TIMED_OUT:
            check(status)
        return bool(status == lib.WRT_OK)

    def release(self, count: int = 1) -> None:
        """Gives `count` back. Raises LimitError beyond 2**31 - 1."""
        check(lib.wrt_linux_semaphore_release(self._raw, _word(count, "count")))

    @property
    def value(self) -> int:
        """How many there are now."""
        value = ffi.new("uint32_t *")
        check(lib.wrt_linux_semaphore_value(self._raw, value))
        return int(value[0])

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class LinuxMutex(_OnFutex):
    """The fastest lock here; with_priority_inheritance() gives it inheritance. Misuse raises
    StateError, as with all locks. A forked child can't use it (StateError)."""

    _NAME = "mutex"

    def __init__(self, settings: LinuxFutexBuilder | None = None) -> None:
        super().__init__(settings)
        self._lock = Lock(self._raw, lib.wrt_linux_mutex_interface(self._raw), None, kept=self)

    def lock(self, timeout: float | str | None = None, cancel: CancelToken | None = None) -> None:
        """Takes it. timeout: seconds, or text like "5s"; None: without limit. Raises TimedOutError,
        InterruptedCallError (`cancel` was requested), StateError (the caller holds it)."""
        token, call = ffi.NULL if cancel is None else cancel._raw, lib.wrt_linux_mutex_lock
        wait_in_slices(timeout, lambda rest: call(self._raw, rest, token))

    def lock_until(self, deadline_ns: int | None, cancel: CancelToken | None = None) -> None:
        """The same, until a point in time: of time.monotonic_ns(), or time.time_ns() when made with
        with_realtime_clock()."""
        token, call = ffi.NULL if cancel is None else cancel._raw, lib.wrt_linux_mutex_lock_until
        wait_until_in_slices(deadline_ns, self._clock_ns, lambda end: call(self._raw, end, token))

    def try_lock(self) -> bool:
        """Takes it if it is free; False if another thread holds it."""
        return self._lock.try_lock()

    def unlock(self) -> None:
        """Gives it back. Raises StateError if the caller does not hold it."""
        check(lib.wrt_linux_mutex_unlock(self._raw))

    def __enter__(self) -> Self:
        self.lock()
        return self

    def __exit__(self, *_: object) -> None:
        self.unlock()


class LinuxCondition(_OnFutex):
    """What threads wait for that hold a LinuxMutex. A forked child can't use it (StateError)."""

    _NAME = "condition"

    def wait(
        self,
        mutex: LinuxMutex,
        timeout: float | str | None = None,
        cancel: CancelToken | None = None,
    ) -> None:
        """Gives `mutex` back, waits for a signal, and takes it again, however the wait ends. Look
        again then: it may end early, and does every 50 ms so that Ctrl-C is noticed. Raises
        TimedOutError, InterruptedCallError, StateError (the caller does not hold it)."""
        token = ffi.NULL if cancel is None else cancel._raw
        rest = SLICE_NS + 1 if timeout is None else nanoseconds(timeout, "timeout")
        call, slice_ns = lib.wrt_linux_condition_wait, min(rest, SLICE_NS)
        self._check(call(self._raw, mutex._raw, slice_ns, token), rest > SLICE_NS)

    def wait_until(
        self, mutex: LinuxMutex, deadline_ns: int | None, cancel: CancelToken | None = None
    ) -> None:
        """The same, until a point in time: of time.monotonic_ns(), or time.time_ns() when made with
        with_realtime_clock()."""
        token, slice_end = ffi.NULL if cancel is None else cancel._raw, self._clock_ns() + SLICE_NS
        end = slice_end if deadline_ns is None else min(deadline_ns, slice_end)
        call = lib.wrt_linux_condition_wait_until
        self._check(call(self._raw, mutex._raw, end, token), end != deadline_ns)

    @staticmethod
    def _check(status: int, may_be_early: bool) -> None:
        if not (may_be_early and status == lib.WRT_ERR_TIMED_OUT):
            check(status)

    def wait_for(
        self, mutex: LinuxMutex, is_so: Callable[[], bool], timeout: float | str | None = None
    ) -> None:
        """Waits until `is_so()`, which is asked with the mutex held. Raises TimedOutError."""
        rest = None if timeout is None else nanoseconds(timeout, "timeout")
        start = time.monotonic_ns()
        while not is_so():
            past = time.monotonic_ns() - start
            self.wait(mutex, None if rest is None else max(0, rest - past) / 1e9)

    def signal(self, count: int = 1) -> None:
        """Wakes at most `count` threads that wait."""
        check(lib.wrt_linux_condition_signal(self._raw, _word(count, "count")))

    def broadcast(self) -> None:
        """Wakes all that wait."""
        self.signal(_ALL)


# ---- Several futexes ----


def wait_any(
    waits: Sequence[tuple[LinuxFutex, int]],
    timeout: float | str | None = None,
    cancel: CancelToken | None = None,
) -> int:
    """Waits until one of the futexes (with the word that each is expected to have) is woken, or its
    word is another; says which. At most 128. Raises TimedOutError, InterruptedCallError."""
    raw = ffi.new("wrt_linux_futex_wait[]", max(1, len(waits)))
    for one, (futex, expected) in zip(raw, waits):
        one.futex, one.expected = futex._raw, _word(expected, "expected")
    token, index = ffi.NULL if cancel is None else cancel._raw, ffi.new("uint32_t *")
    call = lib.wrt_linux_futex_wait_any
    wait_in_slices(timeout, lambda rest: call(raw, len(waits), rest, token, index))
    return int(index[0])


def wait_any_reason() -> tuple[bool, str]:
    """Whether the kernel itself waits on several futexes, and by what, or why not."""
    raw = ffi.new("wrt_enforcement *")
    check(lib.wrt_linux_futex_wait_any_query(raw))
    return raw.state == lib.WRT_ENFORCEMENT_ENFORCED, ffi.string(raw.reason).decode()


# ---- What it costs here ----


class FutexStrategy(NamedTuple):
    """One way to lock or to hand over, measured."""

    name: str
    operations: int
    ns_per_operation: float
    wait_calls: int | None  # of the system; None: not counted


class FutexStrategies:
    """Rows of benchmark_futex_strategies(); printed, or shown by a notebook, they are a table."""

    _HEAD = ("strategy", "operations", "ns per operation", "waits of the system")

    def __init__(self, rows: Sequence[FutexStrategy]) -> None:
        self.rows = tuple(rows)

    def __iter__(self) -> Iterator[FutexStrategy]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, name: str) -> FutexStrategy:
        return {row.name: row for row in self.rows}[name]

    def _cells(self) -> list[tuple[str, str, str, str]]:
        return [
            (
                row.name,
                f"{row.operations:,}",
                f"{row.ns_per_operation:,.1f}",
                "-" if row.wait_calls is None else f"{row.wait_calls:,}",
            )
            for row in self.rows
        ]

    def __str__(self) -> str:
        lines = [self._HEAD, *self._cells()]
        return "\n".join(f"{name:32}{a:>12}{b:>20}{c:>22}" for name, a, b, c in lines)

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{cell}</th>" for cell in self._HEAD)
        rows = "".join(
            "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
            for cells in self._cells()
        )
        return f"<table><tr>{head}</tr>{rows}</table>"


def benchmark_futex_strategies(operations: int = 100_000) -> FutexStrategies:
    """Measures, in this process, what locks cost that nobody else wants, and what it takes two
    threads to hand a word to and fro; the latter a hundredth as often."""
    raw = ffi.new("wrt_linux_futex_strategy[]", lib.WRT_LINUX_STRATEGY_COUNT)
    count, word = ffi.new("uint32_t *"), _word(operations, "operations")
    check(lib.wrt_linux_benchmark_futex_strategies(word, raw, len(raw), count))
    return FutexStrategies([_strategy(raw[i]) for i in range(count[0])])


def _strategy(raw: Any) -> FutexStrategy:
    counted = None if raw.wait_calls == 2**64 - 1 else raw.wait_calls
    name = ffi.string(raw.name).decode()
    return FutexStrategy(name, raw.operations, raw.nanoseconds / raw.operations, counted)
