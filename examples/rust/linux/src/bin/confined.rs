//! A program behind all walls. It sees the system's own files, and no others.

use std::time::Duration;
use wrt_platform::linux::confined_process::{ConfinedEnd, ConfinedProcessBuilder};
use wrt_platform::linux::landlock::LandlockAccess;
use wrt_platform::{Enforcement, EnforcementState, Result};

fn print_wall(name: &str, wall: &Enforcement) {
    let state = match wall.state {
        EnforcementState::Enforced => "enforced",
        EnforcementState::Partial => "partial",
        EnforcementState::Absent => "absent",
        _ => "not asked",
    };
    println!("{name}: {state}");
    if wall.state == EnforcementState::Absent {
        eprintln!("{name}: {wall}");
    }
}

fn main() -> Result<()> {
    let outcome = ConfinedProcessBuilder::new("/bin/sh")?
        .with_arguments(&["sh", "-c", "echo inside; exec cat /etc/passwd"])?
        .with_system_files(true) // its libraries
        .allow("/usr/share", LandlockAccess::READ)?
        .with_memory_bytes(512 << 20)
        .with_cpu_seconds(10)
        .run(b"", Some(Duration::from_secs(30)))?;
    print!("{}", String::from_utf8_lossy(&outcome.output));
    print_wall("filter", &outcome.report.filter);
    print_wall("files", &outcome.report.files);
    match outcome.end {
        ConfinedEnd::Exited(code) => println!("exited by itself: yes, with {code}"),
        ConfinedEnd::Signalled(signal) => println!("exited by itself: no, with {signal}"),
        _ => println!("exited by itself: no, with 0"),
    }
    Ok(())
}
