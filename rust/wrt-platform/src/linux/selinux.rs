//! Whether SELinux is there, and the context of this process. Mirrors
//! `wrt_platform/linux/selinux.h`.
//!
//! ```
//! use wrt_platform::linux::selinux::SeLinux;
//!
//! if SeLinux::is_enabled()? {
//!     println!("{}", SeLinux::context()?);
//! }
//! # Ok::<(), wrt_platform::Error>(())
//! ```

use alloc::{ffi::CString, string::String, vec};
use core::ffi::CStr;

use wrt_platform_sys as sys;

use crate::error::{Error, Result, check};

const CONTEXT_SIZE: usize = sys::WRT_SELINUX_CONTEXT_SIZE as usize;

/// What can be done about the context of the calling thread.
pub struct SeLinux;

impl SeLinux {
    /// Whether SELinux is there with a policy loaded.
    pub fn is_enabled() -> Result<bool> {
        let mut enabled = false;
        // SAFETY: the pointer is live for the call.
        check(unsafe { sys::wrt_selinux_is_enabled(&raw mut enabled) })?;
        Ok(enabled)
    }

    /// Whether what the policy forbids is refused; `Unsupported` without SELinux.
    pub fn is_enforcing() -> Result<bool> {
        let mut enforcing = false;
        // SAFETY: the pointer is live for the call.
        check(unsafe { sys::wrt_selinux_is_enforcing(&raw mut enforcing) })?;
        Ok(enforcing)
    }

    /// The calling thread's context; `Unsupported` without SELinux.
    pub fn context() -> Result<String> {
        let mut text = vec![0u8; CONTEXT_SIZE];
        // SAFETY: C writes at most `text.len()` bytes, NUL included.
        check(unsafe { sys::wrt_selinux_context(text.as_mut_ptr().cast(), text.len()) })?;
        let text = CStr::from_bytes_until_nul(&text).unwrap_or_default();
        Ok(text.to_string_lossy().into_owned())
    }

    /// Moves the calling thread into another context; `Unsupported` without SELinux, `Permission`
    /// where the policy refuses.
    pub fn set_context(context: &str) -> Result<()> {
        let context = CString::new(context)
            .map_err(|_| Error::invalid_argument(c"set_context", c"the context holds a NUL"))?;
        // SAFETY: the text is live for the call.
        check(unsafe { sys::wrt_selinux_set_context(context.as_ptr()) })
    }
}
