"""Executors: whose an instance is while it is lent, and how many there are at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from patience import PATIENCE
from pool_guests import I32, Gate, call, functions_of, instance_with
from support.guest import assemble
from wrt_platform import (
    Instance,
    Module,
    NotFoundError,
    StateError,
    ThreadPool,
    ThreadPoolConfig,
    WasmModuleInfo,
    WasmTask,
    WasmThreadManager,
)
from wrt_platform.executor import InstanceExecutor, InstanceExecutorBuilder, ModuleExecutor
from wrt_platform.linux.memory import LinuxAllocatorBuilder

GROWING = """(module (memory 1 2)
  (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))"""


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.opened.set()


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


@pytest.mark.row("TH-2")
def test_more_tasks_than_slots_wait_for_one() -> None:
    with ModuleExecutor({1: (Module(assemble(GROWING)), "grow")}, slots=1) as executor:
        allocator = LinuxAllocatorBuilder().with_maximum_pages(128).build()
        config = ThreadPoolConfig(4, page_allocator=allocator)
        with ThreadPool(config, executor) as pool:
            assert pool.map(1, [(1,)] * 200) == [1] * 200


@pytest.mark.row("ST-1")
def test_executor_that_was_given_is_the_callers_to_close() -> None:
    instance = Instance("""(module (func (export "one") (result i32) i32.const 1))""")
    builder = InstanceExecutorBuilder().with_functions({1: instance.exports.one})
    executor = builder.build()
    for _ in range(2):  # it outlives the first manager
        with WasmThreadManager(ThreadPoolConfig(max_threads=1), executor=executor) as manager:
            manager.register_module(WasmModuleInfo(id=1))
            assert manager.spawn(1, WasmTask(function_id=1)).result(10) == 1
    executor.close()
    assert instance.call("one") == 1
    with (
        WasmThreadManager(ThreadPoolConfig(max_threads=1), executor={1: instance.exports.one}),
        pytest.raises(StateError),
    ):
        instance.call("one")  # lent, as long as the manager is there
    assert instance.call("one") == 1


@pytest.mark.row("TH-2")
def test_export_that_is_not_there_is_refused() -> None:
    with pytest.raises(NotFoundError):
        ModuleExecutor({1: (Module(assemble(GROWING)), "shrink")}, slots=1)
