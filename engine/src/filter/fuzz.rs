//! Bodies of fuzz targets: plain functions over bytes, so that tests replay what was found.

use std::sync::Arc;

use super::{Filters, Matcher, Pattern, json, reference};
use crate::ids::{Offset, Partition, Topic};
use crate::record::{RecordRef, TimestampType};

/// So many conditions and bytes the reference can try all choices for.
const CONDITIONS_MAX: usize = 6;
const VALUE_BYTES_MAX: usize = 400;

/// A pattern and a value, apart by a byte of zero: nothing panics, JSON is what `serde_json` takes
/// for it, and the matcher decides as the reference does where the two may be compared.
///
/// # Panics
/// If not.
pub fn pattern_and_value(data: &[u8]) {
    let cut = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    let value = data.get(cut + 1..);
    let text = value.and_then(|value| std::str::from_utf8(value).ok());
    if let Some(text) = text {
        let trimmed = text.trim_matches([' ', '\n', '\t', '\r']);
        let is_json = serde_json::from_str::<&serde_json::value::RawValue>(trimmed).is_ok();
        // The one difference is meant: the depth is limited here.
        assert!(is_json == json::is_json(text) || text.len() > json::DEPTH_MAX, "{text:?}");
    }
    let Some(pattern) =
        std::str::from_utf8(&data[..cut]).ok().and_then(|text| Pattern::parse(text, false).ok())
    else {
        return;
    };
    let record = RecordRef {
        partition: Partition(0),
        offset: Offset(0),
        timestamp_ms: 0,
        timestamp_type: TimestampType::CreateTime,
        key: Some(b"key"),
        value,
        headers: &[],
    };
    let patterns = [pattern];
    let mut matcher = Matcher::new(Arc::new(Filters::new(&patterns)));
    let topic = Topic::new("t");
    let kept = matcher.keeps(&topic, &record);
    let explanation = matcher.explain(&topic, &record);
    assert_eq!(kept, explanation.passes, "{explanation}");
    assert_eq!(kept, matcher.keeps(&topic, &record), "the second time as the first");
    if is_comparable(&patterns[0], value) {
        assert_eq!(kept, reference::keeps(&patterns, value), "{explanation}");
    }
}

fn is_comparable(pattern: &Pattern, value: Option<&[u8]>) -> bool {
    use crate::mapping::pattern::Field;
    let alternatives = pattern.alternatives();
    alternatives.len() <= CONDITIONS_MAX
        && value.is_none_or(|value| value.len() <= VALUE_BYTES_MAX)
        && value
            .and_then(|value| std::str::from_utf8(value).ok())
            .is_none_or(|text| !json::is_json(text) || reference::is_comparable(text))
        && alternatives.iter().map(|all| &all.conditions).all(|conditions| {
            let distinct = |at: usize| {
                let path = &conditions[at].path;
                !conditions.iter().enumerate().any(|(other, c)| other != at && path.starts_with(&c.path))
            };
            conditions.len() <= CONDITIONS_MAX
                && conditions.iter().all(|condition| condition.field == Field::Value && is_short(condition))
                && (0..conditions.len()).all(distinct)
        })
}

/// Folded texts have two to the power of their length spellings.
fn is_short(condition: &crate::mapping::pattern::Condition) -> bool {
    condition.wanted().len() <= 60
}
