//! A module in a process that has sealed itself. Mirrors `wrt_platform/linux/sandbox.h`.
//!
//! ```
//! use std::time::Duration;
//! use wrt_platform::linux::sandbox::{Sandbox, SandboxGuest};
//! use wrt_platform::{Value, ValueType};
//!
//! # let bytes = wat::parse_str(
//! #     r#"(module (import "env" "double" (func $double (param i32) (result i32)))
//! #          (func (export "run") (param i32) (result i32) (call $double (local.get 0))))"#,
//! # ).unwrap();
//! let mut sandbox = Sandbox::builder().with_maximum_pages(64).build()?;
//! let guest = SandboxGuest::new(&bytes).with_function(
//!     "env",
//!     "double",
//!     &[ValueType::I32],
//!     &[ValueType::I32],
//!     |_memory, arguments, results| {
//!         results[0] = Value::I32(2 * arguments[0].i32().unwrap_or(0));
//!         Ok(())
//!     },
//! );
//! sandbox.load(guest, None)?;
//! let results = sandbox.call("run", &[Value::I32(21)], Some(Duration::from_secs(5)))?;
//! assert_eq!(results, [Value::I32(42)]);
//! # Ok::<(), wrt_platform::Error>(())
//! ```
//!
//! The module's bytes are looked at in that process alone.

mod builder;
mod lent;
mod pool;
mod report;

use alloc::{boxed::Box, ffi::CString, string::String, sync::Arc, vec, vec::Vec};
use core::{cell::UnsafeCell, ffi::CStr, marker::PhantomData, mem, ptr, slice, time::Duration};
use std::{
    os::fd::{AsFd, BorrowedFd},
    sync::{Mutex, PoisonError},
};

use wrt_platform_sys as sys;

use crate::error::{Error, ErrorKind, Result, check};
use crate::host_function::HostResult;
use crate::limits::{Limits, nanoseconds};
use crate::module::FunctionType;
use crate::value::{Value, ValueType};
use crate::wasi::Wasi;

pub use builder::SandboxBuilder;
use lent::{Failure, Lent, Parts};
pub use pool::{SandboxPool, SandboxPoolBuilder, SandboxPoolReport};
pub use report::{SandboxEnd, SandboxReport};

/// How a guest is confined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SandboxProfile {
    /// A module, by the engine in a process with four system calls: [`SandboxBuilder::build`].
    Sealed,
    /// An ordinary program, with the forty-odd system calls that one needs:
    /// [`SandboxBuilder::confine`].
    Strict,
}

/// How much a wall that the system may lack is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SandboxWall {
    /// Not asked.
    Off,
    /// Where the system has it; the report says.
    Preferred,
    /// Or building fails.
    Required,
}

/// What C has, and who may reach it from another thread.
struct Shared {
    raw: UnsafeCell<sys::wrt_sandbox>,
    /// Held to kill and to end.
    alive: Mutex<bool>,
}

// SAFETY: `raw` is used by the one owner, who is not `Sync`; killing is for any thread, and `alive`
// keeps the sandbox from ending meanwhile.
unsafe impl Sync for Shared {}
// SAFETY: the C object is plain memory and descriptors, tied to no thread.
unsafe impl Send for Shared {}

/// One process for one instance; it ends with the object. Made by [`SandboxBuilder`], or taken
/// from a [`SandboxPool`]. `Send`, not `Sync`.
pub struct Sandbox<'a> {
    shared: Arc<Shared>,
    parts: Parts<'a>,
    alone: PhantomData<core::cell::Cell<()>>,
}

/// Ends a sandbox from any thread. A call that is under way fails with `Interrupted`.
#[derive(Clone)]
pub struct SandboxKiller {
    shared: Arc<Shared>,
}

/// A module, and what it gets.
#[must_use]
pub struct SandboxGuest<'a> {
    bytes: &'a [u8],
    raw: sys::wrt_sandbox_guest,
    refusal: Option<Error>,
    parts: Parts<'a>,
}

