//! Where partitions begin: committed offsets first, the starting position for the rest, and the
//! pins that keep such a beginning.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::Offset as KafkaOffset;

use super::commits::metadata_of;
use super::context::Context;
use super::lists::list_of;
use super::settings::{KafkaSettings, StartAt};
use super::{Commit, Start};
use crate::ids::{Offset, Partition};
use crate::time::{Clock, Nanos};

/// How long to wait between two attempts.
const PAUSE: Duration = Duration::from_millis(100);

/// Where a partition begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) partition: Partition,
    pub(super) offset: Offset,
    /// By the group's committed offset, and not by the starting position.
    pub(super) committed: bool,
    /// Of that commit.
    pub(super) metadata: String,
}

impl Found {
    /// As the source tells it.
    pub(super) fn start(&self) -> Start {
        let committed = self.committed.then_some(self.offset);
        let metadata = self.metadata.clone();
        Start { partition: self.partition, offset: self.offset, committed, metadata }
    }
}

/// What to ask for.
pub(super) struct Lookup<'a> {
    pub(super) client: &'a BaseConsumer<Context>,
    pub(super) settings: &'a KafkaSettings,
    /// `false` once the committed offset has turned out not to be had.
    pub(super) trust_committed: bool,
}

impl Lookup<'_> {
    /// Looks until all are found, for as long as the settings allow. Blocks the caller: until a
    /// rebalance is answered librdkafka delivers nothing anyway.
    pub(super) fn find(&self, partitions: &[Partition]) -> Result<Vec<Found>, KafkaError> {
        let clock = Clock::start();
        let deadline = clock.now() + self.settings.lookup_timeout;
        loop {
            match self.attempt(partitions, &clock, deadline) {
                Err(error) if clock.now() + PAUSE < deadline => {
                    tracing::debug!(%error, "first offsets are not known yet");
                    // Waits, and what happens meanwhile is kept for the next `serve`.
                    self.client.poll(PAUSE);
                }
                done => return done,
            }
        }
    }

    fn attempt(
        &self,
        partitions: &[Partition],
        clock: &Clock,
        deadline: Nanos,
    ) -> Result<Vec<Found>, KafkaError> {
        let left = || deadline.since(clock.now()).max(PAUSE);
        let topic = &self.settings.topic;
        let mut starts = Vec::with_capacity(partitions.len());
        if self.trust_committed && !partitions.is_empty() {
            let all = list_of(topic, partitions.iter().map(|one| (*one, KafkaOffset::Invalid)));
            let committed = self.client.committed_offsets(all, left())?;
            take(&committed, true, &mut starts)?;
        }
        // The protocol's special timestamps are librdkafka's special offsets. What finds no record
        // as young as its timestamp begins where the next one will be.
        let first =
            if self.trust_committed { self.settings.start_at } else { self.settings.start_at.after_loss() };
        for wanted in [timestamp(first), KafkaOffset::End] {
            let unknown: Vec<_> = partitions
                .iter()
                .filter(|partition| starts.iter().all(|start| start.partition != **partition))
                .collect();
            if unknown.is_empty() {
                return Ok(starts);
            }
            let asked = list_of(topic, unknown.into_iter().map(|one| (*one, wanted)));
            let found = self.client.offsets_for_times(asked, left())?;
            take(&found, false, &mut starts)?;
        }
        if starts.len() == partitions.len() {
            Ok(starts)
        } else {
            Err(KafkaError::OffsetFetch(RDKafkaErrorCode::NoOffset))
        }
    }
}

const fn timestamp(start_at: StartAt) -> KafkaOffset {
    match start_at {
        StartAt::Earliest => KafkaOffset::Beginning,
        StartAt::Latest => KafkaOffset::End,
        StartAt::Timestamp(ms) => KafkaOffset::Offset(ms),
    }
}

/// Takes the real offsets of an answer.
fn take(
    answer: &rdkafka::TopicPartitionList,
    committed: bool,
    starts: &mut Vec<Found>,
) -> Result<(), KafkaError> {
    for (at, one) in answer.elements().iter().enumerate() {
        one.error()?;
        if let KafkaOffset::Offset(offset) = one.offset() {
            let metadata = if committed { metadata_of(answer, at) } else { String::new() };
            let (partition, offset) = (Partition(one.partition()), Offset(offset));
            starts.push(Found { partition, offset, committed, metadata });
        }
    }
    Ok(())
}

/// Beginnings that are committed before anything is done. Else a crash before the first commit
/// would begin at another end of the log, and what was written in between would never be read.
///
/// A pin is asked for until it is granted or until the pipeline commits the partition itself. It
/// and the pipeline's commits are never in flight together: a late pin would take the group back.
#[derive(Debug, Default)]
pub(super) struct Pins {
    waiting: BTreeMap<Partition, Offset>,
    /// What was asked for and is not answered.
    sent: Option<Vec<Commit>>,
}

impl Pins {
    pub(super) fn add(&mut self, starts: &[Found]) {
        let new = starts.iter().filter(|start| !start.committed);
        self.waiting.extend(new.map(|start| (start.partition, start.offset)));
    }

    /// The partition is committed by the pipeline now, or gone.
    pub(super) fn remove(&mut self, partition: Partition) {
        self.waiting.remove(&partition);
    }

    /// What to ask for, if anything and if nothing is in flight.
    pub(super) fn to_send(&self) -> Option<Vec<Commit>> {
        let due = self.sent.is_none() && !self.waiting.is_empty();
        due.then(|| {
            self.waiting.iter().map(|(partition, offset)| Commit::plain(*partition, *offset)).collect()
        })
    }

    pub(super) fn on_sent(&mut self, commits: Vec<Commit>) {
        self.sent = Some(commits);
    }

    pub(super) fn is_in_flight(&self) -> bool {
        self.sent.is_some()
    }

    /// The answer. What was refused is asked for again.
    pub(super) fn on_answer(&mut self, granted: bool) {
        for Commit { partition, offset, .. } in self.sent.take().unwrap_or_default() {
            if granted && self.waiting.get(&partition) == Some(&offset) {
                self.waiting.remove(&partition);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn start(partition: i32, offset: i64, committed: bool) -> Found {
        Found { partition: Partition(partition), offset: Offset(offset), committed, metadata: String::new() }
    }

    #[test]
    fn only_beginnings_that_are_not_committed_are_pinned() {
        let mut pins = Pins::default();
        pins.add(&[start(0, 5, true), start(1, 6, false)]);
        assert_eq!(pins.to_send(), Some(vec![Commit::plain(Partition(1), Offset(6))]));
    }

    #[test]
    fn a_refused_pin_is_asked_for_again_and_a_granted_one_is_not() {
        let mut pins = Pins::default();
        pins.add(&[start(1, 6, false)]);
        let offsets = pins.to_send().expect("waiting");
        pins.on_sent(offsets);
        assert_eq!(pins.to_send(), None, "one at a time");
        pins.on_answer(false);
        let offsets = pins.to_send().expect("still waiting");
        pins.on_sent(offsets);
        pins.add(&[start(2, 7, false)]);
        pins.on_answer(true);
        assert_eq!(pins.to_send(), Some(vec![Commit::plain(Partition(2), Offset(7))]));
    }

    #[test]
    fn what_the_pipeline_commits_is_not_pinned_any_more() {
        let mut pins = Pins::default();
        pins.add(&[start(1, 6, false)]);
        pins.remove(Partition(1));
        assert_eq!(pins.to_send(), None);
    }
}
