//! Records out of a file: an event as a function gets it, one record of such an event, or a value.

use serde_json::{Map, Value};

use crate::ids::{Offset, Partition, Topic};
use crate::record::{Header, RecordRef, TimestampType};

/// What a file holds.
#[derive(Debug, PartialEq)]
pub(super) struct Event {
    what: &'static str,
    records: Vec<Owned>,
}

/// A record that owns its parts.
#[derive(Debug, PartialEq)]
pub(super) struct Owned {
    pub(super) topic: Topic,
    pub(super) partition: Partition,
    pub(super) offset: Offset,
    timestamp_ms: i64,
    timestamp_type: TimestampType,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Event {
    /// Reads a file's bytes as an `event`, a `record` or a `value`; as what they look like if that is
    /// not said. A value is put into a record of `topic`.
    ///
    /// # Errors
    /// If they are not what they should be: what is wrong, and where.
    pub(super) fn parse(bytes: &[u8], what: Option<&str>, topic: &Topic) -> Result<Self, String> {
        let object = match serde_json::from_slice(bytes) {
            Ok(Value::Object(object)) => Some(object),
            _ => None,
        };
        let needed = || object.as_ref().ok_or_else(|| "not a JSON object".to_owned());
        let looks_like = |object: &Map<String, Value>| {
            let is_record =
                ["partition", "offset"].iter().all(|name| object.get(*name).is_some_and(Value::is_i64));
            match object.get("records") {
                Some(Value::Object(_)) => "event",
                _ if is_record => "record",
                _ => "value",
            }
        };
        match what.unwrap_or_else(|| object.as_ref().map_or("value", looks_like)) {
            "event" => Ok(Self { what: "a whole event", records: of_event(needed()?)? }),
            "record" => Ok(Self { what: "one record", records: vec![record("the record", needed()?)?] }),
            _ => Ok(Self { what: "one value", records: vec![of_value(bytes, topic)] }),
        }
    }

    /// What the file was taken for, in words.
    pub(super) fn what(&self) -> &'static str {
        self.what
    }

    /// The records, in the file's order.
    pub(super) fn records(&self) -> &[Owned] {
        &self.records
    }
}

impl Owned {
    pub(super) fn headers(&self) -> Vec<Header<'_>> {
        let all = self.headers.iter();
        all.map(|(name, value)| Header { name: name.as_bytes(), value: value.as_deref() }).collect()
    }

    pub(super) fn borrowed<'r>(&'r self, headers: &'r [Header<'r>]) -> RecordRef<'r> {
        RecordRef {
            partition: self.partition,
            offset: self.offset,
            timestamp_ms: self.timestamp_ms,
            timestamp_type: self.timestamp_type,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers,
        }
    }
}

fn of_value(bytes: &[u8], topic: &Topic) -> Owned {
    // Editors end files with a line feed.
    let value = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    Owned {
        topic: topic.clone(),
        partition: Partition(0),
        offset: Offset(0),
        timestamp_ms: 0,
        timestamp_type: TimestampType::CreateTime,
        key: None,
        value: Some(value.to_vec()),
        headers: Vec::new(),
    }
}

fn of_event(event: &Map<String, Value>) -> Result<Vec<Owned>, String> {
    let Some(Value::Object(partitions)) = event.get("records") else {
        return Err("records: not an object of arrays".to_owned());
    };
    let mut records = Vec::new();
    for (key, list) in partitions {
        let list = list.as_array().ok_or_else(|| format!("records[{key:?}]: not an array"))?;
        for (at, item) in list.iter().enumerate() {
            let place = format!("records[{key:?}][{at}]");
            let item = item.as_object().ok_or_else(|| format!("{place}: not an object"))?;
            records.push(record(&place, item)?);
        }
    }
    Ok(records)
}

fn record(place: &str, object: &Map<String, Value>) -> Result<Owned, String> {
    let wrong = |member: &str, allowed: &str| format!("{place}.{member}: not {allowed}");
    let number = |member: &str, default: Option<i64>| match object.get(member) {
        None => default.ok_or_else(|| wrong(member, "given")),
        Some(value) => value.as_i64().ok_or_else(|| wrong(member, "a whole number")),
    };
    let bytes = |member: &str| match object.get(member) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => {
            base64_simd::STANDARD.decode_to_vec(text).map(Some).map_err(|_| wrong(member, "base64"))
        }
        Some(_) => Err(wrong(member, "a string of base64")),
    };
    let timestamp_type = object.get("timestampType").and_then(Value::as_str).unwrap_or("CREATE_TIME");
    let types = [TimestampType::None, TimestampType::CreateTime, TimestampType::LogAppendTime];
    Ok(Owned {
        topic: Topic::new(object.get("topic").and_then(Value::as_str).unwrap_or("topic")),
        partition: Partition(
            i32::try_from(number("partition", None)?).map_err(|_| wrong("partition", "a 32-bit number"))?,
        ),
        offset: Offset(number("offset", None)?),
        timestamp_ms: number("timestamp", Some(0))?,
        timestamp_type: types
            .into_iter()
            .find(|known| known.name() == timestamp_type)
            .ok_or_else(|| wrong("timestampType", "CREATE_TIME or LOG_APPEND_TIME"))?,
        key: bytes("key")?,
        value: bytes("value")?,
        headers: headers(object.get("headers")).ok_or_else(|| wrong("headers", "[{\"NAME\":[BYTES]}]"))?,
    })
}

