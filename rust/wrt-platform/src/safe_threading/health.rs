//! What managers say of themselves and of their threads.

use core::time::Duration;

use wrt_platform_sys as sys;

use crate::threading::{TaskState, ThreadPoolReport};

/// How a thread is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ThreadHealth {
    /// Within its limits, or not begun.
    Healthy,
    /// By its own CPU clock.
    CpuQuotaExceeded,
    /// Since its call began.
    LifetimeExceeded,
    /// No heartbeat for the response time-out.
    Unresponsive,
    /// It was killed, did not come back, and was given up.
    Poisoned,
    /// A number that this crate does not know; not healthy.
    Other(u32),
}

impl ThreadHealth {
    pub(super) const fn from_raw(raw: u32) -> Self {
        match raw {
            sys::WRT_THREAD_HEALTHY => Self::Healthy,
            sys::WRT_THREAD_CPU_QUOTA_EXCEEDED => Self::CpuQuotaExceeded,
            sys::WRT_THREAD_LIFETIME_EXCEEDED => Self::LifetimeExceeded,
            sys::WRT_THREAD_UNRESPONSIVE => Self::Unresponsive,
            sys::WRT_THREAD_POISONED => Self::Poisoned,
            other => Self::Other(other),
        }
    }
}

/// A thread's health, and what it was judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ThreadHealthReport {
    /// Of its task.
    pub id: u64,
    /// Its module.
    pub module: u32,
    /// The first that applies.
    pub health: ThreadHealth,
    /// Where its task is.
    pub state: TaskState,
    /// Of its instance.
    pub heartbeat: u32,
    /// Since its call began.
    pub lifetime: Duration,
    /// That it has used since then.
    pub cpu_time: Duration,
    /// How long no check has seen its heartbeat move.
    pub quiet: Duration,
}

impl ThreadHealthReport {
    pub(super) const fn from_raw(raw: &sys::wrt_thread_health_report) -> Self {
        Self {
            id: raw.id,
            module: raw.module,
            health: ThreadHealth::from_raw(raw.health),
            state: TaskState::from_raw(raw.state),
            heartbeat: raw.heartbeat,
            lifetime: Duration::from_nanos(raw.lifetime_ns),
            cpu_time: Duration::from_nanos(raw.cpu_time_ns),
            quiet: Duration::from_nanos(raw.quiet_ns),
        }
    }
}

/// What a manager has done; the counters wrap.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct ThreadManagerReport {
    /// Modules that are known.
    pub module_count: u32,
    /// Threads that were spawned and have not ended.
    pub thread_count: u32,
    /// Threads that were given up and have not come back.
    pub poisoned: u32,
    /// Threads so far.
    pub spawned: u32,
    /// Spawns that a limit refused.
    pub refused: u32,
    /// Threads that were stopped and came back.
    pub killed: u32,
    /// Threads that did not come back in time.
    pub given_up: u32,
    /// Events that found the ring full.
    pub lost_events: u32,
    /// The monitor thread.
    pub is_running: bool,
    /// Of the manager's pool.
    pub pool: ThreadPoolReport,
}

impl ThreadManagerReport {
    pub(crate) const fn from_raw(raw: &sys::wrt_thread_manager_report) -> Self {
        Self {
            module_count: raw.module_count,
            thread_count: raw.thread_count,
            poisoned: raw.poisoned,
            spawned: raw.spawned,
            refused: raw.refused,
            killed: raw.killed,
            given_up: raw.given_up,
            lost_events: raw.lost_events,
            is_running: raw.is_running,
            pool: raw.pool,
        }
    }
}
