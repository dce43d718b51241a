//! A record as the engine sees it: borrowed, read once.
//!
//! The bytes belong to whoever fetched them (librdkafka's buffer, a capture file, an arena in
//! memory). [`Record`] is what the payload writer reads; it is a trait so that the writer is
//! compiled for each source and no record is ever converted into another shape.

use crate::ids::{Offset, Partition};

/// Who set a record's timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimestampType {
    /// The record carries none (message format 0, before Kafka 0.10).
    None,
    /// The producer.
    CreateTime,
    /// The broker, on append.
    LogAppendTime,
}

impl TimestampType {
    /// The name in the event: the constants of Kafka's Java client.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "NO_TIMESTAMP_TYPE",
            Self::CreateTime => "CREATE_TIME",
            Self::LogAppendTime => "LOG_APPEND_TIME",
        }
    }
}

/// One header. Names repeat and need not be UTF-8: a producer may write any bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// The name's bytes as they were on the wire.
    pub name: &'a [u8],
    /// The value; `None` for Kafka's null, which is not the same as empty.
    pub value: Option<&'a [u8]>,
}

/// A borrowed Kafka record.
pub trait Record {
    /// The headers in the producer's order, repeats kept.
    type Headers<'a>: Iterator<Item = Header<'a>> + Clone
    where
        Self: 'a;

    /// Whether walking the headers calls nothing: they are in memory as they are handed out. The
    /// writer then writes them where it writes the rest, and not in a function of its own.
    const HEADERS_AT_HAND: bool = false;

    /// Where the record lies.
    fn partition(&self) -> Partition;
    /// Where in the partition.
    fn offset(&self) -> Offset;
    /// Milliseconds since the Unix epoch; -1 where [`TimestampType::None`].
    fn timestamp_ms(&self) -> i64;
    /// Who set the timestamp.
    fn timestamp_type(&self) -> TimestampType;
    /// Both of these at once, where asking twice costs more.
    #[inline(always)]
    fn timestamp(&self) -> (i64, TimestampType) {
        (self.timestamp_ms(), self.timestamp_type())
    }
    /// The key's bytes, or `None` for null.
    fn key(&self) -> Option<&[u8]>;
    /// The value's bytes, or `None` for null (a tombstone).
    fn value(&self) -> Option<&[u8]>;
    /// The headers. May be called twice for one record (to size it, then to write it).
    fn headers(&self) -> Self::Headers<'_>;
}

/// A record that borrows its parts one by one: for sources that keep records in memory, for tests
/// and for benches.
#[derive(Clone, Copy, Debug)]
pub struct RecordRef<'r> {
    /// See [`Record::partition`].
    pub partition: Partition,
    /// See [`Record::offset`].
    pub offset: Offset,
    /// See [`Record::timestamp_ms`].
    pub timestamp_ms: i64,
    /// See [`Record::timestamp_type`].
    pub timestamp_type: TimestampType,
    /// See [`Record::key`].
    pub key: Option<&'r [u8]>,
    /// See [`Record::value`].
    pub value: Option<&'r [u8]>,
    /// See [`Record::headers`].
    pub headers: &'r [Header<'r>],
}

impl Record for RecordRef<'_> {
    type Headers<'a>
        = std::iter::Copied<std::slice::Iter<'a, Header<'a>>>
    where
        Self: 'a;

    const HEADERS_AT_HAND: bool = true;

    fn partition(&self) -> Partition {
        self.partition
    }
    fn offset(&self) -> Offset {
        self.offset
    }
    fn timestamp_ms(&self) -> i64 {
        self.timestamp_ms
    }
    fn timestamp_type(&self) -> TimestampType {
        self.timestamp_type
    }
    fn key(&self) -> Option<&[u8]> {
        self.key
    }
    fn value(&self) -> Option<&[u8]> {
        self.value
    }
    fn headers(&self) -> Self::Headers<'_> {
        self.headers.iter().copied()
    }
}
