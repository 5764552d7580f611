"""Threads of modules within limits, watched, and stopped when they break them. Mirrors
wrt_platform/safe_threading.h.

    limits = ThreadingLimits(max_total_threads=64, cpu_quota_per_thread=60)
    with WasmThreadManager(ThreadPoolConfig(max_threads=8), limits, executor) as manager:
        manager.register_module(WasmModuleInfo(id=1, name="critical", cpu_quota=30))
        thread = manager.spawn(1, WasmTask(id=7, function_id=100))
        for number, health in manager.health_check():
            ...
        manager.kill_unhealthy_threads()
        thread.result()

Killing is cooperative: a guest stops at its next loop or call, a wait that has the cancel token
ends. A thread that does not come back is given up: POISONED, until it does.
"""

from __future__ import annotations

import atexit
import contextlib
import threading
import weakref
from typing import TYPE_CHECKING, Any, NamedTuple

from wrt_platform._enums import TaskState, ThreadHealth, ThreadPriority
from wrt_platform._native import ffi, lib
from wrt_platform.errors import WrtError, check
from wrt_platform.guest import _single
from wrt_platform.memory_account import MemoryAccount
from wrt_platform.page_allocator import _within
from wrt_platform.pool_config import ThreadPoolConfig
from wrt_platform.store import address_of
from wrt_platform.system_below import WAIT_FOR_EVER, Duration, nanoseconds
from wrt_platform.task_runner import TaskRunner
from wrt_platform.threading import ThreadPoolReport
from wrt_platform.values import decode_all, encode_all
from wrt_platform.waits import wait_in_slices
from wrt_platform.wasm_task import NOBODY, Outcome, WasmTask, check_call

if TYPE_CHECKING:
    from typing import Self

    from wrt_platform.events import Events

__all__ = [
    "ManagedThread",
    "ThreadHealth",
    "ThreadHealthReport",
    "ThreadManagerConfig",
    "ThreadManagerReport",
    "ThreadingLimits",
    "WasmModuleInfo",
    "WasmThreadManager",
]

_EXIT = 1_000_000_000  # nanoseconds that all threads have to end at the exit of Python
_running: dict[int, WasmThreadManager] = {}  # whose threads may run, by the address in C


class ThreadingLimits:
    """What all threads of a manager must keep to; each setting is also a method; 0: no limit.

    Times are seconds, text like "100ms", or a timedelta; memory is bytes of linear memory.
    """

    def __init__(
        self,
        max_threads_per_module: int = 0,
        max_total_threads: int = 0,
        max_thread_lifetime: Duration = 0,
        cpu_quota_per_thread: Duration = 0,
        memory_limit_per_module: int = 0,
    ) -> None:
        size = ffi.sizeof("wrt_threading_limits")
        self._limits = ffi.new("wrt_threading_limits *", {"struct_size": size})
        self.with_max_threads_per_module(max_threads_per_module)
        self.with_max_total_threads(max_total_threads)
        self.with_max_thread_lifetime(max_thread_lifetime)
        self.with_cpu_quota_per_thread(cpu_quota_per_thread)
        self.with_memory_limit_per_module(memory_limit_per_module)

    def with_max_threads_per_module(self, count: int) -> Self:
        """Threads of one module that have not ended."""
        self._limits.max_threads_per_module = _within(count, "max_threads_per_module", 2**32)
        return self

    def with_max_total_threads(self, count: int) -> Self:
        """Threads of all modules that have not ended."""
        self._limits.max_total_threads = _within(count, "max_total_threads", 2**32)
        return self

    def with_max_thread_lifetime(self, time: Duration) -> Self:
        """From the beginning of a call."""
        self._limits.max_thread_lifetime_ns = nanoseconds(time, "max_thread_lifetime")
        return self

    def with_cpu_quota_per_thread(self, time: Duration) -> Self:
        """Of one call, by the thread's own CPU clock."""
        self._limits.cpu_quota_per_thread_ns = nanoseconds(time, "cpu_quota_per_thread")
        return self

    def with_memory_limit_per_module(self, size: int) -> Self:
        """Bytes that the threads of one module have together."""
        self._limits.memory_limit_per_module = _within(size, "memory_limit_per_module", 2**64)
        return self