impl<'a> SandboxGuest<'a> {
    /// A module that is lent nothing.
    pub fn new(bytes: &'a [u8]) -> Self {
        // SAFETY: zero is a valid value of every field (integers, null pointers, false).
        let mut raw: sys::wrt_sandbox_guest = unsafe { mem::zeroed() };
        raw.struct_size = size_of::<sys::wrt_sandbox_guest>() as u32;
        Self { bytes, raw, refusal: None, parts: Parts::default() }
    }

    /// The calls of WASI; [`Sandbox::wasi`] then tells its exit code.
    pub fn with_wasi(mut self, wasi: Wasi<'a>) -> Self {
        self.parts.wasi = Some(wasi);
        self
    }

    /// A function of the host, whose types hold no references. The closure gets the guest's
    /// memory, which a guest that has broken out can change at any time: copy, then check the copy.
    pub fn with_function(
        mut self,
        module: &str,
        name: &str,
        parameters: &[ValueType],
        results: &[ValueType],
        call: impl FnMut(&mut [u8], &[Value], &mut [Value]) -> HostResult + Send + 'a,
    ) -> Self {
        let refused = Error::invalid_argument(c"SandboxGuest", c"a name has a NUL in it");
        match (CString::new(module), CString::new(name)) {
            (Ok(module), Ok(name)) => self.parts.names.push([module, name]),
            _ => self.refusal = Some(refused),
        }
        self.parts.functions.push(Lent::new(parameters, results, Box::new(call)));
        self
    }

    /// Memory and fuel; the time-out is given with each call.
    pub fn with_limits(mut self, limits: &Limits) -> Self {
        match limits.pages() {
            Ok(pages) => self.raw.maximum_pages = pages.unwrap_or(0),
            Err(refusal) => self.refusal = Some(refusal),
        }
        self.raw.has_fuel = limits.fuel.is_some();
        self.raw.fuel = limits.fuel.unwrap_or(0);
        self
    }

    /// Bytes of the guest stack; 0: 65536.
    pub const fn with_stack_size(mut self, bytes: u32) -> Self {
        self.raw.stack_size = bytes;
        self
    }

    /// Elements to which a table may grow; 0: at most 1024 above its first size.
    pub const fn with_maximum_table_elements(mut self, count: u32) -> Self {
        self.raw.maximum_table_elements = count;
        self
    }
}

impl<'a> Sandbox<'a> {
    /// Starts a builder.
    pub const fn builder() -> SandboxBuilder {
        SandboxBuilder::new()
    }

    fn new(raw: sys::wrt_sandbox) -> Self {
        let shared = Shared { raw: UnsafeCell::new(raw), alive: Mutex::new(true) };
        Self { shared: Arc::new(shared), parts: Parts::default(), alone: PhantomData }
    }

    fn raw(&self) -> *mut sys::wrt_sandbox {
        self.shared.raw.get()
    }

    /// Hands over a module, which is validated and instantiated there; nothing of it runs.
    pub fn load(&mut self, guest: SandboxGuest<'a>, timeout: Option<Duration>) -> Result<()> {
        let SandboxGuest { bytes, mut raw, refusal, mut parts } = guest;
        if let Some(refusal) = refusal {
            return Err(refusal);
        }
        let imports = parts.imports()?;
        mem::swap(&mut self.parts, &mut parts); // kept until the process has ended
        (raw.bytes, raw.bytes_size) = (bytes.as_ptr(), bytes.len());
        (raw.imports, raw.import_count) = (imports.as_ptr(), imports.len() as u32);
        // SAFETY: all that `raw` points to is live; what the imports point to stays with `self`.
        let status =
            unsafe { sys::wrt_sandbox_load(self.raw(), &raw const raw, nanoseconds(timeout)) };
        check(status).map_err(|error| error.with_place(self.sentence()))
    }

