//! Linear memory in huge pages on the first node, and what the kernel makes of it.

use wrt_platform::PageAllocator;
use wrt_platform::linux_memory::{LinuxAllocatorBuilder, detect_numa_topology};

fn main() -> wrt_platform::Result<()> {
    let node = detect_numa_topology()?.nodes[0].id;
    let builder = LinuxAllocatorBuilder::new().with_maximum_pages(4096).with_guard_pages(true);
    let allocator = builder.with_huge_pages(true).with_numa_node(node).build()?;
    let mut pages = allocator.allocate(1024, None)?;
    pages.memory_mut()[0] = 1;

    let stats = allocator.get_memory_stats(&pages)?;
    let report = allocator.report()?;
    let huge_pages = report.huge_pages.reason.to_string_lossy();
    println!("huge pages: {} of {} in RAM; {huge_pages}", stats.huge_pages, stats.total_pages);
    println!("node {node} {}", report.numa);
    Ok(())
}
