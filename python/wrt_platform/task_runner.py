"""What runs guests' functions on workers, for thread pools and thread managers: it knows what
they raised."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wrt_platform._native import ffi, lib
from wrt_platform.errors import ExitError, InterruptedCallError, StateError, TrapError, WrtError
from wrt_platform.executor import Executor, executor_of
from wrt_platform.guest import _frame, trap_text
from wrt_platform.host_function import failure_of
from wrt_platform.store import address_of

if TYPE_CHECKING:
    from wrt_platform.pool_config import ThreadPoolConfig


class TaskRunner:
    """What runs tasks on a pool in C, and knows why they failed."""

    _pool: Any  # wrt_thread_pool *
    _executor: Executor | None
    _failures: dict[int, tuple[BaseException, str]]  # what host functions raised, by task

    def _serve(self, config: ThreadPoolConfig, given: Any, system: Any) -> None:
        """Makes the executor of what the caller gave."""
        slots = config._config.max_threads + config._config.spare_threads
        self._executor = executor_of(given, system, slots)
        self._owns_executor = self._executor is not None and not isinstance(given, Executor)
        self._failures = {}

    def _served(self) -> Executor:
        if self._executor is None:
            raise StateError("the pool was made without an executor")
        return self._executor

    def _end_executor(self) -> None:
        if self._owns_executor and self._executor is not None:
            self._executor.close()

    def _error(self, task: Any, outcome: Any) -> BaseException:
        """The exception for what ended a wrt_wasm_task."""
        failure = self._failures.pop(address_of(task), None)
        if failure is not None and outcome.status == lib.WRT_ERR_HOST:
            return failure_of(*failure)
        error = error_of_outcome(outcome)
        if isinstance(error, ExitError):
            error.exit_code = self._exit_code(task.turn.function_id)
            error.args = (f"the guest ended itself with exit code {error.exit_code}",)
        return error

    def _exit_code(self, function_id: int) -> int:
        guest = self._served()._guest_of(function_id)
        codes = [system.exit_code for system in guest.systems] if guest is not None else []
        return next((code for code in codes if code is not None), 0)

    def _note_failure(self, failure: BaseException, name: str) -> None:
        """A host function on the calling worker raised."""
        task = self._current()
        if task is not None:
            self._failures[address_of(task)] = (failure, name)

    def _current(self) -> Any:
        out = ffi.new("wrt_task **")
        return out[0] if lib.wrt_thread_pool_current(self._pool, out) == lib.WRT_OK else None

    def _current_function(self) -> int | None:
        task = self._current()
        if task is None:
            return None
        return int(ffi.cast("wrt_wasm_task *", task).turn.function_id)


def error_of_outcome(outcome: Any) -> BaseException:
    """From what the worker noted; its instance may be running something else by now."""
    from wrt_platform.errors import _BY_STATUS, _sentence

    kind = _BY_STATUS.get(outcome.status, WrtError)
    text = _sentence(ffi.addressof(outcome, "error"))
    error = kind(text)
    error.status = int(outcome.status)
    error.operation = ffi.string(outcome.error.operation).decode()
    error.os_code = outcome.error.os_code
    error.detail = (outcome.error.detail[0], outcome.error.detail[1])
    if isinstance(error, TrapError):
        frame = _frame(outcome.trap)
        error.code, error.reason = int(outcome.trap.code), trap_text(outcome.trap.code)
        error.frames, error.function, error.offset = (frame,), frame.function, frame.offset
        error.args = (f"{error.reason} in {frame}",)
    elif isinstance(error, InterruptedCallError):
        error.args = (f"the task was cancelled: {text}",)
    return error
