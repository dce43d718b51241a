//! When to commit.

use std::time::Duration;

use crate::ids::{Offset, Partition};
use crate::time::Nanos;

/// How long the answer to a commit is waited for. The Kafka client ends a commit by itself after
/// its session timeout (45 s by default); this is for an answer that is lost, which must not end
/// all commits.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(120);

/// The commits of one client: what its partitions may commit, what they have committed, and when
/// to commit next.
///
/// Asynchronous commits go out one at a time, no more often than the interval, and only with what
/// has moved, or has more finished beyond. The loop of the owner: [`on_moved`](Self::on_moved) whenever
/// a watermark may have moved, [`tick`](Self::tick) when [`deadline`](Self::deadline) has come, and the answer to
/// [`on_committed`](Self::on_committed) or [`on_failed`](Self::on_failed). Before partitions are
/// let go, and at the end: [`unfinished`](Self::unfinished), a synchronous commit of that,
/// [`on_committed_sync`](Self::on_committed_sync), [`on_revoked`](Self::on_revoked).
///
/// Only tracked partitions are ever returned. A broker checks the member, not who owns the
/// partition: a commit for one that has been let go would move the group's offset back.
///
/// AWS commits after each batch; with an interval of zero, so does this, unless an answer is
/// outstanding.
///
/// Costs O(log n) in the tracked partitions for a move, O(n) for a commit; allocates only when
/// partitions are assigned.
#[derive(Clone, Debug)]
pub struct Cadence {
    interval: Duration,
    /// Ascending by partition.
    tracked: Vec<Tracked>,
    /// No commit goes out before this.
    next: Nanos,
    /// When the asynchronous commit in flight is given up.
    in_flight: Option<Nanos>,
    /// Whether a tracked partition may have something to commit that is not in flight.
    moved: bool,
}

#[derive(Clone, Copy, Debug)]
struct Tracked {
    partition: Partition,
    /// May be committed.
    now: Standing,
    /// What the group has. `None` while it may have nothing.
    committed: Option<Standing>,
    /// In flight.
    sent: Option<Standing>,
    /// In the synchronous commit that was asked for last.
    asked: Option<Standing>,
}

/// A watermark at one moment. A later one is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Standing {
    committable: Offset,
    /// Grows too when only what is finished beyond changes.
    revision: u64,
}

impl Tracked {
    /// What a commit would change, if anything.
    fn news(&self) -> Option<Standing> {
        self.committed.is_none_or(|committed| committed < self.now).then_some(self.now)
    }

    fn put(standing: Option<Standing>, partition: Partition, offsets: &mut Vec<(Partition, Offset)>) {
        offsets.extend(standing.map(|standing| (partition, standing.committable)));
    }
}

impl Cadence {
    /// A client without partitions that commits at most once an `interval`.
    #[must_use]
    pub const fn new(interval: Duration) -> Self {
        Self { interval, tracked: Vec::new(), next: Nanos::ZERO, in_flight: None, moved: false }
    }

    /// A partition was assigned and is read from `start`. `committed` is what the group had
    /// committed for it, if that is known.
    ///
    /// When it is not, `start` itself is committed: a group that begins at the end of the log and
    /// stops before its first success would else begin at a later end the next time, and never see
    /// what came between.
    ///
    /// Assigning a partition again forgets its past.
    pub fn on_assigned(&mut self, partition: Partition, start: Offset, committed: Option<Offset>) {
        let standing = |committable| Standing { committable, revision: 0 };
        let committed = committed.map(standing);
        let fresh = Tracked { partition, now: standing(start), committed, sent: None, asked: None };
        self.moved |= fresh.news().is_some();
        match self.find(partition) {
            Ok(at) => self.tracked[at] = fresh,
            Err(at) => self.tracked.insert(at, fresh),
        }
    }

    /// A partition was let go, or lost: nothing is committed for it from now on.
    pub fn on_revoked(&mut self, partition: Partition) {
        if let Ok(at) = self.find(partition) {
            self.tracked.remove(at);
        }
    }

