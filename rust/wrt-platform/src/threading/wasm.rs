//! Functions of guests as tasks.

use alloc::{boxed::Box, sync::Arc, vec, vec::Vec};
use core::{cell::UnsafeCell, ffi::CStr, mem, ptr, time::Duration};

use wrt_platform_sys as sys;

use super::config::{limit, state_error};
use super::pool::{Orphan, Shared};
use super::{CpuSet, Executor, TaskReport, ThreadPriority};
use crate::error::{Error, ErrorKind, Result, check};
use crate::system_below::nanoseconds;
use crate::value::{Value, ValueType};

/// A call of a function of a guest.
#[derive(Debug, Clone, Default)]
pub struct WasmTask {
    /// The caller's own number, for reports.
    pub id: u64,
    /// The function, as the pool's executor knows it.
    pub function_id: u32,
    /// What it is called with; their types are compared at spawn. References can't be passed on,
    /// null aside.
    pub args: Vec<Value>,
    /// Within the pool's range.
    pub priority: ThreadPriority,
    /// Within the pool's own CPUs; `None`: those.
    pub cpu_affinity: Option<CpuSet>,
    /// Instructions that the call may execute; `None`: what the instance has.
    pub fuel: Option<u64>,
    /// Time for the call, start function included.
    pub timeout: Option<Duration>,
}

impl WasmTask {
    /// The caller's own number.
    #[must_use]
    pub fn with_id(mut self, number: u64) -> Self {
        self.id = number;
        self
    }

    /// The function, as the pool's executor knows it.
    #[must_use]
    pub fn with_function_id(mut self, number: u32) -> Self {
        self.function_id = number;
        self
    }

    /// What it is called with; they say its type, too. The room for results follows from the
    /// function itself.
    #[must_use]
    pub fn with_args(mut self, args: Vec<Value>) -> Self {
        self.args = args;
        self
    }

    /// Within the pool's range.
    #[must_use]
    pub fn with_priority(mut self, priority: ThreadPriority) -> Self {
        self.priority = priority;
        self
    }

    /// Within the pool's own CPUs.
    #[must_use]
    pub fn with_cpu_affinity(mut self, cpus: CpuSet) -> Self {
        self.cpu_affinity = Some(cpus);
        self
    }

    /// Instructions that the call may execute.
    #[must_use]
    pub fn with_fuel(mut self, instructions: u64) -> Self {
        self.fuel = Some(instructions);
        self
    }

    /// Whether the number given to `with_fuel` counts.
    #[must_use]
    pub fn with_has_fuel(mut self, enabled: bool) -> Self {
        self.fuel = self.fuel.filter(|_| enabled);
        self
    }

    /// Time for the call.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    fn raw(&self) -> sys::wrt_wasm_task_config {
        // SAFETY: zero is a valid value of every field (integers, null pointers, false).
        let mut raw: sys::wrt_wasm_task_config = unsafe { mem::zeroed() };
        raw.struct_size = size_of::<sys::wrt_wasm_task_config>() as u32;
        raw.id = self.id;
        raw.function_id = self.function_id;
        raw.priority = self.priority as u32;
        raw.cpu_affinity = self.cpu_affinity.unwrap_or_default().to_raw();
        raw.has_fuel = self.fuel.is_some();
        raw.fuel = self.fuel.unwrap_or(0);
        raw.timeout_ns = self.timeout.map_or(0, |timeout| nanoseconds(timeout).max(1));
        raw
    }
}

/// How a task ended.
#[derive(Debug)]
#[non_exhaustive]
pub struct WasmOutcome {
    /// Of the task.
    pub id: u64,
    /// What the function returned, or what ended it: `Trap`, `OutOfFuel`, `TimedOut`,
    /// `Interrupted` (cancelled), ...
    pub result: Result<Vec<Value>>,
    /// Function and byte of the module where it trapped or stood, if it did not return.
    pub place: Option<(u32, u32)>,
    /// That ran it.
    pub worker: Option<u32>,
    /// From the call's beginning to its end.
    pub run_time: Duration,
    /// That the thread used meanwhile.
    pub cpu_time: Duration,
    /// Instructions executed.
    pub fuel_used: u64,
}

