"""The code blocks of the three QNX documents, with the documents' names, each with its difference.

A block is known by its document and a name; docs/documents_qnx.rst lists them with what had to be
changed and why, and the Rust examples print them. The last tests compare the three lists.
"""

from __future__ import annotations

import gc
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest
from cargo import cargo
from common import ROOT
from qnx_world import KIB, MIB, PAGE, access_at, base_of, new_world
from wrt_platform import (
    BusyError,
    CustomProvider,
    EnforcementState,
    HostFunction,
    Instance,
    InterruptedCallError,
    InvalidArgumentError,
    LimitError,
    Module,
    OutOfMemoryError,
    PartitionGuard,
    QnxAllocatorBuilder,
    QnxArenaAllocatorBuilder,
    QnxFutexBuilder,
    QnxIsolation,
    QnxMemoryPartition,
    QnxMemoryPartitionBuilder,
    QnxPartitionFlags,
    QnxProtFlags,
    QnxSyncPriority,
    StateError,
    TimedOutError,
    UnsupportedError,
    VerificationLevel,
    WasmRuntime,
)
from wrt_platform.qnx.partition import current_partition
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

COUNTS = {"qnx_features": 8, "qnx_platform": 11, "qnx_memory_partitioning": 8}

GUEST = """(module (memory (export "memory") 1 2000)
  (func (export "answer") (result i32) (i32.const 42))
  (func (export "spin") (loop (br 0)))
  (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))"""

blocks: dict[str, list[str]] = {}
_Test = TypeVar("_Test", bound=Callable[..., None])


def block(document: str, name: str) -> Callable[[_Test], _Test]:
    """Says which block a test is. Decorators are read from below."""

    def note(test: _Test) -> _Test:
        blocks.setdefault(document, []).append(name)
        return test

    return note


def both(name: str) -> Callable[[_Test], _Test]:
    """A block that two of the documents have, letter by letter."""

    def note(test: _Test) -> _Test:
        return block("qnx_platform", name)(block("qnx_memory_partitioning", name)(test))

    return note


@pytest.fixture(autouse=True)
def world() -> Iterator[None]:
    with new_world(collect=False):
        yield


def execute_wasm_module() -> int:
    """What stands for the documents' guest: its memory comes from the partition that is current."""
    allocator = QnxAllocatorBuilder().build()
    instance = Instance(GUEST, allocator=allocator)
    answer: int = instance.call("answer")
    instance.close()
    allocator.close()
    return answer


# qnx_features.rst


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


# qnx_platform.rst


@block("qnx_platform", "arena_allocator")
@pytest.mark.row("QA-1", proof="sim")
def test_platform_arena_allocator() -> None:
    """The document shows private fields; what they tell is in the report and in the loan."""
    allocator = QnxArenaAllocatorBuilder().with_maximum_pages(4).build()
    first, second = allocator.allocate(1, 2), allocator.allocate(2)  # any number, not one
    report = allocator.report
    assert (report.allocation_count, report.page_count) == (2, 3)
    assert report.reserved_bytes >= 6 * PAGE
    assert (first.maximum_pages, second.maximum_pages) == (2, 4)
    first.release()
    second.release()
    allocator.close()


@block("qnx_platform", "builder_pattern")
@pytest.mark.row("QA-1", proof="sim")
def test_platform_builder_pattern() -> None:
    builder = (
        QnxArenaAllocatorBuilder()
        .with_arena_size(64 * KIB)
        .with_arena_cache_max_blocks(8)
        .with_arena_cache_max_size(256 * KIB)
        .with_lifo_free(True)
        .with_guard_pages(True)
        .with_verification_level(VerificationLevel.FULL)
    )
    with pytest.raises(UnsupportedError, match="MALLOC_FREE_LIFO"):
        builder.build()  # nothing in a running process can do it
    with new_world(lifo=True, collect=False):
        allocator = builder.build()
        heap = qnx_memory.arena()
        assert heap.lifo
        assert (heap.arena_size, heap.cache_arenas_limit) == (64 * KIB, 8)
        assert heap.cache_bytes_limit == 256 * KIB
        assert allocator.report.lifo_free.state is EnforcementState.ENFORCED
        allocator.close()


