//! Sends a workload to a broker, on a schedule that does not wait.
//!
//! One thread and one idempotent producer; the partition of each record is chosen here, so that
//! its offset is known before it is sent (see [`crate::ledger`]). A generator that falls behind
//! its schedule is not forgiven: intended times stay, and how late it was is part of the result.

mod acks;
mod draw;
mod loader;

pub use acks::Acks;
pub(crate) use draw::Draw;
pub use loader::{LoadReport, Loader, RunningLoad};

use std::time::Duration;

use crate::workload::scenario::Compression;

/// Where and how a loader sends.
#[derive(Clone, Debug)]
pub struct LoadSettings {
    /// `host:port`, comma-separated.
    pub bootstrap_servers: String,
    /// The topic; it must exist.
    pub topic: String,
    /// The producer's codec.
    pub compression: Compression,
    /// The producer's linger.
    pub linger: Duration,
    /// The most that may be outstanding (sent, not committed) in a partition, in bytes. For a
    /// broker that forgets what exceeds its retention. `None`: only the producer's own queue
    /// holds the loader back.
    pub outstanding_bytes_max: Option<u64>,
}

/// What the loader keeps each partition of the embedded broker below: its retention is 5 MiB, and
/// the oldest batches are dropped silently.
pub const EMBEDDED_OUTSTANDING_BYTES_MAX: u64 = 4 << 20;

/// Why a load could not be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The producer could not be made or reach a broker.
    #[error("the loader cannot produce to {topic} on {bootstrap_servers}: {reason}")]
    Connect {
        /// As given.
        bootstrap_servers: String,
        /// As given.
        topic: String,
        /// The client's words.
        reason: String,
    },
    /// The topic has fewer partitions than the workload wants.
    #[error("topic {topic} has {found} partitions, the scenario asks for {wanted}; give at most that many")]
    Partitions {
        /// The topic.
        topic: String,
        /// What it has.
        found: u32,
        /// What was asked for.
        wanted: u32,
    },
    /// The producer gave a record up.
    #[error("the loader's producer failed: {reason}")]
    Send {
        /// The client's words.
        reason: String,
    },
    /// Someone else writes to the topic.
    #[error(
        "{topic}[{partition}]: a record meant for offset {expected} got {found}; somebody else writes to this \
         topic, and offsets can only be audited on one that the run has to itself"
    )]
    Shared {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// Where the loader meant it to be.
        expected: i64,
        /// Where the broker put it.
        found: i64,
    },
    /// The machine refused a thread.
    #[error("cannot start the loader's thread: {reason}")]
    Spawn {
        /// The system's words.
        reason: String,
    },
}
