//! Pollers in virtual time, batch by batch: what one setting makes of a traffic, in microseconds of
//! CPU per thousand batches.
//!
//! The rules are those of the engine's [`Policy`](pelton::batch::Policy). [`poller`](crate::explain::poller)
//! asks that policy record by record, and is what the finalists of a search are measured with; here
//! the end of each batch is looked up in running sums instead, which costs the same for a batch of one
//! and of ten thousand. That both say the same is a property test below.

use std::ops::Range;
use std::time::Duration;

use pelton::batch::{BatchLimits, FlushCause};
use pelton::time::Nanos;

use super::cost::Usage;
use super::model::{Function, Invocation};
use crate::explain::poller::{Arrival, Sent, poll};
use crate::measure::histogram::{Latency, LatencySummary};
use crate::traffic::Traffic;

/// What one poller reads, with running sums.
#[derive(Clone, Copy, Debug)]
pub struct Lane<'s> {
    /// When records are there, in nanoseconds; ascending.
    at: &'s [u64],
    /// When they were meant to be sent.
    born: &'s [u64],
    /// Bytes of the records before each one, and of all at the end.
    before: &'s [u64],
    /// Partitions that it has records of.
    partitions: u32,
    /// Bytes of the keys of all of them in an event, commas included.
    keys_bytes: u64,
    /// Records that no event can hold.
    oversized: u64,
}

/// The lanes of all pollers, one behind the other: however many there are, they take the same memory,
/// which is used again.
#[derive(Debug, Default)]
pub struct LaneSet {
    at: Vec<u64>,
    born: Vec<u64>,
    /// One more for each lane.
    before: Vec<u64>,
    shares: Vec<Share>,
}

/// What of a set is whose.
#[derive(Clone, Debug, Default)]
struct Share {
    first: usize,
    /// One past the last record that was placed.
    end: usize,
    partitions: u32,
    keys_bytes: u64,
    oversized: u64,
}

/// The largest event, and what it begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Bytes of an event without records.
    pub envelope_bytes: usize,
    /// The largest event.
    pub payload_bytes_max: u32,
}

impl LaneSet {
    /// Becomes the lanes of `pollers` pollers that share `traffic` as [`Traffic::split`] says, without
    /// records whose event alone is too large.
    pub fn split(&mut self, traffic: &Traffic, pollers: usize, room: Room) {
        let pollers = pollers.clamp(1, (traffic.partitions as usize).max(1));
        // Division by a number that is not known beforehand is dear, once for each of millions.
        let lane_of: Vec<u32> = (0..traffic.partitions).map(|partition| partition % pollers as u32).collect();
        let mut records = vec![0_usize; pollers];
        for arrival in &traffic.arrivals {
            records[lane_of[arrival.partition as usize] as usize] += 1;
        }
        let all = traffic.arrivals.len();
        // What was there is written over.
        self.at.resize(all, 0);
        self.born.resize(all, 0);
        self.before.resize(all + pollers, 0);
        self.shares.clear();
        let mut first = 0;
        for (lane, records) in records.into_iter().enumerate() {
            self.shares.push(Share { first, end: first, ..Share::default() });
            self.before[first + lane] = 0;
            first += records;
        }
        let mut seen = vec![false; traffic.partitions as usize];
        for arrival in &traffic.arrivals {
            let place = arrival.partition as usize;
            let lane = lane_of[place] as usize;
            let share = &mut self.shares[lane];
            let alone = room.envelope_bytes + arrival.bytes as usize + arrival.key_bytes as usize;
            if alone > room.payload_bytes_max as usize {
                share.oversized += 1;
                continue;
            }
            if !seen[place] {
                seen[place] = true;
                share.keys_bytes += u64::from(arrival.key_bytes) + u64::from(share.partitions > 0);
                share.partitions += 1;
            }
            let at = share.end;
            self.at[at] = arrival.at.0;
            self.born[at] = arrival.born.0;
            self.before[at + lane + 1] = self.before[at + lane] + u64::from(arrival.bytes);
            share.end += 1;
        }
    }

    /// The lanes.
    pub fn lanes(&self) -> impl Iterator<Item = Lane<'_>> {
        self.shares.iter().enumerate().map(|(lane, share)| Lane {
            at: &self.at[share.first..share.end],
            born: &self.born[share.first..share.end],
            before: &self.before[share.first + lane..=share.end + lane],
            partitions: share.partitions,
            keys_bytes: share.keys_bytes,
            oversized: share.oversized,
        })
    }
}

