//! An ordinary program in a process that has given up nearly all. Mirrors
//! `wrt_platform/linux/confined_process.h`.
//!
//! ```
//! use core::time::Duration;
//! use wrt_platform::linux::confined_process::ConfinedProcessBuilder;
//!
//! let outcome = ConfinedProcessBuilder::new("/bin/echo")?
//!     .with_arguments(&["echo", "hello"])?
//!     .with_system_files(true)
//!     .with_memory_bytes(512 << 20)
//!     .run(b"", Some(Duration::from_secs(5)))?;
//! assert_eq!(outcome.output, b"hello\n");
//! println!("{}", outcome.report.filter);
//! # Ok::<(), wrt_platform::Error>(())
//! ```

use alloc::{ffi::CString, vec::Vec};
use core::{cell::UnsafeCell, mem, ptr, time::Duration};
use std::{
    io::{Read, Write},
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
    os::unix::net::UnixStream,
    thread,
};

use wrt_platform_sys as sys;

use super::capabilities::{Capability, capability_mask};
use super::landlock::{LandlockAccess, Rules};
use super::namespaces::{NamespaceType, namespace_mask};
use super::seccomp::Seccomp;
use crate::enforcement::Enforcement;
use crate::error::{Error, ErrorKind, Result, check};

/// How much a wall is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
#[repr(u32)]
pub enum ConfinedWall {
    /// As the builder's method says.
    #[default]
    Default = sys::WRT_CONFINED_DEFAULT,
    /// Not asked.
    Off = sys::WRT_CONFINED_OFF,
    /// Where the system has it; the report says.
    Preferred = sys::WRT_CONFINED_PREFERRED,
    /// Or the start fails.
    Required = sys::WRT_CONFINED_REQUIRED,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConfinedEnd {
    /// By itself, with this code.
    Exited(i32),
    /// By this signal; 31 (SIGSYS) is the filter's.
    Signalled(i32),
    /// By [`ConfinedProcess::kill`], or because time was up.
    Killed,
    /// It has ended, and somebody else took its status: never a success.
    Unknown,
}

/// What holds of each wall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfinedReport {
    /// Control group.
    pub cgroup: Enforcement,
    /// Namespaces.
    pub namespaces: Enforcement,
    /// A root of its own.
    pub root: Enforcement,
    /// Limits of resources.
    pub limits: Enforcement,
    /// Capabilities.
    pub capabilities: Enforcement,
    /// None are gained by exec.
    pub privileges: Enforcement,
    /// SELinux.
    pub selinux: Enforcement,
    /// Files, by Landlock.
    pub files: Enforcement,
    /// No descriptors but 0, 1 and 2.
    pub descriptors: Enforcement,
    /// System calls.
    pub filter: Enforcement,
}

/// What a program that ran to its end has left.
#[derive(Debug)]
#[non_exhaustive]
pub struct ConfinedOutcome {
    /// How it ended.
    pub end: ConfinedEnd,
    /// What it wrote to its output.
    pub output: Vec<u8>,
    /// What it wrote to its error stream.
    pub errors: Vec<u8>,
    /// What held of each wall.
    pub report: ConfinedReport,
}

/// A program behind its walls; made by [`ConfinedProcessBuilder`]. `Send`, not `Sync`. It is killed
/// when this is dropped. A forked child can't use it.
pub struct ConfinedProcess {
    raw: UnsafeCell<sys::wrt_confined_process>,
}

// SAFETY: the C object is plain memory and a descriptor of the process.
unsafe impl Send for ConfinedProcess {}

impl ConfinedProcess {
    /// The number of the process, as seen from here.
    pub fn id(&self) -> i32 {
        // SAFETY: not being `Sync`, no call is inside.
        unsafe { (*self.raw.get()).process }
    }

    /// What holds of each wall.
    pub fn report(&self) -> Result<ConfinedReport> {
        // SAFETY: zero is a valid value of every field.
        let mut raw: sys::wrt_confined_report = unsafe { mem::zeroed() };
        // SAFETY: both pointers are live; not being `Sync`, no other call is inside.
        check(unsafe { sys::wrt_confined_process_query(self.raw.get(), &raw mut raw) })?;
        Ok(ConfinedReport {
            cgroup: Enforcement::from_raw(&raw.cgroup),
            namespaces: Enforcement::from_raw(&raw.namespaces),
            root: Enforcement::from_raw(&raw.root),
            limits: Enforcement::from_raw(&raw.limits),
            capabilities: Enforcement::from_raw(&raw.capabilities),
            privileges: Enforcement::from_raw(&raw.privileges),
            selinux: Enforcement::from_raw(&raw.selinux),
            files: Enforcement::from_raw(&raw.files),
            descriptors: Enforcement::from_raw(&raw.descriptors),
            filter: Enforcement::from_raw(&raw.filter),
        })
    }

