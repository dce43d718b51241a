//! What was sent and is not yet committed: for each record, when it was meant to be sent, and its
//! size.
//!
//! The loader writes it, the meter reads it. A record's offset is known before it is sent,
//! because the loader alone writes to the topic, chooses the partition itself, and an idempotent
//! producer keeps order. Memory is bounded by what is outstanding: a commit forgets the records
//! below it.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pelton::time::Nanos;

/// A record on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// When it was meant to be sent; with no schedule, when it was handed to the producer.
    pub intended: Nanos,
    /// Key, value and headers.
    pub bytes: u32,
}

/// The records of a topic that are on their way.
#[derive(Debug)]
pub struct Ledger {
    partitions: Box<[Mutex<Outstanding>]>,
}

#[derive(Debug)]
struct Outstanding {
    /// The offset of the front of `sent`.
    first: i64,
    sent: VecDeque<Sent>,
    bytes: u64,
    bytes_peak: u64,
}

/// What a record costs a broker beside its own bytes: its fields, and its part of a batch header.
/// On the safe side: a record that is alone in its batch.
const RECORD_OVERHEAD_BYTES: u64 = 80;

impl Ledger {
    /// A ledger of partitions `0..starts.len()`, whose next offsets are `starts`.
    #[must_use]
    pub fn new(starts: &[i64]) -> Self {
        let outstanding = |first: &i64| {
            Mutex::new(Outstanding { first: *first, sent: VecDeque::new(), bytes: 0, bytes_peak: 0 })
        };
        Self { partitions: starts.iter().map(outstanding).collect() }
    }

    /// Notes a record that is about to be sent. Returns its offset.
    ///
    /// # Panics
    /// If there is no such partition.
    #[expect(clippy::cast_possible_wrap, reason = "a queue is shorter than memory")]
    pub fn on_sent(&self, partition: usize, record: Sent) -> i64 {
        let mut outstanding = self.lock(partition);
        outstanding.sent.push_back(record);
        outstanding.bytes += u64::from(record.bytes) + RECORD_OVERHEAD_BYTES;
        outstanding.bytes_peak = outstanding.bytes_peak.max(outstanding.bytes);
        outstanding.first + outstanding.sent.len() as i64 - 1
    }

    /// Strikes out the record noted last: it could not be sent after all.
    ///
    /// # Panics
    /// If there is no such partition.
    pub fn on_not_sent(&self, partition: usize) {
        let mut outstanding = self.lock(partition);
        if let Some(record) = outstanding.sent.pop_back() {
            outstanding.bytes -= u64::from(record.bytes) + RECORD_OVERHEAD_BYTES;
        }
    }

    /// The records at `offsets`, as far as they are on their way.
    ///
    /// # Panics
    /// If there is no such partition.
    pub fn each(&self, partition: usize, offsets: Range<i64>, mut visit: impl FnMut(Sent)) {
        let outstanding = self.lock(partition);
        let place = |offset: i64| {
            usize::try_from(offset - outstanding.first).unwrap_or(0).min(outstanding.sent.len())
        };
        let places = place(offsets.start)..place(offsets.end);
        if !places.is_empty() {
            outstanding.sent.range(places).copied().for_each(&mut visit);
        }
    }

    /// Forgets the records of `partition` below `offset`.
    ///
    /// # Panics
    /// If there is no such partition.
    pub fn on_committed(&self, partition: usize, offset: i64) {
        let mut outstanding = self.lock(partition);
        while outstanding.first < offset {
            let Some(record) = outstanding.sent.pop_front() else { break };
            outstanding.first += 1;
            outstanding.bytes -= u64::from(record.bytes) + RECORD_OVERHEAD_BYTES;
        }
    }

    /// What `partition` holds on the broker that is not yet committed, in bytes, from above.
    ///
    /// # Panics
    /// If there is no such partition.
    #[must_use]
    pub fn outstanding_bytes(&self, partition: usize) -> u64 {
        self.lock(partition).bytes
    }

    /// The most that any partition ever held.
    #[must_use]
    pub fn outstanding_bytes_peak(&self) -> u64 {
        (0..self.partitions.len()).map(|partition| self.lock(partition).bytes_peak).max().unwrap_or(0)
    }

    /// One past the last offset sent, for each partition.
    #[must_use]
    #[expect(clippy::cast_possible_wrap, reason = "a queue is shorter than memory")]
    pub fn ends(&self) -> Vec<i64> {
        (0..self.partitions.len())
            .map(|partition| {
                let outstanding = self.lock(partition);
                outstanding.first + outstanding.sent.len() as i64
            })
            .collect()
    }

    /// A ledger stays true even if somebody panicked beside it: each change is one step.
    fn lock(&self, partition: usize) -> MutexGuard<'_, Outstanding> {
        self.partitions[partition].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(at: u64) -> Sent {
        Sent { intended: Nanos(at), bytes: 100 }
    }

    fn times(ledger: &Ledger, offsets: Range<i64>) -> Vec<u64> {
        let mut times = Vec::new();
        ledger.each(0, offsets, |record| times.push(record.intended.0));
        times
    }

    #[test]
    fn offsets_go_on_where_the_topic_ended() {
        let ledger = Ledger::new(&[40, 0]);
        assert_eq!(ledger.on_sent(0, sent(1)), 40);
        assert_eq!(ledger.on_sent(0, sent(2)), 41);
        assert_eq!(ledger.on_sent(1, sent(3)), 0);
        assert_eq!(ledger.ends(), [42, 1]);
        assert_eq!(times(&ledger, 41..42), [2]);
    }

    #[test]
    fn a_commit_forgets_what_is_done_and_what_is_left_keeps_its_offset() {
        let ledger = Ledger::new(&[0]);
        for at in 0..5 {
            ledger.on_sent(0, sent(at));
        }
        let full = ledger.outstanding_bytes(0);
        ledger.on_committed(0, 3);
        ledger.on_committed(0, 2);
        assert_eq!(times(&ledger, 0..5), [3, 4]);
        assert_eq!(ledger.outstanding_bytes(0), full / 5 * 2);
        ledger.on_committed(0, 99);
        assert_eq!((ledger.outstanding_bytes(0), ledger.outstanding_bytes_peak()), (0, full));
        assert_eq!(ledger.ends(), [5]);
    }

    #[test]
    fn a_record_that_was_not_sent_leaves_no_trace() {
        let ledger = Ledger::new(&[0]);
        ledger.on_sent(0, sent(1));
        ledger.on_not_sent(0);
        assert_eq!(ledger.on_sent(0, sent(2)), 0);
        assert_eq!(times(&ledger, 0..9), [2]);
    }
}
