//! The manager itself.

use alloc::{boxed::Box, sync::Arc, vec, vec::Vec};
use core::{
    cell::UnsafeCell,
    mem::{self, ManuallyDrop},
    time::Duration,
};
use std::sync::{Mutex, MutexGuard, PoisonError};

use wrt_platform_sys as sys;

use super::thread::Cell;
use super::{
    ManagedThread, ThreadHealth, ThreadHealthReport, ThreadManagerConfig, ThreadManagerReport,
    ThreadingLimits, WasmModuleInfo,
};
use crate::error::{Result, check};
use crate::room::Room;
use crate::system_below::closed_name;
use crate::threading::{Executor, ThreadPoolConfig, WasmTask, limit};

/// That threads have to end when nobody is left who could wait for them.
const EXIT: Duration = Duration::from_secs(1);

/// Spawns functions of modules on threads of its own, within limits. Clones are the same manager.
///
/// Dropping the last clone, when no thread's handle is left either, cancels all threads and gives
/// up those that have not come back within a second or two. What a thread that was given up can
/// still reach (pool, instances, memory) is then leaked on purpose: it stays where it is until the
/// program ends.
#[derive(Clone)]
pub struct WasmThreadManager {
    shared: Arc<Shared>,
}

/// What manager and handles hold together. What the threads use lies in a box of its own, which
/// outlives the rest if need be.
pub(super) struct Shared {
    inner: ManuallyDrop<Box<Inner>>,
}

struct Inner {
    raw: UnsafeCell<sys::wrt_thread_manager>,
    config: ThreadManagerConfig,
    _buffer: Vec<u64>,
    #[expect(clippy::vec_box, reason = "C knows their addresses")]
    orphans: Mutex<Vec<Box<Cell>>>,
}

// SAFETY: managers are for any thread, safe_threading.h says; the config is only read.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    pub(super) fn raw(&self) -> *mut sys::wrt_thread_manager {
        self.inner.raw.get()
    }

    pub(super) fn executor(&self) -> Option<&Executor> {
        self.inner.config.threads.executor.as_ref()
    }

    #[expect(clippy::vec_box, reason = "C knows their addresses")]
    fn orphans(&self) -> MutexGuard<'_, Vec<Box<Cell>>> {
        self.inner.orphans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a thread that nobody waits for until C is done with it.
    pub(super) fn adopt(&self, orphan: Box<Cell>) {
        self.orphans().push(orphan);
    }

    /// Lets go of adopted threads that have ended.
    pub(super) fn reap(&self) {
        self.orphans().retain(|orphan| !orphan.is_over());
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let (cancel, exit) = (sys::WRT_SHUTDOWN_CANCEL, limit(Some(EXIT)));
        // SAFETY: it is initialised, and nobody else has it; its threads lie in `orphans`.
        unsafe {
            let _ = sys::wrt_thread_manager_shutdown(self.raw(), cancel, exit);
            if sys::wrt_thread_manager_deinit(self.raw()) == sys::WRT_OK as sys::wrt_status {
                ManuallyDrop::drop(&mut self.inner);
            } // else threads are still out, and what they use stays
        }
    }
}

impl WasmThreadManager {
    /// Starts a pool of its own, whose threads find their functions by the executor.
    pub fn new(
        threads: ThreadPoolConfig,
        limits: ThreadingLimits,
        executor: Executor,
    ) -> Result<Self> {
        ThreadManagerConfig { threads, limits, ..Default::default() }.build(executor)
    }

    pub(super) fn of(mut config: ThreadManagerConfig) -> Result<Self> {
        let mut threads = config.threads.raw()?;
        let name = config.threads.name();
        if !config.threads.name_prefix.is_empty() {
            threads.name_prefix = name.as_ptr().cast();
        }
        let mut raw = config.raw();
        raw.threads = &raw const threads;
        // SAFETY: both are live.
        let room = Room::new(config.buffer.take(), |layout| unsafe {
            sys::wrt_thread_manager_layout(&raw const raw, layout)
        })?;
        (raw.buffer, raw.buffer_size) = (room.start, room.size);
        // SAFETY: zero is a valid value of every field.
        let manager = UnsafeCell::new(unsafe { mem::zeroed() });
        let orphans = Mutex::new(Vec::new());
        let inner = Box::new(Inner { raw: manager, config, _buffer: room.own, orphans });
        // SAFETY: the box keeps its address; all that the config borrows lives in it, or for ever.
        check(unsafe { sys::wrt_thread_manager_init(inner.raw.get(), &raw const raw) })?;
        Ok(Self { shared: Arc::new(Shared { inner: ManuallyDrop::new(inner) }) })
    }

