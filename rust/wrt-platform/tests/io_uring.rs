//! Rings: buffers move in and come back, over both backends.
#![cfg(target_os = "linux")]

use std::{
    fs::{self, File},
    io::Write,
    os::fd::OwnedFd,
    os::unix::{fs::FileExt, net::UnixStream},
    sync::Arc,
    time::{Duration, Instant},
};

use wrt_platform::linux::io_uring::{
    Completion, IoUring, IoUringBackend, IoUringBuilder, IoUringOperation, IoUringRequest, probe,
};
use wrt_platform::{EnforcementState, Error, ErrorKind};

const ECANCELED: i32 = 125;
const ETIME: i32 = 62;

/// All that this machine has.
fn rings() -> Vec<IoUring> {
    let there = IoUring::is_available().unwrap();
    let backends = [IoUringBackend::Threads, IoUringBackend::Kernel];
    let builders = backends[..if there { 2 } else { 1 }].iter();
    builders.map(|kind| IoUringBuilder::new().with_backend(*kind).build().unwrap()).collect()
}

fn this_program() -> (File, Arc<OwnedFd>) {
    let open = || File::open("/proc/self/exe").unwrap();
    (open(), Arc::new(OwnedFd::from(open())))
}

fn silent_pipe() -> (Arc<OwnedFd>, UnixStream) {
    let (reader, writer) = UnixStream::pair().unwrap();
    (Arc::new(OwnedFd::from(reader)), writer)
}

#[test]
fn the_probe_says_what_a_demand_says() {
    let built = IoUringBuilder::new().with_backend(IoUringBackend::Kernel).build();
    assert_eq!(probe().unwrap().state == EnforcementState::Enforced, built.is_ok());
    let threads = IoUringBuilder::new().with_backend(IoUringBackend::Threads).build().unwrap();
    let report = threads.report().unwrap();
    assert_eq!((report.backend.name(), report.descriptor), ("threads", -1));
    assert_eq!(report.kernel.state, EnforcementState::NotAsked);
}

#[test]
fn what_is_read_equals_what_the_file_has_and_the_buffer_comes_back() {
    let (file, shared) = this_program();
    let length = file.metadata().unwrap().len();
    for ring in rings() {
        for (place, offset) in [0, 1, 4095, length - 10, length, length + 1].into_iter().enumerate()
        {
            let buffer = vec![0xee; 1000];
            let start = buffer.as_ptr();
            ring.submit_read(&shared, buffer, offset, place as u64).unwrap();
            let completion = ring.wait_completion().unwrap();
            let mut expected = vec![0xee; 1000];
            let size = file.read_at(&mut expected, offset).unwrap();
            assert_eq!(completion.user_data, place as u64);
            assert_eq!(completion.result as usize, size);
            assert_eq!(completion.data().unwrap(), &expected[..size]);
            assert_eq!(completion.buffer, expected);
            assert_eq!(completion.buffer.as_ptr(), start);
        }
    }
}

#[test]
fn what_is_written_is_in_the_file() {
    let path = std::env::temp_dir().join(format!("wrt-io-uring-{}", std::process::id()));
    for ring in rings() {
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path);
        let shared = Arc::new(OwnedFd::from(file.unwrap()));
        ring.submit_write(&shared, b"hello".to_vec(), 3, 1).unwrap();
        assert_eq!(ring.wait_completion().unwrap().result, 5);
        ring.submit_fsync(&shared, 2).unwrap();
        let completion = ring.wait_completion().unwrap();
        assert_eq!((completion.result, completion.operation), (0, IoUringOperation::Fsync));
        assert_eq!(fs::read(&path).unwrap(), b"\0\0\0hello");
    }
    fs::remove_file(path).unwrap();
}

