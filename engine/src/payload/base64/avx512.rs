//! AVX-512 with VBMI and VBMI2.
//!
//! 48 bytes become 64 characters by three instructions: `vpermb` spreads each group of three over
//! four bytes, `vpmultishiftqb` cuts the six bits of each out, `vpermb` looks the characters up.
//! From 256 bytes up that runs at the speed of the stores.
#![expect(
    unsafe_code,
    reason = "loads and stores through raw pointers, within the slice and the promised room"
)]
#![expect(clippy::multiple_unsafe_ops_per_block, reason = "an address and the access to it have one bound")]

use super::avx512_digits::put_digits;
use super::{own_ahead, pad};
use crate::payload::cursor::put_headers;
use crate::payload::escape::is_plain;
use crate::payload::headers::put_header;
use crate::payload::kernel::{DigitFrame, Kernel, StampText};
use crate::record::Header;
use std::arch::x86_64::*;
use std::ptr::NonNull;

pub(in crate::payload) struct Avx512;

// SAFETY: every routine writes its text and less than `SPILL_BYTES` behind it, and its loads are
// masked where the slice ends.
unsafe impl Kernel for Avx512 {
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
    unsafe fn header(name: &[u8], value: &[u8], dst: *mut u8) -> *mut u8 {
        // SAFETY: the trait's conditions are handed on.
        unsafe { header(name, value, dst) }
    }

    #[inline(always)]
    unsafe fn stamp(text: &StampText, len: usize, dst: *mut u8) -> *mut u8 {
        // SAFETY: the trait's conditions are handed on.
        unsafe { stamp(text, len, dst) }
    }

    #[inline(always)]
    unsafe fn short_base64(src: &[u8], groups: usize, dst: *mut u8) -> *mut u8 {
        // SAFETY: the trait's conditions are handed on.
        unsafe { short_base64(src, groups, dst) }
    }

    #[inline(always)]
    unsafe fn put_digits(numbers: [u64; 2], frame: &DigitFrame, at: [*mut u8; 2]) {
        // SAFETY: the trait's conditions are handed on.
        unsafe { put_digits(numbers, frame, at) }
    }
}

const BLOCK: usize = 48;

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

