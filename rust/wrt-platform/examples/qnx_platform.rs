//! The code blocks of qnx_platform.rst, each as a function, on the simulated kernel:
//! `cargo run --example qnx_platform`. What is written in another way than there is listed, with
//! the reason, in docs/documents_qnx.rst.

use std::error::Error;

use wrt_platform::sim::qnx;
use wrt_platform::{
    CustomProvider, EnforcementState, ErrorKind, PageAllocator, QnxArenaAllocatorBuilder,
    VerificationLevel,
};
use wrt_platform_sys as sys;

#[path = "qnx_documents/guest.rs"]
mod guest;
#[path = "qnx_documents/partitions.rs"]
mod partitions;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The document shows private fields; what they tell is in the report and in the loan.
fn arena_allocator() -> Result<()> {
    let allocator = QnxArenaAllocatorBuilder::new().with_maximum_pages(4).build()?;
    let first = allocator.allocate(1, Some(2))?;
    let second = allocator.allocate(2, None)?; // any number, not one
    let report = allocator.report()?;
    assert_eq!((report.allocation_count, report.page_count), (2, 3));
    assert_eq!((first.maximum_pages(), second.maximum_pages()), (2, 4));
    Ok(())
}

fn builder_pattern() -> Result<()> {
    let builder = || {
        QnxArenaAllocatorBuilder::new()
            .with_arena_size(64 * 1024)
            .with_arena_cache_max_blocks(8)
            .with_arena_cache_max_size(256 * 1024)
            .with_lifo_free(true)
            .with_guard_pages(true)
            .with_verification_level(VerificationLevel::Full)
    };
    let refused = builder().build().err().expect("nothing in a running process can do it");
    assert_eq!(refused.kind, ErrorKind::Unsupported);
    start_with_lifo()?;
    let allocator = builder().build().expect("Failed to create arena allocator");
    assert_eq!(allocator.report()?.lifo_free.state, EnforcementState::Enforced);
    Ok(())
}

/// As if the process had been started with MALLOC_FREE_LIFO=1.
fn start_with_lifo() -> Result<()> {
    // SAFETY: both texts are there for ever.
    let status =
        unsafe { sys::wrt_sim_qnx_set_environment(c"MALLOC_FREE_LIFO".as_ptr(), c"1".as_ptr()) };
    assert_eq!(status, sys::WRT_OK as sys::wrt_status);
    Ok(qnx::reset()?)
}

fn atomic_memory_ops() -> Result<()> {
    // Create QNX arena allocator
    let allocator = QnxArenaAllocatorBuilder::new()
        .with_arena_size(64 * 1024)
        .build()
        .expect("Failed to create allocator");
    // Allocate 2 pages
    let mut memory = allocator.allocate(2, Some(4)).expect("Failed to allocate memory");
    // Create a memory provider for this memory
    let provider = CustomProvider::with_memory(memory.memory_mut());
    // Create atomic memory operations handler
    let atomic_ops = provider.into_atomic_ops().expect("Failed to create atomic ops");
    // Use atomic operations for safe memory access
    atomic_ops.atomic_write_with_checksum(0, &[1, 2, 3, 4]).expect("Failed to write data");
    let mut data = [0; 4];
    atomic_ops.atomic_read_with_checksum(0, &mut data)?;
    assert_eq!(data, [1, 2, 3, 4]);
    Ok(())
}

fn main() -> Result<()> {
    arena_allocator()?;
    println!("arena_allocator");
    builder_pattern()?;
    println!("builder_pattern");
    atomic_memory_ops()?;
    println!("atomic_memory_ops");
    for (name, block) in partitions::BLOCKS {
        block()?;
        println!("{name}");
    }
    Ok(())
}
