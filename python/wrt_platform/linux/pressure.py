"""Memory pressure: the kernel tells when processes wait for memory. Mirrors linux/pressure.h.

    watch = cgroup.on_memory_pressure(lambda level: print(level.name))
    watch.close()

Or with events of your own, and your own thread:

    pressure = LinuxPressureBuilder().with_events(events).with_cgroup(cgroup).build()
    while pressure.collect(timeout=1.0): ...
"""

from __future__ import annotations

import atexit
import sys
import threading
import weakref
from collections.abc import Callable
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from wrt_platform._native import ffi, lib
from wrt_platform.errors import InvalidArgumentError, StateError, TimedOutError, check
from wrt_platform.events import Events, EventsBuilder
from wrt_platform.page_allocator import _within, _word
from wrt_platform.system_below import nanoseconds

if TYPE_CHECKING:
    from typing import Self

    from wrt_platform.linux.cgroups import Cgroup

__all__ = ["LinuxPressure", "LinuxPressureBuilder", "MemoryPressure", "PressureLevel"]

_SLICE = 0.1  # seconds: so long close() and the exit of Python may have to wait
_LEAVE = 1.0  # seconds that the exit of Python gives each thread
_open: weakref.WeakSet[MemoryPressure] = weakref.WeakSet()


class PressureLevel(IntEnum):
    """How bad it is; linux/pressure.h has the thresholds."""

    LOW = lib.WRT_LINUX_PRESSURE_LOW  # some process waited for 5 % of the window
    MEDIUM = lib.WRT_LINUX_PRESSURE_MEDIUM  # some process waited for 20 %
    CRITICAL = lib.WRT_LINUX_PRESSURE_CRITICAL  # all waited at the same time, for 10 %


class LinuxPressure:
    """A watch whose events go to a ring of yours; made by LinuxPressureBuilder."""

    def __init__(self, config: Any, kept: Any) -> None:
        self._lock = threading.Lock()
        self._kept = kept  # C borrows the ring
        raw = ffi.new("wrt_linux_pressure *")
        check(lib.wrt_linux_pressure_init(raw, config))
        self._raw = ffi.gc(raw, lib.wrt_linux_pressure_deinit)

    def collect(self, timeout: float | str = 0.0) -> int:
        """Waits for a level to be reached, posts an event for each that was, and returns how many;
        0: the time is over. Signals are looked at only then, so wait in small steps."""
        count = ffi.new("uint32_t *")
        with self._lock:
            try:
                check(
                    lib.wrt_linux_pressure_collect(
                        self._raw, nanoseconds(timeout, "timeout"), count
                    )
                )
            except TimedOutError:
                return 0
        return int(count[0])

    def close(self) -> None:
        """Ends the watch; again does nothing."""
        with self._lock:
            check(lib.wrt_linux_pressure_deinit(self._raw))


class LinuxPressureBuilder:
    """Collects settings; the rules of linux/pressure.h are checked by build()."""

    def __init__(self) -> None:
        size = ffi.sizeof("wrt_linux_pressure_config")
        self._config = ffi.new("wrt_linux_pressure_config *", {"struct_size": size})
        self._events: Events | None = None
        self._cgroup: Any = None

    def with_events(self, events: Events) -> Self:
        """The ring that the events go to."""
        self._events = events
        self._config.events = events._raw
        return self

    def with_cgroup(self, cgroup: Cgroup) -> Self:
        """The group to watch; without it, the whole system."""
        self._cgroup = cgroup
        self._config.cgroup = cgroup._raw
        return self

    def with_source(self, source: int) -> Self:
        """The events' `source`."""
        self._config.source = _within(source, "source", 2**64)
        return self

    def with_window(self, window: float | str) -> Self:
        """In which waiting is counted: 0.5 to 10 s, without rights a multiple of 2 s; without it
        2 s."""
        self._config.window_ns = nanoseconds(window, "window")
        return self

    def with_low_share(self, thousandths: int) -> Self:
        """Of the window that some process must wait for LOW; 0: 50."""
        self._config.low_share = _word(thousandths, "low_share")
        return self

    def with_medium_share(self, thousandths: int) -> Self:
        """The same for MEDIUM; 0: 200."""
        self._config.medium_share = _word(thousandths, "medium_share")
        return self

    def with_critical_share(self, thousandths: int) -> Self:
        """Of the window that all processes must wait for CRITICAL; 0: 100."""
        self._config.critical_share = _word(thousandths, "critical_share")
        return self

    def build(self) -> LinuxPressure:
        """Begins to watch, or says why that can't be."""
        if self._events is None:
            raise InvalidArgumentError("with_events() was not called")
        return LinuxPressure(self._config, self._events)


class MemoryPressure:
    """Calls a function with each level, on one daemon thread; see Cgroup.on_memory_pressure()."""

    def __init__(
        self, cgroup: Cgroup | None, call: Callable[[PressureLevel], Any], window: float | str
    ) -> None:
        self._events = EventsBuilder().build()
        builder = LinuxPressureBuilder().with_events(self._events).with_window(window)
        self._pressure = (builder if cgroup is None else builder.with_cgroup(cgroup)).build()
        self._is_closing = threading.Event()
        # The thread holds no reference to this object: who drops it ends the watch.
        arguments = (self._pressure, self._events, call, self._is_closing)
        self._thread = threading.Thread(
            target=_watch, args=arguments, name="wrt-memory-pressure", daemon=True
        )
        self._finalizer = weakref.finalize(self, self._is_closing.set)
        self._thread.start()
        _open.add(self)

    def close(self) -> None:
        """Ends the watch, and waits until its thread has left `call`; from `call` itself it does
        not wait. Again does nothing."""
        self._is_closing.set()
        if threading.current_thread() is not self._thread:
            self._thread.join()


def _watch(
    pressure: LinuxPressure,
    events: Events,
    call: Callable[[PressureLevel], Any],
    is_closing: threading.Event,
) -> None:
    while not is_closing.is_set():
        try:
            count = pressure.collect(_SLICE)
        except StateError:  # the group was removed
            break
        for _ in range(count):
            level = PressureLevel(events.next(0).detail[0])
            try:
                call(level)
            except Exception:
                _report()
    pressure.close()
    events.close()


def _report() -> None:
    kind, error, trace = sys.exc_info()
    assert kind is not None
    arguments = (kind, error, trace, threading.current_thread())
    threading.excepthook(threading.ExceptHookArgs(arguments))


@atexit.register
def _close_all() -> None:
    """A daemon thread inside of C when Python ends would be stopped anywhere."""
    watches = list(_open)
    for watch in watches:
        watch._is_closing.set()
    for watch in watches:
        watch._thread.join(_LEAVE)
