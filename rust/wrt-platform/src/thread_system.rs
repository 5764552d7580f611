//! Thread systems: what concurrency asks of an operating system. Mirrors
//! `wrt_platform/thread_system.h`.
//!
//! ```
//! # #[cfg(target_os = "linux")] {
//! use wrt_platform::{LinuxThreadSystemBuilder, ThreadBuilder, ThreadPriority};
//!
//! let system = LinuxThreadSystemBuilder::new().build()?;
//! let thread = ThreadBuilder::new()
//!     .with_name("decoder")
//!     .with_priority(ThreadPriority::Low)
//!     .with_entry(|| println!("decoding"))
//!     .build(&system)?;
//! thread.join(None).map_err(|(_, error)| error)?;
//! # }
//! # Ok::<(), wrt_platform::Error>(())
//! ```

#[cfg(feature = "alloc")]
use alloc::boxed::Box;
#[cfg(feature = "alloc")]
use core::{cell::UnsafeCell, ffi::c_void, marker::PhantomData, ptr};
use core::{ffi::c_char, fmt, mem, time::Duration};

use wrt_platform_sys as sys;

use crate::error::{Result, check};

const NAME_SIZE: usize = sys::WRT_THREAD_NAME_SIZE as usize; // the closing NUL included

/// C's time-out; more than 580 years are for ever.
pub(crate) fn timeout_ns(timeout: Option<Duration>) -> u64 {
    timeout.map_or(u64::MAX, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}

/// How urgent work is; each backend maps these four on its own range, and says how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
#[repr(u32)]
pub enum ThreadPriority {
    /// Gives way to all others.
    Low = sys::WRT_THREAD_PRIORITY_LOW,
    /// As most threads are.
    #[default]
    Normal = sys::WRT_THREAD_PRIORITY_NORMAL,
    /// Before the two above.
    High = sys::WRT_THREAD_PRIORITY_HIGH,
    /// Before every thread of the three others.
    Realtime = sys::WRT_THREAD_PRIORITY_REALTIME,
}

impl ThreadPriority {
    fn from_raw(raw: u32) -> Self {
        match raw {
            sys::WRT_THREAD_PRIORITY_LOW => Self::Low,
            sys::WRT_THREAD_PRIORITY_HIGH => Self::High,
            sys::WRT_THREAD_PRIORITY_REALTIME => Self::Realtime,
            _ => Self::Normal,
        }
    }
}

/// Which CPUs a thread may use, of 0 to 255; an empty set: any.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct CpuSet {
    pub(crate) words: [u64; 4],
}

impl CpuSet {
    /// None named: any.
    pub const fn any() -> Self {
        Self { words: [0; 4] }
    }

    /// Bit n of `mask` stands for CPU n, of the first 64.
    pub const fn from_mask(mask: u64) -> Self {
        Self { words: [mask, 0, 0, 0] }
    }

    /// CPUs 0 to 63, a bit each.
    pub const fn mask(&self) -> u64 {
        self.words[0]
    }

    /// The same set with one more CPU.
    #[must_use]
    pub const fn with(mut self, cpu: u8) -> Self {
        self.words[cpu as usize / 64] |= 1 << (cpu % 64);
        self
    }

    /// Whether the CPU is one of them.
    pub const fn contains(&self, cpu: u8) -> bool {
        self.words[cpu as usize / 64] >> (cpu % 64) & 1 != 0
    }

    pub(crate) const fn to_raw(self) -> sys::wrt_cpu_set {
        sys::wrt_cpu_set { words: self.words }
    }
}

impl fmt::Debug for CpuSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cpus = (0..=u8::MAX).filter(|cpu| self.contains(*cpu));
        formatter.debug_set().entries(cpus).finish()
    }
}

/// The name of a thread, at most 15 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ThreadName([u8; NAME_SIZE]);

impl ThreadName {
    fn from_raw(raw: &[c_char; NAME_SIZE]) -> Self {
        #[allow(clippy::unnecessary_cast)] // c_char is i8 on some targets, u8 on others
        Self(raw.map(|byte| byte as u8))
    }

    /// The name as text; empty if it is none.
    pub fn as_str(&self) -> &str {
        let length = self.0.iter().position(|byte| *byte == 0).unwrap_or(NAME_SIZE);
        core::str::from_utf8(&self.0[..length]).unwrap_or("")
    }
}

impl fmt::Debug for ThreadName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), formatter)
    }
}

