//! Thread pools through the safe face; what C does is tested from Python.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use wrt_platform::threading::{
    CpuSet, Executor, InstanceExecutorBuilder, LinuxThreadPool, ModuleExecutorBuilder,
    QnxThreadPool, System, TaskBuilder, TaskState, ThreadPool, ThreadPoolConfig, ThreadPriority,
    WasmTask,
};
use wrt_platform::{
    ErrorKind, Instance, LinuxAllocatorBuilder, LinuxRealtimePolicy, LinuxThreadSystemBuilder,
    Module, Value,
};

const PATIENCE: Duration = Duration::from_secs(20);

fn module(text: &str) -> &'static Module<'static> {
    let bytes: &'static [u8] = Box::leak(wat::parse_str(text).unwrap().into_boxed_slice());
    Box::leak(Box::new(Module::new(bytes).unwrap()))
}

fn guest() -> Executor {
    let module = module(
        r#"(module
          (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
          (func (export "half") (param f64) (result f64) (f64.div (local.get 0) (f64.const 2)))
          (func (export "trap") unreachable)
          (func (export "spin") (loop (br 0))))"#,
    );
    let instance = Instance::builder().with_module(module).build().unwrap();
    let functions = [(100, "add"), (101, "half"), (102, "trap"), (103, "spin")];
    InstanceExecutorBuilder::new().with_functions(instance, &functions).build().unwrap()
}

fn call(function_id: u32, args: &[Value]) -> WasmTask {
    WasmTask { function_id, args: args.to_vec(), ..Default::default() }
}

fn pool(threads: u32) -> ThreadPool {
    LinuxThreadPool::new(ThreadPoolConfig { max_threads: threads, ..Default::default() }).unwrap()
}

fn with_guest(threads: u32) -> ThreadPool {
    let config = ThreadPoolConfig::default().with_max_threads(threads).with_executor(guest());
    LinuxThreadPool::new(config).unwrap()
}

#[test]
fn closures_return_what_they_return() {
    let pool = pool(2);
    let tasks: Vec<_> = (0..50u64)
        .map(|number| pool.submit(move || format!("{}", number * number)).unwrap())
        .collect();
    for (number, task) in tasks.into_iter().enumerate() {
        assert_eq!(task.join().unwrap(), format!("{}", number * number));
    }
    pool.shutdown(Some(PATIENCE)).unwrap();
    assert_eq!(pool.report().unwrap().finished, 50);
    assert_eq!(pool.submit(|| ()).err().unwrap().kind, ErrorKind::State);
}

#[test]
fn panic_goes_on_in_whoever_joins_and_the_worker_lives() {
    let pool = pool(1);
    let bad = pool.submit(|| -> u32 { panic!("not today") }).unwrap();
    let payload = catch_unwind(AssertUnwindSafe(|| bad.join())).unwrap_err();
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"not today"));
    assert_eq!(pool.submit(|| 1).unwrap().join().unwrap(), 1);
}

#[test]
fn handle_that_is_dropped_lets_its_closure_run() {
    struct Noted(Arc<AtomicU32>);
    impl Drop for Noted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let (ran, dropped) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let pool = pool(2);
    for _ in 0..100 {
        let (ran, noted) = (ran.clone(), Noted(dropped.clone()));
        drop(pool.submit(move || {
            ran.fetch_add(1, Ordering::SeqCst);
            noted
        }));
    }
    pool.shutdown(Some(PATIENCE)).unwrap();
    assert_eq!(ran.load(Ordering::SeqCst), 100);
    drop(pool);
    assert_eq!(dropped.load(Ordering::SeqCst), 100);
}

