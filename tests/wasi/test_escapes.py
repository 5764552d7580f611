"""A guest reaches what lies below its folders, and nothing else.

Beside the lent folder lies `outside`, with a secret in it. Every call that takes a path is tried
with every way out that there is; afterwards the outside must be as it was.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from wasi.console import (
    ALL_RIGHTS,
    ANSWER,
    BADF,
    CREATE,
    DATA,
    DIRECTORY,
    FOLLOW,
    INVAL,
    LOOP,
    NOENT,
    NOTCAPABLE,
    OTHER_PATH,
    PERM,
    ROFS,
    SUCCESS,
    TRUNCATE,
    Console,
    OurConsole,
)

pytestmark = pytest.mark.row("WE-6")

# Ways out of the lent folder, to `outside` and the secret in it. The links are made by `ways`.
FOLDERS = [
    "..",
    "../outside",
    "sub/../../outside",
    "sub/./.././../outside",
    "/",
    "absolute",
    "relative",
    "sub/relative",
    "chain",
    "sub/../relative",
    "relative/.",
    "relative/../outside",
]


@pytest.fixture
def ways(folder: Path) -> Path:
    outside = folder.parent / "outside"
    (outside / "folder").mkdir()
    (folder / "sub").mkdir()
    (folder / "inside").write_text("inside")
    os.symlink(outside, folder / "absolute")
    os.symlink("../outside", folder / "relative")
    os.symlink("../../outside", folder / "sub/relative")
    os.symlink("sub/relative", folder / "chain")
    os.symlink("../outside/secret", folder / "secret")
    os.symlink(outside / "secret", folder / "sub/secret")
    os.symlink("../outside/new", folder / "dangling")
    return folder


def picture(root: Path) -> dict[str, tuple[int, ...] | bytes]:
    """Everything about a tree that a guest could have changed."""
    found: dict[str, tuple[int, ...] | bytes] = {}
    for path in sorted([root, *root.rglob("*")]):
        status = path.lstat()
        found[f"{path} status"] = (
            status.st_mode, status.st_ino, status.st_nlink, status.st_size, status.st_mtime_ns,
        )  # fmt: skip
        if path.is_file() and not path.is_symlink():
            found[f"{path} bytes"] = path.read_bytes()
    return found


@pytest.fixture
def unchanged(ways: Path) -> Iterator[None]:
    outside = ways.parent / "outside"
    before = picture(outside)
    yield
    assert picture(outside) == before
    assert sorted(os.listdir(ways.parent)) == ["lent", "outside"]


def attempts(console: Console, path: str) -> Iterator[tuple[str, int]]:
    """Each call that takes a path, with one that leads out."""
    place = console.path(path)
    inside = console.path("inside", OTHER_PATH)
    for follow in (0, FOLLOW):
        for flags in (0, CREATE, TRUNCATE, DIRECTORY):
            yield (
                "path_open",
                console.path_open(3, follow, *place, flags, ALL_RIGHTS, ALL_RIGHTS, 0, ANSWER),
            )
        yield "path_filestat_get", console.path_filestat_get(3, follow, *place, ANSWER)
        yield (
            "path_filestat_set_times",
            console.path_filestat_set_times(3, follow, *place, 1, 1, 5),
        )
    yield "path_create_directory", console.path_create_directory(3, *place)
    yield "path_remove_directory", console.path_remove_directory(3, *place)
    yield "path_unlink_file", console.path_unlink_file(3, *place)
    yield "path_readlink", console.path_readlink(3, *place, DATA, 100, ANSWER)
    yield "path_symlink", console.path_symlink(*inside, 3, *place)
    yield "path_link", console.path_link(3, 0, *inside, 3, *place)
    yield "path_link", console.path_link(3, 0, *place, 3, *console.path("stolen", OTHER_PATH))
    inside = console.path("inside", OTHER_PATH)
    yield "path_rename", console.path_rename(3, *inside, 3, *place)
    yield "path_rename", console.path_rename(3, *place, 3, *console.path("stolen", OTHER_PATH))


@pytest.mark.parametrize("way", FOLDERS)
@pytest.mark.usefixtures("unchanged")
def test_no_call_reaches_outside(console: OurConsole, ways: Path, way: str) -> None:
    for name in ("secret", "new", "folder"):
        for call, error in attempts(console, f"{way}/{name}"):
            assert error == NOTCAPABLE, (call, way, name)
    assert (ways / "inside").read_text() == "inside"
    assert not (ways / "stolen").exists()


@pytest.mark.parametrize(
    "way", ["..", "/", "/etc/passwd", "sub/../..", "../", "..//", "sub/../../"]
)
@pytest.mark.usefixtures("unchanged")
def test_the_way_out_itself_cannot_be_had(console: OurConsole, way: str) -> None:
    for call, error in attempts(console, way):
        # Calls that act on a name know nothing but the name: `..` is no name to them.
        assert error != SUCCESS, (call, way)


@pytest.mark.usefixtures("unchanged")
def test_last_link_is_not_followed_out(console: OurConsole, ways: Path) -> None:
    for name in ("secret", "sub/secret"):
        for flags in (0, CREATE, TRUNCATE):
            assert console.open(3, name, flags) == -NOTCAPABLE
        assert console.open(3, name, follow=False) == -LOOP
        assert console.path_filestat_get(3, FOLLOW, *console.path(name), ANSWER) == NOTCAPABLE
        assert console.path_filestat_get(3, 0, *console.path(name), ANSWER) == SUCCESS
        assert console.read(ANSWER + 16, 1) == b"\7"  # the link itself
    assert console.open(3, "dangling", CREATE) == -NOTCAPABLE
    assert console.path_create_directory(3, *console.path("dangling/")) != SUCCESS
    assert console.path_filestat_get(3, 0, *console.path("relative/"), ANSWER) == NOTCAPABLE
    assert console.path_filestat_set_times(3, 0, *console.path("relative/"), 1, 1, 5) == NOTCAPABLE


@pytest.mark.usefixtures("unchanged")
def test_link_made_by_the_guest_does_not_lead_out(either: Console, ways: Path) -> None:
    """Names that Wasmtime refuses as well, though it calls that PERM."""
    refused = (NOTCAPABLE, PERM)
    assert either.path_symlink(*either.path("/etc"), 3, *either.path("etc", OTHER_PATH)) in refused
    assert either.path_symlink(*either.path("../outside"), 3, *either.path("out", OTHER_PATH)) == 0
    assert -either.open(3, "out/secret") in refused
    assert -either.open(3, "../outside/secret") in refused
    assert -either.open(3, "/etc/passwd") in refused
    assert -either.open(3, "secret") in refused
    assert -either.open(3, "sub/secret") in refused


@pytest.mark.usefixtures("unchanged")
def test_hard_link_to_a_link_stays_a_link(console: OurConsole, ways: Path) -> None:
    other = console.path("copy", OTHER_PATH)
    assert console.path_link(3, 0, *console.path("secret"), 3, *other) == SUCCESS
    assert (ways / "copy").is_symlink()
    assert console.open(3, "copy") == -NOTCAPABLE


def test_paths_inside_work_however_they_are_written(console: OurConsole, ways: Path) -> None:
    for path in (
        "inside",
        "./inside",
        "sub/../inside",
        "sub//..///inside",
        "sub/./../sub/../inside",
    ):
        assert console.get(console.open(3, path), 10) == b"inside"
    os.symlink("../inside", ways / "sub/back")
    assert console.get(console.open(3, "sub/back"), 10) == b"inside"
    assert console.open(3, "inside\0/../../outside/secret") == -INVAL
    assert console.open(3, "") == -NOENT


def test_folder_opened_by_the_guest_is_a_wall_as_well(console: OurConsole, ways: Path) -> None:
    sub = console.open(3, "sub", DIRECTORY)
    assert console.open(sub, "../inside") == -NOTCAPABLE
    os.symlink("../inside", ways / "sub/back")
    assert console.open(sub, "back") == -NOTCAPABLE
    os.rename(ways / "sub", ways.parent / "elsewhere")  # by the host
    assert console.open(sub, "../outside/secret") == -NOTCAPABLE
    assert console.open(sub, "new", CREATE) > 0
    assert (ways.parent / "elsewhere/new").exists()


def test_links_of_proc_are_not_followed() -> None:
    """/proc/self/fd leads to whatever this process has open, /proc/self/root to everything."""
    console = OurConsole(preopens=[("/proc/self", "/")])
    with open("/etc/passwd") as file:
        for path in (f"fd/{file.fileno()}", "root/etc/passwd", "cwd/pyproject.toml", "exe"):
            assert console.open(3, path, rights=1 << 1) in (-LOOP, -NOTCAPABLE)
            assert console.path_filestat_get(3, FOLLOW, *console.path(path), ANSWER) != SUCCESS
    assert console.open(3, "status", rights=1 << 1) > 0


def test_descriptors_of_the_host_mean_nothing(folder: Path) -> None:
    """The guest's numbers are its own: no guess reaches a descriptor of the host."""
    with open(folder.parent / "outside/secret") as file:
        console = OurConsole(preopens=[(folder, "/")])
        numbers = [*range(4, 300), file.fileno(), 2**31 - 1, 2**31, 2**32 - 1, 2**32 - 100]
        for number in numbers:
            assert console.get(number, 10) == -BADF
            assert console.put(number, b"x") == -BADF
            assert console.fd_close(number) == BADF
            assert console.open(number, "x") == -BADF
            assert console.fd_renumber(number, 3) == BADF
            assert console.fd_filestat_get(number, ANSWER) == BADF
        assert file.read() == "secret"


