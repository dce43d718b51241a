//! What has happened, as plain adds.
//!
//! Each consumer thread writes a [`Shard`] of its own, so an add is a load and a store; whoever
//! reads sums the shards. What is kept per partition changes with commits and statistics, a few
//! times a second, and stands behind a lock that no record ever meets.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicU8, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::ids::{Offset, Partition};

/// A counter with one writer.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds `more`. Only the thread that owns the shard may call it: two writers would lose adds.
    pub fn add(&self, more: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(more), Relaxed);
    }

    /// The sum so far.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Counts of observations by size, in fixed buckets, with one writer.
#[derive(Debug)]
pub struct Histogram {
    /// Upper bounds, inclusive, ascending; in the unit of what is observed.
    bounds: &'static [u64],
    /// One more than the bounds: the last takes what is above them all.
    counts: Box<[Count]>,
    sum: Count,
}

impl Histogram {
    fn new(bounds: &'static [u64]) -> Self {
        Self { bounds, counts: (0..=bounds.len()).map(|_| Count::default()).collect(), sum: Count::default() }
    }

    /// Counts one observation.
    pub fn observe(&self, value: u64) {
        self.counts[self.bounds.partition_point(|&bound| bound < value)].add(1);
        self.sum.add(value);
    }

    /// The upper bounds, without the infinite one.
    #[must_use]
    pub const fn bounds(&self) -> &'static [u64] {
        self.bounds
    }

    /// Observations per bucket, not cumulated; the last is above every bound.
    pub fn counts(&self) -> impl Iterator<Item = u64> + '_ {
        self.counts.iter().map(Count::get)
    }

    /// The sum of all observations.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.sum.get()
    }
}

/// Bucket bounds of record ages and invocation times, in microseconds: 1 ms to 15 min.
pub const MICROS: &[u64] = &[
    1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000, 2_000_000, 5_000_000,
    10_000_000, 30_000_000, 60_000_000, 300_000_000, 900_000_000,
];
/// Bucket bounds of records in a batch.
pub const RECORDS: &[u64] = &[1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000];
/// Bucket bounds of payload sizes, in bytes: 1 KiB to 6 MiB.
pub const BYTES: &[u64] = &[
    1 << 10,
    4 << 10,
    16 << 10,
    64 << 10,
    256 << 10,
    1 << 20,
    2 << 20,
    3 << 20,
    4 << 20,
    5 << 20,
    6 << 20,
];

/// What a partition stands at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionGauge {
    /// The first offset not yet committed.
    pub committed: Offset,
    /// The log end offset, once known.
    pub end: Option<Offset>,
}

impl PartitionGauge {
    /// Records between the two; `None` until the end is known.
    #[must_use]
    pub fn lag(&self) -> Option<u64> {
        self.end.map(|end| u64::try_from(end.0 - self.committed.0).unwrap_or(0))
    }
}

/// How a consumer thread stands with its cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Link {
    /// Nothing heard yet.
    #[default]
    Connecting = 0,
    /// Connected.
    Connected = 1,
    /// Every broker lost; being tried again.
    Disconnected = 2,
}

/// One consumer thread's numbers. Counters are written by that thread only.
#[derive(Debug)]
pub struct Shard {
    /// Records read.
    pub polled: Count,
    /// Records given to the function, again on each retry.
    pub invoked: Count,
    /// Records in failed invocations.
    pub failed: Count,
    /// Records given up for good without a destination.
    pub dropped: Count,
    /// Records committed: sums of the steps of committed offsets.
    pub committed: Count,
    /// Records in delivered batches.
    pub delivered: Count,
    /// Errors of the client, each tried again by itself.
    pub polling_errors: Count,
    /// Failed invocations.
    pub invoke_errors: Count,
    /// Refused commits.
    pub commit_errors: Count,
    /// Invocations by outcome, in the order of the labels that the caller numbers them by.
    pub invocations: [Count; 7],
    /// Batches by flush cause, likewise.
    pub batches: [Count; 5],
    /// Records per batch.
    pub batch_records: Histogram,
    /// Bytes per payload.
    pub payload_bytes: Histogram,
    /// Invocation times, in microseconds.
    pub invocation_micros: Histogram,
    /// Ages of records when their batch was delivered, by their own timestamps, in microseconds.
    pub age_micros: Histogram,
    in_flight: AtomicU64,
    arena_bytes: AtomicU64,
    arenas_in_use: AtomicU64,
    link: AtomicU8,
    changed_at_ms: AtomicI64,
    partitions: Mutex<BTreeMap<Partition, PartitionGauge>>,
    problem: Mutex<Option<String>>,
}

