//! From a workload, a function and a goal to settings, with the evidence.
//!
//! [`search`](mod@search) looks for settings in virtual time ([`sim`], batch by batch); its finalists are measured
//! again record by record, by the engine's own batch policy, with several seeds; the best and its
//! neighbours on the front are then run for real ([`verify`]), and shown beside what was simulated.

pub mod advice;
pub mod cost;
pub mod evaluate;
pub mod exhaustive;
mod finals;
pub mod goal;
pub mod model;
pub mod probe;
pub mod scale;
pub mod search;
pub mod sim;
pub mod space;
pub mod store;
pub mod tuned;
pub mod verify;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::bail;
use pelton::ids::Topic;
use pelton::invoke::law::Law;
use pelton::payload::Envelope;

use crate::measure::machine::Machine;
use crate::traffic::{Extent, Habit, Traffic};
use crate::workload::function::StubLaw;
use crate::workload::scenario::Scenario;
use crate::workload::spec::Spec;
use crate::workload::units::Span;
use cost::{Billing, Prices};
use evaluate::{Bench, Evaluation, Lanes, front};
use goal::Goal;
use model::Function;
use probe::Probe;
use search::{Effort, Quest, compare, refined, search};
use space::{Settings, Space};
use store::Store;
use tuned::{Beside, Finalist, Habitual, Sensitivity, Tuned};
use verify::{Calibration, RunLength, Trial};

/// What is to be tuned.
#[derive(Clone, Debug)]
pub struct TunePlan {
    /// The workload's name.
    pub name: String,
    /// The workload as written.
    pub spec: Spec,
    /// The workload.
    pub scenario: Scenario,
    /// What is wanted.
    pub goal: Goal,
    /// Where to look.
    pub space: Space,
    /// How much.
    pub effort: Effort,
    /// So much of the workload's traffic is simulated.
    pub trace: Duration,
    /// Draws of traffic and function that finalists are measured with.
    pub seeds: u64,
    /// The function, if it is given.
    pub law: Option<Law>,
    /// What the first invocation of a poller takes in addition.
    pub cold_start: Duration,
    /// What is asked.
    pub prices: Prices,
    /// What that depends on.
    pub billing: Billing,
    /// Real runs: how long, and of how many settings. `None` for a search in virtual time alone.
    pub runs: Option<(RunLength, usize)>,
    /// So many further settings are run for real.
    pub exhaustive: u32,
    /// Where evaluations are kept.
    pub results: Option<PathBuf>,
    /// The command, for the report.
    pub command: String,
}

/// Where a search stands.
#[derive(Clone, Debug)]
pub struct TuneTick {
    /// What it is doing.
    pub phase: String,
    /// How much of that is done, from 0 to 1.
    pub done_share: f64,
}

/// A setting is given up once it is so many times later than the goal allows.
const PATIENCE_GOALS: u32 = 20;
/// At least so late, and without a limit of age.
const PATIENCE_MIN: Duration = Duration::from_secs(60);
/// The largest traffic: some gigabytes of memory.
pub const RECORDS_MAX: u64 = 20_000_000;

/// Tunes. `interrupted` ends it early; what was measured is reported.
///
/// # Errors
/// If the workload has no times, the endpoint or broker is not reached, or the results file cannot be
/// used.
pub fn tune(
    plan: &TunePlan,
    interrupted: &AtomicBool,
    tell: &mut dyn FnMut(TuneTick),
) -> anyhow::Result<Tuned> {
    let mut store = match &plan.results {
        Some(path) => Store::open(path, &inputs(plan)?)?,
        None => Store::in_memory(),
    };
    let (law, probes) = law(plan, &mut store, interrupted, tell)?;
    let calibration = calibration(plan, &mut store, interrupted, tell)?;
    let mut function = Function::new(&law);
    function.cold_start = plan.cold_start;
    // What was probed has its way there and back in it.
    function.overhead = if probes.is_empty() { calibration.overhead() } else { Duration::ZERO };
    let bench = Bench {
        envelope_bytes: Envelope::self_managed("embedded:9092").bytes(),
        payload_bytes_max: plan.scenario.mapping.payload_bytes_max,
        function,
        prices: plan.prices.clone(),
        billing: plan.billing,
        patience: plan
            .goal
            .age
            .map_or(PATIENCE_MIN, |limit| (limit.at_most * PATIENCE_GOALS).max(PATIENCE_MIN)),
    };
    let tuning = Tuning { plan, bench, calibration, interrupted };
    tuning.run(&mut store, probes, &law, tell)
}

