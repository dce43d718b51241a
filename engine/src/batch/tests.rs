//! Batches against the reference, on every tier.

use super::*;
use crate::ids::{Partition, Slot, Topic};
use crate::payload::reference::event_json;
use crate::payload::samples::{Sample, with_records};
use crate::payload::{Envelope, Pool, Template, Tier, encoded_len};
use crate::record::RecordRef;
use crate::time::Nanos;
use proptest::prelude::*;
use std::sync::Arc;
use std::time::Duration;

const HEAD: &str = r#"{"eventSource":"SelfManagedKafka","bootstrapServers":"b:9092","records":"#;

fn limits(batch_size: u32, payload_bytes_max: usize) -> BatchLimits {
    BatchLimits { batch_size, window: Duration::from_secs(1), payload_bytes_max: payload_bytes_max as u32 }
}

fn pool(limits: &BatchLimits) -> Pool {
    Pool::new(64 << 20, limits.payload_bytes_max as usize, limits.batch_size as usize)
}

fn open(pool: &mut Pool, limits: &BatchLimits) -> OpenBatch {
    let lease = pool.acquire().expect("the budget is not used up");
    OpenBatch::new(lease, limits, Arc::new(Envelope::self_managed("b:9092")))
}

fn topic() -> Topic {
    Topic::new("my-topic")
}

fn append(batch: &mut OpenBatch, pool: &mut Pool, partition: i32, samples: &[Sample], at: u64) -> Appended {
    let template = Template::new(&topic(), Partition(partition));
    with_records(Partition(partition), samples, |records| {
        batch.append_run(pool, Slot(partition as u16), &template, records, Nanos(at))
    })
}

fn text(payload: &Payload) -> String {
    let mut written = Vec::new();
    payload.write_to(&mut written);
    assert_eq!(written.len(), payload.len());
    let frames: Vec<u8> = payload.frames().flatten().collect();
    assert_eq!(frames, written);
    String::from_utf8(written).expect("an event is UTF-8")
}

/// The reference event over the selected ones of `records`.
fn expected(records: &[(i32, Sample)], selected: impl IntoIterator<Item = usize>) -> String {
    let partitions: Vec<i32> = records.iter().map(|(partition, _)| *partition).collect();
    let samples: Vec<Sample> = records.iter().map(|(_, sample)| sample.clone()).collect();
    with_records(Partition(0), &samples, |records| {
        let records: Vec<RecordRef<'_>> = records
            .iter()
            .zip(partitions)
            .map(|(record, partition)| RecordRef { partition: Partition(partition), ..*record })
            .collect();
        event_json(HEAD, &topic(), selected.into_iter().map(|at| &records[at]).collect::<Vec<_>>())
    })
}

#[test]
fn a_batch_of_one_partition_is_one_slice() {
    let limits = limits(10, 100_000);
    let mut pool = pool(&limits);
    let mut batch = open(&mut pool, &limits);
    let samples: Vec<Sample> = (0..6).map(|offset| Sample::plain(offset, 50)).collect();
    for (at, run) in samples.chunks(2).enumerate() {
        assert_eq!(append(&mut batch, &mut pool, 0, run, at as u64), Appended { taken: 2, stop: None });
    }
    let bytes = batch.payload_bytes();
    let sealed = batch.seal(FlushCause::Window, Nanos(9));
    assert_eq!(sealed.runs().len(), 3);
    let whole = sealed.whole();
    assert_eq!((whole.len(), whole.records(), whole.frames().count()), (bytes, 6, 4));
    let records: Vec<_> = samples.into_iter().map(|sample| (0, sample)).collect();
    assert_eq!(text(&whole), expected(&records, 0..6));
}

#[test]
fn a_full_count_stops_the_run_and_is_due() {
    let limits = limits(3, 100_000);
    let mut pool = pool(&limits);
    let mut batch = open(&mut pool, &limits);
    let samples: Vec<Sample> = (0..5).map(|offset| Sample::plain(offset, 50)).collect();
    let full = Some(Stop::Full(FlushCause::Count));
    assert_eq!(append(&mut batch, &mut pool, 0, &samples, 0), Appended { taken: 3, stop: full });
    assert_eq!(batch.due(Nanos::ZERO), Some(FlushCause::Count));
    assert_eq!(append(&mut batch, &mut pool, 0, &samples, 0), Appended { taken: 0, stop: full });
}

