//! The binary `pelton-harness`: arguments in, exit code out.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use pelton::payload::Tier;
use pelton_harness::cli::{Arguments, USAGE};
use tracing_subscriber::EnvFilter;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    pelton_harness::allocator::tune();
    // Retries are part of what is measured, and counted in the result: warnings would only tear the
    // progress bar.
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("error")))
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    let arguments = Arguments::parse();
    // A figure of another tier than the one that was asked for would be worse than none.
    if let Err(error) = Tier::from_environment() {
        eprintln!("error: {error}");
        return ExitCode::from(USAGE);
    }
    ExitCode::from(arguments.act())
}
