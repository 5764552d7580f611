"""Exceptions: one class per wrt_status, so that callers catch a kind, not a number.

Each derives from the builtin that fits as well, and each can be pickled, so that
it crosses to another process whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wrt_platform._native import ffi, lib

if TYPE_CHECKING:
    from wrt_platform.guest import Frame

__all__ = [
    "BusyError",
    "CrashedError",
    "ExitError",
    "HostError",
    "InterruptedCallError",
    "InvalidArgumentError",
    "InvalidModuleError",
    "LimitError",
    "LinkError",
    "MalformedError",
    "NotFoundError",
    "OutOfFuelError",
    "OutOfMemoryError",
    "PendingError",
    "PermissionDeniedError",
    "StateError",
    "SystemCallError",
    "TimedOutError",
    "TrapError",
    "UnsupportedError",
    "WrtError",
]

_SENTENCE_SIZE = 512  # bytes; a longer sentence is asked for again


class WrtError(Exception):
    """A wrt_platform call failed; str() says which, why, and with what numbers."""

    status: int = 0  # one of wrt_status_code
    operation: str = ""  # the C call that failed
    os_code: int = 0  # error number of the system call, 0 if none failed
    detail: tuple[int, int] = (0, 0)  # the numbers of the reason

    def __reduce__(self) -> tuple[Any, ...]:
        state = dict(self.__dict__)
        if isinstance(self, OSError):  # OSError keeps its number outside of __dict__
            state["errno"] = self.errno
        return type(self), self.args, state


class InvalidArgumentError(WrtError, ValueError):
    """The caller broke a documented rule."""

    status = lib.WRT_ERR_INVALID_ARGUMENT


class OutOfMemoryError(WrtError, MemoryError):
    """The request is fine, the room is not there."""

    status = lib.WRT_ERR_NO_MEMORY


class StateError(WrtError, RuntimeError):
    """The right call at the wrong moment."""

    status = lib.WRT_ERR_STATE


class UnsupportedError(WrtError, NotImplementedError):
    """This library or this system cannot do it."""

    status = lib.WRT_ERR_UNSUPPORTED


class PermissionDeniedError(WrtError, PermissionError):
    """The system refuses it to this user or process."""

    status = lib.WRT_ERR_PERMISSION


class BusyError(WrtError, RuntimeError):
    """Somebody else holds it now."""

    status = lib.WRT_ERR_BUSY


class TimedOutError(WrtError, TimeoutError):
    """The time limit passed first."""

    status = lib.WRT_ERR_TIMED_OUT


class SystemCallError(WrtError, OSError):
    """A system call failed for a reason that has no class of its own; see `os_code`."""

    status = lib.WRT_ERR_SYSTEM


class NotFoundError(WrtError, LookupError):
    """There is no export, file or other thing of that name."""

    status = lib.WRT_ERR_NOT_FOUND


class LimitError(WrtError, RuntimeError):
    """More was asked for than the configuration grants."""

    status = lib.WRT_ERR_LIMIT


class MalformedError(WrtError, ValueError):
    """The bytes are not a WebAssembly module."""

    status = lib.WRT_ERR_MALFORMED


class InvalidModuleError(WrtError, ValueError):
    """The module is well-formed, but breaks a validation rule."""

    status = lib.WRT_ERR_INVALID_MODULE


class LinkError(WrtError, ImportError):
    """An import is unknown or of another type."""

    status = lib.WRT_ERR_LINK


class TrapError(WrtError, RuntimeError):
    """The guest trapped; str() says why and where, a line for each frame."""

    status = lib.WRT_ERR_TRAP
    code: int = 0  # one of wrt_trap_code
    reason: str = ""  # the specification's words for the code
    frames: tuple[Frame, ...] = ()  # where it stood, innermost first
    function: int | str | None = None  # its name, its index if it has none, None if nothing ran
    offset: int | None = None  # of the instruction, in bytes from the start of the module


class OutOfFuelError(WrtError, TimeoutError):
    """The fuel is used up."""

    status = lib.WRT_ERR_OUT_OF_FUEL


class InterruptedCallError(WrtError, InterruptedError):
    """The call was interrupted on request."""

    status = lib.WRT_ERR_INTERRUPTED


class HostError(WrtError, RuntimeError):
    """A host function failed by its own word; `__cause__` is what it raised, if it did."""

    status = lib.WRT_ERR_HOST


class ExitError(WrtError, RuntimeError):
    """The guest ended itself (WASI proc_exit). No SystemExit: Python itself is to go on."""

    status = lib.WRT_ERR_EXIT
    exit_code: int = 0


class PendingError(WrtError, BlockingIOError):
    """A host function is not ready and wants to be called again."""

    status = lib.WRT_ERR_PENDING


class CrashedError(WrtError, RuntimeError):
    """The process of a sandbox died, and not because its guest ended."""

    status = lib.WRT_ERR_CRASHED
    signal: int = 0  # that it died of; 0 if it is not known, or if it was none


_BY_STATUS: dict[int, type[WrtError]] = {kind.status: kind for kind in WrtError.__subclasses__()}


def check(status: int) -> None:
    """Raises the exception for `status`, with the C library's own sentence."""
    if status != lib.WRT_OK:
        raise error_of(status)


def error_of(status: int) -> WrtError:
    """The exception for `status`, with this thread's last failure in words."""
    kind = _BY_STATUS.get(status, WrtError)
    last = lib.wrt_error_last()
    if last.status != status:  # a finaliser failed in between: its sentence is not ours
        error = kind(f"status {status}")
    else:
        error = kind(_sentence(last))
        error.operation = ffi.string(last.operation).decode()
        error.os_code = last.os_code
        error.detail = (last.detail[0], last.detail[1])
    error.status = status
    if isinstance(error, OSError):
        error.errno = error.os_code
    return error


def _sentence(last: Any) -> str:
    text = ffi.new("char[]", _SENTENCE_SIZE)
    length = lib.wrt_error_format(last, text, len(text))
    if length >= len(text):
        text = ffi.new("char[]", length + 1)
        lib.wrt_error_format(last, text, len(text))
    return str(ffi.string(text).decode())
