"""Memory accounts, against a model that was written from their rules alone; and counted allocators.

That a counted allocator is a page allocator is shown by the suite for all of them, see
page_backends.py.
"""

from __future__ import annotations

import gc
import random
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from common import ROOT, run
from sanitized import sees_a_race
from support.guest import new_config
from wrt_platform._native import ffi, lib
from wrt_platform.errors import (
    BusyError,
    InvalidArgumentError,
    LimitError,
    OutOfMemoryError,
    StateError,
)
from wrt_platform.linux.memory import LinuxAllocatorBuilder
from wrt_platform.memory_account import (
    CountedAllocator,
    CountedAllocatorBuilder,
    MemoryAccount,
    MemoryAccountBuilder,
)
from wrt_platform.page_allocator import PAGE_SIZE, PageAllocator

UNBOUND = 2**64 - 1


def account(
    maximum: int = 0, minimum: int = 0, parent: MemoryAccount | None = None
) -> MemoryAccount:
    builder = MemoryAccountBuilder().with_maximum(maximum).with_minimum(minimum)
    if parent is not None:
        builder.with_parent(parent)
    return builder.build()


@pytest.mark.row("QP-1")
def test_what_is_charged_is_counted_in_all_accounts_above() -> None:
    root = account(100)
    middle = account(parent=root)
    leaf = account(parent=middle)
    leaf.charge(30)
    middle.charge(5)
    assert [each.usage.used for each in (leaf, middle, root)] == [30, 35, 35]
    assert [each.usage.charged for each in (leaf, middle, root)] == [30, 5, 0]
    leaf.refund(10)
    assert [each.usage.used for each in (leaf, middle, root)] == [20, 25, 25]
    assert [each.usage.peak for each in (leaf, middle, root)] == [30, 35, 35]


@pytest.mark.row("QP-1")
def test_minimum_holds_against_a_greedy_sibling() -> None:
    root = account(100)
    modest, greedy = account(minimum=40, parent=root), account(parent=root)
    assert root.usage.used == 40
    with pytest.raises(OutOfMemoryError, match="61 bytes are asked for, with the accounts above"):
        greedy.charge(61)
    greedy.charge(60)
    modest.charge(40)  # what was kept for it
    assert root.usage.used == 100
    with pytest.raises(OutOfMemoryError):
        modest.charge(1)


@pytest.mark.row("QP-1")
def test_charge_eats_the_minimum_first_and_a_refund_fills_it_first() -> None:
    root = account(100)
    child = account(minimum=10, parent=root)
    child.charge(6)
    assert root.usage.used == 10
    child.charge(6)  # 4 of its own, 2 from above
    assert root.usage.used == 12
    child.refund(1)
    assert root.usage.used == 11
    child.refund(5)  # 1 goes back, 4 fill up the minimum
    assert root.usage.used == 10
    child.refund(6)
    assert root.usage.used == 10
    child.close()
    assert root.usage.used == 0


@pytest.mark.row("QP-1")
def test_refused_charge_changes_nothing_anywhere_and_is_counted_once() -> None:
    root = account(50)
    middle = account(parent=root)
    leaf = account(parent=middle)
    leaf.charge(20)
    before = [each.usage for each in (leaf, middle, root)]
    with pytest.raises(OutOfMemoryError, match=r"31 bytes are asked for.*has 30 left") as caught:
        leaf.charge(31)
    assert caught.value.detail == (31, 30)
    after = [each.usage for each in (leaf, middle, root)]
    assert after == [before[0]._replace(refusals=1), *before[1:]]


@pytest.mark.row("QP-1")
def test_minimum_that_is_not_there_is_refused_at_once() -> None:
    root = account(50)
    middle = account(40, parent=root)
    root.charge(20)
    with pytest.raises(OutOfMemoryError, match="minimum is 31 bytes, the accounts above have 30"):
        account(minimum=31, parent=middle)
    assert (root.usage.used, root.usage.children, middle.usage.children) == (20, 1, 0)
    kept = account(minimum=30, parent=middle)
    assert (root.usage.used, middle.usage.used, kept.usage.available) == (50, 30, 30)


@pytest.mark.row("QP-1")
def test_minimum_of_a_child_comes_out_of_its_parents_minimum() -> None:
    root = account(100)
    middle = account(minimum=50, parent=root)
    account_below = account(minimum=30, parent=middle)
    assert (middle.usage.used, root.usage.used) == (30, 50)
    account_below.charge(60)
    assert (middle.usage.used, root.usage.used) == (60, 60)


