//! Finished offsets as the text that Kafka keeps beside a committed offset.
//!
//! ```text
//! pelton1:BASE64URL( (undone done)* crc32 )
//! ```
//!
//! `undone` and `done` are lengths of runs of offsets, in turns, from the committed offset on, as
//! LEB128 varints. The checksum (four bytes, the lowest first) is over
//! the topic, the partition and the committed offset too: a tool that copies a group's commits to
//! another topic or translates their offsets, and takes the text along (Kafka's `MirrorMaker` does),
//! must not make records be skipped that were never delivered.
//!
//! The idea, that a commit carries what is finished beyond it, is Confluent Parallel Consumer's.

use super::finished::{Finished, Span};
use crate::ids::{Offset, Partition, Topic};

/// The longest metadata that a broker takes unless it is told otherwise: `offset.metadata.max.bytes`.
pub const METADATA_BYTES_MAX: usize = 4_096;

/// Whose metadata it is, and the version of what follows. A colon ends it.
const NAME: &str = "pelton";
const VERSION: &str = "1";
const TAG: &str = "pelton1:";
const CHECKSUM_BYTES: usize = 4;
/// Bytes of a varint of 64 bits.
const VARINT_BYTES_MAX: usize = 10;
/// Bytes of runs in the longest text.
const RUNS_BYTES_MAX: usize = runs_bytes_max(METADATA_BYTES_MAX);
/// The most spans that the longest text can hold: two bytes each, at the least.
pub const SPANS_MAX: usize = RUNS_BYTES_MAX / 2;

const _: () = assert!(TAG.len() == NAME.len() + VERSION.len() + 1, "the tag is name, version, colon");
const _: () = assert!(text_bytes(RUNS_BYTES_MAX) <= METADATA_BYTES_MAX, "the longest text fits");
const _: () = assert!(text_bytes(RUNS_BYTES_MAX + 1) > METADATA_BYTES_MAX, "and uses what there is");
const _: () = assert!(SPANS_MAX * 2 * VARINT_BYTES_MAX < 1 << 20, "decoding takes little memory");

/// Bytes of the text over so many bytes of runs.
const fn text_bytes(runs: usize) -> usize {
    TAG.len() + ((runs + CHECKSUM_BYTES) * 4).div_ceil(3)
}

/// Bytes of runs in a text of so many bytes.
const fn runs_bytes_max(text: usize) -> usize {
    (text.saturating_sub(TAG.len()) * 3 / 4).saturating_sub(CHECKSUM_BYTES)
}

/// The commit that metadata belongs to. With any other it is refused.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The topic.
    pub topic: &'a Topic,
    /// The partition.
    pub partition: Partition,
    /// The committed offset: the first that is not finished.
    pub committed: Offset,
}

impl Place<'_> {
    fn checksum(&self, runs: &[u8]) -> [u8; CHECKSUM_BYTES] {
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(TAG.as_bytes());
        checksum.update(self.topic.as_str().as_bytes());
        // No topic's name holds a zero: what follows cannot be taken for a part of it.
        checksum.update(&[0]);
        checksum.update(&self.partition.0.to_le_bytes());
        checksum.update(&self.committed.0.to_le_bytes());
        checksum.update(runs);
        checksum.finalize().to_le_bytes()
    }
}

/// Why metadata says nothing about finished offsets. In words for a log line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetadataError {
    /// It is not ours, or empty.
    #[error("it was not written by pelton, whose metadata begins with {TAG:?}")]
    Foreign,
    /// Another version's.
    #[error("it is of version {found:?}; this version reads {VERSION:?} only")]
    Version {
        /// What stands in its place, cut short.
        found: String,
    },
    /// Longer than any that is written.
    #[error("it has {bytes} bytes; at most {METADATA_BYTES_MAX} are ever written")]
    Long {
        /// Its bytes.
        bytes: usize,
    },
    /// No base64url without padding.
    #[error("it is not base64url: cut short or damaged")]
    Alphabet,
    /// Too short for a checksum.
    #[error("it has {bytes} bytes inside; the checksum alone has {CHECKSUM_BYTES}: cut short")]
    Short {
        /// Its bytes without the tag, decoded.
        bytes: usize,
    },
    /// The checksum is of something else.
    #[error(
        "its checksum does not match: damaged, or copied from a commit of another offset, partition or topic"
    )]
    Checksum,
    /// The runs make no sense though their checksum matches.
    #[error("its runs are malformed at byte {at}: {reason}")]
    Runs {
        /// Where, in the decoded bytes.
        at: usize,
        /// What is wrong.
        reason: &'static str,
    },
}

