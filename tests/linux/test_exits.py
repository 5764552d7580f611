"""Everything that watches or waits is alive when Python leaves: a watch on pressure, sandboxes
that run and that wait, a watchdog, workers with tasks, a listener. It leaves within seconds all the
same, with its own code, and takes the processes along that it has started.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.guest import assemble

pytestmark = [pytest.mark.row("EV-1"), pytest.mark.whole_process]

SPIN = assemble('(module (func (export "spin") (loop $again (br $again))))')

# Each line makes one thing and keeps it alive. What this machine lacks is said, and left out.
ALIVE = """
import asyncio, os, signal, sys, threading, time
from wrt_platform import *
from wrt_platform.errors import WrtError
from wrt_platform.linux.cgroups import CgroupBuilder
from wrt_platform.watchdog import WatchdogConfig
spin = bytes.fromhex(sys.argv[1])
pids = []

def children():
    found = []
    for task in os.listdir("/proc/self/task"):
        found += map(int, open(f"/proc/self/task/{task}/children").read().split())
    return found

def watches_pressure():
    global cgroup, watch
    cgroup = CgroupBuilder(f"wrt-exit-{os.getpid()}").build()
    watch = cgroup.on_memory_pressure(print)

def has_sandboxes():
    global pool, sandbox
    pool = SandboxPoolBuilder().with_ready(2).build()
    sandbox = SandboxBuilder().build()
    sandbox.load(spin)
    def call():
        try:
            sandbox.call("spin")
        except WrtError:
            pass
    threading.Thread(target=call, daemon=True).start()

def has_watchdog():
    global watchdog, handle
    watchdog = SoftwareWatchdog(WatchdogConfig(default_timeout=60, check_interval=0.01))
    watchdog.start()
    handle = watchdog.watch_wasm_execution("guest", 60)
    watchdog.events.listen(print)

def has_workers():
    global workers, tasks
    module = Module(spin)
    workers = LinuxThreadPool(ThreadPoolConfig(max_threads=2), {1: (module, "spin")})
    tasks = [workers.submit(WasmTask(id=n, function_id=1)) for n in range(4)]

def listens():
    global events
    events = EventsBuilder().build()
    events.listen(lambda event: time.sleep(0.01))
    for _ in range(8):
        events.post(1)

for make in (watches_pressure, has_sandboxes, has_watchdog, has_workers, listens):
    try:
        make()
    except (UnsupportedError, PermissionDeniedError, BusyError, NotFoundError) as error:
        print("without", make.__name__, error, file=sys.stderr)
time.sleep(0.1)
print("alive", *children(), flush=True)
"""

WAYS = {
    "end": ("", 0),
    "sys.exit": ("sys.exit(3)", 3),
    "exception": ("raise ValueError", 1),
    "sys.exit of a thread": ("threading.Thread(target=sys.exit, args=[3]).start()", 0),
    "os._exit": ("os._exit(4)", 4),
    "os._exit of a thread": (
        "threading.Thread(target=os._exit, args=[6]).start(); time.sleep(60)",
        6,
    ),
    "Ctrl-C": (
        "threading.Timer(0.1, os.kill, [os.getpid(), signal.SIGINT]).start(); time.sleep(60)",
        -signal.SIGINT,
    ),
    "Ctrl-C that is caught": (
        "threading.Timer(0.1, os.kill, [os.getpid(), signal.SIGINT]).start()\n"
        "try: time.sleep(60)\n"
        "except KeyboardInterrupt: sys.exit(7)",
        7,
    ),
    "Ctrl-C in a sandbox": (
        "threading.Timer(0.1, os.kill, [os.getpid(), signal.SIGINT]).start()\n"
        "other = SandboxBuilder().build(); other.load(spin); other.call('spin')",
        -signal.SIGINT,
    ),
    "SIGTERM": ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)", -signal.SIGTERM),
    "SIGKILL": ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
    "asyncio": ("asyncio.run(asyncio.sleep(0.05)); sys.exit(5)", 5),
}


def is_running(process: int) -> bool:
    """Whether it is there, and not only its status, which the new parent takes when it likes."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def groups_left(process: int) -> list[Path]:
    names = Path("/sys/fs/cgroup").glob(f"**/wrt-exit-{process}")
    return [path for path in names if path.is_dir()]


@pytest.mark.parametrize("way", WAYS)
def test_python_leaves_with_all_alive(way: str) -> None:
    program, code = WAYS[way]
    command = [sys.executable, "-c", ALIVE + program, SPIN.hex()]
    started = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert started.stdout is not None
        first = started.stdout.readline().split()
        begin = time.monotonic()
        _, errors = started.communicate(timeout=20)
        took = time.monotonic() - begin
    finally:
        if started.poll() is None:
            os.killpg(started.pid, signal.SIGKILL)
            started.wait()
        for group in groups_left(started.pid):
            group.rmdir()
    assert first and first[0] == "alive", errors
    assert started.returncode == code, errors
    assert "Fatal" not in errors and "Segmentation" not in errors
    if code == 0 or way in ("sys.exit", "os._exit", "asyncio"):
        assert "Traceback" not in errors, errors
    assert took < 10, "it hung"
    processes = [int(word) for word in first[1:]]
    if "has_sandboxes" not in errors:
        assert len(processes) == 3
    end = time.monotonic() + 5
    while any(map(is_running, processes)):
        assert time.monotonic() < end, "sandboxes outlive the process that made them"
        time.sleep(0.01)


CALLED = """
import sys, threading
from wrt_platform import *
from wrt_platform.watchdog import WatchdogConfig
seen = []
done = threading.Event()
def note(event):
    seen.append(threading.current_thread())
    done.set()
watchdog = SoftwareWatchdog(WatchdogConfig(default_timeout=0.02, check_interval=0.01))
watchdog.start()
handle = watchdog.watch_wasm_execution("silent", 0.02)
watchdog.events.listen(note)
assert done.wait(10)
print(type(seen[0]).__name__, seen[0] is threading.main_thread(), seen[0].daemon)
watchdog.close()
"""


def test_callbacks_run_on_pythons_own_threads() -> None:
    """A thread of the library's would be unknown to Python: a dummy."""
    done = subprocess.run(
        [sys.executable, "-c", CALLED], capture_output=True, text=True, timeout=30
    )
    assert done.stdout.split() == ["Thread", "False", "True"], done.stderr
