//! Any bytes as a capture: the body of a fuzz target, which the tests run too.

use super::{CaptureReader, CaptureWriter, CapturedRecord, Header, Keep, Part, Totals};
use crate::record::{Header as RecordHeader, RecordRef};

/// Reads `bytes` as a capture, to its end. What was found whole must make sense, and, written
/// again, read back as the same.
///
/// # Panics
/// If it does not: that is a bug.
pub fn capture(bytes: &[u8]) {
    let Ok(mut reader) = CaptureReader::open(bytes, "fuzz") else { return };
    let header = reader.header().cloned().unwrap_or_else(|| Header {
        topic: String::new(),
        partitions: 0,
        captured_at_ms: 0,
        origin: String::new(),
    });
    let mut writer = CaptureWriter::new(Vec::new(), "again", &header, Keep::Whole, 1).expect("memory");
    let mut totals = Totals::default();
    while let Some(block) = reader.next_block().expect("memory does not fail, and there is one version") {
        let mut seen = 0;
        for record in block.records() {
            seen += 1;
            record.count(&mut totals);
            if block.keep == Keep::Whole {
                with_record(&record, |whole| writer.append(whole)).expect("it was in a block before");
            }
        }
        assert_eq!(seen, block.len(), "every record of a whole block is handed out");
    }
    assert_eq!(totals, reader.totals());
    assert!(reader.bytes() <= bytes.len() as u64);
    let written = writer.totals();
    let again = writer.finish().expect("memory").0;
    let mut reader = CaptureReader::open(&again[..], "again").expect("just written");
    while reader.next_block().expect("memory").is_some() {}
    assert_eq!((reader.damages(), reader.totals()), (&[][..], written));
}

/// Shows a whole record as a [`RecordRef`]. Parts of which only sizes are known become empty.
pub fn with_record<T>(record: &CapturedRecord<'_>, show: impl FnOnce(&RecordRef<'_>) -> T) -> T {
    let bytes = |part| match part {
        Part::Bytes(bytes) => bytes,
        Part::Size(_) | Part::Hashed { .. } => &[][..],
    };
    let headers: Vec<RecordHeader<'_>> = record
        .headers
        .clone()
        .map(|header| RecordHeader { name: bytes(header.name), value: header.value.map(bytes) })
        .collect();
    show(&RecordRef {
        partition: record.partition,
        offset: record.offset,
        timestamp_ms: record.timestamp_ms,
        timestamp_type: record.timestamp_type,
        key: record.key.map(bytes),
        value: record.value.map(bytes),
        headers: &headers,
    })
}
