//! Topics and headers of any name.

use std::sync::Arc;
use std::time::Duration;

use pelton::batch::{BatchLimits, FlushCause, OpenBatch};
use pelton::ids::{Offset, Partition, Slot, Topic};
use pelton::payload::{Envelope, Pool, Template};
use pelton::record::{Header, RecordRef, TimestampType};
use pelton::time::Nanos;
use serde_json::Value;

/// The input, cut at zero bytes: a topic, and names and values of headers in turn. The event is JSON, its
/// names are those that went in, its values their bytes as Java has them.
///
/// # Panics
/// If not.
pub fn check(input: &[u8]) {
    let mut parts = input.split(|byte| *byte == 0);
    let topic = String::from_utf8_lossy(parts.next().unwrap_or_default());
    let parts: Vec<&[u8]> = parts.take(32).collect();
    let headers: Vec<Header<'_>> =
        parts.chunks(2).map(|pair| Header { name: pair[0], value: pair.get(1).copied() }).collect();
    let topic = Topic::new(&topic);
    let (mut pool, template) = (Pool::new(1 << 24, 6_291_455, 1), Template::new(&topic, Partition(3)));
    let limits = BatchLimits { batch_size: 1, window: Duration::ZERO, payload_bytes_max: 6_291_455 };
    let envelope = Arc::new(Envelope::self_managed("b:9092"));
    let mut open = OpenBatch::new(pool.acquire().expect("memory for one batch"), &limits, envelope);
    let record = RecordRef {
        partition: Partition(3),
        offset: Offset(7),
        timestamp_ms: 1,
        timestamp_type: TimestampType::CreateTime,
        key: None,
        value: None,
        headers: &headers,
    };
    if open.append_run(&mut pool, Slot(0), &template, &[record], Nanos::ZERO).taken == 0 {
        return; // Too large for any event.
    }
    let mut event = Vec::new();
    open.seal(FlushCause::Count, Nanos::ZERO).whole().write_to(&mut event);
    let event: Value = serde_json::from_slice(&event).expect("an event is JSON");
    let record = &event["records"][format!("{topic}-3")][0];
    assert_eq!(record["topic"], topic.as_str());
    let told = record["headers"].as_array().expect("a list");
    assert_eq!(told.len(), headers.len());
    for (told, header) in told.iter().zip(&headers) {
        let (name, value) = told.as_object().and_then(|one| one.iter().next()).expect("one name");
        if let Ok(expected) = std::str::from_utf8(header.name) {
            assert_eq!(name, expected);
        }
        let signed: Vec<i64> =
            header.value.unwrap_or_default().iter().map(|byte| i64::from(byte.cast_signed())).collect();
        assert_eq!(value, &Value::from(signed));
    }
}
