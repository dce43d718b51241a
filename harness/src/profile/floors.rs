//! How fast each stage could be: measured here and now, on the same records, in CPU time.

use std::hint::black_box;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use pelton::filter::{Filters, Matcher};
use pelton::ids::{Partition, Topic};
use pelton::payload::internals::{self, PayloadMemory};
use pelton::payload::{Template, Tier, encoded_len};
use pelton::record::RecordRef;
use serde::{Deserialize, Serialize};

use super::sampler::cpu_time;

/// The least that a stage can cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Floor {
    /// CPU time per record.
    pub ns_per_record: f64,
    /// What was measured, in words.
    pub what: String,
}

/// Floors of encoding, and what else was measured on the way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EncodeFloors {
    /// `None` where records have neither key nor value.
    pub base64: Option<Floor>,
    /// `None` where records have no headers.
    pub headers: Option<Floor>,
    /// For every record.
    pub json: Option<Floor>,
    /// Other ways to do the same work, per record, none of them part of the engine.
    pub alone: Vec<Floor>,
    /// Bytes of keys and values, per record.
    pub body_bytes_per_record: f64,
    /// Bytes of header names and values, per record.
    pub header_bytes_per_record: f64,
    /// Text of one record: base64, headers, the rest.
    pub text_bytes_per_record: [f64; 3],
}

/// As large as a payload: written over and over, as the engine's buffers are.
const OUT_BYTES: usize = 6 << 20;
/// Source of copies whose text is always at hand.
const HOT_BYTES: usize = 16 << 10;
/// Each floor is measured so often, and the median counts.
const ROUNDS: usize = 7;
/// How long a round is, at least.
const ROUND: Duration = Duration::from_millis(25);

/// Measures the floors of encoding `records` of `topic` on `tier`. Empty without records.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "sizes of a sample")]
pub fn encode(records: &[RecordRef<'_>], topic: &Topic, tier: Tier) -> EncodeFloors {
    if records.is_empty() {
        return EncodeFloors::default();
    }
    let count = records.len() as f64;
    let parts: Vec<&[u8]> = records.iter().flat_map(|record| [record.key, record.value]).flatten().collect();
    let body_bytes: usize = parts.iter().map(|part| part.len()).sum();
    let header_bytes: usize = records
        .iter()
        .flat_map(|record| record.headers)
        .map(|header| header.name.len() + header.value.map_or(0, <[u8]>::len))
        .sum();
    let texts = Texts::of(records, topic);
    let mut floors = EncodeFloors {
        body_bytes_per_record: body_bytes as f64 / count,
        header_bytes_per_record: header_bytes as f64 / count,
        text_bytes_per_record: [&texts.base64, &texts.headers, &texts.json]
            .map(|lengths| lengths.iter().sum::<usize>() as f64 / count),
        ..EncodeFloors::default()
    };
    if body_bytes > 0 {
        let floor = |ns: f64, what: &str| Floor { ns_per_record: ns / count, what: what.into() };
        let copy = floor(copy_of(&parts), "copying keys and values as they are (memcpy)");
        let traffic = floor(
            bare_traffic_alone(&parts),
            "reading keys and values and writing as many cache lines as their base64 fills",
        );
        let ours = kernel_alone(tier, &parts);
        let kernel = floor(ours, "our base64 kernel alone, which is no slower than bare loads and stores");
        floors.base64 = [&copy, &traffic, &kernel]
            .into_iter()
            .min_by(|a, b| a.ns_per_record.total_cmp(&b.ns_per_record))
            .cloned();
        floors.alone = vec![
            copy,
            traffic,
            floor(ours, &format!("base64 of keys and values, our {tier} kernel alone")),
            floor(base64_simd_alone(&parts), "base64 of keys and values, the base64-simd crate alone"),
        ];
    }
    if header_bytes > 0 {
        floors.headers = Some(Floor {
            ns_per_record: copy_of_text(&texts.headers) / count,
            what: "copying the headers' finished text (memcpy)".into(),
        });
    }
    floors.json = Some(Floor {
        ns_per_record: copy_of_text(&texts.json) / count,
        what: "copying the same text, finished (memcpy)".into(),
    });
    floors
}

/// Those of `records` that pass `filters`.
#[must_use]
pub fn kept<'r>(records: &[RecordRef<'r>], topic: &Topic, filters: Arc<Filters>) -> Vec<RecordRef<'r>> {
    let mut matcher = Matcher::new(filters);
    records.iter().filter(|record| matcher.keeps(topic, *record)).copied().collect()
}

