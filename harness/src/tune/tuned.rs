//! What a search came to: the recommendation, and everything that speaks for and against it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF as _, StudentsT};

use super::TunePlan;
use super::advice::{self, Advice};
use super::cost::{Billing, Prices, event_pollers};
use super::evaluate::{Bench, Evaluation};
use super::exhaustive::Exhaustive;
use super::goal::Goal;
use super::probe::Probe;
use super::scale::{Mode, Second, follow};
use super::sim::simulate_exactly;
use super::space::{Parameter, Settings};
use super::verify::{Calibration, Measured};
use crate::measure::histogram::LatencySummary;
use crate::measure::machine::Machine;
use crate::result::ratio;
use crate::traffic::{Habit, Traffic};
use crate::workload::function::StubLaw;
use pelton::time::Nanos;

/// The version of [`Tuned`].
pub const VERSION: u32 = 2;

/// Two-sided.
const CONFIDENCE: f64 = 0.95;

/// What a search came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tuned {
    /// [`VERSION`].
    pub version: u32,
    /// The command that made it.
    pub command: String,
    /// The workload's name.
    pub workload: String,
    /// The workload as written, with every flag applied.
    pub spec: crate::workload::spec::Spec,
    /// What was wanted, in a sentence.
    pub goal: String,
    /// The same, in parts.
    pub wanted: Goal,
    /// The function.
    pub function: StubLaw,
    /// What it was fitted to, if it was probed.
    pub probes: Vec<Probe>,
    /// Its memory, in bytes.
    pub memory_bytes: u64,
    /// Prices.
    pub prices: Prices,
    /// The traffic, in figures.
    pub traffic: TrafficFigures,
    /// What engine and broker add; zero if nothing was run.
    pub calibration: Calibration,
    /// Draws that finalists were measured with.
    pub seeds: u64,
    /// Where it was made.
    pub machine: Machine,
    /// Somebody pressed Ctrl-C.
    pub interrupted: bool,
    /// The answer.
    pub recommended: Recommended,
    /// AWS's defaults with as many pollers as are allowed.
    pub aws_default: Evaluation,
    /// The best settings, measured exactly, with their spread over seeds.
    pub finalists: Vec<Candidate>,
    /// What no other setting is better than, in age, cost and capacity together.
    pub front: Vec<Evaluation>,
    /// What moving one parameter does.
    pub sensitivity: Vec<Sensitivity>,
    /// What settings would do, and at what cost, if there were less in each record; beside the same for
    /// records as they are. Empty if there is nothing to leave out.
    #[serde(default)]
    pub habits: Vec<Habitual>,
    /// What limits the recommended setting, the weightiest first.
    pub binds: Vec<String>,
    /// Settings in real runs.
    pub runs: Vec<Measured>,
    /// Further settings in real runs, if they were wanted: whether any would have been better.
    #[serde(default)]
    pub exhaustive: Option<Exhaustive>,
    /// How pollers that follow the lag would follow this traffic.
    pub scaling: Vec<Scaling>,
    /// Every evaluation on all of the traffic.
    pub evaluations: Vec<Evaluation>,
    /// What makes figures doubtful.
    pub remarks: Vec<String>,
}

/// A traffic in figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TrafficFigures {
    /// Records.
    pub records: u64,
    /// Records that filters leave out, which are not among them.
    pub records_filtered: u64,
    /// Records that no event can hold, which are not among them.
    pub records_oversized: u64,
    /// From the first to the last.
    pub span_s: f64,
    /// Bytes of a record in an event, on average.
    pub record_bytes_mean: f64,
    /// Partitions.
    pub partitions: u32,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recommended {
    /// The settings, and what they come to.
    pub candidate: Candidate,
    /// The same, measured as all others were: batch by batch, with the first draws.
    pub like_others: Evaluation,
    /// Whether they keep all limits with every seed.
    pub meets_goal: bool,
    /// Ages of records below which shares of them lie.
    pub ages: Vec<AgeQuantile>,
    /// Records that wait, over time.
    pub lag: Vec<LagPoint>,
    /// As files and commands.
    pub advice: Advice,
}

/// A share of records, and the age that it stays below.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgeQuantile {
    /// From 0 to 1.
    pub below_share: f64,
    /// In microseconds.
    pub age_us: u64,
}

/// How many records wait.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LagPoint {
    /// After the first record.
    pub at_s: f64,
    /// There, and not answered for.
    pub lag_records: u64,
}

