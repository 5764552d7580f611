//! Reads, writes and fsyncs that go on while the program does something else. Mirrors
//! `wrt_platform/linux/io_uring.h`.
//!
//! ```
//! use std::{fs::File, os::fd::OwnedFd, sync::Arc};
//! use wrt_platform::linux::io_uring::IoUringBuilder;
//!
//! let ring = IoUringBuilder::new().with_entries(256).build()?;
//! let file = Arc::new(OwnedFd::from(File::open("/proc/self/exe")?));
//! ring.submit_read(&file, vec![0; 4096], 0, 42)?;
//! let completion = ring.wait_completion()?;
//! assert_eq!(completion.user_data, 42);
//! assert_eq!(&completion.data()?[..4], b"\x7fELF");
//! let buffer = completion.buffer; // given back
//! # assert_eq!(buffer.len(), 4096);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A buffer moves into the ring, and comes back with the completion: nobody can touch it while it
//! is under way. A ring that is dropped cancels, and waits for, all that is. One that is forgotten
//! keeps its buffers with it.

mod builder;
mod request;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::{
    cell::{Cell, RefCell, UnsafeCell},
    ffi::CStr,
    mem,
    time::Duration,
};
use std::{collections::HashMap, os::fd::OwnedFd, sync::Arc};

use wrt_platform_sys as sys;

pub use builder::IoUringBuilder;
use request::raw_request;
pub use request::{Completion, IoUringOperation, IoUringRequest, Refused};

use super::cgroups::nanoseconds;
use crate::enforcement::{Enforcement, EnforcementState};
use crate::error::{Error, ErrorKind, Result, check};

const AT_ONCE: usize = 64; // completions that C is asked for in one call

/// As an offset: where the file itself stands.
pub const FILE_POSITION: u64 = u64::MAX;

/// Who does the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum IoUringBackend {
    /// In a builder: the kernel, else threads.
    Auto = sys::WRT_IO_URING_AUTO,
    /// In a builder: nothing else will do.
    Kernel = sys::WRT_IO_URING_KERNEL,
    /// In a builder: the kernel's io_uring is not to be used.
    Threads = sys::WRT_IO_URING_THREADS,
}

impl IoUringBackend {
    /// "kernel" or "threads".
    pub fn name(self) -> &'static str {
        // SAFETY: C gives static text.
        let name = unsafe { CStr::from_ptr(sys::wrt_io_uring_backend_name(self as u32)) };
        name.to_str().unwrap_or("unknown")
    }
}

/// What a ring is, and has under way.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct IoUringReport {
    /// `Kernel` or `Threads`.
    pub backend: IoUringBackend,
    /// There are.
    pub entries: u32,
    /// There is.
    pub cq_size: u32,
    /// Of `Threads`.
    pub thread_count: u32,
    /// Requests whose completion was not taken yet.
    pub under_way: u32,
    /// Registered.
    pub buffer_count: u32,
    /// Bit `1 << operation` is set of those that are there.
    pub operations: u32,
    /// Of the kernel's ring; -1: `Threads`.
    pub descriptor: i32,
    /// `Absent`: why it is not used, and what helps.
    pub kernel: Enforcement,
    /// `Absent`: asked for, and `Threads` has none.
    pub sq_thread: Enforcement,
}

/// A ring; made by [`IoUringBuilder`]. `Send`, not `Sync`. A forked child can't use it.
pub struct IoUring {
    raw: Box<UnsafeCell<sys::wrt_io_uring>>,
    held: RefCell<HashMap<u64, IoUringRequest>>,
    registered: RefCell<Vec<Vec<u8>>>,
    users: RefCell<Vec<u32>>, // requests under way, of each registered buffer
    next_token: Cell<u64>,
}

// SAFETY: C ties a ring to no thread; buffers and files are `Send`.
unsafe impl Send for IoUring {}

