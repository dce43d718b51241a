//! Virtual time, and the way to the simulated function, as the engine sees them.

use std::sync::Arc;
use std::time::Duration;

use pelton::batch::Payload;
use pelton::destination::Failure;
use pelton::ids::{Offset, Partition};
use pelton::pipeline::{Answer, BatchTrace, Observer, World};
use pelton::time::Nanos;

use super::universe::{Shared, lock, note};

/// The world of one member.
#[derive(Debug)]
pub(crate) struct SimWorld {
    universe: Shared,
    member: usize,
}

impl SimWorld {
    /// The world of `member`.
    #[must_use]
    pub(crate) fn new(universe: &Shared, member: usize) -> Self {
        Self { universe: Arc::clone(universe), member }
    }
}

impl World for SimWorld {
    fn now(&self) -> Nanos {
        lock(&self.universe).now
    }

    fn wall_ms(&self) -> i64 {
        lock(&self.universe).wall_ms()
    }

    /// The engine sleeps here only while it waits for a commit before partitions are let go. Other
    /// members stand still meanwhile, as on a machine with one core that is busy; the cluster and
    /// the function do not.
    fn sleep(&self, at_most: Duration) {
        let universe = &mut *lock(&self.universe);
        universe.advance_to(universe.now + at_most);
    }

    fn invoke(&self, poller: usize, payload: Payload) {
        lock(&self.universe).invoke(self.member, poller, payload);
    }

    fn give_up(&self, poller: usize, failure: Arc<Failure>) {
        lock(&self.universe).give_up(self.member, poller, &failure);
    }

    fn answer(&self) -> Option<Answer> {
        lock(&self.universe).answer(self.member)
    }
}

/// What the engine says of itself, which is held against what was seen.
#[derive(Debug)]
pub(crate) struct SimObserver {
    universe: Shared,
    member: usize,
}

impl SimObserver {
    /// The observer of `member`.
    #[must_use]
    pub(crate) fn new(universe: &Shared, member: usize) -> Self {
        Self { universe: Arc::clone(universe), member }
    }
}

impl Observer for SimObserver {
    fn on_delivered(&self, _: &BatchTrace<'_>) {}

    fn on_given_up(&self, partition: Partition, first: Offset, last: Offset, kept: bool) {
        let universe = &mut *lock(&self.universe);
        let at = usize::try_from(partition.0).unwrap_or(usize::MAX);
        let wall_ms = universe.wall_ms();
        let log = &universe.logs[at];
        universe.checker.on_said_given_up(log, self.member, at, (first.0, last.0), kept, wall_ms);
    }

    fn on_resumed(&self, partition: Partition, first: Offset, last: Offset) {
        let universe = &mut *lock(&self.universe);
        let at = usize::try_from(partition.0).unwrap_or(usize::MAX);
        note!(universe, "member {} does not deliver [{at}]@{first}..={last} again", self.member);
        let log = &universe.logs[at];
        universe.checker.on_said_resumed(log, self.member, at, (first.0, last.0));
    }

    fn on_committed(&self, _: Partition, _: Offset, _: Nanos) {}
}
