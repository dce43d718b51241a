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
    // Half of the usual value beside it tells bytes from records. A capture's values are what they are.
    let small = match (&spec.replay, spec.value_size) {
        (Some(_), _) => None,
        (None, size) => {
            Some(SizeLaw::Fixed(Bytes(size.map_or(1_024, |size| size.max().0.min(64 << 10)) / 8)))
        }
    };
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
    base.arrival = None;
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
    // Sizes in pairs of equal records: what differs is bytes.
    let (whole, small) = probes.split_at(BATCH_SIZES.len().min(probes.len()));
    let per_byte_us = slope(
        whole
            .iter()
            .zip(small)
            .map(|(one, other)| (one.payload_bytes - other.payload_bytes, one.p50_us - other.p50_us)),
    );
    let without_bytes = |probe: &Probe| (probe.records, probe.p50_us - per_byte_us * probe.payload_bytes);
    let (fixed_us, per_record_us) = line(&probes.iter().map(without_bytes).collect::<Vec<_>>());
    let spread = probes.first().map_or(0.0, |probe| (probe.p90_us / probe.p50_us.max(1.0)).ln());
    let sigma = (spread / DEVIATIONS_P90).clamp(0.0, 4.0);
    let fixed = Duration::from_secs_f64(fixed_us.max(0.0) / 1e6);
    Law {
        latency: if sigma < SIGMA_MIN {
            Latency::Fixed(fixed)
        } else {
            Latency::LogNormal { median: fixed, sigma }
        },
        cost: Cost {
            per_record: Duration::from_secs_f64(per_record_us.max(0.0) / 1e6),
            per_byte_ns: per_byte_us * 1e3,
        },
        ..Law::default()
    }
}

/// The slope through the origin, by least squares; not negative.
fn slope(points: impl Iterator<Item = (f64, f64)>) -> f64 {
    let (mut xy, mut xx) = (0.0, 0.0);
    for (x, y) in points {
        xy += x * y;
        xx += x * x;
    }
    if xx > 0.0 { (xy / xx).max(0.0) } else { 0.0 }
}

/// Constant and slope, by least squares with weights of one over the value's square: a tenth off counts
/// the same for a batch of one and of a thousand. Neither is negative.
fn line(points: &[(f64, f64)]) -> (f64, f64) {
    let (mut w, mut wx, mut wy, mut wxx, mut wxy) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for (x, y) in points {
        let weight = 1.0 / y.max(1.0).powi(2);
        w += weight;
        wx += weight * x;
        wy += weight * y;
        wxx += weight * x * x;
        wxy += weight * x * y;
    }
    let determinant = w * wxx - wx * wx;
    if determinant.abs() < f64::EPSILON * w * wxx {
        return (if w > 0.0 { wy / w } else { 0.0 }, 0.0);
    }
    let slope = (w * wxy - wx * wy) / determinant;
    let constant = (wy - slope * wx) / w;
    if slope < 0.0 {
        (wy / w, 0.0)
    } else if constant < 0.0 {
        (0.0, wxy / wxx)
    } else {
        (constant, slope)
    }
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
            prop_assert!(fit(&probes).check().is_ok());
        }
    }

    #[test]
    fn one_size_of_values_gives_a_law_without_bytes() {
        let law = fit(&probes(10_000.0, 20.0, 0.0, 0.0)[..4]);
        assert!(law.cost.per_byte_ns.abs() < 1e-12);
        assert!((law.cost.per_record.as_secs_f64() * 1e6 - 20.0).abs() < 0.5, "{law:?}");
    }
}
