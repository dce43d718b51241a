//! The command line: one file per verb.

pub mod interrupt;
pub mod run;
pub mod scenarios;

use clap::{Parser, Subcommand};

/// Everything worked.
pub const OK: u8 = 0;
/// The run ended, and its audit failed.
pub const AUDIT_FAILED: u8 = 1;
/// The command line or a scenario makes no sense (clap's own code).
pub const USAGE: u8 = 2;
/// The run could not be made: no broker, no engine.
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
    /// List the scenarios that come with the harness.
    Scenarios,
}

const EXIT_CODES: &str = "Exit codes: 0 ok, 1 the audit failed, 2 wrong usage, 3 the run could not be made.\n\
                          RUST_LOG (such as pelton=debug) shows what the engine and its client say.";

impl Arguments {
    /// Does it. Returns the process's exit code.
    #[must_use]
    pub fn act(self) -> u8 {
        match self.verb {
            Verb::Run(arguments) => arguments.act(),
            Verb::Scenarios => {
                print!("{}", scenarios::list());
                OK
            }
        }
    }
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
