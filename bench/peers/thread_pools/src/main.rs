//! Times rayon and the threadpool crate as bench/thread_pools.c times our pool; one worker each.
//! Their queues are not bounded: the stream is handed over at once. A task carries a pointer to what
//! it works on, as ours and libuv's do; one that carries nothing would be spared its memory.

use std::{
    hint::{black_box, spin_loop},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

const TASKS: u32 = 500;
const ROUNDS: u32 = 200;
const STREAM_TASKS: u32 = 50_000;
const STREAM_ROUNDS: u32 = 15;

static SUM: AtomicU32 = AtomicU32::new(0);
static GATE: Mutex<()> = Mutex::new(());
static IS_HELD: AtomicBool = AtomicBool::new(false);

fn work(sum: &AtomicU32) {
    sum.store(sum.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

/// What holds the only worker until the gate is open.
fn hold() {
    IS_HELD.store(true, Ordering::Release);
    drop(GATE.lock());
}

fn timed(measured: impl FnOnce()) -> Duration {
    let start = Instant::now();
    measured();
    start.elapsed()
}

/// The time that `produce` takes while the worker, which `begin` has given `hold`, waits.
fn held(begin: impl FnOnce(), produce: impl FnOnce()) -> Duration {
    let gate = GATE.lock();
    IS_HELD.store(false, Ordering::Release);
    begin();
    while !IS_HELD.load(Ordering::Acquire) {
        spin_loop();
    }
    let taken = timed(produce);
    drop(gate);
    taken
}

fn nanoseconds(tasks: u32, rounds: u32, round: impl Fn() -> Duration) -> Vec<f64> {
    let mut times: Vec<f64> = (0..rounds)
        .map(|_| round().as_nanos() as f64 / f64::from(tasks))
        .collect();
    times.sort_by(f64::total_cmp);
    times
}

/// The median of some rounds of `tasks` tasks.
fn report(name: &str, tasks: u32, rounds: u32, round: impl Fn() -> Duration) {
    let times = nanoseconds(tasks, rounds, round);
    println!("{name} {:.1}", times[times.len() / 2]);
}

fn rayon(sum: &'static AtomicU32) {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .unwrap();
    let spawn_all = |tasks| {
        timed(|| {
            pool.in_place_scope(|scope| (0..tasks).for_each(|_| scope.spawn(|_| work(sum))));
        })
    };
    report("rayon_stream", STREAM_TASKS, STREAM_ROUNDS, || {
        spawn_all(STREAM_TASKS)
    });
    report("rayon_burst", TASKS, ROUNDS, || spawn_all(TASKS));
    report("rayon_held", TASKS, ROUNDS, || {
        pool.in_place_scope(|scope| {
            let produce = || (0..TASKS).for_each(|_| scope.spawn(|_| work(sum)));
            held(|| scope.spawn(|_| hold()), produce)
        })
    });
    let install_all = || timed(|| (0..TASKS).for_each(|_| pool.install(|| work(sum))));
    println!(
        "rayon_install {:.1}",
        nanoseconds(TASKS, ROUNDS, install_all)[0]
    );
}

fn threadpool(sum: &'static AtomicU32) {
    let pool = threadpool::ThreadPool::new(1);
    let execute_all = |tasks| (0..tasks).for_each(|_| pool.execute(move || work(sum)));
    let run_all = |tasks| {
        timed(|| {
            execute_all(tasks);
            pool.join();
        })
    };
    report("threadpool_stream", STREAM_TASKS, STREAM_ROUNDS, || {
        run_all(STREAM_TASKS)
    });
    report("threadpool_burst", TASKS, ROUNDS, || run_all(TASKS));
    report("threadpool_held", TASKS, ROUNDS, || {
        let taken = held(|| pool.execute(hold), || execute_all(TASKS));
        pool.join();
        taken
    });
}

fn main() {
    let sum: &'static AtomicU32 = black_box(&SUM);
    rayon(sum);
    threadpool(sum);
}
