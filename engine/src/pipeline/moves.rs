//! Partitions on their way from one poller of a thread to another. Pure.
//!
//! A move is the thread's own affair: the group does not hear of it, and nothing is committed for
//! it. A partition that is to move is no longer read; what was taken of it is delivered where it
//! was taken, and only when all of that is done does the other poller read on, from the watermark's
//! own position. So a move has no deadline: an invocation may last as long as it likes, and still a
//! partition is never under way twice, nor out of order, nor delivered again.
//!
//! What the group takes away it takes at once ([`Moves::cancel`]): a revocation waits for a move no
//! more than for anything else that is in flight.

use crate::ids::Partition;
use crate::time::Nanos;

/// The moves that have begun and are not over.
#[derive(Debug, Default)]
pub(super) struct Moves {
    waiting: Vec<Partition>,
    /// After a failure: when to try again.
    again_at: Option<Nanos>,
}

impl Moves {
    /// These are no longer read by their pollers.
    pub(super) fn begin(&mut self, partitions: &[Partition]) {
        debug_assert!(!partitions.iter().any(|one| self.waiting.contains(one)), "one move at a time");
        self.waiting.extend_from_slice(partitions);
    }

    /// These were taken away by the group: they do not move any more.
    pub(super) fn cancel(&mut self, partitions: &[Partition]) {
        self.waiting.retain(|partition| !partitions.contains(partition));
        if self.waiting.is_empty() {
            self.again_at = None;
        }
    }

    /// Those that can move now, which are no longer waited for. `parted` tells whether all that was
    /// taken of a partition is done.
    pub(super) fn ready(&mut self, now: Nanos, parted: impl Fn(Partition) -> bool) -> Vec<Partition> {
        if self.again_at.is_some_and(|at| now < at) {
            return Vec::new();
        }
        self.again_at = None;
        self.waiting.extract_if(.., |partition| parted(*partition)).collect()
    }

    /// These could not be moved yet: that is tried again at `at`.
    pub(super) fn put_off(&mut self, partitions: &[Partition], at: Nanos) {
        self.begin(partitions);
        self.again_at = Some(at);
    }

    /// When to ask [`Self::ready`] again though nothing has happened.
    pub(super) fn deadline(&self) -> Option<Nanos> {
        self.again_at
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const P: [Partition; 3] = [Partition(0), Partition(1), Partition(2)];

    #[test]
    fn each_moves_once_all_of_it_is_done_and_waits_for_no_other() {
        let mut moves = Moves::default();
        moves.begin(&P);
        assert_eq!(moves.ready(Nanos(1), |_| false), []);
        assert_eq!(moves.ready(Nanos(2), |partition| partition == P[1]), [P[1]]);
        assert_eq!(moves.deadline(), None, "however long the others take");
        assert_eq!(moves.ready(Nanos::NEVER, |_| true), [P[0], P[2]]);
        assert_eq!(moves.ready(Nanos::NEVER, |_| true), []);
    }

    #[test]
    fn what_the_group_takes_does_not_move() {
        let mut moves = Moves::default();
        moves.begin(&P);
        moves.cancel(&P[..2]);
        assert_eq!(moves.ready(Nanos(1), |_| true), [P[2]]);
    }

    #[test]
    fn what_could_not_be_moved_is_tried_again_and_not_at_once() {
        let mut moves = Moves::default();
        moves.begin(&P[..2]);
        let ready = moves.ready(Nanos(1), |partition| partition == P[0]);
        moves.put_off(&ready, Nanos(10));
        assert_eq!(moves.deadline(), Some(Nanos(10)));
        assert_eq!(moves.ready(Nanos(9), |_| true), []);
        assert_eq!(moves.ready(Nanos(10), |_| true), [P[1], P[0]]);
        assert_eq!(moves.deadline(), None);
    }

    #[test]
    fn nothing_is_tried_again_of_what_is_gone() {
        let mut moves = Moves::default();
        moves.put_off(&P[..1], Nanos(10));
        moves.cancel(&P);
        assert_eq!((moves.deadline(), moves.ready(Nanos(5), |_| true)), (None, vec![]));
    }

    /// What can happen to moves, in any order.
    #[derive(Clone, Debug)]
    enum Happens {
        Begin(Vec<i32>),
        Cancel(Vec<i32>),
        /// Time passes, all of these is done, and what is ready moves, or cannot.
        Ready {
            passes: u64,
            parted: Vec<i32>,
            moves: bool,
        },
    }

    fn happens() -> impl Strategy<Value = Happens> {
        let some = || prop::collection::btree_set(0..8, 0..8).prop_map(|some| some.into_iter().collect());
        prop_oneof![
            some().prop_map(Happens::Begin),
            some().prop_map(Happens::Cancel),
            (0_u64..20, some(), any::<bool>()).prop_map(|(passes, parted, moves)| Happens::Ready {
                passes,
                parted,
                moves
            }),
        ]
    }

    proptest! {
        #[test]
        fn what_was_begun_moves_once_if_it_is_not_cancelled(story in prop::collection::vec(happens(), 0..40)) {
            let (mut moves, mut waiting) = (Moves::default(), BTreeSet::new());
            let (mut now, mut again_at) = (0, 0);
            for happens in story {
                match happens {
                    Happens::Begin(some) => {
                        // A partition that waits is not read, so that it is not told to move again.
                        let new: Vec<_> =
                            some.into_iter().map(Partition).filter(|one| !waiting.contains(one)).collect();
                        moves.begin(&new);
                        waiting.extend(new);
                    }
                    Happens::Cancel(some) => {
                        let gone: Vec<_> = some.into_iter().map(Partition).collect();
                        moves.cancel(&gone);
                        waiting.retain(|one| !gone.contains(one));
                        if waiting.is_empty() {
                            again_at = 0;
                        }
                    }
                    Happens::Ready { passes, parted, moves: succeeds } => {
                        now += passes;
                        let ready = moves.ready(Nanos(now), |one| parted.contains(&one.0));
                        let expected: BTreeSet<_> = if now < again_at {
                            BTreeSet::new()
                        } else {
                            waiting.iter().copied().filter(|one| parted.contains(&one.0)).collect()
                        };
                        prop_assert_eq!(ready.iter().copied().collect::<BTreeSet<_>>(), expected);
                        if ready.is_empty() {
                            continue;
                        }
                        if succeeds {
                            waiting.retain(|one| !ready.contains(one));
                        } else {
                            again_at = now + 10;
                            moves.put_off(&ready, Nanos(again_at));
                            prop_assert_eq!(moves.deadline(), Some(Nanos(again_at)));
                        }
                    }
                }
            }
        }
    }
}
