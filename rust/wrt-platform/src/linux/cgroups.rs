//! Control groups: limits for a group of processes, kept by the kernel. Mirrors
//! `wrt_platform/linux/cgroups.h`.
//!
//! ```no_run
//! use wrt_platform::linux::cgroups::{CgroupBuilder, PressureLevel, ResourceLimits};
//!
//! let cgroup = CgroupBuilder::new("wasm_runtime").with_parent("/sys/fs/cgroup/user.slice").build()?;
//! let applied = cgroup.set_limits(&ResourceLimits {
//!     memory_max: Some(1 << 30),
//!     cpu_max: Some((50_000, 100_000)),
//!     io_max: Some(vec![("8:0", "rbps=10485760 wbps=10485760")]),
//!     ..ResourceLimits::default()
//! })?;
//! println!("{:?}", applied.memory_max);
//! cgroup.add_process(std::process::id())?;
//! cgroup.on_memory_pressure(|level| println!("{level:?}"))?;
//! println!("{} bytes", cgroup.get_stats()?.memory_current);
//! # Ok::<(), wrt_platform::Error>(())
//! ```

use alloc::{ffi::CString, string::String, vec::Vec};
use core::{cell::UnsafeCell, ffi::CStr, mem, ptr, time::Duration};
use std::sync::Mutex;

use wrt_platform_sys as sys;

pub use super::pressure::PressureLevel;
use super::pressure::Watch;
use crate::error::{Error, Result, check};

/// Without a limit; takes one away.
pub const UNLIMITED: u64 = u64::MAX;

/// Who keeps which limits; to be combined by `|`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct CgroupController(pub u32);

impl CgroupController {
    /// Shares and quotas of CPU time.
    pub const CPU: Self = Self(sys::WRT_LINUX_CGROUP_CPU);
    /// Rates of disks.
    pub const IO: Self = Self(sys::WRT_LINUX_CGROUP_IO);
    /// Bytes.
    pub const MEMORY: Self = Self(sys::WRT_LINUX_CGROUP_MEMORY);
    /// How many processes and threads.
    pub const PIDS: Self = Self(sys::WRT_LINUX_CGROUP_PIDS);

    /// Whether all of `other` are among them.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl core::ops::BitOr for CgroupController {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// How control groups are set up here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CgroupLayout {
    /// None is mounted.
    None,
    /// Version 1 alone: limits can be read, not set.
    V1,
    /// Version 2 alone.
    V2,
    /// Both: controllers of version 1 are missing in version 2.
    Hybrid,
}

/// What keeps a controller from being enabled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CgroupObstacle {
    /// Nothing that can be seen.
    Free,
    /// The top group has no such controller.
    NotOffered,
    /// The group has processes of its own.
    HasProcesses,
    /// Its files are not ours to write.
    NotPermitted,
    /// The group is for threads, where the controller can't be.
    Threaded,
}

/// Where this process stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CgroupLocation {
    /// Which versions are mounted.
    pub layout: CgroupLayout,
    /// Own group of version 2; empty: none.
    pub path: String,
    /// Of version 2 that own group may use.
    pub controllers: CgroupController,
    /// Own group can't be seen from here: `path` is the mounted top.
    pub is_outside: bool,
}

/// What [`CgroupBuilder::build`] and the limits after it would meet.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CgroupPlan {
    /// Of the new group.
    pub path: String,
    /// Controllers that the new group would have already.
    pub enabled: CgroupController,
    /// That would be enabled.
    pub to_enable: CgroupController,
    /// That can't be had.
    pub blocked: CgroupController,
    /// Of the first that is blocked.
    pub obstacle: CgroupObstacle,
    /// The group that is in the way; empty: none.
    pub blocker: String,
    /// What to do about it.
    pub remedy: &'static CStr,
}

/// Limits of a group. `None` leaves a limit as it is; [`UNLIMITED`] takes it away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResourceLimits<'text> {
    /// Bytes; beyond it a process of the group is killed.
    pub memory_max: Option<u64>,
    /// Bytes; beyond it the group is slowed down.
    pub memory_high: Option<u64>,
    /// Microseconds of CPU time, in so many.
    pub cpu_max: Option<(u64, u64)>,
    /// Share beside others, 1 to 10000.
    pub cpu_weight: Option<u32>,
    /// Of disks: `("8:0", "rbps=1048576 wiops=max")`.
    pub io_max: Option<Vec<(&'text str, &'text str)>>,
    /// Processes and threads; `u32::MAX`: without limit.
    pub pids_max: Option<u32>,
    /// Bytes; 0: nothing goes to swap.
    pub memory_swap_max: Option<u64>,
    /// Out of memory ends the whole group.
    pub kill_together: bool,
}

