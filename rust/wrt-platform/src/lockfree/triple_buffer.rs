//! One writer, one reader, the latest value, in place.

use core::{
    cell::UnsafeCell,
    marker::PhantomData,
    mem::{self, MaybeUninit},
    ptr,
};

use wrt_platform_sys as sys;

use super::{Line, check_alignment, layout_by, size_for_config, went_through};
use crate::Layout;
use crate::error::{Result, check};

/// A triple buffer; [`split`](Self::split) gives its writer and its reader, each for one thread.
pub struct TripleBuffer<'buffer, T: Copy + Send> {
    raw: UnsafeCell<sys::wrt_triple_buffer>,
    buffer: PhantomData<&'buffer mut [Line]>,
    value: PhantomData<T>,
}

// SAFETY: the C object is plain memory, tied to no thread; its values may go elsewhere.
unsafe impl<T: Copy + Send> Send for TripleBuffer<'_, T> {}

/// The one who writes. `Send`, not `Sync`: one thread at a time.
pub struct TripleBufferWriter<'both, T: Copy + Send> {
    both: &'both TripleBuffer<'both, T>,
}

/// The one who reads. `Send`, not `Sync`: one thread at a time.
pub struct TripleBufferReader<'both, T: Copy + Send> {
    both: &'both TripleBuffer<'both, T>,
}

// SAFETY: there is one of each, as the buffer is borrowed exclusively, and its calls take `&mut`;
// a value has one owner at a time.
unsafe impl<T: Copy + Send> Send for TripleBufferWriter<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Copy + Send> Send for TripleBufferReader<'_, T> {}

/// Collects settings; the rules of lockfree.h are checked by [`build`](Self::build).
#[must_use]
pub struct TripleBufferBuilder<'buffer, T> {
    config: sys::wrt_triple_buffer_config,
    buffer: PhantomData<&'buffer mut [Line]>,
    value: PhantomData<T>,
}

impl<'buffer, T: Copy + Send> TripleBufferBuilder<'buffer, T> {
    /// Starts without a buffer.
    pub const fn new() -> Self {
        // SAFETY: zero is a valid value of every field (integers, null pointer).
        let mut config: sys::wrt_triple_buffer_config = unsafe { mem::zeroed() };
        config.struct_size = size_of::<sys::wrt_triple_buffer_config>() as u32;
        config.value_size = size_for_config::<T>();
        Self { config, buffer: PhantomData, value: PhantomData }
    }

    /// Lies in `buffer`.
    pub const fn with_buffer(mut self, buffer: &'buffer mut [Line]) -> Self {
        self.config.buffer_size = size_of_val(buffer);
        self.config.buffer = buffer.as_mut_ptr().cast();
        self
    }

    /// What buffer three values need.
    pub fn layout(&self) -> Result<Layout> {
        // SAFETY: both pointers are live for the call.
        layout_by(|layout| unsafe { sys::wrt_triple_buffer_layout(&raw const self.config, layout) })
    }

    /// Makes the triple buffer, or says which rule is broken.
    pub fn build(self) -> Result<TripleBuffer<'buffer, T>> {
        check_alignment::<T>(c"TripleBufferBuilder::build", self.layout()?.alignment)?;
        // SAFETY: zero is a valid value of every field (integers, null pointers).
        let mut raw = unsafe { mem::zeroed() };
        // SAFETY: both pointers are live; the buffer stays borrowed for as long as the object.
        check(unsafe { sys::wrt_triple_buffer_init(&raw mut raw, &raw const self.config) })?;
        Ok(TripleBuffer { raw: UnsafeCell::new(raw), buffer: PhantomData, value: PhantomData })
    }
}

impl<T: Copy + Send> Default for TripleBufferBuilder<'_, T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Copy + Send> TripleBuffer<'_, T> {
    /// The two sides; both go before the buffer can be used otherwise.
    pub fn split(&mut self) -> (TripleBufferWriter<'_, T>, TripleBufferReader<'_, T>) {
        (TripleBufferWriter { both: self }, TripleBufferReader { both: self })
    }
}

impl<T: Copy + Send> Drop for TripleBuffer<'_, T> {
    fn drop(&mut self) {
        // SAFETY: `raw` is initialised, and both sides are gone.
        went_through(unsafe { sys::wrt_triple_buffer_deinit(self.raw.get()) });
    }
}

impl<T: Copy + Send> TripleBufferWriter<'_, T> {
    /// Makes this the latest value; one that nobody has read is dropped.
    pub fn put(&mut self, value: T) {
        let value = MaybeUninit::new(value);
        // SAFETY: this is the one writer; C copies the size of a `T` from the value.
        went_through(unsafe {
            sys::wrt_triple_buffer_put(self.both.raw.get(), value.as_ptr().cast())
        });
    }

    /// Where the next value is made, to spare the copy; [`publish`](Self::publish) tells the reader.
    pub fn back(&mut self) -> &mut MaybeUninit<T> {
        let mut place = ptr::null_mut();
        // SAFETY: this is the one writer.
        went_through(unsafe { sys::wrt_triple_buffer_back(self.both.raw.get(), &raw mut place) });
        // SAFETY: aligned for a `T`, as build() has seen, and the writer's until it is published.
        unsafe { &mut *place.cast() }
    }

    /// Makes the value at [`back`](Self::back) the latest.
    ///
    /// # Safety
    /// A whole value was written there since the last call of this function or of `put`.
    pub unsafe fn publish(&mut self) {
        // SAFETY: this is the one writer.
        went_through(unsafe { sys::wrt_triple_buffer_publish(self.both.raw.get()) });
    }
}

impl<T: Copy + Send> TripleBufferReader<'_, T> {
    /// The latest value where it lies, and whether it is another one than last time; nothing before
    /// the first.
    pub fn front(&mut self) -> Option<(&T, bool)> {
        let mut place = ptr::null();
        let mut is_new = false;
        // SAFETY: this is the one reader.
        let status = unsafe {
            sys::wrt_triple_buffer_front(self.both.raw.get(), &raw mut place, &raw mut is_new)
        };
        // SAFETY: a value that was published; it is the reader's until the next call.
        went_through(status).then(|| (unsafe { &*place.cast() }, is_new))
    }

    /// A copy of the latest value, and whether it is another one than last time.
    pub fn get(&mut self) -> Option<(T, bool)> {
        self.front().map(|(value, is_new)| (*value, is_new))
    }
}
