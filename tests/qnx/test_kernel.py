"""The simulated QNX kernel, judged by programs that are written in QNX's own calls.

Each semantic has a switch that breaks it; the test that is named for it must then fail, since a
simulation is worth no more than what would be noticed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from common import ROOT
from kernel_programs import SOURCES, build, outcome

PROGRAMS = ["conditions", "mutexes", "orders", "pulses", "threads", "timeouts"]

# Each semantic that can be broken, and a test that has to notice.
NOTICED_BY = {
    "run order": "higher_priority_runs_at_once_and_equals_in_turn",
    "wake order": "waiter_of_highest_priority_is_next",
    "pulse order": "higher_pulse_comes_first",
    "pulse level": "equal_priority_keeps_the_order",
    "compression": "equal_neighbours_share_an_entry",
    "replace": "replacing_pulse_has_the_last_value",
    "unique": "unique_pulse_is_queued_once",
    "receiver priority": "receiver_takes_over_the_priority",
    "fixed priority": "fixed_priority_stays",
    "boost": "queued_pulse_raises_who_received_last",
    "pulse checks": "bad_pulses_are_refused",
    "pulse pool": "pool_has_an_end_and_is_used_again",
    "dead channel": "dead_channel_lets_receivers_go",
    "timeout once": "only_the_next_call_is_limited",
    "timeout states": "only_its_states_are_limited",
    "timeout now": "no_time_means_at_once",
    "inheritance": "inheritance_bounds_the_wait",
    "ceiling": "ceiling_raises_the_owner_at_once",
    "owner": "only_the_owner_unlocks",
    "recursion": "locking_twice",
    "robust": "dead_owner_of_a_robust_mutex_is_told",
    "reacquire": "time_out_returns_with_the_mutex",
    "broadcast": "broadcast_wakes_all_by_priority",
    "semaphore": "semaphore_counts_and_wakes_by_priority",
    "explicit scheduling": "scheduling_is_inherited_or_explicit",
    "run mask": "run_masks_are_set_and_inherited",
    "thread death": "ends_are_told_by_pulses",
    "cpu clock": "thread_clocks_count_their_own_work",
}


def names_in(program: str) -> list[str]:
    return re.findall(r'^    \{"(\w+)",', (SOURCES / f"{program}.c").read_text(), re.M)


def program_of(test: str) -> str:
    return next(program for program in PROGRAMS if test in names_in(program))


@pytest.fixture(scope="session")
def kernel(release_build: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Builds a program of tests/qnx/kernel, once."""
    folder = tmp_path_factory.mktemp("kernel")

    def program(name: str) -> Path:
        if not (folder / name).exists():
            library = release_build / "libwrt_platform.a"
            build(name, "concurrent_runner", ["concurrent"], library, folder)
        return folder / name

    return program


@pytest.mark.row("QS-1", proof="sim")
@pytest.mark.row("QT-1", proof="sim")
@pytest.mark.parametrize("program", PROGRAMS)
def test_kernel_does_what_is_documented(kernel: Callable[[str], Path], program: str) -> None:
    results = outcome(kernel(program))
    assert {name: why for name, why in results.items() if why} == {}
    assert list(results) == names_in(program)


@pytest.mark.parametrize("semantic", NOTICED_BY)
def test_broken_semantic_is_noticed(kernel: Callable[[str], Path], semantic: str) -> None:
    test = NOTICED_BY[semantic]
    assert outcome(kernel(program_of(test)), semantic)[test] != ""


def test_every_semantic_of_threads_has_its_witness() -> None:
    text = (ROOT / "c/sim/qnx/kernel_switches.inc").read_text()
    listed = re.findall(r'^SWITCH\(\w+, "([^"]+)"', text, re.M)
    assert listed[: len(NOTICED_BY)] == list(NOTICED_BY)
