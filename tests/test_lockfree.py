"""Lock-free structures, one call after the other: sizes, answers, wrap-around, misuse.

What happens when calls meet is shown in test_lockfree_model.py.
"""

from __future__ import annotations

import random
import threading
from collections import deque
from typing import Any

import pytest
from wrt_platform._native import ffi, lib
from wrt_platform.errors import (
    BusyError,
    InvalidArgumentError,
    OutOfMemoryError,
    StateError,
    UnsupportedError,
    check,
)
from wrt_platform.lockfree import (
    IndexStack,
    IndexStackBuilder,
    Queue,
    QueueBuilder,
    Ring,
    RingBuilder,
    Seqlock,
    SeqlockBuilder,
    TripleBuffer,
    TripleBufferBuilder,
)

pytestmark = pytest.mark.row("SY-3")

SETTINGS: dict[str, dict[str, int]] = {
    "ring": {"capacity": 4, "element_size": 8},
    "queue": {"capacity": 4, "element_size": 8},
    "index_stack": {"capacity": 4},
    "seqlock": {"value_size": 8},
    "triple_buffer": {"value_size": 8},
}


def ring(capacity: int, element_size: int) -> Ring:
    return RingBuilder().with_capacity(capacity).with_element_size(element_size).build()


def queue(capacity: int, element_size: int) -> Queue:
    return QueueBuilder().with_capacity(capacity).with_element_size(element_size).build()


def stack(capacity: int) -> IndexStack:
    return IndexStackBuilder().with_capacity(capacity).with_filled().build()


class Raw:
    """An object of the C library, with a buffer that ends in bytes that nobody may touch."""

    GUARD = 64

    def __init__(self, name: str, **settings: int) -> None:
        self.name = name
        self.config = ffi.new(f"wrt_{name}_config *")
        self.config.struct_size = ffi.sizeof(f"wrt_{name}_config")
        for field, value in {**SETTINGS[name], **settings}.items():
            setattr(self.config, field, value)
        self.object = ffi.new(f"wrt_{name} *")
        layout = ffi.new("wrt_layout *")
        self.layout_status = self.call("layout", self.config, layout)
        self.bytes, self.alignment = int(layout.bytes), int(layout.alignment)
        if self.layout_status == lib.WRT_OK:
            self._take_buffer()

    def call(self, verb: str, *arguments: Any) -> int:
        return int(getattr(lib, f"wrt_{self.name}_{verb}")(*arguments))

    def _take_buffer(self) -> None:
        self.memory = ffi.new("uint8_t[]", self.bytes + self.alignment + self.GUARD)
        start = -int(ffi.cast("uintptr_t", self.memory)) % self.alignment
        self.buffer = self.memory + start
        self.guard = ffi.buffer(self.buffer + self.bytes, self.GUARD)
        self.guard[:] = b"g" * self.GUARD
        self.config.buffer, self.config.buffer_size = self.buffer, self.bytes

    def init(self) -> Raw:
        check(self.call("init", self.object, self.config))
        return self

    def word(self, offset: int) -> Any:
        """A word of the buffer, by its offset in bytes."""
        return ffi.cast("uint32_t *", self.buffer + offset)


# In order: ring and queue.


@pytest.mark.parametrize("element_size", [1, 3, 4, 8, 24])
@pytest.mark.parametrize(
    ("kind", "capacity"), [(ring, 1), (ring, 2), (ring, 16), (queue, 2), (queue, 16)]
)
def test_behaves_like_a_deque_that_can_be_full(kind: Any, capacity: int, element_size: int) -> None:
    tested, model = kind(capacity, element_size), deque[bytes]()
    chance = random.Random(capacity * 100 + element_size)
    answers = set()
    for _ in range(2000):
        action = chance.choice([put_one, get_one, put_some, get_some])
        answers.add(action(tested, model, capacity, element_size, chance))
        assert len(tested) == len(model)
    assert {"put", "full", "got", "empty"} <= answers


def put_one(tested: Any, model: deque[bytes], capacity: int, size: int, chance: Any) -> str:
    element = chance.randbytes(size)
    if len(model) == capacity:
        with pytest.raises(BusyError, match="is full"):
            tested.put(element)
        return "full"
    tested.put(element)
    model.append(element)
    return "put"