/// Measures the floor of filtering: every byte of each value is looked at once, because a value that
/// is not JSON must not be dropped. Per delivered record, for each of which `read_per_delivered`
/// records are read.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "a count of a sample")]
pub fn filter(records: &[RecordRef<'_>], read_per_delivered: f64) -> Floor {
    let values: Vec<&[u8]> = records.iter().filter_map(|record| record.value).collect();
    // JSON holds no byte of zero, so that each value is looked at to its end.
    let pass = time(|| {
        black_box(values.iter().filter(|value| memchr::memchr(0, value).is_some()).count());
    });
    Floor {
        ns_per_record: pass / records.len().max(1) as f64 * read_per_delivered,
        what: "looking at every byte of the values once (memchr)".into(),
    }
}

/// How long the texts of each record are.
struct Texts {
    base64: Vec<usize>,
    headers: Vec<usize>,
    json: Vec<usize>,
}

impl Texts {
    fn of(records: &[RecordRef<'_>], topic: &Topic) -> Self {
        let template = Template::new(topic, Partition(0));
        let mut texts = Self { base64: Vec::new(), headers: Vec::new(), json: Vec::new() };
        for record in records {
            let whole = encoded_len(&template, record);
            let headers = whole - encoded_len(&template, &RecordRef { headers: &[], ..*record });
            let base64: usize =
                [record.key, record.value].into_iter().flatten().map(|part| part.len().div_ceil(3) * 4).sum();
            texts.base64.push(base64);
            if headers > 0 {
                texts.headers.push(headers);
            }
            texts.json.push(whole - headers - base64);
        }
        texts
    }
}

/// The median over rounds of the CPU time of one `pass`, in ns.
#[expect(clippy::cast_precision_loss, reason = "a time")]
fn time(mut pass: impl FnMut()) -> f64 {
    pass();
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let (start, mut passes) = (own_cpu(), 0_u32);
            loop {
                pass();
                passes += 1;
                let used = own_cpu() - start;
                if used >= ROUND {
                    return used.as_nanos() as f64 / f64::from(passes);
                }
            }
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}

/// CPU time of the calling thread: the kernel takes 0 for it.
fn own_cpu() -> Duration {
    cpu_time(0).unwrap_or_default()
}

fn copy_of(parts: &[&[u8]]) -> f64 {
    let longest = parts.iter().map(|part| part.len()).max().unwrap_or(0);
    let mut memory = PayloadMemory::new(OUT_BYTES.max(longest));
    let out = memory.bytes();
    let mut at = 0;
    time(|| {
        for part in parts {
            if at + part.len() > out.len() {
                at = 0;
            }
            out[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        black_box(&mut *out);
    })
}

fn copy_of_text(lengths: &[usize]) -> f64 {
    let longest = lengths.iter().copied().max().unwrap_or(0);
    let text = vec![b'x'; HOT_BYTES.max(longest)];
    let mut memory = PayloadMemory::new(OUT_BYTES.max(longest));
    let out = memory.bytes();
    let mut at = 0;
    time(|| {
        for length in lengths {
            if at + length > out.len() {
                at = 0;
            }
            out[at..at + length].copy_from_slice(&text[..*length]);
            at += length;
        }
        black_box(&mut *out);
    })
}

/// `parts` in chunks whose base64 is not much longer than half a payload.
fn chunks_of(parts: &[&[u8]]) -> Vec<Range<usize>> {
    let mut chunks = Vec::new();
    let mut start = 0;
    let mut bytes = 0;
    for (at, part) in parts.iter().enumerate() {
        bytes += part.len().div_ceil(3) * 4;
        if bytes >= OUT_BYTES / 2 || at + 1 == parts.len() {
            chunks.push(start..at + 1);
            (start, bytes) = (at + 1, 0);
        }
    }
    chunks
}

/// What base64 cannot do without: the loads and the stores.
fn bare_traffic_alone(parts: &[&[u8]]) -> f64 {
    let chunks = chunks_of(parts);
    let lines_of = |chunk: &Range<usize>| {
        internals::lines_of(parts[chunk.clone()].iter().map(|part| part.len().div_ceil(3) * 4))
    };
    let lines: Vec<Vec<usize>> = chunks.iter().map(lines_of).collect();
    let longest = lines.iter().map(|lines| lines.iter().sum()).max().unwrap_or(0);
    let mut memory = PayloadMemory::new(64 * longest);
    let out = memory.lines();
    time(|| {
        for (chunk, lines) in chunks.iter().zip(&lines) {
            internals::bare_traffic(&parts[chunk.clone()], lines, out);
        }
        black_box(&mut *out);
    })
}

fn kernel_alone(tier: Tier, parts: &[&[u8]]) -> f64 {
    let chunks = chunks_of(parts);
    let longest = chunks.iter().map(|chunk| internals::out_bytes(&parts[chunk.clone()])).max().unwrap_or(0);
    let mut memory = PayloadMemory::new(longest);
    let out = memory.bytes();
    time(|| {
        for chunk in &chunks {
            internals::base64(tier, &parts[chunk.clone()], out);
        }
        black_box(&mut *out);
    })
}

fn base64_simd_alone(parts: &[&[u8]]) -> f64 {
    let longest = parts.iter().map(|part| part.len().div_ceil(3) * 4).max().unwrap_or(0);
    let mut memory = PayloadMemory::new(OUT_BYTES.max(longest));
    let out = memory.bytes();
    let mut at = 0;
    time(|| {
        for part in parts {
            let length = part.len().div_ceil(3) * 4;
            if at + length > out.len() {
                at = 0;
            }
            let room = base64_simd::Out::from_slice(&mut out[at..at + length]);
            at += base64_simd::STANDARD.encode(part, room).len();
        }
        black_box(&mut *out);
    })
}

/// The CPU time of writing a payload of `payload_bytes` to a socket on loopback, in ns per byte.
///
/// # Errors
/// If this machine has no loopback.
#[expect(clippy::cast_precision_loss, reason = "a size")]
pub fn loopback_ns_per_byte(payload_bytes: usize) -> io::Result<f64> {
    let payload = vec![b'x'; payload_bytes.clamp(1, 16 << 20)];
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut writer = TcpStream::connect(listener.local_addr()?)?;
    writer.set_nodelay(true)?;
    let (mut reader, _) = listener.accept()?;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut sink = vec![0; 1 << 20];
            while reader.read(&mut sink).is_ok_and(|read| read > 0) {}
        });
        let mut failed = None;
        let per_payload = time(|| {
            if let Err(error) = writer.write_all(&payload) {
                failed = Some(error);
                // The clock must move on even so.
                black_box(payload.iter().map(|byte| u64::from(*byte)).sum::<u64>());
            }
        });
        drop(writer);
        failed.map_or(Ok(per_payload / payload.len() as f64), Err)
    })
}

