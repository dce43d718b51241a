//! What a function's response says about the records of its batch (`ReportBatchItemFailures`).
//!
//! ```json
//! {"batchItemFailures":[{"itemIdentifier":{"partition":"orders-0","offset":100}}]}
//! ```
//!
//! A pure function over the response's bytes. [`Delivery`](super::Delivery) calls it for each
//! [`Outcome::Success`](super::Outcome) of a mapping that asks for partial responses.
//!
//! The response is read once, where it lies, by the reader that filters use: a response may be 6 MB,
//! and a tape of it ten times as long.

use crate::filter::json::{Json, Kind, NotJson, Spelt};
use crate::ids::Offset;
use crate::mapping::pattern::comparable;

/// What a response says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// All records are done.
    Complete,
    /// Those that were pushed are not.
    Partial,
}

/// Why a response says nothing that can be followed: every record of the batch counts as failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResponseError {
    /// The invoker has not kept it: a mistake in how the two are set up.
    #[error(
        "the function's response was not kept by the invoker, so no record of it counts as done; set \
         `LambdaSettings::keep_response` where item failures are reported"
    )]
    NotKept,
    /// It is not JSON.
    #[error("the function's response is not JSON; return {{\"batchItemFailures\":[]}} if all is done")]
    NotJson,
    /// It is JSON of another kind.
    #[error("the function's response is no object; return {{\"batchItemFailures\":[]}} if all is done")]
    NotAnObject,
    /// The failures are something else than a list.
    #[error("batchItemFailures is no array; return [] if all is done")]
    NotAnArray,
    /// One of the failures does not say which record it means.
    #[error(
        "batchItemFailures[{index}]: {problem}; needed: \
         {{\"itemIdentifier\":{{\"partition\":\"TOPIC-PARTITION\",\"offset\":NUMBER}}}}"
    )]
    Item {
        /// Which of them, from 0.
        index: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// One of the failures means a record that was not in the event.
    #[error(
        "batchItemFailures[{index}]: the record at offset {offset} of that partition was not in the event"
    )]
    NotInEvent {
        /// Which of them, from 0.
        index: usize,
        /// The offset that it gives.
        offset: Offset,
    },
}

/// Reads a response.
///
/// `find` is asked for the position in the batch of the record with this offset under this key of
/// the event (`TOPIC-PARTITION`); the positions of failed records are left in `failed`, in order and
/// each once. What was in `failed` before is lost. Nothing is allocated but what `failed` grows by,
/// and a partition's name that is spelt with escapes.
///
/// | response | means |
/// | --- | --- |
/// | nothing, `null`, an object without `batchItemFailures`, with `null` or `[]` for it | all is done |
/// | failures that are all in the event | these failed, the others are done |
/// | a failure that is not in the event, or does not say which record it means | all failed |
/// | anything else: not JSON, or JSON that is no object | all failed |
///
/// The partition may be called `partition` or `topic-partition`; the offset may be a number or a
/// string of digits. Of members with one name the last counts. Members that nobody knows are
/// ignored.
///
/// # Errors
/// If all failed: why. `failed` is empty then.
pub fn parse(
    response: &[u8],
    mut find: impl FnMut(&str, Offset) -> Option<u32>,
    failed: &mut Vec<u32>,
) -> Result<Report, ResponseError> {
    failed.clear();
    let read = read(response, &mut find, failed);
    if read.is_err() {
        failed.clear();
    }
    read?;
    failed.sort_unstable();
    failed.dedup();
    Ok(if failed.is_empty() { Report::Complete } else { Report::Partial })
}

impl From<NotJson> for ResponseError {
    fn from(_: NotJson) -> Self {
        Self::NotJson
    }
}

fn read(
    response: &[u8],
    find: &mut dyn FnMut(&str, Offset) -> Option<u32>,
    failed: &mut Vec<u32>,
) -> Result<(), ResponseError> {
    let text = simdutf8::basic::from_utf8(response).map_err(|_| ResponseError::NotJson)?;
    let mut json = Json::new(text);
    if json.end().is_ok() {
        return Ok(());
    }
    // Whatever else is wrong, what is not JSON to its end is not looked into: it was cut off.
    let said = match json.kind() {
        Kind::Object => members(&mut json, find, failed)?,
        Kind::Bare if json.bare()? == "null" => Ok(()),
        Kind::Bare => Err(ResponseError::NotAnObject),
        Kind::Array | Kind::Text => {
            json.skip(0)?;
            Err(ResponseError::NotAnObject)
        }
    };
    json.end()?;
    said
}

