//! What is lent to an instance under two names.

use core::{ffi::CStr, marker::PhantomData};

use wrt_platform_sys as sys;

/// An import whose object is borrowed, for as long as the instance lives. Made by
/// [`HostFunction::import`](crate::HostFunction::import), [`Memory::import`](crate::Memory::import)
/// and [`Global::import`](crate::Global::import); needs no heap.
#[repr(transparent)]
pub struct Import<'a> {
    raw: sys::wrt_import,
    borrowed: PhantomData<&'a mut ()>,
}

impl<'a> Import<'a> {
    /// # Safety
    /// What `value` points to is borrowed by the caller, exclusively, for `'a`.
    pub(crate) unsafe fn new(module: &'a CStr, name: &'a CStr, value: sys::wrt_extern) -> Self {
        let raw = sys::wrt_import { module: module.as_ptr(), name: name.as_ptr(), value };
        Self { raw, borrowed: PhantomData }
    }

    /// As C reads them.
    pub(crate) const fn raw(imports: &[Self]) -> &[sys::wrt_import] {
        // SAFETY: transparent.
        unsafe { core::slice::from_raw_parts(imports.as_ptr().cast(), imports.len()) }
    }
}
