//! Memory partitions: who may use how much, and who can reach whose. Mirrors
//! `wrt_platform/qnx/partition.h`.
//!
//! ```
//! use wrt_platform::{PageAllocator, QnxAllocatorBuilder, QnxMemoryPartitionBuilder};
//!
//! let tenant = QnxMemoryPartitionBuilder::new()
//!     .with_name("tenant1")
//!     .with_memory_size(4 << 20, 16 << 20, 1 << 20)
//!     .build()?;
//! let allocator = tenant.with_partition(|| QnxAllocatorBuilder::new().build())?;
//! let pages = allocator.allocate(1, Some(4))?;
//! assert_eq!(tenant.report()?.used_bytes, 65536);
//! # Ok::<(), wrt_platform::Error>(())
//! ```
//!
//! The current partition is the thread's, which needs the feature `std`; without it, allocators
//! are given their partition by `with_partition` of their builders, and guards of the level
//! `Address` don't nest.

use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::{
    cell::UnsafeCell,
    ffi::{CStr, c_char},
    marker::PhantomData,
    mem,
    ops::BitOr,
    ptr,
};

use wrt_platform_sys as sys;

use crate::enforcement::Enforcement;
use crate::error::{Result, check};

const NAME_SIZE: usize = sys::WRT_QNX_PARTITION_NAME_SIZE as usize; // the closing NUL included

/// What a partition is to be: `MemoryIsolation | Terminal`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct QnxPartitionFlags(u32);

#[expect(non_upper_case_globals, reason = "the documents' names")]
impl QnxPartitionFlags {
    /// Nobody else reaches its memory: needs the level `Address` or `Process`, or
    /// `with_allow_accounting_only`.
    pub const MemoryIsolation: Self = Self(sys::WRT_QNX_PARTITION_MEMORY_ISOLATION);
    /// For other partitions: it has no memory of its own.
    pub const Container: Self = Self(sys::WRT_QNX_PARTITION_CONTAINER);
    /// There can be no partition below it.
    pub const Terminal: Self = Self(sys::WRT_QNX_PARTITION_TERMINAL);

    /// Whether all of `other` is in here.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for QnxPartitionFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// How far a partition's memory is apart from everybody else's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u32)]
pub enum QnxIsolation {
    /// That of the parent; `Accounting` without one.
    #[default]
    Default = sys::WRT_QNX_ISOLATION_DEFAULT,
    /// Memory is counted and limited.
    Accounting = sys::WRT_QNX_ISOLATION_ACCOUNTING,
    /// The same, and the pages of all others are out of reach while one is entered.
    Address = sys::WRT_QNX_ISOLATION_ADDRESS,
    /// For spawned processes.
    Process = sys::WRT_QNX_ISOLATION_PROCESS,
}

/// Who counts, and stops what is too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum QnxPartitionKeeper {
    /// This library, and each spawned process's RLIMIT_AS.
    Library,
    /// QNX's partition module.
    System,
}

/// What a partition has, uses, and holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct QnxMemoryPartitionReport {
    /// Now, promises to the partitions below among them.
    pub used_bytes: u64,
    /// The most that ever were.
    pub peak_bytes: u64,
    /// Promised.
    pub minimum_bytes: u64,
    /// `None`: no limit of its own.
    pub maximum_bytes: Option<u64>,
    /// Of those promised, left for small blocks.
    pub reserved_bytes: u64,
    /// Never `Default`.
    pub level: QnxIsolation,
    /// Who counts.
    pub keeper: QnxPartitionKeeper,
    /// As they were set.
    pub flags: QnxPartitionFlags,
    /// Allocators made with it and not yet ended.
    pub allocator_count: u32,
    /// Partitions right below.
    pub child_count: u32,
    /// Spawned into it and not yet detached.
    pub process_count: u32,
    /// Entered and not yet left.
    pub entered_count: u32,
    /// What keeps others off its memory.
    pub isolation: Enforcement,
    /// What holds the limit.
    pub maximum: Enforcement,
    /// What holds the promise.
    pub minimum: Enforcement,
}

/// A partition as C has it, at a place that does not change.
struct Inner {
    raw: Box<UnsafeCell<sys::wrt_qnx_partition>>,
    _parent: Option<Arc<Inner>>, // C borrows it
}

// SAFETY: partition.h lets any thread call; ending needs the last owner, which `drop` is.
unsafe impl Send for Inner {}
// SAFETY: as above.
unsafe impl Sync for Inner {}

