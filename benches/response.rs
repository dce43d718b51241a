//! What a function's response says about single records (`batchItemFailures`), per response.
//!
//! `floor/memcpy` copies the response, `floor/utf8` checks that it is text. `peer/serde_json-typed`
//! is what one writes first, `peer/serde_json` the same over a tree, `peer/simd-json` over a tape in
//! buffers that are used again. All give the same positions.

use std::fmt::Write as _;
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use pelton::deliver::response::{Report, parse};
use pelton::ids::Offset;
use pelton_benches::in_full;
use serde::Deserialize;
use simd_json::prelude::ValueAsScalar as _;

const FIRST_OFFSET: i64 = 4_000_000_000;

/// The event's records: one partition, 20,000 offsets.
fn find(partition: &str, offset: Offset) -> Option<u32> {
    let position = u32::try_from(offset.0 - FIRST_OFFSET).ok()?;
    (partition == "orders-v1-0" && position < 20_000).then_some(position)
}

/// Every other record failed.
fn response(failures: usize) -> String {
    let mut text = "{\"batchItemFailures\":[".to_owned();
    for at in 0..failures {
        let comma = if at == 0 { "" } else { "," };
        let offset = FIRST_OFFSET + 2 * at as i64;
        // Writing to a `String` cannot fail.
        let _ =
            write!(text, r#"{comma}{{"itemIdentifier":{{"partition":"orders-v1-0","offset":{offset}}}}}"#);
    }
    text + "]}"
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Typed<'r> {
    #[serde(borrow)]
    batch_item_failures: Vec<Item<'r>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item<'r> {
    #[serde(borrow)]
    item_identifier: Identifier<'r>,
}

#[derive(Deserialize)]
struct Identifier<'r> {
    partition: &'r str,
    offset: i64,
}

fn typed(response: &[u8], failed: &mut Vec<u32>) -> Option<()> {
    failed.clear();
    let typed: Typed<'_> = serde_json::from_slice(response).ok()?;
    for Item { item_identifier: Identifier { partition, offset } } in typed.batch_item_failures {
        failed.push(find(partition, Offset(offset))?);
    }
    Some(())
}

fn tree(response: &[u8], failed: &mut Vec<u32>) -> Option<()> {
    failed.clear();
    let tree: serde_json::Value = serde_json::from_slice(response).ok()?;
    for item in tree["batchItemFailures"].as_array()? {
        let identifier = &item["itemIdentifier"];
        failed.push(find(identifier["partition"].as_str()?, Offset(identifier["offset"].as_i64()?))?);
    }
    Some(())
}

/// Buffers that a tape needs, kept.
struct Tapes {
    buffers: simd_json::Buffers,
    copy: Vec<u8>,
    tape: Option<simd_json::Tape<'static>>,
}

impl Tapes {
    fn read(&mut self, response: &[u8], failed: &mut Vec<u32>) -> Option<()> {
        failed.clear();
        self.copy.clear();
        self.copy.extend_from_slice(response);
        self.copy.resize(response.len() + simd_json::INPUT_PADDING, 0);
        let mut tape = self.tape.take().map_or_else(simd_json::Tape::null, simd_json::Tape::reset);
        simd_json::fill_tape_padded(&mut self.copy, response.len(), &mut self.buffers, &mut tape).ok()?;
        let root = tape.as_value();
        let failures = root.as_object()?.get("batchItemFailures")?;
        for item in &failures.as_array()? {
            let identifier = item.as_object()?.get("itemIdentifier")?;
            let identifier = identifier.as_object()?;
            let partition = identifier.get("partition")?;
            failed.push(find(partition.as_str()?, Offset(identifier.get("offset")?.as_i64()?))?);
        }
        self.tape = Some(tape.reset());
        Some(())
    }
}

fn responses(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("response");
    let sizes: &[usize] = if in_full() { &[0, 1, 100, 10_000] } else { &[0, 1, 10] };
    for &failures in sizes {
        let text = response(failures);
        let response = text.as_bytes();
        let expected: Vec<u32> = (0..failures as u32).map(|at| 2 * at).collect();
        let mut failed = Vec::new();
        let mut tapes = Tapes { buffers: simd_json::Buffers::new(1024), copy: Vec::new(), tape: None };
        let report = if failures == 0 { Report::Complete } else { Report::Partial };
        assert_eq!(parse(response, find, &mut failed), Ok(report));
        assert_eq!(failed, expected);
        assert!(typed(response, &mut failed).is_some() && failed == expected);
        assert!(tree(response, &mut failed).is_some() && failed == expected);
        assert!(tapes.read(response, &mut failed).is_some() && failed == expected);

        group.throughput(Throughput::Bytes(response.len() as u64));
        let mut out = vec![0; response.len()];
        group.bench_function(BenchmarkId::new("floor/memcpy", failures), |bencher| {
            bencher.iter(|| out.copy_from_slice(black_box(response)));
        });
        group.bench_function(BenchmarkId::new("floor/utf8", failures), |bencher| {
            bencher.iter(|| std::str::from_utf8(black_box(response)).is_ok());
        });
        group.bench_function(BenchmarkId::new("pelton", failures), |bencher| {
            bencher.iter(|| parse(black_box(response), find, &mut failed));
        });
        group.bench_function(BenchmarkId::new("peer/simd-json", failures), |bencher| {
            bencher.iter(|| tapes.read(black_box(response), &mut failed));
        });
        group.bench_function(BenchmarkId::new("peer/serde_json-typed", failures), |bencher| {
            bencher.iter(|| typed(black_box(response), &mut failed));
        });
        group.bench_function(BenchmarkId::new("peer/serde_json", failures), |bencher| {
            bencher.iter(|| tree(black_box(response), &mut failed));
        });
    }
    group.finish();
}

criterion_group!(benches, responses);
criterion_main!(benches);
