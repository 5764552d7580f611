//! The Rust face of page allocators; the C rules themselves are proven by the tests of the C
//! library (tests/test_page_allocator.py and tests/linux).

use std::fs;

use wrt_platform::{
    EnforcementState, ErrorKind, GuardRegions, PageAllocator, Pages, Protection, Result,
    StaticAllocatorBuilder, VerificationLevel,
    linux::memory::{LinuxAllocatorBuilder, NameSource},
};

const PAGE: usize = 65536;

fn assert_send<T: Send>(value: T) -> T {
    value
}

/// Writes to all pages, grows, and sees what was written, and zeros.
fn use_pages(allocator: &dyn PageAllocator) -> Result<()> {
    let mut pages = allocator.allocate(1, Some(3))?;
    let base = pages.memory().as_ptr();
    pages.memory_mut().fill(7);
    pages.grow(2)?;
    assert_eq!((pages.page_count(), pages.maximum_pages(), pages.size()), (3, 3, 3 * PAGE));
    assert_eq!(pages.memory().as_ptr(), base);
    assert!(pages.memory()[..PAGE].iter().all(|byte| *byte == 7));
    assert!(pages.memory()[PAGE..].iter().all(|byte| *byte == 0));
    let error = pages.grow(1).unwrap_err();
    assert_eq!((error.kind, error.detail), (ErrorKind::Limit, [1, 0]));
    pages.release()
}

#[test]
fn both_allocators_serve_the_same_way() -> Result<()> {
    let mut heap = vec![0xFF; 4 * PAGE];
    let fixed = assert_send(StaticAllocatorBuilder::new().with_buffer(&mut heap).build()?);
    let system = assert_send(LinuxAllocatorBuilder::new().with_maximum_pages(4).build()?);
    for allocator in [&fixed as &dyn PageAllocator, &system] {
        assert!((3..=4).contains(&allocator.maximum_pages()));
        use_pages(allocator)?;
        use_pages(allocator)?;
        let error = allocator.allocate(1, Some(5)).err().unwrap();
        assert_eq!(error.kind, ErrorKind::Limit);
    }
    Ok(())
}

#[test]
fn dropped_pages_go_back_and_pages_may_move() -> Result<()> {
    let mut heap = vec![0; 2 * PAGE];
    let allocator = StaticAllocatorBuilder::new().with_buffer(&mut heap).build()?;
    let pages: Box<Pages<'_>> = Box::new(allocator.allocate(1, Some(1))?);
    let busy = allocator.allocate(1, Some(1)).err().unwrap();
    assert_eq!(busy.kind, ErrorKind::Busy);
    assert_eq!(allocator.report()?.allocation_count, 1);
    drop(pages);
    assert_eq!(allocator.report()?.allocation_count, 0);
    allocator.allocate(1, Some(1))?;
    Ok(())
}

#[test]
fn buffer_is_free_again_after_the_allocator() -> Result<()> {
    let mut heap = vec![0; 2 * PAGE];
    {
        let builder = StaticAllocatorBuilder::new().with_buffer(&mut heap).with_alignment(4096);
        let allocator = builder.build()?;
        allocator.allocate(1, None)?.memory_mut()[..6].copy_from_slice(b"inside");
    }
    assert!(heap.windows(6).any(|bytes| bytes == b"inside"));
    Ok(())
}

#[test]
fn layout_says_what_the_settings_need() -> Result<()> {
    let builder = StaticAllocatorBuilder::new().with_maximum_pages(2).with_alignment(64);
    assert_eq!(builder.layout()?.bytes, 2 * PAGE);
    let full = builder.with_verification_level(VerificationLevel::Full).layout()?;
    assert_eq!((full.bytes, full.alignment), (2 * PAGE + 64 + 32, 64));
    Ok(())
}

#[test]
fn guard_regions_are_preferred_or_required() -> Result<()> {
    let mut heap = vec![0; 2 * PAGE];
    let preferred = StaticAllocatorBuilder::new().with_buffer(&mut heap).with_guard_regions(true);
    let report = preferred.build()?.report()?;
    assert_eq!(report.guard_regions.state, EnforcementState::Absent);
    assert!(report.guard_regions.to_string().starts_with("absent: no memory protection unit"));
    let required = StaticAllocatorBuilder::new()
        .with_buffer(&mut heap)
        .with_guard_regions(GuardRegions::Required);
    assert_eq!(required.build().err().unwrap().kind, ErrorKind::Unsupported);
    Ok(())
}

