//! A record in a block: written, and read in place.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use super::{BLOCK_BYTES_MAX, Keep, Totals, varint};
use crate::ids::{Offset, Partition};
use crate::record::{Record, TimestampType};

const KEY: u8 = 1;
const VALUE: u8 = 1 << 1;
const HEADERS: u8 = 1 << 2;
const CREATE_TIME: u8 = 1 << 3;
const LOG_APPEND_TIME: u8 = 1 << 4;
const SAME_PARTITION: u8 = 1 << 5;
const NEXT_OFFSET: u8 = 1 << 6;
const UNUSED: u8 = 1 << 7;

/// No part of a Kafka record is longer: lengths are signed 32-bit integers there.
const PART_BYTES_MAX: u64 = i32::MAX as u64;
/// Bytes of a key's hash.
const HASH_BYTES: usize = 8;

/// What is wrong with bytes whose checksum is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

/// A key, a value or a header's part, as far as it was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part<'a> {
    /// All of it.
    Bytes(&'a [u8]),
    /// Its length, at most 2 GiB.
    Size(u64),
    /// Its length, and a hash that equal keys of one capture share.
    Hashed {
        /// As [`Part::Size`].
        bytes: u64,
        /// Keyed with numbers that nobody knows.
        hash: u64,
    },
}

impl Part<'_> {
    /// How long it was, in bytes.
    #[must_use]
    pub const fn len(&self) -> u64 {
        match *self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Size(bytes) | Self::Hashed { bytes, .. } => bytes,
        }
    }

    /// Whether it was empty (and not null).
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A record of a capture, borrowed from its block.
#[derive(Clone, Debug)]
pub struct CapturedRecord<'a> {
    /// Where it lay.
    pub partition: Partition,
    /// Where in the partition.
    pub offset: Offset,
    /// Milliseconds since the Unix epoch; -1 where [`TimestampType::None`].
    pub timestamp_ms: i64,
    /// Who set it.
    pub timestamp_type: TimestampType,
    /// `None` for null.
    pub key: Option<Part<'a>>,
    /// `None` for null.
    pub value: Option<Part<'a>>,
    /// In order.
    pub headers: CapturedHeaders<'a>,
}

impl CapturedRecord<'_> {
    /// Adds this record to `totals`.
    pub fn count(&self, totals: &mut Totals) {
        totals.records += 1;
        totals.key_bytes = totals.key_bytes.saturating_add(self.key.map_or(0, |key| key.len()));
        totals.value_bytes = totals.value_bytes.saturating_add(self.value.map_or(0, |value| value.len()));
        for header in self.headers.clone() {
            let bytes = header.name.len() + header.value.map_or(0, |value| value.len());
            totals.header_bytes = totals.header_bytes.saturating_add(bytes);
        }
    }
}

/// A header of a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapturedHeader<'a> {
    /// Any bytes.
    pub name: Part<'a>,
    /// `None` for null.
    pub value: Option<Part<'a>>,
}

/// The headers of one record.
#[derive(Clone, Debug)]
pub struct CapturedHeaders<'a> {
    rest: &'a [u8],
    left: usize,
    keep: Keep,
}

impl<'a> Iterator for CapturedHeaders<'a> {
    type Item = CapturedHeader<'a>;

    fn next(&mut self) -> Option<CapturedHeader<'a>> {
        self.left = self.left.checked_sub(1)?;
        // They were read once when the record was, and found right.
        take_header(&mut self.rest, self.keep).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for CapturedHeaders<'_> {}

/// What records of a block are told relative to.
#[derive(Clone, Debug, Default)]
struct Before {
    partition: Option<i32>,
    /// The last offset of `partition`, unless it is the partition's first.
    offset: Option<i64>,
    timestamp_ms: i64,
    /// The last offset of every other partition.
    offsets: HashMap<i32, i64>,
}

impl Before {
    fn enter(&mut self, partition: i32) {
        if let (Some(left), Some(offset)) = (self.partition, self.offset) {
            self.offsets.insert(left, offset);
        }
        self.partition = Some(partition);
        self.offset = self.offsets.get(&partition).copied();
    }

