//! What is compared, and the samples of it that a run has.

use serde::{Deserialize, Serialize};

use crate::result::{Interval, RunResult, ratio};

/// What is compared. The name carries the unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Records delivered per second.
    RecordsPerS,
    /// Key, value and header bytes per second.
    RecordBytesPerS,
    /// The total latency that half of the records stay below, in microseconds.
    LatencyP50Us,
    /// The total latency that 99 of 100 records stay below, in microseconds.
    LatencyP99Us,
    /// CPU time of the engine, in seconds per million records.
    EngineCpuSPerMillionRecords,
}

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Larger figures are better.
    Higher,
    /// Smaller figures are better.
    Lower,
}

/// What a sample is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SampleOf {
    /// A block of intervals of a run.
    Block,
    /// A whole run.
    Run,
}

/// A run is not cut into fewer blocks, if it has as many intervals. Of 6 and 6 samples that do not
/// overlap the test says 0.005, which five metrics at 0.95 need.
const BLOCKS_MIN: usize = 6;
/// Nor into more: blocks should be longer than what makes neighbours alike.
const BLOCKS_MAX: usize = 10;

impl Metric {
    /// All of them, in the order of the report.
    pub const ALL: [Self; 5] = [
        Self::RecordsPerS,
        Self::RecordBytesPerS,
        Self::LatencyP50Us,
        Self::LatencyP99Us,
        Self::EngineCpuSPerMillionRecords,
    ];

    /// Which way is better.
    #[must_use]
    pub fn better(self) -> Direction {
        match self {
            Self::RecordsPerS | Self::RecordBytesPerS => Direction::Higher,
            Self::LatencyP50Us | Self::LatencyP99Us | Self::EngineCpuSPerMillionRecords => Direction::Lower,
        }
    }

    /// The samples of one run. Parts in which the metric has no value give none.
    #[must_use]
    pub fn samples(self, run: &RunResult, sample_of: SampleOf) -> Vec<f64> {
        match sample_of {
            SampleOf::Run => self.of_run(run).into_iter().collect(),
            SampleOf::Block => blocks(&run.intervals).filter_map(|block| self.of_block(block)).collect(),
        }
    }

    fn of_run(self, run: &RunResult) -> Option<f64> {
        let (throughput, latency) = (&run.throughput, &run.latency.total);
        match self {
            Self::RecordsPerS => (throughput.elapsed_s > 0.0).then_some(throughput.records_per_s),
            Self::RecordBytesPerS => (throughput.elapsed_s > 0.0).then_some(throughput.record_bytes_per_s),
            Self::LatencyP50Us => (latency.count > 0).then(|| at_least_1_us(latency.p50_us)),
            Self::LatencyP99Us => (latency.count > 0).then(|| at_least_1_us(latency.p99_us)),
            Self::EngineCpuSPerMillionRecords => {
                Some(run.cpu.engine_s_per_million_records).filter(|cpu_s| *cpu_s > 0.0)
            }
        }
    }

    /// A percentile of a block is the mean over its intervals: how a second's p99 is on average. That is
    /// not the p99 of the block, and need not be to be compared with another of its kind.
    fn of_block(self, block: &[Interval]) -> Option<f64> {
        let sum = |of: fn(&Interval) -> f64| block.iter().map(of).sum::<f64>();
        let mean = |of: fn(&Interval) -> Option<u64>| {
            let figures: Vec<f64> = block.iter().filter_map(of).map(at_least_1_us).collect();
            (!figures.is_empty()).then(|| figures.iter().sum::<f64>() / figures.len() as f64)
        };
        let (elapsed_s, records) = (sum(|one| one.elapsed_s), sum(|one| one.records as f64));
        match self {
            Self::RecordsPerS => Some(ratio(records, elapsed_s)),
            Self::RecordBytesPerS => Some(ratio(sum(|one| one.record_bytes as f64), elapsed_s)),
            Self::LatencyP50Us => mean(|one| one.latency_p50_us),
            Self::LatencyP99Us => mean(|one| one.latency_p99_us),
            Self::EngineCpuSPerMillionRecords => {
                Some(ratio(sum(|one| one.engine_cpu_s), records / 1e6)).filter(|cpu_s| *cpu_s > 0.0)
            }
        }
    }
}

/// Below a microsecond nothing is measured, and of nothing no share can be told.
fn at_least_1_us(us: u64) -> f64 {
    us.max(1) as f64
}

/// Intervals in a row, as equal in number as can be.
fn blocks(intervals: &[Interval]) -> impl Iterator<Item = &[Interval]> {
    let number = intervals.len().min((intervals.len() / 2).clamp(BLOCKS_MIN, BLOCKS_MAX));
    (0..number).map(move |block| {
        &intervals[block * intervals.len() / number..(block + 1) * intervals.len() / number]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_hold_all_intervals_and_are_of_two_or_more_where_there_are_enough() {
        let lengths = |intervals: usize| -> Vec<usize> {
            blocks(&vec![Interval::default(); intervals]).map(<[Interval]>::len).collect()
        };
        assert_eq!(lengths(0), [0_usize; 0]);
        assert_eq!(lengths(5), [1; 5]);
        assert_eq!(lengths(10), [1, 2, 2, 1, 2, 2]);
        assert_eq!(lengths(15), [2, 2, 2, 2, 2, 2, 3]);
        assert_eq!(lengths(512).iter().sum::<usize>(), 512);
        assert_eq!(lengths(512).len(), BLOCKS_MAX);
    }

    #[test]
    fn a_block_is_as_fast_as_its_intervals_together() {
        let interval = |elapsed_s, records, latency_p99_us| Interval {
            elapsed_s,
            records,
            record_bytes: records * 10,
            engine_cpu_s: 0.5,
            latency_p50_us: Some(0),
            latency_p99_us,
            ..Interval::default()
        };
        let block = [interval(1.0, 100, Some(10)), interval(3.0, 300, Some(20)), interval(1.0, 0, None)];
        let figures = Metric::ALL.map(|metric| metric.of_block(&block).unwrap());
        for (figure, expected) in figures.into_iter().zip([80.0, 800.0, 1.0, 15.0, 3_750.0]) {
            assert!((figure - expected).abs() < 1e-9, "{figures:?}");
        }
        let idle = [interval(1.0, 0, None)];
        assert_eq!(Metric::LatencyP99Us.of_block(&idle), None);
        assert_eq!(Metric::EngineCpuSPerMillionRecords.of_block(&idle), None);
        assert_eq!(Metric::RecordsPerS.of_block(&idle), Some(0.0));
    }
}
