//! A capture on a terminal.

use std::fmt::{self, Write};

use super::text::{bytes, count};
use crate::capture::{CaptureSummary, SizeSummary};

/// Partitions that are listed one by one.
const PARTITIONS_LISTED_MAX: usize = 16;

/// The report of a capture, written or inspected. Ends with a new line.
#[must_use]
pub fn report(summary: &CaptureSummary) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut text, summary);
    text
}

fn write(out: &mut String, summary: &CaptureSummary) -> fmt::Result {
    writeln!(out)?;
    let topic = if summary.topic.is_empty() { "a topic whose name is damaged" } else { &summary.topic };
    let what = if summary.keep == "whole" { "whole records" } else { "sizes, times and hashes of keys" };
    writeln!(out, "{}: {what} of {topic}", summary.file)?;
    if !summary.origin.is_empty() {
        line(out, "origin", &summary.origin)?;
    }
    line(
        out,
        "records",
        &format!(
            "{}, {} of keys, values and headers",
            count(summary.records as f64),
            bytes(summary.record_bytes as f64)
        ),
    )?;
    line(
        out,
        "file",
        &format!(
            "{}, {:.2} times smaller, version {}",
            bytes(summary.file_bytes as f64),
            summary.compression_ratio,
            summary.file_version
        ),
    )?;
    times(out, summary)?;
    for (name, sizes) in [("keys", &summary.keys), ("values", &summary.values), ("headers", &summary.headers)]
    {
        line(out, name, &size_line(name, sizes))?;
    }
    partitions(out, summary)?;
    if summary.interrupted {
        line(out, "interrupted", "what was captured until then is kept")?;
    }
    if let Some(failure) = &summary.failure {
        line(out, "ended early", failure)?;
    }
    line(out, "whole", if summary.is_complete { "yes" } else { "no: what is listed below is left out" })?;
    for remark in summary.damages.iter().chain(&summary.remarks) {
        writeln!(out, "  {remark}")?;
    }
    Ok(())
}

fn times(out: &mut String, summary: &CaptureSummary) -> fmt::Result {
    if summary.latest_unix_ms < 0 {
        return line(out, "times", "no record has a timestamp");
    }
    let span_s = (summary.latest_unix_ms - summary.earliest_unix_ms) as f64 / 1e3;
    line(
        out,
        "times",
        &format!(
            "{span_s:.3} s by the records' timestamps, {} records/s on average",
            count(summary.records_per_s)
        ),
    )
}

fn size_line(name: &str, sizes: &SizeSummary) -> String {
    let none = match (sizes.none_count, name) {
        (0, _) => String::new(),
        (none, "headers") => format!("; {} records have none", count(none as f64)),
        (none, _) => format!("; {} null", count(none as f64)),
    };
    if sizes.count == 0 {
        return format!("none{none}");
    }
    format!(
        "p50 {} B, p90 {} B, p99 {} B, max {} B, mean {:.1} B{none}",
        count(sizes.p50_bytes as f64),
        count(sizes.p90_bytes as f64),
        count(sizes.p99_bytes as f64),
        count(sizes.max_bytes as f64),
        sizes.mean_bytes
    )
}

fn partitions(out: &mut String, summary: &CaptureSummary) -> fmt::Result {
    let with_records = summary.partitions.len();
    let of = if summary.topic_partitions > 0 {
        format!("{with_records} with records, of {}", summary.topic_partitions)
    } else {
        format!("{with_records} with records")
    };
    line(out, "partitions", &of)?;
    for one in summary.partitions.iter().take(PARTITIONS_LISTED_MAX) {
        line(
            out,
            "",
            &format!(
                "{}: {} records, offsets {} to {}",
                one.partition,
                count(one.records as f64),
                one.first_offset,
                one.last_offset
            ),
        )?;
    }
    if with_records > PARTITIONS_LISTED_MAX {
        line(out, "", &format!("and {} more (--json lists them)", with_records - PARTITIONS_LISTED_MAX))?;
    }
    Ok(())
}

fn line(out: &mut String, name: &str, text: &str) -> fmt::Result {
    writeln!(out, "  {name:<14}{text}")
}