/// A thread as the system describes it: read back, not remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ThreadReport {
    /// Number that the system's own tools show.
    pub system_id: u64,
    /// Bytes.
    pub stack_size: u64,
    /// Processor time that it has used so far.
    pub cpu_time: Duration,
    /// It may use.
    pub cpus: CpuSet,
    /// The system's own number of its scheduling policy.
    pub system_policy: i32,
    /// In the system's own range; on Linux without realtime the nice value.
    pub system_priority: i32,
    /// What the two above come to.
    pub priority: ThreadPriority,
    /// What the system's tools show.
    pub name: ThreadName,
}

impl ThreadReport {
    fn from_raw(raw: &sys::wrt_thread_report) -> Self {
        Self {
            system_id: raw.system_id,
            stack_size: raw.stack_size,
            cpu_time: Duration::from_nanos(raw.cpu_time_ns),
            cpus: CpuSet { words: raw.cpus.words },
            system_policy: raw.system_policy,
            system_priority: raw.system_priority,
            priority: ThreadPriority::from_raw(raw.priority),
            name: ThreadName::from_raw(&raw.name),
        }
    }
}

/// What the thread systems of all backends can do, about the calling thread.
///
/// # Safety
/// What `interface` returns works as thread_system.h has it, for as long as `self` is borrowed,
/// and has all its calls.
pub unsafe trait ThreadSystem: Send + Sync {
    /// The system as C takes it; valid while `self` is not dropped.
    fn interface(&self) -> sys::wrt_thread_system;

    /// A clock that only goes forward.
    fn now(&self) -> Result<Duration> {
        let (interface, mut now) = (self.interface(), 0);
        // SAFETY: the trait's own rules make the calls be there and work.
        check(unsafe { (*interface.ops).now.unwrap()(interface.self_, &raw mut now) })?;
        Ok(Duration::from_nanos(now))
    }

    /// Changes the calling thread's priority; `Permission`.
    fn set_priority(&self, priority: ThreadPriority) -> Result<()> {
        let interface = self.interface();
        // SAFETY: as in `now`.
        check(unsafe { (*interface.ops).set_priority.unwrap()(interface.self_, priority as u32) })
    }

    /// Changes the CPUs of the calling thread; `InvalidArgument` if there are none of them.
    fn set_cpus(&self, cpus: CpuSet) -> Result<()> {
        let (interface, raw) = (self.interface(), cpus.to_raw());
        // SAFETY: as in `now`.
        check(unsafe { (*interface.ops).set_cpus.unwrap()(interface.self_, &raw const raw) })
    }

    /// What the system says of the calling thread.
    fn report(&self) -> Result<ThreadReport> {
        query(&self.interface(), core::ptr::null())
    }
}

fn query(
    interface: &sys::wrt_thread_system,
    thread: *const sys::wrt_thread,
) -> Result<ThreadReport> {
    // SAFETY: zero is a valid value of every field.
    let mut raw: sys::wrt_thread_report = unsafe { mem::zeroed() };
    // SAFETY: the calls are there and work, says ThreadSystem; the thread is live or null.
    check(unsafe { (*interface.ops).query.unwrap()(interface.self_, thread, &raw mut raw) })?;
    Ok(ThreadReport::from_raw(&raw))
}

/// A thread that was started; one that is dropped is detached. `Send` and `Sync`.
#[cfg(feature = "alloc")]
pub struct Thread<'system> {
    raw: Box<UnsafeCell<sys::wrt_thread>>,
    interface: sys::wrt_thread_system,
    system: PhantomData<&'system ()>,
}

// SAFETY: C lets any thread ask about a thread, and join it; join and detach take it by value.
#[cfg(feature = "alloc")]
unsafe impl Send for Thread<'_> {}
// SAFETY: as above.
#[cfg(feature = "alloc")]
unsafe impl Sync for Thread<'_> {}

#[cfg(feature = "alloc")]
impl Thread<'_> {
    /// Waits for its end. `TimedOut` gives the thread back; so does `State` when a thread joins
    /// itself.
    pub fn join(self, timeout: Option<Duration>) -> core::result::Result<(), (Self, crate::Error)> {
        // SAFETY: the calls are there and work, says ThreadSystem; the thread is ours.
        let status = unsafe {
            (*self.interface.ops).join.unwrap()(
                self.interface.self_,
                self.raw.get(),
                timeout_ns(timeout),
            )
        };
        match check(status) {
            Ok(()) => {
                drop(self); // its storage; C says STATE to the second end
                Ok(())
            }
            Err(error) => Err((self, error)),
        }
    }

    /// What the system says of it; `State` when it has ended.
    pub fn report(&self) -> Result<ThreadReport> {
        query(&self.interface, self.raw.get())
    }

    /// Processor time that it has used; `State` when it has ended.
    pub fn cpu_time(&self) -> Result<Duration> {
        let mut time = 0;
        // SAFETY: as in `join`.
        check(unsafe {
            (*self.interface.ops).cpu_time.unwrap()(
                self.interface.self_,
                self.raw.get(),
                &raw mut time,
            )
        })?;
        Ok(Duration::from_nanos(time))
    }
}

