//! Puts a profile together: shares, floors, distances, and what makes them doubtful.

use super::analysis::{self, Stages};
use super::counters::Counting;
use super::floors::Floor;
use super::result::{Profile, StageBytes, StageFloor, StageReport, Traffic, VERSION};
use super::session::Seen;
use super::stages::{Stage, ThreadKind};
use super::symbols::Detail;
use super::{Floors, ProfilePlan};
use crate::measure::machine::Machine;
use crate::result::ratio;
use crate::workload::scenario::{FunctionSpec, SourceSpec};
use pelton::payload::Tier;

/// Everything a profile is made of.
pub(super) struct Facts<'f> {
    pub(super) plan: &'f ProfilePlan,
    pub(super) seen: &'f Seen,
    pub(super) stages: &'f Stages,
    pub(super) detail: Detail,
    pub(super) floors: &'f Floors,
    pub(super) traffic: Traffic,
    pub(super) machine: Machine,
    pub(super) started_at_unix_ms: i64,
    pub(super) interrupted: bool,
    pub(super) remarks: Vec<String>,
}

/// Fewer samples than this leave small stages uncertain.
const SAMPLES_MIN: u64 = 2_000;
/// What stages and slices may differ by from the whole.
const TOLERANCE: f64 = 0.05;
/// More unassigned time than this is worth a word.
const UNKNOWN_SHARE_MAX: f64 = 0.03;

pub(super) fn assemble(facts: Facts<'_>) -> Profile {
    let Facts { plan, seen, stages, detail, floors, traffic, .. } = facts;
    let records =
        seen.slices.iter().filter(|slice| slice.profiled).map(|slice| slice.delivered.records).sum();
    let counting = seen
        .counting
        .clone()
        .unwrap_or_else(|| Counting::Refused("The run ended before the counters could be read.".to_owned()));
    let cycles_per_ns = cycles_per_ns(&counting, seen);
    let reports: Vec<StageReport> = shown(detail)
        .map(|stage| stage_report(stage, &facts, records, cycles_per_ns))
        .filter(|report| report.stage != Stage::Unknown || report.samples > 0 || report.share > 0.0)
        .collect();
    let floor_ns_per_record: f64 =
        reports.iter().filter_map(|report| measured(&report.floor)).map(|floor| floor.ns_per_record).sum();
    let compared: f64 = reports
        .iter()
        .filter(|report| report.stage != Stage::Harness && !matches!(report.floor, StageFloor::Unknown(_)))
        .map(|report| report.cpu_ns_per_record)
        .sum();
    let mut profile = Profile {
        version: VERSION,
        name: plan.run.name.clone(),
        spec: plan.run.spec.clone(),
        command: plan.command.clone(),
        source: source(plan),
        function: function(&plan.run.scenario.function),
        machine: facts.machine,
        tier: Tier::best().to_string(),
        started_at_unix_ms: facts.started_at_unix_ms,
        interrupted: facts.interrupted,
        traffic,
        cpu_ns_per_record: analysis::ns_per_record(stages.total(), records),
        floor_ns_per_record,
        distance: (floor_ns_per_record > 0.0).then(|| compared / floor_ns_per_record),
        stages: reports,
        threads: analysis::threads(seen, records),
        agreement: analysis::agreement(&seen.slices),
        sampling: analysis::sampling(seen, plan.interval),
        counting,
        symbols: detail,
        alone: floors.encode.alone.clone(),
        remarks: Vec::new(),
    };
    profile.remarks = remarks(&profile, facts.remarks);
    profile
}

fn shown(detail: Detail) -> impl Iterator<Item = Stage> {
    Stage::ALL.into_iter().filter(move |stage| {
        let is_part = stage.merged() != *stage;
        if detail == Detail::Inlined { *stage != Stage::Encode } else { !is_part }
    })
}

