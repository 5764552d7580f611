"""A lock in memory of two processes. One ends while it holds the lock; the other one is told."""

import mmap
import os
from typing import Any

from wrt_platform import LinuxFutexBuilder

page = mmap.mmap(-1, mmap.PAGESIZE)  # or of a file, or multiprocessing.shared_memory


def lock_over(memory: Any) -> Any:
    """Each process makes an object of its own over what they share."""
    return LinuxFutexBuilder().with_robust().with_shared().with_memory(memory).build().lock


if os.fork() == 0:
    lock_over(page).lock()
    os._exit(0)  # as its owner
os.wait()

ours = lock_over(page)
with ours:
    print("owner died:", "yes" if ours.owner_died else "no")
    if ours.owner_died:
        ours.recover()  # what it guards is whole again
