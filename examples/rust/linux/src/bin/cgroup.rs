//! A program within limits of memory, processor and processes that the kernel keeps.

use std::{process::ExitCode, time::Duration};
use wrt_platform::Result;
use wrt_platform::linux_cgroups::{CgroupBuilder, CgroupController, ResourceLimits};

fn run_inside() -> Result<()> {
    let needed = CgroupController::MEMORY | CgroupController::CPU | CgroupController::PIDS;
    let builder = CgroupBuilder::new("wasm_runtime").with_controllers(needed);
    // Processes that are in the way, this one for instance, are moved.
    let cgroup = builder.with_move_to_leaf(true).build()?;
    let applied = cgroup.set_limits(&ResourceLimits {
        memory_max: Some(64 << 20),
        cpu_max: Some((50_000, 100_000)),
        pids_max: Some(16),
        ..ResourceLimits::default()
    })?;
    let (memory, processes) = (applied.memory_max.unwrap_or(0), applied.pids_max.unwrap_or(0));
    println!("at most {memory} bytes, {processes} processes");

    let process = cgroup.spawn("/bin/echo", &["inside"])?;
    let mut status = 0;
    // SAFETY: the status is live; the process is a child of this one.
    unsafe { libc::waitpid(process as i32, &raw mut status, 0) };
    let code = libc::WEXITSTATUS(status);
    println!("exit code {code}, killed for want of memory: {}", cgroup.get_stats()?.oom_kills);
    cgroup.remove(Duration::from_secs(5))
}

fn main() -> ExitCode {
    if let Err(error) = run_inside() {
        eprintln!("cgroup: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
