"""The C object behind an Instance: what it borrows, how it is called, how it fails.

It outlives the Instance while anything taken from it is in use: an exported function, a view of
its memory. It knows no Store (functions bring theirs), so that it goes when the last of them goes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from wrt_platform._native import ffi, lib
from wrt_platform.cancel import CancelToken
from wrt_platform.errors import (
    ExitError,
    InterruptedCallError,
    OutOfFuelError,
    TimedOutError,
    TrapError,
    error_of,
)
from wrt_platform.execution import Abandoned, Deadline, drive, watched, watched_inside
from wrt_platform.host_function import failure_of
from wrt_platform.limits import Limits
from wrt_platform.memory import finish
from wrt_platform.module import function_name, module_at
from wrt_platform.store import Turn, address_of, holds_turn, owners, register
from wrt_platform.values import FunctionType, decode_all, encode_all

if TYPE_CHECKING:
    from wrt_platform.function import Function
    from wrt_platform.module import Module
    from wrt_platform.store import Entry, Store

__all__ = ["Frame", "Guest"]

_FRAMES_MAX = 64  # that an error lists
_FIRST_SLICE = 1_000_000  # instructions; the first slices of a call find the right number
_NO_FUNCTION = 0xFFFFFFFF


class Frame(NamedTuple):
    """A place in a guest's code."""

    function: str | int  # its name, or its index if it has none
    number: int  # its index in the module
    offset: int  # of the instruction, in bytes from the start of the module
    module: str  # the module's name

    def __str__(self) -> str:
        name = self.function if isinstance(self.function, str) else f"function {self.function}"
        return f"{name} (at byte 0x{self.offset:x})"


