//! What cannot work: a message that says what to do, an exit code, no panic, no silence.

use std::path::{Path, PathBuf};

use crate::stage::Stage;
use crate::support::broker::Broker;
use crate::support::content::Content;
use crate::support::engine::{Engine, Settings};
use crate::support::fault::Law;

/// The engine must end with a failure, having said all of `words`.
fn refused(settings: &Settings, words: &[&str]) {
    let mut engine = Engine::start(settings);
    let status = engine.wait();
    let log = engine.log();
    assert!(!status.success(), "{status}:\n{log}");
    assert!(!log.contains("panicked"), "{log}");
    for word in words {
        assert!(log.contains(word), "`{word}` is missing in:\n{log}");
    }
}

fn stage() -> Stage {
    let broker = Broker::shared();
    let topic = broker.topic("refusal", 1);
    Stage::new(broker.plaintext(), topic, 1, Content::new(91, 20..=50), Law::kind())
}

fn secret(dir: &tempfile::TempDir, password: &str) -> PathBuf {
    let file = dir.path().join("user");
    let json = serde_json::json!({"username": Broker::shared().get("KAFKA_USERNAME"), "password": password});
    std::fs::write(&file, json.to_string()).expect("written");
    file
}

#[test]
fn a_wrong_setting_is_named_with_what_is_allowed() {
    let stage = stage();
    let settings = stage.settings().with("batch_size", "10001").with("maximum_batching_window", "301s");
    refused(&settings, &["batch_size", "10001", "10000", "maximum_batching_window", "300"]);
}

#[test]
fn an_unknown_setting_is_named() {
    refused(&stage().settings().with("batchsize", "10"), &["batchsize", "batch_size"]);
}

#[test]
fn an_unreachable_broker_is_named() {
    // Port 1 of this machine: nobody listens there.
    let settings = stage().settings().with("bootstrap_servers", "127.0.0.1:1");
    refused(&settings, &["127.0.0.1:1", "reached"]);
}

#[test]
fn an_unknown_topic_is_named() {
    refused(&stage().settings().with("topics", "no-such-topic"), &["no-such-topic", "does not exist"]);
}

#[test]
fn a_wrong_password_is_called_that() {
    let broker = Broker::shared();
    let dir = tempfile::tempdir().expect("a directory");
    for kind in ["SASL_SCRAM_512_AUTH", "SASL_SCRAM_256_AUTH", "BASIC_AUTH"] {
        let settings = stage()
            .settings()
            .with("bootstrap_servers", broker.get("KAFKA_SASL_SSL"))
            .source_access(kind, &secret(&dir, "wrong"))
            .source_access("SERVER_ROOT_CA_CERTIFICATE", Path::new(broker.get("KAFKA_CA")));
        refused(&settings, &["refuses", "source_access"]);
    }
}

#[test]
fn a_password_never_shows_in_the_log() {
    let broker = Broker::shared();
    let dir = tempfile::tempdir().expect("a directory");
    let settings = stage()
        .settings()
        .with("bootstrap_servers", broker.get("KAFKA_SASL_SSL"))
        .engine("log_level", "trace")
        .source_access("SASL_SCRAM_512_AUTH", &secret(&dir, "hunter2hunter2"))
        .source_access("SERVER_ROOT_CA_CERTIFICATE", Path::new(broker.get("KAFKA_CA")));
    let mut engine = Engine::start(&settings);
    engine.wait();
    assert!(!engine.log().contains("hunter2hunter2"), "{}", engine.log());
}

#[test]
fn an_untrusted_certificate_is_called_that() {
    let settings =
        stage().settings().with("bootstrap_servers", Broker::shared().get("KAFKA_SSL")).engine("tls", "true");
    refused(&settings, &["certificate"]);
}

#[test]
fn plaintext_towards_a_tls_listener_ends_with_a_hint() {
    let settings = stage().settings().with("bootstrap_servers", Broker::shared().get("KAFKA_SSL"));
    refused(&settings, &[Broker::shared().get("KAFKA_SSL")]);
}

#[test]
fn missing_a_client_certificate_is_a_refusal() {
    let broker = Broker::shared();
    let settings = stage()
        .settings()
        .with("bootstrap_servers", broker.get("KAFKA_MTLS"))
        .source_access("SERVER_ROOT_CA_CERTIFICATE", Path::new(broker.get("KAFKA_CA")));
    refused(&settings, &[broker.get("KAFKA_MTLS")]);
}

#[test]
fn check_only_validates() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("mapping.toml");
    let file = file.to_str().expect("UTF-8");
    let stage = stage();
    // Nobody listens there, and nobody is asked.
    let settings = stage.settings().with("bootstrap_servers", "127.0.0.1:1");
    std::fs::write(file, settings.toml()).expect("written");
    let mut engine = Engine::with_arguments(&["run", "--config", file, "--check"]);
    assert!(engine.wait().success(), "{}", engine.log());
    std::fs::write(file, settings.with("batch_size", "0").toml()).expect("written");
    let mut engine = Engine::with_arguments(&["run", "--config", file, "--check"]);
    assert!(!engine.wait().success(), "{}", engine.log());
}

/// A function that is not there is not the mapping's fault: it may come back, so the engine
/// retries for ever and shows it.
#[test]
fn an_unreachable_function_is_retried_and_said() {
    let stage = stage();
    stage.fill(10);
    let settings =
        stage.settings().with("function_endpoint", "http://127.0.0.1:1").engine("drain_deadline", "1s");
    let engine = Engine::start(&settings);
    engine.says("127.0.0.1:1");
    engine.terminate();
    assert!(stage.committed().iter().all(|offset| offset.is_none_or(|offset| offset == 0)));
}