const ALPHABET: Bytes64 = Bytes64(*b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");

/// `[b1 b0 b2 b1]` for each group of three.
const SPREAD: Bytes64 = Bytes64({
    let mut table = [0; 64];
    let mut at = 0;
    while at < 64 {
        table[at] = (at / 4 * 3) as u8 + [1, 0, 2, 1][at % 4];
        at += 1;
    }
    table
});

/// `SPREAD` for the last sixteen groups of a slice whose last 64 bytes are at hand, if that many
/// bytes of the last group are missing.
const SPREAD_LAST: [Bytes64; 3] = {
    let mut tables = [Bytes64([0; 64]), Bytes64([0; 64]), Bytes64([0; 64])];
    let mut at = 0;
    while at < 64 {
        let mut missing = 0;
        while missing < 3 {
            // What would lie behind the slice is masked.
            tables[missing].0[at] = (SPREAD.0[at] + 16 + missing as u8) % 64;
            missing += 1;
        }
        at += 1;
    }
    tables
};

/// Which bytes of `SPREAD_LAST` there are: `[b1 b0 b2 b1]` of the last group without its missing.
const THERE: [u64; 3] = [u64::MAX, u64::MAX >> 4 | 0b1011 << 60, u64::MAX >> 4 | 0b0010 << 60];

/// The characters of sixteen groups that `SPREAD` or the like has spread.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
#[inline]
fn characters(spread: __m512i) -> __m512i {
    let shifts = _mm512_set1_epi64(0x3036_242a_1016_040a);
    let sixes = _mm512_multishift_epi64_epi8(shifts, spread);
    _mm512_permutexvar_epi8(sixes, ALPHABET.load())
}

/// A slice of at least 64 bytes and where its text goes. Blocks are taken from both ends until they
/// meet or overlap: what is written twice is the same, and no block needs to know how long the
/// slice is but the last, whose loads end where the slice does.
#[derive(Clone, Copy)]
struct Long {
    from: *const u8,
    bytes: usize,
    groups: usize,
    to: *mut u8,
}

impl Long {
    /// The block at byte `at` of the slice, a multiple of three.
    ///
    /// # Safety
    /// 64 bytes of the slice are at `at`.
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    #[inline]
    unsafe fn block(self, at: usize) {
        debug_assert!(at.is_multiple_of(3) && at + 64 <= self.bytes);
        // SAFETY: the caller's promise.
        let bytes = unsafe { _mm512_loadu_si512(self.from.add(at).cast()) };
        let text = characters(_mm512_permutexvar_epi8(SPREAD.load(), bytes));
        own_ahead(self.to.wrapping_add(at / 3 * 4));
        // SAFETY: the block's text lies within the slice's.
        unsafe { _mm512_storeu_si512(self.to.add(at / 3 * 4).cast(), text) };
    }

    /// The `number`th block of sixteen groups, counted from the end, or as much of it as there is.
    ///
    /// # Safety
    /// `number` is at least 2; 64 bytes are in the slice.
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    #[inline]
    unsafe fn block_before_end(self, number: usize) {
        let first = self.groups.saturating_sub(16 * number);
        // SAFETY: the block begins with the slice, or at least 32 groups before its end: 96 bytes, of
        // which at most two are missing.
        let bytes = unsafe { _mm512_loadu_si512(self.from.add(3 * first).cast()) };
        let text = characters(_mm512_permutexvar_epi8(SPREAD.load(), bytes));
        own_ahead(self.to.wrapping_add(4 * first));
        // SAFETY: the block's text lies within the slice's.
        unsafe { _mm512_storeu_si512(self.to.add(4 * first).cast(), text) };
    }

    /// The last block.
    ///
    /// # Safety
    /// As for the slice.
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    #[inline]
    unsafe fn last(self) {
        let missing = 3 * self.groups - self.bytes;
        // SAFETY: the last 64 bytes of the slice.
        let bytes = unsafe { _mm512_loadu_si512(self.from.add(self.bytes - 64).cast()) };
        // SAFETY: at most two bytes are missing from a slice's last group.
        let (spread, there) = unsafe { (SPREAD_LAST.get_unchecked(missing), THERE.get_unchecked(missing)) };
        let spread = _mm512_maskz_permutexvar_epi8(*there, spread.load(), bytes);
        own_ahead(self.to.wrapping_add(4 * self.groups - 64));
        // SAFETY: the last 64 characters of the text, which has at least 88.
        unsafe { _mm512_storeu_si512(self.to.add(4 * self.groups - 64).cast(), characters(spread)) };
    }
}

/// # Safety
/// As for [`Kernel::base64`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,bmi2")]
#[inline]
unsafe fn base64(src: &[u8], groups: usize, dst: *mut u8) -> *mut u8 {
    // Few classes of lengths, each with a fixed number of blocks: some stores too many cost less
    // than a branch that the length of a value makes unpredictable.
    // SAFETY: so many blocks hold the slice, and end within the promised spill.
    unsafe {
        if src.len() < 64 {
            blocks::<2>(src.as_ptr(), src.len(), dst);
        } else {
            let long = Long { from: src.as_ptr(), bytes: src.len(), groups, to: dst };
            if src.len() <= 2 * BLOCK {
                long.block(0);
            } else if src.len() <= 4 * BLOCK {
                long.block(0);
                long.block_before_end(3);
                long.block_before_end(2);
            } else if src.len() <= 6 * BLOCK {
                long.block(0);
                long.block(BLOCK);
                long.block_before_end(4);
                long.block_before_end(3);
                long.block_before_end(2);
            } else if src.len() <= 8 * BLOCK {
                long.block(0);
                long.block(BLOCK);
                long.block(2 * BLOCK);
                long.block_before_end(5);
                long.block_before_end(4);
                long.block_before_end(3);
                long.block_before_end(2);
            } else {
                longest(long);
            }
            long.last();
        }
        pad(dst, groups, src.len())
    }
}

/// All but the last block of a slice of more than eight.
///
/// # Safety
/// As for [`Kernel::base64`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,bmi2")]
#[inline]
unsafe fn longest(long: Long) {
    let mut at = 0;
    // SAFETY: the fourth block's load ends 208 bytes behind `at`; at most 207 bytes are left in the
    // end, which is less than five blocks.
    unsafe {
        while at + 3 * BLOCK + 64 <= long.bytes {
            long.block(at);
            long.block(at + BLOCK);
            long.block(at + 2 * BLOCK);
            long.block(at + 3 * BLOCK);
            at += 4 * BLOCK;
        }
        long.block_before_end(5);
        long.block_before_end(4);
        long.block_before_end(3);
        long.block_before_end(2);
    }
}

/// [`base64`], where one block is enough as a rule.
///
/// # Safety
/// As for [`Kernel::base64`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,bmi2")]
#[inline]
unsafe fn short_base64(src: &[u8], groups: usize, dst: *mut u8) -> *mut u8 {
    if src.len() > BLOCK {
        // SAFETY: the conditions are the same.
        return unsafe { base64_apart(src, groups, dst) };
    }
    // SAFETY: one block holds the slice, and ends within the promised spill.
    unsafe {
        blocks::<1>(src.as_ptr(), src.len(), dst);
        pad(dst, groups, src.len())
    }
}

/// [`base64`], out of line, as [`headers_apart`](crate::payload::cursor) is.
///
/// # Safety
/// As for [`Kernel::base64`].
#[cold]
#[inline(never)]
unsafe fn base64_apart(src: &[u8], groups: usize, dst: *mut u8) -> *mut u8 {
    // SAFETY: the conditions are the same.
    unsafe { base64(src, groups, dst) }
}

/// The characters of up to `N` blocks, and zeros' behind them.
///
/// # Safety
/// `left` bytes, at most 255, are readable at `from`; `N * 64` are writable at `to`.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,bmi2")]
#[inline]
unsafe fn blocks<const N: usize>(from: *const u8, left: usize, to: *mut u8) {
    debug_assert!(left < 256);
    for block in 0..N {
        // `bzhi` takes any number from 64 to 255 for all.
        let mask = _bzhi_u64(u64::MAX, left.saturating_sub(block * BLOCK) as u32);
        // SAFETY: the mask allows only bytes of the slice; other lanes are not touched.
        let bytes = unsafe { _mm512_maskz_loadu_epi8(mask, from.wrapping_add(block * BLOCK).cast()) };
        let text = characters(_mm512_permutexvar_epi8(SPREAD.load(), bytes));
        // SAFETY: the caller promises the room.
        unsafe { _mm512_storeu_si512(to.add(block * 64).cast(), text) };
    }
}

/// # Safety
/// As for [`Kernel::stamp`].
#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn stamp(text: &StampText, len: usize, dst: *mut u8) -> *mut u8 {
    let copy = |at: usize| {
        // SAFETY: a stamp's text has 64 readable bytes from every position up to its length on.
        let bytes = unsafe { _mm512_load_si512(text.0.as_ptr().add(at).cast()) };
        // SAFETY: at most 127 bytes behind the text, within the promised spill.
        unsafe { _mm512_storeu_si512(dst.add(at).cast(), bytes) };
    };
    copy(0);
    copy(64);
    own_ahead(dst);
    own_ahead(dst.wrapping_add(64));
    let mut at = 128;
    while at < len {
        copy(at);
        at += 64;
    }
    // SAFETY: the end of the text.
    unsafe { dst.add(len) }
}

