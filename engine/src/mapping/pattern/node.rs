//! A pattern's JSON with what `serde_json::Value` forgets: the order of members, and how numbers
//! are spelt.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::Word;

/// A JSON value of a pattern.
#[derive(Debug)]
pub(super) enum Node {
    Object(Vec<(String, Node)>),
    Array(Vec<Node>),
    Text(String),
    /// As it was spelt.
    Number(String),
    Word(Word),
}

impl Node {
    pub(super) fn parse(text: &str) -> Result<Self, serde_json::Error> {
        Self::of(serde_json::from_str(text)?)
    }

    fn of(raw: &RawValue) -> Result<Self, serde_json::Error> {
        let text = raw.get();
        Ok(match text.as_bytes().first() {
            Some(b'{') => {
                let Members(members) = serde_json::from_str(text)?;
                let nodes = members.into_iter().map(|(name, raw)| Ok((name, Self::of(raw)?)));
                Self::Object(nodes.collect::<Result<_, serde_json::Error>>()?)
            }
            Some(b'[') => {
                let items: Vec<&RawValue> = serde_json::from_str(text)?;
                Self::Array(items.into_iter().map(Self::of).collect::<Result<_, _>>()?)
            }
            Some(b'"') => Self::Text(serde_json::from_str(text)?),
            Some(b't') => Self::Word(Word::True),
            Some(b'f') => Self::Word(Word::False),
            Some(b'n') => Self::Word(Word::Null),
            _ => Self::Number(text.to_owned()),
        })
    }
}

/// As JSON, roughly as it was given.
impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Object(members) => {
                f.write_str("{")?;
                for (at, (name, node)) in members.iter().enumerate() {
                    write!(f, "{}\"{name}\":{node}", if at == 0 { "" } else { "," })?;
                }
                f.write_str("}")
            }
            Self::Array(items) => {
                f.write_str("[")?;
                for (at, node) in items.iter().enumerate() {
                    write!(f, "{}{node}", if at == 0 { "" } else { "," })?;
                }
                f.write_str("]")
            }
            Self::Text(text) => write!(f, "\"{text}\""),
            Self::Number(text) => f.write_str(text),
            Self::Word(word) => f.write_str(word.as_str()),
        }
    }
}

/// An object's members in order. Of those with one name only the last is kept.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members: Vec<(String, &'de RawValue)> = Vec::new();
                while let Some((name, raw)) = map.next_entry::<String, &RawValue>()? {
                    members.retain(|(there, _)| *there != name);
                    members.push((name, raw));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}
