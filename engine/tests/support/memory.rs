//! A source in memory whose rebalances are scripted, and an invoker whose answers are: the whole
//! engine without a broker and without HTTP.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pelton::batch::Payload;
use pelton::deliver::Outcome;
use pelton::ids::{Offset, Partition};
use pelton::invoke::Invoker;
use pelton::pipeline::Wake;
use pelton::record::{RecordRef, TimestampType};
use pelton::source::{CommitMode, RecordQueue, Source, SourceError, SourceEvent, Start};

/// What the test sees and steers of a [`MemorySource`].
#[derive(Default)]
pub struct Log {
    /// Records per partition that exist, from offset 0.
    pub end: Vec<i64>,
    /// The next offset to be read, per partition.
    pub read: Vec<i64>,
    /// The last committed offset per partition.
    pub committed: Vec<i64>,
    /// Every commit in order.
    pub commits: Vec<(i32, i64, CommitMode)>,
    /// What `serve` is to say next.
    pub events: VecDeque<SourceEvent>,
    /// What was released, in order.
    pub released: Vec<i32>,
    /// Whether the next asynchronous commits are refused.
    pub refuse_commits: usize,
    pub closed: bool,
}

pub type Shared = Arc<Mutex<Log>>;

/// `partitions` partitions with `records` records each, all assigned at the first `serve`.
pub fn log(partitions: usize, records: i64) -> Shared {
    let all = (0..partitions).map(|partition| Partition(i32::try_from(partition).expect("small"))).collect();
    Arc::new(Mutex::new(Log {
        end: vec![records; partitions],
        read: vec![0; partitions],
        committed: vec![0; partitions],
        events: VecDeque::from([SourceEvent::Assigned(all)]),
        ..Log::default()
    }))
}

pub struct MemorySource {
    log: Shared,
    value: &'static [u8],
    queues: Vec<MemoryQueue>,
    acknowledgements: Vec<SourceEvent>,
    /// Wakes the thread; kept so that a test may push events.
    pub wake: Wake,
}

pub struct MemoryQueue {
    log: Shared,
    value: &'static [u8],
    partitions: Vec<Partition>,
    pending: Vec<RecordRef<'static>>,
    taken: usize,
}

impl MemorySource {
    pub fn new(log: &Shared, value: &'static [u8], pollers: usize, wake: Wake) -> Self {
        let queue = || MemoryQueue {
            log: Arc::clone(log),
            value,
            partitions: Vec::new(),
            pending: Vec::new(),
            taken: 0,
        };
        Self {
            log: Arc::clone(log),
            value,
            queues: (0..pollers).map(|_| queue()).collect(),
            acknowledgements: Vec::new(),
            wake,
        }
    }
}

impl Source for MemorySource {
    type Queue = MemoryQueue;

    fn serve(&mut self, events: &mut Vec<SourceEvent>) {
        events.append(&mut self.acknowledgements);
        events.extend(self.log.lock().expect("log").events.drain(..));
    }

    fn queue(&mut self, poller: usize) -> &mut MemoryQueue {
        &mut self.queues[poller]
    }

    fn assign(&mut self, routes: &[(Partition, usize)], starts: &mut Vec<Start>) -> Result<(), SourceError> {
        let mut log = self.log.lock().expect("log");
        for &(partition, poller) in routes {
            let index = usize::try_from(partition.0).expect("positive");
            let start = log.committed[index];
            log.read[index] = start;
            starts.push(Start { partition, offset: Offset(start), committed: Some(Offset(start)) });
            self.queues[poller].partitions.push(partition);
        }
        let _ = self.value;
        Ok(())
    }

    fn release(&mut self, partitions: &[Partition]) -> Result<(), SourceError> {
        for queue in &mut self.queues {
            queue.partitions.retain(|partition| !partitions.contains(partition));
        }
        self.log.lock().expect("log").released.extend(partitions.iter().map(|partition| partition.0));
        Ok(())
    }

