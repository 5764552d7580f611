"""Watchdogs over real threads and real guests: hangs in loops and in host functions, watches that
come and go, and every way for a process to leave."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from common import run
from exits import expect_exit
from patience import wait_until
from sanitized import build_with_threads, sees_a_race
from support.guest import Guest, assemble, must, new_config
from wrt_platform._native import ffi, lib
from wrt_platform.errors import (
    InterruptedCallError,
    InvalidArgumentError,
    StateError,
    TimedOutError,
)
from wrt_platform.events import EventKind
from wrt_platform.instance import Instance
from wrt_platform.limits import Limits
from wrt_platform.system_below import WAIT_FOR_EVER, system_interface
from wrt_platform.watchdog import (
    SoftwareWatchdog,
    WatchBuilder,
    WatchdogConfig,
    WatchFeed,
    WatchKill,
)

LOOP = '(module (func (export "spin") (loop (br 0))))'
EXPIRED, KILLED = int(EventKind.WATCHDOG_EXPIRED), int(EventKind.WATCHDOG_KILLED)


@pytest.fixture
def watchdog() -> Iterator[SoftwareWatchdog]:
    with SoftwareWatchdog(WatchdogConfig("100ms", 0.02)) as running:
        yield running


@pytest.mark.row("WD-1")
def test_documents_example(watchdog: SoftwareWatchdog) -> None:
    handle = watchdog.watch_wasm_execution("critical_module", timedelta(milliseconds=600))
    for _ in range(30):
        handle.heartbeat()
        time.sleep(0.005)
    assert watchdog.report.hangs == 0 and not handle.is_hung
    hang = time.monotonic_ns()
    event = watchdog.events.next(10)
    assert (event.kind, event.source) == (EventKind.WATCHDOG_EXPIRED, handle.source)
    assert event.time_ns - hang > 600_000_000 - 100_000_000  # the last sleep counts
    assert (handle.is_hung, handle.name) == (True, "critical_module")
    handle.heartbeat()
    wait_until(lambda: not handle.is_hung)
    handle.end()
    handle.end()
    with pytest.raises(StateError, match="ended"):
        handle.heartbeat()


@pytest.mark.row("WD-1")
def test_guest_in_an_endless_loop_is_stopped_and_the_events_say_so(
    watchdog: SoftwareWatchdog,
) -> None:
    instance = Instance(assemble(LOOP))
    begin = time.monotonic()
    with watchdog.watch_wasm_execution("loop", instance=instance, auto_kill=True) as handle:
        with pytest.raises(InterruptedCallError):
            instance.call("spin")
        assert 0.1 < time.monotonic() - begin < 5
        events = [watchdog.events.next(1) for _ in range(2)]
        assert [(event.kind, event.source) for event in events] == [
            (EventKind.WATCHDOG_EXPIRED, handle.source),
            (EventKind.WATCHDOG_KILLED, handle.source),
        ]
        assert handle.report.kill_count == 1
    assert watchdog.report[:4] == (0, 0, 1, 1)


@pytest.mark.row("WD-1")
@pytest.mark.parametrize(("default", "own"), [(True, False), (False, None), (False, False)])
def test_without_auto_kill_a_hang_is_only_told(default: bool, own: bool | None) -> None:
    with SoftwareWatchdog(WatchdogConfig(0.04, 0.02, default)) as watchdog:
        instance = Instance(assemble(LOOP), limits=Limits(timeout=0.3))
        watch = watchdog.watch_wasm_execution("loop", instance=instance, auto_kill=own)
        with watch, pytest.raises(TimedOutError):
            instance.call("spin")
        assert watchdog.report[2:4] == (1, 0)


@pytest.mark.row("WD-1")
def test_guest_whose_engine_beats_for_it_is_never_touched(watchdog: SoftwareWatchdog) -> None:
    instance = Instance(assemble(LOOP), limits=Limits(timeout=1.5))
    watch = watchdog.watch_wasm_execution(
        "busy", 0.7, instance=instance, feed=WatchFeed.ENGINE, auto_kill=True
    )
    with watch, pytest.raises(TimedOutError):  # by its own time-out, not by the watchdog
        instance.call("spin")
    assert watchdog.report.hangs == 0


HANGS_IN_HOST = """(module (import "host" "sleep" (func $sleep))
  (func (export "run") (call $sleep)))"""


@pytest.mark.row("WD-1")
def test_guest_that_hangs_in_a_host_function_is_stopped(watchdog: SoftwareWatchdog) -> None:
    """The host function waits for ever, with the instance's cancel token; the engine feeds."""
    system = ffi.new("wrt_thread_system *", system_interface())

    def sleep(caller: Any, values: Any) -> int:
        token = lib.wrt_instance_cancel_token(caller)
        status = lib.wrt_cancel_wait(token, system, WAIT_FOR_EVER)
        return lib.WRT_ERR_PENDING if status == lib.WRT_ERR_INTERRUPTED else status

    guest = Guest(HANGS_IN_HOST, {("host", "sleep"): (sleep, [], [])})
    config = new_config("wrt_watch_config", instance=guest.raw, source=3)
    config.feed, config.auto_kill = lib.WRT_WATCH_FEED_ENGINE, lib.WRT_WATCH_KILL_ON
    watch = ffi.new("wrt_watch *")
    must(lib.wrt_watchdog_watch(watchdog._raw, config, watch))
    assert guest.call("run", results=0)[0] == lib.WRT_ERR_INTERRUPTED
    must(lib.wrt_watch_end(watch))
    assert [watchdog.events.next(1).kind for _ in range(2)] == [EXPIRED, KILLED]
    assert watchdog.events.usage.waiting == 0
    lib.wrt_instance_clear_interrupt(guest.raw)
    must(lib.wrt_instance_abort(guest.raw))
    guest.close()


