//! Base64 (RFC 4648, standard alphabet, padded) and the other routines of a tier: one tier a file.
//!
//! `base64-simd` is the portable tier and the yardstick. It has no AVX-512, and its SSSE3 and AVX2
//! kernels run at half speed where the compiler rewrites a constant multiplication (see `avx2`).

#[cfg(target_arch = "x86_64")]
pub(super) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(super) mod avx512;
#[cfg(target_arch = "x86_64")]
mod avx512_digits;
pub(super) mod portable;
pub(super) mod scalar;
#[cfg(target_arch = "x86_64")]
pub(super) mod sse41;

/// How many characters `bytes` bytes become.
#[inline(always)]
#[expect(clippy::manual_div_ceil, reason = "that costs more, to be right for lengths that no slice has")]
pub(crate) const fn base64_len(bytes: usize) -> usize {
    (bytes + 2) / 3 * 4
}

/// Puts the padding at the end of a text of `len` characters for `bytes` bytes, which begins at
/// `start`, and returns the text's end.
///
/// # Safety
/// The text, and two bytes behind it, are valid for writes.
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "part of the kernels")]
#[inline(always)]
unsafe fn pad(start: *mut u8, len: usize, bytes: usize) -> *mut u8 {
    debug_assert_eq!(len, base64_len(bytes));
    let missing = len / 4 * 3 - bytes;
    // SAFETY: the end of the text.
    let end = unsafe { start.add(len) };
    // SAFETY: within the last group, if there is one, or the text's end.
    let padding = unsafe { end.sub(missing) };
    // Without a branch, which varying lengths would make unpredictable: what is not padding falls
    // behind the text.
    // SAFETY: within the text and the two bytes behind it.
    unsafe { padding.cast::<[u8; 2]>().write_unaligned(*b"==") };
    end
}
