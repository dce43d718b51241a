//! A source without a broker: runs of records straight from a preallocated arena, made or replayed
//! from a capture.
//!
//! It shows what the engine can do when the client costs next to nothing. Partitions are
//! interleaved in runs, as a broker's answers are, those of a capture as they were read; there is
//! always more until [`Corpus::stop`] or the limit. Reading allocates nothing.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use pelton::ids::{Offset, Partition};
use pelton::record::{Header, RecordRef, TimestampType};
use pelton::source::{Commit, CommitMode, RecordQueue, Source, SourceError, SourceEvent, Start};
use pelton::time::wall_ms;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::workload::recording::{Recorded, RecordedPartition, Recording, Run};
use crate::workload::scenario::Workload;
use crate::workload::values::{POOL_VALUES_MAX, ValuePool};

/// Consecutive records of one partition in a read: what a broker's batch of 1 KiB records holds.
const RUN_RECORDS: usize = 500;

/// The records that a run draws from, and where each partition ends.
///
/// A partition's records repeat for ever, at offsets that go on.
#[derive(Debug)]
pub struct Corpus {
    partitions: Vec<CorpusPartition>,
    /// In which order a replay reads them; empty where records were made.
    runs: &'static [Run],
    stopped: AtomicBool,
}

#[derive(Debug)]
struct CorpusPartition {
    /// Never empty.
    records: &'static [Recorded],
    /// Bytes of the records before each one, and of all at the end.
    bytes_before: Arc<[u64]>,
    first: i64,
    /// Where it ends, with a limit.
    end: i64,
    /// One past the last offset that the engine took.
    taken: AtomicI64,
}

impl CorpusPartition {
    fn new(records: &'static [Recorded], bytes_before: Arc<[u64]>, first: i64, count: Option<u64>) -> Self {
        // Beyond any offset that comes about: a capture that claims one begins anew.
        let first = if (0..i64::MAX / 2).contains(&first) { first } else { 0 };
        let end = count.map_or(i64::MAX, |count| first.saturating_add_unsigned(count));
        Self { records, bytes_before, first, end, taken: AtomicI64::new(first) }
    }

    /// Where the record at `offset` stands: after so many repetitions, and among the records.
    fn place(&self, offset: i64) -> (usize, usize) {
        let since = usize::try_from(offset.saturating_sub(self.first)).unwrap_or(0);
        (since / self.records.len(), since % self.records.len())
    }
}

impl Corpus {
    /// The records of `workload`, of which a run takes `records_max`, if that is given.
    ///
    /// The bytes are leaked: records must outlive the engine's threads, a process makes few of
    /// these, and a borrowed lifetime could not pass through [`RecordQueue`].
    #[must_use]
    pub fn new(workload: &Workload, records_max: Option<u64>) -> Self {
        match workload.replay {
            Some(recording) => Self::replayed(recording, records_max),
            None => Self::made(workload, records_max),
        }
    }

    fn replayed(recording: &'static Recording, records_max: Option<u64>) -> Self {
        let total = recording.totals().records;
        // The last repetition ends in the middle, in the order in which records were read.
        let mut rest: Vec<u64> = vec![0; recording.partitions().len()];
        let mut left = records_max.map_or(0, |records| records % total);
        for run in recording.runs() {
            let take = left.min(u64::from(run.records));
            rest[run.partition as usize] += take;
            left -= take;
        }
        let partition = |(partition, rest): (&'static RecordedPartition, u64)| {
            let count = records_max.map(|records| records / total * partition.records.len() as u64 + rest);
            let bytes_before = bytes_before(&partition.records);
            CorpusPartition::new(&partition.records, bytes_before, partition.first_offset, count)
        };
        Self {
            partitions: recording.partitions().iter().zip(rest).map(partition).collect(),
            runs: recording.runs(),
            stopped: AtomicBool::new(false),
        }
    }

