"""The installed library: a C program finds it by CMake package and by pkg-config, and runs."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from common import ROOT, run

MODULE = ROOT / "examples/programs/queens.wasm"
EXPECTED = ROOT / "examples/programs/expected/queens.txt"


@pytest.fixture(scope="module")
def prefix(release_build: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prefix")
    run("cmake", "--install", release_build, "--prefix", folder)
    return folder


@pytest.fixture(scope="module")
def by_cmake(prefix: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the examples, built against the CMake package."""
    build = tmp_path_factory.mktemp("by-cmake")
    run("cmake", "-S", ROOT / "examples/c", "-B", build, f"-DCMAKE_PREFIX_PATH={prefix}")
    run("cmake", "--build", build)
    return build


@pytest.fixture(scope="module")
def by_pkg_config(prefix: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the examples, built with what pkg-config says."""
    if shutil.which("pkg-config") is None:
        pytest.skip("pkg-config is not installed")
    out = tmp_path_factory.mktemp("by-pkg-config")
    libraries = prefix / "lib"
    environment = f"PKG_CONFIG_PATH={libraries / 'pkgconfig'}"
    rpath = f"CFLAGS=-O2 -Wall -Wextra -Werror -Wl,-rpath,{libraries}"
    run("env", environment, "make", "-C", ROOT / "examples/c", f"OUT={out}", rpath)
    return out


@pytest.mark.parametrize("way", ["by_cmake", "by_pkg_config"])
def test_example_runs_a_program_inside_limits(way: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(way)
    done = subprocess.run([folder / "run", MODULE, "8"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, EXPECTED.read_text())
    stopped = subprocess.run([folder / "run", "--fuel", "1000", MODULE, "8"], capture_output=True)
    assert stopped.returncode == 125


@pytest.mark.parametrize("way", ["by_cmake", "by_pkg_config"])
def test_example_of_a_host_function_runs(way: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(way)
    assert run(folder / "host_function") != ""


def test_other_minor_version_is_not_taken(prefix: Path, tmp_path: Path) -> None:
    """While the version is 0.x, each minor version may change the objects' sizes."""
    project = "cmake_minimum_required(VERSION 3.21)\nproject(probe C)\n"
    (tmp_path / "CMakeLists.txt").write_text(project + "find_package(wrt_platform 0.9 CONFIG)\n")
    build = tmp_path / "build"
    answer = run("cmake", "-S", tmp_path, "-B", build, f"-DCMAKE_PREFIX_PATH={prefix}")
    assert "compatible with requested version" in answer


def test_library_is_usable_from_cpp(prefix: Path, tmp_path: Path) -> None:
    source = tmp_path / "probe.cpp"
    source.write_text(
        '#include "wrt_platform/status.h"\n#include <cstdio>\n'
        "int main() { std::puts(wrt_version()); }\n"
    )
    libraries = prefix / "lib"
    flags = [f"-I{prefix}/include", f"-L{libraries}", f"-Wl,-rpath,{libraries}", "-lwrt_platform"]
    run("g++", "-std=c++17", "-Werror", source, "-o", tmp_path / "probe", *flags)
    assert run(tmp_path / "probe").strip() == "0.1.0"


def test_installed_library_says_its_place_by_nothing(prefix: Path) -> None:
    """The package can be moved: no file holds the folder that it was built or installed in."""
    for path in prefix.rglob("*"):
        if path.is_file() and path.suffix in (".cmake", ".pc", ".h"):
            text = path.read_text()
            assert os.fspath(prefix) not in text
            assert os.fspath(ROOT) not in text
