//! What an operator sees of a function that fails: log lines, and how much memory it costs. Against
//! the embedded broker.

use std::time::Duration;

use serde_json::Value;

use crate::embedded::stage_of;
use crate::support::content::Content;
use crate::support::engine::Engine;
use crate::support::eventually;
use crate::support::fault::{Answer, Law};

const MIB: u64 = 1 << 20;
/// What a process of the engine has besides its memory budget: code, the Kafka client, threads,
/// connections. README states it.
const FIXED_OVERHEAD_BYTES: u64 = 64 * MIB;

#[test]
fn each_failed_attempt_is_told_with_all_that_an_operator_needs_and_never_a_payload() {
    let content = Content::new(7, 20..=300);
    let (_cluster, stage) = stage_of(2, content.clone(), Law::always(Answer::FunctionError("Unhandled")));
    stage.fill(50);
    let engine = Engine::start(&stage.settings().engine("log_format", "json"));
    eventually("three attempts have failed", || engine.log().matches("invocation failed").count() >= 3);
    stage.function.obey(Law::kind());
    stage.reach(stage.total(50));
    let log = engine.log();
    engine.drain();

    let failures: Vec<Value> = log
        .lines()
        .filter(|line| line.contains("invocation failed"))
        .map(|line| serde_json::from_str(line).expect("a log line is JSON"))
        .collect();
    for fields in &failures {
        assert_eq!(fields["level"], "WARN");
        assert_eq!(fields["mapping"], stage.group.as_str());
        assert_eq!(fields["topic"], stage.topic.as_str());
        assert_eq!(fields["outcome"], "function_error");
        assert_eq!(fields["error_type"], "OrderError");
        assert_eq!(fields["error_message"], "no such order");
        assert_eq!(fields["next"], "retry");
        assert!(fields["wait_ms"].as_u64().is_some_and(|ms| ms >= 200), "{fields}");
        assert!(fields["attempt"].as_u64().is_some_and(|attempt| attempt >= 1), "{fields}");
        let records = fields["records"].as_u64().expect("a number");
        assert_eq!(fields["failed"], records);
        let offsets = fields["offsets"].as_str().expect("a text");
        let covered: u64 = offsets
            .split(',')
            .map(|range| {
                let (_partition, range) = range.split_once(':').expect("PARTITION:FIRST-LAST");
                let (first, last) = range.split_once('-').expect("PARTITION:FIRST-LAST");
                last.parse::<u64>().expect("an offset") - first.parse::<u64>().expect("an offset") + 1
            })
            .sum();
        assert_eq!(covered, records, "{offsets}");
    }
    for record in (0..2).flat_map(|partition| (0..50).map(move |ordinal| (partition, ordinal))) {
        let record = content.record(record.0, record.1);
        for bytes in [record.key.as_deref(), record.value].into_iter().flatten().filter(|b| b.len() > 8) {
            let encoded = base64_simd::STANDARD.encode_to_string(bytes);
            assert!(!log.contains(encoded.trim_end_matches('=')), "a payload is in the log");
        }
    }
}

#[test]
fn what_is_given_up_is_found_in_the_kafka_topic_with_its_key_and_its_event() {
    let content = Content::new(6, 20..=300);
    let (cluster, stage) = stage_of(2, content.clone(), Law::always(Answer::FunctionError("Handled")));
    let dead = crate::support::unique("dead");
    cluster.create_topic(&dead, 3, 1).expect("a topic");
    stage.fill(40);
    let settings = stage
        .settings()
        .with("destination_config", &format!("kafka://{dead}"))
        .with("maximum_retry_attempts", "1")
        .engine("retry_backoff", "10ms");
    let engine = Engine::start(&settings);
    eventually("all is committed", || stage.committed() == [Some(40); 2]);
    engine.drain();
    let mut seen = std::collections::BTreeSet::new();
    for (key, value) in crate::support::client::read(&stage.bootstrap_servers, &dead, 3, 80) {
        let told: Value = serde_json::from_slice(&value).expect("JSON");
        assert_eq!(told["requestContext"]["condition"], "RetriesExhausted");
        assert_eq!(told["requestContext"]["approximateInvokeCount"], 2);
        let partitions = told["payload"]["records"].as_object().expect("an event");
        let (_, records) = partitions.iter().next().expect("one partition");
        let (partition, offset) = (&records[0]["partition"], &records[0]["offset"]);
        assert_eq!(told["KafkaBatchInfo"]["recordInfo"]["offset"], offset.to_string());
        let partition = i32::try_from(partition.as_i64().expect("a number")).expect("small");
        let offset = offset.as_u64().expect("a number");
        assert_eq!(key, content.record(partition, offset).key, "{partition}@{offset}");
        assert!(seen.insert((partition, offset)), "{partition}@{offset} twice");
    }
    assert_eq!(seen.len(), 80);
}

#[test]
fn large_batches_that_all_fail_stay_within_the_memory_budget() {
    const PARTITIONS: i32 = 24;
    // Nearly what the embedded broker keeps of a partition, and nearly a full event.
    let content = Content::new(8, 100_000..=100_000);
    let (_cluster, stage) = stage_of(PARTITIONS, content, Law::always(Answer::FunctionError("Unhandled")));
    stage.ledger.begins_anywhere();
    stage.fill(52);
    let budget_bytes = 400 * MIB;
    let settings = stage
        .settings()
        .with("batch_size", "10000")
        .with("maximum_batching_window", "3s")
        .engine("pollers", &PARTITIONS.to_string())
        .engine("memory_budget", "400MiB")
        .engine("function_timeout", "30s");
    let engine = Engine::start(&settings);
    eventually("every batch has failed several times", || {
        let failures = stage.function.answers().get(&Answer::FunctionError("Unhandled")).copied();
        failures.is_some_and(|failures| failures >= 4 * u64::from(PARTITIONS.unsigned_abs()))
    });
    crate::support::pause(Duration::from_millis(200));
    let peak_bytes = engine.peak_resident_bytes();
    println!("{} MiB resident at most, budget {} MiB", peak_bytes / MIB, budget_bytes / MIB);
    assert!(
        peak_bytes <= budget_bytes + FIXED_OVERHEAD_BYTES,
        "{} MiB resident, with a budget of {} MiB",
        peak_bytes / MIB,
        budget_bytes / MIB
    );
    drop(engine);
}
