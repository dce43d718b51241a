//! The command line: one file per verb.

pub mod access;
pub mod capture;
pub mod chaos;
pub mod compare;
pub mod explain;
pub mod interrupt;
pub mod overhead;
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
pub mod profile;
pub mod run;
pub mod scenarios;
pub mod simulate;
pub mod stub;
pub mod tune;

use std::path::Path;

use clap::{Parser, Subcommand};

/// Everything worked.
pub const OK: u8 = 0;
/// The run ended, and its audit failed; a simulation violated what must hold; a capture that was
/// inspected is not whole; a result is worse than another; or no setting meets a goal.
pub const AUDIT_FAILED: u8 = 1;
/// The command line or a scenario makes no sense (clap's own code).
pub const USAGE: u8 = 2;
/// The run could not be made: no broker, no engine; or what is to be compared is no result.
pub const COULD_NOT_RUN: u8 = 3;

/// Drives the Pelton engine with a known load, audits every offset, and measures where time and
/// CPU go.
#[derive(Debug, Parser)]
#[command(name = "pelton-harness", version, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What the harness can do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Load the engine, audit it and measure it.
    Run(Box<run::RunArguments>),
    /// Compare results of `run --json`: what is better, worse, or within noise.
    Compare(compare::CompareArguments),
    /// Record a live topic to a file, for `--replay`.
    Capture(Box<capture::CaptureArguments>),
    /// Show which batches some settings would make of a capture or a topic, and why: a dry run.
    Explain(Box<explain::ExplainArguments>),
    /// Find the settings that meet a goal at the lowest cost, and show why.
    Tune(Box<tune::TuneArguments>),
    /// Compare the engine's CPU per record with that of a bare librdkafka consumer.
    Overhead(Box<overhead::OverheadArguments>),
    /// Show where the engine's CPU time goes, and how far each stage is from its limit.
    #[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
    Profile(Box<profile::ProfileArguments>),
    /// Torment engines, a real broker and the function, and audit every offset.
    Chaos(chaos::ChaosArguments),
    /// Serve a stand-in for a Lambda function over HTTP.
    Stub(stub::StubArguments),
    /// Run the engine in virtual time, with everything that can go wrong, and check what must hold.
    Simulate(simulate::SimulateArguments),
    /// List the scenarios that come with the harness.
    Scenarios,
}

const EXIT_CODES: &str = "Exit codes: 0 ok, 1 the audit or a simulation failed, a capture is not whole, a result is worse or no setting meets a goal, 2 wrong usage, 3 it could not be done.\n\
                          RUST_LOG (such as pelton=debug) shows what the engine and its client say.";

impl Arguments {
    /// Does it. Returns the process's exit code.
    #[must_use]
    pub fn act(self) -> u8 {
        match self.verb {
            Verb::Run(arguments) => arguments.act(),
            Verb::Compare(arguments) => arguments.act(),
            Verb::Capture(arguments) => arguments.act(),
            Verb::Explain(arguments) => arguments.act(),
            Verb::Tune(arguments) => arguments.act(),
            Verb::Overhead(arguments) => arguments.act(),
            #[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
            Verb::Profile(arguments) => arguments.act(),
            Verb::Chaos(arguments) => arguments.act(),
            Verb::Stub(arguments) => arguments.act(),
            Verb::Simulate(arguments) => arguments.act(),
            Verb::Scenarios => {
                print!("{}", scenarios::list());
                OK
            }
        }
    }
}

/// A report to standard output and its JSON to a file; or, if that is `-`, the JSON to standard
/// output and the report to standard error.
fn print(report: &str, result: &impl serde::Serialize, json: Option<&Path>) -> anyhow::Result<()> {
    match json {
        Some(path) if path.as_os_str() == "-" => {
            eprint!("{report}");
            println!("{}", serde_json::to_string_pretty(result)?);
        }
        Some(path) => {
            print!("{report}");
            std::fs::write(path, serde_json::to_string_pretty(result)? + "\n")
                .map_err(|error| anyhow::anyhow!("writing {}: {error}", path.display()))?;
        }
        None => print!("{report}"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
