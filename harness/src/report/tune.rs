//! A recommendation on a terminal.

use std::fmt::{self, Write};

use super::text::{bytes, count, milliseconds};
use crate::tune::evaluate::Evaluation;
use crate::tune::goal::Optimise;
use crate::tune::tuned::{Candidate, Tuned};
use crate::workload::units::Bytes;

/// The report of a search. Ends with a new line.
#[must_use]
pub fn report(tuned: &Tuned) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut text, tuned);
    text
}

/// How many settings of the front are listed.
const FRONT_LINES_MAX: usize = 12;

fn write(out: &mut String, tuned: &Tuned) -> fmt::Result {
    let (traffic, best) = (&tuned.traffic, &tuned.recommended.candidate);
    writeln!(out, "\n{}: {}", tuned.workload, tuned.goal)?;
    writeln!(
        out,
        "{} records of {:.0} s in {} partitions, {} each in an event; function {} with {}",
        count(traffic.records as f64),
        traffic.span_s,
        traffic.partitions,
        bytes(traffic.record_bytes_mean),
        tuned.function,
        Bytes(tuned.memory_bytes)
    )?;
    if tuned.interrupted {
        writeln!(out, "Interrupted: what was measured until then.")?;
    }
    let verb = if tuned.recommended.meets_goal { "Recommended" } else { "Nearest to the goal" };
    writeln!(out, "\n{verb}\n")?;
    indented(out, &tuned.recommended.advice.toml)?;
    writeln!(out)?;
    headline(out, tuned, best)?;
    writeln!(out, "\nWhat binds\n")?;
    for bind in &tuned.binds {
        writeln!(out, "  {bind}")?;
    }
    moved(out, tuned)?;
    habits(out, tuned)?;
    front(out, tuned)?;
    runs(out, tuned)?;
    exhaustive(out, tuned)?;
    scaling(out, tuned)?;
    writeln!(out, "\nOn AWS\n")?;
    indented(out, &tuned.recommended.advice.aws_cli)?;
    if let Some(note) = &tuned.recommended.advice.note {
        writeln!(out, "  {note}")?;
    }
    if !tuned.remarks.is_empty() {
        writeln!(out, "\nRemarks\n")?;
        for remark in &tuned.remarks {
            writeln!(out, "  {remark}")?;
        }
    }
    Ok(())
}

fn indented(out: &mut String, text: &str) -> fmt::Result {
    for line in text.lines() {
        let indent = if line.is_empty() { "" } else { "    " };
        writeln!(out, "{indent}{line}")?;
    }
    Ok(())
}

fn headline(out: &mut String, tuned: &Tuned, best: &Candidate) -> fmt::Result {
    let quantile = tuned.wanted.quantile();
    let one = &best.evaluation;
    let currency = &tuned.prices.currency;
    let line = |out: &mut String, name: &str, text: &str| writeln!(out, "  {name:<14} {text}");
    line(
        out,
        "record age",
        &format!(
            "{quantile} {} (95 % interval {} to {} over {} draws); p50 {}, p99 {}",
            milliseconds(best.age_ms.mean),
            milliseconds(best.age_ms.low_mean),
            milliseconds(best.age_ms.high_mean),
            tuned.seeds,
            us(one.age.p50_us),
            us(one.age.p99_us)
        ),
    )?;
    line(
        out,
        "cost",
        &format!(
            "{} {currency} per million records, {} {currency} for 720 hours of this traffic",
            money(best.per_million_records.mean),
            money(one.cost.per_month)
        ),
    )?;
    let default = &tuned.aws_default;
    line(
        out,
        "AWS's default",
        &format!(
            "(100 records, 500 ms, {} pollers) {} {currency} per million, p99 age {}{}",
            default.settings.pollers,
            money(default.cost.per_million_records),
            us(default.age.p99_us),
            if default.keeps_up { "" } else { ", does not keep up" }
        ),
    )?;
    line(
        out,
        "invocations",
        &format!(
            "{:.1} a second, {:.1} records each ({:.0} % of the batch size), {} of payload",
            one.invocations_per_s,
            one.batch_records_mean,
            one.fill_by_records_share * 100.0,
            bytes(one.payload_bytes_mean)
        ),
    )?;
    line(
        out,
        "headroom",
        &format!(
            "up to {} records a second with full batches; {} arrive",
            count(one.capacity_records_per_s),
            count(one.records_per_s)
        ),
    )
}

fn moved(out: &mut String, tuned: &Tuned) -> fmt::Result {
    if tuned.sensitivity.is_empty() {
        return Ok(());
    }
    let best = &tuned.recommended.like_others;
    writeln!(out, "\nIf one parameter is halved or doubled\n")?;
    writeln!(out, "  {:<42} {:>10}  {:>12}", "", "p99 age", "per million")?;
    row(out, "recommended", best, best)?;
    for one in &tuned.sensitivity {
        row(out, &one.evaluation.settings.to_string(), &one.evaluation, best)?;
    }
    Ok(())
}

fn habits(out: &mut String, tuned: &Tuned) -> fmt::Result {
    let Some(as_is) = tuned.habits.first() else { return Ok(()) };
    writeln!(
        out,
        "\nIf there were less in each record, with the settings that are best then for the first draw\n"
    )?;
    for one in &tuned.habits {
        row(out, one.habit.name(), &one.evaluation, &as_is.evaluation)?;
        writeln!(out, "    {}", one.evaluation.settings)?;
    }
    Ok(())
}

