//! The Rust face of instances: calls, pieces of calls, limits, traps. What the instructions do is
//! proven by the official test-suite.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use wrt_platform::{
    Error, ErrorKind, Instance, InstanceBuilder, InstanceStorage, Limits, Module, Progress, Result,
    TrapCode, Value,
};

const SUM: &str = r#"(module
  (func (export "sum") (param $n i32) (result i32)
    (local $total i32)
    (loop $next
      (local.set $total (i32.add (local.get $total) (local.get $n)))
      (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $total))
  (func (export "forever") (loop (br 0))))"#;

fn load(text: &str) -> Module<'static> {
    Module::from_bytes(wat::parse_str(text).unwrap()).unwrap()
}

fn instance<'a>(module: &'a Module<'static>) -> Result<Instance<'a>> {
    Instance::builder().with_module(module).build()
}

fn assert_send<T: Send>(value: T) -> T {
    value
}

#[test]
fn values_of_all_types_go_in_and_come_out() -> Result<()> {
    let module = load(
        r#"(module (func (export "turn") (param i32 i64 f32 f64 externref)
             (result externref f64 f32 i64 i32)
             local.get 4 local.get 3 local.get 2 local.get 1 local.get 0))"#,
    );
    let mut instance = assert_send(instance(&module)?);
    let mut values = [
        Value::I32(-1),
        Value::I64(i64::MIN),
        Value::F32(1.5),
        Value::F64(-0.0),
        Value::ExternRef(0xFFFF_FFFF_0000_0001),
    ];
    let turned = instance.call("turn", &values)?;
    values.reverse();
    assert_eq!(turned, values);
    let mut room = [Value::I32(0); 5];
    instance.call_into(
        "turn",
        &[values[4], values[3], values[2], values[1], values[0]],
        &mut room,
    )?;
    assert_eq!(room, values);
    Ok(())
}

#[test]
fn arguments_of_the_wrong_count_or_type_never_reach_the_guest() -> Result<()> {
    let module = load(SUM);
    let mut instance = instance(&module)?;
    let wrong: [&[Value]; 4] = [&[], &[Value::I64(1)], &[Value::F32(1.0)], &[Value::I32(1); 2]];
    for arguments in wrong {
        let error = instance.call("sum", arguments).unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidArgument, "{error}");
    }
    assert_eq!(instance.call("nothing", &[]).unwrap_err().kind, ErrorKind::NotFound);
    let error = instance.call_into("sum", &[Value::I32(1)], &mut []).unwrap_err();
    assert_eq!(error.detail, [0, 1]);
    assert_eq!(instance.usage()?.fuel_used, 0);
    Ok(())
}

#[test]
fn many_values_are_more_than_the_stack_holds() -> Result<()> {
    let types = "i64 ".repeat(40);
    let gets: String = (0..40).map(|index| format!("local.get {index} ")).collect();
    let module = load(&format!(
        r#"(module (func (export "same") (param {types}) (result {types}) {gets}))"#
    ));
    let values: Vec<_> = (0..40).map(Value::I64).collect();
    assert_eq!(instance(&module)?.call("same", &values)?, values);
    Ok(())
}

#[test]
fn fuel_stops_exactly_and_more_fuel_goes_on() -> Result<()> {
    let module = load(SUM);
    let whole = {
        let mut free = instance(&module)?;
        assert_eq!(free.call("sum", &[Value::I32(100)])?, [Value::I32(5050)]);
        assert_eq!(free.fuel()?, None);
        free.usage()?.fuel_used
    };
    let builder = Instance::builder().with_module(&module);
    let mut instance = builder.with_fuel(whole - 1).build()?;
    let error = instance.call("sum", &[Value::I32(100)]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::OutOfFuel);
    assert_eq!((instance.fuel()?, instance.usage()?.fuel_used), (Some(0), whole - 1));
    instance.set_fuel(Some(10))?;
    assert_eq!(instance.run(u64::MAX / 4)?, Progress::Done);
    assert_eq!(instance.results()?, [Value::I32(5050)]);
    assert_eq!(instance.fuel()?, Some(9));
    Ok(())
}

