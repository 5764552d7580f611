"""A block with a tag, where the processor has them."""

from wrt_platform import LinuxArm64MteAllocator, LinuxArm64MteAllocatorBuilder, MteMode

if LinuxArm64MteAllocator.is_available():
    builder = LinuxArm64MteAllocatorBuilder().with_maximum_pages(1024)
    builder.with_mte_mode(MteMode.SYNCHRONOUS).with_tag_check_on_free(True)
    allocator = builder.build()
    pointer = allocator.allocate_tagged(16, 0xA)
    pointer.write(b"*")  # with any other tag this would be SIGSEGV
    print(pointer.size, "bytes with tag", pointer.tag)
    allocator.free(pointer)  # now with this one, too
else:
    print(LinuxArm64MteAllocator.why_unavailable())
