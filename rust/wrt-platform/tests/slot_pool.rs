//! Slots of linear memory: nothing of the last tenant is there for the next, whatever it left.
#![cfg(target_os = "linux")]

use wrt_platform::linux::slot_pool::LinuxSlotPoolBuilder;
use wrt_platform::{ErrorKind, Instance, Module, PageAllocator, Value};

const PAGE: usize = 65536;

#[test]
fn a_slot_is_clean_for_the_next_tenant_whatever_the_last_one_wrote() {
    let pool =
        LinuxSlotPoolBuilder::new().with_slot_count(1).with_maximum_pages(64).with_keep_bytes(8192);
    let pool = pool.build().unwrap();
    for dirtied in [1, 4096, 8193, 3 * PAGE, 64 * PAGE] {
        let mut pages = pool.allocate(64, None).unwrap();
        assert!(pages.memory().iter().all(|byte| *byte == 0), "before {dirtied}");
        let last = pages.size() - 1;
        pages.memory_mut()[..dirtied].fill(0xA5);
        pages.memory_mut()[last] = 1;
        assert_eq!(pool.allocate(1, None).err().unwrap().kind, ErrorKind::Busy);
        drop(pages);
    }
    let report = pool.report().unwrap();
    assert_eq!((report.slot_count, report.allocation_count, report.peak_pages), (1, 0, 64));
    assert!(report.cleaned_bytes > 0 && report.dropped_bytes > 0);
}

#[test]
fn an_image_is_there_for_each_tenant_as_it_was() {
    let image: Vec<u8> = (0..PAGE * 2).map(|at| (at % 251) as u8).collect();
    let pool = LinuxSlotPoolBuilder::new()
        .with_slot_count(2)
        .with_maximum_pages(8)
        .with_image(&image)
        .build()
        .unwrap();
    for _ in 0..3 {
        let (mut one, two) = (pool.allocate(4, None).unwrap(), pool.allocate(4, None).unwrap());
        assert!(
            one.memory()[..image.len()] == image[..] && two.memory()[..image.len()] == image[..]
        );
        one.memory_mut()[..image.len()].fill(0);
        assert!(two.memory()[..image.len()] == image[..], "they share what they write");
        assert!(one.memory()[image.len()..].iter().all(|byte| *byte == 0));
    }
}

#[test]
fn instances_run_in_slots_one_after_the_other() {
    let bytes = wat::parse_str(
        r#"(module (memory (export "memory") 1 4)
          (func (export "next") (result i32)
            (i32.store (i32.const 8) (i32.add (i32.load (i32.const 8)) (i32.const 1)))
            (i32.load (i32.const 8))))"#,
    )
    .unwrap();
    let module = Module::new(&bytes).unwrap();
    let mut pool =
        LinuxSlotPoolBuilder::new().with_slot_count(1).with_maximum_pages(4).build().unwrap();
    for _ in 0..5 {
        let mut instance =
            Instance::builder().with_module(&module).with_allocator(&mut pool).build().unwrap();
        for number in 1..4 {
            assert_eq!(instance.call("next", &[]).unwrap(), [Value::I32(number)]);
        }
    }
    assert_eq!(pool.report().unwrap().allocation_count, 0);
}
