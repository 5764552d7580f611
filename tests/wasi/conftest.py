"""Programs, compiled once for all tests, and guests to talk to."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from common import ROOT, run
from wasi.console import Console, OurConsole, TheirConsole

PROGRAMS = Path(__file__).parent / "programs"
BUILD = ROOT / "build/wasi-programs"
ARGUMENTS = ["program", "one", "zwei", ""]
ENVIRONMENT = {"HOME": "/", "EMPTY": "", "TEXT": "a=b"}


def clang() -> str:
    """A clang that finds the headers and libraries of wasi-libc."""
    for name in ("clang", "clang-19", "clang-18", "clang-17", "clang-16", "clang-15", "clang-14"):
        if shutil.which(name) and Path("/usr/include/wasm32-wasi/wasi/api.h").exists():
            return name
    pytest.skip("clang or wasi-libc is not installed")


def build_once(source: Path, command: list[str], suffix: str) -> Path:
    """Runs `command` with the place of its output added, unless it has been run before."""
    digest = hashlib.sha256(source.read_bytes() + repr(command).encode()).hexdigest()[:16]
    output = BUILD / f"{source.stem}-{digest}{suffix}"
    if not output.exists():
        BUILD.mkdir(parents=True, exist_ok=True)
        unfinished = output.with_suffix(f".{os.getpid()}")
        run(*command, "-o", unfinished)
        unfinished.rename(output)  # whole or not at all, whoever else is building
    return output


@pytest.fixture(scope="session")
def program() -> Callable[[str], Path]:
    """Compiles programs/<name>.c with clang and wasi-libc."""

    def build(name: str) -> Path:
        source = PROGRAMS / f"{name}.c"
        flags = ["--target=wasm32-wasi", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror"]
        return build_once(source, [clang(), *flags, str(source)], ".wasm")

    return build


@pytest.fixture(scope="session")
def native_program() -> Callable[[str], Path]:
    """The same for this machine: the operating system itself says what is right."""

    def build(name: str) -> Path:
        source = PROGRAMS / f"{name}.c"
        return build_once(source, ["cc", "-std=gnu11", "-O1", str(source)], "")

    return build


@pytest.fixture(scope="session")
def rust_program() -> Callable[[str], Path]:
    """Compiles programs/<name>.rs with rustc for wasm32-wasip1."""

    def build(name: str) -> Path:
        if shutil.which("rustc") is None:
            pytest.skip("rustc is not installed")
        found = subprocess.run(
            ["rustc", "--print", "target-libdir", "--target", "wasm32-wasip1"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        if found.returncode != 0 or not Path(found.stdout.strip()).is_dir():
            pytest.skip("rustc has no target wasm32-wasip1: rustup target add wasm32-wasip1")
        source = PROGRAMS / f"{name}.rs"
        flags = ["--edition=2021", "--target", "wasm32-wasip1", "-O", "-Dwarnings"]
        return build_once(source, ["rustc", *flags, str(source)], ".wasm")

    return build


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What is lent to the guest. Beside it lies what it must never see."""
    lent = tmp_path / "lent"
    lent.mkdir()
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    return lent


@pytest.fixture
def console(folder: Path) -> OurConsole:
    """A guest in our engine; `folder` is its descriptor 3."""
    return OurConsole(preopens=[(folder, "/")], arguments=ARGUMENTS, environment=ENVIRONMENT)


@pytest.fixture(params=["ours", "wasmtime"])
def either(request: pytest.FixtureRequest, folder: Path) -> Console:
    """The same guest in our engine and in Wasmtime: a test that passes in both has not been
    made to fit ours."""
    if request.param == "wasmtime":
        pytest.importorskip("wasmtime")
        return TheirConsole(folder, ARGUMENTS, ENVIRONMENT)
    return OurConsole(preopens=[(folder, "/")], arguments=ARGUMENTS, environment=ENVIRONMENT)
