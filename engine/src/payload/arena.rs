//! The buffer in which an open batch's records are written.

use super::kernel::SPILL_BYTES;
use memmap2::{Advice, MmapMut, MmapOptions};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes behind the last record that wide stores may spill into.
pub(crate) const SLACK_BYTES: usize = SPILL_BYTES;

/// The unit in which an arena's first bytes are granted.
const STEP_BYTES: usize = 256 << 10;
/// Behind this an arena uses huge pages and is granted in their size; before it, ordinary pages,
/// so that a small batch does not cost a huge page.
const HUGE_BYTES: usize = 2 << 20;

/// Bytes charged to a pool's budget. Whoever holds a charge pays until it is dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    total: Arc<AtomicUsize>,
    bytes: usize,
}

impl Charge {
    /// Charges nothing yet to `total`.
    pub(crate) fn new(total: &Arc<AtomicUsize>) -> Self {
        Self { total: Arc::clone(total), bytes: 0 }
    }

    /// Charges `bytes` more, unless the total would pass `budget_bytes`.
    pub(crate) fn try_add(&mut self, bytes: usize, budget_bytes: usize) -> bool {
        // Only the pool's own thread adds; others may subtract at any time, by dropping a buffer.
        if self.total.load(Ordering::Relaxed) + bytes > budget_bytes {
            return false;
        }
        self.total.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
        true
    }

    /// Charges `bytes` more, whatever the total becomes.
    pub(crate) fn add(&mut self, bytes: usize) {
        self.total.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
    }

    /// What is charged.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.total.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// One anonymous mapping of the payload limit and some slack. Its pages cost memory only once they
/// are touched, and only granted bytes may be.
#[derive(Debug)]
pub(crate) struct Arena {
    map: MmapMut,
    granted: usize,
}

impl Arena {
    /// Reserves address space for `bytes_max` bytes of records.
    pub(crate) fn new(bytes_max: usize) -> io::Result<Self> {
        let map = MmapOptions::new().len(bytes_max + SLACK_BYTES).map_anon()?;
        if map.len() > HUGE_BYTES {
            // A kernel without huge pages refuses; ordinary pages do the same, more slowly.
            let _ = map.advise_range(Advice::HugePage, HUGE_BYTES, map.len() - HUGE_BYTES);
        }
        Ok(Self { map, granted: 0 })
    }

    /// What [`granted`](Self::granted) would be after a grant of at least `bytes` of records;
    /// `None` if the mapping is not that large.
    pub(crate) fn rounded(&self, bytes: usize) -> Option<usize> {
        let wanted = bytes + SLACK_BYTES;
        let step = if wanted <= HUGE_BYTES { STEP_BYTES } else { HUGE_BYTES };
        (wanted <= self.map.len()).then(|| wanted.next_multiple_of(step).min(self.map.len()))
    }

    /// The most bytes of records that it can ever hold.
    pub(crate) fn bytes_max(&self) -> usize {
        self.map.len() - SLACK_BYTES
    }

    /// Bytes that may be touched, slack included.
    pub(crate) const fn granted(&self) -> usize {
        self.granted
    }

    /// Allows `granted` bytes to be touched.
    pub(crate) fn grant(&mut self, granted: usize) {
        debug_assert!(granted <= self.map.len());
        self.granted = granted;
    }

    /// Bytes of records that the granted bytes hold.
    pub(crate) const fn capacity(&self) -> usize {
        self.granted.saturating_sub(SLACK_BYTES)
    }

    /// Everything that may be touched.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.map[..self.granted]
    }

    /// Everything that may be touched.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.map[..self.granted]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_grow_in_steps_and_end_at_the_mapping() {
        let arena = Arena::new(6_291_455).unwrap();
        assert_eq!(arena.rounded(1), Some(STEP_BYTES));
        assert_eq!(arena.rounded(STEP_BYTES), Some(2 * STEP_BYTES));
        assert_eq!(arena.rounded(HUGE_BYTES), Some(2 * HUGE_BYTES));
        assert_eq!(arena.rounded(6_291_455), Some(6_291_455 + SLACK_BYTES));
        assert_eq!(arena.rounded(6_291_456), None);
    }

    #[test]
    fn a_charge_is_paid_back_when_dropped() {
        let total = Arc::new(AtomicUsize::new(0));
        let mut charge = Charge::new(&total);
        assert!(charge.try_add(60, 100));
        assert!(!charge.try_add(41, 100));
        assert!(charge.try_add(40, 100));
        drop(charge);
        assert_eq!(total.load(Ordering::Relaxed), 0);
    }
}
