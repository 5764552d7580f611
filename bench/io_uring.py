"""Reads of 4 KiB at random places of a cached file, 32 and 128 at once: through a ring, beside a
bare loop over liburing (what the checks and the slots of a ring cost), and beside pread (what it is
all for). The threads that stand in where io_uring is refused are shown without a goal.

The times come from io_uring.c, which interleaves all of them in one process. The file lies where
temporary files do: on a tmpfs the kernel hands reads to its workers, and nothing is won there.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from contest import row
from crates import ROOT

HEADER = Path("/usr/include/liburing.h")
LIBURING_GOAL = 1 / 0.95  # of its time
PREAD_GOAL = 1 / 1.7  # of its time
DEPTHS = (32, 128)


def rows() -> list[dict[str, Any]]:
    """Nanoseconds of a read, each the shortest of many rounds."""
    if not HEADER.exists():
        print("io_uring: liburing-dev is not installed, nothing is compared")
        return []
    if not has_io_uring():
        print("io_uring: this machine refuses it, nothing is compared")
        return []
    times = measure()
    return [each for depth in DEPTHS for each in rows_of(times, depth)]


def rows_of(times: dict[str, float], depth: int) -> list[dict[str, Any]]:
    about = f"read of 4 KiB, {depth} at once"
    contests = (
        (f"{about} (ns)", "ours", "liburing", LIBURING_GOAL),
        (f"{about}, registered buffers (ns)", "ours_fixed", "liburing_fixed", LIBURING_GOAL),
        (f"{about} (ns)", "ours", "pread", PREAD_GOAL),
        (f"{about}, registered buffers (ns)", "ours_fixed", "pread", PREAD_GOAL),
        (f"{about}, threads (ns)", "threads", "pread", None),
    )
    names = {"liburing": "bare liburing loop", "liburing_fixed": "bare liburing loop"}
    return [
        row(name, times[f"{ours}_{depth}"], times[f"{peer}_{depth}"], names.get(peer, peer), goal)
        for name, ours, peer, goal in contests
    ]


def has_io_uring() -> bool:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    setup, parameters = ctypes.c_long(425), ctypes.create_string_buffer(120)
    descriptor = libc.syscall(setup, ctypes.c_long(2), parameters)
    if descriptor >= 0:
        os.close(descriptor)
    return bool(descriptor >= 0)


def measure() -> dict[str, float]:
    sources = [ROOT / "bench/io_uring.c"]
    sources += [*sorted(ROOT.glob("c/src/core/*.c")), *sorted(ROOT.glob("c/src/linux/*.c"))]
    flags = ["-std=gnu11", "-O2", "-ffunction-sections", "-fdata-sections", f"-I{ROOT}/c/include"]
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "io_uring"
        link = ["-Wl,--gc-sections", "-pthread", "-luring"]
        command: list[str | Path] = ["cc", *flags, "-o", program, *sources, *link]
        subprocess.run(command, check=True)
        command = [program, Path(folder) / "file"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    lines = (line.split() for line in done.stdout.splitlines())
    return {name: float(time) for name, time in lines}
