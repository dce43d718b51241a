//! Whether a record is delivered, per record.
//!
//! JSON orders of about 466 bytes and 1 KiB, all different, three conditions, about 3 % match; and
//! lines of text. `floor/memmem` looks for one of the texts that a match must hold and does nothing
//! else, `floor/memcpy` copies the values; neither knows whether a value is JSON, which a filter
//! must: what is not JSON is delivered. `peer/serde_json` makes a tree of each value, which is what
//! one writes first; `peer/simd-json` makes a tape in buffers that are used again, which is what one
//! writes when that is too slow. All give the same answers.

use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use memchr::memmem;
use pelton::filter::json::is_json;
use pelton::filter::{Filters, Matcher};
use pelton::ids::{Offset, Partition, Topic};
use pelton::record::{RecordRef, TimestampType};
use pelton_benches::sized;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use simd_json::prelude::ValueAsScalar as _;

const PATTERN: &str = r#"{"value":{"status":["shipped","returned"],"customer":{"country":["DE","FR"]},"amount":[{"numeric":[">",100]}]}}"#;
const STATUS: [&str; 8] =
    ["open", "paid", "packed", "shipped", "delivered", "cancelled", "returned", "in dispute"];
const COUNTRY: [&str; 8] = ["DE", "FR", "US", "GB", "JP", "IN", "BR", "ZA"];

