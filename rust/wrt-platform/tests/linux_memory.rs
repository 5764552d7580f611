//! Placing of linear memory and kept slots, as the documents use them.
#![cfg(target_os = "linux")]

use wrt_platform::linux_memory::{
    LinuxAllocatorBuilder, MadviseFlags, MmapFlags, NumaPolicy, PageKind, ThpMode,
};
use wrt_platform::{EnforcementState, ErrorKind, LinuxAllocator, PageAllocator, SlotPoolBuilder};

#[test]
fn statistics_follow_what_is_touched() {
    let allocator = LinuxAllocatorBuilder::new().with_guard_pages(true).build().unwrap();
    allocator.set_thp_mode(ThpMode::Never).unwrap();
    let mut pages = allocator.allocate(64, Some(64)).unwrap();
    assert_eq!(allocator.get_memory_stats(&pages).unwrap().resident_bytes, 0);
    pages.memory_mut()[4096] = 1;
    let stats = allocator.get_memory_stats(&pages).unwrap();
    assert_eq!((stats.resident_bytes, stats.huge_pages, stats.total_pages), (4096, 0, 2));
    assert_eq!(stats.page_kind, PageKind::System);
    let size = pages.size();
    allocator.madvise(&pages, 0, size, MadviseFlags::SEQUENTIAL).unwrap();
    let outside = allocator.madvise(&pages, 0, size + 1, MadviseFlags::SEQUENTIAL);
    assert_eq!(outside.unwrap_err().kind, ErrorKind::InvalidArgument);
}

#[test]
fn nodes_are_bound_and_contradictions_refused() {
    let topology = LinuxAllocator::detect_numa_topology().unwrap();
    assert_eq!(topology.num_nodes, topology.nodes.len());
    for node in &topology.nodes {
        let build = LinuxAllocatorBuilder::new().with_numa_node(node.id);
        let build = build.with_numa_policy(NumaPolicy::Bind).with_preferred_node(node.id);
        let allocator = build.build().unwrap();
        allocator.allocate(1, None).unwrap().memory_mut()[0] = 1;
        assert_ne!(allocator.report().unwrap().numa.state, EnforcementState::NotAsked);
        let other = LinuxAllocatorBuilder::new().with_numa_node(node.id);
        let refused = other.with_preferred_node(node.id + 1).build();
        assert_eq!(refused.err().unwrap().kind, ErrorKind::InvalidArgument);
    }
    let interleaved = LinuxAllocatorBuilder::new()
        .with_numa_policy(NumaPolicy::Interleave)
        .with_numa_mask(&topology.all_nodes_mask());
    interleaved.build().unwrap().allocate(1, None).unwrap();
}

#[test]
fn huge_pages_say_what_they_came_to() {
    let huge = LinuxAllocatorBuilder::new().with_maximum_pages(64).with_huge_pages(true);
    let allocator = huge.build().unwrap();
    let pages = allocator.allocate(64, None).unwrap();
    let report = allocator.report().unwrap();
    assert_eq!(report.page_kind, allocator.get_memory_stats(&pages).unwrap().page_kind);
    let refused = LinuxAllocatorBuilder::new().with_huge_pages(true);
    let refused = refused.with_custom_flags(MmapFlags::SHARED | MmapFlags::NORESERVE).build();
    assert_eq!(refused.err().unwrap().kind, ErrorKind::InvalidArgument);
}

#[test]
fn a_slot_comes_back_clean_with_its_image() {
    let image = [7; 100_000];
    let build = SlotPoolBuilder::new().with_slot_count(1).with_maximum_pages(8).with_image(&image);
    let pool = build.build().unwrap();
    for _ in 0..3 {
        let mut pages = pool.allocate(4, None).unwrap();
        assert!(pages.memory()[..100_000] == image);
        assert!(pages.memory()[100_000..].iter().all(|byte| *byte == 0));
        pages.memory_mut().fill(0xEE);
        assert_eq!(pool.allocate(4, None).err().unwrap().kind, ErrorKind::Busy);
    }
    assert_eq!(pool.report().unwrap().cleaned_bytes, 3 * 4 * 65536);
}
