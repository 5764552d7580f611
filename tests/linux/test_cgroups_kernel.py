"""Control groups in a kernel with every controller: its own files and the children's fates tell."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from wrt_platform.errors import (
    BusyError,
    InvalidArgumentError,
    NotFoundError,
    StateError,
    TimedOutError,
)
from wrt_platform.linux.cgroups import (
    Cgroup,
    CgroupBuilder,
    CgroupController,
    LinuxCgroupLayout,
    LinuxCgroupObstacle,
    PressureLevel,
    ResourceLimits,
)

pytestmark = pytest.mark.vm

TOP = Path("/sys/fs/cgroup")
MIB = 1 << 20
NOBODY = 65534
SPIN = "while True: pass"


@pytest.fixture
def group() -> Iterator[Cgroup]:
    with CgroupBuilder("wrt-test").build() as made:
        yield made


def run(group: Cgroup, code: str) -> int:
    """The program's exit code, or minus the signal."""
    return ended(spawn(group, code))


def spawn(group: Cgroup, code: str) -> int:
    return group.spawn([sys.executable, "-S", "-I", "-c", code])


def ended(process: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def kernel(group: Cgroup, file: str, key: str = "") -> int:
    """A number, straight from the kernel's file."""
    text = Path(group.path, file).read_text()
    for line in text.splitlines():
        words = line.split()
        if not key:
            return int(words[0])
        if words[0] == key:
            return int(words[1])
    raise AssertionError(f"{file} has no {key}:\n{text}")


# Row CG-1: limits bite.

HUNGRY = "memory = bytearray(96 << 20); memory[::4096] = b'x' * len(memory[::4096])"


@pytest.mark.row("CG-1")
def test_memory_beyond_the_limit_kills_inside_of_the_group_alone(group: Cgroup) -> None:
    assert run(group, HUNGRY) == 0  # without a limit
    applied = group.set_limits(ResourceLimits(memory_max=48 * MIB, memory_swap_max=0))
    assert applied.memory_max == kernel(group, "memory.max") == 48 * MIB
    assert run(group, HUNGRY) == -signal.SIGKILL
    assert kernel(group, "memory.events", "oom_kill") == 1
    stats = group.get_stats()
    assert stats.oom_kills == 1
    assert stats.memory_max_events == kernel(group, "memory.events", "max") > 0
    assert 47 * MIB < stats.memory_peak <= 96 * MIB + 64 * MIB
    assert CgroupController.MEMORY in stats.controllers


@pytest.mark.row("CG-1")
def test_bytes_are_rounded_to_pages_and_the_answer_says_so(group: Cgroup) -> None:
    applied = group.set_limits(ResourceLimits(memory_max=64 * MIB + 123, memory_high=40 * MIB + 1))
    assert (applied.memory_max, applied.memory_high) == (64 * MIB, 40 * MIB)
    assert applied == group.get_limits()
    again = group.set_limits(ResourceLimits(memory_max="max"))
    assert (again.memory_max, again.memory_high) == ("max", 40 * MIB)
    assert Path(group.path, "memory.max").read_text() == "max\n"


@pytest.mark.row("CG-1")
def test_out_of_memory_ends_the_whole_group_if_asked(group: Cgroup) -> None:
    limits = ResourceLimits(memory_max=48 * MIB, memory_swap_max=0, kill_together=True)
    assert group.set_limits(limits).kill_together
    bystander = group.spawn(["sleep", "100"])
    assert run(group, HUNGRY) == -signal.SIGKILL
    assert ended(bystander) == -signal.SIGKILL


@pytest.mark.row("CG-1")
def test_cpu_quota_throttles(group: Cgroup) -> None:
    applied = group.set_limits(ResourceLimits(cpu_max=(10_000, 100_000), cpu_weight=50))
    assert (applied.cpu_max, applied.cpu_weight) == ((10_000, 100_000), 50)
    process = spawn(group, SPIN)
    time.sleep(3)
    group.kill()
    assert ended(process) == -signal.SIGKILL
    stats = group.get_stats()
    assert stats.cpu_throttled == kernel(group, "cpu.stat", "nr_throttled") > 5
    assert stats.cpu_throttled_usec == kernel(group, "cpu.stat", "throttled_usec") > 1_000_000
    assert 0 < stats.cpu_usage_usec < 1_500_000


@pytest.mark.row("CG-1")
def test_fork_beyond_the_limit_is_refused(group: Cgroup) -> None:
    group.set_limits(ResourceLimits(pids_max=3))
    forks = """
import os
children = 0
try:
    while children < 10:
        if os.fork() == 0: os.execvp("sleep", ["sleep", "100"])
        children += 1
except BlockingIOError as error:
    os._exit(children * 16 + error.errno)
"""
    assert run(group, forks) == 2 * 16 + 11  # it and two children; EAGAIN
    assert group.get_stats().pids_max_events == kernel(group, "pids.events", "max") >= 1
    assert group.get_stats().pids_current == 2
    group.kill()


READ = ["dd", "if=/dev/vda", "of=/dev/null", "bs=65536", "count=16", "iflag=direct", "status=none"]


def seconds_to_read(group: Cgroup) -> float:
    start = time.monotonic()
    assert ended(group.spawn(READ)) == 0
    return time.monotonic() - start


def disk() -> str:
    return Path("/sys/block/vda/dev").read_text().strip()


@pytest.mark.row("CG-1")
def test_disk_is_slowed_down(group: Cgroup) -> None:
    group.set_limits(ResourceLimits(io_max=[(disk(), "rbps=max")]))
    quick = seconds_to_read(group)
    group.set_limits(ResourceLimits(io_max=[(disk(), "rbps=524288 wiops=120")]))
    assert (
        Path(group.path, "io.max").read_text()
        == f"{disk()} rbps=524288 wbps=max riops=max wiops=120\n"
    )
    limit = group.get_io_limit(disk())
    assert (limit.read_bytes, limit.write_bytes, limit.writes) == (524288, None, 120)
    assert seconds_to_read(group) > quick + 1
    assert group.get_stats().io_read_bytes >= 2 * MIB


@pytest.mark.row("CG-1")
def test_a_limit_that_is_refused_leaves_all_as_they_were(group: Cgroup) -> None:
    group.set_limits(ResourceLimits(memory_max=64 * MIB, pids_max=50))
    before = group.get_limits()
    refused = ResourceLimits(memory_max=32 * MIB, pids_max=7, io_max=[("250:99", "rbps=1048576")])
    with pytest.raises(NotFoundError, match="whole one"):
        group.set_limits(refused)
    assert group.get_limits() == before


# Row CG-1: controllers from the top down, and what is in the way.


@pytest.fixture
def deep() -> Iterator[Path]:
    """Two groups, one in the other, without controllers."""
    inner = TOP / "wrt-a/b"
    inner.mkdir(parents=True)
    yield inner
    for process in (inner / "cgroup.procs").read_text().split():
        os.kill(int(process), signal.SIGKILL)
        os.waitpid(int(process), 0)
    for path in (*inner.glob("*/"), inner, inner.parent):
        path.rmdir()


@pytest.mark.row("CG-1")
def test_controllers_are_enabled_in_each_group_above(deep: Path) -> None:
    builder = CgroupBuilder("wrt-test").with_parent(str(deep))
    plan = builder.plan()
    assert plan.path == f"{deep}/wrt-test"
    assert not plan.blocked
    assert CgroupController.PIDS in plan.to_enable
    with builder.build() as group:
        group.set_limits(ResourceLimits(pids_max=9))
        for path in (TOP, deep.parent, deep):
            assert "pids" in (path / "cgroup.subtree_control").read_text().split()
        assert CgroupController.PIDS in builder.plan().enabled
        assert kernel(group, "pids.max") == 9


@pytest.mark.row("CG-1")
def test_group_with_processes_is_named_as_what_blocks(deep: Path) -> None:
    sleeper = subprocess.Popen(["sleep", "100"])
    (deep / "cgroup.procs").write_text(str(sleeper.pid))
    builder = CgroupBuilder("wrt-test").with_parent(str(deep))
    plan = builder.plan()
    assert plan.obstacle == LinuxCgroupObstacle.HAS_PROCESSES
    assert plan.blocker == str(deep)
    with builder.build() as group:
        with pytest.raises(BusyError, match=f"leaf.*{deep}") as caught:
            group.set_limits(ResourceLimits(memory_max=MIB))
        assert caught.value.os_code == 16
        with pytest.raises(BusyError):
            CgroupBuilder("other").with_parent(str(deep)).with_controllers(
                CgroupController.MEMORY
            ).build()
        assert not (deep / "other").exists()
    sleeper.kill()
    sleeper.wait()


def as_nobody(code: str) -> str:
    """What a program of a user without rights prints."""
    # The modules are loaded first: where they lie need not be that user's to read.
    first = "import importlib, os, traceback, wrt_platform.linux.cgroups"
    program = f"{first}\nos.setgid({NOBODY}); os.setuid({NOBODY})\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    return done.stdout


REFUSED = """
from wrt_platform.linux.cgroups import *
from wrt_platform.errors import *
try:
    CgroupBuilder("wrt-nobody").with_parent("/").build()
except PermissionDeniedError as error:
    print(error)
print(CgroupBuilder("wrt-nobody").with_parent("/").plan().obstacle.name)
"""


@pytest.mark.row("CG-1")
def test_without_rights_the_error_says_how_to_get_them() -> None:
    told = as_nobody(REFUSED)
    assert told.count("\n") == 2, told
    first, second = told.splitlines()
    assert "Delegate=yes" in first and "EACCES" in first
    assert second == "NOT_PERMITTED"


DELEGATED = """
import os
from wrt_platform.linux.cgroups import *
from wrt_platform.errors import *
group = CgroupBuilder("inner").with_parent("/wrt-delegated").build()
print(group.set_limits(ResourceLimits(pids_max=5)).pids_max)
try:
    group.spawn(["sleep", "100"])
except PermissionDeniedError as error:
    print(error)
"""


@pytest.mark.row("CG-1")
def test_a_delegated_group_serves_a_user_without_rights() -> None:
    with CgroupBuilder("wrt-delegated").with_controllers(CgroupController.PIDS).build() as group:
        for name in (".", "cgroup.procs", "cgroup.subtree_control"):
            os.chown(Path(group.path, name), NOBODY, NOBODY)
        told = as_nobody(DELEGATED)
        Path(group.path, "inner").rmdir()
        assert told.count("\n") == 2, told
        limit, moved = told.splitlines()
        assert limit == "5"
        # The group that both stand in is the top, which is not theirs.
        assert "not ours to put processes into" in moved


LEAF = """
import os
from wrt_platform.linux.cgroups import *
from wrt_platform.errors import *
limits = ResourceLimits(memory_max=64 << 20)
group = CgroupBuilder("inner").build()
try:
    group.set_limits(limits)
except BusyError:
    print("busy")
group.remove()
with CgroupBuilder("inner").with_move_to_leaf().build() as group:
    print(group.set_limits(limits).memory_max)
    print(open("/proc/self/cgroup").read().strip())
"""


@pytest.mark.row("CG-1")
def test_own_processes_make_way_to_a_leaf(group: Cgroup) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", f"input()\n{LEAF}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    group.add_process(process.pid)
    told, _ = process.communicate("\n")
    assert told.splitlines() == ["busy", str(64 * MIB), "0::/wrt-test/wrt-leaf"]
    Path(group.path, "wrt-leaf").rmdir()


NAMESPACE = "from wrt_platform.linux.cgroups import *; print(*locate_cgroup())"


@pytest.mark.row("CG-1")
def test_own_group_is_found_from_within_a_namespace(group: Cgroup) -> None:
    def locate(setup: str) -> list[str]:
        call = f'echo $$ >{group.path}/cgroup.procs; unshare -C -m sh -c \'{setup} exec "$0" "$@"\''
        done = subprocess.run(
            ["sh", "-c", f'{call} "$0" "$@"', sys.executable, "-c", NAMESPACE],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return done.stdout.split()

    layout = str(int(LinuxCgroupLayout.V2))
    # The old mount begins above the namespace: own group can't be told.
    assert locate("")[:3] == [layout, str(TOP), str(TOP)]
    assert locate("")[-1] == "True"
    inside = locate("umount /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup;")
    assert inside[:3] == [layout, str(TOP), str(TOP)]
    assert inside[-1] == "False"


# Row CG-2: processes, statistics, pressure, removal.


@pytest.mark.row("CG-2")
def test_program_is_in_the_group_when_it_begins(group: Cgroup, tmp_path: Path) -> None:
    output = tmp_path / "group"
    assert ended(group.spawn(["sh", "-c", f"cat /proc/self/cgroup >{output}"])) == 0
    assert output.read_text() == "0::/wrt-test\n"
    with pytest.raises(NotFoundError):
        group.spawn(["/no/such/program"])
    (tmp_path / "text").write_text("no program")
    (tmp_path / "text").chmod(0o755)
    with pytest.raises(OSError, match="can't be run"):
        group.spawn([str(tmp_path / "text")])
    with pytest.raises(ChildProcessError):  # no child is left
        os.waitpid(-1, os.WNOHANG)


@pytest.mark.row("CG-2")
def test_process_that_is_added_is_counted_here_with_its_children(group: Cgroup) -> None:
    sleeper = subprocess.Popen(["sleep", "100"])
    group.add_process(sleeper.pid)
    assert group.get_stats().is_populated
    assert Path(group.path, "cgroup.procs").read_text() == f"{sleeper.pid}\n"
    sleeper.kill()
    sleeper.wait()
    with pytest.raises(NotFoundError):
        group.add_process(sleeper.pid)
    with pytest.raises(InvalidArgumentError):
        group.add_process(-1)


def cpu_ticks(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[11])


@pytest.mark.row("CG-2")
def test_frozen_processes_stand_still_until_they_are_thawed(group: Cgroup) -> None:
    process = spawn(group, SPIN)
    time.sleep(1)
    group.freeze()
    assert group.get_stats().is_frozen
    before = cpu_ticks(process)
    time.sleep(0.5)
    assert cpu_ticks(process) == before > 0
    group.thaw()
    time.sleep(1)
    assert cpu_ticks(process) > before
    assert not group.get_stats().is_frozen
    group.freeze()
    group.kill()  # frozen ones, too
    assert ended(process) == -signal.SIGKILL


@pytest.mark.row("CG-2")
def test_kill_reaches_groups_below(group: Cgroup) -> None:
    with CgroupBuilder("inner").with_parent("/wrt-test").build() as inner:
        processes = [group.spawn(["sleep", "100"]), inner.spawn(["sleep", "100"])]
        group.kill()
        assert [ended(process) for process in processes] == [-signal.SIGKILL] * 2


@pytest.mark.row("CG-2")
def test_removal_waits_until_the_group_is_empty() -> None:
    group = CgroupBuilder("wrt-other").build()
    process = group.spawn(["sleep", "1.5"])
    with pytest.raises(TimedOutError, match="processes are still in the group"):
        group.remove(0.1)
    start = time.monotonic()
    group.remove(20)
    assert time.monotonic() - start > 0.5
    assert not Path(group.path).exists()
    assert ended(process) == 0
    with pytest.raises(StateError, match="removed"):
        group.get_stats()


@pytest.mark.row("CG-2")
def test_group_with_groups_below_is_not_removed(group: Cgroup) -> None:
    inner = CgroupBuilder("inner").with_parent("/wrt-test").build()
    with inner, pytest.raises(BusyError, match="groups below"):
        group.remove(0.2)


@pytest.mark.row("CG-2")
def test_a_name_that_is_taken_is_refused_or_taken(group: Cgroup) -> None:
    with pytest.raises(StateError, match="take_existing"):
        CgroupBuilder("wrt-test").build()
    other = CgroupBuilder("wrt-test").with_take_existing().build()
    assert other.path == group.path


# Holds more than memory_high lets it have; the kernel lets it wait ever longer.
STALLED = (
    "memory = []\nwhile True: memory.append(bytearray(1 << 20)); memory[-1][::4096] = b'x' * 256"
)


class Heard:
    """Levels as they come, from whatever thread."""

    def __init__(self) -> None:
        self.levels: list[PressureLevel] = []
        self.threads: set[str] = set()
        self.came = threading.Event()

    def __call__(self, level: PressureLevel) -> None:
        self.levels.append(level)
        self.threads.add(threading.current_thread().name)
        if set(self.levels) == set(PressureLevel):
            self.came.set()


@pytest.mark.row("CG-2")
@pytest.mark.row("EV-1")
def test_pressure_is_told_when_processes_wait_for_memory(group: Cgroup) -> None:
    heard = Heard()
    group.set_limits(ResourceLimits(memory_high=24 * MIB, memory_max=200 * MIB, memory_swap_max=0))
    watch = group.on_memory_pressure(heard, window="1s")
    idle = group.spawn(["sleep", "100"])
    time.sleep(2.5)
    assert heard.levels == []  # nobody waits
    process = spawn(group, STALLED)
    assert heard.came.wait(60), heard.levels  # all three
    assert heard.threads == {"wrt-memory-pressure"}
    full = Path(group.path, "memory.pressure").read_text().splitlines()[1]
    assert int(full.split("total=")[1]) > 100_000
    watch.close()
    count = len(heard.levels)
    time.sleep(1.5)
    assert len(heard.levels) == count
    group.kill()
    assert ended(process) == ended(idle) == -signal.SIGKILL


@pytest.mark.row("CG-2")
def test_critical_says_that_nothing_else_gets_done(group: Cgroup) -> None:
    """One waits while another computes: some, but not all."""
    heard = Heard()
    group.set_limits(ResourceLimits(memory_high=48 * MIB, memory_swap_max=0))
    group.on_memory_pressure(heard, window="1s")
    processes = [spawn(group, SPIN), spawn(group, SPIN), spawn(group, STALLED)]
    deadline = time.monotonic() + 60
    while PressureLevel.MEDIUM not in heard.levels and time.monotonic() < deadline:
        time.sleep(0.1)
    assert PressureLevel.MEDIUM in heard.levels
    assert heard.levels.count(PressureLevel.CRITICAL) < heard.levels.count(PressureLevel.MEDIUM)
    group.kill()
    assert [ended(process) for process in processes] == [-signal.SIGKILL] * 3


@pytest.mark.row("CG-2")
def test_watch_ends_with_its_group() -> None:
    heard = Heard()
    group = CgroupBuilder("wrt-other").with_controllers(CgroupController.MEMORY).build()
    watch = group.on_memory_pressure(heard)
    os.rmdir(group.path)  # by somebody else
    watch._thread.join(10)
    assert not watch._thread.is_alive()


EXIT = """
import sys
from wrt_platform.linux.cgroups import *
group = CgroupBuilder("wrt-other").with_controllers(CgroupController.MEMORY).build()
group.on_memory_pressure(print)
print("ends")
"""


@pytest.mark.row("EV-1")
def test_interpreter_that_watches_ends_at_once() -> None:
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", EXIT], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ends\n", "")
    assert time.monotonic() - start < 30
    os.rmdir(TOP / "wrt-other")


@pytest.mark.row("CG-2")
def test_pressure_without_rights_needs_whole_windows() -> None:
    """Linux 6.1 lets nobody else watch at all; later ones with windows of 2 s."""
    code = """
from wrt_platform.linux.pressure import *
from wrt_platform.errors import PermissionDeniedError
from wrt_platform.events import EventsBuilder
try:
    LinuxPressureBuilder().with_events(EventsBuilder().build()).build()
    print("taken")
except PermissionDeniedError as error:
    print(error)
"""
    told = as_nobody(code)
    assert told == "taken\n" or "CAP_SYS_RESOURCE" in told
