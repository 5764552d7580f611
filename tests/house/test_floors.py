"""Who may include whom, and what a header or a source may not hold."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from common import ROOT

INCLUDE = ROOT / "c/include"
SOURCES = ROOT / "c/src"
SIMULATIONS = ROOT / "c/sim"
FOLDERS = [path for tree in (SOURCES, SIMULATIONS) for path in sorted(tree.iterdir())]
FILES = [path for path in sorted(ROOT.glob("c/**/*")) if path.suffix in (".c", ".h", ".inc")]

HEADER_LIBRARY = {"stdint.h", "stddef.h", "stdbool.h"}
# The compiler brings these along, without any operating system; string.h is four functions here.
FREESTANDING_LIBRARY = HEADER_LIBRARY | {"emmintrin.h", "float.h", "limits.h", "string.h"}
COMPILER_HEADERS = HEADER_LIBRARY | {"float.h", "limits.h", "stdarg.h", "stdatomic.h"}

# Each floor, and the folders of c/src below it. The system is reached through one `sys.h`.
BELOW = {
    "core": set(),
    "engine": {"core"},
    "linux": {"core"},
    "cortexm": {"core"},
    "qnx": {"core"},
    "wasi": {"core", "engine"},
    "worker": {"core", "engine"},
    "sandbox": {"core", "engine", "linux", "wasi", "worker"},
    "doctor": {"core", "engine", "linux", "sandbox", "wasi", "worker"},
}
BARE_METAL = {"core", "engine", "cortexm"}

INCLUDE_LINE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]', re.MULTILINE)


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def includes(path: Path) -> list[tuple[str, str]]:
    """Each include as ("<" or '"', what is between)."""
    return INCLUDE_LINE.findall(path.read_text())


def breaches(path: Path) -> list[str]:
    """The includes of a file that its floor does not allow."""
    if path.is_relative_to(SIMULATIONS):
        return [name for mark, name in includes(path) if not simulated(path, mark, name)]
    public = path.is_relative_to(INCLUDE)
    floor = "" if public else path.relative_to(SOURCES).parts[0]
    return [name for mark, name in includes(path) if not allowed(path, floor, mark, name)]


def allowed(path: Path, floor: str, mark: str, name: str) -> bool:
    if mark == "<":
        if not floor:
            return name in HEADER_LIBRARY
        return name in FREESTANDING_LIBRARY or (path.name == "sys.h" and floor not in BARE_METAL)
    if (INCLUDE / name).is_file():
        return True
    target = (path.parent / name).resolve()
    if not floor or not target.is_relative_to(SOURCES):
        return False
    return target.relative_to(SOURCES).parts[0] in BELOW[floor] | {floor}


def simulated(path: Path, mark: str, name: str) -> bool:
    """A simulated kernel stands apart: its entries see the other system's headers, its work this
    machine's by way of host.h, and what is public about it fails as the library does."""
    if mark == "<":
        headers = path.relative_to(SIMULATIONS).parts[1] == "include"
        guest = headers or path.name.startswith("entry_")
        if guest:
            return is_of_the_guest(path, name)
        return path.name == "host.h" or name in HEADER_LIBRARY
    if (INCLUDE / name).is_file():
        return path.name.startswith("control")
    target = (path.parent / name).resolve()
    if target.is_relative_to(SOURCES / "core"):
        return path.name.startswith("control") and target.name in ("config.h", "fail.h")
    return target.is_relative_to(SIMULATIONS)


def is_of_the_guest(path: Path, name: str) -> bool:
    headers = SIMULATIONS / path.relative_to(SIMULATIONS).parts[0] / "include"
    return (headers / name).is_file() or name in COMPILER_HEADERS


def conditionals_in_functions(text: str) -> list[int]:
    """Lines with an #if inside a function; functions stand between braces in column 1."""
    inside, lines = False, []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith(("{", "}")):
            inside = line.startswith("{")
        if inside and re.match(r"\s*#\s*(if|ifdef|ifndef|elif)\b", line):
            lines.append(number)
    return lines


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_file_includes_only_what_stands_below_it(path: Path) -> None:
    assert breaches(path) == []


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_no_conditional_stands_inside_a_function(path: Path) -> None:
    assert conditionals_in_functions(path.read_text()) == []


