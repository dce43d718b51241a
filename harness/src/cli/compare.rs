//! `pelton-harness compare`

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

use super::{COULD_NOT_RUN, USAGE};
use crate::compare::{Comparison, Criteria, Loaded, ResultError, compare, read};
use crate::report::compare::report;
use crate::workload::LawError;

/// Compare results of `run --json`: what is better, worse, or within noise.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub struct CompareArguments {
    /// Results of A, what is compared with; or one of A and one of B.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Results of B, what is judged.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub with: Vec<PathBuf>,
    /// The largest difference that does not matter, of A's median.
    #[arg(long, value_name = "PERCENT", default_value = "5%")]
    pub threshold: Percent,
    /// How sure a difference must be, for all metrics together: 0.95 raises one false alarm in 20
    /// comparisons of equals.
    #[arg(long, value_name = "SHARE", default_value_t = 0.95, value_parser = confidence)]
    pub confidence: f64,
    /// Write the comparison as JSON, every field with its unit in its name; `-` for standard output.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

const HELP: &str = "\
With two files the first is A and the second B. Of several runs a side (A.. --with B..), take them in turns \
on a machine that is otherwise idle. From 6 a side on each run is one sample, and what differs from run to \
run counts as noise; with fewer, samples are blocks of the seconds within the runs, and it does not.

Exit codes: 0 B is not worse, or there were too few samples to say; 1 B is worse than A in a metric or in \
its audit; 2 wrong usage; 3 a file cannot be read or written, or is no result.";

/// A percentage: `3%`, `0.5%`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Percent(pub f64);

impl FromStr for Percent {
    type Err = LawError;

    fn from_str(text: &str) -> Result<Self, LawError> {
        let wrong = || LawError::new("a percentage from 0% to 1000%", text, "write 3% or 0.5%");
        let number: f64 =
            text.trim().strip_suffix('%').ok_or_else(wrong)?.trim_end().parse().map_err(|_| wrong())?;
        if (0.0..=1_000.0).contains(&number) { Ok(Self(number)) } else { Err(wrong()) }
    }
}

fn confidence(text: &str) -> Result<f64, LawError> {
    let wrong = || LawError::new("a confidence from 0.5 to 0.9999", text, "write 0.95 or 0.99");
    let share: f64 = text.trim().parse().map_err(|_| wrong())?;
    if (0.5..=0.9999).contains(&share) { Ok(share) } else { Err(wrong()) }
}

impl CompareArguments {
    /// Compares. Returns the exit code.
    #[must_use]
    pub fn act(self) -> u8 {
        let (a, b) = match (&self.files[..], &self.with[..]) {
            ([a, b], []) => (std::slice::from_ref(a), std::slice::from_ref(b)),
            (files, []) => {
                eprintln!(
                    "error: {} file{} and no --with; give one of A and one of B, or `A.. --with B..`",
                    files.len(),
                    if files.len() == 1 { "" } else { "s" }
                );
                return USAGE;
            }
            (a, b) => (a, b),
        };
        match self.compare(a, b) {
            Ok(comparison) => comparison.exit_code(),
            Err(error) => {
                eprintln!("error: {error:#}");
                COULD_NOT_RUN
            }
        }
    }

    fn compare(&self, a: &[PathBuf], b: &[PathBuf]) -> anyhow::Result<Comparison> {
        let all = |side: &[PathBuf]| side.iter().map(|path| read(path)).collect::<Result<_, ResultError>>();
        let (a, b): (Vec<Loaded>, Vec<Loaded>) = (all(a)?, all(b)?);
        let criteria =
            Criteria { threshold_share: self.threshold.0 / 100.0, confidence_share: self.confidence };
        let comparison = compare(&a, &b, criteria);
        super::print(&report(&comparison), &comparison, self.json.as_deref())?;
        Ok(comparison)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_has_its_sign_and_a_range() {
        assert_eq!("3%".parse(), Ok(Percent(3.0)));
        assert_eq!(" 0.5 %".parse(), Ok(Percent(0.5)));
        for text in ["3", "0.03", "-1%", "2000%", "%", "NaN%"] {
            let error = text.parse::<Percent>().unwrap_err().to_string();
            assert!(error.contains(text) && error.contains("write 3%"), "{error}");
        }
    }

    #[test]
    fn a_confidence_is_a_share_below_one() {
        assert_eq!(confidence("0.99"), Ok(0.99));
        for text in ["95", "95%", "1", "0.2", "NaN"] {
            assert!(confidence(text).unwrap_err().to_string().contains("write 0.95"), "{text}");
        }
    }
}
