//! AVX-512 with VBMI and VBMI2.
//!
//! 48 bytes become 64 characters by three instructions: `vpermb` spreads each group of three over
//! four bytes, `vpmultishiftqb` cuts the six bits of each out, `vpermb` looks the characters up.
//! From 256 bytes up that runs at the speed of the stores.
#![expect(
    unsafe_code,
    reason = "loads and stores through raw pointers, within the slice and the promised room"
)]
#![expect(clippy::multiple_unsafe_ops_per_block, reason = "an address and the access to it have one bound")]

use super::avx512_digits::put_digits;
use super::avx512_headers::header;
use super::{own_ahead, pad};
use crate::payload::cursor::put_headers;
use crate::payload::kernel::{DigitFrame, Kernel, StampText};
use crate::record::Header;
use std::arch::x86_64::*;
use std::ptr::NonNull;

pub(in crate::payload) struct Avx512;

// SAFETY: every routine writes its text and less than `SPILL_BYTES` behind it, and its loads are
// masked where the slice ends.
unsafe impl Kernel for Avx512 {
    #[inline(always)]
    unsafe fn base64(src: &[u8], groups: usize, dst: *mut u8) -> *mut u8 {
        // SAFETY: the trait's conditions are handed on.
        unsafe { base64(src, groups, dst) }
    }

    #[target_feature(
        enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,avx512ifma,avx2,bmi1,bmi2,popcnt,lzcnt"
    )]
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
    unsafe fn header(name: &[u8], value: &[u8], dst: *mut u8) -> *mut u8 {
        // SAFETY: the trait's conditions are handed on.
        unsafe { header(name, value, dst) }
    }

    #[inline(always)]
    unsafe fn stamp(text: &StampText, len: usize, dst: *mut u8) -> *mut u8 {
        // SAFETY: the trait's conditions are handed on.
        unsafe { stamp(text, len, dst) }
    }

    #[inline(always)]
    unsafe fn short_base64(src: &[u8], groups: usize, dst: *mut u8) -> *mut u8 {
        // SAFETY: the trait's conditions are handed on.
        unsafe { short_base64(src, groups, dst) }
    }

    #[inline(always)]
    unsafe fn put_digits(numbers: [u64; 2], frame: &DigitFrame, at: [*mut u8; 2]) {
        // SAFETY: the trait's conditions are handed on.
        unsafe { put_digits(numbers, frame, at) }
    }
}

const BLOCK: usize = 48;

/// A constant for a 64-byte register.
#[repr(align(64))]
pub(super) struct Bytes64(pub(super) [u8; 64]);

impl Bytes64 {
    #[target_feature(enable = "avx512f")]
    #[inline]
    pub(super) fn load(&self) -> __m512i {
        // SAFETY: the constant has the register's size and alignment.
        unsafe { _mm512_load_si512(self.0.as_ptr().cast()) }
    }
}