fn stage_report(stage: Stage, facts: &Facts<'_>, records: u64, cycles_per_ns: Option<f64>) -> StageReport {
    let (cpu, samples) = facts.stages.by_stage.get(&stage).copied().unwrap_or_default();
    let cpu_ns_per_record = analysis::ns_per_record(cpu, records);
    let share = ratio(cpu.as_secs_f64(), facts.stages.total().as_secs_f64());
    let unused = if cpu.is_zero() { Some(why_unused(stage, facts)) } else { None };
    let floor = floor_of(stage, facts);
    let distance = measured(&floor)
        .filter(|floor| unused.is_none() && floor.ns_per_record > 0.0)
        .map(|floor| cpu_ns_per_record / floor.ns_per_record);
    let floor = if unused.is_some() { StageFloor::Unknown("the stage was not used".into()) } else { floor };
    let bytes =
        bytes_of(stage, facts).filter(|(_, bytes)| *bytes > 0.0 && unused.is_none()).map(|(of, bytes)| {
            let cpu_ns_per_byte = cpu_ns_per_record / bytes;
            StageBytes {
                of: of.to_owned(),
                bytes_per_record: bytes,
                cpu_ns_per_byte,
                bytes_per_cycle: cycles_per_ns.map(|cycles| ratio(1.0, cpu_ns_per_byte * cycles)),
            }
        });
    StageReport {
        stage,
        unused,
        cpu_ns_per_record,
        share,
        share_error: facts.stages.share_error(share),
        samples,
        bytes,
        floor,
        distance,
    }
}

fn why_unused(stage: Stage, facts: &Facts<'_>) -> String {
    match stage {
        _ if facts.detail == Detail::Nothing => "not known: the binary has no symbols",
        Stage::Filter if facts.plan.run.scenario.mapping.filters.is_empty() => {
            "not used: no filter criteria were set (--filter)"
        }
        Stage::Headers if facts.floors.encode.headers.is_none() && facts.plan.floors => {
            "not used: the records have no headers"
        }
        Stage::Gather => "next to nothing: a batch of few runs is a few slices, whatever their size",
        Stage::Send if matches!(facts.plan.run.scenario.function, FunctionSpec::Stub(_)) => {
            "not used: the function is a stub in process, nothing is sent (--endpoint sends)"
        }
        _ => "next to nothing: no sample fell into it",
    }
    .to_owned()
}

fn floor_of(stage: Stage, facts: &Facts<'_>) -> StageFloor {
    let floors = facts.floors;
    let or_unknown = |floor: &Option<Floor>, why: &str| match floor {
        Some(floor) => StageFloor::Measured(floor.clone()),
        None => StageFloor::Unknown(why.to_owned()),
    };
    let not_asked = if facts.plan.floors { "it was not measured" } else { "floors were not asked for" };
    match stage {
        Stage::Poll => or_unknown(&floors.poll, floors.no_poll.as_deref().unwrap_or(not_asked)),
        Stage::Base64 => or_unknown(&floors.encode.base64, not_asked),
        Stage::Headers => or_unknown(&floors.encode.headers, not_asked),
        Stage::Json => or_unknown(&floors.encode.json, not_asked),
        Stage::Encode => {
            let parts = [&floors.encode.base64, &floors.encode.headers, &floors.encode.json];
            let sum: f64 = parts.into_iter().flatten().map(|floor| floor.ns_per_record).sum();
            let whole = (sum > 0.0).then(|| Floor {
                ns_per_record: sum,
                what: "the floors of base64, headers and the rest of the JSON".into(),
            });
            or_unknown(&whole, not_asked)
        }
        Stage::Send => or_unknown(&floors.send, not_asked),
        Stage::Filter if facts.plan.run.scenario.mapping.filters.is_empty() => StageFloor::Nothing,
        Stage::Filter => or_unknown(&floors.filter, not_asked),
        Stage::Batch | Stage::HandOver | Stage::Gather | Stage::Commit | Stage::Loop => StageFloor::Nothing,
        Stage::Harness | Stage::Unknown => StageFloor::Unknown("it is no part of the engine's work".into()),
    }
}

/// Which bytes a stage handles, and how many of them a record has.
fn bytes_of(stage: Stage, facts: &Facts<'_>) -> Option<(&'static str, f64)> {
    let encode = &facts.floors.encode;
    let [.., json_text] = encode.text_bytes_per_record;
    let input = encode.body_bytes_per_record + encode.header_bytes_per_record;
    match stage {
        Stage::Poll | Stage::Encode => Some(("key, value and headers", input)),
        Stage::Base64 => Some(("key and value", encode.body_bytes_per_record)),
        Stage::Headers => Some(("header names and values", encode.header_bytes_per_record)),
        Stage::Json => Some(("JSON text written", json_text)),
        Stage::Gather | Stage::Send => Some(("payload", facts.traffic.payload_bytes_per_record)),
        _ => None,
    }
}

