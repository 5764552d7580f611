"""Watchdogs: work that has to show, by heartbeats, that it goes on.

Mirrors wrt_platform/watchdog.h.

    watchdog = SoftwareWatchdog(WatchdogConfig(default_timeout=60, check_interval=0.1))
    watchdog.start()
    handle = watchdog.watch_wasm_execution("critical_module", 30)
    while working:
        handle.heartbeat()
    handle.end()

Hangs come as events: for event in watchdog.events. A watchdog that still runs at the exit of Python
is stopped then.
"""

from __future__ import annotations

import atexit
import itertools
import weakref
from typing import TYPE_CHECKING, Any, NamedTuple

from wrt_platform._enums import ThreadPriority, WatchFeed, WatchKill
from wrt_platform._native import ffi, lib
from wrt_platform.errors import StateError, WrtError, check
from wrt_platform.events import Events, EventsBuilder
from wrt_platform.page_allocator import _within
from wrt_platform.system_below import WAIT_FOR_EVER, Duration, nanoseconds, system_interface

if TYPE_CHECKING:
    from typing import Self

    from wrt_platform.instance import Instance
    from wrt_platform.thread_system import ThreadSystem

__all__ = [
    "SoftwareWatchdog",
    "WatchBuilder",
    "WatchFeed",
    "WatchHandle",
    "WatchKill",
    "WatchReport",
    "WatchdogConfig",
    "WatchdogReport",
]

_EXIT = 1_000_000_000  # nanoseconds that a monitor thread has to end at the exit of Python
_running: dict[int, tuple[Any, Any]] = {}  # C watchdogs whose thread may run, and what they use
_sources = itertools.count(1)


class WatchdogReport(NamedTuple):
    """What a watchdog has done; the counters wrap at 2**32."""

    watch_count: int  # out now
    hung_count: int  # of them, reported and not recovered
    hangs: int  # reported so far
    kills: int  # of them, killed
    checks: int  # made so far
    late_checks: int  # of them, those that came late
    lost_events: int  # that found the ring full
    is_running: bool  # the monitor thread


class WatchReport(NamedTuple):
    """What a watch has seen."""

    source: int  # as in the events about it
    timeout_ns: int
    quiet_ns: int  # how long there has been no heartbeat, as of the last check
    hang_count: int  # hangs that were reported so far
    kill_count: int  # how many of them were killed
    is_hung: bool  # it was reported, and has not beaten since


class WatchdogConfig:
    """What a watchdog is made of; each setting is also a method.

    default_timeout: of watches that don't say their own. check_interval: from one check to the
    next. Both are seconds, text like "100ms", or a timedelta; 0: 30 s and 100 ms. auto_kill:
    interrupts the instance of hung work. events: where hangs are told; without it, the watchdog
    makes a ring of its own.
    """

    def __init__(
        self,
        default_timeout: Duration = 0,
        check_interval: Duration = 0,
        auto_kill: bool = False,
        events: Events | None = None,
    ) -> None:
        size = ffi.sizeof("wrt_watchdog_config")
        self._config = ffi.new("wrt_watchdog_config *", {"struct_size": size})
        self._events = events
        self._system: Any = None
        self._stack: Any = None
        self.with_default_timeout(default_timeout).with_check_interval(check_interval)
        self.with_auto_kill(auto_kill)

    def with_default_timeout(self, timeout: Duration) -> Self:
        """Of watches that don't say their own; 0: 30 s."""
        self._config.default_timeout_ns = nanoseconds(timeout, "default_timeout")
        return self

    def with_check_interval(self, interval: Duration) -> Self:
        """From one check to the next; 0: 100 ms."""
        self._config.check_interval_ns = nanoseconds(interval, "check_interval")
        return self

    def with_auto_kill(self, enabled: bool = True) -> Self:
        """Interrupts the instance of hung work."""
        self._config.auto_kill = enabled
        return self

    def with_events(self, events: Events) -> Self:
        """Where hangs are told."""
        self._events = events
        return self

    def with_priority(self, priority: ThreadPriority) -> Self:
        """Of the monitor thread; by default HIGH, or the nearest that this process may have."""
        self._config.priority = priority
        return self

    def with_system(self, system: ThreadSystem) -> Self:
        """The thread system of the monitor thread; by default this process's own."""
        self._system = system
        return self

    def with_stack(self, stack: bytearray) -> Self:
        """Memory for the monitor thread's stack."""
        self._stack = ffi.from_buffer("uint8_t[]", stack, require_writable=True)
        self._config.stack = self._stack
        self._config.stack_size = ffi.sizeof(self._stack)
        return self

    def with_stack_size(self, size: int) -> Self:
        """Bytes of the monitor thread's stack; 0: the system's default."""
        self._config.stack_size = _within(size, "stack_size", 2**64)
        return self

    def _c_config(self, events: Events) -> Any:
        config = ffi.new("wrt_watchdog_config *", self._config[0])
        config.system = system_interface(self._system)
        config.events = events._raw
        return config


