//! AVX2.
//!
//! The usual algorithm (Muła, Lemire: "Faster Base64 Encoding and Decoding using AVX2
//! Instructions"), with two changes: its multiplication is forced on the compiler, and the tail is
//! a masked load without branches.
//!
//! What is inlined by force is so for the reason given in `avx512_base64`; the rest is small enough
//! for the compiler to do it by itself.
#![expect(
    unsafe_code,
    reason = "loads and stores through raw pointers, within the slice and the promised room"
)]
#![expect(clippy::multiple_unsafe_ops_per_block, reason = "an address and the access to it have one bound")]

use super::avx2_digits::put_digits;
use super::{own_ahead, own_ahead_of, read_ahead};
use crate::payload::cursor::put_headers;
use crate::payload::kernel::{DigitFrame, Kernel, StampText};
use crate::record::Header;
use std::arch::asm;
use std::arch::x86_64::*;
use std::ptr::NonNull;

pub(in crate::payload) struct Avx2;

// SAFETY: every routine writes its text and less than `SPILL_BYTES` behind it, and its loads end where
// the slice does, or are masked there.
unsafe impl Kernel for Avx2 {
    type Held = ();

    unsafe fn hold(_: &StampText) {}

    #[inline(always)]
    unsafe fn base64(src: &[u8], groups: usize, dst: *mut u8) -> *mut u8 {
        // SAFETY: the trait's conditions are handed on.
        unsafe { base64(src, groups, dst) }
    }

    #[inline(always)]
    unsafe fn short_base64(src: &[u8], groups: usize, dst: *mut u8) -> *mut u8 {
        // SAFETY: the trait's conditions are handed on.
        unsafe { short_base64(src, groups, dst) }
    }

    #[inline(always)]
    unsafe fn digits(numbers: [u64; 2], frame: &DigitFrame, at: [*mut u8; 2]) {
        // SAFETY: the trait's conditions are handed on.
        unsafe { put_digits(numbers, frame, at) }
    }

    #[target_feature(enable = "avx2,bmi1,bmi2,popcnt,lzcnt")]
    #[inline]
    unsafe fn headers<'h>(
        headers: impl Iterator<Item = Header<'h>>,
        at: *mut u8,
        left: usize,
        exact: bool,
    ) -> Option<NonNull<u8>> {
        // SAFETY: the trait's conditions are handed on.
        unsafe { put_headers::<Self>(headers, at, left, exact) }
    }

    #[inline(always)]
    unsafe fn text(stamp: &StampText, dst: *mut u8) {
        // SAFETY: the trait's conditions are handed on.
        unsafe { text(stamp, dst) }
    }
}

const BLOCK: usize = 24;

/// The high halves of the products of 16-bit lanes.
///
/// `_mm256_mulhi_epu16` is a generic multiplication to the compiler, which undoes this one with
/// constants into about ten instructions (as of Rust 1.95): half the speed of the kernel.
#[target_feature(enable = "avx2")]
#[inline]
fn multiply_high(a: __m256i, b: __m256i) -> __m256i {
    let high;
    // SAFETY: one instruction on registers, which AVX2 has.
    unsafe {
        asm!("vpmulhuw {0}, {1}, {2}", out(ymm_reg) high, in(ymm_reg) a, in(ymm_reg) b,
            options(pure, nomem, nostack, preserves_flags));
    }
    high
}

/// The low halves, which the compiler makes of two shifts and a blend if it knows the factors.
#[target_feature(enable = "avx2")]
#[inline]
fn multiply_low(a: __m256i, b: __m256i) -> __m256i {
    let low;
    // SAFETY: as above.
    unsafe {
        asm!("vpmullw {0}, {1}, {2}", out(ymm_reg) low, in(ymm_reg) a, in(ymm_reg) b,
            options(pure, nomem, nostack, preserves_flags));
    }
    low
}

/// A constant for a 32-byte register.
#[repr(align(32))]
struct Bytes32([u8; 32]);

