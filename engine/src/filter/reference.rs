//! The slow truth: what a filter decides, as event-ruler describes it, word for word. A record is
//! flattened into fields; for each condition a field is chosen; no two of them may stand in
//! different elements of one array. For tests and fuzzing.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::Pattern;
use crate::mapping::pattern::{Condition, Field, Test, Word};

/// One value of a flattened JSON text.
#[derive(Debug)]
struct Flat {
    name: String,
    value: Value,
    /// By array: in which element the value stands.
    elements: BTreeMap<usize, usize>,
}

#[derive(Clone, Debug)]
enum Value {
    Text(String),
    Number(String),
    Word(Word),
}

/// Whether a record with this value, of which nothing else is known, matches one of the patterns.
/// Patterns may name the value only.
#[must_use]
pub fn keeps(patterns: &[Pattern], value: Option<&[u8]>) -> bool {
    patterns.iter().any(|pattern| {
        pattern.alternatives().iter().any(|alternative| {
            assert!(alternative.conditions.iter().all(|condition| condition.field == Field::Value));
            let (plain, json): (Vec<_>, Vec<_>) =
                alternative.conditions.iter().partition(|condition| condition.path.is_empty());
            let Some(value) = value else {
                let mut asked = plain.into_iter().filter(|condition| condition.asks_existence());
                return asked.all(|condition| condition.may_be_absent);
            };
            let Ok(text) = std::str::from_utf8(value) else { return true };
            match flatten(text) {
                Some(fields) => met(&json, &fields, &BTreeMap::new(), &mut Vec::new()),
                None => plain.iter().all(|condition| any_holds(condition, &Value::Text(text.to_owned()))),
            }
        })
    })
}

/// Whether the text is JSON in which this reference and the matcher may be compared: event-ruler
/// mixes fields of equal names that stand in different arrays, and the matcher does not.
#[must_use]
pub fn is_comparable(text: &str) -> bool {
    fn plain(raw: &RawValue) -> bool {
        match raw.get().as_bytes().first() {
            Some(b'{') => {
                let Some(members) = members(raw) else { return false };
                let distinct = |(at, (name, _)): (usize, &(String, &RawValue))| {
                    !name.contains('.') && !members[..at].iter().any(|(other, _)| other == name)
                };
                members.iter().enumerate().all(distinct) && members.iter().all(|(_, raw)| plain(raw))
            }
            Some(b'[') => items(raw).iter().all(|raw| plain(raw)),
            _ => true,
        }
    }
    serde_json::from_str::<&RawValue>(text).is_ok_and(plain)
}

fn met(
    conditions: &[&Condition],
    fields: &[Flat],
    elements: &BTreeMap<usize, usize>,
    absent: &mut Vec<String>,
) -> bool {
    let consistent = |field: &Flat| {
        field.elements.iter().all(|(array, at)| elements.get(array).is_none_or(|other| other == at))
    };
    let Some((condition, rest)) = conditions.split_first() else {
        return !fields.iter().any(|field| absent.contains(&field.name) && consistent(field));
    };
    let name = condition.path.join(".");
    for field in fields.iter().filter(|field| field.name == name && consistent(field)) {
        if any_holds(condition, &field.value) {
            let mut elements = elements.clone();
            elements.extend(&field.elements);
            if met(rest, fields, &elements, absent) {
                return true;
            }
        }
    }
    if condition.may_be_absent {
        absent.push(name);
        let without = met(rest, fields, elements, absent);
        absent.pop();
        return without;
    }
    false
}

/// The fields of a JSON text; `None` if it is none.
fn flatten(text: &str) -> Option<Vec<Flat>> {
    let raw: &RawValue = serde_json::from_str(text).ok()?;
    if deepest(text) > super::json::DEPTH_MAX {
        return None;
    }
    let mut fields = Vec::new();
    flatten_into(raw, &mut Vec::new(), &mut BTreeMap::new(), &mut 0, &mut fields);
    Some(fields)
}

fn deepest(text: &str) -> usize {
    let (mut depth, mut most, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                most = most.max(depth);
            }
            b'}' | b']' if !in_string => depth -= 1,
            _ => {}
        }
    }
    most
}

fn flatten_into(
    raw: &RawValue,
    path: &mut Vec<String>,
    elements: &mut BTreeMap<usize, usize>,
    arrays: &mut usize,
    fields: &mut Vec<Flat>,
) {
    let text = raw.get();
    let value = match text.as_bytes()[0] {
        b'{' => {
            for (name, raw) in members(raw).unwrap_or_default() {
                path.push(name);
                flatten_into(raw, path, elements, arrays, fields);
                path.pop();
            }
            return;
        }
        b'[' => {
            let array = *arrays;
            *arrays += 1;
            for (at, raw) in items(raw).into_iter().enumerate() {
                let is_container = matches!(raw.get().as_bytes()[0], b'{' | b'[');
                if is_container {
                    elements.insert(array, at);
                }
                flatten_into(raw, path, elements, arrays, fields);
                elements.remove(&array);
            }
            return;
        }
        b'"' => Value::Text(string(text)),
        b't' => Value::Word(Word::True),
        b'f' => Value::Word(Word::False),
        b'n' => Value::Word(Word::Null),
        _ => Value::Number(text.to_owned()),
    };
    fields.push(Flat { name: path.join("."), value, elements: elements.clone() });
}

