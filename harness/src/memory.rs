//! A source without a broker: runs of records straight from a preallocated arena.
//!
//! It shows what the engine can do when the client costs next to nothing. Partitions are
//! interleaved in runs, as a broker's answers are; there is always more until [`Corpus::stop`] or
//! the limit.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use pelton::ids::{Offset, Partition};
use pelton::record::{Header, RecordRef, TimestampType};
use pelton::source::{CommitMode, RecordQueue, Source, SourceError, SourceEvent, Start};
use pelton::time::wall_ms;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::workload::scenario::Workload;
use crate::workload::values::ValuePool;

/// Consecutive records of one partition in a read: what a broker's batch of 1 KiB records holds.
const RUN_RECORDS: usize = 500;

/// The records that a run draws from, and where each partition ends.
///
/// Record `n` of every partition is template `n` modulo their number.
#[derive(Debug)]
pub struct Corpus {
    templates: &'static [Template],
    /// Bytes of the templates before each one, and of all at the end.
    bytes_before: Vec<u64>,
    /// Where each partition ends, with a limit.
    ends: Vec<i64>,
    /// One past the last offset that the engine took, for each partition.
    taken: Vec<AtomicI64>,
    stopped: AtomicBool,
}

#[derive(Debug)]
struct Template {
    key: Option<&'static [u8]>,
    value: &'static [u8],
    headers: &'static [Header<'static>],
}

impl Corpus {
    /// Makes the records of `workload`, of which a run takes `records_max`, if that is given.
    ///
    /// The bytes are leaked: records must outlive the engine's threads, a process makes few of
    /// these, and a borrowed lifetime could not pass through [`RecordQueue`].
    #[must_use]
    pub fn new(workload: &Workload, records_max: Option<u64>) -> Self {
        let mut random = SmallRng::seed_from_u64(workload.seed);
        let values: &'static ValuePool =
            Box::leak(Box::new(ValuePool::new(&workload.value_size, workload.value_content, workload.seed)));
        let headers: Vec<Header<'static>> = workload
            .headers
            .iter()
            .map(|header| {
                let mut value = vec![0; usize::try_from(header.bytes.0).unwrap_or(0)];
                random.fill(&mut value[..]);
                Header { name: header.name.clone().leak().as_bytes(), value: Some(value.leak()) }
            })
            .collect();
        let headers: &'static [Header<'static>] = headers.leak();
        let mut key = Vec::new();
        let templates: Vec<Template> = (0..values.len())
            .map(|index| Template {
                // In memory a key does not choose the partition: templates serve all of them.
                key: workload
                    .key
                    .write(0, workload.partitions, &mut random, &mut key)
                    .then(|| &*key.clone().leak()),
                value: values.value(index),
                headers,
            })
            .collect();
        let side = workload.side_bytes();
        let bytes_before = std::iter::once(0)
            .chain(templates.iter().scan(0, |sum, template| {
                *sum += template.value.len() as u64 + side;
                Some(*sum)
            }))
            .collect();
        let partitions = u64::from(workload.partitions);
        let end = |partition| match records_max {
            None => i64::MAX,
            Some(records) => {
                i64::try_from(records / partitions + u64::from(partition < records % partitions))
                    .unwrap_or(i64::MAX)
            }
        };
        Self {
            templates: templates.leak(),
            bytes_before,
            ends: (0..partitions).map(end).collect(),
            taken: (0..partitions).map(|_| AtomicI64::new(0)).collect(),
            stopped: AtomicBool::new(false),
        }
    }

    /// Ends every partition where the engine stands.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// One past the last offset taken, for each partition. Stable once the engine has stopped.
    #[must_use]
    pub fn taken(&self) -> Vec<i64> {
        self.taken.iter().map(|taken| taken.load(Ordering::Relaxed)).collect()
    }

    /// Whether the engine has taken every record up to the limit.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        self.taken.iter().zip(&self.ends).all(|(taken, end)| taken.load(Ordering::Relaxed) >= *end)
    }

    /// Key, value and header bytes of the records at `offsets` of any partition.
    #[must_use]
    pub fn bytes(&self, offsets: Range<i64>) -> u64 {
        let before = |offset: i64| {
            let offset = usize::try_from(offset).unwrap_or(0);
            let (rounds, rest) = (offset / self.templates.len(), offset % self.templates.len());
            rounds as u64 * self.bytes_before[self.templates.len()] + self.bytes_before[rest]
        };
        before(offsets.end.max(offsets.start)) - before(offsets.start)
    }
}

