//! Control groups and containers through the Rust face. Faked trees; limits that bite are proven
//! in Python, in a virtual machine.
#![cfg(target_os = "linux")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use wrt_platform::ErrorKind;
use wrt_platform::linux::container::{
    ContainerEnvironment, LimitSource, RunLimits, describe_environment, detect_environment,
    detect_resources,
};
use wrt_platform::linux_cgroups::{
    CgroupBuilder, CgroupController, CgroupLayout, CgroupObstacle, ResourceLimits, UNLIMITED,
    locate_cgroup,
};

/// A root of this test's own, with what a process would see of its groups.
fn tree(name: &str, own: &str) -> PathBuf {
    let root = std::env::temp_dir().join(format!("wrt-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&root);
    let proc = root.join("proc/self");
    fs::create_dir_all(&proc).unwrap();
    let mount = "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
    fs::write(proc.join("mountinfo"), mount).unwrap();
    fs::write(proc.join("cgroup"), format!("0::{own}\n")).unwrap();
    fs::write(proc.join("status"), "Cpus_allowed:\tf\n").unwrap();
    fs::write(root.join("proc/meminfo"), "MemTotal: 1048576 kB\n").unwrap();
    root
}

fn group(root: &Path, path: &str, files: &[(&str, &str)]) -> PathBuf {
    let folder = root.join("sys/fs/cgroup").join(path);
    fs::create_dir_all(&folder).unwrap();
    for (name, text) in files {
        fs::write(folder.join(name), text).unwrap();
    }
    folder
}

const PASSES_ALL: [(&str, &str); 3] = [
    ("cgroup.controllers", "cpu io memory pids\n"),
    ("cgroup.subtree_control", "cpu io memory pids\n"),
    ("cgroup.procs", ""),
];

#[test]
fn limits_are_written_and_read_back() {
    let root = tree("limits", "/");
    group(&root, "", &PASSES_ALL);
    let text = root.to_str().unwrap();
    let cgroup = CgroupBuilder::new("x").with_root(text).build().unwrap();
    let files = [("memory.max", "max"), ("pids.max", "max"), ("cpu.max", "max 100000")];
    let folder = group(&root, "x", &files);
    assert_eq!(cgroup.path(), folder.to_str().unwrap());
    let limits = ResourceLimits {
        memory_max: Some(1 << 30),
        cpu_max: Some((50_000, 100_000)),
        pids_max: Some(100),
        ..ResourceLimits::default()
    };
    let applied = cgroup.set_limits(&limits).unwrap();
    assert_eq!((applied.memory_max, applied.pids_max), (Some(1 << 30), Some(100)));
    assert_eq!(fs::read_to_string(folder.join("memory.max")).unwrap(), "1073741824");
    let io_max = Some(vec![("8:0", "rbps")]);
    let error = cgroup.set_limits(&ResourceLimits { io_max, ..Default::default() }).unwrap_err();
    assert_eq!(error.kind, ErrorKind::InvalidArgument);
    assert_ne!(cgroup.get_limits().unwrap().memory_max, Some(UNLIMITED));
    fs::remove_dir_all(root).unwrap();
}

#[test]
fn what_is_in_the_way_is_named() {
    let root = tree("obstacle", "/a");
    let text = root.to_str().unwrap();
    let top =
        group(&root, "", &[("cgroup.controllers", "cpu\n"), ("cgroup.subtree_control", "\n")]);
    group(&root, "a", &[]);
    let found = locate_cgroup(text).unwrap();
    assert_eq!((found.layout, found.is_outside), (CgroupLayout::V2, false));
    let builder = CgroupBuilder::new("x").with_root(text);
    let plan = builder.plan().unwrap();
    assert_eq!(plan.obstacle, CgroupObstacle::NotOffered);
    assert!(plan.blocked.contains(CgroupController::MEMORY | CgroupController::PIDS));
    assert_eq!(plan.blocker, top.to_str().unwrap().trim_end_matches('/'));
    let wanted = builder.with_controllers(CgroupController(16)).build();
    assert_eq!(wanted.err().unwrap().kind, ErrorKind::InvalidArgument);
    fs::remove_dir_all(root).unwrap();
}

#[test]
fn a_group_that_is_there_is_refused_and_its_end_is_waited_for() {
    let root = tree("life", "/");
    group(&root, "", &PASSES_ALL);
    group(&root, "x", &[("cgroup.events", "populated 1\nfrozen 0\n")]);
    let builder = CgroupBuilder::new("x").with_root(root.to_str().unwrap());
    assert_eq!(builder.clone().build().err().unwrap().kind, ErrorKind::State);
    let cgroup = builder.with_take_existing(true).build().unwrap();
    let error = cgroup.remove(Duration::from_millis(20)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::TimedOut);
    fs::remove_dir_all(root).unwrap();
}

#[test]
fn containers_are_told_by_signs_that_agree() {
    let root = tree("container", "/kubepods.slice/pod1");
    fs::write(root.join(".dockerenv"), "").unwrap();
    let found = describe_environment(root.to_str().unwrap()).unwrap();
    assert_eq!(found.environment, ContainerEnvironment::Kubernetes);
    assert_eq!(found.layers, [ContainerEnvironment::Kubernetes]);
    assert_eq!(found.evidence.iter().filter(|sign| sign.is_certain).count(), 1);
    assert_eq!(found.evidence.len(), 2);
    detect_environment().unwrap();
    fs::remove_dir_all(root).unwrap();
}

#[test]
fn the_least_limit_above_counts() {
    let root = tree("resources", "/a/b");
    group(&root, "a", &[("memory.max", "268435456\n"), ("memory.current", "67108864\n")]);
    group(&root, "a/b", &[("memory.max", "max\n"), ("cpu.max", "50000 100000\n")]);
    let found = detect_resources(root.to_str().unwrap()).unwrap();
    assert_eq!((found.memory_limit, found.memory_available), (256 << 20, 192 << 20));
    assert_eq!(found.memory_source, LimitSource::CgroupV2);
    assert_eq!((found.cpu_count, found.cpu_milli), (4, 500));
    fs::remove_dir_all(root).unwrap();
}

#[test]
fn limits_of_a_run_come_from_here() {
    assert_ne!(RunLimits::from_environment(50).unwrap(), RunLimits::new());
    assert_eq!(RunLimits::from_environment(0).unwrap_err().kind, ErrorKind::InvalidArgument);
}