/// A setting, measured exactly with several seeds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// Which.
    pub settings: Settings,
    /// The evaluation of the middle seed, by age.
    pub evaluation: Evaluation,
    /// Age at the goal's quantile, in milliseconds.
    pub age_ms: Estimate,
    /// The cost of a million records.
    pub per_million_records: Estimate,
    /// Records per second.
    pub records_per_s: Estimate,
}

/// A mean over seeds, with its confidence interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// The 95 % interval's lower end.
    pub low_mean: f64,
    /// Its upper end.
    pub high_mean: f64,
    /// The largest of all seeds.
    pub largest_max: f64,
}

/// What moving one parameter does to the recommended setting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sensitivity {
    /// Which was moved.
    pub parameter: Parameter,
    /// What came of it.
    pub evaluation: Evaluation,
}

/// The best settings near the recommended ones for records with less in them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Habitual {
    /// With what.
    pub habit: Habit,
    /// The recommended settings, from which these were found.
    pub from: Settings,
    /// The settings, and what they come to.
    pub evaluation: Evaluation,
}

/// How pollers follow the traffic by one set of rules, from the fewest on, with the recommended batch
/// size and window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scaling {
    /// Whose rules.
    pub name: String,
    /// What is known of them, and what is assumed.
    pub assumed: String,
    /// Pollers at the beginning, and never fewer.
    pub pollers_min: u32,
    /// Never more.
    pub pollers_max: u32,
    /// Invocations that one of them may have under way.
    pub invocations_per_poller: usize,
    /// Pollers, averaged over time.
    pub pollers_mean: f64,
    /// From the intended send until the function had answered.
    pub age: LatencySummary,
    /// The cost of a million records; with AWS's provisioned mode, that of its pollers included.
    pub per_million_records: f64,
    /// Whether nothing waited in the end. If not, ages are those of what was delivered.
    pub caught_up: bool,
    /// Second by second.
    pub seconds: Vec<Second>,
}

/// A setting with its evaluations, one for each seed.
#[derive(Clone, Debug)]
pub struct Finalist {
    /// Which.
    pub settings: Settings,
    /// By seed.
    pub by_seed: Vec<Evaluation>,
}

impl Finalist {
    /// The evaluation of the middle seed.
    #[must_use]
    pub fn middle(&self, goal: &Goal) -> Evaluation {
        let quantile = goal.quantile();
        let mut order: Vec<&Evaluation> = self.by_seed.iter().collect();
        order.sort_by_key(|one| quantile.of(&one.age));
        order[order.len() / 2].clone()
    }

    /// Whether it was measured with all draws: it is not if an interrupt came.
    pub(super) fn is_whole(&self, plan: &TunePlan) -> bool {
        self.by_seed.len() as u64 >= plan.seeds
    }

    /// Whether it keeps all limits with every draw.
    pub(super) fn meets(&self, plan: &TunePlan) -> bool {
        self.is_whole(plan) && Estimate::worst(self, &plan.goal) <= 0.0
    }

    fn candidate(&self, goal: &Goal) -> Candidate {
        let quantile = goal.quantile();
        let of = |value: &dyn Fn(&Evaluation) -> f64| {
            Estimate::of(&self.by_seed.iter().map(value).collect::<Vec<_>>())
        };
        Candidate {
            settings: self.settings,
            evaluation: self.middle(goal),
            age_ms: of(&|one| quantile.of(&one.age) as f64 / 1e3),
            per_million_records: of(&|one| one.cost.per_million_records),
            records_per_s: of(&|one| one.records_per_s),
        }
    }
}

impl Estimate {
    /// Of values with one for each seed.
    #[must_use]
    pub fn of(values: &[f64]) -> Self {
        let count = values.len() as f64;
        let mean = ratio(values.iter().sum(), count);
        let largest_max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mut half = 0.0;
        if values.len() > 1 {
            let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
            let t = StudentsT::new(0.0, 1.0, count - 1.0)
                .map_or(0.0, |law| law.inverse_cdf(0.5 + CONFIDENCE / 2.0));
            half = t * (variance / count).sqrt();
        }
        Self { mean, low_mean: mean - half, high_mean: mean + half, largest_max }
    }

    /// By how much the worst seed of a finalist misses `goal`.
    #[must_use]
    pub fn worst(finalist: &Finalist, goal: &Goal) -> f64 {
        finalist.by_seed.iter().map(|one| one.score(goal).miss).fold(0.0, f64::max)
    }
}