def get_one(tested: Any, model: deque[bytes], *_: Any) -> str:
    if not model:
        with pytest.raises(BusyError, match="is empty"):
            tested.get()
        return "empty"
    assert tested.get() == model.popleft()
    return "got"


def put_some(tested: Any, model: deque[bytes], capacity: int, size: int, chance: Any) -> str:
    elements = [chance.randbytes(size) for _ in range(chance.randrange(capacity + 3))]
    room = capacity - len(model)
    assert tested.put_many(b"".join(elements)) == min(room, len(elements))
    model.extend(elements[:room])
    return "put some"


def get_some(tested: Any, model: deque[bytes], capacity: int, _: int, chance: Any) -> str:
    count = chance.randrange(capacity + 3)
    expected = [model.popleft() for _ in range(min(count, len(model)))]
    assert tested.get_many(count) == b"".join(expected)
    return "got some"


@pytest.mark.parametrize("kind", [ring, queue])
def test_elements_of_another_size_are_refused(kind: Any) -> None:
    tested = kind(4, 8)
    with pytest.raises(InvalidArgumentError, match="an element has 8 bytes, not 7"):
        tested.put(bytes(7))
    with pytest.raises(InvalidArgumentError, match="12 bytes are no whole number of elements of 8"):
        tested.put_many(bytes(12))
    assert len(tested) == 0


@pytest.mark.parametrize("name", ["ring", "queue"])
def test_full_and_empty_leave_the_last_error_alone(name: str) -> None:
    raw = Raw(name, capacity=2).init()
    element, count = ffi.new("uint64_t[3]"), ffi.new("uint32_t *")
    assert raw.call("put", ffi.NULL, element) == lib.WRT_ERR_INVALID_ARGUMENT
    check(raw.call("put_many", raw.object, element, 3, count))
    assert count[0] == 2
    assert raw.call("put", raw.object, element) == lib.WRT_ERR_BUSY
    assert raw.call("put_many", raw.object, element, 1, count) == lib.WRT_ERR_BUSY
    assert raw.call("put_many", raw.object, element, 0, count) == lib.WRT_OK
    check(raw.call("get_many", raw.object, element, 2, count))
    assert raw.call("get", raw.object, element) == lib.WRT_ERR_BUSY
    assert raw.call("get_many", raw.object, element, 1, count) == lib.WRT_ERR_BUSY
    assert count[0] == 0
    last = lib.wrt_error_last()
    assert last.status == lib.WRT_ERR_INVALID_ARGUMENT
    assert ffi.string(last.operation) == f"wrt_{name}_put".encode()


# Positions are set a few elements before 2**32; where they lie in the buffer is private.


def test_positions_of_a_ring_wrap() -> None:
    raw = Raw("ring").init()
    first = 2**32 - 2
    ends = [ffi.cast("uint32_t *", end) for end in (raw.object.producer, raw.object.consumer)]
    for end, lead in zip(ends, (4, 0)):
        end[0], end[1] = first, (first + lead) % 2**32  # position, limit
    words = ffi.new("uint64_t *")
    for round_ in range(3):
        for value in range(4):
            words[0] = 10 * round_ + value
            check(raw.call("put", raw.object, words))
        assert raw.call("put", raw.object, words) == lib.WRT_ERR_BUSY
        for value in range(4):
            check(raw.call("get", raw.object, words))
            assert words[0] == 10 * round_ + value
        assert raw.call("get", raw.object, words) == lib.WRT_ERR_BUSY
    assert ends[0][0] == ends[1][0] == 10


def test_positions_of_a_queue_wrap() -> None:
    raw = Raw("queue").init()
    first, cell_size = 2**32 - 4, 16
    raw.object.put_position[0] = raw.object.get_position[0] = first
    for cell in range(4):
        ffi.cast("uint32_t *", raw.object.cells + cell * cell_size)[0] = first + cell
    words = ffi.new("uint64_t *")
    for value in range(12):
        words[0] = value
        check(raw.call("put", raw.object, words))
        check(raw.call("get", raw.object, words))
        assert words[0] == value
        assert raw.call("get", raw.object, words) == lib.WRT_ERR_BUSY
    assert raw.object.put_position[0] == raw.object.get_position[0] == 8


def test_tag_of_a_stack_wraps() -> None:
    tested = stack(3)
    for _ in range(70_000):
        tested.push(tested.pop())
    assert [tested.pop() for _ in range(3)] == [0, 1, 2]


