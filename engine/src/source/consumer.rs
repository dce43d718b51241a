//! A member of a consumer group: one librdkafka client, served by one thread.
//!
//! Records go past this file: each partition's queue is forwarded to a poller's [`KafkaQueue`].
//! What comes through here are the client's own affairs: rebalances, the answers to commits,
//! errors, statistics (see `events`; the end is in `close`).
//!
//! librdkafka holds back **all** of a member's partitions from the moment it announces a rebalance
//! until the answer ([`Source::assign`] or [`Source::release`]). A long drain is therefore paid
//! for by partitions that stay, too.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::Offset as KafkaOffset;

use super::commits::{Committer, refused};
use super::context::{self, Context};
use super::lists::{commits_of, list_of};
use super::queue::KafkaQueue;
use super::rebalance::{Change, Origin, Rebalances};
use super::settings::{KafkaSettings, Wake};
use super::start::{Found, Lookup, Pins};
use super::{Commit, CommitMode, RecordQueue, Reroute, Source, SourceError, SourceEvent, SourceState, Start};
use crate::ids::{Offset, Partition};
use crate::time::Clock;

/// How long a client may take to end if nobody called [`Source::close`].
const DROP_DEADLINE: Duration = Duration::from_secs(5);

/// Kafka as a [`Source`].
///
/// Wake-ups come for the client's affairs and for each queue, when it stops being empty. Dropping
/// it is [`Source::close`] with 5 s.
pub struct KafkaSource {
    pub(super) settings: KafkaSettings,
    /// Before `client`: handles end before the client does.
    pub(super) queues: Vec<KafkaQueue>,
    pub(super) committer: Option<Committer>,
    /// `None` once closed.
    pub(super) client: Option<Arc<BaseConsumer<Context>>>,
    pub(super) rebalances: Rebalances,
    pub(super) pins: Pins,
    /// Asynchronous commits of the pipeline that are not answered.
    pub(super) commits_in_flight: usize,
    /// An asynchronous commit that waits for a pin's answer.
    pub(super) deferred: Vec<Commit>,
    /// The state last announced; `None` before the first.
    pub(super) state: Option<SourceState>,
    /// Events made outside of `serve`, for its next call.
    pub(super) waiting: Vec<SourceEvent>,
    pub(super) wake: Wake,
}

impl KafkaSource {
    /// Makes the client and joins the group. Returns at once: everything that needs a broker
    /// happens later. Ask [`probe`](super::probe::probe) first for errors that a person should see.
    ///
    /// `wake` is called from librdkafka's threads and must neither block nor call the source.
    ///
    /// # Errors
    /// [`SourceError::Settings`] if the settings are refused.
    pub fn new(settings: KafkaSettings, wake: Wake) -> Result<Self, SourceError> {
        let refuse = |error: KafkaError| SourceError::Settings { reason: error.to_string() };
        let context = Context::new(settings.topic.clone(), settings.token_provider.clone());
        let mut client: BaseConsumer<Context> =
            settings.consumer_config()?.create_with_context(context).map_err(refuse)?;
        let on_event = Arc::clone(&wake);
        client.set_nonempty_callback(move || on_event());
        let client = Arc::new(client);
        let queues = (0..settings.queues).map(|_| KafkaQueue::new(&client, Arc::clone(&wake))).collect();
        let committer = Committer::new(&client);
        client.subscribe(&[settings.topic.as_str()]).map_err(refuse)?;
        Ok(Self {
            settings,
            queues,
            committer,
            client: Some(client),
            rebalances: Rebalances::default(),
            pins: Pins::default(),
            commits_in_flight: 0,
            deferred: Vec::new(),
            state: None,
            waiting: Vec::new(),
            wake,
        })
    }

    fn client(&self) -> &BaseConsumer<Context> {
        self.client.as_ref().expect("the client is there until close")
    }

    fn find_starts(&self, partitions: &[Partition], origin: Origin) -> Result<Vec<Found>, SourceError> {
        let lookup = Lookup {
            client: self.client(),
            settings: &self.settings,
            trust_committed: origin == Origin::Group,
        };
        lookup.find(partitions).map_err(|error| {
            let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
            self.error(code, "finding the first offsets", error.to_string())
        })
    }

    /// Begins to fetch from `starts`.
    fn begin(&self, starts: &[Found], origin: Origin) -> Result<(), KafkaError> {
        let list = list_of(
            &self.settings.topic,
            starts.iter().map(|start| (start.partition, KafkaOffset::Offset(start.offset.0))),
        );
        match origin {
            Origin::Group => context::answer(self.client(), true, &list),
            Origin::Reset => self.seek(list),
        }
    }

