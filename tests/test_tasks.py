"""Plain tasks in Python: what a function returns, raises, and is told; order, CPUs, refusals."""

from __future__ import annotations

import gc
import os
import threading
import time
import weakref
from typing import Any

import pytest
from patience import PATIENCE, wait_until
from thread_backends import BACKENDS, Backend
from wrt_platform import (
    BusyError,
    CancelToken,
    CpuSet,
    InterruptedCallError,
    InvalidArgumentError,
    StateError,
    TaskBuilder,
    ThreadPool,
    ThreadPoolConfig,
    ThreadPriority,
    TimedOutError,
)
from wrt_platform.threading import TaskState

pytestmark = pytest.mark.row("TH-1")


@pytest.fixture(params=list(BACKENDS))
def backend(request: pytest.FixtureRequest) -> Backend:
    return BACKENDS[request.param]


class Held:
    """A task that holds its worker until it is let go."""

    def __init__(self, pool: ThreadPool) -> None:
        self.entered, self.let_go = threading.Event(), threading.Event()
        self.task = TaskBuilder(self._run).submit(pool)
        assert self.entered.wait(PATIENCE)

    def _run(self, _: CancelToken) -> bool:
        self.entered.set()
        return self.let_go.wait(PATIENCE)


def test_what_the_function_returns_or_raises_comes_out_as_often_as_asked(backend: Backend) -> None:
    failure = ValueError("no")

    def fail(_: CancelToken) -> None:
        raise failure

    with backend.pool(ThreadPoolConfig(2)) as pool:
        good = TaskBuilder(lambda _: threading.get_native_id()).submit(pool)
        bad = TaskBuilder(fail).submit(pool)
        workers = {worker.thread.system_id for worker in pool.workers if worker.thread is not None}
        for _ in range(2):
            assert good.result(PATIENCE) != threading.get_native_id()
            with pytest.raises(ValueError, match="no") as caught:
                bad.result(PATIENCE)
            assert caught.value is failure
        if backend is BACKENDS["linux"]:
            assert good.result() in workers
        assert good.done and good.state is TaskState.DONE
        assert not good.cancel()


def test_every_thread_that_waits_gets_the_same(backend: Backend) -> None:
    found: list[Any] = []
    thing = object()
    with backend.pool(ThreadPoolConfig(1)) as pool:
        held = Held(pool)
        task = TaskBuilder(lambda _: thing).submit(pool)
        with pytest.raises(TimedOutError):
            task.result(0.02)
        waiters = [
            threading.Thread(target=lambda: found.append(task.result(PATIENCE))) for _ in range(4)
        ]
        for waiter in waiters:
            waiter.start()
        held.let_go.set()
        for waiter in waiters:
            waiter.join(PATIENCE)
    assert found == [thing] * 4


def test_most_urgent_goes_first_and_a_full_queue_refuses(backend: Backend) -> None:
    order: list[str] = []
    builder = TaskBuilder()
    with backend.pool(ThreadPoolConfig(1, queue_capacity=2)) as pool:
        held = Held(pool)
        tasks = [
            builder.with_run(lambda _, word=word: order.append(word))  # type: ignore[misc]
            .with_priority(priority)
            .submit(pool)
            for word, priority in (
                ("low", ThreadPriority.LOW),
                ("normal", ThreadPriority.NORMAL),
                ("high", ThreadPriority.HIGH),
                ("second", ThreadPriority.HIGH),
            )
        ]
        with pytest.raises(BusyError, match="queue of priority 3 is full"):
            builder.submit(pool)
        held.let_go.set()
        for task in tasks:
            task.result(PATIENCE)
    assert order == ["high", "second", "normal", "low"]


def test_task_runs_on_its_cpus() -> None:
    cpu = min(os.sched_getaffinity(0))
    with BACKENDS["linux"].pool(ThreadPoolConfig(1)) as pool:
        seen = TaskBuilder(lambda _: os.sched_getaffinity(0)).with_cpu_affinity(CpuSet(cpu))
        assert seen.submit(pool).result(PATIENCE) == {cpu}


def test_cancelled_task_does_not_begin_or_is_told(backend: Backend) -> None:
    began: list[bool] = []
    entered = threading.Event()

    def sleep(cancel: CancelToken) -> None:
        began.append(cancel.is_requested)
        entered.set()
        cancel.sleep(PATIENCE)

    with backend.pool(ThreadPoolConfig(1)) as pool:
        sleeping = TaskBuilder(sleep).submit(pool)
        assert entered.wait(PATIENCE)
        waiting = TaskBuilder(sleep).submit(pool)
        assert waiting.cancel()
        begin = time.monotonic()
        assert sleeping.cancel()
        for task in (sleeping, waiting):
            with pytest.raises(InterruptedCallError):
                task.result(PATIENCE)
        assert time.monotonic() - begin < PATIENCE / 2
        assert pool.report.cancelled == 1
    assert began == [False]


def test_what_is_refused(backend: Backend) -> None:
    with pytest.raises(InvalidArgumentError, match="there is no run"):
        TaskBuilder().submit(ThreadPool.__new__(ThreadPool))
    pool = backend.pool(ThreadPoolConfig(1))
    with pytest.raises(InvalidArgumentError, match="priority_range ends at 3"):
        TaskBuilder(print).with_priority(ThreadPriority.REALTIME).submit(pool)
    pool.shutdown(timeout=PATIENCE)
    with pytest.raises(StateError, match="shuts down"):
        TaskBuilder(print).submit(pool)
    assert pool.report.submitted == 0
    pool.close()


def test_tasks_that_nobody_keeps_run_and_are_let_go_of(backend: Backend) -> None:
    class Thing:
        pass

    ran: list[int] = []
    with backend.pool(ThreadPoolConfig(2)) as pool:
        thing = Thing()
        gone = weakref.ref(thing)
        TaskBuilder(lambda _, kept=thing: ran.append(0)).submit(pool)  # type: ignore[misc]
        del thing
        for number in range(1, 300):
            TaskBuilder(lambda _, number=number: ran.append(number)).submit(pool)  # type: ignore[misc]
            if number % 50 == 0:
                wait_until_finished(pool, number + 1)
        wait_until_finished(pool, 300)
        gc.collect()
        assert sorted(ran) == list(range(300))
        assert gone() is None
        assert len(pool._batches) < 150  # never more than 50 were on their way


def wait_until_finished(pool: ThreadPool, count: int) -> None:
    wait_until(lambda: pool.report.finished == count)
