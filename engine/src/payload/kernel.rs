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
    /// As for the trait; `len` is [`base64_len`](super::base64::base64_len) of `src`'s.
    unsafe fn base64(src: &[u8], len: usize, dst: *mut u8) -> *mut u8;

    /// All headers of a record and what ends it; returns the end, or `None` if they may not fit in
    /// `left` bytes. A routine of its own so that a tier can compile it apart, with its features,
    /// from [`put_headers`]: the loop over records without headers stays small.
    ///
    /// # Safety
    /// As for the trait; `left` is at least two.
    #[inline(never)]
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

    /// Two numbers below [`EIGHT_DIGITS`](super::decimal::EIGHT_DIGITS) as
    /// [`eight_digits`] each.
    ///
    /// # Safety
    /// The CPU has the tier's features.
    #[inline(always)]
    unsafe fn digits(numbers: [u64; 2]) -> [u64; 2] {
        numbers.map(eight_digits)
    }
}

/// How far behind the end of its text a routine may write.
pub(super) const SPILL_BYTES: usize = 512;

/// The longest stamp.
pub(super) const STAMP_BYTES_MAX: usize = 448;

/// A stamp's text and room for loads that read past its end.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(super) struct StampText(pub(super) [u8; STAMP_BYTES_MAX + 64]);
