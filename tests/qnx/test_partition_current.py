"""Which partition is current: entering and leaving, by threads and tasks."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from typing import Any

import pytest
from qnx_partitions import ACCOUNTING, ADDRESS, Token, partition
from qnx_world import PAGE, must
from wrt_platform._native import ffi, lib
from wrt_platform.enforcement import EnforcementState
from wrt_platform.errors import OutOfMemoryError, StateError
from wrt_platform.qnx.arena import QnxArenaAllocatorBuilder
from wrt_platform.qnx.memory import QnxAllocatorBuilder
from wrt_platform.qnx.partition import (
    PartitionGuard,
    QnxIsolation,
    QnxMemoryPartition,
    current_partition,
)

pytestmark = pytest.mark.usefixtures("world")


class Uncommon(BaseException):
    """Not even an Exception."""


@pytest.mark.row("QP-2", proof="sim")
@pytest.mark.parametrize("level", [ACCOUNTING, ADDRESS])
def test_earlier_partition_is_back_after_value_error_and_exception(level: QnxIsolation) -> None:
    first, second = partition(level=level), partition(level=level)

    def fail() -> None:
        assert current_partition() is second
        raise Uncommon

    def work() -> int:
        assert current_partition() is first
        assert second.with_partition(lambda: current_partition() is second)
        assert current_partition() is first
        with pytest.raises(Uncommon):
            second.with_partition(fail)
        with pytest.raises(OutOfMemoryError):
            partition(maximum=PAGE).with_partition(
                lambda: QnxAllocatorBuilder().build().allocate(2, 2)
            )
        assert current_partition() is first
        return 42

    assert current_partition() is None
    assert first.with_partition(work) == 42
    assert current_partition() is None
    assert (first.report.entered_count, second.report.entered_count) == (0, 0)


@pytest.mark.row("QP-2", proof="sim")
def test_allocators_built_inside_take_the_current_partition() -> None:
    outer, inner = partition(), partition()
    with PartitionGuard(outer):
        first = QnxAllocatorBuilder().build()
        with PartitionGuard(inner):
            second = QnxArenaAllocatorBuilder().build()
            named = QnxAllocatorBuilder().with_partition(outer).build()
            none = QnxAllocatorBuilder().with_partition(None).build()
    after = QnxAllocatorBuilder().build()
    pages = [each.allocate(1, 1) for each in (first, second, named, none, after)]
    assert (outer.report.used_bytes, inner.report.used_bytes) == (2 * PAGE, PAGE)
    assert first.report.partition.state == EnforcementState.ENFORCED
    assert none.report.partition.state == EnforcementState.NOT_ASKED
    for some in pages:
        some.release()


@pytest.mark.row("QP-2", proof="sim")
@pytest.mark.parametrize("level", [ACCOUNTING, ADDRESS])
def test_leaving_out_of_order_is_refused_and_changes_nothing(level: QnxIsolation) -> None:
    first, second = partition(level=level), partition(level=level)
    outer = PartitionGuard(first)
    inner = PartitionGuard(second)
    with pytest.raises(StateError, match="out of order"):
        outer.leave()
    assert current_partition() is second
    inner.leave()
    inner.leave()  # again does nothing
    outer.leave()
    assert current_partition() is None


@pytest.mark.parametrize("level", [ACCOUNTING, ADDRESS])
def test_c_refuses_tokens_out_of_order_moved_or_left(level: QnxIsolation) -> None:
    where, unknown = partition(level=level), ffi.new("wrt_qnx_partition *")
    outer, inner = Token(where), Token(where)
    must(outer.enter())
    must(inner.enter(outer))
    assert outer.leave() == lib.WRT_ERR_STATE
    moved = Token(where)
    moved.raw = ffi.new("wrt_qnx_partition_token *", inner.raw[0])
    assert moved.leave() == lib.WRT_ERR_STATE
    assert Token(where).enter(moved) == lib.WRT_ERR_STATE
    must(inner.leave())
    must(inner.leave())  # a zeroed token: again is harmless
    assert Token(where).enter(inner) == lib.WRT_ERR_STATE
    must(outer.leave())
    token = ffi.new("wrt_qnx_partition_token *")
    assert lib.wrt_qnx_partition_enter(unknown, ffi.NULL, token) == lib.WRT_ERR_STATE
    null = lib.WRT_ERR_INVALID_ARGUMENT
    assert lib.wrt_qnx_partition_enter(ffi.NULL, ffi.NULL, token) == null
    assert lib.wrt_qnx_partition_enter(where._raw, ffi.NULL, ffi.NULL) == null
    assert lib.wrt_qnx_partition_leave(ffi.NULL) == null
    assert bytes(ffi.buffer(token)) == bytes(ffi.sizeof("wrt_qnx_partition_token"))


@pytest.mark.row("QP-2", proof="sim")
def test_moved_partition_is_refused() -> None:
    where = partition()
    moved = ffi.new("wrt_qnx_partition *", where._raw[0])
    report = ffi.new("wrt_qnx_partition_report *")
    assert lib.wrt_qnx_partition_query(moved, report) == lib.WRT_ERR_STATE
    assert lib.wrt_qnx_partition_deinit(moved) == lib.WRT_ERR_STATE
    where.close()


@pytest.mark.row("QP-2", proof="sim")
def test_each_task_and_each_thread_has_a_current_partition_of_its_own() -> None:
    first, second = partition(), partition()

    async def work(where: QnxMemoryPartition) -> bool:
        with PartitionGuard(where):
            for _ in range(3):
                await asyncio.sleep(0)
                if current_partition() is not where:
                    return False
        return current_partition() is None

    async def both() -> list[bool]:
        return list(await asyncio.gather(work(first), work(second)))

    assert asyncio.run(both()) == [True, True]
    seen: list[Any] = []
    with PartitionGuard(first):
        thread = threading.Thread(target=lambda: seen.append(current_partition()))
        thread.start()
        thread.join(10)
        with PartitionGuard(second):
            context = contextvars.copy_context()
            guard = PartitionGuard(first)
            with pytest.raises(StateError, match="out of order"):
                context.run(guard.leave)
            guard.leave()
    assert seen == [None]
