//! The verdict: as data, as a page of text, as Markdown.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use super::audit::MappingVerdict;
use super::fleet::Ends;
use super::side::Side;

/// The format of the JSON; raised when a field changes its meaning.
pub const VERSION: u32 = 1;

/// Something that happened, and when.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Happening {
    /// In milliseconds after the start.
    pub at_ms: u64,
    /// What.
    pub what: String,
}

/// A mapping in the end.
#[derive(Clone, Debug, serde::Serialize)]
pub struct MappingResult {
    /// Its audit.
    pub audit: MappingVerdict,
    /// Records that the function failed on each time.
    pub poisoned: u64,
    /// Its engines.
    pub engines: Ends,
}

/// What a run of chaos came to.
#[derive(Clone, Debug, serde::Serialize)]
pub struct ChaosVerdict {
    /// [`VERSION`].
    pub version: u32,
    /// The version of Apache Kafka.
    pub kafka: String,
    /// Repeats the plan.
    pub seed: u64,
    /// How long things were to be done, in milliseconds.
    pub plan_ms: u64,
    /// How long the run took, in milliseconds.
    pub run_ms: u64,
    /// Whether a mapping with partial responses, bisecting and an on-failure topic took part.
    pub partial_responses: bool,
    /// Whether everything was done and committed in the end.
    pub finished: bool,
    /// Steps of the plan.
    pub steps: u64,
    /// What was done, and how often.
    pub counts: BTreeMap<String, u64>,
    /// How the function answered, and how often.
    pub answers: BTreeMap<String, u64>,
    /// The mappings.
    pub mappings: Vec<MappingResult>,
    /// What was done beside them.
    pub sides: Vec<Side>,
    /// What the memory of an engine may reach, in bytes: its budget and a process's fixed part.
    pub rss_bytes_max: u64,
    /// Everything that was done, in order.
    pub happened: Vec<Happening>,
}

impl ChaosVerdict {
    /// Whether everything that must hold holds.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.finished
            && self.sides.iter().all(|side| side.ok)
            && self.mappings.iter().all(|mapping| {
                mapping.audit.is_clean() && mapping.engines.rss_peak_bytes <= self.rss_bytes_max
            })
    }

    fn sum(&self, of: impl Fn(&MappingVerdict) -> u64) -> u64 {
        self.mappings.iter().map(|mapping| of(&mapping.audit)).sum()
    }

    /// The one line that matters.
    fn headline(&self) -> String {
        let word = if self.is_clean() { "CLEAN" } else { "FAILED" };
        format!(
            "{word}: {} records: {} lost, {} order violations, {} of {} repeats unexplained",
            count(self.sum(|audit| audit.produced)),
            count(self.sum(|audit| audit.lost)),
            count(self.sum(|audit| audit.order_violations)),
            count(self.sum(|audit| audit.unexplained)),
            count(self.sum(|audit| audit.unexplained + audit.again.values().sum::<u64>())),
        )
    }
}

/// Kills that the page lists one by one; all are summed up, and the JSON has all.
const KILLS_SHOWN_MAX: usize = 12;

/// One page of text. Ends with a new line.
#[must_use]
pub fn page(verdict: &ChaosVerdict) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write_page(&mut text, verdict);
    text
}

fn write_page(out: &mut String, verdict: &ChaosVerdict) -> fmt::Result {
    writeln!(out, "{}", verdict.headline())?;
    writeln!(
        out,
        "seed {}, plan of {} s, run of {} s, Apache Kafka {}",
        verdict.seed,
        verdict.plan_ms / 1_000,
        verdict.run_ms / 1_000,
        verdict.kafka
    )?;
    if !verdict.partial_responses {
        writeln!(out, "this engine has no destination_config: partial responses were left out")?;
    }
    if !verdict.finished {
        writeln!(out, "NOT FINISHED: in the end nothing moved any more, and not everything was committed")?;
    }
    section(out, "What was done")?;
    for (what, times) in &verdict.counts {
        writeln!(out, "  {what:<34} {times:>8}")?;
    }
    section(out, "How the function answered")?;
    for (what, times) in &verdict.answers {
        writeln!(out, "  {what:<34} {:>8}", count(*times))?;
    }
    for mapping in &verdict.mappings {
        write_mapping(out, mapping, verdict.rss_bytes_max)?;
    }
    write_kills(out, verdict)?;
    section(out, "Beside")?;
    for side in &verdict.sides {
        writeln!(out, "  {} {}: {}", if side.ok { "ok    " } else { "FAILED" }, side.what, side.how)?;
    }
    Ok(())
}

