//! Linear memory from QNX: reserved at once, never moved. Mirrors `wrt_platform/qnx/memory.h`.
//!
//! ```
//! use wrt_platform::{PageAllocator, QnxAllocatorBuilder, QnxProtFlags};
//!
//! let allocator = QnxAllocatorBuilder::new()
//!     .with_maximum_pages(256)
//!     .with_guard_pages(true)
//!     .with_data_protection(QnxProtFlags::ReadWrite)
//!     .build()?;
//! let mut pages = allocator.allocate(64, Some(256))?;
//! pages.memory_mut()[..5].copy_from_slice(b"hello");
//! # Ok::<(), wrt_platform::Error>(())
//! ```

use core::{cell::UnsafeCell, mem, ptr};

use wrt_platform_sys as sys;

use super::partition::{Choice, QnxMemoryPartition};
use crate::enforcement::Enforcement;
use crate::error::{Result, check};
use crate::page_allocator::{PageAllocator, VerificationLevel};

/// What may be done with pages that have just become accessible.
///
/// Only `ReadWrite` lets Rust look at them: with the others, [`Pages::memory`] may be used for what
/// [`Pages::protect`] has made readable, and nothing else.
///
/// [`Pages::memory`]: crate::Pages::memory
/// [`Pages::protect`]: crate::Pages::protect
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u32)]
pub enum QnxProtFlags {
    /// Nothing.
    None = sys::WRT_QNX_PROTECTION_NONE,
    /// Reading.
    Read = sys::WRT_QNX_PROTECTION_READ,
    /// Reading and writing.
    #[default]
    ReadWrite = sys::WRT_QNX_PROTECTION_READ_WRITE,
}

/// What is out, and what holds of what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct QnxAllocatorReport {
    /// Out now.
    pub allocation_count: u32,
    /// Pages accessible now, summed over all allocations.
    pub page_count: u32,
    /// The most pages that ever were.
    pub peak_pages: u32,
    /// Of address space, now, guards and canaries included.
    pub reserved_bytes: u64,
    /// Pages without access round the memory.
    pub guard_pages: Enforcement,
    /// Known words beside the memory.
    pub canaries: Enforcement,
    /// That accessible pages have their memory.
    pub commitment: Enforcement,
    /// That what is accessible is charged.
    pub partition: Enforcement,
    /// That other partitions can't reach the pages.
    pub isolation: Enforcement,
}

/// Serves any number of allocations at a time. `Send`, not `Sync`; it may be moved, but not while
/// pages are out, because they borrow it.
pub struct QnxAllocator {
    raw: UnsafeCell<sys::wrt_qnx_allocator>,
    partition: Option<QnxMemoryPartition>, // C borrows it
}

// SAFETY: the C allocator is plain memory, tied to no thread; its mappings are the process's.
unsafe impl Send for QnxAllocator {}

impl QnxAllocator {
    /// What is out, and what holds of what was asked for.
    pub fn report(&self) -> Result<QnxAllocatorReport> {
        // SAFETY: zero is a valid value of every field (integers and null pointers).
        let mut raw: sys::wrt_qnx_allocator_report = unsafe { mem::zeroed() };
        // SAFETY: both pointers are live; not being `Sync`, no other call is inside.
        check(unsafe { sys::wrt_qnx_allocator_query(self.raw.get(), &raw mut raw) })?;
        Ok(QnxAllocatorReport {
            allocation_count: raw.allocation_count,
            page_count: raw.page_count,
            peak_pages: raw.peak_pages,
            reserved_bytes: raw.reserved_bytes,
            guard_pages: Enforcement::from_raw(&raw.guard_pages),
            canaries: Enforcement::from_raw(&raw.canaries),
            commitment: Enforcement::from_raw(&raw.commitment),
            partition: Enforcement::from_raw(&raw.partition),
            isolation: Enforcement::from_raw(&raw.isolation),
        })
    }
}

