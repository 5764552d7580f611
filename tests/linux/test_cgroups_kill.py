"""Killing a group where the kernel has no cgroup.kill: forced by the order that lets the first
system call fail, which opens that file. Groups below, frozen ones, and programs that fork faster
than anybody can read must be gone all the same, here and in the virtual machine's kernel."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import failing_calls
import pytest
from common import ROOT
from failing_calls import Library
from wrt_platform._native import ffi, lib
from wrt_platform.errors import WrtError
from wrt_platform.linux.cgroups import locate_cgroup

pytestmark = pytest.mark.row("CG-2")
SECOND = 10**9

# A process that makes the next one and ends, so that no number lives for long.
RUNNER = "import os\nwhile True:\n if os.fork():\n  os._exit(0)"
SLEEPER = "import time\ntime.sleep(600)"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """Of few parts, for the virtual machine's sake, which compiles slowly."""
    core = ("config", "status")
    linux = ("files", "fork", "port", "sys", "sys_files", "sys_security", "sys_threads")
    parts = [ROOT / f"c/src/core/{name}.c" for name in core]
    parts += [ROOT / f"c/src/linux/{name}.c" for name in linux]
    parts += sorted(ROOT.glob("c/src/linux/cgroups*.c"))
    return failing_calls.build(tmp_path_factory.mktemp("kill"), "wrt_linux_cgroup_*", parts=parts)


