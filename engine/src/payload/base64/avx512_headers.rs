//! Headers with AVX-512 VBMI2: four or five bytes of text for each byte of a value, of which those that
//! count are compressed.
#![expect(
    unsafe_code,
    reason = "loads and stores through raw pointers, within the slice and the promised room"
)]
#![expect(clippy::multiple_unsafe_ops_per_block, reason = "an address and the access to it have one bound")]

use super::avx512::Bytes64;
use super::own_ahead;
use crate::payload::escape::is_plain;
use crate::payload::headers::{HeaderParts, NUMBERS as TABLE, PLAIN_NAME_BYTES_MAX};
use std::arch::x86_64::*;

/// Inlined by force, as all of `avx512_base64` and for the same reason.
pub(super) struct Vectors;

// SAFETY: the routines spill up to 64 bytes.
unsafe impl HeaderParts for Vectors {
    /// For names that need no escaping, and are of ordinary length.
    #[inline(always)]
    unsafe fn name(name: &[u8], to: *mut u8) -> Option<*mut u8> {
        if name.len() > PLAIN_NAME_BYTES_MAX {
            return None;
        }
        const { assert!(PLAIN_NAME_BYTES_MAX <= size_of::<__m256i>()) };
        // SAFETY: the mask allows only bytes of the slice; the caller promises the features and the room.
        let special = unsafe {
            let mask = _bzhi_u32(u32::MAX, name.len() as u32);
            let text = _mm256_mask_loadu_epi8(_mm256_set1_epi8(b'.' as i8), mask, name.as_ptr().cast());
            _mm256_storeu_si256(to.cast(), text);
            need_escaping(text)
        };
        debug_assert_eq!(special == 0, name.iter().all(|byte| is_plain(*byte)));
        // SAFETY: the end of the text.
        (special == 0).then(|| unsafe { to.add(name.len()) })
    }

    /// The last few come from the table of the tiers without vectors: the vector units are what limits
    /// this, and the rest of the processor has time for it.
    #[inline(always)]
    unsafe fn numbers(value: &[u8], to: *mut u8) -> *mut u8 {
        let (mut rest, mut to) = (value, to);
        // SAFETY: the loads are within the slice, or masked; the caller promises the room.
        unsafe {
            'steps: while let Some(bytes) = rest.first_chunk() {
                let mut vector = load(bytes);
                if _mm_movemask_epi8(_mm512_castsi512_si128(vector)) == 0 {
                    let (text, kept) = spelled_naturals(vector);
                    to = put(text, kept, kept, to);
                    rest = &rest[NATURALS..];
                    continue;
                }
                // Where one is negative others are: it is not asked again.
                loop {
                    let (text, kept) = spelled(vector);
                    to = put(text, kept, kept, to);
                    rest = &rest[NUMBERS..];
                    let Some(bytes) = rest.first_chunk() else { break 'steps };
                    vector = load(bytes);
                }
            }
            if rest.len() <= NATURALS - NUMBERS {
                return tabled(rest, to);
            }
            let left = rest.len() as u32;
            let vector = _mm_maskz_loadu_epi8(_bzhi_u32(u32::MAX, left) as u16, rest.as_ptr().cast());
            let negative = _mm_movemask_epi8(vector);
            let vector = _mm512_castsi128_si512(vector);
            if negative == 0 {
                let (text, kept) = spelled_naturals(vector);
                return put(text, kept, _bzhi_u64(kept, 4 * left), to);
            }
            let (text, kept) = spelled(vector);
            to = put(text, kept, _bzhi_u64(kept, 5 * left), to);
            if left > NUMBERS as u32 { tabled(&rest[NUMBERS..], to) } else { to }
        }
    }
}

/// Which bytes of a string need to be escaped, or are not ASCII.
///
/// # Safety
/// The CPU has the features.
#[inline(always)]
unsafe fn need_escaping(text: __m256i) -> u32 {
    // SAFETY: the caller's promise.
    unsafe {
        // One comparison, not three, because those are made on the port that is busiest here: a byte
        // that needs escaping makes one of the terms zero. As signed numbers, bytes that are not ASCII
        // are below the space too.
        let quote = _mm256_xor_si256(text, _mm256_set1_epi8(b'"' as i8));
        let backslash = _mm256_xor_si256(text, _mm256_set1_epi8(b'\\' as i8));
        let unsigned = _mm256_xor_si256(text, _mm256_set1_epi8(i8::MIN));
        let control = _mm256_subs_epu8(unsigned, _mm256_set1_epi8((b' ' + 127) as i8));
        let least = _mm256_min_epu8(_mm256_min_epu8(quote, backslash), control);
        _mm256_testn_epi8_mask(least, least)
    }
}

/// Bytes whose numbers are made at once: five bytes of text for each fit a register.
const NUMBERS: usize = 12;

/// The same if none is negative, and four bytes are enough.
const NATURALS: usize = 16;

/// A constant with `parts` for each of as many numbers as there is room for, and `rest` behind them.
const fn each<const N: usize>(parts: [u8; N], rest: u8) -> Bytes64 {
    let mut table = [rest; 64];
    let mut at = 0;
    while at < 64 / N * N {
        table[at] = parts[at % N];
        at += 1;
    }
    Bytes64(table)
}

/// Which byte each place is about, with so many places for each.
const fn sources<const N: usize>() -> Bytes64 {
    let mut table = [0; 64];
    let mut at = 0;
    while at < 64 / N * N {
        table[at] = (at / N) as u8;
        at += 1;
    }
    Bytes64(table)
}

