//! Globals of their own, to be imported. Mirrors a part of `wrt_platform/instance.h`.

use core::{ffi::CStr, mem};

use wrt_platform_sys as sys;

use crate::error::{Error, Result, check};
use crate::import::Import;
use crate::value::{Value, ValueType};

/// A global.
pub struct Global {
    raw: sys::wrt_global,
}

// SAFETY: a number, tied to no thread.
unsafe impl Send for Global {}

impl Global {
    /// Makes a global. A reference to a function is refused unless it is null: no instance is
    /// linked with it yet.
    pub fn new(value: Value, is_mutable: bool) -> Result<Self> {
        let value_type = value.value_type();
        let value = value.to_raw(value_type, |_| false)?;
        // SAFETY: zero is a valid value of every field (integers).
        let mut raw = unsafe { mem::zeroed() };
        // SAFETY: the pointer is live.
        check(unsafe { sys::wrt_global_init(&raw mut raw, value_type as u32, is_mutable, value) })?;
        Ok(Self { raw })
    }

    /// Its value now.
    pub fn value(&self) -> Value {
        // SAFETY: initialised by `new`; a reference in it is null, as long as it is not linked.
        unsafe { value(&raw const self.raw, 0) }
    }

    /// Writes it, if it is mutable.
    pub fn set(&mut self, value: Value) -> Result<()> {
        // SAFETY: initialised by `new`.
        unsafe { set(&raw mut self.raw, value, |_| false) }
    }

    /// Lends a number to an instance, for
    /// [`with_imports`](crate::InstanceBuilder::with_imports). A reference can only be given away
    /// ([`with_global`](crate::InstanceBuilder::with_global)): it may come to hold a function of
    /// the instance, and must not outlive it.
    pub fn import<'i>(&'i mut self, module: &'i CStr, name: &'i CStr) -> Result<Import<'i>> {
        if self.raw.value_type == sys::WRT_FUNCREF {
            let reason = c"a global of type funcref can't be lent, only given away";
            return Err(Error::invalid_argument(c"Global::import", reason));
        }
        // SAFETY: the borrow is exclusive.
        Ok(unsafe { Import::new(module, name, self.bind()) })
    }

    /// What C imports. The global must stay at this address for as long as C has it.
    pub(crate) fn bind(&mut self) -> sys::wrt_extern {
        let of = sys::wrt_extern__bindgen_ty_1 { global: &raw mut self.raw };
        sys::wrt_extern { kind: sys::WRT_EXTERN_GLOBAL, reserved: 0, of }
    }
}

/// # Safety
/// The global is initialised, and a reference in it belongs to the instance of that number.
pub(crate) unsafe fn value(global: *const sys::wrt_global, instance: usize) -> Value {
    // SAFETY: the caller's promise.
    unsafe {
        let value_type = ValueType::from_byte((*global).value_type as u8);
        Value::from_raw((*global).value, value_type.expect("C checked the type"), instance)
    }
}

/// # Safety
/// The global is initialised.
pub(crate) unsafe fn set(
    global: *mut sys::wrt_global,
    value: Value,
    knows: impl Fn(usize) -> bool,
) -> Result<()> {
    // SAFETY: the caller's promise.
    let value_type = ValueType::from_byte(unsafe { (*global).value_type } as u8);
    let value = value.to_raw(value_type.expect("C checked the type"), knows)?;
    // SAFETY: the value is of the global's type.
    check(unsafe { sys::wrt_global_set(global, value) })
}