impl Shard {
    fn new() -> Self {
        Self {
            polled: Count::default(),
            invoked: Count::default(),
            failed: Count::default(),
            dropped: Count::default(),
            committed: Count::default(),
            delivered: Count::default(),
            polling_errors: Count::default(),
            invoke_errors: Count::default(),
            commit_errors: Count::default(),
            invocations: Default::default(),
            batches: Default::default(),
            batch_records: Histogram::new(RECORDS),
            payload_bytes: Histogram::new(BYTES),
            invocation_micros: Histogram::new(MICROS),
            age_micros: Histogram::new(MICROS),
            in_flight: AtomicU64::new(0),
            arena_bytes: AtomicU64::new(0),
            arenas_in_use: AtomicU64::new(0),
            link: AtomicU8::new(0),
            changed_at_ms: AtomicI64::new(0),
            partitions: Mutex::default(),
            problem: Mutex::default(),
        }
    }

    /// A batch was closed; `cause` numbers its flush cause.
    pub fn on_batch(&self, cause: usize, records: u32, payload_bytes: usize) {
        self.batches[cause].add(1);
        self.batch_records.observe(u64::from(records));
        self.payload_bytes.observe(payload_bytes as u64);
    }

    /// An invocation with `records` records was answered after `took`; `outcome` numbers its
    /// outcome.
    pub fn on_invocation(&self, outcome: usize, success: bool, took: Duration, records: u64) {
        self.invocations[outcome].add(1);
        self.invocation_micros.observe(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        if !success {
            self.invoke_errors.add(1);
            self.failed.add(records);
        }
    }

    /// A batch was delivered; its records had these ages, in milliseconds.
    pub fn on_delivered(&self, ages_ms: impl Iterator<Item = i64>) {
        let mut records = 0;
        for age in ages_ms {
            // A producer whose clock is ahead makes negative ages.
            self.age_micros.observe(u64::try_from(age).unwrap_or(0).saturating_mul(1000));
            records += 1;
        }
        self.delivered.add(records);
    }

    /// A partition is read from `start` on.
    pub fn on_assigned(&self, partition: Partition, start: Offset) {
        self.partitions().insert(partition, PartitionGauge { committed: start, end: None });
    }

    /// A partition is no longer read here.
    pub fn on_forgotten(&self, partition: Partition) {
        self.partitions().remove(&partition);
    }

    /// A commit was acknowledged.
    pub fn on_committed(&self, partition: Partition, offset: Offset) {
        if let Some(gauge) = self.partitions().get_mut(&partition) {
            self.committed.add(u64::try_from(offset.0 - gauge.committed.0).unwrap_or(0));
            gauge.committed = offset;
        }
    }

    /// The log end of a partition is known.
    pub fn on_end(&self, partition: Partition, end: Offset) {
        if let Some(gauge) = self.partitions().get_mut(&partition) {
            gauge.end = Some(end);
        }
    }

    /// Something failed that is tried again.
    pub fn on_problem(&self, words: String) {
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = Some(words);
    }

    /// The connection changed.
    pub fn on_link(&self, link: Link, now_ms: i64) {
        self.link.store(link as u8, Relaxed);
        self.changed_at_ms.store(now_ms, Relaxed);
    }

    /// How many invocations run, and what the batches hold of the budget.
    pub fn set_gauges(&self, in_flight: usize, arena_bytes: usize, arenas_in_use: usize) {
        self.in_flight.store(in_flight as u64, Relaxed);
        self.arena_bytes.store(arena_bytes as u64, Relaxed);
        self.arenas_in_use.store(arenas_in_use as u64, Relaxed);
    }

    /// Invocations that run now.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Relaxed)
    }

