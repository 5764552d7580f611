"""Cancel tokens: one word that ends every wait which was given it. Mirrors wrt_platform/cancel.h.

token = CancelToken()
threading.Timer(1, token.request).start()
futex.wait(0, cancel=token)     # raises InterruptedCallError after a second
"""

from __future__ import annotations

import contextlib
from typing import Any

from wrt_platform._native import ffi, lib
from wrt_platform.errors import TimedOutError
from wrt_platform.system_below import system_interface
from wrt_platform.waits import wait_in_slices

__all__ = ["CancelToken"]


class CancelToken:
    """Ready for use; any thread may use it, one at a time sleeps on it.

    A task has one of its own, and so has an instance (Instance.cancel_token)."""

    _owner: object = None

    def __init__(self) -> None:
        self._raw = ffi.new("wrt_cancel_token *")

    @classmethod
    def _of(cls, raw: Any, owner: object) -> CancelToken:
        """The token that C keeps inside of `owner`, who is kept alive."""
        token = cls.__new__(cls)
        token._raw, token._owner = raw, owner
        return token

    def request(self) -> None:
        """Ends the waits with this token, those that come later as well, until clear()."""
        lib.wrt_cancel_request(self._raw)

    def clear(self) -> None:
        """Makes the token ready for use again."""
        lib.wrt_cancel_clear(self._raw)

    @property
    def is_requested(self) -> bool:
        """Whether it was requested and not cleared."""
        return bool(lib.wrt_cancel_is_requested(self._raw))

    def sleep(self, timeout: float | str | None = None, system: Any = None) -> None:
        """Sleeps for so long, None: without limit. Raises InterruptedCallError when the token is
        requested, BusyError while another thread sleeps on it. system: the thread system to sleep
        by; None: this process's own."""
        interface = ffi.new("wrt_thread_system *", system_interface(system))
        with contextlib.suppress(TimedOutError):
            wait_in_slices(timeout, lambda rest: self._sleep(interface, rest))

    def _sleep(self, interface: Any, timeout_ns: int) -> int:
        """C's wait; there the end of the time is no error, here it asks for the next slice."""
        status = int(lib.wrt_cancel_wait(self._raw, interface, timeout_ns))
        return int(lib.WRT_ERR_TIMED_OUT) if status == lib.WRT_OK else status
