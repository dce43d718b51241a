//! Any records as an event: the same bytes on every tier, and what `serde_json` reads in them is what
//! went in.

use arbitrary::{Arbitrary, Unstructured};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pelton::batch::{BatchLimits, FlushCause, OpenBatch, Payload, SealedBatch, Stop};
use pelton::ids::{Offset, Partition, Slot, Topic};
use pelton::payload::{Envelope, Pool, Template, Tier};
use pelton::record::{Header, RecordRef, TimestampType};
use pelton::time::Nanos;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Different partitions of a batch.
const SLOTS: u16 = 3;

/// What an input says.
#[derive(Arbitrary, Debug)]
struct Case<'a> {
    topic: &'a str,
    brokers: &'a str,
    partition: i32,
    batch_size: u8,
    payload_bytes_max: u32,
    /// Which records are also in a smaller event, one bit each, again and again.
    picked: u8,
    runs: Vec<(u16, Vec<Row<'a>>)>,
}

#[derive(Arbitrary, Debug)]
struct Row<'a> {
    offset: i64,
    timestamp_ms: i64,
    timestamp_type: u8,
    key: Option<&'a [u8]>,
    value: Option<(&'a [u8], u8)>,
    headers: Vec<(&'a [u8], Option<&'a [u8]>)>,
}

/// A record that owns what a [`Row`] only says.
struct Sample<'a> {
    row: Row<'a>,
    partition: Partition,
    slot: Slot,
    value: Option<Vec<u8>>,
    headers: Vec<Header<'a>>,
}

/// What a tier made of a case.
#[derive(Debug, PartialEq, Eq)]
struct Written {
    /// The records that were taken, by their positions in the case.
    taken: Vec<usize>,
    stops: Vec<Stop>,
    /// The event over all of them, and over the picked ones; none without records.
    events: Option<[Vec<u8>; 2]>,
}

/// Panics if tiers differ, or an event is not what went into it.
pub fn check(input: &[u8]) {
    let Ok(case) = Case::arbitrary_take_rest(Unstructured::new(input)) else { return };
    let (case, samples) = case.samples();
    let mut tiers = Tier::available().map(|tier| (tier, case.write(tier, &samples)));
    let (first, written) = tiers.next().expect("there is a tier for every machine");
    for (tier, other) in tiers {
        assert_eq!(written, other, "{first} and {tier} differ");
    }
    if let Some([whole, picked]) = &written.events {
        let all: Vec<&Sample<'_>> = written.taken.iter().map(|at| &samples[*at]).collect();
        let some = all.iter().enumerate().filter(|(at, _)| case.picks(*at)).map(|(_, sample)| *sample);
        case.compare(whole, all.iter().copied());
        case.compare(picked, some);
    }
}

impl<'a> Case<'a> {
    /// The case without its records, and these.
    fn samples(mut self) -> (Self, Vec<Sample<'a>>) {
        let mut samples = Vec::new();
        for (slot, rows) in std::mem::take(&mut self.runs) {
            let slot = slot % SLOTS;
            for row in rows {
                samples.push(Sample {
                    partition: Partition(self.partition.wrapping_add(i32::from(slot))),
                    slot: Slot(slot),
                    // Repeated, so that few bytes of input make long values.
                    value: row.value.map(|(bytes, times)| bytes.repeat(usize::from(times).max(1))),
                    headers: row.headers.iter().map(|(name, value)| Header { name, value: *value }).collect(),
                    row,
                });
            }
        }
        (self, samples)
    }

    fn picks(&self, at: usize) -> bool {
        self.picked >> (at % 8) & 1 == 1
    }

    fn limits(&self) -> BatchLimits {
        BatchLimits {
            batch_size: u32::from(self.batch_size).max(1),
            window: Duration::ZERO,
            payload_bytes_max: self.payload_bytes_max % (1 << 20) + 1,
        }
    }

