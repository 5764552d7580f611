//! What a second snapshot has to save.

use wrt_platform::{LinuxAllocatorBuilder, PageAllocator, WriteTrackerBuilder};

fn main() -> wrt_platform::Result<()> {
    let allocator = LinuxAllocatorBuilder::new().build()?;
    let mut pages = allocator.allocate(4, Some(4))?;
    let mut tracker = WriteTrackerBuilder::new().with_pages(&mut pages).build()?; // the first mark
    tracker.memory_mut()[5] = 1;
    tracker.memory_mut()[70_000] = 1;
    for run in tracker.take()?.runs() {
        println!("save {} at {}", run.len(), run.start); // and the next one
    }
    Ok(())
}
