//! `pelton run`: from arguments to a valid mapping, and on to the engine.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::ArgMatches;

use super::{EXIT_WRONG_SETTINGS, Process, check, flags, logging};
use crate::mapping::limits::FILE_BYTES_MAX;
use crate::mapping::{Mapping, Origins, Surroundings as _};
use crate::payload::Tier;
use crate::telemetry::Terminal;
use crate::time::Clock;

/// What an engine is given besides its mapping.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// The clock whose line starts with the process.
    pub clock: Clock,
    /// Where log lines go, and the status line if it is a terminal.
    pub terminal: Arc<Terminal>,
}

/// Runs the command with these arguments.
pub(super) fn run(matches: &ArgMatches, start: impl FnOnce(Mapping, RunOptions) -> ExitCode) -> ExitCode {
    let clock = Clock::start();
    let checked = layers(matches).and_then(|origins| {
        let mapping = origins.validate(&Process).map_err(|error| error.to_string())?;
        let filter = logging::filter(&mapping.engine)?;
        Tier::from_environment().map_err(|error| error.to_string())?;
        Ok((origins, mapping, filter))
    });
    let (origins, mapping, filter) = match checked {
        Ok(checked) => checked,
        Err(problems) => return complain(&problems),
    };
    if matches.get_flag("check") {
        return check::check(&mapping, &origins);
    }
    let terminal = Terminal::stderr(!matches.get_flag("no-status"));
    logging::start(mapping.engine.log_format, filter, terminal.clone());
    for note in &mapping.notes {
        tracing::warn!("{note}");
    }
    start(mapping, RunOptions { clock, terminal })
}

/// Reads the file and the flags.
pub(super) fn layers(matches: &ArgMatches) -> Result<Origins, String> {
    let mut origins = Origins::default();
    origins.add_flags(&flags(matches));
    if let Some(path) = matches.get_one::<PathBuf>("config") {
        origins.add_file(&path.display().to_string(), &read(path)?);
    }
    Ok(origins)
}

fn read(path: &Path) -> Result<String, String> {
    let complaint = |reason: &str| {
        let limit = FILE_BYTES_MAX;
        let path = path.display();
        format!(
            "--config: found {path} ({reason}); allowed: a readable TOML file of at most {limit} bytes; \
             correct the path"
        )
    };
    let text = path.to_str().ok_or_else(|| complaint("not a UTF-8 path"))?;
    Process
        .file(text, usize::try_from(FILE_BYTES_MAX).unwrap_or(usize::MAX))
        .map_err(|reason| complaint(&reason))
}

/// Logging is not set up yet, and these words are for the one who typed the command.
#[expect(clippy::print_stderr, reason = "before logging")]
pub(super) fn complain(problems: &str) -> ExitCode {
    eprintln!("error: {problems}\n\nNothing was started. `pelton run --help` explains every setting.");
    ExitCode::from(EXIT_WRONG_SETTINGS)
}