    fn made(workload: &Workload, records_max: Option<u64>) -> Self {
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
        // Large values are few: used again, so that the share of tombstones among them is met.
        let count = if workload.tombstones.get() > 0.0 { POOL_VALUES_MAX } else { values.len() };
        let records: Vec<Recorded> = (0..count)
            .map(|index| Recorded {
                // In memory a key does not choose the partition: records serve all of them.
                key: workload
                    .key
                    .write(0, workload.partitions, &mut random, &mut key)
                    .then(|| &*key.clone().leak()),
                value: (!workload.is_tombstone(&mut random)).then(|| values.value(index % values.len())),
                headers,
                timestamp: None,
            })
            .collect();
        let records: &'static [Recorded] = records.leak();
        let bytes_before = bytes_before(records);
        let partitions = u64::from(workload.partitions);
        let partition = |number| {
            let count =
                records_max.map(|records| records / partitions + u64::from(number < records % partitions));
            CorpusPartition::new(records, Arc::clone(&bytes_before), 0, count)
        };
        Self {
            partitions: (0..partitions).map(partition).collect(),
            runs: &[],
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
        self.partitions.iter().map(|partition| partition.taken.load(Ordering::Relaxed)).collect()
    }

    /// Whether the engine has taken every record up to the limit.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        self.partitions.iter().all(|partition| partition.taken.load(Ordering::Relaxed) >= partition.end)
    }

    /// Key, value and header bytes of the records at `offsets` of a partition.
    ///
    /// # Panics
    /// If there is no such partition.
    #[must_use]
    pub fn bytes(&self, partition: usize, offsets: Range<i64>) -> u64 {
        let partition = &self.partitions[partition];
        let before = |offset: i64| {
            let (rounds, rest) = partition.place(offset);
            rounds as u64 * partition.bytes_before[partition.records.len()] + partition.bytes_before[rest]
        };
        before(offsets.end.max(offsets.start)) - before(offsets.start)
    }
}

