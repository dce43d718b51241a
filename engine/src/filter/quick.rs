//! Tells JSON of the common kind 64 bytes at a time, without looking at single bytes.
//!
//! A filter that drops a record must know that its value is JSON; a reader that goes from token to
//! token spends most of that time on branches that nobody can predict. Here a block of 64 bytes
//! becomes one word per kind of byte, and the grammar, which is nearly all about neighbours, becomes
//! shifts, additions that carry over runs, and masks (as in simdjson, which keeps them for its first
//! stage). Only brackets and words are looked at one by one.
//!
//! The answer is "certainly" or "don't know": no white space between tokens, no escapes, no
//! exponents, an object or array, [`DEPTH_MAX`] deep at most. For everything else
//! [`super::json::is_json`] reads on.
#![expect(unsafe_code, reason = "loads of vectors, and functions that ask for the CPU's features")]

use std::arch::x86_64::{
    __m256i, _mm_clmulepi64_si128, _mm_cvtsi128_si64, _mm_set_epi64x, _mm_set1_epi8, _mm256_cmpeq_epi8,
    _mm256_loadu_si256, _mm256_min_epu8, _mm256_movemask_epi8, _mm256_or_si256, _mm256_set1_epi8,
    _mm256_slli_epi16, _mm256_sub_epi8,
};

/// One bit for each open container.
const DEPTH_MAX: u32 = 64;
/// Bytes looked at together.
const BLOCK: usize = 64;

/// Whether `text` is certainly JSON. `false` says nothing.
#[inline]
pub(super) fn is_certainly_json(text: &str) -> bool {
    let bytes = text.as_bytes();
    if !matches!(bytes.first(), Some(b'{' | b'[')) || !is_available() {
        return false;
    }
    // SAFETY: the features were just found.
    unsafe { certainly(bytes) }
}

#[inline]
fn is_available() -> bool {
    // Each is one load and a test, once the CPU was asked.
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("pclmulqdq")
}

/// Where bytes of each kind stand in a block, the first byte in the lowest bit. Inside strings they
/// mean nothing.
#[derive(Default)]
struct Kinds {
    quote: u64,
    backslash: u64,
    control: u64,
    /// `{` and `[`.
    open: u64,
    /// `}` and `]`.
    close: u64,
    /// Of brackets, which are braces.
    brace: u64,
    colon: u64,
    comma: u64,
    digit: u64,
    zero: u64,
    dot: u64,
    minus: u64,
}

#[inline]
#[target_feature(enable = "avx2,bmi1")]
fn bits(vector: __m256i, half: usize) -> u64 {
    u64::from(_mm256_movemask_epi8(vector).cast_unsigned()) << (32 * half)
}

#[inline]
#[target_feature(enable = "avx2,bmi1")]
fn kinds(block: &[u8; BLOCK]) -> Kinds {
    let mut kinds = Kinds::default();
    for half in 0..2 {
        let start = block[32 * half..].as_ptr();
        // SAFETY: the block has 64 bytes, of which these are the first or the last 32.
        let bytes = unsafe { _mm256_loadu_si256(start.cast()) };
        let all = |byte: u8| _mm256_set1_epi8(byte.cast_signed());
        let equal = |bytes: __m256i, byte: u8| bits(_mm256_cmpeq_epi8(bytes, all(byte)), half);
        let up_to = |bytes: __m256i, most: u8| {
            bits(_mm256_cmpeq_epi8(_mm256_min_epu8(bytes, all(most)), bytes), half)
        };
        // The bit that tells `{` from `[` and `}` from `]`.
        let low = _mm256_or_si256(bytes, all(0x20));
        kinds.quote |= equal(bytes, b'"');
        kinds.backslash |= equal(bytes, b'\\');
        kinds.control |= up_to(bytes, 0x1f);
        kinds.open |= equal(low, b'{');
        kinds.close |= equal(low, b'}');
        kinds.brace |= bits(_mm256_slli_epi16::<2>(bytes), half);
        kinds.colon |= equal(bytes, b':');
        kinds.comma |= equal(bytes, b',');
        kinds.digit |= up_to(_mm256_sub_epi8(bytes, all(b'0')), 9);
        kinds.zero |= equal(bytes, b'0');
        kinds.dot |= equal(bytes, b'.');
        kinds.minus |= equal(bytes, b'-');
    }
    kinds
}