#[test]
fn what_the_ring_has_no_room_for_comes_back() {
    let (_, shared) = this_program();
    for kind in rings().into_iter().map(|ring| ring.report().unwrap().backend) {
        let ring = IoUringBuilder::new().with_backend(kind).with_entries(2).build().unwrap();
        let batch: Vec<_> =
            (0..9).map(|at| IoUringRequest::read(&shared, vec![0; 64], at, at)).collect();
        let mut rest = ring.submit(batch).unwrap();
        assert_eq!(rest.len(), 5);
        let refused = ring.submit(rest).unwrap_err();
        assert_eq!((refused.error.kind, refused.requests.len()), (ErrorKind::Busy, 5));
        rest = refused.requests;
        let mut seen: Vec<u64> = Vec::new();
        while !rest.is_empty() || ring.report().unwrap().under_way != 0 {
            seen.extend(ring.wait(1, 64, None).unwrap().iter().map(|done| done.user_data));
            rest = if rest.is_empty() { rest } else { ring.submit(rest).unwrap() };
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..9).collect::<Vec<_>>());
    }
}

#[test]
fn silent_pipes_time_out_and_are_cancelled() {
    for ring in rings() {
        let (reader, _writer) = silent_pipe();
        let read = || IoUringRequest::read(&reader, vec![0; 8], 0, 7);
        ring.submit(vec![read().with_timeout(Duration::from_millis(20))]).unwrap();
        let completion = ring.wait_completion().unwrap();
        assert_eq!((completion.result, completion.buffer.len()), (-ETIME, 8));
        assert_eq!(completion.data().unwrap_err().raw_os_error(), Some(ETIME));
        ring.submit(vec![read()]).unwrap();
        let short = ring.wait_completion_for(Duration::from_millis(20));
        assert_eq!(short.unwrap_err().kind, ErrorKind::TimedOut);
        assert_eq!(ring.cancel(8).unwrap_err().kind, ErrorKind::NotFound);
        ring.cancel(7).unwrap();
        assert_eq!(ring.wait_completion().unwrap().result, -ECANCELED);
        assert_eq!(ring.wait_completion().unwrap_err().kind, ErrorKind::State);
    }
}

#[test]
fn a_ring_that_is_dropped_ends_what_is_under_way_and_gives_the_file_back() {
    for ring in rings() {
        let (reader, mut writer) = silent_pipe();
        ring.submit_read(&reader, vec![0; 8], 0, 1).unwrap();
        assert_eq!(Arc::strong_count(&reader), 2);
        let begin = Instant::now();
        drop(ring);
        assert!(begin.elapsed() < Duration::from_secs(5));
        assert_eq!(Arc::strong_count(&reader), 1);
        drop(reader); // the last end for reading: had the ring kept one, there would be no error
        assert_eq!(writer.write(b"late").unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
    }
}

#[test]
fn registered_buffers_are_touched_by_one_at_a_time() {
    let (file, shared) = this_program();
    for ring in rings() {
        ring.register_buffers(2, 4096).unwrap();
        assert_eq!(ring.register_buffers(1, 1).unwrap_err().kind, ErrorKind::State);
        let read = || vec![IoUringRequest::read_fixed(&shared, 1, 4000, 100, 5)];
        ring.submit(read()).unwrap();
        assert_eq!(ring.with_buffer(1, |_| ()).unwrap_err().kind, ErrorKind::State);
        let completion: Completion = ring.wait_completion().unwrap();
        assert_eq!((completion.result, completion.index), (4000, Some(1)));
        let mut expected = vec![0; 4000];
        file.read_exact_at(&mut expected, 100).unwrap();
        let refused = ring.with_buffer(1, |bytes| {
            assert_eq!(bytes[..4000], expected);
            Error::from(ring.submit(read()).unwrap_err()).kind
        });
        assert_eq!(refused.unwrap(), ErrorKind::Busy);
        let beyond = ring.submit(vec![IoUringRequest::read_fixed(&shared, 1, 4097, 0, 5)]);
        assert_eq!(beyond.unwrap_err().error.kind, ErrorKind::InvalidArgument);
        ring.unregister_buffers().unwrap();
        assert_eq!(ring.with_buffer(1, |_| ()).unwrap_err().kind, ErrorKind::InvalidArgument);
    }
}
