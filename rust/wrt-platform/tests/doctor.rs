//! What a machine can do, and whether its walls hold, beside threads at work.

#![cfg(target_os = "linux")]

use std::{
    collections::HashMap,
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use wrt_platform::{
    SelftestBuilder,
    linux::{
        doctor::{DoctorState, examine},
        sandbox::program,
        selftest::SelftestState,
    },
    selftest,
};

#[test]
fn each_row_is_available_or_says_why_not_and_the_remedy() {
    let rows: HashMap<_, _> = examine().map(|row| (row.id(), row)).collect();
    assert!(rows.len() > 50);
    for row in rows.values() {
        assert!(!row.reason().is_empty(), "{row:?}");
        assert_eq!(row.state() == DoctorState::Available, row.remedy().is_empty(), "{row:?}");
        assert!(!row.promises().is_empty() && !row.name().is_empty());
    }
    let maximum = fs::read_to_string("/proc/sys/vm/max_map_count").unwrap();
    assert!(rows["kernel.max_map_count"].reason().contains(maximum.trim()));
    assert_eq!(rows["memory.guards"].state(), DoctorState::Available);
    assert_eq!(rows["memory.guards"].topic(), "memory");
}

#[test]
fn walls_hold_while_other_threads_work() {
    let stop = Arc::new(AtomicBool::new(false));
    let workers: Vec<_> = (0..2)
        .map(|_| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                let mut rounds = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    rounds += vec![1_u8; 4096].iter().map(|byte| u64::from(*byte)).sum::<u64>();
                    thread::yield_now();
                }
                rounds
            })
        })
        .collect();
    let report = selftest().unwrap();
    stop.store(true, Ordering::Relaxed);
    for worker in workers {
        assert!(worker.join().unwrap() > 0);
    }
    report.check().unwrap();
    let calls = report.rows().iter().find(|row| row.id() == "worker.calls").unwrap();
    assert_eq!(calls.state(), SelftestState::Passed);
    assert!(calls.attempts() > 250 && calls.elapsed().as_nanos() > 0);
}

#[test]
fn program_of_a_file_is_the_one_that_is_tested() {
    let path = std::env::temp_dir().join(format!("wrt-selftest-{}", std::process::id()));
    let mut file = fs::File::create(&path).unwrap();
    file.write_all(program().unwrap()).unwrap();
    file.set_permissions(fs::Permissions::from_mode(0o755)).unwrap();
    drop(file);
    let text = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    let good = SelftestBuilder::new().with_program_path(&text).run().unwrap();
    fs::remove_file(&path).unwrap();
    let none = SelftestBuilder::new().with_program_path(&text).run().unwrap();
    good.check().unwrap();
    let error = none.check().unwrap_err();
    assert!(error.to_string().contains("do not hold"), "{error}");
    let failed = none.rows().iter().filter(|row| row.state() == SelftestState::Failed).count();
    assert!(failed >= 14, "{none:?}");
}
