"""What a thread pool is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wrt_platform._native import ffi
from wrt_platform.executor import Executor
from wrt_platform.memory import interface_of
from wrt_platform.module import owned
from wrt_platform.page_allocator import _within
from wrt_platform.system_below import system_interface
from wrt_platform.thread_system import CpuSet, ThreadPriority

if TYPE_CHECKING:
    import mmap
    from typing import Self

    from wrt_platform.events import Events
    from wrt_platform.page_allocator import PageAllocator


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
