//! Where the engine's CPU time goes, stage by stage, and how far each is from what this machine
//! could do.
//!
//! The real path runs, unchanged: the engine in this process, on the workload as `run` would load
//! it, or on a topic that is there. Its threads are sampled by the CPU time they use; each sample's
//! calls say which stage it is of. Slices without sampling in between say what sampling costs. Then
//! the floors are measured: the client alone, copies, kernels, a socket, on the same records.

pub mod analysis;
pub mod bare;
pub mod counters;
pub mod flame;
pub mod floors;
pub mod live;
pub mod objects;
pub mod result;
pub mod sample;
pub mod sampler;
pub mod session;
pub mod stages;
pub mod symbols;
pub mod unwind;
mod report;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::bail;
use pelton::ids::Topic;
use pelton::payload::Tier;
use pelton::time::wall_ms;

use crate::measure::machine::Machine;
use crate::result::{RunResult, ratio};
use crate::run::{RunPlan, Tick, run_probed};
use crate::workload::scenario::{End, FunctionSpec, Scenario, SourceSpec};

use crate::subject;
use analysis::Stages;
use flame::Folded;

use floors::{EncodeFloors, Floor};
use live::{LivePlan, LiveTopic};
use report::Facts;
use result::{Profile, Traffic};
use sample::Sample;
use session::{Seen, Session, SessionSettings};
use symbols::Symbols;

/// What is to be profiled.
#[derive(Clone, Debug)]
pub struct ProfilePlan {
    /// As for a run.
    pub run: RunPlan,
    /// Read the scenario's topic as it is instead of loading it.
    pub live: bool,
    /// CPU time of a thread between two samples.
    pub interval: Duration,
    /// How long a slice is, profiled or not.
    pub slice: Duration,
    /// Whether floors are measured.
    pub floors: bool,
    /// The command that asks for it, to be shown.
    pub command: String,
}

/// What a profile came to.
#[derive(Clone, Debug)]
pub struct Profiled {
    /// The figures.
    pub profile: Profile,
    /// The flame graph, if there were samples.
    pub flame_svg: Option<String>,
    /// Whether everything that was loaded was delivered and committed.
    pub is_clean: bool,
}

/// Where a profile stands.
#[derive(Clone, Copy, Debug)]
pub enum Doing<'d> {
    /// The run goes on.
    Running(Tick),
    /// Something after it.
    Next(&'d str),
}

/// How long the client alone is measured.
const BARE: Duration = Duration::from_secs(4);

