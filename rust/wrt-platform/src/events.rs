//! Events: what happened, in a ring that its owner reads. Mirrors `wrt_platform/events.h`.
//!
//! ```
//! use core::time::Duration;
//! use wrt_platform::events::{Event, EventKind, EventsBuilder};
//!
//! let events = EventsBuilder::new().with_capacity(64).build()?;
//! events.post(&Event { kind: EventKind::USER, source: 7, ..Event::default() })?;
//! let event = events.next(Some(Duration::from_secs(1)))?;
//! assert_eq!((event.kind, event.source), (EventKind::USER, 7));
//! # Ok::<(), wrt_platform::Error>(())
//! ```

use alloc::{sync::Arc, vec::Vec};
use core::{cell::UnsafeCell, ffi::c_void, mem, time::Duration};

use wrt_platform_sys as sys;
pub use wrt_platform_sys::wrt_events_usage as EventsUsage;

use crate::Layout;
use crate::error::{Result, check};
use crate::system_below::{nanoseconds, system_interface};

/// What happened. The list is open: take numbers that you don't know as such.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct EventKind(pub u32);

impl EventKind {
    /// No heartbeat within the time-out.
    pub const WATCHDOG_EXPIRED: Self = Self(sys::WRT_EVENT_WATCHDOG_EXPIRED);
    /// And therefore its instance was interrupted.
    pub const WATCHDOG_KILLED: Self = Self(sys::WRT_EVENT_WATCHDOG_KILLED);
    /// A thread went beyond one of its limits.
    pub const THREAD_UNHEALTHY: Self = Self(sys::WRT_EVENT_THREAD_UNHEALTHY);
    /// A thread was stopped, and came back.
    pub const THREAD_KILLED: Self = Self(sys::WRT_EVENT_THREAD_KILLED);
    /// A thread did not come back, and was given up.
    pub const THREAD_POISONED: Self = Self(sys::WRT_EVENT_THREAD_POISONED);
    /// Memory is getting short.
    pub const MEMORY_PRESSURE: Self = Self(sys::WRT_EVENT_MEMORY_PRESSURE);
    /// The system goes to sleep, or woke up.
    pub const POWER: Self = Self(sys::WRT_EVENT_POWER);
    /// Another process sent something.
    pub const IPC: Self = Self(sys::WRT_EVENT_IPC);
    /// A device.
    pub const INTERRUPT: Self = Self(sys::WRT_EVENT_INTERRUPT);
    /// From here on upwards: the caller's own.
    pub const USER: Self = Self(sys::WRT_EVENT_USER);
}

/// One event. What `source` and `detail` mean is said where the kind is posted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Event {
    /// What happened; 0 can't be posted.
    pub kind: EventKind,
    /// Who it is about, by a number of his own.
    pub source: u64,
    /// When, in nanoseconds, by the clock of whoever posted it; 0: he has none.
    pub time_ns: u64,
    /// Numbers.
    pub detail: [u64; 2],
    /// How many the ring had lost when it took this one; it wraps. Filled in by the ring.
    pub lost: u32,
}

/// A ring of events. Clones are the same ring, which ends with the last of them. Any thread may
/// post; one at a time takes (`Busy`).
#[derive(Clone)]
pub struct Events {
    ring: Arc<Ring>,
}

struct Ring {
    raw: UnsafeCell<sys::wrt_events>,
    buffer: UnsafeCell<Vec<Line>>,
}

/// Bytes that are aligned as any layout asks.
#[derive(Clone, Copy)]
#[repr(C, align(128))]
struct Line([u8; 128]);

// SAFETY: events.h lets any thread call; the buffer is C's alone, and is freed after all calls.
unsafe impl Send for Ring {}
// SAFETY: as above.
unsafe impl Sync for Ring {}

impl Events {
    /// Puts an event into the ring. `NoMemory` if it is full: that is counted.
    pub fn post(&self, event: &Event) -> Result<()> {
        let event = sys::wrt_event {
            kind: event.kind.0,
            lost: 0,
            source: event.source,
            time_ns: event.time_ns,
            detail: event.detail,
        };
        // SAFETY: the ring is initialised, and stays while `self` is borrowed.
        check(unsafe { sys::wrt_events_post(self.raw(), &raw const event) })
    }

