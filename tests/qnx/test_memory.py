"""Linear memory from QNX: real pages of the simulated kernel, which is asked what there is. What
all page allocators have in common is in tests/test_page_allocator.py."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import pytest
from qnx_world import (
    EAGAIN,
    EIO,
    ENOMEM,
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
)
from wrt_platform._native import ffi, lib
from wrt_platform.enforcement import EnforcementState
from wrt_platform.errors import InvalidArgumentError, LimitError, OutOfMemoryError, WrtError
from wrt_platform.page_allocator import Protection, VerificationLevel
from wrt_platform.qnx.memory import QnxAllocator, QnxAllocatorBuilder, QnxProtFlags

SYSTEM_PAGE = 4096
READ_WRITE = lib.WRT_SIM_QNX_READ | lib.WRT_SIM_QNX_WRITE


pytestmark = pytest.mark.usefixtures("world")


def builder() -> QnxAllocatorBuilder:
    return QnxAllocatorBuilder().with_maximum_pages(16)


def memory_view() -> Any:
    view = ffi.new("wrt_sim_qnx_memory_view *")
    must(lib.wrt_sim_qnx_memory_query(view))
    return view


def assert_fault(touch: Toucher, address: int) -> None:
    for write in (False, True):
        assert touch(address, write) == (signal.SIGSEGV, NO_ACCESS, address)


def assert_no_fault(touch: Toucher, address: int) -> None:
    for write in (False, True):
        assert touch(address, write) == UNTOUCHED


@pytest.mark.row("QM-1", proof="sim")
@pytest.mark.row("PA-3", proof="sim")
@pytest.mark.parametrize("guard_bytes", [0, SYSTEM_PAGE, 1 << 20])
@pytest.mark.parametrize("level", [VerificationLevel.STANDARD, VerificationLevel.FULL])
@pytest.mark.parametrize("lazy", [False, True])
def test_byte_past_either_end_faults_at_its_address_and_the_last_ones_do_not(
    touch: Toucher, guard_bytes: int, level: VerificationLevel, lazy: bool
) -> None:
    build = builder().with_guard_pages(True).with_guard_bytes(guard_bytes).with_lazy(lazy)
    pages = build.with_verification_level(level).build().allocate(1, 4)
    base = base_of(pages)
    for additional in (0, 1, 2):  # in the end all that is reserved is accessible
        pages.grow(additional)
        end = base + pages.page_count * PAGE
        assert_fault(touch, base - 1)
        assert_fault(touch, end)
        assert_no_fault(touch, base)
        assert_no_fault(touch, end - 1)
    size = guard_bytes or 65536
    assert_fault(touch, base - size)
    assert_fault(touch, base + 4 * PAGE + size - 1)
    assert access_at(base - size - 1) is None
    assert access_at(base + 4 * PAGE + size) is None


@pytest.mark.row("PA-3", proof="sim")
def test_without_guard_pages_the_byte_before_does_not_fault(touch: Toucher) -> None:
    full = builder().with_verification_level(VerificationLevel.FULL).build()
    pages = full.allocate(4, 4)
    assert_no_fault(touch, base_of(pages) - 1)  # a canary: seen at the next call, not at once
    assert_no_fault(touch, base_of(pages) + 4 * PAGE)


@pytest.mark.row("QM-1", proof="sim")
@pytest.mark.parametrize(
    ("flags", "access"),
    [
        (QnxProtFlags.NONE, 0),
        (QnxProtFlags.READ, lib.WRT_SIM_QNX_READ),
        (QnxProtFlags.READ_WRITE, READ_WRITE),
    ],
)
def test_data_protection_is_the_kernels_for_first_pages_and_for_growth(
    touch: Toucher, flags: QnxProtFlags, access: int
) -> None:
    pages = builder().with_data_protection(flags).build().allocate(1, 4)
    pages.grow(1)
    for address in (base_of(pages), base_of(pages) + 2 * PAGE - 1):
        assert access_at(address) == access
        fault = (signal.SIGSEGV, NO_ACCESS, address)
        assert touch(address, write=False) == (UNTOUCHED if access else fault)
        assert touch(address, write=True) == (UNTOUCHED if access == READ_WRITE else fault)
    pages.protect(0, 2 * PAGE, Protection.READ | Protection.WRITE)
    pages.memory[:4] = b"data"


@pytest.mark.row("QM-1", proof="sim")
def test_protection_is_exact_to_a_page_of_the_system(touch: Toucher) -> None:
    pages = builder().build().allocate(1, 2)
    start = base_of(pages) + SYSTEM_PAGE
    for flags in (Protection.NONE, Protection.READ, Protection.WRITE):
        pages.protect(SYSTEM_PAGE, SYSTEM_PAGE, flags)
        for address in (start, start + SYSTEM_PAGE - 1):
            fault = (signal.SIGSEGV, NO_ACCESS, address)
            assert touch(address, write=False) == (fault if flags == 0 else UNTOUCHED)
            assert touch(address, write=True) == (UNTOUCHED if flags == 2 else fault)
        assert_no_fault(touch, start - 1)
        assert_no_fault(touch, start + SYSTEM_PAGE)
    pages.protect(SYSTEM_PAGE, SYSTEM_PAGE, Protection.READ | Protection.WRITE)


@pytest.mark.row("QM-1", proof="sim")
def test_reservation_costs_addresses_and_no_memory() -> None:
    allocator = QnxAllocatorBuilder().with_maximum_pages(4096).with_guard_pages().build()
    pages = allocator.allocate(1)
    assert allocator.report.reserved_bytes == 4096 * PAGE + 2 * 65536
    assert memory_view().mapped_bytes == 4096 * PAGE + 2 * 65536
    assert memory_view().paid_bytes == PAGE
    pages.grow(3)
    assert memory_view().paid_bytes == 4 * PAGE
    pages.release()
    assert (memory_view().mapped_bytes, memory_view().paid_bytes) == (0, 0)


@pytest.mark.row("QM-1", proof="sim")
def test_lazy_pages_get_their_memory_when_they_are_touched() -> None:
    allocator = builder().with_lazy().build()
    pages = allocator.allocate(4, 8)
    assert memory_view().paid_bytes == 0
    pages.memory[PAGE] = 1
    assert memory_view().paid_bytes == SYSTEM_PAGE
    assert allocator.report.commitment.state == EnforcementState.NOT_ASKED
    assert builder().build().report.commitment.state == EnforcementState.ENFORCED


@pytest.mark.row("QM-1", proof="sim")
def test_shortage_is_an_error_with_nothing_changed_unless_pages_are_lazy() -> None:
    total = memory_view().system_bytes
    used = total - memory_view().system_free_bytes
    must(lib.wrt_sim_qnx_set_system_memory(used + 4 * PAGE))
    try:
        allocator = builder().build()
        with pytest.raises(OutOfMemoryError, match=r"mprotect of 327680 bytes failed, ENOMEM"):
            allocator.allocate(5, 16)
        pages = allocator.allocate(3, 16)
        pages.memory[-1] = 7
        with pytest.raises(OutOfMemoryError, match="mprotect of 131072 bytes failed, ENOMEM"):
            pages.grow(2)
        assert (pages.page_count, pages.memory[-1]) == (3, 7)
        assert access_at(base_of(pages) + 3 * PAGE) == 0
        pages.grow(1)
        builder().with_lazy().build().allocate(16, 16).release()  # nobody asks for its memory
        assert allocator.report[:3] == (1, 4, 4)
    finally:
        pages = None  # type: ignore[assignment]
        must(lib.wrt_sim_qnx_set_system_memory(total))


@pytest.mark.row("QM-1", proof="sim")
def test_many_allocations_at_a_time_each_at_its_place() -> None:
    allocator = builder().with_guard_pages().build()
    several = [allocator.allocate(1, 16) for _ in range(5)]
    for number, pages in enumerate(several):
        pages.memory[:] = bytes([number]) * PAGE
    several[2].release()
    del several[2]
    assert [pages.memory[PAGE - 1] for pages in several] == [0, 1, 3, 4]
    assert allocator.report[:3] == (4, 4, 5)


@pytest.mark.row("QM-1", proof="sim")
def test_report_says_what_protects() -> None:
    full = builder().with_verification_level(VerificationLevel.FULL)
    bare, guarded = full.build().report, full.with_guard_pages().build().report
    assert bare.guard_pages.state == EnforcementState.NOT_ASKED
    assert bare.canaries.state == EnforcementState.ENFORCED
    assert guarded.guard_pages.state == EnforcementState.ENFORCED
    assert "guard pages stand for canaries" in guarded.canaries.reason
    assert bare.partition == (EnforcementState.NOT_ASKED, "there is no partition")


@pytest.mark.row("QM-1", proof="sim")
@pytest.mark.parametrize(
    ("configure", "reason"),
    [
        (lambda b: b.with_maximum_pages(65537), "a memory has at most 65536"),
        (lambda b: b.with_guard_bytes(1), "not a multiple of the system's page .4096 bytes."),
        (lambda b: b.with_guard_bytes((1 << 32) + 4096), "up to 4 GiB"),
        (lambda b: b.with_verification_level(5), "verification is 5"),
        (lambda b: b.with_data_protection(4), "data_protection is 4"),
    ],
)
def test_config_out_of_range_is_refused(
    configure: Callable[[QnxAllocatorBuilder], Any], reason: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=reason):
        configure(builder()).build()


@pytest.mark.row("QM-1", proof="sim")
def test_moved_or_unknown_allocators_are_refused() -> None:
    pages = ffi.new("wrt_pages *")
    config = ffi.new("wrt_qnx_allocator_config *", {"struct_size": 40})
    allocator = ffi.new("wrt_qnx_allocator *")
    report = ffi.new("wrt_qnx_allocator_report *")

    def allocate(of: Any) -> int:
        interface = ffi.new("wrt_page_allocator *", lib.wrt_qnx_allocator_interface(of))
        return int(lib.wrt_page_allocator_allocate(interface, 1, 1, pages))

    assert allocate(allocator) == lib.WRT_ERR_STATE
    assert lib.wrt_qnx_allocator_query(allocator, report) == lib.WRT_ERR_STATE
    config.reserved[1] = 1
    assert lib.wrt_qnx_allocator_init(allocator, config) == lib.WRT_ERR_UNSUPPORTED
    assert bytes(ffi.buffer(allocator)) == bytes(ffi.sizeof("wrt_qnx_allocator"))
    config.reserved[1] = 0
    must(lib.wrt_qnx_allocator_init(allocator, config))
    moved = ffi.new("wrt_qnx_allocator *", allocator[0])
    must(allocate(moved))  # nothing was out: it may move
    again = ffi.new("wrt_qnx_allocator *", moved[0])
    assert lib.wrt_qnx_allocator_query(again, report) == lib.WRT_ERR_STATE
    assert lib.wrt_qnx_allocator_deinit(moved) == lib.WRT_ERR_STATE  # something is out
    interface = ffi.new("wrt_page_allocator *", lib.wrt_qnx_allocator_interface(moved))
    must(lib.wrt_page_allocator_deallocate(interface, pages))
    must(lib.wrt_qnx_allocator_deinit(moved))
    must(lib.wrt_qnx_allocator_deinit(moved))
    for call in (lib.wrt_qnx_allocator_init, lib.wrt_qnx_allocator_query):
        assert call(ffi.NULL, ffi.NULL) == lib.WRT_ERR_INVALID_ARGUMENT


@pytest.mark.row("QM-1", proof="sim")
def test_allocation_of_another_process_is_refused() -> None:
    allocator = builder().build()
    must(lib.wrt_sim_qnx_reset())  # another world: another process
    with pytest.raises(WrtError, match="belongs to the process that forked this one"):
        allocator.allocate(1)


# Each call of the kernel fails once.


def state_of(allocator: QnxAllocator) -> tuple[Any, ...]:
    return tuple(allocator.report)[:2], holdings()


CONFIGS: dict[str, Callable[[], QnxAllocatorBuilder]] = {
    "plain": builder,
    "canaries": lambda: builder().with_verification_level(VerificationLevel.FULL),
    "guarded-lazy": lambda: builder().with_guard_pages().with_lazy(),
}


@pytest.mark.row("QM-1", proof="sim")
@pytest.mark.parametrize("code", [ENOMEM, EAGAIN, EIO])
@pytest.mark.parametrize("config", CONFIGS)
def test_call_that_fails_anywhere_leaves_nothing_and_is_named(config: str, code: int) -> None:
    allocator = CONFIGS[config]().build()
    calls = calls_of(lambda: allocator.allocate(1, 4).release())
    before, failures = state_of(allocator), 0
    for use in range(1, calls + 1):
        fail_at(use, code)
        told = failure_count()
        try:
            pages = allocator.allocate(1, 4)
        except WrtError as error:
            failures += 1
            assert isinstance(error, OutOfMemoryError) == (code != EIO)
            assert "mprotect" in str(error) or "reserving" in str(error)
            assert state_of(allocator) == before
            continue
        # It failed while the pages went back: they are still there, and the next call tells.
        pages.memory[0] = 1
        if failure_count() == told:
            with pytest.raises(WrtError, match="munmap of"):
                pages.release()
            must(lib.wrt_page_allocator_deallocate(
                ffi.new("wrt_page_allocator *", allocator._interface), pages._raw
            ))  # fmt: skip
        assert state_of(allocator) == before
    assert failures >= 2


@pytest.mark.row("QM-1", proof="sim")
@pytest.mark.parametrize("config", CONFIGS)
def test_growth_that_fails_keeps_data_base_and_pages(config: str) -> None:
    allocator = CONFIGS[config]().build()
    pages = allocator.allocate(1, 4)
    pages.memory[:] = b"x" * PAGE
    base, before = base_of(pages), state_of(allocator)
    other = allocator.allocate(1, 4)
    calls = calls_of(lambda: other.grow(1))
    other.release()
    assert calls >= 1
    failed = []
    for use in range(1, calls + 1):
        fail_at(use, ENOMEM)
        try:
            pages.grow(1)
        except OutOfMemoryError as error:
            failed.append(str(error))
            assert (base_of(pages), pages.page_count) == (base, 1)
            assert bytes(pages.memory) == b"x" * PAGE
            assert state_of(allocator) == before
    assert any("mprotect of 65536 bytes failed, ENOMEM" in text for text in failed)
    pages.grow(1)
    assert bytes(pages.memory[: 2 * PAGE]) == b"x" * PAGE + bytes(PAGE)


@pytest.mark.row("PA-1", proof="sim")
def test_limit_of_the_config_is_said_with_its_numbers() -> None:
    with pytest.raises(LimitError, match="maximum_pages is 17, the allocator's config grants 16"):
        builder().build().allocate(1, 17)
