"""Each system call of threads, of waits on words, of watches and of counters fails once: nothing is
left, no object is half made, nobody is counted as waiting, and the error names the call.

A walk is a piece of work that is done again and again, its first call failing, then its second,
and so on. At the end stands the account: every wrapper of c/src/linux/sys*.c was made to fail here,
or is listed with the test that does it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import failing_calls
import pytest
from common import ROOT, run
from failing_calls import Failure, Library
from wrt_platform._native import ffi, lib

pytestmark = pytest.mark.row("LS-1")

MS = 10**6
EVER = 2**64 - 1
CODES = [errno.ENOMEM, errno.EPERM]
WAITS = ("wrt_linux_semaphore_*", "wrt_linux_mutex_*", "wrt_linux_lock_*", "wrt_linux_futex_*")
PROGRAMS = ("wrt_confined_process_*", "wrt_namespace_*", "wrt_linux_allocator_*")
OTHERS = ("wrt_linux_condition_*", "wrt_linux_wake_*", "wrt_linux_thread_system_*", "wrt_perf_*")
GROUPS = ("wrt_linux_cgroup_*", "wrt_linux_pressure_*", "wrt_events_*", "wrt_lock_*", "wrt_futex_*")


class Interface(ctypes.Structure):
    """{ops, self}, as all interfaces are."""

    _fields_ = (("ops", ctypes.c_void_p), ("self", ctypes.c_void_p))


class Walks:
    """The library, and which wrappers were made to fail in it."""

    def __init__(self, folder: Path) -> None:
        names = ("wrt__sys_failed_at", *WAITS, *OTHERS, *GROUPS, *PROGRAMS)
        self.call: Library = failing_calls.build(folder, *names)
        self._loaded = self.call._loaded
        self._loaded.wrt__sys_failed_at.restype = ctypes.c_void_p
        self._symbols = list(_symbols(folder / "libvisible.so"))
        known = dict((name, start) for start, name in self._symbols)["wrt__sys_fail_at"]
        address = ctypes.cast(self._loaded.wrt__sys_fail_at, ctypes.c_void_p).value
        assert address is not None
        self._base = address - known
        self.reached: set[str] = set()

    def interface(self, name: str, kind: str, raw: Any) -> Any:
        """An interface, as cffi's struct: its ops can be called."""
        function = getattr(self._loaded, name)
        function.restype = Interface
        found = function(ctypes.c_void_p(int(ffi.cast("uintptr_t", raw))))
        made = ffi.new(f"{kind} *")
        made.ops = ffi.cast(f"{kind}_ops *", found.ops)
        made.self = ffi.cast("void *", found.self)
        return made

    def failed_wrapper(self) -> str:
        place = self._loaded.wrt__sys_failed_at() - self._base
        return max(symbol for symbol in self._symbols if symbol[0] <= place)[1]

    def walk(
        self, work: Callable[[], int], code: int, expected: int = lib.WRT_OK
    ) -> list[tuple[str, Failure | None]]:
        """Does it until no call is left to fail. For each call: the wrapper, and the failure, or
        None where the work came to what it always comes to."""
        seen: list[tuple[str, Failure | None]] = []
        for call in range(1, failing_calls.MOST_CALLS):
            made, before = failing_calls.count_of(self.call), failing_calls.descriptors()
            self.call.fail_at(call, code)
            status = work()
            self.call.fail_at(0, 0)
            if failing_calls.count_of(self.call) - made < call:
                assert status == expected
                return seen
            assert failing_calls.descriptors() == before, f"call {call} left a descriptor"
            wrapper = self.failed_wrapper()
            self.reached.add(wrapper)
            failure = None
            if status != expected:
                failure = Failure()
                ctypes.pointer(failure)[0] = self.call.last_failure()
                assert failure.status == status
                assert failure.os_code in (code, 0), wrapper
            seen.append((wrapper, failure))
        raise AssertionError("there is no end")


def _symbols(library: Path) -> Iterator[tuple[int, str]]:
    for line in run("nm", library).splitlines():
        words = line.split()
        if len(words) == 3 and words[1] in "tT":
            yield int(words[0], 16), words[2]


