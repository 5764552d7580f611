"""The thread systems that every test of pools and what is made of them runs over.

A new backend gets one line in BACKENDS, and with it the whole suite.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from wrt_platform._native import lib
from wrt_platform.linux.threading import LinuxThreadSystemBuilder
from wrt_platform.threading import LinuxThreadPool, QnxThreadPool, ThreadPool


class Backend(NamedTuple):
    """A pool and the thread system below it."""

    pool: type[ThreadPool]
    system: Callable[[], Any]


def qnx_system() -> Any:
    from wrt_platform.qnx.threading import QnxThreadSystemBuilder

    return QnxThreadSystemBuilder().build()


BACKENDS: dict[str, Backend] = {"linux": Backend(LinuxThreadPool, LinuxThreadSystemBuilder().build)}
if hasattr(lib, "wrt_qnx_thread_system_init"):
    BACKENDS["qnx"] = Backend(QnxThreadPool, qnx_system)
