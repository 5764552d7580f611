//! Futexes, locks and wake hooks of QNX. Mirrors `wrt_platform/qnx/sync.h`.

use core::mem;

use wrt_platform_sys as sys;
pub use wrt_platform_sys::wrt_qnx_futex_usage as QnxFutexUsage;

use crate::error::{Result, check};
use crate::lock::{Lock, LockProtocol};
use crate::shared::Shared;
use crate::sync::FutexLike;

/// At which priority a woken thread returns from its wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u32)]
pub enum QnxSyncPriority {
    /// Its own, all the time.
    #[default]
    Own = sys::WRT_QNX_SYNC_PRIORITY_DEFAULT,
    /// 8.
    Low = sys::WRT_QNX_SYNC_PRIORITY_LOW,
    /// 10.
    Normal = sys::WRT_QNX_SYNC_PRIORITY_NORMAL,
    /// 15.
    High = sys::WRT_QNX_SYNC_PRIORITY_HIGH,
    /// 40.
    Realtime = sys::WRT_QNX_SYNC_PRIORITY_REALTIME,
}

/// A word whose waiters are woken by pulses, the most urgent first; made by [`QnxFutexBuilder`].
/// `Send` and `Sync`. A forked child can't use it.
pub struct QnxFutex {
    raw: Shared<sys::wrt_qnx_futex>,
}

// SAFETY: it is one of the C library.
unsafe impl FutexLike for QnxFutex {
    fn interface(&self) -> sys::wrt_futex {
        // SAFETY: `raw` is initialised.
        unsafe { sys::wrt_qnx_futex_interface(self.raw.get()) }
    }
}

impl QnxFutex {
    /// What a futex made with priority inheritance is; of another one, it says `State`.
    pub fn as_lock(&self) -> QnxFutexLock<'_> {
        QnxFutexLock { futex: self }
    }

    /// How the futex has been used so far.
    pub fn usage(&self) -> Result<QnxFutexUsage> {
        // SAFETY: zero is a valid value of every field.
        let mut usage = unsafe { mem::zeroed() };
        // SAFETY: both pointers are live.
        check(unsafe { sys::wrt_qnx_futex_query(self.raw.get(), &raw mut usage) })?;
        Ok(usage)
    }
}

/// The lock that a futex made with priority inheritance is.
#[derive(Clone, Copy)]
pub struct QnxFutexLock<'futex> {
    futex: &'futex QnxFutex,
}

// SAFETY: it is a lock of the C library, and lives as long as its futex.
unsafe impl Lock for QnxFutexLock<'_> {
    fn interface(&self) -> sys::wrt_lock {
        // SAFETY: `raw` is initialised.
        unsafe { sys::wrt_qnx_futex_lock_interface(self.futex.raw.get()) }
    }
}

/// Collects settings; the rules of qnx/sync.h are checked by [`build`](Self::build).
#[must_use]
pub struct QnxFutexBuilder {
    config: sys::wrt_qnx_futex_config,
}

impl QnxFutexBuilder {
    /// Starts with the defaults.
    pub const fn new() -> Self {
        // SAFETY: zero is a valid value of every field.
        let mut config: sys::wrt_qnx_futex_config = unsafe { mem::zeroed() };
        config.struct_size = size_of::<sys::wrt_qnx_futex_config>() as u32;
        Self { config }
    }

    /// Of the word.
    pub const fn with_initial_value(mut self, value: u32) -> Self {
        self.config.initial_value = value;
        self
    }

    /// At which a woken thread returns from its wait; without it, at its own.
    pub const fn with_priority(mut self, value: QnxSyncPriority) -> Self {
        self.config.priority = value as u32;
        self
    }

    /// At a time, 1 to 16; 0: 8. One more is `Limit`.
    pub const fn with_maximum_waiters(mut self, value: u32) -> Self {
        self.config.maximum_waiters = value;
        self
    }

    /// Makes a lock instead of a word: [`as_lock`](QnxFutex::as_lock).
    pub const fn with_priority_inheritance(mut self, value: bool) -> Self {
        self.config.priority_inheritance = value;
        self
    }

    /// Makes it, or says which rule is broken.
    pub fn build(self) -> Result<QnxFutex> {
        // SAFETY: any thread may use it, and both pointers are live.
        let raw = unsafe {
            Shared::make(
                |raw| sys::wrt_qnx_futex_init(raw, &raw const self.config),
                sys::wrt_qnx_futex_deinit,
            )
        }?;
        Ok(QnxFutex { raw })
    }
}