impl Bytes32 {
    #[target_feature(enable = "avx2")]
    #[inline]
    fn load(&self) -> __m256i {
        // SAFETY: the constant has the register's size and alignment.
        unsafe { _mm256_load_si256(self.0.as_ptr().cast()) }
    }
}

/// `[b1 b0 b2 b1]` for each group of three: four groups from the lower half's first byte on, four
/// from the upper half's byte `upper` on. Bytes behind the upper half are zero.
const fn spread_from(upper: usize) -> Bytes32 {
    let mut table = [0; 32];
    let mut at = 0;
    while at < 32 {
        let byte = at % 16 / 4 * 3 + [1, 0, 2, 1][at % 4] + if at < 16 { 0 } else { upper };
        table[at] = if byte < 16 { byte as u8 } else { 0x80 };
        at += 1;
    }
    Bytes32(table)
}

/// The upper half begins eight bytes behind the lower one, and so four before its own groups: no
/// load passes the block's end.
const SPREAD: Bytes32 = spread_from(4);

/// For a register of 32 bytes that begins four bytes before the block: one load instead of two.
const SPREAD_AFTER_FOUR: Bytes32 = {
    let mut table = spread_from(0);
    let mut at = 0;
    while at < 16 {
        table.0[at] += 4;
        at += 1;
    }
    table
};

/// For the last block of a slice whose last 16 bytes are the upper half, if that many bytes of the
/// last group are missing.
const SPREAD_LAST: [Bytes32; 3] = [spread_from(4), spread_from(5), spread_from(6)];

/// For a slice of 16 to 23 bytes whose last 16 bytes are the upper half.
const SPREAD_SHORT: [Bytes32; 8] = [
    spread_from(12),
    spread_from(11),
    spread_from(10),
    spread_from(9),
    spread_from(8),
    spread_from(7),
    spread_from(6),
    spread_from(5),
];

/// 32 characters of eight groups that `SPREAD` or the like has spread.
#[target_feature(enable = "avx2")]
#[inline]
fn characters(groups: __m256i) -> __m256i {
    let odd = _mm256_and_si256(groups, _mm256_set1_epi32(0x0fc0_fc00));
    let odd = multiply_high(odd, _mm256_set1_epi32(0x0400_0040));
    let even = _mm256_and_si256(groups, _mm256_set1_epi32(0x003f_03f0));
    let even = multiply_low(even, _mm256_set1_epi32(0x0100_0010));
    let sixes = _mm256_or_si256(odd, even);

    // Which range of the alphabet: 0 for upper case, 1 for lower case, 2 to 11 for digits, 12, 13.
    let range = _mm256_subs_epu8(sixes, _mm256_set1_epi8(51));
    let not_upper = _mm256_cmpgt_epi8(sixes, _mm256_set1_epi8(25));
    let range = _mm256_sub_epi8(range, not_upper);
    let shift = _mm256_broadcastsi128_si256(_mm_setr_epi8(
        65, 71, -4, -4, -4, -4, -4, -4, -4, -4, -4, -4, -19, -16, 0, 0,
    ));
    _mm256_add_epi8(sixes, _mm256_shuffle_epi8(shift, range))
}

/// A slice of at least a block and where its text goes. Blocks are taken from both ends until they
/// meet or overlap: what is written twice is the same, and no block needs to know how long the
/// slice is but the last, whose loads end where the slice does.
#[derive(Clone, Copy)]
struct Long {
    from: *const u8,
    bytes: usize,
    groups: usize,
    to: *mut u8,
}

impl Long {
    /// The block of eight groups from the `first`th on.
    ///
    /// # Safety
    /// The slice has these groups, without missing bytes.
    #[inline(always)]
    unsafe fn block(self, first: usize) {
        debug_assert!(3 * first + BLOCK <= self.bytes);
        // SAFETY: the caller's promise: the lower and the upper 16 of these 24 bytes.
        let spread = unsafe { spread(self.from.add(3 * first), self.from.add(3 * first + 8), &SPREAD) };
        // SAFETY: the block's text lies within the slice's.
        unsafe { _mm256_storeu_si256(self.to.add(4 * first).cast(), characters(spread)) };
    }

