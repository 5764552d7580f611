//! What Linux alone offers.

pub mod memory;
#[cfg(feature = "alloc")]
pub mod perf;
#[cfg(feature = "alloc")]
pub mod sync;
#[cfg(feature = "alloc")]
pub mod threading;