# The stack of indexes.


def test_filled_stack_hands_out_from_0_on() -> None:
    tested = stack(65535)
    assert [tested.pop() for _ in range(65535)] == list(range(65535))
    with pytest.raises(BusyError, match="the stack is empty"):
        tested.pop()


def test_stack_behaves_like_a_list() -> None:
    tested = IndexStackBuilder().with_capacity(9).build()
    model: list[int] = []
    chance = random.Random(4)
    deepest = 0
    for _ in range(3000):
        deepest = max(deepest, len(model))
        index = chance.randrange(9)
        if chance.random() < 0.3 and model:
            assert tested.pop() == model.pop()
        elif index in model:
            with pytest.raises(StateError, match=f"index {index} is on the stack already"):
                tested.push(index)
        else:
            tested.push(index)
            model.append(index)
    assert deepest == 9


def test_index_beyond_the_capacity_is_refused() -> None:
    tested = stack(4)
    with pytest.raises(InvalidArgumentError, match="index is 4, the capacity is 4"):
        tested.push(4)


# The latest value: sequence lock and triple buffer.


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 8, 65, 65536])
def test_latest_value_is_read_whole(size: int) -> None:
    lock = SeqlockBuilder().with_value_size(size).build()
    triple = TripleBufferBuilder().with_value_size(size).build()
    assert lock.read() == bytes(size)
    for seed in range(5):
        value = random.Random(seed).randbytes(size)
        lock.write(value)
        triple.put(value)
        assert lock.read() == lock.read() == value
        assert triple.get() == (value, True)
        assert triple.get() == (value, False)


def test_value_of_another_size_is_refused() -> None:
    lock = SeqlockBuilder().with_value_size(8).build()
    with pytest.raises(InvalidArgumentError, match="the value has 8 bytes, not 9"):
        lock.write(bytes(9))
    with pytest.raises(InvalidArgumentError, match="the value has 8 bytes, not 0"):
        TripleBufferBuilder().with_value_size(8).build().put(b"")


def test_read_gives_up_while_a_write_stands_still() -> None:
    """As an interrupt would find it that has stopped the writer."""
    raw = Raw("seqlock", attempts=3).init()
    value = ffi.new("uint64_t *")
    raw.object.sequence[0] += 1
    assert raw.call("read", raw.object, value) == lib.WRT_ERR_BUSY
    assert raw.call("write", raw.object, value) == lib.WRT_ERR_BUSY  # a second writer
    raw.object.sequence[0] += 1
    assert raw.call("read", raw.object, value) == lib.WRT_OK


def test_sequence_wraps() -> None:
    raw = Raw("seqlock").init()
    raw.object.sequence[0] = 2**32 - 2
    value = ffi.new("uint64_t *", 77)
    check(raw.call("write", raw.object, value))
    assert raw.object.sequence[0] == 0
    value[0] = 0
    check(raw.call("read", raw.object, value))
    assert value[0] == 77


def test_nothing_is_read_before_the_first_put() -> None:
    triple = TripleBufferBuilder().with_value_size(8).build()
    with pytest.raises(BusyError, match="nothing was put yet"):
        triple.get()
    triple.put(b"12345678")
    triple.put(b"abcdefgh")
    assert triple.get() == (b"abcdefgh", True)


def test_value_that_is_lent_stays_as_it_is() -> None:
    raw = Raw("triple_buffer").init()
    back, front, is_new = ffi.new("void **"), ffi.new("void const **"), ffi.new("bool *")
    for value in range(1, 20):
        check(raw.call("back", raw.object, back))
        assert back[0] != front[0]
        ffi.cast("uint64_t *", back[0])[0] = value
        check(raw.call("publish", raw.object))
        if value % 3 == 0:  # the reader is slower
            check(raw.call("front", raw.object, front, is_new))
            assert is_new[0]
            seen = value
        if value > 3:
            assert ffi.cast("uint64_t *", front[0])[0] == seen
    check(raw.call("front", raw.object, front, is_new))
    check(raw.call("front", raw.object, front, is_new))
    assert not is_new[0]
    assert bytes(raw.guard) == b"g" * Raw.GUARD


