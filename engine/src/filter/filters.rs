//! A mapping's filters, compiled into what a matcher looks up.

use super::marks::Bits;
use super::prefilter::Prefilter;
use super::tree::Tree;
use crate::mapping::pattern::{Condition, Field, Pattern, PatternError, Test};

/// Patterns, of which a record must match one. Compile them once and share them.
#[derive(Debug)]
pub struct Filters {
    pub(super) patterns: Vec<Pattern>,
    /// All conditions of all alternatives, numbered.
    pub(super) conditions: Vec<Condition>,
    /// `u64`s that hold a bit for each condition.
    pub(super) words: usize,
    pub(super) may_be_absent: Bits,
    pub(super) alternatives: Vec<Met>,
    pub(super) value: Part,
    pub(super) key: Part,
    /// Conditions of neither value nor key.
    pub(super) others: Vec<u32>,
    /// All conditions of the value.
    pub(super) of_value: Bits,
}

/// What must be met together.
#[derive(Debug)]
pub(super) struct Met {
    /// Of which pattern, from 0.
    pub(super) pattern: usize,
    pub(super) conditions: Bits,
}

/// The conditions of the value or the key.
#[derive(Debug)]
pub(super) struct Part {
    /// Fields of a JSON text, if any condition names one.
    pub(super) tree: Option<Tree>,
    pub(super) of_tree: Bits,
    /// Conditions of a plain string.
    pub(super) plain: Vec<u32>,
    pub(super) of_plain: Bits,
    pub(super) prefilter: Option<Prefilter>,
}

impl Filters {
    /// Parses and compiles patterns.
    ///
    /// # Errors
    /// If one of them is not a pattern: what is wrong with the first such.
    pub fn parse(patterns: &[&str]) -> Result<Self, PatternError> {
        let patterns: Result<Vec<_>, _> = patterns.iter().map(|text| Pattern::parse(text, false)).collect();
        Ok(Self::new(&patterns?))
    }

    /// Compiles patterns. Without any, no record matches: a mapping without filters has none of
    /// these.
    #[must_use]
    pub fn new(patterns: &[Pattern]) -> Self {
        let mut conditions = Vec::new();
        let mut owners = Vec::new();
        let mut ranges = Vec::new();
        for (pattern, alternative) in patterns
            .iter()
            .enumerate()
            .flat_map(|(number, pattern)| pattern.alternatives().iter().map(move |all| (number, all)))
        {
            let start = conditions.len();
            conditions.extend(alternative.conditions.iter().cloned());
            owners.resize(conditions.len(), ranges.len());
            ranges.push((pattern, start..conditions.len()));
        }
        let words = conditions.len().div_ceil(64);
        let bits = |wanted: &dyn Fn(usize, &Condition) -> bool| {
            let mut bits = Bits::none(words);
            let chosen =
                conditions.iter().enumerate().filter(|(number, condition)| wanted(*number, condition));
            chosen.for_each(|(number, _)| bits.set(number as u32));
            bits
        };
        let part = |field: Field, prefilter: Option<Prefilter>| {
            let in_tree = |condition: &Condition| condition.field == field && !condition.path.is_empty();
            let is_plain = |condition: &Condition| condition.field == field && condition.path.is_empty();
            let fields =
                (0_u32..).zip(&conditions).zip(&owners).filter(|((_, condition), _)| in_tree(condition));
            let fields =
                fields.map(|((number, condition), owner)| (number, *owner, condition.path.as_slice()));
            Part {
                tree: conditions.iter().any(in_tree).then(|| Tree::new(fields, words)),
                of_tree: bits(&|_, condition| in_tree(condition)),
                plain: numbers(&conditions, is_plain),
                of_plain: bits(&|_, condition| is_plain(condition)),
                prefilter,
            }
        };
        let alternatives = ranges.iter().map(|(pattern, range)| Met {
            pattern: *pattern,
            conditions: bits(&|number, _| range.contains(&number)),
        });
        Self {
            words,
            may_be_absent: bits(&|_, condition| condition.may_be_absent),
            alternatives: alternatives.collect(),
            value: part(
                Field::Value,
                Prefilter::new(ranges.iter().map(|(_, range)| &conditions[range.clone()])),
            ),
            key: part(Field::Key, None),
            others: numbers(&conditions, |condition| !matches!(condition.field, Field::Value | Field::Key)),
            of_value: bits(&|_, condition| condition.field == Field::Value),
            patterns: patterns.to_vec(),
            conditions,
        }
    }

    /// The patterns, in order.
    #[must_use]
    pub fn patterns(&self) -> &[Pattern] {
        &self.patterns
    }

    #[inline]
    pub(super) fn tests(&self, condition: u32) -> &[Test] {
        &self.conditions[condition as usize].tests
    }
}

fn numbers(conditions: &[Condition], wanted: impl Fn(&Condition) -> bool) -> Vec<u32> {
    (0_u32..).zip(conditions).filter(|(_, condition)| wanted(condition)).map(|(number, _)| number).collect()
}
