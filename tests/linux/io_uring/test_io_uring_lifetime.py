"""What rings borrow, and how long: buffers and files stay until the completion, nothing is written
after the end, and threads, signals and forked children find every ring in order."""

from __future__ import annotations

import errno
import gc
import os
import signal
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from rings import Make, descriptors
from wrt_platform import IoUringBuilder
from wrt_platform._native import lib
from wrt_platform.errors import (
    InvalidArgumentError,
    StateError,
    TimedOutError,
)
from wrt_platform.linux.io_uring import (
    IoUringRequest,
)

read, write = IoUringRequest.read, IoUringRequest.write

pytestmark = pytest.mark.row("IU-1")


# ---- Memory ----


def test_the_completion_gives_the_very_buffer_back(make: Make, path: Path) -> None:
    ring = make()
    mine = bytearray(100)
    with path.open("rb") as file:
        ring.submit_read(file, mine)
        with pytest.raises(BufferError):
            mine.append(0)  # held, even if it is done
        assert ring.wait_completion(10).buffer is mine
    mine.append(0)


def test_a_ring_that_is_dropped_writes_nowhere(make: Make, backend: Any) -> None:
    pairs = [socket.socketpair() for _ in range(20)]
    mine = [bytearray(4096) for _ in pairs]
    gc.collect()
    open_before = descriptors()
    ring = IoUringBuilder().with_backend(backend).with_entries(32).build()
    for buffer, (left, _) in zip(mine, pairs):
        ring.submit_read(left, buffer)
    del ring
    gc.collect()
    assert descriptors() == open_before
    for _, right in pairs:
        right.send(b"\xff" * 4096)
    time.sleep(0.1)
    for buffer, (left, _) in zip(mine, pairs):
        assert bytes(buffer) == bytes(4096)
        buffer.append(0)  # nobody holds it any more
        assert left.recv(5000) == b"\xff" * 4096  # nobody has taken it


def test_when_the_end_returns_nothing_is_at_work_any_more(make: Make, backend: Any) -> None:
    """Closing alone would leave it to the kernel when it takes its hands off: what is sent in the
    next moment would be taken."""
    for _ in range(30):
        pairs = [socket.socketpair() for _ in range(30)]
        ring = IoUringBuilder().with_backend(backend).with_entries(32).build()
        ring.submit([read(left, 8, 0) for left, _ in pairs])
        assert lib.wrt_io_uring_deinit(ring._raw) == lib.WRT_OK
        for _, right in pairs:
            right.send(b"\xff" * 8)
        for left, right in pairs:
            assert left.recv(9, socket.MSG_DONTWAIT) == b"\xff" * 8
            left.close()
            right.close()


def test_a_buffer_that_is_forgotten_is_kept_until_its_end(
    make: Make, pipe: tuple[int, int]
) -> None:
    ring = make()
    for _ in range(50):
        ring.submit_read(pipe[0], 4096)
    gc.collect()
    others = [bytearray(4096) for _ in range(500)]  # would be where the forgotten ones were
    os.write(pipe[1], b"\xff" * 60000)
    for _ in range(14):
        ring.wait_completion(10)
    assert all(bytes(other) == bytes(4096) for other in others)
    ring.close()


def test_files_are_kept_open_until_the_end(make: Make, path: Path, content: bytes) -> None:
    ring = make()
    left, right = socket.socketpair()
    ring.submit_read(left, 10, 0, "socket")
    ring.submit_read(path.open("rb"), 10, 20, "file")
    number = left.fileno()
    del left
    gc.collect()
    assert os.fstat(number)
    by_name = {ring.wait_completion(10).user_data: 1}
    right.send(b"x")
    by_name[ring.wait_completion(10).user_data] = 2
    assert by_name == {"file": 1, "socket": 2}
    gc.collect()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)
    right.close()


def test_what_can_not_be_borrowed_is_refused(make: Make, path: Path) -> None:
    ring = make()
    with path.open("rb") as file:
        for buffer in (b"constant", memoryview(bytearray(5)), "text"):
            with pytest.raises(InvalidArgumentError):
                ring.submit_read(file, buffer)
        with pytest.raises(InvalidArgumentError):
            ring.submit_read(file, 10, 2**64)
        with pytest.raises(InvalidArgumentError, match="-1 is no descriptor"):
            ring.submit_read(-1, 10)
    assert ring.report.under_way == 0


