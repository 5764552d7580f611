//! Calls into C that an instance and a caller have in common.

use core::{mem, ptr, slice};

use wrt_platform_sys as sys;

use super::InstanceUsage;
use super::storage::InstanceStorage;
use crate::cancel::CancelToken;
use crate::error::{Error, Result, check};
use crate::module::FunctionType;
use crate::value::{Value, raw_room};

/// Looks up an export.
pub fn export(storage: &InstanceStorage, name: &str) -> Result<sys::wrt_extern> {
    // SAFETY: zero is a valid value of every field (integers, null pointer).
    let mut found = unsafe { mem::zeroed() };
    // SAFETY: all pointers are live.
    check(unsafe {
        sys::wrt_instance_export(storage.raw(), name.as_ptr().cast(), name.len(), &raw mut found)
    })?;
    Ok(found)
}

/// Looks up an export of one kind.
pub fn export_of(
    storage: &InstanceStorage,
    name: &str,
    kind: sys::wrt_extern_kind,
) -> Result<sys::wrt_extern__bindgen_ty_1> {
    let found = export(storage, name)?;
    if found.kind == kind {
        return Ok(found.of);
    }
    let reason = c"the export is of another kind: {0}, not {1}";
    let error = Error::invalid_argument(c"Instance", reason);
    Err(error.with_detail([found.kind.into(), kind.into()]))
}

/// Looks up an exported function.
pub fn function(storage: &InstanceStorage, name: &str) -> Result<*mut sys::wrt_function> {
    let found = export_of(storage, name, sys::WRT_EXTERN_FUNCTION)?;
    // SAFETY: the kind says which member counts.
    Ok(unsafe { found.function })
}

/// What the function takes and gives.
fn function_type<'a>(function: *const sys::wrt_function) -> Result<FunctionType<'a>> {
    // SAFETY: zero is a valid value of every field (integers, null pointers).
    let mut kind = unsafe { mem::zeroed() };
    // SAFETY: both pointers are live.
    check(unsafe { sys::wrt_function_query(function, &raw mut kind) })?;
    // SAFETY: C filled it in.
    Ok(unsafe { FunctionType::from_raw(&kind) })
}

fn refuse_count(reason: &'static core::ffi::CStr, there: usize, wanted: usize) -> Result<()> {
    if there == wanted {
        return Ok(());
    }
    let error = Error::invalid_argument(c"Instance::call", reason);
    Err(error.with_detail([there as u64, wanted as u64]))
}

/// The arguments for C, counted and of the right types.
fn lower(
    arguments: &[Value],
    kind: &FunctionType<'_>,
    knows: impl Fn(usize) -> bool,
) -> Result<crate::value::Room<sys::wrt_value>> {
    let reason = c"there are {0} arguments, the function takes {1}";
    refuse_count(reason, arguments.len(), kind.parameters.len())?;
    let mut room = raw_room(arguments.len())?;
    let places = room.as_mut_slice().iter_mut();
    for (place, (argument, wanted)) in places.zip(arguments.iter().zip(kind.parameters)) {
        *place = argument.to_raw(*wanted, &knows)?;
    }
    Ok(room)
}

/// Calls `function` and waits for its end.
pub fn call(
    storage: &InstanceStorage,
    function: *mut sys::wrt_function,
    arguments: &[Value],
    results: &mut [Value],
    timeout_ns: u64,
    knows: impl Fn(usize) -> bool,
) -> Result<()> {
    let kind = function_type(function)?;
    let reason = c"there is room for {0} results, the function gives {1}";
    refuse_count(reason, results.len(), kind.results.len())?;
    let mut lowered = lower(arguments, &kind, knows)?;
    let mut room = raw_room(results.len())?;
    let call = sys::wrt_call {
        struct_size: size_of::<sys::wrt_call>() as u32,
        argument_count: arguments.len() as u32,
        function,
        arguments: lowered.as_mut_slice().as_ptr(),
        results: room.as_mut_slice().as_mut_ptr(),
        result_count: results.len() as u32,
        reserved: [0; 4],
        timeout_ns,
    };
    // SAFETY: the arrays are as long as the type has it; the function lives with the instance.
    let status = unsafe { sys::wrt_instance_call(storage.raw(), &raw const call) };
    check(status).map_err(|error| explain(storage, error))?;
    lift(storage, room.as_mut_slice(), &kind, results);
    Ok(())
}

/// As `call`, with the results on the heap.
#[cfg(feature = "alloc")]
pub fn call_to_vec(
    storage: &InstanceStorage,
    function: *mut sys::wrt_function,
    arguments: &[Value],
    timeout_ns: u64,
    knows: impl Fn(usize) -> bool,
) -> Result<alloc::vec::Vec<Value>> {
    let count = function_type(function)?.results.len();
    let mut results = alloc::vec![Value::I32(0); count];
    call(storage, function, arguments, &mut results, timeout_ns, knows)?;
    Ok(results)
}

