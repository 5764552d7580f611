"""Thread pools that run functions of guests, the most urgent ones first. Mirrors
wrt_platform/threading.h.

    config = ThreadPoolConfig(max_threads=4, name_prefix="wasm-worker")
    with LinuxThreadPool(config, {100: instance.exports.main}) as pool:
        handle = pool.spawn_wasm_thread(WasmTask(id=1, function_id=100, args=[2, 3]))
        handle.result(timeout=5)

A task that is spawned one by one costs some microseconds of Python; submit_many() and map() hand
over a whole batch in one call of C. Pools that still run at the exit of Python are cancelled then.
"""

from __future__ import annotations

import atexit
import time
import weakref
from array import array
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Union

from wrt_platform._enums import TaskState, WorkerState
from wrt_platform._native import ffi, lib
from wrt_platform.errors import (
    ExitError,
    InterruptedCallError,
    InvalidArgumentError,
    StateError,
    TrapError,
    WrtError,
    check,
    error_of,
)
from wrt_platform.executor import Executor, executor_of
from wrt_platform.guest import _frame, _single, trap_text
from wrt_platform.host_function import failure_of
from wrt_platform.memory import interface_of
from wrt_platform.module import owned
from wrt_platform.page_allocator import _within
from wrt_platform.store import address_of
from wrt_platform.system_below import WAIT_FOR_EVER, nanoseconds, system_interface
from wrt_platform.thread_system import CpuSet, ThreadPriority, ThreadReport, report_of
from wrt_platform.values import FunctionType, decode_all, decode_rows, encode_all, encode_rows
from wrt_platform.waits import wait_in_slices

if TYPE_CHECKING:
    import mmap
    from datetime import timedelta
    from types import TracebackType
    from typing import Self

    from wrt_platform.events import Events
    from wrt_platform.page_allocator import PageAllocator
    from wrt_platform.task import Task

__all__ = [
    "CpuSet",
    "LinuxThreadPool",
    "Outcome",
    "QnxThreadPool",
    "TaskHandle",
    "TaskReport",
    "TaskState",
    "ThreadPool",
    "ThreadPoolConfig",
    "ThreadPoolReport",
    "ThreadPriority",
    "WasmTask",
    "WorkerReport",
    "WorkerState",
]

Duration = Union[float, str, "timedelta"]  # seconds, text like "5s", or a timedelta

_EXIT = 1_000_000_000  # nanoseconds that all tasks of a pool have to end at the exit of Python
_NOBODY = 0xFFFFFFFF
_running: dict[int, ThreadPool] = {}  # pools whose threads may run, by the address in C


