//! SSSE3 and SSE4.1: the 128-bit sibling of `avx2`, for x86-64 without it.
//!
//! There are no masked loads. A tail is taken from the last 16 bytes of the slice and moved down;
//! a slice that has no 16 bytes is gathered in integers.
#![expect(
    unsafe_code,
    reason = "loads and stores through raw pointers, within the slice and the promised room"
)]
#![expect(clippy::multiple_unsafe_ops_per_block, reason = "an address and the access to it have one bound")]

use crate::payload::cursor::put_headers;
use crate::payload::kernel::{Kernel, StampText};
use crate::record::Header;
use std::arch::asm;
use std::arch::x86_64::*;
use std::ptr::NonNull;

pub(in crate::payload) struct Sse41;

// SAFETY: every routine writes its text and less than `SPILL_BYTES` behind it, and loads nothing
// outside its slice.
unsafe impl Kernel for Sse41 {
    type Held = ();

    unsafe fn hold(_: &StampText) {}

    #[target_feature(enable = "ssse3,sse4.1")]
    #[inline]
    unsafe fn base64(src: &[u8], groups: usize, dst: *mut u8) -> *mut u8 {
        let (mut from, mut left, mut to) = (src.as_ptr(), src.len(), dst);
        while left >= 3 * BLOCK + LOAD {
            for number in 0..4 {
                // SAFETY: the fourth load ends 52 bytes behind `from`, where the slice goes on or
                // ends; these are four blocks' characters.
                unsafe { block(from.add(number * BLOCK), to.add(number * LOAD)) };
            }
            left -= 4 * BLOCK;
            // SAFETY: within the slice.
            from = unsafe { from.add(4 * BLOCK) };
            // SAFETY: within the text.
            to = unsafe { to.add(4 * LOAD) };
        }
        while left >= LOAD {
            // SAFETY: the slice goes on for a whole load; this is one block's characters.
            unsafe { block(from, to) };
            left -= BLOCK;
            // SAFETY: within the slice.
            from = unsafe { from.add(BLOCK) };
            // SAFETY: within the text.
            to = unsafe { to.add(LOAD) };
        }
        // Up to 15 bytes: a block, and up to three bytes more.
        let tail = load_tail(src, left);
        // SAFETY: at most 32 bytes behind the end of the text.
        unsafe {
            _mm_storeu_si128(to.cast(), characters(tail));
            _mm_storeu_si128(to.add(LOAD).cast(), characters(_mm_srli_si128::<{ BLOCK as i32 }>(tail)));
        }
        // SAFETY: the text and the promised spill.
        unsafe { dst.add(4 * groups) }
    }

    #[target_feature(enable = "ssse3,sse4.1")]
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

    #[target_feature(enable = "sse2")]
    #[inline]
    unsafe fn text(stamp: &StampText, dst: *mut u8) {
        let mut at = 0;
        while at < stamp.len {
            for word in 0..4 {
                let place = at + 16 * word;
                // SAFETY: a stamp's text has 64 readable bytes from every position up to its
                // length on, and is aligned.
                let bytes = unsafe { _mm_load_si128(stamp.bytes.0.as_ptr().add(place).cast()) };
                // SAFETY: at most 63 bytes behind the text, within the promised spill.
                unsafe { _mm_storeu_si128(dst.add(place).cast(), bytes) };
            }
            at += 64;
        }
    }
}

/// Bytes that become one register of characters.
const BLOCK: usize = 12;
/// Bytes of a register.
const LOAD: usize = 16;

/// The high halves of the products of 16-bit lanes; written so for the reason given in `avx2`.
#[target_feature(enable = "sse2")]
#[inline]
fn multiply_high(a: __m128i, b: __m128i) -> __m128i {
    let mut high = a;
    // SAFETY: one instruction on registers, which every x86-64 has.
    unsafe {
        asm!("pmulhuw {0}, {1}", inout(xmm_reg) high, in(xmm_reg) b,
            options(pure, nomem, nostack, preserves_flags));
    }
    high
}

/// The low halves, as in `avx2` too.
#[target_feature(enable = "sse2")]
#[inline]
fn multiply_low(a: __m128i, b: __m128i) -> __m128i {
    let mut low = a;
    // SAFETY: one instruction on registers, which every x86-64 has.
    unsafe {
        asm!("pmullw {0}, {1}", inout(xmm_reg) low, in(xmm_reg) b,
            options(pure, nomem, nostack, preserves_flags));
    }
    low
}

