"""Thread systems: what concurrency asks of an operating system. Mirrors
wrt_platform/thread_system.h.

    system = LinuxThreadSystemBuilder().build()
    builder = ThreadBuilder().with_name("decoder").with_priority(ThreadPriority.HIGH)
    thread = builder.with_entry(decode).build(system)
    print(thread.report)
    thread.join(timeout=5)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from wrt_platform._enums import ThreadPriority
from wrt_platform._native import ffi, lib
from wrt_platform.errors import InvalidArgumentError, check
from wrt_platform.page_allocator import _size
from wrt_platform.system_below import system_interface
from wrt_platform.waits import wait_in_slices

if TYPE_CHECKING:
    from mmap import mmap
    from typing import Self

__all__ = ["CpuSet", "Thread", "ThreadBuilder", "ThreadPriority", "ThreadReport", "ThreadSystem"]

_CPU_MAX: int = lib.WRT_THREAD_CPU_MAX
_running: set[Any] = set()  # what C still uses of threads that nobody holds any more


class CpuSet:
    """Which CPUs a thread may use; an empty one: any."""

    def __init__(self, *cpus: int) -> None:
        self._mask = 0
        for cpu in cpus:
            if not 0 <= cpu < _CPU_MAX:
                raise InvalidArgumentError(f"CPU {cpu} can't be named: 0 to {_CPU_MAX - 1} can")
            self._mask |= 1 << cpu

    @classmethod
    def from_mask(cls, mask: int) -> CpuSet:
        """Bit c of `mask` stands for CPU c."""
        if not 0 <= mask < 1 << _CPU_MAX:
            raise InvalidArgumentError(f"the mask has bits beyond 0 to {_CPU_MAX - 1}")
        return cls(*(cpu for cpu in range(_CPU_MAX) if mask >> cpu & 1))

    @property
    def mask(self) -> int:
        """Bit c stands for CPU c."""
        return self._mask

    @property
    def cpus(self) -> tuple[int, ...]:
        """Their numbers."""
        return tuple(cpu for cpu in range(_CPU_MAX) if self._mask >> cpu & 1)

    @property
    def _words(self) -> list[int]:
        return [self._mask >> 64 * word & (2**64 - 1) for word in range(4)]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CpuSet) and other._mask == self._mask

    def __hash__(self) -> int:
        return hash(self._mask)

    def __repr__(self) -> str:
        return f"CpuSet({', '.join(map(str, self.cpus))})"


class ThreadReport(NamedTuple):
    """A thread as the system describes it: read back, not remembered."""

    system_id: int  # number that the system's own tools show
    stack_size: int  # bytes
    cpu_time_ns: int  # that it has used so far
    cpus: CpuSet
    system_policy: int  # the system's own number of its scheduling policy
    system_priority: int  # in the system's own range; on Linux without realtime the nice value
    priority: ThreadPriority  # what the two above come to
    name: str


def report_of(raw: Any) -> ThreadReport:
    mask = sum(word << 64 * place for place, word in enumerate(raw.cpus.words))
    return ThreadReport(
        raw.system_id,
        raw.stack_size,
        raw.cpu_time_ns,
        CpuSet.from_mask(mask),
        raw.system_policy,
        raw.system_priority,
        ThreadPriority(raw.priority),
        ffi.string(raw.name).decode(errors="replace"),
    )


class ThreadSystem:
    """What the thread systems of all backends can do, about the calling thread."""

    def __init__(self, raw: Any, interface: Any, deinit: Any) -> None:
        self._raw = ffi.gc(raw, deinit)
        self._interface = interface
        self._deinit = deinit

    def now_ns(self) -> int:
        """A clock that only goes forward, in nanoseconds."""
        now = ffi.new("uint64_t *")
        check(self._interface.ops.now(self._interface.self, now))
        return int(now[0])

    def set_priority(self, priority: ThreadPriority) -> None:
        """Changes the calling thread's priority. Raises PermissionDeniedError."""
        check(self._interface.ops.set_priority(self._interface.self, priority))

    def set_cpus(self, cpus: CpuSet) -> None:
        """Changes the CPUs of the calling thread. Raises InvalidArgumentError if there are none of
        them."""
        raw = ffi.new("wrt_cpu_set *", {"words": cpus._words})
        check(self._interface.ops.set_cpus(self._interface.self, raw))

    @property
    def report(self) -> ThreadReport:
        """What the system says of the calling thread."""
        return _query(self._interface, ffi.NULL)

    def close(self) -> None:
        """Ends the system; again does nothing. Raises StateError while threads of it are neither
        joined nor detached."""
        check(self._deinit(self._raw))


