"""What is known of a sandbox from outside: its walls, its numbers and its end."""

from __future__ import annotations

from typing import Any, NamedTuple

from wrt_platform._enums import SandboxEnd
from wrt_platform.enforcement import Enforcement, enforcement_of

__all__ = ["SandboxReport", "report_of"]

_UNBOUND = 2**64 - 1
_NO_MAXIMUM = 2**32 - 1
_WALLS = (
    "system_calls",
    "no_new_privileges",
    "unobservable",
    "resource_limits",
    "life_line",
    "landlock",
    "user_namespace",
    "mount_namespace",
    "ipc_namespace",
    "network_namespace",
)


class SandboxReport(NamedTuple):
    """What holds, and what has been used; the numbers of the guest are the guest's word."""

    process: int  # its id; 0 once it has ended
    end: SandboxEnd
    end_number: int  # signal or exit code
    memory_pages: int
    memory_peak_pages: int
    refused_growths: int  # memory.grow answered -1
    stack_peak_bytes: int
    host_calls: int  # answered by this process
    declared_maximum: int | None  # pages, of its memory's type
    cpu_time: float  # seconds
    fuel_used: int
    fuel_left: int | None  # None: without bound
    engine_bytes: int
    system_calls: Enforcement
    no_new_privileges: Enforcement
    unobservable: Enforcement
    resource_limits: Enforcement
    life_line: Enforcement
    landlock: Enforcement
    user_namespace: Enforcement
    mount_namespace: Enforcement
    ipc_namespace: Enforcement
    network_namespace: Enforcement

    @property
    def walls(self) -> dict[str, Enforcement]:
        """What holds, by its name."""
        return {name: getattr(self, name) for name in _WALLS}


def report_of(raw: Any) -> SandboxReport:
    """What C has filled in."""
    maximum = None if raw.declared_maximum == _NO_MAXIMUM else int(raw.declared_maximum)
    return SandboxReport(
        raw.process,
        SandboxEnd(raw.end),
        raw.end_number,
        raw.memory_pages,
        raw.memory_peak_pages,
        raw.refused_growths,
        raw.stack_peak_bytes,
        raw.host_calls,
        maximum,
        raw.cpu_ns / 1e9,
        raw.fuel_used,
        None if raw.fuel_left == _UNBOUND else int(raw.fuel_left),
        raw.engine_bytes,
        *(enforcement_of(getattr(raw, name)) for name in _WALLS),
    )
