"""CRC-32C beside the usual code with a table and zlib's crc32; a record's write beside a copy.

The times come from atomic_memory.c, which interleaves all of them in one process.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Any

from contest import row
from crates import ROOT

CORE = ("atomic_memory", "config", "crc32c", "crc32c_arm", "crc32c_sliced", "crc32c_x86")
SOURCES = [
    "bench/atomic_memory.c",
    *(f"c/src/core/{name}.c" for name in (*CORE, "siphash", "status")),
    "c/src/linux/checksum.c",
    "c/src/linux/port.c",
]
SIZES = (16, 64, 256, 4096)
TABLE_GOAL = 1 / 15  # of the time, at 4 KiB
ZLIB_GOAL = 1 / 1.5
CHECKED_GOAL = 1.5


def rows() -> list[dict[str, Any]]:
    """Nanoseconds of one checksum and of one write."""
    times = measure()
    found = []
    for size in SIZES:
        ours = times["best", size]
        goals = (TABLE_GOAL, ZLIB_GOAL) if size == 4096 else (None, None)
        name = f"CRC-32C of {size} B (ns)"
        found.append(row(name, ours, times["table", size], "table of 256 entries", goals[0]))
        found.append(row(name, ours, times["zlib", size], "zlib crc32", goals[1]))
    for method, words in (("sliced", "tables of 8 KiB"), ("nibbles", "table of 64 B")):
        name = f"CRC-32C of 4096 B, {words} (ns)"
        found.append(row(name, times[method, 4096], times["table", 4096], "table of 256 entries"))
    for peer, words, goal in (
        ("copy", "memcpy, CRC", None),
        ("checked", "CRC of the other copy, memcpy, CRC", CHECKED_GOAL),
    ):
        name = "record of 64 B written (ns)"
        found.append(row(name, times["write", 64], times[peer, 64], words, goal))
    found.append(
        row("record of 64 B read (ns)", times["read", 64], times["copy", 64], "memcpy, CRC")
    )
    return found


def measure() -> dict[tuple[str, int], float]:
    """Nanoseconds for each contestant and size."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "atomic_memory"
        command: list[str | Path] = ["cc", "-std=gnu11", "-O2", f"-I{ROOT}/c/include"]
        command += ["-o", program, *(ROOT / source for source in SOURCES), "-ldl"]
        subprocess.run(command, check=True)
        done = subprocess.run([program], stdout=subprocess.PIPE, text=True, check=True)
    lines = (line.split() for line in done.stdout.splitlines())
    return {(name, int(size)): float(time) for name, size, time in lines}
