//! What the benches share: seeded records, the floors, the peer, and whether to run in full.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pelton::batch::{BatchLimits, FlushCause, OpenBatch, Payload, Stop};
use pelton::ids::{Offset, Partition, Slot, Topic};
use pelton::payload::{Envelope, Pool, Template, Tier};
use pelton::record::{Header, Record, RecordRef, TimestampType};
use pelton::time::Nanos;
use rand::rngs::SmallRng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Whether this is `cargo bench`. Under `cargo test --benches` every bench runs once, on tiny
/// inputs, so that it cannot rot.
#[must_use]
pub fn in_full() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}

/// `full` under `cargo bench`, `tiny` under `cargo test`.
#[must_use]
pub fn sized(full: usize, tiny: usize) -> usize {
    if in_full() { full } else { tiny }
}

/// What records look like. Keys and values are random bytes; headers are `trace-id` (16 random
/// bytes) and `correlation-id` (36 bytes of text).
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Bytes of a value; the mean if `varying`.
    pub value_bytes: usize,
    /// Values of 0.5 to 1.5 times `value_bytes` and keys of 8 to 24 bytes, never repeating,
    /// instead of fixed lengths and 16-byte keys. Fixed lengths flatter kernels with branches.
    pub varying: bool,
    /// Both headers, or none.
    pub headers: bool,
}

/// `count` records of partition 0, back to back as in a fetched record batch. They live as long as
/// the process.
#[must_use]
pub fn records(shape: Shape, count: usize) -> &'static [RecordRef<'static>] {
    let mut rng = SmallRng::seed_from_u64(7);
    let mut bytes: Vec<u8> = Vec::new();
    let mut take = |length: usize, rng: &mut SmallRng| {
        let start = bytes.len();
        bytes.resize(start + length, 0);
        rng.fill_bytes(&mut bytes[start..]);
        start..start + length
    };
    let mut spans = Vec::new();
    for _ in 0..count {
        let mean = shape.value_bytes;
        let (key, value) = if shape.varying {
            (rng.random_range(8..=24), rng.random_range(mean / 2..=mean * 3 / 2))
        } else {
            (16, mean)
        };
        spans.push([take(key, &mut rng), take(value, &mut rng), take(16, &mut rng), take(18, &mut rng)]);
    }
    let bytes: &'static [u8] = bytes.leak();
    let records: Vec<RecordRef<'static>> = spans
        .into_iter()
        .enumerate()
        .map(|(at, [key, value, trace, correlation])| {
            let text: String = bytes[correlation].iter().map(|byte| format!("{byte:02x}")).collect();
            let headers = [
                Header { name: b"trace-id", value: Some(&bytes[trace]) },
                Header { name: b"correlation-id", value: Some(text.leak().as_bytes()) },
            ];
            RecordRef {
                partition: Partition(0),
                offset: Offset(4_000_000_000 + at as i64),
                timestamp_ms: 1_700_000_000_000 + at as i64,
                timestamp_type: TimestampType::CreateTime,
                key: Some(&bytes[key]),
                value: Some(&bytes[value]),
                headers: if shape.headers { headers.to_vec().leak() } else { &[] },
            }
        })
        .collect();
    records.leak()
}

/// The topic of all benches: a name of ordinary length.
pub const TOPIC: &str = "orders-v1";

/// Everything that writes a run of records into a batch, ready to do so again and again.
pub struct Writer {
    pool: Pool,
    limits: BatchLimits,
    envelope: Arc<Envelope>,
    template: Template,
}

impl Writer {
    /// A writer of batches of up to `batch_size` records, on `tier`.
    #[must_use]
    pub fn new(tier: Tier, batch_size: usize) -> Self {
        let limits = BatchLimits { batch_size: batch_size as u32, ..BatchLimits::default() };
        Self {
            pool: Pool::new(64 << 20, limits.payload_bytes_max as usize, batch_size).with_tier(tier),
            limits,
            envelope: Arc::new(Envelope::self_managed("localhost:9092")),
            template: Template::new(&Topic::new(TOPIC), Partition(0)),
        }
    }

    /// Writes as many of `records` as one batch takes, `run` at a time, and throws it away.
    /// Returns how many, and the payload's size.
    pub fn write<R: Record>(&mut self, records: &[R], run: usize) -> (usize, usize) {
        let (batch, taken) = self.fill(records, run);
        let bytes = batch.payload_bytes();
        self.pool.give_back(batch);
        (taken, bytes)
    }

    /// The event that [`write`](Self::write) makes.
    ///
    /// # Panics
    /// If no record fits.
    pub fn payload<R: Record>(&mut self, records: &[R]) -> Payload {
        self.fill(records, records.len()).0.seal(FlushCause::Drain, Nanos::ZERO).whole()
    }

    fn fill<R: Record>(&mut self, records: &[R], run: usize) -> (OpenBatch, usize) {
        let lease = self.pool.acquire().expect("a bench holds one batch at a time");
        let mut batch = OpenBatch::new(lease, &self.limits, Arc::clone(&self.envelope));
        let mut taken = 0;
        for run in records.chunks(run) {
            let appended = batch.append_run(&mut self.pool, Slot(0), &self.template, run, Nanos::ZERO);
            taken += appended.taken;
            if let Some(Stop::Full(_) | Stop::TooLarge { .. }) = appended.stop {
                break;
            }
        }
        (batch, taken)
    }
}

/// The floor: the values' base64 alone, by `base64-simd`, one behind the other.
pub fn base64_of_values(records: &[RecordRef<'_>], out: &mut [u8]) -> usize {
    let mut at = 0;
    for value in records.iter().filter_map(|record| record.value) {
        at += base64_simd::STANDARD.encode(value, base64_simd::Out::from_slice(&mut out[at..])).len();
    }
    at
}

/// The floor: the values copied, one behind the other.
pub fn copy_of_values(records: &[RecordRef<'_>], out: &mut [u8]) -> usize {
    let mut at = 0;
    for value in records.iter().filter_map(|record| record.value) {
        out[at..at + value.len()].copy_from_slice(value);
        at += value.len();
    }
    at
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PeerEvent<'a> {
    event_source: &'a str,
    bootstrap_servers: &'a str,
    records: BTreeMap<String, Vec<PeerRecord<'a>>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PeerRecord<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    timestamp: i64,
    timestamp_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    headers: Vec<BTreeMap<String, Vec<i8>>>,
}

/// The peer: the event as one writes it with `serde_json` and `base64`.
///
/// # Panics
/// Never: the event is JSON.
#[must_use]
pub fn serde_json_event(records: &[RecordRef<'_>]) -> Vec<u8> {
    let mut event = PeerEvent {
        event_source: "SelfManagedKafka",
        bootstrap_servers: "localhost:9092",
        records: BTreeMap::new(),
    };
    for record in records {
        let headers = record.headers.iter().map(|header| {
            let numbers = header.value.unwrap_or_default().iter().map(|byte| byte.cast_signed()).collect();
            BTreeMap::from([(String::from_utf8_lossy(header.name).into_owned(), numbers)])
        });
        event.records.entry(format!("{TOPIC}-{}", record.partition)).or_default().push(PeerRecord {
            topic: TOPIC,
            partition: record.partition.0,
            offset: record.offset.0,
            timestamp: record.timestamp_ms,
            timestamp_type: record.timestamp_type.name(),
            key: record.key.map(|key| STANDARD.encode(key)),
            value: record.value.map(|value| STANDARD.encode(value)),
            headers: headers.collect(),
        });
    }
    serde_json::to_vec(&event).expect("an event is JSON")
}
