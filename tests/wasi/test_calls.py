"""Each call of preview 1 by itself, in our engine and in Wasmtime."""

from __future__ import annotations

import os
import struct
import time
from pathlib import Path

import pytest
from wasi.conftest import ARGUMENTS, ENVIRONMENT
from wasi.console import (
    ALL_RIGHTS,
    ANSWER,
    APPEND,
    BADF,
    CALLS,
    CREATE,
    DATA,
    DIRECTORY,
    EXCLUSIVE,
    EXIST,
    FOLLOW,
    INVAL,
    LOOP,
    NOENT,
    NOSYS,
    NOTCAPABLE,
    NOTDIR,
    NOTEMPTY,
    NOTSUP,
    OTHER_PATH,
    READ_RIGHTS,
    SPIPE,
    SUCCESS,
    TRUNCATE,
    VECTORS,
    WRITE_RIGHTS,
    Console,
    OurConsole,
)  # fmt: skip
from wrt_platform import ExitError, Instance, LinkError, Module, WasiBuilder
from wrt_platform._native import lib

pytestmark = pytest.mark.row("WE-6")


def texts(console: Console, pointers: int, count: int) -> list[str]:
    found = []
    for index in range(count):
        start = console.number(pointers + 4 * index)
        found.append(console.read(start, 100).split(b"\0")[0].decode())
    return found


@pytest.mark.parametrize(
    ("what", "expected"),
    [("args", ARGUMENTS), ("environ", [f"{k}={v}" for k, v in ENVIRONMENT.items()])],
)
def test_arguments_and_environment(either: Console, what: str, expected: list[str]) -> None:
    assert either.invoke(f"{what}_sizes_get", [ANSWER, ANSWER + 4]) == SUCCESS
    count, size = either.number(), either.number(ANSWER + 4)
    assert (count, size) == (len(expected), sum(len(text) + 1 for text in expected))
    assert either.invoke(f"{what}_get", [VECTORS, DATA]) == SUCCESS
    assert texts(either, VECTORS, count) == expected


def test_clocks_agree_with_the_host(either: Console) -> None:
    assert either.clock_time_get(0, 0, ANSWER) == SUCCESS
    assert abs(either.number(ANSWER, 8) - time.time_ns()) < 10**9
    seen = []
    for _ in range(2):
        assert either.clock_time_get(1, 0, ANSWER) == SUCCESS
        seen.append(either.number(ANSWER, 8))
    assert seen[0] < seen[1]
    assert either.clock_res_get(1, ANSWER) == SUCCESS
    assert 0 < either.number(ANSWER, 8) <= 10**6


def test_processor_clocks(console: OurConsole) -> None:
    before = time.process_time_ns()
    assert console.clock_time_get(2, 0, ANSWER) == SUCCESS
    assert before <= console.number(ANSWER, 8) <= time.process_time_ns()
    assert console.clock_time_get(3, 0, ANSWER) == SUCCESS
    assert console.clock_time_get(4, 0, ANSWER) == INVAL
    assert console.clock_res_get(2**32 - 1, ANSWER) == INVAL


def test_random_bytes_fill_all_of_it_and_differ(either: Console) -> None:
    found = []
    for _ in range(2):
        either.write(DATA, bytes(8192))
        assert either.random_get(DATA, 4096) == SUCCESS
        found.append(either.read(DATA, 4096))
        assert either.read(DATA + 4096, 4096) == bytes(4096)
    assert found[0] != found[1]
    assert all(len(set(found[0][i : i + 512])) > 64 for i in range(0, 4096, 512))


def test_proc_exit_ends_the_call_with_the_code(console: OurConsole) -> None:
    assert console.wasi.exit_code is None
    for code in (0, 3, 255, 2**32 - 1):
        with pytest.raises(ExitError) as ended:
            console.proc_exit(code)
        assert ended.value.exit_code == console.wasi.exit_code == code
    assert console.sched_yield() == SUCCESS  # the instance can be called again


def test_calls_that_are_not_there_say_so(console: OurConsole) -> None:
    absent = {"proc_raise", "sock_accept", "sock_recv", "sock_send", "sock_shutdown"}
    for name in absent:
        assert console.invoke(name, [0] * len(CALLS[name])) == NOSYS
    header = Path(__file__).parents[2] / "c/include/wrt_platform/wasi.h"
    listed = header.read_text().replace(" *", " ").split("answer ENOSYS:")[1].split(". The")[0]
    assert {name.strip() for name in listed.split(",")} == absent


