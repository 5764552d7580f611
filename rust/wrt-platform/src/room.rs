//! Room that an object of C works in: lent for ever, or made for it.

use alloc::{vec, vec::Vec};
use core::ffi::c_void;

use wrt_platform_sys as sys;

use crate::Layout;
use crate::error::{Result, check};

pub(crate) struct Room {
    /// To be kept as long as C works there; empty if the room is lent.
    pub(crate) own: Vec<u64>,
    pub(crate) start: *mut c_void,
    pub(crate) size: usize,
}

impl Room {
    /// What is lent; else as much as `layout` says.
    pub(crate) fn new(
        lent: Option<&'static mut [u64]>,
        layout: impl FnOnce(*mut Layout) -> sys::wrt_status,
    ) -> Result<Self> {
        let mut needed = Layout { bytes: 0, alignment: 0 };
        check(layout(&raw mut needed))?;
        let mut own = Vec::new();
        let buffer = match lent {
            Some(buffer) => buffer,
            None => {
                own = vec![0; needed.bytes.div_ceil(8)];
                own.as_mut_slice()
            }
        };
        let (start, size) = (buffer.as_mut_ptr().cast(), size_of_val(buffer));
        Ok(Self { own, start, size })
    }
}