#[test]
fn full_queue_is_busy_and_priorities_go_first() {
    let config = ThreadPoolConfig { max_threads: 1, queue_capacity: 2, ..Default::default() };
    let pool = ThreadPool::new(config).unwrap();
    let (open, gate) = mpsc::channel::<()>();
    let (entered, inside) = mpsc::channel::<()>();
    let (seen, order) = mpsc::channel();
    let held = pool
        .submit(move || {
            entered.send(()).unwrap();
            gate.recv_timeout(PATIENCE).unwrap();
        })
        .unwrap();
    inside.recv_timeout(PATIENCE).unwrap();
    let note = |number: u32, priority| {
        let seen = seen.clone();
        TaskBuilder::new(move |_| seen.send(number).unwrap()).with_priority(priority).submit(&pool)
    };
    let low = note(1, ThreadPriority::Low).unwrap();
    let high = note(2, ThreadPriority::High).unwrap();
    let second = note(3, ThreadPriority::High).unwrap();
    assert_eq!(note(4, ThreadPriority::High).err().unwrap().kind, ErrorKind::Busy);
    let realtime = note(5, ThreadPriority::Realtime).err().unwrap();
    assert_eq!(realtime.kind, ErrorKind::InvalidArgument);
    open.send(()).unwrap();
    for task in [held, low, high, second] {
        task.join().unwrap();
    }
    assert_eq!(order.try_iter().collect::<Vec<_>>(), [2, 3, 1]);
}

#[test]
fn closure_is_told_to_end_and_a_queued_one_does_not_begin() {
    let pool = pool(1);
    let (entered, inside) = mpsc::channel::<()>();
    let running = TaskBuilder::new(move |cancel| {
        entered.send(()).unwrap();
        while !cancel.is_cancelled() {
            thread::yield_now();
        }
        7
    });
    let running = running.submit(&pool).unwrap();
    inside.recv_timeout(PATIENCE).unwrap();
    let began = Arc::new(AtomicBool::new(false));
    let note = began.clone();
    let queued = pool.submit(move || note.store(true, Ordering::SeqCst)).unwrap();
    queued.cancel().unwrap();
    let running = running.join_timeout(Duration::ZERO).expect_err("it runs on");
    assert_eq!(running.report().unwrap().state, TaskState::Running);
    running.cancel().unwrap();
    assert_eq!(running.join().unwrap(), 7);
    assert_eq!(queued.join().unwrap_err().kind, ErrorKind::Interrupted);
    assert!(!began.load(Ordering::SeqCst));
}

#[test]
fn guests_return_trap_and_are_cancelled() {
    let pool = with_guest(2);
    let sum = pool.spawn_wasm_thread(call(100, &[Value::I32(2), Value::I32(3)])).unwrap();
    let half = pool.spawn_wasm_thread(call(101, &[Value::F64(5.0)]).with_id(9)).unwrap();
    assert_eq!(sum.join().unwrap().result.unwrap(), [Value::I32(5)]);
    let half = half.join().unwrap();
    assert_eq!((half.id, half.result.unwrap()), (9, vec![Value::F64(2.5)]));

    let trapped = pool.spawn_wasm_thread(call(102, &[])).unwrap().join().unwrap();
    assert_eq!(trapped.result.unwrap_err().kind, ErrorKind::Trap);
    assert_eq!(trapped.place.map(|(function, _)| function), Some(2));

    let spinning = pool.spawn_wasm_thread(call(103, &[])).unwrap();
    spinning.cancel().unwrap();
    assert_eq!(spinning.join().unwrap().result.unwrap_err().kind, ErrorKind::Interrupted);
    let late = call(103, &[]).with_timeout(Duration::from_millis(30));
    let late = pool.spawn_wasm_thread(late).unwrap().join().unwrap();
    assert_eq!(late.result.unwrap_err().kind, ErrorKind::TimedOut);
    let starved = pool.spawn_wasm_thread(call(103, &[]).with_fuel(1000)).unwrap().join().unwrap();
    assert_eq!(starved.result.unwrap_err().kind, ErrorKind::OutOfFuel);
    assert_eq!(starved.fuel_used, 1000);
}

#[test]
fn task_for_what_is_not_there_is_refused_at_spawn() {
    let pool = with_guest(1);
    let kind = |task| pool.spawn_wasm_thread(task).err().unwrap().kind;
    assert_eq!(kind(call(99, &[])), ErrorKind::NotFound);
    assert_eq!(kind(call(100, &[Value::I32(1)])), ErrorKind::InvalidArgument);
    assert_eq!(kind(call(101, &[Value::I32(1)])), ErrorKind::InvalidArgument);
    let bare = LinuxThreadPool::new(ThreadPoolConfig::default()).unwrap();
    assert_eq!(bare.spawn_wasm_thread(call(1, &[])).err().unwrap().kind, ErrorKind::State);
}

