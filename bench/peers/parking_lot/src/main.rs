//! Times a lock that nobody else wants: `parking_lot`'s, as bench/sync.c times ours.

use std::hint::black_box;
use std::time::Instant;

use parking_lot::RawMutex;
use parking_lot::lock_api::RawMutex as _;

const ROUNDS: u32 = 25;
const OPERATIONS: u32 = 100_000;

fn main() {
    let mutex = RawMutex::INIT;
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for _ in 0..OPERATIONS {
            let mutex = black_box(&mutex);
            mutex.lock();
            // SAFETY: it is held, by this thread.
            unsafe { mutex.unlock() };
        }
        best = best.min(start.elapsed().as_nanos() as f64 / f64::from(OPERATIONS));
    }
    println!("parking_lot {best:.3}");
}
