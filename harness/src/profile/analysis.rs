//! From samples and slices to stages.

use std::collections::BTreeMap;
use std::time::Duration;

use super::result::{Agreement, Sampling, ThreadReport};
use super::session::{Seen, Slice};
use super::stages::{Stage, ThreadKind, stage_of};
use super::symbols::{Detail, Symbols};
use crate::result::ratio;

/// CPU time by stage.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stages {
    /// CPU time in profiled slices, and the samples that say so.
    pub by_stage: BTreeMap<Stage, (Duration, u64)>,
    /// Samples of all stages.
    pub samples: u64,
}

impl Stages {
    /// Assigns each thread's CPU time, as its clock tells it, to stages in proportion to its
    /// samples. A thread without samples counts as a whole: as polling if it is the Kafka client's,
    /// else as unknown.
    #[must_use]
    pub fn of(seen: &Seen, symbols: &Symbols, detail: Detail) -> Self {
        let mut tally = Tally::default();
        for ((thread, addresses), weight) in &seen.stacks {
            let Some(kind) = seen.threads.get(thread).map(|thread| thread.kind) else { continue };
            let calls: Vec<_> = addresses.iter().map(|address| symbols.frames(*address)).collect();
            let stage = stage_of(calls.iter().flat_map(|call| call.iter()), kind);
            let stage = if detail == Detail::Inlined { stage } else { stage.merged() };
            tally.add(*thread, stage, weight.samples, weight.intervals);
        }
        tally.spread(seen.threads.iter().map(|(number, thread)| (*number, thread.kind, thread.cpu_profiled)))
    }

    /// CPU time of all stages.
    #[must_use]
    pub fn total(&self) -> Duration {
        self.by_stage.values().map(|(cpu, _)| *cpu).sum()
    }

    /// How certain a share is: half the width of the interval that holds it 19 times out of 20, by
    /// the number of samples.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a number of samples")]
    pub fn share_error(&self, share: f64) -> f64 {
        1.96 * ratio(share * (1.0 - share), self.samples as f64).sqrt()
    }
}

/// Samples by thread and stage.
#[derive(Debug, Default)]
struct Tally(BTreeMap<u32, BTreeMap<Stage, (u64, u64)>>);

impl Tally {
    fn add(&mut self, thread: u32, stage: Stage, samples: u64, intervals: u64) {
        let sum = self.0.entry(thread).or_default().entry(stage).or_default();
        sum.0 += samples;
        sum.1 += intervals;
    }

    #[expect(clippy::cast_precision_loss, reason = "a number of samples")]
    fn spread(&self, threads: impl Iterator<Item = (u32, ThreadKind, Duration)>) -> Stages {
        let mut stages = Stages::default();
        for (thread, kind, cpu) in threads {
            let Some(tally) = self.0.get(&thread) else {
                let stage = if kind == ThreadKind::Client { Stage::Poll } else { Stage::Unknown };
                stages.by_stage.entry(stage).or_default().0 += cpu;
                continue;
            };
            let intervals: u64 = tally.values().map(|(_, intervals)| intervals).sum();
            for (stage, (samples, part)) in tally {
                let sum = stages.by_stage.entry(*stage).or_default();
                sum.0 += cpu.mul_f64(ratio(*part as f64, intervals as f64));
                sum.1 += samples;
                stages.samples += samples;
            }
        }
        stages
    }
}

/// Whether the samples stand for all of the CPU time.
#[must_use]
pub fn sampling(seen: &Seen, interval: Duration) -> Sampling {
    let cpu: Duration = seen.threads.values().map(|thread| thread.cpu_profiled).sum();
    let intervals: u64 = seen.stacks.values().map(|weight| weight.intervals).sum();
    let share = |intervals: u64| {
        #[expect(clippy::cast_precision_loss, reason = "a number of samples")]
        let intervals = intervals as f64;
        ratio(intervals * interval.as_secs_f64(), cpu.as_secs_f64())
    };
    Sampling {
        interval_us: interval.as_secs_f64() * 1e6,
        samples: seen.stacks.values().map(|weight| weight.samples).sum(),
        covered_share: share(intervals),
        dropped_share: share(seen.dropped_intervals),
        without_stack: seen.without_stack,
    }
}

/// CPU time by kind of thread.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "counts of a run")]
pub fn threads(seen: &Seen, records: u64) -> Vec<ThreadReport> {
    let mut kinds: BTreeMap<ThreadKind, (usize, Duration)> = BTreeMap::new();
    for thread in seen.threads.values() {
        let sum = kinds.entry(thread.kind).or_default();
        sum.0 += 1;
        sum.1 += thread.cpu_profiled;
    }
    let all: Duration = kinds.values().map(|(_, cpu)| *cpu).sum();
    kinds
        .into_iter()
        .map(|(kind, (threads, cpu))| ThreadReport {
            kind,
            threads,
            cpu_ns_per_record: ratio(cpu.as_nanos() as f64, records as f64),
            share: ratio(cpu.as_secs_f64(), all.as_secs_f64()),
        })
        .collect()
}

