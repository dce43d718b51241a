//! What each tier provides to the writer's one loop.

use super::base64::portable;
use super::cursor::put_headers;
use super::decimal::eight_digits;
use crate::record::Header;
use std::ptr::NonNull;

/// The routines of a tier. The loop in `writer` is compiled once for each. What has a default works
/// on any CPU, by tables and words of eight bytes.
///
/// # Safety
/// Every routine writes at `dst` and returns the end of what it meant to write. An implementation
/// writes nothing at or behind `end + SPILL_BYTES`, and reads nothing but `src`.
///
/// For callers, of every routine:
/// - the CPU has the tier's features;
/// - `dst` is valid for writes of the text's length (as the routine states it) and
///   [`SPILL_BYTES`] more.
#[expect(unsafe_code, reason = "the routines write through raw pointers, with room checked by their caller")]
pub(super) unsafe trait Kernel: Sized {
    /// Standard base64 with padding.
    ///
    /// # Safety
    /// As for the trait; `groups` is [`groups_of`](super::base64::groups_of) `src`.
    unsafe fn base64(src: &[u8], groups: usize, dst: *mut u8) -> *mut u8;

    /// [`base64`](Self::base64) where the source is short as a rule: a key.
    ///
    /// # Safety
    /// As for [`base64`](Self::base64).
    #[inline(always)]
    unsafe fn short_base64(src: &[u8], groups: usize, dst: *mut u8) -> *mut u8 {
        // SAFETY: the conditions are the same.
        unsafe { Self::base64(src, groups, dst) }
    }

    /// All headers of a record and what ends it; returns the end, or `None` if they may not fit in
    /// `left` bytes. A routine of its own so that a tier can compile [`put_headers`] with its
    /// features.
    ///
    /// # Safety
    /// As for the trait; `left` is at least two.
    #[inline]
    unsafe fn headers<'h>(
        headers: impl Iterator<Item = Header<'h>>,
        at: *mut u8,
        left: usize,
        exact: bool,
    ) -> Option<NonNull<u8>> {
        // SAFETY: the conditions are the same.
        unsafe { put_headers::<Self>(headers, at, left, exact) }
    }

    /// `{"name":[…]},` with the name escaped and every byte of the value as a signed number.
    ///
    /// # Safety
    /// As for the trait.
    #[inline(always)]
    unsafe fn header(name: &[u8], value: &[u8], dst: *mut u8) -> *mut u8 {
        // SAFETY: the conditions are the same.
        unsafe { portable::header(name, value, dst) }
    }

    /// Copies the first `len` bytes of `text`.
    ///
    /// # Safety
    /// As for the trait; `len` is at most [`STAMP_BYTES_MAX`].
    #[inline(always)]
    unsafe fn stamp(text: &StampText, len: usize, dst: *mut u8) -> *mut u8 {
        debug_assert!(len <= STAMP_BYTES_MAX);
        // SAFETY: the caller promises that `len` bytes fit, and that the stamp has them.
        unsafe { dst.copy_from_nonoverlapping(text.0.as_ptr(), len) };
        // SAFETY: the end of the text.
        unsafe { dst.add(len) }
    }

    /// Puts two numbers below [`EIGHT_DIGITS`](super::decimal::EIGHT_DIGITS), each as
    /// [`eight_digits`] in its `frame`.
    ///
    /// # Safety
    /// Eight bytes at each place of `at` are valid for writes; the CPU has the tier's features.
    #[inline(always)]
    unsafe fn put_digits(numbers: [u64; 2], frame: &DigitFrame, at: [*mut u8; 2]) {
        for field in 0..2 {
            let digits = eight_digits(numbers[field]) & frame.mask[field] | frame.lead[field];
            // SAFETY: the caller's promise.
            unsafe { at[field].cast::<u64>().write_unaligned(digits.to_le()) };
        }
    }
}

/// Which of two times eight bytes are digits (`mask`), and what the others are (`lead`, zero where
/// the digits are): numbers of less than eight digits keep the text before them.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(16))]
pub(super) struct DigitFrame {
    pub(super) mask: [u64; 2],
    pub(super) lead: [u64; 2],
}

/// How far behind the end of its text a routine may write.
pub(super) const SPILL_BYTES: usize = 512;

/// The longest stamp.
pub(super) const STAMP_BYTES_MAX: usize = 448;

/// A stamp's text and room for loads that read past its end.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(super) struct StampText(pub(super) [u8; STAMP_BYTES_MAX + 64]);
