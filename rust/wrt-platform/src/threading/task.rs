//! Closures as tasks.

use alloc::{boxed::Box, sync::Arc};
use core::{cell::UnsafeCell, ffi::c_void, mem, ptr, time::Duration};
use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    thread,
};

use wrt_platform_sys as sys;

use super::config::{limit, state_error};
use super::pool::{Orphan, Shared, ThreadPool};
use super::{CpuSet, TaskReport, ThreadPriority};
use crate::error::{Error, ErrorKind, Result, check};

/// Tells a closure that its task was cancelled.
pub struct CancelHandle {
    token: *const sys::wrt_cancel_token,
}

impl CancelHandle {
    /// Whether the closure should end.
    pub fn is_cancelled(&self) -> bool {
        // SAFETY: the token lives in the task, which is there while its closure runs.
        unsafe { sys::wrt_cancel_is_requested(self.token) }
    }
}

type Job<T> = Box<dyn FnOnce(&CancelHandle) -> T + Send>;

/// A task in the pool's hands: C's part, and what the closure left.
struct Cell<T> {
    raw: UnsafeCell<sys::wrt_task>,
    job: Option<Job<T>>,
    result: Option<thread::Result<T>>,
}

// SAFETY: the pool gives it to one thread after the other.
unsafe impl<T: Send> Send for Cell<T> {}

/// C's way into a closure.
unsafe extern "C" fn run<T>(context: *mut c_void) -> sys::wrt_status {
    // SAFETY: it is the cell, and the worker's alone until the task is done.
    let cell = unsafe { context.cast::<Cell<T>>().as_mut().expect("it was given at init") };
    let handle = CancelHandle { token: unsafe { sys::wrt_task_cancel_token(cell.raw.get()) } };
    if let Some(job) = cell.job.take() {
        cell.result = Some(catch_unwind(AssertUnwindSafe(|| job(&handle))));
    }
    sys::WRT_OK as sys::wrt_status
}

impl<T: Send> Orphan for Box<UnsafeCell<Cell<T>>> {
    fn is_over(&mut self) -> bool {
        // SAFETY: C refuses (STATE) while it is in the pool.
        unsafe { sys::wrt_task_deinit((*self.get()).raw.get()) == sys::WRT_OK as sys::wrt_status }
    }
}

/// Collects what a task is made of.
#[must_use]
pub struct TaskBuilder<T> {
    job: Job<T>,
    priority: Option<ThreadPriority>,
    cpus: CpuSet,
}

impl<T: Send + 'static> TaskBuilder<T> {
    /// A closure that is told when it should end.
    pub fn new(job: impl FnOnce(&CancelHandle) -> T + Send + 'static) -> Self {
        let (priority, cpus) = (None, CpuSet::default());
        Self { job: Box::new(job), priority, cpus }
    }

    /// What runs; a closure carries its context.
    pub fn with_run(mut self, job: impl FnOnce(&CancelHandle) -> T + Send + 'static) -> Self {
        self.job = Box::new(job);
        self
    }

    /// Within the pool's range.
    pub fn with_priority(mut self, priority: ThreadPriority) -> Self {
        self.priority = Some(priority);
        self
    }

    /// Within the pool's own CPUs.
    pub fn with_cpu_affinity(mut self, cpus: CpuSet) -> Self {
        self.cpus = cpus;
        self
    }

    /// Hands it to a pool. `Busy` if the queue of its priority is full, `State` when the pool
    /// shuts down, `InvalidArgument` for its priority or CPUs.
    pub fn submit(self, pool: &ThreadPool) -> Result<JoinHandle<T>> {
        // SAFETY: zero is a valid value of every field.
        let raw = UnsafeCell::new(unsafe { mem::zeroed() });
        let cell = Cell { raw, job: Some(self.job), result: None };
        let cell = Box::new(UnsafeCell::new(cell));
        // SAFETY: as above.
        let mut config: sys::wrt_task_config = unsafe { mem::zeroed() };
        config.struct_size = size_of::<sys::wrt_task_config>() as u32;
        config.priority = self.priority.map_or(0, |priority| priority as u32);
        config.cpu_affinity = self.cpus.to_raw();
        config.run = Some(run::<T>);
        config.context = cell.get().cast();
        pool.shared().reap();
        // SAFETY: the box keeps its address, and is kept until the task is done.
        unsafe {
            let task = (*cell.get()).raw.get();
            check(sys::wrt_task_init(task, &raw const config))?;
            check(sys::wrt_thread_pool_submit(pool.shared().raw(), task))?;
        }
        Ok(JoinHandle { shared: pool.shared().clone(), cell: Some(cell) })
    }
}

