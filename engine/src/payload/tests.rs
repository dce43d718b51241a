//! The writer against the reference: every tier, in buffers that are exactly as large as needed and
//! end where memory ends, from input that begins and ends there too. `kernels` does the same for
//! each routine by itself.

use super::kernel::SPILL_BYTES;
use super::samples::{Sample, with_records};
use super::stamp::Stamp;
use super::writer::{RunOut, Written};
use super::{Template, Tier, encoded_len, write_run};
use crate::ids::Offset;
use crate::ids::{Partition, Topic};
use crate::payload::buffer::IndexEntry;
use crate::payload::reference::record_json;
use crate::record::{Header, Record, RecordRef, TimestampType};
use pages::{Pages, Place};
use proptest::prelude::*;
use std::cell::RefCell;

mod kernels;
mod pages;

/// A fraction of the cases that a property test has by default, or by `PROPTEST_CASES`.
fn cases(fraction: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig { cases: (default.cases / fraction).max(1), ..default }
}

thread_local! {
    static OUT: RefCell<Pages> = RefCell::new(Pages::new(4 << 20));
}

/// Writes `records` into exactly `room` bytes and the slack at `place`, and returns what was written.
fn written_at<R: Record>(
    place: Place,
    tier: Tier,
    template: &Template,
    records: &[R],
    room: usize,
    exact: bool,
) -> (Written, Vec<u8>) {
    const CANARY: u8 = 0xee;
    /// Where the run begins in its arena.
    const START: u32 = 1_000_000;
    let mut index = vec![IndexEntry::default(); records.len()];
    let (written, text) = OUT.with_borrow_mut(|pages| {
        let bytes = pages.range(place, room + SPILL_BYTES);
        let memory = pages.all_mut();
        let (before, behind) = (bytes.start.saturating_sub(64), (bytes.end + 64).min(memory.len()));
        memory[before..behind].fill(CANARY);
        let out = RunOut {
            bytes: &mut memory[bytes.clone()],
            room,
            exact,
            index: &mut index,
            start: START,
            stamp: &mut Stamp::EMPTY.clone(),
        };
        let written = write_run(tier, template, records, out);
        let outside = memory[before..bytes.start].iter().chain(&memory[bytes.end..behind]);
        assert!(outside.copied().all(|byte| byte == CANARY), "{tier} wrote outside of its room");
        (written, memory[bytes][..written.bytes].to_vec())
    });
    let mut start = START as usize;
    for (record, entry) in records.iter().zip(&index[..written.records]) {
        assert_eq!((entry.offset, entry.timestamp_ms), (record.offset().0, record.timestamp_ms()));
        assert_eq!(entry.start as usize, start);
        start += encoded_len(template, record);
    }
    assert_eq!(START as usize + written.bytes, start, "{tier}: the bytes are those of the records");
    (written, text)
}

/// The same where memory ends behind the slack.
fn written<R: Record>(
    tier: Tier,
    template: &Template,
    records: &[R],
    room: usize,
    exact: bool,
) -> (Written, Vec<u8>) {
    written_at(Place::Last, tier, template, records, room, exact)
}

fn reference<R: Record>(topic: &Topic, records: &[R]) -> Vec<u8> {
    let mut text = Vec::new();
    for record in records {
        text.push(b',');
        text.extend_from_slice(record_json(topic, record).as_bytes());
    }
    text
}

/// Checks a run on every tier, in a buffer that it fills to the last byte, and in one that is one
/// byte too small.
fn check<R: Record>(topic: &Topic, records: &[R]) {
    let template = Template::new(topic, records[0].partition());
    let expected = reference(topic, records);
    let len: usize = records.iter().map(|record| encoded_len(&template, record)).sum();
    assert_eq!(len, expected.len());
    for tier in Tier::available() {
        let (all, text) = written(tier, &template, records, len, true);
        assert_eq!(String::from_utf8_lossy(&text), String::from_utf8_lossy(&expected), "{tier}");
        assert_eq!(all, Written { records: records.len(), bytes: len });
        let (fewer, text) = written(tier, &template, records, len - 1, true);
        assert_eq!(fewer.records, records.len() - 1);
        assert!(expected.starts_with(&text));
        let (bounded, text) = written(tier, &template, records, len, false);
        assert!(bounded.bytes <= len && expected.starts_with(&text));
        // No bound is more than six times what it bounds, nor more than twice without headers.
        let plenty = if records.iter().any(|record| record.headers().next().is_some()) { 6 } else { 2 };
        let (bounded, text) = written(tier, &template, records, plenty * len, false);
        assert_eq!(String::from_utf8_lossy(&text), String::from_utf8_lossy(&expected), "{tier}");
        assert_eq!(bounded, all);
    }
}