    fn commit(&mut self, offsets: &[(Partition, Offset)], mode: CommitMode) -> Result<(), SourceError> {
        let mut log = self.log.lock().expect("log");
        let refused = mode == CommitMode::Async && log.refuse_commits > 0;
        let error = SourceError::Commit { reason: "scripted".into() };
        if refused {
            log.refuse_commits -= 1;
        } else {
            for &(Partition(partition), Offset(offset)) in offsets {
                let index = usize::try_from(partition).expect("positive");
                assert!(offset > log.committed[index], "a commit that moves nothing, or backwards");
                log.committed[index] = offset;
                log.commits.push((partition, offset, mode));
            }
        }
        if mode == CommitMode::Async {
            self.acknowledgements
                .push(SourceEvent::Committed { offsets: offsets.to_vec(), error: refused.then_some(error) });
        }
        Ok(())
    }

    fn close(self, _deadline: Duration) {
        self.log.lock().expect("log").closed = true;
    }
}

impl RecordQueue for MemoryQueue {
    type Record = RecordRef<'static>;

    fn read(&mut self, records_max: usize) -> usize {
        assert!(self.pending().is_empty(), "read while records are pending");
        self.pending.clear();
        self.taken = 0;
        let mut log = self.log.lock().expect("log");
        for &partition in &self.partitions {
            let index = usize::try_from(partition.0).expect("positive");
            // Runs of at most 64, so that batches mix partitions.
            for _ in 0..64 {
                if self.pending.len() == records_max || log.read[index] == log.end[index] {
                    break;
                }
                self.pending.push(RecordRef {
                    partition,
                    offset: Offset(log.read[index]),
                    timestamp_ms: 1_700_000_000_000,
                    timestamp_type: TimestampType::CreateTime,
                    key: None,
                    value: Some(self.value),
                    headers: &[],
                });
                log.read[index] += 1;
            }
        }
        self.pending.len()
    }

    fn pending(&self) -> &[RecordRef<'static>] {
        &self.pending[self.taken..]
    }

    fn advance(&mut self, records: usize) {
        self.taken += records;
        assert!(self.taken <= self.pending.len(), "advanced past the end");
    }

    fn discard(&mut self, partition: Partition) {
        self.pending.drain(..self.taken);
        self.taken = 0;
        self.pending.retain(|record| record.partition != partition);
    }

    fn take_reached(&mut self, _reached: &mut Vec<(Partition, Offset)>) {}
}

/// What an invocation was given: (partition, offset) in the order of the event.
pub type Delivered = Vec<(i32, i64)>;

/// An invoker that keeps what it was given and answers what the test says.
pub struct Scripted<F> {
    pub calls: Mutex<Vec<Delivered>>,
    pub in_flight: AtomicUsize,
    pub most_in_flight: AtomicUsize,
    answer: F,
}

impl<F, A> Scripted<F>
where
    F: Fn(usize, Delivered) -> A + Send + Sync + 'static,
    A: Future<Output = Outcome> + Send,
{
    /// `answer` is given the invocation's number, from 0, and its records.
    pub fn new(answer: F) -> Arc<Self> {
        Arc::new(Self {
            calls: Mutex::default(),
            in_flight: AtomicUsize::new(0),
            most_in_flight: AtomicUsize::new(0),
            answer,
        })
    }

    /// Every record of every call, in order.
    pub fn delivered(&self) -> Delivered {
        self.calls.lock().expect("calls").iter().flatten().copied().collect()
    }
}

impl<F, A> Invoker for Scripted<F>
where
    F: Fn(usize, Delivered) -> A + Send + Sync + 'static,
    A: Future<Output = Outcome> + Send,
{
    async fn invoke(&self, payload: Payload) -> Outcome {
        let records: Delivered = payload.entries().map(|entry| (entry.partition.0, entry.offset.0)).collect();
        let number = {
            let mut calls = self.calls.lock().expect("calls");
            calls.push(records.clone());
            calls.len() - 1
        };
        let now = self.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_in_flight.fetch_max(now, Ordering::SeqCst);
        let outcome = (self.answer)(number, records).await;
        self.in_flight.fetch_sub(1, Ordering::SeqCst);
        outcome
    }
}