/// What did not fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Spans.
    pub spans: u64,
    /// Offsets in them. They are merely delivered again after a crash.
    pub offsets: u64,
}

/// Replaces `text` by the metadata for `finished`, which ascend and are apart. What lies below the
/// committed offset is no news and not in it. Nothing to say makes it empty, without allocating.
///
/// If not all fits into `bytes_max` (which counts as [`METADATA_BYTES_MAX`] at most), the spans
/// nearest to the committed offset are kept; the rest is returned.
pub fn encode(
    place: Place<'_>,
    finished: impl IntoIterator<Item = Span>,
    bytes_max: usize,
    text: &mut String,
) -> LeftOut {
    text.clear();
    let mut left = LeftOut::default();
    let mut bytes = [0; RUNS_BYTES_MAX + CHECKSUM_BYTES];
    let room = runs_bytes_max(bytes_max.min(METADATA_BYTES_MAX));
    let (mut at, mut next) = (0, place.committed);
    for Span { first, last } in finished {
        let span = Span { first: first.max(next), last };
        if span.last < span.first || span.last == Offset(i64::MAX) {
            continue;
        }
        let mut pair = [0; 2 * VARINT_BYTES_MAX];
        let undone = (span.first.0 - next.0).cast_unsigned();
        let long = put(&mut pair, 0, undone);
        let long = put(&mut pair, long, span.offsets());
        // Runs follow each other: what comes after one that is left out has no place.
        if left.spans > 0 || at + long > room {
            left.spans += 1;
            left.offsets = left.offsets.saturating_add(span.offsets());
            continue;
        }
        bytes[at..at + long].copy_from_slice(&pair[..long]);
        at += long;
        next = span.last.next();
    }
    if at > 0 {
        let checksum = place.checksum(&bytes[..at]);
        bytes[at..at + CHECKSUM_BYTES].copy_from_slice(&checksum);
        text.reserve(text_bytes(at));
        text.push_str(TAG);
        base64_simd::URL_SAFE_NO_PAD.encode_append(&bytes[..at + CHECKSUM_BYTES], text);
    }
    left
}

/// Appends `number` at `at`. Returns where it ends.
fn put(out: &mut [u8; 2 * VARINT_BYTES_MAX], mut at: usize, mut number: u64) -> usize {
    while number >= 0x80 {
        out[at] = (number & 0x7f) as u8 | 0x80;
        number >>= 7;
        at += 1;
    }
    out[at] = number as u8;
    at + 1
}

/// Reads the metadata of the commit at `place`: at most [`SPANS_MAX`] spans, none of them below the
/// committed offset.
///
/// # Errors
/// If it is not metadata of that commit, whole and of this version. Nothing is to be skipped then.
pub fn decode(text: &str, place: Place<'_>) -> Result<Finished, MetadataError> {
    let rest = text.strip_prefix(NAME).ok_or(MetadataError::Foreign)?;
    let (version, runs) = rest.split_once(':').ok_or(MetadataError::Foreign)?;
    if version != VERSION {
        let found = version.chars().take(8).collect();
        return Err(MetadataError::Version { found });
    }
    if text.len() > METADATA_BYTES_MAX {
        return Err(MetadataError::Long { bytes: text.len() });
    }
    let bytes = base64_simd::URL_SAFE_NO_PAD.decode_to_vec(runs).map_err(|_| MetadataError::Alphabet)?;
    let (runs, checksum) =
        bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or(MetadataError::Short { bytes: bytes.len() })?;
    if place.checksum(runs) != *checksum {
        return Err(MetadataError::Checksum);
    }
    read(runs, place.committed)
}