fn measured(floor: &StageFloor) -> Option<&Floor> {
    match floor {
        StageFloor::Measured(floor) => Some(floor),
        _ => None,
    }
}

/// The clock of the processor while the consumer threads ran, if cycles were counted.
fn cycles_per_ns(counting: &Counting, seen: &Seen) -> Option<f64> {
    let Counting::Counted(counts) = counting else { return None };
    let records: u64 =
        seen.slices.iter().filter(|slice| slice.profiled).map(|slice| slice.delivered.records).sum();
    let threads = analysis::threads(seen, records);
    let of = |kind| threads.iter().find(|thread| thread.kind == kind).map(|thread| thread.cpu_ns_per_record);
    let cycles = counts.iter().find(|counts| counts.threads == ThreadKind::Consumer)?.cycles_per_record;
    let ns = of(ThreadKind::Consumer)?;
    (cycles > 0.0 && ns > 0.0).then(|| cycles / ns)
}

fn source(plan: &ProfilePlan) -> String {
    match &plan.run.scenario.source {
        SourceSpec::Memory => "records in memory, no broker".into(),
        SourceSpec::Embedded => "librdkafka's mock broker in this process".into(),
        SourceSpec::Kafka { brokers, topic: Some(topic) } if plan.live => {
            format!("topic {topic} on {brokers}, read as it is")
        }
        SourceSpec::Kafka { brokers, topic: Some(topic) } => format!("topic {topic} on {brokers}, loaded"),
        SourceSpec::Kafka { brokers, topic: None } => format!("a topic of its own on {brokers}"),
    }
}

fn function(function: &FunctionSpec) -> String {
    match function {
        FunctionSpec::Stub(law) => format!("a stub in this process: {law}"),
        FunctionSpec::Endpoint { url, function } => format!("the function {function:?} at {url}"),
    }
}

/// What makes the profile doubtful, most important first.
fn remarks(profile: &Profile, others: Vec<String>) -> Vec<String> {
    let mut remarks = Vec::new();
    if !profile.machine.optimized {
        remarks
            .push("this is not an optimised build: figures mean nothing; use cargo run --release".to_owned());
    }
    remarks.extend(profile.symbols.remedy().map(str::to_owned));
    let (agreement, sampling) = (&profile.agreement, &profile.sampling);
    if agreement.pairs == 0 {
        remarks.push(
            "no slice without sampling could be compared: give a longer --duration or a shorter --slice"
                .to_owned(),
        );
    } else if (agreement.ratio_median - 1.0).abs() > TOLERANCE {
        remarks.push(format!(
            "profiled slices took {:+.1} % CPU per record against their neighbours, more than the {:.0} % that would \
             do: the machine was busy with something else, or --rate is too high",
            100.0 * (agreement.ratio_median - 1.0),
            100.0 * TOLERANCE
        ));
    }
    if (sampling.covered_share - 1.0).abs() > TOLERANCE {
        remarks.push(format!(
            "the samples stand for {:.1} % of the threads' CPU time ({:.1} % were lost): stages may be wrong by \
             as much",
            100.0 * sampling.covered_share,
            100.0 * sampling.dropped_share
        ));
    }
    if sampling.samples < SAMPLES_MIN {
        remarks.push(format!(
            "{} samples are few: small stages are uncertain; a longer --duration brings more",
            sampling.samples
        ));
    }
    if sampling.without_stack * 20 > sampling.samples {
        remarks.push(
            "stacks could not be read (a sandbox refuses process_vm_readv): stages are told by the innermost \
             function alone, and much is unknown"
                .to_owned(),
        );
    }
    let unknown = profile.stages.iter().find(|report| report.stage == Stage::Unknown);
    if let Some(unknown) = unknown.filter(|report| report.share > UNKNOWN_SHARE_MAX) {
        remarks.push(format!(
            "{:.1} % of the CPU time could not be assigned to a stage; the flame graph shows what it is",
            100.0 * unknown.share
        ));
    }
    remarks.extend(others.into_iter().filter(|other| !remarks.contains(other)).collect::<Vec<_>>());
    remarks
}
