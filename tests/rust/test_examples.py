"""The examples in Rust: they build against the crate as a stranger's program would, and run."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from cargo import cargo
from common import ROOT

PROGRAMS = ROOT / "examples/programs"


def test_quickstart_shows_a_run_a_trap_and_a_limit() -> None:
    done = cargo("run", "--quiet", "--locked", cwd=ROOT / "examples/rust/quickstart")
    assert done.returncode == 0, done.stderr
    assert (PROGRAMS / "expected/queens.txt").read_text() in done.stdout
    assert "84 / 2 = [I32(42)]" in done.stdout
    assert "integer divide by zero in function divide at byte" in done.stdout
    assert "stopped after 1000000 instructions" in done.stdout


@pytest.fixture(scope="module")
def runner() -> Path:
    """The example `run` of the crate."""
    done = cargo("build", "--release", "--example", "run", "--message-format", "json")
    assert done.returncode == 0, done.stderr
    built = [json.loads(line) for line in done.stdout.splitlines()]
    return next(Path(made["executable"]) for made in built if made.get("executable"))


def run(
    runner: Path, *words: str | Path
) -> tuple[subprocess.CompletedProcess[str], dict[str, object]]:
    """What came of it, and the report in the last line of its standard error."""
    done = subprocess.run([str(runner), *map(str, words)], capture_output=True, text=True)
    lines = done.stderr.splitlines() or [""]
    return done, json.loads(lines[-1]) if lines[-1].startswith("{") else {}


def test_program_reads_its_folder_and_no_other(runner: Path) -> None:
    words = ("orders.wasm", "data/orders.csv", "region", "amount")
    lent = f"{PROGRAMS / 'data'}::data"
    done, report = run(runner, "--dir", lent, PROGRAMS / words[0], *words[1:])
    assert done.stdout == (PROGRAMS / "expected/orders.txt").read_text()
    assert (done.returncode, report["status"], report["exit_code"]) == (0, "exited", 0)
    done, report = run(runner, PROGRAMS / words[0], *words[1:])
    assert done.returncode != 0
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("limit", "value", "exit_code", "word"),
    [
        ("--fuel", "100000", 125, "out of fuel"),
        ("--timeout-ms", "50", 124, "timed out"),
        ("--memory-pages", "1", 126, "memory limit"),
    ],
)
def test_each_limit_has_an_exit_code_of_its_own(
    runner: Path, limit: str, value: str, exit_code: int, word: str
) -> None:
    done, report = run(runner, limit, value, PROGRAMS / "plate.wasm", "128", "100000")
    assert (done.returncode, report["exit_code"], report["status"]) == (exit_code, exit_code, word)
    assert done.stderr.startswith("run: wrt_")
    if limit == "--fuel":
        assert report["fuel_used"] == 100000


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--fuel", "many", "x.wasm"], "--fuel many: invalid digit"),
        (["--speed", "9", "x.wasm"], "--speed is unknown"),
        (["--fuel"], "--fuel has no value"),
        ([], "no module is given"),
        (["no-such-file.wasm"], "no-such-file.wasm: No such file"),
        (["--dir", "/no-such-folder::/", PROGRAMS / "queens.wasm"], "/no-such-folder"),
        ([PROGRAMS / "queens.c"], "wrt_module_layout: "),
    ],
)
def test_what_cannot_run_is_refused_in_one_line(
    runner: Path, words: list[str | Path], complaint: str
) -> None:
    done, _ = run(runner, *words)
    assert done.returncode == 2
    assert complaint in done.stderr.splitlines()[0]
    assert done.stdout == ""
