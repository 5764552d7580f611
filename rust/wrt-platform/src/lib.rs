//! Safe Rust face of wrt_platform.
#![no_std]
#![warn(missing_docs)]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

pub mod aliases;
pub mod atomic_memory;
mod caller;
pub mod cancel;
pub mod enforcement;
mod error;
#[cfg(feature = "alloc")]
pub mod events;
pub mod global;
pub mod host_function;
mod import;
pub mod instance;
mod limits;
#[cfg(feature = "alloc")]
mod link;
#[cfg(target_os = "linux")]
pub mod linux;
pub mod lock;
pub mod lockfree;
pub mod memory;
#[cfg(feature = "alloc")]
pub mod memory_account;
pub mod module;
pub mod page_allocator;
pub mod pool;
pub mod prelude;
#[cfg(all(feature = "std", target_os = "linux"))]
mod program;
#[cfg(any(target_os = "linux", target_os = "nto"))]
pub mod qnx;
#[cfg(all(feature = "std", target_os = "linux"))]
mod room;
#[cfg(all(feature = "std", target_os = "linux"))]
pub mod runtime;
#[cfg(all(feature = "std", target_os = "linux"))]
pub mod safe_threading;
#[cfg(all(feature = "alloc", any(target_os = "linux", target_os = "nto")))]
mod shared;
#[cfg(target_os = "linux")]
pub mod sim;
pub mod static_memory;
pub mod sync;
#[cfg(feature = "alloc")]
mod system_below;
pub mod table;
pub mod thread_system;
#[cfg(all(feature = "std", target_os = "linux"))]
pub mod threading;
mod value;
#[cfg(all(feature = "std", target_os = "linux"))]
pub mod wasi;
#[cfg(feature = "alloc")]
pub mod watchdog;

pub use aliases::*;
pub use atomic_memory::{AtomicMemoryOps, AtomicMemoryReader, CustomProvider};
pub use caller::Caller;
pub use cancel::CancelToken;
pub use enforcement::{Enforcement, EnforcementState};
pub use error::{Error, ErrorKind, Result};
#[cfg(feature = "alloc")]
pub use events::{Event, EventKind, Events, EventsBuilder};
pub use global::Global;
pub use host_function::{HostError, HostFunction, HostFunctionBuilder, HostResult};
pub use import::Import;
#[cfg(feature = "alloc")]
pub use instance::Linked;
pub use instance::{
    Instance, InstanceBuilder, InstanceStorage, InstanceUsage, InterruptHandle, Progress, Trap,
    TrapCode,
};
pub use limits::Limits;
#[cfg(all(feature = "std", target_os = "linux"))]
pub use linux::io_uring::{IoUring, IoUringBuilder};
#[cfg(all(feature = "std", target_os = "linux"))]
pub use linux::lazy_memory::{LazyMemory, LazyMemoryBuilder};
#[cfg(target_os = "linux")]
pub use linux::memory::{LinuxAllocator, LinuxAllocatorBuilder, LinuxAllocatorReport};
#[cfg(all(feature = "alloc", target_os = "linux"))]
pub use linux::mte::{LinuxArm64MteAllocator, LinuxArm64MteAllocatorBuilder, MteMode};
#[cfg(all(feature = "std", target_os = "linux"))]
pub use linux::sandbox::{
    Sandbox, SandboxBuilder, SandboxGuest, SandboxPool, SandboxPoolBuilder, SandboxReport,
};
#[cfg(all(feature = "alloc", target_os = "linux"))]
pub use linux::selftest::{SelftestBuilder, SelftestReport, selftest};
#[cfg(target_os = "linux")]
pub use linux::slot_pool::{LinuxSlotPoolBuilder, SlotPool, SlotPoolBuilder};
#[cfg(all(feature = "alloc", target_os = "linux"))]
pub use linux::sync::{LinuxFutex, LinuxFutexBuilder, LinuxLock, LinuxLockBuilder};
#[cfg(all(feature = "alloc", target_os = "linux"))]
pub use linux::sync_objects::{
    LinuxCondition, LinuxMutex, LinuxSemaphore, benchmark_futex_strategies,
};
#[cfg(all(feature = "alloc", target_os = "linux"))]
pub use linux::threading::{LinuxRealtimePolicy, LinuxThreadSystem, LinuxThreadSystemBuilder};
#[cfg(all(feature = "std", target_os = "linux"))]
pub use linux::write_tracker::{WriteTracker, WriteTrackerBuilder};
pub use lock::{Lock, LockGuard, LockProtocol};
pub use memory::{Memory, MemoryBuilder};
#[cfg(feature = "alloc")]
pub use memory_account::{
    CountedAllocator, CountedAllocatorBuilder, MemoryAccount, MemoryAccountBuilder,
};
pub use module::{
    ExportType, ExternType, FunctionType, ImportType, Module, ModuleBuilder, ModuleUsage,
};
pub use page_allocator::{PAGE_SIZE, PageAllocator, Pages, Protection, VerificationLevel};
pub use pool::{Block, PoolAllocator, PoolAllocatorBuilder, PoolUsage};
#[cfg(all(feature = "std", target_os = "linux"))]
pub use program::{Outcome, run};
#[cfg(all(feature = "alloc", any(target_os = "linux", target_os = "nto")))]
pub use qnx::sync::{QnxFutex, QnxFutexBuilder, QnxLock, QnxLockBuilder, QnxSyncPriority};
#[cfg(all(feature = "alloc", any(target_os = "linux", target_os = "nto")))]
pub use qnx::threading::{QnxThreadSystem, QnxThreadSystemBuilder};
#[cfg(all(feature = "alloc", any(target_os = "linux", target_os = "nto")))]
pub use qnx::{
    arena::{QnxArenaAllocator, QnxArenaAllocatorBuilder, QnxArenaAllocatorReport, QnxArenaBlock},
    memory::{QnxAllocator, QnxAllocatorBuilder, QnxAllocatorReport, QnxProtFlags},
    partition::{
        PartitionGuard, QnxIsolation, QnxMemoryPartition, QnxMemoryPartitionBuilder,
        QnxMemoryPartitionReport, QnxPartitionFlags, QnxPartitionKeeper,
    },
};
#[cfg(all(feature = "std", target_os = "linux"))]
pub use runtime::{RuntimeBuilder, WasmRuntime};
#[cfg(all(feature = "std", target_os = "linux"))]
pub use safe_threading::{
    ThreadHealth, ThreadManagerConfig, ThreadingLimits, WasmModuleInfo, WasmThreadManager,
};
pub use static_memory::{
    GuardRegions, StaticAllocator, StaticAllocatorBuilder, StaticAllocatorReport,
};
pub use sync::FutexLike;
pub use table::{Table, TableBuilder, TableView};
pub use thread_system::{CpuSet, ThreadPriority, ThreadReport, ThreadSystem};
#[cfg(feature = "alloc")]
pub use thread_system::{Thread, ThreadBuilder};
#[cfg(all(feature = "std", target_os = "linux"))]
pub use threading::{
    InstanceExecutorBuilder, LinuxThreadPool, ModuleExecutorBuilder, QnxThreadPool, ThreadPool,
    ThreadPoolConfig, WasmHandle, WasmOutcome, WasmTask,
};
pub use value::{FuncRef, Value, ValueType};
#[cfg(all(feature = "std", target_os = "linux"))]
pub use wasi::{Preopen, Wasi, WasiBuilder, WasiConfig};
#[cfg(feature = "alloc")]
pub use watchdog::{SoftwareWatchdog, WatchHandle, WatchdogConfig};
pub use wrt_platform_sys::wrt_layout as Layout;
