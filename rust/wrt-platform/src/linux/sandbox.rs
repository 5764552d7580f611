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

use alloc::{boxed::Box, ffi::CString, string::String, sync::Arc, vec, vec::Vec};
use core::{
    cell::UnsafeCell,
    ffi::{CStr, c_void},
    marker::PhantomData,
    mem, ptr, slice,
    time::Duration,
};
use std::{
    any::Any,
    os::fd::{AsFd, BorrowedFd},
    os::unix::ffi::OsStrExt,
    path::Path,
    sync::{Mutex, PoisonError},
};

use wrt_platform_sys as sys;

use crate::Layout;
use crate::enforcement::Enforcement;
use crate::error::{Error, ErrorKind, Result, Source, check};
use crate::host_function::HostResult;
use crate::limits::{Limits, nanoseconds};
use crate::module::FunctionType;
use crate::value::{Value, ValueType};
use crate::wasi::Wasi;

/// How a guest is confined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SandboxProfile {
    /// The engine in a process with four system calls.
    Sealed,
    /// An ordinary process with a short list of system calls; not there yet.
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

/// How the process of a sandbox ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SandboxEnd {
    /// It has not.
    Runs,
    /// By this crate: time-out, [`SandboxKiller::kill`].
    Killed,
    /// By a signal; 31 (SIGSYS) is the filter's.
    Signalled(i32),
    /// By itself, with a code: it should not.
    Exited(i32),
    /// Somebody else took its status.
    Unknown,
}

/// What holds, and what has been used; the numbers of the guest are the guest's word.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SandboxReport {
    /// Id of the process; 0 once it has ended.
    pub process: i32,
    /// How it ended.
    pub end: SandboxEnd,
    /// Pages of the guest's memory.
    pub memory_pages: u32,
    /// The most there ever were.
    pub memory_peak_pages: u32,
    /// `memory.grow` answered -1.
    pub refused_growths: u32,
    /// The deepest the guest stack has been, in bytes.
    pub stack_peak_bytes: u32,
    /// Calls that this process answered.
    pub host_calls: u32,
    /// Processor time.
    pub cpu: Duration,
    /// Instructions.
    pub fuel_used: u64,
    /// `None`: without bound.
    pub fuel_left: Option<u64>,
    /// Bytes that the engine has taken.
    pub engine_bytes: u64,
    /// Code of the last call's trap, 0 if there was none.
    pub trap_code: u32,
    /// Function and offset of each frame of that trap, the innermost first.
    pub frames: Vec<(u32, u32)>,
    /// The filter.
    pub system_calls: Enforcement,
    /// Of the process.
    pub no_new_privileges: Enforcement,
    /// Other processes of this user can't look inside.
    pub unobservable: Enforcement,
    /// Of the process.
    pub resource_limits: Enforcement,
    /// It does not outlive this process.
    pub life_line: Enforcement,
    /// No file at all.
    pub landlock: Enforcement,
    /// No user, no capability.
    pub user_namespace: Enforcement,
    /// A view of files of its own.
    pub mount_namespace: Enforcement,
    /// No System V objects.
    pub ipc_namespace: Enforcement,
    /// No network.
    pub network_namespace: Enforcement,
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

/// What C borrows until the sandbox ends.
#[derive(Default)]
struct Parts<'a> {
    wasi: Option<Wasi<'a>>,
    functions: Vec<Box<Lent<'a>>>,
    names: Vec<[CString; 2]>,
}

type Call<'a> = dyn FnMut(&mut [u8], &[Value], &mut [Value]) -> HostResult + Send + 'a;

/// A closure for the guest, where it stays.
struct Lent<'a> {
    raw: UnsafeCell<sys::wrt_host_function>,
    parameters: Vec<ValueType>,
    results: Vec<ValueType>,
    call: UnsafeCell<Box<Call<'a>>>,
    failure: UnsafeCell<Option<Failure>>,
}

