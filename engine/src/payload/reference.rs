//! The slow truth: events as anyone would write them, to check the writer against.
//!
//! Nothing here is shared with the writer but the words of the format.

use crate::ids::Topic;
use crate::record::Record;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// One record's JSON, without the leading comma.
///
/// # Panics
/// Never: writing to a string and serializing a string do not fail.
pub fn record_json<R: Record>(topic: &Topic, record: &R) -> String {
    let mut json = format!(
        r#"{{"topic":{},"partition":{},"offset":{},"timestamp":{},"timestampType":"{}""#,
        quoted(topic.as_str().as_bytes()),
        record.partition(),
        record.offset(),
        record.timestamp_ms(),
        record.timestamp_type().name(),
    );
    for (name, bytes) in [("key", record.key()), ("value", record.value())] {
        if let Some(bytes) = bytes {
            write!(json, r#","{name}":"{}""#, base64(bytes)).expect("a string grows");
        }
    }
    let headers: Vec<String> = record
        .headers()
        .map(|header| format!("{{{}:[{}]}}", quoted(header.name), numbers(header.value.unwrap_or_default())))
        .collect();
    write!(json, r#","headers":[{}]}}"#, headers.join(",")).expect("a string grows");
    json
}

/// A whole event over `records`, its partitions in the order in which they first appear. `head` is
/// everything up to and with `"records":`.
pub fn event_json<'r, R: Record + 'r>(
    head: &str,
    topic: &Topic,
    records: impl IntoIterator<Item = &'r R>,
) -> String {
    let mut order = Vec::new();
    let mut by_partition: BTreeMap<i32, Vec<String>> = BTreeMap::new();
    for record in records {
        let partition = record.partition();
        by_partition
            .entry(partition.0)
            .or_insert_with(|| {
                order.push(partition);
                Vec::new()
            })
            .push(record_json(topic, record));
    }
    let partitions: Vec<String> = order
        .iter()
        .map(|partition| {
            let key = quoted(format!("{topic}-{partition}").as_bytes());
            format!("{key}:[{}]", by_partition[&partition.0].join(","))
        })
        .collect();
    format!("{head}{{{}}}}}", partitions.join(","))
}

pub(super) fn quoted(text: &[u8]) -> String {
    serde_json::to_string(&String::from_utf8_lossy(text)).expect("a string is always JSON")
}

/// Every byte as a signed number, commas between them.
pub(super) fn numbers(bytes: &[u8]) -> String {
    let numbers: Vec<String> = bytes.iter().map(|byte| byte.cast_signed().to_string()).collect();
    numbers.join(",")
}

/// Standard base64 with padding, group by group.
pub(super) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits =
            group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let digit = ALPHABET[(bits >> (18 - 6 * place)) as usize & 63];
            text.push(if place <= group.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_base64_follows_the_rfcs_examples() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }
}
