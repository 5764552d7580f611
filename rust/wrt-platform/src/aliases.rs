//! Names that the design documents use for what has another name, or another place, here.

/// A module, as the documents call it.
pub type WasmModule<'bytes> = crate::Module<'bytes>;

/// Thread managers, as the documents have them in another crate's module.
#[cfg(all(feature = "std", target_os = "linux"))]
pub mod builtins {
    pub use crate::safe_threading;
}

/// Linear memory from Linux, as the documents call the module.
#[cfg(target_os = "linux")]
pub use crate::linux::memory as linux_memory;

/// Counters of Linux, as the documents call the module.
#[cfg(all(feature = "alloc", target_os = "linux"))]
pub use crate::linux::perf as linux_perf;

/// QNX's thread pool, as the documents call the module.
#[cfg(all(feature = "std", target_os = "linux"))]
pub mod qnx_threading {
    pub use crate::threading::QnxThreadPool;
}
