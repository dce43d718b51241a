//! The loader's thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use pelton::time::{Clock, Nanos};
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::draw::{Draw, Drawn};
use super::{Acks, LoadError, LoadSettings};
use crate::ledger::{Ledger, Sent};
use crate::measure::histogram::Latency;
use crate::workload::scenario::Workload;

/// Records between two looks at what the broker says.
const POLL_RECORDS: u32 = 256;
/// How long the loader sleeps when it may not send: short against every figure it measures.
const NAP: Duration = Duration::from_micros(500);
/// How long to wait for the metadata of a topic.
const METADATA_TIMEOUT: Duration = Duration::from_secs(15);
/// How long to wait for the last acknowledgements.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(30);

/// A loader that is connected, and has sent nothing but what it was told to.
pub struct Loader {
    producer: BaseProducer<Acks>,
    acks: Acks,
    settings: LoadSettings,
    ledger: Arc<Ledger>,
    draw: Draw,
    clock: Clock,
}

/// What a loader did.
#[derive(Debug)]
pub struct LoadReport {
    /// Records sent, the warm-up included, priming not.
    pub records: u64,
    /// Their key, value and header bytes.
    pub bytes: u64,
    /// Those without a value.
    pub tombstones: u64,
    /// How long after its intended time each record was handed to the producer; those of a backlog
    /// left out, which no producer sends at once. Empty without a schedule.
    pub lateness: Latency,
    /// Time spent waiting for the engine, so that the broker would not forget records.
    pub paced: Duration,
    /// Records that the broker did not store where they were meant to be.
    pub failed: u64,
    /// What went wrong first.
    pub error: Option<LoadError>,
}

/// A load on its way.
#[derive(Debug)]
pub struct RunningLoad {
    shared: Arc<Shared>,
    thread: JoinHandle<LoadReport>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    records: AtomicU64,
}

impl RunningLoad {
    /// Tells the loader to stop. Returns at once.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }

