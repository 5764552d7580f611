"""The object: what its config may say, what it opens and closes, who may use it and when."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from common import ROOT
from wasi.console import ANSWER, CREATE, SUCCESS, OurConsole, console_module
from wrt_platform import (
    Instance,
    InvalidArgumentError,
    LimitError,
    Module,
    NotFoundError,
    OutOfMemoryError,
    PermissionDeniedError,
    StateError,
    UnsupportedError,
    WasiBuilder,
    WasiConfig,
)
from wrt_platform._native import ffi, lib
from wrt_platform.errors import check
from wrt_platform.wasi import Preopen

pytestmark = pytest.mark.row("WE-6")


def open_descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def test_documents_name() -> None:
    assert WasiConfig is WasiBuilder


def test_folders_are_named_when_they_cannot_be_opened(folder: Path) -> None:
    (folder / "file").touch()
    before = open_descriptors()
    good = WasiBuilder().with_preopen(folder, "/good")
    with pytest.raises(NotFoundError, match=r"preopen 1 \('/not/there'\) is not there.*ENOENT"):
        good.with_preopen("/not/there", "/bad").build()
    with pytest.raises(InvalidArgumentError, match=rf"preopen 0 \('{folder}/file'\) is not a fold"):
        WasiBuilder().with_preopen(folder / "file", "/bad").build()
    assert open_descriptors() == before  # the good one was closed again


def test_folder_that_may_not_be_read(folder: Path) -> None:
    body = (
        "import os, sys\n"
        "from wrt_platform import WasiBuilder, PermissionDeniedError\n"
        "os.setuid(65534)\n"
        "try: WasiBuilder().with_preopen(sys.argv[1], '/').build()\n"
        "except PermissionDeniedError as error: print(error)\n"
    )
    if os.getuid() != 0:
        pytest.skip("only root can become somebody else")
    os.chmod(folder, 0o700)
    for parent in list(folder.parents)[:-2]:
        os.chmod(parent, 0o755)
    done = subprocess.run(
        [sys.executable, "-c", body, str(folder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert "may not be opened for reading" in done.stdout, done.stderr
    assert issubclass(PermissionDeniedError, PermissionError)


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"environment": ["NAME"]}, InvalidArgumentError, "variable 0.*NAME=value"),
        ({"environment": ["A=1", "=x"]}, InvalidArgumentError, "variable 1"),
        ({"arguments": ["a\0b"]}, InvalidArgumentError, "NUL"),
        ({"preopens": [("a\0b", "/")]}, InvalidArgumentError, "NUL"),
        ({"preopens": [(".", "")]}, InvalidArgumentError, "guest path of preopen 0 is empty"),
        ({"maximum_descriptors": 65537}, InvalidArgumentError, "65537"),
        ({"maximum_descriptors": 2}, InvalidArgumentError, "no room for 3 and 0"),
        ({"maximum_descriptors": 3, "preopens": [(".", "/")]}, InvalidArgumentError, "no room"),
        ({"standard_output": 999}, InvalidArgumentError, "guest's 1 is not open.*EBADF"),
        ({"arguments": ["x" * (65 << 20)]}, LimitError, "67108864"),
    ],
)
def test_broken_rules_are_told(settings: dict[str, Any], error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        builder = WasiBuilder()
        for name, value in settings.items():
            getattr(builder, f"with_{name}")(value)
        builder.build()


def test_one_text_is_no_list_of_arguments() -> None:
    with pytest.raises(TypeError, match="list"):
        WasiBuilder().with_arguments("program")


def test_layout_is_exact(folder: Path) -> None:
    builder = WasiBuilder().with_arguments(["one", "two"]).with_preopen(folder, "/lent")
    builder.with_environment({"A": "b"}).with_maximum_descriptors(9)
    needed = builder.layout()
    assert needed.alignment == lib.WRT_WASI_BUFFER_ALIGNMENT == 8
    guard = bytes(range(64))
    buffer = bytearray(b"#" * needed.bytes + guard)
    with builder.with_buffer(buffer).build() as wasi:
        instance = Instance(Module(console_module()), imports=wasi)
        assert instance.call("fd_prestat_get", 3, ANSWER) == SUCCESS
        assert buffer[needed.bytes :] == guard
        del instance
    with pytest.raises(OutOfMemoryError, match=f"buffer has {needed.bytes - 1} bytes"):
        builder.with_buffer(bytearray(needed.bytes - 1)).build()
    with pytest.raises(TypeError, match="not a view"):
        builder.with_buffer(memoryview(buffer))  # type: ignore[arg-type]


def test_guest_opens_are_closed_and_lent_ones_are_not(folder: Path) -> None:
    read_end, write_end = os.pipe()
    before = open_descriptors()
    console = OurConsole(
        preopens=[(folder, "/")], standard_input=read_end, standard_output=write_end
    )
    for i in range(10):
        assert console.open(3, f"file{i}", CREATE) == 4 + i
    assert console.fd_close(1) == SUCCESS  # the guest's 1, not the host's
    assert console.fd_renumber(5, 0) == SUCCESS
    assert len(open_descriptors()) == len(before) + 11
    console.wasi.close()
    console.wasi.close()
    assert open_descriptors() == before
    os.write(write_end, b"still open")
    assert os.read(read_end, 100) == b"still open"
    with pytest.raises(StateError, match="not initialised"):
        console.sched_yield()
    os.close(read_end)
    os.close(write_end)


def test_forgotten_object_closes_what_it_opened(folder: Path) -> None:
    before = open_descriptors()
    console = OurConsole(preopens=[(folder, "/")])
    console.open(3, "file", CREATE)
    del console
    assert open_descriptors() == before


def test_descriptors_are_not_inherited_by_programs(folder: Path) -> None:
    console = OurConsole(preopens=[(folder, "/")])
    console.open(3, "file", CREATE)
    seen = subprocess.run(["ls", "-l", "/proc/self/fd"], stdout=subprocess.PIPE, close_fds=False)
    assert str(folder).encode() not in seen.stdout


def test_child_of_a_fork_is_refused_and_the_parent_goes_on(folder: Path) -> None:
    body = (
        "import os, sys\n"
        "from wasi.console import *\n"
        "from wrt_platform import StateError\n"
        "console = OurConsole(preopens=[(sys.argv[1], '/')])\n"
        "assert console.open(3, 'file', CREATE) == 4\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    try: console.put(4, b'child')\n"
        "    except StateError as error: print(error, flush=True)\n"
        "    console.wasi.close()\n"
        "    os._exit(0)\n"
        "os.waitpid(child, 0)\n"
        "print(console.put(4, b'parent'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", body, str(folder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "tests"), *sys.path])},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "fd_write: object belongs to the parent process\n6\n", done.stderr
    assert (folder / "file").read_bytes() == b"parent"


def test_second_thread_is_refused_not_let_in(folder: Path) -> None:
    """Two instances that know nothing of each other on one Wasi: one of them waits in a read."""
    read_end, write_end = os.pipe()
    first = OurConsole(standard_input=read_end)
    second = Instance(Module(console_module()), imports=first.wasi)
    waiting = threading.Thread(target=first.get, args=(0, 1))
    waiting.start()
    refusals = 0
    until = time.monotonic() + 0.5
    while time.monotonic() < until:
        try:
            second.call("sched_yield")
        except StateError as error:
            assert "another thread" in str(error)
            refusals += 1
    os.write(write_end, b"x")
    waiting.join()
    assert refusals > 0
    assert second.call("sched_yield") == SUCCESS
    os.close(read_end)
    os.close(write_end)


def test_exit_code_belongs_to_the_run(folder: Path) -> None:
    from wrt_platform import ExitError

    console = OurConsole()
    with pytest.raises(ExitError):
        console.proc_exit(5)
    assert console.wasi.exit_code == 5
    second = Instance(Module(console_module()), imports=console.wasi)
    assert console.wasi.exit_code is None
    assert second.call("sched_yield") == SUCCESS


def test_preopens_are_seen_in_their_order(folder: Path) -> None:
    other = folder / "other"
    other.mkdir()
    console = OurConsole(preopens=[Preopen(folder, "/a"), Preopen(other, "bb", read_only=True)])
    names = []
    for number in (3, 4):
        assert console.fd_prestat_get(number, ANSWER) == SUCCESS
        size = console.number(ANSWER + 4)
        assert console.fd_prestat_dir_name(number, ANSWER, size) == SUCCESS
        names.append(console.read(ANSWER, size))
    assert names == [b"/a", b"bb"]


def test_file_object_stays_open_as_long_as_it_is_lent(tmp_path: Path) -> None:
    file = open(tmp_path / "output", "wb", buffering=0)  # noqa: SIM115
    console = OurConsole(standard_output=file)
    del file
    assert console.put(1, b"kept") == 4
    assert (tmp_path / "output").read_bytes() == b"kept"


# Rules that no safe face can break: on the raw library.


@pytest.fixture
def raw() -> Any:
    """A config that init takes, and storage for it."""
    config = ffi.new("wrt_wasi_config *")
    config.struct_size = ffi.sizeof("wrt_wasi_config")
    layout = ffi.new("wrt_layout *")
    check(lib.wrt_wasi_layout(config, layout))
    buffer = ffi.new("uint64_t[]", layout.bytes // 8 + 1)
    config.buffer, config.buffer_size = ffi.cast("void *", buffer), ffi.sizeof(buffer)
    return config, ffi.new("wrt_wasi *"), buffer


def test_moved_object_is_refused(raw: Any) -> None:
    config, wasi, _buffer = raw
    check(lib.wrt_wasi_init(wasi, config))
    moved = ffi.new("wrt_wasi *", wasi[0])
    room, count, code = ffi.new("wrt_import **"), ffi.new("uint32_t *"), ffi.new("uint32_t *")
    imports = ffi.cast("wrt_import const **", room)
    with pytest.raises(StateError, match="moved"):
        check(lib.wrt_wasi_imports(moved, imports, count))
    with pytest.raises(StateError, match="moved"):
        check(lib.wrt_wasi_exit_code(moved, code))
    with pytest.raises(StateError, match="moved"):
        check(lib.wrt_wasi_deinit(moved))
    check(lib.wrt_wasi_deinit(wasi))


def test_closing_while_a_call_is_under_way_is_refused(raw: Any) -> None:
    config, wasi, _buffer = raw
    check(lib.wrt_wasi_init(wasi, config))
    wasi.busy = 1  # as it is while a thread is inside; the moment itself cannot be met reliably
    with pytest.raises(StateError, match="under way"):
        check(lib.wrt_wasi_deinit(wasi))
    wasi.busy = 0
    check(lib.wrt_wasi_deinit(wasi))


def test_null_is_refused_and_zeroed_is_accepted(raw: Any) -> None:
    config, wasi, _buffer = raw
    layout = ffi.new("wrt_layout *", (1, 1))
    refused = [
        lib.wrt_wasi_layout(ffi.NULL, layout),
        lib.wrt_wasi_layout(config, ffi.NULL),
        lib.wrt_wasi_init(ffi.NULL, config),
        lib.wrt_wasi_init(wasi, ffi.NULL),
        lib.wrt_wasi_imports(wasi, ffi.NULL, ffi.NULL),
        lib.wrt_wasi_exit_code(wasi, ffi.NULL),
        lib.wrt_wasi_deinit(ffi.NULL),
    ]
    assert set(refused) == {lib.WRT_ERR_INVALID_ARGUMENT}
    assert (layout.bytes, layout.alignment) == (0, 0)
    assert lib.wrt_wasi_deinit(wasi) == lib.WRT_OK
    config.argument_count = 1
    assert lib.wrt_wasi_init(wasi, config) == lib.WRT_ERR_INVALID_ARGUMENT  # arguments is NULL
    assert bytes(ffi.buffer(wasi)) == bytes(ffi.sizeof("wrt_wasi"))


def test_what_is_not_known_is_refused(raw: Any) -> None:
    config, wasi, _buffer = raw
    config.reserved[2] = 1
    with pytest.raises(UnsupportedError, match="reserved"):
        check(lib.wrt_wasi_init(wasi, config))
    config.reserved[2] = 0
    here, root = ffi.new("char[]", b"."), ffi.new("char[]", b"/")
    preopen = ffi.new("wrt_wasi_preopen *", (here, root, 2, 0))
    config.preopens, config.preopen_count = preopen, 1
    with pytest.raises(UnsupportedError, match="preopen 0 has flags"):
        check(lib.wrt_wasi_init(wasi, config))
    config.struct_size = 0
    with pytest.raises(InvalidArgumentError, match="struct_size"):
        check(lib.wrt_wasi_init(wasi, config))


def test_kernel_without_openat2_is_told_at_once(folder: Path) -> None:
    """A filter like that of older container engines: the folder is refused, not half guarded."""
    body = (
        "import ctypes, struct, sys\n"
        "import wrt_platform.wasi\n"
        "from wrt_platform import WasiBuilder, UnsupportedError\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "code = [(0x20, 0, 0, 0), (0x15, 0, 1, 437)]\n"  # if the number is that of openat2 ...
        "code += [(6, 0, 0, 0x50000 | 38), (6, 0, 0, 0x7FFF0000)]\n"  # ... answer ENOSYS
        "raw = b''.join(struct.pack('HBBI', *line) for line in code)\n"
        "keep = ctypes.create_string_buffer(raw)\n"
        "program = struct.pack('HxxxxxxP', len(code), ctypes.addressof(keep))\n"
        "assert libc.prctl(38, 1, 0, 0, 0) == 0\n"
        "assert libc.prctl(22, 2, program, 0, 0) == 0\n"
        "WasiBuilder().with_arguments(['no folder: fine']).build()\n"
        "try: WasiBuilder().with_preopen(sys.argv[1], '/').build()\n"
        "except UnsupportedError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", body, str(folder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert "openat2" in done.stdout, done.stderr
    assert "ENOSYS" in done.stdout
