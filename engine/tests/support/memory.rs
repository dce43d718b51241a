//! A source in memory whose rebalances are scripted: the engine without a broker.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pelton::ids::{Offset, Partition};
use pelton::record::{RecordRef, TimestampType};
use pelton::source::{Commit, CommitMode, RecordQueue, Source, SourceError, SourceEvent, Start};

/// What the test sees and steers of a [`MemorySource`].
#[derive(Default)]
pub(crate) struct Log {
    /// Records per partition that exist, from offset 0.
    pub(crate) end: Vec<i64>,
    /// The next offset to be read, per partition.
    pub(crate) read: Vec<i64>,
    /// The last committed offset per partition.
    pub(crate) committed: Vec<i64>,
    /// The metadata of that, per partition.
    pub(crate) metadata: Vec<String>,
    /// Every commit in order.
    pub(crate) commits: Vec<(i32, i64, CommitMode)>,
    /// What `serve` is to say next.
    pub(crate) events: VecDeque<SourceEvent>,
    /// What was released, in order.
    pub(crate) released: Vec<i32>,
    /// Whether the next asynchronous commits are refused.
    pub(crate) refuse_commits: usize,
    /// Whether the next synchronous ones are.
    pub(crate) refuse_last_commits: usize,
    /// The longest metadata that is taken; 0 for Kafka's default.
    pub(crate) metadata_bytes_max: usize,
    pub(crate) closed: bool,
    /// Offsets without records that follow once every record has been read, told of later.
    pub(crate) gap: i64,
}

pub(crate) type Shared = Arc<Mutex<Log>>;

/// `partitions` partitions with `records` records each, all assigned at the first `serve`.
pub(crate) fn log(partitions: usize, records: i64) -> Shared {
    let all = (0..partitions).map(|partition| Partition(i32::try_from(partition).expect("small"))).collect();
    Arc::new(Mutex::new(Log {
        end: vec![records; partitions],
        read: vec![0; partitions],
        committed: vec![0; partitions],
        metadata: vec![String::new(); partitions],
        events: VecDeque::from([SourceEvent::Assigned(all)]),
        ..Log::default()
    }))
}

pub(crate) struct MemorySource {
    log: Shared,
    queues: Vec<MemoryQueue>,
    acknowledgements: Vec<SourceEvent>,
}

pub(crate) struct MemoryQueue {
    log: Shared,
    value: &'static [u8],
    partitions: Vec<Partition>,
    pending: Vec<RecordRef<'static>>,
    taken: usize,
}

impl MemorySource {
    pub(crate) fn new(log: &Shared, value: &'static [u8], pollers: usize) -> Self {
        let queue = || MemoryQueue {
            log: Arc::clone(log),
            value,
            partitions: Vec::new(),
            pending: Vec::new(),
            taken: 0,
        };
        Self {
            log: Arc::clone(log),
            queues: (0..pollers).map(|_| queue()).collect(),
            acknowledgements: Vec::new(),
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
            let metadata = log.metadata[index].clone();
            starts.push(Start { partition, offset: Offset(start), committed: Some(Offset(start)), metadata });
            self.queues[poller].partitions.push(partition);
        }
        Ok(())
    }

    fn release(&mut self, partitions: &[Partition]) -> Result<(), SourceError> {
        for queue in &mut self.queues {
            queue.partitions.retain(|partition| !partitions.contains(partition));
        }
        self.log.lock().expect("log").released.extend(partitions.iter().map(|partition| partition.0));
        Ok(())
    }

    fn commit(&mut self, commits: &[Commit], mode: CommitMode) -> Result<(), SourceError> {
        let mut log = self.log.lock().expect("log");
        let refusals = match mode {
            CommitMode::Async => &mut log.refuse_commits,
            CommitMode::Sync => &mut log.refuse_last_commits,
        };
        let mut error = SourceError::Commit { reason: "scripted".into() };
        let mut refused = *refusals > 0;
        *refusals = refusals.saturating_sub(1);
        let longest = commits.iter().map(|commit| commit.metadata.len()).max();
        if log.metadata_bytes_max > 0 && longest > Some(log.metadata_bytes_max) {
            (refused, error) = (true, SourceError::MetadataTooLong { reason: "scripted".into() });
        }
        if refused {
            if mode == CommitMode::Sync {
                return Err(error);
            }
        } else {
            for Commit { partition: Partition(partition), offset: Offset(offset), metadata } in
                commits.iter().cloned()
            {
                let index = usize::try_from(partition).expect("positive");
                assert!(metadata.len() <= 4_096, "longer than a broker takes");
                let moves = offset > log.committed[index];
                let says_more = offset == log.committed[index] && metadata != log.metadata[index];
                assert!(moves || says_more, "a commit that moves nothing, or backwards");
                log.committed[index] = offset;
                log.metadata[index] = metadata;
                log.commits.push((partition, offset, mode));
            }
        }
        if mode == CommitMode::Async {
            let offsets = commits.iter().map(|commit| (commit.partition, commit.offset)).collect();
            self.acknowledgements.push(SourceEvent::Committed { offsets, error: refused.then_some(error) });
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

    fn take_reached(&mut self, reached: &mut Vec<(Partition, Offset)>) {
        let log = &mut *self.log.lock().expect("log");
        for &partition in &self.partitions {
            let index = usize::try_from(partition.0).expect("positive");
            if log.gap > 0 && log.read[index] == log.end[index] {
                log.read[index] += log.gap;
                log.end[index] += log.gap;
                reached.push((partition, Offset(log.end[index])));
            }
        }
        if !reached.is_empty() {
            log.gap = 0;
        }
    }
}