def test_all_46_calls_are_there_and_older_modules_are_refused() -> None:
    assert lib.WRT_WASI_CALL_COUNT == len(CALLS) == 46
    from wasi.console import console_module

    with pytest.raises(LinkError, match=r"wasi_unstable\.args_get"):
        Instance(Module(console_module("wasi_unstable")), imports=WasiBuilder().build())


def test_write_read_seek_tell(either: Console, folder: Path) -> None:
    file = either.open(3, "file", CREATE)
    assert either.put(file, b"hello world") == 11
    assert (folder / "file").read_bytes() == b"hello world"
    assert either.fd_tell(file, ANSWER) == SUCCESS
    assert either.number(ANSWER, 8) == 11
    assert either.fd_seek(file, -5, 2, ANSWER) == SUCCESS
    assert either.get(file, 100) == b"world"
    assert either.get(file, 100) == b""
    assert either.fd_seek(file, 1, 0, ANSWER) == SUCCESS
    assert either.fd_seek(file, 2, 1, ANSWER) == SUCCESS
    assert either.get(file, 2) == b"lo"
    assert either.fd_seek(file, -1, 0, ANSWER) == INVAL
    assert either.fd_close(file) == SUCCESS
    assert either.fd_close(file) == BADF
    assert either.get(file, 1) == -BADF


def test_numbers_that_mean_nothing_are_refused(console: OurConsole, folder: Path) -> None:
    file = console.open(3, "file", CREATE)
    assert console.fd_seek(file, 0, 3, ANSWER) == INVAL
    assert console.fd_advise(file, 0, 100, 6) == INVAL
    assert console.fd_advise(file, -1, 100, 0) == INVAL
    assert console.open(3, "file", 16) == -INVAL
    assert console.open(3, "file", descriptor_flags=32) == -INVAL
    assert console.fd_pread(file, *console.vectors(1), -1, ANSWER) == INVAL
    assert console.fd_filestat_set_times(file, 0, 0, 16) == INVAL


def test_device_and_inode_are_those_of_the_host(console: OurConsole, folder: Path) -> None:
    (folder / "file").touch()
    status = os.stat(folder / "file")
    assert console.path_filestat_get(3, 0, *console.path("file"), ANSWER) == SUCCESS
    assert console.number(ANSWER, 8) == status.st_dev
    assert console.number(ANSWER + 8, 8) == status.st_ino


def test_vectors_are_gathered_and_scattered(console: OurConsole, folder: Path) -> None:
    file = console.open(3, "file", CREATE)
    data = bytes(range(256)) * 80
    console.write(DATA, data)
    sizes = [200] * 90 + [0] * 5 + [300]  # more than one batch
    assert console.fd_write(file, *console.vectors(*sizes), ANSWER) == SUCCESS
    assert console.number() == sum(sizes)
    assert (folder / "file").read_bytes() == data[: sum(sizes)]
    console.write(DATA, bytes(len(data)))
    assert console.fd_pread(file, *console.vectors(7, 0, 13), 5, ANSWER) == SUCCESS
    assert console.read(DATA, 21) == data[5:25] + b"\0"
    assert console.number() == 20
    assert console.fd_write(file, VECTORS, 1025, ANSWER) == INVAL


def test_positions_given_with_the_call(either: Console, folder: Path) -> None:
    file = either.open(3, "file", CREATE)
    assert either.put(file, b"0123456789") == 10
    either.write(DATA, b"XY")
    assert either.fd_pwrite(file, *either.vectors(2), 4, ANSWER) == SUCCESS
    assert either.fd_pread(file, *either.vectors(4), 3, ANSWER) == SUCCESS
    assert either.read(DATA, 4) == b"3XY6"
    assert either.fd_tell(file, ANSWER) == SUCCESS
    assert either.number(ANSWER, 8) == 10
    assert (folder / "file").read_bytes() == b"0123XY6789"


