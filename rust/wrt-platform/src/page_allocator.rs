//! Page allocators: where linear memory comes from. Mirrors `wrt_platform/page_allocator.h`.

use core::{marker::PhantomData, mem, ops::BitOr, slice};

use wrt_platform_sys as sys;

use crate::error::{Result, check};

/// Bytes of a page of WebAssembly.
pub const PAGE_SIZE: usize = sys::WRT_PAGE_SIZE as usize;

/// How much an allocator checks of what it is handed back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u32)]
pub enum VerificationLevel {
    /// Nothing.
    Off = sys::WRT_VERIFICATION_OFF,
    /// What `Full` checks, on one call in each sampling interval.
    Sampling = sys::WRT_VERIFICATION_SAMPLING,
    /// The handle, on every call.
    #[default]
    Standard = sys::WRT_VERIFICATION_STANDARD,
    /// The handle, and the canaries round the memory.
    Full = sys::WRT_VERIFICATION_FULL,
}

/// What may be done with a range of pages: `Protection::READ | Protection::WRITE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Protection(u32);

impl Protection {
    /// Nothing at all.
    pub const NONE: Self = Self(sys::WRT_PROTECTION_NONE);
    /// Reading.
    pub const READ: Self = Self(sys::WRT_PROTECTION_READ);
    /// Writing; implies reading on systems that cannot tell them apart.
    pub const WRITE: Self = Self(sys::WRT_PROTECTION_WRITE);
}

impl BitOr for Protection {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// What all page allocators can do.
///
/// # Safety
/// What `interface` returns works as page_allocator.h has it, for as long as `self` is borrowed:
/// its memory is disjoint from all other memory, zeroed, and stays at its place.
pub unsafe trait PageAllocator {
    /// The allocator as C takes it; valid while `self` is neither moved nor dropped.
    fn interface(&self) -> sys::wrt_page_allocator;

    /// Pages of 64 KiB that one allocation may reserve.
    fn maximum_pages(&self) -> u32;

    /// Reserves `maximum_pages` (`None`: as many as the allocator grants), and makes the first
    /// `initial_pages` accessible, zero. `Limit` beyond the allocator's own maximum, `NoMemory`
    /// if the system refuses, `Busy` from an allocator that serves one at a time.
    fn allocate(&self, initial_pages: u32, maximum_pages: Option<u32>) -> Result<Pages<'_>> {
        let maximum = maximum_pages.unwrap_or_else(|| self.maximum_pages());
        let interface = self.interface();
        // SAFETY: zero is a valid value of every field (integers and null pointers).
        let mut raw = unsafe { mem::zeroed() };
        // SAFETY: both pointers are live; the trait's own rules make `interface` work.
        check(unsafe {
            sys::wrt_page_allocator_allocate(
                &raw const interface,
                initial_pages,
                maximum,
                &raw mut raw,
            )
        })?;
        Ok(Pages { raw, interface, allocator: PhantomData })
    }
}

/// Linear memory on loan; goes back to its allocator when dropped.
///
/// It may be moved. Its allocator may not be, meanwhile:
///
/// ```compile_fail,E0505
/// use wrt_platform::{PageAllocator, StaticAllocatorBuilder};
///
/// let mut heap = [0; 100_000];
/// let allocator = StaticAllocatorBuilder::new().with_buffer(&mut heap).build().unwrap();
/// let pages = allocator.allocate(1, None).unwrap();
/// drop(allocator);
/// pages.memory();
/// ```
pub struct Pages<'allocator> {
    raw: sys::wrt_pages,
    interface: sys::wrt_page_allocator,
    allocator: PhantomData<&'allocator ()>,
}

impl Pages<'_> {
    /// The accessible bytes.
    pub fn memory(&self) -> &[u8] {
        // SAFETY: the allocator gave these bytes, initialised, to this owner alone; `grow` and
        // `release` borrow exclusively.
        unsafe { slice::from_raw_parts(self.raw.base, self.size()) }
    }

    /// The accessible bytes, to be written.
    pub fn memory_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `memory`.
        unsafe { slice::from_raw_parts_mut(self.raw.base, self.size()) }
    }

    /// Bytes that are accessible.
    pub const fn size(&self) -> usize {
        self.raw.page_count as usize * PAGE_SIZE
    }

    #[cfg(target_os = "linux")]
    pub(crate) const fn raw(&self) -> &sys::wrt_pages {
        &self.raw
    }

    /// Pages of 64 KiB that are accessible.
    pub const fn page_count(&self) -> u32 {
        self.raw.page_count
    }

    /// Pages of 64 KiB that are reserved.
    pub const fn maximum_pages(&self) -> u32 {
        self.raw.maximum_pages
    }

    /// Adds pages, zero, at the end; the memory stays where it is. `Limit` beyond the reservation,
    /// `NoMemory` if the system refuses; nothing has changed then.
    pub fn grow(&mut self, additional_pages: u32) -> Result<()> {
        // SAFETY: both pointers are live, and the pages are of this allocator.
        check(unsafe {
            sys::wrt_page_allocator_grow(
                &raw const self.interface,
                &raw mut self.raw,
                additional_pages,
            )
        })
    }

    /// Sets what may be done with `size` bytes from `offset`, whole pages of the system.
    ///
    /// # Safety
    /// Until access is given back, nobody may make a slice that reaches into a range which can't
    /// be read, nor a mutable one into a range which can't be written: touching it ends the
    /// process.
    pub unsafe fn protect(
        &mut self,
        offset: usize,
        size: usize,
        protection: Protection,
    ) -> Result<()> {
        // SAFETY: as in `grow`.
        check(unsafe {
            sys::wrt_page_allocator_protect(
                &raw const self.interface,
                &raw mut self.raw,
                offset,
                size,
                protection.0,
            )
        })
    }

    /// Gives the pages back, and says what verification has found. Dropping does the same in
    /// silence: what C refuses to take back then stays where it is.
    pub fn release(mut self) -> Result<()> {
        self.give_back()
    }

    fn give_back(&mut self) -> Result<()> {
        // SAFETY: as in `grow`; after success the handle is zero, and again is harmless.
        check(unsafe {
            sys::wrt_page_allocator_deallocate(&raw const self.interface, &raw mut self.raw)
        })
    }
}

impl Drop for Pages<'_> {
    fn drop(&mut self) {
        let _ = self.give_back();
    }
}
