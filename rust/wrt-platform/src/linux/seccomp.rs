//! Filters for system calls: compiled, tried without being loaded, loaded for good. Mirrors
//! `wrt_platform/linux/seccomp.h`.
//!
//! ```
//! use wrt_platform::linux::seccomp::{SeccompAction, SeccompBuilder};
//!
//! let filter = SeccompBuilder::new()
//!     .allow(&["read", "write", "exit_group"])?
//!     .with_default_action(SeccompAction::Kill)
//!     .build()?;
//! assert_eq!(filter.simulate("read", &[])?.action, SeccompAction::Allow);
//! assert_eq!(filter.simulate("openat", &[])?.action, SeccompAction::Kill);
//! # Ok::<(), wrt_platform::Error>(())
//! ```
//!
//! [`Seccomp::load`] is refused in a process with several threads, so it belongs into a child.

use alloc::{ffi::CString, string::String, vec, vec::Vec};
use core::{ffi::CStr, mem, ptr};

use wrt_platform_sys as sys;

use crate::enforcement::Enforcement;
use crate::error::{Error, Result, check};

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SeccompAction {
    /// In a builder: as the profile has it.
    Default,
    /// It is made.
    Allow,
    /// It is made, and written to the audit log.
    Log,
    /// It fails with this error number, and has no effect; 0: EPERM.
    Errno(u32),
    /// The thread gets SIGSYS, which it can handle.
    Trap,
    /// The whole process dies by SIGSYS.
    Kill,
    /// From a simulation only: one that this library does not use.
    Foreign,
}

const PERMISSION: u32 = 1; // EPERM

impl SeccompAction {
    const fn to_raw(self) -> (u32, u32) {
        match self {
            Self::Default => (sys::WRT_SECCOMP_DEFAULT, 0),
            Self::Allow => (sys::WRT_SECCOMP_ALLOW, 0),
            Self::Log => (sys::WRT_SECCOMP_LOG, 0),
            Self::Errno(0) => (sys::WRT_SECCOMP_ERRNO, PERMISSION),
            Self::Errno(error) => (sys::WRT_SECCOMP_ERRNO, error),
            Self::Trap => (sys::WRT_SECCOMP_TRAP, 0),
            Self::Kill => (sys::WRT_SECCOMP_KILL, 0),
            Self::Foreign => (sys::WRT_SECCOMP_FOREIGN, 0),
        }
    }

    const fn from_raw(action: u32, error: u32) -> Self {
        match action {
            sys::WRT_SECCOMP_ALLOW => Self::Allow,
            sys::WRT_SECCOMP_LOG => Self::Log,
            sys::WRT_SECCOMP_ERRNO => Self::Errno(error),
            sys::WRT_SECCOMP_TRAP => Self::Trap,
            sys::WRT_SECCOMP_KILL => Self::Kill,
            _ => Self::Foreign,
        }
    }
}

/// Whose numbers of system calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
#[repr(u32)]
pub enum SeccompArchitecture {
    /// This machine's.
    #[default]
    Host = sys::WRT_SECCOMP_HOST,
    /// x86-64.
    X86_64 = sys::WRT_SECCOMP_X86_64,
    /// 64-bit Arm.
    Aarch64 = sys::WRT_SECCOMP_AARCH64,
}

/// How an argument is compared, as an unsigned 64-bit number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SeccompCompare {
    /// It is this value.
    Equal(u64),
    /// It is another one.
    NotEqual(u64),
    /// It is smaller.
    Less(u64),
    /// It is not larger.
    LessEqual(u64),
    /// It is larger.
    Greater(u64),
    /// It is not smaller.
    GreaterEqual(u64),
    /// (argument & mask) == value.
    MaskedEqual {
        /// The bits that count.
        mask: u64,
        /// What they are.
        value: u64,
    },
}

impl SeccompCompare {
    fn to_raw(self, index: u32) -> sys::wrt_seccomp_argument {
        let (compare, value, mask) = match self {
            Self::Equal(value) => (sys::WRT_SECCOMP_EQUAL, value, 0),
            Self::NotEqual(value) => (sys::WRT_SECCOMP_NOT_EQUAL, value, 0),
            Self::Less(value) => (sys::WRT_SECCOMP_LESS, value, 0),
            Self::LessEqual(value) => (sys::WRT_SECCOMP_LESS_EQUAL, value, 0),
            Self::Greater(value) => (sys::WRT_SECCOMP_GREATER, value, 0),
            Self::GreaterEqual(value) => (sys::WRT_SECCOMP_GREATER_EQUAL, value, 0),
            Self::MaskedEqual { mask, value } => (sys::WRT_SECCOMP_MASKED_EQUAL, value, mask),
        };
        sys::wrt_seccomp_argument { index, compare, value, mask }
    }
}