#[test]
fn steps_are_exact_and_a_paused_call_can_be_dropped() -> Result<()> {
    let module = load(SUM);
    let mut instance = instance(&module)?;
    assert_eq!(instance.results().unwrap_err().kind, ErrorKind::State);
    instance.begin("sum", &[Value::I32(3)])?;
    for step in 1..=10 {
        assert_eq!(instance.step(1)?, Progress::Paused);
        assert_eq!(instance.usage()?.fuel_used, step);
    }
    assert_eq!(instance.trap()?.code(), TrapCode::None);
    assert_eq!(instance.trap()?.function_name(), Some("sum"));
    assert_eq!(instance.backtrace().count(), instance.trap()?.depth() as usize);
    let busy = instance.call("sum", &[Value::I32(1)]).unwrap_err();
    assert_eq!(busy.kind, ErrorKind::State);
    instance.abort()?;
    assert_eq!(instance.abort().unwrap_err().kind, ErrorKind::State);
    assert_eq!(instance.call("sum", &[Value::I32(4)])?, [Value::I32(10)]);
    Ok(())
}

#[test]
fn trap_names_function_and_byte() -> Result<()> {
    let text = r#"(module
      (func $divide (param i32) (result i32) (i32.div_s (i32.const 1) (local.get 0)))
      (func $outer (export "go") (param i32) (result i32) (call $divide (local.get 0))))"#;
    let bytes = wat::parse_str(text).unwrap();
    let operands = [0x41, 1, 0x20, 0]; // i32.const 1, local.get 0
    let division = bytes.windows(4).position(|window| window == operands).unwrap() + 4;
    let module = Module::new(&bytes)?;
    let mut instance = Instance::builder().with_module(&module).build()?;
    let error = instance.call("go", &[Value::I32(0)]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Trap);
    let wanted = format!("integer divide by zero in function divide at byte {division}");
    assert!(error.to_string().ends_with(&wanted), "{error}");
    let trap = instance.trap()?;
    assert_eq!(trap.code(), TrapCode::IntegerDivideByZero);
    assert_eq!((trap.function(), trap.offset()), (Some(0), division as u32));
    let names: Vec<_> = instance.backtrace().map(|frame| frame.function_name()).collect();
    assert_eq!(names, [Some("divide"), Some("outer")]);
    assert_eq!(instance.call("go", &[Value::I32(1)])?, [Value::I32(1)], "it can be used on");
    Ok(())
}

#[test]
fn another_thread_stops_a_busy_loop_and_the_call_goes_on() -> Result<()> {
    let module = load(SUM);
    let mut instance = instance(&module)?;
    let handle = instance.shared_interrupt_handle().unwrap();
    let stopper = thread::spawn({
        let handle = handle.clone();
        move || {
            thread::sleep(Duration::from_millis(30));
            let before = Instant::now();
            handle.interrupt();
            before
        }
    });
    let error = instance.call("forever", &[]).unwrap_err();
    let waited = stopper.join().unwrap().elapsed();
    assert_eq!(error.kind, ErrorKind::Interrupted);
    assert!(waited < Duration::from_millis(200), "{waited:?}");
    let before = instance.usage()?.fuel_used;
    assert_eq!(instance.run(1000)?, Progress::Paused);
    assert!(instance.usage()?.fuel_used >= before + 1000);
    drop(instance);
    handle.interrupt(); // nobody is there any more
    Ok(())
}

#[test]
fn handle_takes_an_interrupt_back_and_feels_the_pulse() -> Result<()> {
    let module = load(SUM);
    let mut instance = instance(&module)?;
    let handle = instance.shared_interrupt_handle().unwrap();
    handle.interrupt();
    assert!(instance.cancel_token().is_requested());
    handle.clear_interrupt();
    assert_eq!(instance.call("sum", &[Value::I32(2)])?, [Value::I32(3)]);
    let before = handle.heartbeat().unwrap();
    assert_eq!(handle.heartbeat(), Some(before));
    instance.begin("forever", &[])?;
    assert_eq!(instance.run(4 << 20)?, Progress::Paused);
    assert!(handle.heartbeat().unwrap() - before >= 4);
    drop(instance);
    assert_eq!(handle.heartbeat(), None);
    Ok(())
}

