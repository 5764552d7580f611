"""Memory partitions: what they count and keep, who is entered, and whose pages are within reach."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from qnx_world import (
    EBUSY,
    EIO,
    ENOMEM,
    KIB,
    MIB,
    NO_ACCESS,
    PAGE,
    UNTOUCHED,
    Toucher,
    access_at,
    base_of,
    calls_of,
    fail_at,
    failure_count,
    holdings,
    must,
    new_world,
    partitions,
)
from wrt_platform._native import ffi, lib
from wrt_platform.enforcement import EnforcementState
from wrt_platform.errors import (
    BusyError,
    InvalidArgumentError,
    LimitError,
    NotFoundError,
    OutOfMemoryError,
    StateError,
    UnsupportedError,
    WrtError,
)
from wrt_platform.page_allocator import Protection
from wrt_platform.qnx.arena import QnxArenaAllocatorBuilder
from wrt_platform.qnx.memory import QnxAllocator, QnxAllocatorBuilder, QnxProtFlags
from wrt_platform.qnx.partition import (
    PartitionGuard,
    QnxIsolation,
    QnxMemoryPartition,
    QnxMemoryPartitionBuilder,
    QnxPartitionFlags,
    QnxPartitionKeeper,
    current_partition,
)

ADDRESS, ACCOUNTING, PROCESS = QnxIsolation.ADDRESS, QnxIsolation.ACCOUNTING, QnxIsolation.PROCESS
READ_WRITE = lib.WRT_SIM_QNX_READ | lib.WRT_SIM_QNX_WRITE


@pytest.fixture(autouse=True)
def world() -> Iterator[None]:
    with new_world():
        yield


@pytest.fixture
def touch(support: Callable[[str], Path]) -> Toucher:
    return Toucher(support("touch_here"))


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


# Row QP-1: what is counted.


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


# Level ADDRESS.


@pytest.mark.row("QP-1", proof="sim")
def test_pages_are_out_of_reach_while_another_partition_is_entered(touch: Toucher) -> None:
    ours, other = partition(level=ADDRESS), partition(level=ADDRESS)
    mine, theirs = allocator_in(ours).allocate(2, 4), allocator_in(other).allocate(1, 4)
    mine.memory[:4], theirs.memory[:4] = b"mine", b"them"
    places = {base_of(mine): ours, base_of(mine) + 2 * PAGE - 1: ours, base_of(theirs): other}

    def expect(entered: QnxMemoryPartition | None) -> None:
        for address, owner in places.items():
            fault = (signal.SIGSEGV, NO_ACCESS, address)
            expected = UNTOUCHED if entered in (None, owner) else fault
            for write in (False, True):
                assert touch(address, write) == expected

    expect(None)
    with PartitionGuard(ours):
        expect(ours)
        with PartitionGuard(other):
            expect(other)
            with PartitionGuard(ours):
                expect(ours)
            expect(other)
        expect(ours)
    expect(None)
    assert (bytes(mine.memory[:4]), bytes(theirs.memory[:4])) == (b"mine", b"them")


@pytest.mark.row("QP-1", proof="sim")
def test_accounting_keeps_nobody_off(touch: Toucher) -> None:
    """The twin: what the level ADDRESS does, ACCOUNTING does not."""
    ours, other = partition(), partition()
    mine = allocator_in(ours).allocate(1, 1)
    with PartitionGuard(other):
        assert touch(base_of(mine), write=True) == UNTOUCHED


@pytest.mark.row("QP-1", proof="sim")
def test_ranges_that_were_set_apart_are_so_again_afterwards() -> None:
    ours, other = partition(level=ADDRESS), partition(level=ADDRESS)
    build = QnxAllocatorBuilder().with_partition(ours).with_data_protection(QnxProtFlags.READ_WRITE)
    pages = build.build().allocate(2, 4)
    base, read = base_of(pages), lib.WRT_SIM_QNX_READ
    pages.protect(4096, 8192, Protection.READ)
    pages.protect(8192, 4096, Protection.NONE)  # inside of the earlier one
    pages.protect(65536, 4096, Protection.READ)
    pages.protect(65536, 4096, Protection.READ | Protection.WRITE)  # covers it
    steps = (0, 4096, 8192, 12288, 65536)
    expected = [READ_WRITE, read, 0, READ_WRITE, READ_WRITE]
    assert [access_at(base + step) for step in steps] == expected
    with PartitionGuard(other):
        assert [access_at(base + step) for step in steps] == [0] * 5
    assert [access_at(base + step) for step in steps] == expected
    with PartitionGuard(ours):
        assert [access_at(base + step) for step in steps] == expected
    pages.protect(0, 2 * PAGE, Protection.READ | Protection.WRITE)
    with PartitionGuard(other):
        pass
    assert [access_at(base + step) for step in steps] == [READ_WRITE] * 5


@pytest.mark.row("QP-1", proof="sim")
def test_more_ranges_than_can_be_kept_are_busy_and_change_nothing() -> None:
    where = partition(level=ADDRESS)
    pages = allocator_in(where).allocate(32, 32)
    room = 0
    with pytest.raises(BusyError, match="protect larger ranges"):
        while True:
            pages.protect(8192 * room, 4096, Protection.READ)
            room += 1
    assert room == 160
    assert access_at(base_of(pages) + 8192 * room) == READ_WRITE
    pages.protect(0, 4096, Protection.NONE)  # a range that is kept may change
    pages.protect(0, 32 * PAGE, Protection.READ | Protection.WRITE)  # one that covers them all
    for again in range(159):
        pages.protect(8192 * again, 4096, Protection.READ)
    with pytest.raises(BusyError):
        pages.protect(8192 * 159, 4096, Protection.READ)
    pages.protect(0, 32 * PAGE, Protection.READ | Protection.WRITE)


@pytest.mark.row("QP-1", proof="sim")
def test_pages_out_of_reach_are_neither_allocated_nor_grown_and_can_go_back() -> None:
    ours, other = partition(level=ADDRESS), partition(level=ADDRESS)
    allocator = allocator_in(ours)
    pages = allocator.allocate(1, 4)
    with PartitionGuard(other):
        before = holdings()
        for call in (
            lambda: allocator.allocate(1, 4),
            lambda: pages.grow(1),
            lambda: pages.protect(0, 4096, Protection.READ),
        ):
            with pytest.raises(BusyError, match="these pages are out of reach"):
                call()
        assert (pages.page_count, ours.report.used_bytes) == (1, PAGE)
        assert holdings() == before
        pages.release()
    assert ours.report.used_bytes == 0


@pytest.mark.row("QP-1", proof="sim")
def test_grown_pages_follow_and_are_zero() -> None:
    ours, other = partition(level=ADDRESS), partition(level=ADDRESS)
    pages = allocator_in(ours).allocate(0, 4)
    with PartitionGuard(ours):
        pages.grow(2)
        pages.memory[:3] = b"abc"
    with PartitionGuard(other):
        assert access_at(base_of(pages) + 2 * PAGE - 1) == 0
    assert bytes(pages.memory) == b"abc" + bytes(2 * PAGE - 3)


@pytest.mark.row("QP-1", proof="sim")
@pytest.mark.parametrize("code", [ENOMEM, EIO])
def test_change_of_reach_that_fails_anywhere_is_taken_back_and_can_be_tried_again(
    code: int,
) -> None:
    ours, other = partition(level=ADDRESS), partition(level=ADDRESS)
    pages = [allocator_in(where).allocate(1, 4) for where in (ours, other, ours, other)]
    pages[0].protect(4096, 4096, Protection.READ)
    places = [base_of(each) + step for each in pages for step in (0, 4096)]

    def reach() -> list[int | None]:
        return [access_at(place) for place in places]

    def attempt(call: Callable[[], int]) -> int:
        """Lets each of its calls of the kernel fail; returns how often that was an error."""
        before, told = reach(), failure_count()
        for refused in range(100):
            fail_at(refused + 1, code)
            if call() == lib.WRT_OK:
                use_up(told + refused + 1)
                return refused
            assert reach() == before
        raise AssertionError("it never comes to its end")

    def use_up(orders: int) -> None:
        """The last order may not have been reached."""
        for _ in range(100):
            if failure_count() >= orders:
                return
            with contextlib.suppress(WrtError):
                _ = ours.report

    outer, inner = Token(ours), Token(other)
    free = reach()
    assert attempt(outer.enter) >= 2
    inside = reach()
    assert attempt(lambda: inner.enter(outer)) >= 4
    assert reach() != inside
    assert attempt(inner.leave) >= 4
    assert reach() == inside
    assert attempt(outer.leave) >= 2
    assert reach() == free


@pytest.mark.row("QP-1", proof="sim")
def test_one_partition_is_active_at_a_time_for_all_threads() -> None:
    ours, other = partition(level=ADDRESS), partition(level=ADDRESS)
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with PartitionGuard(ours):
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    assert entered.wait(10)
    with pytest.raises(BusyError, match="one is active at a time in a process"):
        PartitionGuard(other)
    PartitionGuard(partition()).leave()  # ACCOUNTING changes nobody's reach
    leave.set()
    thread.join(10)
    with PartitionGuard(other):
        pass


# Row QP-2: entering and leaving.


class Uncommon(BaseException):
    """Not even an Exception."""


@pytest.mark.row("QP-2", proof="sim")
@pytest.mark.parametrize("level", [ACCOUNTING, ADDRESS])
def test_earlier_partition_is_back_after_value_error_and_exception(level: QnxIsolation) -> None:
    first, second = partition(level=level), partition(level=level)

    def fail() -> None:
        assert current_partition() is second
        raise Uncommon

    def work() -> int:
        assert current_partition() is first
        assert second.with_partition(lambda: current_partition() is second)
        assert current_partition() is first
        with pytest.raises(Uncommon):
            second.with_partition(fail)
        with pytest.raises(OutOfMemoryError):
            partition(maximum=PAGE).with_partition(
                lambda: QnxAllocatorBuilder().build().allocate(2, 2)
            )
        assert current_partition() is first
        return 42

    assert current_partition() is None
    assert first.with_partition(work) == 42
    assert current_partition() is None
    assert (first.report.entered_count, second.report.entered_count) == (0, 0)


@pytest.mark.row("QP-2", proof="sim")
def test_allocators_built_inside_take_the_current_partition() -> None:
    outer, inner = partition(), partition()
    with PartitionGuard(outer):
        first = QnxAllocatorBuilder().build()
        with PartitionGuard(inner):
            second = QnxArenaAllocatorBuilder().build()
            named = QnxAllocatorBuilder().with_partition(outer).build()
            none = QnxAllocatorBuilder().with_partition(None).build()
    after = QnxAllocatorBuilder().build()
    pages = [each.allocate(1, 1) for each in (first, second, named, none, after)]
    assert (outer.report.used_bytes, inner.report.used_bytes) == (2 * PAGE, PAGE)
    assert first.report.partition.state == EnforcementState.ENFORCED
    assert none.report.partition.state == EnforcementState.NOT_ASKED
    for some in pages:
        some.release()


@pytest.mark.row("QP-2", proof="sim")
@pytest.mark.parametrize("level", [ACCOUNTING, ADDRESS])
def test_leaving_out_of_order_is_refused_and_changes_nothing(level: QnxIsolation) -> None:
    first, second = partition(level=level), partition(level=level)
    outer = PartitionGuard(first)
    inner = PartitionGuard(second)
    with pytest.raises(StateError, match="out of order"):
        outer.leave()
    assert current_partition() is second
    inner.leave()
    inner.leave()  # again does nothing
    outer.leave()
    assert current_partition() is None


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


@pytest.mark.row("QP-2", proof="sim")
@pytest.mark.parametrize("level", [ACCOUNTING, ADDRESS])
def test_c_refuses_tokens_out_of_order_moved_or_left(level: QnxIsolation) -> None:
    where, unknown = partition(level=level), ffi.new("wrt_qnx_partition *")
    outer, inner = Token(where), Token(where)
    must(outer.enter())
    must(inner.enter(outer))
    assert outer.leave() == lib.WRT_ERR_STATE
    moved = Token(where)
    moved.raw = ffi.new("wrt_qnx_partition_token *", inner.raw[0])
    assert moved.leave() == lib.WRT_ERR_STATE
    assert Token(where).enter(moved) == lib.WRT_ERR_STATE
    must(inner.leave())
    must(inner.leave())  # a zeroed token: again is harmless
    assert Token(where).enter(inner) == lib.WRT_ERR_STATE
    must(outer.leave())
    token = ffi.new("wrt_qnx_partition_token *")
    assert lib.wrt_qnx_partition_enter(unknown, ffi.NULL, token) == lib.WRT_ERR_STATE
    null = lib.WRT_ERR_INVALID_ARGUMENT
    assert lib.wrt_qnx_partition_enter(ffi.NULL, ffi.NULL, token) == null
    assert lib.wrt_qnx_partition_enter(where._raw, ffi.NULL, ffi.NULL) == null
    assert lib.wrt_qnx_partition_leave(ffi.NULL) == null
    assert bytes(ffi.buffer(token)) == bytes(ffi.sizeof("wrt_qnx_partition_token"))


@pytest.mark.row("QP-2", proof="sim")
def test_moved_partition_is_refused() -> None:
    where = partition()
    moved = ffi.new("wrt_qnx_partition *", where._raw[0])
    report = ffi.new("wrt_qnx_partition_report *")
    assert lib.wrt_qnx_partition_query(moved, report) == lib.WRT_ERR_STATE
    assert lib.wrt_qnx_partition_deinit(moved) == lib.WRT_ERR_STATE
    where.close()


@pytest.mark.row("QP-2", proof="sim")
def test_each_task_and_each_thread_has_a_current_partition_of_its_own() -> None:
    first, second = partition(), partition()

    async def work(where: QnxMemoryPartition) -> bool:
        with PartitionGuard(where):
            for _ in range(3):
                await asyncio.sleep(0)
                if current_partition() is not where:
                    return False
        return current_partition() is None

    async def both() -> list[bool]:
        return list(await asyncio.gather(work(first), work(second)))

    assert asyncio.run(both()) == [True, True]
    seen: list[Any] = []
    with PartitionGuard(first):
        thread = threading.Thread(target=lambda: seen.append(current_partition()))
        thread.start()
        thread.join(10)
        with PartitionGuard(second):
            context = contextvars.copy_context()
            guard = PartitionGuard(first)
            with pytest.raises(StateError, match="out of order"):
                context.run(guard.leave)
            guard.leave()
    assert seen == [None]


# Row QP-3: processes.


def wait_for_end(where: QnxMemoryPartition, process: int) -> int:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            return where.detach(process)
        except BusyError:
            time.sleep(0.005)
    raise AssertionError("the process did not end")


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
    host = [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit() and child_of_ours(p)]
    assert len(host) == 1
    os.kill(host[0], signal.SIGTERM)
    assert wait_for_end(where, running) == -15


def child_of_ours(process: Path) -> bool:
    try:
        fields = (process / "stat").read_text().rpartition(")")[2].split()
        return int(fields[1]) == os.getpid() and b"sleep\0" in (process / "cmdline").read_bytes()
    except OSError:
        return False


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
        host = [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit()]
        for each in host:
            if child_of_ours(Path(f"/proc/{each}")):
                os.kill(each, signal.SIGKILL)
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


# Each call of the kernel fails once.


def life_at(level: QnxIsolation) -> Callable[[], None]:
    """All that partitions do, with what it takes for granted."""

    def live() -> None:
        made: list[Any] = []
        tokens: list[Token] = []
        try:
            top = partition(maximum=8 * MIB, level=level, name="top")
            made.append(top)
            for name in ("a", "b"):
                made.append(partition(MIB, parent=top, name=name))
            allocators = [allocator_in(each) for each in made[1:]]
            made += allocators
            for allocator in allocators:
                made.append(allocator.allocate(2, 4))
                made[-1].grow(1)
            made[-1].protect(0, 4096, Protection.READ)
            for where in (made[1], made[2]):
                tokens.append(Token(where))
                status = tokens[-1].enter(tokens[-2] if len(tokens) > 1 else None)
                if status != lib.WRT_OK:
                    tokens.pop()
                    raise failure(status)
        finally:
            while tokens:
                again(tokens.pop().leave)
            while made:
                end(made.pop())

    return live


class Refused(Exception):
    pass


def failure(status: int) -> Exception:
    return Refused(status)


def again(call: Callable[[], int]) -> None:
    """A call that fails once can be tried again."""
    if call() != lib.WRT_OK:
        must(call())


def end(thing: Any) -> None:
    if hasattr(thing, "release"):
        thing.memory.release()
        interface = ffi.new("wrt_page_allocator *", thing._allocator._interface)
        again(lambda: int(lib.wrt_page_allocator_deallocate(interface, thing._raw)))
        return
    try:
        thing.close()
    except WrtError:
        try:
            thing.close()
        except WrtError as error:
            raise AssertionError("what failed once can't be ended any more") from error


@pytest.mark.row("QP-1", proof="sim")
@pytest.mark.row("QP-2", proof="sim")
@pytest.mark.parametrize("code", [ENOMEM, EIO, EBUSY])
@pytest.mark.parametrize("level", [ACCOUNTING, ADDRESS])
def test_life_in_which_any_call_fails_leaves_nothing(level: QnxIsolation, code: int) -> None:
    live = life_at(level)
    calls, before, failed = calls_of(live), holdings(), 0
    for use in range(1, calls + 1):
        fail_at(use, code)
        try:
            live()
        except (WrtError, Refused):
            failed += 1
        assert holdings() == before, use
    assert failed >= (8 if level == ADDRESS else 6)


def wait_until_ended(process: int) -> None:
    """By a look from outside, which is no call of QNX."""
    view = ffi.new("wrt_sim_qnx_process_view *")
    end = time.monotonic() + 20
    while time.monotonic() < end:
        found = [i for i in range(8) if lib.wrt_sim_qnx_process_query(i, view) == lib.WRT_OK]
        must(lib.wrt_sim_qnx_process_query(found[-1], view))
        if view.id == process and view.ended:
            return
        time.sleep(0.001)
    raise AssertionError("the process did not end")


def spawn_and_end() -> None:
    """A program in a partition of its own; each step that fails once can be tried again."""
    where = partition(maximum=256 * MIB, level=PROCESS, name="tenant")
    try:
        process = where.spawn("/bin/true")
        wait_until_ended(process)
        try:
            where.detach(process)
        except WrtError:
            where.detach(process)
            raise
    finally:
        assert where._raw.processes[0].process_id == 0
        end(where)


@pytest.mark.row("QP-3", proof="sim")
@pytest.mark.parametrize("module", [False, True], ids=["rlimit", "module"])
@pytest.mark.parametrize("code", [ENOMEM, EIO])
def test_spawning_in_which_any_call_fails_leaves_nothing(module: bool, code: int) -> None:
    with new_world(module=module):
        calls = calls_of(spawn_and_end)
    refused = 0
    for use in range(1, calls + 1):
        with new_world(module=module, collect=False):
            fail_at(use, code)
            try:
                spawn_and_end()
            except WrtError:
                refused += 1
    assert refused >= 6