/// What is said: nothing that is wrong, or the first thing that is.
type Said = Result<(), ResponseError>;

fn members(
    json: &mut Json<'_>,
    find: &mut dyn FnMut(&str, Offset) -> Option<u32>,
    failed: &mut Vec<u32>,
) -> Result<Said, NotJson> {
    let mut said = Ok(());
    let mut room = String::new();
    let mut more = json.enter(b'}');
    while more {
        if json.name()?.resolve(&mut room) == "batchItemFailures" {
            failed.clear();
            said = failures(json, find, failed)?;
        } else {
            json.skip(1)?;
        }
        more = json.another(b'}')?;
    }
    Ok(said)
}

fn failures(
    json: &mut Json<'_>,
    find: &mut dyn FnMut(&str, Offset) -> Option<u32>,
    failed: &mut Vec<u32>,
) -> Result<Said, NotJson> {
    match json.kind() {
        Kind::Array => {}
        Kind::Bare => {
            return Ok(if json.bare()? == "null" { Ok(()) } else { Err(ResponseError::NotAnArray) });
        }
        Kind::Object | Kind::Text => {
            json.skip(1)?;
            return Ok(Err(ResponseError::NotAnArray));
        }
    }
    let mut said = Ok(());
    let mut room = String::new();
    let mut index = 0;
    let mut more = json.enter(b']');
    while more {
        let one = match item(json)? {
            Err(problem) => Err(ResponseError::Item { index, problem }),
            Ok((partition, offset)) => match find(partition.resolve(&mut room), offset) {
                None => Err(ResponseError::NotInEvent { index, offset }),
                Some(position) => {
                    failed.push(position);
                    Ok(())
                }
            },
        };
        said = said.and(one);
        index += 1;
        more = json.another(b']')?;
    }
    Ok(said)
}

/// A record's identifier, or what is wrong with it.
type Identified<'j> = Result<(Spelt<'j>, Offset), &'static str>;

fn item<'j>(json: &mut Json<'j>) -> Result<Identified<'j>, NotJson> {
    let mut identified = Err("no itemIdentifier");
    if json.kind() != Kind::Object {
        json.skip(2)?;
        return Ok(Err("not an object"));
    }
    let mut room = String::new();
    let mut more = json.enter(b'}');
    while more {
        if json.name()?.resolve(&mut room) == "itemIdentifier" {
            identified = identifier(json)?;
        } else {
            json.skip(3)?;
        }
        more = json.another(b'}')?;
    }
    Ok(identified)
}

fn identifier<'j>(json: &mut Json<'j>) -> Result<Identified<'j>, NotJson> {
    if json.kind() != Kind::Object {
        json.skip(3)?;
        return Ok(Err("itemIdentifier is not an object"));
    }
    let (mut partition, mut also, mut offset) = (None, None, Err("no offset"));
    let mut room = String::new();
    let mut more = json.enter(b'}');
    while more {
        match json.name()?.resolve(&mut room) {
            "partition" => partition = Some(text(json)?),
            "topic-partition" => also = Some(text(json)?),
            "offset" => offset = number(json)?,
            _ => json.skip(4)?,
        }
        more = json.another(b'}')?;
    }
    let partition = match (partition, also) {
        (Some(one), Some(other)) if !means_the_same(one, other) => Err("two partitions that differ"),
        (Some(one), _) | (None, Some(one)) => one.ok_or("a partition that is not a string"),
        (None, None) => Err("no partition"),
    };
    Ok(partition.and_then(|partition| Ok((partition, offset?))))
}

fn means_the_same(one: Option<Spelt<'_>>, other: Option<Spelt<'_>>) -> bool {
    let (mut room, mut more_room) = (String::new(), String::new());
    match (one, other) {
        (Some(one), Some(other)) => one.resolve(&mut room) == other.resolve(&mut more_room),
        (one, other) => one == other,
    }
}

