//! An ordinary program behind the walls of a sandbox's strict profile.

use std::time::Duration;
use wrt_platform::linux::confined_process::ConfinedEnd;
use wrt_platform::linux::sandbox::{SandboxProfile, SandboxWall};
use wrt_platform::{EnforcementState, Result, Sandbox};

fn main() -> Result<()> {
    let builder = Sandbox::builder()
        .with_profile(SandboxProfile::Strict)
        .with_network_namespace(SandboxWall::Preferred);
    let program = builder.confine("/bin/echo")?.with_system_files(true).with_memory_bytes(1 << 30);
    let outcome =
        program.with_arguments(&["echo", "inside"])?.run(b"", Some(Duration::from_secs(5)))?;
    print!("{}", String::from_utf8_lossy(&outcome.output));
    if let ConfinedEnd::Exited(code) = outcome.end {
        println!("exited with {code}");
    }
    if outcome.report.filter.state == EnforcementState::Enforced {
        println!("filter enforced");
    }
    Ok(())
}
