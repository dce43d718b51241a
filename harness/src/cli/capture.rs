//! `pelton-harness capture`

use std::io;
use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use pelton::ids::Partition;
use pelton::source::replay::Keep;

use super::access::AccessArguments;
use super::{AUDIT_FAILED, COULD_NOT_RUN, OK, USAGE, interrupt};
use crate::capture::{CapturePlan, CaptureSummary, CaptureTick, Output, capture, inspect};
use crate::report::capture::report;
use crate::report::text::{bytes, count};
use crate::workload::units::Span;

/// Record a live topic to a file, for `--replay`.
///
/// The topic is only read: no group is joined, nothing is committed. Without an end it goes on until
/// Ctrl-C, which keeps what was captured.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).args(["out", "inspect"]))]
pub struct CaptureArguments {
    /// Where to: a file, or `-` for standard output. It has its name once it is whole; until then
    /// `.part` is added.
    #[arg(long, value_name = "FILE", requires_all = ["bootstrap_servers", "topic"])]
    pub out: Option<PathBuf>,
    /// Check a capture instead, `-` for standard input, and show what it holds. Exit code 1 if it is
    /// not whole.
    #[arg(long, value_name = "FILE")]
    pub inspect: Option<PathBuf>,
    /// Only these partitions.
    #[arg(long, value_name = "N,..", value_delimiter = ',', help_heading = "Topic")]
    pub partitions: Option<Vec<i32>>,
    /// Stop after so many records.
    #[arg(long, value_name = "N", help_heading = "End", value_parser = clap::value_parser!(u64).range(1..))]
    pub records: Option<u64>,
    /// Stop after this time.
    #[arg(long, value_name = "TIME", help_heading = "End")]
    pub duration: Option<Span>,
    /// Stop where each partition ended when the capture began.
    #[arg(long, help_heading = "End")]
    pub until_end: bool,
    /// Keep sizes, times and offsets only, and of keys hashes under a random key that is written
    /// nowhere. Topic, times and sizes stay in the clear.
    #[arg(long, help_heading = "Content")]
    pub sizes_only: bool,
    /// Where it comes from, in free words, for the file's header.
    #[arg(long, value_name = "TEXT", default_value = "", help_heading = "Content")]
    pub origin: String,
    /// Replace a file that exists.
    #[arg(long)]
    pub overwrite: bool,
    /// Write the summary as JSON; `-` for standard output.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// No progress bar.
    #[arg(long)]
    pub no_progress: bool,
    /// Which topic, and how to get there.
    #[command(flatten)]
    pub access: AccessArguments,
}

impl CaptureArguments {
    /// Captures or inspects. Returns the exit code.
    #[must_use]
    pub fn act(self) -> u8 {
        match (&self.inspect, &self.out) {
            (Some(path), _) => finish(self.inspect(path), |summary| summary.is_complete, AUDIT_FAILED),
            (None, Some(out)) => match self.plan() {
                Ok(plan) => {
                    finish(self.capture(&plan, out), |summary| summary.failure.is_none(), COULD_NOT_RUN)
                }
                Err(error) => {
                    eprintln!("error: {error:#}");
                    USAGE
                }
            },
            // clap asks for one of them.
            (None, None) => USAGE,
        }
    }

    fn plan(&self) -> anyhow::Result<CapturePlan> {
        let access = self.access.settings();
        if self.json.as_deref().is_some_and(|json| json == self.out.as_deref().unwrap_or(Path::new(""))) {
            anyhow::bail!("`out` and `json` are the same; give the summary a place of its own");
        }
        if self.until_end && self.access.from == "latest" {
            anyhow::bail!(
                "`until_end` with `from` = latest: nothing lies between the two; give --from earliest or a time"
            );
        }
        Ok(CapturePlan {
            access: access.check()?,
            partitions: self.partitions.as_ref().map(|numbers| {
                let mut partitions: Vec<_> = numbers.iter().copied().map(Partition).collect();
                partitions.sort_unstable();
                partitions.dedup();
                partitions
            }),
            keep: if self.sizes_only { Keep::Sizes } else { Keep::Whole },
            records: self.records,
            duration: self.duration.map(|span| span.0),
            until_end: self.until_end,
            origin: self.origin.clone(),
        })
    }

    fn capture(&self, plan: &CapturePlan, path: &Path) -> anyhow::Result<CaptureSummary> {
        let mut output = Output::open(path, self.overwrite)?;
        let name = output.name();
        let interrupted = interrupt::listen();
        let bar = self.bar(plan);
        let mut captured = 0;
        let result = capture(plan, &mut output, &name, &interrupted, &mut |tick| {
            captured = tick.records;
            show(&bar, &tick);
        });
        bar.finish_and_clear();
        match result {
            Ok(summary) => {
                output.finish()?;
                self.print(&summary)?;
                Ok(summary)
            }
            Err(error) => Err(match output.abandon(captured > 0) {
                Some(part) => error.context(format!("what was captured is in {}", part.display())),
                None => error,
            }),
        }
    }

    fn inspect(&self, path: &Path) -> anyhow::Result<CaptureSummary> {
        let summary = if path.as_os_str() == "-" {
            inspect(io::stdin().lock(), "standard input")?
        } else {
            let name = path.display().to_string();
            let file = std::fs::File::open(path).map_err(|error| anyhow::anyhow!("{name}: {error}"))?;
            inspect(file, &name)?
        };
        self.print(&summary)?;
        Ok(summary)
    }

    /// With the capture on standard output, the report goes to standard error.
    fn print(&self, summary: &CaptureSummary) -> anyhow::Result<()> {
        if self.out.as_deref().is_some_and(|out| out.as_os_str() == "-") {
            eprint!("{}", report(summary));
            return match self.json.as_deref() {
                Some(json) => Ok(std::fs::write(json, serde_json::to_string_pretty(summary)? + "\n")?),
                None => Ok(()),
            };
        }
        super::print(&report(summary), summary, self.json.as_deref())
    }

    fn bar(&self, plan: &CapturePlan) -> ProgressBar {
        let is_bounded = plan.records.is_some() || plan.duration.is_some() || plan.until_end;
        let (bar, template) = if is_bounded {
            (ProgressBar::new(PROGRESS_STEPS), "{msg:<58} {bar:24} {percent:>3} %  {eta} left")
        } else {
            (ProgressBar::new_spinner(), "{spinner} {msg:<58} {elapsed}; Ctrl-C ends it and keeps them")
        };
        bar.set_draw_target(if self.no_progress {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        });
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style);
        bar
    }
}

/// The resolution of the progress bar.
const PROGRESS_STEPS: u64 = 1_000;

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of PROGRESS_STEPS")]
fn show(bar: &ProgressBar, tick: &CaptureTick) {
    match tick.done_share {
        Some(share) => bar.set_position((share * PROGRESS_STEPS as f64) as u64),
        None => bar.tick(),
    }
    bar.set_message(format!(
        "capturing: {} records, {}",
        count(tick.records as f64),
        bytes(tick.record_bytes as f64)
    ));
}

fn finish(
    result: anyhow::Result<CaptureSummary>,
    is_good: impl FnOnce(&CaptureSummary) -> bool,
    otherwise: u8,
) -> u8 {
    match result {
        Ok(summary) if is_good(&summary) => OK,
        Ok(_) => otherwise,
        Err(error) => {
            eprintln!("error: {error:#}");
            COULD_NOT_RUN
        }
    }
}
