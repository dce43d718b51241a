//! A capture: records of a topic in a compact file, to be replayed.
//!
//! This is the format and its two ends, [`CaptureWriter`] and [`CaptureReader`], over any
//! [`Write`](std::io::Write) and [`Read`](std::io::Read): pipes too, nothing seeks. The harness
//! writes such files from live topics and makes sources and loads of them.
//!
//! # What is kept
//! With [`Keep::Whole`], everything that a consumer sees, in the order in which it saw it: partition,
//! offset, timestamp and its type, key, value, headers in their order with repeats, names that are
//! not UTF-8, null told from empty. With [`Keep::Sizes`], no byte of any key, value or header: only
//! their sizes, which of them are null, partition, offset and timestamp, and of each key a hash, so
//! that equal keys can be told to be equal. The hash is keyed with random numbers that are written
//! nowhere: without them a hash says nothing, however few keys are possible. Topic, sizes and times
//! stay in the clear, and may tell something to who knows the traffic.
//!
//! # Layout, version 1
//! A file is a sequence of frames: a header, blocks of records, an end. Integers in a frame's head
//! are little-endian; the head is 72 bytes in every version.
//!
//! | at | bytes | field |
//! | --- | --- | --- |
//! | 0 | 8 | the mark, `89 50 4C 54 4E 43 0D 0A` |
//! | 8 | 1 | version |
//! | 9 | 1 | kind: `H` header, `W` block of whole records, `S` block of sizes, `E` end |
//! | 10 | 1 | 1 if the body is an LZ4 block, else 0 |
//! | 11 | 1 | zero |
//! | 12 | 4 | bytes of the body that follows |
//! | 16 | 4 | bytes of the body, decompressed; at most 64 MiB |
//! | 20 | 4 | records in the block; at most 65,536 |
//! | 24 | 8 | the capture's number, random, the same in each of its frames |
//! | 32 | 8 | the block's number, from 0; in the end, the number of blocks |
//! | 40 | 8 | records in all blocks before |
//! | 48 | 8 | earliest timestamp in the block, in milliseconds |
//! | 56 | 8 | latest timestamp in the block |
//! | 64 | 4 | CRC-32 (IEEE) of the body as it stands in the file |
//! | 68 | 4 | CRC-32 of the head up to here |
//!
//! In bodies a number is a LEB128 varint, and one that may be negative is zigzag-coded first. The
//! header's body: number of the topic's partitions, milliseconds at which the capture began, topic,
//! origin (texts as length and UTF-8). The end's body: records, bytes of keys, of values and of
//! headers. What follows in either belongs to later versions and is passed over.
//!
//! A block's body is its records, one after the other. A record is a byte of flags (1 a key, 2 a
//! value, 4 headers, 8 CreateTime, 16 LogAppendTime, 32 the partition of the record before, 64 the
//! offset after the last of its partition), then what the flags leave to be said: the partition, the
//! offset (less the last of its partition in this block, or 0), the timestamp (less the record
//! before's, or 0), key and value as length and bytes, the number of headers and for each its name as
//! length and bytes and its value as length plus one and bytes, with 0 for null. With sizes there are
//! no bytes behind the lengths, but 8 of hash behind a key's.
//!
//! # Damage
//! Each block stands alone: deltas begin anew, so what is whole before and after a damaged place is
//! read. The reader skips from a damaged frame to the next mark with a right checksum and the
//! capture's number; block and record numbers tell what is missing between. A capture without its
//! end was cut off, or is still being written.

mod block;
mod damage;
mod frame;
#[cfg(any(test, feature = "internals"))]
pub mod fuzz;
mod input;
#[cfg(test)]
mod properties;
mod reader;
mod row;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;
mod varint;
mod writer;

pub use block::Block;
pub use damage::{CaptureError, Cause, Damage};
pub use reader::CaptureReader;
pub use row::{CapturedHeader, CapturedHeaders, CapturedRecord, Part, Records};
pub use writer::CaptureWriter;

/// The version that is written, and the only one that is read.
pub const VERSION: u8 = 1;
/// A block's records, decompressed, take at most this.
pub const BLOCK_BYTES_MAX: usize = 64 << 20;
/// A block is closed when its records have reached this.
pub const BLOCK_BYTES: usize = 1 << 20;
/// A block has at most so many records.
pub const BLOCK_RECORDS_MAX: u32 = 1 << 16;
/// Key, value, headers and their lengths take at most this: a larger record is not captured.
pub const RECORD_BYTES_MAX: usize = BLOCK_BYTES_MAX - BLOCK_BYTES;
/// The longest text in a header; longer ones are cut.
pub const TEXT_BYTES_MAX: usize = 4096;

/// What is kept of each record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Keep {
    /// Everything.
    Whole,
    /// Sizes, times, and hashes of keys.
    Sizes,
}

/// What a capture says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The topic's name.
    pub topic: String,
    /// How many partitions it had.
    pub partitions: u32,
    /// When the capture began, in milliseconds since the Unix epoch.
    pub captured_at_ms: i64,
    /// Where it comes from, in free words.
    pub origin: String,
}

/// Sums over the records of a capture. The bytes are those of the records, also where only sizes
/// are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Records.
    pub records: u64,
    /// Bytes of keys.
    pub key_bytes: u64,
    /// Bytes of values.
    pub value_bytes: u64,
    /// Bytes of header names and values.
    pub header_bytes: u64,
}

impl Totals {
    /// Bytes of keys, values and headers.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.key_bytes.saturating_add(self.value_bytes).saturating_add(self.header_bytes)
    }
}
