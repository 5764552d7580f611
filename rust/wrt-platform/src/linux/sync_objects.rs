//! Semaphores, mutexes and conditions of Linux, waits on several futexes, and what it all costs.
//! Mirrors `wrt_platform/linux/sync_objects.h`.
//!
//! ```
//! use std::time::Duration;
//! use wrt_platform::linux::sync_objects::LinuxSemaphore;
//! use wrt_platform::LinuxFutexBuilder;
//!
//! let semaphore = LinuxSemaphore::new(LinuxFutexBuilder::new().with_initial_value(3))?;
//! semaphore.acquire(Some(Duration::from_secs(1)))?;
//! semaphore.release(1)?;
//! assert_eq!(semaphore.value()?, 3);
//! # Ok::<(), wrt_platform::Error>(())
//! ```

use alloc::vec::Vec;
use core::{ffi::CStr, mem, ptr, time::Duration};

use wrt_platform_sys as sys;

use crate::cancel::CancelToken;
use crate::error::{ErrorKind, Result, check};
use crate::linux::sync::{LinuxFutex, LinuxFutexBuilder, raw_token};
use crate::lock::Lock;
use crate::shared::Shared;
use crate::thread_system::timeout_ns;

/// Counts from the builder's initial value. `Send` and `Sync`. A forked child can't use it.
pub struct LinuxSemaphore {
    raw: Shared<sys::wrt_linux_semaphore>,
}

impl LinuxSemaphore {
    /// Makes it, or says which rule is broken.
    pub fn new(settings: LinuxFutexBuilder) -> Result<Self> {
        // SAFETY: any thread may use it, and both pointers are live.
        let raw = unsafe {
            Shared::make(
                |raw| sys::wrt_linux_semaphore_init(raw, &raw const settings.config),
                sys::wrt_linux_semaphore_deinit,
            )
        }?;
        Ok(Self { raw })
    }

    /// Takes one, and waits while there is none. `TimedOut`; `None` waits without limit.
    pub fn acquire(&self, timeout: Option<Duration>) -> Result<()> {
        self.take(timeout, None)
    }

    /// The same, and `Interrupted` when the token is requested.
    pub fn acquire_cancellable(
        &self,
        timeout: Option<Duration>,
        cancel: &CancelToken,
    ) -> Result<()> {
        self.take(timeout, Some(cancel))
    }

    fn take(&self, timeout: Option<Duration>, cancel: Option<&CancelToken>) -> Result<()> {
        let (raw, cancel) = (self.raw.get(), raw_token(cancel));
        // SAFETY: `raw` is initialised; the token is live or null.
        check(unsafe { sys::wrt_linux_semaphore_acquire(raw, timeout_ns(timeout), cancel) })
    }

    /// The same, until a point in time: nanoseconds of the builder's clock.
    pub fn acquire_until(&self, deadline_ns: u64, cancel: Option<&CancelToken>) -> Result<()> {
        let (raw, cancel) = (self.raw.get(), raw_token(cancel));
        // SAFETY: as in `take`.
        check(unsafe { sys::wrt_linux_semaphore_acquire_until(raw, deadline_ns, cancel) })
    }

