"""Partitions and allocators as tests make them, in few words."""

from __future__ import annotations

import os
import time
from pathlib import Path

from wrt_platform._native import ffi, lib
from wrt_platform.errors import BusyError
from wrt_platform.qnx.memory import QnxAllocator, QnxAllocatorBuilder
from wrt_platform.qnx.partition import QnxIsolation, QnxMemoryPartition, QnxMemoryPartitionBuilder

ADDRESS, ACCOUNTING, PROCESS = QnxIsolation.ADDRESS, QnxIsolation.ACCOUNTING, QnxIsolation.PROCESS


def partition(
    minimum: int = 0,
    maximum: int = 0,
    reserved: int = 0,
    parent: QnxMemoryPartition | None = None,
    level: QnxIsolation = QnxIsolation.DEFAULT,
    name: str | None = None,
) -> QnxMemoryPartition:
    builder = QnxMemoryPartitionBuilder().with_memory_size(minimum, maximum, reserved)
    builder.with_parent(parent).with_isolation(level)
    return (builder.with_name(name) if name else builder).build()


def allocator_in(where: QnxMemoryPartition) -> QnxAllocator:
    return QnxAllocatorBuilder().with_maximum_pages(256).with_partition(where).build()


class Token:
    """A token as C has it."""

    def __init__(self, where: QnxMemoryPartition) -> None:
        self.where = where
        self.raw = ffi.new("wrt_qnx_partition_token *")

    def enter(self, outer: Token | None = None) -> int:
        outer_raw = outer.raw if outer else ffi.NULL
        return int(lib.wrt_qnx_partition_enter(self.where._raw, outer_raw, self.raw))

    def leave(self) -> int:
        return int(lib.wrt_qnx_partition_leave(self.raw))


def wait_for_end(where: QnxMemoryPartition, process: int) -> int:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            return where.detach(process)
        except BusyError:
            time.sleep(0.005)
    raise AssertionError("the process did not end")


def sleeping_child() -> int:
    """This machine's number of the one /bin/sleep that was spawned and runs still."""
    (found,) = (each for each in Path("/proc").iterdir() if each.name.isdigit() and sleeps(each))
    return int(found.name)


def sleeps(process: Path) -> bool:
    try:
        fields = (process / "stat").read_text().rpartition(")")[2].split()
        return int(fields[1]) == os.getpid() and b"sleep\0" in (process / "cmdline").read_bytes()
    except OSError:
        return False