@pytest.fixture(scope="module")
def walks(tmp_path_factory: pytest.TempPathFactory) -> Walks:
    return Walks(tmp_path_factory.mktemp("walks"))


def new(kind: str, /, **fields: Any) -> Any:
    return ffi.new(f"{kind} *", {"struct_size": ffi.sizeof(kind), **fields})


@contextmanager
def made(walks: Walks, kind: str, **fields: Any) -> Iterator[Any]:
    """A futex, semaphore, mutex, condition or lock of the library."""
    config = new(f"wrt_linux_{'lock' if kind == 'lock' else 'futex'}_config", **fields)
    raw = ffi.new(f"wrt_linux_{kind} *")
    assert walks.call(f"wrt_linux_{kind}_init", raw, config) == lib.WRT_OK
    yield raw
    assert walks.call(f"wrt_linux_{kind}_deinit", raw) == lib.WRT_OK


@contextmanager
def held(lock: Callable[[], int], unlock: Callable[[], int]) -> Iterator[None]:
    """By another thread."""
    has, go = threading.Event(), threading.Event()

    def hold() -> None:
        assert lock() == lib.WRT_OK
        has.set()
        go.wait(20)
        assert unlock() == lib.WRT_OK

    thread = threading.Thread(target=hold)
    thread.start()
    assert has.wait(20)
    yield
    go.set()
    thread.join(20)


def operations(seen: list[tuple[str, Failure | None]]) -> set[bytes]:
    return {failure.operation for _, failure in seen if failure is not None}


# ---- Waits ----


def walk_mutex(walks: Walks, code: int, **fields: Any) -> list[tuple[str, Failure | None]]:
    """Taken where another has it: the time is over. Then given back to nobody, and to one who waits
    for it."""
    call = walks.call
    with made(walks, "mutex", **fields) as mutex:
        plain = ffi.NULL
        with held(
            lambda: call("wrt_linux_mutex_lock", mutex, EVER, plain),
            lambda: call("wrt_linux_mutex_unlock", mutex),
        ):
            seen = walks.walk(
                lambda: call("wrt_linux_mutex_lock", mutex, 3 * MS, plain),
                code,
                lib.WRT_ERR_TIMED_OUT,
            )
        assert call("wrt_linux_mutex_lock", mutex, 0, plain) == lib.WRT_OK  # it is as before
        assert call("wrt_linux_mutex_unlock", mutex) == lib.WRT_OK
    return seen


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("inherits", [False, True])
def test_mutex_that_cannot_be_waited_for_stays_whole(
    walks: Walks, code: int, inherits: bool
) -> None:
    seen = walk_mutex(walks, code, priority_inheritance=inherits)
    assert operations(seen) == {b"wrt_linux_mutex_lock"}
    wrapper = "wrt__sys_futex_lock_monotonic" if inherits else "wrt__sys_futex_wait_until"
    assert seen[0][0] == wrapper
    reasons = {bytes(failure.reason) for _, failure in seen if failure is not None}
    assert reasons == {b"FUTEX_LOCK_PI failed" if inherits else b"FUTEX_WAIT failed"}


def test_inheritance_before_linux_5_14_fails_as_clearly(walks: Walks) -> None:
    """Without FUTEX_LOCK_PI2 the wait goes by slices of another call."""
    call = walks.call
    with made(walks, "mutex", priority_inheritance=True) as mutex:

        def unlock() -> int:
            return call("wrt_linux_mutex_unlock", mutex)

        with held(lambda: call("wrt_linux_mutex_lock", mutex, EVER, ffi.NULL), unlock):
            call.fail_at(1, errno.ENOSYS)
            assert call("wrt_linux_mutex_lock", mutex, MS, ffi.NULL) == lib.WRT_ERR_TIMED_OUT
    with (
        made(walks, "mutex", priority_inheritance=True, realtime_clock=True) as mutex,
        held(
            lambda: call("wrt_linux_mutex_lock", mutex, EVER, ffi.NULL),
            lambda: call("wrt_linux_mutex_unlock", mutex),
        ),
    ):
        seen = walks.walk(
            lambda: call("wrt_linux_mutex_lock_until", mutex, 1, ffi.NULL),
            errno.ENOMEM,
            lib.WRT_ERR_TIMED_OUT,
        )
    assert [wrapper for wrapper, _ in seen] == ["wrt__sys_futex_lock"]
    assert operations(seen) == {b"wrt_linux_mutex_lock_until"}


