//! Runs a WASI program inside limits.
//!
//!     run [--fuel N] [--timeout-ms N] [--memory-pages N] [--dir HOST::GUEST] MODULE [ARGUMENT...]
//!
//! The program's output goes where this process's goes. The last line on the standard error is
//! what it used, as JSON. The exit code is the program's own, or that of what stopped it.

use std::{
    error::Error,
    fs,
    io::{Write, stderr, stdin, stdout},
    os::fd::AsFd,
    process::ExitCode,
    time::Duration,
};

use wrt_platform::{ErrorKind, Limits, Module, Outcome, PAGE_SIZE, Preopen, Wasi, run};

const USAGE: &str = "run [--fuel N] [--timeout-ms N] [--memory-pages N] [--dir HOST::GUEST] \
                     MODULE [ARGUMENT...]";

const REFUSED: u8 = 2;
const TIMED_OUT: u8 = 124;
const OUT_OF_FUEL: u8 = 125;
const MEMORY_LIMIT: u8 = 126;
const TRAPPED: u8 = 134;

#[derive(Default)]
struct Options {
    limits: Limits,
    folders: Vec<Preopen>,
    /// Of the guest; the module's path comes first.
    arguments: Vec<String>,
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Options, Box<dyn Error>> {
    let mut options = Options::default();
    while let Some(word) = words.next() {
        if !word.starts_with("--") {
            options.arguments.push(word);
            options.arguments.extend(words);
            return Ok(options);
        }
        let value = words.next().ok_or_else(|| format!("{word} has no value\n{USAGE}"))?;
        let number = || value.parse::<u64>().map_err(|error| format!("{word} {value}: {error}"));
        match word.as_str() {
            "--fuel" => options.limits = options.limits.with_fuel(number()?),
            "--timeout-ms" => {
                options.limits = options.limits.with_timeout(Duration::from_millis(number()?));
            }
            "--memory-pages" => {
                let bytes = number()?.saturating_mul(PAGE_SIZE as u64);
                options.limits = options.limits.with_memory(bytes);
            }
            "--dir" => {
                let (host, guest) = value.split_once("::").unwrap_or((&value, &value));
                options.folders.push(Preopen::new(host, guest));
            }
            _ => return Err(format!("{word} is unknown\n{USAGE}").into()),
        }
    }
    Err(format!("no module is given\n{USAGE}").into())
}

fn run_program(options: &Options) -> Result<Outcome, Box<dyn Error>> {
    let path = &options.arguments[0];
    let bytes = fs::read(path).map_err(|error| format!("{path}: {error}"))?;
    let module = Module::new(&bytes)?;
    let (input, output, complaints) = (stdin(), stdout(), stderr());
    let wasi = Wasi::builder()
        .with_arguments(&options.arguments)
        .with_preopens(options.folders.iter().cloned())
        .with_standard_input(input.as_fd())
        .with_standard_output(output.as_fd())
        .with_standard_error(complaints.as_fd())
        .build()?;
    Ok(run(&module, wasi, &options.limits)?)
}

/// The exit code, and the word for it.
fn verdict(stopped: Option<ErrorKind>, exit_code: u32) -> (u8, &'static str) {
    match stopped {
        None => (exit_code as u8, "exited"),
        Some(ErrorKind::Trap) => (TRAPPED, "trapped"),
        Some(ErrorKind::OutOfFuel) => (OUT_OF_FUEL, "out of fuel"),
        Some(ErrorKind::TimedOut) => (TIMED_OUT, "timed out"),
        Some(ErrorKind::Limit) => (MEMORY_LIMIT, "memory limit"),
        Some(_) => (REFUSED, "refused"),
    }
}

fn report(exit_code: u8, word: &str, outcome: Option<&Outcome>) {
    let fuel_used = outcome.map_or(0, |outcome| outcome.fuel_used);
    let peak_pages = outcome.map_or(0, |outcome| outcome.peak_pages);
    let wall_ns = outcome.map_or(0, |outcome| outcome.wall.as_nanos());
    let cpu_ns = outcome.map_or(0, |outcome| outcome.cpu.as_nanos());
    // A closed standard error is no reason to lose the exit code.
    let _ = writeln!(
        stderr(),
        "{{\"exit_code\":{exit_code},\"fuel_used\":{fuel_used},\"peak_pages\":{peak_pages},\
         \"wall_ns\":{wall_ns},\"cpu_ns\":{cpu_ns},\"status\":\"{word}\"}}"
    );
}

fn complain(error: &dyn Error) {
    let _ = writeln!(stderr(), "run: {error}");
}

fn main() -> ExitCode {
    let options = match parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            complain(&*error);
            return REFUSED.into();
        }
    };
    match run_program(&options) {
        Ok(outcome) => {
            if let Some(error) = &outcome.stopped {
                complain(error);
            }
            let stopped = outcome.stopped.as_ref().map(|error| error.kind);
            let (exit_code, word) = verdict(stopped, outcome.exit_code);
            report(exit_code, word, Some(&outcome));
            exit_code.into()
        }
        Err(error) => {
            complain(&*error);
            let kind = error.downcast_ref::<wrt_platform::Error>().map(|error| error.kind);
            let kind = kind.filter(|kind| *kind == ErrorKind::Limit);
            let (exit_code, word) = verdict(kind.or(Some(ErrorKind::Link)), 0);
            report(exit_code, word, None);
            exit_code.into()
        }
    }
}
