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

import subprocess
import tempfile
from pathlib import Path
from typing import Any

from contest import build_peer, row, shortest
from crates import ROOT

ROUNDS = 7
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
        times = shortest(ROUNDS, [build_ours(Path(folder))], [build_peer("array_queue")])
    singly, empty = times["one"], times["empty"]
    one_by_one = f"{ARRAY_QUEUE}, one by one"
    return [
        row("SPSC ring, one by one (ns)", times["ring_one"], singly, ARRAY_QUEUE, goal=RING_GOAL),
        row("SPSC ring, in 16s (ns)", times["ring_batches"], singly, one_by_one, RING_GOAL),
        row("SPSC ring, get when empty (ns)", times["ring_empty"], empty, ARRAY_QUEUE),
        row("for comparison: two calls that copy 8 B (ns)", times["calls"]),
        row(
            "MPMC queue, one by one (ns)", times["queue_one"], singly, ARRAY_QUEUE, goal=QUEUE_GOAL
        ),
        row(
            "MPMC queue, one by one, inlined (ns)",
            times["queue_inlined"],
            singly,
            ARRAY_QUEUE,
            goal=QUEUE_GOAL,
        ),
        row("MPMC queue, in 16s (ns)", times["queue_batches"], singly, one_by_one, QUEUE_GOAL),
        row("MPMC queue, get when empty (ns)", times["queue_empty"], empty, ARRAY_QUEUE),
        row("for comparison: two atomic exchanges (ns)", times["exchanges"]),
        row("index stack, pop and push (ns)", times["stack"]),
        row("seqlock, read of 32 B (ns)", times["seqlock_read"]),
        row("triple buffer, put and get of 32 B (ns)", times["triple_buffer"]),
    ]


def build_ours(folder: Path) -> Path:
    program = folder / "lockfree"
    includes = [f"-I{ROOT}/c/include", f"-I{ROOT}/c/src/core"]
    command: list[str | Path] = ["cc", "-std=gnu11", "-O2", *includes, "-o", program, *SOURCES]
    subprocess.run(command, check=True)
    return program
