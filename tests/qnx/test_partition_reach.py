"""Whose pages are within reach while a partition is entered."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable

import pytest
from qnx_partitions import ADDRESS, Token, allocator_in, partition
from qnx_world import (
    EIO,
    ENOMEM,
    NO_ACCESS,
    PAGE,
    UNTOUCHED,
    Toucher,
    access_at,
    base_of,
    fail_at,
    failure_count,
    holdings,
)
from wrt_platform._native import lib
from wrt_platform.errors import BusyError, WrtError
from wrt_platform.page_allocator import Protection
from wrt_platform.qnx.memory import QnxAllocatorBuilder, QnxProtFlags
from wrt_platform.qnx.partition import PartitionGuard, QnxMemoryPartition

pytestmark = pytest.mark.usefixtures("world")
READ_WRITE = lib.WRT_SIM_QNX_READ | lib.WRT_SIM_QNX_WRITE


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
