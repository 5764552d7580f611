//! The code blocks of qnx_features.rst, each as a function, on the simulated kernel:
//! `cargo run --example qnx_features`. What is written in another way than there is listed, with
//! the reason, in docs/documents_qnx.rst.

use std::{error::Error, time::Duration};

use wrt_platform::qnx_threading::QnxThreadPool;
use wrt_platform::threading::{
    Executor, InstanceExecutorBuilder, ModuleExecutorBuilder, System, ThreadPoolConfig,
};
use wrt_platform::{
    CpuSet, ErrorKind, FutexLike, Instance, Module, PageAllocator, QnxAllocatorBuilder,
    QnxArenaAllocatorBuilder, QnxFutexBuilder, QnxIsolation, QnxMemoryPartition,
    QnxMemoryPartitionBuilder, QnxPartitionFlags, QnxProtFlags, QnxSyncPriority,
    QnxThreadSystemBuilder, ThreadPriority, ThreadSystem, Value, WasmRuntime,
};

#[path = "qnx_documents/guest.rs"]
mod guest;

use guest::{execute_wasm_module, module};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const MB: usize = 1 << 20;

fn qnx_memory_allocation_with_mmap() -> Result<()> {
    let allocator = QnxAllocatorBuilder::new()
        .with_guard_pages(true)
        .with_data_protection(QnxProtFlags::ReadWrite)
        .build()?;
    let mut pages = allocator.allocate(64, Some(256))?;
    pages.memory_mut()[0] = 1;
    assert_eq!((pages.size(), pages.maximum_pages()), (64 << 16, 256));
    Ok(())
}

fn qnx_memory_partitions() -> Result<()> {
    let partition = QnxMemoryPartitionBuilder::new()
        .with_name("wasm_sandbox")
        .with_flags(QnxPartitionFlags::MemoryIsolation)
        .with_isolation(QnxIsolation::Address)
        .with_memory_size(32 * 1024 * 1024, 64 * 1024 * 1024, 8 * 1024 * 1024)
        .build()?;
    let answer = partition.with_partition(|| {
        // WASM execution happens here with memory limits enforced
        execute_wasm_module()
    })?;
    assert_eq!(answer, [Value::I32(42)]);
    assert!(partition.report()?.peak_bytes >= 1 << 16);
    Ok(())
}

fn qnx_real_time_thread_execution() -> Result<()> {
    let instance = Instance::builder().with_module(module()).build()?;
    let executor =
        InstanceExecutorBuilder::new().with_functions(instance, &[(100, "answer")]).build()?;
    let config = ThreadPoolConfig {
        max_threads: 16,
        priority_range: (ThreadPriority::Low, ThreadPriority::Realtime),
        cpu_affinity: Some(CpuSet::from_mask(0xF)), // CPUs 0-3
        stack_size: 2 * 1024 * 1024,
        executor: Some(executor),
        ..Default::default()
    };
    let pool = QnxThreadPool::new(config)?;
    let task = wrt_platform::threading::WasmTask {
        id: 1,
        function_id: 100,
        args: vec![],
        priority: ThreadPriority::High,
        cpu_affinity: Some(CpuSet::from_mask(0x1)), // Pin to CPU 0
        ..Default::default()
    };
    let handle = pool.spawn_wasm_thread(task)?;
    assert_eq!(handle.join()?.result?, [Value::I32(42)]);
    Ok(())
}

fn qnx_futex_implementation() -> Result<()> {
    let futex = QnxFutexBuilder::new().with_priority(QnxSyncPriority::High).build()?;
    let (expected_value, timeout) = (0, Duration::from_millis(20));
    let waited = futex.wait(expected_value, Some(timeout));
    assert_eq!(waited.unwrap_err().kind, ErrorKind::TimedOut);
    assert_eq!(futex.wake_one()?, 0); // nobody waits any more
    Ok(())
}

fn software_watchdog_for_hang_detection() -> Result<()> {
    use wrt_platform::watchdog::{SoftwareWatchdog, WatchdogConfig};
    let watchdog = SoftwareWatchdog::new(WatchdogConfig {
        default_timeout: Duration::from_secs(60),
        check_interval: Duration::from_millis(100),
        auto_kill: false,
        ..Default::default()
    })?;
    watchdog.start()?;
    let handle = watchdog.watch_wasm_execution("critical_module", Duration::from_secs(30))?;
    for _ in 0..3 {
        handle.heartbeat()?;
        // Do work...
    }
    assert!(!handle.report()?.is_hung);
    Ok(())
}

fn thread_health_monitoring() -> Result<()> {
    use wrt_platform::safe_threading::{
        ThreadHealth, ThreadingLimits, WasmModuleInfo, WasmThreadManager,
    };
    let limits =
        ThreadingLimits { cpu_quota_per_thread: Duration::from_millis(50), ..Default::default() };
    let allocator = QnxAllocatorBuilder::new().build()?;
    let config = ThreadPoolConfig { system: Some(system_of_qnx()?), ..Default::default() }
        .with_page_allocator(Box::new(allocator));
    let thread_manager = WasmThreadManager::new(config, limits, executor()?)?;
    thread_manager.register_module(WasmModuleInfo { id: 1, ..Default::default() })?;
    let task = wrt_platform::threading::WasmTask::default().with_id(7).with_function_id(SPIN);
    let thread = thread_manager.spawn(1, task)?;

    let mut complaints = Vec::new();
    while complaints.is_empty() {
        std::thread::sleep(Duration::from_millis(10));
        let health_results = thread_manager.health_check()?;
        for (thread_id, health) in health_results {
            match health {
                ThreadHealth::Healthy => continue,
                ThreadHealth::CpuQuotaExceeded => {
                    complaints.push(format!("Thread {thread_id} using too much CPU"));
                }
                ThreadHealth::LifetimeExceeded => {
                    complaints.push(format!("Thread {thread_id} exceeded lifetime"));
                }
                ThreadHealth::Unresponsive => {
                    complaints.push(format!("Thread {thread_id} not responding"));
                }
                _ => {}
            }
        }
    }
    assert_eq!(complaints, ["Thread 7 using too much CPU"]);
    let killed_count = thread_manager.kill_unhealthy_threads()?;
    assert_eq!(killed_count, 1);
    thread.join()?.result.unwrap_err();
    assert_eq!(thread.killed_for(), ThreadHealth::CpuQuotaExceeded);
    Ok(())
}