/// Each bit becomes the sum of all bits up to it: from an opening quote on 1, from a closing one 0.
#[inline]
#[target_feature(enable = "pclmulqdq")]
fn sums(bits: u64) -> u64 {
    let bits = _mm_set_epi64x(0, bits.cast_signed());
    _mm_cvtsi128_si64(_mm_clmulepi64_si128::<0>(bits, _mm_set1_epi8(-1))).cast_unsigned()
}

/// The bits one place on; what falls off is the next block's first.
#[inline(always)]
fn next(bits: u64, carry: &mut u64) -> u64 {
    let moved = bits << 1 | *carry;
    *carry = bits >> 63;
    moved
}

/// Adds `starts` to the runs of ones that begin there: each moves behind the end of its run.
#[inline(always)]
fn pass(starts: u64, runs: u64, carry: &mut u64) -> u64 {
    let (sum, over) = starts.overflowing_add(runs);
    let (sum, more) = sum.overflowing_add(*carry);
    *carry = u64::from(over | more);
    sum
}

/// What one block leaves for the next.
#[derive(Default)]
struct Carries {
    string: u64,
    bare: u64,
    string_end: u64,
    close: u64,
    open: u64,
    separator: u64,
    name: u64,
    name_run: u64,
    name_end: u64,
    digit: u64,
    dot: u64,
    fraction: u64,
    minus: u64,
    zero: u64,
    word: u64,
}

#[target_feature(enable = "avx2,bmi1,pclmulqdq")]
fn certainly(bytes: &[u8]) -> bool {
    // Before the first byte a value may begin, as behind a colon.
    let mut carry = Carries { separator: 1, ..Carries::default() };
    let mut open = Open::default();
    let mut last = [b' '; BLOCK];
    for at in (0..bytes.len()).step_by(BLOCK) {
        let rest = &bytes[at..];
        let (block, valid) = if let Some(block) = rest.first_chunk::<BLOCK>() {
            (block, u64::MAX)
        } else {
            last[..rest.len()].copy_from_slice(rest);
            (&last, (1 << rest.len()) - 1)
        };
        let kinds = kinds(block);
        // From an opening quote up to the byte before the closing one.
        let string = sums(kinds.quote) ^ carry.string;
        carry.string = (string.cast_signed() >> 63).cast_unsigned();
        let (string_start, string_end) = (kinds.quote & string, kinds.quote & !string);
        let outside = !string & !string_end & valid;
        let (opens, closes) = (kinds.open & outside, kinds.close & outside);
        let (colons, commas) = (kinds.colon & outside, kinds.comma & outside);
        // Numbers and words, and whatever stands outside of strings and should not.
        let bare = outside & !(opens | closes | colons | commas);

        let after_bare = next(bare, &mut carry.bare);
        let bare_start = bare & !after_bare;
        let after_string = next(string_end, &mut carry.string_end);
        let after_value = after_string | next(closes, &mut carry.close) | (after_bare & !bare);
        let after_open = next(opens, &mut carry.open);
        let may_begin = after_open | next(commas | colons, &mut carry.separator);
        let mut wrong = (kinds.control & string & valid) | kinds.backslash;
        wrong |= (string_start | bare_start | opens) & !may_begin;
        wrong |= closes & !(after_value | after_open);
        wrong |= commas & !after_value;

        let Some(in_object) = open.walk(opens, closes, kinds.brace, bytes.len() - at) else { return false };
        // Behind `{` and behind the commas of objects stand names, and behind names colons.
        let names = next((opens & kinds.brace) | (commas & in_object), &mut carry.name) & !closes & valid;
        wrong |= names & !string_start;
        let name_end = pass(names, string, &mut carry.name_run) & string_end;
        wrong |= next(name_end, &mut carry.name_end) ^ colons;

        let (digits, dots, minuses) = (kinds.digit & bare, kinds.dot & bare, kinds.minus & bare);
        let after_digit = next(digits, &mut carry.digit);
        let after_dot = next(dots, &mut carry.dot) & valid;
        let after_minus = next(minuses, &mut carry.minus) & valid;
        wrong |= (dots & !after_digit) | (after_dot & !digits);
        // A second dot behind the digits of a fraction.
        wrong |= pass(after_dot, digits, &mut carry.fraction) & !digits & dots;
        wrong |= (minuses & !bare_start) | (after_minus & !digits);
        let leading_zero = (bare_start | after_minus) & kinds.zero & bare;
        wrong |= next(leading_zero, &mut carry.zero) & digits;
        if wrong != 0 {
            return false;
        }
        let rest = bare & !(digits | dots | minuses);
        if rest | carry.word != 0 && !are_words(rest, bare_start, &mut carry.word, &bytes[at..]) {
            return false;
        }
    }
    open.depth == 0 && carry.string == 0
}

