//! WebAssembly inside limits, from Rust: `cargo run` in this folder.
//!
//! It runs a program with limits, calls a function of a module, and shows what a limit and a trap
//! look like.

use std::{error::Error, fs, io::stdout, os::fd::AsFd, path::PathBuf, time::Duration};

use wrt_platform::{HostFunction, Instance, Limits, Module, Outcome, Value, ValueType, Wasi, run};

// (module
//   (import "env" "log" (func $log (param i32)))
//   (func $divide (export "divide") (param i32 i32) (result i32)
//     (call $log (local.get 1))
//     (i32.div_s (local.get 0) (local.get 1))))
const DIVIDE: &[u8] = b"\0asm\x01\0\0\0\
    \x01\x0b\x02\x60\x01\x7f\0\x60\x02\x7f\x7f\x01\x7f\
    \x02\x0b\x01\x03env\x03log\0\0\
    \x03\x02\x01\x01\
    \x07\x0a\x01\x06divide\0\x01\
    \x0a\x0d\x01\x0b\0\x20\x01\x10\0\x20\0\x20\x01\x6d\x0b\
    \0\x15\x04name\x01\x0e\x02\0\x03log\x01\x06divide";

fn queens(size: &str, limits: &Limits) -> Result<Outcome, Box<dyn Error>> {
    let programs = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../programs");
    let bytes = fs::read(programs.join("queens.wasm"))?;
    let module = Module::new(&bytes)?;
    let output = stdout();
    let wasi = Wasi::builder()
        .with_arguments(["queens", size])
        .with_standard_output(output.as_fd())
        .build()?;
    Ok(run(&module, wasi, limits)?)
}

fn run_a_program() -> Result<(), Box<dyn Error>> {
    let limits = Limits::new()
        .with_memory(16 << 20)
        .with_fuel(100_000_000)
        .with_timeout(Duration::from_secs(10));
    let outcome = queens("8", &limits)?;
    println!(
        "exit code {}, {} instructions, {} pages, {:?}",
        outcome.exit_code, outcome.fuel_used, outcome.peak_pages, outcome.wall
    );
    Ok(())
}

fn call_a_function() -> Result<(), Box<dyn Error>> {
    let log = HostFunction::builder()
        .with_parameters(&[ValueType::I32])
        .with_call(|_caller, arguments, _results| {
            println!("dividing by {:?}", arguments[0]);
            Ok(())
        })
        .build()?;
    let module = Module::new(DIVIDE)?;
    let mut instance =
        Instance::builder().with_module(&module).with_function("env", "log", log).build()?;
    println!("84 / 2 = {:?}", instance.call("divide", &[Value::I32(84), Value::I32(2)])?);
    if let Err(trap) = instance.call("divide", &[Value::I32(1), Value::I32(0)]) {
        println!("{trap}");
    }
    Ok(())
}

fn run_out_of_fuel() -> Result<(), Box<dyn Error>> {
    let outcome = queens("12", &Limits::new().with_fuel(1_000_000))?;
    if let Some(reason) = outcome.stopped {
        println!("stopped after {} instructions: {reason}", outcome.fuel_used);
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    run_a_program()?;
    call_a_function()?;
    run_out_of_fuel()
}
