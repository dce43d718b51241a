//! A dry run on a terminal.

use std::fmt::{self, Write};

use super::text::{bytes, count, milliseconds};
use crate::explain::{Explained, Spread};
use crate::measure::histogram::LatencySummary;

/// The report of a dry run. Ends with a new line.
#[must_use]
pub fn report(explained: &Explained) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut text, explained);
    text
}

fn write(out: &mut String, explained: &Explained) -> fmt::Result {
    writeln!(out)?;
    writeln!(
        out,
        "{} records of {:.1} s, into batches of at most {} records, {} and {}, by {} pollers",
        count(explained.records as f64),
        explained.span_s,
        explained.batch_size,
        milliseconds(explained.window_ms),
        bytes(f64::from(explained.payload_bytes_max)),
        explained.pollers
    )?;
    writeln!(out)?;
    line(
        out,
        "invocations",
        &format!(
            "{}, {:.1} a second; the function is busy for {:.0} % of a poller's time",
            count(explained.batches as f64),
            explained.invocations_per_s,
            explained.busy_share * 100.0
        ),
    )?;
    let causes: Vec<String> = explained
        .causes
        .iter()
        .map(|(cause, batches)| {
            format!("{cause} {:.1} %", *batches as f64 * 100.0 / explained.batches.max(1) as f64)
        })
        .collect();
    line(out, "closed by", &causes.join(", "))?;
    line(out, "records", &spread(&explained.batch_records, count, explained.fill_by_records_share))?;
    line(out, "payload", &spread(&explained.batch_payload_bytes, bytes, explained.fill_by_bytes_share))?;
    line(out, "oldest record", &ages("when its batch was sent", &explained.oldest_record_age_sent))?;
    line(out, "record age", &ages("when sent", &explained.record_age_sent))?;
    line(out, "", &ages("when answered", &explained.record_age_done))?;
    for (what, records) in
        [("filtered out", explained.records_filtered), ("too large", explained.records_oversized)]
    {
        if records > 0 {
            line(out, what, &format!("{} records", count(records as f64)))?;
        }
    }
    for bind in &explained.binds {
        line(out, "what binds", bind)?;
    }
    if !explained.first.is_empty() {
        writeln!(out, "\n  {:>9}  poller  closed by  records     payload  oldest     waited", "sent at")?;
        for batch in &explained.first {
            writeln!(
                out,
                "  {:>7.3} s  {:>6}  {:<9}  {:>7}  {:>10}  {:<9}  {}",
                batch.sent_at_s,
                batch.poller,
                batch.cause,
                batch.records,
                bytes(batch.payload_bytes as f64),
                milliseconds(batch.oldest_age_ms),
                milliseconds(batch.waited_ms)
            )?;
        }
    }
    for remark in &explained.remarks {
        writeln!(out, "  {remark}")?;
    }
    writeln!(
        out,
        "\nNothing was invoked and nothing committed. Records arrive by their timestamps; reading and encoding take\n\
         no time here, memory is not limited, and failures do not happen: `pelton-harness run --replay` measures."
    )
}

fn line(out: &mut String, name: &str, text: &str) -> fmt::Result {
    writeln!(out, "  {name:<14} {text}")
}

fn spread(spread: &Spread, show: fn(f64) -> String, fill_share: f64) -> String {
    format!(
        "{} a batch on average ({:.1} % full), median {}, from {} to {}",
        show(spread.mean),
        fill_share * 100.0,
        show(spread.p50 as f64),
        show(spread.min as f64),
        show(spread.max as f64)
    )
}

fn ages(when: &str, ages: &LatencySummary) -> String {
    let ms = |us: u64| milliseconds(us as f64 / 1e3);
    format!("{when}: p50 {}, p99 {}, at most {}", ms(ages.p50_us), ms(ages.p99_us), ms(ages.max_us))
}
