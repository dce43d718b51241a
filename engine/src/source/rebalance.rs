//! Who owns what: the changes a client announces, handed out one at a time, and the partitions
//! that are this member's meanwhile. Pure.
//!
//! librdkafka announces a change and then waits, for as long as `max.poll.interval.ms`, for the
//! matching call. The pipeline needs several turns of its loop before it can make that call
//! (invocations in flight must end first), so a change is shown as a [`SourceEvent`], stays *open*
//! until it is answered, and the next one is shown only then.
//!
//! A partition's log can also go **back** (an unclean leader election, a topic made anew): offsets
//! that were done come again for other records. The source then takes the partition from the
//! pipeline as if it had been lost and gives it back at its new start: the same two events, which
//! only differ in that the group is not asked ([`Origin::Reset`]).

use std::collections::{BTreeSet, VecDeque};

use super::SourceEvent;
use crate::ids::Partition;

/// Who wants a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The group: the answer goes to the client.
    Group,
    /// A partition whose log went back: the group keeps it where it is.
    Reset,
}

/// A change in what this member owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Assigned(Vec<Partition>),
    Revoked { partitions: Vec<Partition>, lost: bool },
}

#[derive(Debug)]
struct Step {
    change: Change,
    origin: Origin,
}

/// The open change, those behind it, and what is owned.
#[derive(Debug, Default)]
pub(super) struct Rebalances {
    steps: VecDeque<Step>,
    /// The first step was handed out as an event.
    shown: bool,
    owned: BTreeSet<Partition>,
}

impl Rebalances {
    /// The group gives `partitions` to this member.
    pub(super) fn record_assigned(&mut self, partitions: Vec<Partition>) {
        self.steps.push_back(Step { change: Change::Assigned(partitions), origin: Origin::Group });
    }

    /// The group takes `partitions` from this member; `lost` if it has already given them away.
    pub(super) fn record_revoked(&mut self, partitions: Vec<Partition>, lost: bool) {
        // What a reset has taken and not yet given back will not be given back.
        let shown = usize::from(self.shown);
        let mut at = 0;
        self.steps.retain_mut(|step| {
            let open = at < shown;
            at += 1;
            match (&mut step.change, step.origin) {
                (Change::Assigned(again), Origin::Reset) if !open => {
                    again.retain(|partition| !partitions.contains(partition));
                    !again.is_empty()
                }
                _ => true,
            }
        });
        if lost {
            for partition in &partitions {
                self.owned.remove(partition);
            }
        }
        self.steps.push_back(Step { change: Change::Revoked { partitions, lost }, origin: Origin::Group });
    }

    /// The log of `partition` went back: it is taken from the pipeline and given again.
    pub(super) fn record_reset(&mut self, partition: Partition) {
        if !self.owned.remove(&partition) {
            return;
        }
        // On its way back to the group: there is nothing left to give again.
        let leaves = self.steps.iter().any(|step| {
            step.origin == Origin::Group
                && matches!(&step.change, Change::Revoked { partitions, .. } if partitions.contains(&partition))
        });
        if leaves {
            return;
        }
        let partitions = vec![partition];
        self.steps.push_back(Step {
            change: Change::Revoked { partitions: partitions.clone(), lost: true },
            origin: Origin::Reset,
        });
        self.steps.push_back(Step { change: Change::Assigned(partitions), origin: Origin::Reset });
    }

    /// The next change to tell the pipeline about, if the one before it has been answered.
    pub(super) fn next_event(&mut self) -> Option<SourceEvent> {
        if self.shown {
            return None;
        }
        let step = self.steps.front()?;
        self.shown = true;
        Some(match &step.change {
            Change::Assigned(partitions) => SourceEvent::Assigned(partitions.clone()),
            Change::Revoked { partitions, lost } => {
                SourceEvent::Revoked { partitions: partitions.clone(), lost: *lost }
            }
        })
    }

    /// The change that waits for its answer.
    pub(super) fn open(&self) -> Option<(&Change, Origin)> {
        self.shown.then(|| self.steps.front().map(|step| (&step.change, step.origin))).flatten()
    }

    /// The next change, shown or not: what is left to answer when the client closes.
    pub(super) fn first(&self) -> Option<(&Change, Origin)> {
        self.steps.front().map(|step| (&step.change, step.origin))
    }

    /// Whether the open assignment has been taken back meanwhile: no use in looking for offsets.
    pub(super) fn is_superseded(&self) -> bool {
        let Some((Change::Assigned(partitions), _)) = self.open() else { return false };
        !partitions.is_empty()
            && self.steps.iter().skip(1).any(|step| {
                matches!(&step.change, Change::Revoked { partitions: revoked, .. }
                    if step.origin == Origin::Group && partitions.iter().all(|one| revoked.contains(one)))
            })
    }

    /// The first change has been answered: what it gave is owned, what it took is not.
    pub(super) fn answered(&mut self) {
        let superseded = self.is_superseded();
        self.shown = false;
        match self.steps.pop_front().map(|step| step.change) {
            Some(Change::Assigned(partitions)) if !superseded => self.owned.extend(partitions),
            Some(Change::Revoked { partitions, .. }) => {
                for partition in &partitions {
                    self.owned.remove(partition);
                }
            }
            Some(Change::Assigned(_)) | None => {}
        }
    }

