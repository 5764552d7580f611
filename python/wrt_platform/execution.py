"""How a guest's call is driven to its end: in slices, under a deadline, and watched if need be.

A slice is about 10 ms of instructions; between two of them Python handles signals, other threads
get the lock, and the deadline is looked at. That is all, as long as no host function is there.
Where one may take long, another thread runs the guest, and the calling thread only waits: for the
end, the deadline or Ctrl-C. When it has waited enough, it interrupts the guest, or, if that is
inside a Python function, makes that raise. A function that can't be stopped even so (it sleeps)
is given up: the caller gets its TimedOutError at once, the instance refuses further calls until
the function has returned, and its late result is thrown away.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from wrt_platform._native import ffi, lib
from wrt_platform.errors import TimedOutError

if TYPE_CHECKING:
    from wrt_platform.store import Entry, Store

__all__ = ["Abandoned", "Deadline", "cancelled", "drive", "host_call", "watched"]

_SLICE_SECONDS = 0.01
_SLICE_MIN, _SLICE_MAX = 1_000, 1 << 32  # instructions
_PENDING_SECONDS = 0.001  # between two tries of a host function that answers PENDING
_GRACE_SECONDS = 0.02  # the runner's own deadline goes first
_PARTING_SECONDS = 0.06  # how long a cancelled runner is waited for

_here = threading.local()  # .watch: of the runner thread that this is


class Abandoned(BaseException):
    """Ends a host function whose caller has stopped waiting. Never leaves this package."""


class Deadline:
    """A point in time, and the time-out that it came from; None: there is none."""

    __slots__ = ("at", "seconds")

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self.at = None if seconds is None else time.monotonic() + seconds

    def remaining(self) -> float | None:
        return None if self.at is None else self.at - time.monotonic()

    def error(self) -> TimedOutError:
        return TimedOutError(f"the call did not end within {self.seconds:g} s")


class Drivable(Protocol):
    """What is known of an instance here."""

    pointer: Any
    slice_instructions: int
    stale_interrupt: bool  # we set the flag, and nothing has seen it since

    def error(self, status: int, entry: Entry) -> BaseException: ...


def cancelled() -> bool:
    """Whether whoever waits for this thread has stopped waiting."""
    watch: _Watch | None = getattr(_here, "watch", None)
    return watch is not None and watch.cancelled


def drive(guest: Drivable, store: Store, deadline: Deadline) -> None:
    """Runs the call that was begun to its end. Raises what ends it otherwise."""
    done = ffi.new("bool *")
    while True:
        if cancelled():
            raise Abandoned
        remaining = deadline.remaining()
        if remaining is not None and remaining <= 0:
            raise deadline.error()
        if _run_slice(guest, store, done, remaining):
            return
        store.let_others_in()


def _run_slice(guest: Drivable, store: Store, done: Any, remaining: float | None) -> bool:
    """One slice, shorter if the deadline is near. Returns whether the call has ended."""
    instructions = guest.slice_instructions
    if remaining is not None and remaining < _SLICE_SECONDS:
        instructions = max(_SLICE_MIN, int(instructions * remaining / _SLICE_SECONDS))
    start = time.perf_counter()
    with store.entered() as entry:
        status = lib.wrt_instance_run(guest.pointer, instructions, done)
    if status == lib.WRT_ERR_INTERRUPTED and guest.stale_interrupt:
        guest.stale_interrupt = False
        return False
    if status != lib.WRT_OK:
        raise guest.error(status, entry)
    if done[0]:
        return True
    if entry.pending:
        time.sleep(_PENDING_SECONDS)
    factor = _SLICE_SECONDS / max(time.perf_counter() - start, 1e-6)
    wanted = int(instructions * min(max(factor, 0.1), 4.0))
    guest.slice_instructions = min(max(wanted, _SLICE_MIN), _SLICE_MAX)
    return False


class _Watch:
    """What the runner thread and the thread that waits for it know of each other."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.cancelled = False
        self.value: Any = None
        self.error: BaseException | None = None
        self.thread = 0
        self._mutex = threading.Lock()
        self._in_python = 0

    def work(self, job: Callable[[], Any]) -> None:
        """The runner thread."""
        _here.watch = self
        self.thread = threading.get_ident()
        try:
            self.value = job()
        except BaseException as error:
            self.error = error
        finally:
            self.done.set()

    def enter_host(self) -> None:
        with self._mutex:
            if self.cancelled:
                raise Abandoned
            self._in_python += 1

    def leave_host(self) -> None:
        with self._mutex:
            self._in_python -= 1
            if self.cancelled:
                _raise_in(self.thread, None)  # what is on its way must not hit our own code
                raise Abandoned

    def cancel(self, guest: Drivable) -> bool:
        """Stops the runner, wherever it is. Returns whether it has ended."""
        with self._mutex:
            self.cancelled = True
            if self._in_python:
                _raise_in(self.thread, Abandoned)
            if not self.done.is_set():
                guest.stale_interrupt = True
                lib.wrt_instance_interrupt(guest.pointer)
        return self.done.wait(_PARTING_SECONDS)


class host_call:
    """Round each call of a host function, so that a watched one can be given up."""

    __slots__ = ("_watch",)

    def __enter__(self) -> None:
        self._watch: _Watch | None = getattr(_here, "watch", None)
        if self._watch is not None:
            self._watch.enter_host()

    def __exit__(self, *_: object) -> None:
        if self._watch is not None:
            self._watch.leave_host()


def watched(guest: Drivable, store: Store, job: Callable[[], Any], deadline: Deadline) -> Any:
    """Does `job`, which drives a guest, in a thread of its own; returns or raises what it does.

    Raises TimedOutError soon after the deadline, and KeyboardInterrupt at once, whatever the host
    functions are doing.
    """
    watch = _Watch()
    try:
        _start(watch, job)
        remaining = deadline.remaining()
        wait = None if remaining is None else max(remaining, 0) + _GRACE_SECONDS
        finished = watch.done.wait(wait)
    except BaseException:  # Ctrl-C
        _give_up(watch, guest, store)
        raise
    if not finished:
        _give_up(watch, guest, store)
        raise deadline.error()
    return _outcome(watch)


def watched_inside(
    guest: Drivable, store: Store, job: Callable[[], Any], deadline: Deadline
) -> Any:
    """As watched(), for a call that a host function makes: since the guest further out stands on
    this very thread's stack, the runner is waited for, however long it takes."""
    watch = _Watch()

    def lent() -> Any:
        with store.turn_lent():
            return job()

    _start(watch, lent)
    interrupted: BaseException | None = None
    while not watch.done.is_set():
        try:
            watch.done.wait()
        except BaseException as error:  # Ctrl-C
            interrupted = error
            watch.cancel(guest)
    if interrupted is not None:
        raise interrupted
    return _outcome(watch)


def _start(watch: _Watch, job: Callable[[], Any]) -> None:
    import contextvars

    context = contextvars.copy_context()
    threading.Thread(
        target=context.run, args=(watch.work, job), name="wrt_platform guest", daemon=True
    ).start()


def _give_up(watch: _Watch, guest: Drivable, store: Store) -> None:
    if watch.thread and not watch.cancel(guest):
        store.mark_abandoned()


def _outcome(watch: _Watch) -> Any:
    if watch.error is not None:
        raise watch.error
    return watch.value


def _raise_in(thread: int, kind: type[BaseException] | None) -> None:
    """Makes Python code of another thread raise; None takes back what has not hit yet."""
    import ctypes

    exception = ctypes.py_object(kind) if kind is not None else None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), exception)
