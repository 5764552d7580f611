//! Thread managers through the safe face, on Linux's threads and on those of simulated QNX.

use std::{
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

use wrt_platform::events::{EventKind, EventsBuilder};
use wrt_platform::safe_threading::{
    ManagedThread, ThreadHealth, ThreadManagerConfig, ThreadingLimits, WasmModuleInfo,
    WasmThreadManager,
};
use wrt_platform::threading::{
    Executor, InstanceExecutorBuilder, ModuleExecutorBuilder, System, ThreadPoolConfig,
    ThreadPriority, WasmTask,
};
use wrt_platform::{
    Error, ErrorKind, HostFunctionBuilder, Instance, LinuxAllocatorBuilder, LinuxThreadSystem,
    LinuxThreadSystemBuilder, MemoryAccountBuilder, Module, QnxThreadSystemBuilder, ThreadSystem,
    Value,
};

const MS: Duration = Duration::from_millis(1);
const PATIENCE: Duration = Duration::from_secs(20);
const SQUARE: u32 = 1;
const SPIN: u32 = 2;
const STUCK: u32 = 3;
const GROW: u32 = 4;

const GUEST: &str = r#"(module
  (import "host" "stuck" (func $stuck))
  (func (export "square") (param i32) (result i32) (i32.mul (local.get 0) (local.get 0)))
  (func (export "spin") (loop (br 0)))
  (func (export "stuck") (call $stuck)))"#;

const GROWING: &str = r#"(module (memory 1 100)
  (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))"#;

/// A door that a host function waits at, whatever its guest is told.
#[derive(Default)]
struct Door {
    is_open: Mutex<(bool, bool)>, // and whether somebody stands there
    changed: Condvar,
}

impl Door {
    fn pass(&self) {
        let mut state = self.is_open.lock().unwrap();
        state.1 = true;
        self.changed.notify_all();
        drop(self.changed.wait_while(state, |(open, _)| !*open).unwrap());
    }

    fn open(&self) {
        self.is_open.lock().unwrap().0 = true;
        self.changed.notify_all();
    }

    fn wait_for_guest(&self) {
        let state = self.is_open.lock().unwrap();
        let waited = self.changed.wait_timeout_while(state, PATIENCE, |(_, there)| !*there);
        assert!(!waited.unwrap().1.timed_out());
    }
}

fn module(text: &str) -> &'static Module<'static> {
    let bytes: &'static [u8] = Box::leak(wat::parse_str(text).unwrap().into_boxed_slice());
    Box::leak(Box::new(Module::new(bytes).unwrap()))
}

/// Function n of guest i is 100 * i + n.
fn guests(count: u32, door: &Arc<Door>) -> Executor {
    let module = module(GUEST);
    let mut builder = InstanceExecutorBuilder::new();
    for number in 0..count {
        let door = door.clone();
        let stuck = HostFunctionBuilder::new()
            .with_call(move |_, _, _| {
                door.pass();
                Ok(())
            })
            .build()
            .unwrap();
        let builder_of_guest = Instance::builder().with_module(module);
        let instance = builder_of_guest.with_function("host", "stuck", stuck).build().unwrap();
        let first = 100 * number;
        let names = [(first + SQUARE, "square"), (first + SPIN, "spin"), (first + STUCK, "stuck")];
        builder = builder.with_functions(instance, &names);
    }
    builder.build().unwrap()
}

fn linux() -> System {
    let threads: &'static LinuxThreadSystem =
        Box::leak(Box::new(LinuxThreadSystemBuilder::new().build().unwrap()));
    // SAFETY: it is there for ever.
    unsafe { System::new(threads.interface()) }
}

fn simulated_qnx() -> System {
    let threads = Box::leak(Box::new(QnxThreadSystemBuilder::new().build().unwrap()));
    // SAFETY: it is there for ever.
    unsafe { System::new(threads.interface()) }
}

fn pool(system: System) -> ThreadPoolConfig {
    ThreadPoolConfig {
        max_threads: 4,
        spare_threads: 4,
        system: Some(system),
        ..Default::default()
    }
}

fn config(system: System, limits: ThreadingLimits) -> ThreadManagerConfig {
    ThreadManagerConfig { threads: pool(system), limits, ..Default::default() }
        .with_kill_timeout(200 * MS)
}

fn call(function_id: u32, args: &[Value]) -> WasmTask {
    let id = u64::from(function_id);
    WasmTask { id, function_id, args: args.to_vec(), ..Default::default() }
}

fn known(manager: &WasmThreadManager, id: u32) {
    let info = WasmModuleInfo { id, name: format!("module {id}"), ..Default::default() };
    manager.register_module(info).unwrap();
}

fn until(what: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !what() {
        assert!(Instant::now() < end);
        thread::sleep(5 * MS);
    }
}

fn error_of(thread: &ManagedThread) -> Error {
    thread.join_timeout(PATIENCE).unwrap().result.unwrap_err()
}

