"""Threads against each other on what is made of futexes; see support/sync_stress.c.

WRT_STRESS_ROUNDS=1000000 makes the runs without the sanitizer as long as the feature table says.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from common import ROOT, run

ROUNDS = int(os.environ.get("WRT_STRESS_ROUNDS", "20000"))
SANITIZED = 2000
SOURCES = (
    *(
        f"core/{name}"
        for name in ("cancel", "config", "lock", "owned_lock", "slices", "status", "sync")
    ),
    *(f"linux/{name}" for name in ("fork", "mutex", "port", "sys", "sys_futex", "sys_threads")),
)

pytestmark = pytest.mark.row("LS-2")
what = pytest.mark.parametrize(
    "what",
    [
        "semaphore",
        "semaphore spin",
        "guard",
        "mutex",
        "mutex spin",
        "mutex inherits",
        "condition",
        "condition spin",
        "condition inherits",
        "turns",
        "turns inherits",
        "turns spin",
    ],
)

Build = Callable[[str], Path]


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    @cache
    def build(sanitizer: str) -> Path:
        program = tmp_path_factory.mktemp("sync_stress") / "sync_stress"
        sources = [ROOT / f"c/src/{name}.c" for name in SOURCES]
        sources += sorted((ROOT / "c/src/linux").glob("sync_*.c"))
        flags = ["-std=gnu11", "-D_GNU_SOURCE", "-O1", "-g", "-pthread", f"-I{ROOT}/c/include"]
        flags += [f"-fsanitize={sanitizer}"] if sanitizer else []
        run("cc", *flags, *sources, ROOT / "tests/support/sync_stress.c", "-o", program)
        return program

    return build


def stress(program: Path, name: str, rounds: int) -> subprocess.CompletedProcess[str]:
    command = [str(program), name, str(rounds)]
    return subprocess.run(command, capture_output=True, text=True, timeout=100)


@what
def test_no_wake_is_lost(build: Build, what: str) -> None:
    done = stress(build(""), what, ROUNDS)
    assert done.returncode == 0, done.stderr


@pytest.mark.whole_process  # another sanitizer's run time would be in its programs
@what
def test_the_thread_sanitizer_has_nothing_to_report(build: Build, what: str) -> None:
    done = stress(build("thread"), what, SANITIZED)
    assert done.returncode == 0, done.stderr


@pytest.mark.whole_process
def test_the_thread_sanitizer_reports_a_race_that_is_there(build: Build) -> None:
    done = stress(build("thread"), "race", 3_000_000)
    assert "data race" in done.stderr, "a race that was put in on purpose went unseen"
    assert done.returncode != 0
