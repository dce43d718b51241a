//! Watermark, cadence and metadata together: whatever crashes when, nothing undone is skipped, and
//! nothing that a commit says to be finished is delivered again.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use super::metadata::{self, Place};
use super::{Cadence, Watermark};
use crate::ids::{Offset, Partition, Topic};
use crate::time::Nanos;

const P: Partition = Partition(5);
const INTERVAL: Duration = Duration::from_secs(1);
/// Offsets of the log; those of [`exists`] have records.
const END: i64 = 400;

#[derive(Clone, Debug)]
enum Step {
    /// Records are read into a batch.
    Read {
        records: usize,
    },
    /// Of the records under way, some become done: where they begin, and how many.
    Finish {
        place: prop::sample::Index,
        records: usize,
    },
    Wait {
        ms: u64,
    },
    /// The commit in flight is answered.
    Answer {
        granted: bool,
    },
    /// The partition is let go in peace, after a synchronous commit, and assigned again.
    Release,
    /// The process ends at once; the commit in flight may still have arrived.
    Crash {
        arrived: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..30_usize).prop_map(|records| Step::Read { records }),
        8 => (any::<prop::sample::Index>(), 1..8_usize).prop_map(|(place, records)| Step::Finish { place, records }),
        4 => (0..1_500_u64).prop_map(|ms| Step::Wait { ms }),
        4 => prop::bool::weighted(0.8).prop_map(|granted| Step::Answer { granted }),
        1 => Just(Step::Release),
        1 => any::<bool>().prop_map(|arrived| Step::Crash { arrived }),
    ]
}

/// A committed offset with its metadata.
type Committed = (Offset, String);

struct World {
    topic: Topic,
    exists: Vec<bool>,
    /// The longest metadata that is written.
    bytes_max: usize,
    now: Nanos,
    /// What the group has.
    group: Option<Committed>,
    in_flight: Option<Committed>,
    watermark: Watermark,
    cadence: Cadence,
    /// The next offset to be read.
    next: i64,
    under_way: Vec<i64>,
    done: BTreeSet<i64>,
    /// What the metadata of this assignment's start holds.
    known: BTreeSet<i64>,
    /// That, and what was done since.
    finished: BTreeSet<i64>,
}

impl World {
    fn new(exists: Vec<bool>, bytes_max: usize) -> Self {
        let mut world = Self {
            topic: Topic::new("orders"),
            exists,
            bytes_max,
            now: Nanos::ZERO,
            group: None,
            in_flight: None,
            watermark: Watermark::new(Offset(0)),
            cadence: Cadence::new(INTERVAL),
            next: 0,
            under_way: Vec::new(),
            done: BTreeSet::new(),
            known: BTreeSet::new(),
            finished: BTreeSet::new(),
        };
        world.assign();
        world
    }

    fn assign(&mut self) {
        let committed = self.group.as_ref().map(|(offset, _)| *offset);
        let start = committed.unwrap_or(Offset(0));
        let text = self.group.as_ref().map_or("", |(_, text)| text);
        let place = Place { topic: &self.topic, partition: P, committed: start };
        let finished = metadata::decode(text, place).unwrap_or_default();
        assert_eq!(finished.is_empty(), text.is_empty(), "what was written is read: {text}");
        self.known = finished.spans().flat_map(|span| span.first.0..=span.last.0).collect();
        self.finished = self.known.clone();
        self.watermark = Watermark::resume(start, finished);
        self.cadence.on_assigned(P, start, committed);
        self.next = start.0;
        self.under_way.clear();
    }

    fn read(&mut self, records: usize) {
        for _ in 0..records {
            while self.next < END && !self.exists[self.next as usize] {
                self.next += 1;
            }
            if self.next == END {
                self.watermark.on_reached(Offset(END));
                return;
            }
            let offset = Offset(self.next);
            let finished =
                self.watermark.resumed().is_some_and(|span| span.first <= offset && offset <= span.last);
            if finished {
                assert!(self.done.contains(&offset.0), "{offset} is skipped and was never done");
                self.watermark.on_resumed(offset, offset).expect("in order");
            } else {
                assert!(!self.known.contains(&offset.0), "{offset} is delivered again though it was known");
                self.watermark.on_taken(offset, offset).expect("in order");
                self.under_way.push(offset.0);
            }
            self.next += 1;
        }
    }