class SoftwareWatchdog:
    """Watches work, from any thread. As a context manager it runs inside of `with`."""

    def __init__(self, config: WatchdogConfig | None = None) -> None:
        config = WatchdogConfig() if config is None else config
        self._events = config._events if config._events is not None else EventsBuilder().build()
        self._kept = (self._events, config._system, config._stack)  # C borrows them
        self._raw = ffi.new("wrt_watchdog *")
        check(lib.wrt_watchdog_init(self._raw, config._c_config(self._events)))
        finaliser = weakref.finalize(self, _leave_alone, self._raw)
        finaliser.atexit = False

    @classmethod
    def _part_of(cls, owner: Any, raw: Any, events: Events, config: WatchdogConfig) -> Self:
        """The face of a watchdog that is part of another object in C, which begins and ends it."""
        watchdog = cls.__new__(cls)
        watchdog._events = events
        watchdog._kept = (events, config._system, (config._stack, owner))
        watchdog._raw = raw
        return watchdog

    @property
    def events(self) -> Events:
        """Where hangs are told: EventKind.WATCHDOG_EXPIRED, and WATCHDOG_KILLED after a kill, with
        the watch's `source`; detail is how long it has been quiet and its time-out, in
        nanoseconds."""
        return self._events

    def start(self) -> None:
        """Starts the monitor thread. Raises StateError if it runs."""
        _reap()
        _running.setdefault(id(self._raw), (self._raw, self._kept))
        try:
            check(lib.wrt_watchdog_start(self._raw))
        except StateError:  # it runs: it stays among those that do
            raise
        except WrtError:
            _running.pop(id(self._raw), None)
            raise

    def stop(self, timeout: Duration | None = None) -> None:
        """Ends the monitor thread, and waits for that; watches stay. Again does nothing.

        Raises TimedOutError if it has not ended in time (call again), BusyError while another
        thread is in this call.
        """
        limit = WAIT_FOR_EVER if timeout is None else nanoseconds(timeout, "timeout")
        check(lib.wrt_watchdog_stop(self._raw, limit))
        _running.pop(id(self._raw), None)

    def check(self, now_ns: int) -> None:
        """Makes one check, where no monitor thread does; now_ns is of any clock that only goes
        forward. Raises StateError if it runs."""
        check(lib.wrt_watchdog_check(self._raw, _within(now_ns, "now_ns", 2**64)))

    def watch_wasm_execution(
        self,
        name: str,
        timeout: Duration = 0,
        *,
        instance: Instance | None = None,
        feed: WatchFeed = WatchFeed.CALLER,
        auto_kill: bool | None = None,
    ) -> WatchHandle:
        """Begins to watch. timeout: how long the work may be quiet; 0: the watchdog's default.
        instance: whose work it is, to be interrupted if it hangs and auto_kill (None: the
        watchdog's) says so. feed: ENGINE counts the instance's own heartbeats as well: then only
        what hangs inside of a host function is found, for a guest in a loop beats. Names need not
        differ."""
        builder = WatchBuilder().with_name(name).with_timeout(timeout).with_feed(feed)
        if instance is not None:
            builder.with_instance(instance)
        if auto_kill is not None:
            builder.with_auto_kill(WatchKill.ON if auto_kill else WatchKill.OFF)
        return builder.build(self)

    @property
    def report(self) -> WatchdogReport:
        """What it has done so far."""
        raw = ffi.new("wrt_watchdog_report *")
        check(lib.wrt_watchdog_query(self._raw, raw))
        return WatchdogReport(*(getattr(raw, field) for field in WatchdogReport._fields))

    def close(self) -> None:
        """Ends the watchdog; again does nothing. Raises StateError while it runs or watches are
        out."""
        check(lib.wrt_watchdog_deinit(self._raw))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class WatchBuilder:
    """Collects what is watched; the rules of watchdog.h are checked by build()."""

    def __init__(self) -> None:
        size = ffi.sizeof("wrt_watch_config")
        self._config = ffi.new("wrt_watch_config *", {"struct_size": size})
        self._config.source = next(_sources)
        self._name: Any = ffi.NULL
        self._instance: Instance | None = None

    def with_name(self, name: str) -> Self:
        """For people; 31 bytes are kept."""
        self._name = ffi.new("char[]", name.encode())
        return self

    def with_timeout(self, timeout: Duration) -> Self:
        """How long the work may be quiet; 0: the watchdog's default."""
        self._config.timeout_ns = nanoseconds(timeout, "timeout")
        return self

    def with_source(self, source: int) -> Self:
        """The number that its events carry; by default one that no other watch has."""
        self._config.source = _within(source, "source", 2**64)
        return self

    def with_instance(self, instance: Instance) -> Self:
        """Whose work it is: to be killed, and to beat."""
        self._instance = instance
        return self

    def with_feed(self, feed: WatchFeed) -> Self:
        """Where the heartbeats come from: CALLER, or ENGINE for the instance's own as well."""
        self._config.feed = feed
        return self

    def with_auto_kill(self, kill: WatchKill) -> Self:
        """What becomes of the instance if it hangs; DEFAULT: what the watchdog says."""
        self._config.auto_kill = kill
        return self

    def build(self, watchdog: SoftwareWatchdog) -> WatchHandle:
        """Begins to watch. Raises InvalidArgumentError naming the broken rule."""
        config = ffi.new("wrt_watch_config *", self._config[0])
        config.name = self._name
        guest = None if self._instance is None else self._instance._open()
        if guest is not None:
            config.instance = guest.pointer
        return WatchHandle(config, watchdog, guest)