/// # Safety
/// As for [`Kernel::header`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,bmi2,popcnt")]
#[inline]
unsafe fn header(name: &[u8], value: &[u8], dst: *mut u8) -> *mut u8 {
    // SAFETY: the conditions are the same, and the parts do what they promise.
    unsafe { put_header(name, value, dst, |name, dst| plain(name, dst), |value, dst| numbers(value, dst)) }
}

/// The text, if it needs no escaping, and is of ordinary length. Spills up to 32 bytes.
///
/// # Safety
/// The text and the spill are valid for writes at `dst`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,bmi2")]
#[inline]
unsafe fn plain(src: &[u8], dst: *mut u8) -> Option<*mut u8> {
    if src.len() > 32 {
        return None;
    }
    let mask = _bzhi_u32(u32::MAX, src.len() as u32);
    // SAFETY: the mask allows only bytes of the slice.
    let text = unsafe { _mm256_mask_loadu_epi8(_mm256_set1_epi8(b'.' as i8), mask, src.as_ptr().cast()) };
    // SAFETY: the caller promises the room.
    unsafe { _mm256_storeu_si256(dst.cast(), text) };
    // One comparison, not three, because those are made on the port that is busiest here: a byte
    // that needs escaping makes one of the terms zero. As signed numbers, bytes that are not ASCII
    // are below the space too.
    let quote = _mm256_xor_si256(text, _mm256_set1_epi8(b'"' as i8));
    let backslash = _mm256_xor_si256(text, _mm256_set1_epi8(b'\\' as i8));
    let unsigned = _mm256_xor_si256(text, _mm256_set1_epi8(i8::MIN));
    let control = _mm256_subs_epu8(unsigned, _mm256_set1_epi8((b' ' + 127) as i8));
    let least = _mm256_min_epu8(_mm256_min_epu8(quote, backslash), control);
    let special = _mm256_testn_epi8_mask(least, least);
    debug_assert_eq!(special == 0, src.iter().all(|byte| is_plain(*byte)));
    // SAFETY: the end of the text.
    (special == 0).then(|| unsafe { dst.add(src.len()) })
}

