//! No vector instructions of our own: base64 by a table of pairs of characters, everything else by
//! the defaults of [`Kernel`]. Nobody's best tier; it is there to be forced, and to be read.
#![expect(unsafe_code, reason = "implements `Kernel`, which writes through raw pointers")]

use super::base64_len;
use crate::payload::kernel::{Kernel, StampText};

pub(in crate::payload) struct Scalar;

// SAFETY: base64 is written through a slice of the text's length; the defaults keep the promise.
unsafe impl Kernel for Scalar {
    type Held = ();

    unsafe fn hold(_: &StampText) {}

    #[inline(always)]
    unsafe fn base64(src: &[u8], groups: usize, dst: *mut u8) -> *mut u8 {
        let len = 4 * groups;
        debug_assert_eq!(len, base64_len(src.len()));
        // SAFETY: the caller promises that the text fits at `dst`, which is initialised memory that
        // nobody else refers to.
        encode(src, unsafe { std::slice::from_raw_parts_mut(dst, len) });
        // SAFETY: within or one past the text.
        unsafe { dst.add(len) }
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The two characters of each twelve bits: 8 KiB that stay in the first cache, for half the loads.
static PAIRS: [[u8; 2]; 1 << 12] = {
    let mut table = [[0; 2]; 1 << 12];
    let mut bits = 0;
    while bits < table.len() {
        table[bits] = [ALPHABET[bits >> 6], ALPHABET[bits & 63]];
        bits += 1;
    }
    table
};

/// Writes the padded base64 of `src` to `out`, which is as long as that.
fn encode(src: &[u8], out: &mut [u8]) {
    let (groups, tail) = src.as_chunks::<3>();
    let (texts, _) = out.as_chunks_mut::<4>();
    let (whole, last) = texts.split_at_mut(groups.len());
    for (group, text) in groups.iter().zip(whole) {
        *text = characters(*group);
    }
    if let Some(text) = last.first_mut() {
        let mut group = [0; 3];
        group[..tail.len()].copy_from_slice(tail);
        *text = characters(group);
        text[tail.len() + 1..].fill(b'=');
    }
}

#[inline(always)]
fn characters([first, second, third]: [u8; 3]) -> [u8; 4] {
    let bits = usize::from(first) << 16 | usize::from(second) << 8 | usize::from(third);
    let ([a, b], [c, d]) = (PAIRS[bits >> 12], PAIRS[bits & 0xfff]);
    [a, b, c, d]
}
