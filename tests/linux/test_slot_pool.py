"""Kept slots: nothing of the last tenant is readable, and only what it wrote is cleaned.

What is readable is found by reading every byte; what is in RAM, by smaps.
"""

from __future__ import annotations

import gc
import os
import random
import resource
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from page_backends import Raw
from process_memory import Toucher, between, mapping_at
from support.environments import say_in
from support.guest import assemble
from wrt_platform import InstanceBuilder, Module
from wrt_platform._native import ffi, lib
from wrt_platform.errors import BusyError, InvalidArgumentError, StateError
from wrt_platform.linux.slot_pool import LinuxSlotPoolBuilder, SlotPool
from wrt_platform.memory import settle
from wrt_platform.page_allocator import PAGE_SIZE, Pages, Protection, VerificationLevel

pytestmark = pytest.mark.row("LM-6")

SYSTEM_PAGE = os.sysconf("SC_PAGE_SIZE")
KEEP = 4 * PAGE_SIZE


@pytest.fixture
def touch(support: Callable[[str], Path]) -> Toucher:
    return Toucher(support("touch"))


def builder() -> LinuxSlotPoolBuilder:
    return LinuxSlotPoolBuilder().with_slot_count(1).with_maximum_pages(16).with_keep_bytes(KEEP)


def base_of(pages: Pages) -> int:
    return int(ffi.cast("uintptr_t", pages._raw.base))


def in_ram(base: int, size: int) -> int:
    """Bytes of a slot that are in RAM, whoever may access them."""
    areas = between(base, base + size)
    return sum(area.kib["Rss"] for area in areas) * 1024


def written(base: int, size: int) -> int:
    """Bytes of its own that a slot has, those of the shared image aside."""
    areas = between(base, base + size)
    return sum(area.kib["Anonymous"] for area in areas) * 1024


IMAGES = {"zeros": b"", "image": random.Random(1).randbytes(3 * PAGE_SIZE + 777)}


@pytest.fixture(params=IMAGES)
def image(request: pytest.FixtureRequest) -> bytes:
    return IMAGES[request.param]


def pool_of(image: bytes, build: LinuxSlotPoolBuilder | None = None) -> SlotPool:
    build = build or builder()
    return (build.with_image(image) if image else build).build()


def fresh(image: bytes, pages: int) -> bytes:
    return image + bytes(pages * PAGE_SIZE - len(image))


# What the next tenant sees.


@pytest.mark.parametrize("keep", [1, SYSTEM_PAGE, KEEP, 64 * PAGE_SIZE])
def test_no_byte_of_any_tenant_is_readable_by_the_next(image: bytes, keep: int) -> None:
    pool = pool_of(image, builder().with_keep_bytes(keep))
    chosen = random.Random(keep)
    bases = set()
    for _ in range(25):
        first = chosen.randrange(4, 17)
        pages = pool.allocate(first)
        bases.add(base_of(pages))
        assert bytes(pages.memory) == fresh(image, first)
        last = chosen.randrange(first, 17)
        pages.grow(last - first)
        assert bytes(pages.memory[first * PAGE_SIZE :]) == bytes((last - first) * PAGE_SIZE)
        for _ in range(chosen.randrange(40)):
            begin = chosen.randrange(last * PAGE_SIZE)
            size = min(chosen.choice([1, 100, 9000]), last * PAGE_SIZE - begin)
            pages.memory[begin : begin + size] = b"\xee" * size
        pages.release()
    assert len(bases) == 1  # the same slot each time


def test_first_and_last_byte_of_every_system_page_are_cleaned(image: bytes) -> None:
    pool = pool_of(image)
    for offset in (0, SYSTEM_PAGE - 1):
        pages = pool.allocate(8)
        for page in range(0, 8 * PAGE_SIZE, SYSTEM_PAGE):
            pages.memory[page + offset] ^= 0x5A
        pages.release()
        assert bytes(pool.allocate(8).memory) == fresh(image, 8)


