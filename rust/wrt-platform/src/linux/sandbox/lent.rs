//! What a guest in a sandbox is lent: the calls of WASI, and closures that stay where they are.

use alloc::{boxed::Box, ffi::CString, vec::Vec};
use core::{
    cell::UnsafeCell,
    ffi::{CStr, c_void},
    mem, ptr, slice,
};
use std::any::Any;

use wrt_platform_sys as sys;

use crate::error::{ErrorKind, Result, Source, check};
use crate::host_function::HostResult;
use crate::value::{Value, ValueType};
use crate::wasi::Wasi;

/// What C borrows until the sandbox ends.
#[derive(Default)]
pub(super) struct Parts<'a> {
    pub(super) wasi: Option<Wasi<'a>>,
    #[expect(clippy::vec_box, reason = "C keeps their addresses")]
    pub(super) functions: Vec<Box<Lent<'a>>>,
    pub(super) names: Vec<[CString; 2]>,
}

pub(super) type Call<'a> = dyn FnMut(&mut [u8], &[Value], &mut [Value]) -> HostResult + Send + 'a;

/// A closure for the guest, where it stays.
pub(super) struct Lent<'a> {
    raw: UnsafeCell<sys::wrt_host_function>,
    parameters: Vec<ValueType>,
    results: Vec<ValueType>,
    call: UnsafeCell<Box<Call<'a>>>,
    pub(super) failure: UnsafeCell<Option<Failure>>,
}

pub(super) enum Failure {
    Error(Source),
    Panic(Box<dyn Any + Send>),
}

impl Parts<'_> {
    /// As C takes them; they point into the boxes, which stay where they are.
    pub(super) fn imports(&mut self) -> Result<Vec<sys::wrt_import>> {
        let mut imports: Vec<_> = self.wasi.as_ref().map_or(Ok(&[][..]), Wasi::imports)?.to_vec();
        for (function, [module, name]) in self.functions.iter().zip(&self.names) {
            let value = function.bind(name)?;
            imports.push(sys::wrt_import { module: module.as_ptr(), name: name.as_ptr(), value });
        }
        Ok(imports)
    }
}

impl<'a> Lent<'a> {
    pub(super) fn new(
        parameters: &[ValueType],
        results: &[ValueType],
        call: Box<Call<'a>>,
    ) -> Box<Self> {
        Box::new(Self {
            // SAFETY: zero is a valid value of every field.
            raw: UnsafeCell::new(unsafe { mem::zeroed() }),
            parameters: parameters.into(),
            results: results.into(),
            call: UnsafeCell::new(call),
            failure: UnsafeCell::new(None),
        })
    }

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
