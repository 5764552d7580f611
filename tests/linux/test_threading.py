"""What Linux itself says of threads that it was asked for, and what it does not let one have."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
from held_threads import Held
from wrt_platform import LinuxThreadSystemBuilder, ThreadBuilder, ThreadPriority
from wrt_platform.errors import StateError

pytestmark = pytest.mark.row("TH-1")


def test_linux_itself_shows_the_same() -> None:
    system = LinuxThreadSystemBuilder().with_realtime_priority(33).with_nice_step(7).build()
    seen = {}
    for priority in (ThreadPriority.LOW, ThreadPriority.REALTIME):
        held = Held(system, ThreadBuilder().with_priority(priority).with_name("shown"))
        number = held.thread.report.system_id
        with open(f"/proc/self/task/{number}/stat") as file:
            name, rest = file.read().split("(", 1)[1].rsplit(")", 1)
        fields = rest.split()
        seen[priority] = (name, int(fields[16]), int(fields[37]), int(fields[38]))
        held.end()
    system.close()
    base = os.getpriority(os.PRIO_PROCESS, 0)
    assert seen[ThreadPriority.LOW] == ("shown", min(base + 7, 19), 0, os.SCHED_OTHER)
    assert seen[ThreadPriority.REALTIME][2:] == (33, os.SCHED_FIFO)


def test_linux_does_not_describe_an_ended_thread() -> None:
    system = LinuxThreadSystemBuilder().build()
    thread = ThreadBuilder().with_entry(lambda: None).build(system)
    for _ in range(500):
        try:
            thread.report  # noqa: B018
        except StateError as error:
            assert "ended" in str(error)
            break
        time.sleep(0.01)
    else:
        raise AssertionError("it never ended")
    thread.join(5)
    system.close()


REFUSED = """
import resource
from wrt_platform import *
resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0))
resource.setrlimit(resource.RLIMIT_NICE, (0, 0))
import os
os.setuid(65534)
system = LinuxThreadSystemBuilder().build()
builder = ThreadBuilder().with_entry(lambda: None).with_priority(ThreadPriority.REALTIME)
try:
    builder.with_require_priority().build(system)
except PermissionDeniedError as error:
    print(error)
import threading
go = threading.Event()
builder = ThreadBuilder().with_entry(go.wait).with_priority(ThreadPriority.REALTIME)
thread = builder.build(system)
print(thread.report.priority.name)
go.set()
thread.join(5)
system.close()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="giving up permissions takes having them")
def test_realtime_without_permission_is_refused_or_steps_down() -> None:
    done = subprocess.run(
        [sys.executable, "-c", REFUSED], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    refused, priority = done.stdout.splitlines()
    assert "RLIMIT_RTPRIO is 0" in refused and "CAP_SYS_NICE" in refused
    assert priority == "NORMAL"
