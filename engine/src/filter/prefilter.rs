//! Texts without which a value, if it is JSON, cannot match.
//!
//! Sound only where JSON spells the texts in one way: they hold no character that has a short
//! escape, and the value holds no `\u`. A value in which none of them stands must still be known
//! to be JSON before it may be dropped; that it has no match need not be found out.

use memchr::memmem::Finder;

use super::json::{is_json, is_json_at_a_glance};
use crate::mapping::pattern::{Condition, Field, Test};

/// So many texts are looked for, one after the other; with more, reading the value is cheaper.
const NEEDLES_MAX: usize = 4;
/// Shorter texts stand in too many values.
const NEEDLE_BYTES_MIN: usize = 3;

/// Texts of which one must stand in every JSON value that matches.
#[derive(Debug)]
pub(super) struct Prefilter {
    needles: Vec<Finder<'static>>,
    escape: Finder<'static>,
}

impl Prefilter {
    /// The texts for these alternatives; `None` if one of them can be met without any.
    pub(super) fn new<'c>(alternatives: impl Iterator<Item = &'c [Condition]>) -> Option<Self> {
        let mut needles = Vec::new();
        for conditions in alternatives {
            // The condition with the fewest texts, and of those the one with the longest.
            let chosen = conditions
                .iter()
                .filter_map(needles_of)
                .min_by_key(|texts| (texts.len(), std::cmp::Reverse(texts.iter().map(String::len).min())))?;
            needles.extend(chosen.into_iter().filter(|text| !needles.contains(text)).collect::<Vec<_>>());
        }
        let finders = |text: &String| Finder::new(text.as_bytes()).into_owned();
        (!needles.is_empty() && needles.len() <= NEEDLES_MAX).then(|| Self {
            needles: needles.iter().map(finders).collect(),
            escape: Finder::new(b"\\u").into_owned(),
        })
    }

    /// Whether `text` is JSON that cannot match. `None` if it has to be read to know.
    #[inline]
    pub(super) fn is_hopeless_json(&self, text: &str) -> Option<bool> {
        if self.needles.iter().any(|needle| needle.find(text.as_bytes()).is_some()) {
            return None;
        }
        // What is told at a glance has no escapes at all.
        if is_json_at_a_glance(text) {
            return Some(true);
        }
        self.escape.find(text.as_bytes()).is_none().then(|| is_json(text))
    }
}

/// The texts of which one must be spelt in a JSON value that meets the condition.
fn needles_of(condition: &Condition) -> Option<Vec<String>> {
    let in_json = condition.field == Field::Value && !condition.path.is_empty() && !condition.may_be_absent;
    if !in_json {
        return None;
    }
    condition.tests.iter().map(needle_of).collect()
}

fn needle_of(test: &Test) -> Option<String> {
    let needle = match test {
        Test::Text(text) => format!("\"{text}\""),
        Test::Prefix(text) => format!("\"{text}"),
        Test::Suffix(text) => format!("{text}\""),
        Test::Wildcard(wildcard) => wildcard.pieces().iter().max_by_key(|piece| piece.len())?.clone(),
        _ => return None,
    };
    let inside = needle.trim_matches('"');
    let one_spelling = !inside.chars().any(|c| c.is_control() || matches!(c, '"' | '\\' | '/'));
    (one_spelling && needle.len() >= NEEDLE_BYTES_MIN).then_some(needle)
}