def test_append(either: Console, folder: Path) -> None:
    (folder / "file").write_bytes(b"old ")
    file = either.open(3, "file", descriptor_flags=APPEND)
    assert either.put(file, b"new") == 3
    assert (folder / "file").read_bytes() == b"old new"
    assert either.fd_fdstat_get(file, ANSWER) == SUCCESS
    assert either.number(ANSWER + 2, 2) == APPEND


def test_append_can_be_switched(console: OurConsole, folder: Path) -> None:
    file = console.open(3, "file", CREATE)
    console.put(file, b"one")
    console.fd_seek(file, 0, 0, ANSWER)
    assert console.fd_fdstat_set_flags(file, APPEND) == SUCCESS
    console.put(file, b" two")
    assert console.fd_fdstat_set_flags(file, 0) == SUCCESS
    console.fd_seek(file, 0, 0, ANSWER)
    console.put(file, b"ONE")
    assert (folder / "file").read_bytes() == b"ONE two"
    assert console.fd_fdstat_set_flags(file, 16) == NOTSUP  # SYNC is set when opening


def test_filestat_tells_what_the_host_tells(either: Console, folder: Path) -> None:
    (folder / "file").write_bytes(b"x" * 1234)
    os.link(folder / "file", folder / "second")
    os.utime(folder / "file", ns=(10**18 + 1, 10**18 + 2))
    status = os.stat(folder / "file")
    file = either.open(3, "file")
    assert either.fd_filestat_get(file, ANSWER) == SUCCESS
    by_descriptor = either.read(ANSWER, 64)
    assert either.path_filestat_get(3, FOLLOW, *either.path("file"), ANSWER) == SUCCESS
    assert either.read(ANSWER, 64) == by_descriptor
    found = struct.unpack("<QQB7xQQQQQ", by_descriptor)
    assert found[2] == 4  # a regular file
    assert found[3:5] == (2, 1234)
    assert found[5:7] == (status.st_atime_ns, status.st_mtime_ns)
    assert abs(found[7] - status.st_ctime_ns) < 10**9  # the kernel rounds it as it likes


def test_times_are_set(either: Console, folder: Path) -> None:
    (folder / "file").touch()
    os.symlink("file", folder / "link")
    file = either.open(3, "file")
    assert either.fd_filestat_set_times(file, 10**18 + 5, 10**18 + 6, 1 | 4) == SUCCESS
    assert os.stat(folder / "file").st_mtime_ns == 10**18 + 6
    assert os.stat(folder / "file").st_atime_ns == 10**18 + 5
    path = either.path("link")
    assert either.path_filestat_set_times(3, FOLLOW, *path, 0, 10**18 + 7, 4) == SUCCESS
    assert os.stat(folder / "file").st_mtime_ns == 10**18 + 7
    assert os.stat(folder / "file").st_atime_ns == 10**18 + 5
    assert either.path_filestat_set_times(3, 0, *path, 0, 10**18 + 8, 4) == SUCCESS
    assert os.lstat(folder / "link").st_mtime_ns == 10**18 + 8
    assert os.stat(folder / "file").st_mtime_ns == 10**18 + 7
    assert either.fd_filestat_set_times(file, 0, 0, 8) == SUCCESS
    assert abs(os.stat(folder / "file").st_mtime - time.time()) < 5
    assert either.fd_filestat_set_times(file, 0, 0, 4 | 8) == INVAL


def test_size_is_set(either: Console, folder: Path) -> None:
    file = either.open(3, "file", CREATE)
    either.put(file, b"0123456789")
    assert either.fd_filestat_set_size(file, 4) == SUCCESS
    assert (folder / "file").read_bytes() == b"0123"
    assert either.fd_filestat_set_size(file, 6) == SUCCESS
    assert (folder / "file").read_bytes() == b"0123\0\0"
    assert either.fd_filestat_set_size(file, -1) == INVAL


def test_room_is_allocated(console: OurConsole, folder: Path) -> None:
    file = console.open(3, "file", CREATE)
    assert console.fd_allocate(file, 100, 40 << 20) == SUCCESS  # more than one piece
    status = os.stat(folder / "file")
    assert status.st_size == 100 + (40 << 20)
    assert status.st_blocks * 512 >= 40 << 20
    assert console.fd_allocate(file, 0, 0) == INVAL