/// What a recommended setting is compared with, all measured alike.
pub(super) struct Beside {
    pub(super) like_others: Evaluation,
    pub(super) sensitivity: Vec<Sensitivity>,
    pub(super) habits: Vec<Habitual>,
    pub(super) aws_default: Evaluation,
}

/// What a [`Tuned`] is made of.
pub(super) struct Evidence<'e> {
    pub(super) plan: &'e TunePlan,
    pub(super) bench: &'e Bench,
    pub(super) traffic: &'e Traffic,
    pub(super) calibration: Calibration,
    pub(super) law: StubLaw,
    pub(super) probes: Vec<Probe>,
    pub(super) machine: Machine,
    pub(super) interrupted: bool,
    /// Further remarks.
    pub(super) further: Vec<String>,
}

/// Points of the lag over time.
const LAG_POINTS: usize = 300;

impl Evidence<'_> {
    pub(super) fn tuned(
        self,
        finalists: &[Finalist],
        recommended: usize,
        front: Vec<Evaluation>,
        (runs, exhaustive): (Vec<Measured>, Option<Exhaustive>),
        beside: Beside,
        evaluations: Vec<Evaluation>,
    ) -> Tuned {
        let Beside { like_others, sensitivity, habits, aws_default } = beside;
        let goal = &self.plan.goal;
        let candidates: Vec<Candidate> = finalists.iter().map(|one| one.candidate(goal)).collect();
        let best = &finalists[recommended];
        let run = runs.iter().find(|run| run.settings == best.settings);
        let kept = run.is_none_or(|run| run.is_clean && run.keeps(goal.age));
        let candidate = candidates[recommended].clone();
        let (ages, lag) = self.follow(&best.settings);
        let recommended = Recommended {
            like_others: like_others.clone(),
            meets_goal: best.meets(self.plan) && kept,
            ages,
            lag,
            advice: advice::advice(&best.settings, self.plan),
            candidate,
        };
        let mut remarks = self.remarks(&recommended, &runs);
        remarks.extend(self.plan.scenario.workload.replay.map_or(Vec::new(), |one| one.remarks().to_vec()));
        Tuned {
            version: VERSION,
            command: self.plan.command.clone(),
            workload: self.plan.name.clone(),
            spec: self.plan.spec.clone(),
            goal: goal.to_string(),
            wanted: goal.clone(),
            memory_bytes: self.plan.billing.memory.0,
            prices: self.plan.prices.clone(),
            traffic: self.figures(),
            calibration: self.calibration,
            seeds: best.by_seed.len() as u64,
            interrupted: self.interrupted,
            binds: self.binds(&recommended, &sensitivity),
            scaling: self.scaling(&best.settings),
            function: self.law,
            probes: self.probes,
            machine: self.machine,
            recommended,
            aws_default,
            finalists: candidates,
            front,
            sensitivity,
            habits,
            runs,
            exhaustive,
            evaluations,
            remarks,
        }
    }

    fn figures(&self) -> TrafficFigures {
        let arrivals = &self.traffic.arrivals;
        let bytes: u64 = arrivals.iter().map(|arrival| u64::from(arrival.bytes)).sum();
        let last = arrivals.iter().map(|arrival| arrival.born).max().unwrap_or(Nanos::ZERO);
        TrafficFigures {
            records: arrivals.len() as u64,
            records_filtered: self.traffic.filtered,
            records_oversized: self.traffic.oversized,
            span_s: (last - Nanos::ZERO).as_secs_f64(),
            record_bytes_mean: ratio(bytes as f64, arrivals.len() as f64),
            partitions: self.traffic.partitions,
        }
    }

    /// Ages and lag of `settings` over this traffic, exactly.
    fn follow(&self, settings: &Settings) -> (Vec<AgeQuantile>, Vec<LagPoint>) {
        let limits = self.bench.limits(settings);
        let tally = simulate_exactly(
            self.traffic,
            settings.pollers,
            &limits,
            self.bench.envelope_bytes,
            &self.bench.function,
            Nanos::ZERO,
        );
        // By nines: 0, 0.1 ... 0.9, 0.91 ... 0.99, and so on to 0.9999.
        let mut shares: Vec<f64> = Vec::new();
        for nines in 0..4 {
            let rest = 0.1_f64.powi(nines);
            shares.extend((0..9).map(|tenth| 1.0 - rest + rest * 0.1 * f64::from(tenth)));
        }
        shares.extend([0.9999, 1.0]);
        let ages = shares
            .into_iter()
            .map(|below_share| AgeQuantile { below_share, age_us: tally.age.quantile_us(below_share) })
            .collect();
        (ages, lag(self.traffic, &tally.delivered, tally.ended_at))
    }

    fn scaling(&self, settings: &Settings) -> Vec<Scaling> {
        let whole = |pollers: usize| u32::try_from(pollers).unwrap_or(u32::MAX);
        let (partitions, pollers) = (self.traffic.partitions, settings.pollers.max(1));
        let provisioned = Mode::provisioned(whole(event_pollers(pollers)), partitions);
        let limits = [self.plan.goal.concurrency_max, self.bench.function.law().concurrency_max];
        let invocations_max = limits.into_iter().flatten().min().map_or(usize::MAX, |most| most as usize);
        [(Mode::on_demand(partitions), false), (provisioned, true), (Mode::pelton(whole(pollers)), false)]
            .into_iter()
            .map(|(mode, are_paid)| self.scaled(settings, &Mode { invocations_max, ..mode }, are_paid))
            .collect()
    }

    fn scaled(&self, settings: &Settings, mode: &Mode, are_paid: bool) -> Scaling {
        let bench = self.bench;
        let limits = bench.limits(settings);
        let followed = follow(self.traffic, mode, &limits, bench.envelope_bytes, &bench.function);
        let tally = &followed.tally;
        let billing = Billing { provisioned: false, ..bench.billing };
        let cost = bench.prices.of(&tally.usage(), 0, tally.ended_at - Nanos::ZERO, &billing);
        let unit = &bench.prices.event_poller_unit;
        let units = followed.seconds.iter().map(|one| f64::from(one.pollers.div_ceil(unit.pollers)));
        let hours = if are_paid { units.sum::<f64>() / 3_600.0 } else { 0.0 };
        let pollers_cost = ratio(hours * unit.per_hour, tally.records as f64) * 1e6;
        Scaling {
            name: mode.name.to_owned(),
            assumed: mode.assumed.to_owned(),
            pollers_min: mode.rules.pollers_min,
            pollers_max: mode.rules.pollers_max,
            invocations_per_poller: mode.invocations_per_poller,
            pollers_mean: followed.pollers_mean,
            age: tally.ages(),
            per_million_records: cost.per_million_records + pollers_cost,
            caught_up: followed.seconds.last().is_none_or(|last| last.lag_records == 0),
            seconds: followed.seconds,
        }
    }

    /// What limits the setting.
    fn binds(&self, recommended: &Recommended, sensitivity: &[Sensitivity]) -> Vec<String> {
        let evaluation = &recommended.candidate.evaluation;
        let cost = recommended.like_others.cost.per_million_records;
        let percent = |share: f64| format!("{:.0} %", share * 100.0);
        let mut binds = Vec::new();
        let mut causes: Vec<(&String, &u64)> = evaluation.causes.iter().collect();
        causes.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        for (cause, count) in causes {
            let share = ratio(*count as f64, evaluation.batches as f64);
            if share < 0.02 {
                continue;
            }
            binds.push(match cause.as_str() {
                "count" => format!("{} of batches were full by batch_size", percent(share)),
                "window" => format!(
                    "{} of batches were closed by the batching window, {} full on average",
                    percent(share),
                    percent(evaluation.fill_by_records_share)
                ),
                _ => format!("{} of batches were full by the payload limit", percent(share)),
            });
        }
        if evaluation.waited_share > 0.05 {
            binds.push(format!(
                "{} of batches were full and waited for the function: pollers bind",
                percent(evaluation.waited_share)
            ));
        }
        let overhead = self.bench.function.overhead;
        binds.push(format!(
            "a poller's function is busy for {} of its time{}",
            percent(evaluation.busy_share),
            if overhead.is_zero() {
                String::new()
            } else {
                format!(", {:.1} ms of each invocation being engine and client", overhead.as_secs_f64() * 1e3)
            }
        ));
        let goal = &self.plan.goal;
        if goal.age.is_some() {
            let missing: BTreeMap<&str, bool> = sensitivity
                .iter()
                .filter(|one| one.evaluation.cost.per_million_records < cost * 0.98)
                .map(|one| (one.parameter.name(), one.evaluation.meets(goal)))
                .collect();
            for (name, meets) in missing {
                if !meets {
                    binds.push(format!("{name} would save money if records were allowed to be older"));
                }
            }
        }
        binds
    }

    fn remarks(&self, recommended: &Recommended, runs: &[Measured]) -> Vec<String> {
        let mut remarks = self.further.clone();
        if self.traffic.oversized > 0 {
            remarks.push(format!(
                "{} records are larger than any event can hold (payload_bytes_max) and left out of all figures",
                self.traffic.oversized
            ));
        }
        if !recommended.meets_goal {
            remarks.push(format!(
                "no setting that was tried keeps the goal ({}) with every draw and in its run; this one misses it least. More \
                 pollers (--pollers-max; never more than partitions), a faster function, or a later limit",
                self.plan.goal
            ));
        }
        for run in runs {
            if let Some(limit) = self.plan.goal.age.filter(|limit| !run.keeps(Some(*limit))) {
                remarks.push(format!("in its run, {} missed {limit}", run.settings));
            }
            let disagreements = run.disagreements();
            if !disagreements.is_empty() {
                remarks.push(format!(
                    "simulated and measured differ for {}: {}, which is more than this report's confidence (throughput \
                     10 %, ages 20 % or 5 ms)",
                    run.settings,
                    disagreements.join(", ")
                ));
            }
            if !run.is_clean {
                remarks.push(format!("the run of {} did not pass its audit", run.settings));
            }
        }
        let cpu_share = self.calibration.cpu_us_per_record * recommended.candidate.records_per_s.mean
            / 1e6
            / self.plan.scenario.mapping.threads.max(1) as f64;
        if cpu_share > 0.7 {
            remarks.push(format!(
                "the engine's own CPU is used for {:.0} % of its threads, which the simulator leaves out: give it \
                 more threads (engine.threads)",
                cpu_share * 100.0
            ));
        }
        if self.plan.runs.is_none() {
            remarks.push(
                "nothing was run: what engine, broker and network add is not in these figures (leave out --no-runs)"
                    .into(),
            );
        } else if !self.machine.optimized {
            remarks.push("not an optimised build: what was run is slower than it should be".into());
        }
        remarks
    }
}

