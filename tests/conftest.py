"""What all tests share: where things are, and builds that are made once for everybody."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import sys
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
import vm
from cargo import require_cargo
from common import ROOT, run
from crates import FetchError
from sqlite_guest import find_clang, sqlite_module

FOLDERS = {"dev": "sanitized"}
SETTINGS = {"dev": [f"-DPython_EXECUTABLE={sys.executable}"]}


def pytest_configure(config: pytest.Config) -> None:
    """A shell starts what it runs in the background deaf to Ctrl-C, and that is inherited: but
    tests send it, to themselves and to programs that they start."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for plugin in vm.plugins(config):
        config.pluginmanager.register(plugin)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """What cargo would have brought is missing where cargo is; elsewhere it is a failure."""
    try:
        return (yield)
    except FetchError as error:
        require_cargo()
        raise error


@pytest.fixture(scope="session")
def root() -> Path:
    """The top of the source tree."""
    return ROOT


@pytest.fixture(scope="session")
def sqlite() -> Path:
    """SQLite as a guest. It is left out where cargo or the compiler is missing; where both are
    there, a download or a build that fails is a failure."""
    require_cargo()
    try:
        find_clang()
    except FetchError as error:
        pytest.skip(str(error))
    return sqlite_module()


@pytest.fixture(scope="session")
def preset_build() -> Callable[[str], Path]:
    """Builds a preset of CMakePresets.json, one process at a time, and returns its folder."""

    def build(preset: str) -> Path:
        folder = ROOT / "build" / FOLDERS.get(preset, preset)
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder.with_suffix(".lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            run("cmake", "--preset", preset, *SETTINGS.get(preset, []))
            run("cmake", "--build", "--preset", preset, "-j", str(os.cpu_count()))
        return folder

    return build


@pytest.fixture(scope="session")
def release_build(preset_build: Callable[[str], Path]) -> Path:
    """The library as it is installed."""
    return preset_build("release")


@pytest.fixture(scope="session")
def cortex_m4_build(preset_build: Callable[[str], Path]) -> Path:
    """Core and engine for a small processor."""
    if shutil.which("arm-none-eabi-gcc") is None:
        pytest.skip("arm-none-eabi-gcc is not installed")
    return preset_build("cortex-m4")


@pytest.fixture(scope="session")
def support(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Compiles tests/support/<name>.c to a shared library, once, and returns its path."""
    folder = tmp_path_factory.mktemp("support")

    def build(name: str) -> Path:
        library = folder / f"lib{name}.so"
        if not library.exists():
            source = ROOT / f"tests/support/{name}.c"
            run("cc", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-fPIC", "-shared",
                "-o", library, source)  # fmt: skip
        return library

    return build


@pytest.fixture(scope="session")
def sanitized_build(preset_build: Callable[[str], Path]) -> Path:
    """Library and Python module with the address and undefined-behaviour sanitizers."""
    return preset_build("dev")
