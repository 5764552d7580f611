//! Atomic memory: records that are changed as a whole or not at all. Mirrors
//! `wrt_platform/atomic_memory.h`.
//!
//! ```
//! use wrt_platform::{CustomProvider, PageAllocator, StaticAllocatorBuilder};
//!
//! let mut heap = vec![0; 100_000];
//! let allocator = StaticAllocatorBuilder::new().with_buffer(&mut heap).build()?;
//! let mut pages = allocator.allocate(1, None)?;
//! let atomic_ops = CustomProvider::with_memory(pages.memory_mut()).into_atomic_ops()?;
//! atomic_ops.atomic_write_with_checksum(0, &[1, 2, 3, 4])?;
//!
//! let mut data = [0; 4];
//! atomic_ops.atomic_read_with_checksum(0, &mut data)?;
//! assert_eq!(data, [1, 2, 3, 4]);
//! # Ok::<(), wrt_platform::Error>(())
//! ```

use core::{marker::PhantomData, mem, ptr, ptr::NonNull};

use wrt_platform_sys as sys;
pub use wrt_platform_sys::wrt_atomic_record as AtomicRecord;

use crate::Layout;
use crate::error::{Result, check};

/// Bytes of a key.
pub const KEY_SIZE: usize = sys::WRT_ATOMIC_KEY_SIZE as usize;

/// Anybody's memory, to hold records; the rules of atomic_memory.h are checked by
/// [`into_atomic_ops`](Self::into_atomic_ops).
#[must_use]
pub struct CustomProvider<'memory> {
    memory: *mut u8,
    size: usize,
    key: Option<[u8; KEY_SIZE]>,
    borrowed: PhantomData<&'memory mut [u8]>,
}

impl<'memory> CustomProvider<'memory> {
    /// Wraps memory of any allocator, 4-byte aligned. What it holds stays.
    /// The documents' name; `with_memory` is the same without a pointer.
    ///
    /// # Safety
    /// For as long as the lifetime says, `size` bytes from `memory` can be read and written, and
    /// nobody does so but through records; these may be those of other processes as well.
    pub const unsafe fn new(memory: NonNull<u8>, size: usize) -> Self {
        Self { memory: memory.as_ptr(), size, key: None, borrowed: PhantomData }
    }

    /// Wraps this memory, 4-byte aligned. What it holds stays.
    pub const fn with_memory(memory: &'memory mut [u8]) -> Self {
        Self { memory: memory.as_mut_ptr(), size: memory.len(), key: None, borrowed: PhantomData }
    }

    /// Makes the checksum SipHash-2-4 under this secret key, against hostile changes; a CRC is no
    /// protection from them.
    pub const fn with_key(mut self, key: &[u8; KEY_SIZE]) -> Self {
        self.key = Some(*key);
        self
    }

    /// The bytes that a record of `size` bytes takes, and what its offset is a multiple of.
    pub fn layout(&self, size: usize) -> Result<Layout> {
        layout_of(&self.config(), size)
    }

    /// Makes the operations, or says which rule is broken.
    pub fn into_atomic_ops(self) -> Result<AtomicMemoryOps<'memory>> {
        let config = self.config();
        // SAFETY: zero is a valid value of every field (integers, null pointer, false).
        let mut raw = unsafe { mem::zeroed() };
        // SAFETY: both pointers are live, and the key, which C copies; the memory stays borrowed
        // for as long as the operations.
        check(unsafe { sys::wrt_atomic_memory_init(&raw mut raw, &raw const config) })?;
        Ok(AtomicMemoryOps { raw, has_key: self.key.is_some(), memory: PhantomData })
    }

    fn config(&self) -> sys::wrt_atomic_memory_config {
        let mut config = config_with(self.key.as_ref());
        config.memory = self.memory.cast();
        config.memory_size = self.size;
        config
    }
}

fn config_with(key: Option<&[u8; KEY_SIZE]>) -> sys::wrt_atomic_memory_config {
    // SAFETY: zero is a valid value of every field (integers and null pointers).
    let mut config: sys::wrt_atomic_memory_config = unsafe { mem::zeroed() };
    config.struct_size = size_of::<sys::wrt_atomic_memory_config>() as u32;
    config.key = key.map_or(ptr::null(), |key| key.as_ptr());
    config.key_size = key.map_or(0, |key| key.len());
    config
}

fn layout_of(config: &sys::wrt_atomic_memory_config, size: usize) -> Result<Layout> {
    let mut layout = Layout { bytes: 0, alignment: 0 };
    // SAFETY: both pointers are live for the call.
    check(unsafe { sys::wrt_atomic_memory_layout(&raw const *config, size, &raw mut layout) })?;
    Ok(layout)
}