# Sizes and buffers.


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("ring", {"capacity": 0}, "capacity is 0, not 1 to 16777216"),
        ("ring", {"capacity": 3}, "capacity 3 is not a power of two"),
        ("ring", {"capacity": 2**25}, "capacity is 33554432"),
        ("ring", {"element_size": 0}, "size is 0 bytes, not 1 to 65536"),
        ("ring", {"element_size": 65537}, "size is 65537 bytes"),
        ("queue", {"capacity": 1}, "capacity is 1, not 2 to 16777216"),
        ("queue", {"capacity": 6}, "capacity 6 is not a power of two"),
        ("queue", {"element_size": 0}, "size is 0 bytes"),
        ("index_stack", {"capacity": 0}, "capacity is 0, not 1 to 65535"),
        ("index_stack", {"capacity": 65536}, "capacity is 65536, not 1 to 65535"),
        ("seqlock", {"value_size": 0}, "size is 0 bytes"),
        ("seqlock", {"value_size": 65537}, "size is 65537 bytes"),
        ("triple_buffer", {"value_size": 0}, "size is 0 bytes"),
    ],
)
def test_bad_sizes_are_refused(name: str, settings: dict[str, int], words: str) -> None:
    raw = Raw(name, **settings)
    with pytest.raises(InvalidArgumentError, match=words):
        check(raw.layout_status)
    assert (raw.bytes, raw.alignment) == (0, 0)
    with pytest.raises(InvalidArgumentError, match=words):
        raw.init()


@pytest.mark.parametrize("name", SETTINGS)
def test_largest_is_what_its_parts_take(name: str) -> None:
    limits = {"capacity": 65535 if name == "index_stack" else 2**24}
    limits |= {"element_size": 65536, "value_size": 65536}
    settings = {field: limits[field] for field in SETTINGS[name]}
    config = ffi.new(f"wrt_{name}_config *", settings)
    config.struct_size = ffi.sizeof(f"wrt_{name}_config")
    layout = ffi.new("wrt_layout *")
    check(getattr(lib, f"wrt_{name}_layout")(config, layout))
    least = {
        "ring": 2**40,
        "queue": 2**40 + 2**24 * 8,
        "index_stack": 65535 * 4,
        "seqlock": 65536 + 4,
        "triple_buffer": 3 * 65536,
    }[name]
    assert least <= layout.bytes <= least + 4 * 128
    assert layout.alignment <= lib.WRT_LOCKFREE_ALIGNMENT_MAX


@pytest.mark.parametrize("name", SETTINGS)
def test_bad_buffers_are_refused_and_the_object_is_left_alone(name: str) -> None:
    raw = Raw(name)
    mark = b"\x5a" * ffi.sizeof(f"wrt_{name}")
    ffi.buffer(raw.object)[:] = mark
    raw.config.buffer_size = raw.bytes - 1
    with pytest.raises(OutOfMemoryError, match=f"{raw.bytes - 1} bytes, {raw.bytes} are needed"):
        raw.init()
    raw.config.buffer_size = raw.bytes
    raw.config.buffer = raw.buffer + 8
    with pytest.raises(InvalidArgumentError, match="NULL or not 128-byte aligned"):
        raw.init()
    raw.config.buffer = ffi.NULL
    with pytest.raises(InvalidArgumentError, match="NULL or not"):
        raw.init()
    raw.config.struct_size = 0
    with pytest.raises(InvalidArgumentError, match="struct_size"):
        raw.init()
    assert bytes(ffi.buffer(raw.object)) == mark


@pytest.mark.parametrize("name", ["ring", "queue", "index_stack", "seqlock"])
def test_reserved_bytes_are_refused(name: str) -> None:
    raw = Raw(name)
    raw.config.reserved[0] = 1
    with pytest.raises(UnsupportedError, match="reserved bytes"):
        raw.init()


@pytest.mark.parametrize("name", ["ring", "queue"])
@pytest.mark.parametrize("element_size", [1, 5, 8, 100])
def test_nothing_is_written_beyond_the_buffer(name: str, element_size: int) -> None:
    raw = Raw(name, element_size=element_size).init()
    element, count = ffi.new("uint8_t[]", b"\xff" * 4 * element_size), ffi.new("uint32_t *")
    for _ in range(9):
        check(raw.call("put", raw.object, element))
        check(raw.call("put_many", raw.object, element, 4, count))
        assert count[0] == 3
        check(raw.call("get_many", raw.object, element, 4, count))
        assert count[0] == 4
    assert bytes(raw.guard) == b"g" * Raw.GUARD


