//! Futexes, locks and wake hooks of Linux. Mirrors `wrt_platform/linux/sync.h`.

use core::{mem, ptr};

use wrt_platform_sys as sys;
pub use wrt_platform_sys::wrt_linux_futex_usage as LinuxFutexUsage;
pub use wrt_platform_sys::wrt_linux_shared as LinuxShared;

use crate::cancel::CancelToken;
use crate::error::{Result, check};
use crate::lock::{Lock, LockProtocol};
use crate::shared::Shared;
use crate::sync::FutexLike;

pub(crate) fn raw_token(cancel: Option<&CancelToken>) -> *mut sys::wrt_cancel_token {
    cancel.map_or(ptr::null_mut(), CancelToken::as_raw)
}

/// A word with FUTEX_WAIT and FUTEX_WAKE; made by [`LinuxFutexBuilder`]. `Send` and `Sync`. A forked
/// child can't use it.
pub struct LinuxFutex {
    raw: Shared<sys::wrt_linux_futex>,
}

// SAFETY: it is one of the C library.
unsafe impl FutexLike for LinuxFutex {
    fn interface(&self) -> sys::wrt_futex {
        // SAFETY: `raw` is initialised.
        unsafe { sys::wrt_linux_futex_interface(self.raw.get()) }
    }
}

impl LinuxFutex {
    /// What a futex made with priority inheritance, or robust, is; of another one, it says `State`.
    pub fn as_lock(&self) -> LinuxFutexLock<'_> {
        LinuxFutexLock { futex: self }
    }

    /// Waits like [`wait`](FutexLike::wait), until a point in time: nanoseconds of CLOCK_MONOTONIC,
    /// or CLOCK_REALTIME when made with the realtime clock.
    pub fn wait_until(
        &self,
        expected: u32,
        deadline_ns: u64,
        cancel: Option<&CancelToken>,
    ) -> Result<()> {
        let (raw, cancel) = (self.raw.get(), raw_token(cancel));
        // SAFETY: `raw` is initialised; the token is live or null.
        check(unsafe { sys::wrt_linux_futex_wait_until(raw, expected, deadline_ns, cancel) })
    }

    /// What a shared futex has in common with other processes: a forked child makes its own over it.
    /// Borrowed from the futex. `State` if it is not shared.
    pub fn memory(&self) -> Result<*mut LinuxShared> {
        let mut memory = ptr::null_mut();
        // SAFETY: `raw` is initialised.
        check(unsafe { sys::wrt_linux_futex_shared(self.raw.get(), &raw mut memory) })?;
        Ok(memory)
    }

    pub(crate) fn as_raw(&self) -> *mut sys::wrt_linux_futex {
        self.raw.get()
    }

    /// How the futex has been used so far.
    pub fn usage(&self) -> Result<LinuxFutexUsage> {
        // SAFETY: zero is a valid value of every field.
        let mut usage = unsafe { mem::zeroed() };
        // SAFETY: both pointers are live.
        check(unsafe { sys::wrt_linux_futex_query(self.raw.get(), &raw mut usage) })?;
        Ok(usage)
    }
}

/// The lock that a futex made with priority inheritance is.
#[derive(Clone, Copy)]
pub struct LinuxFutexLock<'futex> {
    futex: &'futex LinuxFutex,
}

// SAFETY: it is a lock of the C library, and lives as long as its futex.
unsafe impl Lock for LinuxFutexLock<'_> {
    fn interface(&self) -> sys::wrt_lock {
        // SAFETY: `raw` is initialised.
        unsafe { sys::wrt_linux_futex_lock_interface(self.futex.raw.get()) }
    }
}

/// Collects settings; the rules of linux/sync.h are checked by [`build`](Self::build).
#[must_use]
pub struct LinuxFutexBuilder {
    pub(crate) config: sys::wrt_linux_futex_config,
}

// SAFETY: what it points to is shared between processes, and so between threads.
unsafe impl Send for LinuxFutexBuilder {}

impl LinuxFutexBuilder {
    /// Starts with the defaults.
    pub const fn new() -> Self {
        // SAFETY: zero is a valid value of every field.
        let mut config: sys::wrt_linux_futex_config = unsafe { mem::zeroed() };
        config.struct_size = size_of::<sys::wrt_linux_futex_config>() as u32;
        Self { config }
    }

    /// Of the word.
    pub const fn with_initial_value(mut self, value: u32) -> Self {
        self.config.initial_value = value;
        self
    }

    /// How often a waiter looks at the word before it asks the system to wait.
    pub const fn with_spin(mut self, value: u32) -> Self {
        self.config.spin = value;
        self
    }

    /// Makes a lock instead of a word: [`as_lock`](LinuxFutex::as_lock).
    pub const fn with_priority_inheritance(mut self, value: bool) -> Self {
        self.config.priority_inheritance = value;
        self
    }

    /// The same as [`with_spin`](Self::with_spin).
    pub const fn with_spin_count(self, value: u32) -> Self {
        self.with_spin(value)
    }

    /// Nanoseconds between two looks, at most 10,000; without it, one pause of the processor.
    pub const fn with_backoff_ns(mut self, value: u32) -> Self {
        self.config.backoff_ns = value;
        self
    }

    /// Makes a lock instead of a word, which notices an owner that ended.
    pub const fn with_robust(mut self, value: bool) -> Self {
        self.config.robust = value;
        self
    }

    /// Between processes: those that this one forks, or `with_memory`, those that map it.
    pub const fn with_shared(mut self, value: bool) -> Self {
        self.config.shared = value;
        self
    }

