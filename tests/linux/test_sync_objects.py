"""What is made of Linux's futexes: semaphores, mutexes, conditions, waits for several; between
threads and between processes, and in each environment."""

from __future__ import annotations

import mmap
import os
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from forked import LONG, Child, until
from support.environments import ENVIRONMENTS, say_in
from wrt_platform import CancelToken, LinuxFutexBuilder
from wrt_platform.errors import (
    InterruptedCallError,
    InvalidArgumentError,
    LimitError,
    StateError,
    TimedOutError,
)
from wrt_platform.linux.sync import SHARED_SIZE
from wrt_platform.linux.sync_objects import (
    LinuxCondition,
    LinuxMutex,
    LinuxSemaphore,
    benchmark_futex_strategies,
    wait_any,
    wait_any_reason,
)

ROUNDS = int(os.environ.get("WRT_STRESS_ROUNDS", "20000"))

pytestmark = pytest.mark.row("LS-2")


# ---- Semaphores ----


def test_a_semaphore_counts() -> None:
    semaphore = LinuxSemaphore(LinuxFutexBuilder().with_initial_value(2))
    semaphore.acquire()
    assert semaphore.try_acquire() and not semaphore.try_acquire()
    with pytest.raises(TimedOutError):
        semaphore.acquire(0.01)
    semaphore.release(3)
    assert semaphore.value == 3
    with semaphore:
        assert semaphore.value == 2
    assert semaphore.value == 3
    semaphore.close()
    semaphore.close()
    with pytest.raises(StateError):
        semaphore.acquire()


def test_a_semaphore_neither_wraps_nor_counts_nothing() -> None:
    """A fetch_add would go round."""
    semaphore = LinuxSemaphore(LinuxFutexBuilder().with_initial_value(2**31 - 1))
    with pytest.raises(LimitError):
        semaphore.release()
    assert semaphore.value == 2**31 - 1
    with pytest.raises(InvalidArgumentError):
        semaphore.release(0)
    with pytest.raises(InvalidArgumentError):
        LinuxSemaphore(LinuxFutexBuilder().with_initial_value(2**31))