    /// Type of an exported function.
    pub fn function_type(&mut self, name: &str) -> Result<FunctionType<'_>> {
        // SAFETY: zero is a valid value of every field.
        let mut found = unsafe { mem::zeroed() };
        // SAFETY: the name is live; C fills in types that it has checked, and keeps them.
        unsafe {
            check(sys::wrt_sandbox_function(
                self.raw(),
                name.as_ptr().cast(),
                name.len(),
                &raw mut found,
            ))?;
            known_types(&found)?;
            Ok(FunctionType::from_raw(&found))
        }
    }

    /// Calls an exported function and waits for its end; when the time is over, the process is
    /// killed. A panic of a closure goes on from here.
    pub fn call(
        &mut self,
        name: &str,
        arguments: &[Value],
        timeout: Option<Duration>,
    ) -> Result<Vec<Value>> {
        let kind = self.function_type(name)?;
        if arguments.len() != kind.parameters.len() {
            let reason = c"there are {0} arguments, the function takes {1}";
            let error = Error::invalid_argument(c"Sandbox::call", reason);
            return Err(error.with_detail([arguments.len() as u64, kind.parameters.len() as u64]));
        }
        let lowered: Result<Vec<_>> = arguments
            .iter()
            .zip(kind.parameters)
            .map(|(argument, wanted)| argument.to_raw(*wanted, |_| false))
            .collect();
        let wanted: Vec<_> = kind.results.to_vec();
        let mut results = vec![sys::wrt_value { i64_: 0 }; wanted.len()];
        self.run(Some(name), &lowered?, &mut results, timeout)?;
        let pairs = results.iter().zip(wanted);
        // SAFETY: of that type; references are not told apart from null.
        Ok(pairs.map(|(raw, kind)| unsafe { Value::from_raw(*raw, kind, 0) }).collect())
    }

    /// Runs the module's start function, if it has one.
    pub fn start(&mut self, timeout: Option<Duration>) -> Result<()> {
        self.run(None, &[], &mut [], timeout)
    }

    fn run(
        &mut self,
        name: Option<&str>,
        arguments: &[sys::wrt_value],
        results: &mut [sys::wrt_value],
        timeout: Option<Duration>,
    ) -> Result<()> {
        let call = sys::wrt_sandbox_call {
            struct_size: size_of::<sys::wrt_sandbox_call>() as u32,
            argument_count: arguments.len() as u32,
            name: name.map_or(ptr::null(), |name| name.as_ptr().cast()),
            name_size: name.map_or(0, str::len),
            arguments: arguments.as_ptr(),
            results: results.as_mut_ptr(),
            result_count: results.len() as u32,
            reserved: [0; 4],
            timeout_ns: nanoseconds(timeout),
        };
        // SAFETY: the arrays are live, and as long as the counts say.
        check(unsafe { sys::wrt_sandbox_run(self.raw(), &raw const call) })
            .map_err(|error| self.explain(error))
    }

    /// What a closure failed with is the error's source, or goes on as the panic it was.
    fn explain(&self, error: Error) -> Error {
        for function in &self.parts.functions {
            // SAFETY: no call is under way.
            match unsafe { (*function.failure.get()).take() } {
                Some(Failure::Panic(payload)) => std::panic::resume_unwind(payload),
                Some(Failure::Error(source)) => return error.with_source(source),
                None => {}
            }
        }
        error
    }

    /// The calls of WASI that were lent.
    pub const fn wasi(&self) -> Option<&Wasi<'a>> {
        self.parts.wasi.as_ref()
    }

    /// For other threads.
    pub fn killer(&self) -> SandboxKiller {
        SandboxKiller { shared: self.shared.clone() }
    }

    /// A copy of the guest's memory, as it is now.
    pub fn read(&self, address: usize, bytes: &mut [u8]) -> Result<()> {
        let place = self.place(address, bytes.len())?;
        // SAFETY: in the memory, which the guest may be writing; so no reference is made to it.
        unsafe { place.copy_to_nonoverlapping(bytes.as_mut_ptr(), bytes.len()) };
        Ok(())
    }

    /// Copies into the guest's memory.
    pub fn write(&mut self, address: usize, bytes: &[u8]) -> Result<()> {
        let place = self.place(address, bytes.len())?;
        // SAFETY: as in `read`.
        unsafe { place.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        Ok(())
    }

    fn place(&self, address: usize, size: usize) -> Result<*mut u8> {
        let (mut base, mut limit) = (ptr::null_mut(), 0);
        // SAFETY: both outputs are live.
        check(unsafe { sys::wrt_sandbox_memory(self.raw(), &raw mut base, &raw mut limit) })?;
        if address.checked_add(size).is_none_or(|end| end as u64 > limit) {
            let reason = c"{0} bytes of memory are there, not what was asked for at {1}";
            let error = Error::invalid_argument(c"Sandbox", reason);
            return Err(error.with_detail([limit, address as u64]));
        }
        // SAFETY: inside.
        Ok(unsafe { base.add(address) })
    }

    /// What holds, what has been used, and how the process ended, if it has.
    pub fn report(&mut self) -> Result<SandboxReport> {
        // SAFETY: zero is a valid value of every field but the texts, which C fills in.
        let mut raw = unsafe { mem::zeroed() };
        // SAFETY: the output is live.
        check(unsafe { sys::wrt_sandbox_query(self.raw(), &raw mut raw) })?;
        Ok(SandboxReport::from_raw(&raw))
    }

    /// What the process said about its last failure: a guest's word.
    pub fn sentence(&self) -> String {
        let mut text = [0u8; 1024];
        // SAFETY: C writes at most so many bytes, NUL included.
        let status =
            unsafe { sys::wrt_sandbox_sentence(self.raw(), text.as_mut_ptr().cast(), text.len()) };
        let said = CStr::from_bytes_until_nul(&text).ok().filter(|_| status == 0);
        said.map_or_else(String::new, |said| said.to_string_lossy().into_owned())
    }
}

