//! `pelton-harness profile`

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;

use super::run::{bar, show};
use super::{AUDIT_FAILED, COULD_NOT_RUN, OK, USAGE, interrupt, scenarios};
use crate::profile::{Doing, ProfilePlan, Profiled, profile};
use crate::report::page::page;
use crate::report::profile::report;
use crate::run::RunPlan;
use crate::workload::spec::{Spec, SpecError};
use crate::workload::units::Span;

/// Show where the engine's CPU time goes, stage by stage, and how far each is from its limit.
///
/// Takes a scenario and the flags of `run`; or, with --live, a topic that is there, which is read
/// from its beginning by a group of its own that is removed afterwards.
#[derive(Debug, Args)]
pub struct ProfileArguments {
    /// A scenario by name (see `pelton-harness scenarios`), or a TOML file with the names of the
    /// flags below, in `snake_case`.
    #[arg(long, value_name = "NAME|FILE", default_value = "throughput")]
    pub scenario: String,
    /// Read the topic as it is (with --brokers and --topic): nothing is produced, nobody's offsets
    /// are touched. Again and again, if it is short, until --duration is over.
    #[arg(long, requires = "topic", conflicts_with = "records")]
    pub live: bool,
    /// Write the page, which needs nothing beside itself.
    #[arg(long, value_name = "FILE", default_value = "profile.html")]
    pub html: PathBuf,
    /// Write the flame graph by itself as well.
    #[arg(long, value_name = "FILE")]
    pub flame: Option<PathBuf>,
    /// Write the figures as JSON, every field with its unit in its name; `-` for standard output.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Samples per second of a thread's CPU time. The kernel takes no more than it has ticks (100 to
    /// 1000 a second), and each stands for all the time since the one before.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(10..=10_000))]
    pub rate: u32,
    /// How long sampling pauses in turns, to see what it costs; it is on three times as long.
    #[arg(long, value_name = "TIME", default_value = "250ms")]
    pub slice: Span,
    /// Do not measure floors: quicker, and without distances.
    #[arg(long)]
    pub no_floors: bool,
    /// No progress bar.
    #[arg(long)]
    pub no_progress: bool,
    /// What differs from the scenario.
    #[command(flatten)]
    pub spec: Spec,
}

/// Slices shorter than this hold too few batches to be compared, and longer ones leave too few.
const SLICE: std::ops::RangeInclusive<Duration> = Duration::from_millis(20)..=Duration::from_secs(60);

impl ProfileArguments {
    /// Profiles. Returns the exit code.
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
        let result = profile(&plan, &interrupted, &mut |doing| match doing {
            Doing::Running(tick) => show(&bar, &tick),
            Doing::Next(what) => bar.set_message(what.to_owned()),
        });
        bar.finish_and_clear();
        match result.and_then(|profiled| self.write(&profiled).map(|()| profiled.is_clean)) {
            Ok(true) => OK,
            Ok(false) => AUDIT_FAILED,
            Err(error) => {
                eprintln!("error: {error:#}");
                COULD_NOT_RUN
            }
        }
    }

    fn plan(&self) -> Result<ProfilePlan, SpecError> {
        let base = scenarios::find(&self.scenario)?;
        let spec = self.spec.clone().over(base);
        let scenario = spec.resolve()?;
        if !SLICE.contains(&self.slice.0) {
            return Err(SpecError::Range {
                setting: "slice",
                found: self.slice.to_string(),
                allowed: "20ms to 60s",
            });
        }
        let name = match (&spec.topic, self.live) {
            (Some(topic), true) => topic.clone(),
            _ => self.scenario.clone(),
        };
        Ok(ProfilePlan {
            run: RunPlan { name, spec, scenario },
            live: self.live,
            interval: Duration::from_secs(1) / self.rate,
            slice: self.slice.0,
            floors: !self.no_floors,
            command: command(std::env::args()),
        })
    }

    fn write(&self, profiled: &Profiled) -> anyhow::Result<()> {
        let html = page(&profiled.profile, profiled.flame_svg.as_deref());
        std::fs::write(&self.html, html).with_context(|| format!("writing {}", self.html.display()))?;
        if let (Some(path), Some(svg)) = (&self.flame, &profiled.flame_svg) {
            std::fs::write(path, svg).with_context(|| format!("writing {}", path.display()))?;
        }
        super::print(&report(&profiled.profile), &profiled.profile, self.json.as_deref())?;
        eprintln!("\npage: {}", self.html.display());
        Ok(())
    }
}

/// The command line as one would type it.
fn command(arguments: impl Iterator<Item = String>) -> String {
    let mut words = Vec::new();
    for (at, argument) in arguments.enumerate() {
        let argument = if at == 0 { "pelton-harness".to_owned() } else { argument };
        let is_plain = !argument.is_empty()
            && argument.chars().all(|c| c.is_ascii_alphanumeric() || "-_=./:,@%+".contains(c));
        words.push(if is_plain { argument } else { format!("'{}'", argument.replace('\'', r"'\''")) });
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_can_be_typed_again() {
        let words = ["/x/y/pelton-harness", "profile", "--key", "fixed(8)", "it's", ""];
        assert_eq!(
            command(words.into_iter().map(str::to_owned)),
            r"pelton-harness profile --key 'fixed(8)' 'it'\''s' ''"
        );
    }
}
