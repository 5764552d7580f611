//! The runtime through the safe face: by its builder, and as the documents put it together.

use std::time::Duration;

use wrt_platform::events::EventKind;
use wrt_platform::runtime::{RuntimeBuilder, WasmRuntime};
use wrt_platform::safe_threading::{
    ThreadHealth, ThreadManagerConfig, ThreadingLimits, WasmModuleInfo, WasmThreadManager,
};
use wrt_platform::threading::{
    Executor, InstanceExecutorBuilder, ModuleExecutorBuilder, System, ThreadPoolConfig, WasmTask,
};
use wrt_platform::watchdog::{SoftwareWatchdog, WatchdogConfig};
use wrt_platform::{
    EnforcementState, ErrorKind, Instance, LinuxAllocatorBuilder, MemoryAccountBuilder, Module,
    QnxMemoryPartitionBuilder, QnxThreadSystemBuilder, ThreadSystem, Value,
};

const MS: Duration = Duration::from_millis(1);
const PATIENCE: Duration = Duration::from_secs(20);
const MB: u64 = 1 << 20;

fn module(text: &str) -> &'static Module<'static> {
    let bytes: &'static [u8] = Box::leak(wat::parse_str(text).unwrap().into_boxed_slice());
    Box::leak(Box::new(Module::new(bytes).unwrap()))
}

fn spinning() -> Executor {
    let module = module(r#"(module (func (export "spin") (loop (br 0))))"#);
    let instance = Instance::builder().with_module(module).build().unwrap();
    InstanceExecutorBuilder::new().with_functions(instance, &[(1, "spin")]).build().unwrap()
}

fn growing() -> Executor {
    let text = r#"(module (memory 1 100)
      (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))"#;
    ModuleExecutorBuilder::new().with_exports(module(text), &[(1, "grow")]).build().unwrap()
}

fn simulated_qnx() -> System {
    let threads = Box::leak(Box::new(QnxThreadSystemBuilder::new().build().unwrap()));
    // SAFETY: it is there for ever.
    unsafe { System::new(threads.interface()) }
}

fn quick(threads: ThreadPoolConfig, limits: ThreadingLimits) -> ThreadManagerConfig {
    ThreadManagerConfig { threads, limits, ..Default::default() }.with_check_interval(10 * MS)
}

fn tenant(manager: &WasmThreadManager) {
    let info = WasmModuleInfo { id: 1, name: "tenant".to_string(), ..Default::default() };
    manager.register_module(info).unwrap();
}

#[test]
fn quota_is_kept_by_the_monitor_and_told() {
    let limits = ThreadingLimits { cpu_quota_per_thread: 100 * MS, ..Default::default() };
    let threads = ThreadPoolConfig { system: Some(simulated_qnx()), ..Default::default() };
    let runtime =
        RuntimeBuilder::new().with_threads(quick(threads, limits)).build(spinning()).unwrap();
    tenant(&runtime.thread_manager);
    let thread = runtime.thread_manager.spawn(1, WasmTask::default().with_function_id(1)).unwrap();
    let outcome = thread.join_timeout(PATIENCE).unwrap();
    assert_eq!(outcome.result.unwrap_err().kind, ErrorKind::Interrupted);
    assert_eq!(thread.killed_for(), ThreadHealth::CpuQuotaExceeded);
    let events = runtime.watchdog.events();
    assert_eq!(events.next(Some(PATIENCE)).unwrap().kind, EventKind::THREAD_UNHEALTHY);
    assert_eq!(events.next(Some(PATIENCE)).unwrap().kind, EventKind::THREAD_KILLED);
    let report = runtime.report().unwrap();
    assert_eq!((report.threads.killed, report.watchdog.is_running), (1, true));
    assert_eq!(report.cpu_quota.state, EnforcementState::Partial);
    assert_eq!(report.lifetime.state, EnforcementState::NotAsked);
    runtime.shutdown(Some(PATIENCE)).unwrap();
    let report = runtime.report().unwrap();
    assert_eq!(report.hang_detection.state, EnforcementState::Absent);
    let late = runtime.thread_manager.spawn(1, WasmTask::default().with_function_id(1));
    assert_eq!(late.err().unwrap().kind, ErrorKind::State);
}

