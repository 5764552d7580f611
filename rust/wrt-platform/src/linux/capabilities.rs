//! The pieces of root's power, and giving them up. Mirrors `wrt_platform/linux/capabilities.h`.
//!
//! ```
//! use wrt_platform::linux::capabilities::{Capabilities, Capability};
//!
//! let current = Capabilities::current()?;
//! println!("{}", current.has(Capability::SYS_ADMIN));
//! # Ok::<(), wrt_platform::Error>(())
//! ```
//!
//! [`Capabilities::drop_all_except`] is refused in a process with several threads, so it belongs
//! into a child.

use core::{ffi::CStr, fmt, mem};

use wrt_platform_sys as sys;

use crate::enforcement::Enforcement;
use crate::error::{Result, check};

/// A capability, by the kernel's number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Capability(u32);

macro_rules! capabilities {
    ($($name:ident = $raw:ident),* $(,)?) => {
        #[allow(missing_docs, reason = "capabilities(7) says what each allows")]
        impl Capability {
            $(pub const $name: Self = Self(sys::$raw);)*
        }
    };
}

capabilities! {
    CHOWN = WRT_CAPABILITY_CHOWN,
    DAC_OVERRIDE = WRT_CAPABILITY_DAC_OVERRIDE,
    DAC_READ_SEARCH = WRT_CAPABILITY_DAC_READ_SEARCH,
    FOWNER = WRT_CAPABILITY_FOWNER,
    FSETID = WRT_CAPABILITY_FSETID,
    KILL = WRT_CAPABILITY_KILL,
    SETGID = WRT_CAPABILITY_SETGID,
    SETUID = WRT_CAPABILITY_SETUID,
    SETPCAP = WRT_CAPABILITY_SETPCAP,
    LINUX_IMMUTABLE = WRT_CAPABILITY_LINUX_IMMUTABLE,
    NET_BIND_SERVICE = WRT_CAPABILITY_NET_BIND_SERVICE,
    NET_BROADCAST = WRT_CAPABILITY_NET_BROADCAST,
    NET_ADMIN = WRT_CAPABILITY_NET_ADMIN,
    NET_RAW = WRT_CAPABILITY_NET_RAW,
    IPC_LOCK = WRT_CAPABILITY_IPC_LOCK,
    IPC_OWNER = WRT_CAPABILITY_IPC_OWNER,
    SYS_MODULE = WRT_CAPABILITY_SYS_MODULE,
    SYS_RAWIO = WRT_CAPABILITY_SYS_RAWIO,
    SYS_CHROOT = WRT_CAPABILITY_SYS_CHROOT,
    SYS_PTRACE = WRT_CAPABILITY_SYS_PTRACE,
    SYS_PACCT = WRT_CAPABILITY_SYS_PACCT,
    SYS_ADMIN = WRT_CAPABILITY_SYS_ADMIN,
    SYS_BOOT = WRT_CAPABILITY_SYS_BOOT,
    SYS_NICE = WRT_CAPABILITY_SYS_NICE,
    SYS_RESOURCE = WRT_CAPABILITY_SYS_RESOURCE,
    SYS_TIME = WRT_CAPABILITY_SYS_TIME,
    SYS_TTY_CONFIG = WRT_CAPABILITY_SYS_TTY_CONFIG,
    MKNOD = WRT_CAPABILITY_MKNOD,
    LEASE = WRT_CAPABILITY_LEASE,
    AUDIT_WRITE = WRT_CAPABILITY_AUDIT_WRITE,
    AUDIT_CONTROL = WRT_CAPABILITY_AUDIT_CONTROL,
    SETFCAP = WRT_CAPABILITY_SETFCAP,
    MAC_OVERRIDE = WRT_CAPABILITY_MAC_OVERRIDE,
    MAC_ADMIN = WRT_CAPABILITY_MAC_ADMIN,
    SYSLOG = WRT_CAPABILITY_SYSLOG,
    WAKE_ALARM = WRT_CAPABILITY_WAKE_ALARM,
    BLOCK_SUSPEND = WRT_CAPABILITY_BLOCK_SUSPEND,
    AUDIT_READ = WRT_CAPABILITY_AUDIT_READ,
    PERFMON = WRT_CAPABILITY_PERFMON,
    BPF = WRT_CAPABILITY_BPF,
    CHECKPOINT_RESTORE = WRT_CAPABILITY_CHECKPOINT_RESTORE,
}

