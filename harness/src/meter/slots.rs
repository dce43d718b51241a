//! What was delivered when: equal slots of time since the end of the warm-up.
//!
//! How long a run is to last is not always known when it begins. So slots start short, and when
//! there are too many, neighbours become one: memory is bounded, and a slot always is a power of
//! two of the first one's length.

use std::time::Duration;

use crate::measure::histogram::{Latency, LatencySummary, PackedLatency};

/// The length of a slot at first: a whole number of them is a second.
const WIDTH_FIRST: Duration = Duration::from_nanos(1_000_000_000 / 64);
/// More slots than this are merged by pairs.
const SLOTS_MAX: usize = 512;
/// A run that is at least as many seconds long is cut into seconds, a shorter one into as many
/// pieces.
const PIECES_MIN: u32 = 10;

/// Deliveries by slot.
#[derive(Debug)]
pub struct Slots {
    width: Duration,
    /// From the end of the warm-up on, without a gap. The last one's latencies are in `latency`.
    slots: Vec<Slot>,
    /// Of the records delivered in the last slot.
    latency: Latency,
}

#[derive(Clone, Debug, Default)]
struct Slot {
    records: u64,
    bytes: u64,
    latency: PackedLatency,
}

/// Deliveries of some slots in a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Piece {
    /// From the end of the warm-up to its beginning.
    pub start: Duration,
    /// How long it is.
    pub elapsed: Duration,
    /// Records delivered.
    pub records: u64,
    /// Their key, value and header bytes.
    pub bytes: u64,
    /// Total latencies of those that are measured.
    pub latency: LatencySummary,
}

impl Default for Slots {
    fn default() -> Self {
        Self { width: WIDTH_FIRST, slots: vec![Slot::default()], latency: Latency::new() }
    }
}

impl Slots {
    /// What is added next was delivered at `at` after the end of the warm-up. Threads report side by
    /// side: what is reported a little late counts for the last slot.
    pub fn reach(&mut self, at: Duration) {
        if index(at, self.width) < self.slots.len() {
            return;
        }
        if let Some(last) = self.slots.last_mut() {
            last.latency = self.latency.pack();
        }
        while index(at, self.width) >= SLOTS_MAX {
            self.merge_pairs();
        }
        let slots = self.slots.len().max(index(at, self.width) + 1);
        self.slots.resize_with(slots, Slot::default);
        // After a merge the last slot may be one that has been packed already.
        if let Some(last) = self.slots.last_mut() {
            self.latency.unpack(&std::mem::take(&mut last.latency));
        }
    }

    /// Adds records and their bytes.
    pub fn deliver(&mut self, records: u64, bytes: u64) {
        if let Some(last) = self.slots.last_mut() {
            last.records += records;
            last.bytes += bytes;
        }
    }

    /// Adds the latency of `count` records.
    pub fn record(&mut self, latency: Duration, count: u64) {
        self.latency.record(latency, count);
    }

    fn merge_pairs(&mut self) {
        let mut scratch = Latency::new();
        self.width *= 2;
        self.slots = self
            .slots
            .chunks(2)
            .map(|pair| {
                pair.iter().for_each(|slot| scratch.unpack(&slot.latency));
                Slot {
                    records: pair.iter().map(|slot| slot.records).sum(),
                    bytes: pair.iter().map(|slot| slot.bytes).sum(),
                    latency: scratch.pack(),
                }
            })
            .collect();
    }

    /// The first `elapsed`, cut into seconds, tenths if it is shorter than ten, or whole slots if they
    /// are longer than a second. What is left over at the end is left out.
    #[must_use]
    pub fn pieces(&self, elapsed: Duration) -> Vec<Piece> {
        let wanted = Duration::from_secs(1).min(elapsed / PIECES_MIN);
        let slots = index(wanted, self.width).max(1);
        let width = self.width * u32::try_from(slots).unwrap_or(u32::MAX);
        (0..index(elapsed, width)).map(|piece| self.piece(piece * slots..(piece + 1) * slots)).collect()
    }

    fn piece(&self, range: std::ops::Range<usize>) -> Piece {
        let slots = u32::try_from(range.len()).unwrap_or(u32::MAX);
        let mut piece = Piece {
            start: self.width * u32::try_from(range.start).unwrap_or(u32::MAX),
            elapsed: self.width * slots,
            records: 0,
            bytes: 0,
            latency: LatencySummary::default(),
        };
        let mut latency = Latency::new();
        // Nothing has been delivered in slots that are not there yet.
        for slot in self.slots.iter().skip(range.start).take(range.len()) {
            piece.records += slot.records;
            piece.bytes += slot.bytes;
            latency.unpack(&slot.latency);
        }
        if range.contains(&(self.slots.len() - 1)) {
            latency.add(&self.latency);
        }
        piece.latency = latency.summary();
        piece
    }
}

/// The slot of length `width` that `at` is in.
fn index(at: Duration, width: Duration) -> usize {
    usize::try_from(at.as_nanos() / width.as_nanos().max(1)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// One record of 10 bytes each millisecond, whose latency in milliseconds is the second it is
    /// delivered in.
    fn slots(elapsed: Duration) -> Slots {
        let mut slots = Slots::default();
        for at in 0..u32::try_from(elapsed.as_millis()).unwrap() {
            slots.reach(MS * at);
            slots.deliver(1, 10);
            slots.record(MS * (at / 1_000), 1);
        }
        slots
    }

    #[test]
    fn a_long_run_is_cut_into_seconds_and_the_rest_left_out() {
        let elapsed = Duration::from_millis(12_400);
        let pieces = slots(elapsed).pieces(elapsed);
        assert_eq!(pieces.len(), 12);
        for (second, piece) in (0..).zip(&pieces) {
            assert_eq!((piece.start, piece.elapsed), (MS * 1_000 * second, MS * 1_000));
            assert_eq!((piece.records, piece.bytes, piece.latency.count), (1_000, 10_000, 1_000));
            assert_eq!((piece.latency.p50_us + 500) / 1_000, u64::from(second), "{piece:?}");
        }
    }

    #[test]
    fn a_short_run_is_cut_into_ten() {
        let elapsed = Duration::from_secs(5);
        let pieces = slots(elapsed).pieces(elapsed);
        assert_eq!(pieces.iter().map(|piece| piece.records).collect::<Vec<_>>(), [500; 10]);
        assert!(slots(MS).pieces(MS).is_empty(), "shorter than any slot");
    }

    #[test]
    fn memory_is_bounded_and_nothing_is_lost_by_merging() {
        let mut slots = Slots::default();
        for second in 0..5_000 {
            slots.reach(Duration::from_secs(second));
            slots.deliver(3, 30);
            slots.record(MS * 7, 2);
        }
        assert!(slots.slots.len() <= SLOTS_MAX);
        let pieces = slots.pieces(Duration::from_secs(5_000));
        assert!(pieces.len() <= SLOTS_MAX && pieces[0].elapsed == Duration::from_secs(16), "{pieces:?}");
        assert!(pieces.iter().all(|piece| (piece.records, piece.latency.count) == (48, 32)), "{pieces:?}");
    }

    #[test]
    fn a_pause_is_slots_without_records_and_what_is_late_counts_for_the_last() {
        let mut slots = Slots::default();
        slots.reach(Duration::from_secs(10));
        slots.deliver(1, 1);
        slots.reach(Duration::from_secs(9));
        slots.deliver(1, 1);
        let records: Vec<u64> =
            slots.pieces(Duration::from_secs(12)).iter().map(|piece| piece.records).collect();
        assert_eq!(records, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0]);
    }
}
