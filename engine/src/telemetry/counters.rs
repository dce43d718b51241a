//! Counters in shards, one per consumer thread.
//!
//! A shard is written by the one thread that holds its [`Writer`], with plain relaxed loads and
//! stores: no locked instruction and no cache line shared between writers. Readers sum the shards;
//! what they see may be a few records old and is never torn.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::histogram::{Cell64, Histogram, HistogramTotals};
use super::names::{
    BATCH_RECORDS, CAUSES, Count, ErrorKind, INVOCATION, OUTCOMES, PAYLOAD_BYTES, RECORD_AGE, slot,
};
use super::partitions::{PartitionGauges, Partitions};
use crate::ids::Partition;

/// One thread's counters, on cache lines of its own (two, for CPUs that fetch pairs).
#[derive(Debug)]
#[repr(align(128))]
struct Shard {
    taken: AtomicBool,
    counts: [Cell64; Count::ALL.len()],
    errors: [Cell64; ErrorKind::LABELS.len()],
    invocations: [Cell64; OUTCOMES.len()],
    batches: [Cell64; CAUSES.len()],
    record_age: Histogram,
    invocation: Histogram,
    batch_records: Histogram,
    payload_bytes: Histogram,
    pollers: Cell64,
    in_flight: Cell64,
    arena_in_use: Cell64,
    arena_free: Cell64,
}

impl Default for Shard {
    fn default() -> Self {
        Self {
            taken: AtomicBool::default(),
            counts: Default::default(),
            errors: Default::default(),
            invocations: Default::default(),
            batches: Default::default(),
            record_age: Histogram::new(&RECORD_AGE),
            invocation: Histogram::new(&INVOCATION),
            batch_records: Histogram::new(&BATCH_RECORDS),
            payload_bytes: Histogram::new(&PAYLOAD_BYTES),
            pollers: Cell64::default(),
            in_flight: Cell64::default(),
            arena_in_use: Cell64::default(),
            arena_free: Cell64::default(),
        }
    }
}

/// What an engine is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineState {
    /// Connecting for the first time.
    Starting,
    /// Connected.
    Running,
    /// All brokers are lost; it reconnects for ever.
    Disconnected,
    /// Finishing what is in flight.
    Draining,
    /// Over.
    Stopped,
}

impl EngineState {
    const ALL: [Self; 5] = [Self::Starting, Self::Running, Self::Disconnected, Self::Draining, Self::Stopped];

    /// One word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Disconnected => "disconnected",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
        }
    }
}

/// Everything that one engine counts.
#[derive(Debug)]
pub struct Counters {
    shards: Box<[Shard]>,
    partitions: Partitions,
    state: AtomicU8,
    problem: Mutex<Option<String>>,
}

/// Longest problem that is kept for the status line, in characters.
const PROBLEM_CHARS_MAX: usize = 200;

impl Counters {
    /// Counters for this many consumer threads.
    #[must_use]
    pub fn new(threads: usize) -> Arc<Self> {
        Arc::new(Self {
            shards: (0..threads).map(|_| Shard::default()).collect(),
            partitions: Partitions::default(),
            state: AtomicU8::new(EngineState::Starting as u8),
            problem: Mutex::default(),
        })
    }

    /// The right to write the counters of one thread, until it is dropped.
    ///
    /// # Panics
    /// If there is no such thread, or somebody else has its writer: two would lose counts.
    #[must_use]
    pub fn writer(self: &Arc<Self>, thread: usize) -> Writer {
        let taken = self.shards[thread].taken.swap(true, Ordering::Acquire);
        assert!(!taken, "the counters of thread {thread} already have a writer");
        Writer { counters: self.clone(), thread, single: PhantomData }
    }

    /// Begins to show the offsets of a partition.
    pub fn own_partition(&self, partition: Partition) -> Arc<PartitionGauges> {
        self.partitions.own(partition)
    }

    /// Ends to show a partition that went to somebody else.
    pub fn disown_partition(&self, partition: Partition) {
        self.partitions.disown(partition);
    }

    /// The partitions owned now.
    #[must_use]
    pub fn partitions(&self) -> Vec<(Partition, Arc<PartitionGauges>)> {
        self.partitions.list()
    }

    /// Says what the engine is doing.
    pub fn set_state(&self, state: EngineState) {
        self.state.store(state as u8, Ordering::Relaxed);
    }

    /// What the engine is doing.
    #[must_use]
    pub fn state(&self) -> EngineState {
        let state = self.state.load(Ordering::Relaxed);
        EngineState::ALL.into_iter().find(|known| *known as u8 == state).unwrap_or(EngineState::Starting)
    }

