"""The page allocators that every test of their common interface runs over.

A new backend gets one line in BACKENDS, and with it the whole suite.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wrt_platform._native import ffi, lib
from wrt_platform.linux.memory import (
    LinuxAllocatorBuilder,
    MmapFlags,
    NumaPolicy,
    ThpMode,
)
from wrt_platform.linux.slot_pool import LinuxSlotPoolBuilder
from wrt_platform.memory_account import CountedAllocatorBuilder, MemoryAccountBuilder
from wrt_platform.page_allocator import PageAllocator, VerificationLevel
from wrt_platform.qnx.arena import QnxArenaAllocatorBuilder
from wrt_platform.qnx.memory import QnxAllocatorBuilder
from wrt_platform.qnx.partition import QnxIsolation, QnxMemoryPartitionBuilder
from wrt_platform.static_memory import StaticAllocatorBuilder

MAXIMUM = 8  # pages that each of them grants

Build = Callable[[VerificationLevel, int], PageAllocator]


def static(alignment: int = 0) -> Build:
    def build(level: VerificationLevel, interval: int) -> PageAllocator:
        builder = StaticAllocatorBuilder().with_maximum_pages(MAXIMUM).with_alignment(alignment)
        return builder.with_verification_level(level).with_sampling_interval(interval).build()

    return build


def linux(configure: Callable[[LinuxAllocatorBuilder], Any] = lambda builder: None) -> Build:
    def build(level: VerificationLevel, interval: int) -> PageAllocator:
        builder = LinuxAllocatorBuilder().with_maximum_pages(MAXIMUM)
        configure(builder)
        return builder.with_verification_level(level).with_sampling_interval(interval).build()

    return build


def qnx(configure: Callable[[QnxAllocatorBuilder], Any] = lambda builder: None) -> Build:
    def build(level: VerificationLevel, interval: int) -> PageAllocator:
        builder = QnxAllocatorBuilder().with_maximum_pages(MAXIMUM)
        configure(builder)
        return builder.with_verification_level(level).with_sampling_interval(interval).build()

    return build


def in_partition(isolation: QnxIsolation) -> Build:
    def build(level: VerificationLevel, interval: int) -> PageAllocator:
        partition = QnxMemoryPartitionBuilder().with_isolation(isolation).build()
        return qnx(lambda builder: builder.with_partition(partition))(level, interval)

    return build


def qnx_arena(level: VerificationLevel, interval: int) -> PageAllocator:
    builder = QnxArenaAllocatorBuilder().with_maximum_pages(MAXIMUM).with_guard_pages()
    return builder.with_verification_level(level).with_sampling_interval(interval).build()


def slots(keep_bytes: int = 0, slot_count: int = 0) -> Build:
    def build(level: VerificationLevel, interval: int) -> PageAllocator:
        builder = LinuxSlotPoolBuilder().with_maximum_pages(MAXIMUM).with_keep_bytes(keep_bytes)
        builder.with_slot_count(slot_count)
        return builder.with_verification_level(level).with_sampling_interval(interval).build()

    return build


def counted(inner: Build, views: int = 1) -> Build:
    """Views over an allocator, each with an account of its own."""

    def build(level: VerificationLevel, interval: int) -> PageAllocator:
        allocator = inner(level, interval)
        for _ in range(views):
            account = MemoryAccountBuilder().build()
            builder = CountedAllocatorBuilder().with_inner(allocator).with_account(account)
            allocator = builder.build()
        return allocator

    return build


BACKENDS: dict[str, Build] = {
    "static": static(),
    "static-64KiB-aligned": static(65536),
    "linux": linux(),
    "linux-guarded": linux(lambda builder: builder.with_guard_pages()),
    "linux-populated": linux(lambda builder: builder.with_populate()),
    "linux-locked": linux(lambda builder: builder.with_mlock()),
    "linux-named": linux(lambda builder: builder.with_name("conformance")),
    "linux-everything": linux(
        lambda builder: (
            builder.with_guard_pages()
            .with_guard_bytes(1 << 20)
            .with_populate()
            .with_mlock()
            .with_name("conformance")
        )
    ),
    "linux-shared": linux(lambda builder: builder.with_custom_flags(MmapFlags.SHARED)),
    "linux-huge-pages": linux(lambda builder: builder.with_huge_pages().with_guard_pages()),
    "linux-thp": linux(lambda builder: builder.with_thp_mode(ThpMode.ALWAYS)),
    "linux-node": linux(lambda builder: builder.with_numa_policy(NumaPolicy.INTERLEAVE)),
    "slots": slots(),
    "slots-kept-little": slots(keep_bytes=8192, slot_count=5),
    "qnx": qnx(),
    "qnx-guarded": qnx(lambda builder: builder.with_guard_pages().with_guard_bytes(1 << 20)),
    "qnx-lazy": qnx(lambda builder: builder.with_lazy()),
    "qnx-partition": in_partition(QnxIsolation.ACCOUNTING),
    "qnx-partition-address": in_partition(QnxIsolation.ADDRESS),
    "qnx-arena": qnx_arena,
    "static-counted": counted(static()),
    "linux-counted": counted(linux()),
    "linux-counted-twice": counted(linux(), 2),
}


class Raw:
    """The calls of page_allocator.h on one allocator, as C has them: statuses, no exceptions."""

    def __init__(self, allocator: PageAllocator) -> None:
        self.allocator = allocator  # keeps it alive
        self.interface = ffi.addressof(allocator._interface)

    def allocate(self, initial: int, maximum: int, pages: Any = None) -> Any:
        pages = ffi.new("wrt_pages *") if pages is None else pages
        status = lib.wrt_page_allocator_allocate(self.interface, initial, maximum, pages)
        assert status == lib.WRT_OK, ffi.string(lib.wrt_error_last().reason)
        return pages

    def try_allocate(self, initial: int, maximum: int, pages: Any) -> int:
        return lib.wrt_page_allocator_allocate(self.interface, initial, maximum, pages)

    def grow(self, pages: Any, additional: int) -> int:
        return lib.wrt_page_allocator_grow(self.interface, pages, additional)

    def protect(self, pages: Any, offset: int, size: int, protection: int) -> int:
        return lib.wrt_page_allocator_protect(self.interface, pages, offset, size, protection)

    def deallocate(self, pages: Any) -> int:
        return lib.wrt_page_allocator_deallocate(self.interface, pages)


def memory(pages: Any) -> memoryview:
    """The accessible bytes; only while the pages are out."""
    return memoryview(ffi.buffer(pages.base, pages.page_count * lib.WRT_PAGE_SIZE))


def snapshot(pages: Any) -> bytes:
    """The handle, to be compared."""
    return bytes(ffi.buffer(pages))
