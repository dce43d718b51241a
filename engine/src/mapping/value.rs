//! The kinds of value that a setting may have, and how each is written.
//!
//! A file, a flag and the control API spell the same value differently (`100`, `"100"`, `500ms`):
//! each kind reads all spellings and prints one of them, which it reads again.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use toml::Value;

use super::moment::Moment;
pub use super::patterns::Patterns;

/// How a kind is given on a command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Once, with a value.
    One,
    /// Repeatedly, or once with commas.
    Many,
    /// With or without a value; without means true.
    Switch,
}

/// A kind of value.
pub(super) trait Kind: Sized + fmt::Display {
    const SHAPE: Shape;
    /// Reads one value; `None` if it cannot mean this kind.
    fn read(value: &Value) -> Option<Self>;
}

/// Some text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text(pub String);

impl Kind for Text {
    const SHAPE: Shape = Shape::One;

    fn read(value: &Value) -> Option<Self> {
        value.as_str().map(|text| Self(text.trim().to_owned()))
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<T: Into<String>> From<T> for Text {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

/// Names in order: an array, or one text with commas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names(pub Vec<String>);

impl Kind for Names {
    const SHAPE: Shape = Shape::Many;

    fn read(value: &Value) -> Option<Self> {
        let split = |text: &str| text.split(',').map(|name| name.trim().to_owned()).collect::<Vec<_>>();
        match value {
            Value::String(text) => Some(Self(split(text))),
            Value::Array(items) => {
                let texts: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
                Some(Self(texts?.into_iter().flat_map(split).collect()))
            }
            _ => None,
        }
    }
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(","))
    }
}

/// A whole number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whole(pub i64);

impl Kind for Whole {
    const SHAPE: Shape = Shape::One;

    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::Integer(number) => Some(Self(*number)),
            Value::String(text) => text.trim().replace('_', "").parse().ok().map(Self),
            _ => None,
        }
    }
}

impl fmt::Display for Whole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Yes or no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Switch(pub bool);

impl Kind for Switch {
    const SHAPE: Shape = Shape::Switch;

    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::Boolean(on) => Some(Self(*on)),
            Value::String(text) => text.trim().parse().ok().map(Self),
            _ => None,
        }
    }
}

impl fmt::Display for Switch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A length of time in whole milliseconds: `"500ms"`, `"2s"`, `"15m"`, `"1h"`; a bare number is
/// seconds, as AWS counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

/// The units of time, in milliseconds. Longer suffixes first, so that `ms` is not read as `s`.
const SPAN_UNITS: [(&str, f64); 5] =
    [("min", 60_000.0), ("ms", 1.0), ("s", 1_000.0), ("m", 60_000.0), ("h", 3_600_000.0)];

/// Above this a length of time is a typing error (and would lose milliseconds as an `f64`).
const SPAN_MS_MAX: f64 = 1e12;

impl Span {
    fn from_ms(ms: f64) -> Option<Self> {
        let whole = (0.0..=SPAN_MS_MAX).contains(&ms) && (ms - ms.round()).abs() < 1e-6;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within 0..=1e12")]
        whole.then(|| Self(Duration::from_millis(ms.round() as u64)))
    }

    fn from_text(text: &str) -> Option<Self> {
        let text = text.trim();
        let (number, unit_ms) = SPAN_UNITS
            .iter()
            .find_map(|(unit, ms)| Some((text.strip_suffix(unit)?, *ms)))
            .unwrap_or((text, 1_000.0));
        Self::from_ms(decimal(number)? * unit_ms)
    }
}

/// A plain decimal number: digits, `_` between them, one point. Neither sign, exponent nor `inf`.
fn decimal(text: &str) -> Option<f64> {
    let digits = text.trim().replace('_', "");
    let plain = digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.chars().all(|c| c.is_ascii_digit() || c == '.');
    if plain { digits.parse().ok() } else { None }
}

impl Kind for Span {
    const SHAPE: Shape = Shape::One;

    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::Integer(seconds) => {
                u32::try_from(*seconds).ok().map(|s| Self(Duration::from_secs(s.into())))
            }
            Value::Float(seconds) => Self::from_ms(seconds * 1_000.0),
            Value::String(text) => Self::from_text(text),
            _ => None,
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis();
        match ms {
            0 => f.write_str("0s"),
            _ if ms.is_multiple_of(60_000) => write!(f, "{}m", ms / 60_000),
            _ if ms.is_multiple_of(1_000) => write!(f, "{}s", ms / 1_000),
            _ => write!(f, "{ms}ms"),
        }
    }
}

/// A number of bytes: `"256MiB"`, `"6MB"`, or a bare number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

/// The units of size. Longer suffixes first, so that `MiB` is not read as `B`.
const SIZE_UNITS: [(&str, u64); 7] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("B", 1),
];

