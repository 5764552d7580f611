"""Waits in tests: for what threads and processes do, and never without an end."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 20  # seconds after which a test has failed


def wait_until(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.002)
