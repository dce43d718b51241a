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

/// Records of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece<'b> {
    /// The run.
    pub run: &'b Run,
    /// Their positions in the batch.
    pub records: Range<u32>,
    /// The first record's offset.
    pub first: Offset,
    /// The last record's offset.
    pub last: Offset,
    /// The last offset before the run's next record, or the run's last: what is done with these, gaps
    /// included.
    pub reaches: Offset,
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

    /// When the record at `position` was written, by its own account; see
    /// [`crate::record::Record::timestamp_ms`].
    ///
    /// # Panics
    /// If there is no such record.
    #[must_use]
    pub fn timestamp_ms(&self, position: u32) -> i64 {
        self.buffer().index[position as usize].timestamp_ms
    }

    /// The position of a partition's record, if it is in the batch. Costs a walk over the
    /// partition's runs and a binary search.
    #[must_use]
    pub fn find(&self, partition: Partition, offset: Offset) -> Option<u32> {
        let buffer = self.buffer();
        let runs = self.runs();
        let place =
            buffer.places.iter().find(|place| runs[place.first_run as usize].partition == partition)?;
        let mut next = place.first_run;
        while let Some(run) = runs.get(next as usize) {
            if run.first <= offset && offset <= run.last {
                let indexed = &buffer.index[run.records.start as usize..run.records.end as usize];
                let at = indexed.binary_search_by_key(&offset.0, |entry| entry.offset).ok()?;
                return Some(run.records.start + u32::try_from(at).ok()?);
            }
            next = run.next;
        }
        None
    }

    /// The batch's records at these positions, run by run.
    pub fn pieces(&self, records: impl Iterator<Item = Range<u32>>) -> impl Iterator<Item = Piece<'_>> {
        records.flat_map(|records| self.cut(records)).map(|(run, records)| {
            let index = &self.buffer().index;
            let offset = |position: u32| Offset(index[position as usize].offset);
            Piece {
                run,
                first: offset(records.start),
                last: offset(records.end - 1),
                reaches: if records.end == run.records.end {
                    run.last
                } else {
                    Offset(offset(records.end).0 - 1)
                },
                records,
            }
        })
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
