"""The simulated QNX kernel's memory, heap, partitions, budgets and processes, by QNX's own calls.

The checks themselves are C, in tests/qnx/kernel; each semantic is broken once, and the checks have
to notice. Random sequences are compared with short models that work another way.
"""

from __future__ import annotations

import ctypes
import os
import random
from dataclasses import dataclass
from typing import Any

import pytest
from support.qnx_checks import Kernel

PAGE = 4096
OK, ENOMEM, EINVAL, ENOSYS = 0, 12, 22, 89

# Each table of checks, and the world that it is for.
WORLDS: dict[str, dict[str, Any]] = {
    "memory_checks": {},
    "arena_checks": {},
    "arena_lifo_checks": {"environment": {"MALLOC_FREE_LIFO": "1"}},
    "arena_start_checks": {"environment": {"MALLOC_ARENA_SIZE": "65536"}},
    "arena_8_checks": {"version": 800},
    "partition_checks": {"partitions": True},
    "partition_absent_checks": {},
    "budget_checks": {},
    "budget_absent_checks": {"version": 800},
    "spawn_checks": {},
    "spawn_partition_checks": {"partitions": True},
}

# Each semantic that can be broken, and the table that has to notice.
SEMANTICS = {
    "whole range": "memory_checks",
    "protection": "memory_checks",
    "limits": "memory_checks",
    "unmap": "partition_checks",
    "lazy": "partition_checks",
    "terminal": "partition_checks",
    "permanent": "partition_checks",
    "unit": "partition_checks",
    "lock": "partition_checks",
    "maximum": "partition_checks",
    "parent": "partition_checks",
    "peak": "partition_checks",
    "reserve": "partition_checks",
    "busy": "spawn_partition_checks",
    "association": "spawn_partition_checks",
    "child memory": "spawn_partition_checks",
    "status": "spawn_checks",
    "arena cache": "arena_checks",
    "free now": "arena_checks",
    "free order": "arena_checks",
    "option range": "arena_checks",
    "previous": "arena_checks",
    "realloc": "arena_checks",
    "modern": "arena_8_checks",
    "budget parent": "budget_checks",
    "budget quota": "budget_checks",
    "budget join": "budget_checks",
    "budget rules": "budget_checks",
}


@pytest.mark.row("QM-1", "QA-1", "QP-1", "QP-3")
@pytest.mark.parametrize("table", WORLDS)
def test_calls_do_what_qnx_documents(kernel: Kernel, table: str) -> None:
    count = 0
    for name, check in kernel.checks(table):
        kernel.start(**WORLDS[table])
        assert check() == "", name
        count += 1
    assert count > 0


@pytest.mark.parametrize("semantic", SEMANTICS)
def test_a_broken_semantic_is_noticed(kernel: Kernel, semantic: str) -> None:
    table = SEMANTICS[semantic]
    noticed = []
    for name, check in kernel.checks(table):
        kernel.start(**WORLDS[table], broken=semantic)
        if check() != "":
            noticed.append(name)
    assert noticed != []


def test_nothing_is_left_behind(kernel: Kernel) -> None:
    """The checks give back what they take, and the census sees that they do."""
    for table in ("memory_checks", "arena_checks", "spawn_partition_checks"):
        for name, check in kernel.checks(table):
            kernel.start(**WORLDS[table])
            check()
            assert {kind: count for kind, count in census(kernel).items() if count} == {}, name


class CensusView(ctypes.Structure):
    _fields_ = [("kind", ctypes.c_char_p), ("count", ctypes.c_int64)]


def census(kernel: Kernel) -> dict[str, int]:
    view, found = CensusView(), {}
    index = 0
    while kernel.control("census_query", index, ctypes.byref(view)) == OK:
        found[view.kind.decode()] = view.count
        index += 1
    return found


# Faults.


