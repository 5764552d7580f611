"""The cgroup wall of confined programs, in a kernel that has every controller: what its limits do
inside is told by the group's own files, and how the program ended reaches the parent each time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from wrt_platform.enforcement import EnforcementState
from wrt_platform.errors import WrtError
from wrt_platform.linux.cgroups import Cgroup, CgroupBuilder, ResourceLimits
from wrt_platform.linux.confined_process import (
    ConfinedEnd,
    ConfinedOutcome,
    ConfinedProcessBuilder,
    ConfinedResult,
    ConfinedWall,
)

pytestmark = [pytest.mark.vm, pytest.mark.row("SC-5")]

PYTHON = "/usr/bin/python3"
MIB = 1 << 20
HUNGRY = "memory = bytearray(96 << 20); memory[::4096] = b'x' * len(memory[::4096]); print('had')"
# The filter of such a program lets it have threads, and no processes: both count.
THREADS = """
import threading
go = threading.Event()
made = 0
try:
    for _ in range(8):
        threading.Thread(target=go.wait, daemon=True).start()
        made += 1
    print(made)
except RuntimeError as error:
    print(made, error)
go.set()
"""
SPIN = """
import time
end = time.monotonic() + 1.5
while time.monotonic() < end: pass
print(time.process_time())
"""


@pytest.fixture
def group() -> Iterator[Cgroup]:
    with CgroupBuilder("wrt-confined").build() as made:
        yield made


def confined(group: Cgroup, code: str, timeout: float = 60) -> ConfinedOutcome:
    folder = os.open(group.path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        builder = ConfinedProcessBuilder(PYTHON).with_arguments([PYTHON, "-S", "-I", "-c", code])
        return builder.with_system_files().with_cgroup(folder).run(timeout=timeout)
    finally:
        os.close(folder)


def event(group: Cgroup, file: str, key: str) -> int:
    lines = Path(group.path, file).read_text().splitlines()
    return dict((name, int(number)) for name, number in map(str.split, lines))[key]


def test_memory_beyond_the_groups_kills_the_program_alone(group: Cgroup) -> None:
    assert confined(group, HUNGRY).output == b"had\n"  # without a limit
    group.set_limits(ResourceLimits(memory_max=48 * MIB, memory_swap_max=0))
    done = confined(group, HUNGRY)
    assert done.report.cgroup.state == EnforcementState.ENFORCED
    assert done.result == ConfinedResult(ConfinedEnd.SIGNALLED, signal.SIGKILL)
    assert not done.result.ok and done.output == b"" and not done.timed_out
    assert event(group, "memory.events", "oom_kill") == 1 == group.get_stats().oom_kills
    assert confined(group, "print('next')").output == b"next\n"


def test_threads_beyond_the_groups_are_refused_to_the_program(group: Cgroup) -> None:
    assert confined(group, THREADS).output == b"8\n"
    group.set_limits(ResourceLimits(pids_max=4))
    done = confined(group, THREADS)
    assert done.result.ok
    assert done.output == b"3 can't start new thread\n"  # the first thread counts
    assert event(group, "pids.events", "max") == 1 == group.get_stats().pids_max_events


def test_processor_time_beyond_the_groups_is_not_had(group: Cgroup) -> None:
    free = float(confined(group, SPIN).output)
    group.set_limits(ResourceLimits(cpu_max=(20_000, 100_000)))
    done = confined(group, SPIN)
    assert done.result.ok
    assert float(done.output) < 0.6 * free
    stats = group.get_stats()
    assert event(group, "cpu.stat", "nr_throttled") == stats.cpu_throttled > 3


def test_group_that_is_killed_is_told_as_a_signal(group: Cgroup) -> None:
    folder = os.open(group.path, os.O_RDONLY | os.O_DIRECTORY)
    builder = ConfinedProcessBuilder("/usr/bin/sleep").with_arguments(["sleep", "60"])
    with builder.with_system_files().with_cgroup(folder).start() as process:
        os.close(folder)
        assert str(process.pid) in Path(group.path, "cgroup.procs").read_text().split()
        group.kill()
        assert process.wait(10) == ConfinedResult(ConfinedEnd.SIGNALLED, signal.SIGKILL)


LOST = """
import os, signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
from wrt_platform.linux.confined_process import *
folder = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECTORY)
for code in (sys.argv[2], "print('well')"):
    done = (ConfinedProcessBuilder("/usr/bin/python3").with_system_files().with_cgroup(folder)
            .with_arguments(["python3", "-S", "-I", "-c", code]).run(timeout=60))
    print(done.end.name, done.result.ok, done.output)
"""


def test_status_that_the_kernel_threw_away_is_never_a_success(group: Cgroup) -> None:
    """Nobody can have it before Linux 6.15; from then on it is asked for another way."""
    group.set_limits(ResourceLimits(memory_max=48 * MIB, memory_swap_max=0))
    done = subprocess.run(
        [sys.executable, "-c", LOST, group.path, HUNGRY], capture_output=True, text=True
    )
    killed, well = done.stdout.splitlines()
    assert killed in ("UNKNOWN False b''", "SIGNALLED False b''"), done.stderr
    assert well.endswith("b'well\\n'") and well.startswith(("UNKNOWN False", "EXITED True"))


def test_group_that_is_gone_is_no_wall(group: Cgroup) -> None:
    """Required, since it was given: nothing starts. Preferred: the report says it is absent."""
    with CgroupBuilder("wrt-gone").build() as gone:
        folder = os.open(gone.path, os.O_RDONLY | os.O_DIRECTORY)
    builder = ConfinedProcessBuilder("/usr/bin/true").with_system_files().with_cgroup(folder)
    try:
        with pytest.raises(WrtError, match="group"):
            builder.start()
        outcome = builder.with_cgroup_wall(ConfinedWall.PREFERRED).run(timeout=30)
        assert outcome.result.ok
        assert outcome.report.cgroup.state == EnforcementState.ABSENT
        assert outcome.report.cgroup.reason
    finally:
        os.close(folder)
