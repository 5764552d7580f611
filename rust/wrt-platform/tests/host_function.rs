//! Host functions: closures that a guest calls, their errors and their panics.

use std::{
    error::Error as _,
    fmt, io,
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
    time::{Duration, Instant},
};

use wrt_platform::{
    Caller, CancelToken, Error, ErrorKind, HostError, HostFunction, Instance,
    LinuxThreadSystemBuilder, Module, Progress, Result, Value, ValueType,
};

const CALLS_HOST: &str = r#"(module
  (import "env" "host" (func $host (param i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "double") (param i32) (result i32)
    (i32.mul (local.get 0) (i32.const 2)))
  (func (export "go") (param i32) (result i32)
    (i32.add (call $host (local.get 0)) (i32.const 1))))"#;

fn load(text: &str) -> Module<'static> {
    Module::from_bytes(wat::parse_str(text).unwrap()).unwrap()
}

/// An instance of CALLS_HOST over that closure.
fn over<'a>(
    module: &'a Module<'static>,
    call: impl FnMut(&mut Caller<'_>, i32) -> core::result::Result<i32, HostError> + Send + 'a,
) -> Result<Instance<'a>> {
    let mut call = call;
    let host = HostFunction::builder()
        .with_parameters(&[ValueType::I32])
        .with_results(&[ValueType::I32])
        .with_name(c"host")
        .with_call(move |caller, arguments, results| {
            results[0] = Value::I32(call(caller, arguments[0].i32().unwrap())?);
            Ok(())
        })
        .build()?;
    Instance::builder().with_module(module).with_function("env", "host", host).build()
}

#[derive(Debug)]
struct Refused(u32);

impl fmt::Display for Refused {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "refused {} times", self.0)
    }
}

impl std::error::Error for Refused {}

#[test]
fn closure_keeps_its_state_and_reaches_the_caller() -> Result<()> {
    let module = load(CALLS_HOST);
    let mut seen = Vec::new();
    {
        let mut instance = over(&module, |caller, number| {
            seen.push(number);
            caller.memory_mut()[4] = number as u8;
            let doubled = caller.call("double", &[Value::I32(number)])?[0];
            let names: Vec<_> = caller.backtrace().map(|frame| frame.function_name()).collect();
            assert_eq!(names, [Some("go")]);
            Ok(doubled.i32().unwrap() + i32::from(caller.memory()[4]))
        })?;
        assert_eq!(instance.call("go", &[Value::I32(5)])?, [Value::I32(16)]);
        assert_eq!(instance.call("go", &[Value::I32(7)])?, [Value::I32(22)]);
        assert_eq!(instance.memory()[4], 7);
        assert_eq!(instance.memory().len(), 65536);
    }
    assert_eq!(seen, [5, 7]);
    Ok(())
}

#[test]
fn error_of_a_closure_is_the_source_of_the_callers() -> Result<()> {
    let module = load(CALLS_HOST);
    let mut times = 0;
    let mut instance = over(&module, move |_, _| {
        times += 1;
        Err(Refused(times).into())
    })?;
    for expected in 1..=2 {
        let error = instance.call("go", &[Value::I32(0)]).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Host);
        let source = error.source().unwrap().downcast_ref::<Refused>().unwrap();
        assert_eq!(source.0, expected);
    }
    let plain = instance.call("double", &[Value::I32(2)])?;
    assert_eq!(plain, [Value::I32(4)]);
    Ok(())
}

#[test]
fn text_is_an_error_too_and_errors_of_ours_keep_their_kind() -> Result<()> {
    let module = load(CALLS_HOST);
    let mut text = over(&module, |_, _| Err(HostError::new("no such thing")))?;
    let error = text.call("go", &[Value::I32(0)]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Host);
    assert_eq!(error.source().unwrap().to_string(), "no such thing");

    let mut inner = over(&module, |caller, _| {
        caller.call("missing", &[])?;
        Ok(0)
    })?;
    let error = inner.call("go", &[Value::I32(0)]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound);
    assert_eq!(error.source().unwrap().downcast_ref::<Error>().unwrap().kind, ErrorKind::NotFound);

    let mut bare = over(&module, |_, _| Err(ErrorKind::Exit.into()))?;
    assert_eq!(bare.call("missing", &[]).unwrap_err().kind, ErrorKind::NotFound);
    let error = bare.call("go", &[Value::I32(0)]).unwrap_err();
    assert_eq!((error.kind, error.source().is_none()), (ErrorKind::Exit, true));
    assert!(error.to_string().ends_with("a host function ended the call"), "{error}");

    for (kind, seen) in [
        (ErrorKind::Other(77), ErrorKind::Other(77)),
        (ErrorKind::Other(0), ErrorKind::Host), // 0 would be success to C
    ] {
        let mut other = over(&module, |_, _| Err(kind.into()))?;
        assert_eq!(other.call("go", &[Value::I32(0)]).unwrap_err().kind, seen);
    }

    let mut system = over(&module, |_, _| Err(io::Error::other("disk").into()))?;
    let error = system.call("go", &[Value::I32(0)]).unwrap_err();
    assert!(error.source().unwrap().is::<io::Error>());
    Ok(())
}

