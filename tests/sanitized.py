"""Programs of C on Linux's threads, under the thread sanitizer."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path

from common import ROOT, run

# What every thread system comes to; and the files of c/src/linux that are part of it.
CORE = ("cancel", "config", "slices", "status", "thread_system")
LINUX = ("threading", "wait", "mutex", "fork", "sys", "files", "port", "times")


def build_with_threads(program: Path, source: str, core: Iterable[str]) -> None:
    """`core`: the files of c/src/core that tests/support/<source>.c takes besides."""
    sources = [ROOT / "c/src/core" / f"{name}.c" for name in (*CORE, *core)]
    sources += [
        path for path in (ROOT / "c/src/linux").glob("*.c") if path.stem.split("_")[0] in LINUX
    ]
    flags = ["-std=gnu11", "-D_GNU_SOURCE", "-O1", "-g", "-fsanitize=thread"]
    include = f"-I{ROOT / 'c/include'}"
    run("cc", *flags, include, *sources, ROOT / f"tests/support/{source}.c", "-o", program)


def sees_a_race(program: Path, *words: str) -> bool:
    """Whether the sanitizer notices what was put in on purpose. On a busy machine the threads may
    not meet: so it is tried again."""
    for _ in range(20):
        done = subprocess.run([program, *words], capture_output=True, text=True, timeout=100)
        if "ThreadSanitizer: data race" in done.stderr and done.returncode != 0:
            return True
    return False
