//! Numbers below a capacity, last in, first out: a free list.

use core::{cell::UnsafeCell, marker::PhantomData, mem};

use wrt_platform_sys as sys;

use super::{Line, layout_by, went_through};
use crate::Layout;
use crate::error::{Result, check};

/// A stack of indexes for any number of threads.
///
/// A thread that is stopped inside [`pop`](Self::pop) for exactly a multiple of 65,536 pushes can
/// damage it; lockfree.h says where that is ruled out. Memory safety does not depend on it, but
/// then an index can have two owners: do not reach memory through one without a check.
pub struct IndexStack<'buffer> {
    raw: UnsafeCell<sys::wrt_index_stack>,
    buffer: PhantomData<&'buffer mut [Line]>,
}

// SAFETY: the C stack is plain memory, tied to no thread; its buffer is borrowed exclusively.
unsafe impl Send for IndexStack<'_> {}
// SAFETY: lockfree.h: any thread may push and pop.
unsafe impl Sync for IndexStack<'_> {}

/// Collects settings; the rules of lockfree.h are checked by [`build`](Self::build).
#[must_use]
pub struct IndexStackBuilder<'buffer> {
    config: sys::wrt_index_stack_config,
    buffer: PhantomData<&'buffer mut [Line]>,
}

impl<'buffer> IndexStackBuilder<'buffer> {
    /// Starts without room and without a buffer.
    pub const fn new() -> Self {
        // SAFETY: zero is a valid value of every field (integers, null pointer, false).
        let mut config: sys::wrt_index_stack_config = unsafe { mem::zeroed() };
        config.struct_size = size_of::<sys::wrt_index_stack_config>() as u32;
        Self { config, buffer: PhantomData }
    }

    /// How many indexes there are, 1 to 65535: 0 to that, less one.
    pub const fn with_capacity(mut self, capacity: u32) -> Self {
        self.config.capacity = capacity;
        self
    }

    /// Begins with all indexes on the stack, 0 on top.
    pub const fn with_filled(mut self, filled: bool) -> Self {
        self.config.filled = filled;
        self
    }

    /// Lies in `buffer`.
    pub const fn with_buffer(mut self, buffer: &'buffer mut [Line]) -> Self {
        self.config.buffer_size = size_of_val(buffer);
        self.config.buffer = buffer.as_mut_ptr().cast();
        self
    }

    /// What buffer the settings need.
    pub fn layout(&self) -> Result<Layout> {
        // SAFETY: both pointers are live for the call.
        layout_by(|layout| unsafe { sys::wrt_index_stack_layout(&raw const self.config, layout) })
    }

    /// Makes the stack, or says which rule is broken.
    pub fn build(self) -> Result<IndexStack<'buffer>> {
        // SAFETY: zero is a valid value of every field (integers, null pointers).
        let mut raw = unsafe { mem::zeroed() };
        // SAFETY: both pointers are live; the buffer stays borrowed for as long as the stack.
        check(unsafe { sys::wrt_index_stack_init(&raw mut raw, &raw const self.config) })?;
        Ok(IndexStack { raw: UnsafeCell::new(raw), buffer: PhantomData })
    }
}

impl Default for IndexStackBuilder<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl IndexStack<'_> {
    /// Puts an index on top; refused if it is on the stack already, or beyond the capacity.
    pub fn push(&self, index: u32) -> Result<()> {
        // SAFETY: `raw` is initialised.
        check(unsafe { sys::wrt_index_stack_push(self.raw.get(), index) })
    }

    /// Takes the index on top; nothing when the stack is empty.
    pub fn pop(&self) -> Option<u32> {
        let mut index = 0;
        // SAFETY: `raw` is initialised.
        let status = unsafe { sys::wrt_index_stack_pop(self.raw.get(), &raw mut index) };
        went_through(status).then_some(index)
    }
}

impl Drop for IndexStack<'_> {
    fn drop(&mut self) {
        // SAFETY: `raw` is initialised, and nobody else has the stack.
        went_through(unsafe { sys::wrt_index_stack_deinit(self.raw.get()) });
    }
}
