"""Static memory: what its buffer must be, and what it says of its protection."""

from __future__ import annotations

import mmap
from typing import Any

import pytest
from page_backends import Raw, memory
from wrt_platform._native import ffi, lib
from wrt_platform.enforcement import EnforcementState
from wrt_platform.errors import (
    BusyError,
    InvalidArgumentError,
    OutOfMemoryError,
    StateError,
    UnsupportedError,
    check,
)
from wrt_platform.page_allocator import PAGE_SIZE, VerificationLevel
from wrt_platform.static_memory import GuardRegions, StaticAllocatorBuilder

LEVELS = [VerificationLevel.STANDARD, VerificationLevel.FULL]
CANARY = 32


def raw_config(**fields: Any) -> Any:
    size = ffi.sizeof("wrt_static_allocator_config")
    return ffi.new("wrt_static_allocator_config *", {"struct_size": size, **fields})


def aligned(size: int, alignment: int) -> tuple[Any, Any]:
    """Memory of `size` bytes at just this alignment and no larger one; and its owner."""
    owner = ffi.new("uint8_t[]", size + 4 * alignment)
    start = int(ffi.cast("uintptr_t", owner))
    offset = -start % (2 * alignment) + alignment
    return owner + offset, owner


@pytest.mark.row("EM-1")
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("alignment", [8, 16, 4096, 65536, 1 << 20])
def test_layout_is_exact(level: VerificationLevel, alignment: int) -> None:
    builder = StaticAllocatorBuilder().with_maximum_pages(2).with_alignment(alignment)
    layout = builder.with_verification_level(level).layout()
    canary = CANARY if level == VerificationLevel.FULL else 0
    assert layout.alignment == alignment
    assert layout.bytes == 2 * PAGE_SIZE + canary + max(canary, alignment if canary else 0)

    buffer, owner = aligned(layout.bytes, alignment)
    config = raw_config(buffer=buffer, alignment=alignment, verification_level=level)
    config.buffer_size, config.maximum_pages = layout.bytes - 1, 2
    allocator = ffi.new("wrt_static_allocator *")
    assert lib.wrt_static_allocator_init(allocator, config) == lib.WRT_ERR_NO_MEMORY
    assert bytes(ffi.buffer(allocator)) == bytes(ffi.sizeof("wrt_static_allocator"))
    config.buffer_size = layout.bytes
    check(lib.wrt_static_allocator_init(allocator, config))
    del owner


@pytest.mark.row("EM-1")
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("alignment", [8, 16, 4096, 65536])
@pytest.mark.parametrize("shift", [0, 1, 7, 33])
def test_memory_is_aligned_in_any_buffer_and_nothing_outside_is_touched(
    level: VerificationLevel, alignment: int, shift: int
) -> None:
    """The bytes round the buffer are the test's own: they must stay as they are."""
    room = 3 * PAGE_SIZE + 2 * alignment + 2 * CANARY + shift
    owner = ffi.new("uint8_t[]", b"\xa5" * (room + 128))
    config = raw_config(buffer=owner + 64 + shift, buffer_size=room - shift, alignment=alignment)
    config.verification_level = level
    allocator, report = ffi.new("wrt_static_allocator *"), ffi.new("wrt_static_allocator_report *")
    check(lib.wrt_static_allocator_init(allocator, config))
    check(lib.wrt_static_allocator_query(allocator, report))
    assert report.maximum_pages >= 3
    interface = ffi.new("wrt_page_allocator *", lib.wrt_static_allocator_interface(allocator))
    pages = ffi.new("wrt_pages *")
    check(lib.wrt_page_allocator_allocate(interface, 3, report.maximum_pages, pages))
    assert int(ffi.cast("uintptr_t", pages.base)) % alignment == 0
    memory(pages)[:] = b"x" * (3 * PAGE_SIZE)
    check(lib.wrt_page_allocator_deallocate(interface, pages))
    everything = bytes(ffi.buffer(owner))
    assert everything[: 64 + shift] == b"\xa5" * (64 + shift)
    assert everything[64 + room : 64 + room + 64] == b"\xa5" * 64
    assert b"x" * (3 * PAGE_SIZE) in everything  # and it is this buffer that served


