//! The bytes at which reading a JSON string stops, sixteen at a time.
#![cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "calls a function that asks for SSE2"))]

/// Where in `bytes`, from `at` on, the first quote, backslash or control character stands; the
/// length of `bytes` if there is none.
#[inline(always)]
pub(super) fn special(bytes: &[u8], mut at: usize) -> usize {
    while let Some(chunk) = bytes.get(at..at + CHUNK) {
        let mask = special_mask(chunk);
        if mask != 0 {
            return at + (mask.trailing_zeros() as usize) / BITS_PER_BYTE;
        }
        at += CHUNK;
    }
    // The last chunk again, less what was looked at already.
    if let Some(last) = bytes.len().checked_sub(CHUNK) {
        let at = at.min(bytes.len());
        let mask =
            special_mask(&bytes[last..]).checked_shr(((at - last) * BITS_PER_BYTE) as u32).unwrap_or(0);
        return if mask == 0 { bytes.len() } else { at + (mask.trailing_zeros() as usize) / BITS_PER_BYTE };
    }
    let rest = bytes.get(at..).unwrap_or_default();
    rest.iter().position(|&byte| byte < b' ' || byte == b'"' || byte == b'\\').map_or(bytes.len(), |n| at + n)
}

#[cfg(target_arch = "x86_64")]
const CHUNK: usize = 16;
#[cfg(target_arch = "x86_64")]
const BITS_PER_BYTE: usize = 1;

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn special_mask(chunk: &[u8]) -> u32 {
    // SAFETY: SSE2 is part of every x86-64; the function asks for nothing else.
    unsafe { special_mask_sse2(chunk) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse2")]
#[inline]
fn special_mask_sse2(chunk: &[u8]) -> u32 {
    use std::arch::x86_64::{
        _mm_cmpeq_epi8, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x, _mm_set1_epi8,
    };
    let half = |at: usize| {
        let mut half = [0; 8];
        half.copy_from_slice(&chunk[at..at + 8]);
        i64::from_le_bytes(half)
    };
    let bytes = _mm_set_epi64x(half(8), half(0));
    let quotes = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'"'.cast_signed()));
    let backslashes = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'\\'.cast_signed()));
    let controls = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
    _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quotes, backslashes), controls)).cast_unsigned()
}

#[cfg(not(target_arch = "x86_64"))]
const CHUNK: usize = 8;
#[cfg(not(target_arch = "x86_64"))]
const BITS_PER_BYTE: usize = 8;

/// Eight bytes in a word. The lowest bit that is set is right; above it a borrow may set others.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn special_mask(chunk: &[u8]) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let mut word = [0; 8];
    word.copy_from_slice(&chunk[..8]);
    let word = u64::from_le_bytes(word);
    let below = |word: u64, limit: u8| word.wrapping_sub(ONES * u64::from(limit)) & !word & HIGHS;
    let equal = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    equal(b'"') | equal(b'\\') | below(word, b' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_special_byte_is_found_wherever_it_stands() {
        for length in 0..70 {
            for special_at in 0..length {
                for byte in [b'"', b'\\', 0, 0x1f, b'\n'] {
                    let mut bytes = vec![b'x'; length];
                    bytes[special_at] = byte;
                    for at in 0..=length {
                        let expected = if at <= special_at { special_at } else { length };
                        assert_eq!(special(&bytes, at), expected, "{length} {special_at} {byte} {at}");
                    }
                }
            }
            assert_eq!(special(&vec![0xff; length], 0), length);
            assert_eq!(special(&vec![b' '; length], 0), length);
        }
    }
}
