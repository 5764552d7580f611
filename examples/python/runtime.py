"""Threads of a module within limits, with a watchdog, on Linux and on QNX (simulated here).

    python runtime.py [linux|qnx]

The same is shown by examples/c/runtime.c and by the Rust example `runtime`; all three say the same.
"""

from __future__ import annotations

import sys
from typing import Any

from wrt_platform import (
    LinuxAllocatorBuilder,
    LinuxThreadSystemBuilder,
    MemoryAccountBuilder,
    Module,
    QnxIsolation,
    QnxMemoryPartitionBuilder,
    QnxPartitionFlags,
    QnxThreadSystemBuilder,
    ThreadHealth,
    ThreadingLimits,
    ThreadManagerConfig,
    ThreadPoolConfig,
    WasmModuleInfo,
    WasmRuntime,
    WasmTask,
)
from wrt_platform.watchdog import WatchdogConfig

# (module
#   (memory 1 1000)
#   (func (export "sum") (param $to i32) (result i32) (local $sum i32)
#     (loop $again
#       (local.set $sum (i32.add (local.get $sum) (local.get $to)))
#       (br_if $again (local.tee $to (i32.sub (local.get $to) (i32.const 1)))))
#     (local.get $sum))
#   (func (export "grow") (param $pages i32) (result i32)
#     (memory.grow (local.get $pages)))
#   (func (export "spin")
#     (loop $again (br $again))))
GUEST = bytes.fromhex(
    "0061736d0100000001090260017f017f6000000304030000010505010101e8070715030373756d0000046772"
    "6f770001047370696e00020a2a031901017f0340200120006a2101200041016b22000d000b20010b06002000"
    "40000b070003400c000b0b0031046e616d6502150200020002746f010373756d010100057061676573031302"
    "00010005616761696e02010005616761696e"
)

MIB = 1 << 20
MAXIMUM = 4 * MIB  # of all memory of the module's threads together
SUM, GROW, SPIN = 1, 2, 3  # the numbers by which tasks name functions


def runtime_of(system: Any, **memory: Any) -> WasmRuntime:
    """Threads, limits and a watchdog, on the threads of `system`."""
    pool = ThreadPoolConfig(max_threads=2, name_prefix="wasm-worker", system=system)
    if "allocator" in memory:
        pool.with_page_allocator(memory.pop("allocator"))
    limits = ThreadingLimits(cpu_quota_per_thread="100ms", max_total_threads=8)
    threads = ThreadManagerConfig(pool, limits, check_interval="20ms")
    watchdog = WatchdogConfig(default_timeout="5s", auto_kill=True).with_system(system)
    module = Module(GUEST)
    executor = {SUM: (module, "sum"), GROW: (module, "grow"), SPIN: (module, "spin")}
    runtime = WasmRuntime(threads, watchdog, executor=executor, **memory)
    runtime.thread_manager.register_module(WasmModuleInfo(id=1, name="critical_module"))
    return runtime


def show(name: str, runtime: WasmRuntime) -> None:
    """What the module may do, and what it may not."""

    def call(function: int, *args: int) -> Any:
        task = WasmTask(function_id=function, args=args)
        return runtime.thread_manager.spawn(1, task).result(timeout=10)

    print(f"{name}: the sum of 1 to 1000 is {call(SUM, 1000)}")
    granted = "granted" if call(GROW, 15) == 1 else "no"
    refused = "refused" if call(GROW, 500) == -1 else "no"
    print(f"{name}: 15 pages more: {granted}, 500: {refused}")
    thread = runtime.thread_manager.spawn(1, WasmTask(id=7, function_id=SPIN))
    thread.join(timeout=10)
    reason = {ThreadHealth.CPU_QUOTA_EXCEEDED: "its CPU time"}.get(thread.killed_for, "nothing")
    print(f"{name}: a loop without end is stopped for {reason}")
    print(f"{name}: the sum of 1 to 1000 is {call(SUM, 1000)}")


def on_linux() -> None:
    """Memory is counted by an account."""
    with MemoryAccountBuilder().with_maximum(MAXIMUM).build() as account:
        allocator = LinuxAllocatorBuilder().with_guard_pages().build()
        system = LinuxThreadSystemBuilder().build()
        with runtime_of(system, allocator=allocator, account=account) as runtime:
            show("linux", runtime)
            peak, isolation = account.usage.peak, runtime.report.isolation
        print(f"linux: {peak} bytes of {MAXIMUM} were used; isolation: {state_of(isolation)}")
        allocator.close()


def on_qnx() -> None:
    """Memory comes from a partition."""
    builder = QnxMemoryPartitionBuilder().with_name("wasm_runtime")
    builder.with_flags(QnxPartitionFlags.MEMORY_ISOLATION).with_isolation(QnxIsolation.ADDRESS)
    partition = builder.with_memory_size(MIB, MAXIMUM, 0).build()
    with runtime_of(QnxThreadSystemBuilder().build(), partition=partition) as runtime:
        show("qnx", runtime)
        peak, isolation = partition.report.peak_bytes, runtime.report.isolation
    print(f"qnx: {peak} bytes of {MAXIMUM} were used; isolation: {state_of(isolation)}")
    partition.close()


def state_of(protection: Any) -> str:
    return str(protection.state.name).lower().replace("_", " ")


if __name__ == "__main__":
    wanted = sys.argv[1:] or ["linux", "qnx"]
    for name in wanted:
        {"linux": on_linux, "qnx": on_qnx}[name]()