    /// [`block`](Self::block) for one in the middle.
    ///
    /// # Safety
    /// As for `block`; the slice goes on four bytes before and behind these groups.
    #[inline(always)]
    unsafe fn inner_block(self, first: usize) {
        debug_assert!(3 * first >= 4 && 3 * first + BLOCK + 4 <= self.bytes);
        // SAFETY: the 24 bytes and the four on either side; the block's text lies within the slice's.
        unsafe {
            let bytes = _mm256_loadu_si256(self.from.add(3 * first).sub(4).cast());
            let spread = _mm256_shuffle_epi8(bytes, SPREAD_AFTER_FOUR.load());
            _mm256_storeu_si256(self.to.add(4 * first).cast(), characters(spread));
        }
    }

    /// The `number`th block, counted from the end, or as much of it as there is.
    ///
    /// # Safety
    /// `number` is at least 2; the slice has more than a block.
    #[inline(always)]
    unsafe fn block_before_end(self, number: usize) {
        // SAFETY: the block begins with the slice, which has more than one, or at least eight
        // groups lie between it and the end.
        unsafe { self.block(self.groups.saturating_sub(8 * number)) };
    }

    /// All blocks between the first and the last.
    ///
    /// # Safety
    /// As for the slice, which has more than three blocks.
    #[inline(always)]
    unsafe fn behind_first(self) {
        let mut first = 8;
        // SAFETY: each block of the loop goes on for at least four bytes; the slice has as many groups
        // before its end as the blocks behind it are of, or they begin with it.
        unsafe {
            while 3 * first + 5 * BLOCK <= self.bytes {
                own_ahead_of(self.to, first);
                own_ahead_of(self.to, first + 16);
                let from = self.from.wrapping_add(3 * first);
                read_ahead::<0>(from);
                read_ahead::<1>(from);
                self.inner_block(first);
                self.inner_block(first + 8);
                self.inner_block(first + 16);
                self.inner_block(first + 24);
                first += 32;
            }
            own_ahead_of(self.to, first);
            read_ahead::<0>(self.from.wrapping_add(3 * first));
            // Less than five blocks are left. One too many costs less than the branch that would
            // avoid it where lengths vary.
            if self.bytes - 3 * first > 2 * BLOCK {
                self.block_before_end(5);
                self.block_before_end(4);
                self.block_before_end(3);
            }
            self.block_before_end(2);
        }
    }

    /// The last block.
    ///
    /// # Safety
    /// As for the slice.
    #[inline(always)]
    unsafe fn last(self) {
        let missing = 3 * self.groups - self.bytes;
        let first = self.groups - 8;
        // SAFETY: at most two bytes are missing from a slice's last group.
        let table = unsafe { SPREAD_LAST.get_unchecked(missing) };
        // SAFETY: the first 16 of 22 to 24 bytes, and the slice's last 16.
        let spread = unsafe { spread(self.from.add(3 * first), self.from.add(self.bytes - 16), table) };
        // SAFETY: the text's last 32 characters.
        unsafe { _mm256_storeu_si256(self.to.add(4 * first).cast(), characters(spread)) };
    }
}

/// Two halves' groups spread as `table` says.
///
/// # Safety
/// 16 bytes are readable at `lower` and at `upper`.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn spread(lower: *const u8, upper: *const u8, table: &Bytes32) -> __m256i {
    // SAFETY: the caller's promise.
    let lower = unsafe { _mm_loadu_si128(lower.cast()) };
    // SAFETY: the caller's promise.
    let upper = unsafe { _mm_loadu_si128(upper.cast()) };
    _mm256_shuffle_epi8(_mm256_set_m128i(upper, lower), table.load())
}

