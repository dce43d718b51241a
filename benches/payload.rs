//! Whole payloads: ours on every tier, beside the floors and what a user would write.
//!
//! `floor/memcpy` copies as many bytes as the payload has; `floor/base64-simd` encodes the values
//! alone, without key, fields or envelope; `peer/serde_json` makes the same event with `serde_json`
//! and `base64`. Hot: the same records again and again. For ratios that survive a noisy machine see
//! `ratios.rs`.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use pelton::payload::Tier;
use pelton_benches::{Shape, Writer, base64_of_values, in_full, records, serde_json_event, sized};
use std::hint::black_box;

fn payload(criterion: &mut Criterion) {
    for headers in [false, true] {
        for varying in [false, true] {
            let parts = if headers { "2-headers" } else { "no-headers" };
            let lengths = if varying { "varying" } else { "fixed" };
            group(criterion, &format!("payload/{parts}/{lengths}"), headers, varying);
        }
    }
}

fn group(criterion: &mut Criterion, name: &str, headers: bool, varying: bool) {
    let mut group = criterion.benchmark_group(name);
    let sizes: &[usize] = if in_full() { &[64, 256, 1 << 10, 10 << 10, 100 << 10] } else { &[64, 1 << 10] };
    for &value_bytes in sizes {
        // As many as a fetch brings, and as fit in one payload.
        let count = sized(100.min((4 << 20) / (value_bytes * 3 / 2)), 3);
        let records = records(Shape { value_bytes, varying, headers }, count);
        let event = serde_json_event(records);
        let mut out = vec![0_u8; event.len()];
        group.throughput(Throughput::Bytes(event.len() as u64));

        for tier in Tier::available() {
            let mut writer = Writer::new(tier, count);
            let mut written = Vec::new();
            writer.payload(records).write_to(&mut written);
            assert!(written == event, "{tier} writes what the peer writes");
            group.bench_function(BenchmarkId::new(format!("pelton/{tier}"), value_bytes), |bencher| {
                bencher.iter(|| writer.write(black_box(records), count));
            });
        }
        let mut writer = Writer::new(Tier::best(), count);
        group.bench_function(BenchmarkId::new("pelton/runs-of-1", value_bytes), |bencher| {
            bencher.iter(|| writer.write(black_box(records), 1));
        });
        group.bench_function(BenchmarkId::new("floor/memcpy", value_bytes), |bencher| {
            bencher.iter(|| out.copy_from_slice(black_box(&event)));
        });
        group.bench_function(BenchmarkId::new("floor/base64-simd", value_bytes), |bencher| {
            bencher.iter(|| base64_of_values(black_box(records), &mut out));
        });
        group.bench_function(BenchmarkId::new("peer/serde_json", value_bytes), |bencher| {
            bencher.iter(|| serde_json_event(black_box(records)));
        });
    }
    group.finish();
}

criterion_group!(benches, payload);
criterion_main!(benches);
