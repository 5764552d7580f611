"""Thread pools in C, from many threads, under the thread sanitizer and with a judge."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from common import ROOT, run
from support.guest import assemble


@pytest.fixture(scope="module")
def stress(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stress")
    sources = [
        *(
            path
            for floor in ("core", "engine", "linux")
            for path in ROOT.glob(f"c/src/{floor}/*.c")
        ),
        ROOT / "tests/support/pool_stress.c",
    ]
    flags = ["-std=gnu11", "-O0", "-g", "-fsanitize=thread", "-Wno-tsan"]
    run("cc", *flags, f"-I{ROOT / 'c/include'}", *sources, "-o", folder / "stress", "-lpthread")
    (folder / "guest.wasm").write_bytes(
        assemble(
            '(module (func (export "add") (param i32 i32) (result i32) '
            '(i32.add (local.get 0) (local.get 1))) (func (export "spin") (loop (br 0))))'
        )
    )
    return folder


def sanitized(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        # The C library's join with a time-out is none that the sanitizer knows.
        env=os.environ | {"TSAN_OPTIONS": "report_thread_leaks=0"},
        timeout=120,
    )


@pytest.mark.whole_process  # another sanitizer's run time would be in its programs
@pytest.mark.row("TH-1")
def test_sanitizer_finds_no_race_among_tasks_and_one_without_a_join(stress: Path) -> None:
    done = sanitized(stress / "stress", "tasks", "200")
    assert (done.returncode, done.stderr) == (0, "")
    ran, cancelled = (int(word) for word in done.stdout.split()[1::2])
    assert ran + cancelled == 3 * 8 * 200
    assert "data race" in sanitized(stress / "stress", "unjoined", "1").stderr


@pytest.mark.whole_process  # another sanitizer's run time would be in its programs
@pytest.mark.row("TH-2")
def test_sanitizer_finds_no_race_among_cancelled_calls(stress: Path) -> None:
    done = sanitized(stress / "stress", "wasm", "50", stress / "guest.wasm")
    assert (done.returncode, done.stderr) == (0, "")
    ran, cancelled = (int(word) for word in done.stdout.split()[1::2])
    assert ran + cancelled == 3 * 8 * 50
    assert cancelled > 0
