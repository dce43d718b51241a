//! How the memory budget is divided.
//!
//! ```text
//! budget ─┬─ 1/8 kept back: what librdkafka does not count (decompression, more than one broker)
//!         ├─ arenas, per thread: open batches and batches in flight, with their record indexes
//!         └─ shares, one per poller and one per thread, each three times q:
//!              a poller's: q bytes queued + q bytes taken and not yet written + q of the client's
//!                          bookkeeping, which is why the number of queued records is bounded too
//!              a thread's: one fetch response of q bytes that is on its way, tripled alike
//! ```
//! librdkafka bounds a queue by the bytes of its values (`queued.max.messages.kbytes`) and by its
//! records (`queued.min.messages`), but not by the [`RECORD_OVERHEAD_BYTES`] that each record costs
//! it: with 100 B records that is three times the values (measured). It fetches on as soon as
//! records leave the queue, so what the poller holds counts again.

use super::limits::MIB;

/// What a queued record costs the client besides its value: one allocated operation.
pub const RECORD_OVERHEAD_BYTES: u64 = 320;
/// Records that a poller takes from its queue at once, at most: more gain nothing (measured).
pub const READ_RECORDS_MAX: u64 = 1_000;
/// Bytes of the record index per record, with room for its run.
pub const INDEX_BYTES_PER_RECORD: u64 = 64;
/// Below this the client fetches in drips (measured: a fifth of the throughput).
pub const PREFETCH_BYTES_MIN: u64 = MIB;
/// Above this nothing is gained any more.
pub const PREFETCH_BYTES_MAX: u64 = 64 * MIB;
/// What one partition adds to a fetch response, at most: the client's own default.
pub const FETCH_PARTITION_BYTES_MAX: u64 = MIB;
/// An arena's bytes beyond its payload: alignment, and slack for writers that store whole vectors.
pub const ARENA_SLACK_BYTES: u64 = 8 * 1_024;
/// What a batch that has just begun costs.
const BATCH_BEGUN_BYTES: u64 = 256 * 1_024;

/// The parts of the memory budget. Their [`total`](Self::total) is never above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryDivision {
    /// Pollers, in all threads.
    pub pollers: u64,
    /// Consumer threads.
    pub threads: u64,
    /// Bytes of values in one poller's queue: `queued.max.messages.kbytes` (which counts in 1000 B).
    pub prefetch_bytes_per_poller: u64,
    /// Records in one poller's queue: `queued.min.messages`.
    pub prefetch_records_per_poller: u64,
    /// Records that a poller may take from its queue at once.
    pub read_records_max: u64,
    /// Bytes of one fetch response of one thread's client: `fetch.max.bytes`.
    pub fetch_bytes_per_thread: u64,
    /// Bytes of one partition in a fetch response: `fetch.message.max.bytes`.
    pub fetch_bytes_per_partition: u64,
    /// Bytes of the arenas of one thread, indexes included, counted as touched.
    pub arena_budget_bytes_per_thread: u64,
    /// Bytes that are given to nobody.
    pub reserve_bytes: u64,
}

/// What a budget must cover.
#[derive(Clone, Copy, Debug)]
pub(super) struct Demand {
    pub pollers: u64,
    pub threads: u64,
    pub payload_bytes_max: u64,
    pub batch_size: u64,
}

impl Demand {
    /// One full arena with its index.
    fn arena_bytes(&self) -> u64 {
        self.payload_bytes_max + ARENA_SLACK_BYTES + self.batch_size * INDEX_BYTES_PER_RECORD
    }

    /// So little that a thread just gets along: one poller may fill an arena while the others have
    /// each begun one and have another in flight.
    fn arena_bytes_min_per_thread(&self) -> u64 {
        let others = self.pollers.div_ceil(self.threads) - 1;
        self.arena_bytes() + (2 * others + 1) * (BATCH_BEGUN_BYTES + self.batch_size * INDEX_BYTES_PER_RECORD)
    }

    /// Shares of the client: see the module's picture.
    fn shares(&self) -> u64 {
        3 * (self.pollers + self.threads)
    }

    /// The smallest budget that works.
    pub(super) fn budget_min(&self) -> u64 {
        let parts = self.threads * self.arena_bytes_min_per_thread() + self.shares() * PREFETCH_BYTES_MIN;
        // One eighth of the budget is kept back; whole MiB read better.
        (parts * 8).div_ceil(7).next_multiple_of(MIB)
    }

