//! What a pattern may say, and what is said about what it may not.

use proptest::prelude::*;

use super::*;

fn problems(text: &str) -> String {
    Pattern::parse(text, false).expect_err(text).to_string()
}

#[test]
fn a_pattern_becomes_alternatives_of_conditions() {
    let pattern = Pattern::parse(
        r#"{"value":{"a":["x",{"exists":false}],"$or":[{"b":{"c":[1]}},{"d.e":[null]}]},"partition":[0]}"#,
        false,
    )
    .expect("valid");
    let names: Vec<Vec<String>> = pattern
        .alternatives()
        .iter()
        .map(|all| all.conditions.iter().map(Condition::name).collect())
        .collect();
    assert_eq!(names, [["value.a", "value.b.c", "partition"], ["value.a", "value.d.e", "partition"]]);
    let first = &pattern.alternatives()[0].conditions[0];
    assert_eq!((first.tests.as_slice(), first.may_be_absent), (&[Test::Text("x".into())][..], true));
    assert_eq!(first.wanted(), r#""x", {"exists":false}"#);
}

#[test]
fn what_is_no_pattern_is_refused_with_place_and_remedy() {
    for (text, expected) in [
        ("", "the pattern: found EOF while parsing"),
        ("null", "the pattern: found null; allowed: a JSON object"),
        ("[]", "allowed: a JSON object"),
        ("{}", "the pattern: found an empty object; allowed: at least one field"),
        (r#"{"value":{}}"#, "value: found an empty object"),
        (r#"{"value":{"a":{}}}"#, "found an empty object"),
        (
            r#"{"value":"x"}"#,
            "value: found \"x\"; allowed: an object of fields, or an array of values; put it into an array: [\"x\"]",
        ),
        (r#"{"value":{"a":1}}"#, "value.a: found 1"),
        (r#"{"value":{"a":null}}"#, "value.a: found null"),
        (r#"{"value":{"a":[]}}"#, "value.a: found an empty array"),
        (r#"{"value":{"a":[["x"]]}}"#, "value.a: found [\"x\"]; allowed: strings, numbers"),
        (r#"{"value":{"a":[{}]}}"#, "value.a: found an empty object; allowed: one operator"),
        (
            r#"{"value":{"a":[{"prefx":"x"}]}}"#,
            "found the operator prefx; allowed: equals-ignore-case, prefix, suffix",
        ),
        (r#"{"value":{"a":[{"prefix":"x","suffix":"y"}]}}"#, "found prefix and suffix together"),
        (r#"{"value":{"a":[{"prefix":1}]}}"#, "found prefix 1; allowed: a string"),
        (r#"{"value":{"a":[{"suffix":null}]}}"#, "found suffix null"),
        (r#"{"value":{"a":[{"prefix":{"x":"y"}}]}}"#, "found prefix of x \"y\""),
        (r#"{"value":{"a":[{"equals-ignore-case":["x"]}]}}"#, "found equals-ignore-case [\"x\"]"),
        (r#"{"value":{"a":[{"exists":"true"}]}}"#, "found exists \"true\"; allowed: true or false"),
        (r#"{"value":{"a":[{"anything-but":["x",1]}]}}"#, "found anything-but [\"x\",1]"),
        (r#"{"value":{"a":[{"anything-but":[]}]}}"#, "found anything-but []"),
        (r#"{"value":{"a":[{"anything-but":null}]}}"#, "found anything-but [null]"),
        (r#"{"value":{"a":[{"anything-but":{"prefix":""}}]}}"#, "found an empty prefix or suffix"),
        (r#"{"value":{"a":[{"anything-but":{"prefix":1}}]}}"#, "a string or an array of strings in prefix"),
        (r#"{"value":{"a":[{"anything-but":{"numeric":["=",1]}}]}}"#, "found anything-but of numeric"),
        (r#"{"value":{"a":[{"numeric":5}]}}"#, "found numeric 5; allowed: an array"),
        (r#"{"value":{"a":[{"numeric":[]}]}}"#, "found numeric []"),
        (r#"{"value":{"a":[{"numeric":[">"]}]}}"#, "found numeric [\">\"]"),
        (r#"{"value":{"a":[{"numeric":["<",5,">",1]}]}}"#, "a range whose lower bound comes first"),
        (r#"{"value":{"a":[{"numeric":[">",5,"<",5]}]}}"#, "found numeric from 5 to 5"),
        (r#"{"value":{"a":[{"numeric":[">",5,"<",1]}]}}"#, "a lower bound below the upper one"),
        (r#"{"value":{"a":[{"numeric":["!=",5]}]}}"#, "found numeric [\"!=\",5]"),
        (r#"{"value":{"a":[{"numeric":["=",5,"<",7]}]}}"#, "found numeric [\"=\",5,\"<\",7]"),
        (r#"{"value":{"a":[{"numeric":[">",1,"<",3,"<",2]}]}}"#, "found numeric"),
        (r#"{"value":{"a":[{"numeric":[">",9007199254740993]}]}}"#, "write fewer digits"),
        (r#"{"value":{"a":[{"wildcard":"a**"}]}}"#, "two asterisks in a row"),
        (r#"{"value":{"a":[{"cidr":"10.0.0.0"}]}}"#, "found cidr \"10.0.0.0\"; allowed: an address, a slash"),
        (r#"{"a":["x"]}"#, "a: found an unknown part of a record; allowed: value, key, topic"),
        (r#"{"$or":[{"value":["x"]}]}"#, "$or needs at least two objects"),
        (r#"{"topic":{"a":["x"]}}"#, "topic: found an object; allowed: an array of values"),
        (r#"{"headers":["x"]}"#, "headers: found an array; allowed: an object of header names"),
    ] {
        let problems = problems(text);
        assert!(problems.contains(expected), "{text}\n{problems}");
        assert!(problems.starts_with("Invalid filter pattern definition.\n  - "), "{problems}");
    }
}

#[test]
fn everything_that_is_wrong_is_said_once() {
    let text = r#"{"value":{"a":[],"b":1,"$or":[{"c":[{"x":1}]},{"d":[]}]},"other":["x"]}"#;
    let error = Pattern::parse(text, false).expect_err("much is wrong");
    let places: Vec<&str> = error.complaints().iter().map(|complaint| complaint.at.as_str()).collect();
    assert_eq!(places, ["value.a", "value.b", "value.c", "value.d", "other"], "{error}");
}

#[test]
fn lengths_and_combinations_are_limited() {
    let long = |chars: usize| format!(r#"{{"value":["{}"]}}"#, "é".repeat(chars - 14));
    assert!(Pattern::parse(&long(4096), true).is_ok());
    assert!(problems(&long(4097)).contains("4097 characters; allowed: at most 4096 characters"));
    let or = |name: usize| format!("\"x{name}\":{{\"$or\":[{{\"a\":[1]}},{{\"b\":[1]}}]}}");
    let ors =
        |count: usize| format!("{{\"value\":{{{}}}}}", (0..count).map(or).collect::<Vec<_>>().join(","));
    assert_eq!(Pattern::parse(&ors(8), true).expect("256 at most").alternatives().len(), 256);
    assert!(problems(&ors(9)).contains("at most 256 combinations"));
    assert!(problems(&ors(60)).contains("at most 256 combinations"));
}

#[test]
fn strictly_only_the_value_may_be_named() {
    assert!(Pattern::parse(r#"{"value":["x"]}"#, true).is_ok());
    let error = Pattern::parse(r#"{"key":["x"]}"#, true).expect_err("not on AWS").to_string();
    assert!(error.contains("key: found an unknown part of a record; allowed: value;"), "{error}");
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in prop_oneof![
        "\\PC{0,60}",
        r#"[{}\[\],:"a1 ]{0,40}"#,
    ]) {
        if let Err(error) = Pattern::parse(&text, false) {
            prop_assert!(!error.complaints().is_empty());
        }
    }
}