fn quota_kills_the_offender_alone(system: System) {
    let limits = ThreadingLimits { cpu_quota_per_thread: 150 * MS, ..Default::default() };
    let events = EventsBuilder::new().build().unwrap();
    let door = Arc::default();
    let manager = config(system, limits).with_events(&events).build(guests(2, &door)).unwrap();
    known(&manager, 1);
    let spinning = manager.spawn(1, call(SPIN, &[])).unwrap();
    until(|| manager.health_check().unwrap() == [(2, ThreadHealth::CpuQuotaExceeded)]);
    let squares: Vec<_> =
        (0..3).map(|n| manager.spawn(1, call(100 + SQUARE, &[Value::I32(n)])).unwrap()).collect();
    assert_eq!(manager.kill_unhealthy_threads().unwrap(), 1);
    assert_eq!(error_of(&spinning).kind, ErrorKind::Interrupted);
    assert_eq!(spinning.killed_for(), ThreadHealth::CpuQuotaExceeded);
    for (n, square) in squares.iter().enumerate() {
        let n = n as i32;
        assert_eq!(square.join().unwrap().result.unwrap(), [Value::I32(n * n)]);
        assert_eq!(square.killed_for(), ThreadHealth::Healthy);
    }
    let kinds: Vec<_> = (0..2).map(|_| events.next(Some(PATIENCE)).unwrap().kind).collect();
    assert_eq!(kinds, [EventKind::THREAD_UNHEALTHY, EventKind::THREAD_KILLED]);
    manager.shutdown(Some(PATIENCE)).unwrap();
}

#[test]
fn quota_kills_the_offender_alone_on_linux() {
    quota_kills_the_offender_alone(linux());
}

#[test]
fn quota_kills_the_offender_alone_on_simulated_qnx() {
    quota_kills_the_offender_alone(simulated_qnx());
}

#[test]
fn host_function_that_hangs_is_poisoned_until_it_comes_back() {
    let door: Arc<Door> = Arc::default();
    let manager = config(linux(), ThreadingLimits::default())
        .with_response_timeout(50 * MS)
        .build(guests(2, &door))
        .unwrap();
    known(&manager, 1);
    let stuck = manager.spawn(1, call(STUCK, &[])).unwrap();
    door.wait_for_guest();
    until(|| manager.health_check().unwrap()[0].1 == ThreadHealth::Unresponsive);
    assert_eq!(manager.kill_unhealthy_threads().unwrap(), 1);
    let report = &manager.health_reports().unwrap()[0];
    assert_eq!((report.health, report.module), (ThreadHealth::Poisoned, 1));
    assert_eq!(stuck.join().unwrap_err().kind, ErrorKind::State); // it is still out
    let report = manager.report().unwrap();
    assert_eq!((report.given_up, report.poisoned, report.killed), (1, 1, 0));
    let other = manager.spawn(1, call(100 + SQUARE, &[Value::I32(5)])).unwrap();
    assert_eq!(other.join().unwrap().result.unwrap(), [Value::I32(25)]);

    door.open();
    until(|| manager.report().unwrap().poisoned == 0);
    assert_eq!(error_of(&stuck).kind, ErrorKind::Interrupted);
    assert_eq!(stuck.killed_for(), ThreadHealth::Unresponsive);
    manager.shutdown(Some(PATIENCE)).unwrap();
}

#[test]
fn what_never_comes_back_does_not_hold_up_the_end() {
    let door: Arc<Door> = Arc::default();
    let manager = config(linux(), ThreadingLimits::default()).build(guests(1, &door)).unwrap();
    known(&manager, 1);
    drop(manager.spawn(1, call(STUCK, &[])).unwrap());
    door.wait_for_guest();
    let start = Instant::now();
    drop(manager);
    assert!(start.elapsed() < 5000 * MS);
    door.open(); // its storage was not freed
    thread::sleep(50 * MS);
}

#[test]
fn monitor_ends_what_nobody_waits_for() {
    let limits = ThreadingLimits { max_thread_lifetime: 50 * MS, ..Default::default() };
    let door = Arc::default();
    let manager =
        config(linux(), limits).with_check_interval(10 * MS).build(guests(1, &door)).unwrap();
    known(&manager, 1);
    manager.start().unwrap();
    assert_eq!(manager.start().unwrap_err().kind, ErrorKind::State);
    drop(manager.spawn(1, call(SPIN, &[])).unwrap());
    until(|| manager.report().unwrap().killed == 1);
    manager.stop(Some(PATIENCE)).unwrap();
    assert!(!manager.report().unwrap().is_running);
    manager.unregister_module(1).unwrap(); // its thread was let go
    assert_eq!(manager.unregister_module(1).unwrap_err().kind, ErrorKind::NotFound);
}

