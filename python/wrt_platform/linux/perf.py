"""Counters of what the processor and the kernel do for a thread. Mirrors
wrt_platform/linux/perf.h.

    found = profile(instance.exports.run, 40)
    print(found)                # a table; a counter that this machine lacks says why
    found.value                 # what run(40) returned
    found["instructions"].value
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any, NamedTuple

from wrt_platform._enums import PerfCounter, PerfState
from wrt_platform._native import ffi, lib
from wrt_platform.errors import InvalidArgumentError, _sentence, check
from wrt_platform.page_allocator import _word

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import Self

__all__ = [
    "PerfCounter",
    "PerfEvent",
    "PerfEventBuilder",
    "PerfProfileBuilder",
    "PerfReading",
    "PerfState",
    "Profile",
    "ProfileRow",
    "counter_name",
    "profile",
]


class PerfReading(NamedTuple):
    """What has been counted."""

    value: int  # scaled, if it is; 0 if nothing was counted
    raw: int  # as it was counted
    enabled_ns: int  # time that it was enabled while the thread ran
    running_ns: int  # of it, with a place on the processor
    state: PerfState

    @classmethod
    def scaled(cls, raw: int, enabled_ns: int, running_ns: int) -> PerfReading:
        """What a count stands for that was taken for `running_ns` of `enabled_ns`."""
        reading = ffi.new("wrt_perf_reading *")
        check(lib.wrt_perf_scale(raw, enabled_ns, running_ns, reading))
        return _reading(reading)

    def __str__(self) -> str:
        if self.state is PerfState.NOT_COUNTED:
            return "not counted"
        if self.state is PerfState.EXACT:
            return f"{self.value:,}"
        return (
            f"{self.value:,} (scaled: counted {self.running_ns / self.enabled_ns:.0%} of the time)"
        )


class PerfEvent:
    """One counter of the thread that made it; made by PerfEventBuilder. A forked child can't use it
    (StateError). Threads: one at a time, any may read()."""

    def __init__(self, config: Any, leader: PerfEvent | None) -> None:
        self._raw = ffi.new("wrt_perf_event *")
        self._leader = leader  # C borrows it
        self._members: list[PerfCounter] = []
        check(lib.wrt_perf_event_init(self._raw, config))
        self._counter = PerfCounter(config.type)
        if leader is not None:
            leader._members.append(self._counter)

    @property
    def counter(self) -> PerfCounter:
        """What it counts."""
        return self._counter

    @property
    def name(self) -> str:
        """The counter's name, as the perf tool has it."""
        return counter_name(self._counter)

    def enable(self) -> None:
        """Counts from now on; a leader's whole group does."""
        check(lib.wrt_perf_event_enable(self._raw))

    def disable(self) -> None:
        """Counts no longer, and keeps the count; a leader's whole group does."""
        check(lib.wrt_perf_event_disable(self._raw))

    def reset(self) -> None:
        """Sets the count to 0, not the times; a leader's whole group does."""
        check(lib.wrt_perf_event_reset(self._raw))

    def read(self) -> PerfReading:
        """The count, running or not."""
        reading = ffi.new("wrt_perf_reading *")
        check(lib.wrt_perf_event_read(self._raw, reading))
        return _reading(reading)

    def read_group(self) -> list[PerfReading]:
        """The counts of the whole group at one moment, the leader's first. Raises
        InvalidArgumentError if it leads none."""
        readings = ffi.new("wrt_perf_reading[]", lib.WRT_PERF_GROUP_MAX)
        count = ffi.new("uint32_t *")
        check(lib.wrt_perf_event_read_group(self._raw, readings, len(readings), count))
        return [_reading(readings + place) for place in range(count[0])]

    def close(self) -> None:
        """Closes it; again does nothing. Raises StateError while it leads others."""
        check(lib.wrt_perf_event_deinit(self._raw))

    def __enter__(self) -> Self:
        self.enable()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.disable()

    def __del__(self) -> None:
        raw = getattr(self, "_raw", None)
        if raw is not None:
            lib.wrt_perf_event_deinit(raw)

    def __repr__(self) -> str:
        return f"<PerfEvent {self.name}>"


class PerfEventBuilder:
    """Collects settings; the rules of linux/perf.h are checked by build()."""

    def __init__(self) -> None:
        size = ffi.sizeof("wrt_perf_event_config")
        self._config = ffi.new("wrt_perf_event_config *", {"struct_size": size})
        self._leader: PerfEvent | None = None

    def with_type(self, counter: PerfCounter) -> Self:
        """What is counted."""
        self._config.type = _word(int(counter), "type")
        return self

    def with_config(self, number: int) -> Self:
        """With RAW: the event's number in the processor's manual; else 0."""
        if not 0 <= number < 2**64:
            raise InvalidArgumentError(f"config {number} has no place in 64 bits")
        self._config.config = number
        return self

    def with_leader(self, leader: PerfEvent | None) -> Self:
        """Of the group that it joins: all of a group have a place at the same time, or none."""
        self._leader = leader
        self._config.leader = ffi.NULL if leader is None else leader._raw
        return self

    def with_inherit(self, enabled: bool = True) -> Self:
        """Threads and processes that the thread makes from now on count as well."""
        self._config.inherit = enabled
        return self

    def with_include_kernel(self, enabled: bool = True) -> Self:
        """What the kernel does for the thread counts as well."""
        self._config.include_kernel = enabled
        return self

    def build(self) -> PerfEvent:
        """Opens the counter, not yet counting. Raises UnsupportedError where the machine has no
        such counter, PermissionDeniedError naming what is in the way."""
        return PerfEvent(self._config, self._leader)


