//! The format, from both ends: round trips, prefixes, flipped bytes, missing and repeated blocks.

use proptest::prelude::*;

use super::fuzz::{self, with_record};
use super::*;
use crate::ids::{Offset, Partition};
use crate::record::{Header as RecordHeader, RecordRef, TimestampType};

/// A record that owns its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Owned {
    partition: i32,
    offset: i64,
    timestamp_ms: i64,
    timestamp_type: TimestampType,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Owned {
    fn plain(offset: i64, value: &[u8]) -> Self {
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

    fn show<T>(&self, show: impl FnOnce(&RecordRef<'_>) -> T) -> T {
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

    fn of(record: &RecordRef<'_>) -> Self {
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

fn any_record() -> impl Strategy<Value = Owned> {
    let bytes = |len| prop::collection::vec(any::<u8>(), 0..len);
    let kind = prop_oneof![
        Just(TimestampType::None),
        Just(TimestampType::CreateTime),
        Just(TimestampType::LogAppendTime)
    ];
    let place = (prop_oneof![0..3i32, any::<i32>()], prop_oneof![0..100i64, any::<i64>()]);
    (
        place,
        prop_oneof![Just(-1), 1_700_000_000_000..1_700_000_010_000i64, any::<i64>()],
        kind,
        prop::option::of(bytes(20)),
        prop::option::of(bytes(200)),
        prop::collection::vec((bytes(8), prop::option::of(bytes(8))), 0..4),
    )
        .prop_map(|((partition, offset), timestamp_ms, timestamp_type, key, value, headers)| Owned {
            partition,
            offset,
            timestamp_ms,
            timestamp_type,
            key,
            value,
            headers,
        })
}

fn header() -> Header {
    Header {
        topic: "orders".into(),
        partitions: 3,
        captured_at_ms: 1_700_000_000_000,
        origin: "a test".into(),
    }
}

/// A capture with these records in each of its blocks.
fn capture(blocks: &[Vec<Owned>], keep: Keep) -> Vec<u8> {
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
fn read(bytes: &[u8]) -> (Vec<(u64, Vec<Owned>)>, Vec<Damage>) {
    let mut reader = CaptureReader::open(bytes, "test").expect("a capture");
    let mut blocks = Vec::new();
    while let Some(block) = reader.next_block().expect("memory") {
        let records = block.records().map(|record| with_record(&record, Owned::of)).collect();
        blocks.push((block.number, records));
    }
    (blocks, reader.damages().to_vec())
}

/// Where each frame of a sound capture begins, and where the last one ends.
fn frames(bytes: &[u8]) -> Vec<usize> {
    let mut starts = vec![0];
    while let Ok(head) = frame::Head::read(&bytes[starts[starts.len() - 1]..]) {
        starts.push(starts[starts.len() - 1] + head.frame_bytes());
    }
    starts
}

fn small_blocks(count: i64) -> Vec<Vec<Owned>> {
    (0..count).map(|block| (0..3).map(|at| Owned::plain(block * 3 + at, b"some value")).collect()).collect()
}

#[test]
fn a_capture_says_what_it_is() {
    let bytes = capture(&small_blocks(2), Keep::Whole);
    let mut reader = CaptureReader::open(&bytes[..], "test").expect("a capture");
    assert_eq!(reader.header(), Some(&header()));
    let block = reader.next_block().expect("memory").expect("the first");
    assert_eq!((block.len(), block.earliest_ms, block.latest_ms), (3, 1_700_000_000_000, 1_700_000_000_002));
    while reader.next_block().expect("memory").is_some() {}
    let totals = Totals { records: 6, value_bytes: 60, ..Totals::default() };
    assert_eq!((reader.totals(), reader.claimed()), (totals, Some(totals)));
    assert_eq!(reader.bytes(), bytes.len() as u64);
}

#[test]
fn an_empty_capture_is_whole() {
    assert_eq!(read(&capture(&[], Keep::Whole)), (vec![], vec![]));
}

#[test]
fn sizes_tell_sizes_and_equal_keys_and_no_byte_of_content() {
    let record = |key: &[u8], offset| Owned {
        key: Some(key.to_vec()),
        headers: vec![(b"secret-name".to_vec(), Some(b"secret-header".to_vec())), (b"n".to_vec(), None)],
        ..Owned::plain(offset, b"secret-value")
    };
    let records = vec![record(b"secret-key", 0), record(b"another-key", 1), record(b"secret-key", 2)];
    let bytes = capture(std::slice::from_ref(&records), Keep::Sizes);
    assert!(!bytes.windows(6).any(|bytes| bytes == b"secret"));
    let mut reader = CaptureReader::open(&bytes[..], "test").expect("a capture");
    let block = reader.next_block().expect("memory").expect("a block");
    let seen: Vec<_> = block.records().collect();
    assert_eq!(seen.iter().map(|record| record.value).collect::<Vec<_>>(), [Some(Part::Size(12)); 3]);
    assert_ne!(seen[0].key, seen[1].key);
    assert_eq!(seen[0].key, seen[2].key);
    assert!(matches!(seen[0].key, Some(Part::Hashed { bytes: 10, .. })));
    let headers: Vec<_> = seen[1].headers.clone().map(|header| (header.name, header.value)).collect();
    assert_eq!(headers, [(Part::Size(11), Some(Part::Size(13))), (Part::Size(1), None)]);
    // Another capture of the same records hashes their keys otherwise.
    assert_ne!(bytes, capture(&[records], Keep::Sizes));
}

#[test]
fn a_large_block_is_compressed_and_an_incompressible_one_is_not_blown_up() {
    let text = b"the same words again and again, ".repeat(1_000);
    let bytes = capture(&[vec![Owned::plain(0, &text)]], Keep::Whole);
    assert!(bytes.len() < text.len() / 20, "{}", bytes.len());
    let noise: Vec<u8> = (0..50_000_u64)
        .map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32).wrapping_mul(at).to_le_bytes()[3])
        .collect();
    let bytes = capture(&[vec![Owned::plain(0, &noise)]], Keep::Whole);
    assert!(bytes.len() < noise.len() + 500, "{}", bytes.len());
    assert_eq!(read(&bytes).0[0].1[0].value.as_deref(), Some(&noise[..]));
}

#[test]
fn blocks_are_closed_by_size_and_by_records() {
    let mut writer = CaptureWriter::new(Vec::new(), "test", &header(), Keep::Sizes, 1).expect("memory");
    let record = Owned::plain(0, b"");
    for _ in 0..=BLOCK_RECORDS_MAX {
        record.show(|record| writer.append(record)).expect("small");
    }
    let bytes = writer.finish().expect("memory").0;
    let mut reader = CaptureReader::open(&bytes[..], "test").expect("a capture");
    assert_eq!(reader.next_block().expect("memory").map(|block| block.len()), Some(BLOCK_RECORDS_MAX));
    assert_eq!(reader.next_block().expect("memory").map(|block| block.len()), Some(1));
    let large = Owned::plain(0, &vec![7; BLOCK_BYTES]);
    let (blocks, damages) = read(&capture(&[vec![large.clone(), large]], Keep::Whole));
    assert_eq!((blocks.len(), damages.len()), (2, 0));
}

#[test]
fn a_record_that_no_block_holds_is_refused_and_the_rest_goes_on() {
    let mut writer = CaptureWriter::new(Vec::new(), "test", &header(), Keep::Whole, 1).expect("memory");
    let large = Owned::plain(5, &vec![0; RECORD_BYTES_MAX]);
    let error = large.show(|record| writer.append(record)).expect_err("too large").to_string();
    assert!(error.contains("0@5") && error.contains("66060288"), "{error}");
    Owned::plain(6, b"x").show(|record| writer.append(record)).expect("small");
    let (blocks, damages) = read(&writer.finish().expect("memory").0);
    assert_eq!((blocks, damages), (vec![(0, vec![Owned::plain(6, b"x")])], vec![]));
}

#[test]
fn what_is_no_capture_is_refused() {
    for bytes in [&b""[..], b"\n", b"a text file of some lines\n", &[0; 100_000]] {
        let error = CaptureReader::open(bytes, "notes.txt").expect_err("no capture").to_string();
        assert!(error.contains("notes.txt is not a capture"), "{error}");
    }
    // It does not read the whole of a large one.
    let error = CaptureReader::open(std::io::repeat(b'P'), "endless").expect_err("no capture");
    assert!(matches!(error, CaptureError::NotACapture { .. }), "{error}");
}

#[test]
fn another_version_is_refused_by_name() {
    let mut bytes = capture(&small_blocks(1), Keep::Whole);
    bytes[8] = 2;
    let crc = crc32fast::hash(&bytes[..68]);
    bytes[68..72].copy_from_slice(&crc.to_le_bytes());
    let error = CaptureReader::open(&bytes[..], "new.capture").expect_err("version 2").to_string();
    assert!(error.contains("version 2") && error.contains("version 1"), "{error}");
}

#[test]
fn damage_says_where_and_how_much_is_lost() {
    let blocks = small_blocks(4);
    let mut bytes = capture(&blocks, Keep::Whole);
    let starts = frames(&bytes);
    bytes[starts[2] + frame::HEAD_BYTES] ^= 1;
    let (read, damages) = read(&bytes);
    assert_eq!(read.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [0, 2, 3]);
    let expected = Damage {
        bytes: starts[2] as u64..starts[3] as u64,
        block: 1,
        cause: Cause::Body,
        records_lost: Some(3),
    };
    assert_eq!(damages, [expected]);
    let text = damages[0].to_string();
    assert!(
        text.contains(&format!("byte {}, block 1", starts[2])) && text.contains("3 records lost"),
        "{text}"
    );
}

#[test]
fn blocks_that_were_cut_out_or_put_in_twice_are_noticed() {
    let blocks = small_blocks(5);
    let bytes = capture(&blocks, Keep::Whole);
    let starts = frames(&bytes);
    let cut = [&bytes[..starts[2]], &bytes[starts[4]..]].concat();
    let (found, damages) = read(&cut);
    assert_eq!(found.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [0, 3, 4]);
    assert_eq!((damages.len(), damages[0].cause, damages[0].records_lost), (1, Cause::Missing, Some(6)));
    let twice = [&bytes[..starts[3]], &bytes[starts[2]..]].concat();
    let (found, damages) = read(&twice);
    assert_eq!(found, (0..).zip(blocks.clone()).collect::<Vec<_>>());
    assert_eq!((damages.len(), damages[0].cause), (1, Cause::OutOfPlace));
    // Two captures in one file are the first, and a remark.
    let (found, damages) = read(&[&bytes[..], &bytes[..]].concat());
    assert_eq!((found.len(), damages.len(), damages[0].cause), (5, 1, Cause::Trailing));
}

#[test]
fn bytes_missing_from_the_middle_cost_the_blocks_they_are_missing_from() {
    let blocks = small_blocks(6);
    let bytes = capture(&blocks, Keep::Whole);
    let starts = frames(&bytes);
    let holed = [&bytes[..starts[3] - 5], &bytes[starts[3] + 5..]].concat();
    let (found, damages) = read(&holed);
    assert_eq!(found.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [0, 3, 4, 5]);
    assert_eq!((damages.len(), damages[0].records_lost), (1, Some(6)));
}

#[test]
fn a_capture_within_a_captures_values_is_not_mistaken_for_it() {
    let inner = capture(&small_blocks(2), Keep::Whole);
    let mut writer = CaptureWriter::new(Vec::new(), "test", &header(), Keep::Whole, 7).expect("memory");
    for offset in 0..3 {
        Owned::plain(offset, &inner).show(|record| writer.append(record)).expect("small");
        writer.flush().expect("memory");
    }
    let mut bytes = writer.finish().expect("memory").0;
    let starts = frames(&bytes);
    bytes[starts[2] + 60] ^= 4;
    let (found, damages) = read(&bytes);
    assert_eq!(found.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [0, 2]);
    assert_eq!((damages.len(), damages[0].records_lost), (1, Some(1)));
}

#[test]
fn lengths_of_a_crafted_file_allocate_nothing() {
    // A sound head that promises 64 MiB, and nothing behind it.
    let head = frame::Head {
        kind: frame::Kind::Block(Keep::Whole),
        compressed: false,
        body_bytes: BLOCK_BYTES_MAX as u32,
        raw_bytes: BLOCK_BYTES_MAX as u32,
        records: 1,
        capture: 0xfeed,
        number: 0,
        records_before: 0,
        earliest_ms: 0,
        latest_ms: 0,
        body_crc: 0,
    };
    let sound = capture(&[], Keep::Whole);
    let starts = frames(&sound);
    let bytes = [&sound[..starts[1]], &head.write()[..]].concat();
    let (found, damages) = read(&bytes);
    assert_eq!((found.len(), damages.len(), damages[0].cause), (0, 1, Cause::Truncated));
    let bomb = frame::Head { compressed: true, body_bytes: 100, ..head };
    assert_eq!(frame::Head::read(&bomb.write()), Err(frame::NoHead::Impossible));
}

#[test]
fn a_source_that_fails_is_an_error_with_its_place() {
    #[derive(Debug)]
    struct Failing;
    impl std::io::Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("the disk is gone"))
        }
    }
    let error = CaptureReader::open(Failing, "a.capture").expect_err("fails").to_string();
    assert!(error.contains("a.capture, byte 0") && error.contains("the disk is gone"), "{error}");
}

/// Hands out a few bytes at a time, as pipes do.
struct Dribble<'a>(&'a [u8]);

