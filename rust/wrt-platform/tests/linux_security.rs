//! Filters, capabilities, namespaces, Landlock, SELinux and confined programs, from Rust. What
//! can't be taken back is done in programs that are started for it.
#![cfg(all(feature = "std", target_os = "linux"))]

use std::time::Duration;

use wrt_platform::linux::capabilities::{Capabilities, Capability};
use wrt_platform::linux::confined_process::{ConfinedEnd, ConfinedProcessBuilder, ConfinedWall};
use wrt_platform::linux::landlock::{LandlockAccess, LandlockBuilder};
use wrt_platform::linux::namespaces::{Namespace, NamespaceType};
use wrt_platform::linux::seccomp::{
    SeccompAction, SeccompArchitecture, SeccompBuilder, SeccompCompare, SeccompProfile, call_name,
    call_number,
};
use wrt_platform::linux::selinux::SeLinux;
use wrt_platform::{EnforcementState, ErrorKind};

const SECONDS: Option<Duration> = Some(Duration::from_secs(20));

#[test]
fn a_filter_answers_as_its_rules_say() {
    let filter = SeccompBuilder::new()
        .with_architecture(SeccompArchitecture::X86_64)
        .allow(&["read", "clone"])
        .unwrap()
        .with_rule("write", SeccompAction::Allow, &[(0, SeccompCompare::LessEqual(2))])
        .unwrap()
        .with_rule("write", SeccompAction::Errno(77), &[])
        .unwrap()
        .with_default_action(SeccompAction::Kill)
        .build()
        .unwrap();
    let action = |name, arguments: &[u64]| filter.simulate(name, arguments).unwrap().action;
    assert_eq!(action("read", &[]), SeccompAction::Allow);
    assert_eq!(action("write", &[2]), SeccompAction::Allow);
    assert_eq!(action("write", &[3]), SeccompAction::Errno(77));
    assert_eq!(action("write", &[1 << 32]), SeccompAction::Errno(77));
    assert_eq!(action("openat", &[]), SeccompAction::Kill);
    assert_eq!(filter.simulate_number(470, &[]).unwrap().action, SeccompAction::Errno(38));
    assert_eq!(filter.report().added, [(435, SeccompAction::Errno(38))]); // clone3
}

#[test]
fn calls_have_names_and_numbers() {
    let machine = SeccompArchitecture::Aarch64;
    assert_eq!(call_number(machine, "read").unwrap(), 63);
    assert_eq!(call_name(machine, 63), Some("read"));
    assert_eq!(call_name(machine, 100_000), None);
    assert_eq!(call_number(machine, "open").unwrap_err().kind, ErrorKind::NotFound);
    let twice = SeccompBuilder::new().allow(&["read", "read"]).unwrap();
    assert_eq!(twice.build().err().unwrap().kind, ErrorKind::InvalidArgument);
}

#[test]
fn a_process_with_threads_is_refused() {
    let other = std::thread::spawn(|| std::thread::sleep(Duration::from_millis(500)));
    let filter = SeccompBuilder::new().with_profile(SeccompProfile::Strict).build().unwrap();
    assert_eq!(filter.load().unwrap_err().kind, ErrorKind::State);
    let current = Capabilities::current().unwrap();
    assert_eq!(current.drop_all_except(&[]).unwrap_err().kind, ErrorKind::State);
    assert_eq!(Namespace::unshare(&[NamespaceType::UTS]).unwrap_err().kind, ErrorKind::State);
    assert_eq!(LandlockBuilder::new().restrict().unwrap_err().kind, ErrorKind::State);
    assert_eq!(Capabilities::current().unwrap(), current);
    other.join().unwrap();
}

#[test]
fn capabilities_are_shown_by_name() {
    assert_eq!(format!("{:?}", Capability::SYS_RESOURCE), "SYS_RESOURCE");
    let current = Capabilities::current().unwrap();
    assert_eq!(current.effective & !current.permitted, 0);
}

#[test]
fn landlock_restricts_the_thread_that_asks() {
    let restricted = std::thread::spawn(|| {
        let report = LandlockBuilder::new()
            .allow("/usr", LandlockAccess::READ | LandlockAccess::EXECUTE)
            .unwrap()
            .with_this_thread(true)
            .restrict();
        match report {
            Ok(_) => std::fs::read("/etc/passwd").is_err() && std::fs::read_dir("/usr").is_ok(),
            Err(error) => error.kind == ErrorKind::Unsupported,
        }
    });
    assert!(restricted.join().unwrap());
    assert!(std::fs::read("/etc/passwd").is_ok());
}

#[test]
fn selinux_is_there_or_said_not_to_be() {
    if !SeLinux::is_enabled().unwrap() {
        assert_eq!(SeLinux::context().unwrap_err().kind, ErrorKind::Unsupported);
    }
}

#[test]
fn a_program_runs_behind_its_walls() {
    let outcome = ConfinedProcessBuilder::new("/bin/cat")
        .unwrap()
        .with_arguments(&["cat", "-", "/etc/passwd"])
        .unwrap()
        .with_system_files(true)
        .run(b"input", SECONDS)
        .unwrap();
    assert_eq!(outcome.output, b"input");
    assert_eq!(outcome.report.filter.state, EnforcementState::Enforced);
    if outcome.report.files.state == EnforcementState::Enforced {
        assert_eq!(outcome.end, ConfinedEnd::Exited(1)); // /etc/passwd
        assert!(!outcome.errors.is_empty());
    }
}

#[test]
fn a_program_that_hangs_is_killed() {
    let builder = ConfinedProcessBuilder::new("/bin/sleep").unwrap();
    let builder = builder.with_arguments(&["sleep", "100"]).unwrap().with_system_files(true);
    let outcome = builder.run(b"", Some(Duration::from_millis(200))).unwrap();
    assert_eq!(outcome.end, ConfinedEnd::Killed);
    let process = builder.start().unwrap();
    assert_eq!(process.wait(Some(Duration::ZERO)).unwrap_err().kind, ErrorKind::TimedOut);
}

#[test]
fn what_can_not_be_started_is_said() {
    let missing = ConfinedProcessBuilder::new("/not/there").unwrap();
    assert_eq!(missing.start().err().unwrap().kind, ErrorKind::NotFound);
    let rooted = ConfinedProcessBuilder::new("/bin/true").unwrap().with_root("/tmp").unwrap();
    let rooted = rooted.with_namespace_wall(ConfinedWall::Off);
    assert_eq!(rooted.start().err().unwrap().kind, ErrorKind::InvalidArgument);
}