    /// Deadlines are on CLOCK_REALTIME, and move when that clock is set.
    pub const fn with_realtime_clock(mut self, value: bool) -> Self {
        self.config.realtime_clock = value;
        self
    }

    /// What processes share, in a shared mapping; all zero before the first comes.
    ///
    /// # Safety
    /// It is live, and used as nothing else, until what is made over it is gone.
    pub const unsafe fn with_memory(mut self, memory: *mut LinuxShared) -> Self {
        self.config.memory = memory;
        self
    }

    /// Makes it, or says which rule is broken.
    pub fn build(self) -> Result<LinuxFutex> {
        // SAFETY: any thread may use it, and both pointers are live.
        let raw = unsafe {
            Shared::make(
                |raw| sys::wrt_linux_futex_init(raw, &raw const self.config),
                sys::wrt_linux_futex_deinit,
            )
        }?;
        Ok(LinuxFutex { raw })
    }
}

impl Default for LinuxFutexBuilder {
    fn default() -> Self {
        Self::new()
    }
}

/// A mutex that notices misuse; made by [`LinuxLockBuilder`]. `Send` and `Sync`. A forked child can't
/// use it.
pub struct LinuxLock {
    raw: Shared<sys::wrt_linux_lock>,
}

// SAFETY: it is one of the C library.
unsafe impl Lock for LinuxLock {
    fn interface(&self) -> sys::wrt_lock {
        // SAFETY: `raw` is initialised.
        unsafe { sys::wrt_linux_lock_interface(self.raw.get()) }
    }
}

impl LinuxLock {
    /// What a shared lock has in common with other processes: a forked child makes its own over it.
    /// Borrowed from the lock. `State` if it is not shared.
    pub fn memory(&self) -> Result<*mut LinuxShared> {
        let mut memory = ptr::null_mut();
        // SAFETY: `raw` is initialised.
        check(unsafe { sys::wrt_linux_lock_shared(self.raw.get(), &raw mut memory) })?;
        Ok(memory)
    }
}

/// Collects settings; the rules of linux/sync.h are checked by [`build`](Self::build).
#[must_use]
pub struct LinuxLockBuilder {
    config: sys::wrt_linux_lock_config,
}

impl LinuxLockBuilder {
    /// Starts with the defaults.
    pub const fn new() -> Self {
        // SAFETY: zero is a valid value of every field.
        let mut config: sys::wrt_linux_lock_config = unsafe { mem::zeroed() };
        config.struct_size = size_of::<sys::wrt_linux_lock_config>() as u32;
        Self { config }
    }

    /// What the lock does while a more urgent thread waits; without it, `Inherit`.
    pub const fn with_protocol(mut self, value: LockProtocol) -> Self {
        self.config.protocol = value as u32;
        self
    }

    /// At which owners run, with the protocol `Ceiling`: 1 to 99. Only threads of SCHED_FIFO or
    /// SCHED_RR at most as urgent may take the lock.
    pub const fn with_ceiling(mut self, value: u32) -> Self {
        self.config.ceiling = value;
        self
    }

    /// Notices an owner that ended while it held the lock.
    pub const fn with_robust(mut self, value: bool) -> Self {
        self.config.robust = value;
        self
    }

    /// Between processes: those that this one forks, or `with_memory`, those that map it.
    pub const fn with_shared(mut self, value: bool) -> Self {
        self.config.shared = value;
        self
    }

    /// What processes share, in a shared mapping; all zero before the first comes.
    ///
    /// # Safety
    /// It is live, and used as nothing else, until what is made over it is gone.
    pub const unsafe fn with_memory(mut self, memory: *mut LinuxShared) -> Self {
        self.config.memory = memory;
        self
    }

    /// Makes it, or says which rule is broken.
    pub fn build(self) -> Result<LinuxLock> {
        // SAFETY: any thread may use it, and both pointers are live.
        let raw = unsafe {
            Shared::make(
                |raw| sys::wrt_linux_lock_init(raw, &raw const self.config),
                sys::wrt_linux_lock_deinit,
            )
        }?;
        Ok(LinuxLock { raw })
    }
}

impl Default for LinuxLockBuilder {
    fn default() -> Self {
        Self::new()
    }
}

/// A descriptor that gets readable when [`call`](Self::call) was called. `Send` and `Sync`.
pub struct LinuxWake {
    raw: Shared<sys::wrt_linux_wake>,
}

impl LinuxWake {
    /// Makes the descriptor; `NoMemory` if there are none left.
    pub fn new() -> Result<Self> {
        // SAFETY: any thread may use it, and the pointer is live.
        let raw = unsafe {
            Shared::make(|raw| sys::wrt_linux_wake_init(raw), sys::wrt_linux_wake_deinit)
        }?;
        Ok(Self { raw })
    }

    /// Makes the descriptor readable.
    pub fn call(&self) {
        // SAFETY: `raw` is initialised.
        unsafe { sys::wrt_linux_wake_call(self.raw.get().cast()) }
    }

    /// Makes it unreadable again; says how often `call` was called since.
    pub fn take(&self) -> Result<u64> {
        let mut count = 0;
        // SAFETY: `raw` is initialised.
        check(unsafe { sys::wrt_linux_wake_take(self.raw.get(), &raw mut count) })?;
        Ok(count)
    }

    /// The descriptor, for poll or epoll; it stays this object's.
    pub fn descriptor(&self) -> Result<i32> {
        let mut descriptor = -1;
        // SAFETY: `raw` is initialised.
        check(unsafe { sys::wrt_linux_wake_descriptor(self.raw.get(), &raw mut descriptor) })?;
        Ok(descriptor)
    }
}
