//! Writes a capture.

use std::io::{self, Write};

use lz4_flex::block::{compress_into, get_maximum_output_size};

use super::frame::{Head, Kind};
use super::row::{RowWriter, bytes_max};
use super::{BLOCK_BYTES, BLOCK_RECORDS_MAX, CaptureError, Header, Keep, RECORD_BYTES_MAX, Totals};
use crate::record::Record;

/// Writes a capture to anything that takes bytes. Holds one block.
///
/// What was appended is in the file once its block is full, or after [`flush`](Self::flush). Call
/// [`finish`](Self::finish) at the end: without it the reader reports that the capture was cut off.
#[derive(Debug)]
pub struct CaptureWriter<W> {
    out: W,
    name: String,
    keep: Keep,
    rows: RowWriter,
    /// The open block.
    block: Vec<u8>,
    records: u32,
    earliest_ms: i64,
    latest_ms: i64,
    packed: Vec<u8>,
    /// The capture's number.
    capture: u64,
    blocks: u64,
    /// Of closed blocks.
    records_before: u64,
    totals: Totals,
    written: u64,
}

impl<W: Write> CaptureWriter<W> {
    /// Begins a capture on `out`, which errors call `name`. `capture` is any number that other
    /// captures are unlikely to have.
    ///
    /// # Errors
    /// If `out` fails.
    pub fn new(out: W, name: &str, header: &Header, keep: Keep, capture: u64) -> Result<Self, CaptureError> {
        let mut writer = Self {
            out,
            name: name.to_owned(),
            keep,
            rows: RowWriter::new(keep),
            block: Vec::new(),
            records: 0,
            earliest_ms: i64::MAX,
            latest_ms: i64::MIN,
            packed: Vec::new(),
            capture,
            blocks: 0,
            records_before: 0,
            totals: Totals::default(),
            written: 0,
        };
        writer.block = header.write();
        writer.frame(Kind::Header)?;
        Ok(writer)
    }

    /// Appends a record.
    ///
    /// # Errors
    /// [`CaptureError::RecordTooLarge`] leaves the record out, and more may follow;
    /// [`CaptureError::Io`] if the output fails.
    pub fn append<R: Record>(&mut self, record: &R) -> Result<(), CaptureError> {
        let bytes = bytes_max(record);
        if bytes > RECORD_BYTES_MAX {
            return Err(CaptureError::RecordTooLarge {
                partition: record.partition().0,
                offset: record.offset().0,
                bytes,
                limit: RECORD_BYTES_MAX,
            });
        }
        self.rows.write(record, &mut self.block, &mut self.totals);
        self.records += 1;
        self.earliest_ms = self.earliest_ms.min(record.timestamp_ms());
        self.latest_ms = self.latest_ms.max(record.timestamp_ms());
        if self.block.len() >= BLOCK_BYTES || self.records == BLOCK_RECORDS_MAX {
            self.close_block()?;
        }
        Ok(())
    }

    /// Closes the open block, so that everything appended is written.
    ///
    /// # Errors
    /// If the output fails.
    pub fn flush(&mut self) -> Result<(), CaptureError> {
        if self.records > 0 {
            self.close_block()?;
        }
        self.out.flush().map_err(|reason| self.failed(reason))
    }

    /// Writes the end. Returns the output, and how many bytes were written to it in all.
    ///
    /// # Errors
    /// If the output fails.
    pub fn finish(mut self) -> Result<(W, u64), CaptureError> {
        self.flush()?;
        self.block = self.totals.write();
        self.frame(Kind::End)?;
        self.out.flush().map_err(|reason| self.failed(reason))?;
        Ok((self.out, self.written))
    }

    /// Sums over all records so far.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// Bytes written so far.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written
    }

    fn close_block(&mut self) -> Result<(), CaptureError> {
        self.frame(Kind::Block(self.keep))?;
        self.blocks += 1;
        self.records_before += u64::from(self.records);
        self.records = 0;
        (self.earliest_ms, self.latest_ms) = (i64::MAX, i64::MIN);
        Ok(())
    }

    /// Writes `block` as a frame, and clears it.
    fn frame(&mut self, kind: Kind) -> Result<(), CaptureError> {
        let is_block = matches!(kind, Kind::Block(_));
        self.packed.resize(get_maximum_output_size(self.block.len()), 0);
        // Whatever does not become smaller stays as it is.
        let packed = compress_into(&self.block, &mut self.packed)
            .ok()
            .filter(|packed| is_block && *packed < self.block.len());
        let body = packed.map_or(&self.block[..], |packed| &self.packed[..packed]);
        let head = Head {
            kind,
            compressed: packed.is_some(),
            body_bytes: u32::try_from(body.len()).expect("a block has its limit"),
            raw_bytes: u32::try_from(self.block.len()).expect("a block has its limit"),
            records: if is_block { self.records } else { 0 },
            capture: self.capture,
            number: self.blocks,
            records_before: self.records_before,
            earliest_ms: if is_block { self.earliest_ms } else { 0 },
            latest_ms: if is_block { self.latest_ms } else { 0 },
            body_crc: crc32fast::hash(body),
        };
        let written = self.out.write_all(&head.write()).and_then(|()| self.out.write_all(body));
        written.map_err(|reason| self.failed(reason))?;
        self.written += head.frame_bytes() as u64;
        self.block.clear();
        self.rows.begin();
        Ok(())
    }

    fn failed(&self, reason: io::Error) -> CaptureError {
        CaptureError::Io { name: self.name.clone(), at: self.written, reason }
    }
}
