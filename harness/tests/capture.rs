//! From a live topic to a file, and from the file through the engine: the binary, its files and its
//! exit codes, over a broker in this process.

mod support;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use pelton::ids::Topic;
use pelton::source::embedded::EmbeddedBroker;
use pelton::source::replay::{CaptureReader, Part};
use pelton_harness::capture::CaptureSummary;
use pelton_harness::result::{LatencyFrom, RunResult};
use rdkafka::config::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use support::harness;

/// Partition, timestamp, key, value, headers.
type Sent = (i32, i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<(String, Option<Vec<u8>>)>);

const START_MS: i64 = 1_700_000_000_000;
const RECORDS: i64 = 600;

/// Two records of three a millisecond apart, on three of four partitions, with everything that is easy to lose:
/// nulls, empty parts, repeated headers, bytes that are not UTF-8.
fn record(n: i64) -> Sent {
    let bytes = |len: i64| (0..len).map(|at| (at * 7 + n) as u8).collect::<Vec<u8>>();
    let key = (n % 4 != 0).then(|| bytes(n % 3 * 5));
    let value = (n % 7 != 0).then(|| bytes(n * 13 % 900));
    let headers = match n % 5 {
        0 => vec![
            ("trace".to_owned(), Some(bytes(16))),
            ("trace".to_owned(), None),
            (String::new(), Some(vec![])),
        ],
        1 => vec![("größe".to_owned(), Some(vec![0xff, 0]))],
        _ => Vec::new(),
    };
    let partition = [0, 1, 3][(n % 3) as usize];
    (partition, START_MS + n / 2, key, value, headers)
}

fn fill(broker: &EmbeddedBroker) {
    let topic = Topic::new("orders");
    broker.create_topic(&topic, 4).expect("a new topic");
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", broker.bootstrap_servers())
        .set("enable.idempotence", "true")
        .create()
        .expect("a producer");
    for n in 0..RECORDS {
        let (partition, timestamp, key, value, headers) = record(n);
        let mut sending = BaseRecord::<[u8], [u8]>::to("orders").partition(partition).timestamp(timestamp);
        sending.key = key.as_deref();
        sending.payload = value.as_deref();
        if !headers.is_empty() {
            sending.headers = Some(headers.iter().fold(OwnedHeaders::new(), |owned, (name, value)| {
                owned.insert(Header { key: name, value: value.as_deref() })
            }));
        }
        producer.send(sending).map_err(|(error, _)| error).expect("the client takes it");
    }
    producer.flush(Duration::from_secs(30)).expect("the broker takes them");
}

fn succeeds(arguments: &[&str]) -> String {
    let output = harness(arguments);
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {text}\n{errors}");
    text.into_owned()
}

fn capture(broker: &EmbeddedBroker, out: &Path, more: &[&str]) -> CaptureSummary {
    let servers = broker.bootstrap_servers();
    let json = out.with_extension("json");
    let mut arguments = vec!["capture", "--brokers", &servers, "--topic", "orders", "--from", "earliest"];
    arguments.extend([
        "--out",
        out.to_str().expect("a path in UTF-8"),
        "--json",
        json.to_str().expect("a path in UTF-8"),
    ]);
    arguments.extend(more);
    succeeds(&arguments);
    serde_json::from_slice(&std::fs::read(json).expect("a result")).expect("its JSON")
}

fn run(arguments: &[&str], json: &Path) -> RunResult {
    let mut all = vec!["run", "--json", json.to_str().expect("a path in UTF-8"), "--warm-up", "0s"];
    all.extend(arguments);
    succeeds(&all);
    serde_json::from_slice(&std::fs::read(json).expect("a result")).expect("its JSON")
}

/// The records of a whole capture, in order, partition by partition.
fn read(path: &Path) -> Vec<Vec<Sent>> {
    let file = std::fs::File::open(path).expect("a capture");
    let mut reader = CaptureReader::open(file, "test").expect("a capture");
    let bytes = |part: Part<'_>| match part {
        Part::Bytes(bytes) => bytes.to_vec(),
        other => panic!("{other:?} in a whole capture"),
    };
    let mut records: Vec<Vec<Sent>> = vec![Vec::new(); 4];
    while let Some(block) = reader.next_block().expect("readable") {
        for record in block.records() {
            let headers = record.headers.clone().map(|header| {
                (String::from_utf8(bytes(header.name)).expect("UTF-8"), header.value.map(bytes))
            });
            let own = &mut records[record.partition.0 as usize];
            assert_eq!(record.offset.0, own.len() as i64);
            own.push((
                record.partition.0,
                record.timestamp_ms,
                record.key.map(bytes),
                record.value.map(bytes),
                headers.collect(),
            ));
        }
    }
    assert!(reader.damages().is_empty(), "{:?}", reader.damages());
    records
}

