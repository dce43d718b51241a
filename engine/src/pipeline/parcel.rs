//! A batch on its way: sealed, or in flight, and what of it is still to be delivered.

use std::ops::Range;
use std::time::Duration;

use crate::batch::{Payload, Run, SealedBatch};
use crate::deliver::Delivery;
use crate::payload::Pool;
use crate::time::Nanos;

use super::partitions::Partitions;

/// A batch that is sealed, or in flight.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) batch: SealedBatch,
    /// What of the batch is to be delivered: all of it, less what was revoked meanwhile.
    pub(super) payload: Payload,
    /// Which runs that is, by their records' positions; `None` for all.
    pub(super) kept: Option<Vec<Range<u32>>>,
    pub(super) encode: Duration,
}

impl Parcel {
    /// The runs that are to be delivered.
    pub(super) fn runs(&self) -> impl Iterator<Item = &Run> {
        kept_runs(&self.batch, self.kept.as_deref())
    }
}

#[derive(Debug)]
pub(super) struct Flight {
    pub(super) parcel: Parcel,
    pub(super) delivery: Delivery,
    pub(super) handed_at: Nanos,
    /// When the first invocation began; known with its answer.
    pub(super) sent_at: Option<Nanos>,
    /// `None` while an invocation runs, else when the next one is due.
    pub(super) retry_at: Option<Nanos>,
}

/// `parcel` without the records of partitions that are leaving; `None` if no record is left.
pub(super) fn without_leaving(parcel: Parcel, partitions: &Partitions, pool: &mut Pool) -> Option<Parcel> {
    if parcel.runs().all(|run| partitions.is_active(run.slot)) {
        return Some(parcel);
    }
    let kept: Vec<_> =
        parcel.runs().filter(|run| partitions.is_active(run.slot)).map(|run| run.records.clone()).collect();
    if kept.is_empty() {
        let Parcel { batch, payload, .. } = parcel;
        drop(payload);
        pool.give_back(batch);
        return None;
    }
    Some(Parcel { payload: parcel.batch.part(kept.iter().cloned()), kept: Some(kept), ..parcel })
}

/// The runs of `batch` whose positions are in `kept`.
pub(super) fn kept_runs<'a>(
    batch: &'a SealedBatch,
    kept: Option<&'a [Range<u32>]>,
) -> impl Iterator<Item = &'a Run> {
    batch.runs().iter().filter(move |run| kept.is_none_or(|kept| kept.contains(&run.records)))
}
