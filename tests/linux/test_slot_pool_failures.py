"""Each system call of a pool of slots fails once, and of placing too: nothing stays behind, no slot
goes on with what its tenant has left, and the error names the call.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator
from typing import Any

import pytest
from process_memory import SANITIZERS_HEAP, mappings
from visible_library import compile_visible
from wrt_platform._native import ffi, lib

VISIBLE = (
    "wrt__sys_*",
    "wrt_linux_allocator_*",
    "wrt_linux_slot_pool_*",
    "wrt_page_allocator_*",
    "wrt_error_*",
)
IMAGE = b"image" * 1000
KEEP = 4096


class Interface(ctypes.Structure):
    """wrt_page_allocator."""

    _fields_ = (("ops", ctypes.c_void_p), ("self", ctypes.c_void_p))


class Library:
    """The C calls by name; their structs are those of the Python module, at their addresses."""

    def __init__(self, path: str) -> None:
        self._loaded = ctypes.CDLL(path)
        for name in ("wrt_linux_allocator_interface", "wrt_linux_slot_pool_interface"):
            getattr(self._loaded, name).restype = Interface
        self._loaded.wrt__sys_call_count.restype = ctypes.c_uint64
        self._loaded.wrt_error_last.restype = ctypes.c_void_p

    def __call__(self, name: str, *arguments: Any) -> Any:
        return getattr(self._loaded, name)(*(self._argument(value) for value in arguments))

    def _argument(self, value: Any) -> Any:
        if isinstance(value, Interface):
            return ctypes.byref(value)
        if isinstance(value, ffi.CData):
            return ctypes.c_void_p(int(ffi.cast("uintptr_t", value)))
        return ctypes.c_uint32(value)

    def reason(self) -> str:
        error = ffi.cast("wrt_error *", self("wrt_error_last"))
        return str(ffi.string(error.reason).decode())

    def calls_of(self, work: Any) -> int:
        before = self("wrt__sys_call_count")
        assert work() == lib.WRT_OK
        return int(self("wrt__sys_call_count") - before)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    made = Library(str(compile_visible(tmp_path_factory.mktemp("slots"), VISIBLE)))
    yield made
    made("wrt__sys_fail_at", 0, 0)


def new(name: str, **fields: Any) -> Any:
    return ffi.new(f"{name} *", {"struct_size": ffi.sizeof(name), **fields})


class Slots:
    """A pool of one slot with an image, and the pages that may be out."""

    def __init__(self, library: Library) -> None:
        self.call = library
        self.image = ffi.new("uint8_t[]", IMAGE)
        self.config = new(
            "wrt_linux_slot_pool_config",
            slot_count=1,
            maximum_pages=4,
            keep_bytes=KEEP,
            image=self.image,
            image_size=len(IMAGE),
        )
        self.raw = ffi.new("wrt_linux_slot_pool *")
        self.pages = ffi.new("wrt_pages *")

    def init(self) -> int:
        return int(self.call("wrt_linux_slot_pool_init", self.raw, self.config))

    def deinit(self) -> int:
        return int(self.call("wrt_linux_slot_pool_deinit", self.raw))

    def interface(self) -> Any:
        return self.call("wrt_linux_slot_pool_interface", self.raw)

    def allocate(self, pages: int = 2) -> int:
        name = "wrt_page_allocator_allocate"
        return int(self.call(name, self.interface(), pages, 4, self.pages))

    def grow(self) -> int:
        return int(self.call("wrt_page_allocator_grow", self.interface(), self.pages, 1))

    def release(self) -> int:
        return int(self.call("wrt_page_allocator_deallocate", self.interface(), self.pages))

    def bytes(self) -> bytes:
        return bytes(ffi.buffer(self.pages.base, self.pages.page_count * 65536))

    def dirty(self) -> None:
        size = self.pages.page_count * 65536
        ffi.memmove(self.pages.base, b"\xee" * size, size)


def open_count() -> int:
    return len(os.listdir("/proc/self/fd"))


def reserved() -> list[tuple[int, int]]:
    """Those that are larger than what lies before the stack of a thread, which may just end."""
    areas = [area for area in mappings() if area.start not in SANITIZERS_HEAP]
    areas = [area for area in areas if area.end - area.start > 65536]
    return [(area.start, area.end) for area in areas if area.access == "---p"]


def fresh(pages: int) -> bytes:
    return IMAGE + bytes(pages * 65536 - len(IMAGE))


@pytest.mark.row("LM-6")
def test_init_that_fails_anywhere_leaves_nothing(library: Library) -> None:
    slots = Slots(library)
    count = library.calls_of(slots.init)
    assert slots.deinit() == lib.WRT_OK
    files, areas = open_count(), reserved()
    failed = []
    for call in range(1, count + 1):
        library("wrt__sys_fail_at", call, errno.EMFILE)
        status = slots.init()
        library("wrt__sys_fail_at", 0, 0)
        if status == lib.WRT_OK:  # what only tells how much there is, or how to clean
            assert slots.deinit() == lib.WRT_OK
        else:
            failed.append(library.reason().split()[0])
            assert bytes(ffi.buffer(slots.raw)) == bytes(ffi.sizeof("wrt_linux_slot_pool"))
        assert (open_count(), reserved()) == (files, areas), call
    for name in ("mprotect", "memfd_create", "pwrite", "fcntl(F_ADD_SEALS)", "mmap"):
        assert name in failed


@pytest.mark.row("LM-6")
def test_a_slot_that_cannot_be_opened_stays_in_the_pool(library: Library) -> None:
    slots = Slots(library)
    assert slots.init() == lib.WRT_OK
    for call in (1, 2):  # the image, access
        library("wrt__sys_fail_at", call, errno.ENOMEM)
        assert slots.allocate() == lib.WRT_ERR_NO_MEMORY
        assert bytes(ffi.buffer(slots.pages)) == bytes(ffi.sizeof("wrt_pages"))
    library("wrt__sys_fail_at", 0, 0)
    assert slots.allocate() == lib.WRT_OK
    assert slots.bytes() == fresh(2)
    library("wrt__sys_fail_at", 1, errno.ENOMEM)
    assert slots.grow() == lib.WRT_ERR_NO_MEMORY
    assert slots.pages.page_count == 2
    assert slots.release() == lib.WRT_OK
    library("wrt__sys_fail_at", 1, errno.ENOMEM)
    assert slots.allocate(1) == lib.WRT_ERR_NO_MEMORY  # what is too much could not be closed
    assert slots.allocate(1) == lib.WRT_OK
    assert slots.release() == lib.WRT_OK
    assert slots.deinit() == lib.WRT_OK


@pytest.mark.row("LM-6")
@pytest.mark.parametrize("code", [errno.ENOMEM, errno.EINVAL, errno.EPERM])
def test_whatever_fails_while_cleaning_the_next_tenant_sees_nothing(
    library: Library, code: int
) -> None:
    slots = Slots(library)
    assert slots.init() == lib.WRT_OK
    assert slots.allocate() == lib.WRT_OK
    call, out = 1, 0
    while True:
        slots.dirty()
        before = library("wrt__sys_call_count")
        library("wrt__sys_fail_at", call, code)
        status = slots.release()
        made = library("wrt__sys_call_count") - before
        library("wrt__sys_fail_at", 0, 0)
        if status != lib.WRT_OK:
            assert status in (lib.WRT_ERR_SYSTEM, lib.WRT_ERR_NO_MEMORY)
            assert "madvise" in library.reason()
            assert slots.pages.page_count == 2  # still out
            assert slots.release() == lib.WRT_OK
            out += 1
        assert slots.allocate() == lib.WRT_OK
        assert slots.bytes() == fresh(2), call
        if made < call:
            break
        call += 1
    assert call >= 2
    assert out == (0 if code == errno.EINVAL else 1)
    assert slots.release() == lib.WRT_OK
    assert slots.deinit() == lib.WRT_OK


@pytest.mark.row("LM-6")
def test_a_pool_that_cannot_be_unmapped_stays_whole(library: Library) -> None:
    slots = Slots(library)
    assert slots.init() == lib.WRT_OK
    library("wrt__sys_fail_at", 1, errno.ENOMEM)
    assert slots.deinit() == lib.WRT_ERR_SYSTEM
    assert slots.allocate() == lib.WRT_OK
    assert slots.deinit() == lib.WRT_ERR_STATE
    assert slots.release() == lib.WRT_OK
    assert slots.deinit() == lib.WRT_OK
    assert slots.deinit() == lib.WRT_OK


@pytest.mark.row("LM-5")
def test_placing_that_fails_anywhere_leaves_nothing_or_takes_smaller_pages(
    library: Library,
) -> None:
    config = new(
        "wrt_linux_allocator_config",
        maximum_pages=64,
        huge_pages=True,
        guard_pages=True,
        numa_policy=lib.WRT_LINUX_NUMA_INTERLEAVE,
    )
    raw, pages = ffi.new("wrt_linux_allocator *"), ffi.new("wrt_pages *")
    assert library("wrt_linux_allocator_init", raw, config) == lib.WRT_OK
    interface = library("wrt_linux_allocator_interface", raw)

    def allocate() -> int:
        return int(library("wrt_page_allocator_allocate", interface, 32, 64, pages))

    count = library.calls_of(allocate)
    assert library("wrt_page_allocator_deallocate", interface, pages) == lib.WRT_OK
    areas, failures = reserved(), 0
    for call in range(1, count + 1):
        before = bytes(ffi.buffer(raw))
        library("wrt__sys_fail_at", call, errno.ENOMEM)
        status = allocate()
        library("wrt__sys_fail_at", 0, 0)
        if status == lib.WRT_OK:
            assert raw.page_kind >= lib.WRT_LINUX_PAGE_KIND_SYSTEM
            assert library("wrt_page_allocator_deallocate", interface, pages) == lib.WRT_OK
        else:
            failures += 1
            assert status == lib.WRT_ERR_NO_MEMORY
            assert bytes(ffi.buffer(raw)) == before
        assert reserved() == areas
    assert library("wrt_linux_allocator_deinit", raw) == lib.WRT_OK
    assert count > failures
