"""Each system call of lazily loaded memory and of trackers fails once: nothing stays behind, no
half-made object, and the error names the call.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from failing_calls import Library, build, walk
from process_memory import SANITIZERS_HEAP, mappings
from wrt_platform._native import ffi, lib

pytestmark = pytest.mark.row("UF-1")

IMAGE = bytes(range(256)) * 300
NAMES = (
    "wrt_linux_lazy_memory_*",
    "wrt_linux_write_tracker_*",
    "wrt_linux_allocator_*",
    "wrt_page_allocator_*",
)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    return build(tmp_path_factory.mktemp("lazy"), *NAMES)


class Lazy:
    """A memory of a file, its pages and a tracker, by the library whose calls fail."""

    def __init__(self, library: Library, path: Path) -> None:
        self.call = library
        self.path = ffi.new("char[]", os.fsencode(path))
        self.config = new("wrt_linux_lazy_memory_config", path=self.path, maximum_pages=4)
        self.raw = ffi.new("wrt_linux_lazy_memory *")
        self.pages = ffi.new("wrt_pages *")
        self.interface = ffi.new("wrt_page_allocator *")
        self.tracker = ffi.new("wrt_linux_write_tracker *")

    def init(self) -> int:
        status = self.call("wrt_linux_lazy_memory_init", self.raw, self.config)
        if status == lib.WRT_OK:
            # As the interface call fills it in; a struct does not come back through ctypes.
            ops = ops_of(self.call)
            self.interface.ops = ffi.cast("wrt_page_allocator_ops *", ops)
            self.interface.self = self.raw
        return status

    def allocate(self) -> int:
        return self.call("wrt_page_allocator_allocate", self.interface, 3, 4, self.pages)

    def release(self) -> int:
        return self.call("wrt_page_allocator_deallocate", self.interface, self.pages)

    def deinit(self) -> int:
        return self.call("wrt_linux_lazy_memory_deinit", self.raw)

    def track(self, method: int) -> int:
        config = new(
            "wrt_linux_write_tracker_config",
            pages=self.pages,
            lazy_memory=self.raw,
            method=method,
        )
        return self.call("wrt_linux_write_tracker_init", self.tracker, config)


def ops_of(library: Library) -> int:
    import ctypes

    class Interface(ctypes.Structure):
        _fields_ = (("ops", ctypes.c_void_p), ("self", ctypes.c_void_p))

    call = library._loaded.wrt_linux_lazy_memory_interface
    call.restype = Interface
    return int(call(ctypes.c_void_p(0)).ops)


def new(name: str, **fields: Any) -> Any:
    return ffi.new(f"{name} *", {"struct_size": ffi.sizeof(name), **fields})


@pytest.fixture
def lazy(library: Library, tmp_path: Path) -> Lazy:
    path = tmp_path / "image"
    path.write_bytes(IMAGE)
    return Lazy(library, path)


def threads() -> int:
    return len(os.listdir("/proc/self/task"))


def areas() -> set[tuple[int, int]]:
    ours = [area for area in mappings() if area.start not in SANITIZERS_HEAP]
    ours = [area for area in ours if area.end - area.start > 65536]  # no thread's guard page
    return {(area.start, area.end) for area in ours if area.access == "---p"}


def then(*steps: Callable[[], int]) -> Callable[[], int]:
    """The steps up to the first that fails, and its status."""

    def work() -> int:
        for step in steps:
            status = step()
            if status != lib.WRT_OK:
                return status
        return int(lib.WRT_OK)

    return work


def test_init_that_fails_leaves_nothing_and_finds_another_way(lazy: Lazy) -> None:
    before = threads()

    def work() -> int:
        status = lazy.init()
        if status != lib.WRT_OK:
            assert bytes(ffi.buffer(lazy.raw)) == bytes(ffi.sizeof("wrt_linux_lazy_memory"))
            return status
        lazy.call.fail_at(0, 0)
        return lazy.deinit()

    failures = walk(lazy.call, errno.EMFILE, work)
    assert threads() == before
    reasons = b" ".join(failure.reason for failure in failures)
    for call in (b"open", b"fstat", b"mmap", b"eventfd", b"pthread_create"):
        assert call in reasons
    lazy.config.require_lazy = True
    refused = walk(lazy.call, errno.ENOSYS, work)
    assert any(failure.status == lib.WRT_ERR_UNSUPPORTED for failure in refused)
    assert threads() == before


def test_allocate_that_fails_leaves_no_memory(lazy: Lazy) -> None:
    assert lazy.init() == lib.WRT_OK
    before = areas()

    def work() -> int:
        status = lazy.allocate()
        lazy.call.fail_at(0, 0)
        if status != lib.WRT_OK:
            assert bytes(ffi.buffer(lazy.pages)) == bytes(ffi.sizeof("wrt_pages"))
            assert areas() == before
            return status
        assert bytes(ffi.buffer(lazy.pages.base, len(IMAGE))) == IMAGE
        return lazy.release()

    failures = walk(lazy.call, errno.ENOMEM, work)
    reasons = b" ".join(failure.reason for failure in failures)
    for call in (b"addresses", b"MADV_DONTFORK", b"mprotect", b"UFFDIO_REGISTER"):
        assert call in reasons
    assert {failure.status for failure in failures} == {lib.WRT_ERR_NO_MEMORY}
    assert lazy.deinit() == lib.WRT_OK


def test_load_that_fails_says_which_call_and_the_chunk_is_lost(lazy: Lazy) -> None:
    assert lazy.init() == lib.WRT_OK
    for call, code, reason in [(1, errno.EIO, b"pread"), (2, errno.ENOMEM, b"UFFDIO_COPY")]:
        assert lazy.allocate() == lib.WRT_OK
        lazy.call.fail_at(call, code)
        status = lazy.call("wrt_linux_lazy_memory_load", lazy.raw, 0, 10)
        lazy.call.fail_at(0, 0)
        failure = lazy.call.last_failure()
        assert status == failure.status != lib.WRT_OK
        assert (failure.os_code, reason in failure.reason) == (code, True)
        assert lazy.call("wrt_linux_lazy_memory_load", lazy.raw, 0, 10) == lib.WRT_ERR_HOST
        assert lazy.call("wrt_linux_lazy_memory_load", lazy.raw, 65536, 10) == lib.WRT_OK
        assert bytes(ffi.buffer(lazy.pages.base + 65536, 9)) == IMAGE[65536 : 65536 + 9]
        assert lazy.release() == lib.WRT_OK
    assert lazy.deinit() == lib.WRT_OK


def test_release_and_end_that_fail_can_be_tried_again(lazy: Lazy) -> None:
    assert then(lazy.init, lazy.allocate)() == lib.WRT_OK
    lazy.call.fail_at(1, errno.ENOMEM)
    assert lazy.release() == lib.WRT_ERR_NO_MEMORY
    assert lazy.release() == lib.WRT_OK
    lazy.call.fail_at(1, errno.ETIMEDOUT)
    assert lazy.deinit() == lib.WRT_ERR_BUSY
    assert lazy.allocate() == lib.WRT_ERR_STATE  # its thread is leaving
    time.sleep(0.05)
    assert lazy.deinit() == lib.WRT_OK


@pytest.mark.parametrize("method", range(4))
def test_a_tracker_that_can_not_begin_leaves_nothing(lazy: Lazy, method: int) -> None:
    assert then(lazy.init, lazy.allocate)() == lib.WRT_OK
    assert lazy.call("wrt_linux_lazy_memory_load", lazy.raw, 0, len(IMAGE)) == lib.WRT_OK
    bitmap, count = ffi.new("uint32_t[2]"), ffi.new("uint32_t *")

    def work() -> int:
        status = lazy.track(method)
        if status != lib.WRT_OK:
            size = ffi.sizeof("wrt_linux_write_tracker")
            assert bytes(ffi.buffer(lazy.tracker)) == bytes(size)
            return status
        lazy.pages.base[4096] ^= 1
        for name in ("mark", "take"):
            arguments = [bitmap, 2, count] if name == "take" else []
            status = lazy.call(f"wrt_linux_write_tracker_{name}", lazy.tracker, *arguments)
            if status != lib.WRT_OK:
                break
        lazy.call.fail_at(0, 0)
        assert lazy.call("wrt_linux_write_tracker_deinit", lazy.tracker) == lib.WRT_OK
        return status

    if method == lib.WRT_LINUX_TRACKING_SOFT_DIRTY and work() == lib.WRT_ERR_UNSUPPORTED:
        pytest.skip("this kernel has no soft-dirty bits")
    if method != lib.WRT_LINUX_TRACKING_COMPARE:  # whose calls make no system call but one
        failures = walk(lazy.call, errno.EIO, work)
        assert failures or method == lib.WRT_LINUX_TRACKING_DEFAULT
    assert work() == lib.WRT_OK
    assert then(lazy.release, lazy.deinit)() == lib.WRT_OK
