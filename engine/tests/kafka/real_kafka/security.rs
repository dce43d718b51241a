//! TLS and authentication that succeed; those that fail are in `refusal`.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::stage::Stage;
use crate::support::broker::Broker;
use crate::support::content::Content;
use crate::support::engine::{Engine, Settings};
use crate::support::fault::Law;

/// Writes a secret as AWS keeps it.
fn secret(dir: &Path, name: &str, json: &serde_json::Value) -> PathBuf {
    let file = dir.join(name);
    std::fs::write(&file, json.to_string()).expect("written");
    file
}

fn user(dir: &Path, broker: &Broker) -> PathBuf {
    let json = json!({"username": broker.get("KAFKA_USERNAME"), "password": broker.get("KAFKA_PASSWORD")});
    secret(dir, "user", &json)
}

fn authority(dir: &Path, broker: &Broker) -> PathBuf {
    let certificate = std::fs::read_to_string(broker.get("KAFKA_CA")).expect("the CA");
    secret(dir, "authority", &json!({ "certificate": certificate }))
}

/// The main job through `listener`, whose settings `set` makes.
fn works(listener: &str, set: impl Fn(Settings, &Path, &Broker) -> Settings) {
    let broker = Broker::shared();
    let dir = tempfile::tempdir().expect("a directory");
    let topic = broker.topic("secure", 2);
    let stage = Stage::new(broker.plaintext(), topic, 2, Content::new(81, 20..=50), Law::kind());
    stage.fill(500);
    let settings = stage.settings().with("bootstrap_servers", broker.get(listener));
    let engine = Engine::start(&set(settings, dir.path(), broker));
    stage.reach(stage.total(500));
    engine.drain();
    assert_eq!(stage.audit(500).duplicates, 0);
}

#[test]
fn scram_over_tls_with_a_private_authority() {
    for kind in ["SASL_SCRAM_512_AUTH", "SASL_SCRAM_256_AUTH", "BASIC_AUTH"] {
        works("KAFKA_SASL_SSL", |settings, dir, broker| {
            settings
                .source_access(kind, &user(dir, broker))
                .source_access("SERVER_ROOT_CA_CERTIFICATE", &authority(dir, broker))
        });
    }
}

#[test]
fn scram_without_tls_if_asked_for() {
    works("KAFKA_SASL_PLAINTEXT", |settings, dir, broker| {
        settings
            .engine("allow_plaintext_sasl", "true")
            .source_access("SASL_SCRAM_512_AUTH", &user(dir, broker))
    });
}

#[test]
fn tls_without_authentication() {
    works("KAFKA_SSL", |settings, dir, broker| {
        settings.source_access("SERVER_ROOT_CA_CERTIFICATE", &authority(dir, broker))
    });
}

#[test]
fn a_certificate_authority_may_be_a_plain_pem_file() {
    works("KAFKA_SSL", |settings, _, broker| {
        settings.source_access("SERVER_ROOT_CA_CERTIFICATE", Path::new(broker.get("KAFKA_CA")))
    });
}

#[test]
fn a_client_certificate() {
    works("KAFKA_MTLS", |settings, dir, broker| {
        let read = |name| std::fs::read_to_string(broker.get(name)).expect("PEM");
        let json = json!({
            "certificate": read("KAFKA_CLIENT_CERTIFICATE"), "privateKey": read("KAFKA_CLIENT_KEY"),
        });
        settings
            .source_access("CLIENT_CERTIFICATE_TLS_AUTH", &secret(dir, "client", &json))
            .source_access("SERVER_ROOT_CA_CERTIFICATE", &authority(dir, broker))
    });
}
