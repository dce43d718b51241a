//! A closed batch.

use super::payload::Payload;
use super::policy::FlushCause;
use crate::ids::{Offset, Partition, Slot};
use crate::payload::{Buffer, Envelope, Lease, Run, Shared};
use crate::time::Nanos;
use std::ops::Range;
use std::sync::Arc;

/// A batch that nothing can be added to. Clones share one buffer; when the batch is done, hand one
/// clone to [`Pool::give_back`](crate::payload::Pool::give_back).
#[derive(Clone, Debug)]
pub struct SealedBatch {
    shared: Shared,
    envelope: Arc<Envelope>,
    facts: Facts,
}

/// What is known of a batch when it is closed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    pub(crate) cause: FlushCause,
    pub(crate) opened_at: Nanos,
    pub(crate) sealed_at: Nanos,
    pub(crate) payload_bytes: usize,
}

/// One record of a sealed batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The record's position in the batch, from 0: what [`SealedBatch::part`] selects by.
    pub position: u32,
    /// The partition's place in its poller's table.
    pub slot: Slot,
    /// Where the record lies.
    pub partition: Partition,
    /// Where in the partition.
    pub offset: Offset,
    /// See [`crate::record::Record::timestamp_ms`].
    pub timestamp_ms: i64,
    /// Where its JSON stands in the arena, leading comma included: its length is what the record
    /// costs in the payload.
    pub bytes: Range<u32>,
}

impl SealedBatch {
    pub(crate) fn new(shared: Shared, envelope: Arc<Envelope>, facts: Facts) -> Self {
        Self { shared, envelope, facts }
    }

    /// Why the batch was closed.
    #[must_use]
    pub const fn cause(&self) -> FlushCause {
        self.facts.cause
    }

    /// When the first record was appended.
    #[must_use]
    pub const fn opened_at(&self) -> Nanos {
        self.facts.opened_at
    }

    /// When the batch was closed.
    #[must_use]
    pub const fn sealed_at(&self) -> Nanos {
        self.facts.sealed_at
    }

    /// Records in the batch; at least one.
    #[must_use]
    pub fn records(&self) -> u32 {
        self.buffer().records as u32
    }

    /// The runs in the order in which they were appended.
    #[must_use]
    pub fn runs(&self) -> &[Run] {
        &self.buffer().runs
    }

    /// The records in the order in which they were appended.
    pub fn entries(&self) -> impl Iterator<Item = Entry> + '_ {
        self.entries_in(0..self.records())
    }

    /// The records at these positions.
    pub(crate) fn entries_in(&self, records: Range<u32>) -> impl Iterator<Item = Entry> + '_ {
        self.cut(records)
            .flat_map(move |(run, records)| records.map(move |position| self.entry(run, position)))
    }

    fn entry(&self, run: &Run, position: u32) -> Entry {
        let indexed = self.buffer().index[position as usize];
        Entry {
            position,
            slot: run.slot,
            partition: run.partition,
            offset: Offset(indexed.offset),
            timestamp_ms: indexed.timestamp_ms,
            bytes: self.buffer().record_bytes(run, position),
        }
    }

    /// Cuts a range of positions where runs end.
    pub(crate) fn cut(&self, records: Range<u32>) -> impl Iterator<Item = (&Run, Range<u32>)> + '_ {
        let runs = self.runs();
        let first = runs.partition_point(|run| run.records.end <= records.start);
        runs[first..]
            .iter()
            .map(move |run| (run, records.start.max(run.records.start)..records.end.min(run.records.end)))
            .take_while(|(_, records)| !records.is_empty())
    }

    /// The event over all records, in order. Allocates nothing.
    #[must_use]
    pub fn whole(&self) -> Payload {
        Payload::whole(self.clone(), self.facts.payload_bytes)
    }

    /// The event over the records at these positions (ranges of [`Entry::position`], ascending
    /// within each partition): halves of a batch, what is left to retry, all but one. Slices the
    /// same arena; nothing is encoded again.
    ///
    /// # Panics
    /// If a range ends behind the last record.
    #[must_use]
    pub fn part(&self, records: impl IntoIterator<Item = Range<u32>>) -> Payload {
        Payload::part(self.clone(), records.into_iter().collect())
    }

    pub(crate) fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    pub(crate) fn buffer(&self) -> &Buffer {
        self.shared.buffer()
    }

    pub(crate) const fn shared(&self) -> &Shared {
        &self.shared
    }
}

/// A batch that is done; for [`Pool::give_back`](crate::payload::Pool::give_back).
impl From<SealedBatch> for Lease {
    fn from(batch: SealedBatch) -> Self {
        Self::sealed(batch.shared)
    }
}
