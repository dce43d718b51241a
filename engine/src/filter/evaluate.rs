//! One test against one value.

use crate::mapping::pattern::{Test, Word, comparable};

/// A value that a test can be held against.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scalar<'v> {
    /// A string, its escapes resolved.
    Text(&'v str),
    /// A number, as it is spelt.
    Number(&'v str),
    Word(Word),
}

impl<'v> Scalar<'v> {
    /// A number or word as it is spelt in JSON.
    #[inline]
    pub(super) fn bare(text: &'v str) -> Self {
        match text.as_bytes().first() {
            Some(b't') => Self::Word(Word::True),
            Some(b'f') => Self::Word(Word::False),
            Some(b'n') => Self::Word(Word::Null),
            _ => Self::Number(text),
        }
    }
}

/// Whether one of the tests holds.
#[inline]
pub(super) fn any_holds(tests: &[Test], value: Scalar<'_>) -> bool {
    tests.iter().any(|test| holds(test, value))
}

/// As event-ruler decides it: `prefix` and its like hold for strings only, ranges for numbers
/// only; `anything-but` holds for whatever it does not name, of any kind.
fn holds(test: &Test, value: Scalar<'_>) -> bool {
    match (test, value) {
        (Test::Present, _) => true,
        (Test::AnythingBut(tests), value) => !any_holds(tests, value),
        (Test::Text(wanted), Scalar::Text(text)) => wanted == text,
        (Test::Address(range), Scalar::Text(text)) => range.contains(text),
        (Test::Prefix(wanted), Scalar::Text(text)) => text.starts_with(wanted.as_str()),
        (Test::Suffix(wanted), Scalar::Text(text)) => text.ends_with(wanted.as_str()),
        (Test::PrefixFolded(wanted), Scalar::Text(text)) => wanted.is_prefix_of(text),
        (Test::SuffixFolded(wanted), Scalar::Text(text)) => wanted.is_suffix_of(text),
        (Test::Folded(wanted), Scalar::Text(text)) => wanted.equals(text),
        (Test::Wildcard(wanted), Scalar::Text(text)) => wanted.matches(text),
        (Test::Number(wanted), Scalar::Number(text)) => wanted.equals(text),
        (Test::Range(range), Scalar::Number(text)) => {
            comparable(text).is_some_and(|number| range.contains(number))
        }
        (Test::Word(wanted), Scalar::Word(word)) => *wanted == word,
        _ => false,
    }
}
