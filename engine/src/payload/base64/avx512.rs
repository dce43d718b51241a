//! AVX-512 with VBMI and VBMI2.
//!
//! 48 bytes become 64 characters by three instructions: `vpermb` spreads each group of three over
//! four bytes, `vpmultishiftqb` cuts the six bits of each out, `vpermb` looks the characters up.
//! From 256 bytes up that runs at the speed of the stores.
#![expect(
    unsafe_code,
    reason = "loads and stores through raw pointers, within the slice and the promised room"
)]

use super::{base64_len, pad};
use crate::payload::escape::is_plain;
use crate::payload::kernel::{Kernel, StampText};
use std::arch::x86_64::*;

pub(in crate::payload) struct Avx512;

// SAFETY: every routine writes its text and less than `SPILL_BYTES` behind it, and its loads are
// masked where the slice ends.
unsafe impl Kernel for Avx512 {
    #[inline(always)]
    unsafe fn base64(src: &[u8], dst: *mut u8) -> *mut u8 {
        // SAFETY: the trait's conditions are handed on.
        unsafe { base64(src, dst) }
    }

    #[inline(always)]
    unsafe fn numbers(src: &[u8], dst: *mut u8) -> *mut u8 {
        // SAFETY: the trait's conditions are handed on.
        unsafe { numbers(src, dst) }
    }

    #[inline(always)]
    unsafe fn plain(src: &[u8], dst: *mut u8) -> Option<*mut u8> {
        // SAFETY: the trait's conditions are handed on.
        unsafe { plain(src, dst) }
    }

    #[inline(always)]
    unsafe fn stamp(text: &StampText, len: usize, dst: *mut u8) -> *mut u8 {
        // SAFETY: the trait's conditions are handed on.
        unsafe { stamp(text, len, dst) }
    }
}

const BLOCK: usize = 48;

/// A constant for a 64-byte register.
#[repr(align(64))]
struct Bytes64([u8; 64]);

impl Bytes64 {
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn load(&self) -> __m512i {
        // SAFETY: the constant has the register's size and alignment.
        unsafe { _mm512_load_si512(self.0.as_ptr().cast()) }
    }
}

