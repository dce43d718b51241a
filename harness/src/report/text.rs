//! A result on a terminal.

use std::fmt::{self, Write};

use crate::audit::Verdict;
use crate::measure::histogram::LatencySummary;
use crate::result::{LatencyFrom, RunResult};

/// The report of one run. Ends with a new line.
#[must_use]
pub fn report(result: &RunResult) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut text, result);
    text
}

fn write(out: &mut String, result: &RunResult) -> fmt::Result {
    let throughput = &result.throughput;
    head(out, result)?;
    section(out, "Throughput")?;
    line(out, "records", &format!("{}/s", count(throughput.records_per_s)))?;
    line(out, "data", &format!("{}/s (key, value, headers)", bytes(throughput.record_bytes_per_s)))?;
    line(
        out,
        "measured",
        &format!(
            "{} records, {} in {:.1} s{}",
            count(throughput.records as f64),
            bytes(throughput.record_bytes as f64),
            throughput.elapsed_s,
            if result.interrupted { ", interrupted" } else { "" }
        ),
    )?;
    if let Some(load) = &result.load {
        let tombstones = match load.tombstones {
            0 => String::new(),
            number => format!(", {} of them without a value", count(number as f64)),
        };
        let hottest = 100.0 * load.hottest_partition_share;
        let records = count(load.records as f64);
        line(
            out,
            "sent",
            &format!("{records} records{tombstones}; {hottest:.1} % to the fullest partition"),
        )?;
    }
    cost(out, result)?;
    batches(out, result)?;
    latency(out, result)?;
    audit(out, &result.audit)?;
    if !result.remarks.is_empty() {
        section(out, "Remarks")?;
        for remark in &result.remarks {
            writeln!(out, "  {remark}")?;
        }
    }
    Ok(())
}

fn head(out: &mut String, result: &RunResult) -> fmt::Result {
    let machine = &result.machine;
    writeln!(out)?;
    match &result.spec.about {
        Some(about) => writeln!(out, "{}: {about}", result.scenario)?,
        None => writeln!(out, "{}", result.scenario)?,
    }
    if let Some(replay) = &result.spec.replay {
        writeln!(out, "replays {}", replay.display())?;
    }
    write!(out, "{}, {} cores, Linux {}", machine.cpu, machine.cores, machine.kernel)?;
    if !machine.commit.is_empty() {
        write!(out, ", commit {}", machine.commit)?;
    }
    writeln!(out)
}

fn cost(out: &mut String, result: &RunResult) -> fmt::Result {
    let cpu = &result.cpu;
    section(out, "CPU (user and system, by thread)")?;
    line(
        out,
        "engine",
        &format!(
            "{:.3} s per GB, {:.3} s per million records ({:.2} s in all)",
            cpu.engine_s_per_gb, cpu.engine_s_per_million_records, cpu.engine_s
        ),
    )?;
    line(
        out,
        "not engine",
        &format!("broker {:.2} s, loader {:.2} s, harness {:.2} s", cpu.broker_s, cpu.load_s, cpu.harness_s),
    )?;
    line(out, "memory", &format!("{} at most, the whole process", bytes(result.resident_bytes_peak as f64)))
}

fn batches(out: &mut String, result: &RunResult) -> fmt::Result {
    let (batches, overlap) = (&result.batches, &result.overlap);
    section(out, "Batches")?;
    line(
        out,
        "fill",
        &format!(
            "{:.1} records ({:.1} % of the batch size), {} ({:.1} % of the payload limit)",
            batches.records_mean,
            100.0 * batches.fill_by_records_share,
            bytes(batches.payload_bytes_mean),
            100.0 * batches.fill_by_bytes_share
        ),
    )?;
    let shares = |counts: &std::collections::BTreeMap<String, u64>| {
        let listed: Vec<String> =
            counts.iter().map(|(name, number)| format!("{name} {}", count(*number as f64))).collect();
        if listed.is_empty() { "none".to_owned() } else { listed.join(", ") }
    };
    line(out, "flushed by", &shares(&batches.causes))?;
    line(out, "invocations", &shares(&result.invocations))?;
    let ahead = if overlap.full_ahead > 0 {
        format!("{:.1} % were full and written before the previous answer", 100.0 * overlap.full_ahead_share)
    } else {
        "no batch was full before the previous answer: the function was not what limits".to_owned()
    };
    line(out, "overlap", &ahead)?;
    if overlap.full_ahead > 0 {
        let turnaround = &overlap.turnaround;
        line(
            out,
            "turnaround",
            &format!(
                "{} from an answer to the next invocation (p50), {} (p99), for those",
                micros(turnaround.p50_us),
                micros(turnaround.p99_us)
            ),
        )?;
    }
    Ok(())
}

fn latency(out: &mut String, result: &RunResult) -> fmt::Result {
    let from = match result.latency_from {
        LatencyFrom::IntendedSend => "from the intended send",
        LatencyFrom::HandOver => "from the hand-over to the producer (no schedule)",
        LatencyFrom::Poll => "from the poll: no broker",
    };
    section(out, &format!("Latency of a record, {from}"))?;
    writeln!(out, "  {:<14}{:>10}{:>10}{:>10}{:>10}{:>10}", "", "p50", "p90", "p99", "p99.9", "max")?;
    let stages = &result.latency;
    let mut rows = vec![
        ("total", &stages.total),
        ("  broker wait", &stages.broker_wait),
        ("  window", &stages.window),
        ("  encode", &stages.encode),
        ("  queue", &stages.queue),
        ("  invocation", &stages.invocation),
        ("then commit", &stages.commit),
    ];
    if let Some(load) = &result.load
        && load.lateness.count > 0
    {
        rows.push(("generator late", &load.lateness));
    }
    for (name, summary) in rows {
        latency_row(out, name, summary)?;
    }
    Ok(())
}