#[test]
fn partitions_and_pollers_that_take_turns_each_keep_their_own_beginning_of_a_record() {
    // So many that some share a stamp; every second one is another poller's, in the same slots.
    let templates: Vec<Template> =
        (0..600).map(|partition| Template::new(&topic(), Partition(partition))).collect();
    for tier in Tier::available() {
        let limits = limits(10_000, 1_000_000);
        let mut pool = pool(&limits).with_tier(tier);
        for offset in [99_999_500, 5] {
            let mut batches = [(); 2].map(|()| (open(&mut pool, &limits), Vec::new()));
            // Over the offsets at which a stamp is rendered anew, and not the same for all.
            for turn in 0..3 {
                for (at, template) in templates.iter().enumerate() {
                    let partition = template.partition();
                    let (batch, records) = &mut batches[at % 2];
                    let sample = Sample::plain(offset + turn + i64::from(partition.0), 5);
                    let taken = with_records(partition, std::slice::from_ref(&sample), |run| {
                        batch
                            .append_run(&mut pool, Slot(at as u16 / 2), template, run, Nanos(turn as u64))
                            .taken
                    });
                    assert_eq!(taken, 1);
                    records.push((partition.0, sample));
                }
            }
            for (batch, records) in batches {
                let sealed = batch.seal(FlushCause::Window, Nanos(99));
                assert!(text(&sealed.whole()) == expected(&records, 0..records.len()), "{tier}");
                pool.give_back(sealed);
            }
        }
    }
}

#[test]
fn the_byte_limit_is_reached_exactly_and_never_passed() {
    let samples: Vec<Sample> = (0..4).map(|offset| Sample::plain(offset, 30)).collect();
    let template = Template::new(&topic(), Partition(0));
    let lens = with_records(Partition(0), &samples, |records| {
        records.iter().map(|record| encoded_len(&template, record)).collect::<Vec<_>>()
    });
    let records: Vec<_> = samples.iter().map(|sample| (0, sample.clone())).collect();
    let sizes: Vec<usize> = (1..=4).map(|count| expected(&records, 0..count).len()).collect();
    assert_eq!(sizes[1] - sizes[0], lens[1]);
    for limit in sizes[0] - 3..=sizes[3] + 3 {
        for tier in Tier::available() {
            let limits = limits(100, limit);
            let mut pool = pool(&limits).with_tier(tier);
            let mut batch = open(&mut pool, &limits);
            let appended = append(&mut batch, &mut pool, 0, &samples, 0);
            let fitting = sizes.iter().filter(|size| **size <= limit).count();
            assert_eq!(appended.taken, fitting, "limit {limit}");
            let stop = if fitting == 0 {
                Stop::TooLarge { needed: sizes[0] }
            } else {
                Stop::Full(FlushCause::Bytes)
            };
            assert_eq!(appended.stop, Some(stop), "limit {limit}");
            if fitting > 0 {
                let whole = batch.seal(FlushCause::Bytes, Nanos(0)).whole();
                assert!(whole.len() <= limit);
                assert_eq!(text(&whole), expected(&records, 0..fitting));
            }
        }
    }
}

#[test]
fn a_record_that_fits_no_batch_is_refused_and_leaves_the_batch_as_it_was() {
    let limits = limits(100, 2000);
    let mut pool = pool(&limits);
    let mut batch = open(&mut pool, &limits);
    append(&mut batch, &mut pool, 0, &[Sample::plain(0, 100)], 0);
    let before = batch.payload_bytes();
    let huge = Sample::plain(1, 5000);
    let needed = expected(&[(1, huge.clone())], 0..1).len();
    let appended = append(&mut batch, &mut pool, 1, &[Sample::plain(0, 10), huge], 0);
    assert_eq!(appended, Appended { taken: 1, stop: Some(Stop::TooLarge { needed }) });
    assert_eq!(append(&mut batch, &mut pool, 1, &[Sample::plain(2, 10)], 0).taken, 1);
    assert!(batch.payload_bytes() > before);
    let records = [(0, Sample::plain(0, 100)), (1, Sample::plain(0, 10)), (1, Sample::plain(2, 10))];
    assert_eq!(text(&batch.seal(FlushCause::Drain, Nanos(0)).whole()), expected(&records, 0..3));
}

