//! What this machine can do for a guest's limits, each row tried. Mirrors
//! `wrt_platform/linux/doctor.h`.
//!
//! ```
//! use wrt_platform::linux::doctor::{DoctorState, examine};
//!
//! for row in examine().filter(|row| row.state() != DoctorState::Available) {
//!     println!("{}: {}; {}", row.name(), row.reason(), row.remedy());
//! }
//! ```

use core::{
    ffi::{CStr, c_char},
    fmt, mem,
};

use wrt_platform_sys as sys;

/// What an attempt came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DoctorState {
    /// It was done.
    Available,
    /// It works with the exception that the reason names.
    Partial,
    /// It does not, see the reason.
    Absent,
}

/// What one attempt came to.
#[derive(Clone)]
pub struct DoctorRow {
    raw: sys::wrt_doctor_row,
}

impl DoctorRow {
    /// The topic first, "memory.huge_2_mib"; it stays the same over versions.
    pub fn id(&self) -> &'static str {
        static_text(self.raw.id)
    }

    /// The first part of the id.
    pub fn topic(&self) -> &'static str {
        self.id().split('.').next().unwrap_or("")
    }

    /// For people.
    pub fn name(&self) -> &'static str {
        static_text(self.raw.name)
    }

    /// The rows of the feature table that need it: "LM-1 LM-5".
    pub fn promises(&self) -> &'static str {
        static_text(self.raw.promises)
    }

    /// What the attempt came to.
    pub fn state(&self) -> DoctorState {
        match self.raw.state {
            sys::WRT_DOCTOR_AVAILABLE => DoctorState::Available,
            sys::WRT_DOCTOR_PARTIAL => DoctorState::Partial,
            _ => DoctorState::Absent,
        }
    }

    /// What was seen, or why not.
    pub fn reason(&self) -> &str {
        own_text(&self.raw.reason)
    }

    /// What to do about it; empty if it is available.
    pub fn remedy(&self) -> &str {
        own_text(&self.raw.remedy)
    }

    /// Error number, where a system call has said no; else 0.
    pub fn os_code(&self) -> i32 {
        self.raw.os_code
    }
}

impl fmt::Debug for DoctorRow {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {:?}: {}", self.id(), self.state(), self.reason())
    }
}

/// Makes the attempts one by one, as they are asked for; all of them take some 0.1 s. What is
/// dangerous is tried in a child: this process stays as it is.
pub fn examine() -> impl Iterator<Item = DoctorRow> {
    // SAFETY: the call has no arguments.
    let count = unsafe { sys::wrt_doctor_count() };
    (0..count).filter_map(|index| {
        // SAFETY: zero is a valid value of every field (integers, null pointers).
        let mut raw: sys::wrt_doctor_row = unsafe { mem::zeroed() };
        // SAFETY: the output is live for the call.
        let status = unsafe { sys::wrt_doctor_examine(index, &raw mut raw) };
        (status == sys::WRT_OK as sys::wrt_status).then_some(DoctorRow { raw })
    })
}

fn static_text(text: *const c_char) -> &'static str {
    // SAFETY: linux/doctor.h promises static texts, and a row is made by a call that succeeded.
    unsafe { CStr::from_ptr(text) }.to_str().unwrap_or("")
}

/// Text that a row holds, closed by a NUL.
pub(super) fn own_text(text: &[c_char]) -> &str {
    // SAFETY: both are bytes, of the same length.
    let bytes = unsafe { core::slice::from_raw_parts(text.as_ptr().cast::<u8>(), text.len()) };
    CStr::from_bytes_until_nul(bytes).ok().and_then(|text| text.to_str().ok()).unwrap_or("")
}
