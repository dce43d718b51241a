//! What an operator sees.

mod counters;

pub use counters::{BYTES, Count, Counters, Histogram, Link, MICROS, PartitionGauge, RECORDS, Shard};
