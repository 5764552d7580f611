"""Plain tasks: functions of Python on a pool's workers, with priority, CPUs and a token. Mirrors
wrt_task of wrt_platform/threading.h.

    builder = TaskBuilder(lambda cancel: decode(frame)).with_priority(ThreadPriority.HIGH)
    task = builder.submit(pool)
    picture = task.result(timeout=5)

A worker holds the interpreter while it runs Python, so such tasks take turns with all of Python;
they are for work that belongs among a pool's calls, in their order and at their priorities.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from wrt_platform._enums import TaskState
from wrt_platform._native import ffi, lib
from wrt_platform.cancel import CancelToken
from wrt_platform.errors import InterruptedCallError, InvalidArgumentError, check
from wrt_platform.waits import wait_in_slices

if TYPE_CHECKING:
    from typing import Self

    from wrt_platform.system_below import Duration
    from wrt_platform.thread_system import CpuSet, ThreadPriority
    from wrt_platform.threading import ThreadPool

__all__ = ["Task", "TaskBuilder"]

Run = Callable[[CancelToken], Any]


class TaskBuilder:
    """What a task is made of; it may be submitted again and again, as another task each time."""

    def __init__(self, run: Run | None = None) -> None:
        size = ffi.sizeof("wrt_task_config")
        self._config = ffi.new("wrt_task_config *", {"struct_size": size})
        self._run = run

    def with_run(self, run: Run) -> Self:
        """What runs. It is given the task's token, to look at or to sleep on; what it returns or
        raises comes out of Task.result()."""
        self._run = run
        return self

    def with_priority(self, priority: ThreadPriority) -> Self:
        """Within the pool's range; DEFAULT: NORMAL, or what is next to it there."""
        self._config.priority = int(priority)
        return self

    def with_cpu_affinity(self, cpus: CpuSet) -> Self:
        """Within the pool's own CPUs."""
        self._config.cpu_affinity.words = cpus._words
        return self

    def submit(self, pool: ThreadPool) -> Task:
        """Hands it to the workers. Raises BusyError if the queue of its priority is full,
        StateError when the pool shuts down, InvalidArgumentError for its priority or CPUs."""
        if self._run is None:
            raise InvalidArgumentError("there is no run: the task has nothing to do")
        return Task(pool, self._run, self._config)


class Task:
    """A task on its way. Dropped, it goes on unattended. Threads: any."""

    def __init__(self, pool: ThreadPool, run: Run, config: Any) -> None:
        self._pool = pool
        self._run: Run | None = run
        self._value: Any = None
        self._error: BaseException | None = None
        self._joining = threading.Lock()  # one thread waits in C, the others for that thread
        self._is_joined = False
        self._raw = ffi.new("wrt_task *")
        self._token = CancelToken._of(lib.wrt_task_cancel_token(self._raw), self._raw)
        self._handle = ffi.new_handle(self)
        own = ffi.new("wrt_task_config *", config[0])
        own.run, own.context = _enter, self._handle
        check(lib.wrt_task_init(self._raw, own))
        self._submit()

    def _submit(self) -> None:
        self._pool._reap()
        self._pool._batches.add(self)  # C borrows it until it is done
        status = lib.wrt_thread_pool_submit(self._pool._raw, self._raw)
        if status != lib.WRT_OK:
            self._pool._batches.discard(self)
        check(status)

    def is_over(self) -> bool:
        """Whether C is done with it."""
        return self._is_joined or self.state in (TaskState.NEW, TaskState.DONE)

    def result(self, timeout: Duration | None = None) -> Any:
        """Waits, and returns what the function returned, or raises what it raised. May be called
        again. Raises InterruptedCallError if it was cancelled before it began, TimedOutError if
        it runs on, StateError if its worker was given up."""
        wait_in_slices(timeout, self._join)
        if self._error is not None:
            raise self._error
        return self._value

    def _join(self, limit: int) -> int:
        if not self._joining.acquire(timeout=limit / 1e9):
            return int(lib.WRT_ERR_TIMED_OUT)
        try:
            return int(lib.WRT_OK) if self._is_joined else self._join_first(limit)
        finally:
            self._joining.release()

    def _join_first(self, limit: int) -> int:
        status = int(lib.wrt_task_join(self._raw, limit, ffi.NULL, ffi.NULL))
        if status == lib.WRT_OK:
            if self._run is not None:
                self._error = InterruptedCallError("the task was cancelled before it began")
            self._is_joined = True
            self._pool._batches.discard(self)
        return status

    def cancel(self) -> bool:
        """Asks the task to end: it does not begin, or its token is requested. False: it is
        done."""
        status = lib.wrt_task_cancel(self._raw)
        if status == lib.WRT_ERR_STATE:
            return False
        check(status)
        return True

    @property
    def done(self) -> bool:
        """Whether result() need not wait."""
        return self.is_over()

    @property
    def state(self) -> TaskState:
        """Where it is now."""
        if self._is_joined:
            return TaskState.DONE
        raw = ffi.new("wrt_task_report *")
        check(lib.wrt_task_query(self._raw, raw))
        return TaskState(raw.state)

    def _perform(self) -> None:
        run, self._run = self._run, None
        assert run is not None
        try:
            self._value = run(self._token)
        except BaseException as error:
            self._error = error


def _on_worker(context: Any) -> int:
    ffi.from_handle(context)._perform()
    return int(lib.WRT_OK)


_enter = ffi.callback("wrt_task_fn", _on_worker, error=lib.WRT_ERR_HOST)
