"""Partitions of processes: real programs under limits from their first instruction on."""

from __future__ import annotations

import os
import signal

import pytest
from qnx_partitions import (
    ACCOUNTING,
    ADDRESS,
    PROCESS,
    allocator_in,
    partition,
    sleeping_child,
    wait_for_end,
)
from qnx_world import MIB
from wrt_platform.enforcement import EnforcementState
from wrt_platform.errors import (
    BusyError,
    InvalidArgumentError,
    LimitError,
    NotFoundError,
    OutOfMemoryError,
    UnsupportedError,
)
from wrt_platform.qnx.memory import QnxAllocatorBuilder
from wrt_platform.qnx.partition import PartitionGuard, QnxIsolation, QnxPartitionKeeper

pytestmark = pytest.mark.usefixtures("world")


SHELL = "/bin/sh"


@pytest.mark.row("QP-3", proof="sim")
@pytest.mark.parametrize("level", [ACCOUNTING, ADDRESS, PROCESS])
def test_spawn_limits_a_real_program_from_its_first_instruction(level: QnxIsolation) -> None:
    where = partition(maximum=256 * MIB, level=level, name="tenant")
    # ulimit -v shows KiB of the limit that the child was born with.
    script = '[ "$(ulimit -v)" = 65536 ] && [ "$WORD" = inside ]'
    process = where.spawn(SHELL, ["sh", "-c", script], {"WORD": "inside"}, 64 * MIB)
    assert (where.report.used_bytes, where.report.process_count) == (64 * MIB, 1)
    with pytest.raises(BusyError, match="1 processes in it"):
        where.close()
    assert wait_for_end(where, process) == 0
    assert (where.report.used_bytes, where.report.process_count) == (0, 0)
    with pytest.raises(NotFoundError, match="detached already"):
        where.detach(process)


@pytest.mark.row("QP-3", proof="sim")
def test_spawned_process_can_not_have_more_than_its_limit() -> None:
    where = partition(maximum=128 * MIB, level=PROCESS, name="tenant")
    script = "x=$(head -c 300000000 /dev/zero | tr '\\0' a); echo ${#x}"
    process = where.spawn(SHELL, ["sh", "-c", script])
    assert where.report.used_bytes == 128 * MIB  # all that there is
    assert wait_for_end(where, process) != 0
    with pytest.raises(OutOfMemoryError):
        where.spawn("/bin/true", memory_bytes=129 * MIB)
    report = where.report
    assert (report.keeper, report.maximum.state) == (
        QnxPartitionKeeper.LIBRARY,
        EnforcementState.PARTIAL,
    )
    assert "RLIMIT_AS, which it can raise itself" in report.maximum.reason


@pytest.mark.row("QP-3", proof="sim")
def test_limit_of_this_process_is_as_before_after_spawning() -> None:
    where = partition(maximum=256 * MIB)
    process = where.spawn("/bin/true", memory_bytes=32 * MIB)
    wait_for_end(where, process)
    with pytest.raises(NotFoundError, match="posix_spawn failed, ENOENT"):
        where.spawn("/no/such/file", memory_bytes=32 * MIB)
    assert (where.report.used_bytes, where.report.process_count) == (0, 0)
    pages = QnxAllocatorBuilder().with_maximum_pages(1024).build().allocate(1024, 1024)
    pages.release()  # 64 MiB, twice what the child had


@pytest.mark.row("QP-3", proof="sim")
def test_end_by_signal_is_told_and_a_running_process_is_busy() -> None:
    where = partition(maximum=256 * MIB)
    process = where.spawn(SHELL, ["sh", "-c", "kill -9 $$"], memory_bytes=64 * MIB)
    running = where.spawn("/bin/sleep", ["sleep", "60"], memory_bytes=64 * MIB)
    assert wait_for_end(where, process) == -9
    with pytest.raises(BusyError, match="runs on"):
        where.detach(running)
    os.kill(sleeping_child(), signal.SIGTERM)
    assert wait_for_end(where, running) == -15


@pytest.mark.row("QP-3", proof="sim")
def test_attaching_a_running_process_is_unsupported_with_the_reason() -> None:
    for where in (partition(), partition(level=PROCESS, name="tenant")):
        with pytest.raises(UnsupportedError, match="associates a process with a partition when it"):
            where.attach_process(1234)
        with pytest.raises(InvalidArgumentError, match="process_id is not 1 or more"):
            where.attach_process(0)
        with pytest.raises(NotFoundError):
            where.detach(1234)


@pytest.mark.row("QP-3", proof="sim")
def test_more_processes_than_there_are_places_is_a_limit() -> None:
    where = partition(maximum=1024 * MIB)
    processes = [where.spawn("/bin/true", memory_bytes=32 * MIB) for _ in range(16)]
    with pytest.raises(LimitError, match="16 processes are in the partition"):
        where.spawn("/bin/true", memory_bytes=32 * MIB)
    for process in processes:
        wait_for_end(where, process)


@pytest.mark.row("QP-3", proof="sim")
def test_level_process_serves_no_allocator_of_this_process() -> None:
    where = partition(level=PROCESS, name="tenant")
    with pytest.raises(UnsupportedError, match="counts spawned processes"):
        allocator_in(where)
    with pytest.raises(UnsupportedError, match="association is made at spawn"):
        PartitionGuard(where)