fn read(runs: &[u8], committed: Offset) -> Result<Finished, MetadataError> {
    let mut finished = Finished::none();
    let mut next = committed;
    let mut rest = runs;
    while !rest.is_empty() {
        let at = runs.len() - rest.len();
        let wrong = |reason| MetadataError::Runs { at, reason };
        let undone = take(&mut rest).ok_or(wrong("a number that does not end"))?;
        let done = take(&mut rest).ok_or(wrong("a number that does not end"))?;
        if done == 0 {
            return Err(wrong("a run of no offset"));
        }
        let after = |from: Offset, run| from.0.checked_add_unsigned(run).map(Offset);
        let first = after(next, undone).ok_or(wrong("an offset beyond the largest there is"))?;
        next = after(first, done).ok_or(wrong("an offset beyond the largest there is"))?;
        if !finished.push(Span { first, last: Offset(next.0 - 1) }) {
            return Err(wrong("runs that do not ascend"));
        }
    }
    Ok(finished)
}

/// Takes a number from the front of `bytes`.
fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for (at, &byte) in bytes.iter().enumerate().take(VARINT_BYTES_MAX) {
        // The tenth byte has room for one bit.
        if at == VARINT_BYTES_MAX - 1 && byte > 1 {
            return None;
        }
        number |= u64::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            *bytes = &bytes[at + 1..];
            return Some(number);
        }
    }
    None
}

/// Any bytes as metadata of any commit: the body of a fuzz target, which the tests run too. The first
/// eight bytes are the committed offset; the rest is the text, and, once more, runs whose checksum
/// matches.
///
/// # Panics
/// If what is read makes no sense, or is not read again as it was: that is a bug.
pub fn fuzz(input: &[u8]) {
    let Some((committed, rest)) = input.split_first_chunk() else { return };
    let topic = Topic::new("fuzz");
    // A broker keeps no negative ones.
    let committed = Offset(i64::from_le_bytes(*committed) & i64::MAX);
    let place = Place { topic: &topic, partition: Partition(1), committed };
    check(&String::from_utf8_lossy(rest), place);
    let runs = &rest[..rest.len().min(RUNS_BYTES_MAX)];
    let sealed = [runs, &place.checksum(runs)].concat();
    check(&format!("{TAG}{}", base64_simd::URL_SAFE_NO_PAD.encode_to_string(sealed)), place);
}

