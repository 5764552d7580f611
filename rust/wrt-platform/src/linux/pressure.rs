//! Memory pressure: the kernel tells when processes wait for memory. Mirrors
//! `wrt_platform/linux/pressure.h`.
//!
//! ```no_run
//! use std::time::Duration;
//! use wrt_platform::{EventsBuilder, linux::pressure::LinuxPressureBuilder};
//!
//! let events = EventsBuilder::new().build()?;
//! let pressure = LinuxPressureBuilder::new().with_events(&events).build()?;
//! while pressure.collect(Duration::from_secs(1))? == 0 {}
//! println!("level {}", events.next(None)?.detail[0]);
//! # Ok::<(), wrt_platform::Error>(())
//! ```

use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering};
use core::{cell::UnsafeCell, mem, ptr, time::Duration};
use std::thread;

use wrt_platform_sys as sys;

use super::cgroups::{Cgroup, nanoseconds};
use crate::error::{Error, ErrorKind, Result, check};
use crate::events::{Events, EventsBuilder};

const SLICE: Duration = Duration::from_millis(100); // so long a watch may go on after its end

/// How bad it is; linux/pressure.h has the thresholds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PressureLevel {
    /// Some process waited for 5 % of the window.
    Low = 1,
    /// Some process waited for 20 %.
    Medium = 2,
    /// All waited at the same time, for 10 %.
    Critical = 3,
}

impl PressureLevel {
    fn from_detail(level: u64) -> Self {
        match level {
            1 => Self::Low,
            2 => Self::Medium,
            _ => Self::Critical,
        }
    }
}

/// A watch whose events go to a ring of yours; made by [`LinuxPressureBuilder`]. `Send`, not
/// `Sync`.
pub struct LinuxPressure {
    raw: UnsafeCell<sys::wrt_linux_pressure>,
    _events: Events, // C borrows the ring
}

// SAFETY: it is descriptors and plain memory, tied to no thread, and any thread may post.
unsafe impl Send for LinuxPressure {}

impl LinuxPressure {
    /// Waits for a level to be reached, posts an event for each that was, and returns how many; 0:
    /// the time is over. `State` if the group was removed.
    pub fn collect(&self, timeout: Duration) -> Result<u32> {
        let mut count = 0;
        // SAFETY: initialised, and not being `Sync`, no other call is inside.
        let status = unsafe {
            sys::wrt_linux_pressure_collect(self.raw.get(), nanoseconds(timeout), &raw mut count)
        };
        match check(status) {
            Err(error) if error.kind == ErrorKind::TimedOut => Ok(0),
            result => result.map(|()| count),
        }
    }
}

impl Drop for LinuxPressure {
    fn drop(&mut self) {
        // SAFETY: initialised, and nobody else has it.
        let _ = unsafe { sys::wrt_linux_pressure_deinit(self.raw.get()) };
    }
}

/// Collects settings; the rules of linux/pressure.h are checked by [`build`](Self::build).
#[must_use]
pub struct LinuxPressureBuilder<'group> {
    config: sys::wrt_linux_pressure_config,
    cgroup: Option<&'group Cgroup>,
    events: Option<Events>,
}

impl<'group> LinuxPressureBuilder<'group> {
    /// Starts with the whole system, and a window of 2 s.
    pub const fn new() -> Self {
        // SAFETY: zero is a valid value of every field (integers, null pointers).
        let mut config: sys::wrt_linux_pressure_config = unsafe { mem::zeroed() };
        config.struct_size = size_of::<sys::wrt_linux_pressure_config>() as u32;
        Self { config, cgroup: None, events: None }
    }

    /// The ring that the events go to.
    pub fn with_events(mut self, events: &Events) -> Self {
        self.events = Some(events.clone());
        self
    }

    /// The group to watch; without it, the whole system.
    pub fn with_cgroup(mut self, cgroup: &'group Cgroup) -> Self {
        self.cgroup = Some(cgroup);
        self
    }

    /// The events' `source`.
    pub fn with_source(mut self, source: u64) -> Self {
        self.config.source = source;
        self
    }

    /// In which waiting is counted: 0.5 to 10 s, without rights a multiple of 2 s.
    pub fn with_window(mut self, window: Duration) -> Self {
        self.config.window_ns = nanoseconds(window);
        self
    }

    /// Thousandths of the window that some process must wait for `Low`; 0: 50.
    pub fn with_low_share(mut self, thousandths: u32) -> Self {
        self.config.low_share = thousandths;
        self
    }

    /// The same for `Medium`; 0: 200.
    pub fn with_medium_share(mut self, thousandths: u32) -> Self {
        self.config.medium_share = thousandths;
        self
    }

    /// Thousandths of the window that all processes must wait for `Critical`; 0: 100.
    pub fn with_critical_share(mut self, thousandths: u32) -> Self {
        self.config.critical_share = thousandths;
        self
    }

    /// Begins to watch, or says why that can't be.
    pub fn build(self) -> Result<LinuxPressure> {
        let Some(events) = self.events else {
            let reason = c"with_events was not called";
            return Err(Error::invalid_argument(c"LinuxPressureBuilder::build", reason));
        };
        let mut config = self.config;
        config.events = events.raw();
        config.cgroup = self.cgroup.map_or(ptr::null(), |group| group.raw().cast_const());
        // SAFETY: zero is a valid value of every field.
        let mut raw: sys::wrt_linux_pressure = unsafe { mem::zeroed() };
        // SAFETY: all are live; the ring stays for as long as the watch.
        check(unsafe { sys::wrt_linux_pressure_init(&raw mut raw, &raw const config) })?;
        Ok(LinuxPressure { raw: UnsafeCell::new(raw), _events: events })
    }
}

impl Default for LinuxPressureBuilder<'_> {
    fn default() -> Self {
        Self::new()
    }
}

/// A thread that calls with each level; it ends soon after this is dropped, and nobody joins it.
pub(crate) struct Watch {
    is_over: Arc<AtomicBool>,
}

impl Watch {
    pub(crate) fn start(
        group: &Cgroup,
        call: impl FnMut(PressureLevel) + Send + 'static,
    ) -> Result<Self> {
        let events = EventsBuilder::new().build()?;
        let pressure =
            LinuxPressureBuilder::new().with_events(&events).with_cgroup(group).build()?;
        let is_over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&is_over);
        let thread = thread::Builder::new().name("wrt-memory-pressure".into());
        let started = thread.spawn(move || watch(&pressure, &events, &seen, call));
        started.map(|_| Self { is_over }).map_err(|error| {
            let reason = c"no thread for the watch could be started";
            Error::invalid_argument(c"Cgroup::on_memory_pressure", reason).with_note(error)
        })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

fn watch(
    pressure: &LinuxPressure,
    events: &Events,
    is_over: &AtomicBool,
    mut call: impl FnMut(PressureLevel),
) {
    while !is_over.load(Ordering::Relaxed) {
        let Ok(count) = pressure.collect(SLICE) else { return }; // the group was removed
        for _ in 0..count {
            if let Ok(event) = events.next(Some(Duration::ZERO)) {
                call(PressureLevel::from_detail(event.detail[0]));
            }
        }
    }
}