enum Failure {
    Error(Source),
    Panic(Box<dyn Any + Send>),
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
        self.parts.functions.push(Box::new(Lent {
            // SAFETY: zero is a valid value of every field.
            raw: UnsafeCell::new(unsafe { mem::zeroed() }),
            parameters: parameters.into(),
            results: results.into(),
            call: UnsafeCell::new(Box::new(call)),
            failure: UnsafeCell::new(None),
        }));
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

impl SandboxReport {
    fn from_raw(raw: &sys::wrt_sandbox_report) -> Self {
        let frames = raw.frames.iter().take(raw.frame_count as usize);
        Self {
            process: raw.process,
            end: match raw.end {
                sys::WRT_SANDBOX_RUNS => SandboxEnd::Runs,
                sys::WRT_SANDBOX_KILLED => SandboxEnd::Killed,
                sys::WRT_SANDBOX_SIGNALLED => SandboxEnd::Signalled(raw.end_number),
                sys::WRT_SANDBOX_EXITED => SandboxEnd::Exited(raw.end_number),
                _ => SandboxEnd::Unknown,
            },
            memory_pages: raw.memory_pages,
            memory_peak_pages: raw.memory_peak_pages,
            refused_growths: raw.refused_growths,
            stack_peak_bytes: raw.stack_peak_bytes,
            host_calls: raw.host_calls,
            cpu: Duration::from_nanos(raw.cpu_ns),
            fuel_used: raw.fuel_used,
            fuel_left: (raw.fuel_left != u64::MAX).then_some(raw.fuel_left),
            engine_bytes: raw.engine_bytes,
            trap_code: raw.trap_code,
            frames: frames.map(|frame| (frame.function, frame.offset)).collect(),
            system_calls: Enforcement::from_raw(&raw.system_calls),
            no_new_privileges: Enforcement::from_raw(&raw.no_new_privileges),
            unobservable: Enforcement::from_raw(&raw.unobservable),
            resource_limits: Enforcement::from_raw(&raw.resource_limits),
            life_line: Enforcement::from_raw(&raw.life_line),
            landlock: Enforcement::from_raw(&raw.landlock),
            user_namespace: Enforcement::from_raw(&raw.user_namespace),
            mount_namespace: Enforcement::from_raw(&raw.mount_namespace),
            ipc_namespace: Enforcement::from_raw(&raw.ipc_namespace),
            network_namespace: Enforcement::from_raw(&raw.network_namespace),
        }
    }
}

impl Parts<'_> {
    /// As C takes them; they point into the boxes, which stay where they are.
    fn imports(&mut self) -> Result<Vec<sys::wrt_import>> {
        let mut imports: Vec<_> = self.wasi.as_ref().map_or(Ok(&[][..]), Wasi::imports)?.to_vec();
        for (function, [module, name]) in self.functions.iter().zip(&self.names) {
            let value = function.bind(name)?;
            imports.push(sys::wrt_import { module: module.as_ptr(), name: name.as_ptr(), value });
        }
        Ok(imports)
    }
}

impl Lent<'_> {
    fn bind(&self, name: &CStr) -> Result<sys::wrt_extern> {
        // SAFETY: zero is a valid value of every field.
        let mut config: sys::wrt_host_function_config = unsafe { mem::zeroed() };
        config.struct_size = size_of::<sys::wrt_host_function_config>() as u32;
        config.parameters = ValueType::bytes(&self.parameters).as_ptr();
        config.parameter_count = self.parameters.len() as u32;
        config.results = ValueType::bytes(&self.results).as_ptr();
        config.result_count = self.results.len() as u32;
        config.name = name.as_ptr();
        config.call = Some(trampoline);
        config.context = ptr::from_ref(self).cast_mut().cast();
        // SAFETY: both pointers are live; the types stay as long as the function.
        check(unsafe { sys::wrt_host_function_init(self.raw.get(), &raw const config) })?;
        // SAFETY: `function` is the first field of an object that lives.
        let function = unsafe { &raw mut (*self.raw.get()).function };
        let of = sys::wrt_extern__bindgen_ty_1 { function };
        Ok(sys::wrt_extern { kind: sys::WRT_EXTERN_FUNCTION, reserved: 0, of })
    }

    /// # Safety
    /// `values` has room for the longer of arguments and results.
    unsafe fn enter(&self, memory: &mut [u8], values: *mut sys::wrt_value) -> HostResult {
        let arguments: Vec<_> = self
            .parameters
            .iter()
            .enumerate()
            // SAFETY: C promises a value for each parameter.
            .map(|(index, kind)| unsafe { Value::from_raw(*values.add(index), *kind, 0) })
            .collect();
        let mut results: Vec<_> = self.results.iter().map(|kind| Value::zero(*kind)).collect();
        // SAFETY: one call at a time: a sandbox refuses its guest's host functions.
        let call = unsafe { &mut *self.call.get() };
        call(memory, &arguments, &mut results)?;
        for (index, (result, kind)) in results.iter().zip(&self.results).enumerate() {
            let raw = result.to_raw(*kind, |_| false)?;
            // SAFETY: C promises room for each result.
            unsafe { values.add(index).write(raw) };
        }
        Ok(())
    }
}

