"""What a guest may try with numbers: wild pointers, overlapping vectors, huge counts, anything."""

from __future__ import annotations

import os
import random
import struct
from pathlib import Path

import pytest
from wasi.console import (
    ALL_RIGHTS,
    ANSWER,
    BADF,
    CALLS,
    CREATE,
    DATA,
    FAULT,
    INVAL,
    MFILE,
    NAMETOOLONG,
    PATH,
    SIZE,
    SUCCESS,
    VECTORS,
    OurConsole,
    console_module,
)
from wrt_platform import ExitError, Instance, Module, WasiBuilder

pytestmark = pytest.mark.row("WE-6")

# Valid arguments of each call that takes addresses, by the index of each address: how many bytes
# are read or written there. `file` is descriptor 4, `path` lies at PATH.
POINTERS: dict[str, tuple[list[int], dict[int, int]]] = {
    "args_get": ([VECTORS, DATA], {0: 16, 1: 18}),
    "args_sizes_get": ([ANSWER, ANSWER], {0: 4, 1: 4}),
    "environ_get": ([VECTORS, DATA], {0: 12, 1: 23}),
    "environ_sizes_get": ([ANSWER, ANSWER], {0: 4, 1: 4}),
    "clock_res_get": ([1, ANSWER], {1: 8}),
    "clock_time_get": ([1, 0, ANSWER], {2: 8}),
    "fd_fdstat_get": ([4, ANSWER], {1: 24}),
    "fd_filestat_get": ([4, ANSWER], {1: 64}),
    "fd_pread": ([4, VECTORS, 2, 0, ANSWER], {1: 16, 4: 4}),
    "fd_prestat_get": ([3, ANSWER], {1: 8}),
    "fd_prestat_dir_name": ([3, DATA, 1], {1: 1}),
    "fd_pwrite": ([4, VECTORS, 2, 0, ANSWER], {1: 16, 4: 4}),
    "fd_read": ([4, VECTORS, 2, ANSWER], {1: 16, 3: 4}),
    "fd_readdir": ([3, DATA, 100, 0, ANSWER], {1: 100, 4: 4}),
    "fd_seek": ([4, 0, 0, ANSWER], {3: 8}),
    "fd_tell": ([4, ANSWER], {1: 8}),
    "fd_write": ([4, VECTORS, 2, ANSWER], {1: 16, 3: 4}),
    "path_create_directory": ([3, PATH, 3], {1: 3}),
    "path_filestat_get": ([3, 0, PATH, 4, ANSWER], {2: 4, 4: 64}),
    "path_filestat_set_times": ([3, 0, PATH, 4, 0, 0, 0], {2: 4}),
    "path_link": ([3, 0, PATH, 4, 3, PATH + 8, 4], {2: 4, 5: 4}),
    "path_open": ([3, 0, PATH, 4, 0, ALL_RIGHTS, 0, 0, ANSWER], {2: 4, 8: 4}),
    "path_readlink": ([3, PATH + 16, 4, DATA, 50, ANSWER], {1: 4, 3: 50, 5: 4}),
    "path_remove_directory": ([3, PATH, 3], {1: 3}),
    "path_rename": ([3, PATH, 4, 3, PATH + 8, 4], {1: 4, 4: 4}),
    "path_symlink": ([PATH, 4, 3, PATH + 8, 4], {0: 4, 3: 4}),
    "path_unlink_file": ([3, PATH, 4], {1: 4}),
    "poll_oneoff": ([VECTORS + 64, DATA, 1, ANSWER], {0: 48, 1: 32, 3: 4}),
    "random_get": ([DATA, 100], {0: 100}),
}
WITHOUT_POINTERS = {
    "fd_advise", "fd_allocate", "fd_close", "fd_datasync", "fd_fdstat_set_flags",
    "fd_fdstat_set_rights", "fd_filestat_set_size", "fd_filestat_set_times", "fd_renumber",
    "fd_sync", "proc_exit", "proc_raise", "sched_yield", "sock_accept", "sock_recv", "sock_send",
    "sock_shutdown",
}  # fmt: skip


