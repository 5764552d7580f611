"""Watchdogs: the bounds on a clock that stands until it is moved, for every phase; then hangs of
real threads, of guests in loops and in host functions."""

from __future__ import annotations

import ctypes
import gc
import math
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from common import ROOT, run
from support.guest import Guest, assemble, last_error, must, new_config
from wrt_platform._native import ffi, lib
from wrt_platform.errors import (
    InterruptedCallError,
    InvalidArgumentError,
    StateError,
    TimedOutError,
)
from wrt_platform.events import EventKind, EventsBuilder
from wrt_platform.instance import Instance
from wrt_platform.limits import Limits
from wrt_platform.system_below import WAIT_FOR_EVER, system_interface
from wrt_platform.watchdog import (
    SoftwareWatchdog,
    WatchBuilder,
    WatchdogConfig,
    WatchFeed,
    WatchKill,
)

EXPIRED, KILLED = int(EventKind.WATCHDOG_EXPIRED), int(EventKind.WATCHDOG_KILLED)
LOOP = '(module (func (export "spin") (loop (br 0))))'


class Dog:
    """A watchdog on the C calls, without a thread: the test makes the checks."""

    def __init__(self, interval: int = 10, system: Any = None, **settings: Any) -> None:
        self.events = EventsBuilder().with_capacity(256).build()
        config = new_config("wrt_watchdog_config", check_interval_ns=interval, **settings)
        config.events = self.events._raw
        if system is not None:
            config.system = system
        self.raw = ffi.new("wrt_watchdog *")
        self.watches: list[Any] = []  # C holds them
        must(lib.wrt_watchdog_init(self.raw, config))

    def watch(self, timeout: int, **settings: Any) -> Any:
        raw = ffi.new("wrt_watch *")
        config = new_config("wrt_watch_config", timeout_ns=timeout, **settings)
        name = config.name = ffi.new("char[]", b"same")  # C copies it
        must(lib.wrt_watchdog_watch(self.raw, config, raw))
        ffi.release(name)
        self.watches.append(raw)
        return raw

    def check(self, now: int) -> list[tuple[int, int]]:
        """(kind, source) of what this check reported."""
        must(lib.wrt_watchdog_check(self.raw, now))
        return self.reported()

    def reported(self) -> list[tuple[int, int]]:
        found = []
        while self.events.usage.waiting:
            event = self.events.next(0)
            found.append((event.kind, event.source))
        return found

    def report(self) -> Any:
        report = ffi.new("wrt_watchdog_report *")
        must(lib.wrt_watchdog_query(self.raw, report))
        return report