/// Rules that come ready made; the C header lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
#[repr(u32)]
pub enum SeccompProfile {
    /// The builder's rules alone; else EPERM.
    #[default]
    None = sys::WRT_SECCOMP_PROFILE_NONE,
    /// The documents' eight calls; else kill.
    Minimal = sys::WRT_SECCOMP_PROFILE_MINIMAL,
    /// Five calls with checked arguments; else kill.
    Sealed = sys::WRT_SECCOMP_PROFILE_SEALED,
    /// What an ordinary program needs; else EPERM.
    Strict = sys::WRT_SECCOMP_PROFILE_STRICT,
    /// All but what container runtimes take away.
    Container = sys::WRT_SECCOMP_PROFILE_CONTAINER,
}

/// The order in which a program looks for a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
#[repr(u32)]
pub enum SeccompForm {
    /// By halving.
    #[default]
    Tree = sys::WRT_SECCOMP_TREE,
    /// Rule by rule.
    Linear = sys::WRT_SECCOMP_LINEAR,
}

/// What a filter answers to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SeccompVerdict {
    /// What happens.
    pub action: SeccompAction,
    /// The answer itself, SECCOMP_RET_...
    pub raw: u32,
    /// Instructions that it took.
    pub steps: u32,
}

/// What became of a builder's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SeccompReport {
    /// Of the program.
    pub instruction_count: u32,
    /// Calls with rules of their own.
    pub call_count: u32,
    /// Rules beside the builder's and the profile's: a number, and what happens.
    pub added: Vec<(u32, SeccompAction)>,
}

/// The number of the call of this name; `NotFound` if there is none.
pub fn call_number(architecture: SeccompArchitecture, name: &str) -> Result<u32> {
    let name = CString::new(name)
        .map_err(|_| Error::invalid_argument(c"call_number", c"the name holds a NUL"))?;
    let mut number = 0;
    // SAFETY: both pointers are live for the call.
    check(unsafe {
        sys::wrt_seccomp_call_number(architecture as u32, name.as_ptr(), &raw mut number)
    })?;
    Ok(number)
}

/// The name of a call, if it has one here.
pub fn call_name(architecture: SeccompArchitecture, number: u32) -> Option<&'static str> {
    // SAFETY: it takes numbers, and answers NULL or a static text.
    let name = unsafe { sys::wrt_seccomp_call_name(architecture as u32, number) };
    if name.is_null() {
        return None;
    }
    // SAFETY: as above.
    unsafe { CStr::from_ptr(name) }.to_str().ok()
}

/// What is logged of what [`SeccompBuilder::with_log_failures`] asks.
pub fn seccomp_logging() -> Result<Enforcement> {
    // SAFETY: zero is a valid value of every field.
    let mut raw: sys::wrt_enforcement = unsafe { mem::zeroed() };
    // SAFETY: the pointer is live for the call.
    check(unsafe { sys::wrt_seccomp_logging(&raw mut raw) })?;
    Ok(Enforcement::from_raw(&raw))
}

/// A filter, ready to be tried or loaded; made by [`SeccompBuilder`]. Plain data.
#[derive(Clone)]
pub struct Seccomp {
    program: Vec<sys::wrt_seccomp_instruction>,
    report: sys::wrt_seccomp_report,
}

impl Seccomp {
    /// The instructions, as the kernel's struct sock_filter has them.
    pub fn program(&self) -> &[sys::wrt_seccomp_instruction] {
        &self.program
    }

    /// What became of the settings.
    pub fn report(&self) -> SeccompReport {
        let added = &self.report.added[..self.report.added_count as usize];
        let added = added.iter();
        SeccompReport {
            instruction_count: self.report.instruction_count,
            call_count: self.report.call_count,
            added: added
                .map(|rule| (rule.call, SeccompAction::from_raw(rule.action, rule.error)))
                .collect(),
        }
    }

