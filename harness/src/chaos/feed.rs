//! The producer: records at a steady rate over all partitions of both topics, each of them with
//! content that follows from its place.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;
use pelton::time::Clock;
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext as _, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};

use super::function::lock;
use super::kafka::config;
use super::mapping::{Mapping, now_ms};

/// How long the broker may be away before a record counts as failed.
const MESSAGE_TIMEOUT_MS: u64 = 300_000;
/// How often the producer looks at the clock.
const TICK: Duration = Duration::from_millis(5);

/// Notes what was stored elsewhere than it was meant to be, or not at all.
#[derive(Debug, Default)]
struct Deliveries {
    failed: Mutex<Option<String>>,
}

impl ClientContext for Deliveries {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(facility, message, "chaos producer");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "chaos producer");
    }
}

impl ProducerContext for Deliveries {
    /// The offset that the record is meant to get.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, expected: usize) {
        let failure = match result {
            Ok(record) if usize::try_from(record.offset()) == Ok(expected) => return,
            Ok(record) => format!(
                "{}[{}]: stored at {} instead of {expected}",
                record.topic(),
                record.partition(),
                record.offset()
            ),
            Err((error, _)) => format!("not stored: {error}"),
        };
        lock(&self.failed).get_or_insert(failure);
    }
}

/// The producer's thread.
#[derive(Debug)]
pub(super) struct Feed {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<anyhow::Result<Vec<Vec<u64>>>>>,
}

#[derive(Debug)]
struct Shared {
    stop: AtomicBool,
    sent: AtomicU64,
    /// Partitions per mapping: grows while it runs.
    partitions: Vec<AtomicUsize>,
}

/// What the producer is to do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    /// Records of all topics together.
    pub(super) per_second: f64,
    /// No more than this many.
    pub(super) records_max: u64,
}

impl Feed {
    pub(super) fn start(
        bootstrap_servers: &str,
        mappings: &[Arc<Mapping>],
        partitions: usize,
        rate: Rate,
    ) -> anyhow::Result<Self> {
        let mut config = config(bootstrap_servers);
        config
            .set("enable.idempotence", "true")
            .set("linger.ms", "20")
            // Partitions that are added are produced to soon.
            .set("topic.metadata.refresh.interval.ms", "1000")
            .set("compression.type", "lz4")
            .set("message.timeout.ms", MESSAGE_TIMEOUT_MS.to_string())
            .set("queue.buffering.max.kbytes", "65536");
        let producer = BaseProducer::from_config_and_context(&config, Deliveries::default())?;
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            sent: AtomicU64::new(0),
            partitions: mappings.iter().map(|_| AtomicUsize::new(partitions)).collect(),
        });
        let (mappings, sharing) = (mappings.to_vec(), Arc::clone(&shared));
        let thread = std::thread::Builder::new()
            .name("chaos-producer".into())
            .spawn(move || produce(&producer, &mappings, &sharing, rate))
            .context("the producer's thread")?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Records handed to the producer so far.
    pub(super) fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }

    /// Partitions of a mapping's topic that are produced to.
    pub(super) fn partitions(&self, mapping: usize) -> usize {
        self.shared.partitions[mapping].load(Ordering::Relaxed)
    }

    /// From now on a mapping's topic has this many.
    pub(super) fn grow(&self, mapping: usize, partitions: usize) {
        self.shared.partitions[mapping].store(partitions, Ordering::Relaxed);
    }

    /// Ends, waits until the broker has everything, and returns per mapping and partition how many
    /// records that is.
    pub(super) fn finish(&mut self) -> anyhow::Result<Vec<Vec<u64>>> {
        self.shared.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("the producer has finished already")?;
        thread.join().map_err(|_| anyhow::anyhow!("the producer panicked"))?
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

fn produce(
    producer: &BaseProducer<Deliveries>,
    mappings: &[Arc<Mapping>],
    shared: &Shared,
    rate: Rate,
) -> anyhow::Result<Vec<Vec<u64>>> {
    let clock = Clock::start();
    let mut ends: Vec<Vec<u64>> = vec![Vec::new(); mappings.len()];
    let mut turn = 0_usize;
    let mut sent = 0;
    while !shared.stop.load(Ordering::Relaxed) && sent < rate.records_max {
        let due = due(rate.per_second, now_ms(&clock)).min(rate.records_max);
        while sent < due && !shared.stop.load(Ordering::Relaxed) {
            let mapping = turn % mappings.len();
            let partitions = shared.partitions[mapping].load(Ordering::Relaxed);
            ends[mapping].resize(partitions, 0);
            let partition = turn / mappings.len() % partitions;
            turn += 1;
            let ordinal = ends[mapping][partition];
            send(producer, &mappings[mapping], i32::try_from(partition)?, ordinal)?;
            ends[mapping][partition] += 1;
            sent += 1;
            shared.sent.store(sent, Ordering::Relaxed);
        }
        producer.poll(TICK);
        if let Some(failed) = lock(&producer.context().failed).take() {
            anyhow::bail!("the producer: {failed}");
        }
    }
    producer
        .flush(Duration::from_millis(MESSAGE_TIMEOUT_MS))
        .context("the broker takes what was produced")?;
    match lock(&producer.context().failed).take() {
        Some(failed) => anyhow::bail!("the producer: {failed}"),
        None => Ok(ends),
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive count")]
#[expect(clippy::cast_precision_loss, reason = "milliseconds of a run")]
fn due(per_second: f64, now_ms: u64) -> u64 {
    (per_second * now_ms as f64 / 1_000.0) as u64
}

fn send(
    producer: &BaseProducer<Deliveries>,
    mapping: &Mapping,
    partition: i32,
    ordinal: u64,
) -> anyhow::Result<()> {
    let content = mapping.content.record(partition, ordinal);
    let mut record =
        BaseRecord::<[u8], [u8], usize>::with_opaque_to(&mapping.topic, usize::try_from(ordinal)?)
            .partition(partition)
            .timestamp(content.timestamp_ms);
    record.key = content.key.as_deref();
    record.payload = content.value;
    if !content.headers.is_empty() {
        let headers = OwnedHeaders::new_with_capacity(content.headers.len());
        record.headers =
            Some(content.headers.iter().fold(headers, |headers, (key, value)| {
                headers.insert(Header { key, value: value.as_ref() })
            }));
    }
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            // The broker is away, or has a partition that this client has not heard of yet.
            Err((
                KafkaError::MessageProduction(
                    RDKafkaErrorCode::QueueFull | RDKafkaErrorCode::UnknownPartition,
                ),
                again,
            )) => {
                producer.poll(TICK);
                record = again;
            }
            Err((error, _)) => anyhow::bail!("the client refuses a record: {error}"),
        }
    }
}
