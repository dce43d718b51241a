//! What each part of a record costs: the difference between records that have it and records that do
//! not, timed in the same rounds. And what a payload takes from the system once everything is warm.

use crate::contest::DerivedKind::{Difference, Ratio};
use crate::contest::{Front, Role, Row, size};
use crate::{Headers, Input, Shape, Writer, sized, usage, value_bytes};
use pelton::payload::Tier;
use pelton::payload::internals::{self, PayloadMemory};
use pelton::record::RecordRef;
use std::hint::black_box;

pub(crate) fn contests(front: &mut dyn Front) {
    for tier in Tier::available() {
        let best = tier == Tier::best();
        if front.wants("costs/record", &format!("64 B, {tier}"), best) {
            parts(front, tier);
        }
        if front.wants("costs/lengths", &format!("256 B, {tier}"), best) {
            lengths(front, tier);
        }
    }
    if front.wants("costs/payload", "1 KiB", true) {
        taken(front);
    }
}

const VALUE_BYTES: usize = 64;

/// Adds ours over `records`, `run` at a time, under `name`.
fn writer<'c>(row: &mut Row<'c>, name: &str, tier: Tier, records: &'c [RecordRef<'c>], run: usize) {
    let bytes = Writer::new(Tier::Portable, records.len()).write(records, run).1;
    let mut writer = Writer::new(tier, records.len());
    row.contestant(Role::Pelton, name, &bytes, move || writer.write(records, run).1);
}

fn parts(front: &mut dyn Front, tier: Tier) {
    let count = sized(100, 3);
    let input = |headers| Input::new(Shape { value_bytes: VALUE_BYTES, varying: false, headers }, count);
    let (plain, text, binary) = (input(Headers::None), input(Headers::Text), input(Headers::Binary));
    let (text_headers, binary_headers) = (text.headers(), binary.headers());
    let plain = plain.records(&[]);
    let (text, binary) = (text.records(&text_headers), binary.records(&binary_headers));
    let mut empty = plain.clone();
    empty.iter_mut().for_each(|record| (record.key, record.value) = (None, None));

    let mut row =
        Row::new("costs/record", format!("{VALUE_BYTES} B, {tier}"), "record", count, value_bytes(&plain));
    writer(&mut row, "whole record", tier, &plain, count);
    writer(&mut row, "empty record", tier, &empty, count);
    writer(&mut row, "2 text headers", tier, &text, count);
    writer(&mut row, "2 binary headers", tier, &binary, count);
    writer(&mut row, "runs of 1", tier, &plain, 1);
    let bytes = Writer::new(tier, count).write(&plain, count).1;
    for (name, run) in [("encoder alone", count), ("encoder alone, runs of 1", 1)] {
        let mut writer = internals::RunWriter::new(tier, Writer::template(), count, 2 * bytes);
        let (expected, records) = (writer.write(&plain, count), &plain);
        row.contestant(Role::Pelton, name, &expected, move || writer.write(records, run));
    }
    let parts: Vec<&[u8]> = plain.iter().flat_map(|record| [record.key, record.value]).flatten().collect();
    let mut out = vec![0; internals::out_bytes(&parts)];
    let len = internals::base64(tier, &parts, &mut out);
    row.contestant(Role::Pelton, "base64 of key and value", &len, move || {
        internals::base64(tier, &parts, &mut out)
    });

    let whole = "pelton/whole record";
    row.derive("fixed cost: a record less its base64", Difference, whole, "pelton/base64 of key and value");
    row.derive("two text headers (16 + 36 B), extra", Difference, "pelton/2 text headers", whole);
    row.derive("two binary headers (16 + 36 B), extra", Difference, "pelton/2 binary headers", whole);
    row.derive("runs of 1, extra", Difference, "pelton/runs of 1", whole);
    let (one, all) = ("pelton/encoder alone, runs of 1", "pelton/encoder alone");
    row.derive("runs of 1, extra in the encoder alone", Difference, one, all);
    front.row(row);
}

fn lengths(front: &mut dyn Front, tier: Tier) {
    // So many that a branch predictor cannot learn the lengths, and few enough for the caches.
    let count = sized(1000, 3);
    let input = |varying| Input::new(Shape { value_bytes: 256, varying, headers: Headers::None }, count);
    let (fixed, varying) = (input(false), input(true));
    let (fixed, varying) = (fixed.records(&[]), varying.records(&[]));
    let mut row = Row::new("costs/lengths", format!("256 B, {tier}"), "record", count, value_bytes(&fixed));
    writer(&mut row, "fixed lengths", tier, &fixed, count);
    writer(&mut row, "varying lengths", tier, &varying, count);
    row.derive("varying over fixed lengths", Ratio, "pelton/varying lengths", "pelton/fixed lengths");
    front.row(row);
}

fn taken(front: &mut dyn Front) {
    let count = sized(3000, 3);
    let input = Input::new(Shape { value_bytes: 1 << 10, varying: true, headers: Headers::None }, count);
    let records = &input.records(&[])[..];
    let mut row = Row::new("costs/payload", size(1 << 10), "payload", 1, value_bytes(records));
    let mut writer = Writer::new(Tier::best(), count);
    let bytes = writer.round_trip(records);
    let payloads = sized(100, 2) as u64;
    let (allocations, faults) = (usage::allocations(), usage::page_faults());
    for _ in 0..payloads {
        black_box(writer.round_trip(records));
    }
    let allocations = usage::allocations() - allocations;
    let per_payload = |count: u64| count as f64 / payloads as f64;
    row.counted
        .push(("allocations per payload, from the pool and back to it".into(), per_payload(allocations)));
    assert_eq!(allocations, 0, "a warm pool allocates nothing");
    if let (Some(before), Some(after)) = (faults, usage::page_faults()) {
        row.counted.push((
            "page faults per payload, from the pool and back to it".into(),
            per_payload(after - before),
        ));
    }
    row.contestant(Role::Pelton, Tier::best(), &bytes, move || writer.round_trip(records));
    let (text, mut copied) = (vec![b'A'; bytes], PayloadMemory::new(bytes));
    row.contestant(Role::Floor, "memcpy", &bytes, move || {
        copied.bytes()[..bytes].copy_from_slice(&text);
        text.len()
    });
    front.row(row);
}