/// Limits of one disk; [`UNLIMITED`]: none.
pub use wrt_platform_sys::wrt_linux_cgroup_io as IoLimit;

/// What a group has used. Numbers whose controller is not enabled are 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CgroupStats {
    /// That are enabled here.
    pub controllers: CgroupController,
    /// A process lives in it, or below.
    pub is_populated: bool,
    /// All have stopped.
    pub is_frozen: bool,
    /// Bytes, now.
    pub memory_current: u64,
    /// Bytes, the most that were; 0 before Linux 5.19.
    pub memory_peak: u64,
    /// How often `memory_high` slowed it down.
    pub memory_high_events: u64,
    /// How often `memory_max` was about to be exceeded.
    pub memory_max_events: u64,
    /// Processes killed for want of memory.
    pub oom_kills: u64,
    /// Microseconds.
    pub cpu_usage_usec: u64,
    /// Periods in which it had to wait for its quota.
    pub cpu_throttled: u64,
    /// Microseconds that it waited.
    pub cpu_throttled_usec: u64,
    /// Summed over all disks.
    pub io_read_bytes: u64,
    /// Summed over all disks.
    pub io_write_bytes: u64,
    /// Processes and threads, now.
    pub pids_current: u64,
    /// Forks that were refused.
    pub pids_max_events: u64,
}

/// Finds the group of this process; `root` goes before `/proc` and before each mounted path.
pub fn locate_cgroup(root: &str) -> Result<CgroupLocation> {
    let root = text_for_c(root)?;
    // SAFETY: zero is a valid value of every field.
    let mut raw: sys::wrt_linux_cgroup_location = unsafe { mem::zeroed() };
    // SAFETY: both pointers are live for the call.
    check(unsafe { sys::wrt_linux_cgroup_locate(root.as_ptr(), &raw mut raw) })?;
    Ok(CgroupLocation {
        layout: match raw.layout {
            sys::WRT_LINUX_CGROUP_V1 => CgroupLayout::V1,
            sys::WRT_LINUX_CGROUP_V2 => CgroupLayout::V2,
            sys::WRT_LINUX_CGROUP_HYBRID => CgroupLayout::Hybrid,
            _ => CgroupLayout::None,
        },
        path: text_of(&raw.path),
        controllers: CgroupController(raw.controllers),
        is_outside: raw.is_outside,
    })
}

/// A group; made by [`CgroupBuilder`]. `Send`, not `Sync`; it may be moved. A forked child can't
/// use it. Dropping it leaves the group and its processes as they are.
pub struct Cgroup {
    raw: UnsafeCell<sys::wrt_linux_cgroup>,
    builder: CgroupBuilder,
    watches: Mutex<Vec<Watch>>,
}

// SAFETY: it is a descriptor and plain memory, tied to no thread.
unsafe impl Send for Cgroup {}

impl Cgroup {
    /// Where the group is.
    pub fn path(&self) -> String {
        // SAFETY: initialised, and not being `Sync`, no other call is inside.
        let path = unsafe { CStr::from_ptr(sys::wrt_linux_cgroup_path(self.raw.get())) };
        path.to_string_lossy().into_owned()
    }

    /// For C; valid while the group is borrowed.
    pub(crate) fn raw(&self) -> *mut sys::wrt_linux_cgroup {
        self.raw.get()
    }

