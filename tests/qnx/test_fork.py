"""What belongs to a process is of no use in a child that it forks: each object says so."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from qnx_world import new_world
from wrt_platform import (
    QnxAllocatorBuilder,
    QnxFutexBuilder,
    QnxLockBuilder,
    QnxMemoryPartitionBuilder,
    StateError,
)


def in_child(use: Callable[[], object]) -> int:
    """0: refused with STATE; 1: it worked; 2: another error."""
    child = os.fork()
    if child == 0:
        try:
            use()
        except StateError:
            os._exit(0)
        except BaseException:
            os._exit(2)
        os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.row("QS-1", proof="sim")
@pytest.mark.row("QM-1", proof="sim")
@pytest.mark.row("QP-1", proof="sim")
@pytest.mark.whole_process
def test_objects_of_a_parent_are_refused_in_its_child() -> None:
    with new_world():
        futex, lock = QnxFutexBuilder().build(), QnxLockBuilder().build()
        partition = QnxMemoryPartitionBuilder().with_name("parent").build()
        allocator = QnxAllocatorBuilder().build()
        assert in_child(lambda: futex.wake_one()) == 0
        assert in_child(lambda: lock.lock(1)) == 0
        assert in_child(lambda: partition.report) == 0
        assert in_child(lambda: allocator.allocate(1, 1)) == 0
        assert futex.wake_one() in (0, False, None)  # the parent's own go on
        for made in (futex, lock, partition, allocator):
            made.close()
