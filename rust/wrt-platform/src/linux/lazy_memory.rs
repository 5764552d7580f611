//! Linear memory that begins with an image whose bytes come when they are first touched, from a
//! file or from a function. Mirrors `wrt_platform/linux/lazy_memory.h`.
//!
//! ```
//! use wrt_platform::{PageAllocator, linux::lazy_memory::LazyMemoryBuilder};
//!
//! let load = |offset: u64, bytes: &mut [u8]| Ok(bytes.fill((offset / 65536) as u8));
//! let builder = LazyMemoryBuilder::new().with_load(load).with_image_size(300_000);
//! let lazy = builder.with_maximum_pages(8).build()?;
//! let pages = lazy.allocate(8, None)?;
//! assert_eq!(pages.memory()[200_000], 3); // this chunk is loaded now, and no other
//! # Ok::<(), wrt_platform::Error>(())
//! ```

use alloc::{boxed::Box, ffi::CString, string::String, sync::Arc};
use core::{any::Any, cell::Cell, cell::UnsafeCell, ffi::c_void, marker::PhantomData, mem, slice};
use core::{error::Error as StdError, time::Duration};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Mutex,
    thread,
};

use wrt_platform_sys as sys;

use super::cgroups::nanoseconds;
use crate::enforcement::Enforcement;
use crate::error::{Error, ErrorKind, Result, check};
use crate::page_allocator::{PageAllocator, VerificationLevel};

/// What a function that loads may fail with.
pub type LoadError = Box<dyn StdError + Send + Sync>;

type Load = dyn FnMut(u64, &mut [u8]) -> core::result::Result<(), LoadError> + Send;

/// What is out, and how it came.
#[derive(Debug)]
#[non_exhaustive]
pub struct LazyMemoryReport {
    /// Out now: 0 or 1.
    pub allocation_count: u32,
    /// Pages accessible now.
    pub page_count: u32,
    /// The most pages that ever were.
    pub peak_pages: u32,
    /// Chunks that could not be loaded, of the memory that is out, or was last; likewise below.
    pub failed_chunks: u32,
    /// Of address space, guards included.
    pub reserved_bytes: u64,
    /// Bytes of the image.
    pub image_bytes: u64,
    /// Bytes that are loaded at a time.
    pub chunk_bytes: u64,
    /// Bytes of the image that are there.
    pub loaded_bytes: u64,
    /// Touches that had to wait.
    pub touch_count: u64,
    /// Absent: the image is loaded as a whole.
    pub lazy: Enforcement,
    /// Partial: system calls say `EFAULT` for what is not loaded.
    pub kernel: Enforcement,
    /// The first.
    pub failure: Option<Error>,
}

/// What C calls to load, and what that came to.
struct Loader {
    load: Box<Load>,
    failure: Option<LoadError>,
}

/// The C object, and what it borrows; it ends with the last of its owner and its thread.
struct Inner {
    raw: UnsafeCell<sys::wrt_linux_lazy_memory>,
    loader: Option<Box<Mutex<Loader>>>,
}

// SAFETY: the calls that both sides make (serve, load, stop, query) take any thread; the others are
// the owner's alone, and it is not `Sync`.
unsafe impl Send for Inner {}
// SAFETY: as above.
unsafe impl Sync for Inner {}

impl Inner {
    fn take_failure(&self) -> Option<LoadError> {
        let loader = self.loader.as_ref()?;
        loader.lock().unwrap_or_else(|poison| poison.into_inner()).failure.take()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // SAFETY: `raw` is initialised, or zero.
        let _ = unsafe { sys::wrt_linux_lazy_memory_deinit(self.raw.get()) };
    }
}

/// Serves one allocation at a time, which begins with the image; made by [`LazyMemoryBuilder`].
///
/// A chunk that can't be loaded ends who touches it with SIGBUS; [`load`](Self::load) says it
/// instead. `Send`, not `Sync`. A forked child can't use it, and has not got its memory.
pub struct LazyMemory {
    inner: Arc<Inner>,
    not_sync: PhantomData<Cell<()>>,
}

impl LazyMemory {
    /// Loads what is missing of `size` bytes from `offset` of the memory that is out, in this
    /// thread. `Host` if the function failed, with its error as the source; `System` if the file
    /// can't be read, or has ended; `State` if nothing is out.
    pub fn load(&self, offset: u64, size: u64) -> Result<()> {
        // SAFETY: `raw` is initialised; the call takes any thread.
        let status = unsafe { sys::wrt_linux_lazy_memory_load(self.raw(), offset, size) };
        check(status).map_err(|error| self.with_cause(error))
    }

