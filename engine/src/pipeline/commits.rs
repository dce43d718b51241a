//! The commits of a consumer thread: now and then without waiting, and at the end, or before
//! partitions are let go, until the broker has taken them.

use std::time::Duration;

use crate::ids::{Offset, Partition};
use crate::source::{CommitMode, Source, SourceError};
use crate::telemetry::{Count, ErrorKind};
use crate::time::Nanos;

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

impl<S: Source> ConsumerThread<S> {
    /// Tells the cadence how far the watermarks have come.
    pub(super) fn note_moved(&mut self) {
        for poller in &mut self.pollers {
            for (partition, offset) in poller.rewound.drain(..) {
                self.cadence.on_assigned(partition, offset, None);
            }
            for owned in poller.partitions.owned_mut() {
                let committable = owned.watermark.committable();
                owned.gauges.set_watermark(committable);
                self.cadence.on_moved(owned.partition, committable);
            }
        }
    }

    pub(super) fn commit_when_due(&mut self) {
        let now = self.world.now();
        if self.cadence.tick(now, &mut self.scratch.offsets)
            && let Err(error) = self.source.commit(&self.scratch.offsets, CommitMode::Async)
        {
            self.on_commit_failed(&error);
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
        while let Err(error) = self.source.commit(offsets, CommitMode::Sync) {
            self.counters.error(ErrorKind::Commit);
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
