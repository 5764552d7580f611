//! Spawned threads.

use alloc::{boxed::Box, sync::Arc};
use core::{
    cell::UnsafeCell,
    mem, ptr,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    time::Duration,
};

use wrt_platform_sys as sys;

use super::ThreadHealth;
use super::manager::Shared;
use crate::error::{Result, check};
use crate::threading::{Call, WasmOutcome, WasmTask, limit, state_error};

/// C's part of a thread, what it borrows, and what is known after the join.
pub(super) struct Cell {
    raw: UnsafeCell<sys::wrt_managed_thread>,
    call: Call,
    health: AtomicU32,
    joined: AtomicBool,
}

// SAFETY: C's calls on a thread are for any thread; what the call left is read after its end.
unsafe impl Send for Cell {}
// SAFETY: as above.
unsafe impl Sync for Cell {}

impl Cell {
    fn join(&self, timeout_ns: u64) -> Result<WasmOutcome> {
        // SAFETY: zero is a valid value of every field.
        let mut raw: sys::wrt_wasm_outcome = unsafe { mem::zeroed() };
        let mut health = 0;
        // SAFETY: the thread is where it was spawned; both outputs are live.
        check(unsafe {
            sys::wrt_managed_thread_join(
                self.raw.get(),
                timeout_ns,
                ptr::null_mut(),
                &raw mut raw,
                &raw mut health,
            )
        })?;
        self.health.store(health, Ordering::Relaxed);
        self.joined.store(true, Ordering::Release);
        Ok(self.call.outcome(&raw))
    }

    /// Whether C is done with it; joins it if it has ended.
    pub(super) fn is_over(&self) -> bool {
        self.joined.load(Ordering::Acquire) || self.join(0).is_ok()
    }
}

/// A spawned thread. Dropped, it goes on unattended, within the limits.
pub struct ManagedThread {
    shared: Arc<Shared>,
    cell: Option<Box<Cell>>,
}

impl ManagedThread {
    pub(super) fn spawn(shared: &Arc<Shared>, module_id: u32, task: &WasmTask) -> Result<Self> {
        const OPERATION: &core::ffi::CStr = c"WasmThreadManager::spawn";
        let Some(executor) = shared.executor() else {
            return Err(state_error(OPERATION, c"the manager was made without an executor"));
        };
        let mut call = Call::new(OPERATION, executor, task)?;
        let config = call.config(task);
        let cell = Box::new(Cell {
            // SAFETY: zero is a valid value of every field.
            raw: UnsafeCell::new(unsafe { mem::zeroed() }),
            call,
            health: AtomicU32::new(sys::WRT_THREAD_HEALTHY),
            joined: AtomicBool::new(false),
        });
        shared.reap();
        let raw = cell.raw.get();
        // SAFETY: the box keeps its address, and is kept until the thread was joined.
        check(unsafe {
            sys::wrt_thread_manager_spawn(shared.raw(), module_id, &raw const config, raw)
        })?;
        Ok(Self { shared: shared.clone(), cell: Some(cell) })
    }

    fn cell(&self) -> &Cell {
        self.cell.as_ref().expect("it is there until the drop")
    }

    /// Waits for the end; the outcome says how it was. `State` if it was given up and is still out
    /// (it can be joined once it has come back), or was joined already.
    pub fn join(&self) -> Result<WasmOutcome> {
        self.cell().join(limit(None))
    }

    /// The same within a time; `TimedOut` if it runs on.
    pub fn join_timeout(&self, timeout: Duration) -> Result<WasmOutcome> {
        self.cell().join(limit(Some(timeout)))
    }

    /// After the join: what it was killed for, else `Healthy`.
    pub fn killed_for(&self) -> ThreadHealth {
        ThreadHealth::from_raw(self.cell().health.load(Ordering::Relaxed))
    }

    /// Asks this thread to end, healthy or not. `State` if it has.
    pub fn kill(&self) -> Result<()> {
        // SAFETY: the thread is where it was spawned.
        check(unsafe { sys::wrt_managed_thread_kill(self.cell().raw.get()) })
    }
}

impl Drop for ManagedThread {
    fn drop(&mut self) {
        if let Some(cell) = self.cell.take()
            && !cell.is_over()
        {
            self.shared.adopt(cell);
        }
    }
}
