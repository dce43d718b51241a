//! Where the next byte of a run goes.
//!
//! The writer asks how much room is [`left`](Cursor::left), once per record and once per header,
//! and then writes without looking: that is what the `unsafe` here buys. Wide stores may spill up
//! to [`SPILL_BYTES`] behind the text, which the buffer has there for the purpose.
#![expect(unsafe_code, reason = "one check per record or header stands for all its stores")]
#![expect(clippy::multiple_unsafe_ops_per_block, reason = "the same bound covers the stores of a text")]

use super::base64::base64_len;
use super::headers::{header_len_exact, header_len_max};
use super::kernel::{Kernel, SPILL_BYTES};
use super::stamp::{KEY_BYTES, Stamp};
use super::template::Template;
use crate::record::Header;
use std::marker::PhantomData;
use std::ptr::NonNull;

/// A position in a buffer that only moves forward. A copy is a mark to go back to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'b> {
    at: *mut u8,
    limit: *mut u8,
    buffer: PhantomData<&'b [u8]>,
}

/// What a record has besides headers, and how long that becomes.
pub(super) struct Body<'r> {
    offset: i64,
    timestamp_ms: i64,
    key: Option<Part<'r>>,
    value: Option<Part<'r>>,
}

/// Bytes and the length of their base64.
#[derive(Clone, Copy)]
struct Part<'r> {
    bytes: &'r [u8],
    len: usize,
}

impl<'r> Part<'r> {
    #[inline(always)]
    fn new(bytes: &'r [u8]) -> Self {
        Self { bytes, len: base64_len(bytes.len()) }
    }
}

impl<'r> Body<'r> {
    #[inline(always)]
    pub(super) fn new(
        offset: i64,
        timestamp_ms: i64,
        key: Option<&'r [u8]>,
        value: Option<&'r [u8]>,
    ) -> Self {
        Self { offset, timestamp_ms, key: key.map(Part::new), value: value.map(Part::new) }
    }

    /// The exact size of the record up to its headers, with a stamp that fits it.
    #[inline(always)]
    pub(super) fn len(&self, stamp: &Stamp) -> usize {
        stamp.outside()
            + stamp.len()
            + self.key.map_or(0, |key| KEY_BYTES + key.len + 1)
            + self.value.map_or(0, |value| VALUE.len + value.len + 1)
    }
}

/// A text of up to 16 bytes, put by one store.
pub(super) struct Word {
    bytes: [u8; 16],
    len: usize,
}

impl Word {
    /// # Panics
    /// At compile time, if `text` is longer than 16 bytes.
    pub(super) const fn new(text: &str) -> Self {
        let mut bytes = [0; 16];
        let mut at = 0;
        while at < text.len() {
            bytes[at] = text.as_bytes()[at];
            at += 1;
        }
        Self { bytes, len: text.len() }
    }
}

