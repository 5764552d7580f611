"""REALTIME by both policies as the kernel shows it, and each reason for which it refuses a priority
or a CPU, made for real: limits, a control group without real time, a cpuset, a CPU switched off.

What needs a group of its own runs in a child that was put there; the groups are those of version 1
on this machine, where it has them, and of version 2 in the virtual one.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from held_threads import Held
from support.environments import run_in
from support.guest import assemble
from wrt_platform import (
    InvalidArgumentError,
    LinuxRealtimePolicy,
    LinuxThreadPool,
    LinuxThreadSystemBuilder,
    Module,
    ThreadBuilder,
    ThreadPoolConfig,
    ThreadPriority,
)

pytestmark = pytest.mark.row("TH-1")
root = pytest.mark.skipif(os.geteuid() != 0, reason="takes root to arrange")
REALTIME = (ThreadPriority.REALTIME, ThreadPriority.REALTIME)


def scheduled(thread: int) -> tuple[int, int]:
    """Real-time priority and policy, as /proc shows them."""
    fields = Path(f"/proc/{os.getpid()}/task/{thread}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[37]), int(fields[38])


def may_realtime() -> bool:
    done = subprocess.run(["chrt", "-r", "1", "true"], capture_output=True)
    return done.returncode == 0


permitted = pytest.mark.skipif(not may_realtime(), reason="chrt may not have real time either")


@permitted
@pytest.mark.parametrize("policy", list(LinuxRealtimePolicy))
def test_kernel_shows_the_policy_that_was_asked_for(policy: LinuxRealtimePolicy) -> None:
    number = {"FIFO": os.SCHED_FIFO, "ROUND_ROBIN": os.SCHED_RR}[policy.name]
    builder = LinuxThreadSystemBuilder().with_realtime_priority(7)
    system = builder.with_realtime_policy(policy).build()
    held = Held(system, ThreadBuilder().with_priority(ThreadPriority.REALTIME))
    report = held.thread.report
    try:
        assert scheduled(report.system_id) == (7, number)
        assert (report.system_policy, report.system_priority) == (number, 7)
        assert report.priority == ThreadPriority.REALTIME
        said = subprocess.run(["chrt", "-p", str(report.system_id)], capture_output=True, text=True)
        assert {"FIFO": "SCHED_FIFO", "ROUND_ROBIN": "SCHED_RR"}[policy.name] in said.stdout
    finally:
        held.end()
        system.close()


@permitted
def test_workers_of_a_pool_take_turns() -> None:
    system = LinuxThreadSystemBuilder().with_realtime_policy(LinuxRealtimePolicy.ROUND_ROBIN)
    config = ThreadPoolConfig(2).with_require_priority().with_priority_range(REALTIME)
    module = Module(assemble('(module (func (export "f")))'))
    with LinuxThreadPool(config.with_system(system.build()), {1: (module, "f")}) as pool:
        workers = [worker.thread for worker in pool.workers]
        shown = [scheduled(thread.system_id) for thread in workers if thread is not None]
    assert shown == [(10, os.SCHED_RR)] * 2


def test_policies_that_are_none_are_refused() -> None:
    builder = LinuxThreadSystemBuilder()
    builder._config.realtime_policy = 3
    with pytest.raises(InvalidArgumentError, match="realtime_policy is 3"):
        builder.build()


# ---- Refusals ----

ASK = """
import sys
from wrt_platform import *
def ask(policy, priority=10, wanted=ThreadPriority.REALTIME, cpus=None):
    system = LinuxThreadSystemBuilder().with_realtime_policy(LinuxRealtimePolicy[policy])
    system = system.with_realtime_priority(priority).build()
    builder = ThreadBuilder().with_entry(lambda: None).with_priority(wanted)
    builder.with_require_priority()
    if cpus is not None:
        builder.with_cpus(CpuSet(*cpus))
    try:
        builder.build(system).join(5)
        print("given")
    except WrtError as error:
        print(type(error).__name__, error)
    system.close()
"""

NO_RIGHTS = """
import resource
for one in (resource.RLIMIT_RTPRIO, resource.RLIMIT_NICE):
    resource.setrlimit(one, (0, 0))
