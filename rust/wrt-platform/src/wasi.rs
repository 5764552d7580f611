//! WASI preview 1: what a guest gets to see of the host. Mirrors `wrt_platform/wasi.h`.
//!
//! ```
//! use std::os::fd::AsFd;
//! use wrt_platform::wasi::{Preopen, WasiConfig};
//!
//! let output = std::io::stdout();
//! let wasi = WasiConfig::new()
//!     .with_arguments(["count", "/data/words.txt"])
//!     .with_preopens([Preopen::new("src", "/data").read_only()])
//!     .with_standard_output(output.as_fd())
//!     .build()?;
//! assert_eq!(wasi.exit_code()?, None); // nothing has run yet
//! # Ok::<(), wrt_platform::Error>(())
//! ```

use alloc::{boxed::Box, ffi::CString, vec, vec::Vec};
use core::{cell::UnsafeCell, ffi::c_char, marker::PhantomData, mem, ptr, slice};
use std::{
    ffi::{OsStr, OsString},
    os::{
        fd::{AsRawFd, BorrowedFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::{Path, PathBuf},
};

use wrt_platform_sys as sys;

use crate::Layout;
use crate::error::{Error, ErrorKind, Result, check};

/// Serves the calls of WASI to one instance, or to a set that is linked. `Send`, not `Sync`.
///
/// Whatever the guest has left open is closed with it, never a descriptor that was lent.
pub struct Wasi<'lent> {
    raw: Box<UnsafeCell<sys::wrt_wasi>>, // C keeps its address
    _buffer: Vec<u64>,
    lent: PhantomData<(BorrowedFd<'lent>, &'lent mut [u64])>,
}

// SAFETY: the C object is plain memory and descriptors, tied to no thread.
unsafe impl Send for Wasi<'_> {}

/// A folder of the host that the guest finds open when it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preopen {
    host_path: PathBuf,
    guest_path: OsString,
    is_read_only: bool,
}

/// Collects settings; the rules of wasi.h are checked by [`build`](Self::build).
///
/// Without a setting a guest sees nothing: no argument, no variable, no folder; what it writes is
/// dropped, and what it reads is empty.
#[must_use]
pub struct WasiBuilder<'lent> {
    config: sys::wrt_wasi_config,
    arguments: Vec<OsString>,
    environment: Vec<OsString>,
    preopens: Vec<Preopen>,
    lent: PhantomData<(BorrowedFd<'lent>, &'lent mut [u64])>,
}

/// The documents' name for the builder.
pub type WasiConfig<'lent> = WasiBuilder<'lent>;

/// A config that is ready for C, with what it points to.
struct Completed {
    config: sys::wrt_wasi_config,
    _texts: Vec<CString>,
    _pointers: [Vec<*const c_char>; 2],
    _preopens: Vec<sys::wrt_wasi_preopen>,
}

impl Preopen {
    /// Lends `host_path`; the guest calls it `guest_path`.
    pub fn new(host_path: impl AsRef<Path>, guest_path: impl AsRef<OsStr>) -> Self {
        let guest_path = guest_path.as_ref().into();
        Self { host_path: host_path.as_ref().into(), guest_path, is_read_only: false }
    }

    /// Whatever would change it, or a file in it, answers "read-only file system".
    #[must_use]
    pub fn read_only(self) -> Self {
        Self { is_read_only: true, ..self }
    }
}

impl<'lent> WasiBuilder<'lent> {
    /// Starts with nothing that a guest could see.
    pub const fn new() -> Self {
        // SAFETY: zero is a valid value of every field (integers, null pointers, false).
        let mut config: sys::wrt_wasi_config = unsafe { mem::zeroed() };
        config.struct_size = size_of::<sys::wrt_wasi_config>() as u32;
        Self {
            config,
            arguments: Vec::new(),
            environment: Vec::new(),
            preopens: Vec::new(),
            lent: PhantomData,
        }
    }

    /// The program's arguments; the first is its own name.
    pub fn with_arguments<T: AsRef<OsStr>>(
        mut self,
        arguments: impl IntoIterator<Item = T>,
    ) -> Self {
        self.arguments = arguments.into_iter().map(|text| text.as_ref().into()).collect();
        self
    }