    /// Bytes of the memory budget that batches have touched.
    #[must_use]
    pub fn arena_bytes(&self) -> u64 {
        self.arena_bytes.load(Relaxed)
    }

    /// Buffers that are open or in flight.
    #[must_use]
    pub fn arenas_in_use(&self) -> u64 {
        self.arenas_in_use.load(Relaxed)
    }

    /// How the thread stands with its cluster, and since when (Unix milliseconds).
    #[must_use]
    pub fn link(&self) -> (Link, i64) {
        let link = match self.link.load(Relaxed) {
            0 => Link::Connecting,
            1 => Link::Connected,
            _ => Link::Disconnected,
        };
        (link, self.changed_at_ms.load(Relaxed))
    }

    /// The last problem, in words.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The partitions read here.
    pub fn partitions(&self) -> MutexGuard<'_, BTreeMap<Partition, PartitionGauge>> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Every thread's numbers.
#[derive(Debug)]
pub struct Counters {
    shards: Vec<Arc<Shard>>,
    pollers: usize,
}

impl Counters {
    /// Zeros for `threads` consumer threads with `pollers` pollers over all.
    #[must_use]
    pub fn new(threads: usize, pollers: usize) -> Self {
        Self { shards: (0..threads).map(|_| Arc::new(Shard::new())).collect(), pollers }
    }

    /// The shard of a thread.
    ///
    /// # Panics
    /// If `thread` is not below the number of threads.
    #[must_use]
    pub fn shard(&self, thread: usize) -> Arc<Shard> {
        Arc::clone(&self.shards[thread])
    }

    /// All shards.
    #[must_use]
    pub fn shards(&self) -> &[Arc<Shard>] {
        &self.shards
    }

    /// Pollers over all threads.
    #[must_use]
    pub const fn pollers(&self) -> usize {
        self.pollers
    }

    /// Sums one counter over all threads.
    pub fn sum(&self, of: impl Fn(&Shard) -> &Count) -> u64 {
        self.shards.iter().map(|shard| of(shard).get()).sum()
    }

    /// Records between the committed offsets and the log ends, over all partitions read here whose
    /// end is known: their sum and their maximum.
    #[must_use]
    pub fn lag(&self) -> (u64, u64) {
        let mut sum = 0;
        let mut max = 0;
        for shard in &self.shards {
            for lag in shard.partitions().values().filter_map(PartitionGauge::lag) {
                sum += lag;
                max = max.max(lag);
            }
        }
        (sum, max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_observation_on_a_bound_is_within_it() {
        let histogram = Histogram::new(&[10, 20]);
        for value in [0, 10, 11, 20, 21] {
            histogram.observe(value);
        }
        assert_eq!(histogram.counts().collect::<Vec<_>>(), [2, 2, 1]);
        assert_eq!(histogram.sum(), 62);
    }

    #[test]
    fn committed_records_are_the_steps_of_committed_offsets() {
        let counters = Counters::new(1, 1);
        let shard = counters.shard(0);
        shard.on_assigned(Partition(3), Offset(100));
        shard.on_committed(Partition(3), Offset(150));
        shard.on_committed(Partition(3), Offset(175));
        shard.on_committed(Partition(4), Offset(9));
        assert_eq!(counters.sum(|shard| &shard.committed), 75);
    }

    #[test]
    fn lag_is_known_once_the_end_is() {
        let counters = Counters::new(2, 2);
        counters.shard(0).on_assigned(Partition(0), Offset(10));
        counters.shard(1).on_assigned(Partition(1), Offset(10));
        assert_eq!(counters.lag(), (0, 0));
        counters.shard(0).on_end(Partition(0), Offset(25));
        counters.shard(1).on_end(Partition(1), Offset(17));
        assert_eq!(counters.lag(), (22, 15));
        counters.shard(1).on_forgotten(Partition(1));
        assert_eq!(counters.lag(), (15, 15));
    }
}
