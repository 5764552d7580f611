"""What QNX's futexes and thread systems do alone: whom they wake first, and what they leave behind
when a call of the kernel fails, whichever it is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from wrt_platform import (
    QnxFutexBuilder,
    QnxLockBuilder,
    QnxSyncPriority,
    QnxThreadSystemBuilder,
    ThreadBuilder,
    ThreadPriority,
)
from wrt_platform._native import ffi, lib
from wrt_platform.errors import LimitError, WrtError, check

EAGAIN, ETIMEDOUT = 11, 260  # QNX's numbers
FOREVER = 2**64 - 1
MOST_CALLS = 200

pytestmark = pytest.mark.row("QS-1", proof="sim")


@pytest.fixture(autouse=True)
def kernel() -> Iterator[None]:
    check(lib.wrt_sim_qnx_reset())
    yield
    check(lib.wrt_sim_qnx_reset())


def census() -> dict[str, int]:
    """What the kernel holds, of each kind that there is."""
    held, view = {}, ffi.new("wrt_sim_qnx_census_view *")
    index = 0
    while lib.wrt_sim_qnx_census_query(index, view) == lib.WRT_OK:
        if view.count:
            held[ffi.string(view.kind).decode()] = view.count
        index += 1
    return held


def failures() -> int:
    count = ffi.new("uint64_t *")
    check(lib.wrt_sim_qnx_calls(ffi.NULL, count))
    return int(count[0])


def each_failure(call: Callable[[], Any]) -> Iterator[WrtError]:
    """Lets the first call of the kernel that `call` makes fail, then the second, and so on; yields
    the error of each, until `call` makes fewer."""
    for use in range(1, MOST_CALLS):
        check(lib.wrt_sim_qnx_reset())
        check(lib.wrt_sim_qnx_fail_at(ffi.NULL, use, EAGAIN))
        try:
            made = call()
        except WrtError as error:
            yield error
            continue
        if failures() == 0:
            check(lib.wrt_sim_qnx_reset())
            return
        made.close()  # the failure was one that does no harm
    raise AssertionError("it makes calls without end")


@pytest.mark.parametrize(
    "build",
    [
        QnxFutexBuilder().with_maximum_waiters(2).build,
        QnxFutexBuilder().with_priority_inheritance().build,
        QnxLockBuilder().build,
        pytest.param(QnxThreadSystemBuilder().build, marks=pytest.mark.row("QT-1", proof="sim")),
    ],
    ids=["futex", "inheriting", "lock", "system"],
)
def test_an_init_that_fails_leaves_nothing_behind(build: Callable[[], Any]) -> None:
    seen = 0
    for error in each_failure(build):
        seen += 1
        assert census() == {}, error
    assert seen > 0


@pytest.mark.parametrize("step", range(1, 9))
def test_a_deinit_that_fails_half_way_goes_on(step: int) -> None:
    futex = QnxFutexBuilder().with_maximum_waiters(2).build()
    check(lib.wrt_sim_qnx_fail_at(ffi.NULL, step, EAGAIN))
    if lib.wrt_qnx_futex_deinit(futex._raw) != lib.WRT_OK:
        futex.close()
    assert census() == {}


def test_the_most_urgent_waiter_is_woken_first() -> None:
    system = QnxThreadSystemBuilder().build()
    futex = QnxFutexBuilder().build()
    order: list[ThreadPriority] = []

    def wait(priority: ThreadPriority) -> Callable[[], None]:
        def run() -> None:
            check(lib.wrt_futex_wait(futex._interface, 0, FOREVER, ffi.NULL))
            order.append(priority)

        return run

    asked = [ThreadPriority.LOW, ThreadPriority.HIGH, ThreadPriority.NORMAL]
    threads = []
    for priority in asked:
        builder = ThreadBuilder().with_priority(priority).with_entry(wait(priority))
        threads.append(builder.build(system))
        check(lib.wrt_sim_qnx_wait_blocked(len(threads), 5000))
    for number in range(1, 4):
        assert futex.wake_one() == 1
        while len(order) < number:
            time.sleep(0.001)
    for thread in threads:
        thread.join(5)
    assert order == [ThreadPriority.HIGH, ThreadPriority.NORMAL, ThreadPriority.LOW]
    futex.close()
    system.close()
    assert census() == {}


@pytest.mark.parametrize(
    ("priority", "number"), [(QnxSyncPriority.DEFAULT, 10), (QnxSyncPriority.REALTIME, 40)]
)
def test_a_woken_thread_has_the_pulses_priority_until_it_returns(
    priority: QnxSyncPriority, number: int
) -> None:
    futex = QnxFutexBuilder().with_priority(priority).build()
    system = QnxThreadSystemBuilder().build()
    after: list[int] = []

    def wait() -> None:
        check(lib.wrt_futex_wait(futex._interface, 0, FOREVER, ffi.NULL))
        after.append(system.report.system_priority)

    thread = ThreadBuilder().with_entry(wait).build(system)
    check(lib.wrt_sim_qnx_wait_blocked(1, 5000))
    futex.wake_one()
    thread.join(5)
    changes = {int(view.detail[0]) for view in trace(lib.WRT_SIM_QNX_EVENT_PRIORITY)}
    assert (number in changes) == (priority == QnxSyncPriority.REALTIME)
    assert after == [10]
    futex.close()
    system.close()


def trace(event: int) -> Iterator[Any]:
    sequence, view = 1, ffi.new("wrt_sim_qnx_trace_view *")
    while lib.wrt_sim_qnx_trace_query(sequence, view) == lib.WRT_OK:
        if view.event == event:
            yield view
        sequence = view.sequence + 1


def test_one_waiter_too_many_is_a_limit() -> None:
    futex = QnxFutexBuilder().with_maximum_waiters(1).build()
    waiter = threading.Thread(
        target=lambda: lib.wrt_futex_wait(futex._interface, 0, FOREVER, ffi.NULL)
    )
    waiter.start()
    check(lib.wrt_sim_qnx_wait_blocked(1, 5000))
    with pytest.raises(LimitError, match="maximum_waiters"):
        futex.wait(0, timeout=1)
    futex.wake_all()
    waiter.join(5)
    futex.close()


def test_a_pulse_that_can_not_be_sent_leaves_its_waiter_waiting() -> None:
    futex = QnxFutexBuilder().build()
    waiter = threading.Thread(
        target=lambda: lib.wrt_futex_wait(futex._interface, 0, FOREVER, ffi.NULL)
    )
    waiter.start()
    check(lib.wrt_sim_qnx_wait_blocked(1, 5000))
    check(lib.wrt_sim_qnx_fail_at(b"MsgSendPulse", 1, EAGAIN))
    with pytest.raises(WrtError, match="EAGAIN"):
        futex.wake_one()
    assert waiter.is_alive()
    assert futex.wake_one() == 1
    waiter.join(5)
    assert not waiter.is_alive()
    futex.close()


def test_a_lock_that_can_not_be_given_back_stays_its_owners() -> None:
    lock = QnxLockBuilder().build()
    lock.lock()
    check(lib.wrt_sim_qnx_fail_at(b"SyncMutexUnlock", 1, EAGAIN))
    with pytest.raises(WrtError, match="EAGAIN"):
        lock.unlock()
    lock.unlock()
    lock.close()


def test_neither_wait_nor_wake_takes_anything_from_the_kernel() -> None:
    futex = QnxFutexBuilder().with_maximum_waiters(4).build()
    before = census()
    for _ in range(5):
        waiter = threading.Thread(
            target=lambda: lib.wrt_futex_wait(futex._interface, 0, FOREVER, ffi.NULL)
        )
        waiter.start()
        check(lib.wrt_sim_qnx_wait_blocked(1, 5000))
        futex.wake_one()
        waiter.join(5)
        assert census() == before
    futex.close()
    assert census() == {}


def test_errors_have_qnx_names() -> None:
    check(lib.wrt_sim_qnx_fail_at(b"ChannelCreatePulsePool", 1, ETIMEDOUT))
    with pytest.raises(WrtError, match="ETIMEDOUT") as caught:
        QnxFutexBuilder().build()
    assert caught.value.os_code == ETIMEDOUT
