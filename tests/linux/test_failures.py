"""Each system call of the Linux allocator fails once, and nothing may be left behind.

The library is compiled here with its internals visible, for the order that lets the n-th call
fail; what became of the process's mappings is read from the kernel.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator
from typing import Any

import pytest
from process_memory import Mapping, mapping_at, mappings
from visible_library import compile_visible
from wrt_platform._native import ffi, lib

NAME = "failing"  # each mapping of the allocator is known by it
MAXIMUM = 4
VISIBLE = ("wrt__sys_*", "wrt_linux_allocator_*", "wrt_page_allocator_*", "wrt_error_last")


class Interface(ctypes.Structure):
    """wrt_page_allocator."""

    _fields_ = (("ops", ctypes.c_void_p), ("self", ctypes.c_void_p))


class Library:
    """The C calls by name; their structs are those of the Python module, at their addresses."""

    def __init__(self, path: str) -> None:
        self._loaded = ctypes.CDLL(path)
        self._loaded.wrt_linux_allocator_interface.restype = Interface
        self._loaded.wrt__sys_call_count.restype = ctypes.c_uint64

    def __call__(self, name: str, *arguments: Any) -> Any:
        return getattr(self._loaded, name)(*(self._argument(value) for value in arguments))

    def _argument(self, value: Any) -> Any:
        if isinstance(value, Interface):
            return ctypes.byref(value)
        if isinstance(value, ffi.CData):
            return ctypes.c_void_p(int(ffi.cast("uintptr_t", value)))
        return ctypes.c_uint32(value)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    return Library(str(compile_visible(tmp_path_factory.mktemp("failures"), VISIBLE)))


class Allocator:
    """An allocator with all that can fail, and the pages it may have out."""

    def __init__(self, library: Library, fields: dict[str, Any]) -> None:
        self.call = library
        name = ffi.new("char[]", NAME.encode())
        size = ffi.sizeof("wrt_linux_allocator_config")
        given = {"struct_size": size, "maximum_pages": MAXIMUM, "name": name, **fields}
        config = ffi.new("wrt_linux_allocator_config *", given)
        self.raw = ffi.new("wrt_linux_allocator *")
        assert library("wrt_linux_allocator_init", self.raw, config) == lib.WRT_OK
        self.interface = library("wrt_linux_allocator_interface", self.raw)
        self.pages = ffi.new("wrt_pages *")

    def allocate(self) -> int:
        name = "wrt_page_allocator_allocate"
        return int(self.call(name, self.interface, 1, MAXIMUM, self.pages))

    def grow(self) -> int:
        return int(self.call("wrt_page_allocator_grow", self.interface, self.pages, 2))

    def deallocate(self) -> int:
        return int(self.call("wrt_page_allocator_deallocate", self.interface, self.pages))

    def state(self) -> tuple[bytes, bytes]:
        """Everything that a failed call has to leave as it was, calls of sampling aside."""
        return bytes(ffi.buffer(self.raw)), bytes(ffi.buffer(self.pages))


CONFIGS: dict[str, dict[str, Any]] = {
    "guarded": {"guard_pages": True, "populate": True, "mlock": True},
    "canaries": {"verification_level": lib.WRT_VERIFICATION_FULL, "populate": True, "mlock": True},
}


@pytest.fixture(params=CONFIGS)
def allocator(request: pytest.FixtureRequest, library: Library) -> Iterator[Allocator]:
    made = Allocator(library, CONFIGS[request.param])
    if made.raw.name_source == lib.WRT_LINUX_NAME_NONE:
        pytest.skip("the mappings can't be told apart: this system names none")
    yield made
    library("wrt__sys_fail_at", 0, 0)
    assert made.deallocate() == lib.WRT_OK
    assert library("wrt_linux_allocator_deinit", made.raw) == lib.WRT_OK
    assert named() == []


def named() -> list[tuple[int, int, str]]:
    return [(area.start, area.end, area.access) for area in mappings() if NAME in area.name]


def file_blocks(area: Mapping) -> int | None:
    """Blocks of 512 bytes that the file behind a mapping has; None if there is no file, or the
    kernel does not let us look."""
    try:
        return os.stat(f"/proc/self/map_files/{area.start:x}-{area.end:x}").st_blocks
    except OSError:
        return None


def calls_of(library: Library, work: Any) -> int:
    before = library("wrt__sys_call_count")
    assert work() == lib.WRT_OK
    return int(library("wrt__sys_call_count") - before)


@pytest.mark.row("PA-1")
@pytest.mark.parametrize("code", [errno.ENOMEM, errno.EAGAIN, errno.EPERM])
def test_allocation_that_fails_anywhere_leaves_nothing(
    library: Library, allocator: Allocator, code: int
) -> None:
    count = calls_of(library, allocator.allocate)
    assert count >= 4  # map, access, populate, lock
    assert allocator.deallocate() == lib.WRT_OK
    assert named() == []
    # The handle that the caller sees is all zero again; peak_pages has been 1 before.
    before = allocator.state()
    failures = 0
    for call in range(1, count + 1):
        library("wrt__sys_fail_at", call, code)
        status = allocator.allocate()
        if status == lib.WRT_OK:  # the name: never worth a failure
            assert allocator.deallocate() == lib.WRT_OK
        else:
            expected = [lib.WRT_ERR_NO_MEMORY]
            if code == errno.EPERM:
                expected = [lib.WRT_ERR_SYSTEM, lib.WRT_ERR_PERMISSION]
            assert status in expected, call
            failures += 1
        assert allocator.state() == before
        assert named() == []
    assert failures >= count - 1


@pytest.mark.row("PA-1")
def test_growth_that_fails_anywhere_takes_back_access_and_memory(
    library: Library, allocator: Allocator
) -> None:
    assert allocator.allocate() == lib.WRT_OK
    base = int(ffi.cast("uintptr_t", allocator.pages.base))
    ffi.buffer(allocator.pages.base, 65536)[:] = b"x" * 65536
    before, areas = allocator.state(), named()
    blocks = file_blocks(mapping_at(base))
    for call in (1, 2, 3):  # access, populate, lock
        library("wrt__sys_fail_at", call, errno.ENOMEM)
        assert allocator.grow() == lib.WRT_ERR_NO_MEMORY
        assert allocator.state() == before
        assert named() == areas
        behind = mapping_at(base + 65536)
        assert behind.access.startswith("---")
        assert behind.kib["Rss"] == behind.kib["Locked"] == 0
        assert "lo" not in behind.flags
        assert file_blocks(behind) == blocks
    library("wrt__sys_fail_at", 4, errno.ENOMEM)
    assert allocator.grow() == lib.WRT_OK
    expected = b"x" * 65536 + bytes(2 * 65536)
    assert bytes(ffi.buffer(allocator.pages.base, 3 * 65536)) == expected


@pytest.mark.row("PA-1")
def test_deallocation_that_fails_keeps_the_pages(library: Library, allocator: Allocator) -> None:
    assert allocator.allocate() == lib.WRT_OK
    before, areas = allocator.state(), named()
    library("wrt__sys_fail_at", 1, errno.EINVAL)
    assert allocator.deallocate() == lib.WRT_ERR_SYSTEM
    assert (allocator.state(), named()) == (before, areas)


@pytest.mark.row("LM-1")
def test_old_kernel_without_populating_advice_is_reported_and_still_populates(
    library: Library,
) -> None:
    library("wrt__sys_fail_at", 1, errno.EINVAL)
    allocator = Allocator(library, {"populate": True})
    report = ffi.new("wrt_linux_allocator_report *")
    assert library("wrt_linux_allocator_query", allocator.raw, report) == lib.WRT_OK
    assert report.populate.state == lib.WRT_ENFORCEMENT_PARTIAL
    assert b"before Linux 5.14" in ffi.string(report.populate.reason)
    assert allocator.allocate() == lib.WRT_OK
    assert mapping_at(int(ffi.cast("uintptr_t", allocator.pages.base))).kib["Rss"] == 64
    assert allocator.deallocate() == lib.WRT_OK


@pytest.mark.row("LM-1")
def test_name_falls_back_from_mapping_to_file_to_none(library: Library) -> None:
    """At init: the advice, the name of a mapping, a file in memory."""
    sources = []
    for call in (2, 3):
        library("wrt__sys_fail_at", call, errno.EINVAL)
        allocator = Allocator(library, {})
        library("wrt__sys_fail_at", 0, 0)
        sources.append(allocator.raw.name_source)
        assert allocator.allocate() == lib.WRT_OK
        assert allocator.deallocate() == lib.WRT_OK
    assert sources[0] == lib.WRT_LINUX_NAME_MEMFD
    names_mappings = sources[1] == lib.WRT_LINUX_NAME_ANON
    assert names_mappings or sources[1] == lib.WRT_LINUX_NAME_NONE