def test_registered_buffers_are_read_into_and_written_from(
    make: Make, path: Path, content: bytes, tmp_path: Path
) -> None:
    ring = make()
    ring.register_buffers(3, 5000)
    assert ring.report.buffer_count == 3
    with path.open("rb") as file, (tmp_path / "copy").open("wb+") as copy:
        for index in range(3):
            ring.submit([IoUringRequest.read_fixed(file, index, 5000, index * 5000, index)])
        for completion in ring.wait(3, timeout=10):
            at = completion.user_data * 5000
            assert bytes(completion.data) == content[at : at + 5000]
        for index in range(3):
            ring.submit([IoUringRequest.write_fixed(copy, index, 5000, index * 5000)])
        ring.wait(3, timeout=10)
        assert os.pread(copy.fileno(), 20000, 0) == content[:15000]
        with pytest.raises(InvalidArgumentError, match="not in the registered buffer"):
            ring.submit([IoUringRequest.read_fixed(file, 0, 5001)])
        with pytest.raises(InvalidArgumentError, match="no registered buffer 3"):
            ring.submit([IoUringRequest.read_fixed(file, 3, 10)])
        with pytest.raises(StateError, match="are registered"):
            ring.register_buffers(1, 1)
        view = ring.buffer(2)
        ring.unregister_buffers()
        assert bytes(view) == content[10000:15000]  # still there
        with pytest.raises(StateError, match="no buffers"):
            ring.unregister_buffers()


# ---- Life ----


def test_descriptors_and_mappings_stay_the_same(make: Make, backend: Any, path: Path) -> None:
    def once() -> None:
        with IoUringBuilder().with_backend(backend).with_entries(8).build() as ring:
            ring.submit_read(file, 100)
            ring.submit_read(left, 100)
            ring.wait_completion(10)

    left, right = socket.socketpair()
    with path.open("rb") as file:
        once()
        gc.collect()
        before = descriptors()
        maps = Path("/proc/self/maps").read_text().count("io_uring")
        for _ in range(30):
            once()
        assert descriptors() == before
        assert Path("/proc/self/maps").read_text().count("io_uring") == maps
    left.close()
    right.close()


def test_a_closed_ring_says_so(make: Make, pipe: tuple[int, int]) -> None:
    ring = make()
    ring.submit_read(pipe[0], 10)
    ring.close()
    ring.close()
    with pytest.raises(StateError, match="not initialised"):
        ring.submit_read(pipe[0], 10)
    with pytest.raises(StateError, match="not initialised"):
        ring.wait_completion()


@pytest.mark.whole_process
def test_a_forked_child_is_refused_and_its_parent_goes_on(
    make: Make, pipe: tuple[int, int]
) -> None:
    ring = make()
    ring.submit_read(pipe[0], 10)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            for call in (lambda: ring.submit_read(pipe[0], 1), ring.wait_completion, ring.close):
                with pytest.raises(StateError, match="forked"):
                    call()
            del ring
            gc.collect()
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    os.write(pipe[1], b"goes on")
    assert bytes(ring.wait_completion(10).data) == b"goes on"


def test_another_thread_cancels_while_one_waits(make: Make, pipe: tuple[int, int]) -> None:
    ring = make()
    ring.submit_read(pipe[0], 10, 0, "waited for")
    timer = threading.Timer(0.1, lambda: ring.cancel("waited for"))
    timer.start()
    assert ring.wait_completion(20).result == -errno.ECANCELED
    timer.join()


def test_ctrl_c_lands_in_a_wait_and_nothing_is_lost(make: Make, pipe: tuple[int, int]) -> None:
    ring = make()
    ring.submit_read(pipe[0], 10, 0, "kept")
    timer = threading.Timer(0.2, signal.raise_signal, [signal.SIGINT])
    timer.start()
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        ring.wait_completion(20)
    assert time.monotonic() - begin < 5
    timer.join()
    os.write(pipe[1], b"x")
    assert ring.wait_completion(10).user_data == "kept"


def test_a_wait_burns_no_processor(make: Make, pipe: tuple[int, int]) -> None:
    ring = make()
    ring.submit_read(pipe[0], 10)
    begin = time.process_time()
    with pytest.raises(TimedOutError):
        ring.wait_completion(1)
    assert time.process_time() - begin < 0.2