def test_hand_over_that_fails_leaves_the_mutex_held(walks: Walks) -> None:
    call, got = walks.call, []
    with made(walks, "mutex", priority_inheritance=True) as mutex:

        def take_turn() -> None:
            got.append(call("wrt_linux_mutex_lock", mutex, 10**10, ffi.NULL))
            got.append(call("wrt_linux_mutex_unlock", mutex))

        assert call("wrt_linux_mutex_lock", mutex, EVER, ffi.NULL) == lib.WRT_OK
        thread = threading.Thread(target=take_turn)
        thread.start()
        while mutex.futex.state.word < 2**31:  # until it is marked: somebody waits
            pass
        seen = walks.walk(lambda: call("wrt_linux_mutex_unlock", mutex), errno.EPERM)
        thread.join(20)
    assert [wrapper for wrapper, _ in seen] == ["wrt__sys_futex_unlock"]
    assert operations(seen) == {b"wrt_linux_mutex_unlock"}
    assert got == [lib.WRT_OK, lib.WRT_OK]


@pytest.mark.parametrize("code", CODES)
def test_condition_takes_its_mutex_again_when_the_wait_fails(walks: Walks, code: int) -> None:
    call = walks.call
    with made(walks, "mutex") as mutex, made(walks, "condition") as condition:
        assert call("wrt_linux_mutex_lock", mutex, EVER, ffi.NULL) == lib.WRT_OK
        seen = walks.walk(
            lambda: call("wrt_linux_condition_wait", condition, mutex, MS, ffi.NULL),
            code,
            lib.WRT_ERR_TIMED_OUT,
        )
        assert operations(seen) == {b"wrt_linux_condition_wait"}
        assert condition.futex.waiting == 0
        assert call("wrt_linux_condition_signal", condition, 1) == lib.WRT_OK
        assert call("wrt_linux_mutex_unlock", mutex) == lib.WRT_OK  # the caller holds it


@pytest.mark.parametrize("code", [errno.ENOMEM, errno.EIO])
@pytest.mark.parametrize("kind", ["semaphore", "futex"])
def test_waits_that_fail_count_nobody(walks: Walks, code: int, kind: str) -> None:
    call = walks.call
    with made(walks, kind) as raw:
        futex = raw.futex if kind == "semaphore" else raw
        wait, arguments = "wrt_linux_semaphore_acquire", [MS, ffi.NULL]
        if kind == "futex":
            wait, arguments = "wrt_linux_futex_wait_until", [0, 1, ffi.NULL]
        seen = walks.walk(lambda: call(wait, raw, *arguments), code, lib.WRT_ERR_TIMED_OUT)
        assert operations(seen) == {wait.encode()} and futex.waiting == 0


def test_semaphore_that_wakes_nobody_still_has_the_count(walks: Walks) -> None:
    """Who waits is told by the count when it next looks; the call says that it could not wake."""
    call, got = walks.call, []
    with made(walks, "semaphore") as semaphore:
        wait = threading.Thread(
            target=lambda: got.append(
                call("wrt_linux_semaphore_acquire", semaphore, 10**10, ffi.NULL)
            )
        )
        wait.start()
        while semaphore.futex.waiting == 0:
            pass
        call.fail_at(1, errno.EFAULT)
        status = call("wrt_linux_semaphore_release", semaphore, 1)
        call.fail_at(0, 0)
        walks.reached.add(walks.failed_wrapper())
        assert walks.failed_wrapper() == "wrt__sys_futex_wake_on"
        assert status == lib.WRT_ERR_SYSTEM
        assert call.last_failure().os_code == errno.EFAULT
        assert call("wrt_linux_semaphore_release", semaphore, 1) == lib.WRT_OK
        wait.join(20)
        assert got == [lib.WRT_OK]


