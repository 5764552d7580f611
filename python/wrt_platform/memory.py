"""Linear memories: what a guest reads and writes, lent to Python without a copy.

A memory never moves, and growth leaves it where it is: a view taken once stays valid, shows the
size of its moment, and keeps the memory alive, after close() as well. So it can never show what
comes to lie there later. Mirrors instance.h.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from wrt_platform._native import ffi, lib
from wrt_platform.errors import InvalidArgumentError, check
from wrt_platform.store import Store, register
from wrt_platform.values import MemoryType

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from wrt_platform.page_allocator import PageAllocator

__all__ = ["Memory", "MemoryBuilder"]

_PAGE = 65536
_NO_MAXIMUM = 0xFFFFFFFF
_PAGES_DEFAULT = lib.WRT_INSTANCE_PAGES_DEFAULT

# Called with each range before Python may touch it: memory that Python itself has to load can't be
# waited for by a thread that holds the interpreter.
before_lending: list[Callable[[Any, int], None]] = []


class Memory:
    """A linear memory: an instance's own (`instance.memory`), or one to be imported.

        memory = Memory(1, 16)               # pages of 64 KiB: at first, at most
        Instance(module, {"env": {"memory": memory}})
        memory.write(1024, b"hello")
        numbers = numpy.frombuffer(memory.view(), dtype="<u4")

    maximum: part of its type, None for none. reserve: pages it may really grow to; the maximum by
    default, at most 4096 (256 MiB). allocator: where it comes from; by default pages of the
    system with guard pages round them.
    Threads: any; a running guest may change what a view shows at any time.
    """

    def __init__(
        self,
        minimum: int,
        maximum: int | None = None,
        *,
        reserve: int = 0,
        allocator: PageAllocator | None = None,
    ) -> None:
        builder = MemoryBuilder().with_initial_pages(minimum)
        if maximum is not None:
            builder.with_declared_maximum(maximum)
        if allocator is not None:
            builder.with_allocator(allocator)
        storage, store = builder.with_maximum_pages(reserve)._make()
        self._set(store, storage.pointer, storage)

    @classmethod
    def _of(cls, store: Store, pointer: Any, owner: Any) -> Memory:
        memory = cls.__new__(cls)
        memory._set(store, pointer, owner)
        return memory

    def _set(self, store: Store, pointer: Any, owner: Any) -> None:
        self._store = store
        self._pointer = pointer
        self._owner = owner  # what the C object lives in

    @property
    def type(self) -> MemoryType:
        """Pages now, and the maximum of its type."""
        maximum = self._pointer.declared_maximum
        return MemoryType(self.pages, None if maximum == _NO_MAXIMUM else maximum)

    @property
    def pages(self) -> int:
        """Pages of 64 KiB that it has now."""
        return int(self._pointer.page_count)

    @property
    def peak_pages(self) -> int:
        """The most pages it has had."""
        return int(self._pointer.peak_pages)

    @property
    def refused_growths(self) -> int:
        """How often a guest's memory.grow was refused."""
        return int(self._pointer.refused_growths)

    def __len__(self) -> int:
        return int(self._pointer.bytes)

    def view(self, offset: int = 0, size: int | None = None) -> memoryview:
        """The memory itself, writable, from `offset` on. Nothing is copied.

        Raises InvalidArgumentError if it reaches beyond the end.
        """
        length = len(self)
        size = max(length - offset, 0) if size is None else size
        if offset < 0 or size < 0 or offset + size > length:
            raise InvalidArgumentError(
                f"{size} bytes at {offset} reach beyond the memory, which has {length}"
            )
        for prepare in before_lending:
            prepare(self._pointer.base + offset, size)
        lent = ffi.gc(self._pointer.base + offset, _Loan(self._owner))
        return memoryview(ffi.buffer(lent, size))

    def read(self, offset: int, size: int) -> bytes:
        """A copy of `size` bytes. Raises InvalidArgumentError beyond the end."""
        return bytes(self.view(offset, size))

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Copies `data` in. Raises InvalidArgumentError beyond the end, with nothing written."""
        source = memoryview(data).cast("B")
        self.view(offset, len(source))[:] = source

    def read_text(self, offset: int, size: int | None = None) -> str:
        """UTF-8 text: `size` bytes, or up to the first NUL."""
        if size is not None:
            return self.read(offset, size).decode()
        view = self.view(offset)
        for start in range(0, len(view), 4096):
            chunk = bytes(view[start : start + 4096])
            end = chunk.find(0)
            if end >= 0:
                return bytes(view[: start + end]).decode()
        raise InvalidArgumentError(f"the text at {offset} has no end")

    def grow(self, pages: int) -> int:
        """Adds pages; returns how many there were. Raises LimitError, with nothing changed."""
        if not 0 <= pages <= _NO_MAXIMUM:
            raise InvalidArgumentError(f"a memory does not grow by {pages} pages")
        old = ffi.new("uint32_t *")
        with self._store.entered():
            status = lib.wrt_memory_grow(self._pointer, pages, old)
        check(status)
        return int(old[0])

    def _as_extern(self, external: Any) -> tuple[Store, Any]:
        external.kind, external.of.memory = lib.WRT_EXTERN_MEMORY, self._pointer
        return self._store, self._owner

    def __repr__(self) -> str:
        return f"<Memory {self.pages} pages>"


class _Loan:
    """Keeps a memory's owner alive until the last view of it is gone."""

    __slots__ = ("owner",)

    def __init__(self, owner: Any) -> None:
        self.owner = owner

    def __call__(self, _: Any) -> None:
        self.owner = None