    fn finish(&mut self, from: usize, records: usize) {
        let until = (from + records).min(self.under_way.len());
        for offset in self.under_way.drain(from..until) {
            self.done.insert(offset);
            self.finished.insert(offset);
            self.watermark.on_done(Offset(offset), Offset(offset)).expect("taken");
        }
    }

    /// What a commit of `offset` holds.
    fn commit(&self, offset: Offset) -> Committed {
        let undone = (0..offset.0).find(|at| self.exists[*at as usize] && !self.done.contains(at));
        assert_eq!(undone, None, "committed {offset}");
        let mut text = String::new();
        let place = Place { topic: &self.topic, partition: P, committed: offset };
        metadata::encode(place, self.watermark.finished(), self.bytes_max, &mut text);
        (offset, text)
    }

    fn tick(&mut self) {
        self.cadence.on_moved(P, self.watermark.committable(), self.watermark.revision());
        let mut offsets = Vec::new();
        if self.cadence.tick(self.now, &mut offsets) {
            assert!(self.in_flight.is_none(), "two in flight");
            self.in_flight = Some(self.commit(offsets[0].1));
        }
    }

    fn answer(&mut self, granted: bool) {
        let Some(commit) = self.in_flight.take() else { return };
        if granted {
            self.cadence.on_committed(&[(P, commit.0)]);
            self.group = Some(commit);
        } else {
            self.cadence.on_failed(self.now);
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Read { records } => self.read(records),
            Step::Finish { ref place, records } if !self.under_way.is_empty() => {
                self.finish(place.index(self.under_way.len()), records);
            }
            Step::Finish { .. } => {}
            Step::Wait { ms } => self.now = self.now + Duration::from_millis(ms),
            Step::Answer { granted } => self.answer(granted),
            Step::Release => {
                self.answer(false);
                self.cadence.on_moved(P, self.watermark.committable(), self.watermark.revision());
                let mut offsets = Vec::new();
                self.cadence.unfinished(|_| true, &mut offsets);
                if let Some((_, offset)) = offsets.first() {
                    self.group = Some(self.commit(*offset));
                    self.cadence.on_committed_sync(&offsets);
                }
                let finished: Vec<i64> =
                    self.finished.range(self.watermark.committable().0..).copied().collect();
                self.cadence.on_revoked(P);
                self.assign();
                if self.bytes_max == metadata::METADATA_BYTES_MAX {
                    assert!(
                        finished.iter().all(|offset| self.known.contains(offset)),
                        "its next owner knows all"
                    );
                }
            }
            Step::Crash { arrived } => {
                let arrived = self.in_flight.take().filter(|_| arrived);
                self.group = arrived.or(self.group.take());
                self.cadence = Cadence::new(INTERVAL);
                self.assign();
            }
        }
        self.tick();
    }
}

proptest! {
    #[test]
    fn no_crash_skips_an_undone_record_or_repeats_one_that_the_commit_knows(
        exists in prop::collection::vec(prop::bool::weighted(0.9), END as usize),
        bytes_max in prop_oneof![Just(metadata::METADATA_BYTES_MAX), 0..60_usize],
        steps in prop::collection::vec(step(), 0..300),
    ) {
        let mut world = World::new(exists, bytes_max);
        for step in steps {
            world.step(&step);
        }
        // In the end all that exists is done, and committed without metadata.
        world.read(END as usize + 1);
        world.finish(0, END as usize);
        for _ in 0..3 {
            world.step(&Step::Wait { ms: 1_000 });
            world.step(&Step::Answer { granted: true });
        }
        let left = (0..END).find(|at| world.exists[*at as usize] && !world.done.contains(at));
        prop_assert_eq!(left, None);
        prop_assert_eq!(world.group, Some((Offset(END), String::new())));
    }
}