@pytest.mark.parametrize("call", ["mmap", "mprotect", "munmap"])
def test_a_call_fails_when_told_and_changes_nothing(kernel: Kernel, call: str) -> None:
    memory = mapped(kernel, 2)
    arguments: dict[str, tuple[object, ...]] = {
        "mmap": (None, size(1), READ | WRITE, PRIVATE, -1, offset()),
        "mprotect": (ctypes.c_void_p(memory), size(2), 0),
        "munmap": (ctypes.c_void_p(memory), size(2)),
    }
    before = mappings(kernel)
    kernel.must("fail_at", call.encode(), 1, 11)
    assert ctypes.c_ssize_t(kernel.call(call, *arguments[call])).value == -1
    assert kernel.errno == 11
    assert mappings(kernel) == before
    assert ctypes.c_ssize_t(kernel.call(call, *arguments[call])).value != -1


# Memory, by a model that keeps a record for each page.

NONE, READ, WRITE = 0, 0x100, 0x200
PRIVATE, FIXED = 0x80002, 0x10


class MappingView(ctypes.Structure):
    _fields_ = [
        ("address", ctypes.c_size_t),
        ("host_address", ctypes.c_size_t),
        ("size", ctypes.c_uint64),
        ("paid_bytes", ctypes.c_uint64),
        ("access", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("reserved", ctypes.c_uint64 * 2),
    ]


def size(pages: int) -> ctypes.c_size_t:
    return ctypes.c_size_t(pages * PAGE)


def offset() -> ctypes.c_int64:
    return ctypes.c_int64(0)


def mapped(kernel: Kernel, pages: int, protection: int = READ | WRITE) -> int:
    address = kernel.call("mmap", None, size(pages), protection, PRIVATE, -1, offset())
    assert ctypes.c_ssize_t(address).value != -1
    return address


def mappings(kernel: Kernel) -> list[tuple[int, int, int, int]]:
    view = MappingView()
    found: list[tuple[int, int, int, int]] = []
    while kernel.control("mapping_query", len(found), ctypes.byref(view)) == OK:
        found.append((view.address, view.size, view.access, view.paid_bytes))
    return found


@dataclass
class Page:
    protection: int
    paid: bool


def as_pages(kernel: Kernel, base: int, count: int) -> list[tuple[int, bool] | None]:
    """The kernel's runs, page by page; whether a run's pages are paid is told of the run."""
    pages: list[tuple[int, bool] | None] = [None] * count
    for address, length, access, _ in mappings(kernel):
        for at in range(address, address + length, PAGE):
            pages[(at - base) // PAGE] = (access, True)
    return pages


@pytest.mark.row("QM-1")
@pytest.mark.parametrize("seed", range(12))
def test_random_mappings_are_those_of_a_model(kernel: Kernel, seed: int) -> None:
    """The model has a record for each page, where the kernel has runs that it splits and joins."""
    chance = random.Random(seed)
    count = 40
    base = mapped(kernel, count, NONE)
    model: list[Page | None] = [Page(0, False) for _ in range(count)]
    for _ in range(250):
        first = chance.randrange(count)
        end = chance.randrange(first, count) + 1
        place = ctypes.c_void_p(base + first * PAGE)
        access = chance.choice([0, 1, 3])
        protection = {0: NONE, 1: READ, 3: READ | WRITE}[access]
        action = chance.choice(["protect", "protect", "unmap", "map"])
        if action == "protect":
            got = kernel.call("mprotect", place, size(end - first), protection)
            whole = all(page is not None for page in model[first:end])
            assert got == (0 if whole else -1)
            if whole:
                for page in model[first:end]:
                    assert page is not None
                    page.protection, page.paid = access, page.paid or access != 0
        elif action == "unmap" and chance.random() < 0.4:
            assert kernel.call("munmap", place, size(end - first)) == 0
            model[first:end] = [None] * (end - first)
        elif action == "map":
            got = kernel.call("mmap", place, size(end - first), protection, PRIVATE | FIXED, -1,
                              offset())  # fmt: skip
            assert got == place.value
            model[first:end] = [Page(access, access != 0) for _ in range(first, end)]
        seen = as_pages(kernel, base, count)
        assert [page and page[0] for page in seen] == [page and page.protection for page in model]
        paid = sum(paid for *_, paid in mappings(kernel))
        assert paid == PAGE * sum(page is not None and page.paid for page in model)


def test_the_other_alias_shows_what_protection_hides(kernel: Kernel) -> None:
    memory = mapped(kernel, 2)
    ctypes.memmove(memory + PAGE, b"behind", 6)
    assert kernel.call("mprotect", ctypes.c_void_p(memory), size(2), NONE) == 0
    alias = ctypes.c_void_p()
    kernel.must("host_address", ctypes.c_void_p(memory + PAGE), size(1), ctypes.byref(alias))
    assert ctypes.string_at(alias, 6) == b"behind"
    assert kernel.call("mprotect", ctypes.c_void_p(memory), size(2), READ) == 0
    assert ctypes.string_at(memory + PAGE, 6) == b"behind"
    assert (
        kernel.control("host_address", ctypes.c_void_p(memory), size(3), ctypes.byref(alias)) != OK
    )
    assert kernel.control("host_address", ctypes.c_void_p(64), size(1), ctypes.byref(alias)) != OK


def test_a_forked_child_has_no_kernel_and_no_pages(kernel: Kernel) -> None:
    memory = mapped(kernel, 1)
    child = os.fork()
    if child == 0:
        refused = kernel.call("mmap", None, size(1), READ, PRIVATE, -1, offset())
        wrong = ctypes.c_ssize_t(refused).value != -1 or kernel.errno != ENOSYS
        wrong = wrong or kernel.library.can_read(ctypes.c_void_p(memory)) & 0xFF != 0
        os._exit(int(wrong))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert kernel.library.can_read(ctypes.c_void_p(memory)) & 0xFF == 1


class MemoryView(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_uint64) for name in
          ("mapped", "data", "paid", "owed", "system", "system_free")),
        ("mapping_count", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
        ("protected_copies", ctypes.c_uint64),
        ("bad_frees", ctypes.c_uint64),
    ]  # fmt: skip


def memory_of(kernel: Kernel) -> MemoryView:
    view = MemoryView()
    kernel.must("memory_query", ctypes.byref(view))
    return view


class Limit(ctypes.Structure):
    _fields_ = [("soft", ctypes.c_uint64), ("hard", ctypes.c_uint64)]


def test_the_free_memory_of_a_limit_stays_free(kernel: Kernel) -> None:
    """RLIMIT_FREEMEM is tenths of a percent of the system's memory."""
    kernel.must("set_system_memory", ctypes.c_uint64(1000 * PAGE))
    try:
        assert kernel.call("setrlimit", 13, ctypes.byref(Limit(200, 2**64 - 3))) == 0
        mapped(kernel, 800)
        refused = kernel.call("mmap", None, size(1), READ, PRIVATE, -1, offset())
        assert ctypes.c_ssize_t(refused).value == -1
        assert kernel.errno == ENOMEM
        assert memory_of(kernel).system_free == 200 * PAGE
    finally:
        kernel.start()
        kernel.must("set_system_memory", ctypes.c_uint64(1 << 30))


# The heap.


@pytest.mark.row("QA-1")
@pytest.mark.parametrize("seed", range(8))
def test_random_blocks_keep_their_content(kernel: Kernel, seed: int) -> None:
    chance = random.Random(seed)
    blocks: dict[int, bytes] = {}
    for _ in range(600):
        action = chance.random()
        wanted = chance.choice([8, 40, 128, 200, 3000, 20000, 70000])
        wanted = chance.randrange(1, wanted)
        if action < 0.45 or not blocks:
            address = kernel.call("malloc", ctypes.c_size_t(wanted))
        elif action < 0.55:
            alignment = 1 << chance.randrange(4, 14)
            address = kernel.call("memalign", ctypes.c_size_t(alignment), ctypes.c_size_t(wanted))
            assert address % alignment == 0
        elif action < 0.7:
            old = chance.choice(list(blocks))
            content = blocks.pop(old)
            address = kernel.call("realloc", ctypes.c_void_p(old), ctypes.c_size_t(wanted))
            kept = min(len(content), wanted)
            assert ctypes.string_at(address, kept) == content[:kept]
        else:
            old = chance.choice(list(blocks))
            assert ctypes.string_at(old, len(blocks[old])) == blocks.pop(old)
            kernel.call("free", ctypes.c_void_p(old))
            continue
        assert address != 0 and address % 16 == 0
        blocks[address] = chance.randbytes(wanted)
        ctypes.memmove(address, blocks[address], wanted)
    for address, content in blocks.items():
        assert ctypes.string_at(address, len(content)) == content
        kernel.call("free", ctypes.c_void_p(address))
    assert kernel.call("mallopt", FREE_NOW, ctypes.c_ssize_t(1)) == 0
    assert mappings(kernel) == []
    assert memory_of(kernel).bad_frees == 0


FREE_NOW = 9


def test_what_the_real_realloc_could_not_read_is_counted(kernel: Kernel) -> None:
    block = kernel.call("memalign", ctypes.c_size_t(PAGE), ctypes.c_size_t(2 * PAGE))
    kernel.call("malloc", ctypes.c_size_t(PAGE))
    assert kernel.call("mprotect", ctypes.c_void_p(block + PAGE), size(1), NONE) == 0
    assert kernel.call("realloc", ctypes.c_void_p(block), ctypes.c_size_t(9 * PAGE)) != block
    assert memory_of(kernel).protected_copies == 1


def test_a_block_that_is_none_is_counted_and_harms_nothing(kernel: Kernel) -> None:
    block = kernel.call("malloc", ctypes.c_size_t(100))
    for wrong in (block + 8, block, block):
        kernel.call("free", ctypes.c_void_p(wrong))
    assert memory_of(kernel).bad_frees == 2


# Budgets.


class BudgetView(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char * 16),
        ("id", ctypes.c_int32),
        ("parent_id", ctypes.c_int32),
        ("percent", ctypes.c_uint32),
        ("critical_ms", ctypes.c_uint32),
        ("wanted", ctypes.c_uint32),
        ("used", ctypes.c_uint32),
    ]