#[test]
fn entries_name_every_record_and_measure_it() {
    let limits = limits(100, 100_000);
    let mut pool = pool(&limits);
    let mut batch = open(&mut pool, &limits);
    append(&mut batch, &mut pool, 3, &[Sample::plain(5, 10), Sample::plain(9, 20)], 1);
    append(&mut batch, &mut pool, 4, &[Sample::plain(7, 30)], 2);
    let sealed = batch.seal(FlushCause::Count, Nanos(3));
    let entries: Vec<_> =
        sealed.entries().map(|entry| (entry.position, entry.partition.0, entry.offset.0)).collect();
    assert_eq!(entries, [(0, 3, 5), (1, 3, 9), (2, 4, 7)]);
    let polled: Vec<_> = sealed.runs().iter().map(|run| (run.first.0, run.last.0, run.polled_at)).collect();
    assert_eq!(polled, [(5, 9, Nanos(1)), (7, 7, Nanos(2))]);
    let part = sealed.part(std::iter::once(1..3));
    assert_eq!(part.entries().map(|entry| entry.position).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn a_dropped_partition_leaves_no_trace_in_the_event() {
    let limits = limits(100, 100_000);
    let mut pool = pool(&limits);
    let mut batch = open(&mut pool, &limits);
    let records: Vec<(i32, Sample)> = [0, 1, 0, 2, 1]
        .iter()
        .zip(0..)
        .map(|(partition, offset)| (*partition, Sample::plain(offset, 40)))
        .collect();
    for (at, (partition, sample)) in records.iter().enumerate() {
        append(&mut batch, &mut pool, *partition, std::slice::from_ref(sample), at as u64);
    }
    batch.drop_partition(Slot(0));
    batch.drop_partition(Slot(7));
    assert_eq!(batch.records(), 3);
    append(&mut batch, &mut pool, 1, &[Sample::plain(9, 5)], 9);
    let bytes = batch.payload_bytes();
    let sealed = batch.seal(FlushCause::Drain, Nanos(9));
    let mut left: Vec<(i32, Sample)> = records.into_iter().filter(|(partition, _)| *partition != 0).collect();
    left.push((1, Sample::plain(9, 5)));
    assert_eq!(text(&sealed.whole()), expected(&left, 0..4));
    assert_eq!(sealed.whole().len(), bytes);
    assert_eq!(sealed.entries().map(|entry| entry.offset.0).collect::<Vec<_>>(), [1, 3, 4, 9]);
}

#[test]
fn a_batch_that_lost_its_last_partition_is_empty_and_starts_anew() {
    let limits = limits(100, 100_000);
    let mut pool = pool(&limits);
    let mut batch = open(&mut pool, &limits);
    append(&mut batch, &mut pool, 0, &[Sample::plain(0, 40)], 1);
    batch.drop_partition(Slot(0));
    assert!(batch.is_empty());
    assert_eq!(batch.deadline(), None);
    append(&mut batch, &mut pool, 0, &[Sample::plain(1, 40)], 5);
    assert_eq!(batch.opened_at(), Some(Nanos(5)));
    assert_eq!(
        text(&batch.seal(FlushCause::Window, Nanos(6)).whole()),
        expected(&[(0, Sample::plain(1, 40))], 0..1)
    );
}

#[test]
fn a_buffer_is_lent_again_only_when_nobody_reads_it() {
    let limits = limits(10, 1000);
    let mut pool = Pool::new(0, 1000, 10);
    let mut batch = open(&mut pool, &limits);
    assert!(pool.acquire().is_none());
    append(&mut batch, &mut pool, 0, &[Sample::plain(0, 40)], 1);
    let sealed = batch.seal(FlushCause::Window, Nanos(6));
    let frame = sealed.whole().frames().nth(2).expect("the records");
    pool.give_back(sealed);
    assert!(pool.acquire().is_none());
    assert_eq!(pool.in_use(), 1);
    assert!(frame.starts_with(b"{\"topic\""));
    drop(frame);
    assert!(pool.acquire().is_some());
}

#[test]
fn memory_that_the_budget_denies_fills_a_batch_and_stops_an_empty_one() {
    let limits = limits(1000, 3 << 20);
    // Raised to what one full batch needs.
    let mut pool = Pool::new(0, 3 << 20, 1000);
    let value = 700 << 10;
    let samples: Vec<Sample> = (0..3).map(|offset| Sample::plain(offset, value)).collect();
    let mut first = open(&mut pool, &limits);
    assert_eq!(append(&mut first, &mut pool, 0, &samples[..2], 0).stop, None);
    let mut second = open(&mut pool, &limits);
    let memory = Some(Stop::Full(FlushCause::Memory));
    assert_eq!(append(&mut second, &mut pool, 1, &samples[2..], 0), Appended { taken: 0, stop: memory });
    assert_eq!(second.due(Nanos::NEVER), None);
    assert!(pool.touched_bytes() < 7 << 19);
    pool.give_back(second);
    drop(first);
    let mut third = open(&mut pool, &limits);
    assert_eq!(append(&mut third, &mut pool, 1, &samples, 0).taken, 3);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_batch_and_any_part_of_it_is_the_reference_event(
        runs in prop::collection::vec((0..3_i32, prop::collection::vec(Sample::any(80), 1..5)), 1..8),
        picks: Vec<bool>,
    ) {
        let records: Vec<(i32, Sample)> = runs
            .iter()
            .flat_map(|(partition, samples)| samples.iter().map(|sample| (*partition, sample.clone())))
            .collect();
        for tier in Tier::available() {
            let limits = limits(1000, 1_000_000);
            let mut pool = pool(&limits).with_tier(tier);
            let mut batch = open(&mut pool, &limits);
            for (at, (partition, samples)) in runs.iter().enumerate() {
                let appended = append(&mut batch, &mut pool, *partition, samples, at as u64);
                prop_assert_eq!(appended, Appended { taken: samples.len(), stop: None });
            }
            let sealed = batch.seal(FlushCause::Drain, Nanos(0));
            let whole = text(&sealed.whole());
            prop_assert_eq!(&whole, &expected(&records, 0..records.len()));
            serde_json::from_str::<serde_json::Value>(&whole).expect("an event is JSON");

            let picked = |at: &usize| picks.get(*at).copied().unwrap_or(at.is_multiple_of(2));
            let selected: Vec<usize> = (0..records.len()).filter(picked).collect();
            let part = sealed.part(selected.iter().map(|at| *at as u32..*at as u32 + 1));
            prop_assert_eq!(text(&part), expected(&records, selected.iter().copied()));
            prop_assert_eq!(part.records() as usize, selected.len());
        }
    }
}
