"""Thread pools: what a task returns, in which order tasks run, what is refused, and what stops."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from common import ROOT, run
from support.guest import assemble
from thread_backends import BACKENDS, Backend
from wrt_platform import (
    BusyError,
    HostError,
    Instance,
    InterruptedCallError,
    InvalidArgumentError,
    Module,
    NotFoundError,
    StateError,
    TimedOutError,
    TrapError,
)
from wrt_platform._native import ffi
from wrt_platform.errors import OutOfFuelError, OutOfMemoryError
from wrt_platform.executor import InstanceExecutor, ModuleExecutor
from wrt_platform.linux.memory import LinuxAllocatorBuilder
from wrt_platform.page_allocator import PAGE_SIZE
from wrt_platform.system_below import system_interface
from wrt_platform.thread_system import CpuSet, ThreadPriority
from wrt_platform.threading import (
    TaskHandle,
    TaskState,
    ThreadPool,
    ThreadPoolConfig,
    WasmTask,
    WorkerState,
)
from wrt_platform.values import FunctionType

PATIENCE = 20  # seconds after which a test has failed

GUEST = """(module
  (import "host" "call" (func $call (param i32) (result i32)))
  (func (export "i32") (param i32 i32) (result i32) (i32.sub (local.get 0) (local.get 1)))
  (func (export "i64") (param i64) (result i64) (i64.mul (local.get 0) (i64.const 3)))
  (func (export "f32") (param f32) (result f32) (f32.neg (local.get 0)))
  (func (export "f64") (param f64 f64) (result f64) (f64.div (local.get 0) (local.get 1)))
  (func (export "none") (param i32))
  (func (export "two") (param i32 i64) (result i64 i32) (local.get 1) (local.get 0))
  (func (export "reference") (param externref) (result externref) (local.get 0))
  (func (export "constant") (result f64) (f64.const 0.5))
  (func (export "host") (param i32) (result i32) (call $call (local.get 0)))
  (func (export "trap") (param i32) (result i32) (i32.div_s (local.get 0) (i32.const 0)))
  (func (export "spin") (loop (br 0))))"""
NAMES = [
    *("i32", "i64", "f32", "f64", "none", "two"),
    *("reference", "constant", "host", "trap", "spin"),
]
I32, I64, F32, F64, NONE, TWO, REFERENCE, CONSTANT, HOST, TRAP, SPIN = range(len(NAMES))


@pytest.fixture(params=list(BACKENDS))
def backend(request: pytest.FixtureRequest) -> Backend:
    return BACKENDS[request.param]


def instance_with(host: Any = abs) -> Instance:
    return Instance(assemble(GUEST), {"host": {"call": lambda value: host(value)}})


def functions_of(instance: Instance, first: int = 0) -> dict[int, Any]:
    return {first + place: instance.exports[name] for place, name in enumerate(NAMES)}


class Gate:
    """A host function that holds its worker until it is opened, and notes who came by."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.opened = threading.Event()
        self.seen: list[int] = []

    def __call__(self, number: int) -> int:
        self.seen.append(number)
        if number == 0:
            self.entered.release()
            assert self.opened.wait(PATIENCE)
        return number

    def wait_until_held(self) -> None:
        assert self.entered.acquire(timeout=PATIENCE)


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.opened.set()


class LateSystem:
    """The system's threads; each time that a worker reads its CPU clock, `at_clock` is told."""

    def __init__(self) -> None:
        self.reads = 0
        self.at_clock: Any = None
        self._inner = system_interface()
        self._ops = ffi.new("wrt_thread_system_ops *", self._inner.ops[0])
        self._callback = ffi.callback("wrt_thread_cpu_time_fn", self._cpu_time)
        self._ops.cpu_time = self._callback
        self._interface = ffi.new("wrt_thread_system *", {"ops": self._ops})[0]
        self._interface.self = self._inner.self

    def _cpu_time(self, inner: Any, thread: Any, time_out: Any) -> int:
        self.reads += 1
        self.at_clock(self.reads)
        return int(self._inner.ops.cpu_time(inner, thread, time_out))