class Guest:
    """An initialised wrt_instance."""

    def __init__(self, module: Module, timeout: float | None) -> None:
        self.pointer = ffi.new("wrt_instance *")
        self.module = module
        self.timeout = timeout  # seconds; of calls that say nothing else
        self.slice_instructions = _FIRST_SLICE
        self.cpu_seconds = 0.0  # of the threads that ran it
        self.stale_interrupt = False
        self.live = False
        self.borrowed: list[Any] = []  # what C holds pointers to
        self.state: Any = None  # the buffer that engine state and guest stack lie in
        self.systems: list[Any] = []  # WASI
        self.allocator: Any = None
        self.allocator_lock: Any = None  # if others may use the allocator as well
        self.under_way = FunctionType()  # of the call that was begun
        self._paused = False  # by us: the next call drops it
        register(self.pointer, self)

    # Calls

    def call_function(
        self, function: Function, arguments: Sequence[Any], timeout: float | str | Deadline | None
    ) -> Any:
        """Calls and waits for the end; see Instance.call()."""
        store = function._store
        cells = self._arguments(function, arguments)
        deadline = self._deadline(timeout)
        if holds_turn(store):
            return self._call_inside(function, cells, deadline)

        def job() -> Any:
            with Turn(store):
                self._begin(function, cells)
                return self._to_the_end(store, deadline)

        return self._do(store, job, deadline)

    def go_on(self, store: Store, timeout: float | str | Deadline | None) -> Any:
        """Runs the start function, or the call that was stopped, to its end."""
        deadline = self._deadline(timeout)

        def job() -> Any:
            with Turn(store):
                return self._to_the_end(store, deadline)

        return self._do(store, job, deadline)

    def _deadline(self, timeout: float | str | Deadline | None) -> Deadline:
        if isinstance(timeout, Deadline):
            return timeout
        return Deadline(self.timeout if timeout is None else Limits(timeout=timeout).timeout)

    def begin(self, function: Function, arguments: Sequence[Any]) -> None:
        """Prepares a call; nothing runs yet."""
        with Turn(function._store):
            self._begin(function, self._arguments(function, arguments))

    def _do(self, store: Store, job: Any, deadline: Deadline) -> Any:
        """Host functions may take long: then another thread works, and this one only waits.

        A Python function is left on the caller's own thread if there is no time-out: it can be
        interrupted there, and may belong there.
        """
        root = store.root()
        if root.calls_python:
            watch = deadline.at is not None
        else:
            watch = root.calls_system and (deadline.at is not None or _on_main_thread())
        if not watch:
            return self._timed(job)
        return watched(self, store, lambda: self._timed(job), deadline)

    def _call_inside(self, function: Function, cells: Any, deadline: Deadline) -> Any:
        """A call that a host function makes. It can't be paused: what stops it ends it."""
        store = function._store
        count = len(function.type.results)
        results = ffi.new("wrt_value[]", max(count, 1))
        call = ffi.new("wrt_call *")
        call.struct_size = ffi.sizeof("wrt_call")
        call.function, call.arguments, call.results = function._pointer, cells, results
        call.argument_count, call.result_count = len(function.type.parameters), count

        def job() -> None:
            remaining = deadline.remaining()
            call.timeout_ns = 0 if remaining is None else max(int(remaining * 1e9), 1)
            with store.entered() as entry:
                status = lib.wrt_instance_call(self.pointer, call)
            if status != lib.WRT_OK:
                raise self.error(status, entry)

        if _on_main_thread():
            watched_inside(self, store, job, deadline)
        else:
            job()
        return _single(decode_all(function.type.results, results, store))

    def _timed(self, job: Any) -> Any:
        start = time.thread_time()
        try:
            return job()
        finally:
            self.cpu_seconds += time.thread_time() - start

    def _arguments(self, function: Function, arguments: Sequence[Any]) -> Any:
        kinds = function.type.parameters
        if len(arguments) != len(kinds):
            raise TypeError(
                f"{function.name}{function.type} takes {len(kinds)} arguments, "
                f"{len(arguments)} were given"
            )
        cells = ffi.new("wrt_value[]", max(len(kinds), 1))
        whose = f"{function.name}: argument"
        encode_all(kinds, arguments, cells, function._store, whose)
        return cells

    def _begin(self, function: Function, cells: Any) -> None:
        if self._paused:
            self.abort(function._store)
        count = len(function.type.parameters)
        with function._store.entered() as entry:
            status = lib.wrt_instance_begin(self.pointer, function._pointer, cells, count)
        if status != lib.WRT_OK:
            raise self.error(status, entry)
        self.under_way = function.type

    def _to_the_end(self, store: Store, deadline: Deadline) -> Any:
        try:
            drive(self, store, deadline)
        except (OutOfFuelError, InterruptedCallError, TimedOutError, KeyboardInterrupt, Abandoned):
            self._paused = True
            raise
        self._paused = False
        return self.results(store)

    def abort(self, store: Store) -> int:
        """Drops the paused call. Returns the C status."""
        self._paused = False
        with store.entered():
            return lib.wrt_instance_abort(self.pointer)

    def results(self, store: Store) -> Any:
        """What the call that ended returned: a value, a tuple of several, None for none."""
        kinds = self.under_way.results
        cells = ffi.new("wrt_value[]", max(len(kinds), 1))
        with store.entered() as entry:
            status = lib.wrt_instance_results(self.pointer, cells, len(kinds))
        if status != lib.WRT_OK:
            raise self.error(status, entry)
        return _single(decode_all(kinds, cells, store))

    def token(self, store: Store) -> CancelToken:
        """The token of the call that this thread is inside of, or else of the instance. It lies in
        the state of the instance where the call began."""
        with store.entered():
            raw = lib.wrt_instance_cancel_token(self.pointer)
        at = address_of(raw)
        owner = self if self._holds(at) else next(it for it in owners(Guest) if it._holds(at))
        return CancelToken._of(raw, owner)

    def _holds(self, address: int) -> bool:
        start = address_of(self.state)
        return start <= address < start + len(self.state)

    # Errors

    def error(self, status: int, entry: Entry) -> BaseException:
        """The exception for what ended a call."""
        if entry.failure is not None:
            return failure_of(entry.failure, entry.failed_in)
        if status == lib.WRT_ERR_TRAP:
            return self.trap_error()
        error = error_of(status)
        if isinstance(error, ExitError):
            codes = [system.exit_code for system in self.systems]
            error.exit_code = next((code for code in codes if code is not None), 0)
            error.args = (f"the guest ended itself with exit code {error.exit_code}",)
        return error

    def trap_error(self) -> TrapError:
        """The exception for the last trap, with function, offset and frames."""
        said = error_of(lib.WRT_ERR_TRAP)
        trap = ffi.new("wrt_trap *")
        if lib.wrt_instance_trap(self.pointer, trap) != lib.WRT_OK:
            return TrapError(str(said))
        reason = trap_text(trap.code)
        frames = self.frames()
        lines = [f"{reason} in {frames[0]}" if frames else reason]
        lines += [f"  called from {frame}" for frame in frames[1:]]
        if trap.depth > len(frames) > 0:
            lines.append(f"  and {trap.depth - len(frames)} more")
        error = TrapError("\n".join(lines))
        error.operation, error.detail = said.operation, said.detail
        error.code, error.reason, error.frames = int(trap.code), reason, tuple(frames)
        if frames:
            error.function, error.offset = frames[0].function, frames[0].offset
        return error

    def frames(self) -> list[Frame]:
        """Where the last trap or the paused call stands, innermost first."""
        found: list[Frame] = []
        trap = ffi.new("wrt_trap *")
        while len(found) < _FRAMES_MAX:
            if lib.wrt_instance_frame(self.pointer, len(found), trap) != lib.WRT_OK:
                break
            found.append(_frame(trap))
        return found

    def __del__(self) -> None:
        if self.live:
            kept = (self.allocator, self.borrowed)
            finish(lib.wrt_instance_deinit, self.pointer, self.allocator_lock, kept)


def _single(values: list[Any]) -> Any:
    """A value, a tuple of several, None for none."""
    return values[0] if len(values) == 1 else tuple(values) if values else None


def _on_main_thread() -> bool:
    """Where Python handles signals, and so where somebody must listen for Ctrl-C."""
    return threading.current_thread() is threading.main_thread()


def trap_text(code: int) -> str:
    """The specification's words for a trap code."""
    return str(ffi.string(lib.wrt_trap_text(code)).decode())


def _frame(trap: Any) -> Frame:
    index = int(trap.function)
    if trap.module == ffi.NULL or index == _NO_FUNCTION:
        return Frame(index, index, int(trap.offset), "")
    module = module_at(trap.module)
    name = function_name(trap.module, index)
    where = module.name if module is not None else ""
    return Frame(index if name is None else name, index, int(trap.offset), where)