    /// Fetches again from the offsets of `list`. librdkafka drops what it fetched before, wherever it
    /// waits: its messages carry a version, and a seek begins another.
    fn seek(&self, list: TopicPartitionList) -> Result<(), KafkaError> {
        for one in self.client().seek_partitions(list, self.settings.commit_timeout)?.elements() {
            one.error()?;
        }
        Ok(())
    }

    /// Sends what is fetched of `partition` to a poller's queue, from `offset` on.
    fn route(&mut self, partition: Partition, poller: Option<usize>, offset: Offset) -> Result<(), String> {
        let queue = poller
            .and_then(|poller| self.queues.get_mut(poller))
            .ok_or_else(|| format!("partition {partition} has no route to a poller"))?;
        let routed = queue.route(&self.settings.topic, partition, offset);
        if routed { Ok(()) } else { Err(format!("partition {partition} has no queue")) }
    }

    /// Moves partitions to other queues: first routed, so that no record of the new position can come
    /// to the old queue, where nobody waits for it.
    fn move_to(&mut self, routes: &[Reroute]) -> Result<(), String> {
        for &Reroute { partition, poller, offset } in routes {
            if !self.rebalances.owns(partition) {
                return Err(format!("partition {partition} is not owned any more"));
            }
            self.route(partition, Some(poller), offset)?;
        }
        let offsets = routes.iter().map(|one| (one.partition, KafkaOffset::Offset(one.offset.0)));
        self.seek(list_of(&self.settings.topic, offsets)).map_err(|error| error.to_string())
    }

    /// Sends the pins, or else the commit that waited for them.
    fn send_waiting(&mut self, events: &mut Vec<SourceEvent>) {
        if self.pins.is_in_flight() {
            return;
        }
        if !self.deferred.is_empty() {
            let commits = std::mem::take(&mut self.deferred);
            if let Err(error) = self.commit(&commits, CommitMode::Async) {
                events.push(unsent(&commits, error));
            }
        } else if self.commits_in_flight == 0
            && let Some(mut commits) = self.pins.to_send()
            && let Some(committer) = &self.committer
        {
            commits.retain(|commit| self.rebalances.owns(commit.partition));
            if commits.is_empty() {
                return;
            }
            match committer.send(&commits_of(&self.settings.topic, &commits)) {
                Ok(()) => self.pins.on_sent(commits),
                Err(reason) => tracing::debug!(%reason, "the starting position is not committed yet"),
            }
        }
    }

    /// Sends the pins, waits for their answer and sends what waited for it, so that none of it comes
    /// after, and undoes, what is committed next.
    pub(super) fn settle(&mut self, timeout: Duration) {
        let clock = Clock::start();
        let deadline = clock.now() + timeout;
        let mut events = std::mem::take(&mut self.waiting);
        self.send_waiting(&mut events);
        while self.pins.is_in_flight() && clock.now() < deadline {
            self.client().poll(Duration::from_millis(10));
            for notice in self.client().context().take() {
                self.on_notice(notice, &mut events);
            }
        }
        if self.pins.is_in_flight() && !self.deferred.is_empty() {
            let reason =
                format!("the starting position was not committed within {:?}", self.settings.commit_timeout);
            events.push(unsent(&std::mem::take(&mut self.deferred), SourceError::Commit { reason }));
        } else if !self.deferred.is_empty() {
            self.send_waiting(&mut events);
        }
        events.append(&mut self.waiting);
        self.waiting = events;
    }

    pub(super) fn list(&self, partitions: &[Partition]) -> TopicPartitionList {
        list_of(&self.settings.topic, partitions.iter().map(|one| (*one, KafkaOffset::Invalid)))
    }
}

/// The answer to an asynchronous commit that was put off and did not go out in the end.
fn unsent(commits: &[Commit], error: SourceError) -> SourceEvent {
    let offsets = commits.iter().map(|one| (one.partition, one.offset)).collect();
    SourceEvent::Committed { offsets, error: Some(error) }
}

fn no_change_open(action: &'static str) -> SourceError {
    SourceError::Client {
        action,
        reason: "no such change was announced, or it was answered before".to_owned(),
    }
}

impl Source for KafkaSource {
    type Queue = KafkaQueue;

    fn serve(&mut self, events: &mut Vec<SourceEvent>) {
        if self.state.is_none() {
            self.enter(SourceState::Connecting, events);
        }
        events.append(&mut self.waiting);
        self.poll(events);
        for notice in self.client().context().take() {
            self.on_notice(notice, events);
        }
        for at in 0..self.queues.len() {
            for fault in self.queues[at].take_faults() {
                self.on_fault(fault, events);
            }
        }
        self.send_waiting(events);
        // Whoever polls the client for something else may be told instead.
        if let Some((_, reason)) = self.client().client().fatal_error() {
            events.push(SourceEvent::Fatal(SourceError::Client { action: "reading", reason }));
        }
        events.extend(self.rebalances.next_event());
    }

