"""Starts many sandboxes in a process of its own, under what the first argument names, and prints
how many ended how. Run by test_sandbox.py; the second argument is how many."""

from __future__ import annotations

import collections
import os
import signal
import sys
import threading
from typing import Any

from wrt_platform import Sandbox, SandboxBuilder, WrtError

DIVIDE = bytes.fromhex(
    "0061736d010000000105016000017f030201000707010364697600000a0901070041014100 6e0b".replace(
        " ", ""
    )
)


def thief() -> None:
    """Waits for every child that this process has, as some frameworks do."""
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            threading.Event().wait(0.0001)


def how_it_ended(sandbox: Sandbox, number: int) -> str:
    sandbox.load(DIVIDE)
    try:
        if number % 3 == 0:
            os.kill(sandbox.report.process, signal.SIGTERM)
        sandbox.call("div")
    except WrtError as error:
        name = type(error).__name__
        return f"{name} {getattr(error, 'signal', '')}".strip()
    return "success"


def main() -> None:
    mode, count = sys.argv[1], int(sys.argv[2])
    if mode == "ignored":
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    if mode == "thief":
        threading.Thread(target=thief, daemon=True).start()
    if mode == "storm":
        signal.signal(signal.SIGALRM, lambda *_: None)
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    builder = SandboxBuilder().with_maximum_pages(1)
    builder.build().close()  # opens what the library keeps
    before = len(os.listdir("/proc/self/fd"))
    ends: Any = collections.Counter()
    for number in range(count):
        with builder.build() as sandbox:
            ends[how_it_ended(sandbox, number)] += 1
    signal.setitimer(signal.ITIMER_REAL, 0)
    print(sorted(ends.items()))
    print(len(os.listdir("/proc/self/fd")) - before)
    try:
        print(os.waitpid(-1, os.WNOHANG))
    except ChildProcessError:
        print("no child")


if __name__ == "__main__":
    main()