    /// The watermark of a partition is now at `committable`, and at this `revision`
    /// ([`Watermark::revision`](super::Watermark::revision)), which also grows when only what is
    /// finished beyond it changes: that is worth a commit too, for its metadata. Where none is
    /// written, let the revision be 0. Ignored if neither is further than before, or if the partition
    /// is not tracked (a late answer after a revoke).
    pub fn on_moved(&mut self, partition: Partition, committable: Offset, revision: u64) {
        if let Ok(at) = self.find(partition) {
            let tracked = &mut self.tracked[at];
            tracked.now = tracked.now.max(Standing { committable, revision });
            self.moved |= tracked.news() > tracked.sent;
        }
    }

    /// When to call [`tick`](Self::tick); `None` while there is nothing to commit or wait for. May
    /// change with every other call.
    #[must_use]
    pub fn deadline(&self) -> Option<Nanos> {
        match self.in_flight {
            Some(expires) => Some(expires),
            None => self.moved.then_some(self.next),
        }
    }

    /// If a commit is due, puts what it should hold into `offsets` (which is cleared first) and
    /// returns `true`: commit that without waiting, and report the answer. A commit that could not
    /// even be handed to the client is [`on_failed`](Self::on_failed) at once.
    ///
    /// May be called at any time; before the deadline it does nothing.
    pub fn tick(&mut self, now: Nanos, offsets: &mut Vec<(Partition, Offset)>) -> bool {
        offsets.clear();
        if self.in_flight.is_some_and(|expires| expires <= now) {
            self.on_failed(now);
        }
        if self.in_flight.is_some() || !self.moved || now < self.next {
            return false;
        }
        self.moved = false;
        for tracked in &mut self.tracked {
            tracked.sent = tracked.news();
            Tracked::put(tracked.sent, tracked.partition, offsets);
        }
        // Empty if what moved has been revoked or committed synchronously since.
        if !offsets.is_empty() {
            self.in_flight = Some(now + ANSWER_WAIT_MAX);
            self.next = now + self.interval;
        }
        !offsets.is_empty()
    }

    /// The asynchronous commit succeeded with `offsets`. The next may go out an interval after it
    /// did.
    ///
    /// What was sent and is not in `offsets` is not this member's any more, as its client knows before
    /// its owner does: it is no longer tracked. Else it would be sent, and left out, over and over
    /// until the owner is told, without any pause if the interval is zero.
    pub fn on_committed(&mut self, offsets: &[(Partition, Offset)]) {
        self.in_flight = None;
        let answered = |partition| offsets.iter().any(|(answered, _)| *answered == partition);
        self.tracked.retain(|tracked| tracked.sent.is_none() || answered(tracked.partition));
        for &(partition, offset) in offsets {
            if let Ok(at) = self.find(partition) {
                let tracked = &mut self.tracked[at];
                // Not of an earlier assignment.
                if tracked.sent.is_some_and(|sent| sent.committable == offset) {
                    tracked.committed = tracked.committed.max(tracked.sent);
                }
            }
        }
        self.end_flight();
    }

    /// The asynchronous commit failed. What it held, or has moved on to, is tried again after an
    /// interval.
    pub fn on_failed(&mut self, now: Nanos) {
        self.in_flight = None;
        self.next = now + self.interval;
        self.end_flight();
    }

    /// Puts what is not known to be committed of the partitions `wanted` into `offsets` (which is
    /// cleared first): what a synchronous commit must hold. Includes what is in flight, for its
    /// answer may be a refusal.
    pub fn unfinished(&mut self, wanted: impl Fn(Partition) -> bool, offsets: &mut Vec<(Partition, Offset)>) {
        offsets.clear();
        for tracked in self.tracked.iter_mut().filter(|tracked| wanted(tracked.partition)) {
            tracked.asked = tracked.news();
            Tracked::put(tracked.asked, tracked.partition, offsets);
        }
    }