/// What C calls: `context` is the function's own address.
unsafe extern "C" fn trampoline(
    context: *mut c_void,
    caller: *mut sys::wrt_instance,
    values: *mut sys::wrt_value,
) -> sys::wrt_status {
    // SAFETY: `bind` put the address in, and the box stays.
    let function = unsafe { &*context.cast::<Lent<'_>>() };
    let mut memory = ptr::null_mut();
    // SAFETY: C hands over an instance that lives; its memory is mapped as long as the sandbox.
    let memory: &mut [u8] = unsafe {
        match sys::wrt_instance_memory(caller, &raw mut memory) {
            0 if !(*memory).base.is_null() => {
                slice::from_raw_parts_mut((*memory).base, (*memory).bytes as usize)
            }
            _ => &mut [],
        }
    };
    // SAFETY: C gives room for the longer of arguments and results.
    let work = std::panic::AssertUnwindSafe(|| unsafe { function.enter(memory, values) });
    let (failure, kind) = match std::panic::catch_unwind(work) {
        Ok(Ok(())) => return sys::WRT_OK as sys::wrt_status,
        Ok(Err(error)) => error.into_parts(),
        Err(payload) => {
            // SAFETY: one call at a time.
            unsafe { *function.failure.get() = Some(Failure::Panic(payload)) };
            return ErrorKind::Host.status();
        }
    };
    if let Some(source) = failure {
        // SAFETY: one call at a time.
        unsafe { *function.failure.get() = Some(Failure::Error(source)) };
    }
    kind.status()
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

/// Collects settings; the rules of linux/sandbox.h are checked by [`build`](Self::build).
#[must_use]
#[derive(Clone)]
pub struct SandboxBuilder {
    config: sys::wrt_sandbox_config,
    path: Option<CString>,
}

// SAFETY: the pointer in the config is set from `path`, while C reads it.
unsafe impl Send for SandboxBuilder {}

impl SandboxBuilder {
    /// Starts with the defaults.
    pub const fn new() -> Self {
        // SAFETY: zero is a valid value of every field (integers, null pointer).
        let mut config: sys::wrt_sandbox_config = unsafe { mem::zeroed() };
        config.struct_size = size_of::<sys::wrt_sandbox_config>() as u32;
        Self { config, path: None }
    }

    /// `Strict` is `Unsupported` until this crate has it.
    pub const fn with_profile(mut self, profile: SandboxProfile) -> Self {
        self.config.profile = match profile {
            SandboxProfile::Sealed => sys::WRT_SANDBOX_SEALED,
            SandboxProfile::Strict => sys::WRT_SANDBOX_STRICT,
        };
        self
    }

    /// Of linear memory, 64 KiB each; 0: 4096, 256 MiB.
    pub const fn with_maximum_pages(mut self, pages: u32) -> Self {
        self.config.maximum_pages = pages;
        self
    }

    /// Processor time, then the kernel kills it; 0: no limit.
    pub const fn with_cpu_seconds(mut self, seconds: u32) -> Self {
        self.config.cpu_seconds = seconds;
        self
    }

    /// No file at all, behind the filter; without this call it is preferred.
    pub const fn with_landlock(mut self, wall: SandboxWall) -> Self {
        self.config.landlock = wall.raw();
        self
    }

    /// No user and no capability, behind the filter; without this call it is off.
    pub const fn with_user_namespace(mut self, wall: SandboxWall) -> Self {
        self.config.user_namespace = wall.raw();
        self
    }

    /// A view of files of its own, behind the filter; without this call it is off.
    pub const fn with_mount_namespace(mut self, wall: SandboxWall) -> Self {
        self.config.mount_namespace = wall.raw();
        self
    }

    /// No System V objects, behind the filter; without this call it is off.
    pub const fn with_ipc_namespace(mut self, wall: SandboxWall) -> Self {
        self.config.ipc_namespace = wall.raw();
        self
    }

    /// No network, behind the filter; without this call it is off, since it costs 0.4 ms.
    pub const fn with_network_namespace(mut self, wall: SandboxWall) -> Self {
        self.config.network_namespace = wall.raw();
        self
    }

    /// Room for a module and its imports' names; at most 1 GiB; 0: 16 MiB.
    pub const fn with_maximum_module_bytes(mut self, bytes: u64) -> Self {
        self.config.maximum_module_bytes = bytes;
        self
    }

    /// For the engine's tables and the guest's stack; at most 1 GiB; 0: 64 MiB.
    pub const fn with_working_bytes(mut self, bytes: u64) -> Self {
        self.config.working_bytes = bytes;
        self
    }

    /// A file that holds [`program`], where nothing is executed from memory.
    pub fn with_program_path(mut self, path: impl AsRef<Path>) -> Self {
        // A path with a NUL names no file, like an empty one.
        self.path = Some(CString::new(path.as_ref().as_os_str().as_bytes()).unwrap_or_default());
        self
    }

    /// Starts the process; it is sealed then, and waits.
    pub fn build<'a>(&self) -> Result<Sandbox<'a>> {
        // SAFETY: zero is a valid value of every field.
        let mut raw = unsafe { mem::zeroed() };
        let config = self.completed();
        // SAFETY: both pointers are live, and so is the path.
        check(unsafe { sys::wrt_sandbox_init(&raw mut raw, &raw const config) })?;
        Ok(Sandbox::new(raw))
    }

    fn completed(&self) -> sys::wrt_sandbox_config {
        let mut config = self.config;
        config.program_path = self.path.as_ref().map_or(ptr::null(), |path| path.as_ptr());
        config
    }
}

impl Default for SandboxBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl SandboxWall {
    const fn raw(self) -> u32 {
        match self {
            Self::Off => sys::WRT_SANDBOX_WALL_OFF,
            Self::Preferred => sys::WRT_SANDBOX_WALL_PREFERRED,
            Self::Required => sys::WRT_SANDBOX_WALL_REQUIRED,
        }
    }
}

/// Sandboxes that are sealed and wait for work; made by [`SandboxPoolBuilder`].
pub struct SandboxPool<'lent> {
    raw: sys::wrt_sandbox_pool,
    _buffer: Vec<u64>,
    _sandbox: SandboxBuilder,
    lent: PhantomData<&'lent mut [u64]>,
}

// SAFETY: the C object is plain memory and descriptors, tied to no thread.
unsafe impl Send for SandboxPool<'_> {}

/// What a pool has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SandboxPoolReport {
    /// Waiting now.
    pub ready: u32,
    /// As the builder says.
    pub wanted: u32,
    /// Handed out.
    pub taken: u64,
    /// Of these, started on demand.
    pub missed: u64,
    /// Found dead while they waited.
    pub replaced: u64,
}

