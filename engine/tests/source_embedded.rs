//! The Kafka source against the embedded broker: what it hands over, how partitions change hands,
//! what commits report, how it stops and comes back.
#![cfg(feature = "kafka")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crossbeam::sync::Parker;
use pelton::ids::{Offset, Partition, Topic};
use pelton::record::{Record, TimestampType};
use pelton::source::consumer::KafkaSource;
use pelton::source::embedded::EmbeddedBroker;
use pelton::source::probe::probe;
use pelton::source::settings::{GroupProtocol, KafkaSettings, StartAt};
use pelton::source::{
    Commit, CommitMode, RecordQueue, Reroute, Source, SourceError, SourceEvent, SourceState,
};
use pelton::time::Clock;
use rdkafka::ClientConfig;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::types::RDKafkaApiKey;

/// Longer than anything here takes on a busy machine. Nothing waits this long unless it failed.
const PATIENCE: Duration = Duration::from_secs(60);
const TURN: Duration = Duration::from_millis(20);

fn topic() -> Topic {
    Topic::new("orders")
}

fn broker(partitions: u16) -> EmbeddedBroker {
    let broker = EmbeddedBroker::start(1).expect("a socket");
    broker.create_topic(&topic(), partitions).expect("a new topic");
    broker
}

fn bare_settings(broker: &EmbeddedBroker) -> KafkaSettings {
    KafkaSettings::new(&broker.bootstrap_servers(), &topic(), "group").with("fetch.wait.max.ms", "10")
}

/// The classic protocol. The embedded broker's rebalances take a second less than the session.
fn settings(broker: &EmbeddedBroker) -> KafkaSettings {
    bare_settings(broker).with("session.timeout.ms", "3000").with("heartbeat.interval.ms", "300")
}

/// The KIP-848 protocol.
fn new_protocol(broker: &EmbeddedBroker) -> KafkaSettings {
    let mut settings = bare_settings(broker);
    settings.group_protocol = GroupProtocol::Consumer;
    settings
}

fn producer(broker: &EmbeddedBroker) -> BaseProducer {
    ClientConfig::new()
        .set("bootstrap.servers", broker.bootstrap_servers())
        .set("linger.ms", "0")
        .create()
        .expect("valid settings")
}

/// Writes `count` records of `len` bytes to each partition.
fn produce(broker: &EmbeddedBroker, partitions: i32, count: usize, len: usize) {
    let producer = producer(broker);
    let value = vec![b'v'; len];
    for _ in 0..count {
        for partition in 0..partitions {
            let record = BaseRecord::<(), [u8]>::to("orders").partition(partition).payload(&value);
            producer.send(record).map_err(|(error, _)| error).expect("room in the producer's queue");
        }
    }
    producer.flush(PATIENCE).expect("written");
}

type Records = Vec<(Partition, Offset)>;

/// What a member does when partitions are to be let go.
#[derive(Clone, Copy, PartialEq)]
enum OnRevoke {
    /// Commits what it has and releases.
    Release,
    /// Keeps them until told otherwise.
    Hold,
}

/// A source with the smallest pipeline around it.
struct Member {
    source: KafkaSource,
    parker: Parker,
    clock: Clock,
    queues: usize,
    on_revoke: OnRevoke,
    reads: bool,
    /// Per partition: where it began, and every offset since.
    read: BTreeMap<Partition, Vec<Offset>>,
    starts: Vec<(Partition, Offset)>,
    metadata: BTreeMap<Partition, String>,
    owned: BTreeMap<Partition, Offset>,
    reached: Vec<(Partition, Offset)>,
    held: Option<Vec<Partition>>,
    revocations: Vec<(Vec<Partition>, bool)>,
    committed: Vec<(Records, Option<SourceError>)>,
    states: Vec<SourceState>,
    problems: Vec<SourceError>,
    fatal: Vec<SourceError>,
    lag: BTreeMap<Partition, Offset>,
}

impl Member {
    fn join(settings: KafkaSettings) -> Self {
        let parker = Parker::new();
        let unparker = parker.unparker().clone();
        let queues = settings.queues;
        let source = KafkaSource::new(settings, Arc::new(move || unparker.unpark())).expect("valid settings");
        Self {
            source,
            parker,
            clock: Clock::start(),
            queues,
            on_revoke: OnRevoke::Release,
            reads: true,
            read: BTreeMap::new(),
            starts: Vec::new(),
            metadata: BTreeMap::new(),
            owned: BTreeMap::new(),
            reached: Vec::new(),
            held: None,
            revocations: Vec::new(),
            committed: Vec::new(),
            states: Vec::new(),
            problems: Vec::new(),
            fatal: Vec::new(),
            lag: BTreeMap::new(),
        }
    }

