"""Memory partitions: what they count and keep."""

from __future__ import annotations

import gc
import os
import random
import signal
from collections.abc import Callable
from typing import Any

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
from qnx_world import KIB, MIB, PAGE, access_at, base_of, holdings, must, new_world, partitions
from wrt_platform._native import ffi, lib
from wrt_platform.enforcement import EnforcementState
from wrt_platform.errors import (
    BusyError,
    InvalidArgumentError,
    LimitError,
    OutOfMemoryError,
    StateError,
    UnsupportedError,
)
from wrt_platform.qnx.arena import QnxArenaAllocatorBuilder
from wrt_platform.qnx.partition import (
    PartitionGuard,
    QnxMemoryPartition,
    QnxMemoryPartitionBuilder,
    QnxPartitionFlags,
    QnxPartitionKeeper,
)

pytestmark = pytest.mark.usefixtures("world")


@pytest.mark.row("QP-1", proof="sim")
def test_every_allocation_is_counted_through_the_tree() -> None:
    top = partition(maximum=64 * PAGE)
    middle = partition(parent=top)
    low, beside = partition(parent=middle), partition(parent=middle)
    pages = allocator_in(low).allocate(2, 8)
    others = allocator_in(beside).allocate(1, 8)
    used = [p.report.used_bytes // PAGE for p in (top, middle, low, beside)]
    assert used == [3, 3, 2, 1]
    pages.grow(3)
    assert [p.report.used_bytes // PAGE for p in (top, middle, low, beside)] == [6, 6, 5, 1]
    pages.release()
    assert [p.report.used_bytes // PAGE for p in (top, middle, low, beside)] == [1, 1, 0, 1]
    assert [p.report.peak_bytes // PAGE for p in (top, middle, low, beside)] == [6, 6, 5, 1]
    others.release()
    assert top.report.used_bytes == 0


@pytest.mark.row("QP-1", proof="sim")
def test_random_work_agrees_with_a_model_of_the_tree() -> None:
    """The model says only this: a partition holds from its parent the larger of what it uses and
    what it was promised."""
    chance = random.Random(7)
    limits = {"top": (0, 40), "a": (6, 20), "b": (10, 0), "aa": (2, 9), "ab": (0, 12)}
    above = {"a": "top", "b": "top", "aa": "a", "ab": "a"}
    made: dict[str, QnxMemoryPartition] = {}
    for name, (low, high) in limits.items():
        made[name] = partition(low * PAGE, high * PAGE, parent=made.get(above.get(name, "")))
    own = dict.fromkeys(limits, 0)

    def used(name: str) -> int:
        below = (child for child, parent in above.items() if parent == name)
        return own[name] + sum(max(used(child), limits[child][0]) for child in below)

    def fits() -> bool:
        return all(used(name) <= (high or 10**9) for name, (_, high) in limits.items())

    allocators = {name: allocator_in(where) for name, where in made.items()}
    out: list[tuple[str, Any]] = []
    refused = 0
    for _ in range(600):
        name, count = chance.choice(list(limits)), chance.randint(1, 6)
        if out and chance.random() < 0.45:
            gone, pages = out.pop(chance.randrange(len(out)))
            own[gone] -= pages.page_count
            pages.release()
        else:
            own[name] += count
            if fits():
                out.append((name, allocators[name].allocate(count, count)))
            else:
                own[name] -= count
                refused += 1
                with pytest.raises(OutOfMemoryError):
                    allocators[name].allocate(count, count)
        for each, where in made.items():
            assert where.report.used_bytes == used(each) * PAGE, each
    assert refused > 50
    for _, pages in out:
        pages.release()


@pytest.mark.row("QP-1", proof="sim")
def test_reserve_holds_against_a_greedy_sibling() -> None:
    top = partition(maximum=16 * PAGE)
    modest, greedy = partition(6 * PAGE, parent=top), partition(parent=top)
    assert top.report.used_bytes == 6 * PAGE  # the promise, before it is used
    taken = allocator_in(greedy).allocate(0, 256)
    with pytest.raises(OutOfMemoryError):
        while True:
            taken.grow(1)
    assert taken.page_count == 10
    pages = allocator_in(modest).allocate(6, 256)  # all that was promised is there
    pages.memory[-1] = 1
    with pytest.raises(OutOfMemoryError):
        pages.grow(1)
    taken.grow(0)
    taken.release()
    pages.grow(10)
    with pytest.raises(OutOfMemoryError):
        pages.grow(1)


@pytest.mark.row("QP-1", proof="sim")
def test_promise_that_the_parent_has_not_got_is_refused_with_nothing_changed() -> None:
    top = partition(maximum=16 * PAGE)
    first = partition(10 * PAGE, parent=top)
    with pytest.raises(OutOfMemoryError):
        partition(7 * PAGE, parent=top)
    assert (top.report.used_bytes, top.report.child_count) == (10 * PAGE, 1)
    first.close()
    assert (top.report.used_bytes, top.report.child_count) == (0, 0)


@pytest.mark.row("QP-1", proof="sim")
def test_reserved_bytes_are_left_for_small_blocks() -> None:
    where = partition(4 * PAGE, 4 * PAGE, PAGE, name="wasm")
    arena = QnxArenaAllocatorBuilder().with_partition(where).with_maximum_pages(8).build()
    pages = arena.allocate(3, 8)
    with pytest.raises(OutOfMemoryError, match="keeps the last 65536 for small blocks"):
        pages.grow(1)
    blocks = [arena.allocate_block(16 * KIB) for _ in range(3)]
    with pytest.raises(OutOfMemoryError, match="65536 bytes are asked for"):
        arena.allocate_block(64 * KIB - 72)
    for block in blocks:
        block.release()
    with pytest.raises(OutOfMemoryError):  # what blocks gave back is theirs again
        pages.grow(1)
    pages.release()
    arena.allocate(3, 3).release()


@pytest.mark.row("QP-1", proof="sim")
@pytest.mark.parametrize("part", ["first", "grown"])
def test_refused_memory_is_not_made_accessible(part: str) -> None:
    where = partition(maximum=2 * PAGE)
    allocator = allocator_in(where)
    before = holdings()
    if part == "first":
        with pytest.raises(OutOfMemoryError, match="196608 bytes are asked for, the account has"):
            allocator.allocate(3, 8)
        assert (holdings(), allocator.report[:2]) == (before, (0, 0))
    else:
        pages = allocator.allocate(1, 8)
        with pytest.raises(OutOfMemoryError, match="131072 bytes are asked for, the account has"):
            pages.grow(2)
        assert access_at(base_of(pages) + PAGE) == 0
        pages.grow(1)
    gc.collect()


@pytest.mark.row("QP-1", proof="sim")
def test_isolation_is_never_claimed_without_being_had() -> None:
    flags = QnxPartitionFlags.MEMORY_ISOLATION
    asked = QnxMemoryPartitionBuilder().with_name("wasm_sandbox").with_flags(flags)
    with pytest.raises(UnsupportedError, match="ask for the level ADDRESS or PROCESS"):
        asked.build()
    with pytest.raises(UnsupportedError):
        asked.with_isolation(ACCOUNTING).build()
    accounted = asked.with_allow_accounting_only().build().report
    assert (accounted.level, accounted.isolation.state) == (ACCOUNTING, EnforcementState.ABSENT)
    addressed = asked.with_isolation(ADDRESS).build().report
    assert (addressed.level, addressed.isolation.state) == (ADDRESS, EnforcementState.PARTIAL)
    assert "while none is, all are within reach" in addressed.isolation.reason
    process = asked.with_isolation(PROCESS).build().report
    assert (process.level, process.isolation.state) == (PROCESS, EnforcementState.ENFORCED)
    plain = QnxMemoryPartitionBuilder().build().report
    assert (plain.level, plain.isolation.state) == (ACCOUNTING, EnforcementState.NOT_ASKED)


@pytest.mark.row("QP-1", proof="sim")
@pytest.mark.parametrize(
    ("configure", "reason"),
    [
        (lambda b: b.with_memory_size(2, 1), "minimum_bytes is 2, more than maximum_bytes, 1"),
        (lambda b: b.with_memory_size(1, 2, 2), "reserved_bytes is 2, more than minimum_bytes, 1"),
        (lambda b: b.with_flags(8), "flags are 8"),
        (lambda b: b.with_isolation(4), "isolation is 4"),
        (lambda b: b.with_name(""), "name is not 1 to 31"),
        (lambda b: b.with_name("n" * 32), "name is not 1 to 31"),
        (lambda b: b.with_name("../up"), "name is not 1 to 31"),
        (lambda b: b.with_name(".hidden"), "name is not 1 to 31"),
        (lambda b: b.with_isolation(PROCESS), "level PROCESS needs a name"),
    ],
)
def test_config_out_of_range_is_refused(
    configure: Callable[[QnxMemoryPartitionBuilder], Any], reason: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=reason):
        configure(QnxMemoryPartitionBuilder()).build()


@pytest.mark.row("QP-1", proof="sim")
def test_container_holds_partitions_and_no_memory() -> None:
    flags = QnxPartitionFlags.CONTAINER
    box = QnxMemoryPartitionBuilder().with_flags(flags).with_memory_size(0, 4 * PAGE).build()
    with pytest.raises(InvalidArgumentError, match="CONTAINER: it holds partitions"):
        allocator_in(box)
    with pytest.raises(InvalidArgumentError, match="CONTAINER"):
        QnxArenaAllocatorBuilder().with_partition(box).build()
    with pytest.raises(InvalidArgumentError, match="CONTAINER"):
        box.spawn("/bin/true")
    inner = partition(parent=box)
    with pytest.raises(OutOfMemoryError):
        allocator_in(inner).allocate(5, 8)


@pytest.mark.row("QP-1", proof="sim")
def test_terminal_partition_takes_no_children_and_levels_are_not_mixed() -> None:
    last = QnxMemoryPartitionBuilder().with_flags(QnxPartitionFlags.TERMINAL).build()
    with pytest.raises(StateError, match="the parent is TERMINAL"):
        partition(parent=last)
    with pytest.raises(InvalidArgumentError, match="PROCESS is not mixed"):
        partition(parent=partition(), level=PROCESS, name="low")
    with pytest.raises(InvalidArgumentError, match="PROCESS is not mixed"):
        partition(parent=partition(level=PROCESS, name="top"), level=ADDRESS)
    assert partition(parent=partition(level=ADDRESS)).report.level == ADDRESS  # as its parent


@pytest.mark.row("QP-1", proof="sim")
def test_deepest_tree_has_sixteen_partitions() -> None:
    chain = [partition()]
    with pytest.raises(LimitError):
        while True:
            chain.append(partition(PAGE, parent=chain[-1]))
    assert len(chain) == lib.WRT_MEMORY_ACCOUNT_DEPTH_MAX
    pages = allocator_in(chain[-1]).allocate(2, 2)
    assert {p.report.used_bytes for p in chain} == {2 * PAGE}
    pages.release()


@pytest.mark.row("QP-1", proof="sim")
def test_removal_while_in_use_is_busy() -> None:
    top = partition()
    low = partition(parent=top)
    with pytest.raises(BusyError, match="0 allocators in it and 1 partitions below it"):
        top.close()
    allocator = allocator_in(low)
    with pytest.raises(BusyError, match="1 allocators in it and 0 partitions below it"):
        low.close()
    with PartitionGuard(low), pytest.raises(BusyError, match="entered 1 times"):
        low.close()
    allocator.close()
    low.close()
    low.close()  # again is harmless
    top.close()
    with pytest.raises(StateError, match="not initialised"):
        allocator_in(top)


@pytest.mark.row("QP-1", proof="sim")
def test_forgotten_partitions_end_in_the_right_order() -> None:
    top = partition()
    low = partition(PAGE, parent=top)
    pages = allocator_in(low).allocate(1, 1)
    view = pages.memory
    del low, pages
    gc.collect()
    view[0] = 1  # the pages keep all that stands behind them
    assert (top.report.child_count, top.report.used_bytes) == (1, PAGE)
    del view
    gc.collect()
    assert (top.report.child_count, top.report.used_bytes) == (0, 0)
    top.close()


# The system's own partitions, where it has the module.


@pytest.mark.row("QP-1", proof="sim")
@pytest.mark.row("QP-3", proof="sim")
def test_partition_of_the_system_is_made_configured_used_and_removed() -> None:
    with new_world(module=True):
        top = partition(4 * MIB, 64 * MIB, level=PROCESS, name="tenants")
        low = partition(MIB, 16 * MIB, parent=top, name="tenant1")
        found = {ffi.string(view.name).decode(): view for view in partitions()}
        kernel = found["tenant1"]
        assert (kernel.minimum_bytes, kernel.maximum_bytes) == (MIB, 16 * MIB)
        assert kernel.parent_id == found["tenants"].id
        report = low.report
        assert report.keeper == QnxPartitionKeeper.SYSTEM
        assert report.maximum.state == report.minimum.state == EnforcementState.ENFORCED
        process = low.spawn("/bin/sleep", ["sleep", "60"])
        assert low.report.used_bytes == 128 * KIB  # what a process counts for at its start
        must(lib.wrt_sim_qnx_process_use(process, 2 * MIB))
        assert (low.report.used_bytes, top.report.used_bytes) == (2 * MIB, 2 * MIB)
        assert lib.wrt_sim_qnx_process_use(process, 17 * MIB) == lib.WRT_ERR_NO_MEMORY
        with pytest.raises(BusyError):
            low.close()
        with pytest.raises(InvalidArgumentError, match="the system's own partition limits"):
            low.spawn("/bin/true", memory_bytes=MIB)
        os.kill(sleeping_child(), signal.SIGKILL)
        assert wait_for_end(low, process) == -9
        assert (low.report.used_bytes, low.report.peak_bytes) == (0, 2 * MIB)
        low.close()
        top.close()
        assert len(partitions()) == 1


@pytest.mark.row("QP-1", proof="sim")
def test_what_the_system_refuses_is_said() -> None:
    with new_world(module=True):
        first = partition(level=PROCESS, name="tenant")
        with pytest.raises(BusyError, match="there is one of that name"):
            partition(level=PROCESS, name="tenant")
        with pytest.raises(InvalidArgumentError, match="not a multiple of its unit"):
            partition(1, level=PROCESS, name="odd")
        with pytest.raises(OutOfMemoryError, match="have not as much to promise"):
            partition(1 << 40, level=PROCESS, name="large")
        assert len(partitions()) == 2
        first.close()


@pytest.mark.row("QP-1", proof="sim")
def test_without_the_module_the_library_counts() -> None:
    top = partition(maximum=64 * MIB, level=PROCESS, name="tenants")
    low = partition(16 * MIB, parent=top, name="tenant1")
    assert low.report.keeper == QnxPartitionKeeper.LIBRARY
    assert top.report.used_bytes == 16 * MIB
    assert len(partitions()) == 1  # that of the class
