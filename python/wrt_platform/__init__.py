"""Runs WebAssembly modules inside limits that are enforced: memory, fuel, time.

    import wrt_platform

    result = wrt_platform.run("program.wasm", ["--help"], limits=wrt_platform.Limits(timeout=5))
    wrt_platform.run("library.wasm", "add", 2, 3)

Names are imported when they are first used, so that the command line starts quickly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wrt_platform.atomic_memory import AtomicMemoryOps as AtomicMemoryOps
    from wrt_platform.atomic_memory import CustomProvider as CustomProvider
    from wrt_platform.cancel import CancelToken as CancelToken
    from wrt_platform.enforcement import Enforcement as Enforcement
    from wrt_platform.enforcement import EnforcementState as EnforcementState
    from wrt_platform.errors import BusyError as BusyError
    from wrt_platform.errors import CrashedError as CrashedError
    from wrt_platform.errors import ExitError as ExitError
    from wrt_platform.errors import HostError as HostError
    from wrt_platform.errors import InterruptedCallError as InterruptedCallError
    from wrt_platform.errors import InvalidArgumentError as InvalidArgumentError
    from wrt_platform.errors import InvalidModuleError as InvalidModuleError
    from wrt_platform.errors import LimitError as LimitError
    from wrt_platform.errors import LinkError as LinkError
    from wrt_platform.errors import MalformedError as MalformedError
    from wrt_platform.errors import NotFoundError as NotFoundError
    from wrt_platform.errors import OutOfFuelError as OutOfFuelError
    from wrt_platform.errors import OutOfMemoryError as OutOfMemoryError
    from wrt_platform.errors import PendingError as PendingError
    from wrt_platform.errors import PermissionDeniedError as PermissionDeniedError
    from wrt_platform.errors import StateError as StateError
    from wrt_platform.errors import SystemCallError as SystemCallError
    from wrt_platform.errors import TimedOutError as TimedOutError
    from wrt_platform.errors import TrapError as TrapError
    from wrt_platform.errors import UnsupportedError as UnsupportedError
    from wrt_platform.errors import WrtError as WrtError
    from wrt_platform.events import Event as Event
    from wrt_platform.events import EventKind as EventKind
    from wrt_platform.events import Events as Events
    from wrt_platform.events import EventsBuilder as EventsBuilder
    from wrt_platform.executor import InstanceExecutor as InstanceExecutor
    from wrt_platform.executor import InstanceExecutorBuilder as InstanceExecutorBuilder
    from wrt_platform.executor import ModuleExecutor as ModuleExecutor
    from wrt_platform.executor import ModuleExecutorBuilder as ModuleExecutorBuilder
    from wrt_platform.function import Function as Function
    from wrt_platform.guest import Frame as Frame
    from wrt_platform.host_function import PENDING as PENDING
    from wrt_platform.host_function import HostFunction as HostFunction
    from wrt_platform.host_function import HostFunctionBuilder as HostFunctionBuilder
    from wrt_platform.instance import Instance as Instance
    from wrt_platform.instance import InstanceBuilder as InstanceBuilder
    from wrt_platform.instance import InstanceUsage as InstanceUsage
    from wrt_platform.instance import step_wasm_execution as step_wasm_execution
    from wrt_platform.layout import Layout as Layout
    from wrt_platform.limits import Limits as Limits
    from wrt_platform.limits import RunLimits as RunLimits
    from wrt_platform.linux.io_uring import IoUring as IoUring
    from wrt_platform.linux.io_uring import IoUringBuilder as IoUringBuilder
    from wrt_platform.linux.lazy_memory import LazyMemory as LazyMemory
    from wrt_platform.linux.lazy_memory import LazyMemoryBuilder as LazyMemoryBuilder
    from wrt_platform.linux.memory import LinuxAllocator as LinuxAllocator
    from wrt_platform.linux.memory import LinuxAllocatorBuilder as LinuxAllocatorBuilder
    from wrt_platform.linux.mte import LinuxArm64MteAllocator as LinuxArm64MteAllocator
    from wrt_platform.linux.mte import (
        LinuxArm64MteAllocatorBuilder as LinuxArm64MteAllocatorBuilder,
    )
    from wrt_platform.linux.mte import MteMode as MteMode
    from wrt_platform.linux.perf import PerfCounter as PerfCounter
    from wrt_platform.linux.perf import PerfEvent as PerfEvent
    from wrt_platform.linux.perf import PerfEventBuilder as PerfEventBuilder
    from wrt_platform.linux.perf import profile as profile
    from wrt_platform.linux.sandbox import Sandbox as Sandbox
    from wrt_platform.linux.sandbox import SandboxBuilder as SandboxBuilder
    from wrt_platform.linux.sandbox import SandboxPool as SandboxPool
    from wrt_platform.linux.sandbox import SandboxPoolBuilder as SandboxPoolBuilder
    from wrt_platform.linux.selftest import selftest as selftest
    from wrt_platform.linux.slot_pool import LinuxSlotPoolBuilder as LinuxSlotPoolBuilder
    from wrt_platform.linux.slot_pool import SlotPool as SlotPool
    from wrt_platform.linux.slot_pool import SlotPoolBuilder as SlotPoolBuilder
    from wrt_platform.linux.sync import LinuxFutex as LinuxFutex
    from wrt_platform.linux.sync import LinuxFutexBuilder as LinuxFutexBuilder
    from wrt_platform.linux.sync import LinuxLock as LinuxLock
    from wrt_platform.linux.sync import LinuxLockBuilder as LinuxLockBuilder
    from wrt_platform.linux.sync_objects import LinuxCondition as LinuxCondition
    from wrt_platform.linux.sync_objects import LinuxMutex as LinuxMutex
    from wrt_platform.linux.sync_objects import LinuxSemaphore as LinuxSemaphore
    from wrt_platform.linux.sync_objects import (
        benchmark_futex_strategies as benchmark_futex_strategies,
    )
    from wrt_platform.linux.threading import LinuxRealtimePolicy as LinuxRealtimePolicy
    from wrt_platform.linux.threading import LinuxThreadSystem as LinuxThreadSystem
    from wrt_platform.linux.threading import LinuxThreadSystemBuilder as LinuxThreadSystemBuilder
    from wrt_platform.linux.write_tracker import WriteTracker as WriteTracker
    from wrt_platform.linux.write_tracker import WriteTrackerBuilder as WriteTrackerBuilder
    from wrt_platform.lock import Lock as Lock
    from wrt_platform.lock import LockProtocol as LockProtocol
    from wrt_platform.memory import Memory as Memory
    from wrt_platform.memory import MemoryBuilder as MemoryBuilder
    from wrt_platform.memory_account import CountedAllocator as CountedAllocator
    from wrt_platform.memory_account import CountedAllocatorBuilder as CountedAllocatorBuilder
    from wrt_platform.memory_account import MemoryAccount as MemoryAccount
    from wrt_platform.memory_account import MemoryAccountBuilder as MemoryAccountBuilder
    from wrt_platform.module import Module as Module
    from wrt_platform.module import ModuleBuilder as ModuleBuilder
    from wrt_platform.module import WasmModule as WasmModule
    from wrt_platform.page_allocator import PAGE_SIZE as PAGE_SIZE
    from wrt_platform.page_allocator import PageAllocator as PageAllocator
    from wrt_platform.page_allocator import Protection as Protection
    from wrt_platform.page_allocator import VerificationLevel as VerificationLevel
    from wrt_platform.pool import PoolAllocator as PoolAllocator
    from wrt_platform.pool import PoolAllocatorBuilder as PoolAllocatorBuilder
    from wrt_platform.qnx.arena import QnxArenaAllocator as QnxArenaAllocator
    from wrt_platform.qnx.arena import QnxArenaAllocatorBuilder as QnxArenaAllocatorBuilder
    from wrt_platform.qnx.memory import QnxAllocator as QnxAllocator
    from wrt_platform.qnx.memory import QnxAllocatorBuilder as QnxAllocatorBuilder
    from wrt_platform.qnx.memory import QnxProtFlags as QnxProtFlags
    from wrt_platform.qnx.partition import PartitionGuard as PartitionGuard
    from wrt_platform.qnx.partition import QnxIsolation as QnxIsolation
    from wrt_platform.qnx.partition import QnxMemoryPartition as QnxMemoryPartition
    from wrt_platform.qnx.partition import QnxMemoryPartitionBuilder as QnxMemoryPartitionBuilder
    from wrt_platform.qnx.partition import QnxPartitionFlags as QnxPartitionFlags
    from wrt_platform.qnx.sync import QnxFutex as QnxFutex
    from wrt_platform.qnx.sync import QnxFutexBuilder as QnxFutexBuilder
    from wrt_platform.qnx.sync import QnxLock as QnxLock
    from wrt_platform.qnx.sync import QnxLockBuilder as QnxLockBuilder
    from wrt_platform.qnx.sync import QnxSyncPriority as QnxSyncPriority
    from wrt_platform.qnx.threading import QnxThreadSystem as QnxThreadSystem
    from wrt_platform.qnx.threading import QnxThreadSystemBuilder as QnxThreadSystemBuilder
    from wrt_platform.running import Protected as Protected
    from wrt_platform.running import Result as Result
    from wrt_platform.running import run as run
    from wrt_platform.runtime import RuntimeBuilder as RuntimeBuilder
    from wrt_platform.runtime import WasmRuntime as WasmRuntime
    from wrt_platform.safe_threading import ThreadHealth as ThreadHealth
    from wrt_platform.safe_threading import ThreadingLimits as ThreadingLimits
    from wrt_platform.safe_threading import ThreadManagerConfig as ThreadManagerConfig
    from wrt_platform.safe_threading import WasmModuleInfo as WasmModuleInfo
    from wrt_platform.safe_threading import WasmThreadManager as WasmThreadManager
    from wrt_platform.static_memory import StaticAllocator as StaticAllocator
    from wrt_platform.static_memory import StaticAllocatorBuilder as StaticAllocatorBuilder
    from wrt_platform.sync import FutexLike as FutexLike
    from wrt_platform.table import Global as Global
    from wrt_platform.table import Table as Table
    from wrt_platform.table import TableBuilder as TableBuilder
    from wrt_platform.task import Task as Task
    from wrt_platform.task import TaskBuilder as TaskBuilder
    from wrt_platform.thread_system import CpuSet as CpuSet
    from wrt_platform.thread_system import ThreadBuilder as ThreadBuilder
    from wrt_platform.thread_system import ThreadPriority as ThreadPriority
    from wrt_platform.thread_system import ThreadSystem as ThreadSystem
    from wrt_platform.threading import LinuxThreadPool as LinuxThreadPool
    from wrt_platform.threading import QnxThreadPool as QnxThreadPool
    from wrt_platform.threading import TaskHandle as TaskHandle
    from wrt_platform.threading import ThreadPool as ThreadPool
    from wrt_platform.threading import ThreadPoolConfig as ThreadPoolConfig
    from wrt_platform.threading import WasmTask as WasmTask
    from wrt_platform.values import ExternKind as ExternKind
    from wrt_platform.values import FunctionType as FunctionType
    from wrt_platform.values import GlobalType as GlobalType
    from wrt_platform.values import MemoryType as MemoryType
    from wrt_platform.values import TableType as TableType
    from wrt_platform.values import ValueType as ValueType
    from wrt_platform.values import externref as externref
    from wrt_platform.values import f32 as f32
    from wrt_platform.values import f64 as f64
    from wrt_platform.values import funcref as funcref
    from wrt_platform.values import i32 as i32
    from wrt_platform.values import i64 as i64
    from wrt_platform.wasi import Wasi as Wasi
    from wrt_platform.wasi import WasiBuilder as WasiBuilder
    from wrt_platform.wasi import WasiConfig as WasiConfig
    from wrt_platform.watchdog import SoftwareWatchdog as SoftwareWatchdog
    from wrt_platform.watchdog import WatchHandle as WatchHandle

    __version__: str

# Where each name lives. The lines above tell type checkers the same; a test compares the two.
_HOMES = {
    "atomic_memory": "AtomicMemoryOps CustomProvider",
    "cancel": "CancelToken",
    "enforcement": "Enforcement EnforcementState",
    "errors": (
        "BusyError CrashedError ExitError HostError InterruptedCallError InvalidArgumentError "
        "InvalidModuleError LimitError LinkError MalformedError NotFoundError OutOfFuelError "
        "OutOfMemoryError PendingError PermissionDeniedError StateError SystemCallError "
        "TimedOutError TrapError UnsupportedError WrtError"
    ),
    "events": "Event EventKind Events EventsBuilder",
    "executor": ("InstanceExecutor InstanceExecutorBuilder ModuleExecutor ModuleExecutorBuilder"),
    "function": "Function",
    "guest": "Frame",
    "host_function": "PENDING HostFunction HostFunctionBuilder",
    "instance": "Instance InstanceBuilder InstanceUsage step_wasm_execution",
    "layout": "Layout",
    "limits": "Limits RunLimits",
    "linux.io_uring": "IoUring IoUringBuilder",
    "linux.lazy_memory": "LazyMemory LazyMemoryBuilder",
    "linux.memory": "LinuxAllocator LinuxAllocatorBuilder",
    "linux.mte": "LinuxArm64MteAllocator LinuxArm64MteAllocatorBuilder MteMode",
    "linux.slot_pool": "LinuxSlotPoolBuilder SlotPool SlotPoolBuilder",
    "linux.sandbox": "Sandbox SandboxBuilder SandboxPool SandboxPoolBuilder",
    "linux.perf": "PerfCounter PerfEvent PerfEventBuilder profile",
    "linux.selftest": "selftest",
    "linux.sync": "LinuxFutex LinuxFutexBuilder LinuxLock LinuxLockBuilder",
    "linux.sync_objects": ("LinuxCondition LinuxMutex LinuxSemaphore benchmark_futex_strategies"),
    "linux.threading": "LinuxRealtimePolicy LinuxThreadSystem LinuxThreadSystemBuilder",
    "linux.write_tracker": "WriteTracker WriteTrackerBuilder",
    "lock": "Lock LockProtocol",
    "memory": "Memory MemoryBuilder",
    "memory_account": (
        "CountedAllocator CountedAllocatorBuilder MemoryAccount MemoryAccountBuilder"
    ),
    "module": "Module ModuleBuilder WasmModule",
    "page_allocator": "PAGE_SIZE PageAllocator Protection VerificationLevel",
    "pool": "PoolAllocator PoolAllocatorBuilder",
    "qnx.arena": "QnxArenaAllocator QnxArenaAllocatorBuilder",
    "qnx.memory": "QnxAllocator QnxAllocatorBuilder QnxProtFlags",
    "qnx.partition": (
        "PartitionGuard QnxIsolation QnxMemoryPartition QnxMemoryPartitionBuilder QnxPartitionFlags"
    ),
    "qnx.sync": "QnxFutex QnxFutexBuilder QnxLock QnxLockBuilder QnxSyncPriority",
    "qnx.threading": "QnxThreadSystem QnxThreadSystemBuilder",
    "running": "Protected Result run",
    "runtime": "RuntimeBuilder WasmRuntime",
    "safe_threading": (
        "ThreadHealth ThreadManagerConfig ThreadingLimits WasmModuleInfo WasmThreadManager"
    ),
    "static_memory": "StaticAllocator StaticAllocatorBuilder",
    "sync": "FutexLike",
    "table": "Global Table TableBuilder",
    "task": "Task TaskBuilder",
    "threading": ("LinuxThreadPool QnxThreadPool TaskHandle ThreadPool ThreadPoolConfig WasmTask"),
    "thread_system": "CpuSet ThreadBuilder ThreadPriority ThreadSystem",
    "values": (
        "ExternKind FunctionType GlobalType MemoryType TableType ValueType externref f32 f64 "
        "funcref i32 i64"
    ),
    "wasi": "Wasi WasiBuilder WasiConfig",
    "watchdog": "SoftwareWatchdog WatchHandle",
}
_HOME = {name: home for home, names in _HOMES.items() for name in names.split()}

__all__ = sorted(_HOME)


if not TYPE_CHECKING:  # type checkers are to refuse names that are not there

    def __getattr__(name: str) -> Any:
        if name == "__version__":
            from wrt_platform._native import ffi, lib

            return ffi.string(lib.wrt_version()).decode()
        if name not in _HOME:
            raise AttributeError(f"module 'wrt_platform' has no attribute {name!r}")
        import importlib

        home = importlib.import_module(f"wrt_platform.{_HOME[name]}")
        value = globals()[name] = getattr(home, name)
        return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
