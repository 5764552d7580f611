"""Each system call of a ring fails once: nothing stays behind, no ring is half made, the error
names the call, and what was under way comes to its end all the same. What the sources say of the
kernel's interface is compared with the kernel's own header.
"""

from __future__ import annotations

import errno
import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from common import ROOT, run
from failing_calls import Library, build, count_of, descriptors, walk
from wrt_platform import IoUring
from wrt_platform._native import ffi, lib

pytestmark = pytest.mark.row("IU-1")

KERNEL, THREADS, AUTO = (
    lib.WRT_IO_URING_KERNEL,
    lib.WRT_IO_URING_THREADS,
    lib.WRT_IO_URING_AUTO,
)
BACKENDS = [KERNEL, THREADS] if IoUring.is_available() else [THREADS]
both = pytest.mark.parametrize("backend", BACKENDS)
SIZE = 3000


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    made = build(tmp_path_factory.mktemp("ring"), "wrt_io_uring_*", "wrt__io_*")
    yield made
    made.fail_at(0, 0)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    os.write(descriptor, bytes(range(250)) * 400)
    yield descriptor
    os.close(descriptor)


def new(**fields: Any) -> Any:
    size = ffi.sizeof("wrt_io_uring_config")
    return ffi.new("wrt_io_uring_config *", {"struct_size": size, "entries": 4, **fields})


def request(descriptor: int, buffer: Any, **fields: Any) -> dict[str, Any]:
    wanted = {"operation": lib.WRT_IO_URING_READ, "descriptor": descriptor, "buffer": buffer}
    return {**wanted, "size": len(buffer), **fields}


class Ring:
    """A ring of the visible library."""

    def __init__(self, library: Library, backend: int, **fields: Any) -> None:
        self.call = library
        self.raw = ffi.new("wrt_io_uring *")
        self.config = new(backend=backend, **fields)
        self.count = ffi.new("uint32_t *")
        self.done = ffi.new("wrt_io_uring_completion[]", 64)

    def init(self) -> int:
        return self.call("wrt_io_uring_init", self.raw, self.config)

    def deinit(self) -> int:
        return self.call("wrt_io_uring_deinit", self.raw)

    def submit(self, *requests: dict[str, Any]) -> int:
        raws = ffi.new("wrt_io_uring_request[]", list(requests))
        return self.call("wrt_io_uring_submit", self.raw, raws, len(requests), self.count)

    def wait(self, minimum: int, timeout_ns: int = 10**10) -> int:
        name = "wrt_io_uring_wait"
        return self.call(name, self.raw, self.done, 64, minimum, timeout_ns, self.count)

    def results(self) -> list[tuple[int, int]]:
        return sorted(
            (self.done[at].user_data, self.done[at].result) for at in range(self.count[0])
        )


def mappings() -> int:
    return Path("/proc/self/maps").read_text().count("anon_inode:[io_uring]")


@both
@pytest.mark.parametrize("code", [errno.ENOMEM, errno.EMFILE])
def test_init_that_fails_anywhere_leaves_nothing(library: Library, backend: int, code: int) -> None:
    ring = Ring(library, backend)
    tasks, mapped = len(os.listdir("/proc/self/task")), mappings()

    def life() -> int:
        status = ring.init()
        if status == lib.WRT_OK:
            status = ring.deinit()
            library.fail_at(0, 0)
            assert status == lib.WRT_OK or ring.deinit() == lib.WRT_OK
        else:
            assert bytes(ffi.buffer(ring.raw)) == bytes(ffi.sizeof("wrt_io_uring"))
        assert (len(os.listdir("/proc/self/task")), mappings()) == (tasks, mapped)
        return status

    reasons = [failure.reason.decode() for failure in walk(library, code, life)]
    expected = {
        KERNEL: ["mmap", "io_uring_setup", "mmap", "mmap", "io_uring_register"],
        THREADS: ["mmap", "eventfd", "mutex", "pthread_create", "pthread_create"],
    }
    assert len(reasons) >= len(expected[backend])
    for reason, call in zip(reasons, expected[backend]):
        assert call in reason