def latency(dog: Dog, watch: Any, timeout: int, interval: int, hang: int) -> int:
    """Beats up to `hang`, then no more; how long after it the hang is reported."""
    first = (hang // interval) * interval - 3 * interval
    for check in range(first, hang + 1, interval):
        lib.wrt_watch_heartbeat(watch)
        assert dog.check(check) == []
    lib.wrt_watch_heartbeat(watch)
    check = (hang // interval + 1) * interval
    while not dog.check(check):
        check += interval
        assert check < hang + timeout + 10 * interval, "never reported"
    return check - hang


@pytest.mark.row("WD-1")
@pytest.mark.parametrize("timeout", [1, 9, 10, 11, 19, 20, 21, 25, 30, 37, 100, 101])
def test_hang_is_reported_after_more_than_n_and_at_most_n_plus_1_intervals(timeout: int) -> None:
    """Whatever the phase between the last heartbeat and the checks; and never before the time-out,
    though that need not be a multiple of the interval."""
    interval = 10
    n = math.ceil(timeout / interval)
    seen = set()
    for phase in range(interval):  # a heartbeat at the moment of a check comes just after it
        dog = Dog(interval)
        watch = dog.watch(timeout)
        passed = latency(dog, watch, timeout, interval, 1000 + phase)
        assert n * interval < passed <= (n + 1) * interval
        assert passed >= timeout
        seen.add(passed)
    assert seen == {n * interval + rest for rest in range(1, interval + 1)}


@pytest.mark.row("WD-1")
@pytest.mark.parametrize("timeout", [1, 10, 11, 37])
def test_watch_that_never_beats_is_reported_within_the_same_bound(timeout: int) -> None:
    interval, n = 10, math.ceil(timeout / 10)
    for phase in range(interval):
        dog = Dog(interval)
        dog.check(0)
        dog.watch(timeout)  # at `phase`, before the check at `interval`
        check = interval
        while not dog.check(check):
            check += interval
        assert n * interval < check - phase <= (n + 1) * interval


@pytest.mark.row("WD-1")
@pytest.mark.parametrize("seed", range(30))
def test_work_that_beats_in_time_is_never_reported_however_the_checks_come(seed: int) -> None:
    """Checks come thick and fast, and very late; heartbeats at the last moment."""
    chance = random.Random(seed)
    interval = 100
    timeout = chance.choice([1, 30, 99, 100, 101, 250, 700])
    dog = Dog(interval)
    watch = dog.watch(timeout)
    beat = check = 0
    for _ in range(3000):
        if beat <= check:
            lib.wrt_watch_heartbeat(watch)
            beat += timeout if chance.random() < 0.8 else chance.randrange(1, timeout + 1)
        else:
            assert dog.check(check) == [], (check, beat, timeout)
            check += chance.choice([1, 10, 49, 50, 51, 99, 100, 101, 199, 200, 500, 3000])
    assert dog.report().hangs == 0


@pytest.mark.row("WD-1")
@pytest.mark.parametrize("timeout", [10, 20, 30])
@pytest.mark.parametrize("catch_up", [1, 5, 10])
def test_late_check_tells_nothing(timeout: int, catch_up: int) -> None:
    """Everybody stood still, the work as well: its next heartbeat comes after the check, and after
    those with which a timer catches up."""
    dog = Dog(10)
    watch = dog.watch(timeout)
    for check in range(0, 100, 10):
        lib.wrt_watch_heartbeat(watch)
        dog.check(check)
    assert dog.check(5000) == []
    if catch_up < 10:
        for rest in range(catch_up, 10, catch_up):
            assert dog.check(5000 + rest) == []
    lib.wrt_watch_heartbeat(watch)
    assert dog.check(5010) == []
    assert dog.report().late_checks == 1
    reported = [check for check in range(5020, 5100, 10) if dog.check(check)]
    assert reported == [5010 + timeout]  # and a hang that follows is found in its time


@pytest.mark.row("WD-1")
def test_checks_that_are_always_late_still_find_a_hang() -> None:
    dog = Dog(10)
    dog.watch(30)
    assert [bool(dog.check(check)) for check in range(0, 600, 100)] == [
        False, False, False, False, True, False,
    ]  # fmt: skip


@pytest.mark.row("WD-1")
def test_hang_is_reported_once_and_the_next_one_again() -> None:
    dog = Dog()
    watch = dog.watch(20, source=5)
    assert [dog.check(check) for check in range(0, 60, 10)] == [
        [], [], [(EXPIRED, 5)], [], [], [],
    ]  # fmt: skip
    assert (dog.report().hung_count, dog.report().hangs) == (1, 1)
    lib.wrt_watch_heartbeat(watch)
    assert dog.check(60) == [] and dog.report().hung_count == 0
    assert dog.check(70) == []
    assert dog.check(80) == [(EXPIRED, 5)]
    report = ffi.new("wrt_watch_report *")
    must(lib.wrt_watch_query(watch, report))
    assert (report.hang_count, report.is_hung, report.quiet_ns) == (2, True, 20)


@pytest.mark.row("WD-1")
def test_event_says_how_long_it_was_quiet_and_when() -> None:
    dog = Dog()
    dog.watch(25, source=9)
    for check in range(7, 60, 10):
        must(lib.wrt_watchdog_check(dog.raw, check))
    event = dog.events.next(0)
    assert event == (EXPIRED, 9, 37, (30, 25), 0)


@pytest.mark.row("WD-1")
def test_counter_may_wrap() -> None:
    dog = Dog()
    watch = dog.watch(10)
    watch.beats = 2**32 - 1
    dog.check(0)
    lib.wrt_watch_heartbeat(watch)
    assert watch.beats == 0
    assert dog.check(10) == []
    assert dog.check(20) == [(EXPIRED, 0)]


@pytest.mark.row("WD-1")
def test_only_the_one_that_hangs_is_reported_and_names_may_be_the_same() -> None:
    dog = Dog()
    watches = [dog.watch(20, source=number) for number in range(50)]
    found = []
    for check in range(0, 100, 10):
        for number, watch in enumerate(watches):
            if number != 17:
                lib.wrt_watch_heartbeat(watch)
        found += dog.check(check)
    assert found == [(EXPIRED, 17)]
    for watch in watches[10:30]:
        must(lib.wrt_watch_end(watch))
    assert dog.report().watch_count == 30
    assert dog.report().hung_count == 0  # it ended while it hung
    found = [event for check in range(100, 160, 10) for event in dog.check(check)]
    assert sorted(source for _, source in found) == [*range(10), *range(30, 50)]


@pytest.mark.row("WD-1")
def test_full_ring_is_counted_and_the_watchdog_goes_on() -> None:
    dog = Dog()
    for _ in range(300):
        dog.watch(10)
    must(lib.wrt_watchdog_check(dog.raw, 0))
    must(lib.wrt_watchdog_check(dog.raw, 10))
    assert (dog.report().hangs, dog.report().lost_events) == (300, 44)
    assert dog.events.usage.lost == 44


@pytest.mark.row("WD-1")
def test_misuse_is_refused() -> None:
    dog = Dog()
    watch = dog.watch(10)
    config = new_config("wrt_watch_config")
    assert lib.wrt_watchdog_watch(dog.raw, config, watch) == lib.WRT_ERR_STATE
    assert lib.wrt_watchdog_deinit(dog.raw) == lib.WRT_ERR_STATE
    assert "1 watches are out" in last_error()
    assert lib.wrt_watchdog_start(dog.raw) == lib.WRT_ERR_UNSUPPORTED
    assert "call wrt_watchdog_check()" in last_error()
    assert lib.wrt_watchdog_stop(dog.raw, WAIT_FOR_EVER) == lib.WRT_OK
    dog.check(100)
    assert lib.wrt_watchdog_check(dog.raw, 99) == lib.WRT_ERR_INVALID_ARGUMENT
    copy = ffi.new("wrt_watch *", watch[0])
    assert lib.wrt_watch_end(copy) == lib.WRT_ERR_STATE
    assert "none of its watchdog's" in last_error()
    must(lib.wrt_watch_end(watch))
    must(lib.wrt_watch_end(watch))
    assert lib.wrt_watch_query(watch, ffi.new("wrt_watch_report *")) == lib.WRT_ERR_STATE
    lib.wrt_watch_heartbeat(watch)
    lib.wrt_watch_heartbeat(ffi.NULL)
    moved = ffi.new("wrt_watchdog *", dog.raw[0])
    assert lib.wrt_watchdog_check(moved, 200) == lib.WRT_ERR_STATE
    assert lib.wrt_watchdog_deinit(moved) == lib.WRT_ERR_STATE
    must(lib.wrt_watchdog_deinit(dog.raw))
    must(lib.wrt_watchdog_deinit(dog.raw))
    assert lib.wrt_watchdog_check(dog.raw, 200) == lib.WRT_ERR_STATE


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("wrt_watchdog_config", {"check_interval_ns": 2**62 + 1}),
        ("wrt_watchdog_config", {"default_timeout_ns": 2**62 + 1}),
        ("wrt_watchdog_config", {"priority": 5}),
        ("wrt_watchdog_config", {"struct_size": 0}),
        ("wrt_watch_config", {"timeout_ns": 2**62 + 1}),
        ("wrt_watch_config", {"feed": 2}),
        ("wrt_watch_config", {"auto_kill": 3}),
        ("wrt_watch_config", {"feed": lib.WRT_WATCH_FEED_ENGINE}),
        ("wrt_watch_config", {"auto_kill": lib.WRT_WATCH_KILL_ON}),
        ("wrt_watch_config", {"struct_size": 0}),
    ],
)
def test_bad_configs_are_refused(kind: str, settings: dict[str, int]) -> None:
    config = new_config(kind, **settings)
    if kind == "wrt_watchdog_config":
        status = lib.wrt_watchdog_init(ffi.new("wrt_watchdog *"), config)
    else:
        status = lib.wrt_watchdog_watch(Dog().raw, config, ffi.new("wrt_watch *"))
    assert status == lib.WRT_ERR_INVALID_ARGUMENT