    /// Makes a module known. `State` if its id is known already, `Limit` beyond the config's
    /// `module_capacity`.
    pub fn register_module(&self, info: WasmModuleInfo) -> Result<()> {
        let name = closed_name(&info.name);
        let mut raw = info.raw();
        raw.name = name.as_ptr().cast();
        // SAFETY: initialised; C copies the name.
        check(unsafe { sys::wrt_thread_manager_register_module(self.shared.raw(), &raw const raw) })
    }

    /// Forgets a module. `NotFound`; `Busy` while threads of it have not been joined.
    pub fn unregister_module(&self, module_id: u32) -> Result<()> {
        self.shared.reap();
        // SAFETY: initialised.
        check(unsafe { sys::wrt_thread_manager_unregister_module(self.shared.raw(), module_id) })
    }

    /// Spawns a thread of a module. `Limit`, with the numbers, if there are too many; `NotFound`
    /// for a module or a function that is not there; and what
    /// [`ThreadPool::spawn_wasm_thread`](crate::threading::ThreadPool::spawn_wasm_thread) has.
    pub fn spawn(&self, module_id: u32, task: WasmTask) -> Result<ManagedThread> {
        ManagedThread::spawn(&self.shared, module_id, &task)
    }

    /// The id and the health of every thread that has not ended.
    pub fn health_check(&self) -> Result<Vec<(u64, ThreadHealth)>> {
        let reports = self.health_reports()?;
        Ok(reports.iter().map(|report| (report.id, report.health)).collect())
    }

    /// The same with all that was measured.
    pub fn health_reports(&self) -> Result<Vec<ThreadHealthReport>> {
        let mut count = 16;
        loop {
            // SAFETY: zero is a valid value of every field.
            let nothing: sys::wrt_thread_health_report = unsafe { mem::zeroed() };
            let mut rows = vec![nothing; count as usize + 16]; // a few may be spawned meanwhile
            let (first, capacity) = (rows.as_mut_ptr(), rows.len() as u32);
            // SAFETY: initialised; there are as many rows as it says.
            check(unsafe {
                sys::wrt_thread_manager_health_check(
                    self.shared.raw(),
                    first,
                    capacity,
                    &raw mut count,
                )
            })?;
            if count <= capacity {
                rows.truncate(count as usize);
                return Ok(rows.iter().map(ThreadHealthReport::from_raw).collect());
            }
        }
    }

    /// Checks, kills every thread that is not healthy, waits for them, and gives up those that
    /// don't come back. Returns how many were stopped so.
    pub fn kill_unhealthy_threads(&self) -> Result<u32> {
        let mut stopped = 0;
        // SAFETY: initialised, and the number is live.
        check(unsafe {
            sys::wrt_thread_manager_kill_unhealthy(self.shared.raw(), &raw mut stopped)
        })?;
        Ok(stopped)
    }

    /// Starts a thread that does [`kill_unhealthy_threads`](Self::kill_unhealthy_threads) in each
    /// check interval. `State` if it runs.
    pub fn start(&self) -> Result<()> {
        // SAFETY: initialised.
        check(unsafe { sys::wrt_thread_manager_start(self.shared.raw()) })
    }

    /// Ends that thread. `TimedOut` if it is just killing; call again.
    pub fn stop(&self, timeout: Option<Duration>) -> Result<()> {
        // SAFETY: initialised.
        check(unsafe { sys::wrt_thread_manager_stop(self.shared.raw(), limit(timeout)) })
    }

    /// What it has done so far.
    pub fn report(&self) -> Result<ThreadManagerReport> {
        // SAFETY: zero is a valid value of every field.
        let mut raw: sys::wrt_thread_manager_report = unsafe { mem::zeroed() };
        // SAFETY: both are live.
        check(unsafe { sys::wrt_thread_manager_query(self.shared.raw(), &raw mut raw) })?;
        Ok(ThreadManagerReport::from_raw(&raw))
    }

    /// Takes no more threads, lets all that are there run to their end, and ends the workers.
    /// `TimedOut` if some are still running; it may be called again.
    pub fn shutdown(&self, timeout: Option<Duration>) -> Result<()> {
        self.end(sys::WRT_SHUTDOWN_DRAIN, timeout)
    }

    /// The same, but cancels the threads that run; those that have not come back in time are given
    /// up.
    pub fn cancel(&self, timeout: Option<Duration>) -> Result<()> {
        self.end(sys::WRT_SHUTDOWN_CANCEL, timeout)
    }

    fn end(&self, mode: sys::wrt_shutdown_mode, timeout: Option<Duration>) -> Result<()> {
        // SAFETY: initialised.
        check(unsafe { sys::wrt_thread_manager_shutdown(self.shared.raw(), mode, limit(timeout)) })
    }

    /// For C; valid while this manager has an owner.
    pub(crate) fn raw(&self) -> *mut sys::wrt_thread_manager {
        self.shared.raw()
    }
}