    fn turn(&mut self) {
        self.parker.park_timeout(TURN);
        let mut events = Vec::new();
        self.source.serve(&mut events);
        for event in events {
            self.on_event(event);
        }
        if self.reads {
            self.read_all();
        }
    }

    fn on_event(&mut self, event: SourceEvent) {
        match event {
            SourceEvent::Assigned(partitions) => {
                let routes: Vec<_> = partitions
                    .iter()
                    .map(|one| (*one, usize::try_from(one.0).expect("not negative") % self.queues))
                    .collect();
                let mut starts = Vec::new();
                self.source.assign(&routes, &mut starts).expect("assigned");
                self.owned.extend(starts.iter().map(|start| (start.partition, start.offset)));
                self.starts.extend(starts.iter().map(|start| (start.partition, start.offset)));
                self.metadata.extend(starts.into_iter().map(|start| (start.partition, start.metadata)));
            }
            SourceEvent::Revoked { partitions, lost } => {
                self.revocations.push((partitions.clone(), lost));
                match self.on_revoke {
                    OnRevoke::Release => self.release(&partitions, lost),
                    OnRevoke::Hold => self.held = Some(partitions),
                }
            }
            SourceEvent::Committed { offsets, error } => self.committed.push((offsets, error)),
            SourceEvent::Lag { partition, end } => {
                self.lag.insert(partition, end);
            }
            SourceEvent::State(state) => self.states.push(state),
            SourceEvent::Problem(problem) => self.problems.push(problem),
            SourceEvent::Fatal(error) => self.fatal.push(error),
            _ => {}
        }
    }

    fn release(&mut self, partitions: &[Partition], lost: bool) {
        if !lost {
            let offsets: Vec<_> = partitions
                .iter()
                .filter_map(|one| self.owned.get(one).map(|offset| (*one, *offset)))
                .collect();
            // The embedded broker refuses commits during classic rebalances; then they come again.
            if let Err(error) = self.source.commit(&plain(&offsets), CommitMode::Sync) {
                self.problems.push(error);
            }
        }
        for partition in partitions {
            self.owned.remove(partition);
        }
        self.source.release(partitions).expect("released");
    }

    fn read_all(&mut self) {
        for at in 0..self.queues {
            let queue = self.source.queue(at);
            while queue.read(1000) > 0 {
                let count = queue.pending().len();
                for record in queue.pending() {
                    self.read.entry(record.partition()).or_default().push(record.offset());
                    self.owned.insert(record.partition(), record.offset().next());
                }
                queue.advance(count);
            }
            queue.take_reached(&mut self.reached);
        }
    }

    fn until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let deadline = self.clock.now() + PATIENCE;
        while !done(self) {
            assert!(
                self.clock.now() < deadline,
                "waited in vain for: {what}; problems {:?}, fatal {:?}, owned {:?}, states {:?}",
                self.problems,
                self.fatal,
                self.owned,
                self.states
            );
            self.turn();
        }
    }

    fn records(&self) -> usize {
        self.read.values().map(Vec::len).sum()
    }

    fn all(&self) -> Records {
        self.read.iter().flat_map(|(one, offsets)| offsets.iter().map(|offset| (*one, *offset))).collect()
    }

    /// How many different records this and the other member read.
    fn distinct(&self, other: Option<&Self>) -> usize {
        self.all().into_iter().chain(other.map(Self::all).unwrap_or_default()).collect::<BTreeSet<_>>().len()
    }

    fn positions(&self) -> Vec<(Partition, Offset)> {
        self.owned.iter().map(|(partition, offset)| (*partition, *offset)).collect()
    }

    fn commit(&mut self, mode: CommitMode) {
        let commits = plain(&self.positions());
        self.source.commit(&commits, mode).expect("committed");
    }

    fn close(self) {
        self.source.close(Duration::from_secs(10));
    }
}

fn plain(offsets: &[(Partition, Offset)]) -> Vec<Commit> {
    offsets.iter().map(|(partition, offset)| Commit::plain(*partition, *offset)).collect()
}

/// Turns both until `done`.
fn both(one: &mut Member, two: &mut Member, what: &str, mut done: impl FnMut(&Member, &Member) -> bool) {
    one.until(what, |one| {
        two.turn();
        done(one, two)
    });
}

fn offsets(range: std::ops::Range<i64>) -> Vec<Offset> {
    range.map(Offset).collect()
}

