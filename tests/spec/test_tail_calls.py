"""The interpreter's other form: one function an opcode, by clang's guaranteed tail calls.

Everything else is tested on what gcc makes of the same descriptions.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from common import ROOT, run
from crates import find_tool

pytestmark = pytest.mark.whole_process  # it brings a build of its own


@pytest.fixture(scope="module")
def clang_build(preset_build: Callable[[str], Path]) -> Path:
    if shutil.which("clang") is None:
        pytest.skip("clang is not installed")
    return preset_build("clang")


@pytest.mark.row("WE-1")
def test_it_passes_the_official_suite_too(clang_build: Path) -> None:
    find_tool("wasm-tools")
    environment = dict(os.environ, PYTHONPATH=str(clang_build / "python"))
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools/spec.py")],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "18,413 assertions: 17,983 passed, 0 failed" in done.stdout
    assert "26,710 assertions: 26,129 passed, 0 failed" in done.stdout


@pytest.mark.row("WE-1")
def test_every_opcode_is_a_function_that_ends_in_a_jump(clang_build: Path) -> None:
    name = "c/src/engine/CMakeFiles/wrt_engine.dir/interpreter.c.o"
    functions = run("objdump", "-d", "--no-show-raw-insn", clang_build / name).split("\n\n")
    adders = [text for text in functions if "_I32_ADD>:" in text]
    assert len(adders) == 2  # PLAIN and FAST
    for text in adders:
        assert "jmp    *" in text
        assert "call" not in text
