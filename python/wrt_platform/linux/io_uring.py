"""Reads, writes and fsyncs that go on while the program does something else. Mirrors
wrt_platform/linux/io_uring.h.

    ring = IoUringBuilder().with_entries(256).build()
    with open("data.wasm", "rb") as file:
        ring.submit_read(file, 4096, 0, user_data=42)
        do_other_work()
        completion = ring.wait_completion()
    assert completion.user_data == 42
    module = bytes(completion.data)

The ring holds each buffer and each file from the submission to the completion, which gives the
buffer back. A buffer that the program forgets, or a ring that it drops, is never written into
afterwards: the ring's end cancels, and waits for, all that is under way.
"""

from __future__ import annotations

import atexit
import itertools
import os
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any, NamedTuple

from wrt_platform._enums import IoUringBackend, IoUringOperation
from wrt_platform._native import ffi, lib
from wrt_platform.enforcement import Enforcement, EnforcementState, enforcement_of
from wrt_platform.errors import InvalidArgumentError, NotFoundError, StateError, check
from wrt_platform.page_allocator import _within, _word
from wrt_platform.system_below import nanoseconds
from wrt_platform.waits import wait_in_slices

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Self

__all__ = [
    "Completion",
    "IoUring",
    "IoUringBackend",
    "IoUringBuilder",
    "IoUringOperation",
    "IoUringReport",
    "IoUringRequest",
    "probe_io_uring",
]

FILE_POSITION = 2**64 - 1  # as an offset: where the file itself stands
_AT_ONCE = 64  # completions that wait() takes, if it is not told
_LEAVE = 1.0  # seconds that Python's end waits for a call of another thread

_open: weakref.WeakSet[IoUring] = weakref.WeakSet()
_still_used: list[Any] = []  # by a ring that could not be ended


class Completion(NamedTuple):
    """What has been done."""

    user_data: Any  # of the request
    result: int  # bytes, 0 for an fsync, or a negated error number
    operation: IoUringOperation
    buffer: Any  # what the request was given, back again; of a FIXED one, the part of the ring's

    @property
    def data(self) -> memoryview:
        """What was read or written, in the buffer. Raises what `error` is."""
        if self.error is not None:
            raise self.error
        return memoryview(b"" if self.buffer is None else self.buffer).cast("B")[: self.result]

    @property
    def error(self) -> OSError | None:
        """Why it failed; None: it did not."""
        if self.result >= 0:
            return None
        return OSError(-self.result, os.strerror(-self.result))


class IoUringReport(NamedTuple):
    """What a ring is, and has under way."""

    backend: IoUringBackend
    entries: int
    cq_size: int
    thread_count: int  # of THREADS
    under_way: int  # requests whose completion was not taken yet
    buffer_count: int  # registered
    operations: frozenset[IoUringOperation]  # that are there
    descriptor: int  # of the kernel's ring; -1: THREADS
    kernel: Enforcement  # ABSENT: why it is not used, and what helps
    sq_thread: Enforcement


class IoUringRequest:
    """What is to be done, for IoUring.submit(). A file is what open() gives, or a descriptor."""

    def __init__(
        self,
        operation: IoUringOperation,
        file: Any,
        buffer: Any = None,
        *,
        size: int = 0,
        offset: int = 0,
        user_data: Any = None,
        timeout: float | str | None = None,
        index: int = 0,
    ) -> None:
        self.operation = operation
        self.file = file
        self.buffer = buffer
        self.size = _within(size, "size", 2**64)
        self.offset = _within(offset, "offset", 2**64)
        self.user_data = user_data
        self.timeout_ns = 0 if timeout is None else nanoseconds(timeout, "timeout")
        self.index = _word(index, "index")

    @classmethod
    def read(
        cls, file: Any, buffer: Any, offset: int = 0, user_data: Any = None, **more: Any
    ) -> Self:
        """Into a new buffer of so many bytes, or into one of yours (a bytearray, an mmap, ...)."""
        given = bytearray(buffer) if isinstance(buffer, int) else buffer
        return cls(IoUringOperation.READ, file, given, offset=offset, user_data=user_data, **more)

    @classmethod
    def write(
        cls, file: Any, data: Any, offset: int = 0, user_data: Any = None, **more: Any
    ) -> Self:
        """Out of bytes, or of a buffer that nobody changes until the completion."""
        return cls(IoUringOperation.WRITE, file, data, offset=offset, user_data=user_data, **more)

    @classmethod
    def read_fixed(
        cls, file: Any, index: int, size: int, offset: int = 0, user_data: Any = None, **more: Any
    ) -> Self:
        """Into the ring's registered buffer of that index."""
        kind = IoUringOperation.READ_FIXED
        more.update(size=size, offset=offset, user_data=user_data, index=index)
        return cls(kind, file, **more)

    @classmethod
    def write_fixed(
        cls, file: Any, index: int, size: int, offset: int = 0, user_data: Any = None, **more: Any
    ) -> Self:
        """Out of the ring's registered buffer of that index."""
        kind = IoUringOperation.WRITE_FIXED
        more.update(size=size, offset=offset, user_data=user_data, index=index)
        return cls(kind, file, **more)

    @classmethod
    def fsync(cls, file: Any, user_data: Any = None, data_only: bool = False, **more: Any) -> Self:
        """Until what is written is safe; data_only: without what only tells when."""
        kind = IoUringOperation.FDATASYNC if data_only else IoUringOperation.FSYNC
        return cls(kind, file, user_data=user_data, **more)

    @property
    def _is_fixed(self) -> bool:
        return self.operation in (IoUringOperation.READ_FIXED, IoUringOperation.WRITE_FIXED)


