//! Linear memory from Linux: reserved at once, never moved. Mirrors
//! `wrt_platform/linux/memory.h`.
//!
//! ```
//! use wrt_platform::{PageAllocator, linux::memory::LinuxAllocatorBuilder};
//!
//! let allocator = LinuxAllocatorBuilder::new()
//!     .with_maximum_pages(4096)
//!     .with_guard_pages(true)
//!     .with_name("wasm_heap")
//!     .build()?;
//! let mut pages = allocator.allocate(1, None)?;
//! pages.grow(15)?;
//! pages.memory_mut()[..5].copy_from_slice(b"hello");
//! println!("{}", allocator.report()?.name);
//! # Ok::<(), wrt_platform::Error>(())
//! ```

use core::{cell::UnsafeCell, mem};

use wrt_platform_sys as sys;

use crate::enforcement::Enforcement;
use crate::error::{Result, check};
use crate::page_allocator::{PageAllocator, VerificationLevel};

const NAME_SIZE: usize = sys::WRT_LINUX_NAME_SIZE as usize; // the closing NUL included

/// What carries the name that `/proc/<pid>/maps` shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NameSource {
    /// No name was asked for, or the system takes none.
    None,
    /// The mapping itself: `[anon:name]`.
    Anon,
    /// A file in memory: `/memfd:name (deleted)`; forked children share it.
    Memfd,
}

/// What is out, and what holds of what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinuxAllocatorReport {
    /// Out now.
    pub allocation_count: u32,
    /// Pages accessible now, summed over all allocations.
    pub page_count: u32,
    /// The most pages that ever were.
    pub peak_pages: u32,
    /// What carries the name.
    pub name_source: NameSource,
    /// Of address space, now, guards and canaries included.
    pub reserved_bytes: u64,
    /// Pages without access round the memory.
    pub guard_pages: Enforcement,
    /// Known words beside the memory.
    pub canaries: Enforcement,
    /// Memory at once for what is accessible.
    pub populate: Enforcement,
    /// Staying in RAM.
    pub mlock: Enforcement,
    /// A name in `/proc/<pid>/maps`.
    pub name: Enforcement,
}

/// Serves any number of allocations at a time. `Send`, not `Sync`; it may be moved, but not while
/// pages are out, because they borrow it. A forked child can't use it.
pub struct LinuxAllocator {
    raw: UnsafeCell<sys::wrt_linux_allocator>,
}

// SAFETY: the C allocator is plain memory, tied to no thread; its mappings are the process's.
unsafe impl Send for LinuxAllocator {}

impl LinuxAllocator {
    /// What is out, and what holds of what was asked for.
    pub fn report(&self) -> Result<LinuxAllocatorReport> {
        // SAFETY: zero is a valid value of every field (integers and null pointers).
        let mut raw: sys::wrt_linux_allocator_report = unsafe { mem::zeroed() };
        // SAFETY: both pointers are live; not being `Sync`, no other call is inside.
        check(unsafe { sys::wrt_linux_allocator_query(self.raw.get(), &raw mut raw) })?;
        Ok(LinuxAllocatorReport {
            allocation_count: raw.allocation_count,
            page_count: raw.page_count,
            peak_pages: raw.peak_pages,
            name_source: match raw.name_source {
                sys::WRT_LINUX_NAME_ANON => NameSource::Anon,
                sys::WRT_LINUX_NAME_MEMFD => NameSource::Memfd,
                _ => NameSource::None,
            },
            reserved_bytes: raw.reserved_bytes,
            guard_pages: Enforcement::from_raw(&raw.guard_pages),
            canaries: Enforcement::from_raw(&raw.canaries),
            populate: Enforcement::from_raw(&raw.populate),
            mlock: Enforcement::from_raw(&raw.mlock),
            name: Enforcement::from_raw(&raw.name),
        })
    }
}

// SAFETY: it is an allocator of the C library; pages that are out borrow `self`, so it stays at
// its place.
unsafe impl PageAllocator for LinuxAllocator {
    fn interface(&self) -> sys::wrt_page_allocator {
        // SAFETY: `raw` is initialised.
        unsafe { sys::wrt_linux_allocator_interface(self.raw.get()) }
    }

