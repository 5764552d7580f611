//! Which pages of a memory have been written since a mark: what a snapshot that follows another has
//! to save. Mirrors `wrt_platform/linux/write_tracker.h`.
//!
//! ```
//! use wrt_platform::linux::write_tracker::WriteTrackerBuilder;
//! use wrt_platform::{LinuxAllocatorBuilder, PageAllocator};
//!
//! let allocator = LinuxAllocatorBuilder::new().with_maximum_pages(16).build()?;
//! let mut pages = allocator.allocate(4, None)?;
//! let mut tracker = WriteTrackerBuilder::new().with_pages(&mut pages).build()?;
//! tracker.memory_mut()[70_000] = 1;
//! let written = tracker.take()?;
//! assert_eq!(written.runs().map(|run| run.start).collect::<Vec<_>>(), [69_632]);
//! # Ok::<(), wrt_platform::Error>(())
//! ```

use alloc::{boxed::Box, vec, vec::Vec};
use core::{cell::UnsafeCell, marker::PhantomData, mem, ops::Range, ptr};

use wrt_platform_sys as sys;

use super::lazy_memory::LazyMemory;
use crate::enforcement::Enforcement;
use crate::error::{Result, check};
use crate::page_allocator::Pages;

/// By what it is known which pages were written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u32)]
pub enum TrackingMethod {
    /// The first of those below that this system has.
    #[default]
    Default = sys::WRT_LINUX_TRACKING_DEFAULT,
    /// The kernel notes each first write; Linux 6.7.
    Kernel = sys::WRT_LINUX_TRACKING_KERNEL,
    /// Soft-dirty bits, of which a process has one set.
    SoftDirty = sys::WRT_LINUX_TRACKING_SOFT_DIRTY,
    /// A copy, as large as the memory.
    Compare = sys::WRT_LINUX_TRACKING_COMPARE,
}

/// Pages of the system that were written, counted from the memory's start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenPages {
    /// Bytes of a page.
    pub page_bytes: usize,
    /// In ascending order.
    pub pages: Vec<usize>,
}

impl WrittenPages {
    /// Pages that lie side by side, as ranges of bytes.
    pub fn runs(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        let size = self.page_bytes;
        let groups = self.pages.chunk_by(|page, next| page + 1 == *next);
        groups.map(move |run| run[0] * size..(run[run.len() - 1] + 1) * size)
    }
}

/// What is known, and by what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct WriteTrackerReport {
    /// Never `Default`.
    pub method: TrackingMethod,
    /// Bytes of the system's page.
    pub page_bytes: u32,
    /// Pages of the system that the memory has now.
    pub page_count: u64,
    /// Partial: by soft-dirty bits, or a copy.
    pub tracking: Enforcement,
}

/// Knows which pages of a memory were written; made by [`WriteTrackerBuilder`]. Meanwhile the
/// memory is reached through it. A forked child can't use it.
pub struct WriteTracker<'pages, 'allocator> {
    raw: Box<UnsafeCell<sys::wrt_linux_write_tracker>>,
    pages: &'pages mut Pages<'allocator>,
}

impl WriteTracker<'_, '_> {
    /// The accessible bytes.
    pub fn memory(&self) -> &[u8] {
        self.pages.memory()
    }

    /// The accessible bytes, to be written.
    pub fn memory_mut(&mut self) -> &mut [u8] {
        self.pages.memory_mut()
    }

    /// As [`Pages::grow`].
    pub fn grow(&mut self, additional_pages: u32) -> Result<()> {
        self.pages.grow(additional_pages)
    }

    /// Forgets what was written so far.
    pub fn mark(&mut self) -> Result<()> {
        // SAFETY: the tracker is initialised, at its place; its pages are borrowed.
        check(unsafe { sys::wrt_linux_write_tracker_mark(self.raw.get()) })
    }

    /// What was written since the last mark, which stays.
    pub fn read(&mut self) -> Result<WrittenPages> {
        self.tell(sys::wrt_linux_write_tracker_read)
    }

    /// What was written since the last mark, and the next mark.
    pub fn take(&mut self) -> Result<WrittenPages> {
        self.tell(sys::wrt_linux_write_tracker_take)
    }