/// A closure on its way. Dropped, it goes on unattended.
pub struct JoinHandle<T: Send + 'static> {
    shared: Arc<Shared>,
    cell: Option<Box<UnsafeCell<Cell<T>>>>,
}

// SAFETY: C's calls on a task are for any thread; the result is taken by `self` alone.
unsafe impl<T: Send> Send for JoinHandle<T> {}
// SAFETY: by `&self` a task is only cancelled and asked about.
unsafe impl<T: Send> Sync for JoinHandle<T> {}

impl<T: Send + 'static> JoinHandle<T> {
    fn raw(&self) -> *mut sys::wrt_task {
        let cell = self.cell.as_ref().expect("it is there until it is joined");
        // SAFETY: the cell is live; no reference to it is made.
        unsafe { (&raw const (*cell.get()).raw).cast_mut().cast() }
    }

    /// Waits for the end, and returns what the closure returned. `Interrupted` if it was cancelled
    /// before it began, `State` if its worker was given up. Goes on with its panic.
    pub fn join(self) -> Result<T> {
        match self.wait(u64::MAX) {
            Ok(result) => result,
            Err(_) => Err(state_error(c"JoinHandle::join", c"an endless wait came to its end")),
        }
    }

    /// The same within a time; gives the handle back if it was not enough.
    pub fn join_timeout(self, timeout: Duration) -> core::result::Result<Result<T>, Self> {
        self.wait(limit(Some(timeout)))
    }

    fn wait(mut self, timeout_ns: u64) -> core::result::Result<Result<T>, Self> {
        let mut outcome = 0;
        // SAFETY: the task is live.
        let status = unsafe {
            sys::wrt_task_join(self.raw(), timeout_ns, ptr::null_mut(), &raw mut outcome)
        };
        match check(status) {
            Ok(()) => {}
            Err(error) if error.kind == ErrorKind::TimedOut => return Err(self),
            Err(error) => return Ok(Err(error)),
        }
        let cell = self.cell.take().expect("it is there until it is joined");
        // The pool is done with it: it is ours.
        Ok(match cell.into_inner().result {
            Some(Ok(value)) => Ok(value),
            Some(Err(payload)) => resume_unwind(payload),
            None => Err(Error::new(
                ErrorKind::Interrupted,
                c"JoinHandle::join",
                c"the task was cancelled before it began",
            )),
        })
    }

    /// Asks it to end: it does not begin, or its [`CancelHandle`] says so. `State` if it is done.
    pub fn cancel(&self) -> Result<()> {
        // SAFETY: the task is live.
        check(unsafe { sys::wrt_task_cancel(self.raw()) })
    }

    /// Where it is.
    pub fn report(&self) -> Result<TaskReport> {
        // SAFETY: zero is a valid value of every field.
        let mut report = unsafe { mem::zeroed() };
        // SAFETY: both are live.
        check(unsafe { sys::wrt_task_query(self.raw(), &raw mut report) })?;
        Ok(TaskReport::from_raw(&report))
    }

    /// Lets its worker go, once it was cancelled and does not come back; whether a spare took its
    /// place.
    pub fn give_up(&self) -> Result<bool> {
        let mut replaced = false;
        // SAFETY: both are live.
        check(unsafe { sys::wrt_task_give_up(self.raw(), &raw mut replaced) })?;
        Ok(replaced)
    }
}

impl<T: Send + 'static> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        if let Some(cell) = self.cell.take() {
            self.shared.adopt(Box::new(cell));
        }
    }
}
