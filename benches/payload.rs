//! Whole payloads: ours on every tier.
//!
//! The floor copies as many bytes as the payload has; the yardstick encodes the values alone,
//! without key, fields or envelope; the peer makes the same event with `serde_json` and `base64`.
//! *Hot* encodes the same records again and again; *cold* walks through 128 MiB of values, with the
//! output in the pool's warm buffer (and the copy's source is as cold).

use crate::contest::{Front, Role, Row, size};
use crate::{Headers, Input, Shape, Writer, base64_of_values, in_full, serde_json_event, sized, value_bytes};
use pelton::payload::Tier;
use pelton::record::RecordRef;

/// Values of these sizes; a cold walk leaves the largest out.
const VALUE_BYTES: [usize; 5] = [64, 256, 1 << 10, 10 << 10, 100 << 10];

pub(crate) fn contests(front: &mut dyn Front) {
    for cold in [false, true] {
        for headers in [Headers::None, Headers::Both] {
            for varying in [false, true] {
                for value_bytes in VALUE_BYTES {
                    contest(front, cold, Shape { value_bytes, varying, headers });
                }
            }
        }
    }
    for records in [1, 10, 100, 1000] {
        batch_size(front, records);
    }
}

fn contest(front: &mut dyn Front, cold: bool, shape: Shape) {
    let Shape { value_bytes, varying, headers } = shape;
    let group = format!(
        "payload/{}/{}/{}",
        if cold { "cold" } else { "hot" },
        if headers == Headers::None { "no-headers" } else { "2-headers" },
        if varying { "varying" } else { "fixed" }
    );
    let headline = match (cold, headers, varying) {
        (false, Headers::None, false) => value_bytes <= 10 << 10,
        (false, _, false) => [64, 1 << 10].contains(&value_bytes),
        (true, Headers::None, true) => value_bytes <= 1 << 10,
        _ => false,
    };
    if (cold && value_bytes > 10 << 10) || !front.wants(&group, &size(value_bytes), headline) {
        return;
    }
    // What is hot fits into a core's caches with its output.
    let walk = if cold { (128 << 20) / value_bytes } else { ((256 << 10) / value_bytes).clamp(2, 100) };
    let input = Input::new(shape, sized(walk, 5));
    let headers = input.headers();
    let records = input.records(&headers);
    // The output of a batch stays below the limit, and its records below a batch's greatest size.
    let batches: Vec<_> =
        records.chunks(((4 << 20) / (value_bytes * 3 / 2 + 700)).clamp(1, 10_000)).collect();
    let mut row = Row::new(&group, size(value_bytes), "record", records.len(), crate::value_bytes(&records));
    row.hot = !cold;

    let all_tiers = !front.brief() || (group == "payload/hot/no-headers/fixed");
    let tiers: Vec<Tier> = Tier::available().filter(|tier| all_tiers || *tier == Tier::best()).collect();
    references(&mut row, &batches, &tiers, if cold && in_full() { 16 } else { 1 });
    front.row(row);
}

/// Adds ours on `tiers`, the floor, the yardstick and the peer, which does one of `peer_parts` parts.
fn references<'c>(row: &mut Row<'c>, batches: &[&'c [RecordRef<'c>]], tiers: &[Tier], peer_parts: usize) {
    let largest = batches.iter().map(|batch| batch.len()).max().unwrap_or(0);
    let event = serde_json_event(batches[0]);
    let sizes: Vec<usize> = {
        let mut writer = Writer::new(Tier::Portable, largest);
        batches.iter().map(|batch| writer.write(batch, batch.len()).1).collect()
    };
    let bytes: usize = sizes.iter().sum();
    for tier in tiers {
        let mut writer = Writer::new(*tier, largest);
        let mut written = Vec::new();
        writer.payload(batches[0]).write_to(&mut written);
        assert!(written == event, "{tier} writes what the peer writes");
        let batches = batches.to_vec();
        row.contestant(Role::Pelton, tier, &bytes, move || {
            batches.iter().map(|batch| writer.write(batch, batch.len()).1).sum()
        });
    }
    let (from, mut to) = (vec![b'A'; bytes], vec![0; sizes.iter().copied().max().unwrap_or(0)]);
    row.contestant(Role::Floor, "memcpy", &bytes, move || {
        let mut at = 0;
        for &size in &sizes {
            to[..size].copy_from_slice(&from[at..at + size]);
            at += size;
        }
        at
    });
    let texts = |batch: &&[RecordRef<'_>]| {
        batch.iter().filter_map(|record| record.value).map(|value| value.len().div_ceil(3) * 4).sum::<usize>()
    };
    let values: usize = batches.iter().map(texts).sum();
    let mut out = vec![0; batches.iter().map(texts).max().unwrap_or(0)];
    let all = batches.to_vec();
    row.contestant(Role::Yardstick, "base64-simd", &values, move || {
        all.iter().map(|batch| base64_of_values(batch, &mut out)).sum()
    });
    let some = batches[..batches.len().div_ceil(peer_parts)].to_vec();
    let part = |batches: &[&[RecordRef<'_>]]| batches.iter().map(|batch| batch.len()).sum::<usize>() as f64;
    let share = part(&some) / part(batches);
    let expected: usize = some.iter().map(|batch| serde_json_event(batch).len()).sum();
    row.part(Role::Peer, "serde_json", share, &expected, move || {
        some.iter().map(|batch| serde_json_event(batch).len()).sum()
    });
}

/// What a batch costs besides its records: taken from the pool, filled, sealed, given back.
fn batch_size(front: &mut dyn Front, count: usize) {
    let (group, case) = ("payload/batch", format!("{count} x 1 KiB"));
    if !front.wants(group, &case, true) {
        return;
    }
    let input = Input::new(Shape { value_bytes: 1 << 10, varying: false, headers: Headers::None }, count);
    let headers = input.headers();
    let records = input.records(&headers);
    let mut row = Row::new(group, case, "record", count, value_bytes(&records));
    let mut writer = Writer::new(Tier::best(), count);
    let mut event = Vec::new();
    writer.payload(&records).write_to(&mut event);
    let all = &records[..];
    row.contestant(Role::Pelton, Tier::best(), &event.len(), move || writer.round_trip(all));
    references(&mut row, &[all], &[], 1);
    front.row(row);
}