def test_release_calls_the_system_for_waiters_only() -> None:
    semaphore = LinuxSemaphore()
    semaphore.release(5)
    assert semaphore._raw.futex.wake_calls == 0
    for _ in range(5):
        semaphore.acquire()
    threads = [threading.Thread(target=semaphore.acquire, args=(LONG,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    until(lambda: semaphore._raw.futex.waiting == 3)
    semaphore.release(3)
    for thread in threads:
        thread.join(LONG)
    assert semaphore.value == 0 and semaphore._raw.futex.wake_calls == 1


def test_two_processes_count_on_one_semaphore(shared: mmap.mmap) -> None:
    def make(at: int) -> LinuxSemaphore:
        part = memoryview(shared)[at : at + SHARED_SIZE]
        return LinuxSemaphore(LinuxFutexBuilder().with_shared().with_memory(part))

    to, fro = make(0), make(SHARED_SIZE)

    def work() -> None:
        theirs, ours = make(0), make(SHARED_SIZE)
        for _ in range(1000):
            theirs.acquire(LONG)
            ours.release()

    child = Child(work)
    for _ in range(1000):
        to.release()
        fro.acquire(LONG)
    child.join()
    assert (to.value, fro.value) == (0, 0)
    to.close()
    fro.close()


# ---- Mutexes ----

INHERITS = pytest.mark.parametrize("inherits", [False, True])


def mutex_of(inherits: bool, **settings: Any) -> LinuxMutex:
    builder = LinuxFutexBuilder().with_priority_inheritance(inherits)
    for name, value in settings.items():
        getattr(builder, f"with_{name}")(value)
    return LinuxMutex(builder)


@INHERITS
def test_a_mutex_refuses_misuse(inherits: bool) -> None:
    mutex = mutex_of(inherits)
    with mutex:
        for wrong in (mutex.lock, mutex.close):
            with pytest.raises(StateError, match="hold"):
                wrong()
        other = threading.Thread(target=lambda: results.append(refused(mutex.unlock)))
        results: list[bool] = []
        other.start()
        other.join()
        assert results == [True]
    with pytest.raises(StateError, match="does not hold"):
        mutex.unlock()
    mutex.close()


def refused(call: Callable[[], object]) -> bool:
    try:
        call()
    except StateError:
        return True
    return False


@INHERITS
def test_a_mutex_is_waited_for_and_given_on(inherits: bool) -> None:
    mutex, order = mutex_of(inherits), list[str]()

    def work() -> None:
        with mutex:
            order.append("second")

    with mutex:
        thread = threading.Thread(target=work)
        thread.start()
        time.sleep(0.08)
        order.append("first")
    thread.join(LONG)
    assert order == ["first", "second"]
    mutex.close()


@INHERITS
def test_a_mutex_of_two_processes(shared: mmap.mmap, inherits: bool) -> None:
    def count() -> None:
        mutex = mutex_of(inherits, shared=True, memory=shared)
        for _ in range(2000):
            with mutex:
                at = memoryview(shared)[1024:1032].cast("Q")
                at[0] += 1

    child = Child(count)
    count()
    child.join()
    assert memoryview(shared)[1024:1032].cast("Q")[0] == 4000


def test_an_owner_that_ended_is_noticed_with_inheritance(shared: mmap.mmap) -> None:
    Child(lambda: mutex_of(True, shared=True, memory=shared).lock()).join()
    with pytest.raises(StateError, match="owner ended"):
        mutex_of(True, shared=True, memory=shared).lock(LONG)


# ---- Conditions ----


def test_a_condition_wakes_who_waits() -> None:
    mutex, condition, items, got = LinuxMutex(), LinuxCondition(), list[int](), list[int]()

    def work() -> None:
        for _ in range(50):
            with mutex:
                condition.wait_for(mutex, lambda: bool(items), LONG)
                got.append(items.pop(0))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(150):
        with mutex:
            items.append(number)
        condition.signal()
    for thread in threads:
        thread.join(LONG)
    assert sorted(got) == list(range(150))
    with mutex, pytest.raises(TimedOutError):
        condition.wait_for(mutex, lambda: False, 0.02)
    mutex.close()
    with pytest.raises(StateError):
        condition.wait(mutex, 1)
    condition.close()


def test_a_condition_takes_the_mutex_again_however_it_ends() -> None:
    mutex, condition, token = LinuxMutex(), LinuxCondition(), CancelToken()
    with pytest.raises(StateError, match="does not hold"):
        condition.wait(mutex, 0)
    token.request()
    with mutex:
        with pytest.raises(TimedOutError):
            condition.wait(mutex, 0.01)
        with pytest.raises(InterruptedCallError):
            condition.wait(mutex, cancel=token)
        with pytest.raises(StateError, match="holds the mutex"):
            mutex.lock()
    shared = LinuxCondition(LinuxFutexBuilder().with_shared())
    with mutex, pytest.raises(InvalidArgumentError):
        shared.wait(mutex, 0)


# ---- Several futexes ----


def test_a_wait_on_several_says_which() -> None:
    futexes = [LinuxFutexBuilder().with_shared(i == 2).build() for i in range(4)]
    for which in (0, 2, 3):
        answers: list[int] = []
        waits = [(futex, futex.load()) for futex in futexes]
        thread = threading.Thread(target=lambda: answers.append(wait_any(waits, LONG)))  # noqa: B023
        thread.start()
        time.sleep(0.03)
        futexes[which].fetch_add(1)
        assert futexes[which].wake_all() <= 1
        thread.join(LONG)
        assert answers == [which]
    assert wait_any([(futexes[1], 0), (futexes[0], 7)], LONG) == 1
    with pytest.raises(TimedOutError):
        wait_any([(futexes[1], 0)], 0.05)
    for wrong in ([], [(futexes[1], 0)] * 129):
        with pytest.raises(InvalidArgumentError, match="1 to 128"):
            wait_any(wrong, 0)
    threading.Timer(0.05, futexes[1].close).start()
    with pytest.raises(StateError, match="initialised"):
        wait_any([(futexes[1], 0), (futexes[2], 1)], LONG)


# ---- Elsewhere ----

IMPORTS = """
import threading, time
from wrt_platform import LinuxFutexBuilder
from wrt_platform.linux.sync_objects import *
"""

EVERYWHERE = """
futexes = [LinuxFutexBuilder().build() for _ in range(3)]
def change():
    time.sleep(0.05)
    futexes[2].store(1)
    futexes[2].wake_all()
threading.Thread(target=change).start()
print(wait_any([(each, 0) for each in futexes], 10))
print("kernel" if wait_any_reason()[0] else "looks")
mutex = LinuxMutex(LinuxFutexBuilder().with_priority_inheritance())
holder = threading.Thread(target=mutex.lock)
holder.start(); holder.join()
other = LinuxMutex(LinuxFutexBuilder().with_priority_inheritance())
def hold():
    with other: time.sleep(0.3)
thread = threading.Thread(target=hold); thread.start(); time.sleep(0.05)
try: other.lock(0.1)
except Exception as error: print(type(error).__name__)
other.lock(10); other.unlock(); print("locked")
print(len(benchmark_futex_strategies(1000)))
"""


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_it_works_in_each_environment(environment: str) -> None:
    said = say_in(environment, EVERYWHERE, before=IMPORTS)
    assert said[0] == "2"
    assert said[1] in (("looks",) if environment == "old kernel" else ("kernel", "looks"))
    assert said[2:] == ["TimedOutError", "locked", "10"]


def test_the_kernel_here_is_asked_itself() -> None:
    has_it, reason = wait_any_reason()
    release = tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2])
    if release >= (5, 16):
        assert has_it and reason == "futex_waitv"


# ---- Figures ----


def test_strategies_are_measured_side_by_side() -> None:
    table = benchmark_futex_strategies(20_000)
    assert len(table) == 10 and len({row.name for row in table}) == 10
    assert all(row.ns_per_operation > 1 for row in table)
    assert table["mutex"].wait_calls == 0
    assert table["hand-over, wait at once"].operations == 201
    spinning, waiting = table["hand-over, spin then wait"], table["hand-over, wait at once"]
    assert spinning.wait_calls is not None and waiting.wait_calls is not None
    assert str(table).count("\n") == 10
    assert table._repr_html_().count("<tr>") == 11
    with pytest.raises(InvalidArgumentError):
        benchmark_futex_strategies(0)
