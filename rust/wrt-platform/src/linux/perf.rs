//! Counters of what the processor and the kernel do for a thread. Mirrors
//! `wrt_platform/linux/perf.h`.
//!
//! ```
//! use wrt_platform::linux::perf::{PerfCounter, profile};
//!
//! let found = profile(|| (0..1000u64).sum::<u64>())?;
//! println!("{found}"); // a table; a counter that this machine lacks says why
//! assert_eq!(found.value, 499_500);
//! assert!(found.row(PerfCounter::TaskClock).reading.is_ok());
//! # Ok::<(), wrt_platform::Error>(())
//! ```

use alloc::boxed::Box;
use core::{cell::UnsafeCell, ffi::CStr, fmt, marker::PhantomData, mem, ptr};

use wrt_platform_sys as sys;

use crate::error::{Error, Result, check};

/// What can be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum PerfCounter {
    /// Of the processor.
    CpuCycles = sys::WRT_PERF_CPU_CYCLES,
    /// Of the processor.
    Instructions = sys::WRT_PERF_INSTRUCTIONS,
    /// Of the last level, as a rule.
    CacheReferences = sys::WRT_PERF_CACHE_REFERENCES,
    /// Of the last level, as a rule.
    CacheMisses = sys::WRT_PERF_CACHE_MISSES,
    /// Of the processor.
    Branches = sys::WRT_PERF_BRANCHES,
    /// Of the processor.
    BranchMisses = sys::WRT_PERF_BRANCH_MISSES,
    /// Nanoseconds of CPU time, by the kernel.
    TaskClock = sys::WRT_PERF_TASK_CLOCK,
    /// By the kernel.
    PageFaults = sys::WRT_PERF_PAGE_FAULTS,
    /// Without reading from a disk.
    MinorFaults = sys::WRT_PERF_MINOR_FAULTS,
    /// With reading from a disk.
    MajorFaults = sys::WRT_PERF_MAJOR_FAULTS,
    /// Another thread got the CPU.
    ContextSwitches = sys::WRT_PERF_CONTEXT_SWITCHES,
    /// The thread went to another CPU.
    CpuMigrations = sys::WRT_PERF_CPU_MIGRATIONS,
    /// The processor's own number.
    Raw = sys::WRT_PERF_RAW,
}

/// The counters of a profile, in the order of its rows.
const PROFILED: [PerfCounter; sys::WRT_PERF_ROWS as usize] = [
    PerfCounter::CpuCycles,
    PerfCounter::Instructions,
    PerfCounter::CacheReferences,
    PerfCounter::CacheMisses,
    PerfCounter::Branches,
    PerfCounter::BranchMisses,
    PerfCounter::TaskClock,
    PerfCounter::PageFaults,
    PerfCounter::MinorFaults,
    PerfCounter::MajorFaults,
    PerfCounter::ContextSwitches,
    PerfCounter::CpuMigrations,
];

impl PerfCounter {
    /// The counter's name, as the perf tool has it.
    pub fn name(self) -> &'static str {
        // SAFETY: C gives static text.
        let name = unsafe { CStr::from_ptr(sys::wrt_perf_counter_name(self as u32)) };
        name.to_str().unwrap_or("unknown")
    }
}

/// How a count came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PerfState {
    /// It never had a place on the processor, or was not enabled: not the same as 0.
    NotCounted,
    /// It had one all the time.
    Exact,
    /// It had one for a part of the time, and is scaled up.
    Scaled,
}

/// What has been counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PerfReading {
    /// Scaled, if it is; 0 if nothing was counted.
    pub value: u64,
    /// As it was counted.
    pub raw: u64,
    /// Nanoseconds that it was enabled while the thread ran.
    pub enabled_ns: u64,
    /// Of them, with a place on the processor.
    pub running_ns: u64,
    /// How the count came about.
    pub state: PerfState,
}

