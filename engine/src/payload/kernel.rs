//! What each tier provides to the writer's one loop.

use super::base64::portable::ByTable;
use super::cursor::put_headers;
use super::decimal::eight_digits;
use super::headers::{HeaderParts, put_escaped, put_header};
use crate::record::Header;
use std::ptr::NonNull;

/// The routines of a tier. The loop in `writer` is compiled once for each. What has a default works
/// on any CPU, by tables and words of eight bytes.
///
/// # Safety
/// Every routine that has a `dst` writes there, and returns the end of what it meant to write if it
/// returns anything. An implementation writes nothing at or behind `end + SPILL_BYTES`, and reads
/// nothing but its source.
///
/// For callers, of every routine:
/// - the CPU has the tier's features;
/// - `dst` is valid for writes of the text's length (as the routine states it) and
///   [`SPILL_BYTES`] more.
#[expect(unsafe_code, reason = "the routines write through raw pointers, with room checked by their caller")]
pub(super) unsafe trait Kernel: Sized {
    /// What a loop over the records of one stamp keeps in registers.
    type Held: Copy;

    /// See [`Held`](Self::Held).
    ///
    /// # Safety
    /// The CPU has the tier's features.
    unsafe fn hold(stamp: &StampText) -> Self::Held;

    /// Standard base64. Of the padding only the room is part of the text: the caller writes it, in
    /// one store with what follows.
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

    /// `{"name":[…]},` with every byte of the value as a signed number; `None` if the name needs
    /// escaping, or is longer than ordinary.
    ///
    /// # Safety
    /// As for the trait.
    #[inline(always)]
    unsafe fn plain_header(name: &[u8], value: &[u8], dst: *mut u8) -> Option<*mut u8> {
        // SAFETY: the conditions are the same.
        unsafe { put_header::<ByTable>(name, value, dst) }
    }

    /// The same with the name escaped, whatever it is.
    ///
    /// # Safety
    /// As for the trait.
    #[inline(always)]
    unsafe fn header(name: &[u8], value: &[u8], dst: *mut u8) -> *mut u8 {
        // SAFETY: the conditions are the same.
        let plain = unsafe { Self::plain_header(name, value, dst) };
        // SAFETY: the conditions are the same.
        plain.unwrap_or_else(|| unsafe { header_apart(name, value, dst) })
    }

    /// Puts the stamp with the last digits of `numbers`, which are below
    /// [`EIGHT_DIGITS`](super::decimal::EIGHT_DIGITS), in their places. `held` is what was
    /// [held](Self::hold) of the stamp.
    ///
    /// # Safety
    /// As for the trait.
    #[inline(always)]
    unsafe fn stamp(_held: Self::Held, stamp: &StampText, numbers: [u64; 2], dst: *mut u8) -> *mut u8 {
        // SAFETY: the caller's promises.
        unsafe { Self::text(stamp, dst) };
        let places = stamp.at.map(|at| dst.wrapping_add(at));
        // SAFETY: the numbers' eight bytes lie within the text.
        unsafe { Self::digits(numbers, &stamp.frame, places) };
        dst.wrapping_add(stamp.len)
    }

    /// Copies the text of a stamp.
    ///
    /// # Safety
    /// As for the trait.
    #[inline(always)]
    unsafe fn text(stamp: &StampText, dst: *mut u8) {
        // SAFETY: the caller promises that the text fits, and the stamp has it.
        unsafe { dst.copy_from_nonoverlapping(stamp.bytes.0.as_ptr(), stamp.len) };
    }

    /// Puts two numbers below [`EIGHT_DIGITS`](super::decimal::EIGHT_DIGITS), each as
    /// [`eight_digits`] in its `frame`.
    ///
    /// # Safety
    /// Eight bytes at each place of `at` are valid for writes; the CPU has the tier's features.
    #[inline(always)]
    unsafe fn digits(numbers: [u64; 2], frame: &DigitFrame, at: [*mut u8; 2]) {
        for field in 0..2 {
            let digits = eight_digits(numbers[field]) & frame.mask[field] | frame.lead[field];
            // SAFETY: the caller's promise.
            unsafe { at[field].cast::<u64>().write_unaligned(digits.to_le()) };
        }
    }
}

