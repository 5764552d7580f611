"""From the interrupt of a guest in a loop to the return of its call, on another thread."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Any

from crates import ROOT

GOAL_US = 10.0
FOLDERS = ("core", "engine", "linux")


def rows() -> list[dict[str, Any]]:
    """Microseconds. The goal is about the median: at times the machine stops either thread."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "interrupt")
        sources = [path for name in FOLDERS for path in (ROOT / "c/src" / name).glob("*.c")]
        sources.append(ROOT / "bench/interrupt.c")
        flags = ["-std=gnu11", "-O2", f"-I{ROOT / 'c/include'}", "-pthread"]
        subprocess.run(["cc", *flags, *sources, "-o", program], check=True)
        printed = subprocess.run([program], stdout=subprocess.PIPE, text=True, check=True).stdout
    times = {name: int(value) / 1000 for name, value in map(str.split, printed.splitlines())}
    return [
        row("Interrupt to return, median (us)", times["median"], GOAL_US),
        row("Interrupt to return, 99th percentile (us)", times["99"], None),
    ]


def row(name: str, ours: float, goal: float | None) -> dict[str, Any]:
    """The goal is an absolute one: the ratio is that of a microsecond."""
    return dict(name=name, ours=ours, peer=1.0, peer_name="one microsecond", ratio=ours, goal=goal)