impl PerfReading {
    /// What a count stands for that was taken for `running_ns` of `enabled_ns`.
    pub fn scaled(raw: u64, enabled_ns: u64, running_ns: u64) -> Result<Self> {
        // SAFETY: zero is a valid value of every field.
        let mut reading = unsafe { mem::zeroed() };
        // SAFETY: the pointer is live.
        check(unsafe { sys::wrt_perf_scale(raw, enabled_ns, running_ns, &raw mut reading) })?;
        Ok(Self::from_raw(&reading))
    }

    fn from_raw(raw: &sys::wrt_perf_reading) -> Self {
        let state = match raw.state {
            sys::WRT_PERF_EXACT => PerfState::Exact,
            sys::WRT_PERF_SCALED => PerfState::Scaled,
            _ => PerfState::NotCounted,
        };
        let (enabled_ns, running_ns) = (raw.enabled_ns, raw.running_ns);
        Self { value: raw.value, raw: raw.raw, enabled_ns, running_ns, state }
    }
}

impl fmt::Display for PerfReading {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.state {
            PerfState::NotCounted => formatter.write_str("not counted"),
            PerfState::Exact => write!(formatter, "{}", self.value),
            PerfState::Scaled => {
                let percent = self.running_ns.saturating_mul(100) / self.enabled_ns.max(1);
                write!(formatter, "{} (scaled: counted {percent}% of the time)", self.value)
            }
        }
    }
}

/// One counter of the thread that made it. A forked child can't use it.
pub struct PerfEvent<'leader> {
    raw: Box<UnsafeCell<sys::wrt_perf_event>>,
    counter: PerfCounter,
    leader: PhantomData<&'leader ()>,
}

impl PerfEvent<'_> {
    /// What it counts.
    pub fn counter(&self) -> PerfCounter {
        self.counter
    }

    /// The counter's name, as the perf tool has it.
    pub fn name(&self) -> &'static str {
        self.counter.name()
    }

    /// Counts from now on; a leader's whole group does.
    pub fn enable(&self) -> Result<()> {
        // SAFETY: the event is initialised, and this thread's.
        check(unsafe { sys::wrt_perf_event_enable(self.raw.get()) })
    }

    /// Counts no longer, and keeps the count; a leader's whole group does.
    pub fn disable(&self) -> Result<()> {
        // SAFETY: as in `enable`.
        check(unsafe { sys::wrt_perf_event_disable(self.raw.get()) })
    }

    /// Sets the count to 0, not the times; a leader's whole group does.
    pub fn reset(&self) -> Result<()> {
        // SAFETY: as in `enable`.
        check(unsafe { sys::wrt_perf_event_reset(self.raw.get()) })
    }

    /// The count, running or not.
    pub fn read(&self) -> Result<PerfReading> {
        // SAFETY: zero is a valid value of every field.
        let mut reading = unsafe { mem::zeroed() };
        // SAFETY: as in `enable`; the other pointer is live.
        check(unsafe { sys::wrt_perf_event_read(self.raw.get(), &raw mut reading) })?;
        Ok(PerfReading::from_raw(&reading))
    }

    /// The counts of the whole group at one moment, the leader's first, into `readings`. Returns
    /// how many there are. `InvalidArgument` if it leads none, or there is too little room.
    pub fn read_group(&self, readings: &mut [PerfReading]) -> Result<usize> {
        // SAFETY: zero is a valid value of every field.
        let mut raws: [sys::wrt_perf_reading; sys::WRT_PERF_GROUP_MAX as usize] =
            unsafe { mem::zeroed() };
        let capacity = readings.len().min(raws.len()) as u32;
        let mut count = 0;
        // SAFETY: as in `enable`; there is room for `capacity` readings.
        check(unsafe {
            sys::wrt_perf_event_read_group(
                self.raw.get(),
                raws.as_mut_ptr(),
                capacity,
                &raw mut count,
            )
        })?;
        for (reading, raw) in readings.iter_mut().zip(&raws[..count as usize]) {
            *reading = PerfReading::from_raw(raw);
        }
        Ok(count as usize)
    }
}

