//! Counters, from Rust: the kernel's own, groups, what is not there.
#![cfg(target_os = "linux")]

use std::{hint::black_box, thread};

use wrt_platform::{
    ErrorKind, Result,
    linux_perf::{
        PerfCounter, PerfEventBuilder, PerfProfileBuilder, PerfReading, PerfState, profile,
    },
};

fn touch(pages: usize) {
    let mut area = vec![0u8; pages * 4096];
    (0..pages).for_each(|page| area[page * 4096] = 1);
    black_box(area);
}

#[test]
fn pages_that_are_touched_are_faults() -> Result<()> {
    let faults =
        PerfEventBuilder::new().with_type(PerfCounter::PageFaults).with_config(0).build()?;
    assert_eq!(faults.read()?.state, PerfState::NotCounted);
    faults.enable()?;
    touch(1000);
    faults.disable()?;
    let reading = faults.read()?;
    assert!(reading.value >= 1000, "{reading}");
    assert_eq!((reading.state, faults.name()), (PerfState::Exact, "page-faults"));
    faults.reset()?;
    assert_eq!(faults.read()?.value, 0);
    Ok(())
}

#[test]
fn group_is_read_at_once_and_closed_in_any_order() -> Result<()> {
    let leader = PerfEventBuilder::new().with_type(PerfCounter::TaskClock).build()?;
    let builder = PerfEventBuilder::new().with_type(PerfCounter::PageFaults);
    let member = builder.with_leader(&leader).build()?;
    leader.enable()?;
    touch(1000);
    leader.disable()?;
    let mut readings = [PerfReading::scaled(0, 0, 0)?; 2];
    assert_eq!(leader.read_group(&mut readings)?, 2);
    assert_eq!(readings, [leader.read()?, member.read()?]);
    let small = leader.read_group(&mut readings[..1]).unwrap_err();
    assert_eq!(small.kind, ErrorKind::InvalidArgument);
    assert_eq!(member.read_group(&mut readings).unwrap_err().kind, ErrorKind::InvalidArgument);
    Ok(())
}

#[test]
fn profile_has_every_counter_and_the_value() -> Result<()> {
    let found = profile(|| thread::spawn(|| touch(1000)).join().is_ok())?;
    assert!(found.value);
    let faults = found.row(PerfCounter::PageFaults).reading.as_ref().unwrap();
    assert!(faults.value >= 1000);
    for row in &found.rows {
        match &row.reading {
            Ok(reading) => assert_ne!(reading.state, PerfState::NotCounted),
            Err(error) => assert_eq!(error.kind, ErrorKind::Unsupported, "{error}"),
        }
    }
    let counted = found.row(PerfCounter::Instructions).reading.is_ok();
    assert_eq!(found.instructions_per_cycle.is_some(), counted);
    assert!(found.to_string().contains("task-clock"));
    let own = PerfProfileBuilder::new().with_inherit(false);
    let alone = own.run(|| thread::spawn(|| touch(1000)).join().is_ok())?;
    assert!(alone.row(PerfCounter::PageFaults).reading.as_ref().unwrap().value < 1000);
    Ok(())
}

#[test]
fn count_is_scaled_by_its_share_of_the_time() -> Result<()> {
    let reading = PerfReading::scaled(100, 1000, 250)?;
    assert_eq!((reading.value, reading.state), (400, PerfState::Scaled));
    assert_eq!(reading.to_string(), "400 (scaled: counted 25% of the time)");
    assert_eq!(PerfReading::scaled(100, 1000, 0)?.to_string(), "not counted");
    let wrong = PerfEventBuilder::new().with_config(1).build().err().unwrap();
    assert_eq!(wrong.kind, ErrorKind::InvalidArgument);
    Ok(())
}
