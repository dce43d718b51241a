//! The law of a real function, from invocations of a few batch sizes.
//!
//! Each size is a short run from memory against the endpoint, through the engine's own invoker; what is
//! measured is what a mapping would see, HTTP included. The middle of each size's invocations is fitted
//! by a constant, a cost for each record and, where values of two sizes can be made, one for each byte;
//! the spread of the smallest size is taken for that of all.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::bail;
use pelton::invoke::law::{Cost, Latency, Law};
use serde::{Deserialize, Serialize};

use crate::run::{RunPlan, Tick, run};
use crate::workload::spec::{BuiltIn, Spec};
use crate::workload::units::{Bytes, Span};
use crate::workload::values::SizeLaw;

/// Records per batch of the probes.
const BATCH_SIZES: [u32; 4] = [1, 10, 100, 1_000];
/// Invocations of each size.
const INVOCATIONS: u64 = 30;
/// Log-normal spreads below this are measured as none.
const SIGMA_MIN: f64 = 0.02;
/// The 90th percentile of a normal law, in deviations.
const DEVIATIONS_P90: f64 = 1.281_551_565_5;

/// What the probes of one batch size came to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// Records per batch.
    pub records: f64,
    /// Bytes of the event.
    pub payload_bytes: f64,
    /// Half of the invocations took less.
    pub p50_us: f64,
    /// Nine of ten took less.
    pub p90_us: f64,
}

/// Probes the endpoint of `spec`. `tell` hears how much is done, from 0 to 1.
///
/// # Errors
/// If it is not reached, or fails.
pub fn probe(
    spec: &Spec,
    interrupted: &AtomicBool,
    tell: &mut dyn FnMut(f64),
) -> anyhow::Result<(Law, Vec<Probe>)> {
    // Smaller values beside the usual ones tell bytes from records. A capture's values are what they are.
    let small = spec.replay.is_none().then(|| small(spec.value_size));
    let sizes: Vec<Option<SizeLaw>> = [None].into_iter().chain(small.map(Some)).collect();
    let all = (BATCH_SIZES.len() * sizes.len()) as f64;
    let mut probes = Vec::new();
    for value_size in sizes {
        for batch_size in BATCH_SIZES {
            if interrupted.load(Ordering::Relaxed) {
                bail!("interrupted before the function was known");
            }
            tell(probes.len() as f64 / all);
            probes.push(of_size(spec, value_size, batch_size, interrupted)?);
        }
    }
    Ok((fit(&probes), probes))
}

fn of_size(
    spec: &Spec,
    value_size: Option<SizeLaw>,
    batch_size: u32,
    interrupted: &AtomicBool,
) -> anyhow::Result<Probe> {
    let flags = Spec {
        source: Some(BuiltIn::Memory),
        records: Some(u64::from(batch_size) * INVOCATIONS),
        warm_up: Some(Span(Duration::ZERO)),
        value_size,
        batch_size: Some(batch_size),
        maximum_batching_window: Some(Span(Duration::from_secs(1))),
        pollers: Some(1),
        threads: Some(1),
        partitions: spec.replay.is_none().then_some(1),
        ..Spec::default()
    };
    let mut base = spec.clone();
    // From memory records are there at once, and each counts.
    (base.arrival, base.backlog, base.filters) = (None, None, None);
    let spec = flags.over(base);
    let scenario = spec.resolve()?;
    let result = run(&RunPlan { name: "probe".into(), spec, scenario }, interrupted, &mut |_: Tick| {})?;
    if result.batches.count == 0 {
        bail!("`endpoint`: no invocation succeeded ({:?}); see RUST_LOG=pelton=debug", result.invocations);
    }
    Ok(Probe {
        records: result.batches.records_mean,
        payload_bytes: result.batches.payload_bytes_mean,
        p50_us: result.latency.invocation.p50_us as f64,
        p90_us: result.latency.invocation.p90_us as f64,
    })
}

