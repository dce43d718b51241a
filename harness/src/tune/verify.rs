//! Settings in real runs of the engine, beside what the simulator says of the very same run.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use pelton::ids::Topic;
use pelton::invoke::law::{Latency, Law};
use pelton::time::Nanos;
use serde::{Deserialize, Serialize};

use super::cost::Usage;
use super::evaluate::Bench;
use super::goal::AgeLimit;
use super::sim::simulate_exactly;
use super::space::Settings;
use crate::measure::histogram::LatencySummary;
use crate::result::{RunResult, ratio};
use crate::run::{RunPlan, Tick, run};
use crate::traffic::{Extent, Habit, Traffic, Way};
use crate::workload::function::StubLaw;
use crate::workload::scenario::{FunctionSpec, Scenario, SourceSpec};
use crate::workload::spec::{Spec, SpecError};
use crate::workload::units::Span;

/// How long a run to be compared with the simulator is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunLength {
    /// Loaded before anything is measured.
    pub warm_up: Duration,
    /// Measured.
    pub duration: Duration,
}

/// What engine and broker add to the function's time, measured in a run against a function whose time
/// is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// From a record's intended send to its poll, beyond the producer's linger and the broker's
    /// fetches.
    pub delay_us: f64,
    /// For each invocation, beyond the function's own time: encoding, hand-over, waking up.
    pub overhead_us: f64,
    /// The engine's CPU time.
    pub cpu_us_per_record: f64,
}

impl Calibration {
    /// The way of a record to a poller of `scenario`.
    #[must_use]
    pub fn way(&self, scenario: &Scenario) -> Way {
        let bare = bare_way(scenario);
        Way { delay: Duration::from_secs_f64(self.delay_us.max(0.0) / 1e6), ..bare }
    }

    /// What an invocation takes beyond the function's own time.
    #[must_use]
    pub fn overhead(&self) -> Duration {
        Duration::from_secs_f64(self.overhead_us.max(0.0) / 1e6)
    }
}

/// What is known of the way before anything is measured.
fn bare_way(scenario: &Scenario) -> Way {
    /// The embedded broker answers an empty fetch after all of its wait, which runs set to this.
    const EMBEDDED_FETCH_TICK: Duration = Duration::from_millis(10);
    let is_embedded = scenario.source == SourceSpec::Embedded;
    Way {
        linger: scenario.workload.linger,
        fetch_tick: if is_embedded { EMBEDDED_FETCH_TICK } else { Duration::ZERO },
        delay: Duration::ZERO,
    }
}

/// A setting in a real run, and in the simulator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Which.
    pub settings: Settings,
    /// What the run measured.
    pub real: Figures,
    /// What the simulator says of the same traffic.
    pub simulated: Figures,
    /// Every record once, in order, and committed.
    pub is_clean: bool,
    /// What makes figures of the run doubtful.
    pub remarks: Vec<String>,
}

/// What is compared.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Delivered.
    pub records_per_s: f64,
    /// From the intended send until the function had answered.
    pub age: LatencySummary,
    /// Records in a batch, on average.
    pub batch_records_mean: f64,
    /// Batches by why they were closed, as shares.
    pub cause_shares: BTreeMap<String, f64>,
    /// The cost of a million records; `None` if invocations failed, whose time a run does not tell apart.
    #[serde(default)]
    pub per_million_records: Option<f64>,
}

/// How far simulated figures may be from real ones before a report says so: throughput by a tenth,
/// ages by a fifth or, where those are small, by what a scheduler or a fetch may add.
pub const THROUGHPUT_WITHIN_SHARE: f64 = 0.10;
/// See [`THROUGHPUT_WITHIN_SHARE`].
pub const AGE_WITHIN_SHARE: f64 = 0.20;
/// See [`THROUGHPUT_WITHIN_SHARE`].
pub const AGE_WITHIN_US: f64 = 5_000.0;

