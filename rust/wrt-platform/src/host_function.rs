//! Functions of the host that a guest may call. Mirrors a part of `wrt_platform/instance.h`.
//!
//! ```
//! use wrt_platform::{HostFunction, Value, ValueType};
//!
//! let double = HostFunction::builder()
//!     .with_parameters(&[ValueType::I32])
//!     .with_results(&[ValueType::I32])
//!     .with_name(c"double")
//!     .with_call(|_caller, arguments, results| {
//!         results[0] = Value::I32(2 * arguments[0].i32().unwrap_or(0));
//!         Ok(())
//!     })
//!     .build()?;
//! # Ok::<(), wrt_platform::Error>(())
//! ```
//!
//! A closure that panics does not unwind C frames: with the feature `std` the panic goes on once
//! C has returned, else the program ends.

use core::{
    cell::{RefCell, UnsafeCell},
    ffi::{CStr, c_void},
    marker::PhantomData,
    mem, ptr,
};

use wrt_platform_sys as sys;

use crate::caller::Caller;
use crate::error::{Error, ErrorKind, Result, check};
use crate::import::Import;
use crate::instance::{raw, storage::InstanceStorage};
use crate::module::FunctionType;
use crate::value::{Room, Value, ValueType};

#[cfg(feature = "alloc")]
use crate::error::Source;
#[cfg(feature = "alloc")]
use crate::instance::storage::Failure;

/// What a host closure returns when it cannot do its work. `?` makes one of any error, with the
/// feature `alloc`; the caller of the guest finds it as the source of its own error.
///
/// [`ErrorKind::Pending`] asks to be called again, with the same arguments, when the call is run
/// on; wait no longer than some 20 ms before, so that time-outs and interrupts land.
#[derive(Debug)]
pub struct HostError {
    kind: ErrorKind,
    #[cfg(feature = "alloc")]
    source: Option<Source>,
}

/// Result of a host closure.
pub type HostResult = core::result::Result<(), HostError>;

impl From<ErrorKind> for HostError {
    fn from(kind: ErrorKind) -> Self {
        Self {
            kind,
            #[cfg(feature = "alloc")]
            source: None,
        }
    }
}

#[cfg(feature = "alloc")]
impl HostError {
    /// Any error, or just a text.
    pub fn new(source: impl Into<Source>) -> Self {
        let source = source.into();
        // An error of this crate keeps its kind: the guest of a guest that ran out of fuel.
        let kind = source.downcast_ref::<Error>().map_or(ErrorKind::Host, |error| error.kind);
        Self { kind, source: Some(source) }
    }

    /// What it was made of.
    #[cfg(all(feature = "std", target_os = "linux"))]
    pub(crate) fn into_parts(self) -> (Option<Source>, ErrorKind) {
        (self.source, self.kind)
    }
}

#[cfg(feature = "alloc")]
impl<E: core::error::Error + Send + Sync + 'static> From<E> for HostError {
    fn from(error: E) -> Self {
        Self::new(error)
    }
}

#[cfg(not(feature = "alloc"))]
impl From<Error> for HostError {
    fn from(error: Error) -> Self {
        error.kind.into()
    }
}

/// A closure for the guest. It may be moved until it is imported.
pub struct HostFunction<'a, F> {
    raw: UnsafeCell<sys::wrt_host_function>,
    config: sys::wrt_host_function_config,
    /// The context is the object itself.
    is_closure: bool,
    call: RefCell<F>,
    types: PhantomData<&'a [ValueType]>,
}

// SAFETY: the pointers inside are to itself, or to borrowed data that never changes.
unsafe impl<F: Send> Send for HostFunction<'_, F> {}

/// Collects what a host function is. `F` is the closure, once it is there.
#[must_use]
pub struct HostFunctionBuilder<'a, F = ()> {
    config: sys::wrt_host_function_config,
    call: F,
    types: PhantomData<&'a [ValueType]>,
}

impl HostFunction<'_, ()> {
    /// Starts a builder: no parameters, no results.
    pub const fn builder<'a>() -> HostFunctionBuilder<'a> {
        HostFunctionBuilder::new()
    }
}

impl<'a> HostFunctionBuilder<'a> {
    /// No parameters, no results.
    pub const fn new() -> Self {
        // SAFETY: zero is a valid value of every field (integers, null pointers, no function).
        let mut config: sys::wrt_host_function_config = unsafe { mem::zeroed() };
        config.struct_size = size_of::<sys::wrt_host_function_config>() as u32;
        Self { config, call: (), types: PhantomData }
    }
}

