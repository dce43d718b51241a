//! A batch on its way: sealed, or in flight, and what of it is still to be delivered.

use std::time::Duration;

use crate::batch::{Payload, SealedBatch};
use crate::deliver::{Delivery, Records};
use crate::ids::Slot;
use crate::payload::Pool;
use crate::time::Nanos;

use super::partitions::Partitions;

/// A batch that is sealed.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) batch: SealedBatch,
    /// What of the batch is to be delivered, and what was tried.
    pub(super) delivery: Delivery,
    pub(super) encode: Duration,
}

/// One that is being delivered.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) parcel: Parcel,
    pub(super) handed_at: Nanos,
    /// When the first invocation began; known with its answer.
    pub(super) sent_at: Option<Nanos>,
    /// When the last answer came.
    pub(super) done_at: Nanos,
    /// When the delivery wants to be asked again; [`Nanos::NEVER`] while something is under way.
    pub(super) due: Nanos,
}

impl Parcel {
    /// The event over what is to be invoked now: slices, nothing is encoded again.
    pub(super) fn payload(&self) -> Payload {
        if self.delivery.is_whole(self.batch.records()) {
            self.batch.whole()
        } else {
            self.batch.part(self.delivery.part().records().ranges())
        }
    }

    /// Whether a record of the partition in `slot` is under way.
    pub(super) fn carries(&self, slot: Slot) -> bool {
        self.delivery.is_under_way()
            && self.batch.pieces(self.delivery.part().records().ranges()).any(|piece| piece.run.slot == slot)
    }
}

/// `parcel` without the records of partitions that are leaving; `None` if no record is left.
pub(super) fn without_leaving(
    mut parcel: Parcel,
    partitions: &Partitions,
    pool: &mut Pool,
) -> Option<Parcel> {
    if !parcel.batch.runs().iter().all(|run| partitions.is_delivered(run.slot)) {
        let gone: Records = parcel
            .batch
            .runs()
            .iter()
            .filter(|run| !partitions.is_delivered(run.slot))
            .map(|run| run.records.clone())
            .collect();
        parcel.delivery.remove(&gone);
        if parcel.delivery.is_done() {
            pool.give_back(parcel.batch);
            return None;
        }
    }
    Some(parcel)
}
