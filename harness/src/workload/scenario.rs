//! A scenario that can be run: what [`super::spec`] resolves to.

use std::time::Duration;

use rand::{Rng, RngExt};

use super::arrival::Arrival;
use super::function::StubLaw;
use super::keys::{HeaderLaw, KeyLaw};
use super::partitions::PartitionLaw;
use super::recording::Recording;
use super::units::Share;
use super::values::{Content, SizeLaw};

/// A scenario that can be run: nothing is left open.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// Where records come from.
    pub source: SourceSpec,
    /// What is sent.
    pub workload: Workload,
    /// When it ends.
    pub end: End,
    /// Loaded before anything is measured.
    pub warm_up: Duration,
    /// The engine's settings.
    pub mapping: MappingSpec,
    /// What is invoked.
    pub function: FunctionSpec,
}

/// Where records come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceSpec {
    /// librdkafka's mock cluster, in process.
    Embedded,
    /// Preallocated records, no broker.
    Memory,
    /// A cluster.
    Kafka {
        /// `host:port`, comma-separated.
        brokers: String,
        /// `None`: created for the run.
        topic: Option<String>,
    },
}

/// What is sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Workload {
    /// When.
    pub arrival: Arrival,
    /// Records that are there at once, before the schedule begins. Zero without a schedule.
    pub backlog: u64,
    /// Value sizes.
    pub value_size: SizeLaw,
    /// Value bytes.
    pub value_content: Content,
    /// Records whose value is null instead: deletions of their key, which is then never null.
    pub tombstones: Share,
    /// Keys.
    pub key: KeyLaw,
    /// Headers on every record.
    pub headers: Vec<HeaderLaw>,
    /// Partitions of the topic.
    pub partitions: u32,
    /// Their shares.
    pub partitioning: PartitionLaw,
    /// The producer's codec.
    pub compression: Compression,
    /// The producer's linger.
    pub linger: Duration,
    /// Of values, keys and schedule.
    pub seed: u64,
    /// The records of a capture instead of made ones: sizes, content, keys, headers, partitions and
    /// partitioning above are then without effect, but for `partitions`, which are the capture's.
    pub replay: Option<&'static Recording>,
}

impl Workload {
    /// Bytes that every record has beside its value: key and headers.
    #[must_use]
    pub fn side_bytes(&self) -> u64 {
        let headers: u64 = self.headers.iter().map(|header| header.name.len() as u64 + header.bytes.0).sum();
        self.key.bytes() + headers
    }

    /// Draws whether a record has no value. Takes nothing from `random` where there are no tombstones,
    /// so that their law changes no other load.
    pub(crate) fn is_tombstone<R: Rng>(&self, random: &mut R) -> bool {
        self.tombstones.get() > 0.0 && random.random_bool(self.tombstones.get())
    }
}

/// What ends the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// So many records, those of the warm-up included.
    Records(u64),
    /// Time after the warm-up.
    After(Duration),
}

/// The engine's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappingSpec {
    /// Records per batch.
    pub batch_size: u32,
    /// The batching window.
    pub window: Duration,
    /// The largest payload.
    pub payload_bytes_max: u32,
    /// Over all threads.
    pub pollers: usize,
    /// Consumer threads.
    pub threads: usize,
    /// Invocation side.
    pub invocation_threads: usize,
    /// Prefetch, open batches, batches in flight.
    pub memory_budget_bytes: u64,
    /// Patterns, all valid, of which a record must match one; without any, all are delivered.
    pub filters: Vec<String>,
    /// Between commits.
    pub commit_interval: Duration,
}

/// What is invoked.
#[derive(Clone, Debug, PartialEq)]
pub enum FunctionSpec {
    /// A stub in process, by its law.
    Stub(StubLaw),
    /// A Lambda-compatible endpoint.
    Endpoint {
        /// Its address.
        url: String,
        /// The function's name.
        function: String,
    },
}

/// The producer's codec.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// As they are.
    #[default]
    None,
    /// gzip.
    Gzip,
    /// Snappy.
    Snappy,
    /// LZ4.
    Lz4,
    /// Zstandard.
    Zstd,
}

impl Compression {
    /// librdkafka's name for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}
