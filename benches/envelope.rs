//! What surrounds the records: head, a key for each partition, tail. One short record in each
//! partition; ours walks prepared pieces, the peer formats them each time.

use crate::contest::{Front, Role, Row};
use crate::{Headers, Shape, TOPIC, Writer, records, sized};
use pelton::payload::Tier;
use std::fmt::Write as _;

pub(crate) fn contests(front: &mut dyn Front) {
    for partitions in [1, 16, 256] {
        let case = format!("{partitions} partitions");
        if front.wants("envelope", &case, partitions == 16) {
            contest(front, &case, sized(partitions, partitions.min(2)));
        }
    }
}

fn contest(front: &mut dyn Front, case: &str, partitions: usize) {
    let records = records(Shape { value_bytes: 0, varying: false, headers: Headers::None }, partitions);
    let payload = Writer::of_partitions(partitions, Tier::best(), partitions).payload_of_runs(records, 1);
    let mut written = Vec::new();
    payload.write_to(&mut written);
    let event = String::from_utf8(written).expect("an event is JSON");
    let texts = texts_of(&event, partitions);
    let mut formatted = String::new();
    format_event(&texts, &mut formatted);
    assert!(formatted == event, "the peer formats what ours is");

    let (len, event, texts, payload) = (event.len(), &event, &texts[..], &payload);
    let mut row = Row::new("envelope", case, "partition", partitions, 0);
    let mut out = Vec::with_capacity(len);
    row.contestant(Role::Pelton, "write_to", &len, move || {
        out.clear();
        payload.write_to(&mut out);
        out.len()
    });
    row.contestant(Role::Pelton, "frames", &len, move || {
        payload.frames().map(|frame| frame.len()).sum::<usize>()
    });
    let mut copied = vec![0; len];
    row.contestant(Role::Floor, "memcpy", &len, move || {
        copied.copy_from_slice(event.as_bytes());
        copied.len()
    });
    row.contestant(Role::Peer, "write!", &len, move || {
        formatted.clear();
        format_event(texts, &mut formatted);
        formatted.len()
    });
    front.row(row);
}

/// Each partition's record, read out of the event.
fn texts_of(event: &str, partitions: usize) -> Vec<String> {
    let key = |partition: usize| format!(r#""{TOPIC}-{partition}":["#);
    let text = |partition: usize| {
        let start = event.find(&key(partition)).map_or(0, |at| at + key(partition).len());
        let end = event.find(&format!("],{}", key(partition + 1))).unwrap_or(event.len() - "]}}".len());
        event[start..end].to_owned()
    };
    (0..partitions).map(text).collect()
}

fn format_event(texts: &[String], out: &mut String) {
    out.push_str(r#"{"eventSource":"SelfManagedKafka","bootstrapServers":"localhost:9092","records":{"#);
    for (partition, text) in texts.iter().enumerate() {
        let comma = if partition == 0 { "" } else { "," };
        let _ = write!(out, r#"{comma}"{TOPIC}-{partition}":[{text}]"#);
    }
    out.push_str("}}");
}
