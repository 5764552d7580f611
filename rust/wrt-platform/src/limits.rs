//! What a guest may use at most.

use core::time::Duration;

use wrt_platform_sys as sys;

use crate::error::{Error, Result};
use crate::page_allocator::PAGE_SIZE;

/// Limits of an instance, or of a program; without any of them it is unbound there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[must_use]
pub struct Limits {
    pub(crate) memory: Option<u64>,
    pub(crate) fuel: Option<u64>,
    pub(crate) timeout: Option<Duration>,
}

impl Limits {
    /// No limit, but the 256 MiB that a memory without a maximum gets.
    pub const fn new() -> Self {
        Self { memory: None, fuel: None, timeout: None }
    }

    /// Bytes of linear memory; whole pages of 64 KiB count.
    pub const fn with_memory(mut self, bytes: u64) -> Self {
        self.memory = Some(bytes);
        self
    }

    /// Instructions.
    pub const fn with_fuel(mut self, instructions: u64) -> Self {
        self.fuel = Some(instructions);
        self
    }

    /// Time that one call may take.
    pub const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Pages that the memory limit leaves.
    pub(crate) fn pages(&self) -> Result<Option<u32>> {
        let Some(bytes) = self.memory else { return Ok(None) };
        let pages = u32::try_from(bytes / PAGE_SIZE as u64).unwrap_or(u32::MAX);
        if pages == 0 {
            let reason = c"the memory limit is {0} bytes, less than a page of {1}";
            let error = Error::invalid_argument(c"Limits::with_memory", reason);
            return Err(error.with_detail([bytes, PAGE_SIZE as u64]));
        }
        Ok(Some(pages.min(sys::WRT_PAGE_COUNT_MAX)))
    }
}

/// Nanoseconds for C, where 0 means without end.
pub(crate) fn nanoseconds(timeout: Option<Duration>) -> u64 {
    timeout.map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).max(1))
}