#[test]
fn many_allocations_at_a_time_come_from_linux() -> Result<()> {
    let allocator = LinuxAllocatorBuilder::new().with_guard_pages(true).build()?;
    let mut all = Vec::new();
    for mark in 0..5 {
        let mut pages = allocator.allocate(1, Some(16))?;
        pages.memory_mut().fill(mark);
        all.push(pages);
    }
    for (mark, pages) in all.iter().enumerate() {
        assert!(pages.memory().iter().all(|byte| usize::from(*byte) == mark));
    }
    assert_eq!(allocator.report()?.reserved_bytes, 5 * 18 * PAGE as u64);
    drop(all);
    assert_eq!(allocator.report()?.reserved_bytes, 0);
    Ok(())
}

/// The line of /proc/self/maps that an address lies in.
fn mapping_of(pages: &Pages<'_>) -> String {
    let address = pages.memory().as_ptr() as usize;
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let number = |text: &str| usize::from_str_radix(text, 16).unwrap();
    let holds = |line: &&str| {
        let (start, end) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
        (number(start)..number(end)).contains(&address)
    };
    maps.lines().find(holds).unwrap().to_owned()
}

#[test]
fn name_and_protection_are_the_kernels() -> Result<()> {
    let builder = LinuxAllocatorBuilder::new().with_name("rust heap").with_maximum_pages(2);
    let allocator = builder.build()?;
    let mut pages = allocator.allocate(2, None)?;
    let shown = mapping_of(&pages).contains("rust heap");
    assert_eq!(shown, allocator.report()?.name_source != NameSource::None);
    assert!(mapping_of(&pages).contains(" rw-"));
    // SAFETY: no slice of the memory is written before it may be written again.
    unsafe { pages.protect(0, PAGE, Protection::READ)? };
    assert!(mapping_of(&pages).contains(" r--"));
    // SAFETY: this gives access back.
    unsafe { pages.protect(0, PAGE, Protection::READ | Protection::WRITE)? };
    pages.memory_mut().fill(1);
    // SAFETY: it is refused.
    let error = unsafe { pages.protect(PAGE, 2 * PAGE, Protection::NONE) }.unwrap_err();
    assert_eq!(error.kind, ErrorKind::InvalidArgument);
    Ok(())
}

#[test]
fn populate_and_mlock_are_reported() -> Result<()> {
    let builder = LinuxAllocatorBuilder::new().with_maximum_pages(1);
    let plain = builder.build()?.report()?;
    assert_eq!(plain.populate.state, EnforcementState::NotAsked);
    let builder = LinuxAllocatorBuilder::new().with_populate(true).with_mlock(true);
    let report = builder.build()?.report()?;
    assert_ne!(report.populate.state, EnforcementState::NotAsked);
    assert_eq!(report.mlock.state, EnforcementState::Enforced);
    Ok(())
}

#[test]
fn names_that_no_kernel_takes_are_refused() {
    let too_long = "n".repeat(80);
    for name in ["", too_long.as_str(), "a[b", "a\0b", "ä"] {
        let error = LinuxAllocatorBuilder::new().with_name(name).build().err().unwrap();
        assert_eq!(error.kind, ErrorKind::InvalidArgument, "{name}");
    }
    assert!(LinuxAllocatorBuilder::new().with_name(&too_long[1..]).build().is_ok());
}

#[test]
fn guard_bytes_and_intervals_reach_c() -> Result<()> {
    let builder = LinuxAllocatorBuilder::new().with_guard_pages(true).with_guard_bytes(1 << 20);
    let allocator = builder
        .with_verification_level(VerificationLevel::Sampling)
        .with_sampling_interval(1)
        .build()?;
    let pages = allocator.allocate(0, Some(1))?;
    assert_eq!(allocator.report()?.reserved_bytes, (1 << 21) + PAGE as u64);
    pages.release()?;
    let odd = LinuxAllocatorBuilder::new().with_guard_bytes(1).build();
    assert_eq!(odd.err().unwrap().kind, ErrorKind::InvalidArgument);
    Ok(())
}
