//! The first offset of a partition that is not yet done.

use std::collections::VecDeque;

use crate::ids::Offset;

/// Why a watermark refuses what it is told. Each of these is a mistake of the caller; the
/// watermark is left as it was, so the worst that follows is that it does not move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// A range that ends before it begins.
    #[error("offsets {first} to {last} are no range: the last is included and must not lie before the first")]
    NoRange {
        /// Its first offset.
        first: Offset,
        /// Its last offset.
        last: Offset,
    },
    /// Records were taken that lie before others taken earlier.
    #[error(
        "offset {first} was taken after everything below {position}; if the log was truncated, start the \
         watermark again at {first}"
    )]
    Backwards {
        /// The first offset taken.
        first: Offset,
        /// What may be taken at the earliest.
        position: Offset,
    },
    /// Records are said to be done that were never taken.
    #[error(
        "offset {last} cannot be done: only those below {position} were taken; an answer from before a \
         rebalance must be dropped with its partition"
    )]
    NotTaken {
        /// The last offset said to be done.
        last: Offset,
        /// What was taken lies below this.
        position: Offset,
    },
}

/// Offsets `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    first: Offset,
    last: Offset,
}

/// What of one partition has been taken into batches, and what of that is done.
///
/// Tell it what was taken ([`on_taken`](Self::on_taken)), in order, and what is done
/// ([`on_done`](Self::on_done)), in any order; [`committable`](Self::committable) is then the
/// offset to commit. As Kafka has it, this is the offset of the next record to read, one past the
/// last that is done; AWS's mapping commits the same (its log shows `processedOffset` 5003 with
/// `committedOffset` 5004).
///
/// It never passes an undone record. It never stalls at a gap either: offsets that do not exist
/// (compaction, transaction markers, aborted transactions) are never waited for, because only
/// taken and undone spans are kept.
///
/// Memory: 16 bytes for each undone span. Neighbouring spans merge, so a partition that is read
/// and done in order has one; taking adds at most one, and so does a range that is done in the
/// middle of another. The room is kept, so a steady state does not allocate.
///
/// A new assignment of a partition begins with [`Watermark::new`] or [`reset`](Self::reset).
#[derive(Clone, Debug)]
pub struct Watermark {
    /// Everything below was taken, or does not exist.
    position: Offset,
    /// Taken and not done: ascending, apart from each other, all below `position`.
    undone: VecDeque<Span>,
}

impl Watermark {
    /// Room for this many undone spans is made at the start.
    const SPANS: usize = 16;

    /// A partition of which nothing was taken yet, read from `start`: a real offset, not one of
    /// librdkafka's negative words for "beginning" or "end".
    #[must_use]
    pub fn new(start: Offset) -> Self {
        debug_assert!(start.0 >= 0, "{start} is not an offset");
        Self { position: start, undone: VecDeque::with_capacity(Self::SPANS) }
    }

    /// Forgets everything and begins at `start`, as a new one would, but keeps the memory.
    pub fn reset(&mut self, start: Offset) {
        debug_assert!(start.0 >= 0, "{start} is not an offset");
        self.position = start;
        self.undone.clear();
    }

    /// The records from `first` to `last` (included) left the queue: into a batch, or to be
    /// skipped. Offsets only go up; there may be gaps before and inside the range.
    ///
    /// # Errors
    /// [`CommitError::Backwards`] if `first` lies below [`position`](Self::position),
    /// [`CommitError::NoRange`]. Nothing is changed then.
    pub fn on_taken(&mut self, first: Offset, last: Offset) -> Result<(), CommitError> {
        if last < first {
            return Err(CommitError::NoRange { first, last });
        }
        if first < self.position {
            return Err(CommitError::Backwards { first, position: self.position });
        }
        match self.undone.back_mut() {
            Some(back) if back.last.next() == first => back.last = last,
            _ => self.undone.push_back(Span { first, last }),
        }
        self.position = last.next();
        Ok(())
    }

    /// The records from `first` to `last` (included) are done: delivered, given up, or skipped.
    ///
    /// Everything in the range counts as done, offsets that do not exist included. So a range that
    /// was taken and is done in pieces must be covered by them: let each piece reach up to just
    /// below the next record, or a gap between two pieces would be waited for.
    ///
    /// What is done already may be done again; that changes nothing.
    ///
    /// Costs O(1) at the front, which is where records are done in order; else a binary search and
    /// the move of the spans on the shorter side.
    ///
    /// # Errors
    /// [`CommitError::NotTaken`] if `last` is not below [`position`](Self::position),
    /// [`CommitError::NoRange`]. Nothing is changed then.
    pub fn on_done(&mut self, first: Offset, last: Offset) -> Result<(), CommitError> {
        if last < first {
            return Err(CommitError::NoRange { first, last });
        }
        if self.position <= last {
            return Err(CommitError::NotTaken { last, position: self.position });
        }
        // The spans that the range touches, and what it leaves of the outermost two. In order, they
        // begin at the front: no search. Counting them is paid for by their removal.
        let start = match self.undone.front() {
            Some(front) if first <= front.last => 0,
            _ => self.undone.partition_point(|span| span.last < first),
        };
        let count = self.undone.range(start..).take_while(|span| span.first <= last).count();
        let mut touched = start..start + count;
        if touched.is_empty() {
            return Ok(());
        }
        let after = Span { first: last.next(), last: self.undone[touched.end - 1].last };
        let outermost = &mut self.undone[touched.start];
        if outermost.first < first {
            outermost.last = Offset(first.0 - 1);
            touched.start += 1;
        }
        if last < after.last {
            if touched.is_empty() {
                self.undone.insert(touched.start, after);
            } else {
                touched.end -= 1;
                self.undone[touched.end] = after;
            }
        }
        self.undone.drain(touched);
        Ok(())
    }

