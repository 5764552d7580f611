"""The other compiler: clang takes every source without a word, in the strictest of its moods."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from common import ROOT, run
from simulated import guest_flags, is_guest

HOSTED = [
    "src/core", "src/engine", "src/linux", "src/wasi", "src/worker", "src/sandbox", "src/qnx",
    "sim/common", "sim/qnx",
]  # fmt: skip
SOURCES = [path for folder in HOSTED for path in sorted((ROOT / "c" / folder).glob("*.c"))]


@pytest.mark.skipif(shutil.which("clang") is None, reason="clang is not installed")
@pytest.mark.parametrize("source", SOURCES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_source_is_clean(source: Path) -> None:
    warnings = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror"]
    flags = [f"-I{ROOT}/c/include", *(guest_flags("clang") if is_guest(source) else [])]
    assert run("clang", "-std=c11", *warnings, "-fsyntax-only", *flags, source) == ""