@pytest.mark.parametrize("code", CODES)
def test_wait_for_several_fails_for_all_of_them(walks: Walks, code: int) -> None:
    call = walks.call
    with made(walks, "futex") as first, made(walks, "futex") as second:
        waits = ffi.new("wrt_linux_futex_wait[2]")
        waits[0].futex, waits[1].futex = first, second
        index = ffi.new("uint32_t *", 77)

        def work() -> int:
            return call("wrt_linux_futex_wait_any", waits, 2, MS, ffi.NULL, index)

        seen = walks.walk(work, code, lib.WRT_ERR_TIMED_OUT)
        assert seen[0][0] == "wrt__sys_futex_waitv"
        assert operations(seen) <= {b"wrt_linux_futex_wait_any"}
        call.fail_at(1, errno.ENOSYS)  # an old kernel: by short waits on the first
        assert work() == lib.WRT_ERR_TIMED_OUT
        assert (first.waiting, second.waiting) == (0, 0)


# ---- Locks of the C library ----


def test_locks_that_fail_are_as_before(walks: Walks) -> None:
    call = walks.call
    config = new("wrt_linux_lock_config", robust=True)
    raw = ffi.new("wrt_linux_lock *")
    died = ffi.new("bool *")

    def life() -> int:
        status = call("wrt_linux_lock_init", raw, config)
        if status != lib.WRT_OK:
            assert not any(bytes(ffi.buffer(raw)))
            return status
        lock = walks.interface("wrt_linux_lock_interface", "wrt_lock", raw)
        status = call("wrt_lock_lock", lock, EVER, ffi.NULL, died)
        if status == lib.WRT_OK:
            status = call("wrt_lock_unlock", lock)
            if status != lib.WRT_OK:  # it is still held, and can be given back
                call.fail_at(0, 0)
                kept = Failure()
                ctypes.pointer(kept)[0] = call.last_failure()
                assert kept.operation == b"wrt_linux_lock_unlock"
                assert call("wrt_lock_unlock", lock) == lib.WRT_OK
        ended = call("wrt_linux_lock_deinit", raw)
        if ended != lib.WRT_OK:
            call.fail_at(0, 0)
            assert call("wrt_linux_lock_deinit", raw) == lib.WRT_OK
            return ended
        return status

    seen = walks.walk(life, errno.EINVAL)
    assert {"wrt__sys_mutex_init", "wrt__sys_mutex_trylock", "wrt__sys_mutex_unlock"} <= {
        wrapper for wrapper, _ in seen
    }


def test_lock_of_a_dead_owner_that_cannot_be_repaired_says_so(walks: Walks) -> None:
    call = walks.call
    died = ffi.new("bool *")
    with made(walks, "lock", robust=True) as raw:
        lock = walks.interface("wrt_linux_lock_interface", "wrt_lock", raw)
        ended = threading.Thread(
            target=lambda: call("wrt_lock_lock", lock, EVER, ffi.NULL, ffi.new("bool *"))
        )
        ended.start()
        ended.join(20)
        assert call("wrt_lock_lock", lock, EVER, ffi.NULL, died) == lib.WRT_OK and died[0]
        seen = walks.walk(lambda: call("wrt_lock_recover", lock), errno.EINVAL)
        assert [wrapper for wrapper, _ in seen] == ["wrt__sys_mutex_consistent"]
        assert call("wrt_lock_unlock", lock) == lib.WRT_OK


@pytest.mark.parametrize("timeout", [0, MS])
def test_lock_that_another_holds_fails_as_the_system_does(walks: Walks, timeout: int) -> None:
    call = walks.call
    with made(walks, "lock") as raw:
        lock = walks.interface("wrt_linux_lock_interface", "wrt_lock", raw)
        with held(
            lambda: call("wrt_lock_lock", lock, EVER, ffi.NULL, ffi.NULL),
            lambda: call("wrt_lock_unlock", lock),
        ):
            seen = walks.walk(
                lambda: call("wrt_lock_lock", lock, timeout, ffi.NULL, ffi.NULL),
                errno.EINVAL,
                lib.WRT_ERR_TIMED_OUT,
            )
    assert seen
    assert seen[0][0] in ("wrt__sys_mutex_trylock", "wrt__sys_mutex_timedlock")


