//! The mapping: one topic, one group, one function, and the settings between them.
//!
//! [`Settings`] is what somebody wrote, in a file, as flags or to an API; [`Settings::validate`]
//! turns it into a [`Mapping`], which is right as a whole and never checked again. What is wrong is
//! said all at once, each problem with field, value, limit and remedy. The names are AWS's in Rust
//! case; what only this engine knows stands in a table of its own, so that a mapping stays portable.

pub mod access;
mod destination;
mod explain;
mod failures;
mod function;
pub mod limits;
pub mod memory;
mod moment;
mod origins;
mod parse;
pub mod pattern;
mod patterns;
mod problem;
mod properties;
mod secret;
mod settings;
#[cfg(test)]
mod tests;
mod validate;
pub mod value;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

pub use access::{Authentication, OAuthBearer, OAuthGrant, PasswordMechanism, SourceAccess};
pub use destination::DestinationTarget;
pub use explain::explain;
pub use function::{Endpoint, Function};
pub use memory::MemoryDivision;
pub use moment::Moment;
pub use origins::{Origin, Origins};
pub use pattern::{Pattern, PatternError};
pub use problem::{MappingError, Problem};
pub use properties::{Property, SecurityProtocol};
#[cfg(any(test, feature = "internals"))]
pub use secret::Nothing;
pub use secret::{Secret, Surroundings};
pub use settings::{EngineSettings, MappingSettings, Setting, Settings};
pub use value::Shape;

use crate::ids::Topic;

/// A valid mapping. Made by [`Settings::validate`] only.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Mapping {
    /// The topic. AWS: `Topics`, always one.
    pub topic: Topic,
    /// The brokers to ask first, 1 to 10 of `host:port`.
    pub bootstrap_servers: Vec<String>,
    /// The MSK cluster, if events say `aws:kafka`; `None` for self-managed Kafka.
    pub event_source_arn: Option<String>,
    /// The consumer group.
    pub consumer_group_id: String,
    /// Where to begin where the group has committed nothing.
    pub starting_position: StartingPosition,
    /// Records of one batch, 1 to 10,000.
    pub batch_size: u32,
    /// How long a batch may wait for more, 0 s to 300 s.
    pub maximum_batching_window: Duration,
    /// Retries after the first attempt, 0 to 10,000; `None` for as long as it takes. 10 where none
    /// were given and there is a destination.
    pub maximum_retry_attempts: Option<u32>,
    /// The age of a record from which it is given up, 60 s to 604,800 s; `None` for no limit.
    pub maximum_record_age: Option<Duration>,
    /// Whether a batch that the function fails on is cut in halves.
    pub bisect_batch_on_function_error: bool,
    /// Whether the function's answer says which records failed. AWS: `FunctionResponseTypes`.
    pub report_batch_item_failures: bool,
    /// Where records go that were given up; `None` for nowhere.
    pub destination: Option<DestinationTarget>,
    /// The function.
    pub function: Function,
    /// Where it is invoked.
    pub function_endpoint: Endpoint,
    /// The function's region, if known. Needed to sign.
    pub region: Option<String>,
    /// Which records are delivered: those that match any of these, at most 10. Without any, all.
    pub filter_criteria: Vec<Pattern>,
    /// The way into the cluster.
    pub source_access: SourceAccess,
    /// What only this engine knows.
    pub engine: EngineOptions,
    /// Settings that are right and without effect here: one sentence each, for the log.
    pub notes: Vec<String>,
    access_entries: Vec<value::Access>,
    /// Where values come from that nobody gave: by path, in words.
    derived: BTreeMap<&'static str, String>,
    division: MemoryDivision,
}

