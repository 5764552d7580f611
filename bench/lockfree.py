"""The lock-free structures beside crossbeam's ArrayQueue, a queue of many producers and consumers.

Both programs take turns, so that a busy moment of the machine hits both; of all rounds the shortest
time counts. All of it runs in one thread: what two threads take from one another depends on where
the system puts them more than on the queue. Ours is called across the C interface; ArrayQueue is
inlined, and knows no batches. Two atomic exchanges are nearly all that a put and a get of either
queue cost: singly they can't differ by much. Two calls that only copy the element take as long as
the ring's goal allows for all. The goals stand for both all the same: singly, where they are
missed, and in batches, which meet them.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from crates import ROOT, FetchError, find_tool

ROUNDS = 7
PEER = ROOT / "bench/peers/array_queue"
SOURCES = [
    ROOT / "bench/lockfree.c",
    *sorted(ROOT.glob("c/src/core/lockfree_*.c")),
    *(ROOT / f"c/src/{name}.c" for name in ("core/config", "core/status", "linux/port")),
]
RING_GOAL = 0.10
QUEUE_GOAL = 0.95
ARRAY_QUEUE = "crossbeam 0.8.4 ArrayQueue"


def rows() -> list[dict[str, Any]]:
    """Nanoseconds an element, put and got."""
    with tempfile.TemporaryDirectory() as folder:
        times = shortest(build_ours(Path(folder)), build_peer())
    singly, empty = times["one"], times["empty"]
    one_by_one = f"{ARRAY_QUEUE}, one by one"
    return [
        row("SPSC ring, one by one (ns)", times["ring_one"], singly, goal=RING_GOAL),
        row("SPSC ring, in 16s (ns)", times["ring_batches"], singly, one_by_one, RING_GOAL),
        row("SPSC ring, get when empty (ns)", times["ring_empty"], empty),
        row("for comparison: two calls that copy 8 B (ns)", times["calls"]),
        row("MPMC queue, one by one (ns)", times["queue_one"], singly, goal=QUEUE_GOAL),
        row(
            "MPMC queue, one by one, inlined (ns)", times["queue_inlined"], singly, goal=QUEUE_GOAL
        ),
        row("MPMC queue, in 16s (ns)", times["queue_batches"], singly, one_by_one, QUEUE_GOAL),
        row("MPMC queue, get when empty (ns)", times["queue_empty"], empty),
        row("for comparison: two atomic exchanges (ns)", times["exchanges"]),
        row("index stack, pop and push (ns)", times["stack"]),
        row("seqlock, read of 32 B (ns)", times["seqlock_read"]),
        row("triple buffer, put and get of 32 B (ns)", times["triple_buffer"]),
    ]


def row(
    name: str,
    ours: float,
    peer: float | None = None,
    peer_name: str | None = ARRAY_QUEUE,
    goal: float | None = None,
) -> dict[str, Any]:
    ratio = None if peer is None else ours / peer
    values = (name, ours, peer, peer_name if peer else None, ratio, goal)
    return dict(zip(("name", "ours", "peer", "peer_name", "ratio", "goal"), values))


def build_ours(folder: Path) -> Path:
    program = folder / "lockfree"
    includes = [f"-I{ROOT}/c/include", f"-I{ROOT}/c/src/core"]
    command: list[str | Path] = ["cc", "-std=gnu11", "-O2", *includes, "-o", program, *SOURCES]
    subprocess.run(command, check=True)
    return program


def build_peer() -> Path:
    """Raises FetchError where there is no cargo, or nothing to fetch the peer from."""
    target = ROOT / "build/peers"
    command = [find_tool("cargo"), "build", "--quiet", "--release", "--locked"]
    environment = {**os.environ, "CARGO_TARGET_DIR": str(target)}
    done = subprocess.run(command, cwd=PEER, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise FetchError(f"cargo could not build {PEER.name}: {done.stderr.strip()}")
    return target / "release/array-queue-bench"


def shortest(*programs: Path) -> dict[str, float]:
    best: dict[str, float] = {}
    for _ in range(ROUNDS):
        for program in programs:
            done = subprocess.run([program], stdout=subprocess.PIPE, text=True, check=True)
            for line in done.stdout.splitlines():
                name, time = line.split()
                best[name] = min(best.get(name, float(time)), float(time))
    return best