class Creation(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("percent", ctypes.c_uint16),
        ("critical_ms", ctypes.c_int16),
        ("flags", ctypes.c_uint8),
        ("parent_id", ctypes.c_int8),
        ("reserved1", ctypes.c_int16),
        ("reserved2", ctypes.c_uint64),
        ("id", ctypes.c_int16),
        ("reserved3", ctypes.c_int16),
    ]


CREATE_PARTITION = 0x1002


def budgets(kernel: Kernel, *percents: int) -> list[int]:
    ids = []
    for percent in percents:
        wanted = Creation(percent=percent)
        length = ctypes.c_size_t(ctypes.sizeof(wanted))
        assert kernel.call("SchedCtl_r", CREATE_PARTITION, ctypes.byref(wanted), length) == OK
        ids.append(int(wanted.id))
    return ids


def shares(kernel: Kernel, ids: list[int], wanted: list[int]) -> list[int]:
    """Percents of the processor that each gets, if it wants so much."""
    view, found = BudgetView(), []
    for budget, percent in zip(ids, wanted):
        kernel.must("budget_want", budget, percent)
    for budget in ids:
        kernel.must("budget_query", budget, ctypes.byref(view))
        found.append(int(view.used))
    return found


def test_a_budget_is_a_guarantee_and_no_cap(kernel: Kernel) -> None:
    ids = [0, *budgets(kernel, 30, 10)]
    assert shares(kernel, ids, [100, 100, 100]) == [6000, 3000, 1000]
    assert shares(kernel, ids, [0, 0, 100]) == [0, 0, 10000]
    assert shares(kernel, ids, [20, 20, 20]) == [2000, 2000, 2000]
    greedy = shares(kernel, ids, [100, 30, 10])
    assert greedy == [6000, 3000, 1000]
    kernel.must("break", b"budget guarantee", ctypes.c_bool(True))
    assert shares(kernel, ids, [100, 30, 10]) != greedy
