"""What a wait costs, by the system's own account; see park.c."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from common import run

PARKS = 50


@pytest.mark.row("SY-1")
@pytest.mark.parametrize(
    "backend", ["linux", pytest.param("qnx", marks=pytest.mark.row("QS-1", proof="sim"))]
)
def test_a_park_is_one_wait_of_the_system_and_no_work(
    build: Callable[..., Path], backend: str
) -> None:
    link = "-Wl,--wrap=syscall" if backend == "linux" else ""
    program = build("park", f"backend_{backend}", f"counts_{backend}", link=link)
    waits, millionths, needed, idle = map(int, run(program, str(PARKS)).split())
    assert waits == PARKS
    assert millionths < 10_000  # 1 %
    assert needed == PARKS + 1
    assert idle == 0, "a wake call was made while nobody waited"
