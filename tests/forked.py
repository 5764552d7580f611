"""Processes that tests fork by hand, so that one can be killed while it holds something."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

LONG = 20  # seconds: nothing takes so long but a hang


class Child:
    """A process that runs `work` and says by its exit status that it went well."""

    def __init__(self, work: Callable[[], None]) -> None:
        self.number = os.fork()
        if self.number == 0:
            code = 1
            try:
                work()
                code = 0
            finally:
                os._exit(code)

    def kill(self) -> None:
        os.kill(self.number, signal.SIGKILL)
        _, status = os.waitpid(self.number, 0)
        assert os.WIFSIGNALED(status)

    def join(self) -> None:
        end = time.monotonic() + LONG
        while time.monotonic() < end:
            number, status = os.waitpid(self.number, os.WNOHANG)
            if number:
                assert status == 0, "the child failed"
                return
            time.sleep(0.005)
        self.kill()
        raise AssertionError("the child hangs: a wake was lost")


def until(is_so: Callable[[], object]) -> None:
    end = time.monotonic() + LONG
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.002)
