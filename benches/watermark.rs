//! What it costs to know the first offset that is not done.
//!
//! Each row replays one schedule of taken and done ranges: through ours, through the floor (a
//! pass over the same schedule that only keeps the largest offset, which is fast and wrong), and
//! through what one would write first (a set of undone offsets). Per record.

use crate::contest::{Front, Role, Row};
use pelton::commit::Watermark;
use pelton::ids::Offset;
use std::collections::BTreeSet;
use std::hint::black_box;

const RECORDS: i64 = 10_000;

#[derive(Clone, Copy)]
enum Step {
    Taken(Offset, Offset),
    Done(Offset, Offset),
}

/// Batches of `records`, whose neighbours lie `gap` offsets apart; `in_flight` are taken before
/// they are done in the order of `order`.
fn schedule(records: i64, gap: i64, in_flight: usize, order: impl Fn(usize) -> usize) -> Vec<Step> {
    let batches: Vec<_> = (0..RECORDS / records)
        .map(|batch| batch * (records + gap) + gap)
        .map(|first| (Offset(first), Offset(first + records - 1)))
        .collect();
    let mut steps = Vec::new();
    for wave in batches.chunks(in_flight) {
        steps.extend(wave.iter().map(|&(first, last)| Step::Taken(first, last)));
        let mut wave: Vec<_> = wave.iter().enumerate().collect();
        wave.sort_by_key(|&(place, _)| order(place));
        steps.extend(wave.iter().map(|&(_, &(first, last))| Step::Done(first, last)));
    }
    steps
}

/// The machine itself, begun again at 0.
fn ours(watermark: &mut Watermark, steps: &[Step]) -> Offset {
    watermark.reset(Offset(0));
    for step in steps {
        match *step {
            Step::Taken(first, last) => watermark.on_taken(first, last),
            Step::Done(first, last) => watermark.on_done(first, last),
        }
        .expect("the schedule is a valid one");
    }
    watermark.committable()
}

fn floor(steps: &[Step]) -> Offset {
    let mut end = Offset(0);
    for step in steps {
        match black_box(*step) {
            Step::Taken(_, last) | Step::Done(_, last) => end = end.max(last.next()),
        }
    }
    end
}

fn set_of_offsets(undone: &mut BTreeSet<i64>, steps: &[Step]) -> Offset {
    let mut position = 0;
    for step in steps {
        match *step {
            Step::Taken(first, last) => {
                undone.extend(first.0..=last.0);
                position = last.0 + 1;
            }
            Step::Done(first, last) => (first.0..=last.0).for_each(|offset| {
                undone.remove(&offset);
            }),
        }
    }
    Offset(undone.first().copied().unwrap_or(position))
}

pub(crate) fn contests(front: &mut dyn Front) {
    let schedules = [
        // One batch in flight and the next one filling, as a poller does it.
        ("in order, batches of 100", schedule(100, 0, 2, |place| place)),
        // 64 in flight, done in a scattered order: 37 and 64 have no common divisor.
        ("64 out of order, batches of 10", schedule(10, 0, 64, |place| place * 37 % 64)),
        // A compacted log: every record stands alone, and none merges.
        ("gaps, batches of 1", schedule(1, 1, 1_000, |place| place)),
        ("gaps backwards, batches of 1", schedule(1, 1, 1_000, |place| 1_000 - place)),
    ];
    for (at, (case, steps)) in schedules.iter().enumerate() {
        if !front.wants("watermark", case, at < 2) {
            continue;
        }
        let end = floor(steps);
        let mut row = Row::new("watermark", case, "record", RECORDS as usize, 0);
        let mut machine = Watermark::new(Offset(0));
        row.contestant(Role::Pelton, "watermark", &end, move || ours(&mut machine, black_box(steps)));
        row.contestant(Role::Floor, "largest offset", &end, || floor(black_box(steps)));
        let mut set = BTreeSet::new();
        row.contestant(Role::Peer, "BTreeSet", &end, move || set_of_offsets(&mut set, black_box(steps)));
        front.row(row);
    }
}