impl Drop for Inner {
    fn drop(&mut self) {
        // SAFETY: `raw` is initialised, and nobody else refers to it.
        if unsafe { sys::wrt_qnx_partition_deinit(self.raw.get()) } != sys::WRT_OK as i32 {
            // Processes are left in it: C goes on knowing it, and what is above it.
            let kept = mem::replace(&mut self.raw, Box::new(UnsafeCell::new(zeroed())));
            Box::leak(kept);
            mem::forget(self._parent.take());
        }
    }
}

fn zeroed<T>() -> T
where
    T: Plain,
{
    // SAFETY: `Plain` says that zero is a valid value.
    unsafe { mem::zeroed() }
}

/// # Safety
/// Zero is a valid value of every field (integers, false, null pointers).
unsafe trait Plain {}
// SAFETY: structs of C, of integers and pointers.
unsafe impl Plain for sys::wrt_qnx_partition {}
// SAFETY: as above.
unsafe impl Plain for sys::wrt_qnx_partition_token {}
// SAFETY: as above.
unsafe impl Plain for sys::wrt_qnx_partition_config {}
// SAFETY: as above.
unsafe impl Plain for sys::wrt_qnx_partition_report {}
// SAFETY: as above.
unsafe impl Plain for sys::wrt_qnx_program {}

/// Made by [`QnxMemoryPartitionBuilder`]. Clones are the same partition; it ends with the last of
/// them, of its allocators, and of the partitions below it.
#[derive(Clone)]
pub struct QnxMemoryPartition {
    inner: Arc<Inner>,
}

impl QnxMemoryPartition {
    /// The documents' way to start a builder.
    #[expect(clippy::new_ret_no_self, reason = "the documents call the builder by this name")]
    pub fn new() -> QnxMemoryPartitionBuilder {
        QnxMemoryPartitionBuilder::new()
    }

    pub(crate) fn raw(&self) -> *mut sys::wrt_qnx_partition {
        self.inner.raw.get()
    }

    /// What it has, uses and holds, and how far its promises go.
    pub fn report(&self) -> Result<QnxMemoryPartitionReport> {
        let mut raw: sys::wrt_qnx_partition_report = zeroed();
        // SAFETY: both pointers are live.
        check(unsafe { sys::wrt_qnx_partition_query(self.raw(), &raw mut raw) })?;
        Ok(QnxMemoryPartitionReport {
            used_bytes: raw.used_bytes,
            peak_bytes: raw.peak_bytes,
            minimum_bytes: raw.minimum_bytes,
            maximum_bytes: (raw.maximum_bytes != u64::MAX).then_some(raw.maximum_bytes),
            reserved_bytes: raw.reserved_bytes,
            level: match raw.level {
                sys::WRT_QNX_ISOLATION_ADDRESS => QnxIsolation::Address,
                sys::WRT_QNX_ISOLATION_PROCESS => QnxIsolation::Process,
                _ => QnxIsolation::Accounting,
            },
            keeper: match raw.keeper {
                sys::WRT_QNX_KEEPER_SYSTEM => QnxPartitionKeeper::System,
                _ => QnxPartitionKeeper::Library,
            },
            flags: QnxPartitionFlags(raw.flags),
            allocator_count: raw.allocator_count,
            child_count: raw.child_count,
            process_count: raw.process_count,
            entered_count: raw.entered_count,
            isolation: Enforcement::from_raw(&raw.isolation),
            maximum: Enforcement::from_raw(&raw.maximum),
            minimum: Enforcement::from_raw(&raw.minimum),
        })
    }

    /// Does `work` inside of the partition and returns what it returns; the earlier partition is
    /// back afterwards, also when `work` panics.
    pub fn with_partition<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let guard = PartitionGuard::new(self)?;
        let result = work();
        guard.leave()?;
        result
    }

    /// Starts a program that is limited from its first instruction on; returns its process id, for
    /// [`detach`](Self::detach). `arguments` begin with the program's own name; `environment`
    /// `None` is this process's own. `memory_bytes` 0: all that is left of the partition.
    pub fn spawn(
        &self,
        path: &CStr,
        arguments: &[&CStr],
        environment: Option<&[&CStr]>,
        memory_bytes: u64,
    ) -> Result<i32> {
        let arguments = pointers(arguments);
        let environment = environment.map(pointers);
        let mut program: sys::wrt_qnx_program = zeroed();
        program.struct_size = size_of::<sys::wrt_qnx_program>() as u32;
        program.path = path.as_ptr();
        program.arguments = arguments.as_ptr();
        program.environment = environment.as_ref().map_or(ptr::null(), |list| list.as_ptr());
        program.memory_bytes = memory_bytes;
        let mut process_id = 0;
        // SAFETY: all pointers are live, and both lists end in null.
        check(unsafe {
            sys::wrt_qnx_partition_spawn(self.raw(), &raw const program, &raw mut process_id)
        })?;
        Ok(process_id)
    }

    /// `Unsupported`: QNX associates a process when it is spawned; see [`spawn`](Self::spawn).
    pub fn attach_process(&self, process_id: i32) -> Result<()> {
        // SAFETY: the pointer is live.
        check(unsafe { sys::wrt_qnx_partition_attach_process(self.raw(), process_id) })
    }

    /// Takes a process that has ended off the partition. Returns its exit code, or minus the
    /// number of the signal that ended it. `Busy` while it runs, `NotFound` if it was not spawned
    /// into this partition.
    pub fn detach(&self, process_id: i32) -> Result<i32> {
        let mut status = 0;
        // SAFETY: both pointers are live.
        check(unsafe { sys::wrt_qnx_partition_detach(self.raw(), process_id, &raw mut status) })?;
        let signal = status & 0x7F;
        Ok(if signal == 0 { status >> 8 } else { -signal })
    }
}

