"""Several tenants in one process: what one of them exhausts is its own. Work is counted in
instructions of the guest and in calls of the kernel, which no busy machine changes."""

from __future__ import annotations

import ast
import re
import threading
from typing import Any, NamedTuple

import pytest
from common import ROOT
from qnx_world import MIB, PAGE, calls_of
from support.guest import assemble
from wrt_platform.errors import OutOfMemoryError
from wrt_platform.instance import InstanceBuilder
from wrt_platform.module import Module
from wrt_platform.qnx.arena import QnxArenaAllocatorBuilder
from wrt_platform.qnx.memory import QnxAllocator, QnxAllocatorBuilder
from wrt_platform.qnx.partition import (
    QnxIsolation,
    QnxMemoryPartition,
    QnxMemoryPartitionBuilder,
    QnxPartitionFlags,
)

PAGES = 16  # what a round of work needs

# Grows page by page to PAGES, and writes to each; returns how many there are.
WORK = f"""(module
  (memory 1 {PAGES})
  (func (export "work") (result i32) (local $page i32) (local $at i32)
    (loop $next
      (local.set $at (i32.mul (local.get $page) (i32.const {PAGE})))
      (loop $fill
        (i32.store (local.get $at) (local.get $page))
        (local.set $at (i32.add (local.get $at) (i32.const 1024)))
        (br_if $fill (i32.lt_u (i32.rem_u (local.get $at) (i32.const {PAGE})) (i32.const 64512))))
      (local.set $page (i32.add (local.get $page) (i32.const 1)))
      (if (i32.lt_u (local.get $page) (i32.const {PAGES}))
        (then
          (br_if $next (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))))
    (memory.size)))"""


pytestmark = pytest.mark.usefixtures("world")


@pytest.fixture(scope="module")
def module() -> Module:
    return Module(assemble(WORK))


class Work(NamedTuple):
    """What a round of work came to."""

    pages: int
    refused: int  # growths
    instructions: int
    kernel_calls: int


def one_round(allocator: QnxAllocator, module: Module) -> Work:
    done: list[Any] = []

    def run() -> None:
        instance = InstanceBuilder().with_module(module).with_allocator(allocator).build()
        pages = instance.call("work")
        usage = instance.usage
        done.extend((pages, usage.refused_growths, usage.fuel_used))
        instance.close()

    calls = calls_of(run)
    return Work(done[0], done[1], done[2], calls)


def tenant(name: str, parent: QnxMemoryPartition) -> QnxMemoryPartition:
    """As the documents have it: 4 MiB promised, at most 16, one of them for small blocks."""
    builder = QnxMemoryPartitionBuilder().with_name(name).with_parent(parent)
    builder.with_flags(QnxPartitionFlags.MEMORY_ISOLATION).with_isolation(QnxIsolation.ADDRESS)
    return builder.with_memory_size(4 * MIB, 16 * MIB, MIB).build()


class Greedy:
    """Takes all that a partition has, and keeps asking."""

    def __init__(self, where: QnxMemoryPartition) -> None:
        self.arena = QnxArenaAllocatorBuilder().with_partition(where).build()
        self.out: list[Any] = []
        self.refusals = 0

    def exhaust(self) -> None:
        for take in (lambda: self.arena.allocate(1, 1), lambda: self.arena.allocate_block(60000)):
            try:
                while True:
                    self.out.append(take())
            except OutOfMemoryError:
                self.refusals += 1


def allocator_of(where: QnxMemoryPartition) -> QnxAllocator:
    return QnxAllocatorBuilder().with_guard_pages().with_partition(where).build()


@pytest.mark.row("QP-4", proof="sim")
def test_exhaustion_of_one_tenant_leaves_the_others_work_as_it_was(module: Module) -> None:
    machine = QnxMemoryPartitionBuilder().with_memory_size(0, 20 * MIB).build()
    first, second = tenant("tenant1", machine), tenant("tenant2", machine)
    alone, beside = [], []
    worker = allocator_of(second)
    for _ in range(6):  # both variants in turn
        alone.append(one_round(worker, module))
        greedy = Greedy(first)
        greedy.exhaust()
        assert greedy.refusals == 2
        assert first.report.used_bytes > 15 * MIB  # all that there is above the second's promise
        beside.append(one_round(worker, module))
        del greedy
    assert alone == beside
    assert alone[0][:2] == (PAGES, 0)
    assert len(set(alone)) == 1


