//! Whether an event is what it should be: parsed with simd-json, checked member by member, and
//! compared with the records that it was made of. For stubs and tests.

use base64_simd::STANDARD;
use simd_json::prelude::{TypedScalarValue as _, ValueAsScalar as _, ValueIntoString as _};
use simd_json::tape;

use crate::batch::Payload;

/// What an event differs in, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {difference}")]
pub struct Mismatch {
    /// A path into the event, such as `records["t-0"][3].offset`.
    pub place: String,
    /// What is there, and what should be.
    pub difference: String,
}

/// A record as an event tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen<'e> {
    /// The topic.
    pub topic: &'e str,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// The timestamp in milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
}

/// Compares a payload, of which `json` is the text, with the records it was made of: length, the
/// shape of every member, and per partition every offset and timestamp in order. `json` is
/// overwritten.
///
/// # Errors
/// Says the first difference.
pub fn payload(payload: &Payload, json: &mut [u8]) -> Result<(), Mismatch> {
    if json.len() != payload.len() {
        return Err(differs("event", format!("{} B instead of {} B", json.len(), payload.len())));
    }
    let mut seen = Vec::with_capacity(payload.records() as usize);
    event(json, |record| seen.push((record.partition, record.offset, record.timestamp_ms)))?;
    let mut expected: Vec<_> =
        payload.entries().map(|entry| (entry.partition.0, entry.offset.0, entry.timestamp_ms)).collect();
    // An event groups by partition; within one, the order counts, and stable sorts keep it.
    expected.sort_by_key(|(partition, ..)| *partition);
    seen.sort_by_key(|(partition, ..)| *partition);
    if expected.len() != payload.records() as usize || expected.len() != seen.len() {
        let difference = format!(
            "{} records in the event, {} in the batch, which counts {}",
            seen.len(),
            expected.len(),
            payload.records()
        );
        return Err(differs("records", difference));
    }
    for (seen, expected) in seen.iter().zip(&expected) {
        if seen != expected {
            let difference = format!(
                "(partition, offset, timestamp) is {seen:?} in the event and {expected:?} in the batch"
            );
            return Err(differs("records", difference));
        }
    }
    Ok(())
}