fn text<'j>(json: &mut Json<'j>) -> Result<Option<Spelt<'j>>, NotJson> {
    if json.kind() == Kind::Text {
        return json.string().map(Some);
    }
    json.skip(4)?;
    Ok(None)
}

/// Doubles up to here are whole without doubt.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

fn number(json: &mut Json<'_>) -> Result<Result<Offset, &'static str>, NotJson> {
    const WRONG: &str = "an offset that is not a whole number from 0 on";
    let whole = match json.kind() {
        Kind::Bare => {
            let text = json.bare()?;
            // Some languages print whole numbers as 100.0 or 1e2.
            text.parse().ok().or_else(|| {
                let number = comparable(text)
                    .filter(|_| text.starts_with(|c: char| c == '-' || c.is_ascii_digit()))?;
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "whole, and within the range of whole doubles"
                )]
                (number.fract() == 0.0 && number.abs() <= WHOLE_MAX).then_some(number as i64)
            })
        }
        Kind::Text => {
            let mut room = String::new();
            let spelt = json.string()?;
            let digits = spelt.resolve(&mut room);
            if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None }
        }
        Kind::Object | Kind::Array => {
            json.skip(4)?;
            None
        }
    };
    Ok(whole.filter(|offset| *offset >= 0).map(Offset).ok_or(WRONG))
}

/// The body of a fuzz target: the response is understood as `serde_json`'s tree of it is.
///
/// # Panics
/// If not.
#[cfg(any(test, feature = "internals"))]
pub fn fuzz(response: &[u8]) {
    /// An event of one partition with offsets 0 to 99.
    fn find(partition: &str, offset: Offset) -> Option<u32> {
        (partition == "t-0" && offset.0 < 100).then_some(offset.0.unsigned_abs() as u32)
    }
    let mut failed = vec![7];
    let read = parse(response, find, &mut failed);
    assert!(failed.is_sorted() && failed.iter().all(|position| *position < 100));
    assert_eq!(failed.is_empty(), read != Ok(Report::Partial));
    let text = response.trim_ascii();
    // `serde_json` refuses numbers beyond a double, and containers 128 deep.
    let Ok(tree) = serde_json::from_slice::<serde_json::Value>(text) else {
        return;
    };
    let expected = by_tree(&tree, find);
    assert_eq!(read.is_ok().then_some(failed), expected, "{}", String::from_utf8_lossy(response));
}

