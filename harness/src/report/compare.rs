//! A comparison on a terminal.

use std::fmt::{self, Write};

use super::text::{bytes, count, micros};
use crate::compare::{Compared, Comparison, Difference, Metric, SampleOf, Side, Verdict};

/// The report of a comparison. Ends with a new line.
#[must_use]
pub fn report(comparison: &Comparison) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut text, comparison);
    text
}

fn write(out: &mut String, comparison: &Comparison) -> fmt::Result {
    writeln!(out)?;
    side(out, "A", &comparison.a)?;
    side(out, "B", &comparison.b)?;
    if !comparison.warnings.is_empty() {
        writeln!(out, "\nWarnings")?;
        for warning in &comparison.warnings {
            writeln!(out, "  {warning}")?;
        }
    }
    writeln!(
        out,
        "\n{:<16}{:>12}{:>12}  {:>10}  {:<20}{:>6}  verdict",
        "",
        "A",
        "B",
        "difference",
        format!("{} % interval", percent(comparison.confidence_share)),
        "p"
    )?;
    for compared in &comparison.metrics {
        row(out, compared)?;
    }
    writeln!(out)?;
    method(out, comparison)?;
    writeln!(out, "\n{}", conclusion(comparison))
}

fn side(out: &mut String, name: &str, side: &Side) -> fmt::Result {
    write!(out, "{name}  {}: {}", side.files.join(" "), side.scenarios.join(" and "))?;
    let commits: Vec<&str> =
        side.commits.iter().map(String::as_str).filter(|commit| !commit.is_empty()).collect();
    if !commits.is_empty() {
        write!(out, ", commit {}", commits.join(" and "))?;
    }
    writeln!(out)
}

fn row(out: &mut String, compared: &Compared) -> fmt::Result {
    let shown =
        |median: Option<f64>| median.map_or("-".to_owned(), |figure| figure_of(compared.metric, figure));
    let (difference, interval, p) = match compared.difference {
        Some(Difference { share, low_share, high_share, p_value_holm, .. }) => (
            signed(share),
            format!("{} to {}", signed(low_share), signed(high_share)),
            if p_value_holm < 0.001 { "<0.001".to_owned() } else { format!("{p_value_holm:.3}") },
        ),
        None => ("-".to_owned(), "-".to_owned(), "-".to_owned()),
    };
    writeln!(
        out,
        "{:<16}{:>12}{:>12}  {difference:>10}  {interval:<20}{p:>6}  {}",
        name(compared.metric),
        shown(compared.a_median),
        shown(compared.b_median),
        verdict(compared.verdict)
    )
}

/// How to read the table.
fn method(out: &mut String, comparison: &Comparison) -> fmt::Result {
    let numbers = |of: fn(&Compared) -> usize| {
        let of = comparison.metrics.iter().map(of);
        match (of.clone().min().unwrap_or(0), of.max().unwrap_or(0)) {
            (least, most) if least == most => most.to_string(),
            (least, most) => format!("{least} to {most}"),
        }
    };
    let (a, b) = (numbers(|compared| compared.a_samples), numbers(|compared| compared.b_samples));
    match comparison.sample_of {
        SampleOf::Run => {
            writeln!(out, "Samples are whole runs: {a} of A, {b} of B.")?;
        }
        SampleOf::Block => {
            writeln!(
                out,
                "Samples are blocks of a run's seconds, merged because neighbours are alike: {a} of A, {b} of B.\n\
                 What differs from one run to the next is not in them: from 6 runs a side on, it is."
            )?;
        }
    }
    writeln!(
        out,
        "A and B are medians. Worse or better is what a Mann-Whitney U test finds at {}, by p adjusted for {}\n\
         metrics (Holm), and what is larger than {} %. Intervals are not adjusted.",
        comparison.confidence_share,
        comparison.metrics.len(),
        percent(comparison.threshold_share)
    )
}

/// The last line: what there is to do.
fn conclusion(comparison: &Comparison) -> String {
    let named = |verdict: Verdict| -> Vec<&str> {
        comparison
            .metrics
            .iter()
            .filter(|compared| compared.verdict == verdict)
            .map(|compared| name(compared.metric))
            .collect()
    };
    let mut worse = named(Verdict::Worse);
    if comparison.is_audit_worse {
        worse.insert(0, "audit");
    }
    let unknown = named(Verdict::TooFewSamples);
    let rest = if unknown.is_empty() {
        String::new()
    } else {
        format!("; too few samples to say of {} (run longer, or more often)", unknown.join(", "))
    };
    if comparison.is_regression {
        format!("REGRESSION: B is worse in {}{rest}", worse.join(", "))
    } else {
        format!("no regression{rest}")
    }
}

fn name(metric: Metric) -> &'static str {
    match metric {
        Metric::RecordsPerS => "records/s",
        Metric::RecordBytesPerS => "data/s",
        Metric::LatencyP50Us => "latency p50",
        Metric::LatencyP99Us => "latency p99",
        Metric::EngineCpuSPerMillionRecords => "CPU/10^6 records",
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a latency is not negative")]
fn figure_of(metric: Metric, figure: f64) -> String {
    match metric {
        Metric::RecordsPerS => count(figure),
        Metric::RecordBytesPerS => bytes(figure),
        Metric::LatencyP50Us | Metric::LatencyP99Us => micros(figure.round() as u64),
        Metric::EngineCpuSPerMillionRecords => format!("{figure:.3} s"),
    }
}

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Better => "better",
        Verdict::Worse => "WORSE",
        Verdict::BelowThreshold => "below threshold",
        Verdict::WithinNoise => "within noise",
        Verdict::TooFewSamples => "too few samples",
    }
}

fn signed(share: f64) -> String {
    format!("{:+.1} %", share * 100.0)
}

/// A share in per cent, without digits that say nothing.
fn percent(share: f64) -> f64 {
    (share * 1e6).round() / 1e4
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::{Criteria, Loaded, compare};
    use crate::result::example;

    fn compared(intervals: usize, slower: bool) -> String {
        let loaded = |path: &str| Loaded { path: path.into(), result: example() };
        let (a, mut b) = (loaded("a.json"), loaded("b.json"));
        b.result.intervals.truncate(intervals);
        for interval in b.result.intervals.iter_mut().filter(|_| slower) {
            interval.records /= 2;
        }
        report(&compare(&[a], &[b], Criteria { threshold_share: 0.03, confidence_share: 0.95 }))
    }

    #[test]
    fn a_report_fits_a_terminal_and_shows_what_matters() {
        let text = compared(10, true);
        for part in [
            "a.json: demo",
            "100 000",
            "50 000",
            "-50.0 % to -50.0 %",
            "95 % interval",
            "larger than 3 %",
            "Holm",
            "REGRESSION: B is worse in records/s, CPU/10^6 records\n",
        ] {
            assert!(text.contains(part), "{part} is missing from\n{text}");
        }
        assert!(text.lines().all(|line| line.chars().count() <= 110), "{text}");
        assert!(compared(10, false).ends_with("\nno regression\n"));
    }

    #[test]
    fn too_few_samples_are_said_of_each_metric() {
        let text = compared(3, false);
        assert_eq!(text.matches("too few samples\n").count(), 5, "{text}");
        assert!(text.contains("no regression; too few samples to say of records/s"), "{text}");
    }
}
