//! Events byte for byte, as files one can read.
//!
//! `contract.json` is the example of AWS's documentation, with the header's bytes signed, as they
//! are in real events. The others settle what the documentation leaves open.

use pelton::batch::{BatchLimits, FlushCause, OpenBatch};
use pelton::ids::{Offset, Partition, Slot, Topic};
use pelton::payload::{Envelope, Pool, Template, Tier};
use pelton::record::{Header, RecordRef, TimestampType};
use pelton::time::Nanos;
use std::sync::Arc;

fn event(tier: Tier, envelope: Envelope, topic: &str, records: &[RecordRef<'_>]) -> String {
    let limits = BatchLimits::default();
    let mut pool = Pool::new(0, limits.payload_bytes_max as usize, 100).with_tier(tier);
    let lease = pool.acquire().expect("the first buffer is within every budget");
    let mut batch = OpenBatch::new(lease, &limits, Arc::new(envelope));
    for run in records.chunk_by(|one, other| one.partition == other.partition) {
        let partition = run[0].partition;
        let template = Template::new(&Topic::new(topic), partition);
        let slot = Slot(partition.0 as u16);
        assert_eq!(batch.append_run(&mut pool, slot, &template, run, Nanos::ZERO).taken, run.len());
    }
    let payload = batch.seal(FlushCause::Window, Nanos::ZERO).whole();
    let text: Vec<u8> = payload.frames().flatten().collect();
    assert_eq!(text.len(), payload.len());
    String::from_utf8(text).expect("an event is UTF-8")
}

#[track_caller]
fn check(golden: &str, envelope: &Envelope, topic: &str, records: &[RecordRef<'_>]) {
    for tier in Tier::available() {
        let event = event(tier, envelope.clone(), topic, records);
        assert_eq!(event, golden.trim_end(), "written by {tier}");
        serde_json::from_str::<serde_json::Value>(&event).expect("an event is JSON");
    }
}

const PLAIN: RecordRef<'_> = RecordRef {
    partition: Partition(0),
    offset: Offset(15),
    timestamp_ms: 1_545_084_650_987,
    timestamp_type: TimestampType::CreateTime,
    key: Some(b"recordKey"),
    value: Some(b"Hello from Kafka !!"),
    headers: &[Header { name: b"headerKey", value: Some(b"headerValue") }],
};

#[test]
fn the_documented_example_is_byte_exact() {
    let envelope = Envelope::self_managed("host1:9092,host2:9092");
    check(include_str!("golden/contract.json"), &envelope, "mytopic", &[PLAIN]);
}

#[test]
fn msk_names_the_cluster_after_the_source() {
    let envelope = Envelope::msk(
        "arn:aws:kafka:us-east-1:123456789012:cluster/vpc-2priv-2pub/751d2973-a626-431c-9d4e-d7975eb44dd7-2",
        "b-2.demo-cluster-1.a1bcde.c1.kafka.us-east-1.amazonaws.com:9092",
    );
    check(include_str!("golden/msk.json"), &envelope, "mytopic", &[RecordRef { headers: &[], ..PLAIN }]);
}

#[test]
fn a_null_key_or_value_is_absent_and_an_empty_one_is_not() {
    let records = [
        RecordRef { key: None, headers: &[], ..PLAIN },
        RecordRef { offset: Offset(16), value: None, headers: &[], ..PLAIN },
        RecordRef { offset: Offset(17), key: None, value: None, headers: &[], ..PLAIN },
        RecordRef { offset: Offset(18), key: Some(b""), value: Some(b""), headers: &[], ..PLAIN },
    ];
    check(include_str!("golden/null-and-empty.json"), &Envelope::self_managed("b:9092"), "t", &records);
}

#[test]
fn header_bytes_are_signed_repeat_and_may_be_null_or_badly_named() {
    let headers = [
        Header { name: b"signed", value: Some(&[118, 220, 0, 127, 128, 255, 9, 10, 99, 100]) },
        Header { name: b"twice", value: Some(b"1") },
        Header { name: b"twice", value: Some(b"") },
        Header { name: b"null", value: None },
        Header { name: b"", value: Some(b"nameless") },
        Header { name: b"quote\"back\\slash\ttab\x01", value: Some(b"x") },
        Header { name: "ümlaut".as_bytes(), value: Some("ë".as_bytes()) },
        Header { name: b"not\xffutf8\xe2\x82", value: Some(b"x") },
    ];
    let records = [RecordRef { headers: &headers, ..PLAIN }];
    check(include_str!("golden/headers.json"), &Envelope::self_managed("b:9092"), "t", &records);
}

#[test]
fn partitions_stand_in_the_order_of_their_first_records() {
    let at = |partition, offset| RecordRef {
        partition: Partition(partition),
        offset: Offset(offset),
        key: None,
        value: Some(b"v"),
        headers: &[],
        ..PLAIN
    };
    let records = [at(7, 1), at(0, 5), at(7, 3), at(12, 0), at(0, 6)];
    check(include_str!("golden/partitions.json"), &Envelope::self_managed("b:9092"), "orders.eu", &records);
}

#[test]
fn timestamps_carry_their_type() {
    let records = [
        RecordRef { timestamp_type: TimestampType::LogAppendTime, key: None, headers: &[], ..PLAIN },
        RecordRef { timestamp_type: TimestampType::None, timestamp_ms: -1, key: None, headers: &[], ..PLAIN },
        RecordRef { offset: Offset(i64::MAX), timestamp_ms: 0, key: None, headers: &[], ..PLAIN },
    ];
    check(include_str!("golden/timestamps.json"), &Envelope::self_managed("b:9092"), "t", &records);
}