#[test]
fn panic_goes_on_after_c_has_returned_and_the_instance_lives_on() -> Result<()> {
    let module = load(CALLS_HOST);
    let mut instance = over(&module, |_, number| {
        assert!(number != 13, "thirteen");
        Ok(number)
    })?;
    let call = |instance: &mut Instance<'_>, number| instance.call("go", &[Value::I32(number)]);
    let payload = catch_unwind(AssertUnwindSafe(|| call(&mut instance, 13).map(drop))).unwrap_err();
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"thirteen"));
    assert_eq!(call(&mut instance, 4)?, [Value::I32(5)]);
    Ok(())
}

#[test]
fn panic_crosses_two_instances_and_two_host_functions() -> Result<()> {
    let module = load(CALLS_HOST);
    let inner_module = load(CALLS_HOST);
    let mut inner = over(&inner_module, |_, _| panic!("deep"))?;
    let mut outer = over(&module, move |_, number| {
        Ok(inner.call("go", &[Value::I32(number)])?[0].i32().unwrap())
    })?;
    let call = AssertUnwindSafe(|| outer.call("go", &[Value::I32(1)]).map(drop));
    assert_eq!(catch_unwind(call).unwrap_err().downcast_ref::<&str>(), Some(&"deep"));
    Ok(())
}

#[test]
fn closure_inside_itself_is_refused() -> Result<()> {
    let module = load(CALLS_HOST);
    let mut instance = over(&module, |caller, number| {
        Ok(caller.call("go", &[Value::I32(number)])?[0].i32().unwrap())
    })?;
    let error = instance.call("go", &[Value::I32(1)]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::State);
    let mut source: &dyn std::error::Error = &error;
    while let Some(deeper) = source.source() {
        source = deeper;
    }
    assert!(source.to_string().contains("called from inside itself"), "{source}");
    Ok(())
}

#[test]
fn pending_function_is_called_again_with_the_same_arguments() -> Result<()> {
    let module = load(CALLS_HOST);
    let mut turns = 0;
    let mut instance = over(&module, move |_, number| {
        assert_eq!(number, 9);
        turns += 1;
        if turns < 3 { Err(ErrorKind::Pending.into()) } else { Ok(turns) }
    })?;
    instance.begin("go", &[Value::I32(9)])?;
    assert_eq!(instance.run(1000)?, Progress::Paused);
    assert_eq!(instance.run(1000)?, Progress::Paused);
    assert_eq!(instance.run(1000)?, Progress::Done);
    assert_eq!(instance.results()?, [Value::I32(4)]);
    Ok(())
}

#[test]
fn result_of_the_wrong_type_is_not_let_through() -> Result<()> {
    let module = load(CALLS_HOST);
    let host = HostFunction::builder()
        .with_parameters(&[ValueType::I32])
        .with_results(&[ValueType::I32])
        .with_call(|_, _, results| {
            results[0] = Value::F64(1.0);
            Ok(())
        })
        .build()?;
    let builder = Instance::builder().with_module(&module);
    let mut instance = builder.with_function("env", "host", host).build()?;
    let error = instance.call("go", &[Value::I32(1)]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::InvalidArgument);
    Ok(())
}

#[test]
fn more_parameters_than_a_function_has_are_refused_when_it_is_built() {
    let parameters = [ValueType::I32; 1001];
    let builder = HostFunction::builder().with_parameters(&parameters);
    let error = builder.with_call(|_, _, _| Ok(())).build().err().unwrap();
    assert_eq!(error.kind, ErrorKind::InvalidArgument);
}

#[test]
fn function_of_another_type_is_refused_by_name() -> Result<()> {
    let module = load(CALLS_HOST);
    let host = HostFunction::builder().with_call(|_, _, _| Ok(())).build()?;
    let builder = Instance::builder().with_module(&module).with_function("env", "host", host);
    let error = builder.build().err().unwrap();
    assert_eq!(error.kind, ErrorKind::Link);
    assert!(error.to_string().ends_with(": env.host"), "{error}");
    Ok(())
}

