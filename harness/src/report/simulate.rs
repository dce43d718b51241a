//! Simulations on a terminal.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use crate::simulate::{Failure, Tally};

/// What came of a simulation.
#[derive(Clone, Debug, serde::Serialize)]
pub struct SimulateResult {
    /// The first seed, as the command line reads it.
    pub first_seed: String,
    /// How long it took.
    pub elapsed_s: f64,
    /// Runs in a minute, on one core.
    pub runs_per_minute: f64,
    /// What the runs that held came to.
    #[serde(flatten)]
    pub tally: Tally,
    /// The seed that failed.
    pub failed_seed: Option<String>,
    /// What it violates.
    pub violation: Option<String>,
}

impl SimulateResult {
    /// The result of runs from `first_seed` on that took `elapsed_ns`.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    pub fn new(first_seed: u64, tally: Tally, elapsed_ns: u64, found: Option<&Failure>) -> Self {
        let elapsed_s = elapsed_ns as f64 / 1e9;
        Self {
            first_seed: spelt(first_seed),
            elapsed_s,
            runs_per_minute: tally.runs as f64 / elapsed_s.max(1e-9) * 60.0,
            tally,
            failed_seed: found.map(|found| spelt(found.seed)),
            violation: found.map(|found| found.violation.to_string()),
        }
    }
}

fn spelt(seed: u64) -> String {
    format!("{seed:#018x}")
}

/// The report. Ends with a new line.
#[must_use]
pub fn report(result: &SimulateResult) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut text, result);
    text
}

fn write(out: &mut String, result: &SimulateResult) -> fmt::Result {
    let tally = &result.tally;
    writeln!(
        out,
        "{} runs from {} in {:.1} s ({:.0} a minute), {:.1} virtual hours, {} turns",
        tally.runs,
        result.first_seed,
        result.elapsed_s,
        result.runs_per_minute,
        tally.virtual_s / 3_600.0,
        tally.turns,
    )?;
    writeln!(
        out,
        "{} records written, delivered {} times; {} at the destination, {} dropped, {} not again by metadata; \
         {} moves between pollers",
        tally.records, tally.deliveries, tally.kept, tally.dropped, tally.resumed, tally.moves,
    )?;
    for (name, counts) in [
        ("invocations", &tally.invocations),
        ("faults", &tally.faults),
        ("duplicates", &tally.duplicates),
        ("batches", &tally.batches),
    ] {
        writeln!(out, "  {name:<12} {:>9}: {}", counts.values().sum::<u64>(), listed(counts))?;
    }
    match &result.violation {
        None => writeln!(out, "every invariant held"),
        Some(violation) => writeln!(out, "VIOLATED {violation}"),
    }
}

fn listed(counts: &BTreeMap<&'static str, u64>) -> String {
    let listed: Vec<String> = counts.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    listed.join(", ")
}

/// A seed that failed: what it is, what it violates, how that came about, and how to see it again.
#[must_use]
pub fn failure(found: &Failure) -> String {
    let mut text = format!("seed {}\n{}\n\n", spelt(found.seed), found.scenario);
    for line in &found.trace {
        text.push_str(line);
        text.push('\n');
    }
    let seed = spelt(found.seed);
    // Writing to a string does not fail.
    let _ = write!(
        text,
        "\nVIOLATED {}\nall of it: pelton-harness simulate --seed {seed} --trace\n\n",
        found.violation
    );
    text
}
