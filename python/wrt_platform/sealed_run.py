"""A run in a process that has sealed itself: `run(..., sandbox="sealed")`.

Nothing here looks at the module: what it holds is learnt from the sandbox, by asking.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from wrt_platform.enforcement import EnforcementState
from wrt_platform.errors import NotFoundError, TrapError, WrtError
from wrt_platform.execution import Deadline
from wrt_platform.instance import Trap
from wrt_platform.linux.sandbox import Sandbox, SandboxBuilder, SandboxReport
from wrt_platform.module import Module, _bytes_of
from wrt_platform.protections import (
    STACK_SIZE,
    Protected,
    fuel_protection,
    system_protections,
    time_protection,
)
from wrt_platform.running import _WASI, Result, _Run

if TYPE_CHECKING:
    from wrt_platform.limits import Limits
    from wrt_platform.linking import Imports
    from wrt_platform.module import Source

__all__ = ["SealedRun"]

_PAGES_DEFAULT = 4096
_MODULE_BYTES = 16 << 20  # that a sandbox has room for by default
_NAMES_BYTES = 1 << 20  # for the imports' names
_MEBIBYTE = 1 << 20
_PAGE = 65536


class SealedRun(_Run):
    """What one run needs, from opening to closing, with a sandbox in the instance's place."""

    def __init__(
        self, source: Module | Source, limits: Limits, imports: Imports, profile: str
    ) -> None:
        super().__init__(None, limits, imports)
        if isinstance(source, Module):
            data, self._name = source._data, source.name
        else:
            data, self._name = _bytes_of(source)
        self._data = data
        builder = SandboxBuilder().with_profile(profile)
        builder.with_maximum_pages(max(limits.pages or _PAGES_DEFAULT, 1))
        builder.with_maximum_module_bytes(max(len(data) + _NAMES_BYTES, _MODULE_BYTES))
        self._sandbox: Sandbox = builder.build()
        self._report: SandboxReport | None = None

    @property
    def name(self) -> str:
        return self._name

    def _call(self, function: str | None, arguments: Sequence[Any]) -> Any:
        imports: list[Any] = [] if self._wasi is None else [self._wasi]
        if self._observer is not None:
            imports.append({_WASI: {"fd_write": self._observer}})
        if self._imports is not None:
            given = self._imports
            imports += [given] if isinstance(given, Mapping) else list(given)
        deadline = Deadline(self._limits.timeout)  # one for all that follows
        sandbox = self._sandbox
        sandbox.load(
            self._data,
            imports,
            limits=self._limits,
            stack_size=STACK_SIZE,
            timeout=deadline.remaining(),
        )
        self._require(function)
        sandbox.start(timeout=deadline)
        if function is None:
            return sandbox.call("_start", timeout=deadline)
        if function != "_initialize" and self._exports("_initialize"):
            sandbox.call("_initialize", timeout=deadline)
        return sandbox.call(function, *arguments, timeout=deadline)

    def _exports(self, name: str) -> bool:
        try:
            self._sandbox.type_of(name)
        except NotFoundError:
            return False
        return True

    def _require(self, function: str | None) -> None:
        if function is None and not self._exports("_start"):
            raise NotFoundError(
                f"{self._name} is no program: it exports no _start; "
                "call one of its functions by name"
            )
        if function is not None and not self._exports(function):
            raise NotFoundError(f"{self._name} has no function {function!r}")

    def close(self) -> list[bytes]:
        """Ends the process and the captures; returns what they hold."""
        self._report = self._sandbox.report
        self._sandbox.close()
        return self._close_sinks()

    def _result(
        self, value: Any, error: WrtError | None, wall: float, outputs: list[bytes]
    ) -> Result:
        report = self._report
        assert report is not None
        code, error = self._exit_code(error, report)
        trap = None
        if isinstance(error, TrapError):
            trap = Trap(error.code, error.reason, error.frames)
        return Result(
            exit_code=code,
            value=value,
            stdout=outputs[0] if outputs else b"",
            stderr=outputs[1] if outputs else b"",
            fuel_used=report.fuel_used,
            peak_pages=report.memory_peak_pages,
            wall_time=wall,
            cpu_time=report.cpu_time,
            enforced=self._enforced(report),
            error=error,
            trap=trap,
            truncated=any(sink.truncated for sink in self._sinks),
            module=self._name,
        )

    def _memory_ran_out(self, usage: Any) -> bool:
        """Whether it was our limit, not the module's own, that refused memory."""
        maximum, limit = usage.declared_maximum, self._limits.pages
        if usage.refused_growths == 0:
            return False
        return maximum is None or (limit is not None and limit < maximum)

    def _enforced(self, report: SandboxReport) -> tuple[Protected, ...]:
        enforced = EnforcementState.ENFORCED
        pages = self._limits.pages or _PAGES_DEFAULT
        most = f"{pages} pages ({pages * _PAGE / _MEBIBYTE:g} MiB) at most; growth beyond fails"
        bounds = "each access is compared with the memory's size"
        return (
            Protected("memory bounds", enforced, bounds, ""),
            Protected("memory limit", enforced, most, ""),
            fuel_protection(self._limits),
            time_protection(self._limits),
            *system_protections(True, self._folders),
            *(
                Protected(name.replace("_", " "), wall.state, wall.reason, "")
                for name, wall in report.walls.items()
            ),
        )
