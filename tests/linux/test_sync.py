"""Futexes of Linux beyond what all backends have: shared words, robust locks, deadlines, spinning.
Processes are forked by hand, so that one can be killed while it holds."""

from __future__ import annotations

import errno
import mmap
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import failing_calls
import pytest
from forked import LONG, Child, until
from wrt_platform import CancelToken, LinuxFutexBuilder, LinuxLockBuilder, LockProtocol
from wrt_platform._native import ffi, lib
from wrt_platform.errors import (
    InterruptedCallError,
    InvalidArgumentError,
    StateError,
    TimedOutError,
    UnsupportedError,
)
from wrt_platform.linux.sync import SHARED_SIZE
from wrt_platform.linux.sync_objects import (
    LinuxCondition,
    LinuxMutex,
    LinuxSemaphore,
)

SLACK = 0.15  # seconds, of a busy machine

pytestmark = pytest.mark.row("LS-1")


# ---- Shared between processes ----


def test_two_processes_hand_one_word_to_and_fro() -> None:
    futex = LinuxFutexBuilder().with_shared().build()

    def play(player: int, ours: Any) -> None:
        for _ in range(500):
            while (seen := ours.load()) % 2 != player:
                ours.wait(seen, LONG)
            ours.fetch_add(1)
            ours.wake_one()

    child = Child(
        lambda: play(1, LinuxFutexBuilder().with_shared().with_memory(futex.memory).build())
    )
    play(0, futex)
    child.join()
    assert futex.load() == 1000


def test_a_word_is_found_at_another_address(tmp_path: Path) -> None:
    """The same file mapped twice: a word known by its address would be two."""
    file = tmp_path / "shared"
    file.write_bytes(bytes(mmap.PAGESIZE))
    with open(file, "r+b") as opened:
        first, second = (mmap.mmap(opened.fileno(), mmap.PAGESIZE) for _ in range(2))
    one = LinuxFutexBuilder().with_shared().with_memory(first).with_initial_value(5).build()
    other = LinuxFutexBuilder().with_shared().with_memory(second).with_initial_value(9).build()
    assert other.load() == 5  # who comes second finds what is there
    waiter = threading.Thread(target=lambda: one.wait(5, LONG))
    waiter.start()
    until(lambda: one.usage.wait_calls)
    time.sleep(0.02)
    other.store(6)
    assert other.wake_all() == 1
    waiter.join(LONG)
    assert not waiter.is_alive()
    one.close()
    assert other.load() == 6  # it stays for the others
    other.close()


def test_a_private_object_refuses_a_forked_child_and_a_shared_one_is_made_anew() -> None:
    made: Any = (
        LinuxFutexBuilder().with_shared().build(),
        LinuxSemaphore(LinuxFutexBuilder().with_shared()),
    )

    def work() -> None:
        for use in (made[0].load, lambda: made[1].value):
            with pytest.raises(StateError, match="forked"):
                use()
        builder = LinuxFutexBuilder().with_shared().with_memory(made[1].memory)
        LinuxSemaphore(builder).release()

    Child(work).join()
    assert made[1].value == 1


def test_memory_of_another_object_is_refused(shared: mmap.mmap) -> None:
    def builder() -> LinuxFutexBuilder:
        return LinuxFutexBuilder().with_shared().with_memory(shared)

    word = builder().build()
    with pytest.raises(InvalidArgumentError, match="another"):
        LinuxSemaphore(builder())
    with pytest.raises(InvalidArgumentError, match="another"):
        builder().with_robust().build()
    with pytest.raises(InvalidArgumentError, match="goes with shared"):
        LinuxFutexBuilder().with_memory(shared).build()
    with pytest.raises(InvalidArgumentError, match="multiple of 8"):
        at = memoryview(shared)[4 : 4 + SHARED_SIZE]
        LinuxFutexBuilder().with_shared().with_memory(at).build()
    with pytest.raises(InvalidArgumentError, match="needs"):
        LinuxFutexBuilder().with_memory(bytearray(SHARED_SIZE - 1))
    word.close()


def test_who_never_finished_preparing_is_not_waited_for_without_end(shared: mmap.mmap) -> None:
    shared[0] = 1
    start = time.monotonic()
    with pytest.raises(StateError, match="did not finish"):
        LinuxFutexBuilder().with_shared().with_memory(shared).build()
    assert time.monotonic() - start < 10


# ---- Robust ----


