//! Slots of linear memory that are kept from one tenant to the next, so that an instance starts
//! without asking the kernel for memory. Mirrors `wrt_platform/linux/slot_pool.h`.
//!
//! ```
//! use wrt_platform::{PageAllocator, linux::slot_pool::LinuxSlotPoolBuilder};
//!
//! let pool = LinuxSlotPoolBuilder::new().with_slot_count(4).with_maximum_pages(256).build()?;
//! let mut pages = pool.allocate(1, None)?;
//! pages.memory_mut()[..5].copy_from_slice(b"hello");
//! drop(pages);
//! let pages = pool.allocate(1, None)?; // the same slot, clean
//! assert_eq!(pages.memory()[..5], [0; 5]);
//! # Ok::<(), wrt_platform::Error>(())
//! ```

use core::{cell::UnsafeCell, marker::PhantomData, mem};

use wrt_platform_sys as sys;

use crate::enforcement::Enforcement;
use crate::error::{Result, check};
use crate::page_allocator::{PageAllocator, VerificationLevel};

/// What is out, what the pool has done, and what holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SlotPoolReport {
    /// Slots there are.
    pub slot_count: u32,
    /// Out now.
    pub allocation_count: u32,
    /// Pages accessible now, summed over all that are out.
    pub page_count: u32,
    /// The most pages that ever were.
    pub peak_pages: u32,
    /// Of address space, by the whole pool.
    pub reserved_bytes: u64,
    /// Written by tenants and cleaned in place, so far.
    pub cleaned_bytes: u64,
    /// Given back to the kernel, so far.
    pub dropped_bytes: u64,
    /// Partial: fewer than were asked for.
    pub slots: Enforcement,
    /// Partial: each page that is kept is compared.
    pub cleaning: Enforcement,
}

/// Serves as many allocations at a time as it has slots; `Busy` says that all are out. `Send`, not
/// `Sync`; it may be moved, but not while pages are out. A forked child can't use it.
pub struct SlotPool {
    raw: UnsafeCell<sys::wrt_linux_slot_pool>,
}

// SAFETY: the C pool is plain memory, tied to no thread; its mappings are the process's.
unsafe impl Send for SlotPool {}

impl SlotPool {
    /// What is out, what the pool has done, and what holds.
    pub fn report(&self) -> Result<SlotPoolReport> {
        // SAFETY: zero is a valid value of every field (integers and null pointers).
        let mut raw: sys::wrt_linux_slot_pool_report = unsafe { mem::zeroed() };
        // SAFETY: both pointers are live; not being `Sync`, no other call is inside.
        check(unsafe { sys::wrt_linux_slot_pool_query(self.raw.get(), &raw mut raw) })?;
        Ok(SlotPoolReport {
            slot_count: raw.slot_count,
            allocation_count: raw.allocation_count,
            page_count: raw.page_count,
            peak_pages: raw.peak_pages,
            reserved_bytes: raw.reserved_bytes,
            cleaned_bytes: raw.cleaned_bytes,
            dropped_bytes: raw.dropped_bytes,
            slots: Enforcement::from_raw(&raw.slots),
            cleaning: Enforcement::from_raw(&raw.cleaning),
        })
    }
}

// SAFETY: it is an allocator of the C library; pages that are out borrow `self`, so it stays at
// its place. (With an image new memory holds that instead of zeros: initialised all the same.)
unsafe impl PageAllocator for SlotPool {
    fn interface(&self) -> sys::wrt_page_allocator {
        // SAFETY: `raw` is initialised.
        unsafe { sys::wrt_linux_slot_pool_interface(self.raw.get()) }
    }

    fn maximum_pages(&self) -> u32 {
        // SAFETY: `raw` is initialised, and no call is inside.
        unsafe { (*self.raw.get()).reserve.maximum_pages }
    }
}

impl Drop for SlotPool {
    fn drop(&mut self) {
        // SAFETY: `raw` is initialised. STATE, if pages were forgotten: their mappings stay.
        let _ = unsafe { sys::wrt_linux_slot_pool_deinit(self.raw.get()) };
    }
}

/// Collects settings; the rules of linux/slot_pool.h are checked by [`build`](Self::build).
#[must_use]
pub struct LinuxSlotPoolBuilder<'image> {
    config: sys::wrt_linux_slot_pool_config,
    image: PhantomData<&'image [u8]>,
}

/// As the documents call it.
pub type SlotPoolBuilder<'image> = LinuxSlotPoolBuilder<'image>;

impl<'image> LinuxSlotPoolBuilder<'image> {
    /// Starts with 64 slots of up to 4096 pages, of each of which 1 MiB stays in RAM.
    pub const fn new() -> Self {
        // SAFETY: zero is a valid value of every field (integers and null pointers).
        let mut config: sys::wrt_linux_slot_pool_config = unsafe { mem::zeroed() };
        config.struct_size = size_of::<sys::wrt_linux_slot_pool_config>() as u32;
        Self { config, image: PhantomData }
    }

    /// How many slots, up to 65536; fewer where addresses are short, see the report; 0: 64.
    pub const fn with_slot_count(mut self, count: u32) -> Self {
        self.config.slot_count = count;
        self
    }

    /// Each slot has room for this many pages; 0: 4096, 256 MiB.
    pub const fn with_maximum_pages(mut self, pages: u32) -> Self {
        self.config.maximum_pages = pages;
        self
    }

    /// How much is checked of what comes back.
    pub const fn with_verification_level(mut self, level: VerificationLevel) -> Self {
        self.config.verification_level = level as u32;
        self
    }

    /// `Sampling` checks one call in so many; 0: 16.
    pub const fn with_sampling_interval(mut self, calls: u32) -> Self {
        self.config.sampling_interval = calls;
        self
    }

    /// Between two slots, in bytes: whole pages of the system, at most 4 GiB; 0: 64 KiB.
    pub const fn with_guard_bytes(mut self, size: u64) -> Self {
        self.config.guard_bytes = size;
        self
    }

    /// So many bytes of each slot stay in RAM, in whole pages of the system; 0: 1 MiB.
    pub const fn with_keep_bytes(mut self, size: u64) -> Self {
        self.config.keep_bytes = size;
        self
    }

    /// Each memory begins with these bytes, copied by `build`, in place of zeros.
    pub const fn with_image(mut self, image: &'image [u8]) -> Self {
        self.config.image = image.as_ptr();
        self.config.image_size = image.len();
        self
    }

    /// Makes the pool, or says which rule is broken.
    pub fn build(self) -> Result<SlotPool> {
        // SAFETY: zero is a valid value of every field (integers and null pointers).
        let mut raw = unsafe { mem::zeroed() };
        // SAFETY: both pointers are live, and C copies the image, which is borrowed until here.
        check(unsafe { sys::wrt_linux_slot_pool_init(&raw mut raw, &raw const self.config) })?;
        Ok(SlotPool { raw: UnsafeCell::new(raw) })
    }
}

impl Default for LinuxSlotPoolBuilder<'_> {
    fn default() -> Self {
        Self::new()
    }
}
