//! Many producers, many consumers, in order.

use core::{cell::UnsafeCell, marker::PhantomData, mem};

use wrt_platform_sys as sys;

use super::{
    Line, count_by, count_for_c, get_by, layout_by, put_by, size_for_config, went_through,
};
use crate::Layout;
use crate::error::{Result, check};

/// A queue for any number of threads. Values must be such that may go to other threads:
///
/// ```compile_fail,E0277
/// # use wrt_platform::lockfree::{Line, QueueBuilder};
/// QueueBuilder::<std::rc::Rc<u64>>::new();
/// ```
///
/// It is not formally lock-free: a thread that is stopped inside a call hides the values behind
/// its own until it goes on. Nobody waits for it; the others are answered "full" or "empty".
pub struct Queue<'buffer, T: Send> {
    raw: UnsafeCell<sys::wrt_queue>,
    buffer: PhantomData<&'buffer mut [Line]>,
    values: PhantomData<T>,
}

// SAFETY: the C queue is plain memory, tied to no thread; the values in it may go elsewhere.
unsafe impl<T: Send> Send for Queue<'_, T> {}
// SAFETY: lockfree.h: any thread may put and get; each value comes out for one of them alone.
unsafe impl<T: Send> Sync for Queue<'_, T> {}

/// Collects settings; the rules of lockfree.h are checked by [`build`](Self::build).
#[must_use]
pub struct QueueBuilder<'buffer, T> {
    config: sys::wrt_queue_config,
    buffer: PhantomData<&'buffer mut [Line]>,
    values: PhantomData<T>,
}

impl<'buffer, T: Send> QueueBuilder<'buffer, T> {
    /// Starts without room and without a buffer.
    pub const fn new() -> Self {
        // SAFETY: zero is a valid value of every field (integers, null pointer).
        let mut config: sys::wrt_queue_config = unsafe { mem::zeroed() };
        config.struct_size = size_of::<sys::wrt_queue_config>() as u32;
        config.element_size = size_for_config::<T>();
        Self { config, buffer: PhantomData, values: PhantomData }
    }

    /// How many values there is room for: a power of two, at least 2.
    pub const fn with_capacity(mut self, capacity: u32) -> Self {
        self.config.capacity = capacity;
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
        layout_by(|layout| unsafe { sys::wrt_queue_layout(&raw const self.config, layout) })
    }

    /// Makes the queue, or says which rule is broken.
    pub fn build(self) -> Result<Queue<'buffer, T>> {
        // SAFETY: zero is a valid value of every field (integers, null pointers).
        let mut raw = unsafe { mem::zeroed() };
        // SAFETY: both pointers are live; the buffer stays borrowed for as long as the queue.
        check(unsafe { sys::wrt_queue_init(&raw mut raw, &raw const self.config) })?;
        Ok(Queue { raw: UnsafeCell::new(raw), buffer: PhantomData, values: PhantomData })
    }
}

impl<T: Send> Default for QueueBuilder<'_, T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Send> Queue<'_, T> {
    /// Puts a value in, behind all others; gives it back when the queue is full.
    pub fn put(&self, value: T) -> core::result::Result<(), T> {
        // SAFETY: `raw` is initialised; C copies the size of a `T` from the value.
        unsafe { put_by(value, |from| sys::wrt_queue_put(self.raw.get(), from)) }
    }

    /// Takes the oldest value; nothing when the queue is empty.
    pub fn get(&self) -> Option<T> {
        // SAFETY: `raw` is initialised; C writes the size of a `T`, a value that went in, and it comes
        // out once.
        unsafe { get_by(|to| sys::wrt_queue_get(self.raw.get(), to)) }
    }

    /// Puts in as many values as there is room for, with nobody else's between them; says how many.
    pub fn put_many(&self, values: &[T]) -> usize
    where
        T: Copy,
    {
        // SAFETY: `raw` is initialised; C copies no more than the slice has.
        count_by(|count| unsafe {
            sys::wrt_queue_put_many(
                self.raw.get(),
                values.as_ptr().cast(),
                count_for_c(values.len()),
                count,
            )
        })
    }

    /// Takes as many values as are ready and as the slice can hold; says how many.
    pub fn get_many(&self, values: &mut [T]) -> usize
    where
        T: Copy,
    {
        // SAFETY: `raw` is initialised; C writes values, no more than the slice can hold.
        count_by(|count| unsafe {
            sys::wrt_queue_get_many(
                self.raw.get(),
                values.as_mut_ptr().cast(),
                count_for_c(values.len()),
                count,
            )
        })
    }

    /// How many values were in the queue a moment ago.
    pub fn count(&self) -> usize {
        // SAFETY: `raw` is initialised.
        count_by(|count| unsafe { sys::wrt_queue_count(self.raw.get(), count) })
    }
}

impl<T: Send> Drop for Queue<'_, T> {
    fn drop(&mut self) {
        if mem::needs_drop::<T>() {
            while self.get().is_some() {}
        }
        // SAFETY: `raw` is initialised, and nobody else has the queue.
        went_through(unsafe { sys::wrt_queue_deinit(self.raw.get()) });
    }
}
