"""The programs' modules are what their sources say, and their expected output is right."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

PROGRAMS = Path(__file__).resolve().parents[2] / "examples/programs"
LISTED: list[dict[str, Any]] = json.loads((PROGRAMS / "programs.json").read_text())
LIBC = Path("/usr/lib/wasm32-wasi/libc.a")


def find_compiler() -> str:
    """The clang that made what is checked in; skips, with the reason, where another one is."""
    wanted, libc = (PROGRAMS / "compiler.txt").read_text().split("\n")[:2]
    clang = shutil.which("clang-14") or shutil.which("clang")
    if clang is None or not LIBC.exists():
        pytest.skip("clang with wasi-libc is not installed, so the modules can't be built again")
    version = subprocess.run([clang, "--version"], stdout=subprocess.PIPE, text=True).stdout
    if version.split("\n")[0] != wanted:
        pytest.skip(f"{version.splitlines()[0]} is not the compiler of compiler.txt: {wanted}")
    if hashlib.sha256(LIBC.read_bytes()).hexdigest() != libc:
        pytest.skip("wasi-libc is another one than that of compiler.txt")
    return clang


def test_modules_are_built_again_byte_for_byte(tmp_path: Path) -> None:
    clang = find_compiler()
    command = ["make", "-C", str(PROGRAMS), f"CLANG={clang}", f"OUT={tmp_path}", "all"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    for program in LISTED:
        module = f"{program['name']}.wasm"
        assert (tmp_path / module).read_bytes() == (PROGRAMS / module).read_bytes(), module


def test_every_module_is_listed() -> None:
    names = [program["name"] for program in LISTED]
    assert sorted(names) == sorted(path.stem for path in PROGRAMS.glob("*.c"))
    assert sorted(names) == sorted(path.stem for path in PROGRAMS.glob("*.wasm"))


@pytest.mark.parametrize("program", LISTED, ids=lambda program: program["name"])
def test_expected_output_is_what_the_host_computes(program: dict[str, Any], tmp_path: Path) -> None:
    """The same source, compiled for this machine: no WebAssembly is in it."""
    native = tmp_path / program["name"]
    source = PROGRAMS / f"{program['name']}.c"
    flags = ["-std=c11", "-O1", "-ffp-contract=off", "-g", "-fsanitize=address,undefined"]
    subprocess.run(["cc", *flags, str(source), "-o", str(native), "-lm"], check=True)
    ran = subprocess.run([native, *program["arguments"]], cwd=PROGRAMS, stdout=subprocess.PIPE)
    assert ran.returncode == 0
    assert ran.stdout == (PROGRAMS / f"expected/{program['name']}.txt").read_bytes()
