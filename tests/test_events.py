"""Events: the ring on the C calls, against a model; then what Python makes of it, its exit above
all."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import mmap
import random
import select
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from common import run
from exits import expect_exit
from sanitized import build_with_threads, sees_a_race
from support.guest import last_error, must, new_config
from wrt_platform._native import ffi, lib
from wrt_platform.errors import (
    BusyError,
    InvalidArgumentError,
    OutOfMemoryError,
    StateError,
    TimedOutError,
    UnsupportedError,
)
from wrt_platform.events import Event, EventKind, Events, EventsBuilder
from wrt_platform.system_below import WAIT_FOR_EVER, system_interface

MS = 1_000_000  # nanoseconds


class Ring:
    """A ring on the C calls, with the counting wake hook of Linux."""

    def __init__(self, capacity: int = 4, *, can_wait: bool = True, system: Any = None) -> None:
        self.wake = ffi.new("wrt_linux_wake *")
        must(lib.wrt_linux_wake_init(self.wake))
        config = new_config("wrt_events_config", capacity=capacity)
        config.wake, config.wake_context = ffi.addressof(lib, "wrt_linux_wake_call"), self.wake
        if can_wait:
            config.system = system_interface() if system is None else system
        layout = ffi.new("wrt_layout *")
        must(lib.wrt_events_layout(config, layout))
        self.buffer = mmap.mmap(-1, layout.bytes)
        self.view = ffi.from_buffer("uint8_t[]", self.buffer, require_writable=True)
        config.buffer, config.buffer_size = self.view, layout.bytes
        self.raw = ffi.new("wrt_events *")
        must(lib.wrt_events_init(self.raw, config))

    def post(self, number: int, source: int = 0) -> int:
        fields = {"kind": 1000, "source": source, "detail": [number, ~number % 2**64]}
        return int(lib.wrt_events_post(self.raw, ffi.new("wrt_event *", fields)))

    def next(self, timeout_ns: int = 0, cancel: Any = ffi.NULL) -> tuple[int, Any]:
        event = ffi.new("wrt_event *")
        return int(lib.wrt_events_next(self.raw, event, timeout_ns, cancel)), event

    def take(self) -> tuple[int, int]:
        """The number of the oldest event, and how many were lost before."""
        status, event = self.next()
        assert status == lib.WRT_OK, last_error()
        assert event.detail[1] == ~event.detail[0] % 2**64
        return int(event.detail[0]), int(event.lost)

    def usage(self) -> tuple[int, int, int, int]:
        usage = ffi.new("wrt_events_usage *")
        must(lib.wrt_events_query(self.raw, usage))
        return usage.capacity, usage.waiting, usage.posted, usage.lost

    def wakes(self) -> int:
        """How often the hook was called since the last time."""
        count = ffi.new("uint64_t *")
        must(lib.wrt_linux_wake_take(self.wake, count))
        return int(count[0])


@pytest.mark.row("EV-1")
def test_events_come_out_whole_and_in_order() -> None:
    ring = Ring()
    fields = {"kind": 3, "source": 2**64 - 1, "time_ns": 17, "detail": [5, 2**64 - 2], "lost": 99}
    assert lib.wrt_events_post(ring.raw, ffi.new("wrt_event *", fields)) == lib.WRT_OK
    ring.post(6)
    status, event = ring.next()
    assert (status, event.kind, event.source, event.time_ns) == (lib.WRT_OK, 3, 2**64 - 1, 17)
    assert (list(event.detail), event.lost) == ([5, 2**64 - 2], 0)
    assert ring.take() == (6, 0)


@pytest.mark.row("EV-1")
def test_full_ring_keeps_what_it_has_and_counts_what_it_loses() -> None:
    ring = Ring(4)
    assert [ring.post(number) for number in range(7)] == [lib.WRT_OK] * 4 + [
        lib.WRT_ERR_NO_MEMORY
    ] * 3
    assert "the ring is full with 4 events; 3 are lost now" in last_error()
    assert ring.usage() == (4, 4, 4, 3)
    assert ring.take() == (0, 0)
    assert ring.post(7) == lib.WRT_OK
    assert [ring.take() for _ in range(4)] == [(1, 0), (2, 0), (3, 0), (7, 3)]
    assert ring.usage() == (4, 0, 5, 3)


@pytest.mark.row("EV-1")
@pytest.mark.parametrize("capacity", [1, 2, 3, 8])
def test_ring_agrees_with_a_queue_of_python_for_many_rounds(capacity: int) -> None:
    chance = random.Random(capacity)
    ring = Ring(capacity)
    room = max(2, 1 << (capacity - 1).bit_length())
    waiting: collections.deque[tuple[int, int]] = collections.deque()
    lost = 0
    for number in range(5000):
        if chance.random() < 0.55:
            fits = len(waiting) < room
            assert ring.post(number) == (lib.WRT_OK if fits else lib.WRT_ERR_NO_MEMORY)
            if fits:
                waiting.append((number, lost))
            else:
                lost += 1
        elif waiting:
            assert ring.take() == waiting.popleft()
        else:
            assert ring.next()[0] == lib.WRT_ERR_TIMED_OUT
        assert ring.usage()[1::2] == (len(waiting), lost)


@pytest.mark.row("EV-1")
def test_wake_hook_is_called_once_until_the_ring_was_found_empty() -> None:
    ring = Ring()
    ring.post(1)
    ring.post(2)
    assert ring.wakes() == 1
    ring.take()
    ring.post(3)
    assert ring.wakes() == 0  # the taker has not seen an empty ring: it goes on taking
    ring.take(), ring.take()
    ring.post(4)
    assert ring.wakes() == 0
    ring.take()
    assert ring.next()[0] == lib.WRT_ERR_TIMED_OUT
    ring.post(5)
    ring.post(6)
    assert ring.wakes() == 1


@pytest.mark.row("EV-1")
def test_waiting_ends_with_the_event() -> None:
    ring = Ring()
    for number in range(20):
        poster = threading.Timer(0.01, ring.post, [number])
        poster.start()
        status, event = ring.next(WAIT_FOR_EVER if number % 2 else 10_000 * MS)
        assert (status, event.detail[0]) == (lib.WRT_OK, number)
        poster.join()


@pytest.mark.row("EV-1")
@pytest.mark.parametrize("with_token", [False, True])
def test_waiting_ends_with_the_time(with_token: bool) -> None:
    ring = Ring()
    token = ffi.new("wrt_cancel_token *") if with_token else ffi.NULL
    begin = time.monotonic_ns()
    status, event = ring.next(50 * MS, token)
    passed = time.monotonic_ns() - begin
    assert status == lib.WRT_ERR_TIMED_OUT and event.kind == 0
    assert 50 * MS <= passed < 2000 * MS
    assert "nothing ended the wait" in last_error()


class NotedWaits:
    """A thread system whose clock moves by what is waited, and by nothing else."""

    def __init__(self) -> None:
        self.now, self.waits = 7 * MS, list[int]()
        self._ops = ffi.new("wrt_thread_system_ops *")
        self._calls = (
            ffi.callback("wrt_thread_now_fn", self._tell),
            ffi.callback("wrt_thread_wait_fn", self._wait),
        )
        self._ops.now, self._ops.wait = self._calls
        self.system = ffi.new("wrt_thread_system *", {"ops": self._ops})[0]

    def _tell(self, _: Any, out: Any) -> int:
        out[0] = self.now
        return int(lib.WRT_OK)

    def _wait(self, _: Any, word: Any, expected: int, timeout_ns: int) -> int:
        assert word[0] == expected
        self.waits.append(timeout_ns)
        self.now += min(timeout_ns, 30 * MS)  # no wait is longer: woken for no reason
        return int(lib.WRT_ERR_TIMED_OUT if timeout_ns <= 30 * MS else lib.WRT_OK)


@pytest.mark.row("EV-1")
def test_waits_are_cut_for_a_token_and_end_on_time() -> None:
    """A wait that ended early goes on for the rest, and not for the whole time again."""
    noted = NotedWaits()
    ring = Ring(system=noted.system)
    assert ring.next(50 * MS, ffi.new("wrt_cancel_token *"))[0] == lib.WRT_ERR_TIMED_OUT
    assert noted.waits == [20 * MS, 20 * MS, 10 * MS]
    noted.waits.clear()
    assert ring.next(70 * MS)[0] == lib.WRT_ERR_TIMED_OUT
    assert noted.waits == [70 * MS, 40 * MS, 10 * MS]


@pytest.mark.row("EV-1")
def test_hook_is_called_for_a_taker_that_sleeps_too() -> None:
    """Whoever listens to the hook may be another than the one that sleeps."""
    ring = Ring()
    taker = threading.Thread(target=ring.next, args=[WAIT_FOR_EVER])
    taker.start()
    while ring.raw.attended != 2:  # it sleeps
        time.sleep(0.001)
    ring.post(1)
    taker.join()
    assert ring.wakes() == 1


@pytest.mark.row("EV-1")
def test_token_ends_the_wait_but_not_the_events() -> None:
    ring = Ring()
    token = ffi.new("wrt_cancel_token *")
    threading.Timer(0.02, lib.wrt_cancel_request, [token]).start()
    assert ring.next(WAIT_FOR_EVER, token)[0] == lib.WRT_ERR_INTERRUPTED
    ring.post(1)
    assert ring.next(WAIT_FOR_EVER, token)[0] == lib.WRT_OK


@pytest.mark.row("EV-1")
def test_ring_without_a_system_does_not_wait() -> None:
    ring = Ring(can_wait=False)
    assert ring.next(0)[0] == lib.WRT_ERR_TIMED_OUT
    assert ring.next(1)[0] == lib.WRT_ERR_UNSUPPORTED
    assert "no thread system to wait with" in last_error()
    ring.post(1)
    assert ring.wakes() == 1
    assert ring.next(1)[0] == lib.WRT_OK


@pytest.mark.row("EV-1")
def test_second_taker_is_refused_and_so_is_the_end_of_the_ring() -> None:
    ring = Ring()
    taker = threading.Thread(target=ring.next, args=[WAIT_FOR_EVER])
    taker.start()
    while ring.raw.taking == 0:
        time.sleep(0.001)
    assert ring.next()[0] == lib.WRT_ERR_BUSY
    assert lib.wrt_events_deinit(ring.raw) == lib.WRT_ERR_BUSY
    ring.post(1)
    taker.join()
    assert lib.wrt_events_deinit(ring.raw) == lib.WRT_OK
    assert lib.wrt_events_deinit(ring.raw) == lib.WRT_OK
    assert ring.post(1) == lib.WRT_ERR_STATE


def test_bad_configs_and_arguments_are_refused() -> None:
    ring, layout = Ring(), ffi.new("wrt_layout *")
    for capacity in (0, lib.WRT_EVENTS_CAPACITY_MAX + 1):
        config = new_config("wrt_events_config", capacity=capacity)
        assert lib.wrt_events_layout(config, layout) == lib.WRT_ERR_INVALID_ARGUMENT
        assert (layout.bytes, layout.alignment) == (0, 0)
    config = new_config("wrt_events_config", capacity=4, buffer=ring.view)
    raw = ffi.new("wrt_events *")
    assert lib.wrt_events_init(raw, config) == lib.WRT_ERR_NO_MEMORY
    config.buffer = ring.view + 1
    assert lib.wrt_events_init(raw, config) == lib.WRT_ERR_INVALID_ARGUMENT
    config.buffer = ffi.NULL
    assert lib.wrt_events_init(raw, config) == lib.WRT_ERR_INVALID_ARGUMENT
    assert bytes(ffi.buffer(raw)) == bytes(ffi.sizeof("wrt_events"))
    assert lib.wrt_events_post(ring.raw, ffi.new("wrt_event *")) == lib.WRT_ERR_INVALID_ARGUMENT
    assert lib.wrt_events_post(ring.raw, ffi.NULL) == lib.WRT_ERR_INVALID_ARGUMENT
    ffi.memmove(raw, ring.raw, ffi.sizeof("wrt_events"))
    assert lib.wrt_events_post(raw, ffi.new("wrt_event *", {"kind": 1})) == lib.WRT_ERR_STATE
    assert "moved" in last_error()


@pytest.mark.whole_process  # another sanitizer's run time would be in its programs
@pytest.mark.row("EV-1")
def test_sanitizer_finds_no_race_nothing_is_lost_and_order_holds(tmp_path: Path) -> None:
    """The same program with a race of its own is caught."""
    program = tmp_path / "events"
    build_with_threads(program, "event_stress", ["events"])
    assert run(program).splitlines()[-1] == "posted 15000 waiting 0 lost as counted"
    assert sees_a_race(program, "racing")


# Python.


@pytest.fixture
def events() -> Events:
    return EventsBuilder().with_capacity(8).build()


def test_python_posts_and_takes(events: Events) -> None:
    before = time.monotonic_ns()
    events.post(EventKind.POWER, 7, (1, 2))
    events.post(4711, time_ns=5)
    first, second = events.next(), events.next()
    assert first == Event(EventKind.POWER, 7, first.time_ns, (1, 2), 0)
    assert before <= first.time_ns <= time.monotonic_ns()
    assert second == (4711, 0, 5, (0, 0), 0)
    with pytest.raises(TimedOutError):
        events.next("20ms")
    with pytest.raises(InvalidArgumentError, match="kind is 0"):
        events.post(0)
    for _ in range(8):
        events.post(1)
    with pytest.raises(OutOfMemoryError):
        events.post(1)
    assert events.usage == (8, 8, 10, 1)


def test_iteration_ends_when_the_events_are_closed(events: Events) -> None:
    events.post(1)
    events.post(2)
    kinds: list[int] = []

    def iterate() -> None:
        kinds.extend(event.kind for event in events)

    taker = threading.Thread(target=iterate)
    taker.start()
    events.post(3)
    while events.usage.waiting:
        time.sleep(0.001)
    with pytest.raises(BusyError):
        while True:
            with contextlib.suppress(TimedOutError):  # between two looks of the other
                events.next(0)
    events.close()
    taker.join(5)
    assert not taker.is_alive() and kinds[:3] == [1, 2, 3]
    with pytest.raises(StateError, match="closed"):
        events.next()


def test_listener_goes_on_after_an_exception(
    events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    raised: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", raised.append)

    def call(event: Event) -> None:
        seen.append(event.kind)
        if event.kind == 2:
            raise ValueError("no")

    events.listen(call)
    for kind in (1, 2, 3):
        events.post(kind)
    end = time.monotonic() + 5
    while len(seen) < 3 and time.monotonic() < end:
        time.sleep(0.001)
    assert seen == [1, 2, 3]
    assert [each.exc_type for each in raised] == [ValueError]
    with pytest.raises(StateError, match="called before"):
        events.listen(call)


def test_asyncio_takes_events_and_does_other_things(events: Events) -> None:
    async def take(count: int) -> list[int]:
        kinds: list[int] = []
        async for event in events:
            kinds.append(event.kind)
            if len(kinds) == count:
                break
        return kinds

    async def main() -> list[int]:
        taker = asyncio.create_task(take(3))
        for kind in (1, 2, 3):
            await asyncio.sleep(0.01)
            events.post(kind)
        return await asyncio.wait_for(taker, 5)

    assert asyncio.run(main()) == [1, 2, 3]


def test_asyncio_loses_nothing_when_it_is_cancelled_and_ends_when_closed(events: Events) -> None:
    async def take(kinds: list[int]) -> None:
        async for event in events:
            kinds.append(event.kind)

    async def main() -> list[int]:
        first: list[int] = []
        cancelled = asyncio.create_task(take(first))
        await asyncio.sleep(0.01)
        cancelled.cancel()
        await asyncio.gather(cancelled, return_exceptions=True)
        events.post(1)
        second = asyncio.create_task(take(first))
        await asyncio.sleep(0.01)
        events.close()
        await asyncio.wait_for(second, 5)
        return first

    assert asyncio.run(main()) == [1]


def test_descriptor_tells_of_the_next_event(events: Events) -> None:
    assert select.select([events], [], [], 0)[0] == []
    events.post(1)
    assert select.select([events], [], [], 0)[0] == [events]
    hook = ffi.addressof(lib, "wrt_cancel_request")  # of the same shape
    other = EventsBuilder().with_wake(ffi.cast("wrt_wake_fn", hook)).build()
    other.post(1)
    with pytest.raises(UnsupportedError, match="no descriptor"):
        other.fileno()


def test_buffer_may_be_the_callers() -> None:
    builder = EventsBuilder().with_capacity(2)
    layout = builder.layout()
    buffer = mmap.mmap(-1, layout.bytes)
    events = builder.with_buffer(buffer).build()
    events.post(1, 0x1122334455667788)
    assert bytes.fromhex("8877665544332211") in buffer[:]
    with pytest.raises(OutOfMemoryError, match="buffer has"):
        EventsBuilder().with_capacity(4).with_buffer(mmap.mmap(-1, layout.bytes)).build()


def test_ctrl_c_ends_a_wait(events: Events) -> None:
    main = threading.main_thread().ident
    assert main is not None
    threading.Timer(0.1, signal.pthread_kill, [main, signal.SIGINT]).start()
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        events.next()
    assert time.monotonic() - begin < 2


# The exit of Python, each way in a process of its own: it never hangs.

PRELUDE = """
import asyncio, os, signal, sys, threading, time
from wrt_platform.events import EventsBuilder
events = EventsBuilder().build()
def iterate():
    for event in events:
        print("took", event.kind, flush=True)
