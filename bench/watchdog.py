"""What heartbeats cost: one by a call, beside an empty loop and an atomic addition; and a tight
loop of a guest that is watched with the engine's heartbeats, beside the same loop unwatched.

Measurements that are compared run in turn, and of several rounds the least counts.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from contest import row
from crates import ROOT
from wrt_platform.instance import Instance
from wrt_platform.wat import assemble
from wrt_platform.watchdog import SoftwareWatchdog, WatchdogConfig, WatchFeed

ROUNDS = 25
WATCHED_GOAL = 1.01  # of the time without
SOURCES = ["bench/watchdog.c", "c/src/linux/port.c"]
CORE = ("cancel", "config", "events", "slices", "status", "watchdog")

# Counts down from its argument: three instructions and a jump back.
LOOP = """(module (func (export "spin") (param i32)
  (loop (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))))"""
STEPS = 5_000_000


def rows() -> list[dict[str, Any]]:
    """Nanoseconds of a heartbeat, and milliseconds of the guest's loop."""
    times = heartbeat_times()
    watched, alone = loop_times()
    cost = times["heartbeat"] - times["empty"]
    name = "Guest's loop, watched by the engine's heartbeats (ms)"
    return [
        row("Heartbeat, beyond an empty loop (ns)", cost, times["addition"], "atomic addition", 1),
        row(name, watched * 1e3, alone * 1e3, "not watched", WATCHED_GOAL),
    ]


def heartbeat_times() -> dict[str, float]:
    """Nanoseconds of a step of each loop, as watchdog.c prints them."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "watchdog")
        library = ["-O2", "-ffunction-sections", "-Wl,--gc-sections", f"-I{ROOT / 'c/include'}"]
        sources = [ROOT / source for source in SOURCES]
        sources += [ROOT / f"c/src/core/{name}.c" for name in CORE]
        subprocess.run(["cc", "-std=gnu11", *library, *sources, "-o", program], check=True)
        printed = subprocess.run([program], stdout=subprocess.PIPE, text=True, check=True).stdout
    return {name: float(time) for name, time in map(str.split, printed.splitlines())}


def loop_times() -> tuple[float, float]:
    """Seconds of the loop, watched and not."""
    instance = Instance(assemble(LOOP))
    watched, alone = [], []
    with SoftwareWatchdog(WatchdogConfig(60, 0.1)) as watchdog:
        for _ in range(ROUNDS):
            alone.append(spin(instance))
            with watchdog.watch_wasm_execution("loop", instance=instance, feed=WatchFeed.ENGINE):
                watched.append(spin(instance))
    return min(watched), min(alone)


def spin(instance: Instance) -> float:
    begin = time.perf_counter()
    instance.call("spin", STEPS)
    return time.perf_counter() - begin
