"""Starts many sandboxes in a process of its own, under what the first argument names, and prints
how many ended how. Run by test_sandbox.py; the second argument is how many."""

from __future__ import annotations

import collections
import os
import signal
import sys
import threading
from typing import Any

from wrt_platform import Sandbox, SandboxBuilder, WrtError, i32
from wrt_platform.wat import assemble

# Calls env.hit, and then divides by zero.
DIVIDE = assemble("""(module
  (import "env" "hit" (func $hit (param i32)))
  (func (export "div") (param i32)
    (call $hit (local.get 0))
    (drop (i32.div_u (i32.const 1) (i32.const 0)))))""")


def thief() -> None:
    """Waits for every child that this process has, as some frameworks do."""
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            threading.Event().wait(0.0001)


def how_it_ended(sandbox: Sandbox, number: int) -> str:
    """Every third is killed in the middle of its call."""
    process = sandbox.report.process

    def hit(times: i32) -> None:
        if times % 3 == 0:
            os.kill(process, signal.SIGTERM)

    sandbox.load(DIVIDE, {"env": {"hit": hit}})
    try:
        sandbox.call("div", number)
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
