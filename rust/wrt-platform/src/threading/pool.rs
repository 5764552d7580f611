//! The pool itself.

use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::{
    cell::UnsafeCell,
    mem::{self, ManuallyDrop},
    ops::Deref,
    time::Duration,
};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use wrt_platform_sys as sys;

use super::config::limit;
use super::task::{JoinHandle, TaskBuilder};
use super::wasm::{WasmHandle, WasmTask};
use super::{Executor, System, ThreadPoolConfig, ThreadPoolReport, WorkerReport};
use crate::error::{ErrorKind, Result, check};
use crate::room::Room;

/// Worker threads. Clones are the same pool.
///
/// Dropping the last clone, when no handle is left either, cancels what is left and waits for
/// nothing: what threads still use stays where it is. [`shutdown`](Self::shutdown) waits.
#[derive(Clone)]
pub struct ThreadPool {
    shared: Arc<Shared>,
}

/// What pool and handles hold together. What the workers use lies in a box of its own, which
/// outlives the rest if need be.
pub(super) struct Shared {
    inner: ManuallyDrop<Box<Inner>>,
}

struct Inner {
    raw: UnsafeCell<sys::wrt_thread_pool>,
    config: ThreadPoolConfig,
    _buffer: Vec<u64>,
    orphans: Mutex<Vec<Box<dyn Orphan>>>,
}

/// A task that nobody waits for any more.
pub(super) trait Orphan: Send {
    /// Whether C is done with it.
    fn is_over(&mut self) -> bool;
}

// SAFETY: pools are for any thread, threading.h says; the config is only read.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    pub(super) fn raw(&self) -> *mut sys::wrt_thread_pool {
        self.inner.raw.get()
    }

    pub(super) fn executor(&self) -> Option<&Executor> {
        self.inner.config.executor.as_ref()
    }

    fn orphans(&self) -> MutexGuard<'_, Vec<Box<dyn Orphan>>> {
        self.inner.orphans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a task until C is done with it.
    pub(super) fn adopt(&self, orphan: Box<dyn Orphan>) {
        self.orphans().push(orphan);
    }

    /// Lets go of adopted tasks that have ended.
    pub(super) fn reap(&self) {
        self.orphans().retain_mut(|orphan| !orphan.is_over());
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let cancel = sys::WRT_SHUTDOWN_CANCEL;
        // SAFETY: it is initialised, and nobody else has it.
        unsafe {
            let _ = sys::wrt_thread_pool_shutdown(self.raw(), cancel, 0, core::ptr::null_mut());
            if sys::wrt_thread_pool_deinit(self.raw()) == sys::WRT_OK as sys::wrt_status {
                ManuallyDrop::drop(&mut self.inner);
            } // else threads are on their way out, and what they use stays
        }
    }
}

