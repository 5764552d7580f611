"""Threads that run until a test lets them go."""

from __future__ import annotations

import threading
from typing import Any

from wrt_platform import ThreadBuilder


class Held:
    """A thread that runs until it is let go."""

    def __init__(self, system: Any, builder: ThreadBuilder | None = None) -> None:
        self._go = threading.Event()
        self.thread = (builder or ThreadBuilder()).with_entry(self._go.wait).build(system)

    def end(self) -> None:
        self._go.set()
        self.thread.join(5)