/// What C borrows while a call is on its way: it may be moved, its vectors stay where they are.
pub(crate) struct Call {
    args: Vec<sys::wrt_value>,
    results: Vec<sys::wrt_value>,
    kinds: Vec<ValueType>,
}

impl Call {
    /// Checks the arguments against the function's type; `NotFound`, `InvalidArgument`.
    pub(crate) fn new(
        operation: &'static CStr,
        executor: &Executor,
        task: &WasmTask,
    ) -> Result<Self> {
        let kind = executor.function_type(task.function_id)?;
        if kind.parameters.len() != task.args.len() {
            let reason = c"there are {0} arguments, the function takes {1}";
            let counts = [task.args.len() as u64, kind.parameters.len() as u64];
            return Err(Error::invalid_argument(operation, reason).with_detail(counts));
        }
        let lowered = task.args.iter().zip(kind.parameters);
        let args = lowered
            .map(|(value, wanted)| value.to_raw(*wanted, |_| false))
            .collect::<Result<Vec<_>>>()?;
        let results = vec![sys::wrt_value { i64_: 0 }; kind.results.len()];
        Ok(Self { args, results, kinds: kind.results.to_vec() })
    }

    /// The task's config, with the room for the results.
    pub(crate) fn config(&mut self, task: &WasmTask) -> sys::wrt_wasm_task_config {
        let mut config = task.raw();
        config.args = self.args.as_ptr();
        config.args_count = self.args.len() as u32;
        config.results = self.results.as_mut_ptr();
        config.results_count = self.results.len() as u32;
        config
    }

    /// How the call ended; C is done with it.
    pub(crate) fn outcome(&self, raw: &sys::wrt_wasm_outcome) -> WasmOutcome {
        let result = match raw.status {
            status if status == sys::WRT_OK as sys::wrt_status => Ok(self.lift()),
            // SAFETY: C noted it, with static texts.
            status => Err(unsafe { Error::from_raw(status, &raw.error) }),
        };
        WasmOutcome {
            id: raw.id,
            place: result.is_err().then_some((raw.trap.function, raw.trap.offset)),
            result,
            worker: (raw.worker != u32::MAX).then_some(raw.worker),
            run_time: Duration::from_nanos(raw.run_time_ns),
            cpu_time: Duration::from_nanos(raw.cpu_time_ns),
            fuel_used: raw.fuel_used,
        }
    }

    /// Functions are given out by their instance alone: a result that is one shows as unknown here.
    fn lift(&self) -> Vec<Value> {
        let lifted = self.results.iter().zip(&self.kinds);
        // SAFETY: C wrote values of these types; no instance has the number 0.
        lifted.map(|(raw, kind)| unsafe { Value::from_raw(*raw, *kind, 0) }).collect()
    }
}

struct Cell {
    raw: sys::wrt_wasm_task,
    call: Call,
}

// SAFETY: plain memory; the pool gives it to one thread after the other.
unsafe impl Send for Cell {}

impl Orphan for Box<UnsafeCell<Cell>> {
    fn is_over(&mut self) -> bool {
        // SAFETY: C refuses (STATE) while it is in the pool.
        unsafe {
            sys::wrt_task_deinit(&raw mut (*self.get()).raw.task) == sys::WRT_OK as sys::wrt_status
        }
    }
}

/// A call on its way. Dropped, it goes on unattended.
pub struct WasmHandle {
    shared: Arc<Shared>,
    cell: Option<Box<UnsafeCell<Cell>>>,
}

// SAFETY: C's calls on a task are for any thread; the outcome is taken by `self` alone.
unsafe impl Send for WasmHandle {}
// SAFETY: by `&self` a task is only cancelled and asked about.
unsafe impl Sync for WasmHandle {}

