//! Memory whose pointers carry a tag that the processor checks at each access: the Memory Tagging
//! Extension of 64-bit Arm. Mirrors `wrt_platform/linux/mte.h`.
//!
//! ```
//! use wrt_platform::linux::mte::{LinuxArm64MteAllocator, LinuxArm64MteAllocatorBuilder, MteMode};
//!
//! let builder = LinuxArm64MteAllocatorBuilder::new().with_mte_mode(MteMode::Synchronous);
//! if LinuxArm64MteAllocator::is_available() {
//!     let allocator = builder.build()?;
//!     let (pointer, size) = allocator.allocate_tagged(16, 0xA)?;
//!     assert_eq!((pointer.tag(), size), (0xA, 16));
//!     // SAFETY: the block is this program's own, and its tag is right.
//!     unsafe { pointer.as_ptr().write(42) };
//!     allocator.free(pointer)?;
//! } else {
//!     println!("{}", builder.build().err().unwrap()); // why
//! }
//! # Ok::<(), wrt_platform::Error>(())
//! ```

use alloc::boxed::Box;
use core::{cell::UnsafeCell, ffi::c_void, mem, ptr};

use wrt_platform_sys as sys;

use crate::error::{Result, check};

/// When a wrong tag is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u32)]
pub enum MteMode {
    /// At the access.
    #[default]
    Synchronous = sys::WRT_LINUX_MTE_SYNCHRONOUS,
    /// Soon after it.
    Asynchronous = sys::WRT_LINUX_MTE_ASYNCHRONOUS,
    /// Of loads at once, of stores soon after.
    Asymmetric = sys::WRT_LINUX_MTE_ASYMMETRIC,
}

/// A pointer with a tag in bits 56 to 59.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TaggedPointer(*mut u8);

// SAFETY: it is an address; to access it is unsafe.
unsafe impl Send for TaggedPointer {}
// SAFETY: as above.
unsafe impl Sync for TaggedPointer {}

impl TaggedPointer {
    /// The pointer, with its tag.
    pub const fn as_ptr(self) -> *mut u8 {
        self.0
    }

    /// The tag, 0 to 15.
    pub fn tag(self) -> u8 {
        // SAFETY: the pointer is looked at, not followed.
        unsafe { sys::wrt_linux_mte_tag_of(self.0.cast()) as u8 }
    }

    /// The same address with another tag, of which the lowest four bits count.
    pub fn with_tag(self, tag: u8) -> Self {
        // SAFETY: as in `tag`.
        Self(unsafe { sys::wrt_linux_mte_with_tag(self.0.cast(), tag.into()) }.cast())
    }
}

/// What is out, and what holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MteReport {
    /// Blocks that are out.
    pub allocation_count: u32,
    /// When a wrong tag is noticed.
    pub mte_mode: MteMode,
    /// Bit i: tag i may be drawn.
    pub tag_mask: u32,
    /// Of the calling thread, bit i: mode i is on; 0: it has to `enter`.
    pub thread_mode: u32,
    /// In blocks that are out.
    pub used_bytes: u64,
    /// In all.
    pub capacity_bytes: u64,
}

/// Gives out tagged blocks; made by [`LinuxArm64MteAllocatorBuilder`]. They end with it, where it
/// was not leaked. `Send`, not `Sync`; a thread that was there before has to [`enter`](Self::enter).
pub struct LinuxArm64MteAllocator {
    raw: Box<UnsafeCell<sys::wrt_linux_mte_allocator>>,
}

// SAFETY: the C allocator is plain memory, tied to no thread; its mappings are the process's.
unsafe impl Send for LinuxArm64MteAllocator {}

impl LinuxArm64MteAllocator {
    /// Whether this processor and this kernel have tagged memory.
    pub fn is_available() -> bool {
        // SAFETY: it takes nothing.
        check(unsafe { sys::wrt_linux_mte_is_available() }).is_ok()
    }

    /// Switches checking on for the calling thread, and those that it makes from now on.
    pub fn enter(&self) -> Result<()> {
        // SAFETY: `raw` is initialised, at its place.
        check(unsafe { sys::wrt_linux_mte_allocator_enter(self.raw.get()) })
    }

    /// A block of `size` bytes, zero, with a tag that is drawn from the mask, and its size rounded
    /// up to 16. `NoMemory` if no free part is large enough.
    pub fn allocate(&self, size: usize) -> Result<(TaggedPointer, usize)> {
        let (mut pointer, mut got): (*mut c_void, usize) = (ptr::null_mut(), 0);
        // SAFETY: all pointers are live; not being `Sync`, no other call is inside.
        check(unsafe {
            let (pointer, got) = (&raw mut pointer, &raw mut got);
            sys::wrt_linux_mte_allocator_allocate(self.raw.get(), size, pointer, got)
        })?;
        Ok((TaggedPointer(pointer.cast()), got))
    }

