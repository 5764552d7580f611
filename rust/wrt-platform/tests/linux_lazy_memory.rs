//! Memory that is loaded on first touch, and which pages were written, from Rust.
#![cfg(target_os = "linux")]

use std::{
    env,
    error::Error as _,
    fs, process,
    sync::{Arc, Mutex},
    time::Duration,
};

use wrt_platform::linux::{
    lazy_memory::LazyMemoryBuilder,
    mte::{LinuxArm64MteAllocator, LinuxArm64MteAllocatorBuilder},
    write_tracker::{TrackingMethod, WriteTrackerBuilder},
};
use wrt_platform::{EnforcementState, ErrorKind, LinuxAllocatorBuilder, PageAllocator};

const CHUNK: usize = 65536;

fn image() -> Vec<u8> {
    (0..300_000u32).map(|place| (place / 7) as u8).collect()
}

#[test]
fn a_function_is_asked_for_what_is_touched() {
    let image = Arc::new(image());
    let calls = Arc::new(Mutex::new(Vec::new()));
    let (source, seen) = (image.clone(), calls.clone());
    let load = move |offset: u64, bytes: &mut [u8]| {
        seen.lock().unwrap().push(offset);
        let offset = offset as usize;
        bytes.copy_from_slice(&source[offset..offset + bytes.len()]);
        Ok(())
    };
    let builder = LazyMemoryBuilder::new().with_load(load).with_image_size(image.len() as u64);
    let lazy = builder.with_maximum_pages(8).build().unwrap();
    let mut pages = lazy.allocate(8, None).unwrap();
    if lazy.report().unwrap().lazy.state != EnforcementState::Enforced {
        return;
    }
    assert_eq!(pages.memory()[200_000], image[200_000]);
    assert_eq!(*calls.lock().unwrap(), [3 * CHUNK as u64]);
    lazy.load(0, 10).unwrap();
    assert_eq!(lazy.report().unwrap().touch_count, 1);
    pages.memory_mut()[5] = 9;
    assert_eq!(pages.memory()[6..image.len()], image[6..]);
    assert!(pages.memory()[image.len()..].iter().all(|&byte| byte == 0));
    assert_eq!(calls.lock().unwrap().len(), 5);
    assert_eq!(lazy.allocate(8, None).err().unwrap().kind, ErrorKind::Busy);
}

#[test]
fn what_the_function_fails_with_is_the_source() {
    for panics in [false, true] {
        let load = move |_, _: &mut [u8]| {
            assert!(!panics, "no image");
            Err("no chunk".into())
        };
        let builder = LazyMemoryBuilder::new().with_load(load).with_image_size(100_000);
        let lazy = builder.with_maximum_pages(2).with_require_lazy(false).build().unwrap();
        let Ok(_pages) = lazy.allocate(2, None) else { continue };
        let error = lazy.load(70_000, 1).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Host);
        let text = error.source().unwrap().to_string();
        assert!(text.contains(if panics { "panicked: no image" } else { "no chunk" }), "{text}");
        assert_eq!(lazy.report().unwrap().failed_chunks, 1);
        assert_eq!(lazy.report().unwrap().failure.unwrap().kind, ErrorKind::Host);
    }
}

#[test]
fn a_file_is_loaded_and_what_is_loaded_is_not_written() {
    let path = env::temp_dir().join(format!("wrt-lazy-{}", process::id()));
    fs::write(&path, image()).unwrap();
    let builder = LazyMemoryBuilder::new().with_path(&path).with_chunk_bytes(4096);
    let builder = builder.with_timeout(Duration::from_secs(1)).with_file_offset(4096);
    let lazy = builder.with_maximum_pages(8).build().unwrap();
    fs::remove_file(&path).unwrap();
    let mut pages = lazy.allocate(8, None).unwrap();
    let builder = WriteTrackerBuilder::new().with_pages(&mut pages).with_lazy_memory(&lazy);
    let mut tracker = match builder.build() {
        Err(error) => return assert_eq!(error.kind, ErrorKind::Unsupported),
        Ok(tracker) => tracker,
    };
    assert_eq!(tracker.memory()[10_000], image()[14_096]);
    tracker.memory_mut()[50_000] ^= 1;
    let written = tracker.take().unwrap();
    assert_eq!(written.pages, [50_000 / written.page_bytes]);
    assert_eq!(tracker.take().unwrap().pages, [0; 0]);
    assert_eq!(
        LazyMemoryBuilder::new().with_path(&path).build().err().unwrap().kind,
        ErrorKind::NotFound
    );
}

#[test]
fn each_method_tells_what_was_written() {
    let allocator = LinuxAllocatorBuilder::new().with_maximum_pages(16).build().unwrap();
    for method in [TrackingMethod::Default, TrackingMethod::Compare] {
        let mut pages = allocator.allocate(4, None).unwrap();
        let builder = WriteTrackerBuilder::new().with_pages(&mut pages).with_method(method);
        let mut tracker = builder.build().unwrap();
        let page = tracker.report().unwrap().page_bytes as usize;
        tracker.memory_mut()[0] = 1;
        tracker.memory_mut()[3 * page..5 * page].fill(1);
        tracker.grow(1).unwrap();
        tracker.memory_mut()[4 * CHUNK] = 1;
        let last = 4 * CHUNK / page;
        assert_eq!(tracker.read().unwrap().pages, [0, 3, 4, last]);
        let runs: Vec<_> = tracker.take().unwrap().runs().collect();
        assert_eq!(runs, [0..page, 3 * page..5 * page, last * page..(last + 1) * page]);
        tracker.memory_mut()[page] = 1;
        tracker.mark().unwrap();
        assert!(tracker.take().unwrap().pages.is_empty());
    }
    assert_eq!(WriteTrackerBuilder::new().build().err().unwrap().kind, ErrorKind::InvalidArgument);
}

#[test]
fn tags_are_there_or_it_is_said_why_not() {
    let builder = LinuxArm64MteAllocatorBuilder::new().with_tag_mask(0xFF);
    if LinuxArm64MteAllocator::is_available() {
        let (pointer, size) = builder.build().unwrap().allocate_tagged(16, 0xA).unwrap();
        assert_eq!((pointer.tag(), size), (0xA, 16));
        return;
    }
    let error = builder.build().err().unwrap();
    assert_eq!(error.kind, ErrorKind::Unsupported);
    assert!(error.to_string().contains("64-bit Arm") || error.to_string().contains("HWCAP2"));
    let broken = LinuxArm64MteAllocatorBuilder::new().with_tag_mask(1 << 16).build();
    assert_eq!(broken.err().unwrap().kind, ErrorKind::InvalidArgument);
}
