//! A client that reads a topic's partitions without a group.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use crossbeam::sync::{Parker, Unparker};
use pelton::ids::{Offset, Partition};
use pelton::source::probe::probe;
use pelton::source::queue::KafkaQueue;
use pelton::source::settings::StartAt;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset as KafkaOffset, TopicPartitionList};

use super::Access;

/// How long the cluster may take to answer.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Bytes and records that the client fetches ahead.
const PREFETCH_KIB: &str = "32768";
const PREFETCH_RECORDS: &str = "100000";

/// What the client says beside records.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

/// Different words that are kept.
const HEARD_MAX: usize = 8;

impl Heard {
    fn add(&self, words: String) {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if heard.len() < HEARD_MAX && !heard.contains(&words) {
            heard.push(words);
        }
    }
}

impl ClientContext for Heard {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(facility, message, "capture's consumer");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "capture's consumer");
        self.add(format!("the client reported: {reason}"));
    }
}

impl ConsumerContext for Heard {}

/// Partitions that are being read.
pub(super) struct Reading {
    /// Before `consumer`: queues end before their client.
    queue: KafkaQueue,
    consumer: Arc<BaseConsumer<Heard>>,
    heard: Heard,
    ends: Ends,
    topic_partitions: u32,
    parker: Parker,
}

/// Where each partition is, and where it is to end.
#[derive(Debug)]
pub(super) struct Ends {
    partitions: Vec<End>,
    bounded: bool,
    /// The partition that the last record was of: the next one mostly is, too.
    last: usize,
}

#[derive(Debug)]
struct End {
    partition: Partition,
    start: i64,
    /// The lowest offset that may still come.
    next: i64,
    /// Where the partition ended when the reading began.
    end: i64,
}

impl Ends {
    /// Notes a record. Returns whether it is to be captured.
    pub(super) fn take(&mut self, partition: Partition, offset: Offset) -> bool {
        if self.partitions.get(self.last).is_none_or(|one| one.partition != partition) {
            let Some(found) = self.partitions.iter().position(|one| one.partition == partition) else {
                return false;
            };
            self.last = found;
        }
        let at = &mut self.partitions[self.last];
        at.next = at.next.max(offset.0 + 1);
        !self.bounded || offset.0 < at.end
    }

    fn is_done(&self) -> bool {
        self.bounded && self.partitions.iter().all(|one| one.next >= one.end)
    }

    #[expect(clippy::cast_precision_loss, reason = "a share for a progress bar")]
    fn done_share(&self) -> Option<f64> {
        let sum =
            |of: &dyn Fn(&End) -> i64| self.partitions.iter().map(of).map(|one| one as f64).sum::<f64>();
        let whole = sum(&|one| one.end - one.start);
        (self.bounded && whole > 0.0).then(|| sum(&|one| one.next.min(one.end) - one.start) / whole)
    }
}

impl Reading {
    /// Finds the topic and begins to fetch `wanted` partitions, or all.
    pub(super) fn begin(
        access: &Access,
        wanted: Option<&[Partition]>,
        until_end: bool,
    ) -> anyhow::Result<Self> {
        let known = probe(&access.kafka, TIMEOUT)?;
        let partitions = match wanted {
            None => known.clone(),
            Some(wanted) => wanted.to_vec(),
        };
        if let Some(unknown) = partitions.iter().find(|one| !known.contains(one)) {
            bail!("{} has no partition {unknown}; it has 0 to {}", access.topic, known.len() - 1);
        }
        let heard = Heard::default();
        let consumer: BaseConsumer<Heard> = config(access).create_with_context(heard.clone())?;
        let consumer = Arc::new(consumer);
        let partitions = find_ends(&consumer, access, &partitions)?;
        let ends = Ends { partitions, bounded: until_end, last: 0 };
        let parker = Parker::new();
        let unparker: Unparker = parker.unparker().clone();
        let mut queue = KafkaQueue::new(&consumer, Arc::new(move || unparker.unpark()));
        let mut list = TopicPartitionList::new();
        for one in &ends.partitions {
            if !queue.route(&access.topic, one.partition, Offset(one.start)) {
                bail!("{}[{}]: the client has no queue for it", access.topic, one.partition);
            }
            list.add_partition_offset(
                access.topic.as_str(),
                one.partition.0,
                KafkaOffset::Offset(one.start),
            )?;
        }
        consumer.assign(&list).with_context(|| format!("reading {}", access.topic))?;
        let topic_partitions = u32::try_from(known.len()).unwrap_or(u32::MAX);
        Ok(Self { queue, consumer, heard, ends, topic_partitions, parker })
    }

