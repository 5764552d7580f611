"""What it costs to give rights away: filters beside libseccomp, a system call under one, and a
confined program beside bubblewrap.

Measurements that are compared run in turn, and of several rounds the least counts.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from crates import ROOT

LOAD_GOAL = 0.5  # of libseccomp's time, the faster of its forms
CALL_GOAL = 1.25  # of a call without a filter
START_GOAL = 0.33  # of bubblewrap's time
HEADER = Path("/usr/include/seccomp.h")


def rows() -> list[dict[str, Any]]:
    """Microseconds; nanoseconds for a single call."""
    if not HEADER.exists():
        print("confinement: libseccomp-dev is not installed, nothing is compared")
        return []
    times = measure()
    theirs = min(times["libseccomp_linear"], times["libseccomp_tree"])
    built = "libseccomp, built and loaded"
    found = [
        row(
            "Filter of the profile strict, loaded (us)", times["prebuilt"], theirs, built, LOAD_GOAL
        ),
        row("The same, compiled and loaded (us)", times["compiled"], theirs, built, None),
    ]
    call = times["call_strict"], times["call_free"]
    found.append(row("getppid under it (ns)", *call, "no filter", CALL_GOAL, scale=1))
    if "bubblewrap" in times:
        name = "Confined program, from start to end (us)"
        peer = times["bubblewrap"], "bwrap --unshare-all"
        found.append(row(name, times["strict"], *peer, START_GOAL))
    name = "The same beside the program alone (us)"
    found.append(row(name, times["strict"], times["plain"], "posix_spawn", None))
    return found


def row(
    name: str, ours: float, peer: float, peer_name: str, goal: float | None, scale: float = 1e3
) -> dict[str, Any]:
    ratio = ours / peer
    ours, peer = ours / scale, peer / scale
    return dict(name=name, ours=ours, peer=peer, peer_name=peer_name, ratio=ratio, goal=goal)


def measure() -> dict[str, float]:
    """Nanoseconds of each way, as confinement.c prints them."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "confinement")
        flags = ["-O2", "-ffunction-sections", "-fdata-sections", f"-I{ROOT / 'c/include'}"]
        sources = [ROOT / "bench/confinement.c"]
        sources += sorted((ROOT / "c/src/core").glob("*.c"))
        sources += sorted((ROOT / "c/src/linux").glob("*.c"))
        link = ["-Wl,--gc-sections", "-pthread", "-lseccomp", "-o", str(program)]
        subprocess.run(["cc", "-std=gnu11", *flags, *map(str, sources), *link], check=True)
        command = [str(program), *(["bubblewrap"] if shutil.which("bwrap") else [])]
        printed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return {name: float(time) for name, time in map(str.split, printed.splitlines())}