class WasmModuleInfo:
    """A module whose functions are spawned, and its own limits; each setting is also a method. Of a
    limit here and one in ThreadingLimits the stricter one counts; 0: no limit of its own."""

    def __init__(
        self,
        id: int,
        name: str = "",
        max_threads: int = 0,
        memory_limit: int = 0,
        cpu_quota: Duration = 0,
        default_priority: ThreadPriority = ThreadPriority.DEFAULT,
    ) -> None:
        size = ffi.sizeof("wrt_wasm_module_info")
        self._info = ffi.new("wrt_wasm_module_info *", {"struct_size": size})
        self._name: Any = ffi.NULL
        self.with_id(id).with_name(name).with_max_threads(max_threads)
        self.with_memory_limit(memory_limit).with_cpu_quota(cpu_quota)
        self.with_default_priority(default_priority)

    def with_id(self, number: int) -> Self:
        """The caller's number; no two alike."""
        self._info.id = _within(number, "id", 2**32)
        return self

    def with_name(self, name: str) -> Self:
        """For people; 31 bytes are kept."""
        self._name = ffi.new("char[]", name.encode())
        self._info.name = self._name
        return self

    def with_max_threads(self, count: int) -> Self:
        """Threads that have not ended."""
        self._info.max_threads = _within(count, "max_threads", 2**32)
        return self

    def with_memory_limit(self, size: int) -> Self:
        """Bytes of linear memory that its threads have together."""
        self._info.memory_limit = _within(size, "memory_limit", 2**64)
        return self

    def with_cpu_quota(self, time: Duration) -> Self:
        """Of each of its threads."""
        self._info.cpu_quota_ns = nanoseconds(time, "cpu_quota")
        return self

    def with_default_priority(self, priority: ThreadPriority) -> Self:
        """Of its threads whose task says none."""
        self._info.default_priority = int(priority)
        return self


class ThreadManagerConfig:
    """What a manager is made of; each setting is also a method."""

    def __init__(
        self,
        threads: ThreadPoolConfig | None = None,
        limits: ThreadingLimits | None = None,
        **settings: Any,
    ) -> None:
        size = ffi.sizeof("wrt_thread_manager_config")
        self._config = ffi.new(
            "wrt_thread_manager_config *", {"struct_size": size, "module_capacity": 16}
        )
        self._threads = ThreadPoolConfig() if threads is None else threads
        self._limits = ThreadingLimits() if limits is None else limits
        self._account: MemoryAccount | None = None
        self._events: Events | None = None
        self._buffer: Any = None
        for name, value in settings.items():
            method = getattr(self, f"with_{name}", None)
            if method is None:
                raise TypeError(f"ThreadManagerConfig has no setting {name!r}")
            method(value)

    def with_threads(self, threads: ThreadPoolConfig) -> Self:
        """Of the manager's own pool."""
        self._threads = threads
        return self

    def with_limits(self, limits: ThreadingLimits) -> Self:
        """What all threads must keep to."""
        self._limits = limits
        return self

    def with_module_capacity(self, count: int) -> Self:
        """Modules at once, 1 to 1024; by default 16."""
        self._config.module_capacity = _within(count, "module_capacity", 2**32)
        return self

    def with_response_timeout(self, timeout: Duration) -> Self:
        """A thread without heartbeat for longer is UNRESPONSIVE; 0: 5 s."""
        self._config.response_timeout_ns = nanoseconds(timeout, "response_timeout")
        return self

    def with_kill_timeout(self, timeout: Duration) -> Self:
        """How long a killed thread has to come back; 0: 500 ms."""
        self._config.kill_timeout_ns = nanoseconds(timeout, "kill_timeout")
        return self

    def with_check_interval(self, interval: Duration) -> Self:
        """Of start(): from one check to the next; 0: 100 ms."""
        self._config.check_interval_ns = nanoseconds(interval, "check_interval")
        return self

    def with_account(self, account: MemoryAccount) -> Self:
        """Pays for the memory of all modules."""
        self._account = account
        return self

    def with_events(self, events: Events) -> Self:
        """Gets EventKind.THREAD_UNHEALTHY, THREAD_KILLED and THREAD_POISONED: `source` is the
        thread's id, detail its health and its module."""
        self._events = events
        return self

    def with_buffer(self, buffer: bytearray) -> Self:
        """Where the manager's pool lies. Without it, the manager makes a buffer."""
        self._buffer = ffi.from_buffer("uint8_t[]", buffer, require_writable=True)
        return self

    def _c_config(self, pool: Any) -> Any:
        """The config in C, with a buffer; `pool` is kept by the caller."""
        raw = ffi.new("wrt_thread_manager_config *", self._config[0])
        raw.threads = pool
        raw.limits = self._limits._limits[0]
        if self._account is not None:
            raw.account = self._account._raw
        if self._events is not None:
            raw.events = self._events._raw
        return raw


