"""The simulated QNX kernel, from outside. Mirrors wrt_platform/sim/qnx.h.

    with qnx.world(clock=Clock.VIRTUAL_CLOCK):
        waiter.start()            # a thread that waits by the backend's calls for five minutes
        qnx.wait_blocked(1)
        qnx.step(300.0)           # five minutes later
        print(qnx.threads(), qnx.channels(), qnx.census())

There is one world a process. Each function asks the kernel anew; what it gives are rows, which
pandas or a notebook shows as a table.

A thread in a bracket must not wait for Python: let it make one call of the C library at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from wrt_platform._enums import SimQnxClock as Clock
from wrt_platform._enums import SimQnxEvent as Event
from wrt_platform._enums import SimQnxVersion as Version
from wrt_platform._native import ffi, lib
from wrt_platform.errors import check

__all__ = [
    "Channel",
    "Clock",
    "Event",
    "Pulse",
    "Semantic",
    "Thread",
    "TraceEntry",
    "Version",
    "break_semantic",
    "broken",
    "calls",
    "census",
    "channels",
    "enter",
    "fail_at",
    "failures",
    "leave",
    "now",
    "pulses",
    "reset",
    "semantics",
    "set_version",
    "step",
    "threads",
    "trace",
    "use_clock",
    "wait_blocked",
    "work",
    "world",
]

_NANOSECONDS = 1_000_000_000


class Thread(NamedTuple):
    """A thread that the kernel knows."""

    id: int
    name: str
    policy: int  # of QNX's SCHED_ numbers; 0: nobody has said
    priority: int  # its own
    current: int  # with what it inherits
    place: str  # "outside", "ready", "running", "blocked", "ended"
    waits_in: str  # "receive", "mutex", ...; "" if it doesn't wait
    deadline: float | None  # of the wait, seconds on the clock
    worked: float  # seconds of work()
    run_mask: int
    inherit_mask: int


class Channel(NamedTuple):
    """A channel."""

    id: int
    pulses: int  # queued; equal neighbours count as one
    pool: int  # how many it can have by its own pool; 0: no pool
    receivers: int  # threads that wait
    connections: int  # to it
    fixed_priority: bool


class Pulse(NamedTuple):
    """A queued pulse."""

    priority: int
    code: int
    value: int
    count: int  # type: ignore[assignment]  # how many times it will be received


class Semantic(NamedTuple):
    """A semantic that can be broken on purpose."""

    name: str
    meaning: str  # what a kernel does that has it broken
    broken: bool


class TraceEntry(NamedTuple):
    """Something that happened, in the kernel's own order."""

    sequence: int
    time: float  # seconds since the reset
    thread: int
    event: Event
    name: str  # of the call, or of the state
    detail: tuple[int, int]  # see wrt_sim_qnx_event


def reset() -> None:
    """A new world: waits end, threads of the kernel's have five seconds to end, all is forgotten.

    Raises StateError within a bracket, or if threads go on running.
    """
    check(lib.wrt_sim_qnx_reset())


@contextmanager
def world(clock: Clock = Clock.REAL_CLOCK, version: Version = Version.QNX_7_1) -> Iterator[None]:
    """A new world for what stands below, and another one afterwards."""
    reset()
    try:
        set_version(version)
        use_clock(clock)
        yield
    finally:
        reset()


def set_version(version: Version) -> None:
    """Simulates 7.1 or 8.0 from now on."""
    check(lib.wrt_sim_qnx_set_version(int(version)))


def use_clock(clock: Clock) -> None:
    """Goes on with the real clock or a virtual one, which starts at 0 straight after a reset."""
    check(lib.wrt_sim_qnx_use_clock(int(clock)))


def now() -> float:
    """Seconds since the reset."""
    out = ffi.new("uint64_t *")
    check(lib.wrt_sim_qnx_now(out))
    return int(out[0]) / _NANOSECONDS


def step(seconds: float) -> None:
    """Moves the virtual clock, from deadline to deadline, and lets threads act at each.

    Raises StateError if the clock is real, or within a bracket, and TimedOutError if a thread keeps
    running for five seconds of real time.
    """
    check(lib.wrt_sim_qnx_step(round(seconds * _NANOSECONDS)))


def wait_blocked(threads: int, timeout: float = 5.0) -> None:
    """Waits until so many threads wait in the kernel. Raises TimedOutError after `timeout`
    seconds of real time."""
    check(lib.wrt_sim_qnx_wait_blocked(threads, round(timeout * 1000)))


def enter(priority: int = 0) -> None:
    """Begins a bracket for this thread: it has its turn, and keeps it between calls."""
    check(lib.wrt_sim_qnx_enter(priority))


def leave() -> None:
    """Ends the bracket."""
    check(lib.wrt_sim_qnx_leave())


