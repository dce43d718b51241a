//! What happened, for a person to read: kept only where somebody will, because words cost more than
//! what they describe. A run that fails is run again with its trace on.

use std::fmt;

use pelton::time::Nanos;

/// Lines in the order in which things happened.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trace {
    lines: Option<Vec<String>>,
}

impl Trace {
    /// A trace that keeps what it is told, or one that does not listen.
    #[must_use]
    pub(crate) fn new(on: bool) -> Self {
        Self { lines: on.then(Vec::new) }
    }

    /// Something happened.
    pub(crate) fn note(&mut self, at: Nanos, what: fmt::Arguments<'_>) {
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{:>12.6} {what}", at.since(Nanos::ZERO).as_secs_f64()));
        }
    }

    /// What was kept.
    #[must_use]
    pub(crate) fn into_lines(self) -> Vec<String> {
        self.lines.unwrap_or_default()
    }
}
