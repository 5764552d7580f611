//! What Linux alone offers.

pub mod capabilities;
#[cfg(feature = "std")]
pub mod cgroups;
#[cfg(feature = "std")]
pub mod confined_process;
#[cfg(feature = "alloc")]
pub mod landlock;
pub mod memory;
pub mod namespaces;
pub mod numa;
#[cfg(feature = "std")]
pub mod pressure;
#[cfg(feature = "std")]
pub mod sandbox;
#[cfg(feature = "alloc")]
pub mod seccomp;
#[cfg(feature = "alloc")]
pub mod selinux;
pub mod slot_pool;
#[cfg(feature = "alloc")]
pub mod perf;
#[cfg(feature = "alloc")]
pub mod sync;
#[cfg(feature = "alloc")]
pub mod threading;
