//! `pelton-harness tune`

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use pelton::source::replay::Keep;

use super::access::watch;
use super::{COULD_NOT_RUN, OK, USAGE, interrupt, run, scenarios};
use crate::capture::{AccessSettings, CapturePlan};
use crate::report::tune::report;
use crate::report::tune_page::page;
use crate::topic::RunTopic;
use crate::tune::cost::{Billing, Prices};
use crate::tune::goal::{AgeLimit, Goal, Optimise};
use crate::tune::search::Effort;
use crate::tune::space::Space;
use crate::tune::tuned::Tuned;
use crate::tune::verify::RunLength;
use crate::tune::{TunePlan, tune};
use crate::workload::arrival::Arrival;
use crate::workload::scenario::{FunctionSpec, Scenario, SourceSpec};
use crate::workload::spec::{Spec, SpecError};
use crate::workload::units::{Bytes, Span};

/// AWS's longest window.
const WINDOW_MAX: Duration = Duration::from_secs(300);
/// The longest window where no limit of age makes longer ones pointless.
const WINDOW_MAX_DEFAULT: Duration = Duration::from_secs(30);
/// AWS's largest batch.
const BATCH_SIZE_MAX: u32 = 10_000;

/// Find the batch size, window and poller count that meet a goal at the lowest cost, and show why.
///
/// Settings are tried in virtual time over the workload's traffic, with the engine's own batch policy;
/// the best are then run for real, on the embedded broker or the one that --brokers names, and shown
/// beside what was simulated. A mapping setting that is given (such as --pollers 4) stays as it is.
/// Workload and function: a scenario, flags, or a capture (--replay); --stub is the function's law, or
/// --endpoint is probed for it.
#[derive(Debug, Args)]
pub struct TuneArguments {
    /// A scenario by name (see `pelton-harness scenarios`), or a TOML file with the names of the
    /// flags below, in `snake_case`.
    #[arg(long, value_name = "NAME|FILE", default_value = "demo")]
    pub scenario: String,

    /// How old records may be when the function has answered for them: p50, p90, p99, p99.9 or max.
    #[arg(long, value_name = "QUANTILE=TIME", default_value = "p99=1s", help_heading = "Goal")]
    pub max_age: AgeLimit,
    /// No limit of age: settings must only keep up with the traffic.
    #[arg(long, help_heading = "Goal", conflicts_with = "max_age")]
    pub any_age: bool,
    /// What is best among the settings that keep the limits.
    #[arg(long, value_enum, default_value_t, help_heading = "Goal")]
    pub optimise: Optimise,
    /// Invocations at the same time, at most.
    #[arg(long, value_name = "N", help_heading = "Goal", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_concurrency: Option<u32>,

    /// The function's memory, which its price depends on.
    #[arg(long, value_name = "SIZE", default_value = "512MiB", help_heading = "Cost")]
    pub memory: Bytes,
    /// AWS's provisioned mode: units of pollers are paid for.
    #[arg(long, help_heading = "Cost")]
    pub provisioned: bool,
    /// Prices [default: those in harness/prices/aws-us-east-1.toml].
    #[arg(long, value_name = "FILE", help_heading = "Cost")]
    pub prices: Option<PathBuf>,
    /// What the first invocation of each poller takes in addition.
    #[arg(long, value_name = "TIME", default_value = "0s", help_heading = "Cost")]
    pub cold_start: Span,

    /// How much of the workload's traffic is simulated, from its beginning [default: 60s; a capture at its
    /// own pace once].
    #[arg(long, value_name = "TIME", help_heading = "Search")]
    pub trace: Option<Span>,
    /// Watch `topic` of `brokers` for so long, without joining a group, and take that as the workload.
    #[arg(
        long,
        value_name = "TIME",
        help_heading = "Search",
        requires = "topic",
        requires = "brokers",
        conflicts_with_all = ["replay", "results"]
    )]
    pub observe: Option<Span>,
    /// Settings of the first sample, from which the search goes on.
    #[arg(long, value_name = "N", default_value_t = 256, help_heading = "Search",
          value_parser = clap::value_parser!(u32).range(8..=65_536))]
    pub points: u32,
    /// Measure all of the sample on all of the traffic, instead of the best of it.
    #[arg(long, help_heading = "Search")]
    pub thorough: bool,
    /// Traffic and function are drawn so many times for the finalists, for confidence intervals.
    #[arg(long, value_name = "N", default_value_t = 5, help_heading = "Search",
          value_parser = clap::value_parser!(u64).range(1..=100))]
    pub seeds: u64,
    /// Draws the sample; the same seed, the same report (but for what real runs measure).
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Search")]
    pub search_seed: u64,
    /// Only windows that AWS takes: whole seconds, and its default of 500 ms.
    #[arg(long, help_heading = "Search")]
    pub whole_seconds: bool,
    /// Pollers, at most; never more than partitions or concurrent invocations [default: 32].
    #[arg(long, value_name = "N", help_heading = "Search", conflicts_with = "pollers")]
    pub pollers_max: Option<usize>,
    /// Keep every evaluation in this file of JSON lines. If it is there, the search goes on from it; one
    /// that is over is reported again.
    #[arg(long, value_name = "FILE", help_heading = "Search")]
    pub results: Option<PathBuf>,

    /// Settings to run for real.
    #[arg(long, value_name = "N", default_value_t = 3, help_heading = "Real runs")]
    pub runs: usize,
    /// How long each is measured.
    #[arg(long, value_name = "TIME", default_value = "10s", help_heading = "Real runs")]
    pub run_duration: Span,
    /// So many further settings are run, spread over all that keep up and around the recommended one, to
    /// see whether any would have been cheaper.
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Real runs",
          value_parser = clap::value_parser!(u32).range(..=10_000))]
    pub exhaustive: u32,
    /// Run nothing: the simulator's word alone.
    #[arg(long, help_heading = "Real runs", conflicts_with_all = ["runs", "run_duration", "exhaustive"])]
    pub no_runs: bool,

    /// Write the report as one HTML page that needs nothing beside itself.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Write the result as JSON, every field with its unit in its name; `-` for standard output.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// No progress bar.
    #[arg(long)]
    pub no_progress: bool,
    /// What differs from the scenario.
    #[command(flatten)]
    pub spec: Spec,
}

