"""Events: what happened, in a ring that its owner reads. Mirrors wrt_platform/events.h.

    events = EventsBuilder().with_capacity(64).build()
    watchdog = SoftwareWatchdog(WatchdogConfig(events=events))
    for event in events:          # or: async for event in events
        print(event.kind, event.source)

Or events.listen(print), which calls from one daemon thread. All of them end when the events are
closed, at the exit of Python at the latest.
"""

from __future__ import annotations

import atexit
import contextlib
import sys
import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from wrt_platform._enums import EventKind
from wrt_platform._native import ffi, lib
from wrt_platform.errors import StateError, TimedOutError, UnsupportedError, check
from wrt_platform.layout import Layout
from wrt_platform.page_allocator import _within, _word
from wrt_platform.system_below import nanoseconds, system_interface

if TYPE_CHECKING:
    from mmap import mmap
    from typing import Self

    from wrt_platform.thread_system import ThreadSystem

__all__ = ["Event", "EventKind", "Events", "EventsBuilder", "EventsUsage"]

_SLICE = 0.1  # seconds: so long Ctrl-C, close() and the exit of Python may have to wait
_LEAVE = 1.0  # seconds that the exit of Python gives the thread of listen()
_open: weakref.WeakSet[Events] = weakref.WeakSet()


class Event(NamedTuple):
    """One event. What `source` and `detail` mean is said where the kind is posted."""

    kind: int  # an EventKind, or a number of your own from EventKind.USER upwards
    source: int  # who it is about, by a number of his own
    time_ns: int  # when, as time.monotonic_ns() counts; 0: not known
    detail: tuple[int, int]
    lost: int  # how many the ring had lost when it took this one; it wraps at 2**32


class EventsUsage(NamedTuple):
    """How a ring has been used; the counters wrap at 2**32."""

    capacity: int
    waiting: int  # to be taken now
    posted: int  # that the ring took
    lost: int  # that it had no room for


