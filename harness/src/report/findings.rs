//! What a profile says, in sentences.

use std::fmt::Write as _;

use crate::profile::result::{Profile, StageFloor, StageReport};
use crate::profile::stages::Stage;

/// The answers to *where does my CPU time go, and how far is it from the limit?*, most important
/// first.
#[must_use]
pub fn findings(profile: &Profile) -> Vec<String> {
    let mut findings = vec![cost(profile)];
    findings.extend(most(profile));
    findings.extend(encoding(profile));
    findings.extend(distance(profile));
    findings.extend(gap(profile));
    findings
}

/// Below this a stage is as fast as can be measured.
const AT_THE_LIMIT: f64 = 1.1;

fn cost(profile: &Profile) -> String {
    let per_core = if profile.cpu_ns_per_record > 0.0 { 1e9 / profile.cpu_ns_per_record } else { 0.0 };
    format!(
        "Each record costs the engine {} of CPU time: one core would deliver {} records a second.",
        nanos(profile.cpu_ns_per_record),
        count(per_core)
    )
}

fn most(profile: &Profile) -> Option<String> {
    let mut used: Vec<&StageReport> = profile.stages.iter().filter(|stage| stage.unused.is_none()).collect();
    used.sort_by(|one, other| other.share.total_cmp(&one.share));
    let first = used.first()?;
    let mut text = format!("{} of it goes to {}", percent(first.share), aim(first.stage));
    match first.distance {
        Some(distance) if distance < AT_THE_LIMIT => text.push_str(", which is at its limit"),
        Some(distance) => {
            let _ = write!(text, ", {} its floor", times(distance));
        }
        None => {}
    }
    let next: Vec<String> = used[1..]
        .iter()
        .take(2)
        .filter(|stage| stage.share >= 0.01)
        .map(|stage| format!("{} to {}", percent(stage.share), aim(stage.stage)))
        .collect();
    if !next.is_empty() {
        text.push_str("; then ");
        text.push_str(&next.join(" and "));
    }
    text.push('.');
    Some(text)
}

/// All of encoding, whichever its parts.
fn encoding(profile: &Profile) -> Option<String> {
    let parts = || {
        profile.stages.iter().filter(|stage| stage.stage.merged() == Stage::Encode && stage.unused.is_none())
    };
    let share: f64 = parts().map(|stage| stage.share).sum();
    let ns: f64 = parts().map(|stage| stage.cpu_ns_per_record).sum();
    if ns == 0.0 {
        return None;
    }
    let floors: Option<f64> = parts().map(floor_ns).sum();
    let mut text = format!(
        "Encoding (base64, headers, the rest of the JSON) takes {}, {} a record",
        percent(share),
        nanos(ns)
    );
    if let Some(floor) = floors.filter(|floor| *floor > 0.0) {
        let _ = write!(
            text,
            ": {} what it takes to move the same bytes without any work ({})",
            times(ns / floor),
            nanos(floor)
        );
    }
    text.push('.');
    Some(text)
}

fn distance(profile: &Profile) -> Option<String> {
    let distance = profile.distance?;
    let unknown = profile.stages.iter().any(|stage| {
        matches!(stage.floor, StageFloor::Unknown(_)) && stage.stage == Stage::Poll && stage.unused.is_none()
    });
    let without = if unknown { ", reading not counted" } else { "" };
    Some(format!(
        "The least that this machine needs for the same work was measured too: {} a record{without}. The engine \
         takes {} that.",
        nanos(profile.floor_ns_per_record),
        times(distance),
    ))
}

/// Where there is most to be won.
fn gap(profile: &Profile) -> Option<String> {
    let above = |stage: &StageReport| match &stage.floor {
        StageFloor::Measured(floor) => stage.cpu_ns_per_record - floor.ns_per_record,
        StageFloor::Nothing => stage.cpu_ns_per_record,
        StageFloor::Unknown(_) => 0.0,
    };
    let widest = profile
        .stages
        .iter()
        .filter(|stage| stage.unused.is_none())
        .max_by(|one, other| above(one).total_cmp(&above(other)))?;
    let gap = above(widest);
    if gap <= 0.0 || profile.distance.is_none() {
        return None;
    }
    Some(format!(
        "Most is to be won in {}: {} a record above its floor, {} of everything.",
        aim(widest.stage),
        nanos(gap),
        percent(gap / profile.cpu_ns_per_record)
    ))
}

fn floor_ns(stage: &StageReport) -> Option<f64> {
    match &stage.floor {
        StageFloor::Measured(floor) => Some(floor.ns_per_record),
        StageFloor::Nothing => Some(0.0),
        StageFloor::Unknown(_) => None,
    }
}

/// A stage as the aim of time that goes there.
const fn aim(stage: Stage) -> &'static str {
    match stage {
        Stage::Poll => "reading from Kafka (poll)",
        Stage::Filter => "matching filters",
        Stage::Encode => "encoding",
        Stage::Base64 => "base64",
        Stage::Headers => "writing headers",
        Stage::Json => "the rest of the JSON",
        Stage::Batch => "keeping batches",
        Stage::HandOver => "the hand-over to the invocation side",
        Stage::Gather => "gathering payloads",
        Stage::Send => "sending",
        Stage::Commit => "commits",
        Stage::Loop => "the consumer's loop",
        Stage::Harness => "this harness's own part",
        Stage::Unknown => "code that could not be assigned",
    }
}

/// A time per record.
#[must_use]
pub fn nanos(ns: f64) -> String {
    match ns.abs() {
        ns_abs if ns_abs >= 10_000.0 => format!("{:.1} µs", ns / 1_000.0),
        ns_abs if ns_abs >= 100.0 => format!("{ns:.0} ns"),
        ns_abs if ns_abs >= 10.0 => format!("{ns:.1} ns"),
        _ => format!("{ns:.2} ns"),
    }
}