    /// What is known, and by what.
    pub fn report(&self) -> Result<WriteTrackerReport> {
        // SAFETY: zero is a valid value of every field.
        let mut raw: sys::wrt_linux_write_tracker_report = unsafe { mem::zeroed() };
        // SAFETY: both pointers are live, and not being `Sync`, no other call is inside.
        check(unsafe { sys::wrt_linux_write_tracker_query(self.raw.get(), &raw mut raw) })?;
        Ok(WriteTrackerReport {
            method: match raw.method {
                sys::WRT_LINUX_TRACKING_KERNEL => TrackingMethod::Kernel,
                sys::WRT_LINUX_TRACKING_SOFT_DIRTY => TrackingMethod::SoftDirty,
                _ => TrackingMethod::Compare,
            },
            page_bytes: raw.page_bytes,
            page_count: raw.page_count,
            tracking: Enforcement::from_raw(&raw.tracking),
        })
    }

    fn tell(&mut self, call: Tell) -> Result<WrittenPages> {
        let report = self.report()?;
        let mut words = vec![0u32; report.page_count.div_ceil(32) as usize + 1];
        let mut count = 0;
        // SAFETY: as in `mark`; there is room for all words.
        check(unsafe { call(self.raw.get(), words.as_mut_ptr(), words.len(), &raw mut count) })?;
        let bits = words.iter().enumerate().flat_map(|(place, word)| {
            (0..32).filter(move |bit| word >> bit & 1 != 0).map(move |bit| place * 32 + bit)
        });
        let mut pages = Vec::with_capacity(count as usize);
        pages.extend(bits);
        Ok(WrittenPages { page_bytes: report.page_bytes as usize, pages })
    }
}

type Tell = unsafe extern "C" fn(
    *mut sys::wrt_linux_write_tracker,
    *mut u32,
    usize,
    *mut u32,
) -> sys::wrt_status;

impl Drop for WriteTracker<'_, '_> {
    fn drop(&mut self) {
        // SAFETY: the tracker is initialised, and its pages are still there.
        let _ = unsafe { sys::wrt_linux_write_tracker_deinit(self.raw.get()) };
    }
}

/// Collects settings; the rules of linux/write_tracker.h are checked by [`build`](Self::build).
#[must_use]
pub struct WriteTrackerBuilder<'pages, 'allocator> {
    config: sys::wrt_linux_write_tracker_config,
    pages: Option<&'pages mut Pages<'allocator>>,
    lazy: PhantomData<&'pages LazyMemory>,
}

impl<'pages, 'allocator> WriteTrackerBuilder<'pages, 'allocator> {
    /// Starts with the best method that this system has.
    pub const fn new() -> Self {
        // SAFETY: zero is a valid value of every field (integers and null pointers).
        let mut config: sys::wrt_linux_write_tracker_config = unsafe { mem::zeroed() };
        config.struct_size = size_of::<sys::wrt_linux_write_tracker_config>() as u32;
        Self { config, pages: None, lazy: PhantomData }
    }

    /// The memory that is tracked.
    pub fn with_pages(mut self, pages: &'pages mut Pages<'allocator>) -> Self {
        self.pages = Some(pages);
        self
    }

    /// The lazy memory that the pages come from, if it is one: what is loaded does not count as
    /// written then.
    pub fn with_lazy_memory(mut self, lazy: &'pages LazyMemory) -> Self {
        self.config.lazy_memory = lazy.raw();
        self
    }

    /// By what it is to be known.
    pub const fn with_method(mut self, method: TrackingMethod) -> Self {
        self.config.method = method as u32;
        self
    }

    /// Begins to track, with a first mark. `Unsupported` where this system has not the method,
    /// `Busy` if another tracks the same pages, `InvalidArgument` without pages.
    pub fn build(mut self) -> Result<WriteTracker<'pages, 'allocator>> {
        self.config.pages = self.pages.as_ref().map_or(ptr::null(), |pages| pages.raw());
        // SAFETY: zero is a valid value of every field.
        let raw = Box::new(UnsafeCell::new(unsafe { mem::zeroed() }));
        // SAFETY: the pointers are live: what the config borrows is borrowed for 'pages, too.
        check(unsafe { sys::wrt_linux_write_tracker_init(raw.get(), &raw const self.config) })?;
        let pages = self.pages.expect("C refuses a tracker without pages");
        Ok(WriteTracker { raw, pages })
    }
}

impl Default for WriteTrackerBuilder<'_, '_> {
    fn default() -> Self {
        Self::new()
    }
}