const ALPHABET: Bytes64 = Bytes64(*b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");

/// `[b1 b0 b2 b1]` for each group of three.
const SPREAD: Bytes64 = Bytes64({
    let mut table = [0; 64];
    let mut at = 0;
    while at < 64 {
        table[at] = (at / 4 * 3) as u8 + [1, 0, 2, 1][at % 4];
        at += 1;
    }
    table
});

/// `SPREAD` for the last sixteen groups of a slice whose last 64 bytes are at hand, if that many
/// bytes of the last group are missing.
const SPREAD_LAST: [Bytes64; 3] = {
    let mut tables = [Bytes64([0; 64]), Bytes64([0; 64]), Bytes64([0; 64])];
    let mut at = 0;
    while at < 64 {
        let mut missing = 0;
        while missing < 3 {
            // What would lie behind the slice is masked.
            tables[missing].0[at] = (SPREAD.0[at] + 16 + missing as u8) % 64;
            missing += 1;
        }
        at += 1;
    }
    tables
};

/// Which bytes of `SPREAD_LAST` there are: `[b1 b0 b2 b1]` of the last group without its missing.
const THERE: [u64; 3] = [u64::MAX, u64::MAX >> 4 | 0b1011 << 60, u64::MAX >> 4 | 0b0010 << 60];

/// The characters of sixteen groups that `SPREAD` or the like has spread.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
#[inline]
fn characters(spread: __m512i) -> __m512i {
    let shifts = _mm512_set1_epi64(0x3036_242a_1016_040a);
    let sixes = _mm512_multishift_epi64_epi8(shifts, spread);
    _mm512_permutexvar_epi8(sixes, ALPHABET.load())
}

/// A slice of at least 64 bytes and where its text goes. Blocks are taken from both ends until they
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
    /// The block at byte `at` of the slice, a multiple of three.
    ///
    /// # Safety
    /// 64 bytes of the slice are at `at`.
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    #[inline]
    unsafe fn block(self, at: usize) {
        debug_assert!(at.is_multiple_of(3) && at + 64 <= self.bytes);
        // SAFETY: the caller's promise.
        let bytes = unsafe { _mm512_loadu_si512(self.from.add(at).cast()) };
        let text = characters(_mm512_permutexvar_epi8(SPREAD.load(), bytes));
        own_ahead(self.to.wrapping_add(at / 3 * 4));
        // SAFETY: the block's text lies within the slice's.
        unsafe { _mm512_storeu_si512(self.to.add(at / 3 * 4).cast(), text) };
    }

    /// The `number`th block of sixteen groups, counted from the end, or as much of it as there is.
    ///
    /// # Safety
    /// `number` is at least 2; 64 bytes are in the slice.
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    #[inline]
    unsafe fn block_before_end(self, number: usize) {
        let first = self.groups.saturating_sub(16 * number);
        // SAFETY: the block begins with the slice, or at least 32 groups before its end: 96 bytes, of
        // which at most two are missing.
        let bytes = unsafe { _mm512_loadu_si512(self.from.add(3 * first).cast()) };
        let text = characters(_mm512_permutexvar_epi8(SPREAD.load(), bytes));
        own_ahead(self.to.wrapping_add(4 * first));
        // SAFETY: the block's text lies within the slice's.
        unsafe { _mm512_storeu_si512(self.to.add(4 * first).cast(), text) };
    }

    /// The last block.
    ///
    /// # Safety
    /// As for the slice.
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    #[inline]
    unsafe fn last(self) {
        let missing = 3 * self.groups - self.bytes;
        // SAFETY: the last 64 bytes of the slice.
        let bytes = unsafe { _mm512_loadu_si512(self.from.add(self.bytes - 64).cast()) };
        // SAFETY: at most two bytes are missing from a slice's last group.
        let (spread, there) = unsafe { (SPREAD_LAST.get_unchecked(missing), THERE.get_unchecked(missing)) };
        let spread = _mm512_maskz_permutexvar_epi8(*there, spread.load(), bytes);
        own_ahead(self.to.wrapping_add(4 * self.groups - 64));
        // SAFETY: the last 64 characters of the text, which has at least 88.
        unsafe { _mm512_storeu_si512(self.to.add(4 * self.groups - 64).cast(), characters(spread)) };
    }
}

/// # Safety
/// As for [`Kernel::base64`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,bmi2")]
#[inline]
unsafe fn base64(src: &[u8], groups: usize, dst: *mut u8) -> *mut u8 {
    // Few classes of lengths, each with a fixed number of blocks: some stores too many cost less
    // than a branch that the length of a value makes unpredictable.
    // SAFETY: so many blocks hold the slice, and end within the promised spill.
    unsafe {
        if src.len() < 64 {
            blocks::<2>(src.as_ptr(), src.len(), dst);
        } else {
            let long = Long { from: src.as_ptr(), bytes: src.len(), groups, to: dst };
            if src.len() <= 2 * BLOCK {
                long.block(0);
            } else if src.len() <= 4 * BLOCK {
                long.block(0);
                long.block_before_end(3);
                long.block_before_end(2);
            } else if src.len() <= 6 * BLOCK {
                long.block(0);
                long.block(BLOCK);
                long.block_before_end(4);
                long.block_before_end(3);
                long.block_before_end(2);
            } else if src.len() <= 8 * BLOCK {
                long.block(0);
                long.block(BLOCK);
                long.block(2 * BLOCK);
                long.block_before_end(5);
                long.block_before_end(4);
                long.block_before_end(3);
                long.block_before_end(2);
            } else {
                longest(long);
            }
            long.last();
        }
        pad(dst, groups, src.len())
    }
}