class _Held(NamedTuple):
    """What a request needs until its completion."""

    request: IoUringRequest
    memory: Any  # cffi's hold on the buffer
    buffer: Any  # what the completion gives back


class IoUring:
    """A ring; made by IoUringBuilder. Any thread may call; one call at a time goes in. A forked
    child can't use it (StateError)."""

    def __init__(self, config: Any) -> None:
        self._raw = ffi.new("wrt_io_uring *")
        self._lock = threading.Lock()
        self._held: dict[int, _Held] = {}
        self._buffers: list[Any] = []  # registered
        self._ready: list[Completion] = []  # taken out of C, and not given out yet
        self._tokens = itertools.count(1)
        check(lib.wrt_io_uring_init(self._raw, config))
        needs = (self._held, self._buffers)
        self._end = weakref.finalize(self, _end_dropped, self._raw, os.getpid(), needs)
        self._end.atexit = False
        _open.add(self)

    @staticmethod
    def is_available() -> bool:
        """Whether the kernel's io_uring can be used, found out by making a ring; probe_io_uring()
        says why not. Without it a ring works all the same, over a few threads."""
        return probe_io_uring().state is EnforcementState.ENFORCED

    @property
    def report(self) -> IoUringReport:
        """What the ring is, and has under way."""
        raw = ffi.new("wrt_io_uring_report *")
        with self._lock:
            check(lib.wrt_io_uring_query(self._raw, raw))
        counts = (raw.entries, raw.cq_size, raw.thread_count, raw.under_way, raw.buffer_count)
        there = frozenset(kind for kind in IoUringOperation if raw.operations >> kind & 1)
        holds = enforcement_of(raw.kernel), enforcement_of(raw.sq_thread)
        return IoUringReport(IoUringBackend(raw.backend), *counts, there, raw.descriptor, *holds)

    # ---- Handing in ----

    def submit(self, requests: Sequence[IoUringRequest]) -> int:
        """Hands in a batch; returns how many are under way: fewer than there are if the ring is
        full then. Raises BusyError if it is full already: take completions first."""
        given = list(requests)
        if not given:
            return 0
        with self._lock:
            return self._submit(given)

    def submit_read(
        self,
        file: Any,
        buffer: Any,
        offset: int = 0,
        user_data: Any = None,
        timeout: float | str | None = None,
    ) -> None:
        """Reads into a new buffer of so many bytes, or into one of yours (a bytearray, ...)."""
        self.submit([IoUringRequest.read(file, buffer, offset, user_data, timeout=timeout)])

    def submit_write(
        self,
        file: Any,
        data: Any,
        offset: int = 0,
        user_data: Any = None,
        timeout: float | str | None = None,
    ) -> None:
        """Writes bytes, or a buffer that nobody changes until the completion."""
        self.submit([IoUringRequest.write(file, data, offset, user_data, timeout=timeout)])

    def submit_fsync(self, file: Any, user_data: Any = None, data_only: bool = False) -> None:
        """Until what is written is safe. It does not wait for writes that are under way."""
        self.submit([IoUringRequest.fsync(file, user_data, data_only)])

    def _submit(self, requests: list[IoUringRequest]) -> int:
        raws = ffi.new("wrt_io_uring_request[]", len(requests))
        held = [self._hold(request, raws[at]) for at, request in enumerate(requests)]
        for raw, each in zip(raws, held):  # before C knows: whatever ends this, C's view is kept
            self._held[raw.user_data] = each
        accepted = ffi.new("uint32_t *")
        status = lib.wrt_io_uring_submit(self._raw, raws, len(requests), accepted)
        for at in range(accepted[0], len(requests)):
            _release(self._held.pop(raws[at].user_data))
        check(status)
        return int(accepted[0])

    def _hold(self, request: IoUringRequest, raw: Any) -> _Held:
        raw.operation, raw.offset = request.operation, request.offset
        raw.timeout_ns, raw.buffer_index = request.timeout_ns, request.index
        raw.descriptor = _descriptor(request.file)
        raw.user_data = next(self._tokens)
        if request._is_fixed:
            memory = self._registered(request.index)
            raw.buffer, raw.size = memory, request.size
            return _Held(request, None, memoryview(ffi.buffer(memory))[: request.size])
        if request.buffer is None:
            return _Held(request, None, None)
        memory = _borrow(request.buffer, request.operation is IoUringOperation.READ)
        raw.buffer, raw.size = ffi.cast("void *", memory), len(memory)
        return _Held(request, memory, request.buffer)

    # ---- Completions ----

    def wait_completion(self, timeout: float | str | None = None) -> Completion:
        """Waits for one completion. Raises TimedOutError, or StateError if nothing is under way."""
        return self.wait(1, 1, timeout)[0]

    def wait(
        self, minimum: int = 1, maximum: int = _AT_ONCE, timeout: float | str | None = None
    ) -> list[Completion]:
        """Waits until there are `minimum` completions, or all that are under way if they are fewer,
        and takes up to `maximum`. With a timeout there may be fewer; none is a TimedOutError, but
        for a minimum of 0, which does not wait at all."""
        most = max(_word(maximum, "maximum"), _word(minimum, "minimum"))
        taken: list[Completion] = []

        def take(timeout_ns: int) -> int:
            status = self._take(taken, most, minimum, timeout_ns)
            if status == lib.WRT_OK and len(taken) < minimum and self._held:
                status = lib.WRT_ERR_TIMED_OUT  # this slice was not enough
            return status

        try:
            wait_in_slices(0 if minimum == 0 else timeout, take)
        except (TimeoutError, StateError):
            if not taken:
                raise
        except BaseException:  # Ctrl-C, for instance: they are for the next call
            self._ready[:0] = taken
            raise
        return taken

    def _take(self, taken: list[Completion], most: int, minimum: int, timeout_ns: int) -> int:
        with self._lock:
            status = self._collect(most - len(taken), minimum - len(taken), timeout_ns)
            moved = self._ready[: most - len(taken)]
            del self._ready[: len(moved)]
            taken += moved
        if status == lib.WRT_ERR_TIMED_OUT:
            time.sleep(0)  # whoever waits for the lock, to cancel for instance, gets it
        return status

    def _collect(self, room: int, minimum: int, timeout_ns: int) -> int:
        if self._ready:
            return int(lib.WRT_OK)
        raws, count = ffi.new("wrt_io_uring_completion[]", room), ffi.new("uint32_t *")
        try:
            return int(lib.wrt_io_uring_wait(self._raw, raws, room, minimum, timeout_ns, count))
        finally:  # what C has given out is kept, whatever Python raises here
            self._ready += [self._completion(raws[at]) for at in range(count[0])]

    def _completion(self, raw: Any) -> Completion:
        held = self._held.pop(raw.user_data)
        _release(held)
        kind = IoUringOperation(raw.operation)
        return Completion(held.request.user_data, raw.result, kind, held.buffer)

    def cancel(self, user_data: Any) -> None:
        """Asks for the end of all requests with that user_data. Each still has its completion: with
        -ECANCELED, or with what it came to. Raises NotFoundError if none is under way."""
        with self._lock:
            meant = [at for at, each in self._held.items() if each.request.user_data == user_data]
            found = False
            for token in meant:
                status = lib.wrt_io_uring_cancel(self._raw, token)
                if status != lib.WRT_ERR_NOT_FOUND:
                    check(status)
                    found = True
        if not found:
            raise NotFoundError(f"nothing with user_data {user_data!r} is under way")

    # ---- Registered buffers ----

    def register_buffers(self, count: int, size: int) -> None:
        """Makes `count` buffers of `size` bytes that the kernel looks up once, and not with each
        request: for read_fixed() and write_fixed()."""
        if not 1 <= count <= lib.WRT_IO_URING_BUFFERS_MAX:
            raise InvalidArgumentError(f"count is {count}, not 1 to {lib.WRT_IO_URING_BUFFERS_MAX}")
        made = [ffi.new("uint8_t[]", _within(size, "size", 2**31)) for _ in range(count)]
        raws = ffi.new("wrt_io_uring_buffer[]", count)
        for raw, buffer in zip(raws, made):
            raw.start, raw.size = buffer, len(buffer)
        with self._lock:
            check(lib.wrt_io_uring_register_buffers(self._raw, raws, count))
            self._buffers.extend(made)

    def unregister_buffers(self) -> None:
        """Gives them up; views of them stay valid."""
        with self._lock:
            check(lib.wrt_io_uring_unregister_buffers(self._raw))
            self._buffers.clear()

    def buffer(self, index: int) -> memoryview:
        """The registered buffer of that index."""
        with self._lock:
            return memoryview(ffi.buffer(self._registered(index)))

    def _registered(self, index: int) -> Any:
        if not 0 <= index < len(self._buffers):
            raise InvalidArgumentError(f"there is no registered buffer {index}")
        return self._buffers[index]

    # ---- The end ----

    def close(self) -> None:
        """Cancels all that is under way, waits until nothing writes to a buffer any more, and
        closes the ring; their completions are lost. Again does nothing."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        check(lib.wrt_io_uring_deinit(self._raw))
        self._end.detach()
        for each in self._held.values():
            _release(each)
        self._held.clear()
        self._buffers.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _end_dropped(raw: Any, process: int, needs: Any) -> None:
    if os.getpid() != process:
        return  # a forked child: the ring, and what it writes to, are its parent's
    if lib.wrt_io_uring_deinit(raw) != lib.WRT_OK:
        _still_used.append((raw, needs))


@atexit.register
def _close_all() -> None:
    """Before Python takes its memory apart nothing may write there any more."""
    for ring in list(_open):
        if not ring._end.alive:
            continue
        if ring._lock.acquire(timeout=_LEAVE):
            ring._end()
            ring._lock.release()
        else:
            _still_used.append((ring._raw, ring._held, ring._buffers))


def _descriptor(file: Any) -> int:
    number = file if isinstance(file, int) else file.fileno()
    if not 0 <= number < 2**31:
        raise InvalidArgumentError(f"{number} is no descriptor")
    return int(number)


def _borrow(buffer: Any, is_written: bool) -> Any:
    if isinstance(buffer, memoryview):
        text = "a memoryview can be released by others; give what it looks at"
        raise InvalidArgumentError(text)
    try:
        return ffi.from_buffer("uint8_t[]", buffer, require_writable=is_written)
    except (TypeError, ValueError, BufferError) as error:
        raise InvalidArgumentError(f"the buffer can't be borrowed: {error}") from error


def _release(held: _Held) -> None:
    if held.memory is not None:
        ffi.release(held.memory)


class IoUringBuilder:
    """Collects settings; the rules of linux/io_uring.h are checked by build()."""

    def __init__(self) -> None:
        size = ffi.sizeof("wrt_io_uring_config")
        self._config = ffi.new("wrt_io_uring_config *", {"struct_size": size})

    def with_entries(self, count: int) -> Self:
        """How many go to the kernel at once: 2 to 32768, rounded up to a power of two; 0: 128."""
        self._config.entries = _word(count, "entries")
        return self

    def with_cq_size(self, count: int) -> Self:
        """How many may be under way, one with a time-out counting twice; 0: twice the entries."""
        self._config.cq_size = _word(count, "cq_size")
        return self

    def with_backend(self, backend: IoUringBackend) -> Self:
        """KERNEL: nothing else will do; THREADS: not the kernel's; AUTO: the kernel's, else
        threads."""
        self._config.backend = _word(int(backend), "backend")
        return self

    def with_thread_count(self, count: int) -> Self:
        """Of THREADS, 1 to 16; 0: 2."""
        self._config.thread_count = _word(count, "thread_count")
        return self

    def with_sq_thread(self, enabled: bool = True) -> Self:
        """A thread of the kernel takes what is submitted; it keeps a CPU busy until it sleeps."""
        self._config.sq_thread = enabled
        return self

    def with_sq_thread_cpu(self, cpu: int | None) -> Self:
        """The CPU that this thread is to stay on; None: any."""
        self._config.has_sq_thread_cpu = cpu is not None
        self._config.sq_thread_cpu = 0 if cpu is None else _word(cpu, "sq_thread_cpu")
        return self

    def with_sq_idle(self, seconds: float | str) -> Self:
        """Without work for so long it sleeps; 0: 50 ms."""
        self._config.sq_idle_ns = nanoseconds(seconds, "sq_idle")
        return self

    def build(self) -> IoUring:
        """Makes the ring, or says which rule is broken; with KERNEL, raises PermissionDeniedError
        or UnsupportedError naming what is in the way."""
        return IoUring(self._config)


def probe_io_uring() -> Enforcement:
    """Whether this process can use the kernel's io_uring: ENFORCED, or ABSENT with the reason and
    what helps. Tried by making a ring."""
    raw = ffi.new("wrt_enforcement *")
    check(lib.wrt_io_uring_probe(raw))
    return enforcement_of(raw)
