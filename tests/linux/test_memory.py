"""Linear memory from Linux: the kernel is asked what there is, and children die of it."""

from __future__ import annotations

import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from page_backends import Raw, memory
from process_memory import Toucher, between, mapping_at, mappings
from wrt_platform._native import ffi, lib
from wrt_platform.enforcement import EnforcementState
from wrt_platform.errors import (
    InvalidArgumentError,
    OutOfMemoryError,
    PermissionDeniedError,
    StateError,
    check,
)
from wrt_platform.linux.memory import LinuxAllocator, LinuxAllocatorBuilder, LinuxNameSource
from wrt_platform.page_allocator import PAGE_SIZE, Pages, Protection, VerificationLevel

SYSTEM_PAGE = os.sysconf("SC_PAGE_SIZE")
NO_ACCESS = 2  # si_code SEGV_ACCERR: mapped, and forbidden
UNTOUCHED = (0, 0, 0)


@pytest.fixture
def touch(support: Callable[[str], Path]) -> Toucher:
    return Toucher(support("touch"))


def builder() -> LinuxAllocatorBuilder:
    return LinuxAllocatorBuilder().with_maximum_pages(16)


def base_of(pages: Pages) -> int:
    return int(ffi.cast("uintptr_t", pages._raw.base))


def rss_of(pages: Pages) -> int:
    """KiB of the accessible pages that are in RAM."""
    end = base_of(pages) + pages.page_count * PAGE_SIZE
    return sum(mapping.kib["Rss"] for mapping in between(base_of(pages), end))


