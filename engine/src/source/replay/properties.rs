//! The format under any records, any cut, any flipped byte, and any bytes at all.

use proptest::prelude::*;

use super::samples::{Owned, capture, corpus, frames, read};
use super::*;
use crate::record::TimestampType;

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
