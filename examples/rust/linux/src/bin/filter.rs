//! A filter of system calls is compiled and asked what it would answer; nothing is loaded.

use wrt_platform::Result;
use wrt_platform::linux::seccomp::{Seccomp, SeccompAction, SeccompBuilder, SeccompProfile};

const CALLS: [&str; 8] =
    ["read", "write", "mmap", "munmap", "mprotect", "futex", "clock_gettime", "exit_group"];

fn ask(filter: &Seccomp, name: &str) -> Result<()> {
    let action = match filter.simulate(name, &[])?.action {
        SeccompAction::Allow => "ALLOW",
        SeccompAction::Errno(_) => "ERRNO",
        SeccompAction::Kill => "KILL",
        _ => "something else",
    };
    println!("{name}: {action}");
    Ok(())
}

fn main() -> Result<()> {
    let strict = SeccompBuilder::new().with_profile(SeccompProfile::Strict).build()?;
    ask(&strict, "openat")?;
    ask(&strict, "socket")?;

    let builder = SeccompBuilder::new().allow(&CALLS)?;
    let small = builder.with_default_action(SeccompAction::Kill).build()?;
    ask(&small, "read")?;
    ask(&small, "openat")?;
    println!("added in silence: {}", small.report().added.len());
    Ok(())
}
