"""Futexes: a word that threads wait on, and others wake. Mirrors wrt_platform/sync.h.

futex = LinuxFutexBuilder().build()

while not futex.load():         # one thread
    futex.wait(0, timeout=5)

futex.store(1)                  # another
futex.wake_one()
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wrt_platform._native import ffi, lib
from wrt_platform.errors import check
from wrt_platform.lock import Lock
from wrt_platform.page_allocator import _word
from wrt_platform.waits import wait_in_slices

if TYPE_CHECKING:
    from wrt_platform.cancel import CancelToken

__all__ = ["FutexLike"]

_ALL = 2**32 - 1


class FutexLike:
    """What the futexes of all backends can do; any thread may call any of it.

    Change the word before you wake: a waiter looks at it again, and Ctrl-C is noticed, every 50 ms.
    """

    def __init__(self, raw: Any, interface: Any, deinit: Any, lock: Any = None) -> None:
        self._raw = ffi.gc(raw, deinit)
        self._interface = ffi.new("wrt_futex *", interface)
        self._deinit = deinit
        self._lock = None if lock is None else Lock(raw, lock, None, kept=self._raw)

    @property
    def lock(self) -> Lock | None:
        """What a futex made with priority inheritance is; None of another."""
        return self._lock

    def wait(
        self,
        expected: int,
        timeout: float | str | None = None,
        cancel: CancelToken | None = None,
    ) -> None:
        """Waits until it is woken, if the word is `expected`; returns at once if it is another.

        timeout: seconds, or text like "5s"; None: without limit. Look at the word afterwards, it
        may return early. Raises TimedOutError, InterruptedCallError (`cancel` was requested),
        StateError (closed meanwhile), UnsupportedError (made with priority inheritance).
        """
        word, token = _word(expected, "expected"), ffi.NULL if cancel is None else cancel._raw
        wait_in_slices(timeout, lambda rest: lib.wrt_futex_wait(self._interface, word, rest, token))

    def wake(self, count: int) -> int:
        """Wakes at most `count` threads that wait; returns how many there were."""
        woken = ffi.new("uint32_t *")
        check(lib.wrt_futex_wake(self._interface, _word(count, "count"), woken))
        return int(woken[0])

    def wake_one(self) -> int:
        """Wakes one thread; returns 0 if there was none."""
        return self.wake(1)

    def wake_all(self) -> int:
        """Wakes all threads that wait; returns how many there were."""
        return self.wake(_ALL)

    def load(self) -> int:
        """The word."""
        value = ffi.new("uint32_t *")
        check(lib.wrt_futex_load(self._interface, value))
        return int(value[0])

    def store(self, value: int) -> None:
        """Sets the word; wakes nobody."""
        check(lib.wrt_futex_store(self._interface, _word(value, "value")))

    def fetch_add(self, value: int) -> int:
        """Adds to the word, which wraps at 2**32; returns what it was."""
        before = ffi.new("uint32_t *")
        check(lib.wrt_futex_fetch_add(self._interface, _word(value, "value"), before))
        return int(before[0])

    def compare_exchange(self, expected: int, value: int) -> bool:
        """Sets the word to `value` if it is `expected`; False if it is another."""
        seen, exchanged = ffi.new("uint32_t *", _word(expected, "expected")), ffi.new("bool *")
        call = lib.wrt_futex_compare_exchange
        check(call(self._interface, seen, _word(value, "value"), exchanged))
        return bool(exchanged[0])

    def close(self) -> None:
        """Ends the futex; who waits leaves with StateError. Again does nothing."""
        check(self._deinit(self._raw))
