"""Locks and hand-overs of Linux beside the C library's and parking_lot's.

All programs take turns, so that a busy moment of the machine hits each; of all rounds the shortest
time counts. Ours and the C library's are called across the C interface; parking_lot is inlined. A
hand-over between threads that sleep is timed on one CPU, where no other has to be woken; what it
takes to wake one is in the row that spinning is compared with.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from contest import build_peer, row, shortest
from crates import ROOT

ROUNDS = 3
CORE = ("cancel", "config", "lock", "owned_lock", "slices", "status", "sync")
LINUX = ("fork", "mutex", "port", "sys", "sys_futex", "sys_threads")
SOURCES = [
    ROOT / "bench/sync.c",
    *(ROOT / f"c/src/core/{name}.c" for name in CORE),
    *(ROOT / f"c/src/linux/{name}.c" for name in LINUX),
    *sorted((ROOT / "c/src/linux").glob("sync_*.c")),
]


def rows() -> list[dict[str, Any]]:
    """Nanoseconds a lock and unlock, or a hand-over."""
    with tempfile.TemporaryDirectory() as folder:
        times = shortest(ROUNDS, [build_ours(Path(folder))], [build_peer("parking_lot")])
    return [
        row("mutex (ns)", times["mutex"], times["pthread"], "pthread mutex", 0.90),
        row("mutex (ns)", times["mutex"], times["parking_lot"], "parking_lot 0.12.3", 1.02),
        row(
            "mutex with inheritance (ns)",
            times["inheriting"],
            times["pthread_inheriting"],
            "pthread mutex with inheritance",
            0.80,
        ),
        row(
            "hand-over of a futex, one CPU (ns)",
            times["parking"],
            times["condition"],
            "pthread condition",
            0.75,
        ),
        row(
            "hand-over with spinning, two CPUs (ns)",
            times["spinning"],
            times["parking_apart"],
            "the same without spinning",
            0.02 if os.cpu_count() != 1 else None,
        ),
    ]


def build_ours(folder: Path) -> Path:
    program = folder / "sync"
    command: list[str | Path] = ["cc", "-std=gnu11", "-O2", "-pthread", f"-I{ROOT}/c/include"]
    subprocess.run([*command, "-o", program, *SOURCES], check=True)
    return program