#[test]
fn memory_limit_of_a_thread_binds_instances_that_are_made_on_it() {
    let module = module(
        r#"(module (memory 1 100)
          (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))"#,
    );
    let executor =
        ModuleExecutorBuilder::new().with_exports(module, &[(1, "grow")]).with_slots(2).build();
    let allocator = LinuxAllocatorBuilder::new().with_maximum_pages(128).build().unwrap();
    let pool = ThreadPool::new(ThreadPoolConfig {
        max_threads: 1,
        memory_limit_per_thread: Some(4 * 65536),
        page_allocator: Some(Box::new(allocator)),
        executor: Some(executor.unwrap()),
        ..Default::default()
    })
    .unwrap();
    let grow = |pages| {
        let task = pool.spawn_wasm_thread(call(1, &[Value::I32(pages)])).unwrap();
        task.join().unwrap().result.unwrap()
    };
    assert_eq!(grow(3), [Value::I32(1)]);
    assert_eq!(grow(4), [Value::I32(-1)]);
    assert_eq!(pool.workers().unwrap()[0].memory_peak, 4 * 65536);
}

#[test]
fn workers_are_as_the_config_says_on_linux_and_on_simulated_qnx() {
    let config = || ThreadPoolConfig {
        max_threads: 2,
        name_prefix: "wasm-worker",
        cpu_affinity: Some(CpuSet::from_mask(1)),
        ..Default::default()
    };
    let (linux, qnx) =
        (LinuxThreadPool::new(config()).unwrap(), QnxThreadPool::new(config()).unwrap());
    for pool in [&linux, &*qnx] {
        let workers = pool.workers().unwrap();
        assert_eq!(workers[0].name, "wasm-worker-0");
        assert!(workers.iter().all(|worker| worker.cpus == CpuSet::from_mask(1)));
        assert_eq!(pool.submit(|| 3).unwrap().join().unwrap(), 3);
        pool.shutdown(Some(PATIENCE)).unwrap();
    }
}

#[test]
fn pool_that_is_dropped_waits_for_nothing() {
    let (finished, end) = mpsc::channel::<()>();
    let (entered, inside) = mpsc::channel::<()>();
    let (open, gate) = mpsc::channel::<()>();
    let pool = pool(1);
    drop(pool.submit(move || {
        entered.send(()).unwrap();
        gate.recv_timeout(PATIENCE).unwrap();
        finished.send(()).unwrap();
    }));
    inside.recv_timeout(PATIENCE).unwrap();
    drop(pool);
    open.send(()).unwrap();
    end.recv_timeout(PATIENCE).unwrap();
}

/// What the kernel says of a thread: its real-time priority and its policy.
fn scheduled(thread: u64) -> (u32, u32) {
    let text = std::fs::read_to_string(format!("/proc/self/task/{thread}/stat")).unwrap();
    let fields: Vec<u32> = text
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .map(|field| field.parse().unwrap_or(u32::MAX))
        .collect();
    (fields[37], fields[38])
}

#[test]
#[cfg(target_os = "linux")]
fn workers_run_by_the_policy_of_their_system_or_the_right_is_named() {
    for (policy, number, name) in [
        (LinuxRealtimePolicy::Fifo, 1, "SCHED_FIFO 6"),
        (LinuxRealtimePolicy::RoundRobin, 2, "SCHED_RR 6"),
    ] {
        let builder = LinuxThreadSystemBuilder::new().with_realtime_priority(6);
        let system = builder.with_realtime_policy(policy).build().unwrap();
        let config = ThreadPoolConfig {
            max_threads: 1,
            priority_range: (ThreadPriority::Realtime, ThreadPriority::Realtime),
            require_priority: true,
            system: Some(System::of(Box::leak(Box::new(system)))),
            ..Default::default()
        };
        match LinuxThreadPool::new(config) {
            Ok(pool) => {
                let worker = pool.workers().unwrap()[0].system_id;
                assert_eq!(scheduled(worker), (6, number));
            }
            Err(error) => {
                assert_eq!(error.kind, ErrorKind::Permission);
                assert!(error.to_string().contains(name), "{error}");
            }
        }
    }
}