/// Writes and reads records. `Send`, not `Sync`: one writer at a time; readers on any thread take
/// a [`reader`](Self::reader). It may be moved, but its memory is its own:
///
/// ```compile_fail,E0506
/// # use wrt_platform::CustomProvider;
/// let mut memory = [0u8; 256];
/// let atomic_ops = CustomProvider::with_memory(&mut memory).into_atomic_ops().unwrap();
/// memory[8] = 1;
/// atomic_ops.atomic_write_with_checksum(0, &[1]).unwrap();
/// ```
///
/// ```compile_fail,E0277
/// # use wrt_platform::CustomProvider;
/// let mut memory = [0u8; 256];
/// let atomic_ops = CustomProvider::with_memory(&mut memory).into_atomic_ops().unwrap();
/// std::thread::scope(|scope| {
///     scope.spawn(|| atomic_ops.atomic_write_with_checksum(0, &[1])); // a second writer
/// });
/// ```
pub struct AtomicMemoryOps<'memory> {
    raw: sys::wrt_atomic_memory,
    has_key: bool,
    memory: PhantomData<&'memory mut [u8]>,
}

// SAFETY: the C object is plain memory, tied to no thread; its memory is borrowed exclusively.
unsafe impl Send for AtomicMemoryOps<'_> {}

impl AtomicMemoryOps<'_> {
    /// Makes `data` the record at `offset`, a multiple of 4: the first one there, or in place of
    /// one of the same size. `InvalidArgument` if it is empty, misaligned or beyond the memory,
    /// `State` if a record of another size begins here; nothing has changed then.
    pub fn atomic_write_with_checksum(&self, offset: usize, data: &[u8]) -> Result<()> {
        // SAFETY: `raw` is initialised, `data` is live; not being `Sync`, there is no other writer.
        check(unsafe {
            sys::wrt_atomic_memory_write(
                &raw const self.raw,
                offset,
                data.as_ptr().cast(),
                data.len(),
            )
        })
    }

    /// Copies the record at `offset`, of the size of `data_out`, as it was after the last finished
    /// write. `NotFound` if no record of this size is here, `State` if neither copy is whole.
    pub fn atomic_read_with_checksum(&self, offset: usize, data_out: &mut [u8]) -> Result<()> {
        read(&self.raw, offset, data_out)
    }

    /// Checks both copies of the record at `offset`. `NotFound` if none begins here, `State` if
    /// neither copy is whole.
    pub fn record(&self, offset: usize) -> Result<AtomicRecord> {
        let mut record = AtomicRecord { size: 0, sequence: 0, whole_count: 0 };
        // SAFETY: `raw` is initialised; not being `Sync`, nobody writes meanwhile.
        check(unsafe {
            sys::wrt_atomic_memory_query(&raw const self.raw, offset, &raw mut record)
        })?;
        Ok(record)
    }

    /// The bytes that a record of `size` bytes takes: the next one begins behind them.
    pub fn layout(&self, size: usize) -> Result<Layout> {
        let any_key = [0; KEY_SIZE];
        layout_of(&config_with(self.has_key.then_some(&any_key)), size)
    }

    /// For other threads, which read without waiting.
    pub const fn reader(&self) -> AtomicMemoryReader<'_> {
        AtomicMemoryReader { raw: &self.raw }
    }
}

impl Drop for AtomicMemoryOps<'_> {
    fn drop(&mut self) {
        // SAFETY: `raw` is initialised, and readers borrow it. It cannot fail.
        let _ = unsafe { sys::wrt_atomic_memory_deinit(&raw mut self.raw) };
    }
}

/// Reads records on any thread, beside the writer; neither waits for the other.
#[derive(Clone, Copy)]
pub struct AtomicMemoryReader<'ops> {
    raw: &'ops sys::wrt_atomic_memory,
}

// SAFETY: reading goes by atomic words, and C changes nothing of the object meanwhile.
unsafe impl Send for AtomicMemoryReader<'_> {}
// SAFETY: as above.
unsafe impl Sync for AtomicMemoryReader<'_> {}

impl AtomicMemoryReader<'_> {
    /// As [`AtomicMemoryOps::atomic_read_with_checksum`].
    pub fn atomic_read_with_checksum(&self, offset: usize, data_out: &mut [u8]) -> Result<()> {
        read(self.raw, offset, data_out)
    }
}

fn read(raw: &sys::wrt_atomic_memory, offset: usize, data_out: &mut [u8]) -> Result<()> {
    let size = data_out.len();
    // SAFETY: `raw` is initialised; `size` bytes of `data_out` can be written.
    check(unsafe {
        sys::wrt_atomic_memory_read(&raw const *raw, offset, data_out.as_mut_ptr().cast(), size)
    })
}
