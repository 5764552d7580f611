//! Names that the design documents use for what has another name, or another place, here.

/// A module, as the documents call it.
pub type WasmModule<'bytes> = crate::Module<'bytes>;

/// Thread managers, as the documents have them in another crate's module.
#[cfg(all(feature = "std", target_os = "linux"))]
pub mod builtins {
    pub use crate::safe_threading;
}

/// Control groups, as the documents call the module.
#[cfg(all(feature = "std", target_os = "linux"))]
pub use crate::linux::cgroups as linux_cgroups;

/// Containers, as the documents call the module.
#[cfg(all(feature = "std", target_os = "linux"))]
pub use crate::linux::container as linux_container;

/// Asynchronous reads and writes, as the documents call the module.
#[cfg(all(feature = "std", target_os = "linux"))]
pub use crate::linux::io_uring as linux_io_uring;

/// Linear memory from Linux, as the documents call the module.
#[cfg(target_os = "linux")]
pub use crate::linux::memory as linux_memory;

/// Counters of Linux, as the documents call the module.
#[cfg(all(feature = "alloc", target_os = "linux"))]
pub use crate::linux::perf as linux_perf;

/// Futexes, locks and what is made of them, as one module.
#[cfg(all(feature = "std", target_os = "linux"))]
pub mod linux_sync {
    pub use crate::linux::sync::*;
    pub use crate::linux::sync_objects::*;
}

/// QNX's thread pool, as the documents call the module.
#[cfg(all(feature = "std", target_os = "linux"))]
pub mod qnx_threading {
    pub use crate::threading::QnxThreadPool;
}

/// What gives rights away, as the documents call the module.
#[cfg(all(feature = "std", target_os = "linux"))]
pub mod linux_security {
    pub use crate::linux::capabilities::{Capabilities, Capability};
    pub use crate::linux::landlock::LandlockBuilder;
    pub use crate::linux::namespaces::{Namespace, NamespaceType};
    pub use crate::linux::seccomp::{Seccomp, SeccompAction, SeccompBuilder};
    pub use crate::linux::selinux::SeLinux;
}
