"""Where linear memory lies: huge pages, nodes, sharing, and what the kernel says of all that.

smaps and numa_maps are read here by a reader of our own, and compared with what the library says.
"""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from process_memory import Mapping, between
from support.environments import say_in
from wrt_platform._native import ffi
from wrt_platform.enforcement import EnforcementState
from wrt_platform.errors import InvalidArgumentError, UnsupportedError
from wrt_platform.linux.memory import (
    LinuxAllocator,
    LinuxAllocatorBuilder,
    LinuxPageKind,
    MadviseFlags,
    MmapFlags,
    NumaPolicy,
    ThpMode,
    detect_numa_topology,
)
from wrt_platform.page_allocator import PAGE_SIZE, Pages, Protection

HUGE = 2 << 20
PER_HUGE = HUGE // PAGE_SIZE
THP = Path("/sys/kernel/mm/transparent_hugepage/enabled")
POOL = Path("/sys/kernel/mm/hugepages/hugepages-2048kB")


def builder() -> LinuxAllocatorBuilder:
    return LinuxAllocatorBuilder().with_maximum_pages(4 * PER_HUGE).with_guard_pages()


def base_of(pages: Pages) -> int:
    return int(ffi.cast("uintptr_t", pages._raw.base))


def areas(pages: Pages) -> list[Mapping]:
    return between(base_of(pages), base_of(pages) + pages.page_count * PAGE_SIZE)


def total(pages: Pages, *keys: str) -> int:
    return sum(area.kib.get(key, 0) for area in areas(pages) for key in keys) * 1024


def touch(pages: Pages) -> None:
    for offset in range(0, pages.page_count * PAGE_SIZE, 4096):
        pages.memory[offset] = 1


def pool(name: str) -> int:
    return int((POOL / name).read_text())


thp_granted = pytest.mark.skipif(
    not THP.exists() or "[never]" in THP.read_text(), reason="this system has no huge pages"
)


# Row LM-2: flags.


def child_writes(pages: Pages) -> bytes:
    child = os.fork()
    if child == 0:
        pages.memory[:5] = b"child"
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    return bytes(pages.memory[:5])


@pytest.mark.row("LM-2")
def test_a_forked_child_shares_what_is_shared_and_nothing_else() -> None:
    for flags, seen in ((MmapFlags.SHARED, b"child"), (MmapFlags.ANONYMOUS, bytes(5))):
        pages = builder().with_custom_flags(flags).build().allocate(1, 4)
        assert child_writes(pages) == seen
        pages.grow(1)
        assert bytes(pages.memory[PAGE_SIZE:]) == bytes(PAGE_SIZE)


@pytest.mark.row("LM-2")
def test_flags_are_those_that_the_kernel_shows() -> None:
    every = MmapFlags.SHARED | MmapFlags.ANONYMOUS | MmapFlags.NORESERVE | MmapFlags.STACK
    (shared,) = areas(builder().with_custom_flags(every).build().allocate(1, 4))
    assert shared.access == "rw-s" and {"sh", "nr"} <= shared.flags
    (claimed,) = areas(builder().with_custom_flags(MmapFlags.STACK).build().allocate(1, 4))
    assert claimed.access == "rw-p" and "nr" not in claimed.flags
    (default,) = areas(builder().build().allocate(1, 4))
    assert default.access == "rw-p" and "nr" in default.flags


@pytest.mark.row("LM-2")
def test_huge_pages_without_a_reserve_are_refused() -> None:
    build = builder().with_huge_pages().with_custom_flags(MmapFlags.NORESERVE)
    with pytest.raises(InvalidArgumentError, match="SIGBUS"):
        build.build()
    with pytest.raises(InvalidArgumentError, match="custom_flags has 64"):
        builder().with_custom_flags(MmapFlags(64)).build()


# Row LM-3: transparent huge pages, advice, statistics.