impl IoUring {
    /// Whether the kernel's io_uring can be used, found out by making a ring; [`probe`] says why
    /// not. Without it a ring works all the same, over a few threads.
    pub fn is_available() -> Result<bool> {
        Ok(probe()?.state == EnforcementState::Enforced)
    }

    /// What the ring is, and has under way.
    pub fn report(&self) -> Result<IoUringReport> {
        // SAFETY: zero is a valid value of every field.
        let mut raw: sys::wrt_io_uring_report = unsafe { mem::zeroed() };
        // SAFETY: the ring is initialised, and not being `Sync`, no other call is inside.
        check(unsafe { sys::wrt_io_uring_query(self.raw.get(), &raw mut raw) })?;
        let is_kernel = raw.backend == sys::WRT_IO_URING_KERNEL;
        Ok(IoUringReport {
            backend: if is_kernel { IoUringBackend::Kernel } else { IoUringBackend::Threads },
            entries: raw.entries,
            cq_size: raw.cq_size,
            thread_count: raw.thread_count,
            under_way: raw.under_way,
            buffer_count: raw.buffer_count,
            operations: raw.operations,
            descriptor: raw.descriptor,
            kernel: Enforcement::from_raw(&raw.kernel),
            sq_thread: Enforcement::from_raw(&raw.sq_thread),
        })
    }

    /// Hands in a batch; returns those that are not under way, because the ring is full then.
    /// `Busy` if it is full already: take completions first.
    pub fn submit(
        &self,
        mut requests: Vec<IoUringRequest>,
    ) -> core::result::Result<Vec<IoUringRequest>, Refused> {
        match self.hand_in(&mut requests) {
            Ok((first, count)) => Ok(self.hold(requests, first, count)),
            Err(error) => Err(Refused { error, requests }),
        }
    }

    /// Reads as much as the buffer is long.
    pub fn submit_read(
        &self,
        file: &Arc<OwnedFd>,
        buffer: Vec<u8>,
        offset: u64,
        user_data: u64,
    ) -> core::result::Result<(), Refused> {
        self.submit(alloc::vec![IoUringRequest::read(file, buffer, offset, user_data)]).map(drop)
    }

    /// Writes the buffer.
    pub fn submit_write(
        &self,
        file: &Arc<OwnedFd>,
        buffer: Vec<u8>,
        offset: u64,
        user_data: u64,
    ) -> core::result::Result<(), Refused> {
        self.submit(alloc::vec![IoUringRequest::write(file, buffer, offset, user_data)]).map(drop)
    }

    /// Until what is written is safe. It does not wait for writes that are under way.
    pub fn submit_fsync(
        &self,
        file: &Arc<OwnedFd>,
        user_data: u64,
    ) -> core::result::Result<(), Refused> {
        self.submit(alloc::vec![IoUringRequest::fsync(file, user_data)]).map(drop)
    }

    /// The first token, and how many are under way.
    fn hand_in(&self, requests: &mut [IoUringRequest]) -> Result<(u64, usize)> {
        let first = self.next_token.get();
        let count = u32::try_from(requests.len()).map_err(|_| {
            Error::invalid_argument(c"IoUring::submit", c"there are more than 2^32 requests")
        })?;
        let mut registered = self.registered.try_borrow_mut().map_err(|_| {
            Error::new(
                ErrorKind::Busy,
                c"IoUring::submit",
                c"a registered buffer is being looked at",
            )
        })?;
        let mut raws = Vec::with_capacity(requests.len());
        for (token, request) in (first..).zip(&mut *requests) {
            raws.push(raw_request(request, token, &mut registered)?);
        }
        let mut accepted = 0;
        // SAFETY: the ring is initialised; what is accepted of the buffers and files is held until
        // its completion, or the ring's end.
        check(unsafe {
            sys::wrt_io_uring_submit(self.raw.get(), raws.as_ptr(), count, &raw mut accepted)
        })?;
        let accepted = accepted as usize;
        for request in requests[..accepted].iter().filter(|request| request.operation.is_fixed()) {
            self.users.borrow_mut()[request.index] += 1;
        }
        self.next_token.set(first + accepted as u64);
        Ok((first, accepted))
    }