fn expected() -> Vec<Vec<Sent>> {
    let mut records: Vec<Vec<Sent>> = vec![Vec::new(); 4];
    (0..RECORDS).map(record).for_each(|record| records[record.0 as usize].push(record));
    records
}

#[test]
fn a_topic_is_captured_exactly_and_left_untouched() {
    let broker = EmbeddedBroker::start(1).unwrap();
    fill(&broker);
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("orders.capture");
    let summary = capture(&broker, &out, &["--until-end", "--origin", "a test"]);
    assert_eq!((summary.records, summary.topic_partitions, summary.keep.as_str()), (600, 4, "whole"));
    assert_eq!((summary.is_complete, summary.failure.as_deref(), summary.interrupted), (true, None, false));
    assert_eq!((summary.values.count, summary.values.none_count), (514, 86));
    assert_eq!((summary.earliest_unix_ms, summary.latest_unix_ms), (START_MS, START_MS + 299));
    assert_eq!(summary.file_bytes, out.metadata().unwrap().len());
    assert_eq!(read(&out), expected());
    // Into an existing file, only if told so.
    let servers = broker.bootstrap_servers();
    let again = ["capture", "--brokers", &servers, "--topic", "orders", "--out", out.to_str().unwrap()];
    let output = harness(&again);
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--overwrite"), "{output:?}");
    // Some of it, to a pipe.
    let pipe = ["--from", "earliest", "--records", "100", "--partitions", "3,1", "--out", "-"];
    let output = harness(&[&again[..5], &pipe[..]].concat());
    assert!(output.status.success(), "{output:?}");
    let inspected = pelton_harness::capture::inspect(&output.stdout[..], "pipe").unwrap();
    assert_eq!((inspected.records, inspected.is_complete), (100, true));
    assert!(inspected.partitions.iter().all(|one| [1, 3].contains(&one.partition)), "{inspected:?}");
}

#[test]
fn a_capture_is_replayed_in_memory_over_and_over() {
    let broker = EmbeddedBroker::start(1).unwrap();
    fill(&broker);
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("orders.capture");
    capture(&broker, &out, &["--until-end"]);
    // Two and a half times, through the default scenario's engine settings.
    let arguments = ["--replay", out.to_str().unwrap(), "--source", "memory", "--records", "1500"];
    let more = ["--stub", "null(verify=true)", "--batch-size", "70", "--pollers", "2"];
    let result = run(&[&arguments[..], &more[..]].concat(), &directory.path().join("run.json"));
    assert!(result.is_clean(), "{:?}", result.audit);
    assert_eq!(result.audit.records_delivered, 1_500);
    assert_eq!(result.latency_from, LatencyFrom::Poll);
    assert!(!result.remarks.iter().any(|remark| remark.contains("capture")), "{:?}", result.remarks);
    assert_eq!(result.spec.replay.as_deref(), Some(&*out));
    assert!(!result.invocations.contains_key("function_error"), "the stub checks each event");
}

#[test]
fn a_capture_is_replayed_through_a_broker_at_its_own_times_and_comes_out_as_it_was() {
    let broker = EmbeddedBroker::start(1).unwrap();
    fill(&broker);
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("orders.capture");
    capture(&broker, &out, &["--until-end"]);
    let replay = ["--replay", out.to_str().unwrap(), "--records", "900"];
    let stub = ["--stub", "fixed(1ms, verify=true)"];
    let result = run(&[&replay[..], &stub[..]].concat(), &directory.path().join("run.json"));
    assert!(result.is_clean(), "{:?}", result.audit);
    // Three partitions have records; each begins with one more.
    assert_eq!(result.audit.records_delivered, 903);
    assert_eq!((result.latency_from, result.load.unwrap().records), (LatencyFrom::IntendedSend, 900));
    // Into a topic of its own, and out again: the same records, behind those that each partition
    // begins with.
    let target = EmbeddedBroker::start(1).unwrap();
    target.create_topic(&Topic::new("orders"), 3).unwrap();
    let servers = target.bootstrap_servers();
    let into = ["--brokers", &servers, "--topic", "orders", "--arrival", "fast", "--records", "600"];
    let group = ["--stub", "null"];
    let result = run(&[&replay[..2], &into[..], &group[..]].concat(), &directory.path().join("into.json"));
    assert!(result.is_clean(), "{:?}", result.audit);
    let again = directory.path().join("again.capture");
    capture(&target, &again, &["--until-end"]);
    let without_times = |records: Vec<Vec<Sent>>| -> Vec<Vec<_>> {
        let strip = |records: Vec<Sent>| {
            records.into_iter().map(|(_, _, key, value, headers)| (key, value, headers)).collect::<Vec<_>>()
        };
        records.into_iter().map(strip).filter(|records| !records.is_empty()).collect()
    };
    let found = without_times(read(&again));
    let expected = without_times(expected());
    assert_eq!(found.len(), 3);
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found[0], expected[0]);
        assert_eq!(&found[1..], &expected[..]);
    }
}

