//! What the engine adds to consuming: its CPU per record, end to end with a function that answers
//! at once, beside that of a bare librdkafka consumer over the same topic in the same process.
//!
//! The topic is filled first, so that both read the same batches at their own pace, and neither
//! broker nor loader works for one side more than for the other. The sides take turns over several
//! rounds; what is compared is the CPU time of the threads that each side started, from its first
//! to its last record, connecting and joining the group included. Rounds are paired, and the ratio
//! is shown with its spread.

pub(crate) mod bare;
mod sides;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ledger::Ledger;
use crate::load::{LoadSettings, Loader};
use crate::measure::machine::Machine;
use crate::result::ratio;
use crate::topic::RunTopic;
use crate::workload::recording::Recording;
use crate::workload::scenario::{MappingSpec, Workload};
use crate::workload::units::Bytes;
use crate::workload::values::SizeLaw;
use pelton::time::{Clock, Nanos};

use sides::Side;

/// What is to be compared.
#[derive(Clone, Debug)]
pub struct OverheadPlan {
    /// A cluster, or `None` for the embedded broker.
    pub brokers: Option<String>,
    /// Value sizes, one after the other; of no meaning in a replay, which has its own.
    pub sizes: Vec<Bytes>,
    /// How often each side reads each topic.
    pub rounds: usize,
    /// What a topic is filled with, at most, for each size.
    pub bytes: Bytes,
    /// All but the value sizes.
    pub workload: Workload,
    /// The engine's settings.
    pub mapping: MappingSpec,
}

/// The comparison for all sizes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Overhead {
    /// The version of this format.
    pub version: u32,
    /// Where it ran.
    pub machine: Machine,
    /// The engine's records per batch.
    pub batch_size_records: u32,
    /// Pollers, and queues of the bare consumer.
    pub pollers: usize,
    /// One for each size.
    pub sizes: Vec<Comparison>,
}

/// The comparison for one size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Size of each value; in a replay their mean.
    pub value_bytes: u64,
    /// Records that each side read in each round.
    pub records: u64,
    /// Each with both sides.
    pub rounds: Vec<Round>,
    /// The engine's CPU over the bare consumer's: the median of the rounds.
    pub ratio_median: f64,
    /// The smallest.
    pub ratio_min: f64,
    /// The largest.
    pub ratio_max: f64,
    /// The engine's best round over the bare consumer's best: what else runs on a machine only ever
    /// adds CPU time, so this is what a busy one hides least.
    pub ratio_of_best: f64,
    /// The bare consumer's CPU time per record, median of the rounds.
    pub bare_cpu_ns_per_record: f64,
    /// The engine's CPU time per record, median of the rounds.
    pub engine_cpu_ns_per_record: f64,
}

/// One reading by each side.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Round {
    /// The bare consumer's.
    pub bare: Reading,
    /// The engine's.
    pub engine: Reading,
}

/// One reading of a whole topic.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// CPU time of all threads of this side, its Kafka client's included.
    pub cpu_s: f64,
    /// Wall time until the last record.
    pub elapsed_s: f64,
}

/// The version of [`Overhead`].
const VERSION: u32 = 1;

/// What a partition of the embedded broker is filled with: below its retention of 5 MiB, of which
/// batch headers take a part.
const EMBEDDED_PARTITION_BYTES: u64 = 4 << 20;
/// What a record takes beside its value, key and headers in a large batch; on the safe side.
const RECORD_OVERHEAD_BYTES: u64 = 24;

/// Compares. `tell` hears what is being done.
///
/// # Errors
/// If a topic cannot be filled, or a side does not come to its end.
pub fn overhead(plan: &OverheadPlan, tell: &mut dyn FnMut(&str)) -> anyhow::Result<Overhead> {
    let mut sizes = Vec::with_capacity(plan.sizes.len());
    match plan.workload.replay {
        None => {
            for size in &plan.sizes {
                let workload = Workload { value_size: SizeLaw::Fixed(*size), ..plan.workload.clone() };
                let per_record = size.0 + workload.side_bytes() + RECORD_OVERHEAD_BYTES;
                let records = (topic_bytes(plan, workload.partitions) / per_record).max(1);
                sizes.push(compare(plan, *size, &workload, records, tell)?);
            }
        }
        Some(recording) => {
            let totals = recording.totals();
            let mean = Bytes(totals.value_bytes / totals.records);
            sizes.push(compare(plan, mean, &plan.workload, fitting(plan, recording), tell)?);
        }
    }
    Ok(Overhead {
        version: VERSION,
        machine: Machine::look(),
        batch_size_records: plan.mapping.batch_size,
        pollers: plan.mapping.pollers,
        sizes,
    })
}

/// What a topic may be filled with.
fn topic_bytes(plan: &OverheadPlan, partitions: u32) -> u64 {
    let limit =
        if plan.brokers.is_none() { EMBEDDED_PARTITION_BYTES * u64::from(partitions) } else { u64::MAX };
    plan.bytes.0.min(limit)
}

