"""The simulated QNX's memory, as tables. Mirrors wrt_platform/sim/qnx_memory.h.

for partition in qnx_memory.partitions():
    print(partition.name, partition.used_bytes, "of", partition.maximum_bytes)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from wrt_platform._native import ffi, lib
from wrt_platform.errors import check

__all__ = [
    "Arena",
    "Budget",
    "Mapping",
    "MemoryUse",
    "Partition",
    "Process",
    "arena",
    "budgets",
    "install_adaptive_partitions",
    "install_memory_partitions",
    "mappings",
    "memory",
    "partitions",
    "process_use",
    "processes",
    "read_memory",
    "set_environment",
    "set_process_memory",
    "set_system_memory",
    "want_budget",
]


class Mapping(NamedTuple):
    """A run of pages with one protection."""

    address: int
    size: int  # bytes
    access: str  # "rwx", with "-" for what may not be done
    paid_bytes: int  # that count as memory
    lazy: bool  # pages count from their first touch on
    stack: bool
    shared: bool
    heap: bool  # an arena of malloc


class MemoryUse(NamedTuple):
    """Bytes of the simulated process, and of the system."""

    mapped_bytes: int  # against RLIMIT_AS
    data_bytes: int  # of them private: against RLIMIT_DATA
    paid_bytes: int  # memory behind them
    owed_bytes: int  # of lazy memory, touched where no more was to be had
    system_bytes: int
    system_free_bytes: int  # that nobody uses or has reserved
    mapping_count: int
    protected_copies: int  # by realloc, of pages that the real one can't read
    bad_frees: int  # of addresses that are no block


class Arena(NamedTuple):
    """What the process's malloc holds and has done."""

    heap_bytes: int
    used_bytes: int
    free_bytes: int
    small_used_bytes: int
    small_free_bytes: int
    arenas_taken: int
    arenas_given_back: int
    cached_arenas: int
    cached_bytes: int
    arena_size: int
    cache_arenas_limit: int | None  # None: none
    cache_bytes_limit: int | None
    allocations: int
    frees: int
    reallocations: int
    lifo: bool


class Partition(NamedTuple):
    """A memory partition; sizes are bytes."""

    id: int
    parent_id: int | None  # None: of a class
    name: str
    used_bytes: int  # reservations below it included
    peak_bytes: int
    minimum_bytes: int
    maximum_bytes: int | None  # None: no limit of its own
    child_count: int
    process_count: int
    terminal: bool
    locked: bool
    permanent: bool
    hierarchical: bool


class Budget(NamedTuple):
    """A budget of processor time."""

    id: int
    parent_id: int
    name: str
    percent: int  # that it has left after what it gave on
    critical_ms: int
    wanted: int  # percent that its threads would use
    used: float  # percent that they get


class Process(NamedTuple):
    """A process, the caller's own or a child."""

    id: int
    partition_id: int
    used_bytes: int
    ended: bool  # and nobody has waited for it


UNLIMITED, UNLIMITED_32 = 2**64 - 1, 2**32 - 1


def mappings() -> list[Mapping]:
    """The memory map, by address."""
    return [_mapping(view) for view in _rows("mapping")]


def memory() -> MemoryUse:
    """What the process has mapped, and what the system has left."""
    view = ffi.new("wrt_sim_qnx_memory_view *")
    check(lib.wrt_sim_qnx_memory_query(view))
    return MemoryUse(*(int(getattr(view, name)) for name in MemoryUse._fields))


def read_memory(address: int, size: int) -> bytes:
    """A copy of mapped memory, whatever its protection. Raises NotFoundError if it is not mapped,
    or not by one mmap."""
    out = ffi.new("void **")
    check(lib.wrt_sim_qnx_host_address(ffi.cast("void *", address), size, out))
    return bytes(ffi.buffer(out[0], size))