class ThreadHealthReport(NamedTuple):
    """A thread's health. It unpacks to all; health_check() gives (id, health) alone."""

    id: int
    health: ThreadHealth
    module: int
    state: TaskState
    heartbeat: int
    lifetime_ns: int  # since its call began
    cpu_time_ns: int
    quiet_ns: int  # how long no check has seen its heartbeat move


class ThreadManagerReport(NamedTuple):
    """What a manager has done; the counters wrap at 2**32."""

    module_count: int
    thread_count: int  # spawned and not ended
    poisoned: int  # given up and not come back
    spawned: int
    refused: int  # spawns that a limit refused
    killed: int  # stopped, and came back
    given_up: int  # did not come back in time
    lost_events: int
    is_running: bool  # the monitor thread
    pool: ThreadPoolReport


class ManagedThread:
    """A spawned thread. Threads: any; one of them gets the outcome, the others the same one."""

    def __init__(self, manager: WasmThreadManager, task: WasmTask) -> None:
        executor = manager._served()
        self._manager = manager
        self._kind = executor.type_of(task.function_id)
        self._store = executor._store_of(task.function_id)
        check_call(task, self._kind)
        self._raw = ffi.new("wrt_managed_thread *")
        self._args = ffi.new("wrt_value[]", len(self._kind.parameters) + 1)
        self._results = ffi.new("wrt_value[]", len(self._kind.results) + 1)
        encode_all(self._kind.parameters, task.args, self._args, self._store, "argument")
        self._outcome: Outcome | None = None
        self._settled = threading.Event()
        self._health = ThreadHealth.HEALTHY

    def _config(self, task: WasmTask) -> Any:
        config = ffi.new("wrt_wasm_task_config *")
        task._write(config)
        config.args, config.args_count = self._args, len(self._kind.parameters)
        config.results, config.results_count = self._results, len(self._kind.results)
        return config

    def join(self, timeout: Duration | None = None) -> Outcome:
        """Waits until the thread has ended, and says how. May be called again.

        Raises TimedOutError if it runs on; StateError if it was given up and is still out.
        """
        if self._outcome is None:
            raw, health = ffi.new("wrt_wasm_outcome *"), ffi.new("uint32_t *")

            def wait(limit: int) -> int:
                status: int = lib.wrt_managed_thread_join(self._raw, limit, ffi.NULL, raw, health)
                if status == lib.WRT_OK:
                    self._settle(raw, health[0])
                elif status == lib.WRT_ERR_STATE and not self._is_lost():
                    self._settled.wait(1)  # another thread was faster, and is just noting it
                return lib.WRT_OK if self._outcome is not None else status

            wait_in_slices(timeout, wait)
        assert self._outcome is not None
        return self._outcome

    def _is_lost(self) -> bool:
        report = ffi.new("wrt_task_report *")
        status = lib.wrt_task_query(ffi.addressof(self._raw.task, "task"), report)
        return bool(status == lib.WRT_OK and report.state == lib.WRT_TASK_LOST)

    def _settle(self, raw: Any, health: int) -> None:
        value: Any = None
        error: BaseException | None = None
        if raw.status == lib.WRT_OK:
            value = _single(decode_all(self._kind.results, self._results, self._store))
        else:
            task = ffi.addressof(self._raw, "task")
            error = self._manager._error(task, raw)
        self._health = ThreadHealth(health)
        worker = None if raw.worker == NOBODY else int(raw.worker)
        self._outcome = Outcome(
            raw.id, value, error, worker, raw.run_time_ns, raw.cpu_time_ns, raw.fuel_used
        )
        self._settled.set()
        self._manager._threads.discard(self)

    def result(self, timeout: Duration | None = None) -> Any:
        """Waits, and returns what the function returned, or raises what ended it."""
        outcome = self.join(timeout)
        if outcome.error is not None:
            raise outcome.error
        return outcome.value

    @property
    def killed_for(self) -> ThreadHealth:
        """After the join: what it was killed for, else HEALTHY."""
        return self._health

    def kill(self) -> bool:
        """Asks this thread to end, healthy or not. False: it has."""
        if self._outcome is not None:
            return False
        status = lib.wrt_managed_thread_kill(self._raw)
        if status == lib.WRT_ERR_STATE:
            return False
        check(status)
        return True