#[test]
fn interrupting_races_with_the_end_of_instances() -> Result<()> {
    let module = load(SUM);
    for _ in 0..200 {
        let instance = instance(&module)?;
        let handle = instance.shared_interrupt_handle().unwrap();
        let stopper = thread::spawn(move || {
            (0..50).for_each(|_| {
                handle.interrupt();
                handle.heartbeat();
            });
        });
        drop(instance);
        stopper.join().unwrap();
    }
    Ok(())
}

#[test]
fn time_limit_ends_a_busy_loop() -> Result<()> {
    let module = load(SUM);
    let limits = Limits::new().with_timeout(Duration::from_millis(50));
    let mut instance = Instance::builder().with_module(&module).with_limits(&limits).build()?;
    let before = Instant::now();
    let error = instance.call("forever", &[]).unwrap_err();
    let waited = before.elapsed();
    assert_eq!(error.kind, ErrorKind::TimedOut);
    assert!((50..250).contains(&waited.as_millis()), "{waited:?}");
    instance.abort()?;
    instance.set_timeout(None);
    assert_eq!(instance.call("sum", &[Value::I32(2)])?, [Value::I32(3)]);
    Ok(())
}

#[test]
fn start_function_runs_before_anything_else_and_obeys_the_limits() -> Result<()> {
    let module = load(
        r#"(module (global $g (export "g") (mut i32) (i32.const 0))
             (func $start (global.set $g (i32.const 7))) (start $start)
             (func (export "get") (result i32) (global.get $g)))"#,
    );
    let mut built = instance(&module)?;
    assert_eq!(built.call("get", &[])?, [Value::I32(7)]);
    let mut paused = Instance::builder().with_module(&module).build_unstarted()?;
    assert_eq!(paused.global("g")?, Value::I32(0));
    assert_eq!(paused.call("get", &[]).unwrap_err().kind, ErrorKind::State);
    assert_eq!(paused.run(100)?, Progress::Done);
    assert_eq!(paused.call("get", &[])?, [Value::I32(7)]);

    let endless = load("(module (func $start (loop (br 0))) (start $start))");
    let error = Instance::builder().with_module(&endless).with_fuel(1000).build().err().unwrap();
    assert_eq!(error.kind, ErrorKind::OutOfFuel);
    Ok(())
}

#[test]
fn globals_are_read_and_written_by_name() -> Result<()> {
    let module = load(
        r#"(module (global (export "free") (mut i64) (i64.const 5))
             (global (export "fixed") f32 (f32.const 2.5)))"#,
    );
    let mut instance = instance(&module)?;
    assert_eq!(instance.global("free")?, Value::I64(5));
    instance.set_global("free", Value::I64(-6))?;
    assert_eq!(instance.global("free")?, Value::I64(-6));
    let wrong = instance.set_global("free", Value::I32(1)).unwrap_err();
    assert_eq!(wrong.kind, ErrorKind::InvalidArgument);
    assert_eq!(instance.set_global("fixed", Value::F32(1.0)).unwrap_err().kind, ErrorKind::State);
    assert_eq!(instance.global("fixed")?, Value::F32(2.5));
    let kind = instance.call("free", &[]).unwrap_err();
    assert!(kind.to_string().contains("of another kind"), "{kind}");
    Ok(())
}

static STORAGE: InstanceStorage = InstanceStorage::new();

fn small<'a>(module: &'a Module<'static>, words: &'a mut [u64]) -> Result<Instance<'a>> {
    let builder = InstanceBuilder::new().with_module(module).with_stack_size(1024);
    builder.with_buffer(words).build_in(&STORAGE)
}

