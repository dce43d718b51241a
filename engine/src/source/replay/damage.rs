//! What can be wrong with a capture: what ends the reading, and what it goes on after.

use std::fmt;
use std::io;
use std::ops::Range;

/// Why a capture cannot be read or written any further.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// The file or pipe itself failed.
    #[error("{name}, byte {at}: {reason}")]
    Io {
        /// The file's name.
        name: String,
        /// How far it was read or written.
        at: u64,
        /// The system's words.
        #[source]
        reason: io::Error,
    },
    /// There is nothing of a capture in it.
    #[error(
        "{name} is not a capture: none of its first {searched} bytes begins one; give a file that \
         `pelton-harness capture` wrote"
    )]
    NotACapture {
        /// The file's name.
        name: String,
        /// How many bytes were searched.
        searched: u64,
    },
    /// Made by a later program.
    #[error(
        "{name}, byte {at}: a capture of version {found}, this program reads version {allowed}; use a newer one"
    )]
    Version {
        /// The file's name.
        name: String,
        /// Where that was found.
        at: u64,
        /// What was found.
        found: u8,
        /// What can be read.
        allowed: u8,
    },
    /// A record that no block can hold.
    #[error(
        "{partition}@{offset}: a record of {bytes} B, a capture holds up to {limit} B each; it is left out"
    )]
    RecordTooLarge {
        /// Where it lies.
        partition: i32,
        /// Where it lies.
        offset: i64,
        /// Its size.
        bytes: usize,
        /// The largest.
        limit: usize,
    },
}

/// A place of a capture that is not whole. What is whole before and after it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where in the file: from the first byte that is wrong, or of the frame that is, to where
    /// reading went on.
    pub bytes: Range<u64>,
    /// The number of the block that should be there.
    pub block: u64,
    /// What is wrong.
    pub cause: Cause,
    /// How many records are gone; `None` if nothing after it says.
    pub records_lost: Option<u64>,
}

/// What is wrong with a place of a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// What should be the head of a frame is none, or its checksum does not match.
    Head,
    /// The checksum of a frame's body does not match.
    Body,
    /// The file ends in the middle of a frame.
    Truncated,
    /// The file ends after a whole frame, but not with the capture's end.
    NoEnd,
    /// Blocks are missing between two that are whole.
    Missing,
    /// A frame that was there already, or belongs before.
    OutOfPlace,
    /// The checksums match, but the content makes no sense: not what this program writes.
    Content(&'static str),
    /// The sums at the end are not those of the records.
    Totals,
    /// Something follows the capture's end.
    Trailing,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes, block, cause, records_lost } = self;
        write!(f, "byte {}, block {block}: ", bytes.start)?;
        let words = match cause {
            Cause::Head => "the head of a frame does not match its checksum",
            Cause::Body => "the block does not match its checksum",
            Cause::Truncated => "the file ends in the middle of it",
            Cause::NoEnd => "the capture has no end: it was cut off, or is still being written",
            Cause::Missing => "blocks are missing",
            Cause::OutOfPlace => "a frame that was read before, or belongs elsewhere; it is left out",
            Cause::Content(what) => what,
            Cause::Totals => "the sums at the end differ from the records before it",
            Cause::Trailing => "something follows the capture's end; it is left out",
        };
        f.write_str(words)?;
        if matches!(cause, Cause::Content(_)) {
            f.write_str(": not written by this program")?;
        }
        if bytes.end > bytes.start {
            write!(f, "; skipped to byte {}", bytes.end)?;
        }
        match records_lost {
            None => Ok(()),
            Some(1) => f.write_str("; 1 record lost"),
            Some(records) => write!(f, "; {records} records lost"),
        }
    }
}
