//! What a batch is made of: the arena with the records' JSON, the record index, the runs, and the
//! partitions. All of it is allocated once and used again and again.

use super::arena::{Arena, Charge};
use super::stamp::Stamp;
use super::template::Template;
use super::writer::{RunOut, Written};
use crate::ids::{Offset, Partition, Slot};
use crate::time::Nanos;
use bytes::Bytes;
use std::io;
use std::ops::{Range, RangeInclusive};

/// The end of a chain of runs.
pub(crate) const NO_RUN: u32 = u32::MAX;
/// A slot without records in the batch.
const NO_PLACE: u32 = u32::MAX;

/// Where a record's JSON begins in the arena, and who it is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct IndexEntry {
    pub(crate) offset: i64,
    pub(crate) timestamp_ms: i64,
    /// Where its leading comma stands.
    pub(crate) start: u32,
}

/// Consecutive records of one partition that were appended together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The partition's place in its poller's table.
    pub slot: Slot,
    /// Whose records these are.
    pub partition: Partition,
    /// The first record's offset.
    pub first: Offset,
    /// The last record's offset.
    pub last: Offset,
    /// The records' positions in the batch.
    pub records: Range<u32>,
    /// When the run was appended.
    pub polled_at: Nanos,
    /// The records' bytes in the arena, the first one's leading comma included.
    pub(crate) bytes: Range<u32>,
    /// The next run of the same partition in this batch, or [`NO_RUN`].
    pub(crate) next: u32,
}

/// A partition that has records in the batch.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) slot: Slot,
    /// `"t-0":[`
    pub(crate) key: Bytes,
    /// The first and the last of its chain of runs.
    pub(crate) first_run: u32,
    pub(crate) last_run: u32,
}

/// One batch's memory, before, while and after it is filled.
#[derive(Debug)]
pub(crate) struct Buffer {
    pub(crate) arena: Arena,
    /// Bytes of the arena that hold records.
    pub(crate) used: usize,
    /// One entry per record that may come; the first [`Buffer::records`] are in use.
    pub(crate) index: Box<[IndexEntry]>,
    pub(crate) records: usize,
    pub(crate) runs: Vec<Run>,
    pub(crate) places: Vec<Place>,
    /// Per slot the position in `places`, or [`NO_PLACE`]. As long as the highest slot ever met.
    place_of_slot: Vec<u32>,
    pub(crate) charge: Charge,
}

/// What [`Buffer::remove_place`] took out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Removed {
    pub(crate) records: u32,
    /// Of the payload: the records, the key, and a comma between partitions if there was one.
    pub(crate) bytes: usize,
}

impl Buffer {
    /// What a buffer for `records_max` records costs besides its arena.
    pub(crate) const fn fixed_bytes(records_max: usize) -> usize {
        records_max * (size_of::<IndexEntry>() + size_of::<Run>())
    }

    /// A buffer whose arena has nothing granted yet. `charge` already holds
    /// [`fixed_bytes`](Self::fixed_bytes).
    pub(crate) fn new(payload_bytes_max: usize, records_max: usize, charge: Charge) -> io::Result<Self> {
        Ok(Self {
            arena: Arena::new(payload_bytes_max)?,
            used: 0,
            index: vec![IndexEntry::default(); records_max].into_boxed_slice(),
            records: 0,
            // Every run holds a record, so there are never more runs, nor partitions, than records.
            runs: Vec::with_capacity(records_max),
            places: Vec::new(),
            place_of_slot: Vec::new(),
            charge,
        })
    }

    /// Forgets all records; keeps all memory.
    pub(crate) fn clear(&mut self) {
        self.used = 0;
        self.records = 0;
        self.runs.clear();
        for place in self.places.drain(..) {
            self.place_of_slot[place.slot.index()] = NO_PLACE;
        }
    }

    /// Bytes of records that the arena takes without a further grant.
    pub(crate) const fn arena_left(&self) -> usize {
        self.arena.capacity().saturating_sub(self.used)
    }

