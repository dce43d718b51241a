//! The group's coordinator: who reads what, and how that changes.
//!
//! Kafka's classic protocol as its members see it. In an *eager* rebalance every member lets all of
//! its partitions go before any is given out again, in a *cooperative* one only those that move. A
//! member that does not answer in time, or whose session ends, is put out: its partitions are given
//! away at once, and it learns that they are lost when its client next hears from the group.

use std::collections::BTreeSet;
use std::time::Duration;

use pelton::time::Nanos;

use super::scenario::Scenario;
use super::universe::{Change, Event, Universe, note};

/// How long the coordinator waits for members to let partitions go (`max.poll.interval.ms`).
const REBALANCE_PATIENCE: Duration = Duration::from_secs(12);

/// The group as its coordinator knows it.
#[derive(Debug)]
pub(crate) struct Group {
    /// Counts the rebalances that were completed. Commits of another generation are refused.
    pub(crate) generation: u32,
    /// Ascending.
    pub(crate) members: Vec<usize>,
    /// Who reads each partition.
    pub(crate) owner: Vec<Option<usize>>,
    /// Partitions that exist so far.
    pub(crate) visible: usize,
    /// A rebalance is under way.
    pub(crate) revoking: Option<Revoking>,
    target: Vec<Option<usize>>,
    /// Another is wanted.
    dirty: bool,
    shift: usize,
    cooperative: bool,
}

/// A rebalance that waits for members to let go.
#[derive(Debug)]
pub(crate) struct Revoking {
    waiting: BTreeSet<usize>,
    deadline: Nanos,
}

impl Group {
    /// A group without members.
    #[must_use]
    pub(crate) fn new(scenario: &Scenario) -> Self {
        Self {
            generation: 0,
            members: Vec::new(),
            owner: vec![None; scenario.partitions],
            visible: scenario.partitions_at_first,
            revoking: None,
            target: vec![None; scenario.partitions],
            dirty: false,
            shift: 0,
            cooperative: scenario.cooperative,
        }
    }
}

impl Universe {
    /// A rebalance is wanted.
    pub(crate) fn want_rebalance(&mut self, shake: bool) {
        self.group.dirty = true;
        if shake {
            self.group.shift += 1;
        }
        let after = self.random.ms(0, 50);
        self.plan(after, Event::Group);
    }

    /// A partition is added to the topic.
    pub(crate) fn grow(&mut self) {
        self.group.visible += 1;
        note!(self, "the topic has {} partitions", self.group.visible);
        self.want_rebalance(false);
    }

    /// The coordinator goes on, if it can.
    pub(crate) fn coordinate(&mut self) {
        match &self.group.revoking {
            None if self.group.dirty => self.begin_rebalance(),
            None => {}
            Some(revoking) if revoking.waiting.is_empty() => self.complete_rebalance(),
            Some(revoking) if self.now >= revoking.deadline => {
                let late = revoking.waiting.clone();
                for member in late {
                    note!(self, "member {member} has not answered the rebalance");
                    self.expire(member);
                }
                let after = self.random.ms(0, 10);
                self.plan(after, Event::Group);
            }
            Some(_) => {}
        }
    }

    fn begin_rebalance(&mut self) {
        let group = &mut self.group;
        group.dirty = false;
        for partition in 0..group.visible {
            let at = partition + group.shift;
            group.target[partition] =
                (!group.members.is_empty()).then(|| group.members[at % group.members.len()]);
        }
        let mut waiting = BTreeSet::new();
        for member in group.members.clone() {
            let group = &self.group;
            let moving: Vec<usize> = (0..group.visible)
                .filter(|&partition| group.owner[partition] == Some(member))
                .filter(|&partition| !group.cooperative || group.target[partition] != Some(member))
                .collect();
            if !moving.is_empty() {
                note!(self, "member {member} is asked to let {moving:?} go");
                waiting.insert(member);
                self.change(member, Change::Revoked(moving, false));
            }
        }
        let after = if waiting.is_empty() { self.random.ms(0, 20) } else { REBALANCE_PATIENCE };
        self.group.revoking = Some(Revoking { waiting, deadline: self.now + REBALANCE_PATIENCE });
        self.plan(after, Event::Group);
    }

