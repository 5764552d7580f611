"""The life of partitions in which each call of the kernel fails once."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from qnx_partitions import ACCOUNTING, ADDRESS, PROCESS, Token, allocator_in, partition
from qnx_world import EBUSY, EIO, ENOMEM, MIB, calls_of, fail_at, holdings, must, new_world
from wrt_platform._native import ffi, lib
from wrt_platform.errors import WrtError
from wrt_platform.page_allocator import Protection
from wrt_platform.qnx.partition import QnxIsolation

pytestmark = pytest.mark.usefixtures("world")


def life_at(level: QnxIsolation) -> Callable[[], None]:
    """All that partitions do, with what it takes for granted."""

    def live() -> None:
        made: list[Any] = []
        tokens: list[Token] = []
        try:
            top = partition(maximum=8 * MIB, level=level, name="top")
            made.append(top)
            for name in ("a", "b"):
                made.append(partition(MIB, parent=top, name=name))
            allocators = [allocator_in(each) for each in made[1:]]
            made += allocators
            for allocator in allocators:
                made.append(allocator.allocate(2, 4))
                made[-1].grow(1)
            made[-1].protect(0, 4096, Protection.READ)
            for where in (made[1], made[2]):
                tokens.append(Token(where))
                status = tokens[-1].enter(tokens[-2] if len(tokens) > 1 else None)
                if status != lib.WRT_OK:
                    tokens.pop()
                    raise failure(status)
        finally:
            while tokens:
                again(tokens.pop().leave)
            while made:
                end(made.pop())

    return live


class Refused(Exception):
    pass


def failure(status: int) -> Exception:
    return Refused(status)


def again(call: Callable[[], int]) -> None:
    """A call that fails once can be tried again."""
    if call() != lib.WRT_OK:
        must(call())


def end(thing: Any) -> None:
    if hasattr(thing, "release"):
        thing.memory.release()
        interface = ffi.new("wrt_page_allocator *", thing._allocator._interface)
        again(lambda: int(lib.wrt_page_allocator_deallocate(interface, thing._raw)))
        return
    try:
        thing.close()
    except WrtError:
        try:
            thing.close()
        except WrtError as error:
            raise AssertionError("what failed once can't be ended any more") from error


@pytest.mark.row("QP-1", proof="sim")
@pytest.mark.row("QP-2", proof="sim")
@pytest.mark.parametrize("code", [ENOMEM, EIO, EBUSY])
@pytest.mark.parametrize("level", [ACCOUNTING, ADDRESS])
def test_life_in_which_any_call_fails_leaves_nothing(level: QnxIsolation, code: int) -> None:
    live = life_at(level)
    calls, before, failed = calls_of(live), holdings(), 0
    for use in range(1, calls + 1):
        fail_at(use, code)
        try:
            live()
        except (WrtError, Refused):
            failed += 1
        assert holdings() == before, use
    assert failed >= (8 if level == ADDRESS else 6)


def wait_until_ended(process: int) -> None:
    """By a look from outside, which is no call of QNX."""
    view = ffi.new("wrt_sim_qnx_process_view *")
    end = time.monotonic() + 20
    while time.monotonic() < end:
        found = [i for i in range(8) if lib.wrt_sim_qnx_process_query(i, view) == lib.WRT_OK]
        must(lib.wrt_sim_qnx_process_query(found[-1], view))
        if view.id == process and view.ended:
            return
        time.sleep(0.001)
    raise AssertionError("the process did not end")


def spawn_and_end() -> None:
    """A program in a partition of its own; each step that fails once can be tried again."""
    where = partition(maximum=256 * MIB, level=PROCESS, name="tenant")
    try:
        process = where.spawn("/bin/true")
        wait_until_ended(process)
        try:
            where.detach(process)
        except WrtError:
            where.detach(process)
            raise
    finally:
        assert where._raw.processes[0].process_id == 0
        end(where)


@pytest.mark.row("QP-3", proof="sim")
@pytest.mark.parametrize("module", [False, True], ids=["rlimit", "module"])
@pytest.mark.parametrize("code", [ENOMEM, EIO])
def test_spawning_in_which_any_call_fails_leaves_nothing(module: bool, code: int) -> None:
    with new_world(module=module):
        calls = calls_of(spawn_and_end)
    refused = 0
    for use in range(1, calls + 1):
        with new_world(module=module, collect=False):
            fail_at(use, code)
            try:
                spawn_and_end()
            except WrtError:
                refused += 1
    assert refused >= 6
