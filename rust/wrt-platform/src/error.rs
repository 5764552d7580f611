//! Errors: the kind to decide on, and the C library's own words for people.

use core::{ffi::CStr, fmt};

use wrt_platform_sys as sys;

/// What kind of failure it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The caller broke a documented rule.
    InvalidArgument,
    /// The request is fine, the room is not there.
    NoMemory,
    /// The right call at the wrong moment.
    State,
    /// This library or this system cannot do it.
    Unsupported,
    /// The system refuses it to this user or process.
    Permission,
    /// Somebody else holds it now.
    Busy,
    /// The time limit passed first; a call can be resumed.
    TimedOut,
    /// A system call failed otherwise; see `os_code`.
    System,
    /// No export, file, ... of that name.
    NotFound,
    /// The module asks for more than the config grants.
    Limit,
    /// The bytes are not a WebAssembly module.
    Malformed,
    /// Well-formed, but it breaks a validation rule.
    InvalidModule,
    /// An import is unknown or of another type.
    Link,
    /// The guest trapped.
    Trap,
    /// The fuel is used up; more fuel resumes the call.
    OutOfFuel,
    /// It was interrupted; the call can be resumed.
    Interrupted,
    /// A host function failed by its own word.
    Host,
    /// The guest ended itself.
    Exit,
    /// From a host function only: not ready, call me again.
    Pending,
    /// The process of a sandbox died.
    Crashed,
    /// A status that this crate does not know.
    Other(i32),
}

/// Each kind beside the status that it stands for.
const KINDS: [(sys::wrt_status_code, ErrorKind); 20] = [
    (sys::WRT_ERR_INVALID_ARGUMENT, ErrorKind::InvalidArgument),
    (sys::WRT_ERR_NO_MEMORY, ErrorKind::NoMemory),
    (sys::WRT_ERR_STATE, ErrorKind::State),
    (sys::WRT_ERR_UNSUPPORTED, ErrorKind::Unsupported),
    (sys::WRT_ERR_PERMISSION, ErrorKind::Permission),
    (sys::WRT_ERR_BUSY, ErrorKind::Busy),
    (sys::WRT_ERR_TIMED_OUT, ErrorKind::TimedOut),
    (sys::WRT_ERR_SYSTEM, ErrorKind::System),
    (sys::WRT_ERR_NOT_FOUND, ErrorKind::NotFound),
    (sys::WRT_ERR_LIMIT, ErrorKind::Limit),
    (sys::WRT_ERR_MALFORMED, ErrorKind::Malformed),
    (sys::WRT_ERR_INVALID_MODULE, ErrorKind::InvalidModule),
    (sys::WRT_ERR_LINK, ErrorKind::Link),
    (sys::WRT_ERR_TRAP, ErrorKind::Trap),
    (sys::WRT_ERR_OUT_OF_FUEL, ErrorKind::OutOfFuel),
    (sys::WRT_ERR_INTERRUPTED, ErrorKind::Interrupted),
    (sys::WRT_ERR_HOST, ErrorKind::Host),
    (sys::WRT_ERR_EXIT, ErrorKind::Exit),
    (sys::WRT_ERR_PENDING, ErrorKind::Pending),
    (sys::WRT_ERR_CRASHED, ErrorKind::Crashed),
];

impl ErrorKind {
    fn from_status(status: sys::wrt_status) -> Self {
        let known = KINDS.iter().find(|(code, _)| *code as sys::wrt_status == status);
        known.map_or(Self::Other(status), |(_, kind)| *kind)
    }

    /// Never WRT_OK: no kind of failure is a success.
    pub(crate) fn status(self) -> sys::wrt_status {
        match (self, KINDS.iter().find(|(_, kind)| *kind == self)) {
            (_, Some((code, _))) => *code as sys::wrt_status,
            (Self::Other(status), None) if status != sys::WRT_OK as sys::wrt_status => status,
            _ => sys::WRT_ERR_HOST as sys::wrt_status,
        }
    }
}

/// A failed call. Can be kept and sent to another thread.
#[derive(Debug)]
#[non_exhaustive]
pub struct Error {
    /// To decide on.
    pub kind: ErrorKind,
    /// Error number of the system call, 0 if none failed.
    pub os_code: i32,
    /// The call that failed.
    pub operation: &'static CStr,
    /// Why; `{0}` and `{1}` stand for `detail`.
    pub reason: &'static CStr,
    /// The numbers of the reason.
    pub detail: [u64; 2],
    #[cfg(feature = "alloc")]
    cause: Cause,
}