fn record<'r>(key: Option<&'r [u8]>, value: Option<&'r [u8]>, headers: &'r [Header<'r>]) -> RecordRef<'r> {
    RecordRef {
        partition: Partition(0),
        offset: Offset(15),
        timestamp_ms: 1_545_084_650_987,
        timestamp_type: TimestampType::CreateTime,
        key,
        value,
        headers,
    }
}

#[test]
fn every_length_up_to_300_is_written_without_reading_outside_of_it() {
    let input = Pages::filled(4096);
    let topic = Topic::new("my-topic");
    for bytes in 0..=300 {
        for place in [Place::First, Place::Last] {
            let slice = input.at(place, bytes);
            check(&topic, &[record(None, Some(slice), &[])]);
            check(&topic, &[record(Some(slice), None, &[])]);
            let headers = [Header { name: b"n", value: Some(slice) }, Header { name: slice, value: None }];
            check(&topic, &[record(Some(slice), Some(slice), &headers)]);
        }
    }
}

#[test]
fn records_are_right_from_every_alignment_to_every_alignment() {
    let input = Pages::filled(4096);
    let topic = Topic::new("my-topic");
    let template = Template::new(&topic, Partition(0));
    for from in 0..64 {
        let [key, value, name] = [19, 130, 40].map(|bytes| input.at(Place::Aligned(from), bytes));
        let headers = [Header { name: b"plain", value: Some(key) }, Header { name, value: Some(b"") }];
        let records = [record(Some(key), Some(value), &headers), record(None, Some(key), &[])];
        let expected = reference(&topic, &records);
        for tier in Tier::available() {
            for to in 0..64 {
                let place = Place::Aligned(to);
                let (_, text) = written_at(place, tier, &template, &records, expected.len(), true);
                assert!(text == expected, "{tier}, from {from} to {to}: {}", String::from_utf8_lossy(&text));
            }
        }
    }
}

#[test]
fn lengths_around_every_block_of_the_kernels_are_right() {
    let input = Pages::filled(200_000);
    let topic = Topic::new("t");
    let lengths = (300..1100).step_by(7).chain([1023, 1024, 1025, 4095, 10_240, 99_999, 131_072]);
    for bytes in lengths {
        for place in [Place::First, Place::Last] {
            check(&topic, &[record(Some(b"k"), Some(input.at(place, bytes)), &[])]);
        }
    }
}

#[test]
fn every_plain_name_up_to_100_bytes_is_copied() {
    let name = "abcdefghij-".repeat(10);
    for bytes in 0..=100 {
        let headers = [Header { name: &name.as_bytes()[..bytes], value: Some(b"\x80\x7f\x00") }];
        check(&Topic::new("t"), &[record(None, None, &headers)]);
    }
}

#[test]
fn every_byte_is_right_in_every_place_of_a_header() {
    let all: Vec<u8> = (0..=255).chain((0..=255).rev()).collect();
    for from in 0..13 {
        let headers = [Header { name: b"h", value: Some(&all[from..]) }];
        check(&Topic::new("t"), &[record(None, None, &headers)]);
    }
    for byte in 0..=255 {
        let name = [b'a', byte, b'b'];
        let headers = [Header { name: &name, value: Some(&[byte]) }];
        check(&Topic::new("t"), &[record(None, None, &headers)]);
    }
}

#[test]
fn offsets_and_timestamps_are_right_wherever_their_digits_change() {
    let edges: Vec<i64> = (0..=18)
        .map(|power| 10_i64.pow(power))
        .flat_map(|power| [power - 2, power - 1, power, power + 1, -power])
        .chain([i64::MIN, i64::MIN + 1, i64::MAX - 1, i64::MAX, 199_999_999, 200_000_000])
        .collect();
    for topic in ["t", "a-topic-of-ordinary-length"] {
        // One run, so that each follows from the one before.
        let records: Vec<RecordRef<'_>> = edges
            .iter()
            .enumerate()
            .map(|(at, number)| RecordRef {
                partition: Partition(i32::MAX),
                offset: Offset(*number),
                timestamp_ms: edges[edges.len() - 1 - at],
                ..record(Some(b"k"), None, &[])
            })
            .collect();
        check(&Topic::new(topic), &records);
    }
}

#[test]
fn the_greatest_number_is_not_followed_by_the_least() {
    let numbers = [i64::MAX - 1, i64::MIN + 1, i64::MAX, i64::MIN, i64::MAX - 300_000_000, i64::MIN + 300];
    let with = |(offset, timestamp_ms)| RecordRef {
        offset: Offset(offset),
        timestamp_ms,
        ..record(Some(b"k"), None, &[])
    };
    check(&Topic::new("t"), &numbers.map(|number| with((number, 5))));
    check(&Topic::new("t"), &numbers.map(|number| with((5, number))));
}

#[test]
fn headers_that_do_not_fit_end_a_run_before_their_record() {
    let topic = Topic::new("orders");
    let template = Template::new(&topic, Partition(0));
    for name in ["plain", "es\"caped", "longer-than-a-register-of-32-bytes-can-hold"] {
        let headers = [
            Header { name: b"first", value: Some(&[200; 40]) },
            Header { name: name.as_bytes(), value: None },
        ];
        let records = [&headers[..], &[], &headers[..1], &headers, &headers]
            .map(|headers| RecordRef { headers, ..record(Some(b"key"), Some(b"value"), &[]) });
        let expected = reference(&topic, &records);
        for tier in Tier::available() {
            for room in 0..=expected.len() {
                for exact in [false, true] {
                    let (written, text) = written(tier, &template, &records, room, exact);
                    assert!(written.bytes <= room && expected.starts_with(&text));
                    let next = records.get(written.records).map(|next| encoded_len(&template, next));
                    let fits = next.is_some_and(|next| written.bytes + next <= room);
                    assert!(!exact || !fits, "{tier}: the next one fits too");
                }
            }
        }
    }
}

#[test]
fn timestamp_types_keys_and_values_may_change_from_record_to_record() {
    let types = [TimestampType::CreateTime, TimestampType::None, TimestampType::LogAppendTime];
    let parts = [None, Some(&b""[..]), Some(b"x")];
    let mut records = Vec::new();
    for timestamp_type in types {
        for key in parts {
            for value in parts {
                records.push(RecordRef { timestamp_type, ..record(key, value, &[]) });
            }
        }
    }
    check(&Topic::new("t"), &records);
}

#[test]
fn topics_of_any_length_and_content_are_written() {
    for topic in ["", "\"", "a\\b\u{1}", "ä", &"x".repeat(249), &"y".repeat(3000), &"\u{1}".repeat(249)] {
        let partition = Partition(-1);
        let records = [record(Some(b"key"), Some(b"value"), &[]), record(None, None, &[])];
        let records = records.map(|record| RecordRef { partition, ..record });
        check(&Topic::new(topic), &records);
    }
}

proptest! {
    #[test]
    fn any_run_of_records_is_the_reference(samples in prop::collection::vec(Sample::any(300), 1..6)) {
        with_records(Partition(3), &samples, |records| check(&Topic::new("orders"), records));
    }
}

proptest! {
    #![proptest_config(cases(8))]

    #[test]
    fn large_records_are_the_reference(sample in Sample::any(20_000)) {
        with_records(Partition(3), &[sample], |records| check(&Topic::new("orders"), records));
    }

    #[test]
    fn values_up_to_a_mebibyte_are_the_reference(bytes in 20_000..=1_usize << 20) {
        let value = Pages::filled(bytes);
        let value = value.at(Place::Last, bytes);
        check(&Topic::new("orders"), &[record(Some(b"k"), Some(value), &[])]);
    }
}
