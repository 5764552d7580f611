"""Threads of QNX: what pools, watchdogs, thread managers and events run on. Mirrors
wrt_platform/qnx/threading.h."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wrt_platform._native import ffi, lib
from wrt_platform.errors import check
from wrt_platform.page_allocator import _word
from wrt_platform.thread_system import ThreadSystem

if TYPE_CHECKING:
    from typing import Self

__all__ = ["QnxThreadSystem", "QnxThreadSystemBuilder"]


class QnxThreadSystem(ThreadSystem):
    """LOW, NORMAL and HIGH are SCHED_RR, REALTIME is SCHED_FIFO; made by QnxThreadSystemBuilder.
    A forked child can't use it (StateError); it makes its own."""

    def __init__(self, config: Any) -> None:
        raw = ffi.new("wrt_qnx_thread_system *")
        check(lib.wrt_qnx_thread_system_init(raw, config))
        interface = lib.wrt_qnx_thread_system_interface(raw)
        super().__init__(raw, interface, lib.wrt_qnx_thread_system_deinit)


class QnxThreadSystemBuilder:
    """Collects settings; the rules of qnx/threading.h are checked by build(). Priorities are 1 to
    255 and never fall from LOW to REALTIME; 0: the default."""

    def __init__(self) -> None:
        size = ffi.sizeof("wrt_qnx_thread_system_config")
        self._config = ffi.new("wrt_qnx_thread_system_config *", {"struct_size": size})

    def with_low_priority(self, priority: int) -> Self:
        """Of SCHED_RR; 0: 8."""
        self._config.low_priority = _word(priority, "low_priority")
        return self

    def with_normal_priority(self, priority: int) -> Self:
        """Of SCHED_RR; 0: 10."""
        self._config.normal_priority = _word(priority, "normal_priority")
        return self

    def with_high_priority(self, priority: int) -> Self:
        """Of SCHED_RR; 0: 15."""
        self._config.high_priority = _word(priority, "high_priority")
        return self

    def with_realtime_priority(self, priority: int) -> Self:
        """Of SCHED_FIFO; 0: 40."""
        self._config.realtime_priority = _word(priority, "realtime_priority")
        return self

    def build(self) -> QnxThreadSystem:
        """Makes the system. Raises InvalidArgumentError naming the broken rule."""
        return QnxThreadSystem(self._config)
