//! What QNX alone offers; on Linux over its simulated kernel.

#[cfg(feature = "alloc")]
pub mod arena;
#[cfg(feature = "alloc")]
pub mod memory;
#[cfg(feature = "alloc")]
pub mod partition;
#[cfg(feature = "alloc")]
pub mod sync;
#[cfg(feature = "alloc")]
pub mod threading;
