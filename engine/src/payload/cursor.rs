//! Where the next byte of a run goes.
//!
//! The writer asks how much room is [`left`](Cursor::left), once per record and once per header,
//! and then writes without looking: that is what the `unsafe` here buys. Wide stores may spill up
//! to [`SPILL_BYTES`] behind the text, which the buffer has there for the purpose.
#![expect(unsafe_code, reason = "one check per record or header stands for all its stores")]
#![expect(clippy::multiple_unsafe_ops_per_block, reason = "the same bound covers the stores of a text")]

use super::base64::groups_of;
use super::headers::{
    NUMBER_BYTES_MAX, PLAIN_HEADER_BYTES_MAX, PLAIN_NAME_BYTES_MAX, header_len_exact, header_len_max,
};
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
    #[inline(always)]
    fn len(self, stamp: &Stamp) -> usize {
        stamp.outside()
            + stamp.len()
            + self.key.map_or(0, |key| KEY_BYTES + 4 * groups_of(key))
            + self.value.map_or(0, |value| VALUE.len + 4 * groups_of(value))
    }

    /// An upper bound of the record's size, if it has no headers, that costs less. For a stamp with
    /// something [outside](Stamp::outside) more than there can be room for.
    #[inline(always)]
    pub(super) fn len_max(self, stamp: &Stamp) -> usize {
        let bytes = self.key.map_or(0, <[u8]>::len) + self.value.map_or(0, <[u8]>::len);
        // At least four thirds of each; what rounding up to a group adds is among the rest.
        stamp.record_len_max() + bytes + bytes / 2
    }

    /// Whether the record fits in `left` bytes, if it has no headers. Inlined, because a call would
    /// have the loop over records store the body for it, each time.
    #[inline(always)]
    pub(super) fn fits(self, stamp: &Stamp, left: usize) -> bool {
        self.len(stamp) + REST_BYTES_MIN <= left
    }
}

/// What a record without headers has besides stamp and base64, and what the base64 of key and value
/// may be longer than four thirds of their bytes.
pub(super) const RECORD_REST_BYTES_MAX: usize = KEY_BYTES + VALUE.len + NO_HEADERS.len + 2 * 4;

/// What stands behind a text of base64, or of none, with the padding of the text: both are put by
/// one store.
struct Ending<const N: usize> {
    /// With as much padding before it as there may be. Aligned, so that no load crosses a line.
    padded: [Aligned<N>; 3],
    len: usize,
}

#[derive(Clone, Copy)]
#[repr(align(32))]
struct Aligned<const N: usize>([u8; N]);

impl<const N: usize> Ending<N> {
    /// # Panics
    /// At compile time, if `text` and two bytes of padding are longer than `N` bytes.
    const fn new(text: &str) -> Self {
        let mut padded = [Aligned([b'='; N]); 3];
        let mut missing = 0;
        while missing < 3 {
            let mut at = 0;
            while at < text.len() {
                padded[missing].0[missing + at] = text.as_bytes()[at];
                at += 1;
            }
            missing += 1;
        }
        Self { padded, len: text.len() }
    }
}