/// An order of `bytes` bytes or a little more.
fn order(rng: &mut SmallRng, bytes: usize) -> String {
    let pick = |rng: &mut SmallRng, all: &[&'static str]| all[rng.random_range(0..all.len())];
    let (id, customer) = (rng.random::<u64>(), rng.random_range(0..1_000_000_u32));
    let status = pick(rng, &STATUS);
    let country = pick(rng, &COUNTRY);
    let amount = f64::from(rng.random_range(0..20_000_u32)) / 100.0;
    let mut text = format!(
        r#"{{"orderId":"{id:016x}","createdAt":"2026-08-21T12:34:56.{:03}Z","status":"{status}","currency":"EUR","amount":{amount},"customer":{{"id":{customer},"name":"Customer {customer}","country":"{country}","vip":{}}},"items":["#,
        customer % 1000,
        customer % 2 == 0,
    );
    let end = r#"],"note":null}"#;
    let mut comma = "";
    while text.len() + end.len() < bytes {
        let (sku, quantity) = (rng.random_range(0..100_000_u32), rng.random_range(1..9_u32));
        // Writing to a `String` cannot fail.
        let _ =
            write!(text, r#"{comma}{{"sku":"SKU-{sku:05}","quantity":{quantity},"price":{}.99}}"#, sku % 100);
        comma = ",";
    }
    text + end
}

fn record(value: &[u8]) -> RecordRef<'_> {
    RecordRef {
        partition: Partition(0),
        offset: Offset(0),
        timestamp_ms: 0,
        timestamp_type: TimestampType::CreateTime,
        key: None,
        value: Some(value),
        headers: &[],
    }
}

/// Counts the values that pass.
fn pelton(matcher: &mut Matcher, topic: &Topic, values: &[Vec<u8>]) -> usize {
    values.iter().filter(|value| matcher.keeps(topic, &record(value))).count()
}

fn serde_json(values: &[Vec<u8>]) -> usize {
    let matches = |value: &&Vec<u8>| {
        let Ok(tree) = serde_json::from_slice::<serde_json::Value>(value) else { return true };
        matches!(tree["status"].as_str(), Some("shipped" | "returned"))
            && matches!(tree["customer"]["country"].as_str(), Some("DE" | "FR"))
            && tree["amount"].as_f64().is_some_and(|amount| amount > 100.0)
    };
    values.iter().filter(matches).count()
}

/// Buffers that a tape needs, kept.
struct Tapes {
    buffers: simd_json::Buffers,
    copy: Vec<u8>,
    tape: Option<simd_json::Tape<'static>>,
}

impl Tapes {
    fn count(&mut self, values: &[Vec<u8>]) -> usize {
        let mut count = 0;
        for value in values {
            self.copy.clear();
            self.copy.extend_from_slice(value);
            self.copy.resize(value.len() + simd_json::INPUT_PADDING, 0);
            let mut tape = self.tape.take().map_or_else(simd_json::Tape::null, simd_json::Tape::reset);
            let read = simd_json::fill_tape_padded(&mut self.copy, value.len(), &mut self.buffers, &mut tape);
            let passes = read.is_err() || {
                let tree = tape.as_value();
                let order = tree.as_object();
                let get = |name: &str| order.as_ref().and_then(|order| order.get(name));
                let country =
                    get("customer").and_then(|all| all.as_object().and_then(|all| all.get("country")));
                get("status").is_some_and(|status| matches!(status.as_str(), Some("shipped" | "returned")))
                    && country.is_some_and(|country| matches!(country.as_str(), Some("DE" | "FR")))
                    && get("amount").and_then(|amount| amount.cast_f64()).is_some_and(|amount| amount > 100.0)
            };
            count += usize::from(passes);
            self.tape = Some(tape.reset());
        }
        count
    }
}

fn json(criterion: &mut Criterion) {
    for (name, bytes) in [("466B", 466), ("1KiB", 1024)] {
        let mut rng = SmallRng::seed_from_u64(7);
        // A few less than the last item makes it.
        let values: Vec<Vec<u8>> =
            (0..sized(20_000, 400)).map(|_| order(&mut rng, bytes - 25).into_bytes()).collect();
        let mean = values.iter().map(Vec::len).sum::<usize>() / values.len();
        assert!(mean.abs_diff(bytes) < 20, "values are of {mean} bytes");
        let topic = Topic::new("orders");
        let mut matcher = Matcher::new(Arc::new(Filters::parse(&[PATTERN]).expect("a pattern")));
        let mut tapes = Tapes { buffers: simd_json::Buffers::new(1024), copy: Vec::new(), tape: None };
        let expected = serde_json(&values);
        assert!((values.len() / 100..values.len() / 20).contains(&expected), "{expected} match");
        assert_eq!(pelton(&mut matcher, &topic, &values), expected);
        assert_eq!(tapes.count(&values), expected);
        assert!(values.iter().all(|value| std::str::from_utf8(value).is_ok_and(is_json)));

        let mut group = criterion.benchmark_group(format!("filter/json/{name}"));
        group.throughput(Throughput::Elements(values.len() as u64));
        let mut out = vec![0; 2 * bytes];
        group.bench_function("floor/memcpy", |bencher| {
            bencher.iter(|| {
                values.iter().for_each(|value| out[..value.len()].copy_from_slice(black_box(value)));
            });
        });
        let needle = memmem::Finder::new("\"shipped\"");
        group.bench_function("floor/memmem", |bencher| {
            bencher.iter(|| values.iter().filter(|value| needle.find(black_box(value)).is_some()).count());
        });
        group.bench_function("pelton", |bencher| {
            bencher.iter(|| pelton(&mut matcher, &topic, black_box(&values)));
        });
        group.bench_function("pelton/is-json-only", |bencher| {
            let is_json = |value: &&Vec<u8>| std::str::from_utf8(value).is_ok_and(is_json);
            bencher.iter(|| black_box(&values).iter().filter(is_json).count());
        });
        group.bench_function("peer/simd-json", |bencher| bencher.iter(|| tapes.count(black_box(&values))));
        group.bench_function("peer/serde_json", |bencher| bencher.iter(|| serde_json(black_box(&values))));
        group.finish();
    }
}

fn plain(criterion: &mut Criterion) {
    let mut rng = SmallRng::seed_from_u64(7);
    let levels = ["INFO ", "DEBUG", "WARN ", "ERROR"];
    let mut line = || {
        let (level, number) = (levels[rng.random_range(0..4)], rng.random::<u32>());
        format!(
            "{level} 2026-08-21 12:34:56 worker {number}: request {} took {} ms",
            number / 7,
            number % 997
        )
    };
    let values: Vec<Vec<u8>> = (0..sized(20_000, 400)).map(|_| line().into_bytes()).collect();
    let topic = Topic::new("logs");
    let filters = Filters::parse(&[r#"{"value":[{"prefix":"ERROR"}]}"#]).expect("a pattern");
    let mut matcher = Matcher::new(Arc::new(filters));
    let peer = |value: &&Vec<u8>| {
        std::str::from_utf8(value).map_or(true, |text| {
            text.starts_with("ERROR") || serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
        })
    };
    let expected = values.iter().filter(peer).count();
    assert!(expected > 0 && expected < values.len());
    assert_eq!(pelton(&mut matcher, &topic, &values), expected);

    let mut group = criterion.benchmark_group("filter/plain");
    group.throughput(Throughput::Elements(values.len() as u64));
    group.bench_function("floor/prefix", |bencher| {
        bencher.iter(|| black_box(&values).iter().filter(|value| value.starts_with(b"ERROR")).count());
    });
    group.bench_function("pelton", |bencher| {
        bencher.iter(|| pelton(&mut matcher, &topic, black_box(&values)));
    });
    group.bench_function("peer/serde_json", |bencher| {
        bencher.iter(|| black_box(&values).iter().filter(peer).count());
    });
    group.finish();
}

criterion_group!(benches, json, plain);
criterion_main!(benches);