def call(function_id: int, *args: Any, **settings: Any) -> WasmTask:
    return WasmTask(function_id=function_id, args=args, **settings)


# Results.


@pytest.mark.row("TH-2")
def test_eight_functions_of_eight_types_return_their_results(backend: Backend) -> None:
    thing = object()
    calls = [
        call(I32, 2, 5),
        call(I64, -(2**40)),
        call(F32, 1.5),
        call(F64, 1.0, 8.0),
        call(NONE, 7),
        call(TWO, 6, 2**50),
        call(REFERENCE, thing),
        call(CONSTANT),
    ]
    with backend.pool(ThreadPoolConfig(3), functions_of(instance_with())) as pool:
        handles = pool.submit_many(calls)
        results = [handle.result(PATIENCE) for handle in handles]
    assert results == [-3, -3 * 2**40, -1.5, 0.125, None, (2**50, 6), thing, 0.5]


@pytest.mark.row("TH-2")
def test_trap_comes_back_at_join_with_its_place(backend: Backend) -> None:
    content = assemble(GUEST)
    with backend.pool(ThreadPoolConfig(1), functions_of(instance_with())) as pool:
        outcome = pool.spawn_wasm_thread(call(TRAP, 1, id=7)).join(PATIENCE)
        assert pool.submit(call(I32, 1, 1)).result(PATIENCE) == 0
    error = outcome.error
    assert isinstance(error, TrapError)
    assert outcome.id == 7
    assert error.reason == "integer divide by zero"
    assert error.function == "trap"
    assert error.offset is not None
    assert content[error.offset] == 0x6D  # i32.div_s


@pytest.mark.row("TH-2")
def test_outcome_is_told_as_often_as_it_is_asked(backend: Backend) -> None:
    with backend.pool(ThreadPoolConfig(1), functions_of(instance_with())) as pool:
        handle = pool.submit(call(I32, 3, 1))
        assert handle.join(PATIENCE) == handle.join()
        assert handle.report.state is TaskState.DONE
        assert not handle.cancel()


@pytest.mark.row("TH-2")
def test_map_hands_over_more_than_the_queue_holds(backend: Backend) -> None:
    config = ThreadPoolConfig(2, queue_capacity=16)
    with backend.pool(config, functions_of(instance_with())) as pool:
        rows = [(number, 1) for number in range(100)]
        assert pool.map(I32, rows) == [number - 1 for number in range(100)]
        assert pool.report.finished == pool.report.submitted == 100


@pytest.mark.row("TH-2")
@pytest.mark.parametrize(
    ("function", "rows"),
    [
        (I32, [(2**32 - 1, 1), (-(2**31), 0), (True, 2)]),
        (I64, [(2**64 - 1,), (-(2**61),)]),
        (F32, [(0.1,), (3,)]),
        (F64, [(1, 8), (-0.0, 5.0), (2.0**1000, 4)]),
        (TWO, [(-6, 2**50), (6, -1)]),
        (NONE, [(1,), (2,)]),
        (CONSTANT, [(), ()]),
        (REFERENCE, [("text",), (None,)]),
    ],
)
def test_map_returns_what_single_calls_return(
    backend: Backend, function: int, rows: list[tuple[Any, ...]]
) -> None:
    instance = instance_with()
    with backend.pool(ThreadPoolConfig(2), functions_of(instance)) as pool:
        together = pool.map(function, rows)
    assert repr(together) == repr([instance.call(NAMES[function], *row) for row in rows])


