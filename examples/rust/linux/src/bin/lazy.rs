//! An image of five chunks, of which one is touched.

use wrt_platform::{LazyMemoryBuilder, PageAllocator};

fn main() -> wrt_platform::Result<()> {
    let load = |offset: u64, bytes: &mut [u8]| {
        bytes.fill((offset / 65536) as u8); // it could read any source
        Ok(())
    };
    let lazy = LazyMemoryBuilder::new().with_load(load).with_image_size(300_000).build()?;
    let pages = lazy.allocate(16, None)?;
    println!("the byte at 200000 is {}", pages.memory()[200_000]); // its chunk comes now
    let report = lazy.report()?;
    println!("loaded: {} of {} bytes", report.loaded_bytes, report.image_bytes);
    Ok(())
}
