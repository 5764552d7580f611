//! Where this process runs, and how much of the machine it may use.

use wrt_platform::linux::container::{RunLimits, describe_environment, detect_resources};

fn main() -> wrt_platform::Result<()> {
    let found = describe_environment("")?;
    println!("signs found: {}", found.evidence.len());
    for sign in &found.evidence {
        println!("- {}", sign.text.to_string_lossy());
    }

    let resources = detect_resources("")?;
    println!("memory: at most {} bytes", resources.memory_limit);
    println!("processors: {:.2}", f64::from(resources.cpu_milli) / 1000.0);
    let _limits = RunLimits::from_environment(50)?; // half of what is left, for a run
    Ok(())
}