    /// Keeps the last problem for the status line. Not for the record path: it locks.
    pub fn note_problem(&self, problem: &str) {
        let short = problem.chars().take(PROBLEM_CHARS_MAX).collect();
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = Some(short);
    }

    /// The last problem, if there was one.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sums all threads.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let sum = |of: fn(&Shard) -> &Cell64| self.shards.iter().map(|shard| of(shard).get()).sum();
        Totals {
            counts: self.sum_each(|shard| &shard.counts),
            errors: self.sum_each(|shard| &shard.errors),
            invocations: self.sum_each(|shard| &shard.invocations),
            batches: self.sum_each(|shard| &shard.batches),
            record_age: self.sum_histogram(&RECORD_AGE, |shard| &shard.record_age),
            invocation: self.sum_histogram(&INVOCATION, |shard| &shard.invocation),
            batch_records: self.sum_histogram(&BATCH_RECORDS, |shard| &shard.batch_records),
            payload_bytes: self.sum_histogram(&PAYLOAD_BYTES, |shard| &shard.payload_bytes),
            pollers: sum(|shard| &shard.pollers),
            in_flight: sum(|shard| &shard.in_flight),
            arena: ArenaBytes {
                in_use: sum(|shard| &shard.arena_in_use),
                free: sum(|shard| &shard.arena_free),
            },
        }
    }

    fn sum_each<const N: usize>(&self, of: impl Fn(&Shard) -> &[Cell64; N]) -> [u64; N] {
        std::array::from_fn(|i| self.shards.iter().map(|shard| of(shard)[i].get()).sum())
    }

    fn sum_histogram(
        &self,
        scale: &'static super::histogram::Scale,
        of: impl Fn(&Shard) -> &Histogram,
    ) -> HistogramTotals {
        let mut totals = HistogramTotals::new(scale);
        self.shards.iter().for_each(|shard| of(shard).add_to(&mut totals));
        totals
    }
}

/// Bytes of arenas that hold pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ArenaBytes {
    /// In open batches and batches in flight.
    pub in_use: u64,
    /// In arenas that wait to be used again.
    pub free: u64,
}

/// All counters, summed over threads at one moment.
#[derive(Clone, Debug)]
pub struct Totals {
    counts: [u64; Count::ALL.len()],
    errors: [u64; ErrorKind::LABELS.len()],
    invocations: [u64; OUTCOMES.len()],
    batches: [u64; CAUSES.len()],
    /// Seconds from a record's timestamp to its acknowledgement.
    pub record_age: HistogramTotals,
    /// Seconds of each invocation.
    pub invocation: HistogramTotals,
    /// Records of each batch.
    pub batch_records: HistogramTotals,
    /// Bytes of each event.
    pub payload_bytes: HistogramTotals,
    /// Pollers in use.
    pub pollers: u64,
    /// Invocations in flight.
    pub in_flight: u64,
    /// What the arenas hold.
    pub arena: ArenaBytes,
}

impl Totals {
    /// Records of this kind.
    #[must_use]
    pub fn records(&self, count: Count) -> u64 {
        self.counts[count as usize]
    }

    /// Errors of this kind.
    #[must_use]
    pub fn errors(&self, kind: ErrorKind) -> u64 {
        self.errors[kind as usize]
    }

    /// Invocations with this outcome (one of [`OUTCOMES`]).
    #[must_use]
    pub fn invocations(&self, outcome: &str) -> u64 {
        self.invocations[slot(&OUTCOMES, outcome)]
    }

    /// Batches closed by this cause (one of [`CAUSES`]).
    #[must_use]
    pub fn batches(&self, cause: &str) -> u64 {
        self.batches[slot(&CAUSES, cause)]
    }
}

/// The right to write one thread's counters. It moves between threads but is never in two: `Send`
/// and not `Sync`, which is what makes plain adds enough.
#[derive(Debug)]
pub struct Writer {
    counters: Arc<Counters>,
    thread: usize,
    single: PhantomData<Cell<()>>,
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shard().taken.store(false, Ordering::Release);
    }
}

impl Writer {
    fn shard(&self) -> &Shard {
        &self.counters.shards[self.thread]
    }

    /// All counters of the engine.
    #[must_use]
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Counts `records` records.
    pub fn records(&self, count: Count, records: u64) {
        self.shard().counts[count as usize].add(records);
    }

    /// Counts an error.
    pub fn error(&self, kind: ErrorKind) {
        self.shard().errors[kind as usize].add(1);
    }