class WasmThreadManager(TaskRunner):
    """Spawns functions of modules on threads of its own, within limits. Threads: any.

    threads: a ThreadPoolConfig, or a ThreadManagerConfig that has one. executor: as for a
    ThreadPool. As a context manager it ends its threads at the end: drained, or, after an
    exception, cancelled.
    """

    def __init__(
        self,
        threads: ThreadPoolConfig | ThreadManagerConfig,
        limits: ThreadingLimits | None = None,
        executor: Any = None,
    ) -> None:
        config = _manager_config(threads, limits)
        raw = ffi.new("wrt_thread_manager *")
        c_config = self._prepare(raw, config, executor)
        try:
            check(lib.wrt_thread_manager_init(raw, c_config))
        except BaseException:
            self._end_executor()
            raise
        self._begin()

    @classmethod
    def _prepared(
        cls, raw: Any, config: ThreadManagerConfig, executor: Any
    ) -> tuple[WasmThreadManager, Any]:
        """For a manager that is part of another object in C, which initialises it: the face, and
        the config in C. _begin() follows."""
        manager = cls.__new__(cls)
        return manager, manager._prepare(raw, config, executor)

    def _prepare(self, raw: Any, config: ThreadManagerConfig, executor: Any) -> Any:
        """Everything that C borrows."""
        pool = config._threads
        self._raw = raw
        self._pool = ffi.addressof(raw, "pool")
        self._threads: set[ManagedThread] = set()
        self._serve(pool, pool._executor if executor is None else executor, pool._system)
        self._kept: list[Any] = [config, pool, config._account, config._events]
        try:
            return self._c_config(config, pool._c_config(pool._system, self._executor))
        except BaseException:
            self._end_executor()
            raise

    def _c_config(self, config: ThreadManagerConfig, pool: Any) -> Any:
        raw = config._c_config(pool)
        buffer = config._buffer
        if buffer is None:
            layout = ffi.new("wrt_layout *")
            check(lib.wrt_thread_manager_layout(raw, layout))
            buffer = ffi.new("uint64_t[]", layout.bytes // 8 + 1)
        raw.buffer, raw.buffer_size = ffi.cast("void *", buffer), ffi.sizeof(buffer)
        self._kept += [pool, buffer]
        return raw

    def _begin(self) -> None:
        if self._executor is not None:
            self._executor._pool = weakref.ref(self)
        _running[address_of(self._raw)] = self

    def register_module(self, info: WasmModuleInfo) -> None:
        """Makes a module known. Raises StateError if its id is known already, LimitError when
        module_capacity is reached."""
        check(lib.wrt_thread_manager_register_module(self._raw, info._info))

    def unregister_module(self, module: int) -> None:
        """Forgets a module. Raises NotFoundError, or BusyError while threads of it have not been
        joined."""
        number = _within(module, "module", 2**32)
        check(lib.wrt_thread_manager_unregister_module(self._raw, number))

    def spawn(self, module: int, task: WasmTask) -> ManagedThread:
        """Spawns a thread of a module. Raises LimitError with the numbers if there are too many,
        NotFoundError for a module or function that is not there, and what a ThreadPool raises."""
        thread = ManagedThread(self, task)
        number = _within(module, "module", 2**32)
        self._threads.add(thread)
        try:
            config = thread._config(task)
            check(lib.wrt_thread_manager_spawn(self._raw, number, config, thread._raw))
        except BaseException:
            self._threads.discard(thread)
            raise
        return thread

    def health_check(self) -> list[tuple[int, ThreadHealth]]:
        """(id, health) of every thread that has not ended."""
        return [(report.id, report.health) for report in self.health_reports()]

    def health_reports(self) -> list[ThreadHealthReport]:
        """The same with all that was measured."""
        capacity, count = 64, ffi.new("uint32_t *")
        while True:
            rows = ffi.new("wrt_thread_health_report[]", capacity)
            check(lib.wrt_thread_manager_health_check(self._raw, rows, capacity, count))
            if count[0] <= capacity:
                return [_health(row) for row in rows[0 : count[0]]]
            capacity = count[0] + 16

    def kill_unhealthy_threads(self) -> int:
        """Checks, kills every thread that is not healthy, and waits for them; gives up those that
        don't come back. Returns how many were stopped so."""
        stopped = ffi.new("uint32_t *")
        check(lib.wrt_thread_manager_kill_unhealthy(self._raw, stopped))
        return int(stopped[0])

    def start(self) -> None:
        """Starts a thread that does kill_unhealthy_threads() in each check interval. Raises
        StateError if it runs."""
        check(lib.wrt_thread_manager_start(self._raw))

    def stop(self, timeout: Duration | None = None) -> None:
        """Ends that thread. Raises TimedOutError if it is just killing; call again."""
        wait_in_slices(timeout, lambda limit: lib.wrt_thread_manager_stop(self._raw, limit))

    @property
    def report(self) -> ThreadManagerReport:
        """What it has done so far."""
        raw = ffi.new("wrt_thread_manager_report *")
        check(lib.wrt_thread_manager_query(self._raw, raw))
        return manager_report(raw)

    def shutdown(self, *, cancel: bool = False, timeout: Duration | None = None) -> None:
        """Ends all threads: when their calls are done, or, with `cancel`, as soon as they have
        been stopped; what has not come back in time is given up then. May be called again."""
        end = lib.wrt_thread_manager_shutdown
        if cancel:
            limit = WAIT_FOR_EVER if timeout is None else nanoseconds(timeout, "timeout")
            check(end(self._raw, lib.WRT_SHUTDOWN_CANCEL, limit))
        else:
            drain = lib.WRT_SHUTDOWN_DRAIN
            wait_in_slices(timeout, lambda limit: end(self._raw, drain, limit))

    def close(self, timeout: Duration = 1) -> None:
        """Cancels what runs, and lets go of everything; again does nothing. Raises StateError
        while threads that were given up are still out: close it again when they are back."""
        if self._raw.magic != 0:
            self.shutdown(cancel=True, timeout=timeout)
        self._end()

    def _end(self) -> None:
        if self._raw.magic != 0:
            self._settle_all()
        check(lib.wrt_thread_manager_deinit(self._raw))
        self._forget()

    def _settle_all(self) -> None:
        """Keeps the outcomes of threads that have ended, for a later join()."""
        for thread in list(self._threads):
            with contextlib.suppress(WrtError):  # it was given up, and is still out
                thread.join(0)

    def _forget(self) -> None:
        """C has let go."""
        _running.pop(address_of(self._raw), None)
        self._end_executor()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.close()
        else:
            self.shutdown()
            self._end()


def _manager_config(
    threads: ThreadPoolConfig | ThreadManagerConfig, limits: ThreadingLimits | None
) -> ThreadManagerConfig:
    if isinstance(threads, ThreadManagerConfig):
        return threads if limits is None else threads.with_limits(limits)
    return ThreadManagerConfig(threads, limits)


def _health(row: Any) -> ThreadHealthReport:
    return ThreadHealthReport(
        row.id,
        ThreadHealth(row.health),
        row.module,
        TaskState(row.state),
        row.heartbeat,
        row.lifetime_ns,
        row.cpu_time_ns,
        row.quiet_ns,
    )


def manager_report(raw: Any) -> ThreadManagerReport:
    """From C."""
    fields = {name: getattr(raw, name) for name in ThreadManagerReport._fields}
    fields["pool"] = ThreadPoolReport._of(raw.pool)
    return ThreadManagerReport(**fields)


@atexit.register
def _stop_all() -> None:
    """Threads must not enter Python when it is gone. What can't be stopped stays where it is."""
    for manager in list(_running.values()):
        lib.wrt_thread_manager_shutdown(manager._raw, lib.WRT_SHUTDOWN_CANCEL, _EXIT)
