//! Headers with AVX-512 VBMI2: five bytes of text for each byte of a value, of which those that count
//! are compressed.
#![expect(
    unsafe_code,
    reason = "loads and stores through raw pointers, within the slice and the promised room"
)]
#![expect(clippy::multiple_unsafe_ops_per_block, reason = "an address and the access to it have one bound")]

use super::avx512::Bytes64;
use super::own_ahead;
use crate::payload::escape::is_plain;
use crate::payload::headers::put_header;
use std::arch::x86_64::*;

/// # Safety
/// As for [`Kernel::header`](crate::payload::kernel::Kernel::header).
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,bmi2,popcnt")]
#[inline]
pub(super) unsafe fn header(name: &[u8], value: &[u8], dst: *mut u8) -> *mut u8 {
    // SAFETY: the conditions are the same, and the parts do what they promise.
    unsafe { put_header(name, value, dst, |name, dst| plain(name, dst), |value, dst| numbers(value, dst)) }
}

/// The text, if it needs no escaping, and is of ordinary length. Spills up to 32 bytes.
///
/// # Safety
/// The text and the spill are valid for writes at `dst`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,bmi2")]
#[inline]
unsafe fn plain(src: &[u8], dst: *mut u8) -> Option<*mut u8> {
    if src.len() > 32 {
        return None;
    }
    let mask = _bzhi_u32(u32::MAX, src.len() as u32);
    // SAFETY: the mask allows only bytes of the slice.
    let text = unsafe { _mm256_mask_loadu_epi8(_mm256_set1_epi8(b'.' as i8), mask, src.as_ptr().cast()) };
    // SAFETY: the caller promises the room.
    unsafe { _mm256_storeu_si256(dst.cast(), text) };
    // One comparison, not three, because those are made on the port that is busiest here: a byte
    // that needs escaping makes one of the terms zero. As signed numbers, bytes that are not ASCII
    // are below the space too.
    let quote = _mm256_xor_si256(text, _mm256_set1_epi8(b'"' as i8));
    let backslash = _mm256_xor_si256(text, _mm256_set1_epi8(b'\\' as i8));
    let unsigned = _mm256_xor_si256(text, _mm256_set1_epi8(i8::MIN));
    let control = _mm256_subs_epu8(unsigned, _mm256_set1_epi8((b' ' + 127) as i8));
    let least = _mm256_min_epu8(_mm256_min_epu8(quote, backslash), control);
    let special = _mm256_testn_epi8_mask(least, least);
    debug_assert_eq!(special == 0, src.iter().all(|byte| is_plain(*byte)));
    // SAFETY: the end of the text.
    (special == 0).then(|| unsafe { dst.add(src.len()) })
}

/// Bytes whose numbers are made at once: five bytes of text for each fit a register.
const NUMBERS: usize = 12;

/// What the five bytes of a number's text are.
const MINUS: usize = 0;
const HUNDREDS: usize = 1;
const TENS: usize = 2;
const ONES: usize = 3;
const COMMA: usize = 4;

/// A constant of five bytes for each number, and `rest` behind them.
const fn per_number(minus: u8, hundreds: u8, tens: u8, ones: u8, comma: u8, rest: u8) -> Bytes64 {
    let mut table = [rest; 64];
    let mut at = 0;
    while at < 5 * NUMBERS {
        table[at] = [minus, hundreds, tens, ones, comma][at % 5];
        at += 1;
    }
    Bytes64(table)
}

/// Which byte each place is about.
const SOURCE: Bytes64 = Bytes64({
    let mut table = [0; 64];
    let mut at = 0;
    while at < 5 * NUMBERS {
        table[at] = (at / 5) as u8;
        at += 1;
    }
    table
});

/// A place is kept if the byte (for the minus) or its magnitude (for the others) is at least this.
/// No magnitude is 255: what lies behind the numbers is never kept.
const KEPT_FROM: Bytes64 = per_number(128, 100, 10, 0, 0, 255);

/// The place of the minus, where the byte counts and not its magnitude.
const SIGNS: Bytes64 = per_number(0xff, 0, 0, 0, 0, 0);