#[test]
fn every_record_arrives_once_and_in_order() {
    let broker = broker(4);
    produce(&broker, 4, 500, 100);
    let mut settings = settings(&broker);
    settings.queues = 3;
    settings = settings.with("statistics.interval.ms", "100");
    let mut member = Member::join(settings);
    member.until("all records", |member| member.records() >= 2000);
    for partition in 0..4 {
        assert_eq!(member.read[&Partition(partition)], offsets(0..500));
    }
    assert_eq!(member.starts.len(), 4);
    assert!(member.starts.iter().all(|(_, start)| *start == Offset(0)));
    member.until("statistics", |member| member.lag.len() == 4);
    member.turn();
    assert!(member.reached.is_empty(), "no gaps here: {:?}", member.reached);
    assert!(
        member.problems.is_empty() && member.fatal.is_empty(),
        "{:?} {:?}",
        member.problems,
        member.fatal
    );
    assert_eq!(member.states, [SourceState::Connecting, SourceState::Connected]);
    member.close();
}

#[test]
fn a_record_shows_its_parts_as_they_were_written() {
    let broker = broker(1);
    let producer = producer(&broker);
    let headers = OwnedHeaders::new()
        .insert(Header { key: "a", value: Some("1") })
        .insert(Header { key: "a", value: Some("") })
        .insert(Header { key: "b", value: None::<&str> });
    let full = BaseRecord::to("orders").partition(0).key("k").payload("v").timestamp(1_545_084_650_987);
    producer.send(full.headers(headers)).map_err(|(error, _)| error).expect("sent");
    let empty = BaseRecord::to("orders").partition(0).key("").payload("");
    producer.send(empty).map_err(|(error, _)| error).expect("sent");
    producer.send(BaseRecord::<(), ()>::to("orders").partition(0)).map_err(|(error, _)| error).expect("sent");
    producer.flush(PATIENCE).expect("written");

    let mut member = Member::join(settings(&broker));
    member.reads = false;
    let mut seen = Vec::new();
    member.until("three records", |member| {
        let queue = member.source.queue(0);
        let count = queue.read(10);
        for record in queue.pending() {
            let headers: Vec<_> =
                record.headers().map(|one| (one.name.to_vec(), one.value.map(<[u8]>::to_vec))).collect();
            assert_eq!(record.headers().count(), headers.len(), "headers can be read twice");
            seen.push((
                record.key().map(<[u8]>::to_vec),
                record.value().map(<[u8]>::to_vec),
                headers,
                record.timestamp_ms(),
                record.timestamp_type(),
            ));
        }
        queue.advance(count);
        seen.len() == 3
    });
    let name = |name: &str| name.as_bytes().to_vec();
    assert_eq!(
        seen[0],
        (
            Some(name("k")),
            Some(name("v")),
            vec![(name("a"), Some(name("1"))), (name("a"), Some(Vec::new())), (name("b"), None)],
            1_545_084_650_987,
            TimestampType::CreateTime,
        )
    );
    assert_eq!((&seen[1].0, &seen[1].1, seen[1].2.len()), (&Some(Vec::new()), &Some(Vec::new()), 0));
    assert_eq!((&seen[2].0, &seen[2].1), (&None, &None));
    member.close();
}

#[test]
fn headers_are_found_whatever_value_stands_before_them() {
    let broker = broker(1);
    let producer = producer(&broker);
    let values: [Option<&[u8]>; 5] = [None, Some(b""), Some(b"v"), Some(b"\0"), Some(&[0; 300])];
    let mut expected = Vec::new();
    for value in values {
        for count in [0, 1, 3, 200] {
            let mut headers = OwnedHeaders::new();
            for _ in 0..count {
                headers = headers.insert(Header { key: "h", value: Some("1") });
            }
            let mut record = BaseRecord::<(), [u8]>::to("orders").partition(0);
            record.payload = value;
            // A record without headers and one with an empty list are the same on the wire.
            let record = if count == 0 { record } else { record.headers(headers) };
            producer.send(record).map_err(|(error, _)| error).expect("sent");
            expected.push((value.map(<[u8]>::to_vec), count));
        }
    }
    producer.flush(PATIENCE).expect("written");

    let mut member = Member::join(settings(&broker));
    member.reads = false;
    let mut seen = Vec::new();
    member.until("all records", |member| {
        let queue = member.source.queue(0);
        let count = queue.read(100);
        for record in queue.pending() {
            let headers = record.headers();
            assert_eq!(headers.size_hint(), (headers.clone().count(), Some(headers.clone().count())));
            seen.push((record.value().map(<[u8]>::to_vec), headers.count()));
        }
        queue.advance(count);
        seen.len() == expected.len()
    });
    assert_eq!(seen, expected);
    member.close();
}

#[test]
fn a_group_resumes_where_it_committed() {
    let broker = broker(2);
    produce(&broker, 2, 100, 10);
    let mut first = Member::join(settings(&broker));
    first.until("all records", |member| member.records() == 200);
    first.owned.insert(Partition(0), Offset(40));
    first.commit(CommitMode::Sync);
    first.source.close(Duration::from_secs(10));

    let mut second = Member::join(settings(&broker));
    second.until("the rest", |member| member.records() >= 60 && member.owned.len() == 2);
    assert_eq!(second.read[&Partition(0)], offsets(40..100));
    assert!(second.starts.contains(&(Partition(0), Offset(40))), "{:?}", second.starts);
    assert!(second.starts.contains(&(Partition(1), Offset(100))), "{:?}", second.starts);
    assert!(!second.read.contains_key(&Partition(1)));
    second.close();
}