@pytest.mark.row("TH-2")
def test_map_refuses_values_of_another_type_and_runs_nothing(backend: Backend) -> None:
    with backend.pool(ThreadPoolConfig(1), functions_of(instance_with())) as pool:
        with pytest.raises(TypeError, match="argument 2: an i32 is an int, not float"):
            pool.map(I32, [(1, 2), (1, 2.0)])
        with pytest.raises(InvalidArgumentError, match=r"argument 1: .* does not fit an i64"):
            pool.map(I64, [(2**64,)])
        with pytest.raises(TypeError, match="argument 1: a float is a number, not str"):
            pool.map(F64, [("1.0", 2.0)])
        with pytest.raises(TypeError, match="takes 2 arguments"):
            pool.map(F64, [(1.0, 2.0), (1.0,)])
        assert pool.map(I32, []) == []
        assert pool.report.submitted == 0


@pytest.mark.row("TH-2")
def test_host_function_in_python_runs_on_a_worker_and_its_exception_arrives(
    backend: Backend,
) -> None:
    threads = []

    def host(value: int) -> int:
        threads.append(threading.get_ident())
        if value == 13:
            raise ValueError("no")
        return value * 2

    with backend.pool(ThreadPoolConfig(2), functions_of(instance_with(host))) as pool:
        good, bad = pool.submit_many([call(HOST, 4), call(HOST, 13)])
        assert good.result(PATIENCE) == 8
        with pytest.raises(HostError, match="ValueError: no") as caught:
            bad.result(PATIENCE)
    assert isinstance(caught.value.__cause__, ValueError)
    assert threading.get_ident() not in threads


@pytest.mark.row("TH-2")
def test_host_function_on_a_worker_may_call_its_guest_again(backend: Backend) -> None:
    instance: Instance = instance_with(lambda value: instance.call("i32", value, 1))
    with backend.pool(ThreadPoolConfig(2), functions_of(instance)) as pool:
        assert pool.map(HOST, [(number,) for number in range(20)]) == list(range(-1, 19))


@pytest.mark.row("TH-2")
def test_tasks_of_one_instance_take_turns_in_order(backend: Backend, gate: Gate) -> None:
    with backend.pool(ThreadPoolConfig(4), functions_of(instance_with(gate))) as pool:
        handles = pool.submit_many([call(HOST, number) for number in range(10)])
        gate.wait_until_held()
        time.sleep(0.05)
        assert gate.seen == [0]
        gate.opened.set()
        assert [handle.result(PATIENCE) for handle in handles] == list(range(10))
    assert gate.seen[0] == 0
    assert sorted(gate.seen) == list(range(10))


@pytest.mark.row("TH-2")
def test_two_instances_run_at_once(backend: Backend, gate: Gate) -> None:
    functions = functions_of(instance_with(gate)) | functions_of(instance_with(), 100)
    with backend.pool(ThreadPoolConfig(2), functions) as pool:
        held = pool.submit(call(HOST, 0))
        gate.wait_until_held()
        assert pool.submit(call(100 + I32, 5, 3)).result(PATIENCE) == 2
        gate.opened.set()
        assert held.result(PATIENCE) == 0


@pytest.mark.row("TH-2")
def test_fuel_and_timeout_end_a_call(backend: Backend) -> None:
    with backend.pool(ThreadPoolConfig(1), functions_of(instance_with())) as pool:
        starved = pool.submit(call(SPIN, fuel=1000)).join(PATIENCE)
        assert isinstance(starved.error, OutOfFuelError)
        assert starved.fuel_used == 1000
    with backend.pool(ThreadPoolConfig(1), functions_of(instance_with())) as pool:
        late = pool.submit(call(SPIN, timeout=0.05)).join(PATIENCE)
        assert isinstance(late.error, TimedOutError)
        assert late.run_time_ns >= 50_000_000
        assert pool.submit(call(I32, 2, 1)).result(PATIENCE) == 1


# What is refused.


