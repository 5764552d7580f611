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

use core::{cell::UnsafeCell, mem, ops::BitOr};

use wrt_platform_sys as sys;

use crate::enforcement::Enforcement;
use crate::error::{Result, check};
use crate::page_allocator::{PageAllocator, Pages, VerificationLevel};

pub use super::numa::{NumaMask, NumaNode, NumaPolicy};
#[cfg(feature = "alloc")]
pub use super::numa::{NumaTopology, detect_numa_topology};

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

// Flags are combined by `|`.
macro_rules! combine {
    ($name:ident) => {
        impl BitOr for $name {
            type Output = Self;

            fn bitor(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }
        }
    };
}

combine!(MmapFlags);
combine!(MadviseFlags);

/// How memory is mapped. None: private, without a claim on swap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct MmapFlags(u32);

impl MmapFlags {
    /// Forked children share it.
    pub const SHARED: Self = Self(sys::WRT_LINUX_MMAP_SHARED);
    /// No file behind it: always so, a name aside.
    pub const ANONYMOUS: Self = Self(sys::WRT_LINUX_MMAP_ANONYMOUS);
    /// No claim on swap; other flags alone make one.
    pub const NORESERVE: Self = Self(sys::WRT_LINUX_MMAP_NORESERVE);
    /// Used like a stack.
    pub const STACK: Self = Self(sys::WRT_LINUX_MMAP_STACK);
}

/// How memory is going to be used. None of them changes its contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct MadviseFlags(u32);

impl MadviseFlags {
    /// As usual.
    pub const NORMAL: Self = Self(sys::WRT_LINUX_ADVICE_NORMAL);
    /// In no order.
    pub const RANDOM: Self = Self(sys::WRT_LINUX_ADVICE_RANDOM);
    /// From the first byte to the last.
    pub const SEQUENTIAL: Self = Self(sys::WRT_LINUX_ADVICE_SEQUENTIAL);
    /// Soon.
    pub const WILLNEED: Self = Self(sys::WRT_LINUX_ADVICE_WILLNEED);
    /// Huge pages may take the place of small ones.
    pub const HUGEPAGE: Self = Self(sys::WRT_LINUX_ADVICE_HUGEPAGE);
    /// They may not.
    pub const NOHUGEPAGE: Self = Self(sys::WRT_LINUX_ADVICE_NOHUGEPAGE);
    /// Into huge pages, now; Linux 6.1.
    pub const COLLAPSE: Self = Self(sys::WRT_LINUX_ADVICE_COLLAPSE);
    /// The first to go when memory is short.
    pub const COLD: Self = Self(sys::WRT_LINUX_ADVICE_COLD);
    /// To swap, now.
    pub const PAGEOUT: Self = Self(sys::WRT_LINUX_ADVICE_PAGEOUT);
    /// Not in core dumps.
    pub const DONTDUMP: Self = Self(sys::WRT_LINUX_ADVICE_DONTDUMP);
    /// In core dumps.
    pub const DODUMP: Self = Self(sys::WRT_LINUX_ADVICE_DODUMP);
}

/// Whether the system may put huge pages in place of small ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u32)]
pub enum ThpMode {
    /// As the system has it.
    #[default]
    Default = sys::WRT_LINUX_THP_DEFAULT,
    /// Wherever it can.
    Always = sys::WRT_LINUX_THP_ALWAYS,
    /// Nowhere.
    Never = sys::WRT_LINUX_THP_NEVER,
}

/// What an allocation is made of, from small to large.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
#[repr(u32)]
pub enum PageKind {
    /// There was no allocation yet.
    #[default]
    None = sys::WRT_LINUX_PAGE_KIND_NONE,
    /// The system's own, 4 KiB on most.
    System = sys::WRT_LINUX_PAGE_KIND_SYSTEM,
    /// Huge ones where the system has them at hand.
    Transparent = sys::WRT_LINUX_PAGE_KIND_TRANSPARENT,
    /// From the pool of huge pages.
    Huge2Mib = sys::WRT_LINUX_PAGE_KIND_HUGE_2_MIB,
    /// From the pool of the largest.
    Huge1Gib = sys::WRT_LINUX_PAGE_KIND_HUGE_1_GIB,
}

impl PageKind {
    const fn from_raw(raw: u32) -> Self {
        match raw {
            sys::WRT_LINUX_PAGE_KIND_SYSTEM => Self::System,
            sys::WRT_LINUX_PAGE_KIND_TRANSPARENT => Self::Transparent,
            sys::WRT_LINUX_PAGE_KIND_HUGE_2_MIB => Self::Huge2Mib,
            sys::WRT_LINUX_PAGE_KIND_HUGE_1_GIB => Self::Huge1Gib,
            _ => Self::None,
        }
    }
}

