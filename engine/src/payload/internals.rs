//! Kernels by themselves, for benches. No promise of stability.
#![expect(unsafe_code, reason = "calls kernels, with the room and the CPU's features checked here")]

#[cfg(target_arch = "x86_64")]
use super::base64::{avx2::Avx2, avx512::Avx512, sse41::Sse41};
use super::base64::{base64_len, groups_of, portable::Portable, scalar::Scalar};
use super::kernel::{Kernel, SPILL_BYTES};
use super::tier::Tier;

/// Writes the base64 of all `values`, one behind the other, and returns how long it is.
///
/// # Panics
/// If this machine does not run `tier`, or `out` has not [`out_bytes`].
pub fn base64(tier: Tier, values: &[&[u8]], out: &mut [u8]) -> usize {
    assert!(Tier::available().any(|runs| runs == tier), "this machine does not run {tier}");
    assert!(out.len() >= out_bytes(values), "the output has room for the text and the kernels' spill");
    let start = out.as_mut_ptr();
    match tier {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: both conditions were just checked.
        Tier::Avx512 => unsafe { avx512(values, start) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: both conditions were just checked.
        Tier::Avx2 => unsafe { avx2(values, start) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: both conditions were just checked.
        Tier::Sse41 => unsafe { sse41(values, start) },
        // SAFETY: the room was just checked; the scalar tier asks for no features.
        Tier::Scalar => unsafe { all::<Scalar>(values, start) },
        // SAFETY: the room was just checked; the portable tier asks for no features.
        _ => unsafe { all::<Portable>(values, start) },
    }
}

/// How long [`base64`]'s output must be.
#[must_use]
pub fn out_bytes(values: &[&[u8]]) -> usize {
    values.iter().map(|value| base64_len(value.len())).sum::<usize>() + SPILL_BYTES
}

#[cfg(target_arch = "x86_64")]
#[target_feature(
    enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,avx512ifma,avx2,bmi1,bmi2,popcnt,lzcnt"
)]
unsafe fn avx512(values: &[&[u8]], start: *mut u8) -> usize {
    // SAFETY: the caller's promises are handed on.
    unsafe { all::<Avx512>(values, start) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2,popcnt,lzcnt")]
unsafe fn avx2(values: &[&[u8]], start: *mut u8) -> usize {
    // SAFETY: the caller's promises are handed on.
    unsafe { all::<Avx2>(values, start) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "ssse3,sse4.1")]
unsafe fn sse41(values: &[&[u8]], start: *mut u8) -> usize {
    // SAFETY: the caller's promises are handed on.
    unsafe { all::<Sse41>(values, start) }
}

#[inline(always)]
unsafe fn all<K: Kernel>(values: &[&[u8]], start: *mut u8) -> usize {
    let mut at = start;
    for value in values {
        // SAFETY: the caller promises room for all texts, and the CPU's features.
        at = unsafe { K::base64(value, groups_of(value), at) };
    }
    at.addr() - start.addr()
}
