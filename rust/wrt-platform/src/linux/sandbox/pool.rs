//! Sandboxes that wait for work.

use alloc::{vec, vec::Vec};
use core::{marker::PhantomData, mem};

use wrt_platform_sys as sys;

use super::{Sandbox, SandboxBuilder};
use crate::Layout;
use crate::error::{Result, check};

/// Sandboxes that are sealed and wait for work; made by [`SandboxPoolBuilder`].
pub struct SandboxPool<'lent> {
    raw: sys::wrt_sandbox_pool,
    _buffer: Vec<u64>,
    _sandbox: SandboxBuilder,
    lent: PhantomData<&'lent mut [u64]>,
}

// SAFETY: the C object is plain memory and descriptors, tied to no thread.
unsafe impl Send for SandboxPool<'_> {}

/// What a pool has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SandboxPoolReport {
    /// Waiting now.
    pub ready: u32,
    /// As the builder says.
    pub wanted: u32,
    /// Handed out.
    pub taken: u64,
    /// Of these, started on demand.
    pub missed: u64,
    /// Found dead while they waited.
    pub replaced: u64,
}

/// Collects settings; the rules of linux/sandbox.h are checked by [`build`](Self::build).
#[must_use]
pub struct SandboxPoolBuilder<'lent> {
    config: sys::wrt_sandbox_pool_config,
    sandbox: SandboxBuilder,
    lent: PhantomData<&'lent mut [u64]>,
}

impl<'lent> SandboxPoolBuilder<'lent> {
    /// Starts without a number.
    pub const fn new() -> Self {
        // SAFETY: zero is a valid value of every field (integers, null pointers).
        let mut config: sys::wrt_sandbox_pool_config = unsafe { mem::zeroed() };
        config.struct_size = size_of::<sys::wrt_sandbox_pool_config>() as u32;
        Self { config, sandbox: SandboxBuilder::new(), lent: PhantomData }
    }

    /// Sandboxes that wait, 1 to 1024.
    pub const fn with_ready(mut self, count: u32) -> Self {
        self.config.ready = count;
        self
    }

    /// What each of them is made of.
    pub fn with_sandbox(mut self, sandbox: SandboxBuilder) -> Self {
        self.sandbox = sandbox;
        self
    }

    /// Keeps its table here. Without it, it goes to the heap.
    pub const fn with_buffer(mut self, buffer: &'lent mut [u64]) -> Self {
        self.config.buffer_size = size_of_val(buffer);
        self.config.buffer = buffer.as_mut_ptr().cast();
        self
    }

    /// What buffer the settings need; exact.
    pub fn layout(&self) -> Result<Layout> {
        let mut layout = Layout { bytes: 0, alignment: 0 };
        let config = self.completed();
        // SAFETY: both pointers are live.
        check(unsafe { sys::wrt_sandbox_pool_layout(&raw const config, &raw mut layout) })?;
        Ok(layout)
    }

    /// Starts the sandboxes.
    pub fn build(self) -> Result<SandboxPool<'lent>> {
        let mut config = self.completed();
        let mut buffer = Vec::new();
        if config.buffer.is_null() {
            buffer = vec![0u64; self.layout()?.bytes.div_ceil(8)];
            config.buffer = buffer.as_mut_ptr().cast();
            config.buffer_size = size_of_val(buffer.as_slice());
        }
        // SAFETY: zero is a valid value of every field.
        let mut raw = unsafe { mem::zeroed() };
        // SAFETY: both pointers are live; buffer and path stay with the pool.
        check(unsafe { sys::wrt_sandbox_pool_init(&raw mut raw, &raw const config) })?;
        Ok(SandboxPool { raw, _buffer: buffer, _sandbox: self.sandbox, lent: PhantomData })
    }

    fn completed(&self) -> sys::wrt_sandbox_pool_config {
        let mut config = self.config;
        config.sandbox = self.sandbox.completed();
        config
    }
}

impl Default for SandboxPoolBuilder<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl SandboxPool<'_> {
    /// A sandbox that nobody has used: one that waits, or else a new one.
    pub fn take<'a>(&mut self) -> Result<Sandbox<'a>> {
        // SAFETY: zero is a valid value of every field.
        let mut raw = unsafe { mem::zeroed() };
        // SAFETY: both are live; the pool may be moved between calls.
        check(unsafe { sys::wrt_sandbox_pool_take(&raw mut self.raw, &raw mut raw) })?;
        Ok(Sandbox::new(raw))
    }

    /// Starts as many as are missing, when there is time for it.
    pub fn fill(&mut self) -> Result<()> {
        // SAFETY: initialised.
        check(unsafe { sys::wrt_sandbox_pool_fill(&raw mut self.raw) })
    }

    /// What is there.
    pub fn report(&self) -> Result<SandboxPoolReport> {
        // SAFETY: zero is a valid value of every field.
        let mut raw: sys::wrt_sandbox_pool_report = unsafe { mem::zeroed() };
        // SAFETY: both are live.
        check(unsafe { sys::wrt_sandbox_pool_query(&raw const self.raw, &raw mut raw) })?;
        Ok(SandboxPoolReport {
            ready: raw.ready,
            wanted: raw.wanted,
            taken: raw.taken,
            missed: raw.missed,
            replaced: raw.replaced,
        })
    }
}

impl Drop for SandboxPool<'_> {
    fn drop(&mut self) {
        // SAFETY: initialised; the sandboxes that were handed out are not its own any more.
        let status = unsafe { sys::wrt_sandbox_pool_deinit(&raw mut self.raw) };
        debug_assert_eq!(status, 0, "nothing runs in it");
    }
}