@pytest.mark.row("WD-1")
def test_idle_instance_is_interrupted_at_its_next_call(watchdog: SoftwareWatchdog) -> None:
    """It is what the header says, and why a watch belongs round a call."""
    guest = Guest(LOOP)
    config = new_config("wrt_watch_config", instance=guest.raw)
    config.auto_kill = lib.WRT_WATCH_KILL_ON
    watch = ffi.new("wrt_watch *")
    must(lib.wrt_watchdog_watch(watchdog._raw, config, watch))
    wait_until(lambda: watchdog.report.kills == 1)
    assert guest.call("spin", results=0)[0] == lib.WRT_ERR_INTERRUPTED
    must(lib.wrt_watch_end(watch))


@pytest.mark.row("WD-1")
def test_handle_that_is_dropped_while_it_hangs_ends_its_watch(watchdog: SoftwareWatchdog) -> None:
    handle = watchdog.watch_wasm_execution("dropped", 0.02)
    wait_until(lambda: watchdog.report.hung_count == 1)
    del handle
    gc.collect()
    assert watchdog.report[:2] == (0, 0)
    other = watchdog.watch_wasm_execution("other", 0.02)
    wait_until(lambda: other.is_hung)


@pytest.mark.row("WD-1")
def test_start_stop_and_close_in_and_out_of_order() -> None:
    watchdog = SoftwareWatchdog(WatchdogConfig().with_check_interval(0.01))
    watchdog.stop()
    watchdog.start()
    with pytest.raises(StateError, match="the monitor thread runs"):
        watchdog.start()
    with pytest.raises(StateError, match=r"call wrt_watchdog_stop\(\) first"):
        watchdog.close()
    stopper = threading.Thread(target=watchdog.stop)
    stopper.start()
    stopper.join(5)
    assert not watchdog.report.is_running
    handle = watchdog.watch_wasm_execution("still out")
    with pytest.raises(StateError, match="1 watches are out"):
        watchdog.close()
    handle.end()
    watchdog.start()
    watchdog.stop(5)
    watchdog.close()
    watchdog.close()
    with pytest.raises(StateError, match="not initialised"):
        watchdog.start()


@pytest.mark.row("WD-1")
def test_watches_begin_and_end_while_the_monitor_checks() -> None:
    """From several threads, with a check as often as one can be made."""
    with SoftwareWatchdog(WatchdogConfig(60, "50us")) as watchdog:

        def work() -> None:
            for _ in range(200):
                with watchdog.watch_wasm_execution("short") as handle:
                    handle.heartbeat()

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert watchdog.report.checks > 0
        assert watchdog.report[:4] == (0, 0, 0, 0)


@pytest.mark.row("WD-1")
def test_builder_of_watches_sets_all() -> None:
    watchdog = SoftwareWatchdog()
    instance = Instance(assemble(LOOP))
    handle = (
        WatchBuilder().with_name("x" * 40).with_timeout("2s").with_source(77)
        .with_instance(instance).with_feed(WatchFeed.ENGINE).with_auto_kill(WatchKill.ON)
        .build(watchdog)
    )  # fmt: skip
    assert handle.report == (77, 2_000_000_000, 0, 0, 0, False)
    assert handle.name == "x" * 31
    with pytest.raises(InvalidArgumentError, match="timeout is -1"):
        watchdog.watch_wasm_execution("bad", -1)
    with pytest.raises(InvalidArgumentError, match="no instance"):
        WatchBuilder().with_auto_kill(WatchKill.ON).build(watchdog)