/// Bytes whose numbers are made at once: five bytes of text for each fit a register.
const NUMBERS: usize = 12;

/// What the five bytes of a number's text are.
const MINUS: usize = 0;
const HUNDREDS: usize = 1;
const TENS: usize = 2;
const ONES: usize = 3;
const COMMA: usize = 4;

/// A constant of five bytes for each number, and `rest` behind them.
const fn per_number(minus: u8, hundreds: u8, tens: u8, ones: u8, comma: u8, rest: u8) -> Bytes64 {
    let mut table = [rest; 64];
    let mut at = 0;
    while at < 5 * NUMBERS {
        table[at] = [minus, hundreds, tens, ones, comma][at % 5];
        at += 1;
    }
    Bytes64(table)
}

/// Which byte each place is about.
const SOURCE: Bytes64 = Bytes64({
    let mut table = [0; 64];
    let mut at = 0;
    while at < 5 * NUMBERS {
        table[at] = (at / 5) as u8;
        at += 1;
    }
    table
});

/// A place is kept if the byte (for the minus) or its magnitude (for the others) is at least this.
/// No magnitude is 255: what lies behind the numbers is never kept.
const KEPT_FROM: Bytes64 = per_number(128, 100, 10, 0, 0, 255);

/// The place of the minus, where the byte counts and not its magnitude.
const SIGNS: Bytes64 = per_number(0xff, 0, 0, 0, 0, 0);

/// The tens and the ones of a number below 100, as nibbles.
const TENS_ONES: [Bytes64; 2] = {
    let mut tables = [Bytes64([0; 64]), Bytes64([0; 64])];
    let mut number = 0;
    while number < 100 {
        tables[number / 64].0[number % 64] = (((number / 10) << 4) | (number % 10)) as u8;
        number += 1;
    }
    tables
};

