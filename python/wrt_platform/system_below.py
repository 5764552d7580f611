"""The thread system that objects get if they are not given one: this process's own."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any, Union

from wrt_platform._native import ffi, lib
from wrt_platform.errors import InvalidArgumentError, check

Duration = Union[float, str, timedelta]  # seconds, text like "5s", or a timedelta

_made: dict[int, Any] = {}  # a forked child makes its own; its parent's stays, in case it is in use

WAIT_FOR_EVER = 2**64 - 1  # UINT64_MAX as a timeout_ns


def system_interface(system: Any = None) -> Any:
    """The wrt_thread_system of an object that has one; None: this process's own, where there is a
    backend for it."""
    return _of_process() if system is None else system._interface


def _of_process() -> Any:
    process = os.getpid()
    raw = _made.get(process)
    if raw is None:
        size = ffi.sizeof("wrt_linux_thread_system_config")
        config = ffi.new("wrt_linux_thread_system_config *", {"struct_size": size})
        raw = ffi.new("wrt_linux_thread_system *")
        check(lib.wrt_linux_thread_system_init(raw, config))
        raw = _made.setdefault(process, raw)  # another thread may have been faster
    return lib.wrt_linux_thread_system_interface(raw)


def nanoseconds(seconds: Any, name: str) -> int:
    """Of a number, a text like "5s" or a timedelta. Raises InvalidArgumentError."""
    from wrt_platform.limits import parse_duration

    if hasattr(seconds, "total_seconds"):
        seconds = seconds.total_seconds()
    value = parse_duration(seconds) if isinstance(seconds, str) else float(seconds)
    if not 0 <= value < 1e9:  # a NaN is neither
        raise InvalidArgumentError(f"{name} is {value} seconds, not 0 to 1e9")
    return round(value * 1e9)
