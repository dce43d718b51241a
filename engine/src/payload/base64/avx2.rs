//! AVX2.
//!
//! The usual algorithm (Muła, Lemire: "Faster Base64 Encoding and Decoding using AVX2
//! Instructions"), with two changes: its multiplication is forced on the compiler, and the tail is
//! a masked load without branches.
#![expect(
    unsafe_code,
    reason = "loads and stores through raw pointers, within the slice and the promised room"
)]
#![expect(clippy::multiple_unsafe_ops_per_block, reason = "an address and the access to it have one bound")]

use super::pad;
use crate::payload::cursor::put_headers;
use crate::payload::kernel::{Kernel, StampText};
use crate::record::Header;
use std::arch::asm;
use std::arch::x86_64::*;
use std::ptr::NonNull;

pub(in crate::payload) struct Avx2;

// SAFETY: every routine writes its text and less than `SPILL_BYTES` behind it, and its loads are
// masked where the slice ends.
unsafe impl Kernel for Avx2 {
    #[inline(always)]
    unsafe fn base64(src: &[u8], len: usize, dst: *mut u8) -> *mut u8 {
        // SAFETY: the trait's conditions are handed on.
        unsafe { base64(src, len, dst) }
    }

    #[target_feature(enable = "avx2,bmi1,bmi2,popcnt,lzcnt")]
    #[inline(never)]
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
    unsafe fn stamp(text: &StampText, len: usize, dst: *mut u8) -> *mut u8 {
        // SAFETY: the trait's conditions are handed on.
        unsafe { stamp(text, len, dst) }
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

/// 32 characters of 24 bytes: the first twelve of each half of `block` that `SPREAD` picks.
#[target_feature(enable = "avx2")]
#[inline]
fn characters(block: __m256i) -> __m256i {
    // The second half begins four bytes before its own, so that no load passes the block's end.
    let spread = _mm256_setr_epi8(
        1, 0, 2, 1, 4, 3, 5, 4, 7, 6, 8, 7, 10, 9, 11, 10, //
        5, 4, 6, 5, 8, 7, 9, 8, 11, 10, 12, 11, 14, 13, 15, 14,
    );
    let groups = _mm256_shuffle_epi8(block, spread);
    let odd = _mm256_and_si256(groups, _mm256_set1_epi32(0x0fc0_fc00));
    let odd = multiply_high(odd, _mm256_set1_epi32(0x0400_0040));
    let even = _mm256_and_si256(groups, _mm256_set1_epi32(0x003f_03f0));
    let even = _mm256_mullo_epi16(even, _mm256_set1_epi32(0x0100_0010));
    let sixes = _mm256_or_si256(odd, even);

    // Which range of the alphabet: 0 for lower case, 1 to 10 for digits, 11, 12, 13 for upper case.
    let range = _mm256_subs_epu8(sixes, _mm256_set1_epi8(51));
    let upper = _mm256_cmpgt_epi8(_mm256_set1_epi8(26), sixes);
    let range = _mm256_or_si256(range, _mm256_and_si256(upper, _mm256_set1_epi8(13)));
    let shift = _mm256_broadcastsi128_si256(_mm_setr_epi8(
        71, -4, -4, -4, -4, -4, -4, -4, -4, -4, -4, -19, -16, 65, 0, 0,
    ));
    _mm256_add_epi8(sixes, _mm256_shuffle_epi8(shift, range))
}

/// # Safety
/// 24 bytes at `from` are readable, 32 at `to` writable.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn block(from: *const u8, to: *mut u8) {
    // SAFETY: 16 of the 24 bytes.
    let low = unsafe { _mm_loadu_si128(from.cast()) };
    // SAFETY: the last 16 of the 24 bytes.
    let high = unsafe { _mm_loadu_si128(from.add(8).cast()) };
    // SAFETY: the caller promises the room.
    unsafe { _mm256_storeu_si256(to.cast(), characters(_mm256_set_m128i(high, low))) };
}

/// # Safety
/// As for [`Kernel::base64`].
#[target_feature(enable = "avx2,bmi2")]
#[inline]
unsafe fn base64(src: &[u8], len: usize, dst: *mut u8) -> *mut u8 {
    let (mut from, mut left, mut to) = (src.as_ptr(), src.len(), dst);
    while left >= 4 * BLOCK {
        for number in 0..4 {
            // SAFETY: four blocks of the slice, and their characters.
            unsafe { block(from.add(number * BLOCK), to.add(number * 32)) };
        }
        left -= 4 * BLOCK;
        // SAFETY: within the slice.
        from = unsafe { from.add(4 * BLOCK) };
        // SAFETY: within the text.
        to = unsafe { to.add(4 * 32) };
    }
    while left >= BLOCK {
        // SAFETY: one block of the slice, and its characters.
        unsafe { block(from, to) };
        left -= BLOCK;
        // SAFETY: within the slice.
        from = unsafe { from.add(BLOCK) };
        // SAFETY: within the text.
        to = unsafe { to.add(32) };
    }
    let tail = &src[src.len() - left..];
    // SAFETY: at most 32 bytes behind the end of the text.
    unsafe { _mm256_storeu_si256(to.cast(), characters(load_tail(src, tail))) };
    // SAFETY: the text and the promised spill.
    unsafe { pad(dst, len, src.len()) }
}

/// `tail`, which is shorter than a block and ends `src`, as [`characters`] wants it, with zeros
/// behind it.
#[target_feature(enable = "avx2,bmi2")]
#[inline]
fn load_tail(src: &[u8], tail: &[u8]) -> __m256i {
    let words = (tail.len() / 4) as i32;
    let numbers = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    let whole = _mm256_cmpgt_epi32(_mm256_set1_epi32(words), numbers);
    // SAFETY: the mask allows only whole words of the tail.
    let bytes = unsafe { _mm256_maskload_epi32(tail.as_ptr().cast(), whole) };
    // The last one to three bytes are the upper ones of the slice's last word.
    let rest = match src.last_chunk::<4>() {
        Some(last) => u64::from(u32::from_le_bytes(*last)) >> (32 - 8 * (tail.len() % 4)),
        None => tail.iter().rev().fold(0, |rest, byte| rest << 8 | u64::from(*byte)),
    };
    let place = _mm256_cmpeq_epi32(_mm256_set1_epi32(words), numbers);
    let rest = _mm256_and_si256(place, _mm256_set1_epi32(rest as i32));
    // Bytes 0 to 16, then 8 to 24.
    _mm256_permute4x64_epi64::<0b10_01_01_00>(_mm256_or_si256(bytes, rest))
}

/// # Safety
/// As for [`Kernel::stamp`].
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn stamp(text: &StampText, len: usize, dst: *mut u8) -> *mut u8 {
    let copy = |at: usize| {
        // SAFETY: a stamp's text has 64 readable bytes from every position up to its length on.
        let bytes = unsafe { _mm256_load_si256(text.0.as_ptr().add(at).cast()) };
        // SAFETY: at most 127 bytes behind the text, within the promised spill.
        unsafe { _mm256_storeu_si256(dst.add(at).cast(), bytes) };
    };
    copy(0);
    copy(32);
    copy(64);
    copy(96);
    let mut at = 128;
    while at < len {
        copy(at);
        at += 32;
    }
    // SAFETY: the end of the text.
    unsafe { dst.add(len) }
}
