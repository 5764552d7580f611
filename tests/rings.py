"""Rings over the kernel's io_uring and over threads: which they are, and what tests of both ask."""

from __future__ import annotations

import contextlib
import ctypes
import os
from pathlib import Path
from typing import Callable

from wrt_platform import IoUring
from wrt_platform.errors import BusyError
from wrt_platform.linux.io_uring import Completion, IoUringBackend, IoUringRequest

KERNEL, THREADS = IoUringBackend.KERNEL, IoUringBackend.THREADS
SIZE = 1_000_003  # of the file that is read
Make = Callable[..., IoUring]


def refused() -> str:
    """Why this machine has no io_uring, by the system call's own word."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.syscall(
        ctypes.c_long(425), ctypes.c_long(2), ctypes.create_string_buffer(120)
    )
    if descriptor >= 0:
        os.close(descriptor)
        return ""
    return os.strerror(ctypes.get_errno())


def descriptors() -> dict[str, str]:
    folder = Path("/proc/self/fd")
    found = {}
    for name in os.listdir(folder):
        try:
            found[name] = os.readlink(folder / name)
        except OSError:  # the listing's own
            continue
    return found


def threads_of_process() -> dict[int, str]:
    found = {}
    for task in Path("/proc/self/task").iterdir():
        try:
            found[int(task.name)] = (task / "comm").read_text().strip()
        except OSError:
            continue
    return found


def run_all(ring: IoUring, requests: list[IoUringRequest]) -> list[Completion]:
    """However few the ring takes at a time."""
    done: list[Completion] = []
    rest = list(requests)
    while rest or ring.report.under_way:
        if rest:
            with contextlib.suppress(BusyError):
                rest = rest[ring.submit(rest) :]
        done += ring.wait(1, timeout=20)
    return done
