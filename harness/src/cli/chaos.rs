//! `pelton-harness chaos`: everything that can go wrong, against a real broker.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use pelton::time::wall_ms;

use super::{AUDIT_FAILED, COULD_NOT_RUN, OK, interrupt};
use crate::chaos::{ChaosSettings, ChaosVerdict, markdown, page, run};

/// Torment engines, broker and function, and audit every offset.
///
/// Starts a real Apache Kafka (scripts/kafka), engines as processes and a hostile function, and does to
/// them what a seeded plan says: kill -9, SIGTERM, SIGSTOP, members that come and go, a broker that is
/// restarted, killed and paused, more partitions, a topic deleted under an engine, full disks. Says
/// what became of every record.
#[derive(Clone, Debug, Args)]
pub struct ChaosArguments {
    /// How long things are done; what is left is delivered after it.
    #[arg(long, value_name = "MINUTES", default_value_t = 10.0, value_parser = minutes)]
    pub minutes: f64,
    /// Draws the plan, the faults and the records; default: drawn from the clock, and printed.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Produce this many records in all, spread over nine tenths of the time.
    #[arg(long, value_name = "N", conflicts_with = "rate")]
    pub records: Option<u64>,
    /// Produce this many records per second.
    #[arg(long, value_name = "N", default_value_t = 4_000)]
    pub rate: u64,
    /// Partitions of each topic at the start.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=20))]
    pub partitions: u32,
    /// The script that keeps the broker.
    #[arg(long, value_name = "FILE", default_value = "scripts/kafka")]
    pub kafka: PathBuf,
    /// The engine; default: `pelton` beside this program.
    #[arg(long, value_name = "FILE")]
    pub engine: Option<PathBuf>,
    /// Where broker, mapping files and logs are kept; removed after a clean run. Default: a directory of
    /// its own under .kafka.
    #[arg(long, value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// Write the verdict with everything that was done as JSON to this file (`-`: to standard output).
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the verdict as Markdown to this file.
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
    /// Say nothing until the verdict.
    #[arg(long)]
    pub quiet: bool,
}

/// The longest run: a day.
const MINUTES_MAX: f64 = 1_440.0;

fn minutes(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(minutes) if (0.2..=MINUTES_MAX).contains(&minutes) => Ok(minutes),
        _ => Err(format!("0.2 to {MINUTES_MAX} minutes, such as 10 or 1.5")),
    }
}

impl ChaosArguments {
    /// Runs. Returns the exit code.
    #[must_use]
    pub fn act(self) -> u8 {
        let interrupted = interrupt::listen();
        let (quiet, json) = (self.quiet, self.json.clone());
        let mut say = |line: &str| {
            if !quiet {
                eprintln!("{line}");
            }
        };
        let verdict = self.settings().and_then(|settings| {
            say(&format!("chaos: seed {}, {:.1} min", settings.seed, settings.time.as_secs_f64() / 60.0));
            let verdict = run(&settings, &interrupted, &mut say)?;
            if verdict.is_clean() {
                drop(std::fs::remove_dir_all(&settings.directory));
            } else {
                say(&format!("logs are kept in {}", settings.directory.display()));
            }
            Ok(verdict)
        });
        let written = verdict.and_then(|verdict| {
            // The page first: it must be there even if the files have no room.
            super::print(&page(&verdict), &verdict, json.as_deref())?;
            self.write_markdown(&verdict)?;
            Ok(verdict)
        });
        match written {
            Ok(verdict) if verdict.is_clean() => OK,
            Ok(_) => AUDIT_FAILED,
            Err(error) => {
                eprintln!("error: {error:#}");
                COULD_NOT_RUN
            }
        }
    }

    fn write_markdown(&self, verdict: &ChaosVerdict) -> anyhow::Result<()> {
        let Some(path) = &self.markdown else { return Ok(()) };
        std::fs::write(path, markdown(verdict)).with_context(|| format!("writing {}", path.display()))
    }

    fn settings(&self) -> anyhow::Result<ChaosSettings> {
        let engine = match &self.engine {
            Some(engine) => engine.clone(),
            None => std::env::current_exe().context("where this program lies")?.with_file_name("pelton"),
        };
        let directory = match &self.directory {
            Some(directory) => directory.clone(),
            None => Path::new(".kafka").join(format!("chaos-{}", std::process::id())),
        };
        Ok(ChaosSettings {
            time: Duration::from_secs_f64(self.minutes * 60.0),
            seed: self.seed.unwrap_or(wall_ms().unsigned_abs() % 1_000_000),
            records: self.records,
            rate: self.rate,
            partitions: self.partitions,
            kafka: self.kafka.clone(),
            engine,
            directory,
        })
    }
}