    /// Divides `budget`; `None` if it is below [`budget_min`](Self::budget_min).
    pub(super) fn divide(&self, budget: u64) -> Option<MemoryDivision> {
        if budget < self.budget_min() {
            return None;
        }
        let reserve_bytes = budget / 8;
        let usable = budget - reserve_bytes;
        // Every poller likes one full batch in flight and one filling; the client has the rest.
        let wanted = self.threads * self.arena_bytes() * 2 * self.pollers.div_ceil(self.threads);
        let least = self.threads * self.arena_bytes_min_per_thread();
        let most = usable - self.shares() * PREFETCH_BYTES_MIN;
        let arenas = (usable / 2).max(least).min(wanted.max(least)).min(most);
        let share = ((usable - arenas) / self.shares()).min(PREFETCH_BYTES_MAX);
        let read_records_max = READ_RECORDS_MAX.min(share / RECORD_OVERHEAD_BYTES / 4);
        Some(MemoryDivision {
            pollers: self.pollers,
            threads: self.threads,
            prefetch_bytes_per_poller: share,
            prefetch_records_per_poller: share / RECORD_OVERHEAD_BYTES - read_records_max,
            read_records_max,
            fetch_bytes_per_thread: share,
            fetch_bytes_per_partition: share.min(FETCH_PARTITION_BYTES_MAX),
            arena_budget_bytes_per_thread: arenas / self.threads,
            reserve_bytes,
        })
    }

    /// The most pollers that `budget` can carry with these threads; 0 if not even one each.
    pub(super) fn pollers_max(&self, budget: u64) -> u64 {
        let fits = |pollers: u64| Self { pollers, ..*self }.budget_min() <= budget;
        (self.threads..=self.pollers).rev().find(|pollers| fits(*pollers)).unwrap_or(0)
    }
}

impl MemoryDivision {
    /// The bytes of one poller: queued, taken, and the client's bookkeeping for both.
    #[must_use]
    pub fn bytes_per_poller(&self) -> u64 {
        let records = self.prefetch_records_per_poller + self.read_records_max;
        2 * self.prefetch_bytes_per_poller + records * RECORD_OVERHEAD_BYTES
    }

    /// All bytes that this division spends: at most the budget.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.pollers * self.bytes_per_poller()
            + self.threads * (3 * self.fetch_bytes_per_thread + self.arena_budget_bytes_per_thread)
            + self.reserve_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::limits::{
        MEMORY_BUDGET_DEFAULT, MEMORY_BUDGET_MAX, PAYLOAD_BYTES_MAX, PAYLOAD_BYTES_MIN,
    };
    use proptest::prelude::*;

    const DEFAULT: Demand =
        Demand { pollers: 5, threads: 1, payload_bytes_max: PAYLOAD_BYTES_MAX, batch_size: 100 };

    #[test]
    fn the_default_budget_gives_every_poller_two_full_arenas_and_room_to_prefetch() {
        let division = DEFAULT.divide(MEMORY_BUDGET_DEFAULT).expect("enough");
        assert!(division.arena_budget_bytes_per_thread >= 10 * PAYLOAD_BYTES_MAX);
        assert!(division.prefetch_bytes_per_poller >= 8 * MIB, "{division:?}");
        assert_eq!(division.read_records_max, READ_RECORDS_MAX);
        assert!(division.total() <= MEMORY_BUDGET_DEFAULT);
    }

    #[test]
    fn one_poller_gets_along_with_sixteen_megabytes() {
        let small = Demand { pollers: 1, ..DEFAULT };
        assert!(small.budget_min() <= 16 * MIB, "{}", small.budget_min());
    }

    #[test]
    fn a_budget_below_the_minimum_is_not_divided() {
        assert!(DEFAULT.divide(DEFAULT.budget_min()).is_some());
        assert!(DEFAULT.divide(DEFAULT.budget_min() - 1).is_none());
    }

    proptest! {
        #[test]
        fn the_parts_never_exceed_the_budget_and_suffice(
            threads in 1_u64..=64, more in 0_u64..=936, payload in PAYLOAD_BYTES_MIN..=PAYLOAD_BYTES_MAX,
            batch_size in 1_u64..=10_000, budget in MIB..=(1_u64 << 36),
        ) {
            let demand = Demand { pollers: threads + more, threads, payload_bytes_max: payload, batch_size };
            match demand.divide(budget) {
                None => {
                    prop_assert!(budget < demand.budget_min());
                    prop_assert!(demand.pollers_max(budget) < demand.pollers);
                }
                Some(division) => {
                    prop_assert!(division.total() <= budget, "{division:?} is {} of {budget}", division.total());
                    prop_assert!(division.arena_budget_bytes_per_thread >= demand.arena_bytes());
                    prop_assert!(division.prefetch_bytes_per_poller >= PREFETCH_BYTES_MIN);
                    prop_assert!(division.read_records_max >= 500);
                    prop_assert!(division.prefetch_records_per_poller >= 2_000);
                }
            }
            prop_assert!(demand.budget_min() < MEMORY_BUDGET_MAX, "no allowed demand is impossible");
        }
    }
}
