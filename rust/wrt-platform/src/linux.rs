//! What Linux alone offers.

pub mod memory;
