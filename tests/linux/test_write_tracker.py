"""Which pages were written: the tests write, so they know; and snapshots that follow one another
must end in the same memory.
"""

from __future__ import annotations

import ctypes
import os
import random
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.environments import say_in
from support.guest import assemble
from wrt_platform import InstanceBuilder, Module
from wrt_platform._native import ffi, lib
from wrt_platform.errors import (
    BusyError,
    InvalidArgumentError,
    StateError,
    UnsupportedError,
    WrtError,
)
from wrt_platform.linux.lazy_memory import LazyMemoryBuilder
from wrt_platform.linux.memory import LinuxAllocatorBuilder, ThpMode
from wrt_platform.linux.slot_pool import SlotPoolBuilder
from wrt_platform.linux.write_tracker import (
    TrackingMethod,
    WriteTracker,
    WriteTrackerBuilder,
    WrittenPages,
)
from wrt_platform.page_allocator import PAGE_SIZE, PageAllocator, Pages

pytestmark = pytest.mark.row("UF-1")

PAGE = os.sysconf("SC_PAGE_SIZE")
IMAGE = random.Random(9).randbytes(3 * PAGE_SIZE + 100)
EXACT = [TrackingMethod.KERNEL, TrackingMethod.SOFT_DIRTY]
ALL = [*EXACT, TrackingMethod.COMPARE]


def tracker_of(
    pages: Any, method: TrackingMethod = TrackingMethod.DEFAULT, lazy: Any = None
) -> WriteTracker:
    """A tracker by this method; without it, the test is left out with the reason."""
    builder = WriteTrackerBuilder().with_pages(pages).with_lazy_memory(lazy).with_method(method)
    try:
        return builder.build()
    except UnsupportedError as error:
        pytest.skip(str(error))


def lazy_image() -> Any:
    with tempfile.NamedTemporaryFile(delete=False) as file:
        file.write(IMAGE)
    builder = LazyMemoryBuilder().with_maximum_pages(64).with_chunk_bytes(PAGE)
    lazy = builder.with_path(file.name).build()
    os.unlink(file.name)
    return lazy


MAKERS: dict[str, Callable[[], PageAllocator]] = {
    "linux": LinuxAllocatorBuilder().with_maximum_pages(64).build,
    "huge": LinuxAllocatorBuilder().with_maximum_pages(64).with_thp_mode(ThpMode.ALWAYS).build,
    "slots": SlotPoolBuilder().with_slot_count(2).with_maximum_pages(64).build,
    "image": SlotPoolBuilder().with_slot_count(2).with_maximum_pages(64).with_image(IMAGE).build,
    "lazy": lazy_image,
}