/// The [`Source`] of one consumer thread over a [`Corpus`].
#[derive(Debug)]
pub struct MemorySource {
    queues: Vec<MemoryQueue>,
    events: Vec<SourceEvent>,
}

impl MemorySource {
    /// The source of thread `thread` of `threads`, with `pollers` queues. Each thread owns every
    /// `threads`-th partition; there is no group.
    #[must_use]
    pub fn new(corpus: &Arc<Corpus>, thread: usize, threads: usize, pollers: usize) -> Self {
        let own = (0..).zip(&corpus.ends).map(|(number, _)| Partition(number)).skip(thread).step_by(threads);
        Self {
            events: vec![SourceEvent::Assigned(own.collect())],
            queues: (0..pollers).map(|_| MemoryQueue::new(Arc::clone(corpus))).collect(),
        }
    }
}

impl Source for MemorySource {
    type Queue = MemoryQueue;

    fn serve(&mut self, events: &mut Vec<SourceEvent>) {
        events.append(&mut self.events);
    }

    fn queue(&mut self, poller: usize) -> &mut MemoryQueue {
        &mut self.queues[poller]
    }

    fn assign(&mut self, routes: &[(Partition, usize)], starts: &mut Vec<Start>) -> Result<(), SourceError> {
        for (partition, poller) in routes {
            let at = usize::try_from(partition.0).unwrap_or(usize::MAX);
            let queue = &mut self.queues[*poller];
            let next = queue.corpus.taken[at].load(Ordering::Relaxed);
            queue.partitions.push(Position { partition: at, next });
            starts.push(Start { partition: *partition, offset: Offset(next), committed: None });
        }
        Ok(())
    }

    fn release(&mut self, partitions: &[Partition]) -> Result<(), SourceError> {
        for queue in &mut self.queues {
            queue.partitions.retain(|position| !partitions.contains(&as_partition(position.partition)));
        }
        Ok(())
    }

    fn commit(&mut self, offsets: &[(Partition, Offset)], mode: CommitMode) -> Result<(), SourceError> {
        if mode == CommitMode::Async {
            self.events.push(SourceEvent::Committed { offsets: offsets.to_vec(), error: None });
        }
        Ok(())
    }

    fn close(self, _deadline: Duration) {}
}

/// The records of one poller.
#[derive(Debug)]
pub struct MemoryQueue {
    corpus: Arc<Corpus>,
    partitions: Vec<Position>,
    turn: usize,
    records: Vec<RecordRef<'static>>,
    /// How many of `records` were taken.
    taken: usize,
}

#[derive(Debug)]
struct Position {
    partition: usize,
    next: i64,
}

impl MemoryQueue {
    fn new(corpus: Arc<Corpus>) -> Self {
        Self { corpus, partitions: Vec::new(), turn: 0, records: Vec::new(), taken: 0 }
    }

    /// Appends up to `records_max` records of one partition.
    fn read_run(&mut self, at: usize, records_max: usize, timestamp_ms: i64) {
        let position = &mut self.partitions[at];
        let left = usize::try_from(self.corpus.ends[position.partition] - position.next).unwrap_or(0);
        let partition = as_partition(position.partition);
        let templates = self.corpus.templates;
        let mut template = usize::try_from(position.next).unwrap_or(0) % templates.len();
        for _ in 0..left.min(records_max) {
            self.records.push(RecordRef {
                partition,
                offset: Offset(position.next),
                timestamp_ms,
                timestamp_type: TimestampType::CreateTime,
                key: templates[template].key,
                value: Some(templates[template].value),
                headers: templates[template].headers,
            });
            position.next += 1;
            template = if template + 1 == templates.len() { 0 } else { template + 1 };
        }
    }
}

impl RecordQueue for MemoryQueue {
    type Record = RecordRef<'static>;

    fn read(&mut self, records_max: usize) -> usize {
        let pending = self.pending().len();
        if pending > 0 || self.partitions.is_empty() || self.corpus.stopped.load(Ordering::Relaxed) {
            return pending;
        }
        self.records.clear();
        self.taken = 0;
        let timestamp_ms = wall_ms();
        for _ in 0..self.partitions.len() {
            self.turn = (self.turn + 1) % self.partitions.len();
            let room = records_max - self.records.len();
            if room == 0 {
                break;
            }
            self.read_run(self.turn, room.min(RUN_RECORDS), timestamp_ms);
        }
        self.records.len()
    }

