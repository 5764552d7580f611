//! One writer, many readers, the latest value.

use core::{
    cell::UnsafeCell,
    marker::PhantomData,
    mem::{self, MaybeUninit},
};

use wrt_platform_sys as sys;

use super::{Line, get_by, layout_by, size_for_config, went_through};
use crate::Layout;
use crate::error::{Result, check};

/// A sequence lock; [`split`](Self::split) gives its writer and a reader, which can be copied.
pub struct Seqlock<'buffer, T: Copy + Send> {
    raw: UnsafeCell<sys::wrt_seqlock>,
    buffer: PhantomData<&'buffer mut [Line]>,
    value: PhantomData<T>,
}

// SAFETY: the C lock is plain memory, tied to no thread; its value may go elsewhere.
unsafe impl<T: Copy + Send> Send for Seqlock<'_, T> {}

/// The one who writes. `Send`, not `Sync`: one thread at a time.
pub struct SeqlockWriter<'lock, T: Copy + Send> {
    lock: &'lock Seqlock<'lock, T>,
}

/// One of those who read. Each thread may have a copy, or share one.
#[derive(Clone, Copy)]
pub struct SeqlockReader<'lock, T: Copy + Send> {
    lock: &'lock Seqlock<'lock, T>,
}

// SAFETY: there is one writer, as the lock is borrowed exclusively, and its call takes `&mut`;
// what both sides touch the C library accesses by atomics.
unsafe impl<T: Copy + Send> Send for SeqlockWriter<'_, T> {}
// SAFETY: lockfree.h: any thread may read; each gets a copy of its own.
unsafe impl<T: Copy + Send> Send for SeqlockReader<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Copy + Send> Sync for SeqlockReader<'_, T> {}

/// Collects settings; the rules of lockfree.h are checked by [`build`](Self::build).
#[must_use]
pub struct SeqlockBuilder<'buffer, T> {
    config: sys::wrt_seqlock_config,
    buffer: PhantomData<&'buffer mut [Line]>,
    value: PhantomData<T>,
}

impl<'buffer, T: Copy + Send> SeqlockBuilder<'buffer, T> {
    /// Starts without a buffer.
    pub const fn new() -> Self {
        // SAFETY: zero is a valid value of every field (integers, null pointer).
        let mut config: sys::wrt_seqlock_config = unsafe { mem::zeroed() };
        config.struct_size = size_of::<sys::wrt_seqlock_config>() as u32;
        config.value_size = size_for_config::<T>();
        Self { config, buffer: PhantomData, value: PhantomData }
    }

    /// How many reads a write may spoil before one gives up; 0: 1000.
    pub const fn with_attempts(mut self, attempts: u32) -> Self {
        self.config.attempts = attempts;
        self
    }

    /// Lies in `buffer`.
    pub const fn with_buffer(mut self, buffer: &'buffer mut [Line]) -> Self {
        self.config.buffer_size = size_of_val(buffer);
        self.config.buffer = buffer.as_mut_ptr().cast();
        self
    }

    /// What buffer the value needs.
    pub fn layout(&self) -> Result<Layout> {
        // SAFETY: both pointers are live for the call.
        layout_by(|layout| unsafe { sys::wrt_seqlock_layout(&raw const self.config, layout) })
    }

    /// Makes the lock with its first value, or says which rule is broken.
    pub fn build(self, first: T) -> Result<Seqlock<'buffer, T>> {
        // SAFETY: zero is a valid value of every field (integers, null pointer).
        let mut raw = unsafe { mem::zeroed() };
        // SAFETY: both pointers are live; the buffer stays borrowed for as long as the lock.
        check(unsafe { sys::wrt_seqlock_init(&raw mut raw, &raw const self.config) })?;
        let mut lock =
            Seqlock { raw: UnsafeCell::new(raw), buffer: PhantomData, value: PhantomData };
        lock.split().0.write(first);
        Ok(lock)
    }
}

impl<T: Copy + Send> Default for SeqlockBuilder<'_, T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Copy + Send> Seqlock<'_, T> {
    /// The writer, and a reader to copy.
    pub fn split(&mut self) -> (SeqlockWriter<'_, T>, SeqlockReader<'_, T>) {
        (SeqlockWriter { lock: self }, SeqlockReader { lock: self })
    }
}

impl<T: Copy + Send> Drop for Seqlock<'_, T> {
    fn drop(&mut self) {
        // SAFETY: `raw` is initialised, and writer and readers are gone.
        went_through(unsafe { sys::wrt_seqlock_deinit(self.raw.get()) });
    }
}

impl<T: Copy + Send> SeqlockWriter<'_, T> {
    /// Replaces the value; readers never delay it.
    pub fn write(&mut self, value: T) {
        let value = MaybeUninit::new(value);
        // SAFETY: this is the one writer; C copies the size of a `T` from the value.
        went_through(unsafe { sys::wrt_seqlock_write(self.lock.raw.get(), value.as_ptr().cast()) });
    }
}

impl<T: Copy + Send> SeqlockReader<'_, T> {
    /// The latest whole value; nothing if a write was under way at each attempt.
    pub fn read(&self) -> Option<T> {
        // SAFETY: `raw` is initialised; C writes the size of a `T` and vouches for one whole value, and
        // the first one was there from the start.
        unsafe { get_by(|to| sys::wrt_seqlock_read(self.lock.raw.get(), to)) }
    }
}
