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
