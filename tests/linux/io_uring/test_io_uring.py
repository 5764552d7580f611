"""Rings over the kernel's io_uring and over threads: both bring what pread brings, and never wait
for what can't come. What the kernel says in /proc is the judge of which of the two it is."""

from __future__ import annotations

import errno
import os
import random
import re
import select
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from rings import KERNEL, SIZE, Make, descriptors, refused, run_all, threads_of_process
from wrt_platform import IoUring, IoUringBuilder
from wrt_platform._native import ffi, lib
from wrt_platform.enforcement import EnforcementState
from wrt_platform.errors import (
    BusyError,
    InvalidArgumentError,
    NotFoundError,
    StateError,
    TimedOutError,
    UnsupportedError,
)
from wrt_platform.linux.io_uring import (
    FILE_POSITION,
    Completion,
    IoUringOperation,
    IoUringRequest,
    probe_io_uring,
)

read, write = IoUringRequest.read, IoUringRequest.write

pytestmark = pytest.mark.row("IU-1")


# ---- Which one it is ----


def test_availability_is_what_the_system_call_says() -> None:
    found = probe_io_uring()
    assert IoUring.is_available() == (refused() == "")
    assert (found.state is EnforcementState.ENFORCED) == (refused() == "")


def test_the_kernels_ring_is_one_and_the_threads_are_not(make: Make, backend: Any) -> None:
    before, tasks = descriptors(), threads_of_process()
    ring = make(entries=8)
    report = ring.report
    new = {name: link for name, link in descriptors().items() if name not in before}
    started = {number: name for number, name in threads_of_process().items() if number not in tasks}
    assert report.backend is backend
    if backend is KERNEL:
        assert new == {str(report.descriptor): "anon_inode:[io_uring]"}
        assert "SqThread:\t-1" in Path(f"/proc/self/fdinfo/{report.descriptor}").read_text()
        assert started == {}
        assert report.kernel.state is EnforcementState.ENFORCED
    else:
        assert list(new.values()) == ["anon_inode:[eventfd]"]
        assert report.descriptor == -1
        assert list(started.values()) == ["wrt-io"] * 2
        assert report.kernel.state is EnforcementState.NOT_ASKED
    assert report.sq_thread.state is EnforcementState.NOT_ASKED
    assert report.operations == frozenset(IoUringOperation)
    ring.close()
    assert descriptors() == before
    assert threads_of_process().keys() <= tasks.keys()


@pytest.mark.whole_process
def test_the_sq_thread_stays_on_its_cpu(kernel_only: None, path: Path, content: bytes) -> None:
    cpu = max(os.sched_getaffinity(0))
    tasks = threads_of_process()
    builder = IoUringBuilder().with_backend(KERNEL).with_sq_thread().with_sq_thread_cpu(cpu)
    ring = builder.with_sq_idle(0.03).build()
    assert ring.report.sq_thread.state is EnforcementState.ENFORCED
    about = Path(f"/proc/self/fdinfo/{ring.report.descriptor}").read_text()
    said = int(re.findall(r"^SqThread:\t(\d+)$", about, re.M)[0])
    started = {task: name for task, name in threads_of_process().items() if task not in tasks}
    (number,) = started
    assert said in (number, threading.get_native_id())  # newer kernels name who made it
    name = Path(f"/proc/self/task/{number}/comm")
    while name.read_text() != f"iou-sqp-{os.getpid()}\n":  # it names itself when it first runs
        time.sleep(0.01)
    assert re.findall(r"^SqThreadCpu:\t(\d+)$", about, re.M) == [str(cpu)]
    status = Path(f"/proc/self/task/{number}/status").read_text()
    assert re.findall(r"^Cpus_allowed_list:\t(.*)$", status, re.M) == [str(cpu)]
    with path.open("rb") as file:
        for pause in (0, 0.1, 0.3):  # awake, and asleep: it is woken again
            time.sleep(pause)
            ring.submit_read(file, 5000, 7)
            assert bytes(ring.wait_completion(10).data) == content[7:5007]
    ring.close()
    end = time.monotonic() + 20
    while number in threads_of_process():  # the kernel takes a ring apart behind our back
        assert time.monotonic() < end
        time.sleep(0.01)


