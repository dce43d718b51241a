//! Stamps with AVX-512 IFMA: the digits of offset and timestamp are made in registers and put into
//! the text there, so that a stamp is stored once. Inlined by force, as all of `avx512_base64` and for
//! the same reason.
#![expect(unsafe_code, reason = "loads from the stamp, stores through raw pointers")]
#![expect(clippy::multiple_unsafe_ops_per_block, reason = "intrinsics that ask for nothing but the features")]

use super::avx512::Bytes64;
use super::own_ahead;
use crate::payload::kernel::{STAMP_BYTES_MAX, StampText, TAIL_BYTES};
use std::arch::x86_64::*;

/// The last 128 bytes of a stamp's text, and where the digits of the numbers go in them.
#[derive(Clone, Copy)]
pub(in crate::payload) struct Held {
    text: [__m512i; 2],
    from: [__m512i; 2],
    changing: [u64; 2],
}

impl Held {
    /// # Safety
    /// The CPU has the features.
    #[inline(always)]
    pub(super) unsafe fn of(stamp: &StampText) -> Self {
        let tail = stamp.bytes.0.as_ptr().wrapping_add(stamp.tail());
        // SAFETY: a stamp has 64 readable bytes from every position up to its length on, and 128 in all.
        let text = |at: usize| unsafe { _mm512_loadu_si512(tail.wrapping_add(at).cast()) };
        // SAFETY: as long as the register, and aligned.
        let from =
            |half: usize| unsafe { _mm512_load_si512(stamp.from.0.as_ptr().wrapping_add(64 * half).cast()) };
        Self { text: [text(0), text(64)], from: [from(0), from(1)], changing: stamp.changing }
    }

    /// [`Kernel::stamp`](crate::payload::kernel::Kernel::stamp).
    ///
    /// # Safety
    /// As there.
    #[inline(always)]
    pub(super) unsafe fn put(self, stamp: &StampText, numbers: [u64; 2], dst: *mut u8) -> *mut u8 {
        let head = stamp.tail();
        const HEADS: [usize; 5] = [0, 64, 128, 192, 256];
        const { assert!(HEADS[4] + 64 >= STAMP_BYTES_MAX - TAIL_BYTES) };
        // Not a loop over the head's bytes: the compiler would make it a call, around which it would
        // have to save all that is held.
        for at in HEADS {
            if at >= head {
                break;
            }
            own_ahead::<0>(dst.wrapping_add(at));
            // SAFETY: within the stamp's bytes, which are aligned.
            let bytes = unsafe { _mm512_load_si512(stamp.bytes.0.as_ptr().wrapping_add(at).cast()) };
            // SAFETY: begins before the tail, which is written next and has more than 64 bytes.
            unsafe { _mm512_storeu_si512(dst.wrapping_add(at).cast(), bytes) };
        }
        let tail = dst.wrapping_add(head);
        // SAFETY: the caller's promise.
        let digits = unsafe { digits(numbers) };
        for half in 0..2 {
            let (text, from) = (self.text[half], self.from[half]);
            // SAFETY: the caller's promise.
            let text = unsafe { _mm512_mask_permutexvar_epi8(text, self.changing[half], from, digits) };
            // SAFETY: at most 128 bytes behind the beginning of the text's tail, within the text and
            // the promised spill.
            unsafe { _mm512_storeu_si512(tail.wrapping_add(64 * half).cast(), text) };
        }
        own_ahead::<0>(tail);
        own_ahead::<1>(tail);
        own_ahead::<2>(tail);
        dst.wrapping_add(stamp.len)
    }
}

/// The digits of two numbers: one's in the lowest byte of each lane, the other's in the one above.
///
/// In 52-bit fixed point, lane k holds the fraction `number / 10^(8-k)` as
/// `number * RECIPROCALS[k] / 2^52`, whose whole part falls off; ten times that is the digit.
///
/// # Safety
/// The CPU has the features.
#[inline(always)]
unsafe fn digits(numbers: [u64; 2]) -> __m512i {
    const ZERO: u64 = b'0' as u64;
    const SECOND_WHERE_SET: i32 = 0xca;
    // SAFETY: the caller's promise.
    unsafe {
        let first = _mm512_madd52lo_epu64(ROUNDING.load(), all_lanes(numbers[0]), RECIPROCALS.load());
        let second = _mm512_madd52lo_epu64(ROUNDING.load(), all_lanes(numbers[1]), RECIPROCALS.load());
        let first = _mm512_madd52hi_epu64(all_lanes(ZERO), first, all_lanes(10));
        // Eight bits further up; what is below them is no digit.
        let second = _mm512_madd52hi_epu64(all_lanes(ZERO << 8), second, all_lanes(10 << 8));
        _mm512_ternarylogic_epi64::<SECOND_WHERE_SET>(all_lanes(0xff00), second, first)
    }
}

/// # Safety
/// The CPU has the features.
#[inline(always)]
unsafe fn all_lanes(word: u64) -> __m512i {
    // SAFETY: the caller's promise.
    unsafe { _mm512_set1_epi64(word.cast_signed()) }
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
    #[expect(clippy::print_stderr, reason = "a skip must be seen")]
    fn digits_are_those_of_the_portable_tier() {
        if !is_x86_feature_detected!("avx512ifma") || !is_x86_feature_detected!("avx512f") {
            eprintln!("skipped: this machine has no AVX-512 IFMA");
            return;
        }
        // With a stride that meets every pair of neighbouring digits many times.
        let edges = (0..8).flat_map(|power| (1..10).map(move |digit| digit * 10_u64.pow(power)));
        let edges = edges.flat_map(|number| [number - 1, number]);
        for number in (0..100_000_000).step_by(97).chain(99_999_000..100_000_000).chain(edges) {
            let mut lanes = Bytes64([0; 64]);
            let numbers = [number, 99_999_999 - number];
            // SAFETY: the features were just detected.
            let digits = unsafe { digits(numbers) };
            // SAFETY: as above, and there are 64 bytes.
            unsafe { _mm512_storeu_si512(lanes.0.as_mut_ptr().cast(), digits) };
            for (byte, number) in numbers.into_iter().enumerate() {
                let text: [u8; 8] = std::array::from_fn(|lane| lanes.0[8 * lane + byte]);
                assert_eq!(u64::from_le_bytes(text), eight_digits(number));
            }
        }
    }
}
