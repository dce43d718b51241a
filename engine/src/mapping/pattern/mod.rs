//! The language of filters: what a pattern may say, parsed once.
//!
//! A pattern is AWS's (the language of EventBridge rules, whose engine is the open
//! `aws/event-ruler`): `{"value":{"status":["shipped",{"prefix":"lost"}]}}`. Fields of one object
//! are ANDed, values of one array are ORed, `$or` is spelt out into [`Alternative`]s. It stands
//! among the words and not beside the matcher because a mapping is right as a whole: what no
//! record can be held against is refused with everything else that is wrong.
//!
//! The matcher is [`crate::filter`].

mod address;
mod fold;
mod node;
mod number;
mod operator;
mod parse;
mod show;
#[cfg(test)]
mod tests;
mod wildcard;

use std::fmt;

pub use address::{Address, AddressRange};
pub use fold::Folded;
pub use number::{Number, comparable};
pub use wildcard::Wildcard;

/// A filter pattern, parsed.
#[derive(Clone, PartialEq)]
pub struct Pattern {
    text: String,
    alternatives: Vec<Alternative>,
}

impl Pattern {
    /// Parses a pattern of at most 4,096 characters. With `strict`, `value` is the only key, as on
    /// AWS.
    ///
    /// # Errors
    /// If it is not a pattern: everything that is wrong with it.
    pub fn parse(text: &str, strict: bool) -> Result<Self, PatternError> {
        let alternatives = parse::parse(text, strict).map_err(|complaints| PatternError { complaints })?;
        Ok(Self { text: text.to_owned(), alternatives })
    }

    /// The pattern as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What a record may be like: it matches if it meets all conditions of any of these. At least
    /// one; more than one only where the pattern says `$or`.
    #[must_use]
    pub fn alternatives(&self) -> &[Alternative] {
        &self.alternatives
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({})", self.text)
    }
}

/// Conditions that must hold together, each of a field of its own. At least one.
#[derive(Clone, Debug, PartialEq)]
pub struct Alternative {
    /// The conditions, in the pattern's order.
    pub conditions: Vec<Condition>,
}

/// What one field must be like: one of some tests must hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// Which part of the record the field is in.
    pub field: Field,
    /// The way to it from there, name by name; empty for the part itself.
    pub path: Vec<String>,
    /// The tests, in the pattern's order. None of them says that the field may be missing.
    pub tests: Vec<Test>,
    /// `{"exists": false}` is one of the tests: the field may be missing.
    pub may_be_absent: bool,
}

impl Condition {
    /// The way to the field from the record, joined by dots: `value.customer.country`.
    #[must_use]
    pub fn name(&self) -> String {
        let mut name = self.field.name().to_owned();
        for step in &self.path {
            name.push('.');
            name.push_str(step);
        }
        name
    }

    /// Whether it asks if the field is there.
    #[must_use]
    pub fn asks_existence(&self) -> bool {
        self.may_be_absent || self.tests.contains(&Test::Present)
    }
}

/// The parts of a record that a pattern may name. AWS documents `value` only; the others are this
/// engine's, named as in the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// The value: JSON, or a plain string.
    Value,
    /// The key: JSON, or a plain string.
    Key,
    /// The topic, a string.
    Topic,
    /// The partition, a number.
    Partition,
    /// The offset, a number.
    Offset,
    /// The timestamp, a number: milliseconds since the Unix epoch.
    Timestamp,
    /// `CREATE_TIME` or `LOG_APPEND_TIME`.
    TimestampType,
    /// The headers: `{"headers":{"NAME":["text"]}}`.
    Headers,
}

impl Field {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Value,
        Self::Key,
        Self::Topic,
        Self::Partition,
        Self::Offset,
        Self::Timestamp,
        Self::TimestampType,
        Self::Headers,
    ];

    /// The name in the event.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Value => "value",
            Self::Key => "key",
            Self::Topic => "topic",
            Self::Partition => "partition",
            Self::Offset => "offset",
            Self::Timestamp => "timestamp",
            Self::TimestampType => "timestampType",
            Self::Headers => "headers",
        }
    }
}

/// What a field's value may be held against.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// `"text"`: a string, the same code points.
    Text(String),
    /// `"10.0.0.1"`, `{"cidr":"10.0.0.0/8"}`: a string that is an address in this range, however
    /// it is spelt.
    Address(AddressRange),
    /// `300`: a number, the same digits or the same value.
    Number(Number),
    /// `true`, `false` or `null`.
    Word(Word),
    /// `{"exists":true}`.
    Present,
    /// `{"prefix":"text"}`.
    Prefix(String),
    /// `{"prefix":{"equals-ignore-case":"text"}}`.
    PrefixFolded(Folded),
    /// `{"suffix":"text"}`.
    Suffix(String),
    /// `{"suffix":{"equals-ignore-case":"text"}}`.
    SuffixFolded(Folded),
    /// `{"equals-ignore-case":"text"}`.
    Folded(Folded),
    /// `{"wildcard":"a*b"}`.
    Wildcard(Wildcard),
    /// `{"numeric":[">",0,"<=",5]}`.
    Range(Range),
    /// `{"anything-but":...}`: any value that none of these holds for.
    AnythingBut(Vec<Test>),
}

/// A JSON value that is a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// `null`.
    Null,
    /// `true`.
    True,
    /// `false`.
    False,
}

impl Word {
    /// As JSON spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::True => "true",
            Self::False => "false",
        }
    }
}

/// A range of numbers. At least one side is bounded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// The lower bound, and whether it belongs to the range.
    pub low: Option<(f64, bool)>,
    /// The upper bound, and whether it belongs to the range.
    pub high: Option<(f64, bool)>,
}

impl Range {
    /// Whether `number` lies in the range.
    #[must_use]
    pub fn contains(&self, number: f64) -> bool {
        self.low.is_none_or(|(low, included)| number > low || (included && number == low))
            && self.high.is_none_or(|(high, included)| number < high || (included && number == high))
    }
}

/// One thing that is wrong with a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// Where: names joined by dots; empty for the pattern itself.
    pub at: String,
    /// What was found.
    pub found: String,
    /// What is allowed.
    pub allowed: String,
    /// What to do about it.
    pub remedy: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, found, allowed, remedy } = self;
        let at = if at.is_empty() { "the pattern" } else { at };
        write!(f, "{at}: found {found}; allowed: {allowed}; {remedy}")
    }
}

/// Everything that is wrong with a pattern. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct PatternError {
    complaints: Vec<Complaint>,
}

impl PatternError {
    /// The complaints, in the order of the pattern.
    #[must_use]
    pub fn complaints(&self) -> &[Complaint] {
        &self.complaints
    }
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // AWS's own words for all of these, then ours.
        f.write_str("Invalid filter pattern definition.")?;
        self.complaints.iter().try_for_each(|complaint| write!(f, "\n  - {complaint}"))
    }
}