# ---- Threads ----


def threads() -> set[str]:
    return set(os.listdir("/proc/self/task"))


@contextmanager
def thread_system(walks: Walks) -> Iterator[Any]:
    raw = ffi.new("wrt_linux_thread_system *")
    config = new("wrt_linux_thread_system_config")
    assert walks.call("wrt_linux_thread_system_init", raw, config) == lib.WRT_OK
    name = "wrt_linux_thread_system_interface"
    yield walks.interface(name, "wrt_thread_system", raw)
    assert raw.thread_count == 0
    assert walks.call("wrt_linux_thread_system_deinit", raw) == lib.WRT_OK


@pytest.mark.row("TH-1")
@pytest.mark.parametrize("code", [errno.EAGAIN, errno.EINVAL, errno.EPERM])
def test_thread_that_cannot_be_started_placed_or_joined_is_not_left(
    walks: Walks, code: int
) -> None:
    entry = ffi.callback("void(void *)", lambda _: None)
    thread = ffi.new("wrt_thread *")
    cpus = sorted(os.sched_getaffinity(0))[:1]
    with thread_system(walks) as system:
        config = new("wrt_thread_config", entry=entry, require_priority=True)
        config.name = name = ffi.new("char[]", b"walked")
        config.cpus.words[0] = 1 << cpus[0]

        def work() -> int:
            status = int(system.ops.start(system.self, thread, config))
            if status != lib.WRT_OK:
                assert not any(bytes(ffi.buffer(thread)))
                return status
            status = int(system.ops.join(system.self, thread, 10**10))
            if status != lib.WRT_OK:
                walks.call.fail_at(0, 0)
                assert system.ops.join(system.self, thread, 10**10) == lib.WRT_OK
            ffi.buffer(thread)[:] = bytes(ffi.sizeof("wrt_thread"))
            return status

        before = threads()
        seen = walks.walk(work, code)
        end = time.monotonic() + 5  # the kernel lists one that has ended for a moment more
        while not threads() <= before:
            assert time.monotonic() < end
            time.sleep(0.001)
        del name
    wrappers = {wrapper for wrapper, _ in seen}
    assert {"wrt__sys_thread_create", "wrt__sys_setaffinity", "wrt__sys_setscheduler"} <= wrappers
    assert {"wrt__sys_setnice", "wrt__sys_thread_set_name", "wrt__sys_thread_join"} <= wrappers
    assert operations(seen) == {b"wrt_linux_thread_start", b"wrt_linux_thread_join"}
    silent = {wrapper for wrapper, failure in seen if failure is None}
    assert silent <= {"wrt__sys_thread_set_name", "wrt__sys_capget"}  # a name is never worth one


@pytest.mark.row("TH-1")
def test_looking_at_a_thread_fails_as_a_whole(walks: Walks) -> None:
    report, used = ffi.new("wrt_thread_report *"), ffi.new("uint64_t *")
    with thread_system(walks) as system:
        for work in (
            lambda: int(system.ops.query(system.self, ffi.NULL, report)),
            lambda: int(system.ops.cpu_time(system.self, ffi.NULL, used)),
            lambda: int(system.ops.set_priority(system.self, lib.WRT_THREAD_PRIORITY_NORMAL)),
            lambda: int(system.ops.set_cpus(system.self, ffi.new("wrt_cpu_set *"))),
        ):
            ffi.buffer(report)[:] = bytes(ffi.sizeof("wrt_thread_report"))
            seen = walks.walk(work, errno.EIO)
            assert seen and all(failure is not None for _, failure in seen)
            assert len(operations(seen)) == 1


