//! Fixed-bucket histograms that one thread writes and others read.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What a histogram measures and where its buckets end.
#[derive(Debug)]
pub(super) struct Scale {
    pub name: &'static str,
    pub help: &'static str,
    /// Upper ends, inclusive, increasing, in the unit that is observed.
    pub bounds: &'static [u64],
    /// How many observed units make one of the metric's (1000 ms in a second).
    pub per_unit: f64,
}

/// Ends of buckets that a scale may have.
const BOUNDS_MAX: usize = 20;

const _: () = {
    let scales = [
        super::names::RECORD_AGE,
        super::names::INVOCATION,
        super::names::BATCH_RECORDS,
        super::names::PAYLOAD_BYTES,
    ];
    let mut i = 0;
    while i < scales.len() {
        assert!(scales[i].bounds.len() <= BOUNDS_MAX);
        i += 1;
    }
};

/// A counter that one thread writes: a plain add, no locked instruction.
#[derive(Debug, Default)]
pub(super) struct Cell64(AtomicU64);

impl Cell64 {
    /// Adds. Only from the one thread that owns the shard.
    pub(super) fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    pub(super) fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

#[derive(Debug)]
pub(super) struct Histogram {
    scale: &'static Scale,
    /// One per bound and one beyond the last.
    buckets: [Cell64; BOUNDS_MAX + 1],
    sum: Cell64,
}

impl Histogram {
    pub(super) fn new(scale: &'static Scale) -> Self {
        Self { scale, buckets: Default::default(), sum: Cell64::default() }
    }

    /// Observes `value` `times` times.
    pub(super) fn observe(&self, value: u64, times: u64) {
        // Counting the bounds below is branchless and as quick as a search over so few.
        let bucket = self.scale.bounds.iter().filter(|bound| value > **bound).count();
        self.buckets[bucket].add(times);
        self.sum.add(value.saturating_mul(times));
    }

    pub(super) fn add_to(&self, totals: &mut HistogramTotals) {
        for (total, bucket) in totals.counts.iter_mut().zip(&self.buckets) {
            *total += bucket.get();
        }
        totals.sum += self.sum.get();
    }
}

/// A histogram summed over threads.
#[derive(Clone, Debug)]
pub struct HistogramTotals {
    scale: &'static Scale,
    counts: Vec<u64>,
    sum: u64,
}

impl HistogramTotals {
    pub(super) fn new(scale: &'static Scale) -> Self {
        Self { scale, counts: vec![0; scale.bounds.len() + 1], sum: 0 }
    }

    /// The metric's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.scale.name
    }

    /// What it measures.
    #[must_use]
    pub fn help(&self) -> &'static str {
        self.scale.help
    }

    /// Observations in all.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The sum of all observations, in the metric's unit.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "Prometheus counts in doubles")]
    pub fn sum(&self) -> f64 {
        self.sum as f64 / self.scale.per_unit
    }

    /// Each bucket's upper end in the metric's unit with the observations in it; the last end is
    /// [`f64::INFINITY`].
    #[expect(clippy::cast_precision_loss, reason = "Prometheus counts in doubles")]
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        let ends = self.scale.bounds.iter().map(|bound| *bound as f64 / self.scale.per_unit);
        ends.chain([f64::INFINITY]).zip(self.counts.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::super::names::{BATCH_RECORDS, INVOCATION, PAYLOAD_BYTES, RECORD_AGE};
    use super::*;

    #[test]
    fn a_bound_is_the_last_value_of_its_bucket() {
        let histogram = Histogram::new(&BATCH_RECORDS);
        histogram.observe(1, 1);
        histogram.observe(2, 1);
        histogram.observe(3, 2);
        histogram.observe(10_001, 1);
        let mut totals = HistogramTotals::new(&BATCH_RECORDS);
        histogram.add_to(&mut totals);
        let filled: Vec<_> = totals.buckets().filter(|(_, count)| *count > 0).collect();
        assert_eq!(filled, [(1.0, 1), (2.0, 1), (5.0, 2), (f64::INFINITY, 1)]);
        assert_eq!((totals.count(), totals.sum()), (5, 10_010.0));
    }

    #[test]
    fn seconds_are_written_in_their_own_unit() {
        let histogram = Histogram::new(&INVOCATION);
        histogram.observe(1_500, 2);
        let mut totals = HistogramTotals::new(&INVOCATION);
        histogram.add_to(&mut totals);
        assert!((totals.sum() - 0.003).abs() < 1e-12);
        assert!(totals.buckets().any(|(end, count)| (end - 0.002).abs() < 1e-12 && count == 2));
    }

    #[test]
    fn bounds_increase() {
        for scale in [RECORD_AGE, INVOCATION, BATCH_RECORDS, PAYLOAD_BYTES] {
            assert!(scale.bounds.is_sorted_by(|a, b| a < b), "{}", scale.name);
        }
    }
}
