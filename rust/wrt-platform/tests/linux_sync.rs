//! Futexes and what is made of them on Linux: owners that end, priorities that are inherited,
//! memory shared between processes, and points in time.
#![cfg(target_os = "linux")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use wrt_platform::linux_sync::{
    LinuxCondition, LinuxFutexBuilder, LinuxLock, LinuxLockBuilder, LinuxMutex, LinuxSemaphore,
    wait_any,
};
use wrt_platform::{ErrorKind, FutexLike, Lock};

const LONG: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(20);

/// Runs `work` in a process of its own, and says what it ended with.
fn in_child(work: impl FnOnce() -> i32) -> i32 {
    // SAFETY: the child touches nothing but what is shared, and ends without unwinding.
    match unsafe { libc::fork() } {
        0 => {
            let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or(99);
            // SAFETY: no destructor of the parent's shall run here.
            unsafe { libc::_exit(code) }
        }
        child => {
            let mut status = 0;
            // SAFETY: the output is live.
            assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
            if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { -status }
        }
    }
}

/// A thread takes the lock, and ends with it.
fn abandon(lock: &LinuxLock) {
    thread::scope(|scope| {
        scope.spawn(|| std::mem::forget(lock.lock(None).unwrap()));
    });
}

#[test]
fn the_death_of_an_owner_reaches_the_next_who_repairs() {
    let lock = LinuxLockBuilder::new().with_robust(true).build().unwrap();
    abandon(&lock);
    let guard = lock.lock(Some(LONG)).unwrap();
    assert!(guard.owner_died());
    guard.recover().unwrap();
    drop(guard);
    let guard = lock.lock(Some(LONG)).unwrap();
    assert!(!guard.owner_died());
}

#[test]
fn a_lock_that_nobody_repairs_refuses_everybody() {
    let lock = LinuxLockBuilder::new().with_robust(true).build().unwrap();
    abandon(&lock);
    drop(lock.lock(Some(LONG)).unwrap());
    assert_eq!(lock.lock(Some(LONG)).err().unwrap().kind, ErrorKind::State);
}

#[test]
fn the_death_of_a_process_reaches_the_other() {
    let lock = LinuxLockBuilder::new().with_robust(true).with_shared(true).build().unwrap();
    let memory = lock.memory().unwrap();
    let code = in_child(|| {
        let builder = LinuxLockBuilder::new().with_robust(true).with_shared(true);
        // SAFETY: the memory is mapped in both, and outlives this process.
        let mine = unsafe { builder.with_memory(memory) }.build().unwrap();
        std::mem::forget(mine.lock(Some(LONG)).unwrap());
        7
    });
    assert_eq!(code, 7);
    let guard = lock.lock(Some(LONG)).unwrap();
    assert!(guard.owner_died());
    guard.recover().unwrap();
}

#[test]
fn a_word_is_shared_between_processes() {
    let futex = LinuxFutexBuilder::new().with_shared(true).build().unwrap();
    let memory = futex.memory().unwrap();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            while futex.load().unwrap() == 0 {
                futex.wait(0, Some(LONG)).unwrap();
            }
            futex.load().unwrap()
        });
        let code = in_child(|| {
            let builder = LinuxFutexBuilder::new().with_shared(true);
            // SAFETY: as above.
            let mine = unsafe { builder.with_memory(memory) }.build().unwrap();
            mine.store(42).unwrap();
            mine.wake_all().map_or(1, |_| 0)
        });
        assert_eq!(code, 0);
        assert_eq!(waiting.join().unwrap(), 42);
    });
}

#[test]
fn a_forked_child_is_refused_what_is_not_shared() {
    let futex = LinuxFutexBuilder::new().build().unwrap();
    let code =
        in_child(|| i32::from(futex.wait(0, Some(SHORT)).unwrap_err().kind == ErrorKind::State));
    assert_eq!(code, 1);
}

fn count_under(lock: &(dyn Lock + Sync)) -> u32 {
    let (count, inside) = (AtomicU32::new(0), AtomicU32::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..500 {
                    let guard = lock.lock(Some(LONG)).unwrap();
                    assert_eq!(inside.fetch_add(1, Ordering::Relaxed), 0);
                    // Two steps: whoever else was inside would lose one of them.
                    let seen = count.load(Ordering::Relaxed);
                    count.store(seen + 1, Ordering::Relaxed);
                    inside.store(0, Ordering::Relaxed);
                    drop(guard);
                }
            });
        }
    });
    count.into_inner()
}

#[test]
fn locks_with_inheritance_let_one_in() {
    let futex = LinuxFutexBuilder::new().with_priority_inheritance(true).build().unwrap();
    assert_eq!(count_under(&futex.as_lock()), 2000);
    for inherits in [false, true] {
        let settings = LinuxFutexBuilder::new().with_priority_inheritance(inherits);
        assert_eq!(count_under(&LinuxMutex::new(settings).unwrap()), 2000);
    }
}

