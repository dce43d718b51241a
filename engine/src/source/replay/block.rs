//! A block of a capture, read.

use super::Keep;
use super::row::Records;

/// A block that was found whole.
#[derive(Debug)]
pub struct Block<'a> {
    /// Its number, from 0.
    pub number: u64,
    /// What was kept of its records.
    pub keep: Keep,
    /// The earliest timestamp.
    pub earliest_ms: i64,
    /// The latest timestamp.
    pub latest_ms: i64,
    pub(super) body: &'a [u8],
    pub(super) records: u32,
}

impl<'a> Block<'a> {
    /// How many records it has.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.records
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Its records, in order. They borrow from [`body`](Self::body) only.
    #[must_use]
    pub fn records(&self) -> Records<'a> {
        Records::new(self.body, self.records, self.keep)
    }

    /// The bytes that hold them.
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    /// The same block over a copy of [`body`](Self::body) that lives longer.
    ///
    /// # Panics
    /// If `body` is not such a copy.
    #[must_use]
    pub fn over<'b>(&self, body: &'b [u8]) -> Block<'b> {
        assert!(body == self.body, "the copy of a block's body equals it");
        let Self { number, keep, earliest_ms, latest_ms, records, .. } = *self;
        Block { number, keep, earliest_ms, latest_ms, body, records }
    }
}
