// NOTE to the telemetry owner: the lead wrote counters.rs (final API, used by the pipeline). Build prometheus.rs and status.rs on it; remove this line.
//! What an operator sees.

mod counters;

pub use counters::{BYTES, Count, Counters, Histogram, Link, MICROS, PartitionGauge, RECORDS, Shard};