const VALUE: Word = Word::new(r#","value":""#);

impl<'b> Cursor<'b> {
    /// A cursor at the beginning of `buffer` that may put `room` bytes.
    ///
    /// # Panics
    /// If `buffer` does not have [`SPILL_BYTES`] more than that.
    #[inline(always)]
    pub(super) fn new(buffer: &'b mut [u8], room: usize) -> Self {
        assert!(
            room.saturating_add(SPILL_BYTES) <= buffer.len(),
            "the buffer has room, and slack for wide stores"
        );
        let at = buffer.as_mut_ptr();
        // SAFETY: within the buffer.
        Self { at, limit: unsafe { at.add(room) }, buffer: PhantomData }
    }

    /// Bytes put since the cursor stood at `mark`.
    #[inline(always)]
    pub(super) fn since(&self, mark: Self) -> usize {
        self.at.addr() - mark.at.addr()
    }

    /// Bytes that may still be put.
    #[inline(always)]
    pub(super) fn left(&self) -> usize {
        self.limit.addr() - self.at.addr()
    }

    /// Puts `text`.
    ///
    /// # Safety
    /// There are so many bytes [`left`](Self::left).
    #[inline(always)]
    pub(super) unsafe fn put(&mut self, text: &Word) {
        debug_assert!(text.len <= self.left());
        // SAFETY: the caller promises the room; what spills is in the buffer's slack.
        unsafe {
            self.at.cast::<[u8; 16]>().write_unaligned(text.bytes);
            self.at = self.at.add(text.len);
        }
    }

    /// Puts base64 and the quote that ends it.
    ///
    /// # Safety
    /// There is room for that; the CPU has the features of `K`'s tier.
    #[inline(always)]
    unsafe fn put_quoted<K: Kernel>(&mut self, part: Part<'_>) {
        debug_assert!(part.len < self.left());
        // SAFETY: the caller promises the room.
        unsafe {
            self.at = K::base64(part.bytes, part.len, self.at);
            self.at.write(b'"');
            self.at = self.at.add(1);
        }
    }

    /// Puts a record up to its headers.
    ///
    /// # Safety
    /// - `stamp` fits the record, and is `template`'s;
    /// - there are [`body.len(stamp)`](Body::len) bytes [`left`](Self::left);
    /// - the CPU has the features of `K`'s tier.
    #[inline(always)]
    pub(super) unsafe fn put_body<K: Kernel>(&mut self, stamp: &Stamp, template: &Template, body: &Body<'_>) {
        debug_assert!(body.len(stamp) <= self.left());
        if stamp.outside() > 0 {
            // SAFETY: part of the body's length.
            self.at = unsafe { put_slice(stamp.outside_text(template), self.at) };
        }
        let stamp_len = stamp.len() + if body.key.is_some() { KEY_BYTES } else { 0 };
        // SAFETY: the stamp is part of the body's length, and its digits end within it. The digits
        // are stored after the stamp and before anything behind it.
        unsafe {
            let end = K::stamp(stamp.text(), stamp_len, self.at);
            let (places, digits) = stamp.digits::<K>(body.offset, body.timestamp_ms);
            for (place, digits) in places.into_iter().zip(digits) {
                self.at.add(place).cast::<u64>().write_unaligned(digits.to_le());
            }
            self.at = end;
        }
        if let Some(key) = body.key {
            // SAFETY: part of the body's length; what stands before it ended the stamp.
            unsafe { self.put_quoted::<K>(key) };
        }
        if let Some(value) = body.value {
            // SAFETY: part of the body's length.
            unsafe {
                self.put(&VALUE);
                self.put_quoted::<K>(value);
            }
        }
    }

    /// Puts the headers and what ends the record behind `"headers":[`, if they surely fit: by an
    /// upper bound for each header, or by its `exact` size. Otherwise what was put does not count.
    ///
    /// # Safety
    /// There are two bytes [`left`](Self::left); the CPU has the features of `K`'s tier.
    #[inline(always)]
    pub(super) unsafe fn put_headers<'h, K: Kernel>(
        self,
        headers: impl Iterator<Item = Header<'h>>,
        exact: bool,
    ) -> Option<Self> {
        // Through registers: a cursor that is handed over in memory is stored in words and loaded
        // at once by wider moves, which wait for the stores.
        // SAFETY: the conditions are the same.
        let end = unsafe { K::headers(headers, self.at, self.left(), exact) }?;
        Some(Self { at: end.as_ptr(), ..self })
    }
}

/// See [`Cursor::put_headers`]: this is its loop, for a tier to compile with its features. `left`
/// bytes may be put at `at`.
///
/// # Safety
/// As for [`Kernel::headers`].
#[inline(always)]
pub(super) unsafe fn put_headers<'h, K: Kernel>(
    headers: impl Iterator<Item = Header<'h>>,
    at: *mut u8,
    left: usize,
    exact: bool,
) -> Option<NonNull<u8>> {
    let limit = at.addr() + left;
    let mut end = at;
    for header in headers {
        let bytes = if exact { header_len_exact(&header) } else { header_len_max(&header) };
        if limit - end.addr() < bytes + "]}".len() {
            return None;
        }
        // SAFETY: the header and the comma behind it are less than what was just asked for; the
        // caller promises the features.
        end = unsafe { K::header(header.name, header.value.unwrap_or_default(), end) };
    }
    // The bracket takes the place of the last header's comma.
    let comma = usize::from(end != at);
    // SAFETY: the comma is there, and two bytes behind the header's text have room, as was asked.
    unsafe {
        let bracket = end.sub(comma);
        bracket.cast::<[u8; 2]>().write_unaligned(*b"]}");
        NonNull::new(bracket.add(2))
    }
}

/// Out of line, because no name nor topic of ordinary kind needs it.
///
/// # Safety
/// There are `text.len()` bytes of room at `at`.
#[cold]
#[inline(never)]
pub(super) unsafe fn put_slice(text: &[u8], at: *mut u8) -> *mut u8 {
    // SAFETY: the caller promises the room; `text` is not in the buffer, which is borrowed.
    unsafe {
        at.copy_from_nonoverlapping(text.as_ptr(), text.len());
        at.add(text.len())
    }
}