#[test]
fn storage_and_buffer_of_the_caller_need_no_heap() -> Result<()> {
    let module = load(SUM);
    let layout = InstanceBuilder::new().with_module(&module).with_stack_size(1024).layout()?;
    let mut words = vec![0; layout.bytes.div_ceil(8)];
    {
        let mut instance = small(&module, &mut words)?;
        assert!(instance.shared_interrupt_handle().is_none());
        let taken = InstanceBuilder::new().with_module(&module).build_in(&STORAGE).err().unwrap();
        assert_eq!(taken.kind, ErrorKind::Busy);
        let handle = instance.interrupt_handle();
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(10));
                handle.interrupt();
            });
            let error = instance.call_into("forever", &[], &mut []).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Interrupted);
        });
    }
    assert!(words.iter().any(|word| *word != 0), "nothing was written to the buffer");
    let mut again = small(&module, &mut words)?;
    let mut results = [Value::I32(0)];
    again.call_into("sum", &[Value::I32(3)], &mut results)?;
    assert_eq!(results, [Value::I32(6)]);
    drop(again);
    let error = small(&module, &mut words[..8]).err().unwrap();
    assert_eq!(error.kind, ErrorKind::NoMemory);
    assert!(small(&module, &mut words).is_ok(), "a failed build gives the storage back");
    Ok(())
}

#[test]
fn handle_of_an_earlier_instance_does_not_stop_the_next_one_in_its_place() -> Result<()> {
    static PLACE: InstanceStorage = InstanceStorage::new();
    let module = load(SUM);
    let build = || Instance::builder().with_module(&module).build_in(&PLACE);
    let earlier = build()?.interrupt_handle();
    let mut later = build()?;
    earlier.interrupt();
    assert_eq!(later.call("sum", &[Value::I32(2)])?, [Value::I32(3)]);
    later.interrupt_handle().interrupt();
    let error = later.call("sum", &[Value::I32(2)]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Interrupted);
    Ok(())
}

#[test]
fn instance_that_shares_its_module_can_be_sent_away() -> Result<()> {
    let module = Arc::new(load(SUM));
    let mut instance = Instance::builder().with_shared_module(module.clone()).build()?;
    drop(module);
    let sum = thread::spawn(move || instance.call("sum", &[Value::I32(10)])).join().unwrap()?;
    assert_eq!(sum, [Value::I32(55)]);
    Ok(())
}

#[test]
fn functions_of_an_instance_that_is_gone_are_refused() -> Result<()> {
    let module = load(
        r#"(module (func $f (export "f") (result i32) i32.const 3) (elem declare func $f)
             (func (export "take") (param funcref))
             (func (export "give") (result funcref) ref.func $f))"#,
    );
    let given = instance(&module)?.call("give", &[])?[0];
    let Value::FuncRef(Some(function)) = given else { panic!("{given:?}") };
    let mut other = instance(&module)?;
    for refused in [
        other.call("take", &[given]).map(drop),
        other.call_function(function, &[], &mut [Value::I32(0)]),
    ] {
        assert_eq!(refused.unwrap_err().kind, ErrorKind::InvalidArgument);
    }
    let own = other.call("give", &[])?;
    other.call("take", &own)?;
    let Value::FuncRef(Some(function)) = own[0] else { panic!("{own:?}") };
    let mut results = [Value::I32(0)];
    other.call_function(function, &[], &mut results)?;
    assert_eq!(results, [Value::I32(3)]);
    Ok(())
}

#[test]
fn builder_says_what_is_missing() {
    let error: Error = Instance::builder().build().err().unwrap();
    assert_eq!(error.kind, ErrorKind::InvalidArgument);
    assert!(error.to_string().contains("no module"), "{error}");
    let module = load(
        r#"(module (import "env" "one" (func)) (import "env" "two" (func))
             (import "other" "three" (global i32)))"#,
    );
    let error = Instance::builder().with_module(&module).build().err().unwrap();
    assert_eq!(error.kind, ErrorKind::Link);
    let all = "nothing was given for env.one, env.two, other.three";
    assert!(error.to_string().ends_with(all), "{error}");
    let limits = Limits::new().with_memory(1000);
    let error = Instance::builder().with_module(&module).with_limits(&limits).build().err();
    assert!(error.unwrap().to_string().contains("1000 bytes, less than a page"));
}
