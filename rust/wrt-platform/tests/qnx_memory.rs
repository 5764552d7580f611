//! The Rust faces of QNX's memory, arena and partitions, on the simulated kernel; the C rules
//! themselves are proven by the tests of the C library (tests/qnx).

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc,
    thread,
};

use wrt_platform::{
    EnforcementState, ErrorKind, PageAllocator, PartitionGuard, QnxAllocatorBuilder,
    QnxArenaAllocatorBuilder, QnxIsolation, QnxMemoryPartition, QnxMemoryPartitionBuilder,
    QnxPartitionFlags, QnxPartitionKeeper, QnxProtFlags, Result, VerificationLevel,
    qnx::partition::current_partition,
};

const PAGE: u64 = 65536;

fn partition(maximum: u64) -> QnxMemoryPartition {
    QnxMemoryPartitionBuilder::new().with_memory_size(0, maximum, 0).build().unwrap()
}

fn is_current(partition: &QnxMemoryPartition) -> bool {
    let before = partition.report().unwrap().allocator_count;
    let allocator = QnxAllocatorBuilder::new().build().unwrap();
    let inside = partition.report().unwrap().allocator_count == before + 1;
    drop(allocator);
    assert_eq!(partition.report().unwrap().allocator_count, before);
    inside
}

#[test]
fn pages_grow_in_place_with_guards() -> Result<()> {
    let allocator = QnxAllocatorBuilder::new()
        .with_maximum_pages(16)
        .with_guard_pages(true)
        .with_guard_bytes(4096)
        .with_lazy(true)
        .with_data_protection(QnxProtFlags::ReadWrite)
        .with_verification_level(VerificationLevel::Sampling)
        .with_sampling_interval(2)
        .build()?;
    let mut pages = allocator.allocate(1, None)?;
    let base = pages.memory().as_ptr();
    pages.memory_mut().fill(7);
    pages.grow(2)?;
    assert_eq!((pages.memory().as_ptr(), pages.maximum_pages()), (base, 16));
    assert!(pages.memory()[PAGE as usize..].iter().all(|byte| *byte == 0));
    let report = allocator.report()?;
    assert_eq!(report.guard_pages.state, EnforcementState::Enforced);
    assert_eq!(report.reserved_bytes, 16 * PAGE + 2 * 4096);
    assert_eq!((report.allocation_count, report.page_count, report.peak_pages), (1, 3, 3));
    assert_eq!(report.commitment.state, EnforcementState::NotAsked);
    pages.release()
}

#[test]
fn partition_counts_what_is_built_inside() -> Result<()> {
    let top = QnxMemoryPartitionBuilder::new().with_memory_size(0, 8 * PAGE, 0).build()?;
    let tenant = QnxMemoryPartitionBuilder::new()
        .with_name("tenant1")
        .with_parent(&top)
        .with_memory_size(2 * PAGE, 4 * PAGE, PAGE)
        .build()?;
    assert_eq!(top.report()?.used_bytes, 2 * PAGE);
    let allocator = tenant.with_partition(|| QnxAllocatorBuilder::new().build())?;
    let free = QnxAllocatorBuilder::new().without_partition().build()?;
    let named = QnxAllocatorBuilder::new().with_partition(&top).build()?;
    let mut pages = allocator.allocate(3, Some(8))?;
    let others = (free.allocate(4, None)?, named.allocate(1, None)?);
    assert_eq!((tenant.report()?.used_bytes, top.report()?.used_bytes), (3 * PAGE, 4 * PAGE));
    assert_eq!(pages.grow(1).unwrap_err().kind, ErrorKind::NoMemory); // the last for blocks
    drop((pages, others));
    let report = tenant.report()?;
    assert_eq!((report.used_bytes, report.peak_bytes), (0, 3 * PAGE));
    assert_eq!((report.minimum_bytes, report.maximum_bytes), (2 * PAGE, Some(4 * PAGE)));
    drop((tenant, allocator));
    assert_eq!((top.report()?.child_count, top.report()?.used_bytes), (0, 0));
    Ok(())
}