    /// The same with this tag, 0 to 15, whatever the mask.
    pub fn allocate_tagged(&self, size: usize, tag: u8) -> Result<(TaggedPointer, usize)> {
        let (mut pointer, mut got): (*mut c_void, usize) = (ptr::null_mut(), 0);
        // SAFETY: as in `allocate`.
        check(unsafe {
            let (pointer, got, tag) = (&raw mut pointer, &raw mut got, tag.into());
            sys::wrt_linux_mte_allocator_allocate_tagged(self.raw.get(), size, tag, pointer, got)
        })?;
        Ok((TaggedPointer(pointer.cast()), got))
    }

    /// Takes a block back, and gives its memory another tag: what still points there faults.
    /// `State` if it was freed before, `InvalidArgument` if no block begins there.
    pub fn free(&self, pointer: TaggedPointer) -> Result<()> {
        // SAFETY: `raw` is initialised; C looks whether the pointer is one of its own.
        check(unsafe { sys::wrt_linux_mte_allocator_free(self.raw.get(), pointer.0.cast()) })
    }

    /// The tag that the memory has there.
    pub fn tag_at(&self, pointer: TaggedPointer) -> Result<u8> {
        let mut tag = 0;
        // SAFETY: as in `free`; the other pointer is live.
        check(unsafe {
            sys::wrt_linux_mte_allocator_tag_at(self.raw.get(), pointer.0.cast(), &raw mut tag)
        })?;
        Ok(tag as u8)
    }

    /// What is out, and what holds.
    pub fn report(&self) -> Result<MteReport> {
        // SAFETY: zero is a valid value of every field.
        let mut raw: sys::wrt_linux_mte_allocator_report = unsafe { mem::zeroed() };
        // SAFETY: both pointers are live.
        check(unsafe { sys::wrt_linux_mte_allocator_query(self.raw.get(), &raw mut raw) })?;
        Ok(MteReport {
            allocation_count: raw.allocation_count,
            mte_mode: match raw.mte_mode {
                sys::WRT_LINUX_MTE_ASYNCHRONOUS => MteMode::Asynchronous,
                sys::WRT_LINUX_MTE_ASYMMETRIC => MteMode::Asymmetric,
                _ => MteMode::Synchronous,
            },
            tag_mask: raw.tag_mask,
            thread_mode: raw.thread_mode,
            used_bytes: raw.used_bytes,
            capacity_bytes: raw.capacity_bytes,
        })
    }
}

impl Drop for LinuxArm64MteAllocator {
    fn drop(&mut self) {
        // SAFETY: `raw` is initialised. STATE, if blocks are out: their mapping stays.
        let _ = unsafe { sys::wrt_linux_mte_allocator_deinit(self.raw.get()) };
    }
}

/// Collects settings; the rules of linux/mte.h are checked by [`build`](Self::build).
#[must_use]
#[derive(Clone, Copy)]
pub struct LinuxArm64MteAllocatorBuilder {
    config: sys::wrt_linux_mte_allocator_config,
}

impl LinuxArm64MteAllocatorBuilder {
    /// Starts with 64 MiB, tags 1 to 15, checked at the access.
    pub const fn new() -> Self {
        // SAFETY: zero is a valid value of every field.
        let mut config: sys::wrt_linux_mte_allocator_config = unsafe { mem::zeroed() };
        config.struct_size = size_of::<sys::wrt_linux_mte_allocator_config>() as u32;
        Self { config }
    }

    /// Pages of 64 KiB that its blocks lie in, up to 65536; 0: 1024.
    pub const fn with_maximum_pages(mut self, pages: u32) -> Self {
        self.config.maximum_pages = pages;
        self
    }

    /// When a wrong tag is noticed.
    pub const fn with_mte_mode(mut self, mode: MteMode) -> Self {
        self.config.mte_mode = mode as u32;
        self
    }

    /// Bit i: tag i may be drawn. There are 16, so 0xFF are tags 0 to 7; 0: all but tag 0.
    pub const fn with_tag_mask(mut self, mask: u32) -> Self {
        self.config.tag_mask = mask;
        self
    }

    /// `free` refuses a pointer whose tag is not that of the memory.
    pub const fn with_tag_check_on_free(mut self, enabled: bool) -> Self {
        self.config.tag_check_on_free = enabled;
        self
    }

    /// Makes the allocator, and enters the calling thread. `Unsupported` where there is no tagged
    /// memory.
    pub fn build(self) -> Result<LinuxArm64MteAllocator> {
        // SAFETY: zero is a valid value of every field.
        let raw = Box::new(UnsafeCell::new(unsafe { mem::zeroed() }));
        // SAFETY: both pointers are live.
        check(unsafe { sys::wrt_linux_mte_allocator_init(raw.get(), &raw const self.config) })?;
        Ok(LinuxArm64MteAllocator { raw })
    }
}

impl Default for LinuxArm64MteAllocatorBuilder {
    fn default() -> Self {
        Self::new()
    }
}
