//! A semaphore of three, and what locks cost on this machine.

use std::time::Duration;
use wrt_platform::{LinuxFutexBuilder, LinuxSemaphore, benchmark_futex_strategies};

fn main() -> wrt_platform::Result<()> {
    let adaptive = LinuxFutexBuilder::new().with_spin_count(1000).with_backoff_ns(100);
    let semaphore = LinuxSemaphore::new(adaptive.with_initial_value(3))?;
    semaphore.acquire(Some(Duration::from_secs(1)))?;
    println!("left: {}", semaphore.value()?);
    semaphore.release(1)?;
    for row in benchmark_futex_strategies()? {
        println!("{}: {:.1} ns", row.name, row.ns_per_operation);
    }
    Ok(())
}
