//! What is wrong with a mapping, in words for the person who must change it.

use std::fmt;

/// One thing that is wrong: where, what was found, what is allowed, what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The setting's name, with its table: `batch_size`, `engine.threads`, `source_access[0].uri`.
    pub field: String,
    /// Who said so: `flag --batch-size`, `pelton.toml`; `None` if nobody or unknown.
    pub origin: Option<String>,
    /// What was found; `None` if nothing was.
    pub found: Option<String>,
    /// What is allowed.
    pub allowed: String,
    /// What to do about it.
    pub remedy: String,
}

/// Longest piece of a wrong value that a message repeats, in characters.
const FOUND_CHARS_MAX: usize = 80;

impl Problem {
    /// A value that is not allowed.
    pub(super) fn wrong(
        field: impl Into<String>,
        found: &(impl fmt::Display + ?Sized),
        allowed: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            field: field.into(),
            origin: None,
            found: Some(shorten(&found.to_string())),
            allowed: allowed.into(),
            remedy: remedy.into(),
        }
    }

    /// A value that must be given and is not.
    pub(super) fn missing(
        field: impl Into<String>,
        allowed: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            field: field.into(),
            origin: None,
            found: None,
            allowed: allowed.into(),
            remedy: remedy.into(),
        }
    }
}

/// `text` in one line and at most [`FOUND_CHARS_MAX`] characters.
fn shorten(text: &str) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let mut short: String = text.chars().take(FOUND_CHARS_MAX).map(clean).collect();
    if text.chars().nth(FOUND_CHARS_MAX).is_some() {
        short.push('…');
    }
    short
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, origin, found, allowed, remedy } = self;
        f.write_str(field)?;
        if let Some(origin) = origin {
            write!(f, " ({origin})")?;
        }
        match found {
            Some(found) => write!(f, ": found {found}; allowed: {allowed}; {remedy}"),
            None => write!(f, ": not given; needed: {allowed}; {remedy}"),
        }
    }
}

/// Everything that is wrong with a mapping, at once. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct MappingError {
    problems: Vec<Problem>,
}

impl MappingError {
    /// `Ok` if there is nothing to complain about.
    pub(super) fn unless_empty(problems: Vec<Problem>) -> Result<(), Self> {
        if problems.is_empty() { Ok(()) } else { Err(Self { problems }) }
    }

    /// The problems, in the order of the settings. At least one.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// The problems of both.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.problems.extend(other.problems);
        self
    }
}

impl From<Problem> for MappingError {
    fn from(problem: Problem) -> Self {
        Self { problems: vec![problem] }
    }
}

impl fmt::Display for MappingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.problems.len();
        write!(f, "{count} {} in the mapping", if count == 1 { "problem" } else { "problems" })?;
        self.problems.iter().try_for_each(|problem| write!(f, "\n  - {problem}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_field_value_limit_and_remedy() {
        let problem = Problem::wrong("batch_size", &20_000, "1 to 10000", "lower it");
        assert_eq!(problem.to_string(), "batch_size: found 20000; allowed: 1 to 10000; lower it");
    }

    #[test]
    fn a_long_or_hostile_value_is_shortened_to_one_line() {
        let problem = Problem::wrong("f", &format!("a\n\x1b[2J{}", "é".repeat(500)), "x", "y");
        let found = problem.found.expect("given");
        assert_eq!(found.chars().count(), FOUND_CHARS_MAX + 1);
        assert!(!found.contains(char::is_control));
    }

    #[test]
    fn problems_are_listed_one_a_line() {
        let error = MappingError::from(Problem::missing("function", "a name", "set it"))
            .and(Problem::wrong("batch_size", &0, "1 to 10000", "raise it").into());
        assert_eq!(error.to_string().lines().count(), 3);
        assert!(error.to_string().starts_with("2 problems in the mapping\n"), "{error}");
    }
}