    /// Sets limits, all or none, and returns those that hold: bytes of memory are rounded down to
    /// whole pages. `io_max` is left out, see [`get_io_limit`](Self::get_io_limit).
    pub fn set_limits(&self, limits: &ResourceLimits<'_>) -> Result<ResourceLimits<'static>> {
        let io = limits.io_max.iter().flatten().map(|&(device, words)| read_io(device, words));
        let io = io.collect::<Result<Vec<_>>>()?;
        let (quota, period) = limits.cpu_max.unwrap_or_default();
        let mut applied = zeroed_limits();
        let mut raw = zeroed_limits();
        raw.struct_size = size_of::<sys::wrt_linux_cgroup_limits>() as u32;
        raw.cpu_weight = limits.cpu_weight.unwrap_or(0);
        raw.pids_max = limits.pids_max.unwrap_or(0);
        raw.io_count = u32::try_from(io.len()).unwrap_or(u32::MAX);
        raw.io = io.as_ptr();
        raw.memory_max = limits.memory_max.unwrap_or(0);
        raw.memory_high = limits.memory_high.unwrap_or(0);
        raw.memory_swap_max = limits.memory_swap_max.unwrap_or(0);
        raw.has_memory_swap_max = limits.memory_swap_max.is_some();
        raw.cpu_quota_us = quota;
        raw.cpu_period_us = period;
        raw.kill_together = limits.kill_together;
        // SAFETY: the group is initialised, the structs and `io` live for the call.
        let status = unsafe {
            sys::wrt_linux_cgroup_set_limits(self.raw.get(), &raw const raw, &raw mut applied)
        };
        self.builder.explain(check(status))?;
        Ok(limits_of(&applied))
    }

    /// The limits that hold; `None` where the controller is not enabled.
    pub fn get_limits(&self) -> Result<ResourceLimits<'static>> {
        let mut raw = zeroed_limits();
        // SAFETY: the group is initialised, and the struct is live.
        check(unsafe { sys::wrt_linux_cgroup_get_limits(self.raw.get(), &raw mut raw) })?;
        Ok(limits_of(&raw))
    }

    /// The limits of one disk, `"8:0"`.
    pub fn get_io_limit(&self, device: &str) -> Result<IoLimit> {
        let mut io = read_io(device, "")?;
        let (major, minor) = (io.major, io.minor);
        // SAFETY: the group is initialised, and the struct is live.
        check(unsafe { sys::wrt_linux_cgroup_get_io(self.raw.get(), major, minor, &raw mut io) })?;
        Ok(io)
    }

    /// Moves a process, with all its threads, into the group; 0: this one.
    pub fn add_process(&self, process: u32) -> Result<()> {
        let process = i32::try_from(process).unwrap_or(-1);
        // SAFETY: the group is initialised.
        check(unsafe { sys::wrt_linux_cgroup_add_process(self.raw.get(), process) })
    }

    /// Starts a program that is in the group from its first instruction on, with this process's
    /// environment, and returns its process id; the caller waits for it, as for each child.
    pub fn spawn(&self, program: &str, arguments: &[&str]) -> Result<u32> {
        let program = text_for_c(program)?;
        let arguments =
            arguments.iter().map(|word| text_for_c(word)).collect::<Result<Vec<_>>>()?;
        let environment = std::env::vars_os().filter_map(|(name, value)| {
            use std::os::unix::ffi::OsStrExt;
            CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()).ok()
        });
        let environment: Vec<_> = environment.collect();
        let first = core::iter::once(program.as_ptr());
        let null = core::iter::once(ptr::null());
        let words: Vec<_> =
            first.chain(arguments.iter().map(|word| word.as_ptr())).chain(null.clone()).collect();
        let variables: Vec<_> = environment.iter().map(|word| word.as_ptr()).chain(null).collect();
        let mut process = 0;
        // SAFETY: all texts live for the call, and both lists end with NULL.
        check(unsafe {
            sys::wrt_linux_cgroup_spawn(
                self.raw.get(),
                program.as_ptr(),
                words.as_ptr(),
                variables.as_ptr(),
                &raw mut process,
            )
        })?;
        Ok(process.unsigned_abs())
    }

    /// What the group has used.
    pub fn get_stats(&self) -> Result<CgroupStats> {
        // SAFETY: zero is a valid value of every field.
        let mut raw: sys::wrt_linux_cgroup_stats = unsafe { mem::zeroed() };
        // SAFETY: the group is initialised, and the struct is live.
        check(unsafe { sys::wrt_linux_cgroup_get_stats(self.raw.get(), &raw mut raw) })?;
        Ok(CgroupStats {
            controllers: CgroupController(raw.controllers),
            is_populated: raw.is_populated != 0,
            is_frozen: raw.is_frozen != 0,
            memory_current: raw.memory_current,
            memory_peak: raw.memory_peak,
            memory_high_events: raw.memory_high_events,
            memory_max_events: raw.memory_max_events,
            oom_kills: raw.oom_kills,
            cpu_usage_usec: raw.cpu_usage_us,
            cpu_throttled: raw.cpu_throttled,
            cpu_throttled_usec: raw.cpu_throttled_us,
            io_read_bytes: raw.io_read_bytes,
            io_write_bytes: raw.io_write_bytes,
            pids_current: raw.pids_current,
            pids_max_events: raw.pids_max_events,
        })
    }

    /// Calls `call` with a level whenever processes of the group wait for memory, at most once in
    /// 2 s for each level, on a thread of its own; until the group is removed or dropped.
    pub fn on_memory_pressure(
        &self,
        call: impl FnMut(PressureLevel) + Send + 'static,
    ) -> Result<()> {
        let watch = Watch::start(self, call)?;
        self.watches.lock().expect("nobody panics with it").push(watch);
        Ok(())
    }

    /// Stops all processes in it, and waits until they stand.
    pub fn freeze(&self, timeout: Duration) -> Result<()> {
        // SAFETY: the group is initialised.
        check(unsafe { sys::wrt_linux_cgroup_freeze(self.raw.get(), nanoseconds(timeout)) })
    }

    /// Lets them run again.
    pub fn thaw(&self) -> Result<()> {
        // SAFETY: the group is initialised.
        check(unsafe { sys::wrt_linux_cgroup_thaw(self.raw.get()) })
    }

    /// Kills all processes in it, and waits until none is left.
    pub fn kill(&self, timeout: Duration) -> Result<()> {
        // SAFETY: the group is initialised.
        check(unsafe { sys::wrt_linux_cgroup_kill(self.raw.get(), nanoseconds(timeout)) })
    }

    /// Removes the group when the last process has left it, waiting for that.
    pub fn remove(&self, timeout: Duration) -> Result<()> {
        // SAFETY: the group is initialised.
        check(unsafe { sys::wrt_linux_cgroup_remove(self.raw.get(), nanoseconds(timeout)) })
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // SAFETY: initialised, and nobody else has it.
        let _ = unsafe { sys::wrt_linux_cgroup_deinit(self.raw.get()) };
    }
}

