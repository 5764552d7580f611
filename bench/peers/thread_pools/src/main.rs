//! Times rayon and the threadpool crate as bench/thread_pools.c times our pool; one worker each.

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

static SUM: AtomicU32 = AtomicU32::new(0);
static GATE: Mutex<()> = Mutex::new(());
static IS_HELD: AtomicBool = AtomicBool::new(false);

fn work() {
    SUM.store(SUM.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
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

fn report(name: &str, round: impl Fn() -> Duration) {
    let best = (0..ROUNDS).map(|_| round()).min().unwrap();
    println!("{name} {:.1}", best.as_nanos() as f64 / f64::from(TASKS));
}

fn main() {
    let rayon = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    report("rayon_spawn", || {
        timed(|| {
            rayon.in_place_scope(|scope| (0..TASKS).for_each(|_| scope.spawn(|_| work())));
        })
    });
    report("rayon_held", || {
        rayon.in_place_scope(|scope| {
            held(|| scope.spawn(|_| hold()), || (0..TASKS).for_each(|_| scope.spawn(|_| work())))
        })
    });
    report("rayon_install", || {
        timed(|| (0..TASKS).for_each(|_| rayon.install(|| black_box(work()))))
    });
    let pool = threadpool::ThreadPool::new(1);
    report("threadpool", || {
        timed(|| {
            (0..TASKS).for_each(|_| pool.execute(work));
            pool.join();
        })
    });
    report("threadpool_held", || {
        let taken = held(|| pool.execute(hold), || (0..TASKS).for_each(|_| pool.execute(work)));
        pool.join();
        taken
    });
}