impl Drop for PerfEvent<'_> {
    fn drop(&mut self) {
        // SAFETY: the event is initialised. Members borrow it, so none of them is open.
        let _ = unsafe { sys::wrt_perf_event_deinit(self.raw.get()) };
    }
}

/// Collects settings; the rules of linux/perf.h are checked by [`build`](Self::build).
#[must_use]
pub struct PerfEventBuilder<'leader> {
    config: sys::wrt_perf_event_config,
    counter: PerfCounter,
    leader: PhantomData<&'leader ()>,
}

impl<'leader> PerfEventBuilder<'leader> {
    /// Starts with the CPU's cycles.
    pub const fn new() -> Self {
        // SAFETY: zero is a valid value of every field.
        let mut config: sys::wrt_perf_event_config = unsafe { mem::zeroed() };
        config.struct_size = size_of::<sys::wrt_perf_event_config>() as u32;
        config.type_ = sys::WRT_PERF_CPU_CYCLES;
        Self { config, counter: PerfCounter::CpuCycles, leader: PhantomData }
    }

    /// What is counted.
    pub const fn with_type(mut self, counter: PerfCounter) -> Self {
        self.config.type_ = counter as u32;
        self.counter = counter;
        self
    }

    /// With `Raw`: the event's number in the processor's manual; else 0.
    pub const fn with_config(mut self, number: u64) -> Self {
        self.config.config = number;
        self
    }

    /// Of the group that it joins: all of a group have a place at the same time, or none.
    pub const fn with_leader(mut self, leader: &'leader PerfEvent<'_>) -> Self {
        self.config.leader = leader.raw.get();
        self
    }

    /// Threads and processes that the thread makes from now on count as well.
    pub const fn with_inherit(mut self, enabled: bool) -> Self {
        self.config.inherit = enabled;
        self
    }

    /// What the kernel does for the thread counts as well.
    pub const fn with_include_kernel(mut self, enabled: bool) -> Self {
        self.config.include_kernel = enabled;
        self
    }

    /// Opens the counter, not yet counting. `Unsupported` where the machine has no such counter,
    /// `Permission` with what is in the way.
    pub fn build(self) -> Result<PerfEvent<'leader>> {
        // SAFETY: zero is a valid value of every field.
        let raw = Box::new(UnsafeCell::new(unsafe { mem::zeroed() }));
        // SAFETY: both pointers are live, and so is the leader, which is borrowed.
        check(unsafe { sys::wrt_perf_event_init(raw.get(), &raw const self.config) })?;
        Ok(PerfEvent { raw, counter: self.counter, leader: PhantomData })
    }
}

impl Default for PerfEventBuilder<'_> {
    fn default() -> Self {
        Self::new()
    }
}

/// A counter of a profile.
#[derive(Debug)]
pub struct ProfileRow {
    /// What was counted.
    pub counter: PerfCounter,
    /// The count, or why this machine has none.
    pub reading: Result<PerfReading>,
}

/// What a call took.
#[derive(Debug)]
pub struct Profile<T> {
    /// What the call returned.
    pub value: T,
    /// A row for each counter but `Raw`.
    pub rows: [ProfileRow; sys::WRT_PERF_ROWS as usize],
    /// `None`: one of the two was not counted.
    pub instructions_per_cycle: Option<f64>,
}

impl<T> Profile<T> {
    /// The row of a counter.
    ///
    /// # Panics
    /// For `Raw`, which no profile has.
    pub fn row(&self, counter: PerfCounter) -> &ProfileRow {
        let mut rows = self.rows.iter();
        rows.find(|row| row.counter == counter).expect("a profile has all counters but Raw")
    }
}

impl<T> fmt::Display for Profile<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.rows {
            match &row.reading {
                Ok(reading) => writeln!(formatter, "{:22}  {reading}", row.counter.name())?,
                Err(error) => writeln!(formatter, "{:22}  {error}", row.counter.name())?,
            }
        }
        match self.instructions_per_cycle {
            Some(ratio) => writeln!(formatter, "{:22}  {ratio:.2}", "instructions per cycle"),
            None => Ok(()),
        }
    }
}

