//! Threads of Linux: what pools, watchdogs, thread managers and events run on. Mirrors
//! `wrt_platform/linux/threading.h`.

use core::mem;

use wrt_platform_sys as sys;

use crate::error::Result;
use crate::shared::Shared;
use crate::thread_system::ThreadSystem;

/// How `Realtime` threads of one priority take turns on a CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u32)]
pub enum LinuxRealtimePolicy {
    /// SCHED_FIFO: one runs until it waits.
    #[default]
    Fifo = sys::WRT_LINUX_REALTIME_FIFO,
    /// SCHED_RR: in slices of `sched_rr_timeslice_ms`, 100 ms where nobody changed it.
    RoundRobin = sys::WRT_LINUX_REALTIME_ROUND_ROBIN,
}

/// `Low`, `Normal` and `High` are nice values, `Realtime` is SCHED_FIFO or SCHED_RR; made by
/// [`LinuxThreadSystemBuilder`].
/// `Send` and `Sync`. A forked child can't use it.
pub struct LinuxThreadSystem {
    raw: Shared<sys::wrt_linux_thread_system>,
}

// SAFETY: it is a thread system of the C library.
unsafe impl ThreadSystem for LinuxThreadSystem {
    fn interface(&self) -> sys::wrt_thread_system {
        // SAFETY: `raw` is initialised.
        unsafe { sys::wrt_linux_thread_system_interface(self.raw.get()) }
    }
}

/// Collects settings; the rules of linux/threading.h are checked by [`build`](Self::build).
#[must_use]
pub struct LinuxThreadSystemBuilder {
    config: sys::wrt_linux_thread_system_config,
}

impl LinuxThreadSystemBuilder {
    /// Starts with the defaults.
    pub const fn new() -> Self {
        // SAFETY: zero is a valid value of every field.
        let mut config: sys::wrt_linux_thread_system_config = unsafe { mem::zeroed() };
        config.struct_size = size_of::<sys::wrt_linux_thread_system_config>() as u32;
        Self { config }
    }

    /// Of `Realtime`: 1 to 99; 0: 10.
    pub const fn with_realtime_priority(mut self, value: u32) -> Self {
        self.config.realtime_priority = value;
        self
    }

    /// How `Realtime` threads of one priority take turns; without it, `Fifo`.
    pub const fn with_realtime_policy(mut self, value: LinuxRealtimePolicy) -> Self {
        self.config.realtime_policy = value as u32;
        self
    }

    /// Nice values from `Normal` to `Low` and to `High`: 1 to 19; 0: 10.
    pub const fn with_nice_step(mut self, value: u32) -> Self {
        self.config.nice_step = value;
        self
    }

    /// Makes the system, or says which rule is broken.
    pub fn build(self) -> Result<LinuxThreadSystem> {
        // SAFETY: any thread may use it, and both pointers are live.
        let raw = unsafe {
            Shared::make(
                |raw| sys::wrt_linux_thread_system_init(raw, &raw const self.config),
                sys::wrt_linux_thread_system_deinit,
            )
        }?;
        Ok(LinuxThreadSystem { raw })
    }
}

impl Default for LinuxThreadSystemBuilder {
    fn default() -> Self {
        Self::new()
    }
}
