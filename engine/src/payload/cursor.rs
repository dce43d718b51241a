//! Where the next byte of a run goes.
//!
//! The writer asks how much room is [`left`](Cursor::left), once per record and once per header,
//! and then writes without looking: that is what the `unsafe` here buys. Wide stores may spill up
//! to [`SPILL_BYTES`] behind the text, which the buffer has there for the purpose.
#![expect(unsafe_code, reason = "one check per record or header stands for all its stores")]
#![expect(clippy::multiple_unsafe_ops_per_block, reason = "the same bound covers the stores of a text")]

use super::base64::base64_len;
use super::escape;
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
            + self.value.map_or(0, |value| VALUE.len() + base64_len(value.len()) + 1)
    }
}

const VALUE: &[u8; 10] = br#","value":""#;

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
    /// There are `N` bytes [`left`](Self::left).
    #[inline(always)]
    pub(super) unsafe fn put<const N: usize>(&mut self, text: &[u8; N]) {
        debug_assert!(N <= self.left());
        // SAFETY: the caller promises the room, so store and advance stay within the buffer.
        unsafe {
            self.at.cast::<[u8; N]>().write_unaligned(*text);
            self.at = self.at.add(N);
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
            unsafe { self.put_slice(&template.prefix()[..stamp.outside()]) };
        }
        let stamp_len = stamp.len() + if body.key.is_some() { KEY_BYTES } else { 0 };
        // SAFETY: the stamp is part of the body's length, and its digits end within it. The digits
        // are stored after the stamp and before anything behind it.
        unsafe {
            let end = K::stamp(stamp.text(), stamp_len, self.at);
            for (at, digits) in stamp.digits(body.offset, body.timestamp_ms) {
                self.at.add(at).cast::<u64>().write_unaligned(digits.to_le());
            }
            self.at = end;
        }
        if let Some(key) = body.key {
            // SAFETY: part of the body's length.
            unsafe {
                self.at = K::base64(key, self.at);
                self.put(b"\"");
            }
        }
        if let Some(value) = body.value {
            // SAFETY: part of the body's length.
            unsafe {
                self.put(VALUE);
                self.at = K::base64(value, self.at);
                self.put(b"\"");
            }
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
        // SAFETY: all of this is the header and one byte more; the kernels' spill is the buffer's
        // slack. `numbers` leaves a comma, which the bracket replaces, unless there are none.
        unsafe {
            self.put(b"{\"");
            match K::plain(header.name, self.at) {
                Some(end) => self.at = end,
                None => self.put_escaped(header.name),
            }
            self.put(b"\":[");
            if let Some(value) = header.value
                && !value.is_empty()
            {
                self.at = K::numbers(value, self.at).sub(1);
            }
            self.put(b"]},");
        }
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
            self.put(b"]}");
        }
    }

    /// Out of line, because names that need it are rare.
    ///
    /// # Safety
    /// There is room for the escaped text.
    #[cold]
    #[inline(never)]
    unsafe fn put_escaped(&mut self, text: &[u8]) {
        // SAFETY: the pieces together are the escaped text.
        escape::pieces(text, |piece| unsafe { self.put_slice(piece) });
    }

    /// # Safety
    /// There are `text.len()` bytes [`left`](Self::left).
    unsafe fn put_slice(&mut self, text: &[u8]) {
        debug_assert!(text.len() <= self.left());
        // SAFETY: the caller promises the room; `text` is not in the buffer, which is borrowed.
        unsafe {
            self.at.copy_from_nonoverlapping(text.as_ptr(), text.len());
            self.at = self.at.add(text.len());
        }
    }
}
