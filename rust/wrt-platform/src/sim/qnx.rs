//! The simulated QNX kernel, from outside. Mirrors `wrt_platform/sim/qnx.h`; its tables are read
//! through `wrt_platform_sys`.
//!
//! ```
//! use core::time::Duration;
//! use wrt_platform::sim::qnx;
//!
//! qnx::reset()?;
//! qnx::use_clock(qnx::Clock::Virtual)?;
//! qnx::step(Duration::from_secs(3600))?; // an hour later
//! assert_eq!(qnx::now()?, Duration::from_secs(3600));
//! qnx::reset()?;
//! # Ok::<(), wrt_platform::Error>(())
//! ```

use core::{ffi::CStr, ptr, time::Duration};

use wrt_platform_sys as sys;

use crate::error::{Result, check};

/// What time is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Clock {
    /// This machine's.
    Real,
    /// Moves by [`step`], by [`work`], and when every thread of the kernel waits.
    Virtual,
}

/// A new world: every wait ends, threads of the kernel's have five seconds to end.
pub fn reset() -> Result<()> {
    // SAFETY: no arguments.
    check(unsafe { sys::wrt_sim_qnx_reset() })
}

/// Simulates 7.1 (710) or 8.0 (800) from now on.
pub fn set_version(version: u32) -> Result<()> {
    // SAFETY: a number.
    check(unsafe { sys::wrt_sim_qnx_set_version(version) })
}

/// Goes on with another clock; straight after a reset the virtual one starts at 0.
pub fn use_clock(clock: Clock) -> Result<()> {
    let clock = match clock {
        Clock::Real => sys::WRT_SIM_QNX_REAL_CLOCK,
        Clock::Virtual => sys::WRT_SIM_QNX_VIRTUAL_CLOCK,
    };
    // SAFETY: a number.
    check(unsafe { sys::wrt_sim_qnx_use_clock(clock) })
}

/// Time since the reset.
pub fn now() -> Result<Duration> {
    let mut nanoseconds = 0;
    // SAFETY: the pointer is live for the call.
    check(unsafe { sys::wrt_sim_qnx_now(&raw mut nanoseconds) })?;
    Ok(Duration::from_nanos(nanoseconds))
}

/// Moves the virtual clock, from deadline to deadline, and lets threads act at each.
pub fn step(time: Duration) -> Result<()> {
    // SAFETY: a number.
    check(unsafe { sys::wrt_sim_qnx_step(nanoseconds(time)) })
}

/// Waits until so many threads wait in the kernel, for at most `timeout` of real time.
pub fn wait_blocked(threads: u32, timeout: Duration) -> Result<()> {
    let milliseconds = timeout.as_millis().try_into().unwrap_or(u32::MAX);
    // SAFETY: numbers.
    check(unsafe { sys::wrt_sim_qnx_wait_blocked(threads, milliseconds) })
}

/// Begins a bracket for this thread: it has its turn, and keeps it between calls.
pub fn enter(priority: i32) -> Result<()> {
    // SAFETY: a number.
    check(unsafe { sys::wrt_sim_qnx_enter(priority) })
}

/// Ends the bracket.
pub fn leave() -> Result<()> {
    // SAFETY: no arguments.
    check(unsafe { sys::wrt_sim_qnx_leave() })
}

/// Uses the processor, on the virtual clock; only within a bracket.
pub fn work(time: Duration) -> Result<()> {
    // SAFETY: a number.
    check(unsafe { sys::wrt_sim_qnx_work(nanoseconds(time)) })
}

/// Lets the `nth` call of that name from now on, or of any, fail once with QNX's error number.
pub fn fail_at(call: Option<&CStr>, nth: u32, error: i32) -> Result<()> {
    let name = call.map_or(ptr::null(), CStr::as_ptr);
    // SAFETY: NULL, or a text that is live for the call.
    check(unsafe { sys::wrt_sim_qnx_fail_at(name, nth, error) })
}

/// Breaks a semantic of that name, or mends it.
pub fn break_semantic(name: &CStr, broken: bool) -> Result<()> {
    // SAFETY: the text is live for the call.
    check(unsafe { sys::wrt_sim_qnx_break(name.as_ptr(), broken) })
}

fn nanoseconds(time: Duration) -> u64 {
    time.as_nanos().try_into().unwrap_or(u64::MAX)
}