#[test]
fn isolation_is_reported_and_never_claimed() {
    let asked = || QnxMemoryPartitionBuilder::new().with_flags(QnxPartitionFlags::MemoryIsolation);
    let refused = asked().build().err().unwrap();
    assert_eq!(refused.kind, ErrorKind::Unsupported);
    assert!(refused.to_string().contains("ADDRESS or PROCESS"), "{refused}");
    let accounted = asked().with_allow_accounting_only(true).build().unwrap().report().unwrap();
    assert_eq!(accounted.isolation.state, EnforcementState::Absent);
    assert_eq!(accounted.level, QnxIsolation::Accounting);
    let flags = QnxPartitionFlags::MemoryIsolation | QnxPartitionFlags::Terminal;
    let addressed = asked().with_flags(flags).with_isolation(QnxIsolation::Address);
    let report = addressed.build().unwrap().report().unwrap();
    assert_eq!((report.level, report.keeper), (QnxIsolation::Address, QnxPartitionKeeper::Library));
    assert_eq!(report.isolation.state, EnforcementState::Partial);
    assert!(report.flags.contains(QnxPartitionFlags::Terminal));
    let long = QnxMemoryPartitionBuilder::new().with_name(&"n".repeat(32)).build();
    assert_eq!(long.err().unwrap().kind, ErrorKind::InvalidArgument);
}

#[test]
fn earlier_partition_is_back_after_value_error_and_panic() {
    let (first, second) = (partition(0), partition(PAGE));
    assert!(!is_current(&first));
    let value = first
        .with_partition(|| {
            assert!(is_current(&first));
            let refused = second.with_partition(|| {
                assert!(is_current(&second));
                QnxAllocatorBuilder::new().build()?.allocate(2, None).map(drop)
            });
            assert_eq!(refused.unwrap_err().kind, ErrorKind::NoMemory);
            assert!(is_current(&first));
            let panicked = catch_unwind(AssertUnwindSafe(|| {
                let _guard = PartitionGuard::new(&second).unwrap();
                assert!(is_current(&second));
                std::panic::resume_unwind(Box::new("on purpose"));
            }));
            assert!(panicked.is_err());
            assert!(is_current(&first));
            Ok(42)
        })
        .unwrap();
    assert_eq!(value, 42);
    assert!(!is_current(&first));
    assert_eq!(first.report().unwrap().entered_count, 0);
    assert_eq!(second.report().unwrap().entered_count, 0);
}

#[test]
fn guards_out_of_order_are_refused_and_lost_nowhere() {
    let (first, second) = (partition(0), partition(0));
    let outer = PartitionGuard::new(&first).unwrap();
    let inner = PartitionGuard::new(&second).unwrap();
    let refused = outer.leave().unwrap_err();
    assert_eq!(refused.kind, ErrorKind::State);
    assert!(refused.to_string().contains("out of order"), "{refused}");
    assert!(is_current(&second));
    assert_eq!(first.report().unwrap().entered_count, 1);
    inner.leave().unwrap(); // and the outer one, which has waited for it
    assert!(current_partition().is_none());
    assert_eq!(first.report().unwrap().entered_count, 0);
    drop(first);
}

#[test]
fn each_thread_has_its_own_current_partition() {
    let shared = partition(0);
    let guard = PartitionGuard::new(&shared).unwrap();
    let seen = thread::scope(|scope| {
        scope.spawn(|| (current_partition().is_none(), shared.report().is_ok())).join().unwrap()
    });
    assert_eq!(seen, (true, true));
    guard.leave().unwrap();
}

