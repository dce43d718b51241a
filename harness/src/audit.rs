//! A ledger of every offset: lost, delivered twice, out of order.
//!
//! The audit sees batches in the order in which the function acknowledged them, and commits
//! between them. Records that arrive as they should cost a comparison per run and no memory;
//! only what went wrong is remembered.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

/// What went wrong, and how often. All zero is a clean run.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Verdict {
    /// Records delivered, each counted once.
    pub records_delivered: u64,
    /// Records that the engine filtered out, in order, instead of delivering them.
    #[serde(default)]
    pub records_filtered: u64,
    /// Records that were sent and neither delivered nor filtered out.
    pub records_lost: u64,
    /// Deliveries of records that had been delivered before.
    pub records_duplicated: u64,
    /// Records delivered after a later record of the same partition.
    pub records_out_of_order: u64,
    /// Deliveries of offsets that were never sent: another writer, or a broken engine.
    pub records_foreign: u64,
    /// Commits past a record that was not delivered at that time.
    pub commits_early: u64,
    /// Commits behind an earlier commit of the same partition.
    pub commits_backwards: u64,
    /// Records delivered and not committed at the end.
    pub records_uncommitted: u64,
    /// The first few offsets that are missing, for the person who must look.
    pub lost_examples: Vec<LostRange>,
}

/// Offsets that were never delivered.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LostRange {
    /// The partition.
    pub partition: i32,
    /// The first of them.
    pub first_offset: i64,
    /// The last of them.
    pub last_offset: i64,
}

/// How many lost ranges a verdict shows.
const LOST_EXAMPLES_MAX: usize = 8;

impl Verdict {
    /// Whether every record was delivered exactly once, in order, or filtered out, and committed after
    /// that.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let (records_delivered, records_filtered) = (self.records_delivered, self.records_filtered);
        *self == Self { records_delivered, records_filtered, ..Self::default() }
    }
}

/// The ledger of a topic.
#[derive(Debug)]
pub struct Audit {
    partitions: Vec<Ledger>,
    duplicated: u64,
    out_of_order: u64,
    commits_early: u64,
    commits_backwards: u64,
}

#[derive(Debug)]
struct Ledger {
    start: i64,
    /// One past the highest offset delivered, and past what was filtered out right behind it.
    next: i64,
    /// Delivered offsets below `next`.
    delivered: u64,
    /// Offsets below `next` that were not delivered: first → one past the last. Ranges neither
    /// touch nor overlap.
    missing: BTreeMap<i64, i64>,
    /// Filtered out, and not below `next`: records before them are under way. Ascending.
    ahead: VecDeque<Range<i64>>,
    /// Offsets below `next` that were filtered out.
    filtered: u64,
    committed: i64,
}

impl Audit {
    /// An audit of partitions `0..starts.len()`, whose first offsets of this run are `starts`.
    #[must_use]
    pub fn new(starts: &[i64]) -> Self {
        let ledger = |start: &i64| Ledger {
            start: *start,
            next: *start,
            delivered: 0,
            missing: BTreeMap::new(),
            ahead: VecDeque::new(),
            filtered: 0,
            committed: *start,
        };
        Self {
            partitions: starts.iter().map(ledger).collect(),
            duplicated: 0,
            out_of_order: 0,
            commits_early: 0,
            commits_backwards: 0,
        }
    }

    /// The function acknowledged these offsets of `partition`, all of them. Returns those that
    /// were delivered for the first time *and* in order: the part of the run that a latency may
    /// be taken of.
    ///
    /// # Panics
    /// If there is no such partition.
    pub fn on_delivered(&mut self, partition: usize, offsets: Range<i64>) -> Range<i64> {
        let ledger = &mut self.partitions[partition];
        if offsets.start == ledger.next && !offsets.is_empty() {
            ledger.next = offsets.end;
            ledger.delivered += count(&offsets);
            ledger.pass_filtered();
            return offsets;
        }
        let old = offsets.start..offsets.end.min(ledger.next);
        if !old.is_empty() {
            let late = ledger.fill(&old);
            self.out_of_order += late;
            self.duplicated += count(&old) - late;
        }
        let new = offsets.start.max(ledger.next)..offsets.end;
        if new.is_empty() {
            return new.end..new.end;
        }
        if new.start > ledger.next {
            ledger.missing.insert(ledger.next, new.start);
        }
        ledger.next = new.end;
        ledger.delivered += count(&new);
        ledger.pass_filtered();
        new
    }

    /// The engine filtered these offsets of `partition` out as it read them: they are done, and are
    /// passed as soon as everything before them is. What was passed before is read again after a
    /// rebalance, and is no news.
    ///
    /// # Panics
    /// If there is no such partition.
    pub fn on_filtered(&mut self, partition: usize, offsets: Range<i64>) {
        let ledger = &mut self.partitions[partition];
        let known = ledger.ahead.back().map_or(ledger.next, |last| last.end).max(ledger.next);
        match ledger.ahead.back_mut() {
            Some(last) if last.end == offsets.start => last.end = offsets.end,
            _ if offsets.end > known => ledger.ahead.push_back(offsets.start.max(known)..offsets.end),
            _ => {}
        }
        ledger.pass_filtered();
    }