@block("qnx_platform", "atomic_memory_ops")
@pytest.mark.row("AM-1", proof="sim")
@pytest.mark.row("AM-2", proof="sim")
def test_platform_atomic_memory_ops() -> None:
    allocator = QnxArenaAllocatorBuilder().with_arena_size(64 * KIB).build()
    memory = allocator.allocate(2, 4)
    provider = CustomProvider(memory, len(memory.memory))
    atomic_ops = provider.into_atomic_ops()
    atomic_ops.atomic_write_with_checksum(0, bytes([1, 2, 3, 4]))
    assert atomic_ops.atomic_read_with_checksum(0, 4) == bytes([1, 2, 3, 4])
    where = bytes(memory.memory).index(bytes([1, 2, 3, 4]))
    memory.memory[where] ^= 1
    with pytest.raises(StateError, match="whole"):  # the damage is found
        atomic_ops.atomic_read_with_checksum(0, 4)
    atomic_ops.close()
    del provider, atomic_ops
    memory.release()
    allocator.close()


# qnx_platform.rst and qnx_memory_partitioning.md, which have these blocks in common


@both("memory_partition")
@pytest.mark.row("QP-1", proof="sim")
def test_memory_partition() -> None:
    """The documents show private fields; what they tell is in the report."""
    parent = QnxMemoryPartitionBuilder().with_name("parent").build()
    child = QnxMemoryPartitionBuilder().with_name("child").with_parent(parent).build()
    assert isinstance(child, QnxMemoryPartition)
    assert (parent.report.child_count, child.report.child_count) == (1, 0)
    assert child.report.flags == QnxPartitionFlags(0)
    child.close()
    assert parent.report.child_count == 0
    parent.close()


@both("memory_isolation")
@pytest.mark.row("QP-1", proof="sim")
def test_memory_isolation() -> None:
    builder = (
        QnxMemoryPartitionBuilder()
        .with_name("wasm_instance1")
        .with_flags(QnxPartitionFlags.MEMORY_ISOLATION)
    )
    with pytest.raises(UnsupportedError):
        builder.build()
    partition = builder.with_isolation(QnxIsolation.ADDRESS).build()
    other = (
        QnxMemoryPartitionBuilder()
        .with_name("wasm_instance2")
        .with_isolation(QnxIsolation.ADDRESS)
        .build()
    )
    pages = partition.with_partition(lambda: QnxAllocatorBuilder().build().allocate(1))
    with PartitionGuard(partition):
        pages.memory[0] = 1
        assert access_at(base_of(pages)) not in (None, 0)
    with PartitionGuard(other):
        assert access_at(base_of(pages)) == 0
    pages.release()
    del pages
    other.close()
    partition.close()


@both("resource_controls")
@pytest.mark.row("QP-1", proof="sim")
def test_resource_controls() -> None:
    partition = (
        QnxMemoryPartitionBuilder()
        .with_name("limited_instance")
        .with_memory_size(
            4 * 1024 * 1024,  # 4 MiB minimum guaranteed
            16 * 1024 * 1024,  # 16 MiB maximum allowed
            1 * 1024 * 1024,  # 1 MiB reserved
        )
        .build()
    )
    report = partition.report
    assert (report.minimum_bytes, report.maximum_bytes) == (4 * MIB, 16 * MIB)
    assert report.reserved_bytes == 1 * MIB
    allocator = partition.with_partition(lambda: QnxAllocatorBuilder().build())
    with pytest.raises(OutOfMemoryError):
        allocator.allocate(241)  # the reserved MiB is left for small blocks
    allocator.allocate(240).release()
    allocator.close()
    partition.close()


@both("partition_guard")
@pytest.mark.row("QP-2", proof="sim")
def test_partition_guard() -> None:
    partition = QnxMemoryPartitionBuilder().with_name("guarded").build()
    with PartitionGuard(partition):
        assert current_partition() is partition
        assert partition.report.entered_count == 1
    assert current_partition() is None
    with pytest.raises(ZeroDivisionError), PartitionGuard(partition):
        raise ZeroDivisionError
    assert partition.report.entered_count == 0
    partition.close()


