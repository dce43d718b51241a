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
use std::ops::Range;
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

/// What records look like. Keys and values are random bytes.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Bytes of a value; the mean if `varying`.
    pub value_bytes: usize,
    /// Values of 0.5 to 1.5 times `value_bytes` and keys of 8 to 24 bytes, never repeating,
    /// instead of fixed lengths and 16-byte keys. Fixed lengths flatter kernels with branches.
    pub varying: bool,
    /// The headers of each record.
    pub headers: Headers,
}

/// Which headers a record has: none, or `trace-id` of 16 and `correlation-id` of 36 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Headers {
    /// None.
    None,
    /// Random bytes and text.
    Both,
    /// Text in both.
    Text,
    /// Random bytes in both.
    Binary,
}

/// Records of partition 0, back to back as in a fetched record batch.
pub struct Input {
    shape: Shape,
    bytes: Vec<u8>,
    spans: Vec<[Range<usize>; 4]>,
}

impl Input {
    /// `count` records. The same each time.
    #[must_use]
    pub fn new(shape: Shape, count: usize) -> Self {
        let mut rng = SmallRng::seed_from_u64(7);
        let mut bytes: Vec<u8> = Vec::new();
        let mut take = |length: usize, text: bool, rng: &mut SmallRng| {
            let start = bytes.len();
            bytes.resize(start + length, 0);
            rng.fill_bytes(&mut bytes[start..]);
            if text {
                bytes[start..]
                    .iter_mut()
                    .for_each(|byte| *byte = b"0123456789abcdef"[usize::from(*byte >> 4)]);
            }
            start..start + length
        };
        let mean = shape.value_bytes;
        let spans = (0..count)
            .map(|_| {
                let (key, value) = if shape.varying {
                    (rng.random_range(8..=24), rng.random_range(mean / 2..=mean * 3 / 2))
                } else {
                    (16, mean)
                };
                let (trace, correlation) = if shape.headers == Headers::None { (0, 0) } else { (16, 36) };
                [
                    take(key, false, &mut rng),
                    take(value, false, &mut rng),
                    take(trace, shape.headers == Headers::Text, &mut rng),
                    take(correlation, shape.headers != Headers::Binary, &mut rng),
                ]
            })
            .collect();
        Self { shape, bytes, spans }
    }

    /// The headers of every record, if it has any: two each, one record's behind another's.
    #[must_use]
    pub fn headers(&self) -> Vec<Header<'_>> {
        if self.shape.headers == Headers::None {
            return Vec::new();
        }
        let of_record = |[_, _, trace, correlation]: &[Range<usize>; 4]| {
            [
                Header { name: b"trace-id", value: Some(&self.bytes[trace.clone()]) },
                Header { name: b"correlation-id", value: Some(&self.bytes[correlation.clone()]) },
            ]
        };
        self.spans.iter().flat_map(of_record).collect()
    }

    /// The records, with `headers` from [`headers`](Self::headers).
    #[must_use]
    pub fn records<'r>(&'r self, headers: &'r [Header<'r>]) -> Vec<RecordRef<'r>> {
        let each = headers.len() / self.spans.len().max(1);
        let record = |(at, [key, value, ..]): (usize, &[Range<usize>; 4])| RecordRef {
            partition: Partition(0),
            offset: Offset(4_000_000_000 + at as i64),
            timestamp_ms: 1_700_000_000_000 + at as i64,
            timestamp_type: TimestampType::CreateTime,
            key: Some(&self.bytes[key.clone()]),
            value: Some(&self.bytes[value.clone()]),
            headers: &headers[at * each..(at + 1) * each],
        };
        self.spans.iter().enumerate().map(record).collect()
    }
}

/// `count` records that live as long as the process.
#[must_use]
pub fn records(shape: Shape, count: usize) -> &'static [RecordRef<'static>] {
    let input: &'static Input = Box::leak(Box::new(Input::new(shape, count)));
    input.records(input.headers().leak()).leak()
}

