"""Each system call of a sandbox's start fails once: nothing may be left, and the error says what.

The parent's side is compiled here with its internals visible, for the order that lets the n-th
call fail; descriptors, children and mappings are counted from outside.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator
from typing import Any

import pytest
from common import ROOT, run
from process_memory import mappings
from wrt_platform._native import ffi, lib
from wrt_platform.linux.sandbox import sandbox_program

pytestmark = pytest.mark.row("SC-5")

VISIBLE = ("wrt__sys_*", "wrt_sandbox_*", "wrt_error_last", "wrt_error_format")
CORE = ("config", "status")
LINUX = ("fork", "port", "sys", "sys_confined", "sys_threads")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("failures")
    program, path, exports = folder / "worker", folder / "libvisible.so", folder / "exports.map"
    program.write_bytes(sandbox_program())
    exports.write_text(f"{{ global: {' '.join(f'{name};' for name in VISIBLE)} local: *; }};")
    sources = [ROOT / f"c/src/core/{name}.c" for name in CORE]
    sources += [ROOT / f"c/src/linux/{name}.c" for name in LINUX]
    sources += [*sorted(ROOT.glob("c/src/sandbox/*.c")), ROOT / "c/src/engine/elsewhere.c"]
    names = folder / "names.c"
    names.write_text("""#include "wrt_platform/instance.h"
const char *wrt__wasi_name_of(const wrt_host_function *function);
const char *wrt__wasi_name_of(const wrt_host_function *function) { (void)function; return 0; }
const char *wrt_trap_text(uint32_t code) { return code == 0 ? "no trap" : "trap"; }
""")
    flags = ["-std=gnu11", "-O1", "-fPIC", "-shared", f'-DWRT_WORKER_FILE="{program}"']
    link = [f"-Wl,--version-script={exports}", "-pthread"]
    run("cc", *flags, f"-I{ROOT}/c/include", *sources, names, *link, "-o", path)
    loaded = ctypes.CDLL(str(path))
    loaded.wrt__sys_call_count.restype = ctypes.c_uint64
    return loaded


def pointer(value: Any) -> ctypes.c_void_p:
    return ctypes.c_void_p(int(ffi.cast("uintptr_t", value)))


def left() -> tuple[int, int, int]:
    """Descriptors, children, mappings of what is shared."""
    children = 0
    try:
        os.waitpid(-1, os.WNOHANG)
        children = 1
    except ChildProcessError:
        pass
    shared = sum("wrt-sandbox" in area.name for area in mappings())
    return len(os.listdir("/proc/self/fd")), children, shared


@pytest.fixture
def config() -> Iterator[Any]:
    made = ffi.new("wrt_sandbox_config *", {"struct_size": ffi.sizeof("wrt_sandbox_config")})
    made.maximum_pages = 4
    yield made


def start(library: Any, sandbox: Any, config: Any) -> int:
    return int(library.wrt_sandbox_init(pointer(sandbox), pointer(config)))


def sentence(library: Any) -> str:
    library.wrt_error_last.restype = ctypes.c_void_p
    text = ctypes.create_string_buffer(500)
    library.wrt_error_format(ctypes.c_void_p(library.wrt_error_last()), text, 500)
    return text.value.decode()


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENOMEM, errno.EPERM])
def test_start_that_fails_anywhere_leaves_nothing(library: Any, config: Any, code: int) -> None:
    sandbox = ffi.new("wrt_sandbox *")
    assert start(library, sandbox, config) == lib.WRT_OK  # the program stays open from now on
    assert library.wrt_sandbox_deinit(pointer(sandbox)) == lib.WRT_OK
    before = left()
    first = library.wrt__sys_call_count()
    assert start(library, sandbox, config) == lib.WRT_OK
    assert library.wrt_sandbox_deinit(pointer(sandbox)) == lib.WRT_OK
    count = library.wrt__sys_call_count() - first
    assert count >= 8  # state, file, size, seals, mapping, socket, pipe, child, waits
    for call in range(1, count + 1):
        library.wrt__sys_fail_at(call, code)
        status = start(library, sandbox, config)
        library.wrt__sys_fail_at(0, 0)
        assert status != lib.WRT_OK, call
        assert errno.errorcode[code] in sentence(library), sentence(library)
        assert sandbox.state == ffi.NULL
        assert left() == before, call


def test_program_that_cannot_be_made_leaves_nothing(library: Any, config: Any) -> None:
    """The first start of a process also makes the file in memory: here a closed one is remade."""
    sandbox = ffi.new("wrt_sandbox *")
    assert start(library, sandbox, config) == lib.WRT_OK
    assert library.wrt_sandbox_deinit(pointer(sandbox)) == lib.WRT_OK
    for call in range(8, 14):
        kept = [name for name in os.listdir("/proc/self/fd") if is_program(name)]
        before = left()
        for name in kept:
            os.close(int(name))
        library.wrt__sys_fail_at(call, errno.EMFILE)
        status = start(library, sandbox, config)
        library.wrt__sys_fail_at(0, 0)
        if status == lib.WRT_OK:
            assert library.wrt_sandbox_deinit(pointer(sandbox)) == lib.WRT_OK
        assert left()[1:] == before[1:]
        assert left()[0] <= before[0]
        assert start(library, sandbox, config) == lib.WRT_OK
        assert library.wrt_sandbox_deinit(pointer(sandbox)) == lib.WRT_OK


def is_program(name: str) -> bool:
    try:
        return "wrt-worker" in os.readlink(f"/proc/self/fd/{name}")
    except OSError:
        return False


def test_refused_namespaces_are_left_out_where_they_are_preferred(
    library: Any, config: Any
) -> None:
    """The system refuses a child with namespaces: one without them is started, and it is said."""
    sandbox, report = ffi.new("wrt_sandbox *"), ffi.new("wrt_sandbox_report *")
    first = library.wrt__sys_call_count()
    assert start(library, sandbox, config) == lib.WRT_OK
    assert library.wrt_sandbox_deinit(pointer(sandbox)) == lib.WRT_OK
    count = library.wrt__sys_call_count() - first
    told = set()
    config.user_namespace = lib.WRT_SANDBOX_WALL_PREFERRED
    for call in range(1, count + 1):
        library.wrt__sys_fail_at(call, errno.EPERM)
        status = start(library, sandbox, config)
        library.wrt__sys_fail_at(0, 0)
        if status != lib.WRT_OK:
            continue
        assert library.wrt_sandbox_query(pointer(sandbox), pointer(report)) == lib.WRT_OK
        told.add(
            (report.user_namespace.state, b"refuses" in ffi.string(report.user_namespace.reason))
        )
        assert library.wrt_sandbox_deinit(pointer(sandbox)) == lib.WRT_OK
    assert (lib.WRT_ENFORCEMENT_ABSENT, True) in told
