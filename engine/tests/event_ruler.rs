//! Verdicts of event-ruler, AWS's own engine for patterns, held against ours.
//!
//! `filter/event_ruler.tsv` holds a line for each case: the verdict (`yes`, `no`, `refused`), the
//! pattern, the event. It was written by event-ruler 2.0.1 (Maven:
//! `software.amazon.event.ruler:event-ruler`), whose `Machine.rulesForJSONEvent` was asked for each
//! of forty thousand generated pairs, of which a few hundred are kept, and of those that a person would
//! think of. Three of all differed and are left out: in two, `{"exists":false}` stands before a field
//! of the same array element, where event-ruler's answer depends on how the two are called; in one, it
//! no longer takes `z` for anything but `X` in either case once `{"wildcard":"*1"}` stands beside that.

use std::sync::Arc;

use pelton::filter::{Filters, Matcher};
use pelton::ids::{Offset, Partition, Topic};
use pelton::record::{RecordRef, TimestampType};

fn verdict(pattern: &str, event: &str) -> &'static str {
    let Ok(filters) = Filters::parse(&[&format!("{{\"value\":{pattern}}}")]) else { return "refused" };
    let record = RecordRef {
        partition: Partition(0),
        offset: Offset(0),
        timestamp_ms: 0,
        timestamp_type: TimestampType::CreateTime,
        key: None,
        value: Some(event.as_bytes()),
        headers: &[],
    };
    if Matcher::new(Arc::new(filters)).keeps(&Topic::new("t"), &record) { "yes" } else { "no" }
}

#[test]
fn patterns_mean_what_they_mean_to_event_ruler() {
    let cases = include_str!("filter/event_ruler.tsv");
    let mut differences = Vec::new();
    let mut counts = [0; 3];
    for line in cases.lines() {
        let [expected, pattern, event] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let kinds = ["yes", "no", "refused"];
        counts[kinds.iter().position(|kind| *kind == expected).expect("a verdict")] += 1;
        let found = verdict(pattern, event);
        if found != expected {
            differences.push(format!("{expected} there, {found} here: {pattern} on {event}"));
        }
    }
    assert!(counts.iter().all(|count| *count >= 30), "too few of some verdict to say much: {counts:?}");
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
}