def test_standard_descriptors_are_not_those_of_the_host(folder: Path) -> None:
    """0 to 2 are what the config says, or nothing: never what the host has there."""
    read_end, write_end = os.pipe()
    console = OurConsole(standard_input=write_end, standard_output=read_end)
    assert console.get(0, 1) == -BADF  # lent the wrong way round
    assert console.put(1, b"x") == -BADF
    os.write(write_end, b"y")
    assert os.read(read_end, 10) == b"y"
    for end in (read_end, write_end):
        os.close(end)


@pytest.mark.parametrize("way", ["write", "create", "truncate", "times", "allocate", "size"])
def test_read_only_folder_stays_as_it_is(folder: Path, way: str) -> None:
    (folder / "file").write_text("content")
    (folder / "sub").mkdir()
    before = picture(folder)
    console = OurConsole(preopens=[(folder, "/", True), (folder.parent, "/writable")])
    place, other = console.path("file"), console.path("x", OTHER_PATH)
    sub = console.open(3, "sub", DIRECTORY, rights=1 << 13 | 1 << 14)
    file = console.open(3, "file", rights=1 << 1)
    assert console.get(file, 10) == b"content"
    tried = {
        "write": [-console.open(3, "file"), -console.open(sub, "../file", rights=1 << 6)],
        "create": [
            -console.open(3, "new", CREATE, rights=1 << 1),
            -console.open(sub, "new", CREATE, rights=1 << 1),
            console.path_create_directory(3, *place),
            console.path_symlink(*place, 3, *other),
            console.path_link(3, 0, *place, 4, *other),
            console.path_rename(3, *place, 4, *other),
            console.path_unlink_file(3, *place),
            console.path_remove_directory(3, *place),
        ],
        "truncate": [-console.open(3, "file", TRUNCATE, rights=1 << 1)],
        "times": [
            console.path_filestat_set_times(3, 0, *place, 1, 1, 5),
            console.fd_filestat_set_times(file, 1, 1, 5),
        ],
        "allocate": [console.fd_allocate(file, 0, 100)],
        "size": [console.fd_filestat_set_size(file, 0)],
    }
    assert set(tried[way]) == {ROFS}
    assert picture(folder) == before


