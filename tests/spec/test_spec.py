"""The official test-suite: what WebAssembly's own authors say that an engine does.

Each script is one test, so that a failure names its script and workers share the load. The totals
are checked apart from that: a script, or an assertion, that is lost on the way is a failure too.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import spec_runner
import spec_suite
from crates import FetchError
from spec_runner import FAILED, LEFT_OUT, TEXT_ONLY, Verdict, run_script

LEFT_OUT_BY_RULE = {"1.0": 430, "2.0": 581}  # assertions on the text format
TOOLS = Path(spec_suite.__file__).parent


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A parameter for each script; one that skips, with the reason, where there is no suite."""
    if "script" not in metafunc.fixturenames:
        return
    try:
        found = [(suite, script) for suite in spec_suite.SUITES for script in scripts(suite)]
    except FetchError as error:
        metafunc.parametrize("script", [pytest.param(None, marks=pytest.mark.skip(str(error)))])
        return
    names = [f"{suite}-{script.stem}" for suite, script in found]
    metafunc.parametrize("script", [script for _, script in found], ids=names)


def scripts(suite: str) -> list[Path]:
    return list(spec_suite.scripts(suite))


def scripts_or_skip(suite: str) -> list[Path]:
    try:
        return scripts(suite)
    except FetchError as error:
        pytest.skip(str(error))


def broken(verdicts: list[Verdict]) -> list[Verdict]:
    return [verdict for verdict in verdicts if verdict.state == FAILED]


@pytest.mark.row("WE-1")
def test_script_passes(script: Path) -> None:
    verdicts = run_script(script)
    assert broken(verdicts) == []
    assert len(verdicts) == len(spec_suite.commands(script))
    assert {verdict.reason for verdict in verdicts if verdict.state == LEFT_OUT} <= {TEXT_ONLY}


@pytest.mark.row("WE-1")
def test_modules_lie_in_memory_that_cannot_be_written(script: Path) -> None:
    """The bytes, and all that is built beside them: a single store would end this process."""
    assert run_script(script, sealed=True) == run_script(script)


@pytest.mark.row("WE-2")
def test_stepping_equals_running(script: Path) -> None:
    """Results, traps and their places, and the fuel that each instance used; the runner sees
    that each step runs exactly as many instructions as it was asked for."""
    assert run_script(script, stepping=True) == run_script(script)


@pytest.mark.row("WE-1")
@pytest.mark.parametrize("suite", spec_suite.SUITES)
def test_nothing_of_a_suite_is_lost(suite: str) -> None:
    commands = [one for script in scripts_or_skip(suite) for one in spec_suite.commands(script)]
    assertions = [one for one in commands if one["type"].startswith("assert_")]
    on_text = [one for one in assertions if one.get("module_type") == "text"]
    assert len(assertions) == spec_suite.SUITES[suite]["assertions"]
    assert len(on_text) == LEFT_OUT_BY_RULE[suite]


# The runner itself: it must be able to say no.


def test_wrong_expectations_fail(tmp_path: Path) -> None:
    """Every number that the script i32 expects is changed by one: no such assertion may pass."""
    original = next(one for one in scripts_or_skip("1.0") if one.stem == "i32")
    content = json.loads(original.read_text())
    for command in content["commands"]:
        for expected in command.get("expected", []):
            expected["value"] = str(int(expected["value"]) ^ 1)
        command["text"] = "another reason"
    changed = tmp_path / "i32.json"
    changed.write_text(json.dumps(content))
    (tmp_path / "i32").symlink_to(original.with_suffix(""))
    judged = [
        verdict
        for verdict in run_script(changed)
        if verdict.kind in ("assert_return", "assert_trap")
    ]
    assert len(judged) > 300
    assert {verdict.state for verdict in judged} == {FAILED}


def test_wrong_kind_of_refusal_fails(tmp_path: Path) -> None:
    """A malformed module that the script calls invalid, and the other way round."""
    original = next(one for one in scripts_or_skip("2.0") if one.stem == "binary")
    content = json.loads(original.read_text())
    for command in content["commands"]:
        if command["type"] == "assert_malformed":
            command["type"] = "assert_invalid"
    changed = tmp_path / "binary.json"
    changed.write_text(json.dumps(content))
    (tmp_path / "binary").symlink_to(original.with_suffix(""))
    judged = [verdict for verdict in run_script(changed) if verdict.kind == "assert_invalid"]
    judged = [verdict for verdict in judged if verdict.state != LEFT_OUT]
    assert len(judged) > 50
    assert {verdict.state for verdict in judged} == {FAILED}


@pytest.mark.parametrize("past_the_end", [False, True])
def test_sealed_memory_is_sealed(past_the_end: bool) -> None:
    """A child that writes into a sealed module, or reads the byte after it, dies of it."""
    action = "ffi.cast('uint8_t *', memory.address)[5]"
    statement = f"print({action})" if past_the_end else f"{action.replace('5', '0')} = 1"
    program = (
        f"import sys; sys.path.insert(0, {str(TOOLS)!r})\n"
        "from spec_engine import ProtectedMemory, ffi\n"
        "memory = ProtectedMemory(5, alignment=1)\n"
        "ffi.cast('uint8_t *', memory.address)[4] = 1\n"
        "memory.seal()\n"
        "print(ffi.cast('uint8_t *', memory.address)[4], flush=True)\n"
        f"{statement}\n"
    )
    child = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert child.stdout == "1\n"
    assert child.returncode == -signal.SIGSEGV


def test_every_command_of_the_suites_is_known() -> None:
    kinds = {
        command["type"]
        for suite in spec_suite.SUITES
        for script in scripts_or_skip(suite)
        for command in spec_suite.commands(script)
    }
    assert kinds
    assert all(hasattr(spec_runner.Script, f"_{kind}") for kind in kinds)
