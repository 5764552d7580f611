"""One process for one instance: a module is handed over, called, and looked at. What it imports is
answered here, by the functions that are lent; each says its types, since nobody here reads what the
module wants."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from wrt_platform._native import ffi, lib
from wrt_platform.errors import (
    CrashedError,
    ExitError,
    InvalidArgumentError,
    StateError,
    TrapError,
    WrtError,
    check,
    error_of,
)
from wrt_platform.execution import Deadline
from wrt_platform.guest import Frame, _single, trap_text
from wrt_platform.host_function import HostFunction, failure_of
from wrt_platform.limits import Limits
from wrt_platform.linking import _is_system, _offers
from wrt_platform.linux.sandbox_report import SandboxReport, report_of
from wrt_platform.module import _bytes_of
from wrt_platform.page_allocator import _word
from wrt_platform.store import Entry, Store, Turn
from wrt_platform.values import FunctionType, decode_all, encode_all, function_type

if TYPE_CHECKING:
    from typing import Self

    from wrt_platform.linking import Imports
    from wrt_platform.module import Source

__all__ = ["Sandbox"]

_SLICE_NS = 50_000_000  # between two looks at signals
_SENTENCE_SIZE = 4096


class Sandbox:
    """One process for one instance; made by SandboxBuilder, or taken from a SandboxPool.

    It ends with the object. A trap, an exit or a lack of fuel leaves it usable; a crash, a
    time-out, Ctrl-C and kill() end it.
    Threads: a call waits while another thread's is under way; kill() never waits. A forked child
    can't use it (StateError).
    """

    def __init__(self, raw: Any) -> None:
        self._raw: Any = raw
        self._store = Store()
        self._closing = threading.Lock()  # kill() comes from any thread
        self._kept: list[Any] = []
        self._systems: list[Any] = []
        self._timeout: float | None = None
        self._name = ""

    def load(
        self,
        module: Source,
        imports: Imports = None,
        *,
        limits: Limits | None = None,
        stack_size: int = 0,
        timeout: float | str | None = None,
    ) -> None:
        """Hands over a module, which is validated and instantiated there; nothing of it runs.

        imports: as Instance takes them, functions only; a callable is annotated with its types,
        or comes as (FunctionType, callable) or HostFunction. limits: memory, fuel, and the
        time-out of each call. timeout: of this.
        Raises MalformedError, InvalidModuleError, LinkError, LimitError, OutOfMemoryError,
        TrapError (a segment does not fit), UnsupportedError, TimedOutError, CrashedError;
        StateError if something was loaded before.
        """
        wanted = Limits() if limits is None else limits
        is_raw = isinstance(module, ffi.CData)  # of a Module, which is validated here all the same
        data: Any
        data, self._name = (module, "module") if is_raw else _bytes_of(module)
        self._timeout = wanted.timeout
        lent = list(self._lend(imports))
        guest = ffi.new("wrt_sandbox_guest *", {"struct_size": ffi.sizeof("wrt_sandbox_guest")})
        content = data if is_raw else ffi.from_buffer("uint8_t[]", data)
        guest.bytes, guest.bytes_size = content, len(data)
        array = ffi.new("wrt_import[]", max(len(lent), 1))
        for place, (module_name, name, pointer) in zip(array, lent):
            place.module, place.name = module_name, name
            place.value.kind, place.value.of.function = lib.WRT_EXTERN_FUNCTION, pointer
        guest.imports, guest.import_count = array, len(lent)
        guest.stack_size = _word(stack_size, "stack_size")
        guest.maximum_pages = wanted.pages or 0
        guest.has_fuel, guest.fuel = wanted.fuel is not None, wanted.fuel or 0
        nanoseconds = _nanoseconds(Limits(timeout=timeout).timeout)
        try:
            self._do(lambda raw: lib.wrt_sandbox_load(raw, guest, nanoseconds))
        except WrtError as error:
            said = self.sentence
            if said and not isinstance(error, (StateError, TrapError)):
                error.args = (f"{error}; it says: {said.partition(': ')[2]}",)
            raise

    def type_of(self, name: str) -> FunctionType:
        """Type of an exported function. Raises NotFoundError."""
        found, text = ffi.new("wrt_function_type *"), name.encode()
        with Turn(self._store):
            self._do(lambda raw: lib.wrt_sandbox_function(raw, text, len(text), found))
            return function_type(found)

    def call(
        self, name: str, *arguments: Any, timeout: float | str | Deadline | None = None
    ) -> Any:
        """Calls an exported function and waits for its end.

        Returns a value, a tuple of several, None for none. timeout: seconds or text like "5s";
        without it, that of the limits; when it is over the process is killed.
        Raises TrapError, OutOfFuelError, ExitError, HostError; TimedOutError, CrashedError,
        InterruptedCallError (kill()); NotFoundError, TypeError, InvalidArgumentError, StateError.
        """
        with Turn(self._store):
            deadline = self._deadline(timeout)
            kind = self.type_of(name)
            if len(arguments) != len(kind.parameters):
                raise TypeError(
                    f"{name}{kind} takes {len(kind.parameters)} arguments, "
                    f"{len(arguments)} were given"
                )
            cells = ffi.new("wrt_value[]", max(len(arguments), 1))
            encode_all(kind.parameters, arguments, cells, self._store, f"{name}: argument")
            self._finish(name.encode(), cells, len(arguments), deadline)
            results = ffi.new("wrt_value[]", max(len(kind.results), 1))
            count = len(kind.results)
            self._do(lambda raw: lib.wrt_sandbox_results(raw, results, count))
            return _single(decode_all(kind.results, results, self._store))

    def start(self, *, timeout: float | str | Deadline | None = None) -> None:
        """Runs the module's start function, if it has one; as call()."""
        with Turn(self._store):
            self._finish(None, ffi.NULL, 0, self._deadline(timeout))

    def kill(self) -> None:
        """Ends the process; a call that is under way raises InterruptedCallError. Threads: any."""
        with self._closing:
            if self._raw is not None:
                check(lib.wrt_sandbox_kill(self._raw))

    def read(self, address: int, size: int) -> bytes:
        """A copy of the guest's memory, as it is now. Raises InvalidArgumentError outside of it."""
        with self._store.entered():
            return bytes(self._memory(address, size))

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """Copies into the guest's memory. Raises InvalidArgumentError outside of it."""
        with self._store.entered():
            self._memory(address, len(data))[:] = bytes(data)

    @property
    def memory_size(self) -> int:
        """Bytes of memory that the guest has now."""
        with self._store.entered():
            return int(self._span()[1][0])

    @property
    def report(self) -> SandboxReport:
        """What holds, what has been used, and how the process ended, if it has."""
        return report_of(self._query())

    @property
    def sentence(self) -> str:
        """What the process said about its last failure: a guest's word."""
        text = ffi.new("char[]", _SENTENCE_SIZE)
        self._do(lambda raw: lib.wrt_sandbox_sentence(raw, text, len(text)))
        return str(ffi.string(text).decode())

    def fileno(self) -> int:
        """For select and asyncio: readable when there may be something to serve."""
        descriptor = ffi.new("int32_t *")
        self._do(lambda raw: lib.wrt_sandbox_descriptor(raw, descriptor))
        return int(descriptor[0])

    def close(self) -> None:
        """Kills the process and gives everything back; again does nothing. Raises StateError
        when a host function of the guest calls it."""
        with Turn(self._store), self._closing:
            if self._raw is None:
                return
            with self._store.entered():
                status = lib.wrt_sandbox_deinit(self._raw)
            check(status)
            self._raw = None
            self._kept.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        raw = getattr(self, "_raw", None)
        if raw is not None and lib.wrt_sandbox_deinit(raw) != lib.WRT_OK:
            _abandoned.append((raw, self._kept))  # C may still touch it: never freed

    def __repr__(self) -> str:
        if self._raw is None:
            return "<Sandbox, closed>"
        end = self.report.end
        return f"<Sandbox {self._name or 'empty'}, {end.name.lower()}>"

    # Below: C

    def _open(self) -> Any:
        if self._raw is None:
            raise StateError("the sandbox is closed")
        return self._raw

    def _do(self, call: Any) -> None:
        with self._store.entered() as entry:
            status = call(self._open())
        if status != lib.WRT_OK:
            raise self._error(status, entry)

    def _span(self) -> tuple[Any, Any]:
        base, size = ffi.new("uint8_t **"), ffi.new("uint64_t *")
        check(lib.wrt_sandbox_memory(self._open(), base, size))
        return base, size

    def _memory(self, address: int, size: int) -> Any:
        base, limit = self._span()
        if not 0 <= address <= limit[0] - size or size < 0:
            raise InvalidArgumentError(f"{size} bytes at {address} are not in {limit[0]} bytes")
        return ffi.buffer(base[0] + address, size)

    def _deadline(self, timeout: float | str | Deadline | None) -> Deadline:
        if isinstance(timeout, Deadline):
            return timeout
        return Deadline(self._timeout if timeout is None else Limits(timeout=timeout).timeout)

    def _finish(self, name: bytes | None, cells: Any, count: int, deadline: Deadline) -> None:
        """Begins a call and serves it to its end, with a look at signals now and then."""
        text = ffi.NULL if name is None else ffi.new("char[]", name)
        call = ffi.new("wrt_sandbox_call *", {"struct_size": ffi.sizeof("wrt_sandbox_call")})
        call.name, call.name_size = text, 0 if name is None else len(name)
        call.arguments, call.argument_count = cells, count
        remaining = deadline.remaining()
        call.timeout_ns = 0 if remaining is None else max(int(remaining * 1e9), 1)
        done = ffi.new("bool *")
        self._do(lambda raw: lib.wrt_sandbox_begin(raw, call))
        try:
            while not done[0]:
                self._do(lambda raw: lib.wrt_sandbox_serve(raw, _SLICE_NS, done))
                self._store.let_others_in()
        except BaseException as error:
            if not done[0] and not isinstance(error, WrtError):
                self.kill()  # Ctrl-C: nobody would go on with the call
            raise

    def _lend(self, imports: Imports) -> Iterator[tuple[Any, Any, Any]]:
        """Module, name and function of each import; what it needs is kept."""
        for offer in _offers(imports):
            if _is_system(offer):
                self._kept.append(offer)
                self._systems.append(offer)
                table = offer._imports
                for index in range(offer._import_count):
                    entry = table[index]
                    yield entry.module, entry.name, entry.value.of.function
                continue
            for module, functions in offer.items():
                for name, offered in functions.items():
                    texts = [ffi.new("char[]", text.encode()) for text in (module, name)]
                    pointer, owner, _ = _function(offered, f"{module}.{name}")._as_reference()
                    self._kept += [texts, owner]
                    yield texts[0], texts[1], pointer

    def _error(self, status: int, entry: Entry) -> BaseException:
        if entry.failure is not None:
            return failure_of(entry.failure, entry.failed_in)
        error = error_of(status)
        if isinstance(error, ExitError):
            codes = [system.exit_code for system in self._systems]
            error.exit_code = next((code for code in codes if code is not None), 0)
            error.args = (f"the guest ended itself with exit code {error.exit_code}",)
        if isinstance(error, CrashedError):
            error.signal = error.detail[0]
        if isinstance(error, TrapError):
            self._describe_trap(error)
        return error

    def _describe_trap(self, error: TrapError) -> None:
        raw = self._query()
        found = [raw.frames[index] for index in range(raw.frame_count)]
        frames = tuple(Frame(f.function, f.function, f.offset, self._name) for f in found)
        error.code, error.frames = raw.trap_code, frames
        error.reason = trap_text(raw.trap_code) if raw.trap_code else str(error)
        lines = [f"{error.reason} in {frames[0]}" if frames else error.reason]
        error.args = ("\n".join(lines + [f"  called from {frame}" for frame in frames[1:]]),)
        if frames:
            error.function, error.offset = frames[0].function, frames[0].offset

    def _query(self) -> Any:
        raw = ffi.new("wrt_sandbox_report *")
        with self._store.entered():
            status = lib.wrt_sandbox_query(self._open(), raw)
        check(status)
        return raw


_abandoned: list[Any] = []


def _function(offered: Any, name: str) -> Any:
    """A host function, made of what may stand for one."""
    if hasattr(offered, "_as_reference"):
        return offered
    if isinstance(offered, tuple) and len(offered) == 2 and isinstance(offered[0], FunctionType):
        return HostFunction(offered[1], offered[0], name=name)
    if not callable(offered):
        raise TypeError(
            f"import {name} can't be {offered!r}; a sandbox takes annotated callables, "
            "(FunctionType, callable) and HostFunction"
        )
    return HostFunction(offered, name=name)


def _nanoseconds(seconds: float | None) -> int:
    return 0 if seconds is None else max(int(seconds * 1e9), 1)