RENAME_EXCHANGE = 2


def exchange(left: Path, right: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    answer = libc.renameat2(-100, bytes(left), -100, bytes(right), RENAME_EXCHANGE)
    assert answer == 0, os.strerror(ctypes.get_errno())


@pytest.fixture
def racing(ways: Path) -> Iterator[Callable[[], int]]:
    """A thread that swaps the folder `turn` with a link to the outside, as fast as it can."""
    (ways / "turn").mkdir()
    (ways / "turn/secret").write_text("inside")
    os.symlink("../outside", ways / "turned")
    stop = threading.Event()
    turns = 0

    def swap() -> None:
        nonlocal turns
        while not stop.is_set():
            exchange(ways / "turn", ways / "turned")
            turns += 1

    thread = threading.Thread(target=swap)
    thread.start()
    yield lambda: turns
    stop.set()
    thread.join()


@pytest.mark.usefixtures("unchanged")
def test_no_race_leads_out(console: OurConsole, racing: Callable[[], int]) -> None:
    seen: dict[int | bytes, int] = {}
    for round_number in range(1000):
        file = console.open(3, "turn/secret", rights=1 << 1)
        found = console.get(file, 10) if file > 0 else file
        if file > 0:
            console.fd_close(file)
        seen[found] = seen.get(found, 0) + 1
        name = f"turn/new{round_number}"
        console.path_create_directory(3, *console.path(name))
        console.path_rename(3, *console.path(name), 3, *console.path("turned/new", OTHER_PATH))
        console.path_symlink(*console.path("x"), 3, *console.path(name, OTHER_PATH))
        console.path_unlink_file(3, *console.path("turn/secret/"))
    assert b"secret" not in seen
    assert set(seen) == {b"inside", -NOTCAPABLE}, seen  # both sides of the race were met
    assert min(seen.values()) > 10
    assert racing() > 300


@pytest.mark.usefixtures("unchanged")
def test_no_race_with_dots_leads_out(console: OurConsole, ways: Path) -> None:
    """While the folder that `..` climbs out of is moved, the kernel may ask to try again."""
    (ways / "a/b/c").mkdir(parents=True)
    (ways / "a/inside").write_text("inside")
    stop = threading.Event()

    def move() -> None:
        while not stop.is_set():
            os.rename(ways / "a/b/c", ways / "c")
            os.rename(ways / "c", ways / "a/b/c")

    thread = threading.Thread(target=move)
    thread.start()
    seen = set()
    try:
        for _ in range(1000):
            file = console.open(3, "a/b/c/../../../../outside/secret", rights=1 << 1)
            seen.add(file)
            assert file < 0
            file = console.open(3, "a/b/../inside", rights=1 << 1)
            assert file > 0 and console.get(file, 10) == b"inside"
            console.fd_close(file)
    finally:
        stop.set()
        thread.join()
    assert seen <= {-NOTCAPABLE, -NOENT}
    assert -NOTCAPABLE in seen