def test_the_sq_thread_takes_more_than_its_queue_holds(
    kernel_only: None, path: Path, content: bytes
) -> None:
    builder = IoUringBuilder().with_backend(KERNEL).with_sq_thread().with_sq_idle(0.001)
    ring = builder.with_entries(2).with_cq_size(4).build()
    with path.open("rb") as file:
        done = run_all(ring, [read(file, 16, at * 16, at) for at in range(500)])
    assert sorted(each.user_data for each in done) == list(range(500))
    assert all(bytes(c.data) == content[c.user_data * 16 :][:16] for c in done)
    ring.close()


def test_a_sleeping_sq_thread_is_woken_by_the_submission(
    kernel_only: None, pipe: tuple[int, int]
) -> None:
    ring = IoUringBuilder().with_backend(KERNEL).with_sq_thread().with_sq_idle(0.001).build()
    time.sleep(0.2)
    ring.submit_write(pipe[1], b"x")
    assert select.select([pipe[0]], [], [], 10)[0] == [pipe[0]]  # nobody waits for it
    assert ring.wait_completion(10).result == 1
    ring.close()


def test_a_cpu_that_is_not_there_is_named(kernel_only: None) -> None:
    builder = IoUringBuilder().with_backend(KERNEL).with_sq_thread().with_sq_thread_cpu(1023)
    with pytest.raises(InvalidArgumentError, match="no CPU 1023"):
        builder.build()


def test_sizes_are_rounded_up(make: Make) -> None:
    report = make(entries=5, cq_size=100).report
    assert (report.entries, report.cq_size) == (8, 128)
    report = make().report
    assert (report.entries, report.cq_size) == (128, 256)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"entries": 1}, "entries is 1, a ring has 2 to 32768"),
        ({"entries": 32769}, "entries is 32769"),
        ({"entries": 64, "cq_size": 63}, "cq_size is 63, not from entries"),
        ({"cq_size": 65537}, "cq_size is 65537"),
        ({"thread_count": 17}, "thread_count is 17, at most 16"),
        ({"backend": 3}, "backend 3"),
        ({"sq_thread_cpu": 0}, "without sq_thread"),
        ({"sq_idle": 1}, "without sq_thread"),
    ],
)
def test_a_broken_rule_is_named(settings: dict[str, Any], words: str) -> None:
    builder = IoUringBuilder()
    for name, value in settings.items():
        getattr(builder, f"with_{name}")(value)
    with pytest.raises(InvalidArgumentError, match=words):
        builder.build()


# ---- What it does ----


def test_reads_equal_pread_anywhere(make: Make, path: Path) -> None:
    chance = random.Random(11)
    places = [(chance.randrange(SIZE + 5000), chance.randrange(9000)) for _ in range(300)]
    places += [(0, 0), (SIZE, 10), (SIZE - 1, 10), (SIZE + 1, 1), (2**62, 100)]
    ring = make(entries=16)
    with path.open("rb") as file:
        wanted = [read(file, bytearray(b"\xee" * size), at, (at, size)) for at, size in places]
        done = run_all(ring, wanted)
        assert sorted(each.user_data for each in done) == sorted(places)
        for each in done:
            at, size = each.user_data
            expected = os.pread(file.fileno(), size, at)
            assert each.result == len(expected)
            assert bytes(each.buffer) == expected + b"\xee" * (size - len(expected))


def test_writes_and_syncs_are_in_the_file(make: Make, tmp_path: Path) -> None:
    chance = random.Random(3)
    parts = [(at * 1000, chance.randbytes(1000)) for at in range(200)]
    chance.shuffle(parts)
    ring = make(entries=16)
    with (tmp_path / "written").open("wb+") as file:
        done = run_all(ring, [write(file, data, at, at) for at, data in parts])
        assert {each.result for each in done} == {1000}
        ring.submit_fsync(file, "all")
        ring.submit_fsync(file, "data", data_only=True)
        synced = run_all(ring, [])
        assert {(each.user_data, each.result) for each in synced} == {("all", 0), ("data", 0)}
        expected = b"".join(data for _, data in sorted(parts))
        assert os.pread(file.fileno(), 300_000, 0) == expected