impl Default for HostFunctionBuilder<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a, F> HostFunctionBuilder<'a, F> {
    /// Types of the arguments, at most 1000.
    pub const fn with_parameters(mut self, parameters: &'a [ValueType]) -> Self {
        self.config.parameters = ValueType::bytes(parameters).as_ptr();
        self.config.parameter_count = parameters.len() as u32;
        self
    }

    /// Types of the results, at most 1000.
    pub const fn with_results(mut self, results: &'a [ValueType]) -> Self {
        self.config.results = ValueType::bytes(results).as_ptr();
        self.config.result_count = results.len() as u32;
        self
    }

    /// What backtraces call it.
    pub const fn with_name(mut self, name: &'a CStr) -> Self {
        self.config.name = name.as_ptr();
        self
    }

    /// The work. The arguments are of the declared types; the results are zero or null at first,
    /// and have to be of theirs in the end. A closure that is called from inside itself, by way
    /// of the guest, fails with `State`.
    pub fn with_call(
        self,
        call: impl FnMut(&mut Caller<'_>, &[Value], &mut [Value]) -> HostResult,
    ) -> HostFunctionBuilder<'a, impl FnMut(&mut Caller<'_>, &[Value], &mut [Value]) -> HostResult>
    {
        HostFunctionBuilder { config: self.config, call, types: PhantomData }
    }

    /// What a function of C is given as its context; a closure has its own.
    pub const fn with_context(mut self, context: *mut c_void) -> Self {
        self.config.context = context;
        self
    }

    /// The work, by a function of C.
    ///
    /// # Safety
    /// The function does what `wrt_host_fn` in instance.h says. The context lives as long as the
    /// host function, and may be used from any one thread at a time.
    pub unsafe fn with_raw_call(
        mut self,
        call: unsafe extern "C" fn(
            *mut c_void,
            *mut sys::wrt_instance,
            *mut sys::wrt_value,
        ) -> sys::wrt_status,
    ) -> HostFunctionBuilder<'a, RawCall> {
        self.config.call = Some(call);
        HostFunctionBuilder { config: self.config, call: RawCall(()), types: PhantomData }
    }
}

/// Stands for a closure where the work is done by a function of C.
#[derive(Debug)]
pub struct RawCall(());

impl<'a> HostFunctionBuilder<'a, RawCall> {
    /// Checks the types' count.
    pub fn build(self) -> Result<HostFunction<'a, RawCall>> {
        self.finish(false)
    }
}

impl<'a, F> HostFunctionBuilder<'a, F> {
    fn finish(self, is_closure: bool) -> Result<HostFunction<'a, F>> {
        let function = HostFunction {
            // SAFETY: zero is a valid value of every field (integers, null pointers, no function).
            raw: UnsafeCell::new(unsafe { mem::zeroed() }),
            config: self.config,
            is_closure,
            call: RefCell::new(self.call),
            types: PhantomData,
        };
        function.init()?; // what is wrong is said here; `bind` does it again, at the last address
        Ok(function)
    }
}

impl<'a, F> HostFunctionBuilder<'a, F>
where
    F: FnMut(&mut Caller<'_>, &[Value], &mut [Value]) -> HostResult,
{
    /// Checks the types' count.
    pub fn build(mut self) -> Result<HostFunction<'a, F>> {
        self.config.call = Some(trampoline::<F>);
        self.finish(true)
    }
}

impl<F> HostFunction<'_, F> {
    fn init(&self) -> Result<()> {
        let mut config = self.config;
        if self.is_closure {
            config.context = ptr::from_ref(self).cast_mut().cast();
        }
        // SAFETY: both pointers are live; types and name are borrowed.
        check(unsafe { sys::wrt_host_function_init(self.raw.get(), &raw const config) })
    }
}

/// A host function of any closure.
pub(crate) trait Bind {
    /// What C imports. The function must stay at this address for as long as C has it.
    fn bind(&self) -> Result<sys::wrt_extern>;
}

impl<F> Bind for HostFunction<'_, F> {
    fn bind(&self) -> Result<sys::wrt_extern> {
        self.init()?;
        // SAFETY: `function` is the first field of an object that lives.
        let function = unsafe { &raw mut (*self.raw.get()).function };
        Ok(sys::wrt_extern {
            kind: sys::WRT_EXTERN_FUNCTION,
            reserved: 0,
            of: sys::wrt_extern__bindgen_ty_1 { function },
        })
    }
}