def test_reserved_bytes_are_refused() -> None:
    config = new_config("wrt_watchdog_config", reserved=b"\0\1\0\0\0\0\0")
    assert lib.wrt_watchdog_init(ffi.new("wrt_watchdog *"), config) == lib.WRT_ERR_UNSUPPORTED
    watch = new_config("wrt_watch_config", reserved=b"\0\1\0\0")
    status = lib.wrt_watchdog_watch(Dog().raw, watch, ffi.new("wrt_watch *"))
    assert status == lib.WRT_ERR_UNSUPPORTED


def test_defaults_are_those_of_the_header() -> None:
    dog = Dog(0)
    watch = dog.watch(0)
    assert (dog.raw.check_interval_ns, watch.timeout_ns) == (100_000_000, 30_000_000_000)


# The monitor thread, on a clock that stands.


@pytest.fixture(scope="module")
def virtual(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    path = tmp_path_factory.mktemp("virtual") / "libvirtual.so"
    flags = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-fPIC", "-shared", "-pthread"]
    source = ROOT / "tests/support/virtual_threads.c"
    run("cc", *flags, f"-I{ROOT / 'c/include'}", source, "-o", path)
    library = ctypes.CDLL(str(path))
    library.virtual_advance.argtypes = [ctypes.c_uint64]
    return library


def interface_of(library: ctypes.CDLL) -> Any:
    address = ctypes.addressof(ctypes.c_char.in_dll(library, "virtual_ops"))
    system = ffi.new("wrt_thread_system *")
    system.ops = ffi.cast("wrt_thread_system_ops *", address)
    return system[0]


@pytest.fixture
def monitored(virtual: ctypes.CDLL) -> Iterator[Dog]:
    """A running watchdog with check intervals of 100."""
    dog = Dog(100, interface_of(virtual))
    must(lib.wrt_watchdog_start(dog.raw))
    virtual.virtual_settle()
    yield dog
    must(lib.wrt_watchdog_stop(dog.raw, WAIT_FOR_EVER))


@pytest.mark.row("WD-1")
@pytest.mark.parametrize("timeout", [100, 130, 300])
def test_monitor_keeps_the_bound_for_every_phase(
    virtual: ctypes.CDLL, monitored: Dog, timeout: int
) -> None:
    n = math.ceil(timeout / 100)
    for phase in range(0, 100, 7):
        watch = monitored.watch(timeout)
        virtual.virtual_advance(100)
        virtual.virtual_advance(phase)
        lib.wrt_watch_heartbeat(watch)
        passed = 0
        while not monitored.reported():
            virtual.virtual_advance(1)
            passed += 1
            assert passed <= (n + 1) * 100
        assert passed > n * 100
        must(lib.wrt_watch_end(watch))
        while (phase + passed) % 100:  # back to where a check was just made
            virtual.virtual_advance(1)
            passed += 1


@pytest.mark.row("WD-1")
def test_monitor_counts_an_interval_from_the_end_of_the_check_before(
    virtual: ctypes.CDLL, monitored: Dog
) -> None:
    before = monitored.report().checks
    for late in (0, 60, 10, 99):
        virtual.virtual_advance(100 + late)
        before += 1
        assert monitored.report().checks == before
        virtual.virtual_advance(99)
        assert monitored.report().checks == before
        virtual.virtual_advance(1)
        before += 1
        assert monitored.report().checks == before


@pytest.mark.row("WD-1")
def test_stopped_time_begins_anew_at_start(virtual: ctypes.CDLL) -> None:
    dog = Dog(100, interface_of(virtual))
    dog.watch(300)
    must(lib.wrt_watchdog_start(dog.raw))
    virtual.virtual_settle()
    for _ in range(3):
        virtual.virtual_advance(100)
    must(lib.wrt_watchdog_stop(dog.raw, WAIT_FOR_EVER))
    must(lib.wrt_watchdog_start(dog.raw))
    virtual.virtual_settle()
    for _ in range(3):
        virtual.virtual_advance(100)
        assert dog.reported() == []
    virtual.virtual_advance(100)
    assert dog.reported() == [(EXPIRED, 0)]
    must(lib.wrt_watchdog_stop(dog.raw, WAIT_FOR_EVER))


@pytest.mark.row("WD-1")
def test_running_watchdog_refuses_what_would_break_it(virtual: ctypes.CDLL, monitored: Dog) -> None:
    assert virtual.virtual_priority() == lib.WRT_THREAD_PRIORITY_HIGH
    assert lib.wrt_watchdog_start(monitored.raw) == lib.WRT_ERR_STATE
    assert lib.wrt_watchdog_check(monitored.raw, 2**40) == lib.WRT_ERR_STATE
    assert lib.wrt_watchdog_deinit(monitored.raw) == lib.WRT_ERR_STATE
    assert "wrt_watchdog_stop()" in last_error()
    assert monitored.report().is_running


# Real threads and real guests.


def wait_until(condition: Any, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.002)


@pytest.fixture
def watchdog() -> Iterator[SoftwareWatchdog]:
    with SoftwareWatchdog(WatchdogConfig("100ms", 0.02)) as running:
        yield running


@pytest.mark.row("WD-1")
def test_documents_example(watchdog: SoftwareWatchdog) -> None:
    handle = watchdog.watch_wasm_execution("critical_module", timedelta(milliseconds=600))
    for _ in range(30):
        handle.heartbeat()
        time.sleep(0.005)
    assert watchdog.report.hangs == 0 and not handle.is_hung
    hang = time.monotonic_ns()
    event = watchdog.events.next(10)
    assert (event.kind, event.source) == (EventKind.WATCHDOG_EXPIRED, handle.source)
    assert event.time_ns - hang > 600_000_000 - 100_000_000  # the last sleep counts
    assert (handle.is_hung, handle.name) == (True, "critical_module")
    handle.heartbeat()
    wait_until(lambda: not handle.is_hung)
    handle.end()
    handle.end()
    with pytest.raises(StateError, match="ended"):
        handle.heartbeat()


@pytest.mark.row("WD-1")
def test_guest_in_an_endless_loop_is_stopped_and_the_events_say_so(
    watchdog: SoftwareWatchdog,
) -> None:
    instance = Instance(assemble(LOOP))
    begin = time.monotonic()
    with watchdog.watch_wasm_execution("loop", instance=instance, auto_kill=True) as handle:
        with pytest.raises(InterruptedCallError):
            instance.call("spin")
        assert 0.1 < time.monotonic() - begin < 5
        events = [watchdog.events.next(1) for _ in range(2)]
        assert [(event.kind, event.source) for event in events] == [
            (EventKind.WATCHDOG_EXPIRED, handle.source),
            (EventKind.WATCHDOG_KILLED, handle.source),
        ]
        assert handle.report.kill_count == 1
    assert watchdog.report[:4] == (0, 0, 1, 1)


@pytest.mark.row("WD-1")
@pytest.mark.parametrize(("default", "own"), [(True, False), (False, None), (False, False)])
def test_without_auto_kill_a_hang_is_only_told(default: bool, own: bool | None) -> None:
    with SoftwareWatchdog(WatchdogConfig(0.04, 0.02, default)) as watchdog:
        instance = Instance(assemble(LOOP), limits=Limits(timeout=0.3))
        watch = watchdog.watch_wasm_execution("loop", instance=instance, auto_kill=own)
        with watch, pytest.raises(TimedOutError):
            instance.call("spin")
        assert watchdog.report[2:4] == (1, 0)


@pytest.mark.row("WD-1")
def test_guest_whose_engine_beats_for_it_is_never_touched(watchdog: SoftwareWatchdog) -> None:
    instance = Instance(assemble(LOOP), limits=Limits(timeout=1.5))
    watch = watchdog.watch_wasm_execution(
        "busy", 0.7, instance=instance, feed=WatchFeed.ENGINE, auto_kill=True
    )
    with watch, pytest.raises(TimedOutError):  # by its own time-out, not by the watchdog
        instance.call("spin")
    assert watchdog.report.hangs == 0


HANGS_IN_HOST = """(module (import "host" "sleep" (func $sleep))
  (func (export "run") (call $sleep)))"""


@pytest.mark.row("WD-1")
def test_guest_that_hangs_in_a_host_function_is_stopped(watchdog: SoftwareWatchdog) -> None:
    """The host function waits for ever, with the instance's cancel token; the engine feeds."""
    system = ffi.new("wrt_thread_system *", system_interface())

    def sleep(caller: Any, values: Any) -> int:
        token = lib.wrt_instance_cancel_token(caller)
        status = lib.wrt_cancel_wait(token, system, WAIT_FOR_EVER)
        return lib.WRT_ERR_PENDING if status == lib.WRT_ERR_INTERRUPTED else status

    guest = Guest(HANGS_IN_HOST, {("host", "sleep"): (sleep, [], [])})
    config = new_config("wrt_watch_config", instance=guest.raw, source=3)
    config.feed, config.auto_kill = lib.WRT_WATCH_FEED_ENGINE, lib.WRT_WATCH_KILL_ON
    watch = ffi.new("wrt_watch *")
    must(lib.wrt_watchdog_watch(watchdog._raw, config, watch))
    assert guest.call("run", results=0)[0] == lib.WRT_ERR_INTERRUPTED
    must(lib.wrt_watch_end(watch))
    assert [watchdog.events.next(1).kind for _ in range(2)] == [EXPIRED, KILLED]
    assert watchdog.events.usage.waiting == 0
    lib.wrt_instance_clear_interrupt(guest.raw)
    must(lib.wrt_instance_abort(guest.raw))
    guest.close()


@pytest.mark.row("WD-1")
def test_idle_instance_is_interrupted_at_its_next_call(watchdog: SoftwareWatchdog) -> None:
    """It is what the header says, and why a watch belongs round a call."""
    guest = Guest(LOOP)
    config = new_config("wrt_watch_config", instance=guest.raw)
    config.auto_kill = lib.WRT_WATCH_KILL_ON
    watch = ffi.new("wrt_watch *")
    must(lib.wrt_watchdog_watch(watchdog._raw, config, watch))
    wait_until(lambda: watchdog.report.kills == 1)
    assert guest.call("spin", results=0)[0] == lib.WRT_ERR_INTERRUPTED
    must(lib.wrt_watch_end(watch))


@pytest.mark.row("WD-1")
def test_handle_that_is_dropped_while_it_hangs_ends_its_watch(watchdog: SoftwareWatchdog) -> None:
    handle = watchdog.watch_wasm_execution("dropped", 0.02)
    wait_until(lambda: watchdog.report.hung_count == 1)
    del handle
    gc.collect()
    assert watchdog.report[:2] == (0, 0)
    other = watchdog.watch_wasm_execution("other", 0.02)
    wait_until(lambda: other.is_hung)


@pytest.mark.row("WD-1")
def test_start_stop_and_close_in_and_out_of_order() -> None:
    watchdog = SoftwareWatchdog(WatchdogConfig().with_check_interval(0.01))
    watchdog.stop()
    watchdog.start()
    with pytest.raises(StateError, match="the monitor thread runs"):
        watchdog.start()
    with pytest.raises(StateError, match=r"call wrt_watchdog_stop\(\) first"):
        watchdog.close()
    stopper = threading.Thread(target=watchdog.stop)
    stopper.start()
    stopper.join(5)
    assert not watchdog.report.is_running
    handle = watchdog.watch_wasm_execution("still out")
    with pytest.raises(StateError, match="1 watches are out"):
        watchdog.close()
    handle.end()
    watchdog.start()
    watchdog.stop(5)
    watchdog.close()
    watchdog.close()
    with pytest.raises(StateError, match="not initialised"):
        watchdog.start()


@pytest.mark.row("WD-1")
def test_watches_begin_and_end_while_the_monitor_checks() -> None:
    """From several threads, with a check as often as one can be made."""
    with SoftwareWatchdog(WatchdogConfig(60, "50us")) as watchdog:

        def work() -> None:
            for _ in range(200):
                with watchdog.watch_wasm_execution("short") as handle:
                    handle.heartbeat()

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert watchdog.report.checks > 0
        assert watchdog.report[:4] == (0, 0, 0, 0)


@pytest.mark.row("WD-1")
def test_builder_of_watches_sets_all() -> None:
    watchdog = SoftwareWatchdog()
    instance = Instance(assemble(LOOP))
    handle = (
        WatchBuilder().with_name("x" * 40).with_timeout("2s").with_source(77)
        .with_instance(instance).with_feed(WatchFeed.ENGINE).with_auto_kill(WatchKill.ON)
        .build(watchdog)
    )  # fmt: skip
    assert handle.report == (77, 2_000_000_000, 0, 0, 0, False)
    assert handle.name == "x" * 31
    with pytest.raises(InvalidArgumentError, match="timeout is -1"):
        watchdog.watch_wasm_execution("bad", -1)
    with pytest.raises(InvalidArgumentError, match="no instance"):
        WatchBuilder().with_auto_kill(WatchKill.ON).build(watchdog)


def test_sources_of_watches_differ_unless_they_are_set() -> None:
    watchdog = SoftwareWatchdog()
    handles = [watchdog.watch_wasm_execution("same") for _ in range(10)]
    assert len({handle.source for handle in handles}) == 10


# Processes of their own: one that is stopped, and every way to leave.

STOPPED = """
import os, signal, subprocess, sys, threading, time
from wrt_platform.watchdog import *
watchdog = SoftwareWatchdog(WatchdogConfig(0.4, 0.4))
watchdog.start()
handle = watchdog.watch_wasm_execution("healthy")
stop = "sleep 1; kill -STOP $0; sleep 1.2; kill -CONT $0;"
child = subprocess.Popen(["sh", "-c", 2 * stop, str(os.getpid())])
while child.poll() is None:
    handle.heartbeat()
    time.sleep(0.02)
report = watchdog.report
print(report.hangs, report.late_checks >= 2)
"""


@pytest.mark.row("WD-1")
def test_process_that_was_stopped_has_no_hangs() -> None:
    done = subprocess.run(
        [sys.executable, "-c", STOPPED], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "0 True\n", done.stderr


PRELUDE = """
import os, signal, sys, threading, time
from wrt_platform.watchdog import *
watchdog = SoftwareWatchdog(WatchdogConfig(0.01, 0.005))
watchdog.start()
handle = watchdog.watch_wasm_execution("work")
def hang():
    while not handle.is_hung:
        time.sleep(0.002)
"""

WAYS = {
    "running": ("", 0),
    "hung": ("hang()", 0),
    "dropped while hung": ("hang(); del handle", 0),
    "watchdog dropped too": ("hang(); del handle, watchdog", 0),
    "events pending": ("[watchdog.events.post(1) for _ in range(60)]; hang()", 0),
    "listener": ("watchdog.events.listen(print); hang()", 0),
    "stopped": ("watchdog.stop(); handle.end(); watchdog.close()", 0),
    "sys.exit": ("hang(); sys.exit(3)", 3),
    "exception": ("hang(); raise ValueError", 1),
    "os._exit": ("hang(); os._exit(4)", 4),
    "SIGTERM": ("hang(); os.kill(os.getpid(), signal.SIGTERM); time.sleep(9)", -signal.SIGTERM),
    "thread that goes on": (
        "threading.Thread(target=lambda: [handle.heartbeat() or time.sleep(0.01) "
        "for _ in range(20)]).start()",
        0,
    ),
    "forked child": (
        "hang(); child = os.fork(); sys.exit(5) if child == 0 else None; "
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))",
        5,
    ),
    "forked child with its own": (
        "child = os.fork(); watchdog = child or SoftwareWatchdog(); "
        "child or watchdog.start(); child or sys.exit(6); "
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))",
        6,
    ),
}


