"""What each verification level of the Linux allocator costs, beside bare mmap and mprotect.

The times come from page_allocators.c, which interleaves all of them in one process.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Any

from contest import row
from crates import ROOT

LEVELS = {
    "off": "OFF, guards",
    "sampling": "SAMPLING, guards",
    "standard": "STANDARD, guards",
    "full": "FULL, guards",
    "full-canaries": "FULL, canaries",
}


def rows() -> list[dict[str, Any]]:
    """Nanoseconds to grow by a page, and to make a memory, touch 64 KiB of it and free it."""
    times = measure()
    bare_grow, bare_life = times["bare"]
    table = []
    for level, words in LEVELS.items():
        grow, life = times[level]
        table.append(row(f"grow by 64 KiB, {words} (ns)", grow, bare_grow, "mprotect"))
        table.append(row(f"life of 64 KiB, {words} (ns)", life, bare_life, "mmap, touch, munmap"))
    return table


def measure() -> dict[str, tuple[float, float]]:
    """For each contestant: nanoseconds to grow by a page, and for a memory's whole life."""
    sources = [ROOT / "bench/page_allocators.c"]
    sources += [*sorted(ROOT.glob("c/src/core/*.c")), *sorted(ROOT.glob("c/src/linux/*.c"))]
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "page_allocators"
        command: list[str | Path] = [
            "cc",
            "-std=gnu11",
            "-O2",
            *("-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections"),  # no engine here
            f"-I{ROOT}/c/include",
            "-o",
            program,
            *sources,
        ]
        subprocess.run(command, check=True)
        done = subprocess.run([program], stdout=subprocess.PIPE, text=True, check=True)
    times = {}
    for line in done.stdout.splitlines():
        name, grow, memory = line.split()
        times[name] = (float(grow), float(memory))
    return times