    /// The synchronous commit of what was [unfinished](Self::unfinished) succeeded with `offsets`.
    /// (After one that failed there is nothing to say: they are still unfinished.)
    pub fn on_committed_sync(&mut self, offsets: &[(Partition, Offset)]) {
        for &(partition, offset) in offsets {
            if let Ok(at) = self.find(partition) {
                let tracked = &mut self.tracked[at];
                if tracked.asked.is_some_and(|asked| asked.committable == offset) {
                    tracked.committed = tracked.committed.max(tracked.asked);
                }
            }
        }
    }

    /// Whether an asynchronous commit awaits its answer. If so, let it come before a synchronous
    /// one: the client may repeat the older after the newer.
    #[must_use]
    pub const fn is_in_flight(&self) -> bool {
        self.in_flight.is_some()
    }

    fn end_flight(&mut self) {
        self.moved = false;
        for tracked in &mut self.tracked {
            tracked.sent = None;
            self.moved |= tracked.news().is_some();
        }
    }

    fn find(&self, partition: Partition) -> Result<usize, usize> {
        self.tracked.binary_search_by_key(&partition, |tracked| tracked.partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const INTERVAL: Duration = Duration::from_secs(1);
    const P0: Partition = Partition(0);
    const P1: Partition = Partition(1);

    const fn ms(ms: u64) -> Nanos {
        Nanos(ms * 1_000_000)
    }

    fn cadence(partitions: &[Partition]) -> Cadence {
        let mut cadence = Cadence::new(INTERVAL);
        for &partition in partitions {
            cadence.on_assigned(partition, Offset(0), Some(Offset(0)));
        }
        cadence
    }

    fn tick(cadence: &mut Cadence, now: Nanos) -> Vec<(Partition, Offset)> {
        let mut offsets = vec![(Partition(99), Offset(99))];
        let sent = cadence.tick(now, &mut offsets);
        assert_eq!(sent, !offsets.is_empty());
        offsets
    }

    fn unfinished(cadence: &mut Cadence) -> Vec<(Partition, Offset)> {
        let mut offsets = Vec::new();
        cadence.unfinished(|_| true, &mut offsets);
        offsets
    }

    #[test]
    fn nothing_is_committed_while_nothing_moves() {
        let mut cadence = cadence(&[P0, P1]);
        assert_eq!(cadence.deadline(), None);
        cadence.on_moved(P0, Offset(0), 0);
        assert_eq!(cadence.deadline(), None);
        assert_eq!(tick(&mut cadence, ms(60_000)), []);
    }

    #[test]
    fn a_commit_holds_only_the_partitions_that_moved() {
        let mut cadence = cadence(&[P0, P1]);
        cadence.on_moved(P1, Offset(7), 0);
        assert_eq!(tick(&mut cadence, ms(5)), [(P1, Offset(7))]);
    }

    #[test]
    fn commits_keep_the_interval() {
        let mut cadence = cadence(&[P0]);
        cadence.on_moved(P0, Offset(1), 0);
        assert_eq!(tick(&mut cadence, ms(5)), [(P0, Offset(1))]);
        cadence.on_committed(&[(P0, Offset(1))]);
        cadence.on_moved(P0, Offset(2), 0);
        assert_eq!(cadence.deadline(), Some(ms(1_005)));
        assert_eq!(tick(&mut cadence, ms(1_004)), []);
        cadence.on_moved(P0, Offset(3), 0);
        assert_eq!(tick(&mut cadence, ms(1_005)), [(P0, Offset(3))]);
    }

    #[test]
    fn one_commit_is_in_flight_at_a_time() {
        let mut cadence = cadence(&[P0]);
        cadence.on_moved(P0, Offset(1), 0);
        tick(&mut cadence, ms(0));
        cadence.on_moved(P0, Offset(2), 0);
        assert!(cadence.is_in_flight());
        assert_eq!(tick(&mut cadence, ms(30_000)), []);
        cadence.on_committed(&[(P0, Offset(1))]);
        assert_eq!(tick(&mut cadence, ms(30_000)), [(P0, Offset(2))]);
    }

    #[test]
    fn what_is_committed_is_not_committed_again() {
        let mut cadence = cadence(&[P0]);
        cadence.on_moved(P0, Offset(1), 0);
        tick(&mut cadence, ms(0));
        cadence.on_moved(P0, Offset(1), 0);
        cadence.on_committed(&[(P0, Offset(1))]);
        assert_eq!((cadence.deadline(), unfinished(&mut cadence)), (None, vec![]));
    }

    #[test]
    fn a_failed_commit_is_tried_again_after_an_interval_with_the_newest_offset() {
        let mut cadence = cadence(&[P0]);
        cadence.on_moved(P0, Offset(1), 0);
        tick(&mut cadence, ms(0));
        cadence.on_moved(P0, Offset(2), 0);
        cadence.on_failed(ms(5_000));
        assert_eq!(cadence.deadline(), Some(ms(6_000)));
        assert_eq!(tick(&mut cadence, ms(5_999)), []);
        assert_eq!(tick(&mut cadence, ms(6_000)), [(P0, Offset(2))]);
    }

    #[test]
    fn a_lost_answer_does_not_end_all_commits() {
        let mut cadence = cadence(&[P0]);
        cadence.on_moved(P0, Offset(1), 0);
        tick(&mut cadence, ms(0));
        let expires = cadence.deadline().unwrap();
        assert_eq!(tick(&mut cadence, expires), []);
        assert_eq!(cadence.deadline(), Some(expires + INTERVAL));
        assert_eq!(tick(&mut cadence, expires + INTERVAL), [(P0, Offset(1))]);
    }

    #[test]
    fn a_group_without_a_committed_offset_commits_its_start() {
        let mut cadence = Cadence::new(INTERVAL);
        cadence.on_assigned(P0, Offset(100), None);
        assert_eq!(tick(&mut cadence, ms(0)), [(P0, Offset(100))]);
        cadence.on_committed(&[(P0, Offset(100))]);
        assert_eq!(cadence.deadline(), None);
    }

    #[test]
    fn nothing_is_committed_for_a_partition_that_was_let_go() {
        let mut cadence = cadence(&[P0, P1]);
        cadence.on_moved(P0, Offset(5), 0);
        cadence.on_revoked(P0);
        cadence.on_moved(P0, Offset(6), 0);
        assert_eq!(tick(&mut cadence, ms(0)), []);
        assert_eq!(cadence.deadline(), None);
        assert_eq!(unfinished(&mut cadence), []);
    }

    #[test]
    fn an_answer_for_an_earlier_assignment_says_nothing_about_the_new_one() {
        let mut cadence = cadence(&[P0]);
        cadence.on_moved(P0, Offset(50), 0);
        tick(&mut cadence, ms(0));
        cadence.on_revoked(P0);
        cadence.on_assigned(P0, Offset(40), Some(Offset(40)));
        cadence.on_moved(P0, Offset(45), 0);
        cadence.on_committed(&[(P0, Offset(50))]);
        assert!(!cadence.is_in_flight());
        assert_eq!(tick(&mut cadence, ms(1_000)), [(P0, Offset(45))]);
    }

    #[test]
    fn the_last_commit_holds_what_is_in_flight_and_what_came_since() {
        let mut cadence = cadence(&[P0, P1]);
        cadence.on_moved(P0, Offset(5), 0);
        tick(&mut cadence, ms(0));
        cadence.on_moved(P1, Offset(6), 0);
        assert_eq!(unfinished(&mut cadence), [(P0, Offset(5)), (P1, Offset(6))]);
        let mut offsets = Vec::new();
        cadence.unfinished(|partition| partition == P1, &mut offsets);
        assert_eq!(offsets, [(P1, Offset(6))]);
        cadence.on_committed_sync(&offsets);
        assert_eq!(unfinished(&mut cadence), [(P0, Offset(5))]);
        assert!(cadence.is_in_flight());
    }

    #[test]
    fn an_interval_of_zero_commits_after_every_move() {
        let mut cadence = Cadence::new(Duration::ZERO);
        cadence.on_assigned(P0, Offset(0), Some(Offset(0)));
        for offset in 1..10 {
            cadence.on_moved(P0, Offset(offset), 0);
            assert_eq!(tick(&mut cadence, ms(3)), [(P0, Offset(offset))]);
            cadence.on_committed(&[(P0, Offset(offset))]);
        }
    }

    #[test]
    fn what_an_answer_leaves_out_is_not_committed_again_until_it_is_assigned_again() {
        let mut cadence = cadence(&[P0, P1]);
        cadence.on_moved(P0, Offset(1), 0);
        cadence.on_moved(P1, Offset(1), 0);
        assert_eq!(tick(&mut cadence, ms(0)), [(P0, Offset(1)), (P1, Offset(1))]);
        cadence.on_committed(&[(P1, Offset(1))]);
        cadence.on_moved(P0, Offset(2), 0);
        assert_eq!((cadence.deadline(), unfinished(&mut cadence)), (None, vec![]));
        cadence.on_assigned(P0, Offset(1), Some(Offset(1)));
        cadence.on_moved(P0, Offset(2), 0);
        assert_eq!(tick(&mut cadence, ms(2_000)), [(P0, Offset(2))]);
    }

    #[test]
    fn what_is_finished_beyond_a_watermark_that_stands_still_is_committed_too_and_not_more_often() {
        let mut cadence = cadence(&[P0, P1]);
        cadence.on_moved(P0, Offset(0), 3);
        assert_eq!(tick(&mut cadence, ms(5)), [(P0, Offset(0))]);
        cadence.on_moved(P0, Offset(0), 3);
        cadence.on_committed(&[(P0, Offset(0))]);
        assert_eq!((cadence.deadline(), unfinished(&mut cadence)), (None, vec![]));
        cadence.on_moved(P0, Offset(0), 4);
        assert_eq!(cadence.deadline(), Some(ms(1_005)));
        assert_eq!(tick(&mut cadence, ms(1_004)), []);
        assert_eq!(tick(&mut cadence, ms(1_005)), [(P0, Offset(0))]);
    }

    #[test]
    fn what_was_finished_since_a_commit_went_out_goes_out_after_its_answer() {
        let mut cadence = cadence(&[P0]);
        cadence.on_moved(P0, Offset(0), 1);
        assert_eq!(tick(&mut cadence, ms(0)), [(P0, Offset(0))]);
        cadence.on_moved(P0, Offset(0), 2);
        assert_eq!(unfinished(&mut cadence), [(P0, Offset(0))]);
        cadence.on_committed(&[(P0, Offset(0))]);
        assert_eq!(unfinished(&mut cadence), [(P0, Offset(0))], "the answer was to the older one");
        cadence.on_committed_sync(&[(P0, Offset(0))]);
        assert_eq!(unfinished(&mut cadence), []);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Assign(i32, bool),
        Revoke(i32),
        Move(i32, i64),
        /// Something is finished beyond the watermark.
        Finish(i32),
        Wait(u64),
        Answer(bool),
        Sync,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            1 => (0..4, any::<bool>()).prop_map(|(partition, known)| Step::Assign(partition, known)),
            1 => (0..4).prop_map(Step::Revoke),
            6 => (0..4, 0..20_i64).prop_map(|(partition, by)| Step::Move(partition, by)),
            3 => (0..4).prop_map(Step::Finish),
            4 => (0..2_000_u64).prop_map(Step::Wait),
            4 => any::<bool>().prop_map(Step::Answer),
            1 => Just(Step::Sync),
        ]
    }

    /// A watermark and its revision.
    type Standing = (i64, u64);

    /// The owner and the broker: what is owned and how far it is, and what the group has.
    #[derive(Default)]
    struct World {
        now: Nanos,
        owned: BTreeMap<Partition, Standing>,
        group: BTreeMap<Partition, Standing>,
        in_flight: Option<Vec<(Partition, Standing)>>,
        last: Option<Nanos>,
    }

    impl World {
        /// What a commit of these offsets holds now.
        fn standings(&self, offsets: &[(Partition, Offset)]) -> Vec<(Partition, Standing)> {
            let standing = |&(partition, offset): &(Partition, Offset)| {
                let standing = self.owned[&partition];
                assert_eq!(standing.0, offset.0, "not its watermark");
                (partition, standing)
            };
            offsets.iter().map(standing).collect()
        }

        fn tick(&mut self, cadence: &mut Cadence) -> Result<(), TestCaseError> {
            let offsets = tick(cadence, self.now);
            if offsets.is_empty() {
                return Ok(());
            }
            prop_assert!(self.in_flight.is_none(), "two in flight");
            prop_assert!(self.last.is_none_or(|last| last + INTERVAL <= self.now), "too soon");
            self.last = Some(self.now);
            self.in_flight = Some(self.standings(&offsets));
            Ok(())
        }

        fn answer(&mut self, cadence: &mut Cadence, succeeds: bool) {
            if let Some(commits) = self.in_flight.take() {
                if succeeds {
                    self.group.extend(commits.iter().copied());
                    let offsets: Vec<_> = commits.iter().map(|(one, at)| (*one, Offset(at.0))).collect();
                    cadence.on_committed(&offsets);
                } else {
                    cadence.on_failed(self.now);
                }
            }
        }

        /// A new owner begins with what the group has, and counts revisions from there.
        fn assign(&mut self, partition: Partition) -> Option<i64> {
            // The coordinator serves what came before the question, even if its answer is still on
            // the way or gets lost.
            for (one, standing) in self.in_flight.iter_mut().flatten() {
                self.group.insert(*one, *standing);
                if *one == partition {
                    standing.1 = 0;
                }
            }
            let committed = self.group.get_mut(&partition).map(|standing| {
                standing.1 = 0;
                standing.0
            });
            self.owned.insert(partition, (committed.unwrap_or(10), 0));
            committed
        }
    }

    proptest! {
        #[test]
        fn every_schedule_ends_with_the_group_at_the_watermarks(
            steps in proptest::collection::vec(step(), 0..200),
        ) {
            let mut cadence = Cadence::new(INTERVAL);
            let mut world = World::default();
            for step in steps {
                match step {
                    Step::Assign(partition, known) => {
                        let partition = Partition(partition);
                        let committed = world.assign(partition);
                        let start = Offset(world.owned[&partition].0);
                        cadence.on_assigned(partition, start, committed.filter(|_| known).map(Offset));
                    }
                    Step::Revoke(partition) => {
                        cadence.on_revoked(Partition(partition));
                        world.owned.remove(&Partition(partition));
                    }
                    Step::Move(partition, by) => {
                        let at = world.owned.get_mut(&Partition(partition)).map_or((1_000, 1_000), |at| {
                            *at = (at.0 + by, at.1 + u64::from(by > 0));
                            *at
                        });
                        cadence.on_moved(Partition(partition), Offset(at.0), at.1);
                    }
                    Step::Finish(partition) => {
                        let at = world.owned.get_mut(&Partition(partition)).map_or((1_000, 1_000), |at| {
                            at.1 += 1;
                            *at
                        });
                        cadence.on_moved(Partition(partition), Offset(at.0), at.1);
                    }
                    Step::Wait(wait) => world.now = world.now + Duration::from_millis(wait),
                    Step::Answer(succeeds) => world.answer(&mut cadence, succeeds),
                    Step::Sync => {
                        world.answer(&mut cadence, false);
                        let offsets = unfinished(&mut cadence);
                        world.group.extend(world.standings(&offsets));
                        cadence.on_committed_sync(&offsets);
                    }
                }
                world.tick(&mut cadence)?;
            }
            // Two rounds end it: what is in flight, then what has moved since.
            for _ in 0..2 {
                world.answer(&mut cadence, true);
                world.now = cadence.deadline().map_or(world.now, |deadline| deadline.max(world.now));
                world.tick(&mut cadence)?;
            }
            world.answer(&mut cadence, true);
            prop_assert_eq!(cadence.deadline(), None);
            prop_assert_eq!(unfinished(&mut cadence), []);
            for (partition, at) in &world.owned {
                prop_assert_eq!(world.group.get(partition), Some(at));
            }
        }
    }
}