/// Compares slices with and without profiling.
#[must_use]
pub fn agreement(slices: &[Slice]) -> Agreement {
    let per_record = |profiled: bool| {
        let of = || slices.iter().filter(move |slice| slice.profiled == profiled);
        ns_per_record(of().map(|slice| slice.cpu).sum(), of().map(|slice| slice.delivered.records).sum())
    };
    let (plain, profiled) = (per_record(false), per_record(true));
    // Pairs of neighbours: what the machine does otherwise is the same for both, mostly.
    let mut ratios: Vec<f64> = slices
        .chunks_exact(2)
        .filter_map(|pair| {
            let (one, other) = if pair[1].profiled { (pair[0], pair[1]) } else { (pair[1], pair[0]) };
            let is_pair = !one.profiled && other.profiled;
            let of = |slice: Slice| ns_per_record(slice.cpu, slice.delivered.records);
            (is_pair && of(one) > 0.0 && of(other) > 0.0).then(|| of(other) / of(one))
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    let at = |quarter: usize| {
        ratios
            .get((ratios.len() * quarter / 4).min(ratios.len().saturating_sub(1)))
            .copied()
            .unwrap_or_default()
    };
    Agreement {
        plain_cpu_ns_per_record: plain,
        profiled_cpu_ns_per_record: profiled,
        ratio: ratio(profiled, plain),
        ratio_median: at(2),
        ratio_quartile_low: at(1),
        ratio_quartile_high: at(3),
        pairs: ratios.len(),
    }
}

/// CPU time per record, zero without records.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "counts of a run")]
pub fn ns_per_record(cpu: Duration, records: u64) -> f64 {
    ratio(cpu.as_nanos() as f64, records as f64)
}

#[cfg(test)]
mod tests {
    use super::super::session::{Delivered, Thread, Weight};
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_threads_clock_is_shared_out_by_its_samples_and_nothing_is_lost() {
        let mut tally = Tally::default();
        tally.add(1, Stage::Base64, 10, 30);
        tally.add(1, Stage::Batch, 5, 10);
        tally.add(2, Stage::Send, 1, 1);
        let threads = [
            (1, ThreadKind::Consumer, 80 * MS),
            (2, ThreadKind::Invocation, 7 * MS),
            (3, ThreadKind::Client, 9 * MS),
            (4, ThreadKind::Other, 4 * MS),
        ];
        let stages = tally.spread(threads.into_iter());
        assert_eq!(stages.by_stage[&Stage::Base64], (60 * MS, 10));
        assert_eq!(stages.by_stage[&Stage::Batch], (20 * MS, 5));
        assert_eq!(stages.by_stage[&Stage::Send], (7 * MS, 1));
        assert_eq!(stages.by_stage[&Stage::Poll], (9 * MS, 0));
        assert_eq!(stages.by_stage[&Stage::Unknown], (4 * MS, 0));
        assert_eq!(stages.total(), 100 * MS);
        assert_eq!(stages.samples, 16);
    }

    #[test]
    fn fewer_samples_are_less_certain() {
        let of = |samples| Stages { samples, ..Stages::default() }.share_error(0.5);
        assert!((of(100) - 0.098).abs() < 1e-9);
        assert!((of(10_000) - 0.0098).abs() < 1e-9);
        assert!(of(0).abs() < 1e-9);
    }

    #[test]
    fn samples_are_held_against_the_clock() {
        let thread = Thread { name: "a".into(), kind: ThreadKind::Consumer, cpu_profiled: 100 * MS };
        let mut seen = Seen { dropped_intervals: 5, ..Seen::default() };
        seen.threads.insert(1, thread);
        seen.stacks.insert((1, vec![7]), Weight { samples: 30, intervals: 90 });
        let sampling = sampling(&seen, MS);
        assert!((sampling.covered_share - 0.9).abs() < 1e-9);
        assert!((sampling.dropped_share - 0.05).abs() < 1e-9);
        assert_eq!(sampling.samples, 30);
    }

    fn slice(profiled: bool, cpu_ms: u32, records: u64) -> Slice {
        let delivered = Delivered { records, ..Delivered::default() };
        Slice { profiled, elapsed: MS, delivered, cpu: cpu_ms * MS }
    }

    #[test]
    fn neighbours_are_compared_whichever_comes_first() {
        let slices = [
            slice(false, 100, 1_000),
            slice(true, 104, 1_000),
            // The machine was twice as slow here, for both.
            slice(true, 208, 1_000),
            slice(false, 200, 1_000),
            slice(false, 100, 1_000),
        ];
        let agreement = agreement(&slices);
        assert_eq!(agreement.pairs, 2);
        assert!((agreement.ratio_median - 1.04).abs() < 1e-9);
        assert!((agreement.plain_cpu_ns_per_record - 400e6 / 3_000.0).abs() < 1e-6);
        assert_eq!(super::agreement(&[]).pairs, 0);
        // Nothing was delivered in one of them.
        assert_eq!(super::agreement(&[slice(false, 1, 0), slice(true, 1, 5)]).pairs, 0);
    }
}