class Tree:
    """A group of this kernel's, and groups below it."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self._name = ffi.new("char[]", b"wrt-kill-%d" % os.getpid())
        size = ffi.sizeof("wrt_linux_cgroup_config")
        config = ffi.new("wrt_linux_cgroup_config *", {"struct_size": size, "name": self._name})
        self.raw = ffi.new("wrt_linux_cgroup *")
        if library("wrt_linux_cgroup_init", self.raw, config) != lib.WRT_OK:
            pytest.skip("no control groups of version 2 that this user may make")
        self.top = Path(ffi.string(self.raw.path).decode())
        self.children: list[subprocess.Popen[bytes]] = []

    def below(self, name: str) -> Path:
        made = self.top / name
        made.mkdir(parents=True)
        return made

    def run(self, group: Path, code: str) -> subprocess.Popen[bytes]:
        """A program that is in a group before its first line."""
        enter = f"open({str(group / 'cgroup.procs')!r}, 'w').write('0')\n"
        words = [sys.executable, "-S", "-I", "-c", enter + code]
        child = subprocess.Popen(words)
        self.children.append(child)
        wait_for(lambda: str(child.pid) in processes(group) or child.poll() is not None)
        return child

    def kill(self, timeout_ns: int = 5 * SECOND) -> int:
        """Without cgroup.kill, whose opening is the first call."""
        self.library.fail_at(1, errno.ENOENT)
        status = self.library("wrt_linux_cgroup_kill", self.raw, timeout_ns)
        self.library.fail_at(0, 0)
        return status

    def populated(self) -> bool:
        return "populated 1" in (self.top / "cgroup.events").read_text()

    def end(self) -> None:
        (self.top / "cgroup.freeze").write_text("0")
        (self.top / "cgroup.kill").write_text("1")
        for child in self.children:
            child.wait(20)
        wait_for(lambda: not self.populated())
        for folder, _, _ in os.walk(self.top, topdown=False):
            os.rmdir(folder)
        assert self.library("wrt_linux_cgroup_deinit", self.raw) == lib.WRT_OK


def wait_for(condition: Any) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


def processes(group: Path) -> list[str]:
    return (group / "cgroup.procs").read_text().split()


@pytest.fixture
def tree(library: Library) -> Iterator[Tree]:
    try:
        locate_cgroup()
    except WrtError as error:
        pytest.skip(str(error))
    made = Tree(library)
    yield made
    made.end()


def check_all_levels(tree: Tree) -> None:
    groups = [tree.top, tree.below("a"), tree.below("a/b"), tree.below("a/b/c"), tree.below("d")]
    started = [tree.run(group, SLEEPER) for group in groups for _ in range(2)]
    assert tree.kill() == lib.WRT_OK
    assert not tree.populated()
    assert {child.wait(20) for child in started} == {-signal.SIGKILL}
    assert (tree.top / "cgroup.freeze").read_text() == "0\n"


def check_runners(tree: Tree) -> None:
    for name in ("left", "right/deep"):
        tree.run(tree.below(name), RUNNER).wait(20)  # it has gone on as another one
    assert tree.populated()
    assert tree.kill() == lib.WRT_OK
    assert not tree.populated()


def check_frozen(tree: Tree) -> None:
    """What stands dies too, and what was frozen before stays so."""
    cold = tree.below("cold")
    child = tree.run(cold, SLEEPER)
    (cold / "cgroup.freeze").write_text("1")
    wait_for(lambda: "frozen 1" in (cold / "cgroup.events").read_text())
    assert tree.kill() == lib.WRT_OK
    assert child.wait(20) == -signal.SIGKILL
    assert (cold / "cgroup.freeze").read_text() == "1\n"
    assert (tree.top / "cgroup.freeze").read_text() == "0\n"


CHECKS = [check_all_levels, check_runners, check_frozen]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_everything_below_is_killed_one_by_one(tree: Tree, check: Any) -> None:
    check(tree)


@pytest.mark.vm
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_other_kernel_kills_one_by_one_too(tree: Tree, check: Any) -> None:
    check(tree)


def test_caller_that_is_inside_goes_last(tree: Tree, tmp_path: Path) -> None:
    """Nor does it freeze itself, which nobody would end."""
    inner = tree.below("inner")
    sleeper = tree.run(inner, SLEEPER)
    caller = os.fork()
    if caller == 0:
        try:
            (tree.top / "cgroup.procs").write_text("0")
            tree.raw.fork_generation += 1  # of this copy, which is asked to do what a user can't
            tree.kill()
        finally:
            os._exit(3)
    statuses: list[int] = []

    def has_ended() -> bool:
        if not statuses:
            number, status = os.waitpid(caller, os.WNOHANG)
            statuses.extend([status] if number else [])
        return bool(statuses)

    wait_for(has_ended)
    ended = os.waitstatus_to_exitcode(statuses[0])
    assert (ended, sleeper.wait(20)) == (-signal.SIGKILL, -signal.SIGKILL)
    assert not tree.populated()


def test_groups_too_far_below_are_told_of(tree: Tree) -> None:
    tree.below("/".join(["deep"] * 33))
    assert tree.kill() == lib.WRT_ERR_LIMIT
    assert tree.library.last_failure().os_code == errno.ELOOP


def faked(top: Path) -> Path:
    """Files as those of groups, with no cgroup.kill: so the switch is free for another call."""
    (top / "proc/self").mkdir(parents=True)
    group = top / "sys/fs/cgroup/x"
    (group / "a/b").mkdir(parents=True)
    mounted = "35 24 0:30 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
    (top / "proc/self/mountinfo").write_text(mounted)
    (top / "proc/self/cgroup").write_text("0::/\n")
    (group.parent / "cgroup.procs").write_text("")
    for folder in (group, group / "a", group / "a/b"):
        (folder / "cgroup.procs").write_text("")
    (group / "cgroup.events").write_text("populated 0\nfrozen 0\n")
    (group / "cgroup.freeze").write_text("0\n")
    return group


def test_pass_that_fails_anywhere_leaves_no_folder_open(library: Library, tmp_path: Path) -> None:
    group = faked(tmp_path)
    names = [ffi.new("char[]", word) for word in (b"x", b"/", bytes(tmp_path))]
    fields = dict(zip(("name", "parent", "root"), names), take_existing=True)
    size = ffi.sizeof("wrt_linux_cgroup_config")
    config = ffi.new("wrt_linux_cgroup_config *", {"struct_size": size, **fields})
    raw = ffi.new("wrt_linux_cgroup *")
    assert library("wrt_linux_cgroup_init", raw, config) == lib.WRT_OK

    def work() -> int:
        child = subprocess.Popen(["/bin/sleep", "60"])
        (group / "a/b/cgroup.procs").write_text(f"{child.pid}\n")
        status = library("wrt_linux_cgroup_kill", raw, 0)  # the list stays: 64 passes
        if status == lib.WRT_OK:
            library.fail_at(0, 0)
            assert child.wait(20) == -signal.SIGKILL
        child.kill()
        child.wait()
        return status

    for code in (errno.EMFILE, errno.EIO):
        count, failures = failing_calls.count_of(library), 0
        assert work() == lib.WRT_OK
        count = failing_calls.count_of(library) - count
        for call in [*range(2, 46), count - 1, count]:
            before = failing_calls.descriptors()
            library.fail_at(call, code)
            status = work()
            library.fail_at(0, 0)
            assert failing_calls.descriptors() == before, call
            if status != lib.WRT_OK:
                failures += 1
                failure = library.last_failure()
                assert failure.os_code == code
                assert failure.operation == b"wrt_linux_cgroup_kill"
        assert failures > 25
    assert library("wrt_linux_cgroup_deinit", raw) == lib.WRT_OK
