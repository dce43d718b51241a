//! Whole payloads: ours on every tier.
//!
//! One floor copies as many bytes as the payload has; the other reads the values and writes as many
//! cache lines as the payload fills, and computes nothing. The yardstick encodes the values alone,
//! without key, fields or envelope; the peer makes the same event with `serde_json` and `base64`.
//! *Hot* encodes the same records again and again; *cold* walks through 128 MiB of values, with the
//! output in the pool's warm buffer (and the copy's source is as cold).

use crate::contest::{Front, Role, Row, size};
use crate::{Headers, Input, Shape, Writer, base64_of_values, in_full, serde_json_event, sized, value_bytes};
use pelton::payload::internals::{self, PayloadMemory};
use pelton::payload::{Tier, encoded_len};
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
    let count = ((4 << 20) / (value_bytes * 3 / 2 + 700)).clamp(1, 10_000).min(records.len());
    let batches: Vec<_> = records.chunks_exact(count).collect();
    let bytes = crate::value_bytes(&records) / batches.len();
    let mut row = Row::new(&group, size(value_bytes), "record", count, bytes);
    row.hot = !cold;

    let all_tiers = !front.brief() || (group == "payload/hot/no-headers/fixed");
    let tiers: Vec<Tier> = Tier::available().filter(|tier| all_tiers || *tier == Tier::best()).collect();
    references(&mut row, &batches, &tiers, if cold && in_full() { 16 } else { 1 });
    front.row(row);
}

/// Whose turn it is among the batches. A contestant does one batch in a run and goes on to the next;
/// contestants start far from each other, so that none finds what another left in the caches.
struct Turns {
    next: usize,
    of: usize,
}

impl Turns {
    fn new(contestant: usize, of: usize) -> Self {
        Self { next: contestant * of / CONTESTANTS, of }
    }

    fn next(&mut self) -> usize {
        let turn = self.next % self.of;
        self.next += 1;
        turn
    }
}

/// The most contestants in a row: five tiers, two floors, yardstick, peer.
const CONTESTANTS: usize = 9;

/// Adds ours on `tiers`, the floors, the yardstick and the peer, which does one of `peer_parts` parts.
/// All batches have as many records.
fn references<'c>(row: &mut Row<'c>, batches: &[&'c [RecordRef<'c>]], tiers: &[Tier], peer_parts: usize) {
    let (of, count) = (batches.len(), batches[0].len());
    let event = serde_json_event(batches[0]);
    let mut sizer = Writer::new(Tier::Portable, count);
    let sizes: Vec<usize> = batches.iter().map(|batch| sizer.write(batch, count).1).collect();
    for tier in tiers {
        let mut writer = Writer::new(*tier, count);
        let mut written = Vec::new();
        writer.payload(batches[0]).write_to(&mut written);
        assert!(written == event, "{tier} writes what the peer writes");
        let (batches, sizes) = (batches.to_vec(), sizes.clone());
        let mut turns = Turns::new(row.contestants.len(), of);
        row.contestant(Role::Pelton, tier, &true, move || {
            let turn = turns.next();
            writer.write(batches[turn], count) == (count, sizes[turn])
        });
    }
    let mut turns = Turns::new(row.contestants.len(), of);
    let values: Vec<Vec<&[u8]>> =
        batches.iter().map(|batch| batch.iter().filter_map(|record| record.value).collect()).collect();
    let template = Writer::template();
    let lines_of = |batch: &[RecordRef<'_>], bytes: usize| {
        let mut lens: Vec<usize> = batch.iter().map(|record| encoded_len(&template, record)).collect();
        // What stands around the records counts for the first.
        lens[0] += bytes - lens.iter().sum::<usize>();
        internals::lines_of(lens)
    };
    let lines: Vec<Vec<usize>> =
        batches.iter().zip(&sizes).map(|(batch, bytes)| lines_of(batch, *bytes)).collect();
    let totals: Vec<usize> = lines.iter().map(|lines| lines.iter().sum()).collect();
    let mut out = PayloadMemory::new(64 * totals.iter().copied().max().unwrap_or(0));
    row.contestant(Role::Floor, "bare loads and stores", &true, move || {
        let turn = turns.next();
        internals::bare_traffic(&values[turn], &lines[turn], out.lines()) == totals[turn]
    });
    let mut turns = Turns::new(row.contestants.len(), of);
    let (from, mut to) =
        (vec![b'A'; sizes.iter().sum()], PayloadMemory::new(sizes.iter().copied().max().unwrap_or(0)));
    let starts: Vec<usize> = (0..of).map(|turn| sizes[..turn].iter().sum()).collect();
    row.contestant(Role::Floor, "memcpy", &true, move || {
        let turn = turns.next();
        to.bytes()[..sizes[turn]].copy_from_slice(&from[starts[turn]..starts[turn] + sizes[turn]]);
        to.bytes()[0] == b'A'
    });
    let texts = |batch: &[RecordRef<'_>]| {
        batch.iter().filter_map(|record| record.value).map(|value| value.len().div_ceil(3) * 4).sum::<usize>()
    };
    let lens: Vec<usize> = batches.iter().map(|batch| texts(batch)).collect();
    let mut out = PayloadMemory::new(lens.iter().copied().max().unwrap_or(0));
    let all = batches.to_vec();
    let mut turns = Turns::new(row.contestants.len(), of);
    row.contestant(Role::Yardstick, "base64-simd", &true, move || {
        let turn = turns.next();
        base64_of_values(all[turn], out.bytes()) == lens[turn]
    });
    let some: Vec<_> = batches.iter().map(|batch| &batch[..count.div_ceil(peer_parts)]).collect();
    let mut turns = Turns::new(row.contestants.len(), of);
    let lens: Vec<usize> = some.iter().map(|batch| serde_json_event(batch).len()).collect();
    row.part(Role::Peer, "serde_json", some[0].len() as f64 / count as f64, &true, move || {
        let turn = turns.next();
        serde_json_event(some[turn]).len() == lens[turn]
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