/// Records that wait, at some points in time. `delivered` are the ends of batches and their records.
fn lag(traffic: &Traffic, delivered: &[(Nanos, u32)], ended_at: Nanos) -> Vec<LagPoint> {
    let mut delivered = delivered.to_vec();
    delivered.sort_unstable();
    let mut born: Vec<u64> = traffic.arrivals.iter().map(|arrival| arrival.born.0).collect();
    born.sort_unstable();
    let (mut done, mut next) = (0_u64, 0);
    (0..=LAG_POINTS)
        .map(|point| {
            let at = u64::try_from(u128::from(ended_at.0) * point as u128 / LAG_POINTS as u128).unwrap_or(0);
            while let Some((_, records)) = delivered.get(next).filter(|(when, _)| when.0 <= at) {
                done += u64::from(*records);
                next += 1;
            }
            let there = born.partition_point(|born| *born <= at) as u64;
            LagPoint { at_s: at as f64 / 1e9, lag_records: there.saturating_sub(done) }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::evaluate::tests::{bench, settings, traffic};
    use super::*;

    #[test]
    fn an_estimate_has_the_interval_of_students_law() {
        let estimate = Estimate::of(&[9.0, 10.0, 11.0, 10.0, 10.0]);
        // t of 4 degrees of freedom is 2.776; the deviation 0.7071.
        assert!((estimate.mean - 10.0).abs() < 1e-9);
        assert!(
            (estimate.high_mean - 10.0 - 2.776 * 0.5_f64.sqrt() / 5_f64.sqrt()).abs() < 1e-3,
            "{estimate:?}"
        );
        assert!((estimate.largest_max - 11.0).abs() < 1e-9);
        let one = Estimate::of(&[3.0]);
        assert!((one.low_mean - 3.0).abs() < 1e-9 && (one.high_mean - 3.0).abs() < 1e-9);
    }

    #[test]
    fn lag_is_what_is_there_and_not_done() {
        let traffic = traffic("arrival = \"constant(100/s)\"\npartitions = 2", 10);
        let (bench, settings) = (bench(50), settings(1_000, 1_000, 1));
        let tally = simulate_exactly(
            &traffic,
            1,
            &bench.limits(&settings),
            bench.envelope_bytes,
            &bench.function,
            Nanos::ZERO,
        );
        let lag = lag(&traffic, &tally.delivered, tally.ended_at);
        assert_eq!(lag.len(), LAG_POINTS + 1);
        let most = lag.iter().map(|point| point.lag_records).max().unwrap();
        assert!((95..=112).contains(&most), "a second's records, and those that come meanwhile: {most}");
        assert_eq!(lag.last().unwrap().lag_records, 0);
    }
}