def test_the_files_own_position_moves(make: Make, path: Path, content: bytes) -> None:
    ring = make()
    with path.open("rb", buffering=0) as file:
        file.seek(5)
        for at in (5, 105):
            ring.submit_read(file, 100, FILE_POSITION)
            assert bytes(ring.wait_completion(10).data) == content[at : at + 100]
        assert file.tell() == 205


def test_a_short_read_of_a_file_with_more_is_taken_up_again(make: Make) -> None:
    """The kernel's own listings come a page or so at a time."""
    with open("/proc/kallsyms", "rb", buffering=0) as file:
        size = 65536
        assert 0 < len(os.pread(file.fileno(), size, 0)) < size
        expected = b""
        while len(expected) < size:
            expected += os.pread(file.fileno(), size - len(expected), len(expected))
        ring = make()
        ring.submit_read(file, size)
        completion = ring.wait_completion(10)
        assert completion.result == size
        assert bytes(completion.data) == expected


def test_a_pipe_gives_what_it_has(make: Make, pipe: tuple[int, int]) -> None:
    ring = make()
    ring.submit_read(pipe[0], 100, 0, "early")
    with pytest.raises(TimedOutError):
        ring.wait_completion(0.05)
    os.write(pipe[1], b"four")
    completion = ring.wait_completion(10)
    assert (completion.user_data, bytes(completion.data)) == ("early", b"four")
    ring.submit_write(pipe[1], b"back", 0)
    assert ring.wait_completion(10).result == 4
    assert os.read(pipe[0], 10) == b"back"
    os.close(pipe[1])
    ring.submit_read(pipe[0], 100)
    assert ring.wait_completion(10).result == 0


def test_a_waiting_read_does_not_keep_others_out(make: Make, path: Path, content: bytes) -> None:
    ring = make(thread_count=1)
    pairs = [socket.socketpair() for _ in range(6)]
    for place, (left, _) in enumerate(pairs):
        ring.submit_read(left, 10, 0, place)
    with path.open("rb") as file:
        ring.submit_read(file, 10, 0, "file")
        assert bytes(ring.wait_completion(10).data) == content[:10]
    for place in (4, 1):
        pairs[place][1].send(b"x")
        assert ring.wait_completion(10).user_data == place
    ring.close()
    for left, right in pairs:
        left.close()
        right.close()


def test_a_descriptor_that_does_not_block_is_waited_for_all_the_same(
    make: Make, pipe: tuple[int, int]
) -> None:
    os.set_blocking(pipe[0], False)
    ring = make()
    ring.submit_read(pipe[0], 10)
    with pytest.raises(TimedOutError):
        ring.wait_completion(0.1)
    os.write(pipe[1], b"now")
    assert ring.wait_completion(10).result == 3


@pytest.mark.parametrize(
    ("flags", "code"), [(os.O_WRONLY, errno.EBADF), (os.O_RDONLY | os.O_DIRECTORY, errno.EISDIR)]
)
def test_an_error_of_the_request_is_its_result(
    make: Make, tmp_path: Path, flags: int, code: int
) -> None:
    place = tmp_path if flags & os.O_DIRECTORY else tmp_path / "file"
    descriptor = os.open(place, flags | (0 if flags & os.O_DIRECTORY else os.O_CREAT))
    ring = make()
    ring.submit_read(descriptor, 10)
    completion = ring.wait_completion(10)
    assert completion.result == -code
    assert completion.error is not None and completion.error.errno == code
    with pytest.raises(OSError, match=os.strerror(code)):
        completion.data  # noqa: B018
    os.close(descriptor)
    ring.submit_read(descriptor, 10)
    assert ring.wait_completion(10).result == -errno.EBADF


# ---- Batches and room ----


