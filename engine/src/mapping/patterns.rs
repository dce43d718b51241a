//! How filter patterns are given.

use std::fmt;

use toml::Value;

use super::value::{Kind, Shape};

/// Filter patterns, each a JSON object as text. An array of texts, AWS's
/// `{Filters:[{Pattern}]}`, or one text; on the command line the flag again for each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patterns(pub Vec<String>);

impl Patterns {
    /// The only member of a table, if it is called `name` in some case.
    fn only<'t>(value: &'t Value, name: &str) -> Option<&'t Value> {
        let table = value.as_table()?;
        let mut members = table.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        let (_, value) = members.next()?;
        (table.len() == 1).then_some(value)
    }

    fn one(value: &Value) -> Option<String> {
        Self::only(value, "pattern").unwrap_or(value).as_str().map(|text| text.trim().to_owned())
    }
}

impl Kind for Patterns {
    const SHAPE: Shape = Shape::Many;

    fn read(value: &Value) -> Option<Self> {
        match value {
            // AWS removes filters by `{}`, and takes an empty list for none.
            Value::Table(table) if table.is_empty() => Some(Self::default()),
            Value::Table(_) => Self::read(Self::only(value, "filters")?),
            Value::Array(items) => items.iter().map(Self::one).collect::<Option<_>>().map(Self),
            Value::String(text) if text.trim() == "none" => Some(Self::default()),
            // No pattern begins so: it is how several are shown.
            Value::String(text) if text.trim_start().starts_with('[') => {
                serde_json::from_str(text).ok().map(Self)
            }
            Value::String(text) => Some(Self(vec![text.trim().to_owned()])),
            _ => None,
        }
    }
}

impl fmt::Display for Patterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [] => f.write_str("none"),
            [only] if !only.starts_with('[') && only != "none" => f.write_str(only),
            several => f.write_str(&serde_json::to_string(several).map_err(|_| fmt::Error)?),
        }
    }
}