"""


def asked(body: str, environment: str = "here", before: str = "") -> list[str]:
    done = run_in(environment, ASK + body, before="from wrt_platform import *\n" + before)
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout.splitlines()


def test_ordinary_users_are_told_of_the_limit_and_the_capability() -> None:
    body = "ask('FIFO', 10); ask('ROUND_ROBIN', 20); ask('FIFO', 1, ThreadPriority.HIGH)"
    fifo, turns, nice = asked(body, "user", NO_RIGHTS)
    rest = "and was refused, EPERM: RLIMIT_RTPRIO is 0 and CAP_SYS_NICE is missing; raise the limit"
    assert fifo.startswith("PermissionDeniedError") and f"SCHED_FIFO 10 {rest}" in fifo
    assert f"SCHED_RR 20 {rest}" in turns and "ulimit -r" in turns
    needed = min(20 - os.getpriority(os.PRIO_PROCESS, 0) + 10, 40)
    assert f"RLIMIT_NICE is 0, {needed} is needed" in nice


@pytest.mark.vm
def test_a_limit_that_is_high_enough_gives_real_time_to_ordinary_users() -> None:
    before = "import resource; resource.setrlimit(resource.RLIMIT_RTPRIO, (12, 12))\n"
    given, refused = asked("ask('ROUND_ROBIN', 12); ask('ROUND_ROBIN', 13)", "user", before)
    assert given == "given"
    assert "SCHED_RR 13" in refused and "RLIMIT_RTPRIO is 12" in refused


FILTERED = """
import errno
from wrt_platform.linux.seccomp import SeccompAction, SeccompBuilder
builder = SeccompBuilder().with_default_action(SeccompAction.ALLOW).with_all_threads()
builder.with_rule("{call}", SeccompAction.ERRNO, error=errno.EPERM)
builder.build().load()
"""


@root
def test_filters_are_named_where_everything_else_is_permitted() -> None:
    here = min(os.sched_getaffinity(0))
    (realtime,) = asked(FILTERED.format(call="sched_setscheduler") + "ask('FIFO')")
    ask_cpus = f"ask('FIFO', 1, ThreadPriority.NORMAL, [{here}])"
    (cpus,) = asked(FILTERED.format(call="sched_setaffinity") + ask_cpus)
    (nice,) = asked(FILTERED.format(call="setpriority") + "ask('FIFO', 1, ThreadPriority.HIGH)")
    assert "although RLIMIT_NICE is" in nice and "seccomp filter" in nice
    assert "although RLIMIT_RTPRIO" in realtime and "seccomp filter" in realtime
    assert cpus.startswith("PermissionDeniedError") and "sched_setaffinity was refused" in cpus


@root
def test_system_without_real_time_is_named(tmp_path: Path) -> None:
    """The kernel's file is another one in a mount namespace of this child's own."""
    (tmp_path / "zero").write_text("0\n")
    body = ASK + FILTERED.format(call="sched_setscheduler") + "ask('ROUND_ROBIN')"
    mount = f"mount --bind {tmp_path}/zero /proc/sys/kernel/sched_rt_runtime_us && exec "
    command = ["unshare", "--mount", "sh", "-c", mount + '"$0" -c "$1"', sys.executable, body]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if "unshare failed" in done.stderr:
        pytest.skip(done.stderr)
    assert "SCHED_RR 10" in done.stdout, done.stderr
    assert "sched_rt_runtime_us is 0; write 950000" in done.stdout


# ---- Control groups ----


@pytest.fixture
def group(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A new group of version 1 below this one's own, in the hierarchy of a controller."""
    top = Path("/sys/fs/cgroup", request.param)
    if not (top / "tasks").exists():
        pytest.skip(f"version 1 of control groups has no {request.param} here")
    made = top / f"wrt-threads-{os.getpid()}"
    made.mkdir()
    yield made
    made.rmdir()


def asked_in(group: Path, body: str) -> str:
    """What a script says that is in a group."""
    enter = f"open({str(group / 'cgroup.procs')!r}, 'w').write(str(__import__('os').getpid()))\n"
    done = subprocess.run(
        [sys.executable, "-c", enter + ASK + body], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout


@root
@pytest.mark.parametrize("group", ["cpu"], indirect=True)
def test_control_group_without_real_time_is_named(group: Path) -> None:
    if not (group / "cpu.rt_runtime_us").exists():
        pytest.skip("this kernel has no CONFIG_RT_GROUP_SCHED: groups need no budget")
    assert (group / "cpu.rt_runtime_us").read_text() == "0\n"
    said = asked_in(group, "ask('ROUND_ROBIN')")
    assert said.startswith("PermissionDeniedError"), said
    assert "no real-time budget" in said and "cpu.rt_runtime_us" in said
    (group / "cpu.rt_runtime_us").write_text("10000")  # the remedy
    assert asked_in(group, "ask('ROUND_ROBIN')") == "given\n"


@root
@pytest.mark.parametrize("group", ["cpuset"], indirect=True)
def test_cpu_outside_of_the_cpuset_is_named(group: Path) -> None:
    inside, *outside = sorted(os.sched_getaffinity(0))
    if not outside:
        pytest.skip("there is one CPU only")
    (group / "cpuset.mems").write_text((group.parent / "cpuset.mems").read_text())
    (group / "cpuset.cpus").write_text(str(inside))
    said = asked_in(group, f"ask('FIFO', 1, ThreadPriority.NORMAL, [{outside[0]}])")
    assert said.startswith("InvalidArgumentError"), said
    assert f"CPU {outside[0]}, the first of" in said and "cpuset.effective_cpus" in said
    both = f"ask('FIFO', 1, ThreadPriority.NORMAL, [{inside}, {outside[0]}])"
    assert asked_in(group, both) == "given\n"


def test_cpu_that_the_system_lacks_is_named() -> None:
    present = Path("/sys/devices/system/cpu/present").read_text()
    beyond = max(int(number) for number in re.findall(r"\d+", present)) + 1
    (said,) = asked(f"ask('FIFO', 1, ThreadPriority.NORMAL, [{beyond}])")
    assert f"the first one is CPU {beyond}, and the system has {os.cpu_count()}" in said


@pytest.mark.vm
def test_cpuset_and_switched_off_cpu_of_another_kernel_are_named() -> None:
    group = Path("/sys/fs/cgroup/wrt-cpuset")
    switch = Path("/sys/devices/system/cpu/cpu1/online")
    Path("/sys/fs/cgroup/cgroup.subtree_control").write_text("+cpuset")
    group.mkdir()
    try:
        (group / "cpuset.cpus").write_text("0")
        said = asked_in(group, "ask('FIFO', 1, ThreadPriority.NORMAL, [1])")
        assert "CPU 1, the first of" in said and "cpuset.cpus.effective" in said
        switch.write_text("0")
        (said,) = asked("ask('FIFO', 1, ThreadPriority.NORMAL, [1])")
        assert "CPU 1, the first of them, is switched off" in said
    finally:
        switch.write_text("1")
        group.rmdir()
