//! Base64 with AVX-512 VBMI.
//!
//! 48 bytes become 64 characters by three instructions: `vpermb` spreads each group of three over
//! four bytes, `vpmultishiftqb` cuts the six bits of each out, `vpermb` looks the characters up.
//! That runs at the speed of the stores, so the stores are what this is about: a long text is put in
//! stores of whole cache lines, a short one in a number of stores that hardly depends on its length.
//!
//! The functions are inlined by force, because the loop over records keeps its constants in registers
//! only if it calls nothing, and the compiler finds them too large to be inlined twice. `inline(always)`
//! does not go with `target_feature`: they get their features from the function that they are inlined
//! into, and whoever calls them elsewhere gets slow code that does the same.
#![expect(
    unsafe_code,
    reason = "loads and stores through raw pointers, within the slice and the promised room"
)]
#![expect(clippy::multiple_unsafe_ops_per_block, reason = "an address and the access to it have one bound")]

use super::avx512::Bytes64;
use super::{own_ahead, own_ahead_of, read_ahead};
use std::arch::x86_64::*;

/// Bytes that become one register of characters.
const BLOCK: usize = 48;

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

/// Eight characters from seven bytes, the first in the highest place, for each of eight lanes.
const WINDOWS: Bytes64 = Bytes64({
    let mut table = [0; 64];
    let mut at = 0;
    while at < 64 {
        // The eighth byte counts for nothing.
        let byte = 7 - at % 8;
        table[at] = (at / 8 * 6 + if byte < 7 { byte } else { 6 }) as u8;
        at += 1;
    }
    table
});

/// The shifts that bring each window's characters down, if the first one begins so many groups of two
/// bits behind the window.
const SHIFTS: [i64; 4] = {
    let mut all = [0; 4];
    let mut phase = 0;
    while phase < 4 {
        let mut character = 0;
        while character < 8 {
            let shift = 58 - 2 * phase as i64 - 6 * character;
            all[phase] |= shift << (8 * character);
            character += 1;
        }
        phase += 1;
    }
    all
};

/// See [`Kernel::base64`](crate::payload::kernel::Kernel::base64).
///
/// # Safety
/// As there.
#[inline(always)]
pub(super) unsafe fn base64(src: &[u8], groups: usize, dst: *mut u8) -> *mut u8 {
    let whole = Whole { from: src.as_ptr(), bytes: src.len(), groups, to: dst };
    // SAFETY: the caller's promises; each class of lengths is what its routine asks for.
    unsafe {
        if src.len() < 64 {
            masked::<2>(src.as_ptr(), src.len(), dst);
        } else if src.len() <= 4 * BLOCK {
            whole.both_ends();
        } else {
            whole.by_lines();
        }
        dst.add(4 * groups)
    }
}

/// [`base64`], where one block is enough as a rule.
///
/// # Safety
/// As there.
#[inline(always)]
pub(super) unsafe fn short_base64(src: &[u8], groups: usize, dst: *mut u8) -> *mut u8 {
    let (mut from, mut left, mut to) = (src.as_ptr(), src.len(), dst);
    // SAFETY: each block holds what is left of the slice, or goes on with it, and ends within the
    // promised spill.
    unsafe {
        while left > BLOCK {
            own_ahead::<0>(to);
            masked::<1>(from, BLOCK, to);
            (from, left, to) = (from.add(BLOCK), left - BLOCK, to.add(64));
        }
        masked::<1>(from, left, to);
        dst.add(4 * groups)
    }
}

/// The characters of up to `N` blocks, and zeros' behind them.
///
/// # Safety
/// The CPU has the features; `left` bytes, at most 255, are readable at `from`; `N * 64` are writable
/// at `to`.
#[inline(always)]
unsafe fn masked<const N: usize>(from: *const u8, left: usize, to: *mut u8) {
    debug_assert!(left < 256);
    for block in 0..N {
        // SAFETY: the mask allows only bytes of the slice; other lanes are not touched. The caller
        // promises the room.
        unsafe {
            let bytes = load_up_to(left.saturating_sub(block * BLOCK), from.wrapping_add(block * BLOCK));
            _mm512_storeu_si512(to.add(block * 64).cast(), sixteen_groups(SPREAD.load(), bytes));
        }
    }
}

