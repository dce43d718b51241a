//! Where the next byte of a run goes.
//!
//! The writer asks how much room is [`left`](Cursor::left), once per record and once per header,
//! and then writes without looking: that is what the `unsafe` here buys. Wide stores may spill up
//! to [`SPILL_BYTES`] behind the text, which the buffer has there for the purpose.
#![expect(unsafe_code, reason = "one check per record or header stands for all its stores")]
#![expect(clippy::multiple_unsafe_ops_per_block, reason = "the same bound covers the stores of a text")]

use super::base64::groups_of;
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

/// What a record has besides headers.
#[derive(Clone, Copy)]
pub(super) struct Body<'r> {
    pub(super) offset: i64,
    pub(super) timestamp_ms: i64,
    pub(super) key: Option<&'r [u8]>,
    pub(super) value: Option<&'r [u8]>,
}

impl Body<'_> {
    /// The exact size of the record up to its headers, with a stamp that fits it. The quote that
    /// closes the last string belongs to what follows.
    fn len(&self, stamp: &Stamp) -> usize {
        stamp.outside()
            + stamp.len()
            + self.key.map_or(0, |key| KEY_BYTES + 4 * groups_of(key))
            + self.value.map_or(0, |value| VALUE.len + 4 * groups_of(value))
    }

    /// An upper bound of [`len`](Self::len) that costs less.
    #[inline(always)]
    pub(super) fn len_max(&self, stamp: &Stamp) -> usize {
        let bytes = self.key.map_or(0, <[u8]>::len) + self.value.map_or(0, <[u8]>::len);
        // Four thirds of each, rounded up to a group.
        stamp.outside() + stamp.len() + KEY_BYTES + VALUE.len + bytes + bytes / 2 + 2 * 4
    }

    /// Whether the record fits in `left` bytes, if it has no headers.
    #[cold]
    #[inline(never)]
    pub(super) fn fits(&self, stamp: &Stamp, left: usize) -> bool {
        self.len(stamp) + REST_BYTES_MIN <= left
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

// Each of these closes the string before it: a record is stamp, base64, word, base64, word.
const VALUE: Word = Word::new(r#"","value":""#);
const HEADERS: Word = Word::new(r#"","headers":["#);
const NO_HEADERS: Word = Word::new(r#"","headers":[]}"#);

/// What every record has behind its body, at least.
pub(super) const REST_BYTES_MIN: usize = NO_HEADERS.len;

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

    /// Puts a record up to its headers.
    ///
    /// # Safety
    /// - `stamp` fits the record, and is `template`'s;
    /// - there are `body.len(stamp)` bytes [`left`](Self::left), and [`REST_BYTES_MIN`] more;
    /// - the CPU has the features of `K`'s tier.
    #[inline(always)]
    pub(super) unsafe fn put_body<K: Kernel>(&mut self, stamp: &Stamp, template: &Template, body: &Body<'_>) {
        debug_assert!(body.len(stamp) <= self.left());
        if stamp.outside() > 0 {
            // SAFETY: part of the body's length.
            self.at = unsafe { put_slice(stamp.outside_text(template), self.at) };
        }
        // With the key's text, even if there is no key: that saves a decision.
        const { assert!(KEY_BYTES <= REST_BYTES_MIN) };
        // SAFETY: the stamp is part of the body's length, and what stands behind it is less than
        // what a record has behind its body. Its digits end within it; they are stored after the
        // stamp and before anything behind it.
        unsafe {
            K::stamp(stamp.text(), stamp.len() + KEY_BYTES, self.at);
            stamp.put_digits::<K>(body.offset, body.timestamp_ms, self.at);
            self.at = self.at.add(stamp.len());
        }
        if let Some(key) = body.key {
            // SAFETY: part of the body's length. What stands before the key ended the stamp.
            unsafe { self.at = K::short_base64(key, groups_of(key), self.at.add(KEY_BYTES)) };
        }
        if let Some(value) = body.value {
            // SAFETY: part of the body's length.
            unsafe {
                self.put(&VALUE);
                self.at = K::base64(value, groups_of(value), self.at);
            }
        }
    }

    /// Puts what ends a record without headers.
    ///
    /// # Safety
    /// There are [`REST_BYTES_MIN`] bytes [`left`](Self::left).
    #[inline(always)]
    pub(super) unsafe fn put_no_headers(&mut self) {
        // SAFETY: the condition is the same.
        unsafe { self.put(&NO_HEADERS) };
    }

    /// Puts the headers and what ends the record, if they surely fit: by an upper bound for each
    /// header, or by its `exact` size. Otherwise what was put does not count.
    ///
    /// # Safety
    /// There are [`REST_BYTES_MIN`] bytes [`left`](Self::left); the CPU has the features of `K`'s
    /// tier.
    #[inline(always)]
    pub(super) unsafe fn put_headers<'h, K: Kernel>(
        mut self,
        headers: impl Iterator<Item = Header<'h>>,
        exact: bool,
    ) -> Option<Self> {
        // SAFETY: less than what there is left.
        unsafe { self.put(&HEADERS) };
        // Through registers: a cursor that is handed over in memory is stored in words and loaded
        // at once by wider moves, which wait for the stores.
        // SAFETY: the conditions are the same.
        let end = unsafe { headers_apart::<K>(headers, self.at, self.left(), exact) }?;
        Some(Self { at: end.as_ptr(), ..self })
    }
}

/// [`Kernel::headers`], kept apart from the loop over records, so that the loop has the registers
/// for itself. A function without the tier's features, because where there are some the compiler
/// (Rust 1.95) forgets `inline(never)`.
///
/// # Safety
/// As for [`Kernel::headers`].
#[inline(never)]
unsafe fn headers_apart<'h, K: Kernel>(
    headers: impl Iterator<Item = Header<'h>>,
    at: *mut u8,
    left: usize,
    exact: bool,
) -> Option<NonNull<u8>> {
    // SAFETY: the conditions are the same.
    unsafe { K::headers(headers, at, left, exact) }
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
        let bytes = if exact { header_len_exact(header) } else { header_len_max(header) };
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
