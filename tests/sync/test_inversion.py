"""The three threads of an inversion on one processor: real SCHED_FIFO, and exact ticks in the
simulation. See inversion.c."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from wrt_platform import LockProtocol

CRITICAL, BURST = 20_000_000, 150_000_000  # nanoseconds
TOLERANCE = 10_000_000  # of a virtual machine whose host does other things


def waited(build: Callable[..., Path], backend: str, protocol: LockProtocol) -> int:
    """Nanoseconds for which the most urgent thread waited."""
    program = build("inversion", f"priorities_{backend}")
    done = subprocess.run(
        [program, str(protocol.value), str(CRITICAL), str(BURST)],
        capture_output=True,
        text=True,
        timeout=30,
    )
    if done.returncode == 77:
        pytest.skip("SCHED_FIFO is not permitted here: RLIMIT_RTPRIO is 0, and no CAP_SYS_NICE")
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.row("SY-2")
@pytest.mark.row("SY-4")
@pytest.mark.parametrize("protocol", [LockProtocol.INHERIT, LockProtocol.CEILING])
def test_the_urgent_thread_waits_no_longer_than_the_critical_section(
    build: Callable[..., Path], protocol: LockProtocol
) -> None:
    assert waited(build, "linux", protocol) <= CRITICAL + TOLERANCE


@pytest.mark.row("SY-2")
def test_without_inheritance_it_waits_for_the_middle_thread_as_well(
    build: Callable[..., Path],
) -> None:
    assert waited(build, "linux", LockProtocol.NONE) >= BURST


@pytest.mark.row("SY-2", proof="sim")
@pytest.mark.row("QS-1", proof="sim")
@pytest.mark.parametrize(
    ("protocol", "nanoseconds"),
    [
        (LockProtocol.INHERIT, CRITICAL),
        (LockProtocol.CEILING, 0),  # the owner is through before the other starts
        (LockProtocol.NONE, CRITICAL + BURST),
    ],
)
def test_on_simulated_qnx_the_wait_is_exact(
    build: Callable[..., Path], protocol: LockProtocol, nanoseconds: int
) -> None:
    assert waited(build, "qnx", protocol) == nanoseconds