    /// Whether offsets of `partition` may be committed.
    pub(super) fn owns(&self, partition: Partition) -> bool {
        self.owned.contains(&partition)
    }

    /// Gives up `partition` at once: nothing of it is committed any more.
    pub(super) fn disown(&mut self, partition: Partition) {
        self.owned.remove(&partition);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partitions(numbers: &[i32]) -> Vec<Partition> {
        numbers.iter().copied().map(Partition).collect()
    }

    fn owner_of(numbers: &[i32]) -> Rebalances {
        let mut rebalances = Rebalances::default();
        rebalances.record_assigned(partitions(numbers));
        assert!(rebalances.next_event().is_some());
        rebalances.answered();
        rebalances
    }

    #[test]
    fn a_partition_is_owned_once_its_assignment_is_answered() {
        let mut rebalances = Rebalances::default();
        rebalances.record_assigned(partitions(&[1, 2]));
        assert!(
            matches!(rebalances.next_event(), Some(SourceEvent::Assigned(list)) if list == partitions(&[1, 2]))
        );
        assert!(!rebalances.owns(Partition(1)));
        rebalances.answered();
        assert!(rebalances.owns(Partition(1)) && rebalances.owns(Partition(2)));
    }

    #[test]
    fn a_revoked_partition_is_owned_until_it_is_released() {
        let mut rebalances = owner_of(&[1, 2]);
        rebalances.record_revoked(partitions(&[2]), false);
        assert!(matches!(rebalances.next_event(), Some(SourceEvent::Revoked { lost: false, .. })));
        assert!(rebalances.owns(Partition(2)), "the last commit is still to come");
        rebalances.answered();
        assert!(!rebalances.owns(Partition(2)) && rebalances.owns(Partition(1)));
    }

    #[test]
    fn a_lost_partition_is_not_owned_from_the_moment_it_is_known() {
        let mut rebalances = owner_of(&[1, 2]);
        rebalances.record_revoked(partitions(&[1, 2]), true);
        assert!(!rebalances.owns(Partition(1)) && !rebalances.owns(Partition(2)));
    }

    #[test]
    fn a_change_is_shown_only_after_the_one_before_was_answered() {
        let mut rebalances = Rebalances::default();
        rebalances.record_assigned(partitions(&[1]));
        rebalances.record_revoked(partitions(&[1]), false);
        assert!(matches!(rebalances.next_event(), Some(SourceEvent::Assigned(_))));
        assert!(rebalances.next_event().is_none());
        rebalances.answered();
        assert!(matches!(rebalances.next_event(), Some(SourceEvent::Revoked { .. })));
    }

    #[test]
    fn an_assignment_taken_back_before_its_answer_owns_nothing() {
        let mut rebalances = Rebalances::default();
        rebalances.record_assigned(partitions(&[1]));
        assert!(rebalances.next_event().is_some());
        assert!(!rebalances.is_superseded());
        rebalances.record_revoked(partitions(&[1]), true);
        assert!(rebalances.is_superseded());
        rebalances.answered();
        assert!(!rebalances.owns(Partition(1)));
    }

    #[test]
    fn a_reset_takes_the_partition_and_gives_it_again() {
        let mut rebalances = owner_of(&[1, 2]);
        rebalances.record_reset(Partition(1));
        assert!(!rebalances.owns(Partition(1)), "its old offsets must not be committed");
        assert!(matches!(rebalances.next_event(), Some(SourceEvent::Revoked { lost: true, .. })));
        rebalances.answered();
        assert!(
            matches!(rebalances.next_event(), Some(SourceEvent::Assigned(list)) if list == partitions(&[1]))
        );
        assert_eq!(rebalances.open().map(|(_, origin)| origin), Some(Origin::Reset));
        rebalances.answered();
        assert!(rebalances.owns(Partition(1)));
    }

    #[test]
    fn a_reset_is_recorded_once() {
        let mut rebalances = owner_of(&[1]);
        rebalances.record_reset(Partition(1));
        rebalances.record_reset(Partition(1));
        rebalances.record_reset(Partition(7));
        assert_eq!(rebalances.steps.len(), 2);
    }

    #[test]
    fn a_reset_gives_nothing_that_a_revocation_is_about_to_take() {
        let mut rebalances = owner_of(&[1, 2]);
        rebalances.record_revoked(partitions(&[1]), false);
        rebalances.record_reset(Partition(1));
        assert!(!rebalances.owns(Partition(1)), "offsets of the old log must not be committed");
        assert!(matches!(rebalances.next_event(), Some(SourceEvent::Revoked { lost: false, .. })));
        rebalances.answered();
        assert!(rebalances.next_event().is_none());
    }

    #[test]
    fn a_revocation_cancels_what_a_reset_had_still_to_give() {
        let mut rebalances = owner_of(&[1, 2]);
        rebalances.record_reset(Partition(1));
        assert!(rebalances.next_event().is_some());
        rebalances.record_revoked(partitions(&[1, 2]), false);
        rebalances.answered();
        assert!(
            matches!(rebalances.next_event(), Some(SourceEvent::Revoked { partitions: list, .. }) if list == partitions(&[1, 2]))
        );
        rebalances.answered();
        assert!(rebalances.next_event().is_none());
    }
}
