//! Where the next byte of a run goes.
//!
//! The writer asks how much room is [`left`](Cursor::left), once per record and once per header,
//! and then writes without looking: that is what the `unsafe` here buys. Wide stores may spill up
//! to [`SPILL_BYTES`] behind the text, which the buffer has there for the purpose.
#![expect(unsafe_code, reason = "one check per record or header stands for all its stores")]
#![expect(clippy::multiple_unsafe_ops_per_block, reason = "the same bound covers the stores of a text")]

use super::base64::base64_len;
use super::kernel::{Kernel, SPILL_BYTES};
use super::stamp::{KEY_BYTES, Stamp};
use super::template::Template;
use crate::record::Header;
use std::marker::PhantomData;

/// A position in a buffer that only moves forward.
#[derive(Debug)]
pub(super) struct Cursor<'b> {
    at: *mut u8,
    start: *mut u8,
    room: usize,
    buffer: PhantomData<&'b mut [u8]>,
}

/// What a record has besides headers.
pub(super) struct Body<'r> {
    pub(super) offset: i64,
    pub(super) timestamp_ms: i64,
    pub(super) key: Option<&'r [u8]>,
    pub(super) value: Option<&'r [u8]>,
}

impl Body<'_> {
    /// The exact size of the record up to its headers, with a stamp that fits it.
    #[inline(always)]
    pub(super) fn len(&self, stamp: &Stamp) -> usize {
        stamp.outside()
            + stamp.len()
            + self.key.map_or(0, |key| KEY_BYTES + base64_len(key.len()) + 1)
            + self.value.map_or(0, |value| VALUE.len + base64_len(value.len()) + 1)
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

const QUOTE: Word = Word::new("\"");
const VALUE: Word = Word::new(r#","value":""#);
const KEY_END_VALUE: Word = Word::new(r#"","value":""#);

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
        let start = buffer.as_mut_ptr();
        Self { at: start, start, room, buffer: PhantomData }
    }

    /// Bytes put so far.
    #[inline(always)]
    pub(super) fn written(&self) -> usize {
        self.at.addr() - self.start.addr()
    }

    /// Bytes that may still be put.
    #[inline(always)]
    pub(super) fn left(&self) -> usize {
        self.room - self.written()
    }

    /// Puts `text`.
    ///
    /// # Safety
    /// There are so many bytes [`left`](Self::left).
    #[inline(always)]
    pub(super) unsafe fn put(&mut self, text: &Word) {
        debug_assert!(text.len <= self.left());
        // SAFETY: the text and spill, within the buffer's slack.
        unsafe { self.at.cast::<[u8; 16]>().write_unaligned(text.bytes) };
        // SAFETY: the caller promises the room.
        self.at = unsafe { self.at.add(text.len) };
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
        // The middle between key and value, without and with what ends a key. Nothing is put twice:
        // two places that encode keep the loop small.
        let mut end = None;
        if let Some(key) = body.key {
            // SAFETY: part of the body's length.
            self.at = unsafe { K::base64(key, self.at) };
            end = Some(&QUOTE);
        }
        if let Some(value) = body.value {
            // SAFETY: part of the body's length.
            unsafe {
                self.put(if end.is_some() { &KEY_END_VALUE } else { &VALUE });
                self.at = K::base64(value, self.at);
            }
            end = Some(&QUOTE);
        }
        if let Some(end) = end {
            // SAFETY: part of the body's length.
            unsafe { self.put(end) };
        }
    }

    /// Puts `{"name":[…]},`: the comma is there for the next header, or for
    /// [`end_headers`](Self::end_headers).
    ///
    /// # Safety
    /// There is room [`left`](Self::left) for the header and two bytes more; the CPU has the
    /// features of `K`'s tier.
    #[inline(always)]
    pub(super) unsafe fn put_header<K: Kernel>(&mut self, header: &Header<'_>) {
        // SAFETY: the header and one byte more; the kernels' spill is the buffer's slack.
        self.at = unsafe { K::header(header.name, header.value.unwrap_or_default(), self.at) };
    }

    /// Replaces the last header's comma by `]}`.
    ///
    /// # Safety
    /// The last thing put is a header.
    #[inline(always)]
    pub(super) unsafe fn end_headers(&mut self) {
        // SAFETY: the comma is there, and a header leaves room for one byte behind it.
        unsafe {
            self.at = self.at.sub(1);
            self.put(&const { Word::new("]}") });
        }
    }
}

/// Out of line, because no topic that Kafka allows needs it.
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