@both
@pytest.mark.parametrize("call", range(1, 6))
def test_an_end_that_fails_can_be_tried_again(library: Library, backend: int, call: int) -> None:
    ring = Ring(library, backend)
    left, right = os.pipe()
    buffer = ffi.new("uint8_t[]", 100)
    before = descriptors()
    assert ring.init() == lib.WRT_OK
    assert ring.submit(request(left, buffer), request(left, buffer)) == lib.WRT_OK
    library.fail_at(call, errno.EIO)
    status = ring.deinit()
    library.fail_at(0, 0)
    assert status != lib.WRT_OK or (backend, call) != (KERNEL, 1)  # it cancels before it closes
    if status != lib.WRT_OK:
        assert status == lib.WRT_ERR_SYSTEM
        reason = library.last_failure().reason.decode().split()[0]
        assert reason in ("io_uring_enter", "poll", "pthread_join")
        assert ring.deinit() == lib.WRT_OK
    assert descriptors() == before
    os.write(right, b"\xff" * 200)
    assert bytes(ffi.buffer(buffer)) == bytes(100)
    os.close(left)
    os.close(right)


@both
@pytest.mark.parametrize("code", [errno.EIO, errno.EINTR, errno.EAGAIN, errno.EBUSY])
def test_requests_that_are_not_taken_are_as_if_never_handed_in(
    library: Library, file: int, backend: int, code: int
) -> None:
    ring = Ring(library, backend)
    buffers = [ffi.new("uint8_t[]", SIZE) for _ in range(6)]
    wanted = [
        request(file, buffer, user_data=place, offset=place * 100)
        for place, buffer in enumerate(buffers)
    ]
    assert ring.init() == lib.WRT_OK
    call, refusals = 1, 0
    while True:
        before = count_of(library)
        library.fail_at(call, code)
        status = ring.submit(*wanted)
        made = count_of(library) - before
        library.fail_at(0, 0)
        taken = ring.count[0]
        if status != lib.WRT_OK:
            refusals += 1
            assert status == (lib.WRT_ERR_SYSTEM if code == errno.EIO else lib.WRT_ERR_BUSY)
            assert library.last_failure().reason.decode().startswith("io_uring_enter")
            assert taken == 0
            assert ring.wait(1) == lib.WRT_ERR_STATE  # nothing is under way
        else:
            assert ring.wait(taken) == lib.WRT_OK
            assert ring.results() == [(place, SIZE) for place in range(taken)]
        if made < call:
            break
        call += 1
    assert refusals == (1 if backend == KERNEL and code != errno.EINTR else 0)
    assert taken == 6
    for place, buffer in enumerate(buffers):
        assert bytes(ffi.buffer(buffer)) == os.pread(file, SIZE, place * 100)
    assert ring.deinit() == lib.WRT_OK


@both
@pytest.mark.parametrize("code", [errno.EIO, errno.EINTR])
def test_a_wait_that_fails_anywhere_loses_nothing(
    library: Library, backend: int, code: int
) -> None:
    ring = Ring(library, backend)
    left, right = os.pipe()
    buffer = ffi.new("uint8_t[]", 100)
    assert ring.init() == lib.WRT_OK
    call, failures = 1, 0
    while True:
        assert ring.submit(request(left, buffer, user_data=call)) == lib.WRT_OK
        assert ring.wait(1, 1_000_000) == lib.WRT_ERR_TIMED_OUT
        os.write(right, b"here")
        before = count_of(library)
        library.fail_at(call, code)
        status = ring.wait(1)
        made = count_of(library) - before
        library.fail_at(0, 0)
        if status != lib.WRT_OK:
            failures += 1
            assert status == lib.WRT_ERR_SYSTEM
            reason = library.last_failure().reason.decode().split()[0]
            assert reason in ("io_uring_enter", "poll")
            assert ring.wait(1) == lib.WRT_OK
        assert ring.results() == [(call, 4)]
        if made < call:
            break
        call += 1
    assert failures == 0 or code == errno.EIO
    assert ring.deinit() == lib.WRT_OK
    os.close(left)
    os.close(right)


