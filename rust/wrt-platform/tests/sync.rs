//! Futexes, locks and threads over both backends.
#![cfg(target_os = "linux")]

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use wrt_platform::cancel::CancelToken;
use wrt_platform::{
    CpuSet, ErrorKind, FutexLike, LinuxFutexBuilder, LinuxLockBuilder, LinuxThreadSystemBuilder,
    Lock, QnxFutexBuilder, QnxLockBuilder, QnxSyncPriority, QnxThreadSystemBuilder, ThreadBuilder,
    ThreadPriority, ThreadSystem,
};

const LONG: Duration = Duration::from_secs(10);

fn futexes() -> [Box<dyn FutexLike>; 2] {
    let linux = LinuxFutexBuilder::new().with_initial_value(7).with_spin(10).build().unwrap();
    let qnx = QnxFutexBuilder::new()
        .with_initial_value(7)
        .with_priority(QnxSyncPriority::High)
        .with_maximum_waiters(2)
        .build()
        .unwrap();
    [Box::new(linux), Box::new(qnx)]
}

fn locks() -> [Box<dyn Lock>; 2] {
    let linux = LinuxLockBuilder::new().with_robust(true).build().unwrap();
    let qnx = QnxLockBuilder::new().with_robust(true).build().unwrap();
    [Box::new(linux), Box::new(qnx)]
}

fn systems() -> [Box<dyn ThreadSystem>; 2] {
    let linux = LinuxThreadSystemBuilder::new().with_nice_step(5).build().unwrap();
    let qnx = QnxThreadSystemBuilder::new().with_high_priority(20).build().unwrap();
    [Box::new(linux), Box::new(qnx)]
}

#[test]
fn a_word_is_handed_between_threads() {
    for futex in futexes() {
        let futex = &*futex;
        futex.store(0).unwrap();
        thread::scope(|scope| {
            for turn in 0..2 {
                scope.spawn(move || {
                    for _ in 0..500 {
                        loop {
                            let seen = futex.load().unwrap();
                            if seen % 2 == turn {
                                break;
                            }
                            futex.wait(seen, Some(LONG)).unwrap();
                        }
                        futex.fetch_add(1).unwrap();
                        futex.wake_one().unwrap();
                    }
                });
            }
        });
        assert_eq!(futex.load().unwrap(), 1000);
        assert_eq!(futex.compare_exchange(1, 2).unwrap(), Err(1000));
        assert_eq!(futex.compare_exchange(1000, 2).unwrap(), Ok(()));
    }
}

#[test]
fn waits_end_by_time_and_by_token() {
    for futex in futexes() {
        let start = Instant::now();
        let error = futex.wait(7, Some(Duration::from_millis(30))).unwrap_err();
        assert_eq!(error.kind, ErrorKind::TimedOut);
        assert!(start.elapsed() >= Duration::from_millis(30));
        let token = CancelToken::new();
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(30));
                token.request();
            });
            let error = futex.wait_cancellable(7, None, &token).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Interrupted);
        });
        assert!(token.is_requested());
    }
}

#[test]
fn a_futex_with_inheritance_is_a_lock() {
    let futex = LinuxFutexBuilder::new().with_priority_inheritance(true).build().unwrap();
    assert_eq!(futex.wait(0, None).unwrap_err().kind, ErrorKind::Unsupported);
    drop(futex.as_lock().lock(None).unwrap());
    let futex = QnxFutexBuilder::new().with_priority_inheritance(true).build().unwrap();
    assert_eq!(futex.wake_one().unwrap_err().kind, ErrorKind::Unsupported);
    drop(futex.as_lock().lock(None).unwrap());
}

#[test]
fn a_guard_holds_the_lock_and_nobody_else() {
    for lock in locks() {
        let guard = lock.lock(None).unwrap();
        assert_eq!(lock.lock(None).err().unwrap().kind, ErrorKind::State);
        thread::scope(|scope| {
            scope.spawn(|| {
                assert!(lock.try_lock().unwrap().is_none());
                let error = lock.lock(Some(Duration::from_millis(20))).err().unwrap();
                assert_eq!(error.kind, ErrorKind::TimedOut);
            });
        });
        guard.unlock().unwrap();
        assert!(lock.try_lock().unwrap().is_some());
    }
}

#[test]
fn an_owner_that_ends_is_noticed() {
    for (lock, system) in locks().into_iter().zip(systems()) {
        let lock: Arc<dyn Lock> = Arc::from(lock);
        let held = lock.clone();
        let thread = ThreadBuilder::new()
            .with_entry(move || std::mem::forget(held.lock(None).unwrap()))
            .build(&*system)
            .unwrap();
        assert!(thread.join(Some(LONG)).is_ok());
        let guard = lock.lock(Some(LONG)).unwrap();
        assert!(guard.owner_died());
        guard.recover().unwrap();
        drop(guard);
        assert!(!lock.lock(None).unwrap().owner_died());
    }
}

#[test]
fn threads_are_what_was_asked_for() {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    for system in systems() {
        let (send, receive) = mpsc::channel::<()>();
        let thread = ThreadBuilder::new()
            .with_name("a-name-beyond-what-is-kept")
            .with_cpus(CpuSet::any().with(0))
            .with_priority(ThreadPriority::Low)
            .with_stack_size(1 << 18)
            .with_require_priority(true)
            .with_entry(move || {
                receive.recv().unwrap();
                RUNS.fetch_add(1, Ordering::Relaxed);
            })
            .build(&*system)
            .unwrap();
        let report = thread.report().unwrap();
        assert_eq!(report.name.as_str(), "a-name-beyond-w");
        assert_eq!(report.cpus, CpuSet::from_mask(1));
        assert_eq!(report.priority, ThreadPriority::Low);
        assert!(report.stack_size >= 1 << 18);
        let (thread, error) = thread.join(Some(Duration::from_millis(5))).unwrap_err();
        assert_eq!(error.kind, ErrorKind::TimedOut);
        send.send(()).unwrap();
        assert!(thread.join(Some(LONG)).is_ok());
        assert!(system.now().unwrap() > Duration::ZERO);
    }
    assert_eq!(RUNS.load(Ordering::Relaxed), 2);
}

#[test]
fn a_panic_ends_the_thread_alone() {
    for system in systems() {
        let builder = ThreadBuilder::new().with_entry(|| std::panic::resume_unwind(Box::new(1)));
        assert!(builder.build(&*system).unwrap().join(Some(LONG)).is_ok());
        assert_eq!(
            ThreadBuilder::new().build(&*system).err().unwrap().kind,
            ErrorKind::InvalidArgument
        );
    }
}

#[test]
fn a_sleep_on_a_token_ends_with_the_request() {
    for system in systems() {
        let token = CancelToken::new();
        token.sleep(Some(Duration::from_millis(5)), &*system).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(30));
                token.request();
            });
            let error = token.sleep(Some(LONG), &*system).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Interrupted);
        });
        token.clear();
    }
}