class ProfileRow(NamedTuple):
    """A counter of a profile."""

    counter: PerfCounter
    name: str
    reading: PerfReading | None  # None: this machine has it not, or refuses it
    reason: str  # why, then

    def __str__(self) -> str:
        return f"{self.name}: {self.reading or self.reason}"


class Profile:
    """What a call took: `value`, and a row for each counter."""

    def __init__(self, value: Any, rows: list[ProfileRow], ratio: float | None) -> None:
        self.value = value
        self.rows = rows
        self.instructions_per_cycle = ratio  # None: cycles or instructions were not counted

    def __getitem__(self, counter: PerfCounter | str) -> PerfReading:
        """The reading of a counter. Raises KeyError with the reason where there is none."""
        for row in self.rows:
            if counter in (row.counter, row.name):
                if row.reading is None:
                    raise KeyError(row.reason)
                return row.reading
        raise KeyError(f"{counter!r} is no counter of a profile")

    def __iter__(self) -> Iterator[ProfileRow]:
        return iter(self.rows)

    def _lines(self) -> list[tuple[str, str]]:
        lines = [(row.name, str(row.reading or row.reason)) for row in self.rows]
        if self.instructions_per_cycle is not None:
            lines.append(("instructions per cycle", f"{self.instructions_per_cycle:.2f}"))
        return lines

    def __str__(self) -> str:
        width = max(len(name) for name, _ in self._lines())
        return "\n".join(f"{name:{width}}  {text}" for name, text in self._lines())

    def _repr_html_(self) -> str:
        cells = "".join(
            f"<tr><td>{html.escape(name)}</td><td>{html.escape(text)}</td></tr>"
            for name, text in self._lines()
        )
        return f"<table><tr><th>counter</th><th>count</th></tr>{cells}</table>"


class PerfProfileBuilder:
    """Collects what profile() counts."""

    def __init__(self) -> None:
        size = ffi.sizeof("wrt_perf_profile_config")
        self._config = ffi.new("wrt_perf_profile_config *", {"struct_size": size, "inherit": True})

    def with_inherit(self, enabled: bool = True) -> Self:
        """Threads that the call makes count as well, as those in which guests with a time-out
        run; the default here."""
        self._config.inherit = enabled
        return self

    def with_include_kernel(self, enabled: bool = True) -> Self:
        """What the kernel does for the call counts as well."""
        self._config.include_kernel = enabled
        return self

    def run(self, call: Callable[..., Any], *arguments: Any, **named: Any) -> Profile:
        """Calls, and counts meanwhile. Raises what the call raises; PermissionDeniedError or
        UnsupportedError if nothing at all can be counted."""
        counting = _Counting(self._config)
        try:
            value = call(*arguments, **named)
        finally:
            rows = counting.stop()
        return Profile(value, _rows(rows), _ratio(rows))


def profile(call: Callable[..., Any], *arguments: Any, **named: Any) -> Profile:
    """Calls `call(*arguments, **named)`, and counts what it takes: `found.value` is what it
    returned, `print(found)` the table. Costs some 200 us beside the call."""
    return PerfProfileBuilder().run(call, *arguments, **named)


class _Counting:
    """A profile under way."""

    def __init__(self, config: Any) -> None:
        self._raw = ffi.new("wrt_perf_profile *")
        check(lib.wrt_perf_profile_start(self._raw, config))

    def stop(self) -> Any:
        rows = ffi.new("wrt_perf_row[]", lib.WRT_PERF_ROWS)
        check(lib.wrt_perf_profile_stop(self._raw, rows))
        return rows


def counter_name(counter: PerfCounter) -> str:
    """The counter's name, as the perf tool has it."""
    return str(ffi.string(lib.wrt_perf_counter_name(counter)).decode())


def _reading(raw: Any) -> PerfReading:
    return PerfReading(raw.value, raw.raw, raw.enabled_ns, raw.running_ns, PerfState(raw.state))


def _rows(raws: Any) -> list[ProfileRow]:
    return [_row(raws + place) for place in range(len(raws))]


def _row(raw: Any) -> ProfileRow:
    counter = PerfCounter(raw.counter)
    if raw.error.status == lib.WRT_OK:
        reading = _reading(ffi.addressof(raw, "reading"))
        return ProfileRow(counter, counter_name(counter), reading, "")
    reason = _sentence(ffi.addressof(raw, "error"))
    return ProfileRow(counter, counter_name(counter), None, reason)


def _ratio(rows: Any) -> float | None:
    ratio = ffi.new("double *")
    if lib.wrt_perf_instructions_per_cycle(rows, len(rows), ratio) != lib.WRT_OK:
        return None
    return float(ratio[0])
