//! What is asked of a ring, and what comes back.

use alloc::vec::Vec;
use core::{fmt, ptr, time::Duration};
use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
    sync::Arc,
};

use wrt_platform_sys as sys;

use crate::error::{Error, Result};
use crate::linux::cgroups::nanoseconds;

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum IoUringOperation {
    /// Into a buffer.
    Read = sys::WRT_IO_URING_READ,
    /// Out of a buffer.
    Write = sys::WRT_IO_URING_WRITE,
    /// Into a registered buffer.
    ReadFixed = sys::WRT_IO_URING_READ_FIXED,
    /// Out of a registered buffer.
    WriteFixed = sys::WRT_IO_URING_WRITE_FIXED,
    /// Until what is written is safe.
    Fsync = sys::WRT_IO_URING_FSYNC,
    /// The same, without what only tells when the file was changed.
    Fdatasync = sys::WRT_IO_URING_FDATASYNC,
}

impl IoUringOperation {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Read, Self::Write, Self::ReadFixed, Self::WriteFixed, Self::Fsync, Self::Fdatasync];

    pub(super) fn from_raw(raw: u32) -> Self {
        Self::ALL.into_iter().find(|kind| *kind as u32 == raw).unwrap_or(Self::Fdatasync)
    }

    pub(super) const fn is_fixed(self) -> bool {
        matches!(self, Self::ReadFixed | Self::WriteFixed)
    }
}

/// What is to be done.
#[derive(Debug)]
pub struct IoUringRequest {
    pub(super) operation: IoUringOperation,
    pub(super) file: Arc<OwnedFd>,
    pub(super) buffer: Vec<u8>,
    pub(super) size: usize, // of a fixed one
    pub(super) offset: u64,
    pub(super) user_data: u64,
    pub(super) timeout_ns: u64,
    pub(super) index: usize,
}

impl IoUringRequest {
    fn new(operation: IoUringOperation, file: &Arc<OwnedFd>, user_data: u64) -> Self {
        let file = Arc::clone(file);
        let buffer = Vec::new();
        Self { operation, file, buffer, size: 0, offset: 0, user_data, timeout_ns: 0, index: 0 }
    }

    /// Reads as much as the buffer is long.
    pub fn read(file: &Arc<OwnedFd>, buffer: Vec<u8>, offset: u64, user_data: u64) -> Self {
        Self { buffer, offset, ..Self::new(IoUringOperation::Read, file, user_data) }
    }

    /// Writes the buffer.
    pub fn write(file: &Arc<OwnedFd>, buffer: Vec<u8>, offset: u64, user_data: u64) -> Self {
        Self { buffer, offset, ..Self::new(IoUringOperation::Write, file, user_data) }
    }

    /// Reads into the ring's registered buffer of that index.
    pub fn read_fixed(
        file: &Arc<OwnedFd>,
        index: usize,
        size: usize,
        offset: u64,
        user_data: u64,
    ) -> Self {
        Self { index, size, offset, ..Self::new(IoUringOperation::ReadFixed, file, user_data) }
    }

    /// Writes out of the ring's registered buffer of that index.
    pub fn write_fixed(
        file: &Arc<OwnedFd>,
        index: usize,
        size: usize,
        offset: u64,
        user_data: u64,
    ) -> Self {
        Self { index, size, offset, ..Self::new(IoUringOperation::WriteFixed, file, user_data) }
    }

    /// Until what is written is safe. It does not wait for writes that are under way.
    pub fn fsync(file: &Arc<OwnedFd>, user_data: u64) -> Self {
        Self::new(IoUringOperation::Fsync, file, user_data)
    }

    /// The same, without what only tells when the file was changed.
    pub fn fdatasync(file: &Arc<OwnedFd>, user_data: u64) -> Self {
        Self::new(IoUringOperation::Fdatasync, file, user_data)
    }

    /// After so long it is ended.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout_ns = nanoseconds(timeout);
        self
    }

    /// The buffer, of one that was refused for instance.
    pub fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }
}

/// What a submission failed with, and the requests, back again.
#[derive(Debug)]
pub struct Refused {
    /// Why.
    pub error: Error,
    /// All that was handed in.
    pub requests: Vec<IoUringRequest>,
}

impl fmt::Display for Refused {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(formatter)
    }
}

impl core::error::Error for Refused {}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        refused.error
    }
}

/// What has been done.
#[derive(Debug)]
pub struct Completion {
    /// Of the request.
    pub user_data: u64,
    /// Bytes, 0 for an fsync, or a negated error number.
    pub result: i32,
    /// Of the request.
    pub operation: IoUringOperation,
    /// The request's, back again; empty of a fixed one.
    pub buffer: Vec<u8>,
    /// The registered buffer of a fixed one.
    pub index: Option<usize>,
}

impl Completion {
    /// What was read or written of the buffer, or why that failed.
    pub fn data(&self) -> io::Result<&[u8]> {
        match usize::try_from(self.result) {
            Ok(size) => Ok(&self.buffer[..size.min(self.buffer.len())]),
            Err(_) => Err(io::Error::from_raw_os_error(-self.result)),
        }
    }
}

/// The request as C takes it.
pub(super) fn raw_request(
    request: &mut IoUringRequest,
    token: u64,
    registered: &mut [Vec<u8>],
) -> Result<sys::wrt_io_uring_request> {
    let (mut buffer, mut size) = (request.buffer.as_mut_ptr(), request.buffer.len());
    if request.operation.is_fixed() {
        let reason = c"there is no registered buffer of that index";
        let unknown = Error::invalid_argument(c"IoUring::submit", reason);
        buffer = registered.get_mut(request.index).ok_or(unknown)?.as_mut_ptr();
        size = request.size;
    }
    let is_bare = request.operation as u32 >= sys::WRT_IO_URING_FSYNC;
    Ok(sys::wrt_io_uring_request {
        buffer: if is_bare { ptr::null_mut() } else { buffer.cast() },
        size: size as u64,
        offset: request.offset,
        user_data: token,
        timeout_ns: request.timeout_ns,
        descriptor: request.file.as_raw_fd(),
        operation: request.operation as u32,
        buffer_index: if request.operation.is_fixed() { request.index as u32 } else { 0 },
        reserved: 0,
    })
}
