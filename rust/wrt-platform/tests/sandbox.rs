//! Sandboxes: what crosses between the two processes, and how each end is told.
#![cfg(target_os = "linux")]

use std::time::Duration;

use wrt_platform::linux::confined_process::ConfinedEnd;
use wrt_platform::linux::sandbox::{SandboxEnd, SandboxProfile, SandboxWall};
use wrt_platform::{
    EnforcementState, ErrorKind, Limits, Sandbox, SandboxGuest, SandboxPoolBuilder, Value,
    ValueType, Wasi,
};

const GUEST: &str = r#"(module
  (import "env" "ask" (func $ask (param i32 i64) (result i64)))
  (memory (export "memory") 1)
  (data (i32.const 8) "guest")
  (func (export "ask") (param i32 i64) (result i64 f64)
    (call $ask (local.get 0) (local.get 1)) (f64.const 0.5))
  (func (export "divide") (param i32) (result i32) (i32.div_u (i32.const 1) (local.get 0)))
  (func (export "spin") (loop $again (br $again))))"#;

fn loaded<'a>(
    bytes: &'a [u8],
    call: impl FnMut(&mut [u8], &[Value], &mut [Value]) -> wrt_platform::HostResult + Send + 'a,
) -> Sandbox<'a> {
    let mut sandbox = Sandbox::builder().with_maximum_pages(4).build().unwrap();
    let types = [ValueType::I32, ValueType::I64];
    let guest = SandboxGuest::new(bytes).with_function("env", "ask", &types, &types[1..], call);
    sandbox.load(guest.with_limits(&Limits::new().with_fuel(1 << 40)), None).unwrap();
    sandbox
}

#[test]
fn values_and_memory_cross_both_ways() {
    let bytes = wat::parse_str(GUEST).unwrap();
    let mut seen = Vec::new();
    {
        let mut sandbox = loaded(&bytes, |memory, arguments, results| {
            seen.push(memory[8..13].to_vec());
            memory[8] = b'G';
            let (Some(low), Some(high)) = (arguments[0].i32(), arguments[1].i64()) else {
                return Err(ErrorKind::Host.into());
            };
            results[0] = Value::I64(i64::from(low) - high);
            Ok(())
        });
        let results = sandbox.call("ask", &[Value::I32(-2), Value::I64(40)], None).unwrap();
        assert_eq!(results, [Value::I64(-42), Value::F64(0.5)]);
        let mut word = [0; 5];
        sandbox.read(8, &mut word).unwrap();
        assert_eq!(&word, b"Guest");
        sandbox.write(8, b"again").unwrap();
        sandbox.read(8, &mut word).unwrap();
        assert_eq!(&word, b"again");
        assert!(sandbox.read(65536, &mut word).is_err());
        assert!(sandbox.write(usize::MAX, b"x").is_err());
        assert_eq!(sandbox.report().unwrap().host_calls, 1);
    }
    assert_eq!(seen, [b"guest"]);
}

#[test]
fn trap_leaves_the_sandbox_usable_and_time_out_ends_it() {
    let bytes = wat::parse_str(GUEST).unwrap();
    let mut sandbox = loaded(&bytes, |_, _, _| Ok(()));
    let error = sandbox.call("divide", &[Value::I32(0)], None).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Trap);
    assert!(error.to_string().contains("integer divide by zero"));
    assert_eq!(sandbox.report().unwrap().frames.len(), 1);
    assert_eq!(sandbox.call("divide", &[Value::I32(1)], None).unwrap(), [Value::I32(1)]);

    let timeout = Some(Duration::from_millis(30));
    assert_eq!(sandbox.call("spin", &[], timeout).unwrap_err().kind, ErrorKind::TimedOut);
    assert_eq!(sandbox.report().unwrap().end, SandboxEnd::Killed);
    assert_eq!(sandbox.call("spin", &[], None).unwrap_err().kind, ErrorKind::State);
}

