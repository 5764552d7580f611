"""What all locks have in common, over each backend: misuse, time-outs, owners that die."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sync_backends import BACKENDS, Backend
from wrt_platform import CancelToken, LockProtocol, ThreadBuilder
from wrt_platform.errors import (
    InterruptedCallError,
    InvalidArgumentError,
    StateError,
    TimedOutError,
    UnsupportedError,
)

SLACK = 0.15  # seconds, of a busy machine

pytestmark = pytest.mark.row("SY-4")


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    return BACKENDS[request.param]


@pytest.fixture(params=[LockProtocol.NONE, LockProtocol.INHERIT])
def lock(request: pytest.FixtureRequest, backend: Backend) -> Iterator[Any]:
    lock = backend.lock().with_protocol(request.param).build()
    yield lock
    lock.close()


def in_another_thread(backend: Backend, call: Callable[[], Any]) -> Any:
    """What it returns, or raises, in a thread of the system that has ended, to its last breath."""
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(call())
        except Exception as error:
            found.append(error)

    system = backend.system().build()
    ThreadBuilder().with_entry(run).build(system).join(5)
    system.close()
    return found[0]


def test_what_is_held_is_refused_to_its_owner(lock: Any) -> None:
    with lock:
        for call in (lock.lock, lock.try_lock):
            with pytest.raises(StateError, match="holds the lock already"):
                call()
    assert lock.try_lock()
    lock.unlock()


def test_only_the_owner_gives_it_back(backend: Backend, lock: Any) -> None:
    with pytest.raises(StateError, match="does not hold"):
        lock.unlock()
    with lock:
        assert isinstance(in_another_thread(backend, lock.unlock), StateError)
        assert in_another_thread(backend, lock.try_lock) is False


def test_what_is_held_can_not_be_closed(backend: Backend, lock: Any) -> None:
    with lock:
        with pytest.raises(StateError, match="holds the lock"):
            lock.close()
        assert isinstance(in_another_thread(backend, lock.close), StateError)


def test_a_wait_ends_by_time_and_by_token(backend: Backend, lock: Any) -> None:
    token = CancelToken()

    def timed(**limits: Any) -> tuple[type, float]:
        start = time.monotonic()
        result = in_another_thread(backend, lambda: lock.lock(**limits))
        return type(result), time.monotonic() - start

    with lock:
        kind, seconds = timed(timeout=0.12)
        assert kind is TimedOutError and 0.12 <= seconds < 0.12 + SLACK
        kind, seconds = timed(timeout=0.07, cancel=token)
        assert kind is TimedOutError and 0.07 <= seconds < 0.07 + SLACK
        threading.Timer(0.05, token.request).start()
        kind, seconds = timed(cancel=token)
        assert kind is InterruptedCallError and seconds < 0.07 + SLACK


def test_a_waiter_gets_it_when_it_is_given_back(backend: Backend, lock: Any) -> None:
    lock.lock()
    threads = []

    def take() -> None:
        lock.lock(timeout=5)
        threads.append(threading.get_ident())
        lock.unlock()

    waiters = [threading.Thread(target=take) for _ in range(3)]
    for waiter in waiters:
        waiter.start()
    time.sleep(0.03)
    assert not threads
    lock.unlock()
    for waiter in waiters:
        waiter.join(5)
    assert len(threads) == 3


@pytest.mark.parametrize("protocol", [LockProtocol.NONE, LockProtocol.INHERIT])
def test_an_owner_that_dies_is_noticed_and_the_lock_recovers(
    backend: Backend, protocol: LockProtocol
) -> None:
    lock = backend.lock().with_protocol(protocol).with_robust().build()
    assert in_another_thread(backend, lock.lock) is None
    lock.lock(timeout=5)
    assert lock.owner_died
    assert isinstance(in_another_thread(backend, lock.recover), StateError)
    lock.recover()
    lock.unlock()
    with lock:
        assert not lock.owner_died
        with pytest.raises(StateError, match="no owner"):
            lock.recover()
    lock.close()


@pytest.mark.parametrize("protocol", [LockProtocol.NONE, LockProtocol.INHERIT])
def test_what_was_not_recovered_refuses_everybody(backend: Backend, protocol: LockProtocol) -> None:
    lock = backend.lock().with_protocol(protocol).with_robust().build()
    in_another_thread(backend, lock.lock)
    assert lock.try_lock() and lock.owner_died
    lock.unlock()
    for call in (lock.lock, lock.try_lock, lambda: lock.lock(timeout=0.05)):
        with pytest.raises(StateError, match="recover"):
            call()
    lock.close()


def test_an_owner_that_dies_while_somebody_waits_wakes_him(backend: Backend) -> None:
    lock = backend.lock().with_robust().build()
    holds, ends = threading.Event(), threading.Event()

    def die() -> None:
        lock.lock()
        holds.set()
        ends.wait(5)

    system = backend.system().build()
    owner = ThreadBuilder().with_entry(die).build(system)
    holds.wait(5)
    threading.Timer(0.05, ends.set).start()
    lock.lock(timeout=5)
    assert lock.owner_died
    lock.recover()
    lock.unlock()
    owner.join(5)
    system.close()
    lock.close()


@pytest.mark.parametrize(("protocol", "ceiling"), [(LockProtocol.CEILING, 0), (9, 0)])
def test_settings_that_contradict_are_refused(
    backend: Backend, protocol: int, ceiling: int
) -> None:
    with pytest.raises(InvalidArgumentError):
        backend.lock().with_protocol(protocol).with_ceiling(ceiling).build()
    with pytest.raises(InvalidArgumentError, match="ceiling"):
        backend.lock().with_ceiling(20).build()
    with pytest.raises(InvalidArgumentError, match="ceiling"):
        backend.lock().with_protocol(LockProtocol.CEILING).with_ceiling(1000).build()


def test_linux_has_no_robust_ceiling() -> None:
    builder = BACKENDS["linux"].lock().with_protocol(LockProtocol.CEILING).with_ceiling(20)
    with pytest.raises(UnsupportedError, match="ceiling"):
        builder.with_robust().build()


def test_a_ceiling_is_for_those_that_are_not_above_it() -> None:
    system = BACKENDS["qnx"].system().with_realtime_priority(30).build()
    lock = BACKENDS["qnx"].lock().with_protocol(LockProtocol.CEILING).with_ceiling(20).build()
    found: list[Any] = []

    def take() -> None:
        system.set_priority(4)
        try:
            lock.lock()
        except InvalidArgumentError as error:
            found.append(str(error))

    ThreadBuilder().with_entry(take).build(system).join(5)
    assert found and "ceiling" in found[0]
    lock.close()
    system.close()
