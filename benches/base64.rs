//! Base64 alone: our kernels beside `base64-simd`, `base64` and a copy of the text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use pelton::payload::{Tier, internals};
use pelton_benches::{Shape, base64_of_values, in_full, records, sized};
use std::hint::black_box;

fn base64(criterion: &mut Criterion) {
    for varying in [false, true] {
        let lengths = if varying { "varying" } else { "fixed" };
        let mut group = criterion.benchmark_group(format!("base64/{lengths}"));
        let sizes: &[usize] =
            if in_full() { &[16, 64, 256, 1 << 10, 10 << 10, 100 << 10] } else { &[16, 256] };
        for &value_bytes in sizes {
            let count = sized((1 << 20) / value_bytes.max(1 << 10), 2);
            let records = records(Shape { value_bytes, varying, headers: false }, count);
            let values: Vec<&[u8]> = records.iter().filter_map(|record| record.value).collect();
            let expected: String = values.iter().map(|value| STANDARD.encode(value)).collect();
            let mut out = vec![0_u8; internals::out_bytes(&values)];
            let bytes: usize = values.iter().map(|value| value.len()).sum();
            group.throughput(Throughput::Bytes(bytes as u64));

            for tier in Tier::available() {
                let len = internals::base64(tier, &values, &mut out);
                assert!(out[..len] == *expected.as_bytes(), "{tier} writes what the peer writes");
                group.bench_function(BenchmarkId::new(format!("pelton/{tier}"), value_bytes), |bencher| {
                    bencher.iter(|| internals::base64(tier, black_box(&values), &mut out));
                });
            }
            group.bench_function(BenchmarkId::new("floor/memcpy", value_bytes), |bencher| {
                bencher.iter(|| out[..expected.len()].copy_from_slice(black_box(expected.as_bytes())));
            });
            group.bench_function(BenchmarkId::new("peer/base64-simd", value_bytes), |bencher| {
                bencher.iter(|| base64_of_values(black_box(records), &mut out));
            });
            group.bench_function(BenchmarkId::new("peer/base64", value_bytes), |bencher| {
                bencher.iter(|| {
                    let mut at = 0;
                    for value in black_box(&values) {
                        at += STANDARD.encode_slice(value, &mut out[at..]).expect("the output has room");
                    }
                    at
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, base64);
criterion_main!(benches);
