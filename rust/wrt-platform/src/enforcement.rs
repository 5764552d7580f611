//! What was asked for, and what this system really does about it.
//! Mirrors `wrt_platform/enforcement.h`.

use core::{ffi::CStr, fmt};

use wrt_platform_sys as sys;

/// Whether a protection holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EnforcementState {
    /// The settings leave it off.
    NotAsked,
    /// Asked, and it holds.
    Enforced,
    /// Asked, and it holds with the exception that the reason names.
    Partial,
    /// Asked, and this system has nothing of it.
    Absent,
}

/// One protection: asked or not, and by what it holds, or why it does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Enforcement {
    /// Whether it holds.
    pub state: EnforcementState,
    /// By what, or why not.
    pub reason: &'static CStr,
}

impl Enforcement {
    pub(crate) fn from_raw(raw: &sys::wrt_enforcement) -> Self {
        let state = match raw.state {
            sys::WRT_ENFORCEMENT_NOT_ASKED => EnforcementState::NotAsked,
            sys::WRT_ENFORCEMENT_ENFORCED => EnforcementState::Enforced,
            sys::WRT_ENFORCEMENT_PARTIAL => EnforcementState::Partial,
            _ => EnforcementState::Absent,
        };
        // SAFETY: enforcement.h promises a static text, never null.
        Self { state, reason: unsafe { CStr::from_ptr(raw.reason) } }
    }

    #[cfg(all(feature = "std", target_os = "linux"))]
    pub(crate) const fn to_raw(self) -> sys::wrt_enforcement {
        let state = match self.state {
            EnforcementState::NotAsked => sys::WRT_ENFORCEMENT_NOT_ASKED,
            EnforcementState::Enforced => sys::WRT_ENFORCEMENT_ENFORCED,
            EnforcementState::Partial => sys::WRT_ENFORCEMENT_PARTIAL,
            EnforcementState::Absent => sys::WRT_ENFORCEMENT_ABSENT,
        };
        sys::wrt_enforcement { state, reserved: 0, reason: self.reason.as_ptr() }
    }
}

impl fmt::Display for Enforcement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            EnforcementState::NotAsked => "not asked",
            EnforcementState::Enforced => "enforced",
            EnforcementState::Partial => "partial",
            EnforcementState::Absent => "absent",
        };
        write!(formatter, "{state}: {}", self.reason.to_str().map_err(|_| fmt::Error)?)
    }
}