@thp_granted
@pytest.mark.row("LM-3")
def test_transparent_huge_pages_come_when_asked_for_and_never_when_denied() -> None:
    always = builder().with_thp_mode(ThpMode.ALWAYS).build()
    pages = always.allocate(2 * PER_HUGE)
    touch(pages)
    assert base_of(pages) % HUGE == 0
    assert total(pages, "AnonHugePages") == 2 * HUGE
    stats = always.get_memory_stats(pages)
    assert (stats.huge_pages, stats.total_pages) == (2, 2)
    assert stats.page_kind == always.report.page_kind == LinuxPageKind.TRANSPARENT
    assert always.report.thp.state == EnforcementState.ENFORCED
    always.set_thp_mode(ThpMode.NEVER)
    denied = always.allocate(2 * PER_HUGE)
    touch(denied)
    assert total(denied, "AnonHugePages") == 0
    assert always.get_memory_stats(denied).huge_pages == 0
    assert always.get_memory_stats(pages) == stats  # what is out stays as it is


@pytest.mark.row("LM-3")
@pytest.mark.parametrize("flags", [MmapFlags(0), MmapFlags.SHARED])
@pytest.mark.parametrize("mode", list(ThpMode))
def test_statistics_are_those_of_smaps(flags: MmapFlags, mode: ThpMode) -> None:
    allocator = builder().with_thp_mode(mode).with_custom_flags(flags).build()
    pages = allocator.allocate(PER_HUGE + 3)
    for offset in (0, 4096, 9 * PAGE_SIZE, HUGE + 1):
        pages.memory[offset] = 1
    pages.protect(PAGE_SIZE, PAGE_SIZE, Protection.READ)  # three mappings
    stats = allocator.get_memory_stats(pages)
    assert stats.accessible_bytes == HUGE + 3 * PAGE_SIZE
    assert stats.resident_bytes == total(pages, "Rss") > 0
    assert stats.huge_bytes == total(pages, "AnonHugePages", "ShmemPmdMapped")
    assert stats.locked_bytes == total(pages, "Locked") == 0
    assert stats.swapped_bytes == total(pages, "Swap")
    assert stats.total_pages == 2


@pytest.mark.whole_process
@pytest.mark.row("LM-3")
def test_locked_bytes_are_those_of_smaps() -> None:
    allocator = builder().with_mlock().build()
    pages = allocator.allocate(2)
    stats = allocator.get_memory_stats(pages)
    assert stats.locked_bytes == total(pages, "Locked") == 2 * PAGE_SIZE


@pytest.mark.row("LM-3")
def test_advice_reaches_the_kernel() -> None:
    allocator = builder().build()
    pages = allocator.allocate(2)
    allocator.madvise(pages, MadviseFlags.SEQUENTIAL | MadviseFlags.DONTDUMP)
    (area,) = areas(pages)
    assert {"sr", "dd"} <= area.flags
    allocator.madvise(pages, MadviseFlags.RANDOM | MadviseFlags.DODUMP, 4096, 4096)
    first, second, _ = areas(pages)
    assert "sr" in first.flags and "dd" in first.flags
    assert "rr" in second.flags and "dd" not in second.flags
    with pytest.raises(InvalidArgumentError, match="unknown flags"):
        allocator.madvise(pages, MadviseFlags.RANDOM, 1, 4096)
    with pytest.raises(InvalidArgumentError, match="unknown flags"):
        allocator.madvise(pages, MadviseFlags(1 << 20))
    with pytest.raises(InvalidArgumentError):
        allocator.madvise(pages, MadviseFlags.RANDOM, 0, 3 * PAGE_SIZE)


@thp_granted
@pytest.mark.row("LM-3")
def test_collapse_makes_huge_pages_of_small_ones() -> None:
    allocator = builder().build()
    pages = LinuxAllocatorBuilder().with_maximum_pages(PER_HUGE * 3).build().allocate(PER_HUGE * 3)
    allocator = pages._allocator  # type: ignore[assignment]
    touch(pages)
    pages.memory[12345] = 77
    before = allocator.get_memory_stats(pages).huge_pages
    try:
        allocator.madvise(pages, MadviseFlags.COLLAPSE)
    except UnsupportedError as error:
        pytest.skip(f"before Linux 6.1: {error}")
    assert allocator.get_memory_stats(pages).huge_pages > before or before > 0
    assert pages.memory[12345] == 77


