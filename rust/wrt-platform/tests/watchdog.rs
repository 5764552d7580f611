//! Watchdogs and their events, driven through the Rust face.

use std::thread;
use std::time::{Duration, Instant};

use wrt_platform::events::{Event, EventKind, EventsBuilder};
use wrt_platform::watchdog::{
    SoftwareWatchdog, WatchBuilder, WatchFeed, WatchKill, WatchdogConfig,
};
use wrt_platform::{ErrorKind, Instance, Module};

const MS: Duration = Duration::from_millis(1);
const LONG: Option<Duration> = Some(Duration::from_secs(10));

fn watchdog(check_interval: Duration) -> SoftwareWatchdog {
    SoftwareWatchdog::new(WatchdogConfig { check_interval, ..Default::default() }).unwrap()
}

#[test]
fn hang_is_told_within_the_bound_and_once() {
    let watchdog = watchdog(10 * MS);
    let handle = watchdog.watch_wasm_execution("work", 30 * MS).unwrap();
    let mut told = Vec::new();
    for check in (0..100).step_by(10) {
        if check < 20 {
            handle.heartbeat().unwrap();
        }
        watchdog.check(check * MS).unwrap();
        if watchdog.events().next(Some(Duration::ZERO)).is_ok() {
            told.push(check);
        }
    }
    assert_eq!(told, [40]);
    assert!(handle.report().unwrap().is_hung);
    assert_eq!(handle.name(str::to_owned).unwrap(), "work");
    drop(handle);
    assert_eq!(watchdog.report().unwrap().watch_count, 0);
}

#[test]
fn endless_loop_is_stopped_by_the_monitor_thread() {
    let wasm = wat::parse_str("(module (func (export \"spin\") (loop (br 0))))").unwrap();
    let module = Module::new(&wasm).unwrap();
    let mut instance = Instance::builder().with_module(&module).build().unwrap();
    let watchdog = watchdog(5 * MS);
    watchdog.start().unwrap();
    // SAFETY: the handle is dropped before the instance.
    let builder = unsafe { WatchBuilder::new().with_instance(&instance) };
    let handle = builder
        .with_timeout(20 * MS)
        .with_source(7)
        .with_feed(WatchFeed::Caller)
        .with_auto_kill(WatchKill::On)
        .build(&watchdog)
        .unwrap();
    let error = instance.call("spin", &[]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Interrupted);
    for kind in [EventKind::WATCHDOG_EXPIRED, EventKind::WATCHDOG_KILLED] {
        let event = watchdog.events().next(LONG).unwrap();
        assert_eq!((event.kind, event.source), (kind, 7));
    }
    assert_eq!(handle.report().unwrap().kill_count, 1);
    drop(handle);
    watchdog.stop().unwrap();
    assert!(!watchdog.report().unwrap().is_running);
}

#[test]
fn start_twice_is_refused_and_another_thread_may_stop() {
    let watchdog = watchdog(MS);
    watchdog.start().unwrap();
    assert_eq!(watchdog.start().unwrap_err().kind, ErrorKind::State);
    let clone = watchdog.clone();
    thread::spawn(move || clone.stop().unwrap()).join().unwrap();
    watchdog.start().unwrap();
}

#[test]
fn dropping_a_running_watchdog_does_not_wait() {
    let slow = watchdog(Duration::from_secs(3600));
    slow.start().unwrap();
    let begin = Instant::now();
    drop(slow);
    assert!(begin.elapsed() < Duration::from_secs(5));
}

#[test]
fn handle_keeps_its_watchdog_and_moves_to_another_thread() {
    let watchdog = watchdog(MS);
    watchdog.start().unwrap();
    let handle = watchdog.watch_wasm_execution("moved", 10 * MS).unwrap();
    let events = watchdog.events().clone();
    drop(watchdog);
    thread::spawn(move || {
        handle.heartbeat().unwrap();
        let event = events.next(LONG).unwrap();
        assert_eq!(event.kind, EventKind::WATCHDOG_EXPIRED);
    })
    .join()
    .unwrap();
}

#[test]
fn events_come_in_order_and_a_full_ring_is_counted() {
    let events = EventsBuilder::new().with_capacity(2).build().unwrap();
    let post = |source| {
        events.post(&Event {
            kind: EventKind::USER,
            source,
            detail: [source, 1],
            ..Event::default()
        })
    };
    post(1).unwrap();
    post(2).unwrap();
    assert_eq!(post(3).unwrap_err().kind, ErrorKind::NoMemory);
    assert_eq!(events.next(LONG).unwrap().source, 1);
    post(4).unwrap();
    assert_eq!(events.next(LONG).unwrap().lost, 0);
    assert_eq!(events.next(LONG).unwrap().lost, 1);
    assert_eq!(events.next(Some(MS)).unwrap_err().kind, ErrorKind::TimedOut);
    let usage = events.usage().unwrap();
    assert_eq!((usage.capacity, usage.posted, usage.lost), (2, 3, 1));
    assert_eq!(events.post(&Event::default()).unwrap_err().kind, ErrorKind::InvalidArgument);
}

#[test]
fn waiting_ends_with_an_event_of_another_thread() {
    let events = EventsBuilder::new().build().unwrap();
    let poster = events.clone();
    let thread = thread::spawn(move || {
        thread::sleep(20 * MS);
        poster.post(&Event { kind: EventKind(4711), ..Event::default() }).unwrap();
    });
    assert_eq!(events.next(None).unwrap().kind, EventKind(4711));
    thread.join().unwrap();
}
