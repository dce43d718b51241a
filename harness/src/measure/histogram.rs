//! Latencies in microseconds, by stage.
//!
//! HDR histograms with three significant digits. A latency below a microsecond counts as zero and
//! is kept: leaving zeros out would move every percentile up.

use std::time::Duration;

use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2Serializer};
use serde::{Deserialize, Serialize};

/// One distribution of durations.
#[derive(Clone, Debug)]
pub struct Latency(Histogram<u64>);

/// A distribution put by, in a few hundred bytes instead of the 200 kB of a [`Latency`]; none at all
/// if it is empty.
#[derive(Clone, Debug, Default)]
pub struct PackedLatency(Vec<u8>);

/// Longer durations count as this one: three hours, far beyond any run.
const MAX_US: u64 = 3 * 3_600 * 1_000_000;

impl Latency {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self(Histogram::new_with_max(MAX_US, 3).expect("bounds and digits are constants within HDR's range"))
    }

    /// Adds `latency`, `count` times: once for each record that it holds for.
    pub fn record(&mut self, latency: Duration, count: u64) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(MAX_US);
        self.0.saturating_record_n(us.min(MAX_US), count);
    }

    /// Adds those of `other`.
    pub fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("both have the same bounds");
    }

    /// Takes everything out.
    pub fn pack(&mut self) -> PackedLatency {
        let mut packed = Vec::new();
        if !self.0.is_empty() {
            V2Serializer::new().serialize(&self.0, &mut packed).expect("writing to a Vec does not fail");
            self.0.reset();
        }
        PackedLatency(packed)
    }

    /// Adds what was packed.
    pub fn unpack(&mut self, packed: &PackedLatency) {
        if !packed.0.is_empty() {
            let other: Histogram<u64> =
                Deserializer::new().deserialize(&mut &packed.0[..]).expect("`pack` wrote it");
            self.0.add(&other).expect("both have the same bounds");
        }
    }

    /// How many were recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The latency below which this share of all lies, in microseconds.
    #[must_use]
    pub fn quantile_us(&self, share: f64) -> u64 {
        self.0.value_at_quantile(share)
    }

    /// The figures of a report.
    #[must_use]
    pub fn summary(&self) -> LatencySummary {
        LatencySummary {
            count: self.0.len(),
            mean_us: self.0.mean(),
            p50_us: self.0.value_at_quantile(0.5),
            p90_us: self.0.value_at_quantile(0.9),
            p99_us: self.0.value_at_quantile(0.99),
            p999_us: self.0.value_at_quantile(0.999),
            max_us: self.0.max(),
        }
    }
}

impl Default for Latency {
    fn default() -> Self {
        Self::new()
    }
}

/// A distribution in a few figures, all in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LatencySummary {
    /// How many latencies it sums up.
    pub count: u64,
    /// The arithmetic mean.
    pub mean_us: f64,
    /// Half were below.
    pub p50_us: u64,
    /// Nine of ten were below.
    pub p90_us: u64,
    /// 99 of 100 were below.
    pub p99_us: u64,
    /// 999 of 1000 were below.
    pub p999_us: u64,
    /// The longest.
    pub max_us: u64,
}

/// The way of a record, cut into stages. `total` is the sum of the first five for each record;
/// percentiles do not add up.
#[derive(Clone, Debug, Default)]
pub struct Stages {
    /// From the intended send to the acknowledgement by the function.
    pub total: Latency,
    /// From the intended send until the engine polled the record: generator, producer's linger,
    /// broker, fetch, and waiting in the client's queue.
    pub broker_wait: Latency,
    /// From the poll until the batch was sealed, without the time spent writing.
    pub window: Latency,
    /// Writing the batch's records as JSON.
    pub encode: Latency,
    /// From the seal until the invocation began.
    pub queue: Latency,
    /// From the first invocation's begin to the last one's answer, retries and their pauses included.
    pub invocation: Latency,
    /// From the answer until the broker acknowledged the commit. Not part of `total`.
    pub commit: Latency,
}

/// [`Stages`] in figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StageSummaries {
    /// See [`Stages::total`].
    pub total: LatencySummary,
    /// See [`Stages::broker_wait`].
    pub broker_wait: LatencySummary,
    /// See [`Stages::window`].
    pub window: LatencySummary,
    /// See [`Stages::encode`].
    pub encode: LatencySummary,
    /// See [`Stages::queue`].
    pub queue: LatencySummary,
    /// See [`Stages::invocation`].
    pub invocation: LatencySummary,
    /// See [`Stages::commit`].
    pub commit: LatencySummary,
}

impl Stages {
    /// The figures of a report.
    #[must_use]
    pub fn summaries(&self) -> StageSummaries {
        StageSummaries {
            total: self.total.summary(),
            broker_wait: self.broker_wait.summary(),
            window: self.window.summary(),
            encode: self.encode.summary(),
            queue: self.queue.summary(),
            invocation: self.invocation.summary(),
            commit: self.commit.summary(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_kept() {
        let mut latency = Latency::new();
        latency.record(Duration::from_nanos(300), 98);
        latency.record(Duration::from_millis(5), 2);
        let summary = latency.summary();
        assert_eq!(summary.count, 100);
        assert_eq!((summary.p50_us, summary.p90_us), (0, 0));
        assert!((4_990..=5_010).contains(&summary.p99_us), "{summary:?}");
    }

    #[test]
    fn what_is_too_long_counts_as_the_longest() {
        let mut latency = Latency::new();
        latency.record(Duration::MAX, 1);
        assert!(latency.summary().max_us >= MAX_US - MAX_US / 500);
    }

    #[test]
    fn what_was_packed_comes_back_whole() {
        let (mut latency, mut whole) = (Latency::new(), Latency::new());
        let mut packed = Vec::new();
        for n in 0..4 {
            latency.record(Duration::from_micros(3 << (n * 7)), n + 1);
            whole.record(Duration::from_micros(3 << (n * 7)), n + 1);
            packed.push(latency.pack());
            assert_eq!(latency.count(), 0);
        }
        packed.push(latency.pack());
        packed.iter().for_each(|packed| latency.unpack(packed));
        assert_eq!(latency.summary(), whole.summary());
    }

    #[test]
    fn an_empty_one_has_figures_too() {
        assert_eq!(Latency::new().summary(), LatencySummary::default());
    }
}