/// Collects settings; the rules of linux/sandbox.h are checked by [`build`](Self::build).
#[must_use]
pub struct SandboxPoolBuilder<'lent> {
    config: sys::wrt_sandbox_pool_config,
    sandbox: SandboxBuilder,
    lent: PhantomData<&'lent mut [u64]>,
}

impl<'lent> SandboxPoolBuilder<'lent> {
    /// Starts without a number.
    pub const fn new() -> Self {
        // SAFETY: zero is a valid value of every field (integers, null pointers).
        let mut config: sys::wrt_sandbox_pool_config = unsafe { mem::zeroed() };
        config.struct_size = size_of::<sys::wrt_sandbox_pool_config>() as u32;
        Self { config, sandbox: SandboxBuilder::new(), lent: PhantomData }
    }

    /// Sandboxes that wait, 1 to 1024.
    pub const fn with_ready(mut self, count: u32) -> Self {
        self.config.ready = count;
        self
    }

    /// What each of them is made of.
    pub fn with_sandbox(mut self, sandbox: SandboxBuilder) -> Self {
        self.sandbox = sandbox;
        self
    }

    /// Keeps its table here. Without it, it goes to the heap.
    pub const fn with_buffer(mut self, buffer: &'lent mut [u64]) -> Self {
        self.config.buffer_size = size_of_val(buffer);
        self.config.buffer = buffer.as_mut_ptr().cast();
        self
    }

