//! Threads of Qnx: what pools, watchdogs, thread managers and events run on. Mirrors
//! `wrt_platform/qnx/threading.h`.

use core::mem;

use wrt_platform_sys as sys;

use crate::error::Result;
use crate::shared::Shared;
use crate::thread_system::ThreadSystem;

/// `Low`, `Normal` and `High` are SCHED_RR, `Realtime` is SCHED_FIFO; made by
/// [`QnxThreadSystemBuilder`].
/// `Send` and `Sync`. A forked child can't use it.
pub struct QnxThreadSystem {
    raw: Shared<sys::wrt_qnx_thread_system>,
}

// SAFETY: it is a thread system of the C library.
unsafe impl ThreadSystem for QnxThreadSystem {
    fn interface(&self) -> sys::wrt_thread_system {
        // SAFETY: `raw` is initialised.
        unsafe { sys::wrt_qnx_thread_system_interface(self.raw.get()) }
    }
}

/// Collects settings; the rules of qnx/threading.h are checked by [`build`](Self::build).
#[must_use]
pub struct QnxThreadSystemBuilder {
    config: sys::wrt_qnx_thread_system_config,
}

impl QnxThreadSystemBuilder {
    /// Starts with the defaults.
    pub const fn new() -> Self {
        // SAFETY: zero is a valid value of every field.
        let mut config: sys::wrt_qnx_thread_system_config = unsafe { mem::zeroed() };
        config.struct_size = size_of::<sys::wrt_qnx_thread_system_config>() as u32;
        Self { config }
    }

    /// Of SCHED_RR; 0: 8.
    pub const fn with_low_priority(mut self, value: u32) -> Self {
        self.config.low_priority = value;
        self
    }

    /// Of SCHED_RR; 0: 10.
    pub const fn with_normal_priority(mut self, value: u32) -> Self {
        self.config.normal_priority = value;
        self
    }

    /// Of SCHED_RR; 0: 15.
    pub const fn with_high_priority(mut self, value: u32) -> Self {
        self.config.high_priority = value;
        self
    }

    /// Of SCHED_FIFO; 0: 40.
    pub const fn with_realtime_priority(mut self, value: u32) -> Self {
        self.config.realtime_priority = value;
        self
    }

    /// Makes the system, or says which rule is broken.
    pub fn build(self) -> Result<QnxThreadSystem> {
        // SAFETY: any thread may use it, and both pointers are live.
        let raw = unsafe {
            Shared::make(
                |raw| sys::wrt_qnx_thread_system_init(raw, &raw const self.config),
                sys::wrt_qnx_thread_system_deinit,
            )
        }?;
        Ok(QnxThreadSystem { raw })
    }
}

impl Default for QnxThreadSystemBuilder {
    fn default() -> Self {
        Self::new()
    }
}
