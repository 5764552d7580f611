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

from crates import ROOT, FetchError, find_tool

ROUNDS = 3
PEER = ROOT / "bench/peers/parking_lot"
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
        times = shortest(build_ours(Path(folder)), build_peer())
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


def row(name: str, ours: float, peer: float, peer_name: str, goal: float | None) -> dict[str, Any]:
    values = (name, ours, peer, peer_name, ours / peer, goal)
    return dict(zip(("name", "ours", "peer", "peer_name", "ratio", "goal"), values))


def build_ours(folder: Path) -> Path:
    program = folder / "sync"
    command: list[str | Path] = ["cc", "-std=gnu11", "-O2", "-pthread", f"-I{ROOT}/c/include"]
    subprocess.run([*command, "-o", program, *SOURCES], check=True)
    return program


def build_peer() -> Path:
    """Raises FetchError where there is no cargo, or nothing to fetch the peer from."""
    target = ROOT / "build/peers"
    command = [find_tool("cargo"), "build", "--quiet", "--release", "--locked"]
    environment = {**os.environ, "CARGO_TARGET_DIR": str(target)}
    done = subprocess.run(command, cwd=PEER, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise FetchError(f"cargo could not build {PEER.name}: {done.stderr.strip()}")
    return target / "release/parking-lot-bench"


def shortest(*programs: Path) -> dict[str, float]:
    best: dict[str, float] = {}
    for _ in range(ROUNDS):
        for program in programs:
            done = subprocess.run([program], stdout=subprocess.PIPE, text=True, check=True)
            for line in done.stdout.splitlines():
                name, time = line.split()
                best[name] = min(best.get(name, float(time)), float(time))
    return best
