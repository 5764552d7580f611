//! The thread system that objects get if they are not given one: this process's own.

use wrt_platform_sys as sys;

use crate::error::Result;

/// None at all: nothing waits, and nothing runs by itself.
#[cfg(not(all(feature = "std", target_os = "linux")))]
pub(crate) fn system_interface() -> Result<sys::wrt_thread_system> {
    Ok(sys::wrt_thread_system { ops: core::ptr::null(), self_: core::ptr::null_mut() })
}

/// That of Linux, made when it is first asked for, and kept.
#[cfg(all(feature = "std", target_os = "linux"))]
pub(crate) fn system_interface() -> Result<sys::wrt_thread_system> {
    use core::{cell::UnsafeCell, mem};
    use std::boxed::Box;
    use std::sync::OnceLock;

    struct Threads(UnsafeCell<sys::wrt_linux_thread_system>);
    // SAFETY: any thread may use it, thread_system.h says.
    unsafe impl Sync for Threads {}
    // SAFETY: as above.
    unsafe impl Send for Threads {}
    static MADE: OnceLock<Box<Threads>> = OnceLock::new();

    if MADE.get().is_none() {
        // SAFETY: zero is a valid value of every field.
        let threads = Box::new(Threads(UnsafeCell::new(unsafe { mem::zeroed() })));
        // SAFETY: as above.
        let mut config: sys::wrt_linux_thread_system_config = unsafe { mem::zeroed() };
        config.struct_size = size_of::<sys::wrt_linux_thread_system_config>() as u32;
        // SAFETY: both are live, and the box keeps its address.
        crate::error::check(unsafe {
            sys::wrt_linux_thread_system_init(threads.0.get(), &raw const config)
        })?;
        let _ = MADE.set(threads); // another thread may have been faster
    }
    let threads = MADE.get().expect("it was just made");
    // SAFETY: it is initialised, and stays for ever.
    Ok(unsafe { sys::wrt_linux_thread_system_interface(threads.0.get()) })
}

/// Nanoseconds of a time, as C has them; more than 580 years are for ever.
pub(crate) fn nanoseconds(time: core::time::Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A name as C takes it: closed, and cut like C cuts it.
pub(crate) fn closed_name(name: &str) -> [u8; 36] {
    let mut closed = [0; 36]; // more than C keeps, so that it sees where to cut
    let length = name.bytes().take_while(|byte| *byte != 0).take(closed.len() - 1).count();
    closed[..length].copy_from_slice(&name.as_bytes()[..length]);
    closed
}

/// The text of a name that C keeps.
pub(crate) fn text_of(name: &[core::ffi::c_char]) -> &str {
    // SAFETY: characters of C are bytes.
    let bytes = unsafe { core::slice::from_raw_parts(name.as_ptr().cast::<u8>(), name.len()) };
    let length = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    core::str::from_utf8(&bytes[..length]).unwrap_or("")
}