def test_pages_that_the_tenant_had_protected_are_cleaned_and_open_again(image: bytes) -> None:
    pool = pool_of(image)
    pages = pool.allocate(8)
    pages.memory[:] = b"\xee" * (8 * PAGE_SIZE)
    pages.protect(0, SYSTEM_PAGE, Protection.NONE)
    pages.protect(2 * PAGE_SIZE, PAGE_SIZE, Protection.READ)
    pages.release()
    again = pool.allocate(8)
    assert bytes(again.memory) == fresh(image, 8)
    again.memory[:] = bytes(8 * PAGE_SIZE)


def test_what_a_larger_tenant_could_reach_a_smaller_one_cannot(touch: Toucher) -> None:
    pool = builder().build()
    pages = pool.allocate(8)
    pages.release()
    small = pool.allocate(1, 2)
    base = base_of(small)
    denied = (signal.SIGSEGV, 2, base + PAGE_SIZE)
    assert touch(base + PAGE_SIZE, False) == denied
    assert touch(base + PAGE_SIZE - 1, True) == (0, 0, 0)
    small.grow(1)
    assert touch(base + 2 * PAGE_SIZE, False)[0] == signal.SIGSEGV


def test_slots_have_guards_between_them(touch: Toucher) -> None:
    pool = builder().with_slot_count(3).with_guard_bytes(SYSTEM_PAGE).build()
    pages = [pool.allocate(16) for _ in range(3)]
    bases = sorted(base_of(some) for some in pages)
    assert bases[1] - bases[0] == bases[2] - bases[1] == 16 * PAGE_SIZE + SYSTEM_PAGE
    for base in bases:
        for address in (base - 1, base + 16 * PAGE_SIZE):
            assert touch(address, True) == (signal.SIGSEGV, 2, address)
    assert pool.report.reserved_bytes >= 3 * (16 * PAGE_SIZE + SYSTEM_PAGE) + SYSTEM_PAGE


# What stays in RAM.


def test_only_pages_that_were_written_are_cleaned_and_they_stay_in_ram() -> None:
    pool = builder().build()
    pages = pool.allocate(4)
    base = base_of(pages)
    for page in (0, 3, 60):
        pages.memory[page * SYSTEM_PAGE + 5] = 1
    assert bytes(pages.memory[SYSTEM_PAGE * 20 : SYSTEM_PAGE * 21]) == bytes(SYSTEM_PAGE)
    pages.release()
    assert pool.report.cleaned_bytes == 3 * SYSTEM_PAGE
    assert written(base, KEEP) == 3 * SYSTEM_PAGE  # neither more nor less than before
    assert pool.report.dropped_bytes == 0
    again = pool.allocate(4)
    assert in_ram(base, KEEP) >= 3 * SYSTEM_PAGE
    again.release()
    assert pool.report.cleaned_bytes == 3 * SYSTEM_PAGE  # nothing written, nothing cleaned


def test_beyond_what_is_kept_memory_goes_back() -> None:
    pool = builder().build()
    pages = pool.allocate(16)
    base = base_of(pages)
    pages.memory[:] = b"x" * (16 * PAGE_SIZE)
    assert written(base, 16 * PAGE_SIZE) == 16 * PAGE_SIZE
    pages.release()
    assert written(base, 16 * PAGE_SIZE) == KEEP
    assert pool.report.dropped_bytes == 16 * PAGE_SIZE - KEEP
    assert pool.report.cleaned_bytes == KEEP


def test_an_image_is_in_ram_once_and_written_pages_are_copies() -> None:
    image = random.Random(2).randbytes(16 * PAGE_SIZE)
    pool = builder().with_slot_count(4).with_image(image).build()
    slots = [pool.allocate(16) for _ in range(4)]
    for pages in slots:
        assert bytes(pages.memory) == image
        assert written(base_of(pages), 16 * PAGE_SIZE) == 0
    slots[1].memory[7] ^= 1
    assert written(base_of(slots[1]), 16 * PAGE_SIZE) == SYSTEM_PAGE
    assert bytes(slots[0].memory) == bytes(slots[2].memory) == image
    base = base_of(slots[1])
    slots[1].release()
    assert pool.report.cleaned_bytes == SYSTEM_PAGE
    assert mapping_at(base).name.startswith("/memfd:wrt_slot_image")
    assert bytes(pool.allocate(16).memory) == image


