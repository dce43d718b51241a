//! The first offset of a partition that is not yet done.

use std::collections::VecDeque;

use super::finished::{Finished, Span};
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
    /// Records are said to have been finished before that were not.
    #[error("offsets {first} to {last} were not all finished before: they are to be delivered")]
    NotFinished {
        /// The first of them.
        first: Offset,
        /// The last of them.
        last: Offset,
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

/// Offsets `first` to `last`, both included, that were taken and are not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Undone {
    first: Offset,
    last: Offset,
    /// One past the last finished record between the undone span before this one and this. If that
    /// is not beyond the span before, none is: what lies between never existed, or was filtered out.
    finished: Offset,
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
/// What is done beyond an undone record is [`finished`](Self::finished). It goes along with the
/// commit, and a later watermark that [resumes](Self::resume) with it is told when those records
/// are [read again](Self::on_resumed), and not to be delivered.
///
/// Memory: 24 bytes for each undone span. Neighbouring spans merge, so a partition that is read
/// and done in order has one; taking adds at most one, and so does a range that is done in the
/// middle of another. The room is kept, so a steady state does not allocate.
///
/// A new assignment of a partition begins with [`Watermark::new`] or [`Watermark::resume`], and a
/// log that begins anew with [`reset`](Self::reset).
#[derive(Clone, Debug)]
pub struct Watermark {
    /// Everything below was taken, or does not exist.
    position: Offset,
    /// Taken and not done: ascending, apart from each other, all below `position`.
    undone: VecDeque<Undone>,
    /// One past the last finished record behind the last undone span, as in [`Undone::finished`].
    finished: Offset,
    /// Finished before the partition was assigned, and not read again yet: not below `position`.
    resumed: Finished,
    revision: u64,
}

impl Watermark {
    /// Room for this many undone spans is made at the start.
    const SPANS: usize = 16;

    /// A partition of which nothing was taken yet, read from `start`: a real offset, not one of
    /// librdkafka's negative words for "beginning" or "end".
    #[must_use]
    pub fn new(start: Offset) -> Self {
        Self::resume(start, Finished::none())
    }

    /// As [`new`](Self::new), for a partition of which `finished` was finished by whoever read it
    /// before. What of it lies below `start` does not matter.
    #[must_use]
    pub fn resume(start: Offset, mut finished: Finished) -> Self {
        debug_assert!(start.0 >= 0, "{start} is not an offset");
        finished.take_below(start);
        Self {
            position: start,
            undone: VecDeque::with_capacity(Self::SPANS),
            finished: start,
            resumed: finished,
            revision: 0,
        }
    }

    /// Forgets everything and begins at `start`, as a new one would, but keeps the memory. The
    /// [`revision`](Self::revision) goes on.
    pub fn reset(&mut self, start: Offset) {
        debug_assert!(start.0 >= 0, "{start} is not an offset");
        self.position = start;
        self.undone.clear();
        self.finished = start;
        self.resumed.clear();
        self.revision += 1;
    }

    /// The records from `first` to `last` (included) left the queue: into a batch, or to be
    /// skipped. Offsets only go up; there may be gaps before and inside the range. Whatever was
    /// known to be [finished](Self::resumed) in the range is to be done anew.
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
        if !self.resumed.is_empty() {
            self.pass_resumed(first);
            self.revision += u64::from(self.resumed.take_below(last.next()).is_some());
        }
        match self.undone.back_mut() {
            Some(back) if back.last.next() == first => back.last = last,
            back => {
                // Where all was done, a gap before the record is now below the watermark.
                self.revision += u64::from(back.is_none() && self.position < first);
                self.undone.push_back(Undone { first, last, finished: self.finished });
            }
        }
        self.position = last.next();
        Ok(())
    }

    /// The records from `first` to `last` (included) were read, and are among those that were
    /// [finished](Self::resumed) before: they are done. Offsets only go up, as in
    /// [`on_taken`](Self::on_taken).
    ///
    /// # Errors
    /// As [`on_taken`](Self::on_taken), and [`CommitError::NotFinished`].
    pub fn on_resumed(&mut self, first: Offset, last: Offset) -> Result<(), CommitError> {
        if last < first {
            return Err(CommitError::NoRange { first, last });
        }
        if first < self.position {
            return Err(CommitError::Backwards { first, position: self.position });
        }
        let span = self.resumed.spans().find(|span| first <= span.last);
        if span.is_none_or(|span| first < span.first || span.last < last) {
            return Err(CommitError::NotFinished { first, last });
        }
        // Behind an undone record, or more of these, they are finished as before.
        let behind = self.undone.back().map(|back| back.last.next().max(self.finished));
        self.revision += u64::from(behind != Some(first));
        self.resumed.take_below(last.next());
        self.finished = last.next();
        self.position = last.next();
        Ok(())
    }

    /// What of the resumed offsets lies below `end` will not be read any more. It stays finished.
    fn pass_resumed(&mut self, end: Offset) {
        if let Some(passed) = self.resumed.take_below(end) {
            self.finished = passed;
            self.revision += 1;
        }
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
        let after =
            Undone { first: last.next(), last: self.undone[touched.end - 1].last, finished: last.next() };
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
        } else {
            let behind =
                self.undone.get_mut(touched.end).map_or(&mut self.finished, |next| &mut next.finished);
            *behind = (*behind).max(last.next());
        }
        self.undone.drain(touched);
        self.revision += 1;
        Ok(())
    }

    /// Everything below `offset` was handed over, whether as records or as offsets that hold none:
    /// the end of the partition was met there. Lets the watermark pass what lies behind the last
    /// record (a transaction's marker, say), so that the lag of an idle partition is zero.
    ///
    /// Only moves forward; an old end is ignored.
    pub fn on_reached(&mut self, offset: Offset) {
        if offset <= self.position {
            return;
        }
        if !self.resumed.is_empty() {
            self.pass_resumed(offset);
        }
        self.revision += u64::from(self.undone.is_empty());
        self.position = offset;
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

    /// What is done beyond [`committable`](Self::committable), ascending and apart, offsets without
    /// records in between included. Records that were filtered out are no part of it by themselves:
    /// they cost nothing to read again, and would cost a span each.
    ///
    /// What was finished before the partition was assigned is part of it until the watermark has
    /// passed it, whether read again or not.
    pub fn finished(&self) -> impl Iterator<Item = Span> + '_ {
        let between = self.undone.iter().zip(self.undone.iter().skip(1));
        let between = between.filter_map(|(before, span)| finished_between(before.last, span.finished));
        let behind = self.undone.back().and_then(|back| finished_between(back.last, self.finished));
        // Those that are read again by and by are one with the rest of theirs.
        let joined = behind.and_then(|behind| {
            let first = self.resumed.first().filter(|first| first.first == behind.last.next())?;
            Some(Span { first: behind.first, last: first.last })
        });
        let resumed = self.resumed.spans().skip(usize::from(joined.is_some()));
        between.chain(joined.or(behind)).chain(resumed)
    }

    /// The next records that were finished before the partition was assigned, and were not read
    /// again yet: [`on_resumed`](Self::on_resumed) is to be called for them, and nothing else.
    #[must_use]
    pub fn resumed(&self) -> Option<Span> {
        self.resumed.first()
    }

    /// A number that grows whenever [`committable`](Self::committable) or
    /// [`finished`](Self::finished) change. 0 at first.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.revision
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