// SAFETY: it is an allocator of the C library; pages that are out borrow `self`, so it stays at
// its place.
unsafe impl PageAllocator for QnxAllocator {
    fn interface(&self) -> sys::wrt_page_allocator {
        // SAFETY: `raw` is initialised.
        unsafe { sys::wrt_qnx_allocator_interface(self.raw.get()) }
    }

    fn maximum_pages(&self) -> u32 {
        // SAFETY: `raw` is initialised, and no call is inside.
        unsafe { (*self.raw.get()).reserve.maximum_pages }
    }
}

impl Drop for QnxAllocator {
    fn drop(&mut self) {
        // SAFETY: `raw` is initialised. STATE, if pages were forgotten: their mappings stay.
        let status = unsafe { sys::wrt_qnx_allocator_deinit(self.raw.get()) };
        if status != sys::WRT_OK as i32 {
            mem::forget(self.partition.take()); // they are charged to it
        }
    }
}

/// Collects settings; the rules of qnx/memory.h are checked by [`build`](Self::build).
#[must_use]
pub struct QnxAllocatorBuilder {
    config: sys::wrt_qnx_allocator_config,
    choice: Choice,
}

impl QnxAllocatorBuilder {
    /// Starts with no guard pages, at most 65536 pages an allocation, in the current partition.
    pub fn new() -> Self {
        // SAFETY: zero is a valid value of every field (integers, null pointer, false).
        let mut config: sys::wrt_qnx_allocator_config = unsafe { mem::zeroed() };
        config.struct_size = size_of::<sys::wrt_qnx_allocator_config>() as u32;
        Self { config, choice: Choice::Current }
    }

    /// One allocation reserves no more pages than this; 0: 65536, 4 GiB.
    pub fn with_maximum_pages(mut self, pages: u32) -> Self {
        self.config.maximum_pages = pages;
        self
    }

    /// How much is checked; without guard pages, `Sampling` and `Full` keep canaries.
    pub fn with_verification_level(mut self, level: VerificationLevel) -> Self {
        self.config.verification_level = level as u32;
        self
    }

    /// `Sampling` checks one call in so many; 0: 16.
    pub fn with_sampling_interval(mut self, calls: u32) -> Self {
        self.config.sampling_interval = calls;
        self
    }

    /// Keeps pages without access before the memory and behind what is reserved.
    pub fn with_guard_pages(mut self, enabled: bool) -> Self {
        self.config.guard_pages = enabled;
        self
    }

    /// Size of each guard in bytes: whole pages of the system, at most 4 GiB; 0: 64 KiB.
    pub fn with_guard_bytes(mut self, size: u64) -> Self {
        self.config.guard_bytes = size;
        self
    }

    /// What may be done with pages that have just become accessible.
    pub fn with_data_protection(mut self, protection: QnxProtFlags) -> Self {
        self.config.data_protection = protection as u32;
        self
    }

    /// Takes memory when it is first touched, instead of at once: a shortage ends the process
    /// then, and is no error.
    pub fn with_lazy(mut self, enabled: bool) -> Self {
        self.config.lazy = enabled;
        self
    }

    /// Charges this partition instead of the current one.
    pub fn with_partition(mut self, partition: &QnxMemoryPartition) -> Self {
        self.choice = Choice::Given(Some(partition.clone()));
        self
    }

    /// Charges no partition, whatever is current.
    pub fn without_partition(mut self) -> Self {
        self.choice = Choice::Given(None);
        self
    }

    /// Makes the allocator, or says which rule is broken.
    pub fn build(self) -> Result<QnxAllocator> {
        let mut config = self.config;
        let partition = self.choice.partition();
        config.partition = partition.as_ref().map_or(ptr::null_mut(), QnxMemoryPartition::raw);
        // SAFETY: zero is a valid value of every field (integers, null pointer, false).
        let mut raw = unsafe { mem::zeroed() };
        // SAFETY: both pointers are live, and the partition is kept.
        check(unsafe { sys::wrt_qnx_allocator_init(&raw mut raw, &raw const config) })?;
        Ok(QnxAllocator { raw: UnsafeCell::new(raw), partition })
    }
}

impl Default for QnxAllocatorBuilder {
    fn default() -> Self {
        Self::new()
    }
}
