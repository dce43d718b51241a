//! Holds what peers decoded against what is expected of them.

use super::cases::{Exception, Expectations, from_hex, hex};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What one peer made of the events.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Dump {
    pub(crate) peer: String,
    /// By the event's name.
    pub(crate) events: BTreeMap<String, Reading>,
}

/// What a peer made of one event.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reading {
    /// The normal form of what it decoded.
    Decoded(Value),
    /// It refused the event with this message.
    Rejected(String),
}

/// The outcome for one peer.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// Events read as expected of all.
    pub(crate) as_expected: usize,
    /// Events read or refused as a documented exception says: `case: because`.
    pub(crate) exceptions: Vec<String>,
    /// What is wrong, each a line or more.
    pub(crate) failures: Vec<String>,
}

/// Differences that are told of one event.
const DIFFERENCES_MAX: usize = 5;
/// Characters of a value or a message that are told.
const TOLD_MAX: usize = 200;

/// Judges `dump`.
pub(crate) fn judge(expectations: &Expectations, dump: &Dump) -> Verdict {
    let mut verdict = Verdict::default();
    for (event, reading) in &dump.events {
        let Some(case) = expectations.case(event) else {
            verdict.failures.push(format!("{event}: expected.json has no such case"));
            continue;
        };
        let exception = expectations
            .exceptions
            .iter()
            .find(|exception| exception.peer == dump.peer && exception.cases.contains(&case.name));
        let expected = case.expected();
        match (exception, wrong(&expected, exception, reading)) {
            (_, Some(wrong)) => verdict.failures.push(format!("{event}: {wrong}")),
            (None, None) => verdict.as_expected += 1,
            (Some(exception), None) => verdict.exceptions.push(format!("{event}: {}", exception.because)),
        }
    }
    for missing in events(expectations).iter().filter(|event| !dump.events.contains_key(*event)) {
        verdict.failures.push(format!("{missing}: the peer was not asked, or has not answered"));
    }
    verdict
}

/// The names of all events that a peer must be asked about.
fn events(expectations: &Expectations) -> BTreeSet<String> {
    expectations.cases.iter().map(|case| case.name.clone()).collect()
}

/// What is wrong with the reading of one event, if anything.
fn wrong(expected: &Value, exception: Option<&Exception>, reading: &Reading) -> Option<String> {
    let Some(exception) = exception else {
        return match reading {
            Reading::Rejected(message) => Some(format!("refused: {}", told(message))),
            Reading::Decoded(decoded) => differences(expected, decoded),
        };
    };
    match (&exception.rejects, reading) {
        (Some(part), Reading::Rejected(message)) => (!message.contains(part.as_str()))
            .then(|| format!("refused as expected, but not with {part:?}: {}", told(message))),
        (Some(part), Reading::Decoded(_)) => {
            Some(format!("accepted, though the exception says {part:?}: delete it from expected.json"))
        }
        (None, Reading::Rejected(message)) => Some(format!("refused: {}", told(message))),
        (None, Reading::Decoded(decoded)) => match instead(expected, exception) {
            Ok(instead) => differences(&instead, decoded),
            Err(pointer) => Some(format!("the exception's {pointer} changes nothing: delete it")),
        },
    }
}

/// What `exception` says that is read, or its pointer that has no place or no effect.
fn instead<'e>(expected: &Value, exception: &'e Exception) -> Result<Value, &'e str> {
    let mut instead = expected.clone();
    let texts = exception.reads_as_text.iter().map(|pointer| {
        let bytes = expected.pointer(pointer).and_then(Value::as_str).map(from_hex).unwrap_or_default();
        (pointer, Value::String(hex(String::from_utf8_lossy(&bytes).as_bytes())))
    });
    let values = exception.reads.iter().map(|(pointer, value)| (pointer, value.clone()));
    for (pointer, value) in values.chain(texts) {
        match instead.pointer_mut(pointer) {
            Some(place) if *place != value => *place = value,
            _ => return Err(pointer),
        }
    }
    Ok(instead)
}

/// What is wrong with the exceptions themselves.
pub(crate) fn bad_exceptions(expectations: &Expectations, known_peers: &[&str]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for exception in &expectations.exceptions {
        let peer = &exception.peer;
        if !known_peers.contains(&peer.as_str()) {
            wrong.push(format!("an exception is for {peer}, which is no peer"));
        }
        if exception.rejects.is_some() == (exception.reads.len() + exception.reads_as_text.len() > 0) {
            wrong.push(format!(
                "an exception for {peer} must have either `rejects` or `reads` and `reads_as_text`"
            ));
        }
        for case in &exception.cases {
            if expectations.case(case).is_none() {
                wrong.push(format!("an exception for {peer} is about {case}, which is no case"));
            }
            if !seen.insert((peer, case)) {
                wrong.push(format!("two exceptions for {peer} are about {case}"));
            }
        }
    }
    wrong
}

/// The first differences, by JSON pointer.
fn differences(expected: &Value, decoded: &Value) -> Option<String> {
    let mut found = Vec::new();
    walk("", expected, decoded, &mut found);
    let more = found.len().saturating_sub(DIFFERENCES_MAX);
    found.truncate(DIFFERENCES_MAX);
    if more > 0 {
        found.push(format!("and {more} more"));
    }
    (!found.is_empty()).then(|| found.join("; "))
}

fn walk(pointer: &str, expected: &Value, decoded: &Value, found: &mut Vec<String>) {
    match (expected, decoded) {
        (Value::Object(expected), Value::Object(decoded)) => {
            let names: BTreeSet<&String> = expected.keys().chain(decoded.keys()).collect();
            for name in names {
                let [one, other] = [expected, decoded].map(|object| object.get(name).unwrap_or(&ABSENT));
                let escaped = name.replace('~', "~0").replace('/', "~1");
                walk(&format!("{pointer}/{escaped}"), one, other, found);
            }
        }
        (Value::Array(expected), Value::Array(decoded)) if expected.len() == decoded.len() => {
            for (at, (one, other)) in expected.iter().zip(decoded).enumerate() {
                walk(&format!("{pointer}/{at}"), one, other, found);
            }
        }
        _ if expected == decoded => {}
        _ => {
            let [read, wanted] = [decoded, expected].map(Value::to_string);
            let same = read.bytes().zip(wanted.bytes()).take_while(|(one, other)| one == other).count();
            let [read, wanted] = [read, wanted].map(|text| told_near(&text, same));
            found.push(format!("{pointer} reads {read}, expected {wanted}"));
        }
    }
}

static ABSENT: Value = Value::Null;

/// On one line, and not too long.
fn told(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(TOLD_MAX) {
        Some((end, _)) => format!("{}… ({} B)", &line[..end], text.len()),
        None => line,
    }
}

/// What stands around byte `at` of a text that is too long to be told.
fn told_near(text: &str, at: usize) -> String {
    let from = if text.len() > TOLD_MAX { at.saturating_sub(TOLD_MAX / 4) } else { 0 };
    let from = text.floor_char_boundary(from);
    if from == 0 { told(text) } else { format!("…{} (from character {from})", told(&text[from..])) }
}