@pytest.mark.row("TH-1")
def test_full_queue_refuses_and_loses_nothing(backend: Backend, gate: Gate) -> None:
    config = ThreadPoolConfig(1, queue_capacity=4)
    with backend.pool(config, functions_of(instance_with(gate))) as pool:
        held = pool.submit(call(HOST, 0))
        gate.wait_until_held()
        waiting = [pool.submit(call(HOST, number)) for number in range(1, 5)]
        with pytest.raises(BusyError, match="queue of priority 2 is full: 4 tasks wait"):
            pool.submit(call(HOST, 5))
        other = pool.submit(call(HOST, 6, priority=ThreadPriority.HIGH))
        assert pool.report.queued[ThreadPriority.NORMAL] == 4
        assert pool.report.refused == 1
        gate.opened.set()
        results = [handle.result(PATIENCE) for handle in (held, *waiting, other)]
    assert results == [0, 1, 2, 3, 4, 6]


@pytest.mark.row("TH-2")
def test_task_for_a_function_that_is_not_there_or_of_another_type(backend: Backend) -> None:
    with backend.pool(ThreadPoolConfig(1), functions_of(instance_with())) as pool:
        with pytest.raises(NotFoundError, match="no function 99"):
            pool.submit(call(99))
        with pytest.raises(InvalidArgumentError, match="takes 2 arguments, 1 were given"):
            pool.submit(call(I32, 1))
        with pytest.raises(InvalidArgumentError, match="not"):
            pool.submit(call(I64, 1).with_type(FunctionType(["i32"], ["i32"])))
        with pytest.raises(TypeError, match="argument 1"):
            pool.submit(call(I32, "1", 2))
        with pytest.raises(InvalidArgumentError, match="priority_range ends at 3"):
            pool.submit(call(CONSTANT, priority=ThreadPriority.REALTIME))
        assert pool.report.submitted == 0


@pytest.mark.row("TH-1")
@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"max_threads": 0}, "max_threads is 0"),
        ({"max_threads": 200, "spare_threads": 57}, "spare_threads 57"),
        ({"priority_range": (ThreadPriority.HIGH, ThreadPriority.LOW)}, "is 3 to 1"),
        ({"queue_capacity": 1 << 21}, "queue_capacity is 2097152"),
        ({"spin": 1_000_001}, "spin is 1000001"),
        ({"memory_limit_per_thread": 1}, "no page_allocator"),
    ],
)
def test_config_out_of_range_is_refused(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidArgumentError, match=reason):
        ThreadPool(ThreadPoolConfig(**settings))


@pytest.mark.row("TH-2")
def test_lent_instance_is_refused_to_everybody_else() -> None:
    instance = instance_with()
    with ThreadPool(ThreadPoolConfig(1), functions_of(instance)) as pool:
        for use in (
            lambda: instance.call("i32", 1, 2),
            lambda: instance.usage,
            lambda: ThreadPool(ThreadPoolConfig(1), functions_of(instance)),
        ):
            with pytest.raises(StateError, match="is lent to a thread pool's executor"):
                use()
        assert pool.submit(call(I32, 9, 2)).result(PATIENCE) == 7
    assert instance.call("i32", 1, 2) == -1


@pytest.mark.row("TH-2")
def test_instance_that_runs_cannot_be_lent(gate: Gate) -> None:
    instance = instance_with(gate)
    thread = threading.Thread(target=lambda: instance.call("host", 0))
    thread.start()
    gate.wait_until_held()
    with pytest.raises(StateError):
        InstanceExecutor(functions_of(instance))
    gate.opened.set()
    thread.join()
    InstanceExecutor(functions_of(instance)).close()


# Priorities, CPUs, names: as the system has them.


@pytest.mark.row("TH-1")
def test_most_urgent_task_goes_first(backend: Backend, gate: Gate) -> None:
    low, normal, high = ThreadPriority.LOW, ThreadPriority.NORMAL, ThreadPriority.HIGH
    order = [(1, low), (2, normal), (3, high), (4, low), (5, normal), (6, high)]
    with backend.pool(ThreadPoolConfig(1), functions_of(instance_with(gate))) as pool:
        handles = [pool.submit(call(HOST, 0))]
        gate.wait_until_held()
        handles += [pool.submit(call(HOST, number, priority=kind)) for number, kind in order]
        gate.opened.set()
        for handle in handles:
            handle.result(PATIENCE)
    assert gate.seen == [0, 3, 6, 2, 5, 1, 4]


