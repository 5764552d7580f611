"""fd_readdir: large folders through small buffers, from any cookie, while they change."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest
from wasi.console import ANSWER, DATA, FAULT, NOTDIR, SUCCESS, Console, OurConsole

pytestmark = pytest.mark.row("WE-6")

Entry = tuple[str, int, int, int]  # name, cookie of the next, inode, type


def batch(console: Console, cookie: int, size: int) -> tuple[list[Entry], bool]:
    """The whole entries of one call, and whether its buffer was full."""
    assert console.fd_readdir(3, DATA, size, cookie, ANSWER) == SUCCESS
    used = console.number()
    raw = console.read(DATA, used)
    found: list[Entry] = []
    position = 0
    while position + 24 <= used:
        following, inode, length, kind = struct.unpack_from("<QQIB", raw, position)
        name = raw[position + 24 : position + 24 + length]
        if len(name) < length:
            break
        found.append((os.fsdecode(name), following, inode, kind))
        position += 24 + length
    return found, used == size


def listing(console: Console, size: int) -> list[Entry]:
    """Everything, as a C library reads it: from the last whole entry on."""
    found: list[Entry] = []
    cookie = 0
    while True:
        entries, is_full = batch(console, cookie, size)
        found += entries
        if not is_full:
            return found
        assert entries, "the buffer must hold one entry"
        cookie = entries[-1][1]


def test_listing_is_complete(either: Console, folder: Path) -> None:
    names = [f"file{i}" for i in range(60)]
    for name in names:
        (folder / name).touch()
    assert sorted(name for name, *_ in listing(either, 500)) == sorted([".", "..", *names])


def test_thousands_of_entries_through_small_buffers(console: OurConsole, folder: Path) -> None:
    names = [f"{'long' * (i % 50)}{i}" for i in range(1500)]
    for name in names:
        (folder / name).touch()
    for size in (300, 4096, 20000):
        found = [name for name, *_ in listing(console, size)]
        assert sorted(found) == sorted([".", "..", *names])


def test_entries_tell_inode_and_type(console: OurConsole, folder: Path) -> None:
    (folder / "file").touch()
    (folder / "sub").mkdir()
    os.symlink("file", folder / "link")
    os.mkfifo(folder / "fifo")
    found = {name: (inode, kind) for name, _, inode, kind in listing(console, 4096)}
    for name, kind in {"file": 4, "sub": 3, "link": 7, "fifo": 0, ".": 3}.items():
        assert found[name] == (os.lstat(folder / name).st_ino, kind)
    assert found[".."] == (0, 3)  # what lies outside is not told


def test_reading_goes_on_from_any_cookie(console: OurConsole, folder: Path) -> None:
    for i in range(200):
        (folder / f"file{i}").touch()
    whole = listing(console, 65536)
    for index in range(0, len(whole), 17):
        rest, _ = batch(console, whole[index][1], 65536)
        assert rest == whole[index + 1 :]
    assert listing(console, 65536) == whole


def test_what_is_there_all_the_time_is_seen_once(console: OurConsole, folder: Path) -> None:
    for i in range(600):
        (folder / f"stays{i}").touch()
        (folder / f"goes{i}").touch()
    found: list[str] = []
    cookie, step = 0, 0
    while True:
        entries, is_full = batch(console, cookie, 1000)
        found += [name for name, *_ in entries]
        for i in range(step * 20, step * 20 + 20):
            (folder / f"goes{i}").unlink(missing_ok=True)
        step += 1
        if not is_full:
            break
        cookie = entries[-1][1]
    assert sorted(n for n in found if n.startswith("stays")) == sorted(
        f"stays{i}" for i in range(600)
    )


def test_cut_entry_fills_the_buffer_and_no_more(console: OurConsole, folder: Path) -> None:
    (folder / "name").touch()
    for size in range(100):
        console.write(DATA, b"#" * 200)
        assert console.fd_readdir(3, DATA, size, 0, ANSWER) == SUCCESS
        assert console.number() == min(size, 24 * 3 + len("...name"))
        assert console.read(DATA + size, 100) == b"#" * 100
    whole = console.read(DATA, 79)
    console.fd_readdir(3, DATA, 30, 0, ANSWER)
    assert console.read(DATA, 30) == whole[:30]


def test_invented_cookies_do_no_harm(console: OurConsole, folder: Path) -> None:
    for i in range(20):
        (folder / f"file{i}").touch()
    for cookie in (1, 2, 3, 77, 2**31, 2**32 - 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1):
        console.fd_readdir(3, DATA, 4096, cookie, ANSWER)
    assert len(listing(console, 4096)) == 22


def test_refused_readings(console: OurConsole, folder: Path) -> None:
    (folder / "file").touch()
    assert console.fd_readdir(3, 0xFFFFFF00, 4096, 0, ANSWER) == FAULT
    assert console.fd_readdir(3, DATA, 0xFFFFFFFF, 0, ANSWER) == FAULT
    assert console.fd_readdir(3, DATA, 4096, 0, 0xFFFFFFFE) == FAULT
    file = console.open(3, "file", rights=1 << 14 | 1 << 1)
    assert console.fd_readdir(file, DATA, 4096, 0, ANSWER) in (NOTDIR, 76)