@pytest.mark.row("TH-1")
def test_detaching_waiting_and_locks_of_the_system_fail_clearly(walks: Walks) -> None:
    entry = ffi.callback("void(void *)", lambda _: None)
    thread, lock = ffi.new("wrt_thread *"), ffi.new("wrt_system_lock *")
    word = ffi.new("uint32_t *")
    with thread_system(walks) as system:
        config = new("wrt_thread_config", entry=entry)
        assert system.ops.start(system.self, thread, config) == lib.WRT_OK
        seen = walks.walk(lambda: int(system.ops.detach(system.self, thread)), errno.EINVAL)
        assert [wrapper for wrapper, _ in seen] == ["wrt__sys_thread_detach"]

        def wait() -> int:
            return int(system.ops.wait(system.self, word, 0, MS))

        seen = walks.walk(wait, errno.EIO, lib.WRT_ERR_TIMED_OUT)
        assert seen[0][0] == "wrt__sys_futex_wait" and operations(seen)
        walks.call.fail_at(1, errno.EFAULT)
        system.ops.wake(system.self, word, 1)  # it cannot fail: nobody may be told
        walks.reached.add(walks.failed_wrapper())
        walks.call.fail_at(0, 0)
        for name in ("lock_init", "lock", "unlock", "lock_deinit"):
            work = getattr(system.ops, name)
            call_it = lambda work=work: int(work(system.self, lock))  # noqa: E731
            seen = walks.walk(call_it, errno.EINVAL)
            assert len(seen) >= 1 and all(failure is not None for _, failure in seen), name


# ---- Counters, wakes and watches ----


def test_wake_that_fails_is_said_where_it_can_be(walks: Walks) -> None:
    raw, count = ffi.new("wrt_linux_wake *"), ffi.new("uint64_t *")
    call = walks.call

    def life() -> int:
        status = call("wrt_linux_wake_init", raw)
        if status != lib.WRT_OK:
            assert not any(bytes(ffi.buffer(raw)))
            return status
        call("wrt_linux_wake_call", raw)
        status = call("wrt_linux_wake_take", raw, count)
        assert call("wrt_linux_wake_deinit", raw) == lib.WRT_OK
        return status

    seen = walks.walk(life, errno.EIO)
    assert {wrapper: failure is not None for wrapper, failure in seen} == {
        "wrt__sys_eventfd": True,
        "wrt__sys_eventfd_add": False,  # only a full counter refuses, which is readable
        "wrt__sys_eventfd_take": True,
    }


@pytest.mark.row("PE-1")
@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO, errno.EMFILE])
def test_counter_that_fails_anywhere_leaves_nothing(walks: Walks, code: int) -> None:
    event, reading = ffi.new("wrt_perf_event *"), ffi.new("wrt_perf_reading *")
    config = new("wrt_perf_event_config", type=lib.WRT_PERF_TASK_CLOCK)
    call = walks.call
    if call("wrt_perf_event_init", event, config) != lib.WRT_OK:
        pytest.skip("no counters here")
    assert call("wrt_perf_event_deinit", event) == lib.WRT_OK

    def life() -> int:
        status = call("wrt_perf_event_init", event, config)
        if status != lib.WRT_OK:
            assert not any(bytes(ffi.buffer(event)))
            return status
        for name, rest in (("enable", ()), ("reset", ()), ("disable", ()), ("read", (reading,))):
            status = status or call(f"wrt_perf_event_{name}", event, *rest)
        assert call("wrt_perf_event_deinit", event) == lib.WRT_OK
        return status

    seen = walks.walk(life, code)
    wrappers = {wrapper for wrapper, _ in seen}
    assert {"wrt__sys_perf_open", "wrt__sys_perf_control", "wrt__sys_perf_read"} <= wrappers


@pytest.mark.row("CG-2")
@pytest.mark.parametrize("code", [errno.EIO, errno.EINTR])
def test_watch_that_cannot_look_goes_on_later(walks: Walks, tmp_path: Path, code: int) -> None:
    from wrt_platform import EventsBuilder

    raw = make_group(walks, tmp_path)
    (tmp_path / "sys/fs/cgroup/x/memory.pressure").write_text("some total=7\n")
    events = EventsBuilder().build()
    pressure, count = ffi.new("wrt_linux_pressure *"), ffi.new("uint32_t *")
    config = new("wrt_linux_pressure_config", cgroup=raw, events=events._raw)
    assert walks.call("wrt_linux_pressure_init", pressure, config) == lib.WRT_OK

    def collect() -> int:
        return walks.call("wrt_linux_pressure_collect", pressure, 0, count)

    expected = collect()  # an ordinary file may be ready at any time
    seen = walks.walk(collect, code, expected)
    assert seen[0][0] == "wrt__sys_poll"
    assert operations(seen) <= {b"wrt_linux_pressure_collect"}
    if code == errno.EIO:
        assert operations(seen)
    assert walks.call("wrt_linux_pressure_deinit", pressure) == lib.WRT_OK
    assert walks.call("wrt_linux_cgroup_deinit", raw) == lib.WRT_OK