/// The open containers, the innermost in the lowest bit; set for objects.
#[derive(Default)]
struct Open {
    objects: u64,
    depth: u32,
}

impl Open {
    /// Walks over the brackets of a block. Returns which of its places stand in objects; `None` if
    /// brackets do not pair, are too deep, or the outermost closes before the last of `left` bytes.
    #[inline(always)]
    fn walk(&mut self, opens: u64, closes: u64, braces: u64, left: usize) -> Option<u64> {
        let mut in_object = 0;
        let mut since = u64::MAX;
        let mut brackets = opens | closes;
        while brackets != 0 {
            let bit = brackets & brackets.wrapping_neg();
            brackets ^= bit;
            if self.objects & 1 == 1 {
                in_object |= since & (bit - 1);
            }
            since = !(bit - 1);
            let is_brace = u64::from(braces & bit != 0);
            if opens & bit != 0 {
                if self.depth == DEPTH_MAX {
                    return None;
                }
                self.objects = self.objects << 1 | is_brace;
                self.depth += 1;
            } else {
                if self.depth == 0 || self.objects & 1 != is_brace {
                    return None;
                }
                self.objects >>= 1;
                self.depth -= 1;
                if self.depth == 0 && bit.trailing_zeros() as usize + 1 != left {
                    return None;
                }
            }
        }
        if self.objects & 1 == 1 {
            in_object |= since;
        }
        Some(in_object)
    }
}

