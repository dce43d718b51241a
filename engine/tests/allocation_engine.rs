//! The whole hot path on its own thread: read, append, encode, seal, hand over, take the answer,
//! move the watermark. In steady state the consumer thread allocates nothing, not even per batch.
//!
//! The counter sees the Rust allocator of each thread; what C code allocates is outside.

#[path = "support/memory.rs"]
mod memory;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use memory::{MemoryQueue, MemorySource, log};
use pelton::batch::{BatchLimits, Payload};
use pelton::deliver::{FailureRules, Outcome, RetryPolicy};
use pelton::ids::{Offset, Partition, Topic};
use pelton::invoke::Invoker;
use pelton::payload::Envelope;
use pelton::pipeline::{BatchTrace, Engine, EngineSettings, Observer, Oversized};
use pelton::scale::ScalingRules;
use pelton::source::{Commit, CommitMode, Source, SourceError, SourceEvent, Start};
use pelton::time::Nanos;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes on to `System` with the same arguments; counting touches only a
// thread-local without a destructor.
#[expect(unsafe_code, reason = "a global allocator is unsafe to implement")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise, passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Answers at once: what the invocation side allocates is not the consumer thread's.
struct Null;

impl Invoker for Null {
    async fn invoke(&self, _payload: Payload) -> Outcome {
        Outcome::Success { response_bytes: 0, response: bytes::Bytes::new() }
    }
}

/// The consumer thread's allocations so far, at each delivered batch.
struct AtDelivery(Mutex<Vec<u64>>);

impl Observer for AtDelivery {
    fn on_delivered(&self, _: &BatchTrace<'_>) {
        let mut seen = self.0.lock().expect("seen");
        assert!(seen.len() < seen.capacity(), "the test itself would allocate");
        seen.push(ALLOCATIONS.get());
    }
    fn on_committed(&self, _: Partition, _: Offset, _: Nanos) {}
}

#[test]
fn the_counter_counts() {
    let before = ALLOCATIONS.get();
    drop(black_box(Box::new(0_u8)));
    assert_eq!(ALLOCATIONS.get() - before, 1);
}

/// A source that says it can move partitions, so that its thread scales. It is never asked to.
struct Movable(MemorySource);

impl Source for Movable {
    type Queue = MemoryQueue;
    const REROUTES: bool = true;

    fn serve(&mut self, events: &mut Vec<SourceEvent>) {
        self.0.serve(events);
    }
    fn queue(&mut self, poller: usize) -> &mut MemoryQueue {
        self.0.queue(poller)
    }
    fn assign(&mut self, routes: &[(Partition, usize)], starts: &mut Vec<Start>) -> Result<(), SourceError> {
        self.0.assign(routes, starts)
    }
    fn release(&mut self, partitions: &[Partition]) -> Result<(), SourceError> {
        self.0.release(partitions)
    }
    fn commit(&mut self, commits: &[Commit], mode: CommitMode) -> Result<(), SourceError> {
        self.0.commit(commits, mode)
    }
    fn close(self, deadline: Duration) {
        self.0.close(deadline);
    }
}

fn settings(pollers: usize, scaling: Option<ScalingRules>) -> EngineSettings {
    EngineSettings {
        name: "test".into(),
        function_version: "$LATEST".into(),
        topic: Topic::new("t"),
        envelope: Arc::new(Envelope::self_managed("b:9092")),
        filters: None,
        limits: BatchLimits { batch_size: 100, window: Duration::ZERO, payload_bytes_max: 6_291_455 },
        threads: 1,
        pollers,
        scaling,
        arena_budget_bytes: 64 << 20,
        retry: RetryPolicy::default(),
        failures: FailureRules::default(),
        destination: None,
        oversized: Oversized::Skip,
        // Commits are a list a second; they are counted elsewhere.
        commit_interval: Duration::from_secs(60),
        commit_metadata: true,
        drain_deadline: Duration::from_secs(20),
        invocation_threads: 1,
    }
}

/// Delivers a log with this engine, and holds that its thread allocates nothing once it is warm.
fn assert_steady<S: Source + 'static>(settings: EngineSettings, connect: impl Fn(MemorySource) -> S) {
    const RECORDS: i64 = 200_000;
    const PARTITIONS: usize = 4;
    let log = log(PARTITIONS, RECORDS);
    let seen = Arc::new(AtDelivery(Mutex::new(Vec::with_capacity(1 << 17))));
    let observer: Arc<dyn Observer> = Arc::clone(&seen) as _;
    let engine = Engine::start(
        settings,
        |plan| Ok(connect(MemorySource::new(&log, b"a value of some length", plan.pollers))),
        &Arc::new(Null),
        Some(&observer),
        pelton::time::Clock::start(),
    )
    .expect("the engine starts");
    while log.lock().expect("log").read.iter().any(|&read| read < RECORDS) {
        std::thread::yield_now();
    }
    engine.drain();
    assert!(engine.join().fatal.is_none());
    let seen = seen.0.lock().expect("seen");
    assert!(seen.len() > 1_000, "{} batches are too few to speak of a steady state", seen.len());
    let warm = seen[seen.len() / 4];
    let last = seen[seen.len() - seen.len() / 8];
    assert_eq!(last - warm, 0, "allocations over {} batches", seen.len() * 5 / 8);
}

#[test]
fn a_consumer_thread_in_steady_state_allocates_nothing() {
    assert_steady(settings(2, None), |source| source);
}

#[test]
fn a_look_at_the_lag_allocates_nothing() {
    let rules = ScalingRules { look_interval: Duration::from_millis(1), ..ScalingRules::between(2, 2) };
    assert_steady(settings(3, Some(rules)), Movable);
}