@pytest.mark.row("QP-1")
def test_account_ends_only_when_nothing_is_left_of_it() -> None:
    root = account()
    child = account(parent=root)
    with pytest.raises(BusyError, match="1 accounts are below it"):
        root.close()
    child.charge(1)
    with pytest.raises(BusyError, match="1 bytes are charged to it"):
        child.close()
    child.refund(1)
    child.close()
    child.close()
    root.close()
    with pytest.raises(StateError, match="not initialised"):
        root.charge(1)


@pytest.mark.row("QP-1")
@pytest.mark.parametrize("charged", [0, 7])
def test_refund_of_more_than_was_charged_is_refused(charged: int) -> None:
    root = account()
    child = account(parent=root, minimum=5)
    child.charge(charged)
    root.charge(100)
    with pytest.raises(StateError, match=f"{charged + 1} bytes are to come back, {charged} are"):
        child.refund(charged + 1)
    child.refund(charged)
    with pytest.raises(StateError):
        root.refund(101)  # what is kept for the child was not charged to it


def test_what_64_bits_hold_never_wraps() -> None:
    root = account()
    root.charge(UNBOUND - 1)
    with pytest.raises(OutOfMemoryError):
        root.charge(2)
    child = account(parent=root)
    assert child.usage.available == 1
    child.charge(1)
    assert root.usage.used == UNBOUND
    assert account(minimum=100).usage.available == UNBOUND


def test_peak_begins_again_on_request() -> None:
    only = account()
    only.charge(9)
    only.refund(4)
    only.reset_peak()
    assert only.usage.peak == 5
    only.charge(1)
    assert only.usage.peak == 6


@pytest.mark.parametrize(
    ("name", "kept"),
    [("", ""), ("tenant", "tenant"), ("x" * 40, "x" * 31), ("x" * 30 + "\u00e9", "x" * 30)],
)
def test_name_is_cut_between_characters(name: str, kept: str) -> None:
    assert MemoryAccountBuilder().with_name(name).build().name == kept


def test_bad_configs_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="minimum 2 is above maximum 1"):
        account(1, 2)
    with pytest.raises(InvalidArgumentError, match="minimum is -1"):
        account(minimum=-1)
    deepest = account()
    for _ in range(lib.WRT_MEMORY_ACCOUNT_DEPTH_MAX - 1):
        deepest = account(parent=deepest)
    deepest.charge(1)
    with pytest.raises(LimitError, match="the tree is 16 accounts deep already"):
        account(parent=deepest)
    raw = ffi.new("wrt_memory_account *")
    config = new_config("wrt_memory_account_config", parent=deepest._raw)
    config.system = lib.wrt_linux_thread_system_interface(ffi.new("wrt_linux_thread_system *"))
    assert lib.wrt_memory_account_init(raw, config) == lib.WRT_ERR_INVALID_ARGUMENT
    config = new_config("wrt_memory_account_config", reserved=b"\0\0\1\0")
    assert lib.wrt_memory_account_init(raw, config) == lib.WRT_ERR_UNSUPPORTED
    assert bytes(ffi.buffer(raw)) == bytes(ffi.sizeof("wrt_memory_account"))
    assert lib.wrt_memory_account_charge(raw, 1) == lib.WRT_ERR_STATE


def test_moved_account_is_refused() -> None:
    original, moved = ffi.new("wrt_memory_account *"), ffi.new("wrt_memory_account *")
    assert lib.wrt_memory_account_init(original, new_config("wrt_memory_account_config")) == 0
    ffi.memmove(moved, original, ffi.sizeof("wrt_memory_account"))
    assert lib.wrt_memory_account_charge(moved, 1) == lib.WRT_ERR_STATE
    assert lib.wrt_memory_account_deinit(moved) == lib.WRT_ERR_STATE
    config = new_config("wrt_memory_account_config", parent=moved)
    assert lib.wrt_memory_account_init(ffi.new("wrt_memory_account *"), config) == lib.WRT_ERR_STATE


# The model: what an account holds from its parent is found anew for the whole tree each time.


class Model:
    """One account by the documented rules, recomputed from the leaves; nothing is kept up."""

    def __init__(self, maximum: int, minimum: int, parent: Model | None) -> None:
        self.maximum, self.minimum, self.parent = maximum or UNBOUND, minimum, parent
        self.children: list[Model] = []
        self.charged = 0

    @property
    def used(self) -> int:
        return self.charged + sum(max(each.used, each.minimum) for each in self.children)

    def fits(self) -> bool:
        return all(each.used <= each.maximum for each in self.path())

    def path(self) -> list[Model]:
        return [self] + (self.parent.path() if self.parent is not None else [])

    def change(self, size: int) -> bool:
        self.charged += size
        if self.charged < 0 or not self.fits():
            self.charged -= size
            return False
        return True

    def add(self, child: Model) -> bool:
        self.children.append(child)
        if not child.fits():
            self.children.remove(child)
            return False
        return True

    def available(self) -> int:
        low, high = 0, 2**20
        while low < high:
            size = (low + high + 1) // 2
            if self.change(size):
                self.change(-size)
                low = size
            else:
                high = size - 1
        return low