    /// What buffer the settings need; exact.
    pub fn layout(&self) -> Result<Layout> {
        let mut layout = Layout { bytes: 0, alignment: 0 };
        let config = self.completed();
        // SAFETY: both pointers are live.
        check(unsafe { sys::wrt_sandbox_pool_layout(&raw const config, &raw mut layout) })?;
        Ok(layout)
    }

    /// Starts the sandboxes.
    pub fn build(self) -> Result<SandboxPool<'lent>> {
        let mut config = self.completed();
        let mut buffer = Vec::new();
        if config.buffer.is_null() {
            buffer = vec![0u64; self.layout()?.bytes.div_ceil(8)];
            config.buffer = buffer.as_mut_ptr().cast();
            config.buffer_size = size_of_val(buffer.as_slice());
        }
        // SAFETY: zero is a valid value of every field.
        let mut raw = unsafe { mem::zeroed() };
        // SAFETY: both pointers are live; buffer and path stay with the pool.
        check(unsafe { sys::wrt_sandbox_pool_init(&raw mut raw, &raw const config) })?;
        Ok(SandboxPool { raw, _buffer: buffer, _sandbox: self.sandbox, lent: PhantomData })
    }

    fn completed(&self) -> sys::wrt_sandbox_pool_config {
        let mut config = self.config;
        config.sandbox = self.sandbox.completed();
        config
    }
}

impl Default for SandboxPoolBuilder<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl SandboxPool<'_> {
    /// A sandbox that nobody has used: one that waits, or else a new one.
    pub fn take<'a>(&mut self) -> Result<Sandbox<'a>> {
        // SAFETY: zero is a valid value of every field.
        let mut raw = unsafe { mem::zeroed() };
        // SAFETY: both are live; the pool may be moved between calls.
        check(unsafe { sys::wrt_sandbox_pool_take(&raw mut self.raw, &raw mut raw) })?;
        Ok(Sandbox::new(raw))
    }

    /// Starts as many as are missing, when there is time for it.
    pub fn fill(&mut self) -> Result<()> {
        // SAFETY: initialised.
        check(unsafe { sys::wrt_sandbox_pool_fill(&raw mut self.raw) })
    }

    /// What is there.
    pub fn report(&self) -> Result<SandboxPoolReport> {
        // SAFETY: zero is a valid value of every field.
        let mut raw: sys::wrt_sandbox_pool_report = unsafe { mem::zeroed() };
        // SAFETY: both are live.
        check(unsafe { sys::wrt_sandbox_pool_query(&raw const self.raw, &raw mut raw) })?;
        Ok(SandboxPoolReport {
            ready: raw.ready,
            wanted: raw.wanted,
            taken: raw.taken,
            missed: raw.missed,
            replaced: raw.replaced,
        })
    }
}

impl Drop for SandboxPool<'_> {
    fn drop(&mut self) {
        // SAFETY: initialised; the sandboxes that were handed out are not its own any more.
        let status = unsafe { sys::wrt_sandbox_pool_deinit(&raw mut self.raw) };
        debug_assert_eq!(status, 0, "nothing runs in it");
    }
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
