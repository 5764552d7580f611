"""Control of the simulated QNX kernel from Python: clock, faults, queues, census, trace."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

import pytest
from wrt_platform._native import ffi, lib
from wrt_platform.errors import InvalidArgumentError, NotFoundError, StateError, TimedOutError
from wrt_platform.qnx.sync import QnxFutex, QnxFutexBuilder
from wrt_platform.sim import qnx
from wrt_platform.sim.qnx import Clock, Event

FOR_EVER = 3600.0


@pytest.fixture(autouse=True)
def world() -> Iterator[None]:
    with qnx.world(clock=Clock.VIRTUAL_CLOCK):
        yield


@pytest.fixture
def futex() -> Iterator[QnxFutex]:
    made = QnxFutexBuilder().build()
    yield made
    made.close()


class Waiter(threading.Thread):
    """Waits on a futex by one call of the C library, and keeps how that ended. The face would wait
    in slices, between which the kernel knows nothing of it."""

    def __init__(self, futex: QnxFutex, seconds: float) -> None:
        super().__init__()
        self.futex, self.seconds, self.status = futex, seconds, lib.WRT_OK

    def run(self) -> None:
        nanoseconds = round(self.seconds * 1e9)
        self.status = lib.wrt_futex_wait(self.futex._interface, 0, nanoseconds, ffi.NULL)


def test_an_hour_passes_when_it_is_told_to(futex: QnxFutex) -> None:
    waiter, begun = Waiter(futex, FOR_EVER), time.monotonic()
    waiter.start()
    qnx.wait_blocked(1)
    before = qnx.now()
    qnx.step(FOR_EVER - 0.001)
    assert [thread.place for thread in qnx.threads()].count("blocked") == 1
    qnx.step(0.002)
    waiter.join(20)
    assert waiter.status == lib.WRT_ERR_TIMED_OUT
    assert qnx.now() == pytest.approx(before + FOR_EVER + 0.001)
    assert time.monotonic() - begun < 30


def test_waiter_shows_what_it_waits_for(futex: QnxFutex) -> None:
    waiter = Waiter(futex, 60.0)
    waiter.start()
    qnx.wait_blocked(1)
    row = next(thread for thread in qnx.threads() if thread.place == "blocked")
    assert row.waits_in != ""
    assert row.deadline == pytest.approx(60.0, abs=1.0)
    futex.wake(1)
    waiter.join(20)
    assert waiter.status == lib.WRT_OK


def test_trace_is_in_the_kernels_order(futex: QnxFutex) -> None:
    waiter = Waiter(futex, 60.0)
    waiter.start()
    qnx.wait_blocked(1)
    blocked = next(entry for entry in qnx.trace() if entry.event == Event.BLOCK)
    futex.wake(1)
    waiter.join(20)
    woken = next(entry for entry in qnx.trace() if entry.event == Event.WAKE)
    assert blocked.sequence < woken.sequence
    assert blocked.thread == woken.thread
    sequences = [entry.sequence for entry in qnx.trace()]
    assert sequences == sorted(sequences)
    assert qnx.trace(after=sequences[-1]) == []


def test_call_fails_when_told_and_once(futex: QnxFutex) -> None:
    before = qnx.calls()
    qnx.fail_at(None, 1, 11)
    with pytest.raises(Exception, match=r"EAGAIN|11"):
        QnxFutexBuilder().build()
    assert qnx.failures() == 1
    assert qnx.calls() > before
    QnxFutexBuilder().build().close()


@pytest.mark.parametrize(
    "call", [lambda: qnx.fail_at("mmap", 0, 5), lambda: qnx.fail_at("x" * 32, 1, 5),
             lambda: qnx.fail_at("mmap", 1, 0), lambda: qnx.enter(256), lambda: qnx.enter(-1)],
)  # fmt: skip
def test_bad_orders_are_refused(call: object) -> None:
    assert callable(call)
    with pytest.raises(InvalidArgumentError):
        call()


def test_semantics_are_broken_and_mended() -> None:
    names = [semantic.name for semantic in qnx.semantics()]
    assert len(names) == len(set(names)) > 40
    with qnx.broken("inheritance"):
        assert [one.name for one in qnx.semantics() if one.broken] == ["inheritance"]
    assert not any(one.broken for one in qnx.semantics())
    with pytest.raises(NotFoundError):
        qnx.break_semantic("nothing of that name")


def test_brackets_and_clocks_have_their_moments() -> None:
    with pytest.raises(StateError, match="in no bracket"):
        qnx.leave()
    with pytest.raises(StateError, match="in no bracket"):
        qnx.work(0.001)
    qnx.enter(20)
    with pytest.raises(StateError, match="in a bracket already"):
        qnx.enter(20)
    with pytest.raises(StateError, match="in a bracket"):
        qnx.reset()
    with pytest.raises(StateError, match="time passes by work"):
        qnx.step(1.0)
    before = qnx.now()
    qnx.work(0.25)
    assert qnx.now() == pytest.approx(before + 0.25)
    qnx.leave()
    qnx.use_clock(Clock.REAL_CLOCK)
    with pytest.raises(StateError, match="the clock is real"):
        qnx.step(1.0)
    with pytest.raises(TimedOutError, match="0 threads wait, not 1"):
        qnx.wait_blocked(1, timeout=0.01)


def test_thread_that_ends_late_has_no_say_in_the_next_world() -> None:
    for _ in range(50):
        waiter = threading.Thread(target=qnx.now)
        waiter.start()
        waiter.join()
        qnx.reset()
        qnx.use_clock(Clock.VIRTUAL_CLOCK)


def test_forked_child_has_no_kernel() -> None:
    child = os.fork()
    if child == 0:
        status = lib.wrt_sim_qnx_use_clock(0)
        os._exit(0 if status == lib.WRT_ERR_STATE else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert qnx.now() >= 0
