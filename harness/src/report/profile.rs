//! A profile on a terminal.

use std::fmt::{self, Write};

use super::findings::{findings, nanos, percent, times};
use crate::profile::counters::Counting;
use crate::profile::result::{Profile, StageFloor, StageReport};

/// The report of one profile. Ends with a new line.
#[must_use]
pub fn report(profile: &Profile) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut text, profile);
    text
}

fn write(out: &mut String, profile: &Profile) -> fmt::Result {
    let machine = &profile.machine;
    writeln!(out, "\n{}: {}; {}", profile.name, profile.source, profile.function)?;
    write!(
        out,
        "{}, {} cores, Linux {}, encoder {}",
        machine.cpu, machine.cores, machine.kernel, profile.tier
    )?;
    if !machine.commit.is_empty() {
        write!(out, ", commit {}", machine.commit)?;
    }
    writeln!(out, "\n")?;
    for finding in findings(profile) {
        writeln!(out, "  {finding}")?;
    }
    stages(out, profile)?;
    certainty(out, profile)?;
    if !profile.remarks.is_empty() {
        writeln!(out, "\nRemarks")?;
        for remark in &profile.remarks {
            writeln!(out, "  {remark}")?;
        }
    }
    Ok(())
}

fn stages(out: &mut String, profile: &Profile) -> fmt::Result {
    writeln!(
        out,
        "\n{:<18}{:>11}{:>18}{:>11}{:>12}{:>11}  floor is",
        "Stage (CPU)", "per record", "share", "per byte", "floor", "distance"
    )?;
    for stage in &profile.stages {
        match &stage.unused {
            Some(why) => writeln!(out, "  {:<16}{:>11}  {why}", stage.stage.name(), "-")?,
            None => row(out, stage)?,
        }
    }
    writeln!(
        out,
        "  {:<16}{:>11}{:>18}",
        "all",
        nanos(profile.cpu_ns_per_record),
        percent(profile.stages.iter().map(|stage| stage.share).sum())
    )
}

fn row(out: &mut String, stage: &StageReport) -> fmt::Result {
    let per_byte =
        stage.bytes.as_ref().map_or_else(String::new, |bytes| format!("{:.3} ns", bytes.cpu_ns_per_byte));
    let (floor, what) = match &stage.floor {
        StageFloor::Measured(floor) => (nanos(floor.ns_per_record), floor.what.as_str()),
        StageFloor::Nothing => ("0".to_owned(), "nothing: all of it is overhead"),
        StageFloor::Unknown(why) => ("-".to_owned(), why.as_str()),
    };
    writeln!(
        out,
        "  {:<16}{:>11}{:>18}{:>11}{:>12}{:>11}  {what}",
        stage.stage.name(),
        nanos(stage.cpu_ns_per_record),
        format!("{} ± {}", percent(stage.share), percent(stage.share_error)),
        per_byte,
        floor,
        stage.distance.map_or_else(String::new, times),
    )
}

fn certainty(out: &mut String, profile: &Profile) -> fmt::Result {
    writeln!(out, "\nHow sure is this")?;
    for line in certain(profile) {
        writeln!(out, "  {line}")?;
    }
    Ok(())
}

/// What speaks for the figures, in sentences.
#[must_use]
pub fn certain(profile: &Profile) -> Vec<String> {
    let (agreement, sampling) = (&profile.agreement, &profile.sampling);
    let mut lines = vec![format!(
        "{} samples, one per {:.0} µs of a thread's CPU time at most. They stand for {:.1} % of what the threads' \
         CPU clocks say.",
        sampling.samples,
        sampling.interval_us,
        100.0 * sampling.covered_share
    )];
    if agreement.pairs > 0 {
        lines.push(format!(
            "Sampling was switched on and off in turns: {} a record without it, {} with it ({:+.1} %; in {} \
             neighbouring pairs {:+.1} % at the median, half of them between {:+.1} % and {:+.1} %).",
            nanos(agreement.plain_cpu_ns_per_record),
            nanos(agreement.profiled_cpu_ns_per_record),
            100.0 * (agreement.ratio - 1.0),
            agreement.pairs,
            100.0 * (agreement.ratio_median - 1.0),
            100.0 * (agreement.ratio_quartile_low - 1.0),
            100.0 * (agreement.ratio_quartile_high - 1.0),
        ));
    }
    match &profile.counting {
        Counting::Refused(why) => lines.push(format!("Hardware counters: none. {why}")),
        Counting::Counted(counts) => lines.extend(counts.iter().map(|counts| {
            format!(
                "Hardware counters, {}, user mode, per record: {:.0} instructions, {:.0} cycles, {:.2} cache misses.",
                counts.threads.name(),
                counts.instructions_per_record,
                counts.cycles_per_record,
                counts.cache_misses_per_record
            )
        })),
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::super::findings::tests::profile;
    use super::*;

    #[test]
    fn the_text_has_every_stage_and_every_remark() {
        let text = report(&profile());
        for expected in
            ["poll", "not used <here>", "hand-over", "nothing: all of it", "mind <this>", "no <counters>"]
        {
            assert!(text.contains(expected), "{expected}\n{text}");
        }
        assert!(text.ends_with('\n'));
    }
}