/// Shifts that bring the tens down where they are wanted.
const NIBBLES: Bytes64 = Bytes64({
    let mut table = [0; 64];
    let mut at = 0;
    while at < 64 {
        table[at] = (at % 8 * 8) as u8 + if at % 5 == TENS { 4 } else { 0 };
        at += 1;
    }
    table
});

/// Where a digit depends on the number, and its bits.
const DIGITS: Bytes64 = per_number(0, 0, 15, 15, 0, 0);

/// The text but for these. No signed byte has other hundreds than one.
const FRAME: Bytes64 = per_number(b'-', b'1', b'0', b'0', b',', 0);

const _: () = assert!(MINUS == 0 && HUNDREDS == 1 && ONES == 3 && COMMA == 4);

/// Five bytes of text for each of twelve signed bytes, and which of them to keep.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
#[inline]
fn spelled(bytes: __m128i) -> (__m512i, u64) {
    let spread = _mm512_permutexvar_epi8(SOURCE.load(), _mm512_castsi128_si512(bytes));
    let magnitudes = _mm512_abs_epi8(spread);
    // By a vector, not by a mask register: those are filled on the port that is busiest here.
    let signs = SIGNS.load();
    let magnitudes = _mm512_or_si512(_mm512_and_si512(signs, spread), _mm512_andnot_si512(signs, magnitudes));
    let kept = _mm512_cmpge_epu8_mask(magnitudes, KEPT_FROM.load());
    // Below a hundred the subtraction wraps around, and is no minimum.
    let below_hundred = _mm512_min_epu8(magnitudes, _mm512_sub_epi8(magnitudes, _mm512_set1_epi8(100)));
    let nibbles = _mm512_permutex2var_epi8(TENS_ONES[0].load(), below_hundred, TENS_ONES[1].load());
    let digits = _mm512_multishift_epi64_epi8(NIBBLES.load(), nibbles);
    let text = _mm512_or_si512(_mm512_and_si512(digits, DIGITS.load()), FRAME.load());
    (text, kept)
}

/// Every byte as a signed number and a comma. Spills up to 64 bytes.
///
/// # Safety
/// The text and the spill are valid for writes at `dst`; `src` is not empty.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,bmi2,popcnt")]
#[inline]
unsafe fn numbers(src: &[u8], dst: *mut u8) -> *mut u8 {
    let put = |text: __m512i, kept: u64, to: *mut u8| {
        own_ahead(to);
        // To a register and then to memory: straight to memory it is microcoded on Zen 4.
        let packed = _mm512_maskz_compress_epi8(kept, text);
        // SAFETY: the text of these bytes, and at most 64 bytes of spill.
        unsafe { _mm512_storeu_si512(to.cast(), packed) };
        // SAFETY: so many bytes of text were stored.
        unsafe { to.add(_popcnt64(kept.cast_signed()) as usize) }
    };
    let (mut from, mut left, mut to) = (src.as_ptr(), src.len(), dst);
    while left >= 16 {
        // SAFETY: 16 bytes of the slice, of which twelve are spelled.
        let bytes = unsafe { _mm_loadu_si128(from.cast()) };
        let (text, kept) = spelled(bytes);
        to = put(text, kept, to);
        // SAFETY: the slice goes on.
        from = unsafe { from.add(NUMBERS) };
        left -= NUMBERS;
    }
    let mask = _bzhi_u32(u32::MAX, left as u32) as u16;
    // SAFETY: the mask allows only bytes of the slice.
    let bytes = unsafe { _mm_maskz_loadu_epi8(mask, from.cast()) };
    let (text, kept) = spelled(bytes);
    to = put(text, _bzhi_u64(kept, 5 * left as u32), to);
    if left > NUMBERS {
        let (text, kept) = spelled(_mm_bsrli_si128::<{ NUMBERS as i32 }>(bytes));
        to = put(text, _bzhi_u64(kept, 5 * (left - NUMBERS) as u32), to);
    }
    to
}
