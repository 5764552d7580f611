//! Static memory: a page allocator over one buffer. Mirrors `wrt_platform/static_memory.h`.
//!
//! ```
//! use wrt_platform::{PageAllocator, StaticAllocatorBuilder};
//!
//! let mut heap = vec![0; 256 * 1024];
//! let allocator = StaticAllocatorBuilder::new()
//!     .with_buffer(&mut heap)
//!     .with_alignment(16)
//!     .with_guard_regions(true) // where there is hardware for it; the report says whether
//!     .build()?;
//! let mut pages = allocator.allocate(1, Some(2))?;
//! pages.memory_mut()[..5].copy_from_slice(b"hello");
//! pages.grow(1)?;
//! assert_eq!(pages.memory().len(), 2 * 65536);
//! # Ok::<(), wrt_platform::Error>(())
//! ```

use core::{cell::UnsafeCell, marker::PhantomData, mem};

use wrt_platform_sys as sys;

use crate::Layout;
use crate::enforcement::Enforcement;
use crate::error::{Result, check};
use crate::page_allocator::{PageAllocator, VerificationLevel};

/// Regions without access round the memory, by a memory protection unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum GuardRegions {
    /// None.
    Off = sys::WRT_GUARD_REGIONS_OFF,
    /// Where there is hardware for it; `true` means this.
    Preferred = sys::WRT_GUARD_REGIONS_PREFERRED,
    /// Or `build` fails.
    Required = sys::WRT_GUARD_REGIONS_REQUIRED,
}

impl From<bool> for GuardRegions {
    fn from(enabled: bool) -> Self {
        if enabled { Self::Preferred } else { Self::Off }
    }
}

/// What there is, what is out, and what protects it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct StaticAllocatorReport {
    /// Pages that the buffer and the settings grant.
    pub maximum_pages: u32,
    /// Out now: 0 or 1.
    pub allocation_count: u32,
    /// Pages accessible now.
    pub page_count: u32,
    /// The most pages that ever were.
    pub peak_pages: u32,
    /// Regions without access round the memory.
    pub guard_regions: Enforcement,
    /// Known words beside the memory.
    pub canaries: Enforcement,
}

/// Serves one allocation at a time from its buffer. `Send`, not `Sync`; it may be moved, but not
/// while pages are out, because they borrow it.
pub struct StaticAllocator<'buffer> {
    raw: UnsafeCell<sys::wrt_static_allocator>,
    buffer: PhantomData<&'buffer mut [u8]>,
}

// SAFETY: the C allocator is plain memory, tied to no thread; its buffer is borrowed exclusively.
unsafe impl Send for StaticAllocator<'_> {}

impl StaticAllocator<'_> {
    /// What there is, what is out, and what protects it.
    pub fn report(&self) -> Result<StaticAllocatorReport> {
        // SAFETY: zero is a valid value of every field (integers and null pointers).
        let mut raw: sys::wrt_static_allocator_report = unsafe { mem::zeroed() };
        // SAFETY: both pointers are live; not being `Sync`, no other call is inside.
        check(unsafe { sys::wrt_static_allocator_query(self.raw.get(), &raw mut raw) })?;
        Ok(StaticAllocatorReport {
            maximum_pages: raw.maximum_pages,
            allocation_count: raw.allocation_count,
            page_count: raw.page_count,
            peak_pages: raw.peak_pages,
            guard_regions: Enforcement::from_raw(&raw.guard_regions),
            canaries: Enforcement::from_raw(&raw.canaries),
        })
    }
}

// SAFETY: it is an allocator of the C library, over a buffer that nobody else uses; pages that
// are out borrow `self`, so it stays at its place.
unsafe impl PageAllocator for StaticAllocator<'_> {
    fn interface(&self) -> sys::wrt_page_allocator {
        // SAFETY: `raw` is initialised.
        unsafe { sys::wrt_static_allocator_interface(self.raw.get()) }
    }

    fn maximum_pages(&self) -> u32 {
        self.report().map_or(0, |report| report.maximum_pages)
    }
}

impl Drop for StaticAllocator<'_> {
    fn drop(&mut self) {
        // SAFETY: `raw` is initialised. STATE, if pages were forgotten: C keeps nothing to free.
        let _ = unsafe { sys::wrt_static_allocator_deinit(self.raw.get()) };
    }
}

/// Collects settings; the rules of static_memory.h are checked by [`build`](Self::build).
#[must_use]
pub struct StaticAllocatorBuilder<'buffer> {
    config: sys::wrt_static_allocator_config,
    buffer: PhantomData<&'buffer mut [u8]>,
}

impl<'buffer> StaticAllocatorBuilder<'buffer> {
    /// Starts with no buffer.
    pub const fn new() -> Self {
        // SAFETY: zero is a valid value of every field (integers and null pointers).
        let mut config: sys::wrt_static_allocator_config = unsafe { mem::zeroed() };
        config.struct_size = size_of::<sys::wrt_static_allocator_config>() as u32;
        Self { config, buffer: PhantomData }
    }

    /// An allocation reserves no more pages than this; 0: what the buffer holds.
    pub const fn with_maximum_pages(mut self, pages: u32) -> Self {
        self.config.maximum_pages = pages;
        self
    }

    /// How much is checked; `Sampling` and `Full` lay canaries round the memory.
    pub const fn with_verification_level(mut self, level: VerificationLevel) -> Self {
        self.config.verification_level = level as u32;
        self
    }

    /// `Sampling` checks one call in so many; 0: 16.
    pub const fn with_sampling_interval(mut self, calls: u32) -> Self {
        self.config.sampling_interval = calls;
        self
    }

    /// Asks for regions without access round the memory: `true` where there is hardware for it,
    /// [`GuardRegions::Required`] or not at all.
    pub fn with_guard_regions(mut self, regions: impl Into<GuardRegions>) -> Self {
        self.config.guard_regions = regions.into() as u32;
        self
    }

    /// Of the memory's first byte: bytes, a power of two, 8 to 1 MiB; 0: 16.
    pub const fn with_alignment(mut self, alignment: usize) -> Self {
        self.config.alignment = alignment;
        self
    }

    /// Serves pages from `buffer`, of any alignment; bytes up to the first aligned one are lost.
    pub const fn with_buffer(mut self, buffer: &'buffer mut [u8]) -> Self {
        self.config.buffer_size = buffer.len();
        self.config.buffer = buffer.as_mut_ptr().cast();
        self
    }

    /// What buffer `maximum_pages` need; one of that alignment loses no byte.
    pub fn layout(&self) -> Result<Layout> {
        let mut layout = Layout { bytes: 0, alignment: 0 };
        // SAFETY: both pointers are live for the call.
        check(unsafe {
            sys::wrt_static_allocator_layout(&raw const self.config, &raw mut layout)
        })?;
        Ok(layout)
    }

    /// Makes the allocator, or says which rule is broken.
    pub fn build(self) -> Result<StaticAllocator<'buffer>> {
        // SAFETY: zero is a valid value of every field (integers and null pointers).
        let mut raw = unsafe { mem::zeroed() };
        // SAFETY: both pointers are live; the buffer stays borrowed as long as the allocator.
        check(unsafe { sys::wrt_static_allocator_init(&raw mut raw, &raw const self.config) })?;
        Ok(StaticAllocator { raw: UnsafeCell::new(raw), buffer: PhantomData })
    }
}

impl Default for StaticAllocatorBuilder<'_> {
    fn default() -> Self {
        Self::new()
    }
}