/// The same over a tree, slowly. `None` if all failed.
#[cfg(any(test, feature = "internals"))]
fn by_tree(tree: &serde_json::Value, find: impl Fn(&str, Offset) -> Option<u32>) -> Option<Vec<u32>> {
    use serde_json::Value;
    let failures = match tree {
        Value::Null => return Some(Vec::new()),
        Value::Object(members) => match members.get("batchItemFailures") {
            None | Some(Value::Null) => return Some(Vec::new()),
            Some(Value::Array(failures)) => failures,
            Some(_) => return None,
        },
        _ => return None,
    };
    let mut failed = std::collections::BTreeSet::new();
    for failure in failures {
        let identifier = failure.get("itemIdentifier")?.as_object()?;
        let names = ["partition", "topic-partition"].map(|name| identifier.get(name));
        let partition = match names {
            [Some(one), Some(other)] if one != other && (one.is_string() || other.is_string()) => {
                return None;
            }
            [Some(one), _] | [None, Some(one)] => one.as_str()?,
            [None, None] => return None,
        };
        let offset = match identifier.get("offset")? {
            Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) => whole,
                (None, Some(float)) if float.fract() == 0.0 && float.abs() <= WHOLE_MAX => float as i64,
                _ => return None,
            },
            Value::String(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().ok()?
            }
            _ => return None,
        };
        failed.insert(find(partition, Offset(offset).max(Offset(0))).filter(|_| offset >= 0)?);
    }
    Some(failed.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Two partitions of ten records each.
    fn find(partition: &str, offset: Offset) -> Option<u32> {
        let first = match partition {
            "t-0" => 0,
            "t-1" => 10,
            _ => return None,
        };
        u32::try_from(offset.0 - 100).ok().filter(|at| *at < 10).map(|at| first + at)
    }

    fn failed(response: &str) -> Result<Vec<u32>, String> {
        let mut failed = vec![3];
        let read = parse(response.as_bytes(), find, &mut failed);
        assert_eq!(failed.is_empty(), read != Ok(Report::Partial), "{response}");
        read.map(|_| failed).map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_reported_is_all_done() {
        for response in [
            "",
            " \n",
            "null",
            "{}",
            r#"{"batchItemFailures":[]}"#,
            r#"{"batchItemFailures":null}"#,
            r#" { } "#,
            r#"{"statusCode":200,"body":[{"batchItemFailures":5}]}"#,
            r#"{"batchItemFailures":5,"batchItemFailures":[]}"#,
            r#"{"BatchItemFailures":[1]}"#,
        ] {
            assert_eq!(failed(response), Ok(vec![]), "{response}");
        }
    }

    #[test]
    fn reported_records_are_found_once_each_and_in_order() {
        let item = |name: &str, partition: &str, offset: &str| {
            format!(r#"{{"itemIdentifier":{{"{name}":"{partition}","offset":{offset}}}}}"#)
        };
        let list = |items: &[String]| format!(r#"{{"batchItemFailures":[{}]}}"#, items.join(" , "));
        let response = list(&[
            item("partition", "t-1", "103"),
            item("topic-partition", "t-0", "\"109\""),
            item("partition", "t-1", "100.0"),
            item("partition", "t\\u002d0", "109"),
            item("partition", "t-0", "1.01e2"),
        ]);
        assert_eq!(failed(&response), Ok(vec![1, 9, 10, 13]));
        let both = r#"{"batchItemFailures":[{"more":{},"itemIdentifier":{"topic-partition":"t-0","partition":"t-0","offset":100,"x":[]}}]}"#;
        assert_eq!(failed(both), Ok(vec![0]));
        let last = r#"{"batchItemFailures":[{"itemIdentifier":5,"itemIdentifier":{"partition":"t-0","offset":7,"offset":100}}]}"#;
        assert_eq!(failed(last), Ok(vec![0]));
    }

    #[test]
    fn what_cannot_be_followed_fails_all_and_says_why() {
        let item = |item: &str| {
            format!(
                r#"{{"batchItemFailures":[{{"itemIdentifier":{{"partition":"t-0","offset":100}}}},{item}]}}"#
            )
        };
        for (response, expected) in [
            ("done".to_owned(), "not JSON"),
            ("{\"batchItemFailures\":[]".to_owned(), "not JSON"),
            ("{\"batchItemFailures\":[]} x".to_owned(), "not JSON"),
            ("\u{feff}{}".to_owned(), "not JSON"),
            ("\"done\"".to_owned(), "no object"),
            ("[]".to_owned(), "no object"),
            ("0".to_owned(), "no object"),
            ("false".to_owned(), "no object"),
            (r#"{"batchItemFailures":{}}"#.to_owned(), "batchItemFailures is no array"),
            (r#"{"batchItemFailures":"t-0"}"#.to_owned(), "batchItemFailures is no array"),
            (r#"{"batchItemFailures":0}"#.to_owned(), "batchItemFailures is no array"),
            (item("null"), "[1]: not an object"),
            (item("{}"), "[1]: no itemIdentifier"),
            (item(r#"{"itemidentifier":{}}"#), "[1]: no itemIdentifier"),
            (item(r#"{"itemIdentifier":null}"#), "[1]: itemIdentifier is not an object"),
            (item(r#"{"itemIdentifier":""}"#), "[1]: itemIdentifier is not an object"),
            (item(r#"{"itemIdentifier":{}}"#), "[1]: no partition"),
            (item(r#"{"itemIdentifier":{"offset":100}}"#), "[1]: no partition"),
            (
                item(r#"{"itemIdentifier":{"partition":0,"offset":100}}"#),
                "[1]: a partition that is not a string",
            ),
            (
                item(r#"{"itemIdentifier":{"partition":null,"offset":100}}"#),
                "[1]: a partition that is not a string",
            ),
            (item(r#"{"itemIdentifier":{"partition":"t-0"}}"#), "[1]: no offset"),
            (item(r#"{"itemIdentifier":{"partition":"t-0","offset":null}}"#), "[1]: an offset that is not"),
            (item(r#"{"itemIdentifier":{"partition":"t-0","offset":-100}}"#), "[1]: an offset that is not"),
            (item(r#"{"itemIdentifier":{"partition":"t-0","offset":100.5}}"#), "[1]: an offset that is not"),
            (item(r#"{"itemIdentifier":{"partition":"t-0","offset":"+100"}}"#), "[1]: an offset that is not"),
            (item(r#"{"itemIdentifier":{"partition":"t-0","offset":""}}"#), "[1]: an offset that is not"),
            (
                item(r#"{"itemIdentifier":{"partition":"t-0","offset":99999999999999999999}}"#),
                "[1]: an offset that is not",
            ),
            (
                item(r#"{"itemIdentifier":{"partition":"t-0","topic-partition":"t-1","offset":100}}"#),
                "two partitions",
            ),
            (item(r#"{"itemIdentifier":{"partition":"t-2","offset":100}}"#), "[1]: the record at offset 100"),
            (item(r#"{"itemIdentifier":{"partition":"","offset":100}}"#), "[1]: the record at offset 100"),
            (item(r#"{"itemIdentifier":{"partition":"t-0","offset":110}}"#), "[1]: the record at offset 110"),
            (
                item(r#"{"itemIdentifier":{"partition":"t-0","offset":110}},null"#),
                "[1]: the record at offset 110",
            ),
        ] {
            let error = failed(&response).expect_err(&response);
            assert!(error.contains(expected), "{response}: {error}");
        }
        assert_eq!(parse(b"\xff", find, &mut Vec::new()), Err(ResponseError::NotJson));
    }

    /// Responses and nearly responses.
    fn response() -> impl Strategy<Value = String> {
        let odd = || {
            prop::sample::select(vec![
                "null", "{}", "[]", "\"\"", "7", "\"t-0\"", "true", "1.5", "[[{}]]", "1e2",
            ])
        };
        let partition = prop_oneof![5 => Just("\"t-0\""), 1 => odd(), 1 => Just("\"t-1\"")];
        let offset = prop_oneof![
            5 => (0..105_i64).prop_map(|offset| offset.to_string()), 1 => odd().prop_map(str::to_owned),
            1 => (0..105).prop_map(|offset| format!("\"{offset}\"")), 1 => Just("50.0".to_owned()), 1 => Just("-1".to_owned()),
        ];
        let name = prop::sample::select(vec!["partition", "partition", "topic-partition", "partitions"]);
        let members = (name, partition, offset, prop::option::weighted(0.1, odd()), any::<bool>());
        let identifier = members.prop_map(|(name, partition, offset, more, swap)| {
            let (one, other) = (format!("\"{name}\":{partition}"), format!("\"offset\":{offset}"));
            let more = more.map_or(String::new(), |more| format!(",\"topic-partition\":{more}"));
            if swap { format!("{{{other},{one}{more}}}") } else { format!("{{{one} ,{other}{more}}}") }
        });
        let identifier = prop_oneof![9 => identifier, 1 => odd().prop_map(str::to_owned)];
        let item = prop_oneof![9 => identifier.prop_map(|id| format!("{{\"itemIdentifier\": {id}}}")), 1 => odd().prop_map(str::to_owned)];
        let list = prop::collection::vec(item, 0..4).prop_map(|items| format!("[{}]", items.join(",")));
        let list = prop_oneof![9 => list, 1 => odd().prop_map(str::to_owned)];
        let own = list.prop_map(|list| format!("{{\"x\":[1],\"batchItemFailures\":{list}}}"));
        prop_oneof![9 => own, 1 => odd().prop_map(str::to_owned)]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

        #[test]
        fn it_is_understood_as_a_tree_of_it_is(response in response()) {
            fuzz(response.as_bytes());
        }

        #[test]
        fn nothing_panics(
            response in response(), at: prop::sample::Index, byte: u8, noise in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            fuzz(&noise);
            let mut response = response.into_bytes();
            let at = at.index(response.len());
            fuzz(&response[..at]);
            response[at] = byte;
            fuzz(&response);
        }
    }
}