#[test]
fn metadata_comes_back_with_the_offset_it_was_committed_with() {
    let broker = broker(4);
    produce(&broker, 4, 10, 10);
    let mut first = Member::join(settings(&broker));
    first.until("all partitions", |member| member.starts.len() == 4);
    assert!(first.metadata.values().all(String::is_empty), "nothing was committed");
    // A zero is not the end of a text, and the length is the broker's to limit.
    let texts = ["", "another consumer's", "a\0b", &"é".repeat(2_048)];
    let commits: Vec<Commit> = (0..)
        .zip(texts)
        .map(|(partition, text)| Commit {
            metadata: text.into(),
            ..Commit::plain(Partition(partition), Offset(5))
        })
        .collect();
    first.source.commit(&commits, CommitMode::Async).expect("sent");
    first.until("the answer", |member| !member.committed.is_empty());
    first.source.close(Duration::from_secs(10));

    let mut second = Member::join(settings(&broker));
    second.until("all partitions", |member| member.starts.len() == 4);
    for commit in &commits {
        assert_eq!(second.metadata[&commit.partition], commit.metadata);
        assert!(second.starts.contains(&(commit.partition, Offset(5))));
    }
    // The next commit replaces it.
    second.source.commit(&[Commit::plain(Partition(1), Offset(6))], CommitMode::Sync).expect("committed");
    second.source.close(Duration::from_secs(10));
    let mut third = Member::join(settings(&broker));
    third.until("all partitions", |member| member.starts.len() == 4);
    assert_eq!(third.metadata[&Partition(1)], "");
    third.close();
}

#[test]
fn latest_begins_at_the_end_and_stays_there_through_a_crash() {
    let broker = broker(1);
    produce(&broker, 1, 10, 10);
    let mut latest = settings(&broker);
    latest.start_at = StartAt::Latest;
    let mut first = Member::join(latest.clone());
    first.until("an assignment", |member| !member.starts.is_empty());
    assert_eq!(first.starts, [(Partition(0), Offset(10))]);
    // Goes without a commit of its own: what is written now must not be lost.
    first.on_revoke = OnRevoke::Hold;
    first.close();
    produce(&broker, 1, 5, 10);

    let mut second = Member::join(latest);
    second.until("what was written meanwhile", |member| member.records() == 5);
    assert_eq!(second.read[&Partition(0)], offsets(10..15));
    second.close();
}

#[test]
fn a_timestamp_younger_than_every_record_begins_at_the_end() {
    let broker = broker(1);
    produce(&broker, 1, 10, 10);
    let mut young = settings(&broker);
    // The embedded broker finds no record for any timestamp.
    young.start_at = StartAt::Timestamp(1);
    let mut member = Member::join(young);
    member.until("an assignment", |member| !member.starts.is_empty());
    assert_eq!(member.starts, [(Partition(0), Offset(10))]);
    member.close();
}

/// A second member joins and leaves under load; the first takes several turns to let go. Returns
/// what both read.
fn share(broker: &EmbeddedBroker, settings: &KafkaSettings) -> Records {
    produce(broker, 4, 100, 10);
    let mut one = Member::join(settings.clone());
    one.until("the first records", |one| one.distinct(None) == 400);
    one.on_revoke = OnRevoke::Hold;
    let mut two = Member::join(settings.clone());
    both(&mut one, &mut two, "a revocation", |one, _| one.held.is_some());
    // Invocations in flight: the loop goes on for some turns before the answer.
    for _ in 0..10 {
        one.turn();
        two.turn();
    }
    assert!(two.owned.is_empty(), "nothing is given away before it is released");
    let held = one.held.take().expect("held");
    one.on_revoke = OnRevoke::Release;
    one.release(&held, false);
    both(&mut one, &mut two, "both own partitions", |one, two| one.owned.len() == 2 && two.owned.len() == 2);
    produce(broker, 4, 100, 10);
    both(&mut one, &mut two, "more records", |one, two| one.distinct(Some(two)) == 800);
    two.commit(CommitMode::Sync);
    let mut records = two.all();
    two.close();
    one.until("all partitions again", |one| one.owned.len() == 4);
    produce(broker, 4, 100, 10);
    one.until("the last records", |one| {
        one.all().into_iter().chain(records.iter().copied()).collect::<BTreeSet<_>>().len() == 1200
    });
    assert!(one.fatal.is_empty(), "{:?}", one.fatal);
    assert!(
        !one.problems.iter().any(|one| matches!(one, SourceError::OffsetLost { .. })),
        "{:?}",
        one.problems
    );
    records.append(&mut one.all());
    one.close();
    records
}

