//! Safe Rust face of wrt_platform.
#![no_std]
#![warn(missing_docs)]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod caller;
pub mod enforcement;
mod error;
pub mod global;
pub mod host_function;
mod import;
pub mod instance;
mod limits;
#[cfg(feature = "alloc")]
mod link;
#[cfg(target_os = "linux")]
pub mod linux;
pub mod memory;
pub mod module;
pub mod page_allocator;
pub mod pool;
pub mod static_memory;
pub mod table;
mod value;

pub use caller::Caller;
pub use enforcement::{Enforcement, EnforcementState};
pub use error::{Error, ErrorKind, Result};
pub use global::Global;
pub use host_function::{HostError, HostFunction, HostFunctionBuilder, HostResult};
pub use import::Import;
#[cfg(feature = "alloc")]
pub use instance::InterruptHandle;
pub use instance::{
    Instance, InstanceBuilder, InstanceStorage, InstanceUsage, Progress, Trap, TrapCode,
};
pub use limits::Limits;
#[cfg(target_os = "linux")]
pub use linux::memory::{LinuxAllocator, LinuxAllocatorBuilder, LinuxAllocatorReport};
pub use memory::{Memory, MemoryBuilder, PAGE_SIZE};
pub use module::{
    ExportType, ExternType, FunctionType, ImportType, Module, ModuleBuilder, ModuleUsage,
};
pub use page_allocator::{PageAllocator, Pages, Protection, VerificationLevel};
pub use pool::{Block, PoolAllocator, PoolAllocatorBuilder, PoolUsage};
pub use static_memory::{
    GuardRegions, StaticAllocator, StaticAllocatorBuilder, StaticAllocatorReport,
};
pub use table::{Table, TableBuilder, TableView};
pub use value::{FuncRef, Value, ValueType};
pub use wrt_platform_sys::wrt_layout as Layout;
