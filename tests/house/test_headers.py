"""Each public header alone, included twice, as C and as C++."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from common import ROOT

INCLUDE = ROOT / "c/include"
HEADERS = sorted(str(path.relative_to(INCLUDE)) for path in INCLUDE.rglob("*.h"))
COMPILERS = {
    "gcc": ["gcc", "-x", "c"],
    "clang": ["clang", "-x", "c"],
    "g++": ["g++", "-x", "c++"],
    "clang++": ["clang++", "-x", "c++"],
}
STANDARDS = [(compiler, "c11") for compiler in ("gcc", "clang")]
STANDARDS += [(compiler, f"c++{year}") for compiler in ("g++", "clang++") for year in (11, 17, 20)]


def complaints(compiler: str, standard: str, source: str) -> str:
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    flags = ["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only"]
    command = [*COMPILERS[compiler], f"-std={standard}", *flags, f"-I{INCLUDE}", "-"]
    return subprocess.run(command, input=source + "\n", capture_output=True, text=True).stderr


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize(("compiler", "standard"), STANDARDS)
def test_header_stands_alone(header: str, compiler: str, standard: str) -> None:
    assert complaints(compiler, standard, f'#include "{header}"\n' * 2) == ""


@pytest.mark.parametrize(("compiler", "standard"), STANDARDS)
def test_config_is_filled_as_the_headers_show(compiler: str, standard: str) -> None:
    """The idiom of the documentation: zeroed, then field by field."""
    zero = "{0}" if compiler in ("gcc", "clang") else "{}"
    source = f"""
        #include "wrt_platform/pool.h"
        int probe(wrt_pool *pool);
        int probe(wrt_pool *pool)
        {{
            wrt_pool_config config = {zero};
            config.struct_size = sizeof config;
            config.class_count = 1;
            return wrt_pool_init(pool, &config) == WRT_OK;
        }}
    """
    assert complaints(compiler, standard, source) == ""


def test_dropped_status_is_an_error() -> None:
    source = '#include "wrt_platform/pool.h"\nvoid f(wrt_pool *p) { wrt_pool_deinit(p); }\n'
    assert "warn_unused_result" in complaints("clang", "c11", source)
