"""The built library: what it exports, what it needs, how its interpreter came out."""

from __future__ import annotations

import platform
import re
from pathlib import Path

import pytest
from common import ROOT, run

# Compilers emit calls to these four by themselves, so even bare metal has to have them.
MEMORY_FUNCTIONS = {"memcpy", "memmove", "memset", "memcmp"}


def symbols(file: Path, *options: str) -> set[str]:
    """Names as `nm` shows them, without their version."""
    lines = run("nm", "--format=posix", *options, file).splitlines()
    return {line.split()[0].split("@")[0] for line in lines if not line.endswith(":")}


def objects(build: Path, *folders: str) -> list[Path]:
    return [path for folder in folders for path in build.glob(f"c/src/{folder}/**/*.o*")]


def public_functions() -> set[str]:
    """What the headers declare, read without any parser of ours that the build uses."""
    text = "".join(path.read_text() for path in (ROOT / "c/include").rglob("*.h"))
    return set(re.findall(r"^WRT_API\b[^;]*?\b(wrt_\w+)\s*\(", text, re.MULTILINE))


def test_library_exports_its_public_functions_and_nothing_else(release_build: Path) -> None:
    exported = symbols(release_build / "libwrt_platform.so", "-D", "--defined-only")
    assert exported - {"WRT_0"} == public_functions()


def test_internal_functions_say_so_by_their_name(release_build: Path) -> None:
    defined = symbols(release_build / "libwrt_platform.a", "--defined-only", "--extern-only")
    internal = defined - public_functions()
    prefixes = ("wrt__", "wrt_fail", "sim_", "qk_")
    assert {name for name in internal if not name.startswith(prefixes)} == set()


@pytest.mark.row("PA-4")
def test_core_and_engine_need_four_memory_functions_of_the_system(release_build: Path) -> None:
    """No malloc, no printf, no OS: whatever else they call is defined in the library itself."""
    files = objects(release_build, "core", "engine")
    needed = set().union(*(symbols(file, "--undefined-only") for file in files))
    defined = symbols(release_build / "libwrt_platform.a", "--defined-only", "--extern-only")
    assert len(files) >= 10
    assert needed - defined - {"_GLOBAL_OFFSET_TABLE_"} <= MEMORY_FUNCTIONS


def test_soname_holds_the_major_version(release_build: Path) -> None:
    dynamic = run("readelf", "-dW", release_build / "libwrt_platform.so")
    assert "[libwrt_platform.so.0]" in dynamic
    assert set(re.findall(r"NEEDED.*\[(.*)\]", dynamic)) <= {"libc.so.6", "ld-linux-x86-64.so.2"}


@pytest.mark.skipif(platform.machine() != "x86_64", reason="reads x86-64 instructions")
def test_each_handler_of_the_interpreter_jumps_by_itself(release_build: Path) -> None:
    """Merged into one shared jump, which compilers like to do, it would be several times slower."""
    files = [path for path in objects(release_build, "engine") if "interpreter" in path.name]
    assert files != []
    code = run("objdump", "-d", "--no-show-raw-insn", *files)
    jumps = re.findall(r"\bjmp\s+\*", code)
    assert len(jumps) > 150
