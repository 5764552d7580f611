//! Watchdogs: work that has to show, by heartbeats, that it goes on. Mirrors
//! `wrt_platform/watchdog.h`.
//!
//! ```
//! use core::time::Duration;
//! use wrt_platform::watchdog::{SoftwareWatchdog, WatchdogConfig};
//!
//! let watchdog = SoftwareWatchdog::new(WatchdogConfig {
//!     default_timeout: Duration::from_secs(60),
//!     check_interval: Duration::from_millis(100),
//!     auto_kill: false,
//!     ..Default::default()
//! })?;
//! watchdog.start()?;
//! let handle = watchdog.watch_wasm_execution("critical_module", Duration::from_secs(30))?;
//! handle.heartbeat()?;
//! drop(handle);
//! watchdog.stop()?;
//! # Ok::<(), wrt_platform::Error>(())
//! ```

use alloc::{boxed::Box, sync::Arc};
use core::{
    cell::UnsafeCell,
    mem::{self, ManuallyDrop},
    time::Duration,
};

use wrt_platform_sys as sys;

use crate::error::{Result, check};
use crate::events::{Events, EventsBuilder};
use crate::instance::Instance;
use crate::system_below::{closed_name, nanoseconds, system_interface, text_of};

/// Where the heartbeats of a watch come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u32)]
pub enum WatchFeed {
    /// [`WatchHandle::heartbeat`].
    #[default]
    Caller = sys::WRT_WATCH_FEED_CALLER,
    /// The instance's own, and the caller's: finds what hangs inside the host.
    Engine = sys::WRT_WATCH_FEED_ENGINE,
}

/// What becomes of the instance of hung work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u32)]
pub enum WatchKill {
    /// As the watchdog's `auto_kill` says.
    #[default]
    Default = sys::WRT_WATCH_KILL_DEFAULT,
    /// It goes on; the event is all.
    Off = sys::WRT_WATCH_KILL_OFF,
    /// It is interrupted.
    On = sys::WRT_WATCH_KILL_ON,
}

/// What a watchdog has done. The counters wrap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct WatchdogReport {
    /// Watches that are out now.
    pub watch_count: u32,
    /// Of them, reported and not recovered.
    pub hung_count: u32,
    /// Hangs reported so far.
    pub hangs: u32,
    /// Of them, killed.
    pub kills: u32,
    /// Checks made so far.
    pub checks: u32,
    /// Of them, those that came late.
    pub late_checks: u32,
    /// Events that found the ring full.
    pub lost_events: u32,
    /// The monitor thread.
    pub is_running: bool,
}

/// What a watch has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct WatchReport {
    /// The number that its events carry.
    pub source: u64,
    /// How long the work may be quiet.
    pub timeout: Duration,
    /// How long there has been no heartbeat, as of the last check.
    pub quiet: Duration,
    /// Hangs that were reported so far.
    pub hang_count: u32,
    /// How many of them were killed.
    pub kill_count: u32,
    /// It was reported, and has not beaten since.
    pub is_hung: bool,
}

/// What a watchdog is made of.
pub struct WatchdogConfig {
    /// Of watches that don't say their own; zero: 30 s.
    pub default_timeout: Duration,
    /// From one check to the next; zero: 100 ms.
    pub check_interval: Duration,
    /// Interrupts the instance of hung work.
    pub auto_kill: bool,
    /// Where hangs are told; `None`: the watchdog makes a ring of its own.
    pub events: Option<Events>,
    /// Of the monitor thread: one of `wrt_thread_priority`; 0: HIGH.
    pub priority: u32,
    /// Bytes of the monitor thread's stack; 0: the system's default.
    pub stack_size: u64,
    /// Memory for the monitor thread's stack; `None`: the system's own.
    pub stack: Option<&'static mut [u8]>,
    /// The thread system of the monitor thread; `None`: this process's own.
    pub system: Option<System>,
}

/// A thread system that the caller answers for, see [`WatchdogConfig::with_system`].
#[derive(Clone, Copy)]
pub struct System(sys::wrt_thread_system);

// SAFETY: thread systems are for any thread.
unsafe impl Send for System {}

