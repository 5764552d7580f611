"""Linear memory that begins with an image whose bytes come when they are first touched, from a file
or from a function. Mirrors wrt_platform/linux/lazy_memory.h.

    lazy = LazyMemoryBuilder().with_path("image.bin").with_maximum_pages(256).build()
    with lazy.allocate(16) as pages:
        pages.memory[70_000]  # this chunk of 64 KiB is read now, and no other

A memory can be given to an instance like any other allocator.

A function that loads runs in a thread of its own while guests touch what is missing, since they
run without the interpreter. Python code can't wait for Python code in that way: what it is given a
view of is loaded before, by its own thread. So `pages.memory` loads all of the image;
`pages.read()`, and the views of an instance's memory, load what they reach.
"""

from __future__ import annotations

import atexit
import sys
import threading
import weakref
from os import PathLike, fsencode
from typing import TYPE_CHECKING, Any, NamedTuple

from wrt_platform import memory as _memory
from wrt_platform._native import ffi, lib
from wrt_platform.enforcement import Enforcement, enforcement_of
from wrt_platform.errors import HostError, InvalidArgumentError, _sentence, check
from wrt_platform.page_allocator import (
    PAGE_SIZE,
    PageAllocator,
    Pages,
    VerificationLevel,
    _within,
    _word,
)
from wrt_platform.system_below import WAIT_FOR_EVER, nanoseconds

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self, Union

    Load = Callable[[int, int], Union[bytes, bytearray, memoryview]]
    Path = Union[str, bytes, PathLike[str], PathLike[bytes]]

__all__ = ["LazyMemory", "LazyMemoryBuilder", "LazyMemoryReport", "LazyPages"]

_LEAVE = 1.0  # seconds that the exit of Python gives each thread
_served: weakref.WeakSet[LazyMemory] = weakref.WeakSet()  # by Python


class LazyMemoryReport(NamedTuple):
    """What is out, and how it came."""

    allocation_count: int  # out now: 0 or 1
    page_count: int  # accessible now
    peak_pages: int  # the most that ever were
    failed_chunks: int  # of the memory that is out, or was last; likewise below
    reserved_bytes: int  # of address space, guards included
    image_bytes: int
    chunk_bytes: int
    loaded_bytes: int  # of the image
    touch_count: int  # touches that had to wait
    lazy: Enforcement  # ABSENT: the image is loaded as a whole
    kernel: Enforcement  # PARTIAL: system calls say EFAULT for what is not loaded
    failure: str  # the first; "": there was none