impl Default for QnxFutexBuilder {
    fn default() -> Self {
        Self::new()
    }
}

/// A mutex that notices misuse; made by [`QnxLockBuilder`]. `Send` and `Sync`. A forked child can't
/// use it.
pub struct QnxLock {
    raw: Shared<sys::wrt_qnx_lock>,
}

// SAFETY: it is one of the C library.
unsafe impl Lock for QnxLock {
    fn interface(&self) -> sys::wrt_lock {
        // SAFETY: `raw` is initialised.
        unsafe { sys::wrt_qnx_lock_interface(self.raw.get()) }
    }
}

/// Collects settings; the rules of qnx/sync.h are checked by [`build`](Self::build).
#[must_use]
pub struct QnxLockBuilder {
    config: sys::wrt_qnx_lock_config,
}

impl QnxLockBuilder {
    /// Starts with the defaults.
    pub const fn new() -> Self {
        // SAFETY: zero is a valid value of every field.
        let mut config: sys::wrt_qnx_lock_config = unsafe { mem::zeroed() };
        config.struct_size = size_of::<sys::wrt_qnx_lock_config>() as u32;
        Self { config }
    }

    /// What the lock does while a more urgent thread waits; without it, `Inherit`.
    pub const fn with_protocol(mut self, value: LockProtocol) -> Self {
        self.config.protocol = value as u32;
        self
    }

    /// At which owners run, with the protocol `Ceiling`: 1 to 255. More urgent threads may not take
    /// the lock.
    pub const fn with_ceiling(mut self, value: u32) -> Self {
        self.config.ceiling = value;
        self
    }

    /// Notices an owner that ended while it held the lock.
    pub const fn with_robust(mut self, value: bool) -> Self {
        self.config.robust = value;
        self
    }

    /// Makes it, or says which rule is broken.
    pub fn build(self) -> Result<QnxLock> {
        // SAFETY: any thread may use it, and both pointers are live.
        let raw = unsafe {
            Shared::make(
                |raw| sys::wrt_qnx_lock_init(raw, &raw const self.config),
                sys::wrt_qnx_lock_deinit,
            )
        }?;
        Ok(QnxLock { raw })
    }
}

impl Default for QnxLockBuilder {
    fn default() -> Self {
        Self::new()
    }
}

/// A pulse to a channel of yours, when [`call`](Self::call) is called; made by [`QnxWakeBuilder`].
/// `Send` and `Sync`.
pub struct QnxWake {
    raw: Shared<sys::wrt_qnx_wake>,
}

impl QnxWake {
    /// Sends the pulse.
    pub fn call(&self) {
        // SAFETY: `raw` is initialised.
        unsafe { sys::wrt_qnx_wake_call(self.raw.get().cast()) }
    }
}

/// Collects settings; the rules of qnx/sync.h are checked by [`build`](Self::build).
#[must_use]
pub struct QnxWakeBuilder {
    config: sys::wrt_qnx_wake_config,
}

impl QnxWakeBuilder {
    /// Starts with the caller's priority, code and value 0.
    pub const fn new() -> Self {
        // SAFETY: zero is a valid value of every field.
        let mut config: sys::wrt_qnx_wake_config = unsafe { mem::zeroed() };
        config.struct_size = size_of::<sys::wrt_qnx_wake_config>() as u32;
        Self { config }
    }

    /// To the channel; it stays yours.
    pub const fn with_connection(mut self, value: i32) -> Self {
        self.config.connection = value;
        self
    }

    /// Of the pulse, 1 to 255; 0: that of whoever calls the hook.
    pub const fn with_priority(mut self, value: i32) -> Self {
        self.config.priority = value;
        self
    }

    /// Of the pulse, 0 to 127.
    pub const fn with_code(mut self, value: i32) -> Self {
        self.config.code = value;
        self
    }

    /// Of the pulse.
    pub const fn with_value(mut self, value: i32) -> Self {
        self.config.value = value;
        self
    }

    /// Makes the hook, or says which rule is broken.
    pub fn build(self) -> Result<QnxWake> {
        // SAFETY: any thread may use it, and both pointers are live.
        let raw = unsafe {
            Shared::make(
                |raw| sys::wrt_qnx_wake_init(raw, &raw const self.config),
                sys::wrt_qnx_wake_deinit,
            )
        }?;
        Ok(QnxWake { raw })
    }
}

impl Default for QnxWakeBuilder {
    fn default() -> Self {
        Self::new()
    }
}