#[cfg(test)]
mod tests {
    use pelton::ids::Offset;
    use pelton::record::{Header, TimestampType};

    use super::*;

    fn record<'r>(value: Option<&'r [u8]>, headers: &'r [Header<'r>]) -> RecordRef<'r> {
        RecordRef {
            partition: Partition(0),
            offset: Offset(7),
            timestamp_ms: 1_700_000_000_000,
            timestamp_type: TimestampType::CreateTime,
            key: Some(b"abc"),
            value,
            headers,
        }
    }

    #[test]
    fn the_texts_of_a_record_add_up_to_all_of_it() {
        let headers = [Header { name: b"n", value: Some(&[1, 255]) }];
        let records = [record(Some(&[7; 100]), &headers), record(None, &[])];
        let topic = Topic::new("orders");
        let texts = Texts::of(&records, &topic);
        assert_eq!(texts.base64, [4 + 136, 4]);
        assert_eq!(texts.headers, [br#"{"n":[1,-1]}"#.len()]);
        let whole: usize =
            records.iter().map(|record| encoded_len(&Template::new(&topic, Partition(0)), record)).sum();
        let sum: usize = [texts.base64, texts.headers, texts.json].iter().flatten().sum();
        assert_eq!(sum, whole);
    }

    #[test]
    fn what_records_do_not_have_has_no_floor() {
        let bare = [RecordRef { key: None, ..record(None, &[]) }];
        let floors = encode(&bare, &Topic::new("t"), Tier::best());
        assert!(floors.base64.is_none() && floors.headers.is_none());
        assert!(floors.json.unwrap().ns_per_record > 0.0);
        assert_eq!(encode(&[], &Topic::new("t"), Tier::best()), EncodeFloors::default());
    }

    #[test]
    fn the_floor_of_a_filter_is_told_per_record_that_passes() {
        let values: Vec<String> =
            (0..100).map(|at| format!(r#"{{"a":{at},"b":"{}"}}"#, "x".repeat(300))).collect();
        let records: Vec<RecordRef<'_>> =
            values.iter().map(|value| record(Some(value.as_bytes()), &[])).collect();
        let filters = Arc::new(Filters::parse(&[r#"{"value":{"a":[{"numeric":["<",10]}]}}"#]).unwrap());
        let kept = kept(&records, &Topic::new("t"), filters);
        assert_eq!(kept.len(), 10);
        assert!(filter(&records, 10.0).ns_per_record > 0.0);
    }

    #[test]
    fn a_socket_costs_something_for_each_byte() {
        assert!(loopback_ns_per_byte(100_000).unwrap() > 0.0);
    }
}