/// Bytes of all values.
#[must_use]
pub fn value_bytes(records: &[RecordRef<'_>]) -> usize {
    records.iter().filter_map(|record| record.value).map(<[u8]>::len).sum()
}

/// The topic of all benches: a name of ordinary length.
pub const TOPIC: &str = "orders-v1";

/// Everything that writes runs of records into a batch, ready to do so again and again.
pub struct Writer {
    pool: Pool,
    limits: BatchLimits,
    envelope: Arc<Envelope>,
    /// One per partition; runs take turns.
    templates: Vec<Template>,
}

impl Writer {
    /// A writer of batches of up to `batch_size` records of one partition, on `tier`.
    #[must_use]
    pub fn new(tier: Tier, batch_size: usize) -> Self {
        Self::of_partitions(1, tier, batch_size)
    }

    /// A writer whose runs belong to `partitions` partitions in turn, whatever their records say.
    #[must_use]
    pub fn of_partitions(partitions: usize, tier: Tier, batch_size: usize) -> Self {
        let limits = BatchLimits { batch_size: batch_size as u32, ..BatchLimits::default() };
        let topic = Topic::new(TOPIC);
        Self {
            pool: Pool::new(64 << 20, limits.payload_bytes_max as usize, batch_size).with_tier(tier),
            limits,
            envelope: Arc::new(Envelope::self_managed("localhost:9092")),
            templates: (0..partitions).map(|at| Template::new(&topic, Partition(at as i32))).collect(),
        }
    }

    /// The template of the first partition.
    #[must_use]
    pub fn template() -> Template {
        Template::new(&Topic::new(TOPIC), Partition(0))
    }

    /// Writes as many of `records` as one batch takes, `run` at a time, and throws it away.
    /// Returns how many, and the payload's size.
    pub fn write<R: Record>(&mut self, records: &[R], run: usize) -> (usize, usize) {
        let (batch, taken) = self.fill(records, run);
        let bytes = batch.payload_bytes();
        self.pool.give_back(batch);
        (taken, bytes)
    }

    /// A batch's whole life: taken from the pool, filled, sealed, made an event, given back.
    /// Returns the payload's size.
    pub fn round_trip<R: Record>(&mut self, records: &[R]) -> usize {
        let batch = self.fill(records, records.len()).0.seal(FlushCause::Drain, Nanos::ZERO);
        let bytes = batch.whole().len();
        self.pool.give_back(batch);
        bytes
    }

    /// The event that [`write`](Self::write) makes of one run.
    ///
    /// # Panics
    /// If no record fits.
    pub fn payload<R: Record>(&mut self, records: &[R]) -> Payload {
        self.payload_of_runs(records, records.len())
    }

    /// The event that [`write`](Self::write) makes.
    ///
    /// # Panics
    /// If no record fits.
    pub fn payload_of_runs<R: Record>(&mut self, records: &[R], run: usize) -> Payload {
        self.fill(records, run).0.seal(FlushCause::Drain, Nanos::ZERO).whole()
    }

    fn fill<R: Record>(&mut self, records: &[R], run: usize) -> (OpenBatch, usize) {
        let lease = self.pool.acquire().expect("a bench holds one batch at a time");
        let mut batch = OpenBatch::new(lease, &self.limits, Arc::clone(&self.envelope));
        let mut taken = 0;
        let partitions = self.templates.iter().enumerate().cycle();
        for (run, (slot, template)) in records.chunks(run).zip(partitions) {
            let slot = Slot(slot as u16);
            let appended = batch.append_run(&mut self.pool, slot, template, run, Nanos::ZERO);
            taken += appended.taken;
            if let Some(Stop::Full(_) | Stop::TooLarge { .. }) = appended.stop {
                break;
            }
        }
        (batch, taken)
    }
}

/// The event over `count` records whose runs of one belong to `partitions` partitions in turn.
#[must_use]
pub fn interleaved(count: usize, value_bytes: usize, partitions: usize) -> Payload {
    let records = records(Shape { value_bytes, varying: false, headers: Headers::None }, count);
    Writer::of_partitions(partitions, Tier::best(), count).payload_of_runs(records, 1)
}

/// The floor: the values' base64 alone, by `base64-simd`, one behind the other.
pub fn base64_of_values(records: &[RecordRef<'_>], out: &mut [u8]) -> usize {
    let mut at = 0;
    for value in records.iter().filter_map(|record| record.value) {
        at += base64_simd::STANDARD.encode(value, base64_simd::Out::from_slice(&mut out[at..])).len();
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
