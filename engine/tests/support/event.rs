//! The event as a strict consumer reads it: unknown fields, nulls and unsigned header bytes are
//! errors.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use super::content::Record;

/// A Kafka event, borrowed from the request's body.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Event<'b> {
    pub(crate) event_source: &'b str,
    #[serde(default, borrow, deserialize_with = "present")]
    pub(crate) event_source_arn: Option<&'b str>,
    pub(crate) bootstrap_servers: &'b str,
    #[serde(borrow)]
    pub(crate) records: BTreeMap<&'b str, Vec<EventRecord<'b>>>,
}

/// A record of an event, with key and value still in base64.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct EventRecord<'b> {
    pub(crate) topic: &'b str,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    pub(crate) timestamp_type: &'b str,
    #[serde(default, borrow, deserialize_with = "present")]
    pub(crate) key: Option<&'b str>,
    #[serde(default, borrow, deserialize_with = "present")]
    pub(crate) value: Option<&'b str>,
    #[serde(borrow)]
    pub(crate) headers: Vec<BTreeMap<&'b str, Vec<i8>>>,
}

/// A field that may be absent but not null.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de str>, D::Error> {
    <&str>::deserialize(deserializer).map(Some)
}

impl EventRecord<'_> {
    /// What differs from the record that was produced, if anything.
    pub(crate) fn difference(&self, produced: &Record<'_>) -> Option<String> {
        if self.timestamp_type != "CREATE_TIME" {
            return Some(format!("timestampType {}", self.timestamp_type));
        }
        for (name, found, expected) in
            [("key", self.key, produced.key.as_deref()), ("value", self.value, produced.value)]
        {
            let found = match found.map(|text| base64_simd::STANDARD.decode_to_vec(text)).transpose() {
                Ok(found) => found,
                Err(error) => return Some(format!("{name} is not base64: {error}")),
            };
            if found.as_deref() != expected {
                return Some(format!("{name} differs from what was produced"));
            }
        }
        // AWS writes a null header value as an empty array, and bytes as signed numbers.
        let expected = produced.headers.iter().map(|(name, value)| {
            let bytes = value.as_deref().unwrap_or_default().iter().map(|byte| byte.cast_signed()).collect();
            BTreeMap::from([(*name, bytes)])
        });
        (!self.headers.iter().cloned().eq(expected)).then(|| format!("headers {:?}", self.headers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_is_not_absent_and_header_bytes_are_signed() {
        let record = |fields: &str| {
            format!(
                r#"{{"topic":"t","partition":0,"offset":1,"timestamp":2,"timestampType":"CREATE_TIME",{fields}}}"#
            )
        };
        let parses = |text: &str| serde_json::from_str::<EventRecord<'_>>(text).is_ok();
        assert!(parses(&record(r#""headers":[{"n":[-128,127]}]"#)));
        assert!(parses(&record(r#""key":"","value":"YQ==","headers":[]"#)));
        assert!(!parses(&record(r#""headers":[{"n":[200]}]"#)));
        assert!(!parses(&record(r#""key":null,"headers":[]"#)));
        assert!(!parses(&record(r#""more":1,"headers":[]"#)));
    }
}