impl fmt::Debug for Capability {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: it takes a number, and answers NULL or a static text.
        let name = unsafe { sys::wrt_capability_name(self.0) };
        if name.is_null() {
            return write!(formatter, "{}", self.0);
        }
        // SAFETY: as above.
        formatter.write_str(unsafe { CStr::from_ptr(name) }.to_str().map_err(|_| fmt::Error)?)
    }
}

/// The bits that stand for them.
pub fn capability_mask(capabilities: &[Capability]) -> u64 {
    capabilities.iter().fold(0, |mask, one| mask | 1 << one.0)
}

/// What became of a drop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CapabilitiesReport {
    /// Effective, permitted, inheritable.
    pub sets: Enforcement,
    /// So that no exec gives them back.
    pub bounding: Enforcement,
    /// So that none passes exec unasked.
    pub ambient: Enforcement,
    /// So that user 0 is no reason to get any.
    pub securebits: Enforcement,
}

/// What a thread has, as masks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// Counts now.
    pub effective: u64,
    /// Can be made effective.
    pub permitted: u64,
    /// Can pass exec.
    pub inheritable: u64,
    /// No exec gives more.
    pub bounding: u64,
    /// Pass exec of an ordinary program.
    pub ambient: u64,
    /// As prctl(PR_GET_SECUREBITS) has them.
    pub securebits: u32,
}

impl Capabilities {
    /// What the calling thread has.
    pub fn current() -> Result<Self> {
        // SAFETY: zero is a valid value of every field.
        let mut raw: sys::wrt_capabilities = unsafe { mem::zeroed() };
        // SAFETY: the pointer is live for the call.
        check(unsafe { sys::wrt_capabilities_current(&raw mut raw) })?;
        Ok(Self {
            effective: raw.effective,
            permitted: raw.permitted,
            inheritable: raw.inheritable,
            bounding: raw.bounding,
            ambient: raw.ambient,
            securebits: raw.securebits,
        })
    }

    /// Whether this one counts now.
    pub const fn has(&self, capability: Capability) -> bool {
        self.effective >> capability.0 & 1 != 0
    }

    /// Gives up all but these, for good; `State` in a process with several threads.
    pub fn drop_all_except(&self, kept: &[Capability]) -> Result<CapabilitiesReport> {
        self.drop_with(kept, 0)
    }

    /// The same, and programs that are executed get what is kept.
    pub fn drop_all_except_ambient(&self, kept: &[Capability]) -> Result<CapabilitiesReport> {
        self.drop_with(kept, sys::WRT_CAPABILITIES_AMBIENT)
    }

    /// For this thread alone: the others keep theirs.
    pub fn drop_in_this_thread(&self, kept: &[Capability]) -> Result<CapabilitiesReport> {
        self.drop_with(kept, sys::WRT_CAPABILITIES_THIS_THREAD)
    }

    fn drop_with(&self, kept: &[Capability], options: u32) -> Result<CapabilitiesReport> {
        // SAFETY: zero is a valid value of every field.
        let mut raw: sys::wrt_capabilities_report = unsafe { mem::zeroed() };
        // SAFETY: the pointer is live for the call.
        check(unsafe {
            sys::wrt_capabilities_drop_all_except(capability_mask(kept), options, &raw mut raw)
        })?;
        Ok(CapabilitiesReport {
            sets: Enforcement::from_raw(&raw.sets),
            bounding: Enforcement::from_raw(&raw.bounding),
            ambient: Enforcement::from_raw(&raw.ambient),
            securebits: Enforcement::from_raw(&raw.securebits),
        })
    }
}
