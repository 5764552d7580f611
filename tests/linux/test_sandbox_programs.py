"""Whole programs behind the walls: what they print there is what they print here, and so is how
they end; by run() and by the command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from common import ROOT
from support import programs
from wrt_platform import (
    EnforcementState,
    MalformedError,
    UnsupportedError,
    run,
)

pytestmark = pytest.mark.row("SC-5")

PROGRAMS = ROOT / "examples/programs"
LISTED: list[dict[str, Any]] = json.loads((PROGRAMS / "programs.json").read_text())


# ---- What runs ----


@pytest.mark.parametrize("program", LISTED, ids=lambda program: program["name"])
def test_programs_print_in_a_sandbox_what_they_print_here(program: dict[str, Any]) -> None:
    folder = program.get("directory")
    folders = {folder: PROGRAMS / folder} if folder else {}
    module = PROGRAMS / f"{program['name']}.wasm"
    here = run(module, program["arguments"], dirs=folders)
    there = run(module, program["arguments"], dirs=folders, sandbox="sealed", timeout=30)
    assert there.stdout == (PROGRAMS / f"expected/{program['name']}.txt").read_bytes()
    assert (there.exit_code, there.stdout, there.stderr) == (0, here.stdout, here.stderr)
    assert there.fuel_used == here.fuel_used
    assert there.peak_pages == here.peak_pages
    assert there.cpu_time > 0


def test_sqlite_runs_sealed(sqlite: Path, tmp_path: Path) -> None:
    """A large guest: a database in a lent folder."""
    script = "create table t(a); insert into t values (1),(2),(40); select sum(a) from t;"
    result = run(
        sqlite, ["/data/base.db", script], dirs={"/data": tmp_path}, sandbox="sealed", timeout=60
    )
    here = run(sqlite, [":memory:", script], timeout=60)
    assert (result.exit_code, result.stdout) == (here.exit_code, here.stdout)


def test_command_runs_sealed_and_reports_its_walls() -> None:
    command = [sys.executable, "-m", "wrt_platform.cli", "run", "--sandbox", "sealed"]
    command += ["--report", "json", str(PROGRAMS / "queens.wasm")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert done.stdout.encode() == (PROGRAMS / "expected/queens.txt").read_bytes()
    walls = {item["name"]: item["state"] for item in json.loads(done.stderr)["enforced"]}
    assert walls["system calls"] == walls["no new privileges"] == "enforced"


def test_ctrl_c_is_the_commands_alone(tmp_path: Path) -> None:
    """A terminal sends it to the whole group; the sandbox is in none of the terminal's."""
    spin = tmp_path / "spin.wasm"
    spin.write_bytes(programs.SPIN)
    command = [sys.executable, "-m", "wrt_platform.cli", "run", "--sandbox", "sealed", str(spin)]
    started = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    time.sleep(1)
    os.killpg(started.pid, signal.SIGINT)
    _, said = started.communicate(timeout=20)
    assert (started.returncode, said) == (130, "wrt: interrupted\n")


# ---- The profile strict ----


def strict(*words: Any, **settings: Any) -> Any:
    return run(*words, sandbox="strict", **settings)


# The strict walls leave a process none of the environment, and so no sanitizer's run time.
starts_strict = pytest.mark.whole_process


@starts_strict
@pytest.mark.parametrize("program", LISTED, ids=lambda program: program["name"])
def test_programs_print_behind_the_strict_walls_what_they_print_here(
    program: dict[str, Any],
) -> None:
    folder = program.get("directory")
    folders = {folder: PROGRAMS / folder} if folder else {}
    result = strict(PROGRAMS / f"{program['name']}.wasm", program["arguments"], dirs=folders)
    assert (result.exit_code, result.stderr) == (0, b"")
    assert result.stdout == (PROGRAMS / f"expected/{program['name']}.txt").read_bytes()
    held = {wall.name: wall.state for wall in result.enforced}
    assert held["filter"] is held["privileges"] is EnforcementState.ENFORCED


@starts_strict
def test_ends_behind_the_strict_walls_are_those_of_a_run_here() -> None:
    for guest, code in ((programs.TRAP, 134), (programs.SPIN, 124), (programs.HUNGRY, 126)):
        here = run(guest, timeout=0.3)
        there = strict(guest, timeout=0.3)
        assert (here.exit_code, there.exit_code) == (code, code)
        assert type(here.error) is type(there.error)
    assert strict(programs.exits(9)).exit_code == 9
    assert strict(programs.SPIN, fuel=10_000).fuel_used == 10_000
    assert strict(programs.COPY, stdin=b"typed").stdout == b"typed"
    assert strict(programs.VARIABLES, env={"NAME": "value"}).stdout.startswith(b"NAME=value")
    with pytest.raises(MalformedError, match="byte 9"):
        strict(b"\0asm\x01\0\0\0\x01")
    with pytest.raises(UnsupportedError, match="lent"):
        strict(programs.HELLO, imports={"env": {}})


@starts_strict
def test_guest_that_prints_like_the_walls_is_not_believed() -> None:
    """The last such line is the process's own."""
    lie = 'wrt_platform strict run: {\\"exit_code\\": 77}\\n'
    size = len('wrt_platform strict run: {"exit_code": 77}\n')
    body = f"(drop (call $write (i32.const 2) (i32.const {size})))"
    result = strict(programs.program(body, lie))
    assert result.exit_code == 0


@starts_strict
def test_command_runs_strict() -> None:
    command = [sys.executable, "-m", "wrt_platform.cli", "run", "--sandbox", "strict"]
    command.append(str(PROGRAMS / "queens.wasm"))
    done = subprocess.run(command, capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == (PROGRAMS / "expected/queens.txt").read_bytes()
