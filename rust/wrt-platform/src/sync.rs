//! Futexes: a word that threads wait on, and others wake. Mirrors `wrt_platform/sync.h`.
//!
//! ```
//! # #[cfg(target_os = "linux")] {
//! use wrt_platform::{FutexLike, LinuxFutexBuilder};
//!
//! let futex = LinuxFutexBuilder::new().build()?;
//! std::thread::scope(|scope| {
//!     scope.spawn(|| {
//!         futex.store(1)?;
//!         futex.wake_one()
//!     });
//!     while futex.load()? == 0 {
//!         futex.wait(0, None)?;
//!     }
//!     Ok::<(), wrt_platform::Error>(())
//! })?;
//! # }
//! # Ok::<(), wrt_platform::Error>(())
//! ```

use core::{ptr, time::Duration};

use wrt_platform_sys as sys;

use crate::cancel::CancelToken;
use crate::error::{Result, check};
use crate::thread_system::timeout_ns;

/// What the futexes of all backends can do; any thread may call any of it.
///
/// # Safety
/// What `interface` returns works as sync.h has it, for as long as `self` is borrowed.
pub unsafe trait FutexLike: Send + Sync {
    /// The futex as C takes it; valid while `self` is not dropped.
    fn interface(&self) -> sys::wrt_futex;

    /// Waits until it is woken, if the word is `expected`; returns at once if it is another, and
    /// sometimes early: look at the word afterwards. `TimedOut`; `None` waits without limit.
    fn wait(&self, expected: u32, timeout: Option<Duration>) -> Result<()> {
        wait(&self.interface(), expected, timeout, ptr::null_mut())
    }

    /// The same, and `Interrupted` when the token is requested.
    fn wait_cancellable(
        &self,
        expected: u32,
        timeout: Option<Duration>,
        cancel: &CancelToken,
    ) -> Result<()> {
        wait(&self.interface(), expected, timeout, cancel.as_raw())
    }

    /// Wakes at most `count` threads that wait; says how many there were.
    fn wake(&self, count: u32) -> Result<u32> {
        let (interface, mut woken) = (self.interface(), 0);
        // SAFETY: the trait's own rules make `interface` work.
        check(unsafe { sys::wrt_futex_wake(&raw const interface, count, &raw mut woken) })?;
        Ok(woken)
    }

    /// Wakes one thread; says 0 if there was none.
    fn wake_one(&self) -> Result<u32> {
        self.wake(1)
    }

    /// Wakes all threads that wait; says how many there were.
    fn wake_all(&self) -> Result<u32> {
        self.wake(u32::MAX)
    }

    /// The word, with acquire order.
    fn load(&self) -> Result<u32> {
        let (interface, mut value) = (self.interface(), 0);
        // SAFETY: as in `wake`.
        check(unsafe { sys::wrt_futex_load(&raw const interface, &raw mut value) })?;
        Ok(value)
    }

    /// Sets the word, with release order; wakes nobody.
    fn store(&self, value: u32) -> Result<()> {
        let interface = self.interface();
        // SAFETY: as in `wake`.
        check(unsafe { sys::wrt_futex_store(&raw const interface, value) })
    }

    /// Adds to the word, which wraps; says what it was.
    fn fetch_add(&self, value: u32) -> Result<u32> {
        let (interface, mut before) = (self.interface(), 0);
        // SAFETY: as in `wake`.
        check(unsafe { sys::wrt_futex_fetch_add(&raw const interface, value, &raw mut before) })?;
        Ok(before)
    }

    /// Sets the word to `value` if it is `expected`; else says, inside, what it is.
    fn compare_exchange(&self, expected: u32, value: u32) -> Result<core::result::Result<(), u32>> {
        let (interface, mut seen, mut exchanged) = (self.interface(), expected, false);
        // SAFETY: as in `wake`.
        check(unsafe {
            sys::wrt_futex_compare_exchange(
                &raw const interface,
                &raw mut seen,
                value,
                &raw mut exchanged,
            )
        })?;
        Ok(if exchanged { Ok(()) } else { Err(seen) })
    }
}

fn wait(
    interface: &sys::wrt_futex,
    expected: u32,
    timeout: Option<Duration>,
    cancel: *mut sys::wrt_cancel_token,
) -> Result<()> {
    // SAFETY: the interface works, says FutexLike; the token is live or null.
    check(unsafe { sys::wrt_futex_wait(interface, expected, timeout_ns(timeout), cancel) })
}