def test_a_given_buffer_is_used_and_serves_one_object() -> None:
    builder = RingBuilder().with_capacity(2).with_element_size(8)
    memory = bytearray(builder.layout().bytes + builder.layout().alignment)
    tested = builder.with_buffer(memory).build()
    other = builder.build()
    tested.put(b"findable")
    assert b"findable" in memory
    assert len(other) == 0
    with pytest.raises(BufferError):
        memory.append(0)
    with pytest.raises(OutOfMemoryError, match="are needed"):
        builder.with_buffer(bytearray(64)).build()
    with pytest.raises(TypeError, match="not a view"):
        builder.with_buffer(memoryview(memory))  # type: ignore[arg-type]


# Misuse of the C calls.


def calls_of(raw: Raw) -> dict[str, tuple[Any, ...]]:
    """Each call of an object, with arguments that are fine."""
    words, count = ffi.new("uint64_t[4]"), ffi.new("uint32_t *")
    out, is_new = ffi.new("void **"), ffi.new("bool *")
    both: dict[str, tuple[Any, ...]] = {"put": (words,), "get": (words,), "count": (count,)}
    both |= {"put_many": (words, 1, count), "get_many": (words, 1, count)}
    return {
        "ring": both,
        "queue": both,
        "index_stack": {"push": (0,), "pop": (count,)},
        "seqlock": {"write": (words,), "read": (words,)},
        "triple_buffer": {
            "back": (out,),
            "publish": (),
            "front": (ffi.new("void const **"), is_new),
            "put": (words,),
            "get": (words, is_new),
        },
    }[raw.name]


@pytest.mark.parametrize("name", SETTINGS)
def test_calls_before_init_and_after_deinit_are_refused(name: str) -> None:
    raw = Raw(name)
    for verb, arguments in calls_of(raw).items():
        with pytest.raises(StateError, match="not initialised"):
            check(raw.call(verb, raw.object, *arguments))
    raw.init()
    check(raw.call("deinit", raw.object))
    check(raw.call("deinit", raw.object))
    for verb, arguments in calls_of(raw).items():
        with pytest.raises(StateError, match=f"wrt_{name}_{verb}: .* not initialised"):
            check(raw.call(verb, raw.object, *arguments))


@pytest.mark.parametrize("name", SETTINGS)
def test_handle_may_be_moved_between_calls(name: str) -> None:
    raw = Raw(name).init()
    moved = ffi.new(f"wrt_{name} *", raw.object[0])
    check(raw.call("deinit", raw.object))
    for verb, arguments in calls_of(raw).items():
        assert raw.call(verb, moved, *arguments) in (lib.WRT_OK, lib.WRT_ERR_BUSY)


# Threads of Python.


@pytest.mark.parametrize("kind", [ring, queue])
def test_threads_of_python_lose_and_double_nothing(kind: Any) -> None:
    """cffi lets other threads run in each call; several may use one end of a ring, too."""
    tested, found = kind(8, 8), list[int]()
    each, threads = 2000, 3

    def produce(first: int) -> None:
        for number in range(first, first + each):
            retry(lambda number=number: tested.put(number.to_bytes(8, "little")))

    def consume() -> None:
        for _ in range(each):
            found.append(int.from_bytes(retry(tested.get), "little"))

    started = [threading.Thread(target=produce, args=(i * each,)) for i in range(threads)]
    started += [threading.Thread(target=consume) for _ in range(threads)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    assert sorted(found) == list(range(threads * each))


def retry(call: Any) -> Any:
    while True:
        try:
            return call()
        except BusyError:
            threading.Event().wait(0)


def test_readers_of_python_see_whole_values() -> None:
    lock: Seqlock = SeqlockBuilder().with_value_size(64).build()
    triple: TripleBuffer = TripleBufferBuilder().with_value_size(64).build()
    triple.put(bytes(64))
    torn = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            for value in (retry(lock.read), triple.get()[0]):
                if len(set(value)) != 1:
                    torn.append(value)

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(3000):
        lock.write(bytes([number % 256]) * 64)
        triple.put(bytes([number % 256]) * 64)
    done.set()
    reader.join()
    assert not torn
