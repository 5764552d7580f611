//! Where this process runs, and how much of the machine it may use. Mirrors
//! `wrt_platform/linux/container.h`.
//!
//! ```
//! use wrt_platform::linux::container::{ContainerEnvironment, detect_environment, detect_resources};
//!
//! match detect_environment()? {
//!     ContainerEnvironment::Docker => println!("in Docker"),
//!     ContainerEnvironment::Kubernetes => println!("in a pod"),
//!     ContainerEnvironment::Systemd => println!("a service"),
//!     _ => println!("on the machine itself"),
//! }
//! println!("{} bytes", detect_resources("")?.memory_available);
//! # Ok::<(), wrt_platform::Error>(())
//! ```

use alloc::{ffi::CString, vec::Vec};
use core::{ffi::CStr, mem};

use wrt_platform_sys as sys;

use crate::error::{Error, Result, check};
use crate::limits::Limits;
use crate::page_allocator::PAGE_SIZE;

/// What a process can run in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ContainerEnvironment {
    /// The machine itself.
    None,
    /// Docker.
    Docker,
    /// Podman.
    Podman,
    /// Kubernetes, whatever runs the container below it.
    Kubernetes,
    /// LXC.
    Lxc,
    /// systemd-nspawn.
    Nspawn,
    /// A container that does not tell its name.
    OtherContainer,
    /// A service of systemd's: not a container.
    Systemd,
    /// Windows' own Linux: not a container.
    Wsl,
}

impl ContainerEnvironment {
    fn from_raw(runtime: u32) -> Self {
        match runtime {
            sys::WRT_LINUX_RUNTIME_DOCKER => Self::Docker,
            sys::WRT_LINUX_RUNTIME_PODMAN => Self::Podman,
            sys::WRT_LINUX_RUNTIME_KUBERNETES => Self::Kubernetes,
            sys::WRT_LINUX_RUNTIME_LXC => Self::Lxc,
            sys::WRT_LINUX_RUNTIME_NSPAWN => Self::Nspawn,
            sys::WRT_LINUX_RUNTIME_OTHER_CONTAINER => Self::OtherContainer,
            sys::WRT_LINUX_RUNTIME_SYSTEMD => Self::Systemd,
            sys::WRT_LINUX_RUNTIME_WSL => Self::Wsl,
            _ => Self::None,
        }
    }
}

/// One sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Evidence {
    /// Of which it is a sign.
    pub environment: ContainerEnvironment,
    /// Only this runtime makes it; else two have to agree.
    pub is_certain: bool,
    /// What was found.
    pub text: &'static CStr,
}

/// What was found; layers can stand in each other.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Environment {
    /// The one that matters most.
    pub environment: ContainerEnvironment,
    /// All that are there.
    pub layers: Vec<ContainerEnvironment>,
    /// All signs.
    pub evidence: Vec<Evidence>,
}

/// What sets a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LimitSource {
    /// Nothing.
    None,
    /// The machine's memory, its processors.
    Machine,
    /// A control group, or one above it.
    CgroupV2,
    /// The same, of version 1.
    CgroupV1,
    /// The CPUs that this process may use.
    Affinity,
    /// `RLIMIT_AS`.
    AddressSpace,
}

impl LimitSource {
    fn from_raw(source: u32) -> Self {
        match source {
            sys::WRT_LINUX_LIMIT_MACHINE => Self::Machine,
            sys::WRT_LINUX_LIMIT_CGROUP_V2 => Self::CgroupV2,
            sys::WRT_LINUX_LIMIT_CGROUP_V1 => Self::CgroupV1,
            sys::WRT_LINUX_LIMIT_AFFINITY => Self::Affinity,
            sys::WRT_LINUX_LIMIT_ADDRESS_SPACE => Self::AddressSpace,
            _ => Self::None,
        }
    }
}