/// Everything that an evaluation depends on.
fn inputs(plan: &TunePlan) -> anyhow::Result<serde_json::Value> {
    let Billing { memory, provisioned } = plan.billing;
    Ok(serde_json::json!({
        "spec": serde_json::to_value(&plan.spec)?,
        "trace": Span(plan.trace),
        "law": plan.law.clone().map(|law| StubLaw { law, verify: false }),
        "cold_start": Span(plan.cold_start),
        "prices": serde_json::to_value(&plan.prices)?,
        "memory": memory,
        "provisioned": provisioned,
        "age": plan.goal.age,
        "seed": plan.effort.seed,
        "runs": plan.runs.map(|(length, _)| (Span(length.warm_up), Span(length.duration))),
        "partitions": plan.scenario.workload.partitions,
        // A file of this name may hold something else by now.
        "capture": plan.scenario.workload.replay.map(|recording| format!("{:?}", recording.totals())),
        "space": format!("{:?}", plan.space),
    }))
}

/// The function's law: given, kept, or probed.
fn law(
    plan: &TunePlan,
    store: &mut Store,
    interrupted: &AtomicBool,
    tell: &mut dyn FnMut(TuneTick),
) -> anyhow::Result<(Law, Vec<Probe>)> {
    if let Some(law) = &plan.law {
        return Ok((law.clone(), Vec::new()));
    }
    if let Some((law, probes)) = store.law() {
        return Ok((law.law.clone(), probes.to_vec()));
    }
    let (law, probes) = probe::probe(&plan.spec, interrupted, &mut |done_share| {
        tell(TuneTick { phase: "probing the function".into(), done_share });
    })?;
    store.probed(StubLaw { law: law.clone(), verify: false }, probes.clone())?;
    Ok((law, probes))
}

/// What engine and broker add: kept, or measured; nothing without real runs.
fn calibration(
    plan: &TunePlan,
    store: &mut Store,
    interrupted: &AtomicBool,
    tell: &mut dyn FnMut(TuneTick),
) -> anyhow::Result<Calibration> {
    if plan.runs.is_none() {
        return Ok(Calibration::default());
    }
    if let Some(known) = store.calibration() {
        return Ok(*known);
    }
    let partitions = plan.scenario.workload.partitions;
    let measured = verify::calibrate(&plan.spec, partitions, interrupted, &mut |tick| {
        tell(TuneTick { phase: "measuring engine and broker".into(), done_share: tick.done_share });
    })?;
    if !interrupted.load(Ordering::Relaxed) {
        store.calibrated(measured)?;
    }
    Ok(measured)
}

struct Tuning<'t> {
    plan: &'t TunePlan,
    bench: Bench,
    calibration: Calibration,
    interrupted: &'t AtomicBool,
}

