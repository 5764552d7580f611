"""Kept slots, cold memories and growth, beside the bare system calls; an image that is copied on
write, beside mmap and a copy.

The times come from slot_pools.c, which interleaves all of them in one process.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Any

from crates import ROOT

ROWS = (
    ("life of 64 KiB, cold (ns)", "cold", "bare", "mmap, touch, munmap", 1.15),
    ("life of 64 KiB, kept slot, 4 KiB written (ns)", "warm", "bare", "mmap, touch, munmap", 0.03),
    (
        "life of 64 KiB, kept slot, all written (ns)",
        "warm-full",
        "bare",
        "mmap, touch, munmap",
        None,
    ),
    ("image of 1 MiB, 16 KiB written (ns)", "shared-image", "copied-image", "mmap, copy", 1 / 20),
    ("grow a slot by 64 KiB (ns)", "grow", "bare-grow", "mprotect", 1.1),
)


def rows() -> list[dict[str, Any]]:
    """Nanoseconds, each the shortest of many rounds."""
    times = measure()
    return [
        {
            "name": name,
            "ours": times[ours],
            "peer": times[peer],
            "peer_name": peer_name,
            "ratio": times[ours] / times[peer],
            "goal": goal,
        }
        for name, ours, peer, peer_name, goal in ROWS
    ]


def measure() -> dict[str, float]:
    sources = [ROOT / "bench/slot_pools.c"]
    sources += [*sorted(ROOT.glob("c/src/core/*.c")), *sorted(ROOT.glob("c/src/linux/*.c"))]
    flags = ["-std=gnu11", "-O2", "-ffunction-sections", "-fdata-sections", f"-I{ROOT}/c/include"]
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "slot_pools"
        link = ["-Wl,--gc-sections", "-pthread"]
        command: list[str | Path] = ["cc", *flags, "-o", program, *sources, *link]
        subprocess.run(command, check=True)
        done = subprocess.run([program], stdout=subprocess.PIPE, text=True, check=True)
    lines = (line.split() for line in done.stdout.splitlines())
    return {name: float(time) for name, time in lines}