    fn queue(&mut self, poller: usize) -> &mut KafkaQueue {
        &mut self.queues[poller]
    }

    fn assign(&mut self, routes: &[(Partition, usize)], starts: &mut Vec<Start>) -> Result<(), SourceError> {
        const ACTION: &str = "taking partitions";
        let Some((Change::Assigned(partitions), origin)) = self.rebalances.open() else {
            return Err(no_change_open(ACTION));
        };
        let partitions = partitions.clone();
        let failed = |reason: String| SourceError::Client { action: ACTION, reason };
        if self.rebalances.is_superseded() {
            // Taken back already. The client is told both in order; nothing is routed.
            if origin == Origin::Group {
                context::answer(self.client(), true, &self.list(&partitions))
                    .map_err(|error| failed(error.to_string()))?;
            }
            self.rebalances.answered();
            return Ok(());
        }
        let found = self.find_starts(&partitions, origin)?;
        for start in &found {
            let route = routes.iter().find(|(partition, _)| *partition == start.partition);
            self.route(start.partition, route.map(|(_, poller)| *poller), start.offset).map_err(failed)?;
        }
        self.begin(&found, origin).map_err(|error| failed(error.to_string()))?;
        self.rebalances.answered();
        starts.extend(found.iter().map(Found::start));
        self.pins.add(&found);
        // The next change may have been announced while this one was open.
        (self.wake)();
        Ok(())
    }

    fn release(&mut self, partitions: &[Partition]) -> Result<(), SourceError> {
        const ACTION: &str = "letting partitions go";
        let Some((Change::Revoked { partitions: announced, .. }, origin)) = self.rebalances.open() else {
            return Err(no_change_open(ACTION));
        };
        debug_assert!(
            partitions.iter().all(|one| announced.contains(one)),
            "{partitions:?} of {announced:?}"
        );
        let announced = announced.clone();
        for partition in &announced {
            self.pins.remove(*partition);
            self.queues.iter_mut().for_each(|queue| queue.discard(*partition));
        }
        let result = match origin {
            Origin::Group => context::answer(self.client(), false, &self.list(&announced)),
            Origin::Reset => Ok(()),
        };
        self.rebalances.answered();
        (self.wake)();
        result.map_err(|error| SourceError::Client { action: ACTION, reason: error.to_string() })
    }

    const REROUTES: bool = true;

    fn reroute(&mut self, routes: &[Reroute]) -> Result<(), SourceError> {
        let discard = |queues: &mut [KafkaQueue]| {
            for queue in queues {
                routes.iter().for_each(|route| queue.discard(route.partition));
            }
        };
        discard(&mut self.queues);
        let moved = self.move_to(routes);
        if moved.is_err() {
            // Some may be routed already, and are still fetched from where they stood.
            discard(&mut self.queues);
        }
        moved.map_err(|reason| SourceError::Client { action: "moving partitions", reason })
    }

    fn commit(&mut self, commits: &[Commit], mode: CommitMode) -> Result<(), SourceError> {
        // The broker checks who commits, not what it owns: a stale commit would take the group
        // back. So nothing leaves here that is not ours at this moment.
        let lost = self.client().assignment_lost();
        let owned: Vec<&Commit> =
            commits.iter().filter(|commit| !lost && self.rebalances.owns(commit.partition)).collect();
        if owned.is_empty() {
            if mode == CommitMode::Async {
                self.waiting.push(SourceEvent::Committed { offsets: Vec::new(), error: None });
                (self.wake)();
            }
            return Ok(());
        }
        for commit in &owned {
            self.pins.remove(commit.partition);
        }
        match mode {
            CommitMode::Async if self.pins.is_in_flight() => {
                self.deferred = commits.to_vec();
                return Ok(());
            }
            CommitMode::Async => {}
            CommitMode::Sync => self.settle(self.settings.commit_timeout),
        }
        let list = commits_of(&self.settings.topic, owned);
        let committer = self
            .committer
            .as_ref()
            .ok_or_else(|| SourceError::Commit { reason: "the client has no group".to_owned() })?;
        match mode {
            CommitMode::Async => committer.send(&list).inspect(|()| self.commits_in_flight += 1),
            CommitMode::Sync => committer.send_and_wait(&list, self.settings.commit_timeout),
        }
        .map_err(refused)
    }

    fn close(mut self, deadline: Duration) {
        self.shut_down(deadline);
    }
}

impl Drop for KafkaSource {
    fn drop(&mut self) {
        self.shut_down(DROP_DEADLINE);
    }
}
