//! The payload writer against its floors, interleaved in one process: medians and their ratios.
//!
//! `cargo bench -p pelton-benches --bench ratios`. Unlike criterion, which times one thing after
//! the other, every sample takes all contestants in turn, so that a noisy neighbour disturbs all
//! of them alike: the ratios hold where the nanoseconds do not.
//!
//! *hot* encodes the same 100 records again and again; *cold* walks through 128 MiB of distinct
//! ones, with the output in the pool's warm buffer. Words as arguments select tables by title.

use pelton::payload::Tier;
use pelton::record::RecordRef;
use pelton_benches::{Shape, Writer, base64_of_values, copy_of_values, in_full, records, sized};
use std::hint::black_box;
use std::time::Instant;

type Contestant<'c> = (String, Box<dyn FnMut(&[RecordRef<'static>]) -> usize + 'c>);

fn main() {
    if in_full() {
        println!("ns per record; x = times faster than base64-simd on the values alone");
    }
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    for cold in [false, true] {
        for headers in [false, true] {
            for varying in [false, true] {
                let title = title(cold, headers, varying);
                if !wanted.iter().all(|word| title.contains(word.as_str())) {
                    continue;
                }
                if in_full() {
                    println!("\n{title}");
                }
                for value_bytes in [64, 256, 1 << 10, 10 << 10, 100 << 10] {
                    row(Shape { value_bytes, varying, headers }, cold);
                }
            }
        }
    }
}

fn title(cold: bool, headers: bool, varying: bool) -> String {
    let input = if cold { "cold input" } else { "hot" };
    let headers = if headers { "2 headers" } else { "no headers" };
    let lengths = if varying { "varying lengths" } else { "fixed lengths" };
    format!("{input}, {headers}, {lengths}")
}

fn row(shape: Shape, cold: bool) {
    if !in_full() && (cold || shape.value_bytes > 1 << 10) {
        return;
    }
    // As many as one payload takes.
    let fit = (4 << 20) / (shape.value_bytes * 3 / 2);
    let walk = if cold { (128 << 20) / (shape.value_bytes + 64) } else { fit.min(100) };
    let all = records(shape, sized(walk, 5));
    let batch = if cold { 10_000 } else { 100 };
    let mut contestants = contestants(all, batch);
    let mut samples: Vec<Vec<f64>> = vec![Vec::new(); contestants.len()];
    for round in 0..sized(if cold { 9 } else { 151 }, 1) {
        for ((_, encode), samples) in contestants.iter_mut().zip(&mut samples) {
            samples.push(time(all, cold, encode));
            if round == 0 && in_full() {
                samples.clear();
            }
        }
    }
    let medians: Vec<f64> = samples.into_iter().map(median).collect();
    let yardstick = medians[0];
    if !in_full() {
        return;
    }
    print!("{:>7} B", shape.value_bytes);
    for ((name, _), median) in contestants.iter().zip(&medians) {
        print!(" | {name} {median:.1} ({:.2}x)", yardstick / median);
    }
    println!();
}

fn contestants(all: &[RecordRef<'static>], batch: usize) -> Vec<Contestant<'static>> {
    let values: usize = all.iter().filter_map(|record| record.value).map(<[u8]>::len).sum();
    let mut out = vec![0; (values * 2 + 500 * all.len()).min(16 << 20)];
    let mut copied = out.clone();
    let mut pasted = out.clone();
    let mut list: Vec<Contestant<'static>> = vec![
        ("base64-simd".to_owned(), Box::new(move |batch| base64_of_values(batch, &mut out))),
        ("memcpy values".to_owned(), Box::new(move |batch| copy_of_values(batch, &mut copied))),
    ];
    let mut sizer = Writer::new(Tier::Portable, batch);
    let mut payload = vec![0; pasted.len()];
    payload.fill(b'A');
    list.push((
        "memcpy payload".to_owned(),
        Box::new(move |batch| {
            // The size is asked once per batch length; records are all of one shape.
            static SIZES: std::sync::Mutex<Vec<(usize, usize)>> = std::sync::Mutex::new(Vec::new());
            let key = batch.as_ptr().addr() ^ batch.len();
            let mut sizes = SIZES.lock().expect("one thread");
            let bytes = match sizes.iter().find(|(known, _)| *known == key) {
                Some((_, bytes)) => *bytes,
                None => {
                    let bytes = sizer.write(batch, batch.len()).1.min(payload.len());
                    sizes.push((key, bytes));
                    bytes
                }
            };
            pasted[..bytes].copy_from_slice(&payload[..bytes]);
            bytes
        }),
    ));
    for tier in Tier::available() {
        let mut writer = Writer::new(tier, batch);
        list.push((tier.to_string(), Box::new(move |batch| writer.write(batch, batch.len()).1)));
    }
    let mut writer = Writer::new(Tier::best(), batch);
    list.push(("runs of 1".to_owned(), Box::new(move |batch| writer.write(batch, 1).1)));
    list
}

/// Nanoseconds per record.
#[expect(clippy::disallowed_methods, reason = "a bench reads the clock")]
fn time(
    all: &[RecordRef<'static>],
    cold: bool,
    encode: &mut dyn FnMut(&[RecordRef<'static>]) -> usize,
) -> f64 {
    let bytes: usize = all.iter().take(100).filter_map(|record| record.value).map(<[u8]>::len).sum();
    let per_batch = if cold { (100 * (4 << 20) / bytes.max(1)).clamp(1, 10_000) } else { all.len() };
    let repeats = if cold { 1 } else { sized((1 << 20) / bytes.max(1), 1).clamp(1, 30) };
    let start = Instant::now();
    for _ in 0..repeats {
        for batch in all.chunks(per_batch) {
            black_box(encode(black_box(batch)));
        }
    }
    start.elapsed().as_nanos() as f64 / (repeats * all.len()) as f64
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or(f64::NAN)
}
