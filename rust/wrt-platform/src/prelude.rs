//! What a program that runs modules nearly always wants: `use wrt_platform::prelude::*;`

#[cfg(target_os = "linux")]
pub use crate::linux::memory::{LinuxAllocator, LinuxAllocatorBuilder};
#[cfg(all(feature = "std", target_os = "linux"))]
pub use crate::wasi::{Wasi, WasiConfig};
pub use crate::{
    Caller, Error, ErrorKind, HostFunction, Instance, InstanceBuilder, Limits, Module,
    PageAllocator, PoolAllocator, Result, StaticAllocator, StaticAllocatorBuilder, Value,
    ValueType, WasmModule,
};