def test_a_batch_larger_than_the_ring_is_taken_in_part(make: Make, path: Path) -> None:
    ring = make(entries=4, cq_size=16)
    with path.open("rb") as file:
        batch = [read(file, 100, at, at) for at in range(50)]
        assert ring.submit(batch) == 16
        assert ring.report.under_way == 16
        time.sleep(0.05)  # all are done now, and lie there
        with pytest.raises(BusyError, match="16 requests are under way"):
            ring.submit(batch[16:])
        assert len(ring.wait(16, 16, timeout=10)) == 16
        with pytest.raises(StateError, match="nothing is under way"):
            ring.wait_completion(10)
        assert sorted(c.user_data for c in run_all(ring, batch[16:])) == list(range(16, 50))


def test_completions_beyond_the_queue_are_not_lost(make: Make) -> None:
    """Cancels have completions of their own, so the kernel's queue of them runs over."""
    pairs = [os.pipe() for _ in range(4)]
    ring = make(entries=2, cq_size=4)
    assert ring.submit([read(left, 8, 0, place) for place, (left, _) in enumerate(pairs)]) == 4
    for place in range(4):
        ring.cancel(place)
    taken: list[Completion] = []
    end = time.monotonic() + 20
    while len(taken) < 4 and time.monotonic() < end:
        taken += ring.wait(0, 1)  # a look alone fetches what the kernel has kept
    assert sorted((c.user_data, c.result) for c in taken) == [
        (place, -errno.ECANCELED) for place in range(4)
    ]
    assert ring.report.under_way == 0
    for ends in pairs:
        for end in ends:
            os.close(end)


def test_a_look_takes_what_is_there_and_does_not_wait(
    make: Make, path: Path, pipe: tuple[int, int]
) -> None:
    ring = make()
    ring.submit_read(pipe[0], 10)
    begin = time.monotonic()
    assert ring.wait(0) == []
    assert time.monotonic() - begin < 1
    os.write(pipe[1], b"x")
    found: list[Completion] = []
    while not found and time.monotonic() - begin < 20:
        found = ring.wait(0)
    assert [c.result for c in found] == [1]


def test_wait_takes_all_if_they_are_fewer(make: Make, path: Path) -> None:
    ring = make()
    with path.open("rb") as file:
        ring.submit([read(file, 10, at) for at in range(3)])
        assert len(ring.wait(50, timeout=20)) == 3


def test_with_a_limit_there_may_be_fewer(make: Make, path: Path, pipe: tuple[int, int]) -> None:
    ring = make()
    with path.open("rb") as file:
        ring.submit([read(pipe[0], 10, 0, "never"), read(file, 10, 0, "now")])
        begin = time.monotonic()
        assert [c.user_data for c in ring.wait(2, timeout=0.2)] == ["now"]
        assert 0.19 < time.monotonic() - begin < 10


def test_nothing_is_waited_for_that_can_not_come(make: Make) -> None:
    ring = make()
    begin = time.monotonic()
    with pytest.raises(StateError, match="nothing is under way"):
        ring.wait_completion()
    assert time.monotonic() - begin < 5


# ---- Ending what waits ----


def test_a_read_that_never_comes_is_cancelled(make: Make, pipe: tuple[int, int]) -> None:
    ring = make()
    for name in ("one", "two", "two"):
        ring.submit_read(pipe[0], 10, 0, name)
    ring.cancel("two")
    done = ring.wait(2, timeout=10)
    assert [(c.user_data, c.result) for c in done] == [("two", -errno.ECANCELED)] * 2
    with pytest.raises(NotFoundError):
        ring.cancel("two")
    os.write(pipe[1], b"to the other")
    assert bytes(ring.wait_completion(10).data) == b"to the oth"


def test_a_read_that_never_comes_times_out(make: Make, pipe: tuple[int, int]) -> None:
    ring = make()
    begin = time.monotonic()
    ring.submit([read(pipe[0], 10, 0, "late", timeout=0.1), read(pipe[0], 10, 0, "never")])
    completion = ring.wait_completion(20)
    assert (completion.user_data, completion.result) == ("late", -errno.ETIME)
    assert 0.09 < time.monotonic() - begin < 10
    ring.submit([read(pipe[0], 10, 0, "in time", timeout=30)])
    ring.cancel("never")
    assert ring.wait_completion(10).user_data == "never"
    os.write(pipe[1], b"here")
    completion = ring.wait_completion(10)
    assert (completion.user_data, bytes(completion.data)) == ("in time", b"here")
    assert ring.report.under_way == 0