fn latency_row(out: &mut String, name: &str, summary: &LatencySummary) -> fmt::Result {
    write!(out, "  {name:<14}")?;
    for figure in [summary.p50_us, summary.p90_us, summary.p99_us, summary.p999_us, summary.max_us] {
        write!(out, "{:>10}", if summary.count > 0 { micros(figure) } else { "-".to_owned() })?;
    }
    writeln!(out)
}

fn audit(out: &mut String, verdict: &Verdict) -> fmt::Result {
    section(out, "Audit of every offset")?;
    let delivered = count(verdict.records_delivered as f64);
    if verdict.records_filtered > 0 {
        line(out, "filtered out", &format!("{} records", count(verdict.records_filtered as f64)))?;
    }
    if verdict.is_clean() {
        return line(
            out,
            "clean",
            &format!("{delivered} records, each delivered once, in order, and committed after that"),
        );
    }
    line(out, "FAILED", &format!("{delivered} records delivered"))?;
    for (number, what) in [
        (verdict.records_lost, "records lost"),
        (verdict.records_duplicated, "records delivered twice"),
        (verdict.records_out_of_order, "records out of order"),
        (verdict.records_foreign, "records that this run did not send"),
        (verdict.commits_early, "commits past an unfinished record"),
        (verdict.commits_backwards, "commits behind an earlier one"),
        (verdict.records_uncommitted, "records delivered and not committed"),
    ] {
        if number > 0 {
            line(out, "", &format!("{number} {what}"))?;
        }
    }
    for lost in &verdict.lost_examples {
        line(
            out,
            "",
            &format!(
                "lost: partition {}, offsets {} to {}",
                lost.partition, lost.first_offset, lost.last_offset
            ),
        )?;
    }
    Ok(())
}

fn section(out: &mut String, title: &str) -> fmt::Result {
    writeln!(out, "\n{title}")
}

fn line(out: &mut String, name: &str, text: &str) -> fmt::Result {
    writeln!(out, "  {name:<14}{text}")
}

/// `1234567` as `1 234 567`, or what is not a whole number with one digit after the point.
#[must_use]
pub fn count(number: f64) -> String {
    let whole = format!("{number:.0}");
    let mut text = String::with_capacity(whole.len() * 4 / 3);
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// Bytes in decimal units, with three digits.
#[must_use]
pub fn bytes(bytes: f64) -> String {
    let (unit, name) = match bytes {
        b if b >= 1e9 => (1e9, "GB"),
        b if b >= 1e6 => (1e6, "MB"),
        b if b >= 1e3 => (1e3, "kB"),
        _ => (1.0, "B"),
    };
    three_digits(bytes / unit, name)
}

/// Milliseconds, in seconds where they are many.
#[must_use]
pub fn milliseconds(ms: f64) -> String {
    match ms {
        ms if ms >= 10_000.0 => format!("{:.1} s", ms / 1e3),
        ms if ms >= 100.0 => format!("{ms:.0} ms"),
        ms => format!("{ms:.1} ms"),
    }
}

/// Text as it may stand in HTML, in attributes too.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Microseconds in the unit that suits them, with three digits.
#[must_use]
pub fn micros(us: u64) -> String {
    match us {
        0 => "<1 us".to_owned(),
        1..=999 => format!("{us} us"),
        1_000..=999_999 => three_digits(us as f64 / 1e3, "ms"),
        _ => three_digits(us as f64 / 1e6, "s"),
    }
}

fn three_digits(number: f64, unit: &str) -> String {
    let digits = match number {
        n if n >= 99.95 => 0,
        n if n >= 9.995 => 1,
        _ => 2,
    };
    format!("{number:.digits$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::LostRange;
    use crate::result::example;

    #[test]
    fn figures_have_three_digits_and_a_unit() {
        assert_eq!(count(1_234_567.2), "1 234 567");
        assert_eq!(count(999.0), "999");
        assert_eq!(bytes(102_400_000.0), "102 MB");
        assert_eq!(bytes(12.0), "12.0 B");
        assert_eq!(
            (micros(0), micros(70), micros(8_000), micros(1_234_000)),
            ("<1 us".into(), "70 us".into(), "8.00 ms".into(), "1.23 s".into())
        );
    }

    #[test]
    fn a_report_fits_a_terminal_and_shows_what_matters() {
        let text = report(&example());
        for part in [
            "100 000/s",
            "0.880 s per GB",
            "count 9 990",
            "throttled 3",
            "p99.9",
            "generator late",
            "clean",
            "90.0 %",
            "6.2 % to the fullest partition",
        ] {
            assert!(text.contains(part), "{part} is missing from\n{text}");
        }
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    }

    #[test]
    fn a_failed_audit_says_where() {
        let mut result = example();
        result.audit.records_lost = 5;
        result.audit.lost_examples = vec![LostRange { partition: 3, first_offset: 10, last_offset: 14 }];
        let text = report(&result);
        assert!(text.contains("FAILED") && text.contains("partition 3, offsets 10 to 14"), "{text}");
    }
}
