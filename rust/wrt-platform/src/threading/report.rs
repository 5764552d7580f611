//! What pools, workers and tasks say of themselves.

use alloc::string::String;
use core::time::Duration;

use wrt_platform_sys as sys;

use super::CpuSet;
use crate::system_below::text_of;

/// Where a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TaskState {
    /// Not submitted, or joined.
    New,
    /// In the queue of its priority.
    Queued,
    /// It waits for its turn on a busy instance.
    Waiting,
    /// A worker runs it.
    Running,
    /// It has ended, and can be joined.
    Done,
    /// Its thread was given up and is still in it.
    Lost,
}

impl TaskState {
    pub(crate) const fn from_raw(raw: u32) -> Self {
        match raw {
            sys::WRT_TASK_QUEUED => Self::Queued,
            sys::WRT_TASK_WAITING => Self::Waiting,
            sys::WRT_TASK_RUNNING => Self::Running,
            sys::WRT_TASK_DONE => Self::Done,
            sys::WRT_TASK_LOST => Self::Lost,
            _ => Self::New,
        }
    }
}

/// Where a task is now.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct TaskReport {
    /// Where it is.
    pub state: TaskState,
    /// The worker that runs it.
    pub worker: Option<u32>,
    /// Of its instance.
    pub heartbeat: u32,
    /// Since its call began.
    pub run_time: Duration,
    /// That the thread has used since then.
    pub cpu_time: Duration,
}

impl TaskReport {
    pub(super) fn from_raw(raw: &sys::wrt_task_report) -> Self {
        Self {
            state: TaskState::from_raw(raw.state),
            worker: (raw.worker != u32::MAX).then_some(raw.worker),
            heartbeat: raw.heartbeat,
            run_time: Duration::from_nanos(raw.run_time_ns),
            cpu_time: Duration::from_nanos(raw.cpu_time_ns),
        }
    }
}

/// What a pool has done and what waits. Numbers of tasks wrap.
pub use sys::wrt_thread_pool_report as ThreadPoolReport;

/// What a worker is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WorkerState {
    /// A record without a thread: a spare, or ended.
    Free,
    /// It looks or waits for a task.
    Idle,
    /// It runs one.
    Running,
    /// It was given up and has not come back.
    Lost,
}

/// A worker, as the system describes its thread, and what it has done.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct WorkerReport {
    /// What it is doing.
    pub state: WorkerState,
    /// Number that the system's own tools show; 0 without a thread.
    pub system_id: u64,
    /// Its name.
    pub name: String,
    /// Bytes of its stack.
    pub stack_size: u64,
    /// CPUs that it may use.
    pub cpus: CpuSet,
    /// Tasks that it has ended; it wraps.
    pub finished: u32,
    /// Bytes that its allocator has out.
    pub memory: u64,
    /// The most that were out at once.
    pub memory_peak: u64,
}

impl WorkerReport {
    pub(super) fn from_raw(raw: &sys::wrt_thread_pool_worker_report) -> Self {
        Self {
            state: match raw.state {
                sys::WRT_WORKER_IDLE => WorkerState::Idle,
                sys::WRT_WORKER_RUNNING => WorkerState::Running,
                sys::WRT_WORKER_LOST => WorkerState::Lost,
                _ => WorkerState::Free,
            },
            system_id: raw.thread.system_id,
            name: text_of(&raw.thread.name).into(),
            stack_size: raw.thread.stack_size,
            cpus: cpus_of(&raw.thread.cpus),
            finished: raw.finished,
            memory: raw.memory_bytes,
            memory_peak: raw.memory_peak,
        }
    }
}

fn cpus_of(raw: &sys::wrt_cpu_set) -> CpuSet {
    let named = |cpu: &u8| raw.words[usize::from(*cpu / 64)] >> (cpu % 64) & 1 != 0;
    (0..=u8::MAX).filter(named).fold(CpuSet::any(), CpuSet::with)
}
