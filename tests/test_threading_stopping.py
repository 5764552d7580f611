"""How the work of thread pools stops: cancelled, given up, shut down, and left by an exit."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from patience import PATIENCE, wait_until
from pool_guests import (
    CONSTANT,
    GUEST,
    HOST,
    I32,
    SPIN,
    Gate,
    LateSystem,
    call,
    functions_of,
    instance_with,
)
from support.guest import assemble
from thread_backends import BACKENDS, Backend
from wrt_platform import InterruptedCallError, StateError, TimedOutError
from wrt_platform.threading import TaskHandle, TaskState, ThreadPool, ThreadPoolConfig, WorkerState


@pytest.fixture(params=list(BACKENDS))
def backend(request: pytest.FixtureRequest) -> Backend:
    return BACKENDS[request.param]


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.opened.set()


def wait_until_running(handle: TaskHandle) -> None:
    wait_until(lambda: handle.report.state is TaskState.RUNNING)


@pytest.mark.row("TH-2")
def test_cancel_stops_a_loop_and_never_the_next_task(backend: Backend) -> None:
    with backend.pool(ThreadPoolConfig(2), functions_of(instance_with())) as pool:
        for round_number in range(100):
            loop, after = pool.submit_many([call(SPIN), call(I32, round_number, 1)])
            if round_number % 2:
                wait_until_running(loop)
            assert loop.cancel()
            assert after.result(PATIENCE) == round_number - 1
            with pytest.raises(InterruptedCallError):
                loop.result(PATIENCE)


@pytest.mark.row("TH-2")
def test_cancel_that_comes_in_a_tasks_last_moment_does_not_hit_the_next() -> None:
    """It comes when the call is over and the worker reads the clock, the instance still bound."""
    handles: list[TaskHandle] = []
    begin = threading.Event()
    cancelled: list[bool] = []
    system = LateSystem()

    def at_clock(reads: int) -> None:
        assert begin.wait(PATIENCE)
        if reads == 2:
            cancelled.append(handles[0].cancel())

    system.at_clock = at_clock
    config = ThreadPoolConfig(1).with_system(system)
    with ThreadPool(config, functions_of(instance_with())) as pool:
        handles += pool.submit_many([call(I32, 3, 1), call(I32, 9, 4)])
        begin.set()
        assert handles[1].result(PATIENCE) == 5
        assert handles[0].result(PATIENCE) == 2
    assert cancelled == [True]


@pytest.mark.row("TH-2")
def test_cancelled_task_in_the_queue_does_not_begin(backend: Backend, gate: Gate) -> None:
    functions = functions_of(instance_with(gate))
    with backend.pool(ThreadPoolConfig(2), functions) as pool:
        held = pool.submit(call(HOST, 0))
        gate.wait_until_held()
        waiting = pool.submit(call(HOST, 1))  # for the instance
        wait_until(lambda: waiting.report.state is TaskState.WAITING)
        assert waiting.cancel()
        assert isinstance(waiting.join(PATIENCE).error, InterruptedCallError)
        gate.opened.set()
        held.result(PATIENCE)
        assert pool.report.cancelled == 1
    assert gate.seen == [0]


@pytest.mark.row("TH-1")
def test_worker_that_does_not_come_back_is_given_up_and_replaced(
    backend: Backend, gate: Gate
) -> None:
    functions = functions_of(instance_with(gate)) | functions_of(instance_with(), 100)
    pool = backend.pool(ThreadPoolConfig(1, spare_threads=1), functions)
    stuck = pool.submit(call(HOST, 0))
    gate.wait_until_held()
    with pytest.raises(StateError, match="was not cancelled"):
        stuck.give_up()
    stuck.cancel()
    assert stuck.give_up()
    assert stuck.report.state is TaskState.LOST
    with pytest.raises(StateError, match="was given up"):
        stuck.join(0)
    assert pool.submit(call(100 + I32, 3, 1)).result(PATIENCE) == 2
    same = pool.submit(call(I32, 3, 1)).join(PATIENCE)
    assert isinstance(same.error, StateError)  # its instance is still in use out there
    assert (pool.report.lost, pool.report.threads, pool.report.spare) == (1, 1, 0)
    pool.shutdown(timeout=PATIENCE)
    with pytest.raises(StateError, match="1 threads that were given up"):
        pool.close()
    gate.opened.set()
    wait_until(lambda: pool.report.lost == 0)
    assert isinstance(stuck.join(PATIENCE).error, InterruptedCallError)
    assert pool.report.returned == 1
    pool.close()


@pytest.mark.row("TH-1")
def test_shutdown_drains_or_cancels_within_its_time(backend: Backend, gate: Gate) -> None:
    pool = backend.pool(ThreadPoolConfig(1), functions_of(instance_with(gate)))
    handles = [pool.submit(call(HOST, 0))]
    gate.wait_until_held()
    handles += pool.submit_many([call(I32, number, 1) for number in range(5)])
    with pytest.raises(TimedOutError, match="1 workers are still in a task"):
        pool.shutdown(timeout=0.02)
    with pytest.raises(StateError, match="shuts down"):
        pool.submit(call(CONSTANT))
    gate.opened.set()
    pool.shutdown(timeout=PATIENCE)
    assert [handle.result(0) for handle in handles] == [0, -1, 0, 1, 2, 3]
    pool.close()

    pool = backend.pool(ThreadPoolConfig(1), functions_of(instance_with()))
    loop = pool.submit(call(SPIN))
    behind = pool.submit_many([call(I32, number, 1) for number in range(5)])
    wait_until_running(loop)
    pool.shutdown(cancel=True, timeout=PATIENCE)
    for handle in (loop, *behind):
        assert isinstance(handle.join(0).error, InterruptedCallError)
    pool.close()
    pool.close()  # twice is harmless


@pytest.mark.row("TH-1")
def test_workers_end_with_the_pool() -> None:
    before = len(os.listdir("/proc/self/task"))
    with BACKENDS["linux"].pool(ThreadPoolConfig(8)) as pool:
        assert len(os.listdir("/proc/self/task")) == before + 8
        assert [worker.state for worker in pool.workers] == [WorkerState.IDLE] * 8
    wait_until(lambda: len(os.listdir("/proc/self/task")) == before)


@pytest.mark.row("TH-1")
def test_pool_is_used_from_many_threads(backend: Backend) -> None:
    functions: dict[int, Any] = {}
    for number in range(3):
        functions |= functions_of(instance_with(), 100 * number)
    failures: list[BaseException] = []

    def work(first: int) -> None:
        try:
            for turn in range(30):
                rows = [(turn, number) for number in range(8)]
                assert pool.map(first + I32, rows) == [turn - number for number in range(8)]
        except BaseException as error:
            failures.append(error)

    with backend.pool(ThreadPoolConfig(3), functions) as pool:
        threads = [threading.Thread(target=work, args=(100 * (n % 3),)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert failures == []
        assert pool.report.finished == 6 * 30 * 8


AT_EXIT = """
import threading, time
from wrt_platform import Instance
from wrt_platform.threading import LinuxThreadPool, ThreadPoolConfig, WasmTask
content = bytes.fromhex("{content}")
instances = [Instance(content, {{"host": {{"call": lambda value: time.sleep(value) or 0}}}})
             for _ in range(2)]
pool = LinuxThreadPool(ThreadPoolConfig(2), {{0: instances[0].exports.spin,
                                            1: instances[1].exports.host}})
handles = [pool.submit(WasmTask(function_id=0)),
           pool.submit(WasmTask(function_id=1, args=[{sleep}]))]
while pool.report.running != 2:
    time.sleep(0.001)
print("leaving", flush=True)
"""


@pytest.mark.row("TH-1")
@pytest.mark.parametrize("sleep", [0, 60])
def test_exit_of_python_while_tasks_run(sleep: int) -> None:
    """A loop, and a Python function that comes back soon, or does not."""
    program = AT_EXIT.format(content=assemble(GUEST).hex(), sleep=sleep)
    if sleep == 0:
        program = program.replace("!= 2", "!= 1")
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", program],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "leaving\n", "")
    assert time.monotonic() - began < 10