    fn clear(&mut self) {
        self.offsets.clear();
        (self.partition, self.offset, self.timestamp_ms) = (None, None, 0);
    }
}

/// Writes the records of a block.
#[derive(Debug)]
pub(super) struct RowWriter {
    /// What hashes keys, if only sizes are kept.
    hasher: Option<RandomState>,
    before: Before,
}

impl RowWriter {
    pub(super) fn new(keep: Keep) -> Self {
        Self { hasher: (keep == Keep::Sizes).then(RandomState::new), before: Before::default() }
    }

    /// Begins a block.
    pub(super) fn begin(&mut self) {
        self.before.clear();
    }

    /// Appends `record` to the block `out`, and adds it to `totals`.
    pub(super) fn write<R: Record>(&mut self, record: &R, out: &mut Vec<u8>, totals: &mut Totals) {
        let (partition, offset) = (record.partition().0, record.offset().0);
        let (key, value) = (record.key(), record.value());
        let headers = record.headers().count();
        let mut flags = match record.timestamp_type() {
            TimestampType::None => 0,
            TimestampType::CreateTime => CREATE_TIME,
            TimestampType::LogAppendTime => LOG_APPEND_TIME,
        };
        for (is_so, flag) in [(key.is_some(), KEY), (value.is_some(), VALUE), (headers > 0, HEADERS)] {
            flags |= if is_so { flag } else { 0 };
        }
        if self.before.partition == Some(partition) {
            flags |= SAME_PARTITION;
        } else {
            self.before.enter(partition);
        }
        if self.before.offset.is_some_and(|before| before.wrapping_add(1) == offset) {
            flags |= NEXT_OFFSET;
        }
        out.push(flags);
        if flags & SAME_PARTITION == 0 {
            varint::put_signed(out, i64::from(partition));
        }
        if flags & NEXT_OFFSET == 0 {
            varint::put_signed(out, offset.wrapping_sub(self.before.offset.unwrap_or(0)));
        }
        varint::put_signed(out, record.timestamp_ms().wrapping_sub(self.before.timestamp_ms));
        self.before.offset = Some(offset);
        self.before.timestamp_ms = record.timestamp_ms();
        totals.records += 1;
        if let Some(key) = key {
            totals.key_bytes += key.len() as u64;
            self.put(key, out);
            if let Some(hasher) = &self.hasher {
                out.extend_from_slice(&hasher.hash_one(key).to_le_bytes());
            }
        }
        if let Some(value) = value {
            totals.value_bytes += value.len() as u64;
            self.put(value, out);
        }
        if headers > 0 {
            varint::put(out, headers as u64);
        }
        for header in record.headers() {
            self.put(header.name, out);
            let value = header.value.unwrap_or_default();
            totals.header_bytes += (header.name.len() + value.len()) as u64;
            varint::put(out, header.value.map_or(0, |value| value.len() as u64 + 1));
            if self.hasher.is_none() {
                out.extend_from_slice(value);
            }
        }
    }

    fn put(&self, part: &[u8], out: &mut Vec<u8>) {
        varint::put(out, part.len() as u64);
        if self.hasher.is_none() {
            out.extend_from_slice(part);
        }
    }
}

/// The most that [`RowWriter::write`] appends for `record`, in bytes.
pub(super) fn bytes_max<R: Record>(record: &R) -> usize {
    let part = |part: Option<&[u8]>| part.map_or(0, <[u8]>::len) + varint::VARINT_BYTES_MAX;
    let headers: usize = record.headers().map(|header| part(Some(header.name)) + part(header.value)).sum();
    1 + 4 * varint::VARINT_BYTES_MAX + HASH_BYTES + part(record.key()) + part(record.value()) + headers
}

/// The records of a block, one after the other.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    rest: &'a [u8],
    left: u32,
    keep: Keep,
    before: Before,
}

impl<'a> Records<'a> {
    pub(super) fn new(body: &'a [u8], records: u32, keep: Keep) -> Self {
        debug_assert!(body.len() <= BLOCK_BYTES_MAX);
        Self { rest: body, left: records, keep, before: Before::default() }
    }

    /// Whether everything was read, and nothing is left over.
    pub(super) fn is_done(&self) -> bool {
        self.left == 0 && self.rest.is_empty()
    }

