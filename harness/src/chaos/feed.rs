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
use super::kafka::{Admin, config};
use super::mapping::{Mapping, now_ms};
use super::pause;

/// How long the client itself tries to store a record.
const MESSAGE_TIMEOUT_MS: u64 = 300_000;
/// A client that has stored nothing for this long, although the broker is never away for half of it, is
/// given up, and another goes on. An idempotent one gets stuck so when a broker dies in the middle of
/// its requests.
const STUCK: Duration = Duration::from_secs(40);
/// Between two looks at where a topic ends, which must be the same: requests of a client that is gone
/// may still be on their way into the log.
const SETTLING: Duration = Duration::from_secs(3);
/// How long the broker may take until two looks are the same.
const SETTLING_MAX: Duration = Duration::from_secs(120);
/// How often the producer looks at the clock.
const TICK: Duration = Duration::from_millis(5);

/// Notes what was stored elsewhere than it was meant to be, or not at all.
#[derive(Debug, Default)]
struct Deliveries {
    stored: AtomicU64,
    /// What no other client could mend.
    astray: Mutex<Option<String>>,
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
        match result {
            Ok(record) if usize::try_from(record.offset()) == Ok(expected) => {
                self.stored.fetch_add(1, Ordering::Relaxed);
            }
            Ok(record) => {
                let (topic, partition, offset) = (record.topic(), record.partition(), record.offset());
                lock(&self.astray).get_or_insert_with(|| {
                    format!("{topic}[{partition}]: stored at {offset} instead of {expected}")
                });
            }
            Err((error, _)) => {
                lock(&self.failed).get_or_insert_with(|| format!("not stored: {error}"));
            }
        }
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
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            sent: AtomicU64::new(0),
            partitions: mappings.iter().map(|_| AtomicUsize::new(partitions)).collect(),
        });
        let mut producing = Producing {
            bootstrap_servers: bootstrap_servers.to_owned(),
            clock: Clock::start(),
            ends: vec![Vec::new(); mappings.len()],
            mappings: mappings.to_vec(),
            shared: Arc::clone(&shared),
            rate,
            turn: 0,
        };
        let thread = std::thread::Builder::new()
            .name("chaos-producer".into())
            .spawn(move || producing.run())
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

/// What the producer's thread does.
struct Producing {
    bootstrap_servers: String,
    clock: Clock,
    mappings: Vec<Arc<Mapping>>,
    shared: Arc<Shared>,
    rate: Rate,
    /// Records handed over, per mapping and partition.
    ends: Vec<Vec<u64>>,
    turn: usize,
}

/// How a client ends.
enum Ended {
    /// Everything is stored.
    Done,
    /// It brings nothing through any more.
    Stuck(String),
}

/// A client, and when it was last seen to store something.
struct Client {
    producer: BaseProducer<Deliveries>,
    stored: u64,
    moved_ms: u64,
}

impl Producing {
    fn run(&mut self) -> anyhow::Result<Vec<Vec<u64>>> {
        loop {
            let mut client = self.client()?;
            let ended = self.stream(&mut client)?;
            drop(client);
            match ended {
                Ended::Done => return Ok(std::mem::take(&mut self.ends)),
                Ended::Stuck(why) => {
                    tracing::warn!("another producer goes on where the log ends: {why}");
                    self.find_ends()?;
                }
            }
        }
    }

    fn client(&self) -> anyhow::Result<Client> {
        let mut config = config(&self.bootstrap_servers);
        config
            .set("enable.idempotence", "true")
            .set("linger.ms", "20")
            // Partitions that are added are produced to soon.
            .set("topic.metadata.refresh.interval.ms", "1000")
            .set("compression.type", "lz4")
            .set("message.timeout.ms", MESSAGE_TIMEOUT_MS.to_string())
            .set("queue.buffering.max.kbytes", "65536");
        let producer = BaseProducer::from_config_and_context(&config, Deliveries::default())?;
        Ok(Client { producer, stored: 0, moved_ms: now_ms(&self.clock) })
    }

