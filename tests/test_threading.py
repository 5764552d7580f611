"""Thread pools: what a task returns, and what is refused."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from patience import PATIENCE
from pool_guests import (
    CONSTANT,
    F32,
    F64,
    GUEST,
    HOST,
    I32,
    I64,
    NAMES,
    NONE,
    REFERENCE,
    SPIN,
    TRAP,
    TWO,
    Gate,
    call,
    functions_of,
    instance_with,
)
from support.guest import assemble
from thread_backends import BACKENDS, Backend
from wrt_platform import (
    BusyError,
    HostError,
    Instance,
    InvalidArgumentError,
    NotFoundError,
    TimedOutError,
    TrapError,
)
from wrt_platform.errors import OutOfFuelError
from wrt_platform.thread_system import ThreadPriority
from wrt_platform.threading import TaskState, ThreadPool, ThreadPoolConfig
from wrt_platform.values import FunctionType


@pytest.fixture(params=list(BACKENDS))
def backend(request: pytest.FixtureRequest) -> Backend:
    return BACKENDS[request.param]


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.opened.set()


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
def test_tasks_of_one_instance_take_turns(backend: Backend, gate: Gate) -> None:
    with backend.pool(ThreadPoolConfig(4), functions_of(instance_with(gate))) as pool:
        handles = [pool.submit(call(HOST, 0))]
        gate.wait_until_held()
        handles += pool.submit_many([call(HOST, number) for number in range(1, 10)])
        time.sleep(0.05)
        assert gate.seen == [0]
        gate.opened.set()
        assert [handle.result(PATIENCE) for handle in handles] == list(range(10))
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
