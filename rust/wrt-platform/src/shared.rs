//! Objects of C that any thread may use, each at an address of its own.

use alloc::boxed::Box;
use core::{
    cell::UnsafeCell,
    mem::{self, ManuallyDrop},
};

use wrt_platform_sys as sys;

use crate::error::{Result, check};

type End<T> = unsafe extern "C" fn(*mut T) -> sys::wrt_status;

/// Owns an object of C. One that C refuses to end, because somebody uses it still, stays where it
/// is. `Send` and `Sync`.
pub(crate) struct Shared<T> {
    object: ManuallyDrop<Box<UnsafeCell<T>>>,
    end: End<T>,
}

// SAFETY: `make` asks for it, and the box keeps its address.
unsafe impl<T> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Shared<T> {}

impl<T> Shared<T> {
    /// Takes what `init` makes of zeros.
    ///
    /// # Safety
    /// All zero is an object that is not made; one that `init` has made any thread may use, until
    /// `end` says that it is ended.
    pub(crate) unsafe fn make(
        init: impl FnOnce(*mut T) -> sys::wrt_status,
        end: End<T>,
    ) -> Result<Self> {
        // SAFETY: the caller's.
        let object = Box::new(UnsafeCell::new(unsafe { mem::zeroed() }));
        check(init(object.get()))?;
        Ok(Self { object: ManuallyDrop::new(object), end })
    }

    /// For C; it is live as long as this is.
    pub(crate) fn get(&self) -> *mut T {
        self.object.get()
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        // SAFETY: it is made, and nobody borrows it any more.
        if unsafe { (self.end)(self.get()) } == sys::WRT_OK as sys::wrt_status {
            // SAFETY: it is ended, and this is the last use.
            unsafe { ManuallyDrop::drop(&mut self.object) };
        }
    }
}
