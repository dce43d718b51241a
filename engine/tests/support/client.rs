//! What the tests themselves do with a broker: create a topic, fill it, read what is committed.

use std::ops::Range;
use std::sync::Mutex;
use std::time::Duration;

use pelton::time::{Clock, Nanos};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext};
use rdkafka::util::Timeout;
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use super::PATIENCE;
use super::content::Content;

fn config(bootstrap_servers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap_servers).set("reconnect.backoff.max.ms", "1000");
    config
}

/// Creates a topic and waits until it is known to the broker.
pub(crate) fn create_topic(bootstrap_servers: &str, topic: &str, partitions: i32) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let admin: AdminClient<DefaultClientContext> = config(bootstrap_servers).create().expect("a client");
    let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
    let options = AdminOptions::new().operation_timeout(Some(Timeout::After(PATIENCE)));
    let results = runtime.block_on(admin.create_topics([&new], &options)).expect("an answer");
    assert_eq!(results, [Ok(topic.to_owned())]);
}

/// Notes where each record went.
#[derive(Debug, Default)]
struct Deliveries {
    /// Partition, offset and ordinal of each record.
    placed: Mutex<Vec<(i32, i64, usize)>>,
    failed: Mutex<Option<KafkaError>>,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, ordinal: usize) {
        match result {
            Ok(message) => {
                let placed = (message.partition(), message.offset(), ordinal);
                self.placed.lock().expect("no panic under this lock").push(placed);
            }
            Err((error, _)) => *self.failed.lock().expect("no panic under this lock") = Some(error.clone()),
        }
    }
}

/// Fills a topic.
pub(crate) struct Filler<'c> {
    producer: BaseProducer<Deliveries>,
    topic: &'c str,
    content: &'c Content,
}

impl<'c> Filler<'c> {
    /// An idempotent producer: offsets follow ordinals without gap or repeat, or it fails. `more`
    /// are further properties of librdkafka.
    pub(crate) fn new(
        bootstrap_servers: &str,
        topic: &'c str,
        content: &'c Content,
        more: &[(&str, &str)],
    ) -> Self {
        let mut config = config(bootstrap_servers);
        config
            .set("enable.idempotence", "true")
            .set("linger.ms", "20")
            .set("message.max.bytes", "8000000")
            .set("queue.buffering.max.kbytes", "65536");
        for (name, value) in more {
            config.set(*name, *value);
        }
        let producer =
            BaseProducer::from_config_and_context(&config, Deliveries::default()).expect("a producer");
        Self { producer, topic, content }
    }

    /// Appends the records with these ordinals to each partition below `partitions`, and waits
    /// until the broker has them.
    pub(crate) fn fill(&self, partitions: i32, ordinals: Range<u64>) {
        for ordinal in ordinals {
            for partition in 0..partitions {
                self.send(partition, ordinal);
            }
        }
        self.producer.flush(PATIENCE).expect("the broker takes the records");
        let failed = self.producer.context().failed.lock().expect("no panic under this lock").take();
        assert_eq!(failed, None);
    }