class ThreadPoolConfig:
    """What a pool is made of; each setting is also a method. What is left out has the C library's
    default; see threading.h."""

    def __init__(
        self,
        max_threads: int = 4,
        priority_range: tuple[ThreadPriority, ThreadPriority] | None = None,
        cpu_affinity: CpuSet | None = None,
        stack_size: int = 0,
        memory_limit_per_thread: int | None = None,
        name_prefix: str | None = None,
        **settings: Any,
    ) -> None:
        size = ffi.sizeof("wrt_thread_pool_config")
        self._config = ffi.new("wrt_thread_pool_config *", {"struct_size": size})
        self._name: Any = None
        self._system: Any = None
        self._allocator: PageAllocator | None = None
        self._events: Events | None = None
        self._executor: Any = None
        self._buffer: Any = None
        self.with_max_threads(max_threads).with_stack_size(stack_size)
        if priority_range is not None:
            self.with_priority_range(priority_range)
        if cpu_affinity is not None:
            self.with_cpu_affinity(cpu_affinity)
        if memory_limit_per_thread is not None:
            self.with_memory_limit_per_thread(memory_limit_per_thread)
        if name_prefix is not None:
            self.with_name_prefix(name_prefix)
        for name, value in settings.items():
            method = getattr(self, f"with_{name}", None)
            if method is None:
                raise TypeError(f"ThreadPoolConfig has no setting {name!r}")
            method(value)

    def with_max_threads(self, count: int) -> Self:
        """Workers, all started at once; 1 to 256."""
        self._config.max_threads = _within(count, "max_threads", 2**32)
        return self

    def with_priority_range(self, bounds: tuple[ThreadPriority, ThreadPriority]) -> Self:
        """Lowest and highest priority that a task may have; by default LOW to HIGH."""
        self._config.priority_range = [int(bounds[0]), int(bounds[1])]
        return self

    def with_cpu_affinity(self, cpus: CpuSet) -> Self:
        """CPUs of the workers; an empty set: any."""
        self._config.cpu_affinity.words = cpus._words
        return self

    def with_stack_size(self, size: int) -> Self:
        """Bytes of a worker's stack; 0: the system's default."""
        self._config.stack_size = _within(size, "stack_size", 2**64)
        return self

    def with_memory_limit_per_thread(self, size: int) -> Self:
        """Bytes of linear memory that the instances made on one worker have at most; 0: without
        limit. It counts what comes from the page allocator of this config."""
        self._config.memory_limit_per_thread = _within(size, "memory_limit_per_thread", 2**64)
        return self

    def with_name_prefix(self, prefix: str) -> Self:
        """Worker n is called "<prefix>-n", in 15 bytes."""
        self._name = ffi.new("char[]", prefix.encode())
        return self

    def with_queue_capacity(self, capacity: int) -> Self:
        """Tasks that can wait, for each priority; rounded up to a power of two; 0: 256."""
        self._config.queue_capacity = _within(capacity, "queue_capacity", 2**32)
        return self

    def with_spin(self, looks: int) -> Self:
        """How often a worker looks for work before it sleeps; 0: chosen, 1: not at all."""
        self._config.spin = _within(looks, "spin", 2**32)
        return self

    def with_spare_threads(self, count: int) -> Self:
        """Workers that can be given up and replaced."""
        self._config.spare_threads = _within(count, "spare_threads", 2**32)
        return self

    def with_require_priority(self, enabled: bool = True) -> Self:
        """PermissionDeniedError if not all of the priority range may be had."""
        self._config.require_priority = enabled
        return self

    def with_system(self, system: Any) -> Self:
        """The thread system; by default the pool's own."""
        self._system = system
        return self

    def with_page_allocator(self, allocator: PageAllocator) -> Self:
        """Where instances that the executor makes get their memory. While the pool runs, it is
        the pool's alone."""
        interface_of(allocator)
        self._allocator = allocator
        return self

    def with_executor(self, executor: Any) -> Self:
        """An executor, or {function_id: a function, or (module, name)}."""
        self._executor = executor
        return self

    def with_events(self, events: Events) -> Self:
        """Gets EventKind.THREAD_POISONED when a worker is given up."""
        self._events = events
        return self

    def with_buffer(self, buffer: bytearray | mmap.mmap) -> Self:
        """Where the pool lies. Without it, the pool makes a buffer."""
        self._buffer = owned(buffer)
        return self

    def _c_config(self, system: Any, executor: Executor | None) -> Any:
        raw = ffi.new("wrt_thread_pool_config *", self._config[0])
        raw.system = system_interface(system)
        if self._name is not None:
            raw.name_prefix = self._name
        if executor is not None:
            raw.executor = executor._interface
        if self._allocator is not None:
            raw.page_allocator = interface_of(self._allocator)
        if self._events is not None:
            raw.events = self._events._raw
        return raw


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


class ThreadPoolReport(NamedTuple):
    """What a pool has done and what waits; numbers of tasks wrap at 2**32."""

    threads: int
    running: int
    lost: int  # threads that were given up and have not come back
    returned: int
    spare: int
    queued: dict[ThreadPriority, int]
    peak_queued: int
    submitted: int
    finished: int
    cancelled: int
    refused: int
    wakes: int
    sleeps: int
    priority_refusals: int

    @classmethod
    def _of(cls, raw: Any) -> ThreadPoolReport:
        fields = {name: getattr(raw, name) for name in cls._fields}
        fields["queued"] = {ThreadPriority(place + 1): int(raw.queued[place]) for place in range(4)}
        return cls(**fields)


class WorkerReport(NamedTuple):
    """A worker, as the system describes its thread, and what it has done."""

    state: WorkerState
    thread: ThreadReport | None  # None of a record without a thread
    finished: int  # tasks; wraps at 2**32
    memory_bytes: int  # that its allocator has out
    memory_peak: int
    memory_limit: int | None


class _Batch:
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

    def __init__(self, batch: _Batch, place: int) -> None:
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
        worker = None if raw.worker == _NOBODY else int(raw.worker)
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
        error = _error_of_outcome(outcome)
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


