"""Linear memory from Linux: reserved at once, never moved. Mirrors wrt_platform/linux/memory.h.

allocator = (
    LinuxAllocatorBuilder()
    .with_maximum_pages(4096)
    .with_guard_pages()
    .with_name("wasm_heap")
    .build()
)
print(allocator.report.name)
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntFlag
from typing import TYPE_CHECKING, Any, NamedTuple

from wrt_platform._enums import LinuxNameSource, LinuxNumaPolicy, LinuxPageKind, LinuxThpMode
from wrt_platform._native import ffi, lib
from wrt_platform.enforcement import Enforcement, enforcement_of
from wrt_platform.errors import InvalidArgumentError, check
from wrt_platform.page_allocator import (
    PAGE_SIZE,
    PageAllocator,
    Pages,
    VerificationLevel,
    _size,
    _within,
    _word,
)

if TYPE_CHECKING:
    from typing import Self

__all__ = [
    "LinuxAllocator",
    "LinuxAllocatorBuilder",
    "LinuxAllocatorReport",
    "LinuxMemoryStats",
    "LinuxNameSource",
    "LinuxPageKind",
    "MadviseFlags",
    "MmapFlags",
    "NumaNode",
    "NumaPolicy",
    "NumaTopology",
    "ThpMode",
    "detect_numa_topology",
]

NumaPolicy = LinuxNumaPolicy  # as the documents call them
ThpMode = LinuxThpMode


class MmapFlags(IntFlag):
    """How memory is mapped. None: private, without a claim on swap."""

    SHARED = lib.WRT_LINUX_MMAP_SHARED  # forked children share it
    ANONYMOUS = lib.WRT_LINUX_MMAP_ANONYMOUS  # no file behind it: always so, a name aside
    NORESERVE = lib.WRT_LINUX_MMAP_NORESERVE  # no claim on swap; other flags alone make one
    STACK = lib.WRT_LINUX_MMAP_STACK  # used like a stack


class MadviseFlags(IntFlag):
    """How memory is going to be used. None of them changes its contents."""

    NORMAL = lib.WRT_LINUX_ADVICE_NORMAL
    RANDOM = lib.WRT_LINUX_ADVICE_RANDOM
    SEQUENTIAL = lib.WRT_LINUX_ADVICE_SEQUENTIAL
    WILLNEED = lib.WRT_LINUX_ADVICE_WILLNEED
    HUGEPAGE = lib.WRT_LINUX_ADVICE_HUGEPAGE
    NOHUGEPAGE = lib.WRT_LINUX_ADVICE_NOHUGEPAGE
    COLLAPSE = lib.WRT_LINUX_ADVICE_COLLAPSE  # into huge pages, now; Linux 6.1
    COLD = lib.WRT_LINUX_ADVICE_COLD  # the first to go when memory is short
    PAGEOUT = lib.WRT_LINUX_ADVICE_PAGEOUT  # to swap, now
    DONTDUMP = lib.WRT_LINUX_ADVICE_DONTDUMP
    DODUMP = lib.WRT_LINUX_ADVICE_DODUMP


class NumaNode(NamedTuple):
    """A node that has memory this process may use."""

    id: int
    total_bytes: int
    free_bytes: int  # when it was asked

    @property
    def free_mb(self) -> int:
        """Free memory in MiB."""
        return self.free_bytes >> 20


class NumaTopology(NamedTuple):
    """The nodes of this machine that this process may use."""

    nodes: tuple[NumaNode, ...]

    @property
    def num_nodes(self) -> int:
        """How many there are."""
        return len(self.nodes)

    def all_nodes_mask(self) -> frozenset[int]:
        """Their ids, as with_numa_mask() takes them."""
        return frozenset(node.id for node in self.nodes)


def detect_numa_topology() -> NumaTopology:
    """Lists the nodes; one, 0, where the kernel knows none. Without /proc it fails."""
    capacity = lib.WRT_LINUX_NUMA_NODES_MAX
    raw, count = ffi.new("wrt_linux_numa_node[]", capacity), ffi.new("uint32_t *")
    check(lib.wrt_linux_numa_topology(raw, capacity, count))
    nodes = [NumaNode(raw[i].id, raw[i].total_bytes, raw[i].free_bytes) for i in range(count[0])]
    return NumaTopology(tuple(nodes))


class LinuxMemoryStats(NamedTuple):
    """What the kernel says of one allocation."""

    accessible_bytes: int
    resident_bytes: int  # of them in RAM
    huge_bytes: int  # of them in huge pages, of whichever kind
    locked_bytes: int
    swapped_bytes: int
    huge_page_bytes: int  # size of a huge page here: 2 MiB, or 1 GiB
    huge_pages: int  # in RAM
    total_pages: int  # what accessible_bytes would be in huge pages, rounded up
    page_kind: LinuxPageKind


class LinuxAllocatorReport(NamedTuple):
    """What is out, and what holds of what was asked for."""

    allocation_count: int  # out now
    page_count: int  # accessible now, summed over all allocations
    peak_pages: int  # the most that ever were
    name_source: LinuxNameSource
    reserved_bytes: int  # of address space, now, guards and canaries included
    guard_pages: Enforcement
    canaries: Enforcement
    populate: Enforcement
    mlock: Enforcement
    name: Enforcement
    huge_pages: Enforcement
    thp: Enforcement
    numa: Enforcement
    page_kind: LinuxPageKind  # of the latest allocation


class LinuxAllocator(PageAllocator):
    """Serves any number of allocations at a time; made by LinuxAllocatorBuilder.

    A forked child can't use it (StateError); it makes its own.
    """

    def __init__(self, config: Any) -> None:
        raw = ffi.new("wrt_linux_allocator *")
        check(lib.wrt_linux_allocator_init(raw, config))
        interface = lib.wrt_linux_allocator_interface(raw)
        super().__init__(raw, interface, lib.wrt_linux_allocator_deinit)
        self._maximum_pages = config.maximum_pages or lib.WRT_PAGE_COUNT_MAX

    @property
    def report(self) -> LinuxAllocatorReport:
        """What is out, and what holds of what was asked for."""
        raw = ffi.new("wrt_linux_allocator_report *")
        self._query(lib.wrt_linux_allocator_query, raw)
        return LinuxAllocatorReport(
            raw.allocation_count,
            raw.page_count,
            raw.peak_pages,
            LinuxNameSource(raw.name_source),
            raw.reserved_bytes,
            enforcement_of(raw.guard_pages),
            enforcement_of(raw.canaries),
            enforcement_of(raw.populate),
            enforcement_of(raw.mlock),
            enforcement_of(raw.name),
            enforcement_of(raw.huge_pages),
            enforcement_of(raw.thp),
            enforcement_of(raw.numa),
            LinuxPageKind(raw.page_kind),
        )

    @staticmethod
    def detect_numa_topology() -> NumaTopology:
        """As the function of the same name."""
        return detect_numa_topology()

    def set_thp_mode(self, mode: ThpMode) -> None:
        """Sets what holds for allocations from now on; the report says whether it is granted."""
        with self._lock:
            status = lib.wrt_linux_allocator_set_thp_mode(self._raw, int(mode))
        check(status)

    def madvise(
        self, pages: Pages, advice: MadviseFlags, offset: int = 0, size: int | None = None
    ) -> None:
        """Tells the kernel how `size` bytes from `offset` are going to be used; None: all that
        follow. Raises UnsupportedError for what this kernel does not know, BusyError if it has
        no huge pages to collapse into at the moment.
        """
        length = pages.page_count * PAGE_SIZE - offset if size is None else size
        bounds = _size(offset, "offset"), _size(length, "size")
        with self._lock:
            status = lib.wrt_linux_allocator_madvise(self._raw, pages._raw, *bounds, int(advice))
        check(status)

    def get_memory_stats(self, pages: Pages) -> LinuxMemoryStats:
        """Reads what the kernel says of the accessible bytes of `pages` (/proc/self/smaps)."""
        raw = ffi.new("wrt_linux_memory_stats *")
        with self._lock:
            status = lib.wrt_linux_allocator_memory_stats(self._raw, pages._raw, raw)
        check(status)
        numbers = [getattr(raw, name) for name in LinuxMemoryStats._fields[:-1]]
        return LinuxMemoryStats._make([*numbers, LinuxPageKind(raw.page_kind)])


class LinuxAllocatorBuilder:
    """Collects settings; the rules of linux/memory.h are checked by build()."""

    def __init__(self) -> None:
        size = ffi.sizeof("wrt_linux_allocator_config")
        self._config = ffi.new("wrt_linux_allocator_config *", {"struct_size": size})
        self._name: Any = None  # C borrows it while build() runs, and this:
        self._numa_mask: Any = None

    def with_maximum_pages(self, pages: int) -> Self:
        """One allocation reserves no more than this; 0: 65536 pages, 4 GiB."""
        self._config.maximum_pages = _word(pages, "maximum_pages")
        return self

    def with_verification_level(self, level: VerificationLevel) -> Self:
        """How much is checked; without guard pages, SAMPLING and FULL keep canaries."""
        self._config.verification_level = level
        return self

    def with_sampling_interval(self, calls: int) -> Self:
        """SAMPLING checks one call in so many; 0: 16."""
        self._config.sampling_interval = _word(calls, "sampling_interval")
        return self

    def with_guard_pages(self, enabled: bool = True) -> Self:
        """Keeps pages without access before the memory and behind what is reserved."""
        self._config.guard_pages = enabled
        return self

    def with_guard_bytes(self, size: int) -> Self:
        """Size of each guard: whole pages of the system, at most 4 GiB; 0: 64 KiB."""
        self._config.guard_bytes = _within(size, "guard_bytes", 2**64)
        return self

    def with_populate(self, enabled: bool = True) -> Self:
        """Gives accessible pages their memory at once; a shortage raises OutOfMemoryError."""
        self._config.populate = enabled
        return self

    def with_mlock(self, enabled: bool = True) -> Self:
        """Keeps accessible pages in RAM. What RLIMIT_MEMLOCK forbids raises OutOfMemoryError or
        PermissionDeniedError."""
        self._config.mlock = enabled
        return self

    def with_name(self, name: str) -> Self:
        """Shows in /proc/<pid>/maps as far as the system can; the report says how. 1 to 79
        printable ASCII characters without [ ] \\ $ `"""
        self._name = ffi.new("char[]", name.encode())
        self._config.name = self._name
        return self

    def with_huge_pages(self, enabled: bool = True) -> Self:
        """Tries pages of 1 GiB, of 2 MiB, transparent ones, those of the system; the report says
        what it came to. Not with MmapFlags.NORESERVE."""
        self._config.huge_pages = enabled
        return self

    def with_largest_page_kind(self, kind: LinuxPageKind) -> Self:
        """Nothing larger is tried for huge_pages; LinuxPageKind.NONE: all."""
        self._config.largest_page_kind = _word(kind, "largest_page_kind")
        return self

    def with_custom_flags(self, flags: MmapFlags) -> Self:
        """How memory is mapped."""
        self._config.custom_flags = _word(flags, "custom_flags")
        return self

    def with_thp_mode(self, mode: ThpMode) -> Self:
        """Whether the system may put huge pages in place of small ones."""
        self._config.thp_mode = _word(mode, "thp_mode")
        return self

    def with_numa_policy(self, policy: NumaPolicy) -> Self:
        """What the nodes mean: BIND, INTERLEAVE (none named: over all) or PREFERRED."""
        self._config.numa_policy = _word(policy, "numa_policy")
        return self

    def with_numa_node(self, node: int) -> Self:
        """The one node to use. Refused by build() if this process may use no memory there."""
        self._config.numa_node = _word(node, "numa_node")
        self._config.has_numa_node = True
        return self

    def with_preferred_node(self, node: int) -> Self:
        """Of the nodes to use, the first to be asked; of BIND it is one of them."""
        self._config.preferred_node = _word(node, "preferred_node")
        self._config.has_preferred_node = True
        return self

    def with_numa_mask(self, nodes: Iterable[int]) -> Self:
        """The nodes to use, by their ids."""
        mask = ffi.new("wrt_linux_numa_mask *")
        for node in nodes:
            if not 0 <= node < lib.WRT_LINUX_NUMA_NODES_MAX:
                raise InvalidArgumentError(f"node {node} is not 0 to 1023")
            mask.words[node // 64] |= 1 << node % 64
        self._numa_mask = self._config.numa_mask = mask
        return self

    def build(self) -> LinuxAllocator:
        """Makes the allocator. Raises InvalidArgumentError naming the broken rule."""
        return LinuxAllocator(self._config)
