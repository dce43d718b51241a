//! Any CPU: `base64-simd`, and what all tiers can fall back on: a table of numbers, words of eight
//! bytes.
#![expect(unsafe_code, reason = "implements `Kernel`, which writes through raw pointers")]
#![expect(clippy::multiple_unsafe_ops_per_block, reason = "the same bound covers the stores of a text")]

use super::base64_len;
use crate::payload::headers::{HeaderParts, NUMBERS};
use crate::payload::kernel::{Kernel, StampText};

pub(in crate::payload) struct Portable;

// SAFETY: every routine writes its text, and at most eight bytes behind it.
unsafe impl Kernel for Portable {
    type Held = ();

    unsafe fn hold(_: &StampText) {}

    #[inline(always)]
    unsafe fn base64(src: &[u8], groups: usize, dst: *mut u8) -> *mut u8 {
        let len = 4 * groups;
        debug_assert_eq!(len, base64_len(src.len()));
        // SAFETY: the caller promises that the text fits at `dst`, which is initialised memory that
        // nobody else refers to.
        let out = unsafe { std::slice::from_raw_parts_mut(dst, len) };
        let _ = base64_simd::STANDARD.encode(src, base64_simd::Out::from_slice(out));
        // SAFETY: within or one past the text.
        unsafe { dst.add(len) }
    }
}

/// Headers by table and by words of eight bytes.
pub(in crate::payload) struct ByTable;

// SAFETY: the routines spill up to eight bytes.
unsafe impl HeaderParts for ByTable {
    #[inline(always)]
    unsafe fn name(name: &[u8], to: *mut u8) -> Option<*mut u8> {
        // SAFETY: the conditions are the same.
        unsafe { plain(name, to) }
    }

    /// By table.
    #[inline(always)]
    unsafe fn numbers(value: &[u8], to: *mut u8) -> *mut u8 {
        let mut end = to;
        for byte in value {
            let entry = NUMBERS[usize::from(*byte)];
            // SAFETY: the text of the bytes so far fits, and the entry's eight bytes are this byte's
            // text and spill.
            unsafe {
                end.cast::<u64>().write_unaligned(entry.to_le());
                end = end.add((entry >> 56) as usize);
            }
        }
        end
    }
}

/// The text, if it needs no escaping, by words. Spills up to eight bytes.
///
/// # Safety
/// The text and the spill are valid for writes at `dst`.
#[inline(always)]
pub(in crate::payload) unsafe fn plain(src: &[u8], dst: *mut u8) -> Option<*mut u8> {
    let mut special = 0;
    let mut at = 0;
    while at < src.len() {
        let word = match src.get(at..at + 8) {
            Some(word) => u64::from_le_bytes(std::array::from_fn(|byte| word[byte])),
            None => last_word(&src[at..]),
        };
        special |= special_bytes(word);
        // SAFETY: `at` is within the text, and the word's eight bytes are text and spill.
        unsafe { dst.add(at).cast::<u64>().write_unaligned(word.to_le()) };
        at += 8;
    }
    // SAFETY: within or one past the text.
    (special == 0).then(|| unsafe { dst.add(src.len()) })
}

/// Up to seven bytes, and plain ones behind them.
fn last_word(src: &[u8]) -> u64 {
    let mut word = *b"........";
    for (to, from) in word.iter_mut().zip(src) {
        *to = *from;
    }
    u64::from_le_bytes(word)
}

/// Not zero if one of the eight bytes needs escaping, or is not ASCII.
fn special_bytes(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    // A byte's borrow can reach the next byte only if its own answer is yes already.
    let quote = word ^ (ONES * u64::from(b'"'));
    let backslash = word ^ (ONES * u64::from(b'\\'));
    let below = |word: u64, limit: u64| word.wrapping_sub(ONES * limit) & !word;
    (word | below(word, 0x20) | below(quote, 1) | below(backslash, 1)) & (ONES * 0x80)
}