#[test]
fn sizes_alone_are_replayed_as_records_of_those_sizes() {
    let broker = EmbeddedBroker::start(1).unwrap();
    fill(&broker);
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("sizes.capture");
    let summary = capture(&broker, &out, &["--until-end", "--sizes-only"]);
    assert_eq!((summary.keep.as_str(), summary.records), ("sizes", 600));
    let whole = capture(&broker, &directory.path().join("whole.capture"), &["--until-end"]);
    assert_eq!(summary.record_bytes, whole.record_bytes);
    assert_eq!((summary.keys, summary.values, summary.headers), (whole.keys, whole.values, whole.headers));
    assert!(summary.file_bytes < summary.record_bytes / 8, "{summary:?}");
    assert!(!std::fs::read(&out).unwrap().windows(5).any(|bytes| bytes == b"trace"));
    let replay = ["--replay", out.to_str().unwrap(), "--source", "memory", "--records", "600"];
    let content = ["--value-content", "random", "--stub", "null(verify=true)"];
    let result = run(&[&replay[..], &content[..]].concat(), &directory.path().join("sizes-run.json"));
    assert!(result.is_clean(), "{:?}", result.audit);
    assert_eq!(result.audit.records_delivered, 600);
}

#[test]
fn a_damaged_capture_is_inspected_and_what_is_whole_of_it_is_replayed() {
    let broker = EmbeddedBroker::start(1).unwrap();
    fill(&broker);
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("orders.capture");
    capture(&broker, &out, &["--until-end"]);
    let path = out.to_str().unwrap();
    assert!(succeeds(&["capture", "--inspect", path]).contains("whole         yes"));
    let bytes = std::fs::read(&out).unwrap();
    std::fs::write(&out, &bytes[..bytes.len() - 10]).unwrap();
    let output = harness(&["capture", "--inspect", path]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("ends in the middle") && text.contains("600, "), "{text}");
    let arguments = ["--replay", path, "--source", "memory", "--records", "600", "--stub", "null"];
    let result = run(&arguments, &directory.path().join("run.json"));
    assert!(result.remarks[0].contains("ends in the middle"), "{:?}", result.remarks);
    // From a pipe, too.
    let mut child = Command::new(env!("CARGO_BIN_EXE_pelton-harness"))
        .args(["capture", "--inspect", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), &bytes).unwrap();
    assert!(child.wait_with_output().unwrap().status.success());
}

#[test]
fn wrong_usage_says_what_would_do() {
    let directory = tempfile::tempdir().unwrap();
    let text = directory.path().join("notes.txt");
    std::fs::write(&text, "a text of some length, and no capture").unwrap();
    let text = text.to_str().unwrap();
    for (arguments, code, word) in [
        (&["capture"][..], 2, "--out"),
        (&["capture", "--out", "x"], 2, "--topic"),
        (
            &["capture", "--out", "x", "--topic", "t", "--brokers", "127.0.0.1:1", "--until-end"],
            2,
            "earliest",
        ),
        (&["capture", "--out", "x", "--topic", "t", "--brokers", "nowhere"], 2, "host:port"),
        (&["capture", "--inspect", text], 3, "is not a capture"),
        (&["run", "--replay", text], 2, "is not a capture"),
        (&["run", "--replay", "/nowhere/at/all"], 2, "pelton-harness capture"),
        (&["run", "--replay", text, "--value-size", "1KiB"], 2, "exclude"),
        (&["run", "--arrival", "captured(x2)"], 2, "replay"),
    ] {
        let output = harness(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {errors}");
        assert!(errors.contains(word), "{arguments:?}: {errors}");
    }
}
