"""A run in an ordinary process that has given up nearly all: `run(..., sandbox="strict")`.

The whole interpreter runs there, behind namespaces, Landlock and a filter of the calls that it
needs: larger walls round a larger thing than `sealed`, which is the one to prefer. How the run went
is the last line of that process's standard error, and is taken out of it here.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import wrt_platform.errors as errors
from wrt_platform.enforcement import EnforcementState
from wrt_platform.errors import CrashedError, TimedOutError, UnsupportedError, WrtError
from wrt_platform.guest import Frame
from wrt_platform.instance import Trap
from wrt_platform.linux.confined_process import ConfinedEnd, ConfinedProcessBuilder, ConfinedReport
from wrt_platform.linux.landlock import LandlockAccess
from wrt_platform.linux.seccomp import SeccompBuilder, SeccompProfile
from wrt_platform.protections import Protected
from wrt_platform.running import ExitCode, Result
from wrt_platform.standard_streams import OutputSink, open_input

if TYPE_CHECKING:
    from wrt_platform.limits import Limits
    from wrt_platform.linking import Imports
    from wrt_platform.module import Module, Source
    from wrt_platform.standard_streams import Input, Output

__all__ = ["run_strict"]

# What the calls of WASI take beyond the profile, on files that Landlock has let through.
_CALLS = (
    "clock_getres fadvise64 fallocate fdatasync fstatfs fsync ftruncate linkat mkdirat openat2 "
    "ppoll preadv preadv2 pwritev pwritev2 readlinkat renameat2 sched_yield statx symlinkat "
    "unlinkat utimensat"
)
_MARK = b"wrt_platform strict run: "
_GRACE = 10.0  # seconds that the interpreter has beyond the guest's time
_CHILD = "from wrt_platform.strict_run import main; main()"


def run_strict(
    module: Module | Source,
    words: Sequence[str],
    function: str | None,
    arguments: Sequence[Any],
    limits: Limits,
    imports: Imports,
    streams: tuple[Input, Output, Output],
    env: Mapping[str, str],
    folders: Sequence[tuple[str, str]],
) -> Result:
    """As run(), in a process behind walls."""
    if imports is not None:
        raise UnsupportedError("functions of this process can't be lent to a strict sandbox")
    with tempfile.TemporaryDirectory(prefix="wrt-") as folder:
        path, name = _module_file(module, Path(folder))
        plan = {
            "module": path,
            "words": list(words),
            "function": function,
            "arguments": list(arguments),
            "limits": list(limits),
            "env": dict(env),
            "folders": [[os.path.abspath(host), guest] for host, guest in folders],
        }
        return _Confined(plan, limits, name).run(streams)


def _module_file(module: Module | Source, folder: Path) -> tuple[str, str]:
    """Where the process can read it; text is assembled here."""
    from wrt_platform.module import Module, _bytes_of

    if isinstance(module, Module):
        data, name = module._data, module.name
    else:
        data, name = _bytes_of(module)
    path = folder / (name if name.endswith(".wasm") else f"{name}.wasm")
    path.write_bytes(bytes(data))
    return str(path), name


class _Confined:
    """One run, from the walls to what is told of it."""

    def __init__(self, plan: dict[str, Any], limits: Limits, name: str) -> None:
        self._plan = plan
        self._limits = limits
        self._name = name
        self._line = b""

    def run(self, streams: tuple[Input, Output, Output]) -> Result:
        stdin, kept = open_input(streams[0])
        sinks = [OutputSink(streams[1], 1), OutputSink(streams[2], 2)]
        reading, writing = os.pipe()
        null = os.open(os.devnull, os.O_RDONLY)
        builder = self._builder()
        builder.with_standard_input(null if stdin is None else stdin)
        builder.with_standard_output(sinks[0].descriptor)
        builder.with_standard_error(writing)
        sorter = threading.Thread(target=self._sort, args=(reading, sinks[1].descriptor))
        start = time.perf_counter()
        try:
            with builder.start() as process:
                os.close(writing)
                writing = -1
                sorter.start()
                report, result = process.report, self._wait(process)
                sorter.join()
        finally:
            del kept
            for number in (null, writing):
                if number >= 0:
                    os.close(number)
            if not sorter.ident:
                os.close(reading)
            outputs = [sink.close() for sink in sinks]
        wall = time.perf_counter() - start
        return self._result(report, result, outputs, wall, any(s.truncated for s in sinks))

    def _builder(self) -> ConfinedProcessBuilder:
        executable = os.path.realpath(sys.executable)
        package = Path(__file__).resolve().parent.parent
        paths = [str(package), *(path for path in sys.path if path and os.path.isdir(path))]
        words = [executable, "-B", "-s", "-c", _CHILD, json.dumps(self._plan)]
        filter_ = SeccompBuilder().with_profile(SeccompProfile.STRICT).allow(_CALLS.split()).build()
        builder = (
            ConfinedProcessBuilder(executable)
            .with_arguments(words)
            .with_environment({"PYTHONPATH": os.pathsep.join(paths)})
            .with_system_files()
            .with_filter(filter_)
        )
        reading = LandlockAccess.READ | LandlockAccess.EXECUTE
        for path in {sys.prefix, sys.base_prefix, *paths, os.path.dirname(self._plan["module"])}:
            if os.path.exists(path):
                builder.allow(path, reading)
        for host, _ in self._plan["folders"]:
            builder.allow(host, LandlockAccess.READ | LandlockAccess.WRITE)
        return builder

    def _wait(self, process: Any) -> Any:
        timeout = self._limits.timeout
        try:
            return process.wait(None if timeout is None else timeout + _GRACE)
        except TimedOutError:
            process.kill()
            return process.wait()

    def _sort(self, reading: int, output: int) -> None:
        """Passes on what the guest prints, and keeps the line that is ours."""
        with os.fdopen(reading, "rb") as pipe:
            for line in pipe:
                if line.startswith(_MARK):
                    self._line = line[len(_MARK) :]
                    continue
                at = line.find(_MARK)  # behind what the guest did not end
                if at >= 0:
                    self._line, line = line[at + len(_MARK) :], line[:at]
                try:
                    os.write(output, line)
                except OSError:  # nobody reads it any more
                    continue

    def _result(
        self, report: ConfinedReport, ended: Any, outputs: list[bytes], wall: float, cut: bool
    ) -> Result:
        told = self._told(ended)
        if "raised" in told:
            raise _error(told["raised"], told["text"])
        error = None if told["error"] is None else _error(told["kind"], told["error"])
        frames = tuple(Frame(*frame) for frame in told["frames"])
        trap = None if told["trap"] is None else Trap(told["trap"], told["reason"], frames)
        return Result(
            exit_code=told["exit_code"],
            value=told["value"],
            stdout=outputs[0],
            stderr=outputs[1],
            fuel_used=told["fuel_used"],
            peak_pages=told["peak_pages"],
            wall_time=wall,
            cpu_time=told["cpu_time"],
            enforced=(*_held(told["enforced"]), *_walls(report)),
            error=error,
            trap=trap,
            truncated=cut,
            module=self._name,
        )

    def _told(self, ended: Any) -> dict[str, Any]:
        """What the process has said; or that it could not."""
        try:
            if ended.end is ConfinedEnd.EXITED and ended.code == 0:
                told: dict[str, Any] = json.loads(self._line)
                return told
        except ValueError:
            pass
        words = f"the process of the sandbox ended ({ended.end.name.lower()} {ended.code})"
        said = {"error": words, "kind": "CrashedError", "exit_code": ExitCode.CRASHED}
        if ended.end is ConfinedEnd.KILLED:
            said = {"error": "the time limit has passed", "kind": "TimedOutError", "exit_code": 124}
        nothing: dict[str, Any] = {"value": None, "fuel_used": 0, "peak_pages": 0, "cpu_time": 0.0}
        return {**nothing, "trap": None, "reason": "", "frames": [], "enforced": [], **said}


def _error(kind: str, text: str) -> WrtError:
    found = getattr(errors, kind, CrashedError)
    made: WrtError = found(text)
    return made


def _held(told: list[list[Any]]) -> list[Protected]:
    kept = [Protected(name, EnforcementState(state), *rest) for name, state, *rest in told]
    return [held for held in kept if held.name != "process"]


def _walls(report: ConfinedReport) -> list[Protected]:
    return [Protected(name, wall.state, wall.reason, "") for name, wall in report._asdict().items()]


def main() -> None:
    """In the process: runs what the first argument says, and tells how it went."""
    from wrt_platform.limits import Limits
    from wrt_platform.running import run

    plan = json.loads(sys.argv[1])
    function = plan["function"]
    try:
        result = run(
            plan["module"],
            plan["words"] if function is None else function,
            *plan["arguments"],
            limits=Limits(*plan["limits"]),
            env=plan["env"],
            dirs={guest: host for host, guest in plan["folders"]},
            stdin="inherit",
            stdout="inherit",
            stderr="inherit",
        )
    except WrtError as error:
        told: dict[str, Any] = {"raised": type(error).__name__, "text": str(error)}
    else:
        told = _outcome(result)
    sys.stderr.buffer.write(_MARK + json.dumps(told).encode() + b"\n")
    sys.stderr.buffer.flush()


def _outcome(result: Result) -> dict[str, Any]:
    trap = result.trap
    return {
        "exit_code": int(result.exit_code),
        "value": result.value,
        "fuel_used": result.fuel_used,
        "peak_pages": result.peak_pages,
        "cpu_time": result.cpu_time,
        "error": None if result.error is None else str(result.error),
        "kind": "" if result.error is None else type(result.error).__name__,
        "trap": None if trap is None else trap.code,
        "reason": "" if trap is None else trap.reason,
        "frames": [] if trap is None else [list(frame) for frame in trap.frames],
        "enforced": [
            [held.name, int(held.state), held.reason, held.remedy] for held in result.enforced
        ],
    }