/// How many records of a replay a topic may be filled with: partitions of the embedded broker are
/// filled as unevenly as the capture's, and none beyond what it keeps.
fn fitting(plan: &OverheadPlan, recording: &Recording) -> u64 {
    let partition_max = if plan.brokers.is_none() { EMBEDDED_PARTITION_BYTES } else { u64::MAX };
    let mut filled = vec![(0_u64, 0_usize); recording.partitions().len()];
    let (mut records, mut bytes) = (0, 0);
    for sending in recording.sendings().iter().cycle() {
        let (partition_bytes, next) = &mut filled[sending.partition as usize];
        let own = &recording.partitions()[sending.partition as usize].records;
        let record = own[*next % own.len()].bytes() + RECORD_OVERHEAD_BYTES;
        (*partition_bytes, *next, bytes) = (*partition_bytes + record, *next + 1, bytes + record);
        if *partition_bytes > partition_max || bytes > plan.bytes.0 {
            break;
        }
        records += 1;
    }
    records.max(1)
}

fn compare(
    plan: &OverheadPlan,
    size: Bytes,
    workload: &Workload,
    records: u64,
    tell: &mut dyn FnMut(&str),
) -> anyhow::Result<Comparison> {
    let topic = match &plan.brokers {
        Some(brokers) => RunTopic::create(brokers, workload.partitions)?,
        None => RunTopic::embedded(workload.partitions)?,
    };
    tell(&format!("{size}: filling {records} records"));
    fill(&topic, workload, records)?;
    let mut rounds = Vec::with_capacity(plan.rounds);
    for round in 0..plan.rounds {
        let mut read = |side: Side| {
            tell(&format!("{size}: round {} of {}, {side}", round + 1, plan.rounds));
            let mut feed = topic.feed(plan.brokers.is_none());
            feed.group = format!("{}-{size}-{round}-{side}", topic.group);
            side.read(&plan.mapping, feed, records)
        };
        // Who goes first finds colder caches: take turns.
        rounds.push(if round % 2 == 0 {
            let bare = read(Side::Bare)?;
            Round { bare, engine: read(Side::Engine)? }
        } else {
            let engine = read(Side::Engine)?;
            Round { bare: read(Side::Bare)?, engine }
        });
    }
    topic.remove()?;
    Ok(summary(size, records, rounds))
}

/// Sends `records` records as fast as the broker takes them.
fn fill(topic: &RunTopic, workload: &Workload, records: u64) -> anyhow::Result<()> {
    let settings = LoadSettings {
        bootstrap_servers: topic.brokers.clone(),
        topic: topic.topic.to_string(),
        compression: workload.compression,
        // Full batches: the cheapest case for the bare consumer, so the hardest for the ratio.
        linger: Duration::from_millis(50),
        outstanding_bytes_max: None,
    };
    let clock = Clock::start();
    let ledger = std::sync::Arc::new(Ledger::new(&topic.starts));
    let load = Loader::connect(settings, workload, ledger, clock)?.start(
        clock.now(),
        Nanos::NEVER,
        records,
        Nanos::NEVER,
    )?;
    match load.join().error {
        Some(error) => Err(error.into()),
        None => Ok(()),
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn summary(size: Bytes, records: u64, rounds: Vec<Round>) -> Comparison {
    let sorted = |of: &dyn Fn(&Round) -> f64| {
        let mut figures: Vec<f64> = rounds.iter().map(of).collect();
        figures.sort_by(f64::total_cmp);
        figures
    };
    let ratios = sorted(&|round| ratio(round.engine.cpu_s, round.bare.cpu_s));
    let (bare, engine) = (sorted(&|round| round.bare.cpu_s), sorted(&|round| round.engine.cpu_s));
    let best = |sorted: &[f64]| sorted.first().copied().unwrap_or_default();
    let per_record = 1e9 / records as f64;
    Comparison {
        value_bytes: size.0,
        records,
        ratio_median: median(&ratios),
        ratio_min: ratios.first().copied().unwrap_or_default(),
        ratio_max: ratios.last().copied().unwrap_or_default(),
        ratio_of_best: ratio(best(&engine), best(&bare)),
        bare_cpu_ns_per_record: median(&bare) * per_record,
        engine_cpu_ns_per_record: median(&engine) * per_record,
        rounds,
    }
}

/// The middle of figures in ascending order; zero of none.
fn median(sorted: &[f64]) -> f64 {
    match (sorted.len(), sorted.len() / 2) {
        (0, _) => 0.0,
        (len, half) if len.is_multiple_of(2) => f64::midpoint(sorted[half - 1], sorted[half]),
        (_, half) => sorted[half],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_of_paired_rounds() {
        let round = |bare, engine| Round {
            bare: Reading { cpu_s: bare, elapsed_s: 1.0 },
            engine: Reading { cpu_s: engine, elapsed_s: 1.0 },
        };
        // The machine was twice as slow in the second round: the ratio is not.
        let comparison = summary(Bytes(100), 1_000, vec![round(1.0, 1.2), round(2.0, 2.4), round(1.0, 1.4)]);
        assert!((comparison.ratio_median - 1.2).abs() < 1e-9);
        assert!((comparison.ratio_max - 1.4).abs() < 1e-9);
        assert!((comparison.ratio_of_best - 1.2).abs() < 1e-9);
        assert!((comparison.engine_cpu_ns_per_record - 1.4e6).abs() < 1.0);
    }

    #[test]
    fn a_median_of_an_even_number_lies_between() {
        assert!((median(&[1.0, 2.0, 4.0, 9.0]) - 3.0).abs() < 1e-9);
        assert!(median(&[]).abs() < 1e-9);
    }
}
