//! The engine against brokers: the embedded one (`embedded::`, `failing::`) and a real Apache Kafka
//! (`real_kafka::`, started through `scripts/kafka`); and destinations on AWS's services as moto serves
//! them (`moto::`, installed by `scripts/moto`). Without those two such tests fail, they do not skip.

mod embedded;
mod failing;
mod moto;
mod real_kafka;
mod stage;
#[path = "../support/mod.rs"]
mod support;
