//! A whole program of WASI, from its start to its end, inside limits.

use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Result};
use crate::instance::Instance;
use crate::limits::Limits;
use crate::module::Module;
use crate::wasi::Wasi;

/// Bytes of guest stack that a program gets: as much as a thread of C has on small systems.
const STACK_SIZE: u32 = 1 << 20;

/// How a program ended, and what it used.
#[derive(Debug)]
#[non_exhaustive]
pub struct Outcome {
    /// What it gave to `proc_exit`; 0 if `_start` returned, or if it was stopped.
    pub exit_code: u32,
    /// Why it was stopped: `Trap`, `OutOfFuel`, `TimedOut`, `Host`, ...; `None` if it ended by
    /// itself.
    pub stopped: Option<Error>,
    /// Instructions that ran.
    pub fuel_used: u64,
    /// The most pages of 64 KiB that its memory had.
    pub peak_pages: u32,
    /// Times that its memory was refused growth.
    pub refused_growths: u32,
    /// Time that passed.
    pub wall: Duration,
    /// Time that this thread's processor worked for it.
    pub cpu: Duration,
}

/// Runs a program: instantiates the module with `wasi`, and calls `_start`. An error means that it
/// did not start, or has nothing to start.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use wrt_platform::{Limits, Module, Wasi, run};
///
/// # let bytes = wat::parse_str(
/// #     r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
/// #          (func (export "_start") (call $exit (i32.const 3))))"#,
/// # )?;
/// let module = Module::new(&bytes)?;
/// let wasi = Wasi::builder().with_arguments(["program"]).build()?;
/// let outcome = run(&module, wasi, &Limits::new().with_fuel(1_000_000))?;
/// assert_eq!(outcome.exit_code, 3);
/// # Ok(())
/// # }
/// ```
pub fn run(module: &Module<'_>, wasi: Wasi<'_>, limits: &Limits) -> Result<Outcome> {
    let (wall_start, cpu_start) = (Instant::now(), thread_time());
    let builder = Instance::builder().with_module(module).with_wasi(wasi);
    let builder = builder.with_stack_size(STACK_SIZE).with_limits(limits);
    let mut instance = builder.build_unstarted()?;
    instance.function("_start")?;
    let ended = instance.start().and_then(|()| instance.call_into("_start", &[], &mut []));
    let (cpu, wall) = (thread_time().saturating_sub(cpu_start), wall_start.elapsed());
    let stopped = ended.err().filter(|error| error.kind != ErrorKind::Exit);
    let usage = instance.usage()?;
    let exit_code = instance.wasi().map_or(Ok(None), Wasi::exit_code)?;
    Ok(Outcome {
        exit_code: exit_code.unwrap_or(0),
        stopped,
        fuel_used: usage.fuel_used,
        peak_pages: usage.memory_peak_pages,
        refused_growths: usage.refused_growths,
        wall,
        cpu,
    })
}

/// Processor time of this thread so far.
fn thread_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is live. Every Linux has this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