/// The tens and the ones of a number below 100, as nibbles.
const TENS_ONES: [Bytes64; 2] = {
    let mut tables = [Bytes64([0; 64]), Bytes64([0; 64])];
    let mut number = 0;
    while number < 100 {
        tables[number / 64].0[number % 64] = (((number / 10) << 4) | (number % 10)) as u8;
        number += 1;
    }
    tables
};

/// Shifts that bring the tens down where they are wanted.
const NIBBLES: Bytes64 = Bytes64({
    let mut table = [0; 64];
    let mut at = 0;
    while at < 64 {
        table[at] = (at % 8 * 8) as u8 + if at % 5 == TENS { 4 } else { 0 };
        at += 1;
    }
    table
});

/// Where a digit depends on the number, and its bits.
const DIGITS: Bytes64 = per_number(0, 0, 15, 15, 0, 0);

/// The text but for these. No signed byte has other hundreds than one.
const FRAME: Bytes64 = per_number(b'-', b'1', b'0', b'0', b',', 0);

const _: () = assert!(MINUS == 0 && HUNDREDS == 1 && ONES == 3 && COMMA == 4);

/// Five bytes of text for each of twelve signed bytes, and which of them to keep.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
#[inline]
fn spelled(bytes: __m128i) -> (__m512i, u64) {
    let spread = _mm512_permutexvar_epi8(SOURCE.load(), _mm512_castsi128_si512(bytes));
    let magnitudes = _mm512_abs_epi8(spread);
    // By a vector, not by a mask register: those are filled on the port that is busiest here.
    let signs = SIGNS.load();
    let magnitudes = _mm512_or_si512(_mm512_and_si512(signs, spread), _mm512_andnot_si512(signs, magnitudes));
    let kept = _mm512_cmpge_epu8_mask(magnitudes, KEPT_FROM.load());
    // Below a hundred the subtraction wraps around, and is no minimum.
    let below_hundred = _mm512_min_epu8(magnitudes, _mm512_sub_epi8(magnitudes, _mm512_set1_epi8(100)));
    let nibbles = _mm512_permutex2var_epi8(TENS_ONES[0].load(), below_hundred, TENS_ONES[1].load());
    let digits = _mm512_multishift_epi64_epi8(NIBBLES.load(), nibbles);
    let text = _mm512_or_si512(_mm512_and_si512(digits, DIGITS.load()), FRAME.load());
    (text, kept)
}

/// Every byte as a signed number and a comma. Spills up to 64 bytes.
///
/// # Safety
/// The text and the spill are valid for writes at `dst`; `src` is not empty.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,bmi2,popcnt")]
#[inline]
unsafe fn numbers(src: &[u8], dst: *mut u8) -> *mut u8 {
    let put = |text: __m512i, kept: u64, to: *mut u8| {
        own_ahead(to);
        // To a register and then to memory: straight to memory it is microcoded on Zen 4.
        let packed = _mm512_maskz_compress_epi8(kept, text);
        // SAFETY: the text of these bytes, and at most 64 bytes of spill.
        unsafe { _mm512_storeu_si512(to.cast(), packed) };
        // SAFETY: so many bytes of text were stored.
        unsafe { to.add(_popcnt64(kept.cast_signed()) as usize) }
    };
    let (mut from, mut left, mut to) = (src.as_ptr(), src.len(), dst);
    while left >= 16 {
        // SAFETY: 16 bytes of the slice, of which twelve are spelled.
        let bytes = unsafe { _mm_loadu_si128(from.cast()) };
        let (text, kept) = spelled(bytes);
        to = put(text, kept, to);
        // SAFETY: the slice goes on.
        from = unsafe { from.add(NUMBERS) };
        left -= NUMBERS;
    }
    let mask = _bzhi_u32(u32::MAX, left as u32) as u16;
    // SAFETY: the mask allows only bytes of the slice.
    let bytes = unsafe { _mm_maskz_loadu_epi8(mask, from.cast()) };
    let (text, kept) = spelled(bytes);
    to = put(text, _bzhi_u64(kept, 5 * left as u32), to);
    if left > NUMBERS {
        let (text, kept) = spelled(_mm_bsrli_si128::<{ NUMBERS as i32 }>(bytes));
        to = put(text, _bzhi_u64(kept, 5 * (left - NUMBERS) as u32), to);
    }
    to
}