    fn complete_rebalance(&mut self) {
        self.group.revoking = None;
        self.group.generation += 1;
        for member in self.group.members.clone() {
            let group = &mut self.group;
            self.members[member].generation = group.generation;
            let given: Vec<usize> = (0..group.visible)
                .filter(|&partition| group.target[partition] == Some(member))
                .filter(|&partition| group.owner[partition] != Some(member))
                .collect();
            for &partition in &given {
                group.owner[partition] = Some(member);
            }
            if !given.is_empty() || self.random.chance(100) {
                note!(self, "generation {}: member {member} is given {given:?}", self.group.generation);
                self.change(member, Change::Assigned(given));
            }
        }
        if self.group.dirty {
            let after = self.random.ms(0, 50);
            self.plan(after, Event::Group);
        }
    }

    fn change(&mut self, member: usize, change: Change) {
        self.members[member].changes.push_back(change);
        let at = self.now + self.random.ms(0, 5);
        self.wake(member, at);
    }

    /// A member has let partitions go, as it was asked to.
    pub(crate) fn on_released(&mut self, member: usize, partitions: &[usize]) {
        for &partition in partitions {
            if self.group.owner[partition] == Some(member) {
                self.group.owner[partition] = None;
            }
        }
        self.no_longer_waited_for(member);
    }

    fn no_longer_waited_for(&mut self, member: usize) {
        if let Some(revoking) = &mut self.group.revoking {
            revoking.waiting.remove(&member);
            if revoking.waiting.is_empty() {
                let after = self.random.ms(0, 20);
                self.plan(after, Event::Group);
            }
        }
    }

    /// A member goes, and says so, or is put out.
    pub(crate) fn leave_group(&mut self, member: usize) {
        if !self.group.members.contains(&member) {
            return;
        }
        self.group.members.retain(|one| *one != member);
        for owner in &mut self.group.owner {
            *owner = owner.filter(|owner| *owner != member);
        }
        self.no_longer_waited_for(member);
        self.want_rebalance(false);
    }

    /// A member's session is at its end: it is dead, stands still, or cannot be reached.
    pub(crate) fn expire(&mut self, member: usize) {
        if !self.group.members.contains(&member) {
            return;
        }
        note!(self, "member {member} is put out of the group");
        self.leave_group(member);
        if !self.members[member].alive {
            return;
        }
        for partition in 0..self.logs.len() {
            let committed = self.committed_or_first(partition);
            self.checker.on_lost(&self.logs[partition], member, partition, committed);
        }
        let after = self.random.ms(0, 3_000);
        self.plan(after, Event::Notice(member));
    }

    /// A member that was put out hears of it.
    pub(crate) fn notice(&mut self, index: usize) {
        if !self.members[index].alive {
            return;
        }
        let member = &mut self.members[index];
        let mut lost = std::mem::take(&mut member.owned);
        for (at, change) in member.changes.iter().enumerate() {
            match change {
                Change::Assigned(partitions) => lost.extend(partitions),
                Change::Revoked(partitions, _) => {
                    // What its client has been asked for already it will not be asked for again,
                    // except for the one that is open: that one is answered first.
                    if at > 0 || !member.shown {
                        lost.retain(|partition| !partitions.contains(partition));
                    }
                }
            }
        }
        // It joins again once it has let go of everything, and not before.
        self.members[index].joins_again = true;
        if lost.is_empty() {
            return self.join_when_empty(index);
        }
        let lost: Vec<usize> = lost.into_iter().collect();
        note!(self, "member {index} hears that {lost:?} are lost");
        self.change(index, Change::Revoked(lost, true));
    }

    /// A member that was put out joins again once nothing is left to be answered.
    pub(crate) fn join_when_empty(&mut self, index: usize) {
        let member = &mut self.members[index];
        if member.joins_again && member.changes.is_empty() {
            member.joins_again = false;
            let after = self.random.ms(1, 500);
            self.plan(after, Event::Join(index));
        }
    }

    /// A member joins, for the first time or again.
    pub(crate) fn join(&mut self, member: usize) {
        if !self.members[member].alive || self.group.members.contains(&member) {
            return;
        }
        note!(self, "member {member} joins");
        self.group.members.push(member);
        self.group.members.sort_unstable();
        self.want_rebalance(false);
    }
}
