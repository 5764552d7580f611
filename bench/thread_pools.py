"""Thread pools of one worker: what a task costs in a stream of 50 000 and in a burst of 500, from
the first submit to the end of all, what the call that hands it over costs alone, while the worker
is held in another task, and there and back.

Peers are rayon (spawn from outside its pool, and install), the threadpool crate and libuv, which
has its default of four threads; from Python, concurrent.futures. Each task of each carries a
pointer to what it works on. The stream shows what goes through; ours and libuv's go round two rows
of tasks, so that at most 1000 wait, the crates' queues are not bounded. In a burst a worker that
sleeps wakes up only when most of it is submitted; its shortest rounds are those in which the two
threads never met, so of a program's rounds the median counts. There and back it is the shortest
round, in which each thread had a processor.

All programs take turns, and of each one's runs the shortest counts. None is told on which processor
to run: while the machine is busy the system puts both threads on one, for a whole run often, and
times of all are higher then, ours by a half. A peer that can't be built is left out.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from contest import build_peer, row, shortest
from crates import ROOT, FetchError

ROUNDS = 5
SOURCES = [
    ROOT / "bench/thread_pools.c",
    *(path for floor in ("core", "engine", "linux") for path in ROOT.glob(f"c/src/{floor}/*.c")),
]

PYTHON = """
import time
from concurrent.futures import ThreadPoolExecutor
import wasmtime
from wrt_platform import Instance
from wrt_platform.threading import LinuxThreadPool, ThreadPoolConfig
TASKS = 5000
ADD = '''(module (func (export "add") (param i32 i32) (result i32)
          (i32.add (local.get 0) (local.get 1))))'''
instance = Instance(bytes(wasmtime.wat2wasm(ADD)))
rows = [(number, 1) for number in range(TASKS)]
config = ThreadPoolConfig(1, queue_capacity=TASKS)
with LinuxThreadPool(config, {1: instance.exports.add}) as pool, ThreadPoolExecutor(1) as peer:
    for _ in range(5):
        start = time.perf_counter()
        pool.map(1, rows)
        print("python_map", (time.perf_counter() - start) / TASKS * 1e9)
        start = time.perf_counter()
        for future in [peer.submit(pow, number, 1) for number in range(TASKS)]:
            future.result()
        print("python_peer", (time.perf_counter() - start) / TASKS * 1e9)
"""


def rows() -> list[dict[str, Any]]:
    """Nanoseconds a task."""
    with tempfile.TemporaryDirectory() as folder:
        commands: list[list[Any]] = [[build_ours(Path(folder))], [sys.executable, "-c", PYTHON]]
        commands += [[peer] for peer in (find_peer(), build_libuv(Path(folder))) if peer]
        best = shortest(ROUNDS, *commands)
    stream = "50 000 tasks in a stream (ns a task)"
    burst = "500 tasks: submit each, run, wait for all (ns a task)"
    held = "submit call alone, worker held (ns)"
    contests = [
        (stream, "stream", "rayon_stream", "rayon 1.11 scope spawn", 0.5),
        (stream, "stream", "threadpool_stream", "threadpool 1.8", 0.5),
        (stream, "stream", "libuv_stream", "libuv queue_work", 0.35),
        (burst, "burst", "rayon_burst", "rayon 1.11 scope spawn", 0.5),
        (burst, "burst", "threadpool_burst", "threadpool 1.8", 0.5),
        (burst, "burst", "libuv_burst", "libuv queue_work", 0.35),
        (held, "held", "rayon_held", "rayon 1.11 scope spawn", 0.5),
        (held, "held", "threadpool_held", "threadpool 1.8 execute", 0.5),
        (held, "held", "libuv_held", "libuv queue_work", 0.35),
        ("500 tasks in one batch (ns a task)", "batch", "rayon_burst", "rayon 1.11 spawn", None),
        ("round trip, spinning (ns)", "round_trip", "rayon_install", "rayon 1.11 install", 0.1),
        ("map from Python (ns a call)", "python_map", "python_peer", "ThreadPoolExecutor", 0.3),
    ]
    return [
        row(name, best[ours], best[peer], words, goal)
        for name, ours, peer, words, goal in contests
        if peer in best
    ]


def build_ours(folder: Path) -> Path:
    program = folder / "thread_pools"
    flags = ["-std=gnu11", "-O2", f"-I{ROOT}/c/include"]
    subprocess.run(["cc", *flags, "-o", program, *SOURCES, "-lpthread"], check=True)
    return program


def build_libuv(folder: Path) -> Path | None:
    """None where libuv's headers are not installed."""
    program = folder / "libuv_queue"
    source = ROOT / "bench/peers/libuv_queue.c"
    command = ["cc", "-std=gnu11", "-O2", "-o", str(program), str(source), "-luv"]
    return program if subprocess.run(command, capture_output=True).returncode == 0 else None


def find_peer() -> Path | None:
    """None where there is no cargo, or nothing to fetch the peers from."""
    try:
        return build_peer("thread_pools")
    except FetchError:
        return None
