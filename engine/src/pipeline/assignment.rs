//! Partitions that come and go: what a thread does about each step of a rebalance.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::commit::Watermark;
use crate::ids::Partition;
use crate::scale::Spread;
use crate::source::{Source, SourceError};

use super::commits::finished_before;
use super::listing;
use super::poller::Poller;
use super::rebalance::Step;
use super::thread::{ConsumerThread, Scratch};

/// How soon to try again to begin reading what was assigned, or what moved.
pub(super) const ASSIGN_PAUSE: Duration = Duration::from_secs(1);

/// Over `pollers`, with what they read now.
pub(super) fn spread(pollers: &[Poller]) -> Spread {
    Spread::over(pollers.iter().map(|poller| poller.partitions.active().count()))
}

impl<S: Source> ConsumerThread<S> {
    /// Returns whether anything changed.
    pub(super) fn rebalance(&mut self) -> Result<bool, SourceError> {
        let now = self.world.now();
        let mut stepped = false;
        while let Some(step) = self.rebalance.step(now, self.settings.drain_deadline, |partition| {
            self.pollers.iter().any(|poller| poller.carries(partition))
        }) {
            stepped = true;
            match step {
                // At the end nothing new is begun; closing the client gives it back.
                Step::Assign(_) if self.draining.load(Ordering::Acquire) => {}
                Step::Assign(partitions) => self.assign(partitions),
                Step::Leave(partitions) => {
                    tracing::info!(partitions = %listing::partitions(&partitions), "leaving");
                    self.stop_moving(&partitions);
                    for &partition in &partitions {
                        for (number, poller) in self.pollers.iter_mut().enumerate() {
                            poller.leave(partition, self.source.queue(number), &mut self.pool);
                        }
                    }
                }
                Step::Release { partitions, lost } => self.release(&partitions, lost)?,
            }
        }
        Ok(stepped)
    }

    fn assign(&mut self, partitions: Vec<Partition>) {
        let in_use = self.pollers_in_use();
        let Scratch { routes, starts, .. } = &mut self.scratch;
        routes.clear();
        starts.clear();
        let mut spread = spread(&self.pollers[..in_use]);
        routes.extend(partitions.iter().map(|&partition| (partition, spread.lightest())));
        if let Err(error) = self.source.assign(routes, starts) {
            self.on_problem(&error, "; it is tried again");
            self.rebalance.assign_again(partitions, self.world.now() + ASSIGN_PAUSE);
            return;
        }
        for &(partition, poller) in routes.iter() {
            // One without a start was taken back before it could be read; its revocation follows.
            let Some(start) = starts.iter().find(|start| start.partition == partition) else { continue };
            let gauges = self.counters.counters().own_partition(partition);
            if let Some(committed) = start.committed {
                gauges.set_committed(committed);
            }
            let watermark = Watermark::resume(start.offset, finished_before(&self.settings, start));
            self.pollers[poller].partitions.add(&self.settings.topic, partition, watermark, gauges);
            self.cadence.on_assigned(partition, start.offset, start.committed);
        }
        tracing::info!(partitions = %listing::partitions(&partitions), "assigned");
    }

    fn release(&mut self, partitions: &[Partition], lost: bool) -> Result<(), SourceError> {
        if lost {
            tracing::warn!(
                partitions = %listing::partitions(partitions),
                "lost: the group took them away without asking; their next owner delivers again what was not committed"
            );
        } else {
            self.commit_and_wait(|partition| partitions.contains(&partition))?;
            tracing::info!(partitions = %listing::partitions(partitions), "released");
        }
        for &partition in partitions {
            for (number, poller) in self.pollers.iter_mut().enumerate() {
                poller.forget(partition, self.source.queue(number));
            }
            self.cadence.on_revoked(partition);
            self.counters.counters().disown_partition(partition);
        }
        self.source.release(partitions)
    }
}