/// `[{"name":[104,-61]}]`; `None` if it is something else.
fn headers(value: Option<&Value>) -> Option<Vec<(String, Option<Vec<u8>>)>> {
    let Some(value) = value else { return Some(Vec::new()) };
    let mut headers = Vec::new();
    for header in value.as_array()? {
        for (name, bytes) in header.as_object()? {
            let bytes: Option<Vec<u8>> = match bytes {
                Value::Null => None,
                // AWS writes signed bytes; hand-made events have them unsigned at times.
                list => {
                    Some(list.as_array()?.iter().map(|byte| byte_of(byte.as_i64()?)).collect::<Option<_>>()?)
                }
            };
            headers.push((name.clone(), bytes));
        }
    }
    Some(headers)
}

fn byte_of(number: i64) -> Option<u8> {
    i8::try_from(number).map(i8::cast_unsigned).or_else(|_| u8::try_from(number)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = r#"{"eventSource":"SelfManagedKafka","bootstrapServers":"h:1","records":{"orders-0":[
        {"topic":"orders","partition":0,"offset":15,"timestamp":1545084650987,"timestampType":"LOG_APPEND_TIME",
         "key":"a2V5","value":"eyJhIjoxfQ==","headers":[{"h":[104,-61,195]},{"n":null}]},
        {"topic":"orders","partition":0,"offset":16,"headers":[]}]}}"#;

    fn parse(text: &str, what: Option<&str>) -> Result<Event, String> {
        Event::parse(text.as_bytes(), what, &Topic::new("t"))
    }

    #[test]
    fn an_event_is_read_back_as_its_records() {
        let event = parse(EVENT, None).expect("an event");
        assert_eq!((event.what(), event.records().len()), ("a whole event", 2));
        let first = &event.records()[0];
        let headers = first.headers();
        let record = first.borrowed(&headers);
        assert_eq!((record.offset, record.timestamp_type), (Offset(15), TimestampType::LogAppendTime));
        assert_eq!((record.key, record.value), (Some(&b"key"[..]), Some(&b"{\"a\":1}"[..])));
        assert_eq!(headers[0], Header { name: b"h", value: Some(&[104, 195, 195]) });
        assert_eq!(headers[1], Header { name: b"n", value: None });
        assert_eq!((&event.records()[1].key, &event.records()[1].value), (&None, &None));
    }

    #[test]
    fn what_a_file_holds_is_told_from_its_content_unless_it_is_said() {
        for (text, what) in [
            (EVENT, "a whole event"),
            (r#"{"partition":0,"offset":1,"value":"eA=="}"#, "one record"),
            (r#"{"status":"shipped"}"#, "one value"),
            (r#"{"records":[1]}"#, "one value"),
            ("plain", "one value"),
            ("", "one value"),
        ] {
            assert_eq!(parse(text, None).expect("anything is a value").what(), what, "{text}");
        }
        assert_eq!(parse(EVENT, Some("value")).expect("a value").what(), "one value");
        assert_eq!(
            parse("plain\n", None).expect("a value").records()[0].value.as_deref(),
            Some(&b"plain"[..])
        );
    }

    #[test]
    fn what_is_wrong_with_an_event_is_said_with_its_place() {
        for (text, what, expected) in [
            ("[]", "event", "not a JSON object"),
            ("{}", "event", "records: not an object of arrays"),
            (r#"{"records":{"t-0":5}}"#, "event", "records[\"t-0\"]: not an array"),
            (r#"{"records":{"t-0":[5]}}"#, "event", "records[\"t-0\"][0]: not an object"),
            (r#"{"records":{"t-0":[{"partition":0}]}}"#, "event", "records[\"t-0\"][0].offset: not given"),
            (r#"{"partition":0,"offset":1,"value":"?"}"#, "record", "the record.value: not base64"),
            (r#"{"partition":0,"offset":1,"key":5}"#, "record", "the record.key: not a string of base64"),
            (
                r#"{"partition":99999999999,"offset":1}"#,
                "record",
                "the record.partition: not a 32-bit number",
            ),
            (
                r#"{"partition":0,"offset":1,"timestampType":"X"}"#,
                "record",
                "the record.timestampType: not CREATE",
            ),
            (r#"{"partition":0,"offset":1,"headers":[{"h":[300]}]}"#, "record", "the record.headers: not [{"),
        ] {
            assert!(parse(text, Some(what)).expect_err(text).contains(expected), "{text}");
        }
    }
}
