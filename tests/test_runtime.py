"""The runtime: threads of modules, memory and a watchdog together, on both kernels."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from qnx_world import new_world
from wrt_platform import (
    CpuSet,
    EnforcementState,
    Instance,
    LimitError,
    LinuxAllocatorBuilder,
    MemoryAccountBuilder,
    Module,
    NotFoundError,
    QnxIsolation,
    QnxMemoryPartitionBuilder,
    QnxPartitionFlags,
    RuntimeBuilder,
    SlotPoolBuilder,
    StateError,
    ThreadHealth,
    ThreadingLimits,
    ThreadManagerConfig,
    ThreadPoolConfig,
    ThreadPriority,
    TimedOutError,
    TrapError,
    UnsupportedError,
    WasmModuleInfo,
    WasmRuntime,
    WasmTask,
)
from wrt_platform.events import EventKind
from wrt_platform.linux.threading import LinuxThreadSystemBuilder
from wrt_platform.qnx.threading import QnxThreadSystemBuilder
from wrt_platform.safe_threading import WasmThreadManager
from wrt_platform.watchdog import WatchdogConfig, WatchFeed

MIB = 1 << 20
PAGE = 65536
SQUARE, SPIN, GROW, TRAP = range(1, 5)

GUEST = """(module (memory (export "memory") 1 100)
  (func (export "square") (param i32) (result i32) (i32.mul (local.get 0) (local.get 0)))
  (func (export "spin") (loop (br 0)))
  (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
  (func (export "trap") unreachable))"""

NAMES = {SQUARE: "square", SPIN: "spin", GROW: "grow", TRAP: "trap"}


@pytest.fixture(params=["linux", "qnx"])
def system(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A thread system of each kernel; in the simulated one nothing may be left behind."""
    if request.param == "linux":
        yield LinuxThreadSystemBuilder().build()
        return
    with new_world():
        made = QnxThreadSystemBuilder().build()
        yield made
        made.close()


def threads_of(system: Any, count: int = 2, **settings: Any) -> ThreadPoolConfig:
    return ThreadPoolConfig(max_threads=count, spare_threads=count, system=system, **settings)


def functions() -> dict[int, tuple[Module, str]]:
    module = Module(GUEST)
    return {number: (module, name) for number, name in NAMES.items()}


def isolated() -> QnxMemoryPartitionBuilder:
    builder = QnxMemoryPartitionBuilder().with_name("sandbox")
    return builder.with_flags(QnxPartitionFlags.MEMORY_ISOLATION)


@contextmanager
def runtime_on(system: Any, limits: ThreadingLimits | None = None, **parts: Any) -> Iterator[Any]:
    pool = parts.pop("pool", None) or threads_of(system)
    manager = ThreadManagerConfig(pool, limits, check_interval=0.02, kill_timeout=0.2)
    watchdog = WatchdogConfig(check_interval=0.02, default_timeout=0.2, auto_kill=True)
    watchdog.with_system(system)
    runtime = WasmRuntime(manager, watchdog, executor=functions(), **parts)
    try:
        runtime.thread_manager.register_module(WasmModuleInfo(id=1, name="tenant"))
        yield runtime
    finally:
        runtime.close()


@pytest.mark.row("RT-1", proof="real")
def test_threads_of_a_module_run_and_break_limits_without_touching_each_other(system: Any) -> None:
    limits = ThreadingLimits(cpu_quota_per_thread=0.2, max_total_threads=3)
    allocator = LinuxAllocatorBuilder().build()
    pool = threads_of(system).with_page_allocator(allocator)
    with runtime_on(system, limits, pool=pool) as runtime:
        manager = runtime.thread_manager
        spinning, *others = (manager.spawn(1, WasmTask(id=n, function_id=SPIN)) for n in (7, 8, 9))
        with pytest.raises(LimitError, match="3 threads together, allowed are 3"):
            manager.spawn(1, WasmTask(function_id=TRAP))
        for thread in others:
            thread.kill()
            assert thread.join(10).error is not None
        squares = [manager.spawn(1, WasmTask(function_id=SQUARE, args=[n])) for n in (3, 4)]
        assert [thread.result(10) for thread in squares] == [9, 16]
        with pytest.raises(TrapError, match="unreachable"):
            manager.spawn(1, WasmTask(function_id=TRAP)).result(10)
        spinning.join(10)
        assert spinning.killed_for is ThreadHealth.CPU_QUOTA_EXCEEDED
        assert manager.spawn(1, WasmTask(function_id=SQUARE, args=[5])).result(10) == 25
        kinds = [runtime.events.next(1).kind for _ in range(2)]
        assert kinds == [EventKind.THREAD_UNHEALTHY, EventKind.THREAD_KILLED]
        assert runtime.report.threads.killed == 1
    allocator.close()


@pytest.mark.row("RT-1", proof="sim")
def test_partition_pays_for_the_memory_of_all_threads() -> None:
    with new_world():
        system = QnxThreadSystemBuilder().build()
        partition = (
            QnxMemoryPartitionBuilder()
            .with_name("wasm_runtime")
            .with_memory_size(1 * MIB, 2 * MIB, 0)
            .build()
        )
        with runtime_on(system, partition=partition) as runtime:
            spawn = runtime.thread_manager.spawn
            assert spawn(1, WasmTask(function_id=GROW, args=[15])).result(10) == 1
            assert partition.report.peak_bytes == 16 * PAGE
            assert spawn(1, WasmTask(function_id=GROW, args=[40])).result(10) == -1  # 2 MiB
            assert partition.report.peak_bytes == 16 * PAGE
            assert partition.report.used_bytes == 0
            held = runtime.report.protections
            assert held["memory_limit"].state is not EnforcementState.NOT_ASKED
            assert runtime.partition is partition
        partition.close()
        system.close()


@pytest.mark.row("RT-1", proof="sim")
def test_isolation_is_reported_as_the_partition_has_it_and_never_more() -> None:
    with new_world():
        system = QnxThreadSystemBuilder().build()
        with pytest.raises(UnsupportedError):
            isolated().build()
        cases = (
            (isolated().with_allow_accounting_only(), EnforcementState.ABSENT),
            (isolated().with_isolation(QnxIsolation.ADDRESS), EnforcementState.PARTIAL),
        )
        for asked, state in cases:
            partition = asked.build()
            with runtime_on(system, partition=partition) as runtime:
                assert runtime.report.isolation == partition.report.isolation
                assert runtime.report.isolation.state is state
            partition.close()
        system.close()


@pytest.mark.row("RT-1", proof="real")
def test_account_of_linux_pays_and_says_how_much(system: Any) -> None:
    account = MemoryAccountBuilder().with_maximum(64 * PAGE).build()
    allocator = LinuxAllocatorBuilder().build()
    pool = threads_of(system).with_page_allocator(allocator)
    limits = ThreadingLimits(memory_limit_per_module=8 * PAGE)
    with runtime_on(system, limits, pool=pool, account=account) as runtime:
        spawn = runtime.thread_manager.spawn
        assert spawn(1, WasmTask(function_id=GROW, args=[7])).result(10) == 1
        assert spawn(1, WasmTask(function_id=GROW, args=[8])).result(10) == -1
        assert runtime.report.memory.peak == 8 * PAGE
        assert runtime.report.memory.used == 0
        assert runtime.report.memory_limit.state is EnforcementState.PARTIAL
        assert "other memory of the process" in runtime.report.module_memory_limit.reason
    allocator.close()
    account.close()


@pytest.mark.row("RT-1", proof="real")
def test_watchdog_of_the_runtime_stops_what_hangs(system: Any) -> None:
    allocator = LinuxAllocatorBuilder().build()
    pool = threads_of(system).with_page_allocator(allocator)
    with runtime_on(system, pool=pool) as runtime:
        hung = Instance(GUEST)
        # fed by nobody: a guest in a loop is a hang for a watch that wants heartbeats of the caller
        with (
            runtime.watchdog.watch_wasm_execution(
                "hung", 0.1, instance=hung, feed=WatchFeed.CALLER
            ) as watch,
            pytest.raises(Exception, match="interrupt"),
        ):
            hung.call("spin", timeout=20)
        assert watch is not None
        assert [runtime.events.next(1).kind for _ in range(2)] == [
            EventKind.WATCHDOG_EXPIRED,
            EventKind.WATCHDOG_KILLED,
        ]
        assert runtime.report.watchdog.kills == 1
    allocator.close()


@pytest.mark.row("RT-1", proof="real")
def test_watchdog_goes_on_until_the_last_thread_has_ended(system: Any) -> None:
    allocator = LinuxAllocatorBuilder().build()
    with runtime_on(system, pool=threads_of(system).with_page_allocator(allocator)) as runtime:
        spinning = runtime.thread_manager.spawn(1, WasmTask(function_id=SPIN))
        with pytest.raises(TimedOutError):
            runtime.shutdown(timeout=0.05)
        assert runtime.report.watchdog.is_running
        runtime.shutdown(cancel=True, timeout=10)
        assert not runtime.report.watchdog.is_running
        assert spinning.join(10).error is not None
    allocator.close()


@pytest.mark.row("RT-1", proof="real")
def test_what_fails_halfway_leaves_nothing_behind(system: Any) -> None:
    import threading

    before = threading.active_count()
    pool = threads_of(system, name_prefix="half")
    manager = ThreadManagerConfig(pool, module_capacity=0)  # refused, after the watchdog runs
    builder = RuntimeBuilder().with_threads(manager)
    builder.with_watchdog(WatchdogConfig().with_system(system))
    with pytest.raises(Exception, match="module_capacity is 0"):
        builder.build(functions())
    assert threading.active_count() == before
    with pytest.raises(Exception, match="executor"):
        RuntimeBuilder().with_threads(ThreadManagerConfig(pool)).build()


@pytest.mark.row("RT-1", proof="real")
def test_production_set_up_with_all_that_linux_has() -> None:
    """The documents' set-up, with what the Linux document adds: kept slots for memory, an account
    for all threads, threads that are named and bound to a CPU, a watchdog. The kernel's own word
    says what the threads are."""
    cpus = sorted(os.sched_getaffinity(0))
    system = LinuxThreadSystemBuilder().build()
    slots = SlotPoolBuilder().with_slot_count(8).with_maximum_pages(100).build()
    account = MemoryAccountBuilder().with_maximum(64 * PAGE).build()
    pool = ThreadPoolConfig(
        max_threads=4,
        priority_range=(ThreadPriority.LOW, ThreadPriority.HIGH),
        memory_limit_per_thread=32 * PAGE,
        stack_size=2 * MIB,
        name_prefix="wasm-worker",
        cpu_affinity=CpuSet(cpus[0]),
        system=system,
    ).with_page_allocator(slots)
    limits = ThreadingLimits(
        max_threads_per_module=4,
        max_total_threads=8,
        max_thread_lifetime=300,
        cpu_quota_per_thread=0.2,
        memory_limit_per_module=32 * PAGE,
    )
    with runtime_on(system, limits, pool=pool, account=account) as runtime:
        spawn = runtime.thread_manager.spawn
        spinning = spawn(1, WasmTask(function_id=SPIN))
        until = time.monotonic() + 10
        names: dict[str, int] = {}
        while not names and time.monotonic() < until:
            names = workers()
        assert names, "no thread of the system has the pool's name"
        assert {tuple(os.sched_getaffinity(number)) for number in names.values()} == {(cpus[0],)}
        assert spawn(1, WasmTask(function_id=GROW, args=[7])).result(10) == 1
        assert spawn(1, WasmTask(function_id=GROW, args=[40])).result(10) == -1
        spinning.join(10)
        assert spinning.killed_for is ThreadHealth.CPU_QUOTA_EXCEEDED
        assert slots.report.peak_pages >= 8
        assert runtime.report.memory.peak >= 8 * PAGE
        assert runtime.report.watchdog.is_running
        kinds = [runtime.events.next(1).kind for _ in range(2)]
        assert kinds == [EventKind.THREAD_UNHEALTHY, EventKind.THREAD_KILLED]
    assert workers() == {}
    slots.close()
    account.close()


def workers() -> dict[str, int]:
    """Threads of this process that the kernel knows by the pool's name, by name."""
    found = {}
    for task in Path("/proc/self/task").iterdir():
        try:
            name = (task / "comm").read_text().strip()
        except OSError:  # it has ended
            continue
        if name.startswith("wasm-worker"):
            found[name] = int(task.name)
    return found


def test_use_after_the_end_is_refused(system: Any) -> None:
    allocator = LinuxAllocatorBuilder().build()
    with runtime_on(system, pool=threads_of(system).with_page_allocator(allocator)) as runtime:
        thread = runtime.thread_manager.spawn(1, WasmTask(function_id=SQUARE, args=[2]))
        with pytest.raises(NotFoundError):
            runtime.thread_manager.spawn(2, WasmTask(function_id=SQUARE, args=[2]))
        while runtime.thread_manager.report.pool.finished == 0:  # closing cancels what waits
            time.sleep(0.001)
    assert thread.result() == 4  # its outcome was kept
    runtime.close()
    uses: list[Callable[[], Any]] = [
        lambda: runtime.report,
        lambda: runtime.thread_manager.report,
        lambda: runtime.thread_manager.spawn(1, WasmTask(function_id=SQUARE, args=[2])),
        lambda: runtime.watchdog.report,
    ]
    for use in uses:
        with pytest.raises(StateError):
            use()
    allocator.close()


KILLS = {"linux": 10_000, "qnx": 2_000}


@pytest.mark.row("ST-2", proof="real")
def test_random_kills_lose_no_slot_no_lock_and_no_channel(
    system: Any, request: pytest.FixtureRequest
) -> None:
    """Guests in a loop are killed at random moments: queued, beginning, running, just ending."""
    kernel = request.node.callspec.params["system"]
    chance = random.Random(20261121)
    instances = [Instance(GUEST) for _ in range(3)]
    table = {
        10 * place + number: getattr(instance.exports, name)
        for place, instance in enumerate(instances)
        for number, name in ((SQUARE, "square"), (SPIN, "spin"))
    }
    stopped = 0
    manager = WasmThreadManager(threads_of(system, 2), ThreadingLimits(), table)
    manager.register_module(WasmModuleInfo(id=1))
    out: list[tuple[Any, int]] = []
    for turn in range(KILLS[kernel]):
        place = 10 * chance.randrange(3)
        if chance.random() < 0.7:
            out.append((manager.spawn(1, WasmTask(id=turn, function_id=place + SPIN)), 0))
        else:
            task = WasmTask(id=turn, function_id=place + SQUARE, args=[turn % 100])
            out.append((manager.spawn(1, task), turn % 100))
        if chance.random() < 0.1:
            time.sleep(chance.random() * 0.001)
        if chance.random() < 0.3 and out:
            chance.choice(out)[0].kill()  # queued, or waiting for its instance, it may be
        while len(out) > chance.randrange(6):
            thread, number = out.pop(0)  # one that waits for no other's end
            thread.kill()
            outcome = thread.join(20)
            stopped += outcome.error is not None
            if outcome.error is None:
                assert outcome.value == number * number
            else:
                assert outcome.error.status == 16, outcome.error  # INTERRUPTED, nothing else
    for thread, _ in out:
        thread.kill()
        thread.join(20)
    until = time.monotonic() + 10  # a worker is done with a task a moment after it was joined
    while manager.report.pool.running != 0 and time.monotonic() < until:
        time.sleep(0.001)
    report = manager.report
    assert stopped > KILLS[kernel] // 2
    assert (report.thread_count, report.poisoned, report.pool.lost) == (0, 0, 0)
    assert (report.pool.running, sum(report.pool.queued.values())) == (0, 0)
    assert report.spawned == KILLS[kernel]
    for place in range(3):  # every instance can be had, and no interrupt is left over
        task = WasmTask(function_id=10 * place + SQUARE, args=[9])
        assert manager.spawn(1, task).result(10) == 81
    manager.close()
    assert [instance.call("square", 5) for instance in instances] == [25] * 3
