//! Threads of a module within limits, with a watchdog, on Linux and on QNX (simulated here):
//! `cargo run --example runtime [linux|qnx]`. examples/c/runtime.c and examples/python/runtime.py
//! say the same.

use std::{env, error::Error, time::Duration};

use wrt_platform::runtime::{Partition, RuntimeBuilder, WasmRuntime};
use wrt_platform::safe_threading::{
    ManagedThread, ThreadHealth, ThreadManagerConfig, ThreadingLimits, WasmModuleInfo,
};
use wrt_platform::threading::{
    Executor, ModuleExecutorBuilder, System, ThreadPoolConfig, WasmTask,
};
use wrt_platform::watchdog::WatchdogConfig;
use wrt_platform::{
    Enforcement, EnforcementState, LinuxAllocatorBuilder, MemoryAccountBuilder, Module,
    QnxIsolation, QnxMemoryPartitionBuilder, QnxPartitionFlags, QnxThreadSystemBuilder,
    ThreadSystem, Value,
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const MB: u64 = 1 << 20;
const MAXIMUM: u64 = 4 * MB; // of all memory of the module's threads together
const PATIENCE: Duration = Duration::from_secs(10);

// The numbers by which tasks name functions.
const SUM: u32 = 1;
const GROW: u32 = 2;
const SPIN: u32 = 3;

// (module
//   (memory 1 1000)
//   (func (export "sum") (param $to i32) (result i32) (local $sum i32)
//     (loop $again
//       (local.set $sum (i32.add (local.get $sum) (local.get $to)))
//       (br_if $again (local.tee $to (i32.sub (local.get $to) (i32.const 1)))))
//     (local.get $sum))
//   (func (export "grow") (param $pages i32) (result i32)
//     (memory.grow (local.get $pages)))
//   (func (export "spin")
//     (loop $again (br $again))))
const GUEST: &[u8] = &[
    0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00, 0x01, 0x09, 0x02, 0x60, 0x01, 0x7f, 0x01, 0x7f,
    0x60, 0x00, 0x00, 0x03, 0x04, 0x03, 0x00, 0x00, 0x01, 0x05, 0x05, 0x01, 0x01, 0x01, 0xe8, 0x07,
    0x07, 0x15, 0x03, 0x03, 0x73, 0x75, 0x6d, 0x00, 0x00, 0x04, 0x67, 0x72, 0x6f, 0x77, 0x00, 0x01,
    0x04, 0x73, 0x70, 0x69, 0x6e, 0x00, 0x02, 0x0a, 0x2a, 0x03, 0x19, 0x01, 0x01, 0x7f, 0x03, 0x40,
    0x20, 0x01, 0x20, 0x00, 0x6a, 0x21, 0x01, 0x20, 0x00, 0x41, 0x01, 0x6b, 0x22, 0x00, 0x0d, 0x00,
    0x0b, 0x20, 0x01, 0x0b, 0x06, 0x00, 0x20, 0x00, 0x40, 0x00, 0x0b, 0x07, 0x00, 0x03, 0x40, 0x0c,
    0x00, 0x0b, 0x0b, 0x00, 0x31, 0x04, 0x6e, 0x61, 0x6d, 0x65, 0x02, 0x15, 0x02, 0x00, 0x02, 0x00,
    0x02, 0x74, 0x6f, 0x01, 0x03, 0x73, 0x75, 0x6d, 0x01, 0x01, 0x00, 0x05, 0x70, 0x61, 0x67, 0x65,
    0x73, 0x03, 0x13, 0x02, 0x00, 0x01, 0x00, 0x05, 0x61, 0x67, 0x61, 0x69, 0x6e, 0x02, 0x01, 0x00,
    0x05, 0x61, 0x67, 0x61, 0x69, 0x6e,
];

fn executor() -> Result<Executor> {
    let module: &'static Module<'static> = Box::leak(Box::new(Module::new(GUEST)?));
    let exports = [(SUM, "sum"), (GROW, "grow"), (SPIN, "spin")];
    Ok(ModuleExecutorBuilder::new().with_exports(module, &exports).with_slots(2).build()?)
}

/// What is the same on both systems.
fn threads(pool: ThreadPoolConfig) -> ThreadManagerConfig {
    let limits = ThreadingLimits {
        cpu_quota_per_thread: Duration::from_millis(100),
        max_total_threads: 8,
        ..Default::default()
    };
    let threads = pool.with_max_threads(2).with_name_prefix("wasm-worker");
    ThreadManagerConfig { threads, limits, ..Default::default() }
        .with_check_interval(Duration::from_millis(20))
}

fn watchdog() -> WatchdogConfig {
    WatchdogConfig {
        default_timeout: Duration::from_secs(5),
        auto_kill: true,
        ..Default::default()
    }
}

fn spawn<P>(runtime: &WasmRuntime<P>, function_id: u32, args: Vec<Value>) -> Result<ManagedThread> {
    let task = WasmTask { function_id, args, ..Default::default() };
    Ok(runtime.thread_manager.spawn(1, task)?)
}

fn call<P>(runtime: &WasmRuntime<P>, function: u32, argument: i32) -> Result<i32> {
    let thread = spawn(runtime, function, vec![Value::I32(argument)])?;
    match thread.join_timeout(PATIENCE)?.result?[..] {
        [Value::I32(result)] => Ok(result),
        _ => Err("it returned something else than a number".into()),
    }
}

/// What the module may do, and what it may not.
fn show<P: Partition>(name: &str, runtime: &WasmRuntime<P>) -> Result<()> {
    let info = WasmModuleInfo { id: 1, name: "critical_module".into(), ..Default::default() };
    runtime.thread_manager.register_module(info)?;
    println!("{name}: the sum of 1 to 1000 is {}", call(runtime, SUM, 1000)?);
    let granted = if call(runtime, GROW, 15)? == 1 { "granted" } else { "no" };
    let refused = if call(runtime, GROW, 500)? == -1 { "refused" } else { "no" };
    println!("{name}: 15 pages more: {granted}, 500: {refused}");
    let thread = spawn(runtime, SPIN, vec![])?;
    thread.join_timeout(PATIENCE)?;
    let reason = match thread.killed_for() {
        ThreadHealth::CpuQuotaExceeded => "its CPU time",
        _ => "nothing",
    };
    println!("{name}: a loop without end is stopped for {reason}");
    println!("{name}: the sum of 1 to 1000 is {}", call(runtime, SUM, 1000)?);
    Ok(())
}

fn print_use(name: &str, peak: u64, isolation: &Enforcement) {
    let state = match isolation.state {
        EnforcementState::NotAsked => "not asked",
        EnforcementState::Enforced => "enforced",
        EnforcementState::Partial => "partial",
        _ => "absent",
    };
    println!("{name}: {peak} bytes of {MAXIMUM} were used; isolation: {state}");
}

/// Memory is counted by an account.
fn on_linux() -> Result<()> {
    let account = MemoryAccountBuilder::new().with_maximum(MAXIMUM).build()?;
    let allocator = LinuxAllocatorBuilder::new().with_guard_pages(true).build()?;
    let pool = ThreadPoolConfig::default().with_page_allocator(Box::new(allocator));
    let runtime = RuntimeBuilder::new()
        .with_threads(threads(pool))
        .with_watchdog(watchdog())
        .with_account(&account)
        .build(executor()?)?;
    show("linux", &runtime)?;
    print_use("linux", account.usage()?.peak, &runtime.report()?.isolation);
    runtime.shutdown(Some(PATIENCE))?;
    Ok(())
}

/// Memory comes from a partition.
fn on_qnx() -> Result<()> {
    let partition = QnxMemoryPartitionBuilder::new()
        .with_name("wasm_runtime")
        .with_flags(QnxPartitionFlags::MemoryIsolation)
        .with_isolation(QnxIsolation::Address)
        .with_memory_size(MB, MAXIMUM, 0)
        .build()?;
    let system = Box::leak(Box::new(QnxThreadSystemBuilder::new().build()?));
    // SAFETY: it is there for ever.
    let system = unsafe { System::new(system.interface()) };
    let runtime = RuntimeBuilder::new()
        .with_threads(threads(ThreadPoolConfig::default().with_system(system)))
        .with_watchdog(watchdog())
        .with_partition(partition)
        .build(executor()?)?;
    show("qnx", &runtime)?;
    print_use("qnx", runtime.partition.report()?.peak_bytes, &runtime.report()?.isolation);
    runtime.shutdown(Some(PATIENCE))?;
    Ok(())
}

fn main() -> Result<()> {
    let wanted = env::args().nth(1);
    if wanted.as_deref().is_none_or(|name| name == "linux") {
        on_linux()?;
    }
    if wanted.as_deref().is_none_or(|name| name == "qnx") {
        on_qnx()?;
    }
    Ok(())
}
