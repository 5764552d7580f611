"""What all thread systems have in common, over each backend: threads as asked for, read back."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from held_threads import Held
from sync_backends import BACKENDS, Backend
from wrt_platform import CpuSet, ThreadBuilder, ThreadPriority
from wrt_platform._native import ffi, lib
from wrt_platform.errors import (
    InvalidArgumentError,
    StateError,
    TimedOutError,
    UnsupportedError,
)

pytestmark = pytest.mark.row("TH-1")

STACK = 262144  # bytes


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    return BACKENDS[request.param]


@pytest.fixture
def system(backend: Backend) -> Iterator[Any]:
    system = backend.system().build()
    yield system
    system.close()


def test_a_thread_is_what_was_asked_for(system: Any) -> None:
    builder = ThreadBuilder().with_name("a-name-beyond-what-is-kept").with_cpus(CpuSet(0))
    held = Held(system, builder.with_stack_size(STACK))
    report = held.thread.report
    assert report.name == "a-name-beyond-w"
    assert report.cpus == CpuSet.from_mask(1)
    assert report.stack_size == STACK
    assert report.system_id != system.report.system_id
    held.end()


@pytest.mark.parametrize("priority", list(ThreadPriority)[1:])
def test_priorities_are_read_back(system: Any, priority: ThreadPriority) -> None:
    builder = ThreadBuilder().with_priority(priority).with_require_priority()
    held = Held(system, builder)
    assert held.thread.report.priority == priority
    held.end()


def test_join_waits_and_ends_once(system: Any) -> None:
    held = Held(system)
    start = time.monotonic()
    with pytest.raises(TimedOutError, match="still runs"):
        held.thread.join(0.06)
    assert time.monotonic() - start >= 0.06
    with pytest.raises(StateError, match="neither joined nor detached"):
        system.close()
    held.end()
    for call in (held.thread.join, held.thread.detach, lambda: held.thread.report):
        with pytest.raises(StateError, match="joined or detached already"):
            call()


def test_a_thread_of_another_system_is_unknown(backend: Backend, system: Any) -> None:
    held, stranger = Held(system), backend.system().build()
    other = stranger._interface
    report, time_used = ffi.new("wrt_thread_report *"), ffi.new("uint64_t *")
    for status in (
        other.ops.join(other.self, held.thread._raw, 0),
        other.ops.detach(other.self, held.thread._raw),
        other.ops.query(other.self, held.thread._raw, report),
        other.ops.cpu_time(other.self, held.thread._raw, time_used),
    ):
        assert status == lib.WRT_ERR_STATE
    held.end()
    stranger.close()


def test_a_name_is_not_cut_inside_of_a_character(system: Any) -> None:
    held = Held(system, ThreadBuilder().with_name("fourteen-bytes\u00e9"))
    assert held.thread.report.name == "fourteen-bytes"
    held.end()


def test_a_detached_thread_runs_on_by_itself(system: Any) -> None:
    ended, held = threading.Event(), threading.Event()

    def run() -> None:
        held.wait(5)
        ended.set()

    ThreadBuilder().with_entry(run).build(system).detach()
    system.close()
    held.set()
    assert ended.wait(5)


def test_the_processor_time_is_the_threads_own(system: Any) -> None:
    used = threading.Event()

    def work() -> None:
        end = time.thread_time() + 0.05
        while time.thread_time() < end:
            pass
        used.set()
        gone.wait(5)

    gone = threading.Event()
    thread = ThreadBuilder().with_entry(work).build(system)
    assert used.wait(5)
    assert 50_000_000 <= thread.cpu_time_ns < 2_000_000_000
    gone.set()
    thread.join(5)
    with pytest.raises(StateError):
        thread.cpu_time_ns  # noqa: B018


def test_the_caller_changes_itself(system: Any) -> None:
    found: list[Any] = []

    def run() -> None:
        system.set_priority(ThreadPriority.LOW)
        system.set_cpus(CpuSet(0))
        found.append(system.report)

    ThreadBuilder().with_entry(run).build(system).join(5)
    assert found[0].priority == ThreadPriority.LOW
    assert found[0].cpus == CpuSet(0)


def test_what_can_not_be_is_refused(system: Any) -> None:
    builder = ThreadBuilder()
    with pytest.raises(InvalidArgumentError, match="entry"):
        builder.build(system)
    builder.with_entry(lambda: None)
    builder._config.reserved = b"\0\0\1"
    with pytest.raises(UnsupportedError):
        builder.build(system)
    with pytest.raises(InvalidArgumentError, match="CPU"):
        ThreadBuilder().with_entry(lambda: None).with_cpus(CpuSet(255)).build(system)
    with pytest.raises(InvalidArgumentError, match="stack"):
        ThreadBuilder().with_entry(lambda: None).with_stack_size(1).build(system)
    for address, reason in ((4096, "stack_size is 0"), (4097, "16-byte aligned")):
        builder = ThreadBuilder().with_entry(lambda: None)
        builder._config.stack = ffi.cast("void *", address)
        with pytest.raises(InvalidArgumentError, match=reason):
            builder.build(system)
    with pytest.raises(InvalidArgumentError, match="priority"):
        system.set_priority(9)
    with pytest.raises(InvalidArgumentError):
        CpuSet(256)
    system.close()  # nothing of them is left


def test_a_forked_child_makes_its_own() -> None:
    backend = BACKENDS["linux"]
    system, futex, lock = backend.system().build(), backend.futex().build(), backend.lock().build()
    child = os.fork()
    if child == 0:
        refused = 0
        for call in (system.close, system.now_ns, futex.load, lock.lock, futex.close, lock.close):
            try:
                call()
            except StateError:
                refused += 1
        os._exit(refused)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 6
    for made in (futex, lock, system):
        made.close()
