"""Structures that threads share without a lock. Mirrors wrt_platform/lockfree.h.

    ring = RingBuilder().with_capacity(64).with_element_size(8).build()
    ring.put(b"12345678")
    ring.get()

Full and empty are answers: `put` and `get` raise BusyError, `put_many` and `get_many` say how many
elements went through. The C library copies elements while other Python threads run.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from wrt_platform._native import ffi, lib
from wrt_platform.errors import BusyError, InvalidArgumentError, check
from wrt_platform.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self, Union

    Bytes = Union[bytes, bytearray, memoryview]

__all__ = [
    "IndexStack",
    "IndexStackBuilder",
    "Queue",
    "QueueBuilder",
    "Ring",
    "RingBuilder",
    "Seqlock",
    "SeqlockBuilder",
    "TripleBuffer",
    "TripleBufferBuilder",
]


def _check(status: int, answer: str) -> None:
    """Raises the exception for `status`. BUSY leaves no record in C, so its words are ours."""
    if status == lib.WRT_ERR_BUSY:
        raise BusyError(answer)
    check(status)


def _bytes_of(data: Bytes, size: int, what: str) -> Any:
    """The bytes for C, if there are as many as it will copy."""
    if memoryview(data).nbytes != size:
        raise InvalidArgumentError(f"{what} has {size} bytes, not {memoryview(data).nbytes}")
    return ffi.from_buffer(data)


class _Builder:
    """What all builders have: a config, and a buffer that they make where none is given."""

    _name = ""  # of the C object

    def __init__(self) -> None:
        config = f"wrt_{self._name}_config"
        self._config = ffi.new(f"{config} *", {"struct_size": ffi.sizeof(config)})
        self._buffer: Any = None

    def _with_buffer(self, buffer: bytearray) -> Self:
        if isinstance(buffer, memoryview):  # CPython crashes when a lent view dies in a cycle
            raise TypeError("pass the object that owns the memory, not a view of it")
        self._buffer = ffi.from_buffer("uint8_t[]", buffer, require_writable=True)
        return self

    def layout(self) -> Layout:
        """What buffer the settings need."""
        layout = ffi.new("wrt_layout *")
        check(getattr(lib, f"wrt_{self._name}_layout")(self._config, layout))
        return Layout(layout.bytes, layout.alignment)

    def _build(self) -> tuple[Any, Any, Any]:
        """The C object, its config as it was used, and the memory that C borrows."""
        needed = self.layout()
        buffer = self._buffer
        if buffer is None:
            buffer = ffi.new("uint8_t[]", needed.bytes + needed.alignment)
        address = int(ffi.cast("uintptr_t", buffer))
        lost = -address % needed.alignment
        config = ffi.new(f"wrt_{self._name}_config *", self._config[0])
        config.buffer = ffi.cast("void *", address + lost)
        config.buffer_size = max(ffi.sizeof(buffer) - lost, 0)
        raw = ffi.new(f"wrt_{self._name} *")
        check(getattr(lib, f"wrt_{self._name}_init")(raw, config))
        self._buffer = None  # one buffer serves one object
        return raw, config, buffer


class _Structure:
    """What all structures have: the C object, and the memory that it borrows."""

    def __init__(self, raw: Any, config: Any, buffer: Any) -> None:
        self._raw = raw
        self._buffer = buffer


class _Elements(_Structure):
    """What ring and queue have in common."""

    _name = ""

    def __init__(self, raw: Any, config: Any, buffer: Any) -> None:
        super().__init__(raw, config, buffer)
        self._element_size: int = config.element_size
        self.capacity: int = config.capacity

    def _put(self, call: Callable[[Any, Any], int], element: Bytes) -> None:
        given = _bytes_of(element, self._element_size, "an element")
        _check(call(self._raw, given), f"the {self._name} is full")

    def _get(self, call: Callable[[Any, Any], int]) -> bytes:
        out = ffi.new("uint8_t[]", self._element_size)
        _check(call(self._raw, out), f"the {self._name} is empty")
        return bytes(ffi.buffer(out))

    def _put_many(self, call: Callable[[Any, Any, int, Any], int], elements: Bytes) -> int:
        count, rest = divmod(memoryview(elements).nbytes, self._element_size)
        if rest:
            raise InvalidArgumentError(
                f"{memoryview(elements).nbytes} bytes are no whole number of elements of "
                f"{self._element_size}"
            )
        moved = ffi.new("uint32_t *")
        status = call(self._raw, ffi.from_buffer(elements), count, moved)
        if status != lib.WRT_ERR_BUSY:
            check(status)
        return int(moved[0])

    def _get_many(self, call: Callable[[Any, Any, int, Any], int], count: int) -> bytes:
        count = min(count, self.capacity)  # more there can't be
        out, moved = ffi.new("uint8_t[]", count * self._element_size or 1), ffi.new("uint32_t *")
        status = call(self._raw, out, count, moved)
        if status != lib.WRT_ERR_BUSY:
            check(status)
        return bytes(ffi.buffer(out, moved[0] * self._element_size))

    def __len__(self) -> int:
        count = ffi.new("uint32_t *")
        check(getattr(lib, f"wrt_{self._name}_count")(self._raw, count))
        return int(count[0])


class Ring(_Elements):
    """One producer and one consumer, in order; made by RingBuilder.

    Threads that put take turns, and so do threads that get: the lock of each end is ours.
    """

    _name = "ring"

    def __init__(self, raw: Any, config: Any, buffer: Any) -> None:
        super().__init__(raw, config, buffer)
        self._put_lock = threading.Lock()
        self._get_lock = threading.Lock()

    def put(self, element: Bytes) -> None:
        """Copies an element in. Raises BusyError when the ring is full."""
        with self._put_lock:
            self._put(lib.wrt_ring_put, element)

    def get(self) -> bytes:
        """Takes the oldest element. Raises BusyError when the ring is empty."""
        with self._get_lock:
            return self._get(lib.wrt_ring_get)

    def put_many(self, elements: Bytes) -> int:
        """Copies in as many elements as there is room for; returns how many."""
        with self._put_lock:
            return self._put_many(lib.wrt_ring_put_many, elements)

    def get_many(self, count: int) -> bytes:
        """Takes as many elements as are there, at most `count`, one behind the other."""
        with self._get_lock:
            return self._get_many(lib.wrt_ring_get_many, count)


class Queue(_Elements):
    """Many producers and many consumers, in order; made by QueueBuilder.

    Not formally lock-free: a thread that is stopped inside a call hides the elements behind its
    own until it goes on, and then even a queue that is neither full nor empty raises BusyError.
    """

    _name = "queue"

    def put(self, element: Bytes) -> None:
        """Copies an element in. Raises BusyError when the queue is full."""
        self._put(lib.wrt_queue_put, element)

    def get(self) -> bytes:
        """Takes the oldest element. Raises BusyError when the queue is empty."""
        return self._get(lib.wrt_queue_get)

    def put_many(self, elements: Bytes) -> int:
        """Copies in as many elements as there is room for, none of another thread between them;
        returns how many."""
        return self._put_many(lib.wrt_queue_put_many, elements)

    def get_many(self, count: int) -> bytes:
        """Takes as many elements as are ready, at most `count`, one behind the other."""
        return self._get_many(lib.wrt_queue_get_many, count)


class IndexStack(_Structure):
    """Numbers below a capacity, last in, first out: a free list. Made by IndexStackBuilder.

    A thread that is stopped inside pop() for exactly a multiple of 65,536 pushes can damage it;
    see wrt_index_stack_pop().
    """

    def __init__(self, raw: Any, config: Any, buffer: Any) -> None:
        super().__init__(raw, config, buffer)
        self.capacity: int = config.capacity

    def push(self, index: int) -> None:
        """Puts an index on top. Raises StateError if it is on the stack already."""
        check(lib.wrt_index_stack_push(self._raw, index))

    def pop(self) -> int:
        """Takes the index on top. Raises BusyError when the stack is empty."""
        out = ffi.new("uint32_t *")
        _check(lib.wrt_index_stack_pop(self._raw, out), "the stack is empty")
        return int(out[0])


class Seqlock(_Structure):
    """One writer, many readers, the latest value; made by SeqlockBuilder.

    Threads that write take turns; readers take no lock.
    """

    def __init__(self, raw: Any, config: Any, buffer: Any) -> None:
        super().__init__(raw, config, buffer)
        self._value_size = config.value_size
        self._write_lock = threading.Lock()

    def write(self, value: Bytes) -> None:
        """Replaces the value."""
        given = _bytes_of(value, self._value_size, "the value")
        with self._write_lock:
            check(lib.wrt_seqlock_write(self._raw, given))

    def read(self) -> bytes:
        """The latest whole value. Raises BusyError when writes spoiled all attempts."""
        out = ffi.new("uint8_t[]", self._value_size)
        _check(lib.wrt_seqlock_read(self._raw, out), "a write was under way at each attempt")
        return bytes(ffi.buffer(out))


class TripleBuffer(_Structure):
    """One writer, one reader, the latest value; made by TripleBufferBuilder.

    Threads that put take turns, and so do threads that get.
    """

    def __init__(self, raw: Any, config: Any, buffer: Any) -> None:
        super().__init__(raw, config, buffer)
        self._value_size = config.value_size
        self._put_lock = threading.Lock()
        self._get_lock = threading.Lock()

    def put(self, value: Bytes) -> None:
        """Makes this the latest value; one that nobody has read is dropped."""
        given = _bytes_of(value, self._value_size, "the value")
        with self._put_lock:
            check(lib.wrt_triple_buffer_put(self._raw, given))

    def get(self) -> tuple[bytes, bool]:
        """The latest value, and whether it is another one than last time. Raises BusyError when
        nothing was put yet."""
        out, is_new = ffi.new("uint8_t[]", self._value_size), ffi.new("bool *")
        with self._get_lock:
            status = lib.wrt_triple_buffer_get(self._raw, out, is_new)
        _check(status, "nothing was put yet")
        return bytes(ffi.buffer(out)), bool(is_new[0])


class RingBuilder(_Builder):
    """Collects settings; the rules of lockfree.h are checked by build()."""

    _name = "ring"

    def with_capacity(self, elements: int) -> Self:
        """How many elements there is room for: a power of two."""
        self._config.capacity = elements
        return self

    def with_element_size(self, size: int) -> Self:
        """Bytes of an element, 1 to 65536; 8 is the fastest."""
        self._config.element_size = size
        return self

    def with_buffer(self, buffer: bytearray) -> Self:
        """Lies in this memory; bytes up to the first aligned one are lost. Without it, build()
        makes a buffer."""
        return self._with_buffer(buffer)

    def build(self) -> Ring:
        """Makes the ring. Raises InvalidArgumentError naming the broken rule."""
        return Ring(*self._build())


class QueueBuilder(_Builder):
    """Collects settings; the rules of lockfree.h are checked by build()."""

    _name = "queue"

    def with_capacity(self, elements: int) -> Self:
        """How many elements there is room for: a power of two, at least 2."""
        self._config.capacity = elements
        return self

    def with_element_size(self, size: int) -> Self:
        """Bytes of an element, 1 to 65536; 8 is the fastest."""
        self._config.element_size = size
        return self

    def with_buffer(self, buffer: bytearray) -> Self:
        """Lies in this memory; bytes up to the first aligned one are lost. Without it, build()
        makes a buffer."""
        return self._with_buffer(buffer)

    def build(self) -> Queue:
        """Makes the queue. Raises InvalidArgumentError naming the broken rule."""
        return Queue(*self._build())


class IndexStackBuilder(_Builder):
    """Collects settings; the rules of lockfree.h are checked by build()."""

    _name = "index_stack"

    def with_capacity(self, indexes: int) -> Self:
        """How many indexes there are, 1 to 65535: 0 to that, less one."""
        self._config.capacity = indexes
        return self

    def with_filled(self, filled: bool = True) -> Self:
        """Begins with all indexes on the stack, 0 on top."""
        self._config.filled = filled
        return self

    def with_buffer(self, buffer: bytearray) -> Self:
        """Lies in this memory; bytes up to the first aligned one are lost. Without it, build()
        makes a buffer."""
        return self._with_buffer(buffer)

    def build(self) -> IndexStack:
        """Makes the stack. Raises InvalidArgumentError naming the broken rule."""
        return IndexStack(*self._build())


class SeqlockBuilder(_Builder):
    """Collects settings; the rules of lockfree.h are checked by build()."""

    _name = "seqlock"

    def with_value_size(self, size: int) -> Self:
        """Bytes of the value, 1 to 65536."""
        self._config.value_size = size
        return self

    def with_attempts(self, attempts: int) -> Self:
        """How many reads a write may spoil before one gives up; 0: 1000."""
        self._config.attempts = attempts
        return self

    def with_buffer(self, buffer: bytearray) -> Self:
        """Lies in this memory; bytes up to the first aligned one are lost. Without it, build()
        makes a buffer."""
        return self._with_buffer(buffer)

    def build(self) -> Seqlock:
        """Makes the lock, its value all zero. Raises InvalidArgumentError naming the broken
        rule."""
        return Seqlock(*self._build())


class TripleBufferBuilder(_Builder):
    """Collects settings; the rules of lockfree.h are checked by build()."""

    _name = "triple_buffer"

    def with_value_size(self, size: int) -> Self:
        """Bytes of a value, 1 to 65536."""
        self._config.value_size = size
        return self

    def with_buffer(self, buffer: bytearray) -> Self:
        """Lies in this memory; bytes up to the first aligned one are lost. Without it, build()
        makes a buffer."""
        return self._with_buffer(buffer)

    def build(self) -> TripleBuffer:
        """Makes the triple buffer. Raises InvalidArgumentError naming the broken rule."""
        return TripleBuffer(*self._build())
