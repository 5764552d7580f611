"""How threads of a pool go to sleep: what keeps a worker awake, and how long a look is worth it."""

from __future__ import annotations

from pathlib import Path

import pytest
from common import ROOT, run

pytestmark = pytest.mark.whole_process  # a program of its own, which reaches into the pool

TRIES = 5  # where the machine has other things to do, a task may miss the look that it is meant for


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("waking") / "pool_waking"
    sources = [
        path for floor in ("core", "engine", "linux") for path in ROOT.glob(f"c/src/{floor}/*.c")
    ]
    includes = [f"-I{ROOT / 'c/include'}", f"-I{ROOT / 'c/src/core'}"]
    source = ROOT / "tests/support/pool_waking.c"
    run("cc", "-std=gnu11", "-O0", *includes, source, *sources, "-o", made, "-lpthread")
    return made


@pytest.mark.row("TH-1")
def test_worker_does_not_sleep_on_a_place_that_is_claimed(program: Path) -> None:
    run(program, "claimed")


@pytest.mark.row("TH-1")
def test_last_worker_waits_for_a_task_whose_place_is_claimed(program: Path) -> None:
    run(program, "ending")


def long_looks(program: Path, mode: str) -> str:
    """One letter a call: L where the processor was kept busy, - where not."""
    times = [float(line) for line in run(program, mode).split()]
    return "".join("L" if time > times[0] / 4 else "-" for time in times)


@pytest.mark.parametrize("mode", ["joining", "looking"])
@pytest.mark.row("TH-1")
def test_who_has_looked_in_vain_looks_briefly_until_something_is_found(
    program: Path, mode: str
) -> None:
    # In vain, then briefly; the third is found, and so the next one begins anew: in vain, once
    # briefly, in vain, three times briefly.
    seen: list[str] = []
    while len(seen) < TRIES and "L-L-L---" not in seen:
        looks = long_looks(program, mode)
        seen.append(looks[:2] + looks[3:])
    assert seen[-1] == "L-L-L---", seen