/// What lies behind an undone span's `last` and below `end`, if anything.
fn finished_between(last: Offset, end: Offset) -> Option<Span> {
    (last.next() < end).then(|| Span { first: last.next(), last: Offset(end.0 - 1) })
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

    fn finished(watermark: &Watermark) -> Vec<(i64, i64)> {
        watermark.finished().map(|span| (span.first.0, span.last.0)).collect()
    }

    fn resumed(start: i64, spans: &[(i64, i64)]) -> Watermark {
        let mut finished = Finished::none();
        for &(first, last) in spans {
            assert!(finished.push(Span { first: Offset(first), last: Offset(last) }));
        }
        Watermark::resume(Offset(start), finished)
    }

    #[test]
    fn what_is_done_beyond_an_undone_record_is_finished_until_the_watermark_passes_it() {
        let mut watermark = watermark(0, &[(0, 9), (10, 19), (20, 29)]);
        assert_eq!(finished(&watermark), []);
        done(&mut watermark, 10, 19);
        done(&mut watermark, 3, 4);
        assert_eq!(finished(&watermark), [(3, 4), (10, 19)]);
        done(&mut watermark, 25, 29);
        assert_eq!(finished(&watermark), [(3, 4), (10, 19), (25, 29)]);
        assert_eq!(done(&mut watermark, 0, 2), 5);
        assert_eq!(finished(&watermark), [(10, 19), (25, 29)]);
        assert_eq!(done(&mut watermark, 0, 29), 30);
        assert_eq!(finished(&watermark), []);
    }

    #[test]
    fn gaps_and_what_was_filtered_out_cost_no_span() {
        let mut watermark = watermark(0, &[(0, 4), (8, 9), (20, 24)]);
        watermark.on_reached(Offset(30));
        watermark.on_taken(Offset(40), Offset(41)).unwrap();
        assert_eq!((finished(&watermark), watermark.spans()), (vec![], 4));
        done(&mut watermark, 20, 24);
        assert_eq!(finished(&watermark), [(10, 24)], "with the gap before it, that is no other span");
    }

    #[test]
    fn a_resumed_watermark_skips_what_was_finished_and_commits_it_again_until_it_is_passed() {
        let mut watermark = resumed(10, &[(12, 14), (20, 29)]);
        assert_eq!((watermark.committable(), watermark.revision()), (Offset(10), 0));
        assert_eq!(finished(&watermark), [(12, 14), (20, 29)]);
        watermark.on_taken(Offset(10), Offset(11)).unwrap();
        watermark.on_resumed(Offset(12), Offset(14)).unwrap();
        watermark.on_taken(Offset(15), Offset(19)).unwrap();
        watermark.on_resumed(Offset(20), Offset(24)).unwrap();
        assert_eq!(finished(&watermark), [(12, 14), (20, 29)]);
        assert_eq!(watermark.resumed(), Some(Span { first: Offset(25), last: Offset(29) }));
        assert_eq!(done(&mut watermark, 10, 11), 15);
        assert_eq!(finished(&watermark), [(20, 29)]);
        assert_eq!(done(&mut watermark, 15, 19), 25);
        watermark.on_resumed(Offset(25), Offset(29)).unwrap();
        assert_eq!((watermark.committable(), watermark.resumed()), (Offset(30), None));
        assert_eq!(finished(&watermark), []);
    }

    #[test]
    fn finished_records_that_are_gone_are_passed_with_the_gap_they_left() {
        let mut watermark = resumed(10, &[(12, 14), (20, 29)]);
        watermark.on_taken(Offset(10), Offset(11)).unwrap();
        watermark.on_taken(Offset(30), Offset(31)).unwrap();
        assert_eq!((watermark.resumed(), finished(&watermark)), (None, vec![(12, 29)]));
        assert_eq!(done(&mut watermark, 10, 11), 30);
    }

    #[test]
    fn what_was_finished_and_is_taken_all_the_same_is_to_be_done_anew() {
        let mut watermark = resumed(0, &[(2, 9)]);
        watermark.on_taken(Offset(0), Offset(5)).unwrap();
        assert_eq!(finished(&watermark), [(6, 9)]);
        assert_eq!(done(&mut watermark, 0, 4), 5);
    }

    #[test]
    fn only_what_was_finished_can_be_resumed() {
        let mut watermark = resumed(0, &[(2, 4), (6, 9)]);
        for (first, last) in [(0, 1), (1, 2), (3, 5), (4, 6), (9, 10), (12, 13)] {
            let (first, last) = (Offset(first), Offset(last));
            assert_eq!(watermark.on_resumed(first, last), Err(CommitError::NotFinished { first, last }));
        }
        assert_eq!((watermark.position(), finished(&watermark)), (Offset(0), vec![(2, 4), (6, 9)]));
        watermark.on_resumed(Offset(3), Offset(3)).unwrap();
        let (first, position) = (Offset(3), Offset(4));
        assert_eq!(watermark.on_resumed(first, first), Err(CommitError::Backwards { first, position }));
    }

    #[test]
    fn a_reset_forgets_what_was_finished_in_the_old_log() {
        let mut watermark = resumed(10, &[(12, 14)]);
        watermark.on_taken(Offset(10), Offset(11)).unwrap();
        watermark.reset(Offset(3));
        watermark.on_taken(Offset(3), Offset(20)).unwrap();
        assert_eq!((watermark.resumed(), finished(&watermark)), (None, vec![]));
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

    /// The slow truth: every undone offset by itself, and every one that was taken and is done.
    struct Model {
        position: i64,
        undone: BTreeSet<i64>,
        done: BTreeSet<i64>,
    }

    impl Model {
        fn committable(&self) -> i64 {
            self.undone.first().copied().unwrap_or(self.position)
        }

        fn new(position: i64) -> Self {
            Self { position, undone: BTreeSet::new(), done: BTreeSet::new() }
        }

        fn finish(&mut self, first: i64, last: i64) {
            let done = self.undone.extract_if(first..=last, |_| true);
            self.done.extend(done);
        }

        /// Whether `spans` say all that is done beyond the watermark, and nothing undone.
        fn agrees(&self, spans: &[(i64, i64)]) -> bool {
            let is_said = |offset: i64| spans.iter().any(|(first, last)| (*first..=*last).contains(&offset));
            let beyond = self.committable()..;
            spans
                .iter()
                .all(|(first, last)| first <= last && self.committable() <= *first && *last < self.position)
                && spans.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0)
                && spans.iter().all(|(first, last)| self.done.range(*first..=*last).next().is_some())
                && self.done.range(beyond).all(|offset| is_said(*offset))
                && !self.undone.iter().any(|offset| is_said(*offset))
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
            let mut model = Model::new(start);
            let mut taken = Vec::new();
            for step in steps {
                let before = model.committable();
                let said = (finished(&watermark), watermark.committable(), watermark.revision());
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
                        model.finish(first, last);
                    }
                    Step::Finish { .. } => {}
                    Step::Done { back, len } => {
                        let (first, last) = (model.position - back, model.position - back + len - 1);
                        let answer = watermark.on_done(Offset(first), Offset(last));
                        prop_assert_eq!(answer.is_ok(), len >= 1 && last < model.position);
                        if answer.is_ok() {
                            model.finish(first, last);
                        }
                    }
                    Step::Reach { ahead } => {
                        watermark.on_reached(Offset(model.position + ahead));
                        model.position += ahead.max(0);
                    }
                    Step::Reset { start } => {
                        watermark.reset(Offset(start));
                        model = Model::new(start);
                        taken.clear();
                        restarted = true;
                    }
                }
                prop_assert_eq!(watermark.committable(), Offset(model.committable()));
                prop_assert_eq!(watermark.position(), Offset(model.position));
                prop_assert_eq!(watermark.is_idle(), model.undone.is_empty());
                prop_assert_eq!(watermark.spans(), model.runs());
                prop_assert!(restarted || before <= model.committable(), "moved back");
                let says = (finished(&watermark), watermark.committable(), watermark.revision());
                prop_assert!(model.agrees(&says.0), "{:?}", says.0);
                prop_assert!(said.2 < says.2 || said == says, "another revision: {said:?}, {says:?}");
            }
        }
    }
}
