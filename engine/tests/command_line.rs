//! The binary as people meet it: what it says about settings, and its exit codes.
#![cfg(all(feature = "kafka", feature = "aws", feature = "mimalloc"))]

use std::process::{Command, Output};

const REQUIRED: [&str; 4] = [
    "--topics=orders",
    "--bootstrap-servers=localhost:9092",
    "--function=f",
    "--function-endpoint=http://localhost:9001",
];

fn pelton(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pelton"))
        .arg("run")
        .args(arguments)
        .env_remove("RUST_LOG")
        .env("LOGIN", r#"{"username":"alice","password":"hunter2"}"#)
        .output()
        .expect("the binary starts")
}

/// `pelton check` with these arguments, and a file as its event.
fn check_event(arguments: &[&str], event: &str) -> Output {
    let directory = tempfile::tempdir().expect("a place to write");
    let file = directory.path().join("event.json");
    std::fs::write(&file, event).expect("written");
    let file = file.to_str().expect("UTF-8");
    Command::new(env!("CARGO_BIN_EXE_pelton"))
        .args(["check", "--event", file])
        .args(arguments)
        .output()
        .expect("the binary starts")
}

#[test]
fn check_says_of_each_record_of_an_event_why_it_passes_or_not() {
    // {"status":"shipped"}, {"status":"open"}, and no JSON.
    let event = r#"{"eventSource":"SelfManagedKafka","bootstrapServers":"h:1","records":{"orders-0":[
        {"topic":"orders","partition":0,"offset":15,"value":"eyJzdGF0dXMiOiJzaGlwcGVkIn0=","headers":[]},
        {"topic":"orders","partition":0,"offset":16,"value":"eyJzdGF0dXMiOiJvcGVuIn0=","headers":[]},
        {"topic":"orders","partition":0,"offset":17,"value":"b29wcw==","headers":[]}]}}"#;
    let output = check_event(&["--filter-criteria", r#"{"value":{"status":["shipped"]}}"#], event);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}{}", text(&output.stderr));
    for expected in [
        "orders-0 @15: delivered; its value is JSON\n  pattern 1 matches: {\"value\"",
        "    + value.status is \"shipped\": \"shipped\"",
        "orders-0 @16: filtered out; its value is JSON\n  pattern 1 does not match",
        "    x value.status is \"open\"; wanted: \"shipped\"",
        "orders-0 @17: delivered; its value is a plain string",
        "    - value.status is not looked at: what holds it is a plain string",
        "a whole event: 2 of 3 delivered",
    ] {
        assert!(said.contains(expected), "{expected}\n---\n{said}");
    }
    assert_eq!(check_event(&[], event).status.code(), Some(0), "without filters all pass");
    let value = check_event(&["--filter-criteria", r#"{"value":{"a":[1]}}"#], "{\"a\":1}\n");
    assert!(value.status.success() && text(&value.stdout).ends_with("one value: 1 of 1 delivered\n"));
    let wrong = check_event(&["--filter-criteria", "{}", "--as", "event"], "{}");
    assert_eq!(wrong.status.code(), Some(2));
    assert!(
        text(&wrong.stderr)
            .contains("filter_criteria pattern 1 (flag --filter-criteria): found an empty object")
    );
    let wrong = check_event(&["--as", "event"], "[]");
    assert_eq!(wrong.status.code(), Some(2));
    assert!(text(&wrong.stderr).contains("not a JSON object"), "{}", text(&wrong.stderr));
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

#[test]
fn check_explains_a_valid_mapping_and_hides_its_secrets() {
    let directory = tempfile::tempdir().expect("a place to write");
    let file = directory.path().join("pelton.toml");
    let toml = "batch_size = 250\nsource_access = ['SASL_SCRAM_512_AUTH=env:LOGIN']\n[engine.librdkafka]\nfetch.wait.max.ms = 50";
    std::fs::write(&file, toml).expect("written");
    let file = file.to_str().expect("UTF-8");
    let arguments: Vec<&str> = [&["--check", "--config", file, "--pollers", "2"][..], &REQUIRED].concat();
    let output = pelton(&arguments);
    let explained = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for expected in [
        &format!("250                              ({file})"),
        "2                                (flag)",
        "500ms                            (default)",
        "security.protocol = SASL_SSL",
        "sasl.password = (hidden)",
        "fetch.wait.max.ms = 50",
    ] {
        assert!(explained.contains(expected), "{expected}\n---\n{explained}");
    }
    assert!(!explained.contains("hunter2"));
}

#[test]
fn a_wrong_mapping_is_refused_with_every_problem_and_exit_code_2() {
    let output = pelton(&["--batch-size", "0", "--maximum-batching-window=1 week", "--threads=many"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
    for expected in [
        "batch_size (flag --batch-size): found 0; allowed: 1 to 10000 records",
        "maximum_batching_window (flag --maximum-batching-window): found \"1 week\"",
        "engine.threads (flag --threads): found \"many\"",
        "topics: not given",
        "bootstrap_servers: not given",
        "function: not given",
    ] {
        assert!(said.contains(expected), "{expected}\n---\n{said}");
    }
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn a_file_that_cannot_be_read_or_is_no_toml_says_so() {
    let missing = pelton(&["--config", "/nowhere/pelton.toml"]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(text(&missing.stderr).contains("--config: found /nowhere/pelton.toml (No such file"));
    let directory = tempfile::tempdir().expect("a place to write");
    let file = directory.path().join("pelton.toml");
    std::fs::write(&file, "batch_size = = 5").expect("written");
    let broken = pelton(&["--config", file.to_str().expect("UTF-8")]);
    assert_eq!(broken.status.code(), Some(2));
    assert!(text(&broken.stderr).contains("line 1, column 14"), "{}", text(&broken.stderr));
}

#[test]
fn wrong_log_directives_are_refused_before_anything_starts() {
    let arguments: Vec<&str> = [&["--check", "--log-level", "pelton=loud"][..], &REQUIRED].concat();
    let output = pelton(&arguments);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("engine.log_level: found pelton=loud"), "{}", text(&output.stderr));
}

#[test]
fn a_tier_that_there_is_not_is_refused_with_those_that_there_are() {
    for (name, code) in [("sse2", 2), ("scalar", 0), ("", 0)] {
        let output = Command::new(env!("CARGO_BIN_EXE_pelton"))
            .args(["run", "--check"])
            .args(REQUIRED)
            .env("PELTON_TIER", name)
            .output()
            .expect("the binary starts");
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{name}: {said}");
        let expected = "PELTON_TIER: found \"sse2\"; allowed: avx512, avx2, sse41, portable, scalar;";
        assert_eq!(said.contains(expected), code == 2, "{said}");
    }
}