class Events:
    """A ring of events; made by EventsBuilder.

    Any thread may post; one at a time takes (BusyError).
    """

    def __init__(self, config: Any, kept: Any, wake: Any) -> None:
        self._raw = ffi.new("wrt_events *")
        self._kept = kept  # C borrows it
        self._wake = wake
        self._closed = False
        self._listener: threading.Thread | None = None
        check(lib.wrt_events_init(self._raw, config))
        _open.add(self)

    def post(
        self,
        kind: int,
        source: int = 0,
        detail: tuple[int, int] = (0, 0),
        time_ns: int | None = None,
    ) -> None:
        """Puts an event into the ring; without time_ns, the time is now. Raises OutOfMemoryError if
        the ring is full; that is counted."""
        event = ffi.new("wrt_event *")
        event.kind = _word(kind, "kind")
        event.source = _within(source, "source", 2**64)
        event.time_ns = time.monotonic_ns() if time_ns is None else time_ns
        event.detail = [_within(number, "detail", 2**64) for number in detail]
        check(lib.wrt_events_post(self._raw, event))

    def next(self, timeout: float | str | None = None) -> Event:
        """Takes the oldest event. timeout: seconds, or text like "5s"; None: waits for one.

        Raises TimedOutError, BusyError while another thread is taking, StateError when the events
        are closed.
        """
        end = None if timeout is None else time.monotonic() + nanoseconds(timeout, "timeout") / 1e9
        while True:
            rest = _SLICE if end is None else max(0.0, end - time.monotonic())
            try:
                return self._next(min(rest, _SLICE))
            except TimedOutError:
                if end is not None and rest <= _SLICE:
                    raise

    def _next(self, timeout: float) -> Event:
        """Waits in C, where no signal is looked at: so not for long."""
        if self._closed:
            raise StateError("the events are closed")
        event = ffi.new("wrt_event *")
        check(lib.wrt_events_next(self._raw, event, round(timeout * 1e9), ffi.NULL))
        detail = (event.detail[0], event.detail[1])
        return Event(_kind(event.kind), event.source, event.time_ns, detail, event.lost)

    def __iter__(self) -> Iterator[Event]:
        """The events as they come, until the ring is closed."""
        while True:
            try:
                event = self.next()
            except StateError:
                return
            yield event

    async def __aiter__(self) -> AsyncIterator[Event]:
        """The same for asyncio, which does other things meanwhile."""
        import asyncio

        loop, ready = asyncio.get_running_loop(), asyncio.Event()

        def note() -> None:
            lib.wrt_linux_wake_take(self._wake, ffi.NULL)
            ready.set()

        loop.add_reader(self.fileno(), note)
        try:
            while not self._closed:
                ready.clear()
                try:
                    event = self._next(0)
                except TimedOutError:
                    await ready.wait()
                except StateError:
                    return
                else:
                    yield event
        finally:
            loop.remove_reader(self.fileno())

    def fileno(self) -> int:
        """A descriptor that gets readable when an event comes after next() has found none: for
        select, poll, epoll. Raises UnsupportedError if with_wake() gave another hook."""
        if self._wake is None:
            raise UnsupportedError("the events have a wake hook of your own, and no descriptor")
        descriptor = ffi.new("int32_t *")
        check(lib.wrt_linux_wake_descriptor(self._wake, descriptor))
        return int(descriptor[0])

    def listen(self, call: Callable[[Event], Any]) -> None:
        """Starts a daemon thread that calls `call` with each event, until the ring is closed. What
        `call` raises is reported as of any thread, and the next event goes on. Raises StateError if
        it was called before."""
        if self._listener is not None:
            raise StateError("listen() was called before")
        self._listener = threading.Thread(
            target=_listen, args=(self, call), name="wrt-events", daemon=True
        )
        self._listener.start()

    @property
    def usage(self) -> EventsUsage:
        """How the ring has been used so far."""
        usage = ffi.new("wrt_events_usage *")
        check(lib.wrt_events_query(self._raw, usage))
        return EventsUsage(usage.capacity, usage.waiting, usage.posted, usage.lost)

    def close(self) -> None:
        """Ends the iterations, and drops the events that nobody took; again does nothing. What
        still posts finds the ring there: its memory goes with the last that refers to it."""
        self._closed = True
        _open.discard(self)
        if self._wake is not None:
            lib.wrt_linux_wake_call(self._wake)  # asyncio looks up, and sees the end

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class EventsBuilder:
    """Collects settings; the rules of events.h are checked by build()."""

    def __init__(self) -> None:
        size = ffi.sizeof("wrt_events_config")
        self._config = ffi.new("wrt_events_config *", {"struct_size": size, "capacity": 64})
        self._system: Any = None
        self._buffer: Any = None
        self._wake_kept: Any = None

    def with_capacity(self, events: int) -> Self:
        """How many events the ring holds, rounded up to a power of two; without it 64."""
        self._config.capacity = _word(events, "capacity")
        return self

    def with_system(self, system: ThreadSystem) -> Self:
        """The thread system to wait with; by default this process's own."""
        self._system = system
        return self

    def with_wake(self, hook: Any, context: Any = ffi.NULL) -> Self:
        """A C function (as cffi has it, a wrt_wake_fn) to be called when an event comes, and its
        context. It is called by any thread that posts, so no Python function will do. By default an
        eventfd, see Events.fileno()."""
        self._config.wake, self._config.wake_context = hook, context
        self._wake_kept = (hook, context)
        return self

    def with_buffer(self, buffer: bytearray | mmap) -> Self:
        """Keeps the events in this memory, aligned as layout() says. Without it, build() makes a
        buffer."""
        if isinstance(buffer, memoryview):  # CPython crashes when a lent view dies in a cycle
            raise TypeError("pass the object that owns the memory, not a view of it")
        self._buffer = ffi.from_buffer("uint8_t[]", buffer, require_writable=True)
        return self

    def layout(self) -> Layout:
        """What buffer the capacity needs."""
        layout = ffi.new("wrt_layout *")
        check(lib.wrt_events_layout(self._config, layout))
        return Layout(layout.bytes, layout.alignment)

    def build(self) -> Events:
        """Makes the ring. Raises InvalidArgumentError, OutOfMemoryError if the buffer is too
        small."""
        config = ffi.new("wrt_events_config *", self._config[0])
        config.system = system_interface(self._system)
        buffer = self._give_buffer(config)
        wake = _eventfd() if self._wake_kept is None else None
        if wake is not None:
            config.wake = ffi.addressof(lib, "wrt_linux_wake_call")
            config.wake_context = wake
        return Events(config, (buffer, self._wake_kept, self._system), wake)

    def _give_buffer(self, config: Any) -> Any:
        layout = self.layout()
        buffer, offset = self._buffer, 0
        if buffer is None:
            buffer = ffi.new("uint8_t[]", layout.bytes + layout.alignment)
            offset = -int(ffi.cast("uintptr_t", buffer)) % layout.alignment
        config.buffer = ffi.cast("uint8_t *", buffer) + offset
        config.buffer_size = ffi.sizeof(buffer) - offset
        self._buffer = None  # one buffer serves one ring
        return buffer


def _eventfd() -> Any:
    wake = ffi.new("wrt_linux_wake *")
    check(lib.wrt_linux_wake_init(wake))
    return ffi.gc(wake, lib.wrt_linux_wake_deinit)


def _kind(number: int) -> int:
    try:
        return EventKind(number)
    except ValueError:
        return number


def _listen(events: Events, call: Callable[[Event], Any]) -> None:
    for event in events:
        try:
            call(event)
        except Exception:
            threading.excepthook(
                threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread()))
            )


def _close_all() -> None:
    """At the exit of Python: before it waits for threads, which may be waiting for events."""
    for events in list(_open):
        events.close()
        if events._listener is not None:
            events._listener.join(_LEAVE)  # unless it is inside of what it calls


# Before atexit's functions Python waits for its threads; concurrent.futures ends its own this way.
_before_threads: Callable[[Callable[[], None]], Any] | None
_before_threads = getattr(threading, "_register_atexit", None)
if _before_threads is not None:
    with contextlib.suppress(RuntimeError):  # Python is on its way out already
        _before_threads(_close_all)
atexit.register(_close_all)
