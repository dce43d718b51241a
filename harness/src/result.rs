//! A run as versioned JSON. Every field carries its unit in its name.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::audit::Verdict;
use crate::measure::histogram::{LatencySummary, StageSummaries};
use crate::measure::machine::Machine;
use crate::workload::spec::Spec;

/// The version of [`RunResult`]. It changes when a field changes its meaning or goes away; new
/// fields may come without.
pub const VERSION: u32 = 1;

/// The remark of a run whose build makes its figures worthless.
pub const NOT_OPTIMIZED: &str =
    "this is not an optimised build: figures mean nothing; use cargo run --release";

/// What one run came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// [`VERSION`].
    pub version: u32,
    /// The scenario's name, or its file.
    pub scenario: String,
    /// The scenario with every flag applied.
    pub spec: Spec,
    /// Where it ran.
    pub machine: Machine,
    /// When it began, in milliseconds since the Unix epoch.
    pub started_at_unix_ms: i64,
    /// Somebody pressed Ctrl-C: less was loaded than asked for. What is here is whole all the same.
    pub interrupted: bool,
    /// How much went through after the warm-up.
    pub throughput: Throughput,
    /// What it cost.
    pub cpu: Cpu,
    /// The most memory the whole process held (engine, broker and loader), in bytes.
    pub resident_bytes_peak: u64,
    /// Batches.
    pub batches: Batches,
    /// Whether work and invocations overlapped.
    pub overlap: Overlap,
    /// Invocations by outcome, of the whole run.
    pub invocations: BTreeMap<String, u64>,
    /// Where latencies begin.
    pub latency_from: LatencyFrom,
    /// By stage.
    pub latency: StageSummaries,
    /// The time after the warm-up piece by piece, for comparisons; none in older results.
    #[serde(default)]
    pub intervals: Vec<Interval>,
    /// The generator; `None` without one.
    pub load: Option<Load>,
    /// Every offset of the whole run.
    pub audit: Verdict,
    /// What went wrong beside the audit, or makes figures doubtful.
    pub remarks: Vec<String>,
}

/// How much went through after the warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Throughput {
    /// From the end of the warm-up until the last record was delivered.
    pub elapsed_s: f64,
    /// Records delivered in that time.
    pub records: u64,
    /// Their key, value and header bytes.
    pub record_bytes: u64,
    /// Records per second.
    pub records_per_s: f64,
    /// Key, value and header bytes per second.
    pub record_bytes_per_s: f64,
}

/// A second after the warm-up; a tenth of what is measured if that is shorter than 10 s, and more
/// seconds at once in runs of many minutes. What is left over at the end is in none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// From the end of the warm-up to its beginning.
    pub start_s: f64,
    /// How long it is.
    pub elapsed_s: f64,
    /// Records delivered in it.
    pub records: u64,
    /// Their key, value and header bytes.
    pub record_bytes: u64,
    /// CPU time of the engine, as [`Cpu::engine_s`].
    pub engine_cpu_s: f64,
    /// Half of the total latencies of records delivered in it were below; `None` without any.
    pub latency_p50_us: Option<u64>,
    /// 99 of 100 were below.
    pub latency_p99_us: Option<u64>,
}

/// CPU seconds, user and system, in the time that [`Throughput`] is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cpu {
    /// The engine: its threads and its Kafka client's.
    pub engine_s: f64,
    /// The embedded broker.
    pub broker_s: f64,
    /// The loader and its Kafka client.
    pub load_s: f64,
    /// The harness itself: meter, progress.
    pub harness_s: f64,
    /// The engine's, per 10^9 key, value and header bytes.
    pub engine_s_per_gb: f64,
    /// The engine's, per million records.
    pub engine_s_per_million_records: f64,
}

/// Batches after the warm-up.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Batches {
    /// How many.
    pub count: u64,
    /// Records in one, on average.
    pub records_mean: f64,
    /// From the first attempt of one until its answer, on average over batches, pauses included.
    #[serde(default)]
    pub invocation_mean_us: f64,
    /// The records of one, as a share of the batch size.
    pub fill_by_records_share: f64,
    /// Payload bytes of one, on average.
    pub payload_bytes_mean: f64,
    /// The smallest payload.
    pub payload_bytes_min: u64,
    /// The largest payload.
    pub payload_bytes_max: u64,
    /// The mean, as a share of the largest payload allowed.
    pub fill_by_bytes_share: f64,
    /// Why they were closed.
    pub causes: BTreeMap<String, u64>,
}

/// Whether work and invocations overlapped, after the warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Overlap {
    /// Batches whose poller had an invocation before.
    pub batches: u64,
    /// Those that were full and written before that invocation was answered.
    pub full_ahead: u64,
    /// The latter as a share of the former.
    pub full_ahead_share: f64,
    /// From an answer until the next invocation of the same poller began, for those.
    pub turnaround: LatencySummary,
}

/// Where latencies begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LatencyFrom {
    /// The schedule's intended send time.
    IntendedSend,
    /// The record's hand-over to the producer: there was no schedule.
    HandOver,
    /// The poll: there was no broker.
    Poll,
}

/// The generator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Records sent, the warm-up included.
    pub records: u64,
    /// Those of them without a value.
    #[serde(default)]
    pub tombstones: u64,
    /// Records that the broker did not take.
    pub failed: u64,
    /// The records of the partition that has most, as a share of all.
    #[serde(default)]
    pub hottest_partition_share: f64,
    /// From the intended send until the record was handed to the producer. Part of the broker wait.
    pub lateness: LatencySummary,
    /// Time in which the loader had to wait for the engine, lest the embedded broker forget.
    pub paced_s: f64,
    /// The most that a partition held uncommitted, in bytes.
    pub outstanding_bytes_peak: u64,
}