/// What the C library's literals and numbers cannot carry.
#[cfg(feature = "alloc")]
#[derive(Debug)]
enum Cause {
    None,
    /// More words for the sentence: names of what is missing, or where it trapped.
    Note(alloc::boxed::Box<str>),
    /// The error of a host closure.
    Source(Source),
}

/// Any error that a host closure returned.
#[cfg(feature = "alloc")]
pub(crate) type Source = alloc::boxed::Box<dyn core::error::Error + Send + Sync>;

/// Result of every call that can fail.
pub type Result<T> = core::result::Result<T, Error>;

impl Error {
    pub(crate) const fn new(
        kind: ErrorKind,
        operation: &'static CStr,
        reason: &'static CStr,
    ) -> Self {
        Self {
            kind,
            os_code: 0,
            operation,
            reason,
            detail: [0; 2],
            #[cfg(feature = "alloc")]
            cause: Cause::None,
        }
    }

    pub(crate) const fn invalid_argument(operation: &'static CStr, reason: &'static CStr) -> Self {
        Self::new(ErrorKind::InvalidArgument, operation, reason)
    }

    /// The numbers for `{0}` and `{1}` of the reason.
    pub(crate) const fn with_detail(mut self, detail: [u64; 2]) -> Self {
        self.detail = detail;
        self
    }

    /// Adds words behind a colon.
    #[cfg(feature = "alloc")]
    pub(crate) fn with_note(mut self, note: impl fmt::Display) -> Self {
        self.cause = Cause::Note(alloc::format!(": {note}").into());
        self
    }

    /// Adds words that go on with the sentence.
    #[cfg(feature = "alloc")]
    pub(crate) fn with_place(mut self, place: impl fmt::Display) -> Self {
        self.cause = Cause::Note(alloc::format!(" {place}").into());
        self
    }

    #[cfg(feature = "alloc")]
    pub(crate) fn with_source(mut self, source: Source) -> Self {
        self.cause = Cause::Source(source);
        self
    }

    #[cfg(feature = "alloc")]
    fn note(&self) -> Option<&str> {
        match &self.cause {
            Cause::Note(note) => Some(note),
            Cause::None | Cause::Source(_) => None,
        }
    }

    #[cfg(not(feature = "alloc"))]
    fn note(&self) -> Option<&str> {
        None
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let raw = sys::wrt_error {
            status: self.kind.status(),
            os_code: self.os_code,
            operation: self.operation.as_ptr(),
            reason: self.reason.as_ptr(),
            detail: self.detail,
        };
        let mut text = [0u8; 256];
        // SAFETY: both texts end in NUL; C writes at most `text.len()` bytes, NUL included.
        unsafe { sys::wrt_error_format(&raw const raw, text.as_mut_ptr().cast(), text.len()) };
        let sentence = CStr::from_bytes_until_nul(&text).map_err(|_| fmt::Error)?;
        let sentence = sentence.to_str().map_err(|_| fmt::Error)?;
        match self.note() {
            Some(note) => write!(formatter, "{sentence}{note}"),
            None => formatter.pad(sentence),
        }
    }
}

impl core::error::Error for Error {
    #[cfg(feature = "alloc")]
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match &self.cause {
            Cause::Source(source) => Some(source.as_ref()),
            Cause::None | Cause::Note(_) => None,
        }
    }
}

impl Error {
    /// What a task on another thread failed with.
    ///
    /// # Safety
    /// C filled it in, with static texts.
    #[cfg(all(feature = "std", target_os = "linux"))]
    pub(crate) unsafe fn from_raw(status: sys::wrt_status, raw: &sys::wrt_error) -> Self {
        let kind = ErrorKind::from_status(status);
        // SAFETY: the caller's promise.
        let (operation, reason) =
            unsafe { (CStr::from_ptr(raw.operation), CStr::from_ptr(raw.reason)) };
        Self { os_code: raw.os_code, detail: raw.detail, ..Self::new(kind, operation, reason) }
    }
}

/// Turns a status into a `Result`, with the details of this thread's last failure.
pub(crate) fn check(status: sys::wrt_status) -> Result<()> {
    if status == sys::WRT_OK as sys::wrt_status {
        return Ok(());
    }
    // SAFETY: the slot is this thread's own, never null; status.h promises static texts.
    unsafe {
        let last = &*sys::wrt_error_last();
        Err(Error {
            os_code: last.os_code,
            detail: last.detail,
            ..Error::new(
                ErrorKind::from_status(status),
                CStr::from_ptr(last.operation),
                CStr::from_ptr(last.reason),
            )
        })
    }
}
