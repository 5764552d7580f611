"""Calls of guests' functions on a thread pool: what they are made of, on their way, and when they
have ended."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from wrt_platform._enums import TaskState
from wrt_platform._native import ffi, lib
from wrt_platform.errors import InvalidArgumentError, check
from wrt_platform.page_allocator import _within
from wrt_platform.system_below import Duration, nanoseconds
from wrt_platform.thread_system import CpuSet, ThreadPriority
from wrt_platform.values import FunctionType
from wrt_platform.waits import wait_in_slices

if TYPE_CHECKING:
    from typing import Self

    from wrt_platform.threading import ThreadPool

NOBODY = 0xFFFFFFFF  # an index of no worker


class WasmTask:
    """A call of a function; each setting is also a method.

    id: the caller's own number. function_id: as the pool's executor knows it. fuel: instructions;
    None: what the instance has. timeout: of the call, start function included.
    """

    __slots__ = ("args", "cpu_affinity", "fuel", "function_id", "id", "priority", "timeout", "type")

    def __init__(
        self,
        id: int = 0,
        function_id: int = 0,
        args: Sequence[Any] = (),
        priority: ThreadPriority = ThreadPriority.DEFAULT,
        cpu_affinity: CpuSet | None = None,
        fuel: int | None = None,
        timeout: Duration | None = None,
    ) -> None:
        self.id = id
        self.function_id = function_id
        self.args = args
        self.priority = priority
        self.cpu_affinity = cpu_affinity
        self.fuel = fuel
        self.timeout = timeout
        self.type: FunctionType | None = None

    def with_id(self, number: int) -> Self:
        """The caller's own number, for reports."""
        self.id = number
        return self

    def with_function_id(self, number: int) -> Self:
        """The function, as the pool's executor knows it."""
        self.function_id = number
        return self

    def with_args(self, args: Sequence[Any]) -> Self:
        """What the function is called with; checked against its type at spawn."""
        self.args = args
        return self

    def with_type(self, kind: FunctionType) -> Self:
        """What the caller takes the function for; compared at spawn. The room for results follows
        from the function itself."""
        self.type = kind
        return self

    def with_priority(self, priority: ThreadPriority) -> Self:
        """Within the pool's range; DEFAULT: NORMAL, or what is next to it there."""
        self.priority = priority
        return self

    def with_cpu_affinity(self, cpus: CpuSet) -> Self:
        """Within the pool's own CPUs."""
        self.cpu_affinity = cpus
        return self

    def with_fuel(self, fuel: int | None) -> Self:
        """Instructions that the call may execute; None: what the instance has."""
        self.fuel = fuel
        return self

    def with_has_fuel(self, enabled: bool = True) -> Self:
        """Whether the number given to with_fuel() counts."""
        if not enabled:
            self.fuel = None
        return self

    def with_timeout(self, timeout: Duration | None) -> Self:
        """Of the call: seconds, text like "5s", or a timedelta; None: none."""
        self.timeout = timeout
        return self

    def _write(self, config: Any) -> None:
        config.struct_size = ffi.sizeof("wrt_wasm_task_config")
        config.id = _within(self.id, "id", 2**64)
        config.function_id = _within(self.function_id, "function_id", 2**32)
        config.priority = int(self.priority)
        if self.cpu_affinity is not None:
            config.cpu_affinity.words = self.cpu_affinity._words
        if self.fuel is not None:
            config.has_fuel, config.fuel = True, _within(self.fuel, "fuel", 2**64)
        if self.timeout is not None:
            config.timeout_ns = max(nanoseconds(self.timeout, "timeout"), 1)


class Outcome(NamedTuple):
    """How a task ended."""

    id: int
    value: Any  # a value, a tuple of several, None for none; None if there is an error
    error: BaseException | None  # TrapError, TimedOutError, ..., InterruptedCallError if cancelled
    worker: int | None  # that ran it
    run_time_ns: int
    cpu_time_ns: int  # that the thread used meanwhile
    fuel_used: int  # instructions executed


class TaskReport(NamedTuple):
    """Where a task is now."""

    state: TaskState
    priority: ThreadPriority
    worker: int | None  # that runs it
    heartbeat: int  # of its instance
    id: int
    system_id: int  # of its thread
    run_time_ns: int
    cpu_time_ns: int
    memory_bytes: int  # that the worker's allocator has out