    /// Waits until the program has ended; `TimedOut` while it runs. `None`: no limit.
    pub fn wait(&self, timeout: Option<Duration>) -> Result<ConfinedEnd> {
        let limit =
            timeout.map_or(u64::MAX, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        let mut raw = sys::wrt_confined_result { end: 0, code: 0 };
        // SAFETY: both pointers are live; not being `Sync`, no other call is inside.
        check(unsafe { sys::wrt_confined_process_wait(self.raw.get(), limit, &raw mut raw) })?;
        Ok(match raw.end {
            sys::WRT_CONFINED_EXITED => ConfinedEnd::Exited(raw.code),
            sys::WRT_CONFINED_SIGNALLED => ConfinedEnd::Signalled(raw.code),
            sys::WRT_CONFINED_KILLED => ConfinedEnd::Killed,
            _ => ConfinedEnd::Unknown,
        })
    }

    /// Kills the program; it has then to be waited for.
    pub fn kill(&self) -> Result<()> {
        // SAFETY: `raw` is initialised; not being `Sync`, no other call is inside.
        check(unsafe { sys::wrt_confined_process_kill(self.raw.get()) })
    }
}

impl Drop for ConfinedProcess {
    fn drop(&mut self) {
        // SAFETY: `raw` is initialised. On an error C has ended the object all the same.
        let _ = unsafe { sys::wrt_confined_process_deinit(self.raw.get()) };
    }
}

/// Texts up to a NULL, as C takes them.
struct Texts {
    _texts: Vec<CString>, // whose bytes the pointers point to
    pointers: Vec<*const core::ffi::c_char>,
}

fn text(value: &str) -> Result<CString> {
    CString::new(value).map_err(|_| {
        Error::invalid_argument(c"ConfinedProcessBuilder", c"a text for the program holds a NUL")
    })
}

impl Texts {
    fn new(values: &[&str]) -> Result<Self> {
        let texts = values.iter().map(|value| text(value)).collect::<Result<Vec<_>>>()?;
        let mut pointers: Vec<_> = texts.iter().map(|text| text.as_ptr()).collect();
        pointers.push(ptr::null());
        Ok(Self { _texts: texts, pointers })
    }
}

/// Collects settings; the rules of linux/confined_process.h are checked by
/// [`start`](Self::start).
#[must_use]
pub struct ConfinedProcessBuilder<'descriptors> {
    config: sys::wrt_confined_process_config,
    executable: CString,
    arguments: Option<Texts>,
    environment: Option<Texts>,
    working_directory: Option<CString>,
    root: Option<CString>,
    selinux_context: Option<CString>,
    files: Rules,
    filter: Option<Seccomp>,
    descriptors: core::marker::PhantomData<BorrowedFd<'descriptors>>,
}

impl<'descriptors> ConfinedProcessBuilder<'descriptors> {
    /// Starts with this program, no file of its own but itself, and the profile `Strict`.
    pub fn new(executable: &str) -> Result<Self> {
        // SAFETY: zero is a valid value of every field (integers, null pointers, false).
        let mut config: sys::wrt_confined_process_config = unsafe { mem::zeroed() };
        config.struct_size = size_of::<sys::wrt_confined_process_config>() as u32;
        Ok(Self {
            config,
            executable: text(executable)?,
            arguments: None,
            environment: None,
            working_directory: None,
            root: None,
            selinux_context: None,
            files: Rules::default(),
            filter: None,
            descriptors: core::marker::PhantomData,
        })
    }

    /// The walls that another builder has asked for: numbers alone.
    pub(crate) const fn with_settings(mut self, from: &sys::wrt_confined_process_config) -> Self {
        self.config.cpu_seconds = from.cpu_seconds;
        self.config.namespaces = from.namespaces;
        self.config.namespace_wall = from.namespace_wall;
        self.config.file_wall = from.file_wall;
        self
    }

    /// Another program.
    pub fn with_executable(mut self, path: &str) -> Result<Self> {
        self.executable = text(path)?;
        Ok(self)
    }

    /// The first is the program's name for itself.
    pub fn with_arguments(mut self, arguments: &[&str]) -> Result<Self> {
        self.arguments = Some(Texts::new(arguments)?);
        Ok(self)
    }

    /// "NAME=value", all of them; nothing is inherited.
    pub fn with_environment(mut self, variables: &[&str]) -> Result<Self> {
        self.environment = Some(Texts::new(variables)?);
        Ok(self)
    }

