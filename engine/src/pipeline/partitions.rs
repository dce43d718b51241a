//! The partitions of one poller: where each stands, and in which slot.

use std::sync::Arc;

use crate::commit::Watermark;
use crate::ids::{Offset, Partition, Slot, Topic};
use crate::payload::Template;
use crate::telemetry::PartitionGauges;

/// One partition that a poller reads.
#[derive(Clone, Debug)]
pub(super) struct Owned {
    pub(super) partition: Partition,
    pub(super) template: Template,
    pub(super) watermark: Watermark,
    /// What an operator sees of it.
    pub(super) gauges: Arc<PartitionGauges>,
    pub(super) looked: Looked,
    state: State,
}

/// Where a partition stood at the scaler's last look, or when it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Looked {
    pub(super) watermark: Offset,
    /// `None` if that was not known.
    pub(super) lag_records: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Read, delivered, committed.
    Active,
    /// Soon another poller's: no longer read; what was taken is still delivered here.
    Parting,
    /// Being revoked: no longer read; what is in flight still counts.
    Leaving,
    /// Not ours any more: answers to old batches must not move anything.
    Gone,
    /// Gone, and no batch refers to the slot any longer.
    Vacant,
}

impl State {
    const fn is_ours(self) -> bool {
        matches!(self, Self::Active | Self::Parting | Self::Leaving)
    }
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
            looked: Looked { watermark: watermark.position(), lag_records: None },
            watermark,
            gauges,
            state: State::Active,
        };
        self.insert(owned);
    }

    /// Adds what [`Self::part_with`] took out of another table: it is read here now.
    pub(super) fn insert(&mut self, owned: Owned) {
        let owned = Owned { state: State::Active, ..owned };
        match self.slots.iter().position(|owned| owned.state == State::Vacant) {
            Some(slot) => self.slots[slot] = owned,
            None => self.slots.push(owned),
        }
    }

    /// The slot of a partition that is read now.
    pub(super) fn find(&self, partition: Partition) -> Option<Slot> {
        self.position(|owned| owned.partition == partition && owned.state == State::Active)
    }

    /// The slot of a partition that is soon another poller's.
    fn find_parting(&self, partition: Partition) -> Option<Slot> {
        self.position(|owned| owned.partition == partition && owned.state == State::Parting)
    }

    /// The slot of a partition that is being revoked.
    pub(super) fn find_leaving(&self, partition: Partition) -> Option<Slot> {
        self.position(|owned| owned.partition == partition && owned.state == State::Leaving)
    }

    fn position(&self, wanted: impl Fn(&Owned) -> bool) -> Option<Slot> {
        let slot = self.slots.iter().position(wanted)?;
        Some(Slot(u16::try_from(slot).expect("a poller has fewer than 65,536 slots")))
    }

    /// What stands in `slot`; `None` once it is gone.
    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut Owned> {
        self.slots.get_mut(slot.index()).filter(|owned| owned.state.is_ours())
    }

    /// Whether the records in `slot` are still to be delivered.
    pub(super) fn is_delivered(&self, slot: Slot) -> bool {
        let owned = self.slots.get(slot.index());
        owned.is_some_and(|owned| matches!(owned.state, State::Active | State::Parting))
    }

    /// Begins to give `partition` to another poller. Returns whether it was read here.
    pub(super) fn part(&mut self, partition: Partition) -> bool {
        let slot = self.find(partition);
        if let Some(slot) = slot {
            self.slots[slot.index()].state = State::Parting;
        }
        slot.is_some()
    }

    /// From where another poller is to read `partition`, once all that was taken of it is done here.
    pub(super) fn parted_at(&self, partition: Partition) -> Option<Offset> {
        let watermark = &self.slots[self.find_parting(partition)?.index()].watermark;
        watermark.is_idle().then(|| watermark.position())
    }

    /// Ends what [`Self::part`] began: the partition with all that is known of it.
    pub(super) fn part_with(&mut self, partition: Partition) -> Option<Owned> {
        let slot = self.find_parting(partition)?;
        let owned = self.slots[slot.index()].clone();
        self.slots[slot.index()].state = State::Gone;
        Some(owned)
    }

    /// Begins to let `partition` go. Returns its slot if it was ours.
    pub(super) fn leave(&mut self, partition: Partition) -> Option<Slot> {
        let slot = self.find(partition).or_else(|| self.find_parting(partition))?;
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

    /// All partitions that may be committed.
    pub(super) fn owned_mut(&mut self) -> impl Iterator<Item = &mut Owned> {
        self.slots.iter_mut().filter(|owned| owned.state.is_ours())
    }

    /// The partitions that are read now.
    pub(super) fn active(&self) -> impl Iterator<Item = Partition> {
        self.slots.iter().filter(|owned| owned.state == State::Active).map(|owned| owned.partition)
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
        assert!(!table.is_delivered(slot));
        assert!(table.get_mut(slot).is_some());
        assert_eq!((table.active().count(), table.owned_mut().count()), (0, 1));
    }

    #[test]
    fn a_parting_partition_is_not_read_and_goes_once_what_was_taken_is_done() {
        let mut table = with(&[3, 4]);
        let slot = table.find(Partition(3)).expect("read");
        let watermark = |table: &mut Partitions| table.get_mut(slot).expect("ours").watermark.clone();
        let mut taken = watermark(&mut table);
        taken.on_taken(Offset(7), Offset(9)).expect("in order");
        table.get_mut(slot).expect("ours").watermark = taken;
        assert!(table.part(Partition(3)) && !table.part(Partition(3)));
        assert_eq!((table.find(Partition(3)), table.active().collect()), (None, vec![Partition(4)]));
        assert!(table.is_delivered(slot));
        assert_eq!(table.parted_at(Partition(3)), None, "7 to 9 are not done");
        let mut done = watermark(&mut table);
        done.on_done(Offset(7), Offset(9)).expect("taken");
        table.get_mut(slot).expect("ours").watermark = done;
        assert_eq!(table.parted_at(Partition(3)), Some(Offset(10)));
        assert_eq!(table.parted_at(Partition(4)), None, "it stays");
        let mut other = with(&[]);
        other.insert(table.part_with(Partition(3)).expect("parting"));
        assert!(table.get_mut(slot).is_none() && table.part_with(Partition(3)).is_none());
        let slot = other.find(Partition(3)).expect("read");
        assert_eq!(other.get_mut(slot).expect("ours").watermark.position(), Offset(10));
    }

    #[test]
    fn what_the_group_takes_away_goes_nowhere_else() {
        let mut table = with(&[3]);
        assert!(table.part(Partition(3)));
        let slot = table.leave(Partition(3)).expect("ours");
        assert!(!table.is_delivered(slot));
        assert_eq!(table.parted_at(Partition(3)), None);
        assert!(table.part_with(Partition(3)).is_none());
    }
}