/// Profiles `plan`. `interrupted` ends it early; what was measured until then is reported.
///
/// # Errors
/// If the run cannot be made, or nothing was measured.
pub fn profile(
    plan: &ProfilePlan,
    interrupted: &AtomicBool,
    tell: &mut dyn FnMut(Doing<'_>),
) -> anyhow::Result<Profiled> {
    let started_at_unix_ms = wall_ms();
    let scenario = &plan.run.scenario;
    let settings = SessionSettings { interval: plan.interval, slice: plan.slice };
    let mut session = Session::new(settings)?;
    let mut remarks = Vec::new();
    let mut is_clean = true;
    let live = if plan.live { Some(find_live(scenario)?) } else { None };
    if let Some(topic) = &live {
        let End::After(duration) = scenario.end else {
            bail!("a live topic is read for a time: give --duration instead of --records");
        };
        let reading = LivePlan { mapping: &scenario.mapping, function: &scenario.function, duration };
        let mut tick = |tick| tell(Doing::Running(tick));
        let report = topic.profile(&reading, interrupted, &mut tick, &mut session)?;
        remarks.extend(report.remarks);
        if report.passes > 1 {
            remarks.push(format!("the topic was read {} times from its beginning", report.passes));
        }
    } else {
        let mut tick = |tick| tell(Doing::Running(tick));
        let result = run_probed(&plan.run, interrupted, &mut tick, &mut session)?;
        is_clean = result.is_clean();
        remarks.extend(run_remarks(&result));
    }
    let was_interrupted = interrupted.load(Ordering::Relaxed);
    let (seen, objects) = session.finish();
    if seen.slices.iter().all(|slice| !slice.profiled || slice.delivered.records == 0) {
        bail!(
            "nothing was delivered while samples were taken: give a longer --duration or a shorter --slice"
        );
    }
    tell(Doing::Next("looking up symbols"));
    let symbols = Symbols::new(objects);
    let detail = symbols.detail();
    let stages = Stages::of(&seen, &symbols, detail);
    let floors = if plan.floors && !was_interrupted {
        measure_floors(plan, live.as_ref(), &seen, interrupted, tell, &mut remarks)
    } else {
        if plan.floors {
            remarks.push("interrupted before the floors were measured".to_owned());
        }
        Floors::default()
    };
    let facts = Facts {
        plan,
        seen: &seen,
        stages: &stages,
        detail,
        floors: &floors,
        traffic: traffic(&seen, &floors),
        machine: Machine::look(),
        started_at_unix_ms,
        interrupted: was_interrupted,
        remarks,
    };
    let profile = report::assemble(facts);
    tell(Doing::Next("drawing the flame graph"));
    let interval_us = u64::try_from(plan.interval.as_micros()).unwrap_or(u64::MAX);
    let folded = Folded::of(&seen, &symbols, interval_us);
    let title = format!("CPU time of the engine by call: {}", profile.name);
    Ok(Profiled { profile, flame_svg: folded.svg(&title).ok(), is_clean })
}

/// What was measured beside the run.
#[derive(Clone, Debug, Default)]
struct Floors {
    encode: EncodeFloors,
    /// `None` without a client.
    poll: Option<Floor>,
    /// Why there is none.
    no_poll: Option<String>,
    /// `None` without filters.
    filter: Option<Floor>,
    /// `None` where nothing is sent.
    send: Option<Floor>,
}

fn find_live(scenario: &Scenario) -> anyhow::Result<LiveTopic> {
    match &scenario.source {
        SourceSpec::Kafka { brokers, topic: Some(topic) } => LiveTopic::find(brokers, topic, &[]),
        _ => bail!("--live reads a topic that is there: give --brokers and --topic"),
    }
}

fn measure_floors(
    plan: &ProfilePlan,
    live: Option<&LiveTopic>,
    seen: &Seen,
    interrupted: &AtomicBool,
    tell: &mut dyn FnMut(Doing<'_>),
    remarks: &mut Vec<String>,
) -> Floors {
    let scenario = &plan.run.scenario;
    let mut floors = Floors::default();
    tell(Doing::Next("floor of poll: the Kafka client alone"));
    let bare = match live {
        Some(topic) => {
            let feed = topic.feed("floor");
            let bare = bare::of_topic(feed.clone(), &scenario.mapping, topic.records(), BARE, interrupted);
            // A group that never committed leaves nothing behind on most brokers.
            drop(topic.remove_group(&feed));
            bare.map(Some)
        }
        None => bare::of_load(scenario, BARE, interrupted),
    };
    let sample = match bare {
        Ok(Some(bare)) => {
            floors.poll = Some(Floor {
                ns_per_record: bare.ns_per_record,
                what: "the same client over the same load, its records counted and dropped".into(),
            });
            bare.sample
        }
        Ok(None) => {
            floors.no_poll = Some("records come from memory: there is no client to compare with".into());
            Sample::of_workload(&scenario.workload, true)
        }
        Err(error) => {
            remarks.push(format!("the floor of poll could not be measured: {error:#}"));
            floors.no_poll = Some("it could not be measured, see the remarks".into());
            Sample::of_workload(&scenario.workload, false)
        }
    };
    tell(Doing::Next("floors of encoding: copies and kernels"));
    let topic = live.map_or_else(|| Topic::new("harness"), |topic| topic.topic().clone());
    sample.view(|records| {
        let kept = match subject::filters(&scenario.mapping.filters) {
            Ok(Some(filters)) => floors::kept(records, &topic, filters),
            // The run began, so they are patterns.
            Ok(None) | Err(_) => records.to_vec(),
        };
        if !scenario.mapping.filters.is_empty() && !kept.is_empty() {
            // Costs are told per record that is delivered: the others are read and looked at for it.
            #[expect(clippy::cast_precision_loss, reason = "counts of a sample")]
            let read_per_delivered = records.len() as f64 / kept.len() as f64;
            floors.filter = Some(floors::filter(records, read_per_delivered));
            if let Some(poll) = &mut floors.poll {
                poll.ns_per_record *= read_per_delivered;
            }
        }
        floors.encode = floors::encode(&kept, &topic, Tier::best());
    });
    if let FunctionSpec::Endpoint { .. } = scenario.function {
        tell(Doing::Next("floor of send: a socket"));
        let traffic = traffic(seen, &floors);
        let payload_bytes = traffic.payload_bytes_per_record * traffic.records_per_batch;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a size")]
        match floors::loopback_ns_per_byte(payload_bytes as usize) {
            Ok(ns_per_byte) => {
                floors.send = Some(Floor {
                    ns_per_record: ns_per_byte * traffic.payload_bytes_per_record,
                    what: "writing the payload to a socket on loopback".into(),
                });
            }
            Err(error) => remarks.push(format!("the floor of send could not be measured: {error}")),
        }
    }
    floors
}

#[expect(clippy::cast_precision_loss, reason = "counts of a run")]
fn traffic(seen: &Seen, floors: &Floors) -> Traffic {
    let sum = |of: fn(&session::Slice) -> u64| seen.slices.iter().map(of).sum::<u64>();
    let records = sum(|slice| slice.delivered.records);
    let batches = sum(|slice| slice.delivered.batches);
    let payload_bytes = sum(|slice| slice.delivered.payload_bytes);
    let elapsed_s: f64 = seen.slices.iter().map(|slice| slice.elapsed.as_secs_f64()).sum();
    Traffic {
        elapsed_s,
        records,
        records_per_s: ratio(records as f64, elapsed_s),
        body_bytes_per_record: floors.encode.body_bytes_per_record,
        header_bytes_per_record: floors.encode.header_bytes_per_record,
        payload_bytes_per_record: ratio(payload_bytes as f64, records as f64),
        records_per_batch: ratio(records as f64, batches as f64),
    }
}

fn run_remarks(result: &RunResult) -> Vec<String> {
    let mut remarks = result.remarks.clone();
    if !result.is_clean() {
        remarks.push(format!(
            "the audit of the run failed ({} records lost); `pelton-harness run` with the same flags says more",
            result.audit.records_lost
        ));
    }
    remarks
}
