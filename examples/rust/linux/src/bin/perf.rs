//! What a stretch of work cost the processor and the kernel.

use std::{hint::black_box, process::ExitCode};
use wrt_platform::linux_perf::PerfProfileBuilder;

fn work() -> Vec<u8> {
    // A thousand pages that nobody has touched yet.
    let mut area = vec![0; 4 << 20];
    area.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
    black_box(area)
}

fn main() -> ExitCode {
    match PerfProfileBuilder::new().with_include_kernel(true).run(work) {
        Ok(profile) => print!("{profile}"),
        Err(error) => {
            eprintln!("perf: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