    /// What is out, and how it came.
    pub fn report(&self) -> Result<LazyMemoryReport> {
        // SAFETY: zero is a valid value of every field.
        let mut raw: sys::wrt_linux_lazy_memory_report = unsafe { mem::zeroed() };
        // SAFETY: both pointers are live; the call takes any thread.
        check(unsafe { sys::wrt_linux_lazy_memory_query(self.raw(), &raw mut raw) })?;
        let has_failed = raw.failure.status != sys::WRT_OK as sys::wrt_status;
        Ok(LazyMemoryReport {
            allocation_count: raw.allocation_count,
            page_count: raw.page_count,
            peak_pages: raw.peak_pages,
            failed_chunks: raw.failed_chunks,
            reserved_bytes: raw.reserved_bytes,
            image_bytes: raw.image_bytes,
            chunk_bytes: raw.chunk_bytes,
            loaded_bytes: raw.loaded_bytes,
            touch_count: raw.touch_count,
            lazy: Enforcement::from_raw(&raw.lazy),
            kernel: Enforcement::from_raw(&raw.kernel),
            // SAFETY: C filled it in, with static texts.
            failure: has_failed
                .then(|| unsafe { Error::from_raw(raw.failure.status, &raw.failure) }),
        })
    }

    pub(crate) fn raw(&self) -> *mut sys::wrt_linux_lazy_memory {
        self.inner.raw.get()
    }

    fn with_cause(&self, error: Error) -> Error {
        match self.inner.take_failure() {
            Some(cause) if error.kind == ErrorKind::Host => error.with_source(cause),
            _ => error,
        }
    }
}

// SAFETY: it is an allocator of the C library; pages that are out borrow `self`, so it stays. (In
// place of zeros there is the image: initialised all the same, by the kernel at the touch.)
unsafe impl PageAllocator for LazyMemory {
    fn interface(&self) -> sys::wrt_page_allocator {
        // SAFETY: `raw` is initialised.
        unsafe { sys::wrt_linux_lazy_memory_interface(self.raw()) }
    }

    fn maximum_pages(&self) -> u32 {
        // SAFETY: `raw` is initialised, and the field never changes.
        unsafe { (*self.raw()).reserve.maximum_pages }
    }
}

impl Drop for LazyMemory {
    fn drop(&mut self) {
        // SAFETY: `raw` is initialised. Its thread, if there is one, leaves and drops the rest.
        let _ = unsafe { sys::wrt_linux_lazy_memory_stop(self.raw()) };
    }
}

/// Brings a piece of the image. `context` is the loader.
unsafe extern "C" fn bring(
    context: *mut c_void,
    offset: u64,
    bytes: *mut u8,
    size: usize,
) -> sys::wrt_status {
    // SAFETY: C passes on what `build` gave it, which lives as long as the C object.
    let loader = unsafe { &*context.cast::<Mutex<Loader>>() };
    // SAFETY: C lends `size` bytes of its own, which nobody else uses meanwhile.
    let bytes = unsafe { slice::from_raw_parts_mut(bytes, size) };
    let mut loader = loader.lock().unwrap_or_else(|poison| poison.into_inner());
    let loaded = catch_unwind(AssertUnwindSafe(|| (loader.load)(offset, bytes)));
    let failure = match loaded {
        Ok(Ok(())) => return sys::WRT_OK as sys::wrt_status,
        Ok(Err(failure)) => failure,
        Err(payload) => panic_text(payload.as_ref()).into(),
    };
    loader.failure = Some(failure);
    ErrorKind::Host.status()
}

fn panic_text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    alloc::format!("the function that loads panicked: {}", text.unwrap_or("no text"))
}

/// Serves touches until the owner stops it.
fn serve(inner: Arc<Inner>) {
    loop {
        // SAFETY: `raw` is initialised; the call takes any thread.
        let status = unsafe { sys::wrt_linux_lazy_memory_serve(inner.raw.get(), u64::MAX) };
        if status == ErrorKind::Interrupted.status() || status == ErrorKind::State.status() {
            return;
        }
    }
}