@pytest.mark.row("EM-1")
def test_documents_example_of_256_kib_serves_four_pages() -> None:
    buffer = mmap.mmap(-1, 256 * 1024)
    allocator = StaticAllocatorBuilder().with_buffer(buffer).with_alignment(16).build()
    assert allocator.report.maximum_pages == 4
    pages = allocator.allocate(4)
    pages.memory[-1] = 7
    pages.release()
    allocator.close()
    assert buffer[-1] == 7


@pytest.mark.row("EM-1")
def test_guard_regions_are_reported_as_they_are() -> None:
    def report(builder: StaticAllocatorBuilder) -> Any:
        return builder.with_maximum_pages(1).build().report

    off = report(StaticAllocatorBuilder())
    assert off.guard_regions.state == EnforcementState.NOT_ASKED
    assert off.canaries.state == EnforcementState.NOT_ASKED
    preferred = report(StaticAllocatorBuilder().with_guard_regions())
    assert preferred.guard_regions.state == EnforcementState.ABSENT
    assert "no memory protection unit" in preferred.guard_regions.reason
    with pytest.raises(UnsupportedError, match="no memory protection unit"):
        report(StaticAllocatorBuilder().with_guard_regions(required=True))
    with pytest.raises(UnsupportedError, match="no memory protection unit"):
        report(StaticAllocatorBuilder().with_guard_regions(GuardRegions.REQUIRED))


@pytest.mark.row("PA-2")
def test_canaries_are_reported_as_they_are() -> None:
    builder = StaticAllocatorBuilder().with_maximum_pages(1)
    full = builder.with_verification_level(VerificationLevel.FULL).build().report
    assert full.canaries.state == EnforcementState.ENFORCED
    sampled = builder.with_verification_level(VerificationLevel.SAMPLING).build().report
    assert sampled.canaries.state == EnforcementState.PARTIAL
    assert "one call in each sampling interval" in sampled.canaries.reason


@pytest.mark.row("EM-1")
def test_one_allocation_at_a_time() -> None:
    allocator = StaticAllocatorBuilder().with_maximum_pages(3).build()
    first = allocator.allocate(2, 2)
    with pytest.raises(BusyError, match="one allocation at a time"):
        allocator.allocate(1, 1)
    assert allocator.report[:4] == (3, 1, 2, 2)  # maximum, out, pages, peak
    first.release()
    allocator.allocate(1, 1).release()
    assert allocator.report[:4] == (3, 0, 0, 2)


@pytest.mark.row("EM-1")
def test_buffer_is_borrowed_until_close() -> None:
    buffer = bytearray(2 * PAGE_SIZE)
    builder = StaticAllocatorBuilder().with_buffer(buffer).with_maximum_pages(1)
    first, second = builder.build(), builder.build()  # the second has a buffer of its own
    second.allocate(1).memory[:] = b"x" * PAGE_SIZE
    assert buffer == bytes(2 * PAGE_SIZE)
    with pytest.raises(BufferError):
        buffer.append(0)
    first.close()
    buffer.append(0)
    with pytest.raises(TypeError, match="not a view"):
        builder.with_buffer(memoryview(buffer))  # type: ignore[arg-type]


@pytest.mark.row("EM-1")
def test_buffers_that_are_too_small_are_refused_with_numbers() -> None:
    with pytest.raises(OutOfMemoryError, match="buffer has 65535 bytes and holds 0 pages"):
        StaticAllocatorBuilder().with_buffer(bytearray(65535)).build()
    with pytest.raises(OutOfMemoryError, match="holds 2 pages"):
        builder = StaticAllocatorBuilder().with_buffer(bytearray(3 * PAGE_SIZE - 1))
        builder.with_maximum_pages(3).build()
    with pytest.raises(InvalidArgumentError, match="maximum_pages is 0"):
        StaticAllocatorBuilder().build()  # no buffer, no size


