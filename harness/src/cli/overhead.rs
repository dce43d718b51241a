//! `pelton-harness overhead`

use std::path::PathBuf;

use clap::Args;

use super::{AUDIT_FAILED, COULD_NOT_RUN, OK, USAGE};
use crate::overhead::{Overhead, OverheadPlan, overhead};
use crate::report::overhead::report;
use crate::workload::arrival::Arrival;
use crate::workload::keys::KeyLaw;
use crate::workload::spec::{Spec, SpecError};
use crate::workload::units::{Bytes, Span};

/// Compare the engine's CPU per record with that of a bare librdkafka consumer.
#[derive(Debug, Args)]
pub struct OverheadArguments {
    /// A cluster to use instead of the embedded broker: `host:port`, comma-separated. A topic is
    /// created for each size and deleted afterwards.
    #[arg(long, value_name = "HOST:PORT,..")]
    pub brokers: Option<String>,
    /// Fill the topic from a capture (see `pelton-harness capture`) instead of made records.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["sizes", "partitions", "key"])]
    pub replay: Option<PathBuf>,
    /// Value sizes.
    #[arg(long, value_name = "SIZE,..", value_delimiter = ',', default_value = "100B,1KiB,10KiB")]
    pub sizes: Vec<Bytes>,
    /// How often each side reads each topic.
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub rounds: u16,
    /// What a topic is filled with; the embedded broker holds 4MiB of each partition at most.
    #[arg(long, value_name = "SIZE", default_value = "512MiB")]
    pub bytes: Bytes,
    /// Partitions of each topic.
    #[arg(long, value_name = "N", default_value_t = 128)]
    pub partitions: u32,
    /// Keys.
    #[arg(long, value_name = "LAW", default_value = "random(8B)")]
    pub key: KeyLaw,
    /// Records per batch.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub batch_size: u32,
    /// The batching window.
    #[arg(long, value_name = "TIME", default_value = "100ms")]
    pub maximum_batching_window: Span,
    /// Pollers, and queues of the bare consumer.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub pollers: usize,
    /// Bytes of prefetch and batches; half of it is prefetch, on both sides.
    #[arg(long, value_name = "SIZE", default_value = "256MiB")]
    pub memory_budget: Bytes,
    /// Fail (exit code 1) if the median ratio of any size is above this.
    #[arg(long, value_name = "RATIO")]
    pub ratio_max: Option<f64>,
    /// Write the result as JSON; `-` for standard output.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

impl OverheadArguments {
    /// Compares. Returns the exit code.
    #[must_use]
    pub fn act(self) -> u8 {
        let plan = match self.plan() {
            Ok(plan) => plan,
            Err(error) => {
                eprintln!("error: {error}");
                return USAGE;
            }
        };
        let result = overhead(&plan, &mut |doing| eprintln!("{doing}"));
        match result.and_then(|result| self.print(&result).map(|()| self.is_within(&result))) {
            Ok(true) => OK,
            Ok(false) => AUDIT_FAILED,
            Err(error) => {
                eprintln!("error: {error:#}");
                COULD_NOT_RUN
            }
        }
    }

    fn plan(&self) -> Result<OverheadPlan, SpecError> {
        let spec = Spec {
            // A capture has its own, and its pace is of no meaning here.
            partitions: self.replay.is_none().then_some(self.partitions),
            key: self.replay.is_none().then_some(self.key),
            arrival: Some(Arrival::Fast),
            replay: self.replay.clone(),
            batch_size: Some(self.batch_size),
            maximum_batching_window: Some(self.maximum_batching_window),
            pollers: Some(self.pollers),
            memory_budget: Some(self.memory_budget),
            ..Spec::default()
        };
        let scenario = spec.resolve()?;
        Ok(OverheadPlan {
            brokers: self.brokers.clone(),
            sizes: self.sizes.clone(),
            rounds: usize::from(self.rounds),
            bytes: self.bytes,
            workload: scenario.workload,
            mapping: scenario.mapping,
        })
    }

    fn is_within(&self, result: &Overhead) -> bool {
        self.ratio_max.is_none_or(|limit| result.sizes.iter().all(|size| size.ratio_median <= limit))
    }

    fn print(&self, result: &Overhead) -> anyhow::Result<()> {
        super::print(&report(result), result, self.json.as_deref())
    }
}
