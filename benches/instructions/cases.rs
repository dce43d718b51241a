//! What is counted.

use crate::{Headers, Shape, Writer, interleaved, records};
use pelton::batch::{BatchLimits, Fit, Policy};
use pelton::commit::Watermark;
use pelton::ids::Offset;
use pelton::payload::{Tier, internals};
use pelton::time::Nanos;
use std::hint::black_box;

/// One case. `run(n)` does `n` units of work.
pub struct Case {
    /// `group/…/tier`; the tier is left out where it does not matter.
    pub name: String,
    /// How many units are counted; twice as many may be asked for.
    pub units: usize,
    /// The work.
    pub run: Box<dyn FnMut(usize)>,
}

impl Case {
    /// Twice, so that buffers have grown and their pages are there.
    pub fn warm_up(&mut self) {
        (self.run)(2 * self.units);
        (self.run)(2 * self.units);
    }
}

/// Which tier a case is of, from its name.
#[must_use]
pub fn tier_of(name: &str) -> Option<Tier> {
    name.rsplit('/').next()?.parse().ok()
}

/// Builds each case whose name is `wanted`, one after the other, and hands it to `visit`.
pub fn each(wanted: &dyn Fn(&str) -> bool, visit: &mut dyn FnMut(Case)) {
    let mut case = |name: String, units: usize, build: &mut dyn FnMut() -> Box<dyn FnMut(usize)>| {
        if wanted(&name) {
            visit(Case { name, units, run: build() });
        }
    };
    for tier in Tier::available() {
        payload(tier, &mut case);
        for value_bytes in [16, 64, 256, 1 << 10, 10 << 10] {
            case(format!("base64/{value_bytes}/{tier}"), VALUES, &mut || base64(tier, value_bytes));
        }
    }
    for partitions in [1, 2, 16, 256] {
        case(format!("gather/256-records/{partitions}-partitions"), 4, &mut || gather(partitions));
    }
    case("policy/record-by-record".into(), 100, &mut || Box::new(policy));
    case("watermark/in-order".into(), 64, &mut || watermark(|place| place));
    case("watermark/64-out-of-order".into(), 64, &mut || watermark(|place| place * 37 % 64));
}

type Visit<'v> = dyn FnMut(String, usize, &mut dyn FnMut() -> Box<dyn FnMut(usize)>) + 'v;

/// Per record but for `batch-of-1`, which is per batch: from the pool, sealed, and back to it.
fn payload(tier: Tier, case: &mut Visit<'_>) {
    for (headers, name) in [(Headers::None, "no-headers"), (Headers::Both, "2-headers")] {
        for value_bytes in [64, 256, 1 << 10, 10 << 10] {
            let shape = Shape { value_bytes, varying: false, headers };
            let units = if value_bytes > 1 << 10 { 8 } else { 32 };
            case(format!("payload/{name}/{value_bytes}/{tier}"), units, &mut || {
                runs(tier, shape, units, usize::MAX)
            });
        }
    }
    for (headers, name) in [(Headers::Text, "2-text-headers"), (Headers::Binary, "2-binary-headers")] {
        let shape = Shape { value_bytes: 64, varying: false, headers };
        case(format!("payload/{name}/64/{tier}"), 32, &mut || runs(tier, shape, 32, usize::MAX));
    }
    let shape = Shape { value_bytes: 256, varying: false, headers: Headers::None };
    case(format!("payload/empty/0/{tier}"), 32, &mut || {
        runs(tier, Shape { value_bytes: 0, ..shape }, 32, usize::MAX)
    });
    case(format!("payload/varying/256/{tier}"), 100, &mut || {
        runs(tier, Shape { varying: true, ..shape }, 100, usize::MAX)
    });
    case(format!("payload/runs-of-1/256/{tier}"), 32, &mut || runs(tier, shape, 32, 1));
    case(format!("payload/batch-of-1/256/{tier}"), 32, &mut || {
        let records = records(shape, 64);
        let mut writer = Writer::new(tier, 1);
        Box::new(move |batches| {
            for record in &records[..batches] {
                black_box(writer.round_trip(std::slice::from_ref(record)));
            }
        })
    });
}

/// One batch in runs of `run` records.
fn runs(tier: Tier, shape: Shape, units: usize, run: usize) -> Box<dyn FnMut(usize)> {
    let records = records(shape, 2 * units);
    let mut writer = Writer::new(tier, 2 * units);
    Box::new(move |count| {
        let (taken, _) = writer.write(&records[..count], run);
        assert_eq!(taken, count, "all fit into one batch");
    })
}

const VALUES: usize = 16;

fn base64(tier: Tier, value_bytes: usize) -> Box<dyn FnMut(usize)> {
    let records = records(Shape { value_bytes, varying: false, headers: Headers::None }, 2 * VALUES);
    let values: Vec<&[u8]> = records.iter().filter_map(|record| record.value).collect();
    let mut out = vec![0; internals::out_bytes(&values)];
    Box::new(move |count| {
        black_box(internals::base64(tier, &values[..count], &mut out));
    })
}

/// Per payload: what an HTTP body asks for, frame by frame.
fn gather(partitions: usize) -> Box<dyn FnMut(usize)> {
    let payload = interleaved(256, 256, partitions);
    Box::new(move |count| {
        for _ in 0..count {
            for frame in payload.frames() {
                black_box(&frame[..]);
            }
        }
    })
}

fn policy(records: usize) {
    let limits = BatchLimits { batch_size: u32::MAX, ..BatchLimits::default() };
    let mut policy = Policy::new(&limits, 100);
    for at in 0..records {
        if policy.fit(black_box(300), 300) == Fit::Here {
            policy.on_append(1, 300, Nanos(at as u64));
        }
        black_box(policy.due(Nanos(at as u64)));
    }
}

/// Per batch of ten records, taken 64 at a time and done in `order`.
fn watermark(order: fn(usize) -> usize) -> Box<dyn FnMut(usize)> {
    let mut watermark = Watermark::new(Offset(0));
    Box::new(move |batches| {
        watermark.reset(Offset(0));
        let range = |batch: usize| (Offset(batch as i64 * 10), Offset(batch as i64 * 10 + 9));
        for wave in (0..batches).step_by(64) {
            for batch in wave..wave + 64 {
                let (first, last) = range(batch);
                watermark.on_taken(first, last).expect("batches follow each other");
            }
            for place in 0..64 {
                let (first, last) = range(wave + order(place));
                watermark.on_done(first, last).expect("it was taken");
            }
        }
        assert_eq!(watermark.committable(), Offset(batches as i64 * 10));
    })
}
