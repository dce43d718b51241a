//! The joints: threads, clocks and queues around the cores.
//!
//! A **consumer thread** (`thread`) owns one [`Source`](crate::source::Source) and its
//! pollers (`poller`). It reads, encodes and commits, and never waits for a function. The
//! **invocation side** (`dispatch`) is a tokio runtime with one task per poller. Between them
//! stand two bounded lock-free queues, and a parker that ends the consumer thread's sleep:
//!
//! ```text
//!  librdkafka ──queue──▶ consumer thread ──job──▶ task ──HTTP──▶ function
//!      ▲        wake──▶    (parker)     ◀──answer── │
//!      └──────commit───────────┘ ◀───────wake───────┘
//! ```
//!
//! How many of its pollers are in use, a thread may change by its lag (`scaling`): partitions then
//! move between them (`moves`), which is nobody's affair but the thread's.
//!
//! This is the only module that knows all the others.

mod assignment;
mod commits;
mod dispatch;
mod effort;
mod engine;
mod fill;
mod flight;
mod listing;
mod moves;
mod parcel;
mod partitions;
mod poller;
mod rebalance;
mod repeats;
mod scaling;
mod sieve;
mod thread;
mod world;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use engine::{Engine, EngineError, EngineHandle, Report, ThreadPlan, Wake};
pub use thread::{ConsumerPlan, ConsumerThread, Turn};
pub use world::{Answer, Answered, World};

use crate::batch::{BatchLimits, Piece, SealedBatch};
use crate::deliver::{FailureRules, Records, RetryPolicy};
use crate::destination::Destination;
use crate::filter::Filters;
use crate::ids::{Offset, Partition, Topic};
use crate::payload::Envelope;
use crate::scale::ScalingRules;
use crate::time::Nanos;

/// What an engine is told. [`crate::mapping`] makes one from a validated mapping; embedders may
/// fill it themselves.
#[derive(Clone)]
pub struct EngineSettings {
    /// How log lines call the mapping.
    pub name: Arc<str>,
    /// The topic, for the payload and for messages.
    pub topic: Topic,
    /// The function's version or alias, as failure records say it: `$LATEST` if none is given.
    pub function_version: Arc<str>,
    /// Head and tail of every event.
    pub envelope: Arc<Envelope>,
    /// Which records are delivered; `None` for all.
    pub filters: Option<Arc<Filters>>,
    /// When a batch is full or due.
    pub limits: BatchLimits,
    /// Consumer threads, each a client and a member of the group. At least 1.
    pub threads: usize,
    /// Pollers over all threads; at least one per thread. Each has at most one invocation in
    /// flight.
    pub pollers: usize,
    /// How many of them are in use, by the lag; `None` for all, all the time. Its numbers are for all
    /// threads: each scales its share by itself.
    pub scaling: Option<ScalingRules>,
    /// Bytes of open batches and batches in flight, per consumer thread.
    pub arena_budget_bytes: usize,
    /// How failed invocations are spaced.
    pub retry: RetryPolicy,
    /// How often they are tried again, with which records, and until when.
    pub failures: FailureRules,
    /// Who is given what is given up; `None` drops it.
    pub destination: Option<Arc<dyn Destination>>,
    /// What becomes of a record that no payload can hold.
    pub oversized: Oversized,
    /// How often finished offsets are committed.
    pub commit_interval: Duration,
    /// Whether commits carry what is finished beyond the committed offset, and what they carry is
    /// not delivered again.
    pub commit_metadata: bool,
    /// How long a shutdown, or a rebalance that takes partitions away, waits for invocations in
    /// flight.
    pub drain_deadline: Duration,
    /// Worker threads of the invocation side. At least 1.
    pub invocation_threads: usize,
}

impl fmt::Debug for EngineSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineSettings").field("name", &self.name).finish_non_exhaustive()
    }
}

impl EngineSettings {
    /// Whether a record that no payload can hold goes to the on-failure destination.
    pub(crate) fn gives_up_outsized(&self) -> bool {
        self.destination.is_some() && self.oversized == Oversized::Skip
    }
}

/// What becomes of a record whose payload alone would exceed the limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Oversized {
    /// It goes to the on-failure destination. Without one it is logged and counted as dropped. Its
    /// offset is committed.
    #[default]
    Skip,
    /// Its partition's poller stops before it, visibly, until somebody acts.
    Block,
}

/// What becomes of each batch, for those who measure. Called on the consumer thread: be quick.
pub trait Observer: Send + Sync {
    /// A batch was delivered, or a part of it: the function answered with success.
    fn on_delivered(&self, trace: &BatchTrace<'_>);

    /// These records of `partition`, all that exist from `first` to `last`, were filtered out: they
    /// are done, and never delivered. Called as they are read, so before records that were read
    /// before them are delivered.
    fn on_filtered(&self, partition: Partition, first: Offset, last: Offset) {
        let _ = (partition, first, last);
    }

    /// Records of `partition`, all that exist from `first` to `last`, were given up: they are done.
    /// `kept` if the on-failure destination has them, else they were dropped.
    fn on_given_up(&self, partition: Partition, first: Offset, last: Offset, kept: bool) {
        let _ = (partition, first, last, kept);
    }

    /// These records of `partition`, all that exist from `first` to `last`, were finished before it
    /// was assigned, as the metadata of the committed offset says: they are done, and not delivered
    /// again. Called as they are read.
    fn on_resumed(&self, partition: Partition, first: Offset, last: Offset) {
        let _ = (partition, first, last);
    }

    /// The broker has acknowledged a commit: `offset` is the first not yet done. It is the same as
    /// before where only more was finished beyond.
    fn on_committed(&self, partition: Partition, offset: Offset, at: Nanos);
}

/// The life of one delivered batch, or of a part of it, in instants of the engine's clock.
#[derive(Clone, Copy, Debug)]
pub struct BatchTrace<'a> {
    /// The batch. Not all of it need be delivered: see [`Self::records`].
    pub batch: &'a SealedBatch,
    /// What of it was delivered now. The rest was revoked, is tried again, or was given up.
    pub records: &'a Records,
    /// The poller that made it, numbered over all threads.
    pub poller: usize,
    /// Invocations made with records of the batch so far, the successful one included.
    pub attempts: u32,
    /// Time spent filtering and writing its records.
    pub encode: Duration,
    /// When it was handed to the invocation side for the first time.
    pub handed_at: Nanos,
    /// When its first invocation began.
    pub sent_at: Nanos,
    /// When this invocation was answered.
    pub done_at: Nanos,
}

impl BatchTrace<'_> {
    /// What was delivered, run by run. Each says when it was polled.
    pub fn pieces(&self) -> impl Iterator<Item = Piece<'_>> {
        self.batch.pieces(self.records.ranges())
    }
}

/// The most pollers in one process.
pub const POLLERS_MAX: usize = 1000;
/// The most consumer threads in one process.
pub const THREADS_MAX: usize = 64;