fn qnx_arena_allocation() -> Result<()> {
    let allocator = QnxArenaAllocatorBuilder::new()
        .with_arena_size(64 * 1024) // 64KB arenas
        .with_memory_hold(true) // Keep memory for reuse
        .build()?;
    let (pages, max_pages) = (2, Some(4));
    let memory = allocator.allocate(pages, max_pages)?;
    assert_eq!((memory.page_count(), memory.maximum_pages()), (2, 4));
    let block = allocator.allocate_block(1000, 0)?; // from the arenas; pages are mapped
    assert_eq!(allocator.report()?.arena_size, 64 * 1024);
    block.release()?;
    Ok(())
}

fn production_qnx_configuration() -> Result<()> {
    let runtime = setup_qnx_wasm_runtime()?;
    let call = |function_id, args| -> Result<Vec<Value>> {
        let task = wrt_platform::threading::WasmTask { function_id, args, ..Default::default() };
        Ok(runtime.thread_manager.spawn(1, task)?.join()?.result?)
    };
    assert_eq!(call(ANSWER, vec![])?, [Value::I32(42)]);
    assert_eq!(call(GROW, vec![Value::I32(127)])?, [Value::I32(1)]);
    assert_eq!(call(GROW, vec![Value::I32(128)])?, [Value::I32(-1)]); // 8 MB a thread
    assert_eq!(runtime.partition.report()?.peak_bytes, 8 << 20);
    Ok(())
}

fn setup_qnx_wasm_runtime() -> Result<WasmRuntime<QnxMemoryPartition>> {
    use wrt_platform::safe_threading::*;
    use wrt_platform::watchdog::*;
    // 1. Create memory partition
    let partition = QnxMemoryPartitionBuilder::new()
        .with_name("wasm_runtime")
        .with_flags(QnxPartitionFlags::MemoryIsolation)
        .with_isolation(QnxIsolation::Address)
        .with_memory_size(128 << 20, 256 << 20, 32 << 20)
        .build()?;
    let allocator = partition.with_partition(|| QnxAllocatorBuilder::new().build())?;

    // 2. Configure thread pool
    let thread_config = ThreadPoolConfig {
        max_threads: 32,
        priority_range: (ThreadPriority::Low, ThreadPriority::High),
        memory_limit_per_thread: Some(8 * MB),
        stack_size: 2 * MB,
        name_prefix: "wasm-worker",
        page_allocator: Some(Box::new(allocator)),
        system: Some(system_of_qnx()?),
        ..Default::default()
    };

    // 3. Set up watchdog
    let watchdog = SoftwareWatchdog::new(WatchdogConfig {
        default_timeout: Duration::from_secs(120),
        check_interval: Duration::from_millis(100),
        ..Default::default()
    })?;
    watchdog.start()?;

    // 4. Create thread manager with limits
    let limits = ThreadingLimits {
        max_threads_per_module: 16,
        max_total_threads: 64,
        max_thread_lifetime: Duration::from_secs(300),
        cpu_quota_per_thread: Duration::from_secs(60),
        memory_limit_per_module: 64 * MB,
    };
    let thread_manager = WasmThreadManager::new(thread_config, limits, executor()?)?;

    // 5. Register module with safety constraints
    thread_manager.register_module(WasmModuleInfo {
        id: 1,
        name: "critical_module".to_string(),
        max_threads: 8,
        memory_limit: 32 * MB,
        cpu_quota: Duration::from_secs(30),
        default_priority: ThreadPriority::Normal,
    })?;

    Ok(WasmRuntime { partition, thread_manager, watchdog })
}

const ANSWER: u32 = 1;
const GROW: u32 = 2;
const SPIN: u32 = 3;

/// Finds the functions that tasks name.
fn executor() -> Result<Executor> {
    let module: &'static Module<'static> = module();
    let exports = [(ANSWER, "answer"), (GROW, "grow"), (SPIN, "spin")];
    Ok(ModuleExecutorBuilder::new().with_exports(module, &exports).with_slots(4).build()?)
}

fn system_of_qnx() -> Result<System> {
    let threads = Box::leak(Box::new(QnxThreadSystemBuilder::new().build()?));
    // SAFETY: it is there for ever.
    Ok(unsafe { System::new(threads.interface()) })
}

fn main() -> Result<()> {
    qnx_memory_allocation_with_mmap()?;
    println!("qnx_memory_allocation_with_mmap");
    qnx_memory_partitions()?;
    println!("qnx_memory_partitions");
    qnx_real_time_thread_execution()?;
    println!("qnx_real_time_thread_execution");
    qnx_futex_implementation()?;
    println!("qnx_futex_implementation");
    software_watchdog_for_hang_detection()?;
    println!("software_watchdog_for_hang_detection");
    thread_health_monitoring()?;
    println!("thread_health_monitoring");
    qnx_arena_allocation()?;
    println!("qnx_arena_allocation");
    production_qnx_configuration()?;
    println!("production_qnx_configuration");
    Ok(())
}
