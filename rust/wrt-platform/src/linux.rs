//! What Linux alone offers.

#[cfg(feature = "std")]
pub mod cgroups;
pub mod memory;
#[cfg(feature = "std")]
pub mod pressure;
#[cfg(feature = "std")]
pub mod sandbox;
#[cfg(feature = "alloc")]
pub mod sync;
#[cfg(feature = "alloc")]
pub mod threading;
