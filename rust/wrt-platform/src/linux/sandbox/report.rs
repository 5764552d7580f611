//! What holds of a sandbox, what its guest has used, and how its process ended.

use alloc::vec::Vec;
use core::time::Duration;

use wrt_platform_sys as sys;

use crate::enforcement::Enforcement;

/// How the process of a sandbox ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SandboxEnd {
    /// It has not.
    Runs,
    /// By this crate: time-out, [`SandboxKiller::kill`](super::SandboxKiller::kill).
    Killed,
    /// By a signal; 31 (SIGSYS) is the filter's.
    Signalled(i32),
    /// By itself, with a code: it should not.
    Exited(i32),
    /// Somebody else took its status.
    Unknown,
}

/// What holds, and what has been used; the numbers of the guest are the guest's word.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SandboxReport {
    /// Id of the process; 0 once it has ended.
    pub process: i32,
    /// How it ended.
    pub end: SandboxEnd,
    /// Pages of the guest's memory.
    pub memory_pages: u32,
    /// The most there ever were.
    pub memory_peak_pages: u32,
    /// `memory.grow` answered -1.
    pub refused_growths: u32,
    /// The deepest the guest stack has been, in bytes.
    pub stack_peak_bytes: u32,
    /// Calls that this process answered.
    pub host_calls: u32,
    /// Processor time.
    pub cpu: Duration,
    /// Instructions.
    pub fuel_used: u64,
    /// `None`: without bound.
    pub fuel_left: Option<u64>,
    /// Bytes that the engine has taken.
    pub engine_bytes: u64,
    /// Code of the last call's trap, 0 if there was none.
    pub trap_code: u32,
    /// Function and offset of each frame of that trap, the innermost first.
    pub frames: Vec<(u32, u32)>,
    /// The filter.
    pub system_calls: Enforcement,
    /// Of the process.
    pub no_new_privileges: Enforcement,
    /// Other processes of this user can't look inside.
    pub unobservable: Enforcement,
    /// Of the process.
    pub resource_limits: Enforcement,
    /// It does not outlive this process.
    pub life_line: Enforcement,
    /// No file at all.
    pub landlock: Enforcement,
    /// No user, no capability.
    pub user_namespace: Enforcement,
    /// A view of files of its own.
    pub mount_namespace: Enforcement,
    /// No System V objects.
    pub ipc_namespace: Enforcement,
    /// No network.
    pub network_namespace: Enforcement,
}

impl SandboxReport {
    pub(super) fn from_raw(raw: &sys::wrt_sandbox_report) -> Self {
        let frames = raw.frames.iter().take(raw.frame_count as usize);
        Self {
            process: raw.process,
            end: match raw.end {
                sys::WRT_SANDBOX_RUNS => SandboxEnd::Runs,
                sys::WRT_SANDBOX_KILLED => SandboxEnd::Killed,
                sys::WRT_SANDBOX_SIGNALLED => SandboxEnd::Signalled(raw.end_number),
                sys::WRT_SANDBOX_EXITED => SandboxEnd::Exited(raw.end_number),
                _ => SandboxEnd::Unknown,
            },
            memory_pages: raw.memory_pages,
            memory_peak_pages: raw.memory_peak_pages,
            refused_growths: raw.refused_growths,
            stack_peak_bytes: raw.stack_peak_bytes,
            host_calls: raw.host_calls,
            cpu: Duration::from_nanos(raw.cpu_ns),
            fuel_used: raw.fuel_used,
            fuel_left: (raw.fuel_left != u64::MAX).then_some(raw.fuel_left),
            engine_bytes: raw.engine_bytes,
            trap_code: raw.trap_code,
            frames: frames.map(|frame| (frame.function, frame.offset)).collect(),
            system_calls: Enforcement::from_raw(&raw.system_calls),
            no_new_privileges: Enforcement::from_raw(&raw.no_new_privileges),
            unobservable: Enforcement::from_raw(&raw.unobservable),
            resource_limits: Enforcement::from_raw(&raw.resource_limits),
            life_line: Enforcement::from_raw(&raw.life_line),
            landlock: Enforcement::from_raw(&raw.landlock),
            user_namespace: Enforcement::from_raw(&raw.user_namespace),
            mount_namespace: Enforcement::from_raw(&raw.mount_namespace),
            ipc_namespace: Enforcement::from_raw(&raw.ipc_namespace),
            network_namespace: Enforcement::from_raw(&raw.network_namespace),
        }
    }
}
