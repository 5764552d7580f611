//! The Rust face of the lock-free structures; the C rules themselves are proven by
//! tests/test_lockfree.py and tests/test_lockfree_model.py.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use wrt_platform::{
    ErrorKind, Result,
    lockfree::{
        IndexStack, IndexStackBuilder, Line, Queue, QueueBuilder, RingBuilder, RingConsumer,
        RingProducer, SeqlockBuilder, SeqlockReader, SeqlockWriter, TripleBufferBuilder,
        TripleBufferReader, TripleBufferWriter,
    },
};

fn assert_send<T: Send>() {}
fn assert_sync<T: Sync>() {}

#[test]
fn each_type_goes_to_other_threads_as_it_may() {
    assert_send::<RingProducer<String>>();
    assert_send::<RingConsumer<String>>();
    assert_send::<Queue<String>>();
    assert_sync::<Queue<std::cell::Cell<u8>>>(); // a value has one owner at a time
    assert_sync::<IndexStack>();
    assert_send::<SeqlockWriter<u64>>();
    assert_sync::<SeqlockReader<u64>>();
    assert_send::<TripleBufferWriter<u64>>();
    assert_send::<TripleBufferReader<u64>>();
}

#[test]
fn ring_moves_strings_in_order() -> Result<()> {
    let mut lines = [Line::ZERO; 4];
    let mut ring = RingBuilder::new().with_capacity(8).with_buffer(&mut lines).build()?;
    let (mut producer, mut consumer) = ring.split();
    thread::scope(|scope| {
        scope.spawn(move || {
            for number in 0..3000 {
                let mut text = number.to_string();
                while let Err(back) = producer.put(text) {
                    text = back;
                    thread::yield_now();
                }
            }
        });
        for number in 0..3000 {
            let text = loop {
                match consumer.get() {
                    Some(text) => break text,
                    None => thread::yield_now(),
                }
            };
            assert_eq!(text, number.to_string());
        }
    });
    assert_eq!(consumer.get(), None);
    Ok(())
}

#[test]
fn rows_of_values_go_through_as_far_as_there_is_room() -> Result<()> {
    let mut lines = [Line::ZERO; 4];
    let mut ring = RingBuilder::new().with_capacity(4).with_buffer(&mut lines).build()?;
    let (mut producer, mut consumer) = ring.split();
    let mut out = [0u16; 3];
    assert_eq!(producer.put_many(&[1, 2, 3, 4, 5]), 4);
    assert_eq!((producer.put(6), producer.count()), (Err(6), 4));
    assert_eq!((consumer.get_many(&mut out), out), (3, [1, 2, 3]));
    assert_eq!(consumer.count(), 1);
    assert_eq!((consumer.get_many(&mut out), out), (1, [4, 2, 3]));
    assert_eq!(consumer.get_many(&mut out), 0);

    let mut lines = [Line::ZERO; 4];
    let queue = QueueBuilder::new().with_capacity(2).with_buffer(&mut lines).build()?;
    assert_eq!(queue.put_many(&[1u16, 2, 3]), 2);
    assert_eq!((queue.put(4), queue.count()), (Err(4), 2));
    assert_eq!((queue.get_many(&mut out), &out[..2]), (2, &[1, 2][..]));
    assert_eq!(queue.get(), None);
    Ok(())
}

#[test]
fn what_is_left_is_dropped_once() -> Result<()> {
    let value = Arc::new(());
    let mut lines = [Line::ZERO; 4];
    let queue = QueueBuilder::new().with_capacity(4).with_buffer(&mut lines).build()?;
    (0..4).for_each(|_| queue.put(value.clone()).unwrap());
    assert!(queue.put(value.clone()).is_err());
    drop(queue.get());
    assert_eq!(Arc::strong_count(&value), 4);
    drop(queue);
    assert_eq!(Arc::strong_count(&value), 1);

    let mut lines = [Line::ZERO; 4];
    let mut ring = RingBuilder::new().with_capacity(4).with_buffer(&mut lines).build()?;
    let (mut producer, mut consumer) = ring.split();
    (0..3).for_each(|_| producer.put(value.clone()).unwrap());
    drop(consumer.get());
    assert_eq!(Arc::strong_count(&value), 3);
    drop(ring);
    assert_eq!(Arc::strong_count(&value), 1);
    Ok(())
}

