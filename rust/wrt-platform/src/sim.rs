//! Simulated systems: their clock, their faults and what they hold, for tests.

pub mod qnx;