    /// Else the root.
    pub fn with_working_directory(mut self, path: &str) -> Result<Self> {
        self.working_directory = Some(text(path)?);
        Ok(self)
    }

    /// A folder that becomes the root; it takes a mount namespace.
    pub fn with_root(mut self, path: &str) -> Result<Self> {
        self.root = Some(text(path)?);
        Ok(self)
    }

    /// What the program reaches, seen from the new root, beside its own file.
    pub fn with_files(mut self, files: &[(&str, LandlockAccess)]) -> Result<Self> {
        for (path, access) in files {
            self.files.add(path, *access)?;
        }
        Ok(self)
    }

    /// One rule for files.
    pub fn allow(self, path: &str, access: LandlockAccess) -> Result<Self> {
        self.with_files(&[(path, access)])
    }

    /// The program may read and execute /usr, /lib, /bin and their like.
    pub const fn with_system_files(mut self, enabled: bool) -> Self {
        self.config.system_files = enabled;
        self
    }

    /// A filter of its own, which has to allow execve.
    pub fn with_filter(mut self, filter: Seccomp) -> Self {
        self.filter = Some(filter);
        self
    }

    /// Else the context stays.
    pub fn with_selinux_context(mut self, context: &str) -> Result<Self> {
        self.selinux_context = Some(text(context)?);
        Ok(self)
    }

    /// What is not there already is not gained.
    pub fn with_kept_capabilities(mut self, kept: &[Capability]) -> Self {
        self.config.kept_capabilities = capability_mask(kept);
        self
    }

    /// Of addresses; 0: no limit.
    pub const fn with_memory_bytes(mut self, size: u64) -> Self {
        self.config.memory_bytes = size;
        self
    }

    /// Of a file that it writes; 0: no limit.
    pub const fn with_file_bytes(mut self, size: u64) -> Self {
        self.config.file_bytes = size;
        self
    }

    /// Of processor time, then the kernel kills it; 0: no limit.
    pub const fn with_cpu_seconds(mut self, seconds: u32) -> Self {
        self.config.cpu_seconds = seconds;
        self
    }

    /// Descriptors that it may have; 0: 64.
    pub const fn with_open_files(mut self, count: u32) -> Self {
        self.config.open_files = count;
        self
    }

    /// Of this user, threads too; 0: no limit.
    pub const fn with_processes(mut self, count: u32) -> Self {
        self.config.processes = count;
        self
    }

    /// Nothing: user, mount, PID, IPC and UTS.
    pub fn with_namespaces(mut self, namespaces: &[NamespaceType]) -> Self {
        self.config.namespaces = namespace_mask(namespaces);
        self
    }

    /// The program's user; takes root.
    pub const fn with_user_id(mut self, user: u32) -> Self {
        self.config.user_id = user;
        self.with_has_user(true)
    }

    /// The program's group; takes root.
    pub const fn with_group_id(mut self, group: u32) -> Self {
        self.config.group_id = group;
        self.with_has_user(true)
    }

    /// Whether user and group count; setting one of them does it.
    pub const fn with_has_user(mut self, enabled: bool) -> Self {
        self.config.has_user = enabled;
        self
    }

    /// Else that of this process; `None`: /dev/null.
    pub fn with_standard_input(mut self, descriptor: Option<BorrowedFd<'descriptors>>) -> Self {
        self.config.standard_input = number(descriptor);
        self
    }

    /// Else that of this process; `None`: /dev/null.
    pub fn with_standard_output(mut self, descriptor: Option<BorrowedFd<'descriptors>>) -> Self {
        self.config.standard_output = number(descriptor);
        self
    }

    /// Else that of this process; `None`: /dev/null.
    pub fn with_standard_error(mut self, descriptor: Option<BorrowedFd<'descriptors>>) -> Self {
        self.config.standard_error = number(descriptor);
        self
    }

    /// A control group's folder.
    pub fn with_cgroup(mut self, folder: BorrowedFd<'descriptors>) -> Self {
        self.config.cgroup = folder.as_raw_fd();
        self.with_has_cgroup(true)
    }

    /// Whether the control group counts; setting it does it.
    pub const fn with_has_cgroup(mut self, enabled: bool) -> Self {
        self.config.has_cgroup = enabled;
        self
    }

    /// `Default`: required, if there is one.
    pub const fn with_cgroup_wall(mut self, wall: ConfinedWall) -> Self {
        self.config.cgroup_wall = wall as u32;
        self
    }

    /// `Default`: preferred; required with a root.
    pub const fn with_namespace_wall(mut self, wall: ConfinedWall) -> Self {
        self.config.namespace_wall = wall as u32;
        self
    }

