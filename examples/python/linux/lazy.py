"""An image of five chunks, of which one is touched."""

import os

from wrt_platform.linux.lazy_memory import LazyMemoryBuilder

file = os.memfd_create("image")  # it could be any file
os.write(file, bytes(place // 65536 for place in range(300_000)))

lazy = LazyMemoryBuilder().with_path(f"/proc/self/fd/{file}").build()
with lazy.allocate(16) as pages:
    print("the byte at 200000 is", pages.memory[200_000])  # its chunk is read now
    report = lazy.report
    print(f"loaded: {report.loaded_bytes} of {report.image_bytes} bytes")