    /// Where the next run is written, and with what stamp.
    pub(crate) fn run_out<'b>(&'b mut self, room: usize, exact: bool, stamp: &'b mut Stamp) -> RunOut<'b> {
        let room = room.min(self.arena_left());
        RunOut {
            bytes: &mut self.arena.bytes_mut()[self.used..],
            room,
            exact,
            index: &mut self.index[self.records..],
            start: self.used as u32,
            stamp,
        }
    }

    /// The position in `places` of the partition at `slot`, if it has records here.
    pub(crate) fn place_of(&self, slot: Slot) -> Option<u32> {
        self.place_of_slot.get(slot.index()).copied().filter(|place| *place != NO_PLACE)
    }

    /// Counts in what was just written to [`run_out`](Self::run_out). A run that continues the
    /// last one (same partition, same call) becomes part of it.
    pub(crate) fn push_run(
        &mut self,
        slot: Slot,
        template: &Template,
        offsets: RangeInclusive<Offset>,
        written: Written,
        now: Nanos,
    ) {
        let records = self.records as u32..(self.records + written.records) as u32;
        let bytes = self.used as u32..(self.used + written.bytes) as u32;
        self.records += written.records;
        self.used += written.bytes;
        if let Some(last) = self.runs.last_mut()
            && (last.slot, last.polled_at, last.bytes.end) == (slot, now, bytes.start)
        {
            last.last = *offsets.end();
            last.records.end = records.end;
            last.bytes.end = bytes.end;
            return;
        }
        let run = Run {
            slot,
            partition: template.partition(),
            first: *offsets.start(),
            last: *offsets.end(),
            records,
            polled_at: now,
            bytes,
            next: NO_RUN,
        };
        self.link_run(run, template.key());
    }

    /// Pushes `run` and appends it to its partition's chain.
    fn link_run(&mut self, run: Run, key: &Bytes) {
        let position = self.runs.len() as u32;
        if let Some(place) = self.place_of(run.slot) {
            let place = &mut self.places[place as usize];
            self.runs[place.last_run as usize].next = position;
            place.last_run = position;
        } else {
            let slot = run.slot.index();
            if slot >= self.place_of_slot.len() {
                self.place_of_slot.resize(slot + 1, NO_PLACE);
            }
            self.place_of_slot[slot] = self.places.len() as u32;
            self.places.push(Place {
                slot: run.slot,
                key: key.clone(),
                first_run: position,
                last_run: position,
            });
        }
        self.runs.push(run);
    }

    /// Takes the records of the partition at `slot` out. Their bytes stay where they are, unused.
    pub(crate) fn remove_place(&mut self, slot: Slot) -> Option<Removed> {
        let place = &self.places[self.place_of(slot)? as usize];
        let mut removed = Removed { records: 0, bytes: place.key.len() + usize::from(self.places.len() > 1) };
        let keys: Vec<Bytes> = self.runs.iter().map(|run| self.key_of(run).clone()).collect();
        let (runs, used, index) = (self.runs.clone(), self.used, &mut self.index);

        let mut kept = 0;
        for run in &runs {
            let records = run.records.start as usize..run.records.end as usize;
            if run.slot == slot {
                removed.records += records.len() as u32;
                removed.bytes += run.bytes.len();
            } else {
                let count = records.len();
                index.copy_within(records, kept);
                kept += count;
            }
        }
        self.clear();
        for (mut run, key) in runs.into_iter().zip(keys).filter(|(run, _)| run.slot != slot) {
            let count = run.records.len();
            run.records = self.records as u32..(self.records + count) as u32;
            run.next = NO_RUN;
            self.records += count;
            self.used = used;
            self.link_run(run, &key);
        }
        debug_assert_eq!(self.records, kept);
        Some(removed)
    }

    fn key_of(&self, run: &Run) -> &Bytes {
        let place = self.place_of(run.slot).expect("a run's partition has a place");
        &self.places[place as usize].key
    }

    /// Where the JSON of the record at `position`, which is in `run`, lies in the arena.
    pub(crate) fn record_bytes(&self, run: &Run, position: u32) -> Range<u32> {
        let start = self.index[position as usize].start;
        let next = position + 1;
        start..if next < run.records.end { self.index[next as usize].start } else { run.bytes.end }
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.arena.bytes()[..self.used]
    }
}
