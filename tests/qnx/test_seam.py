"""The seam between a backend for QNX and the machine that simulates it: nothing leaks through."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from common import ROOT, run
from simulated import guest_flags, is_guest

# What a guest object may want: QNX's calls by their labels, this library, the kernel below the
# entries, and what compilers put in by themselves.
ALLOWED = re.compile(
    r"sim_\w+|qk_\w+|wrt_\w+|mem(cpy|set|move|cmp)|strlen|__stack_chk_fail|_GLOBAL_OFFSET_TABLE_"
    r"|__(a|t|ub)san_\w+|__gcov_\w+"
)
BACKEND = sorted((ROOT / "c/src/qnx").glob("*.c"))
ENTRIES = sorted((ROOT / "c/sim/qnx").glob("entry_*.c"))
# Other processors: pointers of 32 bits, and characters without a sign.
TARGETS = ["x86_64-linux-gnu", "aarch64-linux-gnu", "armv7-linux-gnueabihf"]


def wanted(file: Path) -> set[str]:
    lines = run("nm", "--format=posix", "--undefined-only", file).splitlines()
    return {line.split()[0] for line in lines}


def leaks(file: Path) -> set[str]:
    return {name for name in wanted(file) if not ALLOWED.fullmatch(name)}


def objects(build: Path, folder: str) -> list[Path]:
    return sorted((build / "c" / folder).glob("**/*.o"))


def test_guest_objects_want_nothing_of_this_machine(release_build: Path) -> None:
    guests = objects(release_build, "src/qnx")
    guests += [path for path in objects(release_build, "sim/qnx") if path.name.startswith("entry")]
    assert len(guests) >= len(BACKEND) - 1 + len(ENTRIES)
    assert {file.name: leaks(file) for file in guests if leaks(file)} == {}


def test_backend_wants_the_kernel_by_qnx_calls_alone(release_build: Path) -> None:
    for file in objects(release_build, "src/qnx"):
        assert {name for name in wanted(file) if name.startswith("qk_")} == set()
        assert {name for name in wanted(file) if name.startswith("wrt_sim")} == set()


def test_no_other_object_knows_of_the_simulation(release_build: Path) -> None:
    for folder in ("core", "engine", "linux", "wasi"):
        for file in objects(release_build, f"src/{folder}"):
            assert {name for name in wanted(file) if name.startswith(("sim_", "qk_"))} == set()


def test_leak_is_seen(tmp_path: Path) -> None:
    source, compiled = tmp_path / "probe.c", tmp_path / "probe.o"
    source.write_text(
        "#include <sys/neutrino.h>\n#include <unistd.h>\nint usleep(unsigned time);\n"
        "int probe(void);\nint probe(void) { return usleep(1) + getpid() + ChannelCreate(0); }\n"
    )
    run("cc", "-std=c11", *guest_flags("cc"), "-c", source, "-o", compiled)
    assert wanted(compiled) >= {"sim_qnx_getpid", "sim_qnx_ChannelCreate"}
    assert leaks(compiled) == {"usleep"}


@pytest.mark.parametrize(
    "text", ["#include <linux/futex.h>", "#include <stdio.h>", "int a = __linux__;"]
)
def test_guest_cannot_see_this_machine(text: str) -> None:
    command = ["cc", "-std=c11", *guest_flags("cc"), "-fsyntax-only", "-x", "c", "-"]
    assert (
        subprocess.run(command, input=f"{text}\n", text=True, capture_output=True).returncode != 0
    )


@pytest.mark.skipif(shutil.which("clang") is None, reason="clang is not installed")
@pytest.mark.parametrize("version", [710, 800])
@pytest.mark.parametrize("target", TARGETS)
def test_guest_sources_compile_for_other_processors(target: str, version: int) -> None:
    flags = ["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", f"--target={target}"]
    flags += [*guest_flags("clang", version), f"-I{ROOT}/c/include", "-fsyntax-only"]
    assert run("clang", *flags, *BACKEND, *ENTRIES) == ""


@pytest.mark.parametrize("version", [710, 800])
def test_guest_headers_stand_alone(version: int) -> None:
    """Each by itself, twice, as C by both compilers' C."""
    headers = ROOT / "c/sim/qnx/include"
    for header in sorted(headers.rglob("*.h")):
        name = header.relative_to(headers)
        text = f"#include <{name}>\n#include <{name}>\nint unused;\n"
        flags = ["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only"]
        for compiler in ("gcc", "clang"):
            if shutil.which(compiler) is None:
                continue
            command = [compiler, *flags, *guest_flags(compiler, version), "-x", "c", "-"]
            done = subprocess.run(command, input=text, text=True, capture_output=True)
            assert done.stderr == "", name


def test_qnx_itself_builds_its_backend_and_no_simulation(tmp_path: Path) -> None:
    """As CMake would do it on QNX, with the simulated headers in place of the SDK's."""
    settings = {
        "CMAKE_SYSTEM_NAME": "QNX",
        "CMAKE_C_COMPILER": "gcc",
        "CMAKE_TRY_COMPILE_TARGET_TYPE": "STATIC_LIBRARY",
        "CMAKE_C_FLAGS": " ".join(guest_flags("gcc")),
        "WRT_PLATFORM_WERROR": "ON",
        "WRT_PLATFORM_INSTALL": "OFF",
    }
    options = [f"-D{name}={value}" for name, value in settings.items()]
    run("cmake", "-S", ROOT, "-B", tmp_path, "-G", "Ninja", *options)
    assert "c/sim" not in (tmp_path / "build.ninja").read_text().replace("c/sim/qnx/include", "")
    run("cmake", "--build", tmp_path, "--target", "wrt_qnx")
    assert {path.name.removesuffix(".o") for path in tmp_path.rglob("c/src/qnx/**/*.o")} == {
        path.name for path in BACKEND
    }


def test_backend_does_not_ask_what_it_runs_on() -> None:
    for source in BACKEND:
        assert is_guest(source)
        assert re.findall(r"^\s*#\s*if.*(?:SIM|linux)", source.read_text(), re.M) == []
        assert "sim_" not in source.read_text()
