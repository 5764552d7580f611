"""The futexes, locks and thread systems that every test of their common interfaces runs over.

A new backend gets one line in BACKENDS, and with it the whole suite.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from wrt_platform import (
    LinuxFutexBuilder,
    LinuxLockBuilder,
    LinuxThreadSystemBuilder,
    QnxFutexBuilder,
    QnxLockBuilder,
    QnxThreadSystemBuilder,
)


class Backend(NamedTuple):
    futex: Any  # builders
    lock: Any
    system: Any


BACKENDS: dict[str, Backend] = {
    "linux": Backend(LinuxFutexBuilder, LinuxLockBuilder, LinuxThreadSystemBuilder),
    "qnx": Backend(QnxFutexBuilder, QnxLockBuilder, QnxThreadSystemBuilder),
}
