"""`make run` and `make bench`: what they print is true, and what is wrong is told."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import contest
import engine
import pytest
import run_examples
from common import ROOT
from crates import FetchError
from run_examples import Case, Limits, Run, Runner
from support.runtime_example import ON_LINUX, ON_QNX
from wrt_platform import Module

import bench


@pytest.mark.whole_process
def test_make_run_runs_every_program_in_every_language() -> None:
    command = [sys.executable, str(ROOT / "tools/run_examples.py")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if line.endswith(" right")]
    languages = Counter(row[0] for row in rows)
    assert {"C", "Python"} <= set(languages) <= {"C", "Python", "Rust"}
    assert set(languages.values()) == {len(list(run_examples.cases()))}
    assert f"threads within limits, from {', '.join(languages)}:\n{ON_LINUX}{ON_QNX}" in done.stdout


GOOD = Run(0, 1000, 2, 1.0, 1.0, "as expected", "")
CASE = Case("squeeze", [], limits=Limits(fuel=1000, pages=2), says="as expected")


def test_a_good_run_is_good() -> None:
    assert run_examples.verdict(CASE, GOOD) == ""


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"exit_code": 134, "complaint": "it trapped"}, "exit code 134, not 0: it trapped"),
        ({"output": "something else"}, "another output"),
        ({"peak_pages": 3}, "3 pages, 2 were granted"),
        ({"fuel_used": 1001}, "1001 instructions, 1000 were granted"),
    ],
)
def test_what_is_wrong_with_a_run_is_told(change: dict[str, Any], told: str) -> None:
    assert told in run_examples.verdict(CASE, GOOD._replace(**change))


def test_languages_that_disagree_are_told() -> None:
    other = GOOD._replace(fuel_used=999)
    assert run_examples.same_fuel(CASE, [GOOD, GOOD]) == ""
    assert "disagree" in run_examples.same_fuel(CASE, [GOOD, other])
    assert run_examples.same_fuel(CASE._replace(exit_code=124), [GOOD, other]) == ""


def test_runtimes_that_fail_or_disagree_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    def runner(language: str, code: str) -> Runner:
        return Runner(language, [], "plain", [sys.executable, "-c", code])

    first, second = runner("C", "print('one')"), runner("Rust", "print('one')")
    assert run_examples.run_runtimes([first, second]) == ""
    assert capsys.readouterr().out.endswith("from C, Rust:\none\n")
    other = runner("Python", "print('two')")
    assert run_examples.run_runtimes([first, other, second]) == "runtime: Python say something else"
    broken = runner("Python", "print('one'); exit('no memory')")
    assert "Python failed: no memory" in run_examples.run_runtimes([first, broken])


@pytest.mark.parametrize(("ratio", "is_missed"), [(2.5, False), (2.51, True), (None, True)])
def test_missed_goal_is_seen(ratio: float | None, is_missed: bool) -> None:
    row = contest.row("time", 1.0, 1.0, "peer", 2.5)
    row["ratio"] = ratio
    assert bench.missed(row) is is_missed
    row["goal"] = None
    assert not bench.missed(row)


def test_memory_beyond_the_module_is_within_its_goal() -> None:
    path = ROOT / "examples/programs/squeeze.wasm"
    used, code = engine.buffer_bytes(path.read_bytes())
    assert Module(path).usage.buffer_bytes < used < engine.MEMORY_GOAL * code


def test_program_that_fails_is_not_measured(tmp_path: Path) -> None:
    (tmp_path / "bad.wasm").write_bytes(b"not a module")
    failing = engine.Engine("failing", lambda module, arguments: ["false"])
    program = engine.Program("bad", str(tmp_path / "bad.wasm"), [])
    with pytest.raises(FetchError, match="ended with 1"):
        engine.measure(failing, program)