#[test]
fn more_threads_than_allowed_are_refused_with_the_numbers() {
    let limits =
        ThreadingLimits { max_threads_per_module: 2, max_total_threads: 3, ..Default::default() };
    let door = Arc::default();
    let manager = config(linux(), limits).build(guests(4, &door)).unwrap();
    known(&manager, 1);
    let info = WasmModuleInfo {
        id: 2,
        max_threads: 1,
        default_priority: ThreadPriority::Low,
        ..Default::default()
    };
    manager.register_module(info.clone()).unwrap();
    assert_eq!(manager.register_module(info).unwrap_err().kind, ErrorKind::State);
    known(&manager, 3);
    let spin = |guest: u32, module| manager.spawn(module, call(100 * guest + SPIN, &[]));
    let mut out = vec![spin(0, 1).unwrap(), spin(1, 1).unwrap()];
    let refusal = |guest, module| spin(guest, module).err().unwrap().to_string();
    assert!(refusal(2, 1).contains("2 threads, allowed are 2"));
    out.push(spin(2, 2).unwrap());
    assert!(refusal(3, 2).contains("1 threads, allowed are 1"));
    assert!(refusal(3, 3).contains("3 threads together, allowed are 3"));
    assert_eq!(manager.report().unwrap().refused, 3);
    assert_eq!(out[0].join_timeout(MS).unwrap_err().kind, ErrorKind::TimedOut);
    for thread in &out {
        thread.kill().unwrap();
        assert_eq!(error_of(thread).kind, ErrorKind::Interrupted);
        assert_eq!(thread.kill().unwrap_err().kind, ErrorKind::State);
        assert_eq!(thread.join().unwrap_err().kind, ErrorKind::State); // once is enough
    }
}

#[test]
fn memory_of_a_modules_threads_is_limited_together() {
    let module = module(GROWING);
    let executor = ModuleExecutorBuilder::new()
        .with_exports(module, &[(GROW, "grow")])
        .with_slots(2)
        .build()
        .unwrap();
    let account = MemoryAccountBuilder::new().with_maximum(64 * 65536).build().unwrap();
    let limits = ThreadingLimits { memory_limit_per_module: 8 * 65536, ..Default::default() };
    let mut config = config(linux(), limits).with_account(&account);
    config.threads.page_allocator = Some(Box::new(LinuxAllocatorBuilder::new().build().unwrap()));
    let manager = config.build(executor).unwrap();
    known(&manager, 1);
    let strict = WasmModuleInfo { id: 2, memory_limit: 4 * 65536, ..Default::default() };
    manager.register_module(strict).unwrap();
    let grow = |module, pages| {
        let thread = manager.spawn(module, call(GROW, &[Value::I32(pages)])).unwrap();
        thread.join().unwrap().result.unwrap()
    };
    assert_eq!(grow(1, 7), [Value::I32(1)]);
    assert_eq!(grow(1, 8), [Value::I32(-1)]);
    assert_eq!(grow(2, 3), [Value::I32(1)]);
    assert_eq!(grow(2, 4), [Value::I32(-1)]); // its own limit is the stricter one
    assert_eq!(account.usage().unwrap().peak, 8 * 65536);
    assert_eq!(account.usage().unwrap().used, 0);
}

#[test]
fn use_after_the_end_is_refused() {
    let door = Arc::default();
    let manager = config(linux(), ThreadingLimits::default()).build(guests(1, &door)).unwrap();
    known(&manager, 1);
    let early = manager.spawn(1, call(SQUARE, &[Value::I32(3)])).unwrap();
    let missing = |module, task| manager.spawn(module, task).err().unwrap().kind;
    assert_eq!(missing(9, call(SQUARE, &[Value::I32(3)])), ErrorKind::NotFound);
    assert_eq!(missing(1, call(77, &[])), ErrorKind::NotFound);
    assert_eq!(missing(1, call(SQUARE, &[])), ErrorKind::InvalidArgument);
    manager.shutdown(Some(PATIENCE)).unwrap();
    assert_eq!(missing(1, call(SQUARE, &[Value::I32(3)])), ErrorKind::State);
    let again = manager.clone();
    drop(manager);
    again.shutdown(Some(PATIENCE)).unwrap();
    drop(again);
    assert_eq!(early.join().unwrap().result.unwrap(), [Value::I32(9)]); // the handle keeps it
}

#[test]
fn config_out_of_range_is_refused() {
    let door = Arc::default();
    let none = config(linux(), ThreadingLimits::default()).with_module_capacity(0);
    assert_eq!(none.build(guests(1, &door)).err().unwrap().kind, ErrorKind::InvalidArgument);
    let no_threads = ThreadPoolConfig { max_threads: 0, ..pool(linux()) };
    let made = WasmThreadManager::new(no_threads, ThreadingLimits::default(), guests(1, &door));
    assert_eq!(made.err().unwrap().kind, ErrorKind::InvalidArgument);
}
