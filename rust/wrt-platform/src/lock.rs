//! Locks: one owner at a time, with bounded priority inversion. Mirrors `wrt_platform/lock.h`.
//!
//! ```
//! # #[cfg(target_os = "linux")] {
//! use wrt_platform::{LinuxLockBuilder, Lock};
//!
//! let lock = LinuxLockBuilder::new().with_robust(true).build()?;
//! let guard = lock.lock(None)?;
//! if guard.owner_died() {
//!     guard.recover()?; // when what it guards is whole again
//! }
//! drop(guard);
//! # }
//! # Ok::<(), wrt_platform::Error>(())
//! ```

use core::{marker::PhantomData, mem, ptr, time::Duration};

use wrt_platform_sys as sys;

use crate::cancel::CancelToken;
use crate::error::{ErrorKind, Result, check};
use crate::thread_system::timeout_ns;

/// What a lock does while a more urgent thread waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u32)]
pub enum LockProtocol {
    /// Nothing: a thread of middle priority delays an urgent one.
    None = sys::WRT_LOCK_PROTOCOL_NONE,
    /// The owner runs at the priority of the most urgent waiter.
    #[default]
    Inherit = sys::WRT_LOCK_PROTOCOL_INHERIT,
    /// The owner runs at the ceiling, waiters or not.
    Ceiling = sys::WRT_LOCK_PROTOCOL_CEILING,
}

/// What the locks of all backends can do; any thread may call any of it. `State` for misuse: to
/// lock again what one holds.
///
/// # Safety
/// What `interface` returns works as lock.h has it, for as long as `self` is borrowed.
pub unsafe trait Lock: Send + Sync {
    /// The lock as C takes it; valid while `self` is not dropped.
    fn interface(&self) -> sys::wrt_lock;

    /// Takes the lock. `TimedOut`; `None` waits without limit.
    fn lock(&self, timeout: Option<Duration>) -> Result<LockGuard<'_>> {
        lock(self.interface(), timeout, ptr::null_mut())
    }

    /// The same, and `Interrupted` when the token is requested.
    fn lock_cancellable(
        &self,
        timeout: Option<Duration>,
        cancel: &CancelToken,
    ) -> Result<LockGuard<'_>> {
        lock(self.interface(), timeout, cancel.as_raw())
    }

    /// Takes the lock if it is free; `None` if another thread holds it.
    fn try_lock(&self) -> Result<Option<LockGuard<'_>>> {
        let (interface, mut owner_died) = (self.interface(), false);
        // SAFETY: the trait's own rules make `interface` work.
        let status = unsafe { sys::wrt_lock_try_lock(&raw const interface, &raw mut owner_died) };
        match check(status) {
            Ok(()) => Ok(Some(LockGuard { interface, owner_died, lock: PhantomData })),
            Err(error) if error.kind == ErrorKind::Busy => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn lock<'lock>(
    interface: sys::wrt_lock,
    timeout: Option<Duration>,
    cancel: *mut sys::wrt_cancel_token,
) -> Result<LockGuard<'lock>> {
    let mut owner_died = false;
    // SAFETY: the interface works, says Lock; the token is live or null.
    check(unsafe {
        sys::wrt_lock_lock(&raw const interface, timeout_ns(timeout), cancel, &raw mut owner_died)
    })?;
    Ok(LockGuard { interface, owner_died, lock: PhantomData })
}

/// The lock is held, by this thread; gives it back when dropped. Not `Send`: only the owner gives
/// a lock back.
#[must_use = "the lock is given back when this is dropped"]
pub struct LockGuard<'lock> {
    interface: sys::wrt_lock,
    owner_died: bool,
    lock: PhantomData<(&'lock (), *mut ())>,
}

impl LockGuard<'_> {
    /// Whether the owner before ended while it held the lock, and what it guards may be
    /// half-changed.
    pub const fn owner_died(&self) -> bool {
        self.owner_died
    }

    /// Says that what the lock guards is whole again; without that it refuses everybody from the
    /// unlock on. `State` if no owner died.
    pub fn recover(&self) -> Result<()> {
        // SAFETY: the lock outlives the guard.
        check(unsafe { sys::wrt_lock_recover(&raw const self.interface) })
    }

    /// Gives the lock back, and says what the system said.
    pub fn unlock(self) -> Result<()> {
        let this = mem::ManuallyDrop::new(self);
        // SAFETY: the lock outlives the guard; it is given back once.
        check(unsafe { sys::wrt_lock_unlock(&raw const this.interface) })
    }
}

impl Drop for LockGuard<'_> {
    fn drop(&mut self) {
        // SAFETY: as in `unlock`.
        let _ = unsafe { sys::wrt_lock_unlock(&raw const self.interface) };
    }
}
