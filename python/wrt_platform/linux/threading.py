"""Threads of Linux: what pools, watchdogs, thread managers and events run on. Mirrors
wrt_platform/linux/threading.h."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wrt_platform._enums import LinuxRealtimePolicy
from wrt_platform._native import ffi, lib
from wrt_platform.errors import check
from wrt_platform.page_allocator import _word
from wrt_platform.thread_system import ThreadSystem

if TYPE_CHECKING:
    from typing import Self

__all__ = ["LinuxRealtimePolicy", "LinuxThreadSystem", "LinuxThreadSystemBuilder"]


class LinuxThreadSystem(ThreadSystem):
    """LOW, NORMAL and HIGH are nice values, REALTIME is SCHED_FIFO or SCHED_RR; made by
    LinuxThreadSystemBuilder. A forked child can't use it (StateError); it makes its own."""

    def __init__(self, config: Any) -> None:
        raw = ffi.new("wrt_linux_thread_system *")
        check(lib.wrt_linux_thread_system_init(raw, config))
        interface = lib.wrt_linux_thread_system_interface(raw)
        super().__init__(raw, interface, lib.wrt_linux_thread_system_deinit)


class LinuxThreadSystemBuilder:
    """Collects settings; the rules of linux/threading.h are checked by build()."""

    def __init__(self) -> None:
        size = ffi.sizeof("wrt_linux_thread_system_config")
        self._config = ffi.new("wrt_linux_thread_system_config *", {"struct_size": size})

    def with_realtime_priority(self, priority: int) -> Self:
        """Of REALTIME: 1 to 99; 0: 10."""
        self._config.realtime_priority = _word(priority, "realtime_priority")
        return self

    def with_realtime_policy(self, policy: LinuxRealtimePolicy) -> Self:
        """How REALTIME threads of one priority take turns: FIFO (SCHED_FIFO, one runs until it
        waits; without it) or ROUND_ROBIN (SCHED_RR, in time slices)."""
        self._config.realtime_policy = policy
        return self

    def with_nice_step(self, step: int) -> Self:
        """Nice values from NORMAL to LOW and to HIGH: 1 to 19; 0: 10."""
        self._config.nice_step = _word(step, "nice_step")
        return self

    def build(self) -> LinuxThreadSystem:
        """Makes the system. Raises InvalidArgumentError naming the broken rule."""
        return LinuxThreadSystem(self._config)