/// The engine's own settings, valid.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EngineOptions {
    /// Consumer threads, 1 to 64, at most `pollers`.
    pub threads: u32,
    /// Threads of the invocation side, 1 to 64.
    pub invocation_threads: u32,
    /// Pollers in all threads, 1 to 1,000.
    pub pollers: u32,
    /// How many of them are in use at least, `threads` to `pollers`. Fewer than `pollers`: scaled by
    /// lag.
    pub pollers_min: u32,
    /// Bytes for prefetch, open batches and batches in flight. See [`Mapping::division`].
    pub memory_budget: u64,
    /// How long invocations in flight may take at the end, 0 s to 900 s.
    pub drain_deadline: Duration,
    /// Between commits, 10 ms to 60 s.
    pub commit_interval: Duration,
    /// Whether commits carry what is finished beyond the committed offset.
    pub commit_metadata: bool,
    /// How the group divides partitions.
    pub group_protocol: GroupProtocol,
    /// The largest event, 16 KiB to 6,291,455 bytes.
    pub payload_bytes_max: u32,
    /// What becomes of a record that is too large for any event.
    pub oversized: Oversized,
    /// How long to wait for the function's answer, 10 ms to 1 h.
    pub function_timeout: Duration,
    /// How long to wait for a connection to it, 10 ms to 60 s.
    pub connect_timeout: Duration,
    /// The longest wait before the first retry, 10 ms to 60 s.
    pub retry_backoff: Duration,
    /// The longest wait before any retry, `retry_backoff` to 1 h.
    pub retry_backoff_max: Duration,
    /// Whether invocations are signed.
    pub signing: Signing,
    /// Whether what AWS would refuse is refused.
    pub strict: bool,
    /// TLS without client authentication.
    pub tls: bool,
    /// SASL without TLS.
    pub allow_plaintext_sasl: bool,
    /// Properties of the client, checked, to be set after all others.
    pub librdkafka: Vec<Property>,
    /// Where metrics are served; `None` for nowhere.
    pub metrics_address: Option<SocketAddr>,
    /// Whether somebody asked for that address: if not, an engine runs without it if it is taken.
    pub metrics_address_given: bool,
    /// How log lines look.
    pub log_format: LogFormat,
    /// What is logged: a level or directives; `None` for `$RUST_LOG`, then `info`.
    pub log_level: Option<String>,
}

/// Where to begin in a partition for which the group has committed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartingPosition {
    /// With the oldest retained record.
    TrimHorizon,
    /// After the newest record.
    Latest,
    /// With the first record of this timestamp or later.
    AtTimestamp(Moment),
}

impl StartingPosition {
    /// AWS's word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TrimHorizon => "TRIM_HORIZON",
            Self::Latest => "LATEST",
            Self::AtTimestamp(_) => "AT_TIMESTAMP",
        }
    }
}

/// How a consumer group divides the partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupProtocol {
    /// JoinGroup and SyncGroup, with cooperative-sticky assignment.
    Classic,
    /// KIP-848: the broker assigns.
    Consumer,
}

/// What becomes of a record that alone is too large for an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oversized {
    /// It is logged, counted as dropped and passed over.
    Skip,
    /// Its partition stops there.
    Block,
}

/// Whether invocations are signed (SigV4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signing {
    /// If the AWS credential chain has credentials.
    Auto,
    /// Always: without credentials the engine does not start.
    Always,
    /// Never.
    Never,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// An enum whose values are written as words.
pub(crate) trait Word: Copy + 'static {
    /// The words and what they mean.
    const WORDS: &'static [(&'static str, Self)];
}

impl Word for GroupProtocol {
    const WORDS: &'static [(&'static str, Self)] =
        &[("classic", Self::Classic), ("consumer", Self::Consumer)];
}

impl Word for Oversized {
    const WORDS: &'static [(&'static str, Self)] = &[("skip", Self::Skip), ("block", Self::Block)];
}

impl Word for Signing {
    const WORDS: &'static [(&'static str, Self)] =
        &[("auto", Self::Auto), ("always", Self::Always), ("never", Self::Never)];
}

impl Word for LogFormat {
    const WORDS: &'static [(&'static str, Self)] = &[("human", Self::Human), ("json", Self::Json)];
}

impl Mapping {
    /// The brokers as one text, `host:port` joined by commas: as events and librdkafka have it.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        self.bootstrap_servers.join(",")
    }

    /// Which kind of listener the brokers must offer.
    #[must_use]
    pub fn security_protocol(&self) -> SecurityProtocol {
        SecurityProtocol::of(&self.source_access, self.engine.tls, self.engine.allow_plaintext_sasl)
    }

    /// The client's properties that connect and authenticate it. Set them first, and
    /// [`EngineOptions::librdkafka`] last.
    #[must_use]
    pub fn connection_properties(&self) -> Vec<Property> {
        properties::connection(&self.bootstrap(), self.security_protocol(), &self.source_access)
    }

    /// The client's properties that keep it within its part of the memory budget, for clients whose
    /// partitions are forwarded to one queue per poller.
    #[must_use]
    pub fn memory_properties(&self) -> Vec<Property> {
        properties::memory(&self.division)
    }

    /// How the memory budget is divided. Never more than [`EngineOptions::memory_budget`] in all.
    #[must_use]
    pub fn division(&self) -> MemoryDivision {
        self.division
    }
}
