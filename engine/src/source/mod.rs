//! Where records come from.
//!
//! A [`Source`] is one client: a member of the consumer group with its assignment, its commits and
//! one [`RecordQueue`] per poller. It hands over **runs** of borrowed records, never single ones,
//! and its back-pressure is simply not being read. Nothing here blocks: what takes time (a
//! rebalance that must wait for invocations in flight) is announced as a [`SourceEvent`] and
//! answered later by a call.
//!
//! Kafka's implementation is `consumer`; anything else that can hand over runs (records in
//! memory, a capture file) implements the same two traits.

use crate::ids::{Offset, Partition};
use crate::record::Record;

#[cfg(feature = "kafka")]
mod close;
#[cfg(feature = "kafka")]
mod commits;
#[cfg(feature = "kafka")]
pub mod consumer;
#[cfg(feature = "kafka")]
mod context;
#[cfg(feature = "kafka")]
pub mod embedded;
#[cfg(feature = "kafka")]
mod events;
#[cfg(feature = "kafka")]
mod message;
#[cfg(feature = "kafka")]
pub mod probe;
#[cfg(feature = "kafka")]
mod faults;
#[cfg(feature = "kafka")]
mod lists;
#[cfg(feature = "kafka")]
pub mod queue;
#[cfg(feature = "kafka")]
mod rebalance;
pub mod replay;
#[cfg(feature = "kafka")]
pub mod settings;
#[cfg(feature = "kafka")]
mod start;
#[cfg(feature = "kafka")]
mod statistics;

/// The records that wait for one poller.
///
/// A wake-up comes when a queue **stops** being empty, so read until nothing comes before waiting.
/// The order of calls is: [`read`](Self::read) when nothing is pending, look at
/// [`pending`](Self::pending), [`advance`](Self::advance) past what was taken, and so on until
/// nothing is pending; then [`take_reached`](Self::take_reached).
pub trait RecordQueue {
    /// What a record is here. Borrowed from the queue until it is advanced past.
    type Record: Record;

    /// Fetches up to `records_max` records without waiting, if none are pending. Returns how many
    /// are pending now.
    fn read(&mut self, records_max: usize) -> usize;

    /// The records fetched and not yet taken, in order.
    fn pending(&self) -> &[Self::Record];

    /// Gives the first `records` pending ones back to the source: they must not be needed again.
    fn advance(&mut self, records: usize);

    /// Forgets the pending records of `partition`, which was revoked.
    fn discard(&mut self, partition: Partition);

    /// Moves out positions that lie beyond the last record handed over: everything below the offset
    /// has been handed over, gaps included (transaction markers, aborted transactions). May lag
    /// behind by seconds, and need not come for a partition without gaps at its end. Valid once
    /// nothing is pending.
    fn take_reached(&mut self, reached: &mut Vec<(Partition, Offset)>);
}

/// One client of a topic: group membership, assignment, commits, and a queue per poller.
pub trait Source: Send + Sized {
    /// The queue of a poller.
    type Queue: RecordQueue;

    /// Serves what has happened since the last call. Never blocks.
    fn serve(&mut self, events: &mut Vec<SourceEvent>);

    /// The queue of the poller with this number.
    ///
    /// # Panics
    /// If `poller` is not below the number of pollers that the source was made for.
    fn queue(&mut self, poller: usize) -> &mut Self::Queue;

    /// Answers [`SourceEvent::Assigned`]: routes each partition to a poller's queue, finds where
    /// each begins (committed offset, else the mapping's starting position) and starts to fetch.
    /// Pushes where each partition starts; one that is not named is not being read, and the event
    /// that takes it back comes next.
    ///
    /// Waits for the broker, as long as its settings allow: nothing is fetched before the answer.
    ///
    /// # Errors
    /// If the offsets cannot be found in time, or the client refuses. The partitions are then not
    /// being read and the event is still open: call again, after serving.
    fn assign(&mut self, routes: &[(Partition, usize)], starts: &mut Vec<Start>) -> Result<(), SourceError>;

    /// Answers [`SourceEvent::Revoked`], after the drain and the last commit: lets the partitions
    /// go to other members of the group.
    ///
    /// # Errors
    /// If the client refuses.
    fn release(&mut self, partitions: &[Partition]) -> Result<(), SourceError>;

    /// Whether [`reroute`](Self::reroute) works here.
    const REROUTES: bool = false;

    /// Moves partitions that are owned, each to the queue of another poller, there to be read from
    /// its offset on. Nothing that was fetched before is handed over any more, by no queue. The group
    /// does not hear of it, and may take the partitions away at any time, as others.
    ///
    /// # Errors
    /// If the client refuses, or if one is not owned (any more). Then nothing of these partitions is
    /// handed over: call again, unless the event that takes them away has come.
    fn reroute(&mut self, routes: &[Reroute]) -> Result<(), SourceError> {
        let _ = routes;
        Err(SourceError::Client { action: "moving partitions", reason: "not with this source".to_owned() })
    }