/// The 16 characters of the first twelve bytes of `block`.
#[target_feature(enable = "ssse3,sse4.1")]
#[inline]
fn characters(block: __m128i) -> __m128i {
    let spread = _mm_setr_epi8(1, 0, 2, 1, 4, 3, 5, 4, 7, 6, 8, 7, 10, 9, 11, 10);
    let groups = _mm_shuffle_epi8(block, spread);
    let odd = _mm_and_si128(groups, _mm_set1_epi32(0x0fc0_fc00));
    let odd = multiply_high(odd, _mm_set1_epi32(0x0400_0040));
    let even = _mm_and_si128(groups, _mm_set1_epi32(0x003f_03f0));
    let even = multiply_low(even, _mm_set1_epi32(0x0100_0010));
    let sixes = _mm_or_si128(odd, even);

    // Which range of the alphabet: 0 for lower case, 1 to 10 for digits, 11, 12, 13 for upper case.
    let range = _mm_subs_epu8(sixes, _mm_set1_epi8(51));
    let upper = _mm_cmpgt_epi8(_mm_set1_epi8(26), sixes);
    let range = _mm_or_si128(range, _mm_and_si128(upper, _mm_set1_epi8(13)));
    let shift = _mm_setr_epi8(71, -4, -4, -4, -4, -4, -4, -4, -4, -4, -4, -19, -16, 65, 0, 0);
    _mm_add_epi8(sixes, _mm_shuffle_epi8(shift, range))
}

/// # Safety
/// 16 bytes at `from` are readable, of which twelve are used; 16 at `to` are writable.
#[target_feature(enable = "ssse3,sse4.1")]
#[inline]
unsafe fn block(from: *const u8, to: *mut u8) {
    // SAFETY: the caller promises the bytes.
    let bytes = unsafe { _mm_loadu_si128(from.cast()) };
    // SAFETY: the caller promises the room.
    unsafe { _mm_storeu_si128(to.cast(), characters(bytes)) };
}

/// Loaded from `LOAD - n` on, this moves the last `n` bytes of a register to its beginning, and
/// zeros behind them.
static LAST: [u8; 2 * LOAD] = {
    let mut table = [0x80; 2 * LOAD];
    let mut at = 0;
    while at < LOAD {
        table[at] = at as u8;
        at += 1;
    }
    table
};

/// The last `left` bytes of `src`, fewer than a register has, with zeros behind them.
#[target_feature(enable = "ssse3,sse4.1")]
#[inline]
fn load_tail(src: &[u8], left: usize) -> __m128i {
    debug_assert!(left < LOAD && left <= src.len());
    let Some(last) = src.last_chunk::<LOAD>() else {
        // The whole slice is the tail.
        let [low, high] = gather(src);
        return _mm_set_epi64x(high.cast_signed(), low.cast_signed());
    };
    // SAFETY: an array of 16 bytes.
    let last = unsafe { _mm_loadu_si128(last.as_ptr().cast()) };
    // SAFETY: `left` is at most 15, so the load begins 1 to 16 bytes behind the table's beginning
    // and ends within its 32.
    let down = unsafe { _mm_loadu_si128(LAST.as_ptr().add(LOAD - left).cast()) };
    _mm_shuffle_epi8(last, down)
}

/// Up to 15 bytes as two little-endian words, zeros behind them. What overlaps is the same byte.
#[inline]
fn gather(src: &[u8]) -> [u64; 2] {
    let bytes = src.len();
    if let (Some(first), Some(last)) = (src.first_chunk::<8>(), src.last_chunk::<8>()) {
        let (first, last) = (u64::from_le_bytes(*first), u64::from_le_bytes(*last));
        // In two steps: eight bytes leave nothing, and 64 is too much for one.
        [first, last >> (4 * (16 - bytes)) >> (4 * (16 - bytes))]
    } else if let (Some(first), Some(last)) = (src.first_chunk::<4>(), src.last_chunk::<4>()) {
        let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
        [u64::from(first) | u64::from(last) << (8 * (bytes - 4)), 0]
    } else {
        [src.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)), 0]
    }
}
