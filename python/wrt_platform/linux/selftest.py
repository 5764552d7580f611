"""A proof, at start-up, that the walls round a guest hold here and now. Mirrors linux/selftest.h.

    wrt_platform.selftest()             # raises UnsupportedError where a wall does not hold
    print(SelftestBuilder().run())      # the rows, whatever came out

It does what a guest must not, in children and sealed workers, and looks for the exact fault; this
process is not harmed. Other threads may go on meanwhile.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from wrt_platform._enums import SelftestState
from wrt_platform._native import ffi, lib
from wrt_platform.errors import UnsupportedError, check

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

__all__ = ["SelftestBuilder", "SelftestReport", "SelftestRow", "SelftestState", "selftest"]


class SelftestRow(NamedTuple):
    """One wall."""

    id: str  # "worker.calls"; it stays the same over versions
    name: str  # for people
    state: SelftestState
    attempts: int  # how often it was leant against
    elapsed: float  # seconds
    reason: str  # what was seen


class SelftestReport:
    """All walls; true if each of them holds."""

    def __init__(self, rows: tuple[SelftestRow, ...], error: UnsupportedError | None) -> None:
        self.rows = rows
        self._error = error

    def __bool__(self) -> bool:
        return self._error is None

    def __iter__(self) -> Iterator[SelftestRow]:
        return iter(self.rows)

    def __getitem__(self, name: str) -> SelftestRow:
        """The row of this id. Raises KeyError if there is none."""
        for row in self.rows:
            if row.id == name:
                return row
        raise KeyError(name)

    def check(self) -> None:
        """Raises UnsupportedError where a wall does not hold; its text names the rows."""
        if self._error is not None:
            raise self._error

    def __str__(self) -> str:
        width = max(len(row.name) for row in self.rows)
        return "\n".join(
            f"{row.name:<{width}}  {row.state.name.lower():<7}  {row.reason}" for row in self.rows
        )


class SelftestBuilder:
    """Collects settings; the rules of linux/selftest.h are checked by run()."""

    def __init__(self) -> None:
        size = ffi.sizeof("wrt_selftest_config")
        self._config = ffi.new("wrt_selftest_config *", {"struct_size": size})
        self._path: Any = None

    def with_program_path(self, path: str | bytes | os.PathLike[str] | None) -> Self:
        """A file that holds sandbox_program(), where nothing is executed from memory."""
        self._path = None if path is None else ffi.new("char[]", os.fsencode(path))
        self._config.program_path = ffi.NULL if path is None else self._path
        return self

    def run(self) -> SelftestReport:
        """Leans against all walls, some 0.3 s; a wall that does not hold is a row of the report,
        not an exception."""
        raws = ffi.new("wrt_selftest_row[]", lib.WRT_SELFTEST_ROWS)
        count = ffi.new("uint32_t *")
        status = lib.wrt_selftest(self._config, raws, len(raws), count)
        rows = tuple(_row(raws[place]) for place in range(count[0]))
        failed = [row for row in rows if row.state is SelftestState.FAILED]
        if status == lib.WRT_ERR_UNSUPPORTED and failed:
            told = "; ".join(f"{row.id}: {row.reason}" for row in failed)
            error = UnsupportedError(f"walls that do not hold on this system: {told}")
            error.status = status
            return SelftestReport(rows, error)
        check(status)
        return SelftestReport(rows, None)


def selftest() -> SelftestReport:
    """Leans against all walls. Raises UnsupportedError naming those that do not hold here: a
    program that counts on them should end then. Costs some 0.3 s, and 500 short processes."""
    report = SelftestBuilder().run()
    report.check()
    return report


def _row(raw: Any) -> SelftestRow:
    return SelftestRow(
        ffi.string(raw.id).decode(),
        ffi.string(raw.name).decode(),
        SelftestState(raw.state),
        raw.attempts,
        raw.elapsed_ns / 1e9,
        ffi.string(raw.reason).decode(),
    )