    /// Records handed to the producer so far.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.shared.records.load(Ordering::Relaxed)
    }

    /// Whether everything was sent and acknowledged, or given up.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the end.
    ///
    /// # Panics
    /// If the loader's thread has panicked.
    #[must_use]
    pub fn join(self) -> LoadReport {
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Loader {
    /// Connects a producer and makes the records' values. When it returns, all of the client's
    /// threads exist.
    ///
    /// # Errors
    /// If no broker answers, the topic does not exist or has too few partitions.
    pub fn connect(
        settings: LoadSettings,
        workload: &Workload,
        ledger: Arc<Ledger>,
        clock: Clock,
    ) -> Result<Self, LoadError> {
        let acks = Acks::default();
        let failed = |reason: String| LoadError::Connect {
            bootstrap_servers: settings.bootstrap_servers.clone(),
            topic: settings.topic.clone(),
            reason,
        };
        let producer: BaseProducer<Acks> = ClientConfig::new()
            .set("bootstrap.servers", &settings.bootstrap_servers)
            .set("client.id", "pelton-harness-load")
            .set("enable.idempotence", "true")
            .set("compression.type", settings.compression.name())
            .set("linger.ms", (settings.linger.as_secs_f64() * 1e3).to_string())
            .set("queue.buffering.max.messages", "1000000")
            .set("queue.buffering.max.kbytes", "131072")
            .set("message.max.bytes", "33554432")
            .set("reconnect.backoff.max.ms", "1000")
            .create_with_context(acks.clone())
            .map_err(|error| failed(error.to_string()))?;
        let metadata = producer
            .client()
            .fetch_metadata(Some(&settings.topic), METADATA_TIMEOUT)
            .map_err(|error| failed(error.to_string()))?;
        let found = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
        let found = u32::try_from(found).unwrap_or(u32::MAX);
        if found < workload.partitions {
            return Err(LoadError::Partitions { topic: settings.topic, found, wanted: workload.partitions });
        }
        Ok(Self { producer, acks, settings, ledger, draw: Draw::new(workload), clock })
    }

    /// Sends one record to each partition and waits until they are stored: once they have been
    /// delivered, the engine reads every partition.
    ///
    /// # Errors
    /// If one of them is not stored.
    pub fn prime(&mut self) -> Result<u64, LoadError> {
        let mut pace = Pace::default();
        for partition in 0..self.draw.partitions() {
            self.send(partition, self.clock.now(), &mut pace, &Shared::default())?;
        }
        self.flush();
        match self.acks.first_error() {
            Some(error) => Err(error),
            None => Ok(u64::from(self.draw.partitions())),
        }
    }

    /// Sends the workload from `start` on: records meant to be sent before `until`, `records_max`
    /// of them at most. Those of a backlog are meant to be there at `start`; the schedule begins when
    /// they are. Lateness counts from `measure_from`.
    ///
    /// # Errors
    /// If the machine refuses a thread.
    pub fn start(
        self,
        start: Nanos,
        until: Nanos,
        records_max: u64,
        measure_from: Nanos,
    ) -> Result<RunningLoad, LoadError> {
        let shared = Arc::new(Shared::default());
        let seen = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("load".into())
            .spawn(move || self.run(start, until, records_max, measure_from, &seen))
            .map_err(|error| LoadError::Spawn { reason: error.to_string() })?;
        Ok(RunningLoad { shared, thread })
    }

    fn run(
        mut self,
        start: Nanos,
        until: Nanos,
        records_max: u64,
        measure_from: Nanos,
        shared: &Shared,
    ) -> LoadReport {
        let mut schedule = self.draw.begin();
        let mut pace = Pace::default();
        let mut lateness = Latency::new();
        let (mut records, mut bytes, mut tombstones) = (0, 0, 0);
        let backlog = self.draw.backlog();
        let mut schedule_start = start;
        let mut error = None;
        while records < records_max && !shared.stop.load(Ordering::Relaxed) {
            if records == backlog && backlog > 0 {
                schedule_start = self.clock.now();
            }
            let intended = match &mut schedule {
                Some(_) if records < backlog => start,
                Some(schedule) => schedule_start + schedule.next_send(),
                None => self.clock.now(),
            };
            if intended >= until || !self.wait_until(intended, shared) {
                break;
            }
            let partition = self.draw.partition();
            match self.send(partition, intended, &mut pace, shared) {
                Ok(None) => break,
                Ok(Some(sent)) => {
                    bytes += u64::from(sent.bytes);
                    tombstones += u64::from(sent.is_tombstone);
                }
                Err(failed) => {
                    error = Some(failed);
                    break;
                }
            }
            records += 1;
            shared.records.store(records, Ordering::Relaxed);
            if schedule.is_some() && records > backlog && intended >= measure_from {
                lateness.record(self.clock.now() - intended, 1);
            }
            if records % u64::from(POLL_RECORDS) == 0 {
                self.producer.poll(Duration::ZERO);
            }
            if self.acks.failed() > 0 {
                break;
            }
        }
        self.flush();
        LoadReport {
            records,
            bytes,
            tombstones,
            lateness,
            paced: pace.waited,
            failed: self.acks.failed(),
            error: error.or_else(|| self.acks.first_error()),
        }
    }

    /// Waits for `at`, serving the producer meanwhile. `false` if the loader is to stop.
    fn wait_until(&self, at: Nanos, shared: &Shared) -> bool {
        let mut now = self.clock.now();
        while now < at {
            if shared.stop.load(Ordering::Relaxed) {
                return false;
            }
            self.producer.poll(Duration::ZERO);
            std::thread::park_timeout((at - now).min(Duration::from_millis(20)));
            now = self.clock.now();
        }
        true
    }

    /// Sends one record, waiting for room first. `None` if the loader is to stop.
    fn send(
        &mut self,
        partition: u32,
        intended: Nanos,
        pace: &mut Pace,
        shared: &Shared,
    ) -> Result<Option<HandedOver>, LoadError> {
        let at = partition as usize;
        let limit = self.settings.outstanding_bytes_max.unwrap_or(u64::MAX);
        if self.ledger.outstanding_bytes(at) >= limit {
            let since = self.clock.now();
            while self.ledger.outstanding_bytes(at) >= limit {
                if shared.stop.load(Ordering::Relaxed) {
                    return Ok(None);
                }
                self.producer.poll(Duration::ZERO);
                std::thread::park_timeout(NAP);
            }
            pace.waited += self.clock.now() - since;
        }
        // Without a schedule, a record is meant to be sent when there is room for it.
        let intended = if self.draw.is_fast() { self.clock.now() } else { intended };
        let Drawn { key, value, headers, bytes } = self.draw.record(partition);
        let offset = self.ledger.on_sent(at, Sent { intended, bytes });
        let handed_over = HandedOver { bytes, is_tombstone: value.is_none() };
        let mut record =
            BaseRecord::with_opaque_to(&self.settings.topic, usize::try_from(offset).unwrap_or(0))
                .partition(i32::try_from(partition).unwrap_or(i32::MAX));
        if let Some(value) = value {
            record = record.payload(value);
        }
        if let Some(key) = key {
            record = record.key(key);
        }
        if let Some(headers) = headers {
            record = record.headers(headers);
        }
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(Some(handed_over)),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    if shared.stop.load(Ordering::Relaxed) {
                        self.ledger.on_not_sent(at);
                        return Ok(None);
                    }
                    record = back;
                    self.producer.poll(Duration::from_millis(1));
                }
                Err((error, _)) => {
                    self.ledger.on_not_sent(at);
                    return Err(LoadError::Send { reason: error.to_string() });
                }
            }
        }
    }

    /// Waits for the last acknowledgements. What does not come in time counts as failed when the
    /// producer is dropped.
    fn flush(&self) {
        if let Err(error) = self.producer.flush(FLUSH_TIMEOUT) {
            tracing::warn!(%error, "the loader's last records were not acknowledged");
        }
    }
}

/// A record that the producer has taken.
struct HandedOver {
    /// Of key, value and headers.
    bytes: u32,
    is_tombstone: bool,
}

/// Time spent waiting for the engine.
#[derive(Default)]
struct Pace {
    waited: Duration,
}
