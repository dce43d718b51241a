//! `pelton-harness explain`

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::{ArgGroup, Args};
use pelton::ids::Topic;
use pelton::source::replay::Keep;

use super::access::{AccessArguments, watch};
use super::{COULD_NOT_RUN, OK, USAGE, interrupt};
use crate::capture::CapturePlan;
use crate::explain::{ExplainPlan, explain};
use crate::report::explain::report;
use crate::workload::function::StubLaw;
use crate::workload::scenario::{FunctionSpec, Scenario};
use crate::workload::spec::{BuiltIn, Spec};
use crate::workload::units::{Bytes, Span};

/// How long a live topic is watched, if nothing else is said.
const OBSERVE_DEFAULT: Duration = Duration::from_secs(30);

/// Show which batches some settings would make of real traffic, and why each would be closed.
///
/// A dry run over a capture, or over a topic that is only read: no group is joined, nothing is
/// invoked, nothing is committed. Records count as arriving at their timestamps.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("traffic").required(true).args(["replay", "topic"]))]
pub struct ExplainArguments {
    /// The traffic: a capture (see `pelton-harness capture`).
    #[arg(long, value_name = "FILE", help_heading = "Traffic")]
    pub replay: Option<PathBuf>,
    /// Of a live topic: how long to watch it [default: 30s; with --from earliest or a time, until where
    /// it ended at the beginning].
    #[arg(long, value_name = "TIME", help_heading = "Traffic", conflicts_with = "replay")]
    pub observe: Option<Span>,
    /// Of a live topic: stop after so many records.
    #[arg(long, value_name = "N", help_heading = "Traffic", conflicts_with = "replay",
          value_parser = clap::value_parser!(u64).range(1..))]
    pub observe_records: Option<u64>,
    /// All records are there at the beginning: how a backlog would be worked off.
    #[arg(long, help_heading = "Traffic")]
    pub backlog: bool,
    /// Records per batch, 1 to 10000 [default: 100].
    #[arg(long, value_name = "N", help_heading = "Mapping")]
    pub batch_size: Option<u32>,
    /// How long a batch gathers records, up to 300s [default: 500ms].
    #[arg(long, value_name = "TIME", help_heading = "Mapping")]
    pub maximum_batching_window: Option<Span>,
    /// The largest payload [default: 6291455B, as AWS].
    #[arg(long, value_name = "SIZE", help_heading = "Mapping")]
    pub payload_bytes_max: Option<Bytes>,
    /// Pollers, over all processes; no more than partitions have any effect [default: 4].
    #[arg(long, value_name = "N", help_heading = "Mapping")]
    pub pollers: Option<usize>,
    /// Deliver only records that match this pattern; may be repeated.
    #[arg(long = "filter", value_name = "PATTERN", help_heading = "Mapping")]
    pub filters: Option<Vec<String>>,
    /// How long the function takes: null, fixed(50ms), log-normal(median=20ms, sigma=0.5), each also
    /// with record-cost=2us, byte-cost-ns=0.5 [default: null].
    #[arg(long, value_name = "LAW", help_heading = "Function")]
    pub stub: Option<StubLaw>,
    /// How many batches to list, the first ones.
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub batches: usize,
    /// Write the result as JSON, every field with its unit in its name; `-` for standard output.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// No progress bar.
    #[arg(long)]
    pub no_progress: bool,
    /// Where a live topic is.
    #[command(flatten)]
    pub access: AccessArguments,
}

impl ExplainArguments {
    /// Explains. Returns the exit code.
    #[must_use]
    pub fn act(self) -> u8 {
        let plan = match &self.replay {
            Some(path) => self.scenario(path.clone()).map_err(|error| (USAGE, error)),
            None => self.observe(),
        };
        let result = plan.and_then(|scenario| {
            let explained = explain(&self.plan(&scenario).map_err(|error| (USAGE, error))?);
            super::print(&report(&explained), &explained, self.json.as_deref())
                .map_err(|error| (COULD_NOT_RUN, error))
        });
        match result {
            Ok(()) => OK,
            Err((code, error)) => {
                eprintln!("error: {error:#}");
                code
            }
        }
    }

    /// Settings and capture, checked as those of a run are: settings first.
    fn scenario(&self, replay: PathBuf) -> anyhow::Result<Scenario> {
        self.spec(None).resolve()?;
        Ok(self.spec(Some(replay)).resolve()?)
    }

    fn spec(&self, replay: Option<PathBuf>) -> Spec {
        Spec {
            source: Some(BuiltIn::Embedded),
            replay,
            batch_size: self.batch_size,
            maximum_batching_window: self.maximum_batching_window,
            payload_bytes_max: self.payload_bytes_max,
            pollers: self.pollers,
            filters: self.filters.clone(),
            stub: self.stub.clone(),
            ..Spec::default()
        }
    }

    fn plan(&self, scenario: &Scenario) -> anyhow::Result<ExplainPlan> {
        let recording = scenario.workload.replay.context("there is no traffic")?;
        if !scenario.mapping.filters.is_empty() && recording.keep() == Keep::Sizes {
            anyhow::bail!(
                "`filter`: {} holds sizes only, and patterns need the values; capture the topic without \
                 --sizes-only",
                recording.path().display()
            );
        }
        let topic = recording.header().map(|header| header.topic.as_str()).filter(|topic| !topic.is_empty());
        let FunctionSpec::Stub(StubLaw { law, .. }) = &scenario.function else {
            anyhow::bail!("a dry run invokes nothing: give --stub")
        };
        Ok(ExplainPlan {
            recording,
            topic: Topic::new(topic.unwrap_or("topic")),
            bootstrap_servers: self.access.bootstrap_servers.clone().unwrap_or_else(|| "kafka:9092".into()),
            mapping: scenario.mapping.clone(),
            law: law.clone(),
            backlog: self.backlog,
            listed_max: self.batches,
        })
    }

    /// Watches a live topic, through a capture that is gone when it is read.
    fn observe(&self) -> Result<Scenario, (u8, anyhow::Error)> {
        let usage = |error| (USAGE, error);
        // Wrong settings are said before anything is connected to.
        self.spec(None).resolve().map_err(|error| usage(error.into()))?;
        let until_end = self.access.from != "latest";
        let plan = CapturePlan {
            access: self.access.settings().check().map_err(usage)?,
            partitions: None,
            keep: Keep::Whole,
            records: self.observe_records,
            duration: match self.observe {
                None if until_end || self.observe_records.is_some() => None,
                observe => Some(observe.map_or(OBSERVE_DEFAULT, |span| span.0)),
            },
            until_end,
            origin: String::new(),
        };
        let file = watch(
            &plan,
            self.access.topic.as_deref().unwrap_or_default(),
            "watch longer (--observe), or begin earlier (--from earliest)",
            &interrupt::listen(),
            self.no_progress,
        )
        .map_err(|error| (COULD_NOT_RUN, error))?;
        self.scenario(file.path().to_owned()).map_err(usage)
    }
}