def make_group(walks: Walks, top: Path) -> Any:
    """Files as those of a group."""
    (top / "proc/self").mkdir(parents=True)
    mount = top / "sys/fs/cgroup"
    mount.mkdir(parents=True)
    line = "35 24 0:30 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
    (top / "proc/self/mountinfo").write_text(line)
    (top / "proc/self/cgroup").write_text("0::/\n")
    for name in ("cgroup.procs", "cgroup.controllers", "cgroup.subtree_control"):
        (mount / name).write_text("")
    names = [ffi.new("char[]", word) for word in (b"x", b"/", bytes(top))]
    config = new("wrt_linux_cgroup_config", **dict(zip(("name", "parent", "root"), names)))
    raw = ffi.new("wrt_linux_cgroup *")
    assert walks.call("wrt_linux_cgroup_init", raw, config) == lib.WRT_OK
    (mount / "x/cgroup.events").write_text("populated 0\nfrozen 0\n")
    (mount / "x/cgroup.freeze").write_text("0\n")
    return raw


@pytest.mark.row("CG-2")
def test_thawing_that_fails_anywhere_is_told(walks: Walks, tmp_path: Path) -> None:
    raw = make_group(walks, tmp_path)
    seen = walks.walk(lambda: walks.call("wrt_linux_cgroup_thaw", raw), errno.EACCES)
    assert operations(seen) == {b"wrt_linux_cgroup_thaw"}
    assert all(failure is not None for _, failure in seen)
    assert walks.call("wrt_linux_cgroup_deinit", raw) == lib.WRT_OK


# ---- Programs behind walls ----


def start_program(walks: Walks, path: str, *words: str) -> Any:
    texts = [ffi.new("char[]", word.encode()) for word in (path, *words)]
    arguments = ffi.new("char *[]", [*texts, ffi.NULL])
    config = new("wrt_confined_process_config", executable=texts[0], system_files=True)
    config.arguments = ffi.cast("char const * const *", arguments)
    process = ffi.new("wrt_confined_process *")
    assert walks.call("wrt_confined_process_start", process, config) == lib.WRT_OK
    return process


@pytest.mark.row("SC-5")
def test_program_whose_end_cannot_be_asked_for_never_ended_well(walks: Walks) -> None:
    """The wait fails, or the status is told to be unknown; whatever it is, no child is left."""
    call, result = walks.call, ffi.new("wrt_confined_result *")
    for taken in (False, True):
        for number in range(1, 5):
            process = start_program(walks, "/bin/sleep", "60")
            os.kill(process.process, 9)
            if taken:  # somebody else has the status: the kernel is asked another way
                os.waitpid(process.process, 0)
            call.fail_at(number, errno.EIO)
            status = call("wrt_confined_process_wait", process, 10**10, result)
            call.fail_at(0, 0)
            walks.reached.add(walks.failed_wrapper())
            if status == lib.WRT_OK:
                assert (result.end, result.code) in (
                    (lib.WRT_CONFINED_SIGNALLED, 9),
                    (lib.WRT_CONFINED_UNKNOWN, 0),
                )
            else:
                assert call.last_failure().os_code == errno.EIO
            assert call("wrt_confined_process_deinit", process) == lib.WRT_OK
            with pytest.raises(ChildProcessError):
                os.waitpid(-1, os.WNOHANG)