    fn architecture(&self) -> SeccompArchitecture {
        match self.report.architecture {
            sys::WRT_SECCOMP_X86_64 => SeccompArchitecture::X86_64,
            _ => SeccompArchitecture::Aarch64,
        }
    }

    /// What the filter answers to a call of its own architecture, without being loaded.
    pub fn simulate(&self, name: &str, arguments: &[u64]) -> Result<SeccompVerdict> {
        self.simulate_number(call_number(self.architecture(), name)?, arguments)
    }

    /// The same for a number.
    pub fn simulate_number(&self, number: u32, arguments: &[u64]) -> Result<SeccompVerdict> {
        let mut call = sys::wrt_seccomp_call {
            number,
            architecture: match self.architecture() {
                SeccompArchitecture::X86_64 => 0xc000_003e,
                _ => 0xc000_00b7,
            },
            instruction_pointer: 0,
            arguments: [0; 6],
        };
        for (to, from) in call.arguments.iter_mut().zip(arguments) {
            *to = *from;
        }
        // SAFETY: zero is a valid value of every field.
        let mut verdict: sys::wrt_seccomp_verdict = unsafe { mem::zeroed() };
        let count = self.program.len() as u32;
        // SAFETY: all pointers are live, and the program has `count` instructions.
        check(unsafe {
            sys::wrt_seccomp_simulate(
                self.program.as_ptr(),
                count,
                &raw const call,
                &raw mut verdict,
            )
        })?;
        let action = SeccompAction::from_raw(verdict.action, verdict.error);
        Ok(SeccompVerdict { action, raw: verdict.raw, steps: verdict.steps })
    }

    /// Loads the filter for good; `State` in a process with several threads, unless
    /// [`SeccompBuilder::with_all_threads`] was asked for.
    pub fn load(&self) -> Result<()> {
        let count = self.program.len() as u32;
        // SAFETY: the program has `count` instructions.
        check(unsafe {
            sys::wrt_seccomp_load(self.program.as_ptr(), count, self.report.load_options)
        })
    }
}

/// Collects settings; the rules of linux/seccomp.h are checked by [`build`](Self::build).
#[must_use]
pub struct SeccompBuilder {
    config: sys::wrt_seccomp_config,
    rules: Vec<(String, sys::wrt_seccomp_rule)>, // a name, or nothing and the number
}

impl SeccompBuilder {
    /// Starts with no rule, and EPERM for all.
    pub const fn new() -> Self {
        // SAFETY: zero is a valid value of every field (integers, null pointer, false).
        let mut config: sys::wrt_seccomp_config = unsafe { mem::zeroed() };
        config.struct_size = size_of::<sys::wrt_seccomp_config>() as u32;
        Self { config, rules: Vec::new() }
    }

    /// Allows these calls, whatever their arguments are.
    pub fn allow(mut self, names: &[&str]) -> Result<Self> {
        for name in names {
            self = self.with_rule(name, SeccompAction::Allow, &[])?;
        }
        Ok(self)
    }

    /// Says what happens to a call whose compares, each with the index of its argument, all hold.
    /// `InvalidArgument` beyond 6 compares; [`build`](Self::build) looks the name up.
    pub fn with_rule(
        self,
        name: &str,
        action: SeccompAction,
        compares: &[(u32, SeccompCompare)],
    ) -> Result<Self> {
        self.add(name.into(), 0, action, compares)
    }

    /// The same for the number of a call that is newer than this library.
    pub fn with_number_rule(
        self,
        number: u32,
        action: SeccompAction,
        compares: &[(u32, SeccompCompare)],
    ) -> Result<Self> {
        self.add(String::new(), number, action, compares)
    }

    fn add(
        mut self,
        name: String,
        call: u32,
        action: SeccompAction,
        compares: &[(u32, SeccompCompare)],
    ) -> Result<Self> {
        // SAFETY: zero is a valid value of every field.
        let mut rule: sys::wrt_seccomp_rule = unsafe { mem::zeroed() };
        if compares.len() > rule.arguments.len() {
            let reason = c"a rule has at most 6 compares";
            return Err(Error::invalid_argument(c"SeccompBuilder::with_rule", reason));
        }
        rule.call = call;
        (rule.action, rule.error) = action.to_raw();
        rule.argument_count = compares.len() as u32;
        for (place, (index, compare)) in rule.arguments.iter_mut().zip(compares) {
            *place = compare.to_raw(*index);
        }
        self.rules.push((name, rule));
        Ok(self)
    }