@pytest.mark.row("EM-1")
@pytest.mark.parametrize(
    "fields",
    [
        {"alignment": 4},
        {"alignment": 24},
        {"alignment": 1 << 21},
        {"alignment": (1 << 32) + 16},
        {"maximum_pages": 65537},
        {"verification_level": 5},
        {"guard_regions": 3},
        {"buffer": ffi.NULL},
        {"struct_size": 0},
    ],
)
def test_broken_rules_are_refused(fields: dict[str, Any]) -> None:
    buffer = ffi.new("uint8_t[]", 2 * PAGE_SIZE)
    config = raw_config(**{"buffer": buffer, "buffer_size": len(buffer), **fields})
    allocator = ffi.new("wrt_static_allocator *")
    status = lib.wrt_static_allocator_init(allocator, config)
    assert status == lib.WRT_ERR_INVALID_ARGUMENT
    assert bytes(ffi.buffer(allocator)) == bytes(ffi.sizeof("wrt_static_allocator"))


@pytest.mark.row("EM-1")
def test_null_reserved_bytes_and_moves_are_refused() -> None:
    buffer = ffi.new("uint8_t[]", 2 * PAGE_SIZE)
    config = raw_config(buffer=buffer, buffer_size=len(buffer))
    allocator, report = ffi.new("wrt_static_allocator *"), ffi.new("wrt_static_allocator_report *")
    layout = ffi.new("wrt_layout *", (1, 1))
    refused = [
        lib.wrt_static_allocator_init(ffi.NULL, config),
        lib.wrt_static_allocator_init(allocator, ffi.NULL),
        lib.wrt_static_allocator_layout(config, ffi.NULL),
        lib.wrt_static_allocator_layout(ffi.NULL, layout),
        lib.wrt_static_allocator_query(ffi.NULL, report),
        lib.wrt_static_allocator_query(allocator, ffi.NULL),
        lib.wrt_static_allocator_deinit(ffi.NULL),
    ]
    assert set(refused) == {lib.WRT_ERR_INVALID_ARGUMENT}
    assert (layout.bytes, layout.alignment) == (0, 0)
    config.reserved[3] = 1
    assert lib.wrt_static_allocator_init(allocator, config) == lib.WRT_ERR_UNSUPPORTED
    config.reserved[3] = 0
    assert lib.wrt_static_allocator_query(allocator, report) == lib.WRT_ERR_STATE
    check(lib.wrt_static_allocator_init(allocator, config))
    check(lib.wrt_static_allocator_deinit(allocator))
    check(lib.wrt_static_allocator_deinit(allocator))


@pytest.mark.row("EM-1")
def test_allocator_may_be_moved_only_while_nothing_is_out() -> None:
    buffer = ffi.new("uint8_t[]", 2 * PAGE_SIZE)
    first, report = ffi.new("wrt_static_allocator *"), ffi.new("wrt_static_allocator_report *")
    check(lib.wrt_static_allocator_init(first, raw_config(buffer=buffer, buffer_size=len(buffer))))
    second = ffi.new("wrt_static_allocator *", first[0])
    interface = ffi.new("wrt_page_allocator *", lib.wrt_static_allocator_interface(second))
    pages = ffi.new("wrt_pages *")
    check(lib.wrt_page_allocator_allocate(interface, 1, 1, pages))
    third = ffi.new("wrt_static_allocator *", second[0])
    moved = ffi.new("wrt_page_allocator *", lib.wrt_static_allocator_interface(third))
    assert lib.wrt_page_allocator_grow(moved, pages, 0) == lib.WRT_ERR_STATE
    assert lib.wrt_page_allocator_allocate(moved, 1, 1, ffi.new("wrt_pages *")) == lib.WRT_ERR_STATE
    assert lib.wrt_static_allocator_query(third, report) == lib.WRT_ERR_STATE
    assert lib.wrt_static_allocator_deinit(third) == lib.WRT_ERR_STATE
    check(lib.wrt_page_allocator_deallocate(interface, pages))
    check(lib.wrt_static_allocator_deinit(second))


@pytest.mark.row("EM-1")
def test_allocator_ends_after_its_allocation() -> None:
    allocator = StaticAllocatorBuilder().with_maximum_pages(1).build()
    raw = Raw(allocator)
    pages = raw.allocate(1, 1)
    with pytest.raises(StateError, match="still out"):
        allocator.close()
    assert raw.deallocate(pages) == lib.WRT_OK
    allocator.close()