impl TuneArguments {
    /// Tunes. Returns the exit code: 0 if a setting meets the goal, 1 if none does.
    #[must_use]
    pub fn act(self) -> u8 {
        match self.run() {
            Ok(true) => OK,
            Ok(false) => super::AUDIT_FAILED,
            Err((code, error)) => {
                eprintln!("error: {error:#}");
                code
            }
        }
    }

    fn run(&self) -> Result<bool, (u8, anyhow::Error)> {
        let failed = |error| (COULD_NOT_RUN, error);
        let interrupted = interrupt::listen();
        // Lives until the capture in it has been read.
        let (spec, _watched) = self.workload(&interrupted)?;
        let mut plan = self.plan(spec).map_err(|error| (USAGE, error))?;
        if let SourceSpec::Kafka { brokers, topic: Some(topic) } = &plan.scenario.source {
            // It has as many partitions as it has.
            let topic = RunTopic::find(brokers, topic).map_err(failed)?;
            plan.scenario.workload.partitions =
                topic.partitions_for(&plan.scenario.workload).map_err(|error| (USAGE, error))?;
            plan.space = self.space(&plan.scenario, &plan.goal).map_err(|error| (USAGE, error))?;
        }
        let bar = run::bar(self.no_progress);
        let tuned = tune(&plan, &interrupted, &mut |tick| {
            bar.set_message(tick.phase.chars().take(58).collect::<String>());
            run::advance(&bar, tick.done_share);
        });
        bar.finish_and_clear();
        let tuned = tuned.map_err(failed)?;
        self.write(&tuned).map_err(failed)?;
        Ok(tuned.recommended.meets_goal)
    }

    fn write(&self, tuned: &Tuned) -> anyhow::Result<()> {
        if let Some(path) = &self.html {
            std::fs::write(path, page(tuned))
                .with_context(|| format!("`html`: writing {}", path.display()))?;
        }
        super::print(&report(tuned), tuned, self.json.as_deref())
    }

    /// The workload: scenario and flags, or what a topic was seen to get.
    fn workload(
        &self,
        interrupted: &std::sync::atomic::AtomicBool,
    ) -> Result<(Spec, Option<tempfile::NamedTempFile>), (u8, anyhow::Error)> {
        let usage = |error: SpecError| (USAGE, error.into());
        let base = scenarios::find(&self.scenario).map_err(usage)?;
        let Some(observe) = self.observe else {
            return Ok((self.spec.clone().over(base), None));
        };
        let file = self.watch(observe.0, interrupted)?;
        // The topic was looked at; runs have one of their own.
        let flags =
            Spec { brokers: None, topic: None, replay: Some(file.path().to_owned()), ..self.spec.clone() };
        Ok((flags.over(base), Some(file)))
    }

    fn watch(
        &self,
        time: Duration,
        interrupted: &std::sync::atomic::AtomicBool,
    ) -> Result<tempfile::NamedTempFile, (u8, anyhow::Error)> {
        let access = AccessSettings {
            bootstrap_servers: self.spec.brokers.clone().unwrap_or_default(),
            topic: self.spec.topic.clone().unwrap_or_default(),
            from: "latest".into(),
            ..AccessSettings::default()
        };
        let plan = CapturePlan {
            access: access.check().map_err(|error| (USAGE, error))?,
            partitions: None,
            keep: Keep::Whole,
            records: None,
            duration: Some(time),
            until_end: false,
            origin: String::new(),
        };
        watch(
            &plan,
            self.spec.topic.as_deref().unwrap_or_default(),
            "watch longer (--observe)",
            interrupted,
            self.no_progress,
        )
        .map_err(|error| (COULD_NOT_RUN, error))
    }

