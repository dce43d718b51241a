//! The dry run, through the binary: over a capture, over a topic, and with wrong flags.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use pelton::batch::{BatchLimits, OpenBatch};
use pelton::ids::{Offset, Partition, Slot, Topic};
use pelton::payload::{Envelope, Pool, Template};
use pelton::record::{Header, RecordRef, TimestampType};
use pelton::source::embedded::EmbeddedBroker;
use pelton::source::replay::{CaptureWriter, Header as CaptureHeader, Keep};
use pelton::time::Nanos;
use pelton_harness::explain::Explained;
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

const START_MS: i64 = 1_700_000_000_000;

fn explain(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pelton-harness"))
        .arg("explain")
        .args(arguments)
        .env("NO_COLOR", "1")
        .output()
        .expect("the harness is built")
}

fn explained(arguments: &[&str]) -> Explained {
    let output = explain(&[arguments, &["--json", "-"]].concat());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    serde_json::from_slice(&output.stdout).expect("its JSON")
}

/// Sizes that differ, keys and headers now and then.
fn with_record<T>(n: usize, then: impl FnOnce(RecordRef<'_>) -> T) -> T {
    let value = vec![7; n * 37 % 500];
    let headers = [Header { name: b"trace", value: Some(&[1, 200, 3]) }];
    then(RecordRef {
        partition: Partition([4, 9][n % 2]),
        offset: Offset((n / 2) as i64),
        timestamp_ms: START_MS + n as i64,
        timestamp_type: TimestampType::CreateTime,
        key: n.is_multiple_of(3).then_some(b"a key"),
        value: (!n.is_multiple_of(5)).then_some(&value),
        headers: &headers[..n % 2],
    })
}

/// A record each millisecond, of two partitions in turn.
fn capture(path: &Path, records: usize, keep: Keep) {
    let header = CaptureHeader {
        topic: "orders".into(),
        partitions: 10,
        captured_at_ms: START_MS,
        origin: String::new(),
    };
    let file = std::fs::File::create(path).expect("a file");
    let mut writer = CaptureWriter::new(file, "test", &header, keep, 1).expect("a capture");
    for n in 0..records {
        with_record(n, |record| writer.append(&record)).expect("it fits");
    }
    writer.finish().expect("written");
}

#[test]
fn events_have_the_size_that_the_engine_gives_them() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("orders.capture");
    capture(&path, 600, Keep::Whole);
    let limits =
        BatchLimits { batch_size: 10_000, window: Duration::from_secs(300), payload_bytes_max: 100_000 };
    let mut pool = Pool::new(1 << 24, 100_000, 10_000);
    let lease = pool.acquire().expect("memory");
    let mut open = OpenBatch::new(lease, &limits, Arc::new(Envelope::self_managed("kafka:9092")));
    let templates = [4, 9].map(|partition| Template::new(&Topic::new("orders"), Partition(partition)));
    let mut taken = 0;
    while with_record(taken, |record| {
        let slot = Slot((taken % 2) as u16);
        open.append_run(&mut pool, slot, &templates[taken % 2], &[record], Nanos::ZERO).taken == 1
    }) {
        taken += 1;
    }
    let found = explained(&[
        "--replay",
        path.to_str().expect("UTF-8"),
        "--batch-size",
        "10000",
        "--maximum-batching-window",
        "300s",
        "--payload-bytes-max",
        "100000B",
        "--pollers",
        "1",
    ]);
    let first = &found.first[0];
    assert_eq!((first.records as usize, first.payload_bytes), (taken, open.payload_bytes()));
    assert_eq!((first.cause.as_str(), first.partitions), ("bytes", 2));
    assert_eq!(found.records, 600);
}

#[test]
fn arrivals_windows_and_the_functions_time_decide() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("orders.capture");
    capture(&path, 1_000, Keep::Whole);
    let path = path.to_str().expect("UTF-8");
    let common = ["--replay", path, "--batch-size", "50", "--maximum-batching-window", "20ms"];

    // A record of each partition every 2 ms: the window closes batches of 11.
    let found = explained(&[&common[..], &["--pollers", "2"]].concat());
    assert!(found.causes["window"] > 80 && found.batch_records.p50 == 11, "{found:?}");
    assert!(found.oldest_record_age_sent.max_us <= 20_100 && found.binds[0].contains("window"), "{found:?}");

    // A slow function: what is full waits for it, and that is what binds.
    let found = explained(&[&common[..], &["--pollers", "2", "--stub", "fixed(200ms)"]].concat());
    assert!(found.causes["count"] > found.batches / 2, "{found:?}");
    assert!(found.binds.iter().any(|bind| bind.contains("waited for the function")), "{:?}", found.binds);
    assert!(found.busy_share > 0.9, "{found:?}");

    // A backlog has no windows but the last.
    let found = explained(&[&common[..], &["--pollers", "1", "--backlog"]].concat());
    assert_eq!((found.batches, found.causes["count"], found.record_age_sent.max_us), (20, 20, 0));

    // Another run says the same.
    assert_eq!(explained(&common), explained(&common));
}

#[test]
fn a_filter_leaves_records_out_and_needs_their_values() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("orders.capture");
    capture(&path, 100, Keep::Whole);
    let filter = r#"{"partition":[4]}"#;
    let found = explained(&["--replay", path.to_str().expect("UTF-8"), "--filter", filter]);
    assert_eq!((found.records, found.records_filtered), (100, 50));
    capture(&path, 100, Keep::Sizes);
    let output = explain(&["--replay", path.to_str().expect("UTF-8"), "--filter", filter]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(text.contains("`filter`") && text.contains("without --sizes-only"), "{text}");
}

#[test]
fn a_live_topic_is_read_as_it_is() {
    let broker = EmbeddedBroker::start(1).expect("a broker");
    broker.create_topic(&Topic::new("orders"), 3).expect("a topic");
    let servers = broker.bootstrap_servers();
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", &servers).create().expect("a producer");
    for n in 0..300_i64 {
        let value = [7_u8; 50];
        let record = BaseRecord::<(), [u8]>::to("orders")
            .partition(i32::try_from(n % 3).expect("small"))
            .timestamp(START_MS + n)
            .payload(&value[..]);
        producer.send(record).map_err(|(error, _)| error).expect("the client takes it");
    }
    producer.flush(Duration::from_secs(30)).expect("the broker takes them");
    let found = explained(&[
        "--brokers",
        &servers,
        "--topic",
        "orders",
        "--from",
        "earliest",
        "--batch-size",
        "30",
        "--maximum-batching-window",
        "10s",
    ]);
    assert_eq!((found.records, found.pollers, found.causes["count"]), (300, 3, 9), "{found:?}");
}

#[test]
fn wrong_flags_are_named_before_anything_is_done() {
    for (arguments, words) in [
        (&[][..], "required"),
        (&["--replay", "a", "--topic", "b"], "cannot be used with"),
        (&["--replay", "/does/not/exist"], "`replay`"),
        (&["--topic", "orders"], "bootstrap_servers"),
        (&["--replay", "a", "--batch-size", "0"], "batch_size"),
    ] {
        let output = explain(arguments);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
        assert!(text.contains(words), "{arguments:?}: {text}");
    }
}
