"""Counters: the kernel's own against what it says elsewhere; groups; scaling; what is not there."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import resource
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from visible_library import compile_visible
from wrt_platform._native import ffi, lib
from wrt_platform.errors import (
    InvalidArgumentError,
    LimitError,
    PermissionDeniedError,
    StateError,
    UnsupportedError,
    WrtError,
)
from wrt_platform.linux.perf import (
    PerfCounter,
    PerfEvent,
    PerfEventBuilder,
    PerfProfileBuilder,
    PerfReading,
    PerfState,
    profile,
)

pytestmark = pytest.mark.row("PE-1")

HARDWARE = list(PerfCounter)[:6]
SOFTWARE = list(PerfCounter)[6:12]


def event(counter: PerfCounter, **settings: Any) -> PerfEvent:
    builder = PerfEventBuilder().with_type(counter)
    for name, value in settings.items():
        getattr(builder, f"with_{name}")(value)
    return builder.build()


def has_hardware() -> bool:
    try:
        event(PerfCounter.INSTRUCTIONS).close()
    except UnsupportedError:
        return False
    return True


def burn(seconds: float) -> None:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def touch(pages: int) -> None:
    area = mmap.mmap(-1, pages * mmap.PAGESIZE)
    area.madvise(mmap.MADV_NOHUGEPAGE)
    for page in range(pages):
        area[page * mmap.PAGESIZE] = 1
    area.close()


def in_child(work: Callable[[], None]) -> int:
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException:  # the parent asserts on the code
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_task_clock_is_the_threads_cpu_time() -> None:
    """The sleep does not count. What the processor did for others meanwhile (interrupts, its host)
    the two count in different ways; but on it the thread was not longer than it was awake."""
    counter = event(PerfCounter.TASK_CLOCK)
    began, before = time.monotonic_ns(), time.thread_time_ns()
    counter.enable()
    burn(0.05)
    time.sleep(0.05)
    counter.disable()
    spent = time.thread_time_ns() - before
    awake = time.monotonic_ns() - began - 50_000_000
    reading = counter.read()
    assert reading.state is PerfState.EXACT
    assert 0.9 * spent <= reading.value <= awake
    burn(0.01)
    assert counter.read().value == reading.value  # not enabled
    assert counter.name == "task-clock"


def test_page_faults_are_those_of_getrusage() -> None:
    """Of the process, whose other threads do nothing here."""
    counter = event(PerfCounter.PAGE_FAULTS)
    minor = event(PerfCounter.MINOR_FAULTS)
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
    with counter, minor:
        touch(300)
    faults = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before
    assert 300 <= counter.read().value <= faults
    assert minor.read().value == counter.read().value
    assert event(PerfCounter.MAJOR_FAULTS).read().value == 0


def test_context_switches_are_those_of_the_status_file() -> None:
    def switches() -> int:
        text = Path("/proc/thread-self/status").read_text()
        return sum(int(line.split()[1]) for line in text.splitlines() if "ctxt_switches" in line)

    counter = event(PerfCounter.CONTEXT_SWITCHES, include_kernel=True)
    before = switches()
    with counter:
        for _ in range(20):
            time.sleep(0.001)
    assert 20 <= counter.read().value <= switches() - before


def test_threads_made_later_count_where_asked() -> None:
    readings = []
    for inherit in (False, True):
        counter = event(PerfCounter.TASK_CLOCK, inherit=inherit)
        with counter:
            thread = threading.Thread(target=burn, args=[0.05])
            thread.start()
            thread.join()
        readings.append(counter.read().value)
        assert counter.read().state is PerfState.EXACT
    assert readings[0] < 40_000_000 < 49_000_000 < readings[1]


def test_group_is_read_at_one_moment_in_the_order_in_which_it_was_made() -> None:
    leader = event(PerfCounter.TASK_CLOCK)
    members = [
        event(counter, leader=leader)
        for counter in (PerfCounter.PAGE_FAULTS, PerfCounter.MINOR_FAULTS)
    ]
    with leader:
        touch(50)
    clock, faults, minor = leader.read_group()
    assert clock.value > 10_000
    assert faults.value >= 50
    assert minor == members[1].read()
    assert faults == members[0].read()
    assert clock == leader.read()
    assert len({(it.enabled_ns, it.running_ns) for it in (clock, faults, minor)}) == 1
    leader.reset()
    assert [it.value for it in leader.read_group()] == [0, 0, 0]
    with pytest.raises(InvalidArgumentError, match="leads no group"):
        members[0].read_group()
    with pytest.raises(StateError, match="leads 2 others"):
        leader.close()
    for member in members:
        member.close()
    leader.close()


def test_group_has_bounds() -> None:
    leader = event(PerfCounter.TASK_CLOCK)
    members = [event(PerfCounter.PAGE_FAULTS, leader=leader) for _ in range(15)]
    with pytest.raises(LimitError, match="at most 16"):
        event(PerfCounter.PAGE_FAULTS, leader=leader)
    assert len(leader.read_group()) == 16
    readings, count = ffi.new("wrt_perf_reading[16]"), ffi.new("uint32_t *")
    assert (
        lib.wrt_perf_event_read_group(leader._raw, readings, 15, count)
        == lib.WRT_ERR_INVALID_ARGUMENT
    )
    with pytest.raises(InvalidArgumentError, match="itself a member"):
        event(PerfCounter.PAGE_FAULTS, leader=members[0])
    with pytest.raises(UnsupportedError, match="inherited"):
        event(PerfCounter.PAGE_FAULTS, leader=leader, inherit=True)


def test_count_of_a_part_of_the_time_is_scaled_and_says_so() -> None:
    assert PerfReading.scaled(100, 1000, 1000) == (100, 100, 1000, 1000, PerfState.EXACT)
    assert PerfReading.scaled(100, 1000, 250) == (400, 100, 1000, 250, PerfState.SCALED)
    assert PerfReading.scaled(0, 1000, 250) == (0, 0, 1000, 250, PerfState.SCALED)
    assert PerfReading.scaled(100, 1000, 0) == (0, 100, 1000, 0, PerfState.NOT_COUNTED)
    assert PerfReading.scaled(0, 0, 0).state is PerfState.NOT_COUNTED
    assert PerfReading.scaled(2**63, 2**40, 2**20).value == 2**64 - 1
    assert str(PerfReading.scaled(100, 1000, 250)) == "400 (scaled: counted 25% of the time)"
    assert str(PerfReading.scaled(100, 1000, 0)) == "not counted"
    assert lib.wrt_perf_scale(1, 1, 1, ffi.NULL) == lib.WRT_ERR_INVALID_ARGUMENT


def test_what_was_never_enabled_is_not_counted_instead_of_zero() -> None:
    reading = event(PerfCounter.TASK_CLOCK).read()
    assert (reading.value, reading.state) == (0, PerfState.NOT_COUNTED)


@pytest.mark.skipif(has_hardware(), reason="this machine has a PMU")
@pytest.mark.parametrize("counter", HARDWARE)
def test_counter_that_the_machine_lacks_says_so(counter: PerfCounter) -> None:
    with pytest.raises(UnsupportedError, match="virtual machine without a PMU") as caught:
        event(counter)
    assert caught.value.os_code == errno.ENOENT


@pytest.mark.skipif(not has_hardware(), reason="hardware half unproven: this machine has no PMU")
def test_instructions_of_a_loop_are_counted() -> None:
    counter = event(PerfCounter.INSTRUCTIONS)
    with counter:
        burn(0.02)
    assert counter.read().value > 1_000_000


def test_profile_has_a_row_for_each_counter_and_the_calls_value() -> None:
    def work(pages: int) -> int:
        burn(0.02)
        touch(pages)
        return pages

    found = profile(work, 64)
    assert found.value == 64
    assert [row.counter for row in found] == HARDWARE + SOFTWARE
    assert found["page-faults"].value >= 64
    assert found[PerfCounter.TASK_CLOCK].value >= 20_000_000
    for row in found:
        assert (row.reading is None) == bool(row.reason)
    assert all(found[counter].state is PerfState.EXACT for counter in SOFTWARE)
    if not has_hardware():
        assert found.instructions_per_cycle is None
        with pytest.raises(KeyError, match="ENOENT"):
            found["instructions"]
    assert "task-clock" in str(found)
    assert "<td>task-clock</td>" in found._repr_html_()


def test_profile_counts_the_calls_threads_unless_told_otherwise() -> None:
    def work() -> None:
        thread = threading.Thread(target=burn, args=[0.05])
        thread.start()
        thread.join()

    assert profile(work)["task-clock"].value > 49_000_000
    own = PerfProfileBuilder().with_inherit(False).run(work)
    assert own["task-clock"].value < 40_000_000


def test_profile_closes_what_it_opened_when_the_call_raises() -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(ZeroDivisionError):
        profile(lambda: 1 // 0)
    assert len(os.listdir("/proc/self/fd")) == before


def test_instructions_by_cycles_need_both() -> None:
    rows, ratio = ffi.new("wrt_perf_row[2]"), ffi.new("double *")
    rows[0].counter, rows[1].counter = PerfCounter.CPU_CYCLES, PerfCounter.INSTRUCTIONS
    for row, value in zip(rows, (200, 500)):
        row.reading.value, row.reading.state = value, PerfState.EXACT
    assert lib.wrt_perf_instructions_per_cycle(rows, 2, ratio) == lib.WRT_OK
    assert ratio[0] == 2.5
    assert lib.wrt_perf_instructions_per_cycle(rows, 1, ratio) == lib.WRT_ERR_UNSUPPORTED
    rows[0].reading.value = 0  # no cycles: no division by zero
    assert lib.wrt_perf_instructions_per_cycle(rows, 2, ratio) == lib.WRT_ERR_UNSUPPORTED
    rows[0].reading.value, rows[0].reading.state = 200, PerfState.NOT_COUNTED
    assert lib.wrt_perf_instructions_per_cycle(rows, 2, ratio) == lib.WRT_ERR_UNSUPPORTED


def test_profile_is_started_and_stopped_once() -> None:
    raw, rows = ffi.new("wrt_perf_profile *"), ffi.new("wrt_perf_row[]", lib.WRT_PERF_ROWS)
    config = ffi.new("wrt_perf_profile_config *", {"struct_size": 8})
    assert lib.wrt_perf_profile_stop(raw, rows) == lib.WRT_ERR_STATE
    assert lib.wrt_perf_profile_start(raw, config) == lib.WRT_OK
    assert lib.wrt_perf_profile_start(raw, config) == lib.WRT_ERR_STATE
    assert lib.wrt_perf_profile_stop(raw, rows) == lib.WRT_OK
    assert lib.wrt_perf_profile_stop(raw, rows) == lib.WRT_ERR_STATE
    assert bytes(ffi.buffer(raw)) == bytes(ffi.sizeof("wrt_perf_profile"))
    config.reserved[0] = 1
    assert lib.wrt_perf_profile_start(raw, config) == lib.WRT_ERR_UNSUPPORTED


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"type": 0}, InvalidArgumentError),
        ({"type": 14}, InvalidArgumentError),
        ({"type": 7, "config": 1}, InvalidArgumentError),
        ({"type": 7, "reserved": [0, 0, 0, 0, 0, 1]}, UnsupportedError),
        ({"type": 7, "struct_size": 0}, InvalidArgumentError),
    ],
)
def test_config_out_of_bounds_is_refused(fields: dict[str, Any], error: type[WrtError]) -> None:
    size = ffi.sizeof("wrt_perf_event_config")
    config = ffi.new("wrt_perf_event_config *", {"struct_size": size, **fields})
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(error):
        PerfEvent(config, None)
    assert len(os.listdir("/proc/self/fd")) == before


def test_event_stays_where_it_is_and_ends_once() -> None:
    made = event(PerfCounter.TASK_CLOCK)
    moved = ffi.new("wrt_perf_event *", made._raw[0])
    assert lib.wrt_perf_event_enable(moved) == lib.WRT_ERR_STATE
    descriptor = made._raw.descriptor
    os.fstat(descriptor)
    made.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
    made.close()
    with pytest.raises(StateError):
        made.read()


def test_forked_child_is_refused() -> None:
    made = event(PerfCounter.TASK_CLOCK)

    def use() -> None:
        with pytest.raises(StateError, match="belongs to the process that forked"):
            made.enable()

    assert in_child(use) == 0


def test_user_without_rights_is_told_what_is_in_the_way() -> None:
    if int(Path("/proc/sys/kernel/perf_event_paranoid").read_text()) < 2:
        pytest.skip("kernel.perf_event_paranoid lets users count the kernel's part here")

    def use() -> None:
        os.setresuid(65534, 65534, 65534)
        event(PerfCounter.TASK_CLOCK).close()  # its own part it may count
        with pytest.raises(PermissionDeniedError, match=r"perf_event_paranoid is 2.*CAP_PERFMON"):
            event(PerfCounter.TASK_CLOCK, include_kernel=True)

    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    assert in_child(use) == 0


def test_each_system_call_that_fails_leaves_nothing_open(visible: ctypes.CDLL) -> None:
    """The n-th call of a start, of a stop; descriptors are counted by the kernel."""
    config = ffi.new("wrt_perf_profile_config *", {"struct_size": 8})
    raw, rows = ffi.new("wrt_perf_profile *"), ffi.new("wrt_perf_row[]", lib.WRT_PERF_ROWS)

    def address(thing: Any) -> ctypes.c_void_p:
        return ctypes.c_void_p(int(ffi.cast("uintptr_t", thing)))

    before = len(os.listdir("/proc/self/fd"))
    statuses = []
    for call in range(1, 80):
        visible.wrt__sys_fail_at(call, errno.EMFILE)
        started = visible.wrt_perf_profile_start(address(raw), address(config))
        stopped = lib.WRT_OK
        if started == lib.WRT_OK:
            stopped = visible.wrt_perf_profile_stop(address(raw), address(rows))
        visible.wrt__sys_fail_at(0, 0)
        statuses.append(started or stopped)
        assert len(os.listdir("/proc/self/fd")) == before, call
        assert bytes(ffi.buffer(raw)) == bytes(ffi.sizeof("wrt_perf_profile"))
    assert lib.WRT_ERR_SYSTEM in statuses
    assert statuses[-1] == lib.WRT_OK  # it makes fewer


@pytest.fixture(scope="module")
def visible(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The library with its order that lets the n-th system call fail."""
    names = ("wrt__sys_*", "wrt_perf_*")
    return ctypes.CDLL(str(compile_visible(tmp_path_factory.mktemp("perf"), names)))