impl Tuning<'_> {
    fn run(
        &self,
        store: &mut Store,
        probes: Vec<Probe>,
        law: &Law,
        tell: &mut dyn FnMut(TuneTick),
    ) -> anyhow::Result<Tuned> {
        let plan = self.plan;
        tell(TuneTick { phase: "making the traffic".into(), done_share: 0.0 });
        let traffic = self.traffic(plan.effort.seed, Habit::AsIs)?;
        let mut visited =
            search(self.quest(&traffic, &plan.goal), store, self.interrupted, &mut |done_share| {
                tell(TuneTick { phase: "searching".into(), done_share });
            })?;
        let whole = self.whole(store, &visited);
        if whole.is_empty() {
            bail!("interrupted before any setting was measured on all of the traffic");
        }
        let (finalists, goal) = self.finalists(store, &traffic, &whole, &mut visited, tell)?;
        let whole = self.whole(store, &visited);
        let mut further = Vec::new();
        let runs = self.real_runs(store, &finalists, &mut further, tell)?;
        if traffic.arrivals.len() as u64 + traffic.filtered + traffic.oversized >= RECORDS_MAX {
            further.push(format!(
                "only the first {RECORDS_MAX} records of the traffic were simulated: a shorter --trace would do"
            ));
        }
        let recommended = self.after_runs(&finalists, &runs);
        let beside = self.beside(store, &traffic, (&finalists[recommended], &goal), tell)?;
        let best = &finalists[recommended].settings;
        let exhaustive = self.exhaustive(store, &traffic, (best, &runs), (&mut further, tell))?;
        store.flush()?;
        let evidence = tuned::Evidence {
            plan,
            bench: &self.bench,
            traffic: &traffic,
            calibration: self.calibration,
            law: StubLaw { law: law.clone(), verify: false },
            probes,
            machine: Machine::look(),
            interrupted: self.interrupted.load(Ordering::Relaxed),
            further,
        };
        Ok(evidence.tuned(&finalists, recommended, front(&whole), (runs, exhaustive), beside, whole))
    }

    fn quest<'q>(&'q self, traffic: &'q Traffic, goal: &'q Goal) -> Quest<'q> {
        Quest { space: &self.plan.space, bench: &self.bench, traffic, goal, effort: self.plan.effort }
    }

    /// The workload's traffic, with other draws for each seed.
    fn traffic(&self, seed: u64, habit: Habit) -> anyhow::Result<Traffic> {
        let mut workload = self.plan.scenario.workload.clone();
        workload.seed = workload.seed.wrapping_add(seed);
        let extent = Extent { until: self.plan.trace, records_max: RECORDS_MAX, habit };
        let filters = &self.plan.scenario.mapping.filters;
        let Some(traffic) = Traffic::made(&workload, filters, &Topic::new("pelton-harness"), extent) else {
            bail!(
                "`arrival`: {} has no times, and age depends on them; give --arrival 'poisson(2k/s)', or \
                 --arrival captured with a capture",
                workload.arrival
            );
        };
        if traffic.arrivals.is_empty() {
            bail!("`trace`: no record in {}; give a longer one", Span(self.plan.trace));
        }
        let mut traffic = traffic.through(&self.calibration.way(&self.plan.scenario));
        traffic.take_oversized(self.bench.envelope_bytes, self.bench.payload_bytes_max);
        if traffic.arrivals.is_empty() {
            bail!(
                "`payload_bytes_max` is {}: no record of the traffic fits an event; give a larger one",
                self.bench.payload_bytes_max
            );
        }
        Ok(traffic)
    }

    /// The first finalists in real runs, if that is wanted.
    fn real_runs(
        &self,
        store: &mut Store,
        finalists: &[Finalist],
        remarks: &mut Vec<String>,
        tell: &mut dyn FnMut(TuneTick),
    ) -> anyhow::Result<Vec<verify::Measured>> {
        let Some((_, count)) = self.plan.runs else { return Ok(Vec::new()) };
        let keeps_up = |finalist: &&Finalist| finalist.by_seed.iter().all(|one| one.keeps_up);
        let chosen: Vec<Settings> = finalists[..1]
            .iter()
            .chain(finalists[1..].iter().filter(keeps_up))
            .take(count)
            .map(|finalist| finalist.settings)
            .collect();
        self.run_each(store, &chosen, remarks, tell)
    }

    /// Runs each of `chosen` for real, if it was not run before. An interrupt ends that, and what cannot
    /// be run, which is added to `remarks`: what was searched is worth a report without its runs.
    fn run_each(
        &self,
        store: &mut Store,
        chosen: &[Settings],
        remarks: &mut Vec<String>,
        tell: &mut dyn FnMut(TuneTick),
    ) -> anyhow::Result<Vec<verify::Measured>> {
        let Some((length, _)) = self.plan.runs else { return Ok(Vec::new()) };
        let trial = Trial {
            name: &self.plan.name,
            spec: &self.plan.spec,
            partitions: self.plan.scenario.workload.partitions,
            length,
            bench: &self.bench,
            calibration: &self.calibration,
        };
        let mut runs = Vec::with_capacity(chosen.len());
        for (number, settings) in chosen.iter().enumerate() {
            if let Some(known) = store.run(settings) {
                runs.push(known.clone());
                continue;
            }
            if self.interrupted.load(Ordering::Relaxed) {
                break;
            }
            let measured = trial.run(settings, self.interrupted, &mut |tick| {
                tell(TuneTick {
                    phase: format!("run {} of {}: {settings}", number + 1, chosen.len()),
                    done_share: (number as f64 + tick.done_share) / chosen.len() as f64,
                });
            });
            match measured {
                // One that was cut short is no evidence.
                _ if self.interrupted.load(Ordering::Relaxed) => break,
                Ok(measured) => {
                    store.ran(measured.clone())?;
                    runs.push(measured);
                }
                Err(error) => {
                    remarks.push(format!("{settings} could not be run: {error:#}"));
                    break;
                }
            }
        }
        Ok(runs)
    }

    /// The recommended setting, with one parameter doubled or halved; AWS's defaults with as many pollers
    /// as are allowed; and what would do for records with less in them: all batch by batch, as the rest
    /// was.
    fn beside(
        &self,
        store: &mut Store,
        traffic: &Traffic,
        (recommended, goal): (&Finalist, &Goal),
        tell: &mut dyn FnMut(TuneTick),
    ) -> anyhow::Result<Beside> {
        let mut lanes = Lanes::new(traffic, &self.bench);
        let with = evaluate::Fidelity { seed: self.plan.effort.seed, ..evaluate::Fidelity::WHOLE };
        let mut of = |settings: Settings| {
            store.evaluation(&settings, with, || self.bench.evaluate(&mut lanes, &settings, with))
        };
        let mut sensitivity = Vec::new();
        for (parameter, settings) in self.plan.space.beside(&recommended.settings, 2.0) {
            sensitivity.push(Sensitivity { parameter, evaluation: of(settings)? });
        }
        let like_others = of(recommended.settings)?;
        let aws_default = of(Settings::aws_default(*self.plan.space.pollers.end()))?;
        drop(lanes);
        let habits = self.habits(store, traffic, (recommended, goal), tell)?;
        Ok(Beside { like_others, sensitivity, habits, aws_default })
    }

    /// The best near the recommended setting for records with less in them, under the `goal` that led to
    /// it; and for those as they are in the same way, to compare with. Nothing if there is nothing to
    /// leave out.
    fn habits(
        &self,
        store: &mut Store,
        traffic: &Traffic,
        (recommended, goal): (&Finalist, &Goal),
        tell: &mut dyn FnMut(TuneTick),
    ) -> anyhow::Result<Vec<Habitual>> {
        let bytes = |traffic: &Traffic| traffic.arrivals.iter().map(|one| u64::from(one.bytes)).sum::<u64>();
        let mut habits = Vec::new();
        for (number, habit) in [Habit::AsIs].into_iter().chain(Habit::OTHERS).enumerate() {
            let done_share = number as f64 / (Habit::OTHERS.len() + 1) as f64;
            tell(TuneTick { phase: "records with less in them".into(), done_share });
            if self.interrupted.load(Ordering::Relaxed) {
                break;
            }
            if let Some(known) = store.habit(habit, &recommended.settings) {
                habits.push(known.clone());
                continue;
            }
            let other;
            let traffic = if habit == Habit::AsIs {
                traffic
            } else {
                other = self.traffic(self.plan.effort.seed, habit)?;
                if bytes(&other) == bytes(traffic) {
                    continue;
                }
                &other
            };
            let quest = self.quest(traffic, goal);
            let (evaluation, _) =
                refined(quest, &recommended.settings, &mut Store::in_memory(), self.interrupted)?;
            let habitual = Habitual { habit, from: recommended.settings, evaluation };
            if !self.interrupted.load(Ordering::Relaxed) {
                store.found_for(habitual.clone())?;
            }
            habits.push(habitual);
        }
        habits.truncate(if habits.len() > 1 { habits.len() } else { 0 });
        Ok(habits)
    }

    /// What the search has measured on all of the traffic, batch by batch; the best first.
    fn whole(&self, store: &Store, visited: &BTreeSet<Settings>) -> Vec<Evaluation> {
        let mut whole = store.evaluations();
        whole.retain(|one| {
            one.with.traffic_share >= 1.0 && !one.with.exact && visited.contains(&one.settings)
        });
        whole.sort_by(|one, other| compare(one, other, &self.plan.goal));
        whole
    }
}