/// Shifts that bring the tens down where they are wanted, and leave the ones where they are, for
/// numbers of so many places.
const fn nibbles<const N: usize>() -> Bytes64 {
    let mut table = [0; 64];
    let mut at = 0;
    while at < 64 {
        // Tens, ones and a comma end a number.
        table[at] = (at % 8 * 8) as u8 + if at % N == N - 3 { 4 } else { 0 };
        at += 1;
    }
    Bytes64(table)
}

/// The tens and the ones of a number, as nibbles.
const TENS_ONES: [Bytes64; 2] = {
    let mut tables = [Bytes64([0; 64]), Bytes64([0; 64])];
    let mut number = 0;
    while number < 128 {
        tables[number / 64].0[number % 64] = ((number / 10 % 10 * 16) | (number % 10)) as u8;
        number += 1;
    }
    tables
};

/// Sixteen bytes in the lowest part of a register. (In each part, because the load does so for nothing.)
///
/// # Safety
/// The CPU has the features.
#[inline(always)]
unsafe fn load(bytes: &[u8; NATURALS]) -> __m512i {
    // SAFETY: an array of 16 bytes.
    unsafe { _mm512_broadcast_i32x4(_mm_loadu_si128(bytes.as_ptr().cast())) }
}

/// Five bytes of text for each of twelve signed bytes, and which of them to keep.
///
/// # Safety
/// The CPU has the features.
#[inline(always)]
unsafe fn spelled(bytes: __m512i) -> (__m512i, u64) {
    const FIRST_WHERE_SET: i32 = 0xca;
    // SAFETY: the caller's promise.
    unsafe {
        let spread = _mm512_permutexvar_epi8(const { sources::<5>() }.load(), bytes);
        // For the minus the byte counts, and not its magnitude. (Chosen by a vector, not by a mask: masks
        // are filled on the port that is busiest here.)
        let signs = const { each([255, 0, 0, 0, 0], 0) }.load();
        let magnitudes = _mm512_ternarylogic_epi64::<FIRST_WHERE_SET>(signs, spread, _mm512_abs_epi8(spread));
        // No magnitude is 255: what lies behind the numbers is never kept.
        let kept = _mm512_cmpge_epu8_mask(magnitudes, const { each([128, 100, 10, 0, 0], 255) }.load());
        // Below a hundred the subtraction wraps around, and is no minimum. (Only 128 needs that: the
        // tables have no place for it.)
        let below_hundred = _mm512_min_epu8(magnitudes, _mm512_sub_epi8(magnitudes, _mm512_set1_epi8(100)));
        let nibbles = tens_and_ones(below_hundred, &const { nibbles::<5>() });
        // No signed byte has other hundreds than one.
        let frame = const { each(*b"-100,", 0) }.load();
        (_mm512_or_si512(_mm512_and_si512(nibbles, const { each([0, 0, 15, 15, 0], 0) }.load()), frame), kept)
    }
}

/// Four bytes of text for each of sixteen bytes that are not negative, and which of them to keep.
///
/// # Safety
/// The CPU has the features.
#[inline(always)]
unsafe fn spelled_naturals(bytes: __m512i) -> (__m512i, u64) {
    // SAFETY: the caller's promise.
    unsafe {
        let spread = _mm512_permutexvar_epi8(const { sources::<4>() }.load(), bytes);
        let kept = _mm512_cmpge_epu8_mask(spread, const { each([100, 10, 0, 0], 0) }.load());
        let nibbles = tens_and_ones(spread, &const { nibbles::<4>() });
        let frame = const { each(*b"100,", 0) }.load();
        (_mm512_or_si512(_mm512_and_si512(nibbles, const { each([0, 15, 15, 0], 0) }.load()), frame), kept)
    }
}

/// The tens of each number below 128 in the low nibbles where `shifts` says so, and its ones
/// elsewhere; anything in the high nibbles.
///
/// # Safety
/// The CPU has the features.
#[inline(always)]
unsafe fn tens_and_ones(numbers: __m512i, shifts: &Bytes64) -> __m512i {
    // SAFETY: the caller's promise.
    unsafe {
        let nibbles = _mm512_permutex2var_epi8(TENS_ONES[0].load(), numbers, TENS_ONES[1].load());
        _mm512_multishift_epi64_epi8(shifts.load(), nibbles)
    }
}

/// Stores the bytes of `text` that are `kept`, and returns the end of those that `count`: the first of
/// them.
///
/// # Safety
/// 64 bytes are writable at `to`.
#[inline(always)]
unsafe fn put(text: __m512i, kept: u64, count: u64, to: *mut u8) -> *mut u8 {
    own_ahead::<0>(to);
    // SAFETY: the caller promises the features and the room; what counts was stored.
    unsafe {
        // To a register and then to memory: straight to memory it is microcoded on Zen 4.
        _mm512_storeu_si512(to.cast(), _mm512_maskz_compress_epi8(kept, text));
        to.add(_popcnt64(count.cast_signed()) as usize)
    }
}

/// Up to four bytes as signed numbers, by table: each with a comma. Spills up to six bytes.
///
/// # Safety
/// The text and the spill are writable at `to`.
#[inline(always)]
unsafe fn tabled(src: &[u8], mut to: *mut u8) -> *mut u8 {
    for byte in src {
        // From memory: out of a vector, where the compiler knows it to be too, a byte costs two of
        // the instructions that are rare here.
        // SAFETY: a reference.
        let byte = unsafe { std::ptr::from_ref(byte).read_volatile() };
        let entry = TABLE[usize::from(byte)];
        // SAFETY: the entry's eight bytes are this byte's text and spill.
        unsafe {
            to.cast::<u64>().write_unaligned(entry);
            to = to.add((entry >> 56) as usize);
        }
    }
    to
}
