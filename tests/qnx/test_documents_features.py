"""The code blocks of qnx_features.rst, with the document's names, each with its difference."""

from __future__ import annotations

import gc
import shutil
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from qnx_documents import GUEST, block, execute_wasm_module, expect_example, expect_lines
from qnx_world import KIB, MIB, PAGE, access_at, base_of, new_world
from wrt_platform import (
    EnforcementState,
    HostFunction,
    Instance,
    InterruptedCallError,
    InvalidArgumentError,
    LimitError,
    Module,
    OutOfMemoryError,
    QnxAllocatorBuilder,
    QnxArenaAllocatorBuilder,
    QnxFutexBuilder,
    QnxIsolation,
    QnxMemoryPartitionBuilder,
    QnxPartitionFlags,
    QnxProtFlags,
    QnxSyncPriority,
    TimedOutError,
    UnsupportedError,
    WasmRuntime,
)
from wrt_platform.qnx_threading import QnxThreadPool, QnxThreadSystemBuilder
from wrt_platform.safe_threading import (
    ThreadHealth,
    ThreadingLimits,
    ThreadManagerConfig,
    WasmModuleInfo,
    WasmThreadManager,
)
from wrt_platform.sim import qnx, qnx_memory
from wrt_platform.threading import CpuSet, ThreadPoolConfig, ThreadPriority, WasmTask
from wrt_platform.watchdog import SoftwareWatchdog, WatchdogConfig


@pytest.fixture(autouse=True)
def world() -> Iterator[None]:
    with new_world(collect=False):
        yield


@block("qnx_features", "qnx_memory_allocation_with_mmap")
@pytest.mark.row("QM-1", proof="sim")
def test_features_memory_allocation_with_mmap() -> None:
    allocator = (
        QnxAllocatorBuilder()
        .with_guard_pages(True)
        .with_data_protection(QnxProtFlags.READ_WRITE)
        .build()
    )
    pages = allocator.allocate(64, 256)
    assert len(pages.memory) == 64 * PAGE
    pages.memory[-1] = 7
    assert allocator.report.guard_pages.state is EnforcementState.ENFORCED
    assert access_at(base_of(pages) + 64 * PAGE - 1) not in (None, 0)
    assert access_at(base_of(pages) - 1) == 0  # the guard before it
    pages.release()
    allocator.close()