/// What the kernel says of one allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinuxMemoryStats {
    /// Bytes that are accessible.
    pub accessible_bytes: u64,
    /// Of them in RAM.
    pub resident_bytes: u64,
    /// Of them in huge pages, of whichever kind.
    pub huge_bytes: u64,
    /// Of them locked.
    pub locked_bytes: u64,
    /// Of them in swap.
    pub swapped_bytes: u64,
    /// Size of a huge page here: 2 MiB, or 1 GiB.
    pub huge_page_bytes: u64,
    /// Huge pages in RAM.
    pub huge_pages: u32,
    /// What the accessible bytes would be in huge pages, rounded up.
    pub total_pages: u32,
    /// What it is made of.
    pub page_kind: PageKind,
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
    /// Huge pages.
    pub huge_pages: Enforcement,
    /// Huge pages in place of small ones.
    pub thp: Enforcement,
    /// Nodes.
    pub numa: Enforcement,
    /// What the latest allocation is made of.
    pub page_kind: PageKind,
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
            huge_pages: Enforcement::from_raw(&raw.huge_pages),
            thp: Enforcement::from_raw(&raw.thp),
            numa: Enforcement::from_raw(&raw.numa),
            page_kind: PageKind::from_raw(raw.page_kind),
        })
    }

    /// The nodes of this machine that this process may use.
    #[cfg(feature = "alloc")]
    pub fn detect_numa_topology() -> Result<NumaTopology> {
        detect_numa_topology()
    }

    /// Sets what holds for allocations from now on; the report says whether it is granted.
    pub fn set_thp_mode(&self, mode: ThpMode) -> Result<()> {
        // SAFETY: `raw` is initialised; not being `Sync`, no other call is inside.
        check(unsafe { sys::wrt_linux_allocator_set_thp_mode(self.raw.get(), mode as u32) })
    }

    /// Tells the kernel how `size` bytes from `offset` are going to be used. `Unsupported` for what
    /// this kernel does not know, `Busy` if it has no huge pages to collapse into at the moment.
    pub fn madvise(
        &self,
        pages: &Pages<'_>,
        offset: usize,
        size: usize,
        advice: MadviseFlags,
    ) -> Result<()> {
        // SAFETY: both pointers are live; no advice changes what the pages hold.
        check(unsafe {
            sys::wrt_linux_allocator_madvise(self.raw.get(), pages.raw(), offset, size, advice.0)
        })
    }

    /// Reads what the kernel says of the accessible bytes of `pages` (`/proc/self/smaps`).
    pub fn get_memory_stats(&self, pages: &Pages<'_>) -> Result<LinuxMemoryStats> {
        // SAFETY: zero is a valid value of every field (integers).
        let mut raw: sys::wrt_linux_memory_stats = unsafe { mem::zeroed() };
        // SAFETY: all pointers are live.
        check(unsafe {
            sys::wrt_linux_allocator_memory_stats(self.raw.get(), pages.raw(), &raw mut raw)
        })?;
        Ok(LinuxMemoryStats {
            accessible_bytes: raw.accessible_bytes,
            resident_bytes: raw.resident_bytes,
            huge_bytes: raw.huge_bytes,
            locked_bytes: raw.locked_bytes,
            swapped_bytes: raw.swapped_bytes,
            huge_page_bytes: raw.huge_page_bytes,
            huge_pages: raw.huge_pages,
            total_pages: raw.total_pages,
            page_kind: PageKind::from_raw(raw.page_kind),
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
    numa_mask: Option<NumaMask>,
}

/// A name as C takes it. One byte more than C accepts, so that C itself refuses a longer one.
type Name = [u8; NAME_SIZE + 1];

impl LinuxAllocatorBuilder {
    /// Starts with no guard pages, at most 65536 pages an allocation.
    pub const fn new() -> Self {
        // SAFETY: zero is a valid value of every field (integers, null pointer, false).
        let mut config: sys::wrt_linux_allocator_config = unsafe { mem::zeroed() };
        config.struct_size = size_of::<sys::wrt_linux_allocator_config>() as u32;
        Self { config, name: None, numa_mask: None }
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

    /// Tries pages of 1 GiB, of 2 MiB, transparent ones, those of the system; the report says what
    /// it came to. Not with `MmapFlags::NORESERVE`.
    pub const fn with_huge_pages(mut self, enabled: bool) -> Self {
        self.config.huge_pages = enabled;
        self
    }

    /// Nothing larger is tried for `with_huge_pages`; `PageKind::None`: all.
    pub const fn with_largest_page_kind(mut self, kind: PageKind) -> Self {
        self.config.largest_page_kind = kind as u32;
        self
    }

    /// How memory is mapped.
    pub const fn with_custom_flags(mut self, flags: MmapFlags) -> Self {
        self.config.custom_flags = flags.0;
        self
    }

    /// Whether the system may put huge pages in place of small ones.
    pub const fn with_thp_mode(mut self, mode: ThpMode) -> Self {
        self.config.thp_mode = mode as u32;
        self
    }

    /// What the nodes mean.
    pub const fn with_numa_policy(mut self, policy: NumaPolicy) -> Self {
        self.config.numa_policy = policy as u32;
        self
    }

    /// The one node to use. Refused by `build` if this process may use no memory there.
    pub const fn with_numa_node(mut self, node: u32) -> Self {
        self.config.numa_node = node;
        self.config.has_numa_node = true;
        self
    }

    /// Of the nodes to use, the first to be asked; of `Bind` it is one of them.
    pub const fn with_preferred_node(mut self, node: u32) -> Self {
        self.config.preferred_node = node;
        self.config.has_preferred_node = true;
        self
    }

    /// The nodes to use.
    pub const fn with_numa_mask(mut self, nodes: &NumaMask) -> Self {
        self.numa_mask = Some(*nodes);
        self
    }

    /// Makes the allocator, or says which rule is broken.
    pub fn build(self) -> Result<LinuxAllocator> {
        let mut config = self.config;
        config.name = self.name.as_ref().map_or(core::ptr::null(), |name| name.as_ptr().cast());
        let mask = self.numa_mask.map(NumaMask::raw);
        config.numa_mask = mask.as_ref().map_or(core::ptr::null(), core::ptr::from_ref);
        // SAFETY: zero is a valid value of every field (integers, null pointer, false).
        let mut raw = unsafe { mem::zeroed() };
        // SAFETY: both pointers are live, and C copies name and mask.
        check(unsafe { sys::wrt_linux_allocator_init(&raw mut raw, &raw const config) })?;
        Ok(LinuxAllocator { raw: UnsafeCell::new(raw) })
    }
}

impl Default for LinuxAllocatorBuilder {
    fn default() -> Self {
        Self::new()
    }
}