#[test]
fn an_inheriting_mutex_knows_its_owner_and_its_time() {
    let settings = LinuxFutexBuilder::new().with_priority_inheritance(true);
    let mutex = LinuxMutex::new(settings).unwrap();
    let guard = mutex.lock(None).unwrap();
    assert_eq!(mutex.lock(None).err().unwrap().kind, ErrorKind::State);
    thread::scope(|scope| {
        scope.spawn(|| {
            let start = Instant::now();
            assert_eq!(mutex.lock(Some(SHORT)).err().unwrap().kind, ErrorKind::TimedOut);
            assert!(start.elapsed() >= SHORT);
            assert_eq!(mutex.unlock().unwrap_err().kind, ErrorKind::State);
        });
    });
    drop(guard);
    assert!(mutex.try_lock().unwrap().is_some());
}

/// Nanoseconds of CLOCK_MONOTONIC.
fn monotonic() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the output is live.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) }, 0);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

#[test]
fn points_in_time_are_kept_on_both_clocks() {
    let short = SHORT.as_nanos() as u64;
    for realtime in [false, true] {
        let settings = LinuxFutexBuilder::new().with_realtime_clock(realtime);
        let futex = settings.build().unwrap();
        let now = || match realtime {
            true => SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64,
            false => monotonic(),
        };
        let (start, deadline) = (Instant::now(), now() + short);
        let error = futex.wait_until(0, deadline, None).unwrap_err();
        assert_eq!(error.kind, ErrorKind::TimedOut);
        assert!(now() >= deadline && start.elapsed() < LONG);
        let start = Instant::now(); // the past is over at once
        assert_eq!(futex.wait_until(0, 1, None).unwrap_err().kind, ErrorKind::TimedOut);
        assert!(start.elapsed() < SHORT * 10);
        assert_eq!(futex.usage().unwrap().waiting, 0);
    }
}

#[test]
fn a_semaphore_lets_as_many_in_as_it_counts() {
    let settings = LinuxFutexBuilder::new().with_initial_value(2);
    let semaphore = Arc::new(LinuxSemaphore::new(settings).unwrap());
    let (inside, most) = (AtomicU32::new(0), AtomicU32::new(0));
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                for _ in 0..100 {
                    semaphore.acquire(Some(LONG)).unwrap();
                    most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    thread::yield_now();
                    inside.fetch_sub(1, Ordering::SeqCst);
                    semaphore.release(1).unwrap();
                }
            });
        }
    });
    assert!((1..=2).contains(&most.into_inner()));
    assert_eq!(semaphore.value().unwrap(), 2);
    assert!(semaphore.try_acquire().unwrap() && semaphore.try_acquire().unwrap());
    assert!(!semaphore.try_acquire().unwrap());
    assert_eq!(semaphore.acquire(Some(SHORT)).unwrap_err().kind, ErrorKind::TimedOut);
}

#[test]
fn a_condition_gives_its_mutex_back_and_takes_it_again() {
    let mutex = LinuxMutex::new(LinuxFutexBuilder::new()).unwrap();
    let condition = LinuxCondition::new(LinuxFutexBuilder::new()).unwrap();
    let ready = AtomicU32::new(0);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let guard = mutex.lock(None).unwrap();
            while ready.load(Ordering::Relaxed) == 0 {
                condition.wait(&mutex, Some(LONG)).unwrap();
            }
            drop(guard);
        });
        let guard = mutex.lock(None).unwrap();
        ready.store(1, Ordering::Relaxed);
        drop(guard);
        condition.signal(1).unwrap();
        waiting.join().unwrap();
    });
    let guard = mutex.lock(None).unwrap();
    assert_eq!(condition.wait(&mutex, Some(SHORT)).unwrap_err().kind, ErrorKind::TimedOut);
    drop(guard); // it is held again, after the time-out too
}

#[test]
fn a_wait_for_several_says_which_it_was() {
    let words: Vec<_> = (0..3).map(|_| LinuxFutexBuilder::new().build().unwrap()).collect();
    let waits: Vec<_> = words.iter().map(|word| (word, 0)).collect();
    assert_eq!(wait_any(&waits, Some(SHORT), None).unwrap_err().kind, ErrorKind::TimedOut);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| wait_any(&waits, Some(LONG), None).unwrap());
        while words[2].usage().unwrap().waiting == 0 {
            thread::yield_now();
        }
        words[2].store(1).unwrap();
        words[2].wake_one().unwrap();
        assert_eq!(waiting.join().unwrap(), 2);
    });
    words[1].store(9).unwrap();
    assert_eq!(wait_any(&waits[..2], Some(LONG), None).unwrap(), 1); // not as expected: at once
}
