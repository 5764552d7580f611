"""Page allocators: one suite for all backends, on the C calls; then what Python adds."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from page_backends import BACKENDS, MAXIMUM, Raw, memory, snapshot
from wrt_platform._native import ffi, lib
from wrt_platform.errors import (
    InvalidArgumentError,
    LimitError,
    StateError,
    UnsupportedError,
    WrtError,
)
from wrt_platform.page_allocator import PAGE_SIZE, PageAllocator, Protection, VerificationLevel

OFF, SAMPLING = VerificationLevel.OFF, VerificationLevel.SAMPLING
STANDARD, FULL = VerificationLevel.STANDARD, VerificationLevel.FULL
EVERY_LEVEL = [VerificationLevel.DEFAULT, OFF, SAMPLING, STANDARD, FULL]


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=EVERY_LEVEL, ids=lambda level: level.name)
def any_level(request: pytest.FixtureRequest, backend: str) -> Raw:
    return Raw(BACKENDS[backend](request.param, 1))


@pytest.fixture
def raw(backend: str) -> Raw:
    return Raw(BACKENDS[backend](STANDARD, 0))


@pytest.fixture
def allocator(backend: str) -> PageAllocator:
    return BACKENDS[backend](STANDARD, 0)


# Row PA-1: the interface.


@pytest.mark.row("PA-1")
def test_pages_are_64_kib_and_zero_after_another_owner_as_well(any_level: Raw) -> None:
    for _ in range(2):
        pages = any_level.allocate(2, 4)
        assert (pages.page_count, pages.maximum_pages) == (2, 4)
        assert bytes(memory(pages)) == bytes(2 * 65536)
        assert any_level.grow(pages, 2) == lib.WRT_OK
        assert bytes(memory(pages)) == bytes(4 * 65536)
        memory(pages)[:] = b"\xff" * (4 * 65536)
        assert any_level.deallocate(pages) == lib.WRT_OK


@pytest.mark.row("PA-1")
def test_growth_keeps_data_and_base(any_level: Raw) -> None:
    pages = any_level.allocate(1, MAXIMUM)
    base = pages.base
    for count in range(1, MAXIMUM):
        memory(pages)[-65536:] = bytes([count]) * 65536
        assert any_level.grow(pages, 1) == lib.WRT_OK
        assert (pages.base, pages.page_count) == (base, count + 1)
    expected = b"".join(bytes([count]) * 65536 for count in range(1, MAXIMUM)) + bytes(65536)
    assert bytes(memory(pages)) == expected


@pytest.mark.row("PA-1")
def test_growth_beyond_the_reservation_is_refused_with_nothing_changed(any_level: Raw) -> None:
    pages = any_level.allocate(1, 3)
    memory(pages)[:] = b"x" * 65536
    before = snapshot(pages)
    for additional in (3, 4, 65536, 2**32 - 1):
        assert any_level.grow(pages, additional) == lib.WRT_ERR_LIMIT
        assert snapshot(pages) == before
    assert bytes(memory(pages)) == b"x" * 65536
    assert any_level.grow(pages, 2) == lib.WRT_OK
    assert any_level.grow(pages, 1) == lib.WRT_ERR_LIMIT


@pytest.mark.row("PA-1")
def test_growth_by_nothing_changes_nothing(any_level: Raw) -> None:
    pages = any_level.allocate(2, 2)
    before = snapshot(pages)
    assert any_level.grow(pages, 0) == lib.WRT_OK
    assert snapshot(pages) == before


@pytest.mark.row("PA-1")
@pytest.mark.parametrize(
    ("initial", "maximum", "status"),
    [
        (2, 1, lib.WRT_ERR_INVALID_ARGUMENT),
        (0, 65537, lib.WRT_ERR_INVALID_ARGUMENT),
        (2**32 - 1, 2**32 - 1, lib.WRT_ERR_INVALID_ARGUMENT),
        (1, MAXIMUM + 1, lib.WRT_ERR_LIMIT),
        (0, 65536, lib.WRT_ERR_LIMIT),
    ],
)
def test_allocation_beyond_the_rules_is_refused(
    any_level: Raw, initial: int, maximum: int, status: int
) -> None:
    pages = ffi.new("wrt_pages *", {"page_count": 7, "seal": 7})
    assert any_level.try_allocate(initial, maximum, pages) == status
    assert snapshot(pages) == bytes(ffi.sizeof("wrt_pages"))
    any_level.allocate(1, MAXIMUM)  # and nothing stays behind that would be in the way


@pytest.mark.row("PA-1")
@pytest.mark.parametrize("maximum", [0, 2])
def test_memory_may_begin_with_no_page(any_level: Raw, maximum: int) -> None:
    pages = any_level.allocate(0, maximum)
    assert pages.base != ffi.NULL
    assert any_level.grow(pages, maximum) == lib.WRT_OK
    assert bytes(memory(pages)) == bytes(maximum * 65536)
    assert any_level.deallocate(pages) == lib.WRT_OK


@pytest.mark.row("PA-1")
def test_deallocate_zeroes_the_handle_and_twice_is_harmless(any_level: Raw) -> None:
    pages = any_level.allocate(1, 1)
    assert any_level.deallocate(pages) == lib.WRT_OK
    assert snapshot(pages) == bytes(ffi.sizeof("wrt_pages"))
    assert any_level.deallocate(pages) == lib.WRT_OK


@pytest.mark.row("PA-1")
def test_handle_may_be_moved(any_level: Raw) -> None:
    pages = any_level.allocate(1, 3)
    moved = ffi.new("wrt_pages *", pages[0])
    ffi.memmove(pages, bytes(ffi.sizeof("wrt_pages")), ffi.sizeof("wrt_pages"))
    assert any_level.grow(moved, 1) == lib.WRT_OK
    assert any_level.deallocate(moved) == lib.WRT_OK


@pytest.mark.row("PA-1")
def test_protect_is_bounds_checked(raw: Raw) -> None:
    pages = raw.allocate(2, 4)
    end, most = 2 * 65536, 2**64 - 65536
    outside = [(0, end + 65536), (end, 65536), (end + 65536, 0), (65536, most), (most, 65536)]
    for offset, size in outside:
        status = raw.protect(pages, offset, size, Protection.READ)
        assert status == lib.WRT_ERR_INVALID_ARGUMENT
    for flags in (4, 7, 2**31):
        assert raw.protect(pages, 0, 65536, flags) == lib.WRT_ERR_INVALID_ARGUMENT
    memory(pages)[:] = b"x" * end  # no refused call has protected anything


@pytest.mark.row("PA-1")
def test_protect_works_to_the_last_byte_or_says_why_not(backend: str, raw: Raw) -> None:
    pages = raw.allocate(2, 4)
    status = raw.protect(pages, 65536, 65536, Protection.READ)
    if backend.startswith("static"):
        assert status == lib.WRT_ERR_UNSUPPORTED
        assert b"nothing enforces" in ffi.string(lib.wrt_error_last().reason)
        return
    assert status == lib.WRT_OK
    assert bytes(memory(pages)[65536:]) == bytes(65536)
    memory(pages)[:65536] = b"x" * 65536
    assert raw.protect(pages, 0, 2 * 65536, Protection.READ | Protection.WRITE) == lib.WRT_OK
    memory(pages)[65536:] = b"y" * 65536
    assert raw.grow(pages, 1) == lib.WRT_OK
    assert bytes(memory(pages)) == b"x" * 65536 + b"y" * 65536 + bytes(65536)


@pytest.mark.row("PA-1")
def test_null_is_refused(raw: Raw) -> None:
    pages = raw.allocate(1, 1)
    nobody = ffi.new("wrt_page_allocator *")
    for who in (ffi.NULL, nobody):
        broken = Raw(raw.allocator)
        broken.interface = who
        assert broken.try_allocate(1, 1, ffi.new("wrt_pages *")) == lib.WRT_ERR_INVALID_ARGUMENT
        assert broken.grow(pages, 0) == lib.WRT_ERR_INVALID_ARGUMENT
        assert broken.protect(pages, 0, 0, 0) == lib.WRT_ERR_INVALID_ARGUMENT
        assert broken.deallocate(pages) == lib.WRT_ERR_INVALID_ARGUMENT
    assert raw.try_allocate(1, 1, ffi.NULL) == lib.WRT_ERR_INVALID_ARGUMENT
    assert raw.grow(ffi.NULL, 0) == lib.WRT_ERR_INVALID_ARGUMENT
    assert raw.protect(ffi.NULL, 0, 0, 0) == lib.WRT_ERR_INVALID_ARGUMENT
    assert raw.deallocate(ffi.NULL) == lib.WRT_ERR_INVALID_ARGUMENT


# Row PA-2: what each level notices, and what it does not.


def flip(pages: Any, field: str) -> None:
    """Changes one bit of a field; again takes it back."""
    where = ffi.cast("uint8_t *", pages) + ffi.offsetof("wrt_pages", field)
    where[0] ^= 1


FIELDS = [name for name, _ in ffi.typeof("wrt_pages").fields]


@pytest.mark.row("PA-2")
@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("level", [STANDARD, FULL, VerificationLevel.DEFAULT])
def test_each_changed_field_is_noticed_by_each_call(
    backend: str, level: VerificationLevel, field: str
) -> None:
    raw = Raw(BACKENDS[backend](level, 0))
    pages = raw.allocate(2, 4)
    flip(pages, field)
    damaged = snapshot(pages)
    assert raw.grow(pages, 1) == lib.WRT_ERR_STATE
    assert raw.protect(pages, 0, 0, Protection.READ) == lib.WRT_ERR_STATE
    assert raw.deallocate(pages) == lib.WRT_ERR_STATE
    assert snapshot(pages) == damaged
    flip(pages, field)  # nothing was freed, so the repaired handle works
    memory(pages)[:] = b"x" * (2 * 65536)
    assert raw.deallocate(pages) == lib.WRT_OK


@pytest.mark.row("PA-2")
def test_off_does_not_look_at_the_seal(backend: str) -> None:
    raw = Raw(BACKENDS[backend](OFF, 0))
    pages = raw.allocate(1, 2)
    for _ in range(40):  # more than any interval of sampling
        flip(pages, "seal")
        assert raw.grow(pages, 0) == lib.WRT_OK
    flip(pages, "seal")
    assert raw.deallocate(pages) == lib.WRT_OK


@pytest.mark.row("PA-2")
@pytest.mark.parametrize("level", [STANDARD, FULL])
def test_pages_of_another_allocator_are_noticed(backend: str, level: VerificationLevel) -> None:
    ours, other = Raw(BACKENDS[backend](level, 0)), Raw(BACKENDS[backend](level, 0))
    ours.allocate(1, 2)
    foreign = other.allocate(1, 2)
    assert ours.grow(foreign, 1) == lib.WRT_ERR_STATE
    assert ours.deallocate(foreign) == lib.WRT_ERR_STATE
    memory(foreign)[:] = b"x" * 65536
    assert other.deallocate(foreign) == lib.WRT_OK


@pytest.mark.row("PA-2")
def test_copy_of_what_went_back_is_noticed(raw: Raw) -> None:
    pages = raw.allocate(1, 2)
    copy = ffi.new("wrt_pages *", pages[0])
    assert raw.deallocate(pages) == lib.WRT_OK
    assert raw.grow(copy, 1) == lib.WRT_ERR_STATE
    assert raw.deallocate(copy) == lib.WRT_ERR_STATE


@pytest.mark.row("PA-2")
@pytest.mark.parametrize("interval", [1, 2, 3, 7])
def test_sampling_looks_at_exactly_each_kth_call(backend: str, interval: int) -> None:
    raw = Raw(BACKENDS[backend](SAMPLING, interval))
    pages = raw.allocate(1, 2)
    flip(pages, "seal")
    for number in range(1, 4 * interval + 1):
        is_checked = number % interval == 0
        if is_checked and number % 2 == 0:  # calls of all kinds count
            status = raw.deallocate(pages)
        elif number % 3 == 0:
            status = raw.protect(pages, 0, 0, Protection.READ)
        else:
            status = raw.grow(pages, 0)
        assert (status == lib.WRT_ERR_STATE) == is_checked, number


@pytest.mark.row("PA-2")
def test_sampling_interval_is_16_unless_it_is_set(backend: str) -> None:
    raw = Raw(BACKENDS[backend](SAMPLING, 0))
    pages = raw.allocate(1, 2)
    flip(pages, "seal")
    noticed = [n for n in range(1, 49) if raw.grow(pages, 0) == lib.WRT_ERR_STATE]
    assert noticed == [16, 32, 48]


# Canaries are where nothing else stands: static memory, and Linux without guard pages.

CANARY_BACKENDS = ["static", "static-64KiB-aligned", "linux", "linux-populated", "linux-named"]
CANARY_BACKENDS += ["qnx", "qnx-lazy", "qnx-partition", "qnx-partition-address"]


def canary_bytes(backend: str, pages: Any) -> Iterator[Any]:
    """The first and the last byte of both canaries."""
    size = 32 if backend.startswith("static") else 4096
    end = pages.page_count if backend.startswith("static") else pages.maximum_pages
    behind = pages.base + end * PAGE_SIZE
    for start in (pages.base - size, behind):
        yield start
        yield start + (size - 1)


@pytest.mark.row("PA-2")
@pytest.mark.parametrize("backend", CANARY_BACKENDS)
@pytest.mark.parametrize("grown", [0, 1, 2])
def test_full_notices_a_write_beside_the_memory(backend: str, grown: int) -> None:
    raw = Raw(BACKENDS[backend](FULL, 0))
    pages = raw.allocate(1, 3)
    assert raw.grow(pages, grown) == lib.WRT_OK
    memory(pages)[:] = b"x" * len(memory(pages))  # up to the edges: no harm
    assert raw.grow(pages, 0) == lib.WRT_OK
    for byte in canary_bytes(backend, pages):
        byte[0] ^= 1
        assert raw.grow(pages, 0) == lib.WRT_ERR_STATE
        assert raw.deallocate(pages) == lib.WRT_ERR_STATE
        byte[0] ^= 1
    assert raw.deallocate(pages) == lib.WRT_OK


@pytest.mark.row("PA-2")
@pytest.mark.parametrize("backend", CANARY_BACKENDS)
def test_sampling_notices_it_on_its_turn(backend: str) -> None:
    raw = Raw(BACKENDS[backend](SAMPLING, 3))
    pages = raw.allocate(1, 1)
    next(canary_bytes(backend, pages))[0] ^= 1
    statuses = [raw.grow(pages, 0) for _ in range(6)]
    assert statuses == [lib.WRT_OK, lib.WRT_OK, lib.WRT_ERR_STATE] * 2


@pytest.mark.row("PA-2")
@pytest.mark.parametrize("level", [OFF, STANDARD])
@pytest.mark.parametrize("backend", ["static", "static-64KiB-aligned"])
def test_other_levels_lay_no_canary(backend: str, level: VerificationLevel) -> None:
    raw = Raw(BACKENDS[backend](level, 0))
    pages = raw.allocate(1, 3)
    for offset in range(32):  # where FULL has its canary, the reserved pages begin
        assert pages.base[PAGE_SIZE + offset] == 0
        pages.base[PAGE_SIZE + offset] = 0xFF
    assert raw.grow(pages, 1) == lib.WRT_OK
    assert bytes(memory(pages)) == bytes(2 * 65536)  # and growth clears what was written there
    assert raw.deallocate(pages) == lib.WRT_OK


# What Python adds: lifetimes, threads, numbers that C can't hold.


@pytest.mark.row("PA-1")
def test_python_sees_growth_and_old_views_stay(allocator: PageAllocator) -> None:
    pages = allocator.allocate(1, 3)
    first = pages.memory
    first[:5] = b"hello"
    pages.grow(2)
    assert (len(first), len(pages.memory)) == (PAGE_SIZE, 3 * PAGE_SIZE)
    pages.memory[:1] = b"J"
    assert bytes(first[:5]) == b"Jello"
    with pytest.raises(LimitError, match="1 more pages are asked for, 0 are left"):
        pages.grow(1)
    assert (pages.page_count, pages.maximum_pages) == (3, 3)


@pytest.mark.row("PA-1")
def test_maximum_is_the_allocators_own_if_it_is_left_out(allocator: PageAllocator) -> None:
    assert allocator.allocate(1).maximum_pages == MAXIMUM
    with pytest.raises(LimitError, match="maximum_pages is 9"):
        allocator.allocate(1, MAXIMUM + 1)


@pytest.mark.row("PA-1")
def test_release_waits_for_the_last_view(allocator: PageAllocator) -> None:
    pages = allocator.allocate(1, 2)
    part = pages.memory[10:20]
    with pytest.raises(BufferError, match="still in use"):
        pages.release()
    part[:] = b"0123456789"
    pages.grow(1)  # a refused release changes nothing
    with pytest.raises(StateError, match="still out"):
        allocator.close()
    del part
    pages.release()
    pages.release()
    assert (pages.page_count, pages.maximum_pages) == (0, 0)
    with pytest.raises(ValueError, match="released"):
        pages.memory[0]
    with pytest.raises(StateError):
        pages.grow(1)
    allocator.close()
    allocator.close()
    with pytest.raises(StateError, match="not initialised"):
        allocator.allocate(1)


@pytest.mark.row("PA-1")
def test_view_keeps_its_allocator_and_nothing_else_does(backend: str) -> None:
    allocator = BACKENDS[backend](STANDARD, 0)
    alive = weakref.ref(allocator)
    view = allocator.allocate(1, 2).memory[1:]
    del allocator
    gc.collect()
    assert alive() is not None
    view[:4] = b"safe"
    assert bytes(view[:5]) == b"safe\0"
    del view
    gc.collect()
    assert alive() is None


@pytest.mark.row("PA-1")
def test_forgotten_pages_go_back_even_while_another_thread_is_inside(
    allocator: PageAllocator,
) -> None:
    view: list[Any] = [allocator.allocate(1, 1).memory]
    with allocator._lock:
        thread = threading.Thread(target=view.clear)
        thread.start()
        thread.join(10)
        assert not thread.is_alive()  # a finaliser that waits here may wait for ever
    allocator.close()


@pytest.mark.row("PA-2")
def test_damage_that_release_finds_is_told() -> None:
    allocator = BACKENDS["static"](FULL, 0)
    pages = allocator.allocate(1, 1)
    pages._raw.base[PAGE_SIZE] ^= 1
    with pytest.raises(StateError, match="somebody wrote beside the pages"):
        pages.release()
    pages = allocator = None  # type: ignore[assignment]


@pytest.mark.row("PA-1")
@pytest.mark.parametrize(
    ("initial", "maximum", "kind"),
    [
        (-1, 1, InvalidArgumentError),
        (1, 2**32, InvalidArgumentError),
        (2, 1, InvalidArgumentError),
        (1, 65536, LimitError),
    ],
)
def test_python_refuses_in_the_same_words(
    allocator: PageAllocator, initial: int, maximum: int, kind: type[WrtError]
) -> None:
    with pytest.raises(kind, match="pages"):
        allocator.allocate(initial, maximum)
    with pytest.raises(InvalidArgumentError, match="additional_pages is -1"):
        allocator.allocate(1).grow(-1)


def test_protect_in_python(backend: str, allocator: PageAllocator) -> None:
    pages = allocator.allocate(1, 2)
    with pytest.raises(InvalidArgumentError, match="beyond the 65536 accessible bytes"):
        pages.protect(65536, 65536, Protection.READ)
    if backend.startswith("static"):
        with pytest.raises(UnsupportedError, match="nothing enforces"):
            pages.protect(0, 65536, Protection.READ)
        return
    pages.protect(0, 65536, Protection.READ)
    assert bytes(pages.memory) == bytes(65536)
    pages.protect(0, 65536, Protection.READ | Protection.WRITE)
    pages.memory[0] = 1


def test_threads_lose_nothing(allocator: PageAllocator, backend: str) -> None:
    failures: list[BaseException] = []

    def work(mark: int) -> None:
        try:
            for _ in range(50):
                with allocator.allocate(1, 2) as pages:
                    pages.memory[:8] = bytes([mark]) * 8
                    pages.grow(1)
                    assert bytes(pages.memory[:8]) == bytes([mark]) * 8
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(mark,)) for mark in (1, 2, 3)]
    if backend.startswith("static"):
        threads = threads[:1]  # one allocation at a time
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    allocator.close()
