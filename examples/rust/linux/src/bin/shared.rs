//! A lock in memory of two processes. One ends while it holds the lock; the other one is told.

use std::{io, mem, ptr};
use wrt_platform::linux::sync::LinuxShared;
use wrt_platform::{LinuxFutex, LinuxFutexBuilder, Lock, Result};

fn map() -> io::Result<*mut LinuxShared> {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
    // SAFETY: a fresh mapping, wherever the kernel likes; it stays until the process ends.
    let memory =
        unsafe { libc::mmap(ptr::null_mut(), size_of::<LinuxShared>(), access, flags, -1, 0) };
    if memory == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(memory.cast()) }
}

/// Each process makes an object of its own over what they share.
fn futex_over(memory: *mut LinuxShared) -> Result<LinuxFutex> {
    let builder = LinuxFutexBuilder::new().with_robust(true).with_shared(true);
    // SAFETY: it was zero at first, is used as nothing else, and stays mapped.
    unsafe { builder.with_memory(memory) }.build()
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let memory = map()?;
    // SAFETY: this process has one thread.
    if unsafe { libc::fork() } == 0 {
        let futex = futex_over(memory)?;
        mem::forget(futex.as_lock().lock(None)?);
        // SAFETY: it ends here, as the lock's owner.
        unsafe { libc::_exit(0) };
    }
    // SAFETY: the status is not asked for.
    unsafe { libc::wait(ptr::null_mut()) };

    let futex = futex_over(memory)?;
    let lock = futex.as_lock();
    let guard = lock.lock(None)?;
    println!("owner died: {}", if guard.owner_died() { "yes" } else { "no" });
    if guard.owner_died() {
        guard.recover()?; // what it guards is whole again
    }
    Ok(())
}