@pytest.mark.row("TH-1")
def test_worker_takes_on_priority_and_cpus_of_its_task_and_gives_them_up() -> None:
    seen: list[tuple[int, set[int]]] = []

    def look(_: int) -> int:
        me = threading.get_native_id()
        seen.append((os.getpriority(os.PRIO_PROCESS, me), os.sched_getaffinity(0)))
        return 0

    mine = os.sched_getaffinity(0)
    one = CpuSet(min(mine))
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    with BACKENDS["linux"].pool(ThreadPoolConfig(1), functions_of(instance_with(look))) as pool:
        for task in (
            call(HOST, 0),
            call(HOST, 0, priority=ThreadPriority.LOW, cpu_affinity=one),
            call(HOST, 0),
        ):
            pool.submit(task).result(PATIENCE)
        refused = pool.report.priority_refusals
    low = nice if refused else min(nice + 10, 19)
    assert seen == [(nice, mine), (low, {min(mine)}), (nice, mine)]


@pytest.mark.row("TH-1")
def test_names_cpus_and_stacks_are_those_of_the_config() -> None:
    cpu = min(os.sched_getaffinity(0))
    config = ThreadPoolConfig(2, cpu_affinity=CpuSet(cpu), stack_size=1 << 20)
    with BACKENDS["linux"].pool(config.with_name_prefix("a-very-long-prefix")) as pool:
        workers = [worker.thread for worker in pool.workers]
        for index, thread in enumerate(workers):
            assert thread is not None
            folder = Path(f"/proc/self/task/{thread.system_id}")
            assert folder.joinpath("comm").read_text() == f"a-very-long-p-{index}\n"
            assert os.sched_getaffinity(thread.system_id) == {cpu}
            assert thread.stack_size == 1 << 20


@pytest.mark.row("TH-1", proof="sim")
def test_simulated_qnx_tells_priority_and_run_mask() -> None:
    if "qnx" not in BACKENDS:
        pytest.skip("no simulated QNX in this library")
    config = ThreadPoolConfig(1, name_prefix="wasm", cpu_affinity=CpuSet(0))
    with BACKENDS["qnx"].pool(config, functions_of(instance_with())) as pool:
        pool.submit(call(CONSTANT, priority=ThreadPriority.HIGH)).result(PATIENCE)
        thread = pool.workers[0].thread
        assert thread is not None
        assert (thread.name, thread.priority) == ("wasm-0", ThreadPriority.HIGH)
        assert thread.cpus == CpuSet(0)


@pytest.mark.row("TH-1")
def test_cpus_beyond_those_of_the_pool_are_refused() -> None:
    config = ThreadPoolConfig(1, cpu_affinity=CpuSet(min(os.sched_getaffinity(0))))
    refused = pytest.raises(InvalidArgumentError, match="CPUs that the pool has not")
    with ThreadPool(config, functions_of(instance_with())) as pool, refused:
        pool.submit(call(CONSTANT, cpu_affinity=CpuSet(200)))
    with ThreadPool(ThreadPoolConfig(1), functions_of(instance_with())) as pool:
        outcome = pool.submit(call(CONSTANT, cpu_affinity=CpuSet(200))).join(PATIENCE)
        assert isinstance(outcome.error, InvalidArgumentError)
        assert pool.submit(call(CONSTANT)).result(PATIENCE) == 0.5


# Memory.

GROWING = """(module (memory 1 100)
  (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
  (func (export "read") (result i32) (i32.load (i32.const 0)))
  (func (export "write") (i32.store (i32.const 0) (i32.const 77))))"""


