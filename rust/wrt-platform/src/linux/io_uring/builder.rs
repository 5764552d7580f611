//! The settings of a ring.

use alloc::boxed::Box;
use core::{
    cell::{Cell, RefCell, UnsafeCell},
    mem,
    time::Duration,
};

use wrt_platform_sys as sys;

use super::{IoUring, IoUringBackend};
use crate::error::{Result, check};
use crate::linux::cgroups::nanoseconds;

/// Collects settings; the rules of linux/io_uring.h are checked by [`build`](Self::build).
#[must_use]
pub struct IoUringBuilder {
    config: sys::wrt_io_uring_config,
}

impl IoUringBuilder {
    /// Starts with 128 entries, twice as many completions, and whatever backend there is.
    pub const fn new() -> Self {
        // SAFETY: zero is a valid value of every field.
        let mut config: sys::wrt_io_uring_config = unsafe { mem::zeroed() };
        config.struct_size = size_of::<sys::wrt_io_uring_config>() as u32;
        Self { config }
    }

    /// How many go to the kernel at once: 2 to 32768, rounded up to a power of two; 0: 128.
    pub const fn with_entries(mut self, count: u32) -> Self {
        self.config.entries = count;
        self
    }

    /// How many may be under way, one with a time-out counting twice; 0: twice the entries.
    pub const fn with_cq_size(mut self, count: u32) -> Self {
        self.config.cq_size = count;
        self
    }

    /// `Kernel`: nothing else will do; `Threads`: not the kernel's.
    pub const fn with_backend(mut self, backend: IoUringBackend) -> Self {
        self.config.backend = backend as u32;
        self
    }

    /// Of `Threads`, 1 to 16; 0: 2.
    pub const fn with_thread_count(mut self, count: u32) -> Self {
        self.config.thread_count = count;
        self
    }

    /// A thread of the kernel takes what is submitted; it keeps a CPU busy until it sleeps.
    pub const fn with_sq_thread(mut self, enabled: bool) -> Self {
        self.config.sq_thread = enabled;
        self
    }

    /// The CPU that this thread is to stay on.
    pub const fn with_sq_thread_cpu(mut self, cpu: u32) -> Self {
        self.config.has_sq_thread_cpu = true;
        self.config.sq_thread_cpu = cpu;
        self
    }

    /// Without work for so long it sleeps; zero: 50 ms.
    pub fn with_sq_idle(mut self, idle: Duration) -> Self {
        self.config.sq_idle_ns = nanoseconds(idle);
        self
    }

    /// Makes the ring, or says which rule is broken; with `Kernel`, `Permission` or `Unsupported`
    /// names what is in the way.
    pub fn build(self) -> Result<IoUring> {
        // SAFETY: zero is a valid value of every field.
        let raw = Box::new(UnsafeCell::new(unsafe { mem::zeroed() }));
        // SAFETY: both pointers are live, and the ring's place is its own.
        check(unsafe { sys::wrt_io_uring_init(raw.get(), &raw const self.config) })?;
        let (held, registered, users) =
            (RefCell::default(), RefCell::default(), RefCell::default());
        Ok(IoUring { raw, held, registered, users, next_token: Cell::new(1) })
    }
}

impl Default for IoUringBuilder {
    fn default() -> Self {
        Self::new()
    }
}