static ALPHABET: Bytes64 = Bytes64(*b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");

/// `[b1 b0 b2 b1]` for each group of three.
static SPREAD: Bytes64 = Bytes64({
    let mut table = [0; 64];
    let mut at = 0;
    while at < 64 {
        table[at] = (at / 4 * 3) as u8 + [1, 0, 2, 1][at % 4];
        at += 1;
    }
    table
});

/// The characters of the first 48 bytes of `block`.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
#[inline]
fn characters(block: __m512i) -> __m512i {
    let spread = _mm512_permutexvar_epi8(SPREAD.load(), block);
    let shifts = _mm512_set1_epi64(0x3036_242a_1016_040a);
    let sixes = _mm512_multishift_epi64_epi8(shifts, spread);
    _mm512_permutexvar_epi8(sixes, ALPHABET.load())
}

/// # Safety
/// As for [`Kernel::base64`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,bmi2")]
#[inline]
unsafe fn base64(src: &[u8], dst: *mut u8) -> *mut u8 {
    let (mut from, mut left, mut to) = (src.as_ptr(), src.len(), dst);
    while left >= 3 * BLOCK + 64 {
        for block in 0..4 {
            // SAFETY: the fourth load ends 208 bytes behind `from`, where the slice goes on.
            let bytes = unsafe { _mm512_loadu_si512(from.add(block * BLOCK).cast()) };
            // SAFETY: these are the 64 characters of 48 bytes of the slice.
            unsafe { _mm512_storeu_si512(to.add(block * 64).cast(), characters(bytes)) };
        }
        left -= 4 * BLOCK;
        // SAFETY: within the slice.
        from = unsafe { from.add(4 * BLOCK) };
        // SAFETY: within the text.
        to = unsafe { to.add(4 * 64) };
    }
    while left >= 64 {
        // SAFETY: 64 bytes of the slice are left.
        let bytes = unsafe { _mm512_loadu_si512(from.cast()) };
        // SAFETY: these are the 64 characters of 48 bytes of the slice.
        unsafe { _mm512_storeu_si512(to.cast(), characters(bytes)) };
        left -= BLOCK;
        // SAFETY: within the slice.
        from = unsafe { from.add(BLOCK) };
        // SAFETY: within the text.
        to = unsafe { to.add(64) };
    }
    // Two blocks more, of which the first or both may be empty: cheaper than a branch that the
    // length of a value makes unpredictable.
    for block in 0..2 {
        let mask = _bzhi_u64(u64::MAX, left.saturating_sub(block * BLOCK).min(BLOCK) as u32);
        // SAFETY: the mask allows only bytes of the slice; other lanes are not touched.
        let bytes = unsafe { _mm512_maskz_loadu_epi8(mask, from.wrapping_add(block * BLOCK).cast()) };
        // SAFETY: at most two blocks behind the end of the text, within the promised spill.
        unsafe { _mm512_storeu_si512(to.add(block * 64).cast(), characters(bytes)) };
    }
    // SAFETY: the end of the text, which is at least four bytes long where there is padding.
    unsafe { pad(dst.add(base64_len(src.len())), src.len()) }
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
    let mut at = 128;
    while at < len {
        copy(at);
        at += 64;
    }
    // SAFETY: the end of the text.
    unsafe { dst.add(len) }
}

/// # Safety
/// As for [`Kernel::plain`].
#[target_feature(enable = "avx512f,avx512bw,bmi2")]
#[inline]
unsafe fn plain(src: &[u8], dst: *mut u8) -> Option<*mut u8> {
    if src.len() > 64 {
        // SAFETY: the conditions are the same.
        return unsafe { super::portable::plain(src, dst) };
    }
    let mask = _bzhi_u64(u64::MAX, src.len() as u32);
    // SAFETY: the mask allows only bytes of the slice.
    let text = unsafe { _mm512_mask_loadu_epi8(_mm512_set1_epi8(b'.' as i8), mask, src.as_ptr().cast()) };
    // SAFETY: at most 64 bytes behind the beginning of the text.
    unsafe { _mm512_storeu_si512(dst.cast(), text) };
    // As signed numbers, bytes that are not ASCII are below the space too.
    let special = _mm512_cmplt_epi8_mask(text, _mm512_set1_epi8(b' ' as i8))
        | _mm512_cmpeq_epi8_mask(text, _mm512_set1_epi8(b'"' as i8))
        | _mm512_cmpeq_epi8_mask(text, _mm512_set1_epi8(b'\\' as i8));
    debug_assert_eq!(special == 0, src.iter().all(|byte| is_plain(*byte)));
    // SAFETY: the end of the text.
    (special == 0).then(|| unsafe { dst.add(src.len()) })
}

/// Bytes whose numbers are made at once: five bytes of text for each fit a register.
const NUMBERS: usize = 12;

/// The tens and the ones of a number below 100, as nibbles.
static TENS_ONES: [Bytes64; 2] = {
    let mut tables = [Bytes64([0; 64]), Bytes64([0; 64])];
    let mut number = 0;
    while number < 100 {
        tables[number / 64].0[number % 64] = ((number / 10) << 4 | number % 10) as u8;
        number += 1;
    }
    tables
};

/// Shifts that bring the tens down in the first 16 bytes, and keep the ones in the others.
static NIBBLES: Bytes64 = Bytes64({
    let mut table = [0; 64];
    let mut at = 0;
    while at < 64 {
        table[at] = (at % 8 * 8) as u8 + if at < 16 { 4 } else { 0 };
        at += 1;
    }
    table
});

/// Five bytes for each number: minus, one, tens, ones, comma. Tens and ones are looked up where
/// [`NIBBLES`] left them.
static PLACES: Bytes64 = Bytes64({
    let mut table = [0; 64];
    let mut number = 0;
    while number < NUMBERS {
        table[5 * number + 2] = number as u8;
        table[5 * number + 3] = 16 + number as u8;
        number += 1;
    }
    table
});

/// What does not depend on the number. No signed byte has other hundreds than one.
static FRAME: Bytes64 = Bytes64({
    let mut table = [0; 64];
    let mut number = 0;
    while number < NUMBERS {
        table[5 * number] = b'-';
        table[5 * number + 1] = b'1';
        table[5 * number + 4] = b',';
        number += 1;
    }
    table
});

/// One bit for each number: its first of five.
const FIRST_OF_FIVE: u64 = 0x0084_2108_4210_8421 & ((1 << (5 * NUMBERS)) - 1);

/// # Safety
/// As for [`Kernel::numbers`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,bmi2,popcnt")]
#[inline]
unsafe fn numbers(src: &[u8], dst: *mut u8) -> *mut u8 {
    let mut to = dst;
    let mut left = src.len();
    let mut from = src.as_ptr();
    loop {
        let count = left.min(NUMBERS);
        let mask = _bzhi_u32(u32::MAX, count as u32) as u16;
        // SAFETY: the mask allows only bytes of the slice.
        let bytes = unsafe { _mm_maskz_loadu_epi8(mask, from.cast()) };
        let (text, bits) = spelled(bytes);
        let bits = _bzhi_u64(bits, 5 * count as u32);
        // To a register and then to memory: straight to memory it is microcoded on Zen 4.
        let packed = _mm512_maskz_compress_epi8(bits, text);
        // SAFETY: the text of these bytes, and at most 64 bytes of spill.
        unsafe { _mm512_storeu_si512(to.cast(), packed) };
        // SAFETY: so many bytes of text were stored.
        to = unsafe { to.add(_popcnt64(bits.cast_signed()) as usize) };
        left -= count;
        if left == 0 {
            return to;
        }
        // SAFETY: the slice goes on.
        from = unsafe { from.add(NUMBERS) };
    }
}

/// Five bytes of text for each of twelve signed bytes, and which of them to keep.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,bmi2")]
#[inline]
fn spelled(bytes: __m128i) -> (__m512i, u64) {
    let magnitudes = _mm_abs_epi8(bytes);
    let hundred = _mm_set1_epi8(100);
    let negative = _mm_movepi8_mask(bytes);
    let hundreds = _mm_cmpge_epu8_mask(magnitudes, hundred);
    let tens = _mm_cmpge_epu8_mask(magnitudes, _mm_set1_epi8(10));
    let below_hundred = _mm_mask_sub_epi8(magnitudes, hundreds, magnitudes, hundred);

    let spread = _mm512_broadcast_i32x4(below_hundred);
    let nibbles = _mm512_permutex2var_epi8(TENS_ONES[0].load(), spread, TENS_ONES[1].load());
    let nibbles = _mm512_multishift_epi64_epi8(NIBBLES.load(), nibbles);
    let digits =
        _mm512_or_si512(_mm512_and_si512(nibbles, _mm512_set1_epi8(15)), _mm512_set1_epi8(b'0' as i8));
    let text = _mm512_mask_permutexvar_epi8(FRAME.load(), FIRST_OF_FIVE * 0b01100, PLACES.load(), digits);

    let bits = _pdep_u64(u64::from(negative), FIRST_OF_FIVE)
        | _pdep_u64(u64::from(hundreds), FIRST_OF_FIVE << 1)
        | _pdep_u64(u64::from(tens), FIRST_OF_FIVE << 2)
        | FIRST_OF_FIVE * 0b11000;
    (text, bits)
}