/// The `left` bytes at `from`, but no more than 64, and zeros behind them.
///
/// # Safety
/// The CPU has the features; the bytes are readable; `left` is at most 255.
#[inline(always)]
unsafe fn load_up_to(left: usize, from: *const u8) -> __m512i {
    // SAFETY: the mask allows only these bytes. (`bzhi` takes any number from 64 to 255 for all.)
    unsafe { _mm512_maskz_loadu_epi8(_bzhi_u64(u64::MAX, left as u32), from.cast()) }
}

/// The characters of sixteen groups, each spread over four bytes as `spread` says.
///
/// # Safety
/// The CPU has the features.
#[inline(always)]
unsafe fn sixteen_groups(spread: __m512i, bytes: __m512i) -> __m512i {
    // SAFETY: the caller's promise.
    unsafe { characters(_mm512_permutexvar_epi8(spread, bytes), _mm512_set1_epi64(0x3036_242a_1016_040a)) }
}

/// The characters of eight sixes of bits in each lane, which begin where `shifts` says.
///
/// # Safety
/// The CPU has the features.
#[inline(always)]
unsafe fn characters(lanes: __m512i, shifts: __m512i) -> __m512i {
    // SAFETY: the caller's promise.
    unsafe {
        let sixes = _mm512_multishift_epi64_epi8(shifts, lanes);
        _mm512_permutexvar_epi8(sixes, ALPHABET.load())
    }
}

/// A slice of at least 64 bytes and where its text goes.
#[derive(Clone, Copy)]
struct Whole {
    from: *const u8,
    bytes: usize,
    groups: usize,
    to: *mut u8,
}

/// For all: the CPU has the features, and the text's length is writable at `to`.
impl Whole {
    /// Up to four blocks, taken from both ends until they meet or overlap: what is written twice is
    /// the same, and no block needs to know how long the slice is but the last, whose loads end where
    /// the slice does. Some stores too many cost less than branches that the length of a value makes
    /// unpredictable.
    ///
    /// # Safety
    /// As for all; 64 to `4 * BLOCK` bytes.
    #[inline(always)]
    unsafe fn both_ends(self) {
        debug_assert!((64..=4 * BLOCK).contains(&self.bytes));
        // SAFETY: the slice has one block, and three if it has more than two.
        unsafe {
            self.first();
            if self.bytes > 2 * BLOCK {
                self.before_end(3);
                self.before_end(2);
            }
            self.last();
        }
    }

    /// The first block.
    ///
    /// # Safety
    /// As for all.
    #[inline(always)]
    unsafe fn first(self) {
        own_ahead::<0>(self.to);
        read_ahead::<0>(self.from);
        // SAFETY: 64 bytes of the slice, and 64 characters of its text.
        unsafe {
            let bytes = _mm512_loadu_si512(self.from.cast());
            _mm512_storeu_si512(self.to.cast(), sixteen_groups(SPREAD.load(), bytes));
        }
    }

    /// The `number`th block of sixteen groups, counted from the end; the first block, if the slice has
    /// no whole one there.
    ///
    /// # Safety
    /// As for all; `number` is at least 2.
    #[inline(always)]
    unsafe fn before_end(self, number: usize) {
        let first = self.groups.saturating_sub(16 * number);
        own_ahead_of(self.to, first);
        // SAFETY: the block begins with the slice, or at least 32 groups before its end: 96 bytes, of
        // which at most two are missing. Its text lies within the slice's.
        unsafe {
            let bytes = _mm512_loadu_si512(self.from.add(3 * first).cast());
            _mm512_storeu_si512(self.to.add(4 * first).cast(), sixteen_groups(SPREAD.load(), bytes));
        }
    }