impl Measured {
    /// Simulated over real, less one: throughput, p50 age, p99 age.
    #[must_use]
    pub fn differences(&self) -> [(&'static str, f64); 3] {
        let off = |simulated: f64, real: f64| ratio(simulated, real) - 1.0;
        let age =
            |of: fn(&LatencySummary) -> u64| off(of(&self.simulated.age) as f64, of(&self.real.age) as f64);
        [
            ("throughput", off(self.simulated.records_per_s, self.real.records_per_s)),
            ("p50 age", age(|age| age.p50_us)),
            ("p99 age", age(|age| age.p99_us)),
        ]
    }

    /// Whether the real run kept the limit of age.
    #[must_use]
    pub fn keeps(&self, limit: Option<AgeLimit>) -> bool {
        self.real.age.count > 0
            && limit.is_none_or(|limit| {
                u128::from(limit.quantile.of(&self.real.age)) <= limit.at_most.as_micros()
            })
    }

    /// The figures that differ by more than the report's confidence.
    #[must_use]
    pub fn disagreements(&self) -> Vec<String> {
        let mut disagreements = Vec::new();
        let [throughput, ..] = self.differences();
        if throughput.1.abs() > THROUGHPUT_WITHIN_SHARE {
            disagreements.push(format!("throughput by {:+.0} %", throughput.1 * 100.0));
        }
        let ages = [
            ("p50 age", self.simulated.age.p50_us, self.real.age.p50_us),
            ("p99 age", self.simulated.age.p99_us, self.real.age.p99_us),
        ];
        for (name, simulated, real) in ages {
            let (simulated, real) = (simulated as f64, real as f64);
            if (simulated - real).abs() > (real * AGE_WITHIN_SHARE).max(AGE_WITHIN_US) {
                disagreements.push(format!("{name} by {:+.0} %", (ratio(simulated, real) - 1.0) * 100.0));
            }
        }
        disagreements
    }
}

/// `spec` with other settings, for so long.
fn with_settings(spec: &Spec, settings: &Settings, length: RunLength) -> Spec {
    let flags = Spec {
        batch_size: Some(settings.batch_size),
        maximum_batching_window: Some(settings.maximum_batching_window),
        pollers: Some(settings.pollers),
        warm_up: Some(Span(length.warm_up)),
        duration: Some(Span(length.duration)),
        ..Spec::default()
    };
    flags.over(spec.clone())
}

/// A run over a topic of so many partitions.
fn plan(name: &str, spec: Spec, partitions: u32) -> Result<RunPlan, SpecError> {
    let mut scenario = spec.resolve()?;
    scenario.workload.partitions = partitions;
    Ok(RunPlan { name: name.to_owned(), spec, scenario })
}

/// Measures what engine and broker add, for some seconds.
///
/// # Errors
/// If the run cannot be made.
pub fn calibrate(
    spec: &Spec,
    partitions: u32,
    interrupted: &AtomicBool,
    tell: &mut dyn FnMut(Tick),
) -> anyhow::Result<Calibration> {
    // What waits at the beginning would be taken for a slow way.
    let spec = &Spec { backlog: None, ..spec.clone() };
    let length = RunLength { warm_up: Duration::from_secs(2), duration: Duration::from_secs(4) };
    let settings = Settings {
        batch_size: 10_000,
        maximum_batching_window: Span(Duration::ZERO),
        pollers: spec.resolve()?.mapping.pollers,
    };
    // A stub that sleeps wakes up late, as every invocation of a law will.
    let sleeps =
        !matches!(spec.resolve()?.function, FunctionSpec::Stub(StubLaw { law, .. }) if law == Law::default());
    let took = if sleeps { Duration::from_millis(10) } else { Duration::ZERO };
    let latency = if sleeps { Latency::Fixed(took) } else { Latency::None };
    let stub = StubLaw { law: Law { latency, ..Law::default() }, verify: false };
    let spec = Spec { stub: Some(stub), ..Spec::default() }.over(with_settings(spec, &settings, length));
    let plan = plan("calibration", spec, partitions)?;
    let result = run(&plan, interrupted, tell)?;
    let traffic = of_run(&plan.scenario, length, &bare_way(&plan.scenario));
    let waits: u64 = traffic.arrivals.iter().map(|arrival| arrival.at.0 - arrival.born.0).sum();
    let wait_us = ratio(waits as f64 / 1e3, traffic.arrivals.len() as f64);
    let latency = &result.latency;
    Ok(Calibration {
        delay_us: (latency.broker_wait.mean_us - wait_us).max(0.0),
        overhead_us: (latency.invocation.mean_us - took.as_secs_f64() * 1e6).max(0.0)
            + latency.encode.mean_us,
        cpu_us_per_record: result.cpu.engine_s_per_million_records,
    })
}

/// What a run of `scenario` for so long reads, and when.
fn of_run(scenario: &Scenario, length: RunLength, way: &Way) -> Traffic {
    let until = length.warm_up + length.duration;
    let extent = Extent { until, records_max: u64::MAX, habit: Habit::AsIs };
    let filters = &scenario.mapping.filters;
    let traffic = Traffic::made(&scenario.workload, filters, &Topic::new(TOPIC), extent);
    traffic.unwrap_or_default().through(way)
}

/// Topics of runs are called so, or by a name of their own that is as long.
const TOPIC: &str = "pelton-harness";

/// Runs of settings that are compared with the simulator.
#[derive(Clone, Copy, Debug)]
pub struct Trial<'t> {
    /// The workload's name.
    pub name: &'t str,
    /// The workload.
    pub spec: &'t Spec,
    /// Partitions of the topic.
    pub partitions: u32,
    /// How long each is.
    pub length: RunLength,
    /// What simulates.
    pub bench: &'t Bench,
    /// What engine and broker add.
    pub calibration: &'t Calibration,
}