// Each of these closes the string before it: a record is stamp, base64, ending, base64, ending.
static VALUE: Ending<16> = Ending::new(r#"","value":""#);
static HEADERS: Ending<16> = Ending::new(r#"","headers":["#);
static NO_HEADERS: Ending<32> = Ending::new(r#"","headers":[]}"#);

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
        self.at.addr().wrapping_sub(mark.at.addr())
    }

    /// A mark that many `bytes` before: to count from, with [`since`](Self::since).
    #[inline(always)]
    pub(super) fn less(&self, bytes: usize) -> Self {
        Self { at: self.at.wrapping_sub(bytes), limit: self.at, buffer: PhantomData }
    }

    /// Bytes that may still be put.
    #[inline(always)]
    pub(super) fn left(&self) -> usize {
        self.limit.addr() - self.at.addr()
    }

    /// Puts `ending` behind a text of base64 whose last group misses `missing` bytes.
    ///
    /// # Safety
    /// There are as many bytes [`left`](Self::left) as the ending has; `missing` is below three, and
    /// so many bytes were put before.
    #[inline(always)]
    unsafe fn put<const N: usize>(&mut self, ending: &Ending<N>, missing: usize) {
        debug_assert!(ending.len <= self.left() && missing < 3);
        // SAFETY: the caller promises the room; what spills is in the buffer's slack.
        unsafe {
            let padded = ending.padded.get_unchecked(missing).0;
            self.at.sub(missing).cast::<[u8; N]>().write_unaligned(padded);
            self.at = self.at.add(ending.len);
        }
    }

    /// Puts a record up to its headers, but for the padding of its last text. Returns how many bytes
    /// that has.
    ///
    /// # Safety
    /// - `stamp` fits the record, and nothing of it is [outside](Stamp::outside); `held` is what `K`
    ///   holds of it;
    /// - there are `body.len(stamp)` bytes [`left`](Self::left), and [`REST_BYTES_MIN`] more;
    /// - the CPU has the features of `K`'s tier.
    #[inline(always)]
    pub(super) unsafe fn put_body<K: Kernel>(
        &mut self,
        held: K::Held,
        stamp: &Stamp,
        body: &Body<'_>,
    ) -> usize {
        debug_assert!(body.len(stamp) - stamp.outside() <= self.left());
        // With the key's text, even if there is no key: that saves a decision.
        const { assert!(KEY_BYTES <= REST_BYTES_MIN) };
        // Asked before anything is written, after which the compiler would have to look again.
        let len = stamp.len();
        // SAFETY: the stamp is part of the body's length, and what stands behind it is less than
        // what a record has behind its body.
        unsafe {
            K::stamp(held, stamp.text(), stamp.low(body.offset, body.timestamp_ms), self.at);
            self.at = self.at.add(len);
        }
        let mut missing = 0;
        if let Some(key) = body.key {
            let groups = groups_of(key);
            missing = 3 * groups - key.len();
            // SAFETY: part of the body's length. What stands before the key ended the stamp.
            unsafe { self.at = K::short_base64(key, groups, self.at.add(KEY_BYTES)) };
        }
        if let Some(value) = body.value {
            let groups = groups_of(value);
            // SAFETY: part of the body's length.
            unsafe {
                self.put(&VALUE, missing);
                self.at = K::base64(value, groups, self.at);
            }
            missing = 3 * groups - value.len();
        }
        missing
    }

    /// [`put_body`](Self::put_body), out of line, and with what is outside of the stamp. Returns the
    /// cursor behind it, too.
    ///
    /// # Safety
    /// As there, but for the outside. `template` is the stamp's.
    #[cold]
    #[inline(never)]
    pub(super) unsafe fn with_body_apart<K: Kernel>(
        mut self,
        stamp: &Stamp,
        template: &Template,
        body: &Body<'_>,
    ) -> (Self, usize) {
        // SAFETY: part of the body's length.
        self.at = unsafe { put_slice(stamp.outside_text(template), self.at) };
        // SAFETY: the conditions are the same.
        let missing = unsafe { self.put_body::<K>(K::hold(stamp.text()), stamp, body) };
        (self, missing)
    }

    /// Puts what ends a record without headers. `missing` is what [`put_body`](Self::put_body)
    /// returned.
    ///
    /// # Safety
    /// There are [`REST_BYTES_MIN`] bytes [`left`](Self::left), and the body was put.
    #[inline(always)]
    pub(super) unsafe fn put_no_headers(&mut self, missing: usize) {
        // SAFETY: the conditions are the same.
        unsafe { self.put(&NO_HEADERS, missing) };
    }

    /// Puts what a record has behind its body: [`put_no_headers`](Self::put_no_headers) or
    /// [`put_headers`](Self::put_headers).
    ///
    /// # Safety
    /// As for these.
    #[inline(always)]
    pub(super) unsafe fn put_rest<'h, K: Kernel>(
        mut self,
        headers: impl Iterator<Item = Header<'h>>,
        exact: bool,
        missing: usize,
    ) -> Option<Self> {
        if headers.size_hint().1 == Some(0) {
            // SAFETY: the conditions are the same.
            unsafe { self.put_no_headers(missing) };
            return Some(self);
        }
        // SAFETY: the conditions are the same.
        unsafe { self.put_headers::<K>(headers, exact, missing) }
    }

    /// Puts the headers and what ends the record, if they surely fit by an upper bound for each, and
    /// no name nor value is out of the ordinary. Otherwise what was put does not count, and it is for
    /// [`put_headers`](Self::put_headers) to do. Calls nothing. `missing` is what
    /// [`put_body`](Self::put_body) returned.
    ///
    /// # Safety
    /// As for `put_headers`.
    #[inline(always)]
    pub(super) unsafe fn put_plain_headers<'h, K: Kernel>(
        mut self,
        mut headers: impl Iterator<Item = Header<'h>>,
        missing: usize,
    ) -> Option<Self> {
        // SAFETY: less than what there is left.
        unsafe { self.put(&HEADERS, missing) };
        let start = self.at;
        // Everything but the numbers is taken off once.
        let limit = self.limit.addr().saturating_sub(PLAIN_HEADER_BYTES_MAX + "]}".len());
        // A loop would ask each time whether the iterator made a header. (That the closure is inlined
        // is up to the compiler; the baseline of instructions would show it.)
        let end = headers.try_fold(start, |at, header| {
            let value = header.value?;
            if header.name.len() > PLAIN_NAME_BYTES_MAX || at.addr() + NUMBER_BYTES_MAX * value.len() > limit
            {
                return None;
            }
            // SAFETY: the header and the comma behind it are less than what was just asked for; the
            // caller promises the features.
            unsafe { K::plain_header(header.name, value, at) }
        })?;
        // SAFETY: there is room for the end, as was asked.
        self.at = unsafe { end_headers(start, end) };
        Some(self)
    }

    /// Puts the headers and what ends the record, if they surely fit: by an upper bound for each
    /// header, or by its `exact` size. Otherwise what was put does not count. `missing` is what
    /// [`put_body`](Self::put_body) returned.
    ///
    /// # Safety
    /// There are [`REST_BYTES_MIN`] bytes [`left`](Self::left), and the body was put; the CPU has the features of `K`'s
    /// tier.
    #[inline(always)]
    pub(super) unsafe fn put_headers<'h, K: Kernel>(
        mut self,
        headers: impl Iterator<Item = Header<'h>>,
        exact: bool,
        missing: usize,
    ) -> Option<Self> {
        // SAFETY: less than what there is left.
        unsafe { self.put(&HEADERS, missing) };
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
    // SAFETY: there is room for the end, as was asked.
    NonNull::new(unsafe { end_headers(at, end) })
}

/// Puts what ends a record behind the headers between `start` and `end`. Returns where it ends.
///
/// # Safety
/// There is room for two bytes at `end`.
#[inline(always)]
unsafe fn end_headers(start: *mut u8, end: *mut u8) -> *mut u8 {
    // The bracket takes the place of the last header's comma.
    let comma = usize::from(end != start);
    // SAFETY: the comma is there if there is a header, and the caller promises the rest.
    unsafe {
        let bracket = end.sub(comma);
        bracket.cast::<[u8; 2]>().write_unaligned(*b"]}");
        bracket.add(2)
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
