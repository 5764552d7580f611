//! Memory accounts and counted allocators, driven through the Rust face.

use std::thread;

use wrt_platform::linux::memory::LinuxAllocatorBuilder;
use wrt_platform::memory_account::{
    CountedAllocatorBuilder, MemoryAccount, MemoryAccountBuilder as Builder,
};
use wrt_platform::{ErrorKind, PAGE_SIZE, PageAllocator};

fn used(account: &MemoryAccount) -> u64 {
    account.usage().unwrap().used
}

#[test]
fn minimum_is_kept_and_a_refusal_changes_nothing() {
    let root = Builder::new().with_maximum(100).build().unwrap();
    let modest = Builder::new().with_parent(&root).with_minimum(40).build().unwrap();
    let greedy = Builder::new().with_parent(&root).with_name("greedy").build().unwrap();
    let error = greedy.charge(61).unwrap_err();
    assert_eq!((error.kind, error.detail), (ErrorKind::NoMemory, [61, 60]));
    assert_eq!((used(&greedy), used(&root)), (0, 40));
    greedy.charge(60).unwrap();
    modest.charge(40).unwrap();
    assert_eq!(used(&root), 100);
    assert_eq!(modest.refund(41).unwrap_err().kind, ErrorKind::State);
    assert_eq!(greedy.name(str::to_owned).unwrap(), "greedy");
    drop((modest, greedy));
    assert_eq!((used(&root), root.usage().unwrap().children), (0, 0));
}

#[test]
fn parent_lives_as_long_as_its_children() {
    let root = Builder::new().with_maximum(10).build().unwrap();
    let child = Builder::new().with_parent(&root).build().unwrap();
    drop(root);
    child.charge(10).unwrap();
    assert_eq!(child.charge(1).unwrap_err().kind, ErrorKind::NoMemory);
}

#[test]
fn threads_leave_exact_counts() {
    let root = Builder::new().build().unwrap();
    let work = |account: MemoryAccount| {
        move || {
            for bytes in 0..1000 {
                account.charge(bytes).unwrap();
                account.refund(bytes / 2).unwrap();
            }
            account
        }
    };
    let child = || Builder::new().with_parent(&root).build().unwrap();
    let threads: Vec<_> = (0..4).map(|_| thread::spawn(work(child()))).collect();
    let children: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    let each: u64 = (0..1000).map(|bytes| bytes - bytes / 2).sum();
    assert!(children.iter().all(|child| used(child) == each));
    assert_eq!(used(&root), 4 * each);
}

#[test]
fn pages_are_charged_and_come_back() {
    let account = Builder::new().with_maximum(3 * PAGE_SIZE as u64).build().unwrap();
    let inner = LinuxAllocatorBuilder::new().build().unwrap();
    let view =
        CountedAllocatorBuilder::new().with_inner(&inner).with_account(&account).build().unwrap();
    let mut pages = view.allocate(2, Some(8)).unwrap();
    pages.memory_mut()[0] = 7;
    assert_eq!(pages.grow(2).unwrap_err().kind, ErrorKind::NoMemory);
    pages.grow(1).unwrap();
    assert_eq!((pages.memory()[0], used(&account)), (7, 3 * PAGE_SIZE as u64));
    assert_eq!(view.report().unwrap().refused, 1);
    drop(pages);
    assert_eq!(used(&account), 0);
    assert_eq!(
        CountedAllocatorBuilder::new().build().err().unwrap().kind,
        ErrorKind::InvalidArgument
    );
}