def open_files() -> dict[int, str]:
    """What each descriptor is open for."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # the one that listed them
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
    return found


def test_nobody_can_change_an_image_through_its_file() -> None:
    before = open_files()
    pool = builder().with_image(b"image" * 100).build()
    (descriptor,) = [number for number, path in open_files().items() if "wrt_slot_image" in path]
    with pytest.raises(PermissionError):
        os.pwrite(descriptor, b"other", 0)
    with pytest.raises(PermissionError):
        os.ftruncate(descriptor, 0)
    assert not os.get_inheritable(descriptor)
    pool.close()
    assert open_files() == before


# Rules and shortages.


def test_all_out_is_busy_and_the_last_one_back_is_the_first_out() -> None:
    pool = builder().with_slot_count(2).build()
    first, second = pool.allocate(1), pool.allocate(1)
    with pytest.raises(BusyError, match="all 2 slots are out"):
        pool.allocate(1)
    base = base_of(second)
    first.release()
    second.release()
    assert base_of(pool.allocate(1)) == base


def test_rules_of_the_config() -> None:
    for broken in (
        builder().with_slot_count(65537),
        builder().with_maximum_pages(65537),
        builder().with_guard_bytes(1),
        builder().with_image(bytes(16 * PAGE_SIZE + 1)),
        builder().with_image(b""),
    ):
        with pytest.raises(InvalidArgumentError):
            broken.build()
    pool = builder().with_image(bytes(PAGE_SIZE + 1)).build()
    with pytest.raises(InvalidArgumentError, match="image has 69632 bytes"):
        pool.allocate(1)
    pool.allocate(2)


def test_without_verification_pages_of_no_slot_are_refused_all_the_same() -> None:
    pool = builder().with_verification_level(VerificationLevel.OFF).build()
    call = Raw(pool)
    pages = call.allocate(1, 2)
    copy = ffi.new("wrt_pages *", pages[0])
    moved = ffi.new("wrt_pages *", pages[0])
    moved.reservation = ffi.cast("void *", int(ffi.cast("uintptr_t", pages.reservation)) + 4096)
    assert call.deallocate(moved) == lib.WRT_ERR_STATE
    assert call.deallocate(pages) == lib.WRT_OK
    assert call.deallocate(copy) == lib.WRT_ERR_STATE
    assert call.grow(copy, 1) == lib.WRT_ERR_STATE


@pytest.mark.row("LM-5")
def test_a_small_address_space_gets_fewer_slots_and_the_report_says_why() -> None:
    body = """
    import resource
    from wrt_platform.linux.slot_pool import *
    used = int(open("/proc/self/statm").read().split()[0]) * 4096
    resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30), used + (1 << 30)))
    pool = SlotPoolBuilder().with_slot_count(64).with_maximum_pages(1024).build()
    report = pool.report
    print(report.slot_count, report.slots.state.name, "RLIMIT_AS" in report.slots.reason)
    kept = [pool.allocate(1) for _ in range(report.slot_count)]
    try:
        SlotPoolBuilder().with_slot_count(1).with_maximum_pages(65536).build()
    except MemoryError as error:
        print("RLIMIT_AS" in str(error))
    """
    count, *words = say_in("here", body)
    assert 2 <= int(count) <= 8  # of 64 MiB each, in half of 1 GiB
    assert words == ["PARTIAL", "True", "True"]


@pytest.mark.row("LM-5")
@pytest.mark.parametrize("environment", ["here", "old kernel", "docker", "user"])
def test_it_cleans_in_every_environment(environment: str) -> None:
    body = """
    from wrt_platform.linux.slot_pool import *
    pool = SlotPoolBuilder().with_slot_count(1).with_image(b"image").build()
    for _ in range(3):
        pages = pool.allocate(3)
        assert bytes(pages.memory) == b"image" + bytes(3 * 65536 - 5)
        pages.memory[:] = bytes([255]) * len(pages.memory)
        pages.release()
    print("clean")
    """
    assert say_in(environment, body) == ["clean"]


@pytest.mark.row("LM-5")
def test_where_pagemap_is_denied_every_kept_page_is_compared() -> None:
    body = """
    from wrt_platform.linux.slot_pool import *
    build = SeccompBuilder().with_default_action(SeccompAction.ALLOW)
    build.with_rule("openat", SeccompAction.ERRNO, error=errno.EACCES).build().load()
    pool = SlotPoolBuilder().with_slot_count(1).build()
    for _ in range(3):
        pages = pool.allocate(3)
        assert bytes(pages.memory) == bytes(3 * 65536)
        pages.memory[::5000] = bytes([9]) * len(pages.memory[::5000])
        pages.release()
    print(pool.report.cleaning.state.name, pool.report.cleaned_bytes)
    """
    state, cleaned = say_in("here", body)
    assert state == "PARTIAL"
    touched = {offset // SYSTEM_PAGE for offset in range(0, 3 * PAGE_SIZE, 5000)}
    assert int(cleaned) == 3 * len(touched) * SYSTEM_PAGE


@pytest.mark.whole_process  # the address sanitizer swallows mlock
def test_a_process_that_locks_its_memory_is_clean_as_well() -> None:
    body = """
    from wrt_platform.linux.slot_pool import *
    pool = SlotPoolBuilder().with_slot_count(1).with_maximum_pages(8).with_keep_bytes(4096)
    pool = pool.build()
    for _ in range(3):
        pages = pool.allocate(8)
        assert _libc.mlock(ctypes.c_void_p(int(pool_base(pages))), 8 * 65536) == 0
        assert bytes(pages.memory) == bytes(8 * 65536)
        pages.memory[:] = bytes([255]) * len(pages.memory)
        pages.release()
    print(pool.report.dropped_bytes)
    """
    before = """
    def pool_base(pages):
        from wrt_platform._native import ffi
        return ffi.cast("uintptr_t", pages._raw.base)
    """
    lock = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
    if os.geteuid() != 0 and lock != resource.RLIM_INFINITY and lock < 1 << 20:
        pytest.skip("RLIMIT_MEMLOCK is too low to lock a slot")
    assert say_in("here", body, before=before) == ["0"]


def addresses() -> int:
    """Bytes of address space that are taken."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * SYSTEM_PAGE