#[test]
fn queue_gives_each_value_to_one_thread() -> Result<()> {
    let mut lines = [Line::ZERO; 4];
    let queue = QueueBuilder::new().with_capacity(8).with_buffer(&mut lines).build()?;
    let (sum, each) = (AtomicU64::new(0), 2000);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for number in 1..=each {
                    while queue.put(Box::new(number)).is_err() {
                        thread::yield_now();
                    }
                }
            });
            scope.spawn(|| {
                for _ in 0..each {
                    let number = loop {
                        match queue.get() {
                            Some(number) => break number,
                            None => thread::yield_now(),
                        }
                    };
                    sum.fetch_add(*number, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(sum.into_inner(), each * (each + 1));
    Ok(())
}

#[test]
fn index_stack_is_a_free_list() -> Result<()> {
    let mut lines = [Line::ZERO; 2];
    let builder = IndexStackBuilder::new().with_capacity(3).with_filled(true);
    let stack = builder.with_buffer(&mut lines).build()?;
    assert_eq!(
        [stack.pop(), stack.pop(), stack.pop(), stack.pop()],
        [Some(0), Some(1), Some(2), None]
    );
    stack.push(1)?;
    assert_eq!(stack.push(1).unwrap_err().kind, ErrorKind::State);
    let error = stack.push(3).unwrap_err();
    assert_eq!(error.to_string(), "wrt_index_stack_push: index is 3, the capacity is 3");
    assert_eq!(stack.pop(), Some(1));
    Ok(())
}

#[test]
fn seqlock_readers_see_whole_values() -> Result<()> {
    let mut lines = [Line::ZERO; 1];
    let mut lock = SeqlockBuilder::new().with_buffer(&mut lines).build([7u64; 5])?;
    let (mut writer, reader) = lock.split();
    assert_eq!(reader.read(), Some([7; 5]));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(move || {
                let mut last = 7;
                while last < 5000 {
                    let Some(value) = reader.read() else { continue };
                    assert!(value.iter().all(|word| *word == value[0]) && value[0] >= last);
                    last = value[0];
                    thread::yield_now();
                }
            });
        }
        (8..=5000).for_each(|number| writer.write([number; 5]));
    });
    Ok(())
}

#[test]
fn triple_buffer_lends_the_latest_value() -> Result<()> {
    let mut lines = [Line::ZERO; 8];
    let mut both = TripleBufferBuilder::new().with_buffer(&mut lines).build()?;
    let (mut writer, mut reader) = both.split();
    assert_eq!(reader.get(), None);
    writer.put([1u32; 3]);
    writer.back().write([2; 3]);
    // SAFETY: written on the line above.
    unsafe { writer.publish() };
    assert_eq!(reader.front(), Some((&[2; 3], true)));
    assert_eq!(reader.get(), Some(([2; 3], false)));
    thread::scope(|scope| {
        scope.spawn(|| (3..=3000).for_each(|number| writer.put([number; 3])));
        let mut last = 2;
        while last < 3000 {
            let (value, is_new) = reader.front().unwrap();
            assert!(value.iter().all(|word| *word == value[0]));
            assert_eq!(is_new, value[0] != last);
            last = value[0];
        }
    });
    Ok(())
}

#[test]
fn bad_settings_are_refused_with_their_reason() {
    let mut lines = [Line::ZERO; 2];
    let sentence = |error: wrt_platform::Error| error.to_string();
    let builder = RingBuilder::<u64>::new().with_capacity(3);
    assert_eq!(
        sentence(builder.layout().unwrap_err()),
        "wrt_ring_layout: capacity 3 is not a power of two"
    );
    let builder = RingBuilder::<()>::new().with_capacity(4).with_buffer(&mut lines);
    assert_eq!(
        sentence(builder.build().err().unwrap()),
        "wrt_ring_init: size is 0 bytes, not 1 to 65536"
    );
    let builder = QueueBuilder::<[u8; 65537]>::new().with_capacity(2);
    assert_eq!(builder.build().err().unwrap().kind, ErrorKind::InvalidArgument);
    let builder = QueueBuilder::<u64>::new().with_capacity(64).with_buffer(&mut lines);
    assert_eq!(builder.build().err().unwrap().kind, ErrorKind::NoMemory);

    #[derive(Clone, Copy)]
    #[repr(align(256))]
    struct Wide(#[expect(dead_code, reason = "its alignment is what counts")] u8);
    let mut lines = [Line::ZERO; 16];
    let builder = TripleBufferBuilder::<Wide>::new().with_buffer(&mut lines);
    let error = builder.build().err().unwrap();
    assert_eq!((error.kind, error.detail), (ErrorKind::InvalidArgument, [256, 128]));
}