/// All but the last block of a slice of more than eight.
///
/// # Safety
/// As for [`Kernel::base64`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,bmi2")]
#[inline]
unsafe fn longest(long: Long) {
    let mut at = 0;
    // SAFETY: the fourth block's load ends 208 bytes behind `at`; at most 207 bytes are left in the
    // end, which is less than five blocks.
    unsafe {
        while at + 3 * BLOCK + 64 <= long.bytes {
            long.block(at);
            long.block(at + BLOCK);
            long.block(at + 2 * BLOCK);
            long.block(at + 3 * BLOCK);
            at += 4 * BLOCK;
        }
        long.block_before_end(5);
        long.block_before_end(4);
        long.block_before_end(3);
        long.block_before_end(2);
    }
}

/// [`base64`], where one block is enough as a rule.
///
/// # Safety
/// As for [`Kernel::base64`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,bmi2")]
#[inline]
unsafe fn short_base64(src: &[u8], groups: usize, dst: *mut u8) -> *mut u8 {
    if src.len() > BLOCK {
        // SAFETY: the conditions are the same.
        return unsafe { base64_apart(src, groups, dst) };
    }
    // SAFETY: one block holds the slice, and ends within the promised spill.
    unsafe {
        blocks::<1>(src.as_ptr(), src.len(), dst);
        pad(dst, groups, src.len())
    }
}

/// [`base64`], out of line, as [`headers_apart`](crate::payload::cursor) is.
///
/// # Safety
/// As for [`Kernel::base64`].
#[cold]
#[inline(never)]
unsafe fn base64_apart(src: &[u8], groups: usize, dst: *mut u8) -> *mut u8 {
    // SAFETY: the conditions are the same.
    unsafe { base64(src, groups, dst) }
}

/// The characters of up to `N` blocks, and zeros' behind them.
///
/// # Safety
/// `left` bytes, at most 255, are readable at `from`; `N * 64` are writable at `to`.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,bmi2")]
#[inline]
unsafe fn blocks<const N: usize>(from: *const u8, left: usize, to: *mut u8) {
    debug_assert!(left < 256);
    for block in 0..N {
        // `bzhi` takes any number from 64 to 255 for all.
        let mask = _bzhi_u64(u64::MAX, left.saturating_sub(block * BLOCK) as u32);
        // SAFETY: the mask allows only bytes of the slice; other lanes are not touched.
        let bytes = unsafe { _mm512_maskz_loadu_epi8(mask, from.wrapping_add(block * BLOCK).cast()) };
        let text = characters(_mm512_permutexvar_epi8(SPREAD.load(), bytes));
        // SAFETY: the caller promises the room.
        unsafe { _mm512_storeu_si512(to.add(block * 64).cast(), text) };
    }
}

/// # Safety
/// As for [`Kernel::stamp`].
#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn stamp(text: &StampText, len: usize, dst: *mut u8) -> *mut u8 {
    let copy = |at: usize| {
        // SAFETY: a stamp's text has 64 readable bytes from every position up to its length on.
        let bytes = unsafe { _mm512_load_si512(text.0.as_ptr().add(at).cast()) };
        // SAFETY: at most 127 bytes behind the text, within the promised spill.
        unsafe { _mm512_storeu_si512(dst.add(at).cast(), bytes) };
    };
    copy(0);
    copy(64);
    own_ahead(dst);
    own_ahead(dst.wrapping_add(64));
    let mut at = 128;
    while at < len {
        copy(at);
        at += 64;
    }
    // SAFETY: the end of the text.
    unsafe { dst.add(len) }
}