def test_advice_and_synchronising_are_taken(either: Console) -> None:
    file = either.open(3, "file", CREATE)
    for advice in range(6):
        assert either.fd_advise(file, 0, 100, advice) == SUCCESS
    assert either.fd_sync(file) == SUCCESS
    assert either.fd_datasync(file) == SUCCESS


def test_folders_are_made_and_removed(either: Console, folder: Path) -> None:
    assert either.path_create_directory(3, *either.path("new")) == SUCCESS
    assert either.path_create_directory(3, *either.path("new")) == EXIST
    assert either.path_create_directory(3, *either.path("new/inner/")) == SUCCESS
    assert (folder / "new/inner").is_dir()
    assert either.path_remove_directory(3, *either.path("new")) == NOTEMPTY
    assert either.path_remove_directory(3, *either.path("new/inner")) == SUCCESS
    assert either.path_remove_directory(3, *either.path("new")) == SUCCESS
    assert either.path_remove_directory(3, *either.path("new")) == NOENT
    (folder / "file").touch()
    assert either.path_remove_directory(3, *either.path("file")) == NOTDIR


def test_files_are_removed_and_folders_are_not(either: Console, folder: Path) -> None:
    (folder / "file").touch()
    (folder / "kept").mkdir()
    os.symlink("kept", folder / "link")
    assert either.path_unlink_file(3, *either.path("file")) == SUCCESS
    assert either.path_unlink_file(3, *either.path("file")) == NOENT
    assert either.path_unlink_file(3, *either.path("kept")) != SUCCESS
    assert either.path_unlink_file(3, *either.path("link")) == SUCCESS
    assert os.listdir(folder) == ["kept"]


def test_links(either: Console, folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "file").write_text("content")
    assert (
        either.path_symlink(*either.path("../file"), 3, *either.path("sub/link", OTHER_PATH)) == 0
    )
    assert os.readlink(folder / "sub/link") == "../file"
    assert either.get(either.open(3, "sub/link"), 20) == b"content"
    assert either.open(3, "sub/link", follow=False) == -LOOP
    assert either.path_readlink(3, *either.path("sub/link"), DATA, 100, ANSWER) == SUCCESS
    assert either.read(DATA, either.number()) == b"../file"
    assert either.path_readlink(3, *either.path("file"), DATA, 100, ANSWER) == INVAL
    path = either.path("sub/link")
    assert either.path_filestat_get(3, 0, *path, ANSWER) == SUCCESS
    assert either.read(ANSWER + 16, 1) == b"\7"
    other = either.path("hard", OTHER_PATH)
    assert either.path_link(3, 0, *either.path("file"), 3, *other) == SUCCESS
    assert os.path.samefile(folder / "file", folder / "hard")
    assert either.path_link(3, FOLLOW, *either.path("file"), 3, *other) == INVAL


def test_long_link_is_cut_to_the_buffer(console: OurConsole, folder: Path) -> None:
    os.symlink("0123456789", folder / "link")
    console.write(DATA, b"################")
    assert console.path_readlink(3, *console.path("link"), DATA, 4, ANSWER) == SUCCESS
    assert console.number() == 4
    assert console.read(DATA, 6) == b"0123##"
    assert console.path_readlink(3, *console.path("link"), DATA, 0, ANSWER) == SUCCESS
    assert console.number() == 0


def test_rename(either: Console, folder: Path) -> None:
    (folder / "a").write_text("a")
    (folder / "b").write_text("b")
    (folder / "sub").mkdir()
    assert either.path_rename(3, *either.path("a"), 3, *either.path("b", OTHER_PATH)) == SUCCESS
    assert (folder / "b").read_text() == "a"
    sub = either.open(3, "sub", DIRECTORY, rights=ALL_RIGHTS & ~WRITE_RIGHTS)
    assert either.path_rename(3, *either.path("b"), sub, *either.path("c", OTHER_PATH)) == SUCCESS
    assert (folder / "sub/c").read_text() == "a"
    assert either.path_rename(3, *either.path("b"), 3, *either.path("x", OTHER_PATH)) == NOENT


