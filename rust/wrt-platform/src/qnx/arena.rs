//! QNX's arena allocator: settings of the process's heap, small blocks, and pages. Mirrors
//! `wrt_platform/qnx/arena.h`.
//!
//! ```
//! use wrt_platform::{PageAllocator, QnxArenaAllocatorBuilder, VerificationLevel};
//!
//! let allocator = QnxArenaAllocatorBuilder::new()
//!     .with_arena_size(64 * 1024)
//!     .with_arena_cache_max_blocks(8)
//!     .with_arena_cache_max_size(256 * 1024)
//!     .with_guard_pages(true)
//!     .with_verification_level(VerificationLevel::Full)
//!     .build()?;
//! let pages = allocator.allocate(2, Some(4))?;
//! let mut block = allocator.allocate_block(256, 0)?; // goes back when it is dropped
//! block.memory()[..5].copy_from_slice(b"hello");
//! # Ok::<(), wrt_platform::Error>(())
//! ```

use core::{cell::UnsafeCell, mem, ptr, ptr::NonNull};

use wrt_platform_sys as sys;

use super::memory::QnxProtFlags;
use super::partition::{Choice, QnxMemoryPartition};
use crate::enforcement::Enforcement;
use crate::error::{Result, check};
use crate::page_allocator::{PageAllocator, VerificationLevel};

/// What is out, what the process's heap holds, and what holds of what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct QnxArenaAllocatorReport {
    /// Allocations of pages, out now.
    pub allocation_count: u32,
    /// Pages accessible now, summed over all allocations.
    pub page_count: u32,
    /// The most pages that ever were.
    pub peak_pages: u32,
    /// Small blocks out now.
    pub block_count: u32,
    /// Bytes that were asked for, of the blocks that are out.
    pub block_bytes: u64,
    /// The most that ever were.
    pub peak_block_bytes: u64,
    /// Small blocks that were asked for and not had.
    pub refusal_count: u64,
    /// Of address space for pages, guards and canaries included.
    pub reserved_bytes: u64,
    /// Bytes, in force in the process; 0: its malloc has none.
    pub arena_size: u64,
    /// That the process's malloc has from the system.
    pub heap_bytes: u64,
    /// Of those, in blocks that are out, of the whole process.
    pub heap_used_bytes: u64,
    /// Of those, free, cached arenas among them.
    pub heap_free_bytes: u64,
    /// MALLOC_ARENA_SIZE.
    pub arena_size_key: Enforcement,
    /// MALLOC_ARENA_CACHE_MAXBLK.
    pub arena_cache_max_blocks_key: Enforcement,
    /// MALLOC_ARENA_CACHE_MAXSZ.
    pub arena_cache_max_size_key: Enforcement,
    /// MALLOC_MEMORY_HOLD.
    pub memory_hold_key: Enforcement,
    /// Last in, first out.
    pub lifo_free: Enforcement,
    /// Pages without access round the memory.
    pub guard_pages: Enforcement,
    /// Known words beside the memory.
    pub canaries: Enforcement,
    /// That what is accessible, and what is in blocks, is charged.
    pub partition: Enforcement,
    /// That other partitions can't reach the pages.
    pub isolation: Enforcement,
}

/// Serves pages and small blocks. `Send`, not `Sync`; it may be moved, but not while something is
/// out, because that borrows it.
pub struct QnxArenaAllocator {
    raw: UnsafeCell<sys::wrt_qnx_arena_allocator>,
    partition: Option<QnxMemoryPartition>, // C borrows it
}

// SAFETY: the C allocator is plain memory, tied to no thread; heap and mappings are the process's.
unsafe impl Send for QnxArenaAllocator {}

