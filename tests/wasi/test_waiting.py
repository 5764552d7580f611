"""poll_oneoff: what it waits for, how exactly, and that nothing keeps it from being stopped."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from common import ROOT
from wasi.console import (
    ANSWER,
    BADF,
    CREATE,
    DATA,
    FAULT,
    INVAL,
    NOTCAPABLE,
    NOTSUP,
    SUCCESS,
    VECTORS,
    Console,
    OurConsole,
)
from wrt_platform import InterruptedCallError, TimedOutError

pytestmark = pytest.mark.row("WE-6")

REALTIME, MONOTONIC = 0, 1
MILLISECOND = 10**6


def clock(user: int, timeout: int, clock_id: int = MONOTONIC, absolute: bool = False) -> bytes:
    return struct.pack("<QB7xI4xQQH6x", user, 0, clock_id, timeout, 0, absolute)


def readable(user: int, descriptor: int) -> bytes:
    return struct.pack("<QB7xI28x", user, 1, descriptor)


def writable(user: int, descriptor: int) -> bytes:
    return struct.pack("<QB7xI28x", user, 2, descriptor)


def poll(console: Console, *subscriptions: bytes) -> list[tuple[int, ...]] | int:
    """Events as (user data, error, type, bytes, flags); or the error of the call."""
    console.write(VECTORS, b"".join(subscriptions))
    error = console.poll_oneoff(VECTORS, DATA, len(subscriptions), ANSWER)
    return error if error else events(console)


def events(console: Console) -> list[tuple[int, ...]]:
    raw = [console.read(DATA + 32 * i, 32) for i in range(console.number())]
    return [struct.unpack("<QHB5xQH6x", event) for event in raw]


@pytest.mark.parametrize("milliseconds", [0, 1, 15, 70, 250])
def test_relative_time_is_kept(either: Console, milliseconds: int) -> None:
    """Never less; more only where the machine had no time for us, so the best of some counts."""
    passed = []
    for _ in range(5):
        start, cpu = time.monotonic(), time.thread_time()
        assert poll(either, clock(7, milliseconds * MILLISECOND)) == [(7, 0, 0, 0, 0)]
        passed.append((time.monotonic() - start) * 1000)
        assert passed[-1] >= milliseconds
        assert time.thread_time() - cpu < 0.03
        if passed[-1] < milliseconds + 30:
            break
    assert min(passed) < milliseconds + 30


@pytest.mark.parametrize("clock_id", [REALTIME, MONOTONIC])
def test_absolute_time_is_kept(either: Console, clock_id: int) -> None:
    assert either.clock_time_get(clock_id, 0, ANSWER) == SUCCESS
    due = either.number(ANSWER, 8) + 80 * MILLISECOND
    start = time.monotonic()
    assert poll(either, clock(1, due, clock_id, absolute=True)) == [(1, 0, 0, 0, 0)]
    assert 0.075 < time.monotonic() - start < 0.3
    assert poll(either, clock(1, due, clock_id, absolute=True)) == [(1, 0, 0, 0, 0)]
    assert time.monotonic() - start < 0.35  # it is past


def test_first_of_several_clocks_wins(console: OurConsole) -> None:
    ends = poll(console, clock(1, 10**12), clock(2, 30 * MILLISECOND), clock(3, 2**64 - 1))
    assert ends == [(2, 0, 0, 0, 0)]


def test_pipe_and_clock(folder: Path) -> None:
    read_end, write_end = os.pipe()
    console = OurConsole(standard_input=read_end, standard_output=write_end)
    both = [readable(1, 0), clock(2, 50 * MILLISECOND)]
    assert poll(console, *both) == [(2, 0, 0, 0, 0)]
    os.write(write_end, b"12345")
    assert poll(console, *both) == [(1, 0, 1, 5, 0)]
    assert poll(console, readable(1, 0), writable(2, 1)) == [(1, 0, 1, 5, 0), (2, 0, 2, 1, 0)]
    os.read(read_end, 5)
    threading.Timer(0.1, os.write, (write_end, b"x")).start()
    start = time.monotonic()
    assert poll(console, readable(1, 0), clock(2, 10**10)) == [(1, 0, 1, 1, 0)]
    assert 0.09 < time.monotonic() - start < 0.4
    os.close(write_end)
    os.read(read_end, 5)
    assert poll(console, readable(1, 0)) == [(1, 0, 1, 0, 1)]  # hung up
    os.close(read_end)


def test_reader_gone_is_told_to_the_writer(folder: Path) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    console = OurConsole(standard_output=write_end)
    assert poll(console, writable(1, 1)) == [(1, 0, 2, 1, 1)]
    os.close(write_end)


def test_files_are_always_ready(console: OurConsole, folder: Path) -> None:
    (folder / "file").write_bytes(b"0123456789")
    file = console.open(3, "file")
    console.fd_seek(file, 4, 0, ANSWER)
    assert poll(console, readable(1, file), writable(2, file)) == [(1, 0, 1, 6, 0), (2, 0, 2, 1, 0)]
    assert poll(console, readable(1, 0)) == [(1, 0, 1, 0, 0)]  # an empty input


def test_errors_are_events_of_their_own(console: OurConsole, folder: Path) -> None:
    file = console.open(3, "file", CREATE)
    console.fd_fdstat_set_rights(file, 1 << 1, 0)
    found = poll(
        console,
        readable(1, 99),
        clock(2, 0, clock_id=2),
        clock(3, 0, clock_id=9),
        readable(4, file),
        clock(5, 10**12),
    )
    assert found == [
        (1, BADF, 1, 0, 0),
        (2, NOTSUP, 0, 0, 0),
        (3, INVAL, 0, 0, 0),
        (4, NOTCAPABLE, 1, 0, 0),
    ]


def test_refused_polls(console: OurConsole) -> None:
    assert console.poll_oneoff(VECTORS, DATA, 0, ANSWER) == INVAL
    assert console.poll_oneoff(VECTORS, DATA, 65537, ANSWER) == INVAL
    assert console.poll_oneoff(VECTORS, DATA, 65536, ANSWER) == FAULT
    assert console.poll_oneoff(0xFFFFFFF0, DATA, 1, ANSWER) == FAULT
    console.write(VECTORS + 8, b"\3")
    assert console.poll_oneoff(VECTORS, DATA, 1, ANSWER) == INVAL


def test_many_subscriptions_to_few_descriptors(folder: Path) -> None:
    read_end, write_end = os.pipe()
    os.write(write_end, b"abc")
    console = OurConsole(standard_input=read_end)
    console.write(4096, b"".join(readable(i, 0) for i in range(1000)))
    assert console.poll_oneoff(4096, 65536, 1000, ANSWER) == SUCCESS
    assert console.number() == 1000
    assert console.read(65536 + 999 * 32, 8) == (999).to_bytes(8, "little")
    assert poll(console, readable(1, 0), clock(2, 0)) == [(1, 0, 1, 3, 0), (2, 0, 0, 0, 0)]
    os.close(read_end)
    os.close(write_end)


def test_sleep_ends_at_the_time_limit_and_can_go_on(folder: Path) -> None:
    console = OurConsole(timeout=0.2)
    start = time.monotonic()
    with pytest.raises(TimedOutError):
        poll(console, clock(1, 500 * MILLISECOND))
    assert 0.19 < time.monotonic() - start < 0.35
    assert console.instance.resume(timeout=2) == SUCCESS
    assert 0.5 <= time.monotonic() - start < 0.65  # since the call was made, not resumed
    assert events(console) == [(1, 0, 0, 0, 0)]


def test_dropped_sleep_leaves_nothing_to_the_next_one(folder: Path) -> None:
    """The same call with the same arguments, but another one: it sleeps its whole time."""
    console = OurConsole(timeout=0.1)
    with pytest.raises(TimedOutError):
        poll(console, clock(1, 300 * MILLISECOND))
    console.instance.abort()
    time.sleep(0.3)
    start = time.monotonic()
    function = console.instance.exports["poll_oneoff"]
    assert function(VECTORS, DATA, 1, ANSWER, timeout=2) == SUCCESS
    assert time.monotonic() - start >= 0.3


def test_interrupt_lands_in_a_sleep(console: OurConsole) -> None:
    threading.Timer(0.15, console.instance.interrupt).start()
    start = time.monotonic()
    with pytest.raises(InterruptedCallError):
        poll(console, clock(1, 10**11))
    assert 0.1 < time.monotonic() - start < 0.35


@pytest.mark.parametrize("waiting", ["sleep", "read"])
def test_control_c_lands_within_a_fifth_of_a_second(waiting: str) -> None:
    body = (
        "import os, sys\n"
        "from wasi.console import *\n"
        "from wasi.test_waiting import *\n"
        "console = OurConsole(standard_input=os.pipe()[0], timeout=None)\n"
        "print('ready', flush=True)\n"
        "try:\n"
        f"    {'poll(console, clock(1, 10**12))' if waiting == 'sleep' else 'console.get(0, 1)'}\n"
        "except KeyboardInterrupt:\n"
        "    print('stopped', flush=True)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", body],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "tests"), *sys.path])},
        stdout=subprocess.PIPE,
        text=True,
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        time.sleep(0.3)
        start = time.monotonic()
        child.send_signal(signal.SIGINT)
        assert child.stdout.readline() == "stopped\n"
        assert time.monotonic() - start < 0.2