    fn write(&self, tier: Tier, samples: &[Sample<'_>]) -> Written {
        let limits = self.limits();
        let mut pool =
            Pool::new(0, limits.payload_bytes_max as usize, limits.batch_size as usize).with_tier(tier);
        let lease = pool.acquire().expect("the first buffer is within every budget");
        let mut batch = OpenBatch::new(lease, &limits, Arc::new(Envelope::self_managed(self.brokers)));
        let mut written = Written { taken: Vec::new(), stops: Vec::new(), events: None };
        let mut next = 0;
        for run in samples.chunk_by(|one, other| one.slot == other.slot) {
            let template = Template::new(&Topic::new(self.topic), run[0].partition);
            let records: Vec<RecordRef<'_>> = run.iter().map(Sample::record).collect();
            let mut rest = &records[..];
            while !rest.is_empty() {
                let appended = batch.append_run(&mut pool, run[0].slot, &template, rest, Nanos::ZERO);
                written.taken.extend(next..next + appended.taken);
                next += appended.taken;
                rest = &rest[appended.taken..];
                written.stops.extend(appended.stop);
                match appended.stop {
                    Some(Stop::TooLarge { .. }) => (next, rest) = (next + 1, &rest[1..]),
                    Some(Stop::Full(_)) => {
                        written.events = self.events(batch, &limits);
                        return written;
                    }
                    None => assert!(rest.is_empty(), "appending ends for a reason"),
                }
            }
        }
        written.events = self.events(batch, &limits);
        written
    }

    fn events(&self, batch: OpenBatch, limits: &BatchLimits) -> Option<[Vec<u8>; 2]> {
        if batch.is_empty() {
            return None;
        }
        let batch: SealedBatch = batch.seal(FlushCause::Drain, Nanos::ZERO);
        let whole = batch.whole();
        assert!(whole.len() <= limits.payload_bytes_max as usize, "{} B, more than allowed", whole.len());
        let picked = (0..batch.records()).filter(|at| self.picks(*at as usize));
        Some([whole, batch.part(picked.map(|at| at..at + 1))].map(|payload| text(&payload)))
    }

    /// Panics unless `event` is one over `samples`.
    fn compare<'s>(&self, event: &[u8], samples: impl Iterator<Item = &'s Sample<'s>>) {
        let found: Value = serde_json::from_slice(event).expect("an event is JSON");
        let mut records = Map::new();
        for sample in samples {
            let list = records.entry(format!("{}-{}", self.topic, sample.partition)).or_insert(json!([]));
            list.as_array_mut().expect("made above").push(sample.json(self.topic));
        }
        let expected = json!({
            "eventSource": "SelfManagedKafka",
            "bootstrapServers": self.brokers,
            "records": records,
        });
        assert_eq!(found, expected, "an event holds what went into it");
    }
}

impl Sample<'_> {
    fn record(&self) -> RecordRef<'_> {
        RecordRef {
            partition: self.partition,
            offset: Offset(self.row.offset),
            timestamp_ms: self.row.timestamp_ms,
            timestamp_type: self.timestamp_type().0,
            key: self.row.key,
            value: self.value.as_deref(),
            headers: &self.headers,
        }
    }

    fn timestamp_type(&self) -> (TimestampType, &'static str) {
        match self.row.timestamp_type % 3 {
            0 => (TimestampType::CreateTime, "CREATE_TIME"),
            1 => (TimestampType::LogAppendTime, "LOG_APPEND_TIME"),
            _ => (TimestampType::None, "NO_TIMESTAMP_TYPE"),
        }
    }

    /// The record as anyone would write it with `serde_json` and `base64`.
    fn json(&self, topic: &str) -> Value {
        let header = |header: &Header<'_>| {
            let signed = header.value.unwrap_or_default().iter().map(|byte| byte.cast_signed());
            json!({ String::from_utf8_lossy(header.name): signed.collect::<Vec<i8>>() })
        };
        let mut json = json!({
            "topic": topic,
            "partition": self.partition.0,
            "offset": self.row.offset,
            "timestamp": self.row.timestamp_ms,
            "timestampType": self.timestamp_type().1,
            "headers": self.headers.iter().map(header).collect::<Vec<_>>(),
        });
        for (name, bytes) in [("key", self.row.key), ("value", self.value.as_deref())] {
            if let Some(bytes) = bytes {
                json[name] = STANDARD.encode(bytes).into();
            }
        }
        json
    }
}

fn text(payload: &Payload) -> Vec<u8> {
    let mut text = Vec::new();
    payload.write_to(&mut text);
    assert_eq!(text.len(), payload.len(), "the length is known before");
    assert!(payload.frames().flatten().eq(text.iter().copied()), "frames are the event too");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(value: &[u8]) -> Sample<'_> {
        let row = Row {
            offset: 7,
            timestamp_ms: 9,
            timestamp_type: 0,
            key: Some(b"key"),
            value: None,
            headers: vec![(b"h", Some(&[255]))],
        };
        let headers = vec![Header { name: b"h", value: Some(&[255]) }];
        Sample { row, partition: Partition(0), slot: Slot(0), value: Some(value.to_vec()), headers }
    }

    fn case() -> Case<'static> {
        Case {
            topic: "t",
            brokers: "b:9092",
            partition: 0,
            batch_size: 10,
            payload_bytes_max: 10_000,
            picked: 1,
            runs: Vec::new(),
        }
    }

    #[test]
    fn an_event_that_differs_in_any_byte_is_not_what_went_in() {
        let samples = [sample(b"value"), sample(b"")];
        for tier in Tier::available() {
            let written = case().write(tier, &samples);
            assert_eq!((&written.taken[..], &written.stops[..]), (&[0, 1][..], &[][..]));
            let [whole, _] = written.events.expect("two records");
            case().compare(&whole, samples.iter());
            for at in 0..whole.len() {
                let mut other = whole.clone();
                other[at] ^= 1;
                let passed = std::panic::catch_unwind(|| case().compare(&other, samples.iter()));
                assert!(passed.is_err(), "{}", String::from_utf8_lossy(&other));
            }
        }
    }
}