impl Lane<'_> {
    /// Its records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.at.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.at.is_empty()
    }

    /// Its records that are there before `until`.
    fn len_until(&self, until: Nanos) -> usize {
        self.at.partition_point(|at| *at < until.0)
    }

    /// Bytes of the event of the records `from..to`: as if a batch had records of all partitions of its
    /// poller that it can have, which is exact for one partition and for batches of many records.
    fn payload_bytes(&self, from: usize, to: usize, envelope_bytes: usize) -> u64 {
        let records = (to - from) as u64;
        let keys = if records >= u64::from(self.partitions) {
            self.keys_bytes
        } else {
            self.keys_bytes * records / u64::from(self.partitions)
        };
        envelope_bytes as u64 + self.before[to] - self.before[from] + keys
    }
}

/// What a setting came to.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Records delivered.
    pub records: u64,
    /// Of those, the ones answered for after the warm-up.
    pub records_measured: u64,
    /// Bytes of the events that they were in.
    pub payload_bytes: u64,
    /// Batches.
    pub batches: u64,
    /// Those closed by count, window and bytes.
    pub causes: [u64; 3],
    /// Batches that were full and waited for the function.
    pub waited: u64,
    /// Invocations: batches and their repeats, those that were throttled included.
    pub invocations: u64,
    /// Invocations that ran.
    pub billed: u64,
    /// How long they ran, each rounded up to a millisecond.
    pub billed_ms: u64,
    /// Time in which a poller waited for its function.
    pub busy: Duration,
    /// When the last answer came.
    pub ended_at: Nanos,
    /// From a record's arrival until the function had answered for it.
    pub age: Latency,
    /// When each batch was answered for, and its records; only where every record is followed.
    pub delivered: Vec<(Nanos, u32)>,
    /// Records that no event can hold.
    pub oversized: u64,
    /// The setting could not keep up, and was given up before the end of the traffic.
    pub given_up: bool,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            records: 0,
            records_measured: 0,
            payload_bytes: 0,
            batches: 0,
            causes: [0; 3],
            waited: 0,
            invocations: 0,
            billed: 0,
            billed_ms: 0,
            busy: Duration::ZERO,
            ended_at: Nanos::ZERO,
            age: Latency::new(),
            delivered: Vec::new(),
            oversized: 0,
            given_up: false,
        }
    }

    /// Ages in figures.
    #[must_use]
    pub fn ages(&self) -> LatencySummary {
        self.age.summary()
    }

    /// What there is to be paid for.
    #[must_use]
    pub fn usage(&self) -> Usage {
        Usage {
            records: self.records,
            invocations: self.billed as f64,
            invocations_ms: self.billed_ms as f64,
            payload_bytes: self.payload_bytes as f64,
        }
    }

    fn batch(&mut self, cause: FlushCause, records: u64, payload_bytes: u64, waited: bool) {
        self.records += records;
        self.payload_bytes += payload_bytes;
        self.batches += 1;
        self.waited += u64::from(waited);
        match cause {
            FlushCause::Count => self.causes[0] += 1,
            FlushCause::Bytes => self.causes[2] += 1,
            _ => self.causes[1] += 1,
        }
    }

    pub(super) fn invoked(
        &mut self,
        function: &mut Function,
        records: u32,
        payload_bytes: usize,
    ) -> Invocation {
        let invocation = function.invoke(records, payload_bytes);
        self.invocations += u64::from(invocation.attempts);
        self.billed += u64::from(invocation.billed);
        self.billed_ms += invocation.billed_ms;
        self.busy += invocation.took;
        invocation
    }

    /// A batch with its records: the ages of those that were meant to be sent from `measure_from` on.
    pub(super) fn sent(&mut self, sent: &Sent, records: &[Arrival], measure_from: Nanos) {
        let waited = sent.sent_at > sent.closed_at;
        self.batch(sent.cause, u64::from(sent.records), sent.payload_bytes as u64, waited);
        for record in records.iter().filter(|record| record.born >= measure_from) {
            self.age.record(sent.done_at - record.born, 1);
        }
        self.delivered.push((sent.done_at, sent.records));
        if sent.done_at >= measure_from {
            self.records_measured += u64::from(sent.records);
        }
    }
}

