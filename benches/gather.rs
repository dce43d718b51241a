//! An event whose records are scattered over the arena: the partitions of a batch interleaved record
//! by record. What an HTTP body asks for is `frames`, which copies nothing; `write_to` copies. The
//! peer keeps each record's JSON in a `Vec` of its own, by partition, and joins them when it sends.

use crate::contest::{Front, Role, Row};
use crate::{Headers, Input, Shape, Writer, interleaved, sized, value_bytes};
use pelton::batch::Payload;
use pelton::payload::Tier;
use std::hint::black_box;

const VALUE_BYTES: usize = 256;

pub(crate) fn contests(front: &mut dyn Front) {
    for partitions in [1, 2, 16, 256] {
        let case = if partitions == 1 { "contiguous".to_owned() } else { format!("{partitions} partitions") };
        if front.wants("gather/send", &case, true) {
            send(front, &case, partitions);
        }
    }
    for partitions in [1, 2, 16, 256] {
        let case = format!("{partitions} partitions, runs of 1");
        if front.wants("gather/write", &case, partitions == 16) {
            write(front, &case, partitions);
        }
    }
}

fn send(front: &mut dyn Front, case: &str, partitions: usize) {
    let count = sized(1024, 8);
    let payload = interleaved(count, VALUE_BYTES, partitions);
    let len = payload.len();
    let mut event = Vec::new();
    payload.write_to(&mut event);
    let framed: Vec<u8> = payload.frames().flatten().collect();
    assert!(framed == event, "the frames are the event");
    let scattered = scattered(&payload);
    assert!(joined(&scattered, &event) == event, "the peer joins the same event");

    let (event, payload) = (&event[..], &payload);
    let mut row = Row::new("gather/send", case, "record", count, 0);
    row.contestant(Role::Pelton, "frames", &len, move || {
        payload.frames().map(|frame| black_box(&frame[..]).len()).sum::<usize>()
    });
    let mut out = Vec::with_capacity(len);
    row.contestant(Role::Pelton, "write_to", &len, move || {
        out.clear();
        payload.write_to(&mut out);
        out.len()
    });
    let mut copied = vec![0; len];
    row.contestant(Role::Floor, "memcpy", &len, move || {
        copied.copy_from_slice(event);
        copied.len()
    });
    row.contestant(Role::Peer, "join Vecs", &len, move || joined(&scattered, event).len());
    front.row(row);
}

/// Each partition's key and its records' JSON, every one in an allocation of its own.
fn scattered(payload: &Payload) -> Vec<(Vec<u8>, Vec<Vec<u8>>)> {
    let mut partitions: Vec<(Vec<u8>, Vec<Vec<u8>>)> = Vec::new();
    for entry in payload.entries() {
        let mut event = Vec::new();
        payload.batch().part(std::iter::once(entry.position..entry.position + 1)).write_to(&mut event);
        let event = &event[head_len(&event)..event.len() - "]}}".len()];
        let key_len = event.iter().position(|byte| *byte == b'[').map_or(0, |at| at + 1);
        let (key, record) = event.split_at(key_len);
        match partitions.iter_mut().find(|(known, _)| known == key) {
            Some((_, records)) => records.push(record.to_vec()),
            None => partitions.push((key.to_vec(), vec![record.to_vec()])),
        }
    }
    partitions
}

/// Where an event's first key begins.
fn head_len(event: &[u8]) -> usize {
    const RECORDS: &[u8] = b"\"records\":{";
    event.windows(RECORDS.len()).position(|part| part == RECORDS).map_or(0, |at| at + RECORDS.len())
}

fn joined(partitions: &[(Vec<u8>, Vec<Vec<u8>>)], event: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(&event[..head_len(event)]);
    for (at, (key, records)) in partitions.iter().enumerate() {
        out.extend_from_slice(if at == 0 { b"" } else { b"]," });
        out.extend_from_slice(key);
        for (at, record) in records.iter().enumerate() {
            out.extend_from_slice(if at == 0 { b"" } else { b"," });
            out.extend_from_slice(record);
        }
    }
    out.extend_from_slice(b"]}}");
    out
}

/// Writing records of many partitions one by one, beside writing them as one run.
fn write(front: &mut dyn Front, case: &str, partitions: usize) {
    let count = sized(1024, 8);
    let shape = Shape { value_bytes: VALUE_BYTES, varying: false, headers: Headers::None };
    let input = Input::new(shape, count);
    let records = &input.records(&[])[..];
    let mut row = Row::new("gather/write", case, "record", count, value_bytes(records));
    let bytes = Writer::of_partitions(partitions, Tier::best(), count).write(records, 1).1;
    let mut writer = Writer::of_partitions(partitions, Tier::best(), count);
    row.contestant(Role::Pelton, Tier::best(), &bytes, move || writer.write(records, 1).1);
    let mut writer = Writer::new(Tier::best(), count);
    let one = Writer::new(Tier::Portable, count).write(records, count).1;
    row.contestant(Role::Floor, "one run", &one, move || writer.write(records, count).1);
    front.row(row);
}