impl Trial<'_> {
    /// Runs `settings` for real and in the simulator.
    ///
    /// # Errors
    /// If the run cannot be made.
    pub fn run(
        &self,
        settings: &Settings,
        interrupted: &AtomicBool,
        tell: &mut dyn FnMut(Tick),
    ) -> anyhow::Result<Measured> {
        let plan = plan(self.name, with_settings(self.spec, settings, self.length), self.partitions)?;
        let result = run(&plan, interrupted, tell)?;
        let traffic = of_run(&plan.scenario, self.length, &self.calibration.way(&plan.scenario));
        let measure_from = Nanos::ZERO + self.length.warm_up;
        let tally = simulate_exactly(
            &traffic,
            settings.pollers,
            &self.bench.limits(settings),
            self.bench.envelope_bytes,
            &self.bench.function,
            measure_from,
        );
        let elapsed = tally.ended_at - measure_from;
        let shares = |causes: &BTreeMap<String, u64>| {
            let all: u64 = causes.values().sum();
            let share = |(cause, count): (&String, &u64)| (cause.clone(), ratio(*count as f64, all as f64));
            causes.iter().map(share).collect()
        };
        let named = ["count", "window", "bytes"].map(str::to_owned).into_iter().zip(tally.causes);
        let cost = |usage: &Usage, elapsed| {
            self.bench.prices.of(usage, settings.pollers, elapsed, &self.bench.billing).per_million_records
        };
        let simulated = Figures {
            records_per_s: ratio(tally.records_measured as f64, elapsed.as_secs_f64()),
            age: tally.ages(),
            batch_records_mean: ratio(tally.records as f64, tally.batches as f64),
            cause_shares: shares(&named.filter(|(_, count)| *count > 0).collect()),
            per_million_records: Some(cost(&tally.usage(), tally.ended_at - Nanos::ZERO)),
        };
        let elapsed = Duration::from_secs_f64(result.throughput.elapsed_s.max(0.0));
        let mut real = real(&result, shares(&result.batches.causes));
        real.per_million_records =
            usage(&result, self.bench.function.overhead).map(|usage| cost(&usage, elapsed));
        Ok(Measured {
            settings: *settings,
            real,
            simulated,
            is_clean: result.is_clean(),
            remarks: result.remarks,
        })
    }
}

/// What a run used, where an invocation takes `overhead` more than its function; `None` if some failed.
fn usage(result: &RunResult, overhead: Duration) -> Option<Usage> {
    /// What rounding up to a millisecond adds on average.
    const ROUNDING_MS: f64 = 0.5;
    let batches = result.batches.count as f64;
    let all: u64 = result.invocations.values().sum();
    if result.invocations.get("success") != Some(&all) {
        return None;
    }
    let took_ms = (result.batches.invocation_mean_us / 1e3 - overhead.as_secs_f64() * 1e3).max(0.0);
    Some(Usage {
        // Those of the same batches: what a batch at the edge brings is in both or in none.
        records: (batches * result.batches.records_mean).round() as u64,
        invocations: batches,
        invocations_ms: batches * (took_ms + ROUNDING_MS),
        payload_bytes: batches * result.batches.payload_bytes_mean,
    })
}

fn real(result: &RunResult, cause_shares: BTreeMap<String, f64>) -> Figures {
    Figures {
        records_per_s: result.throughput.records_per_s,
        age: result.latency.total,
        batch_records_mean: result.batches.records_mean,
        cause_shares,
        per_million_records: None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::evaluate::tests::settings;
    use super::*;

    fn measured(real: (f64, u64, u64), simulated: (f64, u64, u64)) -> Measured {
        let figures = |(records_per_s, p50_us, p99_us)| Figures {
            records_per_s,
            age: LatencySummary { p50_us, p99_us, ..LatencySummary::default() },
            ..Figures::default()
        };
        Measured {
            settings: settings(100, 100, 2),
            real: figures(real),
            simulated: figures(simulated),
            is_clean: true,
            remarks: Vec::new(),
        }
    }

    #[test]
    fn what_differs_by_more_than_the_confidence_is_named() {
        let near = measured((1_000.0, 100_000, 200_000), (1_050.0, 110_000, 230_000));
        assert!(near.disagreements().is_empty());
        let far = measured((1_000.0, 100_000, 200_000), (1_200.0, 150_000, 100_000));
        assert_eq!(far.disagreements(), ["throughput by +20 %", "p50 age by +50 %", "p99 age by -50 %"]);
        let small = measured((1_000.0, 3_000, 9_000), (1_000.0, 7_000, 5_000));
        assert!(small.disagreements().is_empty(), "a few milliseconds are within what a scheduler adds");
    }

    #[test]
    fn settings_are_laid_over_the_spec() {
        let spec =
            Spec::from_toml("arrival = \"constant(1k/s)\"\nrecords = 500\nbatch_size = 7", "test").unwrap();
        let length = RunLength { warm_up: Duration::from_secs(1), duration: Duration::from_secs(2) };
        let spec = with_settings(&spec, &settings(300, 40, 3), length);
        let scenario = spec.resolve().unwrap();
        assert_eq!((scenario.mapping.batch_size, scenario.mapping.pollers), (300, 3));
        assert_eq!(scenario.mapping.window, Duration::from_millis(40));
        assert_eq!(scenario.warm_up, Duration::from_secs(1));
    }
}
