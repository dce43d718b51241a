//! Base64 (RFC 4648, standard alphabet, padded) and the other routines of a tier: one tier a file.
//!
//! `base64-simd` is the portable tier and the yardstick. It has no AVX-512, and its AVX2 kernel
//! runs at half speed where the compiler rewrites a constant multiplication (see `avx2`).

#[cfg(target_arch = "x86_64")]
pub(super) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(super) mod avx512;
pub(super) mod portable;

/// How many characters `bytes` bytes become.
#[inline(always)]
pub(crate) const fn base64_len(bytes: usize) -> usize {
    bytes.div_ceil(3) * 4
}

/// Overwrites the last characters of a text that ends at `end`, and stands for `bytes` bytes, with
/// its padding. Returns `end`.
///
/// # Safety
/// - Where `bytes` is no multiple of three, two bytes before `end` are valid for writes;
/// - one byte at `end` is, and does not matter.
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "part of the kernels")]
#[inline(always)]
unsafe fn pad(end: *mut u8, bytes: usize) -> *mut u8 {
    // Without a branch, which varying lengths would make unpredictable: a position that needs no
    // padding moves to `end`.
    let (last, last_but_one) = match bytes % 3 {
        0 => (0, 0),
        1 => (1, 2),
        _ => (1, 0),
    };
    // SAFETY: within the text, or at its end.
    unsafe { end.sub(last).write(b'=') };
    // SAFETY: within the text, or at its end.
    unsafe { end.sub(last_but_one).write(b'=') };
    end
}
