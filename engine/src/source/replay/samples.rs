//! Captures for the tests, and what they should be.

use super::fuzz::with_record;
use super::{CaptureReader, CaptureWriter, Damage, Header, Keep, frame};
use crate::ids::{Offset, Partition};
use crate::record::{Header as RecordHeader, RecordRef, TimestampType};

/// A record that owns its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owned {
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) timestamp_ms: i64,
    pub(super) timestamp_type: TimestampType,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Owned {
    pub(super) fn plain(offset: i64, value: &[u8]) -> Self {
        Self {
            partition: 0,
            offset,
            timestamp_ms: 1_700_000_000_000 + offset,
            timestamp_type: TimestampType::CreateTime,
            key: None,
            value: Some(value.to_vec()),
            headers: Vec::new(),
        }
    }

    pub(super) fn show<T>(&self, show: impl FnOnce(&RecordRef<'_>) -> T) -> T {
        let headers: Vec<_> =
            self.headers.iter().map(|(name, value)| RecordHeader { name, value: value.as_deref() }).collect();
        show(&RecordRef {
            partition: Partition(self.partition),
            offset: Offset(self.offset),
            timestamp_ms: self.timestamp_ms,
            timestamp_type: self.timestamp_type,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers: &headers,
        })
    }

    pub(super) fn of(record: &RecordRef<'_>) -> Self {
        Self {
            partition: record.partition.0,
            offset: record.offset.0,
            timestamp_ms: record.timestamp_ms,
            timestamp_type: record.timestamp_type,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: record
                .headers
                .iter()
                .map(|header| (header.name.to_vec(), header.value.map(<[u8]>::to_vec)))
                .collect(),
        }
    }
}

pub(super) fn header() -> Header {
    Header {
        topic: "orders".into(),
        partitions: 3,
        captured_at_ms: 1_700_000_000_000,
        origin: "a test".into(),
    }
}

/// A capture with these records in each of its blocks.
pub(super) fn capture(blocks: &[Vec<Owned>], keep: Keep) -> Vec<u8> {
    let mut writer = CaptureWriter::new(Vec::new(), "test", &header(), keep, 0xfeed).expect("memory");
    for block in blocks {
        for record in block {
            record.show(|record| writer.append(record)).expect("small");
        }
        writer.flush().expect("memory");
    }
    writer.finish().expect("memory").0
}

/// What a reader makes of `bytes`: the blocks by number, and the damage.
pub(super) fn read(bytes: &[u8]) -> (Vec<(u64, Vec<Owned>)>, Vec<Damage>) {
    let mut reader = CaptureReader::open(bytes, "test").expect("a capture");
    let mut blocks = Vec::new();
    while let Some(block) = reader.next_block().expect("memory") {
        let records = block.records().map(|record| with_record(&record, Owned::of)).collect();
        blocks.push((block.number, records));
    }
    (blocks, reader.damages().to_vec())
}

/// Where each frame of a sound capture begins, and where the last one ends.
pub(super) fn frames(bytes: &[u8]) -> Vec<usize> {
    let mut starts = vec![0];
    while let Ok(head) = frame::Head::read(&bytes[starts[starts.len() - 1]..]) {
        starts.push(starts[starts.len() - 1] + head.frame_bytes());
    }
    starts
}

pub(super) fn small_blocks(count: i64) -> Vec<Vec<Owned>> {
    (0..count).map(|block| (0..3).map(|at| Owned::plain(block * 3 + at, b"some value")).collect()).collect()
}

/// Inputs that earlier runs of the fuzz target found worth keeping, and what makes them.
pub(super) fn corpus() -> Vec<Vec<u8>> {
    let sound = capture(&small_blocks(3), Keep::Whole);
    let starts = frames(&sound);
    let mut flipped = sound.clone();
    flipped[starts[2] + 3] ^= 0x10;
    vec![
        sound.clone(),
        capture(&small_blocks(2), Keep::Sizes),
        sound[..starts[2] + 20].to_vec(),
        flipped,
        [&sound[..starts[1]], &sound[starts[2]..]].concat(),
        sound[starts[1]..].to_vec(),
        Vec::new(),
        b"\x89PLTNC\r\n".to_vec(),
    ]
}
