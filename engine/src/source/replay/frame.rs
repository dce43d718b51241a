//! The head of a frame, and the two small bodies: header and end.

use super::row::Malformed;
use super::{BLOCK_BYTES_MAX, BLOCK_RECORDS_MAX, Header, Keep, TEXT_BYTES_MAX, Totals, VERSION, varint};

/// What every frame begins with. No text begins so, and a transfer that changes line ends breaks it.
pub(super) const MARK: [u8; 8] = *b"\x89PLTNC\r\n";
/// Bytes of a head.
pub(super) const HEAD_BYTES: usize = 72;
/// The shortest record: its flags and its timestamp.
const RECORD_BYTES_MIN: u32 = 2;
/// LZ4 makes at most this of a byte.
const LZ4_RATIO_MAX: u64 = 255;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Header,
    Block(Keep),
    End,
}

impl Kind {
    const fn letter(self) -> u8 {
        match self {
            Self::Header => b'H',
            Self::Block(Keep::Whole) => b'W',
            Self::Block(Keep::Sizes) => b'S',
            Self::End => b'E',
        }
    }

    const fn of(letter: u8) -> Option<Self> {
        match letter {
            b'H' => Some(Self::Header),
            b'W' => Some(Self::Block(Keep::Whole)),
            b'S' => Some(Self::Block(Keep::Sizes)),
            b'E' => Some(Self::End),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: Kind,
    pub(super) compressed: bool,
    pub(super) body_bytes: u32,
    /// Of the body, decompressed.
    pub(super) raw_bytes: u32,
    pub(super) records: u32,
    /// The capture's number.
    pub(super) capture: u64,
    /// The block's number.
    pub(super) number: u64,
    pub(super) records_before: u64,
    pub(super) earliest_ms: i64,
    pub(super) latest_ms: i64,
    pub(super) body_crc: u32,
}

/// Why bytes are not a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoHead {
    /// No mark, a wrong checksum, or less than a head.
    Damaged,
    /// A sound head of another version.
    Version(u8),
    /// A sound head that says what cannot be: not written by this program.
    Impossible,
}

impl Head {
    pub(super) fn write(&self) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        let mut at = 0;
        let mut put = |field: &[u8]| {
            bytes[at..at + field.len()].copy_from_slice(field);
            at += field.len();
        };
        put(&MARK);
        put(&[VERSION, self.kind.letter(), u8::from(self.compressed), 0]);
        put(&self.body_bytes.to_le_bytes());
        put(&self.raw_bytes.to_le_bytes());
        put(&self.records.to_le_bytes());
        put(&self.capture.to_le_bytes());
        put(&self.number.to_le_bytes());
        put(&self.records_before.to_le_bytes());
        put(&self.earliest_ms.to_le_bytes());
        put(&self.latest_ms.to_le_bytes());
        put(&self.body_crc.to_le_bytes());
        debug_assert_eq!(at, HEAD_BYTES - 4);
        let crc = crc32fast::hash(&bytes[..HEAD_BYTES - 4]);
        bytes[HEAD_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the head that `bytes` begin with.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, NoHead> {
        let Some((head, _)) = bytes.split_first_chunk::<HEAD_BYTES>() else { return Err(NoHead::Damaged) };
        if head[..8] != MARK || crc32fast::hash(&head[..68]) != u32_at(head, 68) {
            return Err(NoHead::Damaged);
        }
        if head[8] != VERSION {
            return Err(NoHead::Version(head[8]));
        }
        let read = Self {
            kind: Kind::of(head[9]).ok_or(NoHead::Impossible)?,
            compressed: head[10] == 1,
            body_bytes: u32_at(head, 12),
            raw_bytes: u32_at(head, 16),
            records: u32_at(head, 20),
            capture: u64_at(head, 24),
            number: u64_at(head, 32),
            records_before: u64_at(head, 40),
            earliest_ms: u64_at(head, 48).cast_signed(),
            latest_ms: u64_at(head, 56).cast_signed(),
            body_crc: u32_at(head, 64),
        };
        if head[10] <= 1 && head[11] == 0 && read.is_possible() { Ok(read) } else { Err(NoHead::Impossible) }
    }

    /// Whether its sizes are within their limits: nothing is allocated for one where they are not,
    /// and never more than the bytes in the file can account for.
    fn is_possible(&self) -> bool {
        let raw = self.raw_bytes as usize;
        raw <= BLOCK_BYTES_MAX
            && self.body_bytes <= self.raw_bytes
            && self.records <= BLOCK_RECORDS_MAX.min(self.raw_bytes / RECORD_BYTES_MIN)
            && if self.compressed {
                u64::from(self.raw_bytes) <= u64::from(self.body_bytes) * LZ4_RATIO_MAX
            } else {
                self.body_bytes == self.raw_bytes
            }
    }

    /// Bytes of the whole frame.
    pub(super) const fn frame_bytes(&self) -> usize {
        HEAD_BYTES + self.body_bytes as usize
    }
}

fn u32_at(head: &[u8; HEAD_BYTES], at: usize) -> u32 {
    u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]])
}

fn u64_at(head: &[u8; HEAD_BYTES], at: usize) -> u64 {
    u64::from(u32_at(head, at)) | u64::from(u32_at(head, at + 4)) << 32
}

impl Header {
    pub(super) fn write(&self) -> Vec<u8> {
        let mut body = Vec::new();
        varint::put(&mut body, u64::from(self.partitions));
        varint::put_signed(&mut body, self.captured_at_ms);
        for text in [&self.topic, &self.origin] {
            let text = &text[..text.floor_char_boundary(TEXT_BYTES_MAX)];
            varint::put(&mut body, text.len() as u64);
            body.extend_from_slice(text.as_bytes());
        }
        body
    }

    pub(super) fn read(mut body: &[u8]) -> Result<Self, Malformed> {
        let body = &mut body;
        Ok(Self {
            partitions: u32::try_from(varint::take(body)?)
                .map_err(|_| Malformed("an impossible number of partitions"))?,
            captured_at_ms: varint::take_signed(body)?,
            topic: text(body)?,
            origin: text(body)?,
        })
    }
}

fn text(body: &mut &[u8]) -> Result<String, Malformed> {
    let len = usize::try_from(varint::take(body)?).unwrap_or(usize::MAX);
    let (text, rest) = body.split_at_checked(len).ok_or(Malformed("a text longer than the header"))?;
    *body = rest;
    String::from_utf8(text.to_vec()).map_err(|_| Malformed("a text that is not UTF-8"))
}

impl Totals {
    pub(super) fn write(&self) -> Vec<u8> {
        let mut body = Vec::new();
        for number in [self.records, self.key_bytes, self.value_bytes, self.header_bytes] {
            varint::put(&mut body, number);
        }
        body
    }

    pub(super) fn read(mut body: &[u8]) -> Result<Self, Malformed> {
        let body = &mut body;
        Ok(Self {
            records: varint::take(body)?,
            key_bytes: varint::take(body)?,
            value_bytes: varint::take(body)?,
            header_bytes: varint::take(body)?,
        })
    }
}