fn pointers(texts: &[&CStr]) -> Vec<*const c_char> {
    texts.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect()
}

/// An entered partition, until it is left. It lies in a box, since C refers to its token.
struct Frame {
    token: UnsafeCell<sys::wrt_qnx_partition_token>,
    partition: QnxMemoryPartition,
    outer: *mut Frame,
    is_abandoned: bool, // its guard is gone, but what was entered inside is not left yet
}

#[cfg(feature = "std")]
mod current {
    use super::Frame;
    use core::cell::Cell;

    std::thread_local! {
        static CURRENT: Cell<*mut Frame> = const { Cell::new(core::ptr::null_mut()) };
    }

    /// The frame that was entered last on this thread; null: none.
    pub fn get() -> *mut Frame {
        CURRENT.try_with(Cell::get).unwrap_or(core::ptr::null_mut())
    }

    pub fn set(frame: *mut Frame) {
        let _ = CURRENT.try_with(|current| current.set(frame));
    }
}

#[cfg(not(feature = "std"))]
mod current {
    use super::Frame;

    pub fn get() -> *mut Frame {
        core::ptr::null_mut()
    }

    pub fn set(_: *mut Frame) {}
}

/// The partition that this thread has entered last, which allocators are charged to unless their
/// builder says otherwise. `None` also without the feature `std`.
pub fn current_partition() -> Option<QnxMemoryPartition> {
    let frame = current::get();
    // SAFETY: the current frame is alive, and no other thread's.
    (!frame.is_null()).then(|| unsafe { (*frame).partition.clone() })
}

/// Enters a partition, and leaves it when it is dropped, also by a panic.
///
/// It stays on its thread:
///
/// ```compile_fail,E0277
/// use wrt_platform::{PartitionGuard, QnxMemoryPartitionBuilder};
///
/// let tenant = QnxMemoryPartitionBuilder::new().build().unwrap();
/// let guard = PartitionGuard::new(&tenant).unwrap();
/// std::thread::spawn(move || drop(guard));
/// ```
#[must_use = "the partition is left when the guard is dropped"]
pub struct PartitionGuard {
    frame: *mut Frame, // null: left
    not_send: PhantomData<*const ()>,
}

impl PartitionGuard {
    /// Enters `partition`. `Busy` at the level `Address` if another thread has entered one of this
    /// level, `Unsupported` at the level `Process`.
    pub fn new(partition: &QnxMemoryPartition) -> Result<Self> {
        let outer = current::get();
        let frame = Box::into_raw(Box::new(Frame {
            token: UnsafeCell::new(zeroed()),
            partition: partition.clone(),
            outer,
            is_abandoned: false,
        }));
        // SAFETY: the outer frame is alive; the new one stays at its place until it is left.
        let entered = check(unsafe {
            let outer = if outer.is_null() { ptr::null_mut() } else { (*outer).token.get() };
            sys::wrt_qnx_partition_enter(partition.raw(), outer, (*frame).token.get())
        });
        if let Err(error) = entered {
            // SAFETY: nobody else has heard of it.
            drop(unsafe { Box::from_raw(frame) });
            return Err(error);
        }
        current::set(frame);
        Ok(Self { frame, not_send: PhantomData })
    }

    /// Leaves the partition, and says what is wrong: `State` if what was entered inside is not left
    /// yet. It is left then when that is.
    pub fn leave(mut self) -> Result<()> {
        self.give_up()
    }