/// Checks the shape of an event and shows its records in order. `json` is overwritten.
///
/// # Errors
/// Says the first difference.
pub fn event(json: &mut [u8], mut show: impl FnMut(Seen<'_>)) -> Result<(), Mismatch> {
    let tape = simd_json::to_tape(json).map_err(|error| differs("event", format!("not JSON: {error}")))?;
    let root = tape.as_value();
    let Some(event) = root.as_object() else { return Err(differs("event", "not an object".to_owned())) };
    let (mut source, mut arn, mut servers, mut records) = (None, None, None, None);
    for (name, value) in &event {
        let member = match name {
            "eventSource" => &mut source,
            "eventSourceArn" => &mut arn,
            "bootstrapServers" => &mut servers,
            "records" => &mut records,
            _ => return Err(differs("event", format!("a member {name:?} that no event has"))),
        };
        if member.replace(value).is_some() {
            return Err(differs(name, "twice".to_owned()));
        }
    }
    match (source.and_then(tape::Value::into_string), arn) {
        (Some("SelfManagedKafka"), None) => (),
        (Some("aws:kafka"), Some(arn)) if arn.as_str().is_some_and(|arn| arn.starts_with("arn:")) => (),
        (source, arn) => {
            return Err(differs("eventSource", format!("{source:?} with eventSourceArn {arn:?}")));
        }
    }
    if servers.and_then(tape::Value::into_string).is_none_or(str::is_empty) {
        return Err(differs("bootstrapServers", "not a string, or empty".to_owned()));
    }
    let Some(partitions) = records.as_ref().and_then(tape::Value::as_object) else {
        return Err(differs("records", "not an object".to_owned()));
    };
    let mut keys: Vec<&str> = Vec::with_capacity(partitions.len());
    for (key, records) in &partitions {
        if keys.contains(&key) {
            return Err(differs(&format!("records[{key:?}]"), "twice".to_owned()));
        }
        keys.push(key);
        partition(key, records, &mut show)?;
    }
    Ok(())
}

fn partition(
    key: &str,
    records: tape::Value<'_, '_>,
    show: &mut impl FnMut(Seen<'_>),
) -> Result<(), Mismatch> {
    let place = || format!("records[{key:?}]");
    let Some(records) = records.as_array() else { return Err(differs(&place(), "not an array".to_owned())) };
    if records.is_empty() {
        return Err(differs(&place(), "no records".to_owned()));
    }
    for (position, value) in records.iter().enumerate() {
        let seen = record(value).map_err(|(member, difference)| {
            differs(&format!("{}[{position}].{member}", place()), difference)
        })?;
        if key.strip_prefix(seen.topic).and_then(|rest| rest.strip_prefix('-'))
            != Some(seen.partition.to_string().as_str())
        {
            let difference = format!("topic {:?}, partition {}", seen.topic, seen.partition);
            return Err(differs(&format!("{}[{position}]", place()), difference));
        }
        show(seen);
    }
    Ok(())
}

type InRecord = (&'static str, String);

fn record<'e>(value: tape::Value<'_, 'e>) -> Result<Seen<'e>, InRecord> {
    let Some(record) = value.as_object() else { return Err(("", "not an object".to_owned())) };
    let (mut topic, mut partition, mut offset, mut timestamp_ms) = (None, None, None, None);
    let (mut has_type, mut has_headers) = (false, false);
    for (name, value) in &record {
        match name {
            "topic" => topic = value.into_string(),
            "partition" => partition = value.as_i32(),
            "offset" => offset = value.as_i64(),
            "timestamp" => timestamp_ms = value.as_i64(),
            "timestampType" => {
                has_type =
                    matches!(value.as_str(), Some("CREATE_TIME" | "LOG_APPEND_TIME" | "NO_TIMESTAMP_TYPE"));
            }
            "key" => base64("key", &value)?,
            "value" => base64("value", &value)?,
            "headers" => {
                headers(&value)?;
                has_headers = true;
            }
            _ => return Err(("", format!("a member {name:?} that no record has"))),
        }
    }
    if !has_type {
        return Err(("timestampType", "not one of Kafka's".to_owned()));
    }
    if !has_headers {
        return Err(("headers", "missing".to_owned()));
    }
    Ok(Seen {
        topic: topic.ok_or_else(|| ("topic", "not a string".to_owned()))?,
        partition: partition.ok_or_else(|| ("partition", "not a 32-bit integer".to_owned()))?,
        offset: offset.ok_or_else(|| ("offset", "not a 64-bit integer".to_owned()))?,
        timestamp_ms: timestamp_ms.ok_or_else(|| ("timestamp", "not a 64-bit integer".to_owned()))?,
    })
}

fn base64(name: &'static str, value: &tape::Value<'_, '_>) -> Result<(), InRecord> {
    let Some(text) = value.as_str() else { return Err((name, "not a string".to_owned())) };
    STANDARD.check(text.as_bytes()).map_err(|error| (name, format!("not base64: {error}")))
}

fn headers(value: &tape::Value<'_, '_>) -> Result<(), InRecord> {
    let wrong = |what: &str| ("headers", what.to_owned());
    let headers = value.as_array().ok_or_else(|| wrong("not an array"))?;
    for header in &headers {
        let header = header.as_object().ok_or_else(|| wrong("an element that is not an object"))?;
        if header.len() != 1 {
            return Err(wrong("an element without exactly one name"));
        }
        for bytes in header.values() {
            let bytes = bytes.as_array().ok_or_else(|| wrong("a value that is not an array"))?;
            if !bytes.iter().all(|byte| byte.as_i8().is_some() && byte.is_integer()) {
                return Err(wrong("a byte that is not an integer from -128 to 127"));
            }
        }
    }
    Ok(())
}

fn differs(place: &str, difference: String) -> Mismatch {
    Mismatch { place: place.to_owned(), difference }
}
