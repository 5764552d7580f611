"""Where a guest's input comes from and its output goes: captured, shown in a notebook, or a file.

A guest writes to host descriptors. To capture, it gets the writing end of a pipe that a thread
empties; so a guest that prints without end fills no disk, and no more memory than the limit here.
"""

from __future__ import annotations

import os
import threading
from typing import IO, TYPE_CHECKING, Any, Union

from wrt_platform._native import ffi, lib
from wrt_platform.host_function import Callee, OutputClosedError
from wrt_platform.values import FunctionType

if TYPE_CHECKING:
    from wrt_platform.store import Store

__all__ = ["Input", "Output", "OutputSink", "WriteObserver", "open_input"]

Input = Union[bytes, str, int, "IO[Any]", None]
Output = Union[str, int, "IO[Any]", None]

_CAPTURE_MAX = 64 << 20  # bytes that are kept; what comes after is dropped, and said
_CHUNK = 65536

# WASI's numbers for the failures of a write that are the host's.
_FAILURES = {64: "EPIPE", 51: "ENOSPC", 29: "EIO", 19: "EDQUOT", 22: "EFBIG"}
_STREAMS = {1: "standard output", 2: "standard error"}


class OutputSink:
    """One of the guest's outputs. `descriptor` is what the guest gets."""

    def __init__(self, output: Output, number: int) -> None:
        self.captured = bytearray()
        self.truncated = False
        self._thread: threading.Thread | None = None
        self._echo: Any = None
        if output is None or output == "capture":
            self._echo = _notebook_stream(number) if output is None else None
            self._capture()
        elif output == "inherit":
            self.descriptor = number
        elif isinstance(output, int):
            self.descriptor = output
        elif isinstance(output, str) or not hasattr(output, "fileno"):
            raise TypeError(
                f"output goes to a descriptor, a file, 'inherit' or 'capture', not {output!r}"
            )
        else:
            output.flush()
            self.descriptor = output.fileno()

    def _capture(self) -> None:
        reading, self.descriptor = os.pipe()
        self._thread = threading.Thread(
            target=self._drain, args=(reading,), name="wrt_platform output", daemon=True
        )
        self._thread.start()

    def _drain(self, reading: int) -> None:
        import codecs

        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        with open(reading, "rb", buffering=0) as pipe:
            while data := pipe.read(_CHUNK):
                room = _CAPTURE_MAX - len(self.captured)
                self.truncated |= len(data) > room
                self.captured += data[: max(room, 0)]
                if self._echo is not None:
                    self._echo.write(decoder.decode(data))
                    self._echo.flush()

    def close(self) -> bytes:
        """Ends the capture; returns what was captured."""
        if self._thread is not None:
            os.close(self.descriptor)
            self._thread.join()
            self._thread = None
        return bytes(self.captured)


def open_input(given: Input) -> tuple[int | None, Any]:
    """The descriptor of the guest's input, None for none, and what keeps it open."""
    if given is None:
        return None, None
    if isinstance(given, str) and given == "inherit":
        return 0, None
    if isinstance(given, (bytes, bytearray, str)):
        import tempfile

        data = given.encode() if isinstance(given, str) else given
        file = tempfile.TemporaryFile()  # noqa: SIM115  (open until the run ends)
        file.write(data)
        file.seek(0)
        return file.fileno(), file
    if isinstance(given, int):
        return given, None
    return given.fileno(), given


def _notebook_stream(number: int) -> Any:
    """The cell's own stream, where Python runs in a notebook."""
    import sys

    stream = sys.stdout if number == 1 else sys.stderr
    return stream if type(stream).__module__.startswith("ipykernel") else None


class WriteObserver(Callee):
    """Stands before WASI's fd_write and sees when the host can't take the output.

    A guest may ignore a failed write, and then loop for ever before a closed pipe, or end as if
    all were well. A closed pipe ends the run, as a signal would end a native program; any other
    failure goes to the guest, and is remembered.
    """

    is_ours = True  # it never waits

    def __init__(self, imports: Any, count: int) -> None:
        kind = FunctionType(["i32"] * 4, ["i32"])
        super().__init__(self._refuse, kind, "fd_write")
        names = [ffi.string(imports[index].name) for index in range(count)]
        original = imports[names.index(b"fd_write")]
        self._original = ffi.cast("wrt_host_function *", original.value.of.function)
        self.failure: tuple[str, str] | None = None  # which stream, which error

    @staticmethod
    def _refuse(*_: Any) -> None:
        raise TypeError("only a guest calls fd_write")

    def answer(self, caller: Any, values: Any, store: Store) -> int:
        """Writes as WASI does, and looks at what came of it."""
        stream = _STREAMS.get(values[0].i32)
        status: int = self._original.call(self._original.context, caller, values)
        if status != lib.WRT_OK or stream is None or values[0].i32 not in _FAILURES:
            return status
        import errno

        name = _FAILURES[values[0].i32]
        number = getattr(errno, name)
        self.failure = stream, os.strerror(number)
        if name == "EPIPE":
            closed = OutputClosedError(f"{stream}: {os.strerror(number)}")
            closed.os_code = number
            raise closed
        return status

    def _as_reference(self) -> tuple[Any, Any, None]:
        return self.pointer, self, None