class Batch:
    """Tasks that were spawned at once: what C borrows until the last one is done."""

    def __init__(self, pool: ThreadPool, count: int) -> None:
        self.pool = pool
        self.count = count
        self.tasks = ffi.new("wrt_wasm_task[]", max(count, 1))
        self.args: Any = None
        self.results: Any = None
        self.places: list[tuple[FunctionType, Any, int]] = []  # type, Store, first result

    def is_over(self) -> bool:
        """Whether C is done with all of it."""
        report = ffi.new("wrt_task_report *")
        over = (lib.WRT_TASK_NEW, lib.WRT_TASK_DONE)
        for place in range(self.count):
            task = ffi.addressof(self.tasks[place], "task")
            if lib.wrt_task_query(task, report) == lib.WRT_OK and report.state not in over:
                return False
        return True


class TaskHandle:
    """A task on its way. Threads: any; one of them gets the outcome, the others the same one."""

    __slots__ = ("__weakref__", "_batch", "_outcome", "_place", "_task")

    def __init__(self, batch: Batch, place: int) -> None:
        self._batch = batch
        self._place = place
        self._task = batch.tasks + place
        self._outcome: Outcome | None = None

    def join(self, timeout: Duration | None = None) -> Outcome:
        """Waits until the task is done, and says how it ended. May be called again.

        Raises TimedOutError if it runs on; StateError if its worker was given up.
        """
        if self._outcome is None:
            wait_in_slices(timeout, lambda limit: self._batch.pool._join(self, limit))
        assert self._outcome is not None
        return self._outcome

    def _was_joined(self) -> bool:
        """Whether another thread has the outcome; it may be just noting it."""
        for _ in range(1000):
            state = self.report.state
            if self._outcome is not None:
                return True
            if state is not TaskState.NEW:
                return False
            time.sleep(0.001)
        return False

    def result(self, timeout: Duration | None = None) -> Any:
        """Waits, and returns what the function returned, or raises what ended it."""
        outcome = self.join(timeout)
        if outcome.error is not None:
            raise outcome.error
        return outcome.value

    def cancel(self) -> bool:
        """Asks the task to end: it does not begin, or is interrupted, in a guest's loop as well as
        in a host function that waits with the instance's cancel token. False: it is done."""
        if self._outcome is not None:
            return False
        status = lib.wrt_task_cancel(ffi.addressof(self._task, "task"))
        if status == lib.WRT_ERR_STATE:
            return False
        check(status)
        return True

    def give_up(self) -> bool:
        """Lets the worker of a cancelled task go, and puts a spare in its place. Returns whether
        there was one. Raises StateError if the task does not run or was not cancelled."""
        replaced = ffi.new("bool *")
        check(lib.wrt_task_give_up(ffi.addressof(self._task, "task"), replaced))
        return bool(replaced[0])

    @property
    def done(self) -> bool:
        """Whether join() need not wait."""
        return self._outcome is not None or self.report.state is TaskState.DONE

    @property
    def report(self) -> TaskReport:
        """Where it is now."""
        raw = ffi.new("wrt_task_report *")
        check(lib.wrt_task_query(ffi.addressof(self._task, "task"), raw))
        worker = None if raw.worker == NOBODY else int(raw.worker)
        state = TaskState.DONE if self._outcome is not None else TaskState(raw.state)
        return TaskReport(
            state,
            ThreadPriority(raw.priority),
            worker,
            raw.heartbeat,
            raw.id,
            raw.system_id,
            raw.run_time_ns,
            raw.cpu_time_ns,
            raw.memory_bytes,
        )


def check_call(task: WasmTask, kind: FunctionType) -> None:
    if task.type is not None and task.type != kind:
        raise InvalidArgumentError(
            f"function {task.function_id} is {kind}, and not {task.type} as the task says"
        )
    if len(task.args) != len(kind.parameters):
        raise InvalidArgumentError(
            f"function {task.function_id}{kind} takes {len(kind.parameters)} arguments, "
            f"{len(task.args)} were given"
        )