@pytest.fixture(params=MAKERS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def pages(kind: str) -> Iterator[Pages]:
    allocator = MAKERS[kind]()
    pages = allocator.allocate(48)
    if kind == "huge":
        pages.memory[:] = bytes(len(pages.memory))
    yield pages


def lazy_of(pages: Pages) -> Any:
    return pages._allocator if hasattr(pages._allocator, "load") else None


def written(pages: Pages, places: set[int]) -> tuple[int, ...]:
    return tuple(sorted({place // PAGE for place in places}))


@pytest.mark.parametrize("method", ALL, ids=lambda method: method.name)
def test_what_was_written_is_told_and_nothing_else(pages: Pages, method: TrackingMethod) -> None:
    """Reads of any page, first touches among them, do not count."""
    if lazy_of(pages) and method is not TrackingMethod.KERNEL:
        lazy_of(pages).load(0, len(IMAGE))
    tracker = tracker_of(pages, method, lazy_of(pages))
    assert tracker.report.method is method
    size = pages.page_count * PAGE_SIZE
    chosen = random.Random(method)
    assert tracker.take().pages == ()
    for count in (0, 1, 7, 60, 700):
        places = {chosen.randrange(size) for _ in range(count)}
        for place in places:
            pages.memory[chosen.randrange(size)]
            pages.memory[place] ^= 1 + chosen.randrange(255)
        assert tracker.read() == (PAGE, written(pages, places))
        more = {chosen.randrange(size) for _ in range(3)}
        for place in more - places:
            pages.memory[place] ^= 0x5A
        assert tracker.take() == (PAGE, written(pages, places | more))
        assert tracker.read().pages == tracker.take().pages == ()
    tracker.close()


@pytest.mark.parametrize("method", EXACT, ids=lambda method: method.name)
def test_a_write_of_what_is_there_is_a_write(method: TrackingMethod) -> None:
    pages = MAKERS["linux"]().allocate(2)
    tracker = tracker_of(pages, method)
    pages.memory[5] = 0
    pages.memory[PAGE * 9] = 0
    assert tracker.take().pages == (0, 9)
    pages.memory[PAGE * 9] = 0
    assert tracker.take().pages == (9,)


def test_a_comparison_does_not_see_that_and_says_so() -> None:
    pages = MAKERS["linux"]().allocate(2)
    tracker = tracker_of(pages, TrackingMethod.COMPARE)
    pages.memory[5] = 0
    assert tracker.take().pages == ()
    assert tracker.report.tracking.state.name == "PARTIAL"
    assert "what it had is not listed" in tracker.report.tracking.reason


@pytest.mark.parametrize("method", ALL, ids=lambda method: method.name)
def test_what_the_memory_grows_by_is_tracked(kind: str, method: TrackingMethod) -> None:
    pages = MAKERS[kind]().allocate(4)
    if lazy_of(pages):
        lazy_of(pages).load(0, len(IMAGE))
    tracker = tracker_of(pages, method, lazy_of(pages))
    first = 4 * PAGE_SIZE // PAGE
    for round_number in range(3):
        pages.grow(4)
        assert bytes(pages.memory[-4 * PAGE_SIZE :]) == bytes(4 * PAGE_SIZE)
        assert tracker.take().pages == ()
        start = first + round_number * 4 * PAGE_SIZE // PAGE
        pages.memory[start * PAGE + 1] = 1
        pages.memory[(start + 20) * PAGE] = 1
        pages.memory[3] ^= 1
        assert tracker.take().pages == (0, start, start + 20)
    tracker.mark()
    assert tracker.take().pages == ()
    pages.memory[first * PAGE] = 9
    assert tracker.report.page_count == 16 * PAGE_SIZE // PAGE
    assert tracker.take().pages == (first,)


@pytest.mark.parametrize("method", ALL, ids=lambda method: method.name)
def test_snapshots_of_what_was_written_make_up_the_memory(
    pages: Pages, method: TrackingMethod
) -> None:
    if lazy_of(pages):
        lazy_of(pages).load(0, len(IMAGE))
    copy = bytearray(pages.memory)
    tracker = tracker_of(pages, method, lazy_of(pages))
    chosen = random.Random(3)
    for _ in range(6):
        for _ in range(30):
            begin = chosen.randrange(len(copy) - 20_000)
            size = chosen.choice([1, 500, 15_000])
            pages.memory[begin : begin + size] = chosen.randbytes(size)
        saved = list(tracker.take().runs())
        for offset, size in saved:
            copy[offset : offset + size] = pages.memory[offset : offset + size]
        assert sum(size for _, size in saved) < len(copy)
        assert copy == pages.memory


def test_runs_are_pages_side_by_side() -> None:
    assert list(WrittenPages(10, (0, 1, 2, 5, 8, 9)).runs()) == [(0, 30), (50, 10), (80, 20)]
    assert list(WrittenPages(10, ()).runs()) == []


def test_no_write_is_lost_while_others_write() -> None:
    """Each page is written once, at any moment: some take() has to tell of it."""
    pages = MAKERS["linux"]().allocate(48)
    tracker = tracker_of(pages, TrackingMethod.KERNEL)
    count = 48 * PAGE_SIZE // PAGE
    memset = ctypes.CDLL(None).memset  # without the interpreter's lock
    memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
    base = int(ffi.cast("uintptr_t", pages._raw.base))
    order = list(range(count))
    random.Random(1).shuffle(order)

    def write(mine: list[int]) -> None:
        for page in mine:
            memset(base + page * PAGE + 7, 1, 1)

    told: list[int] = []
    threads = [threading.Thread(target=write, args=[order[part::2]]) for part in range(2)]
    for thread in threads:
        thread.start()
    takes = 1
    while any(thread.is_alive() for thread in threads):
        told += tracker.take().pages
        takes += 1
    told += tracker.take().pages
    assert sorted(set(told)) == list(range(count))
    # A take() between the fault and the write itself tells of the page, and the next one again.
    assert len(told) - count <= len(threads) * takes


def test_writes_of_the_kernel_count() -> None:
    pages = MAKERS["linux"]().allocate(4)
    tracker = tracker_of(pages, TrackingMethod.KERNEL)
    with open("/dev/zero", "rb", buffering=0) as zero:
        assert zero.readinto(pages.memory[3 * PAGE + 5 : 6 * PAGE - 5]) == 3 * PAGE - 10
    assert tracker.take().pages == (3, 4, 5)


def test_a_guest_memory_is_tracked() -> None:
    text = """(module (memory 2 8) (func (export "poke") (param i32)
      (i32.store8 (local.get 0) (i32.const 1)))
      (func (export "grow") (result i32) (memory.grow (i32.const 1))))"""
    instance: Any = InstanceBuilder().with_module(Module(assemble(text))).build()
    tracker = tracker_of(instance.memory)
    for place in (5, 70_000):
        instance.exports.poke(place)
    assert tracker.take().pages == (0, 70_000 // PAGE)
    instance.exports.grow()
    instance.exports.poke(2 * PAGE_SIZE)
    assert list(tracker.take().runs()) == [(2 * PAGE_SIZE, PAGE)]


def test_loading_lazily_is_no_writing() -> None:
    lazy = lazy_image()
    pages = lazy.allocate(4)
    pages.memory[5] = 1
    tracker = tracker_of(pages, TrackingMethod.KERNEL, lazy)
    assert pages.memory[2 * PAGE] == IMAGE[2 * PAGE]
    pages.memory[7 * PAGE + 3] ^= 1  # loaded for a write
    lazy.load(10 * PAGE, PAGE)
    assert tracker.take().pages == (7,)
    pages.memory[2 * PAGE] ^= 1
    pages.memory[10 * PAGE] ^= 1
    assert tracker.take().pages == (2, 10)
    assert lazy.report.loaded_bytes == 4 * PAGE
    expected = bytearray(IMAGE)
    expected[5] = 1
    for place in (7 * PAGE + 3, 2 * PAGE, 10 * PAGE):
        expected[place] ^= 1
    assert bytes(pages.memory[: len(IMAGE)]) == expected


# ---- Rules ----


def test_two_can_not_track_the_same_pages() -> None:
    for name in ("linux", "lazy"):
        pages = MAKERS[name]().allocate(4)
        tracker = tracker_of(pages, TrackingMethod.KERNEL, lazy_of(pages))
        with pytest.raises(BusyError, match="another tracks these pages"):
            tracker_of(pages, TrackingMethod.KERNEL, lazy_of(pages))
        pages.memory[5] ^= 1
        assert tracker.take().pages == (0,)
        tracker.close()
        again = tracker_of(pages, TrackingMethod.KERNEL, lazy_of(pages))
        pages.memory[PAGE] ^= 1
        assert again.take().pages == (1,)


def test_what_the_config_and_the_calls_refuse() -> None:
    pages = MAKERS["linux"]().allocate(4)
    with pytest.raises(InvalidArgumentError, match="pages is NULL"):
        WriteTrackerBuilder().build()
    with pytest.raises(InvalidArgumentError, match="method 9"):
        WriteTrackerBuilder().with_pages(pages).with_method(9).build()  # type: ignore[arg-type]
    tracker = tracker_of(pages)
    bitmap, count = ffi.new("uint32_t[1]"), ffi.new("uint32_t *")
    with pytest.raises(InvalidArgumentError, match="has 1 words, the memory needs 2"):
        raise_for(lib.wrt_linux_write_tracker_take(tracker._raw, bitmap, 1, count))
    moved = ffi.new("wrt_linux_write_tracker *", tracker._raw[0])
    assert lib.wrt_linux_write_tracker_mark(moved) == lib.WRT_ERR_STATE
    child = os.fork()
    if child == 0:
        try:
            tracker.take()
        except StateError as error:
            os._exit(3 if "forked" in str(error) else 4)
        os._exit(5)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
    pages.release()
    with pytest.raises(StateError):
        tracker.take()
    before = len(os.listdir("/proc/self/fd"))
    tracker.close()
    tracker.close()
    assert len(os.listdir("/proc/self/fd")) < before
    with pytest.raises(StateError, match="not initialised"):
        tracker.mark()


def raise_for(status: int) -> None:
    from wrt_platform.errors import check

    check(status)


ELSEWHERE = """
pages = LinuxAllocatorBuilder().with_maximum_pages(16).build().allocate(4)
tracker = WriteTrackerBuilder().with_pages(pages).build()
print(tracker.report.method.name)
pages.memory[5000] = 1
pages.memory[70000] = 1
pages.memory[90000]
print(tracker.take().pages == (1, 17), tracker.take().pages == ())
try: WriteTrackerBuilder().with_pages(pages).with_method(TrackingMethod.KERNEL).build()
except WrtError as error: print(type(error).__name__)
"""


@pytest.mark.parametrize("environment", ["here", "old kernel", "docker", "user"])
def test_it_is_known_everywhere_by_the_best_there_is(environment: str) -> None:
    if PAGE != 4096:
        pytest.skip("the script counts pages of 4 KiB")
    before = (
        "from wrt_platform.errors import WrtError\n"
        "from wrt_platform.linux.memory import LinuxAllocatorBuilder\n"
        "from wrt_platform.linux.write_tracker import *\n"
    )
    method, *rest = say_in(environment, ELSEWHERE, before=before)
    assert rest[:2] == ["True", "True"]
    if environment == "docker":
        assert method in ("SOFT_DIRTY", "COMPARE")
        assert rest[2] == "PermissionDeniedError"
    elif method == "KERNEL":
        assert rest[2] == "BusyError"
    else:
        assert rest[2] == "UnsupportedError"


@pytest.mark.vm
def test_an_older_kernel_has_soft_dirty_bits_or_compares() -> None:
    """Linux 6.1 of the virtual machine: before PAGEMAP_SCAN."""
    release = tuple(int(part) for part in os.uname().release.split(".")[:2])
    pages = MAKERS["linux"]().allocate(48)
    method = tracker_of(pages).report.method
    if release < (6, 7):
        assert method in (TrackingMethod.SOFT_DIRTY, TrackingMethod.COMPARE)
    for method in ALL:
        try:
            tracker = WriteTrackerBuilder().with_pages(pages).with_method(method).build()
        except WrtError as error:
            assert isinstance(error, UnsupportedError), error
            continue
        chosen = random.Random(method)
        for _ in range(4):
            places = {chosen.randrange(48 * PAGE_SIZE) for _ in range(50)}
            for place in places:
                pages.memory[chosen.randrange(48 * PAGE_SIZE)]
                pages.memory[place] ^= 1
            assert tracker.take() == (PAGE, written(pages, places)), method
        tracker.close()


@pytest.mark.vm
def test_an_older_kernel_loads_lazily_and_fails_as_well(tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(IMAGE)
    lazy = LazyMemoryBuilder().with_maximum_pages(64).with_path(path).with_require_lazy().build()
    pages = lazy.allocate(4)
    assert pages.memory[70_000] == IMAGE[70_000]
    assert lazy.report.loaded_bytes == PAGE_SIZE
    os.truncate(path, 3 * PAGE_SIZE)
    with pytest.raises(WrtError, match="truncated"):
        lazy.load(0, len(IMAGE))
    assert bytes(pages.memory[: 3 * PAGE_SIZE]) == IMAGE[: 3 * PAGE_SIZE]