@pytest.mark.row("QP-4", proof="sim")
def test_without_partitions_the_same_exhaustion_stops_the_other(module: Module) -> None:
    """The twin: both in one partition, as large as both together."""
    shared = QnxMemoryPartitionBuilder().with_memory_size(0, 20 * MIB).build()
    worker = allocator_of(shared)
    assert one_round(worker, module)[:2] == (PAGES, 0)
    greedy = Greedy(shared)
    greedy.exhaust()
    with pytest.raises(OutOfMemoryError):
        one_round(worker, module)


@pytest.mark.row("QP-4", proof="sim")
def test_exhausted_tenant_still_has_its_reserve_for_small_blocks() -> None:
    machine = QnxMemoryPartitionBuilder().with_memory_size(0, 20 * MIB).build()
    first, second = tenant("tenant1", machine), tenant("tenant2", machine)
    greedy, arena = Greedy(first), QnxArenaAllocatorBuilder().with_partition(second).build()
    greedy.exhaust()
    out: list[Any] = []
    with pytest.raises(OutOfMemoryError, match="for small blocks"):
        while True:
            out.append(arena.allocate(1, 1))
    assert len(out) == 3 * MIB // PAGE
    blocks = [arena.allocate_block(1000) for _ in range(900)]
    assert second.report.used_bytes < 4 * MIB
    for block in blocks:
        block.memory[0] = 1


@pytest.mark.row("QP-4", proof="sim")
def test_tenants_on_threads_do_not_disturb_each_other(module: Module) -> None:
    machine = QnxMemoryPartitionBuilder().with_memory_size(0, 20 * MIB).build()
    parts = [tenant(name, machine) for name in ("tenant1", "tenant2", "tenant3")]
    stop, failures = threading.Event(), []
    greedy = [0]

    def exhaust() -> None:
        try:
            while not stop.is_set():
                taken = Greedy(parts[0])
                taken.exhaust()
                greedy[0] += taken.refusals
                taken.out.clear()
        except BaseException as error:
            failures.append(error)

    def work(where: QnxMemoryPartition, results: list[Any]) -> None:
        try:
            allocator = allocator_of(where)
            for _ in range(20):
                results.append(one_round(allocator, module)[:3])
        except BaseException as error:
            failures.append(error)

    done: list[list[Any]] = [[], []]
    workers = [threading.Thread(target=work, args=pair) for pair in zip(parts[1:], done)]
    thread = threading.Thread(target=exhaust)
    for each in (thread, *workers):
        each.start()
    for each in workers:
        each.join(60)
    stop.set()
    thread.join(60)
    assert failures == []
    assert greedy[0] > 2
    assert [len(results) for results in done] == [20, 20]
    assert len({result for results in done for result in results}) == 1
    assert done[0][0][:2] == (PAGES, 0)


# Row QX-1: what the documents say is not there.

ABSENT = {
    "message passing": {"message", "msg", "ipc", "send", "receive", "reply"},
    "resource manager": {"resmgr", "manager", "dispatch", "iofunc"},
    "high availability": {"ham", "availability"},
    "system profiler": {"profiler", "profile", "profiling", "trace"},
    "hardware watchdog": {"hardware", "hw", "watchdog"},
}


def words_of(name: str) -> set[str]:
    return set(re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().split("_"))


def public_names() -> dict[str, set[str]]:
    """What is under `qnx`, by language, from the sources."""
    c = set()
    for path in (ROOT / "c/include/wrt_platform/qnx").rglob("*.h"):
        text = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)
        c |= set(re.findall(r"\bwrt_qnx_\w+|\bWRT_QNX_\w+", text)) | {path.stem}
    python = set()
    for path in (ROOT / "python/wrt_platform/qnx").rglob("*.py"):
        python.add(path.stem)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
                python.add(node.name)
    rust = set()
    for path in (ROOT / "rust/wrt-platform/src/qnx").rglob("*.rs"):
        rust.add(path.stem)
        rust |= set(re.findall(r"\bpub (?:\w+ )*(?:struct|enum|trait|fn|mod|type) (\w+)",
                               path.read_text()))  # fmt: skip
    return {"C": c, "Python": python, "Rust": rust}


@pytest.mark.row("QX-1", proof="sim")
@pytest.mark.parametrize("language", ["C", "Python", "Rust"])
def test_nothing_of_the_list_of_what_is_not_implemented_is_there(language: str) -> None:
    names = public_names()[language]
    assert any("partition" in name.lower() for name in names), "the search finds nothing at all"
    for feature, words in ABSENT.items():
        assert {name for name in names if words_of(name) & words} == set(), feature
