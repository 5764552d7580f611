"""The code blocks of qnx_platform.rst and qnx_memory_partitioning.md, with the documents' names,
each with its difference."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator

import pytest
from qnx_documents import block, both, execute_wasm_module, expect_example, expect_lines
from qnx_world import KIB, MIB, PAGE, access_at, base_of, new_world
from wrt_platform import (
    BusyError,
    CustomProvider,
    EnforcementState,
    OutOfMemoryError,
    PartitionGuard,
    QnxAllocatorBuilder,
    QnxArenaAllocatorBuilder,
    QnxIsolation,
    QnxMemoryPartition,
    QnxMemoryPartitionBuilder,
    QnxPartitionFlags,
    StateError,
    UnsupportedError,
    VerificationLevel,
)
from wrt_platform.qnx.partition import current_partition
from wrt_platform.sim import qnx_memory


@pytest.fixture(autouse=True)
def world() -> Iterator[None]:
    with new_world(collect=False):
        yield


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


@pytest.mark.parametrize("document", ["qnx_platform", "qnx_memory_partitioning"])
def test_every_block_has_its_test_and_a_line_on_the_page(document: str) -> None:
    expect_lines(document)


@pytest.mark.skipif(shutil.which("cargo") is None, reason="cargo is not installed")
@pytest.mark.parametrize("document", ["qnx_platform", "qnx_memory_partitioning"])
def test_every_block_lives_as_a_rust_example(document: str) -> None:
    expect_example(document)
