"""Reads go on meanwhile: one, a batch in one system call, and one into a registered buffer."""

import tempfile

from wrt_platform.linux.io_uring import IoUringBuilder, IoUringRequest

BLOCK = 4096

with tempfile.TemporaryFile() as file, IoUringBuilder().with_entries(256).build() as ring:
    file.truncate(50 * BLOCK)
    ring.submit_read(file, BLOCK, 0, user_data=42)
    completion = ring.wait_completion()
    print(f"request {completion.user_data}: {completion.result} bytes")

    ring.submit([IoUringRequest.read(file, BLOCK, at * BLOCK, at) for at in range(50)])
    done = ring.wait(50, maximum=50)
    print(f"batch: {len(done)} reads, {sum(each.result for each in done)} bytes")

    ring.register_buffers(2, BLOCK)
    ring.submit([IoUringRequest.read_fixed(file, 1, BLOCK, offset=0, timeout=5)])
    print("registered:", ring.wait_completion().result, "bytes")
    print("by", ring.report.backend.name.lower())  # the kernel's io_uring, or threads