/// Collects settings; the rules of linux/lazy_memory.h are checked by [`build`](Self::build).
#[must_use]
pub struct LazyMemoryBuilder {
    config: sys::wrt_linux_lazy_memory_config,
    path: Option<CString>,
    load: Option<Box<Load>>,
}

impl LazyMemoryBuilder {
    /// Starts without an image; of all else the defaults.
    pub const fn new() -> Self {
        // SAFETY: zero is a valid value of every field (integers, null pointers, no function).
        let mut config: sys::wrt_linux_lazy_memory_config = unsafe { mem::zeroed() };
        config.struct_size = size_of::<sys::wrt_linux_lazy_memory_config>() as u32;
        Self { config, path: None, load: None }
    }

    /// The image is this file, or a part of it. A path with a NUL is that of no file.
    pub fn with_path(mut self, path: impl AsRef<Path>) -> Self {
        let bytes = path.as_ref().as_os_str().as_encoded_bytes();
        self.path = Some(CString::new(bytes).unwrap_or_default());
        self
    }

    /// The image is what this function writes: `load(offset, bytes)` fills all of `bytes`. It runs
    /// in a thread of its own, or in the one that calls `load`, never twice at a time, and must not
    /// touch the memory itself.
    pub fn with_load(
        mut self,
        load: impl FnMut(u64, &mut [u8]) -> core::result::Result<(), LoadError> + Send + 'static,
    ) -> Self {
        self.load = Some(Box::new(load));
        self
    }

    /// Bytes of the image; 0: the file's rest. A function needs it.
    pub const fn with_image_size(mut self, size: u64) -> Self {
        self.config.image_size = size;
        self
    }

    /// Where the image begins in the file.
    pub const fn with_file_offset(mut self, offset: u64) -> Self {
        self.config.file_offset = offset;
        self
    }

    /// Bytes that are loaded at a time: whole pages of the system, up to 16 MiB; 0: 64 KiB.
    pub const fn with_chunk_bytes(mut self, size: u64) -> Self {
        self.config.chunk_bytes = size;
        self
    }

    /// So long a touch waits for the function; 0: 10 s.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.config.timeout_ns = nanoseconds(timeout);
        self
    }

    /// An allocation reserves no more pages; 0: 4096, 256 MiB.
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

    /// Before and behind, in bytes: whole pages of the system, at most 4 GiB; 0: 64 KiB.
    pub const fn with_guard_bytes(mut self, size: u64) -> Self {
        self.config.guard_bytes = size;
        self
    }

    /// `build` fails where pages can't come on demand; without it the image is loaded as a whole
    /// there.
    pub const fn with_require_lazy(mut self, enabled: bool) -> Self {
        self.config.require_lazy = enabled;
        self
    }

    /// Makes the memory; nothing is loaded yet. Or says which rule is broken, `NotFound` without
    /// such a file.
    pub fn build(mut self) -> Result<LazyMemory> {
        let loader =
            self.load.take().map(|load| Box::new(Mutex::new(Loader { load, failure: None })));
        if let Some(loader) = &loader {
            self.config.load = Some(bring);
            self.config.context = (&raw const **loader).cast_mut().cast();
        }
        if let Some(path) = &self.path {
            self.config.path = path.as_ptr();
        }
        // SAFETY: zero is a valid value of every field.
        let inner = Arc::new(Inner { raw: UnsafeCell::new(unsafe { mem::zeroed() }), loader });
        // SAFETY: both pointers are live, and so is what the config borrows.
        check(unsafe { sys::wrt_linux_lazy_memory_init(inner.raw.get(), &raw const self.config) })?;
        let lazy = LazyMemory { inner, not_sync: PhantomData };
        lazy.start()?;
        Ok(lazy)
    }
}

impl LazyMemory {
    /// Starts the thread that calls the function, if there is one to call.
    fn start(&self) -> Result<()> {
        if self.inner.loader.is_none() {
            return Ok(());
        }
        let inner = Arc::clone(&self.inner);
        let builder = thread::Builder::new().name("wrt-lazy-memory".into());
        let started = builder.spawn(move || serve(inner));
        started.map(drop).map_err(|error| {
            Error::new(
                ErrorKind::NoMemory,
                c"LazyMemoryBuilder::build",
                c"no thread can be started",
            )
            .with_note(error)
        })
    }
}

impl Default for LazyMemoryBuilder {
    fn default() -> Self {
        Self::new()
    }
}