def test_open_flags(either: Console, folder: Path) -> None:
    assert either.open(3, "file") == -NOENT
    assert either.open(3, "file", CREATE | EXCLUSIVE) > 3
    assert either.open(3, "file", CREATE | EXCLUSIVE) == -EXIST
    (folder / "file").write_text("content")
    assert either.open(3, "file", TRUNCATE) > 3
    assert (folder / "file").read_text() == ""
    assert either.open(3, "file", DIRECTORY) == -NOTDIR
    assert either.open(either.open(3, "file"), "x") == -NOTDIR
    assert either.open(77, "file") == -BADF


def test_descriptor_without_a_right_refuses(either: Console, folder: Path) -> None:
    (folder / "file").write_text("content")
    file = either.open(3, "file", rights=READ_RIGHTS)
    assert either.get(file, 3) == b"con"
    assert either.put(file, b"x") == -BADF
    assert (folder / "file").read_text() == "content"


def test_rights_can_be_given_up_but_not_taken(console: OurConsole, folder: Path) -> None:
    (folder / "file").write_text("content")
    file = console.open(3, "file")
    assert console.fd_fdstat_get(file, ANSWER) == SUCCESS
    rights = console.number(ANSWER + 8, 8)
    assert console.fd_fdstat_set_rights(file, rights & ~(1 << 2 | 1 << 22), 0) == SUCCESS
    assert console.fd_seek(file, 1, 0, ANSWER) == NOTCAPABLE
    assert console.fd_filestat_set_size(file, 0) == NOTCAPABLE
    assert console.fd_fdstat_set_rights(file, rights, 0) == NOTCAPABLE
    assert console.get(file, 7) == b"content"
    assert console.fd_fdstat_set_rights(3, ALL_RIGHTS, 0) == NOTCAPABLE
    assert console.fd_fdstat_set_rights(3, 1 << 13, READ_RIGHTS) == SUCCESS  # only to open
    assert console.path_create_directory(3, *console.path("new")) == NOTCAPABLE
    assert console.open(3, "new", CREATE) == -NOTCAPABLE
    again = console.open(3, "file")  # asks for everything, gets what is handed on
    assert console.get(again, 7) == b"content"
    assert console.put(again, b"x") == -BADF


def test_renumber(either: Console, folder: Path) -> None:
    (folder / "a").write_text("a")
    (folder / "b").write_text("b")
    first, second = either.open(3, "a"), either.open(3, "b")
    assert either.fd_renumber(first, second) == SUCCESS
    assert either.get(second, 5) == b"a"
    assert either.fd_tell(first, ANSWER) == BADF
    assert either.fd_renumber(99, second) == BADF


def test_lowest_free_number_is_given_out(console: OurConsole) -> None:
    files = [console.open(3, f"file{i}", CREATE) for i in range(4)]
    assert files == [4, 5, 6, 7]
    console.fd_close(5)
    assert console.open(3, "file0") == 5
    console.fd_close(0)
    assert console.open(3, "file1") == 0


def test_preopened_folder_is_told(either: Console) -> None:
    assert either.fd_prestat_get(3, ANSWER) == SUCCESS
    assert either.read(ANSWER, 8) == struct.pack("<II", 0, 1)
    assert either.fd_prestat_dir_name(3, DATA, 1) == SUCCESS
    assert either.read(DATA, 1) == b"/"
    assert either.fd_prestat_get(4, ANSWER) == BADF
    assert either.fd_prestat_get(1, ANSWER) == BADF


def test_fdstat(either: Console) -> None:
    assert either.fd_fdstat_get(3, ANSWER) == SUCCESS
    assert either.read(ANSWER, 1) == b"\3"
    file = either.open(3, "file", CREATE)
    assert either.fd_fdstat_get(file, ANSWER) == SUCCESS
    assert either.read(ANSWER, 1) == b"\4"
    assert either.number(ANSWER + 8, 8) & (1 << 1 | 1 << 6) == 1 << 1 | 1 << 6


def test_streams_that_were_not_given(console: OurConsole) -> None:
    assert console.get(0, 10) == b""
    assert console.put(1, b"lost") == 4
    assert console.put(2, b"lost") == 4
    assert console.put(0, b"x") == -BADF
    assert console.get(1, 1) == -BADF
    assert console.fd_seek(1, 0, 1, ANSWER) == SPIPE
    assert console.fd_fdstat_get(1, ANSWER) == SUCCESS
    assert console.number(ANSWER + 8, 8) & (1 << 2 | 1 << 5) != 0  # not a terminal to wasi-libc