@pytest.mark.row("LM-5")
def test_a_process_without_transparent_pages_is_told_so() -> None:
    body = """
    from wrt_platform.linux.memory import *
    assert _libc.prctl(41, 1, 0, 0, 0) == 0  # PR_SET_THP_DISABLE
    build = LinuxAllocatorBuilder().with_thp_mode(ThpMode.ALWAYS).with_maximum_pages(64)
    allocator = build.build()
    pages = allocator.allocate(64)
    pages.memory[:] = bytes(64 * 65536)
    report = allocator.report
    print(report.thp.state.name, "PR_SET_THP_DISABLE" in report.thp.reason)
    print(report.page_kind.name, allocator.get_memory_stats(pages).huge_pages)
    """
    assert say_in("here", body) == ["ABSENT", "True", "SYSTEM", "0"]


# Rows LM-1 and LM-5: huge pages, from large to small.


@pytest.mark.skipif(POOL.exists() and pool("free_hugepages") > 0, reason="the pool is not empty")
@pytest.mark.row("LM-5")
def test_with_an_empty_pool_the_report_says_what_it_came_to() -> None:
    allocator = builder().with_huge_pages().build()
    assert "no allocation yet" in allocator.report.huge_pages.reason
    pages = allocator.allocate(PER_HUGE)
    touch(pages)
    report = allocator.report
    assert "vm.nr_hugepages" in report.huge_pages.reason
    assert report.page_kind == allocator.get_memory_stats(pages).page_kind
    expected = {LinuxPageKind.TRANSPARENT: EnforcementState.PARTIAL}
    assert report.huge_pages.state == expected.get(report.page_kind, EnforcementState.ABSENT)
    allocator.set_thp_mode(ThpMode.NEVER)
    small = allocator.allocate(PER_HUGE)
    assert allocator.report.page_kind == LinuxPageKind.SYSTEM
    assert allocator.report.huge_pages.state == EnforcementState.ABSENT
    touch(small)
    assert total(small, "AnonHugePages") == 0


@pytest.fixture
def huge() -> Iterator[Callable[[], LinuxAllocator]]:
    """Needs the machine's pool of 64 huge pages; each test leaves it as it was."""
    before = pool("free_hugepages"), pool("resv_hugepages")
    assert before[0] >= 64
    yield lambda: builder().with_huge_pages().build()
    assert (pool("free_hugepages"), pool("resv_hugepages")) == before


@pytest.mark.vm
@pytest.mark.row("LM-1")
def test_huge_pages_come_from_the_pool_as_they_are_opened(
    huge: Callable[[], LinuxAllocator],
) -> None:
    allocator = huge()
    free = pool("free_hugepages")
    pages = allocator.allocate(1)
    assert allocator.report.page_kind == LinuxPageKind.HUGE_2_MIB
    assert allocator.report.huge_pages.state == EnforcementState.ENFORCED
    assert allocator.report.guard_pages.state == EnforcementState.PARTIAL
    assert {area.kib["KernelPageSize"] for area in areas(pages)} == {2048}
    assert free - pool("free_hugepages") == 1
    assert pool("resv_hugepages") == 3  # the rest can't be taken away
    pages.memory[PAGE_SIZE - 1] = 9
    ctypes.memset(base_of(pages) + PAGE_SIZE, 0xAA, PAGE_SIZE)  # a stray write before it is given
    pages.grow(1)
    assert bytes(pages.memory[PAGE_SIZE:]) == bytes(PAGE_SIZE)
    assert pages.memory[PAGE_SIZE - 1] == 9
    pages.grow(PER_HUGE)
    assert free - pool("free_hugepages") == 2
    stats = allocator.get_memory_stats(pages)
    assert (stats.huge_pages, stats.total_pages, stats.page_kind) == (2, 2, 3)
    with pytest.raises(InvalidArgumentError, match="2097152 bytes"):
        pages.protect(4096, 4096, Protection.READ)
    pages.protect(HUGE, 2 * PAGE_SIZE, Protection.READ)
    assert areas(pages)[1].access == "r--p"
    pages.release()
    allocator.close()


