//! One producer, one consumer, in order.

use core::{cell::UnsafeCell, marker::PhantomData, mem};

use wrt_platform_sys as sys;

use super::{
    Line, count_by, count_for_c, get_by, layout_by, put_by, size_for_config, went_through,
};
use crate::Layout;
use crate::error::{Result, check};

/// A ring; [`split`](Self::split) gives its two ends, each for one thread. Neither end can be
/// had twice:
///
/// ```compile_fail,E0499
/// # use wrt_platform::lockfree::{Line, RingBuilder};
/// # let mut lines = [Line::ZERO; 6];
/// # let builder = RingBuilder::<u64>::new().with_capacity(4).with_buffer(&mut lines);
/// let mut ring = builder.build().unwrap();
/// let (mut producer, _) = ring.split();
/// let (mut other, _) = ring.split();
/// producer.put(1).unwrap();
/// ```
pub struct Ring<'buffer, T: Send> {
    raw: UnsafeCell<sys::wrt_ring>,
    buffer: PhantomData<&'buffer mut [Line]>,
    values: PhantomData<T>,
}

// SAFETY: the C ring is plain memory, tied to no thread; the values in it may go elsewhere.
unsafe impl<T: Send> Send for Ring<'_, T> {}

/// The end where values go in. `Send`, not `Sync`: one thread at a time.
pub struct RingProducer<'ring, T: Send> {
    ring: &'ring Ring<'ring, T>,
}

/// The end where values come out. `Send`, not `Sync`: one thread at a time.
pub struct RingConsumer<'ring, T: Send> {
    ring: &'ring Ring<'ring, T>,
}

// SAFETY: there is one of each, as the ring is borrowed exclusively, and its calls take `&mut`;
// what both touch the C library accesses by atomics.
unsafe impl<T: Send> Send for RingProducer<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for RingConsumer<'_, T> {}

/// Collects settings; the rules of lockfree.h are checked by [`build`](Self::build).
#[must_use]
pub struct RingBuilder<'buffer, T> {
    config: sys::wrt_ring_config,
    buffer: PhantomData<&'buffer mut [Line]>,
    values: PhantomData<T>,
}

impl<'buffer, T: Send> RingBuilder<'buffer, T> {
    /// Starts without room and without a buffer.
    pub const fn new() -> Self {
        // SAFETY: zero is a valid value of every field (integers, null pointer).
        let mut config: sys::wrt_ring_config = unsafe { mem::zeroed() };
        config.struct_size = size_of::<sys::wrt_ring_config>() as u32;
        config.element_size = size_for_config::<T>();
        Self { config, buffer: PhantomData, values: PhantomData }
    }

    /// How many values there is room for: a power of two.
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
        layout_by(|layout| unsafe { sys::wrt_ring_layout(&raw const self.config, layout) })
    }

    /// Makes the ring, or says which rule is broken.
    pub fn build(self) -> Result<Ring<'buffer, T>> {
        // SAFETY: zero is a valid value of every field (null pointers).
        let mut raw = unsafe { mem::zeroed() };
        // SAFETY: both pointers are live; the buffer stays borrowed for as long as the ring.
        check(unsafe { sys::wrt_ring_init(&raw mut raw, &raw const self.config) })?;
        Ok(Ring { raw: UnsafeCell::new(raw), buffer: PhantomData, values: PhantomData })
    }
}

impl<T: Send> Default for RingBuilder<'_, T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Send> Ring<'_, T> {
    /// The two ends; both go before the ring can be used otherwise.
    pub fn split(&mut self) -> (RingProducer<'_, T>, RingConsumer<'_, T>) {
        (RingProducer { ring: self }, RingConsumer { ring: self })
    }

    fn count(&self) -> usize {
        // SAFETY: `raw` is initialised; any thread may ask.
        count_by(|count| unsafe { sys::wrt_ring_count(self.raw.get(), count) })
    }
}

impl<T: Send> Drop for Ring<'_, T> {
    fn drop(&mut self) {
        if mem::needs_drop::<T>() {
            let (_, mut consumer) = self.split();
            while consumer.get().is_some() {}
        }
        // SAFETY: `raw` is initialised, and both ends are gone.
        went_through(unsafe { sys::wrt_ring_deinit(self.raw.get()) });
    }
}

impl<T: Send> RingProducer<'_, T> {
    /// Puts a value in, behind all others; gives it back when the ring is full.
    pub fn put(&mut self, value: T) -> core::result::Result<(), T> {
        // SAFETY: this is the one producer; C copies the size of a `T` from the value.
        unsafe { put_by(value, |from| sys::wrt_ring_put(self.ring.raw.get(), from)) }
    }

    /// Puts in as many values as there is room for, from the first on; says how many.
    pub fn put_many(&mut self, values: &[T]) -> usize
    where
        T: Copy,
    {
        // SAFETY: this is the one producer; C copies no more than the slice has.
        count_by(|count| unsafe {
            sys::wrt_ring_put_many(
                self.ring.raw.get(),
                values.as_ptr().cast(),
                count_for_c(values.len()),
                count,
            )
        })
    }

    /// How many values are in the ring, at most: the consumer may be taking some.
    pub fn count(&self) -> usize {
        self.ring.count()
    }
}

impl<T: Send> RingConsumer<'_, T> {
    /// Takes the oldest value; nothing when the ring is empty.
    pub fn get(&mut self) -> Option<T> {
        // SAFETY: this is the one consumer; C writes the size of a `T`, a value that went in, and it
        // comes out once.
        unsafe { get_by(|to| sys::wrt_ring_get(self.ring.raw.get(), to)) }
    }

    /// Takes as many values as are there and as the slice can hold; says how many.
    pub fn get_many(&mut self, values: &mut [T]) -> usize
    where
        T: Copy,
    {
        // SAFETY: this is the one consumer; C writes values, no more than the slice can hold.
        count_by(|count| unsafe {
            sys::wrt_ring_get_many(
                self.ring.raw.get(),
                values.as_mut_ptr().cast(),
                count_for_c(values.len()),
                count,
            )
        })
    }

    /// How many values are in the ring, at least: the producer may be adding some.
    pub fn count(&self) -> usize {
        self.ring.count()
    }
}
