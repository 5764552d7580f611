"""The C examples, built against the installed library as a user would build them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from common import ROOT, run
from support.runtime_example import ON_LINUX, ON_QNX

PROGRAMS = ROOT / "examples/programs"


@pytest.fixture(scope="module")
def prefix(release_build: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the library is installed."""
    folder = tmp_path_factory.mktemp("prefix")
    run("cmake", "--install", release_build, "--prefix", folder)
    return folder


@pytest.fixture(scope="module")
def by_cmake(prefix: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cmake")
    flags = "-DCMAKE_C_FLAGS=-Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror"
    run("cmake", "-S", ROOT / "examples/c", "-B", folder, f"-DCMAKE_PREFIX_PATH={prefix}", flags)
    run("cmake", "--build", folder)
    return folder


@pytest.fixture(scope="module")
def by_pkg_config(prefix: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("pkg-config") is None:
        pytest.skip("pkg-config is not installed")
    folder = tmp_path_factory.mktemp("pkg-config")
    packages = next(prefix.rglob("pkgconfig"))
    make = ["make", "-C", str(ROOT / "examples/c"), f"OUT={folder}"]
    environment = {**os.environ, "PKG_CONFIG_PATH": str(packages)}
    subprocess.run(make, check=True, stdout=subprocess.DEVNULL, env=environment)
    return folder


def call(
    folder: Path, prefix: Path, *words: str, cwd: Path = PROGRAMS
) -> subprocess.CompletedProcess[str]:
    """Runs an example, the loader finding the library where it is installed."""
    library = next(prefix.rglob("libwrt_platform.so"))
    environment = {**os.environ, "LD_LIBRARY_PATH": str(library.parent)}
    command = [str(folder / words[0]), *words[1:]]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=environment)


def report_of(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(done.stderr.splitlines()[-1])
    assert report["exit_code"] == done.returncode
    return report


@pytest.mark.parametrize("way", ["by_cmake", "by_pkg_config"])
def test_host_function_is_called_and_its_trap_caught(
    way: str, prefix: Path, request: pytest.FixtureRequest
) -> None:
    done = call(request.getfixturevalue(way), prefix, "host_function")
    assert done.returncode == 0
    assert done.stdout == (
        "of four: 21\n"
        "of none: integer divide by zero, in average, at byte 93\n"
        "of five: the host has no fifth sample\n"
        "of three: 21\n"
    )


@pytest.mark.parametrize("way", ["by_cmake", "by_pkg_config"])
def test_program_runs_in_its_folder(way: str, prefix: Path, request: pytest.FixtureRequest) -> None:
    words = ["--dir", "data::/d", "orders.wasm", "/d/orders.csv", "region", "amount"]
    done = call(request.getfixturevalue(way), prefix, "run", *words)
    assert done.stdout == (PROGRAMS / "expected/orders.txt").read_text()
    report = report_of(done)
    assert report["status"] == "exited"
    assert report["cpu_ns"] > 0
    assert report["wall_ns"] > 0
    assert 0 < report["peak_pages"] < 100


@pytest.mark.parametrize(
    ("words", "code", "status", "complaint"),
    [
        (["--fuel", "1000000", "queens.wasm", "12"], 125, "out of fuel", "the fuel is used up"),
        (["--timeout-ms", "200", "digest.wasm", "1000000000"], 124, "timed out", "time limit"),
        (["--memory-pages", "1", "squeeze.wasm"], 126, "memory limit", "the limit is 1"),
        (["--memory-pages", "20", "squeeze.wasm", "4096"], 1, "exited", "out of memory"),
        (["queens.wasm", "99"], 1, "exited", "the size is 1 to 14"),
        (["nothing.wasm"], 2, "refused", "nothing.wasm: No such file"),
        (["queens.c"], 2, "refused", "magic header"),
        (["--dir", "nothing", "queens.wasm"], 2, "refused", "ENOENT"),
    ],
)
def test_every_end_has_its_code_and_its_line(
    by_cmake: Path, prefix: Path, words: list[str], code: int, status: str, complaint: str
) -> None:
    done = call(by_cmake, prefix, "run", *words)
    report = report_of(done)
    assert (done.returncode, report["status"]) == (code, status)
    assert complaint in done.stderr.splitlines()[-2]


@pytest.mark.parametrize(
    "words", [[], ["--fuel"], ["--fuel", "x", "queens.wasm"], ["--colour", "1", "queens.wasm"]]
)
def test_wrong_options_are_refused(by_cmake: Path, prefix: Path, words: list[str]) -> None:
    done = call(by_cmake, prefix, "run", *words)
    assert done.returncode == 2
    assert "MODULE" in done.stderr
    assert done.stdout == ""


@pytest.mark.row("RT-1", proof="sim")
@pytest.mark.parametrize("way", ["by_cmake", "by_pkg_config"])
def test_runtime_keeps_its_limits_on_both_systems(
    way: str, prefix: Path, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(way)
    done = call(folder, prefix, "runtime")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == ON_LINUX + ON_QNX
    assert call(folder, prefix, "runtime", "qnx").stdout == ON_QNX
    assert call(folder, prefix, "runtime", "vxworks").returncode == 2


@pytest.mark.row("SC-5")
@pytest.mark.parametrize("way", ["by_cmake", "by_pkg_config"])
def test_program_runs_sealed(way: str, prefix: Path, request: pytest.FixtureRequest) -> None:
    done = call(request.getfixturevalue(way), prefix, "sandbox", "queens.wasm")
    assert done.returncode == 0
    assert done.stdout == (PROGRAMS / "expected/queens.txt").read_text()
    assert "system calls       enforced" in done.stderr
    assert (
        call(request.getfixturevalue(way), prefix, "sandbox", "queens.wasm", "99").returncode == 1
    )


def test_nothing_leaks(by_cmake: Path, prefix: Path) -> None:
    """Every way out gives everything back: valgrind counts what C and kernel gave."""
    if shutil.which("valgrind") is None:
        pytest.skip("valgrind is not installed")
    library = next(prefix.rglob("libwrt_platform.so"))
    environment = {**os.environ, "LD_LIBRARY_PATH": str(library.parent)}
    check = ["valgrind", "-q", "--leak-check=full", "--track-fds=yes", "--error-exitcode=99"]
    for words in (["queens.wasm", "4"], ["--fuel", "500", "queens.wasm"], ["queens.c"]):
        command = [*check, str(by_cmake / "run"), *words]
        done = subprocess.run(
            command, cwd=PROGRAMS, capture_output=True, text=True, env=environment
        )
        assert done.returncode != 99, done.stderr
        assert "are definitely lost" not in done.stderr