    /// The broker acknowledged a commit: everything of `partition` below `offset` is done.
    ///
    /// # Panics
    /// If there is no such partition.
    pub fn on_committed(&mut self, partition: usize, offset: i64) {
        let ledger = &mut self.partitions[partition];
        if offset > ledger.contiguous() {
            self.commits_early += 1;
        }
        if offset < ledger.committed {
            self.commits_backwards += 1;
        }
        ledger.committed = ledger.committed.max(offset);
    }

    /// One past the highest offset of `partition` that was delivered.
    ///
    /// # Panics
    /// If there is no such partition.
    #[must_use]
    pub fn next(&self, partition: usize) -> i64 {
        self.partitions[partition].next
    }

    /// Closes the ledger. `ends` are one past the last offset sent, for each partition; `None`
    /// where commits were not asked for makes `records_uncommitted` meaningless and zero.
    ///
    /// # Panics
    /// If `ends` has another number of partitions than the ledger.
    #[must_use]
    pub fn verdict(&self, ends: &[i64], commits: Commits) -> Verdict {
        assert_eq!(ends.len(), self.partitions.len(), "one end for each partition");
        let mut verdict = Verdict {
            records_duplicated: self.duplicated,
            records_out_of_order: self.out_of_order,
            commits_early: self.commits_early,
            commits_backwards: self.commits_backwards,
            ..Verdict::default()
        };
        for ((number, ledger), end) in (0..).zip(&self.partitions).zip(ends) {
            verdict.records_delivered += ledger.delivered;
            verdict.records_filtered += ledger.filtered;
            verdict.records_foreign += count(&(*end..ledger.next));
            if commits == Commits::Expected {
                verdict.records_uncommitted += count(&(ledger.committed..ledger.next.min(*end)));
            }
            let tail = (ledger.next < *end).then_some((ledger.next, *end));
            for (first, past) in ledger.missing.iter().map(|(first, past)| (*first, *past)).chain(tail) {
                verdict.records_lost += count(&(first..past));
                if verdict.lost_examples.len() < LOST_EXAMPLES_MAX {
                    verdict.lost_examples.push(LostRange {
                        partition: number,
                        first_offset: first,
                        last_offset: past - 1,
                    });
                }
            }
        }
        verdict
    }
}

/// Whether a run ends with everything committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commits {
    /// Every record delivered must be committed in the end.
    Expected,
    /// The run was cut short.
    NotExpected,
}

impl Ledger {
    /// Moves `next` past what was filtered out there.
    fn pass_filtered(&mut self) {
        while let Some(first) = self.ahead.front()
            && first.start <= self.next
        {
            let passed = self.next.max(first.start)..first.end;
            if !passed.is_empty() {
                self.filtered += count(&passed);
                self.next = passed.end;
            }
            self.ahead.pop_front();
        }
    }

    /// Marks `offsets`, all below `next`, as delivered; returns how many were missing.
    fn fill(&mut self, offsets: &Range<i64>) -> u64 {
        let mut filled = 0;
        // From the last range that begins below the end, backwards until one ends at the start.
        while let Some((&first, &past)) = self.missing.range(..offsets.end).next_back() {
            if past <= offsets.start {
                break;
            }
            self.missing.remove(&first);
            if past > offsets.end {
                self.missing.insert(offsets.end, past);
            }
            filled += count(&(first.max(offsets.start)..past.min(offsets.end)));
            if first < offsets.start {
                self.missing.insert(first, offsets.start);
                break;
            }
        }
        self.delivered += filled;
        filled
    }

    /// One past the last offset below which everything was delivered.
    fn contiguous(&self) -> i64 {
        debug_assert!(self.next >= self.start);
        self.missing.first_key_value().map_or(self.next, |(first, _)| *first)
    }
}