def in_child(work: Callable[[], None]) -> None:
    """Runs `work` in a forked child; it fails here if it fails there."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0, "see the child's traceback"


# Row PA-3: guard pages.


def assert_fault(touch: Toucher, address: int) -> None:
    for write in (False, True):
        assert touch(address, write) == (signal.SIGSEGV, NO_ACCESS, address)


def assert_no_fault(touch: Toucher, address: int) -> None:
    for write in (False, True):
        assert touch(address, write) == UNTOUCHED


@pytest.mark.row("PA-3")
@pytest.mark.parametrize("guard_bytes", [0, SYSTEM_PAGE, 1 << 20])
@pytest.mark.parametrize("level", [VerificationLevel.STANDARD, VerificationLevel.FULL])
def test_byte_past_either_end_faults_at_its_address_and_the_last_ones_do_not(
    touch: Toucher, guard_bytes: int, level: VerificationLevel
) -> None:
    build = builder().with_guard_pages().with_guard_bytes(guard_bytes)
    pages = build.with_verification_level(level).build().allocate(1, 4)
    base = base_of(pages)
    for additional in (0, 1, 2):  # in the end all that is reserved is accessible
        pages.grow(additional)
        end = base + pages.page_count * PAGE_SIZE
        assert_fault(touch, base - 1)
        assert_fault(touch, end)
        assert_no_fault(touch, base)
        assert_no_fault(touch, end - 1)
    size = guard_bytes or 65536
    assert_fault(touch, base - size)
    assert_fault(touch, base + 4 * PAGE_SIZE + size - 1)
    assert mapping_at(base - 1).start == base - size


@pytest.mark.row("PA-3")
def test_without_guard_pages_the_byte_before_does_not_fault(touch: Toucher) -> None:
    full = builder().with_verification_level(VerificationLevel.FULL)
    pages = full.build().allocate(4, 4)
    assert_no_fault(touch, base_of(pages) - 1)  # a canary: seen at the next call, not at once
    assert_no_fault(touch, base_of(pages) + 4 * PAGE_SIZE)


@pytest.mark.row("PA-3")
def test_reserved_pages_fault_without_guards_as_well(touch: Toucher) -> None:
    pages = builder().build().allocate(1, 2)
    assert_fault(touch, base_of(pages) + PAGE_SIZE)
    pages.grow(1)
    assert_no_fault(touch, base_of(pages) + PAGE_SIZE)


@pytest.mark.row("PA-1")
def test_protection_is_the_kernels_and_exact(touch: Toucher) -> None:
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


@pytest.mark.row("PA-1")
@pytest.mark.parametrize(("offset", "size"), [(1, SYSTEM_PAGE), (0, 1), (SYSTEM_PAGE // 2, 0)])
def test_protection_of_half_a_page_is_refused_with_the_size_of_one(offset: int, size: int) -> None:
    pages = builder().build().allocate(1)
    with pytest.raises(InvalidArgumentError, match=f"the system's page, {SYSTEM_PAGE} bytes"):
        pages.protect(offset, size, Protection.READ)


# Row LM-1, first part: what smaps and maps show.


@pytest.mark.row("LM-1")
def test_reservation_has_no_access_and_takes_no_memory() -> None:
    allocator = LinuxAllocatorBuilder().with_guard_pages().build()
    pages = allocator.allocate(1)  # 4 GiB
    base = base_of(pages)
    assert allocator.report.reserved_bytes == (1 << 32) + 2 * 65536
    before, accessible, behind = between(base - 65536, base + (1 << 32) + 65536)
    assert (before.access, before.end) == ("---p", base)
    assert (accessible.access, accessible.end) == ("rw-p", base + PAGE_SIZE)
    assert behind.access == "---p"
    assert behind.end >= base + (1 << 32) + 65536  # a neighbour without access is one with it
    assert [mapping.kib["Rss"] for mapping in (before, accessible, behind)] == [0, 0, 0]


@pytest.mark.row("LM-1")
@pytest.mark.parametrize("name", [None, "populated"])
def test_populate_fills_what_is_accessible_and_only_that(name: str | None) -> None:
    build = builder().with_populate()
    allocator = (build.with_name(name) if name else build).build()
    pages = allocator.allocate(3, 16)
    assert rss_of(pages) == 3 * 64
    pages.grow(2)
    assert rss_of(pages) == 5 * 64
    end = base_of(pages) + 5 * PAGE_SIZE
    assert mapping_at(end).kib["Rss"] == 0
    assert allocator.report.populate.state == EnforcementState.ENFORCED
    lazy = builder().build().allocate(3, 16)
    assert rss_of(lazy) == 0


@pytest.mark.whole_process
@pytest.mark.row("LM-1")
def test_mlock_locks_what_is_accessible_and_growth_too() -> None:
    allocator = builder().with_mlock().build()
    pages = allocator.allocate(1, 4)
    pages.grow(1)
    locked = between(base_of(pages), base_of(pages) + 2 * PAGE_SIZE)
    assert sum(mapping.kib["Locked"] for mapping in locked) == 128
    assert all("lo" in mapping.flags for mapping in locked)
    assert "lo" not in mapping_at(base_of(pages) + 2 * PAGE_SIZE).flags
    assert allocator.report.mlock.state == EnforcementState.ENFORCED
    plain = builder().build().allocate(1, 4)
    assert "lo" not in mapping_at(base_of(plain)).flags


@pytest.mark.row("LM-1")
def test_name_shows_where_the_report_says_and_no_file_stays_open() -> None:
    open_before = len(os.listdir("/proc/self/fd"))
    allocator = builder().with_guard_pages().with_name("wasm heap-1").build()
    pages = allocator.allocate(1, 4)
    source = allocator.report.name_source
    shown = {
        LinuxNameSource.ANON: "[anon:wasm heap-1]",
        LinuxNameSource.MEMFD: "/memfd:wasm heap-1 (deleted)",
    }
    expected = shown.get(source)
    names = {
        mapping.name for mapping in between(base_of(pages) - 65536, base_of(pages) + 5 * 65536)
    }
    if expected is None:
        assert allocator.report.name.state == EnforcementState.ABSENT
        assert names == {""}
    else:
        assert names == {expected}
    pages.memory[:4] = b"abcd"
    pages.grow(3)
    assert bytes(pages.memory[:5]) == b"abcd\0"
    assert len(os.listdir("/proc/self/fd")) == open_before


@pytest.mark.row("LM-1")
def test_no_name_is_reported_as_not_asked() -> None:
    report = builder().build().report
    assert report.name_source == LinuxNameSource.NONE
    assert report.name.state == EnforcementState.NOT_ASKED


@pytest.mark.row("LM-1")
@pytest.mark.parametrize("name", ["", "a" * 80, "a[b", "a]b", "a\\b", "a$b", "a`b", "a\nb", "ä"])
def test_names_that_no_kernel_takes_are_refused(name: str) -> None:
    with pytest.raises(InvalidArgumentError, match="printable ASCII"):
        builder().with_name(name).build()


@pytest.mark.row("LM-1")
def test_longest_name_is_taken() -> None:
    allocator = builder().with_name("n" * 79).build()
    pages = allocator.allocate(1)
    if allocator.report.name_source != LinuxNameSource.NONE:
        assert "n" * 79 in mapping_at(base_of(pages)).name


@pytest.mark.row("LM-1")
def test_deallocation_gives_every_mapping_back() -> None:
    allocator = builder().with_guard_pages().with_name("given_back").with_populate().build()
    pages = [allocator.allocate(2, 16) for _ in range(3)]
    pages[1].protect(SYSTEM_PAGE, SYSTEM_PAGE, Protection.READ)  # splits a mapping
    assert allocator.report[:3] == (3, 6, 6)  # out, pages, peak
    pages[2].grow(4)
    assert allocator.report[:3] == (3, 10, 10)
    shown = [mapping for mapping in mappings() if "given_back" in mapping.name]
    assert bool(shown) == (allocator.report.name_source != LinuxNameSource.NONE)
    for some in pages:
        some.release()
    assert [mapping for mapping in mappings() if "given_back" in mapping.name] == []
    assert allocator.report[:3] == (0, 0, 10)
    assert allocator.report.reserved_bytes == 0


@pytest.mark.row("PA-2")
def test_guard_pages_stand_for_canaries_and_the_report_says_so() -> None:
    full = builder().with_verification_level(VerificationLevel.FULL)
    bare, guarded = full.build().report, full.with_guard_pages().build().report
    assert bare.guard_pages.state == EnforcementState.NOT_ASKED
    assert bare.canaries == (EnforcementState.ENFORCED, "checked by each call that is handed pages")
    assert guarded.guard_pages.state == EnforcementState.ENFORCED
    assert guarded.canaries.state == EnforcementState.ENFORCED
    assert "guard pages stand for canaries" in guarded.canaries.reason


# What the system refuses.


def without_privileges() -> None:
    if os.getuid() == 0:
        os.setresuid(65534, 65534, 65534)  # drops CAP_IPC_LOCK


@pytest.mark.whole_process
@pytest.mark.row("LM-1")
def test_lock_beyond_the_limit_names_it_and_the_remedy() -> None:
    def work() -> None:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (2 * PAGE_SIZE, 2 * PAGE_SIZE))
        without_privileges()
        allocator = builder().with_mlock().build()
        with pytest.raises(OutOfMemoryError, match=r"RLIMIT_MEMLOCK is 131072 bytes.*ulimit -l"):
            allocator.allocate(3, 4)
        assert allocator.report[:2] == (0, 0)
        pages = allocator.allocate(1, 4)
        with pytest.raises(OutOfMemoryError, match=r"mlock of 131072 bytes failed, ENOMEM: "):
            pages.grow(2)
        assert pages.page_count == 1
        assert mapping_at(base_of(pages) + PAGE_SIZE).access == "---p"
        pages.grow(1)  # that much is still there

    in_child(work)


@pytest.mark.whole_process
@pytest.mark.row("LM-1")
def test_lock_that_is_not_allowed_at_all_is_a_permission_error() -> None:
    def work() -> None:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))
        without_privileges()
        with pytest.raises(PermissionDeniedError, match=r"failed, EPERM: RLIMIT_MEMLOCK is 0"):
            builder().with_mlock().build().allocate(1)

    in_child(work)


@pytest.mark.whole_process
@pytest.mark.row("LM-1")
def test_addresses_beyond_the_limit_name_it() -> None:
    def work() -> None:
        room = sum(mapping.end - mapping.start for mapping in mappings()) + (6 << 30)
        resource.setrlimit(resource.RLIMIT_AS, (room, room))
        allocator = LinuxAllocatorBuilder().build()
        kept = [allocator.allocate(1)]
        with pytest.raises(OutOfMemoryError, match=r"failed, ENOMEM: RLIMIT_AS \(ulimit -v\)"):
            kept.append(allocator.allocate(1))
        assert allocator.report.allocation_count == 1
        kept.append(allocator.allocate(1, 16))

    in_child(work)


@pytest.mark.whole_process
@pytest.mark.row("PA-1")
def test_commitment_that_the_system_refuses_changes_nothing() -> None:
    def work() -> None:
        pages = LinuxAllocatorBuilder().build().allocate(1)
        pages.memory[:] = b"x" * PAGE_SIZE
        resource.setrlimit(resource.RLIMIT_DATA, (1 << 30, 1 << 30))
        with pytest.raises(OutOfMemoryError, match="the system commits no more memory"):
            pages.grow(32768)  # 2 GiB
        assert (pages.page_count, bytes(pages.memory)) == (1, b"x" * PAGE_SIZE)
        assert mapping_at(base_of(pages) + PAGE_SIZE).access == "---p"
        pages.grow(1)

    in_child(work)


@pytest.mark.row("LM-1")
def test_name_is_no_failure_where_files_are_limited() -> None:
    """ftruncate beyond RLIMIT_FSIZE would end the process by SIGXFSZ."""

    def work() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python ignores it; C programs do not
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        allocator = builder().with_name("unnamed").build()
        allocator.allocate(1).memory[0] = 1
        assert allocator.report.name_source in (LinuxNameSource.NONE, LinuxNameSource.ANON)

    in_child(work)


# Fork.


@pytest.mark.parametrize("name", [None, "forked"])
def test_forked_child_is_refused_and_the_parent_goes_on(name: str | None) -> None:
    allocator = (builder().with_name(name) if name else builder()).build()
    pages = allocator.allocate(1, 4)
    pages.memory[:6] = b"parent"

    def work() -> None:
        for call in (lambda: allocator.allocate(1), lambda: pages.grow(1), allocator.close):
            with pytest.raises(StateError, match="belongs to the process that forked"):
                call()
        with pytest.raises(StateError, match="belongs to the process that forked"):
            allocator.report  # noqa: B018
        own = builder().build().allocate(1)
        own.memory[:5] = b"child"
        assert bytes(pages.memory[:6]) == b"parent"
        pages.memory[:6] = b"child!"

    is_shared = allocator.report.name_source == LinuxNameSource.MEMFD
    in_child(work)
    assert bytes(pages.memory[:6]) == (b"child!" if is_shared else b"parent")
    pages.grow(1)
    pages.release()
    allocator.close()


# Rules of the config, and the object.


def raw_config(**fields: Any) -> Any:
    size = ffi.sizeof("wrt_linux_allocator_config")
    return ffi.new("wrt_linux_allocator_config *", {"struct_size": size, **fields})


@pytest.mark.parametrize(
    "fields",
    [
        {"maximum_pages": 65537},
        {"verification_level": 5},
        {"guard_bytes": SYSTEM_PAGE - 1},
        {"guard_bytes": SYSTEM_PAGE + 1},
        {"guard_bytes": (1 << 32) + SYSTEM_PAGE},
        {"guard_bytes": 1 << 63},
        {"struct_size": 0},
        {"struct_size": 5000},
    ],
)
def test_broken_rules_are_refused(fields: dict[str, Any]) -> None:
    allocator = ffi.new("wrt_linux_allocator *")
    config = raw_config(**fields)
    assert lib.wrt_linux_allocator_init(allocator, config) == lib.WRT_ERR_INVALID_ARGUMENT
    assert bytes(ffi.buffer(allocator)) == bytes(ffi.sizeof("wrt_linux_allocator"))


def test_null_reserved_bytes_and_moves_are_refused() -> None:
    allocator, report = ffi.new("wrt_linux_allocator *"), ffi.new("wrt_linux_allocator_report *")
    refused = [
        lib.wrt_linux_allocator_init(ffi.NULL, raw_config()),
        lib.wrt_linux_allocator_init(allocator, ffi.NULL),
        lib.wrt_linux_allocator_query(ffi.NULL, report),
        lib.wrt_linux_allocator_query(allocator, ffi.NULL),
        lib.wrt_linux_allocator_deinit(ffi.NULL),
    ]
    assert set(refused) == {lib.WRT_ERR_INVALID_ARGUMENT}
    config = raw_config()
    config.reserved[0] = 1
    assert lib.wrt_linux_allocator_init(allocator, config) == lib.WRT_ERR_UNSUPPORTED
    assert lib.wrt_linux_allocator_query(allocator, report) == lib.WRT_ERR_STATE
    check(lib.wrt_linux_allocator_init(allocator, raw_config()))
    check(lib.wrt_linux_allocator_deinit(allocator))
    check(lib.wrt_linux_allocator_deinit(allocator))
    assert bytes(ffi.buffer(allocator)) == bytes(ffi.sizeof("wrt_linux_allocator"))


def test_allocator_may_be_moved_only_while_nothing_is_out() -> None:
    first, report = ffi.new("wrt_linux_allocator *"), ffi.new("wrt_linux_allocator_report *")
    check(lib.wrt_linux_allocator_init(first, raw_config()))
    second = ffi.new("wrt_linux_allocator *", first[0])
    interface = ffi.new("wrt_page_allocator *", lib.wrt_linux_allocator_interface(second))
    pages = ffi.new("wrt_pages *")
    check(lib.wrt_page_allocator_allocate(interface, 1, 1, pages))
    third = ffi.new("wrt_linux_allocator *", second[0])
    moved = ffi.new("wrt_page_allocator *", lib.wrt_linux_allocator_interface(third))
    assert lib.wrt_page_allocator_grow(moved, pages, 0) == lib.WRT_ERR_STATE
    assert lib.wrt_page_allocator_allocate(moved, 1, 1, ffi.new("wrt_pages *")) == lib.WRT_ERR_STATE
    assert lib.wrt_linux_allocator_query(third, report) == lib.WRT_ERR_STATE
    assert lib.wrt_linux_allocator_deinit(third) == lib.WRT_ERR_STATE
    check(lib.wrt_page_allocator_deallocate(interface, pages))
    check(lib.wrt_linux_allocator_deinit(second))


def test_many_allocations_are_apart() -> None:
    allocator = builder().with_guard_pages().build()
    raw = Raw(allocator)
    everyone = [raw.allocate(1, 2) for _ in range(20)]
    for mark, pages in enumerate(everyone):
        memory(pages)[:] = bytes([mark]) * PAGE_SIZE
    for mark, pages in enumerate(everyone):
        assert set(memory(pages)) == {mark}
        assert raw.deallocate(pages) == lib.WRT_OK
    allocator.close()


def test_closed_allocator_leaves_no_mapping() -> None:
    def count() -> int:
        return sum("leak_check" in mapping.name for mapping in mappings())

    with builder().with_name("leak_check").build() as allocator:
        assert isinstance(allocator, LinuxAllocator)
        with allocator.allocate(1) as pages:
            pages.memory[0] = 1
            if allocator.report.name_source != LinuxNameSource.NONE:
                assert count() > 0
    assert count() == 0
