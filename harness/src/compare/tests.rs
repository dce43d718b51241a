use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use rand_distr::{Distribution as _, Normal};

use super::*;
use crate::result::{Interval, RunResult, example};

const CRITERIA: Criteria = Criteria { threshold_share: 0.0, confidence_share: 0.95 };

/// A run of `seconds` intervals whose figures wander around those of the example by 3 %, all by
/// chance, and are `factor` times as good.
fn run(seed: u64, seconds: usize, factor: f64) -> Loaded {
    let mut random = SmallRng::seed_from_u64(seed);
    let noise = Normal::new(1.0, 0.03).unwrap();
    let mut figure = |figure: f64| figure * noise.sample(&mut random);
    let intervals = (0..seconds)
        .map(|second| {
            let records = figure(100_000.0 * factor);
            Interval {
                start_s: second as f64,
                elapsed_s: 1.0,
                records: records as u64,
                record_bytes: (records * 1_024.0) as u64,
                engine_cpu_s: figure(records * 0.9e-6 / factor),
                latency_p50_us: Some(figure(20_000.0 / factor) as u64),
                latency_p99_us: Some(figure(80_000.0 / factor) as u64),
            }
        })
        .collect();
    let mut result = RunResult { intervals, ..example() };
    result.throughput.records_per_s = figure(100_000.0 * factor);
    result.throughput.record_bytes_per_s = figure(102_400_000.0 * factor);
    result.cpu.engine_s_per_million_records = figure(0.9 / factor);
    result.latency.total.p50_us = figure(20_000.0 / factor) as u64;
    result.latency.total.p99_us = figure(80_000.0 / factor) as u64;
    Loaded { path: format!("{seed}.json"), result }
}

fn verdicts(comparison: &Comparison) -> Vec<Verdict> {
    comparison.metrics.iter().map(|compared| compared.verdict).collect()
}

#[test]
fn a_clear_difference_is_found_in_either_direction() {
    let (slow, fast) = (run(1, 15, 1.0), run(2, 15, 1.2));
    let worse = compare(std::slice::from_ref(&fast), std::slice::from_ref(&slow), CRITERIA);
    assert_eq!(verdicts(&worse), [Verdict::Worse; 5], "{worse:?}");
    assert_eq!((worse.exit_code(), worse.is_audit_worse), (1, false));
    let better = compare(&[slow], &[fast], CRITERIA);
    assert_eq!(verdicts(&better), [Verdict::Better; 5], "{better:?}");
    assert_eq!(better.exit_code(), 0);
    assert_eq!(better.sample_of, SampleOf::Block);
    let records = &better.metrics[0];
    assert_eq!((records.a_samples, records.b_samples), (7, 7));
    let share = records.difference.unwrap().share;
    assert!((share - 0.2).abs() < 0.05, "{share}");
}

#[test]
fn a_difference_that_does_not_matter_is_no_regression() {
    let (slow, fast) = (run(1, 60, 1.0), run(2, 60, 1.2));
    let criteria = Criteria { threshold_share: 0.5, ..CRITERIA };
    let comparison = compare(&[fast], &[slow], criteria);
    assert_eq!(verdicts(&comparison), [Verdict::BelowThreshold; 5]);
    assert!(!comparison.is_regression);
}

/// With independent noise; what neighbours share is for the blocks, and the next test.
#[test]
fn equals_are_called_different_no_more_often_than_the_confidence_says() {
    for (seconds, runs) in [(15, 1), (60, 1), (20, 3), (10, 7)] {
        let side =
            |seed: u64| -> Vec<Loaded> { (0..runs).map(|one| run(seed + one, seconds, 1.0)).collect() };
        let alarms = (0..400)
            .filter(|pair| {
                let seed = pair * 1_000 * runs;
                let comparison = compare(&side(seed), &side(seed + 500 * runs), CRITERIA);
                verdicts(&comparison).iter().any(|verdict| *verdict != Verdict::WithinNoise)
            })
            .count();
        // Three standard deviations above 5 %.
        assert!(alarms <= 33, "{alarms} false alarms in 400 comparisons of {runs} runs of {seconds} s");
    }
}

/// A load that wanders: each second is half like the one before. Taken as 60 independent samples it
/// would raise a false alarm in a quarter of all comparisons; as blocks, in 6.5 %.
#[test]
fn what_neighbours_share_is_not_taken_for_certainty() {
    let wandering = |seed: u64| {
        let mut loaded = run(seed, 60, 1.0);
        let mut random = SmallRng::seed_from_u64(seed ^ 0xABCD);
        let mut level = 0.0;
        for interval in &mut loaded.result.intervals {
            level = 0.5 * level + 0.06 * (random.random::<f64>() - 0.5);
            interval.records = (100_000.0 * (1.0 + level)) as u64;
        }
        loaded
    };
    let alarms = (0..400)
        .filter(|pair| {
            let comparison = compare(&[wandering(pair * 2)], &[wandering(pair * 2 + 1)], CRITERIA);
            comparison.metrics[0].difference.unwrap().p_value <= 0.05
        })
        .count();
    assert!(alarms <= 40, "{alarms} of 400");
}

#[test]
fn an_interval_holds_the_truth_as_often_as_the_confidence_says() {
    let held = (0..400)
        .filter(|pair| {
            let comparison = compare(&[run(pair * 2, 30, 1.0)], &[run(pair * 2 + 1, 30, 1.1)], CRITERIA);
            let difference = comparison.metrics[0].difference.unwrap();
            (difference.low_share..=difference.high_share).contains(&0.1)
        })
        .count();
    // Three standard deviations below 95 %.
    assert!(held >= 367, "{held} of 400");
}

#[test]
fn few_intervals_or_none_are_too_few() {
    for (a, b) in [(4, 15), (15, 0), (0, 0)] {
        let comparison = compare(&[run(1, a, 1.0)], &[run(2, b, 2.0)], CRITERIA);
        assert_eq!(verdicts(&comparison), [Verdict::TooFewSamples; 5], "{a} and {b}");
        assert_eq!(comparison.exit_code(), 0);
    }
}

#[test]
fn many_runs_are_compared_as_runs_and_need_no_intervals() {
    let side = |seed: u64, factor| (0..6).map(|n| run(seed + n, 0, factor)).collect::<Vec<_>>();
    let comparison = compare(&side(10, 1.2), &side(20, 1.0), CRITERIA);
    assert_eq!(comparison.sample_of, SampleOf::Run);
    assert_eq!(verdicts(&comparison), [Verdict::Worse; 5]);
    assert!(comparison.warnings.is_empty(), "{:?}", comparison.warnings);
    // With five the blocks of all of them are.
    let side = |seed: u64| (0..5).map(|n| run(seed + n, 15, 1.0)).collect::<Vec<_>>();
    let comparison = compare(&side(10), &side(20), CRITERIA);
    assert_eq!((comparison.sample_of, comparison.metrics[0].a_samples), (SampleOf::Block, 35));
}

#[test]
fn an_audit_that_fails_is_a_regression_unless_it_failed_before() {
    let (clean, mut lossy) = (run(1, 15, 1.0), run(2, 15, 1.0));
    lossy.result.audit.records_lost = 1;
    let of = |a: &Loaded, b: &Loaded| {
        let comparison = compare(std::slice::from_ref(a), std::slice::from_ref(b), CRITERIA);
        (comparison.is_audit_worse, comparison.exit_code())
    };
    assert_eq!(of(&clean, &lossy), (true, 1));
    assert_eq!(of(&lossy, &lossy), (false, 0));
    assert_eq!(of(&lossy, &clean), (false, 0));
}