    /// Takes one if there is one.
    pub fn try_acquire(&self) -> Result<bool> {
        match self.acquire(Some(Duration::ZERO)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind == ErrorKind::TimedOut => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Gives `count` back. `Limit` beyond 2^31 - 1.
    pub fn release(&self, count: u32) -> Result<()> {
        // SAFETY: `raw` is initialised.
        check(unsafe { sys::wrt_linux_semaphore_release(self.raw.get(), count) })
    }

    /// How many there are now.
    pub fn value(&self) -> Result<u32> {
        let mut value = 0;
        // SAFETY: `raw` is initialised.
        check(unsafe { sys::wrt_linux_semaphore_value(self.raw.get(), &raw mut value) })?;
        Ok(value)
    }
}

/// The fastest lock here. `Send` and `Sync`. A forked child can't use it.
pub struct LinuxMutex {
    raw: Shared<sys::wrt_linux_mutex>,
}

// SAFETY: it is one of the C library.
unsafe impl Lock for LinuxMutex {
    fn interface(&self) -> sys::wrt_lock {
        // SAFETY: `raw` is initialised.
        unsafe { sys::wrt_linux_mutex_interface(self.raw.get()) }
    }
}

impl LinuxMutex {
    /// Makes it, or says which rule is broken.
    pub fn new(settings: LinuxFutexBuilder) -> Result<Self> {
        // SAFETY: any thread may use it, and both pointers are live.
        let raw = unsafe {
            Shared::make(
                |raw| sys::wrt_linux_mutex_init(raw, &raw const settings.config),
                sys::wrt_linux_mutex_deinit,
            )
        }?;
        Ok(Self { raw })
    }

    /// Takes it until a point in time: nanoseconds of the builder's clock. The caller holds it then,
    /// for [`unlock`](Self::unlock).
    pub fn lock_until(&self, deadline_ns: u64, cancel: Option<&CancelToken>) -> Result<()> {
        let (raw, cancel) = (self.raw.get(), raw_token(cancel));
        // SAFETY: `raw` is initialised; the token is live or null.
        check(unsafe { sys::wrt_linux_mutex_lock_until(raw, deadline_ns, cancel) })
    }

    /// Gives back what `lock_until` took. `State` if the caller does not hold it.
    pub fn unlock(&self) -> Result<()> {
        // SAFETY: `raw` is initialised.
        check(unsafe { sys::wrt_linux_mutex_unlock(self.raw.get()) })
    }
}

/// What threads wait for that hold a [`LinuxMutex`]. `Send` and `Sync`. A forked child can't use it.
pub struct LinuxCondition {
    raw: Shared<sys::wrt_linux_condition>,
}

impl LinuxCondition {
    /// Makes it, or says which rule is broken.
    pub fn new(settings: LinuxFutexBuilder) -> Result<Self> {
        // SAFETY: any thread may use it, and both pointers are live.
        let raw = unsafe {
            Shared::make(
                |raw| sys::wrt_linux_condition_init(raw, &raw const settings.config),
                sys::wrt_linux_condition_deinit,
            )
        }?;
        Ok(Self { raw })
    }

    /// Gives `mutex`, which the caller holds, back, waits for a signal, and takes it again, however
    /// the wait ends; look again then, it may end early. `TimedOut`; `None` waits without limit.
    pub fn wait(&self, mutex: &LinuxMutex, timeout: Option<Duration>) -> Result<()> {
        let (raw, held) = (self.raw.get(), mutex.raw.get());
        let timeout = timeout_ns(timeout);
        // SAFETY: both are initialised.
        check(unsafe { sys::wrt_linux_condition_wait(raw, held, timeout, ptr::null_mut()) })
    }

    /// The same, until a point in time: nanoseconds of the builder's clock.
    pub fn wait_until(
        &self,
        mutex: &LinuxMutex,
        deadline_ns: u64,
        cancel: Option<&CancelToken>,
    ) -> Result<()> {
        let (raw, held, cancel) = (self.raw.get(), mutex.raw.get(), raw_token(cancel));
        // SAFETY: both are initialised; the token is live or null.
        check(unsafe { sys::wrt_linux_condition_wait_until(raw, held, deadline_ns, cancel) })
    }

    /// Wakes at most `count` threads that wait; `u32::MAX`: all.
    pub fn signal(&self, count: u32) -> Result<()> {
        // SAFETY: `raw` is initialised.
        check(unsafe { sys::wrt_linux_condition_signal(self.raw.get(), count) })
    }
}

/// One of the futexes that [`wait_any`] is for, and the word that it is expected to have.
pub type FutexWait<'futex> = (&'futex LinuxFutex, u32);

/// Waits until one of the futexes is woken, or its word is another; says which. At most 128.
/// `TimedOut`, `Interrupted` (`cancel` was requested).
pub fn wait_any(
    waits: &[FutexWait<'_>],
    timeout: Option<Duration>,
    cancel: Option<&CancelToken>,
) -> Result<usize> {
    let raw: Vec<_> = waits
        .iter()
        .map(|(futex, expected)| sys::wrt_linux_futex_wait {
            futex: futex.as_raw(),
            expected: *expected,
            reserved: 0,
        })
        .collect();
    let (count, cancel) = (u32::try_from(raw.len()).unwrap_or(u32::MAX), raw_token(cancel));
    let mut index = 0;
    // SAFETY: all futexes are initialised; the token is live or null.
    check(unsafe {
        sys::wrt_linux_futex_wait_any(
            raw.as_ptr(),
            count,
            timeout_ns(timeout),
            cancel,
            &raw mut index,
        )
    })?;
    Ok(index as usize)
}

/// Whether the kernel itself waits on several futexes, and by what, or why not.
pub fn wait_any_reason() -> Result<(bool, &'static str)> {
    // SAFETY: zero is a valid value of every field.
    let mut raw: sys::wrt_enforcement = unsafe { mem::zeroed() };
    // SAFETY: the pointer is live.
    check(unsafe { sys::wrt_linux_futex_wait_any_query(&raw mut raw) })?;
    // SAFETY: C gives static text.
    Ok((raw.state == sys::WRT_ENFORCEMENT_ENFORCED, unsafe { text(raw.reason) }))
}

/// One way to lock or to hand over, measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FutexStrategy {
    /// What it is called.
    pub name: &'static str,
    /// How often it was done.
    pub operations: u64,
    /// What one took.
    pub ns_per_operation: f64,
    /// Of the system; `None`: not counted.
    pub wait_calls: Option<u64>,
}

/// Measures, in this process, what locks cost that nobody else wants, and what it takes two threads
/// to hand a word to and fro.
pub fn benchmark_futex_strategies() -> Result<Vec<FutexStrategy>> {
    const OPERATIONS: u32 = 100_000;
    const CAPACITY: usize = sys::WRT_LINUX_STRATEGY_COUNT as usize;
    // SAFETY: zero is a valid value of every field.
    let mut rows: [sys::wrt_linux_futex_strategy; CAPACITY] = unsafe { mem::zeroed() };
    let mut count = 0;
    // SAFETY: there is room for as many as are said.
    check(unsafe {
        sys::wrt_linux_benchmark_futex_strategies(
            OPERATIONS,
            rows.as_mut_ptr(),
            CAPACITY as u32,
            &raw mut count,
        )
    })?;
    Ok(rows[..count as usize].iter().map(strategy).collect())
}

fn strategy(raw: &sys::wrt_linux_futex_strategy) -> FutexStrategy {
    FutexStrategy {
        // SAFETY: C gives static text.
        name: unsafe { text(raw.name) },
        operations: raw.operations,
        ns_per_operation: raw.nanoseconds as f64 / raw.operations as f64,
        wait_calls: (raw.wait_calls != u64::MAX).then_some(raw.wait_calls),
    }
}

/// # Safety
/// It is static text, ended by NUL.
unsafe fn text(raw: *const core::ffi::c_char) -> &'static str {
    // SAFETY: the caller's.
    unsafe { CStr::from_ptr(raw) }.to_str().unwrap_or_default()
}