def _query(interface: Any, thread: Any) -> ThreadReport:
    raw = ffi.new("wrt_thread_report *")
    check(interface.ops.query(interface.self, thread, raw))
    return report_of(raw)


class Thread:
    """A thread that was started; made by ThreadBuilder. Nobody joins it for you: one that is
    neither joined nor detached keeps its thread system from closing."""

    def __init__(self, system: Any, config: Any, kept: Any) -> None:
        self._system = system
        self._interface = system_interface(system)
        self._raw = ffi.new("wrt_thread *")
        self._kept = kept  # C borrows it until the thread has been joined
        check(self._interface.ops.start(self._interface.self, self._raw, config))

    def join(self, timeout: float | str | None = None) -> None:
        """Waits for its end. Raises TimedOutError, StateError (joined or detached already)."""
        join, system = self._interface.ops.join, self._interface.self
        wait_in_slices(timeout, lambda rest: join(system, self._raw, rest))

    def detach(self) -> None:
        """Gives up the right to join. Raises StateError."""
        if self._kept[0] is not None:
            raise InvalidArgumentError("a thread on a stack of yours has to be joined")
        check(self._interface.ops.detach(self._interface.self, self._raw))

    @property
    def report(self) -> ThreadReport:
        """What the system says of it. Raises StateError when it has ended."""
        return _query(self._interface, self._raw)

    @property
    def cpu_time_ns(self) -> int:
        """Processor time that it has used. Raises StateError when it has ended."""
        time = ffi.new("uint64_t *")
        check(self._interface.ops.cpu_time(self._interface.self, self._raw, time))
        return int(time[0])


class ThreadBuilder:
    """Collects settings; the rules of thread_system.h are checked by build()."""

    def __init__(self) -> None:
        size = ffi.sizeof("wrt_thread_config")
        self._config = ffi.new("wrt_thread_config *", {"struct_size": size})
        self._entry: Callable[..., Any] | None = None
        self._context: tuple[Any, ...] = ()
        self._name: Any = None
        self._stack: Any = None

    def with_entry(self, entry: Callable[..., Any]) -> Self:
        """What the thread runs. What it raises is reported as of any thread of Python."""
        self._entry = entry
        return self

    def with_context(self, *context: Any) -> Self:
        """What `entry` is called with."""
        self._context = context
        return self

    def with_priority(self, priority: ThreadPriority) -> Self:
        """How urgent it is; the thread system says what that is on its system."""
        self._config.priority = priority
        return self

    def with_cpus(self, cpus: CpuSet) -> Self:
        """Which CPUs it may use."""
        self._config.cpus.words = cpus._words
        return self

    def with_name(self, name: str) -> Self:
        """What the system's tools show; beyond 15 bytes it is cut."""
        self._name = ffi.new("char[]", name.encode())
        return self

    def with_stack(self, stack: bytearray | mmap) -> Self:
        """Runs on this memory; the thread has to be joined then."""
        if isinstance(stack, memoryview):  # CPython crashes when a lent view dies in a cycle
            raise TypeError("pass the object that owns the memory, not a view of it")
        self._stack = ffi.from_buffer("uint8_t[]", stack, require_writable=True)
        return self

    def with_stack_size(self, size: int) -> Self:
        """Bytes of a stack of the system's own; 0: its default."""
        self._config.stack_size = _size(size, "stack_size")
        return self

    def with_require_priority(self, required: bool = True) -> Self:
        """Raises PermissionDeniedError if the priority may not be had; else the thread gets the
        nearest that may."""
        self._config.require_priority = required
        return self

    def build(self, system: Any = None) -> Thread:
        """Starts the thread. system: None is this process's own."""
        if self._entry is None:
            raise InvalidArgumentError("there is no entry: the thread has nothing to run")
        config = ffi.new("wrt_thread_config *", self._config[0])
        config.name = self._name if self._name is not None else ffi.NULL
        if self._stack is not None:
            config.stack, config.stack_size = self._stack, len(self._stack)
        config.entry = entry = _callback(self._entry, self._context)
        try:
            return Thread(system, config, (self._stack, entry))
        except BaseException:
            _running.discard(entry)
            raise


def _callback(call: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """A C function that runs `call` and keeps itself until that has returned."""

    def run(_: Any) -> None:
        try:
            call(*arguments)
        finally:
            _running.discard(entry)

    entry = ffi.callback("wrt_thread_entry_fn", run, onerror=_report)
    _running.add(entry)
    return entry


def _report(kind: Any, error: Any, traceback: Any) -> None:
    import threading

    threading.excepthook(threading.ExceptHookArgs((kind, error, traceback, None)))