class ThreadPool(TaskRunner):
    """Worker threads of a thread system, for guests. As a context manager it drains at the end.

    executor: {function_id: a function of an instance}, {function_id: (module, name)}, or an
    Executor. Threads: any.
    """

    def __init__(self, config: ThreadPoolConfig | None = None, executor: Any = None) -> None:
        config = ThreadPoolConfig() if config is None else config
        system = self._system_of(config)
        self._serve(config, config._executor if executor is None else executor, system)
        self._batches: set[_Batch | Task] = set()
        self._reap_at = 64
        self._raw = self._pool = ffi.new("wrt_thread_pool *")
        self._kept = [config, system]
        try:
            self._init(config, system)
        except BaseException:
            self._end_executor()
            raise
        if self._executor is not None:
            self._executor._pool = weakref.ref(self)
        _running[address_of(self._raw)] = self

    def _system_of(self, config: ThreadPoolConfig) -> Any:
        return config._system

    def _init(self, config: ThreadPoolConfig, system: Any) -> None:
        raw = config._c_config(system, self._executor)
        buffer = config._buffer
        if buffer is None:
            layout = ffi.new("wrt_layout *")
            check(lib.wrt_thread_pool_layout(raw, layout))
            buffer = ffi.new("uint64_t[]", layout.bytes // 8 + 1)
        raw.buffer, raw.buffer_size = ffi.cast("void *", buffer), ffi.sizeof(buffer)
        self._kept.append(buffer)
        check(lib.wrt_thread_pool_init(self._raw, raw))

    # Tasks

    def spawn_wasm_thread(self, task: WasmTask) -> TaskHandle:
        """Submits a call. Raises BusyError if the queue of its priority is full, NotFoundError or
        InvalidArgumentError if its function is not there or of another type, TypeError for
        arguments, StateError when the pool shuts down."""
        return self.submit_many((task,))[0]

    def submit(self, task: WasmTask) -> TaskHandle:
        """The same as spawn_wasm_thread()."""
        return self.submit_many((task,))[0]

    def submit_many(self, tasks: Iterable[WasmTask]) -> list[TaskHandle]:
        """Submits calls in one go. If one can't be, those before it are cancelled and its error is
        raised."""
        tasks = list(tasks)
        executor = self._served()
        batch = _Batch(self, len(tasks))
        configs = ffi.new("wrt_wasm_task_config[]", max(len(tasks), 1))
        kinds = [executor.type_of(task.function_id) for task in tasks]
        batch.args = ffi.new("wrt_value[]", sum(len(kind.parameters) for kind in kinds) + 1)
        batch.results = ffi.new("wrt_value[]", sum(len(kind.results) for kind in kinds) + 1)
        first_arg = first_result = 0
        for config, task, kind in zip(configs, tasks, kinds):
            store = executor._store_of(task.function_id)
            _check_call(task, kind)
            task._write(config)
            cells = batch.args + first_arg
            encode_all(kind.parameters, task.args, cells, store, f"task {task.id}: argument")
            config.args, config.args_count = cells, len(kind.parameters)
            config.results = batch.results + first_result
            config.results_count = len(kind.results)
            batch.places.append((kind, store, first_result))
            first_arg += len(kind.parameters)
            first_result += len(kind.results)
        self._spawn(batch, configs)
        return [TaskHandle(batch, place) for place in range(len(tasks))]

    def map(
        self, function_id: int, arguments: Iterable[Sequence[Any]], timeout: Duration | None = None
    ) -> list[Any]:
        """Calls one function with each of the arguments, and returns the results in their order.

        A batch that is larger than the queue goes in parts. Raises what ended the first call that
        failed, and TimedOutError if not all is done in time; the rest is cancelled then.
        """
        executor = self._served()
        kind, store = executor.type_of(function_id), executor._store_of(function_id)
        rows = [tuple(row) for row in arguments]
        end = None
        if timeout is not None:
            end = time.monotonic() + nanoseconds(timeout, "timeout") / 1e9
        found: list[Any] = []
        size = self._capacity
        for start in range(0, len(rows), size):
            found += self._map_part(function_id, kind, store, rows[start : start + size], end)
        return found

    @property
    def _capacity(self) -> int:
        asked = int(self._kept[0]._config.queue_capacity) or lib.WRT_THREAD_POOL_QUEUE_DEFAULT
        return 1 << (asked - 1).bit_length() if asked > 1 else 2

    def _map_part(
        self, function_id: int, kind: FunctionType, store: Any, rows: list[Any], end: float | None
    ) -> list[Any]:
        batch, wide, deep = _Batch(self, len(rows)), len(kind.parameters), len(kind.results)
        for row in rows:
            if len(row) != wide:
                raise TypeError(f"function {function_id}{kind} takes {wide} arguments: {row!r}")
        batch.args = ffi.new("wrt_value[]", len(rows) * wide + 1)
        batch.results = ffi.new("wrt_value[]", len(rows) * deep + 1)
        encode_rows(kind.parameters, rows, batch.args, store)
        template = ffi.new("wrt_wasm_task_config *")
        WasmTask(function_id=function_id)._write(template)
        template.args_count, template.results_count = wide, deep
        configs = ffi.new("wrt_wasm_task_config[]", len(rows))
        ffi.buffer(configs)[:] = bytes(ffi.buffer(template)) * len(rows)
        _point_into(configs, "args", batch.args, wide)
        _point_into(configs, "results", batch.results, deep)
        self._spawn(batch, configs)
        return self._join_all(batch, kind, store, end)

    def _spawn(self, batch: _Batch, configs: Any) -> None:
        spawned = ffi.new("uint32_t *")
        self._reap()
        self._batches.add(batch)
        status = lib.wrt_thread_pool_spawn_batch(
            self._raw, configs, batch.tasks, batch.count, spawned
        )
        if status == lib.WRT_OK:
            return
        error = error_of(status)
        batch.count = spawned[0]
        self._cancel_from(batch, 0)
        raise error

    def _cancel_from(self, batch: _Batch, first: int) -> None:
        for place in range(first, batch.count):
            lib.wrt_task_cancel(ffi.addressof(batch.tasks[place], "task"))

    def _join_all(
        self, batch: _Batch, kind: FunctionType, store: Any, end: float | None
    ) -> list[Any]:
        count, outcomes = ffi.new("uint32_t *"), ffi.new("wrt_wasm_outcome[]", batch.count)
        joined = 0

        def join(limit: int) -> int:
            nonlocal joined
            status = lib.wrt_wasm_task_join_batch(
                batch.tasks + joined,
                batch.count - joined,
                limit,
                ffi.NULL,
                outcomes + joined,
                count,
            )
            joined += count[0]
            return int(status)

        try:
            wait_in_slices(None if end is None else max(0, end - time.monotonic()), join)
        except BaseException:  # Ctrl-C among them
            self._cancel_from(batch, joined)
            raise
        self._batches.discard(batch)
        for place, ended in enumerate(_column(outcomes, "status", "i")):
            if ended != lib.WRT_OK:
                raise self._error(batch.tasks + place, outcomes[place])
        found = decode_rows(kind.results, batch.results, batch.count, store)
        return [values[0] for values in found] if len(kind.results) == 1 else _several(found)

    def _join(self, handle: TaskHandle, limit: int) -> int:
        batch, place = handle._batch, handle._place
        raw = ffi.new("wrt_wasm_outcome *")
        status = int(lib.wrt_wasm_task_join(handle._task, limit, ffi.NULL, raw))
        if status == lib.WRT_ERR_STATE:
            refusal = error_of(status)  # before the next call has one of its own
            if handle._was_joined():
                return int(lib.WRT_OK)  # another thread was faster
            raise refusal
        if status != lib.WRT_OK:
            return status
        kind, store, first = batch.places[place]
        value: Any = None
        error: BaseException | None = None
        if raw.status == lib.WRT_OK:
            value = _single(decode_all(kind.results, batch.results + first, store))
        else:
            error = self._error(handle._task, raw)
        worker = None if raw.worker == _NOBODY else int(raw.worker)
        handle._outcome = Outcome(
            raw.id, value, error, worker, raw.run_time_ns, raw.cpu_time_ns, raw.fuel_used
        )
        return int(lib.WRT_OK)

    def _reap(self) -> None:
        """Lets go of batches that nobody has joined and C is done with."""
        if len(self._batches) < self._reap_at:
            return
        self._batches = {batch for batch in self._batches if not batch.is_over()}
        self._reap_at = 2 * len(self._batches) + 64

    # State

    @property
    def report(self) -> ThreadPoolReport:
        """What it has done and what waits."""
        raw = ffi.new("wrt_thread_pool_report *")
        check(lib.wrt_thread_pool_query(self._raw, raw))
        return ThreadPoolReport._of(raw)

    @property
    def workers(self) -> list[WorkerReport]:
        """Its records, spare ones included, as the system describes their threads."""
        found: list[WorkerReport] = []
        raw = ffi.new("wrt_thread_pool_worker_report *")
        while True:
            status = lib.wrt_thread_pool_worker(self._raw, len(found), raw)
            if status == lib.WRT_ERR_NOT_FOUND:
                return found
            check(status)
            found.append(_worker(raw))

    def shutdown(self, *, cancel: bool = False, timeout: Duration | None = None) -> None:
        """Takes no more tasks and ends the workers: when all tasks are done, or, with `cancel`, as
        soon as those that run have been stopped. May be called again. Raises TimedOutError if
        some are still in a task."""
        mode = lib.WRT_SHUTDOWN_CANCEL if cancel else lib.WRT_SHUTDOWN_DRAIN
        end = lib.wrt_thread_pool_shutdown
        wait_in_slices(timeout, lambda limit: end(self._raw, mode, limit, ffi.NULL))

    def close(self) -> None:
        """Cancels what runs, ends the workers, and lets go of everything; again does nothing.
        Raises StateError while threads that were given up are still out."""
        if self._raw.magic != 0:
            self.shutdown(cancel=True)
        self._deinit()

    def _deinit(self) -> None:
        check(lib.wrt_thread_pool_deinit(self._raw))
        _running.pop(address_of(self._raw), None)
        self._end_executor()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.shutdown(cancel=kind is not None)
        self._deinit()


class LinuxThreadPool(ThreadPool):
    """A pool on Linux's threads; see linux/threading.h for what the priorities come to."""


class QnxThreadPool(ThreadPool):
    """A pool on QNX's threads, with run masks; see qnx/threading.h for what the priorities come
    to."""

    def _system_of(self, config: ThreadPoolConfig) -> Any:
        from wrt_platform.qnx.threading import QnxThreadSystemBuilder

        if config._system is not None:
            return config._system
        return QnxThreadSystemBuilder().build()


def _several(rows: list[Any]) -> list[Any]:
    """A tuple for each row, None for an empty one."""
    return [tuple(row) or None for row in rows]


def _column(structs: Any, field: str, code: Any) -> Any:
    """One field of an array of C structs, as a view in which single numbers can be written.
    code: of the module struct, native; the struct's size is a multiple of the field's."""
    whole = memoryview(ffi.buffer(structs)).cast("B").cast(code)
    kind = ffi.typeof(structs).item
    return whole[ffi.offsetof(kind, field) // whole.itemsize :: ffi.sizeof(kind) // whole.itemsize]


def _point_into(configs: Any, field: str, cells: Any, step: int) -> None:
    """Lets a pointer in each config point at its own cells, `step` of them."""
    code = "Q" if ffi.sizeof("void *") == 8 else "I"
    first, apart = address_of(cells), step * ffi.sizeof("wrt_value")
    places = [first + place * apart for place in range(len(configs))]
    _column(configs, field, code)[:] = memoryview(array(code, places))


def _check_call(task: WasmTask, kind: FunctionType) -> None:
    if task.type is not None and task.type != kind:
        raise InvalidArgumentError(
            f"function {task.function_id} is {kind}, and not {task.type} as the task says"
        )
    if len(task.args) != len(kind.parameters):
        raise InvalidArgumentError(
            f"function {task.function_id}{kind} takes {len(kind.parameters)} arguments, "
            f"{len(task.args)} were given"
        )


def _worker(raw: Any) -> WorkerReport:
    return WorkerReport(
        WorkerState(raw.state),
        report_of(raw.thread) if raw.thread.system_id != 0 else None,
        raw.finished,
        raw.memory_bytes,
        raw.memory_peak,
        None if raw.memory_limit == WAIT_FOR_EVER else int(raw.memory_limit),
    )


def _error_of_outcome(outcome: Any) -> BaseException:
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


@atexit.register
def _stop_all() -> None:
    """Threads must not enter Python when it is gone. What can't be stopped stays where it is."""
    for pool in list(_running.values()):
        lib.wrt_thread_pool_shutdown(pool._raw, lib.WRT_SHUTDOWN_CANCEL, _EXIT, ffi.NULL)