/// [`Kernel::header`] for the rare name, by what every CPU can.
///
/// # Safety
/// As there.
#[cold]
#[inline(never)]
#[expect(unsafe_code, reason = "part of the kernels")]
unsafe fn header_apart(name: &[u8], value: &[u8], dst: *mut u8) -> *mut u8 {
    // SAFETY: the conditions are the same.
    let header = unsafe { put_header::<Escaped>(name, value, dst) };
    header.expect("any name can be escaped")
}

struct Escaped;

// SAFETY: a name spills up to eight bytes, and the numbers are those of another tier.
#[expect(unsafe_code, reason = "part of the kernels")]
unsafe impl HeaderParts for Escaped {
    unsafe fn name(name: &[u8], to: *mut u8) -> Option<*mut u8> {
        // SAFETY: the conditions are the same.
        Some(unsafe { put_escaped(name, to) })
    }

    unsafe fn numbers(value: &[u8], to: *mut u8) -> *mut u8 {
        // SAFETY: the conditions are the same.
        unsafe { ByTable::numbers(value, to) }
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

/// Where in a stamp the changing digits are, counted from its end: a tier can hold so many bytes.
pub(super) const TAIL_BYTES: usize = 128;

/// A stamp for the kernels: text in which two numbers' last digits change.
#[derive(Clone, Debug)]
pub(super) struct StampText {
    /// The text, and room for loads that read past its end.
    pub(super) bytes: StampBytes,
    /// For the text's last [`TAIL_BYTES`], those that are changing digits: which byte of eight words
    /// each is, of which the k-th has the k-th digit of the first number in its lowest byte, that of
    /// the second in the one above.
    pub(super) from: StampTail,
    /// Which bytes of the tail are changing digits, a bit for each.
    pub(super) changing: [u64; 2],
    /// How long the text is: at most [`STAMP_BYTES_MAX`].
    pub(super) len: usize,
    /// Where the numbers' last eight bytes begin.
    pub(super) at: [usize; 2],
    /// What of these eight bytes are digits.
    pub(super) frame: DigitFrame,
}

/// Bytes at home in a register of any tier.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(super) struct StampBytes(pub(super) [u8; STAMP_BYTES_MAX + 64]);

/// The same for each byte of a tail.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(super) struct StampTail(pub(super) [u8; TAIL_BYTES]);

impl StampText {
    pub(super) const EMPTY: Self = Self {
        bytes: StampBytes([0; STAMP_BYTES_MAX + 64]),
        from: StampTail([0; TAIL_BYTES]),
        changing: [0; 2],
        len: 0,
        at: [0; 2],
        frame: DigitFrame { mask: [0; 2], lead: [0; 2] },
    };

    /// Where the text's last [`TAIL_BYTES`] begin, or the text, if it has fewer.
    #[inline(always)]
    pub(super) const fn tail(&self) -> usize {
        self.len.saturating_sub(TAIL_BYTES)
    }

    /// Says where the numbers' last eight bytes begin, and what of them are digits. The text has its
    /// length.
    ///
    /// # Panics
    /// If one of these bytes is not in the tail.
    pub(super) fn set_digits(&mut self, at: [usize; 2], frame: DigitFrame) {
        // All eight at once: with very many partitions that take turns a stamp is rendered for each run.
        const FIRST_BYTES: u64 = u64::from_le_bytes([0, 8, 16, 24, 32, 40, 48, 56]);
        const EACH_BYTE: u64 = 0x0101_0101_0101_0101;
        let mut changing = 0_u128;
        for (number, (at, mask)) in at.into_iter().zip(frame.mask).enumerate() {
            let place = at - self.tail();
            let from = FIRST_BYTES + number as u64 * EACH_BYTE;
            self.from.0[place..place + 8].copy_from_slice(&from.to_le_bytes());
            // A bit for each byte of the mask: the product brings them together in its highest byte.
            let digits = (mask & EACH_BYTE).wrapping_mul(0x0102_0408_1020_4080) >> 56;
            changing |= u128::from(digits) << place;
        }
        self.changing = [changing as u64, (changing >> 64) as u64];
        self.at = at;
        self.frame = frame;
    }
}