/// The string that is spelt; `serde_json` refuses half surrogate pairs, which become U+FFFD here.
fn string(spelt: &str) -> String {
    serde_json::from_str(spelt).unwrap_or_else(|_| {
        let bytes =
            serde_json::from_str::<SerdeBytes>(spelt).map(|SerdeBytes(bytes)| bytes).unwrap_or_default();
        // WTF-8: a lone surrogate is three bytes, which make three replacement characters.
        String::from_utf8_lossy(&bytes).replace("\u{fffd}\u{fffd}\u{fffd}", "\u{fffd}")
    })
}

struct SerdeBytes(Vec<u8>);

impl<'de> serde::Deserialize<'de> for SerdeBytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl serde::de::Visitor<'_> for Any {
            type Value = SerdeBytes;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a string")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<SerdeBytes, E> {
                Ok(SerdeBytes(bytes.to_vec()))
            }
        }
        deserializer.deserialize_bytes(Any)
    }
}

/// An object's members in order; `None` if a name spells half a surrogate pair.
fn members(raw: &RawValue) -> Option<Vec<(String, &RawValue)>> {
    struct InOrder;
    impl<'de> serde::de::Visitor<'de> for InOrder {
        type Value = Vec<(String, &'de RawValue)>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            std::iter::from_fn(|| map.next_entry().transpose()).collect()
        }
    }
    let mut read = serde_json::Deserializer::from_str(raw.get());
    serde::Deserializer::deserialize_map(&mut read, InOrder).ok()
}

fn items(raw: &RawValue) -> Vec<&RawValue> {
    serde_json::from_str(raw.get()).unwrap_or_default()
}

fn any_holds(condition: &Condition, value: &Value) -> bool {
    condition.tests.iter().any(|test| holds(test, value))
}

fn holds(test: &Test, value: &Value) -> bool {
    match (test, value) {
        (Test::Present, _) => true,
        (Test::AnythingBut(tests), value) => tests.iter().all(|test| !holds(test, value)),
        (Test::Text(wanted), Value::Text(text)) => wanted == text,
        (Test::Address(range), Value::Text(text)) => range.contains(text),
        (Test::Prefix(wanted), Value::Text(text)) => text.starts_with(wanted),
        (Test::Suffix(wanted), Value::Text(text)) => text.ends_with(wanted),
        (Test::PrefixFolded(wanted), Value::Text(text)) => {
            spellings(wanted.as_str()).iter().any(|wanted| text.starts_with(wanted))
        }
        (Test::SuffixFolded(wanted), Value::Text(text)) => {
            spellings(wanted.as_str()).iter().any(|wanted| text.ends_with(wanted))
        }
        (Test::Folded(wanted), Value::Text(text)) => spellings(wanted.as_str()).contains(text),
        (Test::Wildcard(wanted), Value::Text(text)) => in_order(wanted.pieces(), text),
        (Test::Number(wanted), Value::Number(text)) => {
            wanted.text == *text || (is_double(text) && decimal(&wanted.text) == decimal(text))
        }
        (Test::Range(range), Value::Number(text)) => {
            is_double(text) && text.parse().is_ok_and(|number: f64| range.contains(number))
        }
        (Test::Word(wanted), Value::Word(word)) => wanted == word,
        _ => false,
    }
}

/// Every way to write a text in either case.
fn spellings(text: &str) -> Vec<String> {
    text.chars().fold(vec![String::new()], |all, c| {
        let forms: [String; 2] = [c.to_lowercase().collect(), c.to_uppercase().collect()];
        all.iter().flat_map(|before| forms.iter().map(move |form| format!("{before}{form}"))).collect()
    })
}

fn in_order(pieces: &[String], text: &str) -> bool {
    match pieces {
        [] => false,
        [only] => only == text,
        [first, rest @ ..] => text.strip_prefix(first.as_str()).is_some_and(|text| {
            let cuts = text.char_indices().map(|(at, _)| at).chain([text.len()]);
            cuts.into_iter().any(|at| in_order(rest, &text[at..]))
        }),
    }
}

/// Whether the shortest decimal of the number's double is the number.
fn is_double(text: &str) -> bool {
    let number: f64 = text.parse().unwrap_or(f64::NAN);
    number.is_finite() && decimal(&format!("{number:e}")) == decimal(text)
}

/// Sign, digits without zeros around them, and the power of ten of the last.
fn decimal(text: &str) -> (bool, String, i64) {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let negative = whole.starts_with('-');
    let digits = format!("{}{fraction}", whole.trim_start_matches('-'));
    let kept = digits.trim_end_matches('0');
    let exponent = exponent.parse::<i64>().unwrap_or(i64::MAX / 2);
    let power = exponent - fraction.len() as i64 + (digits.len() - kept.len()) as i64;
    let kept = kept.trim_start_matches('0');
    if kept.is_empty() { (false, String::new(), 0) } else { (negative, kept.to_owned(), power) }
}