impl QnxArenaAllocator {
    /// Takes a small block from the process's heap, zeroed. `alignment`: a power of two from 16 to
    /// 4096; 0: 16. `NoMemory` if the heap or the partition has not that much.
    pub fn allocate_block(&self, size: usize, alignment: usize) -> Result<QnxArenaBlock<'_>> {
        let mut out = ptr::null_mut();
        // SAFETY: `raw` is initialised; not being `Sync`, no other call is inside.
        check(unsafe {
            sys::wrt_qnx_arena_allocate_block(self.raw.get(), size, alignment, &raw mut out)
        })?;
        let start = NonNull::new(out.cast()).expect("WRT_OK implies a block");
        Ok(QnxArenaBlock { arena: self, memory: NonNull::slice_from_raw_parts(start, size) })
    }

    /// What is out, what the heap holds, and what holds of what was asked for.
    pub fn report(&self) -> Result<QnxArenaAllocatorReport> {
        // SAFETY: zero is a valid value of every field (integers and null pointers).
        let mut raw: sys::wrt_qnx_arena_allocator_report = unsafe { mem::zeroed() };
        // SAFETY: as in `allocate_block`.
        check(unsafe { sys::wrt_qnx_arena_allocator_query(self.raw.get(), &raw mut raw) })?;
        Ok(QnxArenaAllocatorReport {
            allocation_count: raw.allocation_count,
            page_count: raw.page_count,
            peak_pages: raw.peak_pages,
            block_count: raw.block_count,
            block_bytes: raw.block_bytes,
            peak_block_bytes: raw.peak_block_bytes,
            refusal_count: raw.refusal_count,
            reserved_bytes: raw.reserved_bytes,
            arena_size: raw.arena_size,
            heap_bytes: raw.heap_bytes,
            heap_used_bytes: raw.heap_used_bytes,
            heap_free_bytes: raw.heap_free_bytes,
            arena_size_key: Enforcement::from_raw(&raw.arena_size_key),
            arena_cache_max_blocks_key: Enforcement::from_raw(&raw.arena_cache_max_blocks_key),
            arena_cache_max_size_key: Enforcement::from_raw(&raw.arena_cache_max_size_key),
            memory_hold_key: Enforcement::from_raw(&raw.memory_hold_key),
            lifo_free: Enforcement::from_raw(&raw.lifo_free),
            guard_pages: Enforcement::from_raw(&raw.guard_pages),
            canaries: Enforcement::from_raw(&raw.canaries),
            partition: Enforcement::from_raw(&raw.partition),
            isolation: Enforcement::from_raw(&raw.isolation),
        })
    }
}

// SAFETY: it is an allocator of the C library; pages that are out borrow `self`, so it stays at
// its place.
unsafe impl PageAllocator for QnxArenaAllocator {
    fn interface(&self) -> sys::wrt_page_allocator {
        // SAFETY: `raw` is initialised.
        unsafe { sys::wrt_qnx_arena_allocator_interface(self.raw.get()) }
    }

    fn maximum_pages(&self) -> u32 {
        // SAFETY: `raw` is initialised, and no call is inside.
        unsafe { (*self.raw.get()).pages.reserve.maximum_pages }
    }
}

impl Drop for QnxArenaAllocator {
    fn drop(&mut self) {
        // SAFETY: `raw` is initialised. STATE, if something was forgotten: it stays where it is.
        let status = unsafe { sys::wrt_qnx_arena_allocator_deinit(self.raw.get()) };
        if status != sys::WRT_OK as i32 {
            mem::forget(self.partition.take()); // it is charged to it
        }
    }
}

/// A small block on loan; goes back to the heap when dropped.
pub struct QnxArenaBlock<'arena> {
    arena: &'arena QnxArenaAllocator,
    memory: NonNull<[u8]>,
}