#[test]
fn members_of_the_new_protocol_share_without_loss_or_repetition() {
    let broker = broker(4);
    assert_eq!(share(&broker, &new_protocol(&broker)).len(), 1200);
}

#[test]
fn members_of_the_eager_protocol_share_without_loss() {
    let broker = broker(4);
    let settings = settings(&broker).with("partition.assignment.strategy", "range");
    // The embedded broker refuses commits while it rebalances, so some come twice.
    assert!(share(&broker, &settings).len() >= 1200);
}

#[test]
fn members_of_the_cooperative_protocol_share_without_loss() {
    let broker = broker(4);
    produce(&broker, 4, 100, 10);
    let mut one = Member::join(settings(&broker));
    one.until("the first records", |member| member.records() >= 400);
    one.commit(CommitMode::Sync);
    one.on_revoke = OnRevoke::Hold;
    let mut two = Member::join(settings(&broker));
    both(&mut one, &mut two, "a revocation", |one, _| one.held.is_some());
    for _ in 0..10 {
        one.turn();
        two.turn();
    }
    let held = one.held.take().expect("held");
    assert_eq!(held.len(), 2, "only what moves is let go");
    assert_eq!(one.owned.len(), 4);
    one.on_revoke = OnRevoke::Release;
    one.release(&held, false);
    both(&mut one, &mut two, "both own partitions", |one, two| one.owned.len() == 2 && two.owned.len() == 2);
    produce(&broker, 4, 100, 10);
    // What happens when one leaves is not tested here: the embedded broker strands its partitions.
    both(&mut one, &mut two, "more records", |one, two| one.distinct(Some(two)) == 800);
    assert_eq!(one.records() + two.records(), 800, "and none twice");
    two.close();
    one.close();
}

#[test]
fn an_asynchronous_commit_reports_back() {
    let broker = broker(1);
    produce(&broker, 1, 10, 10);
    let mut member = Member::join(settings(&broker));
    member.until("all records", |member| member.records() == 10);
    member.commit(CommitMode::Async);
    member.until("an answer", |member| !member.committed.is_empty());
    assert_eq!(member.committed, [(vec![(Partition(0), Offset(10))], None)]);

    broker.fail_requests(RDKafkaApiKey::OffsetCommit, &[RDKafkaErrorCode::GroupAuthorizationFailed]);
    member.commit(CommitMode::Async);
    member.until("a refusal", |member| member.committed.len() == 2);
    let (offsets, error) = &member.committed[1];
    assert_eq!(*offsets, [(Partition(0), Offset(10))]);
    assert!(matches!(error, Some(SourceError::Commit { .. })), "{error:?}");
    member.close();
}

#[test]
fn a_synchronous_commit_says_why_it_was_refused() {
    let broker = broker(1);
    let mut member = Member::join(settings(&broker));
    member.until("an assignment", |member| member.owned.len() == 1);
    broker.fail_requests(RDKafkaApiKey::OffsetCommit, &[RDKafkaErrorCode::GroupAuthorizationFailed]);
    let refused = member.source.commit(&[Commit::plain(Partition(0), Offset(0))], CommitMode::Sync);
    assert!(
        matches!(&refused, Err(SourceError::Commit { reason }) if reason.contains("authori")),
        "{refused:?}"
    );
    assert_eq!(member.source.commit(&[Commit::plain(Partition(0), Offset(0))], CommitMode::Sync), Ok(()));
    member.close();
}

#[test]
fn nothing_is_committed_for_a_partition_that_is_not_owned() {
    let broker = broker(2);
    produce(&broker, 2, 10, 10);
    let settings = new_protocol(&broker);
    let mut one = Member::join(settings.clone());
    one.until("all records", |member| member.records() == 20);
    let mut two = Member::join(settings.clone());
    both(&mut one, &mut two, "one partition each", |one, two| one.owned.len() == 1 && two.owned.len() == 1);
    let gone = two.positions()[0].0;
    // A stale watermark, far back: it must not take the group back.
    one.source.commit(&[Commit::plain(gone, Offset(3))], CommitMode::Sync).expect("filtered, not refused");
    one.source.commit(&[Commit::plain(gone, Offset(3))], CommitMode::Async).expect("filtered, not refused");
    one.until("an answer to the filtered commit", |one| one.committed.contains(&(Vec::new(), None)));
    two.close();
    one.until("both partitions again", |one| one.owned.len() == 2);
    assert_eq!(one.starts.last(), Some(&(gone, Offset(10))));
    one.close();
}