    /// Partitions of the topic.
    pub(super) fn topic_partitions(&self) -> u32 {
        self.topic_partitions
    }

    pub(super) fn queue(&mut self) -> &mut KafkaQueue {
        &mut self.queue
    }

    pub(super) fn split(&mut self) -> (&mut KafkaQueue, &mut Ends) {
        (&mut self.queue, &mut self.ends)
    }

    /// Whether every partition has come to where it is to end.
    pub(super) fn is_done(&self) -> bool {
        self.ends.is_done()
    }

    /// How far it has come to there; `None` if it has no end.
    pub(super) fn done_share(&self) -> Option<f64> {
        self.ends.done_share()
    }

    /// Serves the client, and learns of positions beyond the last record: what lies there is no
    /// record (a transaction's marker, say), and none will come.
    pub(super) fn look(&mut self) -> anyhow::Result<()> {
        self.consumer.poll(Duration::ZERO);
        if let Some((_, reason)) = self.consumer.client().fatal_error() {
            bail!("the Kafka client cannot go on: {reason}");
        }
        if !self.ends.bounded {
            return Ok(());
        }
        for one in self.consumer.position()?.elements() {
            let KafkaOffset::Offset(offset) = one.offset() else { continue };
            if let Some(at) = self.ends.partitions.iter_mut().find(|at| at.partition.0 == one.partition()) {
                at.next = at.next.max(offset);
            }
        }
        Ok(())
    }

    /// Waits for records.
    pub(super) fn wait(&self, at_most: Duration) {
        self.parker.park_timeout(at_most);
    }

    /// What the client has complained of.
    pub(super) fn remarks(&self) -> Vec<String> {
        self.heard.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn config(access: &Access) -> ClientConfig {
    let kafka = &access.kafka;
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &kafka.bootstrap_servers)
        .set("client.id", &kafka.client_id)
        // The client wants a name before it assigns anything. Nobody joins it: that takes a
        // subscription.
        .set("group.id", &kafka.group_id)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "false")
        .set("auto.offset.reset", "earliest")
        .set("allow.auto.create.topics", "false")
        .set("isolation.level", "read_committed")
        .set("check.crcs", "true")
        .set("fetch.queue.backoff.ms", "10")
        .set("fetch.wait.max.ms", "100")
        .set("reconnect.backoff.max.ms", "1000")
        .set("queued.max.messages.kbytes", PREFETCH_KIB)
        .set("queued.min.messages", PREFETCH_RECORDS)
        .set("ssl.ca.location", "probe");
    for (name, value) in &kafka.properties {
        config.set(name, value);
    }
    if kafka.properties.iter().any(|(name, _)| name == "ssl.ca.pem") {
        config.remove("ssl.ca.location");
    }
    config
}

/// Where each partition begins for this reading, and where it ends now.
fn find_ends(
    consumer: &BaseConsumer<Heard>,
    access: &Access,
    partitions: &[Partition],
) -> anyhow::Result<Vec<End>> {
    let topic = access.topic.as_str();
    let mut ends = Vec::with_capacity(partitions.len());
    for &partition in partitions {
        let (low, high) = consumer
            .fetch_watermarks(topic, partition.0, TIMEOUT)
            .with_context(|| format!("where {topic}[{partition}] begins and ends"))?;
        let start = if access.start_at == StartAt::Earliest { low } else { high };
        ends.push(End { partition, start, next: start, end: high });
    }
    if let StartAt::Timestamp(ms) = access.start_at {
        let mut asked = TopicPartitionList::new();
        for &partition in partitions {
            asked.add_partition_offset(topic, partition.0, KafkaOffset::Offset(ms))?;
        }
        let found = consumer
            .offsets_for_times(asked, TIMEOUT)
            .with_context(|| format!("the offsets of {topic} at {ms} ms since the Unix epoch"))?;
        for one in found.elements() {
            one.error()?;
            // None as young: the partition begins at its end.
            let KafkaOffset::Offset(offset) = one.offset() else { continue };
            if let Some(end) = ends.iter_mut().find(|end| end.partition.0 == one.partition()) {
                (end.start, end.next) = (offset, offset);
            }
        }
    }
    Ok(ends)
}
