//! A profile as versioned JSON. Every field carries its unit in its name.

use serde::{Deserialize, Serialize};

use super::counters::Counting;
use super::floors::Floor;
use super::stages::{Stage, ThreadKind};
use super::symbols::Detail;
use crate::measure::machine::Machine;
use crate::workload::spec::Spec;

/// The version of [`Profile`]. It changes when a field changes its meaning or goes away; new fields
/// may come without.
pub const VERSION: u32 = 1;

/// Where the engine's CPU time goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// [`VERSION`].
    pub version: u32,
    /// The scenario's name or file, or the topic.
    pub name: String,
    /// The scenario with every flag applied.
    pub spec: Spec,
    /// The command that made it.
    pub command: String,
    /// Where records came from, in words.
    pub source: String,
    /// What was invoked, in words.
    pub function: String,
    /// Where it ran.
    pub machine: Machine,
    /// The instruction set that the encoder chose.
    pub tier: String,
    /// When it began, in milliseconds since the Unix epoch.
    pub started_at_unix_ms: i64,
    /// Somebody pressed Ctrl-C: less was measured than asked for.
    pub interrupted: bool,
    /// What passed through.
    pub traffic: Traffic,
    /// CPU time of all of the engine's threads, in profiled slices.
    pub cpu_ns_per_record: f64,
    /// The sum of the floors that were measured; zero if none was.
    pub floor_ns_per_record: f64,
    /// CPU time without the harness's own part over that sum.
    pub distance: Option<f64>,
    /// One for each stage, in the order in which a record meets them.
    pub stages: Vec<StageReport>,
    /// By kind of thread.
    pub threads: Vec<ThreadReport>,
    /// Whether profiling changed what was profiled.
    pub agreement: Agreement,
    /// What the stages are made of.
    pub sampling: Sampling,
    /// Hardware counters.
    pub counting: Counting,
    /// How much the symbols told.
    pub symbols: Detail,
    /// Other ways to do parts of the same work, measured beside the floors.
    pub alone: Vec<Floor>,
    /// What went wrong, or makes figures doubtful.
    pub remarks: Vec<String>,
}

/// What passed through the engine while it was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Traffic {
    /// Time measured, profiled and not.
    pub elapsed_s: f64,
    /// Records delivered in it.
    pub records: u64,
    /// Records per second.
    pub records_per_s: f64,
    /// Key and value bytes of a record, on average.
    pub body_bytes_per_record: f64,
    /// Header bytes of a record, on average.
    pub header_bytes_per_record: f64,
    /// Payload bytes of a record, its part of the envelope included.
    pub payload_bytes_per_record: f64,
    /// Records of a batch.
    pub records_per_batch: f64,
}

/// What one stage costs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageReport {
    /// Which.
    pub stage: Stage,
    /// Why there is nothing to report; `None` if there is.
    pub unused: Option<String>,
    /// CPU time per record.
    pub cpu_ns_per_record: f64,
    /// As a share of all stages, from 0 to 1.
    pub share: f64,
    /// The share is as certain as this, in 19 of 20 profiles: half the width of its interval.
    pub share_error: f64,
    /// Samples that it is made of.
    pub samples: u64,
    /// The bytes that it handles.
    pub bytes: Option<StageBytes>,
    /// How fast it could be.
    pub floor: StageFloor,
    /// CPU time over the floor.
    pub distance: Option<f64>,
}

/// The bytes that a stage handles.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageBytes {
    /// Which bytes.
    pub of: String,
    /// How many.
    pub bytes_per_record: f64,
    /// CPU time for each.
    pub cpu_ns_per_byte: f64,
    /// The same by the clock of the processor, where cycles could be counted.
    pub bytes_per_cycle: Option<f64>,
}

/// How fast a stage could be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StageFloor {
    /// Measured in this process, on the same records.
    Measured(Floor),
    /// Nothing in the record's way needs it: all of it is overhead.
    Nothing,
    /// It was not measured; why not.
    Unknown(String),
}

/// The threads of one kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ThreadReport {
    /// Which.
    pub kind: ThreadKind,
    /// How many.
    pub threads: usize,
    /// Their CPU time per record.
    pub cpu_ns_per_record: f64,
    /// As a share of the engine's.
    pub share: f64,
}

/// Slices with and without profiling, in turns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// CPU time of the engine while no samples were taken.
    pub plain_cpu_ns_per_record: f64,
    /// The same while they were.
    pub profiled_cpu_ns_per_record: f64,
    /// The latter over the former.
    pub ratio: f64,
    /// The median of neighbours' ratios.
    pub ratio_median: f64,
    /// The middle half of those ratios begins here.
    pub ratio_quartile_low: f64,
    /// And ends here.
    pub ratio_quartile_high: f64,
    /// Neighbours compared.
    pub pairs: usize,
}

/// What the stages are made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// CPU time of a thread between two samples, as asked for.
    pub interval_us: f64,
    /// Samples taken.
    pub samples: u64,
    /// CPU time that they stand for, over what the CPU clocks of the threads say: 1 if the stages
    /// add up to the whole.
    pub covered_share: f64,
    /// CPU time whose samples were lost, over the same.
    pub dropped_share: f64,
    /// Samples whose stack could not be read.
    pub without_stack: u64,
}