impl WasmHandle {
    pub(super) fn spawn(shared: &Arc<Shared>, task: WasmTask) -> Result<Self> {
        const OPERATION: &CStr = c"ThreadPool::spawn_wasm_thread";
        let Some(executor) = shared.executor() else {
            return Err(state_error(OPERATION, c"the pool was made without an executor"));
        };
        let mut call = Call::new(OPERATION, executor, &task)?;
        let config = call.config(&task);
        // SAFETY: zero is a valid value of every field.
        let cell = Cell { raw: unsafe { mem::zeroed() }, call };
        let cell = Box::new(UnsafeCell::new(cell));
        shared.reap();
        // SAFETY: the box keeps its address, and is kept until the task is done.
        check(unsafe {
            sys::wrt_thread_pool_spawn_wasm_thread(
                shared.raw(),
                &raw const config,
                &raw mut (*cell.get()).raw,
            )
        })?;
        Ok(Self { shared: shared.clone(), cell: Some(cell) })
    }

    fn raw(&self) -> *mut sys::wrt_wasm_task {
        let cell = self.cell.as_ref().expect("it is there until it is joined");
        // SAFETY: the cell is live; no reference to it is made.
        unsafe { &raw mut (*cell.get()).raw }
    }

    fn task(&self) -> *mut sys::wrt_task {
        self.raw().cast() // its first member
    }

    /// Waits for the end. The outer result says whether there was one, the inner how it was:
    /// `State` if its worker was given up.
    pub fn join(self) -> Result<WasmOutcome> {
        match self.wait(u64::MAX) {
            Ok(outcome) => outcome,
            Err(_) => Err(state_error(c"WasmHandle::join", c"an endless wait came to its end")),
        }
    }

    /// The same within a time; gives the handle back if it was not enough.
    pub fn join_timeout(
        self,
        timeout: Duration,
    ) -> core::result::Result<Result<WasmOutcome>, Self> {
        self.wait(limit(Some(timeout)))
    }

    fn wait(mut self, timeout_ns: u64) -> core::result::Result<Result<WasmOutcome>, Self> {
        // SAFETY: zero is a valid value of every field.
        let mut raw: sys::wrt_wasm_outcome = unsafe { mem::zeroed() };
        // SAFETY: both are live.
        let status = unsafe {
            sys::wrt_wasm_task_join(self.raw(), timeout_ns, ptr::null_mut(), &raw mut raw)
        };
        match check(status) {
            Ok(()) => {}
            Err(error) if error.kind == ErrorKind::TimedOut => return Err(self),
            Err(error) => return Ok(Err(error)),
        }
        let cell = self.cell.take().expect("it is there until it is joined").into_inner();
        Ok(Ok(cell.call.outcome(&raw)))
    }

    /// Asks it to end: it does not begin, or its instance is interrupted. `State` if it is done.
    pub fn cancel(&self) -> Result<()> {
        // SAFETY: the task is live.
        check(unsafe { sys::wrt_task_cancel(self.task()) })
    }

    /// Where it is.
    pub fn report(&self) -> Result<TaskReport> {
        // SAFETY: zero is a valid value of every field.
        let mut report = unsafe { mem::zeroed() };
        // SAFETY: both are live.
        check(unsafe { sys::wrt_task_query(self.task(), &raw mut report) })?;
        Ok(TaskReport::from_raw(&report))
    }

    /// Lets its worker go, once it was cancelled and does not come back; whether a spare took its
    /// place.
    pub fn give_up(&self) -> Result<bool> {
        let mut replaced = false;
        // SAFETY: both are live.
        check(unsafe { sys::wrt_task_give_up(self.task(), &raw mut replaced) })?;
        Ok(replaced)
    }
}

impl Drop for WasmHandle {
    fn drop(&mut self) {
        if let Some(cell) = self.cell.take() {
            self.shared.adopt(Box::new(cell));
        }
    }
}