@pytest.fixture
def prepared(console: OurConsole, folder: Path) -> OurConsole:
    (folder / "file").write_bytes(b"0123456789" * 10)
    os.symlink("file", folder / "link")
    assert console.open(3, "file") == 4
    console.write(PATH, b"file....new1....link")
    console.vectors(30, 30)
    return console


def test_every_call_is_on_one_of_the_two_lists() -> None:
    assert set(POINTERS) | WITHOUT_POINTERS == set(CALLS)
    assert not set(POINTERS) & WITHOUT_POINTERS


@pytest.mark.parametrize("name", POINTERS)
def test_addresses_beyond_the_memory_are_faults(
    prepared: OurConsole, folder: Path, name: str
) -> None:
    """The last place where it fits is fine, one byte on is not, and nothing has happened then."""
    arguments, pointers = POINTERS[name]
    for index, size in pointers.items():
        for address in (SIZE - size + 1, SIZE, SIZE + 1, 2**31, 2**32 - size, 2**32 - 1):
            wild = [*arguments[:index], address, *arguments[index + 1 :]]
            before = prepared.read(0, SIZE), picture(folder)
            assert prepared.invoke(name, [as_argument(v) for v in wild]) == FAULT, (index, address)
            assert (prepared.read(0, SIZE), picture(folder)) == before
        last = SIZE - size
        prepared.write(last, prepared.read(arguments[index], size))
        fitting = [*arguments[:index], last, *arguments[index + 1 :]]
        assert prepared.invoke(name, [as_argument(v) for v in fitting]) != FAULT


def as_argument(value: int) -> int:
    return value if value < 2**31 else value - 2**32


def picture(folder: Path) -> list[tuple[str, int, int]]:
    found = [(path.name, path.lstat()) for path in sorted(folder.iterdir())]
    return [(name, status.st_size, status.st_mtime_ns) for name, status in found]


@pytest.mark.parametrize("call", ["fd_read", "fd_write", "fd_pread", "fd_pwrite"])
def test_hostile_vectors(prepared: OurConsole, folder: Path, call: str) -> None:
    offset = [0] if call.startswith("fd_p") else []

    def attempt(*vectors: tuple[int, int]) -> int:
        prepared.fd_seek(4, 0, 0, ANSWER)
        prepared.write(VECTORS, b"".join(struct.pack("<II", *vector) for vector in vectors))
        return prepared.invoke(call, [4, VECTORS, len(vectors), *offset, ANSWER])

    for start, size in [(SIZE, 1), (SIZE - 1, 2), (0, SIZE + 1), (2**32 - 1, 1), (16, 2**32 - 1)]:
        assert attempt((start, size)) == FAULT
        assert attempt((DATA, 1), (start, size)) == FAULT
    assert attempt((SIZE, 0)) == SUCCESS  # nothing, at the very end
    assert attempt((SIZE + 1, 0)) == FAULT
    assert attempt((VECTORS, 8)) == SUCCESS  # into the vectors themselves
    assert attempt((DATA, 50), (DATA + 10, 50), (DATA, 50)) == SUCCESS  # one over the other
    assert attempt((ANSWER, 4)) == SUCCESS
    prepared.write(VECTORS, bytes(8 * 1024))
    assert prepared.invoke(call, [4, VECTORS, 1024, *offset, ANSWER]) == SUCCESS
    assert prepared.number() == 0
    for count in (1025, 2**16, 2**29, 2**31 - 1, -1):
        assert prepared.invoke(call, [4, VECTORS, count, *offset, ANSWER]) == INVAL


