//! The batch policy's share of a record, beside the floor of counting it.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pelton::batch::{BatchLimits, Fit, Policy};
use pelton::time::Nanos;
use pelton_benches::sized;
use std::hint::black_box;

fn policy(criterion: &mut Criterion) {
    let records = sized(10_000, 10);
    let limits = BatchLimits { batch_size: records as u32, ..BatchLimits::default() };
    let mut group = criterion.benchmark_group("policy");
    group.throughput(Throughput::Elements(records as u64));
    group.bench_function("pelton/record-by-record", |bencher| {
        bencher.iter(|| {
            let mut policy = Policy::new(&limits, 100);
            for at in 0..records {
                if policy.fit(black_box(300), 300) == Fit::Here {
                    policy.on_append(1, 300, Nanos(at as u64));
                }
                if policy.due(Nanos(at as u64)).is_some() {
                    break;
                }
            }
            assert_eq!(policy.records() as usize, records);
            policy.payload_bytes()
        });
    });
    group.bench_function("pelton/runs-of-100", |bencher| {
        bencher.iter(|| {
            let mut policy = Policy::new(&limits, 100);
            for at in (0..records).step_by(100) {
                policy.on_append(100.min(records as u32), black_box(300), Nanos(at as u64));
                if policy.due(Nanos(at as u64)).is_some() {
                    break;
                }
            }
            policy.payload_bytes()
        });
    });
    group.bench_function("floor/sum", |bencher| {
        bencher.iter(|| (0..records).map(|_| black_box(300_usize)).sum::<usize>());
    });
    group.finish();
}

criterion_group!(benches, policy);
criterion_main!(benches);
