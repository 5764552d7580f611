"""The simulated QNX's memory as Python shows it, with the library's own allocators on top."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from wrt_platform import InvalidArgumentError, NotFoundError
from wrt_platform._native import lib
from wrt_platform.errors import check
from wrt_platform.sim import qnx_memory


@pytest.fixture(autouse=True)
def world() -> Iterator[None]:
    check(lib.wrt_sim_qnx_reset())
    yield
    check(lib.wrt_sim_qnx_reset())


def test_an_empty_world_has_one_partition_one_budget_and_one_process() -> None:
    (root,) = qnx_memory.partitions()
    assert (root.name, root.parent_id, root.maximum_bytes) == ("sysram", None, None)
    (system,) = qnx_memory.budgets()
    assert (system.name, system.percent, system.used) == ("System", 100, 0.0)
    (own,) = qnx_memory.processes()
    assert own.partition_id == root.id and not own.ended
    assert qnx_memory.mappings() == []
    assert qnx_memory.memory().mapped_bytes == 0
    assert qnx_memory.arena().arena_size == 32768


def test_what_is_wanted_of_a_processor_is_had_if_nobody_else_wants_it() -> None:
    qnx_memory.want_budget(0, 70)
    assert qnx_memory.budgets()[0].used == 70.0
    with pytest.raises(InvalidArgumentError, match="percent is 101"):
        qnx_memory.want_budget(0, 101)
    with pytest.raises(NotFoundError):
        qnx_memory.want_budget(7, 10)


def test_the_environment_holds_for_one_start() -> None:
    qnx_memory.set_environment("MALLOC_FREE_LIFO", "1")
    qnx_memory.set_environment("MALLOC_ARENA_CACHE_MAXBLK", "2")
    qnx_memory.set_environment("MALLOC_ARENA_SIZE", "65536")
    qnx_memory.set_environment("MALLOC_ARENA_SIZE", None)
    assert not qnx_memory.arena().lifo
    check(lib.wrt_sim_qnx_reset())
    started = qnx_memory.arena()
    assert started.lifo and started.cache_arenas_limit == 2 and started.arena_size == 32768
    check(lib.wrt_sim_qnx_reset())
    assert not qnx_memory.arena().lifo
    with pytest.raises(InvalidArgumentError):
        qnx_memory.set_environment("", "1")
    with pytest.raises(InvalidArgumentError):
        qnx_memory.set_environment("NAME", "x" * 64)


def test_the_system_has_as_much_memory_as_is_said() -> None:
    qnx_memory.set_system_memory(16 << 20)
    try:
        assert qnx_memory.memory().system_free_bytes == 16 << 20
        with pytest.raises(InvalidArgumentError, match="no multiple of 4096"):
            qnx_memory.set_system_memory(1000)
    finally:
        qnx_memory.set_system_memory(1 << 30)


def test_what_is_not_mapped_is_not_read() -> None:
    with pytest.raises(NotFoundError, match="are not mapped"):
        qnx_memory.read_memory(4096, 10)
    with pytest.raises(NotFoundError):
        qnx_memory.process_use(1, 4096)
