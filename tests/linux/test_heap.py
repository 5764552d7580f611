"""Row PA-4: allocators and pools take nothing from the heap."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from common import ROOT, run


@pytest.fixture(scope="module")
def program(support: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """tests/support/heap_work.c with the C sources of core and linux, and the spy to resolve."""
    spy = support("heap_spy")
    program = tmp_path_factory.mktemp("heap") / "heap_work"
    sources = [*sorted(ROOT.glob("c/src/core/*.c")), *sorted(ROOT.glob("c/src/linux/*.c"))]
    source = ROOT / "tests/support/heap_work.c"
    run(
        "cc",
        "-std=gnu11",
        "-O2",
        "-fno-builtin",
        "-ffunction-sections",  # what is left unused, and what that uses, is left out
        "-Wl,--gc-sections",
        f"-I{ROOT}/c/include",
        source,
        *sources,
        spy,
        "-o",
        program,
    )
    return program


def heap_calls(program: Path, spy: Path, *arguments: str) -> int:
    environment = {**os.environ, "LD_PRELOAD": str(spy)}
    done = subprocess.run(
        [program, *arguments], env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.whole_process
@pytest.mark.row("PA-4")
def test_a_hundred_rounds_of_everything_call_the_heap_never(
    program: Path, support: Callable[[str], Path]
) -> None:
    assert heap_calls(program, support("heap_spy")) == 0


@pytest.mark.whole_process
@pytest.mark.row("PA-4")
def test_the_spy_sees_a_program_that_does(program: Path, support: Callable[[str], Path]) -> None:
    assert heap_calls(program, support("heap_spy"), "heap") == 200
