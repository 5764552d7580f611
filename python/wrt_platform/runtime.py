"""A runtime: threads of modules, their memory and a watchdog, set up together. Mirrors
wrt_platform/runtime.h.

    with WasmRuntime(
        threads=ThreadManagerConfig(ThreadPoolConfig(max_threads=8), limits),
        watchdog=WatchdogConfig(default_timeout=120),
        partition=partition,
        executor=executor,
    ) as runtime:
        runtime.thread_manager.register_module(WasmModuleInfo(id=1, name="critical"))
        thread = runtime.thread_manager.spawn(1, WasmTask(function_id=100))

`partition` is a QnxMemoryPartition, a MemoryAccount, or nothing. runtime.report says of each
protection whether it holds, and shows as a table in a notebook.
"""

from __future__ import annotations

import atexit
from typing import TYPE_CHECKING, Any, NamedTuple

from wrt_platform._native import ffi, lib
from wrt_platform.enforcement import Enforcement, enforcement_of
from wrt_platform.errors import check
from wrt_platform.events import EventsBuilder
from wrt_platform.report import table
from wrt_platform.safe_threading import (
    ThreadManagerConfig,
    ThreadManagerReport,
    WasmThreadManager,
    manager_report,
)
from wrt_platform.store import address_of
from wrt_platform.system_below import WAIT_FOR_EVER, nanoseconds
from wrt_platform.watchdog import SoftwareWatchdog, WatchdogConfig, WatchdogReport

if TYPE_CHECKING:
    from typing import Self

    from wrt_platform.events import Events
    from wrt_platform.memory_account import MemoryAccount, MemoryAccountUsage

__all__ = ["RuntimeBuilder", "RuntimeReport", "WasmRuntime"]

_EXIT = 1.0  # seconds that what does not come back has, when a runtime is closed


class RuntimeReport(NamedTuple):
    """What protects, and what has happened."""

    isolation: Enforcement
    memory_limit: Enforcement  # of all modules together
    module_memory_limit: Enforcement
    thread_limit: Enforcement
    lifetime: Enforcement
    cpu_quota: Enforcement
    hang_detection: Enforcement
    hang_kill: Enforcement
    threads: ThreadManagerReport
    watchdog: WatchdogReport
    memory: MemoryAccountUsage | None  # of the account, if there is one

    @property
    def protections(self) -> dict[str, Enforcement]:
        """Each protection by its name."""
        return {
            name: held for name, held in zip(self._fields, self) if isinstance(held, Enforcement)
        }

    def __str__(self) -> str:
        return "\n".join(table(_rows(self)))

    def _repr_html_(self) -> str:
        from html import escape

        rows = "".join(
            f"<tr><th style='text-align:left'>{escape(name)}</th><td>{escape(state)}</td>"
            f"<td style='text-align:left'>{escape(reason)}</td></tr>"
            for name, state, reason in _rows(self)
        )
        return f"<table>{rows}</table>"


class RuntimeBuilder:
    """Collects settings; the rules of runtime.h are checked by build()."""

    def __init__(self) -> None:
        self._threads: ThreadManagerConfig | None = None
        self._watchdog: WatchdogConfig | None = None
        self._account: MemoryAccount | None = None
        self._events: Events | None = None
        self._partition: Any = None
        self._isolation: Enforcement | None = None
        self._memory_limit: Enforcement | None = None

    def with_threads(self, threads: ThreadManagerConfig) -> Self:
        """The thread manager, with its pool and limits."""
        self._threads = threads
        return self

    def with_watchdog(self, watchdog: WatchdogConfig) -> Self:
        """The watchdog."""
        self._watchdog = watchdog
        return self

    def with_account(self, account: MemoryAccount) -> Self:
        """Pays for the memory of all modules."""
        self._account = account
        return self

    def with_partition(self, partition: Any) -> Self:
        """A QnxMemoryPartition that the modules' memory comes from. Without a page allocator in
        the pool's config, one is made in it."""
        self._partition = partition
        return self

    def with_isolation(self, isolation: Enforcement) -> Self:
        """What keeps others off the modules' memory, where no partition says so itself."""
        self._isolation = isolation
        return self

    def with_memory_limit(self, limit: Enforcement) -> Self:
        """What holds the limit of all memory, where neither partition nor account says so."""
        self._memory_limit = limit
        return self

    def with_events(self, events: Events) -> Self:
        """Where everything that happens is told. Without it, the runtime makes a ring."""
        self._events = events
        return self

    def build(self, executor: Any = None) -> WasmRuntime:
        """Starts watchdog and threads. Raises what their configs are refused for."""
        return WasmRuntime._of(self, executor)


