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
mod avx512_base64;
#[cfg(target_arch = "x86_64")]
mod avx512_headers;
#[cfg(target_arch = "x86_64")]
mod avx512_stamp;
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

/// Writes the padding that [`Kernel::base64`](super::kernel::Kernel::base64) leaves to its caller, of
/// the text of `bytes` that ends at `end`. The writer does not use it: it writes the padding with what
/// follows.
///
/// # Safety
/// The text, and two bytes behind it, are valid for writes.
#[cfg(any(test, feature = "internals"))]
#[expect(unsafe_code, reason = "part of the kernels")]
pub(super) unsafe fn pad(bytes: &[u8], end: *mut u8) {
    let missing = 3 * groups_of(bytes) - bytes.len();
    // SAFETY: within the last group, if there is one, or the two bytes behind the text.
    unsafe { end.wrapping_sub(missing).cast::<[u8; 2]>().write_unaligned(*b"==") };
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
pub(super) fn own_ahead<const LINE: usize>(dst: *mut u8) {
    // SAFETY: a hint, which no address makes fault and which changes no memory. Every CPU with AVX2
    // has the instruction, if only as one that does nothing.
    unsafe {
        std::arch::asm!("prefetchw [{0} + {1}]", in(reg) dst.addr(), const AHEAD_BYTES + 64 * LINE,
            options(nomem, nostack, preserves_flags));
    }
}

/// [`own_ahead`] for the text of a group: four times `group` behind `dst`.
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "as own_ahead")]
#[inline(always)]
fn own_ahead_of(dst: *mut u8, group: usize) {
    // SAFETY: as for `own_ahead`.
    unsafe {
        std::arch::asm!("prefetchw [{0} + 4 * {1} + {2}]", in(reg) dst.addr(), in(reg) group,
            const AHEAD_BYTES, options(nomem, nostack, preserves_flags));
    }
}

/// How far ahead of the bytes that are read their cache lines are asked for: not much more than a
/// processor that looks ahead by itself has asked for already, but it does so only up to the end of a
/// page.
#[cfg(target_arch = "x86_64")]
const READ_AHEAD_BYTES: usize = 2048;

/// Asks for the `LINE`th cache line [`READ_AHEAD_BYTES`] behind `src`, to read it: records stand one
/// behind the other where they were fetched to, and so do their values.
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "an intrinsic")]
#[inline(always)]
pub(super) fn read_ahead<const LINE: usize>(src: *const u8) {
    // SAFETY: a hint, which no address makes fault; every x86-64 has the instruction.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(src.wrapping_add(READ_AHEAD_BYTES + 64 * LINE).cast()) };
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