    fn hold(
        &self,
        mut requests: Vec<IoUringRequest>,
        first: u64,
        count: usize,
    ) -> Vec<IoUringRequest> {
        let rest = requests.split_off(count);
        self.held.borrow_mut().extend((first..).zip(requests));
        rest
    }

    /// Waits for one completion. `State` if nothing is under way.
    pub fn wait_completion(&self) -> Result<Completion> {
        self.wait_one(None)
    }

    /// Waits for one completion, for no longer than `timeout`: then `TimedOut`.
    pub fn wait_completion_for(&self, timeout: Duration) -> Result<Completion> {
        self.wait_one(Some(timeout))
    }

    fn wait_one(&self, timeout: Option<Duration>) -> Result<Completion> {
        let taken = self.wait(1, 1, timeout)?;
        let none = Error::new(ErrorKind::TimedOut, c"IoUring::wait", c"there is none");
        taken.into_iter().next().ok_or(none)
    }

    /// Waits until there are `minimum` completions, or all that are under way if they are fewer,
    /// and takes up to `maximum`; 64 at most in one call. With a timeout there may be fewer; none is
    /// `TimedOut`, but for a minimum of 0, which does not wait at all.
    pub fn wait(
        &self,
        minimum: usize,
        maximum: usize,
        timeout: Option<Duration>,
    ) -> Result<Vec<Completion>> {
        // SAFETY: zero is a valid value of every field.
        let mut raws: [sys::wrt_io_uring_completion; AT_ONCE] = unsafe { mem::zeroed() };
        let capacity = maximum.max(minimum).min(AT_ONCE);
        let (capacity, minimum) = (capacity as u32, minimum.min(AT_ONCE) as u32);
        let timeout_ns = timeout.map_or(u64::MAX, nanoseconds);
        let mut count = 0;
        // SAFETY: the ring is initialised; there is room for `capacity` completions.
        check(unsafe {
            sys::wrt_io_uring_wait(
                self.raw.get(),
                raws.as_mut_ptr(),
                capacity,
                minimum,
                timeout_ns,
                &raw mut count,
            )
        })?;
        Ok(raws[..count as usize].iter().filter_map(|raw| self.completion(raw)).collect())
    }

    fn completion(&self, raw: &sys::wrt_io_uring_completion) -> Option<Completion> {
        let request = self.held.borrow_mut().remove(&raw.user_data)?;
        let index = request.operation.is_fixed().then_some(request.index);
        if let Some(index) = index {
            self.users.borrow_mut()[index] -= 1;
        }
        let operation = IoUringOperation::from_raw(raw.operation);
        let (user_data, buffer) = (request.user_data, request.buffer);
        Some(Completion { user_data, result: raw.result, operation, buffer, index })
    }

    /// Asks for the end of all requests with that `user_data`. Each still has its completion: with
    /// -ECANCELED (125), or with what it came to. `NotFound` if none is under way.
    pub fn cancel(&self, user_data: u64) -> Result<()> {
        let is_meant = |(_, request): &(&u64, &IoUringRequest)| request.user_data == user_data;
        let held = self.held.borrow();
        let mut result = Err(Error::new(
            ErrorKind::NotFound,
            c"IoUring::cancel",
            c"nothing with that user_data is under way",
        ));
        for (token, _) in held.iter().filter(is_meant) {
            // SAFETY: the ring is initialised.
            match check(unsafe { sys::wrt_io_uring_cancel(self.raw.get(), *token) }) {
                Err(error) if error.kind == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
                Ok(()) => result = Ok(()),
            }
        }
        result
    }