    /// Counts a batch that was closed by `cause` (one of [`CAUSES`]).
    pub fn batch(&self, cause: &str, records: u64, payload_bytes: u64) {
        let shard = self.shard();
        shard.batches[slot(&CAUSES, cause)].add(1);
        shard.batch_records.observe(records, 1);
        shard.payload_bytes.observe(payload_bytes, 1);
    }

    /// Counts an invocation that came to `outcome` (one of [`OUTCOMES`]) after this time.
    pub fn invocation(&self, outcome: &str, took: Duration) {
        let shard = self.shard();
        shard.invocations[slot(&OUTCOMES, outcome)].add(1);
        shard.invocation.observe(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), 1);
    }

    /// Counts `records` records that were this old when the function had them. Negative ages (a
    /// producer's clock ahead of ours) count as zero.
    pub fn record_age(&self, age_ms: i64, records: u64) {
        self.shard().record_age.observe(u64::try_from(age_ms).unwrap_or(0), records);
    }

    /// Sets how many of this thread's pollers are in use.
    pub fn set_pollers(&self, pollers: u64) {
        self.shard().pollers.set(pollers);
    }

    /// Sets how many invocations of this thread are in flight.
    pub fn set_in_flight(&self, invocations: u64) {
        self.shard().in_flight.set(invocations);
    }

    /// Sets what this thread's arenas hold.
    pub fn set_arena(&self, bytes: ArenaBytes) {
        self.shard().arena_in_use.set(bytes.in_use);
        self.shard().arena_free.set(bytes.free);
    }
}

impl ErrorKind {
    /// The label of `pelton_errors_total`.
    #[must_use]
    pub fn label(self) -> &'static str {
        Self::LABELS[self as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shards_of_all_threads_are_summed() {
        let counters = Counters::new(3);
        std::thread::scope(|scope| {
            for thread in 0..3 {
                let writer = counters.writer(thread);
                scope.spawn(move || {
                    for _ in 0..10_000 {
                        writer.records(Count::Polled, 2);
                    }
                    writer.error(ErrorKind::Commit);
                    writer.batch("window", 7, 4_000);
                    writer.invocation("throttled", Duration::from_millis(3));
                    writer.record_age(-5, 7);
                    writer.set_in_flight(2);
                    writer.set_arena(ArenaBytes { in_use: 10, free: 1 });
                });
            }
        });
        let totals = counters.totals();
        assert_eq!(totals.records(Count::Polled), 60_000);
        assert_eq!(totals.records(Count::Committed), 0);
        assert_eq!((totals.errors(ErrorKind::Commit), totals.errors(ErrorKind::Invoke)), (3, 0));
        assert_eq!((totals.batches("window"), totals.batches("count")), (3, 0));
        assert_eq!(totals.invocations("throttled"), 3);
        assert_eq!((totals.record_age.count(), totals.record_age.sum()), (21, 0.0));
        assert_eq!((totals.in_flight, totals.arena.in_use, totals.arena.free), (6, 30, 3));
    }

    #[test]
    fn an_unknown_label_is_counted_as_other() {
        let counters = Counters::new(1);
        counters.writer(0).invocation("exploded", Duration::ZERO);
        counters.writer(0).batch("boredom", 1, 1);
        let totals = counters.totals();
        assert_eq!((totals.invocations("other"), totals.batches("other")), (1, 1));
    }

    #[test]
    fn a_thread_has_one_writer_at_a_time() {
        let counters = Counters::new(1);
        let writer = counters.writer(0);
        let second = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| counters.writer(0)));
        assert!(second.is_err());
        drop(writer);
        counters.writer(0).records(Count::Polled, 1);
        assert_eq!(counters.totals().records(Count::Polled), 1);
    }

    #[test]
    fn the_tables_follow_the_enums() {
        assert!(Count::ALL.iter().enumerate().all(|(i, (count, ..))| *count as usize == i));
        assert_eq!(ErrorKind::SchemaRegistry.label(), "schema_registry");
        let counters = Counters::new(0);
        for state in EngineState::ALL {
            counters.set_state(state);
            assert_eq!(counters.state(), state);
        }
    }

    #[test]
    fn the_last_problem_is_kept_short() {
        let counters = Counters::new(0);
        assert_eq!(counters.problem(), None);
        counters.note_problem(&"é".repeat(1_000));
        assert_eq!(counters.problem().map(|problem| problem.chars().count()), Some(PROBLEM_CHARS_MAX));
    }
}