/// The law that fits best; nothing in it is negative.
fn fit(probes: &[Probe]) -> Law {
    let [fixed_us, per_record_us, per_byte_us] = least_squares(probes);
    let spread = probes.first().map_or(0.0, |probe| (probe.p90_us / probe.p50_us.max(1.0)).ln());
    let sigma = (spread / DEVIATIONS_P90).clamp(0.0, 4.0);
    let fixed = Duration::from_secs_f64(fixed_us / 1e6);
    Law {
        latency: if sigma < SIGMA_MIN {
            Latency::Fixed(fixed)
        } else {
            Latency::LogNormal { median: fixed, sigma }
        },
        cost: Cost {
            per_record: Duration::from_secs_f64(per_record_us / 1e6),
            per_byte_ns: per_byte_us * 1e3,
        },
        ..Law::default()
    }
}

/// Constant, cost of a record and cost of a byte, by least squares with weights of one over the value's
/// square: a tenth off counts the same for a batch of one and of a thousand. Of all choices of terms
/// that leave none negative, the one that fits best.
fn least_squares(probes: &[Probe]) -> [f64; 3] {
    // Of one size of values, records and bytes cannot be told apart: records take it all.
    let bytes_of = |probe: &Probe| probe.payload_bytes / probe.records.max(1.0);
    let sizes = probes.iter().filter(|probe| probe.records > 1.5).map(bytes_of);
    let (least, most) = sizes.fold((f64::MAX, 0.0_f64), |(least, most), one| (least.min(one), most.max(one)));
    let told_apart = most > least * 1.5;
    let mut best = ([0.0; 3], f64::MAX);
    for terms in 1..8_usize {
        if terms & 4 != 0 && !told_apart {
            continue;
        }
        let chosen: Vec<usize> = (0..3).filter(|term| terms & (1 << term) != 0).collect();
        let Some(found) = solve(probes, &chosen) else { continue };
        let off: f64 = probes
            .iter()
            .map(|probe| {
                let fitted: f64 = row(probe).iter().zip(found).map(|(x, cost)| x * cost).sum();
                ((fitted - probe.p50_us) / probe.p50_us.max(1.0)).powi(2)
            })
            .sum();
        if found.iter().all(|cost| *cost >= 0.0) && off < best.1 {
            best = (found, off);
        }
    }
    best.0
}

fn row(probe: &Probe) -> [f64; 3] {
    [1.0, probe.records, probe.payload_bytes]
}

/// The costs of the chosen terms, the others being zero; `None` if the probes do not tell them apart.
fn solve(probes: &[Probe], chosen: &[usize]) -> Option<[f64; 3]> {
    let count = chosen.len();
    // Normal equations, each with its right side behind.
    let mut rows = vec![[0.0_f64; 4]; count];
    for probe in probes {
        let (x, weight) = (row(probe), 1.0 / probe.p50_us.max(1.0).powi(2));
        for (equation, &one) in rows.iter_mut().zip(chosen) {
            for (place, &other) in chosen.iter().enumerate() {
                equation[place] += weight * x[one] * x[other];
            }
            equation[3] += weight * x[one] * probe.p50_us;
        }
    }
    // Gauss and Jordan. The matrix is symmetric and not negative: its diagonal serves as pivots.
    for pivot in 0..count {
        let head = rows[pivot][pivot];
        if head <= 0.0 || !head.is_finite() {
            return None;
        }
        let scale = rows[pivot].map(|value| value / head);
        rows[pivot] = scale;
        for (number, equation) in rows.iter_mut().enumerate() {
            if number != pivot {
                let factor = equation[pivot];
                for (value, of_pivot) in equation.iter_mut().zip(scale) {
                    *value -= factor * of_pivot;
                }
            }
        }
    }
    let mut found = [0.0; 3];
    for (equation, &term) in rows.iter().zip(chosen) {
        found[term] = equation[3];
    }
    found.iter().all(|cost| cost.is_finite()).then_some(found)
}