@both
def test_cancelling_that_fails_anywhere_leaves_the_request_under_way(
    library: Library, backend: int
) -> None:
    ring = Ring(library, backend)
    left, right = os.pipe()
    buffer = ffi.new("uint8_t[]", 100)
    assert ring.init() == lib.WRT_OK
    assert ring.submit(request(left, buffer, user_data=9)) == lib.WRT_OK
    library.fail_at(1, errno.EIO)
    status = library("wrt_io_uring_cancel", ring.raw, 9)
    library.fail_at(0, 0)
    if backend == KERNEL:
        assert status == lib.WRT_ERR_SYSTEM
        assert library.last_failure().reason.startswith(b"io_uring_enter")
        assert ring.wait(1, 1_000_000) == lib.WRT_ERR_TIMED_OUT
        assert library("wrt_io_uring_cancel", ring.raw, 9) == lib.WRT_OK
    else:
        assert status == lib.WRT_OK  # it makes no call
    assert ring.wait(1) == lib.WRT_OK
    assert ring.results() == [(9, -errno.ECANCELED)]
    assert ring.deinit() == lib.WRT_OK
    os.close(left)
    os.close(right)


@pytest.mark.skipif(KERNEL not in BACKENDS, reason="this machine has no io_uring")
@pytest.mark.parametrize(
    ("code", "status", "word"),
    [
        (errno.ENOMEM, lib.WRT_ERR_NO_MEMORY, "RLIMIT_MEMLOCK"),
        (errno.EFAULT, lib.WRT_ERR_INVALID_ARGUMENT, "can't have that memory"),
        (errno.EIO, lib.WRT_ERR_SYSTEM, "io_uring_register"),
    ],
)
def test_buffers_that_can_not_be_registered_are_not(
    library: Library, code: int, status: int, word: str
) -> None:
    ring = Ring(library, KERNEL)
    assert ring.init() == lib.WRT_OK
    buffer = ffi.new("uint8_t[]", 4096)
    wanted = ffi.new("wrt_io_uring_buffer *", {"start": buffer, "size": 4096})
    library.fail_at(1, code)
    assert library("wrt_io_uring_register_buffers", ring.raw, wanted, 1) == status
    assert word in library.last_failure().reason.decode()
    library.fail_at(0, 0)
    assert library("wrt_io_uring_unregister_buffers", ring.raw) == lib.WRT_ERR_STATE
    assert library("wrt_io_uring_register_buffers", ring.raw, wanted, 1) == lib.WRT_OK
    library.fail_at(1, errno.EIO)
    assert library("wrt_io_uring_unregister_buffers", ring.raw) == lib.WRT_ERR_SYSTEM
    library.fail_at(0, 0)
    assert library("wrt_io_uring_unregister_buffers", ring.raw) == lib.WRT_OK
    assert ring.deinit() == lib.WRT_OK


# ---- What the threads call ----

PARKED = -(2**31)
TRANSFER, GOES_ON = "wrt__io_transfer", "wrt__io_goes_on"


def slot_of(descriptor: int, operation: int, size: int = 0, offset: int = 0) -> tuple[Any, Any]:
    """A slot, which begins a line of the cache, and with its request; and the buffer."""
    slot, buffer = ffi.from_buffer(mmap.mmap(-1, 4096)), ffi.new("uint8_t[]", b"sent" * 3)
    raw = ffi.cast("wrt_io_uring_request *", slot)
    raw.operation, raw.descriptor = operation, descriptor
    raw.offset, raw.size = offset, size
    raw.buffer = buffer if size else ffi.NULL
    return slot, buffer


@pytest.mark.parametrize("operation", [lib.WRT_IO_URING_FSYNC, lib.WRT_IO_URING_FDATASYNC])
def test_a_sync_that_fails_in_a_thread_is_the_result(
    library: Library, file: int, operation: int
) -> None:
    slot, _ = slot_of(file, operation)
    library.fail_at(1, errno.EIO)
    assert library(TRANSFER, slot) == -errno.EIO
    assert library(TRANSFER, slot) == 0


