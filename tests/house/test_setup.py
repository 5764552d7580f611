"""Setting up on machines that lack something: one clear line, and it goes on."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from common import ROOT

BASIC = ["sh", "awk", "cut", "dirname", "head", "ls", "sed", "sort", "uname"]


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A folder of programs, to stand alone on the PATH, with little in it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in BASIC:
        program = shutil.which(name)
        assert program is not None
        add(folder, name, f'exec {program} "$@"')
    add(folder, "python3", f'exec {sys.executable} "$@"')
    return folder


def add(folder: Path, name: str, script: str) -> None:
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def call(folder: Path, script: str, *arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        ["/bin/sh", ROOT / "tools" / script, *arguments],
        env={"PATH": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return done.returncode, done.stdout


def test_missing_cargo_is_said_in_one_line(bare: Path) -> None:
    told = "left out, as cargo is not installed: the crates\n"
    assert call(bare, "have_cargo.sh", "the crates") == (1, told)


@pytest.mark.parametrize("version", ["0.66.0", "1.63.0", "1.84.1"])
def test_old_cargo_is_said_in_one_line(bare: Path, version: str) -> None:
    add(bare, "cargo", f"echo 'cargo {version} (2f6bc9b4c)'")
    told = f"left out, as cargo is {version} and 1.85 is needed: the crates\n"
    assert call(bare, "have_cargo.sh", "the crates") == (1, told)


@pytest.mark.parametrize("version", ["1.85.0", "1.100.2", "2.0.0"])
def test_fitting_cargo_is_taken(bare: Path, version: str) -> None:
    add(bare, "cargo", f"echo 'cargo {version} (2f6bc9b4c)'")
    assert call(bare, "have_cargo.sh", "the crates") == (0, "")


def test_without_rights_the_line_to_run_is_printed(bare: Path) -> None:
    for name, script in {"apt-get": "exit 1", "id": "echo 1000", "gcc": "exit 0"}.items():
        add(bare, name, script)
    code, told = call(bare, "install_packages.sh", "--build-only")
    assert code == 0
    assert told.count("\n") == 1
    assert "run: sudo apt-get install g++ cmake pkg-config" in told
    assert " gcc" not in told  # that is there


def test_root_installs_what_is_missing(bare: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    add(bare, "apt-get", f'echo "$@" >>{log}')
    add(bare, "apt-cache", "echo '  Depends: clang-19'")
    add(bare, "id", "echo 0")
    add(bare, "uname", "echo x86_64")
    assert call(bare, "install_packages.sh") == (0, "")
    update, install = log.read_text().splitlines()
    assert update.startswith("update")
    for package in (
        "clang",
        "lld",
        "valgrind",
        "gcc-arm-none-eabi",
        "libnewlib-arm-none-eabi",
        "qemu-system-x86",
        "busybox-static",
        "cpio",
        "xz-utils",
    ):
        assert f" {package}" in install
    # The run-time library for WebAssembly has the compiler's version in its name.
    assert "libclang-rt-19-dev-wasm32" in install


def test_virtual_machine_that_can_not_be_had_is_said_in_one_line(bare: Path) -> None:
    add(bare, "uname", "echo x86_64")
    told = "setup: no virtual machine for the tests: qemu-system-x86_64 is not installed\n"
    assert call(bare, "install_virtual_machine.sh") == (0, told)
    add(bare, "uname", "echo riscv64")
    told = "setup: no virtual machine for the tests: its kernel is for x86_64, this is riscv64\n"
    assert call(bare, "install_virtual_machine.sh") == (0, told)


def test_nothing_is_done_where_nothing_is_missing(bare: Path) -> None:
    for name in ("gcc", "g++", "cmake", "pkg-config"):
        add(bare, name, "exit 0")
    add(bare, "apt-get", "echo called; exit 1")
    assert call(bare, "install_packages.sh", "--build-only") == (0, "")