    /// Its variables: name and value each.
    pub fn with_environment<N: AsRef<OsStr>, V: AsRef<OsStr>>(
        mut self,
        environment: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        self.environment = environment.into_iter().map(|(name, value)| pair(name, value)).collect();
        self
    }

    /// Lends one more folder; the guest calls it `guest_path`.
    pub fn with_preopen(
        mut self,
        host_path: impl AsRef<Path>,
        guest_path: impl AsRef<OsStr>,
    ) -> Self {
        self.preopens.push(Preopen::new(host_path, guest_path));
        self
    }

    /// Lends these folders and no others.
    pub fn with_preopens(mut self, preopens: impl IntoIterator<Item = Preopen>) -> Self {
        self.preopens = preopens.into_iter().collect();
        self
    }

    /// What the guest reads as its 0.
    pub fn with_standard_input(mut self, descriptor: BorrowedFd<'lent>) -> Self {
        self.config.standard_input = descriptor.as_raw_fd();
        self.with_has_standard_input(true)
    }

    /// Where the guest's 1 goes.
    pub fn with_standard_output(mut self, descriptor: BorrowedFd<'lent>) -> Self {
        self.config.standard_output = descriptor.as_raw_fd();
        self.with_has_standard_output(true)
    }

    /// Where the guest's 2 goes.
    pub fn with_standard_error(mut self, descriptor: BorrowedFd<'lent>) -> Self {
        self.config.standard_error = descriptor.as_raw_fd();
        self.with_has_standard_error(true)
    }

    /// Whether what was given to [`with_standard_input`](Self::with_standard_input) counts.
    pub const fn with_has_standard_input(mut self, enabled: bool) -> Self {
        self.config.has_standard_input = enabled;
        self
    }

    /// Whether what was given to [`with_standard_output`](Self::with_standard_output) counts.
    pub const fn with_has_standard_output(mut self, enabled: bool) -> Self {
        self.config.has_standard_output = enabled;
        self
    }

    /// Whether what was given to [`with_standard_error`](Self::with_standard_error) counts.
    pub const fn with_has_standard_error(mut self, enabled: bool) -> Self {
        self.config.has_standard_error = enabled;
        self
    }

    /// How many descriptors the guest may have open, 0 to 2 and folders included; 0: 256.
    pub const fn with_maximum_descriptors(mut self, count: u32) -> Self {
        self.config.maximum_descriptors = count;
        self
    }

    /// Keeps tables and texts here. Without it, they go to the heap.
    pub const fn with_buffer(mut self, buffer: &'lent mut [u64]) -> Self {
        self.config.buffer_size = size_of_val(buffer);
        self.config.buffer = buffer.as_mut_ptr().cast();
        self
    }

    /// What buffer the settings need; exact.
    pub fn layout(&self) -> Result<Layout> {
        layout(&self.complete()?.config)
    }