#[test]
fn an_error_at_the_end_of_a_partition_costs_no_record() {
    let broker = broker(2);
    produce(&broker, 2, 10, 10);
    let mut one = Member::join(new_protocol(&broker));
    one.until("all records", |one| one.records() == 20);
    broker.fail_requests(RDKafkaApiKey::Fetch, &[RDKafkaErrorCode::MessageSizeTooLarge; 4]);
    one.until("a word about it", |one| {
        one.problems.iter().any(|problem| matches!(problem, SourceError::Client { action: "fetching", .. }))
    });
    // librdkafka fetches the partition that stays again from where it believes to be.
    let mut two = Member::join(new_protocol(&broker));
    both(&mut one, &mut two, "one partition each", |one, two| one.owned.len() == 1 && two.owned.len() == 1);
    produce(&broker, 2, 10, 10);
    both(&mut one, &mut two, "all of the new records", |one, two| one.distinct(Some(two)) == 40);
    assert_eq!(one.records() + two.records(), 40, "and none twice");
    two.close();
    one.close();
}

#[test]
fn what_is_not_read_is_not_fetched_without_end() {
    let broker = broker(4);
    produce(&broker, 4, 400, 10_000);
    let mut small = settings(&broker).with("fetch.message.max.bytes", "100000");
    small.prefetch_bytes = 2 << 20;
    let mut member = Member::join(small);
    member.reads = false;
    member.until("an assignment", |member| member.starts.len() == 4);
    // A second is plenty for 16 MB over loopback, if nothing held them back.
    let end = member.clock.now() + Duration::from_secs(1);
    member.until("a second", |member| member.clock.now() >= end);
    let queue = member.source.queue(0);
    let bytes: usize = {
        queue.read(100_000);
        queue.pending().iter().map(|record| record.value().map_or(0, <[u8]>::len)).sum()
    };
    assert!(bytes >= 100_000, "something is fetched ahead: {bytes}");
    assert!(bytes <= 4 << 20, "no more than the budget and what was on its way: {bytes}");
    member.reads = true;
    let count = member.source.queue(0).pending().len();
    member.source.queue(0).advance(count);
    member.until("the rest", |member| member.records() + count >= 1600);
    assert_eq!(member.records() + count, 1600);
    member.close();
}

#[test]
fn an_empty_queue_wakes_its_reader_when_a_record_comes() {
    let broker = broker(1);
    let mut member = Member::join(settings(&broker));
    member.until("an assignment", |member| !member.starts.is_empty());
    std::thread::scope(|scope| {
        scope.spawn(|| produce(&broker, 1, 1, 10));
        let deadline = member.clock.now() + PATIENCE;
        let mut waits = 0;
        while member.records() == 0 {
            waits += 1;
            // Much longer than a turn: only a wake-up ends it early.
            member.parker.park_deadline(member.clock.instant(deadline));
            assert!(member.clock.now() < deadline, "never woken");
            let mut events = Vec::new();
            member.source.serve(&mut events);
            member.read_all();
        }
        assert!(waits <= 20, "woken by what happened, not in a spin: {waits}");
    });
    member.close();
}

#[test]
fn a_lost_cluster_is_told_and_so_is_its_return() {
    let broker = broker(1);
    produce(&broker, 1, 10, 10);
    let mut member = Member::join(settings(&broker).with("statistics.interval.ms", "200"));
    member.until("all records", |member| member.records() == 10);
    broker.stop().expect("stopped");
    member.until("the loss", |member| member.states.last() == Some(&SourceState::Disconnected));
    broker.resume().expect("resumed");
    member.until("the return", |member| member.states.last() == Some(&SourceState::Connected));
    produce(&broker, 1, 10, 10);
    member.until("new records", |member| member.records() == 20);
    assert_eq!(member.read[&Partition(0)], offsets(0..20));
    member.until("lag", |member| member.lag.get(&Partition(0)) == Some(&Offset(20)));
    member.close();
}

#[test]
fn records_deleted_before_they_were_read_are_told_and_skipped() {
    let broker = broker(1);
    let mut first = Member::join(settings(&broker));
    first.until("an assignment", |member| member.owned.len() == 1);
    first.close();
    // The start is committed as 0; of 8 MB the embedded broker keeps 5 MiB.
    produce(&broker, 1, 800, 10_000);
    let mut second = Member::join(settings(&broker));
    second.until("the last record", |member| {
        member.read.get(&Partition(0)).is_some_and(|read| read.last() == Some(&Offset(799)))
    });
    let read = &second.read[&Partition(0)];
    assert!(read[0] > Offset(0) && read.windows(2).all(|pair| pair[1] == pair[0].next()), "{:?}", read[0]);
    second.until("a word about it", |member| {
        member.problems.iter().any(|problem| matches!(problem, SourceError::OffsetLost { .. }))
    });
    assert!(second.revocations.is_empty(), "forwards is a gap, and gaps are nothing special");
    second.close();
}

