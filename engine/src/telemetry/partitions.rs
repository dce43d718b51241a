//! Where each partition stands: its log's end, what is done, what is committed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use crate::ids::{Offset, Partition};

/// One partition's offsets. Written by the thread that owns the partition, read by anybody.
#[derive(Debug)]
pub struct PartitionGauges {
    end: AtomicI64,
    watermark: AtomicI64,
    committed: AtomicI64,
}

/// No offset: Kafka's begin at 0.
const UNKNOWN: i64 = -1;

impl Default for PartitionGauges {
    fn default() -> Self {
        let unknown = || AtomicI64::new(UNKNOWN);
        Self { end: unknown(), watermark: unknown(), committed: unknown() }
    }
}

fn known(offset: &AtomicI64) -> Option<Offset> {
    let offset = offset.load(Relaxed);
    (offset >= 0).then_some(Offset(offset))
}

impl PartitionGauges {
    /// The offset that the next record written to the partition gets.
    pub fn set_end(&self, end: Offset) {
        self.end.store(end.0, Relaxed);
    }

    /// The offset that the next record gets, once known. As of the last time that it was told.
    #[must_use]
    pub fn end(&self) -> Option<Offset> {
        known(&self.end)
    }

    /// The first offset that is not yet done: at assignment, and as it moves.
    pub fn set_watermark(&self, watermark: Offset) {
        self.watermark.store(watermark.0, Relaxed);
    }

    /// What the group has committed.
    pub fn set_committed(&self, committed: Offset) {
        self.committed.store(committed.0, Relaxed);
    }

    /// What the group has committed, once known.
    #[must_use]
    pub fn committed(&self) -> Option<Offset> {
        known(&self.committed)
    }

    /// Records between the watermark (else what is committed) and the end of the log, once both
    /// are known.
    #[must_use]
    pub fn lag(&self) -> Option<u64> {
        let done = known(&self.watermark).or(known(&self.committed))?;
        // The end is heard of less often than the watermark moves.
        Some(u64::try_from(self.end()?.0 - done.0).unwrap_or(0))
    }
}

/// The partitions owned now. Locked on assignment and by readers, never on the record path.
#[derive(Debug, Default)]
pub(super) struct Partitions(Mutex<BTreeMap<Partition, Arc<PartitionGauges>>>);

impl Partitions {
    pub(super) fn own(&self, partition: Partition) -> Arc<PartitionGauges> {
        let gauges = Arc::<PartitionGauges>::default();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(partition, gauges.clone());
        gauges
    }

    pub(super) fn disown(&self, partition: Partition) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&partition);
    }

    pub(super) fn list(&self) -> Vec<(Partition, Arc<PartitionGauges>)> {
        let partitions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        partitions.iter().map(|(partition, gauges)| (*partition, gauges.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_is_known_once_both_ends_are_and_never_negative() {
        let gauges = PartitionGauges::default();
        assert_eq!(gauges.lag(), None);
        gauges.set_end(Offset(10));
        assert_eq!(gauges.lag(), None);
        gauges.set_committed(Offset(4));
        assert_eq!(gauges.lag(), Some(6));
        gauges.set_watermark(Offset(7));
        assert_eq!(gauges.lag(), Some(3));
        gauges.set_watermark(Offset(12));
        assert_eq!(gauges.lag(), Some(0));
    }

    #[test]
    fn a_partition_that_comes_back_starts_afresh() {
        let partitions = Partitions::default();
        partitions.own(Partition(3)).set_committed(Offset(5));
        assert_eq!(partitions.list()[0].1.committed(), Some(Offset(5)));
        partitions.disown(Partition(3));
        assert!(partitions.list().is_empty());
        assert_eq!(partitions.own(Partition(3)).committed(), None);
    }
}