impl Default for WatchdogConfig {
    fn default() -> Self {
        Self {
            default_timeout: Duration::ZERO,
            check_interval: Duration::ZERO,
            auto_kill: false,
            events: None,
            priority: 0,
            stack_size: 0,
            stack: None,
            system: None,
        }
    }
}

impl WatchdogConfig {
    /// Of watches that don't say their own.
    #[must_use]
    pub fn with_default_timeout(mut self, timeout: Duration) -> Self {
        self.default_timeout = timeout;
        self
    }

    /// From one check to the next.
    #[must_use]
    pub fn with_check_interval(mut self, interval: Duration) -> Self {
        self.check_interval = interval;
        self
    }

    /// Interrupts the instance of hung work.
    #[must_use]
    pub fn with_auto_kill(mut self, enabled: bool) -> Self {
        self.auto_kill = enabled;
        self
    }

    /// Where hangs are told.
    #[must_use]
    pub fn with_events(mut self, events: &Events) -> Self {
        self.events = Some(events.clone());
        self
    }

    /// Of the monitor thread: one of `wrt_thread_priority`.
    #[must_use]
    pub fn with_priority(mut self, priority: u32) -> Self {
        self.priority = priority;
        self
    }

    /// Memory for the monitor thread's stack.
    #[must_use]
    pub fn with_stack(mut self, stack: &'static mut [u8]) -> Self {
        self.stack_size = stack.len() as u64;
        self.stack = Some(stack);
        self
    }

    /// Bytes of the monitor thread's stack.
    #[must_use]
    pub fn with_stack_size(mut self, bytes: u64) -> Self {
        self.stack_size = bytes;
        self
    }

    /// The thread system of the monitor thread; by default this process's own.
    ///
    /// # Safety
    /// It works as thread_system.h has it, and outlives the watchdog.
    #[must_use]
    pub unsafe fn with_system(mut self, system: sys::wrt_thread_system) -> Self {
        self.system = Some(System(system));
        self
    }

    /// Whether the caller has said which thread system.
    #[cfg(all(feature = "std", target_os = "linux"))]
    pub(crate) const fn has_system(&self) -> bool {
        self.system.is_some()
    }

    fn raw(&self, events: &Events) -> Result<sys::wrt_watchdog_config> {
        // SAFETY: zero is a valid value of every field (integers, null pointers, false).
        let mut raw: sys::wrt_watchdog_config = unsafe { mem::zeroed() };
        raw.struct_size = size_of::<sys::wrt_watchdog_config>() as u32;
        raw.priority = self.priority;
        raw.default_timeout_ns = nanoseconds(self.default_timeout);
        raw.check_interval_ns = nanoseconds(self.check_interval);
        raw.system = match self.system {
            Some(System(system)) => system,
            None => system_interface()?,
        };
        raw.events = events.raw();
        raw.stack = self
            .stack
            .as_ref()
            .map_or(core::ptr::null_mut(), |stack| stack.as_ptr().cast_mut().cast());
        raw.stack_size = self.stack_size;
        raw.auto_kill = self.auto_kill;
        Ok(raw)
    }
}

/// Watches work, from any thread. Clones are the same watchdog. The last one that is dropped tells
/// the monitor thread to end, and does not wait for it; [`stop`](Self::stop) does.
#[derive(Clone)]
pub struct SoftwareWatchdog {
    dog: Arc<Dog>,
}

/// What the monitor thread uses lies in a box of its own, which outlives the rest if need be.
struct Dog {
    kennel: ManuallyDrop<Box<Kennel>>,
}

struct Kennel {
    raw: UnsafeCell<sys::wrt_watchdog>,
    events: Events,
    _stack: Option<&'static mut [u8]>,
}

// SAFETY: with a thread system any thread may call, watchdog.h says; without one there is no
// second thread that could be given it, see `Sync` below.
unsafe impl Send for Dog {}
// SAFETY: on hosts there is a thread system.
#[cfg(all(feature = "std", target_os = "linux"))]
unsafe impl Sync for Dog {}

impl Dog {
    fn raw(&self) -> *mut sys::wrt_watchdog {
        self.kennel.raw.get()
    }
}