/// Collects what a profile counts.
#[must_use]
pub struct PerfProfileBuilder {
    config: sys::wrt_perf_profile_config,
}

impl PerfProfileBuilder {
    /// Starts with the threads that the call makes, and without the kernel.
    pub const fn new() -> Self {
        // SAFETY: zero is a valid value of every field.
        let mut config: sys::wrt_perf_profile_config = unsafe { mem::zeroed() };
        config.struct_size = size_of::<sys::wrt_perf_profile_config>() as u32;
        config.inherit = true;
        Self { config }
    }

    /// Threads that the call makes count as well.
    pub const fn with_inherit(mut self, enabled: bool) -> Self {
        self.config.inherit = enabled;
        self
    }

    /// What the kernel does for the call counts as well.
    pub const fn with_include_kernel(mut self, enabled: bool) -> Self {
        self.config.include_kernel = enabled;
        self
    }

    /// Calls, and counts meanwhile. An error if nothing at all can be counted, or read.
    pub fn run<T>(self, call: impl FnOnce() -> T) -> Result<Profile<T>> {
        let mut counting = Counting::start(&self.config)?;
        let value = call();
        let rows = counting.stop()?;
        let ratio = instructions_per_cycle(&rows);
        let rows = core::array::from_fn(|place| row_of(PROFILED[place], &rows[place]));
        Ok(Profile { value, rows, instructions_per_cycle: ratio })
    }
}

impl Default for PerfProfileBuilder {
    fn default() -> Self {
        Self::new()
    }
}

/// Calls, and counts what it takes.
pub fn profile<T>(call: impl FnOnce() -> T) -> Result<Profile<T>> {
    PerfProfileBuilder::new().run(call)
}

type Rows = [sys::wrt_perf_row; sys::WRT_PERF_ROWS as usize];

/// A profile under way; what it opened is closed when the call panics, too.
struct Counting {
    raw: Box<UnsafeCell<sys::wrt_perf_profile>>,
    is_open: bool,
}

impl Counting {
    fn start(config: &sys::wrt_perf_profile_config) -> Result<Self> {
        // SAFETY: zero is a valid value of every field.
        let raw = Box::new(UnsafeCell::new(unsafe { mem::zeroed() }));
        // SAFETY: both pointers are live.
        check(unsafe { sys::wrt_perf_profile_start(raw.get(), ptr::from_ref(config)) })?;
        Ok(Self { raw, is_open: true })
    }

    fn stop(&mut self) -> Result<Rows> {
        // SAFETY: zero is a valid value of every field.
        let mut rows: Rows = unsafe { mem::zeroed() };
        self.is_open = false;
        // SAFETY: the profile was started; there is room for all rows.
        check(unsafe { sys::wrt_perf_profile_stop(self.raw.get(), rows.as_mut_ptr()) })?;
        Ok(rows)
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        if self.is_open {
            let _ = self.stop();
        }
    }
}

fn row_of(counter: PerfCounter, raw: &sys::wrt_perf_row) -> ProfileRow {
    let reading = match raw.error.status as sys::wrt_status_code {
        sys::WRT_OK => Ok(PerfReading::from_raw(&raw.reading)),
        // SAFETY: C filled it in, with static texts.
        _ => Err(unsafe { Error::from_raw(raw.error.status, &raw.error) }),
    };
    ProfileRow { counter, reading }
}

fn instructions_per_cycle(rows: &Rows) -> Option<f64> {
    let mut ratio = 0.0;
    // SAFETY: all rows are there, and the other pointer is live.
    let status = unsafe {
        sys::wrt_perf_instructions_per_cycle(rows.as_ptr(), rows.len() as u32, &raw mut ratio)
    };
    (status == sys::WRT_OK as sys::wrt_status).then_some(ratio)
}
