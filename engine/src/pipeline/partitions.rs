//! The partitions of one poller: where each stands, and in which slot.

use std::sync::Arc;

use crate::commit::Watermark;
use crate::ids::{Partition, Slot, Topic};
use crate::payload::Template;
use crate::telemetry::PartitionGauges;

/// One partition that a poller reads.
#[derive(Debug)]
pub(super) struct Owned {
    pub(super) partition: Partition,
    pub(super) template: Template,
    pub(super) watermark: Watermark,
    /// What an operator sees of it.
    pub(super) gauges: Arc<PartitionGauges>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Read, delivered, committed.
    Active,
    /// Being revoked: no longer read; what is in flight still counts.
    Leaving,
    /// Not ours any more: answers to old batches must not move anything.
    Gone,
    /// Gone, and no batch refers to the slot any longer.
    Vacant,
}

/// A poller's partitions by slot.
///
/// A slot is not given to another partition while a batch may refer to it, so that the answer to
/// an old batch can never move a new assignment's watermark.
#[derive(Debug, Default)]
pub(super) struct Partitions {
    slots: Vec<Owned>,
}

impl Partitions {
    /// Adds `partition`, of which `watermark` knows where it is read from.
    pub(super) fn add(
        &mut self,
        topic: &Topic,
        partition: Partition,
        watermark: Watermark,
        gauges: Arc<PartitionGauges>,
    ) {
        debug_assert!(self.find(partition).is_none(), "{topic}[{partition}] is owned already");
        let owned = Owned {
            partition,
            template: Template::new(topic, partition),
            watermark,
            gauges,
            state: State::Active,
        };
        match self.slots.iter().position(|owned| owned.state == State::Vacant) {
            Some(slot) => self.slots[slot] = owned,
            None => self.slots.push(owned),
        }
    }

    /// The slot of a partition that is read now.
    pub(super) fn find(&self, partition: Partition) -> Option<Slot> {
        self.position(|owned| owned.partition == partition && owned.state == State::Active)
    }

    /// The slot of a partition that is being revoked.
    pub(super) fn find_leaving(&self, partition: Partition) -> Option<Slot> {
        self.position(|owned| owned.partition == partition && owned.state == State::Leaving)
    }

    fn position(&self, wanted: impl Fn(&Owned) -> bool) -> Option<Slot> {
        let slot = self.slots.iter().position(wanted)?;
        Some(Slot(u16::try_from(slot).expect("a poller has fewer than 65,536 slots")))
    }

    /// What stands in `slot`, read or being revoked; `None` once it is gone.
    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut Owned> {
        self.slots.get_mut(slot.index()).filter(|owned| matches!(owned.state, State::Active | State::Leaving))
    }

    /// Whether the records in `slot` are still to be delivered.
    pub(super) fn is_active(&self, slot: Slot) -> bool {
        self.slots.get(slot.index()).is_some_and(|owned| owned.state == State::Active)
    }

    /// Begins to let `partition` go. Returns its slot if it was read here.
    pub(super) fn leave(&mut self, partition: Partition) -> Option<Slot> {
        let slot = self.find(partition)?;
        self.slots[slot.index()].state = State::Leaving;
        Some(slot)
    }

    /// Ends what [`Self::leave`] began.
    pub(super) fn forget(&mut self, partition: Partition) {
        if let Some(slot) = self.find_leaving(partition) {
            self.slots[slot.index()].state = State::Gone;
        }
    }

    /// Frees the slots of partitions that are gone. Call only while no invocation runs.
    pub(super) fn reclaim(&mut self) {
        for owned in &mut self.slots {
            if owned.state == State::Gone {
                owned.state = State::Vacant;
            }
        }
    }

    /// The partitions that are read now or being revoked: all that may be committed.
    pub(super) fn owned_mut(&mut self) -> impl Iterator<Item = &mut Owned> {
        self.slots.iter_mut().filter(|owned| matches!(owned.state, State::Active | State::Leaving))
    }

    /// How many partitions are read now.
    pub(super) fn active(&self) -> usize {
        self.slots.iter().filter(|owned| owned.state == State::Active).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Offset;
    use crate::telemetry::Counters;

    fn add(table: &mut Partitions, partition: i32, start: i64) {
        let partition = Partition(partition);
        let watermark = Watermark::new(Offset(start));
        table.add(&Topic::new("t"), partition, watermark, Counters::new(0).own_partition(partition));
    }

    fn with(partitions: &[i32]) -> Partitions {
        let mut table = Partitions::default();
        for &partition in partitions {
            add(&mut table, partition, 7);
        }
        table
    }

    #[test]
    fn a_slot_is_not_reused_while_a_batch_may_refer_to_it() {
        let mut table = with(&[0, 1]);
        let old = table.leave(Partition(0)).expect("owned");
        table.forget(Partition(0));
        add(&mut table, 0, 9);
        assert_ne!(table.find(Partition(0)), Some(old));
        assert!(table.get_mut(old).is_none());
    }

    #[test]
    fn a_slot_is_reused_once_no_batch_refers_to_it() {
        let mut table = with(&[0, 1]);
        let old = table.leave(Partition(0)).expect("owned");
        table.forget(Partition(0));
        table.reclaim();
        add(&mut table, 5, 9);
        assert_eq!(table.find(Partition(5)), Some(old));
    }

    #[test]
    fn a_leaving_partition_is_not_read_but_still_counts() {
        let mut table = with(&[3]);
        let slot = table.leave(Partition(3)).expect("owned");
        assert_eq!(table.find(Partition(3)), None);
        assert!(!table.is_active(slot));
        assert!(table.get_mut(slot).is_some());
        assert_eq!((table.active(), table.owned_mut().count()), (0, 1));
    }
}