/// How far a setting is followed.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// Records that are there before this.
    pub until: Nanos,
    /// A setting is given up once the oldest record of a batch is older than this when it is sent. Far
    /// beyond any goal: what is that late does not keep up.
    pub patience: Duration,
}

impl Extent {
    /// All of it.
    pub const WHOLE: Self = Self { until: Nanos::NEVER, patience: Duration::MAX };
}

/// Ages are taken of so many records of a batch, spread evenly over it, each for its share; of other
/// places in each batch, so that all ages come to their right.
const SAMPLES_MAX: usize = 8;

/// What `lanes`, one for each poller, come to under `limits`, with `function`.
#[must_use]
pub fn simulate(
    lanes: &LaneSet,
    limits: &BatchLimits,
    envelope_bytes: usize,
    function: &Function,
    extent: Extent,
) -> Tally {
    let mut tally = Tally::new();
    for (number, lane) in lanes.lanes().enumerate() {
        tally.oversized += lane.oversized;
        let mut function = function.of_poller(number);
        run(&lane, limits, envelope_bytes, &mut function, extent, &mut tally);
    }
    tally
}

fn run(
    lane: &Lane<'_>,
    limits: &BatchLimits,
    envelope_bytes: usize,
    function: &mut Function,
    extent: Extent,
    tally: &mut Tally,
) {
    let window = nanos(limits.window);
    let (patience, len) = (nanos(extent.patience), lane.len_until(extent.until));
    let batch_size = limits.batch_size as usize;
    let room = u64::from(limits.payload_bytes_max)
        .saturating_sub(envelope_bytes as u64)
        .saturating_sub(lane.keys_bytes);
    // When reading goes on, and when the function is free: when the last batch was sent, and answered.
    let (mut read_from, mut free_at) = (0_u64, 0_u64);
    let mut first = 0;
    while first < len {
        let opened_at = lane.at[first].max(read_from);
        let deadline = opened_at.max(free_at) + window;
        let full = full(lane, first..len, batch_size, room);
        let full_at = full.at.max(read_from);
        let (past, cause, sent_at) = if full_at <= deadline {
            (full.past, full.cause, full_at.max(free_at))
        } else {
            let past = first + reached(&lane.at[first..full.past], deadline);
            (past, FlushCause::Window, deadline)
        };
        let records = past - first;
        let payload_bytes = lane.payload_bytes(first, past, envelope_bytes);
        let waited = cause != FlushCause::Window && full_at < free_at;
        tally.batch(cause, records as u64, payload_bytes, waited);
        let took = tally.invoked(function, records as u32, payload_bytes as usize).took;
        (read_from, free_at) = (sent_at, sent_at + nanos(took));
        ages(&lane.born[first..past], free_at, tally.batches, &mut tally.age);
        tally.ended_at = tally.ended_at.max(Nanos(free_at));
        if sent_at - lane.born[first] > patience {
            tally.given_up = true;
            return;
        }
        first = past;
    }
}

/// Where a batch is full.
struct Full {
    /// One past its last record.
    past: usize,
    /// When that shows; never for the last batch of a lane, which is not.
    at: u64,
    cause: FlushCause,
}

/// Where the batch that begins `lane`'s records `of` is full, whenever its window ends.
fn full(lane: &Lane<'_>, of: Range<usize>, batch_size: usize, room: u64) -> Full {
    let first = of.start;
    let by_count = first.saturating_add(batch_size).min(of.end);
    let fits = |past: usize| lane.before[past] - lane.before[first] <= room;
    if fits(by_count) {
        return if by_count - first == batch_size {
            Full { past: by_count, at: lane.at[by_count - 1], cause: FlushCause::Count }
        } else {
            Full { past: by_count, at: u64::MAX, cause: FlushCause::Window }
        };
    }
    // The first record fits alone, or it would be oversized.
    let sums = &lane.before[first + 1..=by_count];
    let past = (first + sums.partition_point(|sum| sum - lane.before[first] <= room)).max(first + 1);
    if past == of.end {
        return Full { past, at: u64::MAX, cause: FlushCause::Window };
    }
    // The policy knows it by the record that does not fit any more.
    Full { past, at: lane.at[past], cause: FlushCause::Bytes }
}

/// How many of `at` are not after `deadline`; at least the first is. By steps that double, as most
/// batches end near.
fn reached(at: &[u64], deadline: u64) -> usize {
    let mut step = 1;
    while step < at.len() && at[step] <= deadline {
        step *= 2;
    }
    let from = step / 2;
    from + at[from..at.len().min(step + 1)].partition_point(|one| *one <= deadline)
}