    fn pending(&self) -> &[RecordRef<'static>] {
        &self.records[self.taken..]
    }

    fn advance(&mut self, records: usize) {
        let taken = self.taken..self.taken + records;
        for run in self.records[taken.clone()].chunk_by(|one, other| one.partition == other.partition) {
            if let Some(last) = run.last() {
                let at = usize::try_from(last.partition.0).unwrap_or(usize::MAX);
                self.corpus.taken[at].store(last.offset.next().0, Ordering::Relaxed);
            }
        }
        self.taken = taken.end;
    }

    fn discard(&mut self, partition: Partition) {
        self.records.drain(..self.taken);
        self.taken = 0;
        self.records.retain(|record| record.partition != partition);
    }

    fn take_reached(&mut self, _reached: &mut Vec<(Partition, Offset)>) {}
}

fn as_partition(at: usize) -> Partition {
    Partition(i32::try_from(at).unwrap_or(i32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::spec::Spec;

    fn workload(text: &str) -> Workload {
        Spec::from_toml(text, "test").unwrap().resolve().unwrap().workload
    }

    fn source(text: &str, records_max: Option<u64>) -> (Arc<Corpus>, MemorySource) {
        let corpus = Arc::new(Corpus::new(&workload(text), records_max));
        let mut source = MemorySource::new(&corpus, 0, 1, 1);
        let mut events = Vec::new();
        source.serve(&mut events);
        let [SourceEvent::Assigned(partitions)] = &events[..] else { panic!("{events:?}") };
        let routes: Vec<_> = partitions.iter().map(|partition| (*partition, 0)).collect();
        source.assign(&routes, &mut Vec::new()).unwrap();
        (corpus, source)
    }

    #[test]
    fn partitions_are_interleaved_in_runs_without_gaps() {
        let (corpus, mut source) = source("partitions = 3\nvalue_size = \"10B\"", Some(5_000));
        let mut next = [0i64; 3];
        loop {
            if source.queue(0).read(1_300) == 0 {
                break;
            }
            // Half of it first, as a full batch does.
            for part in [2, 1] {
                let queue = source.queue(0);
                let take = queue.pending().len().div_ceil(part);
                for record in &queue.pending()[..take] {
                    let at = record.partition.0 as usize;
                    assert_eq!(record.offset.0, next[at]);
                    next[at] += 1;
                }
                queue.advance(take);
            }
        }
        assert_eq!(next.iter().sum::<i64>(), 5_000);
        assert_eq!(corpus.taken(), next);
        assert!(corpus.is_exhausted());
    }

    #[test]
    fn bytes_are_those_of_the_records() {
        let text =
            "partitions = 1\nvalue_size = \"uniform(0, 300)\"\nkey = \"random(7B)\"\nheaders = [\"ab:5B\"]";
        let (corpus, mut source) = source(text, Some(10_000));
        let mut sum = 0u64;
        while source.queue(0).read(1_000) > 0 {
            let queue = source.queue(0);
            let pending = queue.pending();
            sum += pending
                .iter()
                .map(|record| {
                    assert_eq!(record.headers.len(), 1);
                    (record.value.unwrap().len() + record.key.unwrap().len() + 2 + 5) as u64
                })
                .sum::<u64>();
            let taken = pending.len();
            queue.advance(taken);
        }
        assert_eq!(corpus.bytes(0..10_000), sum);
        assert_eq!(corpus.bytes(0..4_321) + corpus.bytes(4_321..10_000), sum);
    }

    #[test]
    fn a_stopped_corpus_hands_out_nothing_more() {
        let (corpus, mut source) = source("partitions = 2", None);
        assert!(source.queue(0).read(10) == 10 && !corpus.is_exhausted());
        source.queue(0).advance(10);
        corpus.stop();
        assert_eq!(source.queue(0).read(10), 0);
    }

    #[test]
    fn a_revoked_partition_is_forgotten() {
        let (_, mut source) = source("partitions = 2", None);
        source.queue(0).read(1_000);
        source.queue(0).advance(100);
        source.queue(0).discard(Partition(1));
        assert!(source.queue(0).pending().iter().all(|record| record.partition == Partition(0)));
        source.release(&[Partition(1)]).unwrap();
        let pending = source.queue(0).pending().len();
        source.queue(0).advance(pending);
        source.queue(0).read(1_000);
        assert!(source.queue(0).pending().iter().all(|record| record.partition == Partition(0)));
    }
}
