//! Whole runs, as somebody would start them: the binary, its files and its exit codes.

mod support;

use std::path::Path;

use pelton_harness::result::{LatencyFrom, RunResult, VERSION};

use support::harness;

fn run(arguments: &[&str], json: &Path) -> (RunResult, String) {
    let path = json.to_str().expect("a path in UTF-8");
    let mut all = vec!["run", "--json", path];
    all.extend(arguments);
    let output = harness(&all);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    let result = serde_json::from_slice(&std::fs::read(json).expect("a result")).expect("a result's JSON");
    (result, text)
}

#[test]
fn records_from_memory_are_delivered_once_and_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let arguments =
        ["--scenario", "throughput", "--records", "50000", "--warm-up", "0s", "--value-size", "200B"];
    let (result, text) = run(&arguments, &directory.path().join("memory.json"));
    assert_eq!(result.version, VERSION);
    assert_eq!(result.audit.records_delivered, 50_000, "{text}\n{result:?}");
    assert!(result.audit.is_clean(), "{text}");
    assert_eq!(result.latency_from, LatencyFrom::Poll);
    assert_eq!(result.latency.total.count, 50_000);
    assert_eq!(result.invocations["success"], result.batches.count);
    assert!(result.cpu.engine_s > 0.0, "{text}");
}

