//! What the engine counts, and how it is seen: on a terminal line and as Prometheus metrics.
//!
//! Counting is on the record path, so it is plain adds to memory that one thread writes; reading
//! pays for all of it.

mod counters;
mod histogram;
mod names;
mod partitions;
#[cfg(feature = "runtime")]
pub mod prometheus;
mod status;

pub use counters::{ArenaBytes, Counters, EngineState, Totals, Writer};
pub use histogram::HistogramTotals;
pub use names::{CAUSES, Count, ErrorKind, OUTCOMES};
pub use partitions::PartitionGauges;
pub use status::{StatusLine, Terminal};
