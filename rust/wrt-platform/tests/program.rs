//! Whole programs: the example programs of the repository, and small ones that misbehave.

use std::{
    fs::File,
    io::{Read, Seek},
    os::fd::AsFd,
    path::{Path, PathBuf},
    time::Duration,
};

use wrt_platform::{ErrorKind, Limits, Module, Outcome, Preopen, Result, Wasi, run};

fn load(text: &str) -> Module<'static> {
    Module::from_bytes(wat::parse_str(text).unwrap()).unwrap()
}

/// A program of `_start` with that body.
fn program(body: &str) -> Module<'static> {
    load(&format!(
        r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
             (memory (export "memory") 1) (func $start (export "_start") {body}))"#
    ))
}

fn run_alone(body: &str, limits: &Limits) -> Result<Outcome> {
    run(&program(body), Wasi::builder().build()?, limits)
}

#[test]
fn exit_code_and_use_are_told() -> Result<()> {
    let outcome =
        run_alone("(drop (memory.grow (i32.const 2))) (call $exit (i32.const 7))", &Limits::new())?;
    assert_eq!((outcome.exit_code, outcome.peak_pages), (7, 3));
    assert!(outcome.stopped.is_none());
    assert_eq!(outcome.fuel_used, 5); // const, grow, drop, const, call
    assert!(outcome.wall >= outcome.cpu);
    assert_eq!(run_alone("nop", &Limits::new())?.exit_code, 0);
    Ok(())
}

#[test]
fn each_limit_stops_what_exceeds_it() -> Result<()> {
    let endless = "(loop (br 0))";
    let outcome = run_alone(endless, &Limits::new().with_fuel(12_345))?;
    assert_eq!(outcome.stopped.unwrap().kind, ErrorKind::OutOfFuel);
    assert_eq!(outcome.fuel_used, 12_345);
    let limits = Limits::new().with_timeout(Duration::from_millis(40));
    let outcome = run_alone(endless, &limits)?;
    assert_eq!(outcome.stopped.unwrap().kind, ErrorKind::TimedOut);
    assert!((40..240).contains(&outcome.wall.as_millis()), "{:?}", outcome.wall);
    assert!(outcome.cpu > Duration::from_millis(5), "{:?}", outcome.cpu);
    let outcome = run_alone("unreachable", &Limits::new())?;
    let stopped = outcome.stopped.unwrap();
    assert_eq!(stopped.kind, ErrorKind::Trap);
    assert!(stopped.to_string().contains("unreachable in function"), "{stopped}");
    let two_pages = load(r#"(module (memory 2) (func (export "_start")))"#);
    let limits = Limits::new().with_memory(65536);
    let refused = run(&two_pages, Wasi::builder().build()?, &limits).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Limit);
    Ok(())
}

#[test]
fn module_that_is_no_program_is_refused() -> Result<()> {
    let refused = run(&load("(module)"), Wasi::builder().build()?, &Limits::new()).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::NotFound);
    Ok(())
}

fn programs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/programs")
}

/// A file that nobody else can open.
fn anonymous_file() -> std::io::Result<File> {
    let path = std::env::temp_dir().join(format!("wrt-platform-{}", std::process::id()));
    let file = File::options().read(true).write(true).create_new(true).open(&path)?;
    std::fs::remove_file(path)?;
    Ok(file)
}

#[test]
fn compiled_program_reads_its_folder_and_writes_what_it_must() -> std::io::Result<()> {
    if !programs().exists() {
        return Ok(()); // the crate by itself, without the repository
    }
    let bytes = std::fs::read(programs().join("orders.wasm"))?;
    let module = Module::new(&bytes).unwrap();
    let mut output = anonymous_file()?;
    let wasi = Wasi::builder()
        .with_arguments(["orders", "data/orders.csv", "region", "amount"])
        .with_preopens([Preopen::new(programs().join("data"), "data").read_only()])
        .with_standard_output(output.as_fd())
        .build()
        .unwrap();
    let outcome = run(&module, wasi, &Limits::new().with_fuel(1_000_000_000)).unwrap();
    assert_eq!(outcome.exit_code, 0, "{:?}", outcome.stopped);
    let mut text = String::new();
    output.rewind()?;
    output.read_to_string(&mut text)?;
    assert_eq!(text, std::fs::read_to_string(programs().join("expected/orders.txt"))?);
    Ok(())
}