    /// Makes `count` buffers of `size` bytes that the kernel looks up once, and not with each
    /// request.
    pub fn register_buffers(&self, count: usize, size: usize) -> Result<()> {
        let operation = c"IoUring::register_buffers";
        let mut registered = self.registered.try_borrow_mut().map_err(|_| {
            Error::new(ErrorKind::Busy, operation, c"a registered buffer is being looked at")
        })?;
        if count == 0 || count > sys::WRT_IO_URING_BUFFERS_MAX as usize {
            let reason = c"{0} buffers are asked for, not 1 to {1}";
            let detail = [count as u64, u64::from(sys::WRT_IO_URING_BUFFERS_MAX)];
            return Err(Error::invalid_argument(operation, reason).with_detail(detail));
        }
        let mut made: Vec<Vec<u8>> = (0..count).map(|_| alloc::vec![0; size]).collect();
        let raws: Vec<_> = made
            .iter_mut()
            .map(|buffer| sys::wrt_io_uring_buffer {
                start: buffer.as_mut_ptr().cast(),
                size: size as u64,
            })
            .collect();
        // SAFETY: the ring is initialised; it holds the buffers until they are unregistered.
        check(unsafe {
            sys::wrt_io_uring_register_buffers(self.raw.get(), raws.as_ptr(), count as u32)
        })?;
        *registered = made;
        *self.users.borrow_mut() = alloc::vec![0; count];
        Ok(())
    }

    /// Gives the registered buffers up.
    pub fn unregister_buffers(&self) -> Result<()> {
        let mut registered = self.registered.try_borrow_mut().map_err(|_| {
            let operation = c"IoUring::unregister_buffers";
            Error::new(ErrorKind::Busy, operation, c"a registered buffer is being looked at")
        })?;
        // SAFETY: the ring is initialised.
        check(unsafe { sys::wrt_io_uring_unregister_buffers(self.raw.get()) })?;
        registered.clear();
        Ok(())
    }

    /// Looks at, or changes, the registered buffer of that index. `State` while a request uses it;
    /// meanwhile none can be handed in (`Busy`).
    pub fn with_buffer<R>(&self, index: usize, look: impl FnOnce(&mut [u8]) -> R) -> Result<R> {
        let operation = c"IoUring::with_buffer";
        let mut registered = self.registered.try_borrow_mut().map_err(|_| {
            Error::new(ErrorKind::Busy, operation, c"a registered buffer is being looked at")
        })?;
        let reason = c"there is no registered buffer of that index";
        let buffer = registered.get_mut(index).ok_or(Error::invalid_argument(operation, reason))?;
        if self.users.borrow()[index] != 0 {
            return Err(Error::new(ErrorKind::State, operation, c"a request uses the buffer"));
        }
        Ok(look(buffer))
    }
}

impl Drop for IoUring {
    fn drop(&mut self) {
        // SAFETY: initialised, and nobody else has it.
        if check(unsafe { sys::wrt_io_uring_deinit(self.raw.get()) }).is_err() {
            // It may still write: what it writes to is never given back. (In a forked child it is
            // the parent's.)
            // SAFETY: zero is a valid value of every field.
            let zero = Box::new(UnsafeCell::new(unsafe { mem::zeroed() }));
            mem::forget(mem::replace(&mut self.raw, zero));
            mem::forget(self.held.take());
            mem::forget(self.registered.take());
        }
    }
}

/// Whether this process can use the kernel's io_uring: `Enforced`, or `Absent` with the reason and
/// what helps. Tried by making a ring.
pub fn probe() -> Result<Enforcement> {
    // SAFETY: zero is a valid value of every field.
    let mut raw: sys::wrt_enforcement = unsafe { mem::zeroed() };
    // SAFETY: the pointer is live.
    check(unsafe { sys::wrt_io_uring_probe(&raw mut raw) })?;
    Ok(Enforcement::from_raw(&raw))
}