impl QnxArenaBlock<'_> {
    /// The bytes asked for.
    pub fn memory(&mut self) -> &mut [u8] {
        // SAFETY: the arena gives each block, initialised, to one owner.
        unsafe { self.memory.as_mut() }
    }

    /// Gives the block back, and says what verification has found. Dropping does the same in
    /// silence: what C refuses to take back then stays where it is.
    pub fn release(self) -> Result<()> {
        let status = self.give_back();
        mem::forget(self);
        check(status)
    }

    fn give_back(&self) -> sys::wrt_status {
        // SAFETY: this block came from this arena and is released exactly once.
        unsafe {
            sys::wrt_qnx_arena_release_block(self.arena.raw.get(), self.memory.as_ptr().cast())
        }
    }
}

impl Drop for QnxArenaBlock<'_> {
    fn drop(&mut self) {
        let _ = self.give_back();
    }
}

/// Collects settings; the rules of qnx/arena.h are checked by [`build`](Self::build).
#[must_use]
pub struct QnxArenaAllocatorBuilder {
    config: sys::wrt_qnx_arena_allocator_config,
    choice: Choice,
}

impl QnxArenaAllocatorBuilder {
    /// Starts with the heap as it is, no guard pages, in the current partition.
    pub fn new() -> Self {
        // SAFETY: zero is a valid value of every field (integers, null pointer, false).
        let mut config: sys::wrt_qnx_arena_allocator_config = unsafe { mem::zeroed() };
        config.struct_size = size_of::<sys::wrt_qnx_arena_allocator_config>() as u32;
        Self { config, choice: Choice::Current }
    }

    /// One allocation of pages reserves no more pages than this; 0: 65536, 4 GiB.
    pub fn with_maximum_pages(mut self, pages: u32) -> Self {
        self.config.maximum_pages = pages;
        self
    }

    /// How much is checked, of pages and of blocks.
    pub fn with_verification_level(mut self, level: VerificationLevel) -> Self {
        self.config.verification_level = level as u32;
        self
    }

    /// `Sampling` checks one call in so many; 0: 16.
    pub fn with_sampling_interval(mut self, calls: u32) -> Self {
        self.config.sampling_interval = calls;
        self
    }

    /// Bytes that malloc takes from the system at a time: a multiple of 4096 up to 262144; 0: as it
    /// is. For the whole process, like the three settings below.
    pub fn with_arena_size(mut self, size: u32) -> Self {
        self.config.arena_size = size;
        self
    }

    /// Free arenas that are kept; 0: as it is.
    pub fn with_arena_cache_max_blocks(mut self, count: u32) -> Self {
        self.config.arena_cache_max_blocks = count;
        self
    }

    /// Bytes of free arenas that are kept; 0: as it is.
    pub fn with_arena_cache_max_size(mut self, size: u64) -> Self {
        self.config.arena_cache_max_size = size;
        self
    }

    /// Never gives free arenas back to the system.
    pub fn with_memory_hold(mut self, enabled: bool) -> Self {
        self.config.memory_hold = enabled;
        self
    }

    /// Freed blocks are used again last in, first out. Needs MALLOC_FREE_LIFO=1 in the environment
    /// when the process starts, else `Unsupported`.
    pub fn with_lifo_free(mut self, enabled: bool) -> Self {
        self.config.lifo_free = enabled;
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

    /// Makes the allocator. `Busy` (a live allocator has set a key otherwise), `Unsupported` (a key
    /// that this system's malloc does not take).
    pub fn build(self) -> Result<QnxArenaAllocator> {
        let mut config = self.config;
        let partition = self.choice.partition();
        config.partition = partition.as_ref().map_or(ptr::null_mut(), QnxMemoryPartition::raw);
        // SAFETY: zero is a valid value of every field (integers, null pointers, false).
        let mut raw = unsafe { mem::zeroed() };
        // SAFETY: both pointers are live, and the partition is kept.
        check(unsafe { sys::wrt_qnx_arena_allocator_init(&raw mut raw, &raw const config) })?;
        Ok(QnxArenaAllocator { raw: UnsafeCell::new(raw), partition })
    }
}

impl Default for QnxArenaAllocatorBuilder {
    fn default() -> Self {
        Self::new()
    }
}
