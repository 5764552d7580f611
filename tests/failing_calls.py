"""The library with its internals visible, for the order that lets the n-th system call fail.

Its structs are those of the Python module, at their addresses; nothing else is shared with it.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from visible_library import link_visible, visible_objects
from wrt_platform._native import ffi, lib

VISIBLE = ("wrt__sys_fail_at", "wrt__sys_call_count", "wrt_error_last")
MOST_CALLS = 500


class Failure(ctypes.Structure):
    """wrt_error."""

    _fields_ = (
        ("status", ctypes.c_int32),
        ("os_code", ctypes.c_int32),
        ("operation", ctypes.c_char_p),
        ("reason", ctypes.c_char_p),
        ("detail", ctypes.c_uint64 * 2),
    )


class Library:
    """The C calls by name, with cffi's pointers and whole numbers."""

    def __init__(self, path: Path) -> None:
        self._loaded = ctypes.CDLL(str(path))
        self._loaded.wrt_error_last.restype = ctypes.POINTER(Failure)

    def __call__(self, name: str, *arguments: Any) -> int:
        return int(getattr(self._loaded, name)(*map(_argument, arguments)))

    def fail_at(self, call: int, code: int) -> None:
        self._loaded.wrt__sys_fail_at(ctypes.c_uint32(call), ctypes.c_int32(code))

    def last_failure(self) -> Failure:
        failure: Failure = self._loaded.wrt_error_last().contents
        return failure


def _argument(value: Any) -> Any:
    if isinstance(value, ffi.CData):
        return ctypes.c_void_p(int(ffi.cast("uintptr_t", value)))
    return ctypes.c_uint64(value)


def build(folder: Path, *names: str, parts: Sequence[Path] = ()) -> Library:
    """Compiles what of core and the Linux backend the calls of these names ("wrt_linux_cgroup_*")
    need, or of the `parts` alone."""
    return Library(link_visible(folder, (*VISIBLE, *names), parts or visible_objects()))


def descriptors() -> list[str]:
    """What this process has open, by number and name; the listing's own is gone by then."""
    folder = Path("/proc/self/fd")
    return sorted(f"{name} {os.readlink(folder / name)}" for name in _names(folder))


def _names(folder: Path) -> Iterator[str]:
    for name in os.listdir(folder):
        if (folder / name).is_symlink():
            yield name


def walk(library: Library, code: int, work: Callable[[], int]) -> list[Failure]:
    """Lets the first call of `work` fail, then the second, and so on until none is left to fail.
    Returns the failures; after each, nothing that `work` opened may still be open."""
    failures = []
    for call in range(1, MOST_CALLS):
        before = descriptors()
        made = count_of(library)
        library.fail_at(call, code)
        status = work()
        library.fail_at(0, 0)
        if status != lib.WRT_OK:
            failure = Failure()
            ctypes.pointer(failure)[0] = library.last_failure()
            failures.append(failure)
            assert failure.status == status
            assert descriptors() == before, f"call {call} left a descriptor"
        elif count_of(library) - made < call:
            return failures
    raise AssertionError(f"there is no end after {MOST_CALLS} calls")


def count_of(library: Library) -> int:
    library._loaded.wrt__sys_call_count.restype = ctypes.c_uint64
    return int(library._loaded.wrt__sys_call_count())