    /// The last block.
    ///
    /// # Safety
    /// As for all.
    #[inline(always)]
    unsafe fn last(self) {
        let missing = 3 * self.groups - self.bytes;
        let first = self.groups - 16;
        own_ahead_of(self.to, first);
        // SAFETY: at most two bytes are missing from a slice's last group; the last 64 bytes of the
        // slice, and the last 64 characters of its text, which has at least 88.
        unsafe {
            let from = self.from.add(self.bytes - 64);
            read_ahead::<0>(from);
            let bytes = _mm512_loadu_si512(from.cast());
            let spread = SPREAD_LAST.get_unchecked(missing).load();
            let spread = _mm512_maskz_permutexvar_epi8(*THERE.get_unchecked(missing), spread, bytes);
            let text = characters(spread, _mm512_set1_epi64(0x3036_242a_1016_040a));
            _mm512_storeu_si512(self.to.add(4 * first).cast(), text);
        }
    }

    /// More than four blocks: the first wherever it begins, and then stores that fill a cache line
    /// each, the first of which overlaps it. (Stores that cross lines take twice as long.) A line may
    /// begin with any character of a group, which only the shifts need to know.
    ///
    /// # Safety
    /// As for all; more than `4 * BLOCK` bytes.
    #[inline(always)]
    unsafe fn by_lines(self) {
        debug_assert!(self.bytes > 4 * BLOCK);
        // 1 to 64 characters lie before the first whole line, in up to 48 bytes.
        let before = 64 - self.to.addr() % 64;
        // However the text is aligned, so that it can be foretold where lengths repeat.
        let mut lines = (self.bytes - 64) / BLOCK;
        // SAFETY: the last of so many lines' loads ends at most `48 + 48 * lines + 16` bytes behind the
        // beginning, within the slice. Less than `64 + 48` bytes are left then, at least 16: less than
        // three lines more, which are loaded behind a mask and spill at most 170 characters.
        unsafe {
            self.first();
            let mut line = Line {
                from: self.from.add(before * 3 / 4),
                to: self.to.add(before),
                windows: WINDOWS.load(),
                shifts: _mm512_set1_epi64(SHIFTS[before * 3 % 4]),
            };
            while lines >= 4 {
                line.put::<0>(_mm512_loadu_si512(line.from.cast()));
                line.put::<1>(_mm512_loadu_si512(line.from.add(BLOCK).cast()));
                line.put::<2>(_mm512_loadu_si512(line.from.add(2 * BLOCK).cast()));
                line.put::<3>(_mm512_loadu_si512(line.from.add(3 * BLOCK).cast()));
                read_ahead::<0>(line.from);
                read_ahead::<1>(line.from);
                read_ahead::<2>(line.from);
                line = line.behind(4);
                lines -= 4;
            }
            while lines > 0 {
                line.put::<0>(_mm512_loadu_si512(line.from.cast()));
                read_ahead::<0>(line.from);
                line = line.behind(1);
                lines -= 1;
            }
            let left = self.bytes - (line.from.addr() - self.from.addr());
            read_ahead::<0>(line.from);
            read_ahead::<1>(line.from);
            line.put::<0>(load_up_to(left, line.from));
            line.put::<1>(load_up_to(left.saturating_sub(BLOCK), line.from.wrapping_add(BLOCK)));
            line.put::<2>(load_up_to(left.saturating_sub(2 * BLOCK), line.from.wrapping_add(2 * BLOCK)));
        }
    }
}

/// A place where a cache line of text begins, and the bytes that it is of.
#[derive(Clone, Copy)]
struct Line {
    from: *const u8,
    to: *mut u8,
    windows: __m512i,
    shifts: __m512i,
}

impl Line {
    /// Puts the characters of `bytes` into the `NUMBER`th line from here on.
    ///
    /// # Safety
    /// The CPU has the features; the line is writable.
    #[inline(always)]
    unsafe fn put<const NUMBER: usize>(&self, bytes: __m512i) {
        own_ahead::<NUMBER>(self.to);
        // SAFETY: the caller's promise; `to` is where a line begins.
        unsafe {
            let text = characters(_mm512_permutexvar_epi8(self.windows, bytes), self.shifts);
            _mm512_store_si512(self.to.add(64 * NUMBER).cast(), text);
        }
    }

    #[inline(always)]
    fn behind(self, lines: usize) -> Self {
        Self { from: self.from.wrapping_add(lines * BLOCK), to: self.to.wrapping_add(lines * 64), ..self }
    }
}