    fn give_up(&mut self) -> Result<()> {
        let frame = mem::replace(&mut self.frame, ptr::null_mut());
        if frame.is_null() {
            return Ok(());
        }
        // SAFETY: the frame is alive until it is left, and this thread's.
        if let Err(error) = unsafe { leave(frame) } {
            // SAFETY: as above.
            unsafe { (*frame).is_abandoned = true };
            return Err(error);
        }
        // SAFETY: what has waited for this one is left as well, from the inside out.
        while let waiting = current::get()
            && !waiting.is_null()
            && unsafe { (*waiting).is_abandoned && leave(waiting).is_ok() }
        {}
        Ok(())
    }
}

/// # Safety
/// `frame` is alive and of this thread; it is gone after `Ok`.
unsafe fn leave(frame: *mut Frame) -> Result<()> {
    // SAFETY: the caller's promise.
    unsafe {
        check(sys::wrt_qnx_partition_leave((*frame).token.get()))?;
        current::set((*frame).outer);
        drop(Box::from_raw(frame));
    }
    Ok(())
}

impl Drop for PartitionGuard {
    fn drop(&mut self) {
        let _ = self.give_up();
    }
}

/// What a builder of an allocator says of partitions.
pub(super) enum Choice {
    Current,
    Given(Option<QnxMemoryPartition>),
}

impl Choice {
    pub(super) fn partition(self) -> Option<QnxMemoryPartition> {
        match self {
            Self::Current => current_partition(),
            Self::Given(partition) => partition,
        }
    }
}

/// Collects settings; the rules of qnx/partition.h are checked by [`build`](Self::build).
#[must_use]
pub struct QnxMemoryPartitionBuilder {
    config: sys::wrt_qnx_partition_config,
    name: Option<Name>,
    parent: Option<QnxMemoryPartition>,
}

/// A name as C takes it. One byte more than C accepts, so that C itself refuses a longer one.
type Name = [u8; NAME_SIZE + 1];

impl QnxMemoryPartitionBuilder {
    /// Starts with no name, no limit, no promise.
    pub fn new() -> Self {
        let mut config: sys::wrt_qnx_partition_config = zeroed();
        config.struct_size = size_of::<sys::wrt_qnx_partition_config>() as u32;
        Self { config, name: None, parent: None }
    }

    /// 1 to 31 letters, digits, `_ - .` and no `.` first.
    pub fn with_name(mut self, name: &str) -> Self {
        let mut text = [0; NAME_SIZE + 1];
        for (to, from) in text[..NAME_SIZE].iter_mut().zip(name.bytes()) {
            *to = if from == 0 { b'\n' } else { from }; // C refuses both, but would stop at 0
        }
        self.name = Some(text);
        self
    }

    /// `MemoryIsolation` needs [`with_isolation`](Self::with_isolation), or
    /// [`with_allow_accounting_only`](Self::with_allow_accounting_only).
    pub fn with_flags(mut self, flags: QnxPartitionFlags) -> Self {
        self.config.flags = flags.0;
        self
    }

    /// How far its memory is apart from everybody else's.
    pub fn with_isolation(mut self, level: QnxIsolation) -> Self {
        self.config.isolation = level as u32;
        self
    }

    /// Bytes: what is promised, what is never exceeded (0: no limit), and what of the promise is
    /// left for small blocks.
    pub fn with_memory_size(mut self, minimum: u64, maximum: u64, reserved: u64) -> Self {
        self.config.minimum_bytes = minimum;
        self.config.maximum_bytes = maximum;
        self.config.reserved_bytes = reserved;
        self
    }

    /// What this one uses, its parent uses as well.
    pub fn with_parent(mut self, parent: &QnxMemoryPartition) -> Self {
        self.parent = Some(parent.clone());
        self
    }

    /// Takes `MemoryIsolation` without isolation; the report says that it is absent.
    pub fn with_allow_accounting_only(mut self, allow: bool) -> Self {
        self.config.allow_accounting_only = allow;
        self
    }

    /// Makes the partition. `Unsupported` for isolation that can't be had, `NoMemory` if the parent
    /// has not as much as is to be promised.
    pub fn build(self) -> Result<QnxMemoryPartition> {
        let mut config = self.config;
        config.name = self.name.as_ref().map_or(ptr::null(), |name| name.as_ptr().cast());
        config.parent = self.parent.as_ref().map_or(ptr::null_mut(), QnxMemoryPartition::raw);
        let raw = Box::new(UnsafeCell::new(zeroed()));
        // SAFETY: all pointers are live; C copies the name, and the parent is kept.
        check(unsafe { sys::wrt_qnx_partition_init(raw.get(), &raw const config) })?;
        let parent = self.parent.map(|parent| parent.inner);
        Ok(QnxMemoryPartition { inner: Arc::new(Inner { raw, _parent: parent }) })
    }
}

impl Default for QnxMemoryPartitionBuilder {
    fn default() -> Self {
        Self::new()
    }
}
