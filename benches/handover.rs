//! A sealed batch from the poller to the invocation side and back: the bounded queue that carries
//! it, beside a channel, a mutex, and the floor of moving the batch at all.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use crossbeam::queue::ArrayQueue;
use pelton::payload::Tier;
use pelton_benches::{Shape, Writer, in_full, records, sized};
use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};

fn same_thread(criterion: &mut Criterion) {
    let payload = Writer::new(Tier::best(), 1)
        .payload(records(Shape { value_bytes: 64, varying: false, headers: false }, 1));
    let mut group = criterion.benchmark_group("handover/same-thread");
    let queue = ArrayQueue::new(64);
    group.bench_function("pelton/array-queue", |bencher| {
        bencher.iter(|| {
            queue.push(payload.clone()).expect("the queue is empty");
            queue.pop()
        });
    });
    let (sender, receiver) = sync_channel(64);
    group.bench_function("peer/sync-channel", |bencher| {
        bencher.iter(|| {
            sender.send(payload.clone()).expect("the receiver lives");
            receiver.recv().expect("a payload was sent")
        });
    });
    let locked = Mutex::new(VecDeque::with_capacity(64));
    group.bench_function("peer/mutex", |bencher| {
        bencher.iter(|| {
            locked.lock().expect("not poisoned").push_back(payload.clone());
            locked.lock().expect("not poisoned").pop_front()
        });
    });
    group.bench_function("floor/clone", |bencher| bencher.iter(|| black_box(payload.clone())));
    group.finish();
}

fn other_thread(criterion: &mut Criterion) {
    let rounds = sized(1000, 2) as u64;
    let there = Arc::new(ArrayQueue::<u64>::new(64));
    let back = Arc::new(ArrayQueue::<u64>::new(64));
    let echo = {
        let (there, back) = (Arc::clone(&there), Arc::clone(&back));
        std::thread::spawn(move || {
            loop {
                match there.pop() {
                    Some(u64::MAX) => return,
                    Some(number) => back.push(number).expect("one is under way at a time"),
                    None => std::thread::yield_now(),
                }
            }
        })
    };
    let mut group = criterion.benchmark_group("handover/there-and-back");
    group.throughput(Throughput::Elements(rounds));
    group.sample_size(if in_full() { 20 } else { 10 });
    group.bench_function("pelton/array-queue", |bencher| {
        bencher.iter(|| {
            for number in 0..rounds {
                there.push(number).expect("one is under way at a time");
                while back.pop().is_none() {
                    std::thread::yield_now();
                }
            }
        });
    });
    group.finish();
    there.push(u64::MAX).expect("nothing is under way");
    echo.join().expect("the echo does not panic");
}

criterion_group!(benches, same_thread, other_thread);
criterion_main!(benches);
