//! What a sandbox is made of.

use alloc::ffi::CString;
use core::{mem, ptr};
use std::{os::unix::ffi::OsStrExt, path::Path};

use wrt_platform_sys as sys;

use super::{Sandbox, SandboxProfile, SandboxWall};
use crate::error::{Result, check};
use crate::linux::confined_process::ConfinedProcessBuilder;

/// Collects settings; the rules of linux/sandbox.h are checked by [`build`](Self::build).
#[must_use]
#[derive(Clone)]
pub struct SandboxBuilder {
    config: sys::wrt_sandbox_config,
    path: Option<CString>,
}

// SAFETY: the pointer in the config is set from `path`, while C reads it.
unsafe impl Send for SandboxBuilder {}

impl SandboxBuilder {
    /// Starts with the defaults.
    pub const fn new() -> Self {
        // SAFETY: zero is a valid value of every field (integers, null pointer).
        let mut config: sys::wrt_sandbox_config = unsafe { mem::zeroed() };
        config.struct_size = size_of::<sys::wrt_sandbox_config>() as u32;
        Self { config, path: None }
    }

    /// `Sealed`: [`build`](Self::build) makes a process for one module. `Strict`:
    /// [`confine`](Self::confine) makes one for an ordinary program.
    pub const fn with_profile(mut self, profile: SandboxProfile) -> Self {
        self.config.profile = match profile {
            SandboxProfile::Sealed => sys::WRT_SANDBOX_SEALED,
            SandboxProfile::Strict => sys::WRT_SANDBOX_STRICT,
        };
        self
    }

    /// Of linear memory, 64 KiB each; 0: 4096, 256 MiB.
    pub const fn with_maximum_pages(mut self, pages: u32) -> Self {
        self.config.maximum_pages = pages;
        self
    }

    /// Processor time, then the kernel kills it; 0: no limit.
    pub const fn with_cpu_seconds(mut self, seconds: u32) -> Self {
        self.config.cpu_seconds = seconds;
        self
    }

    /// No file at all, behind the filter; without this call it is preferred.
    pub const fn with_landlock(mut self, wall: SandboxWall) -> Self {
        self.config.landlock = wall.raw();
        self
    }

    /// No user and no capability, behind the filter; without this call it is off.
    pub const fn with_user_namespace(mut self, wall: SandboxWall) -> Self {
        self.config.user_namespace = wall.raw();
        self
    }

    /// A view of files of its own, behind the filter; without this call it is off.
    pub const fn with_mount_namespace(mut self, wall: SandboxWall) -> Self {
        self.config.mount_namespace = wall.raw();
        self
    }

    /// No System V objects, behind the filter; without this call it is off.
    pub const fn with_ipc_namespace(mut self, wall: SandboxWall) -> Self {
        self.config.ipc_namespace = wall.raw();
        self
    }

    /// No network, behind the filter; without this call it is off, since it costs 0.4 ms.
    pub const fn with_network_namespace(mut self, wall: SandboxWall) -> Self {
        self.config.network_namespace = wall.raw();
        self
    }

    /// Room for a module and its imports' names; at most 1 GiB; 0: 16 MiB.
    pub const fn with_maximum_module_bytes(mut self, bytes: u64) -> Self {
        self.config.maximum_module_bytes = bytes;
        self
    }

    /// For the engine's tables and the guest's stack; at most 1 GiB; 0: 64 MiB.
    pub const fn with_working_bytes(mut self, bytes: u64) -> Self {
        self.config.working_bytes = bytes;
        self
    }

    /// A file that holds [`program`](super::program), where nothing is executed from memory.
    pub fn with_program_path(mut self, path: impl AsRef<Path>) -> Self {
        // A path with a NUL names no file, like an empty one.
        self.path = Some(CString::new(path.as_ref().as_os_str().as_bytes()).unwrap_or_default());
        self
    }

    /// The walls of the profile `Strict` round an ordinary program: a builder that has them, to be
    /// given arguments, files and limits, and started. Landlock and namespaces are preferred where
    /// nothing else was asked (the network's is off); one that is required makes all that are asked
    /// required. `Unsupported` with the profile `Sealed`, which is for modules; `InvalidArgument`
    /// for settings that only an engine has.
    pub fn confine<'descriptors>(
        &self,
        executable: &str,
    ) -> Result<ConfinedProcessBuilder<'descriptors>> {
        // SAFETY: zero is a valid value of every field.
        let mut found = unsafe { mem::zeroed() };
        let config = self.completed();
        // SAFETY: both pointers are live, and so is the path.
        check(unsafe { sys::wrt_sandbox_confine(&raw const config, &raw mut found) })?;
        Ok(ConfinedProcessBuilder::new(executable)?.with_settings(&found))
    }

    /// Starts the process; it is sealed then, and waits. `Unsupported` with the profile `Strict`.
    pub fn build<'a>(&self) -> Result<Sandbox<'a>> {
        // SAFETY: zero is a valid value of every field.
        let mut raw = unsafe { mem::zeroed() };
        let config = self.completed();
        // SAFETY: both pointers are live, and so is the path.
        check(unsafe { sys::wrt_sandbox_init(&raw mut raw, &raw const config) })?;
        Ok(Sandbox::new(raw))
    }

    pub(super) fn completed(&self) -> sys::wrt_sandbox_config {
        let mut config = self.config;
        config.program_path = self.path.as_ref().map_or(ptr::null(), |path| path.as_ptr());
        config
    }
}

impl Default for SandboxBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl SandboxWall {
    const fn raw(self) -> u32 {
        match self {
            Self::Off => sys::WRT_SANDBOX_WALL_OFF,
            Self::Preferred => sys::WRT_SANDBOX_WALL_PREFERRED,
            Self::Required => sys::WRT_SANDBOX_WALL_REQUIRED,
        }
    }
}