@pytest.mark.row("TH-1")
def test_memory_limit_of_a_thread_binds_what_its_instances_allocate(backend: Backend) -> None:
    module, large = (
        Module(assemble(GROWING)),
        Module(assemble('(module (memory 5) (func (export "f")))')),
    )
    exports = {1: (module, "grow"), 2: (module, "read"), 3: (module, "write"), 4: (large, "f")}
    allocator = LinuxAllocatorBuilder().with_maximum_pages(128).build()
    config = ThreadPoolConfig(2, memory_limit_per_thread=4 * PAGE_SIZE, page_allocator=allocator)
    with backend.pool(config, exports) as pool:
        assert pool.map(1, [(3,), (4,), (3,)]) == [1, -1, 1]
        with pytest.raises(OutOfMemoryError):
            pool.submit(call(4)).result(PATIENCE)
        pool.submit(call(3)).result(PATIENCE)
        assert pool.submit(call(2)).result(PATIENCE) == 0  # another instance, fresh memory
        workers = pool.workers[:2]
        assert {worker.memory_limit for worker in workers} == {4 * PAGE_SIZE}
        assert max(worker.memory_peak for worker in workers) == 4 * PAGE_SIZE
        assert [worker.memory_bytes for worker in workers] == [0, 0]


@pytest.mark.row("TH-2")
def test_more_tasks_than_slots_wait_for_one() -> None:
    with ModuleExecutor({1: (Module(assemble(GROWING)), "grow")}, slots=1) as executor:
        allocator = LinuxAllocatorBuilder().with_maximum_pages(128).build()
        config = ThreadPoolConfig(4, page_allocator=allocator)
        with ThreadPool(config, executor) as pool:
            assert pool.map(1, [(1,)] * 200) == [1] * 200


# Stopping.


def wait_until(condition: Any) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.001)


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


# In C: the same from many threads, with a judge.


@pytest.fixture(scope="module")
def stress(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stress")
    sources = [
        *(
            path
            for floor in ("core", "engine", "linux")
            for path in ROOT.glob(f"c/src/{floor}/*.c")
        ),
        ROOT / "tests/support/pool_stress.c",
    ]
    flags = ["-std=gnu11", "-O0", "-g", "-fsanitize=thread", "-Wno-tsan"]
    run("cc", *flags, f"-I{ROOT / 'c/include'}", *sources, "-o", folder / "stress", "-lpthread")
    (folder / "guest.wasm").write_bytes(
        assemble(
            '(module (func (export "add") (param i32 i32) (result i32) '
            '(i32.add (local.get 0) (local.get 1))) (func (export "spin") (loop (br 0))))'
        )
    )
    return folder


def sanitized(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        # The C library's join with a time-out is none that the sanitizer knows.
        env=os.environ | {"TSAN_OPTIONS": "report_thread_leaks=0"},
        timeout=120,
    )


@pytest.mark.whole_process  # another sanitizer's run time would be in its programs
@pytest.mark.row("TH-1")
def test_sanitizer_finds_no_race_among_tasks_and_one_without_a_join(stress: Path) -> None:
    done = sanitized(stress / "stress", "tasks", "200")
    assert (done.returncode, done.stderr) == (0, "")
    ran, cancelled = (int(word) for word in done.stdout.split()[1::2])
    assert ran + cancelled == 3 * 8 * 200
    assert "data race" in sanitized(stress / "stress", "unjoined", "1").stderr


@pytest.mark.whole_process  # another sanitizer's run time would be in its programs
@pytest.mark.row("TH-2")
def test_sanitizer_finds_no_race_among_cancelled_calls(stress: Path) -> None:
    done = sanitized(stress / "stress", "wasm", "50", stress / "guest.wasm")
    assert (done.returncode, done.stderr) == (0, "")
    ran, cancelled = (int(word) for word in done.stdout.split()[1::2])
    assert ran + cancelled == 3 * 8 * 50
    assert cancelled > 0