#[test]
fn killer_works_from_another_thread_and_after_the_end() {
    let bytes = wat::parse_str(GUEST).unwrap();
    let mut sandbox = loaded(&bytes, |_, _, _| Ok(()));
    let killer = sandbox.killer();
    std::thread::scope(|threads| {
        threads.spawn(|| {
            std::thread::sleep(Duration::from_millis(30));
            killer.kill().unwrap();
        });
        assert_eq!(sandbox.call("spin", &[], None).unwrap_err().kind, ErrorKind::Interrupted);
    });
    drop(sandbox);
    killer.kill().unwrap();
}

#[test]
fn closures_failure_and_panic_reach_the_caller() {
    let bytes = wat::parse_str(GUEST).unwrap();
    let arguments = [Value::I32(1), Value::I64(1)];
    let mut sandbox = loaded(&bytes, |_, _, _| Err(wrt_platform::HostError::new("no more")));
    let error = sandbox.call("ask", &arguments, None).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Host);
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "no more");

    let mut sandbox = loaded(&bytes, |_, _, _| panic!("on purpose"));
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _ = sandbox.call("ask", &arguments, None);
    }));
    assert_eq!(caught.unwrap_err().downcast_ref::<&str>(), Some(&"on purpose"));
}

#[test]
fn program_ends_with_its_code_in_a_sandbox_of_a_pool() {
    let bytes = wat::parse_str(
        r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
             (func (export "_start") (call $exit (i32.const 7))))"#,
    )
    .unwrap();
    let mut pool = SandboxPoolBuilder::new()
        .with_ready(2)
        .with_sandbox(Sandbox::builder().with_maximum_pages(1))
        .build()
        .unwrap();
    let mut sandbox = pool.take().unwrap();
    let wasi = Wasi::builder().build().unwrap();
    sandbox.load(SandboxGuest::new(&bytes).with_wasi(wasi), None).unwrap();
    assert_eq!(sandbox.call("_start", &[], None).unwrap_err().kind, ErrorKind::Exit);
    assert_eq!(sandbox.wasi().unwrap().exit_code().unwrap(), Some(7));
    pool.fill().unwrap();
    let report = pool.report().unwrap();
    assert_eq!((report.ready, report.taken, report.missed), (2, 1, 0));
}

#[test]
fn what_cannot_be_had_is_said() {
    let strict = Sandbox::builder().with_profile(SandboxProfile::Strict).build();
    assert_eq!(strict.err().unwrap().kind, ErrorKind::Unsupported);
    let builder = Sandbox::builder().with_landlock(SandboxWall::Off);
    let mut sandbox = builder.build().unwrap();
    let report = sandbox.report().unwrap();
    assert_eq!(report.system_calls.state, EnforcementState::Enforced);
    assert_eq!(report.landlock.state, EnforcementState::NotAsked);
    let error = sandbox.load(SandboxGuest::new(b"\0asm\x01\0\0\0\x01"), None).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Malformed);
    assert_eq!(error.detail[0], 9);
}

#[test]
fn the_profile_strict_is_for_programs_and_leads_there() {
    let builder = Sandbox::builder().with_profile(SandboxProfile::Strict);
    let error = builder.build().err().unwrap();
    assert_eq!(error.kind, ErrorKind::Unsupported);
    assert!(error.to_string().contains("confine()"), "{error}");
    let error = Sandbox::builder().confine("/bin/true").err().unwrap();
    assert_eq!(error.kind, ErrorKind::Unsupported);
    assert!(error.to_string().contains("build()"), "{error}");
    let error = builder.clone().with_maximum_pages(1).confine("/bin/true").err().unwrap();
    assert_eq!(error.kind, ErrorKind::InvalidArgument);

    let program = builder.with_network_namespace(SandboxWall::Preferred).confine("/bin/sh");
    let program = program.unwrap().with_system_files(true);
    let words = ["sh", "-c", "read -r line < /etc/hostname || echo shut; exit 3"];
    let done = program.with_arguments(&words).unwrap().run(b"", Some(Duration::from_secs(20)));
    let done = done.unwrap();
    assert_eq!(done.end, ConfinedEnd::Exited(3), "{done:?}");
    if done.report.files.state == EnforcementState::Enforced {
        assert_eq!(done.output, b"shut\n");
    }
}
