"""One call for a whole run: load, link, limit, run, and tell what happened.

result = run("program.wasm", ["input.txt"], dirs={"/": "data"}, limits=Limits(fuel=10**9))
print(result.exit_code, result.stdout)

run("library.wasm", "add", 2, 3).value
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Union

from wrt_platform.errors import (
    CrashedError,
    ExitError,
    HostError,
    InterruptedCallError,
    InvalidArgumentError,
    NotFoundError,
    OutOfFuelError,
    TimedOutError,
    TrapError,
    WrtError,
)
from wrt_platform.execution import Deadline
from wrt_platform.host_function import OutputClosedError
from wrt_platform.instance import Instance, InstanceUsage, Trap
from wrt_platform.limits import Limits
from wrt_platform.module import Module
from wrt_platform.protections import STACK_SIZE, Protected, protections
from wrt_platform.standard_streams import Input, Output, OutputSink, WriteObserver, open_input

if TYPE_CHECKING:
    from wrt_platform.linking import Imports
    from wrt_platform.linux.sandbox import SandboxReport
    from wrt_platform.module import Source
    from wrt_platform.wasi import Wasi

__all__ = ["ExitCode", "Protected", "Result", "run"]

Folders = Union[Mapping[str, Any], Sequence[Any], None]
_WASI = "wasi_snapshot_preview1"


class ExitCode:
    """What a run that the guest did not end itself counts as; the command line ends with it."""

    REFUSED = 2  # not a module we can run, or other bad input
    OUTPUT = 74  # output could not be written
    TIMED_OUT = 124
    OUT_OF_FUEL = 125
    MEMORY_LIMIT = 126
    INTERRUPTED = 130
    TRAP = 134
    CRASHED = 139  # the process of a sandbox died
    CLOSED_PIPE = 141


class Result(NamedTuple):
    """What a run came to, and what it used."""

    exit_code: int  # the guest's own, or one of ExitCode
    value: Any  # of a function; None for a program
    stdout: bytes  # empty if it went elsewhere
    stderr: bytes
    fuel_used: int  # instructions, exact
    peak_pages: int  # of 64 KiB
    wall_time: float  # seconds
    cpu_time: float  # seconds, of the threads that ran the guest
    enforced: tuple[Protected, ...]
    error: WrtError | None  # what ended the run, if the guest did not end it
    trap: Trap | None
    truncated: bool  # there was more output than is kept
    module: str  # its name

    @property
    def output(self) -> str:
        """Standard output as text."""
        return self.stdout.decode(errors="replace")

    def check(self) -> Result:
        """Raises what ended the run, or ExitError for an exit code that is not 0."""
        if self.error is not None:
            raise self.error
        if self.exit_code != 0:
            error = ExitError(f"{self.module} ended with exit code {self.exit_code}")
            error.exit_code = self.exit_code
            raise error
        return self

    def __str__(self) -> str:
        from wrt_platform.report import as_text

        return as_text(self)

    def __repr__(self) -> str:
        end = f"exit code {self.exit_code}" if self.error is None else type(self.error).__name__
        return f"<Result of {self.module}: {end}, fuel {self.fuel_used}, {self.peak_pages} pages>"

    def _repr_html_(self) -> str:
        from wrt_platform.report import as_html

        return as_html(self)


def run(
    module: Module | Source,
    args: Iterable[str] | str = (),
    *arguments: Any,
    limits: Limits | None = None,
    timeout: float | str | None = None,
    fuel: int | None = None,
    memory: int | str | None = None,
    env: Mapping[str, str] | None = None,
    dirs: Folders = None,
    stdin: Input = None,
    stdout: Output = None,
    stderr: Output = None,
    imports: Imports = None,
    sandbox: str | None = None,
) -> Result:
    """Runs a WASI program, or one function of a module, and waits for its end.

    args: the program's arguments, without its name. If it is a text, it is the name of an
    exported function, and `arguments` are its arguments: run("x.wasm", "f", 1, timeout=1).
    limits, or timeout, fuel and memory one by one, as Limits takes them.
    env: the environment; nothing is inherited. dirs: folders that the guest may use, as
    {guest path: host path}, or a list of host paths or "HOST::GUEST"; nothing else can be reached.
    stdin: bytes or text, a descriptor, a file, "inherit"; by default it is empty.
    stdout, stderr: a descriptor, a file, "inherit" or "capture"; by default captured, and shown
    as well if Python runs in a notebook.
    imports: what the module imports beside WASI, as Instance takes it; in a sandbox, functions that
    say their types.
    sandbox: "sealed": the module is validated and run in a process that has given up nearly every
    system call; "strict": not there yet (UnsupportedError); None or "none": in this process.

    A program's trap and a limit that it reaches are told by the Result (`error`, `trap`); the
    same in a function is raised, since there is no value. Raises for a module that can't be
    started, as Module and Instance do; InvalidArgumentError, NotFoundError.
    """
    wanted = _limits(limits, timeout, fuel, memory)
    if sandbox not in (None, "none"):
        return _run_sealed(
            module, args, arguments, wanted, imports, sandbox, (stdin, stdout, stderr), env, dirs
        )
    loaded = module if isinstance(module, Module) else Module(module)
    function = args if isinstance(args, str) else None
    if function is None and arguments:
        raise TypeError("arguments of a program are one list: run(module, ['a', 'b'])")
    _require_function(loaded, function)
    words = [] if function is not None else [str(word) for word in args]
    run = _Run(loaded, wanted, imports)
    with_system = function is None or any(i.module == _WASI for i in loaded.imports)
    if with_system:
        run.open_streams(stdin, stdout, stderr)
        try:
            run.open_system([loaded.name, *words], env or {}, _folders(dirs))
        except BaseException:
            run.close()
            raise
    return run.finish(function, arguments)


def _run_sealed(
    module: Module | Source,
    args: Iterable[str] | str,
    arguments: Sequence[Any],
    limits: Limits,
    imports: Imports,
    profile: str,
    streams: tuple[Input, Output, Output],
    env: Mapping[str, str] | None,
    dirs: Folders,
) -> Result:
    from wrt_platform.sealed_run import SealedRun

    function = args if isinstance(args, str) else None
    if function is None and arguments:
        raise TypeError("arguments of a program are one list: run(module, ['a', 'b'])")
    run = SealedRun(module, limits, imports, profile)
    try:
        run.open_streams(*streams)
        words = [] if function is not None else [str(word) for word in args]
        run.open_system([run.name, *words], env or {}, _folders(dirs))
    except BaseException:
        run.close()
        raise
    return run.finish(function, arguments)


class _Run:
    """What one run needs, from opening to closing."""

    def __init__(self, module: Module | None, limits: Limits, imports: Imports) -> None:
        self._loaded = module
        self._limits = limits
        self._imports = imports
        self._wasi: Wasi | None = None
        self._folders: list[str] = []
        self._sinks: list[OutputSink] = []
        self._stdin: int | None = None
        self._kept: Any = None
        self._observer: WriteObserver | None = None
        self._instance: Instance | None = None

    @property
    def _module(self) -> Module:
        assert self._loaded is not None
        return self._loaded

    def open_streams(self, stdin: Input, stdout: Output, stderr: Output) -> None:
        self._stdin, self._kept = open_input(stdin)
        self._sinks = [OutputSink(stdout, 1)]
        self._sinks.append(OutputSink(stderr, 2))

    def open_system(
        self, words: list[str], env: Mapping[str, str], folders: list[tuple[str, str]]
    ) -> None:
        from wrt_platform.wasi import WasiBuilder

        builder = WasiBuilder().with_arguments(words).with_environment(env)
        for host, guest in folders:
            builder.with_preopen(host, guest)
        if self._stdin is not None:
            builder.with_standard_input(self._stdin)
        builder.with_standard_output(self._sinks[0].descriptor)
        builder.with_standard_error(self._sinks[1].descriptor)
        self._wasi = builder.build()
        self._folders = [guest for _, guest in folders]
        self._observer = WriteObserver(self._wasi._imports, self._wasi._import_count)

    def finish(self, function: str | None, arguments: Sequence[Any]) -> Result:
        """Runs to the end and closes everything."""
        start = time.perf_counter()
        error: WrtError | None = None
        value: Any = None
        try:
            try:
                value = self._call(function, arguments)
            except ExitError as ended:
                error = ended
            except (TrapError, OutOfFuelError, TimedOutError, InterruptedCallError) as stopped:
                error = stopped
            except (HostError, OutputClosedError, CrashedError) as failed:
                error = failed
            wall = time.perf_counter() - start
        finally:
            outputs = self.close()
        if function is not None and error is not None and not isinstance(error, ExitError):
            raise error
        return self._result(value, error, wall, outputs)

    def _call(self, function: str | None, arguments: Sequence[Any]) -> Any:
        imports: list[Any] = [] if self._wasi is None else [self._wasi]
        if self._observer is not None:
            imports.append({_WASI: {"fd_write": self._observer}})
        if self._imports is not None:
            given = self._imports
            imports += [given] if isinstance(given, Mapping) else list(given)
        deadline = Deadline(self._limits.timeout)  # one for all that follows
        instance = Instance(
            self._module, imports, limits=self._limits, stack_size=STACK_SIZE, start=False
        )
        self._instance = instance
        guest, store = instance._open(), instance._store
        if self._module.usage.start_function is not None:
            guest.go_on(store, deadline)
        if function is None:
            return guest.call_function(instance._function("_start"), (), deadline)
        if "_initialize" in instance.exports and function != "_initialize":
            guest.call_function(instance._function("_initialize"), (), deadline)
        return guest.call_function(instance._function(function), arguments, deadline)

    def close(self) -> list[bytes]:
        """Ends the captures; returns what they hold."""
        instance = self._instance
        if instance is not None and instance._store.root().abandoned:
            seen = [bytes(sink.captured) for sink in self._sinks]
            instance._store.afterwards(self._close_sinks)  # until then the guest may write
            return seen
        return self._close_sinks()

    def _close_sinks(self) -> list[bytes]:
        return [sink.close() for sink in self._sinks]

    def _result(
        self, value: Any, error: WrtError | None, wall: float, outputs: list[bytes]
    ) -> Result:
        instance = self._instance
        assert instance is not None
        usage = instance.usage
        code, error = self._exit_code(error, usage)
        stdout, stderr = outputs if outputs else (b"", b"")
        return Result(
            exit_code=code,
            value=value,
            stdout=stdout,
            stderr=stderr,
            fuel_used=usage.fuel_used,
            peak_pages=usage.memory_peak_pages,
            wall_time=wall,
            cpu_time=instance._open().cpu_seconds,
            enforced=protections(instance, self._limits, self._wasi is not None, self._folders),
            error=error,
            trap=instance.trap if isinstance(error, TrapError) else None,
            truncated=any(sink.truncated for sink in self._sinks),
            module=self._module.name,
        )

    def _exit_code(
        self, error: WrtError | None, usage: InstanceUsage | SandboxReport
    ) -> tuple[int, WrtError | None]:
        if isinstance(error, OutputClosedError):
            return ExitCode.CLOSED_PIPE, error
        failure = None if self._observer is None else self._observer.failure
        if failure is not None and (error is None or isinstance(error, ExitError)):
            return ExitCode.OUTPUT, _output_error(*failure)
        if error is None:
            return 0, None
        if isinstance(error, ExitError):
            return error.exit_code, None
        if isinstance(error, TimedOutError):
            return ExitCode.TIMED_OUT, error
        if isinstance(error, OutOfFuelError):
            return ExitCode.OUT_OF_FUEL, error
        if isinstance(error, InterruptedCallError):
            return ExitCode.INTERRUPTED, error
        if isinstance(error, CrashedError):
            return ExitCode.CRASHED, error
        if isinstance(error, TrapError) and self._memory_ran_out(usage):
            return ExitCode.MEMORY_LIMIT, error
        return ExitCode.TRAP, error

    def _memory_ran_out(self, usage: Any) -> bool:
        """Whether it was our limit, not the module's own, that refused memory."""
        memory = self._module.memory_type
        limit = self._limits.pages
        if memory is None or usage.refused_growths == 0:
            return False
        return memory.maximum is None or (limit is not None and limit < memory.maximum)