fn ages(born: &[u64], done_at: u64, batch: u64, ages: &mut Latency) {
    // Multiples of the golden ratio, modulo 1: in units of 1/65536 of a part.
    let place = (batch.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as usize;
    let samples = born.len().min(SAMPLES_MAX);
    let (each, mut further) = (born.len() / samples, born.len() % samples);
    let mut from = 0;
    while from < born.len() {
        let part = each + usize::from(further > 0);
        further = further.saturating_sub(1);
        ages.record(Duration::from_nanos(done_at - born[from + ((part * place) >> 16)]), part as u64);
        from += part;
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX / 4).min(u64::MAX / 4)
}

/// As [`simulate`], record by record, by the engine's own policy, with every age of records that were
/// meant to be sent from `measure_from` on.
#[must_use]
pub fn simulate_exactly(
    traffic: &Traffic,
    pollers: usize,
    limits: &BatchLimits,
    envelope_bytes: usize,
    function: &Function,
    measure_from: Nanos,
) -> Tally {
    let mut tally = Tally::new();
    for (number, arrivals) in traffic.split(pollers).iter().enumerate() {
        let function = std::cell::RefCell::new((function.of_poller(number), &mut tally));
        let poll = poll(
            arrivals,
            limits,
            envelope_bytes,
            |records, bytes| {
                let (function, tally) = &mut *function.borrow_mut();
                tally.invoked(function, records, bytes).took
            },
            |sent, records| function.borrow_mut().1.sent(sent, records, measure_from),
        );
        tally.oversized += poll.oversized;
        tally.ended_at = tally.ended_at.max(poll.ended_at);
    }
    tally
}

#[cfg(test)]
mod tests {
    use pelton::invoke::law::{Cost, Latency as LawLatency, Law};
    use proptest::prelude::*;

    use super::*;

    const FOR_EVER: Extent = Extent::WHOLE;
    const ENVELOPE: usize = 50;

    fn function(latency: LawLatency, per_record_us: u64) -> Function {
        let cost = Cost { per_record: Duration::from_micros(per_record_us), per_byte_ns: 3.0 };
        Function::new(&Law { latency, cost, seed: 3, ..Law::default() })
    }

    fn traffic(gaps: &[(u64, u32, u32)], partitions: u32) -> Traffic {
        let mut now = Nanos::ZERO;
        let arrivals = gaps
            .iter()
            .map(|(gap_us, partition, bytes)| {
                now = now + Duration::from_micros(*gap_us);
                Arrival {
                    at: now,
                    born: now,
                    partition: partition % partitions,
                    bytes: *bytes,
                    key_bytes: 10,
                }
            })
            .collect();
        Traffic { arrivals, partitions, filtered: 0, oversized: 0 }
    }

    fn lanes(traffic: &Traffic, pollers: usize, limits: &BatchLimits) -> LaneSet {
        let room = Room { envelope_bytes: ENVELOPE, payload_bytes_max: limits.payload_bytes_max };
        let mut lanes = LaneSet::default();
        // Memory that held something else says nothing.
        lanes.split(traffic, pollers + 1, Room { payload_bytes_max: u32::MAX, ..room });
        lanes.split(traffic, pollers, room);
        lanes
    }

    #[test]
    fn what_cannot_keep_up_is_given_up() {
        let traffic = traffic(&[(1_000, 0, 100); 5_000], 1);
        let limits = BatchLimits { batch_size: 1, ..BatchLimits::default() };
        let function = function(LawLatency::Fixed(Duration::from_millis(10)), 0);
        let lanes = lanes(&traffic, 1, &limits);
        let hasty = Extent { patience: Duration::from_secs(1), ..Extent::WHOLE };
        let tally = simulate(&lanes, &limits, ENVELOPE, &function, hasty);
        assert!(tally.given_up && tally.records < 200, "{}", tally.records);
        let tally = simulate(&lanes, &limits, ENVELOPE, &function, FOR_EVER);
        assert!(!tally.given_up && tally.records == 5_000);
    }

    #[test]
    fn sampled_ages_are_near_the_exact_ones() {
        let gaps: Vec<(u64, u32, u32)> =
            (0..40_000_u64).map(|n| (n * 2_654_435_761 % 400, n as u32 % 4, 300)).collect();
        let traffic = traffic(&gaps, 4);
        let limits =
            BatchLimits { batch_size: 1_000, window: Duration::from_millis(80), ..BatchLimits::default() };
        let function = function(LawLatency::Fixed(Duration::from_millis(20)), 5);
        let fast = simulate(&lanes(&traffic, 2, &limits), &limits, ENVELOPE, &function, FOR_EVER).ages();
        let exact = simulate_exactly(&traffic, 2, &limits, ENVELOPE, &function, Nanos::ZERO).ages();
        for (name, fast, exact) in [
            ("p50", fast.p50_us, exact.p50_us),
            ("p90", fast.p90_us, exact.p90_us),
            ("p99", fast.p99_us, exact.p99_us),
        ] {
            let ratio = fast as f64 / exact as f64;
            assert!((0.97..1.03).contains(&ratio), "{name}: {fast} and {exact}");
        }
        assert_eq!(fast.count, exact.count);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 512 } else { 4_096 }))]

        /// Batches, causes, ends and what they cost are the same, batch by batch, as the engine's own
        /// policy makes them: one partition for each poller, where lengths are exact.
        #[test]
        fn looking_ends_up_says_what_the_engines_policy_says(
            gaps in prop::collection::vec((0_u64..3_000, 0_u32..3, 1_u32..400), 0..300),
            batch_size in 1_u32..40,
            window_us in 0_u64..20_000,
            payload_bytes_max in 400_u32..2_000,
            kind in 0..3,
            latency_us in 0_u64..9_000,
        ) {
            let latency = match kind {
                0 => LawLatency::None,
                1 => LawLatency::Fixed(Duration::from_micros(latency_us)),
                _ => LawLatency::LogNormal { median: Duration::from_micros(latency_us), sigma: 0.7 },
            };
            let function = function(latency, 7);
            let traffic = traffic(&gaps, 3);
            let window = Duration::from_micros(window_us);
            let limits = BatchLimits { batch_size, window, payload_bytes_max };
            let fast = simulate(&lanes(&traffic, 3, &limits), &limits, ENVELOPE, &function, FOR_EVER);
            let exact = simulate_exactly(&traffic, 3, &limits, ENVELOPE, &function, Nanos::ZERO);
            prop_assert_eq!(fast.records, exact.records);
            prop_assert_eq!(fast.batches, exact.batches);
            prop_assert_eq!(fast.causes, exact.causes);
            prop_assert_eq!(fast.waited, exact.waited);
            prop_assert_eq!(fast.payload_bytes, exact.payload_bytes);
            prop_assert_eq!(fast.ended_at, exact.ended_at);
            prop_assert_eq!(fast.busy, exact.busy);
            prop_assert_eq!(fast.billed_ms, exact.billed_ms);
            prop_assert_eq!(fast.oversized, exact.oversized);
            prop_assert_eq!(fast.age.count(), exact.age.count());
        }

        /// With several partitions for a poller, lengths are off by the keys of partitions that a batch
        /// has no record of.
        #[test]
        fn several_partitions_of_a_poller_are_off_by_their_keys_at_most(
            gaps in prop::collection::vec((0_u64..3_000, 0_u32..6, 1_u32..400), 1..300),
            batch_size in 1_u32..40,
            window_us in 0_u64..20_000,
        ) {
            let function = function(LawLatency::None, 0);
            let traffic = traffic(&gaps, 6);
            let limits = BatchLimits {
                batch_size, window: Duration::from_micros(window_us), ..BatchLimits::default()
            };
            let fast = simulate(&lanes(&traffic, 2, &limits), &limits, ENVELOPE, &function, FOR_EVER);
            let exact = simulate_exactly(&traffic, 2, &limits, ENVELOPE, &function, Nanos::ZERO);
            prop_assert_eq!((fast.records, fast.batches, fast.causes), (exact.records, exact.batches, exact.causes));
            prop_assert!(fast.payload_bytes.abs_diff(exact.payload_bytes) <= fast.batches * 3 * 11);
        }

        #[test]
        fn steps_that_double_find_what_a_scan_finds(at in prop::collection::vec(0_u64..200, 1..80), more: u8) {
            let mut at = at;
            at.sort_unstable();
            let deadline = at[0] + u64::from(more);
            prop_assert_eq!(reached(&at, deadline), at.iter().filter(|one| **one <= deadline).count());
        }
    }
}
