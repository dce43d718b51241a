//! The format, from both ends: what a capture says, and what each kind of damage costs.

use super::samples::{Owned, capture, frames, header, read, small_blocks};
use super::*;

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
