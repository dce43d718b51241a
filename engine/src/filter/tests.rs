//! What passes and what does not.

use std::sync::Arc;

use super::{Filters, Form, Matcher, Outcome};
use crate::ids::{Offset, Partition, Topic};
use crate::record::{Header, RecordRef, TimestampType};

pub(super) fn record(value: Option<&[u8]>) -> RecordRef<'_> {
    RecordRef {
        partition: Partition(3),
        offset: Offset(42),
        timestamp_ms: 1_545_084_650_987,
        timestamp_type: TimestampType::CreateTime,
        key: Some(b"customer-7"),
        value,
        headers: &[],
    }
}

fn matcher(patterns: &[&str]) -> Matcher {
    Matcher::new(Arc::new(Filters::parse(patterns).unwrap_or_else(|error| panic!("{error}"))))
}

fn keeps(pattern: &str, value: &str) -> bool {
    keeps_record(pattern, &record(Some(value.as_bytes())))
}

fn keeps_record(pattern: &str, record: &RecordRef<'_>) -> bool {
    let mut matcher = matcher(&[pattern]);
    let topic = Topic::new("orders");
    let kept = matcher.keeps(&topic, record);
    let explanation = matcher.explain(&topic, record);
    assert_eq!(explanation.passes, kept, "{explanation}");
    kept
}

/// Which of the values pass, and which do not.
#[track_caller]
fn check(pattern: &str, passing: &[&str], failing: &[&str]) {
    for value in passing {
        assert!(keeps(pattern, value), "{pattern} must let pass {value}");
    }
    for value in failing {
        assert!(!keeps(pattern, value), "{pattern} must not let pass {value}");
    }
}

#[test]
fn a_value_of_a_leaf_s_array_is_enough() {
    check(
        r#"{"value":{"a":["x",1,true,null,""]}}"#,
        &[
            r#"{"a":"x"}"#,
            r#"{"a":1}"#,
            r#"{"a":true}"#,
            r#"{"a":null}"#,
            r#"{"a":""}"#,
            r#"{"b":2,"a":1.0}"#,
        ],
        &[
            r#"{"a":"X"}"#,
            r#"{"a":"1"}"#,
            r#"{"a":false}"#,
            r#"{"b":"x"}"#,
            "{}",
            r#"{"a":{"a":"x"}}"#,
            "[]",
            "1",
        ],
    );
}

