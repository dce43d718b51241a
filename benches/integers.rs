//! Integers in their place: records without key, value and headers, which are constant text around
//! offset and timestamp. By our stamp, by `itoa`, by the standard library's formatting, and copied.

use crate::contest::{Front, Role, Row};
use crate::{Headers, Input, Shape, TOPIC, Writer, sized};
use pelton::payload::Tier;
use pelton::record::RecordRef;
use std::io::Write as _;

pub(crate) fn contests(front: &mut dyn Front) {
    let case = "offset and timestamp";
    if !front.wants("integers", case, true) {
        return;
    }
    let count = sized(1000, 10);
    let input = Input::new(Shape { value_bytes: 0, varying: false, headers: Headers::None }, count);
    let mut records = input.records(&[]);
    records.iter_mut().for_each(|record| (record.key, record.value) = (None, None));
    let records = &records[..];
    let expected = with_itoa(records);
    let len = expected.len();
    assert!(with_format(records) == expected, "the peers agree");

    let mut row = Row::new("integers", case, "record", count, 0);
    let mut written = Vec::new();
    Writer::new(Tier::Portable, count).payload(records).write_to(&mut written);
    let around = written.len() - len;
    for tier in Tier::available().filter(|tier| !front.brief() || *tier == Tier::best()) {
        let mut writer = Writer::new(tier, count);
        let mut written = Vec::new();
        writer.payload(records).write_to(&mut written);
        // The first record's comma is not part of an event.
        assert!(
            written.windows(len - 1).any(|part| *part == expected[1..]),
            "{tier} writes what the peers write"
        );
        row.contestant(Role::Pelton, tier, &(len + around), move || writer.write(records, count).1);
    }
    let mut copied = vec![0; len];
    row.contestant(Role::Floor, "memcpy", &len, move || {
        copied.copy_from_slice(&expected);
        copied.len()
    });
    row.contestant(Role::Peer, "itoa", &len, || with_itoa(records).len());
    row.contestant(Role::Peer, "write!", &len, || with_format(records).len());
    front.row(row);
}

fn with_itoa(records: &[RecordRef<'_>]) -> Vec<u8> {
    let mut out = Vec::with_capacity(200 * records.len());
    let mut digits = itoa::Buffer::new();
    for record in records {
        out.extend_from_slice(b",{\"topic\":\"");
        out.extend_from_slice(TOPIC.as_bytes());
        out.extend_from_slice(b"\",\"partition\":");
        out.extend_from_slice(digits.format(record.partition.0).as_bytes());
        out.extend_from_slice(b",\"offset\":");
        out.extend_from_slice(digits.format(record.offset.0).as_bytes());
        out.extend_from_slice(b",\"timestamp\":");
        out.extend_from_slice(digits.format(record.timestamp_ms).as_bytes());
        out.extend_from_slice(b",\"timestampType\":\"");
        out.extend_from_slice(record.timestamp_type.name().as_bytes());
        out.extend_from_slice(b"\",\"headers\":[]}");
    }
    out
}

fn with_format(records: &[RecordRef<'_>]) -> Vec<u8> {
    let mut out = Vec::with_capacity(200 * records.len());
    for record in records {
        let written = write!(
            out,
            r#",{{"topic":"{TOPIC}","partition":{},"offset":{},"timestamp":{},"timestampType":"{}","headers":[]}}"#,
            record.partition.0,
            record.offset.0,
            record.timestamp_ms,
            record.timestamp_type.name()
        );
        written.expect("a `Vec` takes everything");
    }
    out
}