/// Collects settings; the rules of linux/cgroups.h are checked by [`build`](Self::build).
#[derive(Clone)]
#[must_use]
pub struct CgroupBuilder {
    name: String,
    parent: Option<String>,
    root: Option<String>,
    controllers: CgroupController,
    take_existing: bool,
    move_to_leaf: bool,
}

impl CgroupBuilder {
    /// Starts with a group of this name in this process's own group.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            parent: None,
            root: None,
            controllers: CgroupController(0),
            take_existing: false,
            move_to_leaf: false,
        }
    }

    /// Of the new group: 1 to 255 bytes without a slash.
    pub fn with_name(mut self, name: &str) -> Self {
        self.name = name.into();
        self
    }

    /// The group in which it is made, as a path from the mount or the top, or, without a first
    /// slash, from this process's own group.
    pub fn with_parent(mut self, parent: &str) -> Self {
        self.parent = Some(parent.into());
        self
    }

    /// Put before each absolute path, for trees that are not the system's.
    pub fn with_root(mut self, root: &str) -> Self {
        self.root = Some(root.into());
        self
    }

    /// Enabled by `build`, or it fails; without it, when a limit first needs one.
    pub const fn with_controllers(mut self, controllers: CgroupController) -> Self {
        self.controllers = controllers;
        self
    }

    /// A group of that name that is there is taken, as it is.
    pub const fn with_take_existing(mut self, enabled: bool) -> Self {
        self.take_existing = enabled;
        self
    }

    /// Processes of own group that are in the way are moved to a group `wrt-leaf` in it.
    pub const fn with_move_to_leaf(mut self, enabled: bool) -> Self {
        self.move_to_leaf = enabled;
        self
    }

    /// What `build` and limits would meet; changes nothing.
    pub fn plan(&self) -> Result<CgroupPlan> {
        // SAFETY: zero is a valid value of every field (integers, null pointer).
        let mut raw: sys::wrt_linux_cgroup_plan = unsafe { mem::zeroed() };
        self.with_config(|config| {
            // SAFETY: both pointers are live for the call.
            check(unsafe { sys::wrt_linux_cgroup_plan_of(config, &raw mut raw) })
        })?;
        Ok(CgroupPlan {
            path: text_of(&raw.path),
            enabled: CgroupController(raw.enabled),
            to_enable: CgroupController(raw.to_enable),
            blocked: CgroupController(raw.blocked),
            obstacle: match raw.obstacle {
                sys::WRT_LINUX_CGROUP_NOT_OFFERED => CgroupObstacle::NotOffered,
                sys::WRT_LINUX_CGROUP_HAS_PROCESSES => CgroupObstacle::HasProcesses,
                sys::WRT_LINUX_CGROUP_NOT_PERMITTED => CgroupObstacle::NotPermitted,
                sys::WRT_LINUX_CGROUP_THREADED => CgroupObstacle::Threaded,
                _ => CgroupObstacle::Free,
            },
            blocker: text_of(&raw.blocker),
            // SAFETY: linux/cgroups.h promises a static text, never null.
            remedy: unsafe { CStr::from_ptr(raw.remedy) },
        })
    }

    /// Makes the group, or says what is in the way.
    pub fn build(self) -> Result<Cgroup> {
        // SAFETY: zero is a valid value of every field.
        let mut raw: sys::wrt_linux_cgroup = unsafe { mem::zeroed() };
        let made = self.with_config(|config| {
            // SAFETY: both pointers are live for the call.
            check(unsafe { sys::wrt_linux_cgroup_init(&raw mut raw, config) })
        });
        self.explain(made)?;
        let watches = Mutex::new(Vec::new());
        Ok(Cgroup { raw: UnsafeCell::new(raw), builder: self, watches })
    }

    /// Lends the config, with its texts, to a call.
    fn with_config(
        &self,
        call: impl FnOnce(*const sys::wrt_linux_cgroup_config) -> Result<()>,
    ) -> Result<()> {
        let name = text_for_c(&self.name)?;
        let parent = self.parent.as_deref().map(text_for_c).transpose()?;
        let root = self.root.as_deref().map(text_for_c).transpose()?;
        // SAFETY: zero is a valid value of every field (integers, null pointers, false).
        let mut config: sys::wrt_linux_cgroup_config = unsafe { mem::zeroed() };
        config.struct_size = size_of::<sys::wrt_linux_cgroup_config>() as u32;
        config.controllers = self.controllers.0;
        config.name = name.as_ptr();
        config.parent = parent.as_ref().map_or(ptr::null(), |text| text.as_ptr());
        config.root = root.as_ref().map_or(ptr::null(), |text| text.as_ptr());
        config.take_existing = self.take_existing;
        config.move_to_leaf = self.move_to_leaf;
        call(&raw const config)
    }

    /// Adds to an error the group that is in the way.
    fn explain(&self, result: Result<()>) -> Result<()> {
        result.map_err(|error| {
            let about_controllers = error.reason.to_bytes().ends_with(b"steps below the mount")
                || error.reason.to_string_lossy().contains("steps below the mount");
            match self.plan() {
                Ok(plan) if about_controllers && !plan.blocker.is_empty() => {
                    error.with_note(alloc::format!("in the way is {}", plan.blocker))
                }
                _ => error,
            }
        })
    }
}

