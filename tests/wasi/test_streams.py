"""Pipes, terminals and sockets as the guest's 0, 1 and 2; full disks and closed pipes.

What would end a C program with a signal must not end the host: such tests run in a child in
which SIGPIPE and SIGXFSZ kill, as they do by default everywhere but in Python.
"""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from common import ROOT
from wasi.console import (
    AGAIN,
    ANSWER,
    CREATE,
    DATA,
    FBIG,
    NON_BLOCKING,
    NOSPC,
    PIPE,
    SPIPE,
    SUCCESS,
    VECTORS,
    OurConsole,
)
from wrt_platform import TimedOutError

pytestmark = pytest.mark.row("WE-6")


@pytest.fixture
def pipe() -> object:
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            continue  # closed by the test


def fill(descriptor: int) -> int:
    """Fills a pipe to the last byte; returns how many it held."""
    os.set_blocking(descriptor, False)
    total = 0
    for size in (65536, 4096, 1):
        try:
            while True:
                total += os.write(descriptor, b"#" * size)
        except BlockingIOError:
            continue
    os.set_blocking(descriptor, True)
    return total


def in_child(body: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs Python code where the two signals kill."""
    start = (
        "import os, signal, sys, resource\n"
        "signal.signal(signal.SIGPIPE, signal.SIG_DFL)\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_DFL)\n"
        "from wasi.console import *\n"
    )
    return subprocess.run(
        [sys.executable, "-c", start + body, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "tests"), *sys.path])},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_pipe_is_read_as_it_comes(pipe: tuple[int, int]) -> None:
    read_end, write_end = pipe
    console = OurConsole(standard_input=read_end)
    os.write(write_end, b"one")
    assert console.get(0, 100) == b"one"
    threading.Timer(0.15, os.write, (write_end, b"two")).start()
    start, cpu = time.monotonic(), time.thread_time()
    assert console.get(0, 2) == b"tw"
    assert 0.1 < time.monotonic() - start < 1
    assert time.thread_time() - cpu < 0.1  # it slept
    assert console.get(0, 100) == b"o"
    os.close(write_end)
    assert console.get(0, 100) == b""


def test_reading_an_idle_pipe_ends_at_the_time_limit(pipe: tuple[int, int]) -> None:
    console = OurConsole(standard_input=pipe[0], timeout=0.3)
    start = time.monotonic()
    with pytest.raises(TimedOutError):
        console.get(0, 100)
    assert 0.29 < time.monotonic() - start < 0.5
    os.write(pipe[1], b"late")
    assert console.instance.resume() == SUCCESS  # the very same call goes on
    assert console.read(DATA, 4) == b"late"


def test_non_blocking_descriptor_says_again(pipe: tuple[int, int]) -> None:
    console = OurConsole(standard_input=pipe[0], standard_output=pipe[1])
    assert console.fd_fdstat_set_flags(0, NON_BLOCKING) == SUCCESS
    assert console.get(0, 10) == -AGAIN
    fill(pipe[1])
    assert console.fd_fdstat_set_flags(1, NON_BLOCKING) == SUCCESS
    assert console.put(1, b"x") == -AGAIN
    for end in pipe:  # the host's own mode is not touched
        assert fcntl.fcntl(end, fcntl.F_GETFL) & os.O_NONBLOCK == 0


def test_nothing_is_written_twice_or_lost_through_a_narrow_pipe(pipe: tuple[int, int]) -> None:
    """The guest writes until all is out, as a C library does; the reader is slow."""
    read_end, write_end = pipe
    fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, 4096)
    console = OurConsole(standard_output=write_end)
    data = b"".join(b"%07d\n" % i for i in range(4000))
    got = bytearray()

    def read_slowly() -> None:
        while len(got) < len(data):
            got.extend(os.read(read_end, 777))
            time.sleep(0.003)

    reader = threading.Thread(target=read_slowly)
    reader.start()
    sent = short = 0
    while sent < len(data):
        written = console.put(1, data[sent:])
        assert written > 0
        short += sent + written < len(data)
        sent += written
    reader.join()
    assert bytes(got) == data
    assert short > 1  # it had to be asked more than once


def test_vectors_that_do_not_fit_at_once_are_gone_on_with(pipe: tuple[int, int]) -> None:
    """One call writes several vectors through a pipe that breaks off in the middle of them."""
    read_end, write_end = pipe
    fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, 4096)
    console = OurConsole(standard_output=write_end)
    data = os.urandom(21000)
    console.write(DATA, data)
    got = bytearray()

    def read() -> None:
        while part := os.read(read_end, 1000):
            got.extend(part)

    reader = threading.Thread(target=read)
    reader.start()
    most = 0
    for _ in range(20):
        assert console.fd_write(1, *console.vectors(*[3000] * 7), ANSWER) == SUCCESS
        most = max(most, console.number())
        time.sleep(0.01)
        assert bytes(got) == data[: console.number()]
        got.clear()
    os.close(write_end)
    reader.join()
    assert most > 6000


def test_full_pipe_waits_without_writing_and_without_working(pipe: tuple[int, int]) -> None:
    console = OurConsole(standard_output=pipe[1], timeout=0.4)
    size = fill(pipe[1])
    cpu = time.thread_time()
    with pytest.raises(TimedOutError):
        console.put(1, b"waits")
    assert time.thread_time() - cpu < 0.1
    assert len(os.read(pipe[0], size)) == size
    assert console.instance.resume() == SUCCESS
    assert os.read(pipe[0], 100) == b"waits"


def test_long_write_to_a_pipe_nobody_reads_is_cut_short(pipe: tuple[int, int]) -> None:
    console = OurConsole(standard_output=pipe[1], timeout=5)
    start = time.monotonic()
    assert console.fd_write(1, *console.vectors(98304), ANSWER) == SUCCESS
    assert time.monotonic() - start < 0.2
    assert 0 < console.number() < 98304
    assert len(os.read(pipe[0], 200000)) == console.number()


def test_sockets_serve_as_streams() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        console = OurConsole(standard_input=theirs, standard_output=theirs)
        ours.sendall(b"question")
        assert console.get(0, 100) == b"question"
        assert console.put(1, b"answer") == 6
        assert ours.recv(100) == b"answer"
        assert console.fd_fdstat_get(0, ANSWER) == SUCCESS
        assert console.read(ANSWER, 1) == b"\6"
        assert console.fd_seek(0, 0, 1, ANSWER) == SPIPE
        assert console.fd_pread(0, *console.vectors(1), 0, ANSWER) == SPIPE


def test_terminal_is_told_from_other_devices() -> None:
    ours, theirs = pty.openpty()
    with open("/dev/null", "r+b") as null:
        console = OurConsole(standard_input=theirs, standard_output=theirs, standard_error=null)
        assert fcntl.fcntl(theirs, fcntl.F_GETFL) & os.O_NONBLOCK == 0
        seek_or_tell = 1 << 2 | 1 << 5
        rights = []
        for number in (0, 1, 2):
            assert console.fd_fdstat_get(number, ANSWER) == SUCCESS
            assert console.read(ANSWER, 1) == b"\2"
            rights.append(console.number(ANSWER + 8, 8) & seek_or_tell)
        assert rights == [0, 0, seek_or_tell]  # wasi-libc's isatty() goes by these
        os.write(ours, b"typed\n")
        assert console.get(0, 100) == b"typed\n"
        assert console.put(1, b"shown") == 5
        shown = b""
        while len(shown) < len(b"typed\r\nshown"):  # its echo, and what the guest wrote
            shown += os.read(ours, 100)
        assert shown == b"typed\r\nshown"
    os.close(ours)
    os.close(theirs)


def test_terminal_nobody_types_at_ends_at_the_time_limit() -> None:
    ours, theirs = pty.openpty()
    console = OurConsole(standard_input=theirs, standard_output=theirs, timeout=0.2)
    start = time.monotonic()
    with pytest.raises(TimedOutError):
        console.get(0, 100)
    console.instance.abort()
    with pytest.raises(TimedOutError):
        while True:  # until the terminal holds no more
            console.put(1, b"#" * 10000)
    assert time.monotonic() - start < 2
    os.close(ours)
    os.close(theirs)


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_closed_pipe_is_an_error_not_a_signal(kind: str) -> None:
    make = (
        "os.pipe()" if kind == "pipe" else "[s.detach() for s in __import__('socket').socketpair()]"
    )
    done = in_child(
        f"read_end, write_end = {make}\n"
        "os.close(read_end)\n"
        "console = OurConsole(standard_output=write_end)\n"
        "print(console.put(1, b'x'), console.put(1, b'x'))\n"
        "print(signal.pthread_sigmask(signal.SIG_BLOCK, []), signal.sigpending())\n"
        "sys.stdout.flush()\n"
        "os.write(write_end, b'x')\n"  # the host's own write still gets its signal
        "print('not reached')\n"
    )
    assert done.stdout.split("\n")[0] == f"{-PIPE} {-PIPE}", done.stderr
    assert done.stdout.split("\n")[1] == "set() set()"
    assert "not reached" not in done.stdout
    assert done.returncode == -signal.SIGPIPE


def test_signal_that_was_pending_before_stays_pending() -> None:
    """By run(), which stays on this thread: signals are pending for one thread."""
    done = in_child(
        "import threading\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGPIPE])\n"
        "read_end, write_end = os.pipe(); os.close(read_end)\n"
        "console = OurConsole(standard_output=write_end)\n"
        "def write():\n"
        "    console.instance.begin('fd_write', 1, *console.vectors(1), ANSWER)\n"
        "    while not console.instance.run(1000): pass\n"
        "    print(console.instance.results(), signal.SIGPIPE in signal.sigpending())\n"
        "write()\n"
        "signal.pthread_kill(threading.get_ident(), signal.SIGPIPE)\n"
        "write()\n"
    )
    assert done.stdout == f"{PIPE} False\n{PIPE} True\n", done.stderr


def test_full_disk_is_told(folder: Path) -> None:
    with open("/dev/full", "wb", buffering=0) as full:
        console = OurConsole(standard_output=full, preopens=[(folder, "/")])
        assert console.put(1, b"x") == -NOSPC


def test_full_file_system_takes_what_fits(tmp_path: Path) -> None:
    """A real one of 256 KiB; after the part that fits, the error."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(tmp_path)]
    if subprocess.run(mount, stderr=subprocess.DEVNULL).returncode != 0:
        pytest.skip("this user may not mount a file system")
    try:
        console = OurConsole(preopens=[(tmp_path, "/")])
        file = console.open(3, "file", CREATE)
        sizes = []
        while (written := console.put(file, b"x" * 60000)) > 0:
            sizes.append(written)
        assert written == -NOSPC
        assert 200_000 < sum(sizes) == (tmp_path / "file").stat().st_size <= 262144
        assert console.fd_allocate(file, 0, 1 << 30) == NOSPC
        console.wasi.close()
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_limit_of_file_sizes_is_an_error_not_a_signal(folder: Path) -> None:
    done = in_child(
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "console = OurConsole(preopens=[(sys.argv[1], '/')])\n"
        "file = console.open(3, 'file', CREATE)\n"
        "print(console.put(file, b'x' * 900), console.put(file, b'x' * 900))\n"
        "print(console.put(file, b'x'), console.fd_filestat_set_size(file, 2000),\n"
        "      console.fd_allocate(file, 0, 2000))\n",
        folder,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"900 100\n{-FBIG} {FBIG} {FBIG}\n"


def test_named_pipe_does_not_hold_the_thread(folder: Path) -> None:
    """open(2) would wait for the other end, which never comes."""
    os.mkfifo(folder / "fifo")
    console = OurConsole(preopens=[(folder, "/")], timeout=0.3)
    start = time.monotonic()
    fifo = console.open(3, "fifo", rights=1 << 1)
    assert fifo > 0
    with pytest.raises(TimedOutError):
        console.get(fifo, 10)
    assert time.monotonic() - start < 0.6
    threading.Timer(0.1, (folder / "fifo").write_text, ("at last",)).start()
    console.instance.resume(timeout=2)
    assert console.read(DATA, 7) == b"at last"


def test_long_transfers_are_cut(folder: Path) -> None:
    """64 GiB asked for in one call: it comes back soon, and tells how much it was."""
    with open(folder / "huge", "wb") as file:
        file.truncate(1 << 36)
    console = OurConsole(preopens=[(folder, "/")], pages=1024)
    huge = console.open(3, "huge", rights=1 << 1 | 1 << 2)
    console.write(VECTORS, struct.pack("<II", 65536, (1023 << 16)) * 1024)
    start = time.monotonic()
    assert console.fd_pread(huge, VECTORS, 1024, 0, ANSWER) == SUCCESS
    assert time.monotonic() - start < 0.3  # all of it takes some ten seconds
    assert 1 << 22 <= console.number() < 1 << 32


def test_much_randomness_can_be_stopped_and_gone_on_with() -> None:
    console = OurConsole(pages=2048, timeout=0.12)
    size = (2048 << 16) - 65536
    start = time.monotonic()
    with pytest.raises(TimedOutError):
        console.random_get(65536, size)
    assert time.monotonic() - start < 0.35
    assert console.instance.resume(timeout=20) == SUCCESS
    for place in range(65536, 65536 + size, 1 << 20):
        assert console.read(place, 32) != bytes(32)
    assert console.read(65536 + size - 32, 32) != bytes(32)