/// A quarter of the usual value.
fn small(size: Option<SizeLaw>) -> SizeLaw {
    let usual = match size {
        None => 1_024,
        Some(SizeLaw::Fixed(bytes)) => bytes.0,
        Some(SizeLaw::Uniform { min, max }) => u64::midpoint(min.0, max.0),
        Some(SizeLaw::LogNormal { median, .. }) => median.0,
    };
    SizeLaw::Fixed(Bytes(usual / 4))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn probes(fixed_us: f64, record_us: f64, byte_ns: f64, sigma: f64) -> Vec<Probe> {
        [1_400.0, 250.0]
            .into_iter()
            .flat_map(|record_bytes| {
                BATCH_SIZES.map(|records| {
                    let records = f64::from(records);
                    let payload_bytes = 120.0 + records * record_bytes;
                    let p50_us = fixed_us + record_us * records + byte_ns / 1e3 * payload_bytes;
                    Probe { records, payload_bytes, p50_us, p90_us: p50_us * (sigma * DEVIATIONS_P90).exp() }
                })
            })
            .collect()
    }

    proptest! {
        #[test]
        fn a_law_is_found_again(
            fixed_us in 500.0_f64..200_000.0, record_us in 0.0_f64..500.0, byte_ns in 0.0_f64..20.0,
            sigma in 0.0_f64..1.0,
        ) {
            let law = fit(&probes(fixed_us, record_us, byte_ns, sigma));
            for (records, bytes) in [(1_u32, 1_500_usize), (70, 90_000), (3_000, 4_000_000)] {
                let expected = fixed_us + record_us * f64::from(records) + byte_ns / 1e3 * bytes as f64;
                let mut plain = law.clone();
                if let Latency::LogNormal { median, .. } = plain.latency {
                    plain.latency = Latency::Fixed(median);
                }
                let found = plain.latency(0, records, bytes).as_secs_f64() * 1e6;
                prop_assert!((found / expected - 1.0).abs() < 0.02, "{found} of {expected}: {law:?}");
            }
            match law.latency {
                Latency::LogNormal { sigma: found, .. } => prop_assert!((found - sigma).abs() < 0.01),
                _ => prop_assert!(sigma < SIGMA_MIN + 0.01),
            }
        }

        #[test]
        fn nothing_in_a_law_is_negative(values in prop::collection::vec((0.0_f64..1e6, 0.0_f64..1e6), 8)) {
            let mut probes = probes(1.0, 0.0, 0.0, 0.0);
            for (probe, (p50_us, more)) in probes.iter_mut().zip(&values) {
                (probe.p50_us, probe.p90_us) = (*p50_us, p50_us + more);
            }
            let law = fit(&probes);
            prop_assert!(law.check().is_ok() && law.cost.per_byte_ns >= 0.0, "{:?}", law);
        }
    }

    /// As the payload limit does to batches of large values.
    #[test]
    fn batches_that_were_cut_short_do_not_mislead() {
        let mut probes = probes(5_000.0, 40.0, 5.0, 0.0);
        let cut = &mut probes[3];
        (cut.records, cut.payload_bytes) = (568.0, 120.0 + 568.0 * 11_000.0);
        cut.p50_us = 5_000.0 + 40.0 * 568.0 + 5.0 / 1e3 * cut.payload_bytes;
        let law = fit(&probes);
        assert!((law.cost.per_byte_ns - 5.0).abs() < 0.1, "{law:?}");
        assert!((law.cost.per_record.as_secs_f64() * 1e6 - 40.0).abs() < 1.0, "{law:?}");
    }

    #[test]
    fn one_size_of_values_gives_a_law_without_bytes() {
        let law = fit(&probes(10_000.0, 20.0, 0.0, 0.0)[..4]);
        assert!(law.cost.per_byte_ns.abs() < 1e-12);
        assert!((law.cost.per_record.as_secs_f64() * 1e6 - 20.0).abs() < 0.5, "{law:?}");
    }
}