    fn send(&self, partition: i32, ordinal: u64) {
        let content = self.content.record(partition, ordinal);
        let opaque = usize::try_from(ordinal).expect("64-bit");
        let mut record = BaseRecord::<[u8], [u8], usize>::with_opaque_to(self.topic, opaque)
            .partition(partition)
            .timestamp(content.timestamp_ms);
        record.key = content.key.as_deref();
        record.payload = content.value;
        if !content.headers.is_empty() {
            let headers = OwnedHeaders::new_with_capacity(content.headers.len());
            record.headers = Some(content.headers.iter().fold(headers, |headers, (key, value)| {
                headers.insert(Header { key, value: value.as_ref() })
            }));
        }
        loop {
            match self.producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) => {
                    self.producer.poll(Duration::from_millis(50));
                    record = again;
                }
                Err((error, _)) => panic!("the client refuses a record: {error}"),
            }
        }
        self.producer.poll(Duration::ZERO);
    }

    /// Appends the ordinals in committed transactions of `records` each, with an aborted one
    /// before each: offsets get gaps that no consumer sees.
    pub(crate) fn fill_in_transactions(&self, partitions: i32, ordinals: Range<u64>, records: u64) {
        // Their timestamps lie in the future, but less than the hour that a broker allows.
        let aborted = 4_000_000;
        self.producer.init_transactions(PATIENCE).expect("transactions");
        for from in ordinals.clone().step_by(usize::try_from(records).expect("64-bit")) {
            self.producer.begin_transaction().expect("a transaction");
            self.fill(partitions, aborted..aborted + 3);
            self.producer.abort_transaction(PATIENCE).expect("aborted");
            self.producer.begin_transaction().expect("a transaction");
            self.fill(partitions, from..ordinals.end.min(from + records));
            self.producer.commit_transaction(PATIENCE).expect("committed");
        }
    }

    /// # Panics
    /// If any record lies at another offset than its ordinal.
    pub(crate) fn assert_contiguous(&self) {
        let placed = self.producer.context().placed.lock().expect("no panic under this lock");
        assert!(!placed.is_empty());
        for (partition, offset, ordinal) in placed.iter() {
            assert_eq!(usize::try_from(*offset), Ok(*ordinal), "partition {partition}");
        }
    }
}

/// Fills each of a topic's partitions with the first `records` ordinals.
pub(crate) fn fill(bootstrap_servers: &str, topic: &str, content: &Content, partitions: i32, records: u64) {
    let filler = Filler::new(bootstrap_servers, topic, content, &[("compression.type", "lz4")]);
    filler.fill(partitions, 0..records);
    filler.assert_contiguous();
}

/// What the group has committed, per partition; `None` where nothing.
pub(crate) fn committed(
    bootstrap_servers: &str,
    group: &str,
    topic: &str,
    partitions: i32,
) -> Vec<Option<i64>> {
    let consumer: BaseConsumer = config(bootstrap_servers).set("group.id", group).create().expect("a client");
    let mut list = TopicPartitionList::new();
    list.add_partition_range(topic, 0, partitions - 1);
    let clock = Clock::start();
    let committed = loop {
        match consumer.committed_offsets(list.clone(), PATIENCE) {
            Ok(committed) => break committed,
            // A broker that has just come back looks for what its groups have committed.
            Err(KafkaError::MetadataFetch(
                RDKafkaErrorCode::NotCoordinator
                | RDKafkaErrorCode::CoordinatorNotAvailable
                | RDKafkaErrorCode::CoordinatorLoadInProgress,
            )) if clock.now() - Nanos::ZERO < PATIENCE => {
                std::thread::park_timeout(Duration::from_millis(100));
            }
            Err(error) => panic!("committed offsets: {error}"),
        }
    };
    committed
        .elements_for_topic(topic)
        .iter()
        .map(|element| match element.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        })
        .collect()
}

/// Where each partition's log ends: the offset of the next record to be written.
pub(crate) fn ends(bootstrap_servers: &str, topic: &str, partitions: i32) -> Vec<i64> {
    let consumer: BaseConsumer = config(bootstrap_servers).create().expect("a client");
    let end = |partition| consumer.fetch_watermarks(topic, partition, PATIENCE).expect("watermarks").1;
    (0..partitions).map(end).collect()
}

/// The first `records` records of a topic: key and value of each.
pub(crate) fn read(
    bootstrap_servers: &str,
    topic: &str,
    partitions: i32,
    records: usize,
) -> Vec<(Option<Vec<u8>>, Vec<u8>)> {
    let consumer: BaseConsumer =
        config(bootstrap_servers).set("group.id", "nobody").create().expect("a consumer");
    let mut all = TopicPartitionList::new();
    for partition in 0..partitions {
        all.add_partition_offset(topic, partition, Offset::Beginning).expect("a partition");
    }
    consumer.assign(&all).expect("assigned");
    let mut read = Vec::with_capacity(records);
    super::eventually(&format!("{records} records of {topic}"), || {
        while let Some(message) = consumer.poll(Duration::from_millis(10)) {
            let message = message.expect("a record");
            read.push((message.key().map(<[u8]>::to_vec), message.payload().unwrap_or_default().to_vec()));
        }
        read.len() >= records
    });
    read
}
