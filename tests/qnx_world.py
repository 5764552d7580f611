"""The simulated QNX as tests of its backend see it: a new world for each, and a census at its end.

The calls are those of wrt_platform/sim/qnx.h, without a face in between.
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wrt_platform._native import ffi, lib
from wrt_platform.qnx.partition import settle

MIB = 1 << 20
KIB = 1 << 10
PAGE = 65536  # bytes of a page of WebAssembly
EIO, EAGAIN, ENOMEM, EBUSY = 5, 11, 12, 16  # the same number on QNX as here

NO_ACCESS = 2  # si_code SEGV_ACCERR: mapped, and forbidden
UNTOUCHED = (0, 0, 0)


def last_error() -> str:
    text = ffi.new("char[]", 600)
    lib.wrt_error_format(lib.wrt_error_last(), text, len(text))
    return str(ffi.string(text).decode())


def must(status: int) -> None:
    assert status == lib.WRT_OK, last_error()


@contextmanager
def new_world(
    version: int = lib.WRT_SIM_QNX_7_1,
    module: bool = False,
    lifo: bool = False,
    collect: bool = True,
) -> Iterator[None]:
    """A process that has just started; in the end it must hold nothing that it did not hold.
    Objects in cycles are found only if they are collected, which takes its time."""
    if collect:
        gc.collect()
    settle()
    must(lib.wrt_sim_qnx_set_environment(b"MALLOC_FREE_LIFO", b"1" if lifo else ffi.NULL))
    must(lib.wrt_sim_qnx_reset())
    must(lib.wrt_sim_qnx_set_version(version))
    must(lib.wrt_sim_qnx_install_memory_partitions(module))
    before = holdings()
    yield
    if collect:
        gc.collect()
    settle()
    assert holdings() == before


def holdings() -> dict[str, int]:
    """What the process holds of the kernel's: by the census, and by its maps. The heap's own arenas
    are the process's for good, so only its blocks count."""
    found = census()
    view = ffi.new("wrt_sim_qnx_mapping_view *")
    for index in range(1 << 20):
        if lib.wrt_sim_qnx_mapping_query(index, view) != lib.WRT_OK:
            break
        if view.flags & lib.WRT_SIM_QNX_HEAP == 0:
            found["mapped"] = found.get("mapped", 0) + view.size
    found["partitions"] = len(partitions())
    return {kind: count for kind, count in found.items() if count and kind != "mapping"}


def census() -> dict[str, int]:
    view = ffi.new("wrt_sim_qnx_census_view *")
    found: dict[str, int] = {}
    while lib.wrt_sim_qnx_census_query(len(found), view) == lib.WRT_OK:
        found[ffi.string(view.kind).decode()] = view.count
    return found


def partitions() -> list[Any]:
    """The kernel's own partitions, that of the class first."""
    found: list[Any] = []
    while True:
        view = ffi.new("wrt_sim_qnx_partition_view *")
        if lib.wrt_sim_qnx_partition_query(len(found), view) != lib.WRT_OK:
            return found
        found.append(view)


def call_count() -> int:
    calls = ffi.new("uint64_t *")
    must(lib.wrt_sim_qnx_calls(calls, ffi.NULL))
    return int(calls[0])


def failure_count() -> int:
    failures = ffi.new("uint64_t *")
    must(lib.wrt_sim_qnx_calls(ffi.NULL, failures))
    return int(failures[0])


def fail_at(use: int, code: int) -> None:
    """Lets the `use`-th call of the kernel from now on fail."""
    must(lib.wrt_sim_qnx_fail_at(ffi.NULL, use, code))


def calls_of(work: Callable[[], Any]) -> int:
    before = call_count()
    work()
    return call_count() - before


def access_at(address: int) -> int | None:
    """What may be done there, of wrt_sim_qnx_access; None: nothing is mapped."""
    view = ffi.new("wrt_sim_qnx_mapping_view *")
    for index in range(1 << 20):
        if lib.wrt_sim_qnx_mapping_query(index, view) != lib.WRT_OK:
            return None
        start = int(ffi.cast("uintptr_t", view.address))
        if start <= address < start + view.size:
            return int(view.access)
    return None


class Outcome(ctypes.Structure):
    """What became of an access."""

    _fields_ = (("signal", ctypes.c_int32), ("code", ctypes.c_int32), ("address", ctypes.c_size_t))


class Toucher:
    """Touches bytes of this process; made from tests/support/touch_here.c."""

    def __init__(self, library: Path) -> None:
        self._touch = ctypes.CDLL(str(library)).touch_here
        self._touch.argtypes = [ctypes.c_size_t, ctypes.c_int, ctypes.POINTER(Outcome)]

    def __call__(self, address: int, write: bool) -> tuple[int, int, int]:
        """Signal, its code, and the address as the machine reports it; zeros if all was well."""
        outcome = Outcome()
        assert self._touch(address, write, ctypes.byref(outcome)) == 0
        return outcome.signal, outcome.code, outcome.address


def base_of(pages: Any) -> int:
    """The address of the first byte."""
    return int(ffi.cast("uintptr_t", pages._raw.base))