@pytest.mark.parametrize("inherits", [False, True])
def test_a_killed_owner_reaches_the_next(shared: mmap.mmap, inherits: bool) -> None:
    def make() -> Any:
        builder = LinuxFutexBuilder().with_robust().with_shared().with_memory(shared)
        return builder.with_priority_inheritance(inherits).build()

    futex = make()

    def hold() -> None:
        make().lock.lock()
        shared[SHARED_SIZE] = 1
        time.sleep(LONG)

    child = Child(hold)
    until(lambda: shared[SHARED_SIZE])
    with pytest.raises(TimedOutError):
        futex.lock.lock(0.05)
    threading.Timer(0.1, child.kill).start()  # while we wait
    futex.lock.lock(LONG)
    assert futex.lock.owner_died
    futex.lock.recover()
    futex.lock.unlock()
    with futex.lock:
        assert not futex.lock.owner_died
    futex.close()


def test_without_recovery_all_processes_are_refused(shared: mmap.mmap) -> None:
    def make() -> Any:
        return LinuxLockBuilder().with_robust().with_shared().with_memory(shared).build()

    Child(lambda: make().lock()).join()  # ends as its owner
    lock = make()
    lock.lock(LONG)
    assert lock.owner_died
    lock.unlock()

    def work() -> None:
        with pytest.raises(StateError, match="owner died"):
            make().lock()

    Child(work).join()
    lock.close()


def test_locks_can_t_be_what_linux_has_not() -> None:
    for builder in (
        LinuxLockBuilder().with_protocol(LockProtocol.CEILING).with_ceiling(9).with_shared(),
        LinuxFutexBuilder().with_robust().with_realtime_clock(),
    ):
        with pytest.raises(UnsupportedError):
            builder.build()
    for kind in (LinuxSemaphore, LinuxCondition, LinuxMutex):
        with pytest.raises(UnsupportedError):
            kind(LinuxFutexBuilder().with_robust())
    with pytest.raises(UnsupportedError):
        LinuxSemaphore(LinuxFutexBuilder().with_priority_inheritance())


# ---- Deadlines ----


@pytest.mark.parametrize("realtime", [False, True])
def test_a_deadline_is_a_point_in_time(realtime: bool) -> None:
    clock = time.time_ns if realtime else time.monotonic_ns
    settings = LinuxFutexBuilder().with_realtime_clock(realtime)
    futex, semaphore = settings.build(), LinuxSemaphore(settings)
    mutex, condition = LinuxMutex(settings), LinuxCondition(settings)
    holder = threading.Thread(target=mutex.lock)
    holder.start()
    holder.join()
    ours = LinuxMutex(settings)
    ours.lock()

    def in_condition(end: int | None, token: CancelToken | None) -> None:
        while True:
            condition.wait_until(ours, end, token)

    for wait in (
        lambda end, token: futex.wait_until(0, end, token),
        semaphore.acquire_until,
        mutex.lock_until,
        in_condition,
    ):
        end = clock() + 120_000_000
        with pytest.raises(TimedOutError):
            wait(end, None)
        assert 0 <= clock() - end < SLACK * 1e9
        end = clock() + 60_000_000
        with pytest.raises(TimedOutError):
            wait(end, CancelToken())
        assert 0 <= clock() - end < SLACK * 1e9
        with pytest.raises(TimedOutError):
            wait(clock() - 1, None)
        token = CancelToken()
        threading.Timer(0.05, token.request).start()
        with pytest.raises(InterruptedCallError):
            wait(None, token)


def test_a_far_deadline_waits_and_the_clock_is_the_one_that_was_chosen() -> None:
    """A point of the one clock is long past on the other."""
    plain = LinuxFutexBuilder().build()
    real = LinuxFutexBuilder().with_realtime_clock().build()
    with pytest.raises(TimedOutError):
        real.wait_until(0, time.monotonic_ns() + 10**12)
    for futex, far in ((plain, 2**63), (real, time.time_ns() + 10**12)):
        waiter = threading.Thread(target=futex.wait_until, args=(0, far))
        waiter.start()
        time.sleep(0.12)
        assert waiter.is_alive()
        futex.store(1)
        futex.wake_all()
        waiter.join(LONG)


# ---- Spinning ----


def in_child(work: Callable[[], None]) -> None:
    """In a process of its own, whose CPUs may be changed."""
    Child(work).join()