/// Whether `rest`, which is neither digit nor sign, is words only. `bytes` are the block's and those
/// behind it; a word may reach into the next block.
#[inline]
fn are_words(rest: u64, bare_start: u64, carry: &mut u64, bytes: &[u8]) -> bool {
    let mut covered = *carry;
    *carry = 0;
    let mut starts = rest & bare_start;
    while starts != 0 {
        let at = starts.trailing_zeros() as usize;
        starts &= starts - 1;
        let length = match bytes[at..] {
            [b't', b'r', b'u', b'e', b',' | b'}' | b']', ..] => 4,
            [b'n', b'u', b'l', b'l', b',' | b'}' | b']', ..] => 4,
            [b'f', b'a', b'l', b's', b'e', b',' | b'}' | b']', ..] => 5,
            _ => return false,
        };
        let word = ((1_u128 << length) - 1) << at;
        covered |= word as u64;
        *carry |= (word >> 64) as u64;
    }
    rest & !covered == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::json::Json;
    use proptest::prelude::*;

    fn is_json_slowly(text: &str) -> bool {
        let mut json = Json::new(text);
        json.skip(0).and_then(|()| json.end()).is_ok()
    }

    /// JSON as machines write it, in blocks of every kind: names and strings of all lengths.
    fn compact() -> impl Strategy<Value = String> {
        let bare = prop::sample::select(vec![
            "0",
            "-0",
            "10",
            "-1.5",
            "0.25",
            "123456789.5",
            "true",
            "false",
            "null",
            "900719925474099312345",
            "\"é\"",
        ]);
        let text = "[a-z0-9{}:,\\[\\]. -]{0,90}".prop_map(|text| format!("\"{text}\""));
        let leaf = prop_oneof![bare.prop_map(str::to_owned), text];
        leaf.prop_recursive(4, 40, 6, |inner| {
            let name = "[a-z]{0,70}";
            let members = prop::collection::vec((name, inner.clone()), 0..6).prop_map(|members| {
                let members: Vec<_> =
                    members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
                format!("{{{}}}", members.join(","))
            });
            prop_oneof![
                members,
                prop::collection::vec(inner, 0..6).prop_map(|items| format!("[{}]", items.join(",")))
            ]
        })
    }

    #[test]
    fn common_json_is_told_and_nothing_else_is() {
        if !is_available() {
            return;
        }
        for text in ["{}", "[]", r#"{"a":1}"#, "[[],[{}],{\"\":[]}]", "[0,-0.5,true,null,false,\"x\",1.25]"] {
            assert!(is_certainly_json(text), "{text}");
        }
        for text in [
            "",
            "{",
            "[",
            "[1",
            "{}}",
            "{}{}",
            "[1]1",
            "[1,]",
            "[,1]",
            "[1 2]",
            "[01]",
            "[-]",
            "[-01]",
            "[1.]",
            "[.5]",
            "[1.2.3]",
            "[1-2]",
            "[--1]",
            "[truefalse]",
            "[true1]",
            "[1true]",
            "[tru]",
            "[nulll]",
            "[\"a\"\"b\"]",
            "[\"a\":1]",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{,}",
            "{1:2}",
            "{\"a\":1:2}",
            "{\"a\" \"b\"}",
            "{\"a\":\"b\":1}",
            "[{]}",
            "[\"a]",
            "[\"\n\"]",
            "[1]\u{0}",
            "{\"a\":1,\"b\"}",
            "{\"a\":1,2}",
            "[1:2]",
            "{\"a\":1,\"b\":}",
            "[\"\\x\"]",
            "[+1]",
            "[1e]",
            "[é]",
        ] {
            assert!(!is_certainly_json(text), "{text}");
        }
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(is_certainly_json(&nested(64)) && !is_certainly_json(&nested(65)));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

        #[test]
        fn compact_json_is_told(text in compact()) {
            prop_assert!(is_json_slowly(&text));
            if is_available() && text.starts_with(['{', '[']) {
                prop_assert!(is_certainly_json(&text), "{}", text);
            }
        }

        /// One byte changed, taken out or put in, anywhere: what is told is JSON.
        #[test]
        fn what_is_told_is_json(
            text in compact(), at: prop::sample::Index, change in 0..3, byte in prop::sample::select(b"{}[]:,\"\\0123.-etfn \n\x01x".to_vec()),
        ) {
            let mut bytes = text.into_bytes();
            let at = at.index(bytes.len());
            match change {
                0 => bytes[at] = byte,
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, byte),
            }
            if let Ok(text) = std::str::from_utf8(&bytes) {
                prop_assert!(!is_certainly_json(text) || is_json_slowly(text), "{}", text);
            }
        }

        #[test]
        fn noise_that_is_told_is_json(text in "[\\[{][\\[\\]{},:\"0-9.etrunl-]{0,20}") {
            prop_assert!(!is_certainly_json(&text) || is_json_slowly(&text), "{}", text);
        }
    }
}