@pytest.mark.parametrize("operation", [lib.WRT_IO_URING_READ, lib.WRT_IO_URING_WRITE])
def test_a_transfer_that_fails_in_a_thread_is_the_result(library: Library, operation: int) -> None:
    """A pipe is tried as a file, polled, and then moved without waiting."""
    is_read = operation == lib.WRT_IO_URING_READ
    for call in (1, 2, 3):
        for code in (errno.EIO, errno.EAGAIN, errno.EOPNOTSUPP):
            left, right = os.pipe()
            os.write(right, b"here")
            slot, buffer = slot_of(left if is_read else right, operation, 12)
            library.fail_at(call, code)
            result = library(TRANSFER, slot)
            library.fail_at(0, 0)
            if call == 3 and code == errno.EAGAIN:
                assert result == PARKED  # somebody else was faster
            elif call == 3 and code == errno.EOPNOTSUPP:  # it can't tell, so it is moved at once
                assert result == (4 if is_read else 12)
                assert not is_read or bytes(buffer[0:4]) == b"here"
                assert is_read or os.read(left, 99) == b"here" + b"sent" * 3
            else:
                assert result == -code
            os.close(left)
            os.close(right)


def test_a_transfer_is_tried_again_only_where_that_helps(library: Library, file: int) -> None:
    left, right = os.pipe()
    result_at = ffi.sizeof("wrt_io_uring_request")  # of the slot

    def goes_on(descriptor: int, result: int) -> tuple[bool, int]:
        slot, _ = slot_of(descriptor, lib.WRT_IO_URING_READ, 12)
        is_on = library(GOES_ON, slot, result % 2**64) & 1 == 1
        return is_on, ffi.cast("int32_t *", ffi.cast("char *", slot) + result_at)[0]

    assert goes_on(file, -errno.EINTR)[0]
    assert goes_on(left, -errno.EAGAIN)[0]
    library.fail_at(1, errno.EBADF)  # how the descriptor is can't be asked
    assert goes_on(left, -errno.EAGAIN) == (False, -errno.EAGAIN)
    os.set_blocking(left, False)
    assert goes_on(left, -errno.EAGAIN) == (False, -errno.EAGAIN)
    assert goes_on(file, 5)[0]  # short of a file
    library.fail_at(1, errno.EBADF)  # what it is can't be asked
    assert goes_on(file, 5) == (False, 5)
    assert goes_on(left, 5) == (False, 5)  # a pipe gives what it has
    assert goes_on(file, 12) == (False, 12)
    assert goes_on(file, -errno.EIO) == (False, -errno.EIO)
    os.close(left)
    os.close(right)


# ---- Refusals ----


@pytest.mark.parametrize(
    ("code", "status", "words"),
    [
        (errno.EPERM, lib.WRT_ERR_PERMISSION, "seccomp profile that has io_uring_setup"),
        (errno.ENOSYS, lib.WRT_ERR_UNSUPPORTED, "a kernel before 5.11 or built without"),
        (errno.EINVAL, lib.WRT_ERR_UNSUPPORTED, "a kernel before 5.11"),
    ],
)
def test_a_refusal_is_fallen_back_from_unless_the_kernel_is_demanded(
    library: Library, file: int, code: int, status: int, words: str
) -> None:
    demanding = Ring(library, KERNEL)
    library.fail_at(2, code)
    assert demanding.init() == status
    library.fail_at(0, 0)
    assert words in library.last_failure().reason.decode()
    ring = Ring(library, AUTO)
    library.fail_at(2, code)
    assert ring.init() == lib.WRT_OK
    library.fail_at(0, 0)
    report = ffi.new("wrt_io_uring_report *")
    assert library("wrt_io_uring_query", ring.raw, report) == lib.WRT_OK
    assert report.backend == THREADS
    assert report.kernel.state == lib.WRT_ENFORCEMENT_ABSENT
    assert words in ffi.string(report.kernel.reason).decode()
    buffer = ffi.new("uint8_t[]", SIZE)
    assert ring.submit(request(file, buffer, user_data=1)) == lib.WRT_OK
    assert ring.wait(1) == lib.WRT_OK
    assert bytes(ffi.buffer(buffer)) == os.pread(file, SIZE, 0)
    assert ring.deinit() == lib.WRT_OK
    found = ffi.new("wrt_enforcement *")
    library.fail_at(2, code)
    assert library("wrt_io_uring_probe", found) == lib.WRT_OK
    library.fail_at(0, 0)
    assert found.state == lib.WRT_ENFORCEMENT_ABSENT
    assert words in ffi.string(found.reason).decode()