    /// Everything below `offset` was handed over, whether as records or as offsets that hold none:
    /// the end of the partition was met there. Lets the watermark pass what lies behind the last
    /// record (a transaction's marker, say), so that the lag of an idle partition is zero.
    ///
    /// Only moves forward; an old end is ignored.
    pub fn on_reached(&mut self, offset: Offset) {
        self.position = self.position.max(offset);
    }

    /// The first offset not done: what to commit.
    #[must_use]
    pub fn committable(&self) -> Offset {
        self.undone.front().map_or(self.position, |span| span.first)
    }

    /// One past what was taken or reached: where the next record is expected, or later.
    #[must_use]
    pub fn position(&self) -> Offset {
        self.position
    }

    /// Whether all that was taken is done.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.undone.is_empty()
    }

    /// Undone spans kept: what the memory is for.
    #[must_use]
    pub fn spans(&self) -> usize {
        self.undone.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn watermark(start: i64, taken: &[(i64, i64)]) -> Watermark {
        let mut watermark = Watermark::new(Offset(start));
        for &(first, last) in taken {
            watermark.on_taken(Offset(first), Offset(last)).unwrap();
        }
        watermark
    }

    fn done(watermark: &mut Watermark, first: i64, last: i64) -> i64 {
        watermark.on_done(Offset(first), Offset(last)).unwrap();
        watermark.committable().0
    }

    #[test]
    fn a_new_partition_may_commit_where_it_starts() {
        let watermark = watermark(40, &[]);
        assert_eq!((watermark.committable(), watermark.position()), (Offset(40), Offset(40)));
        assert!(watermark.is_idle());
    }

    #[test]
    fn the_committed_offset_is_one_past_the_last_done() {
        let mut watermark = watermark(5_000, &[(5_000, 5_003)]);
        assert_eq!(done(&mut watermark, 5_000, 5_003), 5_004);
    }

    #[test]
    fn commit_never_passes_an_unfinished_record() {
        let mut watermark = watermark(0, &[(0, 9), (10, 19), (20, 29)]);
        assert_eq!(done(&mut watermark, 10, 19), 0);
        assert_eq!(done(&mut watermark, 20, 29), 0);
        assert_eq!(done(&mut watermark, 1, 9), 0);
        assert_eq!(done(&mut watermark, 0, 0), 30);
    }

    #[test]
    fn a_gap_before_the_first_record_does_not_stall() {
        let mut watermark = watermark(0, &[(7, 9)]);
        assert_eq!(watermark.committable(), Offset(7));
        assert_eq!(done(&mut watermark, 7, 9), 10);
    }

    #[test]
    fn a_gap_between_records_does_not_stall() {
        let mut watermark = watermark(0, &[(0, 4), (8, 9)]);
        assert_eq!(done(&mut watermark, 0, 4), 8);
        assert_eq!(done(&mut watermark, 8, 9), 10);
    }

    #[test]
    fn a_range_that_is_done_covers_the_gaps_inside() {
        let mut watermark = watermark(0, &[(0, 4), (8, 9), (20, 20)]);
        assert_eq!(done(&mut watermark, 0, 9), 20);
    }

    #[test]
    fn the_end_of_the_partition_carries_the_watermark_past_a_transaction_marker() {
        let mut watermark = watermark(0, &[(0, 4)]);
        watermark.on_reached(Offset(6));
        assert_eq!(watermark.committable(), Offset(0));
        assert_eq!(done(&mut watermark, 0, 4), 6);
        watermark.on_reached(Offset(7));
        assert_eq!(watermark.committable(), Offset(7));
    }

    #[test]
    fn an_old_end_of_the_partition_is_ignored() {
        let mut watermark = watermark(0, &[(0, 4)]);
        watermark.on_reached(Offset(3));
        assert_eq!(watermark.position(), Offset(5));
        assert_eq!(done(&mut watermark, 0, 4), 5);
    }

    #[test]
    fn done_twice_is_done() {
        let mut watermark = watermark(0, &[(0, 9)]);
        assert_eq!(done(&mut watermark, 0, 4), 5);
        assert_eq!(done(&mut watermark, 0, 4), 5);
        assert_eq!(done(&mut watermark, 2, 6), 7);
    }

    #[test]
    fn a_partition_in_order_keeps_one_span() {
        let mut watermark = watermark(0, &[]);
        for batch in 0..1_000 {
            watermark.on_taken(Offset(batch * 10), Offset(batch * 10 + 9)).unwrap();
            assert_eq!(watermark.spans(), 1);
            if batch % 3 == 2 {
                done(&mut watermark, (batch - 3) * 10, batch * 10 - 1);
            }
        }
    }

    #[test]
    fn a_reset_forgets_what_was_in_flight() {
        let mut watermark = watermark(0, &[(0, 9)]);
        watermark.reset(Offset(4));
        assert_eq!((watermark.committable(), watermark.is_idle()), (Offset(4), true));
        assert!(watermark.on_done(Offset(0), Offset(9)).is_err());
        assert_eq!(watermark.committable(), Offset(4));
    }

    #[test]
    fn misuse_is_refused_and_changes_nothing() {
        let mut watermark = watermark(0, &[(0, 4), (6, 9)]);
        let (first, last, position) = (Offset(8), Offset(10), Offset(10));
        assert_eq!(watermark.on_taken(first, last), Err(CommitError::Backwards { first, position }));
        assert_eq!(watermark.on_done(first, last), Err(CommitError::NotTaken { last, position }));
        let (first, last) = (Offset(12), Offset(11));
        assert_eq!(watermark.on_taken(first, last), Err(CommitError::NoRange { first, last }));
        assert_eq!(watermark.on_done(first, last), Err(CommitError::NoRange { first, last }));
        assert_eq!((watermark.position(), watermark.spans()), (position, 2));
        assert_eq!(done(&mut watermark, 0, 9), 10);
    }

    /// The slow truth: every undone offset by itself.
    struct Model {
        position: i64,
        undone: BTreeSet<i64>,
    }

    impl Model {
        fn committable(&self) -> i64 {
            self.undone.first().copied().unwrap_or(self.position)
        }

        /// Maximal runs of neighbouring undone offsets.
        fn runs(&self) -> usize {
            self.undone.iter().filter(|&&offset| !self.undone.contains(&(offset - 1))).count()
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Take {
            gap: i64,
            len: i64,
        },
        /// Of the spans taken and not yet finished: one of them, by its place, as a whole.
        Finish {
            place: prop::sample::Index,
        },
        /// Any range at all, relative to the position: misuse included.
        Done {
            back: i64,
            len: i64,
        },
        Reach {
            ahead: i64,
        },
        Reset {
            start: i64,
        },
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (prop_oneof![3 => Just(0), 1 => 0..5_i64], 1..20_i64).prop_map(|(gap, len)| Step::Take { gap, len }),
            6 => any::<prop::sample::Index>().prop_map(|place| Step::Finish { place }),
            3 => (-3..60_i64, -1..30_i64).prop_map(|(back, len)| Step::Done { back, len }),
            1 => (-5..5_i64).prop_map(|ahead| Step::Reach { ahead }),
            1 => (0..50_i64).prop_map(|start| Step::Reset { start }),
        ]
    }

    proptest! {
        #[test]
        fn the_watermark_is_what_a_set_of_undone_offsets_says(
            start in 0..100_i64,
            steps in proptest::collection::vec(step(), 0..200),
        ) {
            let mut watermark = Watermark::new(Offset(start));
            let mut model = Model { position: start, undone: BTreeSet::new() };
            let mut taken = Vec::new();
            for step in steps {
                let before = model.committable();
                let mut restarted = false;
                match step {
                    Step::Take { gap, len } => {
                        let (first, last) = (model.position + gap, model.position + gap + len - 1);
                        prop_assert_eq!(watermark.on_taken(Offset(first), Offset(last)), Ok(()));
                        model.undone.extend(first..=last);
                        model.position = last + 1;
                        taken.push((first, last));
                    }
                    Step::Finish { place } if !taken.is_empty() => {
                        let (first, last) = taken.swap_remove(place.index(taken.len()));
                        prop_assert_eq!(watermark.on_done(Offset(first), Offset(last)), Ok(()));
                        model.undone.retain(|offset| !(first..=last).contains(offset));
                    }
                    Step::Finish { .. } => {}
                    Step::Done { back, len } => {
                        let (first, last) = (model.position - back, model.position - back + len - 1);
                        let answer = watermark.on_done(Offset(first), Offset(last));
                        prop_assert_eq!(answer.is_ok(), len >= 1 && last < model.position);
                        if answer.is_ok() {
                            model.undone.retain(|offset| !(first..=last).contains(offset));
                        }
                    }
                    Step::Reach { ahead } => {
                        watermark.on_reached(Offset(model.position + ahead));
                        model.position += ahead.max(0);
                    }
                    Step::Reset { start } => {
                        watermark.reset(Offset(start));
                        model = Model { position: start, undone: BTreeSet::new() };
                        taken.clear();
                        restarted = true;
                    }
                }
                prop_assert_eq!(watermark.committable(), Offset(model.committable()));
                prop_assert_eq!(watermark.position(), Offset(model.position));
                prop_assert_eq!(watermark.is_idle(), model.undone.is_empty());
                prop_assert_eq!(watermark.spans(), model.runs());
                prop_assert!(restarted || before <= model.committable(), "moved back");
            }
        }
    }
}