/// # Safety
/// As for [`Kernel::base64`].
#[inline(always)]
unsafe fn base64(src: &[u8], groups: usize, dst: *mut u8) -> *mut u8 {
    // SAFETY: the conditions are the same; a slice of at least a block has one.
    unsafe {
        if src.len() < BLOCK {
            return short_base64(src, groups, dst);
        }
        let long = Long { from: src.as_ptr(), bytes: src.len(), groups, to: dst };
        long.block(0);
        if src.len() > 3 * BLOCK {
            long.behind_first();
        } else if src.len() > 2 * BLOCK {
            own_ahead::<0>(dst.wrapping_add(32));
            read_ahead::<0>(src.as_ptr());
            long.block(8);
        }
        long.last();
        dst.add(4 * groups)
    }
}

/// [`base64`], where a block is enough as a rule.
///
/// # Safety
/// As for [`Kernel::base64`].
#[inline(always)]
unsafe fn short_base64(src: &[u8], groups: usize, dst: *mut u8) -> *mut u8 {
    // SAFETY: blocks that the slice has, the last of them also if it is the only one; of a shorter
    // slice, 16 bytes from either end, or what `load_tail` takes of fewer. That spills at most 32 bytes.
    unsafe {
        if src.len() >= BLOCK {
            let long = Long { from: src.as_ptr(), bytes: src.len(), groups, to: dst };
            let mut first = 0;
            while 3 * first + BLOCK < src.len() {
                long.block(first);
                first += 8;
            }
            long.last();
        } else {
            let spread = match src.len().checked_sub(16) {
                Some(more) => spread(src.as_ptr(), src.as_ptr().add(more), SPREAD_SHORT.get_unchecked(more)),
                None => _mm256_shuffle_epi8(load_tail(src), SPREAD.load()),
            };
            _mm256_storeu_si256(dst.cast(), characters(spread));
        }
        dst.add(4 * groups)
    }
}

/// Less than 16 bytes in two halves for [`SPREAD`], with zeros behind them.
#[target_feature(enable = "avx2,bmi2")]
#[inline]
fn load_tail(src: &[u8]) -> __m256i {
    let words = (src.len() / 4) as i32;
    let numbers = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    let whole = _mm256_cmpgt_epi32(_mm256_set1_epi32(words), numbers);
    // SAFETY: the mask allows only whole words of the slice.
    let bytes = unsafe { _mm256_maskload_epi32(src.as_ptr().cast(), whole) };
    // The last one to three bytes are the upper ones of the slice's last word.
    let rest = match src.last_chunk::<4>() {
        Some(last) => u64::from(u32::from_le_bytes(*last)) >> (32 - 8 * (src.len() % 4)),
        None => src.iter().rev().fold(0, |rest, byte| rest << 8 | u64::from(*byte)),
    };
    let place = _mm256_cmpeq_epi32(_mm256_set1_epi32(words), numbers);
    let rest = _mm256_and_si256(place, _mm256_set1_epi32(rest as i32));
    // Bytes 0 to 16, then 8 to 24.
    _mm256_permute4x64_epi64::<0b10_01_01_00>(_mm256_or_si256(bytes, rest))
}

/// # Safety
/// As for [`Kernel::text`].
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn text(stamp: &StampText, dst: *mut u8) {
    let copy = |at: usize| {
        // SAFETY: a stamp's text has 64 readable bytes from every position up to its length on.
        let bytes = unsafe { _mm256_load_si256(stamp.bytes.0.as_ptr().add(at).cast()) };
        // SAFETY: at most 127 bytes behind the text, within the promised spill.
        unsafe { _mm256_storeu_si256(dst.add(at).cast(), bytes) };
    };
    own_ahead::<0>(dst);
    own_ahead::<1>(dst);
    own_ahead::<2>(dst);
    copy(0);
    copy(32);
    copy(64);
    copy(96);
    let mut at = 128;
    while at < stamp.len {
        copy(at);
        at += 32;
    }
}
