//! What a change of assignment asks of a thread, in order, one at a time.
//!
//! A revocation is answered only when no invocation carries records of the partitions any more,
//! or when the drain deadline has passed: until then the thread goes on with everything else.
//! Whatever arrives meanwhile waits its turn.

use std::collections::VecDeque;
use std::time::Duration;

use crate::ids::Partition;
use crate::time::Nanos;

/// One change of assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Assigned(Vec<Partition>),
    Revoked { partitions: Vec<Partition>, lost: bool },
}

/// What the thread is to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Route these and begin to read them.
    Assign(Vec<Partition>),
    /// Stop reading these; ask again later.
    Leave(Vec<Partition>),
    /// Commit what is done of these unless they are lost, forget them, and let them go.
    Release { partitions: Vec<Partition>, lost: bool },
}

/// The changes not yet answered.
#[derive(Debug, Default)]
pub(super) struct Rebalance {
    waiting: VecDeque<Change>,
    /// Not before this is the first of them to be answered.
    not_before: Nanos,
    leaving: Option<Leaving>,
}

#[derive(Debug)]
struct Leaving {
    partitions: Vec<Partition>,
    lost: bool,
    deadline: Nanos,
}

impl Rebalance {
    /// A change was announced.
    pub(super) fn on_change(&mut self, change: Change) {
        self.waiting.push_back(change);
    }

    /// An assignment could not be made yet: it is tried again at `at`, before anything else.
    pub(super) fn assign_again(&mut self, partitions: Vec<Partition>, at: Nanos) {
        self.waiting.push_front(Change::Assigned(partitions));
        self.not_before = at;
    }

    /// What to do now; ask until `None`. `carried` tells whether an invocation in flight carries
    /// records of a partition.
    pub(super) fn step(
        &mut self,
        now: Nanos,
        drain_deadline: Duration,
        carried: impl Fn(Partition) -> bool,
    ) -> Option<Step> {
        if let Some(leaving) = &self.leaving {
            let settled = leaving.lost
                || now >= leaving.deadline
                || !leaving.partitions.iter().any(|&partition| carried(partition));
            if !settled {
                return None;
            }
            let Leaving { partitions, lost, .. } = self.leaving.take()?;
            return Some(Step::Release { partitions, lost });
        }
        if now < self.not_before {
            return None;
        }
        match self.waiting.pop_front()? {
            Change::Assigned(partitions) => Some(Step::Assign(partitions)),
            Change::Revoked { partitions, lost } => {
                let step = Step::Leave(partitions.clone());
                self.leaving = Some(Leaving { partitions, lost, deadline: now + drain_deadline });
                Some(step)
            }
        }
    }

    /// Whether nothing waits to be answered.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.leaving.is_none()
    }

    /// When to ask again though nothing has happened: a revocation ends even though an invocation
    /// still runs, or an assignment is tried again.
    pub(super) fn deadline(&self) -> Option<Nanos> {
        let again = (!self.waiting.is_empty()).then_some(self.not_before);
        self.leaving.as_ref().map(|leaving| leaving.deadline).or(again)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAIN: Duration = Duration::from_secs(30);

    fn revoked(partition: i32, lost: bool) -> Change {
        Change::Revoked { partitions: vec![Partition(partition)], lost }
    }

    #[test]
    fn a_revoked_partition_is_released_once_nothing_carries_it() {
        let mut rebalance = Rebalance::default();
        rebalance.on_change(revoked(1, false));
        assert_eq!(rebalance.step(Nanos(0), DRAIN, |_| true), Some(Step::Leave(vec![Partition(1)])));
        assert_eq!(rebalance.step(Nanos(1), DRAIN, |_| true), None);
        assert_eq!(
            rebalance.step(Nanos(2), DRAIN, |_| false),
            Some(Step::Release { partitions: vec![Partition(1)], lost: false })
        );
        assert_eq!(rebalance.deadline(), None);
    }

    #[test]
    fn a_release_waits_no_longer_than_the_deadline() {
        let mut rebalance = Rebalance::default();
        rebalance.on_change(revoked(1, false));
        let _ = rebalance.step(Nanos(5), DRAIN, |_| true);
        let deadline = rebalance.deadline().expect("leaving");
        assert_eq!(deadline, Nanos(5) + DRAIN);
        assert!(matches!(rebalance.step(deadline, DRAIN, |_| true), Some(Step::Release { .. })));
    }

    #[test]
    fn a_lost_partition_is_released_at_once() {
        let mut rebalance = Rebalance::default();
        rebalance.on_change(revoked(1, true));
        let _ = rebalance.step(Nanos(0), DRAIN, |_| true);
        assert_eq!(
            rebalance.step(Nanos(0), DRAIN, |_| true),
            Some(Step::Release { partitions: vec![Partition(1)], lost: true })
        );
    }

    #[test]
    fn an_assignment_that_failed_is_tried_again_first_and_not_at_once() {
        let mut rebalance = Rebalance::default();
        rebalance.on_change(revoked(2, false));
        rebalance.assign_again(vec![Partition(1)], Nanos(10));
        assert_eq!(rebalance.step(Nanos(9), DRAIN, |_| false), None);
        assert_eq!(rebalance.deadline(), Some(Nanos(10)));
        assert_eq!(rebalance.step(Nanos(10), DRAIN, |_| false), Some(Step::Assign(vec![Partition(1)])));
        assert_eq!(rebalance.step(Nanos(10), DRAIN, |_| false), Some(Step::Leave(vec![Partition(2)])));
    }

    #[test]
    fn changes_are_answered_in_order() {
        let mut rebalance = Rebalance::default();
        rebalance.on_change(revoked(1, false));
        rebalance.on_change(Change::Assigned(vec![Partition(1)]));
        let _ = rebalance.step(Nanos(0), DRAIN, |_| true);
        assert_eq!(rebalance.step(Nanos(1), DRAIN, |_| true), None, "the assignment waits");
        assert!(matches!(rebalance.step(Nanos(2), DRAIN, |_| false), Some(Step::Release { .. })));
        assert!(!rebalance.is_idle());
        assert_eq!(rebalance.step(Nanos(2), DRAIN, |_| true), Some(Step::Assign(vec![Partition(1)])));
        assert!(rebalance.is_idle());
    }
}