@block("qnx_features", "qnx_memory_partitions")
@pytest.mark.row("QP-1", proof="sim")
@pytest.mark.row("QP-2", proof="sim")
def test_features_memory_partitions() -> None:
    builder = (
        QnxMemoryPartitionBuilder()
        .with_name("wasm_sandbox")
        .with_flags(QnxPartitionFlags.MEMORY_ISOLATION)
        .with_memory_size(32 * MIB, 64 * MIB, 8 * MIB)
    )
    with pytest.raises(UnsupportedError):
        builder.build()  # as the document has it: isolation of which level is not said
    partition = builder.with_isolation(QnxIsolation.ADDRESS).build()
    assert partition.with_partition(execute_wasm_module) == 42
    assert partition.report.peak_bytes >= PAGE
    limited = partition.with_partition(lambda: QnxAllocatorBuilder().build())
    with pytest.raises(OutOfMemoryError):
        limited.allocate(64 * MIB // PAGE + 1)
    limited.close()
    partition.close()


@block("qnx_features", "qnx_real_time_thread_execution")
@pytest.mark.row("TH-1", proof="sim")
@pytest.mark.row("TH-2", proof="sim")
@pytest.mark.row("QT-1", proof="sim")
def test_features_real_time_thread_execution() -> None:
    seen: list[qnx.Thread] = []
    note = HostFunction(lambda: seen.extend(qnx.threads()))
    text = """(module (import "host" "note" (func $note))
      (func (export "main") (result i32) (call $note) (i32.const 42)))"""
    guest = Instance(text, imports={"host": {"note": note}})
    config = ThreadPoolConfig(
        max_threads=16,
        priority_range=(ThreadPriority.LOW, ThreadPriority.REALTIME),
        cpu_affinity=CpuSet.from_mask(0xF),  # CPUs 0-3
        stack_size=2 * MIB,
    )
    pool = QnxThreadPool(config, {100: guest.exports.main})
    task = WasmTask(
        id=1,
        function_id=100,
        args=[],
        priority=ThreadPriority.HIGH,
        cpu_affinity=CpuSet.from_mask(0x1),  # CPU 0 alone
    )
    handle = pool.spawn_wasm_thread(task)
    assert handle.result(timeout=10) == 42
    assert len([thread for thread in seen if thread.place != "ended"]) >= 16
    (worker,) = (thread for thread in seen if thread.run_mask == 0x1)
    assert worker.priority == 15  # what HIGH comes to
    assert {thread.run_mask for thread in seen if thread.name.startswith("wrt")} == {0x1, 0xF}
    pool.close()
    del pool, handle
    gc.collect()  # the thread system that the pool made for itself


@block("qnx_features", "qnx_futex_implementation")
@pytest.mark.row("QS-1", proof="sim")
def test_features_futex_implementation() -> None:
    futex = QnxFutexBuilder().with_priority(QnxSyncPriority.HIGH).build()
    expected_value, timeout = 0, 0.05
    with pytest.raises(TimedOutError):
        futex.wait(expected_value, timeout)
    assert futex.wake_one() == 0

    done: list[bool] = []
    waiter = threading.Thread(target=lambda: done.append(wait_for_change(futex)))
    waiter.start()
    qnx.wait_blocked(1)
    futex.store(1)
    assert futex.wake_one() == 1
    waiter.join(10)
    assert done == [True]
    futex.close()


def wait_for_change(futex: Any) -> bool:
    while futex.load() == 0:
        futex.wait(0, 10)
    return True


@block("qnx_features", "software_watchdog_for_hang_detection")
@pytest.mark.row("WD-1", proof="sim")
def test_features_software_watchdog() -> None:
    system = QnxThreadSystemBuilder().build()
    config = WatchdogConfig(default_timeout=60, check_interval=0.1, auto_kill=False)
    watchdog = SoftwareWatchdog(config.with_system(system))
    watchdog.start()
    handle = watchdog.watch_wasm_execution("critical_module", 30)
    for _ in range(3):
        handle.heartbeat()
    watchdog.stop()
    assert handle.report.timeout_ns == 30_000_000_000
    assert not handle.is_hung

    moment = (
        system.now_ns()
    )  # without a monitor, checks are made by hand: no heartbeat from here on
    heard = []
    for check in range(303):
        watchdog.check(moment + check * 100_000_000)
        heard.append(handle.report.hang_count)
    assert 300 <= heard.index(1) <= 302  # 30 s are 300 checks: found after them, not before
    handle.heartbeat()
    watchdog.check(moment + 304 * 100_000_000)
    assert not handle.is_hung
    handle.end()
    watchdog.close()
    system.close()


@block("qnx_features", "thread_health_monitoring")
@pytest.mark.row("ST-2", proof="sim")
def test_features_thread_health_monitoring() -> None:
    system = QnxThreadSystemBuilder().build()
    limits = ThreadingLimits(cpu_quota_per_thread=0.05)
    allocator = QnxAllocatorBuilder().build()  # for the instances that the executor makes
    pool = ThreadPoolConfig(max_threads=2, system=system, page_allocator=allocator)
    module = Module(GUEST)
    executor = {1: (module, "spin"), 2: (module, "answer")}
    thread_manager = WasmThreadManager(pool, limits, executor)
    thread_manager.register_module(WasmModuleInfo(id=1, name="tenant"))
    busy = thread_manager.spawn(1, WasmTask(id=7, function_id=1))
    assert until_unhealthy(thread_manager) == {7: ThreadHealth.CPU_QUOTA_EXCEEDED}
    killed_count = thread_manager.kill_unhealthy_threads()
    assert killed_count == 1
    busy.join(10)
    assert busy.killed_for is ThreadHealth.CPU_QUOTA_EXCEEDED
    assert thread_manager.spawn(1, WasmTask(id=8, function_id=2)).result(10) == 42
    thread_manager.close()
    allocator.close()
    system.close()


def until_unhealthy(manager: WasmThreadManager) -> dict[int, ThreadHealth]:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        found: dict[int, ThreadHealth] = {
            thread_id: health
            for thread_id, health in manager.health_check()
            if health is not ThreadHealth.HEALTHY
        }
        if found:
            return found
        time.sleep(0.01)
    return {}


@block("qnx_features", "qnx_arena_allocation")
@pytest.mark.row("QA-1", proof="sim")
def test_features_arena_allocation() -> None:
    builder = QnxArenaAllocatorBuilder().with_arena_size(64 * KIB).with_memory_hold(True)
    with pytest.raises(InvalidArgumentError, match="memory_hold keeps all free arenas"):
        builder.with_arena_cache_max_blocks(8).build()  # as the document has it
    allocator = builder.with_arena_cache_max_blocks(0).build()
    heap = qnx_memory.arena()
    assert heap.arena_size == 64 * KIB
    pages, max_pages = 2, 4
    memory = allocator.allocate(pages, max_pages)
    assert (len(memory.memory), memory.maximum_pages) == (2 * PAGE, 4)
    block = allocator.allocate_block(1000)  # these come from the arenas; pages do not
    assert qnx_memory.arena().heap_bytes >= 64 * KIB
    block.release()
    memory.release()
    allocator.close()


@block("qnx_features", "production_qnx_configuration")
@pytest.mark.row("RT-1", proof="sim")
def test_features_production_configuration() -> None:
    system = QnxThreadSystemBuilder().build()
    runtime = setup_qnx_wasm_runtime(system)
    spawn = runtime.thread_manager.spawn
    assert spawn(1, WasmTask(function_id=1)).result(10) == 42
    assert spawn(1, WasmTask(function_id=2, args=[127])).result(10) == 1
    assert runtime.partition.report.peak_bytes == 8 * MIB
    assert spawn(1, WasmTask(function_id=2, args=[128])).result(10) == -1  # 8 MiB a thread
    spinning = [spawn(1, WasmTask(function_id=3)) for _ in range(8)]
    with pytest.raises(LimitError, match="8"):
        spawn(1, WasmTask(function_id=1))
    assert all(thread.kill() for thread in spinning)
    for thread in spinning:
        assert isinstance(thread.join(10).error, InterruptedCallError)
    report = runtime.report
    assert report.isolation.state is EnforcementState.PARTIAL
    assert report.watchdog.is_running
    assert report.threads.thread_count == 0
    partition = runtime.partition
    runtime.close()
    partition.close()
    system.close()


def setup_qnx_wasm_runtime(system: Any) -> WasmRuntime:
    partition = (
        QnxMemoryPartitionBuilder()
        .with_name("wasm_runtime")
        .with_flags(QnxPartitionFlags.MEMORY_ISOLATION)
        .with_isolation(QnxIsolation.ADDRESS)
        .with_memory_size(128 * MIB, 256 * MIB, 32 * MIB)
        .build()
    )
    thread_config = ThreadPoolConfig(
        max_threads=32,
        priority_range=(ThreadPriority.LOW, ThreadPriority.HIGH),
        memory_limit_per_thread=8 * MIB,
        stack_size=2 * MIB,
        name_prefix="wasm-worker",
        system=system,
    )
    watchdog = WatchdogConfig(default_timeout=120, check_interval=0.1).with_system(system)
    limits = ThreadingLimits(
        max_threads_per_module=16,
        max_total_threads=64,
        max_thread_lifetime=300,
        cpu_quota_per_thread=60,
        memory_limit_per_module=64 * MIB,
    )
    module = Module(GUEST)
    executor = {1: (module, "answer"), 2: (module, "grow"), 3: (module, "spin")}
    threads = ThreadManagerConfig(thread_config, limits)
    runtime = WasmRuntime(threads, watchdog, partition=partition, executor=executor)
    runtime.thread_manager.register_module(
        WasmModuleInfo(
            id=1,
            name="critical_module",
            max_threads=8,
            memory_limit=32 * MIB,
            cpu_quota=30,
            default_priority=ThreadPriority.NORMAL,
        )
    )
    return runtime


# The three lists


@pytest.mark.parametrize("document", ["qnx_features"])
def test_every_block_has_its_test_and_a_line_on_the_page(document: str) -> None:
    expect_lines(document)


@pytest.mark.skipif(shutil.which("cargo") is None, reason="cargo is not installed")
@pytest.mark.parametrize("document", ["qnx_features"])
def test_every_block_lives_as_a_rust_example(document: str) -> None:
    expect_example(document)