class MemoryBuilder:
    """Collects settings of a memory; instance.h has the rules, build() checks them."""

    def __init__(self) -> None:
        self._config = ffi.new("wrt_memory_config *")
        self._config.struct_size = ffi.sizeof("wrt_memory_config")
        self._config.declared_maximum = _NO_MAXIMUM
        self._allocator: PageAllocator | None = None

    def with_initial_pages(self, pages: int) -> Self:
        """Pages of 64 KiB at first."""
        self._config.initial_pages = _pages(pages)
        return self

    def with_declared_maximum(self, pages: int) -> Self:
        """The maximum of its type, which a module's import must allow; none by default."""
        self._config.declared_maximum = _pages(pages)
        return self

    def with_maximum_pages(self, pages: int) -> Self:
        """Room that is reserved; 0: the declared maximum, at most 4096 pages (256 MiB)."""
        self._config.maximum_pages = _pages(pages)
        return self

    def with_allocator(self, allocator: PageAllocator) -> Self:
        """Where the pages come from; by default the system, with guard pages."""
        self._allocator = allocator
        return self

    def build(self) -> Memory:
        """Makes the memory. Raises InvalidArgumentError, LimitError or OutOfMemoryError."""
        storage, store = self._make()
        return Memory._of(store, storage.pointer, storage)

    def _make(self) -> tuple[MemoryStorage, Store]:
        config = ffi.new("wrt_memory_config *", self._config[0])
        allocator = self._allocator
        if allocator is None:
            wanted = config.maximum_pages or min(config.declared_maximum, _PAGES_DEFAULT)
            allocator = default_allocator(max(wanted, config.initial_pages))
        store = Store()
        storage = MemoryStorage(allocator)
        if self._allocator is not None:
            storage.lock = lock_of(allocator)
            store.share_allocator(storage.lock)
        config.allocator = interface_of(allocator)
        with store.entered():
            status = lib.wrt_memory_init(storage.pointer, config)
        check(status)
        storage.live = True
        return storage, store


class MemoryStorage:
    """The C object and what it borrows; gives the pages back when nothing uses it any more."""

    def __init__(self, allocator: Any) -> None:
        self.pointer = ffi.new("wrt_memory *")
        self.live = False
        self.lock: Any = None  # of an allocator that others use as well
        self._allocator = allocator
        register(self.pointer, self)

    def __del__(self) -> None:
        if self.live:
            finish(lib.wrt_memory_deinit, self.pointer, self.lock, self._allocator)


def default_allocator(pages: int) -> Any:
    """Pages of the system, between guard pages, for one memory."""
    from wrt_platform.linux.memory import LinuxAllocatorBuilder

    return LinuxAllocatorBuilder().with_maximum_pages(max(pages, 1)).with_guard_pages().build()


def interface_of(allocator: Any) -> Any:
    """The C interface of an allocator object. Raises TypeError if it is none."""
    try:
        return allocator._interface
    except AttributeError:
        raise TypeError(f"{allocator!r} is no page allocator; a builder needs build()") from None


def lock_of(allocator: Any) -> Any:
    """The lock that an allocator object holds round its own C calls."""
    interface_of(allocator)
    return allocator._lock


# A finaliser may run at any moment, even inside a locked call of this very thread, so it waits
# for no lock: what can't be had at once is put on this list, and the next call sees to it.
_left_over: deque[tuple[Any, Any, Any, Any]] = deque()


def finish(deinit: Any, pointer: Any, lock: Any, kept: Any) -> None:
    """Gives a C object back, now or later. lock: of its allocator, None if nobody else has that;
    kept: what the C object borrows."""
    _left_over.append((deinit, pointer, lock, kept))
    settle()


def settle() -> None:
    """Gives back what finalisers had to leave."""
    for _ in range(len(_left_over)):
        try:
            item = _left_over.popleft()
        except IndexError:  # another thread was faster
            return
        deinit, pointer, lock, _kept = item
        if lock is None:
            deinit(pointer)
        elif lock.acquire(blocking=False):
            try:
                status = deinit(pointer)
            finally:
                lock.release()
            if status in (lib.WRT_ERR_STATE, lib.WRT_ERR_BUSY):  # in use by what is garbage as well
                _left_over.append(item)
        else:
            _left_over.append(item)


def _pages(number: int) -> int:
    if not 0 <= number < _NO_MAXIMUM:
        raise InvalidArgumentError(f"{number} is no number of pages")
    return number