@pytest.mark.row("WD-1")
@pytest.mark.parametrize("way", WAYS)
def test_exit_never_hangs(way: str) -> None:
    program, code = WAYS[way]
    command = [sys.executable, "-c", PRELUDE + program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == code, done.stderr
    assert "Fatal" not in done.stderr
    assert "Traceback" not in done.stderr or way == "exception", done.stderr


@pytest.mark.row("WD-1")
def test_abandoned_watchdog_ends_its_thread() -> None:
    watchdog = SoftwareWatchdog(WatchdogConfig(check_interval=0.01))
    watchdog.start()
    raw = watchdog._raw
    del watchdog
    gc.collect()

    assert raw.monitor.stopping == 1 or raw.self == ffi.NULL  # it was told, or has ended already
    wait_until(lambda: lib.wrt_watchdog_stop(raw, 0) != lib.WRT_ERR_TIMED_OUT)
    assert raw.monitor.phase == 0


CORE = (
    "cancel",
    "config",
    "events",
    "repeating_thread",
    "slices",
    "status",
    "thread_system",
    "watchdog",
    "watchdog_monitor",
)


@pytest.mark.whole_process  # another sanitizer's run time would be in its programs
@pytest.mark.row("WD-1")
def test_sanitizer_finds_no_race(tmp_path: Path) -> None:
    """Threads that watch, beat, hang and stop under a monitor in a hurry; the same program with a
    second writer of one heartbeat counter that does without the library is caught."""
    program = tmp_path / "watchdog"
    sources = [ROOT / "c/src/core" / f"{name}.c" for name in CORE]
    names = ("threading", "wait", "mutex", "fork", "sys", "port", "times")
    sources += [
        path for path in (ROOT / "c/src/linux").glob("*.c") if path.stem.split("_")[0] in names
    ]
    flags = ["-std=gnu11", "-D_GNU_SOURCE", "-O1", "-g", "-fsanitize=thread"]
    include = f"-I{ROOT / 'c/include'}"
    run("cc", *flags, include, *sources, ROOT / "tests/support/watchdog_stress.c", "-o", program)
    assert run(program).splitlines()[-1] == "watches 0 hangs as reported"
    with pytest.raises(AssertionError, match="data race"):
        run(program, "racing")