def _limits(
    limits: Limits | None,
    timeout: float | str | None,
    fuel: int | None,
    memory: int | str | None,
) -> Limits:
    base = Limits() if limits is None else limits
    return Limits(
        memory=base.memory if memory is None else memory,
        fuel=base.fuel if fuel is None else fuel,
        timeout=base.timeout if timeout is None else timeout,
    )


def _require_function(module: Module, function: str | None) -> None:
    exports = module.exports
    if function is None and "_start" not in exports:
        offered = ", ".join(list(exports)[:10]) or "nothing"
        raise NotFoundError(
            f"{module.name} is no program: it exports no _start, but {offered}; "
            "call one of its functions by name"
        )
    if function is not None and function not in exports:
        offered = ", ".join(list(exports)[:10]) or "nothing"
        raise NotFoundError(f"{module.name} has no export {function!r}; it exports {offered}")


def _folders(dirs: Folders) -> list[tuple[str, str]]:
    """Pairs of host path and guest path."""
    if dirs is None:
        return []
    if isinstance(dirs, Mapping):
        return [(os.fspath(host), guest) for guest, host in dirs.items()]
    if isinstance(dirs, (str, bytes, os.PathLike)):
        raise TypeError("dirs is a list of folders, or {guest path: host path}")
    return [folder(item) for item in dirs]


def folder(item: Any) -> tuple[str, str]:
    """Host and guest path of "HOST::GUEST", or of a path that is the same for both."""
    if isinstance(item, tuple):
        host, guest = item
        return os.fspath(host), str(guest)
    host, separator, guest = os.fspath(item).partition("::")
    if not host or (separator and not guest):
        raise InvalidArgumentError(f"a folder is HOST or HOST::GUEST, not {item!r}")
    return host, guest or host


def _output_error(stream: str, reason: str) -> WrtError:
    from wrt_platform.errors import SystemCallError

    return SystemCallError(f"{stream}: {reason}")