@pytest.mark.row("QP-1")
@pytest.mark.parametrize("seed", range(20))
def test_random_trees_agree_with_the_model(seed: int) -> None:
    chance = random.Random(seed)
    pairs = [(account(1000, 10), Model(1000, 10, None))]
    for _ in range(300):
        real, model = chance.choice(pairs)
        choice = chance.random()
        if choice < 0.1 and len(model.path()) < lib.WRT_MEMORY_ACCOUNT_DEPTH_MAX:
            minimum = chance.choice([0, 0, 20, 100])
            maximum = chance.choice([0, minimum + chance.randrange(1, 300)])
            child = Model(maximum, minimum, model)
            if agrees(model.add(child), partial(account, maximum, minimum, real)):
                pairs.append((account(maximum, minimum, real), child))
        elif choice < 0.2 and model.parent is not None:
            ends = model.used == 0 and not model.children
            if agrees(ends, real.close):
                model.parent.children.remove(model)
                pairs.remove((real, model))
        else:
            size = chance.randrange(150)
            call, signed = (real.charge, size) if choice < 0.65 else (real.refund, -size)
            agrees(model.change(signed), partial(call, size))
        for each, expected in pairs:
            usage = each.usage
            assert (usage.used, usage.charged) == (expected.used, expected.charged)
            assert usage.peak >= usage.used
    for each, expected in pairs:
        assert each.usage.available == expected.available()


def agrees(expected: bool, call: Callable[[], Any]) -> bool:
    """Makes the call, and sees that it ends as the model says. A new account that it returns goes
    at once, so that the caller can make it again."""
    try:
        call()
    except (OutOfMemoryError, BusyError, StateError):
        assert not expected
        return False
    assert expected
    return True


# Threads.