#[test]
fn what_a_filter_leaves_out_is_audited_as_such() {
    let directory = tempfile::tempdir().unwrap();
    let filter = r#"{"value":{"amount":[{"numeric":["<",100]}]}}"#;
    let common = ["--warm-up", "0s", "--value-size", "200B", "--filter", filter];
    // One more for each partition of the broker: what the run begins with.
    for (scenario, records, all) in [("throughput", "50000", 50_000), ("latency", "3000", 3_008)] {
        let arguments =
            [&["--scenario", scenario, "--records", records, "--partitions", "8"][..], &common].concat();
        let (result, text) = run(&arguments, &directory.path().join(scenario));
        let (delivered, filtered) = (result.audit.records_delivered, result.audit.records_filtered);
        assert_eq!(delivered + filtered, all, "{text}");
        assert!(delivered > all / 20 && delivered < all / 4, "about one in nine passes: {text}");
        assert!(result.is_clean(), "{text}");
    }
    let output = harness(&["run", "--filter", "{}"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("found an empty object"));
}

#[test]
fn an_open_loop_run_over_the_embedded_broker_is_clean_and_measured_from_the_intended_send() {
    let directory = tempfile::tempdir().unwrap();
    let arguments = [
        "--scenario",
        "latency",
        "--records",
        "3000",
        "--arrival",
        "constant(3k/s)",
        "--warm-up",
        "200ms",
        "--key",
        "fixed(100)",
        "--header",
        "trace:16B",
        "--stub",
        "fixed(2ms, verify=true)",
    ];
    let (result, text) = run(&arguments, &directory.path().join("embedded.json"));
    // One more for each partition: what the run begins with.
    assert_eq!(result.audit.records_delivered, 3_008, "{text}");
    assert!(result.is_clean(), "{text}");
    assert_eq!(result.latency_from, LatencyFrom::IntendedSend);
    let load = result.load.expect("there was a generator");
    assert_eq!((load.records, load.failed), (3_000, 0));
    // 200 ms of 3000/s are warm-up.
    assert_eq!(result.latency.total.count, 2_400);
    assert_eq!(load.lateness.count, 2_400);
    assert_eq!(result.latency.commit.count, 2_400);
    assert!(result.latency.invocation.p50_us >= 2_000, "{text}");
    assert!(result.latency.total.p50_us >= result.latency.invocation.p50_us, "{text}");
    assert!(!result.invocations.contains_key("function_error"), "the stub checks each event: {text}");
}

#[test]
fn faults_cost_retries_and_no_record() {
    let directory = tempfile::tempdir().unwrap();
    let arguments = [
        "--scenario",
        "faults",
        "--records",
        "2000",
        "--arrival",
        "constant(4k/s)",
        "--warm-up",
        "0s",
        "--stub",
        "null(error-rate=0.1, throttle-rate=0.1, reset-rate=0.1, verify=true)",
    ];
    let (result, text) = run(&arguments, &directory.path().join("faults.json"));
    assert!(result.is_clean(), "{text}");
    let attempts: u64 = result.invocations.values().sum();
    assert!(attempts > result.invocations["success"], "{text}");
}

/// A short run of a scenario, which must be clean.
fn brief(scenario: &str, differs: &[&str]) -> RunResult {
    let directory = tempfile::tempdir().expect("a directory");
    let arguments = [&["--scenario", scenario, "--warm-up", "0s"][..], differs].concat();
    let (result, text) = run(&arguments, &directory.path().join("result.json"));
    assert!(result.is_clean(), "{text}");
    assert!(!result.invocations.contains_key("function_error"), "{text}");
    result
}

#[test]
fn telemetry_is_many_small_records_spread_evenly() {
    let result = brief("telemetry", &["--records", "20000"]);
    let mean = result.throughput.record_bytes as f64 / result.throughput.records as f64;
    assert!((96.0..216.0).contains(&mean), "values of 80 to 200 B and a key of 16: {mean}");
    let load = result.load.expect("there was a generator");
    assert_eq!((load.records, load.tombstones), (20_000, 0));
    assert!(load.hottest_partition_share < 0.07, "{load:?}");
}

#[test]
fn clicks_fill_batches_in_a_burst_and_windows_between() {
    // A burst, its calm and the next burst.
    let result = brief("clicks", &["--records", "24000"]);
    let causes = &result.batches.causes;
    assert!(causes["count"] > 0 && causes["window"] > 0, "{causes:?}");
}

#[test]
fn documents_meet_the_payload_limit_and_never_the_batch_size() {
    let result = brief("documents", &["--records", "150"]);
    let batches = &result.batches;
    assert!(batches.causes["bytes"] > 0 && !batches.causes.contains_key("count"), "{batches:?}");
    // The next document had no room.
    let largest = 1_000 * 1024 * 4 / 3 + 1024;
    assert!((6_291_455 - largest..=6_291_455).contains(&batches.payload_bytes_max), "{batches:?}");
}

#[test]
fn changes_of_rows_have_deletions_among_them() {
    let result = brief("cdc", &["--records", "8000"]);
    let load = result.load.expect("there was a generator");
    assert!((300..500).contains(&load.tombstones), "5 % of 8000: {load:?}");
}

#[test]
fn skew_puts_half_of_the_records_into_one_partition() {
    let result = brief("skew", &["--records", "8000"]);
    let share = result.load.expect("there was a generator").hottest_partition_share;
    assert!((0.44..0.51).contains(&share), "zipf(1.5) over 16 gives the first 47 %: {share}");
}

#[test]
fn a_backlog_is_there_at_once_and_the_rate_goes_on_behind_it() {
    let result = brief("backlog", &["--backlog", "20000", "--records", "22000"]);
    let load = result.load.expect("there was a generator");
    assert_eq!(load.records, 22_000);
    // All are measured from when they were meant to be there; late can only be what has a schedule.
    assert_eq!(result.latency.total.count, 22_000);
    assert_eq!(load.lateness.count, 2_000);
}

#[test]
fn wrong_usage_says_what_would_do_and_exits_with_2() {
    for (arguments, word) in [
        (&["run", "--scenario", "nothing"][..], "throughput"),
        (&["run", "--batch-size", "20000"][..], "1 to 10000"),
        (&["run", "--arrival", "quick"][..], "constant(50k/s)"),
        (&["run", "--source", "memory", "--arrival", "constant(1k/s)"][..], "embedded"),
        (&["run", "--arrival", "bursts(2k/s, 100, base=3k/s)"][..], "must be below 2000/s"),
        (&["run", "--tombstones", "120%"][..], "0% to 100%"),
        (&["run", "--scenario", "latency", "--tombstones", "5%"][..], "together with `key`"),
        (&["run", "--scenario", "small", "--backlog", "1000"][..], "together with an `arrival`"),
    ] {
        let output = harness(arguments);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
        assert!(text.contains(word), "{arguments:?}: {text}");
    }
}

#[test]
fn an_unreachable_broker_is_named_and_exits_with_3() {
    let output = harness(&["run", "--brokers", "127.0.0.1:1", "--topic", "t"]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains("127.0.0.1:1"), "{text}");
}

#[test]
fn the_engine_is_compared_with_a_bare_consumer() {
    let directory = tempfile::tempdir().unwrap();
    let json = directory.path().join("overhead.json");
    let path = json.to_str().expect("a path in UTF-8");
    let output = harness(&[
        "overhead",
        "--sizes",
        "1KiB",
        "--rounds",
        "1",
        "--bytes",
        "4MiB",
        "--partitions",
        "4",
        "--json",
        path,
    ]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    let result: pelton_harness::overhead::Overhead =
        serde_json::from_slice(&std::fs::read(&json).expect("a result")).expect("a result's JSON");
    assert_eq!(result.sizes.len(), 1);
    assert!(result.sizes[0].records > 3_000 && result.sizes[0].ratio_median > 0.0, "{text}");
}
