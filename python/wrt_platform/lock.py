"""Locks: one owner at a time, with bounded priority inversion. Mirrors wrt_platform/lock.h.

lock = LinuxLockBuilder().with_robust().build()
with lock:
    if lock.owner_died:
        repair()
        lock.recover()
    change()
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wrt_platform._enums import LockProtocol
from wrt_platform._native import ffi, lib
from wrt_platform.errors import check
from wrt_platform.waits import wait_in_slices

if TYPE_CHECKING:
    from typing import Self

    from wrt_platform.cancel import CancelToken

__all__ = ["Lock", "LockProtocol"]


class Lock:
    """What the locks of all backends can do; any thread may call any of it.

    Misuse raises StateError: to lock again what one holds, to unlock what another holds, to close
    what is held.
    """

    def __init__(self, raw: Any, interface: Any, deinit: Any, kept: Any = None) -> None:
        self._raw = ffi.gc(raw, deinit) if deinit is not None else raw
        self._interface = ffi.new("wrt_lock *", interface)
        self._deinit = deinit
        self._kept = kept  # whose part the raw lock is
        self._owner_died = False

    def lock(self, timeout: float | str | None = None, cancel: CancelToken | None = None) -> None:
        """Takes the lock. timeout: seconds, or text like "5s"; None: without limit.

        Raises TimedOutError, InterruptedCallError (`cancel` was requested), StateError (the caller
        holds it, or it was not recovered after an owner died), PermissionDeniedError (the ceiling
        may not be had).
        """
        died, token = ffi.new("bool *"), ffi.NULL if cancel is None else cancel._raw
        wait_in_slices(timeout, lambda rest: lib.wrt_lock_lock(self._interface, rest, token, died))
        self._owner_died = bool(died[0])

    def try_lock(self) -> bool:
        """Takes the lock if it is free; False if another thread holds it."""
        died = ffi.new("bool *")
        status = lib.wrt_lock_try_lock(self._interface, died)
        if status == lib.WRT_ERR_BUSY:
            return False
        check(status)
        self._owner_died = bool(died[0])
        return True

    @property
    def owner_died(self) -> bool:
        """For whoever holds the lock: whether the owner before ended while it held it, and what it
        guards may be half-changed. recover() before the unlock makes it usable on."""
        return self._owner_died

    def recover(self) -> None:
        """Says that what the lock guards is whole again. Raises StateError if no owner died."""
        check(lib.wrt_lock_recover(self._interface))
        self._owner_died = False

    def unlock(self) -> None:
        """Gives the lock back. Raises StateError if the caller does not hold it."""
        check(lib.wrt_lock_unlock(self._interface))

    def close(self) -> None:
        """Ends the lock; again does nothing. Raises StateError while somebody holds it. The lock of
        a futex ends with the futex."""
        if self._deinit is not None:
            check(self._deinit(self._raw))

    def __enter__(self) -> Self:
        self.lock()
        return self

    def __exit__(self, *_: object) -> None:
        self.unlock()