impl<F: Send> HostFunction<'_, F> {
    /// Lends the function to an instance, for
    /// [`with_imports`](crate::InstanceBuilder::with_imports).
    pub fn import<'i>(&'i mut self, module: &'i CStr, name: &'i CStr) -> Result<Import<'i>> {
        // SAFETY: the borrow keeps it where it is.
        Ok(unsafe { Import::new(module, name, self.bind()?) })
    }
}

/// What C calls: `context` is the function's own address.
unsafe extern "C" fn trampoline<F>(
    context: *mut c_void,
    caller: *mut sys::wrt_instance,
    values: *mut sys::wrt_value,
) -> sys::wrt_status
where
    F: FnMut(&mut Caller<'_>, &[Value], &mut [Value]) -> HostResult,
{
    // SAFETY: `bind` put the address in, and its caller keeps the function there.
    let function = unsafe { &*context.cast::<HostFunction<'_, F>>() };
    // SAFETY: instances of this crate live in a storage; they are alive while they call.
    let storage = unsafe { InstanceStorage::of(caller) };
    // SAFETY: C gives room for the longer of arguments and results.
    match catch_panic(storage, || unsafe { function.enter(storage, values) }) {
        Ok(()) => sys::WRT_OK as sys::wrt_status,
        Err(error) if ends_by_interrupt(storage, &error) => ErrorKind::Interrupted.status(),
        Err(error) => report(storage, error),
    }
}

/// Whether what ended a wait is the interrupt of the call itself, which C takes up.
fn ends_by_interrupt(storage: &InstanceStorage, error: &HostError) -> bool {
    error.kind == ErrorKind::Interrupted && raw::cancel_token(storage).is_requested()
}

#[cfg(feature = "std")]
fn catch_panic(storage: &InstanceStorage, work: impl FnOnce() -> HostResult) -> HostResult {
    // Whoever sees what a panic left half done is who sees the panic: it goes on after C.
    let work = std::panic::AssertUnwindSafe(work);
    std::panic::catch_unwind(work).unwrap_or_else(|payload| {
        storage.fail(Failure::Panic(payload));
        Err(ErrorKind::Host.into())
    })
}

#[cfg(not(feature = "std"))]
fn catch_panic(_storage: &InstanceStorage, work: impl FnOnce() -> HostResult) -> HostResult {
    work() // a panic ends the program at the edge to C
}

#[cfg(feature = "alloc")]
fn report(storage: &InstanceStorage, error: HostError) -> sys::wrt_status {
    if let Some(source) = error.source {
        storage.fail(Failure::Error(source));
    }
    error.kind.status()
}

#[cfg(not(feature = "alloc"))]
fn report(_storage: &InstanceStorage, error: HostError) -> sys::wrt_status {
    error.kind.status()
}

impl<F> HostFunction<'_, F>
where
    F: FnMut(&mut Caller<'_>, &[Value], &mut [Value]) -> HostResult,
{
    /// # Safety
    /// `values` has room for the longer of arguments and results.
    unsafe fn enter(&self, storage: &InstanceStorage, values: *mut sys::wrt_value) -> HostResult {
        let reason = c"a host closure was called from inside itself";
        let busy = |_| Error::new(ErrorKind::State, c"HostFunction", reason);
        let mut call = self.call.try_borrow_mut().map_err(busy)?;
        // SAFETY: bound, so the type is filled in; it points to borrowed types.
        let kind = unsafe { FunctionType::from_raw(&(*self.raw.get()).type_) };
        let mut arguments = Room::new(kind.parameters.len(), Value::I32(0))?;
        let mut results = Room::new(kind.results.len(), Value::I32(0))?;
        let (arguments, results) = (arguments.as_mut_slice(), results.as_mut_slice());
        // What a closure is told outlives each instance of the links, so the top one stands for it.
        let number = storage.top().number();
        for (index, (argument, wanted)) in arguments.iter_mut().zip(kind.parameters).enumerate() {
            // SAFETY: C promises a value of each parameter's type; its references are alive.
            *argument = unsafe { Value::from_raw(*values.add(index), *wanted, number) };
        }
        for (result, wanted) in results.iter_mut().zip(kind.results) {
            *result = Value::zero(*wanted);
        }
        call(&mut Caller::new(storage), arguments, results)?;
        for (index, (result, wanted)) in results.iter().zip(kind.results).enumerate() {
            let raw = result.to_raw(*wanted, |number| storage.knows(number))?;
            // SAFETY: C promises room for each result.
            unsafe { values.add(index).write(raw) };
        }
        Ok(())
    }
}