def wait_for_taker():
    while not events._raw.taking:
        time.sleep(0.001)
"""

WAYS = {
    "nobody reads": ("events.post(1)", 0),
    "listener": ("events.listen(print); wait_for_taker()", 0),
    "listener with events": ("events.listen(print); [events.post(1) for _ in range(60)]", 0),
    "listener busy": ("events.listen(lambda e: time.sleep(60)); events.post(1)", 0),
    "sys.exit": ("events.listen(print); wait_for_taker(); sys.exit(3)", 3),
    "sys.exit of a thread": ("threading.Thread(target=sys.exit, args=[3]).start()", 0),
    "exception": ("events.listen(print); wait_for_taker(); raise ValueError", 1),
    "os._exit": ("events.listen(print); wait_for_taker(); os._exit(4)", 4),
    "daemon thread": (
        "threading.Thread(target=iterate, daemon=True).start(); wait_for_taker()",
        0,
    ),
    "thread": ("threading.Thread(target=iterate).start(); wait_for_taker()", 0),
    "closed": ("events.listen(print); wait_for_taker(); events.close()", 0),
    "SIGTERM": (
        "events.listen(print); wait_for_taker(); os.kill(os.getpid(), signal.SIGTERM)",
        -signal.SIGTERM,
    ),
    "SIGINT": (
        "threading.Timer(0.1, signal.raise_signal, [2]).start(); events.next()",
        -signal.SIGINT,
    ),
    "forked child": (
        "events.listen(print); wait_for_taker(); child = os.fork(); "
        "sys.exit(5) if child == 0 else None; "
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))",
        5,
    ),
    "asyncio": (
        """
async def take():
    async for event in events:
        pass
async def main():
    task = asyncio.create_task(take())
    await asyncio.sleep(0.01)
asyncio.run(main())
""",
        0,
    ),
}


@pytest.mark.row("EV-1")
@pytest.mark.parametrize("way", WAYS)
def test_exit_never_hangs(way: str) -> None:
    program, code = WAYS[way]
    expect_exit(PRELUDE + program, code, raises=way in ("exception", "SIGINT"))