def work(seconds: float) -> None:
    """Uses the processor, on the virtual clock; only within a bracket."""
    check(lib.wrt_sim_qnx_work(round(seconds * _NANOSECONDS)))


def fail_at(call: str | None, use: int, error: int) -> None:
    """Lets the `use`-th call of QNX of that name, or of any, fail once with QNX's error number."""
    text = ffi.NULL if call is None else call.encode()
    check(lib.wrt_sim_qnx_fail_at(text, use, error))


def calls() -> int:
    """How many calls of QNX were made since the reset."""
    return _counts()[0]


def failures() -> int:
    """How many of them failed by order."""
    return _counts()[1]


def break_semantic(name: str, is_broken: bool = True) -> None:
    """Breaks a semantic, or mends it. Raises NotFoundError if there is none of that name."""
    check(lib.wrt_sim_qnx_break(name.encode(), is_broken))


@contextmanager
def broken(name: str) -> Iterator[None]:
    """A kernel that has one semantic wrong, for what stands below."""
    break_semantic(name)
    try:
        yield
    finally:
        break_semantic(name, False)


def semantics() -> list[Semantic]:
    """Everything that can be broken."""
    return [
        Semantic(_text(view.name), _text(view.meaning), bool(view.broken))
        for view in _rows("wrt_sim_qnx_semantic_view", lib.wrt_sim_qnx_semantic_query)
    ]


def census() -> dict[str, int]:
    """How many there are of each kind of thing that a program has to give back."""
    rows = _rows("wrt_sim_qnx_census_view", lib.wrt_sim_qnx_census_query)
    return {_text(view.kind): int(view.count) for view in rows}


def threads() -> list[Thread]:
    """The threads, in the order of their ids."""
    return [_thread(view) for view in _chain("thread")]


def channels() -> list[Channel]:
    """The channels, in the order of their ids."""
    return [
        Channel(
            int(view.id),
            int(view.pulses),
            int(view.pool),
            int(view.receivers),
            int(view.connections),
            bool(view.fixed_priority),
        )
        for view in _chain("channel")
    ]


def pulses(channel: int) -> list[Pulse]:
    """What is queued in a channel, the next one first."""

    def query(index: int, view: Any) -> int:
        return lib.wrt_sim_qnx_pulse_query(channel, index, view)

    return [
        Pulse(int(view.priority), int(view.code), int(view.value), int(view.count))
        for view in _rows("wrt_sim_qnx_pulse_view", query)
    ]


def trace(after: int = 0) -> list[TraceEntry]:
    """What happened after the entry of that sequence, as far as it is kept (8192 entries)."""
    view = ffi.new("wrt_sim_qnx_trace_view *")
    entries: list[TraceEntry] = []
    while _found(lib.wrt_sim_qnx_trace_query(after + 1, view)):
        after = int(view.sequence)
        entries.append(
            TraceEntry(
                after,
                int(view.time) / _NANOSECONDS,
                int(view.thread),
                Event(view.event),
                _text(view.name),
                (int(view.detail[0]), int(view.detail[1])),
            )
        )
    return entries


def _counts() -> tuple[int, int]:
    made, failed = ffi.new("uint64_t *"), ffi.new("uint64_t *")
    check(lib.wrt_sim_qnx_calls(made, failed))
    return int(made[0]), int(failed[0])


def _text(text: Any) -> str:
    return "" if text == ffi.NULL else str(ffi.string(text).decode())


def _thread(view: Any) -> Thread:
    endless = int(view.deadline) == 2**64 - 1
    return Thread(
        int(view.id),
        str(ffi.string(view.name).decode()),
        int(view.policy),
        int(view.priority),
        int(view.current),
        _text(view.place),
        _text(view.waits_in),
        None if endless else int(view.deadline) / _NANOSECONDS,
        int(view.worked) / _NANOSECONDS,
        int(view.run_mask),
        int(view.inherit_mask),
    )


def _found(status: int) -> bool:
    if status != lib.WRT_ERR_NOT_FOUND:
        check(status)
    return status == lib.WRT_OK


def _rows(struct: str, query: Callable[[int, Any], int]) -> Iterator[Any]:
    """The rows of a table that is read by number. Each is shown in the same place."""
    view = ffi.new(f"{struct} *")
    index = 0
    while _found(query(index, view)):
        yield view
        index += 1


def _chain(kind: str) -> Iterator[Any]:
    """The rows of a table that is read from id to id."""
    query = getattr(lib, f"wrt_sim_qnx_{kind}_query")
    view = ffi.new(f"wrt_sim_qnx_{kind}_view *")
    after = 0
    while _found(query(after, view)):
        yield view
        after = int(view.id)