    /// Whose numbers.
    pub const fn with_architecture(mut self, architecture: SeccompArchitecture) -> Self {
        self.config.architecture = architecture as u32;
        self
    }

    /// Starts from ready-made rules; own ones for a call replace the profile's for it.
    pub const fn with_profile(mut self, profile: SeccompProfile) -> Self {
        self.config.profile = profile as u32;
        self
    }

    /// `Tree` halves, `Linear` goes rule by rule.
    pub const fn with_form(mut self, form: SeccompForm) -> Self {
        self.config.form = form as u32;
        self
    }

    /// For calls without a rule.
    pub const fn with_default_action(mut self, action: SeccompAction) -> Self {
        (self.config.default_action, self.config.default_error) = action.to_raw();
        self
    }

    /// Where the default action is an error number; 0: EPERM.
    pub const fn with_default_error(mut self, error: u32) -> Self {
        self.config.default_error = error;
        self
    }

    /// For numbers that this library has no name for; `Default`: ENOSYS.
    pub const fn with_unknown_action(mut self, action: SeccompAction) -> Self {
        (self.config.unknown_action, self.config.unknown_error) = action.to_raw();
        self
    }

    /// Where the unknown action is an error number; 0: ENOSYS.
    pub const fn with_unknown_error(mut self, error: u32) -> Self {
        self.config.unknown_error = error;
        self
    }

    /// For calls of another architecture; `Default`: kill.
    pub const fn with_foreign_action(mut self, action: SeccompAction) -> Self {
        self.config.foreign_action = action.to_raw().0;
        self
    }

    /// Adds nothing to the rules, not even ENOSYS for clone3 where clone is allowed.
    pub const fn with_exact(mut self, enabled: bool) -> Self {
        self.config.exact = enabled;
        self
    }

    /// [`Seccomp::load`] puts the filter on every thread of the process, or on none.
    pub const fn with_all_threads(mut self, enabled: bool) -> Self {
        self.config.all_threads = enabled;
        self
    }

    /// What is not allowed goes to the audit log; [`seccomp_logging`] says how far.
    pub const fn with_log_failures(mut self, enabled: bool) -> Self {
        self.config.log_failures = enabled;
        self
    }

    /// Adds rules as C has them.
    pub fn with_rules(mut self, rules: &[sys::wrt_seccomp_rule]) -> Self {
        self.rules.extend(rules.iter().map(|rule| (String::new(), *rule)));
        self
    }

    /// Compiles the filter, or says which rule is broken; `NotFound` for a name that the
    /// architecture does not have.
    pub fn build(&self) -> Result<Seccomp> {
        let architecture = match self.config.architecture {
            sys::WRT_SECCOMP_X86_64 => SeccompArchitecture::X86_64,
            sys::WRT_SECCOMP_AARCH64 => SeccompArchitecture::Aarch64,
            _ => SeccompArchitecture::Host,
        };
        let mut rules = Vec::with_capacity(self.rules.len());
        for (name, rule) in &self.rules {
            let mut rule = *rule;
            if !name.is_empty() {
                rule.call = call_number(architecture, name)?;
            }
            rules.push(rule);
        }
        let mut config = self.config;
        config.rules = rules.as_ptr();
        config.rule_count = rules.len() as u32;
        compile(&config)
    }
}

impl Default for SeccompBuilder {
    fn default() -> Self {
        Self::new()
    }
}

fn compile(config: &sys::wrt_seccomp_config) -> Result<Seccomp> {
    // SAFETY: zero is a valid value of every field.
    let mut report: sys::wrt_seccomp_report = unsafe { mem::zeroed() };
    let empty = sys::wrt_seccomp_instruction { code: 0, jump_true: 0, jump_false: 0, value: 0 };
    // SAFETY: no program is written; the rules are live.
    check(unsafe { sys::wrt_seccomp_compile(config, ptr::null_mut(), 0, &raw mut report) })?;
    let count = report.instruction_count;
    let mut program = vec![empty; count as usize];
    // SAFETY: the program has room for `count` instructions.
    check(unsafe {
        sys::wrt_seccomp_compile(config, program.as_mut_ptr(), count, &raw mut report)
    })?;
    Ok(Seccomp { program, report })
}