fn check(text: &str, place: Place<'_>) {
    let Ok(finished) = decode(text, place) else { return };
    let spans: Vec<Span> = finished.spans().collect();
    assert!(spans.len() <= SPANS_MAX, "{} spans", spans.len());
    assert!(spans.iter().all(|span| place.committed <= span.first && span.first <= span.last));
    assert!(spans.windows(2).all(|pair| pair[0].last.next() < pair[1].first));
    let mut again = String::new();
    let left = encode(place, finished.spans(), METADATA_BYTES_MAX, &mut again);
    assert_eq!(left, LeftOut::default(), "what was read fits");
    assert!(again.len() <= METADATA_BYTES_MAX && again.is_ascii());
    if !finished.is_empty() {
        assert_eq!(decode(&again, place), Ok(finished));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn place(topic: &Topic, committed: i64) -> Place<'_> {
        Place { topic, partition: Partition(3), committed: Offset(committed) }
    }

    fn span(first: i64, last: i64) -> Span {
        Span { first: Offset(first), last: Offset(last) }
    }

    /// Every other offset, `count` times.
    fn alternating(from: i64, count: i64) -> impl Iterator<Item = Span> {
        (0..count).map(move |at| span(from + 2 * at + 1, from + 2 * at + 1))
    }

    fn written(committed: i64, finished: impl IntoIterator<Item = Span>) -> String {
        let mut text = "what was there before".to_owned();
        let left = encode(place(&Topic::new("orders"), committed), finished, METADATA_BYTES_MAX, &mut text);
        assert_eq!(left, LeftOut::default());
        text
    }

    fn read(text: &str, committed: i64) -> Result<Vec<Span>, MetadataError> {
        decode(text, place(&Topic::new("orders"), committed)).map(|finished| finished.spans().collect())
    }

    /// The text with a checksum that matches, whatever it says.
    fn sealed(runs: &[u8], committed: i64) -> String {
        let checksum = place(&Topic::new("orders"), committed).checksum(runs);
        format!("{TAG}{}", base64_simd::URL_SAFE_NO_PAD.encode_to_string([runs, &checksum].concat()))
    }

    #[test]
    fn two_spans_take_a_line_that_can_be_read_by_hand() {
        let text = written(1_000, [span(1_002, 1_004), span(1_300, 1_301)]);
        // 2 undone, 3 done, 295 undone, 2 done, and the checksum.
        assert_eq!(text, "pelton1:AgOnAgIyYpTV");
        assert_eq!(read(&text, 1_000), Ok(vec![span(1_002, 1_004), span(1_300, 1_301)]));
    }

    #[test]
    fn nothing_finished_is_an_empty_text_and_takes_no_memory() {
        let mut text = String::new();
        let topic = Topic::new("orders");
        assert_eq!(encode(place(&topic, 5), [], METADATA_BYTES_MAX, &mut text), LeftOut::default());
        assert_eq!((text.len(), text.capacity()), (0, 0));
        assert_eq!(written(50, [span(3, 9), span(48, 49)]), "", "all of it below the committed offset");
    }

    #[test]
    fn what_is_done_below_the_committed_offset_is_cut_off() {
        assert_eq!(read(&written(50, [span(3, 9), span(48, 60)]), 50), Ok(vec![span(50, 60)]));
    }

    #[test]
    fn the_largest_offsets_are_kept() {
        let spans = vec![span(i64::MAX - 9, i64::MAX - 7), span(i64::MAX - 3, i64::MAX - 1)];
        assert_eq!(read(&written(0, spans.clone()), 0), Ok(spans));
    }

    #[test]
    fn what_does_not_fit_is_left_out_from_the_far_end() {
        let topic = Topic::new("orders");
        let mut text = String::new();
        let left = encode(place(&topic, 0), alternating(0, 5_000), usize::MAX, &mut text);
        assert!((METADATA_BYTES_MAX - 3..=METADATA_BYTES_MAX).contains(&text.len()), "{}", text.len());
        assert_eq!(left, LeftOut { spans: 5_000 - SPANS_MAX as u64, offsets: 5_000 - SPANS_MAX as u64 });
        let kept = read(&text, 0).expect("whole");
        assert!(kept.into_iter().eq(alternating(0, SPANS_MAX as i64)));
    }

    #[test]
    fn no_span_behind_one_that_is_left_out_is_kept_though_it_would_fit() {
        let topic = Topic::new("orders");
        let mut text = String::new();
        let far = span(1 << 40, 1 << 41);
        let bytes_max = TAG.len() + 10;
        let left = encode(
            place(&topic, 0),
            [span(1, 1), far, span(far.last.0 + 2, far.last.0 + 2)],
            bytes_max,
            &mut text,
        );
        assert_eq!(left, LeftOut { spans: 2, offsets: far.offsets() + 1 });
        assert_eq!(read(&text, 0), Ok(vec![span(1, 1)]));
    }

    #[test]
    fn a_broker_that_takes_no_metadata_gets_none() {
        let topic = Topic::new("orders");
        for bytes_max in 0..text_bytes(2) {
            let mut text = String::new();
            assert_eq!(encode(place(&topic, 0), alternating(0, 3), bytes_max, &mut text).spans, 3);
            assert_eq!(text, "");
        }
    }

    #[test]
    fn every_refusal_says_its_reason() {
        let text = written(7, [span(9, 9)]);
        let runs = |at, reason| Err(MetadataError::Runs { at, reason });
        for foreign in ["", "pelton", "NO_METADATA", "{\"offsets\":[1]}", "Pelton1:AAAA", "\u{fffd}\0"] {
            assert_eq!(read(foreign, 7), Err(MetadataError::Foreign), "{foreign:?}");
        }
        assert_eq!(read("pelton2:AAAA", 7), Err(MetadataError::Version { found: "2".into() }));
        assert_eq!(
            read(&format!("pelton1:{}", "A".repeat(5_000)), 7),
            Err(MetadataError::Long { bytes: 5_008 })
        );
        assert_eq!(read("pelton1:@@@@", 7), Err(MetadataError::Alphabet));
        assert_eq!(read("pelton1:AAAA", 7), Err(MetadataError::Short { bytes: 3 }));
        assert_eq!(read(&text, 8), Err(MetadataError::Checksum), "another offset");
        let topic = Topic::new("orders");
        let other = Place { partition: Partition(4), ..place(&topic, 7) };
        assert_eq!(decode(&text, other), Err(MetadataError::Checksum), "another partition");
        assert_eq!(
            decode(&text, place(&Topic::new("orders2"), 7)),
            Err(MetadataError::Checksum),
            "another topic"
        );
        assert_eq!(read(&sealed(&[2], 7), 7), runs(0, "a number that does not end"));
        assert_eq!(read(&sealed(&[2, 1, 0x80], 7), 7), runs(2, "a number that does not end"));
        assert_eq!(read(&sealed(&[2, 0], 7), 7), runs(0, "a run of no offset"));
        let far = [&[0xff; 9][..], &[1, 1]].concat();
        assert_eq!(read(&sealed(&far, 7), 7), runs(0, "an offset beyond the largest there is"));
        let last = [&[0xff; 8][..], &[0x7f, 1]].concat();
        assert_eq!(read(&sealed(&last, 7), 7), runs(0, "an offset beyond the largest there is"));
        let reasons: Vec<String> = ["", "pelton2:", "pelton1:@", "pelton1:AAAA", &text]
            .map(|text| read(text, 8).expect_err("refused").to_string())
            .into();
        assert!(reasons.iter().all(|reason| reasons.iter().filter(|other| *other == reason).count() == 1));
    }

    fn spans() -> impl Strategy<Value = (i64, Vec<Span>)> {
        let lengths = prop_oneof![4 => 1..100_i64, 1 => 1..(1_i64 << 40)];
        let pairs = prop::collection::vec((lengths.clone(), lengths), 0..2_000);
        (0..(1_i64 << 60), pairs).prop_map(|(committed, pairs)| {
            let mut next = committed;
            let spans = pairs.into_iter().map(|(undone, done)| {
                let first = next + undone;
                next = first + done;
                span(first, next - 1)
            });
            (committed, spans.collect())
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_up_to_what_did_not_fit((committed, spans) in spans()) {
            let topic = Topic::new("orders");
            let mut text = String::new();
            let left = encode(place(&topic, committed), spans.iter().copied(), METADATA_BYTES_MAX, &mut text);
            prop_assert!(text.len() <= METADATA_BYTES_MAX && text.is_ascii());
            let kept = if text.is_empty() { Vec::new() } else { read(&text, committed).expect("just written") };
            prop_assert_eq!(kept.len() as u64 + left.spans, spans.len() as u64);
            let (near, far) = spans.split_at(kept.len());
            prop_assert_eq!(near, &kept[..]);
            prop_assert_eq!(left.offsets, far.iter().map(|span| span.offsets()).sum::<u64>());
        }

        #[test]
        fn a_text_that_is_cut_anywhere_or_changed_anywhere_is_refused((committed, spans) in spans(), flip in 1..128_u8) {
            let topic = Topic::new("orders");
            let mut text = String::new();
            encode(place(&topic, committed), spans.iter().take(20).copied(), METADATA_BYTES_MAX, &mut text);
            for at in 0..text.len() {
                prop_assert!(read(&text[..at], committed).is_err(), "cut at {}", at);
                let mut changed = text.clone().into_bytes();
                changed[at] ^= flip;
                let changed = String::from_utf8_lossy(&changed);
                let as_before = read(&text, committed);
                // The last letter of base64 may have bits that say nothing.
                prop_assert!(read(&changed, committed).is_err() || read(&changed, committed) == as_before);
            }
        }

        #[test]
        fn any_bytes_are_refused_or_make_sense(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            fuzz(&bytes);
        }
    }
}