    fn plan(&self, spec: Spec) -> anyhow::Result<TunePlan> {
        let scenario = spec.resolve()?;
        if scenario.source == SourceSpec::Memory {
            anyhow::bail!(
                "`source`: records in memory have no times; leave it out, or give embedded or --brokers"
            );
        }
        let law = match &scenario.function {
            FunctionSpec::Stub(stub) => Some(stub.law.clone()),
            FunctionSpec::Endpoint { .. } => None,
        };
        let goal = Goal {
            age: (!self.any_age).then_some(self.max_age),
            optimise: self.optimise,
            concurrency_max: self.max_concurrency,
        };
        // What waits at the beginning is what it is about.
        let warm_up = Duration::from_secs(if scenario.workload.backlog > 0 { 0 } else { 3 });
        let length = RunLength { warm_up, duration: self.run_duration.0 };
        if !self.no_runs && length.duration < Duration::from_secs(1) {
            anyhow::bail!("`run-duration` is {}; give 1s or more, or --no-runs", self.run_duration);
        }
        if !(128 << 20..=10_240 << 20).contains(&self.memory.0) {
            anyhow::bail!("`memory` is {}; AWS's functions have 128MiB to 10240MiB", self.memory);
        }
        let trace = self.trace.map_or_else(|| default_trace(&scenario), |span| span.0);
        if trace.is_zero() {
            anyhow::bail!("`trace` is 0s; give how much traffic to simulate, such as 60s");
        }
        Ok(TunePlan {
            name: self.scenario.clone(),
            space: self.space(&scenario, &goal)?,
            effort: Effort { points: self.points, seed: self.search_seed, thorough: self.thorough },
            trace,
            seeds: self.seeds,
            law,
            cold_start: self.cold_start.0,
            prices: self.prices.as_deref().map_or_else(|| Ok(Prices::built_in()), Prices::load)?,
            billing: Billing { memory: self.memory, provisioned: self.provisioned },
            runs: (!self.no_runs && (self.runs > 0 || self.exhaustive > 0))
                .then_some((length, self.runs.max(1))),
            exhaustive: self.exhaustive,
            results: self.results.clone(),
            command: command(),
            spec,
            scenario,
            goal,
        })
    }

    /// Where to look: all that makes sense for the goal, but what is given as a flag.
    fn space(&self, scenario: &Scenario, goal: &Goal) -> anyhow::Result<Space> {
        const POLLERS_MAX: usize = 32;
        let concurrency = match &scenario.function {
            FunctionSpec::Stub(stub) => stub.law.concurrency_max,
            FunctionSpec::Endpoint { .. } => None,
        };
        // Each of the engine's threads has a poller.
        let least = scenario.mapping.threads;
        let most = [Some(scenario.workload.partitions), goal.concurrency_max, concurrency]
            .into_iter()
            .flatten()
            .min()
            .map_or(POLLERS_MAX, |most| most as usize)
            .min(self.pollers_max.unwrap_or(POLLERS_MAX));
        let pollers = match self.spec.pollers {
            Some(pollers) if pollers > most => anyhow::bail!(
                "`pollers` is {pollers}; more than {most} have no effect, or are not allowed (partitions, \
                 --max-concurrency, concurrency of --stub)"
            ),
            Some(pollers) => pollers..=pollers,
            None if most < least => anyhow::bail!(
                "no more than {most} pollers are allowed (--pollers-max, partitions, concurrency), and each of \
                 {least} threads has one; allow more, or give fewer `threads`"
            ),
            None => least..=most,
        };
        let batch_size = self.spec.batch_size.map_or(1..=BATCH_SIZE_MAX, |size| size..=size);
        let window = match self.spec.maximum_batching_window {
            Some(window) => window.0..=window.0,
            None => {
                // A window beyond the limit of age is missed by the first record of each batch.
                let longest = goal.age.map_or(WINDOW_MAX_DEFAULT, |limit| limit.at_most);
                let longest = longest.clamp(Duration::from_millis(1), WINDOW_MAX);
                let longest =
                    if self.whole_seconds { Duration::from_secs(longest.as_secs().max(1)) } else { longest };
                Duration::ZERO..=longest
            }
        };
        Ok(Space { batch_size, window, whole_seconds: self.whole_seconds, pollers })
    }
}

/// A capture as it is; a minute of times that a law makes.
fn default_trace(scenario: &Scenario) -> Duration {
    const TRACE_DEFAULT: Duration = Duration::from_secs(60);
    match (scenario.workload.replay, scenario.workload.arrival) {
        (Some(recording), Arrival::Captured(speed)) => recording.period().div_f64(speed.0),
        _ => TRACE_DEFAULT,
    }
}

/// The command line, as it can be given again.
fn command() -> String {
    let words = std::env::args().skip(1).map(|word| {
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:=,%+@".contains(letter);
        if !word.is_empty() && word.chars().all(plain) {
            word
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    });
    ["pelton-harness".to_owned()].into_iter().chain(words).collect::<Vec<_>>().join(" ")
}