impl Kind for Size {
    const SHAPE: Shape = Shape::One;

    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::Integer(bytes) => u64::try_from(*bytes).ok().map(Self),
            Value::String(text) => {
                let text = text.trim();
                let (number, unit) = SIZE_UNITS
                    .iter()
                    .find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, *bytes)))
                    .unwrap_or((text, 1));
                let number: u64 = number.trim().replace('_', "").parse().ok()?;
                number.checked_mul(unit).map(Self)
            }
            _ => None,
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes > 0 && bytes.is_multiple_of(1 << 30) => write!(f, "{}GiB", bytes >> 30),
            bytes if bytes > 0 && bytes.is_multiple_of(1 << 20) => write!(f, "{}MiB", bytes >> 20),
            bytes if bytes > 0 && bytes.is_multiple_of(1 << 10) => write!(f, "{}KiB", bytes >> 10),
            bytes => write!(f, "{bytes}"),
        }
    }
}

impl Kind for Moment {
    const SHAPE: Shape = Shape::One;

    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::Integer(seconds) => seconds.checked_mul(1_000).map(|unix_ms| Self { unix_ms }),
            Value::Float(seconds) => Self::from_seconds(*seconds),
            Value::Datetime(datetime) => Self::from_text(&datetime.to_string()),
            Value::String(text) => Self::from_text(text.trim()),
            _ => None,
        }
    }
}

/// One way into the cluster: AWS's `{Type, URI}`. On the command line `TYPE=URI`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// One of AWS's types, such as `SASL_SCRAM_512_AUTH`.
    pub kind: String,
    /// Where the secret lies (`env:NAME`, `file:/path`), or the value itself; see
    /// [`super::access`].
    pub uri: Option<String>,
}

impl Access {
    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => Some(match text.split_once('=') {
                Some((kind, uri)) => Self { kind: kind.trim().to_owned(), uri: Some(uri.trim().to_owned()) },
                None => Self { kind: text.trim().to_owned(), uri: None },
            }),
            Value::Table(table) => {
                // AWS's API writes `Type` and `URI`.
                let of = |name: &str| table.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
                let known =
                    |key: &String| key.eq_ignore_ascii_case("type") || key.eq_ignore_ascii_case("uri");
                let text = |name| of(name).map(|(_, value)| value.as_str().map(str::to_owned));
                if !table.keys().all(known) {
                    return None;
                }
                Some(Self { kind: text("type")??, uri: text("uri").map_or(Some(None), |uri| uri.map(Some))? })
            }
            _ => None,
        }
    }
}

/// Ways into the cluster, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accesses(pub Vec<Access>);

impl Kind for Accesses {
    const SHAPE: Shape = Shape::Many;

    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::Array(items) => items.iter().map(Access::read).collect::<Option<_>>().map(Self),
            other => Access::read(other).map(|access| Self(vec![access])),
        }
    }
}

impl fmt::Display for Accesses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        for (index, Access { kind, uri }) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            match uri {
                Some(uri) => write!(f, "{comma}{kind}={uri}")?,
                None => write!(f, "{comma}{kind}")?,
            }
        }
        Ok(())
    }
}

/// Properties of the Kafka client by name. In a file a table, whose dotted keys may be bare; on the
/// command line `NAME=VALUE`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Properties(pub BTreeMap<String, String>);

impl Properties {
    fn read_into(&mut self, prefix: &str, value: &Value) -> Option<()> {
        let text = match value {
            Value::Table(table) => {
                return table.iter().try_for_each(|(key, value)| {
                    let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                    self.read_into(&name, value)
                });
            }
            Value::String(text) => text.clone(),
            Value::Integer(number) => number.to_string(),
            Value::Float(number) => number.to_string(),
            Value::Boolean(on) => on.to_string(),
            Value::Array(_) | Value::Datetime(_) => return None,
        };
        (!prefix.is_empty()).then(|| drop(self.0.insert(prefix.to_owned(), text)))
    }
}

impl Kind for Properties {
    const SHAPE: Shape = Shape::Many;

    fn read(value: &Value) -> Option<Self> {
        let mut properties = Self::default();
        let mut pair = |text: &Value| {
            let (name, value) = text.as_str()?.split_once('=')?;
            properties.0.insert(name.trim().to_owned(), value.trim().to_owned());
            Some(())
        };
        match value {
            Value::Array(items) => items.iter().try_for_each(&mut pair)?,
            Value::String(_) => pair(value)?,
            Value::Table(_) => properties.read_into("", value)?,
            _ => return None,
        }
        Some(properties)
    }
}

impl fmt::Display for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        for (index, (name, value)) in self.0.iter().enumerate() {
            let shown = if super::properties::is_secret(name) { "(hidden)" } else { value };
            write!(f, "{}{name}={shown}", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
