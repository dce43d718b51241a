//! `pelton-harness run`

use std::path::PathBuf;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{AUDIT_FAILED, COULD_NOT_RUN, OK, USAGE, interrupt, scenarios};
use crate::report::text::{count, report};
use crate::result::RunResult;
use crate::run::{Phase, RunPlan, Tick, run};
use crate::workload::spec::{Spec, SpecError};

/// Load the engine, audit it and measure it.
#[derive(Debug, Args)]
pub struct RunArguments {
    /// A scenario by name (see `pelton-harness scenarios`), or a TOML file with the names of the
    /// flags below, in `snake_case`.
    #[arg(long, value_name = "NAME|FILE", default_value = "demo")]
    pub scenario: String,
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

impl RunArguments {
    /// Runs. Returns the exit code.
    #[must_use]
    pub fn act(self) -> u8 {
        let plan = match self.plan() {
            Ok(plan) => plan,
            Err(error) => {
                eprintln!("error: {error}");
                return USAGE;
            }
        };
        let interrupted = interrupt::listen();
        let bar = bar(self.no_progress);
        let result = run(&plan, &interrupted, &mut |tick| show(&bar, &tick));
        bar.finish_and_clear();
        match result.and_then(|result| self.print(&result).map(|()| result.is_clean())) {
            Ok(true) => OK,
            Ok(false) => AUDIT_FAILED,
            Err(error) => {
                eprintln!("error: {error:#}");
                COULD_NOT_RUN
            }
        }
    }

    fn plan(&self) -> Result<RunPlan, SpecError> {
        let spec = self.spec.clone().over(scenarios::find(&self.scenario)?);
        let scenario = spec.resolve()?;
        Ok(RunPlan { name: self.scenario.clone(), spec, scenario })
    }

    fn print(&self, result: &RunResult) -> anyhow::Result<()> {
        super::print(&report(result), result, self.json.as_deref())
    }
}

/// A progress bar, or nothing where there is no terminal.
pub(super) fn bar(hidden: bool) -> ProgressBar {
    let bar = ProgressBar::new(PROGRESS_STEPS);
    bar.set_draw_target(if hidden { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() });
    let style = ProgressStyle::with_template("{msg:<58} {bar:24} {percent:>3} %  {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style);
    bar
}

/// The resolution of the progress bar.
const PROGRESS_STEPS: u64 = 1_000;

/// Moves the bar to where `done_share` is done, from 0 to 1.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of PROGRESS_STEPS")]
pub(super) fn advance(bar: &ProgressBar, done_share: f64) {
    bar.set_position((done_share * PROGRESS_STEPS as f64) as u64);
}

#[expect(clippy::cast_precision_loss, reason = "a progress bar")]
pub(super) fn show(bar: &ProgressBar, tick: &Tick) {
    let phase = match tick.phase {
        Phase::Starting => "starting",
        Phase::WarmUp => "warm-up",
        Phase::Measuring => "measuring",
        Phase::Draining => "draining",
    };
    advance(bar, tick.done_share);
    bar.set_message(format!(
        "{phase}: {} records, lag {}",
        count(tick.records as f64),
        count(tick.lag as f64)
    ));
}
