//! An event's bytes, as slices.

use super::sealed::{Entry, SealedBatch};
use crate::payload::{BETWEEN, Buffer, NO_RUN, Shared, TAIL};
use bytes::Bytes;
use std::ops::Range;
use std::sync::Arc;

/// The event over all records of a batch, or over some of them: what an invoker sends. Clones
/// share everything.
#[derive(Clone, Debug)]
pub struct Payload {
    batch: SealedBatch,
    bytes: usize,
    /// `None` for all records.
    part: Option<Arc<Part>>,
}

#[derive(Debug)]
struct Part {
    ranges: Vec<Range<u32>>,
    records: u32,
    /// The slices of the arena with the positions of their partitions, grouped by partition.
    slices: Vec<(u32, Range<u32>)>,
}

impl Payload {
    pub(super) fn whole(batch: SealedBatch, bytes: usize) -> Self {
        Self { batch, bytes, part: None }
    }

    pub(super) fn part(batch: SealedBatch, ranges: Vec<Range<u32>>) -> Self {
        let part = Part::new(&batch, ranges);
        let bytes = part.payload_bytes(&batch);
        Self { batch, bytes, part: Some(Arc::new(part)) }
    }

    /// The event's length in bytes: the request's `Content-Length`.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "an event is never empty")]
    pub const fn len(&self) -> usize {
        self.bytes
    }

    /// Records in the event.
    #[must_use]
    pub fn records(&self) -> u32 {
        self.part.as_ref().map_or_else(|| self.batch.records(), |part| part.records)
    }

    /// The records, in the order of the batch.
    pub fn entries(&self) -> impl Iterator<Item = Entry> + '_ {
        let whole = self.part.is_none().then(|| 0..self.batch.records());
        let ranges = self.part.as_ref().map_or(&[][..], |part| &part.ranges[..]);
        whole.into_iter().chain(ranges.iter().cloned()).flat_map(|records| self.batch.entries_in(records))
    }

    /// The batch that the records are of.
    #[must_use]
    pub const fn batch(&self) -> &SealedBatch {
        &self.batch
    }

    /// The event as frames that share the arena: head; per partition its key, its slices and what
    /// ends it. Allocates once, however many frames there are. The frames keep the arena from
    /// being used again until they are dropped.
    #[must_use]
    pub fn frames(&self) -> Frames {
        Frames {
            arena: Bytes::from_owner(ArenaOwner(self.batch.shared().clone())),
            walk: Walk::new(self),
            payload: self.clone(),
        }
    }

    /// Appends the event to `out`.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        out.reserve(self.bytes);
        let mut walk = Walk::new(self);
        while let Some(piece) = walk.next(self) {
            out.extend_from_slice(match &piece {
                Piece::Head => self.batch.envelope().head(),
                Piece::Key(place) => &self.batch.buffer().places[*place as usize].key,
                Piece::Records(bytes) => {
                    &self.batch.buffer().as_ref()[bytes.start as usize..bytes.end as usize]
                }
                Piece::Static(text) => text,
            });
        }
    }
}

impl Part {
    fn new(batch: &SealedBatch, ranges: Vec<Range<u32>>) -> Self {
        let buffer = batch.buffer();
        // Partitions stand in the event in the order of their first selected record.
        let mut rank_of_place = vec![u32::MAX; buffer.places.len()];
        let mut ranks = 0;
        let mut records = 0;
        let mut slices: Vec<(u32, u32, Range<u32>)> = Vec::new();
        for range in &ranges {
            assert!(range.end <= batch.records(), "records {range:?} of a batch of {}", batch.records());
            for (run, positions) in batch.cut(range.clone()) {
                let place = buffer.place_of(run.slot).expect("a run's partition has a place");
                let rank = &mut rank_of_place[place as usize];
                if *rank == u32::MAX {
                    *rank = ranks;
                    ranks += 1;
                }
                records += positions.end - positions.start;
                let start = buffer.record_bytes(run, positions.start).start;
                let end = buffer.record_bytes(run, positions.end - 1).end;
                match slices.last_mut() {
                    Some((_, last_place, last)) if *last_place == place && last.end == start => {
                        last.end = end;
                    }
                    _ => slices.push((*rank, place, start..end)),
                }
            }
        }
        slices.sort_by_key(|(rank, ..)| *rank);
        Self { ranges, records, slices: slices.into_iter().map(|(_, place, bytes)| (place, bytes)).collect() }
    }

    fn payload_bytes(&self, batch: &SealedBatch) -> usize {
        let mut bytes = batch.envelope().bytes();
        let mut last = None;
        for (place, slice) in &self.slices {
            bytes += slice.len();
            if last != Some(*place) {
                bytes += batch.buffer().places[*place as usize].key.len() + usize::from(last.is_some());
                last = Some(*place);
            }
        }
        bytes
    }
}

