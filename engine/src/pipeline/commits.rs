//! The commits of a consumer thread: now and then without waiting, and at the end, or before
//! partitions are let go, until the broker has taken them.

use std::sync::Arc;
use std::time::Duration;

use crate::commit::Finished;
use crate::commit::metadata::{self, METADATA_BYTES_MAX, Place};
use crate::ids::{Offset, Partition};
use crate::source::{Commit, CommitMode, Source, SourceError, Start};
use crate::telemetry::{Count, ErrorKind};
use crate::time::Nanos;

use super::EngineSettings;
use super::thread::ConsumerThread;

/// How long the answer to an asynchronous commit is waited for before a synchronous one.
const ANSWER_PATIENCE: Duration = Duration::from_secs(5);
/// How soon to look for that answer again, should nothing wake the thread.
const ANSWER_SLEEP: Duration = Duration::from_millis(5);
/// How long a synchronous commit is tried again. While a group rebalances its coordinator refuses
/// the commits even of members that keep their partitions.
const LAST_PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait between two such attempts.
const LAST_PAUSE: Duration = Duration::from_millis(100);

/// Commits on their way out.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// Kept so that none is allocated in steady state.
    commits: Vec<Commit>,
    /// The longest metadata that the broker is believed to take.
    metadata_bytes_max: usize,
}

impl Default for Outgoing {
    fn default() -> Self {
        Self { commits: Vec::new(), metadata_bytes_max: METADATA_BYTES_MAX }
    }
}

/// What the metadata at `start` says was finished by whoever read the partition before. Metadata
/// belongs to its commit: where reading begins elsewhere, it says nothing.
pub(super) fn finished_before(settings: &EngineSettings, start: &Start) -> Finished {
    let Start { partition, offset, committed, metadata } = start;
    if !settings.commit_metadata || metadata.is_empty() || *committed != Some(*offset) {
        return Finished::none();
    }
    let topic = &settings.topic;
    match metadata::decode(metadata, Place { topic, partition: *partition, committed: *offset }) {
        Ok(finished) => {
            let offsets = finished.offsets();
            tracing::info!(%topic, %partition, %offset, offsets, "finished beyond the committed offset: not delivered again");
            finished
        }
        Err(reason) => {
            tracing::warn!(%topic, %partition, %offset, "commit metadata ignored: {reason}");
            Finished::none()
        }
    }
}

impl<S: Source> ConsumerThread<S> {
    /// Tells the cadence how far the watermarks have come.
    pub(super) fn note_moved(&mut self) {
        let metadata = self.settings.commit_metadata;
        for poller in &mut self.pollers {
            for (partition, offset) in poller.rewound.drain(..) {
                self.cadence.on_assigned(partition, offset, None);
            }
            for owned in poller.partitions.owned_mut() {
                let committable = owned.watermark.committable();
                owned.gauges.set_watermark(committable);
                // Without metadata, what is finished beyond a watermark cannot be committed.
                let revision = if metadata { owned.watermark.revision() } else { 0 };
                self.cadence.on_moved(owned.partition, committable, revision);
            }
        }
    }

    pub(super) fn commit_when_due(&mut self) {
        let now = self.world.now();
        let mut offsets = std::mem::take(&mut self.scratch.offsets);
        if self.cadence.tick(now, &mut offsets)
            && let Err(error) = self.commit(&offsets, CommitMode::Async)
        {
            self.on_commit_failed(&error);
        }
        self.scratch.offsets = offsets;
    }

    /// Commits `offsets`, each with what is finished beyond it as of now.
    fn commit(&mut self, offsets: &[(Partition, Offset)], mode: CommitMode) -> Result<(), SourceError> {
        let bytes_max = self.scratch.outgoing.metadata_bytes_max;
        let mut commits = std::mem::take(&mut self.scratch.outgoing.commits);
        let settings = Arc::clone(&self.settings);
        commits.clear();
        for &(partition, offset) in offsets {
            let mut commit = Commit::plain(partition, offset);
            if settings.commit_metadata
                && let Some(owned) = self.owned(partition)
            {
                let place = Place { topic: &settings.topic, partition, committed: offset };
                let finished = owned.watermark.finished();
                let left = metadata::encode(place, finished, bytes_max, &mut commit.metadata);
                if left.spans > 0 {
                    tracing::debug!(
                        %partition, %offset, offsets = left.offsets, spans = left.spans,
                        "finished, but beyond what commit metadata can hold: delivered again after a crash"
                    );
                }
            }
            commits.push(commit);
        }
        let result = self.source.commit(&commits, mode);
        self.scratch.outgoing.commits = commits;
        result
    }

    /// A broker that takes less metadata than it does by default must not keep offsets from being
    /// committed.
    fn note_refused(&mut self, error: &SourceError) {
        if matches!(error, SourceError::MetadataTooLong { .. }) {
            self.scratch.outgoing.metadata_bytes_max /= 2;
            tracing::warn!(
                bytes_max = self.scratch.outgoing.metadata_bytes_max,
                "commit metadata is kept shorter from now on"
            );
        }
    }

    /// Commits what is done of the partitions `wanted`, and waits until that is granted or the
    /// patience is at its end.
    ///
    /// # Errors
    /// What the client cannot get over.
    pub(super) fn commit_and_wait(&mut self, wanted: impl Fn(Partition) -> bool) -> Result<(), SourceError> {
        let began = self.world.now();
        // Repeated by the client after the newer one, an older commit would move the group back.
        while self.cadence.is_in_flight() && self.world.now() < began + ANSWER_PATIENCE {
            self.serve()?;
            self.world.sleep(ANSWER_SLEEP);
        }
        self.note_moved();
        let mut offsets = std::mem::take(&mut self.scratch.offsets);
        self.cadence.unfinished(wanted, &mut offsets);
        let result =
            if offsets.is_empty() { Ok(()) } else { self.commit_until(&offsets, began + LAST_PATIENCE) };
        self.scratch.offsets = offsets;
        result
    }

    fn commit_until(&mut self, offsets: &[(Partition, Offset)], deadline: Nanos) -> Result<(), SourceError> {
        while let Err(error) = self.commit(offsets, CommitMode::Sync) {
            self.counters.error(ErrorKind::Commit);
            self.note_refused(&error);
            if self.world.now() + LAST_PAUSE >= deadline {
                tracing::warn!("{error}; what is done since the last commit is delivered again");
                return Ok(());
            }
            tracing::debug!("{error}; it is tried again");
            self.world.sleep(LAST_PAUSE);
            // The group goes on only if its members are served.
            self.serve()?;
        }
        self.cadence.on_committed_sync(offsets);
        self.tell_committed(offsets);
        Ok(())
    }

    pub(super) fn on_commit_failed(&mut self, error: &SourceError) {
        tracing::warn!("{error}; it is tried again with the next one");
        self.counters.error(ErrorKind::Commit);
        self.note_refused(error);
        self.cadence.on_failed(self.world.now());
    }

    pub(super) fn tell_committed(&mut self, offsets: &[(Partition, Offset)]) {
        let now = self.world.now();
        for &(partition, offset) in offsets {
            if let Some(owned) = self.owned(partition) {
                let before = owned.gauges.committed();
                owned.gauges.set_committed(offset);
                let moved = before.map_or(0, |before| offset.0.saturating_sub(before.0));
                self.counters.records(Count::Committed, u64::try_from(moved).unwrap_or(0));
            }
            if let Some(observer) = &self.observer {
                observer.on_committed(partition, offset, now);
            }
        }
    }
}
