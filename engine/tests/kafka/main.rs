//! The engine against brokers: the embedded one (`embedded::`) and a real Apache Kafka
//! (`real_kafka::`, started through `scripts/kafka`; without it these tests fail, they do not skip).

mod embedded;
mod failing;
mod real_kafka;
mod stage;
#[path = "../support/mod.rs"]
mod support;
