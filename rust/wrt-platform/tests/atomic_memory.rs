//! The Rust face of atomic memory; the C rules themselves are proven by tests/test_atomic_memory.py.

use std::hash::Hasher;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};

use wrt_platform::atomic_memory::{AtomicRecord, KEY_SIZE};
use wrt_platform::{AtomicMemoryOps, CustomProvider, ErrorKind, PageAllocator, Result};
use wrt_platform::{PoolAllocator, StaticAllocatorBuilder};

#[repr(align(4))]
struct Memory([u8; 256]);

fn read<const SIZE: usize>(atomic_ops: &AtomicMemoryOps<'_>, offset: usize) -> Result<[u8; SIZE]> {
    let mut data = [0; SIZE];
    atomic_ops.atomic_read_with_checksum(offset, &mut data)?;
    Ok(data)
}

fn assert_send<T: Send>(value: T) -> T {
    value
}

#[test]
fn records_lie_behind_each_other_and_change_as_a_whole() -> Result<()> {
    let mut memory = Memory([0xA5; 256]);
    let provider = CustomProvider::with_memory(&mut memory.0);
    let second = provider.layout(4)?.bytes;
    let atomic_ops = assert_send(provider.into_atomic_ops()?);
    assert_eq!((second, atomic_ops.layout(5)?.bytes), (28, 36));
    atomic_ops.atomic_write_with_checksum(0, &[1, 2, 3, 4])?;
    atomic_ops.atomic_write_with_checksum(second, b"second")?;
    atomic_ops.atomic_write_with_checksum(0, &[5, 6, 7, 8])?;
    assert_eq!(read(&atomic_ops, 0)?, [5, 6, 7, 8]);
    assert_eq!(&read::<6>(&atomic_ops, second)?, b"second");
    let AtomicRecord { size, sequence, whole_count } = atomic_ops.record(0)?;
    assert_eq!((size, sequence, whole_count), (4, 4, 2));
    Ok(())
}

#[test]
fn memory_of_any_allocator_can_be_wrapped() -> Result<()> {
    let mut heap = vec![0; 80_000];
    let allocator = StaticAllocatorBuilder::new().with_buffer(&mut heap).build()?;
    let mut pages = allocator.allocate(1, None)?;
    let start = NonNull::new(pages.memory_mut().as_mut_ptr()).unwrap();
    // SAFETY: the pages are out for as long as the operations.
    let by_pointer = unsafe { CustomProvider::new(start, 65536) }.into_atomic_ops()?;
    by_pointer.atomic_write_with_checksum(65000, b"pages")?;
    drop(by_pointer);
    let by_slice = CustomProvider::with_memory(pages.memory_mut()).into_atomic_ops()?;
    assert_eq!(&read::<5>(&by_slice, 65000)?, b"pages");

    let mut words = [0u64; 8];
    let mut pools = PoolAllocator::new().with_buffer(&mut words);
    pools.add_pool(64, 1)?;
    let pool = pools.build()?;
    let mut block = pool.allocate(64)?;
    let in_block = CustomProvider::with_memory(block.memory()).into_atomic_ops()?;
    in_block.atomic_write_with_checksum(0, b"block")?;
    assert_eq!(&read::<5>(&in_block, 0)?, b"block");
    Ok(())
}

#[test]
fn what_does_not_fit_is_refused() -> Result<()> {
    let mut memory = Memory([0; 256]);
    assert!(CustomProvider::with_memory(&mut memory.0[1..]).into_atomic_ops().is_err());
    assert!(CustomProvider::with_memory(&mut []).into_atomic_ops().is_err());
    let atomic_ops = CustomProvider::with_memory(&mut memory.0).into_atomic_ops()?;
    for (offset, size) in [(232, 4), (256, 1), (usize::MAX - 3, 1), (0, 119), (2, 4), (0, 0)] {
        let error = atomic_ops.atomic_write_with_checksum(offset, &vec![1; size]).err().unwrap();
        assert_eq!(error.kind, ErrorKind::InvalidArgument, "{offset} {size}");
    }
    assert_eq!(read::<4>(&atomic_ops, 0).err().unwrap().kind, ErrorKind::NotFound);
    atomic_ops.atomic_write_with_checksum(0, &[1; 116])?;
    let error = atomic_ops.atomic_write_with_checksum(0, &[1; 4]).err().unwrap();
    assert_eq!(error.kind, ErrorKind::State);
    Ok(())
}

#[test]
fn readers_of_other_threads_see_whole_records() -> Result<()> {
    let mut memory = Memory([0; 256]);
    let atomic_ops = CustomProvider::with_memory(&mut memory.0).into_atomic_ops()?;
    atomic_ops.atomic_write_with_checksum(0, &[0; 100])?;
    let reader = atomic_ops.reader();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut data = [0; 100];
                    while !is_over.load(Ordering::Acquire) {
                        reader.atomic_read_with_checksum(0, &mut data).unwrap();
                        assert!(data.iter().all(|byte| *byte == data[0]), "{data:?}");
                    }
                })
            })
            .collect();
        for number in 0..20_000u32 {
            atomic_ops.atomic_write_with_checksum(0, &[number as u8; 100]).unwrap();
        }
        is_over.store(true, Ordering::Release);
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
    assert_eq!(read(&atomic_ops, 0)?, [19_999u32 as u8; 100]);
    Ok(())
}

/// The checksum of a record, by the SipHash of the standard library.
#[expect(deprecated, reason = "the standard library's only SipHash-2-4 with a key")]
fn siphash(key: &[u8; KEY_SIZE], offset: u64, size: u32, sequence: u32, data: &[u8]) -> [u8; 8] {
    let half = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
    let mut hasher = std::hash::SipHasher::new_with_keys(half(&key[..8]), half(&key[8..]));
    for part in [&offset.to_le_bytes()[..], &size.to_le_bytes(), &sequence.to_le_bytes(), data] {
        hasher.write(part);
    }
    hasher.finish().to_le_bytes()
}

#[test]
#[cfg(target_endian = "little")]
fn keyed_records_are_those_of_the_standard_librarys_siphash() -> Result<()> {
    let mut memory = Memory([0; 256]);
    let key = b"sixteen letters.";
    for size in [1usize, 4, 7, 8, 33] {
        let data: Vec<u8> = (1..=size as u8).collect();
        let atomic_ops =
            CustomProvider::with_memory(&mut memory.0[60..]).with_key(key).into_atomic_ops()?;
        atomic_ops.atomic_write_with_checksum(8, &data)?;
        drop(atomic_ops);
        let check_at = 60 + 8 + 8 + size.next_multiple_of(4);
        let expected = siphash(key, 8, size as u32, 2, &data);
        assert_eq!(memory.0[check_at..check_at + 8], expected, "{size}");
        memory.0.fill(0);
    }
    Ok(())
}

#[test]
fn another_key_reads_nothing() -> Result<()> {
    let mut memory = Memory([0; 256]);
    let write = |memory: &mut [u8], key: &[u8; KEY_SIZE]| {
        CustomProvider::with_memory(memory)
            .with_key(key)
            .into_atomic_ops()?
            .atomic_write_with_checksum(0, &[1; 8])
    };
    write(&mut memory.0, b"sixteen letters.")?;
    let atomic_ops = CustomProvider::with_memory(&mut memory.0)
        .with_key(b"sixteen letters!")
        .into_atomic_ops()?;
    assert_eq!(read::<8>(&atomic_ops, 0).err().unwrap().kind, ErrorKind::State);
    Ok(())
}
