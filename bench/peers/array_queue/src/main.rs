//! Times crossbeam's ArrayQueue as bench/lockfree.c times our structures.

use std::{hint::black_box, time::Instant};

use crossbeam::queue::ArrayQueue;

const CAPACITY: usize = 1024;
const OPERATIONS: u64 = 100_000;
const ROUNDS: u32 = 20;

fn report(name: &str, work: impl Fn()) {
    let taken = (0..ROUNDS).map(|_| {
        let start = Instant::now();
        work();
        start.elapsed().as_nanos()
    });
    println!("{name} {:.3}", taken.min().unwrap() as f64 / OPERATIONS as f64);
}

fn one_by_one(queue: &ArrayQueue<u64>) {
    for number in 0..OPERATIONS {
        queue.push(black_box(number)).unwrap();
        assert!(black_box(queue.pop()).is_some());
    }
}

fn empty(queue: &ArrayQueue<u64>) {
    for _ in 0..OPERATIONS {
        assert!(black_box(queue.pop()).is_none());
    }
}

fn main() {
    let queue = ArrayQueue::new(CAPACITY);
    report("one", || one_by_one(&queue));
    report("empty", || empty(&queue));
}
