//! Against a real Apache Kafka. Every test but those about messages ends with the ledger's audit:
//! nothing lost, order kept per partition, repeats only where an announced crash explains them.

mod consume;
mod crash;
mod groundwork;
mod hostile;
mod metadata;
mod outage;
mod position;
mod rebalance;
mod refusal;
mod restart;
mod scaling;
mod security;
