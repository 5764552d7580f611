//! What a manager is made of.

use alloc::string::String;
use core::{mem, time::Duration};

use wrt_platform_sys as sys;

use super::WasmThreadManager;
use crate::error::Result;
use crate::events::Events;
use crate::memory_account::MemoryAccount;
use crate::system_below::nanoseconds;
use crate::threading::{Executor, ThreadPoolConfig, ThreadPriority};

/// What all threads of a manager must keep to; zero: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ThreadingLimits {
    /// Threads of one module that have not ended.
    pub max_threads_per_module: u32,
    /// Threads of all modules that have not ended.
    pub max_total_threads: u32,
    /// From the beginning of a call.
    pub max_thread_lifetime: Duration,
    /// Of one call, by the thread's own CPU clock.
    pub cpu_quota_per_thread: Duration,
    /// Bytes of linear memory that the threads of one module have together.
    pub memory_limit_per_module: usize,
}

impl ThreadingLimits {
    fn raw(&self) -> sys::wrt_threading_limits {
        sys::wrt_threading_limits {
            struct_size: size_of::<sys::wrt_threading_limits>() as u32,
            max_threads_per_module: self.max_threads_per_module,
            max_total_threads: self.max_total_threads,
            reserved: [0; 4],
            max_thread_lifetime_ns: nanoseconds(self.max_thread_lifetime),
            cpu_quota_per_thread_ns: nanoseconds(self.cpu_quota_per_thread),
            memory_limit_per_module: self.memory_limit_per_module as u64,
        }
    }
}

/// A module whose functions are spawned, and its own limits. Of a limit here and one in
/// [`ThreadingLimits`] the stricter one counts; zero: no limit of its own.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WasmModuleInfo {
    /// The caller's number; no two alike.
    pub id: u32,
    /// For people; 31 bytes are kept.
    pub name: String,
    /// Threads that have not ended.
    pub max_threads: u32,
    /// Bytes of linear memory that its threads have together.
    pub memory_limit: usize,
    /// Of each of its threads.
    pub cpu_quota: Duration,
    /// Of its threads whose task says none.
    pub default_priority: ThreadPriority,
}

impl WasmModuleInfo {
    /// All but the name.
    pub(super) fn raw(&self) -> sys::wrt_wasm_module_info {
        sys::wrt_wasm_module_info {
            struct_size: size_of::<sys::wrt_wasm_module_info>() as u32,
            id: self.id,
            name: core::ptr::null(),
            max_threads: self.max_threads,
            default_priority: self.default_priority as u32,
            memory_limit: self.memory_limit as u64,
            cpu_quota_ns: nanoseconds(self.cpu_quota),
        }
    }
}

/// What a manager is made of; zeros and `None` stand for the defaults of safe_threading.h.
pub struct ThreadManagerConfig {
    /// Of the manager's own pool; its `events` are not looked at.
    pub threads: ThreadPoolConfig,
    /// What all threads must keep to.
    pub limits: ThreadingLimits,
    /// Modules at once, 1 to 1024.
    pub module_capacity: u32,
    /// A thread without heartbeat for longer is `Unresponsive`; zero: 5 s.
    pub response_timeout: Duration,
    /// How long a killed thread has to come back; zero: 500 ms.
    pub kill_timeout: Duration,
    /// Of [`WasmThreadManager::start`], from one check to the next; zero: 100 ms.
    pub check_interval: Duration,
    /// Pays for the memory of all modules.
    pub account: Option<MemoryAccount>,
    /// Gets `THREAD_UNHEALTHY`, `THREAD_KILLED` and `THREAD_POISONED`: `source` is the thread's id,
    /// `detail` its health and its module.
    pub events: Option<Events>,
    /// Where the manager's pool lies; `None`: the heap.
    pub buffer: Option<&'static mut [u64]>,
}

impl Default for ThreadManagerConfig {
    fn default() -> Self {
        Self {
            threads: ThreadPoolConfig::default(),
            limits: ThreadingLimits::default(),
            module_capacity: 16,
            response_timeout: Duration::ZERO,
            kill_timeout: Duration::ZERO,
            check_interval: Duration::ZERO,
            account: None,
            events: None,
            buffer: None,
        }
    }
}

impl ThreadManagerConfig {
    /// Of the manager's own pool.
    #[must_use]
    pub fn with_threads(mut self, threads: ThreadPoolConfig) -> Self {
        self.threads = threads;
        self
    }

    /// What all threads must keep to.
    #[must_use]
    pub fn with_limits(mut self, limits: ThreadingLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Modules at once.
    #[must_use]
    pub fn with_module_capacity(mut self, count: u32) -> Self {
        self.module_capacity = count;
        self
    }

    /// A thread without heartbeat for longer is `Unresponsive`.
    #[must_use]
    pub fn with_response_timeout(mut self, timeout: Duration) -> Self {
        self.response_timeout = timeout;
        self
    }

    /// How long a killed thread has to come back.
    #[must_use]
    pub fn with_kill_timeout(mut self, timeout: Duration) -> Self {
        self.kill_timeout = timeout;
        self
    }

    /// From one check to the next.
    #[must_use]
    pub fn with_check_interval(mut self, interval: Duration) -> Self {
        self.check_interval = interval;
        self
    }

    /// Pays for the memory of all modules.
    #[must_use]
    pub fn with_account(mut self, account: &MemoryAccount) -> Self {
        self.account = Some(account.clone());
        self
    }

    /// Gets what happens to threads.
    #[must_use]
    pub fn with_events(mut self, events: &Events) -> Self {
        self.events = Some(events.clone());
        self
    }

    /// Where the manager's pool lies.
    #[must_use]
    pub fn with_buffer(mut self, buffer: &'static mut [u64]) -> Self {
        self.buffer = Some(buffer);
        self
    }

    /// Starts the pool. Errors as [`WasmThreadManager::new`].
    pub fn build(mut self, executor: Executor) -> Result<WasmThreadManager> {
        self.threads.executor = Some(executor);
        WasmThreadManager::of(self)
    }

    /// All but the pool's config and the buffer.
    pub(super) fn raw(&self) -> sys::wrt_thread_manager_config {
        // SAFETY: zero is a valid value of every field (integers and null pointers).
        let mut raw: sys::wrt_thread_manager_config = unsafe { mem::zeroed() };
        raw.struct_size = size_of::<sys::wrt_thread_manager_config>() as u32;
        raw.module_capacity = self.module_capacity;
        raw.limits = self.limits.raw();
        raw.response_timeout_ns = nanoseconds(self.response_timeout);
        raw.kill_timeout_ns = nanoseconds(self.kill_timeout);
        raw.check_interval_ns = nanoseconds(self.check_interval);
        raw.account = self.account.as_ref().map_or(core::ptr::null_mut(), MemoryAccount::raw);
        raw.events = self.events.as_ref().map_or(core::ptr::null_mut(), Events::raw);
        raw
    }
}