/// One piece of an event.
enum Piece {
    Head,
    /// The key of the partition at this place.
    Key(u32),
    /// A slice of the arena.
    Records(Range<u32>),
    Static(&'static [u8]),
}

/// A walk over an event's pieces. Holds positions only, so that what it walks may be owned or
/// borrowed.
#[derive(Clone, Debug)]
struct Walk {
    next: Step,
}

#[derive(Clone, Debug)]
enum Step {
    Head,
    /// The slice that begins a partition.
    Key(Slice),
    /// A slice whose partition has begun; the first one's leading comma is not sent.
    Records {
        slice: Slice,
        first: bool,
    },
    Between(Slice),
    Tail,
    /// The tail of an event without records.
    EmptyTail,
    End,
}

/// A slice of one partition's records and what is needed to find the one after it.
#[derive(Clone, Debug)]
struct Slice {
    place: u32,
    bytes: Range<u32>,
    /// Of a whole batch: the last run in the slice. Of a part: the position among its slices.
    at: u32,
}

impl Walk {
    const fn new(_: &Payload) -> Self {
        Self { next: Step::Head }
    }

    fn next(&mut self, payload: &Payload) -> Option<Piece> {
        let (piece, next) = match std::mem::replace(&mut self.next, Step::End) {
            Step::Head => (Piece::Head, Slice::first(payload).map_or(Step::EmptyTail, Step::Key)),
            Step::Key(slice) => (Piece::Key(slice.place), Step::Records { slice, first: true }),
            Step::Records { slice, first } => {
                let bytes = slice.bytes.start + u32::from(first)..slice.bytes.end;
                let next = match slice.next(payload) {
                    None => Step::Tail,
                    Some(next) if next.place == slice.place => Step::Records { slice: next, first: false },
                    Some(next) => Step::Between(next),
                };
                (Piece::Records(bytes), next)
            }
            Step::Between(slice) => (Piece::Static(BETWEEN), Step::Key(slice)),
            Step::Tail => (Piece::Static(TAIL), Step::End),
            Step::EmptyTail => (Piece::Static(&TAIL[1..]), Step::End),
            Step::End => return None,
        };
        self.next = next;
        Some(piece)
    }
}

impl Slice {
    fn first(payload: &Payload) -> Option<Self> {
        match &payload.part {
            Some(part) => Self::of_part(part, 0),
            None => Self::of_place(payload.batch.buffer(), 0),
        }
    }

    fn next(&self, payload: &Payload) -> Option<Self> {
        if let Some(part) = &payload.part {
            return Self::of_part(part, self.at + 1);
        }
        let buffer = payload.batch.buffer();
        match buffer.runs[self.at as usize].next {
            NO_RUN => Self::of_place(buffer, self.place + 1),
            run => Some(Self::of_chain(buffer, self.place, run)),
        }
    }

    fn of_part(part: &Part, at: u32) -> Option<Self> {
        let (place, bytes) = part.slices.get(at as usize)?.clone();
        Some(Self { place, bytes, at })
    }

    fn of_place(buffer: &Buffer, place: u32) -> Option<Self> {
        let first = buffer.places.get(place as usize)?.first_run;
        Some(Self::of_chain(buffer, place, first))
    }

    /// The run and those that follow it in the chain without a gap in the arena.
    fn of_chain(buffer: &Buffer, place: u32, first: u32) -> Self {
        let mut at = first;
        let mut bytes = buffer.runs[at as usize].bytes.clone();
        loop {
            let next = buffer.runs[at as usize].next;
            match buffer.runs.get(next as usize) {
                Some(run) if run.bytes.start == bytes.end => {
                    bytes.end = run.bytes.end;
                    at = next;
                }
                _ => return Self { place, bytes, at },
            }
        }
    }
}

/// The frames of a [`Payload`]. Owns what it needs.
#[derive(Debug)]
pub struct Frames {
    payload: Payload,
    arena: Bytes,
    walk: Walk,
}

impl Iterator for Frames {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        Some(match self.walk.next(&self.payload)? {
            Piece::Head => self.payload.batch.envelope().head().clone(),
            Piece::Key(place) => self.payload.batch.buffer().places[place as usize].key.clone(),
            Piece::Records(bytes) => self.arena.slice(bytes.start as usize..bytes.end as usize),
            Piece::Static(text) => Bytes::from_static(text),
        })
    }
}

struct ArenaOwner(Shared);

impl AsRef<[u8]> for ArenaOwner {
    fn as_ref(&self) -> &[u8] {
        self.0.buffer().as_ref()
    }
}
