"""Real programs, run through the Python package inside limits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from common import ROOT
from wrt_platform import Limits, Module, run

PROGRAMS = ROOT / "examples/programs"
LISTED: list[dict[str, Any]] = json.loads((PROGRAMS / "programs.json").read_text())
LIMITS = Limits(memory="16MiB", fuel=2_000_000_000, timeout=30)

by_name = pytest.mark.parametrize("program", LISTED, ids=lambda program: program["name"])


def folders(program: dict[str, Any]) -> dict[str, Path]:
    folder = program.get("directory")
    return {folder: PROGRAMS / folder} if folder else {}


@pytest.mark.row("WE-6")
@by_name
def test_program_prints_what_it_must(program: dict[str, Any]) -> None:
    """What stands in expected/ was computed by the host's own processor."""
    module = PROGRAMS / f"{program['name']}.wasm"
    result = run(module, program["arguments"], limits=LIMITS, dirs=folders(program))
    assert result.exit_code == 0
    assert result.stdout == (PROGRAMS / f"expected/{program['name']}.txt").read_bytes()
    assert 0 < result.fuel_used < 2_000_000_000


@pytest.mark.row("WE-2")
@by_name
def test_one_unit_of_fuel_less_is_too_little(program: dict[str, Any]) -> None:
    """Fuel is exact: what a run used is enough for the same run, and one less is not."""
    module = Module(PROGRAMS / f"{program['name']}.wasm")
    used = run(module, program["arguments"], dirs=folders(program)).fuel_used
    enough = run(module, program["arguments"], dirs=folders(program), fuel=used)
    assert (enough.exit_code, enough.fuel_used) == (0, used)
    scarce = run(module, program["arguments"], dirs=folders(program), fuel=used - 1)
    assert (scarce.exit_code, scarce.fuel_used) == (125, used - 1)


@pytest.mark.row("WE-6")
def test_a_file_that_is_not_there_is_the_programs_own_error() -> None:
    arguments = ["data/nothing.csv", "region", "amount"]
    result = run(PROGRAMS / "orders.wasm", arguments, dirs={"data": PROGRAMS / "data"})
    assert result.exit_code == 1
    assert b"data/nothing.csv: No such file or directory" in result.stderr


@pytest.mark.row("WE-6")
def test_nothing_is_reached_without_a_folder() -> None:
    result = run(PROGRAMS / "orders.wasm", ["data/orders.csv", "region", "amount"])
    assert result.exit_code == 1
    assert result.stdout == b""


def test_memory_limit_reaches_malloc() -> None:
    """memory.grow answers -1, malloc NULL, and the program says so itself."""
    result = run(PROGRAMS / "squeeze.wasm", ["4096"], memory="1MiB")
    assert (result.exit_code, result.stderr) == (1, b"squeeze: out of memory\n")
    assert result.peak_pages <= 16