def test_a_lack_of_descriptors_is_no_refusal(library: Library) -> None:
    ring = Ring(library, AUTO)
    library.fail_at(2, errno.EMFILE)
    assert ring.init() == lib.WRT_ERR_NO_MEMORY
    library.fail_at(0, 0)
    assert "ulimit -n" in library.last_failure().reason.decode()


# ---- Against the kernel's header ----

JUDGE = r"""
#include <linux/io_uring.h>
#include <linux/time_types.h>
#include <stddef.h>
#include "{sources}/sys_io_uring.h"
#define SAME(ours, theirs) _Static_assert((long long)(ours) == (long long)(theirs), #theirs)
#define FIELD(ours, theirs, a, b) SAME(offsetof(ours, a), offsetof(theirs, b)); \
    SAME(sizeof(((ours *)0)->a), sizeof(((theirs *)0)->b))
typedef struct io_uring_sqe sqe;
typedef struct io_uring_cqe cqe;
typedef struct io_uring_params params;
typedef struct io_uring_getevents_arg argument;
typedef struct io_uring_probe probe;
typedef struct io_uring_probe_op probe_op;
SAME(sizeof(wrt__io_uring_sqe), sizeof(sqe));
FIELD(wrt__io_uring_sqe, sqe, opcode, opcode);
FIELD(wrt__io_uring_sqe, sqe, flags, flags);
FIELD(wrt__io_uring_sqe, sqe, ioprio, ioprio);
FIELD(wrt__io_uring_sqe, sqe, fd, fd);
FIELD(wrt__io_uring_sqe, sqe, off, off);
FIELD(wrt__io_uring_sqe, sqe, addr, addr);
FIELD(wrt__io_uring_sqe, sqe, len, len);
FIELD(wrt__io_uring_sqe, sqe, op_flags, fsync_flags);
FIELD(wrt__io_uring_sqe, sqe, user_data, user_data);
FIELD(wrt__io_uring_sqe, sqe, buf_index, buf_index);
SAME(sizeof(wrt__io_uring_cqe), sizeof(cqe));
FIELD(wrt__io_uring_cqe, cqe, user_data, user_data);
FIELD(wrt__io_uring_cqe, cqe, res, res);
SAME(sizeof(wrt__io_uring_params), sizeof(params));
FIELD(wrt__io_uring_params, params, cq_entries, cq_entries);
FIELD(wrt__io_uring_params, params, sq_thread_cpu, sq_thread_cpu);
FIELD(wrt__io_uring_params, params, sq_thread_idle, sq_thread_idle);
FIELD(wrt__io_uring_params, params, features, features);
FIELD(wrt__io_uring_params, params, sq_off, sq_off);
FIELD(wrt__io_uring_params, params, cq_off, cq_off);
FIELD(wrt__io_uring_params, params, sq_off.tail, sq_off.tail);
FIELD(wrt__io_uring_params, params, sq_off.ring_mask, sq_off.ring_mask);
FIELD(wrt__io_uring_params, params, sq_off.flags, sq_off.flags);
FIELD(wrt__io_uring_params, params, sq_off.array, sq_off.array);
FIELD(wrt__io_uring_params, params, cq_off.tail, cq_off.tail);
FIELD(wrt__io_uring_params, params, cq_off.ring_mask, cq_off.ring_mask);
FIELD(wrt__io_uring_params, params, cq_off.cqes, cq_off.cqes);
SAME(sizeof(wrt__io_uring_wait_argument), sizeof(argument));
FIELD(wrt__io_uring_wait_argument, argument, sigmask_size, sigmask_sz);
FIELD(wrt__io_uring_wait_argument, argument, time, ts);
SAME(sizeof(wrt__io_uring_time), sizeof(struct __kernel_timespec));
FIELD(wrt__io_uring_probed, probe, last_op, last_op);
SAME(offsetof(wrt__io_uring_probed, ops), offsetof(probe, ops));
SAME(sizeof(((wrt__io_uring_probed *)0)->ops[0]), sizeof(probe_op));
SAME(offsetof(wrt__io_uring_probed, ops[1].flags) - offsetof(wrt__io_uring_probed, ops[1]),
     offsetof(probe_op, flags));
SAME(WRT__SETUP_SQPOLL, IORING_SETUP_SQPOLL);
SAME(WRT__SETUP_SQ_AFF, IORING_SETUP_SQ_AFF);
SAME(WRT__SETUP_CQSIZE, IORING_SETUP_CQSIZE);
SAME(WRT__FEATURE_SINGLE_MMAP, IORING_FEAT_SINGLE_MMAP);
SAME(WRT__FEATURE_NODROP, IORING_FEAT_NODROP);
SAME(WRT__FEATURE_EXT_ARG, IORING_FEAT_EXT_ARG);
SAME(WRT__ENTER_GETEVENTS, IORING_ENTER_GETEVENTS);
SAME(WRT__ENTER_SQ_WAKEUP, IORING_ENTER_SQ_WAKEUP);
SAME(WRT__ENTER_EXT_ARG, IORING_ENTER_EXT_ARG);
SAME(WRT__SQ_NEED_WAKEUP, IORING_SQ_NEED_WAKEUP);
SAME(WRT__SQ_CQ_OVERFLOW, IORING_SQ_CQ_OVERFLOW);
SAME(WRT__SQE_IO_LINK, IOSQE_IO_LINK);
SAME(WRT__REGISTER_BUFFERS, IORING_REGISTER_BUFFERS);
SAME(WRT__UNREGISTER_BUFFERS, IORING_UNREGISTER_BUFFERS);
SAME(WRT__REGISTER_PROBE, IORING_REGISTER_PROBE);
SAME(WRT__OP_FSYNC, IORING_OP_FSYNC);
SAME(WRT__OP_READ_FIXED, IORING_OP_READ_FIXED);
SAME(WRT__OP_WRITE_FIXED, IORING_OP_WRITE_FIXED);
SAME(WRT__OP_ASYNC_CANCEL, IORING_OP_ASYNC_CANCEL);
SAME(WRT__OP_LINK_TIMEOUT, IORING_OP_LINK_TIMEOUT);
SAME(WRT__OP_READ, IORING_OP_READ);
SAME(WRT__OP_WRITE, IORING_OP_WRITE);
SAME(WRT__FSYNC_DATASYNC, IORING_FSYNC_DATASYNC);
SAME(WRT__OP_SUPPORTED, IO_URING_OP_SUPPORTED);
SAME(WRT__OFFSET_RINGS, IORING_OFF_SQ_RING);
SAME(WRT__OFFSET_SQES, IORING_OFF_SQES);
SAME(SYS_io_uring_setup, __NR_io_uring_setup);
SAME(SYS_io_uring_enter, __NR_io_uring_enter);
SAME(SYS_io_uring_register, __NR_io_uring_register);
"""


def test_the_interface_is_that_of_the_kernels_header(tmp_path: Path) -> None:
    if not Path("/usr/include/linux/io_uring.h").exists():
        pytest.skip("this machine's kernel headers are older than io_uring")
    source = tmp_path / "judge.c"
    source.write_text(JUDGE.replace("{sources}", str(ROOT / "c/src/linux")))
    run("cc", "-std=gnu11", "-fsyntax-only", f"-I{ROOT}/c/include", source)
