//! The Rust peer: `aws_lambda_events::kafka::KafkaEvent`, read as `lambda_runtime` reads it.

use super::cases::hex;
use super::compare::{Dump, Reading};
use aws_lambda_events::kafka::{KafkaEvent, KafkaRecord};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The peer's name in `expected.json`.
pub(crate) const PEER: &str = "rust/aws_lambda_events";

/// What the class reads from each event.
pub(crate) fn decode(events: &BTreeMap<String, Vec<u8>>) -> Dump {
    let events = events.iter().map(|(name, event)| (name.clone(), read(event))).collect();
    Dump { peer: PEER.to_owned(), events }
}

fn read(event: &[u8]) -> Reading {
    let decoded = serde_json::from_slice::<KafkaEvent>(event)
        .map_err(|error| error.to_string())
        .and_then(|event| normal_form(&event));
    match decoded {
        Ok(decoded) => Reading::Decoded(decoded),
        Err(message) => Reading::Rejected(message),
    }
}

fn normal_form(event: &KafkaEvent) -> Result<Value, String> {
    let mut records = Map::new();
    for (key, list) in &event.records {
        let list: Result<Vec<Value>, String> = list.iter().map(record).collect();
        records.insert(key.clone(), Value::Array(list?));
    }
    Ok(json!({
        "event_source": event.event_source,
        "event_source_arn": event.event_source_arn,
        "bootstrap_servers": event.bootstrap_servers,
        "records": records,
    }))
}

fn record(record: &KafkaRecord) -> Result<Value, String> {
    let bytes = |part: &Option<String>| {
        part.as_ref().map(|text| STANDARD.decode(text).map(|bytes| hex(&bytes))).transpose()
    };
    let headers: Vec<Value> = record
        .headers
        .iter()
        .flatten()
        .map(|(name, value)| {
            let value: Vec<u8> = value.iter().map(|byte| byte.cast_unsigned()).collect();
            json!([name, hex(&value)])
        })
        .collect();
    Ok(json!({
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp_ms": record.timestamp.timestamp_millis(),
        "timestamp_type": record.timestamp_type,
        "key": bytes(&record.key).map_err(|error| error.to_string())?,
        "value": bytes(&record.value).map_err(|error| error.to_string())?,
        "headers": headers,
    }))
}
