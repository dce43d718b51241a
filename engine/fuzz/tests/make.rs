
use pelton::source::replay::{CaptureWriter, Header, Keep};
use pelton::record::{Header as H, RecordRef, TimestampType};
use pelton::ids::{Offset, Partition};
#[test]
fn make() {
    for (name, keep) in [("whole", Keep::Whole), ("sizes", Keep::Sizes)] {
        let header = Header { topic: "orders".into(), partitions: 2, captured_at_ms: 1_700_000_000_000, origin: "a test".into() };
        let mut writer = CaptureWriter::new(Vec::new(), "x", &header, keep, 1).unwrap();
        let headers = [H { name: b"trace", value: Some(b"\x80\x01") }, H { name: b"trace", value: None }];
        for at in 0..12i64 {
            let record = RecordRef { partition: Partition((at % 2) as i32), offset: Offset(100 + at), timestamp_ms: 1_700_000_000_000 + at,
                timestamp_type: TimestampType::CreateTime, key: (at % 3 != 0).then_some(&b"key"[..]), value: (at % 4 != 0).then_some(&b"some value of a record"[..]),
                headers: if at % 5 == 0 { &headers } else { &[] } };
            writer.append(&record).unwrap();
        }
        let bytes = writer.finish().unwrap().0;
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/capture/");
        std::fs::write(format!("{folder}{name}"), &bytes).unwrap();
        std::fs::write(format!("{folder}{name}-cut"), &bytes[..bytes.len() - 30]).unwrap();
        let mut flipped = bytes.clone(); let at = bytes.len() / 2; flipped[at] ^= 0x40;
        std::fs::write(format!("{folder}{name}-flipped"), &flipped).unwrap();
    }
}
