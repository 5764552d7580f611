"""Waits in C, where Python looks at no signal: they are cut, so that Ctrl-C lands in time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from wrt_platform._native import lib
from wrt_platform.errors import check
from wrt_platform.system_below import nanoseconds

SLICE_NS = 50_000_000  # so long Ctrl-C may have to wait


def wait_in_slices(timeout: Any, call: Callable[[int], int]) -> None:
    """Calls C with a timeout_ns, again while it says TIMED_OUT and there is time left; then raises
    what it said. timeout: seconds, or text like "5s"; None: without limit."""
    end = None if timeout is None else time.monotonic_ns() + nanoseconds(timeout, "timeout")
    while True:
        rest = SLICE_NS if end is None else max(0, end - time.monotonic_ns())
        status = call(min(rest, SLICE_NS))
        if status != lib.WRT_ERR_TIMED_OUT or (end is not None and rest <= SLICE_NS):
            check(status)
            return


def wait_until_in_slices(
    deadline_ns: int | None, clock_ns: Callable[[], int], call: Callable[[int], int]
) -> None:
    """The same with a point in time, on the clock that is given: C gets the end of each slice."""
    while True:
        end = clock_ns() + SLICE_NS
        is_last = deadline_ns is not None and deadline_ns <= end
        status = call(deadline_ns if is_last and deadline_ns is not None else end)
        if status != lib.WRT_ERR_TIMED_OUT or is_last:
            check(status)
            return