class WatchHandle:
    """A watch; made by watch_wasm_execution() or WatchBuilder. One thread at a time beats.

    It ends with end(), as a context manager, or when nobody refers to it any more, hung or not.
    """

    def __init__(self, config: Any, watchdog: SoftwareWatchdog, guest: Any) -> None:
        self._raw = ffi.new("wrt_watch *")
        check(lib.wrt_watchdog_watch(watchdog._raw, config, self._raw))
        self._watchdog = watchdog
        self._end = weakref.finalize(self, _end, self._raw, watchdog._raw, guest)
        self._end.atexit = False

    def heartbeat(self) -> None:
        """Shows that the work goes on. Raises StateError if the watch has ended."""
        if not self._end.alive:
            raise StateError("the watch has ended")
        lib.wrt_watch_heartbeat(self._raw)

    @property
    def report(self) -> WatchReport:
        """What the watch has seen. Raises StateError if it has ended."""
        raw = self._query()
        return WatchReport(*(getattr(raw, field) for field in WatchReport._fields))

    @property
    def name(self) -> str:
        """As it was given, cut to 31 bytes."""
        raw = self._query()  # its memory has to live until the text was read
        return str(ffi.string(raw.name).decode())

    @property
    def source(self) -> int:
        """The number that its events carry."""
        return int(self._raw.source)

    @property
    def is_hung(self) -> bool:
        """It was reported, and has not beaten since."""
        return bool(self._query().is_hung)

    def end(self) -> None:
        """Ends the watch; again does nothing."""
        self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def _query(self) -> Any:
        raw = ffi.new("wrt_watch_report *")
        check(lib.wrt_watch_query(self._raw, raw))
        return raw


def _end(raw: Any, watchdog: Any, guest: Any) -> None:
    """Ends a watch; `watchdog` and `guest` were kept for this. C's lock is held for moments only,
    and never by a thread that waits for Python: so a finaliser may take it."""
    lib.wrt_watch_end(raw)


def _leave_alone(raw: Any) -> None:
    """Nobody refers to the watchdog any more: its thread is told to end, and nobody waits. What it
    uses stays in `_running` until it has ended."""
    if lib.wrt_watchdog_stop(raw, 0) == lib.WRT_OK:
        lib.wrt_watchdog_deinit(raw)
        _running.pop(id(raw), None)


def _reap() -> None:
    """Frees what abandoned watchdogs used whose threads have ended meanwhile."""
    for raw, _ in list(_running.values()):
        if raw.monitor.stopping != 0:
            _leave_alone(raw)


def _stop_all() -> None:
    """At the exit of Python, when its threads have ended."""
    for raw, _ in list(_running.values()):
        lib.wrt_watchdog_stop(raw, _EXIT)


atexit.register(_stop_all)