class LazyPages(Pages):
    """Linear memory whose image is loaded when it is touched, on loan from a LazyMemory."""

    _allocator: LazyMemory
    _view: memoryview

    @property
    def memory(self) -> memoryview:
        """All of it. If a function of Python loads it, the whole image is loaded first; raises
        what load() raises then."""
        if self._allocator._loader is not None and self._raw.base:
            self._allocator.load(0, self.page_count * PAGE_SIZE)
        return self._view

    @memory.setter
    def memory(self, view: memoryview) -> None:
        self._view = view

    def read(self, offset: int, size: int) -> bytes:
        """A copy of `size` bytes; loads what is missing of them. Raises what load() raises."""
        self._allocator.load(offset, size)
        return bytes(self._view[offset : offset + size])

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Copies `data` in; loads what is missing round it. Raises what load() raises."""
        source = memoryview(data).cast("B")
        self._allocator.load(offset, len(source))
        self._view[offset : offset + len(source)] = source

    def release(self) -> None:
        self._view.release()
        if self._loan() is not None:
            self._view_again()
            raise BufferError("another view of the pages is still in use")
        self._allocator._settle()


class LazyMemory(PageAllocator):
    """Serves one allocation at a time, which begins with the image; made by LazyMemoryBuilder.

    A chunk that can't be loaded ends who touches it with SIGBUS; load() raises instead. A forked
    child can't use it (StateError) and has not got its memory.
    """

    _kind = LazyPages
    _live = False

    def __init__(self, config: Any, loader: _Loader | None) -> None:
        raw = ffi.new("wrt_linux_lazy_memory *")
        check(lib.wrt_linux_lazy_memory_init(raw, config))
        interface = lib.wrt_linux_lazy_memory_interface(raw)
        super().__init__(raw, interface, lib.wrt_linux_lazy_memory_deinit)
        self._maximum_pages = config.maximum_pages or lib.WRT_LINUX_LAZY_PAGES_DEFAULT
        self._loader = loader
        self._thread: threading.Thread | None = None
        self._live = True
        if loader is not None:
            _served.add(self)
            self._serve(raw, loader)

    def _serve(self, raw: Any, loader: _Loader) -> None:
        """Starts the thread that calls the function. It holds no reference to this object: who
        drops it tells the thread to end, and the thread then ends the rest."""
        if self.report.lazy.state.name == "ABSENT":
            return
        self._thread = threading.Thread(
            target=_serve, args=(raw, loader), name="wrt-lazy-memory", daemon=True
        )
        self._thread.start()

    def allocate(self, initial_pages: int, maximum_pages: int | None = None) -> LazyPages:
        """As that of every allocator; `initial_pages` must have room for the image. Raises
        BusyError while one is out, and what load() raises where the image is loaded as a whole."""
        try:
            pages = super().allocate(initial_pages, maximum_pages)
        except HostError as error:
            self._raise(error)
            raise
        assert isinstance(pages, LazyPages)
        return pages

    def load(self, offset: int, size: int) -> None:
        """Loads what is missing of `size` bytes from `offset` of the memory that is out, in this
        thread.

        Raises HostError if the function raised something, which is the cause; SystemCallError if
        the file can't be read or has ended; StateError if nothing is out.
        """
        bounds = _within(offset, "offset", 2**64), _within(size, "size", 2**64)
        try:
            check(lib.wrt_linux_lazy_memory_load(self._raw, *bounds))
        except HostError as error:
            self._raise(error)
            raise

    def _raise(self, error: HostError) -> None:
        """Raises it from what the function has raised."""
        loader = self._loader
        cause = None if loader is None else loader.failure
        if cause is None:
            return
        if not isinstance(cause, Exception):  # KeyboardInterrupt and its like
            raise cause
        raise error from cause

    @property
    def failure(self) -> BaseException | None:
        """What the function has raised, the latest; None: nothing."""
        return None if self._loader is None else self._loader.failure

    @property
    def report(self) -> LazyMemoryReport:
        """What is out, and how it came."""
        raw = ffi.new("wrt_linux_lazy_memory_report *")
        check(lib.wrt_linux_lazy_memory_query(self._raw, raw))
        counts = [getattr(raw, name) for name in LazyMemoryReport._fields[:-3]]
        holds = enforcement_of(raw.lazy), enforcement_of(raw.kernel)
        failed = raw.failure.status != lib.WRT_OK
        failure = _sentence(ffi.addressof(raw, "failure")) if failed else ""
        return LazyMemoryReport._make([*counts, *holds, failure])

    def close(self) -> None:
        """Ends the memory, its thread and its file; again does nothing. Raises StateError while
        memory is out, BusyError while the function still runs after a second."""
        self._settle()
        with self._lock:
            if self._raw.self and not self._raw.reserve.allocation_count:
                self._stop()
        super().close()

    def _stop(self) -> None:
        if self._thread is not None:
            lib.wrt_linux_lazy_memory_stop(self._raw)
            self._thread.join(_LEAVE)

    def __del__(self) -> None:
        if self._live:
            lib.wrt_linux_lazy_memory_stop(self._raw)
            _memory.finish(lib.wrt_linux_lazy_memory_deinit, self._raw, self._lock, self._loader)

    def _prepare(self, start: Any, size: int) -> None:
        """Loads what a view is going to reach, if it is of this memory."""
        raw = ffi.new("wrt_linux_lazy_memory_report *")
        if lib.wrt_linux_lazy_memory_query(self._raw, raw) != lib.WRT_OK or not raw.base:
            return
        offset = int(ffi.cast("uintptr_t", start)) - int(ffi.cast("uintptr_t", raw.base))
        if 0 <= offset <= raw.page_count * PAGE_SIZE:
            self.load(offset, size)


class _Loader:
    """A function that loads, and what it has raised."""

    def __init__(self, call: Load) -> None:
        self.call = call
        self.failure: BaseException | None = None
        self.server = 0  # the thread that serves
        self.handle = ffi.new_handle(self)  # C borrows it: it lives as long as the memory

    def bring(self, offset: int, room: Any, size: int) -> int:
        try:
            data = memoryview(self.call(offset, size)).cast("B")
            if len(data) != size:
                raise InvalidArgumentError(
                    f"the function returned {len(data)} bytes for {size} at {offset}"
                )
            ffi.memmove(room, data, size)
        except BaseException as error:
            self.failure = error
            if threading.get_ident() == self.server:
                _report(error)
            return int(lib.WRT_ERR_HOST)
        return int(lib.WRT_OK)


@ffi.def_extern(name="py_wrt_linux_lazy_load_fn", error=lib.WRT_ERR_HOST)  # type: ignore[untyped-decorator]
def _load(context: Any, offset: int, room: Any, size: int) -> int:
    return int(ffi.from_handle(context).bring(offset, room, size))


def _report(error: BaseException) -> None:
    """Prints it before the chunk is given up: who touches it may take the process along."""
    arguments = (type(error), error, error.__traceback__, threading.current_thread())
    threading.excepthook(threading.ExceptHookArgs(arguments))
    sys.stderr.flush()


def _serve(raw: Any, loader: _Loader) -> None:
    loader.server = threading.get_ident()
    while True:
        status = lib.wrt_linux_lazy_memory_serve(raw, WAIT_FOR_EVER)
        if status in (lib.WRT_ERR_INTERRUPTED, lib.WRT_ERR_STATE):
            _memory.settle()  # whoever dropped the memory could not end it with this thread in it
            return


def _prepare_all(start: Any, size: int) -> None:
    for lazy in list(_served):
        lazy._prepare(start, size)


_memory.before_lending.append(_prepare_all)


@atexit.register
def _stop_all() -> None:
    """A daemon thread inside of C when Python ends would be stopped anywhere."""
    for lazy in list(_served):
        if lazy._thread is not None:
            lib.wrt_linux_lazy_memory_stop(lazy._raw)
            lazy._thread.join(_LEAVE)


class LazyMemoryBuilder:
    """Collects settings; the rules of linux/lazy_memory.h are checked by build()."""

    def __init__(self) -> None:
        size = ffi.sizeof("wrt_linux_lazy_memory_config")
        self._config = ffi.new("wrt_linux_lazy_memory_config *", {"struct_size": size})
        self._path: Any = None  # C borrows it while build() runs
        self._loader: _Loader | None = None

    def with_path(self, path: Path) -> Self:
        """The image is this file, or a part of it."""
        self._path = ffi.new("char[]", fsencode(path))
        self._config.path = self._path
        return self

    def with_load(self, load: Load) -> Self:
        """The image is what this function returns: load(offset, size) gives `size` bytes. It must
        not touch the memory itself."""
        self._loader = _Loader(load)
        self._config.load = lib.py_wrt_linux_lazy_load_fn
        self._config.context = self._loader.handle
        return self

    def with_image_size(self, size: int) -> Self:
        """Bytes of the image; 0: the file's rest. A function needs it."""
        self._config.image_size = _within(size, "image_size", 2**64)
        return self

    def with_file_offset(self, offset: int) -> Self:
        """Where the image begins in the file."""
        self._config.file_offset = _within(offset, "file_offset", 2**64)
        return self

    def with_chunk_bytes(self, size: int) -> Self:
        """Loaded at a time: whole pages of the system, up to 16 MiB; 0: 64 KiB."""
        self._config.chunk_bytes = _within(size, "chunk_bytes", 2**64)
        return self

    def with_timeout(self, timeout: float | str) -> Self:
        """So long a touch waits for the function; 0: 10 s."""
        self._config.timeout_ns = nanoseconds(timeout, "timeout")
        return self

    def with_maximum_pages(self, pages: int) -> Self:
        """An allocation reserves no more; 0: 4096, 256 MiB."""
        self._config.maximum_pages = _word(pages, "maximum_pages")
        return self

    def with_verification_level(self, level: VerificationLevel) -> Self:
        """How much is checked of what comes back."""
        self._config.verification_level = level
        return self

    def with_sampling_interval(self, calls: int) -> Self:
        """SAMPLING checks one call in so many; 0: 16."""
        self._config.sampling_interval = _word(calls, "sampling_interval")
        return self

    def with_guard_bytes(self, size: int) -> Self:
        """Before and behind: whole pages of the system, at most 4 GiB; 0: 64 KiB."""
        self._config.guard_bytes = _within(size, "guard_bytes", 2**64)
        return self

    def with_require_lazy(self, enabled: bool = True) -> Self:
        """build() raises UnsupportedError or PermissionDeniedError where pages can't come on
        demand; without it the image is loaded as a whole there."""
        self._config.require_lazy = enabled
        return self

    def build(self) -> LazyMemory:
        """Makes the memory; nothing is loaded yet. Raises InvalidArgumentError naming the broken
        rule, NotFoundError without such a file."""
        return LazyMemory(self._config, self._loader)