impl std::io::Read for Dribble<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let len = out.len().min(7).min(self.0.len());
        out[..len].copy_from_slice(&self.0[..len]);
        self.0 = &self.0[len..];
        Ok(len)
    }
}

/// Inputs that earlier runs of the fuzz target found worth keeping, and what makes them.
fn corpus() -> Vec<Vec<u8>> {
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

#[test]
fn the_fuzz_target_takes_its_corpus() {
    for bytes in corpus() {
        fuzz::capture(&bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whole_records_read_back_exactly(blocks in prop::collection::vec(prop::collection::vec(any_record(), 1..20), 0..4)) {
        let bytes = capture(&blocks, Keep::Whole);
        let (found, damages) = read(&bytes);
        prop_assert_eq!(found, (0..).zip(blocks).collect::<Vec<_>>());
        prop_assert!(damages.is_empty(), "{:?}", damages);
        let mut reader = CaptureReader::open(Dribble(&bytes), "pipe").expect("a capture");
        while reader.next_block().expect("memory").is_some() {}
        prop_assert_eq!((reader.damages().len(), reader.bytes()), (0, bytes.len() as u64));
    }

    #[test]
    fn sizes_are_those_of_the_records(records in prop::collection::vec(any_record(), 1..30)) {
        let bytes = capture(std::slice::from_ref(&records), Keep::Sizes);
        let mut reader = CaptureReader::open(&bytes[..], "test").expect("a capture");
        let block = reader.next_block().expect("memory").expect("a block");
        let found: Vec<_> = block.records().collect();
        prop_assert_eq!(found.len(), records.len());
        for (found, record) in found.iter().zip(&records) {
            prop_assert_eq!((found.partition.0, found.offset.0), (record.partition, record.offset));
            prop_assert_eq!((found.timestamp_ms, found.timestamp_type), (record.timestamp_ms, record.timestamp_type));
            let len = |bytes: &Option<Vec<u8>>| bytes.as_ref().map(|bytes| bytes.len() as u64);
            prop_assert_eq!(found.key.map(|key| key.len()), len(&record.key));
            prop_assert_eq!(found.value.map(|value| value.len()), len(&record.value));
            let headers: Vec<_> = found.headers.clone().map(|one| (one.name.len(), one.value.map(|value| value.len()))).collect();
            let expected: Vec<_> = record.headers.iter().map(|(name, value)| (name.len() as u64, len(value))).collect();
            prop_assert_eq!(headers, expected);
        }
    }

    #[test]
    fn any_prefix_keeps_its_whole_blocks_and_says_that_it_was_cut(
        blocks in prop::collection::vec(prop::collection::vec(any_record(), 1..5), 1..5), cut: prop::sample::Index,
    ) {
        let bytes = capture(&blocks, Keep::Whole);
        let cut = cut.index(bytes.len());
        let starts = frames(&bytes);
        // The header's frame is the first.
        let whole = starts.iter().skip(2).filter(|start| **start <= cut).count();
        if cut < starts[1] {
            prop_assert!(CaptureReader::open(&bytes[..cut], "test").is_err());
            return Ok(());
        }
        let (found, damages) = read(&bytes[..cut]);
        prop_assert_eq!(found, (0..).zip(blocks).take(whole).collect::<Vec<_>>());
        let at_frame = starts.contains(&cut);
        let cause = if at_frame { Cause::NoEnd } else { Cause::Truncated };
        prop_assert_eq!((damages.len(), damages[0].cause), (1, cause), "{:?}", &damages);
        prop_assert_eq!(damages[0].bytes.end, cut as u64);
    }

    #[test]
    fn any_flipped_byte_is_noticed_and_costs_its_own_block_only(
        blocks in prop::collection::vec(prop::collection::vec(any_record(), 1..5), 1..5),
        at: prop::sample::Index, flip in 1..=255u8,
    ) {
        let mut bytes = capture(&blocks, Keep::Whole);
        let starts = frames(&bytes);
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        let (found, damages) = read(&bytes);
        prop_assert!(!damages.is_empty());
        prop_assert!(damages[0].bytes.start <= at as u64 && damages[0].bytes.end > at as u64, "{:?}", damages);
        let hit = starts.iter().filter(|start| **start <= at).count() - 1;
        let expected: Vec<_> =
            (0_u64..).zip(blocks).filter(|(number, _)| *number as usize + 1 != hit).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(
        noise in prop::collection::vec(any::<u8>(), 0..300), into: prop::sample::Index, over in any::<bool>(),
    ) {
        fuzz::capture(&noise);
        let mut bytes = corpus().swap_remove(0);
        let at = into.index(bytes.len());
        let end = if over { (at + noise.len()).min(bytes.len()) } else { at };
        bytes.splice(at..end, noise);
        fuzz::capture(&bytes);
    }

    /// Past the checksums, where only a crafted file comes.
    #[test]
    fn no_block_body_makes_the_reader_panic(
        body in prop::collection::vec(any::<u8>(), 2..200), records in 0..100u32, sizes: bool, compressed: bool,
    ) {
        let raw_bytes = if compressed { body.len() as u32 * 3 } else { body.len() as u32 };
        let head = frame::Head {
            kind: frame::Kind::Block(if sizes { Keep::Sizes } else { Keep::Whole }),
            compressed,
            body_bytes: body.len() as u32,
            raw_bytes,
            records: records.min(raw_bytes / 2),
            capture: 0xfeed,
            number: 0,
            records_before: 0,
            earliest_ms: 0,
            latest_ms: 0,
            body_crc: crc32fast::hash(&body),
        };
        let sound = capture(&[], Keep::Whole);
        let starts = frames(&sound);
        fuzz::capture(&[&sound[..starts[1]], &head.write()[..], &body[..], &sound[starts[1]..]].concat());
    }
}
