"""Runs a WASI program in a process that has sealed itself, and says what stands round it."""

from __future__ import annotations

import sys
from pathlib import Path

from wrt_platform import ExitError, SandboxBuilder, SandboxPoolBuilder, TimedOutError, WasiBuilder
from wrt_platform import run as run_program

PROGRAMS = Path(__file__).resolve().parent.parent / "programs"


def main() -> None:
    # In one call, as `wrt run --sandbox sealed` does it.
    result = run_program(PROGRAMS / "queens.wasm", ["5"], sandbox="sealed", timeout="5s")
    print(result.output.splitlines()[0])

    # Step by step: sealed first, and only then given a module.
    with SandboxBuilder().with_maximum_pages(1024).build() as sandbox:
        print("system calls", sandbox.report.system_calls.state.name.lower())
        wasi = (
            WasiBuilder().with_arguments(["queens", "4"]).with_standard_output(sys.stdout).build()
        )
        sandbox.load(PROGRAMS / "queens.wasm", wasi)
        sys.stdout.flush()
        try:
            sandbox.call("_start", timeout="5s")
        except ExitError as ended:
            print("exit code", ended.exit_code)

    # From a pool, whose sandboxes are sealed and wait.
    with SandboxPoolBuilder().with_ready(2).build() as pool, pool.take() as sandbox:
        sandbox.load('(module (func (export "loop") (loop $again (br $again))))')
        try:
            sandbox.call("loop", timeout=0.1)
        except TimedOutError:
            print("killed after 0.1 s:", sandbox.report.end.name.lower())


if __name__ == "__main__":
    main()
