"""Memory partitions: who may use how much, and who can reach whose. Mirrors
wrt_platform/qnx/partition.h.

    tenant = (
        QnxMemoryPartitionBuilder()
        .with_name("tenant1")
        .with_memory_size(4 << 20, 16 << 20, 1 << 20)
        .build()
    )
    with PartitionGuard(tenant):
        allocator = QnxAllocatorBuilder().build()  # charged to the tenant
    result = tenant.with_partition(work)

The current partition is the context's (contextvars): each thread and each task of asyncio has its
own.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar, Token
from enum import IntFlag
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from wrt_platform._enums import QnxIsolation, QnxPartitionKeeper
from wrt_platform._native import ffi, lib
from wrt_platform.enforcement import Enforcement, enforcement_of
from wrt_platform.errors import StateError, check
from wrt_platform.page_allocator import _within

if TYPE_CHECKING:
    from typing import Self

__all__ = [
    "PartitionGuard",
    "QnxIsolation",
    "QnxMemoryPartition",
    "QnxMemoryPartitionBuilder",
    "QnxMemoryPartitionReport",
    "QnxPartitionFlags",
    "QnxPartitionKeeper",
    "current_partition",
]

_Value = TypeVar("_Value")


class QnxPartitionFlags(IntFlag):
    """What a partition is to be."""

    MEMORY_ISOLATION = lib.WRT_QNX_PARTITION_MEMORY_ISOLATION
    CONTAINER = lib.WRT_QNX_PARTITION_CONTAINER
    TERMINAL = lib.WRT_QNX_PARTITION_TERMINAL


class QnxMemoryPartitionReport(NamedTuple):
    """What a partition has, uses, and holds."""

    used_bytes: int  # now, promises to the partitions below among them
    peak_bytes: int  # the most that ever were
    minimum_bytes: int  # promised
    maximum_bytes: int | None  # None: no limit of its own
    reserved_bytes: int  # of those promised, left for small blocks
    level: QnxIsolation
    keeper: QnxPartitionKeeper
    flags: QnxPartitionFlags
    allocator_count: int  # made with it and not yet ended
    child_count: int  # partitions right below
    process_count: int  # spawned into it and not yet detached
    entered_count: int  # entered and not yet left
    isolation: Enforcement
    maximum: Enforcement
    minimum: Enforcement


class QnxMemoryPartition:
    """Made by QnxMemoryPartitionBuilder. Any thread may use it.

    One that nobody refers to any more ends, unless processes are left in it; close() says so.
    """

    def __init__(self, config: Any, parent: QnxMemoryPartition | None) -> None:
        self._raw = ffi.new("wrt_qnx_partition *")
        self._parent = parent  # C borrows it
        settle()
        check(lib.wrt_qnx_partition_init(self._raw, config))
        end_later(self, partial(_end, self._raw, parent))

    @property
    def report(self) -> QnxMemoryPartitionReport:
        """What it has, uses and holds, and how far its promises go."""
        raw = ffi.new("wrt_qnx_partition_report *")
        settle()
        check(lib.wrt_qnx_partition_query(self._raw, raw))
        maximum = raw.maximum_bytes
        return QnxMemoryPartitionReport(
            raw.used_bytes,
            raw.peak_bytes,
            raw.minimum_bytes,
            None if maximum == 2**64 - 1 else maximum,
            raw.reserved_bytes,
            QnxIsolation(raw.level),
            QnxPartitionKeeper(raw.keeper),
            QnxPartitionFlags(raw.flags),
            raw.allocator_count,
            raw.child_count,
            raw.process_count,
            raw.entered_count,
            enforcement_of(raw.isolation),
            enforcement_of(raw.maximum),
            enforcement_of(raw.minimum),
        )

    def with_partition(self, work: Callable[[], _Value]) -> _Value:
        """Calls `work` inside of the partition and returns what it returns; the earlier partition
        is back afterwards, whatever happens."""
        with PartitionGuard(self):
            return work()

    def spawn(
        self,
        path: str,
        arguments: Sequence[str] | None = None,
        environment: Mapping[str, str] | None = None,
        memory_bytes: int = 0,
    ) -> int:
        """Starts a program that is limited from its first instruction on; returns its process id,
        for detach(). `arguments` begin with the program's own name (None: its path), `environment`
        None is this process's own. memory_bytes 0: all that is left of the partition.

        Raises OutOfMemoryError (the partition has not that much left), NotFoundError (no such
        file), LimitError (too many processes in it).
        """
        kept: list[Any] = []
        program = ffi.new("wrt_qnx_program *", {"struct_size": ffi.sizeof("wrt_qnx_program")})
        program.path = _text(path, kept)
        if arguments is not None:
            program.arguments = _texts(arguments, kept)
        if environment is not None:
            program.environment = _texts([f"{k}={v}" for k, v in environment.items()], kept)
        program.memory_bytes = _within(memory_bytes, "memory_bytes", 2**64)
        process_id = ffi.new("int32_t *")
        settle()
        check(lib.wrt_qnx_partition_spawn(self._raw, program, process_id))
        return int(process_id[0])

    def attach_process(self, process_id: int) -> None:
        """Raises UnsupportedError: QNX associates a process when it is spawned; see spawn()."""
        check(lib.wrt_qnx_partition_attach_process(self._raw, process_id))

    def detach(self, process_id: int) -> int:
        """Takes a process that has ended off the partition. Returns its exit code, or minus the
        number of the signal that ended it. Raises BusyError while it runs, NotFoundError if it was
        not spawned into this partition."""
        status = ffi.new("int32_t *")
        check(lib.wrt_qnx_partition_detach(self._raw, process_id, status))
        ending = int(status[0])
        signal = ending & 0x7F
        return -signal if signal else ending >> 8

    def close(self) -> None:
        """Removes the partition; again does nothing. Raises BusyError while it is entered, or
        allocators, partitions or processes are left in it."""
        settle()
        check(lib.wrt_qnx_partition_deinit(self._raw))


class PartitionGuard:
    """Enters a partition at once, and leaves it at the end of its `with` block, or by leave().

    Guards are left in the context they were made in, last in, first out; else StateError.
    """

    def __init__(self, partition: QnxMemoryPartition) -> None:
        outer = _current.get()
        self.partition = partition
        self._raw = ffi.new("wrt_qnx_partition_token *")
        settle()
        outer_raw = ffi.NULL if outer is None else outer._raw
        check(lib.wrt_qnx_partition_enter(partition._raw, outer_raw, self._raw))
        _entered.add(self)
        self._reset: Token[PartitionGuard | None] = _current.set(self)

    def leave(self) -> None:
        """Leaves the partition; the earlier one is back. Again does nothing."""
        if self not in _entered:
            return
        self._become_outer()
        status = lib.wrt_qnx_partition_leave(self._raw)
        if status != lib.WRT_OK:
            self._reset = _current.set(self)
        check(status)
        _entered.discard(self)

    def _become_outer(self) -> None:
        if _current.get() is not self:
            raise StateError("out of order: this is not the partition that was entered last here")
        try:
            _current.reset(self._reset)
        except ValueError:
            raise StateError("the partition was entered in another context") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()


_current: ContextVar[PartitionGuard | None] = ContextVar("current QNX partition", default=None)
_entered: set[PartitionGuard] = set()  # C refers to their tokens
_ended: SimpleQueue[Callable[[], None]] = SimpleQueue()  # what nobody refers to any more
_kept: list[Any] = []  # what C refused to end, and so still refers to


def current_partition() -> QnxMemoryPartition | None:
    """The partition that was entered last in this context, which allocators are charged to unless
    their builder says otherwise; None: none."""
    guard = _current.get()
    return guard.partition if guard is not None and guard in _entered else None


def end_later(owner: Any, end: Callable[[], None]) -> None:
    """Has a C object ended by a later call, when nobody refers to its owner any more: a finaliser
    may run anywhere, so it only queues."""
    weakref.finalize(owner, _ended.put, end).atexit = False


def settle() -> None:
    """Ends what nobody refers to any more."""
    while True:
        try:
            end = _ended.get_nowait()
        except Empty:
            return
        end()
        del end  # what it kept alive may be the next to end


def end_or_keep(function: Any, raw: Any) -> None:
    """Ends a C object; what C refuses stays where it is."""
    if function(raw) != lib.WRT_OK:
        _kept.append(raw)


def _end(raw: Any, parent: QnxMemoryPartition | None) -> None:
    """`parent` is there only to outlive this."""
    end_or_keep(lib.wrt_qnx_partition_deinit, raw)


def _text(text: str, kept: list[Any]) -> Any:
    kept.append(ffi.new("char[]", text.encode()))
    return kept[-1]


def _texts(texts: Sequence[str], kept: list[Any]) -> Any:
    kept.append(ffi.new("char *[]", [*(_text(text, kept) for text in texts), ffi.NULL]))
    return kept[-1]


class QnxMemoryPartitionBuilder:
    """Collects settings; the rules of qnx/partition.h are checked by build()."""

    def __init__(self) -> None:
        size = ffi.sizeof("wrt_qnx_partition_config")
        self._config = ffi.new("wrt_qnx_partition_config *", {"struct_size": size})
        self._name: Any = None  # C borrows it while build() runs
        self._parent: QnxMemoryPartition | None = None

    def with_name(self, name: str) -> Self:
        """1 to 31 letters, digits, _ - . and no . first."""
        self._name = ffi.new("char[]", name.encode())
        self._config.name = self._name
        return self

    def with_flags(self, flags: QnxPartitionFlags) -> Self:
        """MEMORY_ISOLATION needs with_isolation(), or with_allow_accounting_only()."""
        self._config.flags = int(flags)
        return self

    def with_isolation(self, level: QnxIsolation) -> Self:
        """How far its memory is apart from everybody else's; DEFAULT: as its parent's."""
        self._config.isolation = level
        return self

    def with_memory_size(
        self, minimum_bytes: int, maximum_bytes: int = 0, reserved_bytes: int = 0
    ) -> Self:
        """What is promised, what is never exceeded (0: no limit), and what of the promise is left
        for small blocks."""
        self._config.minimum_bytes = _within(minimum_bytes, "minimum_bytes", 2**64)
        self._config.maximum_bytes = _within(maximum_bytes, "maximum_bytes", 2**64)
        self._config.reserved_bytes = _within(reserved_bytes, "reserved_bytes", 2**64)
        return self

    def with_parent(self, parent: QnxMemoryPartition | None) -> Self:
        """What this one uses, its parent uses as well; None: none."""
        self._parent = parent
        self._config.parent = ffi.NULL if parent is None else parent._raw
        return self

    def with_allow_accounting_only(self, allow: bool = True) -> Self:
        """Takes MEMORY_ISOLATION without isolation; the report says that it is absent."""
        self._config.allow_accounting_only = allow
        return self

    def build(self) -> QnxMemoryPartition:
        """Makes the partition. Raises UnsupportedError for isolation that can't be had,
        OutOfMemoryError if the parent has not as much as is to be promised."""
        return QnxMemoryPartition(self._config, self._parent)
