//! Views of files, processes, network and users of a process's own. Mirrors
//! `wrt_platform/linux/namespaces.h`.
//!
//! ```
//! use wrt_platform::linux::namespaces::{Namespace, NamespaceType};
//!
//! println!("{}", Namespace::probe(&[NamespaceType::User, NamespaceType::Mount])?);
//! # Ok::<(), wrt_platform::Error>(())
//! ```

use core::mem;

use wrt_platform_sys as sys;

use crate::enforcement::Enforcement;
use crate::error::{Result, check};

/// Kinds of namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u32)]
pub enum NamespaceType {
    /// Users and capabilities.
    User = sys::WRT_NAMESPACE_USER,
    /// Mounts.
    Mount = sys::WRT_NAMESPACE_MOUNT,
    /// Processes, as the documents spell it.
    PID = sys::WRT_NAMESPACE_PID,
    /// Interfaces and sockets.
    Network = sys::WRT_NAMESPACE_NETWORK,
    /// System V objects and message queues, as the documents spell it.
    IPC = sys::WRT_NAMESPACE_IPC,
    /// Host name.
    UTS = sys::WRT_NAMESPACE_UTS,
    /// Control groups.
    Cgroup = sys::WRT_NAMESPACE_CGROUP,
}

pub(crate) fn namespace_mask(namespaces: &[NamespaceType]) -> u32 {
    namespaces.iter().fold(0, |mask, one| mask | *one as u32)
}

/// What can be done about the namespaces of this process.
pub struct Namespace;

impl Namespace {
    /// Moves this process into new namespaces, for good; `State` in a process with several
    /// threads, `Permission` with the setting that refuses it.
    pub fn unshare(namespaces: &[NamespaceType]) -> Result<()> {
        // SAFETY: it takes a number.
        check(unsafe { sys::wrt_namespace_unshare(namespace_mask(namespaces)) })
    }

    /// Whether [`unshare`](Self::unshare) would work, found out by doing it in a child process.
    pub fn probe(namespaces: &[NamespaceType]) -> Result<Enforcement> {
        // SAFETY: zero is a valid value of every field.
        let mut raw: sys::wrt_enforcement = unsafe { mem::zeroed() };
        // SAFETY: the pointer is live for the call.
        check(unsafe { sys::wrt_namespace_probe(namespace_mask(namespaces), &raw mut raw) })?;
        Ok(Enforcement::from_raw(&raw))
    }
}
