"""Where and how the work of thread pools runs: priorities, CPUs, names and memory."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from patience import PATIENCE
from pool_guests import CONSTANT, HOST, Gate, call, functions_of, instance_with
from support.guest import assemble
from thread_backends import BACKENDS, Backend
from wrt_platform import InvalidArgumentError, Module
from wrt_platform.errors import OutOfMemoryError
from wrt_platform.linux.memory import LinuxAllocatorBuilder
from wrt_platform.page_allocator import PAGE_SIZE
from wrt_platform.thread_system import CpuSet, ThreadPriority
from wrt_platform.threading import ThreadPool, ThreadPoolConfig


@pytest.fixture(params=list(BACKENDS))
def backend(request: pytest.FixtureRequest) -> Backend:
    return BACKENDS[request.param]


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.opened.set()


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
