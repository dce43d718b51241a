//! What tests of the binary have in common.

use std::process::{Command, Output};

/// Runs the harness to its end.
pub(crate) fn harness(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pelton-harness"))
        .args(arguments)
        .env("NO_COLOR", "1")
        .output()
        .expect("the harness is built")
}
