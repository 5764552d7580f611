//! Cancel tokens: one word that ends every wait which was given it. Mirrors
//! `wrt_platform/cancel.h`.
//!
//! ```
//! use wrt_platform::cancel::CancelToken;
//!
//! static STOP: CancelToken = CancelToken::new();
//! STOP.request();
//! assert!(STOP.is_requested());
//! ```

use core::{cell::UnsafeCell, mem, time::Duration};

use wrt_platform_sys as sys;

use crate::error::{Result, check};
use crate::thread_system::{ThreadSystem, timeout_ns};

/// Ready for use; any thread may use it, one at a time sleeps on it.
#[repr(transparent)]
pub struct CancelToken {
    raw: UnsafeCell<sys::wrt_cancel_token>,
}

// SAFETY: its words are atomic, and C lets any thread call; waits borrow it, so it stays put.
unsafe impl Sync for CancelToken {}
// SAFETY: as above.
unsafe impl Send for CancelToken {}

impl CancelToken {
    /// A token that nobody has requested.
    pub const fn new() -> Self {
        // SAFETY: all zero is a token that is ready for use.
        Self { raw: UnsafeCell::new(unsafe { mem::zeroed() }) }
    }

    /// Ends the waits with this token, those that come later as well, until [`clear`](Self::clear).
    pub fn request(&self) {
        // SAFETY: the token is live, and any thread may call.
        unsafe { sys::wrt_cancel_request(self.raw.get()) }
    }

    /// Makes the token ready for use again.
    pub fn clear(&self) {
        // SAFETY: as in `request`.
        unsafe { sys::wrt_cancel_clear(self.raw.get()) }
    }

    /// Whether it was requested and not cleared.
    pub fn is_requested(&self) -> bool {
        // SAFETY: as in `request`.
        unsafe { sys::wrt_cancel_is_requested(self.raw.get()) }
    }

    /// Sleeps for so long (`None`: without limit). `Interrupted` when the token is requested,
    /// `Busy` while another thread sleeps on it.
    pub fn sleep(&self, timeout: Option<Duration>, system: &dyn ThreadSystem) -> Result<()> {
        let interface = system.interface();
        // SAFETY: token and system are borrowed for the call.
        check(unsafe {
            sys::wrt_cancel_wait(self.raw.get(), &raw const interface, timeout_ns(timeout))
        })
    }

    /// # Safety
    /// `raw` is a token of C's that lives for `'a`.
    pub(crate) unsafe fn of<'a>(raw: *mut sys::wrt_cancel_token) -> &'a Self {
        // SAFETY: the caller's promise; the layout is C's, and its words are in an `UnsafeCell`.
        unsafe { &*raw.cast::<Self>() }
    }

    pub(crate) fn as_raw(&self) -> *mut sys::wrt_cancel_token {
        self.raw.get()
    }
}

impl Default for CancelToken {
    fn default() -> Self {
        Self::new()
    }
}
