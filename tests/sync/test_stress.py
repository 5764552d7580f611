"""Threads against each other, in C, with ThreadSanitizer and without; see stress.c.

WRT_STRESS_ROUNDS=1000000 makes the runs without the sanitizer as long as the feature table says.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROUNDS = int(os.environ.get("WRT_STRESS_ROUNDS", "20000"))
SANITIZED = 2000
FEWER = {"threads": 50, "cancel": 5}  # rounds are divided by it: each does much

backends = pytest.mark.parametrize("backend", ["linux", "qnx"])


def stress(program: Path, what: str, rounds: int) -> subprocess.CompletedProcess[str]:
    command = [str(program), what, str(max(1, rounds // FEWER.get(what, 1)))]
    return subprocess.run(command, capture_output=True, text=True, timeout=100)


@pytest.mark.row("SY-1")
@pytest.mark.row("QS-1", proof="sim")
@backends
@pytest.mark.parametrize("what", ["futex", "ends"])
def test_no_wake_is_lost(build: Callable[..., Path], backend: str, what: str) -> None:
    done = stress(build("stress", f"backend_{backend}"), what, ROUNDS)
    assert done.returncode == 0, done.stderr


@pytest.mark.row("SY-4")
@backends
@pytest.mark.parametrize("what", ["lock", "system_lock", "misuse"])
def test_a_lock_guards_what_it_guards(build: Callable[..., Path], backend: str, what: str) -> None:
    done = stress(build("stress", f"backend_{backend}"), what, ROUNDS)
    assert done.returncode == 0, done.stderr


@pytest.mark.row("TH-1")
@backends
@pytest.mark.parametrize("what", ["word", "cancel", "threads"])
def test_a_thread_system_loses_nothing(build: Callable[..., Path], backend: str, what: str) -> None:
    done = stress(build("stress", f"backend_{backend}"), what, ROUNDS // 4)
    assert done.returncode == 0, done.stderr


@pytest.mark.row("SY-1")
@pytest.mark.row("SY-4")
@backends
@pytest.mark.parametrize(
    "what", ["futex", "word", "lock", "system_lock", "cancel", "ends", "threads"]
)
def test_the_thread_sanitizer_has_nothing_to_report(
    build: Callable[..., Path], backend: str, what: str
) -> None:
    program = build("stress", f"backend_{backend}", sanitizer="thread")
    done = stress(program, what, SANITIZED)
    assert done.returncode == 0, done.stderr


@backends
def test_the_thread_sanitizer_reports_a_race_that_is_there(
    build: Callable[..., Path], backend: str
) -> None:
    program = build("stress", f"backend_{backend}", sanitizer="thread")
    done = stress(program, "race", 3_000_000)
    assert "data race" in done.stderr, "a race that was put in on purpose went unseen"
    assert done.returncode != 0
