"""Damaged modules, under sanitizers: refused or run, but never a wrong access.

The driver, tests/support/hostile.c, aborts on everything that is not as it should be; a sanitizer
ends it at the first access beyond a block or undefined operation.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from common import ROOT, run
from support.guest import assemble

PROGRAMS = sorted((ROOT / "examples/programs").glob("*.wasm"))
FEATURES = Path(__file__).parent / "features.wat"
SEED = 20_240_817
MUTATIONS = 10_000 // len(PROGRAMS) + 1  # of each program

SANITIZED = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
BUILD = ROOT / "build/hostile"

Driver = Callable[[Path, int], dict[str, int]]


def sanitized_library() -> Path:
    """The library built with the sanitizers; one process at a time builds what has changed."""
    BUILD.mkdir(parents=True, exist_ok=True)
    with open(BUILD.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        run("cmake", "-S", ROOT, "-B", BUILD, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Debug",
            "-DCMAKE_C_FLAGS_DEBUG=-O1 -g", "-DWRT_PLATFORM_SANITIZE=ON",
            "-DWRT_PLATFORM_INSTALL=OFF")  # fmt: skip
        run("cmake", "--build", BUILD, "--target", "wrt_platform_static")
    return BUILD / "libwrt_platform.a"


def compile_driver(driver: Path, *instead: Path, headers: Path = ROOT / "c") -> Path:
    """The driver on the library, or on other sources for parts of it."""
    run("gcc", "-std=gnu11", "-g", "-O1", "-Wall", "-Wextra", "-Werror", *SANITIZED,
        f"-I{headers / 'include'}", ROOT / "tests/support/hostile.c", *instead,
        sanitized_library(), "-o", driver)  # fmt: skip
    return driver


def feed(driver: Path, module: Path, mutations: int) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}
    environment["ASAN_OPTIONS"] = "detect_leaks=1"
    command = [str(driver), str(module), str(SEED), str(mutations)]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Driver:
    driver = compile_driver(tmp_path_factory.mktemp("hostile") / "hostile")

    def drive(module: Path, mutations: int) -> dict[str, int]:
        done = feed(driver, module, mutations)
        assert done.returncode == 0, done.stderr
        seen: dict[str, int] = json.loads(done.stdout)
        return seen

    return drive


def check(seen: dict[str, int], size: int, mutations: int) -> None:
    """All were tried, and enough of each kind that the test is worth its name."""
    kinds = ("malformed", "invalid", "unsupported", "valid")
    assert sum(seen[kind] for kind in kinds) == 1 + size + mutations
    assert seen["malformed"] > size * 0.9
    assert seen["invalid"] > mutations // 20
    assert seen["linked"] > mutations // 20
    assert seen["calls"] >= seen["linked"] * 0.9


@pytest.mark.whole_process
@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_every_truncation_and_many_mutations_of_a_real_program(path: Path, hostile: Driver) -> None:
    check(hostile(path, MUTATIONS), path.stat().st_size, MUTATIONS)


@pytest.mark.whole_process
def test_mutations_of_a_module_that_uses_every_feature(tmp_path: Path, hostile: Driver) -> None:
    module = tmp_path / "features.wasm"
    module.write_bytes(assemble(FEATURES.read_text()))
    check(hostile(module, 10_000), module.stat().st_size, 10_000)


@pytest.mark.whole_process
def test_the_driver_notices_a_byte_read_beyond_the_end(tmp_path: Path) -> None:
    """The same test of a reader whose check is off by one."""
    broken = tmp_path / "c"
    shutil.copytree(ROOT / "c", broken)
    reader = broken / "src/engine/reader.h"
    text = reader.read_text()
    assert text.count("reader->at < reader->end") == 3
    reader.write_text(text.replace("reader->at < reader->end", "reader->at <= reader->end"))
    engine = broken / "src/engine"
    loaders = re.compile('#include "(loader|validator|reader|opcodes).h"')
    readers = [path for path in engine.glob("*.c") if loaders.search(path.read_text())]
    driver = compile_driver(tmp_path / "hostile", *readers, headers=broken)
    done = feed(driver, PROGRAMS[0], 0)
    assert done.returncode != 0
    assert "heap-buffer-overflow" in done.stderr