    /// Takes the oldest event, waiting for one if there is none; `None`: without limit.
    /// `TimedOut`; `Busy` while another thread is taking; `Unsupported` where there is no thread
    /// system to wait with.
    pub fn next(&self, timeout: Option<Duration>) -> Result<Event> {
        // SAFETY: zero is a valid value of every field.
        let mut raw: sys::wrt_event = unsafe { mem::zeroed() };
        let timeout = timeout.map_or(u64::MAX, nanoseconds);
        let token = core::ptr::null_mut();
        // SAFETY: as in `post`; the event is live for the call.
        check(unsafe { sys::wrt_events_next(self.raw(), &raw mut raw, timeout, token) })?;
        Ok(Event {
            kind: EventKind(raw.kind),
            source: raw.source,
            time_ns: raw.time_ns,
            detail: raw.detail,
            lost: raw.lost,
        })
    }

    /// How the ring has been used so far.
    pub fn usage(&self) -> Result<EventsUsage> {
        let mut usage = EventsUsage { capacity: 0, waiting: 0, posted: 0, lost: 0 };
        // SAFETY: as in `post`.
        check(unsafe { sys::wrt_events_query(self.raw(), &raw mut usage) })?;
        Ok(usage)
    }

    /// For C; valid while this ring has an owner.
    pub(crate) fn raw(&self) -> *mut sys::wrt_events {
        self.ring.raw.get()
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: initialised, or all zero; nobody else has it.
        let status = unsafe { sys::wrt_events_deinit(self.raw.get()) };
        debug_assert_eq!(status, 0, "nobody waits for a ring without an owner");
    }
}

/// Collects settings; the rules of events.h are checked by [`build`](Self::build).
#[must_use]
pub struct EventsBuilder {
    config: sys::wrt_events_config,
    has_system: bool,
}

impl EventsBuilder {
    /// Starts with room for 64 events.
    pub const fn new() -> Self {
        // SAFETY: zero is a valid value of every field (integers, null pointers, no function).
        let mut config: sys::wrt_events_config = unsafe { mem::zeroed() };
        config.struct_size = size_of::<sys::wrt_events_config>() as u32;
        config.capacity = 64;
        Self { config, has_system: false }
    }

    /// How many events the ring holds, rounded up to a power of two.
    pub const fn with_capacity(mut self, events: u32) -> Self {
        self.config.capacity = events;
        self
    }

    /// The thread system to wait with; by default this process's own.
    ///
    /// # Safety
    /// It works as thread_system.h has it, and outlives the ring.
    pub const unsafe fn with_system(mut self, system: sys::wrt_thread_system) -> Self {
        self.config.system = system;
        self.has_system = true;
        self
    }

    /// A function to be called when an event comes, with `context`; events.h says when.
    ///
    /// # Safety
    /// Any thread may call it with this context, for as long as anybody posts; it does not wait,
    /// nor panic, nor call the ring.
    pub const unsafe fn with_wake(
        mut self,
        wake: unsafe extern "C" fn(*mut c_void),
        context: *mut c_void,
    ) -> Self {
        self.config.wake = Some(wake);
        self.config.wake_context = context;
        self
    }

    /// Keeps the events in this memory, aligned as [`layout`](Self::layout) says. Without it,
    /// `build` makes a buffer.
    pub const fn with_buffer(mut self, buffer: &'static mut [u8]) -> Self {
        self.config.buffer_size = buffer.len();
        self.config.buffer = buffer.as_mut_ptr().cast();
        self
    }

    /// What buffer the capacity needs.
    pub fn layout(&self) -> Result<Layout> {
        let mut layout = Layout { bytes: 0, alignment: 0 };
        // SAFETY: both pointers are live for the call.
        check(unsafe { sys::wrt_events_layout(&raw const self.config, &raw mut layout) })?;
        Ok(layout)
    }

    /// Makes the ring, or says which rule is broken.
    pub fn build(mut self) -> Result<Events> {
        if !self.has_system {
            self.config.system = system_interface()?;
        }
        let mut buffer = Vec::new();
        if self.config.buffer.is_null() {
            let lines = self.layout()?.bytes.div_ceil(size_of::<Line>());
            buffer.resize(lines, Line([0; 128]));
            self.config.buffer = buffer.as_mut_ptr().cast();
            self.config.buffer_size = lines * size_of::<Line>();
        }
        // SAFETY: zero is a valid value of every field.
        let raw = UnsafeCell::new(unsafe { mem::zeroed() });
        let ring = Arc::new(Ring { raw, buffer: UnsafeCell::new(buffer) });
        debug_assert_eq!(ring.buffer.get().cast::<Line>().align_offset(8), 0);
        // SAFETY: the ring has its place, and keeps the buffer for as long as it lives.
        check(unsafe { sys::wrt_events_init(ring.raw.get(), &raw const self.config) })?;
        Ok(Events { ring })
    }
}

impl Default for EventsBuilder {
    fn default() -> Self {
        Self::new()
    }
}