class WasmRuntime:
    """Threads, memory and a watchdog, set up together; ended in the order that works. As a context
    manager it drains at the end, or cancels after an exception."""

    def __init__(
        self,
        threads: ThreadManagerConfig | None = None,
        watchdog: WatchdogConfig | None = None,
        partition: Any = None,
        executor: Any = None,
        events: Events | None = None,
        account: MemoryAccount | None = None,
    ) -> None:
        builder = RuntimeBuilder()
        builder._threads, builder._watchdog, builder._partition = threads, watchdog, partition
        builder._events, builder._account = events, account
        self._init(builder, executor)

    @classmethod
    def _of(cls, builder: RuntimeBuilder, executor: Any) -> WasmRuntime:
        runtime = cls.__new__(cls)
        runtime._init(builder, executor)
        return runtime

    def _init(self, builder: RuntimeBuilder, executor: Any) -> None:
        threads = ThreadManagerConfig() if builder._threads is None else builder._threads
        watchdog = WatchdogConfig() if builder._watchdog is None else builder._watchdog
        self._partition, self._account = builder._partition, builder._account
        self._events = _events_of(builder, threads, watchdog)
        self._allocator = _allocate_inside(self._partition, threads)
        self._raw = ffi.new("wrt_runtime *")
        self._kept = [builder, threads, watchdog]
        raw_manager = ffi.addressof(self._raw, "thread_manager")
        self._manager, c_threads = WasmThreadManager._prepared(raw_manager, threads, executor)
        config = ffi.new("wrt_runtime_config *")
        config.struct_size = ffi.sizeof("wrt_runtime_config")
        config.threads = c_threads
        c_watchdog = watchdog._c_config(self._events)
        config.watchdog = c_watchdog
        config.events = self._events._raw
        if builder._account is not None:
            config.account = builder._account._raw
        self._describe(config, builder)
        try:
            check(lib.wrt_runtime_init(self._raw, config))
        except BaseException:
            self._manager._end_executor()
            raise
        self._manager._begin()
        self._manager._kept.append(self._raw)
        self._watchdog = SoftwareWatchdog._part_of(
            self._raw, ffi.addressof(self._raw, "watchdog"), self._events, watchdog
        )
        _running[address_of(self._raw)] = self

    def _describe(self, config: Any, builder: RuntimeBuilder) -> None:
        """What is known of the memory's protection."""
        isolation, limit = builder._isolation, builder._memory_limit
        if self._partition is not None:
            report = self._partition.report
            isolation = report.isolation if isolation is None else isolation
            limit = report.maximum if limit is None else limit
        for field, value in ((config.isolation, isolation), (config.memory_limit, limit)):
            if value is not None:
                text = ffi.new("char[]", value.reason.encode())
                self._kept.append(text)
                field.state, field.reason = int(value.state), text

    @property
    def partition(self) -> Any:
        """That the modules' memory comes from; None if there is none."""
        return self._partition

    @property
    def thread_manager(self) -> WasmThreadManager:
        """Spawns threads of modules, and watches their limits."""
        return self._manager

    @property
    def watchdog(self) -> SoftwareWatchdog:
        """Watches what has to show that it goes on."""
        return self._watchdog

    @property
    def events(self) -> Events:
        """What happens to threads and watches."""
        return self._events

    @property
    def report(self) -> RuntimeReport:
        """Each protection, whether it holds and by what, and what has happened."""
        raw = ffi.new("wrt_runtime_report *")
        check(lib.wrt_runtime_query(self._raw, raw))
        parts: list[Any] = [
            enforcement_of(getattr(raw, name)) for name in RuntimeReport._fields[:8]
        ]
        parts.append(manager_report(raw.threads))
        parts.append(
            WatchdogReport(*(getattr(raw.watchdog, name) for name in WatchdogReport._fields))
        )
        parts.append(None if self._account is None else self._account.usage)
        return RuntimeReport(*parts)

    def shutdown(self, *, cancel: bool = False, timeout: float | None = None) -> None:
        """Ends all threads, drained or cancelled, and the watchdog after them."""
        mode = lib.WRT_SHUTDOWN_CANCEL if cancel else lib.WRT_SHUTDOWN_DRAIN
        limit = WAIT_FOR_EVER if timeout is None else nanoseconds(timeout, "timeout")
        check(lib.wrt_runtime_shutdown(self._raw, mode, limit))

    def close(self) -> None:
        """Cancels what runs, and lets go of everything; again does nothing. Raises StateError
        while threads that were given up, or watches, are still out."""
        if self._raw.magic != 0:
            self.shutdown(cancel=True, timeout=_EXIT)
        self._end()

    def _end(self) -> None:
        if self._raw.magic != 0:
            self._manager._settle_all()
        check(lib.wrt_runtime_deinit(self._raw))
        self._manager._forget()
        _running.pop(address_of(self._raw), None)
        if self._allocator is not None:
            self._allocator.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.close()
        else:
            self.shutdown()
            self._end()


_running: dict[int, WasmRuntime] = {}  # whose threads may run, by the address in C


def _events_of(
    builder: RuntimeBuilder, threads: ThreadManagerConfig, watchdog: WatchdogConfig
) -> Events:
    for found in (builder._events, threads._events, watchdog._events):
        if found is not None:
            return found
    return EventsBuilder().build()


def _allocate_inside(partition: Any, threads: ThreadManagerConfig) -> Any:
    """A page allocator in the partition, unless the pool has one already."""
    if partition is None or threads._threads._allocator is not None:
        return None
    from wrt_platform.qnx.memory import QnxAllocatorBuilder

    allocator = QnxAllocatorBuilder().with_partition(partition).with_guard_pages().build()
    threads._threads.with_page_allocator(allocator)
    return allocator


def _rows(report: RuntimeReport) -> list[tuple[str, str, str]]:
    return [
        (name.replace("_", " "), held.state.name.lower().replace("_", " "), held.reason)
        for name, held in report.protections.items()
    ]


@atexit.register
def _stop_all() -> None:
    """Threads must not enter Python when it is gone. What can't be stopped stays where it is."""
    for runtime in list(_running.values()):
        lib.wrt_runtime_shutdown(runtime._raw, lib.WRT_SHUTDOWN_CANCEL, round(_EXIT * 1e9))
