//! Linear memories of their own, to be imported. Mirrors a part of `wrt_platform/instance.h`.

use core::{ffi::CStr, marker::PhantomData, mem, slice};

use wrt_platform_sys as sys;

use crate::error::{Result, check};
use crate::import::Import;
use crate::page_allocator::PageAllocator;

/// A linear memory. Its first byte never moves, but a view ends before it grows:
///
/// ```compile_fail,E0502
/// fn grow(memory: &mut wrt_platform::Memory<'_>) {
///     let view = memory.data();
///     memory.grow(1).unwrap();
///     assert_eq!(view[0], 0);
/// }
/// ```
pub struct Memory<'a> {
    raw: sys::wrt_memory,
    allocator: PhantomData<&'a mut (dyn PageAllocator + Send)>,
}

// SAFETY: plain memory, tied to no thread; its allocator is borrowed exclusively and is `Send`.
unsafe impl Send for Memory<'_> {}

/// Collects settings; the rules of instance.h are checked by [`build`](Self::build).
#[must_use]
pub struct MemoryBuilder<'a> {
    config: sys::wrt_memory_config,
    allocator: PhantomData<&'a mut (dyn PageAllocator + Send)>,
}

impl<'a> MemoryBuilder<'a> {
    /// Starts with no page, and no declared maximum.
    pub const fn new() -> Self {
        // SAFETY: zero is a valid value of every field (integers, null pointers).
        let mut config: sys::wrt_memory_config = unsafe { mem::zeroed() };
        config.struct_size = size_of::<sys::wrt_memory_config>() as u32;
        config.declared_maximum = u32::MAX;
        Self { config, allocator: PhantomData }
    }

    /// Pages that are there from the start.
    pub const fn with_initial_pages(mut self, pages: u32) -> Self {
        self.config.initial_pages = pages;
        self
    }

    /// Pages of the memory's type, which a module's import is compared with.
    pub const fn with_declared_maximum(mut self, pages: u32) -> Self {
        self.config.declared_maximum = pages;
        self
    }

    /// Pages that are reserved; growth beyond is refused. 0: the declared maximum, at most 4096.
    pub const fn with_maximum_pages(mut self, pages: u32) -> Self {
        self.config.maximum_pages = pages;
        self
    }

    /// Where the pages come from.
    pub fn with_allocator(mut self, allocator: &'a mut (dyn PageAllocator + Send)) -> Self {
        self.config.allocator = allocator.interface();
        self
    }

    /// Takes the pages.
    pub fn build(self) -> Result<Memory<'a>> {
        // SAFETY: zero is a valid value of every field (integers, null pointers).
        let mut raw = unsafe { mem::zeroed() };
        // SAFETY: both pointers are live; the allocator stays borrowed.
        check(unsafe { sys::wrt_memory_init(&raw mut raw, &raw const self.config) })?;
        Ok(Memory { raw, allocator: PhantomData })
    }
}

impl Default for MemoryBuilder<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> Memory<'a> {
    /// Starts a builder.
    pub const fn builder() -> MemoryBuilder<'a> {
        MemoryBuilder::new()
    }

    /// The accessible bytes.
    pub const fn data(&self) -> &[u8] {
        if self.raw.bytes == 0 {
            return &[];
        }
        // SAFETY: C says where they are; all of them are initialised; no guest runs meanwhile.
        unsafe { slice::from_raw_parts(self.raw.base, self.raw.bytes as usize) }
    }

    /// The accessible bytes, to be written.
    pub const fn data_mut(&mut self) -> &mut [u8] {
        if self.raw.bytes == 0 {
            return &mut [];
        }
        // SAFETY: as in `data`.
        unsafe { slice::from_raw_parts_mut(self.raw.base, self.raw.bytes as usize) }
    }

    /// Pages that are accessible.
    pub const fn page_count(&self) -> u32 {
        self.raw.page_count
    }

    /// The most pages that ever were.
    pub const fn peak_pages(&self) -> u32 {
        self.raw.peak_pages
    }

    /// Grows as `memory.grow` does; returns the pages that there were before.
    pub fn grow(&mut self, additional_pages: u32) -> Result<u32> {
        // SAFETY: initialised by `build`.
        unsafe { grow(&raw mut self.raw, additional_pages) }
    }

    /// Lends the memory to an instance, for
    /// [`with_imports`](crate::InstanceBuilder::with_imports).
    pub fn import<'i>(&'i mut self, module: &'i CStr, name: &'i CStr) -> Import<'i> {
        // SAFETY: the borrow is exclusive.
        unsafe { Import::new(module, name, self.bind()) }
    }

    /// What C imports. The memory must stay at this address for as long as C has it.
    pub(crate) fn bind(&mut self) -> sys::wrt_extern {
        let of = sys::wrt_extern__bindgen_ty_1 { memory: &raw mut self.raw };
        sys::wrt_extern { kind: sys::WRT_EXTERN_MEMORY, reserved: 0, of }
    }
}

impl Drop for Memory<'_> {
    fn drop(&mut self) {
        // SAFETY: initialised by `build`; an instance that uses it would borrow or own it.
        let status = unsafe { sys::wrt_memory_deinit(&raw mut self.raw) };
        debug_assert_eq!(status, 0, "the memory's pages are those that it got");
    }
}

/// # Safety
/// The memory is initialised, and nobody looks at it.
pub(crate) unsafe fn grow(memory: *mut sys::wrt_memory, additional_pages: u32) -> Result<u32> {
    let mut before = 0;
    // SAFETY: the caller's promise.
    check(unsafe { sys::wrt_memory_grow(memory, additional_pages, &raw mut before) })?;
    Ok(before)
}