fn write_mapping(out: &mut String, mapping: &MappingResult, rss_bytes_max: u64) -> fmt::Result {
    let audit = &mapping.audit;
    let engines = &mapping.engines;
    section(out, &format!("Mapping `{}`", audit.mapping))?;
    let mut line =
        |what: &str, number: u64, more: &str| writeln!(out, "  {what:<34} {:>12}{more}", count(number));
    line("records produced", audit.produced, "")?;
    line("taken by the function", audit.done, "")?;
    if mapping.poisoned > 0 || audit.dead_lettered > 0 {
        let more =
            format!("  ({} were poisoned, {} taken too)", mapping.poisoned, audit.dead_lettered_and_done);
        line("in the on-failure topic", audit.dead_lettered, &more)?;
        line("  repeated there", audit.dead_lettered_again, "")?;
    }
    line("lost", audit.lost, bad(audit.lost))?;
    line("order violations", audit.order_violations, bad(audit.order_violations))?;
    line("commits back, or past the undone", audit.commits_wrong, bad(audit.commits_wrong))?;
    line("foreign or malformed", audit.foreign + audit.malformed, bad(audit.foreign + audit.malformed))?;
    line("deliveries", audit.deliveries, &format!("  in {} invocations", count(audit.invocations)))?;
    line("delivered again, unexplained", audit.unexplained, bad(audit.unexplained))?;
    for (why, times) in &audit.again {
        line(&format!("  {why}"), *times, "")?;
    }
    let more = format!(" ms, from {} s on", audit.longest_stall_at_ms / 1_000);
    line("longest without progress", audit.longest_stall_ms, &more)?;
    let over = if engines.rss_peak_bytes > rss_bytes_max { "  <-- TOO MUCH" } else { "" };
    let more = format!(" MiB of {} MiB{over}", rss_bytes_max >> 20);
    line("largest memory of an engine", engines.rss_peak_bytes >> 20, &more)?;
    let more = format!(
        " started, {} drained, {} stopped otherwise, {} met no broker",
        engines.drained, engines.stopped_otherwise, engines.no_broker
    );
    line("engines", engines.started, &more)?;
    for finding in &audit.findings {
        let place = match (finding.partition, finding.offset) {
            (Some(partition), Some(offset)) => format!("[{partition}]@{offset} "),
            _ => String::new(),
        };
        writeln!(out, "  !! at {} ms: {place}{}", finding.at_ms, finding.what)?;
    }
    Ok(())
}

fn write_kills(out: &mut String, verdict: &ChaosVerdict) -> fmt::Result {
    let kills: Vec<_> = verdict.mappings.iter().flat_map(|mapping| &mapping.audit.kills).collect();
    section(out, "Kills: delivered twice, of those in flight + since the last commit")?;
    for kill in kills.iter().take(KILLS_SHOWN_MAX) {
        writeln!(
            out,
            "  {:<8} at {:>5} s  {:>7} of {:>7} = {} of {} + {} of {}{}",
            kill.mapping,
            kill.at_ms / 1_000,
            count(kill.twice()),
            count(kill.bound()),
            kill.again_in_flight,
            kill.in_flight,
            kill.again_since_commit,
            kill.since_commit,
            if kill.twice() > kill.bound() { "  <-- TOO MANY" } else { "" }
        )?;
    }
    if kills.len() > KILLS_SHOWN_MAX {
        writeln!(out, "  ... {} more, in the JSON", kills.len() - KILLS_SHOWN_MAX)?;
    }
    let sum = |of: fn(&super::KillCount) -> u64| kills.iter().map(|kill| of(kill)).sum::<u64>();
    writeln!(
        out,
        "  {} kills: {} of {} = {} of {} + {} of {}",
        kills.len(),
        count(sum(super::KillCount::twice)),
        count(sum(super::KillCount::bound)),
        count(sum(|kill| kill.again_in_flight)),
        count(sum(|kill| kill.in_flight)),
        count(sum(|kill| kill.again_since_commit)),
        count(sum(|kill| kill.since_commit)),
    )
}

/// The page and the log of what was done, as Markdown.
#[must_use]
pub fn markdown(verdict: &ChaosVerdict) -> String {
    let mut text = format!("# Chaos: {}\n\n```text\n{}```\n\n", verdict.headline(), page(verdict));
    text.push_str("## What happened\n\n| s | |\n| ---: | --- |\n");
    for happening in &verdict.happened {
        let what = happening.what.replace('|', "\\|");
        // Writing to a string does not fail.
        let _ = writeln!(text, "| {}.{} | {what} |", happening.at_ms / 1_000, happening.at_ms % 1_000 / 100);
    }
    text
}

fn section(out: &mut String, title: &str) -> fmt::Result {
    writeln!(out, "\n{title}")
}

const fn bad(number: u64) -> &'static str {
    if number == 0 { "" } else { "  <-- MUST BE 0" }
}

/// 1,234,567.
fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
