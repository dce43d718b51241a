//! Decimal digits with AVX2: for the offsets and timestamps of the AVX2 tier.
#![expect(unsafe_code, reason = "one instruction, and stores through raw pointers")]

use crate::payload::kernel::DigitFrame;
use std::arch::asm;
use std::arch::x86_64::*;

/// A factor for each of eight lanes.
#[repr(align(16))]
#[expect(dead_code, reason = "read by an instruction")]
struct Factors([u16; 8]);

/// 5243 / 2^19 is a hundredth.
static HUNDREDTH: Factors = Factors([5243; 8]);
/// 6554 / 2^16 is a tenth.
static TENTH: Factors = Factors([6554; 8]);

/// The high halves of the products of 16-bit lanes with one of the factors above; by force for the
/// reason given in `avx2`. With the factors in memory: the loop over records would have more constants
/// than there are registers, and move them about for each record.
macro_rules! multiply_high {
    ($lanes:expr, $factors:ident) => {{
        let high;
        // SAFETY: one instruction, which AVX2 has, on a register and a static of its size.
        unsafe {
            asm!("vpmulhuw {0}, {1}, xmmword ptr [rip + {2}]", out(xmm_reg) high, in(xmm_reg) $lanes,
                sym $factors, options(pure, readonly, nostack, preserves_flags));
        }
        high
    }};
}

/// [`Kernel::digits`](crate::payload::kernel::Kernel::digits): [`eight_digits`](crate::payload::decimal::eight_digits) of two numbers
/// side by side.
///
/// # Safety
/// As there.
#[target_feature(enable = "avx2")]
#[inline]
pub(super) unsafe fn put_digits(numbers: [u64; 2], frame: &DigitFrame, at: [*mut u8; 2]) {
    let numbers = _mm_set_epi64x(numbers[1].cast_signed(), numbers[0].cast_signed());
    // Halves: 3518437209 / 2^45 is a ten-thousandth, rounded up, and right for 32 bits.
    let tops = _mm_srli_epi64::<45>(_mm_mul_epu32(numbers, _mm_set1_epi64x(3_518_437_209)));
    let rests = _mm_sub_epi64(numbers, _mm_mul_epu32(tops, _mm_set1_epi64x(10_000)));
    let fours = _mm_or_si128(tops, _mm_slli_epi64::<32>(rests));
    // Quarters.
    let tops = _mm_srli_epi16::<3>(multiply_high!(fours, HUNDREDTH));
    let rests = _mm_sub_epi16(fours, _mm_mullo_epi16(tops, _mm_set1_epi16(100)));
    let twos = _mm_or_si128(tops, _mm_slli_epi32::<16>(rests));
    // Digits.
    let tops = multiply_high!(twos, TENTH);
    let rests = _mm_sub_epi16(twos, _mm_mullo_epi16(tops, _mm_set1_epi16(10)));
    let ones = _mm_or_si128(tops, _mm_slli_epi16::<8>(rests));
    let digits = _mm_add_epi8(ones, _mm_set1_epi8(b'0'.cast_signed()));
    // SAFETY: the trait's conditions are handed on.
    unsafe { super::put_framed(digits, frame, at) };
}
