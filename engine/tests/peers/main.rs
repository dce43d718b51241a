//! Third-party event classes read what the engine writes. Here the Rust one, and the kit itself;
//! `scripts/peers` asks the classes of the other languages (README.md beside this file).

mod cases;
mod compare;
mod emit;
mod rust;

use cases::{Case, Expectations};
use compare::{Dump, Reading, judge};
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn events(expectations: &Expectations) -> BTreeMap<String, Vec<u8>> {
    let directory = tempfile::tempdir().expect("a directory");
    let written = emit::write_all(expectations, directory.path()).expect("written");
    let events = cases::read_events(directory.path()).expect("read back");
    assert_eq!(events.len(), written);
    events
}

#[test]
fn the_rust_class_reads_what_the_engine_writes() {
    let expectations = Expectations::load();
    let verdict = judge(&expectations, &rust::decode(&events(&expectations)));
    assert!(verdict.failures.is_empty(), "\n{}\n", verdict.failures.join("\n"));
    assert!(verdict.as_expected >= 20);
}

#[test]
fn every_exception_is_about_a_peer_and_a_case() {
    assert_eq!(compare::bad_exceptions(&Expectations::load(), &cases::PEERS), [""; 0]);
}

#[test]
fn the_contract_example_is_written_as_aws_prints_it() {
    let expectations = Expectations::load();
    let case = expectations.case("contract").expect("a case");
    assert_eq!(
        String::from_utf8(emit::event(case)).expect("an event is UTF-8"),
        concat!(
            r#"{"eventSource":"SelfManagedKafka","bootstrapServers":"host1:9092,host2:9092","#,
            r#""records":{"mytopic-0":[{"topic":"mytopic","partition":0,"offset":15,"#,
            r#""timestamp":1545084650987,"timestampType":"CREATE_TIME","key":"cmVjb3JkS2V5","#,
            r#""value":"eyJrZXkiOiJ2YWx1ZSJ9","headers":[{"headerKey":"#,
            r#"[104,101,97,100,101,114,86,97,108,117,101]}]}]}}"#,
        )
    );
}

/// What the kit says of the Rust class after `change` to the event of one case.
fn failures_after(case: &str, change: impl FnOnce(&mut Value)) -> Vec<String> {
    let expectations = Expectations::load();
    let case: &Case = expectations.case(case).expect("a case");
    let mut event: Value = serde_json::from_slice(&emit::event(case)).expect("an event is JSON");
    change(&mut event);
    let changed = BTreeMap::from([(case.name.clone(), serde_json::to_vec(&event).expect("JSON"))]);
    judge(&expectations, &rust::decode(&changed))
        .failures
        .into_iter()
        .filter(|failure| failure.starts_with(&format!("{}: ", case.name)))
        .collect()
}

#[test]
fn a_wrong_event_is_found() {
    type Change = (&'static str, &'static str, Value, &'static str);
    let changes: [Change; 9] = [
        ("contract", "/records/mytopic-0/0/offset", json!(16), "/records/mytopic-0/0/offset reads 16"),
        ("contract", "/records/mytopic-0/0/timestamp", json!(1), "timestamp_ms reads 1"),
        ("contract", "/records/mytopic-0/0/value", json!("eyJrZXkiOiJ2YWx1ZSJ8"), "value reads"),
        ("contract", "/records/mytopic-0/0/value", json!("eyJrZXkiOiJ2YWx1ZSJ"), "refused"),
        ("contract", "/records/mytopic-0/0/headers", json!([]), "headers reads []"),
        ("contract", "/records/mytopic-0/0/headers", Value::Null, "refused"),
        ("signed_header_bytes", "/records/orders-0/0/headers/1/lowest", json!([128]), "refused"),
        ("signed_header_bytes", "/records/orders-0/0/headers/1/lowest", json!([-127]), "headers/1/1 reads"),
        ("null_key", "/records/orders-0/0", json!({"topic": "orders"}), "refused"),
    ];
    for (case, pointer, value, expected) in changes {
        let found = failures_after(case, |event| {
            *event.pointer_mut(pointer).unwrap_or_else(|| panic!("{case} has {pointer}")) = value;
        });
        assert!(found.len() == 1 && found[0].contains(expected), "{case} {pointer}: {found:?}");
    }
}

#[test]
fn a_null_that_reads_as_empty_is_found() {
    let found = failures_after("null_key", |event| event["records"]["orders-0"][0]["key"] = json!(""));
    assert!(found.len() == 1 && found[0].contains("key reads \"\", expected null"), "{found:?}");
}

#[test]
fn an_exception_that_is_not_needed_and_an_answer_that_is_not_there_are_found() {
    let mut expectations = Expectations::load();
    expectations.exceptions = serde_json::from_value(json!([
        {"peer": "x", "cases": ["contract"], "rejects": "no", "because": ""},
        {"peer": "x", "cases": ["msk"], "reads": {"/records/mytopic-0/0/offset": 15}, "because": ""},
        {"peer": "x", "cases": ["null_key"], "reads": {"/records/orders-0/0/key": ""}, "because": ""},
        {"peer": "x", "cases": ["tombstone"], "rejects": "value", "because": ""},
    ]))
    .expect("exceptions");
    let read = |case: &str| Reading::Decoded(expectations.case(case).expect("a case").expected());
    let dump = Dump {
        peer: "x".to_owned(),
        events: BTreeMap::from([
            ("contract".to_owned(), read("contract")),
            ("msk".to_owned(), read("msk")),
            ("null_key".to_owned(), read("null_key")),
            ("tombstone".to_owned(), Reading::Rejected("missing field: value".to_owned())),
            ("unheard_of".to_owned(), read("contract")),
        ]),
    };
    let verdict = judge(&expectations, &dump);
    let told = verdict.failures.join("\n");
    for expected in [
        "contract: accepted, though the exception says \"no\"",
        "msk: the exception's /records/mytopic-0/0/offset changes nothing",
        "null_key: /records/orders-0/0/key reads null, expected \"\"",
        "unheard_of: expected.json has no such case",
        "no_headers: the peer was not asked",
    ] {
        assert!(told.contains(expected), "{expected:?} is not in\n{told}");
    }
    assert_eq!((verdict.as_expected, verdict.exceptions.len()), (0, 1));
}