    fn maximum_pages(&self) -> u32 {
        // SAFETY: `raw` is initialised, and no call is inside.
        unsafe { (*self.raw.get()).reserve.maximum_pages }
    }
}

impl Drop for LinuxAllocator {
    fn drop(&mut self) {
        // SAFETY: `raw` is initialised. STATE, if pages were forgotten: their mappings stay.
        let _ = unsafe { sys::wrt_linux_allocator_deinit(self.raw.get()) };
    }
}

/// Collects settings; the rules of linux/memory.h are checked by [`build`](Self::build).
#[must_use]
pub struct LinuxAllocatorBuilder {
    config: sys::wrt_linux_allocator_config,
    name: Option<Name>,
}

/// A name as C takes it. One byte more than C accepts, so that C itself refuses a longer one.
type Name = [u8; NAME_SIZE + 1];

impl LinuxAllocatorBuilder {
    /// Starts with no guard pages, at most 65536 pages an allocation.
    pub const fn new() -> Self {
        // SAFETY: zero is a valid value of every field (integers, null pointer, false).
        let mut config: sys::wrt_linux_allocator_config = unsafe { mem::zeroed() };
        config.struct_size = size_of::<sys::wrt_linux_allocator_config>() as u32;
        Self { config, name: None }
    }

    /// One allocation reserves no more pages than this; 0: 65536, 4 GiB.
    pub const fn with_maximum_pages(mut self, pages: u32) -> Self {
        self.config.maximum_pages = pages;
        self
    }

    /// How much is checked; without guard pages, `Sampling` and `Full` keep canaries.
    pub const fn with_verification_level(mut self, level: VerificationLevel) -> Self {
        self.config.verification_level = level as u32;
        self
    }

    /// `Sampling` checks one call in so many; 0: 16.
    pub const fn with_sampling_interval(mut self, calls: u32) -> Self {
        self.config.sampling_interval = calls;
        self
    }

    /// Keeps pages without access before the memory and behind what is reserved.
    pub const fn with_guard_pages(mut self, enabled: bool) -> Self {
        self.config.guard_pages = enabled;
        self
    }

    /// Size of each guard in bytes: whole pages of the system, at most 4 GiB; 0: 64 KiB.
    pub const fn with_guard_bytes(mut self, size: u64) -> Self {
        self.config.guard_bytes = size;
        self
    }

    /// Gives accessible pages their memory at once; a shortage is an error.
    pub const fn with_populate(mut self, enabled: bool) -> Self {
        self.config.populate = enabled;
        self
    }

    /// Keeps accessible pages in RAM; `NoMemory` or `Permission` where RLIMIT_MEMLOCK forbids it.
    pub const fn with_mlock(mut self, enabled: bool) -> Self {
        self.config.mlock = enabled;
        self
    }

    /// Shows in `/proc/<pid>/maps` as far as the system can; the report says how. 1 to 79
    /// printable ASCII characters without `[ ] \ $` and the backtick.
    pub fn with_name(mut self, name: &str) -> Self {
        let mut text = [0; NAME_SIZE + 1];
        for (to, from) in text[..NAME_SIZE].iter_mut().zip(name.bytes()) {
            *to = if from == 0 { b'\n' } else { from }; // C refuses both, but would stop at 0
        }
        self.name = Some(text);
        self
    }

    /// Makes the allocator, or says which rule is broken.
    pub fn build(self) -> Result<LinuxAllocator> {
        let mut config = self.config;
        config.name = self.name.as_ref().map_or(core::ptr::null(), |name| name.as_ptr().cast());
        // SAFETY: zero is a valid value of every field (integers, null pointer, false).
        let mut raw = unsafe { mem::zeroed() };
        // SAFETY: both pointers are live, and C copies the name.
        check(unsafe { sys::wrt_linux_allocator_init(&raw mut raw, &raw const config) })?;
        Ok(LinuxAllocator { raw: UnsafeCell::new(raw) })
    }
}

impl Default for LinuxAllocatorBuilder {
    fn default() -> Self {
        Self::new()
    }
}