#[test]
fn a_log_that_went_back_is_taken_and_given_again_at_its_new_start() {
    let broker = broker(2);
    produce(&broker, 2, 10, 10);
    let mut first = Member::join(settings(&broker));
    first.until("all records", |member| member.records() == 20);
    // As if the topic had been longer once.
    first.owned.insert(Partition(0), Offset(1000));
    first.commit(CommitMode::Sync);
    first.on_revoke = OnRevoke::Hold;
    first.close();

    let mut second = Member::join(settings(&broker));
    second.until("what is there", |member| member.read.contains_key(&Partition(0)));
    second.until("all that is there", |member| member.records() >= 10);
    assert_eq!(second.read[&Partition(0)], offsets(0..10));
    assert_eq!(second.revocations, [(vec![Partition(0)], true)]);
    assert!(second.starts.contains(&(Partition(0), Offset(1000))));
    assert_eq!(second.starts.last(), Some(&(Partition(0), Offset(0))));
    assert!(second.problems.iter().any(
        |problem| matches!(problem, SourceError::OffsetLost { detail } if detail.contains("offset 1000 was next"))
    ));
    second.commit(CommitMode::Sync);
    second.close();

    let mut third = Member::join(settings(&broker));
    third.until("an assignment", |member| member.starts.len() == 2);
    assert!(third.starts.contains(&(Partition(0), Offset(10))), "{:?}", third.starts);
    third.close();
}

#[test]
fn closing_does_not_wait_for_records_or_answers_that_nobody_will_give() {
    let broker = broker(4);
    produce(&broker, 4, 1000, 100);
    let clock = Clock::start();
    for mut settings in [settings(&broker), new_protocol(&broker)] {
        let protocol = settings.group_protocol;
        settings.group_id = format!("{protocol:?}");
        // Records pending.
        let mut member = Member::join(settings.clone());
        member.reads = false;
        member.until("pending records", |member| member.source.queue(0).read(100) == 100);
        member.source.queue(0).advance(40);
        let before = clock.now();
        member.close();
        assert!(clock.now().since(before) < Duration::from_secs(9), "{protocol:?}, records pending");
        // An assignment announced and never answered.
        let mut source = KafkaSource::new(settings, Arc::new(|| {})).expect("valid");
        let deadline = clock.now() + PATIENCE;
        loop {
            let mut events = Vec::new();
            source.serve(&mut events);
            if events.iter().any(|event| matches!(event, SourceEvent::Assigned(_))) {
                break;
            }
            assert!(clock.now() < deadline, "no assignment");
            std::thread::yield_now();
        }
        let before = clock.now();
        source.close(Duration::from_secs(10));
        assert!(clock.now().since(before) < Duration::from_secs(9), "{protocol:?}, assignment open");
    }
}

#[test]
fn closing_without_a_cluster_ends_with_its_deadline() {
    let broker = broker(1);
    produce(&broker, 1, 10, 10);
    let mut member = Member::join(settings(&broker));
    member.until("all records", |member| member.records() == 10);
    broker.stop().expect("stopped");
    let clock = Clock::start();
    member.source.close(Duration::from_secs(1));
    assert!(clock.now().since(pelton::time::Nanos::ZERO) < Duration::from_secs(5));
}

#[test]
fn probing_tells_apart_what_a_person_must_do() {
    let broker = broker(3);
    let found = probe(&settings(&broker), PATIENCE);
    assert_eq!(found, Ok(vec![Partition(0), Partition(1), Partition(2)]));

    let mut nowhere = settings(&broker);
    nowhere.bootstrap_servers = "127.0.0.1:1".to_owned();
    let error = probe(&nowhere, Duration::from_secs(2)).expect_err("nobody listens on port 1");
    assert!(
        matches!(&error, SourceError::Unreachable { reason, .. } if reason.contains("refused")),
        "{error}"
    );

    let mut other = settings(&broker);
    other.topic = Topic::new("invoices");
    let error = probe(&other, PATIENCE).expect_err("no such topic");
    assert!(matches!(&error, SourceError::UnknownTopic { topic, .. } if topic == "invoices"), "{error}");
    assert!(probe(&other, PATIENCE).is_err(), "asking did not create it");

    let tls = settings(&broker).with("security.protocol", "ssl");
    let error = probe(&tls, Duration::from_secs(2)).expect_err("the listener speaks plaintext");
    assert!(matches!(&error, SourceError::Refused { reason, .. } if reason.contains("SSL")), "{error}");

    let sasl = settings(&broker)
        .with("security.protocol", "sasl_plaintext")
        .with("sasl.mechanism", "SCRAM-SHA-512")
        .with("sasl.username", "alice")
        .with("sasl.password", "secret");
    let error = probe(&sasl, PATIENCE).expect_err("the listener knows no SASL");
    assert!(matches!(&error, SourceError::Refused { .. }), "{error}");

    broker.set_topic_error(&topic(), RDKafkaErrorCode::TopicAuthorizationFailed).expect("set");
    let error = probe(&settings(&broker), PATIENCE).expect_err("not allowed");
    assert!(matches!(&error, SourceError::Refused { .. }), "{error}");
}