@pytest.mark.vm
@pytest.mark.row("LM-5")
def test_more_than_the_pool_has_comes_from_the_next_smaller_pages(
    huge: Callable[[], LinuxAllocator],
) -> None:
    build = LinuxAllocatorBuilder().with_maximum_pages(65 * PER_HUGE).with_huge_pages()
    allocator = build.build()
    pages = allocator.allocate(PER_HUGE)
    touch(pages)
    assert allocator.report.page_kind == LinuxPageKind.TRANSPARENT
    assert allocator.report.huge_pages.state == EnforcementState.PARTIAL
    assert total(pages, "AnonHugePages") == HUGE
    pages.release()
    limited = huge()
    kept = limited.allocate(4 * PER_HUGE)
    kept.release()
    small = builder().with_huge_pages().with_largest_page_kind(LinuxPageKind.SYSTEM).build()
    some = small.allocate(PER_HUGE)
    touch(some)
    assert small.report.page_kind == LinuxPageKind.SYSTEM
    assert total(some, "AnonHugePages", "Private_Hugetlb") == 0


@pytest.mark.vm
@pytest.mark.row("LM-4")
def test_a_node_without_huge_pages_is_an_error_or_a_fallback_and_no_signal(
    huge: Callable[[], LinuxAllocator],
) -> None:
    node = Path("/sys/devices/system/node/node1/hugepages/hugepages-2048kB/free_hugepages")
    free = int(node.read_text())
    build = LinuxAllocatorBuilder().with_maximum_pages((free + 1) * PER_HUGE)
    allocator = build.with_huge_pages().with_numa_node(1).build()
    pages = allocator.allocate((free + 1) * PER_HUGE)  # more than node 1 has
    assert allocator.report.page_kind == LinuxPageKind.TRANSPARENT
    pages.memory[:] = bytes(len(pages.memory))
    assert placed(pages).keys() == {1}
    pages.release()


# Row LM-4: nodes.


def placed(pages: Pages) -> dict[int, int]:
    """Pages on each node, as numa_maps has them."""
    counts: dict[int, int] = {}
    for line in Path("/proc/self/numa_maps").read_text().splitlines():
        start = int(line.split()[0], 16)
        if base_of(pages) <= start < base_of(pages) + pages.page_count * PAGE_SIZE:
            for node, count in re.findall(r"\bN(\d+)=(\d+)", line):
                counts[int(node)] = counts.get(int(node), 0) + int(count)
    return counts


def policy(pages: Pages) -> str:
    for line in Path("/proc/self/numa_maps").read_text().splitlines():
        if int(line.split()[0], 16) == base_of(pages):
            return line.split()[1]
    raise AssertionError("not mapped")


