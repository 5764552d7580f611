//! Waits for half a second for memory to run short.

use std::{process::ExitCode, time::Duration};
use wrt_platform::linux::pressure::LinuxPressureBuilder;
use wrt_platform::{EventsBuilder, Result};

fn look() -> Result<()> {
    let events = EventsBuilder::new().with_capacity(16).build()?;
    // Of the whole system; with_cgroup() for a group's own.
    let pressure = LinuxPressureBuilder::new().with_events(&events).build()?;
    for _ in 0..pressure.collect(Duration::from_millis(500))? {
        let level = events.next(None)?.detail[0];
        println!("memory is short: {}", ["low", "medium", "critical"][level as usize - 1]);
    }
    println!("looked");
    Ok(())
}

fn main() -> ExitCode {
    if let Err(error) = look() {
        eprintln!("pressure: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