#[cfg(feature = "alloc")]
impl Drop for Thread<'_> {
    fn drop(&mut self) {
        // SAFETY: as in `join`; a thread does not look at its handle any more. STATE after a join.
        let _ =
            unsafe { (*self.interface.ops).detach.unwrap()(self.interface.self_, self.raw.get()) };
    }
}

#[cfg(feature = "alloc")]
type Entry = Box<dyn FnOnce() + Send>;

/// Collects settings; the rules of thread_system.h are checked by [`build`](Self::build).
#[cfg(feature = "alloc")]
#[must_use]
pub struct ThreadBuilder {
    config: sys::wrt_thread_config,
    entry: Option<Entry>,
    name: Option<[u8; NAME_SIZE]>,
}

#[cfg(feature = "alloc")]
impl ThreadBuilder {
    /// Starts with a thread of normal priority, on a stack of the system's own.
    pub fn new() -> Self {
        // SAFETY: zero is a valid value of every field (integers, null pointers, false).
        let mut config: sys::wrt_thread_config = unsafe { mem::zeroed() };
        config.struct_size = size_of::<sys::wrt_thread_config>() as u32;
        Self { config, entry: None, name: None }
    }

    /// What the thread runs. A panic ends the thread, and is reported as of any thread.
    pub fn with_entry(mut self, entry: impl FnOnce() + Send + 'static) -> Self {
        self.entry = Some(Box::new(entry));
        self
    }

    /// How urgent it is; the thread system says what that is on its system.
    pub fn with_priority(mut self, priority: ThreadPriority) -> Self {
        self.config.priority = priority as u32;
        self
    }

    /// Which CPUs it may use.
    pub fn with_cpus(mut self, cpus: CpuSet) -> Self {
        self.config.cpus = cpus.to_raw();
        self
    }

    /// What the system's tools show; beyond 15 bytes it is cut.
    pub fn with_name(mut self, name: &str) -> Self {
        let mut text = [0; NAME_SIZE];
        for (to, from) in text[..NAME_SIZE - 1].iter_mut().zip(name.bytes()) {
            *to = from;
        }
        self.name = Some(text);
        self
    }

    /// Runs on this memory, 16-byte aligned.
    pub fn with_stack(mut self, stack: &'static mut [u8]) -> Self {
        self.config.stack = stack.as_mut_ptr().cast();
        self.config.stack_size = stack.len() as u64;
        self
    }

    /// Bytes of a stack of the system's own; 0: its default.
    pub fn with_stack_size(mut self, size: u64) -> Self {
        self.config.stack = ptr::null_mut();
        self.config.stack_size = size;
        self
    }

    /// `Permission` if the priority may not be had; else the thread gets the nearest that may.
    pub fn with_require_priority(mut self, required: bool) -> Self {
        self.config.require_priority = required;
        self
    }

    /// Starts the thread. `InvalidArgument` without an entry.
    pub fn build(mut self, system: &dyn ThreadSystem) -> Result<Thread<'_>> {
        let interface = system.interface();
        // SAFETY: all zero is a thread that was never started.
        let raw = Box::new(UnsafeCell::new(unsafe { mem::zeroed() }));
        if let Some(entry) = self.entry.take() {
            self.config.entry = Some(run);
            self.config.context = Box::into_raw(Box::new(entry)).cast();
        }
        self.config.name = self.name.as_ref().map_or(ptr::null(), |name| name.as_ptr().cast());
        // SAFETY: the calls are there and work, says ThreadSystem; C copies the config.
        let status = unsafe {
            (*interface.ops).start.unwrap()(interface.self_, raw.get(), &raw const self.config)
        };
        if let Err(error) = check(status) {
            if !self.config.context.is_null() {
                // SAFETY: it was made above, and no thread has taken it.
                drop(unsafe { Box::from_raw(self.config.context.cast::<Entry>()) });
            }
            return Err(error);
        }
        Ok(Thread { raw, interface, system: PhantomData })
    }
}

#[cfg(feature = "alloc")]
impl Default for ThreadBuilder {
    fn default() -> Self {
        Self::new()
    }
}

/// Runs the closure; a panic must not cross C's frames.
#[cfg(feature = "alloc")]
unsafe extern "C" fn run(context: *mut c_void) {
    // SAFETY: `build` made it for this thread alone.
    let entry = unsafe { Box::from_raw(context.cast::<Entry>()) };
    #[cfg(feature = "std")]
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(entry));
    #[cfg(not(feature = "std"))]
    entry();
}