impl ThreadPool {
    /// Starts the workers.
    pub fn new(mut config: ThreadPoolConfig) -> Result<Self> {
        let mut raw = config.raw()?;
        let name = config.name();
        if !config.name_prefix.is_empty() {
            raw.name_prefix = name.as_ptr().cast();
        }
        // SAFETY: both are live.
        let room = Room::new(config.buffer.take(), |layout| unsafe {
            sys::wrt_thread_pool_layout(&raw const raw, layout)
        })?;
        (raw.buffer, raw.buffer_size) = (room.start, room.size);
        // SAFETY: zero is a valid value of every field.
        let pool = UnsafeCell::new(unsafe { mem::zeroed() });
        let orphans = Mutex::new(Vec::new());
        let inner = Box::new(Inner { raw: pool, config, _buffer: room.own, orphans });
        // SAFETY: the box keeps its address; all that the config borrows lives in it, or for ever.
        check(unsafe { sys::wrt_thread_pool_init(inner.raw.get(), &raw const raw) })?;
        Ok(Self { shared: Arc::new(Shared { inner: ManuallyDrop::new(inner) }) })
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Runs a closure on a worker. `Busy` if the queue is full, `State` when the pool shuts down.
    /// A panic goes on in whoever joins.
    pub fn submit<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<JoinHandle<T>> {
        TaskBuilder::new(|_| job()).submit(self)
    }

    /// Calls a function of a guest on a worker. `NotFound` or `InvalidArgument` if it is not
    /// there or of another type; `Busy`, `State`.
    pub fn spawn_wasm_thread(&self, task: WasmTask) -> Result<WasmHandle> {
        WasmHandle::spawn(&self.shared, task)
    }

    /// What it has done and what waits.
    pub fn report(&self) -> Result<ThreadPoolReport> {
        // SAFETY: zero is a valid value of every field.
        let mut report = unsafe { mem::zeroed() };
        // SAFETY: both are live.
        check(unsafe { sys::wrt_thread_pool_query(self.shared.raw(), &raw mut report) })?;
        Ok(report)
    }

    /// Its workers, and records for spare ones.
    pub fn workers(&self) -> Result<Vec<WorkerReport>> {
        let mut workers = Vec::new();
        loop {
            // SAFETY: zero is a valid value of every field.
            let mut raw: sys::wrt_thread_pool_worker_report = unsafe { mem::zeroed() };
            // SAFETY: both are live.
            let status = unsafe {
                let index = workers.len() as u32;
                sys::wrt_thread_pool_worker(self.shared.raw(), index, &raw mut raw)
            };
            match check(status) {
                Ok(()) => workers.push(WorkerReport::from_raw(&raw)),
                Err(error) if error.kind == ErrorKind::NotFound => return Ok(workers),
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes no more tasks, lets all that are there run to their end, and ends the workers.
    /// `TimedOut` if some are still in a task; it may be called again.
    pub fn shutdown(&self, timeout: Option<Duration>) -> Result<()> {
        self.stop(sys::WRT_SHUTDOWN_DRAIN, timeout)
    }

    /// The same, but cancels the tasks that run; the others don't begin.
    pub fn cancel(&self, timeout: Option<Duration>) -> Result<()> {
        self.stop(sys::WRT_SHUTDOWN_CANCEL, timeout)
    }

    fn stop(&self, mode: sys::wrt_shutdown_mode, timeout: Option<Duration>) -> Result<()> {
        let limit = limit(timeout);
        // SAFETY: it is initialised.
        check(unsafe {
            sys::wrt_thread_pool_shutdown(self.shared.raw(), mode, limit, core::ptr::null_mut())
        })
    }
}

/// A pool on Linux's threads; linux/threading.h says what the priorities come to.
pub type LinuxThreadPool = ThreadPool;

/// A pool on QNX's threads, with run masks; qnx/threading.h says what the priorities come to.
#[derive(Clone)]
pub struct QnxThreadPool(ThreadPool);

impl QnxThreadPool {
    /// Starts the workers.
    pub fn new(mut config: ThreadPoolConfig) -> Result<Self> {
        if config.system.is_none() {
            config.system = Some(qnx_system()?);
        }
        ThreadPool::new(config).map(Self)
    }
}

impl Deref for QnxThreadPool {
    type Target = ThreadPool;

    fn deref(&self) -> &ThreadPool {
        &self.0
    }
}

/// That of QNX, made when it is first asked for, and kept.
fn qnx_system() -> Result<System> {
    struct Threads(UnsafeCell<sys::wrt_qnx_thread_system>);
    // SAFETY: any thread may use it, thread_system.h says.
    unsafe impl Sync for Threads {}
    // SAFETY: as above.
    unsafe impl Send for Threads {}
    static MADE: OnceLock<Box<Threads>> = OnceLock::new();

    if MADE.get().is_none() {
        // SAFETY: zero is a valid value of every field.
        let threads = Box::new(Threads(UnsafeCell::new(unsafe { mem::zeroed() })));
        // SAFETY: as above.
        let mut config: sys::wrt_qnx_thread_system_config = unsafe { mem::zeroed() };
        config.struct_size = size_of::<sys::wrt_qnx_thread_system_config>() as u32;
        // SAFETY: both are live, and the box keeps its address.
        check(unsafe { sys::wrt_qnx_thread_system_init(threads.0.get(), &raw const config) })?;
        let _ = MADE.set(threads); // another thread may have been faster
    }
    let threads = MADE.get().expect("it was just made");
    // SAFETY: it is initialised, and stays for ever.
    Ok(unsafe { System::new(sys::wrt_qnx_thread_system_interface(threads.0.get())) })
}
