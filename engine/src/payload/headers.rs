//! Header values: arrays of **signed** decimal bytes, as Java's `byte` is signed.

use super::cursor::put_slice;
use super::escape::{self, ESCAPED_BYTES_MAX, escaped_len};
use crate::record::Header;

/// The most bytes that one byte of a value can become: `-128,`.
pub(crate) const NUMBER_BYTES_MAX: usize = 5;

/// No name is longer, as a rule.
pub(super) const PLAIN_NAME_BYTES_MAX: usize = 32;

/// What a header of such a name, which needs no escaping, has besides its numbers, at most.
pub(super) const PLAIN_HEADER_BYTES_MAX: usize = r#"{"":[]},"#.len() + PLAIN_NAME_BYTES_MAX;

/// A header's `{"name":[…]}`.
pub(super) fn header_len_exact(header: Header<'_>) -> usize {
    r#"{"":[]}"#.len() + escaped_len(header.name) + header.value.map_or(0, numbers_len)
}

/// The most that [`header_len_exact`] can be.
#[inline(always)]
pub(super) fn header_len_max(header: Header<'_>) -> usize {
    r#"{"":[]}"#.len()
        + ESCAPED_BYTES_MAX * header.name.len()
        + NUMBER_BYTES_MAX * header.value.map_or(0, <[u8]>::len)
}

/// How many bytes `value` takes between its brackets: `[`…`]` excluded, commas included.
pub(crate) fn numbers_len(value: &[u8]) -> usize {
    // Per byte one digit and a comma (but after the last), then what each adds. Plain sums of
    // comparisons, in blocks that a byte's worth of counter cannot overflow, become SIMD.
    let mut bytes = (2 * value.len()).saturating_sub(1);
    for block in value.chunks(64) {
        let mut more = 0_u8;
        for byte in block {
            let signed = byte.cast_signed();
            let magnitude = signed.unsigned_abs();
            more += u8::from(signed < 0) + u8::from(magnitude >= 10) + u8::from(magnitude >= 100);
        }
        bytes += usize::from(more);
    }
    bytes
}

/// The text of every byte as a signed number with a comma after it, little-endian in the low five
/// bytes, and its length in the highest: one load per byte of a header.
pub(crate) static NUMBERS: [u64; 256] = {
    let mut table = [0_u64; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = number_entry(byte as u8);
        byte += 1;
    }
    table
};

const fn number_entry(byte: u8) -> u64 {
    let signed = byte as i8;
    let magnitude = signed.unsigned_abs();
    let mut text = 0_u64;
    let mut len = 0;
    if signed < 0 {
        text |= b'-' as u64;
        len += 1;
    }
    if magnitude >= 100 {
        text |= ((b'0' + magnitude / 100) as u64) << (8 * len);
        len += 1;
    }
    if magnitude >= 10 {
        text |= ((b'0' + magnitude / 10 % 10) as u64) << (8 * len);
        len += 1;
    }
    text |= ((b'0' + magnitude % 10) as u64) << (8 * len);
    text |= (b',' as u64) << (8 * (len + 1));
    text | (len as u64 + 2) << 56
}

/// How a tier writes what a header is made of. A trait and not closures, because those are not
/// inlined by force, and the tiers' loops depend on it.
///
/// # Safety
/// A routine writes its text at `to`, spills less than [`SPILL_BYTES`](super::kernel::SPILL_BYTES)
/// behind it, and returns its end.
///
/// For callers: the text and the spill are valid for writes; the CPU has the features of the tier.
#[expect(unsafe_code, reason = "part of the kernels")]
pub(super) unsafe trait HeaderParts {
    /// A name, escaped; `None` if it is one that the routine does not care for.
    ///
    /// # Safety
    /// As for the trait.
    unsafe fn name(name: &[u8], to: *mut u8) -> Option<*mut u8>;

    /// Each byte's number, with a comma after it.
    ///
    /// # Safety
    /// As for the trait; `value` is not empty.
    unsafe fn numbers(value: &[u8], to: *mut u8) -> *mut u8;
}

/// Puts `{"name":[…]},` at `to` and returns its end; `None` if the name is none for `P`.
///
/// # Safety
/// As for [`HeaderParts`].
#[expect(unsafe_code, reason = "part of the kernels")]
#[expect(clippy::multiple_unsafe_ops_per_block, reason = "the header's bound covers all its stores")]
#[inline(always)]
pub(super) unsafe fn put_header<P: HeaderParts>(
    name: &[u8],
    value: &[u8],
    mut to: *mut u8,
) -> Option<*mut u8> {
    // SAFETY: each store is part of the header's text or spills less than eight bytes.
    unsafe {
        to.cast::<[u8; 2]>().write_unaligned(*b"{\"");
        to = P::name(name, to.add(2))?;
        to.cast::<[u8; 4]>().write_unaligned(*b"\":[ ");
        to = to.add(3);
        if !value.is_empty() {
            // The bracket takes the place of the last number's comma.
            to = P::numbers(value, to).sub(1);
        }
        to.cast::<[u8; 4]>().write_unaligned(*b"]}, ");
        Some(to.add(3))
    }
}

/// Names that need escaping, or are longer than ordinary. Out of line, because they are rare.
///
/// # Safety
/// There is room at `to` for the escaped text.
#[expect(unsafe_code, reason = "part of the kernels")]
#[cold]
#[inline(never)]
pub(super) unsafe fn put_escaped(text: &[u8], mut to: *mut u8) -> *mut u8 {
    // SAFETY: the conditions are the same.
    if let Some(end) = unsafe { super::base64::portable::plain(text, to) } {
        return end;
    }
    // SAFETY: the pieces together are the escaped text.
    escape::pieces(text, |piece| to = unsafe { put_slice(piece, to) });
    to
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_holds_every_signed_byte_as_text() {
        for byte in 0..=255_u8 {
            let entry = NUMBERS[usize::from(byte)].to_le_bytes();
            let expected = format!("{},", byte.cast_signed());
            assert_eq!(usize::from(entry[7]), expected.len());
            assert_eq!(&entry[..expected.len()], expected.as_bytes());
        }
    }

    #[test]
    fn the_length_is_that_of_the_text() {
        let all: Vec<u8> = (0..=255).cycle().take(1000).collect();
        for bytes in 0..all.len() {
            let value = &all[all.len() - bytes..];
            let text: Vec<String> = value.iter().map(|byte| byte.cast_signed().to_string()).collect();
            assert_eq!(numbers_len(value), text.join(",").len());
        }
    }
}