impl Drop for Dog {
    fn drop(&mut self) {
        // SAFETY: initialised, or all zero; watches keep the watchdog, so none is out.
        if unsafe { sys::wrt_watchdog_stop(self.raw(), 0) } == sys::WRT_OK as sys::wrt_status {
            // SAFETY: the thread has ended, so nobody uses it any more; dropped once.
            unsafe {
                let _ = sys::wrt_watchdog_deinit(self.raw());
                ManuallyDrop::drop(&mut self.kennel);
            }
        } // else the thread is on its way out, and what it uses stays
    }
}

impl SoftwareWatchdog {
    /// Makes a watchdog; its monitor thread does not run yet.
    pub fn new(mut config: WatchdogConfig) -> Result<Self> {
        let events = match config.events.take() {
            Some(events) => events,
            None => EventsBuilder::new().build()?,
        };
        let raw_config = config.raw(&events)?;
        // SAFETY: zero is a valid value of every field.
        let raw = UnsafeCell::new(unsafe { mem::zeroed() });
        let kennel = Box::new(Kennel { raw, events, _stack: config.stack.take() });
        // SAFETY: the box keeps its address; what the config borrows lives in it.
        check(unsafe { sys::wrt_watchdog_init(kennel.raw.get(), &raw const raw_config) })?;
        Ok(Self { dog: Arc::new(Dog { kennel: ManuallyDrop::new(kennel) }) })
    }

    /// Where hangs are told: `WATCHDOG_EXPIRED`, and `WATCHDOG_KILLED` after a kill; `source` is
    /// the watch's, `detail` how long it has been quiet and its time-out, in nanoseconds.
    pub fn events(&self) -> &Events {
        &self.dog.kennel.events
    }

    /// Starts the monitor thread. `State` if it runs, `Unsupported` without a thread system.
    pub fn start(&self) -> Result<()> {
        // SAFETY: initialised, and kept by `self`.
        check(unsafe { sys::wrt_watchdog_start(self.dog.raw()) })
    }

    /// Ends the monitor thread, and waits for that: as long as one check takes. Watches stay.
    pub fn stop(&self) -> Result<()> {
        // SAFETY: as in `start`.
        check(unsafe { sys::wrt_watchdog_stop(self.dog.raw(), u64::MAX) })
    }

    /// Makes one check, where no monitor thread does; `now` is of any clock that only goes forward.
    pub fn check(&self, now: Duration) -> Result<()> {
        // SAFETY: as in `start`.
        check(unsafe { sys::wrt_watchdog_check(self.dog.raw(), nanoseconds(now)) })
    }

    /// Begins to watch work that beats by [`WatchHandle::heartbeat`]. timeout: how long it may be
    /// quiet; zero: the watchdog's default. Names need not differ.
    pub fn watch_wasm_execution(&self, name: &str, timeout: Duration) -> Result<WatchHandle> {
        WatchBuilder::new().with_name(name).with_timeout(timeout).build(self)
    }

    /// What it has done so far.
    pub fn report(&self) -> Result<WatchdogReport> {
        // SAFETY: zero is a valid value of every field.
        let mut raw: sys::wrt_watchdog_report = unsafe { mem::zeroed() };
        // SAFETY: as in `start`.
        check(unsafe { sys::wrt_watchdog_query(self.dog.raw(), &raw mut raw) })?;
        Ok(WatchdogReport::from_raw(&raw))
    }

    /// For C; valid while this watchdog has an owner.
    #[cfg(all(feature = "std", target_os = "linux"))]
    pub(crate) fn raw(&self) -> *mut sys::wrt_watchdog {
        self.dog.raw()
    }
}

impl WatchdogReport {
    pub(crate) const fn from_raw(raw: &sys::wrt_watchdog_report) -> Self {
        Self {
            watch_count: raw.watch_count,
            hung_count: raw.hung_count,
            hangs: raw.hangs,
            kills: raw.kills,
            checks: raw.checks,
            late_checks: raw.late_checks,
            lost_events: raw.lost_events,
            is_running: raw.is_running,
        }
    }
}

/// Collects what is watched; the rules of watchdog.h are checked by [`build`](Self::build).
#[must_use]
pub struct WatchBuilder {
    config: sys::wrt_watch_config,
    name: [u8; 36],
}

