//! Counts, and what may come between.

use std::fmt;
use std::io;
use std::process::Output;
use std::str::FromStr;

/// What counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// Valgrind's tool.
    Callgrind,
    /// Traps after every instruction, on the processor itself.
    Stepper,
}

impl fmt::Display for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Callgrind => "callgrind",
            Self::Stepper => "stepper",
        })
    }
}

impl FromStr for Counter {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "callgrind" => Ok(Self::Callgrind),
            "stepper" => Ok(Self::Stepper),
            other => Err(format!("no counter is called {other:?}; the counters are callgrind and stepper")),
        }
    }
}

/// Instructions of one case.
#[derive(Clone, Debug, PartialEq)]
pub struct Count {
    /// The case.
    pub name: String,
    /// Instructions per unit: a record, a value, a batch, as the case says.
    pub per_unit: f64,
    /// Who counted.
    pub counter: Counter,
}

/// Why nothing was counted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CountError {
    /// A program could not be started.
    #[error("{program} cannot be started: {source}; {remedy}")]
    Start {
        /// Which.
        program: &'static str,
        /// Why not.
        source: io::Error,
        /// What to do.
        remedy: &'static str,
    },
    /// The system does not let a process trap itself.
    #[error("the stepper does not work here: {0}")]
    Refused(String),
    /// The counted process failed.
    #[error("the counted process ended with {status}: {message}")]
    Failed {
        /// Its exit code or signal.
        status: String,
        /// The end of its standard error.
        message: String,
    },
    /// What was counted does not belong to the cases.
    #[error(
        "{cases} cases were run, and {counts} counts were found in {place}, not two for each; is `pelton_mark` in the program?"
    )]
    Mismatch {
        /// Cases in the process's output.
        cases: usize,
        /// Counts.
        counts: usize,
        /// Where.
        place: String,
    },
}

impl CountError {
    /// A process that ended badly.
    pub(super) fn failed(output: &Output) -> Self {
        let text = String::from_utf8_lossy(&output.stderr);
        let from = text.len().saturating_sub(600);
        let message = text.get(from..).unwrap_or(&text).trim().to_owned();
        Self::Failed { status: output.status.to_string(), message }
    }
}

/// What a case's units take, from the instructions of `units` and of twice as many.
pub(super) fn per_unit(name: &str, units: f64, [once, twice]: [u64; 2], counter: Counter) -> Count {
    Count { name: name.to_owned(), per_unit: (twice as f64 - once as f64) / units, counter }
}