    /// Opens the folders, or says which one cannot be opened.
    pub fn build(self) -> Result<Wasi<'lent>> {
        let mut completed = self.complete()?;
        let mut buffer = Vec::new();
        if completed.config.buffer.is_null() {
            buffer = vec![0u64; layout(&completed.config)?.bytes.div_ceil(8)];
            completed.config.buffer = buffer.as_mut_ptr().cast();
            completed.config.buffer_size = size_of_val(buffer.as_slice());
        }
        // SAFETY: zero is a valid value of every field (integers, null pointers).
        let raw = Box::new(UnsafeCell::new(unsafe { mem::zeroed() }));
        // SAFETY: the object stays in its box; the buffer is owned or borrowed as long as it;
        // C copies the texts.
        check(unsafe { sys::wrt_wasi_init(raw.get(), &raw const completed.config) })
            .map_err(|error| self.name_folder(error))?;
        Ok(Wasi { raw, _buffer: buffer, lent: PhantomData })
    }

    fn complete(&self) -> Result<Completed> {
        let mut texts = Vec::new();
        let arguments = keep(&mut texts, &self.arguments)?;
        let environment = keep(&mut texts, &self.environment)?;
        let mut preopens = Vec::new();
        for preopen in &self.preopens {
            preopens.push(sys::wrt_wasi_preopen {
                host_path: keep_one(&mut texts, preopen.host_path.as_os_str())?,
                guest_path: keep_one(&mut texts, &preopen.guest_path)?,
                flags: if preopen.is_read_only { sys::WRT_WASI_PREOPEN_READ_ONLY } else { 0 },
                reserved: 0,
            });
        }
        let mut config = self.config;
        (config.arguments, config.argument_count) = (arguments.as_ptr(), count(&arguments));
        (config.environment, config.environment_count) =
            (environment.as_ptr(), count(&environment));
        (config.preopens, config.preopen_count) = (preopens.as_ptr(), count(&preopens));
        let _pointers = [arguments, environment];
        Ok(Completed { config, _texts: texts, _pointers, _preopens: preopens })
    }

    /// C says which folder by its number; here it has a name.
    fn name_folder(&self, error: Error) -> Error {
        match self.preopens.get(error.detail[0] as usize) {
            Some(preopen) if error.os_code != 0 && error.kind != ErrorKind::Unsupported => {
                error.with_note(alloc::format!("{}", preopen.host_path.display()))
            }
            _ => error,
        }
    }
}

impl Default for WasiBuilder<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'lent> Wasi<'lent> {
    /// Starts a builder.
    pub const fn builder() -> WasiBuilder<'lent> {
        WasiBuilder::new()
    }

    /// What the guest gave to `proc_exit`; `None` if it has not called it (a program whose
    /// `_start` returns has ended well).
    pub fn exit_code(&self) -> Result<Option<u32>> {
        let mut code = 0;
        // SAFETY: the object is initialised and where it was; `code` is live.
        match check(unsafe { sys::wrt_wasi_exit_code(self.raw.get(), &raw mut code) }) {
            Ok(()) => Ok(Some(code)),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The functions, as C takes them; they live as long as `self`, wherever that is moved.
    /// Begins a run: forgets the exit code.
    pub(crate) fn imports(&self) -> Result<&[sys::wrt_import]> {
        let (mut first, mut count) = (ptr::null(), 0);
        // SAFETY: the object is initialised and where it was; both outputs are live.
        check(unsafe { sys::wrt_wasi_imports(self.raw.get(), &raw mut first, &raw mut count) })?;
        // SAFETY: C has so many there, in the buffer, until deinit.
        Ok(unsafe { slice::from_raw_parts(first, count as usize) })
    }
}

impl Drop for Wasi<'_> {
    fn drop(&mut self) {
        // SAFETY: nobody else has it: no instance that could call it is left.
        let status = unsafe { sys::wrt_wasi_deinit(self.raw.get()) };
        debug_assert_eq!(status, 0, "nothing runs on it, and it was not moved");
    }
}

fn layout(config: &sys::wrt_wasi_config) -> Result<Layout> {
    let mut layout = Layout { bytes: 0, alignment: 0 };
    // SAFETY: both pointers are live, and so is what the config points to.
    check(unsafe { sys::wrt_wasi_layout(config, &raw mut layout) })?;
    Ok(layout)
}

fn pair(name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> OsString {
    let parts = [name.as_ref().as_bytes(), value.as_ref().as_bytes()];
    OsString::from_vec(parts.join(&b'='))
}

/// Pointers to NUL-terminated copies, which go to `texts`.
fn keep(texts: &mut Vec<CString>, given: &[OsString]) -> Result<Vec<*const c_char>> {
    given.iter().map(|text| keep_one(texts, text)).collect()
}

fn keep_one(texts: &mut Vec<CString>, text: &OsStr) -> Result<*const c_char> {
    let refused = Error::invalid_argument(c"WasiBuilder", c"a text has a NUL in it");
    let text = CString::new(text.as_bytes()).map_err(|_| refused)?;
    let pointer = text.as_ptr(); // to the heap: stays where it is when `text` is moved
    texts.push(text);
    Ok(pointer)
}

/// More than C could count is more than it takes.
fn count<T>(items: &[T]) -> u32 {
    items.len().try_into().unwrap_or(u32::MAX)
}
