"""What a second snapshot has to save."""

from wrt_platform.linux.memory import LinuxAllocatorBuilder
from wrt_platform.linux.write_tracker import WriteTrackerBuilder

with LinuxAllocatorBuilder().build().allocate(4, 4) as pages:
    tracker = WriteTrackerBuilder().with_pages(pages).build()  # the first mark
    pages.memory[5] = 1
    pages.memory[70_000] = 1
    for offset, size in tracker.take().runs():  # and the next one
        print("save", size, "at", offset)
    tracker.close()