fn count(offsets: &Range<i64>) -> u64 {
    u64::try_from(offsets.end - offsets.start).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_run_as_it_should_be_is_clean() {
        let mut audit = Audit::new(&[0, 100]);
        assert_eq!(audit.on_delivered(0, 0..5), 0..5);
        audit.on_delivered(1, 100..101);
        audit.on_committed(0, 3);
        audit.on_delivered(0, 5..9);
        audit.on_committed(0, 9);
        audit.on_committed(1, 101);
        let verdict = audit.verdict(&[9, 101], Commits::Expected);
        assert!(verdict.is_clean(), "{verdict:?}");
        assert_eq!(verdict.records_delivered, 10);
    }

    #[test]
    fn a_hole_is_lost_until_it_is_filled_late() {
        let mut audit = Audit::new(&[0]);
        audit.on_delivered(0, 0..5);
        assert_eq!(audit.on_delivered(0, 8..10), 8..10);
        let verdict = audit.verdict(&[12], Commits::NotExpected);
        assert_eq!(verdict.records_lost, 5);
        assert_eq!(
            verdict.lost_examples,
            [
                LostRange { partition: 0, first_offset: 5, last_offset: 7 },
                LostRange { partition: 0, first_offset: 10, last_offset: 11 },
            ]
        );
        assert!(audit.on_delivered(0, 5..8).is_empty());
        let verdict = audit.verdict(&[10], Commits::NotExpected);
        assert_eq!((verdict.records_lost, verdict.records_out_of_order), (0, 3));
    }

    #[test]
    fn a_second_delivery_is_a_duplicate_and_only_its_new_part_counts() {
        let mut audit = Audit::new(&[0]);
        audit.on_delivered(0, 0..5);
        assert_eq!(audit.on_delivered(0, 3..8), 5..8);
        let verdict = audit.verdict(&[8], Commits::NotExpected);
        assert_eq!((verdict.records_duplicated, verdict.records_delivered), (2, 8));
    }

    #[test]
    fn a_commit_past_an_unfinished_record_is_seen() {
        let mut audit = Audit::new(&[0]);
        audit.on_delivered(0, 0..5);
        audit.on_committed(0, 6);
        audit.on_committed(0, 4);
        let verdict = audit.verdict(&[5], Commits::Expected);
        assert_eq!((verdict.commits_early, verdict.commits_backwards), (1, 1));
    }

    #[test]
    fn what_is_filtered_out_is_passed_once_what_comes_before_it_is_delivered() {
        let mut audit = Audit::new(&[0]);
        audit.on_filtered(0, 2..4);
        audit.on_filtered(0, 4..5);
        audit.on_filtered(0, 6..9);
        assert_eq!(audit.next(0), 0);
        audit.on_delivered(0, 0..2);
        assert_eq!(audit.next(0), 5);
        audit.on_committed(0, 5);
        // Read again after a rebalance.
        audit.on_filtered(0, 2..5);
        audit.on_delivered(0, 5..6);
        audit.on_committed(0, 9);
        let verdict = audit.verdict(&[9], Commits::Expected);
        assert!(verdict.is_clean(), "{verdict:?}");
        assert_eq!((verdict.records_delivered, verdict.records_filtered), (3, 6));
    }

    #[test]
    fn a_record_that_is_neither_delivered_nor_filtered_out_is_lost() {
        let mut audit = Audit::new(&[0]);
        audit.on_filtered(0, 0..2);
        audit.on_filtered(0, 5..7);
        audit.on_delivered(0, 3..5);
        let verdict = audit.verdict(&[7], Commits::NotExpected);
        assert_eq!((verdict.records_lost, verdict.records_filtered), (1, 4));
    }

    #[test]
    fn offsets_that_nobody_sent_are_foreign() {
        let mut audit = Audit::new(&[0]);
        audit.on_delivered(0, 0..5);
        assert_eq!(audit.verdict(&[3], Commits::NotExpected).records_foreign, 2);
    }

    proptest! {
        /// Any runs in any order, against a model that remembers every offset.
        #[test]
        fn the_ledger_equals_a_model_that_remembers_everything(
            runs in prop::collection::vec((0..2usize, 0..60i64, 0..12i64), 0..40), end in 0..80i64,
        ) {
            let mut audit = Audit::new(&[0, 0]);
            let mut seen: [HashMap<i64, u32>; 2] = [HashMap::new(), HashMap::new()];
            let (mut late, mut twice) = (0, 0);
            for (partition, first, len) in runs {
                let next = seen[partition].keys().max().map_or(0, |last| last + 1);
                let fresh = audit.on_delivered(partition, first..first + len);
                let mut expect_fresh = Vec::new();
                for offset in first..first + len {
                    let times = seen[partition].entry(offset).or_insert(0);
                    *times += 1;
                    match (*times > 1, offset < next) {
                        (true, _) => twice += 1,
                        (false, true) => late += 1,
                        (false, false) => expect_fresh.push(offset),
                    }
                }
                prop_assert_eq!(fresh.collect::<Vec<_>>(), expect_fresh);
            }
            let verdict = audit.verdict(&[end, end], Commits::NotExpected);
            let lost: usize = seen.iter().map(|seen| {
                let next = seen.keys().max().map_or(0, |last| last + 1);
                (0..end.max(next)).filter(|offset| !seen.contains_key(offset)).count()
            }).sum();
            prop_assert_eq!(verdict.records_lost, lost as u64);
            prop_assert_eq!(verdict.records_out_of_order, late);
            prop_assert_eq!(verdict.records_duplicated, twice);
            prop_assert_eq!(verdict.records_delivered, seen.iter().map(|seen| seen.len() as u64).sum::<u64>());
        }
    }
}