impl WatchBuilder {
    /// Starts with the watchdog's default time-out, and no instance.
    pub fn new() -> Self {
        // SAFETY: zero is a valid value of every field (integers and null pointers).
        let mut config: sys::wrt_watch_config = unsafe { mem::zeroed() };
        config.struct_size = size_of::<sys::wrt_watch_config>() as u32;
        Self { config, name: [0; 36] }
    }

    /// For people; 31 bytes are kept.
    pub fn with_name(mut self, name: &str) -> Self {
        self.name = closed_name(name);
        self
    }

    /// How long the work may be quiet; zero: the watchdog's default.
    pub const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.config.timeout_ns = timeout.as_nanos() as u64;
        self
    }

    /// The number that its events carry; 0 without it.
    pub const fn with_source(mut self, source: u64) -> Self {
        self.config.source = source;
        self
    }

    /// Whose work it is: to be killed, and to beat.
    ///
    /// # Safety
    /// The instance is neither dropped nor overwritten before the watch has ended.
    pub unsafe fn with_instance(mut self, instance: &Instance<'_>) -> Self {
        self.config.instance = instance.storage().raw();
        self
    }

    /// Where the heartbeats come from.
    pub const fn with_feed(mut self, feed: WatchFeed) -> Self {
        self.config.feed = feed as u32;
        self
    }

    /// What becomes of the instance if it hangs.
    pub const fn with_auto_kill(mut self, kill: WatchKill) -> Self {
        self.config.auto_kill = kill as u32;
        self
    }

    /// Begins to watch, or says which rule is broken.
    pub fn build(mut self, watchdog: &SoftwareWatchdog) -> Result<WatchHandle> {
        self.config.name = self.name.as_ptr().cast();
        // SAFETY: zero is a valid value of every field.
        let raw = Box::new(UnsafeCell::new(unsafe { mem::zeroed() }));
        let watchdog = watchdog.clone();
        // SAFETY: the box keeps its address, and the handle the watchdog, until the watch ends.
        check(unsafe {
            sys::wrt_watchdog_watch(watchdog.dog.raw(), &raw const self.config, raw.get())
        })?;
        Ok(WatchHandle { raw, _watchdog: watchdog })
    }
}

impl Default for WatchBuilder {
    fn default() -> Self {
        Self::new()
    }
}

/// A watch; it ends when it is dropped, hung or not. `Send`, not `Sync`: one thread at a time
/// beats.
pub struct WatchHandle {
    raw: Box<UnsafeCell<sys::wrt_watch>>,
    _watchdog: SoftwareWatchdog,
}

// SAFETY: the record is tied to no thread, and what it points to is for any thread.
unsafe impl Send for WatchHandle {}

impl WatchHandle {
    /// Shows that the work goes on: one relaxed store. It never fails; the documents' shape.
    pub fn heartbeat(&self) -> Result<()> {
        // SAFETY: the record is out; not being `Sync`, nobody else beats.
        unsafe { sys::wrt_watch_heartbeat(self.raw.get()) };
        Ok(())
    }

    /// What the watch has seen.
    pub fn report(&self) -> Result<WatchReport> {
        let raw = self.query()?;
        Ok(WatchReport {
            source: raw.source,
            timeout: Duration::from_nanos(raw.timeout_ns),
            quiet: Duration::from_nanos(raw.quiet_ns),
            hang_count: raw.hang_count,
            kill_count: raw.kill_count,
            is_hung: raw.is_hung,
        })
    }

    /// Its name, cut to 31 bytes, handed to `read`.
    pub fn name<R>(&self, read: impl FnOnce(&str) -> R) -> Result<R> {
        self.query().map(|raw| read(text_of(&raw.name)))
    }

    fn query(&self) -> Result<sys::wrt_watch_report> {
        // SAFETY: zero is a valid value of every field.
        let mut raw: sys::wrt_watch_report = unsafe { mem::zeroed() };
        // SAFETY: the record is out, and the report is live for the call.
        check(unsafe { sys::wrt_watch_query(self.raw.get(), &raw mut raw) })?;
        Ok(raw)
    }
}

impl Drop for WatchHandle {
    fn drop(&mut self) {
        // SAFETY: the record is out, until now.
        let status = unsafe { sys::wrt_watch_end(self.raw.get()) };
        debug_assert_eq!(status, 0, "a handle has a watch until it is dropped");
    }
}