@pytest.mark.parametrize("path", sorted(INCLUDE.rglob("*.h")), ids=name_of)
def test_public_header_holds_declarations_only(path: Path) -> None:
    """Constants are enums, because a macro does not reach Python and Rust."""
    text = re.sub(r"/\*.*?\*/|//[^\n]*", "", path.read_text(), flags=re.DOTALL)
    guard = re.sub(r"\W", "_", str(path.relative_to(INCLUDE))).upper()
    macros = set(re.findall(r"#\s*define\s+(\w+)", text)) - {guard}
    shared = {"WRT_API", "WRT_NODISCARD", "WRT_BEGIN_DECLS", "WRT_END_DECLS"}
    assert macros == (shared if path.name == "status.h" else set())
    assert re.findall(r"\b(?:inline|static|_Atomic|_Alignas|__extension__)\b", text) == []
    assert re.findall(r"\b\w+\s+\w+\s*:\s*\d+\s*;", text) == [], "a bit field"
    assert re.findall(r"\benum\s*\{", text) == [], "an enum without a name"


@pytest.mark.parametrize("path", sorted(INCLUDE.rglob("*.h")), ids=name_of)
def test_public_function_is_exported_and_its_status_is_not_dropped(path: Path) -> None:
    text = re.sub(r"/\*.*?\*/|//[^\n]*", "", path.read_text(), flags=re.DOTALL)
    text = re.sub(r"^\s*#.*$", "", text, flags=re.MULTILINE)
    for declaration in re.findall(r"[^;{}]*\bwrt_\w+\s*\([^;{}]*\)\s*(?=;)", text):
        if "typedef" in declaration:
            continue
        assert "WRT_API" in declaration, declaration
        if re.search(r"\bwrt_status\s+wrt_", declaration):
            assert "WRT_NODISCARD" in declaration, declaration


@pytest.mark.parametrize("folder", FOLDERS, ids=name_of)
def test_folder_lists_all_its_sources(folder: Path) -> None:
    listed = re.findall(r"^\s+(\w+\.c)\b", (folder / "CMakeLists.txt").read_text(), re.M)
    assert listed == sorted(path.name for path in folder.glob("*.c"))
    for path in folder.glob("*"):
        assert path.is_file() or path.name == "include", "folders are not nested"


# The rules themselves, on files that break them.


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("include/wrt_platform/probe.h", "#include <string.h>"),
        ("include/wrt_platform/probe.h", '#include "../../src/core/fail.h"'),
        ("src/core/probe.c", "#include <stdio.h>"),
        ("src/core/probe.c", '#include "../engine/parts.h"'),
        ("src/core/sys.h", "#include <unistd.h>"),
        ("src/engine/probe.c", '#include "../linux/sys.h"'),
        ("src/linux/probe.c", "#include <sys/mman.h>"),
        ("src/qnx/probe.c", "#include <sys/neutrino.h>"),
        ("sim/qnx/kernel_probe.c", "#include <pthread.h>"),
        ("sim/qnx/kernel_probe.c", "#include <unistd.h>"),
        ("sim/qnx/entry_probe.c", "#include <sys/prctl.h>"),
        ("sim/qnx/include/probe.h", "#include <linux/futex.h>"),
    ],
)
def test_breach_is_seen(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: str, line: str
) -> None:
    monkeypatch.setitem(globals(), "INCLUDE", tmp_path / "include")
    monkeypatch.setitem(globals(), "SOURCES", tmp_path / "src")
    monkeypatch.setitem(globals(), "SIMULATIONS", tmp_path / "sim")
    probe = tmp_path / place
    probe.parent.mkdir(parents=True)
    probe.write_text(f"#include <stdint.h>\n{line}\n")
    assert len(breaches(probe)) == 1


def test_conditional_in_a_function_is_seen() -> None:
    text = "#if A\nint f(void)\n{\n#ifdef B\n    return 1;\n#endif\n}\n#if C\n#endif\n"
    assert conditionals_in_functions(text) == [4]