@pytest.mark.vm
@pytest.mark.row("LM-4")
def test_memory_lies_on_the_nodes_that_are_named() -> None:
    count = 4 * PER_HUGE * (PAGE_SIZE // 4096)
    build = builder().with_thp_mode(ThpMode.NEVER)
    for node in (0, 1):
        bound = build.with_numa_node(node).build()
        pages = bound.allocate(4 * PER_HUGE)
        touch(pages)
        assert policy(pages) == f"bind:{node}"
        assert placed(pages) == {node: count}
        assert bound.report.numa.state == EnforcementState.ENFORCED
    spread = builder().with_thp_mode(ThpMode.NEVER).with_numa_policy(NumaPolicy.INTERLEAVE)
    nodes = detect_numa_topology().all_nodes_mask()
    for allocator in (spread.build(), spread.with_numa_mask(nodes).build()):
        pages = allocator.allocate(4 * PER_HUGE)
        touch(pages)
        assert policy(pages) == "interleave:0-1"
        assert placed(pages) == {0: count // 2, 1: count // 2}
    preferred = builder().with_preferred_node(1).build()
    pages = preferred.allocate(1)
    touch(pages)
    assert policy(pages).startswith("prefer") and placed(pages).keys() == {1}


@pytest.mark.vm
@pytest.mark.row("LM-4")
def test_of_several_bound_nodes_the_preferred_one_is_asked_first() -> None:
    both = builder().with_numa_policy(NumaPolicy.BIND).with_numa_mask({0, 1})
    allocator = both.with_preferred_node(1).build()
    pages = allocator.allocate(4)
    touch(pages)
    assert policy(pages) == "bind:0-1"
    if allocator.report.numa.state == EnforcementState.ENFORCED:  # Linux 5.17
        assert placed(pages).keys() == {1}


@pytest.mark.vm
@pytest.mark.row("LM-4")
def test_topology_of_two_nodes() -> None:
    topology = detect_numa_topology()
    assert topology.num_nodes == 2
    assert topology.all_nodes_mask() == {0, 1}


@pytest.mark.row("LM-4")
def test_topology_is_that_of_sysfs() -> None:
    topology = LinuxAllocator.detect_numa_topology()
    assert topology.num_nodes == len(topology.nodes) >= 1
    for node in topology.nodes:
        path = Path(f"/sys/devices/system/node/node{node.id}/meminfo")
        if path.exists():
            said = re.search(r"MemTotal:\s*(\d+) kB", path.read_text())
            assert said is not None and node.total_bytes == int(said[1]) * 1024
        assert 0 < node.free_bytes < node.total_bytes
        assert node.free_mb == node.free_bytes >> 20


@pytest.mark.row("LM-4")
def test_nodes_that_contradict_each_other_are_refused() -> None:
    here = detect_numa_topology().nodes[0].id
    bind = builder().with_numa_node(here).with_numa_policy(NumaPolicy.BIND)
    with pytest.raises(InvalidArgumentError, match="takes memory from no other"):
        bind.with_preferred_node(here + 1).build()
    bind.with_preferred_node(here).build()
    with pytest.raises(InvalidArgumentError, match="node 1023 has no memory"):
        builder().with_numa_node(1023).build()
    with pytest.raises(InvalidArgumentError, match="not below 1024"):
        builder().with_numa_node(1024).build()
    with pytest.raises(InvalidArgumentError, match="both name"):
        builder().with_numa_node(here).with_numa_mask({here}).build()
    with pytest.raises(InvalidArgumentError, match="needs nodes"):
        builder().with_numa_policy(NumaPolicy.BIND).build()
    with pytest.raises(InvalidArgumentError, match="takes one"):
        both = builder().with_numa_mask({here, here + 1})
        both.with_numa_policy(NumaPolicy.PREFERRED).build()


@pytest.mark.row("LM-4")
def test_no_node_is_reported_as_not_asked_and_leaves_the_systems_policy() -> None:
    allocator = builder().build()
    pages = allocator.allocate(1)
    assert allocator.report.numa.state == EnforcementState.NOT_ASKED
    if Path("/proc/self/numa_maps").exists():
        assert policy(pages) == "default"


@pytest.mark.row("LM-5")
@pytest.mark.parametrize("code", ["ENOSYS", "EPERM"])
def test_where_mbind_is_refused_memory_still_comes_and_the_report_says_from_where(
    code: str,
) -> None:
    body = f"""
    import wrt_platform.linux.memory as memory
    build = SeccompBuilder().with_default_action(SeccompAction.ALLOW)
    build.with_rule("mbind", SeccompAction.ERRNO, error=errno.{code})
    build.build().load()
    here = memory.detect_numa_topology().nodes
    allocator = memory.LinuxAllocatorBuilder().with_numa_node(here[0].id).build()
    allocator.allocate(1, 4).memory[0] = 1
    print(len(here), allocator.report.numa.state.name)
    """
    count, state = say_in("here", body)
    assert state == ("ENFORCED" if count == "1" else "ABSENT")


@pytest.mark.vm
@pytest.mark.row("LM-5")
@pytest.mark.parametrize(("code", "reason"), [("ENOSYS", "CONFIG_NUMA"), ("EPERM", "Docker")])
def test_on_two_nodes_a_refused_mbind_is_reported_with_its_remedy(code: str, reason: str) -> None:
    body = f"""
    import wrt_platform.linux.memory as memory
    build = SeccompBuilder().with_default_action(SeccompAction.ALLOW)
    build.with_rule("mbind", SeccompAction.ERRNO, error=errno.{code})
    build.build().load()
    allocator = memory.LinuxAllocatorBuilder().with_numa_node(1).build()
    allocator.allocate(1, 4).memory[0] = 1
    print(allocator.report.numa.state.name, {reason!r} in allocator.report.numa.reason)
    """
    assert say_in("here", body) == ["ABSENT", "True"]