def test_paths_of_any_length(prepared: OurConsole) -> None:
    prepared.write(DATA, b"x" * 5000)
    for size, error in [(256, NAMETOOLONG), (4095, NAMETOOLONG), (4096, NAMETOOLONG)]:
        assert prepared.path_create_directory(3, DATA, size) == error
    assert prepared.path_create_directory(3, DATA, 2**32 - 1) == FAULT
    prepared.write(DATA, b"a/" * 2500)
    assert prepared.path_unlink_file(3, DATA, 4999) == NAMETOOLONG
    prepared.write(DATA, b"../" * 1300)
    assert prepared.path_unlink_file(3, DATA, 3900) == 76


def test_descriptors_run_out_and_come_back(folder: Path) -> None:
    console = OurConsole(preopens=[(folder, "/")], maximum_descriptors=20)
    opened = [console.open(3, "file", CREATE) for _ in range(16)]
    assert opened == list(range(4, 20))
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(100):
        assert console.open(3, "file", CREATE) == -MFILE
        assert console.open(3, "other", CREATE) == -MFILE
    assert len(os.listdir("/proc/self/fd")) == before
    assert not (folder / "other").exists()
    assert console.fd_close(7) == SUCCESS
    assert console.open(3, "file") == 7


def test_refused_opening_leaves_nothing_open(prepared: OurConsole) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        prepared.path_open(3, 0, PATH, 4, 0, ALL_RIGHTS, 0, 0, SIZE - 3)
        prepared.path_open(3, 0, PATH, 4, 2, ALL_RIGHTS, 0, 0, ANSWER)
    assert len(os.listdir("/proc/self/fd")) == before


def test_module_without_memory_gets_faults() -> None:
    wasi = WasiBuilder().with_arguments(["x"]).build()
    instance = Instance(Module(console_module(pages=0)), imports=wasi)
    assert instance.call("random_get", 0, 1) == FAULT
    assert instance.call("args_sizes_get", 0, 0) == FAULT
    assert instance.call("fd_write", 1, 0, 0, 0) == FAULT
    assert instance.call("fd_write", 9, 0, 0, 0) == BADF
    assert instance.call("sched_yield") == SUCCESS


INTERESTING = [
    0, 1, 2, 3, 4, 5, 7, 8, 16, 24, 48, 64, 100, 255, 1000, 4095, 4096, ANSWER, VECTORS, PATH,
    DATA, SIZE - 64, SIZE - 8, SIZE - 1, SIZE, SIZE + 1, 2**31 - 1, -(2**31), -1, -8,
]  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_arbitrary_calls(folder: Path, seed: int) -> None:
    """5,000 calls of anything with anything: no crash, no leak, nothing outside is touched, and
    every answer is an error of preview 1."""
    chance = random.Random(seed)
    (folder / "file").write_bytes(b"x" * 1000)
    (folder / "sub").mkdir()
    os.symlink("../outside/secret", folder / "link")
    descriptors = set(os.listdir("/proc/self/fd"))
    console = OurConsole(preopens=[(folder, "/")], maximum_descriptors=40, timeout=0.05)
    outside = folder.parent / "outside"
    names = [name for name in CALLS if name not in ("fd_allocate", "fd_filestat_set_size")]
    paths = [b"file", b"sub", b"link", b"../outside/secret", b"sub/../..", b"/", b"a/b", b"x"]
    seen = set()
    for _ in range(5000):
        console.write(PATH, chance.choice(paths))
        console.vectors(chance.choice([0, 5, 70000, 2**31]), 10)
        name = chance.choice(names)
        arguments = [chance.choice(INTERESTING) for _ in CALLS[name]]
        if name.startswith("path") and chance.random() < 0.7:
            arguments[:4] = [3, *[PATH, 4, PATH][: len(arguments) - 1]]
        try:
            seen.add(console.invoke(name, arguments))
        except (ExitError, TimeoutError):
            continue
    assert seen <= set(range(77))
    assert len(seen) > 10
    assert (outside / "secret").read_text() == "secret"
    assert os.listdir(outside) == ["secret"]
    console.wasi.close()
    assert set(os.listdir("/proc/self/fd")) <= descriptors
