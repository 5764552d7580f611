//! Two tenants of one slot: the second finds nothing of the first.

use wrt_platform::{PageAllocator, SlotPoolBuilder};

fn main() -> wrt_platform::Result<()> {
    let pool = SlotPoolBuilder::new().with_slot_count(4).with_maximum_pages(256).build()?;
    let mut pages = pool.allocate(1, None)?;
    pages.memory_mut()[..5].copy_from_slice(b"hello");
    drop(pages);

    let pages = pool.allocate(1, None)?; // the same slot
    println!("the next tenant reads {}", pages.memory()[0]);
    drop(pages);
    println!("cleaned: {} bytes", pool.report()?.cleaned_bytes);
    Ok(())
}
