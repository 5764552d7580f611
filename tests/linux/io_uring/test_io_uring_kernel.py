"""The ring of an older kernel than this machine's, in the virtual machine: what programs are built
on comes out the same there."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from rings import KERNEL, run_all
from wrt_platform import IoUringBuilder
from wrt_platform.enforcement import EnforcementState
from wrt_platform.linux.io_uring import IoUringOperation, IoUringRequest

read = IoUringRequest.read

pytestmark = [pytest.mark.vm, pytest.mark.row("IU-1")]


@pytest.mark.parametrize("has_sq_thread", [False, True], ids=["calls", "sq thread"])
def test_files_are_read_and_written(path: Path, content: bytes, has_sq_thread: bool) -> None:
    ring = IoUringBuilder().with_backend(KERNEL).with_sq_thread(has_sq_thread).build()
    report = ring.report
    assert (report.kernel.state, set(report.operations)) == (
        EnforcementState.ENFORCED,
        set(IoUringOperation),
    )
    places = range(0, 900_000, 7001)
    with path.open("rb+") as file:
        done = run_all(ring, [read(file, 3000, at, at) for at in places])
        assert {c.user_data for c in done} == set(places)
        assert all(bytes(c.data) == content[c.user_data : c.user_data + 3000] for c in done)
        ring.submit_write(file, b"written", 10)
        assert ring.wait_completion(20).result == 7
        ring.submit_fsync(file)
        assert ring.wait_completion(20).result == 0
        ring.register_buffers(2, 5000)
        ring.submit([IoUringRequest.read_fixed(file, 1, 5000, 0)])
        assert bytes(ring.wait_completion(20).data) == content[:10] + b"written" + content[17:5000]
    ring.close()


def test_what_waits_is_ended(pipe: tuple[int, int]) -> None:
    ring = IoUringBuilder().with_backend(KERNEL).build()
    ring.submit([read(pipe[0], 10, 0, "late", timeout=0.1), read(pipe[0], 10, 0, "never")])
    late = ring.wait_completion(20)
    assert (late.user_data, late.result) == ("late", -errno.ETIME)
    ring.cancel("never")
    never = ring.wait_completion(20)
    assert (never.user_data, never.result) == ("never", -errno.ECANCELED)
    os.write(pipe[1], b"still there")
    ring.submit([read(pipe[0], 100, 0, "in time", timeout=30)])
    assert bytes(ring.wait_completion(20).data) == b"still there"
    ring.close()
