//! How the settings about failed invocations are given: ages that may be unlimited, and where
//! records go that were given up.

use std::fmt;

use toml::{Table, Value};

use super::value::{Kind, Shape, Span};

/// A record's greatest age: a length of time, or `-1` for no limit as AWS writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Age(pub Option<Span>);

impl Kind for Age {
    const SHAPE: Shape = Shape::One;

    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::Integer(-1) => Some(Self(None)),
            Value::String(text) if text.trim() == "-1" => Some(Self(None)),
            other => Span::read(other).map(|span| Self(Some(span))),
        }
    }
}

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(span) => span.fmt(f),
            None => f.write_str("-1"),
        }
    }
}

/// Where records go that were given up: AWS's `{OnFailure:{Destination}}` in any case, or the
/// destination alone; on the command line either, the former as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DestinationConfig {
    /// An ARN or `kafka://topic`, unchecked; `None` for none.
    pub on_failure: Option<String>,
    /// Whether `OnSuccess` was given too, which no event source of this kind takes.
    pub on_success: bool,
}

impl DestinationConfig {
    /// AWS writes an empty text to remove a destination.
    fn bare(text: &str) -> Self {
        let text = text.trim();
        let none = text.is_empty() || text == "none";
        Self { on_failure: (!none).then(|| text.to_owned()), on_success: false }
    }

    fn table(table: &Table) -> Option<Self> {
        let mut read = Self::default();
        for (name, value) in table {
            match letters(name).as_str() {
                "onfailure" => read.on_failure = on_failure(value)?,
                "onsuccess" => read.on_success = true,
                _ => return None,
            }
        }
        Some(read)
    }
}

#[expect(clippy::option_option, reason = "no destination and no meaning are different")]
fn on_failure(value: &Value) -> Option<Option<String>> {
    let table = value.as_table()?;
    let mut destination = None;
    for (name, value) in table {
        if letters(name) != "destination" {
            return None;
        }
        destination = DestinationConfig::bare(value.as_str()?).on_failure;
    }
    Some(destination)
}

/// A name without what AWS's API and a TOML file write differently.
fn letters(name: &str) -> String {
    name.chars().filter(|c| *c != '_').flat_map(char::to_lowercase).collect()
}

impl Kind for DestinationConfig {
    const SHAPE: Shape = Shape::One;

    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::Table(table) => Self::table(table),
            Value::String(text) if text.trim_start().starts_with('{') => {
                Self::table(&serde_json::from_str(text).ok()?)
            }
            Value::String(text) => Some(Self::bare(text)),
            _ => None,
        }
    }
}

impl fmt::Display for DestinationConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let destination = self.on_failure.as_deref();
        match (self.on_success, destination) {
            (false, Some(text)) if !text.starts_with('{') => f.write_str(text),
            (false, None) => f.write_str("none"),
            (on_success, destination) => {
                let destination = serde_json::Value::from(destination.unwrap_or_default());
                let on_success = if on_success { ",\"OnSuccess\":{}" } else { "" };
                write!(f, "{{\"OnFailure\":{{\"Destination\":{destination}}}{on_success}}}")
            }
        }
    }
}