    /// Commits offsets of partitions owned now, each with its metadata, which replaces what was
    /// there. [`CommitMode::Async`] returns at once and reports by [`SourceEvent::Committed`].
    ///
    /// # Errors
    /// With [`CommitMode::Sync`], if the broker refuses or does not answer.
    fn commit(&mut self, commits: &[Commit], mode: CommitMode) -> Result<(), SourceError>;

    /// Leaves the group and ends the client, within about `deadline`.
    fn close(self, deadline: std::time::Duration);
}

/// How the reading of a partition goes on elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reroute {
    /// The partition.
    pub partition: Partition,
    /// The poller whose queue its records go to.
    pub poller: usize,
    /// The offset of the first record to be read there, or of the gap before it.
    pub offset: Offset,
}

/// What is committed for one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The partition.
    pub partition: Partition,
    /// The first offset that is not yet done.
    pub offset: Offset,
    /// Kept by the broker beside the offset, and given back with it; the empty text is none. A broker
    /// refuses more than its `offset.metadata.max.bytes` (4,096 by default).
    pub metadata: String,
}

impl Commit {
    /// A commit without metadata.
    #[must_use]
    pub const fn plain(partition: Partition, offset: Offset) -> Self {
        Self { partition, offset, metadata: String::new() }
    }
}

/// Where a partition's reading begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// The partition.
    pub partition: Partition,
    /// The offset of the first record to be read, or of the gap before it.
    pub offset: Offset,
    /// What the group has committed for it. `None` if nothing, or if that is not known.
    pub committed: Option<Offset>,
    /// The metadata of that commit, whoever wrote it: any text, empty if there is none. Bytes that
    /// are not UTF-8 are replaced.
    pub metadata: String,
}

/// Whether to wait for the broker's answer to a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitMode {
    /// Do not wait; the answer is a [`SourceEvent::Committed`].
    Async,
    /// Wait, a few seconds at most: at shutdown and before partitions are let go.
    Sync,
}

/// What a [`Source`] has to say.
#[derive(Debug)]
#[non_exhaustive]
pub enum SourceEvent {
    /// These partitions are now this member's too; answer with [`Source::assign`].
    Assigned(Vec<Partition>),
    /// These partitions are to be let go; answer with [`Source::release`]. There may be some among
    /// them that were lost before.
    Revoked {
        /// The partitions.
        partitions: Vec<Partition>,
        /// They belong to another member already: commit nothing for them.
        lost: bool,
    },
    /// The answer to an asynchronous commit: exactly one for each call that returned `Ok`.
    Committed {
        /// What was to be committed; without the partitions that were not owned.
        offsets: Vec<(Partition, Offset)>,
        /// Why it was not.
        error: Option<SourceError>,
    },
    /// The log of `partition` ends before `end` (the offset of the next record to be written). As
    /// of the last fetch: it stands still while the partition is held back.
    Lag {
        /// The partition.
        partition: Partition,
        /// Its log end offset.
        end: Offset,
    },
    /// The connection's state changed.
    State(SourceState),
    /// Something failed that the client tries again by itself.
    Problem(SourceError),
    /// The client cannot go on.
    Fatal(SourceError),
}

/// How a source stands with its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SourceState {
    /// No broker has answered yet.
    Connecting,
    /// Connected.
    Connected,
    /// Every broker was lost; the client reconnects for ever.
    Disconnected,
}

/// Why a source could not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The settings were refused by the client before anything was sent.
    #[error("the Kafka client refuses its settings: {reason}")]
    Settings {
        /// The client's words.
        reason: String,
    },
    /// No broker can be reached.
    #[error(
        "no broker of {bootstrap_servers} can be reached: {reason}; check the addresses, the listener's \
             protocol (plaintext or TLS) and the network"
    )]
    Unreachable {
        /// As configured.
        bootstrap_servers: String,
        /// The client's words.
        reason: String,
    },
    /// The cluster answered, and said no.
    #[error(
        "{bootstrap_servers} refuses this client: {reason}; check source_access and the principal's ACLs"
    )]
    Refused {
        /// As configured.
        bootstrap_servers: String,
        /// The client's words.
        reason: String,
    },
    /// The topic does not exist, and was not created on being asked for.
    #[error("topic {topic} does not exist on {bootstrap_servers}; create it or correct `topics`")]
    UnknownTopic {
        /// The topic.
        topic: String,
        /// As configured.
        bootstrap_servers: String,
    },
    /// The offset that was to be read is gone, and another was chosen.
    #[error(
        "{detail}; records between the two were deleted before they were read, or come again: check the \
             topic's retention against the lag"
    )]
    OffsetLost {
        /// Which partition, from where to where, and why.
        detail: String,
    },
    /// A commit failed.
    #[error("commit refused: {reason}")]
    Commit {
        /// The broker's words.
        reason: String,
    },
    /// A commit failed because its metadata is longer than the broker takes.
    #[error("commit refused: {reason}; the broker's offset.metadata.max.bytes is below its default")]
    MetadataTooLong {
        /// The broker's words.
        reason: String,
    },
    /// Something else in the client.
    #[error("{action}: {reason}")]
    Client {
        /// What was being done.
        action: &'static str,
        /// The client's words.
        reason: String,
    },
}