def arena() -> Arena:
    """The process's heap."""
    view = ffi.new("wrt_sim_qnx_arena_view *")
    check(lib.wrt_sim_qnx_arena_query(view))
    values = {name: getattr(view, name) for name in Arena._fields}
    for name in ("cache_arenas_limit", "cache_bytes_limit"):
        values[name] = None if values[name] == UNLIMITED_32 else values[name]
    return Arena(**values)


def partitions() -> list[Partition]:
    """Memory partitions, in the order in which they were made."""
    return [_partition(view) for view in _rows("partition")]


def budgets() -> list[Budget]:
    """Budgets of processor time, by their number; the first is the system's."""
    return [
        Budget(
            view.id,
            view.parent_id,
            ffi.string(view.name).decode(),
            view.percent,
            view.critical_ms,
            view.wanted,
            view.used / 100,
        )
        for view in _rows("budget")
    ]


def processes() -> list[Process]:
    """The caller's process, and its children in the order of their start."""
    return [
        Process(view.id, view.partition_id, view.used_bytes, view.ended)
        for view in _rows("process")
    ]


def install_memory_partitions(present: bool = True) -> None:
    """Puts the module of memory partitions into the simulated system, or takes it out."""
    check(lib.wrt_sim_qnx_install_memory_partitions(present))


def install_adaptive_partitions(present: bool = True) -> None:
    """Puts the adaptive-partition scheduler into the simulated system, or takes it out."""
    check(lib.wrt_sim_qnx_install_adaptive_partitions(present))


def set_system_memory(size: int) -> None:
    """Sets the bytes of memory that the system has, a multiple of 4096."""
    check(lib.wrt_sim_qnx_set_system_memory(size))


def set_environment(name: str, value: str | None) -> None:
    """Sets a name of the environment for the process's next start, which a reset is."""
    text = ffi.NULL if value is None else value.encode()
    check(lib.wrt_sim_qnx_set_environment(name.encode(), text))


def want_budget(id: int, percent: int) -> None:
    """Says how much of the processor the threads of a budget would use if they could."""
    check(lib.wrt_sim_qnx_budget_want(id, percent))


def process_use(id: int, size: int) -> None:
    """Says how many bytes a child uses now. Raises OutOfMemoryError if its partition has not as
    many."""
    check(lib.wrt_sim_qnx_process_use(id, size))


def set_process_memory(size: int) -> None:
    """Sets the bytes that a process counts for when it starts."""
    check(lib.wrt_sim_qnx_set_process_memory(size))


def _rows(kind: str) -> list[Any]:
    """All views of a kind, each of its own."""
    query: Callable[[int, Any], int] = getattr(lib, f"wrt_sim_qnx_{kind}_query")
    rows: list[Any] = []
    while True:
        view = ffi.new(f"wrt_sim_qnx_{kind}_view *")
        status = query(len(rows), view)
        if status == lib.WRT_ERR_NOT_FOUND:
            return rows
        check(status)
        rows.append(view)


def _mapping(view: Any) -> Mapping:
    letters = (
        ("r", lib.WRT_SIM_QNX_READ),
        ("w", lib.WRT_SIM_QNX_WRITE),
        ("x", lib.WRT_SIM_QNX_EXECUTE),
    )
    return Mapping(
        int(ffi.cast("uintptr_t", view.address)),
        view.size,
        "".join(letter if view.access & flag else "-" for letter, flag in letters),
        view.paid_bytes,
        bool(view.flags & lib.WRT_SIM_QNX_LAZY),
        bool(view.flags & lib.WRT_SIM_QNX_STACK),
        bool(view.flags & lib.WRT_SIM_QNX_SHARED),
        bool(view.flags & lib.WRT_SIM_QNX_HEAP),
    )


def _partition(view: Any) -> Partition:
    values = {name: getattr(view, name) for name in Partition._fields}
    values["name"] = ffi.string(view.name).decode()
    values["parent_id"] = view.parent_id or None
    values["maximum_bytes"] = None if view.maximum_bytes == UNLIMITED else view.maximum_bytes
    return Partition(**values)