    /// `Default`: preferred.
    pub const fn with_capability_wall(mut self, wall: ConfinedWall) -> Self {
        self.config.capability_wall = wall as u32;
        self
    }

    /// `Default`: required, if there is a context.
    pub const fn with_selinux_wall(mut self, wall: ConfinedWall) -> Self {
        self.config.selinux_wall = wall as u32;
        self
    }

    /// Landlock. `Default`: preferred.
    pub const fn with_file_wall(mut self, wall: ConfinedWall) -> Self {
        self.config.file_wall = wall as u32;
        self
    }

    /// `Default`: required.
    pub const fn with_filter_wall(mut self, wall: ConfinedWall) -> Self {
        self.config.filter_wall = wall as u32;
        self
    }

    /// The kernel kills the program when the thread that called `start` ends.
    pub const fn with_end_with_thread(mut self, enabled: bool) -> Self {
        self.config.end_with_thread = enabled;
        self
    }

    fn raw(&self) -> sys::wrt_confined_process_config {
        let pointer =
            |text: &Option<CString>| text.as_ref().map_or(ptr::null(), |text| text.as_ptr());
        let pointers = |texts: &Option<Texts>| {
            texts.as_ref().map_or(ptr::null(), |texts| texts.pointers.as_ptr())
        };
        let mut config = self.config;
        config.executable = self.executable.as_ptr();
        config.arguments = pointers(&self.arguments);
        config.environment = pointers(&self.environment);
        config.working_directory = pointer(&self.working_directory);
        config.root = pointer(&self.root);
        config.selinux_context = pointer(&self.selinux_context);
        (config.files, config.file_count) = self.files.as_raw();
        if let Some(filter) = &self.filter {
            config.filter = filter.program().as_ptr();
            config.filter_count = filter.program().len() as u32;
        }
        config
    }

    /// Starts the program behind its walls, or says which wall can't be put up.
    pub fn start(&self) -> Result<ConfinedProcess> {
        start(&self.raw())
    }

    /// Runs the program to its end with its streams caught; it is killed when time is up.
    pub fn run(&self, input: &[u8], timeout: Option<Duration>) -> Result<ConfinedOutcome> {
        let ((mut writer, its_input), (reader, its_output), (error_reader, its_errors)) =
            (pair()?, pair()?, pair()?);
        let mut config = self.raw();
        config.standard_input = its_input.as_raw_fd();
        config.standard_output = its_output.as_raw_fd();
        config.standard_error = its_errors.as_raw_fd();
        let process = start(&config)?;
        drop((its_input, its_output, its_errors));
        thread::scope(|scope| {
            scope.spawn(move || {
                let _ = writer.write_all(input); // it may not want any more
            });
            let output = scope.spawn(move || read_all(reader));
            let errors = scope.spawn(move || read_all(error_reader));
            let end = wait_or_kill(&process, timeout);
            let report = process.report();
            drop(process); // whatever happened, the streams come to their end
            let joined = (output.join().unwrap_or_default(), errors.join().unwrap_or_default());
            Ok(ConfinedOutcome { end: end?, output: joined.0, errors: joined.1, report: report? })
        })
    }
}

fn start(config: &sys::wrt_confined_process_config) -> Result<ConfinedProcess> {
    // SAFETY: zero is a valid value of every field.
    let mut raw: sys::wrt_confined_process = unsafe { mem::zeroed() };
    // SAFETY: both pointers, and all that the config points to, are live for the call.
    check(unsafe { sys::wrt_confined_process_start(&raw mut raw, config) })?;
    Ok(ConfinedProcess { raw: UnsafeCell::new(raw) })
}

fn number(descriptor: Option<BorrowedFd<'_>>) -> i32 {
    descriptor.map_or(sys::WRT_CONFINED_NULL, |one| one.as_raw_fd())
}

/// Our end and the program's, closed by exec.
fn pair() -> Result<(UnixStream, OwnedFd)> {
    let failed = |_| Error::new(ErrorKind::System, c"socketpair", c"no descriptor is left");
    let (ours, theirs) = UnixStream::pair().map_err(failed)?;
    Ok((ours, theirs.into()))
}

fn read_all(mut from: UnixStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = from.read_to_end(&mut bytes); // what came before a failure counts
    bytes
}

fn wait_or_kill(process: &ConfinedProcess, timeout: Option<Duration>) -> Result<ConfinedEnd> {
    match process.wait(timeout) {
        Err(error) if error.kind == ErrorKind::TimedOut => {
            process.kill()?;
            process.wait(None)
        }
        other => other,
    }
}