#[test]
fn lent_function_needs_no_heap_and_comes_back() -> Result<()> {
    let module = load(r#"(module (import "env" "tick" (func $tick)) (export "go" (func $tick)))"#);
    let mut count = 0;
    let mut tick = HostFunction::builder()
        .with_call(|_, _, _| {
            count += 1;
            Ok(())
        })
        .build()?;
    for _ in 0..2 {
        let mut imports = [tick.import(c"env", c"tick")?];
        let builder = Instance::builder().with_module(&module).with_imports(&mut imports);
        builder.build()?.call_into("go", &[], &mut [])?;
    }
    drop(tick);
    assert_eq!(count, 2);
    Ok(())
}

#[test]
fn function_of_c_is_given_its_context() -> Result<()> {
    unsafe extern "C" fn add(
        context: *mut core::ffi::c_void,
        _caller: *mut wrt_platform_sys::wrt_instance,
        values: *mut wrt_platform_sys::wrt_value,
    ) -> wrt_platform_sys::wrt_status {
        // SAFETY: the context is the number below; one argument, one result.
        unsafe { (*values).i32_ += *context.cast::<u32>() };
        0
    }
    let module = load(CALLS_HOST);
    let mut number = 40u32;
    let builder = HostFunction::builder()
        .with_parameters(&[ValueType::I32])
        .with_results(&[ValueType::I32])
        .with_context((&raw mut number).cast());
    // SAFETY: the function does what it says, and the number outlives the instance.
    let host = unsafe { builder.with_raw_call(add) }.build()?;
    let builder = Instance::builder().with_module(&module);
    let mut instance = builder.with_function("env", "host", host).build()?;
    assert_eq!(instance.call("go", &[Value::I32(1)])?, [Value::I32(42)]);
    Ok(())
}

#[test]
fn references_go_to_the_host_and_back() -> Result<()> {
    let module = load(
        r#"(module
             (import "env" "swap" (func $swap (param funcref externref) (result externref funcref)))
             (func $seven (export "seven") (result i32) i32.const 7)
             (table $t 1 funcref) (elem declare func $seven)
             (func (export "go") (result externref i32)
               (local $f funcref)
               (call $swap (ref.func $seven) (ref.null extern))
               (local.set $f)
               (table.set $t (i32.const 0) (local.get $f))
               (call_indirect $t (result i32) (i32.const 0))))"#,
    );
    let swap = HostFunction::builder()
        .with_parameters(&[ValueType::FuncRef, ValueType::ExternRef])
        .with_results(&[ValueType::ExternRef, ValueType::FuncRef])
        .with_call(|caller, arguments, results| {
            assert_eq!(arguments[1], Value::ExternRef(0));
            let Value::FuncRef(Some(function)) = arguments[0] else { panic!("{arguments:?}") };
            let mut seven = [Value::I32(0)];
            caller.call_function(function, &[], &mut seven)?;
            assert_eq!(seven, [Value::I32(7)]);
            (results[0], results[1]) = (Value::ExternRef(99), arguments[0]);
            Ok(())
        })
        .build()?;
    let builder = Instance::builder().with_module(&module);
    let mut instance = builder.with_function("env", "swap", swap).build()?;
    assert_eq!(instance.call("go", &[])?, [Value::ExternRef(99), Value::I32(7)]);
    Ok(())
}

#[test]
fn wait_with_the_calls_token_ends_by_its_interrupt_and_is_tried_again() -> Result<()> {
    let module = load(CALLS_HOST);
    let system = LinuxThreadSystemBuilder::new().build()?;
    let mut waits = vec![Duration::ZERO, Duration::from_secs(60)];
    let mut instance = over(&module, move |caller, number| {
        caller.cancel_token().sleep(Some(waits.pop().unwrap()), &system)?;
        Ok(number)
    })?;
    let handle = instance.shared_interrupt_handle().unwrap();
    let stopper = thread::spawn(move || {
        thread::sleep(Duration::from_millis(50));
        handle.interrupt();
    });
    let before = Instant::now();
    let error = instance.call("go", &[Value::I32(6)]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Interrupted);
    assert!(before.elapsed() < Duration::from_secs(10));
    stopper.join().unwrap();
    while instance.run(1000)? == Progress::Paused {}
    assert_eq!(instance.results()?, [Value::I32(7)], "one interrupt stops once");
    Ok(())
}

#[test]
fn other_token_that_ends_a_wait_is_the_closures_failure() -> Result<()> {
    static OTHER: CancelToken = CancelToken::new();
    OTHER.request();
    let module = load(CALLS_HOST);
    let system = LinuxThreadSystemBuilder::new().build()?;
    let mut instance = over(&module, move |_, number| {
        OTHER.sleep(None, &system)?;
        Ok(number)
    })?;
    let error = instance.call("go", &[Value::I32(6)]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Interrupted);
    assert_eq!(instance.call("double", &[Value::I32(2)])?, [Value::I32(4)]);
    Ok(())
}