@pytest.mark.row("QP-1")
def test_threads_leave_exact_counts() -> None:
    root = account(10_000)
    leaves = [account(minimum=100 * number, parent=root) for number in range(4)]
    before = root.usage

    def work(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(500):
            leaf = chance.choice(leaves)
            try:
                leaf.charge(size := chance.randrange(3000))
            except OutOfMemoryError:
                continue
            leaf.refund(size)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert root.usage._replace(peak=0) == before._replace(peak=0)
    assert 600 <= root.usage.peak <= 10_000
    assert [leaf.usage.used for leaf in leaves] == [0, 0, 0, 0]


@pytest.mark.whole_process  # another sanitizer's run time would be in its programs
@pytest.mark.row("QP-1")
def test_sanitizer_finds_no_race_and_counts_are_exact(tmp_path: Path) -> None:
    """Many threads of C, under ThreadSanitizer; and the same program without the lock is caught."""
    program = tmp_path / "accounts"
    sources = [ROOT / "c/src/core" / f"{name}.c" for name in CORE]
    sources += [ROOT / "c/src/linux/port.c", ROOT / "tests/support/account_stress.c"]
    flags = ["-std=gnu11", "-O1", "-g", "-fsanitize=thread", f"-I{ROOT / 'c/include'}"]
    run("cc", *flags, *sources, "-o", program, "-lpthread")
    assert run(program, "locked").splitlines()[-1] == "used 0 charged 0 peak within"
    assert sees_a_race(program, "unlocked")


CORE = ["memory_account", "counted_allocator", "config", "status", "page_allocator",
        "static_memory", "verification"]  # fmt: skip


# Counted allocators.


@pytest.fixture
def pages_of() -> PageAllocator:
    return LinuxAllocatorBuilder().with_maximum_pages(64).build()


def counted(inner: PageAllocator, charged: MemoryAccount) -> CountedAllocator:
    return CountedAllocatorBuilder().with_inner(inner).with_account(charged).build()


@pytest.mark.row("TH-1")
def test_accessible_pages_are_charged_and_come_back(pages_of: PageAllocator) -> None:
    budget = account(10 * PAGE_SIZE)
    view = counted(pages_of, budget)
    with view.allocate(2, 20) as pages:
        assert budget.usage.used == 2 * PAGE_SIZE
        pages.grow(3)
        assert (budget.usage.used, view.report.page_count) == (5 * PAGE_SIZE, 5)
    assert (budget.usage.used, budget.usage.peak) == (0, 5 * PAGE_SIZE)
    assert view.report == (0, 0, 0)


@pytest.mark.row("TH-1")
def test_growth_that_the_account_refuses_changes_nothing(pages_of: PageAllocator) -> None:
    budget = account(4 * PAGE_SIZE)
    view = counted(pages_of, budget)
    with view.allocate(3, 20) as pages:
        pages.memory[:3] = b"abc"
        with pytest.raises(OutOfMemoryError, match=r"131072 bytes are asked for.*has 65536 left"):
            pages.grow(2)
        assert len(pages.memory) == 3 * PAGE_SIZE and bytes(pages.memory[:3]) == b"abc"
        assert (budget.usage.used, budget.usage.refusals, view.report.refused) == (196608, 1, 1)
        pages.grow(1)
        with pytest.raises(OutOfMemoryError):
            view.allocate(1)
        assert view.report.allocation_count == 1


def test_what_the_inner_allocator_refuses_is_not_charged(pages_of: PageAllocator) -> None:
    budget = account()
    view = counted(pages_of, budget)
    with pytest.raises(LimitError):
        view.allocate(1, 65)
    with view.allocate(1, 2) as pages:
        with pytest.raises(LimitError):
            pages.grow(2)
        assert budget.usage.used == budget.usage.peak == PAGE_SIZE


@pytest.mark.row("TH-1")
def test_views_stand_on_views(pages_of: PageAllocator) -> None:
    tenant, module = account(8 * PAGE_SIZE), account(4 * PAGE_SIZE)
    outer = counted(counted(pages_of, tenant), module)
    with outer.allocate(3, 16) as pages:
        assert tenant.usage.used == module.usage.used == 3 * PAGE_SIZE
        with pytest.raises(OutOfMemoryError):
            pages.grow(2)
        assert tenant.usage == tenant.usage._replace(used=196608, peak=196608, refusals=0)
    assert tenant.usage.used == module.usage.used == 0


@pytest.mark.row("TH-1")
def test_pages_of_another_view_are_refused(pages_of: PageAllocator) -> None:
    budget = account()
    ours, other = counted(pages_of, budget), counted(pages_of, budget)
    raw, more = ffi.new("wrt_pages *"), ffi.new("wrt_pages *")
    interfaces = [ffi.addressof(each._interface) for each in (ours, other, pages_of)]
    assert lib.wrt_page_allocator_allocate(interfaces[0], 1, 4, raw) == lib.WRT_OK
    assert lib.wrt_page_allocator_allocate(interfaces[1], 1, 4, more) == lib.WRT_OK
    for wrong in interfaces[1:]:
        assert lib.wrt_page_allocator_grow(wrong, raw, 1) == lib.WRT_ERR_STATE
        assert lib.wrt_page_allocator_deallocate(wrong, raw) == lib.WRT_ERR_STATE
    assert budget.usage.used == 2 * PAGE_SIZE
    assert lib.wrt_page_allocator_deallocate(interfaces[0], raw) == lib.WRT_OK
    assert lib.wrt_page_allocator_deallocate(interfaces[1], more) == lib.WRT_OK
    assert budget.usage.used == 0


def test_view_and_account_end_in_order(pages_of: PageAllocator) -> None:
    budget = account()
    view = counted(pages_of, budget)
    with pytest.raises(BusyError, match="1 counted allocators charge it"):
        budget.close()
    pages = view.allocate(1)
    with pytest.raises(StateError, match="1 allocations are still out"):
        view.close()
    pages.release()
    view.close()
    view.close()
    budget.close()


def test_what_nobody_refers_to_ends_by_itself(pages_of: PageAllocator) -> None:
    root = account(100 * PAGE_SIZE)
    child = account(minimum=50, parent=root)
    child.charge(70)
    view = counted(pages_of, child)
    pages = view.allocate(1)
    del view, child
    gc.collect()
    assert root.usage.used == 70 + PAGE_SIZE  # the pages need both
    del pages
    gc.collect()
    assert (root.usage.used, root.usage.children) == (0, 0)


def test_view_needs_both_parts() -> None:
    with pytest.raises(InvalidArgumentError, match="needs with_inner"):
        CountedAllocatorBuilder().build()
    raw = ffi.new("wrt_counted_allocator *")
    config = new_config("wrt_counted_allocator_config", account=account()._raw)
    assert lib.wrt_counted_allocator_init(raw, config) == lib.WRT_ERR_INVALID_ARGUMENT
    interface = ffi.new("wrt_page_allocator *", lib.wrt_counted_allocator_interface(raw))
    pages = ffi.new("wrt_pages *")
    assert lib.wrt_page_allocator_allocate(interface, 0, 1, pages) == lib.WRT_ERR_STATE
