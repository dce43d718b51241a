//! Decimal digits with AVX-512 IFMA: for the offsets and timestamps of the AVX-512 tier.

use super::avx512::Bytes64;
use crate::payload::kernel::DigitFrame;
use std::arch::x86_64::*;

/// [`Kernel::put_digits`](crate::payload::kernel::Kernel::put_digits): the digits of two numbers,
/// each in eight lanes of 52-bit fixed point.
///
/// Lane k holds the fraction `number / 10^(8-k)` as `number * RECIPROCALS[k] / 2^52`, whose whole
/// part falls off; ten times that is the digit.
///
/// # Safety
/// As there.
#[target_feature(enable = "avx512f,avx512vl,avx512vbmi,avx512ifma")]
#[inline]
#[expect(unsafe_code, reason = "stores through raw pointers")]
pub(super) unsafe fn put_digits(numbers: [u64; 2], frame: &DigitFrame, at: [*mut u8; 2]) {
    let ten = _mm512_set1_epi64(10);
    let zero = _mm512_set1_epi64(i64::from(b'0'));
    let of = |number: u64| {
        let number = _mm512_set1_epi64(number.cast_signed());
        let fraction = _mm512_madd52lo_epu64(ROUNDING.load(), number, RECIPROCALS.load());
        _mm512_madd52hi_epu64(zero, fraction, ten)
    };
    let [first, second] = numbers.map(of);
    let packed = _mm512_castsi512_si128(_mm512_permutex2var_epi8(first, LOWEST_BYTES.load(), second));
    // SAFETY: the trait's conditions are handed on.
    unsafe { super::put_framed(packed, frame, at) };
}

/// `2^52 / 10^8` to `2^52 / 10`, rounded up but for the first.
const RECIPROCALS: Bytes64 = eight_words({
    let mut words = [0; 8];
    let mut power = 100_000_000;
    let mut lane = 0;
    while lane < 8 {
        words[lane] = (1 << 52) / power + if lane == 0 { 0 } else { 1 };
        power /= 10;
        lane += 1;
    }
    words
});

/// The first lane's numbers are so long that rounding its factor up would make `99999999` overflow;
/// it is rounded down, and this makes good for it: more than `10^8` times what was cut off (0.28),
/// less than one unit of the last digit (`2^52 / 10^8`).
const ROUNDING: Bytes64 = eight_words([36_000_000, 0, 0, 0, 0, 0, 0, 0]);

/// The lowest byte of each lane of two registers.
const LOWEST_BYTES: Bytes64 = Bytes64({
    let mut table = [0; 64];
    let mut lane = 0;
    while lane < 16 {
        table[lane] = 8 * lane as u8;
        lane += 1;
    }
    table
});

const fn eight_words(words: [u64; 8]) -> Bytes64 {
    let mut bytes = [0; 64];
    let mut at = 0;
    while at < 64 {
        bytes[at] = words[at / 8].to_le_bytes()[at % 8];
        at += 1;
    }
    Bytes64(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::decimal::eight_digits;

    #[test]
    #[expect(unsafe_code, reason = "the features are detected before the call")]
    #[expect(clippy::print_stderr, reason = "a skip must be seen")]
    fn digits_are_those_of_the_portable_tier() {
        if !is_x86_feature_detected!("avx512ifma") || !is_x86_feature_detected!("avx512vbmi") {
            eprintln!("skipped: this machine has no AVX-512 IFMA and VBMI");
            return;
        }
        // With a stride that meets every pair of neighbouring digits many times.
        let edges = (0..8).flat_map(|power| (1..10).map(move |digit| digit * 10_u64.pow(power)));
        let edges = edges.flat_map(|number| [number - 1, number]);
        for number in (0..100_000_000).step_by(97).chain(99_999_000..100_000_000).chain(edges) {
            let mut digits = [0_u64; 2];
            let frame = DigitFrame { mask: [u64::MAX; 2], lead: [0; 2] };
            let at = digits.each_mut().map(|digits| std::ptr::from_mut(digits).cast());
            // SAFETY: the features were just detected, and there are eight bytes at each place.
            unsafe { put_digits([number, 99_999_999 - number], &frame, at) };
            assert_eq!(digits, [eight_digits(number), eight_digits(99_999_999 - number)]);
        }
    }
}
