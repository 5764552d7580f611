"""What this machine can do for a guest's limits, each row tried. Mirrors linux/doctor.h.

for row in examine():
    if row.state is not DoctorState.AVAILABLE:
        print(row.name, row.reason, row.remedy)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from wrt_platform._enums import DoctorState
from wrt_platform._native import ffi, lib
from wrt_platform.errors import check

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["DoctorRow", "DoctorState", "examine"]


class DoctorRow(NamedTuple):
    """What one attempt came to."""

    id: str  # "memory.huge_2_mib"; it stays the same over versions
    name: str  # for people
    state: DoctorState
    reason: str  # what was seen, or why not
    remedy: str  # what to do about it; empty if it is available
    promises: tuple[str, ...]  # the rows of the feature table that need it
    os_code: int  # error number, where a system call has said no; else 0

    @property
    def topic(self) -> str:
        """The first part of the id: "memory"."""
        return self.id.partition(".")[0]

    @property
    def available(self) -> bool:
        """It was done, without an exception to it."""
        return self.state is DoctorState.AVAILABLE


def examine() -> Iterator[DoctorRow]:
    """Makes the attempts one by one, as they are asked for; all of them take some 0.1 s. What is
    dangerous is tried in a child: this process stays as it is."""
    raw = ffi.new("wrt_doctor_row *")
    for index in range(lib.wrt_doctor_count()):
        check(lib.wrt_doctor_examine(index, raw))
        yield DoctorRow(
            _text(raw.id),
            _text(raw.name),
            DoctorState(raw.state),
            _text(raw.reason),
            _text(raw.remedy),
            tuple(_text(raw.promises).split()),
            raw.os_code,
        )


def _text(raw: object) -> str:
    return str(ffi.string(raw).decode())