#[test]
fn settings_that_librdkafka_refuses_are_an_error_and_not_a_panic() {
    let broker = broker(1);
    let refused = KafkaSource::new(settings(&broker).with("no.such.property", "1"), Arc::new(|| {}));
    let Err(SourceError::Settings { reason }) = refused else { panic!("accepted") };
    assert!(reason.contains("no.such.property"), "{reason}");
}

/// Reads one record of `partition` after the other from a queue, at most `count`, and leaves what
/// was fetched besides where it is.
fn take(member: &mut Member, queue: usize, partition: Partition, count: usize) -> Vec<Offset> {
    let queue = member.source.queue(queue);
    let mut taken = Vec::new();
    while taken.len() < count && queue.read(7) > 0 {
        let record = &queue.pending()[0];
        if record.partition() == partition {
            taken.push(record.offset());
        }
        queue.advance(1);
    }
    taken
}

#[test]
fn a_partition_that_moves_goes_on_in_the_other_queue_from_where_it_was_told() {
    const MOVED: Partition = Partition(0);
    let broker = broker(2);
    produce(&broker, 2, 3_000, 100);
    let mut settings = settings(&broker);
    settings.queues = 2;
    let mut member = Member::join(settings);
    member.reads = false;
    member.until("both partitions", |member| member.owned.len() == 2);
    let (mut next, mut queue) = (0, 0);
    for round in 0..60 {
        let mut read: Vec<Offset> = Vec::new();
        member.until("records of the partition", |member| {
            read.extend(take(member, queue, MOVED, 40 - read.len()));
            read.len() == 40
        });
        assert_eq!(read, offsets(next..next + 40), "round {round}");
        // Some that were read are read again: they had been thrown away.
        next += if round % 3 == 0 { 25 } else { 40 };
        // Far more were fetched, and wait in the old queue. Now and then they are still there when the
        // partition comes back.
        queue = 1 - queue;
        let route = Reroute { partition: MOVED, poller: queue, offset: Offset(next) };
        member.source.queue(1 - queue).discard(MOVED);
        member.source.reroute(&[route]).expect("moved");
        if round % 2 == 0 {
            assert_eq!(take(&mut member, 1 - queue, MOVED, 1), [], "round {round}");
        }
    }
    // Not a word of it to the group.
    assert!(member.revocations.is_empty(), "{:?}", member.revocations);
    assert!(member.problems.is_empty(), "{:?}", member.problems);
    member.source.commit(&[Commit::plain(MOVED, Offset(next))], CommitMode::Sync).expect("still owned");
    member.close();
}

#[test]
fn a_rebalance_after_a_move_goes_on_from_where_the_move_did() {
    let broker = broker(4);
    produce(&broker, 4, 500, 100);
    let mut settings = settings(&broker);
    settings.queues = 2;
    let mut one = Member::join(settings.clone());
    one.until("all records", |one| one.records() == 2_000);
    one.reads = false;
    one.read.clear();
    // Back from what was read: were the client to go on from there, records would be lost.
    let routes: Vec<_> = (0..4)
        .map(|number| Reroute { partition: Partition(number), poller: 1, offset: Offset(10) })
        .collect();
    one.source.reroute(&routes).expect("moved");
    // Nothing is read before another member has joined: the client holds back and begins again with
    // those partitions too that stay.
    let mut two = Member::join(settings);
    two.reads = false;
    both(&mut one, &mut two, "both own partitions", |one, two| one.owned.len() == 2 && two.owned.len() == 2);
    one.reads = true;
    both(&mut one, &mut two, "the records again", |one, _| one.records() >= 980);
    for partition in one.owned.keys() {
        assert_eq!(one.read[partition], offsets(10..500));
    }
    assert_eq!(one.records(), 980, "and none of what was let go");
    two.close();
    one.close();
}

#[test]
fn what_is_not_owned_does_not_move() {
    let broker = broker(1);
    let mut settings = settings(&broker);
    settings.queues = 2;
    let mut member = Member::join(settings);
    member.until("the partition", |member| member.owned.len() == 1);
    let route = Reroute { partition: Partition(7), poller: 1, offset: Offset(0) };
    let refused = member.source.reroute(&[route]);
    assert!(refused.is_err_and(|error| error.to_string().contains("not owned")));
    let route = Reroute { partition: Partition(0), poller: 2, offset: Offset(0) };
    assert!(member.source.reroute(&[route]).is_err(), "there is no such poller");
    member.close();
}
