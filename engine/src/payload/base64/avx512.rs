//! AVX-512 with VBMI, VBMI2 and IFMA: which routine does what.
#![expect(unsafe_code, reason = "implements `Kernel`, which writes through raw pointers")]

use super::avx512_base64::{base64, short_base64};
use super::avx512_headers::Vectors;
use super::avx512_stamp::Held;
use crate::payload::cursor::put_headers;
use crate::payload::headers::put_header;
use crate::payload::kernel::{Kernel, StampText};
use crate::record::Header;
use std::arch::x86_64::*;
use std::ptr::NonNull;

pub(in crate::payload) struct Avx512;

// SAFETY: every routine writes its text and less than `SPILL_BYTES` behind it, and its loads end where
// the slice does, or are masked there.
unsafe impl Kernel for Avx512 {
    type Held = Held;

    #[inline(always)]
    unsafe fn hold(stamp: &StampText) -> Held {
        // SAFETY: the trait's conditions are handed on.
        unsafe { Held::of(stamp) }
    }

    #[inline(always)]
    unsafe fn base64(src: &[u8], groups: usize, dst: *mut u8) -> *mut u8 {
        // SAFETY: the trait's conditions are handed on.
        unsafe { base64(src, groups, dst) }
    }

    #[target_feature(
        enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,avx512ifma,avx2,bmi1,bmi2,popcnt,lzcnt"
    )]
    #[inline]
    unsafe fn headers<'h>(
        headers: impl Iterator<Item = Header<'h>>,
        at: *mut u8,
        left: usize,
        exact: bool,
    ) -> Option<NonNull<u8>> {
        // SAFETY: the trait's conditions are handed on.
        unsafe { put_headers::<Self>(headers, at, left, exact) }
    }

    #[inline(always)]
    unsafe fn plain_header(name: &[u8], value: &[u8], dst: *mut u8) -> Option<*mut u8> {
        // SAFETY: the trait's conditions are handed on.
        unsafe { put_header::<Vectors>(name, value, dst) }
    }

    #[inline(always)]
    unsafe fn stamp(held: Held, stamp: &StampText, numbers: [u64; 2], dst: *mut u8) -> *mut u8 {
        // SAFETY: the trait's conditions are handed on.
        unsafe { held.put(stamp, numbers, dst) }
    }

    #[inline(always)]
    unsafe fn short_base64(src: &[u8], groups: usize, dst: *mut u8) -> *mut u8 {
        // SAFETY: the trait's conditions are handed on.
        unsafe { short_base64(src, groups, dst) }
    }
}

/// A constant for a 64-byte register.
#[repr(align(64))]
pub(super) struct Bytes64(pub(super) [u8; 64]);

impl Bytes64 {
    #[target_feature(enable = "avx512f")]
    #[inline]
    pub(super) fn load(&self) -> __m512i {
        // SAFETY: the constant has the register's size and alignment.
        unsafe { _mm512_load_si512(self.0.as_ptr().cast()) }
    }
}