#[test]
fn account_pays_for_all_modules() {
    let account = MemoryAccountBuilder::new().with_maximum(4 * 65536).build().unwrap();
    let pages = LinuxAllocatorBuilder::new().build().unwrap();
    let threads = ThreadPoolConfig::default().with_page_allocator(Box::new(pages));
    let runtime = RuntimeBuilder::new()
        .with_threads(quick(threads, ThreadingLimits::default()))
        .with_account(&account)
        .build(growing())
        .unwrap();
    tenant(&runtime.thread_manager);
    let grow = |pages| {
        let task = WasmTask { function_id: 1, args: vec![Value::I32(pages)], ..Default::default() };
        runtime.thread_manager.spawn(1, task).unwrap().join().unwrap().result.unwrap()
    };
    assert_eq!(grow(3), [Value::I32(1)]);
    assert_eq!(grow(4), [Value::I32(-1)]);
    let report = runtime.report().unwrap();
    assert_eq!(report.memory.unwrap().peak, 4 * 65536);
    assert_eq!(report.memory_limit.state, EnforcementState::Partial);
}

#[test]
fn partition_of_simulated_qnx_pays_and_says_what_it_keeps_apart() {
    let partition = QnxMemoryPartitionBuilder::new()
        .with_name("wasm_runtime")
        .with_memory_size(MB, 2 * MB, 0)
        .build()
        .unwrap();
    let threads = ThreadPoolConfig { system: Some(simulated_qnx()), ..Default::default() };
    let runtime = RuntimeBuilder::new()
        .with_partition(partition)
        .with_threads(quick(threads, ThreadingLimits::default()))
        .build(growing())
        .unwrap();
    tenant(&runtime.thread_manager);
    let grow = |pages| {
        let task = WasmTask { function_id: 1, args: vec![Value::I32(pages)], ..Default::default() };
        runtime.thread_manager.spawn(1, task).unwrap().join().unwrap().result.unwrap()
    };
    assert_eq!(grow(15), [Value::I32(1)]);
    assert_eq!(runtime.partition.report().unwrap().peak_bytes, 16 * 65536);
    assert_eq!(grow(40), [Value::I32(-1)]); // 2 MiB
    let (kept, report) = (runtime.partition.report().unwrap(), runtime.report().unwrap());
    assert_eq!(report.isolation, kept.isolation);
    assert_eq!(report.memory_limit, kept.maximum);
}

#[test]
fn parts_that_were_set_up_one_by_one_make_a_runtime() {
    let partition = MemoryAccountBuilder::new().with_maximum(64 * MB).build().unwrap();
    let watchdog = SoftwareWatchdog::new(WatchdogConfig::default().with_auto_kill(true)).unwrap();
    watchdog.start().unwrap();
    let limits = ThreadingLimits { max_total_threads: 64, ..Default::default() };
    let thread_manager =
        WasmThreadManager::new(ThreadPoolConfig::default(), limits, spinning()).unwrap();
    tenant(&thread_manager);
    let runtime = WasmRuntime { partition, thread_manager, watchdog };
    let _spinning = runtime.thread_manager.spawn(1, WasmTask::default().with_function_id(1));
    let protections = runtime.report().unwrap().protections();
    let states: Vec<_> = protections.iter().map(|(name, held)| (*name, held.state)).collect();
    let off = EnforcementState::NotAsked;
    let expected = [
        ("isolation", off),
        ("memory_limit", EnforcementState::Partial),
        ("module_memory_limit", off),
        ("thread_limit", EnforcementState::Enforced),
        ("lifetime", off),
        ("cpu_quota", off),
        ("hang_detection", EnforcementState::Enforced),
        ("hang_kill", EnforcementState::Partial),
    ];
    assert_eq!(states, expected);
    assert_eq!(runtime.shutdown(Some(10 * MS)).unwrap_err().kind, ErrorKind::TimedOut);
    assert!(runtime.report().unwrap().watchdog.is_running); // while a thread is left
    runtime.cancel(Some(PATIENCE)).unwrap();
    assert!(!runtime.report().unwrap().watchdog.is_running);
}

#[test]
fn what_fails_halfway_is_refused_and_can_be_set_right() {
    let none = ThreadManagerConfig::default().with_module_capacity(0);
    let refused = RuntimeBuilder::new().with_threads(none).build(spinning());
    assert_eq!(refused.err().unwrap().kind, ErrorKind::InvalidArgument);
    let runtime = RuntimeBuilder::new().build(spinning()).unwrap();
    runtime.cancel(Some(PATIENCE)).unwrap();
}