fn row(out: &mut String, name: &str, one: &Evaluation, best: &Evaluation) -> fmt::Result {
    let cost = one.cost.per_million_records / best.cost.per_million_records.max(f64::MIN_POSITIVE) - 1.0;
    writeln!(
        out,
        "  {name:<42} {:>10}  {:>12}  {:>8}{}",
        us(one.age.p99_us),
        money(one.cost.per_million_records),
        format!("{:+.0} %", cost * 100.0),
        if one.keeps_up { "" } else { "  does not keep up" }
    )
}

fn front(out: &mut String, tuned: &Tuned) -> fmt::Result {
    let best = &tuned.recommended.like_others;
    writeln!(
        out,
        "\nWhat no other setting beats ({} of {} settings that were tried on all of the traffic)\n",
        tuned.front.len(),
        tuned.evaluations.len()
    )?;
    writeln!(out, "  {:<42} {:>10}  {:>12}", "", "p99 age", "per million")?;
    let step = tuned.front.len().div_ceil(FRONT_LINES_MAX).max(1);
    for one in tuned.front.iter().step_by(step) {
        row(out, &one.settings.to_string(), one, best)?;
    }
    Ok(())
}

fn runs(out: &mut String, tuned: &Tuned) -> fmt::Result {
    if tuned.runs.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nIn real runs, and simulated\n")?;
    writeln!(
        out,
        "  {:<42} {:>17}  {:>19}  {:>19}  {:>19}",
        "", "records/s", "p50 age", "p99 age", "a million"
    )?;
    let cost = |cost: Option<f64>| cost.map_or("-".to_owned(), money);
    for run in &tuned.runs {
        let pair = |real: String, simulated: String| format!("{real} ({simulated})");
        writeln!(
            out,
            "  {:<42} {:>17}  {:>19}  {:>19}  {:>19}{}",
            run.settings.to_string(),
            pair(count(run.real.records_per_s), count(run.simulated.records_per_s)),
            pair(us(run.real.age.p50_us), us(run.simulated.age.p50_us)),
            pair(us(run.real.age.p99_us), us(run.simulated.age.p99_us)),
            pair(cost(run.real.per_million_records), cost(run.simulated.per_million_records)),
            if run.disagreements().is_empty() { "" } else { "  they differ" }
        )?;
    }
    Ok(())
}

fn exhaustive(out: &mut String, tuned: &Tuned) -> fmt::Result {
    let Some(found) = &tuned.exhaustive else { return Ok(()) };
    writeln!(
        out,
        "\nAgainst {} further settings in real runs ({} were left out, as they do not keep up by the simulator)\n",
        found.runs.len(),
        found.left_out
    )?;
    let (Some(best), Some(value)) = (found.best, found.best_value) else {
        let why = if found.kept == 0 {
            "none kept the limits"
        } else {
            "they do not say what is optimised: throughput beyond the traffic's, or cost where invocations fail"
        };
        return writeln!(out, "  {} kept the limits; {why}", found.kept);
    };
    let value = match tuned.wanted.optimise {
        Optimise::Cost => format!("{} {} for a million records", money(value), tuned.prices.currency),
        Optimise::Age | Optimise::Throughput => milliseconds(value / 1e3),
    };
    writeln!(out, "  {} kept the limits; the best of them: {best}, at {value}", found.kept)?;
    match found.behind_share {
        Some(share) if share > 0.0 => {
            writeln!(out, "  the recommended one, in its run: {:.1} % more than that", share * 100.0)
        }
        Some(_) => writeln!(out, "  that is the recommended one"),
        None => writeln!(out, "  the recommended one did not keep them in its run"),
    }
}

fn scaling(out: &mut String, tuned: &Tuned) -> fmt::Result {
    writeln!(
        out,
        "\nIf pollers are scaled by the lag, from the fewest on, with this batch size and window\n"
    )?;
    writeln!(
        out,
        "  {:<16} {:>14} {:>11} {:>15} {:>12} {:>14}",
        "", "pollers", "on average", "records waiting", "p99 age", "a million"
    )?;
    for one in &tuned.scaling {
        let lag = one.seconds.iter().map(|second| second.lag_records).max().unwrap_or(0);
        let most = one.seconds.iter().map(|second| second.pollers).max().unwrap_or(0);
        writeln!(
            out,
            "  {:<16} {:>14} {:>11.1} {:>15} {:>12} {:>10} {}{}",
            one.name,
            // One of AWS's has several invocations under way.
            format!(
                "{} to {most}{}",
                one.pollers_min,
                match one.invocations_per_poller {
                    1 => String::new(),
                    each => format!(" (x {each})"),
                }
            ),
            one.pollers_mean,
            count(lag as f64),
            us(one.age.p99_us),
            money(one.per_million_records),
            tuned.prices.currency,
            if one.caught_up { "" } else { ", and it never caught up" },
        )?;
    }
    Ok(())
}

fn us(us: u64) -> String {
    milliseconds(us as f64 / 1e3)
}

/// Three digits, however small.
#[must_use]
pub fn money(amount: f64) -> String {
    if amount <= 0.0 || amount >= 100.0 {
        return format!("{amount:.2}");
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 12")]
    let decimals = (2.0 - amount.log10().floor()).clamp(2.0, 12.0) as usize;
    format!("{amount:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_has_three_digits() {
        let shown = [0.0, 0.000_081_3, 0.012_34, 1.5, 42.125, 1_234.567].map(money);
        assert_eq!(shown, ["0.00", "0.0000813", "0.0123", "1.50", "42.12", "1234.57"]);
    }
}
