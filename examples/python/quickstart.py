"""WebAssembly inside limits, from Python: run this file with an interpreter that has wrt_platform.

    python examples/python/quickstart.py

It runs a program with limits, calls a function of a module, and shows what a limit and a trap
look like.
"""

from __future__ import annotations

from pathlib import Path

from wrt_platform import Instance, Limits, Module, OutOfFuelError, TrapError, run

PROGRAMS = Path(__file__).resolve().parent.parent / "programs"

# (module
#   (import "env" "log" (func $log (param i32)))
#   (func $divide (export "divide") (param i32 i32) (result i32)
#     (call $log (local.get 1))
#     (i32.div_s (local.get 0) (local.get 1))))
DIVIDE = bytes.fromhex(
    "0061736d01000000010b0260017f0060027f7f017f020b0103656e76036c6f67000003020101070a01066469"
    "7669646500010a0d010b0020011000200020016d0b0015046e616d65010e0200036c6f670106646976696465"
)


def run_a_program() -> None:
    limits = Limits(memory="16MiB", fuel=100_000_000, timeout="10s")
    result = run(PROGRAMS / "queens.wasm", ["8"], limits=limits)
    print(result.output)
    print(result)


def call_a_function() -> None:
    instance = Instance(Module(DIVIDE), {"env": {"log": lambda n: print("dividing by", n)}})
    print("84 / 2 =", instance.exports.divide(84, 2))
    try:
        instance.exports.divide(1, 0)
    except TrapError as error:
        print(error)


def run_out_of_fuel() -> None:
    try:
        run(PROGRAMS / "queens.wasm", ["12"], fuel=1_000_000).check()
    except OutOfFuelError as error:
        print("stopped:", error)


if __name__ == "__main__":
    run_a_program()
    call_a_function()
    run_out_of_fuel()