fn text_for_c(text: &str) -> Result<CString> {
    let refused = Error::invalid_argument(c"CgroupBuilder", c"a text has a NUL in it");
    CString::new(text).map_err(|_| refused)
}

fn text_of(bytes: &[core::ffi::c_char]) -> String {
    // SAFETY: C closes each of them with a NUL within its size.
    unsafe { CStr::from_ptr(bytes.as_ptr()) }.to_string_lossy().into_owned()
}

fn read_io(device: &str, settings: &str) -> Result<IoLimit> {
    let (device, settings) = (text_for_c(device)?, text_for_c(settings)?);
    // SAFETY: zero is a valid value of every field.
    let mut io: IoLimit = unsafe { mem::zeroed() };
    // SAFETY: all pointers are live for the call.
    check(unsafe {
        sys::wrt_linux_cgroup_io_parse(device.as_ptr(), settings.as_ptr(), &raw mut io)
    })?;
    Ok(io)
}

fn zeroed_limits() -> sys::wrt_linux_cgroup_limits {
    // SAFETY: zero is a valid value of every field (integers, null pointer, false).
    unsafe { mem::zeroed() }
}

fn limits_of(raw: &sys::wrt_linux_cgroup_limits) -> ResourceLimits<'static> {
    let set = |number: u64| (number != 0).then_some(number);
    ResourceLimits {
        memory_max: set(raw.memory_max),
        memory_high: set(raw.memory_high),
        cpu_max: set(raw.cpu_quota_us).map(|quota| (quota, raw.cpu_period_us)),
        cpu_weight: (raw.cpu_weight != 0).then_some(raw.cpu_weight),
        io_max: None,
        pids_max: (raw.pids_max != 0).then_some(raw.pids_max),
        memory_swap_max: raw.has_memory_swap_max.then_some(raw.memory_swap_max),
        kill_together: raw.kill_together,
    }
}

pub(crate) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
