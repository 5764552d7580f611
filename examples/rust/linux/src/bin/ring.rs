//! Reads go on meanwhile: one, a batch in one system call, and one into a registered buffer.

use std::{env::temp_dir, error::Error, fs::File, os::fd::OwnedFd, process, sync::Arc};
use wrt_platform::linux_io_uring::{IoUringBuilder, IoUringRequest};

const BLOCK: usize = 4096;

/// A file of that size, without a name.
fn file_of(size: u64) -> std::io::Result<Arc<OwnedFd>> {
    let path = temp_dir().join(format!("ring-{}", process::id()));
    let file = File::options().read(true).write(true).create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    file.set_len(size)?;
    Ok(Arc::new(file.into()))
}

fn main() -> Result<(), Box<dyn Error>> {
    let file = file_of(50 * BLOCK as u64)?;
    let ring = IoUringBuilder::new().with_entries(256).build()?;
    ring.submit_read(&file, vec![0; BLOCK], 0, 42)?;
    let completion = ring.wait_completion()?;
    println!("request {}: {} bytes", completion.user_data, completion.data()?.len());

    let read = |at| IoUringRequest::read(&file, vec![0; BLOCK], at * BLOCK as u64, at);
    ring.submit((0..50).map(read).collect())?;
    let done = ring.wait(50, 50, None)?;
    let bytes: usize = done.iter().map(|each| each.data().map_or(0, <[u8]>::len)).sum();
    println!("batch: {} reads, {bytes} bytes", done.len());

    ring.register_buffers(2, BLOCK)?;
    ring.submit(vec![IoUringRequest::read_fixed(&file, 1, BLOCK, 0, 7)])?;
    println!("registered: {} bytes", ring.wait_completion()?.result);
    println!("by {}", ring.report()?.backend.name()); // the kernel's io_uring, or threads
    Ok(())
}
