//! Calls: at once, or begun and then run piece by piece.

use core::time::Duration;

use wrt_platform_sys as sys;

use super::{Instance, raw};
use crate::error::{Error, ErrorKind, Result, check};
use crate::limits::nanoseconds;
use crate::table::Owner;
use crate::value::{FuncRef, Value};

#[cfg(feature = "alloc")]
use alloc::{vec, vec::Vec};

/// Whether a call that was begun has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[must_use]
pub enum Progress {
    /// It has; its results can be read.
    Done,
    /// It goes on when it is run again.
    Paused,
}

impl Instance<'_> {
    /// Calls an export and waits for its end, within the time that
    /// [`set_timeout`](Self::set_timeout) sets.
    ///
    /// After `OutOfFuel`, `Interrupted` and `TimedOut` the call is paused: [`run`](Self::run)
    /// goes on, [`abort`](Self::abort) drops it. A panic of a host closure goes on from here.
    #[cfg(feature = "alloc")]
    pub fn call(&mut self, name: &str, arguments: &[Value]) -> Result<Vec<Value>> {
        let function = raw::function(&self.place, name)?;
        let knows = |number| self.knows(number);
        let called = raw::call_to_vec(&self.place, function, arguments, self.timeout_ns, knows);
        self.remember(function, &called);
        called
    }

    /// As `call`, with room for the results.
    pub fn call_into(
        &mut self,
        name: &str,
        arguments: &[Value],
        results: &mut [Value],
    ) -> Result<()> {
        let function = self.function(name)?;
        self.call_function(function, arguments, results)
    }

    /// As `call_into`, for a function that was looked up, or that the guest handed over.
    pub fn call_function(
        &mut self,
        function: FuncRef,
        arguments: &[Value],
        results: &mut [Value],
    ) -> Result<()> {
        let function = function.pointer(|number| self.knows(number))?;
        let knows = |number| self.knows(number);
        let timeout_ns = self.timeout_ns;
        let called = raw::call(&self.place, function, arguments, results, timeout_ns, knows);
        self.remember(function, &called);
        called
    }

    /// A call that ended, or is paused, is the one whose results can be read.
    fn remember<T>(&mut self, function: *mut sys::wrt_function, called: &Result<T>) {
        use ErrorKind::{Interrupted, OutOfFuel, TimedOut};
        let kind = called.as_ref().err().map(|error| error.kind);
        if matches!(kind, None | Some(OutOfFuel | Interrupted | TimedOut)) {
            self.begun = function;
        }
    }

    /// Time that each call may take from now on; `None`: without end.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.timeout_ns = nanoseconds(timeout);
    }

    /// Runs the start function, if there is one, to its end: after
    /// [`build_unstarted`](super::InstanceBuilder::build_unstarted).
    pub fn start(&mut self) -> Result<()> {
        // SAFETY: alive.
        check(unsafe { sys::wrt_instance_start(self.place.raw(), self.timeout_ns) })
            .map_err(|error| raw::explain(&self.place, error))
    }

    /// Prepares a call of an export, without running any of it.
    pub fn begin(&mut self, name: &str, arguments: &[Value]) -> Result<()> {
        let function = raw::function(&self.place, name)?;
        raw::begin(&self.place, function, arguments, |number| self.knows(number))?;
        self.begun = function;
        Ok(())
    }

    /// Runs the call that was begun, or paused, for about so many instructions: it stops at the
    /// next loop or call after them, earlier if a host function waits.
    pub fn run(&mut self, instructions: u64) -> Result<Progress> {
        let mut done = false;
        // SAFETY: alive; `done` is live.
        let status =
            unsafe { sys::wrt_instance_run(self.place.raw(), instructions, &raw mut done) };
        self.progress(status, done)
    }

    /// Runs exactly so many instructions, fewer only if the call ends.
    pub fn step(&mut self, instructions: u64) -> Result<Progress> {
        let mut done = false;
        // SAFETY: alive; `done` is live.
        let status =
            unsafe { sys::wrt_instance_step(self.place.raw(), instructions, &raw mut done) };
        self.progress(status, done)
    }

    fn progress(&self, status: sys::wrt_status, done: bool) -> Result<Progress> {
        check(status).map_err(|error| raw::explain(&self.place, error))?;
        Ok(if done { Progress::Done } else { Progress::Paused })
    }

    /// Drops the call that is paused.
    pub fn abort(&mut self) -> Result<()> {
        // SAFETY: alive.
        check(unsafe { sys::wrt_instance_abort(self.place.raw()) })
    }

    /// Results of the call that ended.
    #[cfg(feature = "alloc")]
    pub fn results(&self) -> Result<Vec<Value>> {
        let function = self.begun()?;
        let mut results = vec![Value::I32(0); raw::result_count(function)?];
        raw::results(&self.place, function, &mut results)?;
        Ok(results)
    }

    /// As `results`, with room for them.
    pub fn results_into(&self, results: &mut [Value]) -> Result<()> {
        raw::results(&self.place, self.begun()?, results)
    }

    fn begun(&self) -> Result<*mut sys::wrt_function> {
        if self.begun.is_null() {
            let reason = c"no call was begun";
            return Err(Error::new(ErrorKind::State, c"Instance::results", reason));
        }
        Ok(self.begun)
    }
}