@pytest.mark.row("SC-5")
def test_program_that_cannot_be_killed_is_still_there(walks: Walks) -> None:
    call, result = walks.call, ffi.new("wrt_confined_result *")
    process = start_program(walks, "/bin/sleep", "60")
    seen = walks.walk(lambda: call("wrt_confined_process_kill", process), errno.EPERM)
    assert [wrapper for wrapper, _ in seen] == ["wrt__sys_signal"]
    assert operations(seen) == {b"wrt_confined_process_kill"}
    assert call("wrt_confined_process_wait", process, 10**10, result) == lib.WRT_OK
    assert result.end == lib.WRT_CONFINED_KILLED
    assert call("wrt_confined_process_deinit", process) == lib.WRT_OK


@pytest.mark.row("SC-2")
def test_try_of_namespaces_that_cannot_be_made_or_heard_is_said(walks: Walks) -> None:
    possible = ffi.new("wrt_enforcement *")

    def probe() -> int:
        status = walks.call("wrt_namespace_probe", lib.WRT_NAMESPACE_UTS, possible)
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)
        return status

    seen = walks.walk(probe, errno.EAGAIN)
    assert [wrapper for wrapper, _ in seen] == ["wrt__sys_fork_child", "wrt__sys_wait_exit"]
    assert operations(seen) == {b"wrt_namespace_probe"}


@pytest.mark.row("LM-3")
def test_huge_pages_that_cannot_be_asked_for_are_no_failure(walks: Walks) -> None:
    """What the files do not say is not granted, and no more than that."""
    raw = ffi.new("wrt_linux_allocator *")
    config = new("wrt_linux_allocator_config", maximum_pages=1)
    assert walks.call("wrt_linux_allocator_init", raw, config) == lib.WRT_OK
    seen = walks.walk(
        lambda: walks.call("wrt_linux_allocator_set_thp_mode", raw, lib.WRT_LINUX_THP_ALWAYS),
        errno.EINVAL,
    )
    assert all(failure is None for _, failure in seen)
    assert walks.call("wrt_linux_allocator_deinit", raw) == lib.WRT_OK


# ---- The account ----

ELSEWHERE = {
    "test_failures.py": "mmap munmap mprotect madvise mlock name memfd",
    "test_slot_pool_failures.py": "memfd_sealable add_seals mmap_at pwrite mbind limit_of",
    "io_uring/test_io_uring_failures.py": "io_uring_setup io_uring_enter io_uring_register "
    "io_uring_map read_now write_now fsync fdatasync status_flags",
    "test_lazy_memory_failures.py": "userfault userfault_control page_scan",
    "test_mte.py": "mte_get mte_set mte_mmap",
    "test_cgroups.py": "mkdir rmdir may_write pipe clone_into",
    "test_cgroups_kill.py": "next_folder kill",
    "test_security_failures.py": "capget capset chdir fstat landlock_add landlock_create "
    "landlock_restrict loopback_up mount open pivot_root prctl read seccomp unmount unshare "
    "change_user close_from duplicate_above duplicate_to execute limit open_at start",
}
WITHOUT = {
    "close": "it closes, whatever it says: nobody asks",
    "reset_signals": "it cannot fail for a signal that there is",
    "perf_paranoid": "for the words of an error alone; without the file it says that it is unknown",
    "fork": "only behind a failing clone_into, and an order lets one call fail",
    "userfault_device": "only behind a refused userfault, and an order lets one call fail",
    "home_node": "its failure is that of an old kernel, a partial wall: test_environments.py",
}
OF_THE_SWITCH = {"fail_at", "call_count", "fails", "failed_at"}


def test_every_wrapper_was_made_to_fail(walks: Walks) -> None:
    if len(walks.reached) < 40:
        pytest.skip("the walks before this one were left out")
    wrappers = set()
    for header in sorted(ROOT.glob("c/src/linux/sys*.h")):
        wrappers |= set(re.findall(r"wrt__sys_(\w+)\(", header.read_text()))
    listed = {name for names in ELSEWHERE.values() for name in names.split()} | WITHOUT.keys()
    reached = {name.removeprefix("wrt__sys_") for name in walks.reached}
    assert wrappers - OF_THE_SWITCH - reached - listed == set()
    assert listed - wrappers == set()
    for file in ELSEWHERE:
        assert "fail_at" in (ROOT / "tests/linux" / file).read_text()
