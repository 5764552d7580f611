//! A block with a tag, where the processor has them.

use wrt_platform::{LinuxArm64MteAllocator, LinuxArm64MteAllocatorBuilder, MteMode};

fn main() -> wrt_platform::Result<()> {
    let builder = LinuxArm64MteAllocatorBuilder::new().with_maximum_pages(1024);
    let builder = builder.with_mte_mode(MteMode::Synchronous).with_tag_check_on_free(true);
    if !LinuxArm64MteAllocator::is_available() {
        println!("{}", builder.build().err().expect("it is not available"));
        return Ok(());
    }
    let allocator = builder.build()?;
    let (pointer, size) = allocator.allocate_tagged(16, 0xA)?;
    // SAFETY: it is this program's block; with any other tag this would be SIGSEGV.
    unsafe { pointer.as_ptr().write(42) };
    println!("{size} bytes with tag {}", pointer.tag());
    allocator.free(pointer) // now with this one, too
}
