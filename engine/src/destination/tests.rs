//! What destinations are told.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

use super::report::{MESSAGE_BYTES_MAX, Reporter};
use super::*;
use crate::batch::{BatchLimits, FlushCause, OpenBatch, SealedBatch};
use crate::ids::{Offset, Partition, Slot, Topic};
use crate::payload::{Envelope, Pool, Template};
use crate::record::{Header, RecordRef, TimestampType};
use crate::time::Nanos;

const AT_MS: i64 = 1_573_691_906_021;

/// A batch of these partitions, offsets and keys; all values are the same.
fn batch(topic: &str, records: &[(i32, i64, Option<&[u8]>)]) -> SealedBatch {
    let mut pool = Pool::new(1 << 26, 6_291_455, 10_000);
    let limits = BatchLimits { batch_size: 10_000, window: Duration::ZERO, payload_bytes_max: 6_291_455 };
    let envelope = Arc::new(Envelope::self_managed("b:9092"));
    let mut open = OpenBatch::new(pool.acquire().expect("memory"), &limits, envelope);
    let headers = [Header { name: br#"a "quoted" \ name"#, value: Some(&[1, 200]) }];
    for &(partition, offset, key) in records {
        let template = Template::new(&Topic::new(topic), Partition(partition));
        let record = RecordRef {
            partition: Partition(partition),
            offset: Offset(offset),
            timestamp_ms: AT_MS - 2_000 + offset,
            timestamp_type: TimestampType::CreateTime,
            key,
            value: Some(b"a value"),
            headers: &headers,
        };
        let slot = Slot(u16::try_from(partition).expect("few"));
        assert_eq!(open.append_run(&mut pool, slot, &template, &[record], Nanos::ZERO).taken, 1);
    }
    open.seal(FlushCause::Count, Nanos::ZERO)
}

fn reporter(topic: &str) -> Reporter {
    Reporter {
        function_arn: "arn:aws:lambda:eu-central-1:123456789012:function:orders".into(),
        event_source_arn: None,
        bootstrap_servers: "b:9092".into(),
        topic: Topic::new(topic),
        mapping: Uuid::nil(),
    }
}

fn failure(batch: &SealedBatch, condition: Condition) -> Failure {
    let response = FailedResponse {
        status_code: 200,
        executed_version: "$LATEST".into(),
        function_error: Some("Unhandled".into()),
    };
    Failure {
        event: batch.whole(),
        condition,
        invocations: 3,
        response: (condition == Condition::RetryAttemptsExhausted).then_some(response),
        at_ms: AT_MS,
    }
}

fn json_of(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).expect("JSON")
}

fn event(failure: &Failure) -> String {
    let mut event = Vec::new();
    failure.event.write_to(&mut event);
    String::from_utf8(event).expect("text")
}

/// The report with its random id replaced.
fn without_id(mut report: Value) -> Value {
    let id = report["requestContext"]["requestId"].take();
    Uuid::parse_str(id.as_str().expect("a text")).expect("a UUID");
    report
}

#[test]
fn a_queue_or_topic_is_told_what_happened_and_not_the_event() {
    let batch = batch("t", &[(0, 5, None), (3, 7, None), (0, 6, None), (0, 9, None)]);
    let failure = failure(&batch, Condition::RetryAttemptsExhausted);
    let messages = reporter("t").messages(&failure);
    assert_eq!(messages.len(), 1);
    let text = String::from_utf8(messages[0].clone()).expect("text");
    let places = ["requestContext", "responseContext", "version", "timestamp", "KafkaBatchInfo"]
        .map(|name| text.find(&format!("\"{name}\"")).expect(name));
    assert!(places.is_sorted(), "AWS's order: {text}");
    assert_eq!(
        without_id(json_of(&messages[0])),
        json!({
            "requestContext": {
                "requestId": null,
                "functionArn": "arn:aws:lambda:eu-central-1:123456789012:function:orders",
                "condition": "RetryAttemptsExhausted",
                "approximateInvokeCount": 3
            },
            "responseContext": {
                "statusCode": 200,
                "executedVersion": "$LATEST",
                "functionError": "Unhandled"
            },
            "version": "1.0",
            "timestamp": "2019-11-14T00:38:26.021Z",
            "KafkaBatchInfo": {
                "batchSize": 4,
                "bootstrapServers": "b:9092",
                "payloadSize": failure.event.len(),
                "recordsInfo": {
                    "t-0": {
                        "firstRecordOffset": "5",
                        "lastRecordOffset": "9",
                        "firstRecordTimestamp": "2019-11-14T00:38:24.026Z",
                        "lastRecordTimestamp": "2019-11-14T00:38:24.030Z"
                    },
                    "t-3": {
                        "firstRecordOffset": "7",
                        "lastRecordOffset": "7",
                        "firstRecordTimestamp": "2019-11-14T00:38:24.028Z",
                        "lastRecordTimestamp": "2019-11-14T00:38:24.028Z"
                    }
                }
            }
        })
    );
}

#[test]
fn the_response_is_null_for_what_was_too_large_and_absent_for_what_was_too_old() {
    let batch = batch("t", &[(0, 5, None)]);
    let told = |condition| json_of(&reporter("t").messages(&failure(&batch, condition))[0]);
    let large = told(Condition::MaximumPayloadSizeExceeded);
    assert_eq!(large["requestContext"]["condition"], "MaximumPayloadSizeExceeded");
    assert!(large.get("responseContext").is_some_and(Value::is_null));
    let old = told(Condition::RecordAgeExceeded);
    assert_eq!(old["requestContext"]["condition"], "RecordAgeExceeded");
    assert_eq!(old.get("responseContext"), None);
}

#[test]
fn msk_names_its_cluster() {
    let batch = batch("t", &[(0, 5, None)]);
    let arn = "arn:aws:kafka:eu-central-1:123456789012:cluster/c/1";
    let reporter = Reporter { event_source_arn: Some(arn.into()), ..reporter("t") };
    let failure = failure(&batch, Condition::RecordAgeExceeded);
    assert_eq!(json_of(&reporter.messages(&failure)[0])["KafkaBatchInfo"]["eventSourceArn"], arn);
}

#[test]
fn a_bucket_gets_the_event_besides_as_a_text() {
    let batch = batch("t", &[(0, 5, Some(b"key")), (1, 7, None)]);
    let failure = failure(&batch, Condition::RetryAttemptsExhausted);
    let object = json_of(&reporter("t").object(&failure));
    assert_eq!(object["payload"], event(&failure));
    let mut rest = object;
    rest.as_object_mut().expect("an object").remove("payload");
    assert_eq!(without_id(rest), without_id(json_of(&reporter("t").messages(&failure)[0])));
    let key = reporter("t").object_key(&failure);
    let prefix = "aws/lambda/00000000-0000-0000-0000-000000000000/t-0/2019/11/14/2019-11-14T00.38.26-";
    let id = key.strip_prefix(prefix).unwrap_or_else(|| panic!("{key}"));
    Uuid::parse_str(id).expect("a UUID");
}

#[test]
fn a_kafka_topic_gets_each_record_with_its_key() {
    let batch = batch("t", &[(0, 5, Some(b"key")), (1, 7, None), (0, 6, Some(b""))]);
    let failure = failure(&batch, Condition::RetryAttemptsExhausted);
    let records: Vec<_> = reporter("t").records(&failure).collect();
    let keys: Vec<_> = records.iter().map(|record| record.key.as_deref()).collect();
    assert_eq!(keys, [Some(&b"key"[..]), None, Some(b"")]);
    let whole = json_of(event(&failure).as_bytes());
    for (record, (place, at)) in records.iter().zip([("t-0", 0), ("t-1", 0), ("t-0", 1)]) {
        let told = without_id(json_of(&record.value));
        let context = &told["requestContext"];
        assert_eq!(context["condition"], "RetriesExhausted");
        assert_eq!(
            context["functionArn"],
            "arn:aws:lambda:eu-central-1:123456789012:function:orders:$LATEST"
        );
        let expected = &whole["records"][place][at];
        assert_eq!(told["payload"]["records"], json!({ place: [expected] }));
        assert_eq!(told["payload"]["eventSource"], "SelfManagedKafka");
        let info = &told["KafkaBatchInfo"];
        assert_eq!((&info["batchSize"], info.get("recordsInfo")), (&json!(1), None));
        assert_eq!(info["recordInfo"]["offset"], expected["offset"].to_string());
        assert_eq!(info["payloadSize"], told["payload"].to_string().len());
    }
}

#[test]
fn what_does_not_fit_in_one_message_goes_in_several_and_each_partition_in_one() {
    let topic = "x".repeat(249);
    let records: Vec<_> = (0..2_000).map(|partition| (partition, i64::MAX / 2, None)).collect();
    let batch = batch(&topic, &records);
    let failure = failure(&batch, Condition::RetryAttemptsExhausted);
    let messages = reporter(&topic).messages(&failure);
    assert!(messages.len() > 1 && messages.iter().all(|message| message.len() <= MESSAGE_BYTES_MAX));
    let infos: Vec<Value> =
        messages.iter().map(|message| json_of(message)["KafkaBatchInfo"].clone()).collect();
    let sizes: i64 = infos.iter().map(|info| info["batchSize"].as_i64().expect("a number")).sum();
    let named: std::collections::BTreeSet<String> = infos
        .iter()
        .flat_map(|info| info["recordsInfo"].as_object().expect("an object").keys().cloned())
        .collect();
    assert_eq!((sizes, named.len()), (2_000, 2_000));
}

#[test]
fn an_error_is_one_line_with_what_to_do() {
    let error = DestinationError::new("arn:aws:sqs:q", &format!("no\nqueue {}", "x".repeat(2_000)));
    let text = error.with_remedy(Some("create it")).to_string();
    assert!(text.starts_with(r"arn:aws:sqs:q: no\nqueue xxx") && text.ends_with("…; create it"), "{text}");
    assert!(text.len() < 700 && !text.contains('\n'));
}

proptest! {
    /// The calendar that writes moments and the one that reads them are one.
    #[test]
    fn a_moment_is_read_again_as_it_was_written(ms in 0..253_402_300_800_000_i64) {
        let text = super::report::utc(ms);
        prop_assert_eq!(crate::mapping::Moment::from_text(&text).map(|moment| moment.unix_ms), Some(ms), "{}", text);
    }

    /// Any subset of a batch, in any order of partitions: nothing is left out of any form.
    #[test]
    fn every_record_is_in_every_form(
        places in proptest::collection::vec((0_i32..5, any::<bool>()), 1..60),
    ) {
        let mut next = [100_i64; 5];
        let records: Vec<(i32, i64, Option<&[u8]>)> = places
            .iter()
            .map(|(partition, keyed)| {
                let offset = &mut next[usize::try_from(*partition).expect("few")];
                *offset += 3;
                (*partition, *offset, keyed.then_some(&b"k"[..]))
            })
            .collect();
        let batch = batch("t", &records);
        let failure = failure(&batch, Condition::RetryAttemptsExhausted);
        let info = json_of(&reporter("t").messages(&failure)[0])["KafkaBatchInfo"].clone();
        prop_assert_eq!(&info["batchSize"], records.len());
        for partition in 0..5 {
            let offsets: Vec<i64> =
                records.iter().filter(|record| record.0 == partition).map(|record| record.1).collect();
            let told = &info["recordsInfo"][format!("t-{partition}")];
            let first = offsets.first().map(ToString::to_string);
            let last = offsets.last().map(ToString::to_string);
            prop_assert_eq!(told["firstRecordOffset"].as_str(), first.as_deref());
            prop_assert_eq!(told["lastRecordOffset"].as_str(), last.as_deref());
        }
        let object = json_of(&reporter("t").object(&failure));
        prop_assert_eq!(&object["payload"], &Value::from(event(&failure)));
        let reporter = reporter("t");
        let told: Vec<(String, bool)> = reporter
            .records(&failure)
            .map(|record| {
                let offset = json_of(&record.value)["KafkaBatchInfo"]["recordInfo"]["offset"].clone();
                (offset.as_str().expect("a text").to_owned(), record.key.is_some())
            })
            .collect();
        let expected: Vec<(String, bool)> =
            failure.event.entries().map(|entry| {
                let record = records[entry.position as usize];
                (entry.offset.0.to_string(), record.2.is_some())
            }).collect();
        prop_assert_eq!(told, expected);
    }
}
