"""Waits for half a second for memory to run short."""

import sys

from wrt_platform import EventsBuilder, WrtError
from wrt_platform.linux.pressure import LinuxPressureBuilder, PressureLevel


def main() -> None:
    events = EventsBuilder().with_capacity(16).build()
    # Of the whole system; with_cgroup() for a group's own.
    pressure = LinuxPressureBuilder().with_events(events).build()
    for _ in range(pressure.collect("500ms")):
        level = PressureLevel(events.next(0).detail[0])
        print("memory is short:", level.name.lower())
    print("looked")
    pressure.close()


try:
    main()
except WrtError as error:
    sys.exit(f"pressure: {error}")