@both("with_partition")
@pytest.mark.row("QP-2", proof="sim")
def test_with_partition() -> None:
    partition = QnxMemoryPartitionBuilder().with_name("within").build()
    result = partition.with_partition(execute_wasm_module)
    assert result == 42
    assert partition.report.peak_bytes >= PAGE
    assert current_partition() is None
    partition.close()


@both("process_attachment")
@pytest.mark.row("QP-3", proof="sim")
def test_process_attachment() -> None:
    partition = QnxMemoryPartitionBuilder().with_name("attached").build()
    process_id = 1
    with pytest.raises(UnsupportedError, match="spawn"):
        partition.attach_process(process_id)
    process_id = partition.spawn("/bin/sh", ["sh", "-c", "exit 3"])
    assert partition.report.process_count == 1
    assert exit_code_of(partition, process_id) == 3
    assert partition.report.process_count == 0
    partition.close()


def exit_code_of(partition: QnxMemoryPartition, process_id: int) -> int:
    end = time.monotonic() + 10
    while True:
        try:
            return partition.detach(process_id)
        except BusyError:
            assert time.monotonic() < end
            time.sleep(0.01)


@both("memory_allocator_integration")
@pytest.mark.row("QP-1", proof="sim")
@pytest.mark.row("QA-1", proof="sim")
def test_memory_allocator_integration() -> None:
    partition = (
        QnxMemoryPartitionBuilder()
        .with_name("wasm_instance")
        .with_memory_size(4 * 1024 * 1024, 16 * 1024 * 1024, 1 * 1024 * 1024)
        .build()
    )
    allocator = partition.with_partition(
        lambda: QnxArenaAllocatorBuilder().with_arena_size(64 * 1024).build()
    )
    before = partition.report.used_bytes
    wasm_memory = allocator.allocate(1, 4)
    assert partition.report.used_bytes >= before + PAGE  # also after the closure has ended
    wasm_memory.release()
    assert partition.report.used_bytes == before
    allocator.close()
    partition.close()


def tenant(name: str) -> QnxMemoryPartition:
    return (
        QnxMemoryPartitionBuilder()
        .with_name(name)
        .with_flags(QnxPartitionFlags.MEMORY_ISOLATION)
        .with_isolation(QnxIsolation.ADDRESS)
        .with_memory_size(4 * 1024 * 1024, 16 * 1024 * 1024, 1 * 1024 * 1024)
        .build()
    )


@both("multi_tenant_execution")
@pytest.mark.row("QP-4", proof="sim")
def test_multi_tenant_execution() -> None:
    tenant1_partition, tenant2_partition = tenant("tenant1"), tenant("tenant2")
    assert tenant1_partition.with_partition(execute_wasm_module) == 42
    greedy = tenant2_partition.with_partition(lambda: QnxAllocatorBuilder().build())
    with pytest.raises(OutOfMemoryError):
        greedy.allocate(257)
    assert tenant1_partition.with_partition(execute_wasm_module) == 42
    assert tenant2_partition.report.peak_bytes < 16 * MIB
    greedy.close()
    tenant1_partition.close()
    tenant2_partition.close()


# The three lists


@pytest.mark.parametrize("document", COUNTS)
def test_every_block_has_its_test_and_a_line_on_the_page(document: str) -> None:
    page = (ROOT / "docs/documents_qnx.rst").read_text()
    section = page[page.index(f".. _{document}:") :].split("\n.. _", 1)[0]
    lines = re.findall(r"^   \* - ``(\w+)``\n     - (.+)\n     - (.+)$", section, re.MULTILINE)
    assert [name for name, _, _ in lines] == blocks[document]
    assert len(lines) == len(re.findall(r"^   \* - ", section, re.MULTILINE)) - 1  # the head
    assert len(lines) == COUNTS[document]
    assert f"{COUNTS[document]} code blocks" in section


@pytest.mark.skipif(shutil.which("cargo") is None, reason="cargo is not installed")
@pytest.mark.parametrize("document", COUNTS)
def test_every_block_lives_as_a_rust_example(document: str) -> None:
    words = ("run", "--quiet", "-p", "wrt-platform", "--example", document)
    done = cargo(*words)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == blocks[document]