/// What this process may use; `u64::MAX`: nothing limits it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resources {
    /// Bytes of the machine.
    pub memory_total: u64,
    /// Bytes: the least of the machine, of each group above, and of the address space.
    pub memory_limit: u64,
    /// Bytes that can still be had.
    pub memory_available: u64,
    /// Of `memory_limit`.
    pub memory_source: LimitSource,
    /// CPUs that this process may run on.
    pub cpu_count: u32,
    /// Thousandths of a CPU: the lesser of these and of the quotas above.
    pub cpu_milli: u32,
    /// Of `cpu_milli`.
    pub cpu_source: LimitSource,
    /// Processes and threads.
    pub pids_limit: u64,
}

/// What matters most of where this process runs: a container goes before systemd.
pub fn detect_environment() -> Result<ContainerEnvironment> {
    describe_environment("").map(|found| found.environment)
}

/// The same with all signs; `root` goes before each path.
pub fn describe_environment(root: &str) -> Result<Environment> {
    let root = root_for_c(root)?;
    // SAFETY: zero is a valid value of every field (integers, null pointers).
    let mut raw: sys::wrt_linux_environment = unsafe { mem::zeroed() };
    // SAFETY: both pointers are live for the call.
    check(unsafe { sys::wrt_linux_environment_detect(root.as_ptr(), &raw mut raw) })?;
    let signs = raw.evidence.iter().take(raw.evidence_count as usize);
    let evidence = signs.map(|sign| Evidence {
        environment: ContainerEnvironment::from_raw(sign.runtime),
        is_certain: sign.confidence == sys::WRT_LINUX_CONFIDENCE_CERTAIN,
        // SAFETY: linux/container.h promises a static text, never null.
        text: unsafe { CStr::from_ptr(sign.text) },
    });
    Ok(Environment {
        environment: ContainerEnvironment::from_raw(raw.environment),
        layers: (1..u32::BITS)
            .filter(|runtime| raw.layers >> runtime & 1 != 0)
            .map(ContainerEnvironment::from_raw)
            .collect(),
        evidence: evidence.collect(),
    })
}

/// What this process may use, and what limits it; `root` goes before each path.
pub fn detect_resources(root: &str) -> Result<Resources> {
    let root = root_for_c(root)?;
    // SAFETY: zero is a valid value of every field.
    let mut raw: sys::wrt_linux_resources = unsafe { mem::zeroed() };
    // SAFETY: both pointers are live for the call.
    check(unsafe { sys::wrt_linux_resources_detect(root.as_ptr(), &raw mut raw) })?;
    Ok(Resources {
        memory_total: raw.memory_total,
        memory_limit: raw.memory_limit,
        memory_available: raw.memory_available,
        memory_source: LimitSource::from_raw(raw.memory_source),
        cpu_count: raw.cpu_count,
        cpu_milli: raw.cpu_milli,
        cpu_source: LimitSource::from_raw(raw.cpu_source),
        pids_limit: raw.pids_limit,
    })
}

/// Limits of a run, as the documents call them.
pub type RunLimits = Limits;

impl Limits {
    /// As much memory as `percent` of what this process can still have, here and now: within its
    /// container, its control groups, its address space and the machine, but at least a page.
    pub fn from_environment(percent: u32) -> Result<Self> {
        if percent == 0 || percent > 100 {
            let reason = c"percent is {0}, not 1 to {1}";
            let error = Error::invalid_argument(c"Limits::from_environment", reason);
            return Err(error.with_detail([u64::from(percent), 100]));
        }
        let available = detect_resources("")?.memory_available;
        if available == u64::MAX {
            return Ok(Self::new());
        }
        let share = available / 100 * u64::from(percent);
        Ok(Self::new().with_memory(share.max(PAGE_SIZE as u64)))
    }
}

fn root_for_c(root: &str) -> Result<CString> {
    let refused = Error::invalid_argument(c"describe_environment", c"root has a NUL in it");
    CString::new(root).map_err(|_| refused)
}