impl RunResult {
    /// Whether every record was delivered once, in order, and committed, and every record that was
    /// meant to be sent was sent.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.audit.is_clean() && self.load.is_none_or(|load| load.failed == 0)
    }
}

/// `part / whole`, and zero of nothing.
#[must_use]
pub fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

/// A result with a figure in every field, for tests of what reads results.
#[cfg(test)]
pub(crate) fn example() -> RunResult {
    let latency = |p50_us: u64| LatencySummary {
        count: 1_000,
        mean_us: p50_us as f64 * 1.25,
        p50_us,
        p90_us: p50_us * 2,
        p99_us: p50_us * 4,
        p999_us: p50_us * 8,
        max_us: p50_us * 10,
    };
    RunResult {
        version: VERSION,
        scenario: "demo".into(),
        spec: Spec::from_toml("records = 1000\nvalue_size = \"1KiB\"", "test").unwrap(),
        machine: Machine { cpu: "a CPU".into(), cores: 2, optimized: true, ..Machine::default() },
        started_at_unix_ms: 1_700_000_000_000,
        interrupted: false,
        throughput: Throughput {
            elapsed_s: 10.0,
            records: 1_000_000,
            record_bytes: 1_024_000_000,
            records_per_s: 100_000.0,
            record_bytes_per_s: 102_400_000.0,
        },
        cpu: Cpu {
            engine_s: 0.9,
            broker_s: 0.4,
            load_s: 1.2,
            harness_s: 0.1,
            engine_s_per_gb: 0.88,
            engine_s_per_million_records: 0.9,
        },
        resident_bytes_peak: 300 << 20,
        batches: Batches {
            count: 10_000,
            records_mean: 100.0,
            invocation_mean_us: 50_000.0,
            fill_by_records_share: 1.0,
            payload_bytes_mean: 141_000.0,
            payload_bytes_min: 1_500,
            payload_bytes_max: 141_200,
            fill_by_bytes_share: 0.022,
            causes: BTreeMap::from([("count".into(), 9_990), ("window".into(), 10)]),
        },
        overlap: Overlap {
            batches: 9_996,
            full_ahead: 9_000,
            full_ahead_share: 0.9,
            turnaround: latency(12),
        },
        invocations: BTreeMap::from([("success".into(), 10_000), ("throttled".into(), 3)]),
        latency_from: LatencyFrom::IntendedSend,
        latency: StageSummaries {
            total: latency(20_000),
            broker_wait: latency(8_000),
            window: latency(3_000),
            encode: latency(60),
            queue: latency(0),
            invocation: latency(9_000),
            commit: latency(70_000),
        },
        intervals: (0..10)
            .map(|second| Interval {
                start_s: f64::from(second),
                elapsed_s: 1.0,
                records: 100_000,
                record_bytes: 102_400_000,
                engine_cpu_s: 0.09,
                latency_p50_us: Some(20_000),
                latency_p99_us: Some(80_000),
            })
            .collect(),
        load: Some(Load {
            records: 1_200_000,
            tombstones: 0,
            failed: 0,
            hottest_partition_share: 0.0625,
            lateness: latency(70),
            paced_s: 0.0,
            outstanding_bytes_peak: 1 << 20,
        }),
        audit: Verdict { records_delivered: 1_200_016, ..Verdict::default() },
        remarks: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_reads_back_from_its_json() {
        let result = example();
        let json = serde_json::to_string_pretty(&result).unwrap();
        assert_eq!(serde_json::from_str::<RunResult>(&json).unwrap(), result);
    }

    #[test]
    fn a_result_from_before_there_were_intervals_has_none() {
        let mut json = serde_json::to_value(example()).unwrap();
        json.as_object_mut().unwrap().remove("intervals");
        assert!(serde_json::from_value::<RunResult>(json).unwrap().intervals.is_empty());
    }

    /// The unit is the last word of the name, or the name says that it is a count or a share.
    #[test]
    fn every_number_carries_its_unit_in_its_name() {
        const COUNTS: [&str; 12] = [
            "version",
            "cores",
            "records",
            "batches",
            "count",
            "full_ahead",
            "failed",
            "tombstones",
            "success",
            "throttled",
            "window",
            "seed",
        ];
        const UNITS: [&str; 12] = [
            "_us", "_s", "_ms", "_bytes", "_share", "_mean", "_min", "_max", "_peak", "_gb", "_records",
            "_per_s",
        ];
        fn walk(name: &str, value: &serde_json::Value) {
            match value {
                serde_json::Value::Number(_) => assert!(
                    COUNTS.contains(&name)
                        || UNITS.iter().any(|unit| name.ends_with(unit))
                        || name.starts_with("records_")
                        || name.starts_with("commits_"),
                    "{name} has no unit"
                ),
                serde_json::Value::Object(fields) => {
                    fields.iter().for_each(|(name, value)| walk(name, value));
                }
                serde_json::Value::Array(items) => items.iter().for_each(|item| walk(name, item)),
                _ => {}
            }
        }
        walk("", &serde_json::to_value(example()).unwrap());
    }

    #[test]
    fn a_share_of_nothing_is_nothing() {
        assert_eq!(ratio(3.0, 0.0).to_bits(), 0f64.to_bits());
    }
}
