//! `pelton run --check`: says what a mapping would be and does nothing else.

use std::io::Write as _;
use std::process::ExitCode;

use crate::mapping::{Mapping, Origins, explain};

/// Prints the effective mapping to stdout.
pub(super) fn check(mapping: &Mapping, origins: &Origins) -> ExitCode {
    let text = explain(mapping, origins);
    // A reader that went away (`| head`) has seen enough.
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
    ExitCode::SUCCESS
}