    pub(super) fn read(&mut self) -> Result<Option<CapturedRecord<'a>>, Malformed> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let (&flags, rest) = self.rest.split_first().ok_or(Malformed("fewer records than it counts"))?;
        self.rest = rest;
        let timestamp_type = match flags & (CREATE_TIME | LOG_APPEND_TIME | UNUSED) {
            0 => TimestampType::None,
            CREATE_TIME => TimestampType::CreateTime,
            LOG_APPEND_TIME => TimestampType::LogAppendTime,
            _ => return Err(Malformed("a record with flags that mean nothing")),
        };
        let partition = self.partition(flags)?;
        let offset = self.offset(flags)?;
        let timestamp_ms = self.before.timestamp_ms.wrapping_add(varint::take_signed(&mut self.rest)?);
        self.before.timestamp_ms = timestamp_ms;
        let key = (flags & KEY != 0).then(|| self.key()).transpose()?;
        let value = (flags & VALUE != 0).then(|| take_part(&mut self.rest, self.keep)).transpose()?;
        let headers = self.headers(flags)?;
        Ok(Some(CapturedRecord {
            partition: Partition(partition),
            offset: Offset(offset),
            timestamp_ms,
            timestamp_type,
            key,
            value,
            headers,
        }))
    }

    fn partition(&mut self, flags: u8) -> Result<i32, Malformed> {
        if flags & SAME_PARTITION != 0 {
            return self.before.partition.ok_or(Malformed("a first record without a partition"));
        }
        let partition = i32::try_from(varint::take_signed(&mut self.rest)?)
            .map_err(|_| Malformed("a partition that cannot be"))?;
        self.before.enter(partition);
        Ok(partition)
    }

    fn offset(&mut self, flags: u8) -> Result<i64, Malformed> {
        let offset = if flags & NEXT_OFFSET != 0 {
            self.before
                .offset
                .ok_or(Malformed("a partition's first record without an offset"))?
                .wrapping_add(1)
        } else {
            self.before.offset.unwrap_or(0).wrapping_add(varint::take_signed(&mut self.rest)?)
        };
        self.before.offset = Some(offset);
        Ok(offset)
    }

    fn key(&mut self) -> Result<Part<'a>, Malformed> {
        let key = take_part(&mut self.rest, self.keep)?;
        if self.keep == Keep::Whole {
            return Ok(key);
        }
        let (hash, rest) = self.rest.split_first_chunk().ok_or(Malformed("a key without its hash"))?;
        self.rest = rest;
        Ok(Part::Hashed { bytes: key.len(), hash: u64::from_le_bytes(*hash) })
    }

    fn headers(&mut self, flags: u8) -> Result<CapturedHeaders<'a>, Malformed> {
        let count = if flags & HEADERS != 0 { varint::take(&mut self.rest)? } else { 0 };
        let left = usize::try_from(count).unwrap_or(usize::MAX);
        let headers = CapturedHeaders { rest: self.rest, left, keep: self.keep };
        // Each takes two bytes at least, so a false count ends soon.
        for _ in 0..left {
            take_header(&mut self.rest, self.keep)?;
        }
        Ok(headers)
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = CapturedRecord<'a>;

    fn next(&mut self) -> Option<CapturedRecord<'a>> {
        // The reader hands out blocks in which every record was read once, and found right.
        self.read().ok().flatten()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left as usize, Some(self.left as usize))
    }
}

fn take_header<'a>(rest: &mut &'a [u8], keep: Keep) -> Result<CapturedHeader<'a>, Malformed> {
    let name = take_part(rest, keep)?;
    let value = match varint::take(rest)? {
        0 => None,
        more => Some(part_of(rest, more - 1, keep)?),
    };
    Ok(CapturedHeader { name, value })
}

fn take_part<'a>(rest: &mut &'a [u8], keep: Keep) -> Result<Part<'a>, Malformed> {
    let bytes = varint::take(rest)?;
    part_of(rest, bytes, keep)
}

fn part_of<'a>(rest: &mut &'a [u8], bytes: u64, keep: Keep) -> Result<Part<'a>, Malformed> {
    if bytes > PART_BYTES_MAX {
        return Err(Malformed("a part longer than any of Kafka's"));
    }
    if keep == Keep::Sizes {
        return Ok(Part::Size(bytes));
    }
    let len = usize::try_from(bytes).unwrap_or(usize::MAX);
    let (part, after) = rest.split_at_checked(len).ok_or(Malformed("a part longer than its block"))?;
    *rest = after;
    Ok(Part::Bytes(part))
}