def test_sources_of_watches_differ_unless_they_are_set() -> None:
    watchdog = SoftwareWatchdog()
    handles = [watchdog.watch_wasm_execution("same") for _ in range(10)]
    assert len({handle.source for handle in handles}) == 10


# Processes of their own: one that is stopped, and every way to leave.

STOPPED = """
import os, signal, subprocess, sys, threading, time
from wrt_platform.watchdog import *
watchdog = SoftwareWatchdog(WatchdogConfig(0.4, 0.4))
watchdog.start()
handle = watchdog.watch_wasm_execution("healthy")
stop = "sleep 1; kill -STOP $0; sleep 1.2; kill -CONT $0;"
child = subprocess.Popen(["sh", "-c", 2 * stop, str(os.getpid())])
while child.poll() is None:
    handle.heartbeat()
    time.sleep(0.02)
report = watchdog.report
print(report.hangs, report.late_checks >= 2)
"""


@pytest.mark.row("WD-1")
def test_process_that_was_stopped_has_no_hangs() -> None:
    done = subprocess.run(
        [sys.executable, "-c", STOPPED], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "0 True\n", done.stderr


PRELUDE = """
import os, signal, sys, threading, time
from wrt_platform.watchdog import *
watchdog = SoftwareWatchdog(WatchdogConfig(0.01, 0.005))
watchdog.start()
handle = watchdog.watch_wasm_execution("work")
def hang():
    while not handle.is_hung:
        time.sleep(0.002)
"""

WAYS = {
    "running": ("", 0),
    "hung": ("hang()", 0),
    "dropped while hung": ("hang(); del handle", 0),
    "watchdog dropped too": ("hang(); del handle, watchdog", 0),
    "events pending": ("[watchdog.events.post(1) for _ in range(60)]; hang()", 0),
    "listener": ("watchdog.events.listen(print); hang()", 0),
    "stopped": ("watchdog.stop(); handle.end(); watchdog.close()", 0),
    "sys.exit": ("hang(); sys.exit(3)", 3),
    "exception": ("hang(); raise ValueError", 1),
    "os._exit": ("hang(); os._exit(4)", 4),
    "SIGTERM": ("hang(); os.kill(os.getpid(), signal.SIGTERM); time.sleep(9)", -signal.SIGTERM),
    "thread that goes on": (
        "threading.Thread(target=lambda: [handle.heartbeat() or time.sleep(0.01) "
        "for _ in range(20)]).start()",
        0,
    ),
    "forked child": (
        "hang(); child = os.fork(); sys.exit(5) if child == 0 else None; "
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))",
        5,
    ),
    "forked child with its own": (
        "child = os.fork(); watchdog = child or SoftwareWatchdog(); "
        "child or watchdog.start(); child or sys.exit(6); "
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))",
        6,
    ),
}


@pytest.mark.row("WD-1")
@pytest.mark.parametrize("way", WAYS)
def test_exit_never_hangs(way: str) -> None:
    program, code = WAYS[way]
    expect_exit(PRELUDE + program, code, raises=way == "exception")


@pytest.mark.row("WD-1")
def test_abandoned_watchdog_ends_its_thread() -> None:
    watchdog = SoftwareWatchdog(WatchdogConfig(check_interval=0.01))
    watchdog.start()
    raw = watchdog._raw
    del watchdog
    gc.collect()

    assert raw.monitor.stopping == 1 or raw.self == ffi.NULL  # it was told, or has ended already
    wait_until(lambda: lib.wrt_watchdog_stop(raw, 0) != lib.WRT_ERR_TIMED_OUT)
    assert raw.monitor.phase == 0


@pytest.mark.whole_process  # another sanitizer's run time would be in its programs
@pytest.mark.row("WD-1")
def test_sanitizer_finds_no_race(tmp_path: Path) -> None:
    """Threads that watch, beat, hang and stop under a monitor in a hurry; the same program with a
    second writer of one heartbeat counter that does without the library is caught."""
    program = tmp_path / "watchdog"
    core = ("events", "repeating_thread", "watchdog", "watchdog_monitor")
    build_with_threads(program, "watchdog_stress", core)
    assert run(program).splitlines()[-1] == "watches 0 hangs as reported"
    assert sees_a_race(program, "racing")