impl AsFd for Sandbox<'_> {
    /// Readable when there may be something to serve.
    fn as_fd(&self) -> BorrowedFd<'_> {
        let mut descriptor = -1;
        // SAFETY: the output is live.
        let status = unsafe { sys::wrt_sandbox_descriptor(self.raw(), &raw mut descriptor) };
        debug_assert_eq!(status, 0, "a fork's child uses it");
        // SAFETY: it stays open as long as the sandbox.
        unsafe { BorrowedFd::borrow_raw(descriptor) }
    }
}

impl Drop for Sandbox<'_> {
    fn drop(&mut self) {
        let mut alive = self.shared.alive.lock().unwrap_or_else(PoisonError::into_inner);
        *alive = false;
        // SAFETY: nobody else is inside; those who kill look at `alive` first.
        let status = unsafe { sys::wrt_sandbox_deinit(self.raw()) };
        debug_assert_eq!(status, 0, "no host function of its guest is running");
    }
}

impl SandboxKiller {
    /// Ends the process. Of a sandbox that has ended it does nothing.
    pub fn kill(&self) -> Result<()> {
        let alive = self.shared.alive.lock().unwrap_or_else(PoisonError::into_inner);
        if !*alive {
            return Ok(());
        }
        // SAFETY: it cannot end while the lock is held; the call is for any thread.
        check(unsafe { sys::wrt_sandbox_kill(self.shared.raw.get()) })
    }
}

/// C has checked neither: they are a guest's word.
fn known_types(raw: &sys::wrt_function_type) -> Result<()> {
    let known = |first: *const u8, count: u32| {
        // SAFETY: C has so many bytes there.
        count == 0
            || unsafe { slice::from_raw_parts(first, count as usize) }
                .iter()
                .all(|byte| ValueType::from_byte(*byte).is_some())
    };
    if known(raw.parameters, raw.parameter_count) && known(raw.results, raw.result_count) {
        return Ok(());
    }
    let reason = c"the process of the sandbox told of a type that there is not";
    Err(Error::new(ErrorKind::Crashed, c"Sandbox::function_type", reason))
}

/// The program that runs in the process: a static ELF file, for
/// [`with_program_path`](SandboxBuilder::with_program_path).
pub fn program() -> Result<&'static [u8]> {
    let (mut bytes, mut size) = (ptr::null(), 0);
    // SAFETY: both outputs are live; C has static memory there.
    unsafe {
        check(sys::wrt_sandbox_program(&raw mut bytes, &raw mut size))?;
        Ok(slice::from_raw_parts(bytes, size))
    }
}
