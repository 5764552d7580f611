//! Structures that threads share without a lock. Mirrors `wrt_platform/lockfree.h`.
//!
//! ```
//! use wrt_platform::lockfree::{Line, RingBuilder};
//!
//! let mut lines = [Line::ZERO; 6];
//! let mut ring = RingBuilder::new().with_capacity(32).with_buffer(&mut lines).build()?;
//! let (mut producer, mut consumer) = ring.split();
//! std::thread::scope(|scope| {
//!     scope.spawn(move || (0..10u64).for_each(|number| producer.put(number).unwrap()));
//! });
//! assert!((0..10).all(|number| consumer.get() == Some(number)));
//! assert_eq!(consumer.get(), None);
//! # Ok::<(), wrt_platform::Error>(())
//! ```
//!
//! Full and empty are answers: `put` gives the value back, and `get` gives nothing. A value that
//! goes in belongs to the structure until it comes out; what is left is dropped with it.

mod index_stack;
mod queue;
mod ring;
mod seqlock;
mod triple_buffer;

pub use index_stack::{IndexStack, IndexStackBuilder};
pub use queue::{Queue, QueueBuilder};
pub use ring::{Ring, RingBuilder, RingConsumer, RingProducer};
pub use seqlock::{Seqlock, SeqlockBuilder, SeqlockReader, SeqlockWriter};
pub use triple_buffer::{
    TripleBuffer, TripleBufferBuilder, TripleBufferReader, TripleBufferWriter,
};

use core::{
    cmp::Ordering,
    ffi::{CStr, c_void},
    mem::MaybeUninit,
};

use wrt_platform_sys as sys;

use crate::Layout;
use crate::error::{Error, Result, check};

/// A piece of a buffer. Lines make the alignment a fact of the type.
#[repr(C, align(128))]
#[derive(Clone, Copy)]
pub struct Line([u8; 128]);

impl Line {
    /// A line of zeros; what a buffer holds at first does not matter.
    pub const ZERO: Self = Self([0; 128]);
}

const _: () = assert!(align_of::<Line>() == sys::WRT_LOCKFREE_ALIGNMENT_MAX as usize);

/// The size of a `T` for a config; one that 32 bits cannot hold is refused by C, as any too large.
const fn size_for_config<T>() -> u32 {
    if size_of::<T>() > u32::MAX as usize { u32::MAX } else { size_of::<T>() as u32 }
}

/// What is lent in place lies on a line, or where the smallest processors have one.
fn check_alignment<T>(operation: &'static CStr, alignment: usize) -> Result<()> {
    match align_of::<T>().cmp(&alignment) {
        Ordering::Greater => Err(Error::invalid_argument(
            operation,
            c"the type wants an alignment of {0} bytes, and {1} are what there is",
        )
        .with_detail([align_of::<T>() as u64, alignment as u64])),
        Ordering::Less | Ordering::Equal => Ok(()),
    }
}

/// False for the answer BUSY; the calls behind it can fail in no other way.
fn went_through(status: sys::wrt_status) -> bool {
    if status == sys::WRT_ERR_BUSY as sys::wrt_status {
        return false;
    }
    debug_assert_eq!(check(status).err().map(|error| error.kind), None);
    status == sys::WRT_OK as sys::wrt_status
}

/// What buffer a config needs: what `call` writes.
fn layout_by(call: impl FnOnce(*mut Layout) -> sys::wrt_status) -> Result<Layout> {
    let mut layout = Layout { bytes: 0, alignment: 0 };
    check(call(&raw mut layout))?;
    Ok(layout)
}

/// The number that `call` writes.
fn count_by(call: impl FnOnce(*mut u32) -> sys::wrt_status) -> usize {
    let mut count = 0;
    went_through(call(&raw mut count));
    count as usize
}

/// Puts a value in by `call`; gives it back when there is no room.
///
/// # Safety
/// `call` copies the size of a `T`, or says BUSY.
unsafe fn put_by<T>(
    value: T,
    call: impl FnOnce(*const c_void) -> sys::wrt_status,
) -> core::result::Result<(), T> {
    let value = MaybeUninit::new(value);
    if went_through(call(value.as_ptr().cast())) {
        return Ok(()); // the copy in the structure is the value now
    }
    // SAFETY: nothing was taken.
    Err(unsafe { value.assume_init() })
}

/// Takes a value out by `call`; nothing when there is none.
///
/// # Safety
/// `call` writes a whole `T` that belongs to whoever gets it, or says BUSY.
unsafe fn get_by<T>(call: impl FnOnce(*mut c_void) -> sys::wrt_status) -> Option<T> {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the caller's.
    went_through(call(value.as_mut_ptr().cast())).then(|| unsafe { value.assume_init() })
}

/// A count for C; what is beyond 32 bits has to wait for the next call.
fn count_for_c(count: usize) -> u32 {
    count.try_into().unwrap_or(u32::MAX)
}
