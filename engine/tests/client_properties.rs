//! What a mapping tells librdkafka is what librdkafka takes, at both ends of the ranges.
#![cfg(all(feature = "kafka", feature = "aws", feature = "mimalloc"))]

use pelton::cli::Process;
use pelton::mapping::{Mapping, Settings};
use rdkafka::ClientConfig;
use rdkafka::consumer::BaseConsumer;

fn mapping(toml: &str) -> Mapping {
    let required =
        "topics='t'\nbootstrap_servers='127.0.0.1:1'\nfunction='f'\nfunction_endpoint='http://h'\n";
    let settings = Settings::from_toml(&format!("{required}{toml}")).expect("readable");
    settings.validate(&Process).unwrap_or_else(|error| panic!("{error}"))
}

/// Makes a client, which connects to nobody, and lets it go.
fn accept(mapping: &Mapping) {
    let mut config = ClientConfig::new();
    config.set("group.id", &mapping.consumer_group_id);
    let (connection, memory) = (mapping.connection_properties(), mapping.memory_properties());
    for property in connection.iter().chain(&memory).chain(&mapping.engine.librdkafka) {
        config.set(property.name(), property.reveal());
    }
    let client: Result<BaseConsumer, _> = config.create();
    assert!(client.is_ok(), "{:?}: {connection:?} {memory:?}", client.err());
}

#[test]
fn the_client_takes_every_division_of_memory() {
    for budget in ["'16MiB'\npollers=1", "'256MiB'", "'64GiB'\npollers=1000\nthreads=64", "'1024GiB'"] {
        accept(&mapping(&format!("[engine]\nmemory_budget={budget}")));
    }
}

#[test]
fn the_client_takes_every_way_to_give_a_password() {
    let directory = tempfile::tempdir().expect("a place to write");
    let path = directory.path().join("login.json");
    std::fs::write(&path, r#"{"username":"alice","password":"secret"}"#).expect("written");
    for kind in ["BASIC_AUTH", "SASL_SCRAM_256_AUTH", "SASL_SCRAM_512_AUTH"] {
        for plaintext in [true, false] {
            let access = format!("source_access='{kind}=file:{}'", path.display());
            let engine =
                format!("[engine]\nallow_plaintext_sasl={plaintext}\nlibrdkafka={{'fetch.wait.max.ms'=50}}");
            accept(&mapping(&format!("{access}\n{engine}")));
        }
    }
    accept(&mapping("[engine]\ntls=true"));
}