    /// Hands over what is due, until all is stored or the client is stuck.
    fn stream(&mut self, client: &mut Client) -> anyhow::Result<Ended> {
        loop {
            let is_over = self.shared.stop.load(Ordering::Relaxed) || self.sent() >= self.rate.records_max;
            let due = due(self.rate.per_second, now_ms(&self.clock)).min(self.rate.records_max);
            while !is_over && self.sent() < due && !self.shared.stop.load(Ordering::Relaxed) {
                if !self.send(&client.producer)? {
                    break;
                }
            }
            client.producer.poll(TICK);
            if let Some(why) = client.trouble(now_ms(&self.clock))? {
                return Ok(Ended::Stuck(why));
            }
            if is_over && client.producer.in_flight_count() == 0 {
                return Ok(Ended::Done);
            }
        }
    }

    fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }

    /// Hands over the next record; `false` if the client does not take it now.
    fn send(&mut self, producer: &BaseProducer<Deliveries>) -> anyhow::Result<bool> {
        let number = self.turn % self.mappings.len();
        let partitions = self.shared.partitions[number].load(Ordering::Relaxed);
        let ends = &mut self.ends[number];
        ends.resize(partitions, 0);
        let partition = self.turn / self.mappings.len() % partitions;
        let taken = send(producer, &self.mappings[number], i32::try_from(partition)?, ends[partition])?;
        if taken {
            ends[partition] += 1;
            self.turn += 1;
            self.shared.sent.fetch_add(1, Ordering::Relaxed);
        }
        Ok(taken)
    }

    /// Goes on where the topics end: the content of a record follows from its place.
    fn find_ends(&mut self) -> anyhow::Result<()> {
        let since = now_ms(&self.clock);
        let mut before = None;
        loop {
            pause(SETTLING);
            let found = self.look();
            match found {
                Ok(found) if before.as_ref() == Some(&found) => {
                    self.shared.sent.store(found.iter().flatten().sum(), Ordering::Relaxed);
                    self.ends = found;
                    return Ok(());
                }
                Ok(found) => before = Some(found),
                Err(error) => tracing::debug!(%error, "where the topics end"),
            }
            if now_ms(&self.clock) - since > u64::try_from(SETTLING_MAX.as_millis())? {
                anyhow::bail!("the broker does not say where its topics end");
            }
        }
    }

    fn look(&self) -> anyhow::Result<Vec<Vec<u64>>> {
        let admin = Admin::new(&self.bootstrap_servers)?;
        let ends = self.mappings.iter().zip(&self.ends);
        ends.map(|(mapping, ends)| admin.ends(&mapping.topic, ends.len())).collect()
    }
}

impl Client {
    /// Why it must be given up, if it must.
    fn trouble(&mut self, now_ms: u64) -> anyhow::Result<Option<String>> {
        let deliveries = self.producer.context();
        if let Some(astray) = lock(&deliveries.astray).take() {
            anyhow::bail!("the producer: {astray}");
        }
        if let Some(failed) = lock(&deliveries.failed).take() {
            return Ok(Some(failed));
        }
        let stored = deliveries.stored.load(Ordering::Relaxed);
        if stored != self.stored || self.producer.in_flight_count() == 0 {
            (self.stored, self.moved_ms) = (stored, now_ms);
        }
        let stuck = Duration::from_millis(now_ms - self.moved_ms) > STUCK;
        Ok(stuck.then(|| format!("nothing was stored for {} s", STUCK.as_secs())))
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive count")]
#[expect(clippy::cast_precision_loss, reason = "milliseconds of a run")]
fn due(per_second: f64, now_ms: u64) -> u64 {
    (per_second * now_ms as f64 / 1_000.0) as u64
}

/// Whether the client takes the record of this place.
fn send(
    producer: &BaseProducer<Deliveries>,
    mapping: &Mapping,
    partition: i32,
    ordinal: u64,
) -> anyhow::Result<bool> {
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
    match producer.send(record) {
        Ok(()) => Ok(true),
        // The broker is away, or has a partition that this client has not heard of yet.
        Err((
            KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull | RDKafkaErrorCode::UnknownPartition),
            _,
        )) => Ok(false),
        // What an idempotent client cannot mend itself, another one can.
        Err((error, _)) => {
            lock(&producer.context().failed).get_or_insert_with(|| format!("refused: {error}"));
            Ok(false)
        }
    }
}