#[test]
fn all_fields_of_a_pattern_must_match() {
    check(
        r#"{"value":{"a":["x"],"b":{"c":[1],"d":[2]}}}"#,
        &[r#"{"a":"x","b":{"c":1,"d":2}}"#, r#"{"b":{"d":2,"e":[],"c":1.0},"a":"x"}"#],
        &[
            r#"{"a":"x"}"#,
            r#"{"a":"x","b":{"c":1}}"#,
            r#"{"a":"x","b":{"c":1,"d":3}}"#,
            r#"{"a":"x","c":1,"d":2}"#,
        ],
    );
}

#[test]
fn operators_hold_for_what_they_are_for() {
    check(
        r#"{"value":{"a":[{"prefix":"us-"}]}}"#,
        &[r#"{"a":"us-east"}"#],
        &[r#"{"a":"eu-us-"}"#, r#"{"a":1}"#],
    );
    check(
        r#"{"value":{"a":[{"suffix":".png"}]}}"#,
        &[r#"{"a":"x.png"}"#],
        &[r#"{"a":"png"}"#, r#"{"a":null}"#],
    );
    check(
        r#"{"value":{"a":[{"equals-ignore-case":"alice"}]}}"#,
        &[r#"{"a":"ALICE"}"#, r#"{"a":"Al\u0069ce"}"#],
        &[r#"{"a":"alic"}"#],
    );
    check(
        r#"{"value":{"a":[{"numeric":[">",10,"<=",20]}]}}"#,
        &[r#"{"a":10.5}"#, r#"{"a":20}"#, r#"{"a":2e1}"#, r#"{"a":[1,15]}"#],
        &[r#"{"a":10}"#, r#"{"a":20.1}"#, r#"{"a":"15"}"#, r#"{"a":15e400}"#],
    );
    check(r#"{"value":{"a":[{"wildcard":"a*c"}]}}"#, &[r#"{"a":"abbc"}"#], &[r#"{"a":"abbcd"}"#]);
    check(r#"{"value":{"a":[{"cidr":"10.0.0.0/8"}]}}"#, &[r#"{"a":"10.9.8.7"}"#], &[r#"{"a":"11.0.0.1"}"#]);
    check(r#"{"value":{"a":["::1"]}}"#, &[r#"{"a":"0:0::1"}"#], &[r#"{"a":"::2"}"#]);
}

#[test]
fn anything_but_holds_for_every_other_value_and_not_for_none() {
    check(
        r#"{"value":{"a":[{"anything-but":["x","y"]}]}}"#,
        &[r#"{"a":"z"}"#, r#"{"a":1}"#, r#"{"a":null}"#, r#"{"a":["x","z"]}"#],
        &[r#"{"a":"x"}"#, r#"{"a":["x","y"]}"#, "{}", r#"{"a":{"b":"z"}}"#, r#"{"a":[]}"#],
    );
    check(
        r#"{"value":{"a":[{"anything-but":300}]}}"#,
        &[r#"{"a":301}"#, r#"{"a":"300"}"#],
        &[r#"{"a":3e2}"#],
    );
    check(
        r#"{"value":{"a":[{"anything-but":{"prefix":["x","y"]}}]}}"#,
        &[r#"{"a":"ax"}"#],
        &[r#"{"a":"yes"}"#],
    );
}

#[test]
fn exists_asks_for_a_value_and_not_for_an_object() {
    let value = [r#"{"a":1}"#, r#"{"a":null}"#, r#"{"a":[1]}"#];
    let none = ["{}", r#"{"a":{"b":1}}"#, r#"{"a":[]}"#, r#"{"a":[{"b":1}]}"#];
    check(r#"{"value":{"a":[{"exists":true}]}}"#, &value, &none);
    check(r#"{"value":{"a":[{"exists":false}]}}"#, &none, &value);
    check(r#"{"value":{"a":["x",{"exists":false}]}}"#, &["{}", r#"{"a":"x"}"#], &[r#"{"a":"y"}"#]);
}

#[test]
fn alternatives_multiply_and_inherit() {
    check(
        r#"{"value":{"a":[1],"$or":[{"b":[2]},{"c":[3],"d":[4]}]}}"#,
        &[r#"{"a":1,"b":2}"#, r#"{"a":1,"c":3,"d":4}"#],
        &[r#"{"a":1}"#, r#"{"b":2}"#, r#"{"a":1,"c":3}"#, r#"{"a":1,"b":3,"d":4}"#],
    );
    check(
        r#"{"value":{"x":{"$or":[{"a":[1]},{"b":[1]}]},"$or":[{"c":[1]},{"$or":[{"d":[1]},{"e":[1]}]}]}}"#,
        &[r#"{"x":{"a":1},"c":1}"#, r#"{"x":{"b":1},"e":1}"#],
        &[r#"{"x":{"a":1}}"#, r#"{"c":1,"d":1}"#],
    );
    // Inside an alternative the last word on a field counts.
    check(
        r#"{"value":{"a":[1],"$or":[{"a":[2]},{"b":[3]}]}}"#,
        &[r#"{"a":2}"#, r#"{"a":1,"b":3}"#],
        &[r#"{"a":1}"#],
    );
}

#[test]
fn an_or_that_is_none_is_a_field() {
    check(r#"{"value":{"$or":["x"]}}"#, &[r#"{"$or":"x"}"#], &["{}"]);
    check(r#"{"value":{"$or":{"a":[1],"b":[2]}}}"#, &[r#"{"$or":{"a":1,"b":2}}"#], &[r#"{"a":1}"#]);
    check(r#"{"value":{"$or":[{"prefix":"a"},{"suffix":"z"}]}}"#, &[r#"{"$or":"ab"}"#], &[r#"{"$or":"b"}"#]);
}

#[test]
fn the_last_of_equal_names_in_a_pattern_counts() {
    check(r#"{"value":{"a":["x"],"a":["y"]}}"#, &[r#"{"a":"y"}"#], &[r#"{"a":"x"}"#]);
}

#[test]
fn every_member_of_a_name_that_repeats_in_a_value_counts() {
    check(
        r#"{"value":{"a":["x"],"b":[1]}}"#,
        &[r#"{"a":"x","b":1,"a":"y"}"#],
        &[r#"{"a":"z","a":"y","b":1}"#],
    );
}

#[test]
fn names_with_dots_are_ways() {
    for pattern in [r#"{"value":{"a":{"b":[1]}}}"#, r#"{"value":{"a.b":[1]}}"#, r#"{"value.a.b":[1]}"#] {
        check(pattern, &[r#"{"a":{"b":1}}"#, r#"{"a.b":1}"#], &[r#"{"a":1,"b":1}"#, r#"{"a.":{"b":1}}"#]);
    }
}

#[test]
fn two_fields_do_not_match_from_different_elements_of_one_array() {
    let employees = r#"{"employees":[{"first":"Anna","last":"Smith"},{"first":"Peter","last":"Jones"}]}"#;
    let nested = r#"{"employees":[[{"first":"Anna","last":"Smith"}],[{"first":"Peter","last":"Jones"}]]}"#;
    let pattern = |first: &str, last: &str| {
        format!(r#"{{"value":{{"employees":{{"first":["{first}"],"last":["{last}"]}}}}}}"#)
    };
    check(&pattern("Anna", "Smith"), &[employees, nested], &[]);
    check(&pattern("Anna", "Jones"), &[], &[employees, nested]);
    check(
        r#"{"value":{"a":{"b":{"c":[1],"d":[2]},"e":[3]}}}"#,
        &[
            r#"{"a":[{"b":[{"c":1},{"c":1,"d":2}],"e":3}]}"#,
            r#"[{"a":{"e":0}},{"a":[{"b":{"d":2,"c":1},"e":[0,3]}]}]"#,
        ],
        &[r#"{"a":[{"b":[{"c":1},{"d":2}],"e":3}]}"#, r#"{"a":[{"b":[{"c":1,"d":2}]},{"e":3}]}"#],
    );
}

#[test]
fn what_must_be_absent_is_asked_of_the_element_that_matches() {
    let pattern = r#"{"value":{"a":{"name":["Anna"],"age":[{"exists":false}]}}}"#;
    check(
        pattern,
        &[r#"{"a":[{"name":"Peter","age":3},{"name":"Anna"}]}"#, r#"{"a":[{"name":"Anna"},{"age":3}]}"#],
        &[r#"{"a":[{"name":"Anna","age":3},{"name":"Peter"}]}"#],
    );
    // Alone it is asked of all.
    let alone = r#"{"value":{"a":{"age":[{"exists":false}]}}}"#;
    check(
        alone,
        &[r#"{"a":[{},{"name":"Anna"}]}"#, r#"{"a":[]}"#],
        &[r#"{"a":[{"age":3},{"name":"Anna"}]}"#],
    );
}

#[test]
fn numbers_match_by_digits_or_by_value() {
    check(
        r#"{"value":{"a":[300]}}"#,
        &[r#"{"a":300}"#, r#"{"a":300.0}"#, r#"{"a":3.0e2}"#],
        &[r#"{"a":"300"}"#],
    );
    check(
        r#"{"value":{"a":[9007199254740993]}}"#,
        &[r#"{"a":9007199254740993}"#],
        &[r#"{"a":9007199254740992}"#, r#"{"a":9007199254740994}"#],
    );
    let huge = "123456789012345678901234567890";
    check(&format!(r#"{{"value":{{"a":[{huge}]}}}}"#), &[&format!(r#"{{"a":{huge}}}"#)], &[r#"{"a":1e29}"#]);
}

#[test]
fn a_pattern_is_not_applied_to_a_value_of_the_other_kind() {
    let (for_json, for_plain) = (r#"{"value":{"a":["x"]}}"#, r#"{"value":["x",{"prefix":"err"}]}"#);
    check(for_json, &["plain", "{\"a\":", "", "\u{feff}{}"], &["{}", "[]", "\"plain\"", "null", "12"]);
    check(for_plain, &["x", "error", "{}", "{\"a\":\"y\"}", "12", "\"y\""], &["y", "", "{\"a\":", "plain"]);
    for pattern in [for_json, for_plain] {
        assert!(keeps_record(pattern, &record(Some(b"\xff{\"a\":\"y\"}"))), "not UTF-8");
        assert!(keeps_record(pattern, &record(None)), "null");
    }
}

#[test]
fn only_what_asks_for_existence_is_asked_of_a_tombstone() {
    assert!(keeps_record(r#"{"value":[{"exists":false}]}"#, &record(None)));
    assert!(!keeps_record(r#"{"value":[{"exists":true}]}"#, &record(None)));
    assert!(keeps_record(r#"{"value":{"a":[{"exists":true}]}}"#, &record(None)));
    check(r#"{"value":[{"exists":true}]}"#, &["plain", "{}"], &[]);
    check(r#"{"value":[{"exists":false}]}"#, &["{}"], &["plain"]);
}

#[test]
fn other_parts_of_the_record_may_be_named() {
    let headers = [
        Header { name: b"trace", value: Some(b"abc") },
        Header { name: b"trace", value: Some(b"def") },
        Header { name: b"x.y", value: None },
        Header { name: b"bin", value: Some(b"\xff") },
    ];
    let record = RecordRef { headers: &headers, ..record(Some(b"{\"a\":1}")) };
    for (pattern, kept) in [
        (r#"{"key":[{"prefix":"customer-"}]}"#, true),
        (r#"{"key":["customer-8"]}"#, false),
        (r#"{"key":{"id":[1]}}"#, true),
        (r#"{"topic":["orders"],"partition":[{"numeric":[">=",3]}],"offset":[42]}"#, true),
        (r#"{"topic":["other"]}"#, false),
        (r#"{"timestamp":[{"numeric":[">",1545084650000]}],"timestampType":["CREATE_TIME"]}"#, true),
        (r#"{"headers":{"trace":["def"]}}"#, true),
        (r#"{"headers":{"trace":["xyz"]}}"#, false),
        (r#"{"headers":{"x":{"y":[null]}}}"#, true),
        (r#"{"headers":{"bin":[{"exists":true}]}}"#, true),
        (r#"{"headers":{"none":[{"exists":false}]}}"#, true),
        (r#"{"headers":{"tracer":[{"exists":true}]}}"#, false),
        (r#"{"value":{"a":[1]},"partition":[3]}"#, true),
        (r#"{"value":{"a":[1]},"partition":[4]}"#, false),
        (r#"{"$or":[{"value":{"a":[2]}},{"key":["customer-7"]}]}"#, true),
    ] {
        assert_eq!(keeps_record(pattern, &record), kept, "{pattern}");
    }
    let null_key = RecordRef { key: None, ..record };
    assert!(keeps_record(r#"{"key":[{"exists":false}]}"#, &null_key));
    assert!(keeps_record(r#"{"key":["x"]}"#, &null_key));
}

#[test]
fn one_of_several_patterns_is_enough() {
    let mut matcher = matcher(&[r#"{"value":{"a":[1]}}"#, r#"{"value":{"b":[1]}}"#, r#"{"key":["k"]}"#]);
    let topic = Topic::new("t");
    assert!(matcher.keeps(&topic, &record(Some(b"{\"b\":1}"))));
    assert!(!matcher.keeps(&topic, &record(Some(b"{\"c\":1}"))));
    assert!(matcher.keeps(&topic, &RecordRef { key: Some(b"k"), ..record(Some(b"{\"c\":1}")) }));
}

#[test]
fn many_conditions_need_many_words() {
    let fields: Vec<String> = (0..200).map(|n| format!("\"f{n}\":[{n}]")).collect();
    let pattern = format!("{{\"value\":{{{}}}}}", fields.join(","));
    let value = |wrong: usize| {
        let members: Vec<String> =
            (0..200).map(|n| format!("\"f{n}\":{}", if n == wrong { 999 } else { n })).collect();
        format!("[{{\"f1\":1}},{{{}}}]", members.join(","))
    };
    check(&pattern, &[&value(1000)], &[&value(0), &value(63), &value(64), &value(199)]);
}

#[test]
fn nesting_beyond_the_limit_is_no_json_wherever_it_stands() {
    let deep =
        |open: &str, close: &str, depth: usize| format!("{}1{}", open.repeat(depth), close.repeat(depth));
    let pattern = r#"{"value":{"a":{"b":["x"]}}}"#;
    for (open, close) in [("[", "]"), ("{\"z\":", "}")] {
        check(pattern, &[&deep(open, close, 1001), &deep(open, close, 200_000)], &[&deep(open, close, 1000)]);
        let inside = |depth: usize| format!("{{\"a\":{{\"b\":{}}}}}", deep(open, close, depth));
        check(pattern, &[&inside(999)], &[&inside(998)]);
    }
}

#[test]
fn a_literal_that_is_spelt_with_escapes_is_found() {
    let pattern = r#"{"value":{"status":["shipped","lo/st"]}}"#;
    check(
        pattern,
        &[r#"{"status":"\u0073hipped"}"#, r#"{"status":"lo\/st"}"#, r#"{"st\u0061tus":"shipped"}"#],
        &[r#"{"status":"open"}"#, r#"{"note":"shipped"}"#],
    );
}

#[test]
fn an_explanation_names_each_condition_and_what_it_met() {
    let pattern =
        r#"{"value":{"a":["x"],"b":[{"exists":false}],"c":[1],"d":{"e":[2],"f":[3]}},"key":{"k":[1]}}"#;
    let value = br#"{"a":"x","c":[5,6],"d":[{"e":2},{"f":3}]}"#;
    let explanation = matcher(&[pattern]).explain(&Topic::new("t"), &record(Some(value)));
    assert_eq!(
        (explanation.passes, explanation.value, explanation.key),
        (false, Form::Json, Some(Form::Plain))
    );
    let outcomes: Vec<_> =
        explanation.patterns[0].alternatives[0].1.iter().map(|c| (c.name.as_str(), &c.outcome)).collect();
    let expected = [
        ("value.a", &Outcome::Met("\"x\"".into())),
        ("value.b", &Outcome::MetByAbsence),
        ("value.c", &Outcome::Unmet(vec!["5".into(), "6".into()])),
        ("value.d.e", &Outcome::OtherElement("2".into())),
        ("value.d.f", &Outcome::OtherElement("3".into())),
        ("key.k", &Outcome::NotApplied(Form::Plain)),
    ];
    assert_eq!(outcomes, expected, "{explanation}");
    let text = explanation.to_string();
    assert!(text.contains("x value.c is 5 and 6; wanted: 1"), "{text}");
}