def waits(futex: Any) -> None:
    for _ in range(3):
        with pytest.raises(TimedOutError):
            futex.wait(0, 0.001)


def in_vain(futex: Any, count: int) -> None:
    for _ in range(count):
        status = lib.wrt_futex_wait(futex._interface, 0, 1000, ffi.NULL)
        assert status == lib.WRT_ERR_TIMED_OUT


def test_on_one_cpu_nobody_spins() -> None:
    def work() -> None:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        futex = LinuxFutexBuilder().with_spin_count(1000).with_backoff_ns(100).build()
        waits(futex)
        assert futex.usage.spins == 0 and futex.usage.wait_calls == 3

    in_child(work)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one CPU")
def test_who_loses_its_second_cpu_stops_spinning() -> None:
    def work() -> None:
        futex = LinuxFutexBuilder().with_spin(10).build()
        waits(futex)
        assert futex.usage.spins == 3 and futex.usage.spin_hits == 0
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        in_vain(futex, 100)
        seen = futex.usage.spins
        assert seen < 70
        waits(futex)
        assert futex.usage.spins == seen

    in_child(work)


def test_spinning_in_vain_shrinks_the_window() -> None:
    futex = LinuxFutexBuilder().with_spin(100_000).build()
    if not futex._raw.may_spin:
        pytest.skip("one CPU")
    in_vain(futex, 15)
    assert futex._raw.window < 25_000


def test_settings_beyond_their_range() -> None:
    with pytest.raises(InvalidArgumentError, match="backoff_ns is 10001"):
        LinuxFutexBuilder().with_backoff_ns(10_001).build()


# ---- The n-th call fails ----


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> failing_calls.Library:
    folder = tmp_path_factory.mktemp("sync")
    return failing_calls.build(
        folder,
        "wrt_linux_semaphore_*",
        "wrt_linux_mutex_*",
        "wrt_linux_lock_*",
        "wrt_linux_futex_*",
    )


def shared_mappings() -> int:
    """What Python and sanitizers take for themselves is private."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return sum(line.split()[1].endswith("s") for line in lines)


@pytest.mark.parametrize("kind", ["futex", "semaphore", "mutex", "lock"])
def test_init_that_fails_anywhere_leaves_nothing(library: failing_calls.Library, kind: str) -> None:
    config_name = "lock" if kind == "lock" else "futex"
    fields: dict[str, Any] = {"shared": True}
    if kind != "lock":
        fields["spin"] = 10
    size = ffi.sizeof(f"wrt_linux_{config_name}_config")
    config = ffi.new(f"wrt_linux_{config_name}_config *", {"struct_size": size, **fields})
    raw = ffi.new(f"wrt_linux_{kind} *")

    def work() -> int:
        status = library(f"wrt_linux_{kind}_init", raw, config)
        if status == lib.WRT_OK:
            return library(f"wrt_linux_{kind}_deinit", raw)
        assert not any(bytes(ffi.buffer(raw)))
        return status

    work()
    before = shared_mappings()
    failures = failing_calls.walk(library, errno.ENOMEM, work)
    assert len(failures) >= 1
    assert {failure.status for failure in failures} == {lib.WRT_ERR_NO_MEMORY}
    assert {failure.operation for failure in failures} == {f"wrt_linux_{kind}_init".encode()}
    assert shared_mappings() == before


def test_waits_that_fail_say_so_and_count_nobody(library: failing_calls.Library) -> None:
    size = ffi.sizeof("wrt_linux_futex_config")
    config = ffi.new("wrt_linux_futex_config *", {"struct_size": size})
    semaphore = ffi.new("wrt_linux_semaphore *")
    assert library("wrt_linux_semaphore_init", semaphore, config) == lib.WRT_OK
    library.fail_at(1, errno.ENOMEM)
    status = library("wrt_linux_semaphore_acquire", semaphore, 10**6, ffi.NULL)
    assert status == lib.WRT_ERR_SYSTEM
    failure = library.last_failure()
    assert failure.reason == b"FUTEX_WAIT failed" and failure.os_code == errno.ENOMEM
    assert semaphore.futex.waiting == 0
    for harmless in (errno.EINTR, errno.EAGAIN):
        library.fail_at(1, harmless)
        status = library("wrt_linux_semaphore_acquire", semaphore, 10**6, ffi.NULL)
        assert status == lib.WRT_ERR_TIMED_OUT
    assert library("wrt_linux_semaphore_deinit", semaphore) == lib.WRT_OK
