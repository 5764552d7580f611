"""Kept slots, cold memories and growth, beside the bare system calls; an image that is copied on
write, beside mmap and a copy; slots and instances on them, beside Wasmtime's pooling allocator.

The times come from slot_pools.c, which interleaves all of ours in one process, and from the peer's
program; both take turns, and of all rounds the shortest time counts. Wasmtime makes an instance in
its pool and drops it again; it is set to what is faster for it: to give back to the system what was
written, or to keep it and clear it. Its instance is compiled beforehand and has nothing to run. The
peer takes minutes to build, once; where it can't be built its rows are left out.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Any

from contest import build_peer, row, shortest
from crates import ROOT, FetchError

ROUNDS = 3
SOURCES = [
    ROOT / "bench/slot_pools.c",
    *(path for floor in ("core", "engine", "linux") for path in ROOT.glob(f"c/src/{floor}/*.c")),
]
WASMTIME = "wasmtime 48 pool, instance"
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
    ("life of 64 KiB, kept slot, 4 KiB written (ns)", "warm", "wasmtime", WASMTIME, 0.25),
    ("an instance on such a slot (ns)", "instance", "wasmtime", WASMTIME, None),
)


def rows() -> list[dict[str, Any]]:
    """Nanoseconds, each the shortest of many rounds."""
    with tempfile.TemporaryDirectory() as folder:
        times = shortest(ROUNDS, [build_ours(Path(folder))], *find_peer())
    return [
        row(name, times[ours], times[peer], peer_name, goal)
        for name, ours, peer, peer_name, goal in ROWS
        if peer in times
    ]


def build_ours(folder: Path) -> Path:
    program = folder / "slot_pools"
    flags = ["-std=gnu11", "-O2", "-ffunction-sections", "-fdata-sections", f"-I{ROOT}/c/include"]
    link = ["-Wl,--gc-sections", "-pthread"]
    command: list[str | Path] = ["cc", *flags, "-o", program, *SOURCES, *link]
    subprocess.run(command, check=True)
    return program


def find_peer() -> list[list[Path]]:
    """Nothing where there is no cargo, or nothing to fetch the peer from."""
    try:
        return [[build_peer("wasmtime_pool")]]
    except FetchError as error:
        print(f"slot_pools: no Wasmtime beside it: {str(error)[-300:]}")
        return []
