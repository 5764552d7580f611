//! A proof, at start-up, that the walls round a guest hold here and now. Mirrors
//! `wrt_platform/linux/selftest.h`.
//!
//! ```no_run
//! let report = wrt_platform::selftest()?;
//! for row in report.rows() {
//!     println!("{}: {}", row.name(), row.reason());
//! }
//! report.check()?; // an error where a wall does not hold
//! # Ok::<(), wrt_platform::Error>(())
//! ```
//!
//! It does what a guest must not, in children and sealed workers, and looks for the exact fault;
//! this process is not harmed. Other threads may go on meanwhile.

use alloc::{boxed::Box, ffi::CString};
use core::{ffi::CStr, fmt, mem, ptr, time::Duration};

use wrt_platform_sys as sys;

use super::doctor::own_text;
use crate::error::{Error, ErrorKind, Result, check};

const ROWS: usize = sys::WRT_SELFTEST_ROWS as usize;

/// What became of a wall.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SelftestState {
    /// It held.
    Passed,
    /// It did not hold, or could not be tried.
    Failed,
    /// There is no such way here, or the kernel lets root pass.
    Skipped,
}

/// One wall.
#[derive(Clone)]
pub struct SelftestRow {
    raw: sys::wrt_selftest_row,
}

impl SelftestRow {
    /// "worker.calls"; it stays the same over versions.
    pub fn id(&self) -> &'static str {
        // SAFETY: linux/selftest.h promises a static text.
        unsafe { CStr::from_ptr(self.raw.id) }.to_str().unwrap_or("")
    }

    /// For people.
    pub fn name(&self) -> &'static str {
        // SAFETY: linux/selftest.h promises a static text.
        unsafe { CStr::from_ptr(self.raw.name) }.to_str().unwrap_or("")
    }

    /// What became of it.
    pub fn state(&self) -> SelftestState {
        match self.raw.state {
            sys::WRT_SELFTEST_PASSED => SelftestState::Passed,
            sys::WRT_SELFTEST_SKIPPED => SelftestState::Skipped,
            _ => SelftestState::Failed,
        }
    }

    /// How often it was leant against.
    pub fn attempts(&self) -> u32 {
        self.raw.attempts
    }

    /// How long that took.
    pub fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.raw.elapsed_ns)
    }

    /// What was seen.
    pub fn reason(&self) -> &str {
        own_text(&self.raw.reason)
    }
}

impl fmt::Debug for SelftestRow {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {:?}: {}", self.id(), self.state(), self.reason())
    }
}

/// All walls.
#[derive(Clone, Debug)]
#[must_use = "check() says whether all walls hold"]
pub struct SelftestReport {
    rows: Box<[SelftestRow]>,
    failed: Option<[u64; 2]>, // rows, and the first of them
}

impl SelftestReport {
    /// A row for each wall.
    pub fn rows(&self) -> &[SelftestRow] {
        &self.rows
    }

    /// An error (unsupported) where a wall does not hold on this system.
    pub fn check(&self) -> Result<()> {
        let reason = c"walls that do not hold on this system: {0}; the first is row {1}";
        self.failed.map_or(Ok(()), |detail| {
            let error = Error::new(ErrorKind::Unsupported, c"SelftestReport::check", reason);
            Err(error.with_detail(detail))
        })
    }
}

/// Collects settings; the rules of `linux/selftest.h` are checked by [`run`](Self::run).
#[derive(Clone, Debug, Default)]
pub struct SelftestBuilder {
    program_path: Option<CString>,
}

impl SelftestBuilder {
    /// Begins with the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// A file that holds [`program`](super::sandbox::program), where nothing is executed from
    /// memory.
    pub fn with_program_path(mut self, path: &CStr) -> Self {
        self.program_path = Some(path.into());
        self
    }

    /// Leans against all walls, some 0.3 s; a wall that does not hold is a row of the report, not
    /// an error.
    pub fn run(&self) -> Result<SelftestReport> {
        // SAFETY: zero is a valid value of every field (integers, null pointers).
        let mut config: sys::wrt_selftest_config = unsafe { mem::zeroed() };
        config.struct_size = size_of::<sys::wrt_selftest_config>() as u32;
        config.program_path = self.program_path.as_ref().map_or(ptr::null(), |path| path.as_ptr());
        // SAFETY: as above.
        let mut raws: [sys::wrt_selftest_row; ROWS] = unsafe { mem::zeroed() };
        let mut count = 0;
        // SAFETY: config, its path and both outputs are live for the call.
        let ended = check(unsafe {
            sys::wrt_selftest(&raw const config, raws.as_mut_ptr(), ROWS as u32, &raw mut count)
        });
        let rows: Box<[_]> =
            raws.iter().take(count as usize).map(|raw| SelftestRow { raw: *raw }).collect();
        match ended {
            Ok(()) => Ok(SelftestReport { rows, failed: None }),
            Err(error) if error.kind == ErrorKind::Unsupported && !rows.is_empty() => {
                Ok(SelftestReport { rows, failed: Some(error.detail) })
            }
            Err(error) => Err(error),
        }
    }
}

/// Leans against all walls; [`SelftestReport::check`] says whether they hold. Costs some 0.3 s, and
/// 500 short processes.
pub fn selftest() -> Result<SelftestReport> {
    SelftestBuilder::new().run()
}
