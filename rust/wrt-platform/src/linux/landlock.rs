//! A process lets go of files, TCP ports and signals that it does not name. Mirrors
//! `wrt_platform/linux/landlock.h`.
//!
//! ```no_run
//! use wrt_platform::linux::landlock::{LandlockAccess, LandlockBuilder};
//!
//! let report = LandlockBuilder::new()
//!     .allow("/usr", LandlockAccess::READ | LandlockAccess::EXECUTE)?
//!     .with_network(true)
//!     .restrict()?; // for good
//! println!("{}", report.files);
//! # Ok::<(), wrt_platform::Error>(())
//! ```

use alloc::{ffi::CString, vec::Vec};
use core::{mem, ops::BitOr};

use wrt_platform_sys as sys;

use crate::enforcement::Enforcement;
use crate::error::{Error, Result, check};

/// What may be done beneath a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LandlockAccess(u32);

impl LandlockAccess {
    /// Read files, list folders.
    pub const READ: Self = Self(sys::WRT_LANDLOCK_READ);
    /// Write and truncate files.
    pub const WRITE: Self = Self(sys::WRT_LANDLOCK_WRITE);
    /// Execute files.
    pub const EXECUTE: Self = Self(sys::WRT_LANDLOCK_EXECUTE);
    /// Make, remove, rename and link.
    pub const CREATE: Self = Self(sys::WRT_LANDLOCK_CREATE);
    /// Make devices; ioctl of those that are there.
    pub const DEVICE: Self = Self(sys::WRT_LANDLOCK_DEVICE);
    /// All of it.
    pub const ALL: Self = Self(sys::WRT_LANDLOCK_ALL);
}

impl BitOr for LandlockAccess {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Paths that stay usable, as C takes them.
#[derive(Default)]
pub(crate) struct Rules {
    paths: Vec<CString>,
    rules: Vec<sys::wrt_landlock_rule>,
}

impl Rules {
    pub(crate) fn add(&mut self, path: &str, access: LandlockAccess) -> Result<()> {
        let path = CString::new(path)
            .map_err(|_| Error::invalid_argument(c"allow", c"the path holds a NUL"))?;
        let access = access.0;
        // A CString's bytes stay where they are when it is moved.
        self.rules.push(sys::wrt_landlock_rule { path: path.as_ptr(), access, reserved: 0 });
        self.paths.push(path);
        Ok(())
    }

    pub(crate) fn as_raw(&self) -> (*const sys::wrt_landlock_rule, u32) {
        (self.rules.as_ptr(), self.rules.len() as u32)
    }
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LandlockReport {
    /// Of this kernel, as Landlock counts.
    pub abi: u32,
    /// Paths.
    pub files: Enforcement,
    /// TCP.
    pub network: Enforcement,
    /// Signals and abstract sockets.
    pub scope: Enforcement,
}

/// The version that this kernel has; `Unsupported` where there is none.
pub fn landlock_abi() -> Result<u32> {
    let mut abi = 0;
    // SAFETY: the pointer is live for the call.
    check(unsafe { sys::wrt_landlock_abi(&raw mut abi) })?;
    Ok(abi)
}

/// Collects what stays; the rules of linux/landlock.h are checked by
/// [`restrict`](Self::restrict).
#[must_use]
pub struct LandlockBuilder {
    config: sys::wrt_landlock_config,
    rules: Rules,
    ports: Vec<sys::wrt_landlock_port>,
}

impl LandlockBuilder {
    /// Starts with no file at all.
    pub fn new() -> Self {
        // SAFETY: zero is a valid value of every field (integers, null pointers, false).
        let mut config: sys::wrt_landlock_config = unsafe { mem::zeroed() };
        config.struct_size = size_of::<sys::wrt_landlock_config>() as u32;
        Self { config, rules: Rules::default(), ports: Vec::new() }
    }

    /// This path stays usable, and all beneath it.
    pub fn allow(mut self, path: &str, access: LandlockAccess) -> Result<Self> {
        self.rules.add(path, access)?;
        Ok(self)
    }

    /// These paths stay usable.
    pub fn with_rules(mut self, rules: &[(&str, LandlockAccess)]) -> Result<Self> {
        for (path, access) in rules {
            self.rules.add(path, *access)?;
        }
        Ok(self)
    }

    /// These TCP ports stay usable, and no other: to bind to, to connect to.
    pub fn with_ports(mut self, bind: &[u16], connect: &[u16]) -> Self {
        let port = |port: &u16, access| sys::wrt_landlock_port { port: u32::from(*port), access };
        self.ports.extend(bind.iter().map(|one| port(one, sys::WRT_LANDLOCK_BIND)));
        self.ports.extend(connect.iter().map(|one| port(one, sys::WRT_LANDLOCK_CONNECT)));
        self
    }

    /// TCP is restricted, to the ports that are given.
    pub const fn with_network(mut self, enabled: bool) -> Self {
        self.config.network = enabled;
        self
    }

    /// No signals to, and no abstract sockets of, processes outside.
    pub const fn with_scope(mut self, enabled: bool) -> Self {
        self.config.scope = enabled;
        self
    }

    /// Although there are other threads, which stay free.
    pub const fn with_this_thread(mut self, enabled: bool) -> Self {
        self.config.this_thread = enabled;
        self
    }

    /// Restricts the calling thread, for good; `State` in a process with several threads.
    pub fn restrict(&self) -> Result<LandlockReport> {
        let mut config = self.config;
        (config.rules, config.rule_count) = self.rules.as_raw();
        config.ports = self.ports.as_ptr();
        config.port_count = self.ports.len() as u32;
        // SAFETY: zero is a valid value of every field.
        let mut raw: sys::wrt_landlock_report = unsafe { mem::zeroed() };
        // SAFETY: all pointers are live for the call.
        check(unsafe { sys::wrt_landlock_restrict(&raw const config, &raw mut raw) })?;
        Ok(LandlockReport {
            abi: raw.abi,
            files: Enforcement::from_raw(&raw.files),
            network: Enforcement::from_raw(&raw.network),
            scope: Enforcement::from_raw(&raw.scope),
        })
    }
}

impl Default for LandlockBuilder {
    fn default() -> Self {
        Self::new()
    }
}