def test_many_time_outs_fill_the_ring_twice_as_fast(make: Make, pipe: tuple[int, int]) -> None:
    ring = make(entries=8, cq_size=16)
    batch = [read(pipe[0], 10, 0, at, timeout=0.05) for at in range(16)]
    done = run_all(ring, batch)
    assert sorted(c.user_data for c in done) == list(range(16))
    assert {c.result for c in done} == {-errno.ETIME}


# ---- The C contract ----


def raw_request(**fields: Any) -> Any:
    return ffi.new("wrt_io_uring_request *", fields)


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({"operation": 0}, lib.WRT_ERR_INVALID_ARGUMENT, "operation 0"),
        ({"operation": 7}, lib.WRT_ERR_INVALID_ARGUMENT, "operation 7"),
        ({"operation": 1, "size": 1}, lib.WRT_ERR_INVALID_ARGUMENT, "buffer is NULL"),
        ({"operation": 5, "size": 1}, lib.WRT_ERR_INVALID_ARGUMENT, "an FSYNC takes no buffer"),
        ({"operation": 1, "size": 2**31}, lib.WRT_ERR_INVALID_ARGUMENT, "more than 2147479552"),
        ({"operation": 1, "buffer_index": 1}, lib.WRT_ERR_INVALID_ARGUMENT, "buffer_index"),
        ({"operation": 3}, lib.WRT_ERR_INVALID_ARGUMENT, "not in the registered buffer"),
        ({"operation": 1, "reserved": 1}, lib.WRT_ERR_UNSUPPORTED, "a reserved field"),
    ],
)
def test_a_request_with_a_broken_rule_hands_nothing_in(
    make: Make, path: Path, fields: dict[str, Any], status: int, words: str
) -> None:
    ring = make()
    with path.open("rb") as file:
        raws = ffi.new("wrt_io_uring_request[2]")
        raws[0].operation, raws[0].descriptor = lib.WRT_IO_URING_READ, file.fileno()
        raws[1] = raw_request(**fields)[0]
        accepted = ffi.new("uint32_t *", 9)
        assert lib.wrt_io_uring_submit(ring._raw, raws, 2, accepted) == status
        assert accepted[0] == 0
        reason = ffi.string(lib.wrt_error_last().reason).decode()
        assert words in reason.replace("{1}", str(fields["operation"]))
        assert lib.wrt_error_last().detail[0] == 1
    assert ring.report.under_way == 0


def test_a_reserved_byte_of_the_config_is_refused() -> None:
    builder = IoUringBuilder()
    builder._config.reserved[0] = 1
    with pytest.raises(UnsupportedError, match="reserved"):
        builder.build()


def test_a_moved_ring_is_refused(make: Make) -> None:
    ring = make()
    copy = ffi.new("wrt_io_uring *", ring._raw[0])
    assert lib.wrt_io_uring_deinit(copy) == lib.WRT_ERR_STATE
    assert lib.wrt_io_uring_deinit(ffi.new("wrt_io_uring *")) == lib.WRT_OK
    assert ring.report.under_way == 0


def test_backends_have_names() -> None:
    names = [ffi.string(lib.wrt_io_uring_backend_name(number)) for number in (1, 2, 3)]
    assert names == [b"kernel", b"threads", b"unknown"]


def test_the_ring_can_be_polled(kernel_only: None, path: Path, pipe: tuple[int, int]) -> None:
    ring = IoUringBuilder().with_backend(KERNEL).build()
    ring.submit_read(pipe[0], 10)
    assert select.select([ring.report.descriptor], [], [], 0)[0] == []
    os.write(pipe[1], b"x")
    assert select.select([ring.report.descriptor], [], [], 10)[0] == [ring.report.descriptor]
    ring.close()
