//! Why a record passes, or does not: pattern by pattern, condition by condition.

use std::fmt;

use super::matcher::{Bytes, Held, Matcher};
use crate::ids::Topic;
use crate::mapping::pattern::{Condition, Field};
use crate::record::Record;

/// The longest piece of a record's value that is shown, in characters.
const SHOWN_CHARS_MAX: usize = 80;
/// How many values of one field are shown.
const SHOWN_VALUES_MAX: usize = 3;

/// Why a record passes or does not. [`Display`](fmt::Display) is many lines for a person, and holds
/// pieces of the record.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// Whether the record is delivered.
    pub passes: bool,
    /// What the value is.
    pub value: Form,
    /// What the key is, if a pattern names it.
    pub key: Option<Form>,
    /// The patterns, in order.
    pub patterns: Vec<OfPattern>,
}

/// What the bytes of a value or key are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Kafka's null: a tombstone.
    Null,
    /// Not UTF-8.
    NotText,
    /// JSON.
    Json,
    /// UTF-8, and not JSON.
    Plain,
}

/// What one pattern says.
#[derive(Clone, Debug, PartialEq)]
pub struct OfPattern {
    /// The pattern.
    pub text: String,
    /// Whether the record matches it.
    pub matches: bool,
    /// Its alternatives, of which one must be met: whether it is, and its conditions.
    pub alternatives: Vec<(bool, Vec<OfCondition>)>,
}

/// What one condition says.
#[derive(Clone, Debug, PartialEq)]
pub struct OfCondition {
    /// The field: `value.status`.
    pub name: String,
    /// What is wanted of it.
    pub wanted: String,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a condition.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// This value meets it.
    Met(String),
    /// The field is missing, as it may be.
    MetByAbsence,
    /// It is not applied to a value or key like this, and does not object.
    NotApplied(Form),
    /// The field has these values, the first few of them, and none meets it.
    Unmet(Vec<String>),
    /// The field is missing, or is an object.
    Missing,
    /// This value meets it, but in another element of an array than the pattern's other conditions.
    OtherElement(String),
}

impl Outcome {
    /// Whether the condition is met or does not object.
    #[must_use]
    pub const fn is_good(&self) -> bool {
        matches!(self, Self::Met(_) | Self::MetByAbsence | Self::NotApplied(_))
    }
}

impl Matcher {
    /// Says why the record passes or does not. Allocates; not for the record path.
    pub fn explain<R: Record>(&mut self, topic: &Topic, record: &R) -> Explanation {
        self.trace = Some(Vec::new());
        let (filters, mut holding) = self.holding();
        holding.marks.clear(filters.words);
        holding.others(topic, record);
        let key = form(holding.part(&filters.key, record.key()));
        let value = form(holding.part(&filters.value, record.value()));
        let held = self.trace.take().unwrap_or_default();
        let filters = &*self.filters;
        let asks_key = filters.conditions.iter().any(|condition| condition.field == Field::Key);
        let of_condition = |number: usize, condition: &Condition| {
            let applied = match condition.field {
                Field::Value => is_applied(condition, value),
                Field::Key => is_applied(condition, key),
                _ => None,
            };
            let number = u32::try_from(number).unwrap_or(u32::MAX);
            let outcome = match applied {
                Some(form) => Outcome::NotApplied(form),
                None => outcome(condition, number, &held, self.marks.is_met(number)),
            };
            OfCondition { name: condition.name(), wanted: condition.wanted(), outcome }
        };
        let mut patterns: Vec<OfPattern> = filters
            .patterns
            .iter()
            .map(|pattern| OfPattern {
                text: pattern.as_str().to_owned(),
                matches: false,
                alternatives: Vec::new(),
            })
            .collect();
        for all in &filters.alternatives {
            let met = self.marks.all_met(&all.conditions, &filters.may_be_absent, None);
            let numbered = filters.conditions.iter().enumerate();
            let own = numbered.filter(|(number, _)| all.conditions.contains(*number as u32));
            let conditions = own.map(|(number, condition)| of_condition(number, condition)).collect();
            let pattern = &mut patterns[all.pattern];
            pattern.matches |= met;
            pattern.alternatives.push((met, conditions));
        }
        let passes = patterns.iter().any(|pattern| pattern.matches);
        Explanation { passes, value, key: asks_key.then_some(key), patterns }
    }
}