def test_garbage_ends_in_any_order() -> None:
    """Python finds a pool and what it lent in one ring, and may end the pool first."""
    module = Module(assemble('(module (memory (export "memory") 1 4))'))
    build = LinuxSlotPoolBuilder().with_slot_count(2).with_maximum_pages(8192)
    gc.collect()  # what earlier tests left is not ours
    settle()
    before = addresses()
    for _ in range(4):
        pool = build.build()
        pages = pool.allocate(1)
        instance = InstanceBuilder().with_module(module).with_allocator(pool).build()
        ring: list[Any] = [instance, pages, pool]
        ring.append(ring)
        assert addresses() - before > 2 * 8192 * PAGE_SIZE
        del ring, instance, pages, pool
        gc.collect()
        settle()
        assert addresses() - before < 8192 * PAGE_SIZE


def test_a_forked_child_is_refused() -> None:
    pool = builder().build()
    child = os.fork()
    if child == 0:
        try:
            pool.allocate(1)
        except StateError:
            os._exit(0)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    pool.allocate(1)


# As an allocator of instances.


def test_instances_come_and_go_in_the_same_slot() -> None:
    module = Module(
        assemble(
            """(module (memory (export "memory") 1 4)
              (data (i32.const 100) "hello")
              (func (export "work") (result i32)
                (i32.store (i32.const 40000) (i32.add (i32.load (i32.const 40000)) (i32.const 1)))
                (drop (memory.grow (i32.const 1)))
                (i32.store (i32.const 70000) (i32.add (i32.load (i32.const 70000)) (i32.const 1)))
                (i32.add (i32.load (i32.const 40000)) (i32.load (i32.const 70000)))))"""
        )
    )
    pool = LinuxSlotPoolBuilder().with_slot_count(1).with_maximum_pages(16).build()
    for _ in range(4):
        instance: Any = InstanceBuilder().with_module(module).with_allocator(pool).build()
        assert instance.call("work") == 2  # 1 + 1: nothing of the run before
        del instance
    assert pool.report.allocation_count == 0
    assert pool.report.peak_pages == 2
    assert pool.report.cleaned_bytes > 0
