//! Base64 (RFC 4648, standard alphabet, padded) and the other routines of a tier: one tier a file.
//!
//! `base64-simd` is the portable tier and the yardstick. It has no AVX-512, and its SSSE3 and AVX2
//! kernels run at half speed where the compiler rewrites a constant multiplication (see `avx2`).

#[cfg(target_arch = "x86_64")]
pub(super) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(super) mod avx512;
#[cfg(target_arch = "x86_64")]
mod avx2_digits;
#[cfg(target_arch = "x86_64")]
mod avx512_digits;
#[cfg(target_arch = "x86_64")]
mod avx512_headers;
pub(super) mod portable;
pub(super) mod scalar;
#[cfg(target_arch = "x86_64")]
pub(super) mod sse41;

#[cfg(target_arch = "x86_64")]
use super::kernel::DigitFrame;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// How many characters `bytes` bytes become.
#[inline(always)]
#[expect(clippy::manual_div_ceil, reason = "that costs more, to be right for lengths that no slice has")]
pub(crate) const fn base64_len(bytes: usize) -> usize {
    (bytes + 2) / 3 * 4
}

/// How many groups of four characters `bytes` become.
#[inline(always)]
#[expect(unsafe_code, reason = "arithmetic that cannot overflow, which the compiler does not know")]
pub(super) const fn groups_of(bytes: &[u8]) -> usize {
    // SAFETY: a slice has at most `isize::MAX` bytes.
    unsafe { bytes.len().unchecked_add(2) / 3 }
}

/// Puts the padding at the end of a text of so many `groups` for `bytes` bytes, which begins at
/// `start`, and returns the text's end.
///
/// # Safety
/// The text, and two bytes behind it, are valid for writes.
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "part of the kernels")]
#[inline(always)]
unsafe fn pad(start: *mut u8, groups: usize, bytes: usize) -> *mut u8 {
    debug_assert_eq!(4 * groups, base64_len(bytes));
    let missing = 3 * groups - bytes;
    // SAFETY: the end of the text.
    let end = unsafe { start.add(4 * groups) };
    // SAFETY: within the last group, if there is one, or the text's end.
    let padding = unsafe { end.sub(missing) };
    // Without a branch, which varying lengths would make unpredictable: what is not padding falls
    // behind the text.
    // SAFETY: within the text and the two bytes behind it.
    unsafe { padding.cast::<[u8; 2]>().write_unaligned(*b"==") };
    end
}

/// How far ahead of the text its cache lines are asked for. From 512 to 4096 it makes no difference
/// that could be told from noise.
#[cfg(target_arch = "x86_64")]
const AHEAD_BYTES: usize = 768;

/// Asks for the cache line [`AHEAD_BYTES`] behind `dst`, to write to it.
///
/// The stores of a kernel cross lines, and a processor does not look ahead for those as it does for
/// loads: where the payload does not fit its first cache (it never does for long) the writer waits
/// for each line in turn. Asking for them took 12 to 25 % off a record's time on an Intel Xeon
/// (Emerald Rapids), at any value size.
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "an instruction that the standard library offers to no stable target")]
#[inline(always)]
fn own_ahead(dst: *mut u8) {
    // SAFETY: a hint, which no address makes fault and which changes no memory. Every CPU with AVX2
    // has the instruction, if only as one that does nothing.
    unsafe {
        std::arch::asm!("prefetchw [{0} + {1}]", in(reg) dst.addr(), const AHEAD_BYTES,
            options(nomem, nostack, preserves_flags));
    }
}

/// Stores sixteen digits where `frame` wants digits, eight at each place of `at`.
///
/// # Safety
/// Eight bytes at each place of `at` are valid for writes.
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "part of the kernels")]
#[target_feature(enable = "sse2")]
#[inline]
unsafe fn put_framed(digits: __m128i, frame: &DigitFrame, at: [*mut u8; 2]) {
    // SAFETY: sixteen bytes, aligned as the frame is.
    let mask = unsafe { _mm_load_si128(frame.mask.as_ptr().cast()) };
    // SAFETY: as above.
    let lead = unsafe { _mm_load_si128(frame.lead.as_ptr().cast()) };
    let framed = _mm_or_si128(_mm_and_si128(digits, mask), lead);
    // SAFETY: the caller's promise.
    unsafe { _mm_storel_epi64(at[0].cast(), framed) };
    // Not `_mm_storeh_pd`, which the compiler takes for a store to an aligned place.
    let second = _mm_unpackhi_epi64(framed, framed);
    // SAFETY: the caller's promise.
    unsafe { _mm_storel_epi64(at[1].cast(), second) };
}