#[test]
fn one_partition_of_the_level_address_is_active_at_a_time() {
    let build = || QnxMemoryPartitionBuilder::new().with_isolation(QnxIsolation::Address).build();
    let (first, second) = (build().unwrap(), build().unwrap());
    let allocator = QnxAllocatorBuilder::new().with_partition(&first).build().unwrap();
    let (entered, wait) = mpsc::channel();
    let (leave, left) = mpsc::channel::<()>();
    let holder = second.clone();
    let thread = thread::spawn(move || {
        let _guard = PartitionGuard::new(&holder).unwrap();
        entered.send(()).unwrap();
        let _ = left.recv();
    });
    wait.recv().unwrap();
    assert_eq!(PartitionGuard::new(&first).err().unwrap().kind, ErrorKind::Busy);
    assert_eq!(allocator.allocate(1, Some(1)).err().unwrap().kind, ErrorKind::Busy);
    leave.send(()).unwrap();
    thread.join().unwrap();
    let _guard = PartitionGuard::new(&first).unwrap();
    allocator.allocate(1, Some(1)).unwrap().memory_mut().fill(1);
}

#[test]
fn processes_are_spawned_and_never_attached() -> Result<()> {
    let tenant = QnxMemoryPartitionBuilder::new()
        .with_name("spawned")
        .with_isolation(QnxIsolation::Process)
        .with_memory_size(0, 256 << 20, 0)
        .build()?;
    assert_eq!(tenant.attach_process(1).unwrap_err().kind, ErrorKind::Unsupported);
    assert_eq!(tenant.detach(1).unwrap_err().kind, ErrorKind::NotFound);
    let arguments = [c"sh", c"-c", c"[ \"$WORD\" = inside ] && exit 7"];
    let process = tenant.spawn(c"/bin/sh", &arguments, Some(&[c"WORD=inside"]), 64 << 20)?;
    assert_eq!((tenant.report()?.process_count, tenant.report()?.used_bytes), (1, 64 << 20));
    let code = loop {
        match tenant.detach(process) {
            Err(error) if error.kind == ErrorKind::Busy => thread::yield_now(),
            other => break other?,
        }
    };
    assert_eq!((code, tenant.report()?.used_bytes), (7, 0));
    Ok(())
}

#[test]
fn arena_sets_keys_and_serves_blocks() -> Result<()> {
    let tenant = partition(4096);
    let builder = || {
        QnxArenaAllocatorBuilder::new()
            .with_maximum_pages(4)
            .with_verification_level(VerificationLevel::Full)
            .with_sampling_interval(3)
            .with_arena_cache_max_size(256 * 1024)
            .with_arena_cache_max_blocks(8)
            .with_data_protection(QnxProtFlags::ReadWrite)
            .with_guard_pages(true)
            .with_guard_bytes(8192)
    };
    let arena = builder().with_arena_size(64 * 1024).with_partition(&tenant).build()?;
    assert_eq!(arena.report()?.arena_size, 64 * 1024);
    let refused = builder().with_arena_size(128 * 1024).without_partition().build();
    assert_eq!(refused.err().unwrap().kind, ErrorKind::Busy);
    let refused = QnxArenaAllocatorBuilder::new().with_lifo_free(true).build();
    assert_eq!(refused.err().unwrap().kind, ErrorKind::Unsupported);
    let refused = builder().with_memory_hold(true).build();
    assert_eq!(refused.err().unwrap().kind, ErrorKind::InvalidArgument);

    let mut block = arena.allocate_block(1000, 64)?;
    assert_eq!((block.memory().len(), block.memory().as_ptr() as usize % 64), (1000, 0));
    block.memory().fill(9);
    assert_eq!(tenant.report()?.used_bytes, 1000 + 64 + 8);
    assert_eq!(arena.allocate_block(4000, 0).err().unwrap().kind, ErrorKind::NoMemory);
    block.release()?;
    let report = arena.report()?;
    assert_eq!((report.block_count, report.peak_block_bytes, report.refusal_count), (0, 1000, 1));
    assert_eq!(report.arena_size_key.state, EnforcementState::Enforced);
    drop(arena);
    assert_eq!(tenant.report()?.allocator_count, 0);
    let again = QnxArenaAllocatorBuilder::new().with_arena_size(128 * 1024).build()?;
    assert_eq!(again.report()?.arena_size, 128 * 1024);
    Ok(())
}
