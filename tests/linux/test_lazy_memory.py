"""Memory that is loaded on first touch: what has come is asked of the kernel (smaps), what it
contains is compared with the file, and each failure has to end in time.
"""

from __future__ import annotations

import ctypes
import errno
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from itertools import takewhile
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import pytest
from process_memory import Toucher, between
from support.environments import say_in
from support.guest import assemble
from wrt_platform import InstanceBuilder, Module
from wrt_platform._native import ffi, lib
from wrt_platform.enforcement import EnforcementState
from wrt_platform.errors import (
    BusyError,
    HostError,
    InvalidArgumentError,
    LimitError,
    NotFoundError,
    StateError,
    SystemCallError,
    UnsupportedError,
    WrtError,
)
from wrt_platform.linux.lazy_memory import LazyMemory, LazyMemoryBuilder
from wrt_platform.page_allocator import PAGE_SIZE, Pages

pytestmark = pytest.mark.row("UF-1")

SYSTEM_PAGE = os.sysconf("SC_PAGE_SIZE")
IMAGE = random.Random(5).randbytes(5 * PAGE_SIZE + 777)
IN_PAGES = -(-len(IMAGE) // SYSTEM_PAGE) * SYSTEM_PAGE

PEEK = """
(module (memory 8 16)
  (func (export "peek") (param i32) (result i32) local.get 0 i32.load8_u)
  (func (export "poke") (param i32 i32) local.get 0 local.get 1 i32.store8))
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "image"
    found.write_bytes(IMAGE)
    return found


def builder(chunk: int = SYSTEM_PAGE) -> LazyMemoryBuilder:
    return LazyMemoryBuilder().with_maximum_pages(16).with_chunk_bytes(chunk)


class Calls:
    """A function that loads, and what it was asked for."""

    def __init__(self, delay: float = 0.0) -> None:
        self.offsets: list[int] = []
        self._delay = delay

    def __call__(self, offset: int, size: int) -> bytes:
        self.offsets.append(offset)
        time.sleep(self._delay)
        return IMAGE[offset : offset + size]


def called(load: Callable[[int, int], bytes], chunk: int = PAGE_SIZE) -> LazyMemory:
    return builder(chunk).with_load(load).with_image_size(len(IMAGE)).build()


def base_of(pages: Pages) -> int:
    return int(ffi.cast("uintptr_t", pages._raw.base))


def in_ram(pages: Pages) -> int:
    """Bytes of the memory that are in RAM, by the kernel's word."""
    base = base_of(pages)
    areas = between(base, base + pages.page_count * PAGE_SIZE)
    return sum(area.kib["Rss"] for area in areas) * 1024


def guest_on(lazy: LazyMemory) -> Any:
    module = Module(assemble(PEEK))
    return InstanceBuilder().with_module(module).with_allocator(lazy).build()


def peek_without_python(address: int, size: int = 1) -> bytes:
    """Reads memory in a call that lets other threads run Python meanwhile."""
    copy = ctypes.create_string_buffer(size)
    memcpy = ctypes.CDLL(None).memcpy
    memcpy.restype = ctypes.c_void_p
    memcpy.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
    memcpy(copy, address, size)
    return copy.raw


# ---- What comes ----


@pytest.mark.parametrize("chunk", [SYSTEM_PAGE, 4 * SYSTEM_PAGE, PAGE_SIZE])
def test_a_chunk_comes_on_its_first_touch_and_no_other(path: Path, chunk: int) -> None:
    lazy = builder(chunk).with_path(path).build()
    pages = lazy.allocate(8)
    assert in_ram(pages) == lazy.report.loaded_bytes == 0
    chosen, touched = random.Random(chunk), set()
    for _ in range(12):
        place = chosen.randrange(len(IMAGE))
        assert pages.memory[place] == IMAGE[place]
        touched.add(place // chunk)
        sizes = [min(chunk, IN_PAGES - number * chunk) for number in touched]
        assert in_ram(pages) == sum(sizes)
        assert lazy.report.touch_count == len(touched)
    assert lazy.report.failed_chunks == 0
    assert lazy.report.lazy.state is EnforcementState.ENFORCED


def test_all_of_it_is_the_file_and_zero_behind(path: Path) -> None:
    pages = builder().with_path(path).build().allocate(8)
    pages.grow(4)
    assert bytes(pages.memory) == IMAGE + bytes(12 * PAGE_SIZE - len(IMAGE))


def test_a_part_of_a_file_is_an_image(path: Path) -> None:
    lazy = builder().with_path(path).with_file_offset(100).with_image_size(9000).build()
    assert bytes(lazy.allocate(1).memory[:9001]) == IMAGE[100:9100] + b"\0"
    assert lazy.report.image_bytes == lazy.report.loaded_bytes == 9000


def test_what_is_written_stays_and_the_next_memory_is_fresh(path: Path) -> None:
    lazy = builder().with_path(path).build()
    for _ in range(3):
        pages = lazy.allocate(8)
        pages.memory[5000] = IMAGE[5000] ^ 255
        pages.memory[4999]
        assert pages.memory[5000] == IMAGE[5000] ^ 255
        assert pages.memory[4096:5000] == IMAGE[4096:5000]
        assert lazy.report.loaded_bytes == SYSTEM_PAGE
        pages.release()
    assert path.read_bytes() == IMAGE


def test_memory_that_was_given_back_comes_again(path: Path) -> None:
    pages = builder().with_path(path).build().allocate(8)
    assert bytes(pages.memory[: len(IMAGE)]) == IMAGE
    dropped = ctypes.CDLL(None).madvise(
        ctypes.c_void_p(base_of(pages)), ctypes.c_size_t(3 * SYSTEM_PAGE), 4
    )
    assert dropped == 0
    assert bytes(pages.memory[: len(IMAGE)]) == IMAGE


def test_system_calls_wait_for_what_is_not_there(path: Path, tmp_path: Path) -> None:
    lazy = builder().with_path(path).build()
    if lazy.report.kernel.state is not EnforcementState.ENFORCED:
        pytest.skip(lazy.report.kernel.reason)
    pages = lazy.allocate(8)
    with (tmp_path / "copy").open("w+b", buffering=0) as copy:
        assert copy.write(pages.memory[: len(IMAGE)]) == len(IMAGE)
    assert (tmp_path / "copy").read_bytes() == IMAGE


def test_a_guest_runs_on_it(path: Path) -> None:
    lazy = builder(PAGE_SIZE).with_path(path).build()
    instance = guest_on(lazy)
    assert lazy.report.loaded_bytes == 0
    assert instance.exports.peek(200_000) == IMAGE[200_000]
    assert lazy.report.loaded_bytes == PAGE_SIZE
    instance.exports.poke(100, 7)
    assert instance.exports.peek(100) == 7
    assert instance.exports.peek(101) == IMAGE[101]
    assert instance.memory.read(0, 8 * PAGE_SIZE)[101:] == (
        IMAGE[101:] + bytes(8 * PAGE_SIZE - len(IMAGE))
    )


# ---- A function of Python ----


def test_a_function_is_asked_for_what_a_guest_touches() -> None:
    load = Calls()
    lazy = called(load)
    instance = guest_on(lazy)
    for place in (200_000, 200_001, 3, 300_000):
        assert instance.exports.peek(place) == IMAGE[place]
    assert load.offsets == [3 * PAGE_SIZE, 0, 4 * PAGE_SIZE]
    assert lazy.report.touch_count == 3


def test_views_of_python_load_what_they_reach_in_its_own_thread() -> None:
    """No thread that holds the interpreter may wait for one that wants it."""
    threads = set()

    def load(offset: int, size: int) -> bytes:
        threads.add(threading.current_thread())
        return IMAGE[offset : offset + size]

    lazy = called(load)
    instance = guest_on(lazy)
    assert instance.memory.read(70_000, 100) == IMAGE[70_000:70_100]
    assert lazy.report.loaded_bytes == PAGE_SIZE
    instance.memory.write(PAGE_SIZE * 3 - 1, b"ab")
    assert lazy.report.loaded_bytes == 3 * PAGE_SIZE
    assert instance.memory.view()[300_000] == IMAGE[300_000]
    assert lazy.report.loaded_bytes == len(IMAGE)
    assert lazy.report.touch_count == 0
    assert threads == {threading.current_thread()}


def test_pages_of_python_load_what_is_read_and_all_where_a_view_is_lent() -> None:
    load = Calls()
    with called(load) as lazy:
        with lazy.allocate(8) as pages:
            assert pages.read(70_000, 3) == IMAGE[70_000:70_003]
            pages.write(70_001, b"x")
            assert pages.read(70_000, 3)[1:2] == b"x"
            assert load.offsets == [PAGE_SIZE]
            pages.grow(1)
            assert load.offsets == [PAGE_SIZE]
            assert bytes(pages.memory[:PAGE_SIZE]) == IMAGE[:PAGE_SIZE]
            assert sorted(load.offsets) == [PAGE_SIZE * number for number in range(6)]
        assert lazy.report.allocation_count == 0


def test_many_threads_that_touch_at_once_cause_one_call_a_chunk() -> None:
    load = Calls(delay=0.002)
    lazy = called(load)
    pages = lazy.allocate(8)
    found: list[bytes] = []

    def touch(seed: int) -> None:
        places = list(range(0, len(IMAGE) - 64, 4096))
        random.Random(seed).shuffle(places)
        read = b"".join(peek_without_python(base_of(pages) + place, 8) for place in places)
        found.append(read if read == b"".join(IMAGE[at : at + 8] for at in places) else b"")

    threads = [threading.Thread(target=touch, args=[seed]) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(found) == 8
    assert all(found)
    assert sorted(load.offsets) == [PAGE_SIZE * number for number in range(6)]


def test_what_the_function_raises_is_the_cause() -> None:
    def load(offset: int, _: int) -> bytes:
        raise KeyError(offset)

    lazy = called(load)
    pages = lazy.allocate(8)
    with pytest.raises(HostError, match="at offset 65536") as caught:
        pages.read(70_000, 1)
    assert isinstance(caught.value.__cause__, KeyError)
    assert lazy.failure is caught.value.__cause__
    assert "the function that loads failed at offset 65536" in lazy.report.failure
    with pytest.raises(HostError, match="could not be loaded before"):
        lazy.load(70_000, 1)
    pages.release()
    lazy.close()


def test_a_function_has_to_return_as_much_as_it_is_asked_for() -> None:
    lazy = called(lambda _, size: bytes(size - 1))
    pages = lazy.allocate(8)
    with pytest.raises(HostError) as caught:
        lazy.load(0, 1)
    assert "65535 bytes for 65536" in str(caught.value.__cause__)
    pages.release()


def test_the_function_can_not_load_by_itself() -> None:
    asked: list[Exception] = []

    def load(offset: int, size: int) -> bytes:
        try:
            lazy.load(0, 1)
        except StateError as error:
            asked.append(error)
        return IMAGE[offset : offset + size]

    lazy = called(load)
    pages = lazy.allocate(8)
    assert pages.read(70_000, 1) == IMAGE[70_000:70_001]
    assert "called from the function that loads" in str(asked[0])


# ---- Failures end ----

PRELUDE = """
import ctypes, faulthandler, os, signal, sys, threading, time
from wrt_platform.linux.lazy_memory import *
from wrt_platform._native import ffi, lib
path, image = sys.argv[1], open(sys.argv[1], "rb").read()
memcpy = ctypes.CDLL(None).memcpy
memcpy.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
def touch(pages, place):
    base = int(ffi.cast("uintptr_t", pages._raw.base))
    memcpy(ctypes.create_string_buffer(1), base + place, 1)
def builder(): return LazyMemoryBuilder().with_maximum_pages(16)
def called(load):
    return builder().with_load(load).with_image_size(len(image)).with_timeout(1)
"""


def run_script(path: Path, body: str) -> tuple[int, str, str, float]:
    """A script of its own: how it ended, what it said, and after how many seconds."""
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(body), str(path)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout, done.stderr, time.monotonic() - start


def test_a_file_that_was_truncated_is_sigbus_for_who_touches(path: Path) -> None:
    code, said, _, _ = run_script(
        path,
        """
        lazy = builder().with_path(path).build()
        pages = lazy.allocate(8)
        print(pages.memory[3] == image[3], flush=True)
        os.truncate(path, 100_000)
        print(pages.memory[70_000 - 5000] == image[65_000], flush=True)
        pages.memory[200_000]
        print("went on")
        """,
    )
    assert (code, said.split()) == (-signal.SIGBUS, ["True", "True"])


def test_a_file_that_was_truncated_is_an_error_of_load(path: Path) -> None:
    lazy = builder(PAGE_SIZE).with_path(path).build()
    pages = lazy.allocate(8)
    os.truncate(path, 100_000)
    lazy.load(0, PAGE_SIZE)
    with pytest.raises(SystemCallError, match=r"the file ends before the image does.*65536 of"):
        lazy.load(0, len(IMAGE))
    assert pages.memory[PAGE_SIZE - 1] == IMAGE[PAGE_SIZE - 1]
    assert lazy.report.failed_chunks == 1
    assert "truncated" in lazy.report.failure


def test_what_the_function_raises_is_printed_before_who_touches_dies(path: Path) -> None:
    code, said, errors, _ = run_script(
        path,
        """
        def load(offset, size): raise KeyError("no such chunk", offset)
        pages = called(load).build().allocate(8)
        print("begins", flush=True)
        touch(pages, 70_000)
        print("went on")
        """,
    )
    assert (code, said.split()) == (-signal.SIGBUS, ["begins"])
    assert "KeyError: ('no such chunk', 65536)" in errors


@pytest.mark.parametrize(
    ("what", "touched"),
    [
        ("slow: load sleeps", "touch(pages, 70_000)"),
        ("python waits for python", "ffi.buffer(pages._raw.base, 99_999)[70_000]"),
        ("the loader touches itself", "touch(pages, 70_000)"),
        ("nobody serves any more", "lib.wrt_linux_lazy_memory_stop(lazy._raw); touch(pages, 0)"),
    ],
)
def test_nobody_waits_for_ever(path: Path, what: str, touched: str) -> None:
    code, said, _, seconds = run_script(
        path,
        f"""
        what = {what!r}
        def load(offset, size):
            if "sleeps" in what: time.sleep(30)
            if "itself" in what: touch(pages, 200_000)
            return image[offset : offset + size]
        lazy = called(load).build()
        pages = lazy.allocate(8)
        print("begins", flush=True)
        {touched}
        print("went on")
        """,
    )
    assert (code, said.split()) == (-signal.SIGBUS, ["begins"])
    assert seconds < 20


def test_a_chunk_that_comes_late_is_told_to_its_loader_and_others_go_on(path: Path) -> None:
    """A handler that ends the touching thread's wait lets the process live and look."""
    code, said, errors, _ = run_script(
        path,
        """
        faulthandler.disable()
        lock = threading.Event()
        def load(offset, size):
            if offset == 65536: lock.wait(20)
            return image[offset : offset + size]
        lazy = called(load).build()
        pages = lazy.allocate(8)
        child = threading.Thread(target=lambda: touch(pages, 70_000), daemon=True)
        libc = ctypes.CDLL(None)
        HANDLER = ctypes.CFUNCTYPE(None, ctypes.c_int)
        sleep_for_ever = ctypes.cast(libc.pause, ctypes.c_void_p)
        libc.signal.argtypes = [ctypes.c_int, ctypes.c_void_p]
        libc.signal(7, sleep_for_ever)  # SIGBUS: the thread sleeps from then on
        child.start()
        for _ in range(200):
            if lazy.report.failed_chunks: break
            time.sleep(0.05)
        print(lazy.report.failed_chunks, "longer than" in lazy.report.failure)
        lock.set()
        try: lazy.load(65536, 1)
        except Exception as error: print(type(error).__name__)
        lazy.load(131072, 1)
        touch(pages, 200_000)
        print("alive", flush=True)
        os._exit(0)
        """,
    )
    assert code == 0, errors
    assert said.split() == ["1", "True", "HostError", "alive"] or said.split() == [
        "1", "True", "TimedOutError", "alive",
    ]  # fmt: skip


def test_a_forked_child_has_none_of_it(path: Path, support: Callable[[str], Path]) -> None:
    lazy = builder().with_path(path).build()
    pages = lazy.allocate(8)
    for address in (base_of(pages), base_of(pages) + 7 * PAGE_SIZE):
        assert Toucher(support("touch"))(address, False) == (signal.SIGSEGV, 1, address)
    child = os.fork()
    if child == 0:
        try:
            lazy.load(0, 1)
        except StateError as error:
            os._exit(3 if "forked" in str(error) else 4)
        os._exit(5)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
    assert pages.memory[0] == IMAGE[0]


# ---- Rules ----


def test_one_memory_is_out_at_a_time(path: Path) -> None:
    lazy = builder().with_path(path).build()
    pages = lazy.allocate(8)
    with pytest.raises(BusyError, match="one at a time"):
        lazy.allocate(8)
    with pytest.raises(StateError, match="still out"):
        lazy.close()
    with pytest.raises(InvalidArgumentError, match="beyond the accessible pages, 524288"):
        lazy.load(8 * PAGE_SIZE, 1)
    lazy.load(8 * PAGE_SIZE, 0)
    pages.release()
    with pytest.raises(StateError, match="nothing is out"):
        lazy.load(0, 1)
    with pytest.raises(InvalidArgumentError, match="no room for the image of 328457 bytes"):
        lazy.allocate(5)
    with pytest.raises(LimitError):
        lazy.allocate(8, 17)
    lazy.close()
    lazy.close()
    with pytest.raises(StateError):
        lazy.allocate(8)


def test_nothing_is_left_of_memories_that_are_gone(path: Path) -> None:
    def count() -> tuple[int, int]:
        return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))

    before = count()
    for make in (builder().with_path(path).build, lambda: called(Calls())):
        for close in (True, False):
            lazy = make()
            pages = lazy.allocate(8)
            assert pages.read(0, 5) == IMAGE[:5]
            pages.release()
            if close:
                lazy.close()
            del lazy, pages
            until = time.monotonic() + 5
            while count() != before and time.monotonic() < until:
                time.sleep(0.01)
            assert count() == before


def test_close_says_that_the_function_still_runs() -> None:
    entered, leave = threading.Event(), threading.Event()

    def load(offset: int, size: int) -> bytes:
        entered.set()
        leave.wait(20)
        return IMAGE[offset : offset + size]

    lazy = called(load)
    pages = lazy.allocate(8)
    toucher = threading.Thread(target=peek_without_python, args=[base_of(pages)])
    toucher.start()
    assert entered.wait(10)
    lib.wrt_linux_lazy_memory_stop(lazy._raw)
    assert lib.wrt_linux_lazy_memory_deinit(lazy._raw) == lib.WRT_ERR_STATE  # out
    leave.set()
    toucher.join(10)
    assert not toucher.is_alive()
    pages.release()
    lazy.close()


@pytest.mark.parametrize(
    ("fields", "error", "text"),
    [
        ({}, InvalidArgumentError, "either a path or a function"),
        ({"path": "image", "load": True}, InvalidArgumentError, "either a path or a function"),
        ({"load": True}, InvalidArgumentError, "image_size is 0"),
        ({"load": True, "image_size": 2**20 + 1}, InvalidArgumentError, "image_size is 1048577"),
        ({"path": "image", "chunk_bytes": 100}, InvalidArgumentError, "chunk_bytes is 100"),
        ({"path": "image", "chunk_bytes": 2**25}, InvalidArgumentError, "up to 16 MiB"),
        ({"path": "image", "image_size": 400_000}, InvalidArgumentError, "has 328457 bytes"),
        ({"path": "image", "file_offset": 328_457}, InvalidArgumentError, "has 0 bytes"),
        ({"path": "image", "maximum_pages": 5}, InvalidArgumentError, "more than the 327680"),
        ({"path": "nowhere"}, NotFoundError, "there is no such file, ENOENT"),
        ({"path": "."}, InvalidArgumentError, "none of an ordinary file"),
        ({"path": "pipe"}, InvalidArgumentError, "none of an ordinary file"),
        ({"path": "image", "guard_bytes": 3}, InvalidArgumentError, "guard_bytes is 3"),
        ({"path": "image", "verification_level": 9}, InvalidArgumentError, "level"),
        ({"path": "image", "reserved": [0, 1]}, UnsupportedError, "reserved bytes"),
        ({"load": True, "image_size": 9, "file_offset": 1}, InvalidArgumentError, "file_offset"),
    ],
)
def test_config_out_of_bounds_is_refused(
    path: Path, fields: dict[str, Any], error: type[WrtError], text: str
) -> None:
    os.mkfifo(path.parent / "pipe")
    before = len(os.listdir("/proc/self/fd"))
    values = {"maximum_pages": 16, **fields}
    if "path" in values:
        name = ffi.new("char[]", os.fsencode(path.parent / values["path"]))
        values["path"] = name
    if "load" in values:
        values["load"] = lib.py_wrt_linux_lazy_load_fn
    size = ffi.sizeof("wrt_linux_lazy_memory_config")
    config = ffi.new("wrt_linux_lazy_memory_config *", {"struct_size": size, **values})
    with pytest.raises(error, match=text):
        LazyMemory(config, None)
    assert len(os.listdir("/proc/self/fd")) == before


# ---- Elsewhere ----

ELSEWHERE = """
lazy = LazyMemoryBuilder().with_maximum_pages(16).with_path(sys.argv[1]).build()
pages = lazy.allocate(8)
print(lazy.report.lazy.state.name, lazy.report.kernel.state.name, lazy.report.loaded_bytes)
copy = os.memfd_create("copy")
try: print("written", os.write(copy, pages.memory[:5]))
except OSError as error: print("refused", error.errno)
lazy.load(0, 5)
print(os.write(copy, pages.memory[:5]))
print(bytes(pages.memory[:300000]) == open(sys.argv[1], "rb").read()[:300000])
try: LazyMemoryBuilder().with_path(sys.argv[1]).with_require_lazy().build(); print("lazy")
except WrtError as error: print(type(error).__name__, "userfaultfd" in str(error))
"""


@pytest.mark.parametrize("environment", ["here", "old kernel", "docker", "user"])
def test_it_comes_everywhere_on_demand_or_as_a_whole(environment: str, path: Path) -> None:
    path.chmod(0o644)
    for folder in takewhile(lambda folder: folder != Path(gettempdir()), path.parents):
        folder.chmod(0o755)
    before = (
        "from wrt_platform.errors import WrtError\nfrom wrt_platform.linux.lazy_memory import *\n"
    )
    if environment == "docker" and os.geteuid() == 0:
        before += "os.setresuid(65534, 65534, 65534)\n"  # a container has no /dev/userfaultfd
    words = say_in(environment, ELSEWHERE, str(path), before=before)
    whole = ["ABSENT", "ENFORCED", str(len(IMAGE)), "written", "5", "5", "True"]
    if environment == "docker":
        assert words == [*whole, "PermissionDeniedError", "True"]
    elif words[1] == "PARTIAL":  # a user, without vm.unprivileged_userfaultfd
        assert words == [
            "ENFORCED", "PARTIAL", "0", "refused", str(errno.EFAULT), "5", "True", "lazy",
        ]  # fmt: skip
    else:
        assert words == ["ENFORCED", "ENFORCED", "0", "written", "5", "5", "True", "lazy"]
        assert (
            environment != "user"
            or Path("/proc/sys/vm/unprivileged_userfaultfd").read_text().strip() == "1"
        )