fn form(bytes: Bytes) -> Form {
    match bytes {
        Bytes::Null => Form::Null,
        Bytes::NotText => Form::NotText,
        Bytes::Json => Form::Json,
        // Only without a trace is a value not looked at.
        Bytes::Plain | Bytes::NotLookedAt => Form::Plain,
    }
}

/// The form that keeps a condition of a key or value from being applied.
fn is_applied(condition: &Condition, form: Form) -> Option<Form> {
    let applied = match form {
        Form::Json => !condition.path.is_empty(),
        Form::Plain => condition.path.is_empty(),
        Form::Null => condition.path.is_empty() && condition.asks_existence(),
        Form::NotText => false,
    };
    (!applied).then_some(form)
}

fn outcome(condition: &Condition, number: u32, held: &[Held], is_met: bool) -> Outcome {
    let own = || held.iter().filter(|held| held.condition == number);
    match own().find(|held| held.holds) {
        Some(held) if is_met => Outcome::Met(shorten(&held.value)),
        Some(held) => Outcome::OtherElement(shorten(&held.value)),
        None if is_met => Outcome::MetByAbsence,
        None if own().next().is_some() => {
            Outcome::Unmet(own().take(SHOWN_VALUES_MAX).map(|held| shorten(&held.value)).collect())
        }
        None if condition.may_be_absent => Outcome::MetByAbsence,
        None => Outcome::Missing,
    }
}

fn shorten(text: &str) -> String {
    let mut short: String = text.chars().take(SHOWN_CHARS_MAX).flat_map(printable).collect();
    if text.chars().nth(SHOWN_CHARS_MAX).is_some() {
        short.push('…');
    }
    short
}

fn printable(c: char) -> impl Iterator<Item = char> {
    let escaped = c.is_control().then(|| c.escape_default());
    let plain = (!c.is_control()).then_some(c);
    escaped.into_iter().flatten().chain(plain)
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::NotText => "not UTF-8",
            Self::Json => "JSON",
            Self::Plain => "a plain string",
        })
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.passes { "delivered" } else { "filtered out" };
        write!(f, "{verdict}; its value is {}", self.value)?;
        if let Some(key) = self.key {
            write!(f, ", its key is {key}")?;
        }
        for (number, pattern) in (1..).zip(&self.patterns) {
            let matches = if pattern.matches { "matches" } else { "does not match" };
            write!(f, "\n  pattern {number} {matches}: {}", pattern.text)?;
            let several = pattern.alternatives.len() > 1;
            for (number, (met, conditions)) in (1..).zip(&pattern.alternatives) {
                if several {
                    write!(f, "\n    alternative {number}: {}", if *met { "met" } else { "not met" })?;
                }
                conditions.iter().try_for_each(|condition| write!(f, "\n    {condition}"))?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for OfCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, wanted, outcome } = self;
        let sign = match outcome {
            Outcome::NotApplied(_) => '-',
            good if good.is_good() => '+',
            _ => 'x',
        };
        write!(f, "{sign} {name} ")?;
        match outcome {
            Outcome::Met(value) => write!(f, "is {value}: {wanted}"),
            Outcome::MetByAbsence => write!(f, "is missing: {wanted}"),
            Outcome::NotApplied(form) => write!(f, "is not looked at: what holds it is {form}"),
            Outcome::Unmet(values) => write!(f, "is {}; wanted: {wanted}", values.join(" and ")),
            Outcome::Missing => write!(f, "is missing or an object; wanted: {wanted}"),
            Outcome::OtherElement(value) => {
                write!(f, "is {value}, but in another element of an array than the other conditions ask")
            }
        }
    }
}
