//! Times rayon and the threadpool crate as bench/thread_pools.c times our pool; one worker each.

use std::{
    hint::black_box,
    sync::atomic::{AtomicU32, Ordering},
    time::Instant,
};

const TASKS: u32 = 1000;
const ROUNDS: u32 = 100;

static SUM: AtomicU32 = AtomicU32::new(0);

fn work() {
    SUM.store(SUM.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

fn report(name: &str, measured: impl Fn()) {
    let taken = (0..ROUNDS).map(|_| {
        let start = Instant::now();
        measured();
        start.elapsed().as_nanos()
    });
    println!("{name} {:.1}", taken.min().unwrap() as f64 / f64::from(TASKS));
}

fn main() {
    let rayon = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    report("rayon_spawn", || {
        rayon.in_place_scope(|scope| {
            for _ in 0..TASKS {
                scope.spawn(|_| work());
            }
        });
    });
    report("rayon_install", || {
        for _ in 0..TASKS {
            rayon.install(|| black_box(work()));
        }
    });
    let pool = threadpool::ThreadPool::new(1);
    report("threadpool", || {
        for _ in 0..TASKS {
            pool.execute(work);
        }
        pool.join();
    });
}