/// A share as a percentage.
#[must_use]
pub fn percent(share: f64) -> String {
    let percent = 100.0 * share;
    if percent.abs() >= 10.0 { format!("{percent:.0} %") } else { format!("{percent:.1} %") }
}

/// A ratio.
#[must_use]
pub fn times(ratio: f64) -> String {
    match ratio {
        ratio if ratio >= 100.0 => format!("{ratio:.0} times"),
        ratio if ratio >= 10.0 => format!("{ratio:.1} times"),
        _ => format!("{ratio:.2} times"),
    }
}

/// A number for people.
#[must_use]
pub fn count(number: f64) -> String {
    match number {
        number if number >= 1e9 => format!("{:.2} billion", number / 1e9),
        number if number >= 1e6 => format!("{:.2} million", number / 1e6),
        number if number >= 10_000.0 => format!("{:.0} thousand", number / 1e3),
        _ => format!("{number:.0}"),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::measure::machine::Machine;
    use crate::profile::counters::Counting;
    use crate::profile::floors::Floor;
    use crate::profile::result::{Agreement, Sampling, StageBytes, ThreadReport, Traffic, VERSION};
    use crate::profile::stages::ThreadKind;
    use crate::profile::symbols::Detail;
    use crate::workload::spec::Spec;

    pub(crate) fn stage(stage: Stage, ns: f64, share: f64, floor: StageFloor) -> StageReport {
        let measured = match &floor {
            StageFloor::Measured(floor) => Some(floor.ns_per_record),
            _ => None,
        };
        StageReport {
            stage,
            unused: (ns == 0.0).then(|| "not used <here>".to_owned()),
            cpu_ns_per_record: ns,
            share,
            share_error: 0.01,
            samples: 100,
            bytes: Some(StageBytes {
                of: "key and value".into(),
                bytes_per_record: 100.0,
                cpu_ns_per_byte: ns / 100.0,
                bytes_per_cycle: None,
            }),
            floor,
            distance: measured.map(|floor| ns / floor),
        }
    }

    pub(crate) fn floor(ns_per_record: f64) -> StageFloor {
        StageFloor::Measured(Floor { ns_per_record, what: "a copy".into() })
    }

    pub(crate) fn profile() -> Profile {
        Profile {
            version: VERSION,
            name: "<script>alert(1)</script>".into(),
            spec: Spec::default(),
            command: "pelton-harness profile --topic '<b>'".into(),
            source: "topic <b>&\"x\" on a:1".into(),
            function: "a stub".into(),
            machine: Machine { cpu: "A <fast> CPU".into(), optimized: true, ..Machine::default() },
            tier: "avx2".into(),
            started_at_unix_ms: 0,
            interrupted: false,
            traffic: Traffic::default(),
            cpu_ns_per_record: 500.0,
            floor_ns_per_record: 320.0,
            distance: Some(1.5),
            stages: vec![
                stage(Stage::Poll, 300.0, 0.6, floor(290.0)),
                stage(Stage::Filter, 0.0, 0.0, StageFloor::Unknown("none".into())),
                stage(Stage::Base64, 40.0, 0.08, floor(20.0)),
                stage(Stage::Json, 20.0, 0.04, floor(10.0)),
                stage(Stage::HandOver, 120.0, 0.24, StageFloor::Nothing),
                stage(Stage::Harness, 20.0, 0.04, StageFloor::Unknown("no part".into())),
            ],
            threads: vec![ThreadReport {
                kind: ThreadKind::Consumer,
                threads: 1,
                cpu_ns_per_record: 500.0,
                share: 1.0,
            }],
            agreement: Agreement::default(),
            sampling: Sampling::default(),
            counting: Counting::Refused("no <counters>".into()),
            symbols: Detail::Inlined,
            alone: vec![Floor { ns_per_record: 9.0, what: "memcpy".into() }],
            remarks: vec!["mind <this>".into()],
        }
    }

    #[test]
    fn a_profile_answers_in_sentences() {
        let text = findings(&profile()).join("\n");
        for expected in [
            "500 ns of CPU time: one core would deliver 2.00 million",
            "60 % of it goes to reading from Kafka (poll), which is at its limit; then 24 % to the hand-over",
            "takes 12 %, 60.0 ns a record: 2.00 times",
            "320 ns a record. The engine takes 1.50 times that",
            "Most is to be won in the hand-over to the invocation side: 120 ns a record above its floor, 24 %",
        ] {
            assert!(text.contains(expected), "{expected}\n{text}");
        }
    }

    #[test]
    fn without_floors_nothing_is_claimed_about_limits() {
        let mut profile = profile();
        profile.distance = None;
        for stage in &mut profile.stages {
            stage.floor = StageFloor::Unknown("not asked for".into());
        }
        let text = findings(&profile).join("\n");
        assert!(!text.contains("times") && !text.contains("won"), "{text}");
    }

    #[test]
    fn numbers_keep_three_digits() {
        assert_eq!(
            [nanos(3.456), nanos(34.56), nanos(345.6), nanos(34_560.0)],
            ["3.46 ns", "34.6 ns", "346 ns", "34.6 µs"]
        );
        assert_eq!([percent(0.0123), percent(0.123)], ["1.2 %", "12 %"]);
        assert_eq!([count(999.0), count(12_345.0), count(1.5e6)], ["999", "12 thousand", "1.50 million"]);
        assert_eq!(times(1.234), "1.23 times");
    }
}