/// Prepares a call. Returns what function it is of, for its results.
pub fn begin(
    storage: &InstanceStorage,
    function: *mut sys::wrt_function,
    arguments: &[Value],
    knows: impl Fn(usize) -> bool,
) -> Result<()> {
    let kind = function_type(function)?;
    let mut lowered = lower(arguments, &kind, knows)?;
    let count = arguments.len() as u32;
    // SAFETY: the array is as long as the type has it; the function lives with the instance.
    check(unsafe {
        sys::wrt_instance_begin(storage.raw(), function, lowered.as_mut_slice().as_ptr(), count)
    })
    .map_err(|error| explain(storage, error))
}

/// Reads the results of the call of `function` that ended.
pub fn results(
    storage: &InstanceStorage,
    function: *mut sys::wrt_function,
    results: &mut [Value],
) -> Result<()> {
    let kind = function_type(function)?;
    let reason = c"there is room for {0} results, the function gives {1}";
    refuse_count(reason, results.len(), kind.results.len())?;
    let mut room = raw_room(results.len())?;
    let count = results.len() as u32;
    // SAFETY: the array is as long as the type has it.
    check(unsafe {
        sys::wrt_instance_results(storage.raw(), room.as_mut_slice().as_mut_ptr(), count)
    })?;
    lift(storage, room.as_mut_slice(), &kind, results);
    Ok(())
}

/// How many results the function gives.
#[cfg(feature = "alloc")]
pub fn result_count(function: *mut sys::wrt_function) -> Result<usize> {
    Ok(function_type(function)?.results.len())
}

fn lift(
    storage: &InstanceStorage,
    raw: &[sys::wrt_value],
    kind: &FunctionType<'_>,
    results: &mut [Value],
) {
    for ((result, raw), value_type) in results.iter_mut().zip(raw).zip(kind.results) {
        // SAFETY: C wrote a value of that type; its references live with the instance.
        *result = unsafe { Value::from_raw(*raw, *value_type, storage.number()) };
    }
}

/// Adds what C's numbers cannot say: the closure's own error, or where the guest trapped.
pub fn explain(storage: &InstanceStorage, error: Error) -> Error {
    let error = storage.explain(error);
    #[cfg(feature = "alloc")]
    if error.kind == crate::ErrorKind::Trap {
        // SAFETY: the instance is alive.
        if let Ok(trap) = unsafe { super::Trap::last(storage.raw()) } {
            return error.with_place(trap.place());
        }
    }
    error
}

/// The token of the call under way, or of the instance.
pub fn cancel_token(storage: &InstanceStorage) -> &CancelToken {
    // SAFETY: the instance is alive, and with it, or with the call that it is part of, its token.
    unsafe { CancelToken::of(sys::wrt_instance_cancel_token(storage.raw())) }
}

/// What has been used.
pub fn usage(storage: &InstanceStorage) -> Result<InstanceUsage> {
    // SAFETY: zero is a valid value of every field (integers).
    let mut usage = unsafe { mem::zeroed() };
    // SAFETY: both pointers are live.
    check(unsafe { sys::wrt_instance_query(storage.raw(), &raw mut usage) })?;
    Ok(usage)
}

/// The memory's object; null if there is none.
pub fn memory_object(storage: &InstanceStorage) -> *mut sys::wrt_memory {
    let mut memory = ptr::null_mut();
    // SAFETY: both pointers are live.
    match unsafe { sys::wrt_instance_memory(storage.raw(), &raw mut memory) } {
        0 => memory,
        _ => ptr::null_mut(),
    }
}

/// # Safety
/// Nothing writes to the memory, or lets a guest run, while the view lives.
pub unsafe fn memory<'a>(storage: &InstanceStorage) -> &'a [u8] {
    // SAFETY: alive if not null.
    match unsafe { memory_object(storage).as_ref() } {
        // SAFETY: C says where the accessible bytes are; all of them are initialised.
        Some(memory) if memory.bytes != 0 => unsafe {
            slice::from_raw_parts(memory.base, memory.bytes as usize)
        },
        _ => &[],
    }
}

/// # Safety
/// Nothing else touches the memory, or lets a guest run, while the view lives.
pub unsafe fn memory_mut<'a>(storage: &InstanceStorage) -> &'a mut [u8] {
    // SAFETY: alive if not null.
    match unsafe { memory_object(storage).as_ref() } {
        // SAFETY: as in `memory`.
        Some(memory) if memory.bytes != 0 => unsafe {
            slice::from_raw_parts_mut(memory.base, memory.bytes as usize)
        },
        _ => &mut [],
    }
}
