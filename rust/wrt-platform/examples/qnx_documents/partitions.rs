//! The blocks on partitions, which qnx_platform.rst and qnx_memory_partitioning.md have in common,
//! letter by letter.

use std::{error::Error, thread::sleep, time::Duration};

use wrt_platform::qnx::partition::current_partition;
use wrt_platform::{
    ErrorKind, PageAllocator, PartitionGuard, QnxAllocatorBuilder, QnxArenaAllocatorBuilder,
    QnxIsolation, QnxMemoryPartition, QnxMemoryPartitionBuilder, QnxPartitionFlags, Value,
};

use super::guest::execute_wasm_module;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The documents show private fields; what they tell is in the report.
pub fn memory_partition() -> Result<()> {
    let parent: QnxMemoryPartition =
        QnxMemoryPartitionBuilder::new().with_name("parent").build()?;
    let child = QnxMemoryPartitionBuilder::new().with_name("child").with_parent(&parent).build()?;
    assert_eq!((parent.report()?.child_count, child.report()?.child_count), (1, 0));
    Ok(())
}

pub fn memory_isolation() -> Result<()> {
    let partition = QnxMemoryPartitionBuilder::new()
        .with_name("wasm_instance1")
        .with_flags(QnxPartitionFlags::MemoryIsolation)
        .with_isolation(QnxIsolation::Address)
        .build()
        .unwrap();
    assert_eq!(partition.report()?.level, QnxIsolation::Address);
    Ok(())
}

pub fn resource_controls() -> Result<()> {
    let partition = QnxMemoryPartitionBuilder::new()
        .with_name("limited_instance")
        .with_memory_size(
            4 * 1024 * 1024,  // 4MB minimum guaranteed
            16 * 1024 * 1024, // 16MB maximum allowed
            1024 * 1024,      // 1MB reserved
        )
        .build()
        .unwrap();
    let allocator = QnxAllocatorBuilder::new().with_partition(&partition).build()?;
    assert_eq!(allocator.allocate(241, None).err().unwrap().kind, ErrorKind::NoMemory);
    assert_eq!(allocator.allocate(240, None)?.page_count(), 240);
    Ok(())
}

pub fn partition_guard() -> Result<()> {
    let partition = QnxMemoryPartitionBuilder::new().with_name("guarded").build()?;
    {
        let _guard = PartitionGuard::new(&partition).unwrap();
        assert!(current_partition().is_some());
        // Partition is automatically restored when guard goes out of scope
    }
    assert!(current_partition().is_none());
    Ok(())
}

pub fn with_partition() -> Result<()> {
    let partition = QnxMemoryPartitionBuilder::new().with_name("within").build()?;
    let result = partition.with_partition(|| {
        // Allocate memory within the partition
        // Execute WebAssembly code
        let some_result = execute_wasm_module()?;
        Ok(some_result)
    });
    assert_eq!(result?, [Value::I32(42)]);
    assert!(partition.report()?.peak_bytes >= 1 << 16);
    Ok(())
}

pub fn process_attachment() -> Result<()> {
    let partition = QnxMemoryPartitionBuilder::new().with_name("attached").build()?;
    let process_id = 1;
    let refused = partition.attach_process(process_id).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Unsupported);
    let process_id = partition.spawn(c"/bin/sh", &[c"sh", c"-c", c"exit 3"], None, 0)?;
    assert_eq!(partition.report()?.process_count, 1);
    assert_eq!(exit_code_of(&partition, process_id)?, 3);
    Ok(())
}

fn exit_code_of(partition: &QnxMemoryPartition, process_id: i32) -> Result<i32> {
    loop {
        match partition.detach(process_id) {
            Err(error) if error.kind == ErrorKind::Busy => sleep(Duration::from_millis(10)),
            ended => return Ok(ended?),
        }
    }
}

pub fn memory_allocator_integration() -> Result<()> {
    let partition = QnxMemoryPartitionBuilder::new()
        .with_name("wasm_instance")
        .with_memory_size(4 * 1024 * 1024, 16 * 1024 * 1024, 1024 * 1024)
        .build()
        .unwrap();
    let allocator = partition
        .with_partition(|| QnxArenaAllocatorBuilder::new().with_arena_size(64 * 1024).build())?;
    let before = partition.report()?.used_bytes;
    let wasm_memory = allocator.allocate(1, Some(4)).unwrap();
    assert!(partition.report()?.used_bytes >= before + (1 << 16));
    wasm_memory.release()?;
    assert_eq!(partition.report()?.used_bytes, before);
    Ok(())
}

pub fn multi_tenant_execution() -> Result<()> {
    let tenant1_partition = QnxMemoryPartitionBuilder::new()
        .with_name("tenant1")
        .with_flags(QnxPartitionFlags::MemoryIsolation)
        .with_isolation(QnxIsolation::Address)
        .with_memory_size(4 * 1024 * 1024, 16 * 1024 * 1024, 1024 * 1024)
        .build()
        .unwrap();
    let tenant2_partition = QnxMemoryPartitionBuilder::new()
        .with_name("tenant2")
        .with_flags(QnxPartitionFlags::MemoryIsolation)
        .with_isolation(QnxIsolation::Address)
        .with_memory_size(4 * 1024 * 1024, 16 * 1024 * 1024, 1024 * 1024)
        .build()
        .unwrap();
    let first = tenant1_partition.with_partition(execute_wasm_module).unwrap();
    let second = tenant2_partition.with_partition(execute_wasm_module).unwrap();
    assert_eq!((&first[..], &second[..]), (&[Value::I32(42)][..], &[Value::I32(42)][..]));
    Ok(())
}

type Block = (&'static str, fn() -> Result<()>);

/// All of them, in the documents' order.
pub const BLOCKS: [Block; 8] = [
    ("memory_partition", memory_partition),
    ("memory_isolation", memory_isolation),
    ("resource_controls", resource_controls),
    ("partition_guard", partition_guard),
    ("with_partition", with_partition),
    ("process_attachment", process_attachment),
    ("memory_allocator_integration", memory_allocator_integration),
    ("multi_tenant_execution", multi_tenant_execution),
];
