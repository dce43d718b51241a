//! Whether a record is delivered, per record.
//!
//! JSON orders of about 466 bytes and 1 KiB, all different, three conditions, about 3 % match; and
//! lines of text. `memmem` looks for one of the texts that a match must hold and does nothing
//! else, `memcpy` copies the values; neither knows whether a value is JSON, which a filter
//! must: what is not JSON is delivered. `serde_json` makes a tree of each value, which is what
//! one writes first; `simd-json tape` makes a tape in buffers that are used again, which is what one
//! writes when that is too slow. All give the same answers.

use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;

use crate::contest::{Front, Role, Row};
use crate::sized;
use memchr::memmem;
use pelton::filter::json::is_json;
use pelton::filter::{Filters, Matcher};
use pelton::ids::{Offset, Partition, Topic};
use pelton::record::{RecordRef, TimestampType};
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

pub(crate) fn contests(front: &mut dyn Front) {
    for (case, bytes, headline) in [("466 B JSON", 466, true), ("1 KiB JSON", 1024, false)] {
        if front.wants("filter", case, headline) {
            json(front, case, bytes);
        }
    }
    if front.wants("filter", "lines of text", false) {
        plain(front);
    }
}

fn json(front: &mut dyn Front, case: &str, bytes: usize) {
    let mut rng = SmallRng::seed_from_u64(7);
    // A few less than the last item makes it.
    let values: Vec<Vec<u8>> =
        (0..sized(20_000, 400)).map(|_| order(&mut rng, bytes - 25).into_bytes()).collect();
    let values = &values;
    let total = values.iter().map(Vec::len).sum::<usize>();
    let mean = total / values.len();
    assert!(mean.abs_diff(bytes) < 20, "values are of {mean} bytes");
    let topic = Topic::new("orders");
    let mut matcher = Matcher::new(Arc::new(Filters::parse(&[PATTERN]).expect("a pattern")));
    let mut tapes = Tapes { buffers: simd_json::Buffers::new(1024), copy: Vec::new(), tape: None };
    let expected = serde_json(values);
    assert!((values.len() / 100..values.len() / 20).contains(&expected), "{expected} match");

    let mut row = Row::new("filter", case, "record", values.len(), total);
    row.contestant(Role::Pelton, "matcher", &expected, || pelton(&mut matcher, &topic, black_box(values)));
    row.contestant(Role::Pelton, "is it JSON", &values.len(), || {
        let is_json = |value: &&Vec<u8>| std::str::from_utf8(value).is_ok_and(is_json);
        black_box(values).iter().filter(is_json).count()
    });
    let mut out = vec![0; 2 * bytes];
    row.contestant(Role::Floor, "memcpy", &(), move || {
        values.iter().for_each(|value| out[..value.len()].copy_from_slice(black_box(value)));
    });
    let needle = memmem::Finder::new("\"shipped\"");
    let found = values.iter().filter(|value| needle.find(value).is_some()).count();
    row.contestant(Role::Floor, "memmem", &found, move || {
        values.iter().filter(|value| needle.find(black_box(value)).is_some()).count()
    });
    row.contestant(Role::Peer, "simd-json tape", &expected, || tapes.count(black_box(values)));
    row.contestant(Role::Peer, "serde_json", &expected, || serde_json(black_box(values)));
    front.row(row);
}

fn plain(front: &mut dyn Front) {
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
    let values = &values;
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

    let total = values.iter().map(Vec::len).sum::<usize>();
    let mut row = Row::new("filter", "lines of text", "record", values.len(), total);
    row.contestant(Role::Pelton, "matcher", &expected, || pelton(&mut matcher, &topic, black_box(values)));
    row.contestant(Role::Floor, "prefix", &expected, || {
        black_box(values).iter().filter(|value| value.starts_with(b"ERROR")).count()
    });
    row.contestant(Role::Peer, "serde_json", &expected, || black_box(values).iter().filter(peer).count());
    front.row(row);
}