/// Bytes of the records before each one, and of all at the end.
fn bytes_before(records: &[Recorded]) -> Arc<[u64]> {
    std::iter::once(0)
        .chain(records.iter().scan(0, |sum, record| {
            *sum += record.bytes();
            Some(*sum)
        }))
        .collect()
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
        let own = (0..corpus.partitions.len()).skip(thread).step_by(threads).map(as_partition);
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
            let corpus = &queue.corpus.partitions[at];
            let next = corpus.taken.load(Ordering::Relaxed);
            let (_, place) = corpus.place(next);
            queue.partitions.push(Position { partition: at, next, place });
            starts.push(Start {
                partition: *partition,
                offset: Offset(next),
                committed: None,
                metadata: String::new(),
            });
        }
        self.queues.iter_mut().for_each(MemoryQueue::plan_turns);
        Ok(())
    }

    fn release(&mut self, partitions: &[Partition]) -> Result<(), SourceError> {
        for queue in &mut self.queues {
            queue.partitions.retain(|position| !partitions.contains(&as_partition(position.partition)));
            queue.plan_turns();
        }
        Ok(())
    }

    fn commit(&mut self, commits: &[Commit], mode: CommitMode) -> Result<(), SourceError> {
        if mode == CommitMode::Async {
            let offsets = commits.iter().map(|commit| (commit.partition, commit.offset)).collect();
            self.events.push(SourceEvent::Committed { offsets, error: None });
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
    /// The order in which partitions are read, over and over.
    turns: Vec<Turn>,
    turn: usize,
    /// Records of the turn that were read before.
    turn_records: usize,
    records: Vec<RecordRef<'static>>,
    /// How many of `records` were taken.
    taken: usize,
}

#[derive(Debug)]
struct Position {
    partition: usize,
    next: i64,
    /// Which of the partition's records that is.
    place: usize,
}

/// So many records of one partition.
#[derive(Clone, Copy, Debug)]
struct Turn {
    /// The place in `partitions`.
    at: usize,
    records: usize,
}

impl MemoryQueue {
    fn new(corpus: Arc<Corpus>) -> Self {
        let (partitions, turns, records) = (Vec::new(), Vec::new(), Vec::new());
        Self { corpus, partitions, turns, turn: 0, turn_records: 0, records, taken: 0 }
    }

    fn is_replay(&self) -> bool {
        !self.corpus.runs.is_empty()
    }

    /// Begins with the first turn of the partitions that it has now.
    fn plan_turns(&mut self) {
        (self.turn, self.turn_records) = (0, 0);
        self.turns.clear();
        if !self.is_replay() {
            self.turns.extend((0..self.partitions.len()).map(|at| Turn { at, records: RUN_RECORDS }));
            return;
        }
        let mut places = vec![None; self.corpus.partitions.len()];
        for (at, position) in self.partitions.iter().enumerate() {
            places[position.partition] = Some(at);
        }
        for run in self.corpus.runs {
            let Some(at) = places[run.partition as usize] else { continue };
            let records = run.records as usize;
            match self.turns.last_mut() {
                Some(last) if last.at == at => last.records += records,
                _ => self.turns.push(Turn { at, records }),
            }
        }
    }

    /// Appends up to `records_max` records of one partition. Returns how many.
    fn read_run(&mut self, at: usize, records_max: usize, now_ms: i64) -> usize {
        let position = &mut self.partitions[at];
        let partition = as_partition(position.partition);
        let corpus = &self.corpus.partitions[position.partition];
        let left = usize::try_from(corpus.end - position.next).unwrap_or(0).min(records_max);
        for _ in 0..left {
            let record = &corpus.records[position.place];
            let (timestamp_ms, timestamp_type) =
                record.timestamp.unwrap_or((now_ms, TimestampType::CreateTime));
            self.records.push(RecordRef {
                partition,
                offset: Offset(position.next),
                timestamp_ms,
                timestamp_type,
                key: record.key,
                value: record.value,
                headers: record.headers,
            });
            position.next += 1;
            position.place = if position.place + 1 == corpus.records.len() { 0 } else { position.place + 1 };
        }
        left
    }

    /// Ends the turn. One that a read has cut short goes on in a replay, which keeps to its runs.
    fn end_turn(&mut self, records: usize) {
        self.turn_records += records;
        if !self.is_replay() || self.turn_records >= self.turns[self.turn].records {
            self.turn_records = 0;
            self.turn = (self.turn + 1) % self.turns.len();
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
        let now_ms = wall_ms();
        // Made records: each partition once. A replay goes on until all partitions are at their end.
        let mut turns_left = self.turns.len();
        while turns_left > 0 && self.records.len() < records_max {
            let Turn { at, records } = self.turns[self.turn];
            let wanted = (records - self.turn_records).min(records_max - self.records.len());
            let read = self.read_run(at, wanted, now_ms);
            // A partition at its end has no further records: its turn is over.
            self.end_turn(if read < wanted { records } else { read });
            turns_left = if self.is_replay() && read > 0 { self.turns.len() } else { turns_left - 1 };
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
                self.corpus.partitions[at].taken.store(last.offset.next().0, Ordering::Relaxed);
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
    use crate::workload::recording::samples::recording;
    use crate::workload::spec::Spec;

    fn workload(text: &str) -> Workload {
        Spec::from_toml(text, "test").unwrap().resolve().unwrap().workload
    }

    fn source(text: &str, records_max: Option<u64>) -> (Arc<Corpus>, MemorySource) {
        open(Arc::new(Corpus::new(&workload(text), records_max)))
    }

    fn open(corpus: Arc<Corpus>) -> (Arc<Corpus>, MemorySource) {
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
        assert_eq!(corpus.bytes(0, 0..10_000), sum);
        assert_eq!(corpus.bytes(0, 0..4_321) + corpus.bytes(0, 4_321..10_000), sum);
    }

    #[test]
    fn tombstones_have_a_key_and_no_value_and_their_sizes_are_accounted() {
        // Values so large that the pool holds few.
        let laws = "partitions = 1\nvalue_size = \"8MiB\"\nkey = \"random(7B)\"\ntombstones = \"25%\"";
        let (corpus, mut source) = source(laws, Some(4_000));
        let (mut tombstones, mut bytes) = (0, 0);
        while source.queue(0).read(500) > 0 {
            for record in source.queue(0).pending() {
                tombstones += u64::from(record.value.is_none());
                bytes += record.value.map_or(0, <[u8]>::len) + record.key.unwrap().len();
            }
            let pending = source.queue(0).pending().len();
            source.queue(0).advance(pending);
        }
        assert!((850..1_150).contains(&tombstones), "{tombstones} of 4000");
        assert_eq!(corpus.bytes(0, 0..4_000), bytes as u64);
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

    fn replay(records: &[(i32, i64, i64, &str)], records_max: Option<u64>) -> (Arc<Corpus>, MemorySource) {
        let replay = Some(recording(records));
        let partitions = replay.map_or(0, |one| one.partitions().len()) as u32;
        let workload = Workload { replay, partitions, ..workload("") };
        open(Arc::new(Corpus::new(&workload, records_max)))
    }

    /// Everything that comes, in reads of `at_once`: partition, offset, value.
    fn all(source: &mut MemorySource, at_once: usize) -> Vec<(i32, i64, String)> {
        let mut all = Vec::new();
        while source.queue(0).read(at_once) > 0 {
            let queue = source.queue(0);
            let pending = queue.pending().len();
            assert!(pending <= at_once);
            all.extend(queue.pending().iter().map(|record| {
                let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
                (record.partition.0, record.offset.0, value)
            }));
            queue.advance(pending);
        }
        all
    }

    const CAPTURED: [(i32, i64, i64, &str); 5] =
        [(7, 100, 1, "a"), (7, 101, 2, "b"), (2, 50, 3, "c"), (7, 105, 4, "d"), (2, 51, 5, "e")];

    #[test]
    fn a_replay_keeps_the_order_of_the_capture_and_its_offsets_go_on() {
        for at_once in [1, 2, 3, 100] {
            let (corpus, mut source) = replay(&CAPTURED, Some(8));
            let found = all(&mut source, at_once);
            let expected = [
                (1, 100, "a"),
                (1, 101, "b"),
                (0, 50, "c"),
                (1, 102, "d"),
                (0, 51, "e"),
                // Again, up to the limit.
                (1, 103, "a"),
                (1, 104, "b"),
                (0, 52, "c"),
            ];
            let expected = expected.map(|(partition, offset, value)| (partition, offset, value.to_owned()));
            assert_eq!(found, expected, "{at_once} at once");
            assert_eq!(corpus.taken(), [53, 105]);
            assert!(corpus.is_exhausted());
            // A key of one byte each.
            assert_eq!(corpus.bytes(1, 100..105) + corpus.bytes(0, 50..53), 16);
        }
    }

    #[test]
    fn a_replay_begins_at_the_captured_offsets() {
        let (corpus, mut source) = replay(&CAPTURED, None);
        assert_eq!(corpus.taken(), [50, 100]);
        assert_eq!(source.queue(0).read(12), 12);
        assert!(!corpus.is_exhausted());
        // One that cannot be gone on from begins at zero.
        let (corpus, _) = replay(&[(0, i64::MAX, 1, "a"), (1, -5, 1, "b")], None);
        assert_eq!(corpus.taken(), [0, 0]);
    }

    #[test]
    fn threads_share_the_partitions_of_a_replay() {
        let workload = Workload { replay: Some(recording(&CAPTURED)), partitions: 2, ..workload("") };
        let corpus = Arc::new(Corpus::new(&workload, Some(10)));
        let mut records = 0;
        for thread in 0..2 {
            let mut source = MemorySource::new(&corpus, thread, 2, 1);
            source.assign(&[(as_partition(thread), 0)], &mut Vec::new()).unwrap();
            records += all(&mut source, 3).len();
        }
        assert_eq!(records, 10);
    }
}
