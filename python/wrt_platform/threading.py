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
from typing import TYPE_CHECKING, Any, NamedTuple

from wrt_platform._enums import TaskState, WorkerState
from wrt_platform._native import ffi, lib
from wrt_platform.errors import check, error_of
from wrt_platform.guest import _single
from wrt_platform.pool_config import ThreadPoolConfig
from wrt_platform.store import address_of
from wrt_platform.system_below import WAIT_FOR_EVER, Duration, nanoseconds
from wrt_platform.task_runner import TaskRunner
from wrt_platform.thread_system import CpuSet, ThreadPriority, ThreadReport, report_of
from wrt_platform.values import FunctionType, decode_all, decode_rows, encode_all, encode_rows
from wrt_platform.waits import wait_in_slices
from wrt_platform.wasm_task import (
    NOBODY,
    Batch,
    Outcome,
    TaskHandle,
    TaskReport,
    WasmTask,
    check_call,
)

if TYPE_CHECKING:
    from typing import Self

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

_EXIT = 1_000_000_000  # nanoseconds that all tasks of a pool have to end at the exit of Python
_running: dict[int, ThreadPool] = {}  # pools whose threads may run, by the address in C


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


class ThreadPool(TaskRunner):
    """Worker threads of a thread system, for guests. As a context manager it drains at the end.

    executor: {function_id: a function of an instance}, {function_id: (module, name)}, or an
    Executor. Threads: any.
    """

    def __init__(self, config: ThreadPoolConfig | None = None, executor: Any = None) -> None:
        config = ThreadPoolConfig() if config is None else config
        system = self._system_of(config)
        self._serve(config, config._executor if executor is None else executor, system)
        self._batches: set[Batch | Task] = set()
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
        batch = Batch(self, len(tasks))
        configs = ffi.new("wrt_wasm_task_config[]", max(len(tasks), 1))
        kinds = [executor.type_of(task.function_id) for task in tasks]
        batch.args = ffi.new("wrt_value[]", sum(len(kind.parameters) for kind in kinds) + 1)
        batch.results = ffi.new("wrt_value[]", sum(len(kind.results) for kind in kinds) + 1)
        first_arg = first_result = 0
        for config, task, kind in zip(configs, tasks, kinds):
            store = executor._store_of(task.function_id)
            check_call(task, kind)
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
        batch, wide, deep = Batch(self, len(rows)), len(kind.parameters), len(kind.results)
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

    def _spawn(self, batch: Batch, configs: Any) -> None:
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

    def _cancel_from(self, batch: Batch, first: int) -> None:
        for place in range(first, batch.count):
            lib.wrt_task_cancel(ffi.addressof(batch.tasks[place], "task"))

    def _join_all(
        self, batch: Batch, kind: FunctionType, store: Any, end: float | None
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
        worker = None if raw.worker == NOBODY else int(raw.worker)
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

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
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


def _worker(raw: Any) -> WorkerReport:
    return WorkerReport(
        WorkerState(raw.state),
        report_of(raw.thread) if raw.thread.system_id != 0 else None,
        raw.finished,
        raw.memory_bytes,
        raw.memory_peak,
        None if raw.memory_limit == WAIT_FOR_EVER else int(raw.memory_limit),
    )


@atexit.register
def _stop_all() -> None:
    """Threads must not enter Python when it is gone. What can't be stopped stays where it is."""
    for pool in list(_running.values()):
        lib.wrt_thread_pool_shutdown(pool._raw, lib.WRT_SHUTDOWN_CANCEL, _EXIT, ffi.NULL)
