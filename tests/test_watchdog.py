"""Watchdogs: the bounds on a clock that stands until it is moved, for every phase."""

from __future__ import annotations

import ctypes
import math
import random
from collections.abc import Iterator
from typing import Any

import pytest
from common import ROOT, run
from support.guest import last_error, must, new_config
from wrt_platform._native import ffi, lib
from wrt_platform.events import EventKind, EventsBuilder
from wrt_platform.system_below import WAIT_FOR_EVER

EXPIRED = int(EventKind.WATCHDOG_EXPIRED)


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
