//! A module in a process that has sealed itself before it sees a byte of it.

use std::{error::Error, io::stdout, os::fd::AsFd, path::PathBuf, time::Duration};
use wrt_platform::{ErrorKind, Sandbox, SandboxGuest, SandboxPoolBuilder, Wasi};

// (module (func (export "loop") (loop $again (br $again))))
const LOOP: &[u8] = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\
    \x07\x08\x01\x04loop\0\0\x0a\x09\x01\x07\0\x03\x40\x0c\0\x0b\x0b";

/// Step by step: sealed first, and only then given a module.
fn run_a_program() -> Result<(), Box<dyn Error>> {
    let programs = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../programs");
    let queens = std::fs::read(programs.join("queens.wasm"))?;
    let output = stdout();
    let wasi = Wasi::builder()
        .with_arguments(["queens", "4"])
        .with_standard_output(output.as_fd())
        .build()?;

    let mut sandbox = Sandbox::builder().with_maximum_pages(1024).build()?;
    println!("system calls {}", sandbox.report()?.system_calls);
    sandbox.load(SandboxGuest::new(&queens).with_wasi(wasi), None)?;
    match sandbox.call("_start", &[], Some(Duration::from_secs(5))) {
        Err(error) if error.kind == ErrorKind::Exit => println!("{error}"),
        ended => println!("returned {:?}", ended?),
    }
    Ok(())
}

/// From a pool, whose sandboxes are sealed and wait.
fn stop_a_loop() -> Result<(), Box<dyn Error>> {
    let mut pool = SandboxPoolBuilder::new().with_ready(2).build()?;
    let mut sandbox = pool.take()?;
    sandbox.load(SandboxGuest::new(LOOP), None)?;
    match sandbox.call("loop", &[], Some(Duration::from_millis(100))) {
        Err(error) if error.kind == ErrorKind::TimedOut => {
            println!("killed after 0.1 s: {:?}", sandbox.report()?.end);
            Ok(())
        }
        ended => Err(format!("it ended: {ended:?}").into()),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    run_a_program()?;
    stop_a_loop()
}
