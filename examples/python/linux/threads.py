"""A thread of a module that uses up its CPU time, and is stopped."""

from wrt_platform import (
    Module,
    ThreadingLimits,
    ThreadManagerConfig,
    ThreadPoolConfig,
    WasmModuleInfo,
    WasmRuntime,
    WasmTask,
)
from wrt_platform.watchdog import WatchdogConfig

module = Module('(module (func (export "spin") (loop (br 0))))')
limits = ThreadingLimits(cpu_quota_per_thread="200ms", max_total_threads=8)
threads = ThreadManagerConfig(ThreadPoolConfig(max_threads=2), limits)

with WasmRuntime(threads, WatchdogConfig(), executor={100: (module, "spin")}) as runtime:
    runtime.thread_manager.register_module(WasmModuleInfo(id=1, name="tenant"))
    thread = runtime.thread_manager.spawn(1, WasmTask(id=7, function_id=100))
    thread.join()
    print(thread.killed_for.name)  # CPU_QUOTA_EXCEEDED
    print(runtime.report)  # each protection, and by what it holds
