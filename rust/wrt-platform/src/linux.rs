//! What Linux alone offers.

pub mod memory;
#[cfg(feature = "std")]
pub mod sandbox;
#[cfg(feature = "alloc")]
pub mod sync;
#[cfg(feature = "alloc")]
pub mod threading;
